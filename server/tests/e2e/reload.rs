//! Reload: what a changed file does to a running server and to those who are connected, by signal, by command, by the API and by itself.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use rtmp::Role;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::Client;
use crate::dialogue::Dialogue;
use crate::harness::{SOON, Server, Setup, directory, free_port, oxcast, until};
use crate::http::{self, Flv};
use crate::media::{Camera, GOP, Player};

impl Server {
    /// What its file says.
    pub fn config(&self) -> String {
        fs::read_to_string(self.dir.join("oxcast.conf")).unwrap()
    }

    fn write_config(&self, config: &str) {
        fs::write(self.dir.join("oxcast.conf"), config).unwrap();
    }

    fn command(&self, args: &[&str]) -> Output {
        oxcast().current_dir(&self.dir).args(["-c", "oxcast.conf"]).args(args).output().unwrap()
    }

    /// Another text for the file, and a reload by command, which must succeed: what it says.
    #[track_caller]
    pub fn reloads(&self, config: &str) -> String {
        self.write_config(config);
        let output = self.command(&["reload"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        text
    }

    /// The same, which must be refused.
    #[track_caller]
    fn refuses(&self, config: &str) -> String {
        self.write_config(config);
        let output = self.command(&["reload"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success(), "{text}");
        text
    }

    fn hangs_up(&self) {
        kill_process(Pid::from_raw(self.id().try_into().unwrap()).unwrap(), Signal::HUP).unwrap();
    }

    /// A camera on a vhost.
    fn camera_at(&self, vhost: &str) -> Camera {
        Camera::new(self.client_at(vhost, Role::Publish))
    }

    fn client_at(&self, vhost: &str, role: Role) -> Client {
        let mut client = Client::open(self.rtmp, &self.url_at(vhost), role);
        client.start();
        client
    }

    fn url_at(&self, vhost: &str) -> String {
        format!("rtmp://{}/live?vhost={vhost}/s", self.rtmp)
    }
}

const VHOSTS: &str = "vhost a.com { } vhost b.com { } vhost c.com { }";

#[test]
fn who_is_not_meant_notices_nothing() {
    let server = Server::with(Setup { vhosts: VHOSTS, ..Setup::default() });
    let hosts = ["a.com", "b.com", "c.com"];
    let mut cameras = hosts.map(|host| server.camera_at(host));
    cameras.iter_mut().for_each(|camera| camera.run_to(1));
    let mut players = hosts.map(|host| server.client_at(host, Role::Play));
    for player in &mut players {
        assert_eq!(player.picture().0, 0);
    }
    let after = "vhost d.com { } vhost a.com { min_latency on; play { queue_length 10; } } vhost b.com { }";
    let said = server.reloads(&server.config().replace(VHOSTS, after));
    let told: Vec<_> = said.lines().map(str::trim).collect();
    assert_eq!(
        told,
        [
            "vhost a.com { min_latency }: (default) -> on",
            "vhost a.com { play { queue_length } }: (default) -> 10",
            "vhost c.com: removed",
            "vhost d.com: added",
            "reloaded, 4 changed"
        ]
    );
    server.logged(&["reload: vhost a.com { min_latency }: (default) -> on"]);
    server.logged(&["reload: done, changes=4, by a command of process"]);
    // Two go on as if nothing had been, the third is sent away with its reason.
    for (camera, player) in cameras.iter_mut().zip(&mut players).take(2) {
        camera.run_to(30);
        let numbers: Vec<_> = player.pictures_up_to(29).iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..30).collect::<Vec<_>>());
    }
    cameras[2].client.closed();
    players[2].closed();
    server.logged_times(&["client finished: vhost c.com is not served any more"], 2);
    let mut late = Client::open(server.rtmp, &server.url_at("c.com"), Role::Play);
    assert!(late.refused().1.contains("vhost c.com is not served here"));
    server.camera_at("d.com").run_to(1);
}

#[test]
fn a_reload_happens_as_a_whole_or_not_at_all() {
    let server = Server::with(Setup { top: "max_connections 100;", ..Setup::default() });
    let mut camera = Camera::new(Client::publish(&server, "s"));
    let good = server.config();
    let bad = good.replace("max_connections 100", "max_connections 1; nonsense on");
    let said = server.refuses(&bad);
    assert!(said.contains("nonsense") && said.contains("oxcast.conf:") && said.contains("nothing"), "{said}");

    // The server itself reads another file than the command did: it answers for what it finds.
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let busy = good
        .replace("max_connections 100", "max_connections 1")
        .replace("pid ./", &format!("rtmps {{ enabled on; listen {address}; }} pid ./"));
    let said = server.refuses(&busy);
    assert!(said.contains(&format!("cannot listen at {address}")), "{said}");
    server.logged(&["[WARN]", "reload: refused, nothing has changed", &address.to_string()]);

    let missing =
        good.replace("pid ./", "rtmps { enabled on; listen 1; key ./none.key; cert ./none.crt; } pid ./");
    assert!(server.refuses(&missing).contains("none.crt"));

    // Had one of them counted, nobody else would have come in.
    let mut players = [(); 3].map(|()| Client::play(&server, "s"));
    camera.run_to(1);
    players.iter_mut().for_each(|player| assert_eq!(player.picture().0, 0));
}

#[test]
fn a_dry_run_only_says_what_would_be() {
    let server = Server::with(Setup { top: "max_connections 100;", ..Setup::default() });
    let more = free_port();
    let config = server.config().replace("max_connections 100", "max_connections 200").replacen(
        "listen ",
        &format!("listen 127.0.0.1:{more} "),
        1,
    );
    server.write_config(&config);
    let output = server.command(&["reload", "--dry-run"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("max_connections: 100 -> 200") && said.contains("nothing has been done"), "{said}");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, more)).is_err());
    // The same again: had it counted, nothing would be different any more.
    assert_eq!(String::from_utf8(server.command(&["reload", "--dry-run"]).stdout).unwrap(), said);
}

