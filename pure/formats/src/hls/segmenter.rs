//! The form of a stream in segments of TS. It runs in the publisher's thread and is read by one reader, who gives the segments their names and
//! places.

use std::sync::Arc;

use bytes::Bytes;
use media::{Frame, Kind, Micros, Place, Remux, Sound, Stamped, TrackId, Tracks};

use super::cutter::VOID;
use super::samples::Samples;
use super::{About, Cut, Cutter, CutterOptions, Segment};
use crate::ts;

/// A step in the making of segments.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A segment is opened, in which this is. A reader who has missed this passes over what comes before the next one.
    Begin(Arc<About>),
    /// Bytes to append to it: whole TS packets. The first ones are the tables.
    Data(Bytes),
    /// It is complete.
    End(Segment),
    /// It was too short, and is to be thrown away.
    Void,
}

impl media::Unit for Piece {
    fn size(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            _ => 0,
        }
    }
}

/// What segments are made of, and how.
#[derive(Clone, Debug)]
pub struct SegmenterOptions {
    /// Where they end.
    pub cutter: CutterOptions,
    /// Audio is carried.
    pub audio: bool,
    /// Video is carried.
    pub video: bool,
    /// `hls_dts_directly off`: the time of AAC is counted by its samples.
    pub audio_by_samples: bool,
    /// The bytes after which a piece of data is handed on.
    pub chunk: usize,
    /// The bytes after which a segment ends at any frame, lest it grow for ever when the time stands still.
    pub max_bytes: usize,
}

impl Default for SegmenterOptions {
    fn default() -> Self {
        Self {
            cutter: CutterOptions::default(),
            audio: true,
            video: true,
            audio_by_samples: false,
            chunk: 64 << 10,
            max_bytes: 64 << 20,
        }
    }
}

/// Cuts the main tracks of a stream, as far as TS carries them, into segments. Nothing is kept for those who join later. It may run on when one
/// publisher follows another.
#[derive(Debug)]
pub struct Segmenter {
    cutter: Cutter,
    packer: ts::Packer,
    tracks: Tracks,
    about: Arc<About>,
    audio_by_samples: bool,
    samples: Option<Samples>,
    chunk: usize,
    max_bytes: usize,
    /// The end of the open segment, not handed on yet.
    buffer: Vec<u8>,
    /// Bytes of the open segment that are handed on.
    done: usize,
    /// All frames of the open segment, as long as it is too short to be kept.
    young: Option<Vec<Frame>>,
    /// The time of the newest frame.
    now: Micros,
}

/// How much audio shares a PES packet beside video: little, so that they stay close to each other.
const GATHER: Micros = Micros::from_millis(100);
/// How much audio shares a PES packet on its own.
const GATHER_ALONE: Micros = Micros::from_millis(720);
/// How many frames of a young segment are remembered; time may stand still.
const YOUNG: usize = 64;

impl Segmenter {
    /// Before the first publisher.
    pub fn new(options: SegmenterOptions) -> Self {
        let SegmenterOptions { cutter, audio, video, audio_by_samples, chunk, max_bytes } = options;
        let gather = if video { GATHER } else { GATHER_ALONE };
        Self {
            cutter: Cutter::new(cutter),
            packer: ts::Packer::new(ts::PackerOptions { audio, video, gather }),
            tracks: Tracks::default(),
            about: Arc::default(),
            audio_by_samples,
            samples: None,
            chunk,
            max_bytes,
            buffer: Vec::new(),
            done: 0,
            young: None,
            now: Micros::ZERO,
        }
    }

    /// The stream does not go on as it was.
    fn restart(&mut self, out: &mut Vec<Stamped<Piece>>) {
        let cut = self.cutter.restart(self.packer.has(Kind::Video));
        self.end(cut, out);
    }

    /// The stream goes on as it was, and with one more track. A segment that has only just begun begins anew with it: the keyframe in it
    /// is needed.
    fn widen(&mut self, out: &mut Vec<Stamped<Piece>>) {
        let young = self.young.take();
        self.restart(out);
        for frame in young.into_iter().flatten() {
            if let Some(ready) = self.packer.admit(&frame) {
                self.take(&frame, ready, out);
            }
        }
    }

