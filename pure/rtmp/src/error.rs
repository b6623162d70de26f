//! What can go wrong in a session, said so that it can stand in the log as the reason for closing.

use formats::amf0;

/// Why a session cannot go on. `at` counts bytes of the peer's chunk stream, that is, after the handshake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first byte is neither RTMP's version 3 nor a proxy header.
    #[error("the peer speaks version {version:#04x} in the handshake, not 3")]
    Version {
        /// The byte.
        version: u8,
    },
    /// The proxy in front announces a header longer than 1024 bytes.
    #[error("the proxy's header of {length} bytes is too long")]
    ProxyHeader {
        /// The announced length in bytes.
        length: u16,
    },
    /// A new chunk stream starts with a header that refers to an earlier one.
    #[error("the peer opens chunk stream {cid} with format {format} at byte {at}")]
    FreshChunkStream {
        /// The chunk stream id.
        cid: u32,
        /// The chunk format, 2 or 3.
        format: u8,
        /// Where.
        at: u64,
    },
    /// A new message starts on a chunk stream whose last message is incomplete, or changes it midway.
    #[error("the peer interrupts its own message on chunk stream {cid} at byte {at}")]
    Interrupted {
        /// The chunk stream id.
        cid: u32,
        /// Where.
        at: u64,
    },
    /// A message is longer than what is accepted at this point of the session.
    #[error("the peer announces a message of {length} bytes at byte {at}, more than {max}")]
    MessageTooLarge {
        /// The announced length in bytes.
        length: u32,
        /// The longest accepted, in bytes.
        max: u32,
        /// Where.
        at: u64,
    },
    /// The incomplete messages of all chunk streams together hold too much.
    #[error("the peer's incomplete messages hold more than {max} bytes at byte {at}")]
    TooMuchIncomplete {
        /// The most, in bytes.
        max: u64,
        /// Where.
        at: u64,
    },
    /// More than [`crate::chunk::MAX_CHUNK_STREAMS`] chunk streams.
    #[error("the peer opens too many chunk streams at byte {at}")]
    TooManyChunkStreams {
        /// Where.
        at: u64,
    },
    /// A chunk size below 128 bytes, or a negative one.
    #[error("the peer sets a chunk size of {size} bytes at byte {at}")]
    ChunkSize {
        /// The size in bytes.
        size: u32,
        /// Where.
        at: u64,
    },
    /// A protocol control message is shorter than its fields.
    #[error("the peer's control message of type {kind} is too short at byte {at}")]
    ShortControl {
        /// The message type.
        kind: u8,
        /// Where.
        at: u64,
    },
    /// An aggregate message ends inside one of its parts.
    #[error("the peer's aggregate message ends early at byte {at}")]
    Aggregate {
        /// Where.
        at: u64,
    },
    /// A command is not AMF0.
    #[error("the peer's command cannot be read: {0}")]
    Amf(#[from] amf0::Error),
    /// A command lacks an argument that it cannot go without.
    #[error("the peer's {command} has no usable {argument}")]
    Argument {
        /// The command.
        command: &'static str,
        /// The argument.
        argument: &'static str,
    },
    /// `createStream` again and again.
    #[error("the client sends createStream more than {max} times without publishing or playing")]
    NestedCreateStream {
        /// How often is accepted.
        max: u8,
    },
    /// The peer sends on and on while a decision about its last request is outstanding.
    #[error("the client sends more than {max} bytes without waiting for the answer")]
    Impatient {
        /// How much is held meanwhile, in bytes.
        max: usize,
    },
    /// The peer did not do what was due in time.
    #[error("the peer is silent: no {awaited} within {seconds} s")]
    Timeout {
        /// What was awaited.
        awaited: &'static str,
        /// How long, in seconds.
        seconds: i64,
    },
    /// Our own side answers a request that nobody made; a fault of the caller.
    #[error("{answer} answers no request")]
    Unasked {
        /// The method called.
        answer: &'static str,
    },
}
