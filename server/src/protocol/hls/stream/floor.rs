//! `hls_ts_floor`: the number that stands for the time in the names of segments.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// `hls_ts_floor`: segments are numbered by the wall clock, one number each, so that several servers give the same segment the same
/// name.
pub(super) struct Floor {
    /// Milliseconds.
    pub(super) fragment: i64,
    /// The number of the newest segment.
    pub(super) accepted: Option<i64>,
    /// The next segment is the first of its publisher.
    pub(super) anew: bool,
    /// Told to the segmenter: microseconds by which segments are to be longer, so that numbers and clock come together again.
    pub(super) correction: Arc<AtomicI64>,
}

impl Floor {
    /// Numbers further from the clock than this are given up.
    const FAR: i64 = 20;
    /// How much of the distance one segment makes up for.
    const SHARE: f64 = 0.3;

    /// `kept` segments have their names still, which must not be given again.
    pub(super) fn next(&mut self, now: i64, kept: usize) -> i64 {
        let clock = now.div_euclid(self.fragment);
        let follows = self.accepted.map_or(clock - 1, |accepted| accepted + 1);
        let next = if std::mem::take(&mut self.anew) { follows.max(clock - 1) } else { follows };
        let distance = next - clock;
        let is_far = distance < -Self::FAR || distance > Self::FAR.max(kept as i64 + 1);
        let next = if is_far { clock - 1 } else { next };
        self.accepted = Some(next);
        let distance = (next - clock).clamp(-Self::FAR, Self::FAR);
        let micros = Self::SHARE * distance as f64 * self.fragment as f64 * 1000.0;
        self.correction.store(micros as i64, Ordering::Relaxed);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_go_up_by_one_and_pull_towards_the_clock() {
        let correction = Arc::<AtomicI64>::default();
        let (fragment, accepted) = (10_000, None);
        let mut floor = Floor { fragment, accepted, anew: true, correction: correction.clone() };
        assert_eq!(floor.next(1_000_000, 0), 99);
        assert_eq!(correction.load(Ordering::Relaxed), -3_000_000, "one behind: shorter segments");
        assert_eq!(floor.next(1_005_000, 0), 100);
        assert_eq!(correction.load(Ordering::Relaxed), 0);
        assert_eq!(floor.next(1_006_000, 0), 101);
        assert_eq!(correction.load(Ordering::Relaxed), 3_000_000);
        assert_eq!(floor.next(5_000_000, 0), 499, "the clock has jumped");
        floor.anew = true;
        assert_eq!(floor.next(5_001_000, 0), 500, "another publisher gives no name again");
        assert_eq!(floor.next(4_600_000, 60), 501, "the clock has jumped back, but such names are in use");
        assert_eq!(correction.load(Ordering::Relaxed), 60_000_000, "no more than 20 are made up for");
        assert_eq!(floor.next(4_000_000, 60), 399);
    }
}
