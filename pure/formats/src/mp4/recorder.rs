//! Frames to the fragments of one recording: each track by itself, a fragment of each for every second or so.

use bytes::Bytes;
use media::{Frame, Micros, TrackId, Tracks};

use super::clock::AudioClock;
use super::fragment::{Sample, fragment};
use super::{Description, track_id};
use crate::timeline::{Jitter, Timeline};

/// The fragments of a recording. What was written to it is lost only as far as it has not been taken out again.
#[derive(Debug)]
pub struct Recorder {
    lanes: Vec<Lane>,
    line: Timeline,
    jitter: Jitter,
    /// The decoding time of the first frame.
    first: Option<Micros>,
    sequence: u32,
    /// Where on the line the first frame is, and the newest one.
    span: Option<(Micros, Micros)>,
    /// Where on the line the last fragments were taken.
    taken: Micros,
    bytes: usize,
}

/// One track.
#[derive(Debug)]
struct Lane {
    id: TrackId,
    about: Description,
    clock: AudioClock,
    /// The newest frame, whose length the next one tells.
    newest: Option<Newest>,
    /// The ticks of the first sample.
    start: u64,
    samples: Vec<Sample>,
    data: Vec<Bytes>,
    /// How long the last sample was.
    rhythm: u64,
}

#[derive(Debug)]
struct Newest {
    start: u64,
    /// As far as it tells itself.
    length: Option<u64>,
    offset: i32,
    sync: bool,
    data: Bytes,
}

/// Media time that is lost at most when nobody can finish the file.
const LENGTH: Micros = Micros::from_secs(1);
/// Bytes beyond which nobody waits for it.
const MOST: usize = 4 << 20;
/// The line begins here: sound may begin before the picture that a file begins with.
pub(super) const LEAD: Micros = Micros::from_secs(2);

impl Recorder {
    /// A recording of the main tracks, as far as MP4 can carry them; `None` if it can carry none.
    pub fn new(tracks: &Tracks, jitter: Jitter) -> Option<Self> {
        let lanes: Vec<_> = tracks.iter().filter_map(Lane::new).collect();
        let line = Timeline::starting_at(jitter, LEAD);
        let recorder =
            Self { lanes, line, jitter, first: None, sequence: 0, span: None, taken: LEAD, bytes: 0 };
        (!recorder.lanes.is_empty()).then_some(recorder)
    }

    /// What the file begins with.
    pub fn head(&self) -> Bytes {
        super::recording(&self.lanes.iter().map(|lane| &lane.about).collect::<Vec<_>>())
    }

    /// Frames of these tracks can be written to the same file.
    pub fn fits(&self, tracks: &Tracks) -> bool {
        let mut now = tracks.iter().filter_map(Lane::new);
        self.lanes.iter().all(|lane| {
            now.next().is_some_and(|other| (other.id, other.about) == (lane.id, lane.about.clone()))
        }) && now.next().is_none()
    }

    /// Adds a frame; `false` if it is of a track which this file does not have.
    pub fn push(&mut self, frame: &Frame) -> bool {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == frame.track) else { return false };
        let first = *self.first.get_or_insert(frame.dts);
        let time = match self.jitter {
            Jitter::Full => self.line.advance(frame.track, frame.dts),
            // Files have no absolute time.
            Jitter::Zero | Jitter::Off => (frame.dts - first + LEAD).max(Micros::ZERO),
        };
        lane.push(frame, time);
        self.bytes = self.bytes.saturating_add(frame.data.len());
        let (start, end) = self.span.unwrap_or((time, time));
        self.span = Some((start.min(time), end.max(time)));
        true
    }

    /// From the first frame to the newest one.
    pub fn length(&self) -> Micros {
        self.span.map_or(Micros::ZERO, |(start, end)| end - start)
    }

    /// It is time to take fragments.
    pub fn is_due(&self) -> bool {
        self.span.is_some_and(|(_, end)| end - self.taken >= LENGTH) || self.bytes >= MOST
    }

    /// The next fragments, of each track one at most; with those frames whose length is not known yet, if they are the `last` ones.
    pub fn take(&mut self, last: bool) -> Vec<Bytes> {
        self.bytes = 0;
        self.taken = self.span.map_or(self.taken, |(_, end)| end);
        let sequence = &mut self.sequence;
        self.lanes.iter_mut().filter_map(|lane| lane.take(last, sequence)).collect()
    }
}

impl Lane {
    fn new(track: &media::Track) -> Option<Self> {
        let about = Description::of(track)?;
        Some(Self {
            id: track.id,
            clock: AudioClock::new(about.timescale),
            about,
            newest: None,
            start: 0,
            samples: Vec::new(),
            data: Vec::new(),
            rhythm: 0,
        })
    }

    fn push(&mut self, frame: &Frame, time: Micros) {
        let length = self.about.length(frame);
        let start = match length {
            Some(length) => self.clock.place(time, length, self.newest.is_some()),
            None => self.clock.ticks(time),
        };
        // Two frames never share their time.
        let start = self.newest.as_ref().map_or(start, |newest| start.max(newest.start.saturating_add(1)));
        self.close(Some(start));
        let offset = i64::from(self.about.timescale).saturating_mul((frame.pts - frame.dts).0) / 1_000_000;
        let offset = i32::try_from(offset).unwrap_or_default();
        self.newest = Some(Newest { start, length, offset, sync: frame.key, data: frame.data.clone() });
    }

    /// The newest frame lasts until the next one, or as long as can be guessed.
    fn close(&mut self, next: Option<u64>) {
        let Some(newest) = self.newest.take() else { return };
        let duration = match next {
            Some(next) => next.saturating_sub(newest.start),
            None if self.rhythm > 0 && newest.length.is_none() => self.rhythm,
            None => newest.length.unwrap_or(u64::from(self.about.timescale) / 25),
        };
        self.rhythm = duration;
        if self.samples.is_empty() {
            self.start = newest.start;
        }
        self.samples.push(Sample {
            duration: u32::try_from(duration).unwrap_or(u32::MAX),
            size: u32::try_from(newest.data.len()).unwrap_or(u32::MAX),
            offset: newest.offset,
            sync: newest.sync,
        });
        self.data.push(newest.data);
    }

    fn take(&mut self, last: bool, sequence: &mut u32) -> Option<Bytes> {
        if last {
            self.close(None);
        }
        if self.samples.is_empty() {
            return None;
        }
        *sequence = sequence.wrapping_add(1);
        let data = self.data.iter().map(|data| &**data);
        let bytes = fragment(*sequence, track_id(self.id.kind), self.start, &self.samples, data);
        self.samples.clear();
        self.data.clear();
        Some(bytes)
    }
}
