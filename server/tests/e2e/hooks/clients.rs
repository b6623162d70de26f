//! What services are told of clients that come and go, over every protocol.

use rtmp::Role;
use serde_json::{Value, json};

use super::service::{Call, Service};
use super::{hooks, server};
use crate::client::Client;
use crate::harness::{Server, until};
use crate::http::{self, Flv};
use crate::media::Camera;
use crate::tape::Tape;
use crate::tools::usual_clip;
use crate::viewer::{PACED, variant};
use crate::webrtc::peer;

/// The names of the fields in their order.
fn fields(call: &Call) -> String {
    let names: Vec<_> = call.body.as_object().unwrap().keys().map(String::as_str).collect();
    names.join(" ")
}

fn text<'a>(call: &'a Call, name: &str) -> &'a str {
    call.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", call.text))
}

/// Publishes with a query, and sends the first pictures.
fn publish(server: &Server, stream: &str) -> Camera {
    let mut publisher = Client::open(server.rtmp, &server.rtmp_url(stream), Role::Publish);
    publisher.start();
    let mut camera = Camera::new(publisher);
    camera.run_to(20);
    camera
}

/// Publishes what decoders and packagers like, and stays.
fn publish_clip(server: &Server, stream: &str, ms: u32) -> Client {
    let mut publisher = Client::open(server.rtmp, &server.rtmp_url(stream), Role::Publish);
    publisher.start();
    let tape = Tape::of(&usual_clip());
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, ms, 0);
    publisher
}

