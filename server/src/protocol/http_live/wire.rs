//! How FLV tags look in the body of an HTTP player.

use formats::flv::{self, Tag, TagKind};
use media::Stamped;

use crate::net;

/// One player's body.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    from_zero: bool,
    /// The time on the stream's line, in milliseconds, that this player sees as zero; told by the first tag.
    base: Option<u32>,
    /// Tags of these kinds are left out.
    without_audio: bool,
    without_video: bool,
}

/// The tags of a round. Their times are written for one player and patched for the next: every player has its own zero.
#[derive(Default)]
pub(super) struct Image {
    bytes: Vec<u8>,
    /// Where the tags start, and their times on the stream's line.
    tags: Vec<(usize, u32)>,
    base: u32,
    audio: bool,
    video: bool,
}

impl Wire {
    pub(super) fn new(from_zero: bool) -> Self {
        Self { from_zero, base: None, without_audio: false, without_video: false }
    }

    /// Leaves out tags of kinds that the file header said are absent.
    pub(super) fn without(mut self, audio: bool, video: bool) -> Self {
        (self.without_audio, self.without_video) = (audio, video);
        self
    }

    fn base(&mut self, time: u32) -> u32 {
        *self.base.get_or_insert(if self.from_zero { time } else { 0 })
    }
}

/// FLV times are 32 bits, of which players trust 31.
fn told(time: u32, base: u32) -> u32 {
    time.wrapping_sub(base) & 0x7fff_ffff
}

impl net::Wire for Wire {
    type Unit = Tag;
    type Image = Image;

    fn lay(&mut self, unit: &Stamped<Tag>, out: &mut Vec<u8>) {
        let left_out = match unit.unit.kind {
            TagKind::Audio => self.without_audio,
            TagKind::Video => self.without_video,
            TagKind::Script => false,
        };
        if !left_out {
            let time = unit.time.millis() as u32;
            let base = self.base(time);
            unit.unit.write(told(time, base), out);
        }
    }

    fn begin(&self, image: &mut Image) {
        image.bytes.clear();
        image.bytes.shrink_to(1 << 20);
        image.tags.clear();
        (image.base, image.audio, image.video) = (0, false, false);
    }

    fn draw(&mut self, unit: &Stamped<Tag>, image: &mut Image) {
        image.audio |= unit.unit.kind == TagKind::Audio;
        image.video |= unit.unit.kind == TagKind::Video;
        let time = unit.time.millis() as u32;
        image.tags.push((image.bytes.len(), time));
        unit.unit.write(told(time, image.base), &mut image.bytes);
    }

    fn share<'i>(&mut self, image: &'i mut Image) -> Option<&'i [u8]> {
        if (self.without_audio && image.audio) || (self.without_video && image.video) {
            return None;
        }
        let base = self.base(image.tags.first()?.1);
        if image.base != base {
            for &(start, time) in &image.tags {
                flv::retime(&mut image.bytes[start..], told(time, base));
            }
            image.base = base;
        }
        Some(&image.bytes)
    }
}
