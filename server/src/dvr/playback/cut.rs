//! A stretch of a recording as a segment of fragmented MP4, made while it is taken: a fragment of each track for every second or so. Its times are
//! those of the clock on the wall, so that one stretch follows the other, and one file the other, without a gap.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use formats::frames::Item;
use formats::mp4::{AudioClock, Description, Sample, fragment, init, track_id};
use media::{Frame, Kind, Micros, Track, TrackId, Tracks};

use super::{Index, Stretch, Tape, Theatre};
use crate::dvr::catalogue::Recording;

/// See the module. It waits for disks.
pub struct Cut {
    tape: Tape,
    begin: Micros,
    start: Micros,
    end: Micros,
    lanes: Vec<Lane>,
    sequence: u32,
    is_over: bool,
}

struct Lane {
    id: TrackId,
    about: Description,
    clock: AudioClock,
    /// Frames that are in no fragment yet, and where they begin in ticks.
    frames: Vec<(Frame, u64)>,
    bytes: usize,
    /// How long the last frame was, in ticks.
    rhythm: u64,
    /// All frames of the stretch have come, and the one behind them begins here.
    over: Option<u64>,
}

/// A fragment is so long, or so large.
const LENGTH: Micros = Micros::from_secs(1);
const LARGE: usize = 256 << 10;

/// Sound of the first stretch may begin a little before its first picture.
const LEAD: Micros = Micros::from_millis(100);

/// Frames of sound before the first picture.
const MOST_BEFORE: usize = 512;

/// Sound and pictures are this far apart in files at most.
const APART: Micros = Micros::from_secs(1);

impl Cut {
    /// A stretch from its beginning; nothing if MP4 carries none of its tracks.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(
        theatre: &Theatre,
        recording: &Arc<Recording>,
        stretch: &Stretch,
    ) -> io::Result<Option<Self>> {
        let mut tape = Tape::open(recording)?;
        theatre.index(recording, |index| seek(&mut tape, index, stretch))?;
        let mut cut = Self {
            tape,
            begin: recording.begin,
            start: stretch.start - if stretch.number == 0 { LEAD } else { Micros::ZERO },
            end: stretch.end,
            lanes: Vec::new(),
            sequence: 0,
            is_over: false,
        };
        cut.read_tracks(recording)?;
        Ok((!cut.lanes.is_empty()).then_some(cut))
    }

    /// What a file with this stretch begins with.
    pub fn init(&self) -> Bytes {
        init(&self.lanes.iter().map(|lane| &lane.about).collect::<Vec<_>>())
    }

    /// Reads to the first picture, before which all is said of the tracks.
    fn read_tracks(&mut self, recording: &Recording) -> io::Result<()> {
        let (mut tracks, mut frames) = (Arc::<Tracks>::default(), Vec::new());
        loop {
            match self.tape.next(recording.is_complete())? {
                Some(Item::Tracks(now)) => tracks = now,
                Some(Item::Frame(frame)) if frame.dts < self.start => {}
                Some(Item::Frame(frame)) => {
                    let is_last = frame.track.kind == Kind::Video || tracks.video().is_none();
                    frames.push(frame);
                    if is_last || frames.len() > MOST_BEFORE {
                        break;
                    }
                }
                None => break,
            }
        }
        self.lanes = tracks.iter().filter_map(Lane::new).collect();
        frames.into_iter().for_each(|frame| self.take(frame));
        Ok(())
    }

    /// The next fragments; nothing at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.is_over {
            match self.tape.next(true)? {
                Some(Item::Frame(frame)) if frame.dts >= self.start => self.take(frame),
                Some(Item::Frame(_)) => {}
                // They are others only behind the end.
                Some(Item::Tracks(_)) => {}
                None => self.is_over = true,
            }
            if self.is_due() {
                break;
            }
        }
        let (is_over, sequence) = (self.is_over, &mut self.sequence);
        let all: Vec<_> = self.lanes.iter_mut().filter_map(|lane| lane.fragment(is_over, sequence)).collect();
        if all.is_empty() { Ok(None) } else { Ok(Some(all.concat().into())) }
    }

    fn is_due(&self) -> bool {
        let is_long = |lane: &Lane| {
            let times = lane.frames.first().zip(lane.frames.last());
            times.is_some_and(|((first, _), (last, _))| last.dts - first.dts > LENGTH)
        };
        self.lanes.iter().any(|lane| lane.frames.len() > 1 && (is_long(lane) || lane.bytes > LARGE))
    }

    fn take(&mut self, mut frame: Frame) {
        let (is_behind, is_far) = (frame.dts >= self.end, frame.dts >= self.end + APART);
        (frame.dts, frame.pts) = (self.begin + frame.dts, self.begin + frame.pts);
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == frame.track) {
            match is_behind {
                true => _ = lane.over.get_or_insert(lane.clock.ticks(frame.dts)),
                false if lane.over.is_none() => lane.push(frame),
                false => {}
            }
        }
        self.is_over |= is_far || self.lanes.iter().all(|lane| lane.over.is_some());
    }
}

