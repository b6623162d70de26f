//! What is to run, as the configuration says it, and the command line that it makes at the moment of its start. Names that publishers choose
//! become parts of command lines here, and only here, so here is decided what may.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hub::StreamKey;
use jiff::Timestamp;
use rtmp::Url;

use super::Desk;
use super::child::Invocation;
use super::ffmpeg::{self, Source};
use super::outputs::Output;
use crate::config::task::{Command, Engine, Ingest, Transcode};
use crate::config::{Config, DEFAULT_VHOST, Vhost};
use crate::gate::Pass;
use crate::naming::{self, Names};
use crate::net::limits;
use crate::session::{Client, Kind as ClientKind};

/// Kinds of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Pulls an input.
    Ingest,
    /// Transcodes a stream.
    Transcode,
    /// A command of the operator.
    Exec,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Transcode, Self::Exec];

    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Transcode => "transcode",
            Self::Exec => "exec",
        }
    }
}

/// A program that is to run. Two that are equal need no restart.
#[derive(Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// Tells it from others of its kind, for people.
    pub(super) name: String,
    work: Work,
}

#[derive(Clone, PartialEq)]
enum Work {
    Pull { vhost: String, ingest: Box<Ingest>, engine: Box<Engine>, door: Option<String> },
    Transcode { stream: Arc<Facts>, program: PathBuf, engine: Box<Engine> },
    Run { stream: Arc<Facts>, command: Command },
}

/// What is known of a client and of the stream that it publishes or plays.
#[derive(PartialEq)]
pub(super) struct Facts {
    key: StreamKey,
    /// The port that it came to, as it says.
    port: u16,
    param: String,
    tc_url: String,
    swf_url: String,
    page_url: String,
}

/// A program that is about to start, and what it holds while it runs.
pub(super) struct Prepared {
    pub(super) invocation: Invocation,
    /// Where its log is, if it has one.
    pub(super) log: Option<PathBuf>,
    /// The stream of this server that it is to publish without end, if it is to.
    pub(super) publishes: Option<StreamKey>,
    _passes: Vec<Pass>,
    _output: Option<Output>,
}

impl Facts {
    pub(super) fn new(client: &Client) -> Arc<Self> {
        let request = &client.request;
        Arc::new(Self {
            key: client.stream.key.clone(),
            port: Url::of_app(&request.tc_url).port,
            param: request.param.clone(),
            tc_url: request.tc_url.clone(),
            swf_url: request.swf_url.clone(),
            page_url: request.page_url.clone(),
        })
    }
}

/// What runs from the start on.
pub(super) fn ingests(config: &Config) -> Vec<Plan> {
    let mut plans = Vec::new();
    for vhost in config.vhosts.iter().filter(|vhost| vhost.enabled) {
        for ingest in &vhost.ingests {
            for (index, engine) in ingest.engines.iter().enumerate() {
                let id = [ingest.id.as_str(), engine.name.as_str()];
                let mut name = vhost.name.clone();
                id.into_iter()
                    .filter(|part| !part.is_empty())
                    .for_each(|part| name = format!("{name}/{part}"));
                if index > 0 {
                    name = format!("{name} #{}", index + 1);
                }
                let ingest = Box::new(Ingest { engines: Vec::new(), ..ingest.clone() });
                let door = door(config, None).map(|(host, port)| format!("{host}:{port}"));
                let work =
                    Work::Pull { vhost: vhost.name.clone(), ingest, engine: Box::new(engine.clone()), door };
                plans.push(Plan { kind: Kind::Ingest, name, work });
            }
        }
    }
    plans
}

