//! How a stream does, counted where its media passes: rates, keyframes, gaps, jumps of its clock. One hand writes ([`Meter`]), with a few additions
//! per frame and no lock; whoever asks reads ([`Health`]), and may see a frame half counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::{Kind, Micros};

/// Whole seconds that are kept; two more than the longest rate, so that those read are complete.
const SECONDS: usize = 32;
/// The window of the longer rates.
const LONG: u64 = 30;

/// A clock that goes this much faster than ours from one frame to the next has jumped.
const JUMP: Micros = Micros::from_secs(1);

/// No skew is known.
const UNKNOWN: i64 = i64::MIN;

/// What has been counted of one publisher's media since it came. See the module.
#[derive(Debug)]
pub struct Health {
    start: Instant,
    video: Line,
    audio: Line,
    /// How much later pictures are stamped than sound that comes at the same moment, in microseconds, smoothed.
    skew: AtomicI64,
}

/// The media of one kind.
#[derive(Debug, Default)]
struct Line {
    frames: AtomicU64,
    bytes: AtomicU64,
    /// In microseconds since the start; 0 is never.
    last: AtomicU64,
    /// In microseconds.
    longest_gap: AtomicU64,
    jumps: AtomicU64,
    /// Between the newest two keyframes, and the longest; in microseconds of media time.
    key_interval: AtomicU64,
    longest_key_interval: AtomicU64,
    seconds: [Second; SECONDS],
}

/// What came in one second.
#[derive(Debug, Default)]
struct Second {
    /// Which one since the start; those before it are over.
    number: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    /// The longest gap that ended in it, in microseconds.
    gap: AtomicU64,
}

/// The hand that counts.
#[derive(Debug)]
pub struct Meter {
    health: Arc<Health>,
    video: Last,
    audio: Last,
}

/// The frame before.
#[derive(Debug, Default)]
struct Last {
    /// Its time, and when it came.
    frame: Option<(Micros, Micros)>,
    /// The time of the newest keyframe.
    key: Option<Micros>,
}

/// What is known of one kind of media at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Frames since the start.
    pub frames: u64,
    /// Frames per second, over the last whole second and over the last 30.
    pub fps: (f64, f64),
    /// kbit/s (1000) of payload, over the same.
    pub kbps: (u64, u64),
    /// Time since the newest frame.
    pub since_last: Option<Duration>,
    /// The longest time without a frame: of the last 30 seconds, and since the start.
    pub gap: (Duration, Duration),
    /// Times at which the publisher's clock went back, or more than a second too far.
    pub jumps: u64,
    /// Media time between the newest two keyframes, and the longest.
    pub key_interval: Option<(Duration, Duration)>,
}

impl Default for Health {
    fn default() -> Self {
        let (video, audio) = (Line::default(), Line::default());
        Self { start: Instant::now(), video, audio, skew: AtomicI64::new(UNKNOWN) }
    }
}

impl Health {
    /// How long the publisher is there.
    pub fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// The figures of this kind of media; none if not a frame of it has come.
    pub fn figures(&self, kind: Kind) -> Option<Figures> {
        self.figures_at(kind, self.age())
    }

    /// How much later pictures are stamped than sound that comes at the same moment.
    pub fn skew(&self) -> Option<Micros> {
        Some(self.skew.load(Relaxed)).filter(|skew| *skew != UNKNOWN).map(Micros)
    }

