//! The RTP packet itself: a view over received bytes, the header to be written, and counters that outlive their wrap. What a payload
//! means is in `pack` and `unpack`.

use media::{ByteReader, Truncated};

use crate::Error;
use crate::error::ends_early;

/// A received packet, borrowed (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The marker bit: the end of a frame in video, the start of a talkspurt in sound.
    pub marker: bool,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp in ticks of the track's clock.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
    /// The payload without its padding; empty in a packet that only pads.
    pub payload: &'a [u8],
    /// How many bytes of padding stood behind the payload.
    pub padding: u8,
    csrc: &'a [u8],
    profile: u16,
    extensions: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one packet, which is all of `bytes`.
    ///
    /// # Errors
    /// When it ends early, is of another version, or pads more than it holds.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let first = bytes.first().copied().unwrap_or_default();
        if !bytes.is_empty() && first >> 6 != 2 {
            let (field, value) = ("version", (first >> 6).into());
            return Err(Error::Malformed { what: "RTP packet", field, value });
        }
        let mut packet = Self::read(bytes).map_err(ends_early("RTP packet"))?;
        if first & 0x20 != 0 {
            let padding = packet.payload.last().copied().unwrap_or_default();
            let end = packet.payload.len().checked_sub(padding.into()).filter(|_| padding > 0);
            let Some(payload) = end.and_then(|end| packet.payload.get(..end)) else {
                let (field, value) = ("padding", padding.into());
                return Err(Error::Malformed { what: "RTP packet", field, value });
            };
            (packet.payload, packet.padding) = (payload, padding);
        }
        Ok(packet)
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Truncated> {
        let mut r = ByteReader::new(bytes);
        let (first, second) = (r.u8()?, r.u8()?);
        let (sequence, timestamp, ssrc) = (r.u16()?, r.u32()?, r.u32()?);
        let csrc = r.take(usize::from(first & 0x0f) * 4)?;
        let (mut profile, mut extensions) = (0, &[][..]);
        if first & 0x10 != 0 {
            profile = r.u16()?;
            let words = r.u16()?;
            extensions = r.take(usize::from(words) * 4)?;
        }
        let (marker, payload_type) = (second & 0x80 != 0, second & 0x7f);
        let payload = r.rest();
        Ok(Self {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc,
            payload,
            padding: 0,
            csrc,
            profile,
            extensions,
        })
    }

    /// The original packet that this one retransmits, given the source and the payload type that the description ties to it; `None` when it carries
    /// none, as those that only pad (RFC 4588 §4).
    pub fn restore(self, ssrc: u32, payload_type: u8) -> Option<Self> {
        let (sequence, payload) = self.payload.split_first_chunk()?;
        Some(Self { ssrc, payload_type, sequence: u16::from_be_bytes(*sequence), payload, ..self })
    }

    /// The contributing sources.
    pub fn csrc(&self) -> impl Iterator<Item = u32> + 'a {
        self.csrc.as_chunks().0.iter().map(|four| u32::from_be_bytes(*four))
    }

    /// The header extension elements with their ids, of either form (RFC 8285 §4.2, §4.3). Ends at the first one that is cut off.
    pub fn extensions(&self) -> Extensions<'a> {
        let form = match self.profile {
            0xbede => Form::OneByte,
            0x1000..=0x100f => Form::TwoByte,
            _ => return Extensions { form: Form::OneByte, rest: &[] },
        };
        Extensions { form, rest: self.extensions }
    }

    /// The element with this id.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions().find_map(|(found, data)| (found == id).then_some(data))
    }

    /// The name of the section that the packet belongs to (RFC 9143 §15), given the id of that extension.
    pub fn mid(&self, id: u8) -> Option<&'a str> {
        str::from_utf8(self.extension(id)?).ok()
    }
}

/// Whether a datagram that is not STUN or DTLS holds RTCP and not RTP, where both share a port (RFC 5761 §4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

#[derive(Clone, Copy, Debug)]
enum Form {
    OneByte,
    TwoByte,
}

/// Iterates over header extension elements, see [`Packet::extensions`].
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            self.rest = rest;
            if first == 0 {
                continue; // padding
            }
            let (id, length) = match self.form {
                Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1),
                Form::TwoByte => {
                    let (&length, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    (first, length.into())
                }
            };
            if id == 15 && matches!(self.form, Form::OneByte) {
                self.rest = &[]; // reserved: the rest is not to be read
                return None;
            }
            let (data, rest) = self.rest.split_at_checked(length)?;
            self.rest = rest;
            if id != 0 {
                return Some((id, data));
            }
        }
    }
}

