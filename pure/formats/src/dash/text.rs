//! The manifest as text.

use std::fmt::Write;

use media::{Kind, Micros};

use super::{Low, Manifest, Period, Set};
use crate::date::date;

/// A manifest that is written but for what differs from request to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// All of it up to the clocks, with a mark behind each address.
    body: String,
    own: String,
}

/// Stands behind each address; XML has no such character.
const MARK: char = '\u{1}';

/// The parameter by which the address of a manifest tells the time instead.
pub const CLOCK: &str = "dash_clock";

impl Text {
    /// As a file, which any web server may serve: players get the clock from the date of its answer (§5.8.4.11).
    pub fn file(&self) -> String {
        let mut text = self.body.replace(MARK, "");
        write_clock("http-head", &self.own, &mut text);
        text.push_str("</MPD>\n");
        text
    }

    /// As the answer to a request with this query, which all addresses in it get.
    pub fn answer(&self, query: Option<&str>) -> String {
        let query = query.filter(|query| !query.is_empty());
        // A dollar would begin a placeholder (§5.3.9.4.4).
        let behind = query.map(|query| format!("?{}", escape(&query.replace('$', "%24"))));
        let mut text = self.body.replace(MARK, behind.as_deref().unwrap_or_default());
        let rest = query.map(|query| format!("&{query}")).unwrap_or_default();
        write_clock("http-iso", &format!("{}?{CLOCK}=iso{rest}", self.own), &mut text);
        write_clock("http-head", &format!("{}?{CLOCK}=head{rest}", self.own), &mut text);
        text.push_str("</MPD>\n");
        text
    }
}

fn write_clock(scheme: &str, address: &str, text: &mut String) {
    let address = escape(address);
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:{scheme}:2014\" value=\"{address}\"/>");
}

impl Manifest {
    /// The text; `None` while there is no segment. With low latency, segments that grow are listed, too.
    pub fn write(&self, low: Option<Low>) -> Option<Text> {
        let periods: Vec<&Period> = self.periods.iter().filter(|period| period.is_listed(low)).collect();
        let longest =
            periods.iter().flat_map(|period| &period.sets).filter_map(|set| set.longest(low)).max()?;
        let window = i64::try_from(self.window).unwrap_or(i64::MAX);
        let depth = Micros(longest.0.saturating_mul(window));
        // Who asks less often than segments come has to be far behind.
        let update = self.update_period.min(low.map_or(longest, |low| low.update_period));
        // A segment is needed when it is this far away; until then it must have ended, and the player must have learned of it.
        let delay = low.map_or(longest + update + self.late, |low| low.latency);
        let buffer = low.map_or(longest, |low| low.chunk);
        let mut body = String::with_capacity(4096);
        // Writing to a string cannot fail.
        let _ = write!(
            body,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
            <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"dynamic\" \
            availabilityStartTime=\"{}\" publishTime=\"{}\" minimumUpdatePeriod=\"{}\" timeShiftBufferDepth=\"{}\" \
            minBufferTime=\"{}\" suggestedPresentationDelay=\"{}\" maxSegmentDuration=\"{}\">\n",
            date(self.available_since),
            date(self.published),
            span(update),
            span(depth),
            span(buffer),
            span(delay.min(depth)),
            span(longest),
        );
        if let Some(low) = low {
            let _ = write!(
                body,
                "  <ServiceDescription id=\"0\">\n    \
                <Latency referenceId=\"0\" target=\"{}\"/>\n    <PlaybackRate min=\"0.96\" max=\"1.04\"/>\n  \
                </ServiceDescription>\n",
                low.latency.millis(),
            );
        }
        for (n, period) in periods.iter().enumerate() {
            let _ = write!(body, "  <Period id=\"{}\" start=\"{}\"", period.id, span(period.start));
            if n + 1 < periods.len() {
                let _ = write!(body, " duration=\"{}\"", span(period.end()));
            }
            body.push_str(">\n");
            let began = self.available_since + period.start.millis();
            for set in period.sets.iter().filter(|set| set.listed(low).next().is_some()) {
                write_set((period.id, set), (&self.base, &self.own), low.map(|low| (low, began)), &mut body);
            }
            body.push_str("  </Period>\n");
        }
        Some(Text { body, own: self.own.clone() })
    }
}

