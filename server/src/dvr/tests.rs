//! Recordings of streams in virtual time, read back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use formats::flv::{Demux, DemuxOptions, Demuxed, Item, Reader};
use formats::frames::Frames;
use formats::mp4::{Header, header};
use hub::StreamKey;
use media::codec::{Codec, aac, h264, h265};
use media::{Dialect, Frame, Kind, Micros, Remux, Sound, Track, TrackId, Tracks};

use super::recover::recover;
use super::{Catalogue, Figures, Recorder};
use crate::config::{Config, Environment};
use crate::follow::{Publisher, Stream};
use crate::store::Store;

const AVCC: &[u8] = &[1, 100, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 100, 0, 31, 1, 0, 1, 0x68];
const HVCC: &[u8] =
    &[1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0];

/// A recorder with the form that feeds it.
pub(super) struct Scene {
    pub(super) folder: PathBuf,
    pub(super) catalogue: Catalogue,
    recorder: Option<Recorder>,
    form: Frames,
    figures: Arc<Figures>,
    next: u64,
}

impl Scene {
    pub(super) fn new(name: &str, options: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("oxcast-dvr-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let text = format!(
            "listen 1; vhost v {{ dvr {{ enabled on; {} }} }}",
            options.replace("FOLDER", folder.to_str().unwrap())
        );
        let config = Config::parse("test", text.as_bytes(), &Environment::default()).unwrap();
        let dvr = Arc::new(config.vhosts[0].dvr.clone().unwrap());
        let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: "cam".into() };
        let (figures, catalogue) = (Arc::<Figures>::default(), Catalogue::default());
        let mut recorder = Recorder::new(&key, &dvr, &figures, &Store::default(), &catalogue).unwrap();
        recorder.begin((), Publisher::nobody());
        Self { folder, catalogue, recorder: Some(recorder), form: Frames::new(Sound::Any), figures, next: 0 }
    }

    fn recorder(&mut self) -> &mut Recorder {
        self.recorder.as_mut().unwrap()
    }

    pub(super) fn tracks(&mut self, list: &[Track]) {
        let (mut tracks, mut out) = (Tracks::default(), Vec::new());
        list.iter().for_each(|track| assert!(tracks.set(track.clone())));
        self.form.tracks(&tracks, &mut out);
        out.into_iter().for_each(|unit| self.recorder().take(unit));
    }

    fn frame(&mut self, track: TrackId, micros: i64, key: bool) {
        let mut data = vec![0, 0, 0, 12, if key { 0x65 } else { 0x41 }, 0, 0, 0];
        data.extend_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        let dts = Micros(micros);
        let mut out = Vec::new();
        self.form.frame(&Frame { track, dts, pts: dts, key, data: data.into() }, &mut out);
        out.into_iter().for_each(|unit| self.recorder().take(unit));
    }

    /// Pictures at 25 a second with a keyframe every two, and sound, between these seconds.
    pub(super) fn run(&mut self, from: i64, to: i64) {
        let (mut picture, mut sound) = (from * 25, (from * 48_000 + 1023) / 1024);
        loop {
            let (p, s) = (picture * 40_000, sound * 1_024_000_000 / 48_000 / 1000 * 1000);
            if p.min(s) >= to * 1_000_000 {
                return;
            }
            if p <= s {
                self.frame(TrackId::VIDEO, p, picture % 50 == 0);
                picture += 1;
            } else {
                self.frame(TrackId::AUDIO, s, true);
                sound += 1;
            }
        }
    }

    pub(super) fn end(&mut self) -> Vec<PathBuf> {
        self.recorder.take().unwrap().end(false);
        self.files()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(&self.folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        // The journal of the catalogue.
        files.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
        files.sort_by_key(|path| fs::metadata(path).unwrap().created().unwrap());
        files
    }
}

fn track(id: TrackId, codec: Codec, config: &'static [u8]) -> Track {
    Track { id, codec, config: Bytes::from_static(config), dialect: Dialect::Standard }
}

pub(super) fn video() -> Track {
    track(TrackId::VIDEO, Codec::H264(h264::Config::parse(AVCC).unwrap()), AVCC)
}

pub(super) fn audio() -> Track {
    track(TrackId::AUDIO, Codec::Aac(aac::Config::parse(&[0x11, 0x90]).unwrap()), &[0x11, 0x90])
}

/// The frames of a file, with their numbers, and whether its end is whole.
fn read_flv(path: &Path) -> Vec<(u64, Frame)> {
    let (mut reader, mut demux, mut out) = (Reader::new(), Demux::new(DemuxOptions::default()), Vec::new());
    reader.receive(&fs::read(path).unwrap());
    while let Some(item) = reader.poll_item().unwrap() {
        if let Item::Tag { kind, timestamp, body } = item {
            demux.push(kind, timestamp, body, &mut out).unwrap();
        }
    }
    let frames =
        out.into_iter().filter_map(|out| if let Demuxed::Frame(frame) = out { Some(frame) } else { None });
    frames.map(|frame| (u64::from_be_bytes(*frame.data.last_chunk().unwrap()), frame)).collect()
}

