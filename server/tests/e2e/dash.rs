//! DASH: what ffmpeg publishes is there to the last frame, over two publishers, in all codecs, on disk and in memory; dash.js and Shaka play it live in
//! Chromium, ffmpeg too; a vhost's rules and a reload hold.

use std::fs;
use std::path::PathBuf;

use ring::hmac;

use crate::browser::{Page, has_pictures, is_well_heard};
use crate::child::Running;
use crate::harness::{SOON, Server, Setup, until};
use crate::http;
use crate::mpd::{Mpd, Track};
use crate::players::{LIMIT, publish_for_ever};
use crate::tools::{self, PICTURES, SOUND, clip, ffmpeg, ffmpeg_new, of, usual_clip};

fn server(fragment: u32) -> Server {
    Server::with_vhost(&format!(
        "dash {{ enabled on; dash_fragment {fragment}; dash_update_period 1; dash_window_size 20; dash_path ./html; }}"
    ))
}

/// The manifest, if there is one.
pub fn manifest(server: &Server, stream: &str) -> Option<Mpd> {
    let reply =
        http::get(server.http, &format!("/live/{stream}.mpd")).ok().filter(|reply| reply.status == 200)?;
    assert_eq!(reply.header("content-type"), Some("application/dash+xml"));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    Some(Mpd::read(&String::from_utf8(reply.body).unwrap()))
}

