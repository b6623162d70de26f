//! AMF0 values: the language of RTMP commands and of FLV metadata (Action Message Format 0, Adobe, December 2007).
//!
//! Only values live here; what a command or a metadata object means belongs to those who read it.

use media::{ByteReader, Truncated};

/// How deep objects and arrays may nest. Real messages use three levels; deeper ones attack the stack.
pub const MAX_DEPTH: usize = 16;

/// How many values one call decodes. The longest honest messages are metadata with a keyframe index of a long file.
pub const MAX_VALUES: usize = 16_384;

/// Named values in the order of the wire.
pub type Properties = Vec<(String, Value)>;

/// One AMF0 value. Objects keep the order of their properties, because some peers depend on it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Number, marker 0x00 (§2.2).
    Number(f64),
    /// Boolean, marker 0x01 (§2.3).
    Boolean(bool),
    /// String, marker 0x02, or long string, marker 0x0C (§2.4, §2.14). Bytes that are not UTF-8 become U+FFFD.
    String(String),
    /// Anonymous object, marker 0x03 (§2.5).
    Object(Properties),
    /// ECMA array, marker 0x08 (§2.10).
    EcmaArray(Properties),
    /// Strict array, marker 0x0A (§2.12).
    StrictArray(Vec<Value>),
    /// Date, marker 0x0B (§2.13).
    Date {
        /// Milliseconds since 1970-01-01 UTC.
        millis: f64,
        /// The time zone in minutes; reserved, and zero when written as specified.
        zone: i16,
    },
    /// XML document, marker 0x0F (§2.17).
    XmlDocument(String),
    /// Object of a named class, marker 0x10 (§2.18).
    TypedObject {
        /// The name of the class.
        class: String,
        /// The properties.
        properties: Properties,
    },
    /// Null, marker 0x05 (§2.7).
    Null,
    /// Undefined, marker 0x06 (§2.8).
    Undefined,
    /// What the writer could not say, marker 0x0D (§2.15).
    Unsupported,
}

/// Why bytes are not AMF0. Offsets are in bytes from the start of the reader's input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ends inside a value.
    #[error("AMF0 {0}")]
    Truncated(#[from] Truncated),
    /// A marker that is reserved, that refers to another value (0x07), or that switches to AMF3 (0x11).
    #[error("AMF0 marker {marker:#04x} at byte {at} is not accepted")]
    Marker {
        /// The marker.
        marker: u8,
        /// Where it stands.
        at: usize,
    },
    /// More than [`MAX_DEPTH`] levels.
    #[error("AMF0 nests deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// Where the first value too deep starts.
        at: usize,
    },
    /// More than [`MAX_VALUES`] values.
    #[error("AMF0 holds more than {MAX_VALUES} values at byte {at}")]
    TooMany {
        /// Where the first value too many starts.
        at: usize,
    },
}

/// All values of `bytes`.
///
/// Errors: see [`Error`]. Tolerated, since encoders write them so: a wrong count of an ECMA array, and an object that ends
/// with the input instead of its end marker.
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut reader = ByteReader::new(bytes);
    let mut budget = MAX_VALUES;
    let mut values = Vec::new();
    while reader.left() > 0 {
        values.push(value(&mut reader, 0, &mut budget)?);
    }
    Ok(values)
}

/// The next value of `reader`, with the tolerances of [`decode`].
pub fn decode_one(reader: &mut ByteReader<'_>) -> Result<Value, Error> {
    value(reader, 0, &mut { MAX_VALUES })
}

