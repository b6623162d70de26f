//! What the process is to the machine: its pid file, its parent, and the ids by which others know it. How it starts and
//! stops does not belong here.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk, getppid};

use crate::session::{random_name, random_vid};

/// Why the pid file is not ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds it.
    #[error("already running{}: {} is locked", as_process(.pid), .path.display())]
    Running {
        /// The pid file.
        path: PathBuf,
        /// What the file says, if it says a number.
        pid: Option<u32>,
    },
    /// It cannot be opened, locked or written.
    #[error("cannot take the pid file {}: {source}", .path.display())]
    Unusable {
        /// The pid file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn as_process(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" as process {pid}"))
}

impl Error {
    /// The exit status that scripts know from SRS.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Running { .. } => 11,
            Self::Unusable { .. } => 10,
        }
    }
}

/// The pid file, locked as long as this lives. It is left in place at the end, as SRS does.
#[derive(Debug)]
pub struct PidFile {
    file: File,
}

impl PidFile {
    /// Takes the file for this process and writes its id into it. Missing directories are made. The lock does not pass on
    /// to children.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be used at all.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::Unusable { path: path.into(), source };
        make_parent(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(path).map_err(unusable)?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::ACCESS | Errno::AGAIN) => {
                let pid = read_short(&mut file).ok().and_then(|text| text.trim().parse().ok());
                return Err(Error::Running { path: path.into(), pid });
            }
            Err(errno) => return Err(unusable(errno.into())),
        }
        file.set_len(0).map_err(unusable)?;
        file.write_all(std::process::id().to_string().as_bytes()).map_err(unusable)?;
        Ok(Self { file })
    }

    /// Empties it: who ends in good order is not taken for dead.
    pub fn release(self) {
        if let Err(e) = self.file.set_len(0) {
            tracing::warn!("the pid file keeps a process id that means nothing any more: {e}");
        }
    }
}

/// Whom a pid file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: there is no file, or it was released.
    Nobody,
    /// A running process, if it can be named.
    Running(Option<u32>),
    /// A process that has ended without releasing it.
    Dead(u32),
}

impl Holder {
    /// Whom the file of this name belongs to.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::Nobody),
            opened => opened?,
        };
        let lock = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?;
        let written = read_short(&mut file)?.trim().parse().ok();
        Ok(match (lock, written) {
            // A process in another container has no id here.
            (Some(lock), written) => Self::Running(lock.pid.map(number).or(written)),
            (None, Some(pid)) => Self::Dead(pid),
            (None, None) => Self::Nobody,
        })
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// The parent process, for a server that must not outlive it (`asprocess`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent(Option<Pid>);

/// There is no parent to hang on: it has ended already, and left this process to the system's first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`asprocess on`, but the parent process is the system's first one, which never ends")]
pub struct Orphan;

impl Parent {
    /// The parent of this process.
    ///
    /// # Errors
    /// When that is the first process of the system.
    pub fn of_process() -> Result<Self, Orphan> {
        Self::new(getppid())
    }

    fn new(pid: Option<Pid>) -> Result<Self, Orphan> {
        // Without a number it is outside of our container, and as good as any.
        if pid == Some(Pid::INIT) { Err(Orphan) } else { Ok(Self(pid)) }
    }

    /// It has ended.
    pub fn is_lost(self) -> bool {
        getppid() != self.0
    }
}

/// Who this server is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The server's id, the same after each restart.
    pub server: String,
    /// The id of this run: 8 random characters.
    pub service: String,
    /// The process id.
    pub pid: u32,
    /// When it started.
    pub start: Instant,
    /// Its command line.
    pub argv: Vec<OsString>,
}

impl Identity {
    /// One that is known beforehand.
    #[cfg(test)]
    pub fn sample() -> Self {
        Self {
            server: "vid-3k81z07".into(),
            service: "7t2m90a4".into(),
            pid: 4711,
            start: Instant::now(),
            argv: ["oxcast", "-c", "x.conf"].map(OsString::from).into(),
        }
    }

    /// The identity of this process. The server's id is, in this order, the `configured` one, the one stored beside the
    /// pid file, or a new one; it is stored there for the next start, if that is possible.
    pub fn new(configured: Option<&str>, pid_file: &Path) -> Self {
        Self {
            server: server_id(configured, pid_file),
            service: String::from_utf8_lossy(&random_name::<8>()).into_owned(),
            pid: std::process::id(),
            start: Instant::now(),
            argv: std::env::args_os().collect(),
        }
    }
}

