//! AV1: the configuration record (av1C) and the picture size in the sequence header that it may carry.

use bytes::Bytes;

use super::{Error, h264::in_range};
use crate::{BitReader, ByteReader, Truncated};

/// What an AV1CodecConfigurationRecord tells (AV1 in ISO-BMFF §2.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `seq_profile`: 0 Main, 1 High, 2 Professional.
    pub profile: u8,
    /// `seq_level_idx_0`.
    pub level: u8,
    /// High tier (`true`) or Main tier.
    pub high_tier: bool,
    /// The largest width in pixels; `None` without a readable sequence header.
    pub width: Option<u32>,
    /// The largest height in pixels; `None` without a readable sequence header.
    pub height: Option<u32>,
}

impl Config {
    /// Reads an av1C.
    ///
    /// # Errors
    /// When its four fixed bytes end early or it has another version.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let what = "av1C";
        let Some((&[version, profile, flags, _], obus)) = record.split_first_chunk() else {
            return Err(Error::Truncated { what, at: record.len() });
        };
        if version != 0x81 {
            return Err(Error::Unsupported { what, field: "version", value: version.into() });
        }
        let (width, height) = size(obus).unzip();
        Ok(Self { profile: profile >> 5, level: profile & 0x1f, high_tier: flags & 0x80 != 0, width, height })
    }
}

/// The av1C of a sequence header, given as one OBU, which it then carries; `None` when that cannot be read.
pub fn record(sequence_header: &[u8]) -> Option<Bytes> {
    let (kind, body) = obu(&mut ByteReader::new(sequence_header)).ok()?;
    let [profile, level, flags] =
        fixed(&mut BitReader::new(body)).ok().filter(|_| kind == SEQUENCE_HEADER)?;
    let mut out = vec![0x81, profile << 5 | level, flags, 0];
    out.extend_from_slice(sequence_header);
    Some(out.into())
}

const SEQUENCE_HEADER: u8 = 1;

/// Looks for a sequence header among the OBUs of the record.
fn size(obus: &[u8]) -> Option<(u32, u32)> {
    let mut r = ByteReader::new(obus);
    while r.left() > 0 {
        let (kind, body) = obu(&mut r).ok()?;
        if kind == SEQUENCE_HEADER {
            return read_size(&mut BitReader::new(body)).ok()?;
        }
    }
    None
}

/// One open bitstream unit: its type and its payload (AV1 §5.3).
fn obu<'a>(r: &mut ByteReader<'a>) -> Result<(u8, &'a [u8]), Truncated> {
    let header = r.u8()?;
    if header & 0x04 != 0 {
        r.u8()?; // temporal and spatial id
    }
    let length = if header & 0x02 != 0 { leb128(r)? } else { r.left() };
    Ok((header >> 3 & 0x0f, r.take(length)?))
}

