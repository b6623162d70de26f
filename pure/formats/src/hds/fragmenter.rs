//! Cuts a stream of FLV tags into fragments, each of which can be decoded on its own.

use bytes::Bytes;
use media::{Frame, Kind, Micros, Place, Remux, Sound, Stamped, TrackId, Tracks};

use crate::flv::{Mux, MuxOptions, Tag};
use crate::hls::{Cut, Cutter, CutterOptions, Segment};
use crate::timeline::{Jitter, Timeline};

/// The form that fragments are made of: tags at the times of the publisher. It is not the form of players, which waits for metadata and may be
/// told to correct times in other ways.
#[derive(Debug)]
pub struct Tags(Mux);

impl Default for Tags {
    fn default() -> Self {
        Self(Mux::new(MuxOptions { jitter: Jitter::Off, reduce_sequence_header: true }))
    }
}

impl Remux for Tags {
    type Unit = Tag;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Tag>>) {
        self.0.tracks(tracks, out);
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Tag>>) {
        self.0.frame(frame, out);
    }

    fn sound(&self) -> Sound {
        self.0.sound()
    }
}

/// A fragment, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Where it begins, on a time line that starts at zero and goes on from publisher to publisher.
    pub start: Micros,
    /// How long it is.
    pub duration: Micros,
    /// The bytes of its file: an `mdat` box (§C.3.2).
    pub bytes: Vec<u8>,
}

/// Takes the tags of a stream. Of several tracks of a kind it carries the main one.
#[derive(Debug)]
pub struct Fragmenter {
    cutter: Cutter,
    line: Timeline,
    video: Kept,
    audio: Kept,
    /// Pictures are to be expected.
    pictures: bool,
    /// The open fragment with room for the header of its box; empty if there is none.
    buffer: Vec<u8>,
}

/// The sequence header of a kind, where it has come.
type Kept = Option<Tag>;

/// The init slots of the sequence headers that are carried, as `flv::Mux` numbers them.
const VIDEO: u8 = 1;
const AUDIO: u8 = 2;

/// Size and type of the box (§1.3).
const BOX_HEADER: usize = 8;

/// The bytes at which a fragment ends at any frame, lest it grow for ever when the time stands still.
const MAX: usize = 64 << 20;

impl Fragmenter {
    /// Before the first tag, with fragments of this length (`hds_fragment`).
    pub fn new(fragment: Micros) -> Self {
        Self {
            cutter: Cutter::new(CutterOptions { fragment, ..Default::default() }),
            line: Timeline::new(Jitter::Full),
            video: None,
            audio: None,
            pictures: false,
            buffer: Vec::new(),
        }
    }

    /// Fragments have this length from now on. To be said after [`restart`](Self::restart).
    pub fn turn(&mut self, fragment: Micros) {
        self.cutter = Cutter::new(CutterOptions { fragment, ..Default::default() });
        self.cutter.restart(self.pictures);
    }

    /// What comes next does not follow what came: tags are missing, or the publisher has left. Ends the open fragment.
    pub fn restart(&mut self) -> Option<Fragment> {
        let cut = self.cutter.restart(self.pictures);
        self.end(cut)
    }

    /// Another publisher begins, and sends headers of its own.
    pub fn renew(&mut self) -> Option<Fragment> {
        let cut = self.restart();
        (self.video, self.audio, self.pictures) = (None, None, false);
        cut
    }

    /// The next unit of the stream. Returns the fragment that it ends.
    pub fn take(&mut self, unit: &Stamped<Tag>) -> Option<Fragment> {
        match unit.place {
            Place::Init { slot } => {
                let kept = match slot {
                    VIDEO => &mut self.video,
                    AUDIO => &mut self.audio,
                    _ => return None,
                };
                if kept.as_ref() == Some(&unit.unit) {
                    return None;
                }
                *kept = Some(unit.unit.clone());
                self.pictures = self.pictures || slot == VIDEO;
                // Each fragment begins with the headers that are true for all of it.
                self.restart()
            }
            Place::Media { track: TrackId { kind: Kind::Data, .. }, .. } => {
                if !self.buffer.is_empty() {
                    unit.unit.write(millis(self.line.place(unit.time)), &mut self.buffer);
                }
                None
            }
            Place::Media { track, key } if track.index == 0 => self.media(track, key, unit),
            Place::Media { .. } => None,
        }
    }

