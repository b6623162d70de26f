//! MPEG-TS: how H.264, H.265, AAC and MP3 travel in packets of 188 bytes, live over HTTP and in HLS segments. `Packer` turns frames into
//! packets; `Mux` is the form that players of a live stream share. Reading TS is not done here.
//!
//! Spec: ISO/IEC 13818-1 (ITU-T H.222.0).

mod elementary;
mod mux;
mod packer;
mod pes;
mod psi;
#[cfg(test)]
pub(crate) mod reader;

pub use elementary::carries;
pub use mux::{Burst, Mux, MuxOptions};
pub(crate) use packer::Ready;
pub use packer::{Packer, PackerOptions};

/// Bytes of a TS packet.
pub const PACKET: usize = 188;
