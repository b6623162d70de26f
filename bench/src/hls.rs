//! HLS playlists as a player reads them (RFC 8216, section 4): a master playlist leads to a media playlist, which
//! numbers its segments. Fetching is `poll`'s business.

use crate::ts;

/// A playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Playlist {
    /// A master playlist: where its first variant is.
    Master(String),
    /// A media playlist.
    Media(Media),
}

/// A media playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Sequence number of the first segment.
    pub first: u64,
    /// Target duration in seconds: no segment is longer.
    pub target: u64,
    /// Where the segments are, oldest first.
    pub segments: Vec<String>,
    /// With low latency, the parts that are told.
    pub parts: Vec<Part>,
}

/// A part of a segment, for low latency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The sequence number of its segment, and its own number in it.
    pub number: (u64, u64),
    /// Where it is.
    pub reference: String,
}

impl Media {
    /// The sequence number behind the last segment.
    pub fn next(&self) -> u64 {
        self.first + self.segments.len() as u64
    }

    /// The numbers of the part that comes next.
    pub fn next_part(&self) -> (u64, u64) {
        match self.parts.last() {
            Some(Part { number: (segment, part), .. }) if *segment == self.next() => (*segment, part + 1),
            _ => (self.next(), 0),
        }
    }

    /// The segments from sequence number `from` on.
    pub fn since(&self, from: u64) -> &[String] {
        let skipped = from.saturating_sub(self.first).min(self.segments.len() as u64);
        &self.segments[skipped as usize..]
    }
}

impl Playlist {
    /// Reads a playlist.
    ///
    /// # Errors
    /// When it is none, or lacks a tag that it must have.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.lines().map(str::trim);
        if lines.next() != Some("#EXTM3U") {
            return Err("no #EXTM3U");
        }
        let (mut first, mut target, mut segments) = (0, None, Vec::new());
        let (mut variant, mut extinf) = (false, false);
        let mut parts: Vec<(usize, String)> = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                first = number.parse().map_err(|_| "a bad media sequence")?;
            } else if let Some(number) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                target = Some(number.parse().map_err(|_| "a bad target duration")?);
            } else if line.starts_with("#EXT-X-STREAM-INF:") {
                variant = true;
            } else if let Some(part) = line.strip_prefix("#EXT-X-PART:") {
                let uri = part.split_once("URI=\"").and_then(|(_, rest)| rest.split_once('"'));
                parts.push((segments.len(), uri.ok_or("a part without its address")?.0.to_owned()));
            } else if line.starts_with("#EXTINF:") {
                extinf = true;
            } else if !line.starts_with('#') {
                if variant {
                    return Ok(Self::Master(line.to_owned()));
                }
                if !std::mem::take(&mut extinf) {
                    return Err("a segment without #EXTINF");
                }
                segments.push(line.to_owned());
            }
        }
        let target = target.ok_or("no #EXT-X-TARGETDURATION")?;
        if u64::MAX - first < segments.len() as u64 {
            return Err("a bad media sequence");
        }
        let parts = parts.chunk_by(|(one, _), (other, _)| one == other).flat_map(|parts| {
            (0..).zip(parts).map(|(number, (segment, reference))| Part {
                number: (first + *segment as u64, number),
                reference: reference.clone(),
            })
        });
        let parts = parts.collect();
        Ok(Self::Media(Media { first, target, segments, parts }))
    }
}

/// Looks into a whole segment, or a part of one.
///
/// # Errors
/// When one of fragmented MP4 is not made of whole boxes, or has no fragment. When one of MPEG-TS is not made of packets, their continuity counters have
/// gaps, or there is no video in it.
pub fn check_segment(bytes: &[u8]) -> Result<(), &'static str> {
    match bytes.get(4..8) {
        Some(b"moof") => check_boxes(bytes),
        _ => check_packets(bytes),
    }
}

fn check_boxes(mut bytes: &[u8]) -> Result<(), &'static str> {
    let (mut fragments, mut media) = (0, 0);
    while !bytes.is_empty() {
        let Some((size, kind)) = bytes.first_chunk::<4>().zip(bytes.get(4..8)) else {
            return Err("half a box");
        };
        let size = u32::from_be_bytes(*size) as usize;
        fragments += usize::from(kind == b"moof");
        media += usize::from(kind == b"mdat");
        bytes = bytes.get(size.max(8)..).ok_or("half a box")?;
    }
    if fragments == media { Ok(()) } else { Err("fragments without media") }
}

