//! VP9: the configuration record (vpcC) of the "VP Codec ISO Media File Format Binding".

use super::Error;
use crate::{ByteReader, Truncated};

/// What a VPCodecConfigurationRecord tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Profile, 0 to 3.
    pub profile: u8,
    /// Ten times the level; 0 when the encoder did not say.
    pub level: u8,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
}

impl Config {
    /// Reads a record, with or without the four bytes of version and flags that open the box `vpcC` of a file: encoders over
    /// RTMP send both.
    ///
    /// # Errors
    /// When it ends early.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        Self::read(record).map_err(|e| e.of("vpcC"))
    }

    fn read(record: &[u8]) -> Result<Self, Truncated> {
        let mut r = ByteReader::new(record);
        // A bare record of profile 1 has its level and depth here, which are not all zero.
        if matches!(record, [_, 0, 0, 0, ..]) {
            r.u32()?;
        }
        Ok(Self { profile: r.u8()?, level: r.u8()?, bit_depth: r.u8()? >> 4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_version() {
        let want = Ok(Config { profile: 2, level: 31, bit_depth: 10 });
        assert_eq!(Config::parse(&[2, 31, 0xa2, 1, 1, 1, 0, 0]), want);
        assert_eq!(Config::parse(&[1, 0, 0, 0, 2, 31, 0xa2, 1, 1, 1, 0, 0]), want);
        assert_eq!(Config::parse(&[1, 0, 0, 0, 2]), Err(Error::Truncated { what: "vpcC", at: 5 }));
        assert!(Config::parse(&[]).is_err());
    }
}
