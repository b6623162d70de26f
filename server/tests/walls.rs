//! The walls of the house: what may know what, checked by reading the sources. ARCHITECTURE.md says why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust source below a folder, with its path from the root and its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target" && name != "node_modules") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {folder}");
    found.sort();
    found
}

/// A source without its comments and without its tests, line by line with numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
}

/// Fails with every line of the folders that has one of the words.
fn nobody_says(folders: &[&str], words: &[&str], except: &[&str], why: &str) {
    let mut guilty = Vec::new();
    for (name, text) in folders.iter().flat_map(|folder| sources(folder)) {
        if except.iter().any(|e| name.starts_with(e)) {
            continue;
        }
        for (n, line) in code(&text) {
            guilty.extend(words.iter().filter(|w| line.contains(*w)).map(|w| format!("{name}:{n}: {w}")));
        }
    }
    assert!(guilty.is_empty(), "{why}:\n{}", guilty.join("\n"));
}

/// The names under `[dependencies]` of a package.
fn dependencies(package: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
    let section = text.split("\n[").find(|s| s.starts_with("dependencies]")).unwrap_or_default();
    section.lines().skip(1).filter_map(|l| l.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn floors_stand_on_what_is_below_them() {
    let rooms: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("pure/media", &[] as &[&str]),
        ("pure/formats", &["media"]),
        ("pure/rtmp", &["media", "formats"]),
        ("pure/rtp", &["media"]),
        ("pure/rtc", &["media", "rtp"]),
        ("hub", &["media"]),
    ]);
    let ours = ["media", "formats", "rtmp", "rtp", "rtc", "hub", "server", "bench"];
    for (room, allowed) in rooms {
        for dependency in dependencies(room) {
            let fine = !ours.contains(&dependency.as_str()) || allowed.contains(&dependency.as_str());
            assert!(fine, "{room} must not know {dependency}");
            assert_ne!(dependency, "tokio", "{room} must not know a runtime");
        }
    }
    // What measures the server must not share its mistakes.
    let shared: Vec<_> = dependencies("bench").into_iter().filter(|d| ours.contains(&d.as_str())).collect();
    assert_eq!(shared, Vec::<String>::new(), "bench must not use our own crates");
}

#[test]
fn the_pure_floor_has_no_world() {
    let world = [
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "std::env",
        "Instant",
        "SystemTime",
        "std::thread",
        "tokio",
    ];
    nobody_says(&["pure", "hub/src"], &world, &[], "sockets, clocks, files and threads belong to the server");
}

#[test]
fn a_protocol_knows_no_other_protocol() {
    let protocols = ["hls", "http_live", "rtmp"];
    for protocol in protocols {
        for other in protocols.iter().filter(|other| **other != protocol) {
            let folder = format!("server/src/protocol/{protocol}");
            let (path, crate_path) = (format!("protocol::{other}"), format!("super::super::{other}"));
            nobody_says(
                &[&folder],
                &[&path, &crate_path],
                &[],
                "protocols meet at the gate and the hub only",
            );
        }
    }
}

#[test]
fn there_is_one_door() {
    let words = ["Hub::", ".open(&", ".publish()", ".seat("];
    nobody_says(
        &["server/src/protocol", "server/src/api", "server/src/net"],
        &words,
        &[],
        "only the gate admits to the hub and to the roll",
    );
}

#[test]
fn only_config_reads_the_environment() {
    nobody_says(&["server/src"], &["env::var"], &["server/src/config"], "the environment is configuration");
}

#[test]
fn unsafe_stays_in_net() {
    nobody_says(
        &["server/src", "hub/src", "pure", "bench/src"],
        &["unsafe "],
        &["server/src/net"],
        "no unsafe here",
    );
}

#[test]
fn no_queue_is_unbounded() {
    nobody_says(
        &["server/src", "hub/src", "pure"],
        &["unbounded"],
        &[],
        "a slow reader must not take memory",
    );
}

#[test]
fn every_file_says_what_it_is_and_is_no_longer_than_a_file_should_be() {
    for (name, text) in
        ["pure", "hub", "server/src", "server/tests", "bench/src"].iter().flat_map(|f| sources(f))
    {
        assert!(text.starts_with("//!"), "{name} does not say what it is");
        assert!(text.lines().count() <= 800, "{name} asks to be split");
        let stem = Path::new(&name).file_stem().unwrap().to_str().unwrap();
        let vague = ["utils", "util", "common", "manager", "helper", "helpers", "misc"];
        assert!(!vague.contains(&stem), "{name}: a name that says nothing");
    }
}
