//! Streams for other servers: nginx-rtmp, a second Oxcast by RTMPS, and a destination of ours that is killed, slow, or says no; and a service that
//! names destinations.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rtmp::{MediaKind, Role};
use serde_json::{Value, json};

use crate::child::Running;
use crate::client::Client;
use crate::destination::Destination;
use crate::harness::{SOON, Server, Setup, directory, free_port, until};
use crate::hooks::Service;
use crate::http::{self, Flv};
use crate::media::{Camera, GOP, Player, STEP, Seen, picture};
use crate::players::publish_for_ever;
use crate::tools::{self, LIMIT, ffmpeg};

impl Server {
    /// The forwarders, as the API lists them.
    #[track_caller]
    fn forwards(&self) -> Vec<Value> {
        self.ask("/api/v1/forwards?count=100")["forwards"].as_array().unwrap().clone()
    }

    /// Waits until the states of all forwarders are these.
    #[track_caller]
    fn forwards_are(&self, states: &[&str]) -> Vec<Value> {
        until(&format!("forwarders: {states:?}"), SOON * 2, || {
            let all = self.forwards();
            let now: Vec<_> = all.iter().map(|one| one["state"].as_str().unwrap()).collect();
            (now == states).then_some(all)
        })
    }
}

/// Publishers may be silent while a test waits for something.
fn forward(what: &str) -> String {
    format!("forward {{ enabled on; {what} }} publish {{ normal_timeout 60000; firstpkt_timeout 60000; }}")
}

/// nginx-rtmp with the applications `live` and `copy`.
fn nginx(port: u16) -> Running {
    let dir = directory();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
        daemon off; master_process off; error_log stderr warn; pid {0}/nginx.pid;
        events {{ worker_connections 64; }}
        rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} application copy {{ live on; }} }} }}",
        dir.display()
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.args(["-p", dir.to_str().unwrap(), "-e", "stderr", "-c"]).arg(dir.join("nginx.conf"));
    let running = Running::start("nginx", &mut command);
    until("nginx listens", SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    running
}

/// ffmpeg plays two seconds, and has no complaint about what it decodes.
#[track_caller]
fn plays(url: &str) {
    let mut player =
        tools::start(ffmpeg(), &["-i", url, "-t", "2", "-fps_mode", "passthrough", "-f", "null", "-"]);
    player.succeed(LIMIT);
    assert_eq!(player.err.all(), <[String; 0]>::default(), "{url}");
}

