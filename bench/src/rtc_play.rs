//! WebRTC players: hundreds of sessions on one thread, each on a port of its own. All of them shake hands, decrypt, report and
//! ask as a browser does, by str0m. From its first picture on, a player that is not sampled has its packets counted by
//! their headers, which are not encrypted; its reports go on, and say that nothing is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use str0m::Event;
use str0m::crypto::CryptoProvider;
use str0m::rtp::RtpPacket;

use crate::net::{Poller, now};
use crate::peer::{Outcome, Peer, Purpose, provider};
use crate::process::Cpu;
use crate::rtp::{Header, Tally};
use crate::stats::{Latency, Line, PlayReport, RtpReport, Spread};
use crate::url::Url;
use crate::{Result, stamp};

const SECOND: f64 = 1e9;
/// No datagram is longer.
const BUFFER: usize = 64 << 10;
/// How long the last players may take to receive their first picture, beyond the ramp.
const OPENING: f64 = 20.0;
/// How often deadlines of sessions are looked at.
const SWEEP: Duration = Duration::from_millis(5);

/// What to play and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// `http://host[:port]/rtc/v1/whep/?app=live&stream=livestream`
    #[arg(long)]
    url: String,
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
    #[arg(long, default_value_t = 100.0)]
    ramp: f64,
    /// Seconds between the last player's first picture and the measured time
    #[arg(long, default_value_t = 3.0)]
    settle: f64,
    /// Players whose packets are all decrypted, and looked into for latency; the others' are counted
    #[arg(long, default_value_t = 20)]
    sample: usize,
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

struct Player {
    /// `None` once it failed.
    peer: Option<Peer>,
    sampled: bool,
    live: bool,
    /// By source.
    tallies: BTreeMap<u32, Tally>,
    seen: Seen,
    bytes: u64,
    marked: u64,
}

/// What a player saw of the pictures.
#[derive(Default)]
struct Seen {
    frames: u64,
    last: Option<u64>,
    gap: f64,
    timestamp: Option<u32>,
    backward: u64,
    /// The RTP time and the stamp of the frame under way, from a sampled player.
    stamp: Option<(u32, u64)>,
    latencies: Vec<f64>,
}

impl Seen {
    /// The header of a packet of video.
    fn packet(&mut self, header: Header, now: u64) {
        let before = self.timestamp.replace(header.timestamp);
        let back =
            |before: u32| header.timestamp != before && header.timestamp.wrapping_sub(before) >= 1 << 31;
        self.backward += u64::from(before.is_some_and(back));
        if header.marker {
            self.frames += 1;
            self.gap = self.gap.max(self.last.map_or(0.0, |last| milliseconds(last, now)));
            self.last = Some(now);
        }
    }

    /// The same packet, decrypted. A frame's latency ends with its last packet.
    fn opened(&mut self, packet: &RtpPacket, now: u64) {
        let timestamp = packet.header.timestamp;
        if let Some(stamp) = stamp::find_bare(&packet.payload) {
            self.stamp = Some((timestamp, stamp));
        }
        if packet.header.marker
            && let Some((_, stamp)) = self.stamp.take_if(|(of, _)| *of == timestamp)
        {
            self.latencies.push(milliseconds(stamp, now));
        }
    }
}

fn milliseconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

