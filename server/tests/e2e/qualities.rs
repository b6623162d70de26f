//! HLS in several qualities: the list of them, and players who change from one to another.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::child::Running;
use crate::client::Client;
use crate::harness::{Server, until};
use crate::hls::server;
use crate::hls_low::Camera;
use crate::http;
use crate::playlist::{Playlist, Variant, master};
use crate::tape::Tape;
use crate::tools::{LIMIT, SOUND, clip, ffmpeg, usual_clip};
use crate::viewer::{PACED, Viewer, resolve};

const VARIANTS: &str = "hls_variants [stream] [stream]_low [stream]_radio; hls_window 20;";

/// Films a clock, in these sizes.
fn film(server: &Server, outputs: &[(&str, &str)]) -> Camera {
    let coding = "-map 0:v -map 1:a -c:a aac -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -shortest -f flv";
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut all = words("-f lavfi -i sine=frequency=440:sample_rate=44100");
    for (stream, size) in outputs {
        all.extend(words(&format!("-s {size} {coding}")));
        all.push(server.rtmp_url(stream));
    }
    Camera::film(&all)
}

/// Changes the quality twice; what hls.js says of the qualities.
#[track_caller]
fn changes_without_a_jump(server: &Server) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let mut command = Command::new("node");
    let url = format!("http://{}/live/page/master.m3u8", server.http);
    command.current_dir(folder).args(["qualities.mjs", &url, "[0, 1, 0]", "3"]);
    let mut page = Running::start("node qualities.mjs", &mut command);
    page.succeed(LIMIT * 2);
    let seen: Value = serde_json::from_str(&page.out.all().pop().unwrap()).unwrap();
    assert_eq!(seen["errors"], json!([]), "{seen}");
    let widths: Vec<_> = seen["phases"].as_array().unwrap().iter().map(|phase| &phase["width"]).collect();
    assert_eq!(widths, [160, 320, 160], "{seen}");
    for phase in seen["phases"].as_array().unwrap() {
        assert!(phase["off"].as_i64().unwrap().abs() < 100, "the picture jumps: {seen}");
        assert!(phase["pictures"].as_u64() > Some(40), "{seen}");
    }
    seen["levels"].clone()
}

/// hls.js changes between these, in this format.
#[track_caller]
fn a_browser_changes(format: &str, transcode: &str, outputs: &[(&str, &str)]) {
    let hls = format!("hls {{ enabled on; hls_fragment 1; {VARIANTS} {format} }}");
    let server = Server::with_vhost(&format!("{hls} {transcode}"));
    let _camera = film(&server, outputs);
    for stream in ["page", "page_low"] {
        Viewer::open(&server, stream).follow_to(2);
    }
    let levels = changes_without_a_jump(&server);
    let sizes: Vec<_> = levels.as_array().unwrap().iter().map(|level| &level["width"]).collect();
    assert_eq!(sizes, [160, 320], "{levels}");
    assert!(levels[1]["codecs"].as_str().unwrap().starts_with("avc1.42c00c,mp4a.40.2"), "{levels}");
}

#[test]
fn a_browser_changes_between_the_outputs_of_an_encoder() {
    a_browser_changes("", "", &[("page", "320x180"), ("page_low", "160x90")]);
}

#[test]
fn a_browser_changes_to_what_this_server_has_transcoded() {
    let transcode = format!(
        "transcode {{ enabled on; ffmpeg {}; engine low {{ enabled on; vcodec libx264; vwidth 160; vheight 90; vbitrate 50;
        vprofile baseline; vpreset ultrafast; vparams {{ g 25; tune zerolatency; }} acodec aac; abitrate 32; asample_rate 44100; achannels 1;
        output rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]; }} }}",
        ffmpeg().display()
    );
    a_browser_changes("hls_use_fmp4 on;", &transcode, &[("page", "320x180")]);
}

/// Publishes so many seconds at once.
fn publish(server: &Server, tape: &Tape, stream: &str, seconds: u32) -> Client {
    let mut publisher = Client::publish(server, stream);
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, seconds * 1000, 0);
    publisher
}

fn master_at(server: &Server, address: &str) -> Vec<Variant> {
    let reply = http::get(server.http, address).unwrap();
    assert_eq!(reply.status, 200, "{address}: {}", reply.head);
    master(&String::from_utf8(reply.body).unwrap()).expect("a master playlist")
}

/// Waits until so many qualities are listed.
#[track_caller]
fn qualities(server: &Server, count: usize) -> Vec<Variant> {
    let there = || {
        let reply =
            http::get(server.http, "/live/cam/master.m3u8").ok().filter(|reply| reply.status == 200)?;
        master(&String::from_utf8(reply.body).unwrap()).filter(|list| list.len() == count)
    };
    until("the qualities are listed", PACED, there)
}

