//! Who may publish and play, as configured: rules by address, pages that may embed players, and callbacks that are asked.

use std::fmt;
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
    /// A recording is complete.
    pub on_dvr: Vec<Url>,
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

/// What must not be seen by chance.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Tokens (JWT) that clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Signs tokens by HMAC.
    pub secret: Option<Secret>,
    /// Proves tokens that its owner has signed: RSA, EC or Ed25519, PEM.
    pub public_key: Option<PathBuf>,
    /// Where further public keys are.
    pub jwks: Option<Url>,
    /// They are fetched anew after this.
    pub jwks_refresh: Duration,
    /// Certificates of authorities that vouch for [`Self::jwks`], PEM; those of the system if there is none.
    pub tls_ca: Option<PathBuf>,
    /// Who must have issued tokens.
    pub issuer: Option<String>,
    /// For whom they must be.
    pub audience: Option<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// Publishers need one.
    pub publish: bool,
    /// Players need one.
    pub play: bool,
    /// A session ends with its token.
    pub ends_session: bool,
}

/// Addresses that are signed and expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedUrl {
    /// Signs them.
    pub secret: Secret,
    /// The address of the client is signed, too.
    pub bind_ip: bool,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// Publishers need one.
    pub publish: bool,
    /// Players need one.
    pub play: bool,
}

/// How much a vhost serves; nothing that is none is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of all clients together.
    pub all: Most,
    /// Of those at one address.
    pub ip: Most,
    /// Bits per second of a publisher.
    pub bitrate: Option<u64>,
    /// How long it may send twice as much.
    pub bitrate_grace: Duration,
}

/// How many there may be at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Publishers and players.
    pub connections: Option<u32>,
    /// Publishers.
    pub streams: Option<u32>,
    /// Players.
    pub players: Option<u32>,
}
