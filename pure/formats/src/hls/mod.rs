//! HLS: how a live stream becomes segments and playlists. `Cutter` decides where a segment ends, `Segmenter` is the form that packs segments
//! of TS, `Window`, `Playlist` and `master` write what players read. Where the bytes are kept, who may have them, and what the files are
//! called is not known here.
//!
//! Spec: RFC 8216.

mod cutter;
mod master;
mod playlist;
mod recover;
mod samples;
mod segmenter;
mod window;

pub use cutter::{Cut, Cutter, CutterOptions, Segment, Verdict};
pub use master::{About, Rate, Variant, master};
pub use playlist::{Playlist, Queries, with_query};
pub use recover::{Foreign, Listed};
pub use segmenter::{Piece, Segmenter, SegmenterOptions};
pub use window::{Edge, Entry, Key, Part, Report, Window};