    fn media(&mut self, track: TrackId, key: bool, unit: &Stamped<Tag>) -> Option<Fragment> {
        let mut done = None;
        if track.kind == Kind::Video && !self.pictures {
            // Of a codec without a sequence header.
            self.pictures = true;
            done = self.restart();
        }
        let time = self.line.advance(track, unit.time);
        let frame = Frame { track, dts: time, pts: time, key, data: Bytes::new() };
        let verdict = self.cutter.frame(&frame, self.buffer.len() >= MAX);
        done = self.end(verdict.cut).or(done);
        if verdict.taken {
            if self.buffer.is_empty() {
                self.begin(time);
            }
            unit.unit.write(millis(time), &mut self.buffer);
        }
        done
    }

    fn begin(&mut self, time: Micros) {
        self.buffer.extend_from_slice(&[0; BOX_HEADER]);
        for header in [&self.video, &self.audio].into_iter().flatten() {
            header.write(millis(time), &mut self.buffer);
        }
    }

    fn end(&mut self, cut: Option<Cut>) -> Option<Fragment> {
        let cut = cut?;
        let mut bytes = std::mem::take(&mut self.buffer);
        let Cut::Segment(Segment { start, duration, .. }) = cut else { return None };
        let [s0, s1, s2, s3] = u32::try_from(bytes.len()).ok()?.to_be_bytes();
        bytes.get_mut(..BOX_HEADER)?.copy_from_slice(&[s0, s1, s2, s3, b'm', b'd', b'a', b't']);
        Some(Fragment { start, duration, bytes })
    }
}

/// The time of a tag, which wraps as FLV has it (§E.4.1).
fn millis(time: Micros) -> u32 {
    time.millis() as u32
}

#[cfg(test)]
mod tests {
    use media::codec::{Codec, aac, h264};
    use media::{Dialect, Track};

    use super::*;
    use crate::flv::{Item, Reader, TagKind};

