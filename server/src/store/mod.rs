//! Object storage: copies of what outputs have finished, in a bucket. Whoever finishes, replaces or deletes a file says so here, by one
//! call that never waits and never fails; everything else happens on the storage's own thread.
//!
//! `spool` keeps on disk what is to be done, `lanes` puts it in order, `remote` speaks to the storage, `work` brings them together.
//! Which files there are, and when they are finished, is the business of the outputs.

mod figures;
mod job;
mod lanes;
mod remote;
mod spool;
mod work;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use bytes::Bytes;
use hub::StreamKey;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::config::{Config, Storage};

pub use figures::Figures;
pub use job::Output;

use work::Worker;

/// A hand on the storage's thread. One that is made by `default` stores nothing.
#[derive(Clone, Default)]
pub struct Store(Option<Arc<Inner>>);

struct Inner {
    told: mpsc::Sender<Told>,
    /// What the thread goes by.
    orders: watch::Sender<Orders>,
    figures: Arc<Figures>,
    /// Closed when the thread has ended.
    ended: Mutex<std_mpsc::Receiver<()>>,
}

/// The storages of vhosts.
type Settings = HashMap<String, Arc<Storage>>;

#[derive(Clone, Default)]
struct Orders {
    settings: Arc<Settings>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Upload.
    #[default]
    Work,
    /// Another process uploads: only tell it.
    HandedOver,
    /// End soon.
    Stop,
}

/// The bytes of a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// They are in this file.
    File(PathBuf),
    /// They are in memory, in pieces.
    Memory(Arc<[Bytes]>),
}

/// Something that has happened to a file.
struct Told {
    key: StreamKey,
    output: Output,
    name: String,
    what: Happened,
}

enum Happened {
    Finished(Content),
    Listed(Bytes),
    Removed,
    Left(PathBuf),
}

/// What may wait for the thread.
const TOLD: usize = 4096;

/// The most bytes in memory that may wait for it.
const MAX_MEMORY: u64 = 128 << 20;

/// What a stop takes at most.
const STOP: Duration = Duration::from_secs(8);

impl Store {
    /// Starts the thread, which has nothing to do before the first [`turn`](Self::turn).
    ///
    /// # Errors
    /// When there can be none.
    pub fn start() -> io::Result<Self> {
        let (told, tellings) = mpsc::channel(TOLD);
        let (orders, ordered) = watch::channel(Orders::default());
        let (end, ended) = std_mpsc::channel::<()>();
        let figures = Arc::<Figures>::default();
        let counts = figures.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("storage".into()).spawn(move || {
            runtime.block_on(Worker::new(counts).run(tellings, ordered));
            // Files that are still read are not waited for.
            runtime.shutdown_background();
            drop(end);
        })?;
        Ok(Self(Some(Arc::new(Inner { told, orders, figures, ended: Mutex::new(ended) }))))
    }

    /// Goes by this configuration from now on.
    pub fn turn(&self, config: &Config) {
        let Some(inner) = &self.0 else { return };
        let storages =
            config.vhosts.iter().filter_map(|vhost| Some((vhost.name.clone(), vhost.storage.clone()?)));
        let settings = Arc::new(storages.collect::<Settings>());
        inner.orders.send_if_modified(|orders| {
            let is_new = orders.settings != settings;
            orders.settings = settings;
            is_new
        });
    }

    /// Uploads nothing from now on: another process does, and is told by files.
    pub fn hand_over(&self) {
        self.enter(Phase::HandedOver);
    }

    /// Uploads what can be uploaded at once, and ends the thread; the rest waits in the spool for the next start. To be called when no
    /// output finishes anything any more.
    pub fn stop(&self) {
        let Some(inner) = &self.0 else { return };
        self.enter(Phase::Stop);
        if inner.ended.lock().recv_timeout(STOP) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            warn!(
                "storage: the disk or the storage does not answer, some of the last files may not be stored"
            );
        }
    }

    fn enter(&self, phase: Phase) {
        if let Some(inner) = &self.0 {
            inner.orders.send_modify(|orders| orders.phase = phase);
        }
    }

    /// What is counted here.
    pub fn figures(&self) -> Arc<Figures> {
        self.0.as_ref().map(|inner| inner.figures.clone()).unwrap_or_default()
    }
}

