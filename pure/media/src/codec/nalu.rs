//! NAL units, the packets inside H.264 and H.265: as a row with length prefixes (MP4, FLV), or between start
//! codes (Annex B: TS, PS, files). Here is what both codecs share; what a unit means is in `h264` and `h265`.

use bytes::Bytes;

use super::Error;

/// The most NAL units that one frame may have (SRS has the same limit).
pub const MAX_UNITS: usize = 256;

/// The units of a canonical payload (4-byte lengths), without their lengths. Ends at the first malformed length.
pub fn units(data: &[u8]) -> Units<'_> {
    Units { rest: data, size: 4 }
}

/// Iterates over length-prefixed NAL units, see [`units`].
#[derive(Clone, Debug)]
pub struct Units<'a> {
    rest: &'a [u8],
    size: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (prefix, rest) = self.rest.split_at_checked(self.size)?;
        let length = prefix.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(unit)
    }
}

/// How many units a payload with lengths of `size` bytes (1, 2 or 4) has.
///
/// # Errors
/// [`Error::Unit`] when the units do not fill the payload exactly, [`Error::TooManyUnits`] beyond [`MAX_UNITS`].
pub fn count(data: &[u8], size: u8) -> Result<usize, Error> {
    let mut walk = Units { rest: data, size: usize::from(size) };
    let count = walk.by_ref().take(MAX_UNITS).count();
    if walk.rest.is_empty() {
        Ok(count)
    } else if count == MAX_UNITS {
        Err(Error::TooManyUnits { max: MAX_UNITS })
    } else {
        Err(Error::Unit { at: data.len().saturating_sub(walk.rest.len()) })
    }
}

/// The canonical form of a payload with lengths of `size` bytes (1 or 2).
///
/// # Errors
/// Those of [`count`].
pub fn widen(data: &[u8], size: u8) -> Result<Bytes, Error> {
    let count = count(data, size)?;
    let mut out = Vec::with_capacity(data.len().saturating_add(count * 4));
    for unit in (Units { rest: data, size: usize::from(size) }) {
        append(&mut out, unit);
    }
    Ok(out.into())
}

/// The payload opens with a start code: two or more zeros, then a one.
pub fn is_annexb(data: &[u8]) -> bool {
    let zeros = data.iter().take_while(|byte| **byte == 0).count();
    zeros >= 2 && data.get(zeros) == Some(&1)
}

/// The units between start codes, without the zeros around them; empty units are left out (ITU-T H.264 Annex B).
pub fn annexb(data: &[u8]) -> AnnexB<'_> {
    AnnexB { rest: after_start_code(data).unwrap_or_default() }
}

/// Iterates over NAL units between start codes, see [`annexb`].
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    /// Begins right behind a start code.
    rest: &'a [u8],
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = start_code(self.rest).unwrap_or(self.rest.len());
            let (unit, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest.get(3..).unwrap_or_default();
            let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
            match unit.get(..unit.len().saturating_sub(zeros)) {
                Some(unit) if !unit.is_empty() => return Some(unit),
                _ => {}
            }
        }
        None
    }
}

/// The canonical form of an Annex B payload.
///
/// # Errors
/// [`Error::TooManyUnits`] beyond [`MAX_UNITS`].
pub fn from_annexb(data: &[u8]) -> Result<Bytes, Error> {
    // One zero more per unit than a 3-byte start code.
    let mut out = Vec::with_capacity(data.len().saturating_add(16));
    for (n, unit) in annexb(data).enumerate() {
        if n >= MAX_UNITS {
            return Err(Error::TooManyUnits { max: MAX_UNITS });
        }
        append(&mut out, unit);
    }
    Ok(out.into())
}

/// Adds one unit with its 4-byte length to a canonical payload under construction.
pub fn append(out: &mut Vec<u8>, unit: &[u8]) {
    let length = u32::try_from(unit.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(unit);
}

/// The unit without its emulation prevention bytes: what the bit reader of a parameter set reads (ITU-T H.264 §7.4.1).
pub fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    data.get(start_code(data)? + 3..)
}

/// Where the next `00 00 01` stands. It looks at every third byte while that byte cannot be part of one.
fn start_code(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(three) = data.get(at..at + 3) {
        match three {
            [0, 0, 1] => return Some(at),
            [_, _, 0 | 1] => at += 1,
            _ => at += 3,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn walks_lengths_of_every_size() {
        let four = [0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 1, 7];
        assert_eq!(units(&four).collect::<Vec<_>>(), [&[9, 0xf0][..], &[7]]);
        assert_eq!(count(&four, 4), Ok(2));
        assert_eq!(&widen(&[2, 9, 0xf0, 1, 7], 1).unwrap()[..], four);
        assert_eq!(&widen(&[0, 2, 9, 0xf0, 0, 1, 7], 2).unwrap()[..], four);
    }

    #[test]
    fn a_length_past_the_end_is_named() {
        assert_eq!(count(&[0, 0, 0, 1, 9, 0, 0, 0, 2, 9], 4), Err(Error::Unit { at: 5 }));
        assert_eq!(count(&[0, 0, 0, 1, 9, 0], 4), Err(Error::Unit { at: 5 }));
        assert_eq!(units(&[0, 0, 0, 1, 9, 0]).count(), 1);
    }

    #[test]
    fn the_limit_of_units_holds() {
        assert_eq!(count(&[0; 4 * MAX_UNITS], 4), Ok(MAX_UNITS));
        assert_eq!(count(&[0; 4 * MAX_UNITS + 4], 4), Err(Error::TooManyUnits { max: MAX_UNITS }));
        let many = [0, 0, 1, 9].repeat(MAX_UNITS + 1);
        assert_eq!(from_annexb(&many), Err(Error::TooManyUnits { max: MAX_UNITS }));
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_and_trailing_zeros() {
        let data = [0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 0, 0, 0, 0, 1, 0x65, 2, 0];
        assert!(is_annexb(&data));
        assert_eq!(annexb(&data).collect::<Vec<_>>(), [&[0x67, 1][..], &[0x68], &[0x65, 2]]);
        assert_eq!(count(&from_annexb(&data).unwrap(), 4), Ok(3));
        assert!(!is_annexb(&[0, 1]) && !is_annexb(&[0, 0]) && !is_annexb(&[]));
        assert_eq!(annexb(&[1, 2, 3]).count(), 0);
    }

    #[test]
    fn emulation_prevention_goes() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescape(&[0, 3, 0, 0, 4]), [0, 3, 0, 0, 4]);
    }

    proptest! {
        #[test]
        fn annexb_and_back(units_in in prop::collection::vec(prop::collection::vec(2u8.., 1..20), 0..20)) {
            let data: Vec<u8> = units_in.iter().flat_map(|u| [&[0, 0, 1][..], u].concat()).collect();
            let canonical = from_annexb(&data).unwrap();
            prop_assert_eq!(units(&canonical).map(<[u8]>::to_vec).collect::<Vec<_>>(), units_in);
        }
    }
}
