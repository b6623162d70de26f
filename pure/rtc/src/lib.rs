//! WebRTC without sockets: STUN, ICE-lite, DTLS, SRTP, and the session of one peer made of them.
//!
//! Bytes and time go in; bytes, events and deadlines come out. RTP and RTCP themselves, and SDP as text, belong to `rtp`; what
//! is played to whom belongs to the server above. Specifications: RFC 8445, 8489, 6347, 5764, 3711, 7714, 7983, 8829.
//!
//! Key material is the one thing that does not come in as an argument: it comes from the system's random source through `ring`,
//! because a caller could only get it wrong.

mod checks;
#[cfg(test)]
mod conversations;
pub mod dtls;
mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod ice;
pub mod outlet;
mod path;
mod refused;
pub mod sdp;
pub mod session;
pub mod srtp;
pub mod stun;

pub use error::Error;
pub use outlet::Outlet;
pub use path::{Path, Protocol, Transmit};
pub use session::Session;
