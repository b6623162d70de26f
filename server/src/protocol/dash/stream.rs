//! One stream on its way to segments: which chunks they are made of, which of them are listed, and when in the presentation they are. It runs on the
//! packager's thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::cmaf::{Chunk, Grouping, GroupingOptions, Header, Init, Join, Part, Piece};
use formats::dash::{self, Low, Manifest, Period, Set, name, ticks};
use formats::mp4;
use hub::StreamKey;
use jiff::Timestamp;
use media::{Kind, Micros, Stamped};
use percent_encoding::utf8_percent_encode;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::segments::Segments;
use super::shelf::{Growth, Shelf};
use crate::config::{Dash, SegmentStorage};
use crate::follow::{self, Publisher};
use crate::form;
use crate::naming::{self, Names, PATH};

/// See the module.
pub struct Stream {
    dash: Arc<Dash>,
    segments: Segments,
    /// The manifest below `dash_path`.
    mpd: String,
    grouping: Grouping,
    manifest: Manifest,
    low: Option<Low>,
    /// The tracks of the chunks that come.
    init: Option<Arc<Init>>,
    open: Option<Open>,
    /// The newest period: the time at which it began, in seconds since 1970, or more if another one did.
    period: u64,
    /// The newest period is not at its place in the presentation.
    is_unplaced: bool,
    /// Of video, of audio.
    tracks: [Track; 2],
    /// The clock on the wall, in milliseconds since 1970.
    pub(super) clock: fn() -> i64,
    /// What is not listed any more, and may still be fetched.
    expired: VecDeque<String>,
    /// Segments that have grown to their end, of which players are to be told when the next one is listed: some go on by the number, listed or not.
    grown: Vec<watch::Sender<Growth>>,
}

/// What goes on from period to period.
struct Track {
    /// How many init segments there have been, and the newest of them.
    inits: u64,
    init: Bytes,
    /// How much later than decoded the first frame of the period is shown, in ticks.
    lag: u64,
    /// The segment that is sent while it grows, with low latency.
    growing: Option<watch::Sender<Growth>>,
}

/// The segment that is open: its video, its audio.
#[derive(Default)]
struct Open([Vec<Part>; 2]);

const KINDS: [Kind; 2] = [Kind::Video, Kind::Audio];

/// A segment ends without a keyframe when it is so many times as long as it shall be.
const OVERFLOW: f64 = 2.1;

/// Streams whose files stay for ever (`dash_dispose 0`) are remembered for so long after their publisher left.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The most memory that the segments of one stream take.
const MAX_RAM: usize = 256 << 20;

/// A period that would begin this soon after the one before follows it.
const NEAR: Micros = Micros::from_millis(100);

/// The chunks of streams without low latency are as long as this.
const CHUNK: Duration = Duration::from_secs(1);

/// What a publisher and this server may be late.
const JITTER: Duration = Duration::from_millis(500);

