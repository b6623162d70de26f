//! Cuts the byte stream of an FLV file or of HTTP-FLV into tags, however the bytes arrive.
//! What the tags mean is read by `Demux`.

use bytes::{Buf, Bytes, BytesMut};

use super::{Error, FileHeader, TagKind};

/// A piece of an FLV stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The header of the stream; always the first item.
    Header(FileHeader),
    /// A tag.
    Tag {
        /// What it carries.
        kind: TagKind,
        /// Milliseconds.
        timestamp: u32,
        /// The body; shares the reader's buffer.
        body: Bytes,
    },
}

/// Reads an FLV stream. It holds at most one unfinished tag (16 MiB) beside what the last [`Reader::receive`]
/// brought, if the items are taken out after each.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    /// Bytes to pass over: a longer header, a back pointer, a tag of no interest.
    Skip(usize),
    Tag,
    Failed,
}

const FILE_HEADER: usize = 9;
const ENVELOPE: usize = 11;
const BACK_POINTER: usize = 4;
/// No header of version 1 is longer than 9 bytes; one that claims much more is not FLV.
const MAX_HEADER: usize = 1024;

impl Reader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream; ask for items until there is none.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next item, or `None` until more bytes arrive. Tags of unknown kind and encrypted ones are passed over.
    ///
    /// # Errors
    /// [`Error::Signature`] when the stream is not FLV; it stays so for good.
    pub fn poll_item(&mut self) -> Result<Option<Item>, Error> {
        loop {
            match self.state {
                State::Failed => return Err(Error::Signature),
                State::Header => {
                    let Some(bytes) = self.buffer.first_chunk::<FILE_HEADER>() else { return Ok(None) };
                    let Some((header, size)) = read_header(bytes) else {
                        self.state = State::Failed;
                        self.buffer = BytesMut::new();
                        return Err(Error::Signature);
                    };
                    self.state = State::Skip(size + BACK_POINTER);
                    return Ok(Some(Item::Header(header)));
                }
                State::Skip(left) => {
                    let now = left.min(self.buffer.len());
                    self.buffer.advance(now);
                    if now < left {
                        self.state = State::Skip(left - now);
                        return Ok(None);
                    }
                    self.state = State::Tag;
                }
                State::Tag => {
                    let Some(&[kind, s0, s1, s2, t0, t1, t2, t3, ..]) = self.buffer.first_chunk::<ENVELOPE>()
                    else {
                        return Ok(None);
                    };
                    let size = u32::from_be_bytes([0, s0, s1, s2]) as usize;
                    // Bit 5 marks encryption; with it no number below is a kind.
                    let Some(kind) = TagKind::from_number(kind & 0x3f) else {
                        self.state = State::Skip(ENVELOPE + size + BACK_POINTER);
                        continue;
                    };
                    if self.buffer.len() < ENVELOPE + size {
                        return Ok(None);
                    }
                    self.buffer.advance(ENVELOPE);
                    let body = self.buffer.split_to(size).freeze();
                    self.state = State::Skip(BACK_POINTER);
                    let timestamp = u32::from_be_bytes([t3, t0, t1, t2]);
                    return Ok(Some(Item::Tag { kind, timestamp, body }));
                }
            }
        }
    }
}

/// The header and its size in bytes.
fn read_header(bytes: &[u8; FILE_HEADER]) -> Option<(FileHeader, usize)> {
    let &[b'F', b'L', b'V', 1, flags, s0, s1, s2, s3] = bytes else { return None };
    let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
    let header = FileHeader { audio: flags & 4 != 0, video: flags & 1 != 0 };
    (FILE_HEADER..=MAX_HEADER).contains(&size).then_some((header, size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flv::{Header, Tag};

    fn stream() -> Vec<u8> {
        let mut out = FileHeader { audio: true, video: true }.to_bytes().to_vec();
        for (kind, time, body) in [
            (TagKind::Script, 0, &b"meta"[..]),
            (TagKind::Video, 0x0100_0000, b"picture"),
            (TagKind::Audio, 0xffff_ffff, b""),
        ] {
            let body = Bytes::copy_from_slice(body);
            Tag { kind, header: Header::default(), body }.write(time, &mut out);
        }
        // A kind of no interest, and an encrypted tag.
        for kind in [15, 0x29] {
            out.extend_from_slice(&[kind, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 7, 0, 0, 0, 13]);
        }
        Tag { kind: TagKind::Audio, header: Header::default(), body: Bytes::from_static(b"last") }
            .write(5, &mut out);
        out
    }

    fn drain(reader: &mut Reader, out: &mut Vec<Item>) -> Result<(), Error> {
        while let Some(item) = reader.poll_item()? {
            out.push(item);
        }
        Ok(())
    }

    fn tag(kind: TagKind, timestamp: u32, body: &'static [u8]) -> Item {
        Item::Tag { kind, timestamp, body: Bytes::from_static(body) }
    }

    #[test]
    fn reads_a_stream() {
        let (mut reader, mut items) = (Reader::new(), Vec::new());
        reader.receive(&stream());
        drain(&mut reader, &mut items).unwrap();
        assert_eq!(
            items,
            [
                Item::Header(FileHeader { audio: true, video: true }),
                tag(TagKind::Script, 0, b"meta"),
                tag(TagKind::Video, 0x0100_0000, b"picture"),
                tag(TagKind::Audio, 0xffff_ffff, b""),
                tag(TagKind::Audio, 5, b"last"),
            ]
        );
    }

    #[test]
    fn another_stream_fails_for_good() {
        let mut reader = Reader::new();
        reader.receive(b"HTTP/1.1 200 OK");
        assert_eq!(reader.poll_item(), Err(Error::Signature));
        reader.receive(&stream());
        assert_eq!(reader.poll_item(), Err(Error::Signature));
        let mut long = Reader::new();
        long.receive(b"FLV\x01\x05\x7f\xff\xff\xff");
        assert_eq!(long.poll_item(), Err(Error::Signature));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_items(cuts in prop::collection::vec(1usize..12, 0..60)) {
            let bytes = stream();
            let mut whole = (Reader::new(), Vec::new());
            whole.0.receive(&bytes);
            drain(&mut whole.0, &mut whole.1).unwrap();
            let (mut reader, mut items, mut rest) = (Reader::new(), Vec::new(), &bytes[..]);
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                reader.receive(now);
                drain(&mut reader, &mut items).unwrap();
                rest = later;
            }
            reader.receive(rest);
            drain(&mut reader, &mut items).unwrap();
            prop_assert_eq!(items, whole.1);
        }
    }
}
