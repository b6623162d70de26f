//! Object storage: what is made gets into a bucket of an S3 server that we did not write, in order, with its headers, through outages of it
//! and restarts of ours; and what is deleted here is deleted there.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Running;
use crate::harness::{SOON, Server, Setup, directory, free_port, ready, until};
use crate::http;
use crate::tools::{self, LIMIT, ffmpeg, usual_clip};

const SECRET: &str = "kein-geheimnis";

/// Python with nanio and yt-dlp, as `tools/install test` makes it.
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/storage/bin/python");
    assert!(python.exists(), "no {}: `tools/install test` makes it", python.display());
    python
}

/// A bucket behind a server that checks signatures; objects are files.
struct Bucket {
    running: Option<Running>,
    at: SocketAddr,
    dir: PathBuf,
}

impl Bucket {
    /// Not there yet.
    fn new() -> Self {
        let dir = directory();
        fs::create_dir_all(dir.join("bucket")).unwrap();
        Self { running: None, at: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())), dir }
    }

    fn start(&mut self) {
        let mut command = Command::new(python());
        let port = self.at.port().to_string();
        command.args(["-m", "nanio", "serve", "--host", "127.0.0.1", "--port", &port, "--data-dir"]);
        command.arg(&self.dir).env("NANIO_ACCESS_KEY", "key").env("NANIO_SECRET_KEY", SECRET);
        self.running = Some(Running::start("nanio", &mut command));
        until("the storage answers", SOON * 2, || TcpStream::connect(self.at).ok());
    }

    /// It is gone at once.
    fn kill(&mut self) {
        self.running = None;
    }

    fn settings(&self, more: &str) -> String {
        format!(
            "storage {{ enabled on; url s3://bucket/pre; endpoint http://{}; access_key key;
                secret_key {SECRET}; spool ./spool; {more} }}",
            self.at
        )
    }

    /// Objects below the prefix, with their bytes.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        below(&self.dir.join("bucket/pre"))
    }

    fn names(&self) -> Vec<String> {
        self.objects().into_keys().collect()
    }

    /// What is listed is there, at any time.
    #[track_caller]
    fn is_whole(&self, playlist: &str) {
        let Ok(text) = fs::read_to_string(self.dir.join("bucket/pre").join(playlist)) else { return };
        for name in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let path = self.dir.join("bucket/pre/live").join(name);
            assert!(path.exists(), "{name} is listed and not there:\n{text}");
        }
    }
}

/// Files that are no secret of the storage, by their path.
fn below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || name.ends_with(".temp") || name.ends_with(".tmp") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                found.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), bytes);
            }
        }
    }
    found
}

fn server(bucket: &Bucket, hls: &str, more: &str) -> Server {
    let storage = bucket.settings(more);
    Server::with_vhost(&format!("hls {{ enabled on; hls_fragment 1; hls_path ./html; {hls} }} {storage}"))
}

fn publish(server: &Server, stream: &str) {
    tools::publish(ffmpeg(), &usual_clip(), &server.rtmp_url(stream)).succeed(LIMIT);
    server.logged(&[&format!("stop publish stream=/live/{stream}")]);
}

