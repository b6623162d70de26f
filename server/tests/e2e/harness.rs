//! The server under test: started on free ports with a configuration of its own, killed at the end, and asked
//! whether it has panicked meanwhile.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::child::{Lines, Running};
use crate::http;

/// How long anything may take that should happen at once; machines that run tests are busy.
pub const SOON: Duration = Duration::from_secs(10);

/// What a test wants configured, besides ports.
#[derive(Clone, Copy, Default)]
pub struct Setup<'a> {
    /// At the top.
    pub top: &'a str,
    /// In the default vhost.
    pub vhost: &'a str,
    /// In `http_remux` of the default vhost.
    pub remux: &'a str,
    /// In `http_server`.
    pub http: &'a str,
    /// In `http_api`.
    pub api: &'a str,
    /// The API is on the port of the HTTP server.
    pub one_port: bool,
    /// In place of the default vhost.
    pub vhosts: &'a str,
    /// A disk of its own at `./disk`, in the words of tmpfs (`size=1m`); see [`can_mount`].
    pub disk: &'a str,
}

/// See the module.
pub struct Server {
    running: Running,
    started: bool,
    stopped: bool,
    /// Its working directory.
    pub dir: PathBuf,
    /// Where it serves RTMP.
    pub rtmp: SocketAddr,
    /// Where it serves HTTP-FLV.
    pub http: SocketAddr,
    /// Where it serves the API.
    pub api: SocketAddr,
}

/// The binary.
pub fn oxcast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxcast"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SRS_")) {
        command.env_remove(name);
    }
    command
}

/// Whether servers can have disks of their own here. Says so if not.
pub fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["-rm", "true"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!("skipped: mounting is not allowed here");
    }
    can
}

