//! RTP as far as it can be read without keys: the header, which is never encrypted (RFC 3550, section 5.1), and what
//! its sequence numbers tell of loss.

/// The header of an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// In video: the last packet of a frame.
    pub marker: bool,
    /// The payload type.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The media time in ticks of its clock.
    pub timestamp: u32,
    /// The source.
    pub ssrc: u32,
}

impl Header {
    /// The header of `datagram`; `None` when that is RTCP, STUN, DTLS (RFC 7983, RFC 5761) or garbage.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let bytes = datagram.first_chunk::<12>()?;
        if bytes[0] >> 6 != 2 || (192..=223).contains(&bytes[1]) {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Self {
            marker: bytes[1] & 0x80 != 0,
            payload_type: bytes[1] & 0x7f,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: word(4),
            ssrc: word(8),
        })
    }
}

/// What the sequence numbers of one source tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    highest: Option<u16>,
    expected: u64,
    /// Packets that came.
    pub received: u64,
    /// Those of them that came after one with a higher number.
    pub late: u64,
}

impl Tally {
    /// Counts a packet.
    pub fn count(&mut self, sequence: u16) {
        let ahead = self.highest.map_or(1, |highest| sequence.wrapping_sub(highest));
        if ahead < 0x8000 {
            self.expected += u64::from(ahead);
            self.highest = Some(sequence);
        } else {
            self.late += 1;
        }
        self.received += 1;
    }

    /// Packets that did not come.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// Counts from zero again, from the same number on.
    pub fn restart(&mut self) {
        *self = Self { highest: self.highest, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rtp_has_a_header() {
        let packet = [0x80, 0xe0, 1, 2, 0, 0, 0, 3, 0, 0, 0, 4, 9, 9];
        let header = Header { marker: true, payload_type: 96, sequence: 0x102, timestamp: 3, ssrc: 4 };
        assert_eq!(Header::parse(&packet), Some(header));
        assert_eq!(Header::parse(&packet[..11]), None);
        for first in [[0x80, 200], [0x81, 201], [0, 1], [22, 0xfe]] {
            assert_eq!(Header::parse(&[&first, &packet[2..]].concat()), None, "{first:?}");
        }
    }

    #[test]
    fn loss_is_told_from_late_arrival() {
        let mut tally = Tally::default();
        for sequence in [65_533, 65_534, 0, 65_535, 3] {
            tally.count(sequence);
        }
        assert_eq!((tally.received, tally.late, tally.lost()), (5, 1, 2));
        tally.restart();
        tally.count(4);
        assert_eq!((tally.received, tally.late, tally.lost()), (1, 0, 0));
    }
}
