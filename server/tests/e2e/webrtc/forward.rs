//! Streams for servers of WHIP: a second Oxcast, where ffmpeg and a browser play them, aiortc, which wants a token, and GStreamer; both are
//! full agents of ICE.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::independents::{Client as Independent, python_of_pypi};
use super::networks::rtmp_pictures;
use super::peer::Call;
use super::relay::{Relay, Weather};
use super::sync::{are_together, beeps, flashes, plays, record, skews};
use super::{endpoint, meet, seen, server};
use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, Server, Setup, directory, free_port, until};
use crate::players::{publish_clip_for_ever, publish_for_ever};
use crate::tools::{LIMIT, Line, PICTURES, SOUND, clip, ffmpeg, ffmpeg_new, run, start};

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
fn gstreamer_takes_it_with_its_profile() {
    let port = free_port();
    let destination = Independent::GStreamer.start(&json!({ "serve": port, "pictures": 50, "sounds": 50 }));
    let told =
        |word: &str| destination.out.wait(LIMIT, |lines| lines.iter().any(|line| line == word).then_some(()));
    assert!(told("\"ready\"").is_some(), "{:?}", destination.err.all());
    let server = Server::with_vhost(&forward(&format!("whip://127.0.0.1:{port}/whip/[stream]")));
    let mut publisher = publish_clip_for_ever(&server, &clip(ffmpeg(), MARKS), "a");
    assert!(told("\"enough\"").is_some(), "{:?}", destination.err.all());
    publisher.signal(Signal::TERM);
    publisher.wait(SOON);
    let seen = seen(destination);
    assert_eq!((&seen["deleted"], &seen["size"]), (&json!("/whip/session"), &json!([320, 180])), "{seen}");
    assert!(seen["loudest"].as_u64() > Some(1000), "silence: {seen}");
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

/// From a WebRTC publisher over a poor network, by HTTPS: what is lost is sent again, and keyframes that the server wants are those of the publisher.
#[test]
fn what_is_lost_on_the_way_is_sent_again() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pems = directory();
    fs::write(pems.join("cert.pem"), certificate.cert.pem()).unwrap();
    fs::write(pems.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    let ([port, api], pems) = ([(); 2].map(|()| free_port()), pems.display());
    let second = Server::with(Setup {
        top: &format!("rtc_server {{ enabled on; listen {port}; use_auto_detect_network_ip off; }}"),
        vhost: "rtc { enabled on; rtc_to_rtmp on; pli_for_rtmp 1; }",
        api: &format!(
            "https {{ enabled on; listen 127.0.0.1:{api}; cert {pems}/cert.pem; key {pems}/key.pem; }}"
        ),
        ..Setup::default()
    });
    let delay = Duration::from_millis(20);
    let relay = Relay::new(port, Weather { loss: 0.05, delay, twice: false, spoilt: false }, 4);
    let to = format!("whips://localhost:{api}/rtc/v1/whip/?stream=[stream]&eip={}", relay.address);
    let forward = forward(&format!("{to}; tls_ca {pems}/cert.pem"));
    let port = free_port();
    let first = Server::with(Setup {
        top: &format!("rtc_server {{ enabled on; listen {port}; candidate 127.0.0.1; }}"),
        vhost: &format!("rtc {{ enabled on; }} {forward}"),
        ..Setup::default()
    });
    let publisher = Call::new(&first, "a").publish().connected();
    forwarder(&first, "forwarding");
    let before = publisher.seen().keyframes;
    let mut player = Client::play(&second, "a");
    let numbers = rtmp_pictures(&mut player, 150);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(relay.lost() > 10, "{}", relay.lost());
    publisher.until("keyframes are wanted", |seen| seen.keyframes > before + 1);
}

/// Video of other codecs goes as it is.
#[test]
fn hevc_and_av1_are_carried() {
    let second = server();
    let first = Server::with_vhost(&forward(&whip(&second, "[stream]")));
    const HEVC: &str = "libx265 -preset ultrafast -x265-params bframes=0:log-level=error";
    const AV1: &str = "libsvtav1 -preset 12 -svtav1-params lp=1:pred-struct=1";
    for (name, encoder) in [("hevc", HEVC), ("av1", AV1)] {
        let clip = clip(ffmpeg_new(), &format!("{PICTURES} {SOUND} -c:v {encoder} -g 25 -c:a aac"));
        let head = ["-re", "-stream_loop", "-1", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv"];
        let _publisher = start(ffmpeg_new(), &[&head[..], &[&first.rtmp_url(name)]].concat());
        second.took(name, 25);
        let url = second.rtmp_url(name);
        let decode = ["-i", &url, "-map", "0:v", "-frames:v", "50", "-f", "null", "-"];
        let mut player = start(ffmpeg_new(), &decode);
        player.succeed(LIMIT);
        assert_eq!(player.err.all(), <[String; 0]>::default(), "{name}");
        if name == "hevc" {
            let packets = |args: &[&str]| {
                let tail = ["-map", "0:v", "-c", "copy", "-f", "framecrc", "-"];
                let lines = Line::read(&run(ffmpeg_new(), &[args, &tail[..]].concat()));
                lines.into_iter().map(|line| (line.size, line.crc)).collect::<Vec<_>>()
            };
            let (sent, got) = (packets(&["-i", clip.to_str().unwrap()]), packets(&["-t", "2", "-i", &url]));
            let at = sent.iter().position(|packet| *packet == got[0]).expect("a picture of the clip");
            let sent = sent.iter().cycle().skip(at).take(got.len());
            assert!(got.len() > 20 && got.iter().eq(sent), "not as it was sent");
        }
    }
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
