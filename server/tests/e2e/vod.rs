//! Recordings that are played: listed by time, as FLV of a time and with a delay, as HLS of a time and with a delay, by those who are admitted.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::harness::{SOON, Server, Setup, directory, free_port, ready, until};
use crate::http;
use crate::media::{Camera, GOP, Player, STEP};
use crate::tape::{LENGTH, Tape};
use crate::tools::{self, Line, ffmpeg, of, usual_clip};


fn server(options: &str) -> Server {
    Server::with_vhost(&format!("dvr {{ enabled on; playback on; {options} }}"))
}

/// Publishes the usual clip, and waits for so many files of it.
fn record(server: &Server, stream: &str, files: usize) -> Vec<Value> {
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(server, stream);
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, LENGTH, 0);
    publisher.stop();
    until("all is recorded", SOON, || {
        let list = dvrs(server, &format!("stream={stream}&count=100"));
        let complete = list.iter().filter(|one| one["recording"] == false).count();
        (complete == list.len() && complete == files).then_some(list)
    })
}

fn dvrs(server: &Server, query: &str) -> Vec<Value> {
    server.ask(&format!("/api/v1/dvrs?{query}"))["dvrs"].as_array().unwrap().clone()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

/// Seconds since 1970, as a query has them.
fn secs(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// What ffmpeg gets from an address.
fn packets(server: &Server, path: &str) -> Vec<Line> {
    tools::packets(ffmpeg(), &format!("http://{}{path}", server.http))
}

/// Pictures and sound are in even steps, and nothing is missing between the first and the last.
#[track_caller]
fn is_even(packets: &[Line], what: &str) {
    let (pictures, sounds) = (of(packets, 0), of(packets, 1));
    let gap = pictures.windows(2).position(|pair| pair[1].dts - pair[0].dts != 40);
    assert_eq!(gap, None, "{what}: {:?}", gap.map(|at| (pictures[at], pictures[at + 1])));
    let gap = sounds.windows(2).position(|pair| !(19..=24).contains(&(pair[1].dts - pair[0].dts)));
    assert_eq!(gap, None, "{what}: {:?}", gap.map(|at| (sounds[at], sounds[at + 1])));
}

#[test]
fn recordings_are_listed_and_play_by_time() {
    let want = tools::packets(ffmpeg(), usual_clip().to_str().unwrap());
    for ending in ["mp4", "flv"] {
        let server = server(&format!(
            "dvr_plan segment; dvr_duration 2; dvr_path ./rec/[app]/[stream].[timestamp].{ending};"
        ));
        let list = record(&server, "a", 2);
        record(&server, "b", 2);
        for (one, other) in list.iter().zip(["", ""]) {
            assert_eq!([&one["app"], &one["stream"], &one["vhost"]], ["live", "a", "__defaultVhost__"], "{other}");
            assert!(one["format"] == ending && one["recording"] == false, "{one}");
            let file = server.dir.join(one["file"].as_str().unwrap());
            assert_eq!(fs::metadata(file).unwrap().len() as i64, number(&one["bytes"]));
            assert!((1900..2100).contains(&number(&one["duration_ms"])), "{one}");
        }
        let [first, second] = [0, 1].map(|n| number(&list[n]["begin_ms"]));
        let gap = second - first - number(&list[0]["duration_ms"]);
        assert!((0..60).contains(&gap), "{gap} ms between {list:?}");

        // The list by time, in either way of writing it, and in pages.
        let ids = |query: &str| -> Vec<Value> { dvrs(&server, query).iter().map(|one| one["id"].clone()).collect() };
        let [one, two] = [0, 1].map(|n| list[n]["id"].clone());
        let begin = second + 500;
        assert_eq!(ids(&format!("app=live&stream=a&from={}", secs(begin))), [two.clone()]);
        assert_eq!(ids(&format!("stream=a&to={}", secs(begin))), [one, two.clone()]);
        let zoned = list[1]["begin"].as_str().unwrap();
        assert_eq!(ids(&format!("stream=a&from={zoned}")).last(), Some(&two));
        assert_eq!(ids(&format!("stream=a&from={zoned}&start=1&count=10")).len(), 0.max(ids(&format!("stream=a&from={zoned}")).len() - 1));
        assert!(ids("stream=c").is_empty() && ids("vhost=x").is_empty() && ids("").len() == 4);
        assert!(ids("stream=a&from=1&to=2").is_empty());
        for bad in ["from=yesterday", "from=2&to=1", "to=-5"] {
            assert_eq!(http::get(server.api, &format!("/api/v1/dvrs?{bad}")).unwrap().status, 400, "{bad}");
        }

        // All of it in one body, over two files.
        let end = second + number(&list[1]["duration_ms"]) + 100;
        let all = packets(&server, &format!("/live/a.flv?from={}&to={}", secs(first), secs(end)));
        is_even(&all, ending);
        for stream in 0..=1 {
            let crcs = |lines: &[Line]| of(lines, stream).iter().map(|line| line.crc.clone()).collect::<Vec<_>>();
            assert!(crcs(&all) == crcs(&want), "{ending}: stream {stream} differs");
        }
        // A part: from the keyframe before, to the end, over the border of the files.
        let part = packets(&server, &format!("/live/a.flv?from={}&to={}", secs(first + 1300), secs(first + 3000)));
        is_even(&part, ending);
        let pictures = of(&part, 0);
        assert!(pictures[0].key && pictures[0].dts <= 40 && (49..=51).contains(&pictures.len()), "{}", pictures.len());
        assert_eq!(pictures[0].crc, of(&want, 0)[25].crc);
        // The address that the list tells.
        let file = packets(&server, list[1]["play"]["flv"].as_str().unwrap());
        assert_eq!((of(&file, 0).len(), &of(&file, 0)[0].crc), (50, &of(&want, 0)[50].crc));

        // Files that are deleted are no recordings any more.
        fs::remove_file(server.dir.join(list[0]["file"].as_str().unwrap())).unwrap();
        assert_eq!(ids("stream=a"), [two]);
        for (path, status) in [
            (format!("/live/a.flv?from={}&to={}", secs(first), secs(first + 500)), 404),
            ("/live/a.flv?from=10&to=20".into(), 404),
            ("/live/nobody.flv?delay=5".into(), 404),
            ("/live/a.flv?from=x".into(), 400),
            ("/live/a.flv?delay=0".into(), 400),
            ("/live/a.flv?from=5&to=5".into(), 400),
            ("/live/a.flv?from=5&delay=5".into(), 400),
            ("/live/a.flv?to=5".into(), 400),
        ] {
            let reply = http::get(server.http, &path).unwrap();
            assert_eq!(reply.status, status, "{path}");
            assert!(!reply.body.is_empty(), "{path}: no words");
        }
    }
}

/// A camera that runs in real time, on a thread of its own, until it is told to stop; the number of the next picture.
struct Live<'a> {
    next: &'a AtomicU32,
    stop: &'a AtomicBool,
}

impl Live<'_> {
    fn run(&self, mut camera: Camera) {
        let start = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let now = start.elapsed().as_millis() as u32 / STEP;
            if now > camera.next {
                camera.run_to(now);
                self.next.store(now, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        camera.client.stop();
    }
}

#[test]
fn a_stream_plays_with_a_delay_to_its_end() {
    for ending in ["mp4", "flv"] {
        let server = server(&format!(
            "dvr_plan segment; dvr_duration 2; dvr_path ./rec/[stream].[timestamp].{ending};"
        ));
        let (next, stop) = (AtomicU32::new(0), AtomicBool::new(false));
        let camera = Camera::new(Client::publish(&server, "a"));
        std::thread::scope(|scope| {
            let live = Live { next: &next, stop: &stop };
            scope.spawn(move || live.run(camera));
            until("five seconds", SOON, || (next.load(Ordering::Relaxed) >= 125).then_some(()));
            // Three seconds are 75 pictures.
            let mut player = http::Flv::open(server.http, "/live/a.flv?delay=3");
            let asked = next.load(Ordering::Relaxed);
            let (first, key, time) = player.picture();
            assert!(key && time == 0 && first % GOP == 0, "{ending}: {first} at {time}");
            let behind = asked.saturating_sub(first);
            assert!((60..=75 + 2 * GOP + 25).contains(&behind), "{ending}: {behind} pictures behind");
            // It follows, over files that begin meanwhile, and never comes closer.
            let mut last = first;
            let closest = loop {
                let (number, _, time) = player.picture();
                assert_eq!((number, time), (last + 1, (last + 1 - first) * STEP), "{ending}");
                last = number;
                if number > asked + 25 {
                    break next.load(Ordering::Relaxed).saturating_sub(number);
                }
            };
            assert!(closest >= 65, "{ending}: only {closest} pictures behind");
            assert_eq!(server.clients().iter().filter(|client| client["type"] == "flv-play").count(), 1);
            stop.store(true, Ordering::Relaxed);
            // What was published after that moment is played, too, and then it ends.
            while let Some((seen, ..)) = player.next() {
                if let crate::media::Seen::Picture(number, _) = seen {
                    assert_eq!(number, last + 1);
                    last = number;
                }
            }
            assert_eq!(last + 1, next.load(Ordering::Relaxed), "{ending}: the end is missing");
        });
        server.has_clients(0);
    }
}

#[test]
fn the_next_start_knows_what_was_recorded() {
    let dir: PathBuf = directory();
    let [rtmp, port] = [free_port(), free_port()];
    let config = format!(
        "listen {rtmp}; daemon off; srs_log_tank console; pid ./oxcast.pid; http_server {{ enabled on; listen {port}; }}
        http_api {{ enabled on; listen {port}; }}
        vhost __defaultVhost__ {{ dvr {{ enabled on; playback on; dvr_path rec/[stream].[timestamp].mp4; }} }}"
    );
    let at = format!("127.0.0.1:{rtmp}").parse().unwrap();
    let api = format!("127.0.0.1:{port}").parse().unwrap();
    let list = || -> Vec<Value> {
        let reply = http::get(api, "/api/v1/dvrs").unwrap();
        serde_json::from_slice::<Value>(&reply.body).unwrap()["dvrs"].as_array().unwrap().clone()
    };
    let mut running = ready(&dir, &config);
    let tape = Tape::of(&usual_clip());
    for length in [2000, 4000] {
        let mut publisher = Client::open(at, &format!("rtmp://{at}/live/a"), rtmp::Role::Publish);
        publisher.start();
        tape.headers(&mut publisher, 0);
        tape.play(&mut publisher, 0, length, 0);
        if length == 2000 {
            publisher.stop();
            until("it is complete", SOON, || list().first().filter(|one| one["recording"] == false).cloned());
        } else {
            until("it grows", SOON, || {
                list().get(1).filter(|one| one["bytes"].as_i64() > Some(30_000)).cloned()
            });
            running.signal(Signal::KILL);
            running.wait(SOON);
        }
    }
    let mut running = ready(&dir, &config);
    let all = until("both are known and complete", SOON, || {
        Some(list()).filter(|all| all.len() == 2 && all.iter().all(|one| one["recording"] == false))
    });
    assert_eq!(number(&all[0]["duration_ms"]) / 100, 19, "{all:?}");
    assert!((1000..=4000).contains(&number(&all[1]["duration_ms"])), "{all:?}");
    for (one, pictures) in all.iter().zip([50..=50, 25..=100]) {
        let url = format!("http://127.0.0.1:{port}{}", one["play"]["flv"].as_str().unwrap());
        let packets = tools::packets(ffmpeg(), &url);
        is_even(&packets, "after a restart");
        assert!(pictures.contains(&of(&packets, 0).len()), "{} of {one}", of(&packets, 0).len());
    }
    running.signal(Signal::TERM);
    running.succeed(SOON);
}

#[test]
fn who_is_not_admitted_sees_nothing_that_was_recorded() {
    let vhost = "security { enabled on; allow publish all; deny play all; }
        dvr { enabled on; playback on; dvr_path ./rec/[stream].mp4; }";
    let shut = Server::with(Setup { vhost, ..Setup::default() });
    let one = record(&shut, "a", 1).remove(0);
    assert_eq!(http::get(shut.http, one["play"]["flv"].as_str().unwrap()).unwrap().status, 403);
    // Without `playback`, a query like this means nothing: it is the live stream.
    let off = Server::with_vhost("dvr { enabled on; dvr_path ./rec/[stream].mp4; }");
    let one = record(&off, "a", 1).remove(0);
    assert_eq!(one["play"], Value::Null);
    let mut live = http::Flv::open(off.http, "/live/a.flv?from=5");
    off.logged(&["start play stream=/live/a, type=flv-play, format"]);
    let mut camera = Camera::new(Client::publish(&off, "a"));
    camera.run_to(3);
    assert_eq!(live.picture(), (0, true, 0));
}
