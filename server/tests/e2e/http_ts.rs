//! Live MPEG-TS over HTTP and WebSocket, watched by ffmpeg, VLC and a strict player of our own.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::media::Kind;
use rtmp::{MediaKind, Role};

use crate::attacks::Bell;
use crate::child::Running;
use crate::client::Client;
use crate::dialogue::Dialogue;
use crate::harness::{self, SOON, Server, Setup, directory, free_port, until};
use crate::http::{self, Flv};
use crate::media::{Camera, GOP, Player, STEP, Seen, picture, picture_header, sound, sound_header};
use crate::players::{publish_for_ever, watch_with_vlc};
use crate::tape::Tape;
use crate::tools::{
    self, LIMIT, Line, MAP, PICTURES, SOUND, clip, ffmpeg, ffmpeg_new, of, start, usual_clip,
};
use crate::ts::{self, AAC, H264, Item, MP3, Pes, Program, Ts};

/// A server whose default vhost serves `.ts`.
pub fn server() -> Server {
    server_with("", "")
}

/// The same, with something special in `http_remux` and in the vhost.
fn server_with(remux: &str, vhost: &str) -> Server {
    let mount = format!("http_remux {{ enabled on; mount [vhost]/[app]/[stream].ts; {remux} }}");
    let vhosts = format!("vhost __defaultVhost__ {{ {mount} {vhost} }}");
    Server::with(Setup { vhosts: &vhosts, ..Setup::default() })
}

/// The address of a stream over HTTP-TS.
pub fn url(server: &Server, stream: &str) -> String {
    format!("http://{}/live/{stream}.ts", server.http)
}

const PATH: &str = "/live/a.ts";

fn camera(server: &Server) -> Camera {
    Camera::new(Client::publish(server, "a"))
}

#[track_caller]
fn is_picture(item: &Item, key: bool) -> &Pes {
    match item {
        Item::Pes(pes) if pes.kind == Kind::Video && pes.random_access == key => pes,
        other => panic!("{other:?} in place of a picture, key: {key}"),
    }
}

/// ffmpeg that plays to the end of the stream: packets as they come, and at the end what they decode to.
struct Watch {
    running: Running,
    decoded: std::path::PathBuf,
}

impl Watch {
    fn start(server: &Server, program: &Path) -> Self {
        let decoded = server.dir.join("decoded.crc");
        let packets = ["-c", "copy", "-f", "framecrc", "-flush_packets", "1", "pipe:1"];
        let frames = ["-fps_mode", "passthrough", "-f", "framecrc", decoded.to_str().unwrap()];
        let url = url(server, "a");
        let args = [&["-copyts", "-i", &url][..], &MAP, &packets, &MAP, &frames].concat();
        Self { running: start(program, &args), decoded }
    }

    #[track_caller]
    fn end(mut self) -> (Vec<Line>, Vec<Line>) {
        self.running.succeed(LIMIT);
        // What newer ones say at the end of any chunked body.
        let harmless = |said: &&String| said.contains("Input/output error");
        assert_eq!(self.running.err.all().iter().find(|said| !harmless(said)), None, "ffmpeg complains");
        let decoded = std::fs::read_to_string(&self.decoded).unwrap();
        let decoded: Vec<String> = decoded.lines().map(str::to_owned).collect();
        (Line::read(&self.running.out.all()), Line::read(&decoded))
    }
}

