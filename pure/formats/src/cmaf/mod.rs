//! CMAF: a stream as chunks of fragmented MP4, the one form from which HLS and LL-HLS are made, and DASH is to be. `Mux` is the form, `Grouping` gathers its
//! chunks into segments. What segments are called and where they are kept is not known here.
//!
//! # What a reader gets
//!
//! [`Piece::Init`] tells what the tracks are and how their files begin. It comes before the first chunk, and again whenever the tracks change; who
//! joins later gets the newest one first.
//!
//! [`Piece::Chunk`]s follow each other without gap or overlap: a chunk begins where the one before it ends, for each track in its own ticks and for
//! the chunk as a whole in microseconds. Where this does not hold, the chunk says `discontinuity`: the publisher is another one, its clock has
//! jumped, or the tracks have changed (then an `Init` came just before). The time line goes on over discontinuities and never runs
//! backwards, though it does not know how long a publisher was away. A reader that missed pieces (`Pulled::missed`) has a discontinuity of its own.
//!
//! A keyframe always begins a chunk. Chunks are no longer than [`MuxOptions::part`], to within [`ROUNDING`], unless a single picture is. Whoever wants
//! longer segments puts chunks together: the bytes of the chunks of a segment, one behind the other, are the segment. For one file with all tracks
//! (HLS) that is the video, then the audio of each chunk, to go with [`Init::both`]; for a file per track (DASH), the parts of the track, to go
//! with the bytes of its [`Header`].
//!
//! A chunk may lack one of the tracks of its `Init` for a while, when sound comes late or pictures are slow. A track that is silent for
//! longer is taken out of the `Init`, since players would wait for it, and comes back with its next frame.
//!
//! Spec: ISO/IEC 23000-19.

mod group;
mod mux;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use media::Micros;

use crate::mp4::Description;

pub use group::{Grouping, GroupingOptions, Join};
pub use mux::{Mux, MuxOptions};

/// Chunks may be this much longer than was asked for, since RTMP rounds times to milliseconds.
pub const ROUNDING: Micros = Micros::from_millis(2);

/// What the form is made of. See the module.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// The tracks from here on.
    Init(Arc<Init>),
    /// The next part of the stream.
    Chunk(Chunk),
}

/// The tracks of a stream. At least one is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Init {
    /// The video track.
    pub video: Option<Header>,
    /// The audio track.
    pub audio: Option<Header>,
    /// The init segment of a file with all tracks. That of the one track, if there is one only.
    pub both: Bytes,
}

impl Init {
    /// The names of all codecs, as HLS and HTML want them: `avc1.64001f,mp4a.40.2`.
    pub fn codecs(&self) -> String {
        let names = self.video.iter().chain(&self.audio).map(|header| &*header.about.codec);
        names.collect::<Vec<_>>().join(",")
    }
}

/// A track of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The codec, time scale, size, sampling rate. The frame rate is measured if the publisher does not tell.
    pub about: Description,
    /// The init segment of a file with this track alone.
    pub bytes: Bytes,
}

/// A piece of all tracks.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Where it begins on the time line of the form: where its pictures do, in a stream that has pictures.
    pub start: Micros,
    /// To the beginning of the next one.
    pub duration: Micros,
    /// It begins with a keyframe, or the stream has no pictures: players may start here.
    pub independent: bool,
    /// It does not follow the chunk before. So it is with the first one of all.
    pub discontinuity: bool,
    /// Its pictures.
    pub video: Option<Part>,
    /// The sound that goes with them.
    pub audio: Option<Part>,
}

impl Chunk {
    /// Where it ends.
    pub fn end(&self) -> Micros {
        self.start + self.duration
    }

    /// The bytes for a file with all tracks, in their order.
    pub fn bytes(&self) -> impl Iterator<Item = &Bytes> {
        self.video.iter().chain(&self.audio).map(|part| &part.bytes)
    }

    /// Bytes of all tracks together.
    pub fn size(&self) -> usize {
        self.bytes().map(Bytes::len).sum()
    }
}

/// A piece of one track: a `moof` and its `mdat`.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The decoding time of its first frame, in ticks of the track.
    pub start: u64,
    /// To the first frame of the next part, in ticks of the track.
    pub duration: u64,
    /// How much later the first frame is shown than decoded, in ticks.
    pub lag: i64,
    /// How many frames it has.
    pub frames: usize,
    /// The boxes.
    pub bytes: Bytes,
}

impl media::Unit for Piece {
    fn size(&self) -> usize {
        match self {
            Self::Init(init) => {
                let tracks = init.video.iter().chain(&init.audio).map(|header| header.bytes.len());
                init.both.len() + tracks.sum::<usize>()
            }
            Self::Chunk(chunk) => chunk.size(),
        }
    }
}
