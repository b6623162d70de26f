//! HTTP/2 on the ports of HTTPS: curl and Chromium speak it for the API, files and HLS, and come by HTTP/1.1 for live streams; peers that
//! abuse it are put out.

use std::process::Command;

use serde_json::{Value, json};

use crate::browser::{has_pictures, watch};
use crate::child::Running;
use crate::harness::{SOON, Server, Setup, free_port, until};
use crate::https::{block, curl, pems};
use crate::players::publish_clip_for_ever;
use crate::tools::{LIMIT, usual_clip};

/// A server with HTTPS, and where it is.
fn server(more: &str) -> (Server, String, String) {
    let (pems, [streams, api, rtc]) = (pems(), [(); 3].map(|()| free_port()));
    let server = Server::with(Setup {
        http: &block(streams, &pems),
        api: &format!("{} {more}", block(api, &pems)),
        top: &format!("rtc_server {{ enabled on; listen {rtc}; }}"),
        vhost: "hls { enabled on; hls_fragment 1; hls_path ./html; } rtc { enabled on; }",
        ..Setup::default()
    });
    (server, format!("https://127.0.0.1:{streams}"), format!("https://127.0.0.1:{api}"))
}

const WHAT: &str = "\n%{http_version} %{response_code} %{num_connects}\n";

#[test]
fn many_requests_on_one_connection() {
    let (server, streams, api) = server("");
    std::fs::create_dir_all(server.dir.join("html")).unwrap();
    std::fs::write(server.dir.join("html/a.txt"), "hello").unwrap();
    let _publisher = publish_clip_for_ever(&server, &usual_clip(), "a");
    until("there is a playlist", SOON * 2, || server.dir.join("html/live/a.m3u8").exists().then_some(()));
    let ask = |arguments: &[&str]| curl(&[&["-k", "--http2", "-w", WHAT], arguments].concat()).out.all();

    let out = ask(&[
        &format!("{api}/api/v1/versions"),
        &format!("{api}/api/v1/streams/"),
        &format!("{api}/console/none"),
    ]);
    assert!(out[0].contains("\"code\":0") && out.iter().any(|line| line.contains("/live/a")), "{out:?}");
    assert_eq!(
        out.iter().filter(|line| line.starts_with("2 ")).collect::<Vec<_>>(),
        ["2 200 1", "2 200 0", "2 404 0"]
    );
    let out = ask(&["-L", &format!("{streams}/live/a.m3u8"), &format!("{streams}/a.txt")]);
    assert!(out[0] == "#EXTM3U" && out.contains(&"hello".to_owned()), "{out:?}");
    assert_eq!(out.iter().filter(|line| line.starts_with("2 200")).count(), 2);
    // Bodies get there.
    let out = ask(&[
        "--data",
        "v=0",
        "-H",
        "Content-Type: application/sdp",
        &format!("{api}/rtc/v1/whip/?stream=b"),
    ]);
    assert_eq!(out.last().map(String::as_str), Some("2 400 1"), "{out:?}");
    // There are no WebSockets on it, and nobody falls over that.
    let out = ask(&[&format!("{api}/sig/v1/rtc")]);
    assert_eq!(out.last().map(String::as_str), Some("2 426 1"), "{out:?}");
    server.logged(&["HTTP #3", "GET /console/none"]);
    // Who does not ask for it is not forced.
    let out = curl(&["-k", "--http1.1", "-w", WHAT, &format!("{api}/api/v1/versions")]).out.all();
    assert_eq!(out.last().map(String::as_str), Some("1.1 200 1"), "{out:?}");
}

#[test]
fn live_streams_come_by_http_1() {
    let (server, streams, _) = server("");
    let _publisher = publish_clip_for_ever(&server, &usual_clip(), "a");
    server.took("a", 5);
    let out = server.dir.join("out.flv");
    let file = out.to_str().unwrap();
    let url = format!("{streams}/live/a.flv");
    let seen = curl(&["-k", "--http2", "--max-time", "4", "-o", file, "-w", "%{http_version}", &url]);
    assert_eq!(seen.out.all(), ["1.1"], "{:?}", seen.err.all());
    assert_eq!(std::fs::read(&out).unwrap()[..3], *b"FLV");
}

#[test]
fn chromium_plays_hls_by_it_and_flv_beside_it() {
    let (server, streams, _) = server("");
    let _publisher = publish_clip_for_ever(&server, &usual_clip(), "page");
    until("there is a playlist", SOON * 2, || server.dir.join("html/live/page.m3u8").exists().then_some(()));
    let seen = watch(&format!("{streams}/live/page.m3u8"), "browser-http2-hls.png");
    has_pictures(&seen);
    assert_eq!(seen["protocols"], json!(["h2"]), "{seen}");
    let seen = watch(&format!("{streams}/live/page.flv"), "browser-http2-flv.png");
    has_pictures(&seen);
    assert_eq!(seen["protocols"], json!(["http/1.1"]), "{seen}");
    let url = format!("{}/live/page.flv", streams.replace("https", "wss"));
    has_pictures(&watch(&url, "browser-http2-websocket.png"));
}

