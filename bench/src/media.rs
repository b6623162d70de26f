//! The test stream: made by ffmpeg once, then kept in memory as FLV tags that publishers repeat for ever.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::flv::{self, Tag};
use crate::{Result, stamp};

const AUDIO_KBPS: u32 = 64;
/// Milliseconds of sound in a packet of Opus, as browsers send it.
pub const OPUS_MS: u32 = 20;
/// A basic header and a message header with a time delta (format 1).
const RTMP_HEADER: usize = 8;

/// What the test stream is like.
#[derive(Debug, Clone, Args)]
pub struct Recipe {
    /// The FLV file to write
    #[arg(long)]
    pub out: PathBuf,
    /// Its length
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// Audio and video together
    #[arg(long, default_value_t = 1000)]
    pub kbps: u32,
    /// Frames per second
    #[arg(long, default_value_t = 30)]
    pub fps: u32,
    /// Frames from one keyframe to the next
    #[arg(long, default_value_t = 60)]
    pub gop: u32,
}

/// Makes the test stream: moving test picture with noise, so that the bit rate is real, and a tone.
///
/// # Errors
/// When ffmpeg is absent or fails.
pub fn make(recipe: &Recipe) -> Result<()> {
    let Recipe { out, seconds, kbps, fps, gop } = recipe;
    let video = kbps.checked_sub(AUDIO_KBPS).filter(|&rest| rest >= 64).ok_or("the bit rate is too low")?;
    let picture = format!("testsrc2=size=640x360:rate={fps},noise=alls=16:allf=t,format=yuv420p");
    let x264 = format!("keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:repeat-headers=0");
    let status = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(["-f", "lavfi", "-i", &picture])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"])
        .args(["-t", &seconds.to_string(), "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency"])
        .args(["-x264-params", &x264, "-b:v", &format!("{video}k"), "-maxrate", &format!("{video}k")])
        .args(["-bufsize", &format!("{}k", video / 2), "-c:a", "aac", "-ac", "2"])
        .args(["-b:a", &format!("{AUDIO_KBPS}k"), "-f", "flv"])
        .arg(out)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("ffmpeg: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("ffmpeg: {status}").into()) }
}

/// Makes the sound of WebRTC publishers: a tone in Opus, [`OPUS_MS`] in each packet, `seconds` long, in the Ogg file `out`.
///
/// # Errors
/// When ffmpeg is absent or fails.
pub fn make_opus(out: &Path, seconds: u32) -> Result<()> {
    let tone = "sine=frequency=440:sample_rate=48000";
    let status = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", tone])
        .args(["-t", &seconds.to_string(), "-ac", "2", "-c:a", "libopus", "-b:a", &format!("{AUDIO_KBPS}k")])
        .args(["-vbr", "off", "-frame_duration", &OPUS_MS.to_string(), "-f", "ogg"])
        .arg(out)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("ffmpeg: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("ffmpeg: {status}").into()) }
}

/// A stream in memory.
pub struct Media {
    /// Metadata and sequence headers, sent once.
    pub headers: Vec<Tag>,
    /// Audio and video in order, starting at time zero.
    pub frames: Vec<Tag>,
    /// What to add to the timestamps from one round to the next, in milliseconds.
    pub duration: u32,
    /// Average rate at which a player receives it in kbit/s: frames, their stamps and RTMP headers.
    pub kbps: f64,
}

impl Media {
    /// Reads an FLV file.
    ///
    /// # Errors
    /// When it cannot be read, is no FLV or holds no frames.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut tags = Vec::new();
        flv::Reader::default().push(&bytes, &mut tags)?;
        Self::of(tags).ok_or_else(|| format!("{}: no frames", path.display()).into())
    }

    fn of(tags: Vec<Tag>) -> Option<Self> {
        let (headers, mut frames): (Vec<_>, Vec<_>) = tags.into_iter().partition(is_header);
        // Some encoders end with an end-of-sequence tag; a stream that goes on has none.
        frames.retain(|tag| !(tag.kind == 9 && tag.body.get(1) == Some(&2)));
        let first = frames.first()?.time;
        frames.iter_mut().for_each(|tag| tag.time -= first.min(tag.time));
        let video: Vec<_> = frames.iter().filter(|tag| tag.kind == 9).map(|tag| tag.time).collect();
        let last = frames.last()?.time;
        let step = video.last()?.checked_div(video.len() as u32 - 1).unwrap_or(33);
        let duration = (video.last()? + step).max(last + 1);
        let bodies: usize = frames.iter().map(|tag| tag.body.len() + RTMP_HEADER).sum();
        let bytes = bodies + video.len() * stamp::SIZE;
        Some(Self { headers, kbps: bytes as f64 * 8.0 / f64::from(duration), duration, frames })
    }
}

/// Script data, and the sequence headers of AVC and AAC.
fn is_header(tag: &Tag) -> bool {
    match tag.kind {
        9 => tag.body.len() > 1 && tag.body[0] & 0x0f == 7 && tag.body[1] == 0,
        8 => tag.body.len() > 1 && tag.body[0] >> 4 == 10 && tag.body[1] == 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, time: u32, body: &[u8]) -> Tag {
        Tag { kind, time, body: body.to_vec() }
    }

    #[test]
    fn headers_leave_the_loop_and_time_starts_at_zero() {
        let media = Media::of(vec![
            tag(18, 0, &[2]),
            tag(9, 0, &[0x17, 0, 0]),
            tag(8, 0, &[0xaf, 0, 0]),
            tag(9, 10, &[0x17, 1, 0]),
            tag(8, 20, &[0xaf, 1, 0]),
            tag(9, 50, &[0x27, 1, 0]),
            tag(9, 50, &[0x17, 2, 0]),
        ])
        .unwrap();
        assert_eq!(media.headers.len(), 3);
        assert_eq!(media.frames.iter().map(|tag| tag.time).collect::<Vec<_>>(), [0, 10, 40]);
        assert_eq!(media.duration, 80);
        assert!(Media::of(vec![tag(18, 0, &[2])]).is_none());
    }
}
