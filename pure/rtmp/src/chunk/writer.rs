//! Lays control messages and commands. Every message starts with a full header, so that it depends on nothing before it.

use super::{DEFAULT_CHUNK_SIZE, EXTENDED, MAX_MESSAGE};

/// Writes messages into chunks.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    chunk_size: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self { chunk_size: DEFAULT_CHUNK_SIZE }
    }
}

impl Writer {
    /// Our chunk size in bytes.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Changes our chunk size, for messages after the Set Chunk Size that tells the peer.
    pub fn set_chunk_size(&mut self, size: u32) {
        self.chunk_size = size.max(1);
    }

    /// Appends a message of type `kind` without a timestamp on chunk stream `cid` (2 to 63). A payload longer than
    /// [`MAX_MESSAGE`] cannot be told on the wire and is left out.
    pub fn write(&self, cid: u8, kind: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
        if payload.len() <= MAX_MESSAGE as usize {
            header(Format::Full { stream, time: 0 }, cid, kind, payload.len(), out);
            body(self.chunk_size, cid, None, payload, &[], out);
        }
    }
}

/// Which of the chunk headers opens a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    /// Format 0: absolute time in milliseconds.
    Full { stream: u32, time: u32 },
    /// Format 1: milliseconds since the message before, less than 0xFFFFFF.
    Step { delta: u32 },
}

/// Appends the header of a message of `length` bytes, and says the extended timestamp that its chunks must repeat.
pub(super) fn header(format: Format, cid: u8, kind: u8, length: usize, out: &mut Vec<u8>) -> Option<u32> {
    let (first, time) = match format {
        Format::Full { time, .. } => (cid, time),
        Format::Step { delta } => (0x40 | cid, delta),
    };
    let [_, t2, t1, t0] = time.min(EXTENDED).to_be_bytes();
    let [_, l2, l1, l0] = (length as u32).to_be_bytes();
    out.extend_from_slice(&[first, t2, t1, t0, l2, l1, l0, kind]);
    if let Format::Full { stream, .. } = format {
        out.extend_from_slice(&stream.to_le_bytes());
    }
    let extended = (time >= EXTENDED).then_some(time);
    if let Some(time) = extended {
        out.extend_from_slice(&time.to_be_bytes());
    }
    extended
}

/// Appends `head` and `body` as one payload, with a format 3 header wherever a chunk ends and more follows.
pub(super) fn body(
    chunk_size: u32,
    cid: u8,
    extended: Option<u32>,
    head: &[u8],
    body: &[u8],
    out: &mut Vec<u8>,
) {
    let size = chunk_size.max(1) as usize;
    let mut room = size;
    for mut part in [head, body] {
        while !part.is_empty() {
            if room == 0 {
                out.push(0xc0 | cid);
                if let Some(time) = extended {
                    out.extend_from_slice(&time.to_be_bytes());
                }
                room = size;
            }
            let (now, later) = part.split_at(part.len().min(room));
            out.extend_from_slice(now);
            room -= now.len();
            part = later;
        }
    }
}