/// What outputs say. `name` is what the object is called below the prefix: the path below the output's folder, with slashes.
impl Store {
    /// A segment or recording is complete. Segments are put aside at once; a recording is to stay where it is.
    pub fn finished(&self, key: &StreamKey, output: Output, name: &str, content: impl FnOnce() -> Content) {
        self.tell(key, output, name, || Happened::Finished(content()));
    }

    /// A playlist or manifest says something else now. It is uploaded after everything of its stream that was told before.
    pub fn listed(&self, key: &StreamKey, output: Output, name: &str, text: impl FnOnce() -> Bytes) {
        self.tell(key, output, name, || Happened::Listed(text()));
    }

    /// A file is deleted. It is to be told after the playlist that does not list it any more.
    pub fn removed(&self, key: &StreamKey, output: Output, name: &str) {
        self.tell(key, output, name, || Happened::Removed);
    }

    /// Nobody plays from this file any more, and it stays: it is an archive now.
    pub fn left(&self, key: &StreamKey, output: Output, name: &str, path: &Path) {
        self.tell(key, output, name, || Happened::Left(path.to_owned()));
    }

    fn tell(&self, key: &StreamKey, output: Output, name: &str, what: impl FnOnce() -> Happened) {
        let Some(inner) = &self.0 else { return };
        let is_wanted = |storage: &Arc<Storage>| storage.outputs.iter().any(|name| name == output.name());
        if !inner.orders.borrow().settings.get(&*key.vhost).is_some_and(is_wanted) {
            return;
        }
        let told = Told { key: key.clone(), output, name: name.to_owned(), what: what() };
        let size = told.size();
        let waiting = &inner.figures.memory;
        if waiting.fetch_add(size, Relaxed) + size > MAX_MEMORY || inner.told.try_send(told).is_err() {
            waiting.fetch_sub(size, Relaxed);
            inner.figures.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Told {
    /// Bytes in memory.
    fn size(&self) -> u64 {
        match &self.what {
            Happened::Finished(Content::Memory(pieces)) => {
                pieces.iter().map(|piece| piece.len() as u64).sum()
            }
            Happened::Listed(text) => text.len() as u64,
            _ => 0,
        }
    }
}

/// What a file is called in the storage whose name was made of `template`: the path below the folder that the template begins with.
///
/// `./objs/nginx/html/[app]/[stream].flv` and `./objs/nginx/html/live/cam.flv` give `live/cam.flv`.
#[allow(dead_code, reason = "recorders have such names")]
pub fn name_below(template: &str, path: &str) -> String {
    let fixed = template.split('[').next().unwrap_or_default();
    let folder = fixed.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1);
    let name = if template.get(..folder) == path.get(..folder) { path.get(folder..) } else { None };
    let name = name.unwrap_or(path).trim_start_matches(['/', '.']);
    if name.is_empty() { path.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_recordings() {
        for (template, path, name) in [
            ("./html/[app]/[stream].flv", "./html/live/cam.flv", "live/cam.flv"),
            ("/data/rec-[stream].mp4", "/data/rec-cam.mp4", "rec-cam.mp4"),
            ("[app]/[stream].flv", "live/cam.flv", "live/cam.flv"),
            ("/data/all.flv", "/data/all.flv", "all.flv"),
            ("/data/[app]", "/elsewhere/live", "elsewhere/live"),
        ] {
            assert_eq!(name_below(template, path), name, "{template}");
        }
    }

    #[test]
    fn who_stores_nothing_costs_nothing() {
        let key = StreamKey { vhost: "a".into(), app: "live".into(), stream: "cam".into() };
        let none = || unreachable!("nobody asks for the bytes");
        Store::default().finished(&key, Output::Hls, "x", none);
        let store = Store::start().unwrap();
        store.finished(&key, Output::Hls, "x", none);
        store.stop();
    }
}
