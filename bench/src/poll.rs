//! HLS players: each polls its playlist at its own moment of the interval, over a connection it keeps, and may fetch
//! every new segment. With low latency each always has a request for the playlist with the next part, and fetches parts. All playlists are checked, and some players' segments; the others' are thrown away uncopied.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::io::ErrorKind;
use std::time::Duration;

use clap::Args;

use crate::hls::{self, Media, Playlist};
use crate::net::{Connection, Poller, now};
use crate::process::Cpu;
use crate::stats::{HlsReport, Latency, Line, Spread};
use crate::url::Url;
use crate::{Result, http};

const SECOND: u64 = 1_000_000_000;
const BUFFER: usize = 4 << 20;
/// Read at once of an answer whose body is to be thrown away: its head, and little more.
const HEAD: usize = 1 << 10;
/// How long the last players may take to get a playlist with segments, beyond the ramp.
const OPENING: f64 = 30.0;
/// How long an answer may take, in nanoseconds.
const ANSWER: u64 = 10 * SECOND;
/// A playlist that shows nothing new for so many target durations stands still.
const STILL: u64 = 3;

/// Whose playlists to poll and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// `http://host[:port]/app/stream.m3u8`
    #[arg(long)]
    url: String,
    /// Number of players
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Streams the players spread over, suffixed _0, _1…; 0: all play the one named
    #[arg(long, default_value_t = 0)]
    streams: usize,
    /// Seconds between two polls of a player; players are spread evenly over it
    #[arg(long, default_value_t = 2.0)]
    interval: f64,
    /// Fetch every new segment as well
    #[arg(long)]
    fetch: bool,
    /// Wait for each part (Low-Latency HLS) instead of polling, and fetch parts
    #[arg(long)]
    low: bool,
    /// Measured seconds, after the ramp and the settling time
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// New players per second
    #[arg(long, default_value_t = 500.0)]
    ramp: f64,
    /// Seconds between the last player's first playlist and the measured time
    #[arg(long, default_value_t = 3.0)]
    settle: f64,
    /// Players whose segments are looked into
    #[arg(long, default_value_t = 50)]
    sample: usize,
}

/// Runs the players to the end of the measured time; `say` gets the lines to print.
///
/// # Errors
/// When an option is wrong or the kernel refuses a poller; what goes wrong with players is part of the report.
pub fn run(options: &Options, say: &mut dyn FnMut(&Line)) -> Result<()> {
    let mut audience = Audience::new(options)?;
    let begin = now();
    let patience = options.count as f64 / options.ramp + OPENING;
    while !audience.settled() && since(begin) < patience {
        audience.turn()?;
    }
    audience.run_for(options.settle)?;
    say(&Line::Ready);
    audience.measure();
    let (cpu, begin) = (Cpu::of(std::process::id())?, now());
    audience.run_for(options.seconds)?;
    let seconds = since(begin);
    let cpu = Cpu::of(std::process::id())?.since(cpu, seconds).total;
    say(&Line::Hls(audience.report(seconds, cpu)));
    Ok(())
}

fn since(begin: u64) -> f64 {
    (now() - begin) as f64 / SECOND as f64
}

type Outcome<T = ()> = std::result::Result<T, String>;

struct Player {
    /// Where the playlist is; the session's own address once the master playlist told it.
    url: Url,
    session: bool,
    /// `None` until the next request opens one.
    connection: Option<Connection>,
    request: Option<Request>,
    wanted: VecDeque<Url>,
    /// A poll came due while a request was under way.
    overdue: bool,
    show: Show,
    sampled: bool,
    bytes: u64,
    marked: u64,
}

/// What was asked for, and the answer so far.
struct Request {
    url: Url,
    segment: bool,
    asked: u64,
    reader: http::Reader,
    body: Vec<u8>,
    /// Asked over a connection that had carried an answer before.
    reused: bool,
}

/// What the playlists of a player have shown.
#[derive(Default)]
struct Show {
    /// The sequence number that comes next; `None` before the first playlist with segments.
    next: Option<u64>,
    /// When it last changed.
    changed: u64,
    /// With low latency, the numbers of the part that comes next; 0 before the first playlist.
    part: (u64, u64),
    /// What it was when measuring began.
    marked: u64,
}

