//! Tracks: what a stream consists of.

use bytes::Bytes;

use crate::codec::Codec;

/// What kind of medium a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Timed data messages (AMF0), such as captions and cue points.
    Data,
}

/// Names a track within its stream: its kind, and an index among the tracks of that kind (0 is the main one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId {
    /// The kind.
    pub kind: Kind,
    /// 0 for the main track; others come from multi-track publishers (enhanced RTMP v2).
    pub index: u8,
}

impl TrackId {
    /// The main video track.
    pub const VIDEO: Self = Self { kind: Kind::Video, index: 0 };
    /// The main audio track.
    pub const AUDIO: Self = Self { kind: Kind::Audio, index: 0 };
    /// The data track.
    pub const DATA: Self = Self { kind: Kind::Data, index: 0 };
}

/// How a track was spelled by its publisher, where a form has two spellings for one codec. Forms keep the spelling, since
/// an encoder and its players were chosen to fit each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The standard spelling of the form: classic FLV tags for what classic FLV knows, FourCC for the rest.
    #[default]
    Standard,
    /// FourCC (enhanced RTMP) even for codecs which classic FLV knows, such as `avc1` or `mp4a`.
    FourCc,
    /// The old private FLV numbers: HEVC as codec id 12, AV1 as 13.
    LegacyId,
}

/// One track: its name and all that a decoder must know before the first frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// The name.
    pub id: TrackId,
    /// The codec with its parsed parameters.
    pub codec: Codec,
    /// The raw decoder configuration record as the containers carry it: avcC, hvcC, av1C, vpcC, AudioSpecificConfig,
    /// OpusHead, FLAC STREAMINFO. Empty for codecs that need none; but for sound without a record that came as classic FLV, the
    /// one byte that opens each of its tags (format, rate, size, channels), since nothing else in the stream tells these.
    pub config: Bytes,
    /// The publisher's spelling.
    pub dialect: Dialect,
}

/// All tracks of a stream, and its metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracks {
    /// Sorted by [`TrackId`], each id once.
    list: Vec<Track>,
    /// The `onMetaData` message body (AMF0: the name, then one object or ECMA array), cleaned and merged; `None` until the publisher
    /// sent one.
    pub metadata: Option<Bytes>,
}

impl Tracks {
    /// The most tracks a stream may have; a publisher that adds more is refused by the demuxer.
    pub const MAX: usize = 32;

    /// Adds a track, or replaces the one with the same id. `false` when there is no room for a new one.
    pub fn set(&mut self, track: Track) -> bool {
        match self.list.binary_search_by_key(&track.id, |t| t.id) {
            Ok(at) => {
                if let Some(slot) = self.list.get_mut(at) {
                    *slot = track;
                }
                true
            }
            Err(_) if self.list.len() >= Self::MAX => false,
            Err(at) => {
                self.list.insert(at, track);
                true
            }
        }
    }

    /// The track with this id.
    pub fn find(&self, id: TrackId) -> Option<&Track> {
        let at = self.list.binary_search_by_key(&id, |t| t.id).ok()?;
        self.list.get(at)
    }

    /// The main video track.
    pub fn video(&self) -> Option<&Track> {
        self.find(TrackId::VIDEO)
    }

    /// The main audio track.
    pub fn audio(&self) -> Option<&Track> {
        self.find(TrackId::AUDIO)
    }

    /// Every track in the order of ids: video, audio, data.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.list.iter()
    }

    /// No track is known yet.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets everything; a new publisher starts from nothing.
    pub fn clear(&mut self) {
        self.list.clear();
        self.metadata = None;
    }
}
