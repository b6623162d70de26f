//! What is missing, and when to ask for it again.

use std::collections::BTreeMap;
use std::ops::Range;

use media::Micros;

/// Numbers that have not come, with what was done about each.
#[derive(Debug)]
pub(super) struct Missing {
    list: BTreeMap<u64, Asked>,
    round_trip: Micros,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    since: Micros,
    due: Micros,
    times: u32,
}

/// More missing than this at a time is no loss that asking could repair; a keyframe will.
const MAX: usize = 600;
/// Packets that overtake each other by this much are not missing (SRS waits as long).
const TOLERANCE: Micros = Micros::from_millis(10);
/// Asking for one number ends after this long or this often (SRS: 1 s, 15 times).
const MAX_AGE: Micros = Micros::from_secs(1);
const MAX_TIMES: u32 = 10;
/// The pause before asking again stays within these.
const PAUSE: (Micros, Micros) = (Micros::from_millis(20), Micros::from_millis(500));

impl Default for Missing {
    fn default() -> Self {
        Self { list: BTreeMap::new(), round_trip: Micros::from_millis(50) }
    }
}

impl Missing {
    pub(super) fn lost(&mut self, now: Micros, gap: Range<u64>) {
        if gap.end.saturating_sub(gap.start) > MAX as u64 {
            return self.list.clear();
        }
        self.list.extend(gap.map(|number| (number, Asked { since: now, due: now + TOLERANCE, times: 0 })));
        if self.list.len() > MAX {
            self.list.clear();
        }
    }

    pub(super) fn came(&mut self, number: u64) {
        self.list.remove(&number);
    }

    /// All before `next` are given up.
    pub(super) fn forget(&mut self, next: u64) {
        self.list = self.list.split_off(&next);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    pub(super) fn set_round_trip(&mut self, measured: Micros) {
        let measured = measured.clamp(Micros::ZERO, PAUSE.1);
        self.round_trip = Micros((self.round_trip.0 * 4 + measured.0) / 5);
    }

    /// The smoothed round trip.
    pub(super) fn round_trip(&self) -> Micros {
        self.round_trip
    }

    pub(super) fn due(&self) -> Option<Micros> {
        self.list.values().map(|asked| asked.due).min()
    }

    /// After every fourth time the pause grows by a round trip.
    pub(super) fn ask(&mut self, now: Micros, out: &mut Vec<u16>) {
        let pause = self.round_trip.clamp(PAUSE.0, PAUSE.1);
        self.list.retain(|number, asked| {
            if now < asked.due {
                return true;
            }
            if asked.times >= MAX_TIMES || now - asked.since > MAX_AGE {
                return false;
            }
            asked.times += 1;
            asked.due = now + Micros(pause.0 * i64::from(1 + asked.times / 4)).min(PAUSE.1);
            out.push(*number as u16);
            true
        });
    }
}