fn seek(tape: &mut Tape, index: &Index, stretch: &Stretch) {
    if let Some(point) = index.before(stretch.start) {
        tape.seek(index, point);
    }
}

impl Lane {
    fn new(track: &Track) -> Option<Self> {
        let about = Description::of(track)?;
        let clock = AudioClock::new(about.timescale);
        Some(Self { id: track.id, about, clock, frames: Vec::new(), bytes: 0, rhythm: 0, over: None })
    }

    fn push(&mut self, frame: Frame) {
        let start = match self.about.length(&frame) {
            Some(length) => self.clock.place(frame.dts, length, true),
            None => self.clock.ticks(frame.dts),
        };
        // Two frames never share their time.
        let start = self.frames.last().map_or(start, |(_, last)| start.max(last + 1));
        self.bytes += frame.data.len();
        self.frames.push((frame, start));
    }

    /// All frames whose length is known: all but the newest, or really all if no other comes.
    fn fragment(&mut self, is_over: bool, sequence: &mut u32) -> Option<Bytes> {
        let (count, last) = (self.frames.len(), self.frames.last()?.1);
        let (taken, end) = match is_over {
            true => {
                let length = || self.frames.last().and_then(|(frame, _)| self.about.length(frame));
                let guessed = || length().unwrap_or(self.rhythm.max(u64::from(self.about.timescale) / 100));
                (count, self.over.filter(|over| *over > last).unwrap_or_else(|| last + guessed()))
            }
            false => (count - 1, last),
        };
        let rest = self.frames.split_off(taken);
        let frames = std::mem::replace(&mut self.frames, rest);
        self.bytes = self.frames.iter().map(|(frame, _)| frame.data.len()).sum();
        let start = frames.first()?.1;
        let nexts = frames.iter().skip(1).map(|(_, at)| *at).chain([end]);
        let scale = i128::from(self.about.timescale);
        let samples: Vec<Sample> = frames
            .iter()
            .zip(nexts)
            .map(|((frame, at), next)| {
                let offset = (i128::from((frame.pts - frame.dts).0) * scale + 500_000).div_euclid(1_000_000);
                Sample {
                    duration: u32::try_from(next - at).unwrap_or(u32::MAX),
                    size: u32::try_from(frame.data.len()).unwrap_or(u32::MAX),
                    offset: i32::try_from(offset).unwrap_or_default(),
                    sync: frame.key || self.id.kind == Kind::Audio,
                }
            })
            .collect();
        self.rhythm = samples.last().map_or(0, |sample| sample.duration.into());
        *sequence = sequence.wrapping_add(1);
        let data = frames.iter().map(|(frame, _)| &frame.data[..]);
        Some(fragment(*sequence, track_id(self.id.kind), start, &samples, data))
    }
}
