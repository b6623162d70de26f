//! Sound alone over HTTP: `.aac` and `.mp3`, with and without `fast_cache`.

use std::path::PathBuf;

use rtmp::{MediaKind, Role};

use crate::child::Running;
use crate::client::Client;
use crate::dialogue::Dialogue;
use crate::harness::{SOON, Server, Setup, until};
use crate::http;
use crate::media::{Camera, picture, picture_header, sound, sound_header};
use crate::tape::{LENGTH, Tape};
use crate::tools::{self, LIMIT, Line, SOUND, clip, ffmpeg, ffprobe, start};

/// A server whose default vhost serves this kind of sound, with something special in `http_remux`.
pub fn server(extension: &str, remux: &str) -> Server {
    let mount = format!("http_remux {{ enabled on; mount [vhost]/[app]/[stream].{extension}; {remux} }}");
    let vhosts = format!("vhost __defaultVhost__ {{ {mount} publish {{ normal_timeout 60000; }} }}");
    Server::with(Setup { vhosts: &vhosts, ..Setup::default() })
}

/// The address of the stream.
pub fn url(server: &Server, extension: &str) -> String {
    format!("http://{}/live/a.{extension}", server.http)
}

/// Four seconds of sound in the codec of this extension.
fn sound_clip(extension: &str) -> PathBuf {
    let codec = if extension == "mp3" { "-ar 44100 -c:a libmp3lame" } else { "-c:a aac" };
    clip(ffmpeg(), &format!("{SOUND} {codec}"))
}

/// Publishes such a clip in a loop and in real time.
pub fn publish_for_ever(server: &Server, extension: &str) -> Running {
    let clip = sound_clip(extension);
    let head = ["-re", "-stream_loop", "-1", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv"];
    let publisher = start(ffmpeg(), &[&head[..], &[&server.rtmp_url("a")]].concat());
    until("its sound is known", SOON, || server.stream("a").filter(|stream| stream["audio"].is_object()));
    publisher
}

/// What an MP3 body opens with.
const ID3: &[u8] = b"ID3\x03\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0";

const EXTENSIONS: [(&str, &str); 2] = [("aac", "audio/x-aac"), ("mp3", "audio/mpeg")];

/// The sizes of the frames that a body consists of: ADTS, or MP3 of one bit rate.
#[track_caller]
fn frames(mut body: &[u8]) -> Vec<usize> {
    let mut sizes = Vec::new();
    while let [0xff, second, third, fourth, fifth, sixth, ..] = *body {
        let size = match second {
            0xf1 | 0xf9 => usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5),
            0xfb => {
                let rate = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128][usize::from(third >> 4)];
                144_000 * rate / 44_100 + usize::from(third >> 1 & 1)
            }
            _ => panic!("no frame: {body:02x?}"),
        };
        assert!(size <= body.len(), "half a frame");
        sizes.push(size);
        body = &body[size..];
    }
    assert_eq!(body.len(), 0, "no frame: {body:02x?}");
    sizes
}