#[test]
fn nginx_gets_copies_also_when_it_was_away() {
    let port = free_port();
    let mut destination = nginx(port);
    let to = format!("destination 127.0.0.1:{port} rtmp://127.0.0.1:{port}/copy/[stream]-2;");
    let server = Server::with_vhost(&forward(&to));
    let _publisher = publish_for_ever(&server, "a");
    let all = server.forwards_are(&["forwarding", "forwarding"]);
    assert_eq!(all[0]["destination"], format!("rtmp://127.0.0.1:{port}/live/a"));
    assert_eq!(all[1]["destination"], format!("rtmp://127.0.0.1:{port}/copy/***"));
    plays(&format!("rtmp://127.0.0.1:{port}/live/a"));
    plays(&format!("rtmp://127.0.0.1:{port}/copy/a-2"));

    destination.signal(rustix::process::Signal::TERM);
    destination.wait(SOON);
    let all = server.forwards_are(&["waiting", "waiting"]);
    assert!(all[0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{all:?}");
    server.logged(&["[WARN]", "forward to", "again in 3s"]);
    let _destination = nginx(port);
    let all = server.forwards_are(&["forwarding", "forwarding"]);
    assert_eq!(all[0]["connections"], 2);
    assert_eq!(all[0]["dropped"], 0, "the queue is longer than it was away");
    plays(&format!("rtmp://127.0.0.1:{port}/live/a"));
}

#[test]
fn what_comes_is_what_was_published_and_a_cut_loses_nothing() {
    let destination = Destination::open();
    let server = Server::with_vhost(&forward(&format!("destination {};", destination.at)));
    let url = format!("rtmp://cast.example.com:{}/live/a?token=1", server.rtmp.port());
    let mut client = Client::open(server.rtmp, &url, Role::Publish);
    client.start();
    let mut camera = Camera::new(client);
    // A clock that does not begin at zero, and jumps.
    camera.zero = 90_000_000;
    let mut taker = destination.taken();
    let asked = (taker.url.app.as_str(), taker.url.stream_and_param());
    assert_eq!(asked, ("live", "a?token=1&vhost=cast.example.com".into()));
    camera.run_to(15);
    let first: Vec<_> = (0..4).map(|_| taker.next().unwrap()).collect();
    let seen: Vec<_> = first.iter().map(|(seen, ..)| *seen).collect();
    let headers = [Seen::Header(MediaKind::Video), Seen::Header(MediaKind::Audio)];
    assert_eq!(seen, [&headers[..], &[Seen::Picture(0, true), Seen::Sound(0)]].concat());
    assert_eq!(first[2].1, 90_000_000);
    let rest = taker.pictures_up_to(14);
    assert_eq!(rest.last(), Some(&(14, 90_000_000 + 14 * STEP)));
    camera.zero = 0;
    camera.run_to(20);
    assert_eq!(taker.pictures_up_to(19).last(), Some(&(19, 19 * STEP)));

    // The destination dies, and comes back: from a keyframe on that it had, without a gap.
    drop(taker);
    let began = Instant::now();
    camera.run_to(25);
    server.logged(&["[WARN]", "forward to rtmp://127.0.0.1", "/live/a: "]);
    camera.run_to(30);
    let mut taker = destination.taken();
    assert!(began.elapsed() > Duration::from_secs(2), "it is not hammered");
    camera.run_to(35);
    let (number, key, _) = taker.picture();
    assert!(key && number <= 20, "begins with {number}");
    let rest = taker.pictures_up_to(34);
    assert!(rest.iter().zip(number + 1..).all(|((got, _), want)| *got == want), "{rest:?}");

    // It says no: one line with its reason, and another try.
    drop(taker);
    camera.run_to(40);
    destination.asked().refuse("NetStream.Publish.Denied", "not you");
    let line = server.logged(&["[WARN]", "forward to", "NetStream.Publish.Denied", "not you"]);
    assert!(!line.contains("token"), "{line}");
    let mut taker = destination.taken();
    camera.client.stop();
    let mut last = None;
    while let Some((seen, ..)) = taker.next() {
        last = Some(seen);
    }
    assert_eq!(last, Some(Seen::Sound(39)), "all is sent before the end");
    until("no forwarder", SOON, || server.forwards().is_empty().then_some(()));
    assert!(destination.is_alone());
}

#[test]
fn a_slow_destination_holds_up_nobody() {
    let (slow, quick) = (Destination::open(), Destination::open());
    let vhost =
        format!("play {{ queue_length 4; }} {}", forward(&format!("destination {} {};", slow.at, quick.at)));
    let server = Server::with_vhost(&vhost);
    let mut client = Client::publish(&server, "a");
    client.send(MediaKind::Video, 0, &crate::media::picture_header());
    let (_stuck, mut taker) = (slow.taken(), quick.taken());
    let mut player = Flv::open(server.http, "/live/a.flv");
    server.logged(&["start play stream=/live/a"]);
    // More than the socket of somebody who does not read can hold, and longer than the queue.
    for n in 0..400 {
        client.send(MediaKind::Video, n * STEP, &picture(n, n % GOP == 0, 100_000));
        assert_eq!(taker.picture().0, n);
        assert_eq!(player.picture().0, n);
    }
    let all = server.forwards_are(&["forwarding", "forwarding"]);
    assert!(all[0]["dropped"].as_u64() > Some(100), "{all:?}");
    assert_eq!(all[1]["dropped"], 0);
    assert!(all[1]["send_bytes"].as_u64() > Some(40_000_000), "{all:?}");
    assert!(server.memory() < 300 << 20, "{}", server.memory());
    client.stop();
}

#[test]
fn a_second_server_by_rtmps_proves_who_it_is() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pems = directory();
    fs::write(pems.join("cert.pem"), certificate.cert.pem()).unwrap();
    fs::write(pems.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    let (port, pems) = (free_port(), pems.display());
    let top =
        format!("rtmps {{ enabled on; listen 127.0.0.1:{port}; cert {pems}/cert.pem; key {pems}/key.pem; }}");
    let second = Server::with(Setup { top: &top, ..Setup::default() });
    let to = format!("destination rtmps://localhost:{port}/live/b;");
    let first = Server::with_vhost(&forward(&format!("{to} tls_ca {pems}/cert.pem;")));
    let _publisher = publish_for_ever(&first, "a");
    first.forwards_are(&["forwarding"]);
    plays(&second.rtmp_url("b"));

    // Nobody vouches for it any more.
    let config = first.config().replace(&format!("tls_ca {pems}/cert.pem;"), "");
    first.reloads(&config);
    let line = first.logged(&["[WARN]", "forward to rtmps://localhost", "TLS"]);
    assert!(line.contains("certificate"), "{line}");
    second.has_clients(0);
}

#[test]
fn a_reload_touches_only_what_it_is_about() {
    let (a, b) = (Destination::open(), Destination::open());
    let server = Server::with_vhost(&forward(&format!("destination {};", a.at)));
    let mut camera = Camera::new(Client::publish(&server, "s"));
    let mut first = a.taken();
    camera.run_to(12);
    first.pictures_up_to(11);
    // One more, which begins with the newest keyframe.
    let one = server.config();
    let both = one.replace(&a.at.to_string(), &format!("{} {}", a.at, b.at));
    server.reloads(&both);
    let mut second = b.taken();
    camera.run_to(14);
    assert_eq!(second.picture().0, 10);
    assert_eq!(first.picture().0, 12, "it goes on");
    // One less.
    server.reloads(&one.replace(&a.at.to_string(), &b.at.to_string()));
    while first.next().is_some() {}
    camera.run_to(16);
    assert_eq!(second.pictures_up_to(15).len(), 5);
    assert!(a.is_alone() && b.is_alone());

    // This server itself is no destination.
    let own = format!("{} {}", b.at, server.rtmp);
    server.reloads(&one.replace(&a.at.to_string(), &own));
    server.logged(&["[WARN]", "it would come back to this server"]);
    server.forwards_are(&["forwarding"]);
    // Nor does it take a stream under ever new names.
    let own = format!("{} rtmp://{}/live/[stream]x", b.at, server.rtmp);
    server.reloads(&one.replace(&a.at.to_string(), &own));
    server.logged_times(&["[WARN]", "it would come back to this server"], 2);
    assert!(server.stream("sxx").is_none());
    camera.run_to(18);
    assert_eq!(second.pictures_up_to(17).len(), 2);

    // None at all.
    server.reloads(&server.config().replace("forward { enabled on;", "forward { enabled off;"));
    while second.next().is_some() {}
    until("no forwarder", SOON, || server.forwards().is_empty().then_some(()));
    camera.client.stop();
}

#[test]
fn a_service_names_destinations() {
    let service = Service::start();
    let (a, b) = (Destination::open(), Destination::open());
    let answer = directory().join("answer.json");
    let names = |urls: &[String]| {
        fs::write(&answer, json!({ "code": 0, "data": { "urls": urls } }).to_string()).unwrap();
    };
    let ask = service.url(&format!("file{}", answer.display()));
    let hooks = format!("http_hooks {{ enabled on; on_unpublish {}; }}", service.url("yes"));
    let dead = free_port();
    let server = Server::with(Setup {
        top: "server_id vid-forward;",
        vhost: &format!("{} {hooks}", forward(&format!("backend {ask}; destination 127.0.0.1:{dead};"))),
        ..Setup::default()
    });
    names(&[format!("rtmp://{}/site/cam?key=1", a.at), String::new(), format!("rtmp://{}/live/s", b.at)]);
    let url = format!("{}?token=abc", server.rtmp_url("s"));
    let mut client = Client::open(server.rtmp, &url, Role::Publish);
    client.start();
    let call = service.called("on_forward", 1);
    let id = call.body["client_id"].as_str().unwrap().to_owned();
    let service_id = call.body["service_id"].as_str().unwrap();
    let want = format!(
        r#"{{"action":"on_forward","server_id":"vid-forward","service_id":"{service_id}","client_id":"{id}","ip":"127.0.0.1","vhost":"__defaultVhost__","app":"live","tcUrl":"rtmp://{}/live","stream":"s","param":"?token=abc"}}"#,
        server.rtmp
    );
    assert_eq!(call.text, want);
    assert_eq!(call.traceparent.len(), 55, "{}", call.traceparent);
    let (mut first, mut second) = (a.taken(), b.taken());
    assert_eq!((first.url.app.as_str(), first.url.stream_and_param()), ("site", "cam?key=1".into()));
    assert_eq!(second.url.stream_and_param(), "s");
    let mut camera = Camera::new(client);
    camera.run_to(3);
    assert_eq!((first.pictures_up_to(2).len(), second.pictures_up_to(2).len()), (3, 3));
    assert_eq!(server.forwards().len(), 2, "`destination` does not count");

    // Another service is asked by a reload; what it does not name ends.
    names(&[format!("rtmp://{}/live/s", b.at)]);
    server.reloads(&server.config().replace(&ask, &ask.replace("/answer.json", "//answer.json")));
    service.called("on_forward", 2);
    while first.next().is_some() {}
    camera.run_to(5);
    assert_eq!(second.pictures_up_to(4).len(), 2);
    camera.client.stop();
    server.has_clients(0);

    // No destination at all is an answer.
    names(&[]);
    let client = Client::publish(&server, "s");
    assert!(server.forwards().iter().all(|one| one["publisher"] == id.as_str()));
    client.stop();
    server.has_clients(0);

    // Anything else is none: nobody publishes, and what was allowed is told to have ended.
    let ends = service.actions("yes").len();
    for bad in ["0", "{\"code\":0}", "{\"code\":0,\"data\":{\"urls\":[\"a.com\"]}}", "{\"code\":3}", ""] {
        fs::write(&answer, bad).unwrap();
        let mut client = Client::open(server.rtmp, &server.rtmp_url("s"), Role::Publish);
        let (code, reason) = client.refused();
        assert_eq!(code, "NetStream.Publish.Denied", "{bad}");
        assert!(reason.contains("on_forward") && reason.contains("(code 1030)"), "{bad}: {reason}");
    }
    service.called("on_unpublish", ends + 5);
    let page = String::from_utf8(http::get(server.api, "/api/v1/forwards").unwrap().body).unwrap();
    assert!(page.contains("\"forwards\":[]"), "{page}");
}
