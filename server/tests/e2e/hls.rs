//! Live streams in segments: what ffmpeg publishes is there to the last frame, whatever the codecs, the storage and the times;
//! publishers come back, change and misbehave, and what is listed stays playable.

use std::fs;
use std::path::Path;

use rtmp::MediaKind;

use crate::client::Client;
use crate::harness::{Server, until};
use crate::http;
use crate::media::{Camera, STEP};
use crate::tape::{LENGTH, Tape};
use crate::tools::{self, LIMIT, PICTURES, SOUND, clip, ffmpeg, ffmpeg_new, of, usual_clip};
use crate::viewer::{PACED, Viewer, count, keep, resolve};

/// A server with segments of one second, if nothing else is said.
pub fn server(options: &str) -> Server {
    let fragment = if options.contains("hls_fragment ") { "" } else { "hls_fragment 1;" };
    Server::with_vhost(&format!("hls {{ enabled on; {fragment} {options} }}"))
}

/// Publishes the clip with ffmpeg, and gives who has seen it all.
#[track_caller]
fn seen(server: &Server, program: &Path, clip: &Path, stream: &str) -> Viewer {
    tools::publish(program, clip, &server.rtmp_url(stream)).succeed(LIMIT);
    server.logged(&[&format!("stop publish stream=/live/{stream}")]);
    let mut viewer = Viewer::open(server, stream);
    until("all is listed", PACED, || (viewer.refresh().ms() >= 3900).then_some(()));
    viewer
}

/// All segments together have the frames of the clip, each once, at their times, and each segment can be decoded alone.
#[track_caller]
fn all_is_there(server: &Server, program: &Path, clip: &Path, viewer: &Viewer) {
    viewer.each_decodes_alone(&server.dir);
    let whole = keep(server, "whole.ts", &viewer.stretch(0, viewer.playlist.next()));
    let (whole, clip) = (whole.to_str().unwrap(), clip.to_str().unwrap());
    let (got, want) = (tools::packets(program, whole), tools::packets(program, clip));
    for stream in 0..=1 {
        let (got, want) = (of(&got, stream), of(&want, stream));
        assert_eq!(got.len(), want.len(), "packets of stream {stream}");
        for (got, want) in got.iter().zip(&want) {
            // 90 kHz, not milliseconds. Sound is told once for several frames, and counted on from there.
            let off = [got.dts - 90 * want.dts, got.pts - 90 * want.pts];
            assert!(off.iter().all(|off| off.abs() <= 90), "{off:?}: {got:?} is {want:?}");
        }
        assert!(got.windows(2).all(|pair| pair[0].dts < pair[1].dts), "stream {stream} runs backwards");
    }
    let (got, want) = (tools::decoded(program, whole), tools::decoded(program, clip));
    for stream in 0..=1 {
        let (got, want) = (of(&got, stream), of(&want, stream));
        assert_eq!(got.len(), want.len(), "frames of stream {stream}");
        let differs = got.iter().zip(&want).position(|(got, want)| got.crc != want.crc);
        assert_eq!(differs, None, "frames of stream {stream}");
    }
}

#[test]
fn what_ffmpeg_publishes_is_there_to_the_last_frame() {
    for storage in ["disk", "ram"] {
        let server = server(&format!("hls_storage {storage};"));
        let clip = usual_clip();
        let viewer = seen(&server, ffmpeg(), &clip, "a");
        let lengths: Vec<u64> = viewer.playlist.entries.iter().map(|entry| entry.ms).collect();
        assert_eq!(lengths[..3], [1000, 1000, 1000], "a keyframe each second");
        assert_eq!(viewer.playlist.entries.len(), 4);
        assert_eq!(viewer.playlist.sequence, 0);
        all_is_there(&server, ffmpeg(), &clip, &viewer);
    }
}

/// Codecs, tracks, and what the log calls them.
#[track_caller]
fn carries(program: &Path, inputs: &str, codecs: &str, tracks: &str) {
    let server = server("");
    let clip = clip(program, &format!("{inputs} {codecs}"));
    let viewer = seen(&server, program, &clip, "a");
    server.logged(&[&format!("tracks: {tracks}")]);
    assert!((4..=5).contains(&viewer.playlist.entries.len()), "{:?}", viewer.playlist);
    all_is_there(&server, program, &clip, &viewer);
}

#[test]
fn sound_alone() {
    // What would be shorter than 100 ms at the end is left out.
    carries(ffmpeg(), &SOUND.replace("duration=4", "duration=4.5"), "-c:a aac", "AAC");
}

#[test]
fn pictures_alone() {
    carries(ffmpeg(), PICTURES, "-c:v libx264 -preset veryfast -g 25 -bf 2", "H264");
}

