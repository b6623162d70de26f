//! One recording, read from its file: where players can begin, and its frames one after the other. A file may grow meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use formats::flv::{Demux, DemuxOptions, Demuxed, GLANCE, Glance, Opening, TagKind, glance};
use formats::frames::Item;
use formats::mp4::{Head, Placed};
use media::{Frame, Kind, Micros, TrackId, Tracks};

use super::index::{Index, Point};
use crate::dvr::catalogue::Recording;
use crate::dvr::disk::{fragment, read, read_all};

/// See the module.
pub struct Tape {
    file: File,
    /// Nothing is added any more.
    is_whole: bool,
    body: Body,
}

enum Body {
    Mp4(Box<Mp4>),
    Flv(Box<Flv>),
}

/// What a file begins with is not longer.
const BEGINNING: usize = 2 << 20;

/// Fragments of one track are read on until those of the others have come, for so long.
const APART: Micros = Micros::from_secs(3);

impl Tape {
    /// At the beginning of a recording.
    ///
    /// # Errors
    /// When the file cannot be opened, or does not begin as ours do.
    pub fn open(recording: &Recording) -> io::Result<Self> {
        let is_whole = recording.is_complete();
        let opened = match File::open(recording.file()) {
            // It was given its name in this very moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => File::open(recording.file()),
            opened => opened,
        };
        let file = opened?;
        let body = match recording.mp4 {
            true => Body::Mp4(Box::new(Mp4::open(&file)?)),
            false => Body::Flv(Box::new(Flv::open(&file)?)),
        };
        Ok(Self { file, is_whole, body })
    }

    /// Looks for places where players can begin, from where the index ends to the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn scan(&mut self, index: &mut Index) -> io::Result<()> {
        if index.is_over {
            return Ok(());
        }
        match &mut self.body {
            Body::Mp4(mp4) => mp4.scan(&self.file, index)?,
            Body::Flv(flv) => flv.scan(&self.file, index)?,
        }
        index.is_over = self.is_whole;
        Ok(())
    }

    /// Goes on at this point.
    pub fn seek(&mut self, index: &Index, point: Point) {
        match &mut self.body {
            Body::Mp4(mp4) => mp4.seek(point),
            Body::Flv(flv) => flv.seek(&self.file, index, point),
        }
    }

    /// What comes next: the tracks first, then frames in the order of their times, whose zero is that of the first frame of the file. Nothing if
    /// nothing more is there yet; `is_whole` says that nothing will come any more.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as we write them.
    pub fn next(&mut self, is_whole: bool) -> io::Result<Option<Item>> {
        match &mut self.body {
            Body::Mp4(mp4) => mp4.next(&self.file, is_whole),
            Body::Flv(flv) => flv.next(&self.file),
        }
    }
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// Fragments, one after the other, whether the file is plain by now or not.
struct Mp4 {
    head: Head,
    tracks: Arc<Tracks>,
    told: bool,
    /// The next fragment.
    at: u64,
    /// Frames that have not been read yet: those of pictures, and of sound.
    lanes: [VecDeque<Placed>; 2],
}

impl Mp4 {
    fn open(file: &File) -> io::Result<Self> {
        let mut most = 16 << 10;
        let head = loop {
            let beginning = read(file, 0, most)?;
            match Head::read(&beginning).map_err(damaged)? {
                Some(head) => break head,
                None if beginning.len() < most || most >= BEGINNING => return Err(damaged("it has no head")),
                None => most *= 4,
            }
        };
        let (tracks, at) = (Arc::new(head.tracks.clone()), head.end);
        Ok(Self { head, tracks, told: false, at, lanes: Default::default() })
    }

    fn scan(&mut self, file: &File, index: &mut Index) -> io::Result<()> {
        let size = file.metadata()?.len();
        let has_pictures = self.tracks.video().is_some();
        index.scanned = index.scanned.max(self.head.end);
        while let Some((moof, whole)) = fragment(file, index.scanned, size)? {
            let at = index.scanned;
            let frames = self.head.fragment(at, &moof).map_err(damaged)?;
            if let Some(first) = frames.first() {
                index.recent.note(first.dts, at);
            }
            for frame in &frames {
                let main = !has_pictures || frame.track.kind == Kind::Video;
                if main && frame.key {
                    index.add(frame.dts, at);
                }
                index.pass(frame.dts, main);
            }
            index.scanned += whole;
        }
        Ok(())
    }

