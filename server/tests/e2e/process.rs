//! The process: how it starts, refuses to start, logs, and ends.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use formats::flv::TagKind;
use rtmp::Role;
use rustix::process::Signal;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, Server, Setup, directory, free_port, oxcast, ready, start, until};
use crate::http::{self, Flv, Tag};
use crate::media::{Camera, Player};
use crate::tools::{self, LIMIT, ffmpeg, usual_clip};

fn minimal(port: u16) -> String {
    format!(
        "listen 127.0.0.1:{port}; daemon off; pid ./oxcast.pid; srs_log_tank console;
        vhost __defaultVhost__ {{ }}"
    )
}

#[test]
fn signals_end_it_quickly_and_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = directory();
        let port = free_port();
        let mut running = ready(&dir, &minimal(port));
        assert_eq!(fs::read_to_string(dir.join("oxcast.pid")).unwrap(), running.id().to_string());
        let url = format!("rtmp://127.0.0.1:{port}/live/a");
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut clients = [Role::Publish, Role::Play].map(|role| Client::open(at, &url, role));
        clients.iter_mut().for_each(Client::start);
        let since = Instant::now();
        running.signal(signal);
        let status = running.wait(SOON);
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
        assert_eq!(status.code(), Some(0));
        clients.iter_mut().for_each(Client::closed);
        let name = if signal == Signal::TERM { "SIGTERM" } else { "SIGINT" };
        let lines = running.out.all();
        assert!(lines.iter().any(|line| line.contains(name)), "{lines:#?}");
        assert!(lines.last().unwrap().contains("has stopped"), "{lines:#?}");
    }
}

