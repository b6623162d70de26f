//! Where a player may enter a stream: the rule that the live forms share.

use media::{Frame, Kind};

/// Decides for each frame whether a player may start there.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Frames of the main audio track since the last video frame.
    audio_in_row: u32,
}

/// After this many audio frames without video (about three seconds), the video counts as lost, and players may start at
/// any audio frame.
const VIDEO_LOST: u32 = 115;

impl Entry {
    /// The next frame of the form: a player may start there. `has` tells which kinds of tracks the form carries.
    pub(crate) fn next(&mut self, frame: &Frame, has: impl Fn(Kind) -> bool) -> bool {
        let main = frame.track.index == 0;
        match frame.track.kind {
            Kind::Video => {
                self.audio_in_row = 0;
                main && frame.key
            }
            Kind::Audio => {
                let lost = main && self.audio_in_row >= VIDEO_LOST;
                self.audio_in_row = self.audio_in_row.saturating_add(main.into());
                lost || !has(Kind::Video)
            }
            Kind::Data => !has(Kind::Video) && !has(Kind::Audio),
        }
    }
}