/// AV1 §4.10.5.
fn leb128(r: &mut ByteReader<'_>) -> Result<usize, Truncated> {
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

/// Reads a sequence header up to the largest frame size (AV1 §5.5.1).
fn read_size(r: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, Truncated> {
    r.skip(3 + 1)?; // seq_profile, still_picture
    if r.bit()? {
        r.skip(5)?; // reduced_still_picture_header: only a level
    } else {
        read_operating_points(r)?;
    }
    let (width_bits, height_bits) = (r.bits(4)? + 1, r.bits(4)? + 1);
    let width = u64::from(r.bits(width_bits)?) + 1;
    let height = u64::from(r.bits(height_bits)?) + 1;
    Ok(in_range(width).zip(in_range(height)))
}

/// What the fixed bytes of the record repeat: `seq_profile`, `seq_level_idx_0`, and one byte of tier, bit depths and colour format (AV1 §5.5.1,
/// §5.5.2).
fn fixed(r: &mut BitReader<'_>) -> Result<[u8; 3], Truncated> {
    let profile = r.bits(3)?;
    r.skip(1)?; // still_picture
    let reduced = r.bit()?;
    let (level, tier) = if reduced { (r.bits(5)?, false) } else { read_operating_points(r)? };
    let (width_bits, height_bits) = (r.bits(4)? + 1, r.bits(4)? + 1);
    r.skip((width_bits + height_bits) as usize)?;
    if !reduced && r.bit()? {
        r.skip(4 + 3)?; // lengths of frame ids
    }
    r.skip(3)?; // superblock size, filter intra, intra edge filter
    if !reduced {
        skip_tools(r)?;
    }
    r.skip(3)?; // superres, cdef, restoration
    let high = r.bit()?;
    let twelve = profile == 2 && high && r.bit()?;
    let mono = profile != 1 && r.bit()?;
    let colours = if r.bit()? { r.bits(24)? } else { 0x02_02_02 };
    let (x, y) = match profile {
        _ if mono => (r.bits(1).map(|_range| true)?, true),
        // BT.709 with the transfer of sRGB and no matrix: RGB.
        _ if colours == 0x01_0d_00 => (false, false),
        _ => {
            r.skip(1)?; // color_range
            match profile {
                0 => (true, true),
                1 => (false, false),
                _ if twelve => {
                    let x = r.bit()?;
                    (x, x && r.bit()?)
                }
                _ => (true, false),
            }
        }
    };
    let position = if x && y && !mono { r.bits(2)? } else { 0 };
    let flags = [tier, high, twelve, mono, x, y].into_iter().fold(0, |bits, flag| bits << 1 | u8::from(flag));
    Ok([profile as u8, level as u8, flags << 2 | position as u8])
}

/// The flags between the frame size and the filters that only full headers have.
fn skip_tools(r: &mut BitReader<'_>) -> Result<(), Truncated> {
    r.skip(4)?; // interintra, masked, warped, dual filter
    let order_hint = r.bit()?;
    if order_hint {
        r.skip(2)?; // distance weights, reference motion vectors
    }
    let screen_content = r.bit()? || r.bit()?;
    if screen_content && !r.bit()? {
        r.skip(1)?; // seq_force_integer_mv
    }
    r.skip(if order_hint { 3 } else { 0 })
}

/// The level and the tier of the first.
fn read_operating_points(r: &mut BitReader<'_>) -> Result<(u32, bool), Truncated> {
    let mut delay_bits = None;
    if r.bit()? {
        r.skip(32 + 32)?; // display tick, time scale
        if r.bit()? {
            skip_uvlc(r)?;
        }
        if r.bit()? {
            delay_bits = Some(r.bits(5)? as usize + 1);
            r.skip(32 + 5 + 5)?; // decoding tick, two lengths
        }
    }
    let display_delay = r.bit()?;
    let mut first = None;
    for _ in 0..=r.bits(5)? {
        r.skip(12)?; // operating_point_idc
        let level = r.bits(5)?;
        let tier = level > 7 && r.bit()?;
        first.get_or_insert((level, tier));
        if let Some(bits) = delay_bits
            && r.bit()?
        {
            r.skip(2 * bits + 1)?; // two delays, low_delay_mode_flag
        }
        if display_delay && r.bit()? {
            r.skip(4)?;
        }
    }
    Ok(first.unwrap_or_default())
}

/// AV1 §4.10.3.
fn skip_uvlc(r: &mut BitReader<'_>) -> Result<(), Truncated> {
    let mut zeros = 0;
    while !r.bit()? {
        zeros += 1;
    }
    r.skip(if zeros < 32 { zeros } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bit_writer::BitWriter;

    fn sequence_header(timing: bool) -> Vec<u8> {
        let mut w = BitWriter::new(&[]);
        w.bits(0, 3).bits(0, 1).bits(0, 1).bits(timing.into(), 1);
        if timing {
            // Equal picture interval of uvlc(2), a decoder model with 10-bit delays.
            w.bits(1, 32)
                .bits(30, 32)
                .bits(1, 1)
                .bits(0b011, 3)
                .bits(1, 1)
                .bits(9, 5)
                .bits(1, 32)
                .bits(0, 10);
        }
        w.bits(1, 1).bits(0, 5).bits(0, 12).bits(8, 5).bits(0, 1);
        if timing {
            w.bits(1, 1).bits(0, 21);
        }
        w.bits(1, 1).bits(3, 4);
        w.bits(10, 4).bits(10, 4).bits(1919, 11).bits(1079, 11).bits(0, 20);
        w.plain()
    }

    fn record(header: &[u8]) -> Vec<u8> {
        let mut out = vec![0x81, 0x08, 0x0c, 0x00, 0x12, 0x00, 0x0a, header.len() as u8];
        out.extend_from_slice(header);
        out
    }

    #[test]
    fn reads_records() {
        for timing in [false, true] {
            let config = Config::parse(&record(&sequence_header(timing))).unwrap();
            assert_eq!((config.profile, config.level, config.high_tier), (0, 8, false));
            assert_eq!((config.width, config.height), (Some(1920), Some(1080)), "timing {timing}");
        }
    }

    #[test]
    fn a_record_of_a_sequence_header() {
        // The zeros behind the size of `sequence_header`: no frame ids, no tools, eight bits, 4:2:0.
        let header = sequence_header(false);
        let obu = [&[0x0a, header.len() as u8], &header[..]].concat();
        let made = super::record(&obu).unwrap();
        assert_eq!(made, [&[0x81, 0x08, 0x0c, 0][..], &obu].concat());
        assert_eq!(super::record(&[0x32, 1, 0]), None, "a frame");
        assert_eq!(super::record(&obu[..obu.len() - 4]), None);
        // Professional, 12 bits, 4:2:2, level 5.1 in the high tier.
        let mut w = BitWriter::new(&[]);
        w.bits(2, 3)
            .bits(0, 1)
            .bits(0, 1)
            .bits(0, 1)
            .bits(0, 1)
            .bits(0, 5)
            .bits(0, 12)
            .bits(13, 5)
            .bits(1, 1);
        w.bits(0, 4).bits(0, 4).bits(1, 1).bits(1, 1).bits(1, 1).bits(0, 7).bits(0, 3);
        w.bits(0, 4).bits(1, 1).bits(0, 2).bits(1, 1).bits(1, 1).bits(5, 3).bits(0, 3);
        w.bits(1, 1).bits(1, 1).bits(0, 1).bits(1, 1).bits(0x01_01_01, 24).bits(0, 1).bits(1, 1).bits(0, 1);
        let header = w.plain();
        let obu = [&[0x0a, header.len() as u8], &header[..]].concat();
        assert_eq!(super::record(&obu).unwrap()[..4], [0x81, 0x4d, 0b1110_1000, 0]);
        assert!(Config::parse(&super::record(&obu).unwrap()).unwrap().high_tier);
    }

    #[test]
    fn a_record_without_a_header_has_no_size() {
        let config = Config::parse(&[0x81, 0x2d, 0x80, 0]).unwrap();
        assert_eq!((config.profile, config.level, config.high_tier, config.width), (1, 13, true, None));
        assert_eq!(Config::parse(&record(&[0; 3])).unwrap().width, None);
    }

    #[test]
    fn refuses_short_and_other_versions() {
        assert_eq!(Config::parse(&[0x81, 8, 0]), Err(Error::Truncated { what: "av1C", at: 3 }));
        assert!(matches!(Config::parse(&[0x82, 8, 0, 0]), Err(Error::Unsupported { value: 0x82, .. })));
    }
}
