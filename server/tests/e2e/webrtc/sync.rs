//! Sound and pictures of WebRTC publishers are together when others play them: marks in both, and how far they are apart in what ffmpeg records.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use formats::flv::{Item, Reader, TagKind};
use serde_json::json;

use super::footage::{Footage, RATE, avcc};
use super::peer::Call;
use super::relay::{Relay, Weather};
use super::{endpoint, meet, server, server_by_eip};
use crate::child::Running;
use crate::harness::Server;
use crate::tools::{LIMIT, Line, ffmpeg, of, run, start};

/// Pictures of a second, in the words of [`RATE`].
const SECOND: u32 = RATE;

/// Records some seconds of the stream `a` over RTMP and over HTTP-FLV at the same time, as they come.
#[track_caller]
pub(super) fn record(server: &Server, seconds: u32) -> [PathBuf; 2] {
    let seconds = seconds.to_string();
    let recordings = [("rtmp", server.rtmp_url("a")), ("http", server.flv_url("a"))].map(|(name, url)| {
        let file = server.dir.join(format!("{name}.flv"));
        let head = ["-i", &url, "-t", &seconds, "-c", "copy", file.to_str().unwrap()];
        (start(ffmpeg(), &head), file)
    });
    recordings.map(|(mut recorder, file)| {
        recorder.succeed(LIMIT);
        file
    })
}

/// When a filter of ffmpeg says so, in seconds.
fn moments(file: &Path, map: &str, filter: [&str; 2], say: &str) -> Vec<f64> {
    let mut command = Command::new(ffmpeg());
    command.args(["-hide_banner", "-nostats", "-i"]).arg(file).args(["-map", map]);
    let mut filtering = Running::start("ffmpeg", command.args(filter).args(["-f", "null", "-"]));
    filtering.succeed(LIMIT);
    let lines = filtering.err.all();
    let values =
        lines.iter().filter_map(|line| line.split_once(say)?.1.split([' ', '|']).find(|s| !s.is_empty()));
    values.map(|text| text.parse().unwrap_or_else(|e| panic!("{e}: {text}"))).collect()
}

/// When sound begins after silence.
pub(super) fn beeps(file: &Path) -> Vec<f64> {
    moments(file, "0:a", ["-af", "silencedetect=noise=-30dB:d=0.3"], "silence_end: ")
}

/// When pictures become bright.
pub(super) fn flashes(file: &Path) -> Vec<f64> {
    moments(file, "0:v", ["-vf", "blackdetect=d=0.3:pix_th=0.3"], "black_end:")
}

/// When the first picture of each full second of the footage is shown.
fn full_seconds(file: &Path) -> Vec<f64> {
    let (mut reader, mut found) = (Reader::new(), Vec::new());
    reader.receive(&std::fs::read(file).unwrap());
    while let Some(item) = reader.poll_item().unwrap() {
        if let Item::Tag { kind: TagKind::Video, timestamp, body } = item
            && body[1] == 1
            && Footage::get().number(&avcc(&body[5..])).is_some_and(|number| number % SECOND == 0)
        {
            found.push(f64::from(timestamp) / 1000.0);
        }
    }
    found
}

/// How many milliseconds each mark in the sound is later than the nearest one of the pictures.
#[track_caller]
pub(super) fn skews(pictures: &[f64], sounds: &[f64]) -> Vec<f64> {
    assert!(pictures.len() >= 3 && sounds.len() >= 3, "{pictures:?} {sounds:?}");
    let apart = |sound: &f64| {
        pictures.iter().map(|picture| (sound - picture) * 1000.0).min_by(|a, b| a.abs().total_cmp(&b.abs()))
    };
    // Before the first picture, and behind the last one, there is none to compare with.
    let covered = pictures[0] - 0.4..pictures[pictures.len() - 1] + 0.4;
    sounds.iter().filter(|sound| covered.contains(*sound)).filter_map(apart).collect()
}

/// Most marks are less than `limit` ms apart, and none as far as viewers object to (ITU-R BT.1359-1: sound 90 ms early, 185 ms late).
#[track_caller]
pub(super) fn are_together(mut skews: Vec<f64>, limit: f64) {
    assert!(skews.iter().all(|skew| (-90.0..185.0).contains(skew)), "{skews:?}");
    skews.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    assert!(skews[skews.len() * 2 / 3] < limit && skews[skews.len() * 2 / 3] > -limit, "{skews:?}");
}