#[test]
fn rtmp_from_connect_to_close() {
    let service = Service::start();
    let server = server(&hooks(&service, &[], ""));
    let camera = publish(&server, "a?token=abc");
    let mut player = Client::open(server.rtmp, &server.rtmp_url("a"), Role::Play);
    player.start();
    player.av();
    let (publisher_id, player_id) = {
        let clients = server.has_clients(2);
        let of = |publish: bool| clients.iter().find(|c| c["publish"] == publish).unwrap()["id"].clone();
        (of(true), of(false))
    };
    let stream_id = server.stream("a").unwrap()["id"].clone();
    player.stop();
    service.called("on_close", 1);
    camera.client.stop();
    service.called("on_close", 2);

    let calls = service.calls();
    let of = |id: &Value| calls.iter().filter(|call| call.body["client_id"] == *id).collect::<Vec<_>>();
    let actions = |id| of(id).iter().map(|call| call.action().to_owned()).collect::<Vec<_>>();
    assert_eq!(actions(&publisher_id), ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    assert_eq!(actions(&player_id), ["on_connect", "on_play", "on_stop", "on_close"]);

    // All that is told of a client is one trace (W3C Trace Context), and no other client's.
    let traces = |id| {
        let mut traces: Vec<_> = of(id).iter().map(|call| call.traceparent.clone()).collect();
        traces.dedup();
        assert!(traces.len() == 1 && traces[0].len() == 55 && traces[0].starts_with("00-"), "{traces:?}");
        traces
    };
    assert_ne!(traces(&publisher_id), traces(&player_id));

    let begins = "server_id service_id action client_id ip vhost app";
    let about = of(&publisher_id);
    let tc_url = format!("rtmp://{}/live", server.rtmp);
    let common =
        json!({"server_id": "vid-hooks01", "ip": "127.0.0.1", "vhost": "__defaultVhost__", "app": "live"});
    for call in &calls {
        assert_eq!((&call.method[..], &call.path[..]), ("POST", "/yes"));
        for (name, value) in common.as_object().unwrap() {
            assert_eq!(call.body[name], *value, "{}", call.text);
        }
        assert_eq!(text(call, "service_id").len(), 8);
    }
    assert_eq!(fields(about[0]), format!("{begins} stream param tcUrl pageUrl"));
    assert_eq!([text(about[0], "stream"), text(about[0], "param")], ["a", "?token=abc"]);
    assert_eq!([text(about[0], "tcUrl"), text(about[0], "pageUrl")], [&tc_url, ""]);
    for call in &about[1..3] {
        assert_eq!(fields(call), format!("{begins} tcUrl stream param stream_url stream_id"));
        assert_eq!([text(call, "stream_url"), text(call, "param")], ["/live/a", "?token=abc"]);
        assert_eq!(call.body["stream_id"], stream_id);
    }
    assert_eq!(fields(about[3]), format!("{begins} send_bytes recv_bytes"));
    assert!(about[3].body["recv_bytes"].as_u64() > Some(4000), "{}", about[3].text);
    let about = of(&player_id);
    assert_eq!(fields(about[1]), format!("{begins} stream tcUrl param pageUrl stream_url stream_id"));
    assert_eq!(fields(about[2]), format!("{begins} tcUrl stream param stream_url stream_id"));
    assert_eq!((text(about[1], "param"), &about[1].body["stream_id"]), ("", &stream_id));
}

#[test]
fn a_connection_that_publishes_again_is_one_connection() {
    let service = Service::start();
    let server = server(&hooks(&service, &[], ""));
    let mut peer = crate::peer::Peer::connect(&server);
    for times in 1..=2 {
        peer.publish("a");
        peer.call(1, "closeStream", &[formats::amf0::Value::Null]);
        service.called("on_unpublish", times);
    }
    drop(peer);
    service.called("on_close", 1);
    let want = ["on_connect", "on_publish", "on_unpublish", "on_publish", "on_unpublish", "on_close"];
    assert_eq!(service.actions(""), want);
}

#[test]
fn players_over_http_and_hls() {
    let service = Service::start();
    let server = server(&hooks(&service, &[], ""));
    let publisher = publish_clip(&server, "a", 2900);

    let from = [("X-Forwarded-For", "192.0.2.7, 10.0.0.1"), ("Referer", "http://a.com/watch")];
    let mut flv = Flv::ask(server.http, "/live/a.flv?token=x%20y", &from);
    flv.header();
    let call = service.called("on_play", 1);
    assert_eq!([text(&call, "ip"), text(&call, "stream")], ["192.0.2.7", "a"]);
    assert_eq!(
        [text(&call, "tcUrl"), text(&call, "param")],
        ["rtmp://__defaultVhost__/live", "?token=x%20y"]
    );
    assert_eq!([text(&call, "pageUrl"), text(&call, "stream_url")], ["http://a.com/watch", "/live/a"]);
    let id = text(&call, "client_id").to_owned();
    drop(flv);
    assert_eq!(service.called("on_stop", 1).body["client_id"], *id);

    let from = [("X-Real-IP", "192.0.2.8"), ("Host", "localhost:8080")];
    let path = "/live/a.m3u8?token=z";
    let master = until("a playlist", PACED, || {
        let reply = http::request(server.http, "GET", path, &from).unwrap();
        (reply.status == 200).then(|| String::from_utf8(reply.body).unwrap())
    });
    let call = service.called("on_play", 2);
    assert_eq!([text(&call, "ip"), text(&call, "stream")], ["192.0.2.8", "a.m3u8"]);
    assert_eq!([text(&call, "tcUrl"), text(&call, "param")], ["http://localhost/live", "?token=z"]);
    assert_eq!(text(&call, "stream_url"), "/live/a");
    let id = text(&call, "client_id").to_owned();
    assert!(variant(&master).unwrap().contains(&format!("hls_ctx={id}")), "{master}");
    assert_eq!(http::get(server.http, variant(&master).unwrap()).unwrap().status, 200);
    server.kick(&id);
    let call = service.called("on_stop", 2);
    assert_eq!([text(&call, "client_id"), text(&call, "stream")], [&id, "a.m3u8"]);

    publisher.stop();
    service.called("on_close", 1);
    let connects = service.actions("").iter().filter(|action| *action == "on_connect").count();
    assert_eq!(connects, 1, "players over HTTP do not connect");
}

#[test]
fn webrtc_both_ways() {
    let service = Service::start();
    let server = server(&hooks(&service, &[], ""));
    let publisher = peer::Call::new(&server, "a").saying("token=abc").publish().connected();
    let call = service.called("on_publish", 1);
    assert_eq!([text(&call, "stream"), text(&call, "tcUrl"), text(&call, "ip")], ["a", "", "127.0.0.1"]);
    assert_eq!(text(&call, "param"), "app=live&stream=a&token=abc");
    let player = peer::Call::new(&server, "a").play().connected();
    player.until("a picture", |seen| !seen.pictures.is_empty());
    assert_eq!(service.called("on_play", 1).body["stream_id"], call.body["stream_id"]);
    assert_eq!(player.leave(), 200);
    service.called("on_stop", 1);
    assert_eq!(publisher.leave(), 200);
    assert_eq!(service.called("on_unpublish", 1).body["client_id"], call.body["client_id"]);
    assert_eq!(service.actions(""), ["on_publish", "on_play", "on_stop", "on_unpublish"]);
}

#[test]
fn segments_are_told_and_fetched() {
    let service = Service::start();
    let notify =
        format!("on_hls_notify {};", service.url("fetch/[app]/[stream]/[server_id]/[ts_url][param]"));
    let server = server(&hooks(&service, &[], &notify));
    let publisher = publish_clip(&server, "a?token=abc", 2900);
    let call = service.called("on_hls", 2);
    let want = "server_id service_id action client_id ip vhost app tcUrl stream param duration cwd file url m3u8 m3u8_url \
                seq_no stream_url stream_id";
    assert_eq!(fields(&call), want);
    assert_eq!([text(&call, "url"), text(&call, "m3u8_url")], ["live/a-1.ts", "live/a.m3u8"]);
    assert_eq!(
        [text(&call, "file"), text(&call, "m3u8")],
        ["./objs/nginx/html/live/a-1.ts", "./objs/nginx/html/live/a.m3u8"]
    );
    assert_eq!((&call.body["seq_no"], text(&call, "param")), (&json!(1), "?token=abc"));
    assert!(call.body["duration"].as_f64().is_some_and(|s| (0.5..2.0).contains(&s)), "{}", call.text);
    assert!(std::path::Path::new(text(&call, "cwd")).join(text(&call, "file")).exists());
    let publish = service.called("on_publish", 1);
    assert_eq!(call.body["client_id"], publish.body["client_id"]);
    let fetched =
        service.called_with("a fetch", |calls| calls.iter().find(|call| call.method == "GET").cloned());
    assert_eq!(fetched.path, "/fetch/live/a/vid-hooks01/live/a-0.ts?token=abc");
    publisher.stop();
}

#[test]
fn who_is_there_when_the_server_ends_is_told_to_have_left() {
    let service = Service::start();
    let mut server = server(&hooks(&service, &[], ""));
    let _publisher = publish_clip(&server, "a", 2900);
    let mut player = Flv::open(server.http, "/live/a.flv");
    player.header();
    let path = "/live/a.m3u8";
    let _session =
        until("a playlist", PACED, || http::get(server.http, path).ok().filter(|r| r.status == 200));
    let _rtc = peer::Call::new(&server, "b").publish().connected();
    let _player = peer::Call::new(&server, "b").play();
    service.called("on_play", 3);
    server.stop();
    service.called("on_close", 1);
    service.called("on_stop", 3);
    service.called("on_unpublish", 2);
}
