//! Conversion of sound: at most once per stream and kind of sound, only while there is a form that needs it. What converts is handed in from
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

/// Makes a [`Convert`] for forms that take this sound, or `None` where they may take the tracks as they are.
pub type Converter = Arc<dyn Fn(Sound, &Tracks) -> Option<Box<dyn Convert>> + Send + Sync>;

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
        self.running.iter().find(|conversion| conversion.sound == sound)
    }

    /// A form of this sound is about to start.
    pub(crate) fn start(&mut self, sound: Sound, tracks: &Tracks, gop: &Gop, rules: &Rules) {
        if self.find(sound).is_none()
            && let Some(mut conversion) = self.make(sound, tracks)
        {
            conversion.catch_up(gop, rules);
            self.running.push(conversion);
        }
    }

    /// The stream consists of something else now. Conversions go on where the sound is the same, and are made anew where it is not.
    pub(crate) fn tracks(&mut self, sounds: impl Iterator<Item = Sound>, tracks: &Tracks, gop: &Gop) {
        let mut before = std::mem::take(&mut self.running);
        for sound in sounds {
            if self.find(sound).is_some() {
                continue;
            }
            let at = before.iter().position(|conversion| conversion.sound == sound);
            let mut old = at.map(|at| before.swap_remove(at));
            if let Some(mut same) = old.take_if(|old| old.audio.iter().eq(audio(tracks))) {
                same.tracks = same.convert.tracks(tracks);
                self.running.push(same);
            } else if let Some(mut made) = self.make(sound, tracks) {
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
        self.running.retain(|conversion| needed(conversion.sound));
    }

    fn make(&self, sound: Sound, tracks: &Tracks) -> Option<Conversion> {
        let converter = self.converter.as_ref().filter(|_| sound != Sound::Any)?;
        let mut convert = converter(sound, tracks)?;
        let audio = audio(tracks).cloned().collect();
        let tracks = convert.tracks(tracks);
        Some(Conversion { sound, convert, audio, tracks, gop: Gop::default(), frames: Vec::new() })
    }
}

fn audio(tracks: &Tracks) -> impl Iterator<Item = &Track> {
    tracks.iter().filter(|track| track.id.kind == Kind::Audio)
}

/// One conversion at work.
pub(crate) struct Conversion {
    sound: Sound,
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
