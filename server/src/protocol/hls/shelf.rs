//! The shelf: what players can fetch right now, by vhost and path. The packager puts things there and takes them away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use formats::hls::{About, Edge, Playlist, Rate};
use hub::StreamKey;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::Figures;
use super::masters::Masters;
use crate::store::Store;

/// See the module.
#[derive(Default)]
pub(super) struct Shelf {
    playlists: RwLock<HashMap<String, watch::Sender<Arc<Listed>>>>,
    /// Which playlists announce parts that are not there yet, by the places of those.
    hints: RwLock<HashMap<String, String>>,
    segments: RwLock<HashMap<String, Shelved>>,
    pub(super) masters: Masters,
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
    /// What is in it.
    pub(super) about: Arc<About>,
    /// How much, if there is a segment.
    pub(super) rate: Option<Rate>,
    /// Somebody publishes it.
    pub(super) live: bool,
    /// With low latency, what is told besides.
    pub(super) low: Option<Low>,
}

/// What low latency needs of a playlist.
#[derive(Debug)]
pub(super) struct Low {
    /// For players who have the playlist of a moment ago.
    pub(super) delta: Option<Playlist>,
    pub(super) edge: Edge,
    pub(super) target: Duration,
    pub(super) part: Duration,
    /// The place of the part that comes next.
    pub(super) hint: String,
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
    /// A segment of fragmented MP4, a part of one, or an init segment.
    Mp4,
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

    /// A playlist, and what becomes of it. When it is taken away, its sender is gone.
    pub(super) fn playlist(&self, place: &str) -> Option<watch::Receiver<Arc<Listed>>> {
        self.playlists.read().get(place).map(watch::Sender::subscribe)
    }

    /// The playlist that announces this part, which is not there yet.
    pub(super) fn hinted(&self, part: &str) -> Option<watch::Receiver<Arc<Listed>>> {
        let place = self.hints.read().get(part).cloned()?;
        self.playlist(&place)
    }

    /// Something is at this place, or is announced.
    pub(super) fn knows(&self, place: &str) -> bool {
        self.segments.read().contains_key(place) || self.hints.read().contains_key(place)
    }

    pub(super) fn segment(&self, place: &str) -> Option<Shelved> {
        self.segments.read().get(place).cloned()
    }

    pub(super) fn put_playlist(&self, place: &str, listed: Listed) {
        let listed = Arc::new(listed);
        if let Some(low) = &listed.low {
            self.hints.write().insert(low.hint.clone(), place.to_owned());
        }
        let before = self.playlists.read().get(place).map(|sender| sender.send_replace(listed.clone()));
        if before.is_none() {
            self.playlists.write().insert(place.to_owned(), watch::Sender::new(listed.clone()));
        }
        let hint = |listed: &Listed| listed.low.as_ref().map(|low| low.hint.clone());
        self.forget_hint(
            before.as_deref().and_then(hint).filter(|before| hint(&listed).as_ref() != Some(before)),
        );
    }

    fn forget_hint(&self, hint: Option<String>) {
        hint.iter().for_each(|hint| drop(self.hints.write().remove(hint)));
    }

    pub(super) fn put(&self, place: String, segment: Segment, kind: Type, stream: &Arc<StreamKey>) {
        let shelved = Shelved { segment, kind, stream: stream.clone(), since: Instant::now() };
        self.segments.write().insert(place, shelved);
    }

    /// Takes the playlist away, unless another stream has put its own there.
    pub(super) fn take_playlist(&self, place: &str, stream: &Arc<StreamKey>) {
        let mut playlists = self.playlists.write();
        let is_its = |sender: &watch::Sender<Arc<Listed>>| Arc::ptr_eq(&sender.borrow().stream, stream);
        if playlists.get(place).is_some_and(is_its) {
            let taken = playlists.remove(place);
            drop(playlists);
            let low = taken.and_then(|taken| Some(taken.borrow().low.as_ref()?.hint.clone()));
            self.forget_hint(low);
        }
    }

    pub(super) fn take_segment(&self, place: &str) {
        self.segments.write().remove(place);
    }
}
