//! Time: hours of it, the places where RTMP's timestamps wrap, jumps, and what `time_jitter`, `atc` and
//! `mix_correct` make of them. Time is compressed by sending fast.

use std::sync::atomic::{AtomicU32, Ordering};

use rtmp::MediaKind;

use crate::client::Client;
use crate::harness::{SOON, Server, Setup, until};
use crate::http::Flv;
use crate::media::{Camera, Player, STEP, Seen, picture, picture_header, sound, sound_header};
use crate::tools::{self, LIMIT, ffmpeg, usual_clip};

/// Sends pictures at these times, and gives the times that players see over RTMP and HTTP-FLV.
fn seen(vhost: &str, times: &[u32]) -> [Vec<u32>; 2] {
    let server = Server::with_vhost(vhost);
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.logged_times(&["start play stream=/live/a"], 2);
    let mut publisher = Client::publish(&server, "a");
    publisher.queue(MediaKind::Video, times[0], &picture_header());
    for (number, time) in (0..).zip(times) {
        publisher.queue(MediaKind::Video, *time, &picture(number, number == 0, 100));
    }
    publisher.flush();
    let last = times.len() as u32 - 1;
    [rtmp.pictures_up_to(last), flv.pictures_up_to(last)].map(|seen| {
        assert!(seen.iter().map(|(number, _)| *number).eq(0..=last), "{seen:?}");
        seen.into_iter().map(|(_, time)| time).collect()
    })
}

/// The same for RTMP and HTTP-FLV.
#[track_caller]
fn sees(vhost: &str, times: &[u32], want: &[u32]) {
    for (seen, by) in seen(vhost, times).iter().zip(["RTMP", "HTTP-FLV"]) {
        assert_eq!(seen, want, "{by}, {vhost:?}");
    }
}

fn steps(from: u32, count: u32) -> Vec<u32> {
    (0..count).map(|n| from.wrapping_add(n * STEP)).collect()
}

#[test]
fn over_the_extended_timestamp() {
    let times = steps(0xff_ffff - 400, 20);
    sees("", &times, &steps(0, 20));
    sees("play { time_jitter off; }", &times, &times);
    sees("play { atc on; }", &times, &times);
}

#[test]
fn over_the_end_of_31_bits() {
    let times: Vec<u32> = steps(0x7fff_ffff - 400, 20).iter().map(|time| time & 0x7fff_ffff).collect();
    assert!(times[0] > times[19]);
    sees("", &times, &steps(0, 20));
    sees("play { time_jitter zero; }", &times, &steps(0, 20));
    sees("play { time_jitter off; }", &times, &times);
}

#[test]
fn jumps_are_closed() {
    let jumpy = [5000, 5040, 3_605_040, 3_605_080, 80, 120, 7_200_000];
    sees("", &jumpy, &[0, 40, 50, 90, 100, 140, 150]);
    let rising = [5000, 5040, 3_605_040, 3_605_080];
    sees("play { time_jitter zero; }", &rising, &[0, 40, 3_600_040, 3_600_080]);
    sees("play { time_jitter off; }", &jumpy, &jumpy);
    sees("play { atc on; }", &jumpy, &jumpy);
}

#[test]
fn later_players_start_at_zero_unless_time_is_absolute() {
    for (vhost, first) in [("", 0), ("play { time_jitter zero; }", 0), ("play { time_jitter off; }", 61_000)]
    {
        let server = Server::with_vhost(vhost);
        let mut camera = Camera::new(Client::publish(&server, "a"));
        camera.zero = 60_600;
        camera.run_to(13);
        server.took("a", 13);
        let mut rtmp = Client::play(&server, "a");
        let mut flv = Flv::open(server.http, "/live/a.flv");
        assert_eq!(rtmp.picture(), (10, true, first), "RTMP, {vhost:?}");
        assert_eq!(flv.picture(), (10, true, first), "HTTP-FLV, {vhost:?}");
    }
}

#[test]
fn who_joins_a_stream_that_others_watch_starts_at_zero() {
    for vhost in ["", "play { time_jitter zero; }", "play { gop_cache off; }"] {
        let server = Server::with_vhost(vhost);
        let mut camera = Camera::new(Client::publish(&server, "a"));
        camera.zero = 5000;
        camera.run_to(1);
        let mut witness = Client::play(&server, "a");
        camera.run_to(1011);
        witness.pictures_up_to(1010);
        // Enough for every core.
        for n in 0..12 {
            let (mut rtmp, mut flv) = (None, None);
            let player: &mut dyn Player = match n % 2 {
                0 => rtmp.insert(Client::play(&server, "a")),
                _ => flv.insert(Flv::open(server.http, "/live/a.flv")),
            };
            server.logged_times(&["start play stream=/live/a"], n + 2);
            camera.run_to(camera.next + 1);
            let (frame, time) = player.frame();
            assert!(time <= STEP, "player {n} starts at {time} with {frame:?}, {vhost:?}");
        }
    }
}

