//! HLS: live streams in segments that any web server could serve, and served by this one with a session for each player.
//!
//! The packager follows streams and fills the shelf; `serve` answers requests from it; `sessions` knows the players; `recorded` is what
//! has been recorded. How segments are cut and packed is told by `formats::hls`.

mod figures;
mod fragmenter;
mod keys;
mod masters;
mod packager;
mod recorded;
mod reload;
mod serve;
mod sessions;
mod shelf;
mod store;
mod stream;

use std::io;
use std::sync::Arc;

use crate::dvr::Theatre;
use crate::gate::Gate;
use crate::store::Store;

pub use figures::Figures;
pub use fragmenter::Fragmenter;
pub use packager::Packager;
pub use serve::before_files;

use fragmenter::Fragmenting;
use packager::Packaging;
use recorded::Archive;
use sessions::Sessions;
use shelf::Shelf;

/// The room before the gate is built: what the packager fills.
pub struct Workshop {
    shelf: Arc<Shelf>,
    /// The packager, to be told of streams.
    pub packager: Packager,
    /// The same for fragmented MP4.
    pub fragmenter: Fragmenter,
}

/// What serves players.
#[derive(Clone)]
pub struct Service {
    gate: Arc<Gate>,
    shelf: Arc<Shelf>,
    sessions: Arc<Sessions>,
    archive: Archive,
}

impl Service {
    /// Ends the sessions of all players. To be called when nobody is served any more.
    pub fn end(&self) {
        self.sessions.end();
    }
}

impl Workshop {
    /// Starts the packagers; copies of what they make go to the store.
    pub fn open(store: Store) -> io::Result<Self> {
        let shelf = Arc::new(Shelf::new(store));
        Ok(Self {
            packager: Packager::start(Packaging { shelf: shelf.clone() })?,
            fragmenter: Fragmenter::start(Fragmenting { shelf: shelf.clone() })?,
            shelf,
        })
    }

    /// What is counted here.
    pub fn figures(&self) -> Arc<Figures> {
        self.shelf.figures.clone()
    }

    /// Serves what is made here, and what was recorded, to those whom the gate admits.
    pub fn service(&self, gate: Arc<Gate>, theatre: Theatre) -> Service {
        let archive = Archive::new(theatre);
        Service { gate, shelf: self.shelf.clone(), sessions: Arc::default(), archive }
    }
}
