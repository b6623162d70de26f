//! HTTP itself, around live streams and on the same port: heads, methods, versions, connections that are used twice,
//! and requests that nobody should send.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::Running;
use crate::client::Client;
use crate::dialogue::{Dialogue, Head, request};
use crate::harness::{SOON, Server, Setup, until};
use crate::http::{self, Flv};
use crate::media::{Camera, Player};

const CORS: [&str; 5] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
];

/// A camera that has sent a few pictures.
fn camera(server: &Server, stream: &str) -> Camera {
    let mut camera = Camera::new(Client::publish(server, stream));
    camera.run_to(5);
    server.took(stream, 5);
    camera
}

#[track_caller]
fn allows_all_origins(head: &Head) {
    assert_eq!(head.names("access-control-"), CORS);
    assert_eq!(head.field("access-control-allow-origin"), Some("*"));
    assert_eq!(head.field("access-control-allow-credentials"), Some("false"));
}

#[test]
fn the_head_of_a_stream() {
    let server = Server::start();
    let _camera = camera(&server, "a");
    let mut player = Dialogue::ask(server.http, "GET /live/a.flv", &[]);
    let head = player.head();
    assert_eq!((head.version.as_str(), head.status), ("HTTP/1.1", 200));
    assert_eq!(head.field("content-type"), Some("video/x-flv"));
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    assert_eq!(head.field("content-length"), None);
    assert_eq!(head.field("connection"), Some("close"));
    assert!(head.field("cache-control").is_some_and(|value| value.contains("no-cache")));
    assert!(head.field("server").is_some_and(|value| value.starts_with("Oxcast/")), "{head:?}");
    assert_eq!(head.names("access-control-"), [""; 0], "without Origin");
    assert_eq!(player.chunk()[..5], *b"FLV\x01\x05");
}

#[test]
fn cross_origin_reads_are_allowed_unless_switched_off() {
    let origin = ["Origin: http://page.example"];
    let server = Server::start();
    let _camera = camera(&server, "a");
    allows_all_origins(&Dialogue::ask(server.http, "GET /live/a.flv", &origin).head());
    allows_all_origins(&Dialogue::ask(server.http, "GET /nothing", &origin).head());
    allows_all_origins(&Dialogue::ask(server.api, "GET /api/v1/versions", &origin).head());

    let server = Server::with(Setup { http: "crossdomain off;", ..Setup::default() });
    let _camera = camera(&server, "a");
    for (at, first) in [(server.http, "GET /live/a.flv"), (server.api, "GET /api/v1/versions")] {
        let head = Dialogue::ask(at, first, &origin).head();
        assert_eq!((head.status, head.names("access-control-")), (200, Vec::new()), "{first}");
    }
}

#[test]
fn preflights() {
    let lines = ["Origin: http://page.example", "Access-Control-Request-Method: GET"];
    let server = Server::start();
    for (at, first) in [(server.http, "OPTIONS /live/a.flv"), (server.api, "OPTIONS /api/v1/clients/")] {
        let (head, body) = Dialogue::ask(at, first, &lines).answer();
        assert_eq!((head.status, body.as_str()), (200, ""), "{first}");
        allows_all_origins(&head);
    }
    let server = Server::with(Setup { http: "crossdomain off;", ..Setup::default() });
    for (at, first) in [(server.http, "OPTIONS /live/a.flv"), (server.api, "OPTIONS /api/v1/clients/")] {
        let (head, _) = Dialogue::ask(at, first, &lines).answer();
        assert_eq!((head.status, head.names("access-control-")), (405, Vec::new()), "{first}");
    }
}

#[test]
fn head_has_no_body_and_makes_no_client() {
    let server = Server::start();
    let _camera = camera(&server, "a");
    let mut asked = Dialogue::ask(server.http, "HEAD /live/a.flv", &[]);
    let head = asked.head();
    assert_eq!((head.status, head.field("content-type")), (200, Some("video/x-flv")));
    assert_eq!(asked.rest(), b"");
    assert_eq!(server.has_clients(1)[0]["publish"], true);
    let log = server.log().all();
    assert!(!log.iter().any(|line| line.contains("start play")), "{log:#?}");
}

#[test]
fn http_1_0_gets_the_bare_stream_until_the_connection_ends() {
    let server = Server::start();
    let mut camera = camera(&server, "a");
    let mut player = Dialogue::start(server.http, "GET /live/a.flv HTTP/1.0\r\n\r\n");
    let head = player.head();
    assert_eq!((head.version.as_str(), head.status), ("HTTP/1.0", 200));
    assert_eq!((head.field("transfer-encoding"), head.field("content-length")), (None, None));
    assert_eq!(player.bytes(5), b"FLV\x01\x05");
    camera.run_to(25);
    server.took("a", 25);
    camera.client.stop();
    let mut reader = formats::flv::Reader::new();
    reader.receive(b"FLV\x01\x05");
    reader.receive(&player.rest());
    let items = std::iter::from_fn(|| reader.poll_item().unwrap()).count();
    assert_eq!(items, 1 + 2 + 2 * 25, "the header, two sequence headers, pictures and sound");
}