/// The init segment and the segments of a track in one file, as players get them.
pub fn film(server: &Server, track: &Track, name: &str) -> PathBuf {
    let fetch = |address: String| {
        let reply = http::get(server.http, &format!("/live/{address}")).unwrap();
        assert_eq!(reply.status, 200, "{address}");
        assert_eq!(reply.header("content-type"), Some(&*format!("{}/mp4", track.kind)), "{address}");
        reply.body
    };
    let bytes: Vec<u8> =
        std::iter::once(track.init.clone()).chain(track.addresses()).flat_map(fetch).collect();
    let path = server.dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_is_published_is_there_to_the_last_frame() {
    let server = server(1);
    let clip = usual_clip();
    let mut before: Option<Mpd> = None;
    let mut mpd = None;
    for n in 1..=2 {
        tools::publish(ffmpeg(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
        let now = until("all is listed", SOON, || {
            let mpd = manifest(&server, "a")?;
            let all: usize = mpd.tracks("video").iter().map(|track| track.segments.len()).sum();
            (mpd.periods.len() == n && all == n * 4).then_some(mpd)
        });
        before.iter().for_each(|before| now.follows(before));
        before = Some(now.clone());
        mpd = Some(now);
    }
    let mpd = mpd.unwrap();
    let about = &mpd.tracks("video")[0].about;
    assert!(about["codecs"].starts_with("avc1.") && about["frameRate"] == "25", "{about:?}");
    assert_eq!((&*about["width"], &*about["height"]), ("320", "180"));
    assert_eq!(mpd.tracks("audio")[0].codecs, "mp4a.40.2");
    let want = tools::decoded(ffmpeg(), clip.to_str().unwrap());
    for (at, kind) in ["video", "audio"].into_iter().enumerate() {
        for (n, track) in mpd.tracks(kind).into_iter().enumerate() {
            let film = film(&server, track, &format!("{kind}-{n}.mp4"));
            let got = tools::decoded(ffmpeg(), film.to_str().unwrap());
            let (got, want) = (of(&got, 0), of(&want, at));
            assert_eq!(got.len(), want.len(), "frames of {kind} in period {n}");
            assert!(got.windows(2).all(|pair| pair[0].pts < pair[1].pts), "{kind} runs backwards");
            let differs = got.iter().zip(&want).position(|(got, want)| got.crc != want.crc);
            assert_eq!(differs.filter(|_| kind == "video"), None, "frames of {kind}");
        }
    }
    // What any web server could serve says the same.
    let file = Mpd::read(&fs::read_to_string(server.dir.join("html/live/a.mpd")).unwrap());
    assert_eq!(file.periods, mpd.periods);
    assert_eq!(file.clocks, [("urn:mpeg:dash:utc:http-head:2014".into(), "a.mpd".into())]);
    // The clock that players set theirs by.
    let (scheme, address) = &mpd.clocks[0];
    assert_eq!(scheme, "urn:mpeg:dash:utc:http-iso:2014");
    let time = String::from_utf8(http::get(server.http, &format!("/live/{address}")).unwrap().body).unwrap();
    assert!(time > mpd.published && time.len() == mpd.published.len(), "{time}");
}

/// A stream of which some segments are listed.
fn live(server: &Server) -> Running {
    let publisher = publish_for_ever(server, "page");
    until("segments are listed", LIMIT, || {
        manifest(server, "page").filter(|mpd| mpd.tracks("video")[0].segments.len() >= 3)
    });
    publisher
}

#[test]
fn ffmpeg_plays() {
    // It takes times for whole seconds, and fetches shorter segments twice.
    let server = server(2);
    let _publisher = live(&server);
    let url = format!("http://{}/live/page.mpd", server.http);
    let mut player = tools::start(
        ffmpeg(),
        &["-i", &url, "-t", "10", "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-"],
    );
    player.succeed(LIMIT);
    // It asks for segments by number before they are listed, and tries again.
    let is_early = |line: &String| {
        line.contains("404 Not Found") || line.contains("Failed to open fragment of playlist")
    };
    let complaints: Vec<_> = player.err.all().into_iter().filter(|line| !is_early(line)).collect();
    assert_eq!(complaints, [""; 0]);
    let frames = tools::Line::read(&player.out.all());
    let (pictures, sound) = (of(&frames, 0).len(), of(&frames, 1).len());
    assert!((245..=251).contains(&pictures) && (460..=472).contains(&sound), "{pictures}, {sound}");
    // A clip that loops is some milliseconds longer than its pictures.
    let steps = of(&frames, 0).windows(2).all(|pair| (1..=2).contains(&(pair[1].pts - pair[0].pts)));
    assert!(steps, "a picture is missing or comes twice: {frames:?}");
}

#[test]
fn browsers_play_on_with_the_next_publisher() {
    let server = server(1);
    let publisher = live(&server);
    let url = format!("http://{}/live/page.mpd", server.http);
    let pages = [("", "browser-dash.png"), ("#shaka", "browser-shaka.png")]
        .map(|(player, picture)| Page::open(&format!("{url}{player}"), 14, picture));
    until("both play", LIMIT, || {
        let asked = server.log().all().iter().filter(|line| line.contains("GET /live/page/video-")).count();
        (asked >= 14).then_some(())
    });
    drop(publisher);
    server.has_clients(0);
    let _publisher = publish_for_ever(&server, "page");
    for page in pages {
        let seen = page.seen();
        has_pictures(&seen);
        assert!(seen["audioBytes"].as_u64() > Some(10_000), "{seen}");
        assert!(seen["progress"].as_f64() > Some(8.0), "{seen}");
    }
    assert!(manifest(&server, "page").unwrap().periods.len() == 2, "the pages saw no second publisher");
}

/// Publishes a clip, and gets its manifest when all of it is listed.
fn published(server: &Server, args: &str, stream: &str) -> Mpd {
    let clip = clip(ffmpeg_new(), args);
    tools::publish(ffmpeg_new(), &clip, &server.rtmp_url(stream)).succeed(LIMIT);
    until("all is listed", SOON, || {
        let mpd = manifest(server, stream)?;
        let track = &mpd.periods[0].tracks[0];
        let length: u64 = track.segments.iter().map(|(_, length)| length).sum();
        (length as f64 / track.scale as f64 > 3.9).then_some(mpd)
    })
}

#[test]
fn other_codecs_and_sound_alone_without_a_file() {
    let server =
        Server::with_vhost("dash { enabled on; dash_fragment 1; dash_storage ram; dash_path ./html; }");
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=error -g 25 -c:a aac";
    let av1 = "-c:v libsvtav1 -preset 12 -svtav1-params lp=1 -g 25 -c:a libopus";
    for (stream, args, codecs) in [
        ("hevc", format!("{PICTURES} {SOUND} {hevc}"), &["hvc1.", "mp4a.40.2"][..]),
        ("av1", format!("{PICTURES} {SOUND} {av1}"), &["av01.", "opus"]),
        ("sound", format!("{SOUND} -c:a aac"), &["mp4a.40.2"]),
    ] {
        let mpd = published(&server, &args, stream);
        let tracks = &mpd.periods[0].tracks;
        assert_eq!(tracks.len(), codecs.len(), "{stream}");
        for (track, codec) in tracks.iter().zip(codecs) {
            assert!(track.codecs.starts_with(codec), "{stream}: {}", track.codecs);
            let film = film(&server, track, "film.mp4");
            let frames = of(&tools::decoded(ffmpeg_new(), film.to_str().unwrap()), 0).len();
            let want = if track.kind == "video" { 100..=100 } else { 185..=200 };
            assert!(want.contains(&frames), "{stream}: {frames} frames of {}", track.kind);
        }
    }
    assert!(!server.dir.join("html").exists(), "nothing is written");
}

#[test]
fn browsers_play_sound_alone() {
    let server = server(1);
    let sound = clip(ffmpeg(), &format!("{SOUND} -c:a aac"));
    let head = ["-re", "-stream_loop", "-1", "-i", sound.to_str().unwrap(), "-c", "copy", "-f", "flv"];
    let _publisher = tools::start(ffmpeg(), &[&head[..], &[&server.rtmp_url("page")]].concat());
    until("segments are listed", LIMIT, || {
        manifest(&server, "page").filter(|mpd| mpd.tracks("audio")[0].segments.len() >= 3)
    });
    let url = format!("http://{}/live/page.mpd", server.http);
    let pages = [("", "browser-dash-sound.png"), ("#shaka", "browser-shaka-sound.png")]
        .map(|(player, picture)| Page::open(&format!("{url}{player}"), 5, picture));
    pages.into_iter().for_each(|page| is_well_heard(&page.seen()));
}

#[test]
fn a_place_that_cannot_be_written_costs_nothing_but_the_files() {
    let server = server(1);
    fs::create_dir_all(server.dir.join("html")).unwrap();
    fs::write(server.dir.join("html/live"), "in the way").unwrap();
    let mpd = published(&server, &format!("{PICTURES} {SOUND} -c:v libx264 -g 25 -c:a aac"), "a");
    server.logged(&["[WARN]", "dash: /live/a", "segments are kept in memory"]);
    let film = film(&server, mpd.tracks("video")[0], "film.mp4");
    assert_eq!(of(&tools::decoded(ffmpeg(), film.to_str().unwrap()), 0).len(), 100);
    assert_eq!(fs::read_to_string(server.dir.join("html/live")).unwrap(), "in the way");
}

#[test]
fn every_request_shows_what_the_vhost_demands() {
    let dash = "dash { enabled on; dash_fragment 1; dash_path ./html; }";
    let server = Server::with(Setup {
        vhosts: &format!(
            "vhost signed {{ {dash} signed_url {{ enabled on; secret a-secret-of-some-length; publish off; }} }}
            vhost closed {{ dash {{ enabled on; dash_storage ram; }} security {{ enabled on; allow publish all; deny play 127.0.0.1; }} }}"
        ),
        ..Setup::default()
    });
    for vhost in ["signed", "closed"] {
        let url = format!("{}?vhost={vhost}", server.rtmp_url("a"));
        tools::publish(ffmpeg(), &usual_clip(), &url).succeed(LIMIT);
    }
    let ask = |path: &str, query: &str| http::get(server.http, &format!("/live/{path}?{query}")).unwrap();
    until("all is listed", SOON, || (ask("a.mpd", "vhost=closed").status == 403).then_some(()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a-secret-of-some-length");
    let sign = hmac::sign(&key, b"play|/live/a|4000000000");
    let sign: String = sign.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("vhost=signed&expires=4000000000&sign={sign}");
    let text = until("it is listed", SOON, || {
        let reply = ask("a.mpd", &query);
        (reply.status == 200).then(|| String::from_utf8(reply.body).unwrap())
    });
    let mpd = Mpd::read(&text);
    let segment = mpd.tracks("video")[0].addresses().next().unwrap();
    let (path, told) = segment.split_once('?').unwrap();
    assert_eq!(told, query, "it goes along");
    assert_eq!(ask(path, told).status, 200);
    let refused = ask("a.mpd", "vhost=signed").status;
    assert!(matches!(refused, 401 | 403), "{refused}");
    assert_eq!(ask(path, "vhost=signed").status, refused);
}

#[test]
fn a_reload_turns_it_and_takes_it_away() {
    const BEFORE: &str = "dash_fragment 2;";
    let server =
        Server::with_vhost(&format!("dash {{ enabled on; {BEFORE} dash_dispose 1; dash_path ./html; }}"));
    let _publisher = publish_for_ever(&server, "a");
    let listed = |what: &str, found: &dyn Fn(&Mpd) -> bool| {
        until(what, LIMIT, || manifest(&server, "a").filter(found))
    };
    let before = listed("a segment is listed", &|_| true);
    let config = server.config();
    server.reloads(&config.replace(BEFORE, "dash_fragment 1; dash_update_period 0.5;"));
    let after = listed("shorter segments are listed", &|mpd| {
        let length = |track: &Track| track.segments.last().unwrap().1 as f64 / track.scale as f64;
        mpd.periods.len() == 2 && length(mpd.tracks("video").last().unwrap()) == 1.0
    });
    after.follows(&before);
    assert_eq!((before.update, after.update), (2.0, 0.5));
    server.reloads(&config.replace("dash { enabled on;", "dash { enabled off;"));
    until("all is gone", LIMIT, || {
        let is_gone = http::get(server.http, "/live/a.mpd").unwrap().status == 404;
        (is_gone && !server.dir.join("html/live/a").exists()).then_some(())
    });
    server.took("a", 100);
}
