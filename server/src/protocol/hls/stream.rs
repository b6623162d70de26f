//! One stream on its way to segments: names, window, and what to do when a disk does not want them. It runs on the packager's thread, and
//! may wait for files there.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use formats::hls::{Entry, Piece, Segment, Window};
use hub::StreamKey;
use jiff::{Timestamp, Zoned};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::{debug, info, warn};

use super::shelf::{self, Shelf};
use super::store::{self, Open};
use crate::config::{Hls, HlsOnError, HlsStorage};
use crate::form;
use crate::gate;
use crate::naming::{self, Names};

/// See the module.
pub(super) struct Stream {
    key: Arc<StreamKey>,
    hls: Arc<Hls>,
    shelf: Arc<Shelf>,
    /// The playlist below the folder.
    m3u8: String,
    window: Window,
    /// The number of the next segment.
    seq: u64,
    /// Where this publisher's segments go: to memory, if files cannot be made.
    storage: HlsStorage,
    open: Option<Writing>,
    /// What comes next does not follow what is listed.
    gap: bool,
    /// This publisher's segments are given up.
    given_up: bool,
    /// Segments that may still be fetched, oldest first; the first `expired` are not listed any more.
    kept: VecDeque<Kept>,
    expired: usize,
    /// There is a playlist among the files.
    listed_in_file: bool,
    /// The time in the name of the newest segment, in milliseconds.
    named: i64,
    floor: Floor,
    warned: bool,
}

/// The segment that is being written.
struct Writing {
    name: Naming,
    store: Result<Open, Lost>,
}

/// What the name of a segment is made of, as of its start.
struct Naming {
    time: Zoned,
    timestamp: i64,
}

/// Some of the segment could not be written.
struct Lost;

struct Kept {
    place: String,
    path: PathBuf,
    size: usize,
    in_file: bool,
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    Continue,
    /// A segment is complete.
    Tell(Box<gate::Segment>),
    /// `hls_on_error disconnect`
    Disconnect,
}

/// Segments that have left the playlist stay this many segments longer: players may be about to fetch them.
const EXPIRED_KEPT: usize = 2;

/// The most memory that the segments of one stream take.
const MAX_RAM: usize = 256 << 20;

/// What stands in the path of a URI as it is (RFC 3986 §3.3).
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@')
    .remove(b'=')
    .remove(b'+')
    .remove(b',');

