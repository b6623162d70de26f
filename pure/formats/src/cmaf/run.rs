//! A run: the stretch of a stream without a discontinuity in it. Its frames are put on the time line, and gathered into chunks.

use bytes::Bytes;
use media::{Frame, Kind, Micros};

use super::{Chunk, Header, Init, Part, ROUNDING};
use crate::mp4::{self, AudioClock, Description, Sample};

/// See the module.
#[derive(Debug)]
pub(super) struct Run {
    /// What is added to the publisher's times.
    shift: Micros,
    /// Where the run begins on the time line.
    base: Micros,
    part: Micros,
    pub(super) video: Option<Video>,
    pub(super) audio: Option<Audio>,
    /// A chunk has been made.
    pub(super) begun: bool,
}

#[derive(Debug)]
pub(super) struct Video {
    pub(super) about: Description,
    /// Of the chunk that is open.
    frames: Vec<(Frame, Times)>,
    bytes: usize,
    /// The last step between two frames, in ticks.
    step: u64,
}

/// When a picture is decoded, and how much later shown, in ticks.
#[derive(Clone, Copy, Debug)]
struct Times {
    at: u64,
    offset: i32,
}

#[derive(Debug)]
pub(super) struct Audio {
    pub(super) about: Description,
    clock: AudioClock,
    /// Those that are in no chunk yet, with the tick of each.
    frames: Vec<(Frame, u64)>,
}

/// Frames that a chunk has at most, whatever its time.
const MAX_FRAMES: usize = 1024;
/// Bytes after which a chunk ends, whatever its time.
const MAX_BYTES: usize = 8 << 20;
/// Runs begin at multiples of this, in microseconds.
const GRID: i64 = 40_000;
/// How long a picture lasts that is the only one of its run.
const ONE: Micros = Micros::from_millis(40);

impl Run {
    /// Puts the time `origin` of the publisher at `base`.
    pub(super) fn new(
        base: Micros,
        origin: Micros,
        part: Micros,
        video: Option<Description>,
        audio: Option<Description>,
    ) -> Self {
        let video = video.map(|about| {
            let step = ticks(ONE, about.timescale);
            Video { about, frames: Vec::new(), bytes: 0, step }
        });
        let audio = audio.map(|about| {
            let clock = AudioClock::new(about.timescale);
            Audio { about, clock, frames: Vec::new() }
        });
        Self { shift: base - origin, base, part, video, audio, begun: false }
    }

