//! Where segments are kept: disks that refuse, fill up and hang, the files that come, go and stay, and their names.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rtmp::MediaKind;

use crate::client::Client;
use crate::harness::{SOON, Server, Setup, can_mount, until};
use crate::hls::{files, server};
use crate::http::{self, Flv};
use crate::media::{Camera, Player, picture, picture_header};
use crate::peer::Peer;
use crate::tape::Tape;
use crate::tools::usual_clip;
use crate::viewer::{PACED, Playlist, Viewer};

/// Where the files of `live` are when nothing else is said.
fn live(server: &Server) -> PathBuf {
    server.dir.join("objs/nginx/html/live")
}

/// Plays these seconds of the tape; half a second at the end is no segment yet.
fn play(publisher: &mut Client, tape: &Tape, from: u32, to: u32) {
    if from == 0 {
        tape.headers(publisher, 0);
    }
    let half = |second| if second == 0 { 0 } else { second * 1000 + 500 };
    tape.play(publisher, half(from), half(to), 0);
}

fn is_gone(server: &Server, path: &str) -> bool {
    http::get(server.http, path).unwrap().status == 404
}

#[test]
fn where_no_file_can_be_made_there_is_memory() {
    let server = server("hls_path ./blocked/hls;");
    fs::write(server.dir.join("blocked"), "in the way").unwrap();
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &tape, 0, 3);
    let mut viewer = Viewer::open(&server, "a");
    viewer.follow_to(3);
    viewer.each_decodes_alone(&server.dir);
    server.logged(&["[WARN]", "blocked", "/live/a are kept in memory"]);
    publisher.stop();
    viewer.follow_to(4);

    // The next publisher tries again.
    fs::remove_file(server.dir.join("blocked")).unwrap();
    let before = 4;
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &tape, 0, 2);
    viewer.follow_to(before + 2);
    viewer.each_decodes_alone(&server.dir);
    let files = files(&server.dir.join("blocked/hls/live"));
    assert!(files.contains(&format!("a-{before}.ts")) && files.contains(&"a.m3u8".into()), "{files:?}");
}

#[test]
fn what_a_failure_costs_can_be_chosen() {
    for on_error in ["ignore", "disconnect"] {
        let server = server(&format!("hls_path ./hls; hls_on_error {on_error};"));
        let mut player = Client::play(&server, "a");
        let mut camera = Camera::new(Client::publish(&server, "a"));
        camera.run_to(61);
        let mut viewer = Viewer::open(&server, "a");
        viewer.follow_to(2);
        fs::rename(server.dir.join("hls"), server.dir.join("gone")).unwrap();
        fs::write(server.dir.join("hls"), "in the way").unwrap();
        camera.run_to(160);
        server.logged(&["[WARN]", "hls: /live/a", "hls"]);
        player.pictures_up_to(159);
        if on_error == "disconnect" {
            camera.client.closed();
            server.logged(&["HLS cannot be written and `hls_on_error` says disconnect"]);
            continue;
        }
        fs::remove_file(server.dir.join("hls")).unwrap();
        camera.run_to(260);
        player.pictures_up_to(259);
        camera.client.stop();
        server.logged(&["stop publish"]);
        // The next publisher gets it again.
        let mut camera = Camera::new(Client::publish(&server, "a"));
        camera.run_to(61);
        let after = until("it goes on", PACED, || {
            Some(viewer.playlist.next()).filter(|n| viewer.refresh().next() > *n)
        });
        assert!(viewer.segments[&after].0.discontinuity && after <= 3, "{:?}", viewer.playlist);
    }
}

