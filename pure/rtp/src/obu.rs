//! The open bitstream units of AV1, as far as both directions of its payload format need them (AV1 §5.3).

use media::{ByteReader, Truncated};

pub(crate) const SEQUENCE_HEADER: u8 = 1;
pub(crate) const FRAME_HEADER: u8 = 3;
pub(crate) const FRAME: u8 = 6;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// One unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obu<'a> {
    first: u8,
    extension: Option<u8>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Obu<'a> {
    pub(crate) fn read(r: &mut ByteReader<'a>) -> Result<Self, Truncated> {
        let first = r.u8()?;
        let extension = if first & 0x04 != 0 { Some(r.u8()?) } else { None };
        let length = if first & 0x02 != 0 { leb128(r)? } else { r.left() };
        Ok(Self { first, extension, payload: r.take(length)? })
    }

    pub(crate) fn kind(&self) -> u8 {
        self.first >> 3 & 0x0f
    }

    /// It belongs into packets (payload format §5), and into frames of this house.
    pub(crate) fn travels(&self) -> bool {
        !matches!(self.kind(), TEMPORAL_DELIMITER | TILE_LIST | PADDING)
    }

    /// The header without a size field, and how many bytes of it count.
    pub(crate) fn header(&self) -> ([u8; 2], usize) {
        ([self.first & !0x02, self.extension.unwrap_or_default()], 1 + usize::from(self.extension.is_some()))
    }

    /// Appends the unit with a size field.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.first | 0x02);
        out.extend(self.extension);
        let mut left = self.payload.len();
        while left > 0x7f {
            out.push(left as u8 | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
        out.extend_from_slice(self.payload);
    }
}

/// The units of a temporal unit in the low-overhead format. Ends at the first that is cut off.
pub(crate) fn walk(data: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut r = ByteReader::new(data);
    std::iter::from_fn(move || if r.left() > 0 { Obu::read(&mut r).ok() } else { None })
}

/// AV1 §4.10.5.
pub(crate) fn leb128(r: &mut ByteReader<'_>) -> Result<usize, Truncated> {
    let at = r.position();
    let mut value = 0u64;
    for shift in (0..56).step_by(7) {
        let byte = r.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).map_err(|_| Truncated { at });
        }
    }
    Err(Truncated { at })
}
