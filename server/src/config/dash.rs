//! DASH of a vhost.

use std::path::PathBuf;
use std::time::Duration;

use super::SegmentStorage;

/// DASH of a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dash {
    /// Length of a segment.
    pub fragment: Duration,
    /// How often players fetch the manifest.
    pub update_period: Duration,
    /// Segments of each track that are listed; at least 1.
    pub window: usize,
    /// Where files are kept.
    pub storage: SegmentStorage,
    /// Base folder.
    pub path: PathBuf,
    /// The manifest below it, with placeholders.
    pub mpd_file: String,
    /// Segments that left the list are deleted.
    pub cleanup: bool,
    /// Everything is deleted when nobody has published for so long.
    pub dispose: Option<Duration>,
    /// For low latency, the longest chunk of a segment.
    pub low: Option<Duration>,
    /// The longest chunk of the form that it shares with HLS, if one of the two has low latency.
    pub chunk: Option<Duration>,
}