#[test]
fn a_second_one_is_refused() {
    let dir = directory();
    let first = ready(&dir, &minimal(free_port()));
    let mut second = start(&dir, &minimal(free_port()), &[]);
    assert_eq!(second.wait(SOON).code(), Some(11));
    let said = second.err.all().join("\n");
    assert!(said.contains(&format!("already running as process {}", first.id())), "{said}");
    // The first one's file is as it was.
    assert_eq!(fs::read_to_string(dir.join("oxcast.pid")).unwrap(), first.id().to_string());
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut running = start(&directory(), &minimal(port), &[]);
    assert_eq!(running.wait(SOON).code(), Some(234));
    let said = running.err.all().join("\n");
    assert!(said.contains(&format!("cannot listen at 127.0.0.1:{port}: ")), "{said}");
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn a_port_is_free_again_at_once() {
    let (dir, port) = (directory(), free_port());
    for _ in 0..3 {
        let mut running = ready(&dir, &minimal(port));
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut client = Client::open(at, &format!("rtmp://{at}/live/a"), Role::Play);
        client.start();
        running.signal(Signal::TERM);
        running.succeed(SOON);
    }
}

#[test]
fn what_the_command_line_answers() {
    let dir = directory();
    let answer = |config: &str, args: &[&str]| {
        let mut running = start(&dir, config, args);
        let code = running.wait(SOON).code();
        (code, running.out.all().join("\n"), running.err.all().join("\n"))
    };
    assert_eq!(answer("", &["-v"]), (Some(0), server::VERSION.into(), "".into()));
    let (code, out, _) = answer(&minimal(1935), &["-t"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("oxcast.conf: syntax is ok") && out.contains("test is successful"), "{out}");
    let (code, out, _) = answer("listen 1935; vhost __defaultVhost__ { nonsense on; }", &["-t"]);
    assert_eq!(code, Some(255));
    assert!(out.contains("nonsense") && out.contains("oxcast.conf") && out.contains("test failed"), "{out}");
    let (code, _, err) = answer("listen 1935; vhost __defaultVhost__ { nonsense on; }", &[]);
    assert_eq!(code, Some(255));
    assert!(err.contains("nonsense"), "{err}");
    assert_eq!(answer("", &["-c", "missing.conf"]).0, Some(255));
    fs::create_dir(dir.join("directory")).unwrap();
    assert_eq!(answer("", &["-c", "directory"]).0, Some(18));
    let (code, _, err) = answer(&minimal(1935).replace("./oxcast.pid", "directory"), &[]);
    assert_eq!(code, Some(10));
    assert!(err.contains("cannot take the pid file directory"), "{err}");
    let (code, _, err) =
        answer(&minimal(1935).replace("daemon off;", "daemon off; work_dir ./missing;"), &[]);
    assert_eq!(code, Some(255));
    assert!(err.contains("work_dir ./missing: "), "{err}");
    assert!(answer("", &["-h"]).1.contains("Usage"));
}

#[test]
fn without_a_file_it_serves_everything() {
    let dir = directory();
    let [rtmp, http, api] = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    let mut command = oxcast();
    command.current_dir(&dir).env("SRS_LISTEN", rtmp.to_string());
    command.env("SRS_HTTP_SERVER_LISTEN", http.to_string()).env("SRS_HTTP_API_LISTEN", api.to_string());
    let rtc = free_port().to_string();
    command.env("SRS_RTC_SERVER_LISTEN", &rtc).env("SRS_RTC_SERVER_TCP_LISTEN", &rtc);
    let mut running = Running::start("oxcast", &mut command);
    until("it answers", SOON, || {
        assert_eq!(running.ended(), None, "{:?}", running.err.all());
        http::get(api, "/api/v1/versions").ok()
    });
    let mut publisher = Client::open(rtmp, &format!("rtmp://{rtmp}/live/livestream"), Role::Publish);
    publisher.start();
    let mut camera = Camera::new(publisher);
    camera.run_to(2);
    assert_eq!(Flv::open(http, "/live/livestream.flv").picture(), (0, true, 0));
    let nothing = [("Content-Type", "application/sdp"), ("Content-Length", "0")];
    let reply = http::request(api, "POST", "/rtc/v1/whep/?app=live&stream=livestream", &nothing).unwrap();
    let said = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status, 400, "WebRTC is on, and wants an offer: {said}");
}

/// `[YYYY-MM-DD hh:mm:ss.mmm][LEVEL][pid][cid] message`, with `[errno]` before the message of warnings and errors. The context id.
#[track_caller]
fn cid_of(line: &str, pid: u32) -> &str {
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .chars()
                .zip(shape.chars())
                .all(|(c, s)| if s == '0' { c.is_ascii_digit() } else { c == s })
    };
    let fail = || -> ! { panic!("{line:?} is no line of the log") };
    let mut fields = line.split(']');
    let mut field = || fields.next().and_then(|field| field.strip_prefix('[')).unwrap_or_else(|| fail());
    let (time, level, id, cid) = (field(), field(), field(), field());
    let noted = matches!(level, "WARN" | "ERROR");
    let errno = if noted { field() } else { "0" };
    let known = noted || matches!(level, "TRACE" | "DEBUG" | "INFO");
    let message = fields.next().unwrap_or_default();
    let good = shape(time, "0000-00-00 00:00:00.000")
        && known
        && id == pid.to_string()
        && cid.len() == 8
        && cid.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && errno.parse::<i32>().is_ok()
        && message.starts_with(' ')
        && message.len() > 1;
    if good { cid } else { fail() }
}

