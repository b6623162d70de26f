//! H.264 / AVC: the configuration record (avcC), the size and frame rate in the SPS, and which NAL units start a
//! decoder. Slices are not looked into.

use bytes::Bytes;

use super::{Error, nalu};
use crate::{BitReader, ByteReader, Truncated};

/// What an AVCDecoderConfigurationRecord tells (ISO/IEC 14496-15 §5.3.3.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `profile_idc`, such as 100 for High.
    pub profile: u8,
    /// The constraint flags, `constraint_set0_flag` first.
    pub constraints: u8,
    /// `level_idc`, ten times the level.
    pub level: u8,
    /// Width in pixels after cropping; `None` when no SPS could be read.
    pub width: Option<u32>,
    /// Height in pixels after cropping; `None` when no SPS could be read.
    pub height: Option<u32>,
    /// Frames per second, when the SPS has timing information.
    pub fps: Option<f64>,
    /// Bytes of each NAL unit's length in the record's own stream: 1, 2 or 4.
    pub length_size: u8,
    /// The sequence parameter sets, as NAL units.
    pub sps: Vec<Bytes>,
    /// The picture parameter sets, as NAL units.
    pub pps: Vec<Bytes>,
}

impl Config {
    /// Reads an avcC. An SPS that cannot be read leaves the size unknown: a server relays what it cannot decode.
    ///
    /// # Errors
    /// When the record itself ends early, has another version, or uses the reserved length size of 3.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let what = "avcC";
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
        let mut config = Self { profile: r.u8()?, constraints: r.u8()?, level: r.u8()?, ..Self::default() };
        config.length_size = (r.u8()? & 3) + 1;
        let count = r.u8()? & 0x1f;
        config.sps = sets(&mut r, count)?;
        let count = r.u8()?;
        config.pps = sets(&mut r, count)?;
        if let Some(sps) = config.sps.iter().rev().find_map(|unit| Sps::parse(unit)) {
            (config.width, config.height, config.fps) = (Some(sps.width), Some(sps.height), sps.fps);
        }
        Ok(config)
    }

    /// The profile as the API names it (SRS's table).
    pub fn profile_name(&self) -> &'static str {
        let constrained = self.constraints & 0x40 != 0;
        let intra = self.constraints & 0x10 != 0;
        match (self.profile, intra) {
            (66, _) if constrained => "Baseline(Constrained)",
            (66, _) => "Baseline",
            (77, _) => "Main",
            (88, _) => "Extended",
            (100, _) => "High",
            (110, false) => "High(10)",
            (110, true) => "High(10+Intra)",
            (122, false) => "High(422)",
            (122, true) => "High(422+Intra)",
            (144, false) => "High(444)",
            (144, true) => "High(444+Intra)",
            (244, _) => "High(444+Predictive)",
            _ => "Other",
        }
    }

    /// The level as the API names it (SRS's table).
    pub fn level_name(&self) -> &'static str {
        match self.level {
            10 => "1",
            11 => "1.1",
            12 => "1.2",
            13 => "1.3",
            20 => "2",
            21 => "2.1",
            22 => "2.2",
            30 => "3",
            31 => "3.1",
            32 => "3.2",
            40 => "4",
            41 => "4.1",
            50 => "5",
            51 => "5.1",
            _ => "Other",
        }
    }
}

/// The record with a NAL length size of 4, to go with a payload that was made canonical.
pub fn widen(record: &[u8]) -> Bytes {
    let mut out = record.to_vec();
    if let Some(sizes) = out.get_mut(4) {
        *sizes |= 3;
    }
    out.into()
}

/// The avcC of these parameter sets, with a NAL length size of 4; `None` without an SPS and a PPS, or with more or larger ones than fit.
pub fn record(sps: &[Bytes], pps: &[Bytes]) -> Option<Bytes> {
    let (first, _) = (sps.first()?, pps.first()?);
    let &[_, profile, constraints, level, ..] = first.get(..)? else { return None };
    let sps_count = u8::try_from(sps.len()).ok().filter(|count| *count < 32)?;
    let pps_count = u8::try_from(pps.len()).ok()?;
    let mut out = vec![1, profile, constraints, level, 0xff, 0xe0 | sps_count];
    for (n, unit) in sps.iter().chain(pps).enumerate() {
        if n == sps.len() {
            out.push(pps_count);
        }
        out.extend_from_slice(&u16::try_from(unit.len()).ok()?.to_be_bytes());
        out.extend_from_slice(unit);
    }
    if matches!(profile, 100 | 110 | 122 | 144)
        && let Ok([chroma, luma_depth, chroma_depth]) = sampling(first)
    {
        out.extend_from_slice(&[0xfc | chroma & 3, 0xf8 | luma_depth & 7, 0xf8 | chroma_depth & 7, 0]);
    }
    Some(out.into())
}

