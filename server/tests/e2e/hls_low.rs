//! Low-Latency HLS: parts as they come, requests that wait for them, and how far behind the camera a browser is.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{SOON, Server, until};
use crate::hls::server;
use crate::tape::Tape;
use crate::tools::{self, LIMIT, ffmpeg, of, usual_clip};
use crate::viewer::{PACED, Playlist, Viewer, keep};

const LOW: &str = "hls_low_latency on; hls_window 20;";

/// Publishes the tape in real time up to this second.
fn play(publisher: &mut Client, tape: &Tape, seconds: u32) {
    tape.headers(publisher, 0);
    let start = Instant::now();
    let mut at = 0;
    while at < seconds * 1000 {
        let now = (start.elapsed().as_millis() as u32).min(seconds * 1000);
        tape.play(publisher, at, now, 0);
        at = now;
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(viewer: &Viewer, query: &str) -> String {
    let reply = viewer.ask(&format!("{}&{query}", viewer.address));
    assert_eq!(reply.status, 200, "{query}: {}", reply.head);
    String::from_utf8(reply.body).unwrap()
}

/// A player that always has a request for the next part, and one for the next playlist, and asks for deltas.
#[test]
fn parts_come_one_by_one_and_make_the_segments() {
    let server = server(LOW);
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "a");
    let publishing = std::thread::spawn(move || {
        play(&mut publisher, &tape, 12);
        publisher
    });
    let mut viewer = Viewer::open(&server, "a");
    let mut now = viewer.playlist.clone();
    let low = now.low.clone().expect("low latency is told");
    assert!(low.part_target == 0.3 && low.skip_until.is_some(), "{low:?}");
    let mut parts = BTreeMap::<(u64, usize), Vec<u8>>::new();
    let mut deltas = 0;
    while now.next() < 10 {
        let (segment, part) = (now.next(), now.parts.len());
        let hint = now.hint.clone().expect("the next part is announced");
        let asked = Instant::now();
        let reply = viewer.ask(&hint);
        if reply.status == 200 {
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?} for {hint}", asked.elapsed());
            assert_eq!(&reply.body[4..8], b"moof", "{hint}");
            parts.insert((segment, part), reply.body);
        } else {
            // The segment is complete without it; who could know before the next picture came?
            assert_eq!(reply.status, 404, "{hint}");
        }
        let text = text(&viewer, &format!("_HLS_msn={segment}&_HLS_part={part}&_HLS_skip=YES"));
        let next = Playlist::parse(&text);
        deltas += u32::from(next.skipped > 0);
        let next = next.completed(&now);
        next.follows(&now);
        // The first part of a segment comes together with its announcement.
        for (part, listed) in next.parts.iter().enumerate() {
            let fetch = || viewer.ask(&listed.uri).body;
            parts.entry((next.next(), part)).or_insert_with(fetch);
        }
        now = next;
    }
    assert!(deltas > 5, "{deltas} deltas");
    let _publisher = publishing.join().unwrap();
    viewer.follow_to(11);
    for (number, (_, bytes)) in viewer.segments.iter().filter(|(number, _)| (3..9).contains(*number)) {
        let all = parts.range((*number, 0)..(*number + 1, 0)).flat_map(|(_, part)| part);
        assert!(all.eq(bytes), "the parts of segment {number} are the segment");
    }
    let film = keep(&server, "film.mp4", &viewer.film(0, 11));
    let frames = tools::decoded(ffmpeg(), film.to_str().unwrap());
    assert_eq!(of(&frames, 0).len(), 11 * 25);

    // What makes no sense, and what will not come.
    let status = |query: &str| viewer.ask(&format!("{}&{query}", viewer.address)).status;
    let next = viewer.playlist.next();
    for senseless in ["_HLS_part=1".into(), "_HLS_msn=x".into(), format!("_HLS_msn={}", next + 5)] {
        assert_eq!(status(&senseless), 400, "{senseless}");
    }
    let asked = Instant::now();
    assert_eq!(status(&format!("_HLS_msn={}", next + 1)), 503);
    assert!(asked.elapsed() >= Duration::from_secs(3 * viewer.playlist.target), "{:?}", asked.elapsed());
    // The file is for those who cannot wait.
    let file = std::fs::read_to_string(server.dir.join("objs/nginx/html/live/a.m3u8")).unwrap();
    assert!(Playlist::parse(&file).low.is_none());
}

