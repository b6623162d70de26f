//! MPEG-TS: a reader that turns any cut of the stream into PES units and counts what its packets lack (ISO/IEC
//! 13818-1, sections 2.4.3 and 2.4.4). Where a stamp is inside a unit is `stamp`'s business.

use std::collections::HashMap;

/// Bytes in a packet.
pub const PACKET: usize = 188;

const SYNC: u8 = 0x47;
const PAT: u16 = 0;
const NULL: u16 = 0x1fff;
/// Larger units are taken for a broken stream.
const MAX_UNIT: usize = 16 << 20;

/// A PES packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Video, or else audio.
    pub video: bool,
    /// Decoding time in milliseconds.
    pub time: u32,
    /// The elementary stream's bytes: an access unit, or several frames of audio.
    pub data: Vec<u8>,
    /// The `now` of the push that brought the last byte.
    pub arrived: u64,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets, null packets among them.
    pub packets: u64,
    /// Packets whose continuity counter did not follow the one before on their PID.
    pub gaps: u64,
}

/// Reads packets that arrive in pieces of any size.
#[derive(Default)]
pub struct Reader {
    pending: Vec<u8>,
    continuity: HashMap<u16, u8>,
    /// PIDs of program maps.
    maps: Vec<u16>,
    streams: HashMap<u16, Stream>,
    counters: Counters,
}

/// An elementary stream and the unit that is under way.
struct Stream {
    video: bool,
    pes: Vec<u8>,
    arrived: u64,
}

impl Reader {
    /// Takes the next bytes, which arrived at `now`, and appends the units they complete to `out`. A unit that does
    /// not tell its length is complete when the next one begins.
    ///
    /// # Errors
    /// When the bytes are not packets of a readable program.
    pub fn push(&mut self, bytes: &[u8], now: u64, out: &mut Vec<Unit>) -> Result<(), &'static str> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let (packets, rest) = pending.as_chunks::<PACKET>();
        for packet in packets {
            self.packet(packet, now, out)?;
        }
        self.pending = rest.to_vec();
        Ok(())
    }

    /// The stream has ended: appends the units that are under way to `out`.
    pub fn finish(&mut self, out: &mut Vec<Unit>) {
        self.streams.values_mut().for_each(|stream| out.extend(stream.take()));
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn packet(&mut self, packet: &[u8; PACKET], now: u64, out: &mut Vec<Unit>) -> Result<(), &'static str> {
        let [sync, high, low, flags, ..] = *packet;
        if sync != SYNC {
            return Err("a packet without its sync byte");
        }
        self.counters.packets += 1;
        let pid = u16::from_be_bytes([high & 0x1f, low]);
        if pid == NULL {
            return Ok(());
        }
        let (starts, adapts, carries) = (high & 0x40 != 0, flags & 0x20 != 0, flags & 0x10 != 0);
        let field = if adapts { 1 + usize::from(packet[4]) } else { 0 };
        let payload = packet.get(4 + field..).ok_or("an adaptation field beyond its packet")?;
        if !carries {
            return Ok(());
        }
        let announced = field > 1 && packet[5] & 0x80 != 0;
        let counter = flags & 0x0f;
        let last = self.continuity.insert(pid, counter);
        if last.is_some_and(|last| (last + 1) & 0x0f != counter) && !announced {
            self.counters.gaps += 1;
        }
        if pid == PAT || self.maps.contains(&pid) {
            // Tables that do not fit into one packet do not occur in single programs.
            if let Some(section) = starts.then(|| section(payload)).flatten() {
                self.table(pid, section);
            }
        } else if let Some(stream) = self.streams.get_mut(&pid) {
            stream.payload(starts, payload, now, out)?;
        }
        Ok(())
    }

    /// Reads a PAT or PMT from behind its header on, without its checksum.
    fn table(&mut self, pid: u16, section: &[u8]) {
        if pid == PAT {
            let programs = section.as_chunks::<4>().0.iter().filter(|program| program[..2] != [0, 0]);
            self.maps = programs.map(|program| pid_at(program, 2)).collect();
            return;
        }
        let Some(mut rest) = section.get(2..4).and_then(|_| section.get(4 + length_at(section, 2)..)) else {
            return;
        };
        while rest.len() >= 5 {
            let video = match rest[0] {
                0x01 | 0x02 | 0x1b | 0x24 => Some(true),
                0x03 | 0x04 | 0x0f | 0x11 => Some(false),
                _ => None,
            };
            if let Some(video) = video {
                let fresh = || Stream { video, pes: Vec::new(), arrived: 0 };
                self.streams.entry(pid_at(rest, 1)).or_insert_with(fresh).video = video;
            }
            rest = rest.get(5 + length_at(rest, 3)..).unwrap_or_default();
        }
    }
}

