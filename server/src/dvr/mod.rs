//! DVR: published streams, recorded to files. A file per publisher, or one for every so many seconds; FLV, or MP4.
//!
//! The recorder has a thread of its own (`follow`): a disk that is slow, full or gone costs recordings, and nothing else. `recorder` decides when a file
//! begins and ends, `draft` is a file that is not complete yet, `flv` and `mp4` write what is in it, `recover` completes what a server
//! left behind that was killed, `catalogue` knows which recordings there are, `playback` reads them
//! again.

mod catalogue;
mod disk;
mod draft;
mod figures;
mod flv;
mod moment;
mod mp4;
mod playback;
mod recorder;
mod recover;

use std::io;
use std::sync::Arc;

use formats::frames::{Frames, Item};
use hub::{Broadcast, StreamKey, Subscription};
use media::Sound;

use crate::config::{Dvr, Vhost};
use crate::follow::{Follower, Output};
use crate::store::Store;

pub use catalogue::{Catalogue, Recording, Wanted};
pub use figures::Figures;
pub use moment::{NoMoment, moment, text as moment_text};
pub use playback::{Asked, Cut, Reel, Stretch, Take, Theatre};
pub use recorder::Recorder;
pub use recover::start as recover;

/// A hand on the recorder's thread.
pub type Recordings = Follower<Recorders>;

/// What records streams.
pub struct Recorders {
    figures: Arc<Figures>,
    store: Store,
    catalogue: Catalogue,
}

impl Recorders {
    /// Starts the thread; the figures tell how it goes, and the store is told what is complete, and the catalogue of all.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(store: Store, catalogue: Catalogue) -> io::Result<(Recordings, Arc<Figures>)> {
        let figures = Arc::<Figures>::default();
        Ok((Follower::start(Self { figures: figures.clone(), store, catalogue })?, figures))
    }
}

impl Output for Recorders {
    const NAME: &'static str = "dvr";
    type Settings = Dvr;
    type Unit = Item;
    type Link = ();
    type Stream = Recorder;

    fn settings(&self, key: &StreamKey, vhost: &Vhost) -> Option<Dvr> {
        let dvr = vhost.dvr.clone().filter(|dvr| dvr.applies(&key.app, &key.stream));
        // It is nothing to a file who may play it.
        dvr.map(|dvr| Dvr { playback: false, ..dvr })
    }

    fn subscribe(&self, broadcast: &Arc<Broadcast>, dvr: &Dvr) -> (Subscription<Item>, ()) {
        // What players of such files know; what they do not is converted, if somebody does it at all.
        let sound = if dvr.mp4 { Sound::Aac } else { Sound::Flv };
        (broadcast.subscribe(|| Frames::new(sound)), ())
    }

    fn retire(&self, broadcast: &Broadcast) {
        broadcast.retire::<Frames>();
    }

    fn open(&self, key: &StreamKey, dvr: &Arc<Dvr>) -> Result<Recorder, String> {
        Recorder::new(key, dvr, &self.figures, &self.store, &self.catalogue)
    }
}

#[cfg(test)]
mod tests;
