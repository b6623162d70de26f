//! RTP and what goes with it: packets, RTCP, payload formats, the RTP form of a stream, what a receiver and a sender keep, and SDP.
//!
//! The ground for WebRTC, RTSP and GB28181. Sessions, encryption and signalling belong to their rooms.

mod burst;
pub mod clock;
#[cfg(test)]
mod conversations;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod mux;
mod obu;
pub mod pack;
mod packet;
pub mod receive;
pub mod rtcp;
pub mod sdp;
pub mod send;
pub mod unpack;

pub use burst::{Burst, Gather};
pub use error::Error;
pub use mux::{Mux, MuxOptions, is_for_browsers};
pub use packet::{Extensions, Header, Packet, Seq, Ticks, is_rtcp};