#[test]
fn mp3_alone() {
    let sound = SOUND.replace("48000", "44100").replace("duration=4", "duration=4.5");
    carries(ffmpeg(), &sound, "-c:a libmp3lame", "MP3");
}

#[test]
fn mp3_with_pictures() {
    let inputs = format!("{PICTURES} {}", SOUND.replace("48000", "44100"));
    carries(ffmpeg(), &inputs, "-c:v libx264 -preset veryfast -g 25 -c:a libmp3lame", "H264, MP3");
}

const HEVC: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=error -g 25 -c:a aac";

#[test]
fn hevc() {
    carries(ffmpeg_new(), &format!("{PICTURES} {SOUND}"), HEVC, "HEVC, AAC");
}

/// The files below a folder, by their names in it.
pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    // The catalogue of recordings is none of theirs.
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[test]
fn the_playlist_moves_on() {
    for storage in ["disk", "ram"] {
        let server = server(&format!("hls_window 3; hls_storage {storage};"));
        let tape = Tape::of(&usual_clip());
        let mut publisher = Client::publish(&server, "a");
        tape.headers(&mut publisher, 0);
        tape.play(&mut publisher, 0, 1100, 0);
        let mut viewer = Viewer::open(&server, "a");
        for second in 1..12 {
            tape.play(&mut publisher, second * 1000 + 100, (second + 1) * 1000 + 100, 0);
            viewer.follow_to(u64::from(second) + 1);
            // Four are needed to list more than three seconds; those before can be fetched for two segments more.
            assert_eq!(viewer.playlist.sequence, u64::from(second).saturating_sub(3));
            let oldest = u64::from(second).saturating_sub(5);
            let uri = |number: u64| resolve(&viewer.address, &viewer.segments[&number].0.uri);
            until("what has left is gone", PACED, || {
                (oldest == 0 || http::get(server.http, &uri(oldest - 1)).unwrap().status == 404).then_some(())
            });
            assert_eq!(http::get(server.http, &uri(oldest)).unwrap().status, 200, "{oldest} at {second}");
            let files = files(&server.dir.join("objs/nginx/html/live"));
            assert!(if storage == "disk" { files.len() <= 9 } else { files.is_empty() }, "{files:?}");
        }
        assert_eq!(viewer.segments.len(), 12, "none was missed");
        assert!(viewer.segments.values().all(|(entry, _)| entry.ms == 1000));
        viewer.each_decodes_alone(&server.dir);
        let whole = keep(&server, "whole.ts", &viewer.stretch(0, 12));
        let packets = tools::packets(ffmpeg(), whole.to_str().unwrap());
        let pictures = of(&packets, 0);
        assert_eq!(pictures.len(), 12 * 25);
        assert!(pictures.windows(2).all(|w| w[1].dts - w[0].dts == 40 * 90), "a gap, or an overlap");
    }
}

/// Plays the tape for some seconds as a publisher that comes and goes; gives the number of the next segment.
#[track_caller]
fn session(server: &Server, viewer: &mut Option<Viewer>, tape: &Tape, seconds: u64, shift: u32) -> u64 {
    let before = viewer.as_ref().map_or(0, |viewer| viewer.playlist.next());
    let mut publisher = Client::publish(server, "a");
    tape.headers(&mut publisher, shift);
    // Half a second more, which only the end of the publisher makes a segment.
    tape.play(&mut publisher, 0, seconds as u32 * 1000 + 500, shift);
    publisher.stop();
    let viewer = viewer.get_or_insert_with(|| Viewer::open(server, "a"));
    viewer.follow_to(before + seconds + 1);
    viewer.playlist.next()
}

#[test]
fn publishers_come_and_go() {
    let server = server("hls_window 20;");
    let h264 = Tape::of(&usual_clip());
    let hevc = Tape::of(&clip(ffmpeg_new(), &format!("{PICTURES} {SOUND} {HEVC}")));
    let mut viewer = None;
    let mut ends = vec![0];
    for (tape, shift) in [(&h264, 0), (&h264, 500_000), (&hevc, 0)] {
        ends.push(session(&server, &mut viewer, tape, 2, shift));
    }
    let viewer = viewer.unwrap();
    assert_eq!(ends, [0, 3, 6, 9], "numbers go on");
    for (number, (entry, _)) in &viewer.segments {
        assert_eq!(entry.discontinuity, [3, 6].contains(number), "{number}: {entry:?}");
        let last = number % 3 == 2;
        assert!(if last { (480..=600).contains(&entry.ms) } else { entry.ms == 1000 }, "{number}: {entry:?}");
    }
    viewer.each_decodes_alone(&server.dir);
    for ends in ends.windows(2) {
        let stretch = keep(&server, "stretch.ts", &viewer.stretch(ends[0], ends[1]));
        let frames = tools::decoded(ffmpeg(), stretch.to_str().unwrap());
        assert_eq!(of(&frames, 0).len(), 63, "2.5 s from each publisher");
    }
}

