//! Joining, waiting, pausing, choosing, stopping: what players do, and what they see then.

use std::time::Duration;

use formats::amf0::Value;
use rtmp::MediaKind;
use rtmp::message::kind;

use crate::client::Client;
use crate::harness::Server;
use crate::http::Flv;
use crate::media::{Camera, GOP, Player, STEP, Seen};
use crate::peer::Peer;

/// All that a joiner sees first: headers, then pictures from `from` on without a gap, the first one at time zero.
#[track_caller]
fn starts_at(player: &mut impl Player, from: u32, to: u32) {
    let mut headers = Vec::new();
    let (first, time) = loop {
        match player.next().unwrap() {
            (Seen::Data, ..) => {}
            (Seen::Header(kind), ..) => headers.push(kind),
            (frame, time, _) => break (frame, time),
        }
    };
    headers.sort_by_key(|kind| kind.message_type());
    assert_eq!(headers, [MediaKind::Audio, MediaKind::Video], "headers before frames");
    assert_eq!((first, time), (Seen::Picture(from, true), 0));
    let (mut pictures, mut sounds) = (from + 1, from);
    while pictures < to || sounds < to {
        match player.frame() {
            (Seen::Picture(number, key), time) => {
                assert_eq!((number, key, time), (pictures, number % GOP == 0, (number - from) * STEP));
                pictures += 1;
            }
            (Seen::Sound(number), time) => {
                assert_eq!((number, time), (sounds, (number - from) * STEP));
                sounds += 1;
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn joining_starts_with_the_newest_keyframe() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(25);
    server.took("a", 25);
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    starts_at(&mut rtmp, 20, 25);
    starts_at(&mut flv, 20, 25);
    camera.run_to(48);
    for player in [&mut rtmp as &mut dyn Player, &mut flv] {
        let expected: Vec<_> = (25..48).map(|n| (n, (n - 20) * STEP)).collect();
        assert_eq!(player.pictures_up_to(47), expected);
    }
}

#[test]
fn waiting_players_see_the_first_frame() {
    let server = Server::start();
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.logged_times(&["start play stream=/live/a", "live=false"], 2);
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(15);
    starts_at(&mut rtmp, 0, 15);
    starts_at(&mut flv, 0, 15);
}

#[test]
fn without_gop_cache_sound_comes_at_once_and_pictures_with_the_next_keyframe() {
    let server = Server::with_vhost("play { gop_cache off; }");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(15);
    server.took("a", 15);
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.logged_times(&["start play stream=/live/a"], 2);
    camera.run_to(17);
    let deaf = |player: &mut dyn Player| {
        for number in [15, 16] {
            assert_eq!(player.frame(), (Seen::Sound(number), (number - 15) * STEP));
        }
    };
    deaf(&mut rtmp);
    deaf(&mut flv);
    camera.run_to(22);
    for player in [&mut rtmp as &mut dyn Player, &mut flv] {
        assert_eq!(player.picture(), (20, true, 5 * STEP));
    }
}

#[test]
fn pause_stops_the_flow_and_unpause_goes_on() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(5);
    let mut player = Peer::connect(&server);
    let stream = player.play("a");
    player.pictures_up_to(4);
    player.call(stream, "pause", &[Value::Null, true.into(), 0.0.into()]);
    player.status("NetStream.Pause.Notify");
    let eof = player.next_message().unwrap();
    assert_eq!((eof.kind, &eof.payload[..2]), (kind::USER_CONTROL, &[0, 1][..]), "StreamEOF");

    camera.run_to(15);
    server.took("a", 15);
    // A round trip behind the publisher's: media that was under way would have come before the answer.
    player.call(0, "_checkbw", &[Value::Null]);
    loop {
        let message = player.next_message().unwrap();
        assert!(![8, 9].contains(&message.kind), "media in a pause");
        if message.kind == kind::COMMAND_AMF0 {
            break;
        }
    }

    player.call(stream, "pause", &[Value::Null, false.into(), 0.0.into()]);
    player.status("NetStream.Unpause.Notify");
    camera.run_to(25);
    let seen = player.pictures_up_to(24);
    assert!(seen.iter().map(|(number, _)| *number).eq(5..25), "{seen:?}");
    assert!(seen.iter().all(|(number, time)| *time == number * STEP), "{seen:?}");
}

#[test]
fn players_choose_kinds() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(3);
    let mut player = Peer::connect(&server);
    let stream = player.play("a");
    player.pictures_up_to(2);
    player.call(stream, "receiveVideo", &[Value::Null, false.into()]);
    player.answered();
    camera.run_to(13);
    loop {
        match player.frame() {
            (Seen::Picture(number, _), _) => panic!("picture {number} although nobody wants pictures"),
            (Seen::Sound(12), _) => break,
            _ => {}
        }
    }
    player.call(stream, "receiveVideo", &[Value::Null, true.into()]);
    player.call(stream, "receiveAudio", &[Value::Null, false.into()]);
    player.answered();
    camera.run_to(33);
    let mut next = None;
    loop {
        match player.frame() {
            (Seen::Sound(number), _) => panic!("sound {number} although nobody wants sound"),
            (Seen::Picture(number, key), time) => {
                assert!(next.is_some() || key, "pictures begin again with {number}, which is no keyframe");
                assert!(next.is_none_or(|next| next == number), "{number} in place of {next:?}");
                assert_eq!(time, number * STEP);
                next = Some(number + 1);
                if number == 32 {
                    break;
                }
            }
            _ => {}
        }
    }
}

#[test]
fn a_duration_ends_the_play() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(1);
    let mut player = Peer::connect(&server);
    let stream = player.create_stream();
    player.call(stream, "play", &[Value::Null, "a".into(), (-2.0).into(), 1000.0.into()]);
    player.status("NetStream.Play.Start");
    assert_eq!(player.picture().0, 0);
    camera.run_to(100);
    let seen = player.pictures_up_to(25);
    assert!(seen.iter().map(|(number, _)| *number).eq(1..=25), "{seen:?}");
    player.status("NetStream.Play.Stop");
    player.closed();
}

#[test]
fn one_connection_plays_one_stream_after_another() {
    let server = Server::start();
    let mut cameras = ["a", "b"].map(|name| Camera::new(Client::publish(&server, name)));
    cameras[0].run_to(3);
    cameras[1].run_to(13);
    server.took("b", 13);
    let mut player = Peer::connect(&server);
    let stream = player.play("a");
    player.pictures_up_to(2);
    player.call(stream, "closeStream", &[Value::Null]);
    server.logged(&["stop play stream=/live/a"]);
    assert_eq!(server.has_clients(2).len(), 2, "the player is off the list");
    player.play("b");
    starts_at(&mut player, 10, 13);
    cameras[0].run_to(9);
    cameras[1].run_to(20);
    assert!(player.pictures_up_to(19).iter().map(|(number, _)| *number).eq(13..20));
}

#[test]
fn frames_are_sent_at_once_to_idle_players() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(1);
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    rtmp.pictures_up_to(0);
    flv.pictures_up_to(0);
    let mut delays = Vec::new();
    for number in 1..30 {
        let sent = std::time::Instant::now();
        camera.run_to(number + 1);
        rtmp.pictures_up_to(number);
        flv.pictures_up_to(number);
        delays.push(sent.elapsed());
    }
    delays.sort();
    assert!(delays[delays.len() / 2] < Duration::from_millis(100), "{delays:?}");
}
