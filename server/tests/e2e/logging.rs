//! The log as operators keep it: JSON, files that are put aside when they are large, and other ways to log after a reload.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::child::Running;
use crate::harness::{SOON, directory, free_port, start, until};
use crate::http;

/// A server that logs each request to a file.
fn server(dir: &Path, log: &str) -> (Running, SocketAddr, String) {
    let [rtmp, http] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    let config = format!(
        "listen {rtmp}; daemon off; pid ./oxcast.pid; srs_log_tank file; srs_log_file ./logs/a.log; {log}
        http_server {{ enabled on; listen {http}; dir ./html; }} vhost __defaultVhost__ {{ }}"
    );
    let running = start(dir, &config, &[]);
    until("it answers", SOON, || http::get(http, "/").ok());
    (running, http, config)
}

/// How often a request for a path of this beginning is in these files, by path.
fn logged(files: &[String], beginning: &str) -> HashMap<String, u32> {
    let mut all = HashMap::new();
    for line in files.iter().flat_map(|file| file.lines()) {
        if let Some(at) = line.find(beginning) {
            *all.entry(line[at..].split(',').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    all
}

#[test]
fn large_files_are_put_aside_and_no_line_is_lost() {
    const SIZE: u64 = 64 << 10;
    let dir = directory();
    let (mut running, http, _) = server(&dir, "srs_log_max_size 64k; srs_log_max_files 50; utc_time on;");
    let padding = "x".repeat(800);
    let asked: Vec<String> = std::thread::scope(|scope| {
        let flood = |who: usize| {
            let ask = |n: usize| {
                let path = format!("/flood/{who}/{n}/{padding}");
                assert_eq!(http::get(http, &path).unwrap().status, 404);
                path
            };
            (0..150).map(ask).collect::<Vec<_>>()
        };
        let floods: Vec<_> = (0..4).map(|who| scope.spawn(move || flood(who))).collect();
        floods.into_iter().flat_map(|flood| flood.join().unwrap()).collect()
    });
    running.signal(Signal::TERM);
    running.succeed(SOON);
    let folder = dir.join("logs");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(fs::metadata(&path).unwrap().len() <= SIZE, "{}", path.display());
        files.push(fs::read_to_string(path).unwrap());
    }
    assert!(files.len() > 6 && folder.join("a.log.1").exists(), "{}", files.len());
    let logged = logged(&files, "/flood/");
    for path in asked {
        assert_eq!(logged.get(&path), Some(&1), "{path}");
    }
}

#[test]
fn json_lines_and_other_ways_to_log_after_a_reload() {
    let dir = directory();
    let (running, http, config) = server(&dir, "srs_log_format json; srs_log_level_v2 info;");
    let log = dir.join("logs/a.log");
    http::get(http, "/one?q=%22").unwrap();
    let text = until("the request is logged", SOON, || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("/one"))
    });
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["message"].as_str().unwrap().contains("GET /one")).unwrap();
    assert_eq!((&line["level"], &line["pid"]), (&"INFO".into(), &running.id().into()));
    assert_eq!(line["cid"].as_str().map(str::len), Some(8));
    assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");

    // Less of it, as text, elsewhere.
    let config =
        config.replace("json", "text").replace("v2 info", "v2 warn").replace("logs/a.log", "logs/b.log");
    fs::write(dir.join("oxcast.conf"), &config).unwrap();
    running.signal(Signal::HUP);
    let other = dir.join("logs/b.log");
    until("the new file is there", SOON, || fs::metadata(&other).ok());
    http::get(http, "/two").unwrap();
    // A file that cannot be had refuses the reload as a whole.
    fs::write(dir.join("oxcast.conf"), config.replace("./logs/b.log", "/proc/none/c.log")).unwrap();
    running.signal(Signal::HUP);
    let text = until("the refusal is logged", SOON, || {
        fs::read_to_string(&other).ok().filter(|text| text.contains("reload: refused"))
    });
    assert!(text.lines().all(|line| line.contains("][WARN][")), "{text}");
    assert!(text.contains("/proc/none/c.log"), "{text}");
    let all = fs::read_to_string(&log).unwrap() + &text;
    assert!(!all.contains("/two"), "{all}");
}
