//! The bridges between RTMP and WebRTC: what is left out, what is converted, and how soon it is seen.

use std::time::{Duration, Instant};

use rtmp::MediaKind;
use serde_json::{Value, json};
use syom::EncodeOptions;

use super::peer::Call;
use super::{endpoint, meet, server, server_by_eip};
use crate::client::Client;
use crate::harness::Server;
use crate::players::publish_clip_for_ever;
use crate::tools::{PICTURES, SOUND, clip, ffmpeg};

/// What a browser sees in some seconds of an RTMP stream encoded like this.
#[track_caller]
fn watch(server: &Server, encoding: &str) -> Value {
    let clip = clip(ffmpeg(), &format!("{PICTURES} {SOUND} -c:v libx264 -preset veryfast {encoding}"));
    let _publisher = publish_clip_for_ever(server, &clip, "a");
    meet(&json!({ "play": endpoint(server, "whep", "a"), "seconds": 4 }))
}

#[test]
fn b_frames_are_left_out_unless_they_are_to_be_kept() {
    for (keep, least, most) in [("off", 25, 60), ("on", 80, 140)] {
        let (server, port) = server_by_eip(&format!("keep_bframe {keep};"));
        let clip = clip(
            ffmpeg(),
            &format!(
                "{PICTURES} {SOUND} -c:v libx264 -preset veryfast -g 24 -bf 2 -b_strategy 0 -sc_threshold 0 -c:a aac"
            ),
        );
        let _publisher = publish_clip_for_ever(&server, &clip, "a");
        let play = format!("{}&eip=127.0.0.1:{port}", endpoint(&server, "whep", "a"));
        let seen = meet(&json!({ "play": play, "seconds": 4 }));
        // Hardly more than every third picture is no B-frame; all of those are shown. Of those that are kept, a browser receives all, and shows what it likes.
        let [received, shown] = ["received", "frames"].map(|name| seen[name].as_u64().unwrap());
        assert!(keep == "on" || shown + 5 > received, "{shown} of {received}: {seen}");
        assert!((least..most).contains(&received), "keep_bframe {keep}: {received}: {seen}");
        assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    }
}

#[test]
fn mp3_is_heard() {
    let seen = watch(&server(), "-g 25 -bf 0 -c:a libmp3lame -ar 44100");
    assert!(seen["energy"].as_f64() > Some(0.0) && seen["frames"].as_u64() > Some(10), "{seen}");
    assert_eq!(seen["play"]["audio"]["codec"], "audio/opus", "{seen}");
}

/// G.711 of whoever does not speak WebRTC becomes Opus, as long as the player listens: it is judged anew with each report.
#[test]
fn g711_is_heard() {
    let server = server();
    for codec in ["pcm_alaw", "pcm_mulaw"] {
        let with = format!("-c:v libx264 -preset veryfast -g 25 -bf 0 -c:a {codec} -ar 8000 -ac 1");
        let clip = clip(ffmpeg(), &format!("{PICTURES} {SOUND} {with}"));
        let _publisher = publish_clip_for_ever(&server, &clip, codec);
        let seen = meet(&json!({ "play": endpoint(&server, "whep", codec), "seconds": 3 }));
        assert!(seen["frames"].as_u64() > Some(10), "{seen}");
        let sound = &seen["play"]["audio"];
        assert_eq!(sound["codec"], "audio/opus", "{seen}");
        assert!(sound["packetsReceived"].as_u64() > Some(75), "{seen}");
        assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    }
    assert!(!server.log().all().iter().any(|line| line.contains("it has to ask anew")));
}

/// HE-AAC, which the ffmpeg of the distribution cannot encode; sound alone.
#[test]
fn he_aac_is_heard() {
    const MS: u32 = 2048 * 1000 / 48_000;
    let server = server();
    let options = EncodeOptions::raw().with_he(true).with_bitrate_bps(64_000);
    let mut encoder = syom::Encoder::new(48_000, 2, &options).unwrap();
    let tone: Vec<f32> =
        (0..48_000).map(|n| (n as f32 / 48_000.0 * 440.0 * std::f32::consts::TAU).sin() * 0.3).collect();
    let mut frames = Vec::new();
    let mut take = |frame: syom::EncodedFrame<'_>| {
        frames.push([&[0xaf, 1], frame.payload].concat());
        Ok(())
    };
    encoder.feed(&[&tone[..], &tone[..]], &mut take).unwrap();
    let header = [&[0xaf, 0], encoder.asc()].concat();
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Audio, 0, &header);
    let play = endpoint(&server, "whep", "a");
    let browser = std::thread::spawn(move || meet(&json!({ "play": play, "only": "audio", "seconds": 4 })));
    let start = Instant::now();
    let mut sent = 0;
    while !browser.is_finished() {
        while start.elapsed() < Duration::from_millis((sent * MS).into()) {
            std::thread::sleep(Duration::from_millis(2));
        }
        publisher.send(MediaKind::Audio, sent * MS, &frames[sent as usize % frames.len()]);
        sent += 1;
    }
    let seen = browser.join().unwrap();
    assert!(seen["energy"].as_f64() > Some(0.0), "no sound is heard: {seen}");
    assert_eq!(seen["play"]["audio"]["codec"], "audio/opus", "{seen}");
}

/// Keyframes are four seconds apart, and nobody has to wait for the next one.
#[test]
fn a_joiner_sees_a_picture_within_a_second() {
    let server = server();
    let seen = watch(&server, "-g 100 -bf 0 -sc_threshold 0 -c:a aac");
    let number = |name: &str| seen[name].as_f64().unwrap();
    let waited = number("pictureAfter") - number("linkedAfter");
    eprintln!(
        "a picture {waited:.0} ms after the connection stands, {:.0} ms after the call",
        number("pictureAfter")
    );
    assert!(waited < 1000.0, "{waited} ms: {seen}");
}

/// `pli_for_rtmp` is how often a publisher is asked for keyframes while somebody takes frames of it, and only then.
#[test]
fn keyframes_for_rtmp_are_asked_for() {
    let (server, _) = server_by_eip("pli_for_rtmp 1;");
    let publisher = Call::new(&server, "a").publish().connected();
    let before = publisher.until("2 s of pictures", |seen| seen.pictures.len() > 50).keyframes;
    assert!(before <= 2, "{before} keyframes for nobody");
    let mut player = Client::play(&server, "a");
    player.av();
    // The first ones are for who has come just now.
    let first = publisher.until("keyframes", |seen| seen.keyframes >= before + 2).keyframes;
    let start = Instant::now();
    publisher.until("keyframes every second", |seen| seen.keyframes >= first + 3);
    let took = start.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(5)).contains(&took), "{took:?}");
}
