//! One PES packet, cut into TS packets while it is written: the pieces of a payload go straight into the output, each byte once.

use media::Micros;

use super::PACKET;
use super::psi;

/// What the headers of a PES packet tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The PID of its TS packets.
    pub(super) pid: u16,
    /// `stream_id`: 0xe0 for video, 0xc0 for audio.
    pub(super) stream_id: u8,
    /// Decoding time.
    pub(super) dts: Micros,
    /// Presentation time.
    pub(super) pts: Micros,
    /// The first TS packet carries the clock, which is the decoding time.
    pub(super) pcr: bool,
    /// A decoder can start here.
    pub(super) random_access: bool,
    /// Bytes of the payload: exactly what will be put.
    pub(super) size: usize,
}

/// The largest payload whose length can be told, with the longest header. Only video may be longer.
pub(super) const MAX_TOLD: usize = 0xffff - 13;

/// Bytes of a TS packet behind its header.
const ROOM: usize = PACKET - 4;

/// A PES packet that is being written (ISO/IEC 13818-1 §2.4.3.6).
pub(super) struct Pes<'a> {
    out: &'a mut Vec<u8>,
    pid: u16,
    counter: &'a mut u8,
    /// Bytes of the PES packet that are still to come.
    left: usize,
    /// Bytes that still fit into the TS packet at the end of `out`.
    room: usize,
}

impl<'a> Pes<'a> {
    /// Makes room for all of it, then writes the headers. Exactly `head.size` bytes have to be put behind them.
    pub(super) fn begin(head: &Head, counter: &'a mut u8, out: &'a mut Vec<u8>) -> Self {
        let (header, header_size) = header(head);
        let (field, field_size) = adaptation(head);
        let header = header.get(..header_size).unwrap_or_default();
        let field = field.get(..field_size).unwrap_or_default();
        let left = head.size.saturating_add(header.len());
        let first = if field.is_empty() { ROOM } else { ROOM - 1 - field.len() };
        let packets = 1 + left.saturating_sub(first).div_ceil(ROOM);
        out.reserve(packets.saturating_mul(PACKET));
        let mut pes = Self { out, pid: head.pid, counter, left, room: 0 };
        pes.open(true, field);
        pes.put(header);
        pes
    }

    /// Writes the next bytes.
    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.room == 0 {
                self.open(false, &[]);
            }
            let (now, later) = bytes.split_at(self.room.min(bytes.len()));
            self.out.extend_from_slice(now);
            self.room -= now.len();
            self.left = self.left.saturating_sub(now.len());
            bytes = later;
        }
    }

    /// Opens a TS packet. What is too short to fill it is pushed to its end by a longer adaptation field.
    fn open(&mut self, start: bool, field: &[u8]) {
        let space = if field.is_empty() { ROOM } else { ROOM - 1 - field.len() };
        let stuffing = space.saturating_sub(self.left);
        self.room = space - stuffing;
        let control = if field.is_empty() && stuffing == 0 { 1 } else { 3 };
        self.out.extend_from_slice(&psi::header(self.pid, start, control, self.counter));
        if control == 1 {
            return;
        }
        self.out.push((ROOM - 1 - self.room) as u8);
        // Stuffing alone brings its own length byte and flags.
        let rest = match (field, stuffing) {
            ([], 1) => 0,
            ([], _) => {
                self.out.push(0);
                stuffing - 2
            }
            _ => {
                self.out.extend_from_slice(field);
                stuffing
            }
        };
        self.out.resize(self.out.len() + rest, 0xff);
    }
}

/// The adaptation field of the first packet without its length, and its size (ISO/IEC 13818-1 §2.4.3.4).
fn adaptation(head: &Head) -> ([u8; 7], usize) {
    let flags = u8::from(head.random_access) << 6 | u8::from(head.pcr) << 4;
    let base = ticks(head.dts);
    let [b0, b1, b2, b3] = ((base >> 1) as u32).to_be_bytes();
    let field = [flags, b0, b1, b2, b3, (base << 7) as u8 | 0x7e, 0];
    let size = match (head.pcr, head.random_access) {
        (true, _) => field.len(),
        (false, true) => 1,
        (false, false) => 0,
    };
    (field, size)
}

