//! Where segments are kept: files or memory. All of it is blocking work for the packager's own thread.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::shelf::Segment;
use crate::config::HlsStorage;

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
    pub(super) fn new(storage: HlsStorage, path: &Path) -> io::Result<Self> {
        if storage == HlsStorage::Ram {
            return Ok(Self::Ram(Vec::new()));
        }
        let path = behind(path, TEMPORARY);
        make_parent(&path)?;
        let file = File::create(&path).map_err(|e| named(&path, e))?;
        Ok(Self::File { file, path })
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::File { file, path } => file.write_all(&bytes).map_err(|e| named(path, e)),
            Self::Ram(pieces) => {
                pieces.push(bytes);
                Ok(())
            }
        }
    }

    /// Ends the segment under its final name.
    pub(super) fn finish(self, to: &Path) -> io::Result<Segment> {
        match self {
            Self::File { file, path } => {
                drop(file);
                make_parent(to)?;
                fs::rename(&path, to).map_err(|e| named(to, e))?;
                Ok(Segment::File(to.to_owned()))
            }
            Self::Ram(pieces) => Ok(Segment::Ram(match <[Bytes; 1]>::try_from(pieces) {
                Ok([whole]) => whole,
                Err(pieces) => pieces.concat().into(),
            })),
        }
    }

    /// Throws it away.
    pub(super) fn discard(self) {
        if let Self::File { path, .. } = self {
            remove(&path);
        }
    }
}

/// Writes a whole file so that readers find the old or the new one.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = behind(path, ".temp");
    make_parent(&temporary)?;
    fs::write(&temporary, text).map_err(|e| named(&temporary, e))?;
    fs::rename(&temporary, path).map_err(|e| named(path, e))
}

/// Deletes a file; that it is gone already is fine.
pub(super) fn remove(path: &Path) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("hls: cannot delete {}: {e}", path.display());
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|e| named(parent, e))
}

fn behind(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn named(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}