/// What runs while a stream is published.
pub(super) fn of_publisher(client: &Client, vhost: &Vhost, is_output: bool) -> Vec<Plan> {
    let exec = vhost.exec.as_ref().map(|exec| &*exec.publish).unwrap_or_default();
    if exec.is_empty() && vhost.transcodes.is_empty() {
        return Vec::new();
    }
    let stream = Facts::new(client);
    let mut plans = commands(exec, &stream, "publish");
    // Players over RTMP get nothing of it; and what a transcoder has made is not transcoded again.
    if is_output || client.kind == ClientKind::RtcPublish && !vhost.rtc.rtc_to_rtmp {
        return plans;
    }
    let key = &stream.key;
    for Transcode { engines, ffmpeg, .. } in vhost.transcodes.iter().filter(|t| covers(&t.scope, key)) {
        for engine in engines {
            let mut name = key.to_string();
            if !engine.name.is_empty() {
                name = format!("{name}[{}]", engine.name);
            }
            let same =
                plans.iter().filter(|p| p.kind == Kind::Transcode && p.name.starts_with(&name)).count();
            if same > 0 {
                name = format!("{name} #{}", same + 1);
            }
            let (program, engine) = (ffmpeg.clone(), Box::new(engine.clone()));
            let work = Work::Transcode { stream: stream.clone(), program, engine };
            plans.push(Plan { kind: Kind::Transcode, name, work });
        }
    }
    plans
}

/// Commands about a client.
pub(super) fn commands(commands: &[Command], stream: &Arc<Facts>, event: &str) -> Vec<Plan> {
    let plan = |(index, command): (usize, &Command)| {
        let name = match index {
            0 => format!("{} {event}", stream.key),
            index => format!("{} {event} #{}", stream.key, index + 1),
        };
        Plan { kind: Kind::Exec, name, work: Work::Run { stream: stream.clone(), command: command.clone() } }
    };
    commands.iter().enumerate().map(plan).collect()
}

/// Whether the scope of a `transcode` covers a stream.
fn covers(scope: &str, key: &StreamKey) -> bool {
    scope.is_empty() || scope == key.app || scope == format!("{}/{}", key.app, key.stream)
}

impl Plan {
    /// The vhost that it belongs to.
    pub(super) fn vhost(&self) -> &str {
        match &self.work {
            Work::Pull { vhost, .. } => vhost,
            Work::Transcode { stream, .. } | Work::Run { stream, .. } => &stream.key.vhost,
        }
    }

    /// The stream that it works on, if it does on one.
    pub(super) fn stream(&self) -> Option<&StreamKey> {
        match &self.work {
            Work::Pull { .. } => None,
            Work::Transcode { stream, .. } | Work::Run { stream, .. } => Some(&stream.key),
        }
    }

    /// Makes the command line of now.
    ///
    /// # Errors
    /// Why it cannot run.
    pub(super) fn prepare(&self, desk: &Desk) -> Result<Prepared, String> {
        let config = desk.config.load_full();
        match &self.work {
            Work::Pull { vhost, ingest, engine, .. } => pull(desk, &config, vhost, ingest, engine),
            Work::Transcode { stream, program, engine } => transcode(desk, &config, stream, program, engine),
            Work::Run { stream, command } => run(desk, &config, stream, command),
        }
    }
}

fn pull(
    desk: &Desk,
    config: &Config,
    vhost: &str,
    ingest: &Ingest,
    engine: &Engine,
) -> Result<Prepared, String> {
    let key = StreamKey { vhost: vhost.to_owned(), app: String::new(), stream: String::new() };
    let (_, port) = door(config, None).unwrap_or_default();
    let moment = Moment::now(config);
    let names = moment.names(&key);
    let output = naming::fill(&engine.output, |name| match name {
        "vhost" => Some(vhost.into()),
        "port" => Some(port.to_string().into()),
        "app" | "stream" => None,
        name => names.value(name),
    });
    let output = tidy(&output);
    let target = Url::parse(&output);
    let log = log_path(config, &["ffmpeg-ingest", vhost, &target.app, &target.stream]);
    let publishes = own(config, &output);
    let pass = publishes.as_ref().and_then(|key| desk.passes.issue(key, true, true));
    let output = pass.as_ref().map_or(output.clone(), |pass| pass.on(&output));
    let (kind, loops, url) = (ingest.input, ingest.loops, &*ingest.url);
    let source = Source::Pulled { level: &config.task_log.level, kind, url, loops };
    let words = ffmpeg::words(&ingest.ffmpeg, engine, &source, &output);
    let invocation = Invocation { words, ..Invocation::default() };
    Ok(Prepared { invocation, log, publishes, _passes: pass.into_iter().collect(), _output: None })
}

