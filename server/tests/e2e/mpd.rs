//! The rules for manifests of DASH: each as it stands, and what may become of it from one look to the next. Clauses are those of
//! ISO/IEC 23009-1:2022.

use std::collections::{HashMap, HashSet};

/// A manifest of a live stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Mpd {
    pub since: String,
    pub published: String,
    /// Seconds.
    pub update: f64,
    pub depth: f64,
    /// With low latency, how far behind players are to be, in milliseconds.
    pub latency: Option<u64>,
    /// Schemes and addresses of clocks.
    pub clocks: Vec<(String, String)>,
    pub periods: Vec<Period>,
}

/// A period.
#[derive(Clone, Debug, PartialEq)]
pub struct Period {
    pub id: String,
    pub start: f64,
    pub duration: Option<f64>,
    pub tracks: Vec<Track>,
}

/// An adaptation set with its only representation.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// `video` or `audio`
    pub kind: String,
    pub codecs: String,
    pub init: String,
    media: String,
    pub scale: u64,
    pub offset: u64,
    /// With low latency, how many seconds early segments can be fetched.
    pub early: Option<f64>,
    /// Start and duration in ticks.
    pub segments: Vec<(u64, u64)>,
    /// All that is told of it.
    pub about: HashMap<String, String>,
}

impl Track {
    /// The addresses of its segments.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        self.segments.iter().map(|(start, _)| self.media.replace("$Time$", &start.to_string()))
    }
}

#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: HashMap<String, String>,
    children: Vec<Element>,
}

impl Element {
    /// Elements and attributes are all that manifests have.
    fn parse(text: &str) -> Self {
        let mut open = vec![Self::default()];
        for tag in text.split('<').skip(1) {
            let (tag, rest) = tag.split_once('>').expect("a tag ends");
            assert_eq!(rest.trim(), "", "text behind {tag}");
            if tag.starts_with('?') {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                let closed = open.pop().unwrap();
                assert_eq!(closed.name, name, "tags are nested");
                open.last_mut().unwrap().children.push(closed);
                continue;
            }
            let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
            let mut element = Self { name: name.into(), ..Self::default() };
            while let Some((attribute, value)) = rest.trim_start().split_once("=\"") {
                let (value, behind) = value.split_once('"').expect("a value ends");
                let value =
                    ["&lt;<", "&gt;>", "&quot;\"", "&amp;&"].iter().fold(value.to_owned(), |text, pair| {
                        let (from, to) = pair.split_at(pair.len() - 1);
                        text.replace(from, to)
                    });
                assert_eq!(element.attributes.insert(attribute.into(), value), None, "{attribute} twice");
                rest = behind;
            }
            if is_empty {
                open.last_mut().unwrap().children.push(element);
            } else {
                open.push(element);
            }
        }
        assert_eq!(open.len(), 1, "all tags are closed");
        let mut roots = open.pop().unwrap().children;
        assert_eq!(roots.len(), 1, "one root");
        roots.pop().unwrap()
    }

    #[track_caller]
    fn text(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("{} has no @{name}", self.name))
    }

    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("{}@{name}: {}", self.name, self.text(name)))
    }

    /// An `xs:duration` in seconds; longer units are not used here.
    #[track_caller]
    fn seconds(&self, name: &str) -> f64 {
        let text = self.text(name);
        let seconds = text.strip_prefix("PT").and_then(|text| text.strip_suffix('S'));
        seconds.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{}@{name}: {text}", self.name))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    #[track_caller]
    fn one(&self, name: &str) -> &Self {
        let mut all = self.all(name);
        let one = all.next().unwrap_or_else(|| panic!("{} has no {name}", self.name));
        assert!(all.next().is_none(), "{} has one {name}", self.name);
        one
    }
}

impl Mpd {
    /// Reads it, by the rules.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let mpd = Element::parse(text);
        assert_eq!(mpd.name, "MPD");
        assert_eq!(mpd.text("xmlns"), "urn:mpeg:dash:schema:mpd:2011", "5.2");
        assert_eq!(mpd.text("profiles"), "urn:mpeg:dash:profile:isoff-live:2011", "8.4");
        assert_eq!(mpd.text("type"), "dynamic");
        let order = ["ServiceDescription", "Period", "UTCTiming"];
        let places = mpd.children.iter().map(|child| order.iter().position(|name| *name == child.name));
        let places: Vec<usize> = places.map(|place| place.expect("5.3.1.3: a known element")).collect();
        assert!(places.is_sorted(), "5.3.1.3: the order of elements");
        assert!(mpd.seconds("minBufferTime") > 0.0, "5.3.1.2");
        let longest = mpd.seconds("maxSegmentDuration");
        let periods: Vec<Period> = mpd.all("Period").map(|period| Period::read(period, longest)).collect();
        assert!(!periods.is_empty(), "5.3.1.2: there is a period");
        for pair in periods.windows(2) {
            let end = pair[0].start + pair[0].duration.expect("5.3.2.2: its end is told");
            assert!(end <= pair[1].start + 0.0015, "5.3.2.2: periods do not overlap: {periods:?}");
            assert_ne!(pair[0].id, pair[1].id, "5.3.2.2: ids are unique");
        }
        assert_eq!(periods.last().unwrap().duration, None, "the end of the last period is not known");
        let latency = mpd.all("ServiceDescription").next().map(|service| {
            // K.3.2
            service.one("Latency").number("target")
        });
        let depth = mpd.seconds("timeShiftBufferDepth");
        assert!(mpd.seconds("suggestedPresentationDelay") <= depth, "what is to be played is there");
        let clock = |clock: &Element| (clock.text("schemeIdUri").to_owned(), clock.text("value").to_owned());
        Self {
            since: mpd.text("availabilityStartTime").to_owned(),
            published: mpd.text("publishTime").to_owned(),
            update: mpd.seconds("minimumUpdatePeriod"),
            depth,
            latency,
            clocks: mpd.all("UTCTiming").map(clock).collect(),
            periods,
        }
    }

    /// It is what the other one has become (5.4.1).
    #[track_caller]
    pub fn follows(&self, before: &Self) {
        assert_eq!(self.since, before.since, "5.4.1: the anchor stays");
        assert!(self.published >= before.published, "5.3.1.2: it is not older");
        for (nth, old) in before.periods.iter().enumerate() {
            let Some(new) = self.periods.iter().find(|period| period.id == old.id) else { continue };
            assert_eq!(new.start, old.start, "5.4.1: periods stay where they are");
            let was_last = nth + 1 == before.periods.len();
            for old in &old.tracks {
                let Some(new) = new.tracks.iter().find(|track| track.kind == old.kind) else { continue };
                new.follows(old, was_last);
            }
        }
    }

    /// The tracks of this kind, one for each period that has it.
    pub fn tracks(&self, kind: &str) -> Vec<&Track> {
        self.periods.iter().flat_map(|period| &period.tracks).filter(|track| track.kind == kind).collect()
    }
}

