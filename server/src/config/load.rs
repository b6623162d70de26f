//! From a checked tree to a [`Config`]: every value read with SRS's rules, and what those rules forgive put
//! into a warning that says which value counts.

mod access;
mod auth;
mod dash;
mod dvr;
mod forward;
mod hls;
mod observe;
mod rtc;
mod storage;
mod task;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::directives::{self, Directive, Kind, inside};
use super::environment::Environment;
use super::report::{Error, Problem};
use super::tree::{self, Files, Node, first};
use super::value::{self, Number, Value};
use super::{
    Breaker, Config, Endpoint, Grace, Hds, HttpApi, HttpFormat, HttpRemux, HttpServer, HttpStatic, Jitter,
    Level, Log, LogFormat, Play, Publish, Rotation, Shed, Stats, Tank, Threshold, Tls, Vhost, Written, check,
    legacy,
};

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// RTMP, HTTP-FLV, HLS in memory, WebRTC and the API on SRS's ports, in the foreground; for a start without any file.
    BuiltIn,
    /// Defaults and environment variables only; nothing listens unless a variable says so.
    EnvOnly,
}

impl Config {
    /// Reads a configuration. Variables in `env` override what is read.
    ///
    /// # Errors
    /// The first error of syntax; otherwise everything that is unknown, misplaced, not built yet or invalid.
    pub fn load(source: &Source, env: &Environment) -> Result<Self, Box<Error>> {
        let read = |path: &Path| std::fs::read(path);
        match source {
            Source::File(path) => {
                let text = read(path).map_err(|error| unreadable(path, &error))?;
                load(&path.to_string_lossy(), &text, env, &read, Strictness::File)
            }
            Source::BuiltIn => load("built-in", BUILT_IN.as_bytes(), env, &read, Strictness::File),
            Source::EnvOnly => load("environment", ENV_ONLY.as_bytes(), env, &read, Strictness::EnvOnly),
        }
    }

    /// Reads `text` as the file `name`, without any file system.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(name: &str, text: &[u8], env: &Environment) -> Result<Self, Box<Error>> {
        load(name, text, env, &|_| Err(io::ErrorKind::NotFound.into()), Strictness::File)
    }
}

const BUILT_IN: &str = "
    listen 1935;
    daemon off;
    srs_log_tank console;
    http_api { enabled on; }
    http_server { enabled on; }
    rtc_server { enabled on; tcp { enabled on; } protocol all; }
    vhost __defaultVhost__ {
        http_remux { enabled on; }
        rtc { enabled on; rtmp_to_rtc on; rtc_to_rtmp on; }
        hls { enabled on; hls_storage ram; hls_fragment 2; hls_window 12; }
    }
";

const ENV_ONLY: &str = "daemon off; srs_log_tank console; vhost __defaultVhost__ { }";

/// RTMP chunk sizes that make sense, in bytes.
const CHUNK_SIZES: std::ops::RangeInclusive<u32> = 128..=65_536;
const MOST_MERGED_MESSAGES: u32 = 128;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    File,
    /// Nothing has to listen.
    EnvOnly,
}

fn unreadable(path: &Path, error: &io::Error) -> Box<Error> {
    let path = path.display();
    if error.kind() == io::ErrorKind::NotFound {
        return Error::one(Problem::new(format!("there is no configuration file `{path}`")));
    }
    Error::cannot_open(Problem::new(format!("cannot read the configuration file `{path}`: {error}")))
}

fn load(
    name: &str,
    text: &[u8],
    env: &Environment,
    read: tree::Read,
    strictness: Strictness,
) -> Result<Config, Box<Error>> {
    let (mut nodes, files) = tree::parse(name, text, read)?;
    if nodes.is_empty() {
        return Err(Error::one(Problem::new(format!("the configuration `{name}` is empty"))));
    }
    let mut warnings = legacy::rewrite(&mut nodes, &files);
    let mut problems = check::names(&nodes, &files);
    let misnamed = !problems.is_empty();
    let verdict = check::unbuilt(&nodes, &files, env);
    problems.extend(verdict.problems);
    warnings.extend(check::oddities(&nodes, &files));
    warnings.extend(verdict.warnings);
    warnings.extend(check::misspelt_variables(env));

    // Values are not judged while words may stand in the wrong place.
    let mut reader = Reader { files: &files, env, problems, warnings };
    let config = if misnamed { None } else { Some(reader.config(&nodes, strictness)) };
    let Reader { mut problems, mut warnings, .. } = reader;
    problems.sort_by_cached_key(Problem::order);
    warnings.sort_by_cached_key(Problem::order);
    match config {
        Some(config) if problems.is_empty() => Ok(Config { warnings, ..config }),
        _ => Err(Error::many(problems)),
    }
}

