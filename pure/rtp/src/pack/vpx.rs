//! VP8 (RFC 7741 §4.2) and VP9 in flexible mode (RFC 9628 §4.2), one layer each.

use bytes::Bytes;

use super::{Payload, fragments};

/// Counts pictures, in 15 bits, so that a player sees which are missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    id: u16,
}

impl Picture {
    fn next(&mut self) -> [u8; 2] {
        let [high, low] = (self.id & 0x7fff).to_be_bytes();
        self.id = self.id.wrapping_add(1);
        [high | 0x80, low]
    }

    pub(super) fn pack_vp8(&mut self, data: &Bytes, max: usize, out: &mut Vec<Payload>) {
        let [high, low] = self.next();
        for (first, _, piece) in fragments(data, max - 4) {
            out.push(Payload::new(&[0x80 | u8::from(first) << 4, 0x80, high, low], piece));
        }
    }

    /// Frames between keyframes say that they refer to the one before: a relay does not know more, and no player needs more to see that a frame
    /// is missing.
    pub(super) fn pack_vp9(&mut self, data: &Bytes, key: bool, max: usize, out: &mut Vec<Payload>) {
        let [high, low] = self.next();
        for (first, last, piece) in fragments(data, max - 4) {
            let flags = 0x90 | u8::from(first) << 3 | u8::from(last) << 2;
            out.push(match key {
                true => Payload::new(&[flags, high, low], piece),
                false => Payload::new(&[flags | 0x40, high, low, 1 << 1], piece),
            });
        }
    }
}
