//! Bad input over HTTP, on every port: heads without measure or end, requests that are none, ways out of the web root, and clients that
//! do not read. Each gets an answer or a close, is named in the log, and costs little.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rtmp::MediaKind;

use crate::attacks::Bell;
use crate::client::Client;
use crate::dialogue::{Dialogue, request};
use crate::harness::{SOON, Server, Setup, until};
use crate::http;
use crate::media::{Camera, GOP, Player, STEP, Seen, picture, picture_header};
use crate::ts::Ts;

/// The server still does its work.
#[track_caller]
fn is_well(server: &Server) {
    assert_eq!(server.ask("/api/v1/versions")["code"], 0);
    assert_eq!(http::get(server.http, "/nothing.html").unwrap().status, 404);
}

/// One warning names this peer.
#[track_caller]
fn blamed(server: &Server, peer: SocketAddr) {
    server.logged(&["[WARN]", "serve error", &format!("peer={peer}")]);
}

#[test]
fn heads_without_measure() {
    let server = Server::start();
    let before = server.memory();
    let many: String = (0..10_000).map(|n| format!("X-{n}: {n}\r\n")).collect();
    for at in [server.http, server.api] {
        for (what, head, statuses) in [
            (
                "a header of 1 MB",
                format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)),
                &[431][..],
            ),
            ("10,000 headers", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), &[431]),
            (
                "a path of 100,000 letters",
                format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
                &[414, 431],
            ),
            (
                "a method of 100,000 letters",
                format!("{} / HTTP/1.1\r\n\r\n", "X".repeat(100_000)),
                &[400, 431],
            ),
            (
                "a query of 100,000 letters",
                format!("GET /?{} HTTP/1.1\r\n\r\n", "x=".repeat(50_000)),
                &[414, 431],
            ),
            ("a live path", format!("GET /live/{}.flv HTTP/1.1\r\n\r\n", "x".repeat(100_000)), &[414, 431]),
        ] {
            let mut client = Dialogue::start(at, &head);
            let told = client.head();
            assert!(statuses.contains(&told.status), "{what}: {told:?}");
            client.rest();
            blamed(&server, client.local());
        }
    }
    let grown = server.memory().saturating_sub(before) >> 20;
    assert!(grown < 16, "{grown} MiB for heads");
    is_well(&server);
}

/// A head that goes on and on is cut off by its size, however fast it comes.
#[test]
fn heads_without_end() {
    let server = Server::start();
    for at in [server.http, server.api] {
        let mut client = TcpStream::connect(at).unwrap();
        let peer = client.local_addr().unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
        let since = Instant::now();
        let sent =
            (0..).take_while(|n| client.write_all(format!("X-{n}: {n}\r\n").as_bytes()).is_ok()).count();
        assert!(since.elapsed() < SOON, "still open after {sent} lines");
        blamed(&server, peer);
    }
    is_well(&server);
}

/// One byte now and then does not keep a connection: after 15 seconds it is told so, and closed.
#[test]
fn heads_that_trickle() {
    let server = Server::start();
    let mut clients: Vec<_> = [server.http, server.api]
        .into_iter()
        .flat_map(|at| {
            let first = Dialogue::start(at, "GET /live/a.flv HTTP/1.1\r\nX: ");
            // The same behind a request that was answered.
            let mut second = Dialogue::ask(at, "GET /nothing.html", &[]);
            second.answer();
            second.say("GET /live/a.flv HTTP/1.1\r\nX: ");
            [first, second]
        })
        .collect();
    let since = Instant::now();
    until("all are logged", SOON * 2, || {
        clients.iter_mut().for_each(|client| client.say("a"));
        std::thread::sleep(Duration::from_millis(200));
        let all = server.log().all();
        let is_blamed = |client: &Dialogue| {
            let peer = format!("peer={}", client.local());
            all.iter().any(|line| line.contains("read header from client timeout") && line.contains(&peer))
        };
        clients.iter().all(is_blamed).then_some(())
    });
    assert!((14..20).contains(&since.elapsed().as_secs()), "cut off after {:?}", since.elapsed());
    for client in &mut clients {
        let (head, body) = client.answer();
        assert_eq!((head.status, head.field("connection")), (408, Some("close")));
        assert!(body.contains("15 s"), "{body}");
        assert_eq!(client.rest(), b"");
    }
    is_well(&server);
}

