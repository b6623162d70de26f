//! What can go wrong between us and one WebRTC peer, said so that it can stand in the log as the reason for closing.

/// Why a datagram is refused, or why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A datagram looks like STUN and is none.
    #[error("the peer's STUN message is malformed: {0}")]
    Stun(&'static str),
    /// A connectivity check without the right user name or password.
    #[error("the peer's connectivity check does not prove the credentials of this session")]
    Credentials,
    /// A datagram is neither STUN nor DTLS nor RTP, or comes when it makes no sense.
    #[error("a datagram that belongs to nothing: {0}")]
    Stray(&'static str),
    /// A packet is shorter than its own header says.
    #[error("the peer's {0} packet is malformed")]
    Packet(&'static str),
    /// A packet was not made by the peer, or was changed on its way.
    #[error("a packet's authentication tag does not hold")]
    Authentication,
    /// A packet came twice, or so late that nobody can tell.
    #[error("a packet came twice or too late")]
    Replayed,
    /// More RTP streams than one session may carry.
    #[error("more than {max} RTP streams in one session")]
    TooManyStreams {
        /// How many may be.
        max: usize,
    },
    /// A key has protected as many packets as it may (RFC 3711 §9.2).
    #[error("the SRTP key is worn out")]
    WornOut,
    /// Keys are of the wrong length for their profile, or there are none yet.
    #[error("no usable SRTP keys")]
    Keys,
    /// A frame on a TCP connection is longer than is accepted (RFC 4571).
    #[error("the peer's frame of {length} bytes is longer than {max}")]
    Frame {
        /// The announced length in bytes.
        length: usize,
        /// The longest accepted, in bytes.
        max: usize,
    },
    /// Our own certificate or key cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Certificate(&'static str),
    /// The peer breaks DTLS, or wants what we do not have.
    #[error("the DTLS handshake fails: {0}")]
    Dtls(&'static str),
    /// The peer gives up with a TLS alert (RFC 5246 §7.2).
    #[error("the peer ends DTLS with alert {0}")]
    Alert(u8),
    /// The peer's certificate is not the one that its offer or answer told.
    #[error("the peer's certificate is not the one of its SDP")]
    Fingerprint,
    /// The peer did not do what was due in time.
    #[error("the peer is silent: no {awaited} within {seconds} s")]
    Timeout {
        /// What was awaited.
        awaited: &'static str,
        /// How long, in seconds.
        seconds: i64,
    },
    /// The peer's offer asks for what there is not, or lacks what there must be.
    #[error("the offer is refused: {0}")]
    Offer(String),
    /// The system gives no random numbers.
    #[error("there are no random numbers")]
    Random,
    /// The peer's answer to our offer breaks the rules, or takes nothing of it.
    #[error("the answer cannot be used: {0}")]
    Answer(String),
    /// The peer said goodbye.
    #[error("the peer closed the session")]
    ClosedByPeer,
    /// We said goodbye.
    #[error("closed by us")]
    Closed,
}