impl Stream {
    /// A stream without segments.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn new(key: &StreamKey, hls: &Arc<Hls>, shelf: &Arc<Shelf>) -> Result<Self, String> {
        let m3u8 = Names::of(key).fill(&hls.m3u8_file);
        let ts = Names::of(key).fill(&hls.ts_file);
        if !naming::is_safe(key) || !naming::stays_inside(&m3u8) || !naming::stays_inside(&ts) {
            return Err(format!("{key} cannot be the name of a file"));
        }
        let target = form::micros(hls.fragment.mul_f64(hls.target_ratio.min(1000.0)));
        Ok(Self {
            key: Arc::new(key.clone()),
            hls: hls.clone(),
            shelf: shelf.clone(),
            m3u8,
            window: Window::new(form::micros(hls.window), target),
            seq: 0,
            storage: hls.storage,
            open: None,
            gap: false,
            given_up: false,
            kept: VecDeque::new(),
            expired: 0,
            floor: Floor {
                fragment: form::micros(hls.fragment).millis().max(1),
                accepted: None,
                anew: true,
                correction: Arc::default(),
            },
            listed_in_file: false,
            named: 0,
            warned: false,
        })
    }

    /// Its name.
    pub(super) fn key(&self) -> &StreamKey {
        &self.key
    }

    /// What it goes by.
    pub(super) fn hls(&self) -> &Hls {
        &self.hls
    }

    /// Where its segments are put.
    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Goes on as `now`, which has other settings and no segments yet. What can be found under the same names stays listed.
    pub(super) fn turn(mut self, now: Self) -> Self {
        let is_same_place = |a: &Hls, b: &Hls| {
            let place =
                |hls: &Hls| (hls.path.clone(), hls.m3u8_file.clone(), hls.ts_file.clone(), hls.storage);
            place(a) == place(b)
        };
        if self.hls == now.hls {
            return self;
        }
        if !is_same_place(&self.hls, &now.hls) {
            self.dispose();
            return Self { seq: self.seq, named: self.named, ..now };
        }
        self.discard();
        let target = form::micros(now.hls.fragment.mul_f64(now.hls.target_ratio.min(1000.0)));
        self.window.resize(form::micros(now.hls.window), target);
        Self { hls: now.hls, floor: now.floor, ..self }
    }

    /// Publishers begin, whose segmenter makes segments longer by `correction`.
    pub(super) fn begin(&mut self, correction: Arc<AtomicI64>) {
        self.discard();
        self.gap = true;
        self.floor.anew = true;
        self.floor.correction = correction;
        self.renew();
    }

    /// Another publisher begins; what was given up is tried again.
    pub(super) fn renew(&mut self) {
        self.storage = self.hls.storage;
        (self.given_up, self.warned) = (false, false);
        let place: &dyn std::fmt::Display = match self.storage {
            HlsStorage::Disk => &self.hls.path.display(),
            HlsStorage::Ram => &"memory",
        };
        info!("hls: {} goes to {place}, segments of {:?}", self.key, self.hls.fragment);
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: Piece) -> Order {
        if self.given_up {
            return Order::Continue;
        }
        match piece {
            Piece::Begin => {
                self.discard();
                self.start()
            }
            Piece::Data(bytes) => self.write(bytes),
            Piece::End(segment) => self.end(segment),
            Piece::Void => {
                self.discard();
                Order::Continue
            }
        }
    }

    /// What came last is not to be used: something between is missing.
    pub(super) fn lose(&mut self) {
        self.discard();
        self.gap = true;
    }

    fn discard(&mut self) {
        if let Some(Writing { store: Ok(open), .. }) = self.open.take() {
            open.discard();
        }
    }

    fn start(&mut self) -> Order {
        let name = self.naming();
        let path = self.path(&self.name(&name, None));
        let mut opened = Open::new(self.storage, &path);
        while let Err(e) = &opened
            && store::is_full(e)
            && self.make_room()
        {
            opened = Open::new(self.storage, &path);
        }
        if let Err(e) = &opened
            && self.gap
            && !store::is_full(e)
        {
            warn!("hls: {e}; the segments of {} are kept in memory", self.key);
            self.storage = HlsStorage::Ram;
            opened = Open::new(self.storage, &path);
        }
        let (store, order) = match opened {
            Ok(open) => (Ok(open), Order::Continue),
            Err(e) => (Err(Lost), self.fail(&e)),
        };
        self.open = Some(Writing { name, store });
        order
    }

    fn write(&mut self, mut bytes: Bytes) -> Order {
        let Some(mut writing) = self.open.take() else { return Order::Continue };
        let mut order = Order::Continue;
        if let Ok(mut open) = writing.store {
            let mut written = open.write(&mut bytes);
            while let Err(e) = &written
                && store::is_full(e)
                && self.make_room()
            {
                written = open.write(&mut bytes);
            }
            writing.store = match written {
                Ok(()) => Ok(open),
                Err(e) => {
                    open.discard();
                    order = self.fail(&e);
                    Err(Lost)
                }
            };
        }
        self.open = Some(writing);
        order
    }

    fn end(&mut self, segment: Segment) -> Order {
        let Some(Writing { name, store }) = self.open.take() else { return Order::Continue };
        let Ok(open) = store else { return Order::Continue };
        let relative = self.name(&name, Some(segment.duration.millis()));
        let path = self.path(&relative);
        let stored = match open.finish(&path) {
            Ok(stored) => stored,
            Err(e) => return self.fail(&e),
        };
        let place = shelf::place(&self.key.vhost, &relative);
        self.shelf.figures.segments.fetch_add(1, Ordering::Relaxed);
        let (size, in_file) = match &stored {
            shelf::Segment::Ram(pieces) => (shelf::size(pieces), false),
            shelf::Segment::File(_) => (0, true),
        };
        self.shelf.put_segment(place.clone(), stored, &self.key);
        let uri = self.uri(&relative);
        let told = self.told(&segment, &path, &uri);
        self.kept.push_back(Kept { place, path, size, in_file });
        debug!("hls: {} segment {} of {} ms", self.key, self.seq, segment.duration.millis());
        let discontinuity = std::mem::take(&mut self.gap) || segment.discontinuity;
        let out = self.window.push(Entry { seq: self.seq, uri, duration: segment.duration, discontinuity });
        self.seq += 1;
        self.expired += out.len();
        self.clean();
        self.list();
        Order::Tell(told)
    }

    /// What services are told of a segment.
    fn told(&self, segment: &Segment, path: &Path, uri: &str) -> Box<gate::Segment> {
        let folder = self.m3u8.rsplit_once('/').map_or("", |(folder, _)| folder);
        Box::new(gate::Segment {
            duration: segment.duration.0 as f64 / 1e6,
            file: path.to_string_lossy().into_owned(),
            url: match self.hls.entry_prefix.is_empty() && !folder.is_empty() {
                true => format!("{folder}/{uri}"),
                false => uri.to_owned(),
            },
            m3u8: self.path(&self.m3u8).to_string_lossy().into_owned(),
            m3u8_url: self.m3u8.clone(),
            sequence: self.seq,
        })
    }

    /// Shows what there is now.
    fn list(&mut self) {
        let Some(playlist) = self.window.playlist() else { return };
        if self.storage == HlsStorage::Disk {
            match store::replace(&self.path(&self.m3u8), playlist.as_str()) {
                Ok(()) => self.listed_in_file = true,
                Err(e) => {
                    self.shelf.figures.failures.fetch_add(1, Ordering::Relaxed);
                    self.warn(&e);
                }
            }
        }
        self.shelf.put_playlist(&self.playlist_place(), &self.key, playlist);
    }

    /// Lets go of what nobody asks for any more.
    fn clean(&mut self) {
        while self.expired > EXPIRED_KEPT {
            self.expired -= 1;
            self.drop_oldest();
        }
        let mut ram: usize = self.kept.iter().map(|kept| kept.size).sum();
        while ram > MAX_RAM
            && let Some(oldest) = self.kept.front().map(|kept| kept.size)
            && self.give_up_oldest()
        {
            ram -= oldest;
            self.warn(&"its segments are larger than the memory for them: fewer are listed");
        }
    }

    /// The disk is full: deletes the oldest segment, if that helps and players can do without it.
    fn make_room(&mut self) -> bool {
        let helps = self.hls.cleanup && self.kept.front().is_some_and(|kept| kept.in_file);
        if !helps || !self.give_up_oldest() {
            return false;
        }
        self.warn(&"the disk is full: older segments make room");
        self.list();
        true
    }

    /// Lets the oldest segment go before its time, unless players need it.
    fn give_up_oldest(&mut self) -> bool {
        if self.expired > 0 {
            self.expired -= 1;
        } else if self.window.shorten().is_none() {
            return false;
        }
        self.drop_oldest();
        true
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.kept.pop_front() else { return };
        self.shelf.take_segment(&oldest.place);
        if oldest.in_file && self.hls.cleanup {
            store::remove(&oldest.path);
        }
    }

    /// Deletes everything: the publisher has been gone for long, or the server stops.
    pub(super) fn dispose(&mut self) {
        self.discard();
        self.shelf.take_playlist(&self.playlist_place());
        while let Some(kept) = self.kept.pop_front() {
            self.shelf.take_segment(&kept.place);
            if kept.in_file {
                store::remove(&kept.path);
            }
        }
        if self.listed_in_file {
            store::remove_replaced(&self.path(&self.m3u8));
        }
        info!("hls: {} is disposed of", self.key);
    }

    /// Ends without deleting files.
    pub(super) fn forget(&mut self) {
        self.discard();
        self.shelf.take_playlist(&self.playlist_place());
        if self.listed_in_file {
            store::remove_other(&self.path(&self.m3u8));
        }
        self.kept.drain(..).for_each(|kept| self.shelf.take_segment(&kept.place));
    }

    fn fail(&mut self, e: &io::Error) -> Order {
        self.shelf.figures.failures.fetch_add(1, Ordering::Relaxed);
        self.warn(e);
        self.gap = true;
        match self.hls.on_error {
            HlsOnError::Continue => Order::Continue,
            HlsOnError::Ignore => {
                self.given_up = true;
                Order::Continue
            }
            HlsOnError::Disconnect => Order::Disconnect,
        }
    }

    /// Once for a publisher, since what went wrong goes wrong again and again.
    fn warn(&mut self, what: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.warned, true) {
            warn!("hls: {}: {what}", self.key);
        }
    }

    fn name(&self, name: &Naming, duration: Option<i64>) -> String {
        let names = Names {
            key: &self.key,
            seq: Some(self.seq),
            duration,
            timestamp: Some(name.timestamp),
            time: Some(&name.time),
        };
        names.fill(&self.hls.ts_file)
    }

    /// No two segments have the same time, even if they come at once.
    fn naming(&mut self) -> Naming {
        let now = Timestamp::now().as_millisecond();
        self.named = now.max(self.named + 1);
        let time = Timestamp::from_millisecond(self.named).unwrap_or_default();
        let timestamp = if self.hls.ts_floor { self.floor.next(now, self.kept.len()) } else { self.named };
        Naming { time: naming::time_of_day(time, self.hls.utc), timestamp }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.hls.path.join(relative)
    }

    fn playlist_place(&self) -> String {
        shelf::place(&self.key.vhost, &self.m3u8)
    }

    /// The segment's address as the playlist tells it.
    fn uri(&self, segment: &str) -> String {
        // Two dots within a name are no step upwards, but our own HTTP server, like others, takes them for one.
        let encoded = |path: &str| utf8_percent_encode(path, PATH).to_string().replace("..", ".%2E");
        if !self.hls.entry_prefix.is_empty() {
            return format!("{}/{}", self.hls.entry_prefix.trim_end_matches('/'), encoded(segment));
        }
        let folder = Path::new(&self.m3u8).parent().unwrap_or(Path::new(""));
        let common = folder.ancestors().find(|ancestor| Path::new(segment).starts_with(ancestor));
        let common = common.unwrap_or(Path::new(""));
        let up = folder.strip_prefix(common).map_or(0, |rest| rest.components().count());
        let down = Path::new(segment).strip_prefix(common).map_or(segment.into(), Path::to_string_lossy);
        "../".repeat(up) + &encoded(&down)
    }
}

