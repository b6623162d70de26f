//! The language of the house: time, tracks, frames, and the trait that turns frames into a form.
//!
//! Every protocol room speaks in these types and in nothing else. Codec headers (SPS, ASC, …) are parsed
//! here because they describe tracks; how frames are boxed for a wire or a file belongs to `formats`.

mod bits;
mod frame;
mod interleave;
mod remux;
mod time;
mod track;

pub mod codec;
#[doc(hidden)]
pub mod fuzz;

pub use bits::{BitReader, ByteReader, Truncated};
pub use frame::Frame;
pub use interleave::Interleaver;
pub use remux::{Place, Remux, Sound, Stamped, Unit};
pub use time::{Micros, Unwrap31};
pub use track::{Dialect, Kind, Track, TrackId, Tracks};