#[test]
fn codecs_change_in_the_middle() {
    let server = server("");
    let h264 = Tape::of(&usual_clip());
    let hevc = Tape::of(&clip(ffmpeg_new(), &format!("{PICTURES} {SOUND} {HEVC}")));
    let large = PICTURES.replace("320x180", "640x360");
    let large = format!("{large} {SOUND} -c:v libx264 -preset veryfast -g 25 -bf 2 -c:a aac");
    let large = Tape::of(&clip(ffmpeg(), &large));
    let mut publisher = Client::publish(&server, "a");
    for (turn, tape) in [&h264, &hevc, &h264, &large].into_iter().enumerate() {
        let time = turn as u32 * 2000;
        tape.headers(&mut publisher, time);
        tape.play(&mut publisher, 0, 2000, time);
    }
    publisher.stop();
    let mut viewer = Viewer::open(&server, "a");
    viewer.follow_to(8);
    viewer.each_decodes_alone(&server.dir);
    let codecs = |number| {
        let path = keep(&server, "one.ts", &viewer.segments[&number].1);
        let what = ["-show_entries", "stream=codec_name,width", "-of", "csv=p=0", path.to_str().unwrap()];
        let mut lines = tools::run(tools::ffprobe(), &what);
        lines.sort();
        lines.dedup();
        lines
    };
    for (number, want) in [(0, "h264,320"), (2, "hevc,320"), (4, "h264,320"), (6, "h264,640")] {
        assert_eq!(viewer.segments[&number].0.discontinuity, number > 0, "{number}");
        assert!(!viewer.segments[&(number + 1)].0.discontinuity);
        for number in [number, number + 1] {
            assert_eq!(
                codecs(number).iter().filter(|line| !line.is_empty()).collect::<Vec<_>>(),
                ["aac", want]
            );
        }
    }
}

/// What plays for `seconds` may be cut anyhow, but not much of it may be lost or told twice.
#[track_caller]
fn about(viewer: &Viewer, seconds: std::ops::RangeInclusive<f64>) {
    let ms: u64 = viewer.segments.values().map(|(entry, _)| entry.ms).sum();
    assert!(seconds.contains(&(ms as f64 / 1000.0)), "{ms} ms: {:?}", viewer.playlist);
    let longest = viewer.segments.values().map(|(entry, _)| entry.ms).max().unwrap();
    assert!(longest <= 4000, "{longest} ms: {:?}", viewer.playlist);
}

#[test]
fn one_kind_starts_long_before_the_other() {
    for late in [MediaKind::Video, MediaKind::Audio] {
        let server = server("");
        let all = Tape::of(&usual_clip());
        let early = Tape::of(&usual_clip()).without(late);
        let mut publisher = Client::publish(&server, "a");
        all.headers(&mut publisher, 0);
        early.play(&mut publisher, 0, 12_000, 0);
        all.play(&mut publisher, 12_000, 16_000, 0);
        publisher.stop();
        server.logged(&["stop publish"]);
        let mut viewer = Viewer::open(&server, "a");
        until("all is listed", PACED, || (viewer.refresh().ms() >= 15_900).then_some(()));
        about(&viewer, 15.9..=16.2);
        viewer.each_decodes_alone(&server.dir);
        let [pictures, sound] = count(&keep(&server, "whole.ts", &viewer.whole()));
        let times = |kind| if kind == late { 1 } else { 4 };
        assert_eq!(pictures, all.count(MediaKind::Video) * times(MediaKind::Video), "{late:?} comes late");
        assert_eq!(sound, all.count(MediaKind::Audio) * times(MediaKind::Audio), "{late:?} comes late");
    }
}

#[test]
fn time_that_jumps_stalls_or_runs_back() {
    let server = server("hls_window 600;");
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "a");
    tape.headers(&mut publisher, 0);
    // In seconds: where the tape plays on after two seconds each.
    let shifts = [0, 3600, 3590, 0, 1_000_000, 4_294_966, 4_000];
    for shift in shifts {
        tape.play(&mut publisher, 0, 2000, shift * 1000);
    }
    // It stands still for two seconds of frames.
    let still = shifts[6] * 1000 + 1999;
    for _ in 0..50 {
        tape.play(&mut publisher, 0, 40, still);
    }
    tape.play(&mut publisher, 0, 2000, still);
    publisher.stop();
    server.logged(&["stop publish"]);
    let mut viewer = Viewer::open(&server, "a");
    until("all is listed", PACED, || (viewer.refresh().ms() >= 15_900).then_some(()));
    about(&viewer, 15.9..=16.6);
    let breaks = viewer.segments.values().filter(|(entry, _)| entry.discontinuity).count();
    assert!((6..=8).contains(&breaks), "{:?}", viewer.playlist);
    // ffmpeg, too, sees that time stands still.
    let pictures = count(&keep(&server, "whole.ts", &viewer.whole()))[0];
    assert_eq!(pictures, 7 * 50 + 50 + 50, "all are there");
    let said = viewer.decoders_say(&server.dir);
    assert_eq!(said.iter().find(|line| !line.contains("non monotonically increasing dts")), None);
}