#[test]
fn requests_that_are_none() {
    let server = Server::start();
    for at in [server.http, server.api] {
        for text in [
            &b"GET\r\n\r\n"[..],
            b"GET /\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"G\0T / HTTP/1.1\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\n\r\n",
            b"GET /live/a.flv\0.html HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\n\0: a\r\n\r\n",
            b"GET / HTTP/1.1\r\n folded: first\r\n\r\n",
            b"GET / HTTP/1.1\rHost: a\r\r",
            b"GET / HTTP/1.1\r\n: nameless\r\n\r\n",
            b"GET http:// HTTP/1.1\r\n\r\n",
            b"GET /\x7f HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            // Other protocols: HTTP/2, RTSP, SIP, SSH, and plain noise.
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            b"OPTIONS rtsp://127.0.0.1/live/a RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            b"REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\nCSeq: 1 REGISTER\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
            b"\x03\0\0\0\0\0\0\0\0\r\n\r\n",
            b"\xff\xfe\xfd\xfc\r\n\r\n",
            b"\0\0\0\0\0\0\0\0\r\n\r\n",
        ] {
            let said = String::from_utf8_lossy(text);
            let mut client = Dialogue::open(at);
            client.say(text);
            let answer = String::from_utf8_lossy(&client.rest()).into_owned();
            let fits = answer.is_empty() || answer.starts_with("HTTP/1.1 400 ");
            assert!(fits, "{said:?}: {answer:?}");
            blamed(&server, client.local());
        }
    }
    is_well(&server);
}

/// Bodies are of no use here: who sends one gets his answer and no more, however the body looks.
#[test]
fn bodies_that_are_none() {
    let server = Server::start();
    let _camera = Camera::new(Client::publish(&server, "a"));
    for (at, path) in [
        (server.http, "/live/a.flv"),
        (server.http, "/nothing.html"),
        (server.api, "/api/v1/versions"),
        (server.api, "/api/v1/tests/requests"),
        (server.api, "/nothing"),
    ] {
        for body in [
            "zz\r\n",
            "-1\r\n",
            "fffffffffffffffff\r\n",
            "7fffffffffffffff\r\nabc",
            "3\r\nabcX",
            "3;ext\r\nabc\r\n0\r\nBad Trailer\r\n\r\n",
            "\r\n\r\n\r\n",
            "\0\0\0\0",
            "5\r\nab",
        ] {
            let head = request(&format!("POST {path}"), &["Transfer-Encoding: chunked"]);
            let mut client = Dialogue::start(at, &(head + body));
            let status = client.head().status;
            assert!((200..500).contains(&status), "{status} for {body:?}");
            client.hush();
            client.rest();
        }
        // More than anybody would read.
        let mut client = Dialogue::ask(at, &format!("POST {path}"), &["Content-Length: 10000000000"]);
        for _ in 0..100 {
            client.say(vec![b'x'; 100_000]);
        }
        let status = client.head().status;
        assert!((200..500).contains(&status), "{status} for a body of 10 GB at {path}");
        client.rest();
    }
    is_well(&server);
}

#[test]
fn garbage_behind_a_request() {
    let server = Server::start();
    for at in [server.http, server.api] {
        for garbage in ["\0\0\0\r\n\r\n", "no request at all\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"] {
            let good = request("GET /api/v1/versions", &[]);
            let mut client = Dialogue::start(at, &[&*good, &*good, garbage, &*good].concat());
            for _ in 0..2 {
                let (head, _) = client.answer();
                assert!(matches!(head.status, 200 | 404), "{head:?}");
            }
            assert_eq!(client.head().status, 400, "{garbage:?}");
            client.rest();
            blamed(&server, client.local());
        }
    }
    // A thousand requests in one breath are answered, one by one.
    let mut client = Dialogue::start(server.api, &request("GET /api/v1/versions", &[]).repeat(1000));
    for _ in 0..1000 {
        assert_eq!(client.answer().0.status, 200);
    }
    is_well(&server);
}