    fn seek(&mut self, point: Point) {
        self.at = point.at;
        self.lanes = Default::default();
    }

    fn next(&mut self, file: &File, is_whole: bool) -> io::Result<Option<Item>> {
        if !self.told {
            self.told = true;
            return Ok(Some(Item::Tracks(self.tracks.clone())));
        }
        while !self.is_plain() {
            let size = file.metadata()?.len();
            match fragment(file, self.at, size)? {
                Some((moof, whole)) => {
                    for placed in self.head.fragment(self.at, &moof).map_err(damaged)? {
                        self.lanes[usize::from(placed.track.kind != Kind::Video)].push_back(placed);
                    }
                    self.at += whole;
                }
                None if is_whole => break,
                None => return Ok(None),
            }
        }
        let [pictures, sound] = &mut self.lanes;
        let picture_first = match (pictures.front(), sound.front()) {
            (Some(picture), Some(sound)) => picture.dts <= sound.dts,
            (picture, _) => picture.is_some(),
        };
        let next = if picture_first { pictures.pop_front() } else { sound.pop_front() };
        let Some(placed) = next else { return Ok(None) };
        let Placed { track, dts, pts, key, at, size } = placed;
        let mut data = vec![0; size as usize];
        file.read_exact_at(&mut data, at)?;
        Ok(Some(Item::Frame(Frame { track, dts, pts, key, data: data.into() })))
    }

    /// It is plain which frame is next.
    fn is_plain(&self) -> bool {
        let has = |id: TrackId| self.tracks.find(id).is_some();
        let [pictures, sound] = &self.lanes;
        let is_there = |lane: &VecDeque<Placed>, id| !has(id) || !lane.is_empty();
        let is_long = |lane: &VecDeque<Placed>| {
            lane.front().zip(lane.back()).is_some_and(|(first, last)| last.dts - first.dts > APART)
        };
        let both = is_there(pictures, TrackId::VIDEO) && is_there(sound, TrackId::AUDIO);
        both || is_long(pictures) || is_long(sound)
    }
}

/// Tags, one after the other.
struct Flv {
    demux: Demux,
    /// The next tag.
    at: u64,
    /// The first one behind the metadata.
    start: u64,
    /// The time of the first frame.
    zero: Option<Micros>,
    ready: VecDeque<Item>,
}

/// A tag: what it carries, its time in milliseconds, and its size without what is around it.
#[derive(Clone, Copy)]
struct Tag {
    kind: Option<TagKind>,
    time: u32,
    size: u32,
}

const AROUND: u64 = 15;

impl Tag {
    /// The tag that begins here; none if not all of it is there.
    fn find(file: &File, at: u64) -> Option<(Self, [u8; GLANCE])> {
        let mut start = [0; 11 + GLANCE];
        let beginning = read(file, at, start.len()).ok()?;
        start.get_mut(..beginning.len())?.copy_from_slice(&beginning);
        let &[kind, s0, s1, s2, t0, t1, t2, t3, ..] = &start;
        let size = u32::from_be_bytes([0, s0, s1, s2]);
        let back = read_all::<4>(file, at + 11 + u64::from(size)).ok()?;
        let time = u32::from_be_bytes([t3, t0, t1, t2]);
        let tag = Self { kind: TagKind::from_number(kind), time, size };
        let body = start.last_chunk::<GLANCE>()?;
        (u32::from_be_bytes(back) == size + 11).then_some((tag, *body))
    }

    fn whole(self) -> u64 {
        u64::from(self.size) + AROUND
    }
}

