//! DTLS (RFC 6347) as far as WebRTC needs it: a handshake that proves certificates and exports keys for SRTP (RFC 5764).
//!
//! The session speaks to the trait [`Dtls`] only. [`start`] is the one place that chooses who does it: [`Connection`], DTLS 1.2 by us
//! over the primitives of `ring`, because no library at hand has no sockets, no clock, bounded memory, and takes RSA.

mod assembly;
mod certificate;
mod connection;
mod message;
mod record;
mod secrets;

use std::sync::Arc;

use media::Micros;

pub use certificate::{Certificate, Fingerprint};
pub use connection::Connection;

use crate::Error;
use crate::srtp::Profile;

/// Who sends the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We do: `a=setup:active`.
    Client,
    /// The peer does: `a=setup:passive`.
    Server,
}

/// What an end is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who begins.
    pub role: Role,
    /// What we prove to have.
    pub certificate: Arc<Certificate>,
    /// What we offer or accept, the preferred first.
    pub profiles: Vec<Profile>,
    /// The longest datagram to send, in bytes.
    pub mtu: usize,
    /// How long the first unanswered flight waits before it is sent again; then twice as long, and so on.
    pub first_resend: Micros,
    /// How long the handshake may take.
    pub timeout: Micros,
}

impl Options {
    /// The usual ones: all profiles, datagrams of 1,200 bytes, 100 ms, 30 s.
    pub fn new(role: Role, certificate: Arc<Certificate>) -> Self {
        Self {
            role,
            certificate,
            profiles: Profile::ALL.to_vec(),
            mtu: 1200,
            first_resend: Micros::from_millis(100),
            timeout: Micros::from_secs(30),
        }
    }
}

/// What has come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done.
    Connected(Box<Connected>),
    /// It is over: by the peer, by us, or by time.
    Closed(Error),
}

/// The fruits of a handshake.
#[derive(Clone, PartialEq, Eq)]
pub struct Connected {
    /// The SRTP profile agreed upon, if there is one.
    pub profile: Option<Profile>,
    /// What RFC 5764 §4.2 exports for it, see [`crate::srtp::split`].
    pub keying: Vec<u8>,
    /// The peer's certificate in DER. It has proved to own the key; whether it is the one of the SDP is for the caller to see.
    pub certificate: Vec<u8>,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// One end of a DTLS association.
pub trait Dtls: Send {
    /// Takes a datagram.
    ///
    /// Errors: [`Error::Dtls`] when it is no DTLS; nothing has changed. What ends the association comes as an event.
    fn receive(&mut self, now: Micros, datagram: &[u8]) -> Result<(), Error>;
    /// The next datagram to send.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;
    /// What has happened.
    fn poll_event(&mut self) -> Option<Event>;
    /// When to call [`timeout`](Self::timeout).
    fn poll_timeout(&self) -> Option<Micros>;
    /// Time has passed.
    fn timeout(&mut self, now: Micros);
    /// Says goodbye.
    fn close(&mut self);
}

/// An end of a new association. A client's first datagram waits to be sent at once.
///
/// Errors: [`Error::Certificate`] when the system has no random bytes.
pub fn start(now: Micros, options: Options) -> Result<Box<dyn Dtls>, Error> {
    Ok(Box::new(Connection::new(now, options)?))
}

#[cfg(test)]
mod tests;
