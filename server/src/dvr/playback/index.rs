//! Where in a recording players can begin: at keyframes, or, where there are no pictures, anywhere. What is known stays known; a file that grows is
//! looked at from where the last look ended.

use media::Micros;

/// A place where players can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// On the time line of the file, whose zero is its first frame.
    pub time: Micros,
    /// Reading begins here: a little before, so that the sound that goes with the pictures is found.
    pub at: u64,
}

/// A part of a recording, from one point to another, always the same however often it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its number in the recording, from 0.
    pub number: usize,
    /// Where it begins on the time line of the file.
    pub start: Micros,
    /// Where it ends: the next one begins there, or the recording ends.
    pub end: Micros,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) points: Vec<Point>,
    /// FLV: tags that decoders must have seen, whatever they begin with.
    pub(super) configs: Vec<u64>,
    /// The newest time of all, and that of the track that players begin with.
    pub(super) last: Micros,
    main: Option<Micros>,
    /// How long a frame of that track lasts.
    step: Micros,
    /// The file is known up to here.
    pub(super) scanned: u64,
    /// Nothing more comes.
    pub(super) is_over: bool,
    pub(super) recent: Recent,
    /// FLV: pictures have been seen.
    pub(super) has_pictures: bool,
}

/// Points are no closer to each other.
const CLOSEST: Micros = Micros::from_secs(1);
/// More points, and more changes of settings, are not kept: a day has 86,400 seconds.
const MOST_POINTS: usize = 1_000_000;
const MOST_CONFIGS: usize = 10_000;

/// Where the file was a moment ago.
#[derive(Debug, Default)]
pub(super) struct Recent(std::collections::VecDeque<(Micros, u64)>);

/// Sound and pictures that belong together are this far from each other in a file, at most.
const APART: Micros = Micros::from_secs(1);
/// Places are noted at this distance.
const EVERY: Micros = Micros::from_millis(250);

impl Recent {
    pub(super) fn note(&mut self, time: Micros, at: u64) {
        if self.0.back().is_none_or(|(last, _)| time - *last >= EVERY) {
            self.0.push_back((time, at));
        }
        while self.0.get(1).is_some_and(|(second, _)| *second <= time - APART) {
            self.0.pop_front();
        }
    }

    /// Where to read from, for what belongs to this time.
    fn before(&self, at: u64) -> u64 {
        self.0.front().map_or(at, |(_, first)| at.min(*first))
    }
}

impl Index {
    /// Players can begin at this time, which stands at this place in the file.
    pub(super) fn add(&mut self, time: Micros, at: u64) {
        let is_far = self.points.last().is_none_or(|last| time >= last.time + CLOSEST);
        if is_far && self.points.len() < MOST_POINTS {
            let at = self.recent.before(at);
            self.points.push(Point { time, at });
        }
    }

    pub(super) fn add_config(&mut self, at: u64) {
        if self.configs.len() < MOST_CONFIGS {
            self.configs.push(at);
        }
    }

    /// A frame of this time is there; `main` if it is of the track that players begin with.
    pub(super) fn pass(&mut self, time: Micros, main: bool) {
        self.last = self.last.max(time);
        if main {
            let step = self.main.map_or(Micros::ZERO, |before| time - before);
            if step > Micros::ZERO {
                self.step = step.min(CLOSEST);
            }
            self.main = Some(time);
        }
    }

    /// The last point that is not later than this, or the first.
    pub fn before(&self, time: Micros) -> Option<Point> {
        let after = self.points.partition_point(|point| point.time <= time);
        self.points.get(after.saturating_sub(1)).copied()
    }

    /// The recording in parts that are at least `target` long, but for the last; of a recording that still grows, those that are complete.
    pub fn stretches(&self, target: Micros) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let Some(first) = self.points.first() else { return stretches };
        let mut start = first.time;
        for point in self.points.iter().filter(|point| point.time >= first.time + target) {
            if point.time >= start + target {
                stretches.push(Stretch { number: stretches.len(), start, end: point.time });
                start = point.time;
            }
        }
        let end = self.last.max(self.main.unwrap_or_default() + self.step) + Micros(1);
        if self.is_over && end > start {
            stretches.push(Stretch { number: stretches.len(), start, end });
        }
        stretches
    }
}