    /// It has this track.
    pub(super) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Video => self.video.is_some(),
            Kind::Audio => self.audio.is_some(),
            Kind::Data => false,
        }
    }

    /// The next frame of a track that it has. Returns the chunk that is complete before it.
    pub(super) fn frame(&mut self, frame: &Frame, sequence: &mut u32) -> Option<Chunk> {
        let time = (frame.dts + self.shift).max(self.base);
        match frame.track.kind {
            Kind::Video => self.picture(frame, time, sequence),
            Kind::Audio => self.sound(frame, time, sequence),
            Kind::Data => None,
        }
    }

    fn picture(&mut self, frame: &Frame, time: Micros, sequence: &mut u32) -> Option<Chunk> {
        let video = self.video.as_mut()?;
        let scale = video.about.timescale;
        let told = ticks(time, scale);
        // Time never stands still, or runs backwards.
        let at = video.frames.last().map_or(told, |(_, last)| told.max(last.at + 1));
        let lag = signed_ticks(frame.pts - frame.dts, scale) + i128::from(told) - i128::from(at);
        let times = Times { at, offset: i32::try_from(lag).unwrap_or_default() };
        if let Some((_, last)) = video.frames.last() {
            video.step = at - last.at;
        }
        let is_due = video.frames.first().is_some_and(|(_, first)| {
            frame.key
                || at + video.step - first.at > ticks(self.part + ROUNDING, scale)
                || video.frames.len() >= MAX_FRAMES
                || video.bytes >= MAX_BYTES
        });
        let chunk = if is_due { self.close(at, false, sequence) } else { None };
        if let Some(video) = &mut self.video {
            video.bytes += frame.data.len();
            video.frames.push((frame.clone(), times));
        }
        chunk
    }

    fn sound(&mut self, frame: &Frame, time: Micros, sequence: &mut u32) -> Option<Chunk> {
        let audio = self.audio.as_mut()?;
        let length = audio.about.length(frame)?;
        let at = audio.clock.place(time, length, !audio.frames.is_empty());
        let is_due = audio.frames.first().is_some_and(|(_, first)| {
            let full = audio.frames.len() >= MAX_FRAMES;
            full || at + length - first > audio.clock.ticks(self.part + ROUNDING)
        });
        let alone = self.video.is_none();
        let chunk = if is_due && alone { self.close(at, false, sequence) } else { None };
        if let Some(audio) = &mut self.audio {
            // Pictures that do not come must not let sound pile up. What is too much is left out, and the clock tells so.
            if audio.frames.len() < MAX_FRAMES {
                audio.frames.push((frame.clone(), at));
            }
        }
        chunk
    }

    /// Ends the run: its last chunk, and where on the time line it ends.
    pub(super) fn end(&mut self, sequence: &mut u32) -> (Option<Chunk>, Micros) {
        let pictures = self.video.as_ref().and_then(|video| {
            let (_, last) = video.frames.last()?;
            Some((last.at + video.step, video.about.timescale))
        });
        let sound = self.audio.as_ref().and_then(|audio| Some((audio.clock.next()?, audio.about.timescale)));
        let leads = if self.video.is_some() { pictures } else { sound };
        let chunk = leads.and_then(|(end, _)| self.close(end, true, sequence));
        let ends = pictures.into_iter().chain(sound).map(|(at, scale)| micros(at, scale));
        let end = ends.fold(self.base, Micros::max);
        // A time that is a whole number of ticks at all usual rates: no track of the next run begins before it.
        (chunk, Micros(end.0.saturating_add(GRID - 1).div_euclid(GRID) * GRID))
    }

    /// What is to be told before its first chunk.
    pub(super) fn init(&self, first: &Chunk) -> Init {
        let mut video = self.video.as_ref().map(|video| video.about.clone());
        if let (Some(about), Some(part)) = (&mut video, &first.video) {
            about.fps = about.fps.or_else(|| measure(part.frames, part.duration, about.timescale));
        }
        let audio = self.audio.as_ref().map(|audio| audio.about.clone());
        let tracks: Vec<&Description> = video.iter().chain(&audio).collect();
        let both = mp4::init(&tracks);
        let header = |about: Description| Header { bytes: mp4::init(&[&about]), about };
        Init { video: video.map(header), audio: audio.map(header), both }
    }

    /// Gives back what is in no chunk yet.
    pub(super) fn into_frames(self) -> Vec<Frame> {
        let video = self.video.into_iter().flat_map(|video| video.frames).map(|(frame, _)| frame);
        let audio = self.audio.into_iter().flat_map(|audio| audio.frames).map(|(frame, _)| frame);
        let mut frames: Vec<_> = video.chain(audio).collect();
        frames.sort_by_key(|frame| frame.dts);
        frames
    }

    /// Ticks of the track that leads.
    fn scale(&self) -> u32 {
        let video = self.video.as_ref().map(|video| video.about.timescale);
        video.or(self.audio.as_ref().map(|audio| audio.about.timescale)).unwrap_or(1)
    }

    /// The chunk up to `end`, in ticks of the track that leads; with `all` sound that is there, or that which begins before.
    fn close(&mut self, end: u64, all: bool, sequence: &mut u32) -> Option<Chunk> {
        let scale = self.scale();
        let video = self.video.as_mut().and_then(|video| video.close(end, sequence));
        let key = video.as_ref().is_none_or(|(_, key)| *key);
        let video = video.map(|(part, _)| part);
        let alone = self.video.is_none();
        let until = if all || alone { None } else { Some(micros(end, scale)) };
        let audio = self.audio.as_mut().and_then(|audio| {
            let end = if alone { Some(end) } else { audio.clock.next() };
            audio.close(until, end?, sequence)
        });
        let leads = video.as_ref().or(audio.as_ref())?;
        let start = micros(leads.start, scale);
        let duration = micros(leads.start + leads.duration, scale) - start;
        let discontinuity = !std::mem::replace(&mut self.begun, true);
        Some(Chunk { start, duration, independent: key, discontinuity, video, audio })
    }
}

