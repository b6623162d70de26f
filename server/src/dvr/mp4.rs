//! Recording to MP4: in fragments, so that what was written is playable whatever happens, and with an index of its own when it is complete.

use std::io;

use bytes::Bytes;
use formats::Jitter;
use formats::mp4::{Movie, Recorder, seal};
use media::{Frame, Micros, Tracks};

use super::draft::Draft;

/// See the module.
pub(super) struct Writer {
    recorder: Recorder,
    movie: Movie,
    head: Bytes,
}

impl Writer {
    /// `None` if MP4 can carry none of the tracks.
    pub(super) fn new(draft: &mut Draft, tracks: &Tracks, jitter: Jitter) -> io::Result<Option<Self>> {
        let Some(recorder) = Recorder::new(tracks, jitter) else { return Ok(None) };
        let head = recorder.head();
        let movie = Movie::read(&head).map_err(damaged)?;
        draft.add(|out| out.extend_from_slice(&head))?;
        draft.flush()?;
        Ok(Some(Self { recorder, movie, head }))
    }

    /// The file can go on with these tracks.
    pub(super) fn fits(&self, tracks: &Tracks) -> bool {
        self.recorder.fits(tracks)
    }

    pub(super) fn frame(&mut self, draft: &mut Draft, frame: &Frame) -> io::Result<()> {
        self.recorder.push(frame);
        if self.recorder.is_due() { self.write(draft, false) } else { Ok(()) }
    }

    fn write(&mut self, draft: &mut Draft, last: bool) -> io::Result<()> {
        for fragment in self.recorder.take(last) {
            let at = draft.position();
            draft.add(|out| out.extend_from_slice(&fragment))?;
            draft.flush()?;
            self.movie.add(at, &fragment).map_err(damaged)?;
        }
        Ok(())
    }

    pub(super) fn length(&self) -> Micros {
        self.recorder.length()
    }

    /// Completes the file; `false` if nothing is in it. If there is no room for the index, it stays a file of fragments.
    pub(super) fn finish(mut self, draft: &mut Draft) -> io::Result<bool> {
        let last = self.write(draft, true);
        if !self.movie.is_empty() {
            seal_with(draft, &self.movie, &self.head)?;
        }
        last.map(|()| !self.movie.is_empty())
    }
}

/// Writes the index, and makes a plain file of it.
pub(super) fn seal_with(draft: &mut Draft, movie: &Movie, head: &[u8]) -> io::Result<()> {
    let end = draft.position();
    draft.add(|out| out.extend_from_slice(&movie.moov()))?;
    draft.flush()?;
    // Not before the index is there.
    draft.patch(0, &seal(head, end).map_err(damaged)?)
}

fn damaged(e: formats::mp4::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}
