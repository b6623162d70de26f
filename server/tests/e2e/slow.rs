//! A player that does not read: it costs little memory, harms nobody, and goes on with a picture when it reads again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rtmp::MediaKind;

use crate::attacks::Bell;
use crate::client::Client;
use crate::harness::{Server, until};
use crate::http::Flv;
use crate::media::{GOP, Player, STEP, Seen, picture, picture_header};

/// Bytes of a picture.
const SIZE: usize = 100_000;

#[test]
fn a_player_that_does_not_read() {
    let server = Server::with_vhost("play { queue_length 2; }");
    let mut slow = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    let mut good = Client::play(&server, "a");
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let bell = Bell(&stop);
        let publisher = scope.spawn(|| {
            let mut publisher = Client::publish(&server, "a");
            publisher.send(MediaKind::Video, 0, &picture_header());
            let mut number = 0;
            let start = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                publisher.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, SIZE));
                number += 1;
                // Ten times as fast as it plays, so that two seconds of queue are full at once.
                let due = Duration::from_millis(u64::from(number * STEP / 10));
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            number
        });
        // Something like 100 MB pass by.
        let before = server.memory();
        let mut most = before;
        let mut seen = Vec::new();
        while seen.len() < 1000 {
            seen.push(good.picture().0);
            most = most.max(server.memory());
        }
        assert!(seen.iter().copied().eq(0..1000), "the good player has lost pictures");
        let grown = (most - before) >> 20;
        // Two seconds are 5 MB, which both cores may hold, besides what the kernel's buffers take.
        assert!(grown < 64, "{grown} MiB for two slow players");

        // It reads again: what was on its way, then a keyframe.
        skips_to_a_keyframe(&mut slow.0);
        skips_to_a_keyframe(&mut slow.1);
        drop(bell);
        publisher.join().unwrap()
    });
    assert!(sent >= 1000);
    server.logged_times(&["[WARN]", "too slow: skipped"], 2);
}

/// What a player was sent first is large, since it begins with a keyframe, and is not kept while it plays.
#[test]
fn players_cost_little_memory() {
    let server = Server::start();
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    publisher.send(MediaKind::Video, 0, &picture(0, true, 2 * SIZE));
    let play = || {
        let mut player = Flv::open(server.http, "/live/a.flv");
        assert_eq!(player.picture().0, 0);
        player
    };
    let _first = play();
    let before = server.memory();
    let players: Vec<_> = (0..100).map(|_| play()).collect();
    let grown = server.memory().saturating_sub(before) >> 10;
    assert!(grown < 10_000, "{grown} kiB for {} players", players.len());
}

fn skips_to_a_keyframe(slow: &mut dyn Player) {
    let mut last = None;
    let skipped_to = loop {
        let (number, key, _) = slow.picture();
        if last.is_some_and(|last| number != last + 1) {
            assert!(key, "picture {number} after {last:?} is no keyframe");
            break number;
        }
        last = Some(number);
    };
    assert!(skipped_to > 500, "{skipped_to}");
    for number in skipped_to + 1..skipped_to + 6 {
        assert_eq!(slow.picture().0, number);
    }
}

/// Takes half a minute, since that is how long a player may take nothing.
#[test]
fn a_player_that_never_reads_again() {
    let server = Server::with_vhost("play { queue_length 2; }");
    let slow = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _bell = Bell(&stop);
        scope.spawn(|| {
            let mut publisher = Client::publish(&server, "a");
            publisher.send(MediaKind::Video, 0, &picture_header());
            for number in 0.. {
                publisher.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, SIZE));
                std::thread::sleep(Duration::from_millis(20));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for peer in [slow.0.local(), slow.1.local()] {
            let parts = ["[WARN]", "the peer took nothing for 30 s", &format!("peer={peer}")];
            until("who never reads is closed", Duration::from_secs(45), || {
                let all = server.log().all();
                all.iter().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
            });
        }
        server.has_clients(1);
    });
}

#[test]
fn a_paused_player_costs_no_memory() {
    let server = Server::with_vhost("play { queue_length 2; }");
    let mut peer = crate::peer::Peer::connect(&server);
    let stream = peer.play("a");
    peer.call(stream, "pause", &[formats::amf0::Value::Null, true.into()]);
    peer.status("NetStream.Pause.Notify");
    let mut witness = Client::play(&server, "a");
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    let before = server.memory();
    for number in 0..1000 {
        publisher.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, SIZE));
        assert!(matches!(witness.frame().0, Seen::Picture(n, _) if n == number));
    }
    let grown = server.memory().saturating_sub(before) >> 20;
    assert!(grown < 64, "{grown} MiB for one paused player");
    peer.call(stream, "pause", &[formats::amf0::Value::Null, false.into()]);
    peer.status("NetStream.Unpause.Notify");
    publisher.send(MediaKind::Video, 1000 * STEP, &picture(1000, true, SIZE));
    let (number, key, _) = peer.picture();
    assert!(key && number > 900, "{number}");
}
