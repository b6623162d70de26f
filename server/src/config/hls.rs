//! HLS of a vhost: how it is made, and how its players are treated.

use std::path::PathBuf;
use std::time::Duration;

/// HLS of a vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct Hls {
    /// Length of a segment.
    pub fragment: Duration,
    /// A segment is due at this multiple of its length.
    pub target_ratio: f64,
    /// It is cut without a keyframe at this multiple.
    pub overflow_ratio: f64,
    /// Length of the playlist.
    pub window: Duration,
    /// What to do when segments cannot be written.
    pub on_error: HlsOnError,
    /// Where segments are kept.
    pub storage: SegmentStorage,
    /// Base folder.
    pub path: PathBuf,
    /// Playlist below it, with `[vhost]`, `[app]`, `[stream]`.
    pub m3u8_file: String,
    /// Segments below it, with these, `[seq]`, `[duration]`, `[timestamp]` and parts of the date.
    pub ts_file: String,
    /// Put before the address of each segment.
    pub entry_prefix: String,
    /// Segments have sound.
    pub audio: bool,
    /// Segments have pictures.
    pub video: bool,
    /// Delete segments that left the playlist.
    pub cleanup: bool,
    /// Delete everything when the publisher has been gone for this long; none never does.
    pub dispose: Option<Duration>,
    /// Cut at keyframes only.
    pub wait_keyframe: bool,
    /// `[timestamp]` counts fragments of the wall clock.
    pub ts_floor: bool,
    /// Audio times as they come, instead of counted from samples.
    pub dts_directly: bool,
    /// Parts of the date in UTC.
    pub utc: bool,
    /// Go on with what the playlist lists that is found when a stream begins.
    pub recover: bool,
    /// Segments are encrypted.
    pub keys: Option<HlsKeys>,
    /// Segments are fragmented MP4 instead of MPEG-TS.
    pub fmp4: Option<HlsFmp4>,
}

impl Hls {
    /// Segments below `path`, of whatever format they are.
    pub fn segment_file(&self) -> &str {
        self.fmp4.as_ref().map_or(&self.ts_file, |fmp4| &fmp4.file)
    }

    /// The longest part, with low latency.
    pub fn part(&self) -> Option<Duration> {
        self.fmp4.as_ref()?.part
    }

    /// The longest chunk that segments of fragmented MP4 are made of, if it is told.
    pub fn chunk(&self) -> Option<Duration> {
        self.fmp4.as_ref()?.chunk
    }
}

/// HLS in fragmented MP4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HlsFmp4 {
    /// Segments below `path`, with the placeholders of `ts_file`.
    pub file: String,
    /// Initialisation segments below `path`, with `[vhost]`, `[app]`, `[stream]`.
    pub init_file: String,
    /// For low latency, the longest part of a segment.
    pub part: Option<Duration>,
    /// The longest chunk of the form that it shares with DASH, if one of the two has low latency.
    pub chunk: Option<Duration>,
}

/// How segments are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HlsKeys {
    /// So many segments share a key, at least one.
    pub segments: u64,
    /// Keys below `path`, with `[vhost]`, `[app]`, `[stream]` and `[seq]`.
    pub file: String,
    /// Base folder of keys.
    pub path: PathBuf,
    /// Put before the address of each key, in front of its query if it has one; empty if keys are found where segments are.
    pub url: String,
}

/// What to do when HLS cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HlsOnError {
    /// Give up HLS for this publisher.
    Ignore,
    /// Leave the segment out and go on.
    Continue,
    /// Disconnect the publisher.
    Disconnect,
}

/// Where segments are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentStorage {
    /// In files.
    Disk,
    /// In memory.
    Ram,
}

/// HLS players of a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HlsSessions {
    /// Each player has a session.
    pub ctx: bool,
    /// Its id stands on the addresses of segments, too.
    pub ts_ctx: bool,
    /// The session's address in the master playlist is relative.
    pub relative: bool,
    /// A session without requests for this long is over.
    pub timeout: Duration,
}