fn transcode(
    desk: &Desk,
    config: &Config,
    stream: &Facts,
    program: &Path,
    engine: &Engine,
) -> Result<Prepared, String> {
    let key = &stream.key;
    let odd = |c: char| c.is_whitespace() || matches!(c, '?' | '&' | '#');
    if !naming::is_safe(key) || [&key.app, &key.stream].iter().any(|name| name.contains(odd)) {
        return Err("the name of the stream can be no part of an address".into());
    }
    let (host, port) =
        door(config, Some(stream.port)).ok_or("there is no `listen` to play the stream from")?;
    let moment = Moment::now(config);
    let names = moment.names(key);
    let output = naming::fill(&engine.output, |name| match name {
        "port" => Some(port.to_string().into()),
        "param" => Some(Cow::Borrowed(&*stream.param)),
        "engine" => Some(Cow::Borrowed(&*engine.name)),
        name => names.value(name),
    });
    let output = tidy(&output);
    is_harmless(&engine.output, &output)?;
    let target = own(config, &output);
    if target.as_ref() == Some(key) {
        return Err("its output would be its own input: put `[engine]` into the name".into());
    }
    let out = target.as_ref().and_then(|key| desk.passes.issue(key, true, true));
    let output = out.as_ref().map_or(output.clone(), |pass| pass.on(&output));
    let input = desk.passes.issue(key, false, true);
    let address = address(&host, port, key);
    let address = input.as_ref().map_or(address.clone(), |pass| pass.on(&address));
    let words = ffmpeg::words(program, engine, &Source::Stream(&address), &output);
    let log = log_path(config, &["ffmpeg-encoder", &key.vhost, &key.app, &key.stream, &engine.name]);
    Ok(Prepared {
        invocation: Invocation { words, ..Invocation::default() },
        log,
        publishes: None,
        _passes: [input, out].into_iter().flatten().collect(),
        _output: target.map(|key| desk.outputs.enter(key)),
    })
}

fn run(desk: &Desk, config: &Config, stream: &Facts, command: &Command) -> Result<Prepared, String> {
    let key = &stream.key;
    if !naming::is_safe(key) {
        return Err("the name of the stream can be no part of a command".into());
    }
    let (host, port) = door(config, Some(stream.port)).unwrap_or_else(|| ("127.0.0.1".into(), 1935));
    // Good more than once: a script may look at a stream before it records it.
    let pass = desk.passes.issue(key, false, false);
    let url = address(&host, port, key);
    let url = pass.as_ref().map_or(url.clone(), |pass| pass.on(&url));
    let moment = Moment::now(config);
    let names = moment.names(key);
    let fill = |template: &String| {
        naming::fill(template, |name| match name {
            "port" => Some(port.to_string().into()),
            "param" => Some(Cow::Borrowed(&*stream.param)),
            "url" => Some(Cow::Borrowed(&*url)),
            "tcUrl" => Some(Cow::Borrowed(&*stream.tc_url)),
            "swfUrl" => Some(Cow::Borrowed(&*stream.swf_url)),
            "pageUrl" => Some(Cow::Borrowed(&*stream.page_url)),
            name => names.value(name),
        })
    };
    let words: Vec<_> = command.words.iter().map(fill).collect();
    for (template, word) in command.words.iter().zip(&words) {
        // A client must not slip an option in.
        if word.contains('\0') || word.starts_with('-') && !template.starts_with('-') {
            return Err(format!("what the client calls itself cannot stand for `{template}`"));
        }
    }
    let file = |template: &Option<String>| {
        template.as_ref().map(|template| {
            let file = fill(template);
            is_harmless(template, &file).map(|()| file)
        })
    };
    let (stdout, stderr) = (file(&command.stdout).transpose()?, file(&command.stderr).transpose()?);
    let log = log_path(config, &["exec", &key.vhost, &key.app, &key.stream]);
    let invocation = Invocation { words, stdout, stderr };
    Ok(Prepared { invocation, log, publishes: None, _passes: pass.into_iter().collect(), _output: None })
}

