//! What a destination of WebRTC may still get: the stream since its newest keyframe, for it shows no past. Bounded by time and by bytes.

use std::collections::VecDeque;

use media::{Kind, Micros, Stamped, Unit};
use rtp::Burst;

/// However long the queue may be in time.
const MAX_BYTES: usize = 16 << 20;

/// See the module.
pub(super) struct Recent {
    units: VecDeque<Stamped<Burst>>,
    bytes: usize,
    /// What follows does not follow what was taken: it begins with a keyframe.
    broken: bool,
    /// Something was taken.
    began: bool,
    dropped: u64,
}

impl Recent {
    /// Nothing has come.
    pub(super) fn new() -> Self {
        Self { units: VecDeque::new(), bytes: 0, broken: true, began: false, dropped: 0 }
    }

    /// What follows does not follow what came before; so many units are lost.
    pub(super) fn restart(&mut self, missed: u64) {
        self.dropped += missed;
        self.clear();
    }

    /// Takes what is new. While it `waits` for a connection, a keyframe takes the place of what came before.
    pub(super) fn push(&mut self, unit: Stamped<Burst>, limit: Micros, waits: bool) {
        if unit.is_key() {
            self.broken = false;
            if waits {
                // Nobody has missed that.
                (self.units, self.bytes) = Default::default();
            }
        }
        if self.broken {
            self.dropped += u64::from(self.began);
            return;
        }
        self.bytes += unit.unit.size();
        self.units.push_back(unit);
        let span = match (self.units.front(), self.units.back()) {
            (Some(first), Some(last)) => last.time - first.time,
            _ => Micros::ZERO,
        };
        if self.bytes > MAX_BYTES || span > limit {
            self.clear();
        }
    }

    /// A piece of what waits, of about so many bytes, in order.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<Stamped<Burst>> {
        let (mut piece, mut taken) = (Vec::new(), 0);
        while taken < bytes
            && let Some(unit) = self.units.pop_front()
        {
            self.bytes -= unit.unit.size();
            taken += unit.unit.payload();
            piece.push(unit);
            self.began = true;
        }
        piece
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// It needs a keyframe to go on, or to begin.
    pub(super) fn lacks_key(&self) -> bool {
        self.broken
    }

    /// More than one picture waits: this is the past and not what has just come.
    pub(super) fn is_behind(&self) -> bool {
        self.units.iter().filter(|unit| unit.unit.track().kind == Kind::Video).nth(1).is_some()
    }

    /// Media units that were left out since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn clear(&mut self) {
        self.dropped += if self.began { self.units.len() as u64 } else { 0 };
        self.units.clear();
        (self.bytes, self.broken) = (0, true);
    }
}

#[cfg(test)]
mod tests {
    use media::codec::Codec;
    use media::codec::opus;
    use media::{Dialect, Frame, Remux, Track, TrackId, Tracks};

    use super::*;

    /// Sound of these times, in seconds; the first is an entry as a keyframe is.
    fn units(times: std::ops::Range<i64>) -> Vec<Stamped<Burst>> {
        let mut tracks = Tracks::default();
        let codec = Codec::Opus(opus::Config::default());
        tracks.set(Track {
            id: TrackId::AUDIO,
            codec,
            config: Default::default(),
            dialect: Dialect::Standard,
        });
        let (mut mux, mut out) = (rtp::Mux::new(rtp::MuxOptions::default()), Vec::new());
        mux.tracks(&tracks, &mut out);
        for time in times.clone() {
            let time = Micros::from_secs(time);
            let data = vec![0; 1000].into();
            mux.frame(&Frame { track: TrackId::AUDIO, dts: time, pts: time, key: true, data }, &mut out);
        }
        for unit in out.iter_mut().skip(1) {
            unit.place = media::Place::Media { track: TrackId::AUDIO, key: false };
        }
        out
    }

    fn times(recent: &mut Recent) -> Vec<i64> {
        recent.take(usize::MAX).iter().map(|unit| unit.time.millis() / 1000).collect()
    }

    #[test]
    fn who_waits_gets_the_stream_from_the_newest_keyframe_on() {
        let mut recent = Recent::new();
        let limit = Micros::from_secs(30);
        // No keyframe yet.
        units(0..3).into_iter().skip(1).for_each(|unit| recent.push(unit, limit, true));
        assert!(recent.lacks_key() && recent.is_empty());
        units(5..8).into_iter().chain(units(10..13)).for_each(|unit| recent.push(unit, limit, true));
        assert_eq!((times(&mut recent), recent.take_dropped()), (vec![10, 11, 12], 0));
        // Who is connected misses nothing.
        units(15..17).into_iter().chain(units(20..22)).for_each(|unit| recent.push(unit, limit, false));
        assert_eq!(times(&mut recent), [15, 16, 20, 21]);
    }

    #[test]
    fn who_is_too_slow_goes_on_with_a_keyframe() {
        let mut recent = Recent::new();
        let limit = Micros::from_secs(4);
        units(0..2).into_iter().for_each(|unit| recent.push(unit, limit, false));
        assert_eq!(recent.take(1500).len(), 2);
        units(2..9).into_iter().for_each(|unit| recent.push(unit, limit, false));
        assert!(recent.lacks_key());
        units(9..11).into_iter().for_each(|unit| recent.push(unit, limit, false));
        assert_eq!((times(&mut recent), recent.take_dropped()), (vec![9, 10], 7));
        recent.restart(5);
        assert!(recent.lacks_key());
        assert_eq!(recent.take_dropped(), 5);
    }
}