/// All spellings of "one up".
const UPS: [&str; 22] = [
    "..",
    "%2e%2e",
    ".%2e",
    "%2E.",
    "%252e%252e",
    "%25%32%65%25%32%65",
    "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae",
    "%uff0e%uff0e",
    "%ef%bc%8e%ef%bc%8e",
    "....",
    "..;",
    "..%00",
    "..%20",
    "..%09",
    "..%0d%0a",
    "..?",
    "..#",
    "..%3f",
    "..%23",
    "%00..",
    ".%00.",
];

/// All spellings of what stands between two names.
const SLASHES: [&str; 6] = ["/", "%2f", "%252f", "%5c", "//", "/./"];

#[test]
fn nobody_climbs_out() {
    const SECRET: &str = "what nobody may read";
    let server = Server::with_vhost("hls { enabled on; hls_path ./html; hls_fragment 1; }");
    fs::create_dir_all(server.dir.join("html/live/deep")).unwrap();
    let names = ["secret", "secret.flv", "secret.ts", "secret.m3u8", "oxcast.conf"];
    for name in &names[..4] {
        fs::write(server.dir.join(name), SECRET).unwrap();
    }
    let roots = [
        "/",
        "/live/",
        "/live/deep/",
        "/api/",
        "/api/v1/",
        "/console/",
        "/rtc/v1/",
        "/live/a.m3u8/",
        "/live/a.flv/",
    ];
    let places = [server.http, server.api].into_iter().flat_map(|at| roots.map(|root| (at, root)));
    let worker = |(at, root): (SocketAddr, &str)| {
        let mut asked = 0;
        for up in UPS {
            for slash in SLASHES {
                for depth in 1..=4 {
                    for name in names {
                        let path = format!("{root}{}{name}", format!("{up}{slash}").repeat(depth));
                        let mut client =
                            Dialogue::start(at, &request(&format!("GET {path}"), &["Connection: close"]));
                        let head = client.head();
                        asked += 1;
                        let kind = head.field("content-type");
                        // Such a name may well be that of a stream, which has not begun.
                        if head.status == 200 && kind == Some("video/x-flv") {
                            assert_eq!(head.field("transfer-encoding"), Some("chunked"));
                            continue;
                        }
                        let body = String::from_utf8_lossy(&client.rest()).into_owned();
                        assert!(!body.contains(SECRET) && !body.contains("http_server"), "{path}: {body}");
                        // What the API does not know, it answers with its table of contents.
                        let contents = head.status == 200 && kind == Some("application/json");
                        let fits = contents || (400..500).contains(&head.status);
                        assert!(fits, "{path}: {head:?} {body}");
                    }
                }
            }
        }
        asked
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = places.map(|place| scope.spawn(move || worker(place))).collect();
        let asked: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(asked, 18 * UPS.len() * SLASHES.len() * 4 * names.len());
    });
    is_well(&server);
}

/// How much a server holds for clients who ask and hardly read.
#[track_caller]
fn costs_little(server: &Server, before: u64, what: &str, limit: u64) {
    let until = Instant::now() + Duration::from_secs(3);
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(server.memory().saturating_sub(before) >> 20);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(most < limit, "{most} MiB for {what}");
}

/// Reads one byte of each.
fn sip(clients: &mut [TcpStream]) {
    for client in clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 1);
    }
}

#[test]
fn fifty_who_hardly_read_a_file() {
    const SIZE: usize = 20_000_000;
    let server = Server::start();
    fs::create_dir_all(server.dir.join("html")).unwrap();
    fs::write(server.dir.join("html/film.mp4"), vec![7; SIZE]).unwrap();
    assert_eq!(http::get(server.http, "/film.mp4").unwrap().body.len(), SIZE);
    let before = server.memory();
    let mut slow: Vec<_> = (0..50)
        .map(|_| {
            let mut client = TcpStream::connect(server.http).unwrap();
            client.write_all(request("GET /film.mp4", &[]).as_bytes()).unwrap();
            client
        })
        .collect();
    sip(&mut slow);
    costs_little(&server, before, "50 who hardly read", 40);
    // Meanwhile others are served as ever.
    let since = Instant::now();
    assert_eq!(http::get(server.http, "/film.mp4").unwrap().body.len(), SIZE);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    sip(&mut slow);
    drop(slow);
    is_well(&server);
}

