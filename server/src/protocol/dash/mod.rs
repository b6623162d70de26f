//! DASH: live streams in segments of CMAF, video and audio apart, with a manifest. The packager follows streams and writes files; they are
//! served like any other file. How chunks are made and what the manifest says is told by `formats::cmaf` and `formats::dash`.

mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use formats::cmaf::Piece;
use hub::{Broadcast, StreamKey, Subscription};

use crate::config::{Dash, Vhost};
use crate::follow::{Follower, Output};
use crate::form;
use crate::store::Store;

use stream::Stream;

/// A hand on the packager's thread.
pub type Packager = Follower<Packaging>;

/// What is packaged goes to files.
pub struct Packaging {
    store: Store,
}

impl Packaging {
    /// Copies of files go to the store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Output for Packaging {
    const NAME: &'static str = "dash";
    type Settings = Dash;
    type Unit = Piece;
    type Link = ();
    type Stream = Stream;

    fn settings(&self, _key: &StreamKey, vhost: &Vhost) -> Option<Dash> {
        vhost.dash.clone()
    }

    fn subscribe(&self, broadcast: &Arc<Broadcast>, _dash: &Dash) -> (Subscription<Piece>, ()) {
        (broadcast.subscribe(|| form::cmaf(None)), ())
    }

    /// Its form is the same whatever the settings are.
    fn retire(&self, _broadcast: &Broadcast) {}

    fn open(&self, key: &StreamKey, dash: &Arc<Dash>) -> Result<Stream, String> {
        Stream::new(key, dash, &self.store)
    }
}