impl Player {
    /// Reads all that has come.
    fn serve(&mut self, buffer: &mut [u8]) -> Outcome {
        while let Some(peer) = &mut self.peer
            && let Some(count) = peer.read(buffer)?
        {
            let now = now();
            let (datagram, picture, seen) = (&buffer[..count], peer.picture(), &mut self.seen);
            let header = Header::parse(datagram);
            let is_picture = header.is_some_and(|header| Some(header.payload_type) == picture);
            let counted = self.live && !self.sampled;
            if let Some(header) = header {
                self.bytes += count as u64;
                self.tallies.entry(header.ssrc).or_default().count(header.sequence);
                if is_picture {
                    seen.packet(header, now);
                    self.live |= header.marker;
                }
            }
            if header.is_none() || !counted {
                peer.receive(datagram, |event| {
                    if let Event::RtpPacket(packet) = event
                        && Some(*packet.header.payload_type) == picture
                    {
                        seen.opened(&packet, now);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Begins the measured time.
    fn measure(&mut self) {
        self.marked = self.bytes;
        self.tallies.values_mut().for_each(Tally::restart);
        let Seen { timestamp, stamp, .. } = std::mem::take(&mut self.seen);
        self.seen = Seen { timestamp, stamp, ..Seen::default() };
    }
}

struct Fleet<'o> {
    options: &'o Options,
    url: Url,
    provider: Arc<CryptoProvider>,
    poller: Poller,
    players: Vec<Player>,
    swept: Instant,
    live: usize,
    failed: usize,
    disconnects: usize,
    errors: BTreeMap<String, usize>,
    stall: u64,
    buffer: Vec<u8>,
    ready: Vec<usize>,
}

impl<'o> Fleet<'o> {
    fn new(options: &'o Options) -> Result<Self> {
        Ok(Self {
            options,
            url: Url::parse(&options.url, "http", 1985)?,
            provider: provider(),
            poller: Poller::new()?,
            players: Vec::with_capacity(options.count),
            swept: Instant::now(),
            live: 0,
            failed: 0,
            disconnects: 0,
            errors: BTreeMap::new(),
            stall: 0,
            buffer: vec![0; BUFFER],
            ready: Vec::new(),
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
            // Samples spread evenly over the order of arrival.
            let (count, sample) = (self.options.count, self.options.sample.min(self.options.count));
            let sampled = (index + 1) * sample / count > index * sample / count;
            let opened = Peer::open(&self.url.suffixed(&suffix), Purpose::Play, &self.provider);
            let (peer, refused) = match opened {
                Ok(peer) => (Some(peer), None),
                Err(error) => (None, Some(error.to_string())),
            };
            if let Some(peer) = &peer {
                self.poller.add(peer, index)?;
            }
            self.players.push(Player {
                peer,
                sampled,
                live: false,
                tallies: BTreeMap::new(),
                seen: Seen::default(),
                bytes: 0,
                marked: 0,
            });
            if let Some(reason) = refused {
                *self.errors.entry(reason).or_default() += 1;
                self.failed += 1;
            }
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

    /// Waits a moment, serves whoever is ready, and lets time pass for whom something is due.
    fn turn(&mut self) -> Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(Duration::from_millis(1), &mut ready)?;
        let woken = now();
        ready.drain(..).for_each(|index| self.serve(index));
        self.ready = ready;
        let instant = Instant::now();
        if instant - self.swept >= SWEEP {
            self.swept = instant;
            for index in 0..self.players.len() {
                let peer = self.players.get_mut(index).and_then(|player| player.peer.as_mut());
                if let Some(Err(reason)) = peer.map(|peer| peer.tick(instant, |_| {})) {
                    self.fail(index, reason);
                }
            }
        }
        self.stall = self.stall.max(now() - woken);
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        let Some(player) = self.players.get_mut(index) else { return };
        let was_live = player.live;
        let served = player.serve(&mut self.buffer);
        self.live += usize::from(player.live && !was_live);
        if let Err(reason) = served {
            self.fail(index, reason);
        }
    }

    fn fail(&mut self, index: usize, reason: String) {
        let Some(player) = self.players.get_mut(index) else { return };
        if player.peer.take().is_none() {
            return;
        }
        *self.errors.entry(reason).or_default() += 1;
        if player.live { self.disconnects += 1 } else { self.failed += 1 }
    }

    /// Begins the measured time.
    fn measure(&mut self) {
        self.stall = 0;
        self.players.iter_mut().for_each(Player::measure);
    }

    fn report(&self, seconds: f64, cpu: f64) -> PlayReport {
        let received = |player: &Player| player.bytes - player.marked;
        let live = || self.players.iter().filter(|player| player.live);
        let tallies = || self.players.iter().flat_map(|player| player.tallies.values());
        let latencies = live().flat_map(|player| player.seen.latencies.iter().copied());
        PlayReport {
            players: self.options.count,
            live: self.live,
            disconnects: self.disconnects,
            errors: self.errors.clone(),
            seconds,
            bytes: self.players.iter().map(received).sum(),
            kbps: Spread::of(live().map(|player| received(player) as f64 * 8.0 / 1000.0 / seconds).collect()),
            sampled: live().filter(|player| player.sampled).count(),
            messages: 0,
            frames: Spread::of(live().map(|player| player.seen.frames as f64).collect()),
            latency_ms: Latency::of(latencies.collect()),
            gap_ms: live().map(|player| player.seen.gap).fold(0.0, f64::max),
            backward: live().map(|player| player.seen.backward).sum(),
            ts_packets: 0,
            ts_gaps: 0,
            rtp: Some(RtpReport {
                packets: tallies().map(|tally| tally.received).sum(),
                lost: tallies().map(Tally::lost).sum(),
                late: tallies().map(|tally| tally.late).sum(),
            }),
            stall_ms: self.stall as f64 / 1e6,
            cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_with_the_marker() {
        let mut seen = Seen::default();
        let packet = |timestamp, marker| Header { marker, payload_type: 1, sequence: 0, timestamp, ssrc: 1 };
        for (timestamp, marker, now) in [
            (u32::MAX, false, 0),
            (u32::MAX, true, 1_000_000),
            (3000, true, 34_000_000),
            (2000, false, 35_000_000),
            (2000, true, 36_000_000),
        ] {
            seen.packet(packet(timestamp, marker), now);
        }
        assert_eq!((seen.frames, seen.gap, seen.backward), (3, 33.0, 1));
    }
}
