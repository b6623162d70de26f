//! Aggregate messages (§7.1.6): many messages of a stream in one, each laid like an FLV tag.

use bytes::Bytes;
use media::{ByteReader, Truncated};

use super::TIME_MASK;
use crate::message::{Message, kind};

/// An aggregate message that is being taken apart.
#[derive(Debug)]
pub(super) struct Aggregate {
    rest: Bytes,
    stream: u32,
    timestamp: u32,
    /// The time of the first part, on the parts' own time line.
    first: Option<u32>,
}

impl Aggregate {
    pub(super) fn new(message: Message) -> Self {
        Self { rest: message.payload, stream: message.stream, timestamp: message.timestamp, first: None }
    }

    /// The next audio or video message; other parts have no use. `None` at the end.
    ///
    /// Errors: the message ends inside a part.
    pub(super) fn next_media(&mut self) -> Result<Option<Message>, Truncated> {
        while !self.rest.is_empty() {
            let part = self.next()?;
            if matches!(part.kind, kind::AUDIO | kind::VIDEO) && !part.payload.is_empty() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// The next part, shifted so that the first one has the time of the whole.
    fn next(&mut self) -> Result<Message, Truncated> {
        let mut reader = ByteReader::new(&self.rest);
        let kind = reader.u8()?;
        let length = reader.u24()? as usize;
        let low = reader.u24()?;
        let time = u32::from(reader.u8()?) << 24 | low;
        // The stream id of a part means nothing.
        reader.u24()?;
        let start = reader.position();
        reader.take(length)?;
        let payload = self.rest.slice(start..start + length);
        // The size of the part follows it; the last one may lack it.
        let end = self.rest.len().min(start + length + 4);
        self.rest = self.rest.slice(end..);
        let first = *self.first.get_or_insert(time);
        let timestamp = self.timestamp.wrapping_add(time.wrapping_sub(first)) & TIME_MASK;
        Ok(Message { kind, timestamp, stream: self.stream, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: u8, time: u32, body: &[u8]) -> Vec<u8> {
        let [high, t2, t1, t0] = time.to_be_bytes();
        let [_, l2, l1, l0] = (body.len() as u32).to_be_bytes();
        let previous = (body.len() as u32 + 11).to_be_bytes();
        [&[kind, l2, l1, l0, t2, t1, t0, high, 0, 0, 0], body, &previous].concat()
    }

    fn media(body: &[u8]) -> Result<Vec<(u8, u32, u32)>, Truncated> {
        let payload = Bytes::copy_from_slice(body);
        let mut aggregate = Aggregate::new(Message { kind: 22, timestamp: 1000, stream: 1, payload });
        let mut seen = Vec::new();
        while let Some(part) = aggregate.next_media()? {
            seen.push((part.kind, part.timestamp, part.stream));
        }
        Ok(seen)
    }

    #[test]
    fn the_parts_follow_the_time_of_the_whole() {
        let parts = [
            part(9, 0x0200_0010, b"v"),
            part(18, 0x0200_0010, b"data"),
            part(8, 0x0200_0000, b"a"),
            part(8, 0x0200_0030, b"b"),
        ]
        .concat();
        let want = vec![(9, 1000, 1), (8, 984, 1), (8, 1032, 1)];
        assert_eq!(media(&parts), Ok(want.clone()));
        assert_eq!(media(&parts[..parts.len() - 4]), Ok(want), "the last size may be missing");
        assert_eq!(media(&parts[..20]), Err(Truncated { at: 4 }));
    }
}
