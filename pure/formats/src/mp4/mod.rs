//! MP4: boxes, tracks as they are described in them, fragments, and the tables of a plain file. No files are opened here: a recording
//! is planned as bytes and positions, and whoever has the file writes them.
//!
//! Track ids are 1 for video and 2 for audio. Boxes are written by hand, since all that is needed of the hundreds that exist are two
//! dozen, decoder configuration comes ready from the publisher, and a fragment is made for every part of a second of every stream.
//!
//! Spec: ISO/IEC 14496-12 (boxes), 14496-14 (AAC, MP3), 14496-15 (H.264, H.265), the bindings of AV1, VP9 and Opus.

mod boxes;
mod clock;
mod describe;
mod fragment;
mod init;
mod movie;
mod reading;
mod recorder;
#[cfg(test)]
mod tests;

pub use boxes::{Header, header};
pub use clock::AudioClock;
pub use describe::Description;
pub use fragment::{SEGMENT_TYPE, Sample, fragment, fragment_times};
pub use init::init;
pub use movie::{Movie, recording, seal};
pub use reading::{Head, Placed};
pub use recorder::Recorder;

/// The track id of a kind of medium.
pub fn track_id(kind: media::Kind) -> u32 {
    match kind {
        media::Kind::Video => 1,
        media::Kind::Audio => 2,
        media::Kind::Data => 3,
    }
}

/// A file that is not what this server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A box ends early, or is not where it must be.
    #[error("the box {0} is missing or damaged")]
    Damaged(&'static str),
    /// A fragment of a track which the head of the file does not know.
    #[error("a fragment of an unknown track {0}")]
    UnknownTrack(u32),
    /// More samples than a file can have.
    #[error("too many samples")]
    TooMany,
}
