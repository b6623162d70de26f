//! How forwarders are doing, for those who watch the server: each by itself, and all together. Nobody pushes; counters are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use hub::StreamKey;
use parking_lot::Mutex;

use crate::session::{Cid, random_vid};

/// Sums since the start, and how many there are now.
#[derive(Debug, Default)]
pub struct Figures {
    /// Forwarders of now.
    pub forwarders: AtomicU64,
    /// Those whose destination takes the stream.
    pub connected: AtomicU64,
    /// Times that a destination took the stream.
    pub connections: AtomicU64,
    /// Times that one did not, or that its connection broke.
    pub failures: AtomicU64,
    /// Bytes sent.
    pub bytes: AtomicU64,
    /// Media units left out because a destination was too slow or away for too long.
    pub dropped: AtomicU64,
}

/// What a forwarder is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Connects.
    Connecting,
    /// The destination takes the stream.
    Forwarding,
    /// It does not; the reason. It is tried again.
    Waiting(String),
    /// It would come back to this server: it is not tried again.
    Loop,
}

/// One forwarder, as others see it.
#[derive(Debug)]
pub struct Standing {
    /// `vid-…`
    pub id: String,
    /// The stream.
    pub key: StreamKey,
    /// Its publisher.
    pub publisher: Cid,
    /// The destination, without what may be secret.
    pub url: String,
    /// When it began.
    pub since: Instant,
    state: Mutex<State>,
    connections: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    all: Arc<Figures>,
}

impl Standing {
    /// A forwarder that has not connected yet.
    pub(super) fn new(all: &Arc<Figures>, key: &StreamKey, publisher: Cid, url: String) -> Arc<Self> {
        all.forwarders.fetch_add(1, Relaxed);
        let none = || AtomicU64::new(0);
        Arc::new(Self {
            id: random_vid(),
            key: key.clone(),
            publisher,
            url,
            since: Instant::now(),
            state: Mutex::new(State::Connecting),
            connections: none(),
            failures: none(),
            bytes: none(),
            dropped: none(),
            all: all.clone(),
        })
    }

    /// What it is at.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Times that the destination took the stream.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Times that it did not, or that its connection broke.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Bytes sent.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Media units left out.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn turn(&self, state: State) {
        let (all, is_on) = (&self.all, state == State::Forwarding);
        match &state {
            State::Forwarding => {
                self.connections.fetch_add(1, Relaxed);
                all.connections.fetch_add(1, Relaxed);
            }
            State::Waiting(_) => {
                self.failures.fetch_add(1, Relaxed);
                all.failures.fetch_add(1, Relaxed);
            }
            State::Connecting | State::Loop => {}
        }
        let was_on = std::mem::replace(&mut *self.state.lock(), state) == State::Forwarding;
        match (was_on, is_on) {
            (false, true) => drop(all.connected.fetch_add(1, Relaxed)),
            (true, false) => drop(all.connected.fetch_sub(1, Relaxed)),
            _ => {}
        }
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.all.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_dropped(&self, units: u64) {
        self.dropped.fetch_add(units, Relaxed);
        self.all.dropped.fetch_add(units, Relaxed);
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.all.forwarders.fetch_sub(1, Relaxed);
        if *self.state.get_mut() == State::Forwarding {
            self.all.connected.fetch_sub(1, Relaxed);
        }
    }
}
