//! How streams do (`/api/v1/streams/ID/health`): what ffmpeg sends is what is told, and who is behind is known to be.

use std::time::Instant;

use rtmp::MediaKind;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{SOON, Server, until};
use crate::http::Flv;
use crate::media::{GOP, STEP, picture, picture_header};
use crate::players::publish_for_ever;

/// How the stream of this name does.
pub fn health(server: &Server, stream: &str) -> Option<Value> {
    let id = server.stream(stream)?["id"].as_str()?.to_owned();
    Some(server.ask(&format!("/api/v1/streams/{id}/health"))["health"].clone())
}

/// Waits until it does so.
#[track_caller]
pub fn healthy(server: &Server, stream: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    until(&format!("{stream} is {what}"), SOON * 2, || {
        last = health(server, stream)?;
        is(&last).then(|| last.clone())
    })
}

fn between(value: &Value, range: std::ops::RangeInclusive<f64>) -> bool {
    value.as_f64().is_some_and(|value| range.contains(&value))
}

#[test]
fn what_ffmpeg_sends() {
    let server = Server::start();
    let publisher = publish_for_ever(&server, "a");
    let _player = Client::play(&server, "a");
    let _others = [(); 2].map(|()| Flv::open(server.http, "/live/a.flv"));
    let told = healthy(&server, "a", "watched and measured", |health| {
        between(&health["video"]["fps"]["last_1s"], 20.0..=30.0)
            && health["video"]["keyframe_interval_ms"]["last"] == 1000
            && health["outputs"].as_array().is_some_and(|outputs| outputs.len() == 2)
    });
    let (video, audio) = (&told["video"], &told["audio"]);
    assert_eq!((&told["active"], &told["url"]), (&json!(true), &json!("/live/a")));
    assert_eq!((&video["codec"], &audio["codec"]), (&json!("H264"), &json!("AAC")));
    assert!(between(&audio["fps"]["last_1s"], 35.0..=55.0), "{audio}");
    assert!(
        video["kbps"]["last_1s"].as_u64() > Some(0) && audio["kbps"]["last_1s"].as_u64() > Some(0),
        "{told}"
    );
    assert!(
        between(&told["skew_ms"], -150.0..=150.0) && between(&told["last_frame_ms"], 0.0..=1000.0),
        "{told}"
    );
    assert_eq!(video["keyframe_interval_ms"]["longest"], 1000);
    assert_eq!((&video["jumps"], &audio["jumps"]), (&json!(0), &json!(0)));
    let outputs: Vec<_> =
        told["outputs"].as_array().unwrap().iter().map(|o| (&o["type"], &o["clients"])).collect();
    assert_eq!(outputs, [(&json!("flv-play"), &json!(2)), (&json!("rtmp-play"), &json!(1))]);

    // It stops in the middle of everything.
    drop(publisher);
    let told = healthy(&server, "a", "silent", |health| health["last_frame_ms"].as_u64() > Some(2100));
    assert_eq!((&told["active"], &told["video"]["fps"]["last_1s"]), (&json!(false), &json!(0.0)));
    assert!(told["video"]["longest_gap_ms"]["last_30s"].as_u64() > Some(2000), "{told}");
    assert_eq!(server.ask("/api/v1/streams/vid-0000000/health")["code"], 2048);
}

#[test]
fn who_does_not_read_is_behind() {
    let server = Server::with_vhost("play { queue_length 2; }");
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    let slow = Flv::open(server.http, "/live/a.flv");
    server.has_clients(2);
    let (start, mut number) = (Instant::now(), 0);
    let told = until("the player is behind", SOON * 2, || {
        // Ten times as fast as it plays.
        while u128::from(number * STEP / 10) <= start.elapsed().as_millis() {
            publisher.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, 100_000));
            number += 1;
        }
        health(&server, "a").filter(|told| told["outputs"][0]["lag_ms"]["most"].as_u64() > Some(500))
    });
    assert_eq!(told["outputs"][0]["type"], "flv-play");
    // It reads again.
    drop(publisher);
    let reading = std::thread::spawn(move || {
        let mut slow = slow;
        slow.rest().len()
    });
    assert!(reading.join().unwrap() > 0);
}

#[test]
fn a_clock_that_jumps() {
    let server = Server::start();
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    for time in [0, 40, 80, 60_000, 60_040, 120] {
        publisher.send(MediaKind::Video, time, &picture(time, true, 100));
    }
    let told = healthy(&server, "a", "measured", |health| health["video"]["frames"] == 6);
    assert_eq!((&told["video"]["jumps"], &told["audio"]), (&json!(2), &Value::Null), "{told}");
}
