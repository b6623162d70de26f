//! The window: which segments the playlist of a live stream lists, and the numbers that tell a player how it moves.
//!
//! Spec: RFC 8216 §4.3 and §6.2.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use media::Micros;

use super::{Playlist, Rate};
use crate::date;

/// A segment in the playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its number, one more than that of the segment before.
    pub seq: u64,
    /// Where players find it, from the place of the playlist.
    pub uri: String,
    /// Its length.
    pub duration: Micros,
    /// It does not follow the segment before.
    pub discontinuity: bool,
    /// What it is encrypted with, if it is.
    pub key: Option<Key>,
    /// Where its init segment is, if it has one: it is fragmented MP4.
    pub map: Option<Arc<str>>,
    /// It begins with a keyframe.
    pub independent: bool,
    /// When its first frame was new: milliseconds since 1970, if that is told.
    pub date: Option<i64>,
    /// For low latency, the parts that it consists of.
    pub parts: Vec<Part>,
    /// How large it is; 0 if that is not known.
    pub bytes: u64,
}

/// A part of a segment, for low latency (8216bis §4.4.4.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where players find it.
    pub uri: String,
    /// Its length.
    pub duration: Micros,
    /// It begins with a keyframe.
    pub independent: bool,
}

/// How far another quality of the same stream has come (`EXT-X-RENDITION-REPORT`, 8216bis §4.4.5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where its playlist is, from the place of this one.
    pub uri: String,
    /// Its live edge.
    pub edge: Edge,
}

/// What decrypts a segment (AES-128, §4.3.2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where players find the key.
    pub uri: Arc<str>,
    /// The initialisation vector.
    pub iv: [u8; 16],
}

/// The newest segments of a stream.
#[derive(Clone, Debug)]
pub struct Window {
    length: Micros,
    target: Micros,
    entries: VecDeque<Entry>,
    /// Of all entries together.
    sum: Micros,
    /// The longest segment that the players who follow the stream have seen.
    longest: Micros,
    /// How many of those that fell out were discontinuous.
    discontinuities: u64,
    ended: bool,
    low: Option<Low>,
}

/// What players with low latency are told besides.
#[derive(Clone, Debug)]
struct Low {
    /// No part is longer.
    part: Micros,
    /// The segment that is not complete: what is known of it, and its parts so far.
    open: Option<Entry>,
    /// The address of the part that comes next.
    hint: String,
    reports: Vec<Report>,
}

impl Window {
    /// An empty window that lists at least `length` of media (`hls_window`). `target` is the length at which segments are due
    /// (`hls_fragment` times `hls_td_ratio`).
    pub fn new(length: Micros, target: Micros) -> Self {
        Self {
            length: length.max(Micros::ZERO),
            target,
            entries: VecDeque::new(),
            sum: Micros::ZERO,
            longest: Micros::ZERO,
            discontinuities: 0,
            ended: false,
            low: None,
        }
    }

    /// With low latency: parts are told, none of which is longer than this.
    #[must_use]
    pub fn with_parts(mut self, part: Micros) -> Self {
        self.low = Some(Low { part, open: None, hint: String::new(), reports: Vec::new() });
        self
    }

    /// A segment begins of which parts are told; `hint` is the address of its first one.
    pub fn open(&mut self, mut entry: Entry, hint: String) {
        entry.discontinuity &= !self.entries.is_empty();
        if let Some(low) = &mut self.low {
            (low.open, low.hint) = (Some(entry), hint);
        }
    }

    /// The open segment has one more part; `hint` is the address of the one that follows.
    pub fn push_part(&mut self, part: Part, hint: String) {
        if let Some(low) = &mut self.low {
            // It would be wrong to tell of a longer part than the longest one.
            low.part = low.part.max(part.duration);
            low.open.iter_mut().for_each(|open| open.parts.push(part.clone()));
            low.hint = hint;
        }
        self.forget_parts();
    }

