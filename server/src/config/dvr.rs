//! Recording of a vhost's streams.

use std::time::Duration;

use super::{Jitter, Vhost};

/// How streams are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dvr {
    /// Which streams, as `app/stream`; none are all of them.
    pub apply: Option<Vec<String>>,
    /// When a file ends.
    pub plan: DvrPlan,
    /// The file, with `[vhost]`, `[app]`, `[stream]`, `[timestamp]`, parts of the date, and `[duration]`.
    pub path: String,
    /// MP4, not FLV: the path says so.
    pub mp4: bool,
    /// Pictures are recorded from a keyframe on.
    pub wait_keyframe: bool,
    /// What happens to timestamps.
    pub jitter: Jitter,
    /// Parts of the date in UTC.
    pub utc: bool,
    /// Recordings can be played by time, and streams with a delay.
    pub playback: bool,
}

/// When a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DvrPlan {
    /// With its publisher.
    Session,
    /// After this long, too.
    Segment(Duration),
}

impl Dvr {
    /// The stream is recorded.
    pub fn applies(&self, app: &str, stream: &str) -> bool {
        let is_it =
            |name: &String| name.strip_prefix(app).and_then(|rest| rest.strip_prefix('/')) == Some(stream);
        self.apply.as_ref().is_none_or(|names| names.iter().any(is_it))
    }

    /// The folder that all files are in: what comes before the first placeholder.
    pub fn folder(&self) -> &std::path::Path {
        let fixed = self.path.split('[').next().unwrap_or_default();
        let folder = fixed.rsplit_once('/').map_or(".", |(folder, _)| folder);
        std::path::Path::new(if folder.is_empty() { "/" } else { folder })
    }
}

impl Vhost {
    /// What was recorded of its streams can be played.
    pub fn plays_recordings(&self) -> bool {
        self.dvr.as_ref().is_some_and(|dvr| dvr.playback)
    }
}
