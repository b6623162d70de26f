//! The clock of a conversion: counts samples, and follows the publisher's time where the two part.

use media::Micros;

use super::RATE;

/// The publisher's time has jumped when it is this far from the count of samples.
const JUMP: Micros = Micros::from_millis(100);
/// How far the two may drift apart on average before the clock is set right, in microseconds. Short of what an eye notices
/// between lips and sound.
const DRIFT: f64 = 12_000.0;
/// The weight of a frame in that average: the stamps of RTMP are whole milliseconds, and those of RTP sources jitter.
const WEIGHT: f64 = 1.0 / 16.0;

/// See the module.
pub(super) struct Clock {
    /// The time of the first sample since the start.
    base: Micros,
    /// Samples per second that come in.
    rate: u32,
    /// Samples that have come in since the start.
    heard: u64,
    /// Samples that have gone out since the start, at [`RATE`].
    told: u64,
    /// By how much what a packet says is older than what it was made of, in samples at [`RATE`].
    delay: usize,
    /// By how much the stamps have been later than the count, on average, in microseconds.
    late: f64,
}

impl Clock {
    /// A clock for an encoder that delays the sound by so many samples.
    pub(super) fn new(delay: usize) -> Self {
        Self { base: Micros::ZERO, rate: RATE, heard: 0, told: 0, delay, late: 0.0 }
    }

    /// Counts from here.
    pub(super) fn start(&mut self, pts: Micros, rate: u32) {
        (self.base, self.rate) = (pts, rate.max(1));
        (self.heard, self.told, self.late) = (0, 0, 0.0);
    }

    /// The stamp of the next frame has nothing to do with the one before it.
    pub(super) fn has_jumped(&self, pts: Micros) -> bool {
        let off = pts - self.expected();
        off > JUMP || off < Micros::ZERO - JUMP
    }

    /// So many samples come in with this stamp.
    pub(super) fn hear(&mut self, pts: Micros, samples: usize) {
        let off = (pts - self.expected()).0 as f64;
        self.late += (off - self.late) * WEIGHT;
        if self.late.abs() > DRIFT {
            self.base += Micros(self.late as i64);
            self.late = 0.0;
        }
        self.heard += samples as u64;
    }

    /// The stamp of a packet that is made of the next so many samples.
    pub(super) fn tell(&mut self, samples: usize) -> Micros {
        let at = self.told as i64 - self.delay as i64;
        self.told += samples as u64;
        self.base + span(at, RATE)
    }

    fn expected(&self) -> Micros {
        self.base + span(self.heard as i64, self.rate)
    }
}

/// How long so many samples last.
fn span(samples: i64, rate: u32) -> Micros {
    Micros(samples.saturating_mul(1_000_000) / i64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds frames of 1024 samples at 44.1 kHz with these stamps, and tells how far the clock ends from `truth`, in ms.
    fn follow(frames: i64, stamp: impl Fn(i64) -> i64, truth: impl Fn(i64) -> i64) -> f64 {
        let mut clock = Clock::new(0);
        clock.start(Micros(stamp(0)), 44_100);
        for n in 0..frames {
            let pts = Micros(stamp(n));
            if clock.has_jumped(pts) {
                clock.start(pts, 44_100);
            }
            clock.hear(pts, 1024);
        }
        (clock.expected() - Micros(truth(frames))).0 as f64 / 1000.0
    }

    const FRAME: f64 = 1024e6 / 44_100.0;

    #[test]
    fn follows_skew_jitter_and_lost_frames() {
        // Whole milliseconds, and an encoder whose clock is 0.05 % fast, for an hour.
        let skewed = |n| (n as f64 * FRAME * 1.0005 / 1000.0) as i64 * 1000;
        assert!(follow(155_000, skewed, skewed).abs() < 15.0);
        let even = |n| (n as f64 * FRAME) as i64;
        let jitter = |n| even(n) + (n * 7919 % 41 - 20) * 1000;
        assert!(follow(10_000, jitter, even).abs() < 20.0);
        let lost = |n| ((n + n / 100) as f64 * FRAME) as i64;
        assert!(follow(10_090, lost, lost).abs() < 20.0);
    }

    #[test]
    fn jumps_are_taken_at_once_and_small_steps_are_not() {
        let jump = |n| (n as f64 * FRAME) as i64 + if n > 50 { 5_000_000 } else { 0 };
        assert!(follow(52, jump, jump).abs() < 1.0);
        let back = |n| (n as f64 * FRAME) as i64 - if n > 50 { 5_000_000 } else { 0 };
        assert!(follow(52, back, back).abs() < 1.0);
        let mut clock = Clock::new(312);
        clock.start(Micros::from_secs(1), 48_000);
        clock.hear(Micros::from_secs(1), 960);
        assert!(!clock.has_jumped(Micros(1_021_000)));
        assert_eq!([clock.tell(960), clock.tell(960)], [Micros(993_500), Micros(1_013_500)]);
    }
}
