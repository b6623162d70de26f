//! The form: frames in, chunks out. It decides what belongs to a run; the run puts frames on the time line and gathers them.

use std::sync::Arc;

use media::{Frame, Kind, Micros, Place, Remux, Sound, Stamped, TrackId, Tracks};

use super::run::Run;
use super::{Chunk, Init, Piece};
use crate::mp4::Description;

/// What chunks are made of, and how long they are.
#[derive(Clone, Copy, Debug)]
pub struct MuxOptions {
    /// The longest chunk: some 200 to 500 ms for players who want to be close to the stream, a second or more for others.
    pub part: Micros,
}

impl Default for MuxOptions {
    fn default() -> Self {
        Self { part: Micros::from_secs(1) }
    }
}

/// Makes chunks of the main tracks of a stream, as far as MP4 carries them. It may run on when one publisher follows another.
#[derive(Debug)]
pub struct Mux {
    part: Micros,
    video: Announced,
    audio: Announced,
    state: State,
    /// Where the next run begins on the time line.
    base: Micros,
    /// The newest `Init`.
    told: Option<Arc<Init>>,
    sequence: u32,
    /// The time of the newest chunk.
    now: Micros,
}

/// A track that the publisher has announced.
#[derive(Debug, Default)]
struct Announced {
    about: Option<Description>,
    /// The publisher's time of its newest frame, since the last restart.
    newest: Option<Micros>,
    /// How far the other track was then.
    beside: Micros,
    /// It is not waited for, since it has been silent.
    silent: bool,
}

#[derive(Debug)]
enum State {
    /// Frames are kept back until each track has been heard.
    Gathering(Vec<Frame>),
    Running(Box<Run>),
}

/// A track may step back this far; beyond it, it is a jump.
const BACK: Micros = Micros::from_secs(1);
/// The stream may step forward this far.
const FORWARD: Micros = Micros::from_secs(10);
/// So long is waited for the first frame of a track.
const PATIENCE: Micros = Micros::from_secs(1);
/// As many frames are kept back at most.
const MAX_GATHERED: usize = 512;
/// A run goes on without sound for so long, and without pictures.
const SILENT_AUDIO: Micros = Micros::from_secs(3);
const SILENT_VIDEO: Micros = Micros::from_secs(9);
/// Shorter chunks cost more than they give.
const SHORTEST: Micros = Micros::from_millis(40);

impl Mux {
    /// Before the first publisher.
    pub fn new(options: MuxOptions) -> Self {
        Self {
            part: options.part.max(SHORTEST),
            video: Announced::default(),
            audio: Announced::default(),
            state: State::Gathering(Vec::new()),
            base: Micros::ZERO,
            told: None,
            sequence: 0,
            now: Micros::ZERO,
        }
    }

    fn announced(&mut self, kind: Kind) -> Option<&mut Announced> {
        match kind {
            Kind::Video => Some(&mut self.video),
            Kind::Audio => Some(&mut self.audio),
            Kind::Data => None,
        }
    }

    /// What follows does not follow what was.
    fn restart(&mut self, out: &mut Vec<Stamped<Piece>>) {
        let frames = match std::mem::replace(&mut self.state, State::Gathering(Vec::new())) {
            State::Gathering(frames) => frames,
            State::Running(run) => return self.end(run, out),
        };
        // A stream that was shorter than the patience.
        if let Some(mut run) = self.open(&frames) {
            self.replay(&mut run, frames, out);
            self.end(run, out);
        }
    }

    fn end(&mut self, mut run: Box<Run>, out: &mut Vec<Stamped<Piece>>) {
        let (chunk, end) = run.end(&mut self.sequence);
        self.base = end;
        if let Some(chunk) = chunk {
            self.push(&run, chunk, out);
        }
    }

