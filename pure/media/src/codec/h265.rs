//! H.265 / HEVC: the configuration record (hvcC), the size in the SPS, and which NAL units start a decoder.
//! Slices are not looked into.

use bytes::Bytes;

use super::{Error, h264::in_range, nalu};
use crate::{BitReader, ByteReader, Truncated};

/// What an HEVCDecoderConfigurationRecord tells (ISO/IEC 14496-15 §8.3.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `general_profile_idc`, such as 1 for Main.
    pub profile: u8,
    /// High tier (`true`) or Main tier.
    pub high_tier: bool,
    /// `general_level_idc`, thirty times the level.
    pub level: u8,
    /// Width in pixels inside the conformance window; `None` when no SPS could be read.
    pub width: Option<u32>,
    /// Height in pixels inside the conformance window; `None` when no SPS could be read.
    pub height: Option<u32>,
    /// Bytes of each NAL unit's length in the record's own stream: 1, 2 or 4.
    pub length_size: u8,
    /// The video parameter sets, as NAL units.
    pub vps: Vec<Bytes>,
    /// The sequence parameter sets, as NAL units.
    pub sps: Vec<Bytes>,
    /// The picture parameter sets, as NAL units.
    pub pps: Vec<Bytes>,
}

impl Config {
    /// Reads an hvcC. An SPS that cannot be read leaves the size unknown: a server relays what it cannot decode.
    ///
    /// # Errors
    /// When the record itself ends early, has another version, or uses the reserved length size of 3.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let what = "hvcC";
        let config = Self::read(record).map_err(|e| e.of(what))?;
        match (record.first(), config.length_size) {
            (Some(1), 1 | 2 | 4) => Ok(config),
            (Some(1), size) => Err(Error::Unsupported { what, field: "NAL length size", value: size.into() }),
            (version, _) => Err(Error::Unsupported {
                what,
                field: "version",
                value: version.copied().unwrap_or_default().into(),
            }),
        }
    }

    fn read(record: &[u8]) -> Result<Self, Truncated> {
        let mut r = ByteReader::new(record);
        r.u8()?;
        let profile = r.u8()?;
        let mut config = Self { profile: profile & 0x1f, high_tier: profile & 0x20 != 0, ..Self::default() };
        r.take(4 + 6)?; // compatibility and constraint flags
        config.level = r.u8()?;
        r.take(8)?; // segmentation, parallelism, chroma, depths, average frame rate
        config.length_size = (r.u8()? & 3) + 1;
        for _ in 0..r.u8()? {
            let kind = r.u8()? & 0x3f;
            for _ in 0..r.u16()? {
                let length = r.u16()?;
                let unit = r.take(length.into())?;
                let list = match kind {
                    VPS => &mut config.vps,
                    SPS => &mut config.sps,
                    PPS => &mut config.pps,
                    _ => continue, // SEI messages describe nothing that the server shows
                };
                if list.len() < MAX_SETS && !unit.is_empty() {
                    list.push(Bytes::copy_from_slice(unit));
                }
            }
        }
        if let Some((width, height)) = config.sps.iter().rev().find_map(|unit| size(unit)) {
            (config.width, config.height) = (Some(width), Some(height));
        }
        Ok(config)
    }

    /// The profile as the API names it (SRS's table).
    pub fn profile_name(&self) -> &'static str {
        match self.profile {
            1 => "Main",
            2 => "Main10",
            3 => "Main Still Picture",
            4 => "Rext",
            _ => "Other",
        }
    }

    /// The level as the API names it (SRS's table).
    pub fn level_name(&self) -> &'static str {
        match self.level {
            30 => "1",
            60 => "2",
            63 => "2.1",
            90 => "3",
            93 => "3.1",
            120 => "4",
            123 => "4.1",
            150 => "5",
            153 => "5.1",
            156 => "5.2",
            180 => "6",
            183 => "6.1",
            186 => "6.2",
            _ => "Other",
        }
    }
}

/// No parameter set has an id beyond 63 (a PPS; the others beyond 15): a record with more repeats itself.
const MAX_SETS: usize = 64;

/// `nal_unit_type` of a video parameter set (ITU-T H.265 table 7-1).
pub const VPS: u8 = 32;
/// `nal_unit_type` of a sequence parameter set.
pub const SPS: u8 = 33;
/// `nal_unit_type` of a picture parameter set.
pub const PPS: u8 = 34;

