//! The log: `tracing` events as lines of SRS's format, each with the context id of its connection. Lines go through a
//! bounded queue to a thread of their own, so that a slow disk or pipe never holds up a core. What is worth a line is
//! decided where it happens, not here.

mod json;
mod line;
mod queue;
mod secret;
mod tank;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use parking_lot::{Mutex, RwLock};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{self, Level, LogFormat, Rotation, Tank as Kind};
use crate::session::Cid;
pub use secret::masked;

use line::Style;
pub use queue::Meter;
use queue::{Queue, Writer};
use tank::Tank;

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to.
    pub tank: Kind,
    /// The least level that our own code logs; that of libraries is at least `Warn`.
    pub level: Level,
    /// The file, if the tank is one. It is appended to; missing directories are made.
    pub file: PathBuf,
    /// UTC instead of local time.
    pub utc: bool,
    /// How lines look.
    pub format: LogFormat,
    /// When the file is put aside.
    pub rotation: Option<Rotation>,
    /// The process id for each line.
    pub pid: u32,
}

impl Options {
    /// What is configured, for a process.
    pub fn new(log: &config::Log, pid: u32) -> Self {
        let config::Log { tank, level, ref file, utc, format, rotation } = *log;
        Self { tank, level, file: file.clone(), utc, format, rotation, pid }
    }
}

/// The running log. Dropping it writes out what is queued; later events are lost.
pub struct Log {
    writer: Writer,
    options: Mutex<Options>,
    level: Arc<RwLock<LevelFilter>>,
    style: Arc<RwLock<Style>>,
}

/// Another way to log, with all done that may fail.
pub struct Change {
    options: Options,
    tank: Option<Tank>,
}

/// Starts the log of this process. Panics are logged, too, since nobody sees the standard error of a daemon.
///
/// `main_cid` is the context id of what no connection causes.
///
/// # Errors
/// When the file cannot be opened, the thread cannot be started, or the process logs already.
pub fn start(options: Options, main_cid: Cid) -> io::Result<Log> {
    let (subscriber, log) = build(options, main_cid)?;
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        usual(panic);
    }));
    Ok(log)
}

impl Log {
    /// What is counted here.
    pub fn meter(&self) -> Meter {
        self.writer.meter()
    }

    /// Makes ready to log in another way; [`Log::turn`] goes over to it. Process and context id stay what they are.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn prepare(&self, options: Options) -> io::Result<Change> {
        let before = self.options.lock();
        let place = |options: &Options| (options.tank, options.file.clone(), options.rotation);
        let tank = if place(&before) == place(&options) { None } else { Some(tank(&options)?) };
        Ok(Change { options, tank })
    }

    /// Goes over to another way. No line is lost: those that wait are written in the new place.
    pub fn turn(&self, Change { options, tank }: Change) {
        if let Some(tank) = tank {
            self.writer.turn(tank);
        }
        *self.style.write() = style(&options);
        let level = filter(options.level);
        if std::mem::replace(&mut *self.level.write(), level) != level {
            tracing::callsite::rebuild_interest_cache();
        }
        *self.options.lock() = options;
    }

    /// A log of nothing that goes nowhere.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        let style = Style { zone: TimeZone::UTC, pid: 0, format: LogFormat::Text };
        let style = Arc::new(RwLock::new(style));
        let (_, writer) = queue::start(Tank::stream(io::sink()), style.clone(), Cid::random()).unwrap();
        let options = Options {
            tank: Kind::Console,
            level: Level::Off,
            file: PathBuf::new(),
            utc: true,
            format: LogFormat::Text,
            rotation: None,
            pid: 0,
        };
        let (options, level) = (Mutex::new(options), Arc::new(RwLock::new(LevelFilter::OFF)));
        Self { writer, options, level, style }
    }

    /// Opens the file anew, after it was moved away. If that fails, the old one stays in use.
    pub fn reopen(&self) {
        self.writer.reopen();
    }
}

/// The span of a connection: events inside carry its context id.
pub fn span(cid: Cid) -> Span {
    // At the highest level, so that no configured level takes the id off the lines that remain.
    tracing::error_span!("connection", %cid)
}

fn build(options: Options, main_cid: Cid) -> io::Result<(impl Subscriber + Send + Sync, Log)> {
    let style = Arc::new(RwLock::new(style(&options)));
    let level = Arc::new(RwLock::new(filter(options.level)));
    let (queue, writer) = queue::start(tank(&options)?, style.clone(), main_cid)?;
    let lines = Lines { level: level.clone(), style: style.clone(), main_cid, queue };
    let log = Log { writer, options: Mutex::new(options), level, style };
    Ok((tracing_subscriber::registry().with(lines), log))
}

