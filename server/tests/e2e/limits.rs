//! Limits of time and number, and the operator's kick.

use std::time::{Duration, Instant};

use rtmp::{MediaKind, Role};

use crate::client::Client;
use crate::harness::{SOON, Server, Setup, until};
use crate::http::{self, Flv};
use crate::media::{Camera, Player, picture_header, sound};

#[test]
fn a_publisher_that_never_begins() {
    let server = Server::with_vhost("publish { firstpkt_timeout 400; normal_timeout 60000; }");
    let mut publisher = Client::publish(&server, "a");
    let since = Instant::now();
    publisher.closed();
    assert!((300..3000).contains(&since.elapsed().as_millis()), "{:?}", since.elapsed());
    let peer = format!("peer={}", publisher.local());
    server.logged(&["[WARN]", "the publisher sent nothing within 400ms", &peer]);
    server.has_clients(0);
}

#[test]
fn a_publisher_that_falls_silent() {
    let server = Server::with_vhost("publish { firstpkt_timeout 60000; normal_timeout 400; }");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    let mut flv = Flv::open(server.http, "/live/a.flv");
    for end in 1..10 {
        camera.run_to(end);
        std::thread::sleep(Duration::from_millis(100));
    }
    let since = Instant::now();
    camera.client.closed();
    assert!((200..3000).contains(&since.elapsed().as_millis()), "{:?}", since.elapsed());
    let peer = format!("peer={}", camera.client.local());
    server.logged(&["[WARN]", "the publisher sent nothing more for 400ms", &peer]);
    flv.rest();
    assert!(flv.ended_cleanly());
}

#[test]
fn nobody_watches() {
    let server = Server::with_vhost("publish { kickoff_for_idle 1; }");
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    let player = Client::play(&server, "a");
    // As long as somebody watches, nothing happens.
    let since = Instant::now();
    for number in 0.. {
        assert_eq!(publisher.event_within(Duration::from_millis(100)), None);
        publisher.send(MediaKind::Audio, number * 100, &sound(number));
        if since.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    drop(player);
    let since = Instant::now();
    publisher.closed();
    // It is looked at twice a second who watches.
    assert!((400..3500).contains(&since.elapsed().as_millis()), "{:?}", since.elapsed());
    server.logged(&["client finished: nobody has watched for"]);
}

#[test]
fn more_connections_than_allowed() {
    let server = Server::with(Setup { top: "max_connections 3;", ..Setup::default() });
    let held = [(); 3].map(|()| Client::play(&server, "a"));
    let mut fourth = Client::open(server.rtmp, &server.rtmp_url("a"), Role::Play);
    let (code, description) = fourth.refused();
    assert_eq!(code, "NetConnection.Connect.Rejected");
    assert!(description.contains("max_connections 3"), "{description}");
    fourth.closed();
    server.logged(&["[WARN]", "max_connections 3", &format!("peer={}", fourth.local())]);
    for at in [server.http, server.api] {
        let reply = http::get(at, "/live/a.flv").unwrap();
        assert_eq!(reply.status, 503, "{}", reply.head);
        assert!(String::from_utf8_lossy(&reply.body).contains("max_connections 3"));
    }
    drop(held);
    until("there is room again", SOON, || {
        http::get(server.api, "/api/v1/versions").ok().filter(|reply| reply.status == 200)
    });
    Client::play(&server, "a");
}

#[test]
fn kicked_through_the_api() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(2);
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    rtmp.picture();
    flv.picture();
    let clients = server.has_clients(3);
    let kick = |kind: &str| {
        let client = clients.iter().find(|client| client["type"] == kind).unwrap();
        let id = client["id"].as_str().unwrap();
        server.kick(id);
        server.logged(&[&format!("[{id}]"), "client finished: kicked off through the API"]);
    };
    kick("rtmp-play");
    rtmp.closed();
    kick("flv-play");
    flv.rest();
    server.has_clients(1);
    kick("fmle-publish");
    camera.client.closed();
    server.has_clients(0);
}
