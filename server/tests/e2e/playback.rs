//! What ffmpeg publishes, ffmpeg plays: the same packets at the same times, the same decoded pictures and sound, and not
//! a word of complaint.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::child::Running;
use crate::harness::{SOON, Server, until};
use crate::tools::{self, LIMIT, Line, MAP, ffmpeg, ffprobe, of, usual_clip};

/// ffmpeg as a player: it tells packets as they come, and at the end what they decode to.
struct Watch {
    running: Running,
    decoded: std::path::PathBuf,
}

impl Watch {
    fn start(server: &Server, program: &Path, name: &str, url: &str) -> Self {
        let decoded = server.dir.join(format!("{name}.crc"));
        let packets = ["-c", "copy", "-f", "framecrc", "-flush_packets", "1", "pipe:1"];
        let frames = ["-fps_mode", "passthrough", "-f", "framecrc", decoded.to_str().unwrap()];
        let head = ["-copyts", "-i", url];
        let args = [&head[..], &MAP, &packets, &MAP, &frames].concat();
        Self { running: tools::start(program, &args), decoded }
    }

    /// Waits for its end: packets and decoded frames.
    #[track_caller]
    fn end(mut self) -> (Vec<Line>, Vec<Line>) {
        self.running.succeed(LIMIT);
        let harmless = |said: &&String| HARMLESS.iter().any(|harmless| said.contains(harmless));
        let said = self.running.err.all();
        assert_eq!(said.iter().find(|said| !harmless(said)), None, "ffmpeg complains");
        let decoded = std::fs::read_to_string(&self.decoded).unwrap();
        let decoded: Vec<String> = decoded.lines().map(str::to_owned).collect();
        (Line::read(&self.running.out.all()), Line::read(&decoded))
    }
}

/// What ffmpeg says although nothing is wrong: about Speex, and when an RTMP server closes the connection.
const HARMLESS: [&str; 2] = ["Guessed Channel Layout", "Input/output error"];

/// A player that has been sent nothing for this long has been sent everything.
const QUIET: Duration = Duration::from_millis(500);

/// Publishes a clip with one ffmpeg and plays it with another over RTMP and HTTP-FLV; every packet must come as it was sent.
#[track_caller]
pub fn plays_back(clip: &Path, publisher: &Path, player: &Path) -> Server {
    let server = Server::start();
    let rtmp = Watch::start(&server, player, "rtmp", &server.rtmp_url("a"));
    let flv = Watch::start(&server, player, "flv", &server.flv_url("a"));
    server.logged_times(&["start play stream=/live/a"], 2);

    let clip_url = clip.to_str().unwrap();
    tools::publish(publisher, clip, &server.rtmp_url("a")).succeed(LIMIT);

    let want = (tools::packets(player, clip_url), tools::decoded(player, clip_url));
    let flv = flv.end();
    // RTMP players would wait for the next publisher.
    let mut sent = (Value::Null, Instant::now());
    let id = until("the RTMP player has everything", SOON, || {
        let client = server.has_clients(1).remove(0);
        if client["send_bytes"] != sent.0 {
            sent = (client["send_bytes"].clone(), Instant::now());
        }
        (sent.1.elapsed() > QUIET).then(|| client["id"].as_str().unwrap().to_owned())
    });
    server.kick(&id);
    let rtmp = rtmp.end();

    for (got, by) in [(rtmp, "RTMP"), (flv, "HTTP-FLV")] {
        same(&got.0, &want.0, &format!("packets over {by}"), true);
        same(&got.1, &want.1, &format!("decoded over {by}"), false);
        starts_well(&got.0, by);
    }
    server
}

/// The same bytes in each stream; with `times`, also the same distances from the very first one.
#[track_caller]
fn same(got: &[Line], want: &[Line], what: &str, times: bool) {
    let zero = |lines: &[Line]| lines.iter().map(|line| line.dts).min().unwrap_or(0);
    let (got_zero, want_zero) = (zero(got), zero(want));
    for stream in 0..=1 {
        let (got, want) = (of(got, stream), of(want, stream));
        assert_eq!(got.len(), want.len(), "{what}, stream {stream}");
        for (n, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_eq!((&got.crc, got.size), (&want.crc, want.size), "{what}, stream {stream}, {n}");
            if times {
                assert_eq!(got.dts - got_zero, want.dts - want_zero, "{what}, stream {stream}, {n}: time");
                assert_eq!(
                    got.pts - got.dts,
                    want.pts - want.dts,
                    "{what}, stream {stream}, {n}: composition"
                );
                assert_eq!(got.key, want.key, "{what}, stream {stream}, {n}: key");
            }
        }
    }
}

