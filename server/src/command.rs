//! Commands about configurations and about servers that run by them: `oxcast check`, `oxcast reload` and `oxcast upgrade`. Each gives what to print and the exit
//! status.

use std::fmt::Write;
use std::path::absolute;

use crate::config::{Config, Environment, SegmentStorage, Source, Vhost};
use crate::control::{self, Reply, Wish};

/// The server refuses, or there is none.
const FAILED: u8 = 1;

/// Has the running server of this configuration reload, or with `dry` say what a reload would do.
pub fn reload(source: &Source, env: &Environment, dry: bool) -> (String, u8) {
    ask(source, env, Wish::Reload { dry }, |changes| told(changes, dry))
}

/// Has a new process, of the program file as it is now, take over from the running server of this configuration.
pub fn upgrade(source: &Source, env: &Environment) -> (String, u8) {
    ask(source, env, Wish::Upgrade, |_| "a new process serves, the old one lets its clients finish\n".into())
}

/// The configuration says where the server is. One that the server would refuse is not even asked for.
fn ask(source: &Source, env: &Environment, wish: Wish, told: impl Fn(&[String]) -> String) -> (String, u8) {
    let config = match Config::load(source, env) {
        Ok(config) => config,
        Err(error) => return (format!("{error}\nnothing has changed\n"), error.exit_status()),
    };
    let pid = config.work_dir.join(&config.pid);
    let pid = absolute(&pid).unwrap_or(pid);
    match control::ask(&pid, wish) {
        Ok(Reply::Changes(changes)) => (told(&changes), 0),
        Ok(Reply::Refused(reason)) => (format!("{reason}\nrefused: nothing has changed\n"), FAILED),
        Err(e) => {
            let socket = control::path(&pid);
            (format!("no server answers at {}: {e}\n", socket.display()), FAILED)
        }
    }
}

fn told(changes: &[String], dry: bool) -> String {
    let mut text = String::new();
    for change in changes {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {change}");
    }
    let _ = match (changes.len(), dry) {
        (0, true) => writeln!(text, "nothing would change (certificates and included files are read again)"),
        (0, false) => writeln!(text, "reloaded, nothing has changed"),
        (n, true) => writeln!(text, "{n} to change: nothing has been done"),
        (n, false) => writeln!(text, "reloaded, {n} changed"),
    };
    text
}

/// Explains a configuration: where it listens, what each vhost does, and what differs from the defaults.
pub fn check(source: &Source, env: &Environment) -> (String, u8) {
    let config = match Config::load(source, env) {
        Ok(config) => config,
        Err(error) => return (format!("{error}\n"), error.exit_status()),
    };
    let mut text = String::new();
    for warning in &config.warnings {
        let _ = writeln!(text, "warning: {warning}\n");
    }
    let _ = writeln!(text, "It listens at");
    for (what, endpoints) in listens(&config) {
        let _ = writeln!(text, "  {what:<14}{}", endpoints.join(" "));
    }
    let _ = writeln!(text, "It serves");
    for vhost in &config.vhosts {
        let _ = writeln!(text, "  {:<26}{}", vhost.name, features(vhost));
        let doors = doors(vhost);
        if vhost.enabled && !doors.is_empty() {
            let _ = writeln!(text, "  {:<26}who may: {}", "", doors.join(", "));
        }
    }
    let beside = config.written.beside_defaults();
    if !beside.is_empty() {
        let _ = writeln!(text, "It differs from the defaults in");
        for (place, value, default) in beside {
            let default = if default.is_empty() { String::new() } else { format!("   (default: {default})") };
            let _ = writeln!(text, "  {place}: {value}{default}");
        }
    }
    (text, 0)
}

fn listens(config: &Config) -> Vec<(&'static str, Vec<String>)> {
    let words = |endpoints: &[crate::config::Endpoint]| endpoints.iter().map(ToString::to_string).collect();
    let mut all: Vec<(&str, Vec<String>)> = vec![("RTMP", words(&config.listen))];
    let tls = |tls: &Option<crate::config::Tls>| tls.as_ref().map_or_else(Vec::new, |tls| words(&tls.listen));
    all.push(("RTMPS", tls(&config.rtmps)));
    if let Some(http) = &config.http_server {
        all.extend([("HTTP", words(&http.listen)), ("HTTPS", tls(&http.https))]);
    }
    if let Some(api) = config.http_api.as_ref().filter(|_| !config.api_shares_http_server()) {
        all.extend([("HTTP API", words(&api.listen)), ("HTTPS API", tls(&api.https))]);
    }
    if let Some(exporter) = &config.exporter {
        all.push(("metrics", words(&exporter.listen)));
    }
    if let Some(rtc) = &config.rtc_server {
        let tcp = rtc.tcp.map(|port| format!("tcp:{port}"));
        all.push(("WebRTC", std::iter::once(format!("udp:{}", rtc.listen)).chain(tcp).collect()));
    }
    all.retain(|(_, endpoints)| !endpoints.is_empty());
    all
}