#[test]
fn every_line_has_the_form_and_a_connection_keeps_its_id() {
    let server = Server::start();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(2);
    let mut flv = Flv::open(server.http, "/live/a.flv");
    flv.picture();
    Client::open(server.rtmp, &server.rtmp_url("a"), Role::Publish).refused();
    let evil = format!("rtmp://{}/live/x%0a\u{1b}[31m]\n[2026-01-01", server.rtmp);
    Client::open(server.rtmp, &evil, Role::Play).start();
    http::get(server.http, "/nothing%0a%1b").unwrap();
    let (publisher, player) = (camera.client.local(), flv.local());
    camera.client.stop();
    flv.rest();
    server.logged(&["client finished: the stream ended"]);

    let lines = server.log().all();
    let cids: Vec<&str> = lines.iter().map(|line| cid_of(line, server.id())).collect();
    let with = |text: &str| {
        let found: Vec<_> = lines.iter().zip(&cids).filter(|(line, _)| line.contains(text)).collect();
        assert!(!found.is_empty(), "{text}");
        *found[0].1
    };
    let id = with(&format!("RTMP client ip={publisher}"));
    for text in ["type=fmle-publish", "start publish stream=/live/a", "stop publish stream=/live/a"] {
        assert_eq!(with(text), id, "{text}");
    }
    let id = with(&format!("HTTP #1 {player}"));
    for text in ["start play stream=/live/a, type=flv-play", "client finished: the stream ended"] {
        assert_eq!(with(text), id, "{text}");
    }
}

#[test]
fn the_log_file_is_opened_anew() {
    let (dir, port) = (directory(), free_port());
    let config =
        minimal(port).replace("srs_log_tank console", "srs_log_tank file; srs_log_file ./logs/a.log");
    let running = start(&dir, &config, &[]);
    let (log, moved) = (dir.join("logs/a.log"), dir.join("logs/b.log"));
    let has = |path: &Path, text: &str| {
        until(&format!("{text:?} in {}", path.display()), SOON, || {
            fs::read_to_string(path).ok().filter(|all| all.contains(text))
        })
    };
    has(&log, "ready on");
    fs::rename(&log, &moved).unwrap();
    running.signal(Signal::USR1);
    has(&log, "reopened");
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let client = std::net::TcpStream::connect(at).unwrap();
    has(&log, &format!("RTMP client ip={}", client.local_addr().unwrap()));
    assert!(!fs::read_to_string(&moved).unwrap().contains("RTMP client"));
    for line in has(&moved, "ready on").lines() {
        cid_of(line, running.id());
    }
}

#[test]
fn no_line_is_lost_when_the_log_is_opened_anew() {
    const ROTATIONS: usize = 20;
    let (dir, port) = (directory(), free_port());
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let config =
        minimal(port).replace("srs_log_tank console", "srs_log_tank file; srs_log_file ./logs/a.log");
    let config = format!("{config} http_server {{ enabled on; listen {http}; }}");
    let mut running = start(&dir, &config, &[]);
    let log = dir.join("logs/a.log");
    let ready = |path: &Path| fs::read_to_string(path).ok().filter(|all| all.contains("ready on"));
    until("it is ready", SOON, || ready(&log));

    let over = AtomicBool::new(false);
    let flood = |who: usize| {
        let asks = (0..).take_while(|_| !over.load(Ordering::Relaxed));
        asks.map(|n| {
            let path = format!("/flood/{who}/{n}");
            assert_eq!(http::get(http, &path).unwrap().status, 404);
            format!("GET {path},")
        })
        .collect::<Vec<_>>()
    };
    let asked: Vec<String> = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..4).map(|who| scope.spawn(move || flood(who))).collect();
        for n in 0..ROTATIONS {
            fs::rename(&log, dir.join(format!("logs/{n}.log"))).unwrap();
            running.signal(Signal::USR1);
            until("the log is there again", SOON, || fs::metadata(&log).ok().filter(|file| file.len() > 0));
        }
        over.store(true, Ordering::Relaxed);
        floods.into_iter().flat_map(|flood| flood.join().unwrap()).collect()
    });
    running.signal(Signal::TERM);
    running.succeed(SOON);

    let mut logged = HashMap::new();
    let mut files = 0;
    for file in fs::read_dir(dir.join("logs")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        files += 1;
        for line in text.lines() {
            cid_of(line, running.id());
            let asked =
                line.find("GET ").map(|at| line[at..].split_inclusive(',').next().unwrap().to_owned());
            *logged.entry(asked).or_insert(0) += 1;
        }
    }
    assert_eq!(files, ROTATIONS + 1);
    assert!(asked.len() > ROTATIONS, "{}", asked.len());
    for asked in asked {
        assert_eq!(logged.get(&Some(asked.clone())), Some(&1), "{asked}");
    }
}

