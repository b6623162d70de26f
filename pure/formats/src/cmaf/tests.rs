//! Streams as publishers send them, and what a reader makes of the chunks.

use bytes::Bytes;
use media::codec::{Codec, aac, h264};
use media::{Dialect, Frame, Kind, Micros, Place, Remux, Stamped, Track, TrackId, Tracks};
use mp4_atom::{Any, DecodeMaybe};
use proptest::prelude::*;

use super::*;

const AVCC: &[u8] = &[1, 100, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 100, 0, 31, 1, 0, 1, 0x68];
const OTHER: &[u8] = &[1, 77, 0, 30, 0xff, 0xe1, 0, 4, 0x67, 77, 0, 30, 1, 0, 1, 0x68];

fn video(record: &'static [u8]) -> Track {
    let codec = Codec::H264(h264::Config::parse(record).unwrap());
    let config = Bytes::from_static(record);
    Track { id: TrackId::VIDEO, codec, config, dialect: Dialect::Standard }
}

fn audio() -> Track {
    let codec = Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap());
    Track { id: TrackId::AUDIO, codec, config: Bytes::from_static(&[0x12, 0x10]), dialect: Dialect::Standard }
}

fn tracks(list: impl IntoIterator<Item = Track>) -> Tracks {
    let mut tracks = Tracks::default();
    list.into_iter().for_each(|track| assert!(tracks.set(track)));
    tracks
}

fn both() -> Tracks {
    tracks([video(AVCC), audio()])
}

/// A picture, shown 80 ms after it is decoded, whose payload tells its time.
fn picture(ms: i64, key: bool) -> Frame {
    let dts = Micros::from_millis(ms);
    let data = format!("v{ms};").into();
    Frame { track: TrackId::VIDEO, dts, pts: dts + Micros::from_millis(80), key, data }
}

fn sound(ms: i64) -> Frame {
    let dts = Micros::from_millis(ms);
    Frame { track: TrackId::AUDIO, dts, pts: dts, key: true, data: format!("a{ms};").into() }
}

/// 25 fps with a keyframe every `gop` ms, and AAC of 44.1 kHz as RTMP rounds it, in the order of time.
fn stream(from: i64, to: i64, gop: i64) -> Vec<Frame> {
    let pictures = (from..to).step_by(40).map(|ms| picture(ms, (ms - from) % gop == 0));
    let sounds = (0..).map(|n| from + n * 1_024_000 / 44_100).take_while(|ms| *ms < to).map(sound);
    let mut all: Vec<Frame> = pictures.chain(sounds).collect();
    all.sort_by_key(|frame| frame.dts);
    all
}

/// The form, and what it made.
struct Room {
    mux: Mux,
    made: Vec<Stamped<Piece>>,
}

impl Room {
    fn new(part: i64) -> Self {
        Self { mux: Mux::new(MuxOptions { part: Micros::from_millis(part) }), made: Vec::new() }
    }

    fn tracks(&mut self, tracks: &Tracks) {
        self.mux.tracks(tracks, &mut self.made);
    }

    fn frames(&mut self, frames: impl IntoIterator<Item = Frame>) {
        frames.into_iter().for_each(|frame| self.mux.frame(&frame, &mut self.made));
    }

    fn leave(&mut self) {
        self.tracks(&Tracks::default());
    }

    /// The chunks, of which each is looked over; and the inits, with the number of chunks before each.
    fn made(&mut self) -> (Vec<Chunk>, Vec<(usize, Arc<Init>)>) {
        let (mut chunks, mut inits) = (Vec::<Chunk>::new(), Vec::new());
        let (mut pictures, mut sounds, mut floors) = (None::<u64>, None::<u64>, [None::<u64>; 2]);
        for Stamped { time, place, unit } in self.made.drain(..) {
            match unit {
                Piece::Init(init) => {
                    assert_eq!(place, Place::Init { slot: 0 });
                    inits.push((chunks.len(), init));
                }
                Piece::Chunk(chunk) => {
                    assert_eq!(place, Place::Media { track: TrackId::VIDEO, key: chunk.independent });
                    assert_eq!(time, chunk.start);
                    let before = chunks.last().map(Chunk::end);
                    match before {
                        Some(end) if chunk.discontinuity => assert!(chunk.start >= end),
                        before => assert_eq!(before.unwrap_or(chunk.start), chunk.start),
                    }
                    let (_, init) = inits.last().unwrap();
                    if chunk.discontinuity {
                        floors = [pictures.take().max(floors[0]), sounds.take().max(floors[1])];
                    }
                    for (part, end, floor, has) in [
                        (&chunk.video, &mut pictures, floors[0], init.video.is_some()),
                        (&chunk.audio, &mut sounds, floors[1], init.audio.is_some()),
                    ] {
                        let Some(part) = part else { continue };
                        assert!(has);
                        assert!(end.is_none_or(|end| end == part.start));
                        assert!(floor <= Some(part.start));
                        *end = Some(part.start + part.duration);
                        look_over(part);
                    }
                    chunks.push(chunk);
                }
            }
        }
        (chunks, inits)
    }
}

