//! WebRTC in a real browser: Chromium publishes by WHIP and plays by WHEP, together with ffmpeg over RTMP.

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::{Value, json};

use super::{endpoint, meet, screenshot, server, server_with};
use crate::harness::{SOON, Server, Setup, free_port, until};
use crate::http;
use crate::players::publish_clip_for_ever;
use crate::tools::{PICTURES, SOUND, clip, ffmpeg, ffprobe};

#[test]
fn an_rtmp_stream_plays_in_a_browser() {
    let server = server();
    // Browsers are given no B-frames, so that all of these can be counted.
    let clip =
        clip(ffmpeg(), &format!("{PICTURES} {SOUND} -c:v libx264 -preset veryfast -g 25 -bf 0 -c:a aac"));
    let _publisher = publish_clip_for_ever(&server, &clip, "page");
    let play = endpoint(&server, "whep", "page");
    let seen = meet(&json!({ "play": play, "seconds": 5, "screenshot": screenshot("whep.png") }));
    assert!(seen["frames"].as_u64() > Some(100), "{seen}");
    assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    assert_eq!([&seen["width"], &seen["height"]], [320, 180], "{seen}");
    assert_eq!(seen["play"]["video"]["codec"], "video/H264", "{seen}");
    assert_eq!(seen["deleted"], json!([200]), "{seen}");
}

#[test]
fn a_browser_plays_what_a_browser_publishes() {
    browsers_meet(&server(), "udp");
}

#[test]
fn browsers_meet_over_tcp() {
    let port = free_port();
    // With an RSA certificate, since every other test has one of P-256.
    let more = format!("tcp {{ enabled on; listen {port}; }} protocol tcp; ecdsa off;");
    browsers_meet(&server_with(&more), "tcp");
}

/// A browser whose network has changed starts ICE again, and plays on in the same session.
#[test]
fn a_browser_starts_ice_again() {
    let server = server();
    let clip =
        clip(ffmpeg(), &format!("{PICTURES} {SOUND} -c:v libx264 -preset veryfast -g 25 -bf 0 -c:a aac"));
    let _publisher = publish_clip_for_ever(&server, &clip, "page");
    let play = endpoint(&server, "whep", "page");
    let seen = meet(&json!({ "play": play, "seconds": 3, "restart": true }));
    assert!(seen["startedAgain"].is_string(), "{seen}");
    assert!(seen["frames"].as_u64() > Some(50), "{seen}");
    assert_eq!(seen["deleted"], json!([200]), "{seen}");
    server.logged(&["ICE starts again"]);
}

/// Some networks let nothing through but the port of HTTPS.
#[test]
fn browsers_meet_over_the_port_of_https() {
    let [https, udp] = [(); 2].map(|()| free_port());
    let server = Server::with(Setup {
        top: &format!(
            "rtc_server {{ enabled on; listen {udp}; candidate 127.0.0.1; tcp {{ enabled on; listen {https}; }} protocol tcp; }}"
        ),
        http: &format!("https {{ enabled on; listen {https}; }}"),
        vhost: "rtc { enabled on; }",
        ..Setup::default()
    });
    browsers_meet(&server, "tcp");
}

fn browsers_meet(server: &Server, protocol: &str) {
    let (publish, play) = (endpoint(server, "whip", "talk"), endpoint(server, "whep", "talk"));
    let seen = meet(
        &json!({ "publish": publish, "play": play, "seconds": 5, "screenshot": screenshot(&format!("whip-{protocol}.png")) }),
    );
    assert!(seen["frames"].as_u64() > Some(60), "{seen}");
    assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    assert_eq!(
        [&seen["play"]["pair"]["protocol"], &seen["publish"]["pair"]["protocol"]],
        [protocol, protocol]
    );
    assert_eq!(seen["deleted"], json!([200, 200]), "{seen}");
}

