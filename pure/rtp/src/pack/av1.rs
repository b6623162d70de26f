//! AV1 ("RTP Payload Format For AV1", version 1.0): one OBU element per packet, without its size field.

use bytes::Bytes;

use super::{Payload, fragments};
use crate::obu::{self, Obu};

/// The OBUs of the configuration record, for keyframes that come without a sequence header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    obus: Bytes,
}

impl Header {
    /// From an av1C, whose OBUs stand behind four bytes.
    pub(super) fn new(record: &Bytes) -> Self {
        Self { obus: if record.len() > 4 { record.slice(4..) } else { Bytes::new() } }
    }

    pub(super) fn pack(&mut self, data: &Bytes, key: bool, max: usize, out: &mut Vec<Payload>) {
        let mut new_sequence = key;
        if key && !obu::walk(data).any(|obu| obu.kind() == obu::SEQUENCE_HEADER) {
            for obu in obu::walk(&self.obus) {
                pack(&obu, &self.obus, &mut new_sequence, max, out);
            }
        }
        for obu in obu::walk(data) {
            pack(&obu, data, &mut new_sequence, max, out);
        }
    }
}

/// Aggregation header: Z continues an element, Y is continued, W = 1 element, N starts a coded video sequence (§4.4).
fn pack(obu: &Obu<'_>, data: &Bytes, new_sequence: &mut bool, max: usize, out: &mut Vec<Payload>) {
    if !obu.travels() {
        return;
    }
    let (header, length) = obu.header();
    let header = header.get(..length).unwrap_or_default();
    if obu.payload.is_empty() {
        let flags = 0x10 | u8::from(*new_sequence) << 3;
        out.push(Payload::new(&[&[flags], header].concat(), Bytes::new()));
        *new_sequence = false;
    }
    // Room for the header in every piece keeps their sizes equal.
    for (first, last, piece) in fragments(&data.slice_ref(obu.payload), max - 1 - length) {
        let flags = u8::from(!first) << 7 | u8::from(!last) << 6 | 0x10 | u8::from(*new_sequence) << 3;
        out.push(match first {
            true => Payload::new(&[&[flags], header].concat(), piece),
            false => Payload::new(&[flags], piece),
        });
        *new_sequence = false;
    }
}
