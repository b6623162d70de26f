//! What a stream of fragmented MP4 has besides: its init segments, where its segments end, and their parts for low latency.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use formats::cmaf::{Chunk, Grouping, GroupingOptions, Init, Join};
use formats::hls::{About, Entry, Part, Segment};
use media::Micros;

use super::super::shelf::{self, Low, Type};
use super::super::store;
use super::{Order, Stream, Writing};
use crate::config::{Hls, SegmentStorage};
use crate::form;
use crate::naming::Names;
use crate::store::{Content, Output};

/// See the module.
pub(super) struct Fragments {
    grouping: Grouping,
    /// Whether the segments have video, and audio.
    video: bool,
    audio: bool,
    /// The init segment of what comes now.
    init: Bytes,
    /// The same, as it can be fetched.
    map: Option<Arc<Map>>,
    /// Where the open segment begins and ends on the time line.
    start: Micros,
    end: Micros,
    discontinuity: bool,
    /// With low latency, the bytes of the open segment, in its parts.
    parts: Option<Vec<Bytes>>,
    /// How many parts the open segment has.
    count: u64,
    /// The parts on the shelf, oldest first, with the numbers of their segments.
    shelved: VecDeque<(u64, String)>,
}

/// An init segment, and where it is.
pub(super) struct Map {
    pub(super) bytes: Bytes,
    pub(super) place: String,
    pub(super) uri: Arc<str>,
    /// The file, if it is in one.
    pub(super) file: Option<PathBuf>,
}

/// What is shorter at the end of a publisher is not kept.
const VOID: Micros = Micros::from_millis(100);

/// Parts stay on the shelf for so many segments after they are not told any more.
const PARTS_KEPT: u64 = 2;

impl Fragments {
    pub(super) fn new(hls: &Hls) -> Self {
        let target = form::micros(hls.fragment.mul_f64(hls.target_ratio.min(1000.0)));
        let overflow = form::micros(hls.fragment.mul_f64(hls.overflow_ratio.min(1000.0)));
        let overflow = if hls.wait_keyframe { overflow.max(target) } else { target };
        Self {
            grouping: Grouping::new(GroupingOptions { target, overflow }),
            video: hls.video,
            audio: hls.audio,
            init: Bytes::new(),
            map: None,
            start: Micros::ZERO,
            end: Micros::ZERO,
            discontinuity: false,
            parts: hls.part().map(|_| Vec::new()),
            count: 0,
            shelved: VecDeque::new(),
        }
    }

    /// Goes on by other settings.
    pub(super) fn turn(self, now: Self) -> Self {
        Self { init: self.init, map: self.map, shelved: self.shelved, ..now }
    }

    /// What comes next does not follow what was.
    pub(super) fn restart(&mut self) {
        self.grouping.restart();
    }

    pub(super) fn map(&self) -> Option<Arc<Map>> {
        self.map.clone()
    }

    pub(super) fn map_uri(&self) -> Option<Arc<str>> {
        self.map.as_ref().map(|map| map.uri.clone())
    }

    /// The open segment, from its parts.
    pub(super) fn take_parts(&mut self) -> Option<Vec<Bytes>> {
        self.parts.as_mut().map(std::mem::take)
    }

    /// The chunk as far as it is wanted.
    fn pick(&self, chunk: &Chunk) -> Vec<Bytes> {
        let video = chunk.video.iter().filter(|_| self.video);
        let parts = video.chain(chunk.audio.iter().filter(|_| self.audio));
        parts.map(|part| part.bytes.clone()).collect()
    }

    fn is_independent(&self, chunk: &Chunk) -> bool {
        chunk.independent || !self.video
    }
}

impl Stream {
    /// The tracks from here on.
    pub(in super::super) fn init(&mut self, init: &Init) {
        let Some(fragments) = &mut self.fragments else { return };
        let track = match (fragments.video, fragments.audio) {
            (true, true) => None,
            (true, false) => init.video.as_ref(),
            (false, _) => init.audio.as_ref(),
        };
        fragments.init = track.map_or_else(|| init.both.clone(), |track| track.bytes.clone());
        let (video, audio) = (fragments.video, fragments.audio);
        let tracks = init.video.iter().filter(|_| video).chain(init.audio.iter().filter(|_| audio));
        self.about = Arc::new(About::of(tracks.map(|track| &track.about)));
    }

