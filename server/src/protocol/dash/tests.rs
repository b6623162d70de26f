//! A stream as the packager writes it, in virtual time.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::cmaf::{Mux, MuxOptions, Piece};
use hub::StreamKey;
use media::codec::{Codec, aac, h264};
use media::{Dialect, Frame, Micros, Remux, Stamped, Track, TrackId, Tracks};

use super::shelf::{self, Media, Shelf, What};
use super::stream::Stream;
use crate::config::{Dash, SegmentStorage};
use crate::follow::Stream as _;

const AVCC: &[u8] = &[1, 100, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 100, 0, 31, 1, 0, 1, 0x68];

fn tracks(video: bool, audio: bool) -> Tracks {
    let mut tracks = Tracks::default();
    let mut set = |id, codec, config: &'static [u8]| {
        tracks.set(Track { id, codec, config: Bytes::from_static(config), dialect: Dialect::Standard });
    };
    if video {
        set(TrackId::VIDEO, Codec::H264(h264::Config::parse(AVCC).unwrap()), AVCC);
    }
    if audio {
        set(TrackId::AUDIO, Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap()), &[0x12, 0x10]);
    }
    tracks
}

thread_local! {
    /// The clock on the wall, in milliseconds.
    static NOW: Cell<i64> = const { Cell::new(START) };
}

/// 2026-11-28T12:00:00Z
const START: i64 = 1_795_867_200_000;

struct Room {
    mux: Mux,
    stream: Stream,
    shelf: Arc<Shelf>,
    folder: tempdir::Folder,
    /// Looked at after each unit.
    look: fn(&Shelf),
}

mod tempdir {
    use std::path::PathBuf;

    /// A folder that is gone with the test.
    pub(super) struct Folder(pub(super) PathBuf);

