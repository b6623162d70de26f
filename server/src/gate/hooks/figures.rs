//! How callbacks are doing, for those who watch the server. Nobody pushes; counters are read.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::event::Action;

/// The upper bounds of the latency buckets, in milliseconds; what takes longer is in none of them.
pub const BOUNDS: [u64; 8] = [5, 10, 25, 50, 100, 500, 2500, 10_000];

/// Counters of each event since the start.
#[derive(Debug, Default)]
pub struct Figures([Figure; Action::ALL.len()]);

/// Counters of one event.
#[derive(Debug, Default)]
pub struct Figure {
    calls: AtomicU64,
    refusals: AtomicU64,
    failures: AtomicU64,
    retries: AtomicU64,
    dropped: AtomicU64,
    waiting: AtomicU64,
    latency: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len()],
}

/// Those counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests made, those made again included.
    pub calls: u64,
    /// Answers that say no.
    pub refusals: u64,
    /// Requests without an answer, or with one that means nothing.
    pub failures: u64,
    /// Requests that were made again.
    pub retries: u64,
    /// Notices that were given up: the queue was full, or the service did not answer for too long.
    pub dropped: u64,
    /// Notices that wait for their turn.
    pub waiting: u64,
    /// What all requests took together.
    pub latency: Duration,
    /// How many took no longer than each of [`BOUNDS`].
    pub buckets: [u64; BOUNDS.len()],
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, refusals, failures, retries, dropped, waiting, .. } = self;
        let mean = self.latency.as_millis() / u128::from(*calls).max(1);
        write!(f, "calls={calls}, refusals={refusals}, failures={failures}, retries={retries}, ")?;
        write!(f, "dropped={dropped}, waiting={waiting}, mean={mean} ms")?;
        BOUNDS.iter().zip(self.buckets).try_for_each(|(bound, count)| write!(f, ", {count} in {bound} ms"))
    }
}

impl Figures {
    /// The counters of an event.
    pub(super) fn of(&self, action: Action) -> &Figure {
        &self.0[action as usize]
    }

    /// All counters as they are now.
    pub fn snapshot(&self) -> impl Iterator<Item = (Action, Snapshot)> {
        Action::ALL.into_iter().map(|action| (action, self.of(action).snapshot()))
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Yes,
    No,
    Failed,
}

impl Figure {
    /// A request has come to its end.
    pub(super) fn called(&self, outcome: Outcome, took: Duration) {
        self.calls.fetch_add(1, Relaxed);
        match outcome {
            Outcome::Yes => {}
            Outcome::No => drop(self.refusals.fetch_add(1, Relaxed)),
            Outcome::Failed => drop(self.failures.fetch_add(1, Relaxed)),
        }
        self.latency.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            if took <= Duration::from_millis(*bound) {
                bucket.fetch_add(1, Relaxed);
            }
        }
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn queued(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    pub(super) fn unqueued(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Snapshot {
            calls: read(&self.calls),
            refusals: read(&self.refusals),
            failures: read(&self.failures),
            retries: read(&self.retries),
            dropped: read(&self.dropped),
            waiting: read(&self.waiting),
            latency: Duration::from_micros(read(&self.latency)),
            buckets: std::array::from_fn(|i| read(&self.buckets[i])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_own_counters() {
        let figures = Figures::default();
        figures.of(Action::Publish).called(Outcome::No, Duration::from_millis(30));
        figures.of(Action::Publish).called(Outcome::Failed, Duration::from_secs(20));
        figures.of(Action::Stop).dropped();
        let all: Vec<_> = figures.snapshot().collect();
        let of = |action| all.iter().find(|(a, _)| *a == action).unwrap().1;
        let publish = of(Action::Publish);
        assert_eq!((publish.calls, publish.refusals, publish.failures), (2, 1, 1));
        assert_eq!(publish.buckets, [0, 0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(publish.latency, Duration::from_millis(20_030));
        assert_eq!((of(Action::Stop).dropped, of(Action::Play)), (1, Snapshot::default()));
    }
}
