//! Takes the chunk stream of a peer apart. Memory follows the bytes received, never the lengths announced.

use bytes::{Bytes, BytesMut};
use media::ByteReader;

use super::aggregate::Aggregate;
use super::{DEFAULT_CHUNK_SIZE, EXTENDED, TIME_MASK};
use crate::Error;
use crate::message::{Message, kind};

/// How many chunk streams a peer may use. Real ones use four to eight.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// Reads messages out of a chunk stream that arrives in pieces of any size.
#[derive(Debug)]
pub struct Reader {
    chunk_size: u32,
    max_message: u32,
    streams: Vec<ChunkStream>,
    phase: Phase,
    /// Bytes that were taken for a repeated extended timestamp and are none; they come before the next input.
    spill: Held<4>,
    aggregate: Option<Aggregate>,
    /// Where small payloads are put side by side, so that not each of them costs an allocation.
    block: BytesMut,
    /// Payload bytes held in incomplete messages.
    incomplete: u64,
    /// Bytes read so far.
    at: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Gathering a chunk header.
    Header(Held<MAX_HEADER>),
    /// Gathering the extended timestamp of a chunk of the stream at `index`. On format 3 in the middle of a message it repeats
    /// the one of the message, unless the encoder is one that does not repeat it.
    Extended { index: usize, format: u8, seen: Held<4> },
    /// Reading `left` bytes of a chunk of the stream at `index`.
    Payload { index: usize, left: usize },
}

/// What the headers of one chunk stream have told so far.
#[derive(Debug)]
struct ChunkStream {
    id: u32,
    kind: u8,
    /// The last explicit header was of format 0, so its time field is absolute.
    absolute: bool,
    extended: bool,
    /// A message has begun and is incomplete.
    open: bool,
    stream: u32,
    length: u32,
    /// The last time field, extended or not, as written.
    field: u32,
    timestamp: u32,
    payload: Vec<u8>,
}

/// A few bytes, in place.
#[derive(Clone, Copy, Debug)]
struct Held<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

/// Basic header of three bytes, message header of eleven.
const MAX_HEADER: usize = 14;

/// Payloads up to this share blocks of [`BLOCK`] bytes, which live as long as the last of them.
const SMALL: usize = 8 * 1024;
const BLOCK: usize = 32 * 1024;

/// How far a buffer is reserved ahead of the bytes received.
const AHEAD: usize = 64 * 1024;

