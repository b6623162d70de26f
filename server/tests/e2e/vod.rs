//! Recordings that are played: listed by time, as FLV of a time and with a delay, as HLS of a time and with a delay, by those who are admitted.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rtmp::MediaKind;
use rustix::process::Signal;
use serde_json::Value;

use crate::browser::{Page, has_pictures};
use crate::client::Client;
use crate::harness::{SOON, Server, Setup, directory, free_port, ready, until};
use crate::http;
use crate::media::{Camera, GOP, Player, STEP};
use crate::tape::{LENGTH, Tape};
use crate::tools::{self, Line, PICTURES, SOUND, clip, ffmpeg, ffmpeg_new, of, usual_clip};
use crate::viewer::{Viewer, keep};

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

/// What [`record`] publishes: the end of the sound is behind the last picture.
fn published() -> Vec<Line> {
    let tape = Tape::of(&usual_clip());
    let all = tools::packets(ffmpeg(), usual_clip().to_str().unwrap());
    let first =
        |stream, kind| of(&all, stream).into_iter().take(tape.count(kind)).cloned().collect::<Vec<_>>();
    [first(0, MediaKind::Video), first(1, MediaKind::Audio)].concat()
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
    let want = published();
    for ending in ["mp4", "flv"] {
        let server = server(&format!(
            "dvr_plan segment; dvr_duration 2; dvr_path ./rec/[app]/[stream].[timestamp].{ending};"
        ));
        let list = record(&server, "a", 2);
        record(&server, "b", 2);
        for one in &list {
            assert_eq!([&one["app"], &one["stream"], &one["vhost"]], ["live", "a", "__defaultVhost__"]);
            assert!(one["format"] == ending && one["recording"] == false, "{one}");
            let file = server.dir.join(one["file"].as_str().unwrap());
            assert_eq!(fs::metadata(file).unwrap().len() as i64, number(&one["bytes"]));
            assert!((1900..2100).contains(&number(&one["duration_ms"])), "{one}");
        }
        let [first, second] = [0, 1].map(|n| number(&list[n]["begin_ms"]));
        let gap = second - first - number(&list[0]["duration_ms"]);
        assert!((0..60).contains(&gap), "{gap} ms between {list:?}");

        // The list by time, in either way of writing it, and in pages.
        let ids = |query: &str| -> Vec<Value> {
            dvrs(&server, query).iter().map(|one| one["id"].clone()).collect()
        };
        let [one, two] = [0, 1].map(|n| list[n]["id"].clone());
        let begin = second + 500;
        assert_eq!(ids(&format!("app=live&stream=a&from={}", secs(begin))), vec![two.clone()]);
        assert_eq!(ids(&format!("stream=a&to={}", secs(begin))), [one, two.clone()]);
        let zoned = list[1]["begin"].as_str().unwrap();
        assert_eq!(ids(&format!("stream=a&from={zoned}")).last(), Some(&two));
        assert!(ids("stream=a&start=1&count=10") == vec![two.clone()] && ids("stream=a&start=2").is_empty());
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
            let crcs =
                |lines: &[Line]| of(lines, stream).iter().map(|line| line.crc.clone()).collect::<Vec<_>>();
            assert!(crcs(&all) == crcs(&want), "{ending}: stream {stream} differs");
        }
        // A part: from the keyframe before, to the end, over the border of the files.
        let part =
            packets(&server, &format!("/live/a.flv?from={}&to={}", secs(first + 1300), secs(first + 3000)));
        is_even(&part, ending);
        let pictures = of(&part, 0);
        assert!(
            pictures[0].key && pictures[0].dts <= 40 && (49..=51).contains(&pictures.len()),
            "{}",
            pictures.len()
        );
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
fn an_mp4_plays_with_a_delay_to_its_end() {
    plays_with_a_delay("mp4");
}

#[test]
fn an_flv_plays_with_a_delay_to_its_end() {
    plays_with_a_delay("flv");
}

#[track_caller]
fn plays_with_a_delay(ending: &str) {
    let server =
        server(&format!("dvr_plan segment; dvr_duration 2; dvr_path ./rec/[stream].[timestamp].{ending};"));
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
    for (stream, length) in [("a", 2000), ("b", 4000)] {
        let mut publisher = Client::open(at, &format!("rtmp://{at}/live/{stream}"), rtmp::Role::Publish);
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
    for ctx in ["", "hls { hls_ctx off; }"] {
        let vhost = format!(
            "security {{ enabled on; allow publish all; deny play all; }} {ctx}
            dvr {{ enabled on; playback on; dvr_path ./rec/[stream].mp4; }}"
        );
        let shut = Server::with(Setup { vhost: &vhost, ..Setup::default() });
        let one = record(&shut, "a", 1).remove(0);
        let id = one["id"].as_str().unwrap();
        for path in [
            one["play"]["flv"].as_str().unwrap(),
            one["play"]["hls"].as_str().unwrap(),
            &format!("/live/a.m4s?rec={id}&n=0"),
            &format!("/live/a.m4s?rec={id}&init=1&hls_ctx=abcd1234"),
            "/live/a.m3u8?delay=1&hls_ctx=abcd1234",
        ] {
            assert_eq!(http::get(shut.http, path).unwrap().status, 403, "{path}");
        }
        // Without sessions, who may play needs no name.
        let open = Server::with_vhost(&vhost.replace("deny play", "allow play"));
        let one = record(&open, "a", 1).remove(0);
        let viewer = Viewer::at(&open, one["play"]["hls"].as_str().unwrap());
        assert_eq!(viewer.address.contains("hls_ctx"), ctx.is_empty());
        assert_eq!(of(&film(&open, &viewer, ctx), 0).len(), 100);
    }
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

/// A viewer's whole film, checked.
#[track_caller]
fn film(server: &Server, viewer: &Viewer, what: &str) -> Vec<Line> {
    // All files begin in the same way, wherever that is said.
    let maps: Vec<_> = viewer.maps.values().collect();
    assert!(maps.iter().all(|map| *map == maps[0]), "{what}");
    let mut bytes = maps[0].clone();
    viewer.segments.values().for_each(|(_, segment)| bytes.extend_from_slice(segment));
    let film = keep(server, "film.mp4", &bytes);
    assert_eq!(
        tools::run(ffmpeg(), &["-i", film.to_str().unwrap(), "-map", "0", "-f", "null", "-"]),
        [""; 0],
        "{what}"
    );
    tools::packets(ffmpeg(), film.to_str().unwrap())
}

#[test]
fn recordings_play_as_hls_by_time() {
    let want = published();
    for ending in ["mp4", "flv"] {
        let server = server(&format!(
            "dvr_plan segment; dvr_duration 2; dvr_path ./rec/[app]/[stream].[timestamp].{ending};"
        ));
        let list = record(&server, "a", 2);
        let [first, second] = [0, 1].map(|n| number(&list[n]["begin_ms"]));
        let end = second + number(&list[1]["duration_ms"]) + 100;
        let viewer = Viewer::at(&server, &format!("/live/a.m3u8?from={}&to={}", secs(first), secs(end)));
        assert!(viewer.playlist.ended && viewer.playlist.entries.len() == 2, "{:?}", viewer.playlist);
        assert!(viewer.playlist.entries.iter().all(|entry| !entry.discontinuity && entry.date.is_some()));
        let all = film(&server, &viewer, ending);
        for stream in 0..=1 {
            let crcs =
                |lines: &[Line]| of(lines, stream).iter().map(|line| line.crc.clone()).collect::<Vec<_>>();
            assert!(crcs(&all) == crcs(&want), "{ending}: stream {stream} differs");
        }
        let steps = of(&all, 0).windows(2).map(|pair| pair[1].dts - pair[0].dts).collect::<Vec<_>>();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() <= steps[0] / 20), "{ending}: {steps:?}");
        // Its player is one client, who may not have another stream's segments.
        let clients = server.clients();
        assert_eq!(clients.iter().filter(|client| client["type"] == "hls-play").count(), 1, "{clients:?}");
        for (path, status) in [
            ("/live/a.m3u8?from=10&to=20&hls_ctx=abcd1234", 404),
            ("/live/a.m3u8?from=x", 400),
            ("/live/a.m3u8?delay=0", 400),
            ("/live/a.m4s?rec=abcdefgh&n=0", 404),
            ("/live/nobody.m3u8?delay=10&hls_ctx=abcd1235", 404),
        ] {
            assert_eq!(http::get(server.http, path).unwrap().status, status, "{path}");
        }
    }
}

#[test]
fn hls_with_a_delay_moves_on_and_ends() {
    let server = server("dvr_plan segment; dvr_duration 4; dvr_path ./rec/[stream].[timestamp].mp4;");
    let clip = usual_clip();
    let head = ["-re", "-stream_loop", "2", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv"];
    let publisher = tools::start(ffmpeg(), &[&head[..], &[&server.rtmp_url("a")]].concat());
    let start = "/live/a.m3u8?delay=2&hls_ctx=abcd1234";
    until("something is old enough", SOON, || {
        (http::get(server.http, start).unwrap().status == 200).then_some(())
    });
    let began = Instant::now();
    let mut viewer = Viewer::at(&server, start);
    let listed = viewer.playlist.clone();
    assert!(!listed.ended && !listed.entries.is_empty(), "{listed:?}");
    until("its end", Duration::from_secs(60), || {
        viewer.refresh();
        viewer.playlist.ended.then_some(())
    });
    assert!(began.elapsed() > Duration::from_secs(3), "the end comes with a delay");
    drop(publisher);
    let pictures = of(&film(&server, &viewer, "delay"), 0).len();
    assert!((270..=300).contains(&pictures), "{pictures} pictures");
}

#[test]
fn a_browser_plays_what_was_recorded() {
    let server = server("dvr_plan segment; dvr_duration 2; dvr_path ./rec/[stream].[timestamp].mp4;");
    let list = record(&server, "page", 2);
    let [first, second] = [0, 1].map(|n| number(&list[n]["begin_ms"]));
    let address = format!("/live/page.m3u8?from={}&to={}", secs(first), secs(second + 5000));
    let seen = Page::open(&format!("http://{}{address}", server.http), 5, "browser-recorded.png").seen();
    has_pictures(&seen);
}

/// Other codecs, over two publishers with a pause between them.
#[test]
fn gaps_are_closed_and_every_codec_comes_back() {
    let video = "-c:v libx265 -preset ultrafast -x265-params log-level=none -g 25";
    for (ending, codecs) in [
        ("mp4", format!("{video} -c:a libopus")),
        ("flv", format!("{video} -c:a aac")),
        ("flv", "-c:v libx264 -preset veryfast -g 25 -bf 2 -c:a libmp3lame -ar 44100".to_owned()),
    ] {
        let clip = clip(ffmpeg_new(), &format!("{PICTURES} {SOUND} {codecs}"));
        let server = server(&format!("dvr_path ./rec/[stream].[timestamp].{ending};"));
        let list = |count: usize| {
            until("it is recorded", SOON, || {
                let list = dvrs(&server, "stream=a");
                (list.len() == count && list.iter().all(|one| one["recording"] == false)).then_some(list)
            })
        };
        for turn in 1..=2 {
            let mut publisher = tools::publish(ffmpeg_new(), &clip, &server.rtmp_url("a"));
            publisher.succeed(tools::LIMIT);
            let first = number(&list(turn)[0]["begin_ms"]);
            // The files would overlap, since the clip is published at once.
            let now = || {
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
            };
            until("a pause", SOON, || (now() > first + 5000).then_some(()));
        }
        let all = list(2);
        let [begin, end] = [0, 1].map(|n| number(&all[n]["begin_ms"]) + n as i64 * 6000);
        let query = format!("from={}&to={}", secs(begin), secs(end));
        let url = format!("http://{}/live/a.flv?{query}", server.http);
        let frames = tools::decoded(ffmpeg_new(), &url);
        assert_eq!(of(&frames, 0).len(), 200, "{codecs}: FLV");
        assert!(of(&frames, 1).len() >= 300, "{codecs}: {} frames of sound", of(&frames, 1).len());
        let packets = tools::packets(ffmpeg_new(), &url);
        let longest = of(&packets, 0).windows(2).map(|pair| pair[1].dts - pair[0].dts).max();
        // Short gaps stay, others are closed.
        assert!(longest <= Some(3100), "{codecs}: {longest:?} ms");

        let viewer = Viewer::at(&server, &format!("/live/a.m3u8?{query}"));
        let breaks: Vec<bool> = viewer.playlist.entries.iter().map(|entry| entry.discontinuity).collect();
        assert_eq!(breaks, [false, true], "{codecs}");
        let mut sounds = 0;
        for (entry, segment) in viewer.segments.values() {
            let file =
                keep(&server, "one.mp4", &[&viewer.maps[entry.map.as_ref().unwrap()][..], segment].concat());
            let frames = tools::decoded(ffmpeg_new(), file.to_str().unwrap());
            assert_eq!(of(&frames, 0).len(), 100, "{codecs}: HLS");
            sounds += of(&frames, 1).len();
        }
        assert!(sounds >= 300, "{codecs}: {sounds} frames of sound");
    }
}

#[test]
fn a_player_of_recordings_can_be_sent_away() {
    let server = server("dvr_path ./rec/[stream].flv;");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(100);
    until("something is written", SOON, || {
        dvrs(&server, "stream=a").first().filter(|one| one["bytes"].as_i64() > Some(10_000)).cloned()
    });
    let mut player = http::Flv::open(server.http, "/live/a.flv?delay=1");
    let client = until("it is a client", SOON, || {
        server.clients().into_iter().find(|client| client["type"] == "flv-play")
    });
    server.kick(client["id"].as_str().unwrap());
    player.rest();
    server.logged(&["client finished: "]);
    assert!(server.clients().iter().all(|client| client["type"] != "flv-play"));
}
