//! Time for sound by counting samples. Times that have been rounded to milliseconds, as those of RTMP are, would make a little gap or overlap
//! at each frame; and some encoders stamp sound in bursts. The count follows the publisher only when the two are really apart.

use media::Micros;

/// Counts the samples of one track, in ticks of its time scale.
#[derive(Clone, Debug)]
pub struct AudioClock {
    rate: u32,
    /// Where the next frame begins, by count.
    next: Option<u64>,
    /// The last frame began here.
    last: u64,
    /// For so many frames in a row the publisher has been more than a frame later (positive) or earlier (negative) than the count.
    apart: i32,
}

/// Beyond this the publisher is followed at once.
const FAR: Micros = Micros::from_millis(100);
/// After so many frames that are all off to the same side, too.
const STEADY: i32 = 64;

impl AudioClock {
    /// `rate` is in ticks per second.
    pub fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), next: None, last: 0, apart: 0 }
    }

    /// Ticks until `time`, rounded to the nearest; nothing is before zero.
    pub fn ticks(&self, time: Micros) -> u64 {
        let time = u128::try_from(time.0).unwrap_or(0);
        u64::try_from((time * u128::from(self.rate) + 500_000) / 1_000_000).unwrap_or(u64::MAX)
    }

    /// Where the next frame begins that nobody has seen yet, by count.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Where a frame of `length` ticks begins, which the publisher puts at `time`. The count is corrected only if it `may_shift`: where
    /// the frame before has not been handed out, so that its length can still make up for the step.
    pub fn place(&mut self, time: Micros, length: u64, may_shift: bool) -> u64 {
        let told = self.ticks(time);
        let start = match self.next {
            None => told,
            Some(next) if may_shift && self.is_off(told, next, length) => {
                self.apart = 0;
                // A frame may be cut short to catch up, but not to nothing.
                told.max(self.last.saturating_add((length / 2).max(1)))
            }
            Some(next) => {
                self.note(told, next, length);
                next
            }
        };
        self.last = start;
        self.next = Some(start.saturating_add(length));
        start
    }

    fn is_off(&self, told: u64, next: u64, length: u64) -> bool {
        let off = told.abs_diff(next);
        off > self.ticks(FAR) || (self.apart.abs() >= STEADY && off > length)
    }

    fn note(&mut self, told: u64, next: u64, length: u64) {
        self.apart = match told.abs_diff(next) > length {
            true if told > next => self.apart.max(0).saturating_add(1),
            true => self.apart.min(0).saturating_sub(1),
            false => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> Micros {
        Micros::from_millis(ms)
    }

    #[test]
    fn rounded_times_become_even() {
        let mut clock = AudioClock::new(44_100);
        let starts: Vec<u64> =
            (0..1000).map(|n| clock.place(ms(n * 1_024_000 / 44_100), 1024, true)).collect();
        assert!(starts.iter().enumerate().all(|(n, start)| *start == n as u64 * 1024));
    }

    #[test]
    fn bursts_are_spread() {
        let mut clock = AudioClock::new(48_000);
        for n in 0..400 {
            assert_eq!(clock.place(ms(n / 4 * 4 * 1024 / 48), 1024, true), n as u64 * 1024);
        }
    }

    #[test]
    fn a_real_step_is_followed_when_it_may_be() {
        let mut clock = AudioClock::new(48_000);
        clock.place(ms(0), 960, true);
        assert_eq!(clock.place(ms(220), 960, false), 960);
        assert_eq!(clock.place(ms(240), 960, true), 240 * 48);
        assert_eq!(clock.place(ms(260), 960, true), 260 * 48);
        // Back again: frames are shortened until it is reached.
        assert_eq!(clock.place(ms(100), 960, true), 260 * 48 + 480);
        assert_eq!(clock.place(ms(120), 960, true), 260 * 48 + 960);
    }

    #[test]
    fn what_is_lost_for_good_is_made_up_for() {
        let mut clock = AudioClock::new(48_000);
        let starts: Vec<u64> =
            (0..200).map(|n| clock.place(ms(if n < 10 { n * 20 } else { n * 20 + 45 }), 960, true)).collect();
        assert_eq!(starts[73], 73 * 960);
        assert_eq!(starts[74], 74 * 960 + 45 * 48);
        assert_eq!(starts[199], 199 * 960 + 45 * 48);
    }
}