impl Show {
    /// Takes a playlist received at `now`; returns how many of its last segments are new to the player: one at first.
    fn update(&mut self, media: &Media, now: u64) -> Outcome<usize> {
        let Some(last) = self.next else {
            if !media.segments.is_empty() {
                (self.next, self.changed) = (Some(media.next()), now);
            }
            return Ok(media.segments.len().min(1));
        };
        if media.next() < last {
            return Err("the media sequence goes back".into());
        }
        if media.first > last {
            self.next = Some(media.next());
            return Err("segments came and went between two polls".into());
        }
        if media.next() > last {
            (self.next, self.changed) = (Some(media.next()), now);
        } else if now.saturating_sub(self.changed) > STILL * media.target.max(1) * SECOND {
            self.changed = now;
            return Err("the playlist stands still".into());
        }
        Ok(media.since(last).len())
    }
}

/// What is counted in the measured time.
#[derive(Default)]
struct Counts {
    measuring: bool,
    poll_ms: Vec<f64>,
    segment_ms: Vec<f64>,
    connections: u64,
    late: u64,
    stall: u64,
}

struct Audience<'o> {
    options: &'o Options,
    poller: Poller,
    players: Vec<Player>,
    /// When each player polls next.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    interval: u64,
    counts: Counts,
    checked: u64,
    /// When a part was first told to anybody.
    first_told: HashMap<(u64, u64), u64>,
    faults: BTreeMap<String, u64>,
    buffer: Vec<u8>,
    ready: Vec<usize>,
}

impl<'o> Audience<'o> {
    fn new(options: &'o Options) -> Result<Self> {
        let url = Url::parse(&options.url, "http", 80)?;
        let (count, sample) = (options.count, options.sample.min(options.count));
        let player = |index: usize| Player {
            url: match options.streams {
                0 => url.clone(),
                streams => url.suffixed(&format!("_{}", index % streams)),
            },
            session: false,
            connection: None,
            request: None,
            wanted: VecDeque::new(),
            overdue: false,
            show: Show::default(),
            sampled: (index + 1) * sample / count > index * sample / count,
            bytes: 0,
            marked: 0,
        };
        let begin = now();
        let arrival = |index: usize| begin + (index as f64 / options.ramp * SECOND as f64) as u64;
        Ok(Self {
            options,
            poller: Poller::new()?,
            players: (0..count).map(player).collect(),
            due: (0..count).map(|index| Reverse((arrival(index), index))).collect(),
            interval: ((options.interval * SECOND as f64) as u64).max(1),
            counts: Counts::default(),
            checked: 0,
            first_told: HashMap::new(),
            faults: BTreeMap::new(),
            buffer: vec![0; BUFFER],
            ready: Vec::new(),
        })
    }

    /// True when every player has a playlist with segments.
    fn settled(&self) -> bool {
        self.players.iter().all(|player| player.show.next.is_some())
    }

