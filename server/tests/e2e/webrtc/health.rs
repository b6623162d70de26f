//! A publisher of WebRTC is measured though nobody wants frames of it.

use serde_json::json;

use super::peer::Call;
use super::server;
use crate::health::healthy;

#[test]
fn a_publisher_that_nobody_watches() {
    let server = server();
    let peer = Call::new(&server, "a").publish().connected();
    let told = healthy(&server, "a", "measured", |health| {
        health["video"]["fps"]["last_1s"].as_f64() > Some(5.0)
            && health["audio"]["fps"]["last_1s"].as_f64() > Some(5.0)
    });
    assert_eq!((&told["active"], &told["outputs"]), (&json!(true), &json!([])));
    assert_eq!((&told["video"]["jumps"], &told["audio"]["jumps"]), (&json!(0), &json!(0)), "{told}");
    assert!(told["video"]["kbps"]["last_1s"].as_u64() > Some(0), "{told}");
    assert!(server.stream("a").unwrap()["frames"].as_u64() > Some(5));

    // Players stand at the live edge.
    let player = Call::new(&server, "a").play().connected();
    let told = healthy(&server, "a", "watched", |health| health["outputs"][0]["type"] == "rtc-play");
    assert!(told["outputs"][0]["lag_ms"]["most"].as_u64() < Some(3000), "{told}");
    drop((peer, player));
}
