//! One step of what is to be done, as it stands in the spool.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who makes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// HLS.
    Hls,
    /// DASH.
    Dash,
    /// HDS.
    Hds,
    /// Recordings.
    Dvr,
}

impl Output {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hls => "hls",
            Self::Dash => "dash",
            Self::Hds => "hds",
            Self::Dvr => "dvr",
        }
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) lane: Lane,
    /// The object, below the prefix.
    pub(super) name: String,
    pub(super) what: What,
    /// The file as the output knows it, if that matters.
    pub(super) local: Option<PathBuf>,
    /// The bytes that lie in the spool.
    pub(super) bytes: u64,
    /// When it was told, in milliseconds since 1970.
    pub(super) at: i64,
}

/// Steps of one lane are done one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Lane {
    pub(super) vhost: String,
    pub(super) app: String,
    pub(super) stream: String,
    pub(super) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Upload a segment or a recording.
    Upload,
    /// Upload a playlist.
    List,
    /// Delete the object.
    Remove,
    /// It is an archive from now on.
    Leave,
    /// Its time is over: delete the object and the file.
    Expire,
}

impl Job {
    /// What the object is to be served with.
    pub(super) fn content_type(&self) -> &'static str {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        match file.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "m3u8" => "application/vnd.apple.mpegurl",
            "ts" => "video/mp2t",
            "m4s" | "mp4" | "cmfv" => "video/mp4",
            "m4a" | "cmfa" => "audio/mp4",
            "mpd" => "application/dash+xml",
            "flv" => "video/x-flv",
            "f4m" => "application/f4m+xml",
            "aac" => "audio/aac",
            "mp3" => "audio/mpeg",
            "jpg" => "image/jpeg",
            "png" => "image/png",
            _ if self.lane.output == Output::Hds && file.contains("Seg1-Frag") => "video/f4f",
            _ => "application/octet-stream",
        }
    }

    /// How long others may keep it. Segments may get the same name again after a restart of the server, so that it is not for ever.
    pub(super) fn cache_control(&self) -> &'static str {
        match (self.what, self.lane.output) {
            (What::List, _) => "no-cache",
            (_, Output::Dvr) => "max-age=86400",
            _ => "max-age=60",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let job = |name: &str, what, output| Job {
            lane: Lane { vhost: "v".into(), app: "live".into(), stream: "x".into(), output },
            name: name.into(),
            what,
            local: None,
            bytes: 0,
            at: 0,
        };
        for (name, what, output, content, cache) in [
            ("live/x.m3u8", What::List, Output::Hls, "application/vnd.apple.mpegurl", "no-cache"),
            ("live/x-1.ts", What::Upload, Output::Hls, "video/mp2t", "max-age=60"),
            ("live/x.mpd", What::List, Output::Dash, "application/dash+xml", "no-cache"),
            ("live.1/xSeg1-Frag2", What::Upload, Output::Hds, "video/f4f", "max-age=60"),
            ("live/x.abst", What::List, Output::Hds, "application/octet-stream", "no-cache"),
            ("live/x.flv", What::Upload, Output::Dvr, "video/x-flv", "max-age=86400"),
        ] {
            let job = job(name, what, output);
            assert_eq!((job.content_type(), job.cache_control()), (content, cache), "{name}");
        }
        let job = job("live/x", What::Upload, Output::Dvr);
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    }
}
