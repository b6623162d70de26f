//! The `onMetaData` of a publisher: collected over its messages, and encoded anew for the players.
//! Other script data passes by as frames and is not looked into.

use bytes::Bytes;
use media::{ByteReader, Kind, Tracks};

use super::Error;
use crate::amf0::{self, Properties, Value};

/// The most that the encoded metadata may take. A keyframe index of a long file is the largest honest one.
const MAX: usize = 256 * 1024;
/// The most properties; honest encoders send about twenty.
const MAX_PROPERTIES: usize = 1024;

/// What the publisher has told so far.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    properties: Properties,
}

impl Metadata {
    /// Takes the arguments of one more `onMetaData` in; later keys win. Returns the message for the players:
    /// `own` overrides the publisher, and what describes a finished file is left out.
    ///
    /// # Errors
    /// When there is no object, or the result grows beyond 256 KiB or 1024 properties; the earlier state stands.
    pub(super) fn merge(&mut self, arguments: &[u8], own: &[(&str, &str)]) -> Result<Bytes, Error> {
        let values = amf0::decode(arguments)?;
        let news = values.iter().find_map(Value::properties).ok_or(Error::Script)?;
        if self.properties.len() + news.len() > MAX_PROPERTIES {
            return Err(Error::TooLarge { what: "metadata", size: arguments.len() });
        }
        let mut merged = self.properties.clone();
        let texts = own.iter().map(|(key, text)| ((*key).to_owned(), Value::from(*text)));
        for (key, value) in news.iter().cloned().chain(texts) {
            match merged.iter_mut().find(|(old, _)| *old == key) {
                _ if matches!(key.as_str(), "duration" | "filesize") => {}
                Some((_, slot)) => *slot = value,
                None => merged.push((key, value)),
            }
        }
        let mut body = Vec::new();
        Value::from("onMetaData").encode(&mut body);
        let object = Value::EcmaArray(merged);
        object.encode(&mut body);
        if body.len() > MAX {
            return Err(Error::TooLarge { what: "metadata", size: body.len() });
        }
        if let Value::EcmaArray(merged) = object {
            self.properties = merged;
        }
        Ok(body.into())
    }
}

/// Media of this kind will come: there is a track, or the metadata tells of it, since sound without a sequence header has no
/// track before its first frame.
pub fn is_announced(tracks: &Tracks, kind: Kind) -> bool {
    let (track, name) = match kind {
        Kind::Video => (tracks.video(), "videocodecid"),
        Kind::Audio => (tracks.audio(), "audiocodecid"),
        Kind::Data => return false,
    };
    let told = || {
        let values = amf0::decode(tracks.metadata.as_deref()?).ok()?;
        let id = values.iter().find_map(|v| v.property(name))?;
        Some(id.as_str().is_some() || id.as_f64() > Some(0.0))
    };
    track.is_some() || told() == Some(true)
}

/// Splits script data into its name and where the rest begins. `None` when it does not start with a string.
pub(super) fn split_name(body: &[u8]) -> Option<(&[u8], usize)> {
    let mut r = ByteReader::new(body);
    if r.u8().ok()? != 2 {
        return None;
    }
    let length = r.u16().ok()?;
    let name = r.take(length.into()).ok()?;
    Some((name, r.position()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: Value) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    const OWN: [(&str, &str); 1] = [("server", "Oxcast")];

    #[test]
    fn later_keys_win_and_file_facts_go() {
        let mut metadata = Metadata::default();
        let first = Value::object([
            ("duration", 12.0.into()),
            ("width", 640.0.into()),
            ("server", "theirs".into()),
            ("filesize", 5.0.into()),
            ("encoder", "x".into()),
        ]);
        metadata.merge(&encode(first), &OWN).unwrap();
        let second = Value::ecma_array([("width", 1280.0.into()), ("height", 720.0.into())]);
        let body = metadata.merge(&encode(second), &OWN).unwrap();
        let want = Value::ecma_array([
            ("width", 1280.0.into()),
            ("server", "Oxcast".into()),
            ("encoder", "x".into()),
            ("height", 720.0.into()),
        ]);
        assert_eq!(amf0::decode(&body).unwrap(), [Value::from("onMetaData"), want]);
    }

    #[test]
    fn too_much_is_refused_and_the_earlier_stands() {
        let mut metadata = Metadata::default();
        let small = encode(Value::object([("a", 1.0.into())]));
        let before = metadata.merge(&small, &OWN).unwrap();
        let big = encode(Value::object([("b", "x".repeat(MAX).into())]));
        assert!(matches!(metadata.merge(&big, &OWN), Err(Error::TooLarge { .. })));
        assert_eq!(metadata.merge(&small, &OWN), Ok(before));
        assert_eq!(metadata.merge(&encode(Value::Null), &OWN), Err(Error::Script));
    }

    #[test]
    fn names() {
        assert_eq!(split_name(b"\x02\x00\x03abcrest"), Some((&b"abc"[..], 6)));
        assert_eq!(split_name(b"\x02\x00\x09abc"), None);
        assert_eq!(split_name(b"\x00"), None);
    }
}