fn tank(options: &Options) -> io::Result<Tank> {
    match options.tank {
        Kind::Console => Ok(Tank::console()),
        Kind::File => Tank::file(options.file.clone(), options.rotation),
    }
}

fn style(options: &Options) -> Style {
    let zone = if options.utc { TimeZone::UTC } else { TimeZone::system() };
    Style { zone, pid: options.pid, format: options.format }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
        Level::Off => LevelFilter::OFF,
    }
}

/// The layer that turns events into lines.
struct Lines {
    /// Asked for once per place in the code, and again when it changes.
    level: Arc<RwLock<LevelFilter>>,
    style: Arc<RwLock<Style>>,
    main_cid: Cid,
    queue: Queue,
}

impl Lines {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let ours = matches!(metadata.target().split("::").next(), Some("server" | "oxcast"));
        let level = *self.level.read();
        let level = if ours { level } else { level.min(LevelFilter::WARN) };
        *metadata.level() <= level
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(*self.level.read())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut found = Found(None);
        attributes.record(&mut found);
        if let (Some(cid), Some(span)) = (found.0, context.span(id)) {
            span.extensions_mut().insert(cid);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut scope = context.event_scope(event).into_iter().flatten();
        let cid = scope.find_map(|span| span.extensions().get::<Cid>().copied()).unwrap_or(self.main_cid);
        let line = self.style.read().line(event, cid);
        self.queue.push(line);
    }
}

