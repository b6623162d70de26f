//! The way back from payloads to frames: canonical payloads, and what a decoder must know, from packets in order. Loss is seen here; asking for what is lost
//! belongs to `receive`.

mod aac;
mod av1;
mod nal;
mod vpx;

use bytes::Bytes;
use media::codec::{Codec, opus};

use crate::pack::VIDEO_RATE;
use crate::sdp;

/// A packet in order, as [`crate::receive`] gives it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The sequence number, extended.
    pub sequence: u64,
    /// The timestamp, extended.
    pub ticks: i64,
    /// The marker bit.
    pub marker: bool,
    /// The payload type.
    pub payload_type: u8,
    /// The payload; empty in a packet that only pads.
    pub payload: Bytes,
}

/// A payload format with what its session description says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 6184.
    H264 {
        /// Parameter sets that came out of band.
        sets: Vec<Bytes>,
    },
    /// RFC 7798.
    H265 {
        /// Parameter sets that came out of band.
        sets: Vec<Bytes>,
    },
    /// RFC 7741.
    Vp8,
    /// RFC 9628, one spatial layer.
    Vp9,
    /// "RTP Payload Format For AV1" of AOMedia.
    Av1,
    /// RFC 7587.
    Opus,
    /// RFC 3551 §4.5.14.
    G711 {
        /// µ-law (`true`) or A-law.
        mu_law: bool,
    },
    /// MPEG4-GENERIC, RFC 3640.
    Aac {
        /// The AudioSpecificConfig.
        config: Bytes,
        /// Bits of an access unit's size.
        size_bits: u8,
        /// Bits of its index.
        index_bits: u8,
    },
}

impl Encoding {
    /// The payload format of a described payload type; `None` for those that are not known here.
    pub fn of(format: &sdp::Format) -> Option<Self> {
        let bits = |name| format.parameter(name).and_then(|bits| bits.parse().ok());
        Some(match format.encoding.to_ascii_uppercase().as_str() {
            "H264" => Self::H264 { sets: format.parameter_sets() },
            "H265" => Self::H265 { sets: format.parameter_sets() },
            "VP8" => Self::Vp8,
            "VP9" => Self::Vp9,
            "AV1" => Self::Av1,
            "OPUS" => Self::Opus,
            "PCMU" => Self::G711 { mu_law: true },
            "PCMA" => Self::G711 { mu_law: false },
            "MPEG4-GENERIC" => Self::Aac {
                config: format.audio_config()?,
                size_bits: bits("sizelength").filter(|bits| (1..=16).contains(bits))?,
                index_bits: bits("indexlength").filter(|bits| *bits <= 16).unwrap_or(0),
            },
            _ => return None,
        })
    }

    /// It carries pictures, which refer to each other.
    pub fn is_video(&self) -> bool {
        matches!(self, Self::H264 { .. } | Self::H265 { .. } | Self::Vp8 | Self::Vp9 | Self::Av1)
    }

    /// The ticks per second that the format fixes; `None` where the description tells.
    pub fn rate(&self) -> Option<u32> {
        match self {
            Self::Opus => Some(48_000),
            Self::G711 { .. } => Some(8000),
            Self::Aac { .. } => None,
            _ => Some(VIDEO_RATE),
        }
    }

    /// A keyframe starts with this payload: where a player may enter when packets go on as they came.
    pub fn opens_keyframe(&self, payload: &[u8]) -> bool {
        match self {
            Self::H264 { .. } => nal::opens_keyframe::<nal::H264>(payload),
            Self::H265 { .. } => nal::opens_keyframe::<nal::H265>(payload),
            Self::Vp8 => vpx::vp8(payload).is_some_and(|part| part.start && part.key),
            Self::Vp9 => vpx::vp9(payload).is_some_and(|part| part.start && part.key),
            Self::Av1 => payload.first().is_some_and(|flags| flags & 0x88 == 0x08),
            _ => true,
        }
    }
}

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Unpacked {
    /// What a decoder must know has become known, or has changed: the parsed parameters and the record of [`media::Track`].
    Config(Codec, Bytes),
    /// One whole frame.
    Frame {
        /// Its timestamp, extended.
        ticks: i64,
        /// A decoder can start here.
        key: bool,
        /// The canonical payload.
        data: Bytes,
    },
    /// A frame of video is missing or was dropped because parts of it are; a keyframe repairs what refers to it.
    Lost,
}

/// A frame larger than this is dropped.
const MAX_FRAME: usize = 8 << 20;

/// Makes frames of one track's packets, which must come in rising order. A frame ends with its marker, or when the timestamp changes.
#[derive(Debug)]
pub struct Unpacker {
    format: Format,
    next: Option<u64>,
    ticks: Option<i64>,
    /// The frame lacks a packet, or has one that is malformed.
    broken: bool,
    /// Packets are missing before the first one of the frame.
    doubtful: bool,
    /// A keyframe has come.
    started: bool,
}

