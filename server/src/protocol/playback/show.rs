//! A reel as FLV: one body with one line of time, whatever files it comes from.

use std::sync::Arc;

use formats::Jitter;
use formats::flv::{FileHeader, Mux, MuxOptions};
use media::{Frame, Micros, Remux, Tracks};

use crate::dvr::{Reel, Take};

/// See the module.
pub(super) struct Show {
    reel: Reel,
    mux: Mux,
    /// The tracks that there were before the first frame: the header of the file tells of them, so it waits for it.
    before: Option<Arc<Tracks>>,
    begun: bool,
    /// Where on the clock of the wall the body has its zero; later when there was a gap.
    zero: Micros,
    newest: Micros,
}

/// How filling went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There is more at once.
    More,
    /// There will be more.
    Wait,
    /// There may be more if somebody records again.
    Dry,
    /// There is no more.
    End,
}

/// A piece of a body is so large, or a frame larger.
const PIECE: usize = 64 << 10;

/// Steps on the line of time that are no gap: a slow stream, or tracks that are apart.
const FORWARD: Micros = Micros::from_secs(3);
const BACK: Micros = Micros::from_secs(1);
/// What takes the place of a gap.
const STEP: Micros = Micros::from_millis(40);

impl Show {
    pub(super) fn new(reel: Reel) -> Self {
        let mux = Mux::new(MuxOptions { jitter: Jitter::Off, reduce_sequence_header: true });
        let (zero, newest) = (Micros::ZERO, Micros::ZERO);
        Self { reel, mux, before: None, begun: false, zero, newest }
    }

    /// Adds the next piece, of frames that are not later than `until`. Waits for the disk.
    pub(super) fn fill(&mut self, until: Micros, out: &mut Vec<u8>) -> Filled {
        while out.len() < PIECE {
            match self.reel.take(until) {
                Take::Tracks(tracks) => self.tracks(tracks, out),
                Take::Frame(frame) => self.frame(frame, out),
                Take::Wait => return Filled::Wait,
                Take::Dry => return Filled::Dry,
                Take::End => return Filled::End,
            }
        }
        Filled::More
    }

    fn tracks(&mut self, tracks: Arc<Tracks>, out: &mut Vec<u8>) {
        if !self.begun {
            self.before = Some(tracks);
            return;
        }
        let (time, mut tags) = (self.told(self.newest), Vec::new());
        self.mux.tracks(&tracks, &mut tags);
        tags.iter().for_each(|tag| tag.unit.write(time, out));
    }

    fn begin(&mut self, first: &Frame, out: &mut Vec<u8>) {
        self.begun = true;
        (self.zero, self.newest) = (first.dts, first.dts);
        let tracks = self.before.take().unwrap_or_default();
        let header = FileHeader { audio: tracks.audio().is_some(), video: tracks.video().is_some() };
        out.extend_from_slice(&header.to_bytes());
        self.tracks(tracks, out);
    }

    fn frame(&mut self, mut frame: Frame, out: &mut Vec<u8>) {
        if !self.begun {
            self.begin(&frame, out);
        }
        let step = frame.dts - self.newest;
        if step > FORWARD || step < Micros::ZERO - BACK {
            self.zero += step - STEP;
            self.newest = frame.dts;
        }
        self.newest = self.newest.max(frame.dts);
        // Sound may begin a little before the picture that the body begins with.
        let dts = (frame.dts - self.zero).max(Micros::ZERO);
        (frame.pts, frame.dts) = (dts + (frame.pts - frame.dts), dts);
        let mut tags = Vec::new();
        self.mux.frame(&frame, &mut tags);
        tags.iter().for_each(|tag| tag.unit.write(tag.time.millis() as u32 & 0x7fff_ffff, out));
    }

    /// What a time on the wall is in the body, in milliseconds.
    fn told(&self, time: Micros) -> u32 {
        (time - self.zero).millis().max(0) as u32 & 0x7fff_ffff
    }
}