#[test]
fn the_list_has_what_is_live_and_opens_it() {
    let server = server(VARIANTS);
    let missing = || http::get(server.http, "/live/cam/master.m3u8").unwrap().status;
    assert_eq!(missing(), 404);
    let (tape, sound) = (Tape::of(&usual_clip()), Tape::of(&clip(ffmpeg(), &format!("{SOUND} -c:a aac"))));
    let other = publish(&server, &tape, "other", 4);
    let low = publish(&server, &tape, "cam_low", 4);
    let only = qualities(&server, 1);
    assert_eq!((only[0].size, only[0].fps), (Some((320, 180)), Some(25.0)), "{only:?}");
    let high = publish(&server, &tape, "cam", 4);
    let radio = publish(&server, &sound, "cam_radio", 4);
    let all = qualities(&server, 3);
    let path = |variant: &Variant| variant.uri.split('?').next().unwrap().to_owned();
    assert!(
        all.iter().map(path).eq(["../cam.m3u8", "../cam_low.m3u8", "../cam_radio.m3u8"]),
        "in the order of the configuration"
    );
    assert_eq!((all[2].size, all[2].codecs.as_deref()), (None, Some("mp4a.40.2")));

    // One name for the player opens all of them, and nothing else.
    let list = master_at(&server, "/live/cam/master.m3u8");
    let ctx = list[0].uri.split_once('?').unwrap().1.to_owned();
    assert!(
        ctx.starts_with("hls_ctx=") && list.iter().all(|variant| variant.uri.ends_with(&ctx)),
        "{list:?}"
    );
    let again = master_at(&server, &format!("/live/cam/master.m3u8?{ctx}"));
    assert!(again[0].uri.ends_with(&ctx), "it is known: {again:?}");
    let mut bytes = 0;
    for variant in &list {
        let mut viewer = Viewer::at(&server, &resolve("/live/cam/master.m3u8", &variant.uri));
        viewer.refresh();
        assert!(viewer.address.contains(&ctx), "{}", viewer.address);
        for (entry, segment) in viewer.segments.values() {
            assert!(entry.uri.ends_with(&ctx) && entry.date.is_some(), "{entry:?}");
            let rate = segment.len() as u64 * 8000 / entry.ms;
            assert!(rate <= variant.bandwidth, "{rate} is more than {variant:?}");
            bytes += segment.len() as u64;
        }
    }
    let stranger = http::get(server.http, &format!("/live/other.m3u8?{ctx}")).unwrap();
    let text = String::from_utf8(stranger.body).unwrap();
    assert!(master(&text).is_some() && !text.contains(&ctx), "the name is good for its own stream: {text}");
    let clients = server.clients();
    let client = clients.iter().find(|client| client["id"].as_str() == ctx.strip_prefix("hls_ctx=")).unwrap();
    assert_eq!((&client["type"], &client["name"]), (&json!("hls-play"), &json!("master.m3u8")), "{client}");
    assert!(client["send_bytes"].as_u64() >= Some(bytes), "{client}");

    // For other web servers, and without names of players.
    let file = server.dir.join("objs/nginx/html/live/cam/master.m3u8");
    let listed = || {
        master(&std::fs::read_to_string(&file).unwrap())
            .unwrap()
            .iter()
            .map(|variant| variant.uri.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(), ["../cam.m3u8", "../cam_low.m3u8", "../cam_radio.m3u8"]);
    low.stop();
    assert!(qualities(&server, 2).iter().map(path).eq(["../cam.m3u8", "../cam_radio.m3u8"]));
    until("the file says so, too", PACED, || {
        (listed() == ["../cam.m3u8", "../cam_radio.m3u8"]).then_some(())
    });
    for publisher in [high, radio, other] {
        publisher.stop();
    }
    assert_eq!(qualities(&server, 3).len(), 3, "what was, as long as it is kept");
}

#[test]
fn low_latency_reports_how_far_the_others_are() {
    let server = server(&format!("{VARIANTS} hls_low_latency on; hls_dispose 1; hls_ctx off;"));
    let tape = Tape::of(&usual_clip());
    let low = publish(&server, &tape, "cam_low", 3);
    let _high = publish(&server, &tape, "cam", 2);
    assert!(qualities(&server, 2).iter().all(|variant| !variant.uri.contains('?')));
    let text = |stream: &str| {
        String::from_utf8(http::get(server.http, &format!("/live/{stream}.m3u8")).unwrap().body).unwrap()
    };
    let edge = |playlist: &Playlist| match playlist.parts.len() as u64 {
        0 => (playlist.next() - 1, None),
        parts => (playlist.next(), Some(parts - 1)),
    };
    let report = until("the other one is reported", PACED, || {
        let (low, high) = (Playlist::parse(&text("cam_low")), Playlist::parse(&text("cam")));
        let report = high.reports.first()?.clone();
        (report.1 == edge(&low).0).then_some((report, edge(&low)))
    });
    assert_eq!(report.0.0, "cam_low.m3u8");
    assert!(report.1.1.is_none_or(|part| report.0.2 == Some(part)), "{report:?}");
    low.stop();
    qualities(&server, 1);
    // Later it is disposed of, and so is the list when nothing is left.
    drop(_high);
    let file = server.dir.join("objs/nginx/html/live/cam/master.m3u8");
    until("all is disposed of", PACED, || (!file.exists()).then_some(()));
    assert_eq!(http::get(server.http, "/live/cam/master.m3u8").unwrap().status, 404);
}
