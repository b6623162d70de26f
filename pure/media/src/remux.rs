//! Forms: how a stream of frames becomes a stream of units that many outputs share.

use crate::{Frame, Micros, TrackId, Tracks};

/// What a unit is for, which decides where a reader may start and what it needs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Needed before any media (metadata, a sequence header, a PAT/PMT). The newest unit of each slot is kept for those
    /// who join later; slots are sent in rising order.
    Init {
        /// Which of the form's init units it is; a new unit replaces the old one of the same slot.
        slot: u8,
    },
    /// Media of a track.
    Media {
        /// The track.
        track: TrackId,
        /// A reader may start here: a video keyframe, or any unit of a stream without video.
        key: bool,
    },
}

/// What a form is made of: a piece of a container or a packet, cheap to clone because the payload is shared.
pub trait Unit: Clone + Send + Sync + 'static {
    /// Bytes that it keeps alive, for the bounds on memory.
    fn size(&self) -> usize;

    /// Bytes of media in it.
    fn payload(&self) -> usize {
        self.size()
    }
}

/// A unit of a form with its place and its time on the form's own time line.
#[derive(Clone, Debug)]
pub struct Stamped<U> {
    /// The time.
    pub time: Micros,
    /// The place.
    pub place: Place,
    /// The unit.
    pub unit: U,
}

impl<U> Stamped<U> {
    /// A reader may start here.
    pub fn is_key(&self) -> bool {
        matches!(self.place, Place::Media { key: true, .. })
    }

    /// It belongs to the init set.
    pub fn is_init(&self) -> bool {
        matches!(self.place, Place::Init { .. })
    }
}

/// What sound a form takes. Its tracks and frames are converted before they come to it, where there is a way to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sound {
    /// As it comes.
    #[default]
    Any,
    /// What players of RTMP and FLV know: Opus and G.711 of publishers who speak another protocol become AAC, all else is taken as it
    /// comes.
    Flv,
    /// What players of MPEG-TS and HLS know: as of FLV, and G.711 becomes AAC whoever sends it.
    Aac,
    /// What browsers take by WebRTC: AAC, MP3 and G.711 become Opus, all else is taken as it comes.
    Opus,
}

/// A form: turns frames into units. It runs once per stream, never once per player.
pub trait Remux: Send + 'static {
    /// What this form is made of.
    type Unit: Unit;

    /// The set of tracks, or one track's configuration, or the metadata, has changed (also called first of all).
    /// Pushes the init units that changed.
    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Self::Unit>>);

    /// One frame. Pushes zero or more units.
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Self::Unit>>);

    /// What sound this form takes. It does not change while the form lives.
    fn sound(&self) -> Sound {
        Sound::Any
    }

    /// How much media time before the newest unit a joiner is given, in forms where every unit is key; zero starts it at the
    /// newest key unit.
    fn history(&self) -> Micros {
        Micros::ZERO
    }
}
