//! A player of MPEG-TS of our own, over HTTP and WebSocket. It holds the server to ISO/IEC 13818-1: whole packets, counters without
//! gaps, tables before what they list. What it sees can be told apart by number, as in `media`.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use ::media::Kind;
use bytes::Bytes;

use crate::dialogue::{Dialogue, Head};
use crate::media::{MARK, Player, Seen};

/// What a stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Program(Program),
    Pes(Pes),
    /// Packets are missing.
    Gap,
}

/// A PMT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub version: u8,
    /// The PID of the clock.
    pub clock: u16,
    /// PID and stream type.
    pub streams: Vec<(u16, u8)>,
}

/// A PES packet; times are ticks of 90 kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pes {
    pub kind: Kind,
    pub pts: u64,
    pub dts: u64,
    pub pcr: Option<u64>,
    pub random_access: bool,
    pub data: Vec<u8>,
    /// How much data it has announced, if it has.
    length: Option<usize>,
}

impl Pes {
    fn is_whole(&self) -> bool {
        self.length == Some(self.data.len())
    }

    /// The decoding time in milliseconds.
    pub fn ms(&self) -> u32 {
        (self.dts / 90) as u32
    }

    /// The picture or the frame of sound, for those of `media`.
    #[track_caller]
    fn seen(&self) -> Seen {
        let at = self.data.windows(MARK.len()).position(|w| w == MARK).expect("a foreign frame");
        let number = at + MARK.len();
        let number = u32::from_be_bytes(self.data[number..number + 4].try_into().unwrap());
        match self.kind {
            Kind::Video => Seen::Picture(number, self.random_access),
            _ => Seen::Sound(number),
        }
    }
}

const PACKET: usize = 188;

/// H.264 as the tables list it: PID and stream type.
pub const H264: (u16, u8) = (0x100, 0x1b);

/// AAC as the tables list it.
pub const AAC: (u16, u8) = (0x101, 0x0f);

/// MP3 of 32 kHz or more as the tables list it.
pub const MP3: (u16, u8) = (0x102, 0x03);

/// Reads a transport stream from any cut of its bytes.
#[derive(Default)]
pub struct Reader {
    raw: Vec<u8>,
    counters: HashMap<u16, u8>,
    pmt: Option<u16>,
    program: Option<Program>,
    /// PES packets whose end has not come.
    open: HashMap<u16, Pes>,
    items: VecDeque<Item>,
    /// How often packets were missing.
    pub gaps: u32,
}

/// All that whole packets contain.
#[track_caller]
pub fn read(packets: &[u8]) -> Vec<Item> {
    let mut reader = Reader::default();
    reader.receive(packets);
    reader.finish();
    assert_eq!((reader.raw.len(), reader.gaps), (0, 0), "half a packet, or packets are missing");
    reader.items.into()
}

impl Reader {
    #[track_caller]
    fn receive(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        let whole = self.raw.len() / PACKET * PACKET;
        let packets: Vec<u8> = self.raw.drain(..whole).collect();
        packets.chunks(PACKET).for_each(|packet| self.packet(packet));
    }

    /// What ends where the stream ends.
    fn finish(&mut self) {
        let open: Vec<_> = self.open.drain().collect();
        self.items.extend(open.into_iter().map(|(_, pes)| Item::Pes(pes)));
    }

    #[track_caller]
    fn packet(&mut self, packet: &[u8]) {
        assert_eq!(packet[0], 0x47, "not in step");
        let (starts, pid) = (packet[1] & 0x40 != 0, u16::from_be_bytes([packet[1] & 0x1f, packet[2]]));
        assert_eq!(packet[3] & 0xd0, 0x10, "scrambled, or without payload");
        let counter = packet[3] & 0x0f;
        let before = self.counters.insert(pid, counter);
        if before.is_some_and(|before| counter != (before + 1) % 16) {
            self.gaps += 1;
            // What is open may not be whole.
            self.open.clear();
            self.items.push_back(Item::Gap);
        }
        let field = if packet[3] & 0x20 == 0 { 0 } else { usize::from(packet[4]) + 1 };
        let (field, payload) = packet[4..].split_at(field);
        if pid == 0 {
            self.pmt = Some(u16::from_be_bytes([payload[11] & 0x1f, payload[12]]));
        } else if Some(pid) == self.pmt {
            self.section(payload);
        } else if starts {
            self.items.extend(self.open.remove(&pid).map(Item::Pes));
            let pes = self.start(pid, field, payload);
            self.open.insert(pid, pes);
        } else if let Some(pes) = self.open.get_mut(&pid) {
            pes.data.extend_from_slice(payload);
        }
        if self.open.get(&pid).is_some_and(Pes::is_whole) {
            self.items.extend(self.open.remove(&pid).map(Item::Pes));
        }
    }

