//! Recordings that are played: what was recorded at a time, read back as the frames that it was made of, from files that are complete and from one
//! that still grows.
//!
//! `tape` reads one file, `index` knows where in it players can begin, `reel` puts one file behind the other on one line of time, `cut`
//! makes segments of fragmented MP4 of one. All of that waits for disks, so it runs on threads that may ([`Theatre::work`]), a few at a time. What is made of the frames, and who may have
//! it, is the business of the protocols.

mod asked;
mod cut;
mod index;
mod reel;
mod tape;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hub::StreamKey;
use media::Micros;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::catalogue::{Catalogue, Recording};

pub use asked::Asked;
pub use cut::Cut;
pub use index::{Index, Stretch};
pub use reel::{Reel, Take};
pub use tape::Tape;

/// So many threads wait for disks at once, on behalf of all players.
const THREADS: usize = 8;

/// So many indexes are kept.
const INDEXES: usize = 256;

/// What all who play recordings share. A clone is another hand on the same.
#[derive(Clone)]
pub struct Theatre(Arc<Inner>);

struct Inner {
    catalogue: Catalogue,
    threads: Arc<Semaphore>,
    /// The one that was used last is the last.
    indexes: Mutex<VecDeque<(String, Arc<Mutex<Index>>)>>,
}

impl Theatre {
    /// Of these recordings.
    pub fn new(catalogue: Catalogue) -> Self {
        let (threads, indexes) = (Arc::new(Semaphore::new(THREADS)), Mutex::default());
        Self(Arc::new(Inner { catalogue, threads, indexes }))
    }

    /// The recordings.
    pub fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// Does something that may wait for a disk, on a thread that may.
    ///
    /// # Errors
    /// Those of the work, and when there is no thread.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = self.0.threads.clone().acquire_owned().await.map_err(io::Error::other)?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }

    /// Where players can begin in a recording, as far as it is recorded now. Waits for the disk.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as we write them.
    pub fn index<T>(&self, recording: &Recording, look: impl FnOnce(&Index) -> T) -> io::Result<T> {
        self.indexed(recording, |index| {
            Tape::open(recording)?.scan(index)?;
            Ok(look(index))
        })
    }

    /// Does something with what is known of a recording so far.
    fn indexed<T>(&self, recording: &Recording, work: impl FnOnce(&mut Index) -> T) -> T {
        let index = {
            let mut all = self.0.indexes.lock();
            let known = all.iter().position(|(id, _)| *id == recording.id);
            let known = known.and_then(|at| all.remove(at));
            let entry = known.unwrap_or_else(|| (recording.id.clone(), Arc::default()));
            let index = entry.1.clone();
            all.push_back(entry);
            if all.len() > INDEXES {
                all.pop_front();
            }
            index
        };
        work(&mut index.lock())
    }

    /// What a file with this stretch begins with; nothing if MP4 carries none of its tracks. Waits for the disk.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn init(&self, recording: &Arc<Recording>, stretch: &Stretch) -> io::Result<Option<Bytes>> {
        let settings = stretch.settings;
        if let Some(known) = self.indexed(recording, |index| index.init(settings)) {
            return Ok(known);
        }
        let init = Cut::open(self, recording, stretch)?.map(|cut| cut.init());
        self.indexed(recording, |index| index.inits.push((settings, init.clone())));
        Ok(init)
    }

    /// What was recorded of a stream between two moments, in microseconds since 1970; without an end, all that comes. Nothing if that is nothing.
    /// Waits for the disk.
    pub fn reel(&self, key: &StreamKey, from: Micros, to: Option<Micros>) -> Option<Reel> {
        Reel::open(self.clone(), key.clone(), from, to)
    }
}
