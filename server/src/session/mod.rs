//! Who is connected: one [`Session`] per connection with its counters and its kick, and the [`Roll`] of all of them
//! with the streams and vhosts they use. The API reads here; nobody pushes figures anywhere.

mod census;
mod counters;
mod health;
mod request;
mod roll;
mod status;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::trace::Context;

pub use census::{Census, KindFigures, StreamFigures};
pub use counters::{Counters, Flow, Kbps, Rate, Reception};
pub use health::{Figures, Health, Meter};
pub use request::Request;
pub use roll::{Client, Entry, Roll, Seat, Stream, Totals, Vhost};
pub use status::tell as tell_status;

/// The context id: 8 characters that name a connection in the log, the API and callbacks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid([u8; 8]);

impl Cid {
    /// A new random one.
    pub fn random() -> Self {
        Self(random_name())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a context id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a context id")]
pub struct NotACid;

impl FromStr for Cid {
    type Err = NotACid;

    fn from_str(s: &str) -> Result<Self, NotACid> {
        let bytes: [u8; 8] = s.as_bytes().try_into().map_err(|_| NotACid)?;
        if bytes.iter().all(u8::is_ascii_alphanumeric) { Ok(Self(bytes)) } else { Err(NotACid) }
    }
}

/// Random lower-case letters and digits, for context ids and the like.
pub fn random_name<const N: usize>() -> [u8; N] {
    std::array::from_fn(|_| {
        fastrand::choice(b"0123456789abcdefghijklmnopqrstuvwxyz").copied().unwrap_or(b'0')
    })
}

/// `vid-` and 7 random characters: the form of server, vhost and stream ids.
pub fn random_vid() -> String {
    format!("vid-{}", String::from_utf8_lossy(&random_name::<7>()))
}

/// What a client does, in the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Plays over RTMP.
    RtmpPlay,
    /// Plays FLV, or another live format, over HTTP or WebSocket.
    FlvPlay,
    /// Plays HLS.
    HlsPlay,
    /// Plays over WebRTC.
    RtcPlay,
    /// Publishes over RTMP as FMLE does (`releaseStream`, `FCPublish`, …): OBS, FFmpeg and most others.
    FmlePublish,
    /// Publishes over RTMP as Flash does (`createStream`, `publish`).
    FlashPublish,
    /// Publishes over RTMP as Haivision encoders do.
    HaivisionPublish,
    /// Publishes over WebRTC.
    RtcPublish,
}

impl Kind {
    /// All of them, for those who tell of a kind before its first client has come.
    pub const ALL: [Self; 8] = [
        Self::RtmpPlay,
        Self::FlvPlay,
        Self::HlsPlay,
        Self::RtcPlay,
        Self::FmlePublish,
        Self::FlashPublish,
        Self::HaivisionPublish,
        Self::RtcPublish,
    ];

    /// The API's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::RtmpPlay => "rtmp-play",
            Self::FlvPlay => "flv-play",
            Self::HlsPlay => "hls-play",
            Self::RtcPlay => "rtc-play",
            Self::FmlePublish => "fmle-publish",
            Self::FlashPublish => "flash-publish",
            Self::HaivisionPublish => "haivision-publish",
            Self::RtcPublish => "rtc-publish",
        }
    }

    /// It is a session of WebRTC.
    pub fn is_rtc(self) -> bool {
        matches!(self, Self::RtcPlay | Self::RtcPublish)
    }

    /// It publishes.
    pub fn is_publish(self) -> bool {
        matches!(self, Self::FmlePublish | Self::FlashPublish | Self::HaivisionPublish | Self::RtcPublish)
    }
}

/// One connection, from accept to close.
pub struct Session {
    /// Its name.
    pub cid: Cid,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Bytes in and out, bumped by `net`.
    pub counters: Counters,
    trace: Context,
    /// Spans of it are recorded.
    traced: AtomicBool,
    /// It has been on the roll.
    entered: AtomicBool,
    kicked: AtomicBool,
    kick: Notify,
    reason: Mutex<String>,
}

impl Session {
    /// A session for a connection just accepted.
    pub fn new(peer: SocketAddr) -> Arc<Self> {
        Self::named(Cid::random(), peer)
    }

    /// A session that has its name already; what is a session spans several connections.
    pub fn named(cid: Cid, peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            cid,
            peer,
            counters: Counters::default(),
            trace: Context::random(),
            traced: AtomicBool::new(false),
            entered: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            kick: Notify::new(),
            reason: Mutex::default(),
        })
    }

    /// Who it is in traces.
    pub fn trace(&self) -> Context {
        self.trace
    }

    /// Spans of it are recorded from now on.
    pub fn mark_traced(&self) {
        self.traced.store(true, Ordering::Relaxed);
    }

    /// Whether they are.
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    /// The `traceparent` of requests that the server makes for it (W3C Trace Context), recorded here or not.
    pub fn traceparent(&self) -> String {
        self.trace.traceparent(self.is_traced())
    }

    /// Ends the session; `reason` goes to the log.
    pub fn kick(&self, reason: impl Into<String>) {
        *self.reason.lock() = reason.into();
        self.kicked.store(true, Ordering::Release);
        self.kick.notify_waiters();
    }

    /// Why it was kicked, if it was.
    pub fn kick_reason(&self) -> Option<String> {
        self.kicked.load(Ordering::Acquire).then(|| self.reason.lock().clone())
    }

    /// Waits until somebody kicks it; the reason.
    pub async fn kicked(&self) -> String {
        let kick = self.kick.notified();
        tokio::pin!(kick);
        kick.as_mut().enable();
        if !self.kicked.load(Ordering::Acquire) {
            kick.await;
        }
        self.reason.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cids_survive_text() {
        let cid = Cid::random();
        assert_eq!(cid.to_string().parse(), Ok(cid));
        assert_eq!("short".parse::<Cid>(), Err(NotACid));
        assert_eq!("../../..".parse::<Cid>(), Err(NotACid));
    }

    #[tokio::test]
    async fn a_kick_before_the_wait_counts() {
        let session = Session::new("127.0.0.1:1".parse().unwrap());
        session.kick("enough");
        assert_eq!(session.kicked().await, "enough");
    }
}
