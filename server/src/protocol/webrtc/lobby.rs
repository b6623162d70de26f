//! The lobby: every WebRTC session by its ICE user name, from the answer to its offer to its end. A session waits here until its first
//! connectivity check comes; the core that gets it takes the session and keeps it. All cores look here for whom they do not know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rtc::ice::Credentials;
use rtc::sdp::Section;

use super::agreements::Agreement;
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
    /// ICE has been started again before it came.
    pub restart: Option<Restart>,
}

/// A new start of ICE (RFC 8445 §9).
#[derive(Clone, Debug)]
pub struct Restart {
    /// Ours.
    pub local: Credentials,
    /// The peer's `ice-ufrag`.
    pub remote_ufrag: String,
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
        /// What players are told of it, for as long as it is there.
        agreement: Agreement,
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
    /// Both user names, `ours:theirs`, at the start; they name the session for good.
    pub username: String,
    /// Both user names since ICE was started last.
    pub latest: String,
    /// What a DELETE or PATCH has to know.
    pub token: String,
}

/// Why ICE cannot be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRestart {
    /// There is no such session any more.
    #[error("this session is over")]
    Gone,
    /// Names are remembered as long as their session lasts.
    #[error("ICE of a session is not started more than {MAX_RESTARTS} times")]
    TooOften,
    /// Another session has this user name.
    #[error("another session has this ice-ufrag")]
    Taken,
    /// Its core does not keep up.
    #[error("the server is too busy")]
    Busy,
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

/// A browser does it when its network changes.
const MAX_RESTARTS: usize = 64;

/// See the module.
#[derive(Default)]
pub struct Lobby {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    sessions: HashMap<String, Entry>,
    /// The first names of sessions by their later ones.
    renamed: HashMap<String, String>,
}

struct Entry {
    known: Known,
    place: Place,
    /// All names but the first.
    names: Vec<String>,
}

impl Entries {
    fn has(&self, ufrag: &str) -> bool {
        self.sessions.contains_key(ufrag) || self.renamed.contains_key(ufrag)
    }

    fn forget(&mut self, entry: &Entry) {
        entry.names.iter().for_each(|name| drop(self.renamed.remove(name)));
    }
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
        if entries.has(ufrag) {
            return Err(NoRoom::Taken);
        }
        let sessions = &mut entries.sessions;
        let is_waiting = |entry: &&Entry| matches!(entry.place, Place::Waiting(..));
        if sessions.len() >= MAX_WAITING && sessions.values().filter(is_waiting).count() >= MAX_WAITING {
            return Err(NoRoom::Full);
        }
        let place = Place::Waiting(Box::new(guest), Instant::now() + patience);
        sessions.insert(ufrag.to_owned(), Entry { known, place, names: Vec::new() });
        Ok(())
    }

    /// ICE of the session of this first name starts again. The core that has the session must be told; it is returned.
    ///
    /// # Errors
    /// When there is no such session, when the name is taken, or after too many of them.
    pub fn restart(&self, ufrag: &str, restart: &Restart) -> Result<Option<usize>, NoRestart> {
        let entries = &mut *self.entries.lock();
        let name = &restart.local.ufrag;
        if entries.has(name) {
            return Err(NoRestart::Taken);
        }
        let entry = entries.sessions.get_mut(ufrag).ok_or(NoRestart::Gone)?;
        if entry.names.len() >= MAX_RESTARTS {
            return Err(NoRestart::TooOften);
        }
        entry.names.push(name.clone());
        entry.known.latest = format!("{name}:{}", restart.remote_ufrag);
        entries.renamed.insert(name.clone(), ufrag.to_owned());
        Ok(match &mut entry.place {
            Place::Core(core) => Some(*core),
            Place::Waiting(guest, _) => {
                guest.restart = Some(restart.clone());
                None
            }
        })
    }

    /// Nobody waits, and nobody is served.
    pub fn is_empty(&self) -> bool {
        self.entries.lock().sessions.is_empty()
    }

    /// What is known of the session of this first name.
    pub fn known(&self, ufrag: &str) -> Option<Known> {
        self.entries.lock().sessions.get(ufrag).map(|entry| entry.known.clone())
    }

    /// Where the session of this name, the first or a later one, is; one that waited is `core`'s from now on.
    pub fn find(&self, ufrag: &str, core: usize) -> Option<Found> {
        let Entries { sessions, renamed } = &mut *self.entries.lock();
        let first = renamed.get(ufrag).map_or(ufrag, String::as_str);
        let place = &mut sessions.get_mut(first)?.place;
        Some(match place {
            Place::Core(core) => Found::Core(*core),
            Place::Waiting(..) => match std::mem::replace(place, Place::Core(core)) {
                Place::Waiting(guest, _) => Found::Yours(guest),
                Place::Core(core) => Found::Core(core),
            },
        })
    }

    /// The session of this first name is over.
    pub fn leave(&self, ufrag: &str) {
        let mut entries = self.entries.lock();
        let gone = entries.sessions.remove(ufrag);
        gone.iter().for_each(|entry| entries.forget(entry));
        // What a guest has is released outside of the lock.
        drop(entries);
        drop(gone);
    }

    /// Takes out those who have waited for too long; the names of their sessions. To be called every second or so.
    pub fn sweep(&self, now: Instant) -> Vec<Known> {
        let late = |_: &String, entry: &mut Entry| match &entry.place {
            Place::Waiting(_, until) => *until <= now,
            Place::Core(_) => false,
        };
        let mut entries = self.entries.lock();
        let gone: Vec<_> = entries.sessions.extract_if(late).collect();
        gone.iter().for_each(|(_, entry)| entries.forget(entry));
        drop(entries);
        gone.into_iter().map(|(_, entry)| entry.known).collect()
    }
}