/// The record with a NAL length size of 4, to go with a payload that was made canonical.
pub fn widen(record: &[u8]) -> Bytes {
    let mut out = record.to_vec();
    if let Some(sizes) = out.get_mut(21) {
        *sizes |= 3;
    }
    out.into()
}

/// The hvcC of these parameter sets, with a NAL length size of 4; `None` without a readable SPS and a PPS, or with sets that are too large. Some encoders
/// send no VPS, and decoders do without.
pub fn record(vps: &[Bytes], sps: &[Bytes], pps: &[Bytes]) -> Option<Bytes> {
    let (first, _) = (sps.first()?, pps.first()?);
    let bytes = nalu::unescape(first.get(2..)?);
    let [layers, general @ ..] = bytes.first_chunk::<13>()?;
    let [chroma, luma_depth, chroma_depth] = sampling(&mut BitReader::new(&bytes)).ok()?;
    let layering = ((layers >> 1 & 7) + 1) << 3 | (layers & 1) << 2;
    let mut out = vec![1];
    out.extend_from_slice(general);
    out.extend_from_slice(&[
        0xf0,
        0,
        0xfc,
        0xfc | chroma & 3,
        0xf8 | luma_depth & 7,
        0xf8 | chroma_depth & 7,
    ]);
    let lists = [(VPS, vps), (SPS, sps), (PPS, pps)];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    out.extend_from_slice(&[0, 0, layering | 3, lists.clone().count() as u8]);
    for (kind, list) in lists {
        out.push(0x80 | kind);
        out.extend_from_slice(&u16::try_from(list.len()).ok()?.to_be_bytes());
        for unit in list {
            out.extend_from_slice(&u16::try_from(unit.len()).ok()?.to_be_bytes());
            out.extend_from_slice(unit);
        }
    }
    Some(out.into())
}

/// `chroma_format_idc` and the bit depths less 8 in an SPS.
fn sampling(r: &mut BitReader<'_>) -> Result<[u8; 3], Truncated> {
    r.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = r.bits(3)?;
    r.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(r, sub_layers)?;
    r.ue()?; // sps_seq_parameter_set_id
    let chroma = r.ue()?;
    r.skip(usize::from(chroma == 3))?; // separate_colour_plane_flag
    r.ue()?; // width
    r.ue()?; // height
    if r.bit()? {
        for _ in 0..4 {
            r.ue()?; // conformance window
        }
    }
    Ok([chroma as u8, r.ue()? as u8, r.ue()? as u8])
}

/// The `nal_unit_type` (ITU-T H.265 §7.3.1.2).
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte >> 1 & 0x3f)
}

/// The canonical payload holds an intra random access point (IDR, CRA, BLA), from which a decoder can start.
pub fn is_irap(payload: &[u8]) -> bool {
    nalu::units(payload).any(|unit| (16..=23).contains(&unit_type(unit)))
}

/// The size that an SPS tells; `None` when it ends early or describes an impossible picture.
fn size(unit: &[u8]) -> Option<(u32, u32)> {
    let bytes = nalu::unescape(unit.get(2..)?);
    read_size(&mut BitReader::new(&bytes)).ok()?
}