/// `hls_ts_floor`: segments are numbered by the wall clock, one number each, so that several servers give the same segment the same
/// name.
struct Floor {
    /// Milliseconds.
    fragment: i64,
    /// The number of the newest segment.
    accepted: Option<i64>,
    /// The next segment is the first of its publisher.
    anew: bool,
    /// Told to the segmenter: microseconds by which segments are to be longer, so that numbers and clock come together again.
    correction: Arc<AtomicI64>,
}

impl Floor {
    /// Numbers further from the clock than this are given up.
    const FAR: i64 = 20;
    /// How much of the distance one segment makes up for.
    const SHARE: f64 = 0.3;

    /// `kept` segments have their names still, which must not be given again.
    fn next(&mut self, now: i64, kept: usize) -> i64 {
        let clock = now.div_euclid(self.fragment);
        let follows = self.accepted.map_or(clock - 1, |accepted| accepted + 1);
        let next = if std::mem::take(&mut self.anew) { follows.max(clock - 1) } else { follows };
        let distance = next - clock;
        let is_far = distance < -Self::FAR || distance > Self::FAR.max(kept as i64 + 1);
        let next = if is_far { clock - 1 } else { next };
        self.accepted = Some(next);
        let distance = (next - clock).clamp(-Self::FAR, Self::FAR);
        let micros = Self::SHARE * distance as f64 * self.fragment as f64 * 1000.0;
        self.correction.store(micros as i64, Ordering::Relaxed);
        next
    }
}

