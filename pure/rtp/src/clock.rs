//! Time on the wire: NTP stamps, and the tie between a source's RTP timestamps and the clock of the house. No clock is read here.

use media::Micros;

/// A stamp of the Network Time Protocol: seconds since 1900 in the upper 32 bits, fractions of them in the lower (RFC 3550 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ntp(pub u64);

/// From 1900 to 1970, in seconds.
const UNIX_IN_NTP: i64 = 2_208_988_800;

impl Ntp {
    /// From a time since 1970; wraps in 2036 as the protocol does.
    pub fn from_unix(time: Micros) -> Self {
        let seconds = time.0.div_euclid(1_000_000).wrapping_add(UNIX_IN_NTP);
        let fraction = ((time.0.rem_euclid(1_000_000) as u64) << 32).div_ceil(1_000_000);
        Self((seconds as u64) << 32 | fraction)
    }

    /// The time since 1970, in whole microseconds.
    pub fn to_unix(self) -> Micros {
        let seconds = (self.0 >> 32) as i64 - UNIX_IN_NTP;
        let fraction = ((self.0 & 0xffff_ffff) * 1_000_000) >> 32;
        Micros(seconds * 1_000_000 + fraction as i64)
    }

    /// The 32 bits in the middle, in units of 1/65,536 s: what reports repeat.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// A span in units of 1/65,536 s as reports carry it; spans below zero or beyond 18 hours are clipped.
pub fn to_short(span: Micros) -> u32 {
    let units = i128::from(span.0.max(0)) * 65_536 / 1_000_000;
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// The span that `to_short` made, up to one unit less.
pub fn from_short(units: u32) -> Micros {
    Micros((i64::from(units) * 1_000_000) >> 16)
}

/// A time in ticks of a clock of `rate` Hz, rounded down.
pub fn to_ticks(time: Micros, rate: u32) -> i64 {
    (i128::from(time.0) * i128::from(rate)).div_euclid(1_000_000) as i64
}

/// The time of a count of ticks of a clock of `rate` Hz, rounded up, so that [`to_ticks`] finds the same ticks again. A rate of 0 has no time.
pub fn from_ticks(ticks: i64, rate: u32) -> Micros {
    let scaled = i128::from(ticks) * 1_000_000;
    Micros(-(-scaled).checked_div_euclid(i128::from(rate)).unwrap_or(0) as i64)
}

/// The round trip that a report block shows which came at `now`, from the sender report that it repeats (RFC 3550 §6.4.1), or that a DLRR block shows
/// (RFC 3611 §4.5). `None` when it repeats none, or when it cannot be.
pub fn round_trip(now: Ntp, last: u32, delay: u32) -> Option<Micros> {
    let units = now.middle().wrapping_sub(last).wrapping_sub(delay);
    // More than nine hours is less than nothing, wrapped.
    (last != 0 && units < 1 << 31).then(|| from_short(units))
}

/// Brings the timestamps of several sources of one peer to one line of time. Until a source's sender report has come its first packet counts as presented
/// when it came; then the line is bent towards what the reports say, by an eighth of the time that passes, so that it never runs back.
#[derive(Debug, Default)]
pub struct Sync {
    sources: Vec<Source>,
    /// The peer's wall time where the line is zero.
    base: Option<Micros>,
}

/// One source of a [`Sync`].
#[derive(Debug)]
struct Source {
    rate: u32,
    /// What is added to its timestamps to stand on the line.
    offset: Option<Micros>,
    /// What its reports say is to be added.
    target: Option<Micros>,
    /// The newest timestamp with its arrival.
    last: Option<(i64, Micros)>,
}

/// Timestamps that jump by this much against their arrival start anew.
const JUMP: u64 = 3_000_000;
/// A report that puts a source this far from its packets is not believed: some senders give each source a clock of its own.
const MAX_SKEW: u64 = 10_000_000;

impl Sync {
    /// Adds a source with timestamps of `rate` Hz; its index is how the other methods know it.
    pub fn add(&mut self, rate: u32) -> usize {
        self.sources.push(Source { rate, offset: None, target: None, last: None });
        self.sources.len() - 1
    }

    /// A sender report ties a timestamp to the wall time of the peer.
    pub fn report(&mut self, source: usize, ticks: i64, ntp: Ntp) {
        let Some(source) = self.sources.get_mut(source) else { return };
        if ntp == Ntp::default() {
            return; // no wall clock
        }
        let wall = ntp.to_unix() - from_ticks(ticks, source.rate);
        // The line of the first that reports becomes the line of all.
        let Some(base) = self.base.or(source.offset.map(|offset| wall - offset)) else { return };
        self.base = Some(base);
        let target = wall - base;
        let near = |offset: Micros| (target - offset).0.unsigned_abs() < MAX_SKEW;
        if source.offset.is_none_or(near) {
            source.target = Some(target);
        }
    }

    /// The time on the line of a timestamp whose packet came at `arrival`. `None` for a source that was not added.
    pub fn time(&mut self, source: usize, ticks: i64, arrival: Micros) -> Option<Micros> {
        let source = self.sources.get_mut(source)?;
        let raw = from_ticks(ticks, source.rate);
        let Some((offset, (last_ticks, last_arrival))) = source.offset.zip(source.last) else {
            let offset = source.target.unwrap_or(arrival - raw);
            (source.offset, source.last) = (Some(offset), Some((ticks, arrival)));
            return Some(raw + offset);
        };
        let step = raw - from_ticks(last_ticks, source.rate);
        if (step - (arrival - last_arrival)).0.unsigned_abs() > JUMP {
            // Another clock: it goes on by the wall until it reports.
            let passed = (arrival - last_arrival).max(Micros::ZERO);
            let offset = offset + passed - step;
            (source.offset, source.target, source.last) = (Some(offset), None, Some((ticks, arrival)));
            return Some(raw + offset);
        }
        if step <= Micros::ZERO {
            return Some(raw + offset); // another packet of a frame, or an earlier one
        }
        let most = step.0 / 8;
        let bend = source.target.map_or(0, |target| (target - offset).0.clamp(-most, most));
        let offset = offset + Micros(bend);
        (source.offset, source.last) = (Some(offset), Some((ticks, arrival)));
        Some(raw + offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ntp_of_a_known_day() {
        // 2026-11-23 00:00:00.5 UTC
        let time = Micros(1_795_392_000_500_000);
        assert_eq!(Ntp::from_unix(time), Ntp((1_795_392_000 + 2_208_988_800) << 32 | 1 << 31));
        assert_eq!(Ntp(0x0001_0002_0003_0004).middle(), 0x0002_0003);
        assert_eq!((to_short(Micros::from_secs(2)), from_short(1 << 15)), (2 << 16, Micros(500_000)));
        assert_eq!((to_short(Micros(-1)), to_short(Micros(i64::MAX))), (0, u32::MAX));
        assert_eq!(from_ticks(5, 0), Micros::ZERO);
    }

    fn ms(ms: i64) -> Micros {
        Micros::from_millis(ms)
    }

    #[test]
    fn round_trips() {
        let now = Ntp(0x0000_0001_8000_0000);
        assert_eq!(round_trip(now, 0x0001_0000, 0x4000), Some(Micros(250_000)));
        assert_eq!(round_trip(now, 0, 0), None);
        assert_eq!(round_trip(now, 0x0001_8000, 1), None);
    }

    /// Video is 300 ms longer on its way than sound. Both are sent for 20 s, with reports from the second second on.
    #[test]
    fn two_sources_come_into_step() {
        let mut sync = Sync::default();
        let (video, audio) = (sync.add(90_000), sync.add(48_000));
        let wall = |now: i64| Ntp::from_unix(Micros::from_secs(1_800_000_000) + ms(now));
        let mut last = (ms(-1), ms(-1));
        let mut apart = Vec::new();
        for now in (0..20_000).step_by(20) {
            let (v, a) = (now * 90 + 7_000_000, now * 48 + 123);
            let video_time = sync.time(video, v, ms(now + 300)).unwrap();
            let audio_time = sync.time(audio, a, ms(now)).unwrap();
            assert!(video_time > last.0 && audio_time > last.1, "the line never runs back");
            last = (video_time, audio_time);
            apart.push((video_time - audio_time).millis());
            if now % 1000 == 0 && now >= 2000 {
                sync.report(video, v, wall(now));
                sync.report(audio, a, wall(now));
            }
        }
        assert_eq!((apart[0], apart[50]), (300, 300));
        assert!(apart.last().unwrap().abs() <= 1, "{apart:?}");
    }

    #[test]
    fn a_source_that_joins_late_is_placed_by_its_report() {
        let mut sync = Sync::default();
        let (video, audio) = (sync.add(90_000), sync.add(48_000));
        assert_eq!(sync.time(video, 0, ms(1000)), Some(ms(1000)));
        sync.report(video, 0, Ntp::from_unix(ms(50_000)));
        sync.report(audio, 480, Ntp::from_unix(ms(50_110)));
        assert_eq!(sync.time(audio, 480, ms(9999)), Some(ms(1110)));
        assert_eq!(sync.time(7, 0, ms(0)), None);
    }

    #[test]
    fn jumps_and_nonsense() {
        let mut sync = Sync::default();
        let source = sync.add(90_000);
        assert_eq!(sync.time(source, 0, ms(0)), Some(ms(0)));
        sync.report(source, 0, Ntp::default());
        sync.report(source, 0, Ntp::from_unix(ms(1_000_000)));
        sync.report(source, 0, Ntp::from_unix(ms(1_060_000)));
        assert_eq!(sync.time(source, 9000, ms(100)), Some(ms(100)), "a minute away is not believed");
        assert_eq!(sync.time(source, 900_000_000, ms(140)), Some(ms(140)), "another clock");
        assert_eq!(sync.time(source, 900_000_000 + 3600, ms(180)), Some(ms(180)));
    }

    proptest! {
        #[test]
        fn there_and_back(time in 0i64..2_000_000_000_000_000, ticks in -1_000_000_000_000i64..1_000_000_000_000) {
            prop_assert_eq!(Ntp::from_unix(Micros(time)).to_unix(), Micros(time));
            for rate in [8000, 44_100, 48_000, 90_000] {
                prop_assert_eq!(to_ticks(from_ticks(ticks, rate), rate), ticks);
            }
        }
    }
}
