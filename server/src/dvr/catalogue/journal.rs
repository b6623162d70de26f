//! The journal of a folder: a line of JSON when a recording begins, and one when it ends. Several processes may write to it at once, as they do
//! during an upgrade: each line is written under a lock, and whole. What is damaged is passed over.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hub::StreamKey;
use media::Micros;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Recording, State};

/// What it is called. Names that begin with a dot are not served by HTTP, and no recording has one.
pub(super) const NAME: &str = ".oxcast-recordings";

/// No line is longer.
const MOST_LINE: u64 = 16 << 10;
/// No more lines are read.
const MOST_LINES: usize = 2_000_000;
/// A journal is written anew when it has more lines than twice what it tells of, and these.
const SLACK: usize = 10_000;

/// See the module.
pub(super) struct Journal {
    path: PathBuf,
    /// Lines added since it was written anew.
    added: usize,
    /// After so many it is worth it.
    patience: usize,
    fails: bool,
}

/// What is written of a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<Began>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    /// It has no file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Began {
    vhost: String,
    app: String,
    stream: String,
    file: PathBuf,
    mp4: bool,
    /// Microseconds since 1970.
    at: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ended {
    file: PathBuf,
    /// Microseconds.
    length: i64,
    bytes: u64,
}

impl Line {
    pub(super) fn begun(recording: &Recording) -> Self {
        let StreamKey { vhost, app, stream } = recording.key.clone();
        let (file, mp4, at) = (recording.file(), recording.mp4, recording.begin.0);
        let began = Some(Began { vhost, app, stream, file, mp4, at });
        Self { id: recording.id.clone(), began, ..Self::default() }
    }

    pub(super) fn completed(recording: &Recording) -> Self {
        let (file, length, bytes) = (recording.file(), recording.length().0, recording.bytes());
        Self { id: recording.id.clone(), ended: Some(Ended { file, length, bytes }), ..Self::default() }
    }

    pub(super) fn gone(id: &str) -> Self {
        Self { id: id.to_owned(), gone: true, ..Self::default() }
    }

    /// What a whole line tells of.
    pub(super) fn recording(self, folder: &Path) -> Option<Recording> {
        let Began { vhost, app, stream, file, mp4, at } = self.began?;
        let is_complete = self.ended.is_some();
        let (file, length, bytes) =
            self.ended.map_or((file, 0, 0), |ended| (ended.file, ended.length, ended.bytes));
        Some(Recording {
            id: self.id,
            key: StreamKey { vhost, app, stream },
            mp4,
            begin: Micros(at),
            folder: folder.to_owned(),
            state: Mutex::new(State { file, is_complete, is_foreign: !is_complete }),
            length: length.max(0).into(),
            bytes: bytes.into(),
        })
    }

    fn file(&self) -> Option<&Path> {
        let began = self.began.as_ref()?;
        Some(self.ended.as_ref().map_or(&began.file, |ended| &ended.file))
    }
}

impl Journal {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(NAME), added: 0, patience: SLACK, fails: false }
    }

    /// What is known of each recording, the oldest first.
    pub(super) fn read(&self) -> io::Result<Vec<Line>> {
        read(&mut BufReader::new(File::open(&self.path)?))
    }

    /// Adds a line. What cannot be written is lost for the next start, and costs nothing else.
    pub(super) fn add(&mut self, line: &Line) {
        let done = self.try_add(line).and_then(|()| self.tidy());
        match done {
            Ok(()) => self.fails = false,
            Err(e) if !std::mem::replace(&mut self.fails, true) => {
                warn!("catalogue of recordings {}: {e}", self.path.display());
            }
            Err(_) => {}
        }
    }

    fn try_add(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = self.lock()?;
        // Half a line that a killed process has left ends here.
        let size = file.metadata()?.len();
        if size > 0 && last_byte(&file, size)? != b'\n' {
            text.insert(0, b'\n');
        }
        file.write_all(&text)?;
        self.added += 1;
        Ok(())
    }

    /// The file, which nobody else changes while it is open.
    fn lock(&self) -> io::Result<File> {
        loop {
            let open = || OpenOptions::new().read(true).append(true).create(true).open(&self.path);
            let file = match (open(), self.path.parent()) {
                (Err(e), Some(folder)) if e.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(folder)?;
                    open()?
                }
                (opened, _) => opened?,
            };
            // A file system without locks has one process that writes.
            let _ = flock(&file, FlockOperation::LockExclusive);
            // Another process may have put a new one in its place.
            let id = |data: fs::Metadata| (data.dev(), data.ino());
            if file.metadata().ok().map(id) == fs::metadata(&self.path).ok().map(id) {
                return Ok(file);
            }
        }
    }

    /// Writes it anew when most of it is of no use: without files that are gone.
    fn tidy(&mut self) -> io::Result<()> {
        if self.added < self.patience {
            return Ok(());
        }
        let file = self.lock()?;
        let mut lines = read(&mut BufReader::new(&file))?;
        lines.retain(|line| line.file().is_some_and(Path::exists));
        let new = self.path.with_extension("new");
        let mut text = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)?;
        (self.added, self.patience) = (0, lines.len() + SLACK);
        Ok(())
    }
}

