//! H.264 inside FLV video tags: its NAL units, and the same in the byte stream format that packers for RTP take
//! (H.264, annex B). What the units mean beyond their type is nobody's business here.

const START: [u8; 4] = [0, 0, 0, 1];

/// A NAL unit of an FLV video tag.
pub struct Unit<'a> {
    /// Where its length field starts.
    pub start: usize,
    /// Its type.
    pub kind: u8,
    /// Its bytes, from the header on.
    pub data: &'a [u8],
}

/// The NAL units behind 4-byte lengths, from the sixth byte of an FLV video tag on.
pub fn units(body: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let mut at = 5;
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*body.get(at..)?.first_chunk()?) as usize;
        let data = body.get(at + 4..)?.get(..length)?;
        let unit = Unit { start: at, kind: data.first()? & 0x1f, data };
        at += 4 + length;
        Some(unit)
    })
}

/// Appends the NAL units of the FLV video tag `body` to `out`, each behind a start code.
pub fn write_byte_stream(body: &[u8], out: &mut Vec<u8>) {
    for unit in units(body) {
        out.extend(START);
        out.extend_from_slice(unit.data);
    }
}

/// The parameter sets of an FLV sequence header, each behind a start code; `None` when it is cut short
/// (ISO/IEC 14496-15, 5.3.3.1).
pub fn parameter_sets(header: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at) = (Vec::new(), 10);
    for mask in [0x1f, 0xff] {
        let count = header.get(at)? & mask;
        at += 1;
        for _ in 0..count {
            let length = u16::from_be_bytes(*header.get(at..)?.first_chunk()?) as usize;
            out.extend(START);
            out.extend_from_slice(header.get(at + 2..)?.get(..length)?);
            at += 2 + length;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_become_start_codes() {
        let body = [0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 7, 0, 0, 0, 1, 0x41];
        assert_eq!(units(&body).map(|unit| unit.kind).collect::<Vec<_>>(), [5, 1]);
        let mut out = Vec::new();
        write_byte_stream(&body, &mut out);
        assert_eq!(out, [0, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 0x41]);
    }

    #[test]
    fn a_sequence_header_holds_parameter_sets() {
        let header = [0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68];
        assert_eq!(parameter_sets(&header).unwrap(), [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68]);
        assert!(parameter_sets(&header[..header.len() - 1]).is_none());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            write_byte_stream(&bytes, &mut Vec::new());
            let _ = parameter_sets(&bytes);
        }
    }
}