impl Period {
    fn read(period: &Element, longest: f64) -> Self {
        let tracks: Vec<Track> = period.all("AdaptationSet").map(|set| Track::read(set, longest)).collect();
        assert!(!tracks.is_empty(), "5.3.2.2: an adaptation set");
        let ids = |attribute| {
            let ids = period.all("AdaptationSet").map(|set| match attribute {
                "set" => set.text("id"),
                _ => set.one("Representation").text("id"),
            });
            ids.collect::<HashSet<_>>().len()
        };
        assert_eq!((ids("set"), ids("representation")), (tracks.len(), tracks.len()), "5.3.3.2, 5.3.5.2");
        Self {
            id: period.text("id").to_owned(),
            start: period.seconds("start"),
            duration: period.attributes.contains_key("duration").then(|| period.seconds("duration")),
            tracks,
        }
    }
}

impl Track {
    fn read(set: &Element, longest: f64) -> Self {
        let kind = set.text("contentType").to_owned();
        assert_eq!((set.text("segmentAlignment"), set.text("startWithSAP")), ("true", "1"), "8.4.2");
        let is = set.one("Representation");
        assert_eq!(is.text("mimeType"), format!("{kind}/mp4"), "5.3.7.2");
        assert!(is.number("bandwidth") > 0 && !is.text("codecs").is_empty(), "5.3.5.2");
        let template = is.one("SegmentTemplate");
        let (media, init) = (template.text("media"), template.text("initialization"));
        assert_eq!(media.matches("$Time$").count(), 1, "5.3.9.4.4: {media}");
        assert!(!init.contains('$') && !media.replace("$Time$", "").contains('$'), "5.3.9.4.4");
        let scale = template.number("timescale");
        let early = template.attributes.get("availabilityTimeOffset").map(|text| {
            assert_eq!(template.text("availabilityTimeComplete"), "false", "5.3.9.5.3");
            text.parse().unwrap()
        });
        let mut segments = Vec::<(u64, u64)>::new();
        for s in template.one("SegmentTimeline").all("S") {
            let end = segments.last().map(|(start, duration)| start + duration);
            let (duration, mut at) = (s.number("d"), end.unwrap_or_default());
            if s.attributes.contains_key("t") {
                at = s.number("t");
                assert!(end.is_none_or(|end| end <= at), "5.3.9.6: segments do not overlap");
            }
            assert!(duration > 0, "5.3.9.6");
            assert!(duration as f64 / scale as f64 <= longest + 0.001, "5.3.1.2: maxSegmentDuration");
            let repeats = if s.attributes.contains_key("r") { s.number("r") } else { 0 };
            for _ in 0..=repeats {
                segments.push((at, duration));
                at += duration;
            }
        }
        assert!(!segments.is_empty(), "5.3.9.6: a segment");
        Self {
            kind,
            codecs: is.text("codecs").to_owned(),
            init: init.to_owned(),
            media: media.to_owned(),
            scale,
            offset: template.number("presentationTimeOffset"),
            early,
            segments,
            about: is.attributes.clone(),
        }
    }

    /// The same period later.
    #[track_caller]
    fn follows(&self, before: &Self, may_grow: bool) {
        let same = |track: &Self| {
            let names = (track.init.clone(), track.media.clone());
            (names, track.codecs.clone(), track.scale, track.offset)
        };
        assert_eq!(same(self), same(before), "5.4.1");
        let old: HashMap<u64, u64> = before.segments.iter().copied().collect();
        let (last, _) = before.segments[before.segments.len() - 1];
        for &(start, duration) in &self.segments {
            match old.get(&start) {
                // How long a segment that grows will be is a guess.
                Some(_) if start == last && before.early.is_some() => {}
                Some(same) => assert_eq!(duration, *same, "the segment at {start} stays what it is"),
                None => assert!(may_grow && start > last, "5.4.1: the segment at {start} is added behind"),
            }
        }
    }
}
