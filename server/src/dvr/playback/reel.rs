//! What was recorded of a stream over a time: one file behind the other, on one line of time, which is that of the clock on the wall.

use std::io;
use std::sync::Arc;

use formats::frames::Item;
use hub::StreamKey;
use media::{Frame, Kind, Micros, Tracks};
use tracing::warn;

use super::{Tape, Theatre};
use crate::dvr::catalogue::Recording;

/// See the module. It waits for disks.
pub struct Reel {
    theatre: Theatre,
    key: StreamKey,
    to: Option<Micros>,
    recording: Arc<Recording>,
    tape: Tape,
    /// Where it begins, on the line of the file.
    start: Micros,
    /// What is before this is passed over.
    skip: Micros,
    /// A frame whose time has not come.
    next: Option<Frame>,
    /// Nothing is behind this file.
    is_dry: bool,
}

/// What comes next.
#[derive(Debug)]
pub enum Take {
    /// What it consists of from here on.
    Tracks(Arc<Tracks>),
    /// A frame, whose times are microseconds since 1970.
    Frame(Frame),
    /// The next frame is later than asked for, or is not recorded yet.
    Wait,
    /// Nothing has been recorded behind what was, so far.
    Dry,
    /// The end of the time that was asked for.
    End,
}

/// Sound and pictures are this far apart in files at most.
const APART: Micros = Micros::from_secs(1);

impl Reel {
    pub(super) fn open(theatre: Theatre, key: StreamKey, from: Micros, to: Option<Micros>) -> Option<Self> {
        let all = theatre.catalogue().of(&key, from, to);
        all.into_iter().find_map(|recording| {
            let opened = Self::begin(&theatre, &recording, from);
            let (tape, start, is_first) = or_tell(&theatre, &recording, opened)??;
            let (theatre, key) = (theatre.clone(), key.clone());
            // All of a file that is played from its first picture: sound may begin before it.
            let skip = if is_first { Micros(i64::MIN) } else { start };
            Some(Self { theatre, key, to, recording, tape, start, skip, next: None, is_dry: false })
        })
    }

    /// The place in a recording where a player who wants this moment can begin, and whether it is the first; none if nothing is in it yet.
    fn begin(
        theatre: &Theatre,
        recording: &Recording,
        from: Micros,
    ) -> io::Result<Option<(Tape, Micros, bool)>> {
        let mut tape = Tape::open(recording)?;
        let begun = theatre.index(recording, |index| {
            let point = index.before(from - recording.begin)?;
            tape.seek(index, point);
            Some((point.time, index.is_first(point)))
        })?;
        Ok(begun.map(|(start, is_first)| (tape, start, is_first)))
    }

    /// When the place is where it begins.
    pub fn start(&self) -> Micros {
        self.recording.begin + self.start
    }

    /// What comes next, if it is not later than `until`.
    pub fn take(&mut self, until: Micros) -> Take {
        loop {
            if let Some(frame) = self.next.take() {
                match self.to {
                    Some(to) if frame.dts >= to + APART => return Take::End,
                    Some(to) if frame.dts >= to => continue,
                    _ if frame.dts > until => {
                        self.next = Some(frame);
                        return Take::Wait;
                    }
                    _ => return Take::Frame(frame),
                }
            }
            if self.is_dry {
                return self.go_on();
            }
            let is_whole = self.recording.is_complete();
            match self.tape.next(is_whole) {
                Ok(Some(Item::Tracks(tracks))) => return Take::Tracks(tracks),
                Ok(Some(Item::Frame(frame))) => {
                    if frame.dts >= self.skip && frame.track.kind != Kind::Data {
                        let begin = self.recording.begin;
                        self.next = Some(Frame { dts: begin + frame.dts, pts: begin + frame.pts, ..frame });
                    }
                }
                Ok(None) if !is_whole => return Take::Wait,
                Ok(None) => self.is_dry = true,
                Err(e) => {
                    warn!("dvr: {} cannot be played: {e}", self.recording.file().display());
                    self.is_dry = true;
                }
            }
        }
    }

    /// Takes the file that comes behind this one.
    fn go_on(&mut self) -> Take {
        let all = self.theatre.catalogue().of(&self.key, self.recording.begin, self.to);
        let now = (self.recording.begin, &self.recording.id);
        let mut later = all.iter().filter(|other| (other.begin, &other.id) > now);
        let next = later.find_map(|recording| {
            let tape = or_tell(&self.theatre, recording, Tape::open(recording))?;
            Some((recording.clone(), tape))
        });
        match next {
            Some((recording, tape)) => {
                (self.recording, self.tape, self.is_dry) = (recording, tape, false);
                self.skip = Micros(i64::MIN);
                self.take_first()
            }
            None => Take::Dry,
        }
    }

    fn take_first(&mut self) -> Take {
        match self.tape.next(self.recording.is_complete()) {
            Ok(Some(Item::Tracks(tracks))) => Take::Tracks(tracks),
            _ => Take::Wait,
        }
    }
}

/// What is wrong with a recording is told; one whose file is gone is forgotten.
fn or_tell<T>(theatre: &Theatre, recording: &Recording, done: io::Result<T>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            theatre.catalogue().forget(recording);
            None
        }
        Err(e) => {
            warn!("dvr: {} cannot be played: {e}", recording.file().display());
            None
        }
    }
}