impl Reader {
    /// A reader that refuses messages longer than `max_message` bytes.
    pub fn new(max_message: u32) -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
            max_message,
            streams: Vec::new(),
            phase: Phase::Header(Held::EMPTY),
            spill: Held::EMPTY,
            aggregate: None,
            block: BytesMut::new(),
            incomplete: 0,
            at: 0,
        }
    }

    /// Changes the longest accepted message, in bytes, for messages that begin from now on.
    pub fn set_max_message(&mut self, max_message: u32) {
        self.max_message = max_message;
    }

    /// The peer's chunk size in bytes.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Reads from the front of `input` up to the end of the next message; `None` when `input` is used up before that.
    /// Call it until it says `None`. Set Chunk Size and Abort take effect here and are not handed out; the parts of an
    /// aggregate message come one by one; messages without a payload are dropped.
    ///
    /// Errors: everything in [`Error`] that has a place `at`. The reader is of no use after an error.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        loop {
            if let Some(part) = self.next_part()? {
                return Ok(Some(part));
            }
            let message = if self.spill.is_empty() {
                if input.is_empty() {
                    return Ok(None);
                }
                self.step(input)?
            } else {
                let spilled = std::mem::replace(&mut self.spill, Held::EMPTY);
                let mut rest = spilled.as_slice();
                let message = self.step(&mut rest)?;
                self.spill.extend(rest);
                message
            };
            match message {
                Some(message) if message.kind == kind::AGGREGATE => {
                    self.aggregate = Some(Aggregate::new(message));
                }
                Some(message) if message.kind == kind::SET_CHUNK_SIZE => self.set_chunk_size(&message)?,
                Some(message) if message.kind == kind::ABORT => self.abort(&message)?,
                Some(message) => return Ok(Some(message)),
                None => {}
            }
        }
    }

    /// The bytes held beyond the size of the type.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> usize {
        self.streams.iter().map(|stream| stream.payload.capacity()).sum::<usize>()
            + self.block.capacity()
            + self.streams.capacity() * size_of::<ChunkStream>()
    }

    /// One phase: uses at least one byte of `input`, which is not empty, or spills.
    fn step(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        match self.phase {
            Phase::Header(mut held) => {
                // Mostly the whole header is there.
                if held.is_empty()
                    && let Some((header, length)) = Header::parse(input)
                {
                    *input = input.get(length..).unwrap_or_default();
                    self.at += length as u64;
                    self.begin_chunk(header)?;
                    return Ok(None);
                }
                let byte = self.byte(input);
                held.push(byte);
                match Header::parse(held.as_slice()) {
                    Some((header, _)) => self.begin_chunk(header)?,
                    None => self.phase = Phase::Header(held),
                }
                Ok(None)
            }
            Phase::Extended { index, format, mut seen } => {
                let byte = self.byte(input);
                seen.push(byte);
                self.extend_time(index, format, seen);
                Ok(None)
            }
            Phase::Payload { index, left } => self.payload(index, left, input),
        }
    }

    fn byte(&mut self, input: &mut &[u8]) -> u8 {
        let Some((&first, rest)) = input.split_first() else { return 0 };
        *input = rest;
        self.at += 1;
        first
    }

    /// Applies a complete chunk header (§5.3.1).
    fn begin_chunk(&mut self, header: Header) -> Result<(), Error> {
        let (at, Header { cid, format, .. }) = (self.at, header);
        let index = match self.streams.iter().position(|stream| stream.id == cid) {
            Some(index) => index,
            // Format 1 is how librtmp opens the control stream for its pings.
            None if format >= 2 => return Err(Error::FreshChunkStream { cid, format, at }),
            None if self.streams.len() >= MAX_CHUNK_STREAMS => return Err(Error::TooManyChunkStreams { at }),
            None => {
                self.streams.push(ChunkStream::new(cid));
                self.streams.len() - 1
            }
        };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };

        let extended = header.time.map_or(stream.extended, |time| time == EXTENDED);
        if stream.open {
            let changed = header.length.is_some_and(|length| length != stream.length)
                || header.kind.is_some_and(|kind| kind != stream.kind);
            if format == 0 || changed {
                return Err(Error::Interrupted { cid, at });
            }
        } else {
            stream.stream = header.stream.unwrap_or(stream.stream);
            stream.length = header.length.unwrap_or(stream.length);
            stream.kind = header.kind.unwrap_or(stream.kind);
            if let Some(time) = header.time {
                stream.field = time;
                stream.extended = extended;
                stream.absolute = format == 0;
            }
            if stream.length > self.max_message {
                return Err(Error::MessageTooLarge { length: stream.length, max: self.max_message, at });
            }
        }
        if extended {
            self.phase = Phase::Extended { index, format, seen: Held::EMPTY };
        } else {
            self.begin_payload(index, format);
        }
        Ok(())
    }

    /// Applies an extended timestamp of which `seen` has arrived (§5.3.1.3).
    fn extend_time(&mut self, index: usize, format: u8, seen: Held<4>) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        if stream.open && format == 3 {
            let repeats = [stream.field, stream.timestamp]
                .iter()
                .any(|value| value.to_be_bytes().starts_with(seen.as_slice()));
            if !repeats {
                self.at -= seen.as_slice().len() as u64;
                self.spill.extend(seen.as_slice());
                self.begin_payload(index, format);
                return;
            }
        }
        if seen.as_slice().len() < 4 {
            self.phase = Phase::Extended { index, format, seen };
            return;
        }
        if !stream.open {
            stream.field = u32::from_be_bytes(seen.bytes);
        }
        self.begin_payload(index, format);
    }

    /// After the headers of a chunk: sets the time if a message begins with it, and goes on to its payload.
    fn begin_payload(&mut self, index: usize, format: u8) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        if !stream.open {
            // Format 3 repeats the step of the message before. After format 0 the step is that message's time itself
            // (§5.3.1.2.4), but when it is extended, encoders mean the absolute time.
            let absolute = format == 0 || (format == 3 && stream.absolute && stream.extended);
            let time = if absolute { stream.field } else { stream.timestamp.wrapping_add(stream.field) };
            stream.timestamp = time & TIME_MASK;
            stream.open = stream.length > 0;
        }
        let left = stream.left().min(self.chunk_size as usize);
        self.phase = if left == 0 { Phase::Header(Held::EMPTY) } else { Phase::Payload { index, left } };
    }

    fn payload(&mut self, index: usize, left: usize, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        let (taken, rest) = input.split_at(left.min(input.len()));
        *input = rest;
        self.at += taken.len() as u64;
        self.incomplete += taken.len() as u64;
        let max = 2 * u64::from(self.max_message);
        if self.incomplete > max {
            return Err(Error::TooMuchIncomplete { max, at: self.at });
        }

        let at_once = taken.len() == stream.length as usize && taken.len() <= SMALL;
        if at_once && matches!(stream.kind, kind::AUDIO | kind::VIDEO) {
            if self.block.capacity() - self.block.len() < taken.len() {
                self.block = BytesMut::with_capacity(BLOCK);
            }
            self.block.extend_from_slice(taken);
            let payload = self.block.split().freeze();
            return Ok(self.end_message(index, payload));
        }

        let room = stream.payload.capacity() - stream.payload.len();
        if room < taken.len() {
            let ahead = stream.payload.len().max(AHEAD).max(taken.len());
            stream.payload.reserve_exact(ahead.min(stream.left()));
        }
        stream.payload.extend_from_slice(taken);

        let left = left - taken.len();
        self.phase = if left == 0 { Phase::Header(Held::EMPTY) } else { Phase::Payload { index, left } };
        if stream.left() > 0 {
            return Ok(None);
        }
        let payload = Bytes::from(std::mem::take(&mut stream.payload));
        Ok(self.end_message(index, payload))
    }

    /// The message of the stream at `index` is complete.
    fn end_message(&mut self, index: usize, payload: Bytes) -> Option<Message> {
        let stream = self.streams.get_mut(index)?;
        stream.open = false;
        self.phase = Phase::Header(Held::EMPTY);
        self.incomplete = self.incomplete.saturating_sub(u64::from(stream.length));
        Some(Message { kind: stream.kind, timestamp: stream.timestamp, stream: stream.stream, payload })
    }

    fn set_chunk_size(&mut self, message: &Message) -> Result<(), Error> {
        let size = self.control_value(message)?;
        if !(DEFAULT_CHUNK_SIZE..=TIME_MASK).contains(&size) {
            return Err(Error::ChunkSize { size, at: self.at });
        }
        self.chunk_size = size;
        Ok(())
    }

    /// Drops the incomplete message of a chunk stream (§5.4.2).
    fn abort(&mut self, message: &Message) -> Result<(), Error> {
        let id = self.control_value(message)?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            self.incomplete = self.incomplete.saturating_sub(stream.payload.len() as u64);
            stream.payload = Vec::new();
            stream.open = false;
        }
        Ok(())
    }

    fn control_value(&self, message: &Message) -> Result<u32, Error> {
        let short = Error::ShortControl { kind: message.kind, at: self.at };
        ByteReader::new(&message.payload).u32().map_err(|_| short)
    }

    fn next_part(&mut self) -> Result<Option<Message>, Error> {
        let Some(aggregate) = &mut self.aggregate else { return Ok(None) };
        let part = aggregate.next_media().map_err(|_| Error::Aggregate { at: self.at })?;
        if part.is_none() {
            self.aggregate = None;
        }
        Ok(part)
    }
}

