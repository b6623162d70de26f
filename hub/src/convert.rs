//! Conversion of sound: at most once per stream and codec, only while there is a form that needs it. What converts is handed in from
//! above; this module knows no codec. Forms that take the sound as it comes never get here.

use std::sync::Arc;

use media::{Frame, Kind, Micros, Sound, Track, Tracks};

use crate::Rules;
use crate::gop::Gop;

/// Turns the sound of a stream into another codec. Pictures and data pass as they are.
pub trait Convert: Send {
    /// What the stream consists of after conversion. The audio tracks are always those for which it was made.
    fn tracks(&mut self, tracks: &Tracks) -> Tracks;

    /// Converts one frame. Pushes zero or more frames.
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Frame>);
}

/// Knows what becomes of the sound of one publisher.
pub trait Recipe: Send + Sync {
    /// The sound that forms of `sound` are fed with: [`Sound::Any`] as it comes. Forms with the same answer share one conversion.
    fn target(&self, sound: Sound, tracks: &Tracks) -> Sound;

    /// Makes a [`Convert`] to that sound, or `None` where the tracks are taken as they are after all.
    fn convert(&self, target: Sound, tracks: &Tracks) -> Option<Box<dyn Convert>>;
}

/// One function may be enough: each sound is a target then.
impl<F: Fn(Sound, &Tracks) -> Option<Box<dyn Convert>> + Send + Sync> Recipe for F {
    fn target(&self, sound: Sound, _tracks: &Tracks) -> Sound {
        sound
    }

    fn convert(&self, target: Sound, tracks: &Tracks) -> Option<Box<dyn Convert>> {
        self(target, tracks)
    }
}

/// A recipe as a stream holds it.
pub type Converter = Arc<dyn Recipe>;

/// A conversion that starts late works up no more sound than this, so that the publisher is not held up. It is more than most GOPs last.
const WARM_UP: Micros = Micros::from_secs(10);

/// The conversions of one stream.
#[derive(Default)]
pub(crate) struct Conversions {
    converter: Option<Converter>,
    running: Vec<Conversion>,
}

impl Conversions {
    pub(crate) fn set_converter(&mut self, converter: Converter) {
        self.converter = Some(converter);
    }

    /// The publisher has left.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What forms of this sound are fed with, if it is not the stream as it comes.
    pub(crate) fn find(&self, sound: Sound) -> Option<&Conversion> {
        self.running.iter().find(|conversion| conversion.serves.contains(&sound))
    }

    /// A form of this sound is about to start.
    pub(crate) fn start(&mut self, sound: Sound, tracks: &Tracks, gop: &Gop, rules: &Rules) {
        let target = self.target(sound, tracks);
        if self.find(sound).is_none()
            && !self.join(sound, target)
            && let Some(mut conversion) = self.make(sound, target, tracks)
        {
            conversion.catch_up(gop, rules);
            self.running.push(conversion);
        }
    }

    /// The stream consists of something else now. Conversions go on where the sound is the same, and are made anew where it is not.
    pub(crate) fn tracks(&mut self, sounds: impl Iterator<Item = Sound>, tracks: &Tracks, gop: &Gop) {
        let mut before = std::mem::take(&mut self.running);
        for sound in sounds {
            let target = self.target(sound, tracks);
            if self.find(sound).is_some() || self.join(sound, target) {
                continue;
            }
            let at = before.iter().position(|conversion| conversion.target == target);
            let mut old = at.map(|at| before.swap_remove(at));
            if let Some(mut same) = old.take_if(|old| old.audio.iter().eq(audio(tracks))) {
                same.tracks = same.convert.tracks(tracks);
                same.serves = vec![sound];
                self.running.push(same);
            } else if let Some(mut made) = self.make(sound, target, tracks) {
                // Of the past there is what the forms of this sound have had.
                made.gop = old.map_or_else(|| gop.clone(), |old| old.gop);
                self.running.push(made);
            }
        }
    }

    /// Converts a frame; each conversion holds what has become of it until the next one.
    pub(crate) fn frame(&mut self, frame: &Frame, rules: &Rules) {
        self.running.iter_mut().for_each(|conversion| conversion.frame(frame, rules));
    }

    /// Drops those for which there is no form any more.
    pub(crate) fn retain(&mut self, needed: impl Fn(Sound) -> bool) {
        self.running.retain_mut(|conversion| {
            conversion.serves.retain(|sound| needed(*sound));
            !conversion.serves.is_empty()
        });
    }

    fn target(&self, sound: Sound, tracks: &Tracks) -> Sound {
        let converter = self.converter.as_ref().filter(|_| sound != Sound::Any);
        converter.map_or(Sound::Any, |converter| converter.target(sound, tracks))
    }

    /// Has forms of this sound fed by the conversion to `target`, if there is one.
    fn join(&mut self, sound: Sound, target: Sound) -> bool {
        let found = self.running.iter_mut().find(|conversion| conversion.target == target);
        found.map(|conversion| conversion.serves.push(sound)).is_some()
    }

    fn make(&self, sound: Sound, target: Sound, tracks: &Tracks) -> Option<Conversion> {
        let converter = self.converter.as_ref().filter(|_| target != Sound::Any)?;
        let mut convert = converter.convert(target, tracks)?;
        let audio = audio(tracks).cloned().collect();
        let tracks = convert.tracks(tracks);
        let (serves, gop, frames) = (vec![sound], Gop::default(), Vec::new());
        Some(Conversion { target, serves, convert, audio, tracks, gop, frames })
    }
}

fn audio(tracks: &Tracks) -> impl Iterator<Item = &Track> {
    tracks.iter().filter(|track| track.id.kind == Kind::Audio)
}

/// One conversion at work.
pub(crate) struct Conversion {
    target: Sound,
    /// The sounds of the forms that are fed by it.
    serves: Vec<Sound>,
    convert: Box<dyn Convert>,
    /// The tracks for which it was made.
    audio: Vec<Track>,
    tracks: Tracks,
    gop: Gop,
    frames: Vec<Frame>,
}

impl Conversion {
    /// What the stream consists of after conversion.
    pub(crate) fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// The GOP cache after conversion.
    pub(crate) fn gop(&self) -> &[Frame] {
        self.gop.frames()
    }

    /// What has become of the newest frame.
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    fn frame(&mut self, frame: &Frame, rules: &Rules) {
        self.frames.clear();
        self.convert.frame(frame, &mut self.frames);
        self.frames.iter().for_each(|frame| self.gop.push(frame, rules));
    }

    fn catch_up(&mut self, gop: &Gop, rules: &Rules) {
        let Some(newest) = gop.frames().last() else { return };
        let oldest = newest.dts - WARM_UP;
        for frame in gop.frames().iter().filter(|f| f.track.kind != Kind::Audio || f.dts >= oldest) {
            self.frame(frame, rules);
        }
        self.frames.clear();
    }
}
