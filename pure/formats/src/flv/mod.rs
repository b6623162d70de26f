//! FLV: the tags that RTMP messages, HTTP-FLV streams and FLV files are made of, classic and enhanced. Here are the tag and its
//! envelope; `demux` reads tags into frames, `mux` is the form that writes them, `reader` cuts a byte stream into tags.
//!
//! Spec: "Adobe Flash Video File Format 10.1" annex E, and "Enhanced RTMP" v1 and v2 (veovera.org).

mod coding;
mod demux;
mod enhanced;
mod frame_type;
mod glance;
mod metadata;
mod mux;
mod reader;
mod recording;

use bytes::Bytes;
use media::{Kind, TrackId, Truncated, codec};

pub use crate::Jitter;
pub use demux::{Demux, DemuxOptions, Demuxed};
pub use glance::{GLANCE, Glance, glance};
pub use metadata::is_announced;
pub use mux::{Mux, MuxOptions};
pub use reader::{Item, Reader};
pub use recording::Opening;

use crate::amf0;

/// The largest body that the 24-bit size of a tag can tell.
pub const MAX_BODY: usize = 0xff_ffff;

/// What a tag carries: the tag type of FLV, which is also the message type of RTMP (§E.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TagKind {
    /// Sound.
    Audio = 8,
    /// Pictures.
    Video = 9,
    /// A named AMF0 message, such as metadata.
    Script = 18,
}

impl TagKind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

/// The opening bytes of a tag body that this server makes itself, kept inline so that no tag costs an allocation.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Header {
    /// Room for the longest header, of an enhanced multitrack packet with composition time (10 bytes).
    const MAX: usize = 15;

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// `None` when there is no room.
    fn new(parts: &[&[u8]]) -> Option<Self> {
        let mut header = Self::default();
        for part in parts {
            let start = usize::from(header.len);
            header.bytes.get_mut(start..start + part.len())?.copy_from_slice(part);
            header.len += part.len() as u8;
        }
        Some(header)
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.as_slice())
    }
}

/// One tag without its envelope: a header that was made here, then a payload that is shared with the publisher's
/// frame and with every other reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it carries.
    pub kind: TagKind,
    /// The first bytes of the body.
    pub header: Header,
    /// The rest of the body.
    pub body: Bytes,
}

impl Tag {
    /// The size of the whole body in bytes. The form drops units beyond [`MAX_BODY`].
    #[expect(clippy::len_without_is_empty, reason = "no tag is empty")]
    pub fn len(&self) -> usize {
        self.header.as_slice().len().saturating_add(self.body.len())
    }

    /// The 11 bytes before the body in an FLV stream (§E.4.1). `time` is in milliseconds.
    pub fn envelope(&self, time: u32) -> [u8; 11] {
        let [_, s0, s1, s2] = (self.len() as u32).to_be_bytes();
        let [t3, t0, t1, t2] = time.to_be_bytes();
        [self.kind as u8, s0, s1, s2, t0, t1, t2, t3, 0, 0, 0]
    }

    /// The 4 bytes behind the body in an FLV stream: the size of the tag with its envelope (§E.3).
    pub fn trailer(&self) -> [u8; 4] {
        (self.len() as u32).saturating_add(11).to_be_bytes()
    }

    /// Lays the whole tag out at the end of `out`, as an FLV stream has it. `time` is in milliseconds.
    pub fn write(&self, time: u32, out: &mut Vec<u8>) {
        out.reserve(self.len().saturating_add(15));
        out.extend_from_slice(&self.envelope(time));
        out.extend_from_slice(self.header.as_slice());
        out.extend_from_slice(&self.body);
        out.extend_from_slice(&self.trailer());
    }
}

/// Changes the time, in milliseconds, of a tag that [`Tag::write`] has laid out at the start of `laid`.
pub fn retime(laid: &mut [u8], time: u32) {
    let [t3, t0, t1, t2] = time.to_be_bytes();
    if let Some(field) = laid.get_mut(4..8) {
        field.copy_from_slice(&[t0, t1, t2, t3]);
    }
}