    /// The open segment is complete when this chunk comes. Asked once for each.
    pub(in super::super) fn is_cut_by(&mut self, chunk: &Chunk) -> bool {
        let Some(fragments) = &mut self.fragments else { return false };
        // The chunk decides when it is taken; nothing is lost by asking somebody who forgets.
        let is_open = self.open.is_some();
        is_open && !matches!(fragments.grouping.clone().chunk(chunk), Join::Joins)
    }

    /// Ends the open segment where it stands, if there is one.
    pub(in super::super) fn cut(&mut self) -> Order {
        let Some(fragments) = &self.fragments else { return Order::Continue };
        let (start, duration) = (fragments.start, fragments.end - fragments.start);
        if duration < VOID && fragments.count == 0 {
            self.discard();
            return Order::Continue;
        }
        let discontinuity = fragments.discontinuity;
        self.end(Segment { start, duration, discontinuity })
    }

    /// The next chunk.
    pub(in super::super) fn chunk(&mut self, chunk: &Chunk) -> Order {
        let Some(fragments) = &mut self.fragments else { return Order::Continue };
        let join = fragments.grouping.chunk(chunk);
        let pieces = fragments.pick(chunk);
        if self.given_up || join == Join::Skipped || pieces.is_empty() {
            return Order::Continue;
        }
        let mut order = Order::Continue;
        if let Join::Opens { discontinuity } = join {
            fragments.start = chunk.start;
            fragments.discontinuity = discontinuity;
            fragments.count = 0;
            order = self.open_fragment(chunk, discontinuity);
        }
        let Some(fragments) = &mut self.fragments else { return order };
        fragments.end = chunk.end();
        for piece in &pieces {
            let written = self.write(piece.clone());
            order = if written == Order::Continue { order } else { written };
        }
        if self.hls.part().is_some() {
            self.part(chunk, pieces);
        }
        order
    }

    fn open_fragment(&mut self, chunk: &Chunk, discontinuity: bool) -> Order {
        let is_low = self.hls.part().is_some();
        let discontinuity = discontinuity || self.gap;
        let Some(fragments) = &self.fragments else { return Order::Continue };
        let independent = fragments.is_independent(chunk);
        let is_dated = self.hls.is_dated();
        let date = is_dated.then(|| self.date(chunk.start, chunk.duration, discontinuity));
        let entry = Entry { independent, date, discontinuity, ..Entry::default() };
        let order = self.start(entry);
        if is_low && let Some(open) = &self.open {
            let (entry, hint) = (open.entry.clone(), self.part_name(open, 0));
            let hint = self.uri(&hint);
            self.window.open(entry, hint);
        }
        order
    }

    /// Shows a part of the open segment.
    fn part(&mut self, chunk: &Chunk, pieces: Vec<Bytes>) {
        let Some(open) = &self.open else { return };
        let Some(fragments) = &self.fragments else { return };
        let (name, next) = (self.part_name(open, fragments.count), self.part_name(open, fragments.count + 1));
        let place = shelf::place(&self.key.vhost, &name);
        let independent = fragments.is_independent(chunk);
        let part = Part { uri: self.uri(&name), duration: chunk.duration, independent };
        let hint = self.uri(&next);
        self.window.push_part(part, hint);
        let seq = self.seq;
        if let Some(fragments) = &mut self.fragments {
            fragments.count += 1;
            fragments.shelved.push_back((seq, place.clone()));
            fragments.parts.iter_mut().for_each(|parts| parts.extend_from_slice(&pieces));
        }
        self.shelf.put(place, shelf::Segment::Ram(pieces.into()), Type::Mp4, &self.key);
        self.show();
    }

    /// What low latency needs beside the playlist.
    pub(super) fn low(&self) -> Option<Low> {
        let part = self.hls.part()?;
        let hint = match (&self.open, &self.fragments) {
            (Some(open), Some(fragments)) => self.part_name(open, fragments.count),
            _ => String::new(),
        };
        Some(Low {
            delta: self.window.delta(),
            edge: self.window.edge(),
            target: std::time::Duration::from_micros(self.window.target().0.unsigned_abs()),
            part,
            hint: shelf::place(&self.key.vhost, &hint),
        })
    }

