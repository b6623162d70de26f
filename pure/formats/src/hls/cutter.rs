//! Where one segment ends and the next begins, from the times and keys of frames alone. What the segments are made of, and where they
//! are kept, is not its business.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use media::{Frame, Kind, Micros};

/// How long segments shall be.
#[derive(Clone, Debug)]
pub struct CutterOptions {
    /// `hls_fragment`: the length to aim at.
    pub fragment: Micros,
    /// `hls_td_ratio`: a segment is due for its end at this many fragments.
    pub target_ratio: f64,
    /// `hls_aof_ratio`: sound ends a segment without a keyframe at this many fragments.
    pub overflow_ratio: f64,
    /// `hls_wait_keyframe`: only a keyframe ends a segment that is due, and not any picture.
    pub wait_keyframe: bool,
    /// Microseconds to add to both lengths; set at any time by whoever keeps the segments in step with a wall clock (`hls_ts_floor`).
    pub correction: Arc<AtomicI64>,
}

/// As SRS.
impl Default for CutterOptions {
    fn default() -> Self {
        Self {
            fragment: Micros::from_secs(10),
            target_ratio: 1.0,
            overflow_ratio: 2.1,
            wait_keyframe: true,
            correction: Arc::default(),
        }
    }
}

/// A segment, known when it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The decoding time where it begins.
    pub start: Micros,
    /// From there to the beginning of the next segment; where none follows, to the end of its last frame. At least 100 ms.
    pub duration: Micros,
    /// It does not follow the segment before: there is another publisher, other tracks, a jump of time, or a loss between them. So it
    /// is with the first one of all.
    pub discontinuity: bool,
}

/// How a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is complete.
    Segment(Segment),
    /// It is too short to be played, and not to be kept.
    Void,
}

/// What a frame does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The open segment ends before this frame.
    pub cut: Option<Cut>,
    /// The frame belongs to the segment that is open now, or opens it. Otherwise it is to be left out.
    pub taken: bool,
}

/// No segment ends by its length before this.
const SHORTEST: Micros = Micros::from_millis(200);
/// What is shorter is not kept.
pub(super) const VOID: Micros = Micros::from_millis(100);
/// RTMP rounds times to milliseconds, so that a GOP of the very length of a segment may seem shorter than it.
const ROUNDING: Micros = Micros::from_millis(2);
/// A track may step back this far; beyond it, it is a jump.
const BACK: Micros = Micros::from_secs(1);
/// The stream may step forward this far.
const FORWARD: Micros = Micros::from_secs(10);
/// Pictures that come this long without a keyframe are taken as they are: encoders with intra refresh send none.
const PATIENCE: Micros = Micros::from_secs(10);

/// Decides for each frame in turn.
#[derive(Debug)]
pub struct Cutter {
    target: Micros,
    overflow: Micros,
    wait_keyframe: bool,
    correction: Arc<AtomicI64>,
    has_video: bool,
    open: Option<Open>,
    /// The next segment does not follow the last one.
    discontinuity: bool,
    pictures: Pictures,
    /// The time of the first frame since the last restart.
    first: Option<Micros>,
    video: Line,
    audio: Line,
}

/// The segment that grows.
#[derive(Debug)]
struct Open {
    start: Micros,
    /// Where its last frame is over.
    end: Micros,
    discontinuity: bool,
}

/// Whether pictures can be decoded.
#[derive(Debug)]
enum Pictures {
    /// None has come.
    Wanted,
    /// They come since then, but no keyframe did.
    Undecodable(Micros),
    /// Yes.
    Flow,
}

/// The time of one track since the last restart.
#[derive(Debug, Default)]
struct Line {
    newest: Option<Micros>,
    /// The last step forward.
    step: Micros,
}

impl Cutter {
    /// Before the first frame, of a stream without pictures.
    pub fn new(options: CutterOptions) -> Self {
        let fragments = |ratio: f64| Micros((options.fragment.0 as f64 * ratio) as i64);
        Self {
            target: fragments(options.target_ratio),
            overflow: fragments(options.overflow_ratio),
            wait_keyframe: options.wait_keyframe,
            correction: options.correction,
            has_video: false,
            open: None,
            discontinuity: true,
            pictures: Pictures::Wanted,
            first: None,
            video: Line::default(),
            audio: Line::default(),
        }
    }

    /// A segment is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// What follows does not follow what was: the stream has changed, or has ended. Ends the open segment. `has_video` says whether
    /// pictures are to be expected from here on.
    pub fn restart(&mut self, has_video: bool) -> Option<Cut> {
        let cut = self.open.take().map(|open| self.close(&open, open.end));
        self.has_video = has_video;
        self.discontinuity = true;
        self.pictures = Pictures::Wanted;
        self.first = None;
        self.video = Line::default();
        self.audio = Line::default();
        cut
    }

