//! DASH: the manifest of a live stream. Its segments are chunks of CMAF (`cmaf`) put together; where they are kept is not known here.
//!
//! Spec: ISO/IEC 23009-1 §5 and §8.4 (profile "live").

use std::collections::VecDeque;
use std::fmt::Write;

use media::{Kind, Micros};

use crate::mp4::Description;

/// The manifest as a whole.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The wall clock at the time zero of the presentation, in milliseconds since 1970: what is shown at a time of the presentation is there when the
    /// wall clock has passed this and that time.
    pub available_since: i64,
    /// The wall clock now, in milliseconds since 1970.
    pub published: i64,
    /// How often players are to fetch it.
    pub update_period: Micros,
    /// Where its files are, from its own place: a relative address that ends with a slash, or nothing.
    pub base: String,
    /// Its own address, by which players may learn the time of the server.
    pub own: String,
    /// Stretches of the stream without a discontinuity, oldest first.
    pub periods: VecDeque<Period>,
}

/// A stretch of the stream without a discontinuity.
#[derive(Clone, Debug, Default)]
pub struct Period {
    /// Its number, which never comes again.
    pub id: u64,
    /// Where it begins in the presentation.
    pub start: Micros,
    /// Its video, its audio.
    pub sets: Vec<Set>,
}

/// A track of a period.
#[derive(Clone, Debug)]
pub struct Set {
    /// What it is.
    pub about: Description,
    /// The address of its init segment.
    pub init: String,
    /// The tick that is shown at the beginning of the period.
    pub zero: u64,
    /// The number of its first segment in the list.
    pub number: u64,
    /// The most bits per second that a segment has had.
    pub bandwidth: u64,
    /// Its segments that can be fetched: when each begins to be shown, and its duration, in ticks.
    pub segments: VecDeque<(u64, u64)>,
}

impl Set {
    /// The name of the track: the first part of the names of its files.
    pub fn name(&self) -> &'static str {
        name(self.about.kind)
    }

    fn micros(&self, ticks: u64) -> Micros {
        let micros = u128::from(ticks) * 1_000_000 / u128::from(self.about.timescale.max(1));
        Micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Where its last segment ends, from the beginning of the period.
    pub fn end(&self) -> Micros {
        self.segments
            .back()
            .map_or(Micros::ZERO, |(at, length)| self.micros((at + length).saturating_sub(self.zero)))
    }

    fn longest(&self) -> Micros {
        self.segments.iter().map(|(_, length)| self.micros(*length)).max().unwrap_or_default()
    }

    fn length(&self) -> Micros {
        self.segments.iter().map(|(_, length)| self.micros(*length)).fold(Micros::ZERO, |sum, one| sum + one)
    }
}

/// The name of a track.
pub fn name(kind: Kind) -> &'static str {
    if kind == Kind::Video { "video" } else { "audio" }
}

impl Period {
    /// Where it ends, from its beginning.
    pub fn end(&self) -> Micros {
        self.sets.iter().map(Set::end).max().unwrap_or_default()
    }

    fn is_listed(&self) -> bool {
        self.sets.iter().any(|set| !set.segments.is_empty())
    }
}

impl Manifest {
    /// The text; `None` while there is no segment.
    pub fn write(&self) -> Option<String> {
        let periods: Vec<&Period> = self.periods.iter().filter(|period| period.is_listed()).collect();
        let longest = periods.iter().flat_map(|period| &period.sets).map(Set::longest).max()?;
        let depth = periods
            .iter()
            .map(|period| period.sets.iter().map(Set::length).max().unwrap_or_default())
            .fold(Micros::ZERO, |sum, one| sum + one);
        let mut text = String::with_capacity(4096);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
            <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"dynamic\" \
            availabilityStartTime=\"{}\" publishTime=\"{}\" minimumUpdatePeriod=\"{}\" timeShiftBufferDepth=\"{}\" \
            minBufferTime=\"{}\" suggestedPresentationDelay=\"{}\" maxSegmentDuration=\"{}\">\n",
            date(self.available_since),
            date(self.published),
            span(self.update_period),
            span(depth),
            span(longest),
            span(Micros(longest.0.saturating_mul(2)).min(depth)),
            span(longest),
        );
        for (n, period) in periods.iter().enumerate() {
            let _ = write!(text, "  <Period id=\"{}\" start=\"{}\"", period.id, span(period.start));
            if n + 1 < periods.len() {
                let _ = write!(text, " duration=\"{}\"", span(period.end()));
            }
            text.push_str(">\n");
            period
                .sets
                .iter()
                .filter(|set| !set.segments.is_empty())
                .for_each(|set| write_set(set, &self.base, &mut text));
            text.push_str("  </Period>\n");
        }
        let _ = write!(
            text,
            "  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-head:2014\" value=\"{}\"/>\n</MPD>\n",
            escape(&self.own)
        );
        Some(text)
    }
}

