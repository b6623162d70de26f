//! Streams for servers of WHIP: a second Oxcast, where ffmpeg and a browser play them, and aiortc, which is a full agent of ICE and wants a token.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::independents::python_of_pypi;
use super::sync::{are_together, beeps, flashes, plays, record, skews};
use super::{endpoint, meet, server};
use crate::child::Running;
use crate::harness::{SOON, Server, free_port, until};
use crate::players::{publish_clip_for_ever, publish_for_ever};
use crate::tools::{LIMIT, clip, ffmpeg};

/// Flashes and beeps at the beginning of each second, without B-frames.
const MARKS: &str = "-f lavfi -i color=black:s=320x180:r=25:d=4,drawbox=t=fill:c=white:enable=lt(mod(t\\,1)\\,0.2) \
    -f lavfi -i aevalsrc=if(lt(mod(t\\,1)\\,0.2)\\,sin(880*2*PI*t)/2\\,0):s=48000:d=4 \
    -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 25 -bf 0 -c:a aac";

/// Publishers may be silent while a test waits for something.
fn forward(to: &str) -> String {
    format!(
        "forward {{ enabled on; destination {to}; }} publish {{ normal_timeout 90000; firstpkt_timeout 90000; }}"
    )
}

/// The endpoint of this server for a stream, as a destination.
fn whip(server: &Server, stream: &str) -> String {
    endpoint(server, "whip", stream).replace("http://", "whip://")
}

/// The only forwarder, when it is in this state.
#[track_caller]
fn forwarder(server: &Server, state: &str) -> Value {
    until(&format!("a forwarder that is {state}"), SOON * 6, || {
        let all = server.ask("/api/v1/forwards")["forwards"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["state"] == state)
    })
}

#[test]
fn a_second_server_gets_sound_and_pictures_in_step() {
    let second = server();
    let first = Server::with_vhost(&forward(&whip(&second, "[stream]")));
    let mut publisher = publish_clip_for_ever(&first, &clip(ffmpeg(), MARKS), "a");
    let one = forwarder(&first, "forwarding");
    assert_eq!(one["destination"], format!("whip://{}/rtc/v1/whip/?***", second.api));
    let browser = meet(&json!({ "play": endpoint(&second, "whep", "a"), "seconds": 3 }));
    assert!(browser["frames"].as_u64() > Some(20), "{browser}");
    assert!(browser["energy"].as_f64() > Some(0.0), "no sound is heard: {browser}");
    for file in record(&second, 6) {
        plays(&file, 120, 200);
        are_together(skews(&flashes(&file), &beeps(&file)), 45.0);
    }
    let one = forwarder(&first, "forwarding");
    assert_eq!((&one["connections"], &one["failures"], &one["dropped"]), (&json!(1), &json!(0), &json!(0)));
    assert!(one["send_bytes"].as_u64() > Some(50_000), "{one}");

    publisher.signal(Signal::TERM);
    publisher.wait(SOON);
    first.logged(&["forward to whip://", "the stream has ended"]);
    second.has_clients(0);
    until("no forwarder", SOON, || {
        first.ask("/api/v1/forwards")["forwards"].as_array().unwrap().is_empty().then_some(())
    });
}

/// aiortc at this port, which wants this token.
fn aiortc(port: u16, token: &str) -> Running {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/whip_aiortc.py");
    let wish = json!({ "port": port, "token": token, "pictures": 50, "sounds": 50 });
    let mut command = Command::new(python_of_pypi());
    let server = Running::start("whip_aiortc.py", command.arg(script).arg(wish.to_string()));
    said(&server, "ready");
    server
}

/// What it says under this name.
#[track_caller]
fn said(server: &Running, name: &str) -> Value {
    let found = server.out.wait(LIMIT, |lines| {
        let values = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        values.into_iter().find_map(|value| value.get(name).cloned())
    });
    found.unwrap_or_else(|| panic!("no {name}: {:?} {:?}", server.out.all(), server.err.all()))
}

#[test]
fn a_server_of_others_with_a_token_that_dies_and_comes_back() {
    let port = free_port();
    let mut destination = aiortc(port, "right");
    let server = Server::with_vhost(&forward(&format!("whip://wrong@127.0.0.1:{port}/moved/[stream]")));
    let mut publisher = publish_for_ever(&server, "a");
    let shown = format!("whip://127.0.0.1:{port}/moved/a");
    let line =
        server.logged(&["[WARN]", &format!("forward to {shown}: the server refuses: 401 Unauthorized")]);
    assert!(line.contains("this token opens nothing; again in 3s"), "{line}");
    let line = server.logged(&["[WARN]", &shown, "B-frames"]);
    assert!(!line.contains("wrong"), "{line}");
    server.reloads(&server.config().replace("wrong@", "right@"));
    forwarder(&server, "forwarding");
    let seen = said(&destination, "enough");
    assert_eq!(seen["size"], json!([320, 180]), "{seen}");
    assert!(seen["loudest"].as_u64() > Some(1000), "silence: {seen}");

    destination.signal(Signal::KILL);
    destination.wait(SOON);
    let mut destination = aiortc(port, "right");
    // After 30 s without an answer to a check.
    let silent = server.log().wait(SOON * 6, |lines| {
        lines.iter().find(|line| line.contains(&shown) && line.contains("silent")).cloned()
    });
    assert!(silent.is_some_and(|line| line.contains("again in 3s")));
    let one = forwarder(&server, "forwarding");
    assert_eq!(one["connections"], 2, "{one}");
    said(&destination, "enough");
    publisher.signal(Signal::TERM);
    publisher.wait(SOON);
    assert_eq!(said(&destination, "deleted")["path"], "/session/1");
    destination.succeed(SOON);
}

#[test]
fn no_stream_comes_back_to_its_own_server() {
    let server = server();
    let config = server.config();
    let with = |stream: &str| {
        let destination = forward(&whip(&server, stream));
        config.replace("rtc { enabled on;", &format!("{destination} rtc {{ enabled on;"))
    };
    server.reloads(&with("[stream]"));
    let publisher = publish_for_ever(&server, "a");
    server.logged(&["[WARN]", "it would come back to this server"]);
    // Nor under ever new names.
    server.reloads(&with("[stream]x"));
    forwarder(&server, "forwarding");
    server.took("ax", 1);
    server.logged_times(&["[WARN]", "it would come back to this server"], 2);
    assert!(server.stream("axx").is_none());
    drop(publisher);
}