    fn go_on(&mut self, mut run: Box<Run>, frame: &Frame, out: &mut Vec<Stamped<Piece>>) {
        let is_new = !run.has(frame.track.kind);
        if is_new && is_start(frame) && !run.begun {
            // Nobody knows yet that the track was not there.
            return self.gather(run.into_frames(), frame, out);
        }
        // Sound waits for a keyframe, lest pictures be lost.
        if (is_new && frame.track.kind == Kind::Video && frame.key) || self.is_to_widen(&run, frame) {
            self.end(run, out);
            return self.gather(Vec::new(), frame, out);
        }
        if let Some(kind) = self.has_fallen_silent(&run, frame) {
            self.end(run, out);
            if let Some(track) = self.announced(kind) {
                (track.silent, track.newest) = (true, None);
            }
            return self.gather(Vec::new(), frame, out);
        }
        if !is_new {
            self.take(&mut run, frame, out);
        }
        self.state = State::Running(run);
    }

    fn gather(&mut self, mut frames: Vec<Frame>, frame: &Frame, out: &mut Vec<Stamped<Piece>>) {
        frames.push(frame.clone());
        if !self.ready(&frames) {
            self.state = State::Gathering(frames);
            return;
        }
        // Nothing that can be decoded has come: it is forgotten.
        let Some(mut run) = self.open(&frames) else { return };
        self.replay(&mut run, frames, out);
        self.state = State::Running(run);
    }

    /// Judged by each track on its own, since sound and pictures may come far apart from each other.
    fn is_jump(&self, frame: &Frame) -> bool {
        let own = if frame.track.kind == Kind::Video { &self.video } else { &self.audio };
        own.newest.is_some_and(|newest| frame.dts < newest - BACK || frame.dts > newest + FORWARD)
    }

    /// The run has a track that has not been heard for long, while the other went on. Looked at where a new run can begin.
    fn has_fallen_silent(&self, run: &Run, frame: &Frame) -> Option<Kind> {
        run.video.as_ref().and(run.audio.as_ref())?;
        match frame.track.kind {
            Kind::Video => {
                let silence = self.video.newest? - self.audio.beside;
                (frame.key && silence > SILENT_AUDIO).then_some(Kind::Audio)
            }
            _ => (self.audio.newest? - self.video.beside > SILENT_VIDEO).then_some(Kind::Video),
        }
    }

    /// Sound has come to pictures that are on their own, and here is a keyframe with which both can begin.
    fn is_to_widen(&self, run: &Run, frame: &Frame) -> bool {
        let has_come = self.audio.about.is_some() && self.audio.newest.is_some() && !self.audio.silent;
        frame.track.kind == Kind::Video && frame.key && run.audio.is_none() && has_come
    }

    /// A run that can begin with these frames: once all tracks have been heard, or were waited for long enough.
    fn ready(&self, frames: &[Frame]) -> bool {
        let is_awaited = |announced: &Announced, kind| {
            announced.about.is_some()
                && !announced.silent
                && !frames.iter().any(|frame| frame.track.kind == kind && is_start(frame))
        };
        let times = || frames.iter().map(|frame| frame.dts);
        let waited = times().max().zip(times().min()).map_or(Micros::ZERO, |(last, first)| last - first);
        waited >= PATIENCE
            || frames.len() >= MAX_GATHERED
            || !is_awaited(&self.video, Kind::Video) && !is_awaited(&self.audio, Kind::Audio)
    }

    /// The run that begins with these frames; none if nothing can be made of them.
    fn open(&self, frames: &[Frame]) -> Option<Box<Run>> {
        let first = |kind| frames.iter().find(|frame| frame.track.kind == kind && is_start(frame));
        let video = self.video.about.clone().zip(first(Kind::Video));
        let audio = self.audio.about.clone().zip(first(Kind::Audio));
        let origin = match (&video, &audio) {
            (Some((_, picture)), _) => picture.dts,
            (None, audio) => audio.as_ref()?.1.dts,
        };
        let (video, audio) = (video.map(|(about, _)| about), audio.map(|(about, _)| about));
        Some(Box::new(Run::new(self.base, origin, self.part, video, audio)))
    }