#[test]
fn the_end_of_the_stream_is_the_last_chunk() {
    let server = Server::start();
    let mut camera = camera(&server, "a");
    let mut player = Dialogue::ask(server.http, "GET /live/a.flv", &[]);
    player.head();
    assert_eq!(player.chunk()[..3], *b"FLV");
    camera.run_to(9);
    camera.client.stop();
    player.chunks();
    assert_eq!(player.rest(), b"", "closed behind the last chunk");
    server.logged(&["client finished: the stream ended"]);
    server.has_clients(0);
}

#[test]
fn a_player_may_come_before_the_publisher() {
    let server = Server::start();
    let mut player = Flv::open(server.http, "/live/a.flv");
    assert_eq!(server.has_clients(1)[0]["type"], "flv-play");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(30);
    let numbers = player.pictures_up_to(29).into_iter().map(|(number, _)| number);
    assert!(numbers.eq(0..30));
}

#[test]
fn one_connection_asks_for_other_things_and_then_for_a_stream() {
    let server = Server::start();
    let _camera = camera(&server, "a");
    let mut client = Dialogue::ask(server.http, "GET /api/v1/versions", &[]);
    let (head, body) = client.answer();
    assert_eq!((head.status, &body[..8]), (200, "{\"code\":"));
    client.say(request("GET /nothing.html", &[]));
    assert_eq!(client.answer().0.status, 404);
    client.say(request("POST /nothing.html", &["Content-Length: 5"]) + "12345");
    let (head, _) = client.answer();
    assert!(matches!(head.status, 404 | 405), "{head:?}");
    client.say(request("GET /live/a.flv", &[]));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk()[..3], *b"FLV");
}

#[test]
fn requests_in_one_breath() {
    let server = Server::start();
    let mut camera = camera(&server, "a");
    let versions = request("GET /api/v1/versions", &[]);
    let stream = request("GET /live/a.flv", &[]);
    let mut client = Dialogue::start(server.http, &[&*versions, &*versions, &*stream, &*versions].concat());
    assert_eq!(client.answer().0.status, 200);
    assert_eq!(client.answer().0.status, 200);
    assert_eq!(client.head().status, 200);
    // A stream is the last answer of its connection: what was asked behind it is not heard.
    assert_eq!(client.chunk()[..3], *b"FLV");
    camera.run_to(12);
    camera.client.stop();
    client.chunks();
    assert_eq!(client.rest(), b"");
}

#[test]
fn other_methods_are_refused() {
    let server = Server::start();
    let _camera = camera(&server, "a");
    for method in ["POST", "PUT", "DELETE", "PATCH", "FLY"] {
        let mut client = Dialogue::ask(server.http, &format!("{method} /live/a.flv"), &["Content-Length: 0"]);
        let (head, _) = client.answer();
        assert_eq!(head.status, 405, "{method}");
        let allowed = head.field("allow").unwrap_or_else(|| panic!("{method}: no Allow in {head:?}"));
        assert!(["GET", "HEAD"].iter().all(|m| allowed.contains(m)), "{allowed}");
    }
}

#[test]
fn unknown_paths_without_a_web_root() {
    let server = Server::start();
    assert!(!server.dir.join("html").exists());
    assert_eq!(http::get(server.http, "/").unwrap().status, 200, "a page of our own");
    for path in ["/nothing.html", "/live/", "/live/a.ts", "/a.flv", "/live/a.flv/", "/live/.flv"] {
        let reply = http::get(server.http, path).unwrap();
        assert_eq!(reply.status, 404, "{path}");
    }
    assert_eq!(server.clients().len(), 0);
}

#[test]
fn files_of_the_web_root_and_nothing_above_it() {
    let server = Server::start();
    fs::create_dir_all(server.dir.join("html/live")).unwrap();
    fs::write(server.dir.join("html/live/page.html"), "a page").unwrap();
    let secret = "the secret above the web root";
    fs::write(server.dir.join("secret.txt"), secret).unwrap();

    let mut client = Dialogue::ask(server.http, "GET /live/page.html", &[]);
    assert_eq!(client.answer().1, "a page");
    for path in [
        "/../secret.txt",
        "/live/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/live/%2e%2e/%2e%2e/secret.txt",
        "/live/..%2f..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%5csecret.txt",
        "/..;/secret.txt",
        "//../secret.txt",
        "/./.././secret.txt",
        "/live/..%00/secret.txt",
        "/../secret.txt?a.flv",
    ] {
        let mut client = Dialogue::ask(server.http, &format!("GET {path}"), &["Connection: close"]);
        let said = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(said.starts_with("HTTP/1.1 400 ") || said.starts_with("HTTP/1.1 404 "), "{path}: {said}");
        assert!(!said.contains(secret), "{path}: {said}");
    }
}