    /// The next frame of the stream, audio or video. `full` ends the open segment whatever its length.
    pub fn frame(&mut self, frame: &Frame, full: bool) -> Verdict {
        let mut cut = if self.is_jump(frame) { self.restart(self.has_video) } else { None };
        let mut taken = self.takes(frame);
        if taken && self.is_due(frame, full) {
            cut = self.open.take().map(|open| self.close(&open, frame.dts));
            // What was thrown away may be what this frame needs.
            taken = self.takes(frame);
        }
        let end = self.advance(frame);
        if taken {
            self.grow(frame.dts, end);
        }
        Verdict { cut, taken }
    }

    /// Judged by each track on its own, since sound and pictures may come far apart from each other.
    fn is_jump(&self, frame: &Frame) -> bool {
        let own = if frame.track.kind == Kind::Video { &self.video } else { &self.audio };
        own.newest.is_some_and(|newest| frame.dts < newest - BACK)
            || self.video.newest.max(self.audio.newest).is_some_and(|newest| frame.dts > newest + FORWARD)
    }

    /// Leaves out pictures that no decoder can show.
    fn takes(&mut self, frame: &Frame) -> bool {
        if frame.track.kind != Kind::Video {
            return true;
        }
        self.pictures = match self.pictures {
            _ if frame.key => Pictures::Flow,
            Pictures::Wanted => Pictures::Undecodable(frame.dts),
            Pictures::Undecodable(since) if frame.dts - since >= PATIENCE => Pictures::Flow,
            Pictures::Undecodable(since) => Pictures::Undecodable(since),
            Pictures::Flow => Pictures::Flow,
        };
        matches!(self.pictures, Pictures::Flow)
    }

    /// The open segment ends before this frame.
    fn is_due(&self, frame: &Frame, full: bool) -> bool {
        let Some(open) = &self.open else { return false };
        let length = match frame.track.kind {
            Kind::Video if frame.key || !self.wait_keyframe => self.target,
            Kind::Video => return full,
            _ if self.has_pictures(frame.dts) => self.overflow,
            // Without pictures, any sound is a good place.
            _ => self.target,
        };
        let correction = Micros(self.correction.load(Ordering::Relaxed));
        full || frame.dts - open.start >= (length + correction - ROUNDING).max(SHORTEST)
    }

    /// Pictures come, or are still to be hoped for.
    fn has_pictures(&self, now: Micros) -> bool {
        let since = self.video.newest.or(self.first).unwrap_or(now);
        self.has_video && now - since <= self.overflow
    }

    fn close(&mut self, open: &Open, end: Micros) -> Cut {
        let Open { start, discontinuity, .. } = *open;
        let duration = end - start;
        if duration >= VOID {
            return Cut::Segment(Segment { start, duration, discontinuity });
        }
        self.discontinuity = true;
        self.pictures = Pictures::Wanted;
        Cut::Void
    }

    /// Moves the time of the frame's track. Says when the frame is over, as far as one can know before the next has come.
    fn advance(&mut self, frame: &Frame) -> Micros {
        self.first.get_or_insert(frame.dts);
        let line = if frame.track.kind == Kind::Video { &mut self.video } else { &mut self.audio };
        let newest = line.newest.unwrap_or(frame.dts);
        let step = frame.dts - newest;
        if step > Micros::ZERO && step <= FORWARD {
            line.step = step;
        }
        line.newest = Some(newest.max(frame.dts));
        frame.dts + line.step
    }

