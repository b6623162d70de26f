//! The rules for playlists: each as it stands, and what may become of it from one look to the next. Sections are those of
//! draft-pantos-hls-rfc8216bis (HTTP Live Streaming, second edition), which says all that RFC 8216 says, and Low-Latency HLS.

use std::collections::HashMap;

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Playlist {
    /// `EXT-X-VERSION`
    pub version: u64,
    /// `EXT-X-MEDIA-SEQUENCE`
    pub sequence: u64,
    /// `EXT-X-TARGETDURATION` in seconds.
    pub target: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`
    pub discontinuities: u64,
    /// `EXT-X-INDEPENDENT-SEGMENTS`
    pub independent: bool,
    /// `EXT-X-ENDLIST`
    pub ended: bool,
    /// `EXT-X-SKIP`: so many of the oldest segments are left out.
    pub skipped: u64,
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// What there is for low latency.
    pub low: Option<Low>,
    /// Parts of the segment that is not complete.
    pub parts: Vec<Part>,
    /// `EXT-X-PRELOAD-HINT` of a part.
    pub hint: Option<String>,
    /// `EXT-X-RENDITION-REPORT`: address, last segment, last part.
    pub reports: Vec<(String, u64, Option<u64>)>,
}

/// A segment as it is listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub uri: String,
    pub ms: u64,
    pub discontinuity: bool,
    /// `EXT-X-KEY` that applies: the address and the vector.
    pub key: Option<(String, u128)>,
    /// `EXT-X-MAP` that applies.
    pub map: Option<String>,
    /// `EXT-X-PROGRAM-DATE-TIME`
    pub date: Option<String>,
    pub parts: Vec<Part>,
}

/// `EXT-X-PART`
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub uri: String,
    /// Seconds.
    pub duration: f64,
    pub independent: bool,
}

/// `EXT-X-PART-INF` and `EXT-X-SERVER-CONTROL`, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Low {
    pub part_target: f64,
    pub hold_back: f64,
    pub skip_until: Option<f64>,
    pub blocks: bool,
}

/// An entry of a master playlist (§4.4.6.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub uri: String,
    /// `BANDWIDTH` and `AVERAGE-BANDWIDTH`, in bits per second.
    pub bandwidth: u64,
    pub average: u64,
    pub codecs: Option<String>,
    /// `RESOLUTION`
    pub size: Option<(u32, u32)>,
    /// `FRAME-RATE`
    pub fps: Option<f64>,
}

/// Reads a master playlist; nothing if the text is a media playlist.
#[track_caller]
pub fn master(text: &str) -> Option<Vec<Variant>> {
    if !text.contains("#EXT-X-STREAM-INF:") {
        return None;
    }
    let mut lines = text.strip_suffix('\n').expect("§4.1: the last line ends").split('\n');
    assert_eq!(lines.next(), Some("#EXTM3U"), "§4.4.1.1");
    let mut variants = Vec::new();
    while let Some(line) = lines.next() {
        // Tags of media playlists must not be in it (§4.1).
        let told = line.strip_prefix("#EXT-X-STREAM-INF:").unwrap_or_else(|| panic!("{line} in {text}"));
        let mut told = attributes(told);
        let uri = lines.next().filter(|uri| !uri.starts_with('#')).expect("§4.4.6.2: an address follows");
        let bandwidth = told.remove("BANDWIDTH").expect("§4.4.6.2: BANDWIDTH is REQUIRED").parse().unwrap();
        let average = told.remove("AVERAGE-BANDWIDTH").unwrap().parse().unwrap();
        assert!(average <= bandwidth && average > 0, "{line}");
        let size = told.remove("RESOLUTION").map(|size| {
            let (width, height) = size.split_once('x').unwrap();
            (width.parse().unwrap(), height.parse().unwrap())
        });
        let codecs = told.remove("CODECS");
        let fps = told.remove("FRAME-RATE").map(|fps| seconds(&fps));
        assert!(told.is_empty(), "{line}");
        variants.push(Variant { uri: uri.to_owned(), bandwidth, average, codecs, size, fps });
    }
    Some(variants)
}

/// The attributes of a tag (§4.2), without the quotes.
#[track_caller]
pub fn attributes(list: &str) -> HashMap<String, String> {
    let mut all = HashMap::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').unwrap_or_else(|| panic!("{list}"));
        assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'), "{list}");
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or_else(|| panic!("{list}")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        assert_eq!(all.insert(name.to_owned(), value.to_owned()), None, "§4.2: {name} twice in {list}");
        rest = after.strip_prefix(',').unwrap_or_else(|| {
            assert!(after.is_empty(), "{list}");
            ""
        });
    }
    all
}

#[track_caller]
fn seconds(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} are no seconds"))
}

/// What is read line by line.
#[derive(Default)]
struct Reading {
    playlist: Playlist,
    /// Tags that may stand only once.
    once: HashMap<String, String>,
    ms: Option<u64>,
    next: Entry,
    key: Option<(String, u128)>,
    map: Option<String>,
}

impl Reading {
    #[track_caller]
    fn line(&mut self, line: &str) {
        let playlist = &mut self.playlist;
        assert!(!playlist.ended, "{line} behind the end");
        if !line.starts_with('#') {
            assert!(!line.is_empty() && line.bytes().all(|b| b.is_ascii_graphic()), "§4.1: {line:?}");
            let ms = self.ms.take().unwrap_or_else(|| panic!("§4.4.4.1: {line} without its length"));
            let entry = std::mem::take(&mut self.next);
            let (key, map) = (self.key.clone(), self.map.clone());
            playlist.entries.push(Entry { uri: line.to_owned(), ms, key, map, ..entry });
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "#EXTINF" => {
                let (secs, _title) = value.split_once(',').unwrap_or_else(|| panic!("{line}"));
                assert_eq!(self.ms.replace((seconds(secs) * 1000.0).round() as u64), None, "{line}");
            }
            "#EXT-X-DISCONTINUITY" => {
                assert!(
                    !self.next.discontinuity && self.next.parts.is_empty() && self.ms.is_none(),
                    "{line}"
                );
                self.next.discontinuity = true;
            }
            "#EXT-X-PROGRAM-DATE-TIME" => {
                assert_eq!(self.next.date.replace(value.to_owned()), None, "{line}");
                // Date and time with milliseconds and a zone (§4.4.4.6).
                assert!(value.len() >= 24 && &value[10..11] == "T" && value.ends_with('Z'), "{line}");
            }
            "#EXT-X-KEY" => {
                let mut key = attributes(value);
                let method = key.remove("METHOD");
                if method.as_deref() == Some("NONE") {
                    assert!(key.is_empty() && self.key.is_some(), "§4.4.4.4: {line}");
                    self.key = None;
                } else {
                    assert_eq!(method.as_deref(), Some("AES-128"), "{line}");
                    let iv = key.remove("IV").expect("a vector");
                    assert!(iv.starts_with("0x") && iv.len() == 34, "{line}");
                    let iv = u128::from_str_radix(&iv[2..], 16).unwrap();
                    self.key = Some((key.remove("URI").expect("§4.4.4.4: an address"), iv));
                    assert!(key.is_empty(), "{line}");
                }
            }
            "#EXT-X-MAP" => {
                let mut map = attributes(value);
                // It would be encrypted with the key that stands before it.
                assert_eq!(self.key, None, "§4.4.4.5: {line}");
                self.map = Some(map.remove("URI").expect("§4.4.4.5: an address"));
                assert!(map.is_empty(), "{line}");
            }
            "#EXT-X-PART" => {
                assert!(playlist.low.is_some(), "§4.4.3.7: parts without their target");
                let mut part = attributes(value);
                let independent = part.remove("INDEPENDENT").is_some_and(|value| value == "YES");
                let duration = seconds(&part.remove("DURATION").expect("§4.4.4.9"));
                self.next.parts.push(Part {
                    uri: part.remove("URI").expect("§4.4.4.9"),
                    duration,
                    independent,
                });
                assert!(part.is_empty(), "{line}");
            }
            "#EXT-X-SKIP" => {
                assert!(
                    playlist.entries.is_empty() && self.ms.is_none() && playlist.skipped == 0,
                    "§4.4.5.2"
                );
                let skip = attributes(value);
                playlist.skipped = skip["SKIPPED-SEGMENTS"].parse().unwrap();
                assert!(playlist.skipped > 0 && skip.len() == 1, "{line}");
            }
            "#EXT-X-PRELOAD-HINT" => {
                let hint = attributes(value);
                assert_eq!(hint["TYPE"], "PART", "{line}");
                assert_eq!(playlist.hint.replace(hint["URI"].clone()), None, "§4.4.5.3: {line}");
            }
            "#EXT-X-RENDITION-REPORT" => {
                let report = attributes(value);
                let number = |name: &str| report.get(name).map(|n| n.parse().unwrap());
                let last = number("LAST-MSN").expect("§4.4.5.4");
                playlist.reports.push((report["URI"].clone(), last, number("LAST-PART")));
            }
            "#EXT-X-ENDLIST" => playlist.ended = true,
            "#EXT-X-PART-INF"
            | "#EXT-X-SERVER-CONTROL"
            | "#EXT-X-INDEPENDENT-SEGMENTS"
            | "#EXT-X-VERSION"
            | "#EXT-X-TARGETDURATION"
            | "#EXT-X-MEDIA-SEQUENCE"
            | "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                let behind = !playlist.entries.is_empty() || self.ms.is_some() || !self.next.parts.is_empty();
                assert!(!behind, "{name} behind segments");
                assert_eq!(self.once.insert(name.to_owned(), value.to_owned()), None, "{name} twice");
                if self.once.contains_key("#EXT-X-PART-INF") {
                    self.playlist.low = self.low();
                }
            }
            _ => panic!("nobody knows {line}"),
        }
    }

    /// What the head says of low latency.
    #[track_caller]
    fn low(&self) -> Option<Low> {
        let info = attributes(self.once.get("#EXT-X-PART-INF")?);
        let control = attributes(self.once.get("#EXT-X-SERVER-CONTROL").map_or("", String::as_str));
        Some(Low {
            part_target: seconds(&info["PART-TARGET"]),
            hold_back: control.get("PART-HOLD-BACK").map_or(f64::NAN, |value| seconds(value)),
            skip_until: control.get("CAN-SKIP-UNTIL").map(|value| seconds(value)),
            blocks: control.get("CAN-BLOCK-RELOAD").is_some_and(|value| value == "YES"),
        })
    }
}

impl Playlist {
    /// Reads a playlist; it must be as the specification wants it, and have nothing that is not known here.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut lines = text.split_terminator('\n');
        assert!(text.ends_with('\n'), "{text:?}");
        assert_eq!(lines.next(), Some("#EXTM3U"), "§4.4.1.1: {text}");
        let mut reading = Reading::default();
        lines.for_each(|line| reading.line(line));
        let head = |name: &str| {
            reading.once.get(name).map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{text}")))
        };
        let mut playlist = reading.playlist;
        playlist.version = head("#EXT-X-VERSION").unwrap_or_else(|| panic!("§4.4.1.2: {text}"));
        playlist.target = head("#EXT-X-TARGETDURATION").unwrap_or_else(|| panic!("§4.4.3.1: {text}"));
        playlist.sequence = head("#EXT-X-MEDIA-SEQUENCE").unwrap_or_else(|| panic!("{text}"));
        playlist.discontinuities = head("#EXT-X-DISCONTINUITY-SEQUENCE").unwrap_or_default();
        playlist.independent = reading.once.contains_key("#EXT-X-INDEPENDENT-SEGMENTS");
        playlist.parts = reading.next.parts;
        assert!(reading.ms.is_none(), "ends in between: {text}");
        assert!(!reading.next.discontinuity || !playlist.parts.is_empty(), "ends in between: {text}");
        playlist.holds(text);
        playlist
    }

    /// What each of them has to be.
    #[track_caller]
    fn holds(&self, text: &str) {
        // Rounded to the nearest second, no segment is longer than the target (§4.4.3.1).
        let longest = self.entries.iter().map(|entry| (entry.ms + 500) / 1000).max();
        assert!(longest.unwrap_or_default() <= self.target, "{text}");
        // What is used needs a version (§8).
        let has_map = self.entries.iter().any(|entry| entry.map.is_some());
        let least = [(true, 3), (has_map, 6), (self.skipped > 0, 9)];
        for (is_used, version) in least {
            assert!(!is_used || self.version >= version, "§8: version {}: {text}", self.version);
        }
        let Some(low) = &self.low else {
            assert!(self.hint.is_none() && self.reports.is_empty() && self.parts.is_empty(), "{text}");
            return;
        };
        // PART-HOLD-BACK must be twice, and should be three times the part target (§4.4.3.8).
        assert!(low.hold_back >= 3.0 * low.part_target, "{text}");
        assert!(low.skip_until.is_none_or(|until| until >= 6.0 * self.target as f64), "§4.4.3.8: {text}");
        assert!(low.blocks, "{text}");
        for entry in self.entries.iter().filter(|entry| !entry.parts.is_empty()) {
            let sum: f64 = entry.parts.iter().map(|part| part.duration).sum();
            assert!((sum * 1000.0 - entry.ms as f64).abs() < 2.0, "{sum} s of parts: {entry:?}");
            lengths(&entry.parts[..entry.parts.len() - 1], low.part_target, 0.85);
            lengths(&entry.parts, low.part_target, 0.0);
        }
        // The last one that is there may be the last one of its segment.
        lengths(&self.parts[..self.parts.len().saturating_sub(1)], low.part_target, 0.85);
        lengths(&self.parts, low.part_target, 0.0);
        if self.ended {
            assert_eq!(self.hint, None, "§4.4.5.3: {text}");
        }
        // Parts are told near the live edge only (§4.4.4.9).
        let mut behind = self.parts.iter().map(|part| part.duration).sum::<f64>();
        for entry in self.entries.iter().rev() {
            assert!(entry.parts.is_empty() || behind <= 3.0 * self.target as f64, "old parts: {text}");
            behind += entry.ms as f64 / 1000.0;
        }
    }

    /// The number of the segment that comes next.
    pub fn next(&self) -> u64 {
        self.sequence + self.skipped + self.entries.len() as u64
    }

    /// The segments with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Entry)> {
        (self.sequence + self.skipped..).zip(&self.entries)
    }

    /// All listed time, in milliseconds.
    pub fn ms(&self) -> u64 {
        self.entries.iter().map(|entry| entry.ms).sum()
    }

    /// A delta of what was seen before, made whole (§6.3.7).
    #[track_caller]
    pub fn completed(mut self, before: &Self) -> Self {
        let known: HashMap<u64, &Entry> = before.numbered().collect();
        let skipped = std::mem::take(&mut self.skipped);
        let missing = (self.sequence..self.sequence + skipped).map(|number| {
            let entry =
                known.get(&number).unwrap_or_else(|| panic!("{number} is skipped and was never seen"));
            Entry { parts: Vec::new(), ..(*entry).clone() }
        });
        self.entries = missing.chain(std::mem::take(&mut self.entries)).collect();
        // Of tags that apply from one segment on, those in the skipped part still do.
        let (mut map, mut key) = (None, None);
        for entry in &mut self.entries {
            (map, key) = (entry.map.clone().or(map), entry.key.clone().or(key));
            (entry.map, entry.key) = (map.clone(), key.clone());
        }
        self
    }

    /// It may be what becomes of the playlist `before` (§6.2.1 and §6.2.2).
    #[track_caller]
    pub fn follows(&self, before: &Self) {
        assert!(self.sequence >= before.sequence, "segments come back: {before:?}, then {self:?}");
        assert!(self.next() >= before.next(), "segments are taken back: {before:?}, then {self:?}");
        assert!(!before.ended || self == before, "§4.4.3.4: it went on behind its end");
        let removed = (self.sequence - before.sequence) as usize;
        for (was, is) in before.entries.iter().skip(removed).zip(&self.entries) {
            let alone = |entry: &Entry| Entry { parts: Vec::new(), ..entry.clone() };
            assert_eq!(alone(was), alone(is), "what is listed has changed");
            assert!(is.parts.is_empty() || is.parts == was.parts, "parts have changed: {was:?}, then {is:?}");
        }
        // The parts that were there are those of the next segment, or the first of them.
        let next =
            self.numbered().find(|(number, _)| *number == before.next()).map(|(_, entry)| &entry.parts);
        let now = next.unwrap_or(&self.parts);
        if !before.parts.is_empty() && !now.is_empty() {
            assert_eq!(before.parts[..], now[..before.parts.len()], "parts have changed");
            if let (Some(hint), Some(part)) = (&before.hint, now.get(before.parts.len())) {
                assert_eq!(*hint, part.uri, "§6.2.6: the hint was wrong");
            }
        }
        let gone = before.entries.iter().take(removed).filter(|entry| entry.discontinuity).count() as u64;
        // Some may have come and gone between.
        assert!(self.discontinuities >= before.discontinuities + gone, "{before:?}, then {self:?}");
        if removed <= before.entries.len() {
            assert_eq!(self.discontinuities, before.discontinuities + gone, "{before:?}, then {self:?}");
        }
        let anew = self.entries.first().is_some_and(|first| first.discontinuity);
        assert!(self.target >= before.target || anew, "the target shrinks: {before:?}, then {self:?}");
        if let (Some(was), Some(is)) = (&before.low, &self.low) {
            assert_eq!(was.part_target, is.part_target, "§4.4.3.7: {before:?}, then {self:?}");
        }
    }
}

/// Parts are no longer than the target, and at least this share of it (§4.4.4.9).
#[track_caller]
fn lengths(parts: &[Part], target: f64, least: f64) {
    for part in parts {
        assert!(
            part.duration <= target + 0.0005 && part.duration >= target * least - 0.0005,
            "{target}: {parts:?}"
        );
    }
}