fn server_id(configured: Option<&str>, pid_file: &Path) -> String {
    let path = id_file(pid_file);
    let stored = File::open(&path).and_then(|mut file| read_short(&mut file)).unwrap_or_default();
    let stored = stored.trim();
    let known = configured.filter(|id| !id.is_empty()).or_else(|| is_id(stored).then_some(stored));
    let id = known.map_or_else(random_vid, str::to_owned);
    if id != stored {
        let _ = make_parent(&path).and_then(|()| fs::write(&path, &id));
    }
    id
}

/// `x.id` for `x.pid`, else `.id` behind the whole name.
/// Where the id of the server is kept.
pub fn id_file(pid_file: &Path) -> PathBuf {
    if pid_file.extension().is_some_and(|extension| extension == "pid") {
        return pid_file.with_extension("id");
    }
    let mut name = pid_file.as_os_str().to_owned();
    name.push(".id");
    name.into()
}

fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() < LONGEST_ID
        && !text.contains(|c: char| c.is_control() || c.is_whitespace())
}

const LONGEST_ID: usize = 256;

fn read_short(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.take(LONGEST_ID as u64).read_to_string(&mut text)?;
    Ok(text)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("oxcast-process-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn the_pid_file_holds_the_pid_alone() {
        let path = directory("pid").join("objs/oxcast.pid");
        let taken = PidFile::take(&path).unwrap();
        drop(taken);
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o644, 0);
    }

    #[test]
    fn an_old_pid_is_overwritten_whole() {
        let path = directory("old").join("oxcast.pid");
        make_parent(&path).unwrap();
        fs::write(&path, "12345678901234567890\n").unwrap();
        drop(PidFile::take(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
    }

    #[test]
    fn a_second_server_is_refused() {
        // Locks of one process do not exclude each other, so the test runs itself as another one.
        const VARIABLE: &str = "OXCAST_TEST_PID_FILE";
        if let Some(path) = std::env::var_os(VARIABLE) {
            let error = PidFile::take(Path::new(&path)).unwrap_err();
            assert_eq!(error.exit_status(), 11);
            println!("{error}");
            return;
        }
        let path = directory("second").join("oxcast.pid");
        let _taken = PidFile::take(&path).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::tests::a_second_server_is_refused", "--nocapture"]);
        let output = command.env(VARIABLE, &path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains(&format!("already running as process {}", std::process::id())), "{text}");
    }

    #[test]
    fn what_a_pid_file_says() {
        let path = directory("holder").join("oxcast.pid");
        assert_eq!(Holder::of(&path).unwrap(), Holder::Nobody);
        let taken = PidFile::take(&path).unwrap();
        // Locks of one's own are not seen; other processes see them in the test above and end to end.
        assert_eq!(Holder::of(&path).unwrap(), Holder::Dead(std::process::id()));
        taken.release();
        assert_eq!(Holder::of(&path).unwrap(), Holder::Nobody);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert!(Holder::of(path.parent().unwrap()).is_err());
    }

    #[test]
    fn an_orphan_has_no_parent_to_hang_on() {
        assert_eq!(Parent::new(Some(Pid::INIT)), Err(Orphan));
        assert!(!Parent::new(getppid()).unwrap().is_lost());
        assert!(Parent::new(Pid::from_raw(i32::MAX)).unwrap().is_lost());
    }

    #[test]
    fn a_directory_is_no_pid_file() {
        let path = directory("dir");
        fs::create_dir_all(&path).unwrap();
        let error = PidFile::take(&path).unwrap_err();
        assert_eq!(error.exit_status(), 10);
        assert!(error.to_string().contains("cannot take the pid file"), "{error}");
    }

    #[test]
    fn the_server_id_stays() {
        let pid = directory("id").join("objs/oxcast.pid");
        let first = Identity::new(None, &pid);
        assert!(first.server.starts_with("vid-") && first.server.len() == 11);
        assert_eq!(first.service.len(), 8);
        let second = Identity::new(None, &pid);
        assert_eq!(second.server, first.server);
        assert_ne!(second.service, first.service);
        assert_eq!(Identity::new(Some("mine"), &pid).server, "mine");
        assert_eq!(fs::read_to_string(pid.with_extension("id")).unwrap(), "mine");
        fs::write(pid.with_extension("id"), "two words").unwrap();
        assert!(Identity::new(None, &pid).server.starts_with("vid-"));
    }

    #[test]
    fn the_id_file_stands_beside_the_pid_file() {
        assert_eq!(id_file(Path::new("./objs/srs.pid")), Path::new("./objs/srs.id"));
        assert_eq!(id_file(Path::new("/run/oxcast")), Path::new("/run/oxcast.id"));
    }
}
