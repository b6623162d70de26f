//! What a stream makes of pieces, told in files and playlists.

use std::fs;

use media::Micros;

use super::*;
use crate::config::{Config, Environment};

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("oxcast-hls-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

/// A stream of the vhost `a.com` with this in its block.
fn stream(path: &Path, text: &str) -> (Stream, Arc<Shelf>) {
    let window = if text.contains("hls_window") { "" } else { "hls_window 4;" };
    let text = format!(
        "listen 1; vhost a.com {{ hls {{ enabled on; hls_fragment 2; {window} hls_path {}; {text} }} }}",
        path.display()
    );
    let config = Config::parse("test", text.as_bytes(), &Environment::default()).unwrap();
    let hls = Arc::new(config.vhosts[0].hls.clone().unwrap());
    let key = StreamKey { vhost: "a.com".into(), app: "live".into(), stream: "käm 1".into() };
    let shelf = Arc::<Shelf>::default();
    let mut stream = Stream::new(&key, &hls, &shelf).unwrap();
    stream.begin(Arc::default());
    (stream, shelf)
}

fn segment(stream: &mut Stream, text: &'static str) -> Order {
    let end = Segment { start: Micros::ZERO, duration: Micros::from_secs(2), discontinuity: false };
    for piece in
        [Piece::Begin(Arc::default()), Piece::Data(Bytes::from_static(text.as_bytes())), Piece::End(end)]
    {
        match stream.take(piece) {
            Order::Disconnect => return Order::Disconnect,
            Order::Continue => {}
            told @ Order::Tell(_) => return told,
        }
    }
    Order::Continue
}

fn listed(shelf: &Shelf, place: &str) -> String {
    shelf.playlist(place).map(|listed| listed.borrow().playlist.as_str().to_owned()).unwrap_or_default()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn files_come_and_go() {
    let path = folder("files");
    let (mut stream, shelf) = stream(&path, "");
    let live = path.join("live");
    assert_eq!(files(&live), [""; 0]);
    stream.take(Piece::Begin(Arc::default()));
    stream.take(Piece::Data(Bytes::from_static(b"half")));
    assert_eq!(files(&live), ["käm 1-0.ts.tmp"], "what is half done has another name");
    for _ in 0..6 {
        segment(&mut stream, "whole");
    }
    let want = [
        "käm 1-1.ts",
        "käm 1-2.ts",
        "käm 1-3.ts",
        "käm 1-4.ts",
        "käm 1-5.ts",
        "käm 1.m3u8",
        "käm 1.m3u8.temp",
    ];
    assert_eq!(files(&live), want, "three listed, two on their way out");
    assert_eq!(fs::read_to_string(live.join("käm 1-5.ts")).unwrap(), "whole");
    let text = fs::read_to_string(live.join("käm 1.m3u8")).unwrap();
    assert!(text.contains("SEQUENCE:3\n") && text.contains("\nk%C3%A4m%201-5.ts\n"), "{text}");
    assert_eq!(listed(&shelf, "a.com/live/käm 1.m3u8"), text);
    assert!(shelf.segment("a.com/live/käm 1-0.ts").is_none());
    let segment = |place| shelf.segment(place).map(|shelved| shelved.segment);
    assert!(matches!(segment("a.com/live/käm 1-5.ts"), Some(shelf::Segment::File(_))));
    stream.take(Piece::Begin(Arc::default()));
    stream.dispose();
    assert_eq!(files(&live), [""; 0]);
    assert!(listed(&shelf, "a.com/live/käm 1.m3u8").is_empty());
}

#[test]
fn without_a_place_for_files_there_is_memory() {
    let path = folder("memory");
    fs::write(&path, "a file where a folder should be").unwrap();
    let (mut stream, shelf) = stream(&path, "");
    assert!(matches!(segment(&mut stream, "whole"), Order::Tell(_)));
    assert!(listed(&shelf, "a.com/live/käm 1.m3u8").contains("1-0.ts"));
    let shelved = shelf.segment("a.com/live/käm 1-0.ts").map(|shelved| shelved.segment);
    let Some(shelf::Segment::Ram(pieces)) = shelved else { panic!() };
    assert_eq!(*pieces, ["whole"]);
    // The next publisher tries again.
    fs::remove_file(&path).unwrap();
    stream.begin(Arc::default());
    segment(&mut stream, "more");
    assert_eq!(files(&path.join("live")), ["käm 1-1.ts", "käm 1.m3u8"]);
    assert!(
        listed(&shelf, "a.com/live/käm 1.m3u8").contains("#EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\nk")
    );
}

#[test]
fn a_disk_that_fails_in_between_costs_a_segment() {
    for (on_error, order, later) in [
        ("continue", Order::Continue, true),
        ("ignore", Order::Continue, false),
        ("disconnect", Order::Disconnect, true),
    ] {
        let path = folder(on_error);
        let (mut stream, shelf) = stream(&path, &format!("hls_on_error {on_error};"));
        segment(&mut stream, "one");
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "in the way").unwrap();
        assert_eq!(segment(&mut stream, "lost"), order);
        fs::remove_file(&path).unwrap();
        segment(&mut stream, "two");
        let text = listed(&shelf, "a.com/live/käm 1.m3u8");
        assert!(text.contains("1-0.ts"), "{text}");
        assert_eq!(text.contains("#EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\nk%C3%A4m%201-1.ts"), later);
    }
}

#[test]
fn memory_is_bounded_and_what_is_listed_is_there() {
    let (mut stream, shelf) = stream(&folder("bounded"), "hls_storage ram; hls_window 600;");
    // All of them share it.
    let large = Bytes::from(vec![0; 16 << 20]);
    for _ in 0..40 {
        let end = Segment { start: Micros::ZERO, duration: Micros::from_secs(2), discontinuity: false };
        for piece in [Piece::Begin(Arc::default()), Piece::Data(large.clone()), Piece::End(end)] {
            stream.take(piece);
        }
    }
    let text = listed(&shelf, "a.com/live/käm 1.m3u8");
    assert!(text.contains("MEDIA-SEQUENCE:24\n"), "{text}");
    let there = |seq| shelf.segment(&format!("a.com/live/käm 1-{seq}.ts")).is_some();
    assert!(!there(23) && (24..40).all(there));
}

#[test]
fn segments_that_come_at_once_have_names_of_their_own() {
    let (mut stream, shelf) = stream(&folder("at-once"), "hls_ts_file [timestamp]-[999].ts; hls_window 60;");
    for _ in 0..20 {
        segment(&mut stream, "x");
    }
    let text = listed(&shelf, "a.com/live/käm 1.m3u8");
    let names: Vec<&str> = text.lines().filter(|line| line.ends_with(".ts")).collect();
    assert!(names.len() == 20 && names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    assert!(names.iter().all(|name| name[13..16] == name[17..20]), "{names:?}");
}

#[test]
fn names_and_addresses() {
    let path = folder("names");
    let uri = |text: &str, name: &str| stream(&path, text).0.uri(name);
    assert_eq!(uri("", "live/x-1.ts"), "x-1.ts");
    assert_eq!(uri("hls_m3u8_file a/b/[stream].m3u8;", "a/c/x.ts"), "../c/x.ts");
    assert_eq!(uri("", "live/a..b-1.ts"), "a.%2Eb-1.ts");
    assert_eq!(uri("hls_m3u8_file [stream].m3u8;", "live/2026/x.ts"), "live/2026/x.ts");
    assert_eq!(uri("hls_entry_prefix http://cdn/;", "live/x 1.ts"), "http://cdn/live/x%201.ts");
    let text = "hls_ts_file [app]/[stream]/[seq]-[duration]-[2006].ts; hls_storage ram;";
    let (mut stream, shelf) = stream(&path, text);
    segment(&mut stream, "x");
    let year = Timestamp::now().to_zoned(jiff::tz::TimeZone::system()).year();
    assert!(shelf.segment(&format!("a.com/live/käm 1/0-2000-{year}.ts")).is_some());
}

#[test]
fn services_are_told_files_and_addresses() {
    let path = folder("told");
    let (mut stream, _) = stream(&path, "");
    segment(&mut stream, "one");
    let Order::Tell(told) = segment(&mut stream, "two") else { panic!("nothing is told") };
    assert_eq!(told.file, path.join("live/käm 1-1.ts").to_string_lossy());
    assert_eq!((&*told.url, &*told.m3u8_url), ("live/k%C3%A4m%201-1.ts", "live/käm 1.m3u8"));
    assert_eq!((told.duration, told.sequence), (2.0, 1));
    let (mut stream, _) = self::stream(&folder("told-prefix"), "hls_entry_prefix http://cdn/;");
    let Order::Tell(told) = segment(&mut stream, "one") else { panic!("nothing is told") };
    assert_eq!(told.url, "http://cdn/live/k%C3%A4m%201-0.ts");
}

/// A segment of the stream as a player gets it who has the key.
fn decrypted(shelf: &Shelf, place: &str, iv: &str) -> Vec<u8> {
    use aes::Aes128;
    use cbc::cipher::block_padding::Pkcs7;
    use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
    let key = shelf.segment(&place.replace(".ts", ".key")).map(|shelved| shelved.segment);
    let Some(shelf::Segment::Ram(key)) = key else { panic!("no key of {place}") };
    let Some(shelf::Segment::Ram(pieces)) = shelf.segment(place).map(|shelved| shelved.segment) else {
        panic!("no {place}")
    };
    let iv = u128::from_str_radix(iv, 16).unwrap().to_be_bytes();
    let key: [u8; 16] = key[0][..].try_into().unwrap();
    let decryptor = cbc::Decryptor::<Aes128>::new((&key).into(), (&iv).into());
    decryptor.decrypt_padded::<Pkcs7>(&mut pieces.concat()).unwrap().to_vec()
}

#[test]
fn segments_are_encrypted_and_keys_come_and_go_with_them() {
    let keys = "hls_keys on; hls_fragments_per_key 2;";
    let (mut stream, shelf) = stream(&folder("secret-ram"), &format!("hls_storage ram; {keys}"));
    let text = "whole ".repeat(40).leak();
    segment(&mut stream, text);
    let playlist = listed(&shelf, "a.com/live/käm 1.m3u8");
    let tag = playlist.split_once("#EXT-X-KEY:METHOD=AES-128,URI=\"k%C3%A4m%201-0.key\",IV=0x").unwrap().1;
    assert_eq!(decrypted(&shelf, "a.com/live/käm 1-0.ts", &tag[..32]), text.as_bytes());

    let path = folder("secret");
    let (mut stream, shelf) = self::stream(&path, keys);
    for _ in 0..4 {
        segment(&mut stream, "whole");
    }
    // What is begun and thrown away makes no key anew.
    stream.take(Piece::Begin(Arc::default()));
    let key = fs::read(path.join("live/käm 1-4.key")).unwrap();
    assert_eq!(key.len(), 16);
    stream.take(Piece::Void);
    segment(&mut stream, "whole");
    assert_eq!(fs::read(path.join("live/käm 1-4.key")).unwrap(), key);
    segment(&mut stream, "whole");
    let keys: Vec<_> = files(&path.join("live")).into_iter().filter(|name| name.ends_with("key")).collect();
    assert_eq!(keys, ["käm 1-0.key", "käm 1-2.key", "käm 1-4.key"], "the oldest is kept for segment 1");
    let text = listed(&shelf, "a.com/live/käm 1.m3u8");
    assert_eq!(text.matches("#EXT-X-KEY").count(), 3, "each has a vector of its own: {text}");
    segment(&mut stream, "whole");
    assert!(!path.join("live/käm 1-0.key").exists() && shelf.segment("a.com/live/käm 1-0.key").is_none());
    stream.dispose();
    assert_eq!(files(&path.join("live")), [""; 0]);
    assert!(shelf.segment("a.com/live/käm 1-6.key").is_none());
}

/// The same stream in another process.
fn again(path: &Path, text: &str) -> (Stream, Arc<Shelf>) {
    stream(path, &format!("hls_dispose 0; {text}"))
}

#[test]
fn after_a_restart_numbers_and_segments_go_on() {
    let keys = "hls_keys on; hls_fragments_per_key 2;";
    for (text, stays) in [("", true), (keys, true), ("hls_recover off;", false)] {
        let path = folder("recovered");
        let (mut before, shelf) = again(&path, text);
        (0..4).for_each(|_| drop(segment(&mut before, "whole")));
        let was = listed(&shelf, "a.com/live/käm 1.m3u8");
        before.forget();
        let (mut now, shelf) = again(&path, text);
        let there = listed(&shelf, "a.com/live/käm 1.m3u8");
        assert_eq!(there, if stays { was } else { String::new() }, "at once, and as it was");
        segment(&mut now, "new");
        let text = listed(&shelf, "a.com/live/käm 1.m3u8");
        assert_eq!(text.contains("#EXT-X-DISCONTINUITY\n") && text.contains("1-4.ts\n"), stays, "{text}");
        if stays {
            let old = shelf.segment("a.com/live/käm 1-2.ts").map(|shelved| shelved.segment);
            assert!(matches!(old, Some(shelf::Segment::File(_))));
            let key = shelf.segment("a.com/live/käm 1-2.key").is_some();
            assert_eq!(key, text.contains("EXT-X-KEY"));
            // They leave like any others.
            (0..5).for_each(|_| drop(segment(&mut now, "new")));
            assert!(!path.join("live/käm 1-3.ts").exists() && !path.join("live/käm 1-2.key").exists());
            assert!(listed(&shelf, "a.com/live/käm 1.m3u8").contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"));
        }
    }
}

#[test]
fn what_is_damaged_or_of_others_is_not_taken_over() {
    let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:5\n#EXT-X-TARGETDURATION:2\n";
    let list = |names: &[&str]| {
        names.iter().fold(head.to_owned(), |all, name| all + "#EXTINF:2.000, no desc\n" + name + "\n")
    };
    for (text, first) in [
        ("<html>".to_owned(), 0),
        (head.to_owned() + "#EXT-X-BYTERANGE:1@2\n", 0),
        (list(&["../../../etc/passwd.ts"]), 6),
        (list(&["x-0.ts", "gone.ts"]), 7),
        (list(&["gone.ts", "x-0.ts"]), 6),
        (list(&["x-0.ts", "http://a/x-0.ts"]), 7),
    ] {
        let path = folder("foreign");
        fs::create_dir_all(path.join("live")).unwrap();
        fs::write(path.join("live/x-0.ts"), "whole").unwrap();
        fs::write(path.join("live/käm 1.m3u8"), &text).unwrap();
        let (mut stream, shelf) = again(&path, "");
        segment(&mut stream, "new");
        let now = listed(&shelf, "a.com/live/käm 1.m3u8");
        assert!(now.contains(&format!("MEDIA-SEQUENCE:{first}\n")), "{text}: {now}");
    }
}
