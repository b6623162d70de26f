//! What happens is told at once (`/api/v1/events`), to those who come back as well; and streams are ended.

use std::net::SocketAddr;

use rtmp::ClientEvent;
use serde_json::{Value, json};

use crate::client::Client;
use crate::dialogue::{Dialogue, Head};
use crate::harness::{Server, Setup};
use crate::http;
use crate::media::Camera;

/// Somebody who listens.
struct Listener {
    dialogue: Dialogue,
    text: String,
}

/// What it hears: the number, and the rest.
type Heard = (Option<u64>, Value);

impl Listener {
    fn open(at: SocketAddr, query: &str, lines: &[&str]) -> Self {
        let mut dialogue = Dialogue::ask(at, &format!("GET /api/v1/events{query}"), lines);
        let head = dialogue.head();
        assert_eq!((head.status, head.field("content-type")), (200, Some("text/event-stream")));
        assert_eq!(head.field("cache-control"), Some("no-store"));
        let mut listener = Self { dialogue, text: String::new() };
        assert_eq!(listener.block(), "retry: 2000");
        listener
    }

    /// What stands before the next empty line.
    fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return block;
            }
            let chunk = self.dialogue.chunk();
            assert!(!chunk.is_empty(), "the listener is let go");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    #[track_caller]
    fn hear(&mut self) -> Heard {
        let block = self.block();
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let data: Value = serde_json::from_str(field("data").unwrap()).unwrap();
        assert_eq!(field("event"), data["type"].as_str(), "{block}");
        let id = field("id").map(|id| id.parse().unwrap());
        assert_eq!(id, data["id"].as_u64(), "{block}");
        (id, data)
    }

    /// Hears one of this type about a client of this type.
    #[track_caller]
    fn hears(&mut self, what: &str, client: &str) -> Heard {
        let (id, data) = self.hear();
        assert_eq!((&data["type"], &data["client"]["type"]), (&json!(what), &json!(client)), "{data}");
        (id, data)
    }
}

fn camera(server: &Server, stream: &str) -> Camera {
    let mut camera = Camera::new(Client::publish(server, stream));
    camera.run_to(5);
    server.took(stream, 5);
    camera
}

fn refused(at: SocketAddr, method: &str, path: &str) -> Head {
    Dialogue::ask(at, &format!("{method} {path}"), &[]).head()
}

#[test]
fn comings_and_goings() {
    let server = Server::start();
    let mut all = Listener::open(server.api, "", &[]);
    let mut some = Listener::open(server.api, "?type=unpublish,overload&stream=/live/a", &[]);
    let camera = camera(&server, "a");
    let (first, told) = all.hears("publish", "fmle-publish");
    let stream = server.stream("a").unwrap();
    let publisher = &server.clients()[0];
    assert_eq!((&told["stream"], &told["stream_id"]), (&json!("/live/a"), &stream["id"]));
    let client = json!({ "id": publisher["id"], "type": "fmle-publish", "ip": "127.0.0.1" });
    assert_eq!(told["client"], client);

    let player = Client::play(&server, "a");
    let (_, told) = all.hears("play", "rtmp-play");
    player.stop();
    let (_, left) = all.hears("stop", "rtmp-play");
    assert_eq!((&left["client"], left.get("kicked")), (&told["client"], None));
    assert!(left["send_bytes"].as_u64() > Some(100) && left["alive_ms"].is_u64(), "{left}");

    server.kick(publisher["id"].as_str().unwrap());
    let (_, kick) = all.hears("kick", "fmle-publish");
    assert_eq!(kick["reason"], "kicked off through the API");
    assert!(kick["by"].as_str().unwrap().starts_with("anybody at 127.0.0.1:"), "{kick}");
    let (last, left) = all.hears("unpublish", "fmle-publish");
    assert_eq!(left["kicked"], "kicked off through the API");
    assert_eq!(some.hears("unpublish", "fmle-publish").0, last);
    drop(camera);

    // Who comes back says what he knows.
    let line = format!("Last-Event-ID: {}", first.unwrap());
    let mut again = Listener::open(server.api, "", &[&line]);
    for (what, who) in [("play", "rtmp-play"), ("stop", "rtmp-play"), ("kick", "fmle-publish")] {
        again.hears(what, who);
    }
    assert_eq!(again.hears("unpublish", "fmle-publish").0, last);
    // What he knows is of an earlier run.
    let mut old = Listener::open(server.api, "?last_event_id=7", &[]);
    assert_eq!(old.hear(), (None, json!({ "type": "missed" })));
    assert_eq!(old.hears("publish", "fmle-publish").0, first);
}

