//! The audit: one line in the log for each thing that somebody does to the server through the API, whether it came to anything or not. Reading
//! is nobody's business.

use std::fmt::{self, Display};
use std::net::SocketAddr;

use tracing::info;

use crate::http::Who;

/// Somebody who uses the API.
#[derive(Clone, Debug, Default)]
pub(super) struct Operator {
    /// Who he has proved to be.
    pub(super) who: Who,
    /// The other end of the connection; none in tests.
    pub(super) peer: Option<SocketAddr>,
}

impl Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{} at {peer}", self.who),
            None => write!(f, "{}", self.who),
        }
    }
}

/// Tells the log what somebody has done, and what came of it.
pub(super) fn tell(by: &Operator, what: impl Display, result: impl Display) {
    info!("audit: {what}, by={by}, result={result}");
}
