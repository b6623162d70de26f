//! Messages: what the chunk stream carries. Their types (§5.4, §7.1), and media as the sessions hand it over.

use bytes::Bytes;

/// A complete RTMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message type, see [`kind`].
    pub kind: u8,
    /// Milliseconds, 31 bits.
    pub timestamp: u32,
    /// The message stream id; 0 for the connection itself.
    pub stream: u32,
    /// The body, never empty.
    pub payload: Bytes,
}

/// Message types.
pub mod kind {
    /// Set Chunk Size (§5.4.1).
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message (§5.4.2).
    pub const ABORT: u8 = 2;
    /// Acknowledgement (§5.4.3).
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control Message (§7.1.7).
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size (§5.4.4).
    pub const WINDOW_SIZE: u8 = 5;
    /// Set Peer Bandwidth (§5.4.5).
    pub const PEER_BANDWIDTH: u8 = 6;
    /// Audio (§7.1.4).
    pub const AUDIO: u8 = 8;
    /// Video (§7.1.5).
    pub const VIDEO: u8 = 9;
    /// Data message in AMF3 (§7.1.2).
    pub const DATA_AMF3: u8 = 15;
    /// Command in AMF3 (§7.1.1).
    pub const COMMAND_AMF3: u8 = 17;
    /// Data message in AMF0 (§7.1.2).
    pub const DATA_AMF0: u8 = 18;
    /// Command in AMF0 (§7.1.1).
    pub const COMMAND_AMF0: u8 = 20;
    /// Aggregate message (§7.1.6).
    pub const AGGREGATE: u8 = 22;
}

/// What kind of media a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// An FLV audio tag body.
    Audio,
    /// An FLV video tag body.
    Video,
    /// An AMF0 data message, such as `onMetaData`.
    Data,
}

impl MediaKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Audio, Self::Video, Self::Data];

    /// The message type on the wire.
    pub fn message_type(self) -> u8 {
        match self {
            Self::Audio => kind::AUDIO,
            Self::Video => kind::VIDEO,
            Self::Data => kind::DATA_AMF0,
        }
    }

    pub(crate) fn of(message_type: u8) -> Option<Self> {
        match message_type {
            kind::AUDIO => Some(Self::Audio),
            kind::VIDEO => Some(Self::Video),
            kind::DATA_AMF0 | kind::DATA_AMF3 => Some(Self::Data),
            _ => None,
        }
    }
}

/// A set of media kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaKinds(u8);

impl MediaKinds {
    /// Adds `kind`.
    pub fn insert(&mut self, kind: MediaKind) {
        self.0 |= Self::bit(kind);
    }

    /// `kind` is in the set.
    pub fn contains(self, kind: MediaKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    fn bit(kind: MediaKind) -> u8 {
        match kind {
            MediaKind::Audio => 1,
            MediaKind::Video => 2,
            MediaKind::Data => 4,
        }
    }
}

impl FromIterator<MediaKind> for MediaKinds {
    fn from_iter<I: IntoIterator<Item = MediaKind>>(kinds: I) -> Self {
        let mut set = Self::default();
        for kind in kinds {
            set.insert(kind);
        }
        set
    }
}

/// One media message of a publisher, or towards a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The kind.
    pub kind: MediaKind,
    /// Milliseconds, 31 bits.
    pub timestamp: u32,
    /// The body: an FLV tag body, or AMF0 values.
    pub payload: Bytes,
}

impl Media {
    /// The media of `message`, if it carries any that is worth handing over.
    pub(crate) fn of(message: Message) -> Option<Self> {
        let kind = MediaKind::of(message.kind)?;
        let mut payload = message.payload;
        if kind == MediaKind::Data {
            // FFmpeg's timecode messages are four bytes that look like the start of a number.
            if payload.len() == 4 && payload.first() == Some(&0) {
                return None;
            }
            // `@setDataFrame` asks the server to keep what follows; players get what follows.
            if payload.starts_with(SET_DATA_FRAME) {
                payload = payload.slice(SET_DATA_FRAME.len()..);
            }
        }
        Some(Self { kind, timestamp: message.timestamp, payload })
    }
}

/// The AMF0 string `@setDataFrame`.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
