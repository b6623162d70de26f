//! What the storage has done, what has gone wrong, and what waits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// See the module.
#[derive(Debug, Default)]
pub struct Figures {
    /// Files uploaded.
    pub uploaded: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Objects deleted.
    pub deleted: AtomicU64,
    /// Requests that have failed, and are made again.
    pub failures: AtomicU64,
    /// Files that were given up: they could not be spooled, or the storage will never take them.
    pub lost: AtomicU64,
    /// Files that were deleted, or had a newer version, before they could be uploaded.
    pub superseded: AtomicU64,
    /// Steps that wait.
    pub spool_jobs: AtomicU64,
    /// Bytes in the spool.
    pub spool_bytes: AtomicU64,
    /// Storages that do not answer.
    pub down: AtomicU64,
    /// Bytes in memory that wait to be spooled.
    pub(super) memory: AtomicU64,
}

impl Figures {
    pub(super) fn add(figure: &AtomicU64, number: u64) {
        figure.fetch_add(number, Relaxed);
    }
}
