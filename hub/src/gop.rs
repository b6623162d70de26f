//! The GOP cache: the frames since the last keyframe, kept so that a form that starts later starts with a picture.

use media::{Frame, Kind, TrackId};

use crate::Rules;

/// Frames from the newest video keyframe on. Empty for streams without video.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gop {
    frames: Vec<Frame>,
    bytes: usize,
    audio_since_video: u32,
}

/// More audio frames than this after the last video frame mean that the video has stopped (about 3 s of AAC).
const AUDIO_WITHOUT_VIDEO: u32 = 115;

/// A publisher that never repeats its keyframe cannot make the cache grow past this, whatever the configuration says.
pub(crate) const MAX_BYTES: usize = 64 << 20;

impl Gop {
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.audio_since_video = 0;
    }

    pub(crate) fn push(&mut self, frame: &Frame, rules: &Rules) {
        if !rules.gop_cache {
            if !self.frames.is_empty() {
                self.clear();
            }
            return;
        }
        if frame.key && frame.track == TrackId::VIDEO {
            self.clear();
        } else if self.frames.is_empty() {
            return;
        }
        match frame.track.kind {
            Kind::Video => self.audio_since_video = 0,
            Kind::Audio => self.audio_since_video += 1,
            Kind::Data => {}
        }
        let too_many = rules.gop_max_frames > 0 && self.frames.len() >= rules.gop_max_frames;
        if too_many
            || self.audio_since_video > AUDIO_WITHOUT_VIDEO
            || self.bytes + frame.data.len() > MAX_BYTES
        {
            self.clear();
            return;
        }
        self.bytes += frame.data.len();
        self.frames.push(frame.clone());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::Micros;

    use super::*;

    fn frame(track: TrackId, key: bool) -> Frame {
        Frame { track, dts: Micros::ZERO, pts: Micros::ZERO, key, data: Bytes::from_static(b"x") }
    }

    #[test]
    fn holds_from_the_newest_keyframe() {
        let (mut gop, rules) = (Gop::default(), Rules::default());
        gop.push(&frame(TrackId::AUDIO, true), &rules);
        assert!(gop.frames().is_empty(), "pure audio is not cached");
        for key in [true, false, false, true, false] {
            gop.push(&frame(TrackId::VIDEO, key), &rules);
        }
        assert_eq!(gop.frames().len(), 2);
    }

    #[test]
    fn gives_up_when_video_stops_or_the_limit_is_passed() {
        let mut gop = Gop::default();
        gop.push(&frame(TrackId::VIDEO, true), &Rules::default());
        for _ in 0..=AUDIO_WITHOUT_VIDEO {
            gop.push(&frame(TrackId::AUDIO, true), &Rules::default());
        }
        assert!(gop.frames().is_empty());

        let rules = Rules { gop_max_frames: 3, ..Rules::default() };
        for n in 0..4 {
            gop.push(&frame(TrackId::VIDEO, n == 0), &rules);
        }
        assert!(gop.frames().is_empty());
    }
}