impl Stream {
    fn payload(
        &mut self,
        starts: bool,
        payload: &[u8],
        now: u64,
        out: &mut Vec<Unit>,
    ) -> Result<(), &'static str> {
        if starts {
            out.extend(self.take());
            if !payload.starts_with(&[0, 0, 1]) {
                return Err("a PES packet without its start code");
            }
        } else if self.pes.is_empty() {
            // Joined in the middle of a unit.
            return Ok(());
        }
        self.pes.extend_from_slice(payload);
        self.arrived = now;
        if self.pes.len() > MAX_UNIT {
            return Err("an endless PES packet");
        }
        if self.pes.get(4..6).is_some_and(|length| {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            length > 0 && self.pes.len() >= 6 + length
        }) {
            out.extend(self.take());
        }
        Ok(())
    }

    /// The unit that is under way, if there is one and its header is whole (section 2.4.3.6).
    fn take(&mut self) -> Option<Unit> {
        let pes = std::mem::take(&mut self.pes);
        let (header, behind) = pes.split_at_checked(9)?;
        let (fields, data) = behind.split_at_checked(header[8].into())?;
        // The decoding time stands behind the presentation time, if they differ.
        let at = if header[7] & 0x40 != 0 { 5 } else { 0 };
        let time = fields.get(at..at + 5).filter(|_| header[7] & 0x80 != 0).map_or(0, read_time);
        Some(Unit { video: self.video, time, data: data.to_vec(), arrived: self.arrived })
    }
}

/// What a table's section holds behind its header of eight bytes, without its checksum.
fn section(payload: &[u8]) -> Option<&[u8]> {
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = section.get(1..3).map(|_| length_at(section, 1))?;
    section.get(8..(3 + length).checked_sub(4)?)
}

/// The 13 bits of a PID at `at`, which must be there.
fn pid_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at] & 0x1f, bytes[at + 1]])
}

/// The 12 bits of a length at `at`, which must be there.
fn length_at(bytes: &[u8], at: usize) -> usize {
    u16::from_be_bytes([bytes[at] & 0x0f, bytes[at + 1]]).into()
}

