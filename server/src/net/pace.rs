//! How long a round of sending waits for more: fewer, larger writes cost less CPU, and delay more.

use std::time::Duration;

/// No round ever waits longer than this for more, unless the configuration asks for it.
pub const LONGEST: Duration = Duration::from_millis(350);

/// When the next round of a relay may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as there is something.
    Now,
    /// As the core's load allows ([`adapt`]).
    Adaptive,
    /// This long after the round before; and, where `units` > 0, not before more than so many units wait, but at most
    /// [`LONGEST`].
    Fixed {
        /// `mw_latency`
        every: Duration,
        /// `mw_msgs`
        units: usize,
    },
}

/// The load of a core, as a fraction of its time, that adaptive merging aims at.
const TARGET: f64 = 0.5;

/// The next merge time of a core that was busy for the fraction `load` of the last moment. Rounds cost the same however much they carry, so the load
/// falls as the merge time grows: scaling it by load over target gets there in a few steps. Below the target there is no merging at all.
pub fn adapt(merge: Duration, load: f64) -> Duration {
    const FIRST: Duration = Duration::from_millis(5);
    if load > TARGET * 1.1 {
        merge.max(FIRST).mul_f64((load / TARGET).clamp(1.0, 2.0)).min(LONGEST)
    } else if load < TARGET * 0.9 {
        let less = merge.mul_f64((load / TARGET).clamp(0.8, 1.0));
        if less < FIRST { Duration::ZERO } else { less }
    } else {
        merge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core whose rounds cost `round` seconds each, with units every 14 ms.
    fn settle(round: f64) -> (Duration, f64) {
        let (mut merge, mut load) = (Duration::ZERO, 0.0);
        for _ in 0..200 {
            load = (round / merge.as_secs_f64().max(0.014)).min(1.0);
            merge = adapt(merge, load);
        }
        (merge, load)
    }

    #[test]
    fn idle_cores_do_not_merge() {
        assert_eq!(settle(0.001).0, Duration::ZERO);
    }

    #[test]
    fn busy_cores_settle_at_the_target() {
        let (merge, load) = settle(0.030);
        assert!((0.4..=0.6).contains(&load), "{load} at {merge:?}");
    }

    #[test]
    fn never_past_the_longest() {
        assert_eq!(settle(3.0).0, LONGEST);
    }
}
