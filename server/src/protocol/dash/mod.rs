//! DASH: live streams in segments of CMAF, video and audio apart, with a manifest. The packager follows streams, writes files and fills the shelf;
//! `serve` answers requests from it. How chunks are made and what the manifest says is told by `formats::cmaf` and `formats::dash`.

mod segments;
mod serve;
mod shelf;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use formats::cmaf::Piece;
use hub::{Broadcast, StreamKey, Subscription};

use crate::config::{Dash, Vhost};
use crate::follow::{Follower, Output, Pace};
use crate::form;
use crate::gate::Gate;
use crate::store::Store;

pub use serve::before_files;

use shelf::Shelf;
use stream::Stream;

/// A hand on the packager's thread.
pub type Packager = Follower<Packaging>;

/// The room before the gate is built: what the packager fills.
pub struct Workshop {
    shelf: Arc<Shelf>,
    /// The packager, to be told of streams.
    pub packager: Packager,
}

/// What serves players.
#[derive(Clone)]
pub struct Service {
    gate: Arc<Gate>,
    shelf: Arc<Shelf>,
}

impl Workshop {
    /// Starts the packager; copies of what it makes go to the store.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn open(store: Store) -> io::Result<Self> {
        let shelf = Arc::new(Shelf::new(store));
        Ok(Self { packager: Packager::start(Packaging { shelf: shelf.clone() })?, shelf })
    }

    /// Serves what is made here to those whom the gate admits.
    pub fn service(&self, gate: Arc<Gate>) -> Service {
        Service { gate, shelf: self.shelf.clone() }
    }
}

/// What is packaged goes to the shelf.
pub struct Packaging {
    shelf: Arc<Shelf>,
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

    fn subscribe(&self, broadcast: &Arc<Broadcast>, dash: &Dash) -> (Subscription<Piece>, ()) {
        (broadcast.subscribe(|| form::cmaf(dash.chunk)), ())
    }

    /// Others may read the chunks, whose length is that of the first who asked.
    fn retire(&self, _broadcast: &Broadcast) {}

    fn open(&self, key: &StreamKey, dash: &Arc<Dash>) -> Result<Stream, String> {
        Stream::new(key, dash, &self.shelf)
    }

    fn pace(&self, dash: &Dash) -> Pace {
        if dash.low.is_some() { Pace::Rung } else { Pace::Beat }
    }
}
