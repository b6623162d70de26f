//! Players of HLS as clients: how they get their names, what they are told under them, when they are forgotten, and how HTTP speaks about
//! playlists and segments.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::harness::{SOON, Server, Setup, until};
use crate::hls::server;
use crate::http::{self, Reply};
use crate::tape::Tape;
use crate::tools::usual_clip;
use crate::viewer::{PACED, Playlist, Viewer, field, resolve, variant};

/// Publishes three seconds, which make two segments, and stays.
fn publish(server: &Server, url: &str) -> Client {
    let mut publisher = Client::open(server.rtmp, url, rtmp::Role::Publish);
    publisher.start();
    let tape = Tape::of(&usual_clip());
    tape.headers(&mut publisher, 0);
    tape.play(&mut publisher, 0, 2100, 0);
    publisher
}

fn get(server: &Server, path: &str) -> Reply {
    http::get(server.http, path).unwrap()
}

/// The answer as soon as it is no 404.
#[track_caller]
fn wait(server: &Server, path: &str) -> Reply {
    until(path, PACED, || Some(get(server, path)).filter(|reply| reply.status != 404))
}

#[track_caller]
fn text(reply: Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.head);
    String::from_utf8(reply.body).unwrap()
}

/// The name in an address.
fn ctx(address: &str) -> &str {
    address.split("hls_ctx=").nth(1).unwrap().split('&').next().unwrap()
}

fn players(server: &Server) -> Vec<Value> {
    server.clients().into_iter().filter(|client| client["type"] == "hls-play").collect()
}

#[test]
fn a_player_gets_a_name_and_is_counted_under_it() {
    let server = server("");
    let _publisher = publish(&server, &server.rtmp_url("a"));
    let master = text(wait(&server, "/live/a.m3u8?token=x%20y&vhost=&n=1"));
    let address = variant(&master).unwrap();
    let name = ctx(address).to_owned();
    assert_eq!(address, format!("/live/a.m3u8?hls_ctx={name}&token=x%20y&vhost=&n=1"));
    assert!(name.len() == 8 && name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}");
    server.logged(&["start play stream=/live/a, type=hls-play", &name]);

    let before = players(&server);
    assert_eq!((before.len(), &before[0]["id"]), (1, &Value::from(name.as_str())));
    assert_eq!((&before[0]["publish"], &before[0]["name"]), (&false.into(), &"a.m3u8".into()));
    assert!(before[0]["tcUrl"].as_str().unwrap().ends_with("/live"), "{}", before[0]);
    let stream = server.stream("a").unwrap();
    assert_eq!(stream["clients"], 2, "the publisher and the player");

    let mut viewer = Viewer::at(&server, address);
    assert_eq!(viewer.address, address, "what was a variant is the playlist");
    for (entry, _) in viewer.segments.values() {
        assert!(entry.uri.ends_with(&format!(".ts?hls_ctx={name}")), "{entry:?}");
    }
    for _ in 0..20 {
        viewer.refresh();
    }
    let sent = |client: &Value| client["send_bytes"].as_u64().unwrap();
    let got = master.len() as u64 + viewer.got;
    let counted = until("what was sent is counted", SOON, || {
        Some(sent(&players(&server)[0])).filter(|counted| *counted >= got)
    });
    assert!(counted <= got + got / 20, "{counted} for {got}");
    assert_eq!(players(&server).len(), 1, "it stays one client");
}

#[test]
fn without_names_playlists_are_files() {
    for storage in ["disk", "ram"] {
        let server = server(&format!("hls_ctx off; hls_storage {storage};"));
        let _publisher = publish(&server, &server.rtmp_url("a"));
        let playlist = Playlist::parse(&text(wait(&server, "/live/a.m3u8")));
        assert_eq!(playlist.entries[0].uri, "a-0.ts");
        assert_eq!(get(&server, "/live/a-0.ts").status, 200);
        assert_eq!(players(&server).len(), 0);
    }
}

#[test]
fn names_for_playlists_only_and_relative_addresses() {
    let server = server("hls_ts_ctx off; hls_master_m3u8_path_relative on;");
    let _publisher = publish(&server, &server.rtmp_url("a"));
    let master = text(wait(&server, "/live/a.m3u8?x=1"));
    let address = variant(&master).unwrap();
    assert_eq!(address, format!("a.m3u8?hls_ctx={}&x=1", ctx(address)));
    let viewer = Viewer::at(&server, &resolve("/live/a.m3u8", address));
    assert_eq!(viewer.playlist.entries[0].uri, "a-0.ts");
    assert_eq!(players(&server).len(), 1, "who takes a segment is no client");
}

