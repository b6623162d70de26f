//! What the API tells of bytes, frames and clients, against what the clients have counted themselves. Rates need their time and are
//! looked at in `api_walk`.

use rtmp::MediaKind;
use serde_json::Value;

use crate::client::Client;
use crate::dialogue::Dialogue;
use crate::harness::{SOON, Server, until};
use crate::http::Flv;
use crate::media::{GOP, Player, picture, picture_header, sound, sound_header};

/// Pictures that are sent, and their size.
const PICTURES: u32 = 300;
const SIZE: usize = 8000;

/// `told` is within 5 % of `counted`.
#[track_caller]
fn agrees(what: &str, told: &Value, counted: u64) {
    let told = told.as_u64().unwrap_or_else(|| panic!("{what}: {told}"));
    assert!(
        told.abs_diff(counted) * 20 <= counted,
        "{what}: the API tells {told}, the clients counted {counted}"
    );
}

/// Plays, and keeps no more than the connection's own count.
fn player(server: &Server, lines: &[&str]) -> Dialogue {
    let mut player = Dialogue::ask(server.http, "GET /live/a.flv", lines);
    player.head();
    player
}

#[test]
fn figures_agree_with_what_clients_count() {
    // The publisher falls silent when it has sent all.
    let server = Server::with_vhost("publish { normal_timeout 60000; }");
    let mut camera = Client::publish(&server, "a");
    camera.send(MediaKind::Video, 0, &picture_header());
    camera.send(MediaKind::Audio, 0, &sound_header());
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let mut http = player(&server, &[]);
    let mut websocket = player(&server, &upgrade);
    let mut rtmp = Client::play(&server, "a");
    server.has_clients(4);

    let mut sent = 0;
    for number in 0..PICTURES {
        for (kind, body) in
            [(MediaKind::Video, picture(number, number % GOP == 0, SIZE)), (MediaKind::Audio, sound(number))]
        {
            sent += body.len() as u64;
            camera.send(kind, number * 40, &body);
        }
        if number % GOP == 0 {
            // A player who falls behind would skip, and the sums with him.
            server.took("a", u64::from(number) + 1);
        }
    }
    let mut over_rtmp = 0;
    loop {
        let media = rtmp.media().unwrap();
        over_rtmp += media.payload.len() as u64;
        if media.kind == MediaKind::Audio && media.timestamp == (PICTURES - 1) * 40 {
            break;
        }
    }
    while http.total < sent {
        http.chunk();
    }
    while websocket.total < sent {
        websocket.message();
    }

    let stream = server.stream("a").unwrap();
    assert_eq!(stream["frames"], PICTURES);
    assert_eq!(stream["clients"], 4);
    assert_eq!(stream["publish"]["active"], true);
    assert_eq!((&stream["video"]["width"], &stream["video"]["height"]), (&1280.into(), &720.into()));
    let received = http.total + websocket.total + over_rtmp;
    agrees("recv_bytes of the stream", &stream["recv_bytes"], sent);
    agrees("send_bytes of the stream", &stream["send_bytes"], received);

    let clients = server.clients();
    let of = |kind: &str| clients.iter().filter(|c| c["type"] == kind).collect::<Vec<_>>();
    let [publisher] = of("fmle-publish")[..] else { panic!("{clients:#?}") };
    assert_eq!(stream["publish"]["cid"], publisher["id"]);
    agrees("recv_bytes of the publisher", &publisher["recv_bytes"], sent);
    agrees("send_bytes of the RTMP player", &of("rtmp-play")[0]["send_bytes"], over_rtmp);
    for client in of("flv-play") {
        assert_eq!(
            (&client["name"], &client["url"], &client["ip"]),
            (&"a.flv".into(), &"/live/a".into(), &"127.0.0.1".into())
        );
        agrees("send_bytes of an FLV player", &client["send_bytes"], http.total);
    }
    assert_eq!(of("flv-play").len(), 2);
    assert!(clients.iter().all(|c| c["stream"] == stream["id"] && c["vhost"] == stream["vhost"]));

    let vhosts = server.ask("/api/v1/vhosts/");
    let [vhost] = &vhosts["vhosts"].as_array().unwrap()[..] else { panic!("{vhosts:#}") };
    assert_eq!(
        (&vhost["id"], &vhost["clients"], &vhost["streams"]),
        (&stream["vhost"], &4.into(), &1.into())
    );
    agrees("recv_bytes of the vhost", &vhost["recv_bytes"], sent);
    agrees("send_bytes of the vhost", &vhost["send_bytes"], received);

    let summaries = server.ask("/api/v1/summaries");
    let (own, system) = (&summaries["data"]["self"], &summaries["data"]["system"]);
    assert_eq!(own["pid"], server.id());
    assert_eq!(system["conn_srs"], 4);
    agrees("srs_recv_bytes", &system["srs_recv_bytes"], sent);
    agrees("srs_send_bytes", &system["srs_send_bytes"], received);
    let versions = server.ask("/api/v1/versions");
    assert_eq!(versions["pid"], server.id().to_string());
    assert_eq!((&versions["server"], &versions["service"]), (&summaries["server"], &summaries["service"]));
}

#[test]
fn who_has_left_is_off_the_lists_and_stays_in_the_sums() {
    let server = Server::start();
    let mut camera = crate::media::Camera::new(Client::publish(&server, "a"));
    camera.run_to(20);
    server.took("a", 20);
    let mut player = Flv::open(server.http, "/live/a.flv");
    player.pictures_up_to(19);
    drop(player);
    server.has_clients(1);
    let before = server.stream("a").unwrap();
    assert_eq!(before["clients"], 1);
    let sent = before["send_bytes"].as_u64().unwrap();
    assert!(sent > 10 * 100, "{before}");
    camera.client.stop();
    server.has_clients(0);
    until("the stream is off the list", SOON, || server.stream("a").is_none().then_some(()));
    let vhosts = server.ask("/api/v1/vhosts/");
    let vhost = &vhosts["vhosts"][0];
    assert_eq!((&vhost["clients"], &vhost["streams"]), (&0.into(), &0.into()));
    assert!(vhost["send_bytes"].as_u64() >= Some(sent), "{vhost}");
}

#[test]
fn a_kick_ends_an_flv_player_and_nobody_else() {
    let server = Server::start();
    let mut camera = crate::media::Camera::new(Client::publish(&server, "a"));
    camera.run_to(5);
    let mut players = [(); 2].map(|()| Flv::open(server.http, "/live/a.flv"));
    players.iter_mut().for_each(|player| drop(player.pictures_up_to(4)));
    let clients = server.has_clients(3);
    let id = clients.iter().find(|c| c["type"] == "flv-play").unwrap()["id"].as_str().unwrap().to_owned();
    server.kick(&id);
    let left = server.has_clients(2);
    assert!(left.iter().all(|client| client["id"] != *id));
    server.logged(&["client finished", &id]);
    camera.run_to(10);
    let [mut first, mut second] = players;
    let ended = [&mut first, &mut second].map(|player| {
        std::iter::from_fn(|| player.next())
            .find(|(seen, ..)| matches!(seen, crate::media::Seen::Picture(9, _)))
            .is_none()
    });
    assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 1, "one of the two has ended");
    // Once more: it is gone.
    let again = crate::http::request(server.api, "DELETE", &format!("/api/v1/clients/{id}"), &[]).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again.body).unwrap()["code"], 2049);
}
