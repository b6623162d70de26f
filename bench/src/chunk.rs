//! RTMP chunks: a reader that turns any cut of the stream into messages, and a writer.
//!
//! Headers of all four formats and extended timestamps (RTMP 1.0, section 5.3). What the messages mean is `client`'s
//! business, except for the two that change how chunks are read.

use std::collections::HashMap;

/// Message type 1: the sender's new chunk size.
pub const SET_CHUNK_SIZE: u8 = 1;
/// Message type 2: the sender gives up a half-sent message.
pub const ABORT: u8 = 2;

const EXTENDED: u32 = 0xff_ffff;
/// Larger messages are taken for a broken stream.
const MAX_MESSAGE: usize = 16 << 20;

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Message type id: 8 audio, 9 video, 18 data, 20 command, 1 to 6 control.
    pub kind: u8,
    /// Timestamp in milliseconds.
    pub time: u32,
    /// Message stream id.
    pub stream: u32,
    /// The payload.
    pub body: Vec<u8>,
}

/// Reads chunks that arrive in pieces of any size.
pub struct Reader {
    pending: Vec<u8>,
    lanes: HashMap<u32, Lane>,
    size: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { pending: Vec::new(), lanes: HashMap::new(), size: 128 }
    }
}

impl Reader {
    /// Takes the next bytes and appends the messages they complete to `out`.
    ///
    /// # Errors
    /// When the bytes are not RTMP chunks.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Message>) -> Result<(), &'static str> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(used) = self.chunk(&pending[at..], out)? {
            at += used;
        }
        pending.drain(..at);
        self.pending = pending;
        Ok(())
    }

    /// Reads one chunk; `None` until it is complete. Nothing is changed before that.
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<Message>) -> Result<Option<usize>, &'static str> {
        let mut cursor = Cursor { bytes, at: 0 };
        let Some((format, id)) = cursor.basic_header() else { return Ok(None) };
        let lane = self.lanes.get(&id);
        if lane.is_none() && format > 1 {
            return Err("the first chunk of a chunk stream has no length");
        }
        let last = lane.map(|lane| lane.header).unwrap_or_default();
        let begins = lane.is_none_or(|lane| lane.body.is_empty());
        let Some(header) = cursor.message_header(format, begins, last) else { return Ok(None) };
        if header.length > MAX_MESSAGE {
            return Err("a message is too long");
        }
        let have = lane.map_or(0, |lane| lane.body.len());
        if have > header.length {
            return Err("a message shrinks while it is being sent");
        }
        let need = (header.length - have).min(self.size);
        let Some(part) = cursor.take(need) else { return Ok(None) };
        let lane = self.lanes.entry(id).or_default();
        lane.header = header;
        lane.body.extend_from_slice(part);
        if lane.body.len() == header.length {
            let body = std::mem::take(&mut lane.body);
            let message = Message { kind: header.kind, time: header.time, stream: header.stream, body };
            self.obey(&message)?;
            out.push(message);
        }
        Ok(Some(cursor.at))
    }

    fn obey(&mut self, message: &Message) -> Result<(), &'static str> {
        if !matches!(message.kind, SET_CHUNK_SIZE | ABORT) {
            return Ok(());
        }
        let value =
            message.body.first_chunk().copied().map(u32::from_be_bytes).ok_or("a short control message")?;
        if message.kind == ABORT {
            if let Some(lane) = self.lanes.get_mut(&value) {
                lane.body.clear();
            }
        } else if value == 0 || value > i32::MAX as u32 {
            return Err("an impossible chunk size");
        } else {
            self.size = value as usize;
        }
        Ok(())
    }
}

/// Appends `message` to `out` as chunks of at most `size` bytes, the first with a full header.
pub fn write(out: &mut Vec<u8>, lane: u8, size: usize, message: &Message) {
    let extended = message.time >= EXTENDED;
    out.push(lane & 0x3f);
    out.extend(&message.time.min(EXTENDED).to_be_bytes()[1..]);
    out.extend(&(message.body.len() as u32).to_be_bytes()[1..]);
    out.push(message.kind);
    out.extend(message.stream.to_le_bytes());
    let mut parts = message.body.chunks(size);
    if extended {
        out.extend(message.time.to_be_bytes());
    }
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.push(0xc0 | lane & 0x3f);
        if extended {
            out.extend(message.time.to_be_bytes());
        }
        out.extend_from_slice(part);
    }
}