/// The clock of MPEG-TS has 33 bits and runs at 90 kHz: after 26.5 hours it begins anew.
#[test]
fn the_clock_of_ts_begins_anew() {
    let server = server("");
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "a");
    const END: u32 = ((1u64 << 33) / 90) as u32;
    tape.headers(&mut publisher, END - 2500);
    tape.play(&mut publisher, 0, 4000, END - 2500);
    publisher.stop();
    let mut viewer = Viewer::open(&server, "a");
    viewer.follow_to(4);
    viewer.each_decodes_alone(&server.dir);
    let whole = keep(&server, "whole.ts", &viewer.stretch(0, 4));
    let packets = tools::packets(ffmpeg(), whole.to_str().unwrap());
    let pictures = of(&packets, 0);
    assert_eq!(pictures.len(), 100);
    assert!(pictures.windows(2).all(|w| w[1].dts - w[0].dts == 3600), "{pictures:?}");
}

#[test]
fn kinds_may_be_left_out() {
    for (options, kept) in [("hls_acodec an;", 0), ("hls_vcodec vn;", 1)] {
        let server = server(options);
        let viewer = seen(&server, ffmpeg(), &usual_clip(), "a");
        viewer.each_decodes_alone(&server.dir);
        let counted = count(&keep(&server, "whole.ts", &viewer.stretch(0, viewer.playlist.next())));
        let want = of(&tools::packets(ffmpeg(), usual_clip().to_str().unwrap()), kept).len();
        assert!(counted[kept] >= want - 4 && counted[1 - kept] == 0, "{options}: {counted:?} of {want}");
    }
}

#[test]
fn sound_far_from_its_pictures_and_lengths_of_nothing() {
    let server = server("hls_window 600;");
    let (pictures, sound) = (
        Tape::of(&usual_clip()).without(MediaKind::Audio),
        Tape::of(&usual_clip()).without(MediaKind::Video),
    );
    let mut publisher = Client::publish(&server, "a");
    Tape::of(&usual_clip()).headers(&mut publisher, 0);
    // Sound five seconds behind, sent in turns of a second.
    for second in 0..8 {
        pictures.play(&mut publisher, second * 1000, (second + 1) * 1000, 5000);
        sound.play(&mut publisher, second * 1000, (second + 1) * 1000, 0);
    }
    // Nothing for nine seconds, which is no jump.
    pictures.play(&mut publisher, 0, LENGTH, 22_000);
    publisher.stop();
    server.logged(&["stop publish"]);
    let mut viewer = Viewer::open(&server, "a");
    until("all is listed", PACED, || (viewer.refresh().ms() >= 20_000).then_some(()));
    viewer.each_decodes_alone(&server.dir);
    let counted = count(&keep(&server, "whole.ts", &viewer.whole()));
    assert_eq!(counted, [300, sound.count(MediaKind::Audio) * 2]);
}

/// An hour of media, sent as fast as it is taken, a minute at a time.
#[test]
fn an_hour() {
    let server = server("hls_fragment 2; hls_window 60;");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(SECOND * 3);
    let mut viewer = Viewer::open(&server, "a");
    let mut memory = 0;
    for minute in 1..=60 {
        camera.run_to(SECOND * (60 * minute + 1));
        viewer.follow_to(u64::from(minute) * 30);
        assert!(viewer.playlist.entries.len() <= 31, "{:?}", viewer.playlist);
        assert_eq!(viewer.playlist.discontinuities, 0, "nothing is lost");
        let files = files(&server.dir.join("objs/nginx/html/live"));
        assert!(files.len() <= 36, "{files:?}");
        // What a server needs in the first minutes, it needs for ever.
        if minute == 5 {
            memory = server.memory();
        }
    }
    camera.client.stop();
    viewer.follow_to(1801);
    let grown = server.memory().saturating_sub(memory) >> 20;
    assert!(grown < 16, "{grown} MiB more after 55 minutes");
    let sum: u64 = viewer.segments.values().map(|(entry, _)| entry.ms).sum();
    assert_eq!(sum, 3_601_000);
    assert!(viewer.segments.values().all(|(entry, _)| !entry.discontinuity));
}

/// Pictures of a second.
const SECOND: u32 = 1000 / STEP;