impl Value {
    /// An object with these properties.
    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::Object(owned(properties))
    }

    /// An ECMA array with these properties.
    pub fn ecma_array<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::EcmaArray(owned(properties))
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, also of a boolean (0 or 1), which some encoders write for one another.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Boolean(boolean) => Some(f64::from(u8::from(*boolean))),
            _ => None,
        }
    }

    /// The truth of a boolean, or of a number (not zero).
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(boolean) => Some(*boolean),
            Self::Number(number) => Some(*number != 0.0),
            _ => None,
        }
    }

    /// The properties of an object, a typed object or an ECMA array.
    pub fn properties(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) | Self::TypedObject { properties, .. } => {
                Some(properties)
            }
            _ => None,
        }
    }

    /// The first property called `name`.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties()?.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Appends the value to `out`. Names longer than 65,535 bytes are cut, since the wire has no longer ones.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(marker::NUMBER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Boolean(boolean) => out.extend_from_slice(&[marker::BOOLEAN, u8::from(*boolean)]),
            Self::String(text) => match u16::try_from(text.len()) {
                Ok(_) => {
                    out.push(marker::STRING);
                    encode_name(text, out);
                }
                Err(_) => {
                    out.push(marker::LONG_STRING);
                    encode_long(text, out);
                }
            },
            Self::Object(properties) => {
                out.push(marker::OBJECT);
                encode_properties(properties, out);
            }
            Self::EcmaArray(properties) => {
                out.push(marker::ECMA_ARRAY);
                encode_count(properties.len(), out);
                encode_properties(properties, out);
            }
            Self::StrictArray(values) => {
                out.push(marker::STRICT_ARRAY);
                encode_count(values.len(), out);
                for value in values {
                    value.encode(out);
                }
            }
            Self::Date { millis, zone } => {
                out.push(marker::DATE);
                out.extend_from_slice(&millis.to_be_bytes());
                out.extend_from_slice(&zone.to_be_bytes());
            }
            Self::XmlDocument(text) => {
                out.push(marker::XML_DOCUMENT);
                encode_long(text, out);
            }
            Self::TypedObject { class, properties } => {
                out.push(marker::TYPED_OBJECT);
                encode_name(class, out);
                encode_properties(properties, out);
            }
            Self::Null => out.push(marker::NULL),
            Self::Undefined => out.push(marker::UNDEFINED),
            Self::Unsupported => out.push(marker::UNSUPPORTED),
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0a;
    pub(super) const DATE: u8 = 0x0b;
    pub(super) const LONG_STRING: u8 = 0x0c;
    pub(super) const UNSUPPORTED: u8 = 0x0d;
    pub(super) const XML_DOCUMENT: u8 = 0x0f;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
}

