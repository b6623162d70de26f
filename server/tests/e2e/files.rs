//! Files over HTTP: folders of the server and of vhosts, fetched by curl and played by ffmpeg.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Running;
use crate::client::Client;
use crate::harness::{Server, Setup};
use crate::http::{self, Flv};
use crate::media::{Camera, Player};
use crate::tools::{self, LIMIT, Line, ffmpeg, of, packets, usual_clip};

/// Runs curl; what it writes.
#[track_caller]
fn curl(args: &[&str]) -> String {
    let mut command = Command::new("curl");
    let mut curl = Running::start(&args.join(" "), command.args(["-sS", "-m", "20"]).args(args));
    curl.succeed(LIMIT);
    curl.out.all().join("\n")
}

/// Puts a file below the working directory of the server.
fn write(server: &Server, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = server.dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn folders_of_the_server_and_of_vhosts() {
    const VHOSTS: &str = "
        vhost __defaultVhost__ { http_remux { enabled on; } http_static { enabled on; mount [vhost]/vod; dir ./films; } }
        vhost a.com { http_static { enabled on; mount [vhost]/; dir ./of-[vhost]; } }
        vhost b.com { http_static { enabled on; mount files.b.com/old; dir ./of-b; } }";
    let server = Server::with(Setup { vhosts: VHOSTS, ..Setup::default() });
    // Nothing exists yet, and that is no error.
    for path in ["/x.mp4", "/vod/x.mp4"] {
        assert_eq!(http::get(server.http, path).unwrap().status, 404, "{path}");
    }
    let page = curl(&[&format!("http://{}/", server.http)]);
    assert!(page.contains(&server.rtmp_url("livestream")), "{page}");
    assert!(page.contains(&server.flv_url("livestream")), "{page}");

    for name in ["html/x.txt", "films/x.txt", "of-a.com/x.txt", "of-a.com/sub/index.html", "of-b/x.txt"] {
        write(&server, name, name);
    }
    for (host, path, file) in [
        ("h", "/x.txt", "html/x.txt"),
        ("h", "/vod/x.txt", "films/x.txt"),
        ("a.com", "/x.txt", "of-a.com/x.txt"),
        ("h", "/x.txt?vhost=a.com", "of-a.com/x.txt"),
        ("a.com", "/sub/", "of-a.com/sub/index.html"),
        ("files.b.com", "/old/x.txt", "of-b/x.txt"),
        ("files.b.com", "/x.txt", "html/x.txt"),
    ] {
        let url = format!("http://{}{path}", server.http);
        assert_eq!(curl(&["--fail", "-H", &format!("Host: {host}"), &url]), file, "{path} at {host}");
    }
    let at = |path: &str| http::request(server.http, "GET", path, &[("Host", "a.com")]).unwrap();
    let moved = at("/sub?a=b");
    assert_eq!(moved.status, 302);
    assert!(moved.head.contains("location: /sub/?a=b\r\n"), "{}", moved.head);
    assert_eq!(at("/vod/x.txt").status, 404);
    let known = curl(&["--fail", "-I", "-H", "Origin: http://x", &format!("http://{}/x.txt", server.http)]);
    for line in ["Content-Length: 10", "Server: Oxcast", "Access-Control-Allow-Origin: *"] {
        assert!(known.to_ascii_lowercase().contains(&line.to_ascii_lowercase()), "no {line} in {known}");
    }
}

#[test]
fn nobody_gets_out() {
    let server = Server::start();
    write(&server, "html/live/x.txt", "x");
    write(&server, "html/.secret", "secret");
    let attacks = [
        "/../oxcast.conf",
        "/live/../../oxcast.conf",
        "/%2e%2e/oxcast.conf",
        "/live/%2e%2e%2f%2e%2e/oxcast.conf",
        "/..%5coxcast.conf",
        "/%252e%252e/oxcast.conf",
        "/%c0%ae%c0%ae/oxcast.conf",
        "//etc/passwd",
        "/live/x.txt%00",
        "/.secret",
    ];
    for attack in attacks {
        let reply = http::get(server.http, attack).unwrap();
        assert!(matches!(reply.status, 400 | 404), "{attack}: {}", reply.head);
        let code = ["--path-as-is", "-o", "/dev/null", "-w", "%{http_code}"];
        let url = format!("http://{}{attack}", server.http);
        assert_eq!(curl(&[&code[..], &[url.as_str()]].concat()), reply.status.to_string(), "{attack}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let reply = http::request(server.http, method, "/live/x.txt", &[]).unwrap();
        assert_eq!(reply.status, 405);
        assert!(reply.head.contains("allow: GET, HEAD"), "{}", reply.head);
    }
    assert_eq!(http::get(server.http, "/live/x.txt").unwrap().body, b"x");
}

#[test]
fn curl_takes_parts_and_goes_on() {
    let server = Server::start();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    write(&server, "html/big.mp4", &content);
    let url = format!("http://{}/big.mp4", server.http);
    let file = server.dir.join("got");
    let got = |args: &[&str]| {
        curl(&[args, &["--fail", "-o", file.to_str().unwrap()]].concat());
        fs::read(&file).unwrap()
    };
    assert!(got(&[&url]) == content);
    assert_eq!(got(&["-r", "1000-1999", &url]), content[1000..2000]);
    assert_eq!(got(&["-r", "-1000", &url]), content[content.len() - 1000..]);
    assert_eq!(got(&[&format!("{url}?range=5-14")]), content[5..15]);
    assert_eq!(got(&[&format!("{url}?bytes=11999990-")]), content[11_999_990..]);
    assert!(got(&[&format!("{url}?bytes=x")]) == content);
    fs::write(&file, &content[..7_000_001]).unwrap();
    assert!(got(&["-C", "-", &url]) == content, "the download goes on");
    let beyond = http::request(server.http, "GET", "/big.mp4", &[("Range", "bytes=12000000-")]).unwrap();
    assert_eq!(beyond.status, 416);
    assert!(beyond.head.contains("content-range: bytes */12000000\r\n"), "{}", beyond.head);
}

/// The keyframes of an FLV file with H.264: offset and time.
fn keyframes(file: &[u8]) -> Vec<(usize, i64)> {
    let (mut at, mut found) = (13, Vec::new());
    while at + 15 <= file.len() {
        let [kind, s0, s1, s2, t0, t1, t2, t3] = file[at..at + 8].try_into().unwrap();
        if (kind, &file[at + 11..at + 13]) == (9, &[0x17, 1]) {
            found.push((at, i64::from(u32::from_be_bytes([t3, t0, t1, t2]))));
        }
        at += 15 + u32::from_be_bytes([0, s0, s1, s2]) as usize;
    }
    found
}

#[test]
fn ffmpeg_plays_an_flv_file_from_an_offset() {
    let server = Server::start();
    let clip = fs::read(usual_clip()).unwrap();
    write(&server, "html/clip.flv", &clip);
    let url = format!("http://{}/clip.flv", server.http);
    let whole = packets(ffmpeg(), &url);
    assert_eq!(whole, packets(ffmpeg(), usual_clip().to_str().unwrap()));

    let keyframes = keyframes(&clip);
    assert_eq!(keyframes.len(), 4);
    for (offset, time) in &keyframes[1..] {
        let part = packets(ffmpeg(), &format!("{url}?start={offset}"));
        for stream in 0..2 {
            let (whole, part) = (of(&whole, stream), of(&part, stream));
            assert!(!part.is_empty() && part.len() < whole.len(), "stream {stream} from {offset}");
            assert_eq!(part, whole[whole.len() - part.len()..], "stream {stream} from {offset}");
        }
        let first = of(&part, 0)[0];
        assert!(first.key && first.dts == *time, "{first:?} in place of {time}");
        let frames = tools::decoded(ffmpeg(), &format!("{url}?start={offset}"));
        assert_eq!(of(&frames, 0).len(), of(&part, 0).len(), "all pictures can be decoded");
    }
    let beyond = http::get(server.http, &format!("/clip.flv?start={}", clip.len())).unwrap();
    assert_eq!(beyond.status, 416);
}

#[test]
fn ffmpeg_plays_mp4_and_playlists() {
    let server = Server::start();
    let folder = server.dir.join("html/vod");
    fs::create_dir_all(&folder).unwrap();
    let clip = usual_clip();
    let make = |args: &[&str], name: &str| -> PathBuf {
        let path = folder.join(name);
        let ends = ["-y", path.to_str().unwrap()];
        tools::run(ffmpeg(), &[&["-i", clip.to_str().unwrap(), "-c", "copy"], args, &ends].concat());
        path
    };
    // The index of this file is at its end, so that nobody plays it without ranges.
    let files =
        [make(&[], "clip.mp4"), make(&["-f", "hls", "-hls_time", "1", "-hls_list_size", "0"], "clip.m3u8")];
    for file in files {
        let url = format!("http://{}/vod/{}", server.http, file.file_name().unwrap().to_str().unwrap());
        assert_eq!(packets(ffmpeg(), &url), packets(ffmpeg(), file.to_str().unwrap()), "{url}");
    }
    let from = |input: &Path| -> Vec<Line> {
        let tail = ["-map", "0:v", "-c", "copy", "-f", "framecrc", "-"];
        Line::read(&tools::run(ffmpeg(), &[&["-ss", "2", "-i", input.to_str().unwrap()], &tail[..]].concat()))
    };
    let url = format!("http://{}/vod/clip.mp4", server.http);
    assert_eq!(from(Path::new(&url)), from(&folder.join("clip.mp4")));
}

#[test]
fn a_live_stream_comes_before_a_file() {
    let server = Server::start();
    write(&server, "html/live/cam.flv", "a file");
    let mut camera = Camera::new(Client::publish(&server, "cam"));
    camera.run_to(3);
    assert_eq!(Flv::open(server.http, "/live/cam.flv").pictures_up_to(2).len(), 3);
}

#[test]
fn the_console_is_on_the_port_of_the_api() {
    let server = Server::start();
    write(&server, "html/console/index.html", "console");
    write(&server, "html/console/js/x.js", "js");
    for port in [server.api, server.http] {
        let url = format!("http://{port}/console");
        assert_eq!(curl(&["--fail", "-L", &format!("{url}?a=b")]), "console");
        assert_eq!(curl(&["--fail", &format!("{url}/js/x.js")]), "js");
        let known =
            curl(&["--fail", "-I", "-H", "Origin: http://x", &format!("{url}/")]).to_ascii_lowercase();
        assert!(known.contains("server: oxcast") && known.contains("allow-origin: *"), "{known}");
        assert_eq!(http::get(port, "/console/none").unwrap().status, 404);
        assert_eq!(http::get(port, "/console/../x").unwrap().status, 400);
        assert_eq!(http::get(port, "/console/%2e%2e/x").unwrap().status, 404);
    }
    assert_eq!(server.ask("/nowhere")["code"], 0, "the rest of the port is the API's");
}