#[test]
fn huge_heads() {
    let server = Server::start();
    let field = format!("X-Long: {}", "x".repeat(20 << 10));
    let path = format!("GET /{}", "x".repeat(20 << 10));
    let many: Vec<String> = (0..500).map(|n| format!("X-{n}: {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (first, lines, statuses) in [
        ("GET /live/a.flv", &[&*field][..], &[431][..]),
        (&*path, &[], &[431, 414]),
        ("GET /", &many[..], &[431]),
    ] {
        let mut client = Dialogue::ask(server.http, first, lines);
        let head = client.head();
        assert!(
            statuses.contains(&head.status),
            "{} bytes of path, {} lines: {head:?}",
            first.len(),
            lines.len()
        );
        server.logged(&["WARN", "serve error", &format!("peer={}", client.local())]);
    }
}

#[test]
fn bad_heads() {
    let server = Server::start();
    for text in [
        "GET\r\n\r\n",
        "GET /live/a.flv\r\n\r\n",
        "GET /live/a b.flv HTTP/1.1\r\n\r\n",
        "GET /live/a.flv HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /live/a.flv HTTP/1.1\r\nHost: a\r\nName : x\r\n\r\n",
        "GET /live/a.flv HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: strange\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
    ] {
        let mut client = Dialogue::start(server.http, text);
        let head = client.head();
        assert_eq!(head.status, 400, "{text:?}");
        client.rest();
        server.logged(&["WARN", "serve error", &format!("peer={}", client.local())]);
    }
    assert_eq!(server.clients().len(), 0);
}

/// Somebody who is at the wrong door, and a client that leaves in the middle of its head.
#[test]
fn strangers_are_logged() {
    let server = Server::start();
    // An RTMP handshake, and a TLS one.
    for bytes in [[&[3u8][..], &[0; 1536]].concat(), vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]] {
        let mut client = Dialogue::open(server.http);
        client.say(bytes);
        client.hush();
        client.rest();
        server.logged(&["WARN", "serve error", &format!("peer={}", client.local())]);
    }
    let mut client = Dialogue::start(server.http, "GET /live/a.flv HTTP/1.1\r\nHost:");
    client.hush();
    client.rest();
    server.logged(&["WARN", "serve error", &format!("peer={}", client.local())]);
}

#[test]
fn heads_that_take_too_long() {
    let server = Server::start();
    let mut idle = Dialogue::ask(server.http, "GET /api/v1/versions", &[]);
    let idle_cid = server.logged(&["GET /api/v1/versions", &idle.local().to_string()]);
    idle.answer();
    let mut clients =
        [server.http, server.api].map(|at| Dialogue::start(at, "GET /live/a.flv HTTP/1.1\r\nHost: a\r\n"));
    let since = Instant::now();
    for client in &mut clients {
        let said = String::from_utf8(client.rest_within(Duration::from_secs(30))).unwrap();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!(since.elapsed() > Duration::from_secs(10), "cut off after {:?}", since.elapsed());
        server.logged(&["WARN", "serve error", &format!("peer={}", client.local())]);
    }
    // One that keeps its connection without a further request is closed too, but has done nothing wrong.
    assert_eq!(idle.rest(), b"");
    let cid = idle_cid.split(['[', ']']).nth(7).unwrap();
    server.logged(&["INFO", cid, "client finished: no further request"]);
}

#[test]
fn streams_and_the_api_on_one_port() {
    let server = Server::with(Setup { one_port: true, ..Setup::default() });
    let mut camera = camera(&server, "a");
    fs::create_dir_all(server.dir.join("html")).unwrap();
    fs::write(server.dir.join("html/index.html"), "the web root").unwrap();
    let mut player = Flv::open(server.http, "/live/a.flv");
    camera.run_to(10);
    player.pictures_up_to(9);
    assert_eq!(server.clients().len(), 2);
    assert_eq!(server.ask("/api/v1/versions")["code"], 0);
    assert_eq!(server.ask("/api/v1/summaries")["data"]["ok"], true);
    assert_eq!(http::get(server.http, "/").unwrap().body, b"the web root");
    assert_eq!(http::get(server.http, "/nothing.html").unwrap().status, 404);
    let client = server.clients().into_iter().find(|c| c["publish"] == false).unwrap();
    server.kick(client["id"].as_str().unwrap());
    player.rest();
}

#[test]
fn curl_plays_and_asks() {
    let server = Server::start();
    let mut camera = camera(&server, "a");
    let url = server.flv_url("a");
    let file = server.dir.join("seen.flv");
    let mut curl = Command::new("curl");
    let mut player =
        Running::start("curl", curl.args(["-sS", "--no-buffer", "--fail", "-o"]).arg(&file).arg(&url));
    until("curl writes", SOON, || fs::metadata(&file).is_ok_and(|file| file.len() > 0).then_some(()));
    camera.run_to(20);
    camera.client.stop();
    player.succeed(SOON);
    let mut reader = formats::flv::Reader::new();
    reader.receive(&fs::read(&file).unwrap());
    assert_eq!(std::iter::from_fn(|| reader.poll_item().unwrap()).count(), 1 + 2 + 2 * 20);

    let mut curl = Command::new("curl");
    let mut asker = Running::start("curl -I", curl.args(["-sS", "-I", "-m", "5", &url]));
    asker.succeed(SOON);
    assert!(asker.out.all()[0].starts_with("HTTP/1.1 200"), "{:?}", asker.out.all());
}