/// The PES header, and its size.
fn header(head: &Head) -> ([u8; 19], usize) {
    let (pts, dts) = (ticks(head.pts), ticks(head.dts));
    let two = pts != dts;
    let (flags, times) = if two { (0xc0, 10) } else { (0x80, 5) };
    let size = 9 + times;
    // Zero is the word for "ends where the next one begins".
    let length = u16::try_from(head.size.saturating_add(size - 6)).unwrap_or(0);
    let [l0, l1] = length.to_be_bytes();
    let [p0, p1, p2, p3, p4] = timestamp(if two { 3 } else { 2 }, pts);
    let [d0, d1, d2, d3, d4] = timestamp(1, dts);
    let header = [
        0,
        0,
        1,
        head.stream_id,
        l0,
        l1,
        0x84, // the payload begins with an access unit
        flags,
        times as u8,
        p0,
        p1,
        p2,
        p3,
        p4,
        d0,
        d1,
        d2,
        d3,
        d4,
    ];
    (header, size)
}

/// 33 bits in five bytes, with marker bits between.
fn timestamp(prefix: u8, ticks: u64) -> [u8; 5] {
    [
        prefix << 4 | (ticks >> 29) as u8 & 0x0e | 1,
        (ticks >> 22) as u8,
        (ticks >> 14) as u8 | 1,
        (ticks >> 7) as u8,
        (ticks << 1) as u8 | 1,
    ]
}

/// The time in ticks of 90 kHz, modulo 2³³.
pub(super) fn ticks(time: Micros) -> u64 {
    const WRAP: i64 = 1 << 33;
    // 9 ticks are 100 µs, so that nine whole turns of the counter take 100 · 2³³ µs: the rest cannot overflow.
    let rest = time.0.rem_euclid(100 * WRAP);
    (rest * 9 / 100 % WRAP) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_wrap_at_33_bits_in_both_directions() {
        const WRAP: i64 = 1 << 33;
        assert_eq!(ticks(Micros(0)), 0);
        assert_eq!(ticks(Micros(11)), 0);
        assert_eq!(ticks(Micros(12)), 1);
        assert_eq!(ticks(Micros(-1)), (WRAP - 1) as u64);
        assert_eq!(ticks(Micros(-100)), (WRAP - 9) as u64);
        for micros in [i64::MIN, i64::MAX, -95_443_717_689, 95_443_717_688, 95_443_717_689, 1 << 50] {
            let exact = (i128::from(micros) * 9).div_euclid(100).rem_euclid(i128::from(WRAP));
            assert_eq!(i128::from(ticks(Micros(micros))), exact, "{micros}");
        }
    }

    #[test]
    fn timestamps_have_their_markers() {
        assert_eq!(timestamp(2, 0), [0x21, 0, 1, 0, 1]);
        assert_eq!(timestamp(3, 0x1_ffff_ffff), [0x3f, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(timestamp(1, 1 << 32 | 1 << 22 | 1 << 15 | 1 << 7 | 1), [0x19, 1, 3, 1, 3]);
    }

    #[test]
    fn every_size_of_payload_fills_whole_packets() {
        for size in 0..600 {
            for (pcr, random_access) in [(false, false), (false, true), (true, true)] {
                let (dts, pts) = (Micros(0), Micros(40_000));
                let head = Head { pid: 0x100, stream_id: 0xe0, dts, pts, pcr, random_access, size };
                let (mut counter, mut out) = (0, Vec::new());
                Pes::begin(&head, &mut counter, &mut out).put(&vec![7; size]);
                assert_eq!(out.len(), usize::from(counter) * PACKET, "{size}");
                assert_eq!(out.capacity(), out.len(), "made room once");
                let payload = out.chunks(PACKET).flat_map(|packet| {
                    let field = if packet[3] & 0x20 == 0 { 0 } else { usize::from(packet[4]) + 1 };
                    &packet[4 + field..]
                });
                assert_eq!(payload.count(), 19 + size);
            }
        }
    }
}