/// Publishes a clip with ffmpeg: another one decodes exactly its frames, at their times, and says not a word.
#[track_caller]
fn plays(clip: &Path, program: &Path) {
    let server = server();
    let watch = Watch::start(&server, program);
    server.logged(&["start play stream=/live/a", "format=Ts"]);
    tools::publish(program, clip, &server.rtmp_url("a")).succeed(LIMIT);
    let (got_packets, got) = watch.end();
    let clip = clip.to_str().unwrap();
    let (want_packets, want) = (tools::packets(program, clip), tools::decoded(program, clip));
    let zero = want_packets.iter().map(|packet| packet.dts).min().unwrap();
    for stream in 0..=1 {
        let (got, want) = (of(&got, stream), of(&want, stream));
        assert_eq!(got.len(), want.len(), "frames of stream {stream}");
        let differs = got.iter().zip(&want).position(|(got, want)| got.crc != want.crc);
        assert_eq!(differs, None, "frames of stream {stream}");
        let (got, want) = (of(&got_packets, stream), of(&want_packets, stream));
        assert_eq!(got.len(), want.len(), "packets of stream {stream}");
        for (got, want) in got.iter().zip(&want) {
            let told = (got.dts / 90, (got.pts - got.dts) / 90, got.key);
            assert_eq!(told, (want.dts - zero, want.pts - want.dts, want.key), "{got:?} is {want:?}");
        }
    }
}

#[test]
fn h264_with_b_frames_and_aac() {
    plays(&usual_clip(), ffmpeg());
}

#[test]
fn hevc() {
    let with = "-c:v libx265 -preset ultrafast -x265-params log-level=error -g 25 -c:a aac";
    plays(&clip(ffmpeg_new(), &format!("{PICTURES} {SOUND} {with}")), ffmpeg_new());
}

#[test]
fn mp3() {
    let with = "-c:v libx264 -preset veryfast -g 25 -c:a libmp3lame -ar 44100";
    plays(&clip(ffmpeg(), &format!("{PICTURES} {SOUND} {with}")), ffmpeg());
}

#[test]
fn sound_alone() {
    plays(&clip(ffmpeg(), &format!("{SOUND} -c:a aac")), ffmpeg());
}

#[test]
fn pictures_alone() {
    plays(&clip(ffmpeg(), &format!("-i {} -an -c:v copy", usual_clip().display())), ffmpeg());
}