fn duration(path: &Path) -> f64 {
    let (mut reader, mut demux) = (Reader::new(), Demux::new(DemuxOptions::default()));
    reader.receive(&fs::read(path).unwrap());
    reader.poll_item().unwrap();
    let Some(Item::Tag { kind, timestamp, body }) = reader.poll_item().unwrap() else { panic!() };
    let size = formats::amf0::decode(&body).unwrap()[1].property("filesize").unwrap().as_f64();
    assert_eq!(size, Some(fs::metadata(path).unwrap().len() as f64));
    demux.push(kind, timestamp, body.clone(), &mut Vec::new()).unwrap();
    formats::amf0::decode(&body).unwrap()[1].property("duration").unwrap().as_f64().unwrap()
}

#[test]
fn an_hour_in_segments_has_each_frame_once() {
    let mut scene =
        Scene::new("hour", "dvr_plan segment; dvr_duration 300; dvr_path FOLDER/[timestamp].flv;");
    scene.tracks(&[video(), audio()]);
    scene.run(0, 3600);
    let files = scene.end();
    assert_eq!(files.len(), 12);
    let mut next = 0;
    for path in &files {
        let frames = read_flv(path);
        let (_, first) = &frames[0];
        assert!(first.track == TrackId::VIDEO && first.key && first.dts == Micros::ZERO, "{first:?}");
        for (number, _) in &frames {
            assert_eq!(*number, next);
            next += 1;
        }
        let off = |kind: Kind, step: f64| {
            let times = frames.iter().filter(|(_, frame)| frame.track.kind == kind).enumerate();
            times
                .map(|(n, (_, frame))| (frame.dts.millis() as f64 - n as f64 * step).abs())
                .fold(0., f64::max)
        };
        let (pictures, sounds) = (off(Kind::Video, 40.), off(Kind::Audio, 64. / 3.));
        assert!(pictures < 1.5 && sounds < 25., "{pictures} ms, {sounds} ms");
        assert!((duration(path) - 299.97).abs() < 0.03, "{}", duration(path));
    }
    assert_eq!(next, scene.next);
}

#[test]
fn a_file_is_playable_while_it_grows() {
    let mut scene = Scene::new("grows", "dvr_path FOLDER/[stream].flv;");
    scene.tracks(&[video(), audio()]);
    scene.run(0, 10);
    let path = scene.folder.join("cam.flv.tmp");
    assert_eq!(scene.files(), std::slice::from_ref(&path));
    let last = read_flv(&path).last().unwrap().1.dts;
    assert!(last > Micros::from_millis(8900), "{last:?}");
    assert_eq!(scene.end(), [scene.folder.join("cam.flv")]);
}

#[test]
fn no_file_takes_the_place_of_another() {
    let scene = Scene::new("clash", "dvr_path FOLDER/[stream].flv;");
    fs::create_dir_all(&scene.folder).unwrap();
    fs::write(scene.folder.join("cam.flv"), "precious").unwrap();
    fs::write(scene.folder.join("cam-1.flv.tmp"), "precious, too").unwrap();
    let mut scene = scene;
    scene.tracks(&[video()]);
    scene.run(0, 2);
    fs::write(scene.folder.join("cam-2.flv"), "came meanwhile").unwrap();
    scene.end();
    let read = |name| fs::read_to_string(scene.folder.join(name)).unwrap();
    assert_eq!([read("cam.flv"), read("cam-1.flv.tmp")], ["precious", "precious, too"]);
    assert_eq!(read("cam-2.flv"), "came meanwhile");
    assert_eq!(read_flv(&scene.folder.join("cam-2-1.flv")).len(), 50);
}

#[test]
fn nothing_comes_of_nothing() {
    for ending in ["flv", "mp4"] {
        let mut scene =
            Scene::new(&format!("nothing-{ending}"), &format!("dvr_path FOLDER/[stream].{ending};"));
        scene.tracks(&[video(), audio()]);
        // Pictures that nobody can decode.
        scene.frame(TrackId::VIDEO, 0, false);
        assert_eq!(scene.end(), [""; 0].map(PathBuf::from));
    }
}

#[test]
fn lengths_in_names_and_folders_that_are_not_there() {
    let mut scene = Scene::new("names", "dvr_path FOLDER/[stream]-[duration].flv;");
    scene.tracks(&[video()]);
    scene.run(0, 2);
    assert_eq!(scene.files(), [scene.folder.join("cam-[duration].flv.tmp")]);
    assert_eq!(scene.end(), [scene.folder.join("cam-1960.flv")]);
}

