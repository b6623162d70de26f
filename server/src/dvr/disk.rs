//! Pieces of the files of recordings, as far as they are there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use formats::mp4::header;

/// The longest list of samples of one second or so.
const MOST_MOOF: u64 = 4 << 20;

/// The `moof` of the fragment that begins here, and the bytes of the fragment; if all of it is there.
pub(super) fn fragment(file: &File, at: u64, size: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
    let box_at = |at| header(&read_all::<16>(file, at).unwrap_or_default());
    let Some(moof) = box_at(at).filter(|moof| moof.kind == *b"moof" && moof.size <= MOST_MOOF) else {
        return Ok(None);
    };
    let Some(mdat) = box_at(at + moof.size).filter(|mdat| mdat.kind == *b"mdat") else { return Ok(None) };
    let whole = moof.size.saturating_add(mdat.size);
    if mdat.size == 0 || at.saturating_add(whole) > size {
        return Ok(None);
    }
    Ok(Some((read(file, at, moof.size as usize)?, whole)))
}

/// So many bytes, or fewer at the end.
pub(super) fn read(file: &File, at: u64, most: usize) -> io::Result<Vec<u8>> {
    let (mut bytes, mut filled) = (vec![0; most], 0);
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

pub(super) fn read_all<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).map(|()| bytes)
}