    /// Gives a new run the frames that were kept back for it: from its first keyframe on, and the sound from there.
    fn replay(&mut self, run: &mut Run, frames: Vec<Frame>, out: &mut Vec<Stamped<Piece>>) {
        let key = frames.iter().find(|frame| frame.track.kind == Kind::Video && frame.key);
        let from = key.map(|key| key.dts).filter(|_| run.video.is_some());
        let mut has_started = false;
        for frame in frames {
            let taken = match frame.track.kind {
                Kind::Video => has_started || frame.key,
                _ => from.is_none_or(|from| frame.dts >= from),
            };
            has_started |= frame.track.kind == Kind::Video && frame.key;
            if taken && run.has(frame.track.kind) {
                self.take(run, &frame, out);
            }
        }
    }

    fn take(&mut self, run: &mut Run, frame: &Frame, out: &mut Vec<Stamped<Piece>>) {
        if let Some(chunk) = run.frame(frame, &mut self.sequence) {
            self.push(run, chunk, out);
        }
    }

    fn push(&mut self, run: &Run, chunk: Chunk, out: &mut Vec<Stamped<Piece>>) {
        self.now = chunk.start;
        if chunk.discontinuity {
            let init = run.init(&chunk);
            if self.told.as_ref().is_none_or(|told| told.both != init.both) {
                let init = Arc::new(init);
                self.told = Some(init.clone());
                let place = Place::Init { slot: 0 };
                out.push(Stamped { time: self.now, place, unit: Piece::Init(init) });
            }
        }
        let place = Place::Media { track: TrackId::VIDEO, key: chunk.independent };
        out.push(Stamped { time: self.now, place, unit: Piece::Chunk(chunk) });
    }
}

/// A track may begin with this frame.
fn is_start(frame: &Frame) -> bool {
    frame.key || frame.track.kind == Kind::Audio
}

impl Announced {
    /// What the track is now. Says whether frames to come do not go with those that were.
    fn announce(&mut self, about: Option<Description>) -> bool {
        let is_other = self.about != about;
        if is_other {
            *self = Self { about, ..Self::default() };
        }
        is_other
    }
}

impl Remux for Mux {
    type Unit = Piece;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Piece>>) {
        let video = tracks.video().and_then(Description::of);
        let audio = tracks.audio().and_then(Description::of);
        let had = [&self.video, &self.audio].map(|announced| announced.about.is_some());
        let is_other = [self.video.about != video, self.audio.about != audio];
        // A track that is only added brings its own beginning with its first frame.
        if had.iter().zip(is_other).any(|(had, is_other)| *had && is_other) {
            self.restart(out);
            (self.video.newest, self.audio.newest) = (None, None);
        }
        self.video.announce(video);
        self.audio.announce(audio);
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Piece>>) {
        let kind = frame.track.kind;
        if frame.track.index != 0 || frame.data.is_empty() {
            return;
        }
        let jump = self.is_jump(frame);
        let Some(track) = self.announced(kind) else { return };
        let Some(about) = &track.about else { return };
        if kind == Kind::Audio && about.length(frame).is_none() {
            return;
        }
        if jump {
            self.restart(out);
            (self.video.newest, self.audio.newest) = (None, None);
        }
        let other = if kind == Kind::Video { &self.audio } else { &self.video };
        let beside = other.newest.unwrap_or(frame.dts);
        if let Some(track) = self.announced(kind) {
            track.beside = beside;
            track.newest = track.newest.max(Some(frame.dts));
            track.silent &= !is_start(frame);
        }
        match std::mem::replace(&mut self.state, State::Gathering(Vec::new())) {
            State::Running(run) => self.go_on(run, frame, out),
            State::Gathering(frames) => self.gather(frames, frame, out),
        }
    }

    fn sound(&self) -> Sound {
        Sound::Aac
    }
}