#[test]
fn ports_are_opened_moved_and_closed() {
    let server = Server::with(Setup { one_port: false, ..Setup::default() });
    let mut camera = Camera::new(Client::publish(&server, "s"));
    camera.run_to(1);
    let mut player = Flv::open(server.http, "/live/s.flv");
    assert_eq!(player.picture().0, 0);
    let mut idle = Dialogue::ask(server.http, "GET /nothing", &[]);
    assert_eq!(idle.answer().0.status, 404);

    let [rtmp, http] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    let config = server.config();
    let config =
        config.replace(&format!("listen {};", server.rtmp), &format!("listen {} {rtmp};", server.rtmp));
    let config = config.replace(&format!("listen {};", server.http), &format!("listen {http};"));
    server.reloads(&config);
    server.logged(&["HTTP-Server stops to listen", &server.http.to_string()]);
    // The port is free for others, idle connections are closed, and who plays goes on.
    until("the old port is closed", SOON, || TcpStream::connect(server.http).err());
    assert_eq!(idle.rest(), b"");
    let mut second = Client::open(rtmp, &format!("rtmp://{rtmp}/live/s"), Role::Play);
    second.start();
    let mut third = Flv::open(http, "/live/s.flv");
    camera.run_to(30);
    for player in [&mut player as &mut dyn Player, &mut second, &mut third] {
        player.pictures_up_to(29);
    }

    // One address in place of all of the port, and back: the port is never without a listener.
    let all = config.replace(&format!("{} {rtmp}", server.rtmp), &format!("{} {}", server.rtmp, rtmp.port()));
    server.reloads(&all);
    Client::open(rtmp, &format!("rtmp://{rtmp}/live/s"), Role::Play).start();
    server.reloads(&config);
    Client::open(rtmp, &format!("rtmp://{rtmp}/live/s"), Role::Play).start();
}

#[test]
fn the_api_and_the_signal_reload_too() {
    let server = Server::with(Setup { api: "raw_api { enabled on; allow_reload on; }", ..Setup::default() });
    let fetch = || server.ask("/api/v1/raw?rpc=reload-fetch")["data"].clone();
    assert_eq!((&fetch()["state"], &fetch()["rid"]), (&Value::from(0), &Value::from("")));
    let again = |what: &str, before: &Value| {
        until(what, SOON, || Some(fetch()).filter(|data| data["rid"] != before["rid"]))
    };
    let before = fetch();
    server.write_config(&server.config().replace("daemon off", "max_connections 77; daemon off"));
    assert_eq!(server.ask("/api/v1/raw?rpc=reload")["code"], 0);
    let first = again("a reload by the API", &before);
    assert_eq!((&first["err"], &first["msg"], &first["state"]), (&0.into(), &"Success".into(), &90.into()));
    server.logged(&["reload: max_connections: (default) -> 77"]);
    server.logged(&["reload: done, changes=1, by the API, anybody at 127.0.0.1"]);

    let good = server.config();
    server.write_config("nonsense");
    server.hangs_up();
    let second = again("a reload by a signal", &first);
    assert_eq!((&second["err"], &second["state"]), (&1023.into(), &10.into()));
    assert!(second["msg"].as_str().unwrap().starts_with("code=1023"), "{second}");
    server.write_config(&good);
    server.hangs_up();
    again("a good one", &second);
    server.logged(&["reload: done, changes=0, by SIGHUP"]);

    // What is not allowed any more is not done any more.
    server.reloads(&good.replace("allow_reload on", "allow_reload off"));
    assert_eq!(server.ask("/api/v1/raw?rpc=reload")["code"], 1061);
}

