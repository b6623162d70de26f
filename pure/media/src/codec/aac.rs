//! AAC: the AudioSpecificConfig, with the three ways in which it can announce SBR and PS.

use super::Error;
use crate::{BitReader, Truncated};

/// What an AudioSpecificConfig tells (ISO/IEC 14496-3 §1.6.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The audio object type of the core coder, such as 2 for LC. This is what ADTS and raw frames carry.
    pub object_type: u8,
    /// Samples per second of the core coder; half of `sample_rate` in most streams with SBR.
    pub core_rate: u32,
    /// Samples per second as heard.
    pub sample_rate: u32,
    /// Channels as coded; with PS one coded channel is heard as two.
    pub channels: u8,
    /// Spectral band replication is announced (HE-AAC).
    pub sbr: bool,
    /// Parametric stereo is announced (HE-AAC v2).
    pub ps: bool,
    /// Frames of 960 samples instead of 1024.
    pub short_frames: bool,
}

impl Config {
    /// Reads an AudioSpecificConfig.
    ///
    /// # Errors
    /// When it ends early or uses a reserved sample rate index.
    pub fn parse(config: &[u8]) -> Result<Self, Error> {
        let what = "AudioSpecificConfig";
        let mut r = BitReader::new(config);
        let config = Self::read(&mut r).map_err(|e| e.of(what))?;
        if config.sample_rate == 0 || config.core_rate == 0 {
            return Err(Error::Unsupported { what, field: "sample rate", value: 0 });
        }
        Ok(config)
    }

    fn read(r: &mut BitReader<'_>) -> Result<Self, Truncated> {
        let first = object_type(r)?;
        let core_rate = sample_rate(r)?;
        let layout = r.bits(4)?;
        let mut config = Self { object_type: first, core_rate, sample_rate: core_rate, ..Self::default() };
        if first == SBR || first == PS {
            // Explicit and not backward compatible: the extension first, then the core.
            config.sbr = true;
            config.ps = first == PS;
            config.sample_rate = sample_rate(r)?;
            config.object_type = object_type(r)?;
        }
        config.channels = match layout {
            1..=6 => layout as u8,
            7 | 12 | 14 => 8,
            11 => 7,
            _ => 0,
        };
        if matches!(config.object_type, 1..=4 | 6 | 7 | 17 | 19..=23) {
            config.short_frames = r.bit()?;
            if r.bit()? {
                r.skip(14)?; // coreCoderDelay
            }
            r.skip(1)?; // extensionFlag
            if layout == 0 {
                config.channels = program(r)?;
            }
            if !config.sbr {
                // The tail is optional; one that ends early announces nothing.
                let _ = config.read_extension(r);
            }
        }
        Ok(config)
    }

    /// Explicit and backward compatible: behind the core, where old decoders do not look.
    fn read_extension(&mut self, r: &mut BitReader<'_>) -> Result<(), Truncated> {
        if r.bits(11)? == 0x2b7 && object_type(r)? == SBR && r.bit()? {
            let rate = sample_rate(r)?;
            if rate != 0 {
                (self.sbr, self.sample_rate) = (true, rate);
            }
            self.ps = r.bits(11)? == 0x548 && r.bit()?;
        }
        Ok(())
    }

    /// Samples in a frame, at the rate of the core coder.
    pub fn samples_per_frame(&self) -> u32 {
        if self.short_frames { 960 } else { 1024 }
    }

    /// The profile as the API names it (SRS's table).
    pub fn profile_name(&self) -> &'static str {
        match self.object_type {
            _ if self.ps => "HEv2",
            _ if self.sbr => "HE",
            1 => "Main",
            2 => "LC",
            3 => "SSR",
            _ => "Other",
        }
    }
}

const SBR: u8 = 5;
const PS: u8 = 29;

/// The rates by index (ISO/IEC 14496-3 table 1.18), also those of ADTS.
pub const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

fn object_type(r: &mut BitReader<'_>) -> Result<u8, Truncated> {
    Ok(match r.bits(5)? {
        31 => 32 + r.bits(6)? as u8,
        short => short as u8,
    })
}

/// 0 for the reserved indices.
fn sample_rate(r: &mut BitReader<'_>) -> Result<u32, Truncated> {
    Ok(match r.bits(4)? {
        15 => r.bits(24)?,
        index => RATES.get(index as usize).copied().unwrap_or(0),
    })
}

