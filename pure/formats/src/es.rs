//! Sound alone, as a plain elementary stream: AAC with ADTS headers or MP3 frames in a row, for `.aac` and `.mp3` over HTTP.

use bytes::Bytes;
use media::{Frame, Micros, Place, Remux, Sound, Stamped, TrackId, Tracks, codec};

use crate::adts::Adts;
use crate::timeline::{Jitter, Timeline};

/// What an MP3 body opens with: an ID3v2.3 tag that says nothing (10 bytes of header, 10 of padding).
pub const ID3: [u8; 20] = *b"ID3\x03\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0";

/// Which sound the form carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// AAC.
    Aac,
    /// MPEG-1/2 audio layer III.
    Mp3,
}

/// What the form carries.
#[derive(Clone, Copy, Debug)]
pub struct MuxOptions {
    /// The codec; a main audio track of another one gives an empty form.
    pub codec: Codec,
    /// How much media time a joiner is given at once (`fast_cache`).
    pub history: Micros,
}

/// One frame: a header that was made here (AAC), then the payload that is shared with the publisher's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The ADTS header of an AAC frame.
    pub header: Option<[u8; 7]>,
    /// The frame.
    pub body: Bytes,
}

impl Chunk {
    /// Lays header and frame out at the end of `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(media::Unit::size(self));
        out.extend_from_slice(self.header.as_ref().map_or(&[], |header| &header[..]));
        out.extend_from_slice(&self.body);
    }
}

impl media::Unit for Chunk {
    fn size(&self) -> usize {
        self.body.len().saturating_add(self.header.map_or(0, |header| header.len()))
    }
}

/// The form of the main audio track. It has no init units, and every unit is key.
#[derive(Debug)]
pub struct Mux {
    options: MuxOptions,
    opening: Option<Opening>,
    line: Timeline,
}

/// What stands before the frames of the track.
#[derive(Clone, Copy, Debug)]
enum Opening {
    Adts(Adts),
    Nothing,
}

impl Mux {
    /// A form at the start of its time line.
    pub fn new(options: MuxOptions) -> Self {
        Self { options, opening: None, line: Timeline::new(Jitter::Full) }
    }

    fn chunk(&self, frame: &Frame) -> Option<Chunk> {
        let header = match self.opening? {
            Opening::Adts(adts) => Some(adts.header(frame.data.len())?),
            Opening::Nothing => None,
        };
        Some(Chunk { header, body: frame.data.clone() })
    }
}

impl Remux for Mux {
    type Unit = Chunk;

    fn tracks(&mut self, tracks: &Tracks, _: &mut Vec<Stamped<Chunk>>) {
        self.opening = match (self.options.codec, tracks.audio().map(|track| &track.codec)) {
            (Codec::Aac, Some(codec::Codec::Aac(config))) => Some(Opening::Adts(Adts::new(config))),
            (Codec::Mp3, Some(codec::Codec::Mp3(_))) => Some(Opening::Nothing),
            _ => None,
        };
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Chunk>>) {
        if frame.track != TrackId::AUDIO || frame.data.is_empty() {
            return;
        }
        if let Some(unit) = self.chunk(frame) {
            let time = self.line.advance(frame.track, frame.dts);
            out.push(Stamped { time, place: Place::Media { track: frame.track, key: true }, unit });
        }
    }

    fn history(&self) -> Micros {
        self.options.history
    }

    fn sound(&self) -> Sound {
        match self.options.codec {
            Codec::Aac => Sound::Aac,
            Codec::Mp3 => Sound::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use media::{Dialect, Track, Unit, codec::aac, codec::mp3};

    use super::*;

    const HISTORY: Micros = Micros::from_secs(5);

    fn mux(codec: Codec, track: codec::Codec) -> Mux {
        let mut tracks = Tracks::default();
        let config = Bytes::new();
        tracks.set(Track { id: TrackId::AUDIO, codec: track, config, dialect: Dialect::Standard });
        let mut mux = Mux::new(MuxOptions { codec, history: HISTORY });
        mux.tracks(&tracks, &mut Vec::new());
        mux
    }

    fn aac() -> codec::Codec {
        codec::Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap())
    }

    fn mp3() -> codec::Codec {
        codec::Codec::Mp3(mp3::Config { sample_rate: 44_100, channels: 2, bitrate: None })
    }

    fn frame(ms: i64, data: &[u8]) -> Frame {
        let time = Micros::from_millis(ms);
        let data = Bytes::copy_from_slice(data);
        Frame { track: TrackId::AUDIO, dts: time, pts: time, key: true, data }
    }

    fn put(mux: &mut Mux, frame: Frame) -> Vec<(i64, Vec<u8>)> {
        let mut out = Vec::new();
        mux.frame(&frame, &mut out);
        assert!(out.iter().all(Stamped::is_key));
        let lay = |unit: Stamped<Chunk>| {
            let mut laid = Vec::new();
            unit.unit.write(&mut laid);
            assert_eq!(laid.len(), unit.unit.size());
            (unit.time.millis(), laid)
        };
        out.into_iter().map(lay).collect()
    }

    #[test]
    fn aac_gets_its_header() {
        let mut mux = mux(Codec::Aac, aac());
        let want = [&[0xff, 0xf9, 0x50, 0x80, 0x01, 0x7f, 0xfc][..], b"abcd"].concat();
        assert_eq!(put(&mut mux, frame(1000, b"abcd")), [(0, want)]);
        assert_eq!(put(&mut mux, frame(1023, b"a"))[0].0, 23);
        assert!(put(&mut mux, frame(1046, &[0; 0x1fff - 6])).is_empty(), "too large for a header");
        assert!(put(&mut mux, frame(1046, b"")).is_empty());
        assert_eq!(mux.history(), HISTORY);
    }

    #[test]
    fn mp3_stands_alone() {
        let mut mux = mux(Codec::Mp3, mp3());
        assert_eq!(put(&mut mux, frame(0, b"\xff\xfbabcd")), [(0, b"\xff\xfbabcd".to_vec())]);
    }

    #[test]
    fn another_codec_or_track_gives_nothing() {
        assert!(put(&mut mux(Codec::Mp3, aac()), frame(0, b"a")).is_empty());
        assert!(put(&mut mux(Codec::Aac, mp3()), frame(0, b"a")).is_empty());
        let mut right = mux(Codec::Aac, aac());
        assert!(put(&mut right, Frame { track: TrackId::VIDEO, ..frame(0, b"a") }).is_empty());
        right.tracks(&Tracks::default(), &mut Vec::new());
        assert!(put(&mut right, frame(0, b"a")).is_empty(), "the publisher has left");
    }

    #[test]
    fn the_tag_tells_its_own_size() {
        let size = ID3[6..10].iter().fold(0, |size, byte| size << 7 | usize::from(*byte));
        assert_eq!(10 + size, ID3.len());
    }
}
