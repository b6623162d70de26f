//! The server becomes another user once it has what only root can have; and a service manager is told how it does.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, geteuid};

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, directory, free_port, oxcast, start, until};
use crate::media::Camera;

/// `nobody` is everywhere; whether this process may become it. Says so if not.
fn may_become_nobody() -> bool {
    let may = geteuid().is_root();
    if !may {
        eprintln!("skipped: this needs root");
    }
    may
}

/// A port below 1024 that nobody uses.
fn low_port() -> u16 {
    (700..1000).rev().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

/// A folder that everybody may look into; that of the tests may be root's alone.
fn public_directory(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("oxcast-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn config(rtmp: SocketAddr, more: &str) -> String {
    format!(
        "listen {rtmp}; daemon off; pid ./objs/oxcast.pid; srs_log_tank file; srs_log_file ./logs/a.log; {more}
        vhost __defaultVhost__ {{ hls {{ enabled on; hls_fragment 1; hls_path ./html; }} }}"
    )
}

#[test]
fn a_port_of_root_and_files_of_nobody() {
    if !may_become_nobody() {
        return;
    }
    let dir = public_directory("user");
    let rtmp = SocketAddr::from((Ipv4Addr::LOCALHOST, low_port()));
    let mut running = start(&dir, &config(rtmp, "user nobody;"), &[]);
    until("it listens", SOON, || {
        assert_eq!(running.ended(), None, "{:?}", running.err.all());
        TcpStream::connect(rtmp).ok()
    });
    let mut publisher = Client::open(rtmp, &format!("rtmp://{rtmp}/live/a"), rtmp::Role::Publish);
    publisher.start();
    let mut camera = Camera::new(publisher);
    camera.run_to(100);

    let nobody = fs::metadata(dir.join("logs/a.log")).unwrap().uid();
    assert_ne!(nobody, 0);
    // All threads, for good, and without the groups of root.
    let proc = Path::new("/proc").join(running.id().to_string());
    for task in fs::read_dir(proc.join("task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let ids = |name: &str| {
            line(name).split_whitespace().map(|id| id.parse::<u32>().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(ids("Uid:"), [nobody; 4], "{status}");
        assert!(ids("Gid:").iter().all(|gid| *gid != 0) && !ids("Groups:").contains(&0), "{status}");
        assert_eq!(line("CapEff:").trim().trim_matches('0'), "", "{status}");
    }
    let segment = until("a segment", SOON, || {
        let files = fs::read_dir(dir.join("html/live")).ok()?;
        files.flatten().map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "ts"))
    });
    for file in [
        &*segment,
        &dir.join("html"),
        &dir.join("objs"),
        &dir.join("objs/oxcast.pid"),
        &dir.join("objs/oxcast.id"),
    ] {
        assert_eq!(fs::metadata(file).unwrap().uid(), nobody, "{}", file.display());
    }
    // Who has no root any more can still open his log anew.
    fs::rename(dir.join("logs/a.log"), dir.join("logs/b.log")).unwrap();
    running.signal(Signal::USR1);
    until("the log is there again", SOON, || fs::metadata(dir.join("logs/a.log")).ok());
    let log = fs::read_to_string(dir.join("logs/b.log")).unwrap();
    assert!(log.contains(&format!("running as user nobody, uid={nobody}")), "{log}");
    running.signal(Signal::TERM);
    running.succeed(SOON);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn who_cannot_become_it_says_so_and_does_not_start() {
    let dir = public_directory("refused");
    let rtmp = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut running = start(&dir, &config(rtmp, "user no-such-user;"), &[]);
    assert_eq!(running.wait(SOON).code(), Some(255));
    assert!(running.err.all()[0].contains("there is no user no-such-user"), "{:?}", running.err.all());
    if may_become_nobody() {
        // Without root: another user than the one that is asked for.
        let mut setpriv = Command::new("setpriv");
        setpriv.current_dir(&dir).args(["--reuid", "1", "--regid", "1", "--clear-groups"]);
        setpriv.arg(oxcast().get_program()).args(["-c", "oxcast.conf"]);
        fs::write(dir.join("oxcast.conf"), config(rtmp, "user nobody;")).unwrap();
        let mut running = Running::start("setpriv", &mut setpriv);
        assert_eq!(running.wait(SOON).code(), Some(255));
        let said = running.err.all().join("\n");
        assert!(
            said.contains("`user nobody` needs a start as root, and this process is of user 1"),
            "{said}"
        );
    }
    fs::remove_dir_all(dir).unwrap();
}

/// A server of a service manager that listens at `notify` in this directory; and where it takes RTMP.
fn start_notifying(dir: &Path, variables: &[(&str, &str)]) -> (Running, SocketAddr) {
    let rtmp = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let config = format!(
        "listen {rtmp}; daemon off; pid ./oxcast.pid; srs_log_tank console; vhost __defaultVhost__ {{ }}"
    );
    fs::write(dir.join("oxcast.conf"), config).unwrap();
    let mut command = oxcast();
    command.current_dir(dir).args(["-c", "oxcast.conf"]);
    command.env("NOTIFY_SOCKET", dir.join("notify")).envs(variables.iter().copied());
    (Running::start("oxcast", &mut command), rtmp)
}

#[test]
fn a_service_manager_is_told() {
    let dir = directory();
    let manager = UnixDatagram::bind(dir.join("notify")).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let hear = || {
        let mut buffer = [0; 512];
        let n = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    // The next message that is not about being alive.
    let news = || std::iter::repeat_with(hear).find(|said| said != "WATCHDOG=1").unwrap();
    let (mut running, rtmp) = start_notifying(&dir, &[("WATCHDOG_USEC", "2000000")]);
    assert_eq!(news(), "READY=1\nSTATUS=serving");
    TcpStream::connect(rtmp).unwrap();
    // It lives, and says so twice in the time that it has.
    for _ in 0..2 {
        let start = std::time::Instant::now();
        assert_eq!(hear(), "WATCHDOG=1");
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    running.signal(Signal::HUP);
    let reloading = news();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|text| text.lines().next());
    assert!(micros.is_some_and(|micros| micros.parse::<u64>().is_ok()), "{reloading}");
    assert_eq!(news(), "READY=1\nSTATUS=serving");
    running.signal(Signal::TERM);
    assert_eq!(news(), "STOPPING=1\nSTATUS=stopping");
    running.succeed(SOON);
}

#[test]
fn the_watchdog_of_another_process_is_none_of_its_business() {
    let dir = directory();
    let manager = UnixDatagram::bind(dir.join("notify")).unwrap();
    manager.set_nonblocking(true).unwrap();
    let (running, _) = start_notifying(&dir, &[("WATCHDOG_USEC", "1200000"), ("WATCHDOG_PID", "1")]);
    let mut heard = String::new();
    until("it is ready, and the watchdog of another process is none of its business", SOON, || {
        let mut buffer = [0; 512];
        while let Ok(n) = manager.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        heard.contains("READY=1").then_some(())
    });
    assert!(!heard.contains("WATCHDOG"), "{heard}");
    drop(running);
}