/// Reads up to and with the conformance window (ITU-T H.265 §7.3.2.2.1).
fn read_size(r: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, Truncated> {
    r.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = r.bits(3)?;
    r.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(r, sub_layers)?;
    r.ue()?; // sps_seq_parameter_set_id
    let mut chroma = r.ue()?;
    if chroma == 3 && r.bit()? {
        chroma = 0; // separate_colour_plane_flag
    }
    let (width, height) = (u64::from(r.ue()?), u64::from(r.ue()?));
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let mut window = [0u64; 4]; // left, right, top, bottom
    if r.bit()? {
        for side in &mut window {
            *side = r.ue()?.into();
        }
    }
    let [left, right, top, bottom] = window;
    let width = width.checked_sub((left + right) * unit_x);
    let height = height.checked_sub((top + bottom) * unit_y);
    Ok(width.and_then(in_range).zip(height.and_then(in_range)))
}

/// ITU-T H.265 §7.3.3.
fn skip_profile_tier_level(r: &mut BitReader<'_>, sub_layers: u32) -> Result<(), Truncated> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    r.skip(PROFILE + LEVEL)?;
    let mut present = 0;
    for _ in 0..sub_layers {
        present += if r.bit()? { PROFILE } else { 0 };
        present += if r.bit()? { LEVEL } else { 0 };
    }
    if sub_layers > 0 {
        for _ in sub_layers..8 {
            r.skip(2)?;
        }
    }
    r.skip(present)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bit_writer::BitWriter;

    /// A Main profile SPS of a coded size of 1920x1088 with the bottom 8 lines outside the conformance window.
    fn sps(sub_layers: u32) -> Vec<u8> {
        let mut w = BitWriter::new(&[SPS << 1, 1]);
        w.bits(0, 4).bits(sub_layers, 3).bits(1, 1);
        w.bits(1, 8).bits(0x6000_0000, 32).bits(0x9000, 16).bits(0, 32).bits(123, 8);
        for _ in 0..sub_layers {
            w.bits(0b11, 2);
        }
        if sub_layers > 0 {
            for _ in sub_layers..8 {
                w.bits(0, 2);
            }
        }
        for _ in 0..sub_layers * 3 {
            w.bits(0, 32);
        }
        w.ue(0).ue(1).ue(1920).ue(1088).bits(1, 1).ue(0).ue(0).ue(0).ue(4);
        w.finish()
    }

    fn record(sps: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 0x21, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 123];
        out.extend_from_slice(&[0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3]);
        for (kind, unit) in [(VPS, &[VPS << 1, 1, 12][..]), (SPS, sps), (PPS, &[PPS << 1, 1, 0xc1])] {
            out.extend_from_slice(&[0x80 | kind, 0, 1]);
            out.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            out.extend_from_slice(unit);
        }
        out
    }

    #[test]
    fn reads_a_record() {
        for sub_layers in [0, 2] {
            let config = Config::parse(&record(&sps(sub_layers))).unwrap();
            assert_eq!((config.profile, config.high_tier, config.level), (1, true, 123));
            assert_eq!((config.width, config.height), (Some(1920), Some(1080)));
            assert_eq!((config.vps.len(), config.sps.len(), config.pps.len()), (1, 1, 1));
            assert_eq!((config.profile_name(), config.level_name()), ("Main", "4.1"));
        }
    }

    #[test]
    fn a_record_of_parameter_sets() {
        let (vps, pps) = (Bytes::from_static(&[VPS << 1, 1, 12]), Bytes::from_static(&[PPS << 1, 1, 0xc1]));
        let mut w = BitWriter::new(&[SPS << 1, 1]);
        w.bits(0, 4).bits(0, 3).bits(1, 1);
        w.bits(2, 8).bits(0x2000_0000, 32).bits(0x9000, 16).bits(0, 32).bits(93, 8);
        w.ue(0).ue(1).ue(1280).ue(720).bits(0, 1).ue(2).ue(2);
        let sets = [Bytes::from(w.finish())];
        let made = super::record(&[vps], &sets, std::slice::from_ref(&pps)).unwrap();
        assert_eq!(
            made[..23],
            [1, 2, 0x20, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xfa, 0xfa, 0, 0, 0x0f, 3]
        );
        let config = Config::parse(&made).unwrap();
        assert_eq!(
            (config.profile, config.level, config.width, config.height),
            (2, 93, Some(1280), Some(720))
        );
        assert_eq!((config.vps.len(), config.sps.len(), config.pps.len()), (1, 1, 1));
        assert_eq!(super::record(&[], &sets, &[]), None);
        assert_eq!(super::record(&[], &[Bytes::from_static(&[SPS << 1, 1, 0])], &[pps]), None);
    }

    #[test]
    fn an_unreadable_sps_leaves_the_size_open() {
        let config = Config::parse(&record(&[SPS << 1, 1, 0])).unwrap();
        assert_eq!((config.width, config.height), (None, None));
    }

    #[test]
    fn refuses_what_the_record_itself_spoils() {
        let good = record(&sps(0));
        for cut in 0..good.len() {
            assert!(Config::parse(&good[..cut]).is_err(), "{cut}");
        }
        let mut old = good.clone();
        old[0] = 0;
        assert_eq!(Config::parse(&old), Err(Error::Unsupported { what: "hvcC", field: "version", value: 0 }));
        let mut three = good;
        three[21] = 0x0e;
        assert!(matches!(Config::parse(&three), Err(Error::Unsupported { value: 3, .. })));
        three[21] = 0x0c;
        assert_eq!(Config::parse(&widen(&three)).unwrap().length_size, 4);
    }

    #[test]
    fn finds_a_random_access_point() {
        assert!(is_irap(&[0, 0, 0, 2, 21 << 1, 1]));
        assert!(!is_irap(&[0, 0, 0, 2, 1 << 1, 1]));
    }
}
