//! Recordings of streams in virtual time, played while they grow and when they are complete.

use formats::mp4::header;
use hub::StreamKey;
use media::{Frame, TrackId};

use super::*;
use crate::dvr::tests::{Scene, audio, video};

fn key() -> StreamKey {
    StreamKey { vhost: "v".into(), app: "live".into(), stream: "cam".into() }
}

/// Everything that there is, as far as it is recorded; and how it ended.
fn all(reel: &mut Reel) -> (Vec<Frame>, Take) {
    let mut frames = Vec::new();
    loop {
        match reel.take(Micros(i64::MAX)) {
            Take::Frame(frame) => frames.push(frame),
            Take::Tracks(tracks) => assert!(!tracks.is_empty()),
            end => return (frames, end),
        }
    }
}

fn number(frame: &Frame) -> u64 {
    u64::from_be_bytes(*frame.data.last_chunk().unwrap())
}

fn pictures(frames: &[Frame]) -> Vec<&Frame> {
    frames.iter().filter(|frame| frame.track == TrackId::VIDEO).collect()
}

/// When the first recording began.
fn begin(theatre: &Theatre) -> Micros {
    theatre.catalogue().of(&key(), Micros::ZERO, None)[0].begin
}

#[test]
fn what_was_recorded_is_read_again_over_all_files() {
    for ending in ["flv", "mp4"] {
        let options = format!("dvr_plan segment; dvr_duration 1; dvr_path FOLDER/[timestamp].{ending};");
        let mut scene = Scene::new(&format!("reel-{ending}"), &options);
        scene.tracks(&[video(), audio()]);
        scene.run(0, 4);
        let theatre = Theatre::new(scene.catalogue.clone());
        scene.end();
        let begin = begin(&theatre);
        let (frames, end) = all(&mut theatre.reel(&key(), begin, None).unwrap());
        assert!(matches!(end, Take::Dry), "{end:?}");
        let mut numbers: Vec<u64> = frames.iter().map(number).collect();
        assert_eq!(pictures(&frames).len(), 100, "{ending}");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{ending}");
        let off = pictures(&frames)
            .iter()
            .enumerate()
            .map(|(n, frame)| (frame.dts - begin - Micros(n as i64 * 40_000)).0.abs())
            .max();
        assert!(off < Some(1500), "{ending}: {off:?} µs");

        // A part: from the keyframe before its beginning.
        let to = Some(begin + Micros(3_500_000));
        let (part, end) = all(&mut theatre.reel(&key(), begin + Micros(2_900_000), to).unwrap());
        assert!(matches!(end, Take::End | Take::Dry), "{end:?}");
        let part = pictures(&part);
        assert!((37..=39).contains(&part.len()) && part[0].key, "{ending}: {} pictures", part.len());
        assert!((part[0].dts - begin - Micros::from_secs(2)).0.abs() < 1500);
        assert!(theatre.reel(&key(), begin + Micros::from_secs(60), None).is_none());
    }
}

#[test]
fn a_file_is_followed_while_it_grows() {
    for ending in ["flv", "mp4"] {
        let mut scene = Scene::new(&format!("follow-{ending}"), &format!("dvr_path FOLDER/x.{ending};"));
        scene.tracks(&[video(), audio()]);
        scene.run(0, 4);
        let theatre = Theatre::new(scene.catalogue.clone());
        let begin = begin(&theatre);
        let mut reel = theatre.reel(&key(), begin, None).unwrap();
        // What is later than asked for waits.
        assert!(matches!(reel.take(begin), Take::Tracks(_)));
        assert!(matches!(reel.take(begin), Take::Frame(_)));
        while let Take::Frame(frame) = reel.take(begin + Micros::from_secs(1)) {
            assert!(frame.dts <= begin + Micros::from_secs(1));
        }
        let (first, end) = all(&mut reel);
        assert!(matches!(end, Take::Wait), "{end:?}");
        scene.run(4, 8);
        let (second, _) = all(&mut reel);
        scene.end();
        let (third, end) = all(&mut reel);
        assert!(matches!(end, Take::Dry), "{end:?}");
        let rest = [&first, &second, &third].map(|frames| pictures(frames).len());
        assert!(rest[0] > 40 && rest[1] > 90 && rest[2] < 60, "{ending}: {rest:?}");
        assert_eq!(rest.iter().sum::<usize>(), 200 - 26, "{ending}: {rest:?}");
    }
}

#[test]
fn stretches_are_segments_that_follow_each_other() {
    for ending in ["flv", "mp4"] {
        let mut scene = Scene::new(&format!("cut-{ending}"), &format!("dvr_path FOLDER/x.{ending};"));
        scene.tracks(&[video(), audio()]);
        scene.run(0, 10);
        let theatre = Theatre::new(scene.catalogue.clone());
        let recording = theatre.catalogue().of(&key(), Micros::ZERO, None).remove(0);
        let stretches = || theatre.index(&recording, |index| index.stretches(Micros::from_secs(3))).unwrap();
        let before = stretches();
        assert_eq!(before.len(), 2, "{ending}: {before:?}");
        scene.end();
        let all = stretches();
        assert!(all.len() == 3 && all[..2] == before, "{ending}: {all:?}");
        let (mut samples, mut ends) = ([0, 0], [None, None]);
        for stretch in &all {
            let mut cut = Cut::open(&theatre, &recording, stretch).unwrap().unwrap();
            assert!(cut.init().windows(4).any(|name| name == b"avc1"));
            while let Some(bytes) = cut.next().unwrap() {
                let mut at = 0;
                while at < bytes.len() {
                    let moof = header(&bytes[at..]).unwrap();
                    let (id, start, durations) = formats::mp4::fragment_times(&bytes[at..]).unwrap();
                    let lane = id as usize - 1;
                    if let Some(end) = ends[lane].replace(start + durations.iter().sum::<u64>()) {
                        assert_eq!(start, end, "{ending}: track {id} of {stretch:?}");
                    }
                    samples[lane] += durations.len();
                    at += moof.size as usize;
                    at += header(&bytes[at..]).unwrap().size as usize;
                }
            }
        }
        assert_eq!(samples, [250, 469], "{ending}");
    }
}

/// A stream of sound or of pictures alone.
#[test]
fn one_track_is_enough() {
    for ending in ["flv", "mp4"] {
        for (track, count) in [(video(), 100), (audio(), 188)] {
            let name = format!("alone-{ending}-{count}");
            let mut scene = Scene::new(&name, &format!("dvr_path FOLDER/x.{ending};"));
            let id = track.id;
            scene.tracks(&[track]);
            scene.run(0, 4);
            let theatre = Theatre::new(scene.catalogue.clone());
            scene.end();
            let (frames, end) = all(&mut theatre.reel(&key(), begin(&theatre), None).unwrap());
            assert!(matches!(end, Take::Dry) && frames.iter().all(|frame| frame.track == id), "{name}");
            assert_eq!(frames.len(), count, "{name}");
            let recording = theatre.catalogue().of(&key(), Micros::ZERO, None).remove(0);
            let stretches = theatre.index(&recording, |index| index.stretches(Micros::from_secs(2))).unwrap();
            assert_eq!(stretches.len(), 2, "{name}: {stretches:?}");
            let mut samples = 0;
            for stretch in &stretches {
                let mut cut = Cut::open(&theatre, &recording, stretch).unwrap().unwrap();
                while let Some(bytes) = cut.next().unwrap() {
                    samples += formats::mp4::fragment_times(&bytes).unwrap().2.len();
                }
            }
            assert_eq!(samples, count, "{name}");
        }
    }
}