    /// Where the live edge is: the number of the segment that comes next, as many parts as there are of it, and those of the segment before.
    pub fn edge(&self) -> Edge {
        let last = self.entries.back();
        let open = self.low.as_ref().and_then(|low| low.open.as_ref());
        let next = last.map(|last| last.seq + 1).or(open.map(|open| open.seq)).unwrap_or_default();
        Edge {
            next,
            parts: open.map_or(0, |open| open.parts.len() as u64),
            before: last.map_or(0, |last| last.parts.len() as u64),
        }
    }

    /// With low latency: what is told of other qualities from now on.
    pub fn report(&mut self, reports: Vec<Report>) {
        self.low.iter_mut().for_each(|low| low.reports.clone_from(&reports));
    }

    /// How much media there is in the segments whose size is known. `None` if there are none.
    pub fn rate(&self) -> Option<Rate> {
        let known = || self.entries.iter().filter(|entry| entry.bytes > 0 && entry.duration > Micros::ZERO);
        let rate = |bytes: u64, time: Micros| {
            u64::try_from(u128::from(bytes) * 8_000_000 / u128::from(time.0.unsigned_abs()))
                .unwrap_or(u64::MAX)
        };
        let peak = known().map(|entry| rate(entry.bytes, entry.duration)).max()?;
        let bytes = known().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
        let time = known().fold(Micros::ZERO, |sum, entry| sum + entry.duration);
        Some(Rate { peak, average: rate(bytes, time) })
    }

    /// See [`Window::resume`](Self::resume).
    pub(super) fn set_resumed(&mut self, entries: Vec<Entry>, target: Micros, discontinuities: u64) {
        self.sum = entries.iter().fold(Micros::ZERO, |sum, entry| sum + entry.duration);
        self.longest = self.longest.max(target);
        (self.entries, self.discontinuities) = (entries.into(), discontinuities);
    }

    /// The target duration that is told.
    pub fn target(&self) -> Micros {
        Micros::from_secs(self.target_secs())
    }

    /// Lists so much from the next segment on, which is cut at another length. Players do not see the target shrink before what was cut by the
    /// old one has left the list.
    pub fn resize(&mut self, length: Micros, target: Micros) {
        self.longest = self.longest.max(self.target);
        (self.length, self.target) = (length.max(Micros::ZERO), target);
    }

