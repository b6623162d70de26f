//! The window: which segments the playlist of a live stream lists, and the numbers that tell a player how it moves.
//!
//! Spec: RFC 8216 §4.3 and §6.2.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use media::Micros;

use super::Playlist;

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
        self.low = Some(Low { part, open: None, hint: String::new() });
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
            Some(Low { open: Some(open), hint, .. }) if !self.ended => {
                // What stands in front of a segment needs one of its parts to stand in front of.
                if !open.parts.is_empty() {
                    before.write(&mut text, open, true);
                }
                text.push("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
                text.push_media(hint);
                text.push("\"\n");
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
            write_date(text, date);
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

/// The date and the time of day in UTC, from milliseconds since 1970 (by the proleptic Gregorian calendar).
fn write_date(text: &mut Playlist, ms: i64) {
    let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Years of 400-year cycles that begin in March, so that the day that some years have comes last.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let _ = writeln!(
        text,
        "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z",
        ms % 1000
    );
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
}

fn write_key(text: &mut Playlist, key: Option<&Key>) {
    let Some(Key { uri, iv }) = key else { return text.push("#EXT-X-KEY:METHOD=NONE\n") };
    text.push("#EXT-X-KEY:METHOD=AES-128,URI=\"");
    text.push_key(uri);
    let _ = writeln!(text, "\",IV=0x{:032x}", u128::from_be_bytes(*iv));
}

/// To the nearest; the target follows what players read in the list.
fn millis(time: Micros) -> i64 {
    Micros(time.0.saturating_add(500)).millis().max(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Queries;
    use super::*;

    fn entry(seq: u64, ms: i64, discontinuity: bool) -> Entry {
        let uri = format!("livestream-{seq}.ts");
        Entry { seq, uri, duration: Micros::from_millis(ms), discontinuity, ..Entry::default() }
    }

    fn window(secs: i64, target: i64) -> Window {
        Window::new(Micros::from_secs(secs), Micros::from_secs(target))
    }

    fn text(window: &Window) -> String {
        window.playlist().unwrap().as_str().to_owned()
    }

    fn target(window: &Window) -> String {
        let text = text(window);
        text.lines().find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:")).unwrap().to_owned()
    }

    #[test]
    fn a_live_stream() {
        let mut window = window(60, 10);
        assert_eq!(window.playlist(), None);
        window.push(entry(0, 10_000, true));
        window.push(entry(1, 9960, false));
        window.push(Entry { duration: Micros(2_039_500), ..entry(2, 0, true) });
        let want = "\
            #EXTM3U\n\
            #EXT-X-VERSION:3\n\
            #EXT-X-MEDIA-SEQUENCE:0\n\
            #EXT-X-TARGETDURATION:10\n\
            #EXTINF:10.000, no desc\n\
            livestream-0.ts\n\
            #EXTINF:9.960, no desc\n\
            livestream-1.ts\n\
            #EXT-X-DISCONTINUITY\n\
            #EXTINF:2.040, no desc\n\
            livestream-2.ts\n";
        assert_eq!(text(&window), want);
        window.end();
        assert_eq!(text(&window), format!("{want}#EXT-X-ENDLIST\n"));
    }

    #[test]
    fn it_moves_and_counts_what_left() {
        let mut window = window(20, 10);
        for seq in 7..10 {
            assert_eq!(window.push(entry(seq, 10_000, seq == 8)), [], "20 s do not exceed 20 s");
        }
        assert_eq!(window.push(entry(10, 10_000, true)), [entry(7, 10_000, false)]);
        assert!(!text(&window).contains("DISCONTINUITY-SEQUENCE"));
        assert_eq!(window.push(entry(11, 10_000, false)), [entry(8, 10_000, true)]);
        let want = "\
            #EXTM3U\n\
            #EXT-X-VERSION:3\n\
            #EXT-X-MEDIA-SEQUENCE:9\n\
            #EXT-X-TARGETDURATION:10\n\
            #EXT-X-DISCONTINUITY-SEQUENCE:1\n\
            #EXTINF:10.000, no desc\n\
            livestream-9.ts\n\
            #EXT-X-DISCONTINUITY\n\
            #EXTINF:10.000, no desc\n\
            livestream-10.ts\n\
            #EXTINF:10.000, no desc\n\
            livestream-11.ts\n";
        assert_eq!(text(&window), want);
    }

    #[test]
    fn one_long_segment_pushes_all_others_out() {
        let mut window = window(20, 10);
        window.push(entry(0, 10_000, false));
        window.push(entry(1, 10_000, false));
        assert_eq!(window.push(entry(2, 20_001, false)).len(), 2);
        assert_eq!(window.entries().len(), 1);
    }

    #[test]
    fn it_can_be_shortened_while_enough_stays() {
        let mut window = window(60, 2);
        (0..5).for_each(|seq| drop(window.push(entry(seq, 2000, seq == 1))));
        assert_eq!(window.shorten(), Some(entry(0, 2000, false)));
        assert_eq!(window.shorten(), Some(entry(1, 2000, true)));
        assert_eq!(window.shorten(), None, "three of two seconds stay");
        assert!(
            text(&window).contains("SEQUENCE:2\n") && text(&window).contains("DISCONTINUITY-SEQUENCE:1\n")
        );
        window.push(entry(5, 2000, false));
        assert_eq!(window.shorten(), Some(entry(2, 2000, false)));
        assert_eq!(Window::new(Micros::ZERO, Micros::ZERO).shorten(), None);
    }

    #[test]
    fn players_never_see_the_target_shrink() {
        let mut window = window(4, 2);
        window.push(entry(0, 2000, true));
        assert_eq!(target(&window), "2");
        window.push(entry(1, 2001, false));
        assert_eq!(target(&window), "3", "never below a segment");
        (2..9).for_each(|seq| drop(window.push(entry(seq, 2000, false))));
        assert_eq!(target(&window), "3");
        window.push(entry(9, 2000, true));
        window.push(entry(10, 2000, false));
        assert_eq!(target(&window), "3", "segments of the old publisher are still listed");
        window.push(entry(11, 2000, false));
        assert_eq!(target(&window), "2");
    }

    #[test]
    fn a_stream_of_an_ended_window_goes_on() {
        let mut window = window(60, 2);
        window.push(entry(0, 2000, true));
        window.end();
        window.push(entry(1, 2000, true));
        assert!(!text(&window).contains("ENDLIST"));
    }

    #[test]
    fn keys_never_slide_out() {
        let mut window = window(3, 2);
        let key = |n: u8| Some(Key { uri: format!("{}.key", n / 2).into(), iv: [n / 2; 16] });
        for n in 0..5 {
            window.push(Entry { key: key(n), ..entry(n.into(), 2000, false) });
        }
        let tag =
            |n| format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{n}.key\",IV=0x{}\n", format!("{n:02}").repeat(16));
        let segment = |n| format!("#EXTINF:2.000, no desc\nlivestream-{n}.ts\n");
        let listed = |text: &str| text.split_once("DURATION:2\n").unwrap().1.to_owned();
        let want = [tag(1), segment(3), tag(2), segment(4)].concat();
        assert_eq!(listed(&text(&window)), want, "of two with one key, the first is gone");
        window.push(entry(5, 2000, false));
        let want = [tag(2), segment(4), "#EXT-X-KEY:METHOD=NONE\n".into(), segment(5)].concat();
        assert_eq!(listed(&text(&window)), want);
        let mut personal = String::new();
        window.playlist().unwrap().render(Queries { media: "", keys: "x=1" }, &mut personal);
        assert_eq!(listed(&personal), want.replace("2.key", "2.key?x=1"));
    }

    fn part(n: u64, of: u64) -> Part {
        let uri = format!("s-{of}.{n}.m4s");
        Part { uri, duration: Micros::from_millis(500), independent: n == 0 }
    }

    /// A window with complete segments of 2 s in 4 parts.
    fn low(segments: u64) -> Window {
        let mut window =
            Window::new(Micros::from_secs(60), Micros::from_secs(2)).with_parts(Micros::from_millis(500));
        (0..segments).for_each(|seq| complete(&mut window, seq));
        window
    }

    fn complete(window: &mut Window, seq: u64) {
        let date = Some(1_792_000_000_123 + 2000 * seq as i64);
        let map = Some("init.mp4".into());
        let entry = Entry { map, independent: true, date, ..entry(seq, 2000, seq == 0) };
        window.open(entry.clone(), part(0, seq).uri);
        (0..4).for_each(|n| window.push_part(part(n, seq), part(n + 1, seq).uri));
        window.push(entry);
    }

    #[test]
    fn parts_of_low_latency() {
        let mut window = low(1);
        window.open(
            Entry { map: Some("init.mp4".into()), date: Some(0), ..entry(1, 0, false) },
            "s-1.0.m4s".into(),
        );
        assert!(text(&window).ends_with("0.ts\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s-1.0.m4s\"\n"));
        window.push_part(part(0, 1), part(1, 1).uri);
        let want = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:2\n\
            #EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500,CAN-SKIP-UNTIL=12.0\n\
            #EXT-X-PART-INF:PART-TARGET=0.500\n\
            #EXT-X-MAP:URI=\"init.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-10-14T17:46:40.123Z\n\
            #EXT-X-PART:DURATION=0.500000,INDEPENDENT=YES,URI=\"s-0.0.m4s\"\n\
            #EXT-X-PART:DURATION=0.500000,URI=\"s-0.1.m4s\"\n\
            #EXT-X-PART:DURATION=0.500000,URI=\"s-0.2.m4s\"\n\
            #EXT-X-PART:DURATION=0.500000,URI=\"s-0.3.m4s\"\n\
            #EXTINF:2.000, no desc\nlivestream-0.ts\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z\n\
            #EXT-X-PART:DURATION=0.500000,INDEPENDENT=YES,URI=\"s-1.0.m4s\"\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s-1.1.m4s\"\n";
        assert_eq!(text(&window), want);
        let edge = window.edge();
        assert_eq!(edge, Edge { next: 1, parts: 1, before: 4 });
        for (segment, part, has) in [
            (0, None, true),
            (1, None, false),
            (0, Some(3), true),
            (0, Some(4), true),
            (1, Some(0), true),
            (1, Some(1), false),
            (2, Some(0), false),
        ] {
            assert_eq!(edge.has(segment, part), has, "{segment} {part:?}");
        }
        window.end();
        assert!(!text(&window).contains("HINT"), "nothing follows");
    }

    #[test]
    fn deltas_and_old_parts() {
        assert_eq!(low(6).delta(), None, "12 s can be skipped at most up to there");
        let window = low(9);
        let delta = window.delta().unwrap();
        let delta = delta.as_str();
        assert!(
            delta.contains("SEQUENCE:0\n") && delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n"),
            "{delta}"
        );
        assert!(
            delta.contains("-3.ts\n") && !delta.contains("-2.ts\n") && delta.contains("EXT-X-MAP"),
            "{delta}"
        );
        let text = text(&window);
        assert!(!text.contains("s-4.0") && text.contains("s-5.0"), "6 s behind the edge: {text}");
        assert_eq!(window.delta().map(|delta| delta.as_str().contains("s-5.0")), Some(true));
    }

    #[test]
    fn init_segments_are_not_encrypted() {
        let mut window = window(60, 2);
        let key = |n: u8| Some(Key { uri: format!("{n}.key").into(), iv: [n; 16] });
        for (seq, map) in [(0, "a.mp4"), (1, "a.mp4"), (2, "b.mp4")] {
            let map = Some(map.into());
            window.push(Entry { map, key: key(1), independent: seq != 1, ..entry(seq, 2000, seq == 2) });
        }
        let text = text(&window);
        let tags: Vec<_> = text
            .lines()
            .filter(|line| {
                ["#EXT-X-MAP", "#EXT-X-KEY", "#EXT-X-DIS", "live"].iter().any(|tag| line.starts_with(tag))
            })
            .map(|line| &line[..17.min(line.len())])
            .collect();
        let want = [
            "#EXT-X-MAP:URI=\"a",
            "#EXT-X-KEY:METHOD",
            "livestream-0.ts",
            "livestream-1.ts",
            "#EXT-X-DISCONTINU",
            "#EXT-X-KEY:METHOD",
            "#EXT-X-MAP:URI=\"b",
            "#EXT-X-KEY:METHOD",
            "livestream-2.ts",
        ];
        assert_eq!(tags, want, "{text}");
        assert!(text.contains("VERSION:6\n") && !text.contains("INDEPENDENT-SEGMENTS"), "{text}");
    }

    proptest! {
        #[test]
        fn dates_are_those_of_the_calendar(days in 0i64..30_000) {
            let mut text = Playlist::default();
            write_date(&mut text, days * 86_400_000 + 86_399_999);
            let (mut year, mut left) = (1970, days);
            let leap = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
            while left >= 365 + leap(year) {
                left -= 365 + leap(year);
                year += 1;
            }
            let mut month = 1;
            for length in [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                if left < length {
                    break;
                }
                left -= length;
                month += 1;
            }
            let want = format!("{year:04}-{month:02}-{:02}T23:59:59.999Z\n", left + 1);
            prop_assert_eq!(text.as_str(), want);
        }
    }

    proptest! {
        #[test]
        fn the_window_is_the_shortest_tail_beyond_its_length(
            length in 0i64..30_000,
            durations in prop::collection::vec((100i64..12_000, any::<bool>()), 1..60),
        ) {
            let mut window = Window::new(Micros::from_millis(length), Micros::from_secs(2));
            let mut listed = Vec::new();
            let mut gone = Vec::new();
            for (seq, (ms, discontinuity)) in durations.into_iter().enumerate() {
                listed.push(entry(seq as u64, ms, discontinuity && seq > 0));
                gone.extend(window.push(entry(seq as u64, ms, discontinuity)));
                let mut sum = 0;
                let oldest = listed.iter().rposition(|e| {
                    sum += e.duration.millis();
                    sum > length
                });
                let (before, kept) = listed.split_at(oldest.unwrap_or(0));
                prop_assert_eq!(before, &gone);
                prop_assert!(window.entries().eq(kept));
                let text = text(&window);
                prop_assert_eq!(text.matches("\n#EXTINF:").count(), kept.len());
                let removed = before.iter().filter(|e| e.discontinuity).count();
                let tag = format!("#EXT-X-DISCONTINUITY-SEQUENCE:{removed}\n");
                prop_assert_eq!(text.contains(&tag), removed > 0);
                let target: i64 = target(&window).parse().unwrap();
                prop_assert!(kept.iter().all(|e| e.duration <= Micros::from_secs(target)));
            }
        }
    }
}
