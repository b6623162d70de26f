//! Every sample in `conf/` starts a server that does what the sample is for, on other ports.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::process::Signal;

use crate::child::Running;
use crate::harness::{SOON, directory, free_port, oxcast, until};
use crate::http;

/// These are no configurations of their own.
const NOT_STARTED: [&str; 2] = ["full.conf", "include.vhost.conf"];

#[test]
fn every_sample_starts() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf");
    let names: Vec<_> = fs::read_dir(&samples)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".conf") && !NOT_STARTED.contains(&name.as_str()))
        .collect();
    assert!(names.len() >= 25, "{names:?}");
    let todo = Mutex::new(names);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(name) = todo.lock().unwrap().pop() else { break };
                    starts(&samples, &name);
                }
            });
        }
    });
}

fn starts(samples: &Path, name: &str) {
    for _ in 0..5 {
        let dir = directory();
        let ports = copy(samples, &dir);
        let mut command = oxcast();
        command.current_dir(&dir).args(["-c", &format!("conf/{name}")]);
        // Samples for daemons are watched in the foreground.
        command.env("SRS_DAEMON", "off").env("SRS_LOG_TANK", "console");
        let mut running = Running::start(name, &mut command);
        let text = fs::read_to_string(dir.join("conf").join(name)).unwrap();
        if !is_ready(&mut running, name) {
            continue;
        }
        works(&text, name, &ports);
        running.signal(Signal::TERM);
        running.succeed(SOON);
        let bad: Vec<_> = running.out.all().into_iter().filter(|line| line.contains("[ERROR]")).collect();
        assert!(bad.is_empty(), "{name}: {bad:?}");
        fs::remove_dir_all(&dir).unwrap();
        return;
    }
    panic!("{name}: no free ports");
}

/// Waits until it is; `false` if somebody took a port meanwhile.
fn is_ready(running: &mut Running, name: &str) -> bool {
    until(&format!("{name} is ready"), SOON * 2, || match running.ended() {
        Some(status) if status.code() == Some(234) => Some(false),
        Some(status) => panic!("{name} ended: {status}\n{:?}{:?}", running.out.all(), running.err.all()),
        None => running.out.all().iter().any(|line| line.contains("ready on")).then_some(true),
    })
}

/// What the sample says is there.
fn works(text: &str, name: &str, ports: &BTreeMap<u16, u16>) {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[&port]));
    let uses = |port: u16| text.contains(&format!("{}", ports.get(&port).copied().unwrap_or(0)));
    for port in [1935, 1443, 19350].into_iter().filter(|port| uses(*port)) {
        assert!(TcpStream::connect(at(port)).is_ok(), "{name}: port {port}");
    }
    if uses(8080) {
        let reply = http::get(at(8080), "/live/none.m3u8").unwrap();
        assert_eq!(reply.status, 404, "{name}");
    }
    if uses(1985) {
        let status = http::get(at(1985), "/api/v1/versions").unwrap().status;
        assert_eq!(status, if text.contains("username") { 401 } else { 200 }, "{name}");
    }
}

/// Copies all samples, with other ports. Which port has become which.
fn copy(samples: &Path, dir: &Path) -> BTreeMap<u16, u16> {
    let mut ports = BTreeMap::new();
    let conf: PathBuf = dir.join("conf");
    fs::create_dir(&conf).unwrap();
    for entry in fs::read_dir(samples).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| elsewhere(line, &mut ports)).collect();
        fs::write(conf.join(entry.file_name()), lines.join("\n")).unwrap();
    }
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(conf.join("server.key"), certificate.signing_key.serialize_pem()).unwrap();
    fs::write(conf.join("server.crt"), certificate.cert.pem()).unwrap();
    ports
}

/// The line of a configuration, listening at other ports if it says where to listen.
fn elsewhere(line: &str, ports: &mut BTreeMap<u16, u16>) -> String {
    let Some(endpoints) = line.trim_start().strip_prefix("listen ") else { return line.to_owned() };
    let moved = endpoints.trim_end_matches(';').split_whitespace().map(|endpoint| {
        let (host, port) = endpoint.rsplit_once(':').map_or(("", endpoint), |(host, port)| (host, port));
        let Ok(port) = port.parse() else { return endpoint.to_owned() };
        let port = ports.entry(port).or_insert_with(free_port);
        if host.is_empty() { port.to_string() } else { format!("{host}:{port}") }
    });
    format!("listen {};", moved.collect::<Vec<_>>().join(" "))
}
