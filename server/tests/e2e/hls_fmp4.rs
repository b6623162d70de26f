//! HLS in fragmented MP4: to the last frame, over publishers who come and go, in a browser and in ffmpeg.

use std::path::Path;

use crate::browser::{Page, has_pictures};
use crate::child::Running;
use crate::client::Client;
use crate::harness::{Server, until};
use crate::hls::{files, server};
use crate::http;
use crate::players::publish_for_ever;
use crate::tape::Tape;
use crate::tools::{self, LIMIT, PICTURES, SOUND, clip, ffmpeg, ffmpeg_new, of, usual_clip};
use crate::viewer::{PACED, Viewer, keep};

/// A film decodes without a word, and has these frames of each kind, without a gap or an overlap.
#[track_caller]
fn is_whole(program: &Path, film: &Path, pictures: usize, sounds: std::ops::RangeInclusive<usize>) {
    let film = film.to_str().unwrap();
    let packets = tools::packets(program, film);
    let streams = [pictures > 0, *sounds.end() > 0].iter().filter(|there| **there).count();
    for stream in 0..streams {
        let all = of(&packets, stream);
        let step = all[1].dts - all[0].dts;
        let gap = all.windows(2).position(|pair| pair[1].dts - pair[0].dts != step);
        assert_eq!(gap, None, "stream {stream}: {:?}", gap.map(|at| (all[at], all[at + 1])));
    }
    let frames = tools::decoded(program, film);
    let sound = usize::from(pictures > 0);
    if pictures > 0 {
        assert_eq!(of(&frames, 0).len(), pictures);
    }
    if *sounds.end() > 0 {
        let heard = of(&frames, sound).len();
        assert!(sounds.contains(&heard), "{heard} frames of sound");
    }
}

#[test]
fn what_is_published_is_there_to_the_last_frame() {
    for storage in ["disk", "ram"] {
        let server = server(&format!("hls_use_fmp4 on; hls_storage {storage};"));
        tools::publish(ffmpeg(), &usual_clip(), &server.rtmp_url("a")).succeed(LIMIT);
        let mut viewer = Viewer::open(&server, "a");
        until("all is listed", PACED, || (viewer.refresh().ms() >= 3900).then_some(()));
        let lengths: Vec<u64> = viewer.playlist.entries.iter().map(|entry| entry.ms).collect();
        assert_eq!(lengths[..3], [1000; 3], "a keyframe each second");
        assert!(viewer.playlist.independent && viewer.playlist.version == 6, "{:?}", viewer.playlist);
        let film = keep(&server, "film.mp4", &viewer.film(0, viewer.playlist.next()));
        is_whole(ffmpeg(), &film, 100, 186..=190);
        let there = files(&server.dir.join("objs/nginx/html/live"));
        assert_eq!(there.contains(&"a-0.m4s".to_owned()), storage == "disk", "{there:?}");
    }
}

