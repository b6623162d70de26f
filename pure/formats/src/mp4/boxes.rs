//! The box: a length, four letters, a body. How it is written and found.
//!
//! Spec: ISO/IEC 14496-12 §4.2.

use bytes::BufMut;

/// Writes a box around what `fill` writes.
pub(super) fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    fill(out);
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&size.to_be_bytes());
    }
}

/// Writes a box that opens with a version and flags.
pub(super) fn full(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags & 0xff_ffff);
        fill(out);
    });
}

/// How a box opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole box, this header among them. Zero: to the end of the file.
    pub size: u64,
    /// Its four letters.
    pub kind: [u8; 4],
    /// Bytes of the header, 8 or 16.
    pub length: usize,
}

/// The header of the box that `bytes` begin with. `None` when more bytes are needed (16 are always enough), or when it says that the
/// box is smaller than its header.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (size, length) = match u32::from_be_bytes(*size) {
        1 => (u64::from_be_bytes(*rest.first_chunk::<8>()?), 16),
        size => (u64::from(size), 8),
    };
    (size == 0 || size >= length as u64).then_some(Header { size, kind: *kind, length })
}

/// The boxes in a row of bytes: what each is called, and its body. Ends at the first that is damaged.
pub(super) struct Boxes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let Header { size, kind, length } = header(self.0)?;
        let size = if size == 0 { self.0.len() } else { usize::try_from(size).ok()? };
        let (whole, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some((kind, whole.get(length..)?))
    }
}

/// The body of the first box of this kind.
pub(super) fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    Boxes(bytes).find(|(found, _)| found == kind).map(|(_, body)| body)
}