#[test]
fn heads() {
    for (extension, content) in EXTENSIONS {
        let server = server(extension, "");
        let _publisher = publish_for_ever(&server, extension);
        let path = format!("/live/a.{extension}");
        let mut player = Dialogue::ask(server.http, &format!("GET {path}"), &["Origin: http://page.example"]);
        let head = player.head();
        assert_eq!((head.status, head.field("content-type")), (200, Some(content)));
        let framing = (head.field("transfer-encoding"), head.field("content-length"));
        assert_eq!((framing, head.field("connection")), ((Some("chunked"), None), Some("close")));
        assert_eq!(head.field("access-control-allow-origin"), Some("*"));
        let mut asked = Dialogue::ask(server.http, &format!("HEAD {path}"), &[]);
        assert_eq!(asked.head().field("content-type"), Some(content));
        assert_eq!(asked.rest(), b"");
        for other in ["flv", "ts", if extension == "aac" { "mp3" } else { "aac" }] {
            assert_eq!(http::get(server.http, &format!("/live/a.{other}")).unwrap().status, 404, "{other}");
        }
        let mut old = Dialogue::start(server.http, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(old.head().field("transfer-encoding"), None);
        assert!(matches!(old.bytes(2)[..], [0xff, _] | [b'I', b'D']));
    }
}

/// Another ffmpeg decodes exactly what was published, and knows what it is.
#[test]
fn ffmpeg_decodes_what_was_published() {
    for ((extension, _), (codec, rate)) in EXTENSIONS.into_iter().zip([("aac", "48000"), ("mp3", "44100")]) {
        let server = server(extension, "");
        let (clip, url) = (sound_clip(extension), url(&server, extension));
        let mut player = start(ffmpeg(), &["-copyts", "-i", &url, "-f", "framecrc", "-"]);
        let show = ["-show_entries", "stream=codec_name,sample_rate,channels", "-of", "csv=p=0", &url];
        let mut probe = start(ffprobe(), &show);
        server.logged_times(&["start play"], 2);
        tools::publish(ffmpeg(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
        player.succeed(LIMIT);
        assert_eq!(player.err.all(), [""; 0], "ffmpeg complains");
        let got = Line::read(&player.out.all());
        let want = tools::decoded(ffmpeg(), clip.to_str().unwrap());
        let crcs = |lines: &[Line]| lines.iter().map(|line| line.crc.clone()).collect::<Vec<_>>();
        assert_eq!(crcs(&got), crcs(&want), "{extension}");
        let samples = if codec == "aac" { 1024 } else { 1152 };
        let seconds = (got.len() * samples) as f64 / rate.parse::<f64>().unwrap();
        assert!((4.0..4.1).contains(&seconds), "{seconds} s of {extension}");
        probe.succeed(LIMIT);
        assert_eq!(probe.out.all(), [format!("{codec},{rate},1")]);
    }
}

#[test]
fn an_mp3_starts_at_once_even_without_a_publisher() {
    for remux in ["", "fast_cache 3;"] {
        let server = server("mp3", remux);
        let mut player = Dialogue::ask(server.http, "GET /live/a.mp3", &[]);
        assert_eq!(player.head().status, 200);
        assert_eq!(player.chunk(), ID3);
        tools::publish(ffmpeg(), &sound_clip("mp3"), &server.rtmp_url("a")).succeed(LIMIT);
        let body = player.chunks();
        assert_eq!(frames(&body).len(), tools::packets(ffmpeg(), sound_clip("mp3").to_str().unwrap()).len());
        assert_eq!(player.rest(), b"");
    }
}

/// A frame that is known by its size: its FLV body, and the size in the stream.
fn marker(extension: &str, number: usize) -> (Vec<u8>, usize) {
    match extension {
        "aac" => ([vec![0xaf, 1], vec![7; 1500 + number]].concat(), 1507 + number),
        _ => {
            // 32, 40 or 48 kbit/s.
            let size = [104, 130, 156][number];
            let header = [0x2f, 0xff, 0xfb, (number as u8 + 1) << 4, 0xc4];
            ([&header[..], &vec![7; size - 4]].concat(), size)
        }
    }
}

/// Reads until so many frames have come; all of them.
#[track_caller]
fn listen(player: &mut Dialogue, extension: &str, count: usize) -> Vec<usize> {
    let mut body = Vec::new();
    if extension == "mp3" {
        assert_eq!(player.chunk(), ID3);
    }
    while frames(&body).len() < count {
        body.extend(player.chunk());
    }
    frames(&body)
}

#[test]
fn the_fast_cache_is_given_at_once() {
    // Seconds that are configured, and that players get of the 12 that were sent.
    let cases: [(&str, f64); 5] = [("0", 0.0), ("0.5", 0.5), ("3", 3.0), ("10", 10.0), ("100", 12.0)];
    for extension in ["aac", "mp3"] {
        let tape = Tape::of(&sound_clip(extension));
        let rate = tape.count(MediaKind::Audio) as f64 * 1000.0 / f64::from(LENGTH);
        for (seconds, want) in cases {
            let server = server(extension, &format!("fast_cache {seconds};"));
            let mut publisher = Client::publish(&server, "a");
            tape.headers(&mut publisher, 0);
            publisher.send(MediaKind::Video, 0, &picture_header());
            tape.play(&mut publisher, 0, 3 * LENGTH, 0);
            publisher.send(MediaKind::Video, 3 * LENGTH, &picture(0, true, 50));
            server.took("a", 1);
            // The very first listener, and later ones.
            for number in 0..3 {
                let what = format!("{extension}, fast_cache {seconds}, listener {number}");
                let mut player = Dialogue::ask(server.http, &format!("GET /live/a.{extension}"), &[]);
                assert_eq!(player.head().status, 200);
                server.logged_times(&["start play"], number + 1);
                let want = want * rate;
                let mut got = listen(&mut player, extension, (want - 2.0).max(0.0) as usize);
                let (body, size) = marker(extension, number);
                publisher.send(MediaKind::Audio, 3 * LENGTH, &body);
                while got.last() != Some(&size) {
                    got.extend(frames(&player.chunk()));
                }
                // Without its own marker, and those before.
                let cached = (got.len() - 1).saturating_sub(number);
                assert!((cached as f64 - want).abs() <= 2.0, "{cached} frames of {what}");
            }
            publisher.stop();
        }
    }
}

#[test]
fn sound_of_another_codec_is_not_there() {
    for (extension, other) in [("aac", "mp3"), ("mp3", "aac")] {
        let server = server(extension, "");
        let _publisher = publish_for_ever(&server, other);
        let reply = http::get(server.http, &format!("/live/a.{extension}")).unwrap();
        let body = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, 404, "{body}");
        let [is, not] = [other, extension].map(str::to_uppercase);
        assert_eq!(body, format!("the sound of this stream is {is}, not {not}\n"));
        server.logged(&["WARN", "client refused: the sound of this stream is"]);
        server.has_clients(1);
    }
}

/// Pictures are left out, and a stream that has only pictures so far may get sound.
#[test]
fn sound_among_pictures() {
    let server = server("aac", "");
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    publisher.send(MediaKind::Video, 0, &picture(0, true, 500));
    server.took("a", 1);
    let mut player = Dialogue::ask(server.http, "GET /live/a.aac", &[]);
    assert_eq!(player.head().status, 200);
    server.logged(&["start play"]);
    publisher.send(MediaKind::Audio, 10, &sound_header());
    for number in 0..20 {
        publisher.queue(MediaKind::Video, number * 40, &picture(number, false, 500));
        publisher.queue(MediaKind::Audio, number * 40, &sound(number));
    }
    publisher.stop();
    let body = player.chunks();
    assert_eq!(frames(&body), [7 + 2 + 4 + 20; 20]);
    assert!(body.chunks(33).zip(0u32..).all(|(frame, n)| frame[9..13] == n.to_be_bytes()));
}

#[test]
fn listeners_come_and_go() {
    let server = server("aac", "fast_cache 2;");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    let mut stays = Dialogue::ask(server.http, "GET /live/a.aac", &[]);
    stays.head();
    server.logged(&["start play"]);
    for turn in 0..10 {
        let leaves: Vec<_> = (0..4).map(|_| Dialogue::ask(server.http, "GET /live/a.aac", &[])).collect();
        server.logged_times(&["start play"], 1 + 4 * (turn + 1));
        camera.run_to(camera.next + 20);
        drop(leaves);
    }
    server.has_clients(2);
    camera.client.stop();
    assert_eq!(frames(&stays.chunks()).len(), 200, "who stays has heard everything");
    server.has_clients(0);
}

/// The API counts listeners like players of FLV, with the bytes that they got.
#[test]
fn the_api_tells_what_listeners_got() {
    let server = server("mp3", "");
    let mut player = Dialogue::ask(server.http, "GET /live/a.mp3", &[]);
    player.head();
    server.logged(&["start play"]);
    let tape = Tape::of(&sound_clip("mp3"));
    let mut publisher = Client::publish(&server, "a");
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, LENGTH, 0);
    listen(&mut player, "mp3", tape.count(MediaKind::Audio));
    let client = until("the API tells the bytes", SOON, || {
        let client = server.clients().into_iter().find(|c| c["publish"] == false)?;
        (client["send_bytes"] == player.total).then_some(client)
    });
    assert_eq!(client["type"], "flv-play");
    assert!(player.total > 30_000);
    server.kick(client["id"].as_str().unwrap());
    player.rest();
}

/// One server, a container in each vhost; which one is meant tells the host, or a parameter.
#[test]
fn a_container_per_vhost() {
    let kinds = [("flv", "video/x-flv"), ("ts", "video/MP2T"), ("aac", "audio/x-aac"), ("mp3", "audio/mpeg")];
    let vhosts: String = (kinds.iter())
        .map(|(kind, _)| {
            let mount = format!("mount [vhost]/[app]/[stream].{kind}; fast_cache 5;");
            format!("vhost {kind}.test {{ http_remux {{ enabled on; {mount} }} }}\n")
        })
        .collect();
    let server = Server::with(Setup { vhosts: &vhosts, ..Setup::default() });
    let mut joined = 0;
    for (kind, content) in kinds {
        let codec = if kind == "mp3" { "mp3" } else { "aac" };
        let tape = Tape::of(&sound_clip(codec));
        let url = format!("rtmp://{}/live/a?vhost={kind}.test", server.rtmp);
        let mut publisher = Client::open(server.rtmp, &url, Role::Publish);
        publisher.start();
        tape.headers(&mut publisher, 0);
        tape.play(&mut publisher, 0, LENGTH, 0);
        let starts: &[u8] = match kind {
            "flv" => b"FLV",
            "ts" => &[0x47, 0x40, 0],
            "aac" => &[0xff],
            _ => b"ID3",
        };
        for (path, host) in [
            (format!("/live/a.{kind}"), format!("{kind}.test")),
            (format!("/live/a.{kind}"), format!("{kind}.test:8080")),
            (format!("/live/a.{kind}?vhost={kind}.test"), "other.test".to_owned()),
            (format!("/live/a.{kind}?domain={kind}.test&x=1"), "flv.test".to_owned()),
        ] {
            let mut player = Dialogue::ask(server.http, &format!("GET {path}"), &[&format!("Host: {host}")]);
            let head = player.head();
            assert_eq!((head.status, head.field("content-type")), (200, Some(content)), "{path} at {host}");
            joined += 1;
            server.logged_times(&["start play"], joined);
            tape.play(&mut publisher, 0, 100, 0);
            assert_eq!(player.chunk()[..starts.len()], *starts, "{path} at {host}");
        }
        for (other, _) in kinds.iter().filter(|(other, _)| *other != kind) {
            let path = format!("/live/a.{other}?vhost={kind}.test");
            assert_eq!(http::get(server.http, &path).unwrap().status, 404, "{path}");
        }
        publisher.stop();
    }
}
