//! What started programs print: a file each that does not grow without end, written by a thread that may wait for disks. Programs do not wait
//! for it: what it cannot keep up with is left out.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;
use tracing::warn;

use crate::log;

/// Lines that may wait to be written.
const WAITING: usize = 1024;

/// Longer lines are cut.
const LONGEST: usize = 4096;

/// Progress is told more often than anybody reads it.
const PROGRESS: Duration = Duration::from_secs(10);

/// A hand on the thread.
#[derive(Clone)]
pub(super) struct Journals {
    lines: SyncSender<Line>,
    lost: Arc<AtomicU64>,
}

struct Line {
    path: Arc<Path>,
    limit: u64,
    /// None closes the file.
    text: Option<String>,
}

/// The log of one run of a program. Dropping it closes the file.
pub(super) struct Journal {
    journals: Journals,
    /// None keeps nothing.
    path: Option<Arc<Path>>,
    limit: u64,
    last: Arc<Mutex<String>>,
    progress: Option<Instant>,
}

impl Journals {
    /// Starts the thread, which ends with the last hand.
    pub(super) fn start() -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("task logs".into()).spawn(move || write(&waiting))?;
        Ok(Self { lines, lost: Arc::default() })
    }

    /// Opens a log, which gets larger than `limit` bytes only if that is 0.
    pub(super) fn open(&self, path: Option<PathBuf>, limit: u64) -> Journal {
        let path = path.map(Arc::from);
        Journal { journals: self.clone(), path, limit, last: Arc::default(), progress: None }
    }
}

impl Journal {
    /// Notes a line.
    pub(super) fn note(&self, text: String) {
        let Some(path) = self.path.clone() else { return };
        if self.journals.lines.try_send(Line { path, limit: self.limit, text: Some(text) }).is_err() {
            self.journals.lost.fetch_add(1, Relaxed);
        }
    }

    /// What was said last.
    pub(super) fn last(&self) -> Arc<Mutex<String>> {
        self.last.clone()
    }

    /// Reads what a program prints until nobody can print any more.
    pub(super) async fn follow(mut self, mut output: impl AsyncRead + Unpin) {
        let mut room = vec![0; LONGEST];
        let mut line = Vec::new();
        while let Ok(count @ 1..) = output.read(&mut room).await {
            for byte in room.iter().take(count) {
                match byte {
                    b'\n' | b'\r' => self.take(&mut line),
                    byte if line.len() < LONGEST => line.push(*byte),
                    _ => {}
                }
            }
        }
        self.take(&mut line);
    }

    fn take(&mut self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let text = log::masked(text.trim_end()).into_owned();
        line.clear();
        if text.is_empty() {
            return;
        }
        if is_progress(&text) {
            if self.progress.is_none_or(|told| told.elapsed() >= PROGRESS) {
                self.progress = Some(Instant::now());
                self.note(text);
            }
            return;
        }
        if !says_nothing(&text) {
            self.last.lock().clone_from(&text);
        }
        self.note(text);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let lost = self.journals.lost.swap(0, Relaxed);
        if lost > 0 {
            self.note(format!("({lost} lines of programs are lost: the disk is too slow)"));
        }
        if let Some(path) = self.path.clone() {
            // A file that stays open is closed with the thread.
            let _ = self.journals.lines.try_send(Line { path, limit: 0, text: None });
        }
    }
}

/// ffmpeg's `frame=  123 fps= 25 …` and `size=     12kB time=…`.
fn is_progress(text: &str) -> bool {
    (text.starts_with("frame=") || text.starts_with("size=")) && text.contains("time=")
}

/// ffmpeg's last words after the reason.
fn says_nothing(text: &str) -> bool {
    text.starts_with("Conversion failed!") || text.starts_with("Exiting normally")
}

/// A log that is written.
struct Open {
    file: File,
    size: u64,
}

fn write(waiting: &Receiver<Line>) {
    let mut files: HashMap<Arc<Path>, io::Result<Open>> = HashMap::new();
    while let Ok(Line { path, limit, text }) = waiting.recv() {
        let Some(text) = text else {
            files.remove(&path);
            continue;
        };
        let opened = files
            .entry(path.clone())
            .or_insert_with(|| open(&path).inspect_err(|e| warn!("task: no log {}: {e}", path.display())));
        let Ok(log) = opened else { continue };
        if let Err(e) = log.append(&path, limit, &text) {
            warn!("task: the log {} ends: {e}", path.display());
            *opened = Err(e);
        }
    }
}

fn open(path: &Path) -> io::Result<Open> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
    let size = file.metadata()?.len();
    Ok(Open { file, size })
}

impl Open {
    fn append(&mut self, path: &Path, limit: u64, text: &str) -> io::Result<()> {
        let length = text.len() as u64 + 1;
        if limit > 0 && self.size + length > limit && self.size > 0 {
            let mut old = path.as_os_str().to_owned();
            old.push(".1");
            fs::rename(path, old)?;
            *self = open(path)?;
        }
        self.size += length;
        self.file.write_all(format!("{text}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("oxcast-journal-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    async fn follow(path: &Path, limit: u64, text: &[u8]) -> String {
        let (journals, waiting) = {
            let (lines, waiting) = sync_channel(WAITING);
            (Journals { lines, lost: Arc::default() }, waiting)
        };
        let journal = journals.open(Some(path.to_owned()), limit);
        let last = journal.last();
        journal.follow(text).await;
        drop(journals);
        write(&waiting);
        last.lock().clone()
    }

    #[tokio::test]
    async fn lines_are_kept_without_secrets_and_with_little_progress() {
        let path = folder("lines").join("sub/a.log");
        let said = b"Input from 'rtmp://h/live/a?oxcast_pass=0123':\r\nframe=  1 time=0\rframe=  2 time=1\rno such \xff file\nConversion failed!\n";
        assert_eq!(follow(&path, 0, said).await, "no such \u{fffd} file");
        let kept = fs::read_to_string(&path).unwrap();
        let want = "Input from 'rtmp://h/live/a?oxcast_pass=***\nframe=  1 time=0\nno such \u{fffd} file\nConversion failed!\n";
        assert_eq!(kept, want);
        fs::remove_dir_all(path.parent().unwrap().parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_log_does_not_grow_without_end() {
        let path = folder("limit").join("a.log");
        let text = "0123456789012345678901234567890123456789\n".repeat(100);
        follow(&path, 1000, text.as_bytes()).await;
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        let old = path.with_extension("log.1");
        assert!(size(&path) <= 1000 && size(&old) <= 1000 && size(&old) > 900);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        follow(&path, 1000, b"more\n").await;
        assert!(fs::read_to_string(&path).unwrap().ends_with("9\nmore\n"), "it is appended to");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn where_nothing_can_be_written_the_last_line_is_known() {
        assert_eq!(follow(Path::new("/proc/nothing/a.log"), 0, b"why\n").await, "why");
    }
}
