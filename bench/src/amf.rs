//! AMF0, as much as four commands need: values, their writer and their reader.
//!
//! The generator's own; references, typed objects and AMF3 do not occur in what servers answer and are refused.

/// An AMF0 value (AMF0 specification, section 2).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Marker 0.
    Number(f64),
    /// Marker 1.
    Boolean(bool),
    /// Markers 2 and 12.
    Text(String),
    /// Markers 3 (object) and 8 (ECMA array), fields in their order.
    Object(Vec<(String, Value)>),
    /// Marker 10.
    Array(Vec<Value>),
    /// Markers 5 and 6.
    Null,
}

impl Value {
    /// A text value.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The text, when this is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, when this is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The text of the field `name`, when this is an object that has it.
    pub fn field(&self, name: &str) -> Option<&str> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_text())
    }
}

/// Writes values one after the other, as the body of a command message.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    values.iter().for_each(|value| write(&mut out, value));
    out
}

/// Reads values until the bytes end; `None` when they are malformed.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(read(&mut bytes, 0)?);
    }
    Some(values)
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            out.push(0);
            out.extend(number.to_be_bytes());
        }
        Value::Boolean(flag) => out.extend([1, u8::from(*flag)]),
        Value::Text(text) => {
            out.push(2);
            write_key(out, text);
        }
        Value::Object(fields) => {
            out.push(3);
            for (key, value) in fields {
                write_key(out, key);
                write(out, value);
            }
            out.extend([0, 0, 9]);
        }
        Value::Array(values) => {
            out.push(10);
            out.extend((values.len() as u32).to_be_bytes());
            values.iter().for_each(|value| write(out, value));
        }
        Value::Null => out.push(5),
    }
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    out.extend((key.len() as u16).to_be_bytes());
    out.extend(key.as_bytes());
}

fn read(bytes: &mut &[u8], depth: u8) -> Option<Value> {
    if depth > 16 {
        return None;
    }
    Some(match take::<1>(bytes)?[0] {
        0 => Value::Number(f64::from_be_bytes(take(bytes)?)),
        1 => Value::Boolean(take::<1>(bytes)?[0] != 0),
        2 => {
            let length = u16::from_be_bytes(take(bytes)?).into();
            Value::Text(read_text(bytes, length)?)
        }
        3 => Value::Object(read_fields(bytes, depth)?),
        5 | 6 => Value::Null,
        8 => {
            take::<4>(bytes)?;
            Value::Object(read_fields(bytes, depth)?)
        }
        10 => {
            let count = u32::from_be_bytes(take(bytes)?);
            Value::Array((0..count).map(|_| read(bytes, depth + 1)).collect::<Option<_>>()?)
        }
        12 => {
            let length = u32::from_be_bytes(take(bytes)?) as usize;
            Value::Text(read_text(bytes, length)?)
        }
        _ => return None,
    })
}

fn read_fields(bytes: &mut &[u8], depth: u8) -> Option<Vec<(String, Value)>> {
    let mut fields = Vec::new();
    loop {
        let length = u16::from_be_bytes(take(bytes)?).into();
        let key = read_text(bytes, length)?;
        if key.is_empty() && bytes.first() == Some(&9) {
            take::<1>(bytes)?;
            return Some(fields);
        }
        fields.push((key, read(bytes, depth + 1)?));
    }
}

fn read_text(bytes: &mut &[u8], length: usize) -> Option<String> {
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_survives_the_round_trip() {
        let fields = vec![("app".into(), Value::text("live")), ("fpad".into(), Value::Boolean(false))];
        let command = [
            Value::text("connect"),
            Value::Number(1.0),
            Value::Object(fields),
            Value::Null,
            Value::Array(vec![Value::Number(2.5)]),
        ];
        let decoded = decode(&encode(&command)).unwrap();
        assert_eq!(decoded, command);
        assert_eq!(decoded[2].field("app"), Some("live"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
