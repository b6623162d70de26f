//! The time line of a stream as its players see it: encoders restart, jump and drift, players want one steady line.

use media::{Micros, TrackId};

/// What happens to the publisher's timestamps (`time_jitter` of SRS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// The line starts at zero, jumps are closed, and no track runs backwards.
    #[default]
    Full,
    /// The first one is zero, jumps stay.
    Zero,
    /// Left as they are.
    Off,
}

/// A step to either side up to this is rhythm; beyond it, it is a jump.
const STEP: Micros = Micros::from_millis(250);
/// What a jump is replaced by.
const JUMP: Micros = Micros::from_millis(10);
/// A track may begin this far from the others: what comes over a network that loses is held up, pictures longer than sound.
const APART: Micros = Micros::from_secs(1);
/// A step forward up to this may be the rhythm of a slow stream, such as one picture per second.
const SLOW: Micros = Micros::from_secs(10);

/// Turns decoding times into times on the line.
#[derive(Debug)]
pub(crate) struct Timeline {
    jitter: Jitter,
    /// The first decoding time.
    first: Option<Micros>,
    /// The newest decoding time.
    last: Option<Micros>,
    /// The newest time on the line.
    now: Micros,
    /// Tracks may be apart, so that the line itself goes back and forth.
    tracks: Vec<Track>,
    /// The last steps forward that were not beyond `SLOW`: the rhythm of the stream.
    steps: [Micros; 8],
    next_step: usize,
}

/// One track on the line.
#[derive(Debug)]
struct Track {
    id: TrackId,
    /// Its newest time on the line.
    newest: Micros,
    /// Its last decoding time, unless there was a jump since.
    last: Option<Micros>,
}

impl Timeline {
    pub(crate) fn new(jitter: Jitter) -> Self {
        Self {
            jitter,
            first: None,
            last: None,
            now: Micros::ZERO,
            tracks: Vec::new(),
            steps: [Micros::ZERO; 8],
            next_step: 0,
        }
    }

    /// A line that starts later than zero, so that tracks which begin before the first one keep their places.
    pub(crate) fn starting_at(jitter: Jitter, start: Micros) -> Self {
        Self { now: start, ..Self::new(jitter) }
    }

    /// The newest time on the line.
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    /// The time of the next frame of an audio or video track; moves the line.
    pub(crate) fn advance(&mut self, track: TrackId, dts: Micros) -> Micros {
        let first = *self.first.get_or_insert(dts);
        self.now = match (self.jitter, self.last) {
            (Jitter::Off, _) => dts,
            (Jitter::Zero, _) => dts - first,
            (Jitter::Full, None) => self.rise(track, self.now),
            (Jitter::Full, Some(last)) => {
                let step = dts - last;
                let kept = if self.goes_on(track, dts, step) { step } else { self.jump() };
                self.remember(step);
                self.rise(track, self.now + kept)
            }
        };
        self.last = Some(dts);
        self.tracks.iter_mut().filter(|known| known.id == track).for_each(|known| known.last = self.last);
        self.now
    }

    /// It is near the frame before, or near the one before on its own track.
    fn goes_on(&self, track: TrackId, dts: Micros, step: Micros) -> bool {
        let own = match self.tracks.iter().find(|known| known.id == track) {
            Some(known) => known.last.is_some_and(|last| self.is_rhythm(dts - last)),
            None => step <= APART && step >= Micros::ZERO - APART,
        };
        own || self.is_rhythm(step)
    }

    /// Closes a jump. The other tracks either follow, or have to jump, too.
    fn jump(&mut self) -> Micros {
        self.tracks.iter_mut().for_each(|track| track.last = None);
        JUMP
    }

    /// The next time of a track: this one, unless the track would run backwards, or the line begin before zero.
    fn rise(&mut self, track: TrackId, next: Micros) -> Micros {
        let Some(known) = self.tracks.iter_mut().find(|known| known.id == track) else {
            let newest = next.max(Micros::ZERO);
            self.tracks.push(Track { id: track, newest, last: None });
            return newest;
        };
        known.newest = if next < known.newest { known.newest + JUMP } else { next };
        known.newest
    }

    /// The time of a data message. It does not move the line: many encoders stamp these with zero.
    pub(crate) fn place(&self, dts: Micros) -> Micros {
        match (self.jitter, self.last) {
            (Jitter::Off, _) => dts,
            (Jitter::Zero, _) => self.first.map_or(Micros::ZERO, |first| dts - first),
            (Jitter::Full, Some(last)) if self.is_rhythm(dts - last) => {
                (self.now + (dts - last)).max(Micros::ZERO)
            }
            (Jitter::Full, _) => self.now,
        }
    }

    fn is_rhythm(&self, step: Micros) -> bool {
        let longest = self.steps.iter().max().copied().unwrap_or_default();
        let near = step <= STEP && step >= Micros::ZERO - STEP;
        near || (step > Micros::ZERO && step.0 <= longest.0.saturating_mul(3))
    }

