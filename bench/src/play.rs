//! Players: thousands of connections on one thread, a few of them parsed to the last byte, the others only counted.
//!
//! A merely counted player has its bytes thrown away inside the kernel, uncopied, which keeps the generator cheap. It
//! still reads as soon as bytes arrive, as real players do: emptying it by a timer would be cheaper, but late
//! acknowledgements make Nagle's algorithm merge the sends of a server that leaves it on, and flatter that server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::Result;
use crate::client::{Acks, Client, Event, Role};
use crate::net::{Connection, Poller, now};
use crate::process::Cpu;
use crate::stats::{Latency, Line, PlayReport, Spread};
use crate::url::Url;
use crate::{flv, http, stamp, ts};

const SECOND: f64 = 1e9;
/// More than a player's kernel buffer usually holds, so that one call empties it.
const BUFFER: usize = 4 << 20;
/// How long the last players may take to receive their first media, beyond the ramp.
const OPENING: f64 = 20.0;

/// What to play and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    source: SourceOptions,
    /// Number of players
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Streams the players spread over, suffixed _0, _1…; 0: all play the one named
    #[arg(long, default_value_t = 0)]
    streams: usize,
    /// Measured seconds, after the ramp and the settling time
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// New players per second
    #[arg(long, default_value_t = 500.0)]
    ramp: f64,
    /// Seconds between the last player's first media and the measured time
    #[arg(long, default_value_t = 3.0)]
    settle: f64,
    /// Players that are parsed for frames and latency
    #[arg(long, default_value_t = 50)]
    sample: usize,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct SourceOptions {
    /// `rtmp://host[:port]/app/stream`
    #[arg(long, value_name = "URL")]
    rtmp: Option<String>,
    /// `http://host[:port]/app/stream.flv`
    #[arg(long, value_name = "URL")]
    flv: Option<String>,
    /// `http://host[:port]/app/stream.ts`
    #[arg(long, value_name = "URL")]
    ts: Option<String>,
    /// host:port of the floor program
    #[arg(long, value_name = "ADDRESS")]
    raw: Option<SocketAddr>,
}

/// Runs the players to the end of the measured time; `say` gets the lines to print.
///
/// # Errors
/// When an option is wrong or the kernel refuses a poller; players that fail are part of the report.
pub fn run(options: &Options, say: &mut dyn FnMut(&Line)) -> Result<()> {
    let mut fleet = Fleet::new(options)?;
    let begin = now();
    let patience = options.count as f64 / options.ramp + OPENING;
    while !fleet.settled() && since(begin) < patience {
        let due = (since(begin) * options.ramp) as usize + 1;
        fleet.open(due.min(options.count))?;
        fleet.turn()?;
    }
    fleet.run_for(options.settle)?;
    say(&Line::Ready);
    fleet.measure();
    let (cpu, begin) = (Cpu::of(std::process::id())?, now());
    fleet.run_for(options.seconds)?;
    let seconds = since(begin);
    let cpu = Cpu::of(std::process::id())?.since(cpu, seconds).total;
    say(&Line::Play(fleet.report(seconds, cpu)));
    Ok(())
}

fn since(begin: u64) -> f64 {
    (now() - begin) as f64 / SECOND
}

enum Source {
    Rtmp(Url),
    Flv(Url),
    Ts(Url),
    Raw(SocketAddr),
}

impl Source {
    fn parse(options: &SourceOptions) -> Result<Self> {
        let http = |url| Url::parse(url, "http", 80);
        Ok(match options {
            SourceOptions { rtmp: Some(url), .. } => Self::Rtmp(Url::parse(url, "rtmp", 1935)?),
            SourceOptions { flv: Some(url), .. } => Self::Flv(http(url)?),
            SourceOptions { ts: Some(url), .. } => Self::Ts(http(url)?),
            SourceOptions { raw: Some(address), .. } => Self::Raw(*address),
            _ => return Err("nothing to play".into()),
        })
    }

    fn connect(&self, suffix: &str) -> Result<(Connection, Protocol)> {
        let ask = |url: &Url| -> Result<Connection> {
            let mut connection = Connection::open(url.address)?;
            connection.out = http::request(&url.host, &url.suffixed(suffix).path);
            Ok(connection)
        };
        Ok(match self {
            Self::Rtmp(url) => {
                let mut connection = Connection::open(url.address)?;
                let client = Client::open(url.suffixed(suffix), Role::Play, &mut connection.out);
                (connection, Protocol::Rtmp(Box::new(client)))
            }
            Self::Flv(url) => (ask(url)?, Protocol::Flv(Box::default())),
            Self::Ts(url) => (ask(url)?, Protocol::Ts(Box::default())),
            Self::Raw(address) => (Connection::open(*address)?, Protocol::Raw),
        })
    }
}

enum Protocol {
    Rtmp(Box<Client>),
    Flv(Box<FlvReaders>),
    Ts(Box<TsReaders>),
    Raw,
    /// Only counted any more; RTMP still acknowledges.
    Counted(Option<Acks>),
}

