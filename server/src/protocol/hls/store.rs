//! Where segments are kept: files or memory. All of it is blocking work for the packager's own thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::shelf::Segment;
use crate::config::SegmentStorage;

/// The segment that is being written.
pub(super) enum Open {
    /// Under a temporary name, so that nobody reads half of it.
    File {
        /// The file.
        file: File,
        /// Its name.
        path: PathBuf,
    },
    /// In pieces.
    Ram(Vec<Bytes>),
}

/// What stands behind the name of a file while it is written.
const TEMPORARY: &str = ".tmp";

impl Open {
    /// Begins a segment; `path` is its final name as far as that is known.
    pub(super) fn new(storage: SegmentStorage, path: &Path) -> io::Result<Self> {
        if storage == SegmentStorage::Ram {
            return Ok(Self::Ram(Vec::new()));
        }
        let path = behind(path, TEMPORARY);
        let file = create(OpenOptions::new().write(true).create(true).truncate(true), &path)?;
        Ok(Self::File { file, path })
    }

    /// Adds bytes. What could not be added stays in `bytes`, to be tried again.
    pub(super) fn write(&mut self, bytes: &mut Bytes) -> io::Result<()> {
        match self {
            Self::File { file, path } => {
                while !bytes.is_empty() {
                    match file.write(bytes) {
                        Ok(0) => return Err(named(path, io::ErrorKind::WriteZero.into())),
                        Ok(n) => bytes.advance(n),
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(named(path, e)),
                    }
                }
            }
            Self::Ram(pieces) => pieces.push(std::mem::take(bytes)),
        }
        Ok(())
    }

    /// Ends the segment under its final name.
    pub(super) fn finish(self, to: &Path) -> io::Result<Segment> {
        match self {
            Self::File { file, path } => {
                drop(file);
                in_folder(to, || fs::rename(&path, to))?;
                Ok(Segment::File(to.to_owned()))
            }
            Self::Ram(pieces) => Ok(Segment::Ram(pieces.into())),
        }
    }

    /// Throws it away.
    pub(super) fn discard(self) {
        if let Self::File { path, .. } = self {
            remove(&path);
        }
    }
}

/// It went wrong because there is no room, which may be made.
pub(super) fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What stands behind the name of a playlist that is not, or no longer, the one to be read.
const OTHER: &str = ".temp";

/// Writes a whole file so that readers find the old or the new one.
///
/// The two change places. To put the new one over the old one, as is usual, would make ext4 write it to the disk at once, and give the old one's
/// blocks back to the disk: for hundreds of playlists that change every few seconds this is most of the cost of HLS.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let other = behind(path, OTHER);
    let mut file = create(OpenOptions::new().write(true).create(true).truncate(false), &other)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.set_len(text.len() as u64));
    written.map_err(|e| named(&other, e))?;
    match renameat_with(CWD, &other, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // There is no old one yet, or the file system cannot.
        Err(_) => fs::rename(&other, path).map_err(|e| named(path, e)),
    }
}

/// A whole file, unless it is larger than `most` bytes; nothing if there is none.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(named(path, e)),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| named(path, e))?;
    if bytes.len() as u64 > most {
        return Err(named(path, io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(bytes))
}

/// Writes a whole small file that nobody reads before it is listed.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(OpenOptions::new().write(true).create(true).truncate(true), path)?;
    file.write_all(bytes).map_err(|e| named(path, e))
}

/// Deletes a file that was written by [`replace`].
pub(super) fn remove_replaced(path: &Path) {
    remove(path);
    remove_other(path);
}

/// Deletes what [`replace`] keeps beside the file.
pub(super) fn remove_other(path: &Path) {
    remove(&behind(path, OTHER));
}

/// Deletes a file; that it is gone already is fine.
pub(super) fn remove(path: &Path) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("hls: cannot delete {}: {e}", path.display());
    }
}

fn create(options: &OpenOptions, path: &Path) -> io::Result<File> {
    in_folder(path, || options.open(path))
}

/// Does it, and makes the folder of `path` if that is what is missing.
fn in_folder<T>(path: &Path, what: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut done = what();
    if let Err(e) = &done
        && e.kind() == io::ErrorKind::NotFound
        && let Some(folder) = path.parent()
    {
        fs::create_dir_all(folder).map_err(|e| named(folder, e))?;
        done = what();
    }
    done.map_err(|e| named(path, e))
}

fn behind(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn named(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}
