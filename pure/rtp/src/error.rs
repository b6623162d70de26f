//! What can be wrong with what a peer sent.

use media::Truncated;

/// A packet or a description that cannot be read. Whoever reads a stream of packets drops the one and goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ended before a value that it promised.
    #[error("{what} ends early at byte {at}")]
    Truncated {
        /// Which packet or part of it.
        what: &'static str,
        /// Where the missing value would have started.
        at: usize,
    },
    /// A value that no sender may write.
    #[error("{what}: {field} {value} is not possible")]
    Malformed {
        /// Which packet or part of it.
        what: &'static str,
        /// Which field of it.
        field: &'static str,
        /// What it said.
        value: u32,
    },
    /// A session description that breaks the grammar of RFC 8866.
    #[error("session description: {0}")]
    Description(String),
}

/// Names the packet that ended early.
pub(crate) fn ends_early(what: &'static str) -> impl Fn(Truncated) -> Error {
    move |e| Error::Truncated { what, at: e.at }
}
