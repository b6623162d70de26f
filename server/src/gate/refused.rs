//! Why somebody may not. Each protocol says it in its own tongue.

use std::fmt;

use crate::session::Cid;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such vhost, or it is switched off.
    NoVhost(String),
    /// Another client publishes this stream.
    Busy(Option<Cid>),
    /// The client does not prove who it is; the reason.
    Unproved(String),
    /// The request cannot be granted as it stands; the reason.
    Denied(String),
    /// It cannot be granted now: a limit is reached, or a service that must be asked does not answer; the reason.
    Unable(String),
}

impl Refused {
    /// The reason in one word, for those who count.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoVhost(_) => "no_vhost",
            Self::Busy(_) => "busy",
            Self::Unproved(_) => "unproved",
            Self::Denied(_) => "denied",
            Self::Unable(_) => "unable",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVhost(name) => write!(f, "vhost {name} is not served here"),
            Self::Busy(Some(cid)) => write!(f, "stream busy: client {cid} publishes it already"),
            Self::Busy(None) => f.write_str("stream busy: another client publishes it already"),
            Self::Unproved(reason) | Self::Denied(reason) | Self::Unable(reason) => f.write_str(reason),
        }
    }
}
