//! FLV in WebSocket messages (RFC 6455): the handshake and how it fails, pings, and the ways to say goodbye.

use crate::client::Client;
use crate::dialogue::Dialogue;
use crate::harness::Server;
use crate::media::Camera;

const PING: u8 = 9;
const PONG: u8 = 10;
const CLOSE: u8 = 8;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const UPGRADE: [&str; 4] = ["Connection: keep-alive, Upgrade", "Upgrade: websocket", KEY, VERSION];

/// A camera that has sent a few pictures.
fn camera(server: &Server) -> Camera {
    let mut camera = Camera::new(Client::publish(server, "a"));
    camera.run_to(5);
    server.took("a", 5);
    camera
}

/// A player whose handshake is done.
#[track_caller]
fn player(server: &Server) -> Dialogue {
    let mut player = Dialogue::ask(server.http, "GET /live/a.flv", &UPGRADE);
    let head = player.head();
    assert_eq!(head.status, 101);
    assert!(head.field("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")));
    assert!(head.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")));
    // RFC 6455, 1.3.
    assert_eq!(head.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!((head.field("transfer-encoding"), head.field("content-length")), (None, None));
    player
}

#[test]
fn messages_make_an_flv_file_and_the_end_is_said() {
    let server = Server::start();
    let mut camera = camera(&server);
    let mut player = player(&server);
    let mut reader = formats::flv::Reader::new();
    reader.receive(&player.message().1);
    camera.run_to(40);
    server.took("a", 40);
    camera.client.stop();
    let code = loop {
        match player.message() {
            (2, payload) => reader.receive(&payload),
            (CLOSE, payload) => break payload,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(code[..2], [3, 0xe8 | 0xe9]), "1000 or 1001: {code:?}");
    assert_eq!(std::iter::from_fn(|| reader.poll_item().unwrap()).count(), 1 + 2 + 2 * 40);
    player.rest();
}

#[test]
fn handshakes_that_are_none() {
    let server = Server::start();
    let _camera = camera(&server);
    for (lines, status) in [
        (vec!["Connection: Upgrade", "Upgrade: websocket", VERSION], 400),
        (vec!["Connection: Upgrade", "Upgrade: websocket", VERSION, "Sec-WebSocket-Key: short"], 400),
        (vec!["Connection: close", "Upgrade: websocket", VERSION, KEY], 400),
        (vec!["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8", KEY], 426),
        (vec!["Connection: Upgrade", "Upgrade: websocket", KEY], 426),
    ] {
        let mut client = Dialogue::ask(server.http, "GET /live/a.flv", &lines);
        let (head, body) = client.answer();
        assert_eq!(head.status, status, "{lines:?}");
        assert!(!body.trim().is_empty(), "a reason: {lines:?}");
        if status == 426 {
            assert_eq!(head.field("sec-websocket-version"), Some("13"));
        }
        assert_eq!(client.rest(), b"");
        server.logged(&["WARN", "client refused", &format!("peer={}", client.local())]);
    }
    assert_eq!(server.clients().len(), 1);
}

#[test]
fn other_protocols_are_no_reason_to_refuse() {
    let server = Server::start();
    let _camera = camera(&server);
    let mut client = Dialogue::ask(
        server.http,
        "GET /live/a.flv",
        &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"],
    );
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk()[..3], *b"FLV");
}

#[test]
fn pings_are_answered_in_the_middle_of_media() {
    let server = Server::start();
    let mut camera = camera(&server);
    let mut player = player(&server);
    for (round, payload) in [&b""[..], b"hello", &[7; 125]].into_iter().enumerate() {
        player.tell(PING, payload);
        camera.run_to(10 + 5 * round as u32);
        assert_eq!(player.control(), (PONG, payload.to_vec()));
    }
    // What else a player says does not matter.
    player.tell(1, b"text");
    player.tell(2, &[0; 100]);
    player.tell(PONG, b"unasked");
    player.tell(PING, b"still there?");
    assert_eq!(player.control(), (PONG, b"still there?".to_vec()));
}

#[test]
fn a_ping_may_come_with_the_handshake() {
    let server = Server::start();
    let _camera = camera(&server);
    let mut player = Dialogue::open(server.http);
    let request = crate::dialogue::request("GET /live/a.flv", &UPGRADE);
    // Masked with zeros.
    player.say([request.as_bytes(), &[0x80 | PING, 0x80 | 2, 0, 0, 0, 0, b'h', b'i']].concat());
    assert_eq!(player.head().status, 101);
    assert_eq!(player.control(), (PONG, b"hi".to_vec()));
}

#[test]
fn a_goodbye_is_answered_with_one() {
    let server = Server::start();
    let _camera = camera(&server);
    let mut player = player(&server);
    server.has_clients(2);
    player.tell(CLOSE, &[0x03, 0xe8, b'b', b'y', b'e']);
    let (_, code) = player.control();
    assert_eq!(code[..2], [0x03, 0xe8]);
    assert_eq!(player.rest(), b"");
    server.has_clients(1);
    server.logged(&["client disconnect peer"]);
}

#[test]
fn who_breaks_the_protocol_is_told_so() {
    let server = Server::start();
    let _camera = camera(&server);
    for bytes in [
        // Not masked.
        vec![0x81, 2, b'h', b'i'],
        // A ping in pieces.
        vec![PING, 0x80, 0, 0, 0, 0],
        // A ping that is too long.
        vec![0x80 | PING, 0x80 | 126, 0, 200, 0, 0, 0, 0],
    ] {
        let mut player = player(&server);
        player.say(&bytes);
        assert_eq!(player.control(), (CLOSE, vec![0x03, 0xea]), "1002 for {bytes:?}");
        assert_eq!(player.rest(), b"");
        server.logged(&["WARN", "serve error: WebSocket", &format!("peer={}", player.local())]);
    }
    server.has_clients(1);
}

#[test]
fn a_kick_is_a_goodbye() {
    let server = Server::start();
    let _camera = camera(&server);
    let mut player = player(&server);
    let clients = server.has_clients(2);
    let client = clients.iter().find(|c| c["type"] == "flv-play").unwrap();
    server.kick(client["id"].as_str().unwrap());
    let (opcode, code) = player.control();
    assert_eq!((opcode, &code[..2]), (CLOSE, &[0x03, 0xf0][..]), "1008, policy");
    assert_eq!(player.rest(), b"");
}
