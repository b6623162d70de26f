//! Where the lines end up: a file, or standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::Level;

use super::line::Line;

/// See the module.
pub(super) struct Tank {
    out: Box<dyn Write + Send>,
    /// The file's name, if it is one.
    path: Option<PathBuf>,
    colours: bool,
}

impl Tank {
    /// Standard output; with colours if somebody looks at it.
    pub(super) fn console() -> Self {
        let out = io::stdout();
        let colours = out.is_terminal();
        Self { out: Box::new(out), path: None, colours }
    }

    /// A file that is appended to.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|e| named(&path, &e))?;
        }
        let out = open(&path)?;
        Ok(Self { out: Box::new(out), path: Some(path), colours: false })
    }

    #[cfg(test)]
    pub(super) fn stream(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), path: None, colours: false }
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
        if self.colours && !colour.is_empty() {
            batch.extend_from_slice(colour.as_bytes());
            batch.extend_from_slice(line.text.trim_end().as_bytes());
            batch.extend_from_slice(PLAIN.as_bytes());
        } else {
            batch.extend_from_slice(line.text.as_bytes());
        }
    }

    /// Writes a batch.
    pub(super) fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        self.out.write_all(batch)?;
        self.out.flush()
    }

    /// Opens the file anew.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.out = Box::new(open(path)?);
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o664).open(path);
    opened.map_err(|e| named(path, &e))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot open the log {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_sees_colours() {
        let line = |level| Line { level, text: "text\n".into() };
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
}