    fn kinds(&self) -> [bool; 2] {
        [Kind::Video, Kind::Audio].map(|kind| self.packer.has(kind))
    }

    fn take(&mut self, frame: &Frame, ready: ts::Ready<'_>, out: &mut Vec<Stamped<Piece>>) {
        let full = self.done + self.buffer.len() >= self.max_bytes;
        let verdict = self.cutter.frame(frame, full);
        self.end(verdict.cut, out);
        if !verdict.taken {
            return;
        }
        if self.done == 0 && self.buffer.is_empty() {
            self.begin(out);
        }
        self.remember(frame);
        self.packer.pack(frame, ready, &mut self.buffer);
        if self.buffer.len() >= self.chunk {
            self.hand_on(out);
        }
    }

    fn remember(&mut self, frame: &Frame) {
        let Some(young) = &mut self.young else { return };
        young.push(frame.clone());
        let age = young.first().map_or(Micros::ZERO, |first| frame.dts - first.dts);
        if age >= VOID || young.len() >= YOUNG {
            self.young = None;
        }
    }

    fn begin(&mut self, out: &mut Vec<Stamped<Piece>>) {
        self.packer.tables(&mut self.buffer);
        let tracks = self.tracks.video().into_iter().chain(self.tracks.audio());
        let about = About::of_tracks(tracks.filter(|track| self.packer.lists(track.id.kind)));
        if *self.about != about {
            self.about = Arc::new(about);
        }
        self.push(Piece::Begin(self.about.clone()), out);
        self.young = Some(Vec::new());
    }

    /// Ends the open segment, if the cutter says so.
    fn end(&mut self, cut: Option<Cut>, out: &mut Vec<Stamped<Piece>>) {
        let Some(cut) = cut else { return };
        self.packer.flush(&mut self.buffer);
        self.young = None;
        match cut {
            Cut::Segment(segment) => {
                self.hand_on(out);
                self.push(Piece::End(segment), out);
            }
            Cut::Void => {
                self.buffer.clear();
                self.push(Piece::Void, out);
            }
        }
        self.done = 0;
    }

    fn hand_on(&mut self, out: &mut Vec<Stamped<Piece>>) {
        if self.buffer.is_empty() {
            return;
        }
        self.done += self.buffer.len();
        // A copy, of just this size: the reader may keep it for long, and the buffer is ready for the next piece.
        let data = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        // One large keyframe must not make the buffer large for ever.
        self.buffer.shrink_to(self.chunk.saturating_mul(2));
        self.push(Piece::Data(data), out);
    }

    fn push(&self, unit: Piece, out: &mut Vec<Stamped<Piece>>) {
        let place = Place::Media { track: TrackId::VIDEO, key: false };
        out.push(Stamped { time: self.now, place, unit });
    }
}

impl Remux for Segmenter {
    type Unit = Piece;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Piece>>) {
        let before = self.kinds();
        // None at all when the publisher leaves.
        if !self.packer.tracks(tracks) {
            return;
        }
        self.tracks = tracks.clone();
        let audio = tracks.audio().filter(|_| self.audio_by_samples);
        self.samples = audio.and_then(Samples::of);
        let now = self.kinds();
        if now != before && now.iter().zip(before).all(|(now, before)| *now || !before) {
            self.widen(out);
        } else {
            self.restart(out);
        }
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Piece>>) {
        let retimed;
        let frame = match &mut self.samples {
            Some(samples) if frame.track == TrackId::AUDIO => {
                retimed = samples.retime(frame);
                &retimed
            }
            _ => frame,
        };
        let Some(ready) = self.packer.admit(frame) else { return };
        self.now = frame.dts;
        if self.cutter.is_open() && self.packer.needs_tables(frame) {
            // A track that was announced long ago has come to life.
            self.widen(out);
        }
        self.take(frame, ready, out);
    }

    fn sound(&self) -> Sound {
        Sound::Aac
    }
}

#[cfg(test)]
mod tests {
    use media::codec::{Codec, aac, av1, h264, mp3};
    use media::{Dialect, Track};
    use proptest::prelude::*;

