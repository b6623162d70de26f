//! The frame types of video tags, classic and enhanced alike (§E.4.3.1).

use super::Error;

pub(super) const KEY: u8 = 1;
pub(super) const INTER: u8 = 2;
const DISPOSABLE: u8 = 3;
const GENERATED_KEY: u8 = 4;
const COMMAND: u8 = 5;

/// A keyframe or not; `None` for a command frame, which has no picture.
pub(super) fn is_key(frame_type: u8) -> Result<Option<bool>, Error> {
    match frame_type {
        KEY | GENERATED_KEY => Ok(Some(true)),
        INTER | DISPOSABLE => Ok(Some(false)),
        COMMAND => Ok(None),
        other => Err(Error::FrameType(other)),
    }
}
