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
    /// Streams that are one stream in several qualities.
    pub variants: Option<HlsVariants>,
}

impl Hls {
    /// Segments below `path`, of whatever format they are.
    pub fn segment_file(&self) -> &str {
        self.fmp4.as_ref().map_or(&self.ts_file, |fmp4| &fmp4.file)
    }

    /// Playlists tell when segments were new: players need that to stay close, and to change between qualities.
    pub fn is_dated(&self) -> bool {
        self.part().is_some() || self.variants.is_some()
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

/// Streams that stand together in a master playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HlsVariants {
    /// Their names, in the order in which they are listed. Each has `[stream]` once, which stands for the name of the whole.
    pub streams: Vec<String>,
    /// The master playlist below `path`, with `[vhost]`, `[app]` and `[stream]`, the name of the whole.
    pub file: String,
}

impl HlsVariants {
    /// What the whole is called that `stream` is a quality of, and where in the list it stands. It may belong to several.
    pub fn wholes<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        let named = move |bare: bool| {
            self.streams.iter().enumerate().filter_map(move |(rank, template)| {
                let (before, after) = template.split_once(STREAM)?;
                let whole = stream.strip_prefix(before)?.strip_suffix(after)?;
                ((before.is_empty() && after.is_empty()) == bare && !whole.is_empty())
                    .then_some((rank, whole))
            })
        };
        // What has the name of a quality is not a whole of its own.
        let is_part = named(false).next().is_some();
        named(false).chain(named(true).filter(move |_| !is_part))
    }
}

const STREAM: &str = "[stream]";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_is_a_quality_of() {
        let variants = |list: &[&str]| HlsVariants {
            streams: list.iter().map(|&name| name.to_owned()).collect(),
            file: "[app]/[stream]/master.m3u8".into(),
        };
        let ladder = variants(&["[stream]", "[stream]_720", "low/[stream]-a"]);
        let wholes = |stream| ladder.wholes(stream).collect::<Vec<_>>();
        assert_eq!(wholes("cam"), [(0, "cam")]);
        assert_eq!(wholes("cam_720"), [(1, "cam")], "and none of its own");
        assert_eq!(wholes("low/cam-a"), [(2, "cam")]);
        assert_eq!(wholes("_720"), [(0, "_720")]);
        let two = variants(&["[stream]_hd", "tv_[stream]"]);
        assert_eq!(two.wholes("tv_a_hd").collect::<Vec<_>>(), [(0, "tv_a"), (1, "a_hd")]);
        assert_eq!(two.wholes("cam").count(), 0);
    }
}
