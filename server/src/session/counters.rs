//! Byte counters, bit rates over the last complete 30 seconds, and how packets arrive.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::Micros;
use parking_lot::Mutex;

/// Bytes in and out, media units skipped for slowness, packets asked for again; and how packets arrive, where the protocol tells.
#[derive(Debug)]
pub struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    skipped: AtomicU64,
    nacked: AtomicU64,
    reception: Mutex<Option<Reception>>,
    /// When they were made.
    start: Instant,
    /// When what a player gets next was new, in microseconds since the start; [`EDGE`] for one that lacks nothing.
    behind: AtomicI64,
}

/// The player has all that there is.
const EDGE: i64 = i64::MAX;

/// How the packets of a client arrive: a publisher's at the server, those for a player at the player.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reception {
    /// The share of packets lost lately, 0 to 1.
    pub loss: f64,
    /// Packets lost since the start.
    pub lost: i32,
    /// Interarrival jitter.
    pub jitter: Micros,
    /// The last round trip measured.
    pub round_trip: Option<Micros>,
}

impl Default for Counters {
    fn default() -> Self {
        let none = || AtomicU64::new(0);
        Self {
            received: none(),
            sent: none(),
            skipped: none(),
            nacked: none(),
            reception: Mutex::default(),
            start: Instant::now(),
            behind: AtomicI64::new(EDGE),
        }
    }
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

    /// Counts packets that the receiver of the media has asked for again.
    pub fn add_nacked(&self, packets: u64) {
        self.nacked.fetch_add(packets, Relaxed);
    }

    /// Counts what somebody else has counted.
    pub fn add(&self, flow: &Flow) {
        self.add_received(flow.received);
        self.add_sent(flow.sent);
        self.add_skipped(flow.skipped);
        self.add_nacked(flow.nacked);
    }

    /// All counts of this moment.
    pub fn flow(&self) -> Flow {
        Flow {
            received: self.received(),
            sent: self.sent(),
            skipped: self.skipped(),
            nacked: self.nacked.load(Relaxed),
        }
    }

    /// What the player has got is `lag` behind what there is, and goes on falling behind until somebody says otherwise.
    pub fn fall_behind(&self, lag: Duration) {
        let since = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(EDGE);
        self.behind.store(since(self.start.elapsed()).saturating_sub(since(lag)), Relaxed);
    }

    /// The player has all that there is.
    pub fn catch_up(&self) {
        self.behind.store(EDGE, Relaxed);
    }

    /// How far a player is behind the newest media, as far as is known here: what is on its way to it counts as arrived.
    pub fn lag(&self) -> Duration {
        let now = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(EDGE);
        Duration::from_micros(now.saturating_sub(self.behind.load(Relaxed)).try_into().unwrap_or(0))
    }

    /// Tells how packets arrive; a round trip that is not told stays as it was.
    pub fn set_reception(&self, reception: Reception) {
        let mut kept = self.reception.lock();
        let round_trip = reception.round_trip.or(kept.and_then(|kept| kept.round_trip));
        *kept = Some(Reception { round_trip, ..reception });
    }

    /// Tells the round trip alone.
    pub fn set_round_trip(&self, round_trip: Micros) {
        self.reception.lock().get_or_insert_default().round_trip = Some(round_trip);
    }

    /// How packets arrive; `None` where nobody tells.
    pub fn reception(&self) -> Option<Reception> {
        *self.reception.lock()
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

/// What has come and gone: the counts of a client or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes read.
    pub received: u64,
    /// Bytes written.
    pub sent: u64,
    /// Media units missed for slowness.
    pub skipped: u64,
    /// Packets asked for again.
    pub nacked: u64,
}

impl Flow {
    /// What has been added since.
    pub fn since(self, before: Self) -> Self {
        Self {
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
            skipped: self.skipped.saturating_sub(before.skipped),
            nacked: self.nacked.saturating_sub(before.nacked),
        }
    }
}

impl AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
        self.skipped += other.skipped;
        self.nacked += other.nacked;
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

/// A rate window of the API.
const WINDOW: Duration = Duration::from_secs(30);

/// The rate over the last complete window; zero before the first, which begins when this is made.
#[derive(Debug)]
pub struct Rate(Mutex<Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    received: u64,
    sent: u64,
    kbps: Kbps,
}

impl Default for Rate {
    fn default() -> Self {
        Self(Mutex::new(Window { since: Instant::now(), received: 0, sent: 0, kbps: Kbps::default() }))
    }
}

impl Rate {
    /// Takes the byte counts of this moment, which end the window if it has lasted for [`WINDOW`].
    pub fn sample(&self, now: Instant, received: u64, sent: u64) {
        let window = &mut *self.0.lock();
        let passed = now.saturating_duration_since(window.since);
        if passed < WINDOW {
            return;
        }
        let rate = |now: u64, before: u64| now.saturating_sub(before) * 8 / passed.as_millis() as u64;
        let kbps = Kbps { received: rate(received, window.received), sent: rate(sent, window.sent) };
        *window = Window { since: now, received, sent, kbps };
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
    fn a_player_falls_behind_and_catches_up() {
        let counters = Counters::default();
        assert_eq!(counters.lag(), Duration::ZERO);
        // Of the past, as those who join get it.
        counters.fall_behind(Duration::from_secs(2));
        assert!((2..3).contains(&counters.lag().as_secs()), "{:?}", counters.lag());
        counters.catch_up();
        assert_eq!(counters.lag(), Duration::ZERO);
    }

    #[test]
    fn rates_are_per_window() {
        let rate = Rate::default();
        let start = rate.0.lock().since;
        let sample = |seconds, received, sent| {
            rate.sample(start + Duration::from_secs(seconds), received, sent);
            (rate.kbps().received, rate.kbps().sent)
        };
        assert_eq!(sample(29, 1_000_000, 10), (0, 0));
        assert_eq!(sample(30, 3_750_000, 0), (1000, 0));
        assert_eq!(sample(45, 9_000_000, 9_000_000), (1000, 0));
        // A window that ends late is as long as it is.
        assert_eq!(sample(62, 7_750_000, 400_000), (1000, 100));
    }
}