#[test]
fn fifty_who_hardly_read_a_segment() {
    let server = Server::with_vhost("hls { enabled on; hls_storage ram; hls_fragment 1; hls_ctx off; }");
    let mut camera = Client::publish(&server, "a");
    camera.send(MediaKind::Video, 0, &picture_header());
    for number in 0..60 {
        camera.send(MediaKind::Video, number * STEP, &picture(number, number % 25 == 0, 200_000));
    }
    let playlist = until("a segment is listed", SOON, || {
        let reply = http::get(server.http, "/live/a.m3u8").ok().filter(|reply| reply.status == 200)?;
        Some(String::from_utf8(reply.body).unwrap())
    });
    let segment = playlist.lines().find(|line| line.contains(".ts")).unwrap();
    let path = format!("/live/{segment}");
    assert!(http::get(server.http, &path).unwrap().body.len() > 4_000_000);
    let before = server.memory();
    let mut slow: Vec<_> = (0..50)
        .map(|_| {
            let mut client = TcpStream::connect(server.http).unwrap();
            client.write_all(request(&format!("GET {path}"), &[]).as_bytes()).unwrap();
            client
        })
        .collect();
    sip(&mut slow);
    costs_little(&server, before, "50 who hardly read a segment", 40);
    is_well(&server);
}

#[test]
fn fifty_who_hardly_read_live_ts() {
    let mount = "http_remux { enabled on; mount [vhost]/[app]/[stream].ts; }";
    let vhosts = format!("vhost __defaultVhost__ {{ {mount} play {{ queue_length 2; }} }}");
    let server = Server::with(Setup { vhosts: &vhosts, ..Setup::default() });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bell = Bell(&stop);
        scope.spawn(|| {
            let mut client = Client::publish(&server, "a");
            client.send(MediaKind::Video, 0, &picture_header());
            let start = Instant::now();
            for number in 0.. {
                client.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, 50_000));
                let due = Duration::from_millis(u64::from(number * STEP / 8));
                std::thread::sleep(due.saturating_sub(start.elapsed()));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        server.took("a", 20);
        let before = server.memory();
        let mut good = Ts::open(server.http, "/live/a.ts");
        let mut slow: Vec<_> = (0..50)
            .map(|_| {
                let mut client = TcpStream::connect(server.http).unwrap();
                client.write_all(request("GET /live/a.ts", &[]).as_bytes()).unwrap();
                client
            })
            .collect();
        sip(&mut slow);
        scope.spawn(move || {
            // Nobody else notices.
            let (mut last, _, _) = good.picture();
            while let Some((seen, ..)) = good.next() {
                last += 1;
                assert_eq!(seen, Seen::Picture(last, last % GOP == 0));
            }
        });
        costs_little(&server, before, "50 who hardly read live TS", 96);
        sip(&mut slow);
        drop(bell);
    });
}

/// Who asks for a file and then takes nothing of it for half a minute is gone, and must not be kept.
#[test]
fn who_takes_nothing_of_his_file_is_closed() {
    let server = Server::start();
    fs::create_dir_all(server.dir.join("html")).unwrap();
    fs::write(server.dir.join("html/film.mp4"), vec![7; 20_000_000]).unwrap();
    let mut deaf = TcpStream::connect(server.http).unwrap();
    deaf.write_all(request("GET /film.mp4", &[]).as_bytes()).unwrap();
    let peer = format!("peer={}", deaf.local_addr().unwrap());
    let since = Instant::now();
    until("it is closed", Duration::from_secs(45), || {
        let all = server.log().all();
        all.iter().any(|line| line.contains("took nothing for 30 s") && line.contains(&peer)).then_some(())
    });
    assert!(since.elapsed() > Duration::from_secs(25), "{:?}", since.elapsed());
    let mut rest = Vec::new();
    let _ = deaf.read_to_end(&mut rest);
    assert!(rest.len() < 20_000_000, "{}", rest.len());
}