    fn figures_at(&self, kind: Kind, now: Duration) -> Option<Figures> {
        let line = match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
            Kind::Data => return None,
        };
        let get = |figure: &AtomicU64| figure.load(Relaxed);
        let micros = |figure: &AtomicU64| Duration::from_micros(get(figure));
        let last = Some(get(&line.last)).filter(|last| *last > 0)?;
        let since_last = now.saturating_sub(Duration::from_micros(last));
        let second = now.as_secs();
        let whole = |length: u64| {
            let from = second.saturating_sub(length);
            let of_window = |s: &&Second| (from..second).contains(&get(&s.number));
            let sum = |figure: fn(&Second) -> &AtomicU64| {
                line.seconds.iter().filter(of_window).map(|s| get(figure(s))).sum::<u64>()
            };
            let length = (second - from).max(1);
            (sum(|s| &s.frames) as f64 / length as f64, sum(|s| &s.bytes) * 8 / 1000 / length)
        };
        let ((fps, kbps), (long_fps, long_kbps)) = (whole(1), whole(LONG));
        let recent = line.seconds.iter().filter(|s| get(&s.number) + LONG >= second).map(|s| micros(&s.gap));
        let gap = recent.max().unwrap_or_default().max(since_last);
        let interval = micros(&line.key_interval);
        Some(Figures {
            frames: get(&line.frames),
            fps: (fps, long_fps),
            kbps: (kbps, long_kbps),
            since_last: Some(since_last),
            gap: (gap, micros(&line.longest_gap).max(since_last)),
            jumps: get(&line.jumps),
            key_interval: (!interval.is_zero()).then(|| (interval, micros(&line.longest_key_interval))),
        })
    }
}

impl Meter {
    /// Counts into `health`.
    pub fn new(health: Arc<Health>) -> Self {
        Self { health, video: Last::default(), audio: Last::default() }
    }

    /// A frame, or a part of one, passes. Parts of one frame have one time.
    pub fn pass(&mut self, kind: Kind, key: bool, time: Micros, bytes: usize) {
        let now = Micros(i64::try_from(self.health.start.elapsed().as_micros()).unwrap_or(i64::MAX));
        self.pass_at(now, kind, key, time, bytes);
    }

    fn pass_at(&mut self, now: Micros, kind: Kind, key: bool, time: Micros, bytes: usize) {
        let Self { health, video, audio } = self;
        let (line, last) = match kind {
            Kind::Video => (&health.video, &mut *video),
            Kind::Audio => (&health.audio, &mut *audio),
            Kind::Data => return,
        };
        let second = line.second(now);
        add(&line.bytes, bytes as u64);
        add(&second.bytes, bytes as u64);
        let is_key = key && kind == Kind::Video;
        if let Some((before, _)) = last.frame
            && before == time
        {
            // More of the same frame, which may tell only now that it is a keyframe.
            if is_key {
                line.key(last, time);
            }
            return;
        }
        add(&line.frames, 1);
        add(&second.frames, 1);
        if let Some((before, came)) = last.frame {
            let gap = unsigned(now - came);
            raise(&line.longest_gap, gap);
            raise(&second.gap, gap);
            let step = time - before;
            if step < Micros::ZERO || step - (now - came) > JUMP {
                add(&line.jumps, 1);
                last.key = None;
            }
        }
        last.frame = Some((time, now));
        line.last.store(unsigned(now).max(1), Relaxed);
        if is_key {
            line.key(last, time);
        }
        if let (Kind::Video, Some((sound, came))) = (kind, audio.frame) {
            let skew = (time - now) - (sound - came);
            let before = health.skew.load(Relaxed);
            let smooth = if before == UNKNOWN { skew.0 } else { before + (skew.0 - before) / 16 };
            health.skew.store(smooth, Relaxed);
        }
    }
}

impl Line {
    /// The second of now, emptied if it is a new one.
    fn second(&self, now: Micros) -> &Second {
        let number = unsigned(now) / 1_000_000;
        let second = &self.seconds[number as usize % SECONDS];
        if second.number.load(Relaxed) != number {
            [&second.frames, &second.bytes, &second.gap]
                .into_iter()
                .for_each(|figure| figure.store(0, Relaxed));
            second.number.store(number, Relaxed);
        }
        second
    }

    fn key(&self, last: &mut Last, time: Micros) {
        if let Some(before) = last.key.replace(time)
            && time > before
        {
            let interval = unsigned(time - before);
            self.key_interval.store(interval, Relaxed);
            raise(&self.longest_key_interval, interval);
        }
    }
}

/// There is one writer, so that this needs no locked instruction.
fn add(figure: &AtomicU64, n: u64) {
    figure.store(figure.load(Relaxed).wrapping_add(n), Relaxed);
}

