//! The server in the background, under a parent, and asked for its status.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::child::Running;
use crate::harness::{SOON, directory, free_port, oxcast, ready, start, until};

/// A configuration that goes to the background, even if the tests run in a container.
fn background(port: u16) -> String {
    format!(
        "listen 127.0.0.1:{port}; daemon on; disable_daemon_for_docker off; pid ./oxcast.pid;
        srs_log_tank file; srs_log_file ./logs/a.log; vhost __defaultVhost__ {{ }}"
    )
}

/// A shell line with the binary as `$0` in a directory with this configuration.
fn shell(dir: &Path, config: &str, line: &str) -> Running {
    fs::write(dir.join("oxcast.conf"), config).unwrap();
    let mut command = Command::new("sh");
    command.current_dir(dir).args(["-c", line]).arg(oxcast().get_program());
    for (name, _) in oxcast().get_envs() {
        command.env_remove(name);
    }
    Running::start("sh", &mut command)
}

/// The answer of `oxcast status`.
fn status(dir: &Path) -> (Option<i32>, String) {
    let mut command = oxcast();
    let mut running =
        Running::start("status", command.current_dir(dir).args(["status", "-c", "oxcast.conf"]));
    let code = running.wait(SOON).code();
    (code, running.out.all().join("\n"))
}

/// A server in the background; it does not survive this.
struct Daemon {
    dir: PathBuf,
    pid: Pid,
}

