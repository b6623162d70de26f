//! Where in a recording players can begin: at keyframes, or, where there are no pictures, anywhere. What is known stays known; a file that grows is
//! looked at from where the last look ended.

use bytes::Bytes;
use media::Micros;

/// A place where players can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// On the time line of the file, whose zero is its first frame.
    pub time: Micros,
    /// Reading begins here: a little before, so that the sound that goes with the pictures is found.
    pub at: u64,
    /// So many settings stand before it. Where they are more than before, they may be others.
    pub settings: usize,
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
    /// See [`Point::settings`].
    pub settings: usize,
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
    /// What files with stretches begin with, by their settings.
    pub(super) inits: Vec<(usize, Option<Bytes>)>,
    /// FLV: the first tag of sound, which tells what it is if nothing else does.
    pub(super) first_sound: Option<u64>,
}

/// Points are no closer to each other.
const CLOSEST: Micros = Micros::from_secs(1);
/// Far in a long recording they are further from each other, by the time divided by this: so there are some 250,000 in thirty days.
const SPARSE: i64 = 50_000;
/// More points, and more changes of settings, are not kept.
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
        let settings = self.configs.len();
        let is_of_use = self.points.last().is_none_or(|last| {
            time >= last.time + CLOSEST.max(Micros(time.0 / SPARSE))
                || last.settings != settings && time > last.time
        });
        if is_of_use && self.points.len() < MOST_POINTS {
            let at = self.recent.before(at);
            self.points.push(Point { time, at, settings });
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

    /// What a stretch with these settings begins with, if that was found out.
    pub(super) fn init(&self, settings: usize) -> Option<Option<Bytes>> {
        let known = self.inits.iter().find(|(known, _)| *known == settings);
        known.map(|(_, init)| init.clone())
    }

    /// There is none before it.
    pub(super) fn is_first(&self, point: Point) -> bool {
        self.points.first() == Some(&point)
    }

    /// The recording in parts that are at least `target` long, but for the last, and for those that end since the settings are others; of a recording
    /// that still grows, those that are complete.
    pub fn stretches(&self, target: Micros) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let Some(mut open) = self.points.first() else { return stretches };
        let stretch = |number, open: &Point, end| {
            let Point { time: start, settings, .. } = *open;
            Stretch { number, start, end, settings }
        };
        for point in &self.points {
            if point.time >= open.time + target || point.settings != open.settings {
                stretches.push(stretch(stretches.len(), open, point.time));
                open = point;
            }
        }
        let end = self.last.max(self.main.unwrap_or_default() + self.step) + Micros(1);
        if self.is_over && end > open.time {
            stretches.push(stretch(stretches.len(), open, end));
        }
        stretches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_the_same_however_far_the_recording_has_grown() {
        let ms = Micros::from_millis;
        let mut index = Index::default();
        let mut before: Vec<Stretch> = Vec::new();
        for n in 0..100 {
            if n == 0 || n == 50 {
                index.add_config(n as u64);
            }
            index.recent.note(ms(n * 400), n as u64 * 10);
            // A keyframe every 400 ms: a point every 1200.
            index.add(ms(n * 400), n as u64 * 10);
            index.pass(ms(n * 400), true);
            let now = index.stretches(ms(6000));
            assert_eq!(now[..before.len()], before);
            before = now;
        }
        index.is_over = true;
        let all = index.stretches(ms(6000));
        assert!(
            all.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].number + 1 == pair[1].number)
        );
        let ends: Vec<_> = all.iter().map(|stretch| (stretch.end.millis(), stretch.settings)).collect();
        assert_eq!(
            ends,
            [
                (6000, 1),
                (12_000, 1),
                (18_000, 1),
                (20_000, 1),
                (26_000, 2),
                (32_000, 2),
                (38_000, 2),
                (40_000, 2)
            ]
        );
        let point = index.before(ms(13_000)).unwrap();
        assert_eq!(point.time, ms(12_000));
        assert!((100..300).contains(&(300 - point.at)) || point.at <= 300 - 20, "a second before: {point:?}");
        assert_eq!(index.before(ms(-5)), index.points.first().copied());
    }
}