impl Stream {
    /// A stream without segments.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn new(key: &StreamKey, dash: &Arc<Dash>, shelf: &Arc<Shelf>) -> Result<Self, String> {
        let mpd = Names::of(key).fill(&dash.mpd_file);
        if !naming::is_safe(key) || !naming::stays_inside(&mpd) {
            return Err(format!("{key} cannot be the name of a file"));
        }
        let last = key.stream.rsplit('/').next().unwrap_or_default();
        let (above, file) = mpd.rsplit_once('/').map_or(("", &*mpd), |(above, file)| (above, file));
        let folder = if above.is_empty() { last.to_owned() } else { format!("{above}/{last}") };
        let escaped = |name: &str| utf8_percent_encode(name, PATH).to_string();
        let manifest = Manifest {
            update_period: form::micros(dash.update_period),
            window: dash.window,
            late: form::micros(dash.chunk.unwrap_or(CHUNK) + JITTER),
            base: format!("{}/", escaped(last)),
            own: escaped(file),
            ..Manifest::default()
        };
        let track = || Track { inits: 0, init: Bytes::new(), lag: 0, growing: None };
        Ok(Self {
            segments: Segments::new(key, dash, shelf, folder),
            grouping: grouping(dash),
            low: low(dash),
            manifest,
            init: None,
            open: None,
            period: 0,
            is_unplaced: false,
            tracks: [track(), track()],
            clock: || Timestamp::now().as_millisecond(),
            expired: VecDeque::new(),
            grown: Vec::new(),
            dash: dash.clone(),
            mpd,
        })
    }

    fn chunk(&mut self, chunk: Chunk) {
        let opens = match self.grouping.chunk(&chunk) {
            Join::Opens { discontinuity } => {
                self.close();
                if discontinuity {
                    self.begin_period(&chunk);
                }
                self.open = Some(Open::default());
                true
            }
            Join::Joins => false,
            Join::Skipped => return,
        };
        let duration = chunk.duration;
        self.part(Kind::Video, chunk.video);
        self.part(Kind::Audio, chunk.audio);
        if opens && self.low.is_some() {
            self.place(duration);
            self.show();
        }
        self.tell_grown();
    }

    /// The next part of a track.
    fn part(&mut self, kind: Kind, part: Option<Part>) {
        let Some((part, Open(parts))) = part.zip(self.open.as_mut()) else { return };
        let parts = &mut parts[at(kind)];
        let (is_first, bytes) = (parts.is_empty(), part.bytes.clone());
        parts.push(part.clone());
        if self.low.is_none() {
            return;
        }
        if is_first {
            self.grow(kind, &part);
        }
        if let Some(growing) = &self.tracks[at(kind)].growing {
            growing.send_modify(|growth| growth.pieces.push(bytes));
        }
    }

    /// The open segment of a track begins with this part, and players get it as it grows.
    fn grow(&mut self, kind: Kind, first: &Part) {
        let expected = self.expected(kind, first);
        let track = &mut self.tracks[at(kind)];
        let start = first.start + track.lag;
        let pieces = vec![Bytes::from_static(mp4::SEGMENT_TYPE)];
        let (sender, growth) = watch::channel(Growth { pieces, is_complete: false });
        track.growing = Some(sender);
        self.segments.grow(kind, &dash::segment(kind, self.period, start), growth);
        if let Some(set) = self.set_of(kind) {
            set.growing = Some((start, expected));
        }
    }

    /// How long the segment will probably be that begins with this part, in ticks. Players look for the next one where this one ends.
    fn expected(&mut self, kind: Kind, first: &Part) -> u64 {
        let fragment = form::micros(self.dash.fragment);
        let lag = self.tracks[at(Kind::Video)].lag;
        let pictures = self.set_of(Kind::Video).filter(|_| kind == Kind::Audio).and_then(|set| {
            let (start, length) = set.growing?;
            Some(micros((start + length).saturating_sub(lag), set.about.timescale))
        });
        let Some(set) = self.set_of(kind) else { return 0 };
        let Some(end) = pictures else { return set.expected(fragment) };
        // It goes on to the first frame of sound that does not begin before its pictures end.
        let frame = (first.duration / first.frames.max(1) as u64).max(1);
        ticks(end, set.about.timescale).saturating_sub(first.start).div_ceil(frame) * frame
    }

    /// Those who read segments that have grown to their end get to it.
    fn tell_grown(&mut self) {
        self.grown.drain(..).for_each(|grown| grown.send_modify(|growth| growth.is_complete = true));
    }

    fn set_of(&mut self, kind: Kind) -> Option<&mut Set> {
        self.manifest.periods.back_mut()?.sets.iter_mut().find(|set| set.about.kind == kind)
    }

    /// A stretch of the stream begins with this chunk.
    fn begin_period(&mut self, first: &Chunk) {
        let Some(init) = self.init.clone() else { return };
        // One that nothing has come of.
        let is_empty = |period: &mut Period| period.sets.iter().all(|set| set.segments.is_empty());
        self.manifest.periods.pop_back_if(is_empty);
        let scale = init.video.as_ref().map_or(1, |video| video.about.timescale);
        let lag = first.video.as_ref().map_or(0, |part| u64::try_from(part.lag).unwrap_or(0));
        let start = first.start + micros(lag, scale);
        let mut sets = Vec::new();
        for (kind, header) in [(Kind::Video, &init.video), (Kind::Audio, &init.audio)] {
            self.tracks[at(kind)].lag = if kind == Kind::Video { lag } else { 0 };
            sets.extend(header.as_ref().map(|header| self.set(kind, header, start)));
        }
        self.period = u64::try_from((self.clock)() / 1000).unwrap_or(0).max(self.period + 1);
        self.manifest.periods.push_back(Period { id: self.period, start: Micros::ZERO, sets });
        self.is_unplaced = true;
    }

    /// The track of a new period, with its init segment there.
    fn set(&mut self, kind: Kind, header: &Header, start: Micros) -> Set {
        let track = &mut self.tracks[at(kind)];
        let is_other = track.init != header.bytes;
        track.inits += u64::from(is_other);
        track.init = header.bytes.clone();
        let init = match track.inits {
            1 => format!("{}-init.mp4", name(kind)),
            n => format!("{}-init-{n}.mp4", name(kind)),
        };
        if is_other {
            self.segments.put(kind, &init, vec![header.bytes.clone()]);
        }
        Set {
            about: header.about.clone(),
            init,
            zero: ticks(start, header.about.timescale),
            bandwidth: 0,
            segments: VecDeque::new(),
            growing: None,
        }
    }

    /// The segment that is open is complete.
    fn close(&mut self) {
        let Some(Open(parts)) = self.open.take() else { return };
        if parts.iter().all(Vec::is_empty) {
            return;
        }
        for (kind, parts) in KINDS.into_iter().zip(parts) {
            self.segment(kind, &parts);
        }
        let end = self.manifest.periods.back().map(Period::end).unwrap_or_default();
        self.place(end);
        self.shorten();
        self.show();
        if let Some(text) = self.manifest.write(None) {
            self.segments.list(&self.mpd, &text);
        }
        self.drop_expired();
    }

    fn segment(&mut self, kind: Kind, parts: &[Part]) {
        let Some(first) = parts.first() else { return };
        let track = &mut self.tracks[at(kind)];
        let start = first.start + track.lag;
        self.grown.extend(track.growing.take());
        let duration: u64 = parts.iter().map(|part| part.duration).sum();
        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        let head = Bytes::from_static(mp4::SEGMENT_TYPE);
        let pieces = std::iter::once(head).chain(parts.iter().map(|part| part.bytes.clone())).collect();
        let file = dash::segment(kind, self.period, start);
        self.segments.put(kind, &file, pieces);
        debug!("dash: {} {file} of {duration} ticks", self.segments.key);
        let Some(set) = self.set_of(kind) else { return };
        set.growing = None;
        set.segments.push_back((start, duration));
        let rate = bytes as u64 * 8 * u64::from(set.about.timescale) / duration.max(1);
        set.bandwidth = set.bandwidth.max(rate);
    }

    /// Puts the newest period, of which so much is there, where the clock on the wall says: not before the one before it has ended.
    fn place(&mut self, there: Micros) {
        if !std::mem::take(&mut self.is_unplaced) {
            return;
        }
        let now = (self.clock)();
        let manifest = &mut self.manifest;
        let before = manifest.periods.len().checked_sub(2).and_then(|at| manifest.periods.get(at));
        let free = before.map_or(Micros::ZERO, |period| period.start + period.end());
        if manifest.available_since == 0 {
            manifest.available_since = now - there.millis();
        }
        let clock = Micros::from_millis(now - manifest.available_since) - there;
        if let Some(newest) = manifest.periods.back_mut() {
            newest.start = if clock - free < NEAR { free } else { clock };
        }
    }

    /// Takes the oldest segments off the list.
    fn shorten(&mut self) {
        let window = self.dash.window;
        for kind in KINDS {
            let sets = |periods: &VecDeque<Period>| -> usize {
                let sets = periods.iter().flat_map(|period| &period.sets);
                sets.filter(|set| set.about.kind == kind).map(|set| set.segments.len()).sum()
            };
            let mut listed = sets(&self.manifest.periods);
            for period in &mut self.manifest.periods {
                for set in period.sets.iter_mut().filter(|set| set.about.kind == kind) {
                    while listed > window
                        && let Some((start, _)) = set.segments.pop_front()
                    {
                        self.expired.push_back(self.segments.file(&dash::segment(kind, period.id, start)));
                        listed -= 1;
                    }
                }
            }
        }
        let is_empty = |period: &Period| period.sets.iter().all(|set| set.segments.is_empty());
        while self.manifest.periods.len() > 1
            && let Some(gone) = self.manifest.periods.pop_front_if(|period| is_empty(period))
        {
            let is_needed =
                |init: &str| self.manifest.periods.iter().any(|p| p.sets.iter().any(|set| set.init == init));
            let inits = gone.sets.into_iter().map(|set| set.init).filter(|init| !is_needed(init));
            let inits: Vec<String> = inits.filter(|init| !self.is_newest(init)).collect();
            self.expired.extend(inits.iter().map(|init| self.segments.file(init)));
        }
    }

    /// The next period may have the same init segment.
    fn is_newest(&self, init: &str) -> bool {
        KINDS.into_iter().any(|kind| match self.tracks[at(kind)].inits {
            1 => init == format!("{}-init.mp4", name(kind)),
            n => init == format!("{}-init-{n}.mp4", name(kind)),
        })
    }

    /// Shows players what there is now.
    fn show(&mut self) {
        self.manifest.published = (self.clock)();
        if let Some(text) = self.manifest.write(self.low) {
            self.segments.show(&self.mpd, text);
        }
    }

    /// Files stay for as many segments as are listed, once they are listed no more: players may be about to fetch them.
    fn drop_expired(&mut self) {
        let kinds = self.manifest.periods.back().map_or(1, |period| period.sets.len().max(1));
        while self.expired.len() > self.dash.window * kinds || self.segments.ram() > MAX_RAM {
            let Some(oldest) = self.expired.pop_front() else { break };
            self.segments.remove(&oldest, self.dash.cleanup);
        }
    }

    /// The publisher is gone, or what comes next is made in another way.
    fn stop(&mut self) {
        self.close();
        self.tell_grown();
        self.grouping.restart();
    }
}

