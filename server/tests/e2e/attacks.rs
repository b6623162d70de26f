//! Bad input while a hundred players watch: each attacker is closed with one line in the log that names it and says why,
//! and no player misses a picture.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use formats::amf0::Value;
use rtmp::MediaKind;
use rtmp::message::kind;

use crate::client::Client;
use crate::harness::{SOON, Server, until};
use crate::http::Flv;
use crate::media::{GOP, Player, STEP, picture, picture_header};
use crate::peer::Peer;

/// The number of the last picture.
const END: u32 = u32::MAX;

/// Rings when it is dropped, also by a failure: those who run until then would run for ever.
pub struct Bell<'a>(pub &'a AtomicBool);

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A publisher and those who watch.
struct Crowd<'s> {
    publisher: ScopedJoinHandle<'s, u32>,
    players: Vec<ScopedJoinHandle<'s, u32>>,
}

impl<'s> Crowd<'s> {
    /// All of them watch when this returns.
    fn gather(scope: &'s Scope<'s, '_>, server: &'s Server, stop: &'s AtomicBool) -> Self {
        let mut publisher = Client::publish(server, "crowd");
        publisher.send(MediaKind::Video, 0, &picture_header());
        publisher.send(MediaKind::Video, 0, &picture(0, true, 500));
        let publisher = scope.spawn(move || {
            let start = Instant::now();
            let mut number = 1;
            while !stop.load(Ordering::Relaxed) {
                publisher.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, 500));
                number += 1;
                let due = Duration::from_millis(u64::from(number * STEP / 2));
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            publisher.send(MediaKind::Video, number * STEP, &picture(END, true, 500));
            publisher.stop();
            number
        });
        let players = (0..100).map(|n| {
            let (mut rtmp, mut flv) = (None, None);
            match n % 2 {
                0 => rtmp = Some(Client::play(server, "crowd")),
                _ => flv = Some(Flv::open(server.http, "/live/crowd.flv")),
            }
            scope.spawn(move || match (&mut rtmp, &mut flv) {
                (Some(player), _) => watch(player),
                (_, Some(player)) => watch(player),
                _ => 0,
            })
        });
        let players = players.collect();
        Self { publisher, players }
    }

    /// The show is over: every player has seen every picture from its first one on.
    fn dismiss(self) {
        let sent = self.publisher.join().unwrap();
        for player in self.players {
            assert_eq!(player.join().unwrap(), sent, "a player has missed the end");
        }
    }
}

/// Demands every picture; the number behind the last one.
fn watch(player: &mut dyn Player) -> u32 {
    let (mut next, key, _) = player.picture();
    assert!(key);
    loop {
        match player.picture() {
            (END, ..) => return next + 1,
            (number, ..) => assert_eq!(number, next + 1, "missed or repeated"),
        }
        next += 1;
    }
}

