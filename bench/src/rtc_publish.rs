//! WebRTC publishers: the pictures of the test stream and a tone in Opus, in real time, repeated with timestamps that go on,
//! stamped frame by frame. str0m packs, encrypts, reports and repeats what is lost. A keyframe comes when the file has
//! one; who asks for one sooner waits, as with a slow encoder.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use str0m::Event;
use str0m::crypto::CryptoProvider;
use str0m::media::{Frequency, MediaKind, MediaTime};

use crate::media::{Media, OPUS_MS};
use crate::net::{Poller, now};
use crate::peer::{Outcome, Peer, Purpose, provider};
use crate::process::Cpu;
use crate::stats::{Line, PublishReport};
use crate::url::Url;
use crate::{Result, avc, ogg, stamp};

const MILLISECOND: u64 = 1_000_000;
const BUFFER: usize = 64 << 10;
/// How often deadlines of sessions are looked at.
const SWEEP: Duration = Duration::from_millis(5);

/// What to publish and where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// `http://host[:port]/rtc/v1/whip/?app=live&stream=livestream`
    #[arg(long)]
    url: String,
    /// The FLV file whose pictures to repeat
    #[arg(long)]
    file: PathBuf,
    /// The Ogg file of Opus to repeat; 20 ms in each packet
    #[arg(long)]
    sound: PathBuf,
    /// Number of publishers; more than one get the suffixes _0, _1…
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// New publishers per second
    #[arg(long, default_value_t = 100.0)]
    ramp: f64,
    /// How long to go on once all are connected; 0: until killed
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
}

/// Publishes until the time is over; `say` gets the lines to print.
///
/// # Errors
/// When an option or a file is wrong, or the kernel refuses; publishers that fail are part of the report.
pub fn run(options: &Options, say: &mut dyn FnMut(&Line)) -> Result<()> {
    let mut studio = Studio::new(options)?;
    let (begin, mut ready_at) = (now(), None);
    let elapsed = |since: u64| (now() - since) as f64 / 1e9;
    while ready_at.is_none_or(|ready| options.seconds == 0.0 || elapsed(ready) < options.seconds) {
        let due = (elapsed(begin) * options.ramp) as usize + 1;
        studio.open(due.min(options.count))?;
        studio.turn()?;
        if ready_at.is_none() && studio.settled() {
            ready_at = Some(now());
            say(&Line::Ready);
        }
        if studio.failed == options.count {
            break;
        }
    }
    let seconds = elapsed(begin);
    let cpu = Cpu::of(std::process::id())?.total / seconds;
    say(&Line::Publish(PublishReport {
        publishers: options.count,
        live: studio.live,
        errors: studio.errors,
        seconds,
        bytes: studio.bytes,
        frames: studio.frames,
        late_ms: studio.late as f64 / MILLISECOND as f64,
        cpu,
    }));
    Ok(())
}

/// A frame of either kind.
struct Frame {
    kind: MediaKind,
    /// In milliseconds.
    time: u32,
    /// An FLV video tag, or Opus.
    body: Vec<u8>,
    /// What a decoder needs to begin here, in byte stream format.
    sets: Vec<u8>,
}

/// The test stream, ready to be sent, and how long a round of it lasts in milliseconds.
fn load(options: &Options) -> Result<(Vec<Frame>, u32)> {
    let media = Media::load(&options.file)?;
    let header = media.headers.iter().find(|tag| tag.kind == 9).ok_or("no sequence header in the file")?;
    let sets = avc::parameter_sets(&header.body).ok_or("a bad sequence header in the file")?;
    let duration = media.duration.next_multiple_of(OPUS_MS);
    let video = media.frames.into_iter().filter(|tag| tag.kind == 9).map(|tag| {
        let key = tag.body.first().is_some_and(|first| first >> 4 == 1);
        let sets = if key { sets.clone() } else { Vec::new() };
        Frame { kind: MediaKind::Video, time: tag.time, body: tag.body, sets }
    });
    let sound = std::fs::read(&options.sound).map_err(|e| format!("{}: {e}", options.sound.display()))?;
    let sound = ogg::opus(&sound)?;
    let audio = (0..duration).step_by(OPUS_MS as usize).zip(sound.iter().cycle());
    let audio = audio.map(|(time, packet)| Frame {
        kind: MediaKind::Audio,
        time,
        body: packet.clone(),
        sets: Vec::new(),
    });
    let mut frames: Vec<_> = video.chain(audio).collect();
    frames.sort_by_key(|frame| frame.time);
    Ok((frames, duration))
}

struct Publisher {
    /// `None` once it failed.
    peer: Option<Peer>,
    live: bool,
    /// When the stream's time zero is, of the round under way.
    origin: u64,
    /// Media time of this round's start, in milliseconds.
    offset: u64,
    next: usize,
}

struct Studio<'o> {
    options: &'o Options,
    url: Url,
    frames_of_round: Vec<Frame>,
    round: u32,
    /// Time between keyframes in nanoseconds: publishers are spread evenly over it.
    gop: u64,
    begin: u64,
    provider: Arc<CryptoProvider>,
    poller: Poller,
    publishers: Vec<Publisher>,
    /// When each connected publisher sends next.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    swept: Instant,
    live: usize,
    failed: usize,
    errors: BTreeMap<String, usize>,
    bytes: u64,
    frames: u64,
    late: u64,
    ready: Vec<usize>,
    buffer: Vec<u8>,
    stamped: Vec<u8>,
    stream: Vec<u8>,
}