#[test]
fn other_codecs_and_sound_alone() {
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=error -g 25 -c:a aac";
    for (codecs, inputs, pictures, sounds) in
        [(hevc, format!("{PICTURES} {SOUND}"), 100, 186..=190), ("-c:a aac", SOUND.to_owned(), 0, 186..=190)]
    {
        let server = server("hls_use_fmp4 on;");
        let clip = clip(ffmpeg_new(), &format!("{inputs} {codecs}"));
        tools::publish(ffmpeg_new(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
        let mut viewer = Viewer::open(&server, "a");
        until("all is listed", PACED, || (viewer.refresh().ms() >= 3900).then_some(()));
        let film = keep(&server, "film.mp4", &viewer.film(0, viewer.playlist.next()));
        is_whole(ffmpeg_new(), &film, pictures, sounds);
    }
}

/// Encrypted, too: init segments are not, and segments are as a whole.
#[test]
fn publishers_come_and_go() {
    let server = server("hls_use_fmp4 on; hls_keys on; hls_window 20;");
    let tape = Tape::of(&usual_clip());
    let mut viewer: Option<Viewer> = None;
    for turn in 0..2 {
        let mut publisher = Client::publish(&server, "a");
        tape.headers(&mut publisher, turn * 500_000);
        tape.play(&mut publisher, 0, 2500, turn * 500_000);
        publisher.stop();
        let viewer = viewer.get_or_insert_with(|| Viewer::open(&server, "a"));
        viewer.follow_to(u64::from(turn) * 3 + 3);
    }
    let viewer = viewer.unwrap();
    for (number, (entry, _)) in &viewer.segments {
        assert_eq!(entry.discontinuity, *number == 3, "{number}: {entry:?}");
    }
    assert_eq!(viewer.maps.len(), 1, "the same for both: {:?}", viewer.maps.keys());
    for from in [0, 3] {
        let film = keep(&server, "film.mp4", &viewer.film(from, from + 3));
        is_whole(ffmpeg(), &film, 63, 113..=120);
    }
}

/// A page plays it while it is published.
fn watch(server: &Server, _publisher: Running, screenshot: &str) -> serde_json::Value {
    Viewer::open(server, "page").follow_to(3);
    Page::open(&format!("http://{}/live/page.m3u8", server.http), 5, screenshot).seen()
}

#[test]
fn a_browser_plays_it() {
    let server = server("hls_use_fmp4 on; hls_window 6;");
    let publisher = publish_for_ever(&server, "page");
    let seen = watch(&server, publisher, "browser-hls-fmp4.png");
    has_pictures(&seen);
    assert!(seen["audioBytes"].as_u64() > Some(10_000), "no sound is decoded: {seen}");
}

#[test]
fn a_browser_plays_what_is_encrypted() {
    for format in ["hls_use_fmp4 on;", ""] {
        let server = server(&format!("{format} hls_keys on; hls_fragments_per_key 2; hls_window 6;"));
        let publisher = publish_for_ever(&server, "page");
        let seen = watch(&server, publisher, "browser-hls-keys.png");
        has_pictures(&seen);
        assert!(seen["audioBytes"].as_u64() > Some(10_000), "no sound is decoded: {seen}");
        let keys = server.log().all().iter().filter(|line| line.contains(".key?hls_ctx=")).count();
        assert!(keys >= 2, "{keys} keys were asked for");
    }
}

#[test]
fn a_browser_plays_sound_alone() {
    let server = server("hls_use_fmp4 on; hls_window 6;");
    let clip = clip(ffmpeg(), &format!("{SOUND} -c:a aac"));
    let head = ["-re", "-stream_loop", "-1", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv"];
    let publisher = tools::start(ffmpeg(), &[&head[..], &[&server.rtmp_url("page")]].concat());
    let seen = watch(&server, publisher, "browser-hls-sound.png");
    assert_eq!(seen["errors"], serde_json::json!([]), "{seen}");
    assert!(seen["progress"].as_f64() > Some(3.0) && seen["audioBytes"].as_u64() > Some(10_000), "{seen}");
    let text = http::get(server.http, "/live/page.m3u8?hls_ctx=abcd1234").unwrap().body;
    assert!(String::from_utf8(text).unwrap().contains("INDEPENDENT-SEGMENTS"), "each can be begun with");
}

#[test]
fn pictures_without_the_sound() {
    let server = server("hls_use_fmp4 on; hls_window 6; hls_acodec an;");
    let publisher = publish_for_ever(&server, "page");
    has_pictures(&watch(&server, publisher, "browser-hls-pictures.png"));
}

/// Another player than hls.js.
#[test]
fn shaka_plays() {
    let server = server("hls_use_fmp4 on; hls_window 10;");
    let _publisher = publish_for_ever(&server, "page");
    Viewer::open(&server, "page").follow_to(3);
    let url = format!("http://{}/live/page.m3u8#shaka", server.http);
    has_pictures(&Page::open(&url, 5, "browser-hls-shaka.png").seen());
}
