//! Who cannot prove to be who it says is refused, with a line in the log, and nothing of it is published; nor does anything that others put into a session's
//! way reach it.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::peer::{Call, Peer};
use super::relay::{Relay, Weather};
use super::server_by_eip;
use crate::harness::{Server, until};

const CALM: Weather = Weather { loss: 0.0, delay: Duration::ZERO, twice: false, spoilt: false };

/// With other values in the lines that begin so: what is a letter or digit there becomes the one next to it.
fn changed(sdp: &str, start: &str) -> String {
    let change = |c: char| match c {
        '0'..='8' | 'A'..='E' | 'a'..='e' => char::from(c as u8 + 1),
        other => other,
    };
    let line = |line: &str| match line.split_once(start) {
        Some(("", value)) => start.chars().chain(value.chars().map(change)).collect(),
        _ => line.to_owned(),
    };
    sdp.split("\r\n").map(line).collect::<Vec<_>>().join("\r\n")
}

fn another_certificate(sdp: &str) -> String {
    changed(sdp, "a=fingerprint:sha-256 ")
}

fn another_password(sdp: &str) -> String {
    changed(sdp, "a=ice-pwd:")
}

/// The server has taken no picture of the stream `a`.
#[track_caller]
fn nothing_is_published(server: &Server) {
    server.has_clients(0);
    assert!(server.stream("a").is_none_or(|stream| stream["frames"] == 0), "{:?}", server.stream("a"));
}

#[test]
fn another_certificate_than_that_of_the_offer() {
    let (server, port) = server_by_eip("");
    let via = |call: Call<'static>| call.via(([127, 0, 0, 1], port).into()).offering(another_certificate);
    let publisher = via(Call::new(&server, "a")).publish();
    let refusal = ["[WARN]", "the session has ended: the peer's certificate is not the one of its SDP"];
    server.logged(&refusal);
    publisher.until("the end", |seen| seen.over);
    let player = via(Call::new(&server, "a")).play();
    server.logged_times(&refusal, 2);
    player.until("the end", |seen| seen.over);
    nothing_is_published(&server);
}

#[test]
fn another_password_than_that_of_the_answer() {
    let (server, port) = server_by_eip("stun_timeout 2;");
    let call = Call::new(&server, "a").via(([127, 0, 0, 1], port).into()).answered(another_password);
    let publisher = call.publish();
    server.logged(&["[WARN]", "the session has ended: the peer is silent: no connectivity check within 2 s"]);
    server.logged(&["refused meanwhile:", " connectivity checks", "peer=127.0.0.1"]);
    assert!(!publisher.seen().connected && publisher.seen().packets == 0, "{:?}", publisher.seen());
    nothing_is_published(&server);
}

/// How many datagrams of this kind a session that has ended refused, as the log tells.
#[track_caller]
fn refused(server: &Server, what: &str) -> u32 {
    let line = server.logged(&["refused meanwhile:", what]);
    let list = line.split("refused meanwhile: ").nth(1).unwrap();
    let entry = list.split(", ").find_map(|entry| entry.strip_suffix(what)).unwrap();
    entry.trim().parse().unwrap()
}

/// Who sends everything again, as a thief of packets or a broken switch, changes nothing.
#[test]
fn what_comes_twice_is_taken_once() {
    let (server, port) = server_by_eip("");
    let relay = Relay::new(port, Weather { twice: true, ..CALM }, 11);
    let publisher = Call::new(&server, "a").via(relay.address).publish();
    let player = Call::new(&server, "a").play();
    let seen = player.until("3 s of pictures", |seen| seen.pictures.len() > 75);
    assert!(seen.share() == 1.0 && seen.pictures.iter().all(|picture| picture.contiguous), "{seen:?}");
    assert_eq!((seen.nacks, seen.again), (0, 0), "{seen:?}");
    assert_eq!(publisher.leave(), 200);
    let (replayed, sent) = (refused(&server, "replayed packets"), publisher.seen().packets);
    assert!(replayed > 100 && f64::from(replayed) > 0.8 * f64::from(sent), "{replayed} of {sent}");
}