fn check_packets(bytes: &[u8]) -> Result<(), &'static str> {
    if !bytes.len().is_multiple_of(ts::PACKET) {
        return Err("not a whole number of packets");
    }
    let (mut reader, mut units) = (ts::Reader::default(), Vec::new());
    reader.push(bytes, 0, &mut units)?;
    reader.finish(&mut units);
    if reader.counters().gaps > 0 {
        Err("gaps in continuity counters")
    } else if !units.iter().any(|unit| unit.video) {
        Err("no video")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEDIA: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-TARGETDURATION:2\n\
        #EXTINF:2.000, no desc\nlive-7.ts?hls_ctx=a\n#EXT-X-DISCONTINUITY\n#EXTINF:1.966, no desc\nlive-8.ts\n";

    #[test]
    fn segments_are_numbered_from_the_media_sequence() {
        let Ok(Playlist::Media(media)) = Playlist::parse(MEDIA) else { panic!() };
        assert_eq!((media.first, media.target, media.next()), (7, 2, 9));
        assert_eq!(media.since(8), ["live-8.ts"]);
        assert_eq!(media.since(0).len(), 2);
        assert!(media.since(9).is_empty() && media.since(1000).is_empty());
    }

    #[test]
    fn parts_are_numbered_in_their_segments() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2,\n7.m4s\n\
            #EXT-X-PART:DURATION=0.3,URI=\"8.0.m4s\"\n#EXT-X-PART:DURATION=0.3,URI=\"8.1.m4s\"\n#EXTINF:2,\n8.m4s\n\
            #EXT-X-PART:DURATION=0.3,INDEPENDENT=YES,URI=\"9.0.m4s?hls_ctx=x\"\n";
        let Ok(Playlist::Media(media)) = Playlist::parse(text) else { panic!() };
        let part = |segment, number, reference: &str| Part {
            number: (segment, number),
            reference: reference.into(),
        };
        assert_eq!(
            media.parts,
            [part(8, 0, "8.0.m4s"), part(8, 1, "8.1.m4s"), part(9, 0, "9.0.m4s?hls_ctx=x")]
        );
        assert_eq!(media.next_part(), (9, 1));
        let Ok(Playlist::Media(media)) = Playlist::parse(MEDIA) else { panic!() };
        assert_eq!(media.next_part(), (9, 0));
    }

    #[test]
    fn a_master_playlist_leads_on_even_without_a_last_line_end() {
        let text = "#EXTM3U\r\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\r\n/live/a.m3u8?hls_ctx=x";
        assert_eq!(Playlist::parse(text), Ok(Playlist::Master("/live/a.m3u8?hls_ctx=x".into())));
    }

    #[test]
    fn what_is_no_playlist_is_refused() {
        let sequence = format!("{MEDIA}#EXT-X-MEDIA-SEQUENCE:{}\n", u64::MAX);
        for text in [
            "",
            "404 Not Found",
            "#EXTM3U\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\na.ts\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:two\n",
            &sequence,
        ] {
            assert!(Playlist::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_segment_is_whole_packets() {
        assert!(check_segment(&[0x47; 100]).is_err());
        assert!(check_segment(&[]).is_err());
        assert_eq!(check_segment(&ts::tests::segment()), Ok(()));
        let fragment = [&[0, 0, 0, 8][..], b"moof", &[0, 0, 0, 9], b"mdat", &[1]].concat();
        assert_eq!(check_segment(&fragment), Ok(()));
        assert!(check_segment(&fragment[..16]).is_err() && check_segment(&fragment[..8]).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            lines in proptest::collection::vec("(#EXTINF:|#EXT-X-MEDIA-SEQUENCE:|#EXT-X-STREAM-INF:)?.{0,20}", 0..8),
            from: u64,
        ) {
            if let Ok(Playlist::Media(media)) = Playlist::parse(&format!("#EXTM3U\n{}", lines.join("\n"))) {
                prop_assert!(media.since(from).len() <= media.segments.len());
            }
        }
    }
}
