//! A stream as the packager writes it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::cmaf::{Mux, MuxOptions};
use hub::StreamKey;
use media::codec::{Codec, aac, h264};
use media::{Dialect, Frame, Micros, Remux, Track, TrackId, Tracks};

use super::shelf::Shelf;
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

struct Room {
    mux: Mux,
    stream: Stream,
    folder: tempdir::Folder,
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
        let folder = tempdir::Folder::new(name);
        let dash = Dash {
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
        let key = StreamKey { vhost: "a.com".into(), app: "live".into(), stream: "cam".into() };
        let stream = Stream::new(&key, &Arc::new(dash), &Arc::<Shelf>::default()).unwrap();
        Self { mux: Mux::new(MuxOptions::default()), stream, folder }
    }

    fn publish(&mut self, video: bool, audio: bool, secs: i64) {
        let mut out = Vec::new();
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
        }
        self.mux.tracks(&Tracks::default(), &mut out);
        out.into_iter().for_each(|unit| self.stream.take(unit));
        self.stream.leave();
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
