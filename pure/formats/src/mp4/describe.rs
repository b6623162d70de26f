//! A track as MP4 describes it: its sample entry, time scale, and the name of its codec for players.
//!
//! Spec: RFC 6381 (names); ISO/IEC 14496-12 §12 (entries), 14496-14 §5.6, 14496-15 §5.4.2 and §8.4.1; AV1, VP9 and Opus in ISO-BMFF.

use std::fmt::Write;

use bytes::{BufMut, Bytes};
use media::codec::{Codec, aac, h264, mp3, opus};
use media::{ByteReader, Frame, Kind, Track, TrackId, Truncated};

use super::boxes::{boxed, full};

/// What MP4 says of a main track.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Video or audio.
    pub kind: Kind,
    /// The name of the codec with its profile (RFC 6381), such as `avc1.64001f` or `mp4a.40.2`.
    pub codec: String,
    /// Ticks per second: 90,000 for video, the sampling rate for audio (that of the core coder, for AAC with SBR).
    pub timescale: u32,
    /// Width and height in pixels, if they are known.
    pub size: Option<(u32, u32)>,
    /// Pictures per second, if the publisher told.
    pub fps: Option<f64>,
    /// Samples per second as heard; 0 for video.
    pub sample_rate: u32,
    /// Channels; 0 for video.
    pub channels: u8,
    /// The sample entry, a box.
    pub(super) entry: Bytes,
    samples: Samples,
}

/// How many samples a frame has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Samples {
    /// It does not tell; video.
    Untold,
    Always(u32),
    /// Each packet says.
    Opus,
}

/// Ticks per second of video.
const VIDEO: u32 = 90_000;

impl Description {
    /// `None` for tracks that MP4 does not carry here: other codecs than H.264, H.265, AV1, VP9, AAC, MP3 and Opus, those without
    /// their configuration record, and all but the main tracks.
    pub fn of(track: &Track) -> Option<Self> {
        match (&track.codec, track.id) {
            (codec, TrackId::VIDEO) => Self::video(codec, &track.config),
            (Codec::Aac(config), TrackId::AUDIO) => Self::aac(config, &track.config),
            (Codec::Mp3(config), TrackId::AUDIO) => Some(Self::mp3(config)),
            (Codec::Opus(config), TrackId::AUDIO) => Some(Self::opus(config, &track.config)),
            _ => None,
        }
    }

    /// How many ticks a frame of audio lasts; `None` for video, and for what is no frame.
    pub fn length(&self, frame: &Frame) -> Option<u64> {
        let samples = match self.samples {
            Samples::Untold => None,
            Samples::Always(samples) => Some(samples),
            Samples::Opus => opus::samples(&frame.data),
        };
        samples.filter(|samples| *samples > 0).map(u64::from)
    }

    fn video(codec: &Codec, record: &Bytes) -> Option<Self> {
        let record = record.clone();
        let (size, fps) = match codec {
            Codec::H264(c) => (c.width.zip(c.height), c.fps),
            Codec::H265(c) => (c.width.zip(c.height), None),
            Codec::Av1(c) => (c.width.zip(c.height), None),
            _ => (None, None),
        };
        let (entry, config, codec, record): (_, _, _, Bytes) = match codec {
            Codec::H264(c) => {
                let record = if record.is_empty() { h264::record(&c.sps, &c.pps)? } else { record };
                (b"avc1", b"avcC", avc(&record)?, record)
            }
            Codec::H265(_) => (b"hvc1", b"hvcC", hevc(&record).ok()?, record),
            Codec::Av1(_) => (b"av01", b"av1C", av1(&record)?, record),
            Codec::Vp9(_) => {
                let record = vpc(record);
                (b"vp09", b"vpcC", vp9(&record)?, record)
            }
            _ => return None,
        };
        let (width, height) = size.unwrap_or_default();
        let mut out = Vec::new();
        boxed(&mut out, entry, |out| {
            out.put_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // data_reference_index
            out.put_bytes(0, 16);
            out.put_u16(u16::try_from(width).unwrap_or(u16::MAX));
            out.put_u16(u16::try_from(height).unwrap_or(u16::MAX));
            out.put_u32(0x48_0000); // 72 dpi
            out.put_u32(0x48_0000);
            out.put_u32(0);
            out.put_u16(1); // frame_count
            out.put_bytes(0, 32); // compressorname
            out.put_u16(0x18); // depth
            out.put_i16(-1);
            boxed(out, config, |out| out.put_slice(&record));
        });
        Some(Self {
            kind: Kind::Video,
            codec,
            timescale: VIDEO,
            size,
            fps,
            sample_rate: 0,
            channels: 0,
            entry: out.into(),
            samples: Samples::Untold,
        })
    }

    fn aac(config: &aac::Config, record: &Bytes) -> Option<Self> {
        if record.is_empty() || config.core_rate == 0 {
            return None;
        }
        let object_type = match config {
            _ if config.ps => 29,
            _ if config.sbr => 5,
            config => config.object_type,
        };
        let (rate, channels) = (config.sample_rate, config.channels);
        let entry = audio_entry(b"mp4a", rate, channels, |out| esds(out, 0x40, record));
        Some(Self {
            codec: format!("mp4a.40.{object_type}"),
            samples: Samples::Always(config.samples_per_frame()),
            ..Self::audio(config.core_rate, rate, channels, entry)
        })
    }

