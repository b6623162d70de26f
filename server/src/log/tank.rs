//! Where the lines end up: a file, or standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::Level;

use super::line::Line;
use crate::config::Rotation;

/// See the module.
pub(super) struct Tank {
    out: Box<dyn Write + Send>,
    /// The file's name, if it is one.
    path: Option<PathBuf>,
    rotation: Option<Rotation>,
    /// Bytes in the file.
    size: u64,
    colours: bool,
}

impl Tank {
    /// Standard output; with colours if somebody looks at it.
    pub(super) fn console() -> Self {
        let out = io::stdout();
        let colours = out.is_terminal();
        Self { out: Box::new(out), path: None, rotation: None, size: 0, colours }
    }

    /// A file that is appended to, and put aside as it is said.
    pub(super) fn file(path: PathBuf, rotation: Option<Rotation>) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|e| named(&path, &e))?;
        }
        let (out, size) = open(&path)?;
        Ok(Self { out: Box::new(out), path: Some(path), rotation, size, colours: false })
    }

    #[cfg(test)]
    pub(super) fn stream(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), path: None, rotation: None, size: 0, colours: false }
    }

    /// Appends a line to a batch as this tank wants it.
    pub(super) fn put(&self, line: &Line, batch: &mut Vec<u8>) {
        const YELLOW: &str = "\x1b[33m";
        const RED: &str = "\x1b[31m";
        const PLAIN: &str = "\x1b[0m\n";
        let colour = match line.level {
            Level::ERROR => RED,
            Level::WARN => YELLOW,
            _ => "",
        };
        if self.colours && line.colours && !colour.is_empty() {
            batch.extend_from_slice(colour.as_bytes());
            batch.extend_from_slice(line.text.trim_end().as_bytes());
            batch.extend_from_slice(PLAIN.as_bytes());
        } else {
            batch.extend_from_slice(line.text.as_bytes());
        }
    }

    /// Writes a batch.
    pub(super) fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        self.size += batch.len() as u64;
        self.out.write_all(batch)?;
        self.out.flush()
    }

    /// Puts the file aside, if it would get too large by so many bytes. If that fails, it goes on growing.
    pub(super) fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        let (Some(rotation), Some(path)) = (self.rotation, &self.path) else { return Ok(()) };
        if self.size == 0 || self.size + bytes as u64 <= rotation.max_size {
            return Ok(());
        }
        // If it fails, it is tried again when as much has come once more.
        self.size = 0;
        put_aside(path, rotation.max_files)?;
        self.reopen()
    }

    /// Opens the file anew.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let (out, size) = open(path)?;
            (self.out, self.size) = (Box::new(out), size);
        }
        Ok(())
    }
}

/// The file and its size; what is no file, such as a pipe, never gets larger.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o664).open(path);
    let sized = opened.and_then(|file| {
        let size = file.metadata()?.len();
        Ok((file, size))
    });
    sized.map_err(|e| named(path, &e))
}

/// Renames a file to `.1`, `.1` to `.2` and so on; more than `keep` do not stay.
fn put_aside(path: &Path, keep: u32) -> io::Result<()> {
    if !fs::metadata(path).is_ok_and(|file| file.is_file()) {
        return Ok(());
    }
    let old = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    // What earlier rules have left behind.
    for n in (keep.max(1)..).take_while(|n| old(*n).exists()) {
        fs::remove_file(old(n))?;
    }
    for n in (1..keep).rev() {
        match fs::rename(old(n), old(n + 1)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    if keep == 0 { fs::remove_file(path) } else { fs::rename(path, old(1)) }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot open the log {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_sees_colours() {
        let line = |level| Line { level, text: "text\n".into(), colours: true };
        let put = |colours, level| {
            let tank = Tank { colours, ..Tank::stream(io::sink()) };
            let mut batch = Vec::new();
            tank.put(&line(level), &mut batch);
            String::from_utf8(batch).unwrap()
        };
        assert_eq!(put(true, Level::WARN), "\x1b[33mtext\x1b[0m\n");
        assert_eq!(put(true, Level::ERROR), "\x1b[31mtext\x1b[0m\n");
        assert_eq!(put(true, Level::INFO), "text\n");
        assert_eq!(put(false, Level::ERROR), "text\n");
    }

    #[test]
    fn only_so_many_files_are_kept() {
        let folder = std::env::temp_dir().join(format!("oxcast-tank-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let log = folder.join("a.log");
        fs::create_dir_all(&folder).unwrap();
        // More had been kept before.
        (2..=4).for_each(|n| fs::write(folder.join(format!("a.log.{n}")), "old").unwrap());
        let mut tank = Tank::file(log.clone(), Some(Rotation { max_size: 10, max_files: 2 })).unwrap();
        for batch in ["1\n", "22222222\n", "333\n", "4\n", "55555\n", "6666666666666\n"] {
            tank.make_room(batch.len()).unwrap();
            tank.write(batch.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let all = ["a.log", "a.log.1", "a.log.2", "a.log.3", "a.log.4"].map(read);
        let want = [Some("6666666666666\n"), Some("55555\n"), Some("333\n4\n"), None, None];
        assert_eq!(all, want.map(|text| text.map(str::to_owned)));
    }
}