/// Both would serve `.ts` addresses.
#[test]
fn hls_in_the_same_vhost_is_refused() {
    let config = format!(
        "listen {}; daemon off; srs_log_tank console; http_server {{ enabled on; listen {}; }}
        vhost __defaultVhost__ {{
            hls {{ enabled on; }}
            http_remux {{ enabled on; mount [vhost]/[app]/[stream].ts; }}
        }}",
        free_port(),
        free_port()
    );
    let dir = directory();
    let mut running = harness::start(&dir, &config, &[]);
    assert_eq!(running.wait(SOON).code(), Some(255));
    let said = [running.out.all(), running.err.all()].concat().join("\n");
    for part in ["HLS and `http_remux` to `.ts` cannot be in one vhost", "oxcast.conf:4"] {
        assert!(said.contains(part), "{said}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn heads() {
    let server = server();
    let mut camera = camera(&server);
    camera.run_to(3);
    server.took("a", 3);
    let mut player = Dialogue::ask(server.http, "GET /live/a.ts", &["Origin: http://page.example"]);
    let head = player.head();
    assert_eq!((head.version.as_str(), head.status), ("HTTP/1.1", 200));
    assert_eq!(head.field("content-type"), Some("video/MP2T"));
    assert_eq!((head.field("transfer-encoding"), head.field("content-length")), (Some("chunked"), None));
    assert_eq!(head.field("connection"), Some("close"));
    assert_eq!(head.field("access-control-allow-origin"), Some("*"));
    assert_eq!(head.names("access-control-").len(), 5);
    assert_eq!(player.chunk()[0], 0x47);

    let mut asked = Dialogue::ask(server.http, "HEAD /live/a.ts", &[]);
    let head = asked.head();
    assert_eq!((head.status, head.field("content-type")), (200, Some("video/MP2T")));
    assert_eq!(asked.rest(), b"");
    assert_eq!(http::request(server.http, "OPTIONS", PATH, &[]).unwrap().status, 200);
    assert_eq!(http::request(server.http, "POST", PATH, &[]).unwrap().status, 405);
    for path in ["/live/a.flv", "/live/a.aac", "/live/a", "/a.ts", "/live/.ts", "/live/a.ts/"] {
        assert_eq!(http::get(server.http, path).unwrap().status, 404, "{path}");
    }
    server.has_clients(2);
}

#[test]
fn http_1_0_gets_the_bare_stream_until_the_connection_ends() {
    let server = server();
    let mut camera = camera(&server);
    camera.run_to(5);
    server.took("a", 5);
    let mut player = Dialogue::start(server.http, "GET /live/a.ts HTTP/1.0\r\n\r\n");
    let head = player.head();
    assert_eq!((head.version.as_str(), head.status), ("HTTP/1.0", 200));
    assert_eq!((head.field("transfer-encoding"), head.field("content-type")), (None, Some("video/MP2T")));
    server.logged(&["start play", "framing=Raw"]);
    // It has begun, with the first keyframe.
    let mut body = player.bytes(188);
    camera.run_to(25);
    server.took("a", 25);
    camera.client.stop();
    body.extend(player.rest());
    let pes = ts::read(&body).into_iter().filter(|item| matches!(item, Item::Pes(_))).count();
    assert_eq!(pes, 2 * 25);
}

#[test]
fn a_player_before_the_publisher_gets_everything_and_a_proper_end() {
    let server = server();
    let (mut http, mut websocket) = (Ts::open(server.http, PATH), Ts::websocket(server.http, PATH));
    let clients = server.has_clients(2);
    assert!(clients.iter().all(|c| c["type"] == "flv-play" && c["publish"] == false), "{clients:?}");
    let mut camera = camera(&server);
    camera.run_to(30);
    camera.client.stop();
    for player in [&mut http, &mut websocket] {
        let mut frames = Vec::new();
        while let Some((seen, time, _)) = player.next() {
            frames.push((seen, time));
        }
        let want =
            (0..30).flat_map(|n| [(Seen::Picture(n, n % GOP == 0), n * STEP), (Seen::Sound(n), n * STEP)]);
        assert_eq!(frames, want.collect::<Vec<_>>());
        assert_eq!(player.gaps(), 0);
    }
    assert_eq!(http.body, websocket.body, "the same bytes, however they travel");
    server.logged_times(&["client finished: the stream ended"], 2);
    server.has_clients(0);
}

#[test]
fn who_joins_later_starts_with_tables_and_a_keyframe_at_the_time_of_the_stream() {
    let server = server();
    let mut early = Ts::open(server.http, PATH);
    let mut camera = camera(&server);
    camera.zero = 5000;
    camera.run_to(16);
    early.pictures_up_to(15);
    for player in [Ts::open(server.http, PATH), Ts::websocket(server.http, PATH)] {
        let mut player = player;
        let program = Program { version: 0, clock: H264.0, streams: vec![H264, AAC] };
        assert_eq!(player.item(), Some(Item::Program(program)));
        let first = player.item().unwrap();
        let first = is_picture(&first, true);
        // One clock for all players, unlike FLV's, which starts with each of them.
        assert_eq!((first.ms(), first.pcr), (10 * STEP, Some(first.dts)));
        assert_eq!(player.frame(), (Seen::Sound(10), 10 * STEP));
        assert_eq!(player.picture(), (11, false, 11 * STEP));
        assert_eq!(player.gaps(), 0);
    }
}

/// Without the cache a player waits for the next keyframe. Sound may come before.
#[test]
fn without_a_gop_cache_a_player_waits_for_a_keyframe() {
    let server = server_with("", "play { gop_cache off; }");
    let mut early = Ts::open(server.http, PATH);
    let mut camera = camera(&server);
    camera.run_to(16);
    early.pictures_up_to(15);
    let mut player = Ts::open(server.http, PATH);
    server.logged_times(&["start play"], 2);
    camera.run_to(25);
    assert_eq!(player.picture(), (20, true, 20 * STEP));
}

/// With its publisher the stream ends; another one may bring other tracks.
#[test]
fn publishers_come_and_go() {
    let server = server();
    for (turn, sounds) in [true, false, true].into_iter().enumerate() {
        let mut players = [Ts::open(server.http, PATH), Ts::websocket(server.http, PATH)];
        server.logged_times(&["start play stream=/live/a"], 2 * turn + 2);
        let mut client = Client::publish(&server, "a");
        client.send(MediaKind::Video, 0, &picture_header());
        if sounds {
            client.send(MediaKind::Audio, 0, &sound_header());
        }
        for number in 0..5 {
            client.send(MediaKind::Video, number * STEP, &picture(number, number == 0, 50));
            if sounds {
                client.send(MediaKind::Audio, number * STEP, &sound(number));
            }
        }
        client.stop();
        for player in &mut players {
            let streams = if sounds { vec![H264, AAC] } else { vec![H264] };
            assert_eq!(player.program(), Program { version: 0, clock: H264.0, streams });
            let mut frames = 0;
            while player.next().is_some() {
                frames += 1;
            }
            assert_eq!((frames, player.gaps()), (if sounds { 10 } else { 5 }, 0));
        }
        server.has_clients(0);
    }
}

/// Who comes between two publishers waits for the second one.
#[test]
fn a_player_between_publishers() {
    let server = server();
    let mut rtmp = Client::play(&server, "a");
    let mut first = Ts::open(server.http, PATH);
    server.logged_times(&["start play"], 2);
    let mut camera = camera(&server);
    camera.run_to(5);
    first.pictures_up_to(4);
    camera.client.stop();
    while first.next().is_some() {}
    let mut second = Ts::open(server.http, PATH);
    server.logged_times(&["start play"], 3);
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(12);
    camera.client.stop();
    assert_eq!(second.pictures_up_to(11).len(), 12);
    while second.next().is_some() {}
    assert_eq!(second.gaps(), 0);
    // RTMP players stay.
    assert_eq!(
        (0..17).map(|_| rtmp.picture().0).collect::<Vec<_>>(),
        (0..5).chain(0..12).collect::<Vec<_>>()
    );
}

/// A player that does not read costs little memory and harms nobody; when it reads again, it goes on with tables and a keyframe.
#[test]
fn a_player_that_does_not_read() {
    const SIZE: usize = 100_000;
    let server = server_with("", "play { queue_length 2; }");
    let mut slow = [Ts::open(server.http, PATH), Ts::websocket(server.http, PATH)];
    let mut good = Client::play(&server, "a");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bell = Bell(&stop);
        scope.spawn(|| {
            let mut client = Client::publish(&server, "a");
            client.send(MediaKind::Video, 0, &picture_header());
            let start = Instant::now();
            for number in 0.. {
                client.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, SIZE));
                let due = Duration::from_millis(u64::from(number * STEP / 10));
                std::thread::sleep(due.saturating_sub(start.elapsed()));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        // Something like 60 MB pass by.
        let before = server.memory();
        let mut most = before;
        for number in 0..600 {
            assert_eq!(good.picture().0, number);
            most = most.max(server.memory());
        }
        let grown = (most - before) >> 20;
        assert!(grown < 64, "{grown} MiB for two slow players");
        for slow in &mut slow {
            let mut last = None;
            // What was on its way, then the tables, which tell that packets are missing.
            while slow.item() != Some(Item::Gap) {}
            for _ in 0..2 * GOP {
                let (number, key, _) = slow.picture();
                assert!(
                    last.map_or(key && number > 300, |last| number == last + 1),
                    "{number} after {last:?}"
                );
                last = Some(number);
            }
        }
        drop(bell);
    });
    server.logged_times(&["[WARN]", "too slow: skipped"], 2);
}

/// What the tables say, and how often.
#[test]
fn another_codec_is_told_in_new_tables() {
    let server = server();
    let mut player = Ts::open(server.http, PATH);
    let mut client = Client::publish(&server, "a");
    client.send(MediaKind::Video, 0, &picture_header());
    client.send(MediaKind::Audio, 0, &sound_header());
    client.send(MediaKind::Video, 0, &picture(0, true, 50));
    client.send(MediaKind::Audio, 0, &sound(0));
    let first = player.program();
    assert_eq!((first.version, first.streams), (0, vec![H264, AAC]));
    // MP3 of 44.1 kHz.
    let mp3 = [&[0x2f, 0xff, 0xfb, 0x90, 0x64][..], &sound(1)[2..]].concat();
    client.send(MediaKind::Audio, 20, &mp3);
    let second = player.program();
    assert_eq!((second.version, second.streams), (1, vec![H264, MP3]));
    assert_eq!(player.frame(), (Seen::Sound(1), 20));
    client.send(MediaKind::Video, 40, &picture(1, true, 50));
    let again = player.program();
    assert_eq!((again.version, again.streams), (1, vec![H264, MP3]));
    assert_eq!(player.picture(), (1, true, 40));
    assert_eq!(player.gaps(), 0);
}

#[test]
fn sound_alone_can_be_joined_at_any_time() {
    let server = server();
    let mut client = Client::publish(&server, "a");
    client.send(MediaKind::Audio, 0, &sound_header());
    let mut early = Ts::open(server.http, PATH);
    server.logged(&["start play"]);
    for number in 0..100 {
        client.queue(MediaKind::Audio, number * 25, &sound(number));
    }
    client.flush();
    let mut programs = 0;
    for number in 0..100 {
        let pes = loop {
            match early.item().unwrap() {
                Item::Program(program) => {
                    assert_eq!((program.clock, program.streams), (AAC.0, vec![AAC]));
                    programs += 1;
                }
                Item::Pes(pes) => break pes,
                Item::Gap => panic!("packets are missing"),
            }
        };
        assert_eq!((pes.ms(), pes.pcr, pes.random_access), (number * 25, Some(pes.dts), true));
    }
    assert_eq!(programs, 3, "tables at the start and each second");
    let mut late = Ts::open(server.http, PATH);
    server.logged_times(&["start play"], 2);
    client.send(MediaKind::Audio, 2500, &sound(100));
    assert_eq!(late.program().streams, [AAC]);
    let (frame, _) = late.frame();
    assert!(matches!(frame, Seen::Sound(99 | 100)), "{frame:?}");
}

/// `has_audio` and `has_video` count when nothing is to be guessed.
#[test]
fn kinds_that_are_left_out() {
    let rules = [
        ("guess_has_av on; has_audio off; has_video off;", vec![H264, AAC]),
        ("guess_has_av off;", vec![H264, AAC]),
        ("guess_has_av off; has_audio off;", vec![H264]),
        ("guess_has_av off; has_video off;", vec![AAC]),
    ];
    let vhosts: String = (rules.iter().enumerate())
        .map(|(n, (rule, _))| {
            format!("vhost v{n} {{ http_remux {{ enabled on; mount [vhost]/[app]/[stream].ts; {rule} }} }}\n")
        })
        .collect();
    let server = Server::with(Setup { vhosts: &vhosts, ..Setup::default() });
    for (n, (rule, streams)) in rules.iter().enumerate() {
        let mut player = Ts::open(server.http, &format!("{PATH}?vhost=v{n}"));
        server.logged_times(&["start play"], n + 1);
        let url = format!("rtmp://{}/live/a?vhost=v{n}", server.rtmp);
        let mut client = Client::open(server.rtmp, &url, Role::Publish);
        client.start();
        let mut camera = Camera::new(client);
        camera.run_to(3);
        camera.client.stop();
        let items = player.rest();
        let count = |kind| items.iter().filter(|i| matches!(i, Item::Pes(pes) if pes.kind == kind)).count();
        let counts = [(Kind::Video, H264), (Kind::Audio, AAC)].map(|(kind, stream)| {
            assert_eq!(count(kind), if streams.contains(&stream) { 3 } else { 0 }, "{rule}");
            count(kind)
        });
        assert!(counts.iter().sum::<usize>() > 0);
        let told =
            items.iter().filter_map(|i| if let Item::Program(p) = i { Some(&p.streams) } else { None });
        assert!(told.into_iter().all(|told| told == streams), "{rule}");
    }
}

/// An encoder may announce sound and never send any. Players must not wait for it: who is there from the start sees pictures
/// alone in the tables, as does who comes later.
#[test]
fn sound_that_never_comes_is_not_in_the_tables() {
    let server = server();
    let mut early = Ts::open(server.http, PATH);
    let mut camera = Client::publish(&server, "a");
    camera.send(MediaKind::Video, 0, &picture_header());
    camera.send(MediaKind::Audio, 0, &sound_header());
    for number in 0..30 {
        camera.send(MediaKind::Video, number * STEP, &picture(number, number % GOP == 0, 50));
    }
    assert_eq!(early.program().streams, [H264]);
    assert_eq!(early.pictures_up_to(29).len(), 30, "nothing is lost");
    let mut late = Ts::open(server.http, PATH);
    assert_eq!(late.program().streams, [H264]);
    assert_eq!(late.picture(), (20, true, 20 * STEP));
    // It comes after all.
    camera.send(MediaKind::Audio, 30 * STEP, &sound(30));
    for player in [&mut early, &mut late] {
        while player.program().streams != [H264, AAC] {}
        assert_eq!(player.frame(), (Seen::Sound(30), 30 * STEP));
    }
}

/// ffmpeg looks at a live stream for five seconds before it plays, and at one whose tables list silent sound for seven.
#[test]
fn sound_that_never_comes_does_not_hold_up_ffmpeg() {
    let server = server();
    let tape = Tape::of(&usual_clip());
    let mut client = Client::publish(&server, "a");
    tape.headers(&mut client, 0);
    let tape = tape.without(MediaKind::Audio);
    let (url, start, mut at) = (url(&server, "a"), Instant::now(), 0);
    let player = tools::start(ffmpeg(), &["-i", &url, "-f", "framecrc", "-flush_packets", "1", "-"]);
    until("ffmpeg sees a picture", SOON, || {
        let now = start.elapsed().as_millis() as u32;
        tape.play(&mut client, at, now, 0);
        at = now;
        player.out.all().iter().any(|line| line.starts_with("0,")).then_some(())
    });
    assert!(start.elapsed() < Duration::from_millis(6700), "{:?}", start.elapsed());
}

/// What TS does not carry is not there, and the answer says why.
#[test]
fn codecs_that_are_not_carried() {
    let server = server();
    let mut client = Client::publish(&server, "a");
    let speex = [&[0xb2][..], &[7; 40]].concat();
    client.send(MediaKind::Audio, 0, &speex);
    server.logged(&["tracks: Speex"]);
    let reply = http::get(server.http, PATH).unwrap();
    let body = String::from_utf8(reply.body).unwrap();
    assert_eq!((reply.status, &*body), (404, "this stream is Speex, which MPEG-TS does not carry\n"));
    // With pictures beside it, those are seen.
    client.send(MediaKind::Video, 0, &picture_header());
    client.send(MediaKind::Video, 0, &picture(0, true, 50));
    server.took("a", 1);
    let mut player = Ts::open(server.http, PATH);
    assert_eq!(player.program().streams, [H264]);
    assert_eq!(player.picture(), (0, true, 0));
}

/// Sends pictures and sound at these times, and gives what players see over TS, FLV and RTMP.
fn times(vhost: &str, sent: &[(MediaKind, u32)]) -> [Vec<(Seen, u32)>; 3] {
    let mounts = ["ts", "flv"].map(|kind| {
        format!("vhost {kind}.test {{ http_remux {{ enabled on; mount [vhost]/[app]/[stream].{kind}; }} {vhost} }}\n")
    });
    let server = Server::with(Setup { vhosts: &mounts.concat(), ..Setup::default() });
    let mut ts = Ts::open(server.http, "/live/a.ts?vhost=ts.test");
    let mut flv = Flv::open(server.http, "/live/a.flv?vhost=flv.test");
    let url = |vhost: &str| format!("rtmp://{}/live/a?vhost={vhost}", server.rtmp);
    let mut rtmp = Client::open(server.rtmp, &url("flv.test"), Role::Play);
    rtmp.start();
    server.logged_times(&["start play"], 3);
    for vhost in ["ts.test", "flv.test"] {
        let mut client = Client::open(server.rtmp, &url(vhost), Role::Publish);
        client.start();
        client.queue(MediaKind::Video, sent[0].1, &picture_header());
        client.queue(MediaKind::Audio, sent[0].1, &sound_header());
        for (number, (kind, time)) in (0..).zip(sent) {
            match kind {
                MediaKind::Video => client.queue(*kind, *time, &picture(number, number % GOP == 0, 50)),
                _ => client.queue(*kind, *time, &sound(number)),
            }
        }
        client.stop();
    }
    let seen = |player: &mut dyn Player| (0..sent.len()).map(|_| player.frame()).collect();
    [seen(&mut ts), seen(&mut flv), seen(&mut rtmp)]
}

/// Publishers whose times jump, stall, run backwards, or whose sound is minutes before their pictures: every player sees every
/// frame, and no track runs backwards.
#[test]
fn times_rise_whatever_the_publisher_sends() {
    use MediaKind::{Audio, Video};
    let both = |times: &[u32]| times.iter().flat_map(|ms| [(Video, *ms), (Audio, *ms)]).collect::<Vec<_>>();
    let jump = both(&[5000, 5040, 9_000_000, 9_000_040, 80, 120, 160]);
    let stall = both(&[5000, 5040, 5040, 5040, 5040, 5080]);
    let backwards: Vec<_> = both(&(0..40).map(|n| 5000 - n * STEP).collect::<Vec<_>>());
    let apart: Vec<_> = (0..40).flat_map(|n| [(Video, n * STEP), (Audio, 300_000 + n * STEP)]).collect();
    let wraps = both(&(0..20).map(|n| (0x7fff_ffff - 400 + n * STEP) & 0x7fff_ffff).collect::<Vec<_>>());
    for (what, sent) in
        [("jump", jump), ("stall", stall), ("backwards", backwards), ("apart", apart), ("wraps", wraps)]
    {
        for (seen, by) in times("", &sent).iter().zip(["HTTP-TS", "HTTP-FLV", "RTMP"]) {
            for kind in [Video, Audio] {
                let of = |seen: &&(Seen, u32)| matches!(seen.0, Seen::Picture(..)) == (kind == Video);
                let track: Vec<_> = seen.iter().filter(of).collect();
                assert_eq!(track.len(), sent.len() / 2, "{what} over {by}");
                let step = |pair: &[&(Seen, u32)]| i64::from(pair[1].1) - i64::from(pair[0].1);
                let steps: Vec<_> = track.windows(2).map(step).collect();
                let least = if what == "stall" { 0 } else { 1 };
                assert!(steps.iter().all(|step| (least..=60).contains(step)), "{what} over {by}: {steps:?}");
            }
        }
    }
}

/// Hours and more: the clock of TS goes round after 26.5 hours.
#[test]
fn the_clock_goes_round() {
    let server = server_with("", "play { time_jitter off; }");
    let mut player = Ts::open(server.http, PATH);
    let mut camera = camera(&server);
    // 2³³ ticks, less half a second.
    camera.zero = ((1u64 << 33) / 90) as u32 - 500;
    camera.run_to(30);
    let mut last = None;
    for number in 0..60 {
        let pes = player.pes().unwrap();
        let want = (u64::from(camera.zero) + number / 2 * u64::from(STEP)) * 90 % (1 << 33);
        assert_eq!((pes.dts, pes.pts), (want, want));
        assert!(pes.pcr.is_none_or(|pcr| pcr == want));
        last = Some(pes.dts);
    }
    assert!(last < Some(90_000), "it has not gone round");
}

#[test]
fn vlc_plays() {
    let server = server();
    let _publisher = publish_for_ever(&server, "vlc");
    let (pictures, sound) = watch_with_vlc(&url(&server, "vlc"), "vlc-ts");
    assert!(pictures > 60 && sound > 80, "{pictures} pictures, {sound} frames of sound");
}
