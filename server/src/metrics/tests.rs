//! Pages of metrics, and whether the documents and the dashboard speak of the same metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::config::Environment;
use crate::gate::Ask;
use crate::log::Log;
use crate::session::{Kind, Request, Session};

/// Those who count, in a server without sockets.
pub fn sources(gate: &Arc<Gate>, roll: &Arc<Roll>, identity: &Arc<Identity>) -> Arc<Sources> {
    Arc::new(Sources {
        roll: roll.clone(),
        gate: gate.clone(),
        identity: identity.clone(),
        samples: Arc::default(),
        door: Door::new(7),
        loads: OnceLock::new(),
        breaker: Arc::default(),
        hls: Arc::default(),
        storage: Arc::default(),
        log: Log::for_tests().meter(),
        tracer: Arc::default(),
        forward: Arc::default(),
        tasks: Tasks::start(gate.config(), Arc::default()).unwrap(),
    })
}

fn exporter(settings: &str) -> (Server, Arc<Gate>) {
    let text = format!("listen 1935; exporter {{ enabled on; {settings} }} vhost __defaultVhost__ {{ }}");
    let config = Arc::new(Config::parse("x", text.as_bytes(), &Environment::default()).unwrap());
    let roll = Arc::<Roll>::default();
    let gate = Arc::new(Gate::new(config.clone(), roll.clone()));
    let identity = Arc::new(Identity::sample());
    let sources = sources(&gate, &roll, &identity);
    drop(router(sources.clone(), &config));
    (Server { sources, settings: config.exporter.clone().unwrap() }, gate)
}

struct Server {
    sources: Arc<Sources>,
    settings: Exporter,
}

impl Server {
    fn page(&self) -> String {
        self.sources.page(&self.settings)
    }
}

fn ask<'a>(session: &'a Arc<Session>, kind: Kind, stream: &str) -> Ask<'a> {
    let request = Request { app: "live".into(), stream: stream.into(), ..Request::default() };
    Ask { session, kind, request, visit: None }
}

fn session() -> Arc<Session> {
    Session::new("127.0.0.1:1".parse().unwrap())
}

#[tokio::test]
async fn streams_beyond_the_limit_are_summed_up() {
    let (exporter, gate) = exporter("streams_limit 2;");
    let mut all = Vec::new();
    for stream in ["a", "b", "c", "d"] {
        let session = session();
        all.push(gate.publish(ask(&session, Kind::FmlePublish, stream)).await.unwrap());
        session.counters.add_received(100);
    }
    let page = exporter.page();
    let of = |text: &str| {
        page.lines().filter(|line| line.starts_with(text)).map(str::to_owned).collect::<Vec<_>>()
    };
    let label = |stream: &str| format!("{{vhost=\"__defaultVhost__\",app=\"live\",stream=\"{stream}\"}} 100");
    assert_eq!(
        of("oxcast_stream_receive_bytes_total"),
        [
            format!("oxcast_stream_receive_bytes_total{}", label("a")),
            format!("oxcast_stream_receive_bytes_total{}", label("b")),
            "oxcast_stream_receive_bytes_total{stream=\"(rest)\"} 200".into(),
        ]
    );
    assert_eq!(of("srs_streams"), ["srs_streams 4"]);
    assert_eq!(of("oxcast_streams_unnamed"), ["oxcast_streams_unnamed 2"]);
}

#[tokio::test]
async fn refusals_are_told_by_reason() {
    let (exporter, gate) = exporter("");
    let (first, second) = (session(), session());
    let _first = gate.publish(ask(&first, Kind::FmlePublish, "a")).await.unwrap();
    assert!(gate.publish(ask(&second, Kind::RtcPublish, "a")).await.is_err());
    assert!(gate.play(ask(&second, Kind::RtmpPlay, "")).await.is_err());
    let page = exporter.page();
    for line in [
        "oxcast_refusals_total{action=\"publish\",reason=\"busy\"} 1\n",
        "oxcast_refusals_total{action=\"play\",reason=\"denied\"} 1\n",
        "srs_clients_total 1\n",
        "oxcast_clients{kind=\"fmle-publish\"} 1\n",
        "oxcast_clients{kind=\"hls-play\"} 0\n",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
}

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names of all metrics on a page.
fn names() -> BTreeSet<String> {
    let page = exporter("").0.page();
    page.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect()
}

/// The words of a text that look like names of metrics of ours.
fn spoken_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_ours = |word: &&str| ["srs_", "oxcast_", "process_"].iter().any(|p| word.starts_with(p));
    words.filter(is_ours).map(str::to_owned).collect()
}

#[test]
fn the_reference_tells_of_each_metric_and_of_no_other() {
    let spoken: BTreeSet<_> = repository("docs/ref/metrics.md")
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| spoken_of(line.split('|').nth(1).unwrap_or_default()))
        .collect();
    assert_eq!(spoken, names());
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let board: Value = serde_json::from_str(&repository("deploy/grafana/oxcast.json")).unwrap();
    assert!(
        board["title"].as_str().is_some_and(|title| !title.is_empty())
            && board["schemaVersion"].as_u64().is_some()
    );
    let (names, mut ids, mut asked) = (names(), BTreeSet::new(), BTreeSet::new());
    let panels = board["panels"].as_array().unwrap();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have an id");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        let place = &panel["gridPos"];
        let edge = |name: &str| place[name].as_u64().unwrap();
        assert!(edge("x") + edge("w") <= 24 && edge("h") > 0, "{place}");
        let targets = panel["targets"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{panel}");
        for target in targets {
            let asks = spoken_of(target["expr"].as_str().unwrap());
            assert!(!asks.is_empty() && asks.is_subset(&names), "{target}: {asks:?}");
            asked.extend(asks);
        }
    }
    for variable in board["templating"]["list"].as_array().unwrap() {
        let asks = spoken_of(variable["query"].to_string().as_str());
        assert!(asks.is_subset(&names), "{variable}");
    }
    assert!(panels.len() > 10 && asked.len() > 15, "{asked:?}");
}