impl ChunkStream {
    fn new(id: u32) -> Self {
        Self {
            id,
            kind: 0,
            absolute: false,
            extended: false,
            open: false,
            stream: 0,
            length: 0,
            field: 0,
            timestamp: 0,
            payload: Vec::new(),
        }
    }

    /// Payload bytes that the open message still lacks.
    fn left(&self) -> usize {
        if self.open { (self.length as usize).saturating_sub(self.payload.len()) } else { 0 }
    }
}

/// A chunk header as written, less the extended timestamp; `None` for what its format leaves out.
#[derive(Clone, Copy, Debug)]
struct Header {
    cid: u32,
    format: u8,
    time: Option<u32>,
    length: Option<u32>,
    kind: Option<u8>,
    stream: Option<u32>,
}

impl Header {
    /// The header at the start of `bytes`, and its length; `None` when they do not hold all of it.
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut reader = ByteReader::new(bytes);
        let first = reader.u8().ok()?;
        let format = first >> 6;
        let cid = match first & 0x3f {
            0 => 64 + u32::from(reader.u8().ok()?),
            1 => 64 + u32::from(reader.u16().ok()?.swap_bytes()),
            cid => u32::from(cid),
        };
        let mut header = Self { cid, format, time: None, length: None, kind: None, stream: None };
        if format < 3 {
            header.time = Some(reader.u24().ok()?);
        }
        if format < 2 {
            header.length = Some(reader.u24().ok()?);
            header.kind = Some(reader.u8().ok()?);
        }
        if format < 1 {
            header.stream = Some(reader.u32().ok()?.swap_bytes());
        }
        Some((header, reader.position()))
    }
}