    /// The segments that are listed, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> + DoubleEndedIterator {
        self.entries.iter()
    }

    /// Lists a new segment. Returns those that fell out: what is listed without the oldest segment never exceeds the length. The first segment
    /// of all follows nothing, so that it cannot be discontinuous either.
    pub fn push(&mut self, mut entry: Entry) -> Vec<Entry> {
        if self.entries.is_empty() {
            entry.discontinuity = false;
        }
        if let Some(open) = self.low.as_mut().and_then(|low| low.open.take()) {
            entry.parts = open.parts;
        }
        self.sum += entry.duration;
        self.longest = self.longest.max(entry.duration);
        self.entries.push_back(entry);
        self.ended = false;
        let mut out = Vec::new();
        while let Some(oldest) = self.entries.front()
            && self.sum - oldest.duration > self.length
            && let Some(oldest) = self.pop()
        {
            out.push(oldest);
        }
        self.forget_parts();
        out
    }

    /// The length of the parts of the open segment together.
    fn open_length(&self) -> Micros {
        let open = self.low.as_ref().and_then(|low| low.open.as_ref());
        open.into_iter().flat_map(|open| &open.parts).fold(Micros::ZERO, |sum, part| sum + part.duration)
    }

    /// Parts are of use near the live edge only (8216bis §4.4.4.9).
    fn forget_parts(&mut self) {
        let mut behind = self.open_length();
        let near = Micros::from_secs(3 * self.target_secs());
        for entry in self.entries.iter_mut().rev() {
            if behind > near {
                entry.parts.clear();
            }
            behind += entry.duration;
        }
    }

    /// Takes the oldest segment off the list, as there is no room for it; but not if less than three targets would stay, which players need
    /// (§6.2.2).
    pub fn shorten(&mut self) -> Option<Entry> {
        let rest = self.sum - self.entries.front()?.duration;
        if rest < Micros::from_secs(3 * self.target_secs()) { None } else { self.pop() }
    }

    fn pop(&mut self) -> Option<Entry> {
        let oldest = self.entries.pop_front()?;
        self.sum = self.sum - oldest.duration;
        self.discontinuities += u64::from(oldest.discontinuity);
        // Players must not see the target shrink (§6.2.1); those of another publisher's stream begin anew.
        if self.entries.front().is_some_and(|first| first.discontinuity) {
            self.longest = self.entries.iter().map(|entry| entry.duration).max().unwrap_or_default();
        }
        Some(oldest)
    }

    fn target_secs(&self) -> i64 {
        (millis(self.longest.max(self.target)) + 999) / 1000
    }

    /// No segment will follow, so that players need not ask again.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The playlist as of now; `None` before the first segment, or part.
    pub fn playlist(&self) -> Option<Playlist> {
        let open = self.low.as_ref().and_then(|low| low.open.as_ref());
        let first = self.entries.front().or(open.filter(|open| !open.parts.is_empty()))?;
        Some(self.text(first.seq, 0, self.low.as_ref()))
    }

    /// The playlist for those who cannot be told of each part, as a file cannot; `None` before the first segment.
    pub fn plain(&self) -> Option<Playlist> {
        Some(self.text(self.entries.front()?.seq, 0, None))
    }

    /// What players need who know the playlist of a moment ago: without the oldest segments (8216bis §6.2.5.1). `None` if nothing can be left out.
    pub fn delta(&self) -> Option<Playlist> {
        let first = self.entries.front()?.seq;
        self.low.as_ref()?;
        let mut behind = self.open_length();
        let near = self.entries.iter().rev().take_while(|entry| {
            behind += entry.duration;
            behind <= self.skip_until()
        });
        let skipped = self.entries.len() - near.count();
        (skipped > 0).then(|| self.text(first, skipped, self.low.as_ref()))
    }

    /// Segments further from the live edge may be left out of a delta (§4.4.3.8).
    fn skip_until(&self) -> Micros {
        Micros::from_secs(6 * self.target_secs())
    }

    fn text(&self, first: u64, skipped: usize, low: Option<&Low>) -> Playlist {
        let mut text = Playlist::default();
        // Writing to a playlist cannot fail.
        let _ = writeln!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-TARGETDURATION:{}",
            self.version(low.is_some()),
            self.target_secs()
        );
        if self.discontinuities > 0 {
            let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuities);
        }
        let is_mp4 = self.entries.iter().any(|entry| entry.map.is_some()) || self.low.is_some();
        if is_mp4 && self.entries.iter().all(|entry| entry.independent) {
            text.push("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        if let Some(Low { part, .. }) = low {
            let part = part.0 as f64 / 1e6;
            let (hold, skip) = (3.0 * part, self.skip_until().0 / 1_000_000);
            let _ = writeln!(
                text,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold:.3},CAN-SKIP-UNTIL={skip}.0\n\
                #EXT-X-PART-INF:PART-TARGET={part:.3}"
            );
        }
        if skipped > 0 {
            let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
        }
        let mut before = Applied::default();
        for entry in self.entries.iter().skip(skipped) {
            before.write(&mut text, entry, low.is_some());
            let ms = millis(entry.duration);
            let _ = writeln!(text, "#EXTINF:{}.{:03}, no desc", ms / 1000, ms % 1000);
            text.push_media(&entry.uri);
            text.push("\n");
        }
        match low {
            Some(Low { open: Some(open), hint, reports, .. }) if !self.ended => {
                // What stands in front of a segment needs one of its parts to stand in front of.
                if !open.parts.is_empty() {
                    before.write(&mut text, open, true);
                }
                text.push("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
                text.push_media(hint);
                text.push("\"\n");
                reports.iter().for_each(|report| write_report(&mut text, report));
            }
            _ => {}
        }
        if self.ended {
            text.push("#EXT-X-ENDLIST\n");
        }
        text
    }

    /// The least version that knows what is used (8216bis §8).
    fn version(&self, is_low: bool) -> u32 {
        match is_low {
            true => 9,
            false if self.entries.iter().any(|entry| entry.map.is_some()) => 6,
            false => 3,
        }
    }
}

