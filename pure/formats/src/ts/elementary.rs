//! What a frame becomes in an elementary stream: Annex B access units, ADTS frames, MP3 frames. Packets know nothing of this.

use bytes::Bytes;
use media::codec::{Codec, h264, h265, nalu};
use media::{Frame, Micros};

use super::pes::{MAX_TOLD, Pes};
use super::psi::Listed;
use crate::adts::Adts;

/// MPEG-TS, as it is written here, carries this codec.
pub fn carries(codec: &Codec) -> bool {
    Video::of(codec).is_some() || Audio::of(codec).is_some()
}

/// A track of the program and its story.
#[derive(Debug)]
pub(super) struct Stream<C> {
    pub(super) coding: C,
    /// The time of the first frame of any track since this one was announced.
    since: Option<Micros>,
    /// It has carried a frame.
    seen: bool,
}

impl<C: PartialEq> Stream<C> {
    /// Puts another coding, or none, into its place. `false` when it was there already.
    pub(super) fn replace(slot: &mut Option<Self>, coding: Option<C>) -> bool {
        if slot.as_ref().map(|stream| &stream.coding) == coding.as_ref() {
            return false;
        }
        *slot = coding.map(|coding| match slot.take() {
            // The same track with other parameters goes on.
            Some(old) if std::mem::discriminant(&old.coding) == std::mem::discriminant(&coding) => {
                Self { coding, ..old }
            }
            _ => Self { coding, since: None, seen: false },
        });
        true
    }

    /// A frame of this track, or of the other one, is packed.
    pub(super) fn pass(&mut self, time: Micros, own: bool) {
        self.since = Some(self.since.map_or(time, |since| since.min(time)));
        self.seen |= own;
    }

    /// It has carried a frame.
    pub(super) fn is_heard(&self) -> bool {
        self.seen
    }

    /// It belongs in the tables: it has carried frames, or may still be expected to.
    pub(super) fn is_expected(&self, now: Micros, patience: Micros) -> bool {
        self.seen || self.since.is_none_or(|since| now - since < patience)
    }
}

/// The PID of video, H.264 and H.265 alike.
const VIDEO_PID: u16 = 0x100;
/// The PID of AAC.
const AAC_PID: u16 = 0x101;
/// The PID of MP3.
pub(super) const MP3_PID: u16 = 0x102;

/// How pictures are coded, with the parameter sets ready to be written behind an access unit delimiter.
#[derive(Debug, PartialEq)]
pub(super) enum Video {
    H264 { sets: Vec<u8> },
    H265 { sets: Vec<u8> },
}

/// An access unit as it will be written: delimiter, parameter sets, then all other NAL units of the frame.
#[derive(Clone, Copy)]
pub(crate) struct AccessUnit<'a> {
    delimiter: &'a [u8],
    /// The track's parameter sets are needed, since a decoder can start here and the frame carries none.
    needs_sets: bool,
    /// Bytes of the other NAL units with their start codes.
    rest: usize,
    data: &'a [u8],
}

/// What a NAL unit means for the order of an access unit.
enum Role {
    Delimiter,
    /// A parameter set; one bit per kind.
    Set(u8),
    /// A picture from which a decoder can start.
    Entry,
    Other,
}

impl Video {
    /// `None` for codecs that are not packed.
    pub(super) fn of(codec: &Codec) -> Option<Self> {
        match codec {
            Codec::H264(config) => Some(Self::H264 { sets: annexb([&config.sps, &config.pps]) }),
            Codec::H265(config) => Some(Self::H265 { sets: annexb([&config.vps, &config.sps, &config.pps]) }),
            _ => None,
        }
    }

    pub(super) fn listed(&self) -> Listed {
        let kind = match self {
            Self::H264 { .. } => 0x1b,
            Self::H265 { .. } => 0x24,
        };
        Listed { pid: VIDEO_PID, kind }
    }