#[test]
fn listeners_are_few_and_nobody_waits_for_them() {
    let mut server =
        Server::with(Setup { top: "grace_start_wait 10; grace_final_wait 10;", ..Setup::default() });
    let mut all: Vec<_> = (0..64).map(|_| Listener::open(server.api, "", &[])).collect();
    let head = refused(server.api, "GET", "/api/v1/events");
    assert_eq!((head.status, head.field("retry-after")), (503, Some("10")));
    assert_eq!(refused(server.api, "POST", "/api/v1/events").status, 405);
    all.pop();
    crate::harness::until("a place is free", crate::harness::SOON, || {
        (refused(server.api, "HEAD", "/api/v1/events").status == 200).then_some(())
    });
    // The server ends without waiting for them, and says so.
    server.quit();
    let mut one = all.pop().unwrap();
    assert_eq!(one.hear().1["type"], "quit");
    assert!(one.dialogue.chunk().is_empty(), "the answer ends as answers end");
}

#[test]
fn a_stream_is_ended() {
    let server = Server::start();
    let (mut camera, _other) = (camera(&server, "a"), camera(&server, "b"));
    let mut players = [Client::play(&server, "a"), Client::play(&server, "a")];
    server.has_clients(4);
    let id = server.stream("a").unwrap()["id"].as_str().unwrap().to_owned();
    let end = |query: &str| {
        let path = format!("/api/v1/streams/{id}{query}");
        let reply = http::request(server.api, "DELETE", &path, &[]).unwrap();
        serde_json::from_slice::<Value>(&reply.body).unwrap()
    };
    let answer = end("");
    assert_eq!((&answer["code"], &answer["kicked"]), (&json!(0), &json!({ "publishers": 1, "players": 0 })));
    while camera.client.event().is_some_and(|event| !matches!(event, ClientEvent::Ended)) {}
    server.has_clients(3);
    assert_eq!(server.stream("a").unwrap()["publish"]["active"], false);
    server.logged(&[
        "audit: end stream /live/a",
        &id,
        "by=anybody at 127.0.0.1:",
        "1 publishers, 0 players kicked",
    ]);
    // It may come back. The players have waited.
    drop(camera);
    let mut camera = self::camera(&server, "a");
    let answer = end("?players=true");
    assert_eq!(answer["kicked"], json!({ "publishers": 1, "players": 2 }));
    for client in players.iter_mut().chain([&mut camera.client]) {
        while client.event().is_some() {}
    }
    server.has_clients(1);
    assert_eq!(end("")["code"], 2048);
    server.logged(&["audit: end no stream", "result=no such stream"]);
    let reply = http::request(server.api, "DELETE", "/api/v1/clients/00000000", &[]).unwrap();
    assert_eq!(reply.status, 200);
    server.logged(&["audit: kick nobody", "result=no such client"]);
}

#[test]
fn the_audit_knows_who_it_was() {
    let api = "raw_api { enabled on; } auth { enabled on; user ops s3cret; token t0k3n; }";
    let server = Server::with(Setup { api, ..Setup::default() });
    let _camera = Camera::new(Client::publish(&server, "a"));
    // ops:s3cret
    for (authorization, who) in [("Basic b3BzOnMzY3JldA==", "ops"), ("Bearer t0k3n", "a token")] {
        let headers = [("Authorization", authorization)];
        let path = "/api/v1/raw?rpc=reload";
        assert_eq!(http::request(server.api, "GET", path, &headers).unwrap().status, 200);
        server.logged(&["audit: reload, by=", &format!("by={who} at 127.0.0.1:"), "result=code 1061"]);
    }
    let log = server.log().all().join("\n");
    assert!(!log.contains("s3cret") && !log.contains("t0k3n"), "{log}");
}