/// The header of a packet to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// The marker bit.
    pub marker: bool,
    /// The payload type; its upper bit is not sent.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
    /// Extension elements, each an id and up to 255 bytes. One-byte headers are used where all of them fit (ids 1 to 14, 1 to 16 bytes).
    pub extensions: &'a [(u8, &'a [u8])],
}

impl Header<'_> {
    /// Bytes of a header without extensions.
    pub const LEN: usize = 12;

    /// Appends the header; the payload goes behind it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let extended = if self.extensions.is_empty() { 0 } else { 0x10 };
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        let second = self.payload_type & 0x7f | u8::from(self.marker) << 7;
        out.extend_from_slice(&[0x80 | extended, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]);
        if extended != 0 {
            self.write_extensions(out);
        }
    }

    fn write_extensions(&self, out: &mut Vec<u8>) {
        let short =
            self.extensions.iter().all(|(id, data)| (1..15).contains(id) && (1..=16).contains(&data.len()));
        let size = |data: &[u8]| data.len().min(255) + if short { 1 } else { 2 };
        let length: usize = self.extensions.iter().map(|(_, data)| size(data)).sum();
        let words = u16::try_from(length.div_ceil(4)).unwrap_or(u16::MAX);
        out.extend_from_slice(if short { &[0xbe, 0xde] } else { &[0x10, 0x00] });
        out.extend_from_slice(&words.to_be_bytes());
        for (id, data) in self.extensions {
            let data = data.get(..255).unwrap_or(data);
            match short {
                true => out.push(id << 4 | (data.len() - 1) as u8),
                false => out.extend_from_slice(&[*id, data.len() as u8]),
            }
            out.extend_from_slice(data);
        }
        out.resize(out.len() + (4 - length % 4) % 4, 0);
    }
}

/// Extends 16-bit sequence numbers to 64 bits: each is taken as the one nearest to the highest before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seq {
    highest: Option<u64>,
}

impl Seq {
    /// The number that `sequence` stands for; its lower 16 bits are `sequence` again. The first is at least 65,536, so that one from
    /// before it has a place too.
    pub fn unwrap(&mut self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            let full = u64::from(sequence) + 0x1_0000;
            self.highest = Some(full);
            return full;
        };
        let step = sequence.wrapping_sub(highest as u16) as i16;
        let full = highest.saturating_add_signed(step.into());
        self.highest = Some(highest.max(full));
        full
    }
}

/// Extends 32-bit timestamps to 64 bits: each is taken as the one nearest to the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks {
    last: Option<i64>,
}

impl Ticks {
    /// The count of ticks that `timestamp` stands for; its lower 32 bits are `timestamp` again.
    pub fn unwrap(&mut self, timestamp: u32) -> i64 {
        let full = match self.last {
            None => timestamp.into(),
            Some(last) => last.saturating_add((timestamp.wrapping_sub(last as u32) as i32).into()),
        };
        self.last = Some(full);
        full
    }