#[test]
fn overload_is_logged_when_it_begins_and_when_it_ends() {
    let server = Server::with(Setup {
        top: "circuit_breaker { high_threshold 0; high_pulse 1; critical_pulse 0; dying_pulse 0; }",
        ..Setup::default()
    });
    let begun = || server.log().all().iter().any(|line| line.contains("overload: Normal -> High"));
    until("the server is busy", SOON, || {
        (0..20).for_each(|_| drop(http::get(server.api, "/api/v1/summaries")));
        begun().then_some(())
    });
    server.logged(&["[WARN]", "overload: Normal -> High, the busiest core is at ", "%"]);
    server.logged(&["[INFO]", "overload: High -> Normal, the busiest core is at 0%"]);
}

#[test]
fn several_addresses_of_both_families() {
    let [a, b, c] = [(); 3].map(|()| free_port());
    let config =
        minimal(a).replace(&format!("listen 127.0.0.1:{a}"), &format!("listen 127.0.0.1:{a} [::1]:{b} {c}"));
    let dir = directory();
    let running = ready(&dir, &config);
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let every = [(v4, a), (v6, b), (v4, c), (v6, c)].map(SocketAddr::from);
    for (n, publish) in every.into_iter().enumerate() {
        let url = |at: SocketAddr| format!("rtmp://{at}/live/{n}");
        let mut publisher = Client::open(publish, &url(publish), Role::Publish);
        publisher.start();
        let mut camera = Camera::new(publisher);
        camera.run_to(1);
        for play in every {
            let mut player = Client::open(play, &url(play), Role::Play);
            player.start();
            assert_eq!(player.picture(), (0, true, 0), "{publish} to {play}");
        }
    }
    // Peers are told by the address that they have, whatever the socket.
    assert!(!running.out.all().iter().any(|line| line.contains("::ffff:")));
}

#[test]
fn rtmp_over_tls() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pems = directory();
    fs::write(pems.join("cert.pem"), certificate.cert.pem()).unwrap();
    fs::write(pems.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    let top = format!(
        "rtmps {{ enabled on; listen 127.0.0.1:{port}; cert {0}/cert.pem; key {0}/key.pem; }}",
        pems.display()
    );
    let server = Server::with(Setup { top: &top, ..Setup::default() });
    let mut flv = Flv::open(server.http, "/live/a.flv");
    server.logged(&["start play"]);
    let url = format!("rtmps://127.0.0.1:{port}/live/a");
    let out = server.dir.join("out.flv");
    let play = ["-tls_verify", "0", "-i", &url, "-c", "copy", "-t", "3", out.to_str().unwrap()];
    let mut player = tools::start(ffmpeg(), &play);
    server.logged_times(&["start play"], 2);

    let clip = usual_clip();
    let publish =
        ["-i", clip.to_str().unwrap(), "-map", "0", "-c", "copy", "-f", "flv", "-tls_verify", "0", &url];
    tools::start(ffmpeg(), &publish).succeed(LIMIT);
    let coded = |tag: &&Tag| tag.kind == TagKind::Video && tag.body[1] == 1;
    assert_eq!(flv.rest().iter().filter(coded).count(), 100);
    player.succeed(LIMIT);
    let copied = tools::packets(ffmpeg(), out.to_str().unwrap());
    assert!(tools::of(&copied, 0).len() >= 74);

    // Who does not speak TLS is told from who does.
    let peer = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::io::Write::write_all(&mut &peer, &[3; 1537]).unwrap();
    server.logged(&["[WARN]", "TLS handshake", &format!("peer={}", peer.local_addr().unwrap())]);
}