/// A publisher who leaves and comes back in the middle of a segment.
#[test]
fn a_viewer_goes_on_with_the_next_publisher() {
    let server = server(LOW);
    let tape = Tape::of(&usual_clip());
    let mut viewer: Option<Viewer> = None;
    for _ in 0..2 {
        let mut publisher = Client::publish(&server, "a");
        play(&mut publisher, &tape, 2);
        publisher.stop();
        let viewer = viewer.get_or_insert_with(|| Viewer::open(&server, "a"));
        let next = viewer.segments.len() as u64;
        viewer.follow_to(next.max(2));
    }
    let mut viewer = viewer.unwrap();
    until("both are listed", PACED, || (viewer.refresh().ms() >= 3900).then_some(()));
    let breaks = viewer.segments.values().filter(|(entry, _)| entry.discontinuity).count();
    assert_eq!(breaks, 1, "{:?}", viewer.playlist);
    let second = *viewer.segments.iter().find(|(_, (entry, _))| entry.discontinuity).unwrap().0;
    for (from, to) in [(0, second), (second, viewer.playlist.next())] {
        let film = keep(&server, "film.mp4", &viewer.film(from, to));
        let frames = tools::decoded(ffmpeg(), film.to_str().unwrap());
        assert!((49..=50).contains(&of(&frames, 0).len()), "{}", of(&frames, 0).len());
    }
}

/// A camera in front of a clock: bars that tell the milliseconds, as `bars.js` reads them.
pub struct Camera(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Camera {
    pub fn start(server: &Server, stream: &str) -> Self {
        let codec = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -f flv";
        let mut outputs: Vec<_> = codec.split(' ').map(str::to_owned).collect();
        outputs.push(server.rtmp_url(stream));
        Self::film(&outputs)
    }

    /// Its picture goes to ffmpeg, which makes this of it.
    pub fn film(outputs: &[String]) -> Self {
        const SIZE: (usize, usize) = (320, 180);
        let mut command = Command::new(ffmpeg());
        command.args("-v error -f rawvideo -pix_fmt gray -s 320x180 -r 25 -i -".split(' '));
        let mut ffmpeg = command.args(outputs).stdin(Stdio::piped()).spawn().unwrap();
        let mut to = ffmpeg.stdin.take().unwrap();
        let over = Arc::<AtomicBool>::default();
        let is_over = over.clone();
        let filming = std::thread::spawn(move || {
            let start = Instant::now();
            for n in 1.. {
                let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u32 & 0xffff;
                let sum = [0, 4, 8, 12].iter().fold(5, |all, shift| all + (time >> shift)) & 15;
                let bars = time << 4 | sum;
                let bar = |x: usize| if bars >> (x * 20 / SIZE.0) & 1 == 1 { 235 } else { 16 };
                let row: Vec<u8> = (0..SIZE.0).map(bar).collect();
                if is_over.load(Relaxed) || to.write_all(&row.repeat(SIZE.1)).is_err() {
                    break;
                }
                std::thread::sleep((Duration::from_millis(40) * n).saturating_sub(start.elapsed()));
            }
            drop(to);
            ffmpeg.wait().unwrap();
        });
        Self(over, Some(filming))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        self.1.take().into_iter().for_each(|filming| drop(filming.join()));
    }
}

/// How far behind the camera a browser is that plays it.
#[track_caller]
pub fn watch(url: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let mut command = Command::new("node");
    command.current_dir(folder).args(["live.mjs", url, "8"]);
    let mut page = Running::start("node live.mjs", &mut command);
    page.succeed(LIMIT * 2);
    let seen: Value = serde_json::from_str(&page.out.all().pop().unwrap()).unwrap();
    assert_eq!(seen["errors"], serde_json::json!([]), "{seen}");
    assert!(seen["pictures"].as_u64() > Some(100), "{seen}");
    seen
}

#[test]
fn a_browser_is_less_than_two_seconds_behind() {
    let server = server(LOW);
    let _camera = Camera::start(&server, "page");
    Viewer::open(&server, "page").follow_to(4);
    let seen = watch(&format!("http://{}/live/page.m3u8", server.http));
    assert!(seen["p50"].as_u64() < Some(2000), "{seen}");
    let seen = watch(&format!("http://{}/live/page.m3u8#shaka", server.http));
    assert!(seen["p50"].as_u64() < Some(4000), "{seen}");
    let waited = server.log().wait(SOON, |lines| {
        lines.iter().any(|line| line.contains("_HLS_msn=") && line.contains("_HLS_skip=")).then_some(())
    });
    assert!(waited.is_some(), "it asked for deltas, and waited");
}