/// Files are named with their folder, and not below a `BaseURL`, which players also take for the base of the clock's address. With low latency goes when
/// the period began, by the clock on the wall.
fn write_set(
    (period, set): (u64, &Set),
    (base, own): (&str, &str),
    low: Option<(Low, i64)>,
    text: &mut String,
) {
    let base = escape(base);
    let (about, name) = (&set.about, set.name());
    let _ = writeln!(
        text,
        "    <AdaptationSet id=\"{}\" contentType=\"{name}\" segmentAlignment=\"true\" startWithSAP=\"1\">",
        u8::from(about.kind != Kind::Video)
    );
    if let Some((_, began)) = low {
        let _ = write!(
            text,
            "      <ProducerReferenceTime id=\"0\" type=\"encoder\" wallClockTime=\"{}\" presentationTime=\"{}\">\n        \
            <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"{}?{CLOCK}=iso\"/>\n      \
            </ProducerReferenceTime>\n",
            date(began),
            set.zero,
            escape(own),
        );
    }
    let _ = write!(
        text,
        "      <Representation id=\"{name}\" mimeType=\"{name}/mp4\" codecs=\"{}\" bandwidth=\"{}\"",
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
    let low = low.map(|(low, _)| low);
    let _ = write!(
        text,
        "        <SegmentTemplate timescale=\"{}\" presentationTimeOffset=\"{}\" initialization=\"{base}{}{MARK}\" \
        media=\"{base}{name}-{period}-$Time$.m4s{MARK}\"",
        about.timescale,
        set.zero,
        escape(&set.init),
    );
    if let Some((low, (_, length))) = low.zip(set.listed(low).last()) {
        // The first chunk can be fetched when it is there, which is so much before all of them are (§5.3.9.5.3).
        let early = set.micros(length).0.saturating_sub(low.chunk.0).max(0);
        let _ = write!(
            text,
            " availabilityTimeOffset=\"{}.{:03}\" availabilityTimeComplete=\"false\"",
            early / 1_000_000,
            early / 1000 % 1000
        );
    }
    text.push_str(">\n          <SegmentTimeline>\n");
    write_timeline(set.listed(low), text);
    text.push_str("          </SegmentTimeline>\n        </SegmentTemplate>\n      </Representation>\n    </AdaptationSet>\n");
}

/// What is equally long and follows is told once (§5.3.9.6).
fn write_timeline(segments: impl Iterator<Item = (u64, u64)>, text: &mut String) {
    let mut next = None;
    let mut rest = segments.peekable();
    while let Some((at, length)) = rest.next() {
        let mut repeats = 0;
        let mut end = at + length;
        while let Some((_, same)) = rest.next_if(|(at, same)| *at == end && *same == length) {
            repeats += 1;
            end += same;
        }
        text.push_str("            <S");
        if next != Some(at) {
            let _ = write!(text, " t=\"{at}\"");
        }
        let _ = write!(text, " d=\"{length}\"");
        if repeats > 0 {
            let _ = write!(text, " r=\"{repeats}\"");
        }
        text.push_str("/>\n");
        next = Some(end);
    }
}

/// An `xs:duration`.
fn span(time: Micros) -> String {
    let ms = time.millis().max(0);
    format!("PT{}.{:03}S", ms / 1000, ms % 1000)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::codec::{Codec, aac, h264};
    use media::{Dialect, Track, TrackId};

    use super::super::name;
    use super::*;
    use crate::mp4::Description;

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
            bandwidth: 1000,
            segments: segments.iter().copied().collect(),
            growing: None,
        }
    }

    #[test]
    fn a_live_stream() {
        let segments = [(180_000, 180_000), (360_000, 180_000), (540_000, 90_000)];
        let period = Period { id: 3, start: Micros::ZERO, sets: vec![set(Kind::Video, &segments)] };
        let mut manifest = Manifest {
            base: "a&b/".into(),
            own: "a&b.mpd".into(),
            window: 4,
            late: Micros::from_secs(1),
            update_period: Micros::from_millis(1500),
            ..Default::default()
        };
        assert_eq!(manifest.write(None), None);
        manifest.periods.push_back(period.clone());
        let text = manifest.write(None).unwrap().file();
        for want in [
            "initialization=\"a&amp;b/video-init.mp4\"",
            "minimumUpdatePeriod=\"PT1.500S\" timeShiftBufferDepth=\"PT8.000S\" minBufferTime=\"PT2.000S\" suggestedPresentationDelay=\"PT4.500S\"",
            "<Period id=\"3\" start=\"PT0.000S\">",
            "codecs=\"avc1.64001f\" bandwidth=\"1000\" width=\"1280\" height=\"720\">",
            "media=\"a&amp;b/video-3-$Time$.m4s\">",
            "<S t=\"180000\" d=\"180000\" r=\"1\"/>\n            <S d=\"90000\"/>",
            "utc:http-head:2014\" value=\"a&amp;b.mpd\"",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
        // Another period ends this one.
        let next =
            Period { id: 4, start: Micros::from_secs(9), sets: vec![set(Kind::Audio, &[(5, 44_100)])] };
        manifest.periods.push_back(next);
        let text = manifest.write(None).unwrap().file();
        assert!(text.contains("<Period id=\"3\" start=\"PT0.000S\" duration=\"PT7.000S\">"));
        assert!(text.contains("audioSamplingRate=\"44100\"") && text.contains("value=\"2\""));
    }

    #[test]
    fn the_query_of_a_request_goes_along() {
        let mut manifest = Manifest { own: "a.mpd".into(), window: 1, ..Default::default() };
        let sets = vec![set(Kind::Audio, &[(0, 44_100)])];
        manifest.periods.push_back(Period { id: 0, start: Micros::ZERO, sets });
        let text = manifest.write(None).unwrap();
        let answer = text.answer(Some("vhost=a&token=$1"));
        for want in [
            "media=\"audio-0-$Time$.m4s?vhost=a&amp;token=%241\"",
            "initialization=\"audio-init.mp4?vhost=a&amp;token=%241\"",
            "utc:http-iso:2014\" value=\"a.mpd?dash_clock=iso&amp;vhost=a&amp;token=$1\"",
        ] {
            assert!(answer.contains(want), "{want} in {answer}");
        }
        assert!(text.answer(None).contains("media=\"audio-0-$Time$.m4s\""));
    }

    #[test]
    fn a_segment_that_grows() {
        let mut video = set(Kind::Video, &[(0, 180_000), (180_000, 171_000)]);
        assert_eq!(video.expected(Micros::from_secs(1)), 180_000);
        video.growing = Some((351_000, 180_000));
        let mut manifest = Manifest { window: 3, ..Default::default() };
        manifest.update_period = Micros::from_secs(5);
        manifest.periods.push_back(Period { id: 0, start: Micros::ZERO, sets: vec![video] });
        let (latency, chunk) = (Micros::from_millis(2500), Micros::from_millis(250));
        let low = Low { latency, chunk, update_period: Micros::from_millis(500) };
        let text = manifest.write(Some(low)).unwrap().file();
        for want in [
            "<Latency referenceId=\"0\" target=\"2500\"/>",
            "minimumUpdatePeriod=\"PT0.500S\"",
            "availabilityTimeOffset=\"1.750\" availabilityTimeComplete=\"false\"",
            "<S d=\"171000\"/>\n            <S d=\"180000\"/>",
            "<ProducerReferenceTime id=\"0\" type=\"encoder\" wallClockTime=\"1970-01-01T00:00:00.000Z\" presentationTime=\"0\">",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
        let text = manifest.write(None).unwrap().file();
        assert!(
            text.contains("<S d=\"171000\"/>\n          </SegmentTimeline>") && !text.contains("Latency")
        );
    }
}
