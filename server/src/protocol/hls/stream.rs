//! One stream on its way to segments: names, window, and what to do when a disk does not want them. It runs on the packager's thread, and
//! may wait for files there.

mod floor;
mod fragments;
mod qualities;
mod recover;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use formats::hls::{self, About, Entry, Piece, Segment, Window};
use hub::StreamKey;
use jiff::{Timestamp, Zoned};
use media::Micros;
use percent_encoding::utf8_percent_encode;
use tracing::{debug, info, warn};

use super::keys::{self, Cipher, Key};
use super::shelf::{self, Shelf};
use super::store::{self, Open};
use crate::config::{Hls, HlsOnError, SegmentStorage};
use crate::form;
use crate::gate;
use crate::naming::{self, Names, PATH};
use crate::store::{Content, Output};
use floor::Floor;
use fragments::Fragments;
use qualities::Entered;

/// See the module.
pub(super) struct Stream {
    key: Arc<StreamKey>,
    hls: Arc<Hls>,
    shelf: Arc<Shelf>,
    /// The playlist below the folder.
    m3u8: String,
    window: Window,
    /// The master playlists that it is in.
    entered: Vec<Entered>,
    /// What is in the segments that come now.
    about: Arc<About>,
    /// Somebody publishes it.
    live: bool,
    /// The number of the next segment.
    seq: u64,
    /// Where this publisher's segments go: to memory, if files cannot be made.
    storage: SegmentStorage,
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
    /// What there was before the restart of the server has been looked for.
    recovered: bool,
    /// The time in the name of the newest segment, in milliseconds.
    named: i64,
    floor: Floor,
    /// A point on the time line and the wall clock then, in milliseconds.
    clock: Option<(Micros, i64)>,
    /// What segments are encrypted with at this time.
    cipher_key: Option<Arc<Key>>,
    /// For fragmented MP4.
    fragments: Option<Fragments>,
    warned: bool,
}

/// The segment that is being written.
struct Writing {
    name: Naming,
    store: Result<Open, Lost>,
    key: Option<Secret>,
    /// It encrypts, until the last block is written.
    cipher: Option<Cipher>,
    /// What the playlist will say of it, as far as that is known.
    entry: Entry,
}

/// A key, and the initialisation vector of one segment.
type Secret = (Arc<Key>, [u8; 16]);

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
    key: Option<Arc<Key>>,
    map: Option<Arc<fragments::Map>>,
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