impl Video {
    /// All pictures, of which the last is shown until `end`; and whether the first is a keyframe.
    fn close(&mut self, end: u64, sequence: &mut u32) -> Option<(Part, bool)> {
        let frames = std::mem::take(&mut self.frames);
        self.bytes = 0;
        let (first, Times { at: start, .. }) = frames.first()?;
        let nexts = frames.iter().skip(1).map(|(_, times)| times.at).chain([end]);
        let samples: Vec<Sample> = frames
            .iter()
            .zip(nexts)
            .map(|((frame, Times { at, offset }), next)| Sample {
                duration: short(next - at),
                size: size(frame),
                offset: *offset,
                sync: frame.key,
            })
            .collect();
        let part = part(Kind::Video, *start, end, &samples, frames.iter().map(|(frame, _)| frame), sequence);
        Some((part, first.key))
    }
}

/// Pictures per second: so many in so many ticks. `None` if they are too few to say.
fn measure(frames: usize, ticks: u64, scale: u32) -> Option<f64> {
    let fps = frames as f64 * f64::from(scale) / ticks as f64;
    let near = USUAL.into_iter().min_by(|a, b| (a - fps).abs().total_cmp(&(b - fps).abs()));
    let fps = near.filter(|near| (near - fps).abs() < near * 0.02).unwrap_or(fps);
    (frames > 1 && ticks > 0).then_some(fps)
}

/// Frame rates that are common.
const USUAL: [f64; 12] =
    [15.0, 20.0, 24.0 / 1.001, 24.0, 25.0, 30.0 / 1.001, 30.0, 48.0, 50.0, 60.0 / 1.001, 60.0, 120.0];

impl Audio {
    /// The frames that begin before `until`, or all; the last of all ends at `end`.
    fn close(&mut self, until: Option<Micros>, end: u64, sequence: &mut u32) -> Option<Part> {
        let scale = self.about.timescale;
        let count = until.map_or(self.frames.len(), |until| {
            self.frames.partition_point(|(_, at)| micros(*at, scale) < until)
        });
        let rest = self.frames.split_off(count);
        let frames = std::mem::replace(&mut self.frames, rest);
        let (_, start) = frames.first()?;
        let end = self.frames.first().map_or(end, |(_, at)| *at);
        let nexts = frames.iter().skip(1).map(|(_, at)| *at).chain([end]);
        let samples: Vec<Sample> = frames
            .iter()
            .zip(nexts)
            .map(|((frame, at), next)| Sample {
                duration: short(next.saturating_sub(*at)),
                size: size(frame),
                offset: 0,
                sync: true,
            })
            .collect();
        Some(part(Kind::Audio, *start, end, &samples, frames.iter().map(|(frame, _)| frame), sequence))
    }
}

fn part<'a>(
    kind: Kind,
    start: u64,
    end: u64,
    samples: &[Sample],
    frames: impl Iterator<Item = &'a Frame>,
    sequence: &mut u32,
) -> Part {
    *sequence = sequence.wrapping_add(1);
    let data = frames.map(|frame| &frame.data[..]);
    let bytes: Bytes = mp4::fragment(*sequence, mp4::track_id(kind), start, samples, data);
    let lag = samples.first().map_or(0, |first| first.offset.into());
    Part { start, duration: end.saturating_sub(start), lag, frames: samples.len(), bytes }
}

fn size(frame: &Frame) -> u32 {
    u32::try_from(frame.data.len()).unwrap_or(u32::MAX)
}

fn short(ticks: u64) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// To the nearest.
fn ticks(time: Micros, scale: u32) -> u64 {
    u64::try_from(signed_ticks(time, scale)).unwrap_or_default()
}

fn signed_ticks(time: Micros, scale: u32) -> i128 {
    (i128::from(time.0) * i128::from(scale) + 500_000).div_euclid(1_000_000)
}

/// Rounded down.
fn micros(ticks: u64, scale: u32) -> Micros {
    let micros = u128::from(ticks) * 1_000_000 / u128::from(scale.max(1));
    Micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
