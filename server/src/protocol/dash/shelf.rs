//! The shelf: what players can fetch right now, by vhost and path. The packager puts things there and takes them away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::dash::Text;
use hub::StreamKey;
use media::Kind;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::store::Store;

/// See the module.
#[derive(Default)]
pub(super) struct Shelf {
    items: RwLock<HashMap<String, Item>>,
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
    /// It comes next.
    Coming(Coming),
}

/// A segment that is not complete.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    /// What there is of it.
    pub(super) growth: watch::Receiver<Growth>,
    /// It may be sent while it grows; otherwise it is not seen before it is complete.
    pub(super) is_shown: bool,
    /// How long it is worth to wait for it.
    pub(super) patience: Duration,
}

/// What there is of a segment.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// From its beginning.
    pub(super) pieces: Vec<Bytes>,
    /// There is no more to come. When it is the end without this, the segment does not come.
    pub(super) is_complete: bool,
}

/// Under which name something stands on the shelf; `path` is relative to the root of the vhost.
pub(super) fn place(vhost: &str, path: &str) -> String {
    format!("{vhost}/{path}")
}

impl Shelf {
    /// An empty one; copies of files go to the store.
    pub(super) fn new(store: Store) -> Self {
        Self { store, ..Self::default() }
    }

    pub(super) fn find(&self, place: &str) -> Option<Item> {
        self.items.read().get(place).cloned()
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
