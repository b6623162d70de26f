//! What stands at a path below a folder. It is found name by name, so that no symbolic link and no change meanwhile leads
//! elsewhere, and nothing but regular files is opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat, readlinkat};
use rustix::process::geteuid;

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, open for reading.
    File(File),
    Folder,
    /// A pipe, a socket or a device.
    Neither,
}

/// Root, and the user that the server runs as. Their symbolic links are followed wherever they lead: they could show what is there in
/// other ways as well. A link of somebody who may just put files into the folder must not show him what the server can read.
pub(super) fn owners() -> [u32; 2] {
    [0, geteuid().as_raw()]
}

/// Finds what stands at these names below `root`, following symbolic links of these `owners`.
///
/// # Errors
/// There is nothing, or it cannot be read, or there is a symbolic link of somebody else on the way.
pub(super) fn find(root: &Path, names: &[OsString], owners: &[u32]) -> io::Result<Found> {
    let mut at = open(root, LOOK | OFlags::DIRECTORY, Mode::empty())?;
    for name in names {
        at = step(&at, name, owners)?;
    }
    Ok(match FileType::from_raw_mode(fstat(&at)?.st_mode) {
        // What is merely looked at cannot be read, and is opened again, by its own number instead of a name.
        FileType::RegularFile => Found::File(File::open(format!("/proc/self/fd/{}", at.as_raw_fd()))?),
        FileType::Directory => Found::Folder,
        _ => Found::Neither,
    })
}

/// To look at something without opening it: a pipe does not wait for a writer, a device notices nothing.
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

fn step(folder: &OwnedFd, name: &OsStr, owners: &[u32]) -> io::Result<OwnedFd> {
    let next = openat(folder, name, LOOK | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = fstat(&next)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Ok(next);
    }
    let target = readlinkat(&next, "", Vec::new())?;
    if !owners.contains(&stat.st_uid) {
        let reason = format!(
            "the symbolic link {name:?} to {target:?} belongs to user {}, and only those of root and of the server's own user are followed",
            stat.st_uid
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(openat(folder, &target, LOOK, Mode::empty())?)
}
