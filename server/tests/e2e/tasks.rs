//! Programs that the server starts, with ffmpeg as what they are: inputs that loop, streams that are transcoded and recorded, programs that
//! fail; and that none of them outlives the server.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::child::Running;
use crate::harness::{SOON, Server, directory, free_port, oxcast, ready, until};
use crate::http;
use crate::tools::{self, LIMIT, clip, ffmpeg, ffprobe, usual_clip};

/// An encoder has to come up, on a machine that tests.
const COMES_UP: Duration = Duration::from_secs(20);

/// A second with a keyframe at its start.
fn short_clip() -> PathBuf {
    let pictures = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=1";
    let sound = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=1";
    clip(ffmpeg(), &format!("{pictures} {sound} -c:v libx264 -preset veryfast -g 25 -bf 0 -c:a aac"))
}

/// A server in a folder of its own.
struct House {
    server: Running,
    dir: PathBuf,
    rtmp: SocketAddr,
    http: SocketAddr,
    config: String,
}

impl House {
    fn open(vhost: &str) -> Self {
        let dir = directory();
        let [rtmp, http] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let config = format!(
            "listen {rtmp}; pid ./o.pid; daemon off; srs_log_tank console; ff_log_dir ./logs;
            http_server {{ enabled on; listen {http}; dir ./html; }} http_api {{ enabled on; listen {http}; }}
            vhost __defaultVhost__ {{ http_remux {{ enabled on; }} {vhost} }}"
        );
        Self { server: ready(&dir, &config), dir, rtmp, http, config }
    }

