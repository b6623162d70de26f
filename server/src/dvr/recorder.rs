//! One stream on its way to files: when a file begins and ends, and what to do when a disk does not want it. It runs on the recorder's thread, and
//! may wait for files there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use formats::flv::is_announced;
use formats::frames::Item;
use hub::StreamKey;
use jiff::Timestamp;
use media::{Frame, Kind, Micros, Place, Stamped, TrackId, Tracks};
use tracing::{debug, info, warn};

use super::Figures;
use super::catalogue::{Catalogue, Recording};
use super::draft::Draft;
use super::{flv, mp4};
use crate::config::{Dvr, DvrPlan};
use crate::follow::{self, Publisher};
use crate::form;
use crate::naming::{self, Names};
use crate::store::{self, Content, Store};

/// See the module.
pub struct Recorder {
    key: StreamKey,
    dvr: Arc<Dvr>,
    figures: Arc<Figures>,
    store: Store,
    catalogue: Catalogue,
    publisher: Option<Publisher>,
    tracks: Arc<Tracks>,
    open: Option<Open>,
    /// Pictures are passed over until one can be decoded.
    needs_key: bool,
    /// What is to be added to the publisher's times to know when that was, in microseconds since 1970.
    clock: Option<Micros>,
    /// Frames that wait until it is known what the stream consists of: an MP4 says it at its beginning.
    held: Vec<(Frame, bool)>,
    held_bytes: usize,
    /// It went wrong, and is not known to go well again.
    fails: bool,
    /// Nothing is tried before this.
    again: Option<Instant>,
    /// Frames that were not recorded since it went wrong.
    lost: u64,
}

/// The file that is being recorded.
struct Open {
    draft: Draft,
    writer: Writer,
    recording: Arc<Recording>,
    last: Micros,
}

enum Writer {
    Flv(flv::Writer),
    Mp4(mp4::Writer),
}

/// After an error, the disk is left alone for so long.
const RETRY: Duration = Duration::from_secs(5);

/// Frames are held for so long at most.
const HOLD: Micros = Micros::from_secs(1);
const MOST_HELD: usize = 8 << 20;

/// What has gone well for so long, after an error, goes well again.
const WELL: Micros = Micros::from_secs(3);

/// A larger step of the publisher's clock is no time that has passed.
const JUMP: Micros = Micros::from_secs(10);

/// The publisher's clock is believed as long as it is no further from ours than this, so that one file follows the other without gap.
const APART: Micros = Micros::from_secs(5);

