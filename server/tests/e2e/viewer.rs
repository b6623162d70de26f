//! An HLS player of our own. It follows a playlist, fetches every segment once, and holds the server to RFC 8216 all the while; what it
//! has seen can be given to ffmpeg.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};

use crate::harness::{Server, until};
use crate::http::{self, Reply};
use crate::playlist::master;
pub use crate::playlist::{Entry, Playlist};
use crate::tools::{self, LIMIT, ffmpeg};

/// How long a segment may take to be there; machines that run tests are busy.
pub const PACED: Duration = Duration::from_secs(20);

/// See the module.
pub struct Viewer {
    at: SocketAddr,
    /// The address of the media playlist.
    pub address: String,
    /// The playlist as it was seen last.
    pub playlist: Playlist,
    /// All segments that were ever listed, with their bytes.
    pub segments: BTreeMap<u64, (Entry, Vec<u8>)>,
    /// Bytes of playlists and segments that it has got.
    pub got: u64,
    /// Init segments by their addresses.
    pub maps: HashMap<String, Vec<u8>>,
    /// Keys by their addresses.
    pub keys: HashMap<String, [u8; 16]>,
}

impl Viewer {
    /// Waits for the playlist of `live/stream`.
    #[track_caller]
    pub fn open(server: &Server, stream: &str) -> Self {
        Self::at(server, &format!("/live/{stream}.m3u8"))
    }

    /// Waits for this playlist. If it leads to another one, that is followed.
    #[track_caller]
    pub fn at(server: &Server, address: &str) -> Self {
        let (segments, playlist) = (BTreeMap::new(), Playlist::default());
        let (keys, maps) = (HashMap::new(), HashMap::new());
        let address = address.to_owned();
        let mut viewer =
            Self { at: server.http, address: address.clone(), playlist, segments, got: 0, keys, maps };
        let address = address.as_str();
        let there = || http::get(server.http, address).ok().filter(|reply| reply.status != 404);
        let text = viewer.read_playlist(until(address, PACED, there));
        if let Some(variant) = variant(&text) {
            viewer.address = resolve(address, variant);
        }
        viewer.refresh();
        viewer
    }

    /// Asks for the playlist again, and for the segments that are new in it.
    #[track_caller]
    pub fn refresh(&mut self) -> &Playlist {
        let now = Playlist::parse(&self.fetch_playlist());
        if !self.playlist.entries.is_empty() {
            now.follows(&self.playlist);
        }
        for (number, entry) in now.numbered() {
            if !self.segments.contains_key(&number) {
                if let Some(map) = entry.map.as_ref().filter(|map| !self.maps.contains_key(*map)) {
                    let bytes = self.fetch_segment(map);
                    self.maps.insert(map.clone(), bytes);
                }
                let bytes = self.fetch_segment(&entry.uri);
                let bytes = match &entry.key {
                    Some((uri, iv)) => self.decrypt(uri, *iv, bytes),
                    None => bytes,
                };
                self.segments.insert(number, (entry.clone(), bytes));
            }
        }
        self.playlist = now;
        &self.playlist
    }

    /// Refreshes until the next segment would have this number.
    #[track_caller]
    pub fn follow_to(&mut self, next: u64) {
        until(&format!("segment {}", next - 1), PACED, || (self.refresh().next() >= next).then_some(()));
    }

    #[track_caller]
    fn fetch_playlist(&mut self) -> String {
        self.read_playlist(http::get(self.at, &self.address).unwrap())
    }

    #[track_caller]
    fn read_playlist(&mut self, reply: Reply) -> String {
        assert_eq!(reply.status, 200, "{}: {}", self.address, reply.head);
        let kind = field(&reply, "content-type");
        assert_eq!(kind, Some("application/vnd.apple.mpegurl"), "{}", reply.head);
        self.got += reply.body.len() as u64;
        String::from_utf8(reply.body).unwrap()
    }

    #[track_caller]
    fn fetch_segment(&mut self, uri: &str) -> Vec<u8> {
        let kind = match uri.split('?').next().and_then(|path| path.rsplit('.').next()) {
            Some("key") => "application/octet-stream",
            Some("ts") => "video/MP2T",
            _ => "video/mp4",
        };
        let address = resolve(&self.address, uri);
        let reply = http::get(self.at, &address).unwrap();
        assert_eq!(reply.status, 200, "{address}: {}", reply.head);
        assert_eq!(field(&reply, "content-type"), Some(kind), "{}", reply.head);
        self.got += reply.body.len() as u64;
        reply.body
    }

    /// AES-128 in CBC mode over all of it, with PKCS#7 padding.
    #[track_caller]
    fn decrypt(&mut self, uri: &str, iv: u128, mut bytes: Vec<u8>) -> Vec<u8> {
        if !self.keys.contains_key(uri) {
            let key = self.fetch_segment(uri);
            self.keys.insert(uri.to_owned(), key.try_into().expect("16 bytes of key"));
        }
        assert!(bytes.len().is_multiple_of(16));
        let iv = iv.to_be_bytes();
        let decryptor = cbc::Decryptor::<aes::Aes128>::new((&self.keys[uri]).into(), (&iv).into());
        let length = decryptor.decrypt_padded::<Pkcs7>(&mut bytes).expect("the padding is right").len();
        bytes.truncate(length);
        bytes
    }

    /// The segments with these numbers as they stand behind each other, without a discontinuity between them; their packets are
    /// counted through.
    #[track_caller]
    pub fn stretch(&self, from: u64, to: u64) -> Vec<u8> {
        let mut whole = Vec::new();
        for number in from..to {
            let (entry, bytes) =
                self.segments.get(&number).unwrap_or_else(|| panic!("segment {number} was never seen"));
            assert!(number == from || !entry.discontinuity, "{entry:?}");
            starts_with_tables(bytes);
            whole.extend_from_slice(bytes);
        }
        counts_through(&whole);
        whole
    }

