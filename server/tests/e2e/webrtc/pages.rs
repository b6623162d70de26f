//! The pages of the server in a real browser, used as people use them: players, publishers and calls.

use serde_json::{Value, json};

use super::{browse, screenshot, server};
use crate::harness::{SOON, Server, Setup, free_port, until};
use crate::http;
use crate::http_ts;
use crate::players::{publish_clip_for_ever, publish_for_ever};
use crate::tools::{PICTURES, SOUND, clip, ffmpeg};

/// The address of a page, with these parameters.
fn page(server: &Server, path: &str, query: &str) -> String {
    let reply = http::get(server.http, &format!("/{path}")).unwrap();
    assert_eq!(reply.status, 200, "{path} is not in the program: `make build` puts the pages there");
    format!("http://{}/{path}?api={}&{query}", server.http, server.api.port())
}

/// What the pages show while they play, in the order in which they were opened.
fn watch(pages: &[String], name: &str) -> Vec<Value> {
    watch_for(3, pages, name)
}

fn watch_for(seconds: u32, pages: &[String], name: &str) -> Vec<Value> {
    let seen = browse("pages.mjs", &json!({ "watch": pages, "seconds": seconds, "shots": screenshot(name) }));
    seen["tabs"].as_array().unwrap().clone()
}

/// The one video of a page plays, and the page says so; the size of the picture.
#[track_caller]
fn is_playing(tab: &Value) -> [u64; 2] {
    assert_eq!(tab["state"], "good", "{tab:#}");
    let video = &tab["videos"][0];
    assert!(video["progress"].as_u64() > Some(20), "{tab:#}");
    assert!(tab["stats"].as_str().unwrap().contains('×'), "{tab:#}");
    [0, 1].map(|at| video["size"][at].as_u64().unwrap())
}

/// The page of a publisher shows its camera; that of the player has a picture of the same shape, as large as the browser finds fit.
#[track_caller]
fn is_seen(tabs: &[Value]) {
    assert_eq!(is_playing(&tabs[0]), [1280, 720], "{:#}", tabs[0]);
    let [width, height] = is_playing(&tabs[1]);
    assert_eq!(width * 9, height * 16, "{:#}", tabs[1]);
}

#[test]
fn the_rtc_player_plays_the_rtc_publisher() {
    let server = server();
    let pages =
        ["publisher", "player"].map(|name| page(&server, &format!("players/rtc_{name}.html"), "stream=cam"));
    let seen = watch(&pages, "page-rtc");
    is_seen(&seen);
    assert!(seen[1]["facts"].as_str().unwrap().contains("H264"), "{:#}", seen[1]);
}

#[test]
fn whep_plays_whip() {
    let server = server();
    let pages = ["whip", "whep"].map(|name| page(&server, &format!("players/{name}.html"), "stream=cam"));
    let seen = watch(&pages, "page-whip");
    is_seen(&seen);
    assert!(seen[1]["facts"].as_str().unwrap().contains("opus"), "{:#}", seen[1]);
}

#[test]
fn the_rtc_player_plays_rtmp() {
    let server = server();
    let with = "-c:v libx264 -preset veryfast -g 25 -bf 0 -c:a aac";
    let clip = clip(ffmpeg(), &format!("{PICTURES} {SOUND} {with}"));
    let _publisher = publish_clip_for_ever(&server, &clip, "obs");
    let seen = watch(&[page(&server, "players/rtc_player.html", "stream=obs")], "page-rtmp");
    assert_eq!(is_playing(&seen[0]), [320, 180]);
}

#[test]
fn the_player_plays_flv_and_hls() {
    let server = Server::with_vhost("hls { enabled on; hls_fragment 1; hls_window 6; }");
    let _publisher = publish_for_ever(&server, "obs");
    for (stream, by) in [("obs.flv", "mpegts.js"), ("obs.m3u8", "hls.js")] {
        let page = page(&server, "players/srs_player.html", &format!("stream={stream}"));
        let seen = watch(&[page], &format!("page-{by}"));
        assert_eq!(is_playing(&seen[0]), [320, 180]);
        assert_eq!(seen[0]["says"], format!("Playing with {by}"), "{:#}", seen[0]);
        assert!(seen[0]["videos"][0]["sound"].as_u64() > Some(10_000), "{:#}", seen[0]);
    }
}