impl<'o> Studio<'o> {
    fn new(options: &'o Options) -> Result<Self> {
        let (frames_of_round, round) = load(options)?;
        let mut keys = frames_of_round.iter().filter(|frame| !frame.sets.is_empty());
        let gop = keys.nth(1).map_or(round, |frame| frame.time);
        Ok(Self {
            options,
            url: Url::parse(&options.url, "http", 1985)?,
            frames_of_round,
            round,
            gop: u64::from(gop) * MILLISECOND,
            begin: now(),
            provider: provider(),
            poller: Poller::new()?,
            publishers: Vec::with_capacity(options.count),
            due: BinaryHeap::with_capacity(options.count),
            swept: Instant::now(),
            live: 0,
            failed: 0,
            errors: BTreeMap::new(),
            bytes: 0,
            frames: 0,
            late: 0,
            ready: Vec::new(),
            buffer: vec![0; BUFFER],
            stamped: Vec::new(),
            stream: Vec::new(),
        })
    }

    /// Opens publishers until there are `due`.
    fn open(&mut self, due: usize) -> Result<()> {
        while self.publishers.len() < due {
            let index = self.publishers.len();
            let suffix = if self.options.count > 1 { format!("_{index}") } else { String::new() };
            let opened = Peer::open(&self.url.suffixed(&suffix), Purpose::Publish, &self.provider);
            let (peer, refused) = match opened {
                Ok(peer) => (Some(peer), None),
                Err(error) => (None, Some(error.to_string())),
            };
            if let Some(peer) = &peer {
                self.poller.add(peer, index)?;
            }
            self.publishers.push(Publisher { peer, live: false, origin: 0, offset: 0, next: 0 });
            if let Some(reason) = refused {
                *self.errors.entry(reason).or_default() += 1;
                self.failed += 1;
            }
        }
        Ok(())
    }

    /// True when every publisher is connected or has failed.
    fn settled(&self) -> bool {
        self.live + self.failed >= self.options.count
    }

    /// Waits for the next frame or the next datagram, whichever comes first.
    fn turn(&mut self) -> Result<()> {
        let wait = self.due.peek().map_or(MILLISECOND, |Reverse((due, _))| due.saturating_sub(now()));
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(Duration::from_nanos(wait.min(5 * MILLISECOND)), &mut ready)?;
        ready.drain(..).for_each(|index| self.serve(index));
        self.ready = ready;
        while let Some(Reverse((due, index))) = self.due.peek().copied()
            && due <= now()
        {
            self.due.pop();
            self.late = self.late.max(now() - due);
            match self.send(index) {
                Ok(Some(next)) => self.due.push(Reverse((next, index))),
                Ok(None) => {}
                Err(reason) => self.fail(index, reason),
            }
        }
        let instant = Instant::now();
        if instant - self.swept >= SWEEP {
            self.swept = instant;
            for index in 0..self.publishers.len() {
                self.attend(index, |peer, hear| peer.tick(instant, hear));
            }
        }
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.attend(index, |peer, mut hear| {
            while let Some(count) = peer.read(&mut buffer)? {
                peer.receive(&buffer[..count], &mut hear)?;
            }
            Ok(())
        });
        self.buffer = buffer;
    }

    /// Does `work` with a publisher, and has it begin once it is connected.
    fn attend(&mut self, index: usize, work: impl FnOnce(&mut Peer, &mut dyn FnMut(Event)) -> Outcome) {
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        let Some(peer) = &mut publisher.peer else { return };
        let mut connected = false;
        let done = work(peer, &mut |event| connected |= matches!(event, Event::Connected));
        if connected && !publisher.live {
            publisher.live = true;
            self.live += 1;
            let phase = self.begin + self.gop * index as u64 / self.options.count as u64;
            publisher.origin = phase + now().saturating_sub(phase).div_ceil(self.gop) * self.gop;
            self.due.push(Reverse((publisher.origin, index)));
        }
        if let Err(reason) = done {
            self.fail(index, reason);
        }
    }

    /// Sends the next frame; returns when the one behind it is due.
    fn send(&mut self, index: usize) -> Outcome<Option<u64>> {
        let Some(publisher) = self.publishers.get_mut(index) else { return Ok(None) };
        let Some(peer) = &mut publisher.peer else { return Ok(None) };
        let frame = &self.frames_of_round[publisher.next];
        let time = publisher.offset + u64::from(frame.time);
        let data = match frame.kind {
            MediaKind::Audio => {
                peer.write(frame.kind, MediaTime::new(time * 48, Frequency::FORTY_EIGHT_KHZ), &frame.body)?;
                &frame.body
            }
            MediaKind::Video => {
                self.stamped.clear();
                stamp::insert(&frame.body, now(), &mut self.stamped);
                self.stream.clear();
                self.stream.extend_from_slice(&frame.sets);
                avc::write_byte_stream(&self.stamped, &mut self.stream);
                peer.write(frame.kind, MediaTime::new(time * 90, Frequency::NINETY_KHZ), &self.stream)?;
                self.frames += 1;
                &self.stream
            }
        };
        self.bytes += data.len() as u64;
        publisher.next += 1;
        if publisher.next == self.frames_of_round.len() {
            publisher.next = 0;
            publisher.offset += u64::from(self.round);
            publisher.origin += u64::from(self.round) * MILLISECOND;
        }
        let next = self.frames_of_round[publisher.next].time;
        Ok(Some(publisher.origin + u64::from(next) * MILLISECOND))
    }

    fn fail(&mut self, index: usize, reason: String) {
        let Some(publisher) = self.publishers.get_mut(index) else { return };
        if publisher.peer.take().is_some() {
            *self.errors.entry(reason).or_default() += 1;
            self.live -= usize::from(publisher.live);
            self.failed += 1;
        }
    }
}
