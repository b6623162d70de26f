//! Recording to FLV: tags one after the other, and the length and size patched in at the end. It is playable at any moment up to its last tag.

use std::io;

use formats::Jitter;
use formats::flv::{Mux, MuxOptions, Opening, Tag};
use media::{Frame, Micros, Remux, Stamped, Tracks};

use super::draft::Draft;

/// See the module.
pub(super) struct Writer {
    mux: Mux,
    opening: Opening,
    tags: Vec<Stamped<Tag>>,
    /// Times of the first frame and of the latest one.
    span: Option<(Micros, Micros)>,
    flushed: Micros,
}

/// Media time that is not in the file yet.
const LAG: Micros = Micros::from_secs(1);

impl Writer {
    pub(super) fn new(draft: &mut Draft, tracks: &Tracks, jitter: Jitter) -> io::Result<Self> {
        let opening = Opening::new(tracks.metadata.as_deref(), crate::SIGNATURE);
        draft.add(|out| out.extend_from_slice(&opening.bytes))?;
        let mux = Mux::new(MuxOptions { jitter, reduce_sequence_header: true });
        let mut writer = Self { mux, opening, tags: Vec::new(), span: None, flushed: Micros::ZERO };
        writer.tracks(draft, tracks)?;
        draft.flush()?;
        Ok(writer)
    }

    /// Other sequence headers count from here on; the metadata is that of the beginning.
    pub(super) fn tracks(&mut self, draft: &mut Draft, tracks: &Tracks) -> io::Result<()> {
        let mut tracks = tracks.clone();
        tracks.metadata = None;
        self.mux.tracks(&tracks, &mut self.tags);
        self.write(draft)
    }

    pub(super) fn frame(&mut self, draft: &mut Draft, frame: &Frame) -> io::Result<()> {
        self.mux.frame(frame, &mut self.tags);
        for tag in &self.tags {
            let (start, end) = self.span.unwrap_or((tag.time, tag.time));
            self.span = Some((start.min(tag.time), end.max(tag.time)));
        }
        self.write(draft)?;
        let now = self.span.map_or(Micros::ZERO, |(_, now)| now);
        if now - self.flushed >= LAG {
            self.flushed = now;
            draft.flush()?;
        }
        Ok(())
    }

    fn write(&mut self, draft: &mut Draft) -> io::Result<()> {
        let tags = &mut self.tags;
        draft.add(|out| tags.drain(..).for_each(|tag| tag.unit.write(tag.time.millis().max(0) as u32, out)))
    }

    pub(super) fn length(&self) -> Micros {
        self.span.map_or(Micros::ZERO, |(start, end)| end - start)
    }

    /// Completes the file; `false` if nothing is in it.
    pub(super) fn finish(self, draft: &mut Draft) -> io::Result<bool> {
        draft.flush()?;
        for (at, bytes) in self.opening.patches(draft.position(), self.length()) {
            draft.patch(at, &bytes)?;
        }
        Ok(self.span.is_some())
    }
}