/// Writes until there is no room.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let block = vec![0; 4096];
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_full_disk_costs_segments_and_nothing_else() {
    if !can_mount() {
        return;
    }
    let vhost = "hls { enabled on; hls_fragment 1; hls_path ./disk; }";
    let server = Server::with(Setup { vhost, disk: "size=8m", ..Setup::default() });
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.logged_times(&["start play stream=/live/a"], 2);
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &tape, 0, 3);
    let mut viewer = Viewer::open(&server, "a");
    viewer.follow_to(3);
    let filler = server.disk().join("filler");
    fill(&filler);
    play(&mut publisher, &tape, 3, 8);
    server.logged(&["[WARN]", "hls: /live/a", "No space left on device"]);
    server.took("a", 8 * 25);
    viewer.refresh();
    assert!(viewer.playlist.next() <= 4, "there was no room: {:?}", viewer.playlist);

    fs::remove_file(filler).unwrap();
    let before = viewer.playlist.next();
    play(&mut publisher, &tape, 8, 12);
    viewer.follow_to(before + 3);
    let after = viewer.playlist.numbered().find(|(number, _)| *number == before).unwrap();
    assert!(after.1.discontinuity, "what is missing is told");
    viewer.each_decodes_alone(&server.dir);
    publisher.stop();

    let said = server.log().all();
    let said: Vec<_> = said.iter().filter(|line| line.contains("No space left")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    // The live players have every frame.
    let want = 12 * 25 + 13;
    let pictures = flv.rest().iter().filter(|tag| tag.kind == formats::flv::TagKind::Video).count();
    // One of them is the sequence header.
    assert_eq!(pictures, want + 1);
    let mut pictures = 0;
    while pictures < want + 1 {
        pictures += usize::from(rtmp.av().kind == MediaKind::Video);
    }
}

/// The window is larger than the disk: older segments make room for newer ones.
#[test]
fn a_small_disk_keeps_what_it_can() {
    if !can_mount() {
        return;
    }
    let vhost = "hls { enabled on; hls_fragment 1; hls_window 600; hls_path ./disk; }";
    let server = Server::with(Setup { vhost, disk: "size=1500k", ..Setup::default() });
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    let mut viewer = None;
    // 200 kB in each second; the disk has room for seven of them.
    for number in 0..60 {
        publisher.send(MediaKind::Video, number * 500, &picture(number, number % 2 == 0, 100_000));
        if number % 2 == 1 {
            continue;
        }
        let seconds = u64::from(number / 2);
        if seconds > 0 {
            viewer.get_or_insert_with(|| Viewer::open(&server, "a")).follow_to(seconds);
        }
    }
    let viewer = viewer.unwrap();
    assert_eq!(viewer.playlist.discontinuities, 0, "none is lost");
    assert!((4..=7).contains(&viewer.playlist.entries.len()), "{:?}", viewer.playlist);
    server.logged(&["[WARN]", "hls: /live/a: the disk is full: older segments make room"]);
    assert_eq!(files(&server.disk().join("live")).len(), viewer.playlist.entries.len() + 3);
}