#[test]
fn segments_get_there_in_order_through_outages_and_restarts() {
    let mut bucket = Bucket::new();
    bucket.start();
    let mut server = server(&bucket, "hls_dispose 0; hls_window 60;", "");
    publish(&server, "a");
    let first = ["live/a-0.ts", "live/a-1.ts", "live/a-2.ts", "live/a-3.ts", "live/a.m3u8"];
    until("all is there", SOON, || (bucket.names() == first).then_some(()));

    // ffmpeg plays it from there, by another server that knows only these files.
    let port = free_port().to_string();
    let mut web = Command::new("python3");
    web.args(["-m", "http.server", "--bind", "127.0.0.1", &port, "--directory"])
        .arg(bucket.dir.join("bucket"));
    let _web = Running::start("http.server", &mut web);
    until("a web server answers", SOON, || TcpStream::connect(("127.0.0.1", port.parse().unwrap())).ok());
    // The playlist has no end, and decoders hold back some pictures until they see one.
    let url = format!("http://127.0.0.1:{port}/pre/live/a.m3u8");
    let frames = tools::run(
        ffmpeg(),
        &["-live_start_index", "0", "-i", &url, "-frames:v", "80", "-map", "0:v", "-f", "framecrc", "-"],
    );
    let clip = usual_clip();
    let want = tools::run(
        ffmpeg(),
        &["-i", clip.to_str().unwrap(), "-frames:v", "80", "-map", "0:v", "-f", "framecrc", "-"],
    );
    let crc = |lines: &[String]| {
        let pictures = lines.iter().filter(|line| !line.starts_with('#'));
        pictures.map(|line| line.rsplit(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((crc(&frames), crc(&frames).len()), (crc(&want), 80));

    // Nobody is there, and nobody notices but the log, once.
    bucket.kill();
    publish(&server, "a");
    publish(&server, "b");
    server.logged(&["does not answer, files wait in the spool"]);
    server.stop();
    let said = server.log().all().iter().filter(|line| line.contains("does not answer")).count();
    assert_eq!(said, 1);
    assert!(!server.log().all().iter().any(|line| line.contains(SECRET)));
    assert_eq!(bucket.names(), first);
    let waiting = fs::read_dir(server.dir.join("spool")).unwrap().count();
    assert!(waiting >= 8, "{waiting} files in the spool");

    // The next process finds it.
    let config = fs::read_to_string(server.dir.join("oxcast.conf")).unwrap();
    let again = ready(&server.dir, &config);
    bucket.start();
    let local = || below(&server.dir.join("html"));
    until("all is there", LIMIT, || {
        bucket.is_whole("live/a.m3u8");
        bucket.is_whole("live/b.m3u8");
        (bucket.objects() == local()).then_some(())
    });
    assert_eq!(bucket.names().len(), 8 + 4 + 2, "{:?}", bucket.names());
    until("the spool is empty", SOON, || (below(&server.dir.join("spool")).len() == 1).then_some(()));
    drop(again);
}

#[test]
fn what_is_deleted_here_is_deleted_there() {
    let mut bucket = Bucket::new();
    bucket.start();
    let mut server = server(&bucket, "hls_window 2;", "");
    publish(&server, "a");
    publish(&server, "a");
    let local = |server: &Server| below(&server.dir.join("html"));
    until("old segments are gone", SOON, || {
        let objects = bucket.objects();
        (objects == local(&server) && !objects.contains_key("live/a-0.ts")).then_some(())
    });
    let names = bucket.names();
    assert!(names.contains(&"live/a-7.ts".to_owned()) && names.len() < 8, "{names:?}");
    // It disposes of its segments when it ends.
    server.stop();
    until("all is gone", SOON, || bucket.names().is_empty().then_some(()));
}

#[test]
fn dash_is_stored_and_deleted_like_hls() {
    let mut bucket = Bucket::new();
    bucket.start();
    let dash = "dash { enabled on; dash_fragment 1; dash_window_size 2; dash_dispose 60; dash_path ./html; }";
    let mut server = Server::with_vhost(&format!("{dash} {}", bucket.settings("")));
    publish(&server, "a");
    publish(&server, "a");
    // Two listed and two that were, of each track; two init segments and the manifest.
    until("all is there", SOON, || {
        let objects = bucket.objects();
        (objects.len() == 8 + 3 && objects == below(&server.dir.join("html"))).then_some(())
    });
    let names = bucket.names();
    assert!(names.contains(&"live/a.mpd".to_owned()) && names.contains(&"live/a/video-init.mp4".to_owned()));
    server.stop();
    until("all is gone", SOON, || bucket.names().is_empty().then_some(()));
}

#[test]
fn a_storage_that_was_never_there_costs_nothing_but_its_spool() {
    let bucket = Bucket::new();
    let exporter = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let storage = bucket.settings("spool_max 200k;");
    let server = Server::with(Setup {
        top: &format!("exporter {{ enabled on; listen {exporter}; }}"),
        vhost: &format!(
            "hls {{ enabled on; hls_fragment 1; hls_path ./html; hls_cleanup off; hls_dispose 0; }} {storage}"
        ),
        ..Setup::default()
    });
    for _ in 0..3 {
        publish(&server, "a");
    }
    server.logged(&["storage: the spool is full"]);
    let metric = |name: &str| {
        let page = http::get(exporter, "/metrics").unwrap();
        let page = String::from_utf8(page.body).unwrap();
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{page}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    until("some is given up", SOON, || (metric("oxcast_storage_lost_total") >= 1.0).then_some(()));
    until("it is known to be down", SOON, || (metric("oxcast_storage_down") == 1.0).then_some(()));
    assert!(metric("oxcast_storage_spool_bytes") <= 200e3);
    assert!(metric("oxcast_storage_failures_total") >= 3.0);
    let bytes: usize = below(&server.dir.join("spool")).values().map(Vec::len).sum();
    // One being written, and the small files that say what is to be done.
    assert!(bytes < 400_000, "{bytes} bytes in the spool");
    assert_eq!(below(&server.dir.join("html")).len(), 12 + 1, "all is there locally");
}