#[test]
fn a_file_that_changes_is_read_again() {
    let server = Server::with(Setup { top: "inotify_auto_reload on;", ..Setup::default() });
    let config = server.config();
    // As editors do it.
    fs::write(server.dir.join("new.conf"), config.replace("daemon off", "max_connections 55; daemon off"))
        .unwrap();
    fs::rename(server.dir.join("new.conf"), server.dir.join("oxcast.conf")).unwrap();
    server.logged(&["reload: max_connections: (default) -> 55"]);
    server.logged(&["reload: done, changes=1, by a change of the file"]);
}

/// A certificate of `localhost` in the folder; its text.
fn certify(dir: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

#[test]
fn certificates_are_replaced() {
    let (dir, port) = (directory(), free_port());
    let folder = dir.display();
    let first = certify(&dir);
    let https = format!(
        "https {{ enabled on; listen 127.0.0.1:{port}; cert {folder}/cert.pem; key {folder}/key.pem; }}"
    );
    let server = Server::with(Setup { http: &https, ..Setup::default() });
    let trusts = |certificate: &str| {
        let file = dir.join("trusted.pem");
        fs::write(&file, certificate).unwrap();
        let url = format!("https://localhost:{port}/api/v1/versions");
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--max-time", "20", "--cacert"])
            .arg(file)
            .arg(url)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(trusts(&first));
    let second = certify(&dir);
    server.hangs_up();
    server.logged(&["reload: done, changes=0, by SIGHUP"]);
    assert!(!trusts(&first) && trusts(&second));
    // One that is broken is not taken, and the one that was good stays.
    fs::write(dir.join("cert.pem"), "nonsense").unwrap();
    assert!(server.refuses(&server.config()).contains("cert.pem"));
    assert!(trusts(&second));
}

#[test]
fn hls_turns_while_it_is_made() {
    const BEFORE: &str = "hls { enabled off; }";
    let server = Server::with_vhost(BEFORE);
    let mut camera = Camera::new(Client::publish(&server, "s"));
    let playlist = || {
        let reply = http::get(server.http, "/live/s.m3u8").ok().filter(|reply| reply.status == 200)?;
        let master = String::from_utf8(reply.body).unwrap();
        let session = master.lines().find(|line| line.starts_with('/'))?.to_owned();
        let body = http::get(server.http, &session).ok()?.body;
        String::from_utf8(body).ok()
    };
    let durations = |text: &str| -> Vec<f64> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
        lines.map(|line| line.split(',').next().unwrap().trim().parse().unwrap()).collect()
    };
    camera.run_to(100);
    assert!(playlist().is_none());
    let config = server.config();
    let with = |hls: &str| {
        config.replace(BEFORE, &format!("hls {{ enabled on; hls_window 60; hls_path ./html; {hls} }}"))
    };

    server.reloads(&with("hls_fragment 2;"));
    camera.run_to(400);
    let long = until("segments of 2 s", SOON, || playlist().filter(|text| durations(text).len() > 3));
    assert!(durations(&long).iter().skip(1).all(|length| (1.9..2.5).contains(length)), "{long}");
    assert!(!long.contains("DISCONTINUITY"), "{long}");

    server.reloads(&with("hls_fragment 1;"));
    camera.run_to(800);
    let short = until("segments of 1 s behind them", SOON, || {
        playlist().filter(|text| durations(text).iter().filter(|length| **length < 1.5).count() > 4)
    });
    let (before, after) = short.split_once("#EXT-X-DISCONTINUITY\n").unwrap_or_else(|| panic!("{short}"));
    assert!(durations(before).iter().any(|length| *length > 1.9), "{short}");
    assert!(durations(after).iter().all(|length| (0.9..1.5).contains(length)), "{short}");

    server.reloads(&config.replace(BEFORE, "hls { enabled off; }"));
    server.reloads(&with(
        "hls_fragment 1; hls_m3u8_file [app]/[stream]/all.m3u8; hls_ts_file [app]/[stream]/[seq].ts;",
    ));
    camera.run_to(1000);
    until("the playlist is elsewhere", SOON, || {
        http::get(server.http, "/live/s/all.m3u8").ok().filter(|reply| reply.status == 200)
    });
    assert_eq!(http::get(server.http, "/live/s.m3u8").unwrap().status, 404);
}

#[test]
fn publishers_and_players_follow_the_rules_of_now() {
    let server = Server::with_vhost("publish { normal_timeout 60000; }");
    let mut camera = Camera::new(Client::publish(&server, "s"));
    camera.run_to(GOP * 2 + 1);
    server.took("s", u64::from(GOP * 2 + 1));
    let mut first = Client::play(&server, "s");
    assert_eq!(first.picture().0, GOP * 2, "the newest keyframe comes first");
    let config = server.config();
    server.reloads(&config.replace("60000;", "60000; } play { gop_cache off;"));
    // Without the cache, who comes waits for the next keyframe.
    let mut second = Client::play(&server, "s");
    camera.run_to(GOP * 3 + 1);
    assert_eq!(second.picture().0, GOP * 3);
    let start = Instant::now();
    server.reloads(&config.replace("60000", "500"));
    server.logged(&["the publisher sent nothing more for 500ms"]);
    assert!(start.elapsed() < SOON);
}

/// Players and publishers of three vhosts, and reloads of all kinds: nobody is touched by what is not about him, and nothing grows.
#[test]
fn a_storm_of_reloads() {
    const PLAYERS: usize = 200;
    const PUBLISHERS: usize = 10;
    const RELOADS: usize = 50;
    let hosts = ["a.com", "b.com", "c.com"];
    let vhosts = "vhost a.com { } vhost b.com { } vhost c.com { }";
    let server = Server::with(Setup { top: "max_connections 2000;", vhosts, ..Setup::default() });
    let url = |n: usize| format!("rtmp://{}/live?vhost={}/s{n}", server.rtmp, hosts[n % 3]);
    let open = |n: usize, role| {
        let mut client = Client::open(server.rtmp, &url(n), role);
        client.start();
        client
    };
    let mut cameras: Vec<_> = (0..PUBLISHERS).map(|n| Camera::new(open(n, Role::Publish))).collect();
    cameras.iter_mut().for_each(|camera| camera.run_to(1));
    let mut players: Vec<_> = (0..PLAYERS).map(|n| open(n % PUBLISHERS, Role::Play)).collect();
    for player in &mut players {
        assert_eq!(player.picture().0, 0);
    }
    let config = server.config();
    let mut chance = fastrand::Rng::with_seed(11);
    let spare = free_port();
    let (mut memory, mut done) = (0, 0);
    for n in 0..RELOADS {
        let text = match chance.u8(..6) {
            0 => config.replace(
                "vhost a.com { }",
                &format!("vhost a.com {{ play {{ queue_length {}; }} }}", chance.u8(5..60)),
            ),
            1 => config.replace(
                "daemon off",
                &format!("rtmps {{ enabled on; listen 127.0.0.1:{spare}; }} daemon off"),
            ),
            2 => config.replace(
                "vhost b.com { }",
                "vhost b.com { hls { enabled on; hls_storage ram; } } vhost d.com { }",
            ),
            3 => config.replace(
                "vhost c.com { }",
                &format!("vhost c.com {{ min_latency on; chunk_size {}; }}", chance.u16(200..9000)),
            ),
            4 => config.replace("vhost c.com", "vhosst c.com"),
            _ => format!("{config} {}", "}".repeat(chance.usize(..3) + 1)),
        };
        server.write_config(&text);
        done += usize::from(server.command(&["reload"]).status.success());
        let end = u32::try_from(n).unwrap() * 2 + 3;
        cameras.iter_mut().for_each(|camera| camera.run_to(end));
        // Nobody reads so much late that he would be skipped.
        if n % 10 == 9 {
            for player in &mut players {
                let all = player.pictures_up_to(end - 1);
                let first = all[0].0;
                assert!(all.iter().map(|(number, _)| *number).eq(first..end), "{all:?}");
            }
        }
        if n == 10 {
            memory = server.memory();
        }
    }
    assert!((10..RELOADS).contains(&done), "{done}");
    server.has_clients(PLAYERS + PUBLISHERS);
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes more");
}