/// Opening a FIFO waits for who reads from it, as a disk of a network may wait for ever.
fn hang(folder: &Path, name: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[test]
fn a_disk_that_hangs_holds_up_nobody() {
    let server = server("hls_window 20;");
    let fifo = hang(&live(&server), "a-1.ts.tmp");
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.logged_times(&["start play stream=/live/a"], 2);
    let mut publisher = Client::publish(&server, "a");
    publisher.send(MediaKind::Video, 0, &picture_header());
    let mut number = 0;
    let mut picture = |size| {
        publisher.send(MediaKind::Video, number * 40, &picture(number, number % 25 == 0, size));
        number += 1;
        number - 1
    };
    for _ in 0..26 {
        picture(100);
    }
    let mut viewer = Viewer::open(&server, "a");
    let before = server.memory();
    // Much more than what may wait for the disk.
    let mut most = 0;
    for _ in 0..1500 {
        let number = picture(100_000);
        if number % 50 == 0 {
            let seen = |player: &mut dyn Player| {
                player.pictures_up_to(number).last().map(|(number, _)| *number) == Some(number)
            };
            assert!(seen(&mut rtmp) && seen(&mut flv));
            most = most.max(server.memory());
            assert_eq!(viewer.refresh().next(), 1, "what was listed is there");
        }
    }
    let grown = most.saturating_sub(before) >> 20;
    assert!(grown < 160, "{grown} MiB wait for the disk");

    let mut reader = File::open(fifo).unwrap();
    let reading = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    server.logged(&["[WARN]", "the disk is too slow for /live/a", "pieces are lost"]);
    for _ in 0..75 {
        picture(100);
    }
    viewer.follow_to(3);
    let second = viewer.playlist.numbered().find(|(number, _)| *number == 1).unwrap();
    assert!(second.1.discontinuity);
    assert!(reading.join().unwrap().is_ok());
}

#[test]
fn a_disk_that_never_answers_does_not_hold_up_the_end() {
    let mut server = server("");
    hang(&live(&server), "a-0.ts.tmp");
    let mut camera = Camera::new(Client::publish(&server, "a"));
    camera.run_to(100);
    server.took("a", 100);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    server.logged(&["[WARN]", "a disk does not answer"]);
}

#[test]
fn everything_is_deleted_when_nobody_publishes_for_long() {
    for storage in ["disk", "ram"] {
        let server = server(&format!("hls_dispose 2; hls_storage {storage};"));
        let tape = Tape::of(&usual_clip());
        // A publisher that comes back in time goes on.
        for turn in 1..=2 {
            let mut publisher = Client::publish(&server, "a");
            play(&mut publisher, &tape, 0, 2);
            publisher.stop();
            server.logged_times(&["stop publish"], turn);
            // The place is free a moment after the log says so.
            let is_free = || server.stream("a").is_none_or(|a| a["publish"]["active"] == false).then_some(());
            until("the place is free", SOON, is_free);
        }
        let start = Instant::now();
        let mut viewer = Viewer::open(&server, "a");
        viewer.follow_to(6);
        server.logged(&["hls: /live/a is disposed of"]);
        assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
        assert_eq!(files(&live(&server)), [""; 0]);
        assert!(is_gone(&server, &viewer.address) && is_gone(&server, "/live/a-5.ts"));
        // Numbers begin anew.
        let mut publisher = Client::publish(&server, "a");
        play(&mut publisher, &tape, 0, 2);
        assert_eq!(Viewer::open(&server, "a").playlist.sequence, 0);
    }
}

#[test]
fn what_stays_behind_when_the_server_stops() {
    for (options, stays) in [
        ("", &[][..]),
        ("hls_dispose 0;", &["a-0.ts", "a-1.ts", "a-2.ts", "a.m3u8"]),
        ("hls_storage ram;", &[]),
    ] {
        let mut server = server(options);
        let tape = Tape::of(&usual_clip());
        let mut publisher = Client::publish(&server, "a");
        play(&mut publisher, &tape, 0, 2);
        Viewer::open(&server, "a").follow_to(2);
        // The publisher is still there, and its last half second is a segment, too.
        server.stop();
        let mut left = files(&live(&server));
        left.retain(|name| name != "a.m3u8.temp");
        assert_eq!(left, stays, "{options}");
        if options == "hls_dispose 0;" {
            let text = fs::read_to_string(live(&server).join("a.m3u8")).unwrap();
            let playlist = Playlist::parse(&text);
            assert_eq!(playlist.next(), 3, "{playlist:?}");
            assert!(playlist.entries[2].ms >= 480, "{playlist:?}");
        }
    }
}

#[test]
fn without_cleanup_files_stay() {
    let server = server("hls_cleanup off; hls_window 2; hls_dispose 1;");
    let tape = Tape::of(&usual_clip());
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &tape, 0, 1);
    let mut viewer = Viewer::open(&server, "a");
    // One after the other: a viewer who is late finds what has left the playlist no more.
    for second in 1..12 {
        play(&mut publisher, &tape, second, second + 1);
        viewer.follow_to(u64::from(second) + 1);
    }
    assert!(viewer.playlist.sequence > 8);
    let count = |ending| files(&live(&server)).iter().filter(|name| name.ends_with(ending)).count();
    assert_eq!(count(".ts"), 12);
    publisher.stop();
    server.logged(&["hls: /live/a is disposed of"]);
    assert!(count(".ts") > 6 && count(".m3u8") == 0, "{:?}", files(&live(&server)));
}

/// All files below a folder, by their paths in it.
fn tree(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    all.sort();
    all
}

#[test]
fn every_placeholder_in_names() {
    let server = server(
        "hls_path ./x/y; hls_m3u8_file [vhost]/[app]/[stream]/index.m3u8;
        hls_ts_file [vhost]/[app]/[2006]/[01]/[02]/[15]/[04]-[05].[999]/[stream]-[seq]-[duration]-[timestamp].ts;",
    );
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let start = now();
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &Tape::of(&usual_clip()), 0, 3);
    let mut viewer = Viewer::at(&server, "/__defaultVhost__/live/a/index.m3u8");
    viewer.follow_to(3);
    viewer.each_decodes_alone(&server.dir);
    for (number, (entry, _)) in &viewer.segments {
        let uri = entry.uri.split('?').next().unwrap();
        let parts: Vec<&str> = uri.split('/').collect();
        let [up, year, month, day, hour, time, name] = parts[..] else { panic!("{uri}") };
        assert_eq!((up, year.len(), month.len(), day.len(), hour.len()), ("..", 4, 2, 2, 2), "{uri}");
        assert!(year >= "2024" && time.len() == 9, "{uri}");
        let stamp = name.strip_prefix(&format!("a-{number}-1000-")).and_then(|rest| rest.strip_suffix(".ts"));
        let stamp: u128 = stamp.unwrap_or_else(|| panic!("{uri}")).parse().unwrap();
        assert!((start..=now()).contains(&stamp), "{uri}");
        assert!(server.dir.join("x/y/__defaultVhost__/live/a").join(uri).exists());
    }
    let names: Vec<&String> = viewer.segments.values().map(|(entry, _)| &entry.uri).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
}

