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

fn signature(head: &[u8]) -> u32 {
    head.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

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