/// Files are named with their folder, and not below a `BaseURL`, which players also take for the base of the clock's address.
fn write_set(set: &Set, base: &str, text: &mut String) {
    let base = escape(base);
    let (about, name) = (&set.about, set.name());
    let _ = write!(
        text,
        "    <AdaptationSet id=\"{}\" contentType=\"{name}\" segmentAlignment=\"true\" startWithSAP=\"1\">\n      \
        <Representation id=\"{name}\" mimeType=\"{name}/mp4\" codecs=\"{}\" bandwidth=\"{}\"",
        u8::from(about.kind != Kind::Video),
        escape(&about.codec),
        set.bandwidth.max(1),
    );
    if let Some((width, height)) = about.size {
        let _ = write!(text, " width=\"{width}\" height=\"{height}\"");
    }
    if let Some(fps) = about.fps {
        let whole = fps.round();
        let rate = if (fps - whole).abs() < 0.001 {
            format!("{whole}")
        } else {
            format!("{}/1001", ((fps * 1.001).round() * 1000.0))
        };
        let _ = write!(text, " frameRate=\"{rate}\"");
    }
    if about.kind == Kind::Audio {
        let _ = write!(text, " audioSamplingRate=\"{}\"", about.sample_rate);
    }
    text.push_str(">\n");
    if about.kind == Kind::Audio && about.channels > 0 {
        let _ = writeln!(
            text,
            "        <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" \
            value=\"{}\"/>",
            about.channels
        );
    }
    let _ = write!(
        text,
        "        <SegmentTemplate timescale=\"{}\" presentationTimeOffset=\"{}\" initialization=\"{base}{}\" \
        media=\"{base}{name}-$Number$.m4s\" startNumber=\"{}\">\n          <SegmentTimeline>\n",
        about.timescale,
        set.zero,
        escape(&set.init),
        set.number,
    );
    let mut next = None;
    let mut rest = set.segments.iter().peekable();
    while let Some((at, length)) = rest.next() {
        let mut repeats = 0;
        let mut end = at + length;
        while let Some((_, same)) = rest.next_if(|(at, same)| *at == end && same == length) {
            repeats += 1;
            end += same;
        }
        text.push_str("            <S");
        if next != Some(*at) {
            let _ = write!(text, " t=\"{at}\"");
        }
        let _ = write!(text, " d=\"{length}\"");
        if repeats > 0 {
            let _ = write!(text, " r=\"{repeats}\"");
        }
        text.push_str("/>\n");
        next = Some(end);
    }
    text.push_str("          </SegmentTimeline>\n        </SegmentTemplate>\n      </Representation>\n    </AdaptationSet>\n");
}

/// An `xs:duration`.
fn span(time: Micros) -> String {
    let ms = time.millis().max(0);
    format!("PT{}.{:03}S", ms / 1000, ms % 1000)
}

/// An `xs:dateTime` in UTC, of milliseconds since 1970 (civil date by counting days in eras of 400 years).
fn date(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (secs, ms) = (rest / 1000, rest % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        secs / 3600,
        secs / 60 % 60,
        secs % 60
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::codec::{Codec, aac, h264};
    use media::{Dialect, Track, TrackId};

    use super::*;

    fn set(kind: Kind, segments: &[(u64, u64)]) -> Set {
        let (id, codec, config): (_, _, &[u8]) = match kind {
            Kind::Video => {
                let config = &[1, 100, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 100, 0, 31, 1, 0, 1, 0x68];
                let codec = h264::Config { width: Some(1280), height: Some(720), ..Default::default() };
                (TrackId::VIDEO, Codec::H264(codec), config)
            }
            _ => (TrackId::AUDIO, Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap()), &[0x12, 0x10]),
        };
        let track = Track { id, codec, config: Bytes::copy_from_slice(config), dialect: Dialect::Standard };
        Set {
            about: Description::of(&track).unwrap(),
            init: format!("{}-init.mp4", name(kind)),
            zero: 0,
            number: 7,
            bandwidth: 1000,
            segments: segments.iter().copied().collect(),
        }
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_782_400_001), "2000-02-29T00:00:00.001Z");
        assert_eq!(date(1_795_883_199_999), "2026-11-28T16:26:39.999Z");
    }

    #[test]
    fn a_live_stream() {
        let segments = [(180_000, 180_000), (360_000, 180_000), (540_000, 90_000)];
        let period = Period { id: 3, start: Micros::ZERO, sets: vec![set(Kind::Video, &segments)] };
        let mut manifest = Manifest { base: "a&b/".into(), ..Default::default() };
        assert_eq!(manifest.write(), None);
        manifest.periods.push_back(period.clone());
        let text = manifest.write().unwrap();
        for want in [
            "initialization=\"a&amp;b/video-init.mp4\"",
            "timeShiftBufferDepth=\"PT5.000S\" minBufferTime=\"PT2.000S\" suggestedPresentationDelay=\"PT4.000S\"",
            "<Period id=\"3\" start=\"PT0.000S\">",
            "codecs=\"avc1.64001f\" bandwidth=\"1000\" width=\"1280\" height=\"720\">",
            "media=\"a&amp;b/video-$Number$.m4s\" startNumber=\"7\"",
            "<S t=\"180000\" d=\"180000\" r=\"1\"/>\n            <S d=\"90000\"/>",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
        // Another period ends this one.
        let next =
            Period { id: 4, start: Micros::from_secs(9), sets: vec![set(Kind::Audio, &[(5, 44_100)])] };
        manifest.periods.push_back(next);
        let text = manifest.write().unwrap();
        assert!(text.contains("<Period id=\"3\" start=\"PT0.000S\" duration=\"PT7.000S\">"));
        assert!(text.contains("audioSamplingRate=\"44100\"") && text.contains("value=\"2\""));
    }
}
