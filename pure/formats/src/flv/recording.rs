//! What a recorded file begins with, and what is patched into it when it is complete: its size and its length, which nobody knows before.

use bytes::Bytes;
use media::Micros;

use super::{FileHeader, Header, Tag, TagKind};
use crate::amf0::{self, Value};

/// The beginning of a file: its header and its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where in them the eight bytes of `filesize` are.
    filesize: u64,
    /// The same of `duration`.
    duration: u64,
}

/// The eight bytes of `filesize`, then `"duration"` with its length and the marker of a number, its eight bytes, and the end of the array.
const FROM_FILESIZE: usize = 8 + 10 + 1 + FROM_DURATION;
const FROM_DURATION: usize = 8 + 3;

impl Opening {
    /// Of a stream with this metadata; `service` is who records.
    pub fn new(metadata: Option<&[u8]>, service: &str) -> Self {
        let known = metadata.and_then(|metadata| amf0::decode(metadata).ok()).unwrap_or_default();
        let known = known.iter().find_map(Value::properties).unwrap_or_default();
        let is_ours = |name: &str| matches!(name, "duration" | "filesize" | "service");
        let mut all: Vec<_> = known.iter().filter(|(name, _)| !is_ours(name)).cloned().collect();
        all.push(("service".to_owned(), Value::from(service)));
        // The last ones, so that it is plain where they are.
        all.push(("filesize".to_owned(), 0.0.into()));
        all.push(("duration".to_owned(), 0.0.into()));
        let mut body = Vec::new();
        Value::from("onMetaData").encode(&mut body);
        Value::EcmaArray(all).encode(&mut body);
        let mut bytes = FileHeader { audio: true, video: true }.to_bytes().to_vec();
        let tag = Tag { kind: TagKind::Script, header: Header::default(), body: Bytes::from(body) };
        tag.write(0, &mut bytes);
        let end = bytes.len().saturating_sub(tag.trailer().len());
        let at = |back: usize| end.saturating_sub(back) as u64;
        Self { filesize: at(FROM_FILESIZE), duration: at(FROM_DURATION), bytes }
    }

    /// The one that a file of ours begins with, whether it has been patched or not; `None` if it is none.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let mut reader = super::Reader::new();
        reader.receive(bytes);
        let mut size = FileHeader { audio: true, video: true }.to_bytes().len();
        reader.poll_item().ok().flatten()?;
        let Ok(Some(super::Item::Tag { kind: TagKind::Script, body, .. })) = reader.poll_item() else {
            return None;
        };
        size += body.len().saturating_add(15);
        let values = amf0::decode(&body).ok()?;
        let service = values.iter().find_map(|value| value.property("service"))?.as_str()?;
        let opening = Self::new(Some(&body), service);
        let mut plain = bytes.get(..size)?.to_vec();
        for at in [opening.filesize, opening.duration] {
            plain.get_mut(at as usize..at as usize + 8)?.fill(0);
        }
        (plain == opening.bytes).then_some(opening)
    }

    /// What is to be written where when the file is complete.
    pub fn patches(&self, size: u64, length: Micros) -> [(u64, [u8; 8]); 2] {
        let seconds = length.0 as f64 / 1e6;
        [(self.filesize, (size as f64).to_be_bytes()), (self.duration, seconds.to_be_bytes())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::{Item, Reader};

    fn metadata(bytes: &[u8]) -> Vec<Value> {
        let mut reader = Reader::new();
        reader.receive(bytes);
        assert!(matches!(reader.poll_item(), Ok(Some(Item::Header(_)))));
        let Ok(Some(Item::Tag { kind: TagKind::Script, timestamp: 0, body })) = reader.poll_item() else {
            panic!()
        };
        amf0::decode(&body).unwrap()
    }

    #[test]
    fn size_and_length_are_patched_in() {
        let mut told = Vec::new();
        Value::from("onMetaData").encode(&mut told);
        let array = [("width", 640.0.into()), ("duration", 7.0.into()), ("service", "theirs".into())];
        Value::ecma_array(array).encode(&mut told);
        for (told, width) in [(Some(&told[..]), Some(640.0)), (None, None), (Some(b"junk"), None)] {
            let opening = Opening::new(told, "Oxcast");
            assert_eq!(Opening::find(&opening.bytes).as_ref(), Some(&opening));
            let mut file = opening.bytes.clone();
            for (at, bytes) in opening.patches(123_456, Micros::from_millis(2500)) {
                file[at as usize..at as usize + 8].copy_from_slice(&bytes);
            }
            assert_eq!(Opening::find(&file).as_ref(), Some(&opening));
            let values = metadata(&file);
            let number = |name| values[1].property(name).and_then(Value::as_f64);
            assert_eq!((number("filesize"), number("duration")), (Some(123_456.0), Some(2.5)));
            assert_eq!(number("width"), width);
            assert_eq!(values[1].property("service").and_then(Value::as_str), Some("Oxcast"));
            let names: Vec<_> =
                values[1].properties().unwrap().iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names[names.len() - 3..], ["service", "filesize", "duration"]);
        }
        assert_eq!(Opening::find(b"FLV\x01\x05\0\0\0\x09\0\0\0\0"), None);
    }
}