    fn remember(&mut self, step: Micros) {
        if step > Micros::ZERO && step <= SLOW {
            if let Some(slot) = self.steps.get_mut(self.next_step) {
                *slot = step;
            }
            self.next_step = (self.next_step + 1) % self.steps.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: TrackId = TrackId::VIDEO;
    const AUDIO: TrackId = TrackId::AUDIO;

    fn run(jitter: Jitter, times: &[i64]) -> Vec<i64> {
        let mut line = Timeline::new(jitter);
        times.iter().map(|ms| line.advance(VIDEO, Micros::from_millis(*ms)).millis()).collect()
    }

    fn run_both(frames: &[(TrackId, i64)]) -> Vec<i64> {
        let mut line = Timeline::new(Jitter::Full);
        frames.iter().map(|(track, ms)| line.advance(*track, Micros::from_millis(*ms)).millis()).collect()
    }

    #[test]
    fn starts_at_zero_and_closes_jumps() {
        let frames =
            [(VIDEO, 5000), (VIDEO, 5040), (AUDIO, 5020), (AUDIO, 5270), (VIDEO, 4000), (VIDEO, 4040)];
        assert_eq!(run_both(&frames), [0, 40, 20, 270, 280, 320]);
        assert_eq!(run(Jitter::Full, &[0, 251, 291]), [0, 10, 50]);
        assert_eq!(run(Jitter::Full, &[0, 40, 90_000, 90_040]), [0, 40, 50, 90]);
    }

    #[test]
    fn never_below_zero() {
        assert_eq!(run_both(&[(VIDEO, 1000), (AUDIO, 800), (AUDIO, 900)]), [0, 0, 100]);
    }

    #[test]
    fn no_track_runs_backwards() {
        assert_eq!(run(Jitter::Full, &[1000, 1040, 1000, 960, 920, 960]), [0, 40, 50, 60, 70, 110]);
        assert_eq!(run(Jitter::Full, &[1000, 960, 920, 960]), [0, 10, 20, 60]);
        // A small step back of all tracks moves none of them against the others.
        let back: Vec<_> =
            [1000, 1200, 1100, 1140].into_iter().flat_map(|ms| [(VIDEO, ms), (AUDIO, ms)]).collect();
        assert_eq!(run_both(&back), [0, 0, 200, 200, 210, 210, 250, 250]);
        assert_eq!(run(Jitter::Full, &[0, 40, 40, 40]), [0, 40, 40, 40], "standing still is no step back");
    }

    /// Pictures that are held up, or begin late, keep their place beside the sound.
    #[test]
    fn tracks_may_be_apart() {
        let mut frames: Vec<_> = (0..40).map(|n| (AUDIO, 5000 + n * 20)).collect();
        frames.push((VIDEO, 5100));
        frames.extend((0..15).flat_map(|n| [(VIDEO, 5140 + n * 40), (AUDIO, 5800 + n * 20)]));
        let want: Vec<_> = frames.iter().map(|(_, ms)| ms - 5000).collect();
        assert_eq!(run_both(&frames), want);
    }

    #[test]
    fn after_a_jump_all_tracks_have_jumped() {
        let frames =
            [(AUDIO, 0), (VIDEO, 400), (AUDIO, 20), (AUDIO, 9000), (VIDEO, 9010), (VIDEO, 420), (VIDEO, 460)];
        assert_eq!(run_both(&frames), [0, 400, 20, 30, 410, 420, 460]);
    }

    /// Each change of the track is a jump, so nobody is ahead of the other for long.
    #[test]
    fn tracks_that_are_minutes_apart_stay_together() {
        let frames: Vec<_> = (0..100).flat_map(|n| [(VIDEO, n * 40), (AUDIO, 300_000 + n * 40)]).collect();
        let times = run_both(&frames);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10), "{times:?}");
    }

    #[test]
    fn a_slow_stream_keeps_its_rhythm_after_the_first_step() {
        let times = [0, 1000, 2000, 3000, 6000, 15_001];
        assert_eq!(run(Jitter::Full, &times), [0, 10, 1010, 2010, 5010, 5020]);
        // A step beyond ten seconds is never taken for rhythm.
        assert_eq!(run(Jitter::Full, &[0, 11_000, 22_000]), [0, 10, 20]);
        // The rhythm is forgotten after eight shorter steps.
        let mut times: Vec<i64> = vec![0, 1000];
        times.extend((1..=8).map(|n| 1000 + n * 40));
        times.push(2320);
        assert_eq!(run(Jitter::Full, &times).pop(), Some(10 + 8 * 40 + 10));
    }

    #[test]
    fn zero_and_off_keep_jumps() {
        let times = [5000, 90_000, 10];
        assert_eq!(run(Jitter::Zero, &times), [0, 85_000, -4990]);
        assert_eq!(run(Jitter::Off, &times), times);
    }

    #[test]
    fn data_does_not_move_the_line() {
        let mut line = Timeline::new(Jitter::Full);
        line.advance(VIDEO, Micros::from_secs(100));
        line.advance(VIDEO, Micros(100_040_000));
        assert_eq!(line.place(Micros::ZERO).millis(), 40);
        assert_eq!(line.place(Micros(100_050_000)).millis(), 50);
        assert_eq!(line.advance(VIDEO, Micros(100_080_000)).millis(), 80);
    }
}
