//! FLV: a reader that turns any cut of a file or HTTP body into tags (FLV specification 10.1, annex E).

const HEADER: usize = 9;
const TAG_HEADER: usize = 11;
const TRAILER: usize = 4;

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// 8 audio, 9 video, 18 script data; the same numbers as RTMP message types.
    pub kind: u8,
    /// Timestamp in milliseconds.
    pub time: u32,
    /// The payload.
    pub body: Vec<u8>,
}

/// Reads tags that arrive in pieces of any size.
#[derive(Default)]
pub struct Reader {
    pending: Vec<u8>,
    begun: bool,
}

impl Reader {
    /// Takes the next bytes and appends the tags they complete to `out`.
    ///
    /// # Errors
    /// When the stream does not start with an FLV header or a tag has an unknown type.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Tag>) -> Result<(), &'static str> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        if !self.begun {
            if self.pending.len() < HEADER + TRAILER {
                return Ok(());
            }
            if !self.pending.starts_with(b"FLV") {
                return Err("no FLV header");
            }
            (self.begun, at) = (true, HEADER + TRAILER);
        }
        while let Some((tag, used)) = read_tag(&self.pending[at..])? {
            out.push(tag);
            at += used;
        }
        self.pending.drain(..at);
        Ok(())
    }
}

fn read_tag(bytes: &[u8]) -> Result<Option<(Tag, usize)>, &'static str> {
    let Some(header) = bytes.first_chunk::<TAG_HEADER>() else { return Ok(None) };
    let kind = header[0];
    if !matches!(kind, 8 | 9 | 18) {
        return Err("an unknown FLV tag type");
    }
    let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
    let time = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
    let used = TAG_HEADER + length + TRAILER;
    if bytes.len() < used {
        return Ok(None);
    }
    let body = bytes[TAG_HEADER..TAG_HEADER + length].to_vec();
    Ok(Some((Tag { kind, time, body }, used)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(tags: &[Tag]) -> Vec<u8> {
        let mut out = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        for tag in tags {
            let length = tag.body.len() as u32;
            let [high, time @ ..] = tag.time.to_be_bytes();
            out.push(tag.kind);
            out.extend(&length.to_be_bytes()[1..]);
            out.extend(time);
            out.extend([high, 0, 0, 0]);
            out.extend_from_slice(&tag.body);
            out.extend((length + 11).to_be_bytes());
        }
        out
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_tags(
            tags in proptest::collection::vec((any::<bool>(), any::<u32>(), 0usize..300), 1..8),
            piece in 1usize..50,
        ) {
            let tags: Vec<_> = tags
                .into_iter()
                .map(|(video, time, length)| Tag { kind: 8 + u8::from(video), time, body: vec![5; length] })
                .collect();
            let (mut reader, mut read) = (Reader::default(), Vec::new());
            for piece in file(&tags).chunks(piece) {
                reader.push(piece, &mut read).unwrap();
            }
            prop_assert_eq!(read, tags);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::default().push(&bytes, &mut Vec::new());
            let _ = Reader::default().push(&[b"FLV\x01\x05\0\0\0\x09\0\0\0\0", bytes.as_slice()].concat(), &mut Vec::new());
        }
    }
}
