//! Between which addresses a datagram goes.

use std::net::SocketAddr;

/// What carries datagrams. A TCP connection carries them framed (RFC 4571, [`crate::frame`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP, the peer connects.
    Tcp,
}

/// One way to the peer. Over TCP, the addresses are those of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// What carries the datagrams.
    pub protocol: Protocol,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where.
    pub path: Path,
    /// What, without framing.
    pub data: Vec<u8>,
}