/// The command in a namespace where a disk is mounted.
fn with_disk(disk: &str, command: Command) -> Command {
    const MOUNT: &str = "mkdir disk && mount -t tmpfs -o \"$0\" tmpfs disk && exec \"$@\"";
    if disk.is_empty() {
        return command;
    }
    let mut wrapped = Command::new("unshare");
    wrapped.args(["-rm", "sh", "-c", MOUNT, disk]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// The binary with the configuration in its folder.
fn configured() -> Command {
    let mut command = oxcast();
    command.args(["-c", "oxcast.conf"]);
    command
}

/// Starts the binary in a directory, with a configuration if it is not empty.
pub fn start(dir: &Path, config: &str, args: &[&str]) -> Running {
    let mut command = oxcast();
    command.current_dir(dir).args(args);
    if !config.is_empty() {
        fs::write(dir.join("oxcast.conf"), config).unwrap();
        command.args(["-c", "oxcast.conf"]);
    }
    Running::start("oxcast", &mut command)
}

/// Starts it in the foreground with the log on the console, and waits until it is ready.
pub fn ready(dir: &Path, config: &str) -> Running {
    let running = start(dir, config, &[]);
    let ready =
        running.out.wait(SOON, |lines| lines.iter().any(|line| line.contains("ready on")).then_some(()));
    assert!(ready.is_some(), "{:?}{:?}", running.out.all(), running.err.all());
    running
}

/// A fresh directory.
pub fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{}-{n}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A port that nobody uses, below those that the system gives to clients. No two calls give the same.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: u32 = 20_000;
    loop {
        let n = std::process::id() * 101 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (n % PORTS) as u16;
        let address = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// Waits until `found` finds something.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Server {
    /// A server with nothing special.
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// A server with something special in the default vhost.
    pub fn with_vhost(vhost: &str) -> Self {
        Self::with(Setup { vhost, ..Setup::default() })
    }

    /// A server.
    pub fn with(setup: Setup<'_>) -> Self {
        // Somebody else may take a port between our look at it and the server's.
        for _ in 0..5 {
            if let Some(server) = Self::attempt(setup) {
                return server;
            }
        }
        panic!("no free ports");
    }

    fn attempt(
        Setup { top, vhost, remux, http: more, api: rules, one_port, vhosts, disk }: Setup<'_>,
    ) -> Option<Self> {
        let dir = directory();
        let [rtmp, http, api] = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let api = if one_port { http } else { api };
        let vhosts = match vhosts {
            "" => format!(
                "vhost __defaultVhost__ {{
                    http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; {remux} }}
                    {vhost}
                }}"
            ),
            vhosts => vhosts.to_owned(),
        };
        let config = format!(
            "listen {rtmp};
            pid ./oxcast.pid;
            daemon off;
            srs_log_tank console;
            http_server {{ enabled on; listen {http}; dir ./html; {more} }}
            http_api {{ enabled on; listen {api}; {rules} }}
            {top}
            {vhosts}
            "
        );
        fs::write(dir.join("oxcast.conf"), config).unwrap();
        let running = Running::start("oxcast", with_disk(disk, configured()).current_dir(&dir));
        let mut server = Self { running, started: true, stopped: false, dir, rtmp, http, api };
        server.started = server.answers();
        server.started.then_some(server)
    }

    /// Waits until it does; it may have ended, because a port is taken.
    #[track_caller]
    fn answers(&mut self) -> bool {
        until("the server answers", SOON * 2, || match self.running.ended() {
            Some(status) if status.code() == Some(234) => Some(false),
            Some(status) => panic!("the server ended: {status}\n{}", self.said()),
            None => http::get(self.api, "/api/v1/versions").ok().map(|_| true),
        })
    }

    /// Kills it, and starts it again in its folder and on its ports. Not with a disk of its own.
    #[track_caller]
    pub fn kill_and_start(&mut self) {
        self.running.signal(Signal::KILL);
        self.running.wait(SOON);
        self.running = Running::start("oxcast", configured().current_dir(&self.dir));
        assert!(self.answers(), "somebody has taken a port");
    }

    /// The log.
    pub fn log(&self) -> &Lines {
        &self.running.out
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    fn said(&self) -> String {
        let mut lines = self.running.out.all();
        let skip = lines.len().saturating_sub(60);
        lines.drain(..skip);
        lines.extend(self.running.err.all());
        lines.join("\n")
    }

    /// Waits for a line of the log with all these parts.
    #[track_caller]
    pub fn logged(&self, parts: &[&str]) -> String {
        self.logged_times(parts, 1)
    }

    /// Waits until so many lines of the log have all these parts; the last of them.
    #[track_caller]
    pub fn logged_times(&self, parts: &[&str], times: usize) -> String {
        let found = self.log().wait(SOON, |lines| {
            lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).nth(times - 1).cloned()
        });
        found.unwrap_or_else(|| panic!("the log has no line with {parts:?}, {times} times"))
    }

    /// The address of a stream over RTMP.
    pub fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.rtmp)
    }

    /// The address of a stream over HTTP-FLV.
    pub fn flv_url(&self, stream: &str) -> String {
        format!("http://{}/live/{stream}.flv", self.http)
    }

    /// What the API answers.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Value {
        let reply = http::get(self.api, path).unwrap();
        assert_eq!(reply.status, 200, "{path}");
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// The clients, as the API lists them.
    #[track_caller]
    pub fn clients(&self) -> Vec<Value> {
        self.ask("/api/v1/clients/?count=1000")["clients"].as_array().unwrap().clone()
    }

    /// Waits until so many clients are listed.
    #[track_caller]
    pub fn has_clients(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} clients"), SOON, || Some(self.clients()).filter(|all| all.len() == count))
    }

    /// The stream of this name, as the API lists it.
    #[track_caller]
    pub fn stream(&self, name: &str) -> Option<Value> {
        let all = self.ask("/api/v1/streams/?count=1000");
        // Its own name may be that of a file, if an HTTP player came first.
        let end = format!("/{name}");
        let is = |url: &Value| url.as_str().is_some_and(|url| url.ends_with(&end));
        all["streams"].as_array().unwrap().iter().find(|s| is(&s["url"])).cloned()
    }

    /// Waits until the server has taken so many video frames of a stream.
    #[track_caller]
    pub fn took(&self, name: &str, frames: u64) {
        until(&format!("{frames} frames of {name}"), SOON, || {
            self.stream(name).filter(|s| s["frames"].as_u64() >= Some(frames))
        });
    }

    /// Ends a client through the API.
    #[track_caller]
    pub fn kick(&self, client: &str) {
        let reply = http::request(self.api, "DELETE", &format!("/api/v1/clients/{client}"), &[]).unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap()["code"], 0);
    }

    /// The folder of the disk of its own.
    pub fn disk(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.id());
        Path::new(&root).join(self.dir.strip_prefix("/").unwrap()).join("disk")
    }

    /// Stops it with SIGTERM; it must end well, and soon.
    #[track_caller]
    pub fn stop(&mut self) {
        self.running.signal(Signal::TERM);
        self.running.succeed(SOON);
        self.stopped = true;
    }

    /// Ends it with SIGQUIT, as soon as its clients have left.
    #[track_caller]
    pub fn quit(&mut self) {
        self.running.signal(Signal::QUIT);
        self.running.succeed(SOON);
        self.stopped = true;
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let process = procfs::process::Process::new(self.id() as i32).unwrap();
        process.statm().unwrap().resident * procfs::page_size()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log ends with:\n{}", self.said());
            return;
        }
        let ended = self.running.ended();
        let lines = [self.running.out.all(), self.running.err.all()].concat();
        let _ = fs::remove_dir_all(&self.dir);
        if !self.started {
            return;
        }
        assert!(ended.is_none() || self.stopped, "the server has ended: {ended:?}\n{}", lines.join("\n"));
        let bad = lines.iter().find(|line| line.contains("panicked") || line.contains("[ERROR]"));
        assert_eq!(bad, None, "in the server's log");
    }
}