/// Reads until the server has closed.
#[track_caller]
fn closed_within(mut tcp: &TcpStream, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "not closed within {limit:?}");
        tcp.set_read_timeout(Some(left)).unwrap();
        match tcp.read(&mut buffer) {
            Ok(0) => return,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Sends bytes over a connection of its own until the server closes it.
#[track_caller]
fn send(at: SocketAddr, bytes: &[u8]) -> SocketAddr {
    let mut tcp = TcpStream::connect(at).unwrap();
    let local = tcp.local_addr().unwrap();
    let _ = tcp.write_all(bytes);
    closed_within(&tcp, SOON);
    local
}

/// Sends bytes behind the handshake until the server closes the connection.
#[track_caller]
fn send_chunks(server: &Server, bytes: &[u8]) -> SocketAddr {
    let mut peer = Peer::shake(server.rtmp);
    peer.raw(bytes);
    closed_within(&peer.tcp, SOON);
    peer.local()
}

/// One line of the log tells that this peer was closed, and why.
#[track_caller]
fn blamed(server: &Server, peer: SocketAddr, reason: &str) {
    let peer = format!("peer={peer}");
    server.logged(&["[WARN]", &peer, reason]);
    let all = server.log().all();
    // By the context id, since the system gives ports out again.
    let cid = |line: &str| line.split(['[', ']']).nth(7).unwrap_or_default().to_owned();
    let blame = all.iter().rfind(|line| line.contains(&peer)).unwrap();
    let lines: Vec<_> =
        all.iter().filter(|line| line.contains("[WARN]") && cid(line) == cid(blame)).collect();
    assert!(lines.len() == 1 && blame.contains(reason), "`{reason}` in {lines:#?}");
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(next).collect()
}

/// A full chunk header.
fn header(cid: u8, length: u32, kind: u8) -> Vec<u8> {
    let [_, l2, l1, l0] = length.to_be_bytes();
    vec![cid, 0, 0, 0, l2, l1, l0, kind, 0, 0, 0, 0]
}

#[test]
fn nobody_misses_a_picture_while_others_attack() {
    let server = &Server::start();
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bell = Bell(stop);
        let crowd = Crowd::gather(scope, server, stop);
        let before = server.memory();

        let peer = send(server.rtmp, &[&[0x47][..], &noise(5000)].concat());
        blamed(server, peer, "version 0x47");
        let peer = send(server.rtmp, b"GET / HTTP/1.1\r\n\r\n");
        blamed(server, peer, "version 0x47");
        let peer = send(server.rtmp, &[&[3][..], &noise(2 * 1536), &[0xc5; 100]].concat());
        blamed(server, peer, "chunk stream 5 with format 3");
        let peer = send_chunks(server, &header(3, 0xff_ffff, kind::COMMAND_AMF0));
        blamed(server, peer, "a message of 16777215 bytes");
        for size in [0u32, 1, 127, 0x8000_0000, u32::MAX] {
            let set = [&header(2, 4, kind::SET_CHUNK_SIZE)[..], &size.to_be_bytes()].concat();
            blamed(server, send_chunks(server, &set), &format!("a chunk size of {size} bytes"));
        }
        let many: Vec<u8> = (0..100).flat_map(many_streams).collect();
        blamed(server, send_chunks(server, &many), "too many chunk streams");
        blamed(server, deep_amf(server), "peer's");
        blamed(server, connect_to_nothing(server), "no usable tcUrl");
        blamed(server, too_many_streams_created(server), "createStream more than 4 times");
        blamed(server, incomplete_messages(server), "incomplete messages");
        blamed(server, deaf(server), "does not read what it asks for");
        for at in [server.http, server.api] {
            blamed(server, send(at, &noise(5000)), "serve error");
            let head = [b"GET / HTTP/1.1\r\nX: ", &[b'a'; 40_000][..]].concat();
            blamed(server, send(at, &head), "serve error");
        }
        broken_pictures(server);
        those_who_vanish(server);

        let grown = server.memory().saturating_sub(before) >> 20;
        assert!(grown < 128, "{grown} MiB for attackers");
        drop(bell);
        crowd.dismiss();
    });
    server.has_clients(0);
}

/// The start of a message on a chunk stream of its own.
fn many_streams(n: u8) -> Vec<u8> {
    [&[0, n], &header(0, 200, kind::VIDEO)[1..], &[0; 128]].concat()
}

/// `connect` with an object in an object in an object …
fn deep_amf(server: &Server) -> SocketAddr {
    let mut peer = Peer::shake(server.rtmp);
    let mut body = Vec::new();
    [Value::from("connect"), 1.0.into()].iter().for_each(|value| value.encode(&mut body));
    for _ in 0..10_000 {
        body.extend_from_slice(b"\x03\0\x01a");
    }
    peer.message(kind::COMMAND_AMF0, 0, &body);
    closed_within(&peer.tcp, SOON);
    peer.local()
}

fn connect_to_nothing(server: &Server) -> SocketAddr {
    let mut peer = Peer::shake(server.rtmp);
    peer.call(0, "connect", &[Value::object([("app", "live".into())])]);
    closed_within(&peer.tcp, SOON);
    peer.local()
}

fn too_many_streams_created(server: &Server) -> SocketAddr {
    let mut peer = Peer::connect(server);
    for _ in 0..10 {
        peer.call(0, "createStream", &[Value::Null]);
    }
    closed_within(&peer.tcp, SOON);
    peer.local()
}

/// A publisher that begins messages of 16 MB and ends none.
fn incomplete_messages(server: &Server) -> SocketAddr {
    let mut peer = Peer::connect(server);
    peer.publish("incomplete");
    let size = 4u32 << 20;
    peer.message(kind::SET_CHUNK_SIZE, 0, &size.to_be_bytes());
    for cid in 10..40 {
        peer.raw(&[&header(cid, 0xff_ffff, kind::VIDEO)[..], &vec![0; size as usize]].concat());
    }
    closed_within(&peer.tcp, SOON);
    peer.local()
}