impl Recorder {
    /// A stream of which nothing is recorded yet.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(super) fn new(
        key: &StreamKey,
        dvr: &Arc<Dvr>,
        figures: &Arc<Figures>,
        store: &Store,
        catalogue: &Catalogue,
    ) -> Result<Self, String> {
        if !naming::is_safe(key) {
            return Err(format!("{key} cannot be the name of a file"));
        }
        Ok(Self {
            key: key.clone(),
            dvr: dvr.clone(),
            figures: figures.clone(),
            store: store.clone(),
            catalogue: catalogue.clone(),
            publisher: None,
            tracks: Arc::default(),
            open: None,
            needs_key: dvr.wait_keyframe,
            clock: None,
            held: Vec::new(),
            held_bytes: 0,
            fails: false,
            again: None,
            lost: 0,
        })
    }

    /// Does not wait any longer after an error.
    #[cfg(test)]
    pub(super) fn retry_now(&mut self) {
        self.again = Some(Instant::now());
    }

    fn anew(&mut self) {
        self.close();
        self.tracks = Arc::default();
        self.needs_key = self.dvr.wait_keyframe;
        self.clock = None;
    }

    fn tracks(&mut self, tracks: Arc<Tracks>) {
        self.tracks = tracks;
        let Some(open) = &mut self.open else { return };
        let done = match &mut open.writer {
            Writer::Flv(writer) => writer.tracks(&mut open.draft, &self.tracks),
            Writer::Mp4(writer) if writer.fits(&self.tracks) => Ok(()),
            Writer::Mp4(_) => {
                self.close();
                self.needs_key = self.dvr.wait_keyframe;
                Ok(())
            }
        };
        done.unwrap_or_else(|e| self.fail(&e));
    }

    /// The next frame; a file may begin at a `key` one.
    fn frame(&mut self, frame: Frame, key: bool) {
        if self.open.as_ref().is_some_and(|open| open.is_due(&self.dvr, &frame, key)) {
            self.close();
        }
        if let Some(again) = self.again
            && (Instant::now() < again || !key)
        {
            return self.lose_one();
        }
        if self.needs_key && frame.track.kind == Kind::Video {
            if !frame.key {
                return;
            }
            self.needs_key = false;
        }
        if self.open.is_some() {
            return self.write(&frame);
        }
        self.held_bytes += frame.data.len();
        self.held.push((frame, key));
        if !self.waits_for_tracks() {
            self.begin_file();
        }
    }

    /// Something is announced that has not come yet.
    fn waits_for_tracks(&self) -> bool {
        let (Some((first, _)), Some((last, _))) = (self.held.first(), self.held.last()) else { return false };
        let is_long = (last.dts - first.dts).0.abs() >= HOLD.0 || self.held_bytes > MOST_HELD;
        let comes = |kind| {
            let track = self.tracks.find(TrackId { kind, index: 0 });
            track.is_none() && (is_announced(&self.tracks, kind) || self.tracks.metadata.is_none())
        };
        self.dvr.mp4 && !is_long && (comes(Kind::Video) || comes(Kind::Audio))
    }

    fn begin_file(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        match self.create(&held) {
            Ok(open) => {
                self.again = None;
                debug!("dvr: {} goes to {}", self.key, open.draft.path().display());
                self.open = Some(open);
                held.iter().for_each(|(frame, _)| self.write(frame));
            }
            Err(e) => {
                self.fail(&e);
                held.iter().for_each(|_| self.lose_one());
            }
        }
    }

    /// When this frame was, which is the first of these; the last has only just come.
    fn begins_at(&mut self, held: &[(Frame, bool)], now: Timestamp) -> Micros {
        let now = Micros(now.as_microsecond());
        let times = || held.iter().map(|(frame, _)| frame).filter(|frame| frame.track.kind != Kind::Data);
        let Some((first, last)) = times().next().zip(times().last()) else { return now };
        let newest = last.dts.max(first.dts);
        let off = |clock: Micros| Micros((clock + newest - now).0.abs());
        let clock = self.clock.filter(|clock| off(*clock) < APART).unwrap_or(now - newest);
        self.clock = Some(clock);
        clock + first.dts
    }

    fn create(&mut self, held: &[(Frame, bool)]) -> io::Result<Open> {
        let now = Timestamp::now();
        let time = naming::time_of_day(now, self.dvr.utc);
        let names =
            Names { timestamp: Some(now.as_millisecond()), time: Some(&time), ..Names::of(&self.key) };
        let mut draft = Draft::create(&names.fill(&self.dvr.path))?;
        let jitter = form::line(self.dvr.jitter);
        let writer = match self.dvr.mp4 {
            false => {
                flv::Writer::new(&mut draft, &self.tracks, jitter).map(|writer| Some(Writer::Flv(writer)))
            }
            true => {
                let writer = mp4::Writer::new(&mut draft, &self.tracks, jitter);
                writer.map(|writer| writer.map(Writer::Mp4))
            }
        };
        match writer {
            Ok(Some(writer)) => {
                let begin = self.begins_at(held, now);
                let (folder, mp4) = (self.dvr.folder(), self.dvr.mp4);
                let recording = self.catalogue.begin(&self.key, folder, draft.path(), mp4, begin);
                Ok(Open { draft, writer, recording, last: Micros::ZERO })
            }
            Ok(None) => {
                draft.discard();
                Err(io::Error::other("MP4 can carry none of its tracks"))
            }
            Err(e) => {
                draft.discard();
                Err(e)
            }
        }
    }

    fn write(&mut self, frame: &Frame) {
        let Some(open) = &mut self.open else { return self.lose_one() };
        let done = match &mut open.writer {
            Writer::Flv(writer) => writer.frame(&mut open.draft, frame),
            Writer::Mp4(writer) => writer.frame(&mut open.draft, frame),
        };
        if frame.track.kind != Kind::Data {
            open.last = frame.dts;
        }
        open.recording.grow(open.length(), open.draft.position());
        let is_well = self.fails && open.length() >= WELL;
        match done {
            Ok(()) if is_well => self.tell_lost("is recorded again"),
            Ok(()) => {}
            Err(e) => {
                self.fail(&e);
                self.lose_one();
            }
        }
    }

    /// Nothing can be written for now: what has been stays.
    fn fail(&mut self, e: &io::Error) {
        self.figures.failures.fetch_add(1, Relaxed);
        if !std::mem::replace(&mut self.fails, true) {
            warn!("dvr: {}: {e}; it is not recorded until that is mended", self.key);
        }
        // What went wrong would go wrong again, and need not be told again.
        if let Some(open) = self.open.take() {
            self.finish(open);
        }
        self.again = Some(Instant::now() + RETRY);
        self.needs_key = self.dvr.wait_keyframe;
    }

    fn lose_one(&mut self) {
        self.lost += 1;
        self.figures.frames_lost.fetch_add(1, Relaxed);
    }

    /// Tells of an error that is over.
    fn tell_lost(&mut self, what: &str) {
        (self.fails, self.again) = (false, None);
        warn!("dvr: {} {what}, {} frames are lost", self.key, std::mem::take(&mut self.lost));
    }

    /// Completes what is open.
    fn close(&mut self) {
        if !self.held.is_empty() {
            self.begin_file();
        }
        if let Some(open) = self.open.take() {
            self.finish(open);
        }
    }

    fn finish(&mut self, open: Open) {
        let Open { mut draft, writer, recording, .. } = open;
        let path = draft.path().to_owned();
        let (length, done) = match writer {
            Writer::Flv(writer) => (writer.length(), writer.finish(&mut draft)),
            Writer::Mp4(writer) => (writer.length(), writer.finish(&mut draft)),
        };
        if let Ok(false) = done {
            self.catalogue.discard(&recording);
            return draft.discard();
        }
        // A file without its end, or without its index, is a file all the same.
        if let Err(e) = done {
            self.figures.failures.fetch_add(1, Relaxed);
            warn!("dvr: {}: {e}; {} stays as it is", self.key, path.display());
        }
        let size = draft.position();
        match draft.finish(length.millis()) {
            Ok(file) => {
                self.figures.files.fetch_add(1, Relaxed);
                self.figures.bytes.fetch_add(size, Relaxed);
                self.catalogue.complete(&recording, Path::new(&file), length, size);
                info!("dvr: {} is in {file}, {:.3} s, {size} bytes", self.key, length.0 as f64 / 1e6);
                let name = store::name_below(&self.dvr.path, &file);
                let content = || Content::File(PathBuf::from(&file));
                self.store.finished(&self.key, store::Output::Dvr, &name, content);
                if let Some(reporter) = self.publisher.as_ref().and_then(Publisher::reporter) {
                    reporter.recording(&file);
                }
            }
            Err(e) => {
                self.figures.failures.fetch_add(1, Relaxed);
                self.catalogue.complete(&recording, &path, length, size);
                warn!("dvr: {}: {e}; the recording stays in {}", self.key, path.display());
            }
        }
    }
}

