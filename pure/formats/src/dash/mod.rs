//! DASH: the manifest of a live stream. Its segments are chunks of CMAF (`cmaf`) put together; where they are kept is not known here.
//!
//! Spec: ISO/IEC 23009-1 §5 and §8.4 (profile "live").

mod text;

use std::collections::VecDeque;

use media::{Kind, Micros};

use crate::mp4::Description;

pub use text::{CLOCK, Text};

/// The manifest as a whole.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The wall clock at the time zero of the presentation, in milliseconds since 1970: what is shown at a time of the presentation is there when the
    /// wall clock has passed this and that time.
    pub available_since: i64,
    /// The wall clock now, in milliseconds since 1970.
    pub published: i64,
    /// How often players are to fetch it; they are told once in a segment if that is more often.
    pub update_period: Micros,
    /// Segments of each track that can be fetched at any time: the time shift buffer is so many times as long as the longest.
    pub window: usize,
    /// What segments are listed later than they end, at most.
    pub late: Micros,
    /// Where its files are, from its own place: a relative address that ends with a slash, or nothing.
    pub base: String,
    /// Its own address, by which players may learn the time of the server.
    pub own: String,
    /// Stretches of the stream without a discontinuity, oldest first.
    pub periods: VecDeque<Period>,
}

/// What players are told of low latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Low {
    /// How far behind the stream they are to be.
    pub latency: Micros,
    /// The longest chunk of a segment that grows.
    pub chunk: Micros,
    /// How often they are to fetch the manifest.
    pub update_period: Micros,
}

/// A stretch of the stream without a discontinuity.
#[derive(Clone, Debug, Default)]
pub struct Period {
    /// Its name: a number that never comes again, since its segments are called by it.
    pub id: u64,
    /// Where it begins in the presentation.
    pub start: Micros,
    /// Its video, its audio.
    pub sets: Vec<Set>,
}

/// A track of a period.
#[derive(Clone, Debug)]
pub struct Set {
    /// What it is.
    pub about: Description,
    /// The address of its init segment.
    pub init: String,
    /// The tick that is shown at the beginning of the period.
    pub zero: u64,
    /// The most bits per second that a segment has had.
    pub bandwidth: u64,
    /// Its segments that can be fetched: when each begins to be shown, and its duration, in ticks.
    pub segments: VecDeque<(u64, u64)>,
    /// The one behind them that grows, if it can be fetched while it does: when it begins, and how long it will probably be.
    pub growing: Option<(u64, u64)>,
}

impl Set {
    /// The name of the track: the first part of the names of its files.
    pub fn name(&self) -> &'static str {
        name(self.about.kind)
    }

    fn micros(&self, ticks: u64) -> Micros {
        let micros = u128::from(ticks) * 1_000_000 / u128::from(self.about.timescale.max(1));
        Micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Where its last segment ends, from the beginning of the period.
    pub fn end(&self) -> Micros {
        self.segments.back().map_or(Micros::ZERO, |(at, length)| self.time(at + length))
    }

    /// When a tick is shown, from the beginning of the period.
    pub fn time(&self, tick: u64) -> Micros {
        self.micros(tick.saturating_sub(self.zero))
    }

    /// How long the next segment will probably be, in ticks: as the longest before, or else as told.
    pub fn expected(&self, otherwise: Micros) -> u64 {
        let told = || ticks(otherwise, self.about.timescale);
        self.segments.iter().map(|(_, length)| *length).max().unwrap_or_else(told)
    }

    fn listed(&self, low: Option<Low>) -> impl Iterator<Item = (u64, u64)> {
        self.segments.iter().copied().chain(self.growing.filter(|_| low.is_some()))
    }

    fn longest(&self, low: Option<Low>) -> Option<Micros> {
        self.listed(low).map(|(_, length)| self.micros(length)).max()
    }
}

/// The name of a track.
pub fn name(kind: Kind) -> &'static str {
    if kind == Kind::Video { "video" } else { "audio" }
}

/// What a segment of a period is called that begins to be shown at this tick.
pub fn segment(kind: Kind, period: u64, at: u64) -> String {
    format!("{}-{period}-{at}.m4s", name(kind))
}

/// A time in ticks, to the nearest.
pub fn ticks(time: Micros, timescale: u32) -> u64 {
    let ticks = (i128::from(time.0) * i128::from(timescale) + 500_000) / 1_000_000;
    u64::try_from(ticks).unwrap_or_default()
}

impl Period {
    /// Where it ends, from its beginning.
    pub fn end(&self) -> Micros {
        self.sets.iter().map(Set::end).max().unwrap_or_default()
    }

    fn is_listed(&self, low: Option<Low>) -> bool {
        self.sets.iter().any(|set| set.listed(low).next().is_some())
    }
}