/// `chroma_format_idc` and the bit depths less 8 in an SPS of a High profile.
fn sampling(sps: &[u8]) -> Result<[u8; 3], Truncated> {
    let bytes = nalu::unescape(sps.get(1..).unwrap_or_default());
    let mut r = BitReader::new(&bytes);
    r.skip(24)?; // profile, constraints, level
    r.ue()?; // seq_parameter_set_id
    let chroma = r.ue()?;
    r.skip(usize::from(chroma == 3))?; // separate_colour_plane_flag
    Ok([chroma as u8, r.ue()? as u8, r.ue()? as u8])
}

/// The `nal_unit_type` (ITU-T H.264 table 7-1).
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

/// The canonical payload holds an IDR picture, from which a decoder can start.
pub fn is_idr(payload: &[u8]) -> bool {
    nalu::units(payload).any(|unit| unit_type(unit) == 5)
}

fn sets(r: &mut ByteReader<'_>, count: u8) -> Result<Vec<Bytes>, Truncated> {
    let mut out = Vec::new();
    for _ in 0..count {
        let length = r.u16()?;
        let unit = r.take(length.into())?;
        if !unit.is_empty() {
            out.push(Bytes::copy_from_slice(unit));
        }
    }
    Ok(out)
}

/// The part of a sequence parameter set that the server shows (ITU-T H.264 §7.3.2.1.1).
struct Sps {
    width: u32,
    height: u32,
    fps: Option<f64>,
}

impl Sps {
    /// `None` for an SPS that ends early or describes an impossible picture.
    fn parse(unit: &[u8]) -> Option<Self> {
        let bytes = nalu::unescape(unit.get(1..)?);
        let mut r = BitReader::new(&bytes);
        let (width, height) = size(&mut r).ok()??;
        let fps = timing(&mut r).ok().flatten();
        Some(Self { width, height, fps })
    }
}

