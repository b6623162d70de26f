//! Traces, received by Rotel, a collector of OpenTelemetry that somebody else wrote (PyPI: rotel); and by nobody.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, Server, Setup, free_port, until};
use crate::http::{self, Flv};
use crate::media::{Camera, Player};

/// The collector, or none if it is not installed: `OXCAST_ROTEL`, or where `tools/install test` puts it.
fn rotel() -> PathBuf {
    if let Some(path) = std::env::var_os("OXCAST_ROTEL") {
        return path.into();
    }
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/rotel");
    assert!(
        link.exists(),
        "no {}: `tools/install test` installs it (the PyPI package rotel)",
        link.display()
    );
    link
}

/// A span as the collector has understood it: its fields, its resource's and its attributes.
type Span = BTreeMap<String, String>;

struct Collector {
    running: Running,
    at: SocketAddr,
}

impl Collector {
    fn start() -> Self {
        let [http, grpc] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let mut command = Command::new(rotel());
        command.args([
            "start",
            "--exporter",
            "blackhole",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        command.args(["--otlp-http-endpoint", &http.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()]);
        let running = Running::start("rotel", &mut command);
        until("the collector listens", SOON * 2, || TcpStream::connect(http).ok());
        Self { running, at: http }
    }

    /// All spans so far.
    fn spans(&self) -> Vec<Span> {
        let lines = [self.running.out.all(), self.running.err.all()].concat();
        let (mut spans, mut resource) = (Vec::<Span>::new(), Span::new());
        for line in lines {
            let line = line.trim();
            if line.starts_with("ResourceSpans #") {
                resource = Span::new();
            } else if line.starts_with("Span #") {
                spans.push(resource.clone());
            } else if let Some((name, value)) = line.trim_start_matches("-> ").split_once(':') {
                let place = if resource.contains_key("scope") { spans.last_mut() } else { None };
                let entry = (name.trim().to_owned(), value.trim().to_owned());
                place.unwrap_or(&mut resource).entry(entry.0).or_insert(entry.1);
            } else if line.starts_with("InstrumentationScope") {
                resource.insert("scope".into(), line.into());
            }
        }
        spans
    }

    fn named(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span["Name"] == name).collect()
    }
}

fn server(collector: SocketAddr, more: &str) -> Server {
    let top = format!("traces {{ enabled on; endpoint http://{collector}; service_name test-cast; {more} }}");
    Server::with(Setup { top: &top, ..Setup::default() })
}

#[test]
fn a_collector_gets_the_way_from_publish_to_play() {
    let collector = Collector::start();
    let mut server = server(collector.at, "");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(20);
    server.took("a", 20);
    let mut rtmp = Client::play(&server, "a");
    rtmp.picture();
    let mut flv = Flv::open(server.http, "/live/a.flv");
    flv.picture();
    let (code, reason) = Client::open(server.rtmp, &server.rtmp_url("a"), rtmp::Role::Publish).refused();
    assert_eq!(code, "NetStream.Publish.BadName", "{reason}");
    drop((rtmp, flv));
    server.has_clients(1);
    camera.client.stop();
    server.has_clients(0);
    server.stop();

    // The server has sent all before it ended.
    let all = collector.running.out.wait(SOON, |lines| {
        let spans = lines.iter().filter(|line| line.starts_with("Span #")).count();
        (spans >= 11).then_some(())
    });
    assert!(all.is_some(), "{:#?}", collector.running.out.all());
    let (publishers, players) = (collector.named("publish"), collector.named("play"));
    assert_eq!((publishers.len(), players.len()), (2, 2), "{:#?}", collector.spans());
    let [publisher] =
        &publishers.iter().filter(|span| !span.values().any(|v| v.contains("busy"))).collect::<Vec<_>>()[..]
    else {
        panic!("{publishers:#?}")
    };
    let text =
        |span: &Span, field: &str| span.get(field).cloned().unwrap_or_else(|| panic!("{field}: {span:#?}"));
    let stream_trace = text(publisher, "Trace ID");
    assert_eq!(text(publisher, "Parent ID"), "");
    assert_eq!(text(publisher, "service.name"), "Str(test-cast)");
    assert_eq!(text(publisher, "oxcast.stream"), "Str(a)");
    let inside = |name: &str, of: &Span| {
        let all = collector.named(name);
        all.into_iter().filter(|span| text(span, "Parent ID") == text(of, "ID")).collect::<Vec<_>>()
    };
    for name in ["admission", "first frame"] {
        let [part] = &inside(name, publisher)[..] else { panic!("{name}: {:#?}", collector.spans()) };
        assert_eq!(text(part, "Trace ID"), stream_trace);
    }
    for player in &players {
        assert_ne!(text(player, "Trace ID"), stream_trace);
        assert_eq!(inside("first byte", player).len(), 1, "{player:#?}");
        assert_eq!(inside("admission", player).len(), 1);
    }
    // The links are told in lines of their own.
    let lines = [collector.running.out.all(), collector.running.err.all()].concat();
    let links = lines.iter().filter(|line| line.contains(&stream_trace)).count();
    assert!(links >= 3 + players.len(), "{links} {lines:#?}");
    // The log leads there.
    server.logged(&["traced as 00-", &stream_trace, "-01"]);
}

#[test]
fn a_connection_to_another_server_is_a_part_of_the_publish() {
    let (collector, nobody) = (Collector::start(), free_port());
    let top = format!("traces {{ enabled on; endpoint http://{}; }}", collector.at);
    let vhost = format!("forward {{ enabled on; destination 127.0.0.1:{nobody}; }}");
    let server = Server::with(Setup { top: &top, vhost: &vhost, ..Setup::default() });
    let client = Client::publish(&server, "a");
    let traced = server.logged(&["traced as 00-"]);
    server.logged(&["[WARN]", "forward to", "again in 3s"]);
    let span = until("a span of the forwarder", SOON, || collector.named("forward").pop());
    assert!(traced.contains(&span["Trace ID"]) && traced.contains(&span["Parent ID"]), "{span:#?} {traced}");
    assert_eq!(span["oxcast.destination"], format!("Str(rtmp://127.0.0.1:{nobody}/live/a)"));
    assert!(span.values().any(|value| value.contains("refused")), "{span:#?}");
    client.stop();
}

#[test]
fn without_a_collector_the_server_goes_on_and_counts_what_is_lost() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut server = server(nobody, "");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(20);
    server.took("a", 20);
    let line = server.logged(&["[WARN]", "traces: http://127.0.0.1"]);
    assert!(line.contains("/v1/traces"), "{line}");
    let start = std::time::Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_share_of_none_traces_nobody() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut server = server(listener.local_addr().unwrap(), "sample 0;");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(20);
    server.took("a", 20);
    assert_eq!(http::get(server.api, "/metrics").unwrap().status, 200);
    camera.client.stop();
    server.has_clients(0);
    server.stop();
    assert!(listener.accept().is_err(), "nobody is told");
    assert!(!server.log().all().iter().any(|line| line.contains("traced as")));
}
