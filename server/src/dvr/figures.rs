//! What recording has done and what has gone wrong, in numbers that only rise.

use std::sync::atomic::AtomicU64;

/// See the module.
#[derive(Debug, Default)]
pub struct Figures {
    /// Files that are complete.
    pub files: AtomicU64,
    /// Bytes in them.
    pub bytes: AtomicU64,
    /// Files that could not be opened, written or completed.
    pub failures: AtomicU64,
    /// Frames that were not recorded because of that, or because a disk did not keep up.
    pub frames_lost: AtomicU64,
}
