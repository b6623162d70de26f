//! DASH: what ffmpeg publishes is there to the last frame, over two publishers; dash.js and Shaka play it live in Chromium, ffmpeg too.

use std::fs;
use std::path::PathBuf;

use crate::browser::{Page, has_pictures};
use crate::child::Running;
use crate::harness::{SOON, Server, until};
use crate::http;
use crate::mpd::{Mpd, Track};
use crate::players::{LIMIT, publish_for_ever};
use crate::tools::{self, ffmpeg, of, usual_clip};

fn server(fragment: u32) -> Server {
    Server::with_vhost(&format!(
        "dash {{ enabled on; dash_fragment {fragment}; dash_update_period 1; dash_window_size 20; dash_path ./html; }}"
    ))
}

/// The manifest, if there is one.
pub fn manifest(server: &Server, stream: &str) -> Option<Mpd> {
    let reply =
        http::get(server.http, &format!("/live/{stream}.mpd")).ok().filter(|reply| reply.status == 200)?;
    assert_eq!(reply.header("content-type"), Some("application/dash+xml"));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    Some(Mpd::read(&String::from_utf8(reply.body).unwrap()))
}

/// The init segment and the segments of a track in one file, as players get them.
pub fn film(server: &Server, track: &Track, name: &str) -> PathBuf {
    let fetch = |address: String| {
        let reply = http::get(server.http, &format!("/live/{address}")).unwrap();
        assert_eq!(reply.status, 200, "{address}");
        assert_eq!(reply.header("content-type"), Some(&*format!("{}/mp4", track.kind)), "{address}");
        reply.body
    };
    let bytes: Vec<u8> =
        std::iter::once(track.init.clone()).chain(track.addresses()).flat_map(fetch).collect();
    let path = server.dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_is_published_is_there_to_the_last_frame() {
    let server = server(1);
    let clip = usual_clip();
    let mut before: Option<Mpd> = None;
    let mut mpd = None;
    for n in 1..=2 {
        tools::publish(ffmpeg(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
        let now = until("all is listed", SOON, || {
            let mpd = manifest(&server, "a")?;
            let all: usize = mpd.tracks("video").iter().map(|track| track.segments.len()).sum();
            (mpd.periods.len() == n && all == n * 4).then_some(mpd)
        });
        before.iter().for_each(|before| now.follows(before));
        before = Some(now.clone());
        mpd = Some(now);
    }
    let mpd = mpd.unwrap();
    let about = &mpd.tracks("video")[0].about;
    assert!(about["codecs"].starts_with("avc1.") && about["frameRate"] == "25", "{about:?}");
    assert_eq!((&*about["width"], &*about["height"]), ("320", "180"));
    assert_eq!(mpd.tracks("audio")[0].codecs, "mp4a.40.2");
    let want = tools::decoded(ffmpeg(), clip.to_str().unwrap());
    for (at, kind) in ["video", "audio"].into_iter().enumerate() {
        for (n, track) in mpd.tracks(kind).into_iter().enumerate() {
            let film = film(&server, track, &format!("{kind}-{n}.mp4"));
            let got = tools::decoded(ffmpeg(), film.to_str().unwrap());
            let (got, want) = (of(&got, 0), of(&want, at));
            assert_eq!(got.len(), want.len(), "frames of {kind} in period {n}");
            assert!(got.windows(2).all(|pair| pair[0].pts < pair[1].pts), "{kind} runs backwards");
            let differs = got.iter().zip(&want).position(|(got, want)| got.crc != want.crc);
            assert_eq!(differs.filter(|_| kind == "video"), None, "frames of {kind}");
        }
    }
    // What any web server could serve says the same.
    let file = Mpd::read(&fs::read_to_string(server.dir.join("html/live/a.mpd")).unwrap());
    assert_eq!(file.periods, mpd.periods);
    assert_eq!(file.clocks, [("urn:mpeg:dash:utc:http-head:2014".into(), "a.mpd".into())]);
    // The clock that players set theirs by.
    let (scheme, address) = &mpd.clocks[0];
    assert_eq!(scheme, "urn:mpeg:dash:utc:http-iso:2014");
    let time = String::from_utf8(http::get(server.http, &format!("/live/{address}")).unwrap().body).unwrap();
    assert!(time > mpd.published && time.len() == mpd.published.len(), "{time}");
}

/// A stream of which some segments are listed.
fn live(server: &Server) -> Running {
    let publisher = publish_for_ever(server, "page");
    until("segments are listed", LIMIT, || {
        manifest(server, "page").filter(|mpd| mpd.tracks("video")[0].segments.len() >= 3)
    });
    publisher
}

#[test]
fn ffmpeg_plays() {
    // It takes times for whole seconds, and fetches shorter segments twice.
    let server = server(2);
    let _publisher = live(&server);
    let url = format!("http://{}/live/page.mpd", server.http);
    let mut player = tools::start(
        ffmpeg(),
        &["-i", &url, "-t", "10", "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-"],
    );
    player.succeed(LIMIT);
    // It asks for segments by number before they are listed, and tries again.
    let is_early = |line: &String| {
        line.contains("404 Not Found") || line.contains("Failed to open fragment of playlist")
    };
    let complaints: Vec<_> = player.err.all().into_iter().filter(|line| !is_early(line)).collect();
    assert_eq!(complaints, [""; 0]);
    let frames = tools::Line::read(&player.out.all());
    let (pictures, sound) = (of(&frames, 0).len(), of(&frames, 1).len());
    assert!((245..=251).contains(&pictures) && (460..=472).contains(&sound), "{pictures}, {sound}");
    let steps = of(&frames, 0).windows(2).all(|pair| pair[1].pts - pair[0].pts == 1);
    assert!(steps, "a picture is missing or comes twice: {frames:?}");
}

#[test]
fn browsers_play_on_with_the_next_publisher() {
    let server = server(1);
    let publisher = live(&server);
    let url = format!("http://{}/live/page.mpd", server.http);
    let pages = [("", "browser-dash.png"), ("#shaka", "browser-shaka.png")]
        .map(|(player, picture)| Page::open(&format!("{url}{player}"), 14, picture));
    until("both play", LIMIT, || {
        let asked = server.log().all().iter().filter(|line| line.contains("GET /live/page/video-")).count();
        (asked >= 14).then_some(())
    });
    drop(publisher);
    server.has_clients(0);
    let _publisher = publish_for_ever(&server, "page");
    for page in pages {
        let seen = page.seen();
        has_pictures(&seen);
        assert!(seen["audioBytes"].as_u64() > Some(10_000), "{seen}");
        assert!(seen["progress"].as_f64() > Some(8.0), "{seen}");
    }
    assert!(manifest(&server, "page").unwrap().periods.len() == 2, "the pages saw no second publisher");
}