/// What decides who may publish and play, in the order in which it does.
fn doors(vhost: &Vhost) -> Vec<String> {
    let roles = |publish, play| match (publish, play) {
        (true, true) => "to publish and play",
        (true, false) => "to publish",
        _ => "to play",
    };
    let mut doors = Vec::new();
    if vhost.limits != Default::default() {
        doors.push("limits".to_owned());
    }
    if let Some(security) = &vhost.security {
        doors.push(format!("{} rules by address", security.allow.len() + security.deny.len()));
    }
    if vhost.refer.is_some() {
        doors.push("rules by page".into());
    }
    if let Some(token) = &vhost.token {
        doors.push(format!("a token {}", roles(token.publish, token.play)));
    }
    if let Some(signed) = &vhost.signed_url {
        doors.push(format!("a signed address {}", roles(signed.publish, signed.play)));
    }
    if let Some(hooks) = &vhost.hooks {
        let asked = [
            ("on_connect", &hooks.on_connect),
            ("on_publish", &hooks.on_publish),
            ("on_play", &hooks.on_play),
        ];
        let asked: Vec<_> =
            asked.iter().filter(|(_, urls)| !urls.is_empty()).map(|(name, _)| *name).collect();
        doors.push(match &asked[..] {
            [] => "callbacks, which only tell".into(),
            asked => format!("callbacks ({})", asked.join(", ")),
        });
    }
    doors
}

/// What a vhost does, in words.
fn features(vhost: &Vhost) -> String {
    if !vhost.enabled {
        return "nothing: it is off".into();
    }
    let mut words = vec!["RTMP".to_owned()];
    if let Some(remux) = &vhost.http_remux {
        words.push(format!("HTTP at {}", remux.mount));
    }
    if let Some(hls) = &vhost.hls {
        let place = match hls.storage {
            SegmentStorage::Disk => hls.path.display().to_string(),
            SegmentStorage::Ram => "memory".into(),
        };
        words.push(format!("HLS in segments of {:?} in {place}", hls.fragment));
    }
    if let Some(dash) = &vhost.dash {
        let place = match dash.storage {
            SegmentStorage::Disk => dash.path.display().to_string(),
            SegmentStorage::Ram => "memory".into(),
        };
        words.push(format!("DASH in segments of {:?} in {place}", dash.fragment));
    }
    if vhost.rtc.enabled {
        let bridges =
            [(vhost.rtc.rtmp_to_rtc, "also of RTMP streams"), (vhost.rtc.rtc_to_rtmp, "also for RTMP")];
        let bridges: Vec<_> = bridges.iter().filter(|(on, _)| *on).map(|(_, words)| *words).collect();
        let bridges = if bridges.is_empty() { String::new() } else { format!(" ({})", bridges.join(", ")) };
        words.push(format!("WebRTC{bridges}"));
    }
    if !vhost.ingests.is_empty() {
        words.push(format!("{} ingested", plural(vhost.ingests.len(), "input")));
    }
    let engines = vhost.transcodes.iter().map(|transcode| transcode.engines.len()).sum();
    if engines > 0 {
        words.push(format!("transcoding by {}", plural(engines, "engine")));
    }
    if let Some(exec) = &vhost.exec {
        let commands = [&exec.publish, &exec.unpublish, &exec.play, &exec.stop];
        words.push(format!("{} for streams", plural(commands.iter().map(|c| c.len()).sum(), "command")));
    }
    if let Some(files) = &vhost.http_static {
        words.push(format!("files of {} at {}", files.dir.display(), files.mount));
    }
    words.join(", ")
}

fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_explained() {
        let dir = std::env::temp_dir().join(format!("oxcast-check-{}.conf", std::process::id()));
        let text = "listen 1935; max_connections 10; http_server { enabled on; listen 8081; }
            rtc_server { enabled on; tcp { enabled on; } }
            vhost __defaultVhost__ { http_remux { enabled on; } rtc { enabled on; rtmp_to_rtc on; } }
            vhost off.com { enabled off; }
            vhost busy.com {
                ingest { enabled on; ffmpeg f; input { url a; } engine { output o; } }
                transcode { enabled on; ffmpeg f; engine a { enabled on; vcodec copy; acodec copy; output o; } engine { } }
                exec { enabled on; publish a; stop b; }
            }
            vhost shut.com {
                security { enabled on; allow play all; deny publish all; }
                token { enabled on; secret a-secret-of-thirty-two-characters; play off; }
                http_hooks { enabled on; on_publish http://127.0.0.1/x; on_stop http://127.0.0.1/y; }
            }";
        std::fs::write(&dir, text).unwrap();
        let (text, status) = check(&Source::File(dir.clone()), &Environment::default());
        std::fs::remove_file(dir).unwrap();
        assert_eq!(status, 0, "{text}");
        assert!(!text.contains("thirty-two"), "{text}");
        for line in [
            "  RTMP          1935",
            "  HTTP          8081",
            "  WebRTC        udp:8000 tcp:8000",
            "  __defaultVhost__          RTMP, HTTP at [vhost]/[app]/[stream].flv, WebRTC (also of RTMP streams)",
            "  off.com                   nothing: it is off",
            "  busy.com                  RTMP, 1 input ingested, transcoding by 1 engine, 2 commands for streams",
            "  shut.com                  RTMP",
            "                            who may: 2 rules by address, a token to publish, callbacks (on_publish)",
            "  max_connections: 10   (default: 1000)",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}
