//! The work on the storage's thread: what is told goes into the spool and the lanes, what stands in the lanes is done, what fails is done
//! again, and what has been kept for long enough is deleted.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::job::{Job, Lane, Output, What};
use super::lanes::{Lanes, Waiting};
use super::remote::{Failure, Remote};
use super::spool::{self, Spool};
use super::{Content, Figures, Happened, Orders, Phase, Told};
use crate::config::Storage;

/// See the module.
pub(super) struct Worker {
    figures: Arc<Figures>,
    orders: Orders,
    vhosts: HashMap<String, Vhost>,
    spools: HashMap<PathBuf, Spool>,
    lanes: Lanes,
    /// What is to be deleted one day, oldest first.
    kept: HashMap<Lane, Kept>,
    /// Spools are full or cannot be written, which has been said.
    full: bool,
    broken: bool,
}

/// By age and number, with the folders of their spools.
type Kept = BTreeMap<(i64, u64), (PathBuf, Job)>;

/// A vhost's storage.
struct Vhost {
    settings: Arc<Storage>,
    /// None if nothing is uploaded.
    remote: Option<Arc<Remote>>,
    /// Failures since the last success.
    failures: u32,
    /// That it does not answer has been said.
    is_down: bool,
}

/// How a step has ended.
struct Ended {
    waiting: Waiting,
    result: Result<Done, Failure>,
}

/// What was done.
#[derive(Default)]
struct Done {
    uploaded: Option<u64>,
    deleted: bool,
}

/// Steps under way at once. Each holds one part of a file in memory.
const AT_ONCE: usize = 16;
/// So many failures in a row mean that a storage is down.
const DOWN: u32 = 3;
/// A step that has failed so often while others succeed is given up.
const ATTEMPTS: u32 = 20;
/// How often it is looked what another process has put down, and whether it is gone.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is looked what is old.
const SWEEP: Duration = Duration::from_secs(60);
/// Steps are waited for so long when the server ends.
const LAST: Duration = Duration::from_secs(4);
/// Steps in all spools, at most.
const MAX_JOBS: usize = 200_000;