#[test]
fn publishers_have_their_own_files() {
    let mut scene = Scene::new("renew", "dvr_path FOLDER/[stream].flv;");
    for _ in 0..2 {
        scene.tracks(&[video()]);
        scene.run(0, 2);
        scene.tracks(&[]);
        scene.recorder().renew(Publisher::nobody());
        scene.form = Frames::new(Sound::Any);
    }
    scene.recorder().leave();
    let files = scene.end();
    assert_eq!(files, [scene.folder.join("cam.flv"), scene.folder.join("cam-1.flv")]);
    assert!(files.iter().all(|path| read_flv(path).len() == 50));
}

#[test]
fn a_place_that_is_in_the_way_costs_recordings_and_is_tried_again() {
    let mut scene = Scene::new("blocked", "dvr_path FOLDER/[stream].flv;");
    fs::write(&scene.folder, "a file where a folder should be").unwrap();
    scene.tracks(&[video()]);
    (0..100).for_each(|n| scene.frame(TrackId::VIDEO, n * 40_000, n % 50 == 0));
    let lost = scene.figures.frames_lost.load(std::sync::atomic::Ordering::Relaxed);
    let failures = scene.figures.failures.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((lost, failures), (100, 1));
    fs::remove_file(&scene.folder).unwrap();
    scene.recorder().retry_now();
    scene.run(4, 6);
    let frames = read_flv(&scene.end()[0]);
    assert!(frames.len() == 50 && frames[0].1.key);
}

/// The boxes at the top of a file.
fn boxes(bytes: &[u8]) -> Vec<[u8; 4]> {
    let (mut at, mut kinds) = (0, Vec::new());
    while let Some(Header { kind, size, .. }) = bytes.get(at..).and_then(header) {
        kinds.push(kind);
        at += size as usize;
    }
    assert_eq!(at, bytes.len());
    kinds
}

#[test]
fn an_mp4_is_in_fragments_while_it_grows_and_plain_when_it_is_complete() {
    let mut scene = Scene::new("mp4", "dvr_path FOLDER/[stream].mp4;");
    scene.tracks(&[video(), audio()]);
    scene.run(0, 10);
    let growing = boxes(&fs::read(scene.folder.join("cam.mp4.tmp")).unwrap());
    assert_eq!(growing[..4], [*b"ftyp", *b"moov", *b"free", *b"moof"]);
    assert!(growing.iter().filter(|kind| *kind == b"moof").count() >= 16, "{growing:?}");
    let path = scene.end().remove(0);
    assert_eq!(boxes(&fs::read(path).unwrap()), [*b"ftyp", *b"free", *b"mdat", *b"moov"]);
}

#[test]
fn an_mp4_ends_where_other_tracks_begin() {
    let mut scene = Scene::new("other-tracks", "dvr_path FOLDER/[stream].mp4;");
    scene.tracks(&[video()]);
    scene.run(0, 2);
    scene.tracks(&[track(TrackId::VIDEO, Codec::H265(h265::Config::parse(HVCC).unwrap()), HVCC)]);
    scene.run(2, 4);
    let files = scene.end();
    let has = |path: &PathBuf, name: &[u8]| fs::read(path).unwrap().windows(4).any(|bytes| bytes == name);
    assert!(files.len() == 2 && has(&files[0], b"avc1") && has(&files[1], b"hvc1"), "{files:?}");
}

/// Recordings as a kill leaves them: cut anywhere.
#[test]
fn what_was_left_behind_is_completed() {
    for ending in ["flv", "mp4"] {
        let mut scene = Scene::new(&format!("left-{ending}"), &format!("dvr_path FOLDER/x.{ending};"));
        scene.tracks(&[video(), audio()]);
        scene.run(0, 10);
        let tmp = scene.folder.join(format!("x.{ending}.tmp"));
        let whole = fs::read(&tmp).unwrap();
        recover(&tmp, &Catalogue::default());
        assert_eq!(scene.files(), [tmp], "somebody writes it");
        let lengths = [whole.len(), whole.len() - 1, whole.len() / 2, whole.len() / 4, 2000];
        for (turn, length) in lengths.into_iter().enumerate() {
            let name = scene.folder.join(format!("left-{turn}.{ending}"));
            let tmp = scene.folder.join(format!("left-{turn}.{ending}.tmp"));
            fs::write(&tmp, &whole[..length]).unwrap();
            recover(&tmp, &Catalogue::default());
            assert!(name.exists() && !tmp.exists(), "{name:?}");
            if ending == "flv" {
                let frames = read_flv(&name);
                let seconds = frames.last().unwrap().1.dts.0 as f64 / 1e6;
                assert!((duration(&name) - seconds).abs() < 0.03, "{} of {seconds}", duration(&name));
            } else {
                let bytes = fs::read(&name).unwrap();
                assert_eq!(boxes(&bytes), [*b"ftyp", *b"free", *b"mdat", *b"moov"]);
            }
        }
        for (name, bytes) in [("empty", &whole[..0]), ("other", b"something else")] {
            let tmp = scene.folder.join(format!("{name}.{ending}.tmp"));
            fs::write(&tmp, bytes).unwrap();
            recover(&tmp, &Catalogue::default());
            assert_eq!(tmp.exists(), name == "other");
        }
    }
}
