//! Master playlists: one stream in several qualities, and what players want to know of each before they choose.
//!
//! Spec: RFC 8216 §4.3.4.2.

use std::fmt::Write;

use media::{Kind, Track};

use crate::mp4::Description;

/// What is in the segments of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// The names of its codecs (RFC 6381), such as `avc1.64001f,mp4a.40.2`. Empty if they are not known.
    pub codecs: String,
    /// Width and height of the pictures.
    pub size: Option<(u32, u32)>,
    /// Pictures per second.
    pub fps: Option<f64>,
}

/// How much there is of it, in bits per second; what is counted is media, not the requests for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Of the fattest segment.
    pub peak: u64,
    /// Of all segments together.
    pub average: u64,
}

/// An entry of a master playlist.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'a> {
    /// The address of its playlist, as it is to be written.
    pub uri: &'a str,
    /// What is known of it.
    pub about: &'a About,
    /// Nothing before its first segment.
    pub rate: Option<Rate>,
}

/// Players must have some number.
const UNKNOWN: Rate = Rate { peak: 1, average: 1 };

impl About {
    /// What is known of these tracks.
    pub fn of<'a>(tracks: impl IntoIterator<Item = &'a Description>) -> Self {
        let mut about = Self::default();
        for track in tracks {
            if !about.codecs.is_empty() {
                about.codecs.push(',');
            }
            about.codecs.push_str(&track.codec);
            if track.kind == Kind::Video {
                (about.size, about.fps) = (track.size, track.fps);
            }
        }
        about
    }

    /// The same, of tracks that have not been looked at yet. If one of them has no name, none is told: players take the list for complete.
    pub fn of_tracks<'a>(tracks: impl IntoIterator<Item = &'a Track>) -> Self {
        let described: Option<Vec<_>> = tracks.into_iter().map(Description::of).collect();
        described.map_or_else(Self::default, |tracks| Self::of(&tracks))
    }
}

impl Rate {
    /// The next number with two digits and zeros behind them, so that playlists do not change with every segment.
    fn rounded(self) -> Self {
        let round = |rate: u64| {
            let step = 10_u64.saturating_pow(rate.checked_ilog10().unwrap_or(0).saturating_sub(1));
            rate.div_ceil(step).saturating_mul(step).max(1)
        };
        Self { peak: round(self.peak), average: round(self.average.min(self.peak)) }
    }
}

/// The text of a master playlist.
pub fn master<'a>(variants: impl IntoIterator<Item = Variant<'a>>) -> String {
    let mut text = "#EXTM3U\n".to_owned();
    for Variant { uri, about, rate } in variants {
        let Rate { peak, average } = rate.map_or(UNKNOWN, Rate::rounded);
        // Writing to a string cannot fail.
        let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average}");
        if !about.codecs.is_empty() {
            let _ = write!(text, ",CODECS=\"{}\"", about.codecs);
        }
        if let Some((width, height)) = about.size.filter(|size| *size != (0, 0)) {
            let _ = write!(text, ",RESOLUTION={width}x{height}");
        }
        if let Some(fps) = about.fps.filter(|fps| fps.is_finite() && *fps > 0.0) {
            let _ = write!(text, ",FRAME-RATE={fps:.3}");
        }
        let _ = write!(text, "\n{uri}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_known_is_told() {
        let about =
            About { codecs: "avc1.64001f,mp4a.40.2".into(), size: Some((1280, 720)), fps: Some(29.97) };
        let rate = Some(Rate { peak: 2_410_001, average: 1_999_000 });
        let variants = [
            Variant { uri: "../cam_720.m3u8?hls_ctx=x", about: &about, rate },
            Variant { uri: "a.m3u8", about: &About::default(), rate: None },
        ];
        assert_eq!(
            master(variants),
            "#EXTM3U\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2500000,AVERAGE-BANDWIDTH=2000000,CODECS=\"avc1.64001f,mp4a.40.2\",\
            RESOLUTION=1280x720,FRAME-RATE=29.970\n../cam_720.m3u8?hls_ctx=x\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\na.m3u8\n"
        );
    }

    #[test]
    fn rates_are_never_told_too_low() {
        for rate in [0, 1, 9, 10, 11, 99, 100, 101, 1_000_001, u64::MAX] {
            let rounded = Rate { peak: rate, average: rate / 2 }.rounded();
            assert!(rounded.peak >= rate && rounded.average >= rate / 2, "{rate}");
            assert!(rounded.average >= 1 && rounded.peak / 10 * 9 <= rate.max(1), "{rate} {rounded:?}");
        }
    }
}