    fn tracks(config: &'static [u8]) -> Tracks {
        let mut tracks = Tracks::default();
        let sets = |bytes: &'static [u8]| vec![Bytes::from_static(bytes)];
        let avc = h264::Config { sps: sets(&[0x67, 1, 2, 3]), pps: sets(&[0x68]), ..Default::default() };
        let aac = Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap());
        for (id, codec, config) in
            [(TrackId::VIDEO, Codec::H264(avc), config), (TrackId::AUDIO, aac, &[0x12, 0x10])]
        {
            let config = Bytes::from_static(config);
            tracks.set(Track { id, codec, config, dialect: Dialect::Standard });
        }
        tracks
    }

    /// Pictures at 25 fps with a keyframe every second, and sound between them.
    fn put(mux: &mut Mux, fragmenter: &mut Fragmenter, ms: std::ops::Range<i64>) -> Vec<Fragment> {
        let mut units = Vec::new();
        for ms in ms.step_by(20) {
            let video = ms % 40 == 0;
            let track = if video { TrackId::VIDEO } else { TrackId::AUDIO };
            let key = !video || ms % 1000 == 0;
            let time = Micros::from_millis(ms);
            let data = if video { &[0, 0, 0, 1, 0x65][..] } else { b"sound" };
            mux.frame(
                &Frame { track, dts: time, pts: time, key, data: Bytes::from_static(data) },
                &mut units,
            );
        }
        units.iter().filter_map(|unit| fragmenter.take(unit)).collect()
    }

    fn announce(mux: &mut Mux, fragmenter: &mut Fragmenter, tracks: &Tracks) -> Vec<Fragment> {
        let mut units = Vec::new();
        mux.tracks(tracks, &mut units);
        units.iter().filter_map(|unit| fragmenter.take(unit)).collect()
    }

    /// What another reader of FLV finds in a fragment.
    fn read(fragment: &Fragment) -> Vec<(TagKind, u32, Bytes)> {
        let (header, tags) = fragment.bytes.split_at(8);
        assert_eq!(header[..4], (fragment.bytes.len() as u32).to_be_bytes());
        assert_eq!(&header[4..], b"mdat");
        let mut reader = Reader::new();
        reader.receive(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
        reader.receive(tags);
        let mut out = Vec::new();
        while let Some(item) = reader.poll_item().unwrap() {
            if let Item::Tag { kind, timestamp, body } = item {
                out.push((kind, timestamp, body));
            }
        }
        out
    }

    #[test]
    fn each_fragment_stands_on_its_own() {
        let (mut mux, mut fragmenter) =
            (Mux::new(MuxOptions::default()), Fragmenter::new(Micros::from_secs(2)));
        announce(&mut mux, &mut fragmenter, &tracks(b"avcC"));
        let mut made = put(&mut mux, &mut fragmenter, 0..5000);
        made.extend(fragmenter.restart());
        let times: Vec<_> = made.iter().map(|f| (f.start.millis(), f.duration.millis())).collect();
        assert_eq!(times, [(0, 2000), (2000, 2000), (4000, 1020)]);
        let mut media = 0;
        for fragment in &made {
            let tags = read(fragment);
            let start = fragment.start.millis() as u32;
            let opening: Vec<_> =
                tags[..3].iter().map(|(kind, time, body)| (*kind, *time, &body[..2])).collect();
            let want = [
                (TagKind::Video, start, &[0x17, 0][..]),
                (TagKind::Audio, start, &[0xaf, 0]),
                (TagKind::Video, start, &[0x17, 1]),
            ];
            assert_eq!(opening, want);
            media += tags.len() - 2;
        }
        assert_eq!(media, 250, "no frame is missing");
    }

    #[test]
    fn another_publisher_goes_on_where_the_last_one_ended() {
        let (mut mux, mut fragmenter) =
            (Mux::new(MuxOptions::default()), Fragmenter::new(Micros::from_secs(2)));
        announce(&mut mux, &mut fragmenter, &tracks(b"avcC"));
        assert!(put(&mut mux, &mut fragmenter, 0..1000).is_empty());
        let last = fragmenter.renew().unwrap();
        let mut mux = Mux::new(MuxOptions::default());
        assert!(announce(&mut mux, &mut fragmenter, &tracks(b"other")).is_empty());
        let next = put(&mut mux, &mut fragmenter, 0..3000).remove(0);
        // A jump is closed by a step of 10 ms from the last frame, whatever the length of that is.
        let step = next.start - (last.start + last.duration);
        assert!(step.millis().abs() <= 40, "{step:?}");
        assert_eq!(read(&next)[0].2.slice(5..), &b"other"[..]);
    }

    #[test]
    fn other_headers_begin_another_fragment() {
        let (mut mux, mut fragmenter) =
            (Mux::new(MuxOptions::default()), Fragmenter::new(Micros::from_secs(10)));
        announce(&mut mux, &mut fragmenter, &tracks(b"avcC"));
        put(&mut mux, &mut fragmenter, 0..1000);
        assert!(announce(&mut mux, &mut fragmenter, &tracks(b"avcC")).is_empty(), "the same again");
        let made = announce(&mut mux, &mut fragmenter, &tracks(b"other"));
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].duration.millis(), 1020);
    }

    #[test]
    fn sound_alone_is_cut_by_its_length() {
        let mut fragmenter = Fragmenter::new(Micros::from_secs(2));
        let mut mux = Mux::new(MuxOptions::default());
        let all = tracks(b"");
        let mut sound = Tracks::default();
        sound.set(all.find(TrackId::AUDIO).unwrap().clone());
        announce(&mut mux, &mut fragmenter, &sound);
        let mut units = Vec::new();
        for ms in (0..5000).step_by(20) {
            let time = Micros::from_millis(ms);
            let data = Bytes::from_static(b"sound");
            mux.frame(&Frame { track: TrackId::AUDIO, dts: time, pts: time, key: true, data }, &mut units);
        }
        let made: Vec<_> = units.iter().filter_map(|unit| fragmenter.take(unit)).collect();
        assert_eq!(made.iter().map(|f| f.duration.millis()).collect::<Vec<_>>(), [2000, 2000]);
    }
}
