//! The signalling of calls byte by byte: what docs/ref/signalling.md says, and what happens to those who do otherwise.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::server;
use crate::dialogue::{Dialogue, request};
use crate::harness::{Server, Setup, free_port};
use crate::http;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const GET: &str = "GET /sig/v1/rtc?room=tea";
const UPGRADE: [&str; 4] = [
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// A connection to the signalling.
struct Guest {
    wire: Dialogue,
    name: &'static str,
}

impl Guest {
    #[track_caller]
    fn open(at: SocketAddr, name: &'static str) -> Self {
        let mut wire = Dialogue::ask(at, GET, &UPGRADE);
        let head = wire.head();
        assert_eq!(head.status, 101);
        assert_eq!(head.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!((head.field("content-length"), head.field("transfer-encoding")), (None, None));
        assert!(head.field("server").is_some());
        Self { wire, name }
    }

    /// In the room `tea`.
    #[track_caller]
    fn join(at: SocketAddr, name: &'static str) -> Self {
        let mut guest = Self::open(at, name);
        assert_eq!(guest.ask("join", json!({}))["code"], 0);
        guest
    }

    fn say(&mut self, action: &str, more: Value) {
        let mut msg = json!({ "action": action, "room": "tea", "display": self.name });
        msg.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.wire.tell(TEXT, json!({ "tid": action, "msg": msg }).to_string().as_bytes());
    }

    #[track_caller]
    fn hear(&mut self) -> Value {
        let (opcode, payload) = self.wire.message();
        assert_eq!(opcode, TEXT, "{}: {payload:?}", self.name);
        serde_json::from_slice(&payload).unwrap()
    }

    /// Says it, and gives the reply, which must come next.
    #[track_caller]
    fn ask(&mut self, action: &str, more: Value) -> Value {
        self.say(action, more);
        let reply = self.hear();
        assert_eq!(reply["tid"], action, "{reply}");
        reply
    }

    /// The code of the goodbye that comes; whatever comes before it does not matter.
    #[track_caller]
    fn goodbye(&mut self) -> u16 {
        loop {
            match self.wire.control() {
                (CLOSE, payload) => return u16::from_be_bytes([payload[0], payload[1]]),
                (PONG, _) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_room_of_the_document() {
    let server = server();
    let mut alice = Guest::open(server.http, "alice");
    let alone = json!([{ "display": "alice", "publishing": false }]);
    let reply = alice.ask("join", json!({}));
    assert_eq!(
        reply,
        json!({ "tid": "join", "code": 0, "msg": { "action": "join", "room": "tea", "participants": alone } })
    );
    server.logged(&["signalling: alice joins room tea", &format!("peer={}", alice.wire.local())]);

    // The other port has the same rooms, and another core may have the connection.
    let mut bob = Guest::join(server.api, "bob");
    let both =
        |bob| json!([{ "display": "alice", "publishing": false }, { "display": "bob", "publishing": bob }]);
    let notice = |event, publishing| {
        let peer = json!({ "display": "bob", "publishing": publishing });
        json!({ "action": "notify", "event": event, "room": "tea", "peer": peer, "participants": both(publishing) })
    };
    assert_eq!(alice.hear(), json!({ "msg": notice("join", false) }));
    assert_eq!(bob.ask("publish", json!({}))["msg"]["participants"], both(true));
    assert_eq!(alice.hear(), json!({ "msg": notice("publish", true) }));

    let data = json!({ "to": "alice", "numbers": [1, 2.5] });
    bob.ask("control", json!({ "call": "wave", "data": data }));
    let mut wave = notice("control", true);
    wave["call"] = json!("wave");
    wave["data"] = data;
    assert_eq!(alice.hear(), json!({ "msg": wave }));
    bob.ask("control", json!({ "call": "alive" }));

    let left = bob.ask("leave", json!({}));
    assert_eq!(left["msg"]["participants"], alone);
    let heard = alice.hear();
    assert_eq!([&heard["msg"]["event"], &heard["msg"]["participants"]], [&json!("leave"), &alone], "{heard}");
    server.logged(&["signalling: bob leaves room tea (it says so)", &format!("peer={}", bob.wire.local())]);

    // A connection that ends does the same.
    let carol = Guest::join(server.http, "carol");
    assert_eq!(alice.hear()["msg"]["event"], "join");
    drop(carol);
    assert_eq!(alice.hear()["msg"]["event"], "leave");
    server.logged(&["signalling: carol leaves room tea (the peer left)"]);
}

#[test]
fn refusals_have_their_reasons() {
    let server = server();
    let mut alice = Guest::join(server.http, "alice");
    let mut twin = Guest::open(server.http, "alice");
    let no = twin.ask("join", json!({}));
    assert_eq!(no, json!({ "tid": "join", "code": 400, "error": "alice is in this room already" }));
    server.logged(&[
        "WARN",
        "client refused: alice is in this room already",
        &format!("peer={}", twin.wire.local()),
    ]);
    // Another name is fine, on the same connection.
    twin.name = "bob";
    assert_eq!(twin.ask("publish", json!({}))["code"], 400, "not before it is in a room");
    assert_eq!(twin.ask("join", json!({}))["code"], 0);
    assert_eq!(alice.hear()["msg"]["event"], "join");
    for (action, more, reason) in [
        ("join", json!({}), "in the room already"),
        ("publish", json!({ "display": "alice" }), "this connection is bob in room tea"),
        ("control", json!({ "room": "coffee" }), "this connection is bob in room tea"),
        ("dance", json!({}), "`action`"),
        ("join", json!({ "room": "../tea" }), "`room`"),
        ("join", json!({ "display": "x".repeat(65) }), "`display`"),
    ] {
        let reply = twin.ask(action, more);
        assert_eq!(reply["code"], 400, "{reply}");
        assert!(reply["error"].as_str().unwrap().contains(reason), "{reply}");
    }
    assert_eq!(
        alice.ask("control", json!({ "call": "alive" }))["msg"]["participants"][1]["publishing"],
        false
    );
}

#[test]
fn garbage_is_answered_or_closed() {
    let server = server();
    let mut alice = Guest::join(server.http, "alice");
    for text in [&b"hello"[..], b"{", b"[]", b"\"\"", b"{\"msg\":7}", b"null", &[b'['; 5000]] {
        alice.wire.tell(TEXT, text);
        let reply = alice.hear();
        assert_eq!((&reply["code"], reply.get("tid")), (&json!(400), None), "{reply}");
    }
    alice.wire.tell(PING, b"still there?");
    assert_eq!(alice.wire.control(), (PONG, b"still there?".to_vec()));

    let mut bob = Guest::join(server.http, "bob");
    assert_eq!(alice.hear()["msg"]["event"], "join");
    bob.wire.tell(TEXT, &[0xff, 0xfe]);
    assert_eq!(bob.goodbye(), 1007);
    assert_eq!(alice.hear()["msg"]["event"], "leave");

    for (bytes, code) in [
        // Not masked; of a kind that does not exist; with reserved bits.
        (vec![0x81, 2, b'h', b'i'], 1002),
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        (vec![0xf1, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x80 | BINARY, 0x80, 0, 0, 0, 0], 1003),
    ] {
        let mut guest = Guest::open(server.http, "guest");
        guest.wire.say(&bytes);
        assert_eq!(guest.goodbye(), code, "{bytes:?}");
        assert_eq!(guest.wire.rest(), b"");
        server.logged(&["WARN", "serve error", &format!("peer={}", guest.wire.local())]);
    }
    alice.wire.tell(CLOSE, &[0x03, 0xe8]);
    assert_eq!(alice.goodbye(), 1000);
    assert_eq!(alice.wire.rest(), b"");
}

#[test]
fn messages_are_as_long_as_they_may_be() {
    let server = server();
    let mut alice = Guest::join(server.http, "alice");
    let mut bob = Guest::join(server.http, "bob");
    assert_eq!(alice.hear()["msg"]["event"], "join");
    let data = "x".repeat(65_000);
    bob.ask("control", json!({ "data": data }));
    assert_eq!(alice.hear()["msg"]["data"], data);
    // The rest of it is never read, and the goodbye arrives none the less.
    bob.say("control", json!({ "data": "x".repeat(70_000) }));
    assert_eq!(bob.goodbye(), 1009);
    assert_eq!(bob.wire.rest(), b"");
    assert_eq!(alice.hear()["msg"]["event"], "leave");

    // Also in pieces, and before it has arrived.
    let mut carol = Guest::join(server.http, "carol");
    let piece = |first: u8| [&[first, 0x80 | 126, 0x9c, 0x40, 0, 0, 0, 0][..], &[b' '; 40_000]].concat();
    carol.wire.say([piece(TEXT), piece(0)].concat());
    assert_eq!(carol.goodbye(), 1009);
    let mut dave = Guest::join(server.http, "dave");
    dave.wire.say([0x80 | TEXT, 0x80 | 127, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(dave.goodbye(), 1009);
}

#[test]
fn who_does_not_read_is_sent_away_and_the_others_stay() {
    let server = server();
    let mut alice = Guest::join(server.http, "alice");
    let lazy = Guest::join(server.http, "lazy");
    assert_eq!(alice.hear()["msg"]["event"], "join");
    let data = "x".repeat(60_000);
    // What the kernel takes for him comes first.
    let gone = (0..2000).any(|_| {
        alice.say("control", json!({ "data": data }));
        let heard = alice.hear();
        heard["msg"]["event"] == "leave"
    });
    assert!(gone, "120 MB wait for who does not read");
    server.logged(&["signalling: lazy leaves room tea (it does not read what it is told)"]);
    server.logged(&["WARN", "client finished", &format!("peer={}", lazy.wire.local())]);
    assert!(server.memory() < 300 << 20, "{} bytes", server.memory());
}

#[test]
fn what_is_no_websocket_is_told_so() {
    let server = server();
    for (at, lines, status) in [
        (server.http, &[][..], 426),
        (server.api, &[], 426),
        (server.http, &UPGRADE[..3], 426),
        (server.http, &["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"], 400),
        (server.http, &["Upgrade: websocket", UPGRADE[2], UPGRADE[3]], 400),
    ] {
        let mut client = Dialogue::ask(at, GET, lines);
        let (head, body) = client.answer();
        assert_eq!(head.status, status, "{lines:?}");
        assert!(!body.trim().is_empty());
        assert_eq!(head.field("sec-websocket-version"), (status == 426).then_some("13"));
        server.logged(&["WARN", "client refused", &format!("peer={}", client.local())]);
    }
    // The connection goes on after a refusal, and words may come with the handshake.
    let mut client = Dialogue::ask(server.http, GET, &[]);
    assert_eq!(client.answer().0.status, 426);
    client
        .say([request(GET, &UPGRADE).as_bytes(), &[0x80 | PING, 0x80 | 2, 0, 0, 0, 0, b'h', b'i']].concat());
    assert_eq!(client.head().status, 101);
    assert_eq!(client.control(), (PONG, b"hi".to_vec()));
}

#[test]
fn pages_from_elsewhere() {
    let [open, shut] = ["", "crossdomain off;"].map(|http| {
        let top = format!("rtc_server {{ enabled on; listen {}; }}", free_port());
        Server::with(Setup { top: &top, http, ..Setup::default() })
    });
    let status = |server: &Server, origin: &str| {
        let (host, origin) = (format!("Host: {}", server.http), format!("Origin: {origin}"));
        let mut client = Dialogue::ask(server.http, GET, &[&UPGRADE[..], &[&host, &origin]].concat());
        client.head().status
    };
    for server in [&open, &shut] {
        assert_eq!(status(server, &format!("http://{}", server.http)), 101);
        assert_eq!(Dialogue::ask(server.http, GET, &UPGRADE).head().status, 101, "no page at all");
    }
    for stranger in ["http://evil.example", "https://127.0.0.1", "null", "file://"] {
        assert_eq!([status(&open, stranger), status(&shut, stranger)], [101, 403], "{stranger}");
    }
}

#[test]
fn without_webrtc_there_is_none() {
    let server = Server::start();
    let reply = http::get(server.http, "/sig/v1/rtc").unwrap();
    assert_eq!(reply.status, 404);
    let mut client = Dialogue::ask(server.http, GET, &UPGRADE);
    assert_eq!(client.head().status, 404);
}