/// The boxes say the same as the part.
fn look_over(part: &Part) {
    let bytes = &mut &part.bytes[..];
    let (Some(Any::Moof(moof)), Some(Any::Mdat(mdat))) =
        (Any::decode_maybe(bytes).unwrap(), Any::decode_maybe(bytes).unwrap())
    else {
        panic!("boxes")
    };
    assert!(bytes.is_empty());
    let traf = &moof.traf[0];
    let samples: Vec<_> = traf.trun[0].samples.iter().collect();
    let usual = traf.tfhd.default_sample_duration.unwrap();
    let duration: u64 = samples.iter().map(|s| u64::from(s.duration.unwrap_or(usual))).sum();
    let size: usize = samples.iter().map(|s| s.size.unwrap() as usize).sum();
    assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, part.start);
    assert_eq!((duration, size, samples.len()), (part.duration, mdat.data.len(), part.frames));
}

/// The payloads of all parts of a track, one behind the other.
fn payload(chunks: &[Chunk], kind: Kind) -> String {
    let parts =
        chunks.iter().filter_map(|c| if kind == Kind::Video { c.video.as_ref() } else { c.audio.as_ref() });
    let data = parts.flat_map(|part| {
        let moof = crate::mp4::header(&part.bytes).unwrap().size as usize;
        part.bytes[moof + 8..].to_vec()
    });
    String::from_utf8(data.collect()).unwrap()
}

fn times(frames: &[Frame], kind: Kind) -> String {
    let of_kind = frames.iter().filter(|frame| frame.track.kind == kind);
    of_kind.map(|frame| std::str::from_utf8(&frame.data).unwrap()).collect()
}

/// Start and duration in ms, and whether it is independent and discontinuous.
fn told(chunks: &[Chunk]) -> Vec<(i64, i64, bool, bool)> {
    let told = |c: &Chunk| (c.start.millis(), c.duration.millis(), c.independent, c.discontinuity);
    chunks.iter().map(told).collect()
}

#[test]
fn a_stream_in_parts() {
    let mut room = Room::new(400);
    room.tracks(&both());
    let frames = stream(5000, 7000, 1000);
    room.frames(frames.clone());
    room.leave();
    let (chunks, inits) = room.made();
    let want = [
        (0, 400, true, true),
        (400, 400, false, false),
        (800, 200, false, false),
        (1000, 400, true, false),
        (1400, 400, false, false),
        (1800, 200, false, false),
    ];
    assert_eq!(told(&chunks), want);
    for kind in [Kind::Video, Kind::Audio] {
        assert_eq!(payload(&chunks, kind), times(&frames, kind), "nothing is lost or doubled");
    }
    assert_eq!(inits.len(), 1);
    let init = &inits[0].1;
    assert_eq!(init.codecs(), "avc1.64001f,mp4a.40.2");
    assert_eq!(init.video.as_ref().unwrap().about.fps, Some(25.0));
    // Sound goes with its pictures, to within a frame, and its times are even.
    for chunk in &chunks {
        let (video, audio) = (chunk.video.as_ref().unwrap(), chunk.audio.as_ref().unwrap());
        assert!(audio.start.is_multiple_of(1024));
        let (video, audio) = (video.start * 10 / 900, audio.start * 1000 / 44_100);
        assert!(audio + 1 >= video && audio < video + 24, "{video} {audio}");
    }
}

#[test]
fn sound_alone_and_pictures_alone() {
    let mut room = Room::new(400);
    room.tracks(&tracks([audio()]));
    let frames = stream(0, 2000, 1000);
    room.frames(frames.iter().filter(|f| f.track.kind == Kind::Audio).cloned());
    room.leave();
    let (chunks, _) = room.made();
    assert!(chunks.iter().all(|c| c.independent && c.duration <= Micros::from_millis(402)));
    assert_eq!((chunks.len(), payload(&chunks, Kind::Audio)), (6, times(&frames, Kind::Audio)));
    room.tracks(&tracks([video(AVCC)]));
    room.frames(frames.iter().filter(|f| f.track.kind == Kind::Video).cloned());
    room.leave();
    let (chunks, _) = room.made();
    assert_eq!((chunks.len(), payload(&chunks, Kind::Video)), (6, times(&frames, Kind::Video)));
}