impl Daemon {
    /// The one that has been started in this directory.
    fn in_directory(dir: &Path) -> Self {
        let text = fs::read_to_string(dir.join("oxcast.pid")).unwrap();
        Self { dir: dir.into(), pid: Pid::from_raw(text.parse().unwrap()).unwrap() }
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(file)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("logs/a.log")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits until it is no more; nobody else may be there to bury it. Its first thread may be dead before the others,
    /// which hold its files still.
    fn ends(&self) {
        until("the daemon ends", SOON, || {
            let stat = fs::read_to_string(self.proc("stat")).unwrap_or_default();
            let threads = fs::read_dir(self.proc("task")).map_or(0, Iterator::count);
            (stat.is_empty() || stat.contains(") Z ") && threads <= 1).then_some(())
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

#[test]
fn the_command_returns_when_the_daemon_serves() {
    let (dir, port) = (directory(), free_port());
    // The shell waits until nobody holds the pipe any more.
    let mut started = shell(&dir, &background(port), "said=$(\"$0\" -c oxcast.conf 2>&1); echo \"$? $said\"");
    started.succeed(SOON);
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    let daemon = Daemon::in_directory(&dir);
    let log = dir.join("logs/a.log");
    assert_eq!(
        started.out.all(),
        [format!(
            "0 oxcast {}: process {} runs in the background, the log goes to {}",
            server::VERSION,
            daemon.pid,
            log.display()
        )]
    );
    let line = until("the log says so, too", SOON, || {
        daemon.log().lines().find(|line| line.contains("ready on")).map(str::to_owned)
    });
    assert!(line.contains(&format!("][{}][", daemon.pid)), "{line}");

    // Nothing is left of the shell: its session, its terminal, its pipes. The directory is the same, as in SRS.
    let stat = fs::read_to_string(daemon.proc("stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap();
    assert_eq!(session, daemon.pid.to_string(), "{stat}");
    for fd in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(fs::read_link(daemon.proc(fd)).unwrap(), Path::new("/dev/null"), "{fd}");
    }
    assert_eq!(fs::read_link(daemon.proc("cwd")).unwrap(), fs::canonicalize(&dir).unwrap());
    assert_eq!(fs::read_to_string(daemon.proc("comm")).unwrap(), "oxcast\n");
    let line = fs::read(daemon.proc("cmdline")).unwrap();
    assert!(line.ends_with(b"oxcast\0-c\0oxcast.conf\0"), "{}", String::from_utf8_lossy(&line));

    daemon.signal(Signal::TERM);
    daemon.ends();
    assert!(daemon.log().trim_end().ends_with("has stopped, pid file ./oxcast.pid"), "{}", daemon.log());
}

#[test]
fn a_daemon_that_does_not_start_is_seen() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = directory();
    let mut refused = start(&dir, &background(port), &[]);
    assert_eq!(refused.wait(SOON).code(), Some(234));
    let said = refused.err.all();
    assert!(said.len() == 1 && said[0].contains(&format!("cannot listen at 127.0.0.1:{port}")), "{said:?}");
    assert_eq!(refused.out.all(), Vec::<String>::new());
    // At boot, nobody looks at standard error.
    assert!(fs::read_to_string(dir.join("logs/a.log")).unwrap().contains(&said[0]["oxcast: ".len()..]));

    let mut first = start(&dir, &background(free_port()), &[]);
    first.succeed(SOON);
    let daemon = Daemon::in_directory(&dir);
    let mut second = start(&dir, &background(free_port()), &[]);
    assert_eq!(second.wait(SOON).code(), Some(11));
    let said = second.err.all().join("\n");
    assert!(said.contains(&format!("already running as process {}", daemon.pid)), "{said}");
}

#[test]
fn a_start_that_is_interrupted_starts_nothing() {
    let (dir, port) = (directory(), free_port());
    // A log that nobody reads yet holds the start up.
    fs::create_dir(dir.join("logs")).unwrap();
    let log = dir.join("logs/a.log");
    Running::start("mkfifo", Command::new("mkfifo").arg(&log)).succeed(SOON);
    let mut starter = start(&dir, &background(port), &[]);
    until("the daemon has come so far", SOON, || {
        fs::read_to_string(dir.join("oxcast.pid")).ok().filter(|pid| !pid.is_empty())
    });
    let daemon = Daemon::in_directory(&dir);
    starter.signal(Signal::KILL);
    while starter.ended().is_none() {
        std::thread::yield_now();
    }
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("ready on") && said.contains("the start was interrupted: "), "{said}");
    daemon.ends();
}

#[test]
fn a_daemon_that_logs_to_the_console_keeps_its_output() {
    let (dir, port) = (directory(), free_port());
    let config = background(port).replace("srs_log_tank file", "srs_log_tank console");
    // The variable of another start that was passed on means nothing.
    shell(&dir, &config, "OXCAST_STARTER=1 \"$0\" -c oxcast.conf > said 2>&1").succeed(SOON);
    let daemon = Daemon::in_directory(&dir);
    daemon.signal(Signal::USR1);
    let said = until("the log goes on", SOON, || {
        fs::read_to_string(dir.join("said")).ok().filter(|said| said.contains("reopened"))
    });
    assert!(said.contains("runs in the background, the log goes to this standard output"), "{said}");
}

#[test]
fn the_status_is_that_of_service_scripts() {
    let (dir, port) = (directory(), free_port());
    fs::write(dir.join("oxcast.conf"), background(port)).unwrap();
    let stopped = (Some(3), format!("not running: nobody holds {}", dir.join("oxcast.pid").display()));
    assert_eq!(status(&dir), stopped);

    start(&dir, &background(port), &[]).succeed(SOON);
    let daemon = Daemon::in_directory(&dir);
    let (code, said) = status(&dir);
    assert_eq!(code, Some(0), "{said}");
    let start_of = format!("running: process {}, oxcast {}, up 00:00:", daemon.pid, server::VERSION);
    assert!(said.starts_with(&start_of), "{said}");
    assert!(said.contains(" MiB, processor ") && said.ends_with("% on average"), "{said}");

    daemon.signal(Signal::TERM);
    daemon.ends();
    assert_eq!(status(&dir), stopped);

    start(&dir, &background(port), &[]).succeed(SOON);
    let daemon = Daemon::in_directory(&dir);
    daemon.signal(Signal::KILL);
    daemon.ends();
    let file = dir.join("oxcast.pid");
    let dead = format!("dead: process {} has ended without cleaning up {}", daemon.pid, file.display());
    assert_eq!(status(&dir), (Some(1), dead));

    fs::write(dir.join("oxcast.conf"), "nonsense on;").unwrap();
    let (code, said) = status(&dir);
    assert_eq!(code, Some(4));
    assert!(said.contains("nonsense"), "{said}");
}

/// Stops with its parent.
fn supervised(port: u16) -> String {
    format!(
        "listen 127.0.0.1:{port}; daemon off; asprocess on; pid ./oxcast.pid; srs_log_tank console;
        vhost __defaultVhost__ {{ }}"
    )
}

#[test]
fn it_ends_with_its_parent() {
    let (dir, port) = (directory(), free_port());
    // Not the shell itself must become the server.
    let mut parent = shell(&dir, &supervised(port), "\"$0\" -c oxcast.conf; exit $?");
    let says = |text: &'static str| {
        let found = parent.out.wait(SOON, |lines| lines.iter().find(|line| line.contains(text)).cloned());
        found.unwrap_or_else(|| panic!("not {text:?} in {:?} {:?}", parent.out.all(), parent.err.all()))
    };
    says("ready on");
    let daemon = Daemon::in_directory(&dir);
    assert_ne!(daemon.pid.to_string(), parent.id().to_string());
    parent.signal(Signal::KILL);
    says("the parent process has changed: stopping");
    says("has stopped");
    daemon.ends();
    parent.wait(SOON);
}

#[test]
fn it_does_not_start_without_a_parent_to_hang_on() {
    let (dir, port) = (directory(), free_port());
    // In a container of its own, the shell is the first process. Not every machine lets us make one.
    let inside =
        "command -v unshare >/dev/null && unshare --map-root-user --pid --fork true 2>/dev/null || exit 99
        exec unshare --map-root-user --pid --fork sh -c '\"$0\" -c oxcast.conf; exit $?' \"$0\"";
    let mut started = shell(&dir, &supervised(port), inside);
    let code = started.wait(SOON).code();
    if code == Some(99) {
        eprintln!("not tested: this machine makes no namespaces for us");
        return;
    }
    assert_eq!(code, Some(253), "{:?}", started.err.all());
    assert!(started.err.all().join("\n").contains("`asprocess on`, but the parent process is"));
    assert!(!dir.join("oxcast.pid").exists());
}

#[test]
fn in_the_foreground_it_has_a_status_too() {
    let (dir, port) = (directory(), free_port());
    let running = ready(
        &dir,
        &background(port).replace("daemon on", "daemon off").replace("tank file", "tank console"),
    );
    let (code, said) = status(&dir);
    assert_eq!(code, Some(0));
    assert!(said.starts_with(&format!("running: process {}, ", running.id())), "{said}");
}

#[test]
fn the_init_script() {
    let (dir, port) = (directory(), free_port());
    // As the script says, it runs in the background even so.
    fs::write(dir.join("oxcast.conf"), background(port).replace("daemon on", "daemon off")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/init.d/oxcast");
    let run = |word: &str| {
        let mut command = Command::new("sh");
        command.arg(&script).arg(word).env("OXCAST_BIN", oxcast().get_program());
        command.env("OXCAST_CONF", dir.join("oxcast.conf")).env("OXCAST_DIR", &dir);
        let mut running = Running::start(word, &mut command);
        let code = running.wait(SOON).code().unwrap();
        (code, [running.out.all(), running.err.all()].concat().join("\n"))
    };
    let says = |word: &str, want: i32, text: &str| {
        let (code, said) = run(word);
        assert!(code == want && said.contains(text), "{word}: {code} {said}");
    };
    says("status", 3, "not running");
    says("stop", 0, "not running");
    says("check", 0, "test is successful");
    says("start", 0, "runs in the background");
    let first = Daemon::in_directory(&dir);
    says("start", 0, "running already");
    says("status", 0, &format!("running: process {}, ", first.pid));
    says("reload", 0, "reloaded, nothing has changed");
    fs::rename(dir.join("logs/a.log"), dir.join("logs/b.log")).unwrap();
    says("logrotate", 0, "opened anew");
    until("there is a new log", SOON, || fs::metadata(dir.join("logs/a.log")).ok());

    says("restart", 0, "stopped");
    first.ends();
    let second = Daemon::in_directory(&dir);
    assert_ne!(second.pid, first.pid);
    let good = fs::read(dir.join("oxcast.conf")).unwrap();
    fs::write(dir.join("oxcast.conf"), [&good[..], b"nonsense on;"].concat()).unwrap();
    says("restart", 1, "nonsense");
    fs::write(dir.join("oxcast.conf"), [&good[..], b"grace_start_wait 1; grace_final_wait 1;"].concat())
        .unwrap();
    says("status", 0, &format!("running: process {}, ", second.pid));
    says("restart", 0, "stopped");
    let third = Daemon::in_directory(&dir);
    says("grace", 0, "stopped");
    third.ends();
    says("grace", 1, "not running");
    says("dance", 2, "usage");
}
