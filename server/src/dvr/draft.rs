//! A file while it is recorded: it has its final name with `.tmp` behind it, and a lock, so that whoever finds it knows that somebody writes it. It
//! never takes the place of another file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

/// What stands behind the name of a file that is not complete.
pub(super) const TEMPORARY: &str = ".tmp";

/// Stands in a name for the length in milliseconds, which is known at the end.
const DURATION: &str = "[duration]";

/// So many names are tried.
const MOST_NAMES: u32 = 100_000;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 64 << 10;

/// See the module.
pub(super) struct Draft {
    file: File,
    /// The final name, as far as it is known.
    name: String,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Bytes in the file.
    written: u64,
}

impl Draft {
    /// Makes a file that shall be called `name` when it is complete, or nearly so where there is such a file.
    pub(super) fn create(name: &str) -> io::Result<Self> {
        let names = (0..MOST_NAMES).map(|number| numbered(name, number));
        for name in names {
            if !name.contains(DURATION) && exists(Path::new(&name))? {
                continue;
            }
            let path = PathBuf::from(format!("{name}{TEMPORARY}"));
            match create(&path) {
                Ok(file) => {
                    // Who looks for what was left behind may have taken it for that in this very moment. A file system without locks has nobody
                    // who looks.
                    let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
                    if locked != Err(rustix::io::Errno::WOULDBLOCK) && is_at(&file, &path) {
                        return Ok(Self { file, name, path, buffer: Vec::new(), written: 0 });
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(named(&path, e)),
            }
        }
        Err(named(Path::new(name), io::ErrorKind::AlreadyExists.into()))
    }

    /// One that was left behind, if nobody writes it any more; `path` ends with `.tmp`.
    pub(super) fn adopt(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix(TEMPORARY)) else { return Ok(None) };
        let written = file.metadata()?.len();
        Ok(Some(Self { file, name: name.to_owned(), path: path.to_owned(), buffer: Vec::new(), written }))
    }

    /// What it is called now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it is read from.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where the next bytes go.
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Where something that is whole can be added: it is written at once, or with what comes later, but never in part.
    pub(super) fn add(&mut self, what: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        what(&mut self.buffer);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered. If that is not possible, all of it is lost, and the file is as it was before.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let done = self.file.write_all_at(&self.buffer, self.written);
        match &done {
            Ok(()) => self.written += self.buffer.len() as u64,
            // If even that fails, readers find half of something at the end, and stop there.
            Err(_) => drop(self.file.set_len(self.written)),
        }
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER * 4 {
            self.buffer = Vec::new();
        }
        done.map_err(|e| named(&self.path, e))
    }

    /// Writes over what is there.
    pub(super) fn patch(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at).map_err(|e| named(&self.path, e))
    }

    /// What is behind this position is not to be kept.
    pub(super) fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.buffer.clear();
        self.file.set_len(size).map_err(|e| named(&self.path, e))?;
        self.written = size;
        Ok(())
    }

    /// Gives the file its final name. `milliseconds` is its length.
    pub(super) fn finish(self, milliseconds: i64) -> io::Result<String> {
        let name = self.name.replace(DURATION, &milliseconds.to_string());
        for name in (0..MOST_NAMES).map(|number| numbered(&name, number)) {
            match rename(&self.path, Path::new(&name)) {
                Ok(()) => return Ok(name),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(named(&self.path, e)),
            }
        }
        Err(named(Path::new(&name), io::ErrorKind::AlreadyExists.into()))
    }

    /// Deletes the file: nothing is in it.
    pub(super) fn discard(self) {
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!("dvr: cannot delete {}: {e}", self.path.display());
        }
    }
}

/// `a/b-2.flv` of `a/b.flv` and 2.
fn numbered(name: &str, number: u32) -> String {
    match name.rsplit_once('.').filter(|_| number > 0) {
        Some((stem, ending)) => format!("{stem}-{number}.{ending}"),
        None => name.to_owned(),
    }
}

/// This file is called so.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |data: fs::Metadata| (data.dev(), data.ino());
    file.metadata().ok().map(id) == fs::symlink_metadata(path).ok().map(id)
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => Ok(false),
        Err(e) => Err(named(path, e)),
    }
}

fn create(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create_new(true).open(path);
    match (open(), path.parent()) {
        (Err(e), Some(folder)) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// Renames, but never over another file.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // The file system cannot do it in one step.
            if exists(to)? { Err(io::ErrorKind::AlreadyExists.into()) } else { fs::rename(from, to) }
        }
        done => Ok(done?),
    }
}

fn named(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}
