//! HDS: what ffmpeg publishes is fetched by a reader of HDS that we did not write (yt-dlp), and is there to the last frame.

use std::fs;
use std::process::Command;

use crate::child::Running;
use crate::harness::{SOON, Server, until};
use crate::http;
use crate::storage::python;
use crate::tools::{self, LIMIT, ffmpeg, of, usual_clip};

fn files(server: &Server) -> Vec<String> {
    let entries = fs::read_dir(server.dir.join("html/live")).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_published_is_fetched_to_the_last_frame() {
    let server = Server::with_vhost("hds { enabled on; hds_fragment 1; hds_window 60; hds_path ./html; }");
    let clip = usual_clip();
    tools::publish(ffmpeg(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
    let want = ["a.abst", "a.f4m", "aSeg1-Frag1", "aSeg1-Frag2", "aSeg1-Frag3", "aSeg1-Frag4"];
    until("all is there", SOON, || (files(&server) == want).then_some(()));
    // It has ended: a run of no length at the end of the table.
    until("the end is told", SOON, || {
        let bytes = http::get(server.http, "/live/a.abst").unwrap().body;
        bytes.ends_with(&[0; 17]).then_some(())
    });
    for (name, kind, cache) in [
        ("a.f4m", "application/f4m+xml", Some("no-cache")),
        ("a.abst", "application/octet-stream", Some("no-cache")),
        ("aSeg1-Frag1", "video/f4f", None),
    ] {
        let reply = http::get(server.http, &format!("/live/{name}")).unwrap();
        assert_eq!(
            (reply.header("content-type"), reply.header("cache-control")),
            (Some(kind), cache),
            "{name}"
        );
    }
    let mut fetch = Command::new(python());
    let url = format!("http://{}/live/a.f4m", server.http);
    fetch.current_dir(&server.dir).args([
        "-m",
        "yt_dlp",
        "--no-config",
        "--no-cache-dir",
        "-q",
        "-o",
        "got.flv",
        &url,
    ]);
    Running::start("yt-dlp", &mut fetch).succeed(LIMIT * 2);
    let got = server.dir.join("got.flv");
    let (got, clip) = (got.to_str().unwrap(), clip.to_str().unwrap());
    let (got, want) = (tools::decoded(ffmpeg(), got), tools::decoded(ffmpeg(), clip));
    for stream in 0..=1 {
        let (got, want) = (of(&got, stream), of(&want, stream));
        let crcs = |lines: &[&tools::Line]| lines.iter().map(|line| line.crc.clone()).collect::<Vec<_>>();
        assert_eq!(crcs(&got), crcs(&want), "frames of stream {stream}");
    }
}

#[test]
fn old_fragments_go_and_numbers_go_on() {
    let mut server = Server::with_vhost("hds { enabled on; hds_fragment 1; hds_window 2; hds_path ./html; }");
    let clip = usual_clip();
    for _ in 0..2 {
        tools::publish(ffmpeg(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
    }
    // Three listed at most, two on their way out.
    until("old ones are gone", SOON, || {
        let files = files(&server);
        (files.contains(&"aSeg1-Frag8".into()) && !files.contains(&"aSeg1-Frag3".into())).then_some(())
    });
    server.stop();
    let config = fs::read_to_string(server.dir.join("oxcast.conf")).unwrap();
    let _again = crate::harness::ready(&server.dir, &config);
    tools::publish(ffmpeg(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
    until("what an older process left is gone", SOON, || {
        let files = files(&server);
        (files.contains(&"aSeg1-Frag4".into()) && !files.contains(&"aSeg1-Frag8".into())).then_some(())
    });
}
