//! Publishers: the test stream in real time, repeated with timestamps that go on, stamped frame by frame.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::chunk::{self, Message};
use crate::client::{CHUNK_SIZE, Client, Event, MEDIA_LANE, Role};
use crate::flv::Tag;
use crate::media::Media;
use crate::net::{Connection, Poller, now};
use crate::process::Cpu;
use crate::stats::{Line, PublishReport};
use crate::url::Url;
use crate::{Result, stamp};

const MILLISECOND: u64 = 1_000_000;
const BUFFER: usize = 64 << 10;
/// A server that leaves so many bytes unread is given up.
const MAX_UNSENT: usize = 8 << 20;

/// What to publish and where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// `rtmp://host[:port]/app/stream`
    #[arg(long)]
    url: String,
    /// The FLV file to repeat
    #[arg(long)]
    file: PathBuf,
    /// Number of publishers; more than one get the suffixes _0, _1…
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// How long to go on once all are accepted; 0: until killed
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
}

/// Publishes until the time is over; `say` gets the lines to print.
///
/// # Errors
/// When an option or the file is wrong, or the kernel refuses; publishers that fail are part of the report.
pub fn run(options: &Options, say: &mut dyn FnMut(&Line)) -> Result<()> {
    let url = Url::parse(&options.url, "rtmp", 1935)?;
    let mut studio = Studio::new(Media::load(&options.file)?, options.count)?;
    for index in 0..options.count {
        let suffix = if options.count > 1 { format!("_{index}") } else { String::new() };
        studio.open(url.suffixed(&suffix))?;
    }
    let (begin, mut ready_at) = (now(), None);
    let elapsed = |since: u64| (now() - since) as f64 / 1e9;
    while ready_at.is_none_or(|ready| options.seconds == 0.0 || elapsed(ready) < options.seconds) {
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

struct Publisher {
    /// `None` once it failed.
    connection: Option<Connection>,
    client: Client,
    /// When the stream's time zero is, of the round under way.
    origin: u64,
    /// Media time of this round's start, in milliseconds.
    offset: u32,
    next: usize,
}

struct Studio {
    media: Media,
    /// Time between keyframes in nanoseconds: publishers are spread evenly over it.
    gop: u64,
    count: usize,
    begin: u64,
    poller: Poller,
    publishers: Vec<Publisher>,
    /// When each accepted publisher sends next.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    live: usize,
    failed: usize,
    errors: BTreeMap<String, usize>,
    bytes: u64,
    frames: u64,
    late: u64,
    ready: Vec<usize>,
    buffer: Vec<u8>,
    events: Vec<Event>,
    stamped: Vec<u8>,
}

impl Studio {
    fn new(media: Media, count: usize) -> Result<Self> {
        let mut keys =
            media.frames.iter().filter(|tag| tag.kind == 9 && tag.body.first().is_some_and(|b| b >> 4 == 1));
        let gop = keys.nth(1).map_or(media.duration, |tag| tag.time);
        Ok(Self {
            gop: u64::from(gop) * MILLISECOND,
            media,
            count,
            begin: now(),
            poller: Poller::new()?,
            publishers: Vec::with_capacity(count),
            due: BinaryHeap::with_capacity(count),
            live: 0,
            failed: 0,
            errors: BTreeMap::new(),
            bytes: 0,
            frames: 0,
            late: 0,
            ready: Vec::new(),
            buffer: vec![0; BUFFER],
            events: Vec::new(),
            stamped: Vec::new(),
        })
    }

    fn open(&mut self, url: Url) -> Result<()> {
        let mut connection = Connection::open(url.address)?;
        let client = Client::open(url, Role::Publish, &mut connection.out);
        let index = self.publishers.len();
        self.poller.add(&connection, index)?;
        self.publishers.push(Publisher {
            connection: Some(connection),
            client,
            origin: 0,
            offset: 0,
            next: 0,
        });
        self.serve(index);
        Ok(())
    }

    /// True when every publisher is accepted or has failed.
    fn settled(&self) -> bool {
        self.live + self.failed >= self.count
    }

    /// Waits for the next frame or the next answer, whichever comes first.
    fn turn(&mut self) -> Result<()> {
        let wait = self.due.peek().map_or(10 * MILLISECOND, |Reverse((due, _))| due.saturating_sub(now()));
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(Duration::from_nanos(wait), &mut ready)?;
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
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        if let Err(reason) = self.try_serve(index) {
            self.fail(index, reason);
        }
    }

    fn try_serve(&mut self, index: usize) -> std::result::Result<(), String> {
        let Some(publisher) = self.publishers.get_mut(index) else { return Ok(()) };
        let Some(connection) = &mut publisher.connection else { return Ok(()) };
        loop {
            connection.flush().map_err(|error| error.to_string())?;
            let Some(count) = connection.read(&mut self.buffer).map_err(|error| error.to_string())? else {
                break;
            };
            publisher.client.receive(&self.buffer[..count], &mut connection.out, &mut self.events)?;
        }
        if self.events.drain(..).any(|event| matches!(event, Event::Accepted)) {
            self.live += 1;
            for tag in &self.media.headers {
                write(&mut connection.out, publisher.client.stream(), tag, 0, &tag.body);
            }
            let phase = self.begin + self.gop * index as u64 / self.count as u64;
            publisher.origin = phase + now().saturating_sub(phase).div_ceil(self.gop) * self.gop;
            self.due.push(Reverse((publisher.origin, index)));
        }
        Ok(())
    }

    /// Sends the next frame; returns when the one behind it is due.
    fn send(&mut self, index: usize) -> std::result::Result<Option<u64>, String> {
        let Some(publisher) = self.publishers.get_mut(index) else { return Ok(None) };
        let Some(connection) = &mut publisher.connection else { return Ok(None) };
        let tag = &self.media.frames[publisher.next];
        self.stamped.clear();
        if tag.kind == 9 {
            stamp::insert(&tag.body, now(), &mut self.stamped);
            self.frames += 1;
        } else {
            self.stamped.extend_from_slice(&tag.body);
        }
        let time = publisher.offset.wrapping_add(tag.time);
        write(&mut connection.out, publisher.client.stream(), tag, time, &self.stamped);
        self.bytes += self.stamped.len() as u64;
        connection.flush().map_err(|error| error.to_string())?;
        if connection.out.len() > MAX_UNSENT {
            return Err("the server does not read".into());
        }
        publisher.next += 1;
        if publisher.next == self.media.frames.len() {
            publisher.next = 0;
            publisher.offset = publisher.offset.wrapping_add(self.media.duration);
            publisher.origin += u64::from(self.media.duration) * MILLISECOND;
        }
        let next = self.media.frames[publisher.next].time;
        Ok(Some(publisher.origin + u64::from(next) * MILLISECOND))
    }

    fn fail(&mut self, index: usize, reason: String) {
        let taken = self.publishers.get_mut(index).and_then(|publisher| publisher.connection.take());
        if taken.is_some() {
            *self.errors.entry(reason).or_default() += 1;
            self.failed += 1;
        }
    }
}

fn write(out: &mut Vec<u8>, stream: u32, tag: &Tag, time: u32, body: &[u8]) {
    chunk::write(out, MEDIA_LANE, CHUNK_SIZE, &Message { kind: tag.kind, time, stream, body: body.to_vec() });
}
