//! Byte counters, and bit rates over the last complete 30 seconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Bytes in and out, media units skipped for slowness.
#[derive(Debug, Default)]
pub struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    skipped: AtomicU64,
}

impl Counters {
    /// Counts bytes read.
    pub fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Counts bytes written.
    pub fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// Counts units that a slow player missed.
    pub fn add_skipped(&self, units: u64) {
        self.skipped.fetch_add(units, Relaxed);
    }

    /// Bytes read.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes written.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Units missed.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Relaxed)
    }
}

/// Bit rates, kbit/s (1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kbps {
    /// Towards us.
    pub received: u64,
    /// From us.
    pub sent: u64,
}

/// The rate over the last complete window; zero before the first.
#[derive(Debug, Default)]
pub struct Rate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    received: u64,
    sent: u64,
    kbps: Kbps,
}

impl Rate {
    /// Ends a window of `millis` at these byte counts.
    pub fn turn(&self, received: u64, sent: u64, millis: u64) {
        let window = &mut *self.0.lock();
        let rate = |now: u64, before: u64| now.saturating_sub(before) * 8 / millis.max(1);
        window.kbps = Kbps { received: rate(received, window.received), sent: rate(sent, window.sent) };
        (window.received, window.sent) = (received, sent);
    }

    /// The rate of the last window.
    pub fn kbps(&self) -> Kbps {
        self.0.lock().kbps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_window() {
        let rate = Rate::default();
        assert_eq!(rate.kbps(), Kbps::default());
        rate.turn(3_750_000, 0, 30_000);
        rate.turn(7_500_000, 375_000, 30_000);
        assert_eq!(rate.kbps(), Kbps { received: 1000, sent: 100 });
    }
}