/// The `cid` field of a span.
struct Found(Option<Cid>);

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "cid" {
            self.0 = format!("{value:?}").parse().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn options(file: &Path, level: Level) -> Options {
        let (format, rotation) = (LogFormat::Text, None);
        Options { tank: Kind::File, level, file: file.into(), utc: true, format, rotation, pid: 77 }
    }

    fn main() -> Cid {
        "main0000".parse().unwrap()
    }

    fn file() -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("oxcast-log-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory.join("objs/oxcast.log")
    }

    /// What `work` logs, without the times.
    fn logged(level: Level, work: impl FnOnce()) -> Vec<String> {
        let file = file();
        let (subscriber, log) = build(options(&file, level), main()).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        drop(log);
        let text = fs::read_to_string(&file).unwrap();
        text.lines().map(|line| line[25..].to_owned()).collect()
    }

    #[test]
    fn lines_are_srs_lines() {
        let cid: Cid = "abcd1234".parse().unwrap();
        let lines = logged(Level::Info, || {
            tracing::info!("ready");
            tracing::debug!("not shown");
            span(cid).in_scope(|| {
                tracing::info!(clients = 3, name = "x y", "hello {}", 1);
                tracing::warn!("odd");
                tracing::error!(errno = 32, "cannot send");
            });
            tracing::warn!(errno = 11, "later");
            tracing::info!("again");
        });
        let want = [
            "[INFO][77][main0000] ready",
            "[INFO][77][abcd1234] hello 1 clients=3 name=\"x y\"",
            "[WARN][77][abcd1234][0] odd",
            "[ERROR][77][abcd1234][32] cannot send (Broken pipe)",
            "[WARN][77][main0000][11] later",
            "[INFO][77][main0000] again",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn the_time_has_its_form() {
        let file = file();
        let (subscriber, log) = build(options(&file, Level::Info), main()).unwrap();
        tracing::subscriber::with_default(subscriber, || tracing::info!("now"));
        drop(log);
        let text = fs::read_to_string(&file).unwrap();
        let time: jiff::civil::DateTime = text[1..24].parse().unwrap();
        let now = jiff::Timestamp::now().to_zoned(TimeZone::UTC).datetime();
        assert!((now - time).get_seconds().abs() < 60, "{text}");
        assert_eq!((&text[0..1], &text[11..12], &text[20..21], &text[24..25]), ("[", " ", ".", "]"));
    }

    #[test]
    fn nobody_forges_lines() {
        let evil = "x\n[2026-01-01 00:00:00.000][INFO][1][root] \x1b[2J\u{2028}";
        let lines = logged(Level::Trace, || tracing::trace!(stream = evil, "play {evil}"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("[TRACE][77][main0000] play x\\n[2026"), "{}", lines[0]);
        assert!(lines[0].contains("\\u{1b}[2J\\u{2028}") && !lines[0].contains('\x1b'));
    }

    #[test]
    fn long_lines_are_cut() {
        let long = "ä".repeat(10_000);
        let lines = logged(Level::Info, || tracing::info!("{long} end"));
        let whole = lines[0].len() + 25 + 1;
        assert!((8_180..=8_192).contains(&whole) && lines[0].ends_with("ä…"), "{whole}");
    }

    #[test]
    fn levels_and_libraries() {
        let all = || {
            tracing::trace!("a");
            tracing::info!(target: "oxcast::app", "b");
            tracing::info!(target: "hyper::proto", "c");
            tracing::warn!(target: "hyper::proto", "d");
            tracing::info!(target: "serverless", "e");
            tracing::error!("f");
        };
        let messages =
            |level| -> String { logged(level, all).iter().filter_map(|line| line.chars().last()).collect() };
        assert_eq!(messages(Level::Trace), "abdf");
        assert_eq!(messages(Level::Info), "bdf");
        assert_eq!(messages(Level::Error), "f");
        assert_eq!(messages(Level::Off), "");
    }

    #[test]
    fn a_span_keeps_its_id_at_every_level() {
        let cid: Cid = "abcd1234".parse().unwrap();
        let lines = logged(Level::Error, || span(cid).in_scope(|| tracing::error!("x")));
        assert_eq!(lines, ["[ERROR][77][abcd1234][0] x"]);
    }

    #[test]
    fn rotation() {
        let file = file();
        let moved = file.with_extension("1");
        let (subscriber, log) = build(options(&file, Level::Info), main()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            while fs::metadata(&file).unwrap().len() == 0 {
                std::thread::yield_now();
            }
            fs::rename(&file, &moved).unwrap();
            log.reopen();
            while !file.exists() {
                std::thread::yield_now();
            }
            tracing::info!("two");
        });
        drop(log);
        assert!(fs::read_to_string(&moved).unwrap().ends_with("one\n"));
        assert!(fs::read_to_string(&file).unwrap().ends_with("two\n"));
    }

    #[test]
    fn json_lines_are_objects() {
        let file = file();
        let options = Options { format: LogFormat::Json, ..options(&file, Level::Info) };
        let (subscriber, log) = build(options, main()).unwrap();
        let cid: Cid = "abcd1234".parse().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("ready");
            span(cid).in_scope(|| {
                let name = "x \"y\"\n\u{1b}[2J";
                tracing::error!(errno = 32, clients = 3, ratio = 0.5, on = true, name, kind = ?Some(1), "cannot {}", 1);
            });
            tracing::warn!(long = "\u{1}".repeat(9000), short = 1, "{}", "ä\"".repeat(9000));
        });
        drop(log);
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| {
                assert!(line.len() < line::MAX && !line.contains(char::is_control), "{}", line.len());
                serde_json::from_str(line).unwrap()
            })
            .collect();
        let [ready, error, long] = &lines[..] else { panic!("{text}") };
        let time = ready["time"].as_str().unwrap();
        let now = jiff::Timestamp::now();
        assert!(
            (now - time.parse::<jiff::Timestamp>().unwrap()).get_seconds().abs() < 60 && time.ends_with('Z')
        );
        let want = serde_json::json!({
            "time": time, "level": "INFO", "pid": 77, "cid": "main0000", "message": "ready",
        });
        assert_eq!(*ready, want);
        let want = serde_json::json!({
            "time": error["time"], "level": "ERROR", "pid": 77, "cid": "abcd1234", "message": "cannot 1",
            "fields": { "clients": 3, "ratio": 0.5, "on": true, "name": "x \"y\"\n\u{1b}[2J", "kind": "Some(1)" },
            "errno": 32, "error": "Broken pipe",
        });
        assert_eq!(*error, want);
        assert_eq!(long["cut"], true);
        assert!(long["message"].as_str().unwrap().starts_with("ä\"ä\""));
    }

    #[test]
    fn the_way_to_log_may_change() {
        let (first, second) = (file(), file());
        let (subscriber, log) = build(options(&first, Level::Warn), main()).unwrap();
        let say = |n: u32| {
            tracing::info!("info {n}");
            tracing::warn!("warn {n}");
        };
        tracing::subscriber::with_default(subscriber, || {
            say(1);
            while !fs::read_to_string(&first).unwrap().contains("warn 1") {
                std::thread::yield_now();
            }
            let broken = Options { file: "/proc/nobody/a.log".into(), ..options(&first, Level::Info) };
            assert!(log.prepare(broken).is_err());
            say(2);
            let json = Options { format: LogFormat::Json, ..options(&second, Level::Info) };
            log.turn(log.prepare(json.clone()).unwrap());
            say(3);
            log.turn(log.prepare(Options { level: Level::Off, ..json }).unwrap());
            say(4);
        });
        drop(log);
        let all = fs::read_to_string(&first).unwrap() + &fs::read_to_string(&second).unwrap();
        let said: Vec<_> = ["info 1", "warn 1", "info 2", "warn 2", "info 3", "warn 3", "warn 4"]
            .into_iter()
            .filter(|text| all.matches(text).count() == 1)
            .collect();
        assert_eq!(said, ["warn 1", "warn 2", "info 3", "warn 3"]);
        assert!(fs::read_to_string(&second).unwrap().lines().last().unwrap().starts_with("{\"time\""));
    }
}