    fn section(&mut self, payload: &[u8]) {
        let end = 4 + usize::from(u16::from_be_bytes([payload[2] & 0x0f, payload[3]])) - 4;
        let pid = |at: usize| u16::from_be_bytes([payload[at] & 0x1f, payload[at + 1]]);
        let streams = (13..end).step_by(5).map(|at| (pid(at + 1), payload[at])).collect();
        let program = Program { version: payload[6] >> 1 & 31, clock: pid(9), streams };
        self.program = Some(program.clone());
        self.items.push_back(Item::Program(program));
    }

    #[track_caller]
    fn start(&self, pid: u16, field: &[u8], payload: &[u8]) -> Pes {
        let program = self.program.as_ref().expect("the program comes first");
        assert!(program.streams.iter().any(|(listed, _)| *listed == pid), "{pid:#x} is not in {program:?}");
        assert_eq!(payload[..3], [0, 0, 1], "no PES packet");
        let flags = field.get(1).copied().unwrap_or_default();
        let pcr = (flags & 0x10 != 0).then(|| {
            assert_eq!(program.clock, pid, "another clock than was told");
            let base = u32::from_be_bytes(field[2..6].try_into().unwrap());
            u64::from(base) << 1 | u64::from(field[6] >> 7)
        });
        let ticks = |at: usize| {
            let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|n| u64::from(payload[at + n]));
            (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
        };
        let data = 9 + usize::from(payload[8]);
        let length = usize::from(u16::from_be_bytes([payload[4], payload[5]]));
        Pes {
            kind: if payload[3] == 0xe0 { Kind::Video } else { Kind::Audio },
            pts: ticks(9),
            dts: ticks(if payload[7] & 0x40 == 0 { 9 } else { 14 }),
            pcr,
            random_access: flags & 0x40 != 0,
            data: payload[data..].to_vec(),
            length: (length > 0).then(|| length + 6 - data),
        }
    }
}

/// See the module.
pub struct Ts {
    /// The connection.
    pub dialogue: Dialogue,
    websocket: bool,
    reader: Reader,
    /// The bytes of the body so far.
    pub body: Vec<u8>,
    ended: bool,
}

const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

impl Ts {
    /// Plays over HTTP.
    #[track_caller]
    pub fn open(at: SocketAddr, path: &str) -> Self {
        let (player, head) = Self::ask(at, path, &[]);
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        player
    }

    /// Plays over WebSocket.
    #[track_caller]
    pub fn websocket(at: SocketAddr, path: &str) -> Self {
        let (player, head) = Self::ask(at, path, &UPGRADE);
        assert_eq!(head.status, 101, "{head:?}");
        Self { websocket: true, ..player }
    }

    #[track_caller]
    fn ask(at: SocketAddr, path: &str, lines: &[&str]) -> (Self, Head) {
        let mut dialogue = Dialogue::ask(at, &format!("GET {path}"), lines);
        let head = dialogue.head();
        let (reader, body) = (Reader::default(), Vec::new());
        (Self { dialogue, websocket: false, reader, body, ended: false }, head)
    }

    /// The next item; `None` at the end, which must come as it should: with the last chunk, or with a goodbye.
    #[track_caller]
    pub fn item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.reader.items.pop_front() {
                return Some(item);
            }
            if self.ended {
                return None;
            }
            let piece = match self.websocket {
                false => self.dialogue.chunk(),
                true => match self.dialogue.message() {
                    (2, piece) => piece,
                    (8, code) => {
                        assert_eq!(code, [0x03, 0xe9], "going away");
                        Vec::new()
                    }
                    other => panic!("{other:?}"),
                },
            };
            if piece.is_empty() {
                self.ended = true;
                self.reader.finish();
                assert_eq!(self.dialogue.rest(), b"", "something comes behind the end");
            }
            self.body.extend_from_slice(&piece);
            self.reader.receive(&piece);
        }
    }

    /// The next PES packet; `None` at the end.
    #[track_caller]
    pub fn pes(&mut self) -> Option<Pes> {
        loop {
            if let Item::Pes(pes) = self.item()? {
                return Some(pes);
            }
        }
    }

    /// The next tables.
    #[track_caller]
    pub fn program(&mut self) -> Program {
        loop {
            match self.item() {
                Some(Item::Program(program)) => return program,
                Some(_) => {}
                None => panic!("the stream has ended"),
            }
        }
    }

    /// All items to the end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Item> {
        std::iter::from_fn(|| self.item()).collect()
    }

    /// How often packets were missing so far.
    pub fn gaps(&self) -> u32 {
        self.reader.gaps
    }
}

impl Player for Ts {
    fn next(&mut self) -> Option<(Seen, u32, Bytes)> {
        let pes = self.pes()?;
        Some((pes.seen(), pes.ms(), pes.data.into()))
    }
}
