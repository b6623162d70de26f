//! The shelf: what players can fetch right now, by vhost and path. The packager puts things there and takes them away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use formats::hls::Playlist;
use hub::StreamKey;
use parking_lot::RwLock;

use super::Figures;
use crate::store::Store;

/// See the module.
#[derive(Default)]
pub(super) struct Shelf {
    playlists: RwLock<HashMap<String, Arc<Listed>>>,
    segments: RwLock<HashMap<String, Shelved>>,
    /// What the packager counts.
    pub(super) figures: Arc<Figures>,
    /// Who gets copies of files.
    pub(super) store: Store,
}

/// A playlist with the stream that it is of.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) stream: Arc<StreamKey>,
    pub(super) playlist: Playlist,
}

/// A segment, as it stands there.
#[derive(Clone, Debug)]
pub(super) struct Shelved {
    pub(super) segment: Segment,
    pub(super) kind: Type,
    /// The stream that it is of.
    pub(super) stream: Arc<StreamKey>,
    /// Since when it is there, which is when the last of it was new.
    pub(super) since: Instant,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A segment of MPEG-TS.
    Ts,
    /// A key.
    Key,
}

/// Where a segment is.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// In memory, in pieces as they came.
    Ram(Arc<[Bytes]>),
    /// In a file.
    File(PathBuf),
}

/// How much memory the pieces take.
pub(super) fn size(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// Under which name something stands on the shelf; `path` is relative to the root of the vhost.
pub(super) fn place(vhost: &str, path: &str) -> String {
    format!("{vhost}/{path}")
}

/// The path that [`place`] was made of.
pub(super) fn path<'a>(vhost: &str, place: &'a str) -> &'a str {
    place.strip_prefix(vhost).map_or(place, |path| path.trim_start_matches('/'))
}

impl Shelf {
    /// An empty one; copies of files go to the store.
    pub(super) fn new(store: Store) -> Self {
        Self { store, ..Self::default() }
    }

    pub(super) fn playlist(&self, place: &str) -> Option<Arc<Listed>> {
        self.playlists.read().get(place).cloned()
    }

    pub(super) fn segment(&self, place: &str) -> Option<Shelved> {
        self.segments.read().get(place).cloned()
    }

    pub(super) fn put_playlist(&self, place: &str, stream: &Arc<StreamKey>, playlist: Playlist) {
        let listed = Arc::new(Listed { stream: stream.clone(), playlist });
        self.playlists.write().insert(place.to_owned(), listed);
    }

    pub(super) fn put(&self, place: String, segment: Segment, kind: Type, stream: &Arc<StreamKey>) {
        let shelved = Shelved { segment, kind, stream: stream.clone(), since: Instant::now() };
        self.segments.write().insert(place, shelved);
    }

    pub(super) fn take_playlist(&self, place: &str) {
        self.playlists.write().remove(place);
    }

    pub(super) fn take_segment(&self, place: &str) {
        self.segments.write().remove(place);
    }
}
