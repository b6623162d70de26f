//! HLS: how a live stream becomes segments and playlists. `Cutter` decides where a segment ends, `Segmenter` is the form that packs segments
//! of TS, `Window` and `Playlist` write what players read. Where the bytes are kept, who may have them, and what the files are
//! called is not known here.
//!
//! Spec: RFC 8216.

mod cutter;
mod playlist;
mod recover;
mod samples;
mod segmenter;
mod window;

pub use cutter::{Cut, Cutter, CutterOptions, Segment, Verdict};
pub use playlist::{Playlist, Queries, master, with_query};
pub use recover::{Foreign, Listed};
pub use segmenter::{Piece, Segmenter, SegmenterOptions};
pub use window::{Edge, Entry, Key, Part, Window};