    /// The name of a part: that of its segment, with a number in front of the ending.
    fn part_name(&self, open: &Writing, number: u64) -> String {
        let segment = self.name(&open.name, None);
        let (base, ending) = match segment.rsplit_once('.') {
            Some((base, ending)) if !ending.contains('/') => (base, format!(".{ending}")),
            _ => (segment.as_str(), String::new()),
        };
        format!("{base}.{number}{ending}")
    }

    /// Takes those parts from the shelf that have not been told for a while.
    pub(super) fn clean_parts(&mut self) {
        let Some(fragments) = &mut self.fragments else { return };
        let with_parts = self.window.entries().rev().take_while(|entry| !entry.parts.is_empty()).count();
        let oldest = self.seq.saturating_sub(with_parts as u64 + PARTS_KEPT);
        while let Some((_, place)) = fragments.shelved.pop_front_if(|(seq, _)| *seq < oldest) {
            self.shelf.take_segment(&place);
        }
    }

    /// Has the init segment where players find it.
    pub(super) fn ready_map(&mut self) -> io::Result<()> {
        let Some(fragments) = &self.fragments else { return Ok(()) };
        let Some(fmp4) = &self.hls.fmp4 else { return Ok(()) };
        let init = fragments.init.clone();
        if fragments.map.as_ref().is_some_and(|map| map.bytes == init) {
            return Ok(());
        }
        // One from before the restart of the server.
        let same = self.kept.iter().rev().find_map(|kept| kept.map.clone().filter(|map| map.bytes == init));
        if let (Some(same), Some(fragments)) = (same, &mut self.fragments) {
            fragments.map = Some(same);
            return Ok(());
        }
        let mut file = Names::of(&self.key).fill(&fmp4.init_file);
        let is_taken = |file: &str| {
            let place = shelf::place(&self.key.vhost, file);
            self.kept.iter().any(|kept| kept.map.as_ref().is_some_and(|map| map.place == place))
        };
        if is_taken(&file) {
            // Segments that are listed need the one of this name.
            file = match file.rsplit_once('.') {
                Some((base, ending)) => format!("{base}-{}.{ending}", self.seq),
                None => format!("{file}-{}", self.seq),
            };
        }
        let map = Arc::new(Map {
            bytes: init,
            place: shelf::place(&self.key.vhost, &file),
            uri: self.uri(&file).into(),
            file: (self.storage == SegmentStorage::Disk).then(|| self.path(&file)),
        });
        if let Some(path) = &map.file {
            store::write(path, &map.bytes)?;
        }
        let copy = || Content::Memory([map.bytes.clone()].into());
        self.shelf.store.finished(&self.key, Output::Hls, &file, copy);
        let shelved = shelf::Segment::Ram([map.bytes.clone()].into());
        self.shelf.put(map.place.clone(), shelved, Type::Mp4, &self.key);
        let before = self.fragments.as_mut().and_then(|fragments| fragments.map.replace(map));
        before.iter().for_each(|before| self.let_go_map(before));
        Ok(())
    }

    /// Throws the init segment away if nothing needs it any more.
    pub(super) fn let_go_map(&self, map: &Arc<Map>) {
        let is_it = |other: Option<&Arc<Map>>| other.is_some_and(|other| other.place == map.place);
        let current = self.fragments.as_ref().and_then(|fragments| fragments.map.as_ref());
        if !is_it(current) && !self.kept.iter().any(|kept| is_it(kept.map.as_ref())) {
            self.forget_map(Some(map.clone()), self.hls.cleanup);
        }
    }

    pub(super) fn forget_map(&self, map: Option<Arc<Map>>, and_file: bool) {
        let Some(map) = map else { return };
        self.shelf.take_segment(&map.place);
        if and_file {
            let name = shelf::path(&self.key.vhost, &map.place);
            self.shelf.store.removed(&self.key, Output::Hls, name);
        }
        if let Some(file) = map.file.as_ref().filter(|_| and_file) {
            store::remove(file);
        }
    }

    /// Forgets the parts and the init segment.
    pub(super) fn forget_fragments(&mut self, and_files: bool) {
        let Some(fragments) = &mut self.fragments else { return };
        fragments.shelved.drain(..).for_each(|(_, place)| self.shelf.take_segment(&place));
        let map = fragments.map.take();
        self.forget_map(map, and_files);
    }
}
