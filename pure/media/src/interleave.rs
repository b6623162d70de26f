//! Puts frames of several tracks into the order of decoding time (`mix_correct` of SRS). It repairs small disorder
//! between tracks; jumps of time belong to the forms.

use std::collections::BTreeMap;

use crate::{Frame, Kind, Micros};

/// Holds frames back until their order is certain: a frame goes out when both a video and an audio frame wait, or when ten
/// of one kind wait for the other in vain.
#[derive(Debug, Default)]
pub struct Interleaver {
    /// By time, then by arrival.
    waiting: BTreeMap<(Micros, u64), Frame>,
    arrivals: u64,
    video: usize,
    audio: usize,
}

impl Interleaver {
    /// With this many frames of one kind and none of the other, the stream counts as having one kind only.
    pub const ALONE: usize = 10;
    /// The most frames ever held back, data included.
    pub const MAX: usize = 64;

    /// Takes one frame in, and pushes those that are now due to `out`.
    pub fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) {
        if let Some(count) = self.count(frame.track.kind) {
            *count += 1;
        }
        self.waiting.insert((frame.dts, self.arrivals), frame);
        self.arrivals = self.arrivals.wrapping_add(1);
        while self.is_due() {
            self.pop(out);
        }
    }

    /// Pushes all that still waits, in order: the publisher has left.
    pub fn flush(&mut self, out: &mut Vec<Frame>) {
        while !self.waiting.is_empty() {
            self.pop(out);
        }
    }

    fn is_due(&self) -> bool {
        let (few, many) = (self.video.min(self.audio), self.video.max(self.audio));
        few > 0 || many >= Self::ALONE || self.waiting.len() > Self::MAX
    }

    fn pop(&mut self, out: &mut Vec<Frame>) {
        if let Some((_, frame)) = self.waiting.pop_first() {
            if let Some(count) = self.count(frame.track.kind) {
                *count = count.saturating_sub(1);
            }
            out.push(frame);
        }
    }

    /// Data frames ride along and are not waited for.
    fn count(&mut self, kind: Kind) -> Option<&mut usize> {
        match kind {
            Kind::Video => Some(&mut self.video),
            Kind::Audio => Some(&mut self.audio),
            Kind::Data => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::TrackId;

    fn frame(track: TrackId, ms: i64) -> Frame {
        let dts = Micros::from_millis(ms);
        Frame { track, dts, pts: dts, key: false, data: Bytes::new() }
    }

    fn run(frames: &[(TrackId, i64)]) -> Vec<i64> {
        let (mut mix, mut out) = (Interleaver::default(), Vec::new());
        for (track, ms) in frames {
            mix.push(frame(*track, *ms), &mut out);
        }
        out.iter().map(|f| f.dts.millis()).collect()
    }

    #[test]
    fn sorts_between_tracks_and_waits_for_the_other_kind() {
        let (v, a) = (TrackId::VIDEO, TrackId::AUDIO);
        assert_eq!(run(&[(v, 0), (v, 40), (a, 0), (a, 23), (a, 46), (v, 80)]), [0, 0, 23, 40, 46]);
    }

    #[test]
    fn one_kind_alone_passes_after_ten() {
        let frames: Vec<_> = (0..12).map(|n| (TrackId::AUDIO, n * 23)).collect();
        assert_eq!(run(&frames[..9]), []);
        assert_eq!(run(&frames), [0, 23, 46]);
    }

    #[test]
    fn flush_empties_in_order() {
        let (mut mix, mut out) = (Interleaver::default(), Vec::new());
        for ms in [30, 10, 20] {
            mix.push(frame(TrackId::VIDEO, ms), &mut out);
        }
        assert!(out.is_empty());
        mix.flush(&mut out);
        assert_eq!(out.iter().map(|f| f.dts.millis()).collect::<Vec<_>>(), [10, 20, 30]);
        mix.push(frame(TrackId::AUDIO, 5), &mut out);
        assert_eq!(out.len(), 3, "the counts are back at zero");
    }

    proptest! {
        #[test]
        fn loses_nothing_and_holds_little(frames in prop::collection::vec((0u8..3, 0i64..1000), 0..300)) {
            let (mut mix, mut out) = (Interleaver::default(), Vec::new());
            for (n, (kind, ms)) in frames.iter().enumerate() {
                let track = [TrackId::VIDEO, TrackId::AUDIO, TrackId::DATA][usize::from(*kind)];
                mix.push(frame(track, *ms), &mut out);
                prop_assert!(n + 1 - out.len() <= Interleaver::MAX);
            }
            mix.flush(&mut out);
            let mut before: Vec<_> = frames.iter().map(|f| f.1).collect();
            let mut after: Vec<_> = out.iter().map(|f| f.dts.millis()).collect();
            before.sort_unstable();
            after.sort_unstable();
            prop_assert_eq!(before, after);
        }
    }
}
