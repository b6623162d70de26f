//! Time for AAC by counting samples (`hls_dts_directly off`): RTMP rounds times to milliseconds, which some players hear. Only sound whose
//! frames all have the same number of samples is counted.

use media::codec::Codec;
use media::{Frame, Micros, Track};

/// Counts the samples of one AAC track.
#[derive(Debug)]
pub(super) struct Samples {
    rate: u64,
    /// The time from which the samples are counted.
    base: Micros,
    /// Frames since then; `None` before the first one.
    frames: Option<u64>,
}

/// The count is given up, and begins anew, when it is this far from what the publisher says.
const SYNC: Micros = Micros::from_millis(100);
/// Samples in a frame, at the rate of the core coder.
const PER_FRAME: u64 = 1024;

impl Samples {
    /// `None` for other codecs.
    pub(super) fn of(track: &Track) -> Option<Self> {
        match &track.codec {
            Codec::Aac(config) if config.core_rate > 0 => {
                Some(Self { rate: config.core_rate.into(), base: Micros::ZERO, frames: None })
            }
            _ => None,
        }
    }

    /// The frame with its time by count.
    pub(super) fn retime(&mut self, frame: &Frame) -> Frame {
        let counted = self.frames.and_then(|frames| {
            let micros = frames.saturating_mul(PER_FRAME).saturating_mul(1_000_000) / self.rate;
            let dts = self.base + Micros(i64::try_from(micros).ok()?);
            ((dts - frame.dts).0.unsigned_abs() <= SYNC.0.unsigned_abs()).then_some((dts, frames))
        });
        let (dts, frames) = counted.unwrap_or((frame.dts, 0));
        if counted.is_none() {
            self.base = dts;
        }
        self.frames = Some(frames.saturating_add(1));
        Frame { dts, pts: dts + (frame.pts - frame.dts), ..frame.clone() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::codec::aac;
    use media::{Dialect, TrackId};

    use super::*;

    fn samples(core_rate: u32) -> Option<Samples> {
        let codec = Codec::Aac(aac::Config { core_rate, ..Default::default() });
        let (id, config, dialect) = (TrackId::AUDIO, Bytes::new(), Dialect::Standard);
        Samples::of(&Track { id, codec, config, dialect })
    }

    fn retime(samples: &mut Samples, micros: i64) -> i64 {
        let (dts, pts) = (Micros(micros), Micros(micros + 7));
        let frame = Frame { track: TrackId::AUDIO, dts, pts, key: true, data: Bytes::new() };
        let frame = samples.retime(&frame);
        assert_eq!(frame.pts, frame.dts + Micros(7));
        frame.dts.0
    }

    #[test]
    fn rounded_times_become_even() {
        let mut samples = samples(48_000).unwrap();
        let times = [5000, 26_000, 48_000, 69_000, 90_000].map(|time| retime(&mut samples, time));
        assert_eq!(times, [5000, 26_333, 47_666, 69_000, 90_333]);
    }

    #[test]
    fn a_clock_that_is_far_off_is_followed() {
        for off in [100_000, -100_000] {
            let mut samples = samples(51_200).unwrap();
            assert_eq!(retime(&mut samples, 0), 0);
            assert_eq!(retime(&mut samples, 20_000 + off), 20_000);
            assert_eq!(retime(&mut samples, 40_000 + off + off.signum()), 40_000 + off + off.signum());
            assert_eq!(retime(&mut samples, 60_000 + off), 60_000 + off + off.signum());
        }
    }

    #[test]
    fn without_a_rate_there_is_no_count() {
        assert!(samples(0).is_none());
    }
}
