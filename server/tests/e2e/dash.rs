//! DASH: what ffmpeg publishes is there to the last frame, over two publishers; dash.js and Shaka play it live in Chromium, ffmpeg too.

use std::fs;
use std::path::PathBuf;

use crate::browser::{Page, has_pictures};
use crate::child::Running;
use crate::harness::{SOON, Server, until};
use crate::http;
use crate::players::{LIMIT, publish_for_ever};
use crate::tools::{self, ffmpeg, of, usual_clip};

fn server() -> Server {
    Server::with_vhost(
        "dash { enabled on; dash_fragment 1; dash_update_period 1; dash_window_size 20; dash_path ./html; }",
    )
}

fn manifest(server: &Server, stream: &str) -> Option<String> {
    let reply =
        http::get(server.http, &format!("/live/{stream}.mpd")).ok().filter(|reply| reply.status == 200)?;
    assert_eq!(reply.header("content-type"), Some("application/dash+xml"));
    String::from_utf8(reply.body).ok()
}

/// The init segment and the segments of a track in one file.
fn whole(server: &Server, track: &str, segments: usize) -> PathBuf {
    let folder = server.dir.join("html/live/a");
    let mut bytes = fs::read(folder.join(format!("{track}-init.mp4"))).unwrap();
    for n in 1..=segments {
        bytes.extend(fs::read(folder.join(format!("{track}-{n}.m4s"))).unwrap());
    }
    let path = server.dir.join(format!("{track}.mp4"));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_is_published_is_there_to_the_last_frame() {
    let server = server();
    let clip = usual_clip();
    for n in 1..=2 {
        tools::publish(ffmpeg(), &clip, &server.rtmp_url("a")).succeed(LIMIT);
        until("all is listed", SOON, || {
            let text = manifest(&server, "a")?;
            (text.matches("<Period").count() == n && text.matches("<S ").count() >= n).then_some(())?;
            server.dir.join(format!("html/live/a/video-{}.m4s", n * 4)).exists().then_some(())
        });
    }
    let text = manifest(&server, "a").unwrap();
    for want in ["codecs=\"avc1.", "codecs=\"mp4a.40.2\"", "width=\"320\" height=\"180\"", "frameRate=\"25\""]
    {
        assert!(text.contains(want), "{want} in {text}");
    }
    let clip = clip.to_str().unwrap();
    let want = tools::decoded(ffmpeg(), clip);
    for (at, track) in ["video", "audio"].into_iter().enumerate() {
        let segments = fs::read_dir(server.dir.join("html/live/a")).unwrap().flatten();
        let segments = segments.filter(|e| {
            let name = e.file_name().into_string().unwrap();
            name.starts_with(track) && name.ends_with(".m4s")
        });
        let file = whole(&server, track, segments.count());
        let got = tools::decoded(ffmpeg(), file.to_str().unwrap());
        let (got, want) = (of(&got, 0), of(&want, at));
        assert_eq!(got.len(), 2 * want.len(), "frames of {track}");
        assert!(got.windows(2).all(|pair| pair[0].pts < pair[1].pts), "{track} runs backwards");
        if track == "video" {
            let differs =
                got.iter().zip(want.iter().chain(&want)).position(|(got, want)| got.crc != want.crc);
            assert_eq!(differs, None, "frames of {track}");
        }
    }
    for (name, kind) in
        [("video-init.mp4", "video/mp4"), ("audio-init.mp4", "audio/mp4"), ("video-1.m4s", "video/mp4")]
    {
        let reply = http::get(server.http, &format!("/live/a/{name}")).unwrap();
        assert_eq!(reply.header("content-type"), Some(kind), "{name}");
    }
}

/// A stream of which some segments are listed.
fn live(server: &Server) -> Running {
    let publisher = publish_for_ever(server, "page");
    until("segments are listed", LIMIT, || {
        server.dir.join("html/live/page/video-3.m4s").exists().then_some(())
    });
    publisher
}

#[test]
fn ffmpeg_plays_and_has_nothing_to_say() {
    let server = server();
    let _publisher = live(&server);
    let url = format!("http://{}/live/page.mpd", server.http);
    let mut player =
        tools::start(ffmpeg(), &["-i", &url, "-t", "5", "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-"]);
    player.succeed(LIMIT);
    assert_eq!(player.err.all(), [""; 0]);
    let frames = tools::Line::read(&player.out.all());
    let (pictures, sound) = (of(&frames, 0).len(), of(&frames, 1).len());
    assert!((115..=126).contains(&pictures) && (220..=240).contains(&sound), "{pictures}, {sound}");
}

#[test]
fn browsers_play_on_with_the_next_publisher() {
    let server = server();
    let publisher = live(&server);
    let url = format!("http://{}/live/page.mpd", server.http);
    let pages = [("", "browser-dash.png"), ("#shaka", "browser-shaka.png")]
        .map(|(player, picture)| Page::open(&format!("{url}{player}"), 14, picture));
    until("both play", LIMIT, || server.dir.join("html/live/page/video-9.m4s").exists().then_some(()));
    drop(publisher);
    until("the publisher has left", LIMIT, || {
        (server.stream("page")?["publish"]["active"] == false).then_some(())
    });
    let _publisher = publish_for_ever(&server, "page");
    for page in pages {
        let seen = page.seen();
        has_pictures(&seen);
        assert!(seen["audioBytes"].as_u64() > Some(10_000), "{seen}");
        assert!(seen["progress"].as_f64() > Some(8.0), "{seen}");
    }
}
