//! HLS over the end of a server: what was listed stays, and a player goes on as if nothing had been but a discontinuity.

use crate::client::Client;
use crate::harness::{Server, until};
use crate::hls::server;
use crate::http;
use crate::tape::Tape;
use crate::tools::{self, ffmpeg, of, usual_clip};
use crate::viewer::{PACED, Viewer, keep};

/// Publishes three and a half seconds: three segments, and one that is not complete.
fn publish(server: &Server, tape: &Tape) -> Client {
    let mut publisher = Client::publish(server, "a");
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, 3500, 0);
    publisher
}

/// What was complete is whole.
#[track_caller]
fn decodes(server: &Server, viewer: &Viewer, from: u64, to: u64, is_mp4: bool) {
    let bytes = if is_mp4 { viewer.film(from, to) } else { viewer.stretch(from, to) };
    let film = keep(server, if is_mp4 { "film.mp4" } else { "film.ts" }, &bytes);
    let frames = tools::decoded(ffmpeg(), film.to_str().unwrap());
    assert_eq!(of(&frames, 0).len(), (to - from) as usize * 25);
}

#[test]
fn a_viewer_goes_on_when_the_server_was_killed() {
    for format in ["", "hls_keys on; hls_fragments_per_key 2;", "hls_use_fmp4 on;"] {
        let mut server = server(&format!("hls_window 20; {format}"));
        let tape = Tape::of(&usual_clip());
        let publisher = publish(&server, &tape);
        let mut viewer = Viewer::open(&server, "a");
        // What fragmented MP4 has of a segment is known with the next piece of a second.
        let is_mp4 = format.contains("fmp4");
        let complete = if is_mp4 { 2 } else { 3 };
        viewer.follow_to(complete);
        server.kill_and_start();
        drop(publisher);
        let _publisher = publish(&server, &tape);
        let is_there = || http::get(server.http, &viewer.address).ok().filter(|reply| reply.status == 200);
        until("the playlist is there again", PACED, is_there);
        // It holds the rules against what it has seen before the end.
        viewer.follow_to(2 * complete);
        assert_eq!(viewer.playlist.sequence, 0, "{:?}", viewer.playlist);
        let breaks = viewer.playlist.entries.iter().map(|entry| entry.discontinuity);
        assert!(breaks.eq((0..2 * complete).map(|number| number == complete)), "{:?}", viewer.playlist);
        for from in [0, complete] {
            decodes(&server, &viewer, from, from + complete, is_mp4);
        }
        // Somebody who comes now gets all of it, the segments of before and their keys, too.
        let late = Viewer::open(&server, "a");
        assert!(
            late.segments
                .values()
                .map(|(_, bytes)| bytes)
                .eq(viewer.segments.values().map(|(_, bytes)| bytes))
        );
    }
}