/// What the tags that were written say of the segments behind them.
#[derive(Default)]
struct Applied<'a> {
    key: Option<&'a Key>,
    map: Option<&'a Arc<str>>,
}

impl<'a> Applied<'a> {
    /// What stands in front of the segment, and its parts. The first key that is listed is always told, wherever the window begins.
    fn write(&mut self, text: &mut Playlist, entry: &'a Entry, with_parts: bool) {
        if entry.discontinuity {
            text.push("#EXT-X-DISCONTINUITY\n");
        }
        let (key, map) = (entry.key.as_ref(), entry.map.as_ref());
        if map != self.map {
            // Init segments are not encrypted, and a key that stands before them would say so.
            if self.key.take().is_some() {
                write_key(text, None);
            }
            if let Some(map) = map {
                text.push("#EXT-X-MAP:URI=\"");
                text.push_media(map);
                text.push("\"\n");
            }
            self.map = map;
        }
        if key != self.key {
            write_key(text, key);
            self.key = key;
        }
        if let Some(date) = entry.date {
            text.push("#EXT-X-PROGRAM-DATE-TIME:");
            text.push(&date::date(date));
            text.push("\n");
        }
        for Part { uri, duration, independent } in entry.parts.iter().filter(|_| with_parts) {
            let independent = if *independent { ",INDEPENDENT=YES" } else { "" };
            let ms = duration.0.max(0) as f64 / 1e6;
            let _ = write!(text, "#EXT-X-PART:DURATION={ms:.6}{independent},URI=\"");
            text.push_media(uri);
            text.push("\"\n");
        }
    }
}

/// Where the live edge of a playlist is. See [`Window::edge`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// The number of the segment that is not complete.
    pub next: u64,
    /// As many parts of it are told.
    pub parts: u64,
    /// As many parts has the segment before.
    pub before: u64,
}

impl Edge {
    /// The playlist lists this segment, or with `part`, this part of it (8216bis §6.2.5.2). A part behind the last one of its segment is the first
    /// one of the next.
    pub fn has(&self, segment: u64, part: Option<u64>) -> bool {
        let Some(part) = part else { return segment < self.next };
        let (segment, part) = match segment + 1 == self.next && part >= self.before && self.before > 0 {
            true => (self.next, 0),
            false => (segment, part),
        };
        segment < self.next || segment == self.next && part < self.parts
    }

    /// The newest segment of which anything is listed, and its newest part.
    fn last(&self) -> Option<(u64, Option<u64>)> {
        let (segment, parts) = match self.parts {
            0 => (self.next.checked_sub(1)?, self.before),
            parts => (self.next, parts),
        };
        Some((segment, parts.checked_sub(1)))
    }
}

/// What has not begun is not told.
fn write_report(text: &mut Playlist, Report { uri, edge }: &Report) {
    let Some((segment, part)) = edge.last() else { return };
    text.push("#EXT-X-RENDITION-REPORT:URI=\"");
    text.push_guarded(uri);
    let _ = write!(text, "\",LAST-MSN={segment}");
    let _ = match part {
        Some(part) => writeln!(text, ",LAST-PART={part}"),
        None => writeln!(text),
    };
}

fn write_key(text: &mut Playlist, key: Option<&Key>) {
    let Some(Key { uri, iv }) = key else { return text.push("#EXT-X-KEY:METHOD=NONE\n") };
    text.push("#EXT-X-KEY:METHOD=AES-128,URI=\"");
    text.push_guarded(uri);
    let _ = writeln!(text, "\",IV=0x{:032x}", u128::from_be_bytes(*iv));
}

/// To the nearest; the target follows what players read in the list.
fn millis(time: Micros) -> i64 {
    Micros(time.0.saturating_add(500)).millis().max(0)
}

#[cfg(test)]
mod tests;
