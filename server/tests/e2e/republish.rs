//! Publishers that come, go, come back and get in each other's way.

use formats::amf0::Value;
use rtmp::{MediaKind, Role};

use crate::client::Client;
use crate::harness::Server;
use crate::http::Flv;
use crate::media::{Camera, Player, STEP, Seen, picture, picture_header};
use crate::peer::Peer;

#[test]
fn rtmp_players_stay_and_http_players_end() {
    let server = Server::start();
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.logged_times(&["start play stream=/live/a"], 2);
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(15);
    camera.client.stop();
    server.logged(&["stop publish stream=/live/a"]);

    let tags: Vec<_> = std::iter::from_fn(|| flv.next()).collect();
    let last = tags.iter().rev().find(|(seen, ..)| matches!(seen, Seen::Picture(..)));
    assert_eq!(last.map(|(seen, time, _)| (*seen, *time)), Some((Seen::Picture(14, false), 14 * STEP)));
    assert!(flv.ended_cleanly(), "no last chunk");

    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(15);
    let times: Vec<u32> = (0..30).map(|_| rtmp.picture().2).collect();
    assert!(times.windows(2).all(|w| (1..=STEP).contains(&(w[1] - w[0]))), "{times:?}");
    assert_eq!(times[14], 14 * STEP);
}

#[test]
fn a_publisher_that_just_goes_ends_http_players_too() {
    let server = Server::start();
    let mut flv = Flv::open(server.http, "/live/a.flv");
    server.logged(&["start play stream=/live/a"]);
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(5);
    // It has seen something, so it stands at the live edge when the publisher goes.
    flv.pictures_up_to(4);
    drop(camera);
    flv.rest();
    assert!(flv.ended_cleanly(), "no last chunk");
    server.has_clients(0);
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    let mut player = Client::play(&server, "a");
    camera.run_to(5);
    let mut second = Client::open(server.rtmp, &server.rtmp_url("a"), Role::Publish);
    let (code, description) = second.refused();
    assert_eq!(code, "NetStream.Publish.BadName");
    let first = server.clients().into_iter().find(|c| c["publish"] == true).unwrap();
    assert!(description.contains(first["id"].as_str().unwrap()), "{description}");
    second.closed();
    server.logged(&["[WARN]", "client refused: stream busy", &format!("peer={}", second.local())]);

    camera.run_to(10);
    assert!(player.pictures_up_to(9).iter().map(|(number, _)| *number).eq(0..10));
    camera.client.stop();
    server.logged(&["stop publish"]);
    Client::publish(&server, "a");
}

#[test]
fn one_connection_publishes_again_and_another_stream() {
    let server = Server::start();
    let mut players = ["a", "b"].map(|name| Client::play(&server, name));
    let mut peer = Peer::connect(&server);
    for (round, name) in ["a", "a", "b"].into_iter().enumerate() {
        peer.call(0, "releaseStream", &[Value::Null, name.into()]);
        peer.call(0, "FCPublish", &[Value::Null, name.into()]);
        let stream = peer.create_stream();
        peer.call(stream, "publish", &[Value::Null, name.into(), "live".into()]);
        assert_eq!(peer.told("onFCPublish").info("code"), "NetStream.Publish.Start");
        peer.status("NetStream.Publish.Start");
        peer.send(MediaKind::Video, 0, &picture_header());
        for number in 0..3 {
            peer.send(MediaKind::Video, number * STEP, &picture(number, number == 0, 50));
        }
        let player = &mut players[usize::from(name == "b")];
        assert!(player.pictures_up_to(2).iter().map(|(number, _)| *number).eq(0..3));
        peer.call(0, "FCUnpublish", &[Value::Null, name.into()]);
        assert_eq!(peer.told("onFCUnpublish").info("code"), "NetStream.Unpublish.Success");
        peer.status("NetStream.Unpublish.Success");
        server.logged_times(&["stop publish"], round + 1);
        assert_eq!(server.has_clients(2).iter().filter(|c| c["publish"] == true).count(), 0);
    }
}

#[test]
fn flash_and_haivision_manners() {
    let server = Server::start();
    let mut flash = Peer::connect(&server);
    flash.publish("flash");
    let mut haivision = Peer::connect(&server);
    let stream = haivision.create_stream();
    haivision.call(0, "FCPublish", &[Value::Null, "haivision".into()]);
    haivision.call(stream, "publish", &[Value::Null, "haivision".into(), "live".into()]);
    haivision.status("NetStream.Publish.Start");
    let fmle = Client::publish(&server, "fmle");

    let clients = server.has_clients(3);
    for name in ["flash", "haivision", "fmle"] {
        let client = clients.iter().find(|c| c["name"] == name).unwrap();
        assert_eq!(client["type"], format!("{name}-publish"));
    }
    for (peer, name) in [(&mut flash, "flash"), (&mut haivision, "haivision")] {
        let mut player = Client::play(&server, name);
        peer.send(MediaKind::Video, 0, &picture_header());
        peer.send(MediaKind::Video, 0, &picture(0, true, 50));
        assert_eq!(player.picture(), (0, true, 0));
    }
    // Flash stops a stream with closeStream and goes on with the connection.
    flash.call(1, "closeStream", &[Value::Null]);
    server.logged(&["stop publish stream=/live/flash"]);
    flash.publish("flash2");
    drop(fmle);
    server.has_clients(2);
}
