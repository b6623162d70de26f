//! The chunk stream (§5.3): messages cut into chunks, interleaved, with headers that refer to earlier ones.
//!
//! [`Reader`] takes chunks apart, [`Writer`] lays commands, [`MediaWriter`] lays media for a fan-out. What messages mean belongs
//! to the sessions, but for the two that steer the chunk stream itself: Set Chunk Size and Abort.

mod aggregate;
mod media_writer;
mod reader;
mod writer;

pub use media_writer::MediaWriter;
pub use reader::{MAX_CHUNK_STREAMS, Reader};
pub use writer::Writer;

/// The chunk size of both directions until somebody sets another, in bytes (§5.4.1).
pub const DEFAULT_CHUNK_SIZE: u32 = 128;

/// The longest message that the 24 bits of the header can tell, in bytes.
pub const MAX_MESSAGE: u32 = 0xff_ffff;

/// The value of a 24-bit time field that says: the time follows in 32 bits (§5.3.1.3).
const EXTENDED: u32 = 0xff_ffff;

/// RTMP time has 31 bits, as FLV's has.
const TIME_MASK: u32 = 0x7fff_ffff;