/// Both tracks are announced; one never comes, or comes late.
#[test]
fn a_silent_track_is_not_waited_for() {
    let mut room = Room::new(400);
    room.tracks(&both());
    room.frames((0..3000).step_by(40).map(|ms| picture(ms, ms % 1000 == 0)));
    let frames = stream(3000, 5000, 1000);
    room.frames(frames.clone());
    room.leave();
    let (chunks, inits) = room.made();
    let codecs: Vec<_> = inits.iter().map(|(at, init)| (chunks[*at].start.millis(), init.codecs())).collect();
    let want = [(0, "avc1.64001f".to_owned()), (3000, "avc1.64001f,mp4a.40.2".to_owned())];
    assert_eq!(codecs.len(), 2);
    assert_eq!(codecs[0], want[0]);
    assert!(codecs[1].0 >= 3000 && codecs[1].1 == want[1].1);
    assert!(
        payload(&chunks, Kind::Video).ends_with(&times(&frames, Kind::Video)),
        "no picture is lost for it"
    );
}

#[test]
fn a_track_that_falls_silent_is_let_go() {
    let mut room = Room::new(400);
    room.tracks(&both());
    room.frames(stream(0, 2000, 1000));
    room.frames((2000..8000).step_by(40).map(|ms| picture(ms, ms % 1000 == 0)));
    room.frames(stream(8000, 10_000, 1000));
    room.leave();
    let (chunks, inits) = room.made();
    let codecs: Vec<_> = inits.iter().map(|(_, init)| init.codecs()).collect();
    assert_eq!(codecs, ["avc1.64001f,mp4a.40.2", "avc1.64001f", "avc1.64001f,mp4a.40.2"]);
    let all: Vec<Frame> = (0..10_000).step_by(40).map(|ms| picture(ms, true)).collect();
    assert_eq!(payload(&chunks, Kind::Video), times(&all, Kind::Video));
}

#[test]
fn what_comes_first_need_not_be_all() {
    // The sound is announced a moment after the pictures have begun.
    let mut room = Room::new(400);
    room.tracks(&tracks([video(AVCC)]));
    room.frames([picture(0, true), picture(40, false)]);
    room.tracks(&both());
    room.frames([sound(60), picture(80, false), sound(83)]);
    room.leave();
    let (chunks, inits) = room.made();
    assert_eq!((chunks.len(), inits.len()), (1, 1));
    assert_eq!(payload(&chunks, Kind::Video), "v0;v40;v80;");
    assert_eq!(payload(&chunks, Kind::Audio), "a60;a83;");
    // Pictures that cannot be decoded are left out, and the sound before the first that can.
    let mut room = Room::new(400);
    room.tracks(&both());
    room.frames([picture(0, false), sound(10), picture(40, false), sound(33), picture(80, true), sound(85)]);
    room.leave();
    let (chunks, _) = room.made();
    assert_eq!(payload(&chunks, Kind::Video) + &payload(&chunks, Kind::Audio), "v80;a85;");
}

#[test]
fn publishers_follow_each_other_on_one_line() {
    let mut room = Room::new(1000);
    for (from, record) in [(5000, AVCC), (0, AVCC), (90_000, OTHER)] {
        room.tracks(&tracks([video(record), audio()]));
        room.frames(stream(from, from + 2000, 1000));
        room.leave();
    }
    let (chunks, inits) = room.made();
    let starts: Vec<_> = chunks.iter().map(|c| (c.start.millis(), c.discontinuity)).collect();
    // Where one ends, the next begins, to within a frame of sound.
    assert_eq!(starts.iter().map(|(_, d)| *d).collect::<Vec<_>>(), [true, false, true, false, true, false]);
    assert!(starts[2].0 - 2000 <= 64 && starts[4].0 - 4000 <= 128, "{starts:?}");
    assert_eq!(
        inits.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [0, 4],
        "the same tracks are not told again"
    );
}