#[test]
fn a_kicked_player_is_told_the_end() {
    let server = server("");
    let _publisher = publish(&server, &server.rtmp_url("a"));
    let viewer = Viewer::open(&server, "a");
    let name = ctx(&viewer.address).to_owned();
    server.kick(&name);
    until("it is off the list", SOON, || players(&server).is_empty().then_some(()));
    let reply = get(&server, &viewer.address);
    assert_eq!(reply.status, 404);
    assert_eq!(String::from_utf8(reply.body).unwrap(), format!("HLS stream {name} is EOF\n"));
    assert_eq!(players(&server).len(), 0, "it does not come back under its name");
    // It may come again like anybody else.
    assert_ne!(ctx(&Viewer::open(&server, "a").address), name);
}

#[test]
fn silent_players_are_forgotten() {
    let server = server("hls_window 2;");
    let _publisher = publish(&server, &server.rtmp_url("a"));
    let mut lively = Viewer::open(&server, "a");
    let silent = ctx(&Viewer::open(&server, "a").address).to_owned();
    let master = text(get(&server, "/live/a.m3u8"));
    let only_once = ctx(&master).trim().to_owned();
    let start = Instant::now();
    until("two are gone", Duration::from_secs(20), || {
        lively.refresh();
        std::thread::sleep(Duration::from_millis(200));
        (players(&server).len() == 1).then_some(())
    });
    assert!(start.elapsed() > Duration::from_secs(9), "{:?}", start.elapsed());
    assert_eq!(players(&server)[0]["id"], ctx(&lively.address));
    for name in [silent, only_once] {
        server.logged(&["client finished: no request for the playlist", &name]);
    }
}

#[test]
fn a_name_opens_its_own_playlist_only() {
    let server = server("");
    let _publishers = ["a", "b"].map(|stream| publish(&server, &server.rtmp_url(stream)));
    let name = ctx(&Viewer::open(&server, "a").address).to_owned();
    let master = text(wait(&server, &format!("/live/b.m3u8?hls_ctx={name}")));
    let address = variant(&master).expect("a master playlist for a stranger");
    assert_ne!(ctx(address), name);
    assert!(text(get(&server, address)).contains("b-0.ts"));
    assert_eq!(address.matches("hls_ctx").count(), 1, "{address}");
}

#[test]
fn a_player_may_bring_its_name() {
    let server = server("");
    let _publisher = publish(&server, &server.rtmp_url("a"));
    wait(&server, "/live/a.m3u8");
    let viewer = Viewer::at(&server, "/live/a.m3u8?hls_ctx=Abc45678");
    assert_eq!(viewer.address, "/live/a.m3u8?hls_ctx=Abc45678", "the real playlist at once");
    assert!(viewer.playlist.entries[0].uri.ends_with("?hls_ctx=Abc45678"));
    assert!(players(&server).iter().any(|player| player["id"] == "Abc45678"));
    for bad in ["", "a", "abcd123", "abcd12345", "%0d%0aabc", "abcd-123"] {
        let master = text(get(&server, &format!("/live/a.m3u8?hls_ctx={bad}")));
        let address = variant(&master).unwrap();
        assert_ne!(ctx(address), bad);
        assert_eq!(address, format!("/live/a.m3u8?hls_ctx={}", ctx(address)));
    }
}

#[test]
fn a_vhost_in_the_query() {
    for options in ["", "hls_ts_ctx off;", "hls_ctx off;"] {
        let hls = |storage| {
            format!(
                "hls {{ enabled on; hls_fragment 1; hls_path ./{storage}; hls_storage {storage}; {options} }}"
            )
        };
        let vhosts = format!("vhost a.test {{ {} }} vhost b.test {{ {} }}", hls("disk"), hls("ram"));
        let server = Server::with(Setup { vhosts: &vhosts, ..Setup::default() });
        for vhost in ["a.test", "b.test"] {
            let _publisher = publish(&server, &format!("rtmp://{}/live/x?vhost={vhost}", server.rtmp));
            for query in [format!("vhost={vhost}"), format!("token=1&domain={vhost}&n=2")] {
                let address = format!("/live/x.m3u8?{query}");
                let viewer = Viewer::at(&server, &address);
                assert!(!viewer.segments.is_empty());
                assert!(viewer.address.ends_with(&query), "{}", viewer.address);
            }
            let host = [("Host", vhost)];
            let reply = http::request(server.http, "GET", "/live/x.m3u8", &host).unwrap();
            assert_eq!(reply.status, 200);
        }
        let count = if options == "hls_ctx off;" { 0 } else { 6 };
        assert_eq!(players(&server).len(), count, "{options}");
    }
}