/// It can be decoded without a complaint: pictures and sound, with times that rise.
#[track_caller]
pub(super) fn plays(file: &Path, pictures: usize, sounds: usize) {
    let tail = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "framecrc", "-"];
    let lines = run(ffmpeg(), &[&["-i", file.to_str().unwrap()], &tail[..]].concat());
    let lines = Line::read(&lines);
    for (track, least) in [(of(&lines, 0), pictures), (of(&lines, 1), sounds)] {
        assert!(track.len() >= least, "{} of {least}", track.len());
        assert!(track.windows(2).all(|pair| pair[1].pts > pair[0].pts), "{track:?}");
    }
}

#[test]
fn pictures_and_sound_are_together_in_spite_of_the_network() {
    let (server, port) = server_by_eip("");
    let weather = Weather { loss: 0.05, delay: Duration::from_millis(20), ..Weather::default() };
    let relay = Relay::new(port, weather, 21);
    let _publisher = Call::new(&server, "a").via(relay.address).publish().connected();
    for file in record(&server, 6) {
        plays(&file, 6 * 25 - 30, 6 * 46 - 60);
        let skews = skews(&full_seconds(&file), &beeps(&file));
        eprintln!("{}: sound is later by {skews:.1?} ms", file.display());
        are_together(skews, 40.0);
    }
}

/// A browser's own capture is part of this, so that it cannot be as exact.
#[test]
fn what_a_browser_publishes_is_together() {
    let server = server();
    let publish = endpoint(&server, "whip", "a");
    let browser =
        std::thread::spawn(move || meet(&json!({ "publish": publish, "studio": {}, "seconds": 16 })));
    server.logged(&["connected over Udp"]);
    for file in record(&server, 6) {
        plays(&file, 6 * 15, 6 * 46 - 60);
        let skews = skews(&flashes(&file), &beeps(&file));
        eprintln!("{}: sound is later by {skews:.1?} ms", file.display());
        are_together(skews, 120.0);
    }
    browser.join().unwrap();
}

/// Somebody shares a screen over a network that loses, and makes the window larger: players of RTMP see it all.
#[test]
fn a_screen_becomes_larger_while_packets_are_lost() {
    let (server, port) = server_by_eip("");
    let weather = Weather { loss: 0.05, delay: Duration::from_millis(20), ..Weather::default() };
    let relay = Relay::new(port, weather, 22);
    let publish = format!("{}&eip={}", endpoint(&server, "whip", "a"), relay.address);
    let wish = json!({ "publish": publish, "studio": { "resizeAfter": 6 }, "seconds": 14 });
    let browser = std::thread::spawn(move || meet(&wish));
    server.logged(&["connected over Udp"]);
    for file in record(&server, 9) {
        // A new sequence header makes ffmpeg take a new size.
        let mut command = Command::new(ffmpeg());
        command.args(["-hide_banner", "-nostats", "-i"]).arg(&file);
        command.args(["-map", "0:v", "-vf", "showinfo", "-fps_mode", "passthrough", "-f", "null", "-"]);
        let mut shown = Running::start("ffmpeg", &mut command);
        shown.succeed(LIMIT);
        let lines: Vec<_> =
            shown.err.all().into_iter().filter(|line| line.contains("Parsed_showinfo")).collect();
        let value = |line: &str, name: &str| -> Option<String> {
            line.split_once(name)?.1.split_whitespace().next().map(str::to_owned)
        };
        let shown: Vec<(f64, String)> = lines
            .iter()
            .filter_map(|line| Some((value(line, "pts_time:")?.parse().ok()?, value(line, " s:")?)))
            .collect();
        let sizes: Vec<_> = shown.chunk_by(|a, b| a.1 == b.1).map(|same| same[0].1.as_str()).collect();
        // The browser's encoder may find that the network is too bad for all of it.
        let larger = |size: &&str| *size != "320x180";
        assert!(sizes[0] == "320x180" && sizes.last().is_some_and(larger), "{sizes:?}");
        let pauses = shown.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let longest = pauses.clone().fold(0.0, f64::max);
        eprintln!("{}: {} pictures, {sizes:?}, pauses up to {longest:.3} s", file.display(), shown.len());
        assert!(pauses.clone().all(|pause| pause > 0.0) && longest < 1.0, "{longest}: {shown:?}");
        assert!(shown.len() > 9 * 15, "{}", shown.len());
    }
    browser.join().unwrap();
    assert!(relay.lost() > 20, "{}", relay.lost());
}