    /// Looks a frame over; `None` when nothing is in it.
    pub(super) fn access_unit<'a>(&self, frame: &'a Frame) -> Option<AccessUnit<'a>> {
        let (own_delimiter, all_sets): (&[u8], u8) = match self {
            Self::H264 { .. } => (&[9, 0xf0], 0b011),
            Self::H265 { .. } => (&[35 << 1, 1, 0x50], 0b111),
        };
        let (mut delimiter, mut sets, mut rest, mut entry) = (None, 0, 0usize, frame.key);
        for unit in nalu::units(&frame.data).filter(|unit| !unit.is_empty()) {
            match self.role(unit) {
                Role::Delimiter => {
                    delimiter.get_or_insert(unit);
                    continue;
                }
                Role::Set(bit) => sets |= bit,
                Role::Entry => entry = true,
                Role::Other => {}
            }
            rest = rest.saturating_add(unit.len() + START_CODE.len());
        }
        let delimiter = delimiter.unwrap_or(own_delimiter);
        (rest > 0).then_some(AccessUnit {
            delimiter,
            needs_sets: entry && sets != all_sets,
            rest,
            data: &frame.data,
        })
    }

    /// Bytes of an access unit as [`Self::write`] writes it.
    pub(super) fn size(&self, unit: &AccessUnit<'_>) -> usize {
        let head = 1 + START_CODE.len() + unit.delimiter.len() + self.sets(unit).len();
        head.saturating_add(unit.rest)
    }

    /// Writes an access unit. The first start code has four bytes, the others three.
    pub(super) fn write(&self, unit: &AccessUnit<'_>, pes: &mut Pes<'_>) {
        pes.put(&[0]);
        pes.put(&START_CODE);
        pes.put(unit.delimiter);
        pes.put(self.sets(unit));
        for unit in nalu::units(unit.data).filter(|unit| !unit.is_empty()) {
            if !matches!(self.role(unit), Role::Delimiter) {
                pes.put(&START_CODE);
                pes.put(unit);
            }
        }
    }

    fn sets(&self, unit: &AccessUnit<'_>) -> &[u8] {
        match self {
            Self::H264 { sets } | Self::H265 { sets } if unit.needs_sets => sets,
            _ => &[],
        }
    }

    fn role(&self, unit: &[u8]) -> Role {
        match self {
            Self::H264 { .. } => match h264::unit_type(unit) {
                9 => Role::Delimiter,
                7 => Role::Set(0b01),
                8 => Role::Set(0b10),
                5 => Role::Entry,
                _ => Role::Other,
            },
            Self::H265 { .. } => match h265::unit_type(unit) {
                35 => Role::Delimiter,
                h265::VPS => Role::Set(0b001),
                h265::SPS => Role::Set(0b010),
                h265::PPS => Role::Set(0b100),
                16..=23 => Role::Entry,
                _ => Role::Other,
            },
        }
    }
}

const START_CODE: [u8; 3] = [0, 0, 1];

fn annexb<const N: usize>(sets: [&Vec<Bytes>; N]) -> Vec<u8> {
    let sets = sets.into_iter().flatten();
    sets.flat_map(|set| START_CODE.iter().chain(set)).copied().collect()
}

/// How sound is coded.
#[derive(Debug, PartialEq)]
pub(super) enum Audio {
    Aac(Adts),
    Mp3 { sample_rate: u32, channels: u8 },
}

impl Audio {
    /// `None` for codecs that are not packed.
    pub(super) fn of(codec: &Codec) -> Option<Self> {
        match codec {
            Codec::Aac(config) => Some(Self::Aac(Adts::new(config))),
            // The bit rate may change with every frame.
            Codec::Mp3(config) => {
                Some(Self::Mp3 { sample_rate: config.sample_rate, channels: config.channels })
            }
            _ => None,
        }
    }

    pub(super) fn listed(&self) -> Listed {
        match self {
            Self::Aac(_) => Listed { pid: AAC_PID, kind: 0x0f },
            Self::Mp3 { sample_rate: 32_000.., .. } => Listed { pid: MP3_PID, kind: 0x03 },
            Self::Mp3 { .. } => Listed { pid: MP3_PID, kind: 0x04 },
        }
    }

    /// What has to stand before a frame; `None` when the frame is empty or too large.
    pub(super) fn header(&self, frame: &Frame) -> Option<Header> {
        let size = Some(frame.data.len()).filter(|size| (1..=MAX_TOLD).contains(size))?;
        match self {
            Self::Aac(adts) => adts.header(size).map(Header::Adts),
            Self::Mp3 { .. } => Some(Header::None),
        }
    }
}

/// What stands before a frame of sound.
#[derive(Clone, Copy)]
pub(crate) enum Header {
    Adts([u8; Adts::SIZE]),
    None,
}

impl Header {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Adts(header) => header,
            Self::None => &[],
        }
    }
}
