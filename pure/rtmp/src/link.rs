//! What both ends of a session share below the commands: chunks in and out, acknowledgements, pings.

use bytes::Bytes;
use formats::amf0::Value;
use media::ByteReader;

use crate::Error;
use crate::chunk::{Reader, Writer};
use crate::command::{self, UserControl, event};
use crate::message::{Message, kind};

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) reader: Reader,
    writer: Writer,
    /// What waits to be sent.
    pub(crate) out: Vec<u8>,
    /// The peer's window in bytes; 0 while it wants no acknowledgements.
    window: u32,
    /// Bytes received since the last acknowledgement, and the number that one told.
    unacknowledged: u32,
    acknowledged: u32,
}

/// Chunk streams by use.
pub(crate) mod cid {
    pub(crate) const CONTROL: u8 = 2;
    pub(crate) const CONNECTION: u8 = 3;
    pub(crate) const STREAM: u8 = 5;
}

/// Where the count of acknowledged bytes starts anew, before it could wrap.
const ACKNOWLEDGE_UP_TO: u32 = 0xf000_0000;

impl Link {
    pub(crate) fn new(max_message: u32) -> Self {
        Self {
            reader: Reader::new(max_message),
            writer: Writer::default(),
            out: Vec::new(),
            window: 0,
            unacknowledged: 0,
            acknowledged: 0,
        }
    }

    /// Counts bytes from the socket and acknowledges them when half of the window is used (§5.4.3).
    pub(crate) fn count(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.unacknowledged = self.unacknowledged.saturating_add(bytes);
        if self.window > 0 && self.unacknowledged >= self.window / 2 {
            self.acknowledged = match self.acknowledged.checked_add(self.unacknowledged) {
                Some(sum) if sum <= ACKNOWLEDGE_UP_TO => sum,
                _ => self.unacknowledged,
            };
            self.unacknowledged = 0;
            self.control(kind::ACKNOWLEDGEMENT, &self.acknowledged.to_be_bytes());
        }
    }

    /// Sets the window by which we acknowledge, whatever the peer says; 0 leaves it to the peer.
    pub(crate) fn force_window(&mut self, window: u32) {
        if window > 0 {
            self.window = window;
        }
    }

    /// The next message that is not the link's own affair.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        while let Some(message) = self.reader.read(input)? {
            match message.kind {
                kind::ACKNOWLEDGEMENT | kind::PEER_BANDWIDTH => {}
                kind::WINDOW_SIZE => {
                    if let Ok(window) = ByteReader::new(&message.payload).u32() {
                        self.force_window(window);
                    }
                }
                kind::USER_CONTROL => match UserControl::parse(&message) {
                    Some(UserControl { event: event::PING_REQUEST, value, .. }) => {
                        self.user_control(event::PING_RESPONSE, value, None);
                    }
                    Some(_) => return Ok(Some(message)),
                    None => {}
                },
                _ => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    /// Our chunk size in bytes.
    pub(crate) fn chunk_size(&self) -> u32 {
        self.writer.chunk_size()
    }

    /// Tells the peer our chunk size, in bytes, and uses it from then on.
    pub(crate) fn set_chunk_size(&mut self, size: u32) {
        let size = size.clamp(1, 0x7fff_ffff);
        self.control(kind::SET_CHUNK_SIZE, &size.to_be_bytes());
        self.writer.set_chunk_size(size);
    }

    pub(crate) fn control(&mut self, kind: u8, body: &[u8]) {
        self.writer.write(cid::CONTROL, kind, 0, body, &mut self.out);
    }

    pub(crate) fn user_control(&mut self, event: u16, value: u32, second: Option<u32>) {
        self.control(kind::USER_CONTROL, &UserControl { event, value, second }.encode());
    }

    /// A command on message stream `stream`; 0 is the connection.
    pub(crate) fn command(&mut self, stream: u32, values: &[Value]) {
        let cid = if stream == 0 { cid::CONNECTION } else { cid::STREAM };
        self.writer.write(cid, kind::COMMAND_AMF0, stream, &command::encode(values), &mut self.out);
    }

    pub(crate) fn data(&mut self, stream: u32, values: &[Value]) {
        self.writer.write(cid::STREAM, kind::DATA_AMF0, stream, &command::encode(values), &mut self.out);
    }

    /// All that waits to be sent.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| Bytes::from(std::mem::take(&mut self.out)))
    }

    /// The bytes held beyond the size of the type.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> usize {
        self.out.capacity() + self.reader.footprint()
    }
}