#[test]
fn eight_hours_without_drift() {
    const HOURS: u32 = 8 * 3600 * 1000;
    const EVERY: u32 = 240;
    // Sent in seconds, this would look like players that are hours behind.
    let server = Server::with_vhost("play { queue_length 100000; }");
    let mut players = [Client::play(&server, "a"), Client::play(&server, "a")];
    let mut flv = Flv::open(server.http, "/live/a.flv");
    server.logged_times(&["start play stream=/live/a"], 3);
    let seen = [(); 3].map(|()| AtomicU32::new(0));
    let watch = |player: &mut dyn Player, seen: &AtomicU32| {
        // A failure must not make the publisher wait for ever.
        let _end = Seer(seen);
        for number in 0..=HOURS / EVERY {
            let time = number * EVERY;
            assert_eq!(player.frame(), (Seen::Picture(number, number % 8 == 0), time));
            assert_eq!(player.frame(), (Seen::Sound(number), time));
            seen.store(number, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let [first, second, third] = &seen;
        for (player, seen) in players.iter_mut().zip([first, second]) {
            let watch = &watch;
            scope.spawn(move || watch(player, seen));
        }
        scope.spawn(|| watch(&mut flv, third));
        let mut publisher = Client::publish(&server, "a");
        publisher.send(MediaKind::Video, 0, &picture_header());
        publisher.send(MediaKind::Audio, 0, &sound_header());
        for number in 0..=HOURS / EVERY {
            let time = number * EVERY;
            publisher.queue(MediaKind::Video, time, &picture(number, number % 8 == 0, 20));
            publisher.queue(MediaKind::Audio, time, &sound(number));
            if number % 256 == 0 {
                publisher.flush();
                // No live stream outruns the server by thousands of frames, and this one must not either.
                until("the players keep up", SOON, || {
                    seen.iter()
                        .all(|seen| seen.load(Ordering::Relaxed) >= number.saturating_sub(1000))
                        .then_some(())
                });
            }
        }
        publisher.flush();
        until("the players see the end", SOON, || {
            seen.iter().all(|seen| seen.load(Ordering::Relaxed) >= HOURS / EVERY).then_some(())
        });
    });
}

/// Has seen everything when it is dropped.
struct Seer<'a>(&'a AtomicU32);

impl Drop for Seer<'_> {
    fn drop(&mut self) {
        self.0.store(u32::MAX, Ordering::Relaxed);
    }
}

#[test]
fn ffmpeg_publishes_and_plays_beyond_the_extended_timestamp() {
    let server = Server::with_vhost("play { time_jitter off; }");
    let flv_url = server.flv_url("a");
    let tail = ["-map", "0", "-c", "copy", "-f", "framecrc", "-"];
    let mut player = tools::start(ffmpeg(), &[&["-copyts", "-i", &flv_url], &tail[..]].concat());
    server.logged(&["start play stream=/live/a"]);
    let clip = usual_clip();
    let late = ["-i", clip.to_str().unwrap(), "-output_ts_offset", "16775.5", "-c", "copy", "-f", "flv"];
    tools::start(ffmpeg(), &[&late[..], &[&server.rtmp_url("a")]].concat()).succeed(LIMIT);
    player.succeed(LIMIT);
    let packets = tools::Line::read(&player.out.all());
    assert_eq!(player.err.all(), [""; 0]);
    let pictures = tools::of(&packets, 0);
    assert_eq!(pictures.len(), 100);
    assert!((16_775_400..=16_775_500).contains(&pictures[0].dts), "{:?}", pictures[0]);
    assert!(pictures.windows(2).all(|w| w[1].dts - w[0].dts == 40));
    assert!(pictures[99].dts > 0xff_ffff);
}

#[test]
fn mix_correct_puts_frames_in_order_and_loses_none() {
    let server = Server::with_vhost("play { mix_correct on; }");
    let mut player = Client::play(&server, "a");
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    publisher.send(MediaKind::Audio, 0, &sound_header());
    // Sound runs 100 ms behind in the order of sending.
    const COUNT: u32 = 50;
    for number in 0..COUNT + 3 {
        if number < COUNT {
            publisher.queue(MediaKind::Video, number * STEP, &picture(number, number == 0, 50));
        }
        if let Some(number) = number.checked_sub(3) {
            publisher.queue(MediaKind::Audio, number * STEP + 20, &sound(number));
        }
    }
    publisher.stop();
    server.logged(&["stop publish"]);
    let frames: Vec<_> = (0..2 * COUNT).map(|_| player.frame()).collect();
    let want: Vec<_> = (0..COUNT)
        .flat_map(|n| [(Seen::Picture(n, n == 0), n * STEP), (Seen::Sound(n), n * STEP + 20)])
        .collect();
    assert_eq!(frames, want);
}

#[test]
fn atc_auto_follows_the_metadata() {
    use formats::amf0::Value;
    let server = Server::with(Setup { vhost: "play { atc_auto on; }", ..Setup::default() });
    let mut publisher = Client::publish(&server, "a");
    let mut metadata = Vec::new();
    let object = Value::object([("bravo_atc", "true".into())]);
    [Value::from("onMetaData"), object].iter().for_each(|value| value.encode(&mut metadata));
    publisher.send(MediaKind::Data, 0, &metadata);
    publisher.send(MediaKind::Video, 0, &picture_header());
    publisher.send(MediaKind::Video, 500_000, &picture(0, true, 50));
    server.took("a", 1);
    assert_eq!(Client::play(&server, "a").picture(), (0, true, 500_000));
}