/// Counts the channels of a program_config_element and reads it to its end (ISO/IEC 14496-3 §4.4.1.1).
fn program(r: &mut BitReader<'_>) -> Result<u8, Truncated> {
    r.skip(4 + 2 + 4)?; // instance, object type, rate index
    let elements = r.bits(4)? + r.bits(4)? + r.bits(4)?; // front, side, back
    let lfe = r.bits(2)?;
    let (data, coupling) = (r.bits(3)? as usize, r.bits(4)? as usize);
    for width in [4, 4, 3] {
        if r.bit()? {
            r.skip(width)?; // mono, stereo, matrix mixdown
        }
    }
    let mut channels = lfe;
    for _ in 0..elements {
        channels += if r.bit()? { 2 } else { 1 };
        r.skip(4)?;
    }
    r.skip(lfe as usize * 4 + data * 4 + coupling * 5)?;
    r.skip((8 - r.position() % 8) % 8)?;
    let comment = r.bits(8)? as usize;
    r.skip(comment * 8)?;
    Ok(channels as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bit_writer::BitWriter;

    #[test]
    fn plain_lc() {
        let config = Config::parse(&[0x12, 0x10]).unwrap();
        let want = Config {
            object_type: 2,
            core_rate: 44_100,
            sample_rate: 44_100,
            channels: 2,
            ..Config::default()
        };
        assert_eq!(config, want);
        assert_eq!(config.profile_name(), "LC");
    }

    #[test]
    fn sbr_and_ps_in_three_ways() {
        // Not backward compatible: AOT 5, 24 kHz core, stereo, 48 kHz output, AOT 2.
        let mut w = BitWriter::new(&[]);
        w.bits(5, 5).bits(6, 4).bits(2, 4).bits(3, 4).bits(2, 5).bits(0, 3);
        let he = Config::parse(&w.plain()).unwrap();
        assert_eq!((he.object_type, he.core_rate, he.sample_rate, he.channels), (2, 24_000, 48_000, 2));
        assert_eq!(he.profile_name(), "HE");
        // AOT 29.
        let mut w = BitWriter::new(&[]);
        w.bits(29, 5).bits(6, 4).bits(1, 4).bits(3, 4).bits(2, 5).bits(0, 3);
        assert_eq!(Config::parse(&w.plain()).unwrap().profile_name(), "HEv2");
        // Backward compatible: a tail behind the core.
        let mut w = BitWriter::new(&[]);
        w.bits(2, 5).bits(6, 4).bits(1, 4).bits(0, 3);
        w.bits(0x2b7, 11).bits(5, 5).bits(1, 1).bits(3, 4).bits(0x548, 11).bits(1, 1);
        let tail = Config::parse(&w.plain()).unwrap();
        assert_eq!((tail.core_rate, tail.sample_rate, tail.sbr, tail.ps), (24_000, 48_000, true, true));
    }

    #[test]
    fn escapes_and_a_program_element() {
        let mut w = BitWriter::new(&[]);
        // Escaped rate, channel layout in a program_config_element: two front (pair, single), one back pair, one LFE.
        w.bits(2, 5).bits(15, 4).bits(44_123, 24).bits(0, 4).bits(0, 3);
        w.bits(0, 10).bits(2, 4).bits(0, 4).bits(1, 4).bits(1, 2).bits(0, 7).bits(0, 3);
        w.bits(1, 1).bits(0, 4).bits(0, 1).bits(0, 4).bits(1, 1).bits(0, 4).bits(0, 4);
        let bits = 5 + 4 + 24 + 4 + 3 + 10 + 12 + 2 + 7 + 3 + 15 + 4;
        w.bits(0, (8 - bits % 8) % 8).bits(0, 8);
        let config = Config::parse(&w.plain()).unwrap();
        assert_eq!((config.sample_rate, config.channels), (44_123, 6));
        // Escaped object type 42 (USAC) has no GASpecificConfig.
        let mut w = BitWriter::new(&[]);
        w.bits(31, 5).bits(10, 6).bits(3, 4).bits(2, 4);
        let config = Config::parse(&w.plain()).unwrap();
        assert_eq!((config.object_type, config.profile_name()), (42, "Other"));
    }

    #[test]
    fn refuses_short_and_reserved() {
        assert_eq!(Config::parse(&[0x12]), Err(Error::Truncated { what: "AudioSpecificConfig", at: 1 }));
        assert!(matches!(Config::parse(&[0x16, 0x90]), Err(Error::Unsupported { .. })));
    }
}