    /// The same for fragmented MP4: with the init segment in front, which is one for all of them.
    #[track_caller]
    pub fn film(&self, from: u64, to: u64) -> Vec<u8> {
        let map = self.segments[&from].0.map.clone().expect("an init segment");
        let mut whole = self.maps[&map].clone();
        for number in from..to {
            let (entry, bytes) = &self.segments[&number];
            assert!(number == from || !entry.discontinuity, "{entry:?}");
            assert_eq!(entry.map.as_ref(), Some(&map));
            assert_eq!(&bytes[4..8], b"moof", "a fragment");
            whole.extend_from_slice(bytes);
        }
        whole
    }

    /// Asks for what is at an address of the playlist, whatever comes of it.
    pub fn ask(&self, uri: &str) -> Reply {
        http::get(self.at, &resolve(&self.address, uri)).unwrap()
    }

    /// Gives each segment to a decoder of its own, which must have nothing to say.
    #[track_caller]
    pub fn each_decodes_alone(&self, dir: &Path) {
        let said = self.decoders_say(dir);
        assert_eq!(said, [""; 0]);
    }

    /// What decoders of their own say about the segments.
    #[track_caller]
    pub fn decoders_say(&self, dir: &Path) -> Vec<String> {
        let mut said = Vec::new();
        let segments: Vec<_> = self.segments.iter().collect();
        for segments in segments.chunks(20) {
            let mut args: Vec<String> = ["-v", "error"].map(str::to_owned).into();
            for (number, (_, bytes)) in segments {
                let path = dir.join(format!("alone-{number}.ts"));
                fs::write(&path, bytes).unwrap();
                args.extend(["-i".to_owned(), path.to_str().unwrap().to_owned()]);
            }
            for (n, (_, (_, bytes))) in segments.iter().enumerate() {
                args.extend(kinds(bytes).iter().flat_map(|kind| ["-map".to_owned(), format!("{n}:{kind}")]));
            }
            args.extend(["-f", "null", "-"].map(str::to_owned));
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let mut running = tools::start(ffmpeg(), &args);
            running.succeed(LIMIT * 2);
            said.extend(running.err.all());
        }
        said
    }

    /// All segments behind each other.
    pub fn whole(&self) -> Vec<u8> {
        self.segments.values().flat_map(|(_, bytes)| bytes).copied().collect()
    }
}

/// The kinds of which a segment has frames, in ffmpeg's words. Tables may list a track that has not come to life.
fn kinds(segment: &[u8]) -> Vec<&'static str> {
    let has = |pids: &[u16]| segment.chunks(PACKET).any(|packet| pids.contains(&pid(packet)));
    [("v", &[0x100][..]), ("a", &[0x101, 0x102])]
        .into_iter()
        .filter(|(_, pids)| has(pids))
        .map(|(kind, _)| kind)
        .collect()
}

/// How many frames of pictures and of sound a file has, even if a kind of them comes late.
#[track_caller]
pub fn count(file: &Path) -> [usize; 2] {
    ["v", "a"].map(|kind| {
        let patient = ["-analyzeduration", "60M", "-probesize", "50M", "-select_streams", kind];
        let what = ["-show_entries", "packet=size", "-of", "csv=p=0", file.to_str().unwrap()];
        let lines = tools::run(tools::ffprobe(), &[&patient[..], &what].concat());
        lines.iter().filter(|line| !line.is_empty()).count()
    })
}

/// Writes a file into the directory of the server; its path.
pub fn keep(server: &Server, name: &str, bytes: &[u8]) -> PathBuf {
    let path = server.dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The address of the one variant of a master playlist, if the text is one.
pub fn variant(text: &str) -> Option<&str> {
    let variants = master(text)?;
    assert_eq!(variants.len(), 1, "{text}");
    text.lines().last()
}

/// The path and query of `uri` as found at `base`.
pub fn resolve(base: &str, uri: &str) -> String {
    if let Some(rest) = uri.strip_prefix("http://") {
        return rest[rest.find('/').unwrap_or(rest.len())..].to_owned();
    }
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let base = base.split('?').next().unwrap();
    let mut folder: Vec<&str> = base.split('/').collect();
    folder.pop();
    let mut uri = uri;
    while let Some(rest) = uri.strip_prefix("../") {
        assert!(folder.pop().is_some());
        uri = rest;
    }
    format!("{}/{uri}", folder.join("/"))
}

/// A header of an answer.
pub fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let lines = reply.head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

const PACKET: usize = 188;

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// Whole packets, the first of which are PAT and PMT.
#[track_caller]
fn starts_with_tables(segment: &[u8]) {
    assert!(segment.len() > 2 * PACKET && segment.len().is_multiple_of(PACKET), "{} bytes", segment.len());
    assert!(segment.chunks(PACKET).all(|packet| packet[0] == 0x47), "not in step");
    assert_eq!(pid(segment), 0, "PAT");
    assert_eq!(pid(&segment[PACKET..]), 0x1001, "PMT");
}

/// Every PID's packets with a payload are numbered one by one.
#[track_caller]
fn counts_through(packets: &[u8]) {
    let mut counters = HashMap::new();
    for packet in packets.chunks(PACKET) {
        let (pid, counter) = (pid(packet), packet[3] & 0x0f);
        assert_eq!(packet[3] & 0x10, 0x10, "a packet without payload");
        if let Some(before) = counters.insert(pid, counter) {
            assert_eq!(counter, (before + 1) % 16, "the counter of {pid:#x}");
        }
    }
}
