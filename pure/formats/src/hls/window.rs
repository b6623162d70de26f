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
        }
    }

    /// Lists so much from the next segment on, which is cut at another length. Players do not see the target shrink before what was cut by the
    /// old one has left the list.
    pub fn resize(&mut self, length: Micros, target: Micros) {
        self.longest = self.longest.max(self.target);
        (self.length, self.target) = (length.max(Micros::ZERO), target);
    }

    /// The segments that are listed, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Lists a new segment. Returns those that fell out: what is listed without the oldest segment never exceeds the length. The first segment
    /// of all follows nothing, so that it cannot be discontinuous either.
    pub fn push(&mut self, mut entry: Entry) -> Vec<Entry> {
        if self.entries.is_empty() {
            entry.discontinuity = false;
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
        out
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

    /// The playlist as of now; `None` before the first segment.
    pub fn playlist(&self) -> Option<Playlist> {
        let first = self.entries.front()?;
        let target = self.target_secs();
        let mut text = Playlist::default();
        // Writing to a playlist cannot fail.
        let _ = writeln!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-TARGETDURATION:{target}",
            first.seq
        );
        if self.discontinuities > 0 {
            let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuities);
        }
        let mut key = None;
        for entry in &self.entries {
            if entry.discontinuity {
                text.push("#EXT-X-DISCONTINUITY\n");
            }
            // The first that is listed is always told, wherever the window begins.
            if entry.key.as_ref() != key {
                write_key(&mut text, entry.key.as_ref());
                key = entry.key.as_ref();
            }
            let ms = millis(entry.duration);
            let _ = writeln!(text, "#EXTINF:{}.{:03}, no desc", ms / 1000, ms % 1000);
            text.push_media(&entry.uri);
            text.push("\n");
        }
        if self.ended {
            text.push("#EXT-X-ENDLIST\n");
        }
        Some(text)
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
