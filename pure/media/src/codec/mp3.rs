//! MPEG-1/2 audio layer III: the frame header, which is all the configuration there is.

use super::Error;

/// What the header of a frame tells (ISO/IEC 11172-3 §2.4.1.3, and MPEG-2 and 2.5 for the lower rates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Samples per second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Bits per second of this frame; `None` for the free format.
    pub bitrate: Option<u32>,
}

impl Config {
    /// Reads the four bytes at the start of a frame.
    ///
    /// # Errors
    /// When it ends early, is not the start of a frame, or is of another layer.
    pub fn parse(frame: &[u8]) -> Result<Self, Error> {
        let what = "MP3 frame";
        let Some(&[a, b, c, d]) = frame.first_chunk() else {
            return Err(Error::Truncated { what, at: frame.len() });
        };
        let unsupported = |field, value: u8| Err(Error::Unsupported { what, field, value: value.into() });
        if a != 0xff || b & 0xe0 != 0xe0 {
            return unsupported("sync byte", if a == 0xff { b } else { a });
        }
        if b >> 1 & 3 != 1 {
            return unsupported("layer", b >> 1 & 3);
        }
        let half = match b >> 3 & 3 {
            3 => 1,
            2 => 2,
            0 => 4,
            version => return unsupported("version", version),
        };
        let base = match c >> 2 & 3 {
            0 => 44_100,
            1 => 48_000,
            2 => 32_000,
            index => return unsupported("sample rate", index),
        };
        let rates: [u32; 14] = if half == 1 {
            [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
        } else {
            [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
        };
        let bitrate = match usize::from(c >> 4) {
            0 => None,
            index => match rates.get(index - 1) {
                Some(kbit) => Some(kbit * 1000),
                None => return unsupported("bit rate", c >> 4),
            },
        };
        let channels = if d >> 6 == 3 { 1 } else { 2 };
        Ok(Self { sample_rate: base / half, channels, bitrate })
    }

    /// MPEG-1, and not MPEG-2 or 2.5, which have the lower rates.
    pub fn is_mpeg1(&self) -> bool {
        self.sample_rate >= 32_000
    }

    /// Samples in a frame.
    pub fn samples_per_frame(&self) -> u32 {
        if self.is_mpeg1() { 1152 } else { 576 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers_of_all_versions() {
        let of = |sample_rate, channels, kbit: u32| {
            Ok(Config { sample_rate, channels, bitrate: Some(kbit * 1000) })
        };
        assert_eq!(Config::parse(&[0xff, 0xfb, 0x90, 0x64]), of(44_100, 2, 128));
        assert_eq!(Config::parse(&[0xff, 0xf3, 0x84, 0xc4]), of(24_000, 1, 64));
        assert_eq!(Config::parse(&[0xff, 0xe3, 0x18, 0xc4]), of(8_000, 1, 8));
        assert_eq!(Config::parse(&[0xff, 0xfb, 0x00, 0x64]).unwrap().bitrate, None);
    }

    #[test]
    fn refuses_other_bytes() {
        for bytes in [
            &[0xff, 0xfb, 0x90][..],
            b"ID3\x03",
            &[0xff, 0x1b, 0x90, 0],
            &[0xff, 0xfd, 0x90, 0],
            &[0xff, 0xeb, 0x90, 0],
            &[0xff, 0xfb, 0xf0, 0],
            &[0xff, 0xfb, 0x9c, 0],
        ] {
            assert!(Config::parse(bytes).is_err(), "{bytes:x?}");
        }
    }
}
