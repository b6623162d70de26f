//! Metrics, read by Prometheus and its `promtool`, against a load that is known; and the dashboard, asked by a Prometheus that watches.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, Server, Setup, directory, free_port, until};
use crate::http::{self, Flv};
use crate::media::{Camera, Player};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A server whose exporter listens at the port.
fn server(settings: &str, vhost: &str) -> (Server, SocketAddr) {
    let exporter = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let top = format!("exporter {{ enabled on; listen {exporter}; {settings} }}");
    (Server::with(Setup { top: &top, vhost, ..Setup::default() }), exporter)
}

#[track_caller]
fn page(at: SocketAddr) -> String {
    let reply = http::get(at, "/metrics").unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    String::from_utf8(reply.body).unwrap()
}

/// The value of a sample, as it is written.
fn sample(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.rsplit_once(' ').is_some_and(|(found, _)| found == name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[track_caller]
fn tells(at: SocketAddr, name: &str, value: f64) {
    until(&format!("{name} {value}"), SOON, || sample(&page(at), name).filter(|now| *now == value));
}

/// What `promtool` says against a page.
fn complaints(page: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: `tools/install test` installs it");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

#[test]
fn a_known_load_is_told_exactly() {
    let (server, exporter) =
        server("label \"a \\\" b\"; tag edge;", "hls { enabled on; hls_storage ram; hls_fragment 1; }");
    let before = page(exporter);
    assert_eq!(complaints(&before), "");
    assert_eq!(sample(&before, "srs_clients_total"), Some(0.0));
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(100);
    server.took("a", 100);
    let mut players = [(); 3].map(|()| Flv::open(server.http, "/live/a.flv"));
    for player in &mut players {
        player.picture();
    }
    let mut refused = Client::open(server.rtmp, &server.rtmp_url("a"), rtmp::Role::Publish);
    refused.refused();

    let stream = "{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\"}";
    tells(exporter, "srs_clients", 4.0);
    tells(exporter, "srs_clients_total", 4.0);
    tells(exporter, "oxcast_clients{kind=\"flv-play\"}", 3.0);
    tells(exporter, "oxcast_clients{kind=\"fmle-publish\"}", 1.0);
    tells(exporter, &format!("oxcast_stream_frames_total{stream}"), 100.0);
    tells(exporter, &format!("oxcast_stream_publishers{stream}"), 1.0);
    tells(exporter, &format!("oxcast_stream_clients{stream}"), 4.0);
    tells(exporter, "oxcast_refusals_total{action=\"publish\",reason=\"busy\"}", 1.0);
    tells(exporter, "srs_streams", 1.0);
    until("segments", SOON, || sample(&page(exporter), "oxcast_hls_segments_total").filter(|n| *n >= 1.0));
    let now = page(exporter);
    assert_eq!(complaints(&now), "");
    let value = |name: &str| sample(&now, name).unwrap_or_else(|| panic!("{name}\n{now}"));
    let keyframes = value(&format!("oxcast_stream_keyframes_total{stream}"));
    assert!((2.0..=20.0).contains(&keyframes), "{keyframes}");
    // What the API tells of the same.
    let told = server.stream("a").unwrap();
    for (metric, field) in [("receive", "recv_bytes"), ("send", "send_bytes")] {
        let metric = value(&format!("oxcast_stream_{metric}_bytes_total{stream}"));
        assert_eq!(metric, told[field].as_f64().unwrap(), "{field}");
    }
    assert_eq!(value("srs_receive_bytes_total"), told["recv_bytes"].as_f64().unwrap());
    assert_eq!(value("srs_send_bytes_total"), told["send_bytes"].as_f64().unwrap());
    assert!(value("process_open_fds") > 10.0 && value("process_resident_memory_bytes") > 1e6);
    assert!(value("oxcast_core_load_ratio{core=\"0\"}") < 1.5);
    let pid = server.id().to_string();
    let build = now.lines().find(|line| line.starts_with("srs_build_info{")).unwrap();
    for part in [&format!("pid=\"{pid}\""), "tag=\"edge\"", "code=\"Oxcast\"", "server=\"vid-"] {
        assert!(build.contains(part), "{build}");
    }
    // On the port of the API, too.
    assert_eq!(sample(&page(server.api), "srs_clients"), Some(4.0));
    assert_eq!(http::get(exporter, "/api/v1/versions").unwrap().status, 404);

    // Who has gone is in the sums still.
    let sent = value("oxcast_send_bytes_total{kind=\"flv-play\"}");
    drop(players);
    tells(exporter, "oxcast_clients{kind=\"flv-play\"}", 0.0);
    let after = sample(&page(exporter), "oxcast_send_bytes_total{kind=\"flv-play\"}").unwrap();
    assert!(after >= sent && sent > 1000.0, "{after} {sent}");
    // A publisher that breaks the rules has ended with an error; one who leaves has not.
    assert_eq!(sample(&page(exporter), "srs_clients_errs_total"), Some(0.0));
    Write::write_all(&mut camera.client.socket(), &[0xff; 4096]).unwrap();
    tells(exporter, "srs_clients_errs_total", 1.0);
    tells(exporter, "srs_streams", 0.0);
    let left = page(exporter);
    assert!(
        !left.contains("stream=\"a\"") && left.contains("oxcast_stream_frames_total{stream=\"(rest)\"} 0\n")
    );
}

#[test]
fn without_an_exporter_the_api_says_so() {
    let server = Server::start();
    assert_eq!(server.ask("/metrics")["code"], 1090);
}

#[test]
fn names_of_streams_are_bounded_and_forge_nothing() {
    let (server, exporter) = server("streams_limit 2;", "");
    let evil = "x\"} 1\nsrs_clients 7000\n#\\";
    let _clients: Vec<_> = [evil, "b", "c", "d"]
        .iter()
        .map(|name| {
            let mut client = Client::open(server.rtmp, &server.rtmp_url(name), rtmp::Role::Play);
            client.start();
            client
        })
        .collect();
    tells(exporter, "srs_clients", 4.0);
    let page = page(exporter);
    assert_eq!(complaints(&page), "");
    let named = page.lines().filter(|line| line.starts_with("oxcast_stream_clients{")).count();
    assert_eq!(named, 3, "{page}");
    assert_eq!(sample(&page, "oxcast_stream_clients{stream=\"(rest)\"}"), Some(2.0));
    assert!(!page.lines().any(|line| line == "srs_clients 7000"));
}

#[test]
fn files_for_prometheus_are_good() {
    for (what, file) in [("config", "prometheus.yml"), ("rules", "oxcast.rules.yml")] {
        let path = repository("deploy/prometheus").join(file);
        let mut checked =
            Running::start("promtool", Command::new("promtool").args(["check", what]).arg(&path));
        checked.succeed(SOON);
    }
}

#[test]
fn a_prometheus_answers_what_the_dashboard_and_the_alerts_ask() {
    let (server, exporter) = server("", "");
    let dir = directory();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let config = format!(
        "{{\"global\":{{\"scrape_interval\":\"200ms\",\"scrape_timeout\":\"200ms\",\"evaluation_interval\":\"200ms\"}},
          \"rule_files\":[{:?}],
          \"scrape_configs\":[{{\"job_name\":\"oxcast\",\"static_configs\":[{{\"targets\":[\"{exporter}\"]}}]}}]}}",
        repository("deploy/prometheus/oxcast.rules.yml")
    );
    fs::write(dir.join("prometheus.yml"), config).unwrap();
    let mut command = Command::new("prometheus");
    command.current_dir(&dir).args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--log.level=warn",
    ]);
    let _prometheus = Running::start("prometheus", command.arg(format!("--web.listen-address={at}")));
    let query = |expr: &str| -> Option<Value> {
        let path = format!("/api/v1/query?query={}", escape(expr));
        let reply = http::get(at, &path).ok()?;
        let answer: Value = serde_json::from_slice(&reply.body).ok()?;
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        Some(answer["data"]["result"].clone())
    };
    let mut camera = Camera::new(Client::publish(&server, "a"));
    let mut player = Flv::open(server.http, "/live/a.flv");
    let mut frames = 0;
    let mut more = || {
        frames += 10;
        camera.run_to(frames);
        player.pictures_up_to(frames - 1);
    };
    let has = |result: &Value| result.as_array().is_some_and(|all| !all.is_empty());
    until("a rate", SOON * 2, || {
        more();
        query("rate(oxcast_stream_frames_total{stream=\"a\"}[5s]) > 0").filter(has)
    });

    let board: Value =
        serde_json::from_str(&fs::read_to_string(repository("deploy/grafana/oxcast.json")).unwrap()).unwrap();
    let mut empty = BTreeMap::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            let asked =
                expr.replace("$instance", ".*").replace("$stream", ".*").replace("$__rate_interval", "5s");
            if !has(&query(&asked).unwrap()) {
                empty.insert(panel["title"].as_str().unwrap().to_owned(), asked);
            }
        }
    }
    // Nothing is slow here, nobody was refused or has just come, nobody is called, and there is no WebRTC.
    const QUIET: [&str; 4] = ["Too slow", "Too slow, by stream", "Refused", "Coming"];
    let is_unused = |title: &str| ["WebRTC", "Callbacks"].iter().any(|unused| title.starts_with(unused));
    empty.retain(|title, _| !QUIET.contains(&title.as_str()) && !is_unused(title));
    assert!(empty.is_empty(), "{empty:#?}");
    until("no alert", SOON, || {
        query("count(ALERTS{alertname!=\"OxcastOverloaded\"}) or vector(0)")
            .filter(|r| r[0]["value"][1] == "0")
    });
    assert!(has(&query("up{job=\"oxcast\"} == 1").unwrap()));
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A page is cheap however many there are: it is made on a core that serves players.
#[test]
fn a_page_is_made_quickly() {
    let (server, exporter) = server("", "");
    let clients: Vec<_> = (0..150).map(|n| Client::play(&server, &format!("s{n}"))).collect();
    tells(exporter, "srs_clients", clients.len() as f64);
    let quickest = (0..20).map(|_| {
        let start = std::time::Instant::now();
        page(exporter);
        start.elapsed()
    });
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}
