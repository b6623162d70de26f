//! Files from outside: requests to folders on disk.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use formats::flv::{FileHeader, Header, Tag, TagKind};
use tower::ServiceExt;

use super::*;
use crate::config::Environment;

/// A server with folders of its own: `html` is that of the server, `other` is for mounts, and beside them lies `secret`.
struct Site {
    dir: PathBuf,
    router: Router,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Site {
    fn new() -> Self {
        Self::with("vhost __defaultVhost__ { }")
    }

    /// `DIR` in the vhosts is the directory of all folders.
    fn with(vhosts: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("oxcast-files-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let text = format!("listen 1936; http_server {{ enabled on; listen 8080; dir DIR/html; }} {vhosts}");
        let text = text.replace("DIR", dir.to_str().unwrap());
        let config = Arc::new(Config::parse("test", text.as_bytes(), &Environment::default()).unwrap());
        let gate = Arc::new(Gate::new(config.clone(), Arc::default()));
        let files = Files::new(&config, gate);
        let router = Router::new().fallback_service(files.router()).merge(files.console_router());
        let site = Self { dir, router };
        site.write("secret", "secret");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    async fn response(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let (parts, body) = self.response(method, uri, headers).await.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, uri: &str) -> Answer {
        self.ask("GET", uri, &[]).await
    }

    /// Status and body.
    async fn read(&self, uri: &str) -> (u16, String) {
        let answer = self.get(uri).await;
        (answer.status, answer.text())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[tokio::test]
async fn types() {
    let site = Site::new();
    for (extension, kind) in [
        ("ts", "video/MP2T"),
        ("flv", "video/x-flv"),
        ("fhv", "video/x-flv"),
        ("m4v", "video/x-m4v"),
        ("3gpp", "video/3gpp"),
        ("3gp", "video/3gpp"),
        ("mp4", "video/mp4"),
        ("mp4v", "video/mp4"),
        ("aac", "audio/x-aac"),
        ("mp3", "audio/mpeg"),
        ("m4a", "audio/x-m4a"),
        ("ogg", "audio/ogg"),
        ("m3u8", "application/vnd.apple.mpegurl"),
        ("rss", "application/rss+xml"),
        ("json", "application/json"),
        ("swf", "application/x-shockwave-flash"),
        ("doc", "application/msword"),
        ("zip", "application/zip"),
        ("rar", "application/x-rar-compressed"),
        ("xml", "text/xml"),
        ("html", "text/html"),
        ("js", "text/javascript; charset=utf-8"),
        ("css", "text/css; charset=utf-8"),
        ("txt", "text/plain; charset=utf-8"),
        ("ico", "image/x-icon"),
        ("png", "image/png"),
        ("jpeg", "image/jpeg"),
        ("JPG", "image/jpeg"),
        ("gif", "image/gif"),
        ("mpd", "application/dash+xml"),
        ("f4m", "application/f4m+xml"),
        ("abst", "application/octet-stream"),
        ("m4s", "video/iso.segment"),
        ("wasm", "application/wasm"),
        ("unknown", "application/octet-stream"),
        ("é", "application/octet-stream"),
    ] {
        site.write(&format!("html/live/x.{extension}"), "x");
        let answer = site.get(&format!("/live/x.{}", extension.replace('é', "%C3%A9"))).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{extension}");
        let cache = if matches!(extension, "m3u8" | "mpd" | "f4m" | "abst") { "no-cache" } else { "" };
        assert_eq!(answer.header("cache-control"), cache, "{extension}");
    }
    site.write("html/none", "x");
    assert_eq!(site.get("/none").await.header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn whole_files() {
    let site = Site::new();
    site.write("html/live/cam.m3u8", "#EXTM3U\n");
    let answer = site.get("/live/cam.m3u8?hls_ctx=1").await;
    assert_eq!((answer.status, answer.text()), ok("#EXTM3U\n"));
    assert_eq!(answer.header("content-length"), "8");
    assert_eq!(answer.header("accept-ranges"), "bytes");

    let head = site.ask("HEAD", "/live/cam.m3u8", &[]).await;
    assert_eq!((head.status, head.headers, head.body.len()), (200, answer.headers.clone(), 0));

    let (time, tag) = (answer.header("last-modified"), answer.header("etag"));
    for (name, value, status) in [
        ("if-modified-since", time, 304),
        ("if-modified-since", "Thu, 01 Jan 1970 00:00:01 GMT", 200),
        ("if-none-match", tag, 304),
        ("if-none-match", "\"x\"", 200),
        ("if-match", "\"x\"", 412),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = site.ask(method, "/live/cam.m3u8", &[(name, value)]).await;
            assert_eq!(answer.status, status, "{method} {name}: {value}");
        }
    }
    site.write("html/empty.mp4", "");
    for uri in ["/empty.mp4", "/empty.mp4?range=0-5", "/empty.mp4?range=-5"] {
        assert_eq!(site.read(uri).await, ok(""), "{uri}");
    }
}

#[tokio::test]
async fn parts_of_files() {
    let site = Site::new();
    site.write("html/x.mp4", "0123456789");
    for (query, header, part, body) in [
        ("", "bytes=0-3", "0-3", "0123"),
        ("", "bytes=4-", "4-9", "456789"),
        ("", "bytes=-3", "7-9", "789"),
        ("", "bytes=-30", "0-9", "0123456789"),
        ("", "bytes=8-30", "8-9", "89"),
        ("?range=2-3", "", "2-3", "23"),
        ("?bytes=2-3&token=1", "", "2-3", "23"),
        ("?token=1;range=2-30", "", "2-9", "23456789"),
        ("?range=2-3", "bytes=5-6", "2-3", "23"),
    ] {
        let headers: &[_] = if header.is_empty() { &[] } else { &[("range", header)] };
        let answer = site.ask("GET", &format!("/x.mp4{query}"), headers).await;
        assert_eq!((answer.status, answer.text().as_str()), (206, body), "{query} {header}");
        assert_eq!(answer.header("content-range"), format!("bytes {part}/10"));
        assert_eq!(answer.header("content-length"), body.len().to_string());
        assert_eq!(answer.header("content-type"), "video/mp4");
    }
    for range in ["bytes=x-y", "bytes=5-2", "bytes=0-1,4-5", "lines=0-1", "bytes=-"] {
        let answer = site.ask("GET", "/x.mp4", &[("range", range)]).await;
        assert_eq!((answer.status, answer.body.len()), (200, 10), "{range}");
    }
    for query in ["range=x", "range=5-2", "bytes=1", "range="] {
        assert_eq!(site.read(&format!("/x.mp4?{query}")).await, ok("0123456789"), "{query}");
    }
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
        let answer = site.ask("GET", "/x.mp4", &[("range", range)]).await;
        assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */10"), "{range}");
    }
    let head = site.ask("HEAD", "/x.mp4", &[("range", "bytes=0-3")]).await;
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    let head = site.ask("HEAD", "/x.mp4?range=0-3", &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (206, "4", 0));
}

#[tokio::test]
async fn a_part_only_of_what_the_client_knows() {
    let site = Site::new();
    site.write("html/x.mp4", "0123456789");
    let known = site.get("/x.mp4").await;
    let (time, tag) = (known.header("last-modified"), known.header("etag"));
    for (validator, status) in
        [(tag, 206), (time, 206), ("\"x\"", 200), ("Thu, 01 Jan 1970 00:00:01 GMT", 200), ("W/\"x\"", 200)]
    {
        let answer = site.ask("GET", "/x.mp4", &[("range", "bytes=2-3"), ("if-range", validator)]).await;
        assert_eq!(answer.status, status, "{validator}");
        assert_eq!(answer.body.len(), if status == 206 { 2 } else { 10 });
    }
    let answer = site.ask("GET", "/x.mp4", &[("range", "bytes=20-"), ("if-range", "\"x\"")]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn files_of_many_gigabytes() {
    const SIZE: u64 = 6 << 30;
    let site = Site::new();
    let mut file = fs::File::create(site.path("html/big.mp4")).unwrap();
    file.set_len(SIZE - 3).unwrap();
    std::io::Seek::seek(&mut file, io::SeekFrom::End(0)).unwrap();
    file.write_all(b"end").unwrap();
    let head = site.ask("HEAD", "/big.mp4", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, SIZE.to_string().as_str()));
    for range in ["bytes=-4".to_owned(), format!("bytes={}-", SIZE - 4), format!("bytes={}-{SIZE}", SIZE - 4)]
    {
        let answer = site.ask("GET", "/big.mp4", &[("range", &range)]).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &b"\0end"[..]), "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {}-{}/{SIZE}", SIZE - 4, SIZE - 1));
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent() {
    let site = Site::new();
    let size = 300_000;
    site.write("html/live.ts", vec![b'a'; size]);
    let open = || fs::OpenOptions::new().append(true).open(site.dir.join("html/live.ts")).unwrap();

    let grows = site.response("GET", "/live.ts", &[]).await;
    let tail = site.response("GET", "/live.ts", &[("range", "bytes=299990-")]).await;
    open().write_all(&[b'b'; 100_000]).unwrap();
    assert_eq!(to_bytes(grows.into_body(), 1 << 20).await.unwrap(), vec![b'a'; size]);
    assert_eq!(to_bytes(tail.into_body(), 1 << 20).await.unwrap(), "aaaaaaaaaa");

    let shrinks = site.response("GET", "/live.ts", &[]).await;
    assert_eq!(shrinks.headers()["content-length"], "400000");
    open().set_len(1000).unwrap();
    assert_eq!(to_bytes(shrinks.into_body(), 1 << 20).await.unwrap().len(), 1000);

    let replaced = site.response("GET", "/live.ts", &[]).await;
    site.write("html/new", "new");
    fs::rename(site.dir.join("html/new"), site.dir.join("html/live.ts")).unwrap();
    assert_eq!(to_bytes(replaced.into_body(), 1 << 20).await.unwrap().len(), 1000);
    assert_eq!(site.read("/live.ts").await, ok("new"));
}

#[tokio::test]
async fn folders() {
    let site = Site::new();
    site.write("html/index.html", "root");
    site.write("html/players/index.html", "players");
    site.write("html/live/cam.ts", "cam");
    site.write("html/evil.com/x", "x");
    fs::create_dir_all(site.path("html/odd/index.html/x")).unwrap();
    assert_eq!(site.read("/").await, ok("root"));
    assert_eq!(site.read("/players/").await, ok("players"));
    assert_eq!(site.read("//players//index.html").await, ok("players"));
    assert_eq!(site.get("/players/").await.header("content-type"), "text/html");
    for (uri, location) in [
        ("/players", "/players/"),
        ("/players?a=b&c", "/players/?a=b&c"),
        ("/live", "/live/"),
        ("//evil.com", "/evil.com/"),
        ("/%2fevil.com", "/evil.com/"),
    ] {
        let answer = site.get(uri).await;
        assert_eq!((answer.status, answer.header("location")), (302, location), "{uri}");
    }
    for absent in ["/live/", "/live/cam.ts/", "/live/cam.ts/x", "/none", "/none/", "/odd/"] {
        let (status, text) = site.read(absent).await;
        assert_eq!(status, 404, "{absent}");
        assert!(text.contains(absent) && !text.contains("cam.ts\n"), "{text}");
    }
}

#[tokio::test]
async fn ways_out_of_the_folder() {
    let site = Site::new();
    site.write("html/a/b", "b");
    site.write("html/.git/config", "secret");
    site.write("html/.htpasswd", "secret");
    site.write("html/a/.env", "secret");
    let absolute = site.dir.join("secret");
    let absolute = absolute.to_str().unwrap();
    for attack in [
        "/../secret",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/%2E%2e/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/a/%2e%2e/%2e%2e/secret",
        "/a/b/../../../secret",
        "/%252e%252e/secret",
        "/%252e%252e%252fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/a/..%5c..%5csecret",
        "/%c0%ae%c0%ae/secret",
        "/%e0%80%ae%e0%80%ae/secret",
        "/%c0%ae%c0%ae%c0%afsecret",
        "/..%c0%afsecret",
        "/%uff0e%uff0e/secret",
        "/%ef%bc%8e%ef%bc%8e/secret",
        "/..%00/secret",
        "/..;/secret",
        "/../secret%00.ts",
        "/a%00",
        "/a/b%00.ts",
        "/%00",
        "/./../secret",
        "/././secret",
        "/...//secret",
        "/....//secret",
        "//etc/passwd",
        "///etc/passwd",
        "/%2fetc/passwd",
        "/%2f%2fetc%2fpasswd",
        "/file:///etc/passwd",
        "/proc/self/environ",
        "/.git/config",
        "/.git",
        "/%2egit/config",
        "/.htpasswd",
        "/a/.env",
        "/a/%2eenv",
        "/~root/secret",
        "/%",
        "/%2",
        "/%zz/secret",
        "/%ff%fe",
        "/con",
        &format!("/{absolute}"),
        &format!("/{}", absolute.replace('/', "%2f")),
        &format!("/{}secret", "a/".repeat(5000)),
        &format!("/{}", "x".repeat(10_000)),
    ] {
        let shown = &attack[..attack.len().min(60)];
        for method in ["GET", "HEAD"] {
            let answer = site.ask(method, attack, &[]).await;
            assert_eq!(answer.status, 404, "{shown}");
            assert!(!answer.text().contains("root:") && answer.text() != "secret", "{shown}");
        }
    }
    assert_eq!(site.read("/a/%62").await, ok("b"));
    assert_eq!(site.read("/a%2Fb").await, ok("b"));
    site.write("html/.well-known/acme-challenge/token", "proof");
    assert_eq!(site.read("/.well-known/acme-challenge/token").await, ok("proof"));
}

#[tokio::test]
async fn what_is_no_file_is_not_opened() {
    let site = Site::new();
    site.write("html/a/b", "b");
    let fifo = site.path("html/fifo.ts");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(site.path("html/socket")).unwrap();
    symlink("/dev/zero", site.path("html/zero.mp4")).unwrap();
    symlink("loop", site.path("html/loop")).unwrap();
    symlink("nowhere", site.path("html/dangling")).unwrap();
    for uri in ["/fifo.ts", "/socket", "/zero.mp4", "/loop", "/dangling", "/fifo.ts/"] {
        for method in ["GET", "HEAD"] {
            assert_eq!(site.ask(method, uri, &[]).await.status, 404, "{uri}");
        }
    }
}

#[tokio::test]
async fn names_that_are_not_utf_8() {
    let site = Site::new();
    let name = std::ffi::OsString::from_vec(b"html/caf\xe9 \x01\\.ts".to_vec());
    fs::create_dir_all(site.dir.join("html")).unwrap();
    fs::write(site.dir.join(name), "x").unwrap();
    site.write("html/カメラ/a+b c.m3u8", "y");
    assert_eq!(site.read("/caf%E9%20%01%5C.ts").await, ok("x"));
    assert_eq!(site.read("/%E3%82%AB%E3%83%A1%E3%83%A9/a+b%20c.m3u8").await, ok("y"));
    assert_eq!(
        site.get("/%E3%82%AB%E3%83%A1%E3%83%A9").await.header("location"),
        "/%E3%82%AB%E3%83%A1%E3%83%A9/"
    );
}

#[tokio::test]
async fn symbolic_links_of_those_who_may() {
    let site = Site::new();
    site.write("other/films/1.mp4", "film");
    fs::create_dir_all(site.path("html/x")).unwrap();
    symlink(site.dir.join("other/films"), site.path("html/films")).unwrap();
    symlink("../../other/films/1.mp4", site.path("html/x/latest.mp4")).unwrap();
    assert_eq!(site.read("/films/1.mp4").await, ok("film"));
    assert_eq!(site.read("/x/latest.mp4").await, ok("film"));
    assert_eq!(site.get("/films").await.header("location"), "/films/");

    let find = |names: &[&str], owners: &[u32]| {
        let names: Vec<_> = names.iter().map(OsString::from).collect();
        folder::find(&site.dir.join("html"), &names, owners)
    };
    let owner = &folder::owners()[1..];
    assert!(matches!(find(&["films", "1.mp4"], owner), Ok(Found::File(_))));
    for names in [&["films", "1.mp4"][..], &["x", "latest.mp4"], &["films"]] {
        let error = find(names, &[4_000_000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    assert!(matches!(find(&["x"], &[]), Ok(Found::Folder)));
}

#[tokio::test]
async fn links_of_others_are_not_followed() {
    let site = Site::new();
    site.write("html/1.mp4", "film");
    symlink("1.mp4", site.path("html/link.mp4")).unwrap();
    // Only root may give links away; for others the test above must do.
    if rustix::fs::chownat(
        rustix::fs::CWD,
        site.path("html/link.mp4"),
        Some(rustix::fs::Uid::from_raw(4711)),
        None,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .is_ok()
    {
        assert_eq!(site.get("/link.mp4").await.status, 404);
    }
}

#[tokio::test]
async fn methods() {
    let site = Site::new();
    site.write("html/x.mp4", "x");
    for method in ["POST", "PUT", "DELETE", "PATCH", "FOO"] {
        for uri in ["/x.mp4", "/", "/none"] {
            let answer = site.ask(method, uri, &[]).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method} {uri}");
        }
    }
}

#[tokio::test]
async fn a_page_of_our_own_until_there_is_one() {
    let site = Site::with("vhost __defaultVhost__ { http_remux { enabled on; } }");
    let host = [("host", "tv.example.com:8080")];
    let answer = site.ask("GET", "/", &host).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    for url in
        ["rtmp://tv.example.com:1936/live/livestream<", "http://tv.example.com:8080/live/livestream.flv<"]
    {
        assert!(answer.text().contains(url), "no {url} in {}", answer.text());
    }
    assert!(!answer.text().contains(".m3u8"), "HLS is off");
    assert!(!answer.text().contains(site.dir.to_str().unwrap()), "visitors need not know where it lies");
    assert_eq!(site.ask("HEAD", "/", &host).await.status, 200);
    assert_eq!(site.ask("GET", "/index.html", &host).await.status, 404);
    let evil = site.ask("GET", "/?vhost=%3Cscript%3E", &[("host", "<script>alert(1)</script>")]).await;
    assert!(!evil.text().contains("<script>"), "{}", evil.text());

    site.write("html/index.html", "ours");
    assert_eq!(site.read("/").await, ok("ours"));

    let site = Site::with("vhost a.com { hls { enabled on; } http_static { enabled on; dir DIR/none; } }");
    let refused = site.ask("GET", "/?vhost=%3Cscript%3E", &[]).await.text();
    assert!(refused.contains("&lt;script&gt; is not served") && !refused.contains("<script>"), "{refused}");
    assert_eq!(site.ask("GET", "/", &[("host", "a.com")]).await.status, 404);
    let site = Site::with("vhost a.com { hls { enabled on; } }");
    let page = site.ask("GET", "/", &[("host", "a.com")]).await.text();
    assert!(page.contains("http://a.com/live/livestream.m3u8<") && !page.contains(".flv"), "{page}");
}

#[tokio::test]
async fn pages_of_the_program_until_there_are_others() {
    let site = Site::with("vhost a.com { http_static { enabled on; dir DIR/other; } }");
    let (status, text) = site.read("/players/srs_player.html?autostart=true").await;
    assert_eq!(status, 200);
    assert!(text.contains("the player inside"), "{text}");
    let answer = site.get("/players?a=b").await;
    assert_eq!((answer.status, answer.header("location")), (302, "/players/?a=b"));
    assert_eq!(site.get("/players/").await.status, 200);
    for absent in
        ["/players/none.html", "/players/srs_player.html.gz", "/players/%2e%2e/mod.rs", "/players/%ff"]
    {
        assert_eq!(site.get(absent).await.status, 404, "{absent}");
    }
    assert_eq!(site.ask("POST", "/players/srs_player.html", &[]).await.status, 405);
    let of_vhost = site.ask("GET", "/players/srs_player.html", &[("host", "a.com")]).await;
    assert_eq!(of_vhost.status, 404, "the folder of a vhost is all that it has");

    site.write("html/players/srs_player.html", "the operator's");
    assert_eq!(site.read("/players/srs_player.html").await, ok("the operator's"));
    assert_eq!(site.get("/players/").await.status, 200, "the rest stays");
}

#[tokio::test]
async fn folders_of_vhosts() {
    let site = Site::with(
        "vhost __defaultVhost__ { http_static { enabled on; mount [vhost]/vod; dir DIR/other; } }
         vhost a.com { http_static { enabled on; dir DIR/of-[vhost]; } }",
    );
    site.write("html/x", "root");
    site.write("other/x", "vod");
    site.write("of-a.com/x", "a");
    site.write("of-a.com/vod/x", "a/vod");
    for (uri, host, body) in [
        ("/x", "b.com", "root"),
        ("/vod/x", "b.com", "vod"),
        ("/v%6fd/x", "b.com", "vod"),
        ("/x", "a.com:8080", "a"),
        ("/vod/x", "a.com", "a/vod"),
        ("/x?vhost=a.com", "b.com", "a"),
        ("/x?domain=a.com", "b.com", "a"),
        ("/x?vhost=b.com", "a.com", "root"),
    ] {
        let answer = site.ask("GET", uri, &[("host", host)]).await;
        assert_eq!((answer.status, answer.text()), ok(body), "{uri} at {host}");
    }
    assert_eq!(site.ask("GET", "/vod", &[("host", "b.com")]).await.header("location"), "/vod/");
    let missing = site.ask("GET", "/vod/none", &[("host", "b.com")]).await;
    assert_eq!(missing.status, 404, "the folder of the server does not stand in");
}

#[tokio::test]
async fn a_folder_that_does_not_exist() {
    let site = Site::new();
    assert_eq!(site.get("/x.ts").await.status, 404);
    assert_eq!(site.get("/console/").await.status, 404);
    site.write("html/x.ts", "x");
    assert_eq!(site.read("/x.ts").await, ok("x"));
}

#[tokio::test]
async fn the_console() {
    let site = Site::with("vhost a.com { http_static { enabled on; mount /; dir DIR/other; } }");
    site.write("html/console/index.html", "console");
    site.write("html/console/js/x.js", "js");
    assert_eq!(site.read("/console/").await, ok("console"));
    assert_eq!(site.read("/console/js/x.js?port=1985").await, ok("js"));
    let answer = site.get("/console?a=b").await;
    assert_eq!((answer.status, answer.header("location")), (302, "/console/?a=b"));
    for absent in ["/console/none", "/console/%2e%2e/index.html", "/console/.git"] {
        assert_eq!(site.get(absent).await.status, 404, "{absent}");
    }
    assert_eq!(site.ask("POST", "/console/", &[]).await.status, 405);
}

/// H.264, High, 1280x720.
const AVCC: &[u8] = &[
    1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 26, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01,
    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x19, 0x60, 1, 0, 4, 0x68,
    0xeb, 0xe3, 0xcb,
];

/// An FLV file: header and tags, and where each tag begins.
fn flv(header: FileHeader, tags: &[(TagKind, Vec<u8>)]) -> (Vec<u8>, Vec<usize>) {
    let (mut file, mut starts) = (header.to_bytes().to_vec(), Vec::new());
    for (time, (kind, body)) in (0u32..).zip(tags) {
        starts.push(file.len());
        Tag { kind: *kind, header: Header::default(), body: body.clone().into() }.write(time, &mut file);
    }
    (file, starts)
}

fn usual_tags() -> Vec<(TagKind, Vec<u8>)> {
    let mut tags = vec![
        (TagKind::Script, b"\x02\x00\x0aonMetaData\x08\0\0\0\0\0\0\x09".to_vec()),
        (TagKind::Video, [&[0x17, 0, 0, 0, 0], AVCC].concat()),
        (TagKind::Audio, vec![0xaf, 0, 0x12, 0x10]),
    ];
    for n in 0..10 {
        tags.push((TagKind::Video, [&[0x17, 1, 0, 0, 0, 0, 0, 0, 200, 0x65][..], &[n; 199]].concat()));
        tags.push((TagKind::Audio, vec![0xaf, 1, n, n, n]));
    }
    tags
}

#[tokio::test]
async fn flv_from_an_offset() {
    let site = Site::new();
    let (file, starts) = flv(FileHeader { audio: true, video: true }, &usual_tags());
    site.write("html/x.flv", &file);
    site.write("html/x.FHV", &file);
    site.write("html/x.mp4", &file);
    let head = [&file[..13], &file[starts[1]..starts[3]]].concat();
    // From a tag, from within one, from the last byte.
    for start in [starts[11], starts[11] + 7, file.len() - 1, 1] {
        let want = [&head, &file[start..]].concat();
        for name in ["x.flv", "x.FHV"] {
            let uri = format!("/{name}?token=1&start={start}");
            let answer = site.get(&uri).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, "video/x-flv"), "{uri}");
            assert_eq!(answer.header("content-length"), want.len().to_string());
            assert_eq!(answer.body, want);
            let part = site.ask("GET", &uri, &[("range", "bytes=10-19")]).await;
            assert_eq!((part.status, &part.body[..]), (206, &want[10..20]));
            let tail = site.ask("GET", &uri, &[("range", "bytes=-1")]).await;
            assert_eq!(tail.body[..], file[file.len() - 1..]);
            let over = want.len().min(head.len() + 3);
            let across = format!("bytes={}-{}", head.len() - 2, over - 1);
            let across = site.ask("GET", &uri, &[("range", &across)]).await;
            assert_eq!(across.body[..], want[head.len() - 2..over]);
            let told = site.ask("HEAD", &uri, &[]).await;
            assert_eq!(told.header("content-length"), want.len().to_string());
        }
    }
    for whole in ["/x.flv", "/x.flv?start=0", "/x.flv?start=-5", "/x.flv?start=x", "/x.mp4?start=100"] {
        assert_eq!(site.get(whole).await.body, file, "{whole}");
    }
    for beyond in [file.len(), file.len() + 1, usize::MAX] {
        let answer = site.get(&format!("/x.flv?start={beyond}")).await;
        assert_eq!(answer.status, 416);
        assert_eq!(answer.header("content-range"), format!("bytes */{}", file.len()));
        assert!(answer.text().contains("beyond the end"), "{}", answer.text());
    }
}

#[tokio::test]
async fn flv_with_other_headers() {
    let site = Site::new();
    let opus = |packet: u8, data: &[u8]| (TagKind::Audio, [&[0x90 | packet][..], b"Opus", data].concat());
    let mp3 = (TagKind::Audio, [&[0x2f, 0xff, 0xfb, 0x90, 0x64][..], &[0; 40]].concat());
    let long = [&b"\x02\x00\x0aonMetaData\x0c\0\x0f\0\0"[..], &vec![b'x'; 0xf_0000]].concat();
    let both = FileHeader { audio: true, video: true };
    for (name, header, tags, headers, flags) in [
        // Enhanced tags, one kind only.
        (
            "opus",
            FileHeader { audio: true, video: false },
            vec![opus(0, &[]), opus(1, &[1, 2]), opus(1, &[3])],
            0..1,
            4,
        ),
        // No sequence header at all.
        (
            "mp3",
            FileHeader { audio: true, video: false },
            vec![mp3.clone(), mp3.clone(), mp3.clone()],
            0..0,
            4,
        ),
        // The file says nothing about its kinds, and keeps silent about sound that is there.
        ("mute", FileHeader { audio: false, video: false }, usual_tags(), 1..3, 5),
        ("deaf", FileHeader { audio: false, video: true }, usual_tags(), 1..3, 5),
        // Sound is announced and never comes.
        (
            "lies",
            both,
            usual_tags().into_iter().filter(|(kind, _)| *kind != TagKind::Audio).collect(),
            1..2,
            5,
        ),
        // Long metadata comes first.
        ("long", both, [vec![(TagKind::Script, long)], usual_tags()].concat(), 2..4, 5),
    ] {
        let (file, starts) = flv(header, &tags);
        site.write(&format!("html/{name}.flv"), &file);
        let start = *starts.last().unwrap();
        let answer = site.get(&format!("/{name}.flv?start={start}")).await;
        let mut want =
            [&file[..13], &file[starts[headers.start]..starts[headers.end]], &file[start..]].concat();
        want[4] = flags;
        assert_eq!((answer.status, &answer.body[..]), (200, &want[..]), "{name}");
    }
    for (name, content) in [("text", &b"no video at all"[..]), ("short", b"FLV"), ("other", &[0; 100])] {
        site.write(&format!("html/{name}.flv"), content);
        let answer = site.get(&format!("/{name}.flv?start=1")).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.text().contains("FLV"), "{}", answer.text());
    }
    site.write("html/zeros.flv", [&both.to_bytes()[..], &vec![0; 6 << 20]].concat());
    assert_eq!(site.response("GET", "/zeros.flv?start=20", &[]).await.status(), 200);
}