fn last_byte(file: &File, size: u64) -> io::Result<u8> {
    let mut byte = [0];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut byte, size - 1)?;
    Ok(byte[0])
}

/// What the lines say together of each recording, in the order of their first lines.
fn read(from: &mut impl BufRead) -> io::Result<Vec<Line>> {
    let (mut order, mut known, mut gone) = (Vec::new(), HashMap::<String, Line>::new(), HashSet::new());
    let mut bytes = Vec::new();
    for _ in 0..MOST_LINES {
        bytes.clear();
        if from.take(MOST_LINE).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let Ok(line) = serde_json::from_slice::<Line>(&bytes) else { continue };
        if line.gone {
            gone.insert(line.id);
            continue;
        }
        match known.get_mut(&line.id) {
            Some(all) => {
                all.began = all.began.take().or(line.began);
                all.ended = line.ended.or(all.ended.take());
            }
            None => {
                order.push(line.id.clone());
                known.insert(line.id.clone(), line);
            }
        }
    }
    Ok(order.into_iter().filter(|id| !gone.contains(id)).filter_map(|id| known.remove(&id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(id: &str, at: i64, file: &str) -> Line {
        let began = Began {
            vhost: "v".into(),
            app: "a".into(),
            stream: "s".into(),
            file: file.into(),
            mp4: true,
            at,
        };
        Line { id: id.into(), began: Some(began), ..Line::default() }
    }

    fn ended(id: &str, file: &str) -> Line {
        let ended = Ended { file: file.into(), length: 5, bytes: 6 };
        Line { id: id.into(), ended: Some(ended), ..Line::default() }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("oxcast-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_passed_over() {
        let folder = folder("damage").join("deep");
        let mut journal = Journal::in_folder(&folder);
        for line in [began("a", 1, "a.tmp"), began("b", 2, "b.tmp"), ended("a", "a.mp4"), Line::gone("b")] {
            journal.add(&line);
        }
        let mut file = OpenOptions::new().append(true).open(folder.join(NAME)).unwrap();
        file.write_all(b"\xff\n{\"id\":3}\n{\"id\":\"half").unwrap();
        journal.add(&began("c", 3, "c.tmp"));
        file.write_all(&vec![b'x'; 40_000]).unwrap();
        journal.add(&began("d", 4, "d.tmp"));
        let lines = journal.read().unwrap();
        let ids: Vec<_> = lines.iter().map(|line| &*line.id).collect();
        assert_eq!(ids, ["a", "c", "d"]);
        assert_eq!(lines[0].file(), Some(Path::new("a.mp4")));
        let recording = lines[0].clone().recording(&folder).unwrap();
        assert!(recording.is_complete() && recording.length() == Micros(5) && recording.bytes() == 6);
        assert!(!lines[1].clone().recording(&folder).unwrap().is_complete());
    }

    #[test]
    fn it_does_not_grow_with_what_is_gone() {
        let folder = folder("tidy");
        let mut journal = Journal::in_folder(&folder);
        let kept = folder.join("kept");
        journal.add(&began("kept", 0, kept.to_str().unwrap()));
        fs::write(&kept, "").unwrap();
        journal.patience = 100;
        for n in 0..60 {
            journal.add(&began(&n.to_string(), n, "nowhere.tmp"));
            journal.add(&ended(&n.to_string(), "nowhere"));
        }
        let ids: Vec<_> = journal.read().unwrap().into_iter().map(|line| line.id).collect();
        assert!(ids.len() < 15 && ids[0] == "kept", "{ids:?}");
    }
}
