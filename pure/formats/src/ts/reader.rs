//! A reader of TS for the tests: strict, and written from the standard without a look at the writer.

use std::collections::HashMap;

/// What it has read, in the order of their first packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Program(Program),
    Pes(Pes),
}

/// A PMT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) version: u8,
    pub(crate) clock: u16,
    /// PID and stream type.
    pub(crate) streams: Vec<(u16, u8)>,
}

/// A PES packet; times are ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pes {
    pub(crate) pid: u16,
    pub(crate) stream_id: u8,
    pub(crate) pts: u64,
    pub(crate) dts: u64,
    pub(crate) pcr: Option<u64>,
    pub(crate) random_access: bool,
    pub(crate) data: Vec<u8>,
    /// The length it announced for its data, if any.
    length: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Reader {
    counters: HashMap<u16, u8>,
    pmt: Option<u16>,
    /// Where the PES packet of a PID that is being read lies in `items`.
    open: HashMap<u16, usize>,
    items: Vec<Item>,
}

/// Reads a whole stream.
pub(crate) fn read(packets: &[u8]) -> Vec<Item> {
    let mut reader = Reader::default();
    reader.receive(packets);
    reader.finish()
}

/// Only its PES packets.
pub(crate) fn read_pes(packets: &[u8]) -> Vec<Pes> {
    let pes = |item| if let Item::Pes(pes) = item { Some(pes) } else { None };
    read(packets).into_iter().filter_map(pes).collect()
}

/// Only its PMTs.
pub(crate) fn read_programs(packets: &[u8]) -> Vec<Program> {
    let program = |item| if let Item::Program(program) = item { Some(program) } else { None };
    read(packets).into_iter().filter_map(program).collect()
}

impl Reader {
    pub(crate) fn receive(&mut self, packets: &[u8]) {
        assert_eq!(packets.len() % 188, 0);
        packets.chunks(188).for_each(|packet| self.packet(packet));
    }

    /// Everything; PES packets without a length end here.
    pub(crate) fn finish(self) -> Vec<Item> {
        for item in &self.items {
            if let Item::Pes(Pes { length: Some(length), data, .. }) = item {
                assert_eq!(data.len(), *length, "PES_packet_length");
            }
        }
        self.items
    }

    fn packet(&mut self, packet: &[u8]) {
        assert_eq!(packet[0], 0x47, "sync");
        let word = u16::from_be_bytes([packet[1], packet[2]]);
        let (start, pid) = (word & 0x4000 != 0, word & 0x1fff);
        assert_eq!(word & 0xa000, 0, "no error, no priority");
        let (control, counter) = (packet[3] >> 4, packet[3] & 15);
        if let Some(before) = self.counters.insert(pid, counter) {
            assert_eq!((before + 1) % 16, counter, "continuity of {pid:#x}");
        }
        let mut payload = &packet[4..];
        let (mut pcr, mut random_access) = (None, false);
        assert!(control == 1 || control == 3, "there is payload, and nothing is scrambled");
        if control == 3 {
            let length = usize::from(payload[0]);
            let field = &payload[1..1 + length];
            payload = &payload[1 + length..];
            if let Some((flags, rest)) = field.split_first() {
                assert_eq!(flags & !0x50, 0);
                random_access = flags & 0x40 != 0;
                let (clock, stuffing) = rest.split_at(if flags & 0x10 == 0 { 0 } else { 6 });
                if let [a, b, c, d, e, f] = *clock {
                    assert_eq!((e & 0x7f, f), (0x7e, 0), "reserved bits and the extension");
                    pcr = Some(u64::from(u32::from_be_bytes([a, b, c, d])) << 1 | u64::from(e >> 7));
                }
                assert!(stuffing.iter().all(|byte| *byte == 0xff), "stuffing");
            }
        }
        assert!(!payload.is_empty());
        if pid == 0 || Some(pid) == self.pmt {
            assert!(start);
            self.section(pid, payload);
        } else if start {
            let pes = read_header(pid, pcr, random_access, payload);
            self.open.insert(pid, self.items.len());
            self.items.push(Item::Pes(pes));
        } else {
            assert!(pcr.is_none() && !random_access);
            let Item::Pes(pes) = &mut self.items[self.open[&pid]] else { panic!("not a PES packet") };
            pes.data.extend_from_slice(payload);
        }
    }

    fn section(&mut self, pid: u16, payload: &[u8]) {
        assert_eq!(payload[0], 0, "pointer");
        let length = usize::from(u16::from_be_bytes([payload[2], payload[3]]) & 0xfff);
        let (section, stuffing) = payload[1..].split_at(3 + length);
        assert!(stuffing.iter().all(|byte| *byte == 0xff));
        assert_eq!(crc(section), 0);
        assert_eq!(section[1] & 0xf0, 0xb0);
        assert_eq!(section[3..5], [0, 1]);
        assert_eq!((section[5] & 0xc1, &section[6..8]), (0xc1, &[0, 0][..]));
        let version = section[5] >> 1 & 31;
        let body = &section[8..section.len() - 4];
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]) & 0x1fff;
        if pid == 0 {
            assert_eq!((section[0], version, word(0)), (0, 0, 1));
            self.pmt = Some(word(2));
        } else {
            assert_eq!((section[0], &body[2..4]), (2, &[0xf0, 0][..]));
            let streams = body[4..].chunks(5).map(|entry| {
                assert_eq!(entry[3..], [0xf0, 0]);
                (u16::from_be_bytes([entry[1], entry[2]]) & 0x1fff, entry[0])
            });
            let program = Program { version, clock: word(0), streams: streams.collect() };
            self.items.push(Item::Program(program));
        }
    }
}

fn read_header(pid: u16, pcr: Option<u64>, random_access: bool, payload: &[u8]) -> Pes {
    assert_eq!(payload[..3], [0, 0, 1]);
    let length = usize::from(u16::from_be_bytes([payload[4], payload[5]]));
    assert_eq!(payload[6] & 0xc0, 0x80);
    let size = usize::from(payload[8]);
    let (header, data) = payload[9..].split_at(size);
    let (pts, dts) = match payload[7] {
        0x80 => (timestamp(2, header), timestamp(2, header)),
        0xc0 => (timestamp(3, &header[..5]), timestamp(1, &header[5..])),
        flags => panic!("flags {flags:#x}"),
    };
    let length = (length > 0).then(|| length - 3 - size);
    Pes { pid, stream_id: payload[3], pts, dts, pcr, random_access, data: data.to_vec(), length }
}

fn timestamp(prefix: u8, bytes: &[u8]) -> u64 {
    let &[a, b, c, d, e] = bytes else { panic!("five bytes") };
    assert_eq!((a >> 4, a & 1, c & 1, e & 1), (prefix, 1, 1, 1));
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
}

fn crc(bytes: &[u8]) -> u32 {
    let mut register = 0xffff_ffffu32;
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)) {
        let out = (register >> 31) as u8;
        register <<= 1;
        if out != bit {
            register ^= 0x04c1_1db7;
        }
    }
    register
}
