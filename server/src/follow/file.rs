//! Files of outputs, written and deleted as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a whole file so that readers find the old or the new one. Its folder is made if it is missing.
pub fn replace<'a>(path: &Path, pieces: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let mut other = path.as_os_str().to_owned();
    other.push(".tmp");
    let other = PathBuf::from(other);
    let mut made = File::create(&other);
    if made.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        && let Some(folder) = path.parent()
    {
        fs::create_dir_all(folder).map_err(named)?;
        made = File::create(&other);
    }
    let mut written = made.map_err(named)?;
    let done = pieces.into_iter().try_for_each(|piece| written.write_all(piece));
    let done = done.and_then(|()| fs::rename(&other, path));
    if done.is_err() {
        // What is half written takes room that is perhaps what is missing.
        let _ = fs::remove_file(&other);
    }
    done.map_err(named)
}

/// Deletes a file; that it is gone already is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(e.kind(), format!("cannot delete {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}
