//! A real browser: Chromium with mpegts.js, on a page of another origin.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::child::Running;
use crate::harness::{Server, Setup};
use crate::players::publish_for_ever;

/// What a viewer has seen after five seconds.
fn watch(url: &str, screenshot: &str) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(
        directory.join("node_modules").exists(),
        "{}/node_modules is missing: `make test` installs it (npm ci)",
        directory.display()
    );
    let screenshot = Path::new(env!("CARGO_TARGET_TMPDIR")).join(screenshot);
    let mut command = Command::new("node");
    command.current_dir(directory).args(["play-flv.mjs", url, "5"]).arg(screenshot);
    let mut browser = Running::start("node play-flv.mjs", &mut command);
    browser.succeed(Duration::from_secs(90));
    let line = browser.out.all().pop().unwrap_or_default();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
}

#[track_caller]
fn is_well_seen(seen: &Value) {
    assert_eq!(seen["errors"], Value::Array(Vec::new()), "{seen}");
    assert!(seen["progress"].as_f64() > Some(3.0), "{seen}");
    assert!(seen["frames"].as_u64() > Some(60), "{seen}");
    assert_eq!([&seen["width"], &seen["height"]], [320, 180], "{seen}");
    assert_eq!(seen["media"]["audio"], true, "{seen}");
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
fn without_crossdomain_pages_from_elsewhere_are_refused() {
    let server = Server::with(Setup { http: "crossdomain off;", ..Setup::default() });
    let _publisher = publish_for_ever(&server, "page");
    let seen = watch(&server.flv_url("page"), "browser-refused.png");
    assert!(seen["errors"].to_string().contains("CORS"), "{seen}");
    assert_eq!(seen["frames"], 0, "{seen}");
}
