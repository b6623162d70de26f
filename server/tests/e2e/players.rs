//! Players and publishers of others: VLC and GStreamer. ffmpeg is everywhere else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Running;
use crate::harness::Server;
use crate::tools::{ffmpeg, ffprobe, run, start, usual_clip};

/// How long a player may take: its start, and the seconds that it plays.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Publishes the usual clip in a loop and in real time.
pub fn publish_for_ever(server: &Server, stream: &str) -> Running {
    publish_clip_for_ever(server, &usual_clip(), stream)
}

/// Publishes a clip with pictures in a loop and in real time.
pub fn publish_clip_for_ever(server: &Server, clip: &Path, stream: &str) -> Running {
    let head = ["-re", "-stream_loop", "-1", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv"];
    let publisher = start(ffmpeg(), &[&head[..], &[&server.rtmp_url(stream)]].concat());
    server.took(stream, 1);
    publisher
}

/// A directory that everybody may write to.
struct Common(PathBuf);

impl Common {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oxcast-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The frames that decoders find in a file: pictures and sound.
fn frames(file: &Path) -> (u64, u64) {
    let count = |kind| {
        let what = [
            "-v",
            "quiet",
            "-count_frames",
            "-select_streams",
            kind,
            "-show_entries",
            "stream=nb_read_frames",
        ];
        let mut probe = Command::new(ffprobe());
        let mut probe = Running::start("ffprobe", probe.args(what).args(["-of", "csv=p=0"]).arg(file));
        probe.succeed(LIMIT);
        // A file of MPEG-TS tells its streams twice: in its program, and alone.
        let first = probe.out.all().into_iter().find(|line| !line.is_empty()).unwrap_or_default();
        first.trim_matches(',').parse().unwrap_or_else(|_| panic!("ffprobe says {first:?}"))
    };
    (count("v"), count("a"))
}

/// VLC decodes four seconds of it, and writes what it saw and heard in other codecs.
pub fn watch_with_vlc(url: &str, name: &str) -> (u64, u64) {
    const NOBODY: u32 = 65534;
    let home = Common::new(name);
    let file = home.0.join("seen.ts");
    let out = format!(
        "#transcode{{vcodec=mp2v,vb=800,acodec=mpga}}:std{{access=file,mux=ts,dst={}}}",
        file.display()
    );
    let mut command = Command::new("cvlc");
    command.env("HOME", &home.0).current_dir(&home.0);
    command.args([
        "-I",
        "dummy",
        "--no-media-library",
        "--run-time",
        "4",
        "--play-and-exit",
        "--sout",
        &out,
        url,
    ]);
    // VLC refuses to run as root.
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut vlc = Running::start("cvlc", &mut command);
    vlc.succeed(LIMIT);
    assert!(file.exists(), "VLC has written nothing; it says:\n{}", vlc.err.all().join("\n"));
    frames(&file)
}

#[test]
fn vlc_plays_rtmp() {
    let server = Server::start();
    let _publisher = publish_for_ever(&server, "vlc");
    let (pictures, sound) = watch_with_vlc(&server.rtmp_url("vlc"), "vlc-rtmp");
    assert!(pictures > 60 && sound > 80, "{pictures} pictures, {sound} frames of sound");
}

#[test]
fn vlc_plays_http_flv() {
    let server = Server::start();
    let _publisher = publish_for_ever(&server, "vlc");
    let (pictures, sound) = watch_with_vlc(&server.flv_url("vlc"), "vlc-http");
    assert!(pictures > 60 && sound > 80, "{pictures} pictures, {sound} frames of sound");
}

/// Runs a pipeline; an element named `seen` tells how many buffers it has had.
pub fn gstreamer(pipeline: &str) -> Running {
    let mut command = Command::new("gst-launch-1.0");
    Running::start(pipeline, command.arg("-v").args(pipeline.split_whitespace()))
}

/// GStreamer decodes 50 pictures that come from this source.
#[track_caller]
fn watch_with_gstreamer(source: &str) {
    let mut player = gstreamer(&format!(
        "{source} ! flvdemux ! h264parse ! avdec_h264 ! fakesink name=seen silent=false num-buffers=50"
    ));
    player.succeed(LIMIT);
    let said = player.out.all();
    let pictures = said.iter().filter(|line| line.contains("last-message = chain")).count();
    assert_eq!(pictures, 50, "{}", said.join("\n"));
}

#[test]
fn gstreamer_plays_rtmp_and_http_flv() {
    let server = Server::start();
    let _publisher = publish_for_ever(&server, "gst");
    let (rtmp, flv) = (server.rtmp_url("gst"), server.flv_url("gst"));
    watch_with_gstreamer(&format!("rtmp2src location={rtmp}"));
    watch_with_gstreamer(&format!("souphttpsrc is-live=true location={flv}"));
}

#[test]
fn gstreamer_plays_rtmp_with_librtmp() {
    let server = Server::start();
    let _publisher = publish_for_ever(&server, "gst");
    watch_with_gstreamer(&format!("rtmpsrc location={}", server.rtmp_url("gst")));
}

#[test]
fn gstreamer_publishes() {
    let server = Server::start();
    for (sink, stream) in [("rtmp2sink", "gst2"), ("rtmpsink", "gst1")] {
        let url = server.rtmp_url(stream);
        let mut publisher = gstreamer(&format!(
            "videotestsrc is-live=true num-buffers=120 ! video/x-raw,width=320,height=180,framerate=30/1 \
             ! openh264enc gop-size=30 ! h264parse ! flvmux name=mux streamable=true ! {sink} location={url} \
             audiotestsrc is-live=true num-buffers=172 ! voaacenc ! aacparse ! mux."
        ));
        server.took(stream, 1);
        let lines = run(ffmpeg(), &["-i", &server.flv_url(stream), "-f", "framecrc", "-"]);
        let count = |stream| lines.iter().filter(|line| line.starts_with(stream)).count();
        let (first, second) = (count("0,"), count("1,"));
        // Which is the picture and which the sound, the order of their first messages says.
        assert!(first.min(second) > 80, "{sink}: {first} and {second} frames:\n{}", lines.join("\n"));
        publisher.succeed(LIMIT);
    }
}