/// A client that asks and asks, and never reads an answer.
fn deaf(server: &Server) -> SocketAddr {
    let mut peer = Peer::connect(server);
    peer.tcp.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut call = Vec::new();
    let name = Value::from("_checkbw");
    [name, 9.0.into(), Value::Null].iter().for_each(|value| value.encode(&mut call));
    let mut calls = Vec::new();
    for _ in 0..2000 {
        calls.extend_from_slice(&header(3, call.len() as u32, kind::COMMAND_AMF0));
        calls.extend_from_slice(&call);
    }
    let blamed = format!("peer={}", peer.local());
    until("the deaf client is sent away", SOON * 2, || {
        peer.raw(&calls);
        server.log().all().iter().any(|line| line.contains(&blamed)).then_some(())
    });
    peer.local()
}

/// Garbage for pictures is dropped, and the log does not drown in it.
fn broken_pictures(server: &Server) {
    let mut publisher = Client::publish(server, "broken");
    publisher.send(MediaKind::Video, 0, &picture_header());
    let mut flv = Flv::open(server.http, "/live/broken.flv");
    for n in 0..1000 {
        let garbage = noise(20 + n as usize % 50);
        publisher.queue(MediaKind::Video, n, &[&[0x27, 1, 0, 0, 0][..], &garbage].concat());
    }
    publisher.send(MediaKind::Video, 1000, &picture(7, true, 50));
    assert_eq!(flv.picture(), (7, true, 0));
    server.logged(&["dropped a Video packet"]);
    let complaints = server.log().all().iter().filter(|line| line.contains("dropped a Video packet")).count();
    assert!((1..20).contains(&complaints), "{complaints} lines about broken pictures");
}

/// Clients that go in the middle of whatever they do.
fn those_who_vanish(server: &Server) {
    for bytes in [&[][..], &[3], &noise(1000), &[&[3][..], &noise(1536)].concat()] {
        for at in [server.rtmp, server.http, server.api] {
            let mut tcp = TcpStream::connect(at).unwrap();
            let _ = tcp.write_all(bytes);
            let _ = tcp.shutdown(std::net::Shutdown::Write);
            closed_within(&tcp, SOON);
        }
    }
    for _ in 0..20 {
        let flv = Flv::open(server.http, "/live/crowd.flv");
        let rtmp = Client::play(server, "crowd");
        // Unread bytes make these resets.
        rustix::net::sockopt::set_socket_linger(rtmp.socket(), Some(Duration::ZERO)).unwrap();
        drop((flv, rtmp));
    }
    server.has_clients(101);
}

/// Connections on which nothing happens, or very slowly.
#[test]
fn silence_has_an_end() {
    let server = Server::start();
    let start = Instant::now();
    let mute = |at: SocketAddr, bytes: &[u8]| {
        let mut tcp = TcpStream::connect(at).unwrap();
        tcp.write_all(bytes).unwrap();
        tcp
    };
    let mut shaken = Peer::shake(server.rtmp);
    shaken.message(kind::WINDOW_SIZE, 0, &[0, 1, 0, 0]);
    let connected = Peer::connect(&server);
    let rtmp = [
        (mute(server.rtmp, &[]), "no handshake within 30 s"),
        (mute(server.rtmp, &[&[3][..], &noise(700)].concat()), "no handshake within 30 s"),
        (shaken.tcp, "no connect within 30 s"),
        (connected.tcp, "no publish or play within 30 s"),
    ];
    let http = [
        mute(server.http, &[]),
        mute(server.http, b"GET /live/a.flv HTTP/1.1\r\nHost: a\r\n"),
        mute(server.api, b"GET /api/v1/versions HTTP/1.1\r\nHost: a\r\n"),
    ];
    let mut slow = mute(server.http, b"GET /live/a.flv HTTP/1.1\r\nX: ");
    let slow_peer = slow.local_addr().unwrap();
    until("who sends a byte now and then is sent away", SOON * 2, || {
        let blamed = format!("peer={slow_peer}");
        let _ = slow.write_all(b"a");
        server.log().all().iter().any(|line| line.contains(&blamed)).then_some(())
    });
    for tcp in http {
        let peer = tcp.local_addr().unwrap();
        closed_within(&tcp, SOON);
        blamed(&server, peer, "serve error");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    for (tcp, reason) in rtmp {
        let peer = tcp.local_addr().unwrap();
        closed_within(&tcp, Duration::from_secs(40).saturating_sub(start.elapsed()));
        blamed(&server, peer, reason);
    }
}