impl Open {
    fn length(&self) -> Micros {
        match &self.writer {
            Writer::Flv(writer) => writer.length(),
            Writer::Mp4(writer) => writer.length(),
        }
    }

    /// The file is long enough, and another one may begin with this frame.
    fn is_due(&self, dvr: &Dvr, frame: &Frame, key: bool) -> bool {
        let DvrPlan::Segment(duration) = dvr.plan else { return false };
        let may = (key || !dvr.wait_keyframe) && frame.track.kind != Kind::Data;
        let step = frame.dts - self.last;
        let passes = step > Micros::ZERO && step < JUMP;
        may && self.length() + if passes { step } else { Micros::ZERO } >= form::micros(duration)
    }
}

impl follow::Stream for Recorder {
    type Unit = Item;
    type Link = ();

    fn turn(mut self, now: Self) -> Self {
        self.close();
        now
    }

    fn begin(&mut self, (): (), publisher: Publisher) {
        self.anew();
        self.publisher = Some(publisher);
    }

    fn renew(&mut self, publisher: Publisher) {
        self.anew();
        self.publisher = Some(publisher);
    }

    fn lose(&mut self, units: u64) {
        warn!("dvr: the disk is too slow for {}, {units} frames are lost", self.key);
        self.figures.frames_lost.fetch_add(units, Relaxed);
        self.needs_key = self.dvr.wait_keyframe;
    }

    fn take(&mut self, unit: Stamped<Item>) {
        let key = matches!(unit.place, Place::Media { key: true, .. });
        match unit.unit {
            Item::Tracks(tracks) => self.tracks(tracks),
            Item::Frame(frame) => self.frame(frame, key),
        }
    }

    fn leave(&mut self) {
        self.close();
        if self.fails {
            self.tell_lost("has ended");
        }
        self.publisher = None;
    }

    fn rest(&self) -> Duration {
        Duration::ZERO
    }

    fn end(mut self, _files_stay: bool) {
        self.close();
        if self.fails {
            self.tell_lost("has ended");
        }
    }
}
