//! The lobby: every WebRTC session by its ICE user name, from the answer to its offer to its end. A session waits here until its first
//! connectivity check comes; the core that gets it takes the session and keeps it. All cores look here for whom they do not know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rtc::sdp::Section;

use crate::gate::{Playing, Publishing};
use crate::session::Session;

/// An admitted session that has not come yet.
pub struct Guest {
    /// Its name, its counters and its kick.
    pub session: Arc<Session>,
    /// What its transport is to be.
    pub options: rtc::session::Options,
    /// What it will do.
    pub role: Role,
}

/// What a session is for.
pub enum Role {
    /// It gets a stream.
    Player {
        /// Its right to.
        playing: Box<Playing>,
        /// What the answer agreed upon.
        sections: Vec<Section>,
    },
    /// It sends one.
    Publisher {
        /// Its right to.
        publishing: Box<Publishing>,
        /// What the answer agreed upon.
        sections: Vec<Section>,
    },
}

/// What is known of a session wherever it is.
#[derive(Clone)]
pub struct Known {
    /// Its name, its counters and its kick.
    pub session: Arc<Session>,
    /// Both user names, `ours:theirs`.
    pub username: String,
    /// What a DELETE or PATCH has to know.
    pub token: String,
}

/// Why a guest cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Another session has this user name.
    #[error("another session has this ice-ufrag")]
    Taken,
    /// Too many offers have been answered of whose clients nothing has come.
    #[error("{MAX_WAITING} sessions wait for their clients already")]
    Full,
}

/// Answered offers cost memory, and who made them may never come.
const MAX_WAITING: usize = 4096;

/// See the module.
#[derive(Default)]
pub struct Lobby {
    entries: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    known: Known,
    place: Place,
}

enum Place {
    /// It has until then to come.
    Waiting(Box<Guest>, Instant),
    /// The core that has it.
    Core(usize),
}

/// Where a session is.
pub enum Found {
    /// It was waiting, and is the caller's now.
    Yours(Box<Guest>),
    /// A core has it.
    Core(usize),
}

impl Lobby {
    /// Lets a guest wait until somebody shows our user name of its session, `patience` at most.
    ///
    /// # Errors
    /// When the name is taken, or when too many wait.
    pub fn wait(&self, ufrag: &str, known: Known, guest: Guest, patience: Duration) -> Result<(), NoRoom> {
        let mut entries = self.entries.lock();
        if entries.contains_key(ufrag) {
            return Err(NoRoom::Taken);
        }
        let is_waiting = |entry: &&Entry| matches!(entry.place, Place::Waiting(..));
        if entries.len() >= MAX_WAITING && entries.values().filter(is_waiting).count() >= MAX_WAITING {
            return Err(NoRoom::Full);
        }
        let place = Place::Waiting(Box::new(guest), Instant::now() + patience);
        entries.insert(ufrag.to_owned(), Entry { known, place });
        Ok(())
    }

    /// What is known of the session of this user name of ours.
    pub fn known(&self, ufrag: &str) -> Option<Known> {
        self.entries.lock().get(ufrag).map(|entry| entry.known.clone())
    }

    /// Where the session of this name is; one that waited is `core`'s from now on.
    pub fn find(&self, ufrag: &str, core: usize) -> Option<Found> {
        let mut entries = self.entries.lock();
        let place = &mut entries.get_mut(ufrag)?.place;
        Some(match place {
            Place::Core(core) => Found::Core(*core),
            Place::Waiting(..) => match std::mem::replace(place, Place::Core(core)) {
                Place::Waiting(guest, _) => Found::Yours(guest),
                Place::Core(core) => Found::Core(core),
            },
        })
    }

    /// A session is over.
    pub fn leave(&self, ufrag: &str) {
        // What a guest has is released outside of the lock.
        let gone = self.entries.lock().remove(ufrag);
        drop(gone);
    }

    /// Takes out those who have waited for too long; the names of their sessions. To be called every second or so.
    pub fn sweep(&self, now: Instant) -> Vec<Known> {
        let late = |_: &String, entry: &mut Entry| match &entry.place {
            Place::Waiting(_, until) => *until <= now,
            Place::Core(_) => false,
        };
        let gone: Vec<_> = self.entries.lock().extract_if(late).collect();
        gone.into_iter().map(|(_, entry)| entry.known).collect()
    }
}
