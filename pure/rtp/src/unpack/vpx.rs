//! VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2): what stands before the bytes of a frame.

use bytes::Bytes;
use media::codec::{Codec, vp9 as codec};
use media::{BitReader, ByteReader, Truncated};

use super::{MAX_FRAME, Whole};

/// A part of a frame.
pub(super) struct Part<'a> {
    pub(super) start: bool,
    pub(super) key: bool,
    data: &'a [u8],
}

/// Reads a VP8 payload descriptor.
pub(super) fn vp8(payload: &[u8]) -> Option<Part<'_>> {
    let mut r = ByteReader::new(payload);
    let first = r.u8().ok()?;
    if first & 0x80 != 0 {
        let flags = r.u8().ok()?;
        if flags & 0x80 != 0 && r.u8().ok()? & 0x80 != 0 {
            r.u8().ok()?; // a picture id of 15 bits
        }
        if flags & 0x40 != 0 {
            r.u8().ok()?; // TL0PICIDX
        }
        if flags & 0x30 != 0 {
            r.u8().ok()?; // TID, KEYIDX
        }
    }
    let data = r.rest();
    let start = first & 0x10 != 0 && first & 0x07 == 0;
    // The first bit of a frame says that it is not a key frame (RFC 6386 §9.1).
    Some(Part { start, key: data.first()? & 1 == 0, data })
}

/// Reads a VP9 payload descriptor.
pub(super) fn vp9(payload: &[u8]) -> Option<Part<'_>> {
    let mut r = ByteReader::new(payload);
    let first = r.u8().ok()?;
    skip_vp9(first, &mut r).ok()?;
    Some(Part { start: first & 0x08 != 0, key: first & 0x40 == 0, data: r.rest() })
}

fn skip_vp9(first: u8, r: &mut ByteReader<'_>) -> Result<(), Truncated> {
    let flexible = first & 0x10 != 0;
    if first & 0x80 != 0 && r.u8()? & 0x80 != 0 {
        r.u8()?; // a picture id of 15 bits
    }
    if first & 0x20 != 0 {
        r.u8()?; // layer indices
        if !flexible {
            r.u8()?; // TL0PICIDX
        }
    }
    if flexible && first & 0x40 != 0 {
        for _ in 0..3 {
            if r.u8()? & 1 == 0 {
                break; // the last reference
            }
        }
    }
    if first & 0x02 != 0 {
        let structure = r.u8()?;
        if structure & 0x10 != 0 {
            r.take((usize::from(structure >> 5) + 1) * 4)?; // sizes
        }
        if structure & 0x08 != 0 {
            for _ in 0..r.u8()? {
                let references = r.u8()? >> 2 & 3;
                r.take(references.into())?;
            }
        }
    }
    Ok(())
}

/// A frame under construction.
#[derive(Debug)]
pub(super) struct Frame {
    is_vp9: bool,
    data: Vec<u8>,
    key: bool,
    begins: bool,
    config: Option<(Codec, Bytes)>,
}

impl Frame {
    pub(super) fn new(is_vp9: bool) -> Self {
        Self { is_vp9, data: Vec::new(), key: false, begins: false, config: None }
    }

    pub(super) fn push(&mut self, payload: &[u8]) -> Option<()> {
        let part = if self.is_vp9 { vp9(payload)? } else { vp8(payload)? };
        if self.data.is_empty() {
            (self.begins, self.key) = (part.start, part.start && part.key);
        }
        if self.data.len() + part.data.len() > MAX_FRAME {
            return None;
        }
        self.data.extend_from_slice(part.data);
        Some(())
    }

    pub(super) fn take(&mut self) -> Option<Whole> {
        let data = Bytes::from(std::mem::take(&mut self.data));
        let config = match (self.key, self.is_vp9) {
            (false, _) => None,
            (true, true) => vp9_config(&data),
            (true, false) => Some((Codec::Vp8, Bytes::new())),
        };
        let changed = config.is_some() && self.config != config;
        if changed {
            self.config.clone_from(&config);
        }
        (!data.is_empty()).then_some(Whole {
            key: self.key,
            data,
            begins: self.begins,
            config: config.filter(|_| changed),
        })
    }
}

/// The vpcC from the head of a keyframe (VP9 bitstream §6.2); the level stays open.
fn vp9_config(data: &[u8]) -> Option<(Codec, Bytes)> {
    let mut r = BitReader::new(data);
    r.skip(2).ok()?; // frame_marker
    let profile = (r.bits(1).ok()? | r.bits(1).ok()? << 1) as u8;
    // reserved_zero, show_existing_frame, frame_type, show_frame, error_resilient_mode, frame_sync_code
    r.skip(usize::from(profile == 3) + 4 + 24).ok()?;
    let bit_depth = match profile >= 2 {
        true if r.bit().ok()? => 12,
        true => 10,
        false => 8,
    };
    // 4:2:0 in profiles 0 and 2, 4:4:4 in the others unless they say more; colours as in BT.709.
    let chroma = if profile & 1 == 0 { 1 } else { 3 };
    let record = [1, 0, 0, 0, profile, 0, bit_depth << 4 | chroma << 1, 1, 1, 1, 0, 0];
    Some((Codec::Vp9(codec::Config::parse(&record).ok()?), Bytes::copy_from_slice(&record)))
}
