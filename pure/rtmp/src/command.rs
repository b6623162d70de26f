//! Commands (§7.2): name, transaction and arguments in AMF0, and the user control events (§7.1.7).
//!
//! Here they are read and laid; when they are sent and what they do belongs to the sessions.

use formats::amf0::{self, Value};
use media::ByteReader;

use crate::Error;
use crate::message::{Message, kind};

/// A command as received.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// The transaction; 0 asks for no answer.
    pub(crate) transaction: f64,
    /// The command object, then the arguments.
    values: Vec<Value>,
}

/// More than any command has; what follows is not looked at.
const MAX_VALUES: usize = 16;

impl Command {
    /// The command in `message`; `None` when it is no command. Arguments from the first unreadable one on are left out, since
    /// most senders of odd ones do not depend on them.
    pub(crate) fn parse(message: &Message) -> Result<Option<Self>, Error> {
        let body = match (message.kind, message.payload.as_ref()) {
            (kind::COMMAND_AMF0, body) => body,
            // The AMF3 form starts with a format byte, and what follows is AMF0 nevertheless.
            (kind::COMMAND_AMF3, [0, body @ ..] | body) => body,
            _ => return Ok(None),
        };
        let mut reader = ByteReader::new(body);
        let Value::String(name) = amf0::decode_one(&mut reader)? else {
            return Err(Error::Argument { command: "command", argument: "name" });
        };
        let transaction = match reader.left() {
            0 => 0.0,
            _ => amf0::decode_one(&mut reader)?.as_f64().unwrap_or(0.0),
        };
        let mut values = Vec::new();
        while reader.left() > 0 && values.len() < MAX_VALUES {
            match amf0::decode_one(&mut reader) {
                Ok(value) => values.push(value),
                Err(error) if values.is_empty() => return Err(error.into()),
                Err(_) => break,
            }
        }
        Ok(Some(Self { name, transaction, values }))
    }

    /// A property of the command object.
    pub(crate) fn property(&self, name: &str) -> Option<&Value> {
        self.values.first()?.property(name)
    }

    /// A text property of the command object; empty when it is none.
    pub(crate) fn text(&self, name: &str) -> String {
        self.property(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The argument at `index`, counted after the command object.
    pub(crate) fn argument(&self, index: usize) -> Option<&Value> {
        self.values.get(index + 1)
    }
}

/// The body of a command or data message.
pub(crate) fn encode(values: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    for value in values {
        value.encode(&mut body);
    }
    body
}

/// How `clientid` is told in a status.
pub(crate) const CLIENT_ID: &str = "ASAICiss";

/// User control events.
pub(crate) mod event {
    pub(crate) const STREAM_BEGIN: u16 = 0;
    pub(crate) const STREAM_EOF: u16 = 1;
    pub(crate) const SET_BUFFER_LENGTH: u16 = 3;
    pub(crate) const PING_REQUEST: u16 = 6;
    pub(crate) const PING_RESPONSE: u16 = 7;
}

/// A user control message: the event and its first value; the second one only of Set Buffer Length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserControl {
    pub(crate) event: u16,
    pub(crate) value: u32,
    pub(crate) second: Option<u32>,
}

impl UserControl {
    /// `None` for messages of other types, and for the short forms of events that we do not act on.
    pub(crate) fn parse(message: &Message) -> Option<Self> {
        if message.kind != kind::USER_CONTROL {
            return None;
        }
        let mut reader = ByteReader::new(&message.payload);
        Some(Self { event: reader.u16().ok()?, value: reader.u32().ok()?, second: reader.u32().ok() })
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut body = self.event.to_be_bytes().to_vec();
        body.extend_from_slice(&self.value.to_be_bytes());
        if let Some(second) = self.second {
            body.extend_from_slice(&second.to_be_bytes());
        }
        body
    }
}