impl Flv {
    fn open(file: &File) -> io::Result<Self> {
        let mut most = 16 << 10;
        let opening = loop {
            let beginning = read(file, 0, most)?;
            match Opening::find(&beginning) {
                Some(opening) => break opening,
                None if beginning.len() < most || most >= BEGINNING => {
                    return Err(damaged("it does not begin as ours do"));
                }
                None => most *= 4,
            }
        };
        let start = opening.bytes.len() as u64;
        let demux = Demux::new(DemuxOptions::default());
        let mut flv = Self { demux, at: start, start, zero: None, ready: VecDeque::new() };
        flv.find_zero(file);
        Ok(flv)
    }

    /// The time of the first frame, if there is one.
    fn find_zero(&mut self, file: &File) -> Option<Micros> {
        let mut at = self.start;
        while self.zero.is_none() {
            let (tag, body) = Tag::find(file, at)?;
            if tag.kind.is_some_and(|kind| !matches!(glance(kind, &body), Glance::Config | Glance::Script)) {
                self.zero = Some(Micros::from_millis(tag.time.into()));
            }
            at += tag.whole();
        }
        self.zero
    }

    fn scan(&mut self, file: &File, index: &mut Index) -> io::Result<()> {
        index.scanned = index.scanned.max(self.start);
        while let Some((tag, body)) = Tag::find(file, index.scanned) {
            let at = index.scanned;
            index.scanned += tag.whole();
            let Some(kind) = tag.kind else { continue };
            let what = glance(kind, &body);
            if what == Glance::Config {
                index.add_config(at);
            }
            if matches!(what, Glance::Config | Glance::Script) {
                continue;
            }
            let Some(zero) = self.find_zero(file) else { break };
            let time = Micros::from_millis(tag.time.into()) - zero;
            index.recent.note(time, at);
            index.has_pictures |= what != Glance::Sound;
            if what == Glance::Sound {
                index.first_sound.get_or_insert(at);
            }
            let main = what != Glance::Sound || !index.has_pictures;
            if main && what != Glance::Picture {
                index.add(time, at);
            }
            index.pass(time, main);
        }
        Ok(())
    }

    fn seek(&mut self, file: &File, index: &Index, point: Point) {
        self.demux = Demux::new(DemuxOptions::default());
        self.ready.clear();
        let mut out = Vec::new();
        let before = index.configs.iter().copied().take_while(|at| *at < point.at);
        for at in before.chain(index.first_sound) {
            if let Some((tag, _)) = Tag::find(file, at) {
                // What cannot be used could not be used when it was recorded.
                let _ = self.push(file, at, tag, &mut out);
            }
        }
        if !self.demux.tracks().is_empty() {
            self.ready.push_back(self.tracks());
        }
        self.at = point.at;
    }

    fn tracks(&self) -> Item {
        let mut tracks = self.demux.tracks().clone();
        // It tells of the whole file.
        tracks.metadata = None;
        Item::Tracks(Arc::new(tracks))
    }

    fn push(&mut self, file: &File, at: u64, tag: Tag, out: &mut Vec<Demuxed>) -> io::Result<()> {
        let Some(kind) = tag.kind else { return Ok(()) };
        let mut body = vec![0; tag.size as usize];
        file.read_exact_at(&mut body, at + 11)?;
        self.demux.push(kind, tag.time, body.into(), out).map_err(damaged)
    }

    fn next(&mut self, file: &File) -> io::Result<Option<Item>> {
        let mut out = Vec::new();
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let Some((tag, _)) = Tag::find(file, self.at) else { return Ok(None) };
            if let Err(e) = self.push(file, self.at, tag, &mut out) {
                tracing::debug!("dvr: a tag cannot be played: {e}");
            }
            self.at += tag.whole();
            for out in out.drain(..) {
                let item = match out {
                    Demuxed::Tracks => self.tracks(),
                    Demuxed::Frame(frame) => {
                        let zero = self.zero.or_else(|| self.find_zero(file)).unwrap_or_default();
                        let (dts, pts) = (frame.dts - zero, frame.pts - zero);
                        Item::Frame(Frame { dts, pts, ..frame })
                    }
                };
                self.ready.push_back(item);
            }
        }
    }
}
