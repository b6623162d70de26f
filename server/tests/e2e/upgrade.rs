//! Binary upgrade under load: a new process takes the ports over, nobody is refused, and who is connected finishes with the old one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use rtmp::Role;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, directory, free_port, oxcast, ready, until};
use crate::http;
use crate::media::{Camera, Player};

/// A server whose process changes.
struct Dynasty {
    first: Running,
    dir: std::path::PathBuf,
    rtmp: SocketAddr,
    api: SocketAddr,
}

impl Dynasty {
    fn found(more: &str) -> Self {
        let dir = directory();
        let [rtmp, api] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let udp = free_port();
        let config = format!(
            "listen {rtmp}; pid ./a.pid; daemon off; srs_log_tank console; max_connections 2000; grace_final_wait 1;
            http_api {{ enabled on; listen {api}; }} rtc_server {{ enabled on; listen {udp}; }} {more}
            vhost __defaultVhost__ {{ rtc {{ enabled on; }} }}"
        );
        Self { first: ready(&dir, &config), dir, rtmp, api }
    }

    fn command(&self, word: &str) -> Output {
        oxcast().current_dir(&self.dir).args(["-c", "oxcast.conf", word]).output().unwrap()
    }

    /// The process of the pid file.
    fn reigns(&self) -> Option<u32> {
        fs::read_to_string(self.dir.join("a.pid")).ok()?.parse().ok()
    }

    /// The process that answers.
    fn answers(&self) -> Option<u32> {
        let reply = http::get(self.api, "/api/v1/versions").ok()?;
        let answer: Value = serde_json::from_slice(&reply.body).ok()?;
        answer["pid"].as_str()?.parse().ok()
    }

    fn open(&self, stream: &str, role: Role) -> Client {
        let mut client = Client::open(self.rtmp, &format!("rtmp://{}/live/{stream}", self.rtmp), role);
        client.start();
        client
    }

    #[track_caller]
    fn says(&self, text: &str) {
        let found =
            self.first.out.wait(SOON, |lines| lines.iter().any(|line| line.contains(text)).then_some(()));
        assert!(found.is_some(), "{text}: {:#?}", self.first.out.all());
    }
}

impl Dynasty {
    /// The first process ends in good order. (Its output does not, as the second one has it, too.)
    fn ends(&mut self) {
        assert!(until("the old process ends", SOON * 2, || self.first.ended()).success());
    }
}

impl Drop for Dynasty {
    fn drop(&mut self) {
        if let Some(pid) = self.reigns().and_then(|pid| Pid::from_raw(pid.try_into().ok()?))
            && is_ours(&self.dir, pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A process may have ended, and its number may be somebody else's.
fn is_ours(dir: &Path, pid: Pid) -> bool {
    let cwd = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
    test_kill_process(pid).is_ok() && cwd.is_ok_and(|cwd| cwd == dir)
}

#[test]
fn a_new_process_takes_over_under_load() {
    const PUBLISHERS: usize = 10;
    const PLAYERS: usize = 200;
    let mut server = Dynasty::found("");
    let old = server.first.id();
    let mut cameras: Vec<_> =
        (0..PUBLISHERS).map(|n| Camera::new(server.open(&format!("s{n}"), Role::Publish))).collect();
    cameras.iter_mut().for_each(|camera| camera.run_to(1));
    let mut players: Vec<_> =
        (0..PLAYERS).map(|n| server.open(&format!("s{}", n % PUBLISHERS), Role::Play)).collect();
    players.iter_mut().for_each(|player| assert_eq!(player.picture().0, 0));

    // Others come and go all the time.
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let refused = Arc::new(Mutex::new(Vec::new()));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (over, served, refused, api) = (over.clone(), served.clone(), refused.clone(), server.api);
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    match http::get(api, "/api/v1/versions") {
                        Ok(reply) if reply.status == 200 => drop(served.fetch_add(1, Relaxed)),
                        other => refused.lock().unwrap().push(format!("{other:?}")),
                    }
                }
            })
        })
        .collect();
    until("visitors", SOON, || (served.load(Relaxed) > 50).then_some(()));
    let output = server.command("upgrade");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("a new process serves"), "{said}");
    let new = until("another process reigns", SOON, || server.reigns().filter(|pid| *pid != old));
    until("all come to it", SOON, || (0..20).all(|_| server.answers() == Some(new)).then_some(()));
    let before = served.load(Relaxed);
    until("many more come", SOON, || (served.load(Relaxed) > before + 100).then_some(()));
    over.store(true, Relaxed);
    visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    assert_eq!(*refused.lock().unwrap(), Vec::<String>::new());

    // Who was there is still there, and misses nothing.
    cameras.iter_mut().for_each(|camera| camera.run_to(50));
    for player in &mut players {
        let numbers: Vec<_> = player.pictures_up_to(49).iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..50).collect::<Vec<_>>());
    }
    // Who comes is served by the new one, which also takes commands.
    let mut camera = Camera::new(server.open("new", Role::Publish));
    let mut player = server.open("new", Role::Play);
    camera.run_to(1);
    assert_eq!(player.picture().0, 0);
    let output = server.command("reload");
    assert!(output.status.success(), "{output:?}");
    let status = String::from_utf8(server.command("status").stdout).unwrap();
    assert!(status.contains(&format!("running: process {new}")), "{status}");

    // The old one ends when its last client has left.
    drop((cameras, players));
    server.ends();
    camera.run_to(2);
    assert_eq!(player.picture().0, 1);
    assert_eq!(server.reigns(), Some(new));
}

#[test]
fn a_process_that_does_not_come_up_takes_nothing() {
    let server = Dynasty::found("");
    let old = server.first.id();
    let mut camera = Camera::new(server.open("s", Role::Publish));
    let mut player = server.open("s", Role::Play);
    let config = fs::read_to_string(server.dir.join("oxcast.conf")).unwrap();
    // The command looks at it before it asks …
    fs::write(server.dir.join("oxcast.conf"), "nonsense").unwrap();
    let output = server.command("upgrade");
    assert!(!output.status.success());
    // … the signal does not.
    let pid = Pid::from_raw(old.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::USR2).unwrap();
    server.says("upgrade: the new process has not come up");
    assert_eq!((server.reigns(), server.answers()), (Some(old), Some(old)));
    camera.run_to(1);
    assert_eq!(player.picture().0, 0);

    fs::write(server.dir.join("oxcast.conf"), config).unwrap();
    kill_process(pid, Signal::USR2).unwrap();
    until("another process reigns", SOON, || server.reigns().filter(|pid| *pid != old));
}

#[test]
fn a_drain_may_have_an_end() {
    let mut server = Dynasty::found("grace_limit 0.5;");
    let mut camera = Camera::new(server.open("s", Role::Publish));
    camera.run_to(1);
    assert!(server.command("upgrade").status.success());
    server.says("`grace_limit` of 500ms is over, connections cut: 1");
    server.ends();
    camera.client.closed();
}