#[cfg(test)]
mod tests {
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
        for piece in [Piece::Begin, Piece::Data(Bytes::from_static(text.as_bytes())), Piece::End(end)] {
            match stream.take(piece) {
                Order::Disconnect => return Order::Disconnect,
                Order::Continue => {}
                told @ Order::Tell(_) => return told,
            }
        }
        Order::Continue
    }

    fn listed(shelf: &Shelf, place: &str) -> String {
        shelf.playlist(place).map(|listed| listed.playlist.as_str().to_owned()).unwrap_or_default()
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
        stream.take(Piece::Begin);
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
        stream.take(Piece::Begin);
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
            listed(&shelf, "a.com/live/käm 1.m3u8")
                .contains("#EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\nk")
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
            assert_eq!(
                text.contains("#EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\nk%C3%A4m%201-1.ts"),
                later
            );
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_listed_is_there() {
        let (mut stream, shelf) = stream(&folder("bounded"), "hls_storage ram; hls_window 600;");
        // All of them share it.
        let large = Bytes::from(vec![0; 16 << 20]);
        for _ in 0..40 {
            let end = Segment { start: Micros::ZERO, duration: Micros::from_secs(2), discontinuity: false };
            for piece in [Piece::Begin, Piece::Data(large.clone()), Piece::End(end)] {
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
        let (mut stream, shelf) =
            stream(&folder("at-once"), "hls_ts_file [timestamp]-[999].ts; hls_window 60;");
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
        let (mut stream, _) = self::stream(&path, "hls_entry_prefix http://cdn/;");
        let Order::Tell(told) = segment(&mut stream, "one") else { panic!("nothing is told") };
        assert_eq!(told.url, "http://cdn/live/k%C3%A4m%201-0.ts");
    }

    #[test]
    fn floors_go_up_by_one_and_pull_towards_the_clock() {
        let correction = Arc::<AtomicI64>::default();
        let (fragment, accepted) = (10_000, None);
        let mut floor = Floor { fragment, accepted, anew: true, correction: correction.clone() };
        assert_eq!(floor.next(1_000_000, 0), 99);
        assert_eq!(correction.load(Ordering::Relaxed), -3_000_000, "one behind: shorter segments");
        assert_eq!(floor.next(1_005_000, 0), 100);
        assert_eq!(correction.load(Ordering::Relaxed), 0);
        assert_eq!(floor.next(1_006_000, 0), 101);
        assert_eq!(correction.load(Ordering::Relaxed), 3_000_000);
        assert_eq!(floor.next(5_000_000, 0), 499, "the clock has jumped");
        floor.anew = true;
        assert_eq!(floor.next(5_001_000, 0), 500, "another publisher gives no name again");
        assert_eq!(floor.next(4_600_000, 60), 501, "the clock has jumped back, but such names are in use");
        assert_eq!(correction.load(Ordering::Relaxed), 60_000_000, "no more than 20 are made up for");
        assert_eq!(floor.next(4_000_000, 60), 399);
    }
}