    use super::*;
    use crate::ts::reader::{Item, Pes, Program, Reader};

    const VIDEO_PID: u16 = 0x100;
    const AAC_PID: u16 = 0x101;

    fn h264() -> Codec {
        let set = |bytes: &'static [u8]| vec![Bytes::from_static(bytes)];
        Codec::H264(h264::Config { sps: set(&[0x67, 1, 2, 3]), pps: set(&[0x68, 4]), ..Default::default() })
    }

    fn aac() -> Codec {
        Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap())
    }

    fn tracks(list: impl IntoIterator<Item = (TrackId, Codec)>) -> Tracks {
        let mut tracks = Tracks::default();
        for (id, codec) in list {
            tracks.set(Track { id, codec, config: Bytes::new(), dialect: Dialect::Standard });
        }
        tracks
    }

    fn both() -> Tracks {
        tracks([(TrackId::VIDEO, h264()), (TrackId::AUDIO, aac())])
    }

    fn sound_only() -> Tracks {
        tracks([(TrackId::AUDIO, aac())])
    }

    fn options() -> SegmenterOptions {
        let cutter = CutterOptions { fragment: Micros::from_secs(2), ..Default::default() };
        SegmenterOptions { cutter, ..Default::default() }
    }

    fn picture(ms: i64, key: bool) -> Frame {
        let data = if key { &[0, 0, 0, 2, 0x65, 0x88] } else { &[0, 0, 0, 2, 0x41, 0x9a] };
        let time = Micros::from_millis(ms);
        Frame { track: TrackId::VIDEO, dts: time, pts: time, key, data: Bytes::from_static(data) }
    }

    fn sound(ms: i64) -> Frame {
        let time = Micros::from_millis(ms);
        Frame { track: TrackId::AUDIO, dts: time, pts: time, key: true, data: Bytes::from_static(b"sound") }
    }

    /// 25 fps with a keyframe every `gop` ms, and AAC of 44.1 kHz as RTMP rounds it, in the order of time.
    fn stream(from: i64, to: i64, gop: i64) -> impl Iterator<Item = Frame> {
        let mut next = (0, 0);
        std::iter::from_fn(move || {
            let (video, audio) = (from + next.0 * 40, from + next.1 * 1_024_000 / 44_100);
            (video.min(audio) < to).then(|| {
                if video <= audio {
                    next.0 += 1;
                    picture(video, (video - from) % gop == 0)
                } else {
                    next.1 += 1;
                    sound(audio)
                }
            })
        })
    }

    /// A segment as its reader has it.
    struct Made {
        about: Arc<About>,
        segment: Segment,
        bytes: Vec<u8>,
        items: Vec<Item>,
    }

    impl Made {
        fn programs(&self) -> Vec<&Program> {
            self.items.iter().filter_map(|i| if let Item::Program(p) = i { Some(p) } else { None }).collect()
        }

        fn pes(&self, pid: u16) -> impl Iterator<Item = &Pes> {
            self.items
                .iter()
                .filter_map(|i| if let Item::Pes(p) = i { Some(p) } else { None })
                .filter(move |p| p.pid == pid)
        }

        /// Start and duration in ms, and whether it is discontinuous.
        fn times(&self) -> (i64, i64, bool) {
            let Segment { start, duration, discontinuity } = self.segment;
            (start.millis(), duration.millis(), discontinuity)
        }
    }

    /// A segmenter, and the reader of its pieces.
    struct Room {
        segmenter: Segmenter,
        pieces: Vec<Stamped<Piece>>,
    }

    impl Room {
        fn new(options: SegmenterOptions) -> Self {
            Self { segmenter: Segmenter::new(options), pieces: Vec::new() }
        }

        fn tracks(&mut self, tracks: &Tracks) {
            self.segmenter.tracks(tracks, &mut self.pieces);
        }

        fn frames(&mut self, frames: impl IntoIterator<Item = Frame>) {
            frames.into_iter().for_each(|frame| self.segmenter.frame(&frame, &mut self.pieces));
        }

        fn leave(&mut self) {
            self.tracks(&Tracks::default());
        }

        /// All segments that are complete. Those without a discontinuity are read as one stream.
        fn made(&mut self) -> Vec<Made> {
            let mut made: Vec<Made> = Vec::new();
            let mut bytes: Option<Vec<u8>> = None;
            let mut about = Arc::default();
            for Stamped { place, unit, .. } in self.pieces.drain(..) {
                assert_eq!(place, Place::Media { track: TrackId::VIDEO, key: false });
                match unit {
                    Piece::Begin(now) => {
                        about = now;
                        assert!(bytes.replace(Vec::new()).is_none());
                    }
                    Piece::Data(data) => {
                        assert!(!data.is_empty() && data.len().is_multiple_of(ts::PACKET));
                        bytes.as_mut().unwrap().extend_from_slice(&data);
                    }
                    Piece::End(segment) => {
                        let bytes = bytes.take().unwrap();
                        made.push(Made { about: about.clone(), segment, bytes, items: Vec::new() });
                    }
                    Piece::Void => assert!(bytes.take().is_some()),
                }
            }
            for run in made.chunk_by_mut(|_, next| !next.segment.discontinuity) {
                let mut whole = Reader::default();
                for made in run {
                    whole.receive(&made.bytes);
                    let mut reader = Reader::default();
                    reader.receive(&made.bytes);
                    made.items = reader.finish();
                    assert_eq!(made.bytes[..3], [0x47, 0x40, 0], "the PAT");
                    assert_eq!(made.programs().len(), 1, "and only one");
                    assert!(matches!(made.items[0], Item::Program(_)));
                }
                whole.finish();
            }
            made
        }

        fn times(&mut self) -> Vec<(i64, i64, bool)> {
            self.made().iter().map(Made::times).collect()
        }
    }

    #[test]
    fn an_hour_without_a_gap() {
        let mut room = Room::new(options());
        room.tracks(&both());
        room.frames(stream(0, 3_600_000, 2000));
        room.leave();
        let made = room.made();
        assert_eq!(made.len(), 1800);
        let (mut pictures, mut sounds) = (0, 0);
        for (n, made) in (0..).zip(&made) {
            let (start, duration, discontinuity) = made.times();
            assert_eq!((start, discontinuity), (n * 2000, n == 0));
            let end = if n < 1799 { 2000 } else { 2021 };
            assert_eq!(duration, end, "the last one goes on to the end of the last sound");
            let mut items = made.items.iter();
            items.next();
            let Some(Item::Pes(first)) = items.next() else { panic!("no media") };
            assert!(first.pid == VIDEO_PID && first.random_access);
            for pes in made.pes(VIDEO_PID) {
                assert_eq!(pes.dts, pictures * 3600);
                pictures += 1;
            }
            for pes in made.pes(AAC_PID) {
                assert_eq!(pes.dts, sounds * 1_024_000 / 44_100 * 90);
                sounds += pes.data.len() as u64 / 12;
            }
        }
        assert_eq!((pictures, sounds), (90_000, 155_040), "every frame is there, once and in order");
    }

    #[test]
    fn all_cuts_of_the_bytes_are_the_same_segments() {
        let run = |chunk| {
            let mut room = Room::new(SegmenterOptions { chunk, ..options() });
            room.tracks(&both());
            room.frames(stream(0, 5000, 2000));
            room.leave();
            let largest = room.pieces.iter().map(|p| media::Unit::size(&p.unit)).max().unwrap();
            (largest, room.made())
        };
        let (largest, whole) = run(usize::MAX);
        assert_eq!(largest, whole[0].bytes.len(), "one piece");
        for chunk in [0, 1000, 5000] {
            let (largest, made) = run(chunk);
            assert!(largest < chunk + 1000);
            assert!(
                made.iter().map(|m| (&m.bytes, m.segment)).eq(whole.iter().map(|m| (&m.bytes, m.segment)))
            );
        }
    }

    #[test]
    fn the_last_segment_is_written_when_the_publisher_leaves() {
        let mut room = Room::new(options());
        for start in [0, 700_000] {
            room.tracks(&both());
            room.frames(stream(start, start + 2500, 2000));
            room.leave();
            room.leave();
            let made = room.made();
            let times: Vec<_> = made.iter().map(Made::times).collect();
            assert_eq!(times[..], [(start, 2000, true), (start + 2000, 520, false)]);
            assert_eq!(made[1].pes(VIDEO_PID).count(), 13);
            let sounds: usize = made.iter().flat_map(|m| m.pes(AAC_PID)).map(|pes| pes.data.len() / 12).sum();
            assert_eq!(sounds, 108, "with the sound that was still gathered");
        }
    }

    #[test]
    fn what_is_said_again_changes_nothing() {
        let mut room = Room::new(options());
        let mut tracks = both();
        room.tracks(&tracks);
        for from in [0, 1000, 2000] {
            room.frames(stream(from, from + 1000, 1000));
            room.tracks(&tracks);
            tracks.metadata = Some(Bytes::copy_from_slice(&[from as u8]));
            room.tracks(&tracks);
            room.tracks(&both());
        }
        assert_eq!(room.times(), [(0, 2000, true)]);
    }

    #[test]
    fn other_tracks_begin_a_segment() {
        let mut room = Room::new(options());
        // Tracks become known one by one.
        room.tracks(&sound_only());
        room.tracks(&both());
        room.frames(stream(0, 1000, 2000));
        let Codec::H264(config) = h264() else { unreachable!() };
        let larger = Codec::H264(h264::Config { sps: vec![Bytes::from_static(&[0x67, 9])], ..config });
        room.tracks(&tracks([(TrackId::VIDEO, larger), (TrackId::AUDIO, aac())]));
        // Sound goes on at once, pictures with their next keyframe.
        room.frames([
            sound(1000),
            picture(1000, false),
            sound(1023),
            picture(1040, true),
            picture(1080, false),
        ]);
        room.leave();
        let made = room.made();
        assert_eq!(made[0].times(), (0, 1021, true));
        assert_eq!(made[1].times(), (1000, 120, true));
        assert_eq!(made[1].pes(VIDEO_PID).map(|pes| pes.dts / 90).collect::<Vec<_>>(), [1040, 1080]);
    }

    #[test]
    fn sound_that_begins_long_before_the_pictures() {
        // The video track is announced with its first picture.
        let mut room = Room::new(options());
        room.tracks(&sound_only());
        room.frames((0..120_000).step_by(20).map(sound));
        room.tracks(&both());
        room.frames(stream(90_000, 95_000, 2000));
        let made = room.made();
        assert!(made[..60].iter().all(|m| m.segment.duration == Micros::from_secs(2)));
        assert_eq!(made[59].programs()[0].streams, [(AAC_PID, 0x0f)]);
        assert_eq!(made[60].times(), (90_000, 2000, true));
        // It was announced at once, but kept silent.
        let mut room = Room::new(options());
        room.tracks(&both());
        room.frames((0..10_000).step_by(20).map(sound));
        room.frames(stream(10_000, 14_100, 2000));
        let made = room.made();
        let times: Vec<_> = made.iter().map(Made::times).collect();
        let want = [
            (0, 4200, true),
            (4200, 2000, false),
            (6200, 2000, false),
            (8200, 1800, false),
            (10_000, 2000, true),
            (12_000, 2000, false),
        ];
        assert_eq!(times, want);
        assert_eq!(made[3].programs()[0].streams, [(AAC_PID, 0x0f)], "players need not wait for pictures");
        assert_eq!(made[4].programs()[0].streams, [(VIDEO_PID, 0x1b), (AAC_PID, 0x0f)]);
    }

    #[test]
    fn a_track_that_comes_at_once_costs_no_keyframe() {
        // MP3 has no header: its first frame announces it.
        let mp3 = Codec::Mp3(mp3::Config { sample_rate: 44_100, channels: 2, bitrate: None });
        let mut room = Room::new(options());
        room.tracks(&tracks([(TrackId::VIDEO, h264())]));
        room.frames([picture(0, true), picture(40, false)]);
        room.tracks(&tracks([(TrackId::VIDEO, h264()), (TrackId::AUDIO, mp3)]));
        room.frames(stream(40, 2100, 100_000).skip(1));
        room.frames([picture(2120, true)]);
        let made = room.made();
        assert_eq!(made[0].times(), (0, 2120, true));
        assert_eq!(made[0].programs()[0].streams, [(VIDEO_PID, 0x1b), (0x102, 0x03)]);
        assert_eq!(made[0].pes(VIDEO_PID).count(), 53);
        // A track that was announced long ago comes to life just behind a keyframe.
        let mut room = Room::new(options());
        room.tracks(&both());
        room.frames((0..6000).step_by(40).map(|ms| picture(ms, ms % 2000 == 0)));
        room.frames(stream(6000, 8100, 2000));
        let made = room.made();
        let times: Vec<_> = made.iter().map(Made::times).collect();
        assert_eq!(
            times,
            [(0, 2000, true), (2000, 2000, false), (4000, 2000, false), (6000, 2000, true)],
            "without the silent track, then with it"
        );
        assert_eq!(made[3].programs()[0].streams, [(VIDEO_PID, 0x1b), (AAC_PID, 0x0f)]);
        assert_eq!(made[3].pes(VIDEO_PID).count(), 50);
        // Other parameters make the frames before them useless.
        let mut room = Room::new(options());
        room.tracks(&both());
        room.frames([picture(0, true), picture(40, false)]);
        room.tracks(&sound_only());
        room.tracks(&both());
        room.frames(stream(2000, 4100, 2000));
        assert_eq!(room.times(), [(2000, 2000, true)]);
    }

    #[test]
    fn a_short_piece_of_stream_leaves_no_trace() {
        let mut room = Room::new(options());
        room.tracks(&sound_only());
        room.frames([sound(0), sound(23)]);
        room.tracks(&both());
        room.frames([picture(0, true), picture(40, false)]);
        room.leave();
        assert_eq!(room.times(), []);
        room.tracks(&both());
        room.frames(stream(0, 2100, 2000));
        let made = room.made();
        assert_eq!(made[0].times(), (0, 2000, true));
        assert_eq!(made[0].pes(VIDEO_PID).next().unwrap().dts, 0);
    }

    #[test]
    fn what_ts_does_not_carry_is_not_there() {
        let av1 = Codec::Av1(av1::Config::default());
        let more = TrackId { index: 1, ..TrackId::VIDEO };
        let all = tracks([
            (TrackId::VIDEO, av1),
            (more, h264()),
            (TrackId::AUDIO, aac()),
            (TrackId::DATA, Codec::Amf),
        ]);
        let mut room = Room::new(options());
        room.tracks(&all);
        room.frames(stream(0, 2100, 100_000).flat_map(|frame| {
            let same = |track| Frame { track, ..frame.clone() };
            [same(more), same(TrackId::DATA), frame.clone()]
        }));
        let made = room.made();
        assert_eq!(made.len(), 1, "cut by sound");
        assert_eq!(made[0].programs()[0].streams, [(AAC_PID, 0x0f)]);
    }

    #[test]
    fn kinds_can_be_left_out() {
        for (audio, video, want, packets) in
            [(false, true, (VIDEO_PID, 0x1b), 50), (true, false, (AAC_PID, 0x0f), 3)]
        {
            let mut room = Room::new(SegmenterOptions { audio, video, ..options() });
            room.tracks(&both());
            room.frames(stream(0, 2100, 2000));
            let made = room.made();
            assert_eq!(made[0].programs()[0].streams, [want]);
            assert_eq!(made[0].segment.duration.millis(), if video { 2000 } else { 2020 });
            assert_eq!(made[0].pes(want.0).count(), packets, "sound on its own shares few packets");
        }
    }

    #[test]
    fn what_is_in_a_segment_is_told_with_it() {
        let mut room = Room::new(options());
        let mut tracks = both();
        let config = Bytes::from_static(&[0x12, 0x10]);
        tracks.set(Track { id: TrackId::AUDIO, codec: aac(), config, dialect: Dialect::Standard });
        room.tracks(&tracks);
        // Sound is announced, and comes late.
        room.frames((0..200).map(|n| picture(n * 40, n % 50 == 0)));
        room.frames(stream(8000, 12_000, 2000));
        room.leave();
        let told: Vec<_> = room.made().iter().map(|made| made.about.codecs.clone()).collect();
        let (pictures, all) = ("avc1.010203", "avc1.010203,mp4a.40.2");
        assert_eq!(told, [all, pictures, pictures, pictures, all, all]);
    }

    #[test]
    fn mp3_on_its_own() {
        let mp3 = mp3::Config { sample_rate: 44_100, channels: 2, bitrate: None };
        let mut room = Room::new(options());
        room.tracks(&tracks([(TrackId::AUDIO, Codec::Mp3(mp3))]));
        room.frames((0..2100).step_by(25).map(sound));
        let made = room.made();
        assert_eq!(made[0].times(), (0, 2000, true));
        assert_eq!(made[0].programs()[0].streams, [(0x102, 0x03)]);
        assert_eq!(made[0].pes(0x102).map(|pes| pes.data.len()).sum::<usize>(), 80 * b"sound".len());
    }

    #[test]
    fn time_that_stands_still_fills_no_memory() {
        let mut room = Room::new(SegmenterOptions { max_bytes: 10_000, chunk: 1000, ..options() });
        room.tracks(&both());
        room.frames((0..1000).map(|n| picture(5, n % 50 == 0)));
        let voids = room.pieces.iter().filter(|p| p.unit == Piece::Void).count();
        assert_eq!(voids, 10, "of 100 frames, the half of them without their keyframe");
        // Very many bytes for their time, but not none.
        room.frames((0..300).map(|n| picture(5 + n * 4, n == 0)));
        let made = room.made();
        assert!(made.len() > 3);
        assert!(made.iter().all(|made| made.bytes.len() < 11_000 && made.times().1 > 150));
    }

    #[test]
    fn time_by_samples() {
        let mut room = Room::new(SegmenterOptions { audio_by_samples: true, video: false, ..options() });
        room.tracks(&both());
        let frames = |from: i64| (0..100).map(move |n| sound(from + n * 1_024_000 / 44_100));
        room.frames(frames(0));
        // The publisher's clock is a little off, then far off.
        room.frames((0..100).map(|n| sound(2331 + n * 23)));
        let lag = room.segmenter.now;
        room.frames(frames(9000));
        room.leave();
        assert_eq!(lag.0, 199 * 1024 * 1_000_000 / 44_100);
        assert_eq!(room.segmenter.now.0, 9_000_000 + 99 * 1024 * 1_000_000 / 44_100);
        // Other codecs keep their time.
        let mut room = Room::new(SegmenterOptions { audio_by_samples: true, ..options() });
        room.tracks(&tracks([(TrackId::VIDEO, h264()), (TrackId::AUDIO, Codec::Speex)]));
        room.frames([sound(5), picture(10, true)]);
        assert_eq!(room.segmenter.now.millis(), 10);
    }

    proptest! {
        #[test]
        fn any_stream_makes_readable_segments(
            steps in prop::collection::vec((0..12u8, any::<bool>(), prop_oneof![
                8 => -100i64..300,
                1 => -5000i64..15_000,
                1 => any::<i32>().prop_map(i64::from),
            ]), 0..200),
            chunk in 0usize..3000,
            max_bytes in 2000usize..40_000,
            audio_by_samples: bool,
        ) {
            let mut room = Room::new(SegmenterOptions { chunk, max_bytes, audio_by_samples, ..options() });
            let mut now = 0;
            for (what, key, step) in steps {
                now += step;
                match what {
                    0 => room.tracks(&both()),
                    1 => room.tracks(&sound_only()),
                    2 => room.tracks(&tracks([(TrackId::VIDEO, h264())])),
                    3 => room.leave(),
                    4..=7 => room.frames([picture(now, key)]),
                    _ => room.frames([sound(now)]),
                }
            }
            room.leave();
            let mut follows = None;
            for Made { segment, .. } in room.made() {
                prop_assert!(segment.duration >= Micros::from_millis(100));
                prop_assert!(segment.discontinuity || follows == Some(segment.start));
                follows = Some(segment.start + segment.duration);
            }
        }
    }
}