fn owned<const N: usize>(properties: [(&str, Value); N]) -> Properties {
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn value(reader: &mut ByteReader<'_>, depth: usize, budget: &mut usize) -> Result<Value, Error> {
    let at = reader.position();
    if depth > MAX_DEPTH {
        return Err(Error::TooDeep { at });
    }
    *budget = budget.checked_sub(1).ok_or(Error::TooMany { at })?;
    Ok(match reader.u8()? {
        marker::NUMBER => Value::Number(reader.f64()?),
        marker::BOOLEAN => Value::Boolean(reader.u8()? != 0),
        marker::STRING => Value::String(name(reader)?),
        marker::OBJECT => Value::Object(properties(reader, depth, budget)?),
        marker::NULL => Value::Null,
        marker::UNDEFINED => Value::Undefined,
        marker::ECMA_ARRAY => {
            // The count is a hint only: encoders that add properties later leave it at zero.
            reader.u32()?;
            Value::EcmaArray(properties(reader, depth, budget)?)
        }
        marker::STRICT_ARRAY => {
            let count = reader.u32()?;
            let mut values = Vec::new();
            for _ in 0..count {
                values.push(value(reader, depth + 1, budget)?);
            }
            Value::StrictArray(values)
        }
        marker::DATE => Value::Date { millis: reader.f64()?, zone: reader.u16()? as i16 },
        marker::LONG_STRING => Value::String(long(reader)?),
        marker::UNSUPPORTED => Value::Unsupported,
        marker::XML_DOCUMENT => Value::XmlDocument(long(reader)?),
        marker::TYPED_OBJECT => {
            let class = name(reader)?;
            Value::TypedObject { class, properties: properties(reader, depth, budget)? }
        }
        marker => return Err(Error::Marker { marker, at }),
    })
}

fn properties(reader: &mut ByteReader<'_>, depth: usize, budget: &mut usize) -> Result<Properties, Error> {
    let mut properties = Vec::new();
    loop {
        match reader.rest() {
            [0, 0, marker::OBJECT_END, ..] => {
                reader.take(3)?;
                return Ok(properties);
            }
            // The end marker is missing, or cut off with the end of the message.
            rest @ ([] | [0] | [0, 0]) => {
                reader.take(rest.len())?;
                return Ok(properties);
            }
            _ => {
                let name = name(reader)?;
                properties.push((name, value(reader, depth + 1, budget)?));
            }
        }
    }
}

fn name(reader: &mut ByteReader<'_>) -> Result<String, Error> {
    let length = reader.u16()?;
    Ok(String::from_utf8_lossy(reader.take(usize::from(length))?).into_owned())
}

fn long(reader: &mut ByteReader<'_>) -> Result<String, Error> {
    let length = reader.u32()? as usize;
    Ok(String::from_utf8_lossy(reader.take(length)?).into_owned())
}

fn encode_properties(properties: &[(String, Value)], out: &mut Vec<u8>) {
    for (name, value) in properties {
        encode_name(name, out);
        value.encode(out);
    }
    out.extend_from_slice(&[0, 0, marker::OBJECT_END]);
}

fn encode_name(text: &str, out: &mut Vec<u8>) {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    out.extend_from_slice(&(end as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..end).unwrap_or_default());
}

fn encode_long(text: &str, out: &mut Vec<u8>) {
    encode_count(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn encode_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        for value in values {
            value.encode(&mut out);
        }
        out
    }

    #[test]
    fn reads_the_bytes_of_a_connect() {
        let bytes = b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03\x00\x03app\x02\x00\x04live\x00\x04fpad\x01\x00\0\0\x09";
        let values = decode(bytes).unwrap();
        assert_eq!(values[0].as_str(), Some("connect"));
        assert_eq!(values[1].as_f64(), Some(1.0));
        assert_eq!(values[2].property("app").and_then(Value::as_str), Some("live"));
        assert_eq!(values[2].property("fpad").and_then(Value::as_bool), Some(false));
        assert_eq!(values[2].property("none"), None);
        assert_eq!(encoded(&values), bytes);
    }

    #[test]
    fn tolerates_a_wrong_count_and_a_missing_end() {
        let bytes = b"\x08\x00\x00\x00\x63\x00\x01a\x05\x00\x01b\x06";
        let want = Value::ecma_array([("a", Value::Null), ("b", Value::Undefined)]);
        for tail in [&b""[..], b"\0", b"\0\0", b"\0\0\x09"] {
            assert_eq!(decode(&[bytes, tail].concat()), Ok(vec![want.clone()]));
        }
    }

    #[test]
    fn an_empty_name_is_not_the_end() {
        let value = Value::object([("", Value::Null), ("x", 1.0.into())]);
        assert_eq!(decode(&encoded(std::slice::from_ref(&value))), Ok(vec![value]));
    }

    #[test]
    fn dates_and_long_strings() {
        let values = [
            Value::Date { millis: 1.5e12, zone: -60 },
            Value::String("x".repeat(70_000)),
            Value::XmlDocument("<a/>".into()),
        ];
        let bytes = encoded(&values);
        assert_eq!(bytes[0], 0x0b);
        assert_eq!(bytes[11], 0x0c);
        assert_eq!(decode(&bytes), Ok(values.to_vec()));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let value = Value::Object(vec![("é".repeat(40_000), Value::Null)]);
        let back = decode(&encoded(&[value])).unwrap();
        assert_eq!(back[0].properties().unwrap()[0].0, "é".repeat(32_767));
    }

    #[test]
    fn refuses_what_it_does_not_speak() {
        for marker in [0x04, 0x07, 0x09, 0x0e, 0x11, 0xff] {
            assert_eq!(decode(&[0x05, marker, 0]), Err(Error::Marker { marker, at: 1 }));
        }
        assert_eq!(decode(&[0x02, 0, 9, b'x']), Err(Error::Truncated(Truncated { at: 3 })));
        assert_eq!(decode(b"\x02\x00\x02\xff!"), Ok(vec!["\u{fffd}!".into()]));
    }

    #[test]
    fn depth_and_number_are_limited() {
        let arrays = |n: usize| {
            let mut bytes = [0x0a, 0, 0, 0, 1].repeat(n);
            bytes.push(0x05);
            bytes
        };
        assert!(decode(&arrays(MAX_DEPTH)).is_ok());
        assert!(matches!(decode(&arrays(MAX_DEPTH + 1)), Err(Error::TooDeep { .. })));
        assert!(decode(&vec![0x05; MAX_VALUES]).is_ok());
        assert_eq!(decode(&vec![0x05; MAX_VALUES + 1]), Err(Error::TooMany { at: MAX_VALUES }));
        // A count that promises four billion values reserves nothing.
        assert!(matches!(decode(b"\x0a\xff\xff\xff\xff\x05"), Err(Error::Truncated(_))));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e9f64..1e9).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,12}".prop_map(Value::String),
            (-1e12f64..1e12, any::<i16>()).prop_map(|(millis, zone)| Value::Date { millis, zone }),
            ".{0,12}".prop_map(Value::XmlDocument),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Unsupported),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let properties = prop::collection::vec((".{0,6}", inner.clone()), 0..4);
            prop_oneof![
                properties.clone().prop_map(Value::Object),
                properties.clone().prop_map(Value::EcmaArray),
                prop::collection::vec(inner, 0..4).prop_map(Value::StrictArray),
                (".{0,6}", properties)
                    .prop_map(|(class, properties)| Value::TypedObject { class, properties }),
            ]
        })
    }

    proptest! {
        #[test]
        fn round_trip(values in prop::collection::vec(any_value(), 0..4)) {
            prop_assert_eq!(decode(&encoded(&values)), Ok(values));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..18], 0..200)) {
            crate::fuzz::amf(&bytes);
        }
    }
}