#[test]
fn listeners_and_the_guard_are_the_same() {
    let (mut server, _, api) = server("auth { enabled on; token t0k3n; }");
    let url = format!("{api}/api/v1/events");
    let out = curl(&["-k", "--http2", "-w", WHAT, &url]).out.all();
    assert_eq!(out.last().map(String::as_str), Some("2 401 1"));
    let mut command = Command::new("curl");
    command.args(["-sSkN", "--http2", "--max-time", "20", "-H", "Authorization: Bearer t0k3n", &url]);
    let mut listener = Running::start("curl", &mut command);
    let heard =
        |text: &'static str| move |lines: &[String]| lines.iter().any(|line| line == text).then_some(());
    assert!(listener.out.wait(SOON, heard("retry: 2000")).is_some());
    server.quit();
    assert!(listener.out.wait(SOON, heard("event: quit")).is_some(), "{:?}", listener.out.all());
    listener.succeed(SOON);
}

/// Frames of HTTP/2 by hand, as no honest client sends them. It prints how the connection ends: the code of GOAWAY, or that it stays.
const ABUSE: &str = r#"
import socket, ssl, struct, sys
host, port, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
s = context.wrap_socket(socket.create_connection((host, port)), server_hostname="localhost")
assert s.selected_alpn_protocol() == "h2"
s.settimeout(10)
def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
def literal(name, value):
    def text(t):
        assert len(t) < 127 + 128 * 127
        n = len(t)
        return (bytes([n]) if n < 127 else bytes([127, (n - 127) % 128 | 128, (n - 127) // 128])) + t
    return b"\x00" + text(name) + text(value)
# GET https /
REQUEST = b"\x82\x87\x84" + literal(b":authority", b"localhost")
out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
try:
    if what == "resets":
        for n in range(1, 4000, 2):
            out += frame(1, 5, n, REQUEST) + frame(3, 0, n, struct.pack(">I", 8))
    elif what == "continuations":
        out += frame(1, 1, 1, REQUEST)
        out += b"".join(frame(9, 0, 1, literal(b"x-filler", b"y" * 8000)) for _ in range(200))
    elif what == "streams":
        # Their answers are not taken: the window is zero.
        out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 0))
        out += b"".join(frame(1, 5, n, REQUEST) for n in range(1, 401, 2))
    elif what == "pings":
        out += frame(6, 0, 0, b"12345678") * 20000
    s.sendall(out)
except OSError:
    pass
data, refused = b"", 0
try:
    while True:
        while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], "big"):
            got = s.recv(65536)
            if not got:
                raise OSError
            data += got
        length, kind, payload = int.from_bytes(data[:3], "big"), data[3], data[9:9 + int.from_bytes(data[:3], "big")]
        data = data[9 + length:]
        if kind == 7:
            print("goaway", struct.unpack(">I", payload[4:8])[0]); sys.exit()
        if kind == 3:
            refused += 1
            if what == "streams" and refused == 100:
                print("refused", struct.unpack(">I", payload)[0]); sys.exit()
except OSError:
    print("closed")
"#;

#[test]
fn abuse_is_the_end_of_the_connection() {
    let (server, streams, _) = server("");
    let port = streams.rsplit_once(':').unwrap().1;
    let before = server.memory();
    // ENHANCE_YOUR_CALM is 11, REFUSED_STREAM is 7.
    for (what, ends) in [
        ("resets", &["goaway 11"][..]),
        ("continuations", &["goaway 11", "closed"]),
        ("streams", &["refused 7", "goaway 1"]),
        ("pings", &["goaway 11", "closed"]),
    ] {
        let mut command = Command::new("python3");
        let mut abuse = Running::start(what, command.args(["-c", ABUSE, "127.0.0.1", port, what]));
        abuse.succeed(LIMIT);
        let out = abuse.out.all();
        assert!(ends.contains(&out[0].as_str()), "{what}: {out:?}");
    }
    // Others never noticed.
    let out = curl(&["-k", "--http2", "-w", WHAT, &format!("{streams}/api/v1/versions")]).out.all();
    assert_eq!(out.last().map(String::as_str), Some("2 200 1"), "{out:?}");
    let grown = server.memory().saturating_sub(before) >> 20;
    assert!(grown < 32, "{grown} MiB");
    let answer: Value = server.ask("/api/v1/versions");
    assert_eq!(answer["code"], 0);
}
