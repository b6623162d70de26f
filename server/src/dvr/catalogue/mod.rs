//! Which recordings there are, and when what is in them took place. It is kept in memory, and written down in a journal in each folder that has
//! recordings, so that the next start knows them.
//!
//! Who records tells of each file at its beginning and at its end. Files that somebody has deleted drop out when they are looked for.

mod journal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use hub::StreamKey;
use media::Micros;
use parking_lot::Mutex;
use tracing::warn;

use crate::session::Cid;
use journal::{Journal, Line};

/// More recordings than this are not known: the oldest of a stream are forgotten first.
const MOST: usize = 200_000;

/// See the module. A clone is another hand on the same one.
#[derive(Clone, Default)]
pub struct Catalogue(Arc<Inner>);

#[derive(Default)]
struct Inner {
    shelf: Mutex<Shelf>,
    /// One for each folder. Held while files are written, and by nobody who must not wait.
    journals: Mutex<BTreeMap<PathBuf, Journal>>,
    /// The folders that are known.
    folders: Mutex<BTreeSet<PathBuf>>,
}

#[derive(Default)]
struct Shelf {
    /// In the order of their beginnings.
    streams: BTreeMap<StreamKey, Vec<Arc<Recording>>>,
    count: usize,
}

/// A file, or one that is being recorded.
#[derive(Debug)]
pub struct Recording {
    /// Names it, whatever its file is called.
    pub id: String,
    /// The stream.
    pub key: StreamKey,
    /// MP4, not FLV.
    pub mp4: bool,
    /// When its time zero was, in microseconds since 1970.
    pub begin: Micros,
    /// The folder whose journal it is in.
    folder: PathBuf,
    state: Mutex<State>,
    /// Microseconds, and bytes, so far.
    length: AtomicI64,
    bytes: AtomicU64,
}

#[derive(Clone, Debug)]
struct State {
    file: PathBuf,
    is_complete: bool,
    /// Another process writes it.
    is_foreign: bool,
}

impl Recording {
    /// Where it is now.
    pub fn file(&self) -> PathBuf {
        self.state.lock().file.clone()
    }

    /// Nothing is added to it any more.
    pub fn is_complete(&self) -> bool {
        self.state.lock().is_complete
    }

    /// From its first frame to its last one, as far as it is recorded.
    pub fn length(&self) -> Micros {
        Micros(self.length.load(Relaxed))
    }

    /// How large it is, as far as it is recorded.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// When its last frame was, in microseconds since 1970.
    pub fn end(&self) -> Micros {
        self.begin + self.length()
    }

    /// It has grown.
    pub(super) fn grow(&self, length: Micros, bytes: u64) {
        self.length.store(length.0, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }
}

/// Which recordings are asked for; what is empty is not asked.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The vhost as the configuration spells it.
    pub vhost: &'a str,
    /// The application.
    pub app: &'a str,
    /// The stream.
    pub stream: &'a str,
    /// Those that end after this, in microseconds since 1970.
    pub from: Option<Micros>,
    /// Those that begin before this.
    pub to: Option<Micros>,
}

impl Wanted<'_> {
    fn is_of(&self, key: &StreamKey) -> bool {
        let is = |want: &str, got: &str| want.is_empty() || want == got;
        is(self.vhost, &key.vhost) && is(self.app, &key.app) && is(self.stream, &key.stream)
    }

    fn has(&self, recording: &Recording) -> bool {
        // What another process records has no length here until it is complete.
        let goes_on = recording.state.lock().is_foreign;
        self.to.is_none_or(|to| recording.begin < to)
            && self.from.is_none_or(|from| goes_on || recording.end() > from)
    }
}

impl Catalogue {
    /// The recordings that are wanted, in the order of their beginnings.
    pub fn list(&self, wanted: &Wanted<'_>) -> Vec<Arc<Recording>> {
        let shelf = self.0.shelf.lock();
        let streams = shelf.streams.iter().filter(|(key, _)| wanted.is_of(key));
        let all = streams.flat_map(|(_, list)| list);
        let mut found: Vec<_> = all.filter(|recording| wanted.has(recording)).cloned().collect();
        drop(shelf);
        found.sort_by_key(|recording| recording.begin);
        found
    }

    /// The recordings of a stream that have something of a time, in order. `to` is the end, in microseconds since 1970.
    pub fn of(&self, key: &StreamKey, from: Micros, to: Option<Micros>) -> Vec<Arc<Recording>> {
        let wanted = Wanted { from: Some(from), to, ..Wanted::default() };
        let shelf = self.0.shelf.lock();
        let list = shelf.streams.get(key).into_iter().flatten();
        list.filter(|recording| wanted.has(recording)).cloned().collect()
    }

    /// The one of a stream that is called so.
    pub fn find(&self, key: &StreamKey, id: &str) -> Option<Arc<Recording>> {
        self.0.shelf.lock().streams.get(key)?.iter().find(|recording| recording.id == id).cloned()
    }

    /// Its file is gone.
    pub fn forget(&self, recording: &Recording) {
        self.0.shelf.lock().remove(&recording.key, &recording.id);
    }

