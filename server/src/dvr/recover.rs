//! What a server left behind that was killed: files with `.tmp` behind their names that nobody writes any more. They are cut behind the last thing that
//! is whole, completed, and get their names. Runs once at the start, on a thread of its own, since folders may be large and disks slow.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::flv::Opening;
use formats::mp4::{Header, Movie, header};
use media::Micros;
use tracing::{info, warn};

use super::catalogue::Catalogue;
use super::disk::{fragment, read, read_all};
use super::draft::Draft;
use super::mp4::seal_with;
use crate::config::Config;

/// So many files and folders are looked at.
const MOST: usize = 1_000_000;

/// The longest metadata that we write, and what else stands at the beginning of a file.
const BEGINNING: usize = 512 << 10;

/// Looks at those of another process so often, during an upgrade.
const LOOK: Duration = Duration::from_secs(5);

/// Looks through all folders that the configuration has recordings in and that were not looked through before, and tells the catalogue what is
/// there.
pub fn start(config: &Config, catalogue: Catalogue) {
    let vhosts = config.vhosts.iter().filter_map(|vhost| vhost.dvr.as_ref());
    let mut folders: Vec<PathBuf> = vhosts.map(|dvr| dvr.folder().to_owned()).collect();
    folders.sort();
    folders.dedup();
    folders.retain(|folder| catalogue.is_new(folder));
    if folders.is_empty() {
        return;
    }
    let work = move || {
        catalogue.load(&folders);
        folders.iter().for_each(|folder| look_through(folder.clone(), &catalogue));
        while catalogue.has_foreign() {
            std::thread::sleep(LOOK);
            catalogue.follow_foreign(&folders);
        }
    };
    if let Err(e) = std::thread::Builder::new().name("dvr-recover".into()).spawn(work) {
        warn!("dvr: nobody looks for what was left behind: {e}");
    }
}

fn look_through(folder: PathBuf, catalogue: &Catalogue) {
    let (mut folders, mut seen) = (vec![folder], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST {
                return warn!("dvr: {} is too large to be looked through", folder.display());
            }
            // Links are not followed.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                recover(&entry.path(), catalogue);
            }
        }
    }
}

/// Completes the file, if it is one of ours and nobody writes it.
pub(super) fn recover(path: &Path, catalogue: &Catalogue) {
    let name = path.to_string_lossy();
    let complete = match () {
        () if name.ends_with(".flv.tmp") => complete_flv,
        () if name.ends_with(".mp4.tmp") => complete_mp4,
        () => return,
    };
    let done = Draft::adopt(path).and_then(|draft| draft.map(complete).transpose());
    match done {
        Ok(Some(Found::Whole(file, length))) => {
            catalogue.recovered(path, Some((Path::new(&file), length)));
            info!("dvr: {file} was left behind and is complete now, {:.3} s", length.0 as f64 / 1e6);
        }
        Ok(Some(Found::Nothing)) => {
            catalogue.recovered(path, None);
            info!("dvr: {name} was left behind with nothing in it, and is deleted");
        }
        Ok(None) => {}
        Err(e) => warn!("dvr: {name} was left behind and cannot be completed: {e}"),
    }
}

enum Found {
    Whole(String, Micros),
    Nothing,
}

fn complete_flv(mut draft: Draft) -> io::Result<Found> {
    let beginning = read(draft.file(), 0, BEGINNING)?;
    if beginning.is_empty() {
        draft.discard();
        return Ok(Found::Nothing);
    }
    let opening = Opening::find(&beginning).ok_or_else(|| damaged("it does not begin as ours do"))?;
    let mut end = opening.bytes.len() as u64;
    let mut span: Option<(u32, u32)> = None;
    // A tag is whole if its size stands behind it again.
    while let Ok([kind, s0, s1, s2, t0, t1, t2, t3, ..]) = read_all::<11>(draft.file(), end) {
        let size = u32::from_be_bytes([0, s0, s1, s2]) + 11;
        let back = read_all::<4>(draft.file(), end + u64::from(size));
        if back.map(u32::from_be_bytes).ok() != Some(size) {
            break;
        }
        let time = u32::from_be_bytes([t3, t0, t1, t2]);
        if kind != 18 {
            let (first, last) = span.unwrap_or((time, time));
            span = Some((first.min(time), last.max(time)));
        }
        end += u64::from(size) + 4;
    }
    let Some((first, last)) = span else {
        draft.discard();
        return Ok(Found::Nothing);
    };
    let length = Micros::from_millis(i64::from(last - first));
    draft.truncate(end)?;
    for (at, bytes) in opening.patches(end, length) {
        draft.patch(at, &bytes)?;
    }
    Ok(Found::Whole(draft.finish(length.millis())?, length))
}

fn complete_mp4(mut draft: Draft) -> io::Result<Found> {
    let beginning = read(draft.file(), 0, BEGINNING)?;
    if beginning.is_empty() {
        draft.discard();
        return Ok(Found::Nothing);
    }
    let (mut end, mut kinds) = (0, Vec::new());
    while let Some(Header { kind, size, .. }) = beginning.get(end..).and_then(header)
        && kinds.len() < 3
    {
        kinds.push(kind);
        end = end.saturating_add(size as usize);
    }
    if kinds == [*b"ftyp", *b"free", *b"mdat"] {
        // All that was missing is its name.
        let length = told_length(draft.file(), end as u64).unwrap_or_default();
        return Ok(Found::Whole(draft.finish(length.millis())?, length));
    }
    let head = beginning.get(..end).filter(|_| kinds == [*b"ftyp", *b"moov", *b"free"]);
    let head = head.ok_or_else(|| damaged("it does not begin as ours do"))?;
    let mut movie = Movie::read(head).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let (mut end, size) = (end as u64, draft.position());
    while let Some((moof, whole)) = fragment(draft.file(), end, size)? {
        if movie.add(end, &moof).is_err() {
            break;
        }
        end += whole;
    }
    if movie.is_empty() {
        draft.discard();
        return Ok(Found::Nothing);
    }
    draft.truncate(end)?;
    let length = movie.duration();
    seal_with(&mut draft, &movie, head)?;
    Ok(Found::Whole(draft.finish(length.millis())?, length))
}

/// The length that the index at this position tells, which is written by us: in milliseconds, in its first box.
fn told_length(file: &File, at: u64) -> Option<Micros> {
    let moov =
        read_all::<36>(file, at).ok().filter(|moov| moov[4..8] == *b"moov" && moov[12..16] == *b"mvhd")?;
    let version = moov[16];
    let duration = u32::from_be_bytes([moov[32], moov[33], moov[34], moov[35]]);
    (version == 0).then(|| Micros::from_millis(duration.into()))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