/// Starts at zero or soon after, with a keyframe, and with picture and sound together.
#[track_caller]
fn starts_well(packets: &[Line], by: &str) {
    let first = |stream| of(packets, stream).first().map(|line| (line.dts, line.key));
    let starts: Vec<i64> = [first(0), first(1)].iter().flatten().map(|(dts, _)| *dts).collect();
    assert!(starts.iter().all(|dts| (0..1000).contains(dts)), "{by} starts at {starts:?}");
    assert!(first(0).is_some_and(|(_, key)| key), "{by} starts without a keyframe");
    if let [video, audio] = starts[..] {
        assert!((video - audio).abs() < 200, "{by}: picture at {video}, sound at {audio}");
    }
}

#[test]
fn h264_with_b_frames_and_aac() {
    let server = plays_back(&usual_clip(), ffmpeg(), ffmpeg());
    server.logged(&["tracks: H264, AAC"]);
    let delays: Vec<i64> = of(&tools::packets(ffmpeg(), usual_clip().to_str().unwrap()), 0)
        .iter()
        .map(|p| p.pts - p.dts)
        .collect();
    assert!(delays.iter().any(|delay| *delay > 40), "the clip has no B-frames");
}

#[test]
fn ffprobe_knows_what_it_plays() {
    let server = Server::start();
    let probe = |url: String| {
        tools::start(ffprobe(), &["-analyzeduration", "2M", "-show_streams", "-of", "json", &url])
    };
    let probes = [probe(server.rtmp_url("a")), probe(server.flv_url("a"))];
    server.logged_times(&["start play stream=/live/a"], 2);
    let mut publisher = tools::publish(ffmpeg(), &usual_clip(), &server.rtmp_url("a"));
    for mut probe in probes {
        probe.succeed(LIMIT);
        let json: Value = serde_json::from_str(&probe.out.all().concat()).unwrap();
        let [video, audio] = ["video", "audio"].map(|kind| {
            json["streams"].as_array().unwrap().iter().find(|s| s["codec_type"] == kind).unwrap().clone()
        });
        assert_eq!((&video["codec_name"], &audio["codec_name"]), (&"h264".into(), &"aac".into()));
        assert_eq!((&video["width"], &video["height"]), (&320.into(), &180.into()));
        assert_eq!(video["r_frame_rate"], "25/1");
        assert_eq!((&audio["sample_rate"], &audio["channels"]), (&"48000".into(), &1.into()));
    }
    publisher.succeed(LIMIT);
}

#[test]
fn a_player_who_joins_later_starts_with_a_keyframe() {
    let server = Server::start();
    let clip = usual_clip();
    let file = clip.to_str().unwrap();
    let slow = ["-re", "-i", file, "-c", "copy", "-f", "flv"];
    let mut publisher = tools::start(ffmpeg(), &[&slow[..], &[&server.rtmp_url("a")]].concat());
    // In the middle of the second of four groups.
    server.took("a", 36);
    let flv = Watch::start(&server, ffmpeg(), "flv", &server.flv_url("a"));
    server.logged(&["start play stream=/live/a"]);
    publisher.succeed(LIMIT);
    let (packets, decoded) = flv.end();

    starts_well(&packets, "HTTP-FLV");
    let pictures = of(&packets, 0);
    let all = tools::packets(ffmpeg(), file);
    let all = of(&all, 0);
    assert!(
        [50, 75].contains(&pictures.len()),
        "{} of 100 pictures is no tail of whole groups",
        pictures.len()
    );
    let tail = &all[all.len() - pictures.len()..];
    assert!(pictures.iter().zip(tail).all(|(got, want)| got.crc == want.crc && got.key == want.key));
    assert_eq!(of(&decoded, 0).len(), pictures.len(), "a picture could not be decoded");
    let span = |lines: &[&Line]| lines.last().unwrap().dts - lines[0].dts;
    assert_eq!(span(&pictures), span(tail), "time is stretched");
}

#[test]
fn what_was_published_is_listed() {
    let server = Server::start();
    let clip = usual_clip();
    let args = ["-re", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv"];
    let publisher = tools::start(ffmpeg(), &[&args[..], &[&server.rtmp_url("a")]].concat());
    server.took("a", 10);
    let stream = server.stream("a").unwrap();
    assert_eq!((&stream["video"]["codec"], &stream["audio"]["codec"]), (&"H264".into(), &"AAC".into()));
    assert_eq!((&stream["video"]["width"], &stream["video"]["height"]), (&320.into(), &180.into()));
    assert_eq!(stream["publish"]["active"], true);
    let id = publisher.id();
    drop(publisher);
    until(&format!("ffmpeg {id} is off the list"), SOON, || server.stream("a").is_none().then_some(()));
}