/// What one browser sends in a codec, another one gets in it, untouched.
#[test]
fn other_codecs_pass_through() {
    for codec in ["video/VP8", "video/VP9", "video/AV1"] {
        let server = server();
        let (publish, play) = (endpoint(&server, "whip", "talk"), endpoint(&server, "whep", "talk"));
        let seen = meet(&json!({ "publish": publish, "play": play, "codec": codec, "seconds": 3 }));
        assert_eq!(
            [&seen["publish"]["video"]["codec"], &seen["play"]["video"]["codec"]],
            [codec; 2],
            "{seen}"
        );
        assert!(seen["frames"].as_u64() > Some(25) && seen["energy"].as_f64() > Some(0.0), "{codec}: {seen}");
    }
}

#[test]
fn pictures_or_sound_alone() {
    let server = server();
    for only in ["audio", "video"] {
        let (publish, play) = (endpoint(&server, "whip", only), endpoint(&server, "whep", only));
        let seen = meet(&json!({ "publish": publish, "play": play, "only": only, "seconds": 3 }));
        let (frames, energy) = (seen["frames"].as_u64(), seen["energy"].as_f64());
        match only {
            "audio" => assert!(frames == Some(0) && energy > Some(0.0), "{seen}"),
            _ => assert!(frames > Some(25) && energy == Some(0.0), "{seen}"),
        }
    }
}

/// Sound is cheap, and what people miss first.
#[test]
fn an_overloaded_server_sends_sound_only() {
    let port = free_port();
    let server = Server::with(Setup {
        top: &format!(
            "rtc_server {{ enabled on; listen {port}; candidate 127.0.0.1; }}
            circuit_breaker {{ high_pulse 0; critical_pulse 0; dying_threshold 0; dying_pulse 1; shed_players off; }}"
        ),
        vhost: "rtc { enabled on; rtmp_to_rtc on; }",
        ..Setup::default()
    });
    let clip =
        clip(ffmpeg(), &format!("{PICTURES} {SOUND} -c:v libx264 -preset veryfast -g 25 -bf 0 -c:a aac"));
    let _publisher = publish_clip_for_ever(&server, &clip, "page");
    let play = endpoint(&server, "whep", "page");
    let (api, over) = (server.api, AtomicBool::new(false));
    let seen = std::thread::scope(|scope| {
        // More than no load at all is overload here.
        scope.spawn(|| {
            while !over.load(Relaxed) {
                let _ = http::get(api, "/api/v1/summaries");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        server.logged(&["overload: Normal -> Dying"]);
        let seen = meet(&json!({ "play": play, "seconds": 4, "sound": true }));
        over.store(true, Relaxed);
        seen
    });
    assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    assert!(seen["frames"].as_u64() < Some(30), "pictures are sent: {seen}");
    server.logged(&["overload: no pictures"]);
}

/// What a browser publishes reaches RTMP players with sound that they understand, and the publisher shows in the API with its network.
#[test]
fn ffmpeg_plays_what_a_browser_publishes() {
    let server = server();
    let publish = endpoint(&server, "whip", "cam");
    let browser = std::thread::spawn(move || meet(&json!({ "publish": publish, "seconds": 12 })));
    server.logged(&["connected over Udp"]);
    let mut probe = Command::new(ffprobe());
    probe.args(["-v", "error", "-show_entries", "stream=codec_name,width,channels", "-of", "csv=p=0"]);
    let seen = probe.arg(server.rtmp_url("cam")).output().unwrap();
    let seen = String::from_utf8(seen.stdout).unwrap();
    let client = until("the API tells of reception", SOON, || {
        let reply = http::get(server.api, "/api/v1/clients/").ok()?;
        let clients: Value = serde_json::from_slice(&reply.body).ok()?;
        let all = clients["clients"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|client| client["type"] == "rtc-publish" && client["reception"]["rtt_ms"].is_number())
    });
    assert_eq!(client["reception"]["lost"], 0, "{client}");
    assert_eq!(seen.lines().collect::<Vec<_>>(), ["h264,640", "aac,2"]);
    browser.join().unwrap();
}
