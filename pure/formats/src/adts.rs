//! ADTS: the header that makes a raw AAC frame stand alone, in TS and in `.aac` streams. Only the form that this server writes:
//! one frame per header, MPEG-2, no CRC.

use media::codec::aac;

/// The header of a track's frames, with their length still open (ISO/IEC 13818-7 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Adts {
    profile: u8,
    rate: u8,
    channels: u8,
}

impl Adts {
    /// Bytes of a header.
    pub(crate) const SIZE: usize = 7;
    /// The largest frame, with its header, that the 13 bits can tell.
    const MAX: usize = 0x1fff;

    /// The header for frames of this configuration. What ADTS cannot tell is told as the nearest thing it can: LC for the later
    /// object types, the nearest rate for an escaped one, and for a row of channels without a number "see inside".
    pub(crate) fn new(config: &aac::Config) -> Self {
        const LC: u8 = 2;
        let object_type = if (1..=4).contains(&config.object_type) { config.object_type } else { LC };
        let distance = |(_, rate): &(u8, u32)| rate.abs_diff(config.core_rate);
        let rate = (0u8..).zip(aac::RATES).min_by_key(distance).map_or(0, |(index, _)| index);
        let channels = match config.channels {
            few @ 0..=6 => few,
            8 => 7,
            _ => 0,
        };
        Self { profile: object_type - 1, rate, channels }
    }

    /// The header of a raw frame of `size` bytes; `None` when it is too large to be told.
    pub(crate) fn header(self, size: usize) -> Option<[u8; Self::SIZE]> {
        let length = size.checked_add(Self::SIZE).filter(|length| *length <= Self::MAX)? as u16;
        Some([
            0xff,
            0xf9,
            self.profile << 6 | self.rate << 2 | self.channels >> 2,
            self.channels << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f, // the rest is a buffer of unknown fullness and one frame
            0xfc,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(object_type: u8, core_rate: u32, channels: u8) -> aac::Config {
        aac::Config { object_type, core_rate, sample_rate: core_rate * 2, channels, ..aac::Config::default() }
    }

    #[test]
    fn a_header_bit_by_bit() {
        // LC, 44.1 kHz, stereo, 100 + 7 bytes.
        let header = Adts::new(&config(2, 44_100, 2)).header(100).unwrap();
        assert_eq!(header, [0xff, 0xf9, 0x50, 0x80, 0x0d, 0x7f, 0xfc]);
        // Main, 48 kHz, 7.1.
        let header = Adts::new(&config(1, 48_000, 8)).header(0x1234 - 7).unwrap();
        assert_eq!(header, [0xff, 0xf9, 0x0d, 0xc2, 0x46, 0x9f, 0xfc]);
    }

    #[test]
    fn what_adts_cannot_tell() {
        let same = |a, b| assert_eq!(Adts::new(&a), Adts::new(&b));
        same(config(42, 48_000, 2), config(2, 48_000, 2));
        same(config(0, 48_000, 2), config(2, 48_000, 2));
        same(config(2, 44_123, 2), config(2, 44_100, 2));
        same(config(2, 1, 2), config(2, 7350, 2));
        same(config(2, 48_000, 7), config(2, 48_000, 0));
        assert_ne!(Adts::new(&config(4, 48_000, 2)), Adts::new(&config(2, 48_000, 2)));
    }

    #[test]
    fn the_longest_frame() {
        let adts = Adts::new(&config(2, 44_100, 2));
        let header = adts.header(0x1fff - 7).unwrap();
        assert_eq!(&header[3..6], [0x83, 0xff, 0xff]);
        assert_eq!(adts.header(0x1fff - 6), None);
        assert_eq!(adts.header(usize::MAX), None);
    }
}
