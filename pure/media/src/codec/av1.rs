//! AV1: the configuration record (av1C) and the picture size in the sequence header that it may carry.

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
        skip_operating_points(r)?;
    }
    let (width_bits, height_bits) = (r.bits(4)? + 1, r.bits(4)? + 1);
    let width = u64::from(r.bits(width_bits)?) + 1;
    let height = u64::from(r.bits(height_bits)?) + 1;
    Ok(in_range(width).zip(in_range(height)))
}

fn skip_operating_points(r: &mut BitReader<'_>) -> Result<(), Truncated> {
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
    for _ in 0..=r.bits(5)? {
        r.skip(12)?; // operating_point_idc
        if r.bits(5)? > 7 {
            r.skip(1)?; // tier
        }
        if let Some(bits) = delay_bits
            && r.bit()?
        {
            r.skip(2 * bits + 1)?; // two delays, low_delay_mode_flag
        }
        if display_delay && r.bit()? {
            r.skip(4)?;
        }
    }
    Ok(())
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