    fn reload(&self, config: &str) {
        fs::write(self.dir.join("oxcast.conf"), config).unwrap();
        let done = oxcast().current_dir(&self.dir).args(["-c", "oxcast.conf", "reload"]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

/// The programs, as the API tells.
fn tasks(api: SocketAddr) -> Vec<Value> {
    let reply = http::get(api, "/api/v1/tasks").unwrap();
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    answer["tasks"].as_array().unwrap().clone()
}

/// The process of a program that runs.
#[track_caller]
fn running(api: SocketAddr, kind: &str, name: &str) -> u64 {
    until(&format!("{kind} {name} runs"), SOON, || {
        let all = tasks(api);
        all.iter().find(|task| task["kind"] == kind && task["name"] == name)?["pid"].as_u64()
    })
}

fn lives(pid: u64) -> bool {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}

/// Width and height of the pictures there.
fn size(url: &str) -> Option<String> {
    let fields = "stream=width,height";
    let mut probe = std::process::Command::new(ffprobe());
    probe.args(["-v", "error", "-select_streams", "v", "-show_entries", fields, "-of", "csv=p=0", url]);
    let output = probe.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or_default()
        .trim_matches(',')
        .to_owned();
    Some(text).filter(|text| output.status.success() && !text.is_empty())
}

#[test]
fn a_file_loops_and_is_transcoded_for_hls() {
    let file = short_clip();
    let vhost = format!(
        "hls {{ enabled on; hls_fragment 1; hls_path ./html; }}
        token {{ enabled on; secret a-secret-of-thirty-two-characters; play off; }}
        ingest cam {{ enabled on; input {{ url {}; }} ffmpeg {};
            engine {{ output rtmp://127.0.0.1:[port]/live?vhost=[vhost]/cam; }} }}
        transcode {{ enabled on; ffmpeg {};
            engine ld {{ enabled on; vcodec libx264; vwidth 854; vheight 480; vbitrate 500; vprofile baseline; vpreset ultrafast;
                vparams {{ g 25; }} acodec copy; output rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]; }}
            engine snap {{ enabled on; vcodec png; vparams {{ update 1; r 2; }} acodec an; oformat image2; output ./[stream].png; }} }}",
        file.display(),
        ffmpeg().display(),
        ffmpeg().display(),
    );
    let mut house = House::open(&vhost);
    let ingest = running(house.http, "ingest", "__defaultVhost__/cam");
    let ld = running(house.http, "transcode", "/live/cam[ld]");
    let snap = running(house.http, "transcode", "/live/cam[snap]");

    // Time goes on while the file begins again and again.
    let url = format!("http://{}/live/cam.flv", house.http);
    let output = ["-copyts", "-i", &url, "-t", "5", "-map", "0:v", "-c", "copy", "-f", "framecrc", "-"];
    let frames = tools::Line::read(&tools::run(ffmpeg(), &output));
    assert!(frames.len() >= 100, "{} frames", frames.len());
    let steps: Vec<_> = frames.windows(2).map(|pair| pair[1].dts - pair[0].dts).collect();
    assert!(steps.iter().all(|step| (38..=50).contains(step)), "{steps:?}");

    let list = format!("http://{}/live/cam_ld.m3u8", house.http);
    let seen = until("it plays in HLS", COMES_UP, || size(&list));
    assert_eq!(seen, "854,480");
    let picture = house.dir.join("cam.png");
    until("there is a picture", COMES_UP, || {
        size(picture.to_str().unwrap()).filter(|size| size == "320,180")
    });
    // What a transcoder has made is not transcoded again.
    assert_eq!(tasks(house.http).len(), 3);

    // One engine changes, and one starts again.
    house.reload(&house.config.replace("vbitrate 500", "vbitrate 300"));
    let changed = until("the engine starts again", SOON, || {
        Some(running(house.http, "transcode", "/live/cam[ld]")).filter(|pid| *pid != ld)
    });
    assert!(!lives(ld));
    assert_eq!(running(house.http, "transcode", "/live/cam[snap]"), snap);
    assert_eq!(running(house.http, "ingest", "__defaultVhost__/cam"), ingest);
    let log =
        fs::read_to_string(house.dir.join("logs/ffmpeg-encoder-__defaultVhost__-live-cam-ld.log")).unwrap();
    assert!(log.contains("-b:v 300000"), "{log}");
    // Nobody reads a pass, neither here nor there.
    let all = house.server.out.all();
    let told = all.iter().map(String::as_str).chain(log.lines());
    let told: Vec<_> = told.filter(|line| line.contains("oxcast_pass=")).collect();
    assert!(!told.is_empty() && told.iter().all(|line| line.contains("oxcast_pass=***")), "{told:?}");

    // A server that has no time to end takes its programs along.
    house.server.signal(Signal::KILL);
    house.server.wait(SOON);
    for pid in [ingest, changed, snap] {
        until("no program is left", SOON, || (!lives(pid)).then_some(()));
    }
    fs::remove_dir_all(&house.dir).unwrap();
    let _ = house.rtmp;
}

#[test]
fn commands_run_for_streams_and_players() {
    let program = ffmpeg().display();
    let vhost = format!(
        "refer {{ enabled on; play example.com; }}
        exec {{ enabled on; publish {program} -v error -f flv -i [url] -c copy -y ./[stream].mp4;
            publish sh -c 'echo hello; sleep 600 & wait' >said.txt;
            unpublish sh -c 'echo $0 $1 >> gone.txt' [app] [stream]; play echo [stream] >came.txt; stop echo [stream] >left.txt; }}"
    );
    let mut server = Server::with(crate::harness::Setup {
        vhost: &vhost,
        top: "ff_log_dir ./logs;",
        ..Default::default()
    });
    let file = usual_clip();
    let (rtmp, flv) = (server.rtmp_url("cam"), server.flv_url("cam"));
    let args = ["-stream_loop", "-1", "-re", "-i", file.to_str().unwrap(), "-c", "copy", "-f", "flv", &rtmp];
    let publisher = tools::start(ffmpeg(), &args);
    let recorder = running(server.api, "exec", "/live/cam publish");
    let sleeper = running(server.api, "exec", "/live/cam publish #2");
    let read = |name: &str| fs::read_to_string(server.dir.join(name)).ok();
    // The recorder comes from no page, and is let in; and it is no player for whom anything is run.
    until("something is recorded", COMES_UP, || {
        fs::metadata(server.dir.join("cam.mp4")).ok().filter(|file| file.len() > 30_000).map(drop)
    });
    assert_eq!((read("said.txt").as_deref(), read("came.txt")), (Some("hello\n"), None));
    let from = ["-referer", "http://example.com/", "-i", &flv, "-t", "1", "-c", "copy", "-f", "null", "-"];
    tools::start(ffmpeg(), &from).succeed(LIMIT);
    until("who has come and left is told", SOON, || {
        Some((read("came.txt")?, read("left.txt")?)).filter(|(came, left)| came == "cam\n" && left == "cam\n")
    });
    publisher.signal(Signal::INT);
    until("the end is told", SOON, || read("gone.txt").filter(|text| text == "live cam\n"));
    for pid in [recorder, sleeper] {
        until("commands end with the publisher", SOON, || (!lives(pid)).then_some(()));
    }
    assert_eq!(tasks(server.api).len(), 0);
    assert_eq!(size(server.dir.join("cam.mp4").to_str().unwrap()).as_deref(), Some("320,180"));
    server.stop();
}

#[test]
fn what_always_fails_is_tried_less_and_less_and_says_why() {
    let program = ffmpeg().display();
    let silent = silent_camera();
    let engine = "engine { output rtmp://127.0.0.1:[port]/live/none; }";
    let vhost = format!(
        "ingest gone {{ enabled on; ffmpeg {program}; input {{ url ./nothing.flv; }} {engine} }}
        ingest absent {{ enabled on; ffmpeg ./no/ffmpeg; input {{ url ./nothing.flv; }} {engine} }}
        ingest silent {{ enabled on; ffmpeg {program}; input {{ type stream; url tcp://{silent}; }}
            engine {{ perfile {{ analyzeduration 500000; probesize 50000; }} output rtmp://127.0.0.1:[port]/live/silent; }} }}
        publish {{ normal_timeout 500; }}
        ingest stubborn {{ enabled on; ffmpeg ./stubborn; input {{ url x; }} {engine} }}"
    );
    let mut server = Server::with(crate::harness::Setup {
        vhost: &vhost,
        top: "ff_log_dir ./logs;",
        ..Default::default()
    });
    server.logged(&["ingest __defaultVhost__/gone: failed", "No such file or directory", "again in 3s"]);
    server.logged(&["/absent: failed", "cannot start ./no/ffmpeg", "again in 3s"]);
    // A program that is there at last, and does not want to end.
    stubborn(&server.dir);
    server.logged(&["ingest __defaultVhost__/gone: failed", "No such file or directory", "again in 6s"]);
    let gone = tasks(server.api).into_iter().find(|task| task["name"] == "__defaultVhost__/gone").unwrap();
    assert_eq!((&gone["state"], &gone["restarts"]), (&"waiting".into(), &1.into()));
    server.logged(&["/silent: its stream has ended, and it did not: its input hangs"]);
    let log =
        fs::read_to_string(server.dir.join("logs/ffmpeg-ingest-__defaultVhost__-live-none.log")).unwrap();
    assert!(log.contains("nothing.flv: No such file"), "{log}");
    let pid = running(server.api, "ingest", "__defaultVhost__/stubborn");
    until("it does not listen", SOON, || {
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
        fs::read_to_string(server.dir.join("asked")).ok()
    });
    server.stop();
    assert!(!lives(pid));
}

/// Sends a few seconds of media to whoever comes, and then nothing more.
fn silent_camera() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let file = usual_clip();
    let ts = file.with_extension(format!("{}.ts", std::process::id()));
    tools::run(ffmpeg(), &["-i", file.to_str().unwrap(), "-c", "copy", "-y", ts.to_str().unwrap()]);
    let media = fs::read(&ts).unwrap();
    fs::remove_file(ts).unwrap();
    std::thread::spawn(move || {
        let mut callers = Vec::new();
        for mut caller in listener.incoming().flatten() {
            let _ = caller.write_all(&media);
            callers.push(caller);
        }
    });
    address
}

fn stubborn(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let text = "#!/bin/sh\ntrap 'echo again > asked' TERM\nwhile :; do sleep 0.1; done\n";
    fs::write(dir.join("new"), text).unwrap();
    fs::set_permissions(dir.join("new"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(dir.join("new"), dir.join("stubborn")).unwrap();
}
