//! A real browser: Chromium with mpegts.js or an `<audio>` element, on a page of another origin.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rtmp::MediaKind;
use serde_json::Value;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{Server, Setup};
use crate::players::{publish_clip_for_ever, publish_for_ever};
use crate::tape::Tape;
use crate::tools::{PICTURES, SOUND, clip, ffmpeg, usual_clip};
use crate::{http_audio, http_ts};

/// How long a browser may take to start; machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A page that plays a stream.
pub struct Page(Running);

impl Page {
    /// Opens it; it will play for so many seconds.
    pub fn open(url: &str, seconds: u32, screenshot: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        assert!(
            directory.join("node_modules").exists(),
            "{}/node_modules is missing: `make test` installs it (npm ci)",
            directory.display()
        );
        let screenshot = Path::new(env!("CARGO_TARGET_TMPDIR")).join(screenshot);
        let mut command = Command::new("node");
        command.current_dir(directory).args(["play.mjs", url, &seconds.to_string()]).arg(screenshot);
        Self(Running::start("node play.mjs", &mut command))
    }

    /// It is still there.
    pub fn is_open(&mut self) -> bool {
        self.0.ended().is_none()
    }

    /// What its viewer has seen.
    pub fn seen(mut self) -> Value {
        self.0.succeed(Duration::from_secs(90));
        let line = self.0.out.all().pop().unwrap_or_default();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }
}

/// What a viewer has seen after five seconds.
pub fn watch(url: &str, screenshot: &str) -> Value {
    Page::open(url, 5, screenshot).seen()
}

#[track_caller]
pub fn is_well_seen(seen: &Value) {
    has_pictures(seen);
    is_well_heard(seen);
    assert_eq!(seen["media"]["audio"], true, "{seen}");
}

#[track_caller]
pub fn has_pictures(seen: &Value) {
    assert_eq!(seen["errors"], Value::Array(Vec::new()), "{seen}");
    assert!(seen["progress"].as_f64() > Some(3.0), "{seen}");
    assert!(seen["frames"].as_u64() > Some(60), "{seen}");
    assert_eq!([&seen["width"], &seen["height"]], [320, 180], "{seen}");
}

#[track_caller]
pub fn is_well_heard(seen: &Value) {
    assert_eq!(seen["errors"], Value::Array(Vec::new()), "{seen}");
    assert!(seen["progress"].as_f64() > Some(3.0), "{seen}");
    assert!(seen["audioBytes"].as_u64() > Some(10_000), "no sound is decoded: {seen}");
}

#[test]
fn a_browser_plays_http_flv() {
    let server = Server::start();
    let _publisher = publish_for_ever(&server, "page");
    is_well_seen(&watch(&server.flv_url("page"), "browser-http.png"));
}

#[test]
fn a_browser_plays_websocket_flv() {
    let server = Server::start();
    let _publisher = publish_for_ever(&server, "page");
    is_well_seen(&watch(&format!("ws://{}/live/page.flv", server.http), "browser-websocket.png"));
}

#[test]
fn a_browser_plays_http_ts() {
    let server = http_ts::server();
    let _publisher = publish_for_ever(&server, "page");
    is_well_seen(&watch(&http_ts::url(&server, "page"), "browser-http-ts.png"));
}

#[test]
fn a_browser_plays_websocket_ts() {
    let server = http_ts::server();
    let _publisher = publish_for_ever(&server, "page");
    is_well_seen(&watch(&format!("ws://{}/live/page.ts", server.http), "browser-websocket-ts.png"));
}

/// MP3 has no sequence header, so only its first frame makes it a track; a page that is there before must not take the stream for one
/// without sound.
#[test]
fn a_browser_hears_mp3_beside_pictures() {
    let with = "-c:v libx264 -preset veryfast -g 25 -c:a libmp3lame -ar 44100";
    let clip = clip(ffmpeg(), &format!("{PICTURES} {SOUND} {with}"));
    let server = http_ts::server();
    let page = Page::open(&http_ts::url(&server, "page"), 5, "browser-ts-mp3.png");
    let opened = |lines: &[String]| lines.iter().any(|line| line.contains("start play")).then_some(());
    assert!(server.log().wait(PATIENCE, opened).is_some());
    let _publisher = publish_clip_for_ever(&server, &clip, "page");
    let seen = page.seen();
    is_well_seen(&seen);
    assert_eq!(seen["media"]["audioCodec"], "mp3", "{seen}");
}

/// The stream ends with its publisher; a page that opens it anew sees the next one.
#[test]
fn a_browser_sees_the_next_publisher() {
    let server = http_ts::server();
    let publisher = publish_for_ever(&server, "page");
    let page = Page::open(&http_ts::url(&server, "page"), 12, "browser-reconnect.png");
    let opened = |times: usize| {
        server.log().wait(PATIENCE, |lines| {
            lines.iter().filter(|line| line.contains("start play")).nth(times - 1).map(|_| ())
        })
    };
    assert!(opened(1).is_some());
    std::thread::sleep(Duration::from_secs(2));
    drop(publisher);
    assert!(opened(2).is_some(), "the page has not opened the stream anew");
    let _publisher = publish_for_ever(&server, "page");
    let seen = page.seen();
    assert_eq!(seen["ends"], 1, "{seen}");
    assert!(seen["frames"].as_u64() > Some(60) && seen["time"].as_f64() > Some(3.0), "{seen}");
    assert!(seen["audioBytes"].as_u64() > Some(10_000), "{seen}");
    assert_eq!(seen["errors"], Value::Array(Vec::new()), "{seen}");
}

/// An encoder may announce sound and never send any.
#[test]
fn a_browser_does_not_wait_for_sound_that_never_comes() {
    let server = http_ts::server();
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "page");
    tape.headers(&mut publisher, 0);
    let tape = tape.without(MediaKind::Audio);
    let mut page = Page::open(&http_ts::url(&server, "page"), 5, "browser-silent.png");
    let (start, mut at) = (Instant::now(), 0);
    while page.is_open() {
        let now = start.elapsed().as_millis() as u32;
        tape.play(&mut publisher, at, now, 0);
        at = now;
        std::thread::sleep(Duration::from_millis(20));
    }
    has_pictures(&page.seen());
}

#[test]
fn a_browser_plays_sound_alone() {
    for extension in ["mp3", "aac"] {
        let server = http_audio::server(extension, "");
        let _publisher = http_audio::publish_for_ever(&server, extension);
        let seen = watch(&http_audio::url(&server, extension), &format!("browser-{extension}.png"));
        is_well_heard(&seen);
    }
}

#[test]
fn without_crossdomain_pages_from_elsewhere_are_refused() {
    let server = Server::with(Setup { http: "crossdomain off;", ..Setup::default() });
    let _publisher = publish_for_ever(&server, "page");
    let seen = watch(&server.flv_url("page"), "browser-refused.png");
    assert!(seen["errors"].to_string().contains("CORS"), "{seen}");
    assert_eq!(seen["frames"], 0, "{seen}");
}
