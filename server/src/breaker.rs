//! The circuit breaker: how overloaded the server is, judged each second by SRS's rules. What is to be left undone at a
//! level is decided by those who ask for it, not here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::config::{Breaker as Settings, Threshold};
use crate::events::{Event, Events};
use crate::net::Loads;

/// How overloaded the server is. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not at all.
    Normal,
    /// What can wait is to be left undone.
    High,
    /// So is what only helps quality.
    Critical,
    /// So is what players would miss.
    Dying,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Breaker {
    /// The [`Level`] as a number.
    level: AtomicU8,
}

impl Breaker {
    /// The level of now.
    pub fn level(&self) -> Level {
        match self.level.load(Relaxed) {
            0 => Level::Normal,
            1 => Level::High,
            2 => Level::Critical,
            _ => Level::Dying,
        }
    }

    /// Judges the load of the busiest core each second by the `settings` of that moment, and tells changes. Runs for ever.
    pub async fn watch(&self, settings: impl Fn() -> Option<Settings>, loads: Loads, events: Arc<Events>) {
        let mut judge: Option<Judge> = None;
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            let percent = loads.busiest();
            let settings = settings();
            if judge.as_ref().map(|judge| &judge.settings) != settings.as_ref() {
                judge = settings.map(Judge::new);
            }
            let level = judge.as_mut().map_or(Level::Normal, |judge| judge.second(percent));
            let before = self.level();
            if level == before {
                continue;
            }
            self.level.store(level as u8, Relaxed);
            let [from, to] = [before, level].map(|level| format!("{level:?}").to_lowercase());
            events.tell(
                Event::new("overload").with("from", from).with("to", to).with("busiest_percent", percent),
            );
            match level > before {
                true => warn!("overload: {before:?} -> {level:?}, the busiest core is at {percent}%"),
                false => info!("overload: {before:?} -> {level:?}, the busiest core is at {percent}%"),
            }
        }
    }
}

/// What is remembered from second to second.
#[derive(Debug)]
struct Judge {
    settings: Settings,
    /// Seconds for which these levels last still.
    high: u32,
    critical: u32,
    /// Busy seconds in a row.
    dying: u32,
}

impl Judge {
    fn new(settings: Settings) -> Self {
        Self { settings, high: 0, critical: 0, dying: 0 }
    }

    /// The level after one more second at this load.
    fn second(&mut self, percent: u32) -> Level {
        let Settings { high, critical, dying } = self.settings;
        self.high = fading(self.high, high, percent);
        self.critical = fading(self.critical, critical, percent);
        self.dying = if percent > dying.percent { self.dying.saturating_add(1).min(dying.pulse) } else { 0 };
        // A pulse of 0 never gets over 0, so that there is no such level.
        if dying.pulse > 0 && self.dying >= dying.pulse {
            Level::Dying
        } else if self.critical > 0 {
            Level::Critical
        } else if self.high > 0 {
            Level::High
        } else {
            Level::Normal
        }
    }
}

/// A busy second sets the count, a quiet one takes one off.
fn fading(left: u32, Threshold { percent: busy, pulse }: Threshold, percent: u32) -> u32 {
    if percent > busy { pulse } else { left.saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use Level::{Critical, Dying, High, Normal};

    use super::*;

    fn settings(high: u32, critical: u32, dying: u32) -> Settings {
        let threshold = |percent, pulse| Threshold { percent, pulse };
        Settings { high: threshold(90, high), critical: threshold(95, critical), dying: threshold(99, dying) }
    }

    fn levels<const N: usize>(settings: Settings, percents: [u32; N]) -> [Level; N] {
        let mut judge = Judge::new(settings);
        percents.map(|percent| judge.second(percent))
    }

    #[test]
    fn high_and_critical_fade_in_as_many_seconds_as_their_pulse() {
        assert_eq!(levels(settings(2, 1, 5), [90, 91, 50, 50, 50]), [Normal, High, High, Normal, Normal]);
        assert_eq!(levels(settings(2, 1, 5), [96, 95, 90, 0]), [Critical, High, High, Normal]);
        assert_eq!(levels(settings(1, 3, 5), [96, 0, 0, 0]), [Critical, Critical, Critical, Normal]);
    }

    #[test]
    fn dying_takes_busy_seconds_in_a_row_and_ends_with_a_quiet_one() {
        let settings = settings(2, 1, 3);
        let percents = [100, 100, 99, 100, 100, 100, 200, 99, 100, 0, 0];
        let want = [
            Critical, Critical, Critical, Critical, Critical, Dying, Dying, Critical, Critical, High, Normal,
        ];
        assert_eq!(levels(settings, percents), want);
    }

    #[test]
    fn a_pulse_of_zero_has_no_such_level() {
        assert_eq!(levels(settings(0, 0, 0), [100, 100, 100]), [Normal; 3]);
        assert_eq!(levels(settings(2, 0, 0), [100, 100, 0]), [High; 3]);
        assert_eq!(levels(settings(0, 0, 1), [100, 0]), [Dying, Normal]);
    }
}