    fn run_for(&mut self, seconds: f64) -> Result<()> {
        let begin = now();
        while since(begin) < seconds {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits for the next poll or the next answer, whichever comes first.
    fn turn(&mut self) -> Result<()> {
        let wait = self.due.peek().map_or(SECOND, |Reverse((due, _))| due.saturating_sub(now()));
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(Duration::from_nanos(wait.min(SECOND / 100)), &mut ready)?;
        let woken = now();
        for index in ready.drain(..) {
            let outcome = self.serve(index);
            self.note(index, outcome);
        }
        self.ready = ready;
        while let Some(Reverse((due, index))) = self.due.peek().copied()
            && due <= now()
        {
            self.due.pop();
            self.due.push(Reverse((self.next_poll(index), index)));
            let outcome = self.poll(index);
            self.note(index, outcome);
        }
        self.counts.stall = self.counts.stall.max(now() - woken);
        Ok(())
    }

    /// The next moment of the clock that belongs to player `index`.
    fn next_poll(&self, index: usize) -> u64 {
        let phase = self.interval * index as u64 / self.options.count as u64;
        let rounds = now().saturating_sub(phase) / self.interval + 1;
        rounds * self.interval + phase
    }

    /// A fault ends the player's connection; it goes on with its next poll.
    fn note(&mut self, index: usize, outcome: Outcome) {
        if let (Err(reason), Some(player)) = (outcome, self.players.get_mut(index)) {
            *self.faults.entry(reason).or_default() += 1;
            (player.connection, player.request) = (None, None);
        }
    }

    fn poll(&mut self, index: usize) -> Outcome {
        let player = &mut self.players[index];
        match &player.request {
            None => self.ask_playlist(index),
            Some(request) if now() - request.asked > ANSWER => Err("no answer for ten seconds".into()),
            Some(_) if self.options.low => Ok(()),
            Some(_) => {
                player.overdue = true;
                self.counts.late += u64::from(self.counts.measuring);
                Ok(())
            }
        }
    }

    fn ask_playlist(&mut self, index: usize) -> Outcome {
        let player = &mut self.players[index];
        player.overdue = false;
        let mut url = player.url.clone();
        if self.options.low && player.show.next.is_some() {
            let (segment, part) = player.show.part;
            let mark = if url.path.contains('?') { '&' } else { '?' };
            url.path += &format!("{mark}_HLS_msn={segment}&_HLS_part={part}");
        }
        self.ask(index, url, false)
    }

    fn ask(&mut self, index: usize, url: Url, segment: bool) -> Outcome {
        let player = &mut self.players[index];
        let reused = player.connection.is_some();
        if !reused {
            let connection = Connection::open(url.address).map_err(|error| error.to_string())?;
            self.poller.add(&connection, index).map_err(|error| error.to_string())?;
            player.connection = Some(connection);
            self.counts.connections += u64::from(self.counts.measuring);
        }
        let Some(connection) = &mut player.connection else { return Ok(()) };
        connection.out = http::request(&url.host, &url.path);
        let (reader, body) = (http::Reader::default(), Vec::new());
        player.request = Some(Request { url, segment, asked: now(), reader, body, reused });
        connection.flush().map_err(|error| error.to_string())
    }

    /// Receives as much as there is.
    fn serve(&mut self, index: usize) -> Outcome {
        while self.receive(index)? {}
        Ok(())
    }

    /// Receives once; false when there is nothing more.
    fn receive(&mut self, index: usize) -> Outcome<bool> {
        let player = &mut self.players[index];
        let Some(connection) = &mut player.connection else { return Ok(false) };
        connection.flush().map_err(|error| error.to_string())?;
        let unseen = player.request.as_ref().filter(|request| request.segment && !player.sampled);
        let skippable = unseen.and_then(|request| request.reader.skippable());
        let received = match skippable {
            Some(left) => connection.discard(&mut self.buffer[..left.min(BUFFER)]),
            None if unseen.is_some() => connection.read(&mut self.buffer[..HEAD]),
            None => connection.read(&mut self.buffer),
        };
        let count = match received {
            Ok(Some(count)) => count,
            Ok(None) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return self.closed(index).map(|()| true);
            }
            Err(error) => return Err(error.to_string()),
        };
        player.bytes += count as u64;
        let Some(request) = &mut player.request else { return Err("bytes that nobody asked for".into()) };
        let complete = match skippable {
            Some(_) => request.reader.skip(count),
            None => request.reader.push(&self.buffer[..count], &mut request.body)?,
        };
        if complete {
            self.answered(index)?;
        }
        Ok(true)
    }

    /// The server closed the connection, which it may do between answers, and at the end of one without a length.
    fn closed(&mut self, index: usize) -> Outcome {
        let player = &mut self.players[index];
        player.connection = None;
        match player.request.take() {
            None => Ok(()),
            Some(request) if request.reader.ends_with_connection() => {
                player.request = Some(request);
                self.answered(index)
            }
            Some(Request { url, segment, reused: true, reader, .. }) if reader.untouched() => {
                self.ask(index, url, segment)
            }
            Some(_) => Err("the server closed the connection within an answer".into()),
        }
    }

    fn answered(&mut self, index: usize) -> Outcome {
        let player = &mut self.players[index];
        let Some(Request { url, segment, asked, reader, body, .. }) = player.request.take() else {
            return Ok(());
        };
        let head = reader.head().ok_or("no HTTP head")?;
        if !head.keep_alive {
            player.connection = None;
        }
        let mut passed = (now() - asked) as f64 / 1e6;
        if segment {
            if head.status != 200 {
                return Err(format!("a segment answers {}", head.status));
            }
            if player.sampled {
                hls::check_segment(&body).map_err(|reason| format!("a segment has {reason}"))?;
                self.checked += 1;
            }
            if self.counts.measuring {
                self.counts.segment_ms.push(passed);
            }
        } else {
            // A stream without segments has no playlist yet.
            if head.status == 404 && player.show.next.is_none() {
                return Ok(());
            }
            if head.status != 200 {
                return Err(format!("a playlist answers {}", head.status));
            }
            match Playlist::parse(&String::from_utf8_lossy(&body))? {
                Playlist::Master(_) if player.session => {
                    return Err("a session's playlist is another master playlist".into());
                }
                Playlist::Master(reference) => {
                    (player.url, player.session) = (url.joined(&reference), true);
                    return self.ask_playlist(index);
                }
                Playlist::Media(media) => {
                    let new = player.show.update(&media, now())?;
                    if self.options.low {
                        let (known, next) = (player.show.part, media.next_part());
                        player.show.part = next;
                        let fresh = media.parts.iter().filter(|part| part.number >= known && known != (0, 0));
                        player.wanted.extend(fresh.map(|part| url.joined(&part.reference)));
                        // A request waits on purpose: what counts is how much later than the first of all this player is told.
                        let at = now();
                        passed = (at - *self.first_told.entry(next).or_insert(at)) as f64 / 1e6;
                    } else if self.options.fetch {
                        let references = &media.segments[media.segments.len() - new..];
                        player.wanted.extend(references.iter().map(|reference| url.joined(reference)));
                    }
                }
            }
            if self.counts.measuring {
                self.counts.poll_ms.push(passed);
            }
        }
        match player.wanted.pop_front() {
            Some(url) => self.ask(index, url, true),
            None if player.overdue || self.options.low && player.show.next.is_some() => {
                self.ask_playlist(index)
            }
            None => Ok(()),
        }
    }

    /// Begins the measured time.
    fn measure(&mut self) {
        self.counts = Counts { measuring: true, ..Counts::default() };
        for player in &mut self.players {
            player.marked = player.bytes;
            player.show.marked = player.show.next.unwrap_or_default();
        }
    }

    fn report(&self, seconds: f64, cpu: f64) -> HlsReport {
        let live = || self.players.iter().filter(|player| player.show.next.is_some());
        let received = |player: &Player| player.bytes - player.marked;
        let kbps = live().map(|player| received(player) as f64 * 8.0 / 1000.0 / seconds).collect();
        let advance = live().map(|Player { show, .. }| (show.next.unwrap_or_default() - show.marked) as f64);
        let counts = &self.counts;
        HlsReport {
            players: self.options.count,
            live: live().count(),
            faults: self.faults.clone(),
            seconds,
            polls: counts.poll_ms.len() as u64,
            segments: counts.segment_ms.len() as u64,
            checked: self.checked,
            bytes: self.players.iter().map(received).sum(),
            kbps: Spread::of(kbps),
            connections: counts.connections,
            late: counts.late,
            poll_ms: Latency::of(counts.poll_ms.clone()),
            segment_ms: Latency::of(counts.segment_ms.clone()),
            advance: Spread::of(advance.collect()),
            stall_ms: counts.stall as f64 / 1e6,
            cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(first: u64, count: u64) -> Media {
        Media {
            first,
            target: 2,
            segments: (first..first + count).map(|at| format!("{at}.ts")).collect(),
            parts: Vec::new(),
        }
    }

    #[test]
    fn new_segments_are_told_from_known_ones() {
        let mut show = Show::default();
        assert_eq!(show.update(&media(0, 0), 0), Ok(0));
        assert_eq!(show.next, None, "a playlist without segments is none yet");
        assert_eq!(show.update(&media(3, 4), 0), Ok(1), "a player starts with the newest");
        assert_eq!(show.update(&media(3, 4), SECOND), Ok(0));
        assert_eq!(show.update(&media(5, 4), 2 * SECOND), Ok(2));
        assert_eq!(show.next, Some(9));
    }

    #[test]
    fn a_sequence_goes_on_without_holes() {
        let mut show = Show::default();
        show.update(&media(3, 4), 0).unwrap();
        assert!(show.update(&media(2, 4), SECOND).unwrap_err().contains("back"));
        assert!(show.update(&media(8, 4), SECOND).unwrap_err().contains("came and went"));
        assert_eq!(show.update(&media(9, 4), SECOND), Ok(1), "a fault is told once");
        assert_eq!(show.update(&media(9, 4), 7 * SECOND), Ok(0));
        assert!(show.update(&media(9, 4), 8 * SECOND).unwrap_err().contains("still"));
        assert_eq!(show.update(&media(9, 4), 9 * SECOND), Ok(0));
    }
}
