//! WebRTC in a real browser: Chromium publishes by WHIP and plays by WHEP, together with ffmpeg over RTMP.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::child::Running;
use crate::harness::{Server, Setup, free_port};
use crate::players::publish_for_ever;

/// A server with WebRTC on ports of its own, and every bridge open.
fn server() -> Server {
    let port = free_port();
    Server::with(Setup {
        top: &format!("rtc_server {{ enabled on; listen {port}; candidate 127.0.0.1; }}"),
        vhost: "rtc { enabled on; rtmp_to_rtc on; rtc_to_rtmp on; }",
        ..Setup::default()
    })
}

/// Where a stream is published (`whip`) or played (`whep`).
fn endpoint(server: &Server, what: &str, stream: &str) -> String {
    format!("http://{}/rtc/v1/{what}/?app=live&stream={stream}", server.api)
}

/// Has a browser do what `wish` says (see `rtc.mjs`); what it has seen.
fn meet(wish: &Value) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let mut command = Command::new("node");
    command.current_dir(directory).args(["rtc.mjs", &wish.to_string()]);
    let mut page = Running::start("node rtc.mjs", &mut command);
    page.succeed(Duration::from_secs(120));
    let line = page.out.all().pop().unwrap_or_default();
    let seen: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
    assert_eq!(seen["errors"], json!([]), "{seen}");
    seen
}

fn screenshot(name: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).display().to_string()
}

#[test]
fn an_rtmp_stream_plays_in_a_browser() {
    let server = server();
    let _publisher = publish_for_ever(&server, "page");
    let play = endpoint(&server, "whep", "page");
    let seen = meet(&json!({ "play": play, "seconds": 5, "screenshot": screenshot("whep.png") }));
    assert!(seen["frames"].as_u64() > Some(60), "{seen}");
    assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    assert_eq!([&seen["width"], &seen["height"]], [320, 180], "{seen}");
    assert_eq!(seen["play"]["video"]["codec"], "video/H264", "{seen}");
    assert_eq!(seen["deleted"], json!([200]), "{seen}");
}

#[test]
fn a_browser_plays_what_a_browser_publishes() {
    let server = server();
    let (publish, play) = (endpoint(&server, "whip", "talk"), endpoint(&server, "whep", "talk"));
    let seen = meet(
        &json!({ "publish": publish, "play": play, "seconds": 5, "screenshot": screenshot("whip.png") }),
    );
    assert!(seen["frames"].as_u64() > Some(60), "{seen}");
    assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    assert_eq!(seen["deleted"], json!([200, 200]), "{seen}");
}