#[derive(Default)]
struct FlvReaders {
    http: http::Reader,
    body: Vec<u8>,
    flv: flv::Reader,
    tags: Vec<flv::Tag>,
}

#[derive(Default)]
struct TsReaders {
    http: http::Reader,
    body: Vec<u8>,
    ts: ts::Reader,
    units: Vec<ts::Unit>,
}

struct Player {
    /// `None` once it failed.
    connection: Option<Connection>,
    protocol: Protocol,
    sample: Option<Box<Sample>>,
    live: bool,
    bytes: u64,
    marked: u64,
}

/// What a parsed player saw in the measured time.
#[derive(Default)]
struct Sample {
    measuring: bool,
    latencies: Vec<f64>,
    messages: u64,
    frames: u64,
    last: Option<u64>,
    gap: f64,
    last_time: u32,
    backward: u64,
    ts: ts::Counters,
}

impl Sample {
    fn message(&mut self, kind: u8, time: u32, body: &[u8], now: u64) {
        if !self.measuring {
            return;
        }
        self.messages += 1;
        if kind == 9 && stamp::is_picture(body) {
            self.order(time);
            self.frame(stamp::find(body), now);
        }
    }

    fn unit(&mut self, unit: &ts::Unit) {
        if !self.measuring {
            return;
        }
        self.messages += 1;
        if unit.video {
            self.order(unit.time);
            self.frame(stamp::find_bare(&unit.data), unit.arrived);
        }
    }

    fn packets(&mut self, before: ts::Counters, after: ts::Counters) {
        if self.measuring {
            self.ts.packets += after.packets - before.packets;
            self.ts.gaps += after.gaps - before.gaps;
        }
    }

    fn order(&mut self, time: u32) {
        self.backward += u64::from(time < self.last_time);
        self.last_time = time;
    }

    fn frame(&mut self, stamp: Option<u64>, now: u64) {
        self.frames += 1;
        let passed = |since: u64| now.saturating_sub(since) as f64 / 1e6;
        self.latencies.extend(stamp.map(passed));
        self.gap = self.gap.max(self.last.map_or(0.0, passed));
        self.last = Some(now);
    }
}

impl Player {
    /// Understands received bytes; the player is live from its first media on.
    fn receive(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> std::result::Result<(), String> {
        let now = now();
        let (mut sample, Some(connection)) = (self.sample.as_deref_mut(), &mut self.connection) else {
            return Ok(());
        };
        match &mut self.protocol {
            Protocol::Rtmp(client) => {
                client.receive(bytes, &mut connection.out, events)?;
                for event in events.drain(..) {
                    let Event::Media(message) = event else { continue };
                    self.live |= message.kind != 18;
                    if let Some(sample) = &mut sample {
                        sample.message(message.kind, message.time, &message.body, now);
                    }
                }
            }
            Protocol::Flv(readers) => {
                readers.http.push_live(bytes, &mut readers.body)?;
                readers.flv.push(&readers.body, &mut readers.tags)?;
                readers.body.clear();
                for tag in readers.tags.drain(..) {
                    self.live |= tag.kind != 18;
                    if let Some(sample) = &mut sample {
                        sample.message(tag.kind, tag.time, &tag.body, now);
                    }
                }
            }
            Protocol::Ts(readers) => {
                readers.http.push_live(bytes, &mut readers.body)?;
                let before = readers.ts.counters();
                readers.ts.push(&readers.body, now, &mut readers.units)?;
                readers.body.clear();
                self.live |= !readers.units.is_empty();
                if let Some(sample) = sample {
                    sample.packets(before, readers.ts.counters());
                    readers.units.iter().for_each(|unit| sample.unit(unit));
                }
                readers.units.clear();
            }
            Protocol::Raw => {
                self.live = true;
                if let (Some(sample), Some(stamp)) =
                    (sample.filter(|sample| sample.measuring), stamp::find_bare(bytes))
                {
                    sample.messages += 1;
                    sample.frame(Some(stamp), now);
                }
            }
            Protocol::Counted(_) => {}
        }
        Ok(())
    }

    /// Empties the kernel's buffer of a counted player.
    fn discard(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        let (Some(connection), Protocol::Counted(acks)) = (&mut self.connection, &mut self.protocol) else {
            return Ok(());
        };
        while let Some(count) = connection.discard(buffer)? {
            self.bytes += count as u64;
            if let Some(acks) = acks {
                acks.count(count, &mut connection.out);
            }
            if count < buffer.len() {
                break;
            }
        }
        connection.flush()
    }

    fn count_only(&mut self) {
        let acks = match std::mem::replace(&mut self.protocol, Protocol::Raw) {
            Protocol::Rtmp(client) => Some(client.into_acks()),
            _ => None,
        };
        self.protocol = Protocol::Counted(acks);
    }
}

struct Fleet<'o> {
    options: &'o Options,
    source: Source,
    poller: Poller,
    players: Vec<Player>,
    live: usize,
    failed: usize,
    disconnects: usize,
    errors: BTreeMap<String, usize>,
    stall: u64,
    buffer: Vec<u8>,
    ready: Vec<usize>,
    events: Vec<Event>,
}

