//! ffmpeg: the one of the distribution, and a newer one that speaks enhanced RTMP.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::child::Running;

/// How long a run of ffmpeg may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// ffmpeg as the distribution has it.
pub fn ffmpeg() -> &'static Path {
    Path::new("/usr/bin/ffmpeg")
}

/// Its ffprobe.
pub fn ffprobe() -> &'static Path {
    Path::new("/usr/bin/ffprobe")
}

/// An ffmpeg of 2024 or later: `OXCAST_FFMPEG_NEW`, or what `make test` has installed.
pub fn ffmpeg_new() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(path) = std::env::var_os("OXCAST_FFMPEG_NEW") {
            return path.into();
        }
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/py");
        let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path());
        entries(venv.join("lib"))
            .flat_map(|python| entries(python.join("site-packages/imageio_ffmpeg/binaries")))
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ffmpeg-")))
            .unwrap_or_else(|| {
                panic!(
                    "no newer ffmpeg in {}: `make test` installs it (the PyPI package imageio-ffmpeg), \
                     or set OXCAST_FFMPEG_NEW",
                    venv.display()
                )
            })
    })
}

/// Starts ffmpeg; what it says on standard error is a complaint.
pub fn start(program: &Path, args: &[&str]) -> Running {
    let mut command = Command::new(program);
    let name = format!("{} {}", program.file_name().unwrap().to_string_lossy(), args.join(" "));
    let quiet = ["-hide_banner", "-v", "repeat+warning"];
    Running::start(&name, command.args(quiet).args(args))
}

/// Runs it to the end; its output.
#[track_caller]
pub fn run(program: &Path, args: &[&str]) -> Vec<String> {
    let mut running = start(program, args);
    running.succeed(LIMIT);
    running.out.all()
}

/// A file of media, made once by `program` with these arguments and kept for later runs.
pub fn clip(program: &Path, args: &str) -> PathBuf {
    static MADE: Mutex<Option<HashMap<PathBuf, Arc<OnceLock<()>>>>> = Mutex::new(None);
    let name: String = args.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-clips");
    let path = directory.join(format!("{name}.flv"));
    let once = MADE.lock().unwrap().get_or_insert_default().entry(path.clone()).or_default().clone();
    once.get_or_init(|| {
        if path.exists() {
            return;
        }
        fs::create_dir_all(&directory).unwrap();
        let made = path.with_extension(format!("{}.flv", std::process::id()));
        let mut all: Vec<&str> = args.split_whitespace().collect();
        all.extend(["-y", made.to_str().unwrap()]);
        start(program, &all).succeed(LIMIT * 2);
        fs::rename(made, &path).unwrap();
    });
    path
}

/// Four seconds of pictures.
pub const PICTURES: &str = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=4";

/// Four seconds of sound.
pub const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=4";

/// H.264 with B-frames, a keyframe each second, and AAC.
pub fn usual_clip() -> PathBuf {
    clip(ffmpeg(), &format!("{PICTURES} {SOUND} -c:v libx264 -preset veryfast -g 25 -bf 2 -c:a aac"))
}

/// Publishes a file as it is, as fast as the server takes it.
pub fn publish(program: &Path, file: &Path, url: &str) -> Running {
    start(program, &["-i", file.to_str().unwrap(), "-map", "0", "-c", "copy", "-f", "flv", url])
}

/// One packet or decoded frame, as ffmpeg's `framecrc` tells it. Times are in the stream's own unit, milliseconds for packets
/// of FLV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub stream: usize,
    pub dts: i64,
    pub pts: i64,
    pub size: u64,
    pub crc: String,
    pub key: bool,
}

impl Line {
    /// The lines of a `framecrc` output.
    pub fn read(lines: &[String]) -> Vec<Self> {
        lines.iter().filter(|line| !line.starts_with('#')).map(|line| Self::parse(line)).collect()
    }

    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let number = |at: usize| fields[at].parse().unwrap_or_else(|_| panic!("field {at} of {line:?}"));
        Self {
            stream: number(0) as usize,
            dts: number(1),
            pts: number(2),
            size: number(4) as u64,
            crc: fields[5].to_owned(),
            key: !fields[6..].iter().any(|field| field.starts_with("F=")),
        }
    }
}

/// Maps pictures first, then sound, whatever the file has.
pub const MAP: [&str; 4] = ["-map", "0:v?", "-map", "0:a?"];

/// The packets of a file or stream that ends.
pub fn packets(program: &Path, url: &str) -> Vec<Line> {
    let tail = ["-c", "copy", "-f", "framecrc", "-"];
    Line::read(&run(program, &[&["-copyts", "-i", url], &MAP[..], &tail].concat()))
}

/// The decoded frames of a file or stream that ends.
pub fn decoded(program: &Path, url: &str) -> Vec<Line> {
    let tail = ["-fps_mode", "passthrough", "-f", "framecrc", "-"];
    Line::read(&run(program, &[&["-copyts", "-i", url], &MAP[..], &tail].concat()))
}

/// The lines of one stream.
pub fn of(lines: &[Line], stream: usize) -> Vec<&Line> {
    lines.iter().filter(|line| line.stream == stream).collect()
}
