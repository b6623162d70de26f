//! Recordings: what ffmpeg publishes is in the file to the last frame, segments have each frame once, files of a killed server play, disks that fill up
//! and places that cannot be written cost recordings and nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rtmp::MediaKind;
use rustix::process::Signal;
use serde_json::json;

use crate::client::Client;
use crate::harness::{SOON, Server, Setup, can_mount, directory, free_port, oxcast, ready, until};
use crate::hls::files;
use crate::hooks::service::Service;
use crate::http;
use crate::media::Camera;
use crate::tape::{LENGTH, Tape};
use crate::tools::{self, LIMIT, Line, PICTURES, SOUND, clip, ffmpeg, ffmpeg_new, ffprobe, of, usual_clip};

fn server(options: &str) -> Server {
    Server::with_vhost(&format!("dvr {{ enabled on; {options} }}"))
}

/// Waits for the recording of a stream, and gives where it is.
#[track_caller]
fn recorded(server: &Server, stream: &str, times: usize) -> PathBuf {
    let line = server.logged_times(&["dvr: ", &format!("/live/{stream} is in ")], times);
    let file = line.split(" is in ").nth(1).unwrap().split(',').next().unwrap();
    server.dir.join(file)
}

/// What ffmpeg finds in a file; it must find nothing wrong.
#[track_caller]
fn decoded(file: &Path) -> Vec<Line> {
    let mut run = Command::new(ffmpeg_new());
    run.args(["-v", "error", "-i", file.to_str().unwrap(), "-map", "0", "-f", "null", "-"]);
    let said = run.output().unwrap();
    assert!(
        said.status.success() && said.stderr.is_empty(),
        "{file:?}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    tools::decoded(ffmpeg_new(), file.to_str().unwrap())
}

/// What ffprobe says of the whole file.
fn probed(file: &Path, entry: &str) -> String {
    let args = ["-v", "error", "-show_entries", entry, "-of", "csv=p=0", file.to_str().unwrap()];
    tools::run(ffprobe(), &args).join(",")
}

#[track_caller]
fn same_frames(got: &[Line], want: &[Line], what: &str) {
    for stream in 0..=1 {
        let (got, want) = (of(got, stream), of(want, stream));
        assert_eq!(got.len(), want.len(), "{what}: frames of stream {stream}");
        let differs = got.iter().zip(&want).position(|(got, want)| got.crc != want.crc);
        assert_eq!(differs, None, "{what}: frames of stream {stream}");
    }
}

#[test]
fn what_ffmpeg_publishes_is_recorded_to_the_last_frame() {
    let new = ffmpeg_new();
    let usual = usual_clip();
    let clips = [
        ("usual", usual.clone()),
        (
            "hevc",
            clip(
                new,
                &format!(
                    "{PICTURES} {SOUND} -c:v libx265 -preset ultrafast -x265-params log-level=none -g 25 -c:a aac"
                ),
            ),
        ),
        (
            "mp3",
            clip(
                ffmpeg(),
                &format!("{PICTURES} {SOUND} -c:v libx264 -preset veryfast -g 25 -ar 44100 -c:a libmp3lame"),
            ),
        ),
        ("opus", clip(new, &format!("{PICTURES} {SOUND} -c:v libx264 -preset veryfast -g 25 -c:a libopus"))),
        (
            "av1",
            clip(
                new,
                &format!("{PICTURES} {SOUND} -c:v libsvtav1 -preset 12 -svtav1-params logo=0 -g 25 -c:a aac"),
            ),
        ),
        ("sound", clip(ffmpeg(), &format!("{SOUND} -c:a aac"))),
        ("pictures", clip(ffmpeg(), &format!("{PICTURES} -c:v libx264 -preset veryfast -g 25 -bf 2"))),
    ];
    for ending in ["flv", "mp4"] {
        let server = server(&format!("dvr_path ./rec/[app]/[stream].{ending};"));
        for (name, clip) in &clips {
            if !clip.exists() {
                continue;
            }
            tools::publish(new, clip, &server.rtmp_url(name)).succeed(LIMIT);
            let file = recorded(&server, name, 1);
            assert_eq!(file, server.dir.join(format!("./rec/live/{name}.{ending}")));
            let (got, want) = (decoded(&file), tools::decoded(new, clip.to_str().unwrap()));
            same_frames(&got, &want, &format!("{name}.{ending}"));
            let length: f64 = probed(&file, "format=duration").parse().unwrap();
            assert!((3.9..4.2).contains(&length), "{name}.{ending}: {length} s");
            // Pictures and sound begin together, as they did. The older program knows no enhanced FLV.
            if ["usual", "mp3"].contains(name) {
                let starts = |file: &Path| -> Vec<f64> {
                    let starts = probed(file, "stream=start_time");
                    starts.split(',').map(|start| start.parse().unwrap()).collect()
                };
                let apart = |starts: Vec<f64>| starts[1] - starts[0];
                let (got, want) = (apart(starts(&file)), apart(starts(clip)));
                assert!((got - want).abs() < 0.03, "{name}.{ending}: {got} s apart, not {want}");
            }
        }
        assert_eq!(
            files(&server.dir.join("rec/live")).len(),
            clips.iter().filter(|(_, c)| c.exists()).count()
        );
    }
}

#[test]
fn segments_begin_with_a_keyframe_and_have_each_frame_once_and_services_are_told() {
    let service = Service::start();
    let tape = Tape::of(&usual_clip());
    for ending in ["flv", "mp4"] {
        let vhost = format!(
            "dvr {{ enabled on; dvr_plan segment; dvr_duration 2; dvr_path ./rec/[stream].[timestamp].{ending}; }}
            http_hooks {{ enabled on; on_dvr {}; }}",
            service.url(ending)
        );
        let server = Server::with(Setup { top: "server_id vid-dvr01;", vhost: &vhost, ..Setup::default() });
        let mut publisher = Client::publish(&server, "a?token=abc");
        tape.headers(&mut publisher, 0);
        tape.play(&mut publisher, 0, LENGTH * 3, 0);
        publisher.stop();
        let calls = service.called_with("six recordings", |calls| {
            let calls: Vec<_> =
                calls.iter().filter(|call| call.path == format!("/{ending}")).cloned().collect();
            (calls.len() >= 6).then_some(calls)
        });
        let mut all: [Vec<String>; 2] = Default::default();
        for call in &calls {
            let body = &call.body;
            let fields: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(
                fields.join(" "),
                "server_id service_id action client_id ip vhost app tcUrl stream param cwd file stream_url stream_id"
            );
            assert_eq!(
                [&body["action"], &body["app"], &body["stream"], &body["param"], &body["stream_url"]],
                [&json!("on_dvr"), &json!("live"), &json!("a"), &json!("?token=abc"), &json!("/live/a")]
            );
            let [cwd, file] = ["cwd", "file"].map(|name| body[name].as_str().unwrap());
            assert!(file.starts_with("./rec/a."), "{file}");
            let file = Path::new(cwd).join(file);
            let frames = tools::packets(ffmpeg_new(), file.to_str().unwrap());
            assert!(of(&frames, 0)[0].key, "{file:?}");
            decoded(&file);
            for (stream, all) in all.iter_mut().enumerate() {
                all.extend(of(&frames, stream).iter().map(|frame| frame.crc.clone()));
            }
        }
        let (want, count) =
            (tools::packets(ffmpeg_new(), usual_clip().to_str().unwrap()), |kind| tape.count(kind));
        for (stream, kind) in [(0, MediaKind::Video), (1, MediaKind::Audio)] {
            let once: Vec<_> =
                of(&want, stream).iter().take(count(kind)).map(|frame| frame.crc.clone()).collect();
            let want = [once.clone(), once.clone(), once].concat();
            assert_eq!(all[stream].len(), want.len(), "{ending}: frames of stream {stream}");
            assert!(all[stream] == want, "{ending}: stream {stream} is in another order");
        }
    }
}

#[test]
fn publishers_follow_each_other_names_clash_and_settings_turn() {
    let server = server("dvr_path ./rec/[stream].flv;");
    let tape = Tape::of(&usual_clip());
    let mut first = Client::publish(&server, "a");
    tape.headers(&mut first, 0);
    tape.play(&mut first, 0, 2000, 0);
    first.stop();
    let one = recorded(&server, "a", 1);
    let mut second = Client::publish(&server, "a");
    tape.headers(&mut second, 0);
    tape.play(&mut second, 0, 3000, 0);
    let count = |file: &Path| of(&decoded(file), 0).len();
    assert_eq!((one.ends_with("rec/a.flv"), count(&one)), (true, 50));

    // A reload closes the file and goes on with another one, from the newest keyframe on.
    let path = server.dir.join("oxcast.conf");
    let config = fs::read_to_string(&path).unwrap();
    server.took("a", 75);
    let reload = |config: &str| {
        fs::write(&path, config).unwrap();
        let mut command = oxcast();
        let done = command.current_dir(&server.dir).args(["-c", "oxcast.conf", "reload"]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    };
    reload(&config.replace("rec/[stream].flv", "rec/[stream].mp4"));
    let two = recorded(&server, "a", 2);
    assert_eq!((two.ends_with("rec/a-1.flv"), count(&two)), (true, 75));
    tape.play(&mut second, 3000, 5000, 0);
    server.took("a", 125);
    reload(&config.replace("dvr { enabled on;", "dvr { enabled off;"));
    let three = recorded(&server, "a", 3);
    assert_eq!((three.ends_with("rec/a.mp4"), count(&three)), (true, 75));
    reload(&config.replace("dvr { enabled on;", "dvr { enabled on; dvr_apply live/b;"));
    tape.play(&mut second, 5000, 6000, 0);
    server.took("a", 150);
    second.stop();
    server.logged_times(&["stop publish"], 2);
    tools::publish(ffmpeg(), &usual_clip(), &server.rtmp_url("b")).succeed(LIMIT);
    recorded(&server, "b", 1);
    assert_eq!(files(&server.dir.join("rec")), ["a-1.flv", "a.flv", "a.mp4", "b.flv"]);
}

#[test]
fn what_a_killed_server_was_recording_plays_and_is_completed_by_the_next_one() {
    let dir = directory();
    let [rtmp, flv] = [free_port(), free_port()];
    let config = format!(
        "listen {rtmp}; daemon off; srs_log_tank console; pid ./oxcast.pid; http_server {{ enabled on; listen {flv}; }}
        vhost __defaultVhost__ {{ dvr {{ enabled on; dvr_path ./rec/[app]/[stream].mp4; }} }}
        vhost flv {{ dvr {{ enabled on; dvr_path ./rec/[app]/[stream].flv; }} }}"
    );
    let mut running = ready(&dir, &config);
    let tape = Tape::of(&usual_clip());
    let at = format!("127.0.0.1:{rtmp}").parse().unwrap();
    let publishers = ["a", "a?vhost=flv"].map(|stream| {
        let mut publisher = Client::open(at, &format!("rtmp://{at}/live/{stream}"), rtmp::Role::Publish);
        publisher.start();
        tape.headers(&mut publisher, 0);
        tape.play(&mut publisher, 0, 10_500, 0);
        publisher
    });
    let names = ["mp4", "flv"].map(|ending| dir.join(format!("rec/live/a.{ending}")));
    let tmp = |name: &PathBuf| PathBuf::from(format!("{}.tmp", name.display()));
    let pictures = |file: &Path| of(&tools::decoded(ffmpeg_new(), file.to_str().unwrap()), 0).len();
    for name in &names {
        until("it is written", SOON, || {
            let format = name.extension().unwrap().to_str().unwrap();
            let file = tmp(name);
            let args = [
                "-v",
                "error",
                "-f",
                format,
                "-i",
                file.to_str()?,
                "-map",
                "0:v",
                "-f",
                "null",
                "-progress",
                "-",
                "-",
            ];
            let said = Command::new(ffmpeg_new()).args(args).output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            // At most the last second or so is not there yet.
            let frames = said
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("frame="))?
                .trim()
                .parse::<u32>()
                .ok()?;
            (frames >= 225).then_some(())
        });
    }
    running.signal(Signal::KILL);
    running.wait(SOON);
    drop(publishers);
    assert!(names.iter().all(|name| tmp(name).exists() && !name.exists()));
    let mut running = ready(&dir, &config);
    for name in &names {
        until("it is completed", SOON, || name.exists().then_some(()));
        let count = pictures(name);
        assert!((225..=263).contains(&count), "{count} pictures in {name:?}");
        decoded(name);
        let length: f64 = probed(name, "format=duration").parse().unwrap();
        assert!((9.0..10.6).contains(&length), "{length}");
        assert!(!tmp(name).exists());
    }
    assert!(running.out.all().iter().any(|line| line.contains("was left behind and is complete now")));
    running.signal(Signal::TERM);
    running.succeed(SOON);
}

#[test]
fn a_full_disk_costs_the_recording_and_nothing_else() {
    if !can_mount() {
        return;
    }
    let vhost = "dvr { enabled on; dvr_path ./disk/[stream].flv; }";
    let server = Server::with(Setup { vhost, disk: "size=1m", ..Setup::default() });
    let mut flv = http::Flv::open(server.http, "/live/a.flv");
    server.logged(&["start play stream=/live/a"]);
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "a");
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, 2000, 0);
    server.took("a", 50);
    until("it is written", SOON, || {
        fs::metadata(server.disk().join("a.flv.tmp")).ok().filter(|file| file.len() > 1000)
    });
    let mut filler = File::create(server.disk().join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    tape.play(&mut publisher, 2000, LENGTH * 4, 0);
    server.took("a", 400);
    server.logged(&["[WARN]", "dvr: /live/a", "No space left on device", "it is not recorded"]);
    // What was recorded until then is whole.
    let file = server.disk().join("a.flv");
    until("it is completed", SOON, || file.exists().then_some(()));
    let copy = server.dir.join("copy.flv");
    fs::copy(file, &copy).unwrap();
    // What was gathered for the next write is lost.
    assert!(of(&decoded(&copy), 0).len() >= 20);
    publisher.stop();
    server.logged(&["[WARN]", "dvr: /live/a has ended", "frames are lost"]);
    let said = server.log().all();
    let said = said.iter().filter(|line| line.contains("[WARN]") && line.contains("dvr")).count();
    assert_eq!(said, 2);
    let pictures = flv.rest().iter().filter(|tag| tag.kind == formats::flv::TagKind::Video).count();
    assert_eq!(pictures, 400 + 1, "players have every frame");
}

#[test]
fn places_that_cannot_be_written_and_names_that_climb_record_nothing() {
    let server = server("dvr_path ./blocked/[app]/[stream].flv;");
    fs::write(server.dir.join("blocked"), "in the way").unwrap();
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(50);
    server.logged(&["[WARN]", "dvr: /live/a", "blocked", "it is not recorded"]);
    server.took("a", 50);
    camera.client.stop();
    server.logged(&["[WARN]", "/live/a has ended, 100 frames are lost"]);
    let names = ["../../x", ".hidden"];
    for (turn, name) in names.iter().enumerate() {
        let mut peer = crate::peer::Peer::connect(&server);
        peer.publish(name);
        Tape::of(&usual_clip()).send(|kind, time, body| peer.send(kind, time, body), 1000);
        server.logged_times(&["[WARN]", "dvr:", "cannot be the name of a file"], turn + 1);
    }
    assert!(!server.dir.join("../x.flv").exists() && !server.dir.join("x.flv").exists());
}