#[test]
fn playlists_that_somebody_else_wrote() {
    let server = Server::start();
    let folder = server.dir.join("html/vod");
    fs::create_dir_all(&folder).unwrap();
    let playlist = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:5\n\
        #EXTINF:4.5,\none.ts\n#EXTINF:5,\nsub/two.ts?key=1\n";
    fs::write(folder.join("film.m3u8"), playlist).unwrap();
    fs::create_dir(folder.join("sub")).unwrap();
    fs::write(folder.join("one.ts"), vec![0x47; 188 * 100]).unwrap();
    fs::write(folder.join("sub/two.ts"), vec![0x47; 188 * 50]).unwrap();

    let viewer = Viewer::at(&server, "/vod/film.m3u8");
    let name = ctx(&viewer.address);
    let uris: Vec<&str> = viewer.playlist.entries.iter().map(|entry| entry.uri.as_str()).collect();
    assert_eq!(uris, [format!("one.ts?hls_ctx={name}"), format!("sub/two.ts?hls_ctx={name}&key=1")]);
    let players = players(&server);
    assert_eq!((players.len(), &players[0]["id"]), (1, &Value::from(name)));
    let sent = players[0]["send_bytes"].as_u64().unwrap();
    assert!(sent >= viewer.got && sent <= viewer.got + 200, "{sent} for {}", viewer.got);
    server.kick(name);
    until("it is told the end", SOON, || (get(&server, &viewer.address).status == 404).then_some(()));
    assert_eq!(get(&server, "/vod/none.m3u8").status, 404);
    assert_eq!(get(&server, "/vod/none.ts").status, 404);
}

#[test]
fn heads_ranges_and_nothing() {
    for storage in ["disk", "ram"] {
        let server = server(&format!("hls_storage {storage};"));
        let _publisher = publish(&server, &server.rtmp_url("a"));
        let viewer = Viewer::open(&server, "a");
        let ask = |method, path: &str, headers: &[(&str, &str)]| {
            http::request(server.http, method, path, headers).unwrap()
        };
        let (entry, bytes) = &viewer.segments[&0];
        let segment = resolve(&viewer.address, &entry.uri);

        let playlist = ask("GET", &viewer.address, &[]);
        assert!(field(&playlist, "cache-control").is_some_and(|value| value.contains("no-cache")));
        let head = ask("HEAD", &viewer.address, &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(field(&head, "content-length"), Some(playlist.body.len().to_string().as_str()));
        let head = ask("HEAD", &segment, &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(field(&head, "content-length"), Some(bytes.len().to_string().as_str()));
        assert_eq!(field(&head, "content-type"), Some("video/MP2T"));
        assert_eq!(field(&head, "accept-ranges"), Some("bytes"));

        let whole = bytes.len();
        for (range, part) in [
            ("bytes=0-187", 0..188),
            ("bytes=188-", 188..whole),
            ("bytes=-376", whole - 376..whole),
            ("bytes=1000-999999999", 1000..whole),
        ] {
            let reply = ask("GET", &segment, &[("Range", range)]);
            assert_eq!((reply.status, &reply.body[..]), (206, &bytes[part.clone()]), "{range}");
            let told = format!("bytes {}-{}/{whole}", part.start, part.end - 1);
            assert_eq!(field(&reply, "content-range"), Some(told.as_str()));
            assert_eq!(field(&reply, "content-type"), Some("video/MP2T"));
        }
        let reply = ask("GET", &segment, &[("Range", "bytes=99999999-")]);
        assert_eq!(reply.status, 416);
        assert_eq!(field(&reply, "content-range"), Some(format!("bytes */{whole}").as_str()));
        assert_eq!(ask("GET", &segment, &[("Range", "lines=1-2")]).body, *bytes);

        // A segment, too, may be asked for without a name.
        assert_eq!(get(&server, "/live/a-0.ts").body, *bytes);
        for nothing in ["/live/none.m3u8", "/live/none.m3u8?hls_ctx=abcd1234", "/live/a-99.ts", "/a.m3u8"] {
            assert_eq!(get(&server, nothing).status, 404, "{nothing}");
        }
        assert_eq!(ask("POST", "/live/a.m3u8", &[]).status, 405);
        assert_eq!(players(&server).len(), 1);
    }
}
