//! HDS: live streams in fragments of FLV, for Flash players and what came after them. The packager follows streams and writes files; they are
//! served like any other file. How fragments are cut and what the files say is told by `formats::hds`.

mod stream;

use std::sync::Arc;

use formats::flv::Tag;
use formats::hds::Tags;
use hub::{Broadcast, StreamKey, Subscription};

use crate::config::{Hds, Vhost};
use crate::follow::{Follower, Output};
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
    const NAME: &'static str = "hds";
    type Settings = Hds;
    type Unit = Tag;
    type Link = ();
    type Stream = Stream;

    fn settings(&self, _key: &StreamKey, vhost: &Vhost) -> Option<Hds> {
        vhost.hds.clone()
    }

    fn subscribe(&self, broadcast: &Arc<Broadcast>, _hds: &Hds) -> (Subscription<Tag>, ()) {
        (broadcast.subscribe(Tags::default), ())
    }

    /// Its form is the same whatever the settings are.
    fn retire(&self, _broadcast: &Broadcast) {}

    fn open(&self, key: &StreamKey, hds: &Arc<Hds>) -> Result<Stream, String> {
        Stream::new(key, hds, &self.store)
    }
}