/// Records of DTLS that somebody puts between: alerts that end everything, a new handshake, noise; and media that nobody has signed.
#[test]
fn what_others_put_between_is_ignored() {
    const ROUNDS: u32 = 50;
    let (server, port) = server_by_eip("");
    let relay = Relay::new(port, CALM, 12);
    let publisher = Call::new(&server, "a").via(relay.address).publish().connected();
    let player = Call::new(&server, "a").play();
    player.until("pictures", |seen| seen.pictures.len() > 10);
    let start = Instant::now();
    let mut chance = fastrand::Rng::with_seed(12);
    let mut noise = |head: &[u8], length| {
        let mut datagram = vec![0; length];
        chance.fill(&mut datagram);
        datagram[..head.len()].copy_from_slice(head);
        datagram
    };
    for round in 0..ROUNDS {
        // A fatal alert in the clear; one of the epoch of keys; a hello; noise.
        relay.inject(&[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40]);
        relay.inject(&noise(&[21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26], 39));
        relay.inject(&noise(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, round as u8, 0, 60, 1], 73));
        relay.inject(&noise(&[22], 200));
        relay.inject(&noise(&[0x80, 96], 1000));
        relay.inject(&noise(&[0x80, 201], 60));
        player.until("pictures meanwhile", |seen| seen.since(start) > round as usize);
    }
    let seen = player.until("pictures afterwards", |seen| seen.since(start) > ROUNDS as usize + 25);
    assert!(
        seen.share() == 1.0 && seen.pause() < Duration::from_secs(1),
        "{:?} {:?}",
        seen.share(),
        seen.pause()
    );
    assert!(!publisher.seen().over);
    assert_eq!(publisher.leave(), 200);
    assert!(refused(&server, "forged packets") >= 2 * ROUNDS);
    assert!(refused(&server, "DTLS records") >= ROUNDS);
}

/// A peer that proves its way and then speaks no DTLS is never connected.
#[test]
fn noise_in_place_of_dtls() {
    let (server, port) = server_by_eip("");
    let relay = Relay::new(port, Weather { spoilt: true, ..CALM }, 13);
    let publisher = Call::new(&server, "a").via(relay.address).publish();
    let bytes = |server: &Server| server.clients()[0]["recv_bytes"].as_u64();
    until("checks and noise", Duration::from_secs(20), || bytes(&server).filter(|bytes| *bytes > 1500));
    assert!(!publisher.seen().connected);
    assert_eq!(publisher.leave(), 200);
    assert!(refused(&server, "DTLS records") > 0);
    nothing_is_published(&server);
}

/// Packets of a session that come from elsewhere are nobody's: only a check that proves the password opens a way.
#[test]
fn media_from_elsewhere() {
    let (server, port) = server_by_eip("");
    let publisher: Peer = Call::new(&server, "a").via(([127, 0, 0, 1], port).into()).publish();
    let player = Call::new(&server, "a").via(([127, 0, 0, 1], port).into()).play();
    player.until("pictures", |seen| seen.pictures.len() > 10);
    let thief = UdpSocket::bind("127.0.0.3:0").unwrap();
    let start = Instant::now();
    for n in 0..100_u16 {
        let [high, low] = n.to_be_bytes();
        let packet = [&[0x80, 96, high, low, 0, 0, 0, 0, 0, 0, 0, 1][..], &[7; 200]].concat();
        thief.send_to(&packet, (std::net::Ipv4Addr::LOCALHOST, port)).unwrap();
    }
    let seen = player.until("pictures afterwards", |seen| seen.since(start) > 25);
    assert_eq!(seen.share(), 1.0);
    assert!(!publisher.seen().over);
}