    fn grow(&mut self, dts: Micros, end: Micros) {
        match &mut self.open {
            Some(open) => {
                open.end = open.end.max(end);
                // The first segment begins with the earliest of its tracks; all others begin where the one before has ended.
                if open.discontinuity && dts > open.start - BACK {
                    open.start = open.start.min(dts);
                }
            }
            None => {
                let discontinuity = std::mem::take(&mut self.discontinuity);
                self.open = Some(Open { start: dts, end, discontinuity });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::TrackId;
    use proptest::prelude::*;

    use super::*;

    const VIDEO: Kind = Kind::Video;
    const AUDIO: Kind = Kind::Audio;

    fn options(fragment: i64) -> CutterOptions {
        CutterOptions { fragment: Micros::from_secs(fragment), ..Default::default() }
    }

    /// Fragments of two seconds, of a stream with video.
    fn cutter() -> Cutter {
        with(options(2))
    }

    fn with(options: CutterOptions) -> Cutter {
        let mut cutter = Cutter::new(options);
        assert_eq!(cutter.restart(true), None);
        cutter
    }

    fn frame(kind: Kind, ms: i64, key: bool) -> Frame {
        let time = Micros::from_millis(ms);
        Frame { track: TrackId { kind, index: 0 }, dts: time, pts: time, key, data: Bytes::new() }
    }

    fn put(cutter: &mut Cutter, kind: Kind, ms: i64, key: bool) -> Verdict {
        cutter.frame(&frame(kind, ms, key), false)
    }

    fn segment(start: i64, duration: i64, discontinuity: bool) -> Cut {
        let (start, duration) = (Micros::from_millis(start), Micros::from_millis(duration));
        Cut::Segment(Segment { start, duration, discontinuity })
    }

    fn cuts(cutter: &mut Cutter, frames: impl IntoIterator<Item = (Kind, i64, bool)>) -> Vec<Cut> {
        frames.into_iter().filter_map(|(kind, ms, key)| put(cutter, kind, ms, key).cut).collect()
    }

    /// Pictures at 25 fps with a keyframe every `gop` ms.
    fn pictures(from: i64, to: i64, gop: i64) -> impl Iterator<Item = (Kind, i64, bool)> {
        (from..to).step_by(40).map(move |ms| (VIDEO, ms, (ms - from) % gop == 0))
    }

    fn keys<const N: usize>(times: [i64; N]) -> [(Kind, i64, bool); N] {
        times.map(|ms| (VIDEO, ms, true))
    }

    fn sound(from: i64, to: i64) -> impl Iterator<Item = (Kind, i64, bool)> {
        (from..to).step_by(20).map(|ms| (AUDIO, ms, true))
    }

    /// Both, in the order of time.
    fn both(from: i64, to: i64, gop: i64) -> Vec<(Kind, i64, bool)> {
        let mut all: Vec<_> = pictures(from, to, gop).chain(sound(from, to)).collect();
        all.sort_by_key(|(_, ms, _)| *ms);
        all
    }

    #[test]
    fn a_segment_ends_at_the_first_keyframe_when_it_is_due() {
        let mut c = cutter();
        assert_eq!(
            cuts(&mut c, both(0, 7000, 1000)),
            [segment(0, 2000, true), segment(2000, 2000, false), segment(4000, 2000, false)]
        );
        assert_eq!(c.restart(true), Some(segment(6000, 1000, false)), "the last one");
        assert!(!c.is_open());
    }

    #[test]
    fn a_segment_waits_for_a_keyframe() {
        let three = [segment(0, 3000, true), segment(3000, 3000, false)];
        assert_eq!(cuts(&mut cutter(), both(0, 6040, 3000)), three, "GOPs of 1.5 fragments, sound or not");
        let mut c = with(CutterOptions { wait_keyframe: false, ..options(2) });
        let two = [segment(0, 2000, true), segment(2000, 2000, false), segment(4000, 2000, false)];
        assert_eq!(cuts(&mut c, both(0, 6040, 3000)), two, "unless it need not");
    }

    #[test]
    fn the_ratios_are_in_fragments() {
        let mut c = with(CutterOptions { target_ratio: 1.5, ..options(2) });
        assert_eq!(cuts(&mut c, both(0, 4000, 1000)), [segment(0, 3000, true)]);
        let mut c = with(CutterOptions { overflow_ratio: 1.2, ..options(2) });
        assert_eq!(cuts(&mut c, both(0, 4000, 100_000)), [segment(0, 2400, true)]);
    }

    #[test]
    fn sound_ends_a_segment_without_keyframes() {
        let want = [segment(0, 4200, true), segment(4200, 4200, false)];
        assert_eq!(cuts(&mut cutter(), both(0, 10_000, 100_000)), want);
    }

    #[test]
    fn a_stream_without_pictures_is_cut_by_sound() {
        let mut c = cutter();
        c.restart(false);
        assert_eq!(cuts(&mut c, sound(0, 4020)), [segment(0, 2000, true), segment(2000, 2000, false)]);
        // They were announced, but never came; then they come.
        let mut c = cutter();
        let want = [segment(0, 4200, true), segment(4200, 2000, false), segment(6200, 2000, false)];
        assert_eq!(cuts(&mut c, sound(0, 8220)), want);
        assert_eq!(cuts(&mut c, both(8220, 11_000, 1000)), [segment(8200, 2020, false)]);
        // They cease.
        let mut c = cutter();
        assert_eq!(cuts(&mut c, both(0, 2040, 1000)).len(), 1);
        let want = [segment(2000, 4200, false), segment(6200, 2000, false), segment(8200, 2000, false)];
        assert_eq!(cuts(&mut c, sound(2040, 10_240)), want);
    }

    #[test]
    fn nothing_is_cut_before_200_ms() {
        for fragment in [0, -5] {
            let mut c = with(options(fragment));
            let want = [segment(0, 200, true), segment(200, 200, false)];
            assert_eq!(cuts(&mut c, pictures(0, 440, 40)), want);
        }
    }

    #[test]
    fn a_gop_that_was_rounded_down_is_long_enough() {
        let want = [segment(0, 1999, true), segment(1999, 1998, false)];
        assert_eq!(cuts(&mut cutter(), keys([0, 1999, 3997, 5994])), want);
    }

    #[test]
    fn the_length_is_corrected_from_outside() {
        let correction = Arc::new(AtomicI64::new(500_000));
        let mut c = with(CutterOptions { correction: correction.clone(), ..options(2) });
        assert_eq!(cuts(&mut c, keys([0, 2000, 2500, 3000])), [segment(0, 2500, true)]);
        correction.store(-1_000_000, Ordering::Relaxed);
        assert_eq!(cuts(&mut c, keys([3490, 3520])), [segment(2500, 1020, false)]);
        correction.store(i64::MIN, Ordering::Relaxed);
        assert_eq!(cuts(&mut c, keys([3719, 3720])), [segment(3520, 200, false)]);
    }

    #[test]
    fn a_jump_begins_anew() {
        for to in [500, 14_000] {
            let mut c = cutter();
            cuts(&mut c, both(2000, 3800, 1000));
            let verdict = put(&mut c, VIDEO, to, true);
            // The last picture was at 3760, the last sound at 3780.
            assert_eq!(verdict, Verdict { cut: Some(segment(2000, 1800, true)), taken: true });
            let want = [segment(to, 2000, true)];
            assert_eq!(cuts(&mut c, both(to + 40, to + 2100, 980)), want, "and goes on from there");
        }
    }

    #[test]
    fn disorder_is_no_jump() {
        let mut c = cutter();
        let frames = [(VIDEO, 1000, true), (AUDIO, 500, true), (AUDIO, 1400, true), (AUDIO, 401, true)];
        assert_eq!(cuts(&mut c, frames), []);
        // Up to ten seconds of nothing.
        assert_eq!(cuts(&mut c, [(AUDIO, 11_390, true)]), [segment(401, 10_989, true)]);
    }

    #[test]
    fn pictures_that_pause_are_no_jump() {
        let mut c = cutter();
        cuts(&mut c, both(0, 1000, 1000));
        cuts(&mut c, sound(1000, 21_000));
        assert_eq!(put(&mut c, VIDEO, 21_000, false), Verdict { cut: None, taken: true });
        assert_eq!(
            c.restart(true),
            Some(segment(20_200, 840, false)),
            "and the pause is not the length of a picture"
        );
    }

    #[test]
    fn sound_far_from_its_pictures_is_no_jump() {
        for ahead in [1500, -5000] {
            let mut c = cutter();
            let mut frames: Vec<_> = pictures(10_000, 20_000, 2000).chain(sound(10_000, 20_000)).collect();
            frames.sort_by_key(|(_, ms, _)| *ms);
            frames.iter_mut().filter(|f| f.0 == AUDIO).for_each(|f| f.1 += ahead);
            let cuts = cuts(&mut c, frames);
            assert_eq!(cuts.len(), 4, "{ahead}");
            assert_eq!(cuts[1], segment(12_000, 2000, false), "{ahead}");
        }
    }

    #[test]
    fn a_straggler_from_before_the_jump_spoils_nothing() {
        for (old, new) in [(100_000, 0), (0, 100_000)] {
            let mut c = cutter();
            cuts(&mut c, both(old, old + 1000, 1000));
            let mut made =
                cuts(&mut c, [(AUDIO, new, true), (VIDEO, old + 1000, true), (AUDIO, new + 20, true)]);
            made.extend(cuts(&mut c, both(new + 40, new + 8060, 1000)));
            made.retain(|cut| *cut != Cut::Void);
            assert_eq!(made[0], segment(old, 1000, true));
            let Cut::Segment(last) = made[made.len() - 1] else { unreachable!() };
            assert_eq!(last.duration.millis(), 2000);
            let sum: i64 = made[1..]
                .iter()
                .map(|cut| if let Cut::Segment(s) = cut { s.duration.millis() } else { 0 })
                .sum();
            assert!((6000..=8100).contains(&sum), "{made:?}");
        }
    }

    #[test]
    fn pictures_before_the_first_keyframe_are_left_out() {
        let mut c = cutter();
        assert_eq!(put(&mut c, VIDEO, 0, false), Verdict { cut: None, taken: false });
        assert!(!c.is_open());
        assert!(put(&mut c, AUDIO, 10, true).taken);
        assert!(!put(&mut c, VIDEO, 40, false).taken);
        assert!(put(&mut c, VIDEO, 80, true).taken);
        assert!(put(&mut c, VIDEO, 120, false).taken);
        assert_eq!(c.restart(true), Some(segment(10, 150, true)));
        assert!(!put(&mut c, VIDEO, 160, false).taken, "after every restart");
    }

    #[test]
    fn pictures_that_never_have_a_keyframe_are_taken_in_the_end() {
        let mut c = cutter();
        let mut taken =
            pictures(0, 12_000, 100_000).map(|(kind, ms, _)| (ms, put(&mut c, kind, ms, false).taken));
        assert_eq!(taken.find(|(_, taken)| *taken), Some((10_000, true)));
        assert!(taken.all(|(_, taken)| taken));
    }

    #[test]
    fn what_is_too_short_is_void_and_a_loss() {
        let mut c = cutter();
        cuts(&mut c, both(0, 1000, 1000));
        assert_eq!(c.restart(true), Some(segment(0, 1000, true)));
        put(&mut c, VIDEO, 1000, true);
        put(&mut c, VIDEO, 1040, false);
        assert_eq!(c.restart(true), Some(Cut::Void), "two pictures of 40 ms");
        cuts(&mut c, [(VIDEO, 2000, true), (VIDEO, 2050, false)]);
        assert_eq!(c.restart(true), Some(segment(2000, 100, true)), "two of 50 ms");
        assert_eq!(c.restart(true), None);
    }

    #[test]
    fn a_full_segment_ends_anywhere() {
        let mut c = cutter();
        put(&mut c, VIDEO, 0, true);
        let full = |c: &mut Cutter, kind, ms| c.frame(&frame(kind, ms, false), true);
        let verdict = full(&mut c, VIDEO, 120);
        assert_eq!(verdict, Verdict { cut: Some(segment(0, 120, true)), taken: true });
        // Time that stands still makes nothing that could be played.
        assert_eq!(full(&mut c, VIDEO, 120), Verdict { cut: Some(Cut::Void), taken: false });
        assert_eq!(full(&mut c, AUDIO, 120), Verdict { cut: None, taken: true });
        put(&mut c, AUDIO, 1000, true);
        assert_eq!(full(&mut c, AUDIO, 2000), Verdict { cut: Some(segment(120, 1880, true)), taken: true });
    }

    #[test]
    fn the_first_segment_begins_with_the_earlier_track() {
        let mut c = cutter();
        let frames = [(AUDIO, 1010, true), (VIDEO, 1000, true), (VIDEO, 3000, true), (AUDIO, 2990, true)];
        assert_eq!(cuts(&mut c, frames), [segment(1000, 2000, true)]);
        assert_eq!(
            cuts(&mut c, [(VIDEO, 5000, true)]),
            [segment(3000, 2000, false)],
            "where the first has ended"
        );
    }

    proptest! {
        #[test]
        fn segments_are_of_one_piece(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), prop_oneof![
                8 => -100_000i64..300_000,
                1 => -5_000_000i64..15_000_000,
                1 => any::<i64>(),
            ], 0..40u8), 0..300),
            fragment in 0i64..4,
            wait_keyframe: bool,
        ) {
            let mut c = with(CutterOptions { wait_keyframe, ..options(fragment) });
            let mut now = Micros::ZERO;
            let mut made = Vec::new();
            for (is_video, key, step, whim) in steps {
                now += Micros(step);
                let kind = if is_video { VIDEO } else { AUDIO };
                let frame = Frame { dts: now, ..frame(kind, 0, key || !is_video) };
                made.extend(c.frame(&frame, whim == 0).cut);
                if whim == 1 {
                    made.extend(c.restart(key));
                }
            }
            made.extend(c.restart(true));
            let mut follows = None;
            for cut in made {
                let Cut::Segment(segment) = cut else {
                    follows = None;
                    continue;
                };
                prop_assert!(segment.duration >= VOID);
                if !segment.discontinuity {
                    prop_assert_eq!(Some(segment.start), follows);
                }
                follows = Some(segment.start + segment.duration);
            }
        }
    }
}
