//! `limits`: how many come in, and what becomes of a publisher that sends too much.

use std::time::{Duration, Instant};

use rtmp::{MediaKind, Role};

use super::{open, server};
use crate::harness::SOON;
use crate::http::{self, Flv};
use crate::media::{Camera, picture};
use crate::webrtc::peer;

#[test]
fn a_vhost_that_is_full_says_so() {
    let server = server("limits { enabled on; streams 1; players 2; }");
    let publisher = open(&server, "a", Role::Publish).unwrap();
    let full = "NetStream.Publish.Denied: too many publishers here: the limit is 1";
    assert_eq!(open(&server, "b", Role::Publish).err().as_deref(), Some(full));
    let refused = peer::Call::new(&server, "b").open(true).err().expect("no refusal");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    let flv = Flv::open(server.http, "/live/a.flv");
    assert_eq!(flv.status(), 200);
    let player = open(&server, "a", Role::Play).unwrap();
    let reply = http::get(server.http, "/live/a.flv").unwrap();
    assert_eq!((reply.status, &reply.body[..]), (503, &b"too many players here: the limit is 2\n"[..]));
    drop((player, flv));
    publisher.stop();
    server.has_clients(0);
    open(&server, "b", Role::Publish).unwrap();
    open(&server, "b", Role::Play).unwrap();
}

#[test]
fn one_address_does_not_take_everything() {
    let server = server("limits { enabled on; ip_connections 2; } security { trusted_proxies 127.0.0.1; }");
    let from = |ip: &str| Flv::ask(server.http, "/live/a.flv", &[("X-Forwarded-For", ip)]);
    let mine = [from("192.0.2.1"), from("192.0.2.1")];
    assert!(mine.iter().all(|flv| flv.status() == 200));
    assert_eq!([from("192.0.2.1").status(), from("192.0.2.2").status()], [503, 200]);
    server.logged(&["client refused: too many clients from 192.0.2.1: the limit is 2"]);
}

#[test]
fn a_publisher_that_sends_too_much_is_ended() {
    let server = server("limits { enabled on; bitrate 400; bitrate_grace 1; }");
    let modest = open(&server, "modest", Role::Publish).unwrap();
    let mut modest = Camera::new(modest);
    let mut greedy = open(&server, "greedy", Role::Publish).unwrap();
    greedy.send(MediaKind::Video, 0, &crate::media::picture_header());
    let start = Instant::now();
    // 20 kB, 25 times a second, are 4 Mbit/s.
    for number in 0.. {
        greedy.queue(MediaKind::Video, number * 40, &picture(number, number % 10 == 0, 20_000));
        greedy.flush();
        modest.run_to(number + 1);
        if greedy.event_within(Duration::from_millis(40)).is_some() {
            break;
        }
        assert!(start.elapsed() < SOON, "still there");
    }
    server.logged(&["client finished: the publisher sends", "the limit is 400 kbit/s"]);
    assert_eq!(server.has_clients(1)[0]["name"], "modest");
}
