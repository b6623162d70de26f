//! The time stamp that rides inside each video frame: an H.264 SEI message in front of the first slice.
//!
//! Type `user_data_unregistered` (H.264, section D.1.7): 16 bytes of UUID, then the sender's monotonic clock in
//! nanoseconds as 16 hexadecimal digits. All bytes are printable, so no emulation prevention is ever needed and a
//! server that passes frames on untouched passes the stamp on untouched.

use crate::avc::units;

/// The UUID that marks our stamps; printable, as the digits are.
const MARK: &[u8; 16] = b"oxcast-load-time";
const DIGITS: usize = 16;
/// Bytes that [`insert`] adds: length, SEI header, mark, digits, trailing bits.
pub const SIZE: usize = 4 + 3 + MARK.len() + DIGITS + 1;

/// Appends the mark and the digits of `now` (nanoseconds): the stamp without its SEI frame.
pub fn write_bare(out: &mut Vec<u8>, now: u64) {
    out.extend_from_slice(MARK);
    out.extend_from_slice(format!("{now:016x}").as_bytes());
}

/// The last bare stamp in `bytes`, in nanoseconds.
pub fn find_bare(bytes: &[u8]) -> Option<u64> {
    let at = bytes.windows(MARK.len()).rposition(|window| window == MARK)?;
    read_digits(&bytes[at + MARK.len()..])
}

/// True when the FLV video tag `body` carries an H.264 picture (not a sequence header).
pub fn is_picture(body: &[u8]) -> bool {
    body.len() > 5 && body[0] & 0x0f == 7 && body[1] == 1
}

/// Copies the FLV video tag `body` to `out` with a stamp of `now` in front of the first slice.
///
/// A body that is no H.264 picture, or has no slice, is copied as it is.
pub fn insert(body: &[u8], now: u64, out: &mut Vec<u8>) {
    let slice = is_picture(body).then(|| units(body).find(|unit| (1..=5).contains(&unit.kind))).flatten();
    let Some(slice) = slice else { return out.extend_from_slice(body) };
    out.extend_from_slice(&body[..slice.start]);
    let size = MARK.len() + DIGITS;
    out.extend((size as u32 + 4).to_be_bytes());
    out.extend([6, 5, size as u8]);
    write_bare(out, now);
    out.push(0x80);
    out.extend_from_slice(&body[slice.start..]);
}

/// The stamp in an FLV video tag `body`, in nanoseconds of the sender's monotonic clock.
pub fn find(body: &[u8]) -> Option<u64> {
    if !is_picture(body) {
        return None;
    }
    units(body).filter(|unit| unit.kind == 6).find_map(|unit| {
        let payload = unit.data.strip_prefix(&[6, 5, (MARK.len() + DIGITS) as u8])?;
        read_digits(payload.strip_prefix(MARK)?)
    })
}

fn read_digits(bytes: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(bytes.get(..DIGITS)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picture(units: &[&[u8]]) -> Vec<u8> {
        let mut body = vec![0x17, 1, 0, 0, 0];
        for unit in units {
            body.extend((unit.len() as u32).to_be_bytes());
            body.extend_from_slice(unit);
        }
        body
    }

    #[test]
    fn the_stamp_stands_between_parameter_sets_and_slices() {
        let body = picture(&[&[0x67, 1], &[0x68, 2], &[0x65, 3, 4], &[0x65, 5]]);
        let mut stamped = Vec::new();
        insert(&body, 0x1234, &mut stamped);
        let kinds: Vec<_> = units(&stamped).map(|unit| unit.kind).collect();
        assert_eq!(kinds, [7, 8, 6, 5, 5]);
        assert_eq!(stamped.len(), body.len() + SIZE);
        assert_eq!(find(&stamped), Some(0x1234));
        assert_eq!(find_bare(&stamped), Some(0x1234));
        let message = units(&stamped).find(|unit| unit.kind == 6).unwrap();
        assert!(!message.data.contains(&0), "a zero byte may need emulation prevention");
    }

    #[test]
    fn what_is_no_picture_stays_as_it_is() {
        for body in [&[0x17, 0, 0, 0, 0, 1, 100][..], &[0xaf, 1, 2], &[], &picture(&[&[0x09, 0xf0]])] {
            let mut out = Vec::new();
            insert(body, 9, &mut out);
            assert_eq!((out.as_slice(), find(body)), (body, None));
        }
    }

    proptest! {
        #[test]
        fn every_time_survives_the_round_trip(now: u64, slice in proptest::collection::vec(any::<u8>(), 0..50)) {
            let body = picture(&[&[&[0x41], slice.as_slice()].concat()]);
            let mut stamped = Vec::new();
            insert(&body, now, &mut stamped);
            prop_assert_eq!(find(&stamped), Some(now));
            prop_assert!(stamped.ends_with(&body[5..]));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            insert(&bytes, 1, &mut Vec::new());
            let _ = (find(&bytes), find_bare(&bytes));
        }
    }
}