#[test]
fn addresses_with_a_prefix() {
    let server = server("hls_entry_prefix http://cdn.example:8080/x/;");
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &Tape::of(&usual_clip()), 0, 2);
    let name = "hls_ctx=abcd1234";
    let playlist = until("the playlist", PACED, || {
        http::get(server.http, &format!("/live/a.m3u8?{name}")).ok().filter(|reply| reply.status == 200)
    });
    let text = String::from_utf8(playlist.body).unwrap();
    assert!(text.contains(&format!("\nhttp://cdn.example:8080/x/live/a-0.ts?{name}\n")), "{text}");
}

#[test]
fn numbers_by_the_clock() {
    let server = server("hls_ts_floor on; hls_ts_file [app]/[stream]-[timestamp].ts;");
    let seconds = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let tape = Tape::of(&usual_clip());
    let start = seconds();
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &tape, 0, 3);
    let mut viewer = Viewer::open(&server, "a");
    viewer.follow_to(2);
    publisher.stop();
    server.logged(&["stop publish"]);
    let before = viewer.refresh().next();
    // Another publisher at once: its numbers must be others.
    let mut publisher = Client::publish(&server, "a");
    play(&mut publisher, &tape, 0, 3);
    viewer.follow_to(before + 2);
    let numbers: Vec<u64> = viewer
        .segments
        .values()
        .map(|(entry, _)| entry.uri.split(['-', '.']).nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1] > pair[0]), "{numbers:?}");
    assert!((start - 2..=seconds() + 20).contains(&numbers[0]), "{numbers:?} at {start}");
}

#[test]
fn odd_names_are_escaped() {
    let server = server("");
    let tape = Tape::of(&usual_clip());
    for name in ["käm", "100%", "1+1=2&3", "a@b,c;d", "日本語", "a..b", "sub/cam"] {
        let mut peer = Peer::connect(&server);
        peer.publish(name);
        tape.send(|kind, time, body| peer.send(kind, time, body), 2100);
        let escaped: String = name.bytes().map(escape).collect();
        let mut viewer = Viewer::open(&server, &escaped);
        viewer.follow_to(2);
        viewer.each_decodes_alone(&server.dir);
        assert!(live(&server).join(format!("{name}-0.ts")).exists(), "{name}");
    }
}

fn escape(byte: u8) -> String {
    match byte {
        b'/' => "/".into(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

#[test]
fn evil_names_write_nothing_and_are_live_all_the_same() {
    let server = server("hls_path ./html/hls;");
    let before = tree(&server.dir);
    let tape = Tape::of(&usual_clip());
    let long = "x".repeat(200);
    for (turn, name) in
        ["../../x", "..", ".hidden", "a/../../../b", "a/.b/c", "a\\b", "a\u{7}b", "[seq]", &long]
            .into_iter()
            .enumerate()
    {
        let mut player = Peer::connect(&server);
        player.play(name);
        let mut peer = Peer::connect(&server);
        peer.publish(name);
        tape.send(|kind, time, body| peer.send(kind, time, body), 2100);
        server.logged_times(&["[WARN]", "hls:", "cannot be the name of a file"], turn + 1);
        let message = std::iter::from_fn(|| player.next_message()).find(|message| message.kind == 9);
        assert!(message.is_some(), "{name:?} is not live");
        assert!(is_gone(&server, &format!("/live/{}.m3u8", name.bytes().map(escape).collect::<String>())));
    }
    assert_eq!(tree(&server.dir), before);
    assert!(!server.dir.parent().unwrap().join("x.m3u8").exists());
}
