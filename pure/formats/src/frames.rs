//! A stream as it is: its tracks, and its frames. For outputs that box frames themselves, each in its own time: recordings, of which each begins with
//! what the ones before began with, too.

use std::sync::Arc;

use media::{Frame, Kind, Place, Remux, Sound, Stamped, TrackId, Tracks, Unit};

use crate::entry::Entry;

/// A piece of a stream.
#[derive(Clone, Debug)]
pub enum Item {
    /// What it consists of from here on; there are tracks, or there is metadata.
    Tracks(Arc<Tracks>),
    /// A frame.
    Frame(Frame),
}

impl Unit for Item {
    fn size(&self) -> usize {
        match self {
            Self::Tracks(tracks) => {
                let configs: usize = tracks.iter().map(|track| track.config.len()).sum();
                configs + tracks.metadata.as_ref().map_or(0, |metadata| metadata.len())
            }
            Self::Frame(frame) => frame.data.len(),
        }
    }
}

/// The form. Its only init unit is what the stream consists of; its time is the publisher's.
#[derive(Debug, Default)]
pub struct Frames {
    sound: Sound,
    tracks: Arc<Tracks>,
    entry: Entry,
}

impl Frames {
    /// With this sound.
    pub fn new(sound: Sound) -> Self {
        Self { sound, ..Self::default() }
    }
}

impl Remux for Frames {
    type Unit = Item;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Item>>) {
        // Between two publishers there is nothing to be told.
        let is_something = !tracks.is_empty() || tracks.metadata.is_some();
        if *self.tracks == *tracks || !is_something {
            return;
        }
        self.tracks = Arc::new(tracks.clone());
        let unit = Item::Tracks(self.tracks.clone());
        out.push(Stamped { time: media::Micros::ZERO, place: Place::Init { slot: 0 }, unit });
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Item>>) {
        let has = |kind: Kind| self.tracks.find(TrackId { kind, index: 0 }).is_some();
        let key = self.entry.next(frame, has);
        let place = Place::Media { track: frame.track, key };
        out.push(Stamped { time: frame.dts, place, unit: Item::Frame(frame.clone()) });
    }

    fn sound(&self) -> Sound {
        self.sound
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::codec::{Codec, opus};
    use media::{Dialect, Micros, Track};

    use super::*;

    #[test]
    fn tracks_are_told_when_they_change_and_frames_as_they_come() {
        let (mut form, mut out) = (Frames::new(Sound::Any), Vec::new());
        form.tracks(&Tracks::default(), &mut out);
        assert!(out.is_empty());
        let mut tracks = Tracks::default();
        let (codec, config) = (Codec::Opus(opus::Config::default()), Bytes::new());
        tracks.set(Track { id: TrackId::AUDIO, codec, config, dialect: Dialect::Standard });
        form.tracks(&tracks, &mut out);
        form.tracks(&tracks, &mut out);
        let data = Bytes::from_static(b"sound");
        let (track, dts) = (TrackId::AUDIO, Micros::from_millis(7));
        form.frame(&Frame { track, dts, pts: dts, key: true, data: data.clone() }, &mut out);
        let [first, second] = &out[..] else { panic!("{out:?}") };
        assert!(first.is_init() && matches!(&first.unit, Item::Tracks(told) if **told == tracks));
        assert!(second.is_key() && second.time == dts);
        assert!(matches!(&second.unit, Item::Frame(frame) if frame.data == data));
        assert_eq!(second.unit.size(), 5);
    }
}
