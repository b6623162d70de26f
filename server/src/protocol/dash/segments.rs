//! Where the files of a stream are: on the shelf for players, and on disk or in memory. It may wait for disks.

use std::collections::HashMap;
use std::fs::{self, DirEntry};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use formats::dash::Text;
use hub::StreamKey;
use media::Kind;
use tokio::sync::watch;
use tracing::{info, warn};

use super::shelf::{Growth, Media, Shelf, What};
use crate::config::{Dash, SegmentStorage};
use crate::follow::file;
use crate::store::{Content, Output};

/// See the module. Paths are relative to `dash_path`.
pub(super) struct Segments {
    pub(super) key: Arc<StreamKey>,
    shelf: Arc<Shelf>,
    root: PathBuf,
    /// The folder of all files but the manifest.
    folder: String,
    /// Where this publisher's files go: to memory, if they cannot be written.
    storage: SegmentStorage,
    /// What is on the shelf, with its bytes in memory.
    kept: HashMap<String, usize>,
    ram: usize,
    /// What another process, or an older one, has left under these names is gone.
    is_clean: bool,
}

impl Segments {
    pub(super) fn new(key: &StreamKey, dash: &Dash, shelf: &Arc<Shelf>, folder: String) -> Self {
        Self {
            key: Arc::new(key.clone()),
            shelf: shelf.clone(),
            root: dash.path.clone(),
            folder,
            storage: dash.storage,
            kept: HashMap::new(),
            ram: 0,
            is_clean: false,
        }
    }

    /// For another publisher, or by other settings.
    pub(super) fn begin(&mut self, storage: SegmentStorage) {
        self.storage = storage;
    }

    /// Bytes in memory.
    pub(super) fn ram(&self) -> usize {
        self.ram
    }

    /// A file of the folder.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Keeps a segment or an init segment.
    pub(super) fn put(&mut self, kind: Kind, name: &str, pieces: Vec<Bytes>) {
        self.clean();
        let path = self.file(name);
        let file = self.root.join(&path);
        if self.storage == SegmentStorage::Disk
            && let Err(e) = file::replace(&file, pieces.iter().map(|piece| &piece[..]))
        {
            warn!("dash: {}: {e}; until the next publisher, segments are kept in memory", self.key);
            self.storage = SegmentStorage::Ram;
        }
        let (media, content, size) = match self.storage {
            SegmentStorage::Disk => (Media::File(file.clone()), Content::File(file), 0),
            SegmentStorage::Ram => {
                let size = pieces.iter().map(Bytes::len).sum();
                let pieces: Arc<[Bytes]> = pieces.into();
                (Media::Ram(pieces.clone()), Content::Memory(pieces), size)
            }
        };
        self.shelf.put(&self.key, &path, What::Media(kind, media));
        self.shelf.store.finished(&self.key, Output::Dash, &path, || content);
        self.ram += size;
        self.ram -= self.kept.insert(path, size).unwrap_or_default();
    }

    /// Lets players have a segment as it grows.
    pub(super) fn grow(&mut self, kind: Kind, name: &str, growth: watch::Receiver<Growth>) {
        let path = self.file(name);
        self.shelf.put(&self.key, &path, What::Media(kind, Media::Growing(growth)));
        self.kept.entry(path).or_default();
    }

    /// Shows the manifest.
    pub(super) fn show(&mut self, mpd: &str, text: Text) {
        self.shelf.put(&self.key, mpd, What::Manifest(Arc::new(text)));
        self.shelf.open_folder(&self.key.vhost, &self.folder);
        self.kept.entry(mpd.to_owned()).or_default();
    }

    /// Gives the manifest to those who serve files.
    pub(super) fn list(&mut self, mpd: &str, text: &Text) {
        let text = text.file();
        if self.storage == SegmentStorage::Disk
            && let Err(e) = file::replace(&self.root.join(mpd), [text.as_bytes()])
        {
            warn!("dash: {}: {e}; until the next publisher, segments are kept in memory", self.key);
            self.storage = SegmentStorage::Ram;
        }
        self.shelf.store.listed(&self.key, Output::Dash, mpd, || Bytes::from(text));
    }

    /// Nobody can need this file any more.
    pub(super) fn remove(&mut self, path: &str, and_file: bool) {
        self.forget(path);
        if and_file {
            self.delete(path);
        }
    }

    /// Takes everything from the shelf; files stay.
    pub(super) fn leave(&mut self) {
        self.shelf.close_folder(&self.key.vhost, &self.folder);
        let paths: Vec<String> = self.kept.keys().cloned().collect();
        paths.iter().for_each(|path| self.forget(path));
    }

    /// Deletes everything, the manifest first; `and_old` files, too, that were not deleted when they could have been.
    pub(super) fn dispose(&mut self, mpd: &str, and_old: bool) {
        self.shelf.close_folder(&self.key.vhost, &self.folder);
        self.remove(mpd, true);
        let paths: Vec<String> = self.kept.keys().cloned().collect();
        paths.iter().for_each(|path| self.remove(path, true));
        if self.is_clean {
            if and_old {
                self.delete_left(|_| true);
            }
            // Only if nothing of others is in it.
            let _ = fs::remove_dir(self.root.join(&self.folder));
        }
        info!("dash: {} is disposed of", self.key);
    }

    fn forget(&mut self, path: &str) {
        if let Some(size) = self.kept.remove(path) {
            self.ram -= size;
            self.shelf.take(&self.key, path);
        }
    }

    fn delete(&self, path: &str) {
        self.shelf.store.removed(&self.key, Output::Dash, path);
        if let Err(e) = file::remove(&self.root.join(path)) {
            warn!("dash: {}: {e}", self.key);
        }
    }

    /// Deletes the segments that were left by a process before this one: nobody lists them, and nobody else would.
    fn clean(&mut self) {
        if !std::mem::replace(&mut self.is_clean, true) {
            let start = self.shelf.start;
            self.delete_left(|entry| {
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                modified.is_ok_and(|modified| modified < start)
            });
        }
    }

    /// Deletes files of the folder whose names only DASH gives. Another vhost may have the same folder.
    fn delete_left(&self, is_left: impl Fn(&DirEntry) -> bool) {
        let Ok(entries) = fs::read_dir(self.root.join(&self.folder)) else { return };
        let is_ours = |entry: &DirEntry| entry.file_name().to_str().is_some_and(is_own) && is_left(entry);
        for entry in entries.flatten().filter(is_ours) {
            if let Err(e) = file::remove(&entry.path()) {
                warn!("dash: {}: {e}", self.key);
            }
        }
    }
}

/// `video-12-7200.m4s`, `audio-init.mp4`
fn is_own(name: &str) -> bool {
    let rest = name.strip_prefix("video-").or(name.strip_prefix("audio-"));
    rest.is_some_and(|rest| match rest.strip_suffix(".m4s") {
        Some(numbers) => numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'),
        None => rest.starts_with("init") && rest.ends_with(".mp4"),
    })
}