#[derive(Default)]
struct Lane {
    header: Header,
    body: Vec<u8>,
}

#[derive(Default, Clone, Copy)]
struct Header {
    time: u32,
    delta: u32,
    extended: bool,
    length: usize,
    kind: u8,
    stream: u32,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(part)
    }

    fn number(&mut self, count: usize) -> Option<u32> {
        Some(self.take(count)?.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    /// Format and chunk stream id, section 5.3.1.1.
    fn basic_header(&mut self) -> Option<(u8, u32)> {
        let first = self.number(1)?;
        let id = match first & 0x3f {
            0 => 64 + self.number(1)?,
            1 => {
                let low = self.number(1)?;
                64 + low + (self.number(1)? << 8)
            }
            id => id,
        };
        Some(((first >> 6) as u8, id))
    }

    /// Message header and extended timestamp, sections 5.3.1.2 and 5.3.1.3, laid over what the lane last said.
    fn message_header(&mut self, format: u8, begins: bool, mut header: Header) -> Option<Header> {
        let mut clock = 0;
        if format < 3 {
            clock = self.number(3)?;
            header.extended = clock == EXTENDED;
        }
        if format < 2 {
            header.length = self.number(3)? as usize;
            header.kind = self.number(1)? as u8;
        }
        if format == 0 {
            header.stream = self.number(4)?.swap_bytes();
        }
        if header.extended {
            clock = self.number(4)?;
        }
        match format {
            0 => (header.time, header.delta) = (clock, 0),
            3 => {}
            _ => header.delta = clock,
        }
        if format != 0 && begins {
            header.time = header.time.wrapping_add(header.delta);
        }
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Message> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        pieces.iter().for_each(|piece| reader.push(piece, &mut out).unwrap());
        out
    }

    fn message(kind: u8, time: u32, body: Vec<u8>) -> Message {
        Message { kind, time, stream: 1, body }
    }

    #[test]
    fn short_headers_inherit_and_add_deltas() {
        let mut wire = Vec::new();
        write(&mut wire, 6, 128, &message(9, 1000, vec![7; 3]));
        wire.extend([0x46, 0, 0, 33, 0, 0, 2, 9, 1, 2]);
        wire.extend([0x86, 0, 0, 34, 3, 4]);
        wire.extend([0xc6, 5, 6]);
        let times: Vec<_> = read(&[&wire]).into_iter().map(|message| (message.time, message.body)).collect();
        assert_eq!(times, [(1000, vec![7; 3]), (1033, vec![1, 2]), (1067, vec![3, 4]), (1101, vec![5, 6])]);
    }

    #[test]
    fn wide_chunk_stream_ids_are_told_apart() {
        let mut wire = vec![0, 6, 0, 0, 9, 0, 0, 1, 8, 1, 0, 0, 0, 0xaa];
        wire.extend([1, 6, 1, 0, 0, 8, 0, 0, 1, 9, 1, 0, 0, 0, 0xbb]);
        let messages = read(&[&wire]);
        assert_eq!(messages, [message(8, 9, vec![0xaa]), message(9, 8, vec![0xbb])]);
    }

    #[test]
    fn a_first_chunk_without_length_is_refused() {
        assert!(Reader::default().push(&[0xc6, 1, 2, 3], &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(
            bodies in proptest::collection::vec((0u8..4, 0u32..0x200_0000, 0usize..700), 1..12),
            size in 1u32..300,
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut wire = Vec::new();
            let mut sent = vec![message(SET_CHUNK_SIZE, 0, size.to_be_bytes().to_vec())];
            write(&mut wire, 2, 128, &sent[0]);
            for (lane, time, length) in bodies {
                let next = message(8 + lane % 2, time, (0..length).map(|at| at as u8).collect());
                write(&mut wire, 4 + lane, size as usize, &next);
                sent.push(next);
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([wire.len()]) {
                pieces.push(&wire[from..cut]);
                from = cut;
            }
            prop_assert_eq!(read(&pieces), sent);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Reader::default().push(&bytes, &mut Vec::new());
        }
    }
}