impl Worker {
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        Self {
            figures,
            orders: Orders::default(),
            vhosts: HashMap::new(),
            spools: HashMap::new(),
            lanes: Lanes::default(),
            kept: HashMap::new(),
            full: false,
            broken: false,
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<Told>, mut orders: watch::Receiver<Orders>) {
        let mut tasks = JoinSet::new();
        let (mut look, mut sweep) = (Instant::now(), Instant::now());
        let mut end: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if now >= look {
                self.look();
                look = now + LOOK;
            }
            if now >= sweep {
                self.sweep();
                sweep = now + SWEEP;
            }
            self.start(&mut tasks);
            self.tell();
            let is_over = |end: Instant| now >= end || self.lanes.jobs() == 0 || self.is_stuck();
            if end.is_some_and(is_over) && told.is_empty() {
                return;
            }
            let wake = [self.lanes.due(now), end].into_iter().flatten().fold(look.min(sweep), Instant::min);
            tokio::select! {
                // What is told was asked for by the newest settings.
                biased;
                changed = orders.changed() => {
                    let now = orders.borrow_and_update().clone();
                    let is_new = self.orders.phase != now.phase;
                    self.turn(now);
                    (look, sweep) = (Instant::now(), Instant::now());
                    match self.orders.phase {
                        Phase::HandedOver if is_new => {
                            // What is under way is brought to its end, so that nothing is half done.
                            while let Ok(Some(Ok(ended))) = tokio::time::timeout(LAST, tasks.join_next()).await {
                                self.finish(ended);
                            }
                            tasks.abort_all();
                            self.lanes.clear();
                            self.kept.clear();
                            self.spools.values_mut().for_each(Spool::unlock);
                        }
                        Phase::Stop => end = Some(Instant::now() + LAST),
                        _ => {}
                    }
                    if changed.is_err() {
                        return;
                    }
                }
                next = told.recv() => match next {
                    Some(next) => {
                        self.take(next);
                        // Those that have come together.
                        while !orders.has_changed().unwrap_or(true)
                            && let Ok(next) = told.try_recv()
                        {
                            self.take(next);
                        }
                    }
                    // Nobody has a hand on this any more.
                    None => return,
                },
                Some(Ok(ended)) = tasks.join_next() => self.finish(ended),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Goes by other settings.
    fn turn(&mut self, orders: Orders) {
        self.orders = orders;
        let settings = self.orders.settings.clone();
        self.vhosts.retain(|name, vhost| settings.get(name) == Some(&vhost.settings));
        for (name, settings) in &*settings {
            if self.vhosts.contains_key(name) {
                continue;
            }
            let remote = settings.url.as_ref().map(|url| Remote::new(url, settings)).transpose();
            let remote = remote.unwrap_or_else(|reason| {
                warn!("storage: {name} cannot be stored: {reason}");
                None
            });
            let vhost = Vhost {
                settings: settings.clone(),
                remote: remote.map(Arc::new),
                failures: 0,
                is_down: false,
            };
            self.vhosts.insert(name.clone(), vhost);
            self.spools.entry(settings.spool.clone()).or_insert_with(|| Spool::new(&settings.spool));
        }
        let vhosts = &self.vhosts;
        self.lanes.retry(Instant::now(), |name| vhosts.contains_key(name));
    }

    /// Becomes the one who works on its spools, and looks what others have put there.
    fn look(&mut self) {
        if self.orders.phase == Phase::HandedOver {
            return;
        }
        let (mut found, mut is_first) = (Vec::new(), false);
        for spool in self.spools.values_mut() {
            let had = spool.is_locked();
            match spool.lock() {
                Ok(true) => {
                    if !had {
                        is_first = true;
                        spool.sweep();
                        for (number, job) in spool.kept() {
                            let kept = self.kept.entry(job.lane.clone()).or_default();
                            kept.insert((job.at, number), (spool.folder().to_path_buf(), job));
                        }
                    }
                    let folder = spool.folder().clone();
                    let new = spool.scan().into_iter();
                    found.extend(new.map(|(number, job)| Waiting { spool: folder.clone(), number, job }));
                }
                Ok(false) => {}
                Err(e) if !std::mem::replace(&mut self.broken, true) => {
                    warn!("storage: the spool {}: {e}", spool.folder().display());
                }
                Err(_) => {}
            }
        }
        // Another process that lets its clients finish puts down more all the time.
        if is_first && !found.is_empty() {
            info!("storage: {} steps wait in the spool", found.len());
        }
        found.into_iter().for_each(|waiting| self.push(waiting));
    }

    /// Puts down what is told.
    fn take(&mut self, told: Told) {
        self.figures.memory.fetch_sub(told.size(), Relaxed);
        let Some(vhost) = self.vhosts.get(&told.key.vhost) else { return };
        let settings = vhost.settings.clone();
        let keeps = settings.keep_for.is_some() || settings.keep_newest.is_some();
        let mut job = Job {
            lane: Lane {
                vhost: told.key.vhost,
                app: told.key.app,
                stream: told.key.stream,
                output: told.output,
            },
            name: told.name,
            what: What::Upload,
            local: None,
            bytes: 0,
            at: Timestamp::now().as_millisecond(),
        };
        let uploads = settings.url.is_some();
        let content = match told.what {
            // A recording stays where it is.
            Happened::Finished(Content::File(path)) if told.output == Output::Dvr => {
                if !uploads && !keeps {
                    return;
                }
                job.local = Some(path);
                None
            }
            Happened::Finished(content) => Some(content),
            Happened::Listed(text) => {
                job.what = What::List;
                Some(Content::Memory([text].into()))
            }
            Happened::Removed => {
                job.what = What::Remove;
                None
            }
            Happened::Left(path) => {
                if !keeps && !settings.moves {
                    return;
                }
                (job.what, job.local) = (What::Leave, Some(path));
                None
            }
        };
        if !uploads && job.local.is_none() {
            return;
        }
        self.put_down(&settings, job, content.as_ref());
    }

    fn put_down(&mut self, settings: &Storage, mut job: Job, content: Option<&Content>) {
        if self.lanes.jobs() >= MAX_JOBS {
            self.lose(&format!("{MAX_JOBS} steps wait already"));
            return;
        }
        let Some(spool) = self.spools.get_mut(&settings.spool) else { return };
        let number = match spool.add(&mut job, content) {
            Ok(number) => number,
            Err(e) => {
                let folder = spool.folder().clone();
                self.figures.lost.fetch_add(1, Relaxed);
                if !std::mem::replace(&mut self.broken, true) {
                    warn!("storage: {} cannot be put into the spool {}: {e}", job.name, folder.display());
                }
                return;
            }
        };
        self.broken = false;
        if !spool.is_locked() {
            // Another process reads it there.
            return;
        }
        let folder = spool.folder().clone();
        self.push(Waiting { spool: folder.clone(), number, job });
        while self.lanes.bytes() > settings.spool_max
            && let Some(given_up) = self.lanes.give_up(&folder)
        {
            self.lose("the oldest segments are given up");
            self.superseded(given_up);
        }
    }

    /// There is no room.
    fn lose(&mut self, what: &str) {
        self.figures.lost.fetch_add(1, Relaxed);
        if !std::mem::replace(&mut self.full, true) {
            warn!("storage: the spool is full: {what}");
        }
    }

    fn push(&mut self, waiting: Waiting) {
        let out = self.lanes.push(waiting, Instant::now());
        let unsent = out.iter().filter(|old| matches!(old.job.what, What::Upload | What::List)).count();
        Figures::add(&self.figures.superseded, unsent as u64);
        self.superseded(out);
    }

    fn superseded(&mut self, out: Vec<Waiting>) {
        for old in out {
            if let Some(spool) = self.spools.get_mut(&*old.spool) {
                spool.take(old.number);
            }
        }
    }

    /// Has the next steps done, as many as may be under way.
    fn start(&mut self, tasks: &mut JoinSet<Ended>) {
        if self.orders.phase == Phase::HandedOver {
            return;
        }
        while tasks.len() < AT_ONCE {
            let vhosts = &self.vhosts;
            let is_ready = |waiting: &Waiting| {
                let vhost = vhosts.get(&waiting.job.lane.vhost);
                vhost.is_some_and(|vhost| vhost.remote.is_some() || vhost.settings.url.is_none())
            };
            let Some(waiting) = self.lanes.next(Instant::now(), is_ready) else { return };
            let Some(vhost) = self.vhosts.get(&waiting.job.lane.vhost) else { return };
            let remote = vhost.remote.clone();
            let data = self.spools.get(&*waiting.spool).map(|spool| spool.data(waiting.number));
            tasks.spawn(async move {
                let result = run(remote.as_deref(), &waiting.job, data.as_deref()).await;
                Ended { waiting, result }
            });
        }
    }

    fn finish(&mut self, ended: Ended) {
        let Ended { waiting, result } = ended;
        let now = Instant::now();
        let lane = waiting.job.lane.clone();
        let name = waiting.job.name.clone();
        match result {
            Ok(done) => {
                self.succeed(&lane.vhost, &done);
                debug!("storage: {:?} {name} of {} bytes", waiting.job.what, done.uploaded.unwrap_or(0));
                self.lanes.done(&lane, now);
                self.conclude(waiting, done.uploaded.is_some());
            }
            Err(Failure::Unavailable(reason)) => {
                let attempts = self.lanes.failed(&lane, now);
                if self.fail(&lane.vhost, &reason) || attempts < ATTEMPTS {
                    debug!("storage: {name} has to wait: {reason}");
                    return;
                }
                self.figures.lost.fetch_add(1, Relaxed);
                warn!(
                    "storage: {name} is given up after {attempts} attempts, while others are stored: {reason}"
                );
                self.lanes.done(&lane, now);
                self.superseded(vec![waiting]);
            }
            Err(reason @ (Failure::Local(_) | Failure::Impossible(_))) => {
                self.figures.lost.fetch_add(1, Relaxed);
                warn!("storage: {name} cannot be stored: {reason}");
                self.lanes.done(&lane, now);
                self.superseded(vec![waiting]);
            }
        }
    }

    fn succeed(&mut self, name: &str, done: &Done) {
        if let Some(bytes) = done.uploaded {
            Figures::add(&self.figures.uploaded, 1);
            Figures::add(&self.figures.bytes, bytes);
        }
        Figures::add(&self.figures.deleted, u64::from(done.deleted));
        let Some(vhost) = self.vhosts.get_mut(name).filter(|_| done.uploaded.is_some() || done.deleted)
        else {
            return;
        };
        vhost.failures = 0;
        if std::mem::replace(&mut vhost.is_down, false) {
            info!("storage: that of {name} answers again, {} steps wait", self.lanes.jobs());
            self.lanes.retry(Instant::now(), |lane| lane == name);
        }
    }

    /// The storage is down.
    fn fail(&mut self, name: &str, reason: &str) -> bool {
        Figures::add(&self.figures.failures, 1);
        let Some(vhost) = self.vhosts.get_mut(name) else { return true };
        vhost.failures = vhost.failures.saturating_add(1);
        if vhost.failures >= DOWN && !std::mem::replace(&mut vhost.is_down, true) {
            warn!("storage: that of {name} does not answer, files wait in the spool: {reason}");
        }
        vhost.is_down
    }

    /// After a step: local files go if they are to be moved, and what is to be deleted one day is noted.
    fn conclude(&mut self, waiting: Waiting, uploaded: bool) {
        let Waiting { spool, number, mut job } = waiting;
        let is_archive =
            job.what == What::Leave || job.what == What::Upload && job.lane.output == Output::Dvr;
        let vhost = self.vhosts.get(&job.lane.vhost).filter(|_| is_archive);
        let Some((vhost, spool)) = vhost.zip(self.spools.get_mut(&*spool)) else {
            self.spools.get_mut(&*spool).into_iter().for_each(|spool| spool.take(number));
            return;
        };
        let settings = vhost.settings.clone();
        if settings.moves
            && (uploaded || job.what == What::Leave && settings.url.is_some())
            && let Some(local) = job.local.take()
        {
            spool::remove(&local);
        }
        if settings.keep_for.is_none() && settings.keep_newest.is_none() {
            spool.take(number);
            return;
        }
        if let Err(e) = spool.keep(number, &job) {
            warn!("storage: {} is not noted for its deletion: {e}", job.name);
            spool.take(number);
            return;
        }
        let lane = job.lane.clone();
        let folder = spool.folder().to_path_buf();
        self.kept.entry(lane.clone()).or_default().insert((job.at, number), (folder, job));
        self.expire(&lane);
    }

    /// Looks what is old.
    fn sweep(&mut self) {
        let lanes: Vec<_> = self.kept.keys().cloned().collect();
        lanes.iter().for_each(|lane| self.expire(lane));
    }

    /// Has deleted what is old, or too much.
    fn expire(&mut self, lane: &Lane) {
        let Some(settings) = self.vhosts.get(&lane.vhost).map(|vhost| vhost.settings.clone()) else { return };
        let oldest = settings.keep_for.and_then(|age| i64::try_from(age.as_millis()).ok());
        let oldest = oldest.map_or(i64::MIN, |age| Timestamp::now().as_millisecond().saturating_sub(age));
        let most = settings.keep_newest.map_or(usize::MAX, |count| count as usize);
        while let Some(kept) = self.kept.get_mut(lane)
            && let Some(first) = kept.first_entry()
        {
            let (at, number) = *first.key();
            if at > oldest && kept.len() <= most {
                return;
            }
            let Some((_, (folder, mut job))) = kept.pop_first() else { return };
            job.what = What::Expire;
            job.bytes = 0;
            // In this order, so that it is not forgotten.
            self.put_down(&settings, job, None);
            if let Some(spool) = self.spools.get(&folder) {
                spool.forget(number);
            }
        }
        self.kept.remove(lane);
    }

    /// Nothing can be done at the moment.
    fn is_stuck(&self) -> bool {
        self.orders.phase == Phase::Stop
            && self.vhosts.values().all(|vhost| vhost.is_down || vhost.failures > 0)
    }

    /// Tells what waits.
    fn tell(&mut self) {
        self.figures.spool_jobs.store(self.lanes.jobs() as u64, Relaxed);
        self.figures.spool_bytes.store(self.lanes.bytes(), Relaxed);
        self.figures.down.store(self.vhosts.values().filter(|vhost| vhost.is_down).count() as u64, Relaxed);
        let least = self.vhosts.values().map(|vhost| vhost.settings.spool_max).min().unwrap_or(0);
        if self.full && self.lanes.bytes() < least / 2 && self.lanes.jobs() < MAX_JOBS / 2 {
            self.full = false;
            info!("storage: the spool has room again");
        }
    }
}

/// Does a step.
async fn run(remote: Option<&Remote>, job: &Job, data: Option<&Path>) -> Result<Done, Failure> {
    let path = if job.bytes == 0 && job.local.is_some() { job.local.as_deref() } else { data };
    match (job.what, remote) {
        (What::Upload | What::List, Some(remote)) => {
            let path = path.unwrap_or(Path::new(""));
            remote.put(job, path).await.map(|bytes| Done { uploaded: Some(bytes), deleted: false })
        }
        (What::Remove, Some(remote)) => {
            remote.delete(&job.name).await.map(|()| Done { deleted: true, ..Done::default() })
        }
        (What::Expire, remote) => {
            if let Some(remote) = remote {
                remote.delete(&job.name).await?;
            }
            job.local.iter().for_each(|local| spool::remove(local));
            Ok(Done { deleted: remote.is_some(), ..Done::default() })
        }
        _ => Ok(Done::default()),
    }
}
