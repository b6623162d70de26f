//! HLS in the players of others: hls.js in Chromium, VLC, GStreamer and ffmpeg.

use std::time::{Duration, Instant};

use rtmp::MediaKind;

use crate::browser::{Page, has_pictures, is_well_seen};
use crate::client::Client;
use crate::harness::{Server, until};
use crate::hls::server;
use crate::players::{LIMIT, gstreamer, publish_for_ever, watch_with_vlc};
use crate::tape::Tape;
use crate::tools::{self, ffmpeg, usual_clip};
use crate::viewer::Viewer;

fn url(server: &Server) -> String {
    format!("http://{}/live/page.m3u8", server.http)
}

/// A stream of which some segments are listed.
fn live() -> (Server, crate::child::Running) {
    let server = server("hls_window 6;");
    let publisher = publish_for_ever(&server, "page");
    Viewer::open(&server, "page").follow_to(3);
    (server, publisher)
}

#[test]
fn a_browser_plays_on_with_the_next_publisher() {
    let (server, publisher) = live();
    let page = Page::open(&url(&server), 14, "browser-hls.png");
    until("the page plays", LIMIT, || {
        let segments = server.log().all().iter().filter(|line| line.contains(".ts?hls_ctx=")).count();
        (segments >= 12).then_some(())
    });
    drop(publisher);
    until("the publisher has left", LIMIT, || {
        let stream = server.stream("page")?;
        (stream["publish"]["active"] == false).then_some(())
    });
    let _publisher = publish_for_ever(&server, "page");
    let seen = page.seen();
    is_well_seen(&seen);
    // The gap between the two costs a moment, not the stream.
    assert!(seen["progress"].as_f64() > Some(9.0), "{seen}");
    let text = crate::http::get(server.http, "/live/page.m3u8?hls_ctx=abcd1234").unwrap().body;
    assert!(
        String::from_utf8(text).unwrap().contains("EXT-X-DISCONTINUITY"),
        "the page saw no second publisher"
    );
}

/// An encoder may announce sound and never send any.
#[test]
fn a_browser_does_not_wait_for_sound_that_never_comes() {
    let server = server("hls_window 6;");
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "page");
    tape.headers(&mut publisher, 0);
    let tape = tape.without(MediaKind::Audio);
    let mut at = 3100;
    tape.play(&mut publisher, 0, at, 0);
    Viewer::open(&server, "page").follow_to(3);
    let mut page = Page::open(&url(&server), 5, "browser-hls-silent.png");
    let start = Instant::now();
    while page.is_open() {
        let now = 3100 + start.elapsed().as_millis() as u32;
        tape.play(&mut publisher, at, now, 0);
        at = now;
        std::thread::sleep(Duration::from_millis(40));
    }
    has_pictures(&page.seen());
}

#[test]
fn vlc_plays() {
    let (server, _publisher) = live();
    let (pictures, sound) = watch_with_vlc(&url(&server), "vlc-hls");
    assert!(pictures > 60 && sound > 80, "{pictures} pictures, {sound} frames of sound");
}

#[test]
fn ffmpeg_plays_and_has_nothing_to_say() {
    let (server, _publisher) = live();
    let mut player = tools::start(
        ffmpeg(),
        &["-i", &url(&server), "-t", "5", "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-"],
    );
    player.succeed(LIMIT);
    assert_eq!(player.err.all(), [""; 0]);
    let frames = tools::Line::read(&player.out.all());
    let (pictures, sound) = (tools::of(&frames, 0).len(), tools::of(&frames, 1).len());
    assert!((120..=126).contains(&pictures) && (230..=236).contains(&sound), "{pictures}, {sound}");
}

/// The older demultiplexer and the newer one, which is chosen for players.
#[test]
fn gstreamer_plays() {
    let (server, _publisher) = live();
    let url = url(&server);
    for source in [
        format!("souphttpsrc location={url} ! hlsdemux ! tsdemux ! h264parse ! avdec_h264"),
        format!("uridecodebin3 uri={url} ! videoconvert"),
    ] {
        let player = gstreamer(&format!("{source} ! fakesink name=seen silent=false num-buffers=75"));
        // They follow the playlist even when nobody wants more pictures, so they do not end.
        let seen = player.out.wait(LIMIT, |lines| {
            let pictures = lines.iter().filter(|line| line.contains("last-message = chain")).count();
            (pictures == 75).then_some(())
        });
        assert!(seen.is_some(), "{:#?}{:#?}", player.out.all(), player.err.all());
    }
}