impl<const N: usize> Held<N> {
    const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// There is always room: nobody gathers more than `N` bytes.
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::Writer;

    /// All messages of `bytes`, or the error that ends them.
    fn read(reader: &mut Reader, mut bytes: &[u8]) -> Result<Vec<Message>, Error> {
        let mut messages = Vec::new();
        while let Some(message) = reader.read(&mut bytes)? {
            messages.push(message);
        }
        Ok(messages)
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Message>, Error> {
        read(&mut Reader::new(1 << 20), bytes)
    }

    /// A chunk header with a basic header of one byte.
    fn header(format: u8, cid: u8, time: u32, length: u32, kind: u8, stream: u32) -> Vec<u8> {
        let mut out = vec![format << 6 | cid];
        if format < 3 {
            out.extend_from_slice(&time.min(EXTENDED).to_be_bytes()[1..]);
        }
        if format < 2 {
            out.extend_from_slice(&length.to_be_bytes()[1..]);
            out.push(kind);
        }
        if format < 1 {
            out.extend_from_slice(&stream.to_le_bytes());
        }
        if time >= EXTENDED {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out
    }

    fn times(bytes: &[u8]) -> Vec<u32> {
        read_all(bytes).unwrap().iter().map(|message| message.timestamp).collect()
    }

    #[test]
    fn every_form_of_the_basic_header() {
        for (basic, cid) in [(vec![5], 5), (vec![0, 7], 71), (vec![1, 2, 1], 64 + 2 + 256)] {
            assert_eq!(Header::parse(&[&basic[..], &[0; 10]].concat()).map(|(h, _)| h.cid), None);
            assert_eq!(Header::parse(&[&basic[..], &[0; 11]].concat()).map(|(h, _)| h.cid), Some(cid));
            let message = [&basic[..], &[0, 0, 9, 0, 0, 1, 8, 1, 0, 0, 0, 0xee]].concat();
            let want = Message { kind: 8, timestamp: 9, stream: 1, payload: Bytes::from_static(&[0xee]) };
            assert_eq!(read_all(&message), Ok(vec![want]));
        }
    }

    #[test]
    fn formats_refer_to_the_message_before() {
        let mut bytes = [header(0, 4, 1000, 2, 9, 1), vec![1, 1]].concat();
        bytes.extend([header(1, 4, 40, 1, 8, 0), vec![2]].concat());
        bytes.extend([header(2, 4, 10, 0, 0, 0), vec![3]].concat());
        bytes.extend([header(3, 4, 0, 0, 0, 0), vec![4]].concat());
        let messages = read_all(&bytes).unwrap();
        let seen: Vec<_> =
            messages.iter().map(|m| (m.kind, m.timestamp, m.stream, m.payload.len())).collect();
        assert_eq!(seen, [(9, 1000, 1, 2), (8, 1040, 1, 1), (8, 1050, 1, 1), (8, 1060, 1, 1)]);
    }

    #[test]
    fn librtmp_opens_the_control_stream_with_format_1() {
        let ping = [header(1, 2, 5, 6, 4, 0), vec![0, 6, 0, 0, 0, 9]].concat();
        assert_eq!(times(&ping), [5]);
        for format in [2, 3] {
            let at = header(format, 2, 0, 0, 0, 0).len() as u64;
            assert_eq!(
                read_all(&header(format, 2, 0, 0, 0, 0)),
                Err(Error::FreshChunkStream { cid: 2, format, at })
            );
        }
    }

    #[test]
    fn extended_times_are_steps_after_format_0() {
        let big = EXTENDED + 7;
        let mut bytes = [header(0, 4, big, 1, 9, 1), vec![0xee]].concat();
        bytes.extend([header(1, 4, 20, 1, 9, 0), vec![0xee]].concat());
        bytes.extend([header(1, 4, big, 1, 9, 0), vec![0xee]].concat());
        bytes.extend([header(2, 4, big, 0, 0, 0), vec![0xee]].concat());
        // Format 3 repeats the step, and its extended field.
        bytes.extend([header(3, 4, big, 0, 0, 0), vec![0xee]].concat());
        assert_eq!(times(&bytes), [big, big + 20, 2 * big + 20, 3 * big + 20, 4 * big + 20]);

        let mut bytes = [header(0, 4, big, 1, 9, 1), vec![0xee]].concat();
        bytes.extend([header(3, 4, big + 40, 0, 0, 0), vec![0xee]].concat());
        assert_eq!(times(&bytes), [big, big + 40], "after format 0 the field is the time");
    }

    #[test]
    fn times_wrap_at_31_bits() {
        let mut bytes = [header(0, 4, TIME_MASK - 5, 1, 9, 1), vec![0xee]].concat();
        bytes.extend([header(1, 4, 10, 1, 9, 0), vec![0xee]].concat());
        bytes.extend([header(0, 4, 0x8000_0003, 1, 9, 1), vec![0xee]].concat());
        assert_eq!(times(&bytes), [TIME_MASK - 5, 4, 3]);
    }

    /// Encoders differ in whether chunks after the first repeat an extended timestamp; payloads that begin like it, and end
    /// right after, are the hard cases.
    #[test]
    fn the_extended_time_may_be_missing_from_continued_chunks() {
        let time: u32 = 0x0102_0304;
        for tail in [&[0xee; 9][..], &[1], &[1, 2], &[1, 2, 3], &[1, 2, 3, 0xee, 5], &[]] {
            let payload = [&[0xee; 128][..], tail].concat();
            for repeat in [true, false] {
                let mut bytes = header(0, 4, time, payload.len() as u32, 9, 1);
                bytes.extend_from_slice(&payload[..128]);
                if !tail.is_empty() {
                    bytes.push(0xc4);
                    if repeat {
                        bytes.extend_from_slice(&time.to_be_bytes());
                    }
                    bytes.extend_from_slice(tail);
                }
                bytes.extend([header(1, 4, 20, 2, 9, 0), vec![7, 8]].concat());
                bytes.extend([header(0, 5, 1, 2, 8, 1), vec![7, 8]].concat());
                for cut in 1..8 {
                    let mut reader = Reader::new(1 << 20);
                    let messages: Vec<_> =
                        bytes.chunks(cut).flat_map(|piece| read(&mut reader, piece).unwrap()).collect();
                    let seen: Vec<_> = messages.iter().map(|m| (m.timestamp, m.payload.len())).collect();
                    assert_eq!(seen, [(time, payload.len()), (time + 20, 2), (1, 2)], "{tail:?} {repeat}");
                    assert_eq!(messages[0].payload, payload);
                    assert_eq!(reader.at, bytes.len() as u64);
                }
            }
        }
    }

    #[test]
    fn a_message_is_not_interrupted() {
        let start = [header(0, 4, 0, 200, 9, 1), vec![0; 128]].concat();
        for header in [header(0, 4, 0, 200, 9, 1), header(1, 4, 0, 201, 9, 1), header(1, 4, 0, 200, 8, 1)] {
            let at = (start.len() + header.len()) as u64;
            assert_eq!(read_all(&[&start[..], &header].concat()), Err(Error::Interrupted { cid: 4, at }));
        }
        // The same header again is only clumsy.
        let clumsy = [&start[..], &header(1, 4, 0, 200, 9, 1), &[0; 72]].concat();
        assert_eq!(read_all(&clumsy).map(|messages| messages.len()), Ok(1));
    }

    #[test]
    fn an_aborted_message_is_gone() {
        let mut bytes = [header(0, 4, 0, 200, 9, 1), vec![0; 128]].concat();
        bytes.extend([header(0, 2, 0, 4, kind::ABORT, 0), vec![0, 0, 0, 4]].concat());
        bytes.extend([header(0, 4, 7, 1, 9, 1), vec![0xee]].concat());
        let mut reader = Reader::new(1 << 20);
        let messages = read(&mut reader, &bytes).unwrap();
        assert_eq!((messages.len(), messages[0].timestamp, reader.incomplete), (1, 7, 0));
    }

    #[test]
    fn empty_messages_are_dropped() {
        let bytes = [header(0, 4, 5, 0, 9, 1), header(0, 4, 6, 0, 9, 1), header(1, 4, 1, 1, 9, 0), vec![1]];
        assert_eq!(times(&bytes.concat()), [7]);
    }

    #[test]
    fn chunk_sizes_change_between_messages() {
        let mut writer = Writer::default();
        let mut bytes = Vec::new();
        for size in [128, 4096, 130, 70_000] {
            writer.write(2, kind::SET_CHUNK_SIZE, 0, &u32::to_be_bytes(size), &mut bytes);
            writer.set_chunk_size(size);
            writer.write(6, kind::VIDEO, 1, &[7; 9000], &mut bytes);
        }
        let messages = read_all(&bytes).unwrap();
        assert!(messages.len() == 4 && messages.iter().all(|m| m.payload == vec![7; 9000]));

        // In the middle of a message the new size holds from the next chunk on.
        let mut bytes = [header(0, 4, 0, 300, 9, 1), vec![1; 128]].concat();
        bytes.extend([header(0, 2, 0, 4, 1, 0), vec![0, 0, 4, 0], vec![0xc4], vec![1; 172]].concat());
        assert_eq!(read_all(&bytes).unwrap()[0].payload, vec![1; 300]);
    }

    #[test]
    fn absurd_chunk_sizes_are_refused() {
        for size in [0, 1, 127, 0x8000_0000, u32::MAX] {
            let bytes = [header(0, 2, 0, 4, 1, 0), size.to_be_bytes().to_vec()].concat();
            assert_eq!(read_all(&bytes), Err(Error::ChunkSize { size, at: 16 }));
        }
        let short = [header(0, 2, 0, 3, 1, 0), vec![0, 0, 1]].concat();
        assert_eq!(read_all(&short), Err(Error::ShortControl { kind: 1, at: 15 }));
    }

    #[test]
    fn absurd_lengths_reserve_nothing() {
        let mut reader = Reader::new(crate::chunk::MAX_MESSAGE);
        for cid in 2..64 {
            let bytes = [header(0, cid, 0, crate::chunk::MAX_MESSAGE, 9, 1), vec![0; 128]].concat();
            assert_eq!(read(&mut reader, &bytes), Ok(vec![]));
        }
        let reserved: usize = reader.streams.iter().map(|stream| stream.payload.capacity()).sum();
        assert!(reserved <= 62 * AHEAD, "{reserved}");

        let mut reader = Reader::new(1000);
        let bytes = header(0, 4, 0, 1001, 9, 1);
        assert_eq!(
            read(&mut reader, &bytes),
            Err(Error::MessageTooLarge { length: 1001, max: 1000, at: 12 })
        );
    }

    #[test]
    fn incomplete_messages_and_chunk_streams_are_bounded() {
        let mut reader = Reader::new(128 * 4);
        let outcome = (2..64).try_for_each(|cid| {
            read(&mut reader, &[header(0, cid, 0, 512, 9, 1), vec![0; 128]].concat()).map(|_| ())
        });
        assert!(matches!(outcome, Err(Error::TooMuchIncomplete { max: 1024, .. })));

        let mut reader = Reader::new(100);
        let outcome = (0..=255).try_for_each(|cid| {
            let message = [vec![0, cid, 0, 0, 0, 0, 0, 1, 9, 1, 0, 0, 0], vec![1]].concat();
            read(&mut reader, &message).map(|_| ())
        });
        assert!(matches!(outcome, Err(Error::TooManyChunkStreams { .. })));
        assert_eq!(reader.streams.len(), MAX_CHUNK_STREAMS);
    }

    #[test]
    fn payloads_are_copied_once_into_their_size() {
        for length in [1, 4000, 65_536, 70_000, 500_000] {
            let mut bytes = Vec::new();
            let mut writer = Writer::default();
            writer.set_chunk_size(100_000);
            writer.write(2, 1, 0, &[0, 1, 0x86, 0xa0], &mut bytes);
            let mut reader = Reader::new(1 << 20);
            read(&mut reader, &[header(0, 2, 0, 4, 1, 0), 100_000u32.to_be_bytes().to_vec()].concat())
                .unwrap();
            let mut bytes = Vec::new();
            writer.write(6, kind::VIDEO, 1, &vec![3; length], &mut bytes);
            let (last, most) = bytes.split_last().unwrap();
            most.chunks(1400).for_each(|piece| assert_eq!(read(&mut reader, piece), Ok(vec![])));
            let open = reader.streams.iter().find(|stream| stream.id == 6).unwrap();
            assert!(length == 1 || open.payload.capacity() <= length.min(2 * open.payload.len() + AHEAD));
            assert_eq!(read(&mut reader, &[*last]).unwrap()[0].payload.len(), length);
        }
    }

    #[test]
    fn an_idle_reader_is_small() {
        let mut reader = Reader::new(1 << 20);
        for cid in [2, 3, 4, 8] {
            read(&mut reader, &[header(0, cid, 0, 1, 20, 0), vec![1]].concat()).unwrap();
        }
        let size = size_of::<Reader>() + reader.footprint();
        assert!(size <= 640, "{size}");
    }

    #[test]
    fn aggregates_come_in_parts() {
        let part = |kind| [kind, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 0xee, 0, 0, 0, 12];
        let body = [part(9), part(8)].concat();
        let after = [header(0, 6, 3, 1, 8, 1), vec![1]].concat();
        let aggregate = |body: &[u8]| [&header(0, 5, 1000, body.len() as u32, 22, 1), body, &after].concat();
        assert_eq!(times(&aggregate(&body)), [1000, 1000, 3]);
        assert_eq!(read_all(&aggregate(&body[..20])), Err(Error::Aggregate { at: 32 }));
    }

    #[derive(Clone, Debug)]
    struct Sent {
        cid: u8,
        format: u8,
        time: u32,
        kind: u8,
        payload: Vec<u8>,
        repeat: bool,
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let time = prop_oneof![0u32..100, 0xff_fff0u32..0x100_0010, 0x7fff_fff0u32..0x8000_0000];
        (4u8..7, 0u8..4, time, 8u8..10, 1usize..400, any::<bool>()).prop_map(
            |(cid, format, time, kind, length, repeat)| Sent {
                cid,
                format,
                time,
                kind,
                payload: vec![0xee; length],
                repeat,
            },
        )
    }

    /// What an encoder with all habits writes, and what it means by it.
    fn lay(sent: &[Sent]) -> (Vec<u8>, Vec<Message>) {
        let (mut bytes, mut meant) = (Vec::new(), Vec::<(u8, Message)>::new());
        let mut fields = std::collections::HashMap::<u8, (u32, bool)>::new();
        for message in sent {
            let before = meant.iter().rev().find(|(cid, _)| *cid == message.cid).map(|(_, m)| m.clone());
            let Sent { cid, mut time, mut kind, mut payload, repeat, .. } = message.clone();
            let format = if before.is_some() { message.format } else { 0 };
            let mut timestamp = time;
            if let Some(before) = before.filter(|_| format > 0) {
                if format > 1 {
                    (kind, payload) = (before.kind, vec![0xee; before.payload.len()]);
                }
                let absolute =
                    format == 3 && fields[&cid] == (fields[&cid].0, true) && fields[&cid].0 >= EXTENDED;
                if format == 3 {
                    time = fields[&cid].0;
                }
                timestamp = if absolute { time } else { before.timestamp.wrapping_add(time) & TIME_MASK };
            }
            if format < 3 {
                fields.insert(cid, (time, format == 0));
            }
            let head = header(format, cid, time, payload.len() as u32, kind, 1);
            let mut pieces = payload.chunks(128);
            bytes.extend(head);
            bytes.extend_from_slice(pieces.next().unwrap());
            for piece in pieces {
                bytes.push(0xc0 | cid);
                if time >= EXTENDED && repeat {
                    bytes.extend_from_slice(&time.to_be_bytes());
                }
                bytes.extend_from_slice(piece);
            }
            meant.push((cid, Message { kind, timestamp, stream: 1, payload: payload.into() }));
        }
        (bytes, meant.into_iter().map(|(_, message)| message).collect())
    }

    proptest! {
        #[test]
        fn any_cut_gives_what_the_encoder_meant(sent in prop::collection::vec(sent(), 1..8),
                                                cuts in prop::collection::vec(1usize..200, 1..6)) {
            let (bytes, meant) = lay(&sent);
            let mut reader = Reader::new(1 << 20);
            let (mut rest, mut messages) = (bytes.as_slice(), Vec::new());
            for cut in cuts.iter().cycle() {
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                messages.extend(read(&mut reader, piece).unwrap());
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(messages, meant);
            prop_assert_eq!(reader.incomplete, 0);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..24, Just(0xff)], 0..600)) {
            crate::fuzz::chunk(&bytes);
        }
    }
}
