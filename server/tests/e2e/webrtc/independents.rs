//! WebRTC clients that are neither browsers nor str0m: aiortc, and GStreamer's webrtcbin, whose certificates are of RSA. What one
//! publishes by WHIP the other plays by WHEP, and ffmpeg over RTMP.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{endpoint, seen, server};
use crate::child::Running;
use crate::harness::Server;
use crate::tools::{Line, ffmpeg, of, run};

/// Which client.
#[derive(Clone, Copy)]
pub(super) enum Client {
    Aiortc,
    GStreamer,
}

impl Client {
    /// Has it do what `wish` says (see the head of its script).
    pub(super) fn start(self, wish: &Value) -> Running {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
        let (python, script) = match self {
            Self::Aiortc => (python_of_pypi(), "peer_aiortc.py"),
            // The bindings of GStreamer are for the distribution's own.
            Self::GStreamer => (PathBuf::from("/usr/bin/python3"), "peer_gstreamer.py"),
        };
        let mut command = Command::new(python);
        Running::start(script, command.arg(scripts.join(script)).arg(wish.to_string()))
    }
}

/// The one with the packages of PyPI, as `make test` installs them.
pub(super) fn python_of_pypi() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/py/bin/python");
    assert!(python.exists(), "no {}: `make test` installs it", python.display());
    python
}

/// How long a publisher goes on; its players end before.
const SECONDS: u32 = 12;

/// `publisher` and `player` meet; the server as they leave it, with the publisher still there.
fn meet(publisher: Client, player: Client, codec: &str) -> (Server, Running) {
    let server = server();
    let publish = json!({ "publish": endpoint(&server, "whip", "a"), "codec": codec, "seconds": SECONDS });
    let publishing = publisher.start(&publish);
    server.logged(&["connected over Udp"]);
    let play =
        json!({ "play": endpoint(&server, "whep", "a"), "codec": codec, "pictures": 50, "sounds": 50 });
    let seen = seen(player.start(&play));
    let number = |name: &str| seen[name].as_u64().unwrap_or_default();
    assert!(number("pictures") >= 50 && number("sounds") >= 50, "{seen}");
    assert!(number("loudest") > 1000, "silence: {seen}");
    assert_eq!(seen["deleted"], 200, "{seen}");
    (server, publishing)
}

/// ffmpeg decodes two seconds of it over RTMP; then the publisher leaves.
#[track_caller]
fn watch(server: &Server, publishing: Running) {
    let url = server.rtmp_url("a");
    // The times as they came: ffmpeg would round them to the rate that it guesses.
    let as_they_came = ["-fps_mode", "passthrough", "-enc_time_base:v", "-1"];
    let tail =
        [&["-t", "2", "-map", "0:v", "-map", "0:a"], &as_they_came[..], &["-f", "framecrc", "-"]].concat();
    let lines = Line::read(&run(ffmpeg(), &[&["-i", &url], &tail[..]].concat()));
    let (pictures, sounds) = (of(&lines, 0), of(&lines, 1));
    assert!(pictures.len() > 40 && sounds.len() > 80, "{} and {}", pictures.len(), sounds.len());
    for track in [pictures, sounds] {
        assert!(track.windows(2).all(|pair| pair[1].pts > pair[0].pts), "{track:?}");
    }
    assert_eq!(seen(publishing)["deleted"], 200);
    server.has_clients(0);
}

#[test]
fn gstreamer_publishes_for_aiortc() {
    let (server, publishing) = meet(Client::GStreamer, Client::Aiortc, "H264");
    watch(&server, publishing);
}

#[test]
fn aiortc_publishes_for_gstreamer() {
    let (server, publishing) = meet(Client::Aiortc, Client::GStreamer, "H264");
    watch(&server, publishing);
}

#[test]
fn vp8_from_gstreamer_to_aiortc_and_back() {
    meet(Client::GStreamer, Client::Aiortc, "VP8");
    meet(Client::Aiortc, Client::GStreamer, "VP8");
}