    impl Folder {
        pub(super) fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("oxcast-dash-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Room {
    fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    fn with(name: &str, change: impl FnOnce(&mut Dash)) -> Self {
        let folder = tempdir::Folder::new(name);
        let mut dash = Dash {
            fragment: Duration::from_secs(2),
            update_period: Duration::from_secs(5),
            window: 3,
            path: folder.0.clone(),
            mpd_file: "[app]/[stream].mpd".into(),
            cleanup: true,
            dispose: Some(Duration::from_secs(1)),
            storage: SegmentStorage::Disk,
            low: None,
            chunk: None,
        };
        change(&mut dash);
        let part =
            dash.chunk.map_or(MuxOptions::default(), |chunk| MuxOptions { part: crate::form::micros(chunk) });
        let key = StreamKey { vhost: "a.com".into(), app: "live".into(), stream: "cam".into() };
        let shelf = Arc::new(Shelf::new(crate::store::Store::default()));
        let mut stream = Stream::new(&key, &Arc::new(dash), &shelf).unwrap();
        stream.clock = || NOW.get();
        Self { mux: Mux::new(part), stream, shelf, folder, look: |_| {} }
    }

    /// Publishes in real time.
    fn publish(&mut self, video: bool, audio: bool, secs: i64) {
        let (mut out, start) = (Vec::new(), NOW.get());
        self.mux.tracks(&tracks(video, audio), &mut out);
        for ms in (0..secs * 1000).step_by(20) {
            let dts = Micros::from_millis(ms);
            let mut frame = |track, key, pts| {
                let frame = Frame { track, dts, pts, key, data: Bytes::from_static(b"frame") };
                self.mux.frame(&frame, &mut out);
            };
            if video && ms % 40 == 0 {
                frame(TrackId::VIDEO, ms % 1000 == 0, dts + Micros::from_millis(80));
            }
            if audio {
                frame(TrackId::AUDIO, true, dts);
            }
            NOW.set(start + ms);
            self.take(&mut out);
        }
        NOW.set(start + secs * 1000);
        self.mux.tracks(&Tracks::default(), &mut out);
        self.take(&mut out);
        self.stream.leave();
    }

    fn take(&mut self, out: &mut Vec<Stamped<Piece>>) {
        for unit in out.drain(..) {
            self.stream.take(unit);
            (self.look)(&self.shelf);
        }
    }

    /// As players get it.
    fn shown(&self) -> String {
        shown(&self.shelf).unwrap()
    }

    fn path(&self) -> &Path {
        &self.folder.0
    }

    fn manifest(&self) -> String {
        fs::read_to_string(self.path().join("live/cam.mpd")).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().join("live/cam")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_window_of_segments_is_listed_and_as_many_more_are_kept() {
    let mut room = Room::new("window");
    room.publish(true, false, 20);
    let manifest = room.manifest();
    assert_eq!(manifest.matches("<Period").count(), 1);
    assert!(manifest.contains("<S t=\"1267200\" d=\"180000\" r=\"2\"/>"), "{manifest}");
    assert!(manifest.contains("frameRate=\"25\"") && manifest.contains("presentationTimeOffset=\"7200\""));
    let files = room.files();
    let is_kept = |n: u64| files.iter().any(|name| name.ends_with(&format!("-{}.m4s", 7200 + n * 180_000)));
    assert!((4..10).all(is_kept) && files.len() == 7, "{files:?}");
    let oldest = files.iter().find(|name| name.ends_with("-727200.m4s")).unwrap();
    let segment = fs::read(room.path().join("live/cam").join(oldest)).unwrap();
    assert_eq!(&segment[4..8], b"styp");
    let Room { stream, folder, .. } = room;
    stream.end(false);
    assert!(!folder.0.join("live/cam").exists() && !folder.0.join("live/cam.mpd").exists());
}

#[test]
fn what_an_older_process_left_is_deleted_and_what_others_make_stays() {
    let mut room = Room::new("left");
    let folder = room.path().join("live/cam");
    fs::create_dir_all(&folder).unwrap();
    let made = |name: &str, seconds: u64| {
        let file = fs::File::create(folder.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    };
    made("video-12-7200.m4s", 60);
    made("film.m4s", 60);
    made("video-13-7200.m4s", 0);
    room.publish(true, false, 4);
    let files = room.files();
    let is_there = |name: &str| files.iter().any(|file| file == name);
    assert!(
        !is_there("video-12-7200.m4s") && is_there("film.m4s") && is_there("video-13-7200.m4s"),
        "{files:?}"
    );
    room.stream.end(false);
    let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["film.m4s", "video-13-7200.m4s"]);
}

#[test]
fn every_publisher_has_a_period_and_other_tracks_another_init() {
    let mut room = Room::new("periods");
    room.publish(true, true, 2);
    room.publish(true, true, 2);
    room.publish(false, true, 2);
    let manifest = room.manifest();
    assert_eq!(manifest.matches("<Period").count(), 3);
    assert_eq!(manifest.matches("contentType=\"video\"").count(), 2);
    // Sound has the same init segment all the time.
    assert_eq!(manifest.matches("initialization=\"cam/audio-init.mp4\"").count(), 3, "{manifest}");
    assert_eq!(room.files().iter().filter(|name| name.ends_with(".mp4")).count(), 2);
}

fn shown(shelf: &Shelf) -> Option<String> {
    match shelf.find(&shelf::place("a.com", "live/cam.mpd"))?.what {
        What::Manifest(text) => Some(text.answer(None)),
        What::Media(..) => None,
    }
}

/// What stands behind `name="`, at each place.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_presentation_goes_by_the_clock_on_the_wall() {
    let mut room = Room::new("wall");
    room.publish(true, true, 4);
    // The first segment was there when its end was a second old: it could have been followed by more.
    assert_eq!(values(&room.shown(), "availabilityStartTime"), ["2026-11-28T12:00:01.000Z"]);
    NOW.set(NOW.get() + 10_000);
    room.publish(true, true, 4);
    let text = room.shown();
    assert_eq!(values(&text, "start"), ["PT0.000S", "PT14.000S"], "{text}");
    assert_eq!(values(&text, "duration"), ["PT4.018S"], "to the last frame of sound");
    assert_eq!(values(&text, "availabilityStartTime"), ["2026-11-28T12:00:01.000Z"]);
    assert_eq!(values(&text, "publishTime"), ["2026-11-28T12:00:18.000Z"]);
    // One that follows at once begins where the one before has ended.
    room.publish(true, true, 4);
    assert_eq!(values(&room.shown(), "start").last(), Some(&"PT18.018S"), "{}", room.shown());
}

#[test]
fn twenty_minutes_have_no_gap_and_no_drift_and_leave_nothing_behind() {
    let mut room = Room::with("long", |dash| dash.storage = SegmentStorage::Ram);
    room.look = |shelf| {
        let Some(text) = shown(shelf) else { return };
        // A time is told where segments do not follow each other, and that is nowhere.
        assert_eq!(values(&text, "t").len(), 2, "{text}");
    };
    room.publish(true, true, 1200);
    let text = room.shown();
    let last: Vec<u64> = values(&text, "t").iter().map(|t| t.parse().unwrap()).collect();
    assert_eq!(last[0], 7200 + (1200 - 3 * 2) * 90_000, "{text}");
    let late = last[1] as f64 / 44_100.0 - (1200.0 - 6.0);
    assert!(late.abs() < 0.05, "sound is {late} s beside its pictures");
    assert_eq!(
        room.shelf.len(),
        2 * (3 + 3) + 2 + 1,
        "twice the window of each track, two init segments and the manifest"
    );
    assert!(!room.path().exists());
    let Room { stream, shelf, folder: _folder, .. } = room;
    stream.end(true);
    assert_eq!(shelf.len(), 0);
}

#[test]
fn with_low_latency_segments_grow_where_they_are_listed() {
    let mut room = Room::with("low", |dash| {
        let chunk = Some(Duration::from_millis(250));
        (dash.low, dash.chunk) = (chunk, chunk);
    });
    thread_local! { static SEEN: Cell<usize> = const { Cell::new(0) }; }
    room.look = |shelf| {
        let Some(text) = shown(shelf) else { return };
        let base = values(&text, "media")[0].replace("$Time$", "");
        let (at, length) = (values(&text, "t")[0], values(&text, "d")[0]);
        let repeats: u64 = values(&text, "r").first().map_or(0, |r| r.parse().unwrap());
        let last = at.parse::<u64>().unwrap() + repeats * length.parse::<u64>().unwrap();
        let path = format!("live/{}", base.replace(".m4s", &format!("{last}.m4s")));
        let item = shelf.find(&shelf::place("a.com", &path)).expect("what is listed is there");
        if let What::Media(_, Media::Growing(growth)) = item.what {
            let growth = growth.borrow();
            assert!(growth.pieces.len() >= 2 && !growth.is_complete, "it has a beginning, and no end");
            SEEN.set(SEEN.get() + 1);
        }
    };
    room.publish(true, true, 10);
    assert!(SEEN.get() >= 35, "{} looks at segments that grow", SEEN.get());
    let text = room.shown();
    assert_eq!(values(&text, "availabilityStartTime"), ["2026-11-28T12:00:00.000Z"], "{text}");
    assert!(values(&text, "r")[0] == "2" && !room.manifest().contains("availabilityTimeOffset"), "{text}");
}