    /// Whether its file is there; it is forgotten if not. Waits for the disk.
    pub fn is_there(&self, recording: &Recording) -> bool {
        // It may be given its name in this very moment.
        let there = (0..2).any(|_| recording.file().exists());
        if !there {
            self.forget(recording);
        }
        there
    }

    /// A file is begun: `file` is what it is called while it is recorded.
    pub(super) fn begin(
        &self,
        key: &StreamKey,
        folder: &Path,
        file: &Path,
        mp4: bool,
        begin: Micros,
    ) -> Arc<Recording> {
        let recording = Arc::new(Recording {
            id: Cid::random().to_string(),
            key: key.clone(),
            mp4,
            begin,
            folder: folder.to_owned(),
            state: Mutex::new(State { file: file.to_owned(), is_complete: false, is_foreign: false }),
            length: AtomicI64::default(),
            bytes: AtomicU64::default(),
        });
        self.0.shelf.lock().add(recording.clone());
        self.write(folder, &Line::begun(&recording));
        recording
    }

    /// It is complete, and has its name.
    pub(super) fn complete(&self, recording: &Recording, file: &Path, length: Micros, bytes: u64) {
        recording.grow(length, bytes);
        *recording.state.lock() = State { file: file.to_owned(), is_complete: true, is_foreign: false };
        self.write(&recording.folder, &Line::completed(recording));
    }

    /// Nothing came of it.
    pub(super) fn discard(&self, recording: &Recording) {
        self.forget(recording);
        self.write(&recording.folder, &Line::gone(&recording.id));
    }

    /// A file that was left behind as `draft` is completed now, or deleted.
    pub(super) fn recovered(&self, draft: &Path, whole: Option<(&Path, Micros)>) {
        let found = {
            let shelf = self.0.shelf.lock();
            let mut all = shelf.streams.values().flatten();
            all.find(|recording| plain(&recording.file()) == plain(draft)).cloned()
        };
        let Some(recording) = found else { return };
        match whole {
            Some((file, length)) => {
                let bytes = std::fs::metadata(file).map_or(0, |file| file.len());
                self.complete(&recording, file, length, bytes);
            }
            None => self.discard(&recording),
        }
    }

    /// Nobody has asked this of the folder before.
    pub(super) fn is_new(&self, folder: &Path) -> bool {
        self.0.folders.lock().insert(folder.to_owned())
    }

    /// Reads the journals of these folders, again if they were read before. Waits for the disk.
    pub(super) fn load(&self, folders: &[PathBuf]) {
        for folder in folders {
            let lines = match Journal::in_folder(folder).read() {
                Ok(lines) => lines,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    warn!("catalogue of recordings in {}: {e}", folder.display());
                    continue;
                }
            };
            for recording in lines.into_iter().filter_map(|line| line.recording(folder)) {
                let is_there = recording.file().exists();
                let mut shelf = self.0.shelf.lock();
                let known = shelf.streams.get(&recording.key);
                let known = known.and_then(|list| list.iter().find(|known| known.id == recording.id));
                match known {
                    Some(known) if known.state.lock().is_foreign && recording.is_complete() => {
                        known.grow(recording.length(), recording.bytes());
                        *known.state.lock() = recording.state.lock().clone();
                    }
                    Some(_) => {}
                    None if is_there => shelf.add(Arc::new(recording)),
                    None => {}
                }
            }
        }
    }

    /// Another process records something that is known here.
    pub(super) fn has_foreign(&self) -> bool {
        let shelf = self.0.shelf.lock();
        shelf.streams.values().flatten().any(|recording| recording.state.lock().is_foreign)
    }

    /// Learns what has become of what another process recorded. Waits for the disk.
    pub(super) fn follow_foreign(&self, folders: &[PathBuf]) {
        let foreign: Vec<_> = {
            let shelf = self.0.shelf.lock();
            let all = shelf.streams.values().flatten();
            all.filter(|recording| recording.state.lock().is_foreign).cloned().collect()
        };
        if foreign.iter().all(|recording| recording.file().exists()) {
            return;
        }
        self.load(folders);
        // A file without a word of its end: somebody has deleted it.
        for recording in foreign {
            self.is_there(&recording);
        }
    }

    fn write(&self, folder: &Path, line: &Line) {
        let mut journals = self.0.journals.lock();
        let journal = journals.entry(folder.to_owned()).or_insert_with(|| Journal::in_folder(folder));
        journal.add(line);
    }
}

/// A relative path may begin with `./` or not.
fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

impl Shelf {
    fn add(&mut self, recording: Arc<Recording>) {
        let list = self.streams.entry(recording.key.clone()).or_default();
        // Nearly always the last.
        let at = list.iter().rposition(|other| other.begin <= recording.begin).map_or(0, |at| at + 1);
        list.insert(at, recording);
        self.count += 1;
        if self.count > MOST {
            list.remove(0);
            self.count -= 1;
        }
    }

    fn remove(&mut self, key: &StreamKey, id: &str) {
        let Some(list) = self.streams.get_mut(key) else { return };
        let before = list.len();
        list.retain(|recording| recording.id != id);
        self.count -= before - list.len();
        if list.is_empty() {
            self.streams.remove(key);
        }
    }
}
