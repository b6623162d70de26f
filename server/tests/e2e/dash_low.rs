//! DASH with low latency: segments are fetched while they grow, and how far behind the camera a browser is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::dash::manifest;
use crate::harness::{SOON, Server, until};
use crate::hls_low::{Camera, watch};
use crate::players::{LIMIT, publish_for_ever};
use crate::tools::{self, ffmpeg, of};

fn server() -> Server {
    Server::with_vhost(
        "dash { enabled on; dash_low_latency on; dash_fragment 2; dash_window_size 10; dash_path ./html; }",
    )
}

fn url(server: &Server) -> String {
    format!("http://{}/live/page.mpd", server.http)
}

/// The stream has a complete segment, and one that grows.
fn live(server: &Server) {
    until("segments are listed", LIMIT, || {
        let mpd = manifest(server, "page")?;
        (mpd.tracks("video")[0].segments.len() >= 3).then_some(())
    });
}

#[test]
fn a_segment_is_sent_while_it_grows() {
    let server = server();
    let _publisher = publish_for_ever(&server, "page");
    live(&server);
    let mut before = manifest(&server, "page").unwrap();
    let last = before.tracks("video")[0].addresses().last();
    // One that has just begun.
    let mpd = until("the next segment grows", SOON, || {
        let now = manifest(&server, "page")?;
        now.follows(&before);
        before = now.clone();
        (now.tracks("video")[0].addresses().last() != last).then_some(now)
    });
    let track = mpd.tracks("video")[0];
    assert!((1.5..1.9).contains(&track.early.unwrap()), "{mpd:?}");
    assert!(mpd.latency >= Some(1500) && mpd.update == 0.5, "{mpd:?}");
    let address = track.addresses().last().unwrap();
    let mut tcp = TcpStream::connect(server.http).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    write!(tcp, "GET /live/{address} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    // When each chunk came.
    let (mut all, mut seen, mut came) = (Vec::new(), 0, Vec::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = tcp.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..n]);
        let chunks = all.windows(4).filter(|bytes| bytes == b"moof").count();
        if chunks > seen {
            (seen, _) = (chunks, came.push(Instant::now()));
        }
    }
    assert!(all.ends_with(b"\r\n0\r\n\r\n"), "it has an end");
    assert!((6..=9).contains(&seen) && came.len() >= 4, "{seen} chunks came in {} pieces", came.len());
    let whole = until("it is complete", SOON, || {
        let reply = crate::http::get(server.http, &format!("/live/{address}")).ok()?;
        reply.header("content-length").is_some().then_some(reply.body)
    });
    assert_eq!(whole.windows(4).filter(|bytes| bytes == b"moof").count(), seen);
    // Who serves the files knows nothing of it.
    let file = std::fs::read_to_string(server.dir.join("html/live/page.mpd")).unwrap();
    assert!(!file.contains("availabilityTimeOffset") && !file.contains("Latency"), "{file}");

    let url = url(&server);
    let mut player =
        tools::start(ffmpeg(), &["-i", &url, "-t", "6", "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-"]);
    player.succeed(LIMIT);
    assert_eq!(player.err.all(), [""; 0]);
    let frames = tools::Line::read(&player.out.all());
    assert!((145..=151).contains(&of(&frames, 0).len()), "{}", of(&frames, 0).len());
}

#[test]
fn browsers_are_less_than_three_seconds_behind() {
    let server = server();
    let _camera = Camera::start(&server, "page");
    live(&server);
    for player in ["", "#shaka"] {
        let seen = watch(&format!("{}{player}", url(&server)));
        assert!(seen["p50"].as_u64() < Some(3000), "{seen}");
    }
}