#[derive(Debug)]
enum Format {
    H264(nal::Frame<nal::H264>),
    H265(nal::Frame<nal::H265>),
    Vpx(vpx::Frame),
    Av1(av1::Frame),
    Aac(aac::Units),
    /// A payload is a frame. The configuration waits for the first.
    Plain(Option<(Codec, Bytes)>),
}

/// A frame that was put together.
struct Whole {
    key: bool,
    data: Bytes,
    /// The frame begins with its beginning, as far as it tells.
    begins: bool,
    config: Option<(Codec, Bytes)>,
}

impl Unpacker {
    /// An unpacker at the start of a track.
    pub fn new(encoding: &Encoding) -> Self {
        let format = match encoding {
            Encoding::H264 { sets } => Format::H264(nal::Frame::new(sets)),
            Encoding::H265 { sets } => Format::H265(nal::Frame::new(sets)),
            Encoding::Vp8 => Format::Vpx(vpx::Frame::new(false)),
            Encoding::Vp9 => Format::Vpx(vpx::Frame::new(true)),
            Encoding::Av1 => Format::Av1(av1::Frame::default()),
            Encoding::Aac { config, size_bits, index_bits } => {
                Format::Aac(aac::Units::new(config.clone(), *size_bits, *index_bits))
            }
            Encoding::Opus => Format::Plain(Some((Codec::Opus(opus::Config::default()), OPUS_HEAD))),
            Encoding::G711 { mu_law } => Format::Plain(Some((Codec::G711 { mu_law: *mu_law }, Bytes::new()))),
        };
        Self { format, next: None, ticks: None, broken: false, doubtful: true, started: false }
    }

    /// Takes one packet in. One that is older than the one before is passed over.
    pub fn push(&mut self, packet: &Received, out: &mut Vec<Unpacked>) {
        if self.next.is_some_and(|next| packet.sequence < next) {
            return;
        }
        let gap = self.next.is_some_and(|next| packet.sequence > next);
        self.next = Some(packet.sequence.saturating_add(1));
        match &mut self.format {
            Format::Plain(config) => {
                if !packet.payload.is_empty() {
                    out.extend(config.take().map(|(codec, record)| Unpacked::Config(codec, record)));
                    let data = packet.payload.clone();
                    out.push(Unpacked::Frame { ticks: packet.ticks, key: true, data });
                }
            }
            Format::Aac(units) => units.push(packet, gap, out),
            _ => self.push_video(packet, gap, out),
        }
    }

    fn push_video(&mut self, packet: &Received, gap: bool, out: &mut Vec<Unpacked>) {
        if gap {
            lost(out);
            // The end of the frame may be among what is missing, or its middle is.
            self.broken |= self.ticks.is_some();
        }
        if packet.payload.is_empty() {
            self.doubtful |= gap;
            return;
        }
        if self.ticks.is_some_and(|ticks| ticks != packet.ticks) {
            self.finish(out);
        }
        if self.ticks.is_none() {
            self.ticks = Some(packet.ticks);
            self.doubtful |= gap;
        }
        let taken = match &mut self.format {
            Format::H264(frame) => frame.push(&packet.payload),
            Format::H265(frame) => frame.push(&packet.payload),
            Format::Vpx(frame) => frame.push(&packet.payload),
            Format::Av1(frame) => frame.push(&packet.payload),
            Format::Aac(_) | Format::Plain(_) => None,
        };
        self.broken |= taken.is_none();
        if packet.marker {
            self.finish(out);
        }
    }

    /// The frame has ended: it goes out, or is dropped.
    fn finish(&mut self, out: &mut Vec<Unpacked>) {
        let whole = match &mut self.format {
            Format::H264(frame) => frame.take(),
            Format::H265(frame) => frame.take(),
            Format::Vpx(frame) => frame.take(),
            Format::Av1(frame) => frame.take(),
            Format::Aac(_) | Format::Plain(_) => None,
        };
        let (broken, doubtful) = (std::mem::take(&mut self.broken), std::mem::take(&mut self.doubtful));
        let Some(ticks) = self.ticks.take() else { return };
        let Some(Whole { key, data, begins, config }) = whole else {
            return lost(out);
        };
        // Parameter sets came whole, whatever became of the pictures.
        out.extend(config.map(|(codec, record)| Unpacked::Config(codec, record)));
        self.started |= key && !broken;
        match broken || (doubtful && !begins) || !self.started {
            // Parameter sets may come on their own.
            _ if data.is_empty() && !broken => {}
            true => lost(out),
            false => out.push(Unpacked::Frame { ticks, key, data }),
        }
    }
}

/// Once is enough.
fn lost(out: &mut Vec<Unpacked>) {
    if out.last() != Some(&Unpacked::Lost) {
        out.push(Unpacked::Lost);
    }
}

/// Stereo, as the payload format always announces; without pre-skip, since the stream is joined in the middle (RFC 7845 §5.1).
const OPUS_HEAD: Bytes = Bytes::from_static(b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0");

#[cfg(test)]
mod tests;
