//! WebRTC end to end, with peers that we did not write.

mod bridges;
mod browsers;
mod footage;
mod forward;
mod health;
mod independents;
mod networks;
mod pages;
pub mod peer;
mod refusals;
mod relay;
mod rooms;
mod sync;
mod tcp;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::child::Running;
use crate::harness::{Server, Setup, free_port};

/// A server with WebRTC on ports of its own, and every bridge open.
fn server() -> Server {
    server_with("")
}

/// The same, with more in `rtc_server`.
fn server_with(more: &str) -> Server {
    let port = free_port();
    Server::with(Setup {
        top: &format!("rtc_server {{ enabled on; listen {port}; candidate 127.0.0.1; {more} }}"),
        vhost: "rtc { enabled on; rtmp_to_rtc on; rtc_to_rtmp on; }",
        ..Setup::default()
    })
}

/// A server whose answers offer the address that a client asks for (`eip`), and no other; with more in `rtc`. And the port of its media.
fn server_by_eip(rtc: &str) -> (Server, u16) {
    let port = free_port();
    let server = Server::with(Setup {
        top: &format!("rtc_server {{ enabled on; listen {port}; use_auto_detect_network_ip off; }}"),
        vhost: &format!("rtc {{ enabled on; rtmp_to_rtc on; rtc_to_rtmp on; {rtc} }}"),
        ..Setup::default()
    });
    (server, port)
}

/// Where a stream is published (`whip`) or played (`whep`).
fn endpoint(server: &Server, what: &str, stream: &str) -> String {
    format!("http://{}/rtc/v1/{what}/?app=live&stream={stream}", server.api)
}

/// Has a browser do what `wish` says (see `rtc.mjs`); what it has seen.
fn meet(wish: &Value) -> Value {
    browse("rtc.mjs", wish)
}

/// Has a browser do what the script makes of `wish`; what it has seen, without errors.
fn browse(script: &str, wish: &Value) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let mut command = Command::new("node");
    command.current_dir(directory).args([script, &wish.to_string()]);
    seen(Running::start(&format!("node {script}"), &mut command))
}

/// What a peer has seen, which it says in one line of JSON before it ends; without errors.
fn seen(mut peer: Running) -> Value {
    peer.succeed(Duration::from_secs(180));
    let line = peer.out.all().pop().unwrap_or_default();
    let seen: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
    assert_eq!(seen["errors"], json!([]), "{seen}");
    seen
}

/// Where a screenshot goes, for people to look at.
fn screenshot(name: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).display().to_string()
}