/// Reads up to and with the cropping rectangle.
fn size(r: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, Truncated> {
    let profile = r.bits(8)?;
    r.skip(16)?; // constraints, level
    r.ue()?; // seq_parameter_set_id
    let mut chroma = 1;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 134 | 135 | 138 | 139) {
        chroma = r.ue()?;
        let lists = if chroma == 3 { 12 } else { 8 };
        if chroma == 3 && r.bit()? {
            chroma = 0; // separate_colour_plane_flag: cropped as monochrome
        }
        r.ue()?; // bit_depth_luma_minus8
        r.ue()?; // bit_depth_chroma_minus8
        r.skip(1)?; // qpprime_y_zero_transform_bypass_flag
        if r.bit()? {
            for list in 0..lists {
                if r.bit()? {
                    skip_scaling_list(r, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    r.ue()?; // log2_max_frame_num_minus4
    match r.ue()? {
        0 => {
            r.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            r.skip(1)?; // delta_pic_order_always_zero_flag
            r.se()?; // offset_for_non_ref_pic
            r.se()?; // offset_for_top_to_bottom_field
            for _ in 0..r.ue()?.min(255) {
                r.se()?; // offset_for_ref_frame
            }
        }
        _ => {}
    }
    r.ue()?; // max_num_ref_frames
    r.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let width = (u64::from(r.ue()?) + 1) * 16;
    let map_height = (u64::from(r.ue()?) + 1) * 16;
    let frame_mbs_only = r.bit()?;
    if !frame_mbs_only {
        r.skip(1)?; // mb_adaptive_frame_field_flag
    }
    r.skip(1)?; // direct_8x8_inference_flag
    let fields = if frame_mbs_only { 1 } else { 2 };
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields),
    };
    let mut crop = [0u64; 4]; // left, right, top, bottom
    if r.bit()? {
        for side in &mut crop {
            *side = r.ue()?.into();
        }
    }
    let [left, right, top, bottom] = crop;
    let width = width.checked_sub((left + right) * unit_x);
    let height = (map_height * fields).checked_sub((top + bottom) * unit_y);
    Ok(width.and_then(in_range).zip(height.and_then(in_range)))
}

/// No level of any codec allows a side beyond 16 bits.
pub(super) fn in_range(side: u64) -> Option<u32> {
    u32::try_from(side).ok().filter(|side| (1..=65_535).contains(side))
}

fn skip_scaling_list(r: &mut BitReader<'_>, length: usize) -> Result<(), Truncated> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..length {
        if next != 0 {
            next = (last + r.se()?.rem_euclid(256)) % 256;
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

/// Reads the VUI behind the cropping rectangle up to the timing information (ITU-T H.264 §E.1.1).
fn timing(r: &mut BitReader<'_>) -> Result<Option<f64>, Truncated> {
    if !r.bit()? {
        return Ok(None);
    }
    if r.bit()? && r.bits(8)? == 255 {
        r.skip(32)?; // an explicit sample aspect ratio
    }
    if r.bit()? {
        r.skip(1)?; // overscan_appropriate_flag
    }
    if r.bit()? {
        r.skip(4)?; // video_format, video_full_range_flag
        if r.bit()? {
            r.skip(24)?; // colour description
        }
    }
    if r.bit()? {
        r.ue()?; // chroma sample location, top
        r.ue()?; // and bottom field
    }
    if !r.bit()? {
        return Ok(None);
    }
    let (tick, scale) = (r.bits(32)?, r.bits(32)?);
    Ok((tick > 0 && scale > 0).then(|| f64::from(scale) / f64::from(tick) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bit_writer::BitWriter;

    /// x264, High at level 3.1, 1280x720, 25 fps: with scaling flags off, VUI and an emulation prevention byte.
    const SPS_720P: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
        0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x19, 0x60,
    ];

    fn record(sps: &[u8]) -> Vec<u8> {
        let mut out = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1];
        out.extend_from_slice(&(sps.len() as u16).to_be_bytes());
        out.extend_from_slice(sps);
        out.extend_from_slice(&[1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        out
    }

    /// An SPS of a High profile stream: 4:2:0, all eight scaling lists present, picture order type 1, fields, cropping.
    fn interlaced_1080() -> Vec<u8> {
        let mut w = BitWriter::new(&[0x67, 100, 0, 40]);
        w.ue(0).ue(1).ue(0).ue(0).bits(0, 1).bits(1, 1);
        for list in 0..8 {
            w.bits(1, 1);
            // First entry ends a list at once (use default), the others run to the end.
            if list == 0 {
                w.se(-8);
            } else {
                for _ in 0..if list < 6 { 16 } else { 64 } {
                    w.se(1);
                }
            }
        }
        w.ue(0).ue(1).bits(0, 1).se(-3).se(2).ue(2).se(1).se(-1);
        w.ue(4).bits(0, 1).ue(119).ue(33).bits(0, 1).bits(1, 1).bits(1, 1);
        w.bits(1, 1).ue(0).ue(0).ue(0).ue(2).bits(0, 1);
        w.finish()
    }

    #[test]
    fn reads_a_record_of_x264() {
        let config = Config::parse(&record(SPS_720P)).unwrap();
        assert_eq!((config.profile, config.constraints, config.level), (100, 0, 31));
        assert_eq!((config.width, config.height), (Some(1280), Some(720)));
        assert_eq!(config.fps, Some(25.0));
        assert_eq!(config.length_size, 4);
        assert_eq!((config.sps.len(), config.pps.len()), (1, 1));
        assert_eq!((config.profile_name(), config.level_name()), ("High", "3.1"));
    }

    #[test]
    fn scaling_lists_fields_and_cropping() {
        let config = Config::parse(&record(&interlaced_1080())).unwrap();
        assert_eq!((config.width, config.height), (Some(1920), Some(1080)));
        assert_eq!(config.fps, None);
    }

    #[test]
    fn an_unreadable_sps_leaves_the_size_open() {
        let config = Config::parse(&record(&[0x67, 66, 0xc0, 30])).unwrap();
        assert_eq!((config.width, config.height, config.profile), (None, None, 66));
        assert_eq!(config.profile_name(), "Baseline(Constrained)");
        assert_eq!(config.level_name(), "3");
    }

    #[test]
    fn refuses_what_the_record_itself_spoils() {
        let mut three = record(SPS_720P);
        three[4] = 0xfe;
        assert_eq!(
            Config::parse(&three),
            Err(Error::Unsupported { what: "avcC", field: "NAL length size", value: 3 })
        );
        let good = record(SPS_720P);
        for cut in 0..good.len() {
            assert!(Config::parse(&good[..cut]).is_err(), "{cut}");
        }
        assert!(Config::parse(&[0, 0, 0, 1, 0x67, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_record_of_parameter_sets() {
        let pps = Bytes::from_static(&[0x68, 0xeb, 0xe3, 0xcb]);
        let sps = Bytes::from_static(SPS_720P);
        let made = super::record(std::slice::from_ref(&sps), std::slice::from_ref(&pps)).unwrap();
        assert_eq!(made, [&record(SPS_720P)[..], &[0xfd, 0xf8, 0xf8, 0]].concat(), "4:2:0 in 8 bits");
        let baseline = Bytes::from_static(&[0x67, 66, 0xc0, 30, 1]);
        let made = super::record(&[baseline, sps.clone()], &[pps.clone(), pps.clone()]).unwrap();
        let config = Config::parse(&made).unwrap();
        assert_eq!((config.sps.len(), config.pps.len(), config.profile, config.length_size), (2, 2, 66, 4));
        assert_eq!(super::record(std::slice::from_ref(&sps), &[]), None);
        assert_eq!(super::record(&[], std::slice::from_ref(&pps)), None);
        assert_eq!(super::record(&[Bytes::from_static(&[0x67, 66])], std::slice::from_ref(&pps)), None);
        assert_eq!(super::record(&vec![sps; 32], &[pps]), None);
    }

    #[test]
    fn widens_the_record() {
        let mut two = record(SPS_720P);
        two[4] = 0xfd;
        assert_eq!(Config::parse(&two).unwrap().length_size, 2);
        assert_eq!(&widen(&two)[..], record(SPS_720P));
        assert_eq!(&widen(&[1])[..], [1]);
    }

    #[test]
    fn finds_an_idr_anywhere() {
        assert!(is_idr(&[0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 1, 0x65]));
        assert!(!is_idr(&[0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 1, 0x41]));
    }
}
