//! What HLS has done and what has gone wrong, in numbers that only rise.

use std::sync::atomic::AtomicU64;

/// See the module.
#[derive(Debug, Default)]
pub struct Figures {
    /// Segments that players could fetch.
    pub segments: AtomicU64,
    /// Segments and playlists that could not be written.
    pub failures: AtomicU64,
    /// Pieces of segments that were dropped because a disk did not keep up.
    pub pieces_lost: AtomicU64,
}
