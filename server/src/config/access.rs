//! Who may publish and play, as configured: rules by address, pages that may embed players, and callbacks that are asked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;

/// Rules by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Any of these refuses, whatever else is said.
    pub deny: Vec<Rule>,
    /// One of these admits. Without a match nobody is admitted, unless there are rules in [`Self::deny`] only.
    pub allow: Vec<Rule>,
}

/// One rule of [`Security`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// It is about publishers, else about players.
    pub publish: bool,
    /// Addresses it is about; none is about all.
    pub from: Option<IpNet>,
}

impl Rule {
    /// Whether it speaks of a client at this address.
    pub fn is_about(&self, publish: bool, ip: IpAddr) -> bool {
        self.publish == publish && self.from.is_none_or(|net| net.contains(&ip.to_canonical()))
    }
}

/// Pages that may send clients, by domain. An empty list lets everybody in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refer {
    /// For everybody.
    pub all: Vec<String>,
    /// For publishers, too.
    pub publish: Vec<String>,
    /// For players, too.
    pub play: Vec<String>,
}

/// HTTP callbacks; each is called at all of its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// An RTMP client is known as publisher or player; may refuse it.
    pub on_connect: Vec<Url>,
    /// Its connection has ended.
    pub on_close: Vec<Url>,
    /// Somebody wants to publish; may refuse.
    pub on_publish: Vec<Url>,
    /// A publisher has ended.
    pub on_unpublish: Vec<Url>,
    /// Somebody wants to play; may refuse.
    pub on_play: Vec<Url>,
    /// A player has ended.
    pub on_stop: Vec<Url>,
    /// A segment is complete.
    pub on_hls: Vec<Url>,
    /// Fetched after each segment, with placeholders.
    pub on_hls_notify: Vec<String>,
    /// Bytes of an answer to it that are read, at most.
    pub hls_nb_notify: usize,
    /// How long a call may take.
    pub timeout: Duration,
    /// Certificates of authorities that vouch for services, PEM; those of the system if there is none.
    pub tls_ca: Option<PathBuf>,
}
