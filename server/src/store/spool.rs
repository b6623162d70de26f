//! What is to be done, on disk: each step a small file, beside it the bytes if they are not safe where they are. It survives a restart, and a
//! second process may add to it; who holds the lock does what stands there. All of it is blocking work for the storage's own thread.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::Content;
use super::job::Job;

/// See the module.
pub(super) struct Spool {
    folder: Arc<Path>,
    /// Held as long as this process does the work.
    lock: Option<File>,
    /// The newest number given.
    number: u64,
    /// The steps that are known to who does the work.
    known: HashSet<u64>,
}

const JOB: &str = "job";
const DATA: &str = "data";
const UNFINISHED: &str = "tmp";
/// The folder of what is done and has to be deleted one day.
const KEPT: &str = "kept";

/// Files without a step are deleted when they are so old: before, their step may be about to come.
const STRAY: Duration = Duration::from_secs(600);

impl Spool {
    /// A spool in this folder, which is made when it is needed.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.into(), lock: None, number: 0, known: HashSet::new() }
    }

    pub(super) fn folder(&self) -> &Arc<Path> {
        &self.folder
    }

    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Tries to become the one who does the work; `false` if another process is.
    pub(super) fn lock(&mut self) -> io::Result<bool> {
        if self.lock.is_none() {
            let path = self.folder.join("lock");
            let file =
                self.in_folder(|| OpenOptions::new().write(true).create(true).truncate(false).open(&path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => self.lock = Some(file),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(self.lock.is_some())
    }

    /// Lets another process do the work.
    pub(super) fn unlock(&mut self) {
        self.lock = None;
        self.known.clear();
    }

    /// Puts a step down, with its bytes if there are any to be put aside. Says its number, and how many bytes there are.
    pub(super) fn add(&mut self, job: &mut Job, content: Option<&Content>) -> io::Result<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.number = u64::try_from(now.as_micros()).unwrap_or(0).max(self.number + 1);
        let number = self.number;
        if let Some(content) = content {
            let data = self.data(number);
            match self.in_folder(|| put_aside(content, &data)) {
                Ok(bytes) => job.bytes = bytes,
                Err(e) => {
                    remove(&data);
                    return Err(e);
                }
            }
        }
        if let Err(e) = self.in_folder(|| write_job(&self.path(number, JOB), job)) {
            remove(&self.data(number));
            return Err(e);
        }
        self.known.insert(number);
        Ok(number)
    }

    /// The step is done, or given up.
    pub(super) fn take(&mut self, number: u64) {
        self.known.remove(&number);
        remove(&self.path(number, JOB));
        remove(&self.data(number));
    }

    /// The step is done, and what it was about is to be deleted one day.
    pub(super) fn keep(&mut self, number: u64, job: &Job) -> io::Result<()> {
        let kept = self.kept_path(number);
        if let Some(folder) = kept.parent() {
            fs::create_dir_all(folder)?;
        }
        write_job(&kept, job)?;
        self.take(number);
        Ok(())
    }

    /// What was kept is seen to.
    pub(super) fn forget(&self, number: u64) {
        remove(&self.kept_path(number));
    }

    /// Everything that is to be deleted one day.
    pub(super) fn kept(&self) -> Vec<(u64, Job)> {
        read_jobs(&self.folder.join(KEPT), |_| true)
    }

    /// The steps that are new since the last look, in order.
    pub(super) fn scan(&mut self) -> Vec<(u64, Job)> {
        let jobs = read_jobs(&self.folder, |number| !self.known.contains(&number));
        self.known.extend(jobs.iter().map(|(number, _)| *number));
        self.number = self.number.max(jobs.last().map_or(0, |(number, _)| *number));
        jobs
    }

    /// Deletes what a crash has left behind.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            let is_stray = match ending {
                DATA => !path.with_extension(JOB).exists(),
                UNFINISHED => true,
                _ => false,
            };
            let age = path.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
            if is_stray && age.is_some_and(|age| age > STRAY) {
                remove(&path);
            }
        }
    }

    /// Where the bytes of a step lie.
    pub(super) fn data(&self, number: u64) -> PathBuf {
        self.path(number, DATA)
    }

    fn path(&self, number: u64, ending: &str) -> PathBuf {
        self.folder.join(format!("{number:020}.{ending}"))
    }

    fn kept_path(&self, number: u64) -> PathBuf {
        self.folder.join(KEPT).join(format!("{number:020}.{JOB}"))
    }

    /// Does it, and makes the folder if that is what is missing.
    fn in_folder<T>(&self, what: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match what() {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.folder.exists() => {
                fs::create_dir_all(&self.folder)?;
                what()
            }
            done => done,
        }
    }
}