/// A block that is being read; without nodes if it was not written.
#[derive(Clone, Copy)]
struct Block<'a> {
    path: &'static str,
    nodes: &'a [Node],
}

impl<'a> Block<'a> {
    fn inner(self, name: &str) -> Block<'a> {
        let path = row(self.path, name).path;
        Block { path, nodes: first(self.nodes, name).map(Node::block).unwrap_or_default() }
    }
}

struct Reader<'a> {
    files: &'a Files,
    env: &'a Environment,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn config(&mut self, nodes: &'a [Node], strictness: Strictness) -> Config {
        let top = Block { path: "", nodes };
        if self.switch(top, "is_full") {
            let message = "`is_full` marks the list of all directives, which is no configuration";
            let problem = self.value(top, "is_full").problem(self.files, 0, message);
            self.problems.push(problem.help("start from another file in `conf/`"));
        }
        let listen = self.endpoints(top, "listen");
        let rtmps = self.tls(top.inner("rtmps"));
        let unsaid = self.value(top, "listen").words.is_empty();
        if unsaid && rtmps.is_none() && strictness == Strictness::File {
            let problem = Problem::new("nothing says where to listen");
            self.problems.push(problem.help("add `listen 1935;` at the top of the file"));
        }
        let chunk_size = self.chunk_size(top).unwrap_or(1);
        let utc = self.switch(top, "utc_time");
        let vhosts = self.vhosts(nodes, chunk_size, utc);
        if vhosts.is_empty() {
            let problem = Problem::new("there is no vhost: every client will be refused");
            self.warn(problem.help("add `vhost __defaultVhost__ { }`"));
        }
        let http_server = self.http_server(top.inner("http_server"));
        let http_api = self.http_api(top.inner("http_api"), http_server.as_ref());
        Config {
            listen,
            rtmps,
            chunk_size,
            max_connections: self.max_connections(top),
            pid: self.path(top, "pid"),
            server_id: Some(self.text(top, "server_id")).filter(|id| !id.is_empty()),
            log: self.log(top),
            pithy_print: self.duration(top, "pithy_print_ms"),
            work_dir: self.path(top, "work_dir"),
            daemon: self.daemon(top),
            asprocess: self.asprocess(top),
            auto_reload: self.auto_reload(top),
            grace: Grace {
                start_wait: self.duration(top, "grace_start_wait"),
                final_wait: self.duration(top, "grace_final_wait"),
                force: self.switch(top, "force_grace_quit"),
                limit: Some(self.duration(top, "grace_limit")).filter(|limit| !limit.is_zero()),
            },
            breaker: self.breaker(top.inner("circuit_breaker")),
            http_api,
            http_server,
            rtc_server: self.rtc_server(top.inner("rtc_server")),
            user: self.user(top),
            traces: self.traces(top.inner("traces")),
            heartbeat: self.heartbeat(top.inner("heartbeat")),
            exporter: self.exporter(top.inner("exporter")),
            stats: self.stats(top.inner("stats")),
            task_log: self.task_log(top),
            vhosts,
            warnings: Vec::new(),
            written: Written::of(nodes, self.env),
        }
    }

    fn in_container(&mut self, top: Block<'a>) -> bool {
        self.switch(top, "in_docker") || self.env.is_container()
    }

    fn daemon(&mut self, top: Block<'a>) -> bool {
        let stays = self.in_container(top) && self.switch(top, "disable_daemon_for_docker");
        self.switch(top, "daemon") && !stays
    }

    fn asprocess(&mut self, top: Block<'a>) -> bool {
        let asprocess = self.switch(top, "asprocess");
        if asprocess && self.daemon(top) {
            let message = "`asprocess` follows the parent process, which a daemon leaves";
            let problem = self.value(top, "asprocess").problem(self.files, 0, message);
            self.problems.push(problem.help("write `daemon off;`"));
        }
        asprocess
    }

    /// Containers get their configuration from outside, where nobody can send a signal.
    fn auto_reload(&mut self, top: Block<'a>) -> bool {
        let in_container = self.in_container(top) && self.switch(top, "auto_reload_for_docker");
        self.switch(top, "inotify_auto_reload") || in_container
    }

    fn breaker(&mut self, block: Block<'a>) -> Option<Breaker> {
        let mut threshold = |percent, pulse| Threshold {
            percent: self.count(block, percent).unwrap_or(0),
            pulse: self.count(block, pulse).unwrap_or(0),
        };
        let breaker = Breaker {
            high: threshold("high_threshold", "high_pulse"),
            critical: threshold("critical_threshold", "critical_pulse"),
            dying: threshold("dying_threshold", "dying_pulse"),
            shed_players: match self.one_of(block, "shed_players", &["off", "critical", "dying"], 2) {
                0 => Shed::Never,
                1 => Shed::Critical,
                _ => Shed::Dying,
            },
        };
        self.switch(block, "enabled").then_some(breaker)
    }

    fn tls(&mut self, block: Block<'a>) -> Option<Tls> {
        self.switch(block, "enabled").then(|| Tls {
            listen: self.endpoints(block, "listen"),
            key: self.path(block, "key"),
            cert: self.path(block, "cert"),
        })
    }

    /// An API that shares the ports of the HTTP server shares them all, and over TLS its certificate.
    fn http_api(&mut self, block: Block<'a>, http_server: Option<&HttpServer>) -> Option<HttpApi> {
        let inner = block.inner("https");
        let mut https = self.tls(inner);
        if !self.switch(block, "enabled") {
            self.tls_alone(inner, https.is_some(), "http_api");
            return None;
        }
        let listen = self.endpoints(block, "listen");
        if let Some(http_server) = http_server.filter(|http_server| http_server.listen == listen) {
            let value = self.value(inner, "listen");
            if let (Some(own), Some(shared)) = (&https, &http_server.https)
                && !value.is_default()
                && own.listen != shared.listen
            {
                let message = "the API shares the port of the HTTP server, so it shares that of HTTPS, too";
                let problem = value.problem(self.files, 0, message);
                self.problems.push(problem.help("write the `listen` of `http_server { https { … } }`"));
            }
            https.clone_from(&http_server.https);
        }
        Some(HttpApi {
            listen,
            https,
            crossdomain: self.switch(block, "crossdomain"),
            raw: self.switch(block.inner("raw_api"), "enabled"),
            allow_reload: self.switch(block.inner("raw_api"), "allow_reload"),
            auth: self.auth(block.inner("auth")),
        })
    }

    fn tls_alone(&mut self, https: Block<'a>, enabled: bool, block: &str) {
        if enabled {
            let message = format!("`https` is on and `{block}` is off: nothing listens");
            let problem = self.value(https, "enabled").problem(self.files, 0, message);
            self.problems.push(problem.help(format!("write `{block} {{ enabled on; … }}`")));
        }
    }

    fn http_server(&mut self, block: Block<'a>) -> Option<HttpServer> {
        let https = self.tls(block.inner("https"));
        if !self.switch(block, "enabled") {
            self.tls_alone(block.inner("https"), https.is_some(), "http_server");
            return None;
        }
        Some(HttpServer {
            listen: self.endpoints(block, "listen"),
            https,
            dir: self.path(block, "dir"),
            crossdomain: self.switch(block, "crossdomain"),
        })
    }

    fn stats(&mut self, block: Block<'a>) -> Stats {
        let network = self.value(block, "network");
        let index = self.int(&network);
        if index < 0 {
            self.problems.push(network.problem(self.files, 0, "`network` counts addresses from 0"));
        }
        let disk = self.value(block, "disk").words.iter().map(|&disk| disk.to_owned()).collect();
        Stats { enabled: self.switch(block, "enabled"), network: usize::try_from(index).unwrap_or(0), disk }
    }

    fn max_connections(&mut self, top: Block<'a>) -> u32 {
        let value = self.value(top, "max_connections");
        let count = u32::try_from(self.int(&value)).unwrap_or(0);
        if count == 0 {
            let message = "`max_connections` must be at least 1";
            self.problems.push(value.problem(self.files, 0, message));
        }
        count
    }

    fn log(&mut self, top: Block<'a>) -> Log {
        let in_docker = self.in_container(top);
        let tank = self.value(top, "srs_log_tank");
        let console = tank.text() == "console" || (tank.is_default() && in_docker);
        if !matches!(tank.text(), "console" | "file") {
            let message = format!("`{}` is no log tank: `file` counts", tank.text());
            self.warn(tank.problem(self.files, 0, message));
        }
        Log {
            tank: if console { Tank::Console } else { Tank::File },
            level: self.level(top),
            file: self.path(top, "srs_log_file"),
            utc: self.switch(top, "utc_time"),
            format: match self.one_of(top, "srs_log_format", &["text", "json"], 0) {
                1 => LogFormat::Json,
                _ => LogFormat::Text,
            },
            rotation: self.rotation(top),
        }
    }

    fn rotation(&mut self, top: Block<'a>) -> Option<Rotation> {
        let value = self.value(top, "srs_log_max_size");
        let Some(max_size) = value::size(value.text()) else {
            let problem = value.problem(self.files, 0, format!("`{}` is no size", value.text()));
            self.problems.push(
                problem.help("write bytes, or a number with `k`, `m` or `g` behind it; 0 for no limit"),
            );
            return None;
        };
        if max_size == 0 {
            return None;
        }
        if max_size < Rotation::LEAST {
            let least = Rotation::LEAST;
            let message = format!("a log file has room for {least} bytes at least: {least} counts");
            self.warn(value.problem(self.files, 0, message));
        }
        let max_files = self.count(top, "srs_log_max_files").unwrap_or(0);
        Some(Rotation { max_size: max_size.max(Rotation::LEAST), max_files })
    }

    fn level(&mut self, top: Block<'a>) -> Level {
        let (new, old) = (self.value(top, "srs_log_level_v2"), self.value(top, "srs_log_level"));
        let (value, names) = if new.text().is_empty() {
            (old, ["verbose", "info", "trace", "warn", "error"])
        } else {
            (new, ["trace", "debug", "info", "warn", "error"])
        };
        let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
        let found = names.iter().zip(levels).find(|(name, _)| **name == value.text());
        found.map_or_else(
            || {
                let message = format!("`{}` is no log level: nothing is logged", value.text());
                let problem = value.problem(self.files, 0, message);
                self.warn(problem.help(format!("write one of {}", names.join(", "))));
                Level::Off
            },
            |(_, level)| level,
        )
    }

    fn vhosts(&mut self, nodes: &'a [Node], chunk_size: u32, utc: bool) -> Vec<Arc<Vhost>> {
        let mut vhosts: Vec<Arc<Vhost>> = Vec::new();
        let mut names = std::collections::HashSet::new();
        for node in nodes.iter().filter(|node| node.name.text == "vhost") {
            let Some(name) = node.value() else { continue };
            if names.insert(name.text.as_str()) {
                let block = Block { path: "vhost", nodes: node.block() };
                vhosts.push(Arc::new(self.vhost(&name.text, block, chunk_size, utc)));
            }
        }
        vhosts
    }

    fn vhost(&mut self, name: &str, block: Block<'a>, chunk_size: u32, utc: bool) -> Vhost {
        if let Some(second) = block.nodes.iter().filter(|node| node.name.text == "http_remux").nth(1) {
            let problem = Problem::new("a vhost has at most one `http_remux`");
            self.problems.push(problem.at(self.files.place(second.name.span)));
        }
        let enabled = self.switch(block, "enabled");
        let http_remux = self.http_remux(block.inner("http_remux"), enabled);
        let (mut hls, mut dash) = (self.hls(block.inner("hls"), utc), self.dash(block.inner("dash")));
        dash::share_chunks(&mut hls, &mut dash);
        if hls.is_some() && http_remux.as_ref().is_some_and(|remux| remux.format == HttpFormat::Ts) {
            let mount = self.value(block.inner("http_remux"), "mount");
            let message =
                "HLS and `http_remux` to `.ts` cannot be in one vhost: both would serve `.ts` addresses";
            let problem = mount.problem(self.files, 0, message);
            self.problems.push(problem.help("give one of them a vhost of its own"));
        }
        Vhost {
            name: name.to_owned(),
            enabled,
            min_latency: self.switch(block, "min_latency"),
            tcp_nodelay: self.switch(block, "tcp_nodelay"),
            chunk_size: self.chunk_size(block).unwrap_or(chunk_size),
            in_ack_size: self.count(block, "in_ack_size"),
            out_ack_size: self.count(block, "out_ack_size"),
            play: self.play(block.inner("play")),
            publish: self.publish(block.inner("publish")),
            http_remux,
            http_static: self.http_static(block.inner("http_static"), name),
            dvr: self.dvr(block.inner("dvr"), utc),
            hls,
            hls_sessions: self.hls_sessions(block.inner("hls")),
            dash,
            hds: self.hds(block.inner("hds")),
            storage: self.storage(block.inner("storage"), name),
            rtc: self.rtc(block.inner("rtc")),
            security: self.security(block.inner("security")),
            proxies: self.proxies(block.inner("security")),
            refer: self.refer(block.inner("refer")),
            token: self.token(block.inner("token")),
            signed_url: self.signed_url(block.inner("signed_url")),
            limits: self.limits(block.inner("limits")),
            hooks: self.hooks(block.inner("http_hooks"), block.inner("hls")).map(Arc::new),
            forward: self.forward(block.inner("forward"), block.inner("publish")).map(Arc::new),
            ingests: self.ingests(block),
            transcodes: self.transcodes(block),
            exec: self.exec(block.inner("exec")),
        }
    }

    fn play(&mut self, block: Block<'a>) -> Play {
        Play {
            gop_cache: self.switch(block, "gop_cache"),
            gop_cache_max_frames: self.count(block, "gop_cache_max_frames"),
            queue_length: self.duration(block, "queue_length"),
            time_jitter: self.jitter(block),
            atc: self.switch(block, "atc"),
            atc_auto: self.switch(block, "atc_auto"),
            mix_correct: self.switch(block, "mix_correct"),
            mw_latency: self.is_set(block, "mw_latency").then(|| self.duration(block, "mw_latency")),
            mw_msgs: self.is_set(block, "mw_msgs").then(|| self.merged_messages(block)),
            send_min_interval: self.duration(block, "send_min_interval"),
            reduce_sequence_header: self.switch(block, "reduce_sequence_header"),
        }
    }

    fn jitter(&mut self, block: Block<'a>) -> Jitter {
        let value = self.value(block, "time_jitter");
        match value.text() {
            "full" => Jitter::Full,
            "zero" => Jitter::Zero,
            "off" => Jitter::Off,
            other => {
                let message = format!("`{other}` is not full, zero or off: `off` counts");
                self.warn(value.problem(self.files, 0, message));
                Jitter::Off
            }
        }
    }

    fn merged_messages(&mut self, block: Block<'a>) -> u32 {
        let count = self.count(block, "mw_msgs").unwrap_or(0);
        if count > MOST_MERGED_MESSAGES {
            let message = format!("`{count}` is too many: {MOST_MERGED_MESSAGES} counts");
            self.warn(self.value(block, "mw_msgs").problem(self.files, 0, message));
        }
        count.min(MOST_MERGED_MESSAGES)
    }

    fn publish(&mut self, block: Block<'a>) -> Publish {
        Publish {
            mr: self.switch(block, "mr"),
            mr_latency: self.duration(block, "mr_latency"),
            first_packet_timeout: self.duration(block, "firstpkt_timeout"),
            normal_timeout: self.duration(block, "normal_timeout"),
            kickoff_for_idle: Some(self.duration(block, "kickoff_for_idle")).filter(|time| !time.is_zero()),
            parse_sps: self.switch(block, "parse_sps"),
            try_annexb_first: self.switch(block, "try_annexb_first"),
        }
    }

    fn http_remux(&mut self, block: Block<'a>, vhost_enabled: bool) -> Option<HttpRemux> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let mount = self.value(block, "mount");
        let format = match Path::new(mount.text()).extension().and_then(|extension| extension.to_str()) {
            Some("flv") => Some(HttpFormat::Flv),
            Some("ts") => Some(HttpFormat::Ts),
            Some("aac") => Some(HttpFormat::Aac),
            Some("mp3") => Some(HttpFormat::Mp3),
            _ => None,
        };
        if vhost_enabled && format.is_none() {
            let message = format!("`mount {}` does not end in `.flv`, `.ts`, `.aac` or `.mp3`", mount.text());
            self.problems.push(mount.problem(self.files, 0, message));
        }
        Some(HttpRemux {
            mount: mount.text().to_owned(),
            format: format.unwrap_or(HttpFormat::Flv),
            fast_cache: self.duration(block, "fast_cache"),
            drop_if_not_match: self.switch(block, "drop_if_not_match"),
            has_audio: self.switch(block, "has_audio"),
            has_video: self.switch(block, "has_video"),
            guess_has_av: self.switch(block, "guess_has_av"),
        })
    }

    fn http_static(&mut self, block: Block<'a>, vhost: &str) -> Option<HttpStatic> {
        self.switch(block, "enabled").then(|| HttpStatic {
            mount: self.text(block, "mount"),
            dir: self.text(block, "dir").replace("[vhost]", vhost).into(),
        })
    }

    fn hds(&mut self, block: Block<'a>) -> Option<Hds> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let fragment = self.duration(block, "hds_fragment");
        if fragment < hls::LEAST_FRAGMENT {
            let message = format!("`hds_fragment` must be at least {} s", hls::LEAST_FRAGMENT.as_secs_f64());
            self.problems.push(self.value(block, "hds_fragment").problem(self.files, 0, message));
        }
        let (window, path) = (self.duration(block, "hds_window"), self.path(block, "hds_path"));
        Some(Hds { fragment, window, path })
    }

    /// Which of these words it is; another one counts as the one at `otherwise`, with a warning.
    fn one_of(&mut self, block: Block<'a>, name: &str, words: &[&str], otherwise: usize) -> usize {
        let value = self.value(block, name);
        words.iter().position(|word| *word == value.text()).unwrap_or_else(|| {
            let counts = words.get(otherwise).copied().unwrap_or_default();
            let message = format!("`{}` is not one of {}: `{counts}` counts", value.text(), words.join(", "));
            self.warn(value.problem(self.files, 0, message));
            otherwise
        })
    }

    /// A multiple; nothing and less count as 1.
    fn ratio(&mut self, block: Block<'a>, name: &str) -> f64 {
        let value = self.value(block, name);
        let ratio = self.float(&value);
        if ratio > 0.0 && ratio.is_finite() {
            return ratio;
        }
        self.warn(value.problem(self.files, 0, format!("`{}` is no multiple: 1 counts", value.text())));
        1.0
    }

    /// The chunk size, if there is one; an odd one is kept with a warning, as in SRS.
    fn chunk_size(&mut self, block: Block<'a>) -> Option<u32> {
        let value = self.value(block, "chunk_size");
        if value.text().is_empty() {
            return None;
        }
        let size = u32::try_from(self.int(&value)).unwrap_or(0).max(1);
        if !CHUNK_SIZES.contains(&size) {
            let (least, most) = (CHUNK_SIZES.start(), CHUNK_SIZES.end());
            let message = format!("a chunk size should be between {least} and {most}: {size} counts");
            self.warn(value.problem(self.files, 0, message));
        }
        Some(size)
    }

    /// A number of things; 0 and less mean none.
    fn count(&mut self, block: Block<'a>, name: &str) -> Option<u32> {
        let value = self.value(block, name);
        u32::try_from(self.int(&value)).ok().filter(|count| *count > 0)
    }

    fn switch(&mut self, block: Block<'a>, name: &str) -> bool {
        let value = self.value(block, name);
        if !matches!(value.text(), "on" | "off") {
            let counts = if value.is_on() { "on" } else { "off" };
            let message = format!("`{}` is neither on nor off: `{counts}` counts", value.text());
            self.warn(value.problem(self.files, 0, message));
        }
        value.is_on()
    }

    fn text(&mut self, block: Block<'a>, name: &str) -> String {
        self.value(block, name).text().to_owned()
    }

    fn path(&mut self, block: Block<'a>, name: &str) -> PathBuf {
        self.text(block, name).into()
    }

    /// A time in the unit of the directive; what is negative counts as 0.
    fn duration(&mut self, block: Block<'a>, name: &str) -> Duration {
        let value = self.value(block, name);
        let whole = |number: i64| Duration::from_millis(u64::try_from(number).unwrap_or(0));
        let time = match value.row.kind {
            Kind::IntS => whole(self.int(&value) * 1_000),
            Kind::IntMs => whole(self.int(&value)),
            Kind::FloatMs => seconds(self.float(&value) / 1_000.0),
            _ => seconds(self.float(&value)),
        };
        if time.is_zero() && value.text().trim_start().starts_with('-') {
            let message = format!("`{}` is less than no time: 0 counts", value.text());
            self.warn(value.problem(self.files, 0, message));
        }
        time
    }

    /// Endpoints without those another one of the list already covers: one without an address listens on
    /// all of them.
    fn endpoints(&mut self, block: Block<'a>, name: &str) -> Vec<Endpoint> {
        let value = self.value(block, name);
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for (index, text) in value.words.iter().enumerate() {
            match value::endpoint(text) {
                Ok((endpoint, port)) => {
                    self.warn_inexact(&value, index, port.exact, endpoint.port);
                    endpoints.push(endpoint);
                }
                Err(message) => {
                    let problem = value.problem(self.files, index, message);
                    self.problems.push(problem.help("write a port, `127.0.0.1:port` or `[::]:port`"));
                }
            }
        }
        let all = endpoints.clone();
        let mut kept = 0..;
        endpoints.retain(|endpoint| {
            let index = kept.next().unwrap_or(0);
            let everywhere = Endpoint { ip: None, ..*endpoint };
            !all.iter().take(index).any(|earlier| earlier == endpoint)
                && (endpoint.ip.is_none() || !all.contains(&everywhere))
        });
        endpoints
    }

    fn int(&mut self, value: &Value) -> i64 {
        let Number { value: number, exact } = value::int(value.text());
        self.warn_inexact(value, 0, exact, number);
        number
    }

    fn float(&mut self, value: &Value) -> f64 {
        let Number { value: number, exact } = value::float(value.text());
        self.warn_inexact(value, 0, exact, number);
        number
    }

    fn warn_inexact(&mut self, value: &Value, index: usize, exact: bool, counts: impl std::fmt::Display) {
        if !exact {
            let text = value.words.get(index).copied().unwrap_or_default();
            let message =
                format!("`{text}` is not a plain number for `{}`: {counts} counts", value.row.name());
            self.warn(value.problem(self.files, index, message));
        }
    }

    /// Variables speak to every vhost, but one warning is enough.
    fn warn(&mut self, problem: Problem) {
        if !self.warnings.contains(&problem) {
            self.warnings.push(problem);
        }
    }

    fn is_set(&self, block: Block<'a>, name: &str) -> bool {
        !self.value(block, name).is_default()
    }

    fn value(&self, block: Block<'a>, name: &str) -> Value<'a> {
        Value::of(row(block.path, name), block.nodes, self.env)
    }
}

/// The row of a directive this loader reads.
fn row(block: &str, name: &str) -> &'static Directive {
    match directives::child(block, name) {
        Some(row) => row,
        None => unreachable!("`{name}` in `{}` is read but not listed", inside(block)),
    }
}

/// Seconds as a duration between 0 and 68 years, so that it can be added to any clock.
fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number.clamp(0.0, i32::MAX.into()))
}