impl<'o> Fleet<'o> {
    fn new(options: &'o Options) -> Result<Self> {
        Ok(Self {
            options,
            source: Source::parse(&options.source)?,
            poller: Poller::new()?,
            players: Vec::with_capacity(options.count),
            live: 0,
            failed: 0,
            disconnects: 0,
            errors: BTreeMap::new(),
            stall: 0,
            buffer: vec![0; BUFFER],
            ready: Vec::new(),
            events: Vec::new(),
        })
    }

    /// True when every player plays or has failed.
    fn settled(&self) -> bool {
        self.live + self.failed >= self.options.count
    }

    /// Opens players until there are `due`.
    fn open(&mut self, due: usize) -> Result<()> {
        while self.players.len() < due {
            let index = self.players.len();
            let suffix = match self.options.streams {
                0 => String::new(),
                streams => format!("_{}", index % streams),
            };
            let (connection, protocol) = self.source.connect(&suffix)?;
            self.poller.add(&connection, index)?;
            // Samples spread evenly over the order of arrival.
            let (count, sample) = (self.options.count, self.options.sample.min(self.options.count));
            let sampled = (index + 1) * sample / count > index * sample / count;
            let sample = sampled.then(Box::default);
            let connection = Some(connection);
            self.players.push(Player { connection, protocol, sample, live: false, bytes: 0, marked: 0 });
            self.serve(index);
        }
        Ok(())
    }

    fn run_for(&mut self, seconds: f64) -> Result<()> {
        let begin = now();
        while since(begin) < seconds {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits a moment and serves whoever is ready.
    fn turn(&mut self) -> Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(Duration::from_millis(1), &mut ready)?;
        let woken = now();
        ready.drain(..).for_each(|index| self.serve(index));
        self.ready = ready;
        self.stall = self.stall.max(now() - woken);
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        if let Err(reason) = self.try_serve(index) {
            self.fail(index, reason);
        }
    }

    fn try_serve(&mut self, index: usize) -> std::result::Result<(), String> {
        let Some(player) = self.players.get_mut(index) else { return Ok(()) };
        if matches!(player.protocol, Protocol::Counted(_)) {
            return player.discard(&mut self.buffer).map_err(|error| error.to_string());
        }
        let was_live = player.live;
        loop {
            let Some(connection) = &mut player.connection else { return Ok(()) };
            connection.flush().map_err(|error| error.to_string())?;
            let Some(count) = connection.read(&mut self.buffer).map_err(|error| error.to_string())? else {
                break;
            };
            player.bytes += count as u64;
            player.receive(&self.buffer[..count], &mut self.events)?;
        }
        if player.live && !was_live {
            self.live += 1;
            if player.sample.is_none() {
                player.count_only();
            }
        }
        Ok(())
    }

    fn fail(&mut self, index: usize, reason: String) {
        let Some(player) = self.players.get_mut(index) else { return };
        if player.connection.take().is_none() {
            return;
        }
        *self.errors.entry(reason).or_default() += 1;
        if player.live { self.disconnects += 1 } else { self.failed += 1 }
    }

    /// Begins the measured time.
    fn measure(&mut self) {
        self.stall = 0;
        for player in &mut self.players {
            player.marked = player.bytes;
            if let Some(sample) = &mut player.sample {
                sample.measuring = true;
            }
        }
    }

    fn report(&self, seconds: f64, cpu: f64) -> PlayReport {
        let received = |player: &Player| player.bytes - player.marked;
        let live = self.players.iter().filter(|player| player.live);
        let kbps = live.map(|player| received(player) as f64 * 8.0 / 1000.0 / seconds).collect();
        let samples =
            || self.players.iter().filter(|player| player.live).filter_map(|player| player.sample.as_ref());
        PlayReport {
            players: self.options.count,
            live: self.live,
            disconnects: self.disconnects,
            errors: self.errors.clone(),
            seconds,
            bytes: self.players.iter().map(received).sum(),
            kbps: Spread::of(kbps),
            sampled: samples().count(),
            messages: samples().map(|sample| sample.messages).sum(),
            frames: Spread::of(samples().map(|sample| sample.frames as f64).collect()),
            latency_ms: Latency::of(samples().flat_map(|sample| sample.latencies.iter().copied()).collect()),
            gap_ms: samples().map(|sample| sample.gap).fold(0.0, f64::max),
            backward: samples().map(|sample| sample.backward).sum(),
            ts_packets: samples().map(|sample| sample.ts.packets).sum(),
            ts_gaps: samples().map(|sample| sample.ts.gaps).sum(),
            rtp: None,
            stall_ms: self.stall as f64 / 1e6,
            cpu,
        }
    }
}