impl media::Unit for Tag {
    fn size(&self) -> usize {
        self.len()
    }
}

/// The header of an FLV stream: which kinds of tags will come (§E.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// There will be audio tags.
    pub audio: bool,
    /// There will be video tags.
    pub video: bool,
}

impl FileHeader {
    /// The header with the first, empty back pointer behind it: all that comes before the first tag.
    pub fn to_bytes(self) -> [u8; 13] {
        let flags = u8::from(self.audio) << 2 | u8::from(self.video);
        [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
    }
}

/// Why a tag, or a stream of tags, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The tag ended inside its header.
    #[error("{kind:?} tag {cut}")]
    Truncated {
        /// Which kind of tag.
        kind: Kind,
        /// Where it ended.
        cut: Truncated,
    },
    /// A video frame type outside 1 to 5.
    #[error("video frame type {0} is unknown")]
    FrameType(u8),
    /// A classic video codec id that nobody uses.
    #[error("video codec id {0} is unknown")]
    CodecId(u8),
    /// A codec of enhanced RTMP that this server does not know.
    #[error("{kind:?} codec '{}' is unknown", fourcc.escape_ascii())]
    FourCc {
        /// Which kind of tag.
        kind: Kind,
        /// The name of the codec.
        fourcc: [u8; 4],
    },
    /// A packet type that is reserved, or that cannot stand where it stands.
    #[error("{kind:?} packet type {value} is not accepted")]
    PacketType {
        /// Which kind of tag.
        kind: Kind,
        /// The type.
        value: u8,
    },
    /// A way to pack several tracks that is reserved.
    #[error("multitrack type {0} is unknown")]
    Multitrack(u8),
    /// A track number beyond [`Demux::MAX_INDEX`].
    #[error("track number {0} is too high")]
    TrackIndex(u8),
    /// More tracks than a stream may have.
    #[error("more than {} tracks", media::Tracks::MAX)]
    TooManyTracks,
    /// A frame of a track whose sequence header has not come.
    #[error("{:?} track {} has no sequence header", .0.kind, .0.index)]
    NoSequenceHeader(TrackId),
    /// A sequence header or metadata beyond its limit.
    #[error("{what} of {size} bytes")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        size: usize,
    },
    /// A sequence header or a payload that breaks the rules of its codec.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// Script data that is not AMF0.
    #[error(transparent)]
    Amf(#[from] amf0::Error),
    /// Script data that is not a name with its arguments.
    #[error("script data without a name, or metadata without an object")]
    Script,
    /// The stream does not begin as FLV version 1 does.
    #[error("not an FLV stream")]
    Signature,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_laid_out() {
        let header = Header::new(&[&[0x17, 1], &[0, 0, 0]]).unwrap();
        let tag = Tag { kind: TagKind::Video, header, body: Bytes::from_static(&[9, 9]) };
        let mut out = Vec::new();
        tag.write(0x0102_0304, &mut out);
        let want = [9, 0, 0, 7, 2, 3, 4, 1, 0, 0, 0, 0x17, 1, 0, 0, 0, 9, 9, 0, 0, 0, 18];
        assert_eq!(out, want);
        retime(&mut out, 7);
        let mut again = Vec::new();
        tag.write(7, &mut again);
        assert_eq!(out, again);
        assert_eq!(size_of::<Tag>(), 56, "tags lie in every lane");
    }

    #[test]
    fn the_file_header() {
        let header = FileHeader { audio: true, video: false };
        assert_eq!(header.to_bytes(), *b"FLV\x01\x04\0\0\0\x09\0\0\0\0");
        assert_eq!(FileHeader { audio: true, video: true }.to_bytes()[4], 5);
    }

    #[test]
    fn a_header_has_a_limit() {
        assert!(Header::new(&[&[0; 15]]).is_some());
        assert!(Header::new(&[&[0; 15], &[0]]).is_none());
    }
}