    /// The same, without moving on: for timestamps in reports.
    pub fn peek(&self, timestamp: u32) -> i64 {
        Self { last: self.last }.unwrap(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_everything_a_header_can_have() {
        let bytes = [
            0xb1, 0xe0, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, // with one CSRC
            0xbe, 0xde, 0, 2, 0x10, 0xaa, 0, 0x51, 1, 2, 0xf0, 9, // ids 1 and 5, then the reserved one
            0xee, 0xef, 0, 2,
        ];
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.marker, packet.payload_type, packet.sequence, packet.timestamp), (true, 96, 7, 9));
        assert_eq!((packet.ssrc, packet.padding, packet.payload), (0x0102_0304, 2, &[0xee, 0xef][..]));
        assert_eq!(packet.csrc().collect::<Vec<_>>(), [0x0506_0708]);
        assert_eq!(packet.extensions().collect::<Vec<_>>(), [(1, &[0xaa][..]), (5, &[1, 2])]);
        assert_eq!(packet.extension(5), Some(&[1, 2][..]));
        assert_eq!(packet.extension(2), None);
        for cut in 0..28 {
            assert!(Packet::parse(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn tells_its_section_in_either_form_of_extensions() {
        // A long name, and an id beyond 14, go into two-byte headers only.
        for (id, name) in [(4, "1"), (4, "a-very-long-name-of-a-section"), (20, "v0")] {
            let mut bytes = Vec::new();
            Header { extensions: &[(3, &[0, 1]), (id, name.as_bytes())], ..Header::default() }
                .write(&mut bytes);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.mid(id), packet.mid(5)), (Some(name), None));
        }
        let mut bytes = Vec::new();
        Header { extensions: &[(4, &[0xff])], ..Header::default() }.write(&mut bytes);
        assert_eq!(Packet::parse(&bytes).unwrap().mid(4), None);
    }

    #[test]
    fn restores_what_is_retransmitted() {
        let sent_again = [0xa0, 0x80 | 97, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 0xff, 0xfe, 7, 8, 0, 2];
        let original = Packet::parse(&sent_again).unwrap().restore(5, 96).unwrap();
        assert_eq!((original.ssrc, original.payload_type, original.sequence), (5, 96, 0xfffe));
        assert_eq!((original.timestamp, original.marker, original.payload), (9, true, &[7, 8][..]));
        let probe = [0xa0, 97, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 3];
        let cut = [0x80, 97, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4, 0xff];
        for nothing in [&probe[..], &cut] {
            assert_eq!(Packet::parse(nothing).unwrap().restore(5, 96), None);
        }
    }

    #[test]
    fn padding_only_and_padding_beyond_the_packet() {
        let mut bytes = vec![0xa0, 96, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 3];
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.payload, packet.padding), (&[][..], 3));
        for impossible in [0, 4] {
            bytes[14] = impossible;
            assert!(matches!(Packet::parse(&bytes), Err(Error::Malformed { field: "padding", .. })));
        }
        bytes[0] = 0x60;
        assert!(matches!(Packet::parse(&bytes), Err(Error::Malformed { field: "version", value: 1, .. })));
    }

    #[test]
    fn an_unknown_extension_profile_is_passed_over() {
        let packet = [0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 1, 0x10, 1, 0, 0, 7];
        let packet = Packet::parse(&packet).unwrap();
        assert_eq!((packet.extensions().count(), packet.payload), (0, &[7][..]));
    }

    #[test]
    fn tells_rtcp_from_rtp() {
        assert!(is_rtcp(&[0x80, 200]) && is_rtcp(&[0x81, 206]));
        assert!(!is_rtcp(&[0x80, 96]) && !is_rtcp(&[0x80, 0xe0]) && !is_rtcp(&[22, 200]) && !is_rtcp(&[]));
    }

    #[test]
    fn counters_survive_the_wrap() {
        let mut seq = Seq::default();
        assert_eq!(seq.unwrap(1), 0x1_0001);
        assert_eq!(seq.unwrap(0xffff), 0xffff);
        assert_eq!(seq.unwrap(2), 0x1_0002);
        assert_eq!(seq.unwrap(0x7000), 0x1_7000);
        assert_eq!(seq.unwrap(0xe000), 0x1_e000);
        assert_eq!(seq.unwrap(0), 0x2_0000);
        assert_eq!(seq.unwrap(0xffff), 0x1_ffff);
        let mut ticks = Ticks::default();
        assert_eq!(ticks.unwrap(u32::MAX), i64::from(u32::MAX));
        assert_eq!(ticks.unwrap(9), i64::from(u32::MAX) + 10);
        assert_eq!(ticks.unwrap(u32::MAX - 1), i64::from(u32::MAX) - 1);
    }

    proptest! {
        #[test]
        fn what_is_written_reads(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            extensions in prop::collection::vec((1u8..20, prop::collection::vec(any::<u8>(), 0..20)), 0..4),
            payload: Vec<u8>,
        ) {
            let elements: Vec<_> = extensions.iter().map(|(id, data)| (*id, &data[..])).collect();
            let header = Header { marker, payload_type, sequence, timestamp, ssrc, extensions: &elements };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            bytes.extend_from_slice(&payload);
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!((packet.marker, packet.payload_type), (marker, payload_type));
            prop_assert_eq!((packet.sequence, packet.timestamp, packet.ssrc), (sequence, timestamp, ssrc));
            prop_assert_eq!(packet.extensions().collect::<Vec<_>>(), elements);
            prop_assert_eq!(packet.payload, &payload[..]);
        }
    }
}
