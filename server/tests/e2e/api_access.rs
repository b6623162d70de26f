//! Who may use the HTTP API, on which port, and what happens to the connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rtmp::Role;
use serde_json::Value;

use crate::client::Client;
use crate::dialogue::{Dialogue, Head};
use crate::harness::{Server, Setup};
use crate::http;
use crate::media::Camera;

const AUTH: &str = "auth { enabled on; username admin; password s3cret; }";

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}", BASE64.encode(pair))
}

#[track_caller]
fn is_challenge(head: &Head) {
    assert_eq!(head.status, 401);
    assert_eq!(head.field("www-authenticate"), Some(r#"Basic realm="oxcast""#));
}

#[test]
fn name_and_password_are_asked_for_on_both_ports() {
    for one_port in [false, true] {
        let server = Server::with(Setup { api: AUTH, one_port, ..Setup::default() });
        for at in [server.api, server.http] {
            // A browser is asked, and then says it on the same connection.
            let mut browser = Dialogue::ask(at, "GET /api/v1/versions", &["Origin: http://a.test"]);
            let (head, body) = browser.answer();
            is_challenge(&head);
            assert_eq!(head.field("access-control-allow-origin"), Some("*"));
            assert!(!body.is_empty() && body.len() < 100, "{body}");
            browser.say(crate::dialogue::request("GET /api/v1/versions", &[&basic("admin:s3cret")]));
            let (head, body) = browser.answer();
            assert_eq!((head.status, &body[..10]), (200, r#"{"code":0,"#));
            // It must be said each time.
            browser.say(crate::dialogue::request("GET /api/v1/versions", &[]));
            is_challenge(&browser.answer().0);

            let mut stranger = Dialogue::ask(at, "GET /api/v1/versions", &[&basic("admin:guess")]);
            is_challenge(&stranger.answer().0);
            server.logged(&["WARN", "wrong name or password", &format!("peer={}", stranger.local())]);
            let script = http::get(at, "/api/v1/versions?callback=cb").unwrap();
            assert_eq!(script.status, 401);
            let kick = http::get(at, "/api/v1/clients/00000000?callback=cb&method=DELETE").unwrap();
            assert_eq!(kick.status, 401);
            let mut asked = Dialogue::ask(at, "OPTIONS /api/v1/clients/", &["Origin: http://a.test"]);
            let head = asked.head();
            assert_eq!((head.status, head.field("access-control-allow-headers")), (200, Some("*")));
        }
        for guarded in ["/metrics", "/rtc/v1/play/", "/rtc/v1/whip/", "/sig/v1/rtc", "/console/"] {
            assert_eq!(http::get(server.api, guarded).unwrap().status, 401, "{guarded}");
        }
        assert_eq!(http::get(server.api, "/").unwrap().status, 200);
    }
}

#[test]
fn streams_below_a_path_with_api_are_guarded_too() {
    let server = Server::with(Setup { api: AUTH, ..Setup::default() });
    let publish = |app: &str| {
        let mut client =
            Client::open(server.rtmp, &format!("rtmp://{}/{app}/cam", server.rtmp), Role::Publish);
        client.start();
        let mut camera = Camera::new(client);
        camera.run_to(10);
        camera
    };
    let _cameras = [publish("live"), publish("live/api"), publish("api")];
    let ask = |path: &str, lines: &[&str]| {
        let mut player = Dialogue::ask(server.http, &format!("GET {path}"), lines);
        player.head()
    };
    assert_eq!(ask("/live/cam.flv", &[]).field("content-type"), Some("video/x-flv"));
    is_challenge(&ask("/live/api/cam.flv", &[]));
    is_challenge(&ask("/live/api/cam.flv", &[&basic("admin:guess")]));
    assert_eq!(
        ask("/live/api/cam.flv", &[&basic("admin:s3cret")]).field("content-type"),
        Some("video/x-flv")
    );
    // What is below /api/ is never a stream.
    is_challenge(&ask("/api/cam.flv", &[]));
    assert_eq!(ask("/api/cam.flv", &[&basic("admin:s3cret")]).status, 404);
}

#[test]
fn the_scope_of_srs_and_a_token() {
    let api =
        "auth { enabled on; username admin; password s3cret; user ops t0psecret; token t0k3n; scope srs; }";
    let server = Server::with(Setup { api, ..Setup::default() });
    for open in ["/metrics", "/rtc/v1/play/", "/rtc/v1/whip/", "/sig/v1/rtc", "/console/"] {
        assert_ne!(http::get(server.api, open).unwrap().status, 401, "{open}");
    }
    let mut stranger = Dialogue::ask(server.api, "GET /api/v1/versions", &[]);
    let head = stranger.answer().0;
    let challenges: Vec<_> = head.all("www-authenticate").collect();
    assert_eq!(challenges, [r#"Basic realm="oxcast""#, r#"Bearer realm="oxcast""#]);
    for (line, status) in [
        ("Authorization: Bearer t0k3n", 200),
        ("Authorization: Bearer s3cret", 401),
        (&basic("ops:t0psecret"), 200),
        (&basic("ops:s3cret"), 401),
    ] {
        let mut client = Dialogue::ask(server.api, "GET /api/v1/versions", &[line]);
        assert_eq!(client.answer().0.status, status, "{line}");
    }
}

#[test]
fn the_log_keeps_no_passwords() {
    let server = Server::with(Setup { api: AUTH, ..Setup::default() });
    let pair = BASE64.encode("admin:s3cret");
    for lines in
        [vec![], vec![basic("admin:s3cret")], vec![basic("admin:s3cret2")], vec![basic("s3cret:admin")]]
    {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        Dialogue::ask(server.api, "GET http://admin:s3cret@a.test/api/v1/versions", &lines).answer();
    }
    server.logged_times(&["HTTP #1", "GET /api/v1/versions"], 4);
    server.logged_times(&["wrong name or password"], 2);
    let log = server.log().all().join("\n");
    assert!(!log.contains("s3cret") && !log.contains(&pair), "{log}");
}

#[test]
fn connections_are_kept_unless_the_client_wants_them_closed() {
    let server = Server::start();
    for at in [server.api, server.http] {
        let mut client = Dialogue::ask(at, "HEAD /api/v1/versions", &[]);
        let head = client.head();
        assert_eq!((head.status, head.field("connection")), (200, None));
        let length: usize = head.field("content-length").unwrap().parse().unwrap();
        // Nothing was behind the head, or this would not be understood.
        client.say("POST /api/v1/versions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        let (head, body) = client.answer();
        assert_eq!((head.status, body.len()), (200, length));
        client.say(crate::dialogue::request("GET /api/v1/versions", &["Connection: close"]));
        let (head, _) = client.answer();
        assert_eq!(head.field("connection"), Some("close"));
        assert_eq!(client.rest(), b"");

        let mut old = Dialogue::start(at, "GET /api/v1/versions HTTP/1.0\r\n\r\n");
        let (head, body) = old.answer();
        assert_eq!((head.status, body.len()), (200, length));
        assert_eq!(old.rest(), b"");
    }
}

#[test]
fn an_api_that_shares_the_port() {
    let server = Server::with(Setup { one_port: true, ..Setup::default() });
    let mut client = Client::open(server.rtmp, &format!("rtmp://{}/api/cam", server.rtmp), Role::Publish);
    client.start();
    // No stream has such an address, and no file.
    let index: Value = server.ask("/api/cam.flv");
    assert_eq!(index["urls"], server.ask("/api/")["urls"]);
    assert_eq!(server.ask("/api/v1/clients/")["clients"][0]["url"], "/api/cam");
    let root = http::get(server.http, "/").unwrap();
    assert!(!root.head.contains("application/json"), "{}", root.head);
}