#[test]
fn a_jump_of_the_clock_is_a_discontinuity() {
    for to in [60_000, 0] {
        let mut room = Room::new(1000);
        room.tracks(&both());
        room.frames(stream(20_000, 22_000, 1000));
        room.frames(stream(to, to + 1000, 1000));
        room.leave();
        let (chunks, inits) = room.made();
        assert_eq!(told(&chunks)[..2], [(0, 1000, true, true), (1000, 1000, true, false)]);
        assert_eq!((chunks.len(), chunks[2].discontinuity, inits.len()), (3, true, 1));
    }
}

#[test]
fn slow_pictures_make_long_chunks() {
    let mut room = Room::new(400);
    room.tracks(&both());
    let slow = |ms: i64| std::iter::once(picture(ms, true)).chain((0..100).map(move |n| sound(ms + n * 20)));
    room.frames((0..5).flat_map(|n| slow(n * 2000)));
    room.leave();
    let (chunks, _) = room.made();
    assert_eq!(chunks.len(), 5);
    assert!(chunks[..4].iter().all(|c| c.duration == Micros::from_secs(2) && c.audio.is_some()));
}

#[test]
fn time_that_stands_still_fills_no_memory() {
    let mut room = Room::new(1000);
    room.tracks(&both());
    room.frames((0..5000).map(|n| picture(5, n == 0)));
    room.frames((0..5000).map(|_| sound(5)));
    room.leave();
    let (chunks, _) = room.made();
    assert!(chunks.iter().all(|c| c.video.as_ref().unwrap().frames <= 1024));
    assert!(chunks.iter().filter_map(|c| c.audio.as_ref()).all(|part| part.frames <= 1024));
}

#[test]
fn segments_of_any_length_from_the_same_chunks() {
    let mut room = Room::new(400);
    room.tracks(&both());
    room.frames(stream(0, 12_000, 1000));
    room.frames(stream(60_000, 61_000, 1000));
    room.leave();
    let (chunks, _) = room.made();
    for (secs, want) in [(2, vec![0, 2, 4, 6, 8, 10, 12]), (5, vec![0, 5, 10, 12]), (0, (0..13).collect())] {
        let options = GroupingOptions { target: Micros::from_secs(secs), overflow: Micros::from_secs(20) };
        let mut grouping = Grouping::new(options);
        let starts = chunks.iter().filter_map(|chunk| match grouping.chunk(chunk) {
            Join::Opens { discontinuity } => Some((chunk.start.millis() / 1000, discontinuity)),
            _ => None,
        });
        let (starts, gaps): (Vec<_>, Vec<_>) = starts.unzip();
        assert_eq!(starts, want);
        assert!(gaps.iter().enumerate().all(|(n, gap)| *gap == (n == 0 || n == gaps.len() - 1)));
    }
    // Without keyframes; and behind a loss.
    let overflow = Micros::from_secs(1);
    let mut grouping = Grouping::new(GroupingOptions { target: Micros::ZERO, overflow });
    let chunk = |ms, independent| Chunk {
        start: Micros::from_millis(ms),
        independent,
        discontinuity: false,
        ..chunks[0].clone()
    };
    assert_eq!(grouping.chunk(&chunk(0, false)), Join::Skipped);
    assert_eq!(grouping.chunk(&chunk(400, true)), Join::Opens { discontinuity: true });
    assert_eq!(grouping.chunk(&chunk(800, false)), Join::Joins);
    assert_eq!(grouping.chunk(&chunk(1400, false)), Join::Opens { discontinuity: false });
    grouping.restart();
    assert_eq!(grouping.chunk(&chunk(1800, false)), Join::Skipped);
    assert_eq!(grouping.chunk(&chunk(2200, true)), Join::Opens { discontinuity: true });
}

proptest! {
    #[test]
    fn any_stream_makes_chunks_without_gaps(
        steps in prop::collection::vec((0..14u8, any::<bool>(), prop_oneof![
            12 => -30i64..60,
            1 => -5000i64..15_000,
            1 => any::<i32>().prop_map(i64::from),
        ]), 0..400),
        part in 0i64..1500,
    ) {
        let mut room = Room::new(part);
        let mut now = 0;
        for (what, key, step) in steps {
            now += step;
            match what {
                0 => room.tracks(&both()),
                1 if key => room.tracks(&tracks([audio()])),
                2 if key => room.tracks(&tracks([video(OTHER), audio()])),
                3 if key => room.leave(),
                1..=7 => room.frames([picture(now, key)]),
                _ => room.frames([sound(now)]),
            }
        }
        room.leave();
        room.made();
    }
}