fn raise(figure: &AtomicU64, n: u64) {
    if n > figure.load(Relaxed) {
        figure.store(n, Relaxed);
    }
}

fn unsigned(time: Micros) -> u64 {
    u64::try_from(time.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 40_000;

    /// Pictures at 25 fps and sound, from the frame `from` on, at the time at which they are due and `late` after it.
    fn feed(meter: &mut Meter, frames: std::ops::Range<i64>, late: i64) {
        for n in frames {
            let (time, now) = (Micros(n * FRAME), Micros(n * FRAME + late));
            meter.pass_at(now, Kind::Audio, true, time, 500);
            meter.pass_at(now, Kind::Video, n % 50 == 0, time + Micros::from_millis(30), 4000);
            meter.pass_at(now, Kind::Video, false, time + Micros::from_millis(30), 1000);
        }
    }

    fn figures(meter: &Meter, kind: Kind, now_ms: u64) -> Figures {
        meter.health.figures_at(kind, Duration::from_millis(now_ms)).unwrap()
    }

    #[test]
    fn an_even_stream() {
        let mut meter = Meter::new(Arc::default());
        assert_eq!(meter.health.figures(Kind::Video), None);
        feed(&mut meter, 0..1000, 0);
        let video = figures(&meter, Kind::Video, 40_010);
        assert_eq!((video.frames, video.fps, video.kbps), (1000, (25.0, 25.0), (1000, 1000)));
        let ms = Duration::from_millis;
        assert_eq!((video.since_last, video.gap), (Some(ms(50)), (ms(50), ms(50))));
        assert_eq!((video.key_interval, video.jumps), (Some((ms(2000), ms(2000))), 0));
        let audio = figures(&meter, Kind::Audio, 40_010);
        assert_eq!((audio.frames, audio.kbps, audio.key_interval), (1000, (100, 100), None));
        let skew = meter.health.skew().unwrap();
        assert!((Micros(29_000)..=Micros(30_000)).contains(&skew), "{skew:?}");
        // The publisher is silent.
        let silent = figures(&meter, Kind::Video, 55_000);
        assert_eq!((silent.fps, silent.kbps.0), ((0.0, 375.0 / 30.0), 0));
        assert_eq!(silent.gap, (ms(15_040), ms(15_040)));
        assert_eq!(figures(&meter, Kind::Video, 90_000).fps, (0.0, 0.0));
    }

    #[test]
    fn a_young_stream_is_measured_over_its_age() {
        let mut meter = Meter::new(Arc::default());
        feed(&mut meter, 0..75, 0);
        let video = figures(&meter, Kind::Video, 3_000);
        assert_eq!((video.fps, video.kbps), ((25.0, 25.0), (1000, 1000)));
    }

    #[test]
    fn gaps_are_no_jumps_and_jumps_are_no_gaps() {
        let mut meter = Meter::new(Arc::default());
        let ms = Duration::from_millis;
        feed(&mut meter, 0..50, 0);
        // The network holds it up, and it comes all at once.
        feed(&mut meter, 50..51, 5_000_000);
        let video = figures(&meter, Kind::Video, 7_100);
        assert_eq!((video.jumps, video.gap.1), (0, ms(5_040)));
        // Its clock goes ten seconds ahead and back again.
        for (time, now) in [(12_040, 7_040), (22_080, 7_080), (12_120, 7_120)] {
            meter.pass_at(Micros::from_millis(now), Kind::Video, true, Micros::from_millis(time), 1);
        }
        let video = figures(&meter, Kind::Video, 7_200);
        assert_eq!(video.jumps, 3);
        assert!(video.key_interval.is_none_or(|(_, longest)| longest <= ms(2000)), "{video:?}");
        // Gaps are forgotten after a while, but for the longest of all.
        feed(&mut meter, 400..1500, 0);
        assert_eq!(figures(&meter, Kind::Video, 60_000).gap, (ms(40), ms(8_880)));
    }
}
