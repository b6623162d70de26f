//! Payload formats: how one frame becomes the payloads of its packets. It happens once per stream; what differs per player (SSRC, payload type,
//! sequence number) is not here. The way back is in `unpack`.

mod av1;
mod nal;
mod vpx;

use std::fmt;

use bytes::Bytes;
use media::codec::Codec;
use media::{Frame, Track};

/// The most payload that a packet carries by default: with all headers and SRTP it stays below 1,280 bytes, which every path takes.
pub const MAX_PAYLOAD: usize = 1200;

/// The payload of one packet: a few bytes that were made here, then a slice of the frame. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What stands before the body.
    pub head: Head,
    /// The body, shared with the frame.
    pub body: Bytes,
    /// The marker bit of the packet.
    pub marker: bool,
    /// How many packets were lost before this one on their way here; the sender leaves out as many numbers, so that a player knows.
    pub gap: u8,
}

impl Payload {
    /// A payload without marker.
    fn new(head: &[u8], body: Bytes) -> Self {
        Self { head: Head::new(head), body, marker: false, gap: 0 }
    }

    /// A payload that is all body.
    pub(crate) fn bare(body: Bytes) -> Self {
        Self::new(&[], body)
    }

    /// Bytes of both parts.
    pub fn len(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends both parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.body);
    }
}

/// Up to 14 bytes, kept in place.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; 14],
    length: u8,
}

impl Head {
    /// More than 14 bytes are cut off; no payload format here has so many.
    fn new(bytes: &[u8]) -> Self {
        let mut head = Self::default();
        for (slot, byte) in head.bytes.iter_mut().zip(bytes) {
            *slot = *byte;
            head.length += 1;
        }
        head
    }
}

impl std::ops::Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Packs the frames of one track.
#[derive(Clone, Debug)]
pub struct Packer {
    max: usize,
    rate: u32,
    format: Format,
}

#[derive(Clone, Debug)]
enum Format {
    H264(nal::Sets),
    H265(nal::Sets),
    Vp8(vpx::Picture),
    Vp9(vpx::Picture),
    Av1(av1::Header),
    Aac,
    /// A frame is a payload: Opus, G.711.
    Plain,
}

impl Packer {
    /// A packer for this track, with at most `max` bytes of payload per packet (64 at least). `None` for a codec without a payload format here.
    pub fn new(track: &Track, max: usize) -> Option<Self> {
        let (rate, format) = match &track.codec {
            Codec::H264(config) => (VIDEO_RATE, Format::H264(nal::Sets::new([&config.sps[..], &config.pps]))),
            Codec::H265(config) => {
                (VIDEO_RATE, Format::H265(nal::Sets::new([&config.vps[..], &config.sps, &config.pps])))
            }
            Codec::Vp8 => (VIDEO_RATE, Format::Vp8(vpx::Picture::default())),
            Codec::Vp9(_) => (VIDEO_RATE, Format::Vp9(vpx::Picture::default())),
            Codec::Av1(_) => (VIDEO_RATE, Format::Av1(av1::Header::new(&track.config))),
            Codec::Opus(_) => (48_000, Format::Plain),
            Codec::G711 { .. } => (8000, Format::Plain),
            Codec::Aac(config) => (config.sample_rate, Format::Aac),
            _ => return None,
        };
        Some(Self { max: max.max(64), rate, format })
    }

    /// Ticks per second of the track's timestamps.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Pushes the payloads of one frame. Those of one unit are of equal size but for the last, which may be smaller: the kernel can
    /// then cut them from one buffer (UDP GSO).
    pub fn pack(&mut self, frame: &Frame, out: &mut Vec<Payload>) {
        let before = out.len();
        let (data, max) = (&frame.data, self.max);
        match &mut self.format {
            Format::H264(sets) => sets.pack::<nal::H264>(data, frame.key, max, out),
            Format::H265(sets) => sets.pack::<nal::H265>(data, frame.key, max, out),
            Format::Vp8(picture) => picture.pack_vp8(data, max, out),
            Format::Vp9(picture) => picture.pack_vp9(data, frame.key, max, out),
            Format::Av1(header) => header.pack(data, frame.key, max, out),
            Format::Aac => aac(data, max, out),
            Format::Plain if data.is_empty() => {}
            // What does not fit is left to IP: both formats forbid to split a frame.
            Format::Plain => return out.push(Payload::bare(data.clone())),
        }
        if out.len() > before
            && let Some(last) = out.last_mut()
        {
            last.marker = true;
        }
    }
}

/// The clock of all video (RFC 6184 §8.2.1 and its kin).
pub const VIDEO_RATE: u32 = 90_000;

/// Mode AAC-hbr: one access unit with a 13-bit size and a 3-bit index of 0, or fragments of it that each tell the size of the whole (RFC 3640
/// §3.2.1, §3.2.3.1, §3.3.6).
fn aac(data: &Bytes, max: usize, out: &mut Vec<Payload>) {
    let Some(size) = u16::try_from(data.len()).ok().filter(|size| *size < 1 << 13) else { return };
    let [high, low] = (size << 3).to_be_bytes();
    out.extend(fragments(data, max - 4).map(|(_, _, body)| Payload::new(&[0, 16, high, low], body)));
}

/// Cuts into as few pieces of at most `max` bytes as can be, all of one size but for the last; with whether each is the first and the last.
fn fragments(data: &Bytes, max: usize) -> impl Iterator<Item = (bool, bool, Bytes)> {
    let count = data.len().div_ceil(max.max(1)).max(1);
    let size = data.len().div_ceil(count).max(1);
    (0..data.len()).step_by(size).map(move |start| {
        let end = start.saturating_add(size).min(data.len());
        (start == 0, end == data.len(), data.slice(start..end))
    })
}

#[cfg(test)]
mod tests;
