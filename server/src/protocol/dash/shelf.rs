//! The shelf: what players can fetch right now, by vhost and path. The packager puts things there and takes them away.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use formats::dash::Text;
use hub::StreamKey;
use media::Kind;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::store::Store;

/// See the module.
pub(super) struct Shelf {
    /// What is older than this was left by another process.
    pub(super) start: SystemTime,
    items: RwLock<HashMap<String, Item>>,
    /// The folders of streams.
    folders: RwLock<HashSet<String>>,
    /// Who gets copies of files.
    pub(super) store: Store,
}

/// Something that can be fetched, and the stream that it is of.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) stream: Arc<StreamKey>,
    pub(super) what: What,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The manifest.
    Manifest(Arc<Text>),
    /// A segment or an init segment.
    Media(Kind, Media),
}

/// Where it is.
#[derive(Clone, Debug)]
pub(super) enum Media {
    /// In memory, in pieces as they came.
    Ram(Arc<[Bytes]>),
    /// In a file.
    File(PathBuf),
    /// It is not complete: what there is of it.
    Growing(watch::Receiver<Growth>),
}

/// What there is of a segment.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// From its beginning.
    pub(super) pieces: Vec<Bytes>,
    /// There is no more to come. If the sender goes without this, the rest is lost.
    pub(super) is_complete: bool,
}

/// Under which name something stands on the shelf; `path` is relative to the root of the vhost.
pub(super) fn place(vhost: &str, path: &str) -> String {
    format!("{vhost}/{path}")
}

impl Shelf {
    /// An empty one; copies of files go to the store.
    pub(super) fn new(store: Store) -> Self {
        let (items, folders) = Default::default();
        Self { start: SystemTime::now(), items, folders, store }
    }

    pub(super) fn find(&self, place: &str) -> Option<Item> {
        self.items.read().get(place).cloned()
    }

    /// How much stands on it.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.read().len()
    }

    /// Something of a stream could be here, now or later.
    pub(super) fn is_within(&self, place: &str) -> bool {
        place.rsplit_once('/').is_some_and(|(folder, _)| self.folders.read().contains(folder))
    }

    pub(super) fn open_folder(&self, vhost: &str, path: &str) {
        self.folders.write().insert(place(vhost, path));
    }

    pub(super) fn close_folder(&self, vhost: &str, path: &str) {
        self.folders.write().remove(&place(vhost, path));
    }

    /// Puts something of a stream at a path, in place of what was there.
    pub(super) fn put(&self, stream: &Arc<StreamKey>, path: &str, what: What) {
        let item = Item { stream: stream.clone(), what };
        self.items.write().insert(place(&stream.vhost, path), item);
    }

    /// Takes it away, unless another stream has put its own there.
    pub(super) fn take(&self, stream: &Arc<StreamKey>, path: &str) {
        let place = place(&stream.vhost, path);
        let mut items = self.items.write();
        if items.get(&place).is_some_and(|item| Arc::ptr_eq(&item.stream, stream)) {
            items.remove(&place);
        }
    }
}
