//! Opus: the identification header (OpusHead).

use super::Error;
use crate::{ByteReader, Truncated};

/// What an OpusHead tells (RFC 7845 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Channels.
    pub channels: u8,
    /// Samples at 48 kHz to leave out at the start.
    pub pre_skip: u16,
    /// The rate of the original input in Hz, 0 when unknown. Decoding is always at 48 kHz.
    pub sample_rate: u32,
}

impl Default for Config {
    /// What a stream without a header is: stereo (RFC 7587 §4).
    fn default() -> Self {
        Self { channels: 2, pre_skip: 0, sample_rate: 48_000 }
    }
}

impl Config {
    /// Reads an OpusHead with its 8-byte signature.
    ///
    /// # Errors
    /// When it ends early, or its signature or major version are not known.
    pub fn parse(head: &[u8]) -> Result<Self, Error> {
        let what = "OpusHead";
        let Some((b"OpusHead", rest)) = head.split_first_chunk() else {
            return Err(Error::Unsupported { what, field: "signature", value: signature(head) });
        };
        let (version, config) = Self::read(rest).map_err(|e| Truncated { at: e.at + 8 }.of(what))?;
        if version >> 4 != 0 {
            return Err(Error::Unsupported { what, field: "version", value: version.into() });
        }
        Ok(config)
    }

    fn read(rest: &[u8]) -> Result<(u8, Self), Truncated> {
        let mut r = ByteReader::new(rest);
        let version = r.u8()?;
        let config = Self {
            channels: r.u8()?,
            // The only little-endian header in the house, as Ogg wants it.
            pre_skip: r.u16()?.swap_bytes(),
            sample_rate: r.u32()?.swap_bytes(),
        };
        r.take(3)?; // output gain, mapping family
        Ok((version, config))
    }
}

/// How long a packet sounds, in samples at 48 kHz, from its first two bytes (RFC 6716 §3.1); `None` for an empty packet.
pub fn samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame = match config {
        0..12 => [480, 960, 1920, 2880].get(usize::from(config & 3)),
        12..16 => [480, 960].get(usize::from(config & 1)),
        _ => [120, 240, 480, 960].get(usize::from(config & 3)),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    frame.map(|samples| samples * frames)
}

fn signature(head: &[u8]) -> u32 {
    head.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_tell_how_long_they_sound() {
        for (packet, want) in [
            (&[0xfc, 0][..], Some(960)),
            (&[0xe0], Some(120)),
            (&[0x18 | 1], Some(2 * 2880)),
            (&[0x60 | 2], Some(2 * 480)),
            (&[0xfb, 0x83], Some(3 * 960)),
            (&[0xfb], None),
            (&[], None),
        ] {
            assert_eq!(samples(packet), want, "{packet:x?}");
        }
    }

    #[test]
    fn reads_a_head() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        let want = Config { channels: 2, pre_skip: 312, sample_rate: 48_000 };
        assert_eq!(Config::parse(head), Ok(want));
        for cut in 0..head.len() {
            assert!(Config::parse(&head[..cut]).is_err());
        }
        assert!(Config::parse(b"OpusHead\x10\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00").is_err());
        assert!(Config::parse(b"OpusTags\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00").is_err());
    }
}