/// Deletes a file; that it is gone already is fine.
pub(super) fn remove(path: &Path) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("storage: cannot delete {}: {e}", path.display());
    }
}

/// A file gets a second name, so that its bytes stay when the output deletes it.
fn put_aside(content: &Content, to: &Path) -> io::Result<u64> {
    match content {
        Content::File(path) => {
            match fs::hard_link(path, to) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(e),
                // On another disk, or where there are no links.
                Err(_) => drop(fs::copy(path, to)?),
            }
            Ok(fs::metadata(to)?.len())
        }
        Content::Memory(pieces) => {
            let mut file = File::create(to)?;
            pieces.iter().try_for_each(|piece| file.write_all(piece))?;
            Ok(pieces.iter().map(Bytes::len).sum::<usize>() as u64)
        }
    }
}

/// Whole or not at all.
fn write_job(path: &Path, job: &Job) -> io::Result<()> {
    let unfinished = path.with_extension(UNFINISHED);
    fs::write(&unfinished, serde_json::to_vec(job)?)?;
    fs::rename(&unfinished, path)
}

fn read_jobs(folder: &Path, is_wanted: impl Fn(u64) -> bool) -> Vec<(u64, Job)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut jobs: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == JOB))
        .filter_map(|path| {
            let number = path.file_stem()?.to_str()?.parse().ok().filter(|number| is_wanted(*number))?;
            match fs::read(&path).map_err(drop).and_then(|text| serde_json::from_slice(&text).map_err(drop)) {
                Ok(job) => Some((number, job)),
                Err(()) => {
                    tracing::warn!("storage: {} cannot be read, and is left alone", path.display());
                    None
                }
            }
        })
        .collect();
    jobs.sort_by_key(|(number, _)| *number);
    jobs
}

#[cfg(test)]
mod tests {
    use super::super::job::{Lane, Output, What};
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("oxcast-spool-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn job(name: &str) -> Job {
        let lane = Lane { vhost: "v".into(), app: "live".into(), stream: "cam".into(), output: Output::Hls };
        Job { lane, name: name.into(), what: What::Upload, local: None, bytes: 0, at: 1 }
    }

    fn names(jobs: &[(u64, Job)]) -> Vec<&str> {
        jobs.iter().map(|(_, job)| &*job.name).collect()
    }

    #[test]
    fn what_is_put_down_is_found_again_in_order() {
        let folder = folder("order").join("deep");
        let mut spool = Spool::new(&folder);
        assert!(spool.scan().is_empty());
        let pieces = Content::Memory([Bytes::from_static(b"one "), Bytes::from_static(b"two")].into());
        let mut first = job("1");
        let number = spool.add(&mut first, Some(&pieces)).unwrap();
        assert_eq!(first.bytes, 7);
        spool.add(&mut job("2"), None).unwrap();
        assert!(spool.scan().is_empty(), "both are known");
        let mut other = Spool::new(&folder);
        assert_eq!(names(&other.scan()), ["1", "2"]);
        assert_eq!(fs::read_to_string(other.data(number)).unwrap(), "one two");
        other.take(number);
        spool.add(&mut job("3"), None).unwrap();
        assert_eq!(names(&other.scan()), ["3"], "of another process");
        assert_eq!(names(&Spool::new(&folder).scan()), ["2", "3"]);
    }

    #[test]
    fn the_bytes_of_a_file_outlive_it() {
        let folder = folder("links");
        let mut spool = Spool::new(&folder);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("segment.ts");
        fs::write(&file, "whole").unwrap();
        let number = spool.add(&mut job("1"), Some(&Content::File(file.clone()))).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(fs::read_to_string(spool.data(number)).unwrap(), "whole");
        assert!(spool.add(&mut job("2"), Some(&Content::File(file))).is_err());
        assert_eq!(names(&Spool::new(&folder).scan()), ["1"], "half of it is nothing");
    }

    #[test]
    fn one_process_does_the_work() {
        let folder = folder("lock");
        let (mut one, mut two) = (Spool::new(&folder), Spool::new(&folder));
        assert!(one.lock().unwrap());
        assert!(!two.lock().unwrap());
        one.unlock();
        assert!(two.lock().unwrap());
    }

    #[test]
    fn what_is_kept_stays_apart() {
        let folder = folder("kept");
        let mut spool = Spool::new(&folder);
        let number = spool.add(&mut job("1"), None).unwrap();
        spool.keep(number, &job("1")).unwrap();
        let mut later = Spool::new(&folder);
        assert!(later.scan().is_empty());
        assert_eq!(later.kept(), [(number, job("1"))]);
        later.forget(number);
        assert!(later.kept().is_empty());
    }
}