/// For longer than what is there at first, so that it has to ask what there is now.
#[test]
fn the_player_plays_dash() {
    let server = Server::with_vhost("dash { enabled on; dash_fragment 1; dash_window_size 6; }");
    let _publisher = publish_for_ever(&server, "obs");
    let page = page(&server, "players/srs_player.html", "stream=obs.mpd");
    let seen = watch_for(8, &[page], "page-dash.js");
    assert_eq!(is_playing(&seen[0]), [320, 180]);
    assert_eq!(seen[0]["says"], "Playing with dash.js", "{:#}", seen[0]);
    assert!(seen[0]["videos"][0]["progress"].as_u64() > Some(150), "{:#}", seen[0]);
}

#[test]
fn the_player_plays_ts() {
    let server = http_ts::server();
    let _publisher = publish_for_ever(&server, "obs");
    let seen = watch(&[page(&server, "players/srs_player.html", "stream=obs.ts")], "page-ts");
    assert_eq!(is_playing(&seen[0]), [320, 180]);
}

/// Everybody in the tabs sees everybody else, and himself.
#[track_caller]
fn see_each_other(tabs: &Value, names: &[&str]) {
    let tabs = tabs.as_array().unwrap();
    assert_eq!(tabs.len(), names.len());
    for (tab, own) in tabs.iter().zip(names) {
        assert_eq!(tab["state"], "good", "{tab:#}");
        let videos = tab["videos"].as_array().unwrap();
        let mut captions: Vec<_> = videos.iter().map(|video| video["caption"].as_str().unwrap()).collect();
        captions.sort_unstable();
        let mut expected: Vec<_> =
            names.iter().map(|n| if n == own { format!("{n}: you") } else { (*n).to_owned() }).collect();
        expected.sort_unstable();
        assert_eq!(captions, expected, "{tab:#}");
        for video in videos {
            assert!(video["progress"].as_u64() > Some(8), "a picture stands still: {tab:#}");
        }
    }
}

#[test]
fn two_call_each_other() {
    let server = server();
    let call = page(&server, "demos/one2one.html", "room=tea");
    let names = ["alice", "bob"];
    let shots = screenshot("page-one2one");
    let seen = browse(
        "pages.mjs",
        &json!({ "call": call, "names": names, "intruder": "eve", "seconds": 3, "shots": shots }),
    );
    see_each_other(&seen["together"], &names);
    assert_eq!(seen["intruder"]["says"], "There are 2 in this room already.", "{seen:#}");
    see_each_other(&seen["afterLeave"], &names[..1]);
    server.logged(&["signalling: bob leaves room tea"]);
}

#[test]
fn three_meet_in_a_room() {
    let server = server();
    let call = page(&server, "demos/room.html", "room=tea");
    let names = ["alice", "bob", "carol"];
    let seen = browse(
        "pages.mjs",
        &json!({ "call": call, "names": names, "seconds": 4, "shots": screenshot("page-room") }),
    );
    see_each_other(&seen["together"], &names);
    see_each_other(&seen["afterLeave"], &names[..2]);
    see_each_other(&seen["afterClose"], &names[..1]);
    // Their streams are gone, too.
    for name in ["bob", "carol"] {
        let is_gone = || server.stream(name).is_none_or(|stream| stream["publish"]["active"] == false);
        until(&format!("{name}'s stream ends"), SOON, || is_gone().then_some(()));
    }
}

/// The links of the first page lead somewhere.
#[test]
fn pages_link_to_pages() {
    let server = Server::with(Setup {
        top: &format!("rtc_server {{ enabled on; listen {}; }}", free_port()),
        ..Setup::default()
    });
    page(&server, "players/srs_player.html", "");
    let first = http::get(server.http, "/").unwrap();
    let first = String::from_utf8(first.body).unwrap();
    let links: Vec<_> = first.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.iter().any(|link| link.starts_with("demos/")), "{links:?}");
    for link in links {
        assert_eq!(http::get(server.http, &format!("/{link}")).unwrap().status, 200, "{link}");
    }
}
