//! How frames are boxed: AMF0 values, FLV tags, TS packets, plain audio streams, segments of HLS, fragments of HDS. One module per container;
//! nothing here does I/O.

mod adts;
mod entry;
mod timeline;

pub mod amf0;
pub mod cmaf;
pub mod dash;
pub mod date;
pub mod es;
pub mod flv;
pub mod frames;
#[doc(hidden)]
pub mod fuzz;
pub mod hds;
pub mod hls;
pub mod mp4;
pub mod ts;

pub use timeline::Jitter;