impl Stream {
    /// A stream without segments.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn new(key: &StreamKey, hls: &Arc<Hls>, shelf: &Arc<Shelf>) -> Result<Self, String> {
        let m3u8 = Names::of(key).fill(&hls.m3u8_file);
        let segment = Names::of(key).fill(hls.segment_file());
        let init = hls.fmp4.as_ref().map(|fmp4| Names::of(key).fill(&fmp4.init_file));
        let secret = hls.keys.as_ref().map(|keys| Names::of(key).fill(&keys.file));
        let names = [Some(&m3u8), Some(&segment), secret.as_ref(), init.as_ref()];
        if !naming::is_safe(key) || !names.into_iter().flatten().all(|name| naming::stays_inside(name)) {
            return Err(format!("{key} cannot be the name of a file"));
        }
        let target = form::micros(hls.fragment.mul_f64(hls.target_ratio.min(1000.0)));
        let window = Window::new(form::micros(hls.window), target);
        Ok(Self {
            entered: qualities::of(key, hls, &m3u8),
            about: Arc::default(),
            live: false,
            key: Arc::new(key.clone()),
            hls: hls.clone(),
            shelf: shelf.clone(),
            m3u8,
            window: match hls.part() {
                Some(part) => window.with_parts(form::micros(part)),
                None => window,
            },
            fragments: hls.fmp4.is_some().then(|| Fragments::new(hls)),
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
            clock: None,
            cipher_key: None,
            listed_in_file: false,
            recovered: false,
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
            let place = |hls: &Hls| {
                (
                    hls.path.clone(),
                    hls.m3u8_file.clone(),
                    hls.segment_file().to_owned(),
                    hls.storage,
                    hls.part(),
                )
            };
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
        let fragments = match (self.fragments.take(), now.fragments) {
            (Some(before), Some(now)) => Some(before.turn(now)),
            (_, now) => now,
        };
        let mut turned = Self { floor: now.floor, cipher_key: None, fragments, ..self };
        if turned.entered != now.entered {
            turned.quit_masters(true);
            turned.entered = now.entered;
        }
        turned.hls = now.hls;
        turned.show();
        turned.tell_masters();
        turned
    }

    /// Publishers begin, whose segmenter makes segments longer by `correction`.
    pub(super) fn begin(&mut self, correction: Arc<AtomicI64>) {
        self.discard();
        if !std::mem::replace(&mut self.recovered, true) {
            self.recover();
        }
        self.gap = true;
        self.floor.anew = true;
        self.floor.correction = correction;
        self.fragments.iter_mut().for_each(Fragments::restart);
        self.renew();
    }

    /// Another publisher begins; what was given up is tried again.
    pub(super) fn renew(&mut self) {
        self.live = true;
        self.storage = self.hls.storage;
        (self.given_up, self.warned) = (false, false);
        let place: &dyn std::fmt::Display = match self.storage {
            SegmentStorage::Disk => &self.hls.path.display(),
            SegmentStorage::Ram => &"memory",
        };
        info!("hls: {} goes to {place}, segments of {:?}", self.key, self.hls.fragment);
    }

    /// The publisher is gone.
    pub(super) fn leave(&mut self) {
        self.live = false;
        self.show();
        self.tell_masters();
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: Piece) -> Order {
        if self.given_up {
            return Order::Continue;
        }
        match piece {
            Piece::Begin(about) => {
                self.about = about;
                self.discard();
                self.start(Entry::default())
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
        self.fragments.iter_mut().for_each(Fragments::restart);
    }

    fn discard(&mut self) {
        if let Some(Writing { store: Ok(open), .. }) = self.open.take() {
            open.discard();
        }
    }

    /// Opens a segment. Of `entry`, the playlist will say what is known already.
    fn start(&mut self, entry: Entry) -> Order {
        let mut name = self.naming();
        // One from before the restart may have a name that is made of the time.
        for _ in 0..self.kept.len() {
            let path = self.path(&self.name(&name, None));
            if !self.kept.iter().any(|kept| kept.path == path) {
                break;
            }
            name = self.naming();
        }
        let path = self.path(&self.name(&name, None));
        let mut opened = self.place_for(&path);
        while let Err(e) = &opened
            && store::is_full(e)
            && self.make_room()
        {
            opened = self.place_for(&path);
        }
        if let Err(e) = &opened
            && self.gap
            && !store::is_full(e)
        {
            warn!("hls: {e}; the segments of {} are kept in memory", self.key);
            self.storage = SegmentStorage::Ram;
            opened = self.place_for(&path);
        }
        let (store, key, order) = match opened {
            Ok((open, key)) => (Ok(open), key, Order::Continue),
            Err(e) => (Err(Lost), None, self.fail(&e)),
        };
        let cipher = key.as_ref().map(|(key, iv)| Cipher::new(key, iv));
        let told = key.as_ref().map(|(key, iv)| hls::Key { uri: key.uri.clone(), iv: *iv });
        let map = self.fragments.as_ref().and_then(Fragments::map_uri);
        let entry = Entry { seq: self.seq, key: told, map, ..entry };
        self.open = Some(Writing { name, store, key, cipher, entry });
        order
    }

    /// Opens the place of a segment, and has a key and an initialisation vector for it if it needs them.
    fn place_for(&mut self, path: &Path) -> io::Result<(Open, Option<Secret>)> {
        let key = match self.needed_key()? {
            Some(key) => Some((key, keys::random()?)),
            None => None,
        };
        self.ready_map()?;
        Ok((Open::new(self.storage, path)?, key))
    }

    /// The key of the next segment, which is made if it is not the one before.
    fn needed_key(&mut self) -> io::Result<Option<Arc<Key>>> {
        let Some(keys) = &self.hls.keys else { return Ok(None) };
        let is_due = |key: &Key| self.seq.is_multiple_of(keys.segments) && key.seq != self.seq;
        if let Some(key) = self.cipher_key.as_ref().filter(|key| !is_due(key)) {
            return Ok(Some(key.clone()));
        }
        let file = Names { seq: Some(self.seq), ..Names::of(&self.key) }.fill(&keys.file);
        let key = Arc::new(Key {
            bytes: keys::random()?,
            seq: self.seq,
            place: shelf::place(&self.key.vhost, &file),
            uri: match keys.url.is_empty() {
                true => self.relative(&file),
                false => keys::uri(keys, &encoded(&file)),
            }
            .into(),
            file: (self.storage == SegmentStorage::Disk).then(|| keys.path.join(&file)),
        });
        key.write()?;
        let shelved = shelf::Segment::Ram([Bytes::copy_from_slice(&key.bytes)].into());
        self.shelf.put(key.place.clone(), shelved, shelf::Type::Key, &self.key);
        if let Some(before) = self.cipher_key.replace(key.clone()) {
            self.let_go(&before);
        }
        Ok(Some(key))
    }

    /// Throws the key away if nothing needs it any more.
    fn let_go(&self, key: &Arc<Key>) {
        let is_in_use = |other: Option<&Arc<Key>>| other.is_some_and(|other| other.place == key.place);
        if is_in_use(self.cipher_key.as_ref()) || self.kept.iter().any(|kept| is_in_use(kept.key.as_ref())) {
            return;
        }
        self.shelf.take_segment(&key.place);
        if let Some(file) = key.file.as_ref().filter(|_| self.hls.cleanup) {
            store::remove(file);
        }
    }

    fn write(&mut self, mut bytes: Bytes) -> Order {
        let Some(mut writing) = self.open.take() else { return Order::Continue };
        let mut order = Order::Continue;
        if let Some(cipher) = &mut writing.cipher {
            bytes = cipher.take(&bytes);
        }
        writing.entry.bytes += bytes.len() as u64;
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
        if let Some(cipher) = self.open.as_mut().and_then(|open| open.cipher.take()) {
            match self.write(cipher.finish()) {
                Order::Continue => {}
                order => return order,
            }
        }
        let Some(Writing { name, store, key, entry, .. }) = self.open.take() else { return Order::Continue };
        let relative = self.name(&name, Some(segment.duration.millis()));
        let path = self.path(&relative);
        let stored = store.map(|open| open.finish(&path));
        // Parts that players have seen make a segment, whatever the disk says.
        let stored = match (stored, self.fragments.as_mut().and_then(Fragments::take_parts)) {
            (Ok(Ok(stored)), _) => stored,
            (_, Some(parts)) => shelf::Segment::Ram(parts.into()),
            (Ok(Err(e)), None) => return self.fail(&e),
            (Err(Lost), None) => return Order::Continue,
        };
        let place = shelf::place(&self.key.vhost, &relative);
        self.shelf.figures.segments.fetch_add(1, Ordering::Relaxed);
        let (size, in_file) = match &stored {
            shelf::Segment::Ram(pieces) => (shelf::size(pieces), false),
            shelf::Segment::File(_) => (0, true),
        };
        self.shelf.store.finished(&self.key, Output::Hls, &relative, || match &stored {
            shelf::Segment::Ram(pieces) => Content::Memory(pieces.clone()),
            shelf::Segment::File(path) => Content::File(path.clone()),
        });
        self.shelf.put(place.clone(), stored, self.kind(), &self.key);
        let uri = self.uri(&relative);
        let told = self.told(&segment, &path, &uri);
        let (key, map) = (key.map(|(key, _)| key), self.fragments.as_ref().and_then(Fragments::map));
        self.kept.push_back(Kept { place, path, size, in_file, key, map });
        debug!("hls: {} segment {} of {} ms", self.key, self.seq, segment.duration.millis());
        let discontinuity = std::mem::take(&mut self.gap) || segment.discontinuity;
        // Of a segment of parts it was told before.
        let discontinuity = if self.hls.part().is_some() { entry.discontinuity } else { discontinuity };
        let date = match entry.date {
            None if self.hls.is_dated() => {
                Some(self.date(segment.start, segment.duration, segment.discontinuity))
            }
            told => told,
        };
        let out = self.window.push(Entry { uri, duration: segment.duration, discontinuity, date, ..entry });
        self.seq += 1;
        self.expired += out.len();
        self.clean();
        self.clean_parts();
        self.list();
        Order::Tell(told)
    }

    /// When what begins here began, now that it has come as far as `length`; by the clock of the stream, as long as it goes on. In milliseconds since 1970.
    fn date(&mut self, start: Micros, length: Micros, discontinuity: bool) -> i64 {
        if discontinuity {
            self.clock = None;
        }
        let began = || (start, Timestamp::now().as_millisecond() - length.millis());
        let (then, ms) = *self.clock.get_or_insert_with(began);
        ms + (start - then).millis()
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
        let Some(playlist) = self.window.plain() else { return self.show() };
        if self.storage == SegmentStorage::Disk {
            match store::replace(&self.path(&self.m3u8), playlist.as_str()) {
                Ok(()) => self.listed_in_file = true,
                Err(e) => {
                    self.shelf.figures.failures.fetch_add(1, Ordering::Relaxed);
                    self.warn(&e);
                }
            }
        }
        let text = || Bytes::copy_from_slice(playlist.as_str().as_bytes());
        self.shelf.store.listed(&self.key, Output::Hls, &self.m3u8, text);
        self.show();
        self.tell_masters();
    }

    /// Shows what there is now to those who ask this server.
    fn show(&mut self) {
        self.report_others();
        let Some(playlist) = self.window.playlist() else { return };
        let listed = shelf::Listed {
            stream: self.key.clone(),
            playlist,
            about: self.about.clone(),
            rate: self.window.rate(),
            live: self.live,
            low: self.low(),
        };
        self.shelf.put_playlist(&self.playlist_place(), listed);
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
        let name = shelf::path(&self.key.vhost, &oldest.place);
        match self.hls.cleanup {
            true => self.shelf.store.removed(&self.key, Output::Hls, name),
            false => self.shelf.store.left(&self.key, Output::Hls, name, &oldest.path),
        }
        if oldest.in_file && self.hls.cleanup {
            store::remove(&oldest.path);
        }
        if let Some(key) = oldest.key {
            self.let_go(&key);
        }
        if let Some(map) = oldest.map {
            self.let_go_map(&map);
        }
    }

    /// Deletes everything: the publisher has been gone for long, or the server stops.
    pub(super) fn dispose(&mut self) {
        self.discard();
        self.shelf.take_playlist(&self.playlist_place(), &self.key);
        self.quit_masters(true);
        self.shelf.store.removed(&self.key, Output::Hls, &self.m3u8);
        while let Some(kept) = self.kept.pop_front() {
            self.shelf.take_segment(&kept.place);
            self.shelf.store.removed(&self.key, Output::Hls, shelf::path(&self.key.vhost, &kept.place));
            if kept.in_file {
                store::remove(&kept.path);
            }
            self.forget_key(kept.key, true);
            self.forget_map(kept.map, true);
        }
        self.forget_fragments(true);
        let key = self.cipher_key.take();
        self.forget_key(key, true);
        if self.listed_in_file {
            store::remove_replaced(&self.path(&self.m3u8));
        }
        info!("hls: {} is disposed of", self.key);
    }

    /// Ends without deleting files.
    pub(super) fn forget(&mut self) {
        self.discard();
        self.shelf.take_playlist(&self.playlist_place(), &self.key);
        self.quit_masters(false);
        if self.listed_in_file {
            store::remove_other(&self.path(&self.m3u8));
        }
        while let Some(kept) = self.kept.pop_front() {
            self.shelf.take_segment(&kept.place);
            self.forget_key(kept.key, false);
            self.forget_map(kept.map, false);
        }
        self.forget_fragments(false);
        let key = self.cipher_key.take();
        self.forget_key(key, false);
    }

    fn forget_key(&self, key: Option<Arc<Key>>, and_file: bool) {
        let Some(key) = key else { return };
        self.shelf.take_segment(&key.place);
        if let Some(file) = key.file.as_ref().filter(|_| and_file) {
            store::remove(file);
        }
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
        names.fill(self.hls.segment_file())
    }

    /// No two segments have the same time, even if they come at once.
    fn naming(&mut self) -> Naming {
        let now = Timestamp::now().as_millisecond();
        self.named = now.max(self.named + 1);
        let time = Timestamp::from_millisecond(self.named).unwrap_or_default();
        let timestamp = if self.hls.ts_floor { self.floor.next(now, self.kept.len()) } else { self.named };
        Naming { time: naming::time_of_day(time, self.hls.utc), timestamp }
    }

    fn kind(&self) -> shelf::Type {
        if self.fragments.is_some() { shelf::Type::Mp4 } else { shelf::Type::Ts }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.hls.path.join(relative)
    }

    fn playlist_place(&self) -> String {
        shelf::place(&self.key.vhost, &self.m3u8)
    }

    /// The segment's address as the playlist tells it.
    fn uri(&self, segment: &str) -> String {
        match self.hls.entry_prefix.is_empty() {
            true => self.relative(segment),
            false => format!("{}/{}", self.hls.entry_prefix.trim_end_matches('/'), encoded(segment)),
        }
    }

    /// The way from the playlist to a file below the same folder.
    fn relative(&self, segment: &str) -> String {
        way(&self.m3u8, segment)
    }
}

/// The way from a file to another one below the same folder.
fn way(from: &str, to: &str) -> String {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let common = folder.ancestors().find(|ancestor| Path::new(to).starts_with(ancestor));
    let common = common.unwrap_or(Path::new(""));
    let up = folder.strip_prefix(common).map_or(0, |rest| rest.components().count());
    let down = Path::new(to).strip_prefix(common).map_or(to.into(), Path::to_string_lossy);
    "../".repeat(up) + &encoded(&down)
}

/// A path as it stands in a URI.
fn encoded(path: &str) -> String {
    // Two dots within a name are no step upwards, but our own HTTP server, like others, takes them for one.
    utf8_percent_encode(path, PATH).to_string().replace("..", ".%2E")
}

#[cfg(test)]
mod tests;