    fn mp3(config: &mp3::Config) -> Self {
        let object_type = if config.is_mpeg1() { 0x6b } else { 0x69 };
        let (rate, channels) = (config.sample_rate, config.channels);
        let entry = audio_entry(b"mp4a", rate, channels, |out| esds(out, object_type, &[]));
        Self {
            codec: format!("mp4a.{object_type:02X}"),
            samples: Samples::Always(config.samples_per_frame()),
            ..Self::audio(rate, rate, channels, entry)
        }
    }

    fn opus(config: &opus::Config, head: &[u8]) -> Self {
        let entry = audio_entry(b"Opus", 48_000, config.channels, |out| {
            boxed(out, b"dOps", |out| {
                out.put_slice(&[0, config.channels]);
                out.put_u16(config.pre_skip);
                out.put_u32(config.sample_rate);
                // The output gain, in the other byte order, and the channel mapping are as in the head.
                out.put_i16(head.get(16..18).map_or(0, |mut gain| bytes::Buf::get_i16_le(&mut gain)));
                match head.get(18..) {
                    Some(mapping) if mapping.first().is_some_and(|family| *family > 0) => {
                        out.put_slice(mapping)
                    }
                    _ => out.put_u8(0),
                }
            });
        });
        Self {
            codec: "opus".to_owned(),
            samples: Samples::Opus,
            ..Self::audio(48_000, 48_000, config.channels, entry)
        }
    }

    fn audio(timescale: u32, sample_rate: u32, channels: u8, entry: Vec<u8>) -> Self {
        Self {
            kind: Kind::Audio,
            codec: String::new(),
            timescale: timescale.max(1),
            size: None,
            fps: None,
            sample_rate,
            channels,
            entry: entry.into(),
            samples: Samples::Untold,
        }
    }
}

fn audio_entry(kind: &[u8; 4], rate: u32, channels: u8, config: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    boxed(&mut out, kind, |out| {
        out.put_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // data_reference_index
        out.put_u64(0);
        out.put_u16(if channels == 0 { 2 } else { channels.into() });
        out.put_u16(16); // samplesize
        out.put_u32(0);
        // 16.16; decoders read the true rate in the configuration.
        out.put_u32(u16::try_from(rate).map_or(0, u32::from) << 16);
        config(out);
    });
    out
}

/// The elementary stream descriptor (ISO/IEC 14496-1 §7.2.6).
fn esds(out: &mut Vec<u8>, object_type: u8, config: &[u8]) {
    full(out, b"esds", 0, 0, |out| {
        descriptor(out, 3, |out| {
            out.put_slice(&[0, 0, 0]); // ES_ID, flags
            descriptor(out, 4, |out| {
                out.put_u8(object_type);
                out.put_u8(5 << 2 | 1); // audio stream
                out.put_bytes(0, 3 + 4 + 4); // buffer size, largest and average bit rate: unknown
                if !config.is_empty() {
                    descriptor(out, 5, |out| out.put_slice(config));
                }
            });
            descriptor(out, 6, |out| out.put_u8(2)); // as in MP4 files
        });
    });
}

fn descriptor(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    fill(out);
    let size = out.len() - start - 4;
    let septet = |shift: usize| (size >> shift) as u8 & 0x7f;
    let length = [septet(21) | 0x80, septet(14) | 0x80, septet(7) | 0x80, septet(0)];
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&length);
    }
}

fn avc(record: &[u8]) -> Option<String> {
    let [_, profile, constraints, level, ..] = record else { return None };
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}

/// ISO/IEC 14496-15 annex E.3.
fn hevc(record: &[u8]) -> Result<String, Truncated> {
    let mut r = ByteReader::new(record);
    r.u8()?;
    let profile = r.u8()?;
    let compatible = r.u32()?.reverse_bits();
    let constraints = r.take(6)?;
    let level = r.u8()?;
    let space = ["", "A", "B", "C"].get(usize::from(profile >> 6)).unwrap_or(&"");
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let mut codec = format!("hvc1.{space}{}.{compatible:x}.{tier}{level}", profile & 0x1f);
    let told = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(told) {
        // Writing to a string cannot fail.
        let _ = write!(codec, ".{byte:x}");
    }
    Ok(codec)
}

/// AV1 in ISO-BMFF §5.
fn av1(record: &[u8]) -> Option<String> {
    let [_, profile, flags, ..] = record else { return None };
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match flags & 0x60 {
        0 => 8,
        0x40 => 10,
        _ => 12,
    };
    Some(format!("av01.{}.{:02}{tier}.{depth:02}", profile >> 5, profile & 0x1f))
}

/// The record with the version and flags that open it in a file.
fn vpc(record: Bytes) -> Bytes {
    if matches!(&record[..], [_, 0, 0, 0, ..]) {
        return record;
    }
    [&[1, 0, 0, 0], &record[..]].concat().into()
}

/// VP9 in ISO-BMFF, "codecs parameter string".
fn vp9(record: &[u8]) -> Option<String> {
    let [_, _, _, _, profile, level, depth, ..] = record else { return None };
    // An encoder that does not tell its level is taken for one of 4.1.
    let level = if *level == 0 { 41 } else { *level };
    Some(format!("vp09.{profile:02}.{level:02}.{:02}", (depth >> 4).max(8)))
}