/// A moment for names.
struct Moment {
    at: Timestamp,
    local: jiff::Zoned,
}

impl Moment {
    fn now(config: &Config) -> Self {
        let at = Timestamp::now();
        Self { at, local: naming::time_of_day(at, config.log.utc) }
    }

    fn names<'a>(&'a self, key: &'a StreamKey) -> Names<'a> {
        let timestamp = Some(self.at.as_millisecond());
        Names { timestamp, time: Some(&self.local), ..Names::of(key) }
    }
}

/// Where this server serves RTMP to its own programs: at this port if it listens there, else at its first.
fn door(config: &Config, port: Option<u16>) -> Option<(String, u16)> {
    let of_port = config.listen.iter().find(|endpoint| Some(endpoint.port) == port);
    let endpoint = of_port.or_else(|| config.listen.first())?;
    let host = match endpoint.ip {
        Some(IpAddr::V4(ip)) if !ip.is_unspecified() => ip.to_string(),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => "[::1]".into(),
        Some(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => "127.0.0.1".into(),
    };
    Some((host, endpoint.port))
}

/// A stream's address at this server. ffmpeg takes only one or two elements of a path for the application.
fn address(host: &str, port: u16, key: &StreamKey) -> String {
    let StreamKey { vhost, app, stream } = key;
    match app.matches('/').count() {
        0 | 1 => format!("rtmp://{host}:{port}/{app}?vhost={vhost}/{stream}"),
        _ => format!("rtmp://{host}:{port}/{app}/{stream}?vhost={vhost}"),
    }
}

/// The stream of this server that an address means, if it means one.
fn own(config: &Config, url: &str) -> Option<StreamKey> {
    if !url.starts_with("rtmp://") {
        return None;
    }
    let url = Url::parse(url);
    let is_name = || url.host == "localhost" || config.vhosts.iter().any(|vhost| vhost.name == url.host);
    let is_here = match url.host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || limits::is_local(ip),
        Err(_) => is_name(),
    };
    if !is_here || !config.listen.iter().any(|endpoint| endpoint.port == url.port) {
        return None;
    }
    let vhost = config.vhost(&url.vhost)?;
    Some(StreamKey { vhost: vhost.name.clone(), app: url.app, stream: url.stream })
}

/// An address without the name of the default vhost, and without what that leaves behind.
fn tidy(url: &str) -> String {
    let url = url.replace(&format!("vhost={DEFAULT_VHOST}"), "").replace("?&", "?").replace("?/", "/");
    url.strip_suffix('?').map_or(url.clone(), str::to_owned)
}

/// A filled name does not climb where its template does not, and is no address where that is none.
fn is_harmless(template: &str, filled: &str) -> Result<(), String> {
    let climbs =
        |path: &str| Path::new(path).components().filter(|part| *part == Component::ParentDir).count();
    let is_url = template.contains("://");
    let is_fine = is_url || climbs(template) == climbs(filled) && !filled.contains("://");
    let is_option = filled.starts_with('-') && !template.starts_with('-');
    if is_fine && !is_option && !filled.contains('\0') {
        return Ok(());
    }
    Err(format!("what the client calls itself cannot stand in `{template}`"))
}

/// A log's path from the parts of its name.
fn log_path(config: &Config, parts: &[&str]) -> Option<PathBuf> {
    let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).copied().collect();
    let name = parts.join("-").replace(|c: char| c == '/' || c.is_control(), "_");
    let name = &name[..name.floor_char_boundary(200)];
    Some(config.task_log.dir.as_ref()?.join(format!("{name}.log")))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