fn at(kind: Kind) -> usize {
    usize::from(kind != Kind::Video)
}

fn grouping(dash: &Dash) -> Grouping {
    let target = form::micros(dash.fragment);
    Grouping::new(GroupingOptions { target, overflow: Micros((target.0 as f64 * OVERFLOW) as i64) })
}

/// Players have to learn of a segment before they need its first chunk.
fn low(dash: &Dash) -> Option<Low> {
    const OFTEN: Duration = Duration::from_millis(500);
    const LATENCY: Duration = Duration::from_millis(1500);
    dash.low?;
    let chunk = dash.chunk.unwrap_or(CHUNK);
    let update_period = (dash.fragment / 4).max(OFTEN);
    let latency = (chunk + update_period + JITTER * 2).max(LATENCY);
    Some(Low {
        latency: form::micros(latency),
        chunk: form::micros(chunk),
        update_period: form::micros(update_period),
    })
}

fn micros(ticks: u64, scale: u32) -> Micros {
    let micros = u128::from(ticks) * 1_000_000 / u128::from(scale.max(1));
    Micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

impl follow::Stream for Stream {
    type Unit = Piece;
    type Link = ();

    fn turn(mut self, now: Self) -> Self {
        self.stop();
        if self.dash.path != now.dash.path || self.mpd != now.mpd {
            self.segments.leave();
            return now;
        }
        let Manifest { update_period, window, late, .. } = now.manifest;
        let manifest = Manifest { update_period, window, late, ..self.manifest };
        Self { dash: now.dash, grouping: now.grouping, low: now.low, manifest, ..self }
    }

    fn begin(&mut self, (): (), _publisher: Publisher) {
        let place = match self.dash.storage {
            SegmentStorage::Disk => self.dash.path.display().to_string(),
            SegmentStorage::Ram => "memory".to_owned(),
        };
        info!("dash: {} goes to {place}, segments of {:?}", self.segments.key, self.dash.fragment);
        self.grouping.restart();
        self.segments.begin(self.dash.storage);
    }

    /// Its chunks begin with a discontinuity of their own.
    fn renew(&mut self, _publisher: Publisher) {
        self.segments.begin(self.dash.storage);
    }

    fn lose(&mut self, units: u64) {
        warn!("dash: the disk is too slow for {}, {units} chunks are lost", self.segments.key);
        self.close();
        self.tell_grown();
        self.grouping.restart();
    }

    fn take(&mut self, piece: Stamped<Piece>) {
        match piece.unit {
            Piece::Init(init) => {
                // What is open is of the tracks before.
                self.close();
                self.tell_grown();
                self.init = Some(init);
            }
            Piece::Chunk(chunk) => self.chunk(chunk),
        }
    }

    fn leave(&mut self) {
        self.stop();
    }

    fn rest(&self) -> Duration {
        self.dash.dispose.unwrap_or(REMEMBERED)
    }

    fn end(mut self, files_stay: bool) {
        self.stop();
        if self.dash.dispose.is_some() && !files_stay {
            self.segments.dispose(&self.mpd, !self.dash.cleanup);
        } else {
            self.segments.leave();
        }
    }
}
