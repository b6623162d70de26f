//! Encrypted HLS: who has the key has the pictures, and who may have the key.

use crate::client::Client;
use crate::harness::{SOON, Server, until};
use crate::hls::{files, server};
use crate::http;
use crate::tape::Tape;
use crate::tools::{self, LIMIT, ffmpeg, of, usual_clip};
use crate::viewer::{PACED, Playlist, Viewer, keep, resolve, variant};

fn status(server: &Server, path: &str) -> u16 {
    http::get(server.http, path).unwrap().status
}

/// Publishes up to this second, and stays.
fn play(publisher: &mut Client, tape: &Tape, from: u32, to: u32) {
    if from == 0 {
        tape.headers(publisher, 0);
    }
    tape.play(publisher, from * 1000 + if from == 0 { 0 } else { 100 }, to * 1000 + 100, 0);
}

#[test]
fn keys_change_and_are_there_as_long_as_they_are_needed() {
    for storage in ["disk", "ram"] {
        let server =
            server(&format!("hls_window 3; hls_storage {storage}; hls_keys on; hls_fragments_per_key 3;"));
        let tape = Tape::of(&usual_clip());
        let mut publisher = Client::publish(&server, "a");
        play(&mut publisher, &tape, 0, 2);
        let mut viewer = Viewer::open(&server, "a");
        for second in 2..12 {
            play(&mut publisher, &tape, second, second + 1);
            viewer.follow_to(u64::from(second) + 1);
            // A viewer who comes now has all that it needs.
            let first = &viewer.playlist.entries[0];
            let (uri, _) = first.key.as_ref().expect("the first one that is listed has its key");
            assert_eq!(status(&server, &resolve(&viewer.address, uri)), 200);
        }
        assert_eq!(viewer.keys.len(), 4, "12 segments: {:?}", viewer.keys.keys());
        let all: std::collections::HashSet<_> = viewer.keys.values().collect();
        assert_eq!(all.len(), 4);
        let whole = keep(&server, "whole.ts", &viewer.stretch(0, 12));
        let pictures = tools::decoded(ffmpeg(), whole.to_str().unwrap());
        assert_eq!(of(&pictures, 0).len(), 12 * 25);
        // 0 to 5 have left long ago, and the first key with them.
        until("the first key is gone", PACED, || (status(&server, "/live/a-0.key") == 404).then_some(()));
        let keys = files(&server.dir.join("objs/nginx/html/live"));
        let keys: Vec<_> = keys.iter().filter(|name| name.ends_with(".key")).collect();
        assert!(if storage == "disk" { (2..=4).contains(&keys.len()) } else { keys.is_empty() }, "{keys:?}");
    }
}

#[test]
fn a_key_is_for_those_who_may_play() {
    let server = Server::with_vhost(
        "hls { enabled on; hls_fragment 1; hls_keys on; hls_ts_ctx off; hls_key_url /live?n=1; }
        refer { enabled on; play page.test; }",
    );
    let tape = Tape::of(&usual_clip());
    let mut publishers = ["live/a", "b"].map(|stream| Client::publish(&server, stream));
    publishers.iter_mut().for_each(|publisher| play(publisher, &tape, 0, 2));
    let ask =
        |path: &str| http::request(server.http, "GET", path, &[("Referer", "http://page.test/")]).unwrap();
    let master = until("a playlist", PACED, || Some(ask("/live/b.m3u8")).filter(|reply| reply.status == 200));
    let master = String::from_utf8(master.body).unwrap();
    let text = String::from_utf8(ask(variant(&master).unwrap()).body).unwrap();
    let entry = Playlist::parse(&text).entries.remove(0);
    let (uri, _) = entry.key.unwrap();
    assert!(uri.starts_with("/live/live/b-0.key?hls_ctx=") && uri.ends_with("&n=1"), "{uri}");
    assert!(!entry.uri.contains("hls_ctx"), "segments have no name, but the key has: {}", entry.uri);
    // It is found where it is on the shelf, wherever the playlist says that it is.
    let name = uri.split_once("hls_ctx=").unwrap().1.split_once('&').unwrap().0;
    let key = format!("/live/b-0.key?hls_ctx={name}");
    assert_eq!(status(&server, &key), 200);
    for stranger in ["/live/b-0.key", "/live/b-0.key?hls_ctx=abcd1234"] {
        assert_eq!(status(&server, stranger), 403, "{stranger}");
    }
    let other = format!("/live/live/a-0.key?hls_ctx={name}");
    assert_eq!(status(&server, &other), 403, "a name opens no other stream");
    assert_eq!(ask("/live/live/a-0.key").status, 200, "who may play may have it");
    server.kick(name);
    until("the key is refused", SOON, || (status(&server, &key) == 403).then_some(()));
}

#[test]
fn ffmpeg_plays_what_is_encrypted() {
    let server = server("hls_keys on; hls_fragments_per_key 2;");
    tools::publish(ffmpeg(), &usual_clip(), &server.rtmp_url("a")).succeed(LIMIT);
    Viewer::open(&server, "a").follow_to(4);
    let url = format!("http://{}/live/a.m3u8", server.http);
    let head = ["-live_start_index", "0", "-i", &url, "-t", "3.5"];
    let mut player = tools::start(ffmpeg(), &[&head[..], &["-map", "0", "-f", "framecrc", "-"]].concat());
    player.succeed(LIMIT);
    assert_eq!(player.err.all(), [""; 0]);
    let frames = tools::Line::read(&player.out.all());
    assert!(of(&frames, 0).len() >= 86, "{}", of(&frames, 0).len());
}