/// Milliseconds from the five bytes of a time of 90 kHz.
fn read_time(bytes: &[u8]) -> u32 {
    let part = |at: usize| u64::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]) >> 1);
    let ticks = u64::from(bytes[0] >> 1 & 7) << 30 | part(1) << 15 | part(3);
    (ticks / 90) as u32
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIDEO: u16 = 0x100;
    const AUDIO: u16 = 0x101;
    const MAP: u16 = 0x1001;

    /// Writes packets; just enough to test the reader.
    #[derive(Default)]
    struct Writer {
        out: Vec<u8>,
        continuity: HashMap<u16, u8>,
    }

    impl Writer {
        fn payload(&mut self, pid: u16, mut payload: &[u8]) {
            let mut start = 0x40;
            while !payload.is_empty() {
                let counter = self.continuity.entry(pid).or_default();
                let (now, rest) = payload.split_at(payload.len().min(PACKET - 4));
                let stuffing = PACKET - 4 - now.len();
                let [high, low] = pid.to_be_bytes();
                let flags = if stuffing > 0 { 0x30 } else { 0x10 };
                self.out.extend([SYNC, high | start, low, flags | *counter]);
                if stuffing > 0 {
                    self.out.push(stuffing as u8 - 1);
                    self.out.extend((1..stuffing).map(|at| if at == 1 { 0 } else { 0xff }));
                }
                self.out.extend_from_slice(now);
                (*counter, payload, start) = ((*counter + 1) & 0x0f, rest, 0);
            }
        }

        fn table(&mut self, pid: u16, kind: u8, body: &[u8]) {
            let length = body.len() as u8 + 9;
            let header = [0, kind, 0xb0, length, 0, 1, 0xc1, 0, 0];
            self.payload(pid, &[&header, body, &[0; 4]].concat());
        }

        fn tables(&mut self) {
            self.table(PAT, 0, &[0, 1, 0xf0, 0x01]);
            self.table(MAP, 2, &[0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0]);
        }

        fn unit(&mut self, unit: &Unit, told: bool) {
            let ticks = u64::from(unit.time) * 90;
            let time = |mark: u8| {
                let [low, middle] = [ticks << 1, ticks >> 14].map(|part| (part as u16 | 1).to_be_bytes());
                [mark << 4 | (ticks >> 29) as u8 & 0x0e | 1, middle[0], middle[1], low[0], low[1]]
            };
            let length = if told { unit.data.len() as u16 + 13 } else { 0 };
            let [high, low] = length.to_be_bytes();
            let header = [0, 0, 1, 0xe0, high, low, 0x80, 0xc0, 10];
            // The presentation time is another, to see that it is not taken.
            let presented = [0x31, 0xff, 0xff, 0xff, 0xff];
            let pes = [&header[..], &presented, &time(1), &unit.data].concat();
            self.payload(if unit.video { VIDEO } else { AUDIO }, &pes);
        }
    }

    /// A segment of one video unit, for other modules' tests.
    pub(crate) fn segment() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.tables();
        writer.unit(&Unit { video: true, time: 40, data: vec![7; 500], arrived: 0 }, false);
        writer.out
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_units(
            units in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u32..95_000_000, 1usize..600), 1..12),
            piece in 1usize..400,
        ) {
            let mut writer = Writer::default();
            writer.tables();
            let mut sent = Vec::new();
            for (video, told, time, length) in units {
                let unit = Unit { video, time, data: vec![time as u8; length], arrived: 0 };
                writer.unit(&unit, told);
                sent.push(unit);
            }
            let (mut reader, mut read) = (Reader::default(), Vec::new());
            for piece in writer.out.chunks(piece) {
                reader.push(piece, 0, &mut read).unwrap();
            }
            reader.finish(&mut read);
            for video in [true, false] {
                let of = |units: &[Unit]| units.iter().filter(|unit| unit.video == video).cloned().collect::<Vec<_>>();
                prop_assert_eq!(of(&read), of(&sent));
            }
            let packets = (writer.out.len() / PACKET) as u64;
            prop_assert_eq!(reader.counters(), Counters { packets, gaps: 0 });
        }

        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let mut reader = Reader::default();
            let _ = reader.push(&bytes, 0, &mut Vec::new());
            let pids = [[0x40, 0], [0x50, 1], [0x41, 0], [1, 0]];
            for (at, packet) in bytes.chunks_mut(PACKET).enumerate().filter(|(_, packet)| packet.len() > 3) {
                packet[0] = SYNC;
                packet[1..3].copy_from_slice(&pids[at % 4]);
            }
            let mut reader = Reader::default();
            let _ = reader.push(&segment(), 0, &mut Vec::new());
            let _ = reader.push(&bytes, 0, &mut Vec::new());
            reader.finish(&mut Vec::new());
        }
    }

    #[test]
    fn a_lost_packet_is_a_gap_and_a_lost_byte_an_error() {
        let whole = segment();
        let mut reader = Reader::default();
        let short = [&whole[..3 * PACKET], &whole[4 * PACKET..]].concat();
        reader.push(&short, 0, &mut Vec::new()).unwrap();
        assert_eq!(reader.counters(), Counters { packets: 4, gaps: 1 });
        assert!(Reader::default().push(&whole[1..], 0, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_unit_arrived_with_its_last_byte() {
        let (mut reader, mut units, segment) = (Reader::default(), Vec::new(), segment());
        reader.push(&segment[..3 * PACKET], 10, &mut units).unwrap();
        reader.push(&segment[3 * PACKET..], 20, &mut units).unwrap();
        assert!(units.is_empty(), "it may go on");
        reader.finish(&mut units);
        assert_eq!(units.iter().map(|unit| (unit.time, unit.arrived)).collect::<Vec<_>>(), [(40, 20)]);
    }
}
