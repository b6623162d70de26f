//! One clock for the whole house: microseconds, signed, converted at the edge.

use std::ops::{Add, AddAssign, Sub};

/// A point in media time or in the session's own time, or a span of either; microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// From seconds.
    pub const fn from_secs(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }

    /// Whole milliseconds, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Seconds.
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Add for Micros {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Micros {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Extends a wrapping counter (RTMP and FLV timestamps, milliseconds) to 64 bits: each value is taken as the one nearest
/// to the value before it, so that the count survives the wrap, and a step back stays a step back. Of the 32 bits only 31 count, since
/// half of all software wraps after 24.8 days and the other half after 49.7.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrap31 {
    last: Option<i64>,
}

impl Unwrap31 {
    /// The 64-bit value that `value` stands for.
    pub fn unwrap(&mut self, value: u32) -> i64 {
        let full = match self.last {
            None => i64::from(value),
            Some(last) => {
                let step = (value.wrapping_sub(last as u32) << 1) as i32 >> 1;
                last.saturating_add(i64::from(step))
            }
        };
        self.last = Some(full);
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_over_the_wrap_and_back() {
        for max in [u32::MAX, u32::MAX >> 1] {
            let mut u = Unwrap31::default();
            assert_eq!(u.unwrap(max - 5), i64::from(max) - 5);
            assert_eq!(u.unwrap(4), i64::from(max) + 5);
            assert_eq!(u.unwrap(max), i64::from(max));
        }
    }

    #[test]
    fn millis_round_down() {
        assert_eq!(Micros(-1).millis(), -1);
        assert_eq!(Micros(1999).millis(), 1);
    }
}
