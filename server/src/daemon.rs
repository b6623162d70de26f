//! Going to the background: the command that was typed starts the same binary once more in a session of its own, waits
//! until that one serves or gives up, and says so. (A fork would take all locks of all threads along in whatever state.)

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::absolute;
use std::process::{Command, ExitCode, ExitStatus, id};

use rustix::fs::{FileType, fstat};
use rustix::process::{getppid, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::config::{Config, Environment, Tank};

/// Names the process that waits for us. It counts only where that is our parent, so that what a daemon starts is not
/// taken for a daemon.
const STARTER: &str = "OXCAST_STARTER";

/// Starts the daemon and waits until it is ready. Its errors have been seen when this returns; the status to exit with
/// is 0, or the daemon's own.
pub fn start(config: &Config) -> ExitCode {
    match launch() {
        Ok(Launched::Ready(pid)) => {
            // Nobody has to be there to read it.
            let _ = writeln!(
                io::stdout(),
                "oxcast {}: process {pid} runs in the background, the log goes to {}",
                crate::VERSION,
                log_place(config)
            );
            ExitCode::SUCCESS
        }
        Ok(Launched::Failed(status)) => match status.code().map(u8::try_from) {
            Some(Ok(code @ 1..)) => ExitCode::from(code),
            _ => refused(&status),
        },
        Err(e) => refused(&e),
    }
}

fn refused(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("oxcast: cannot start in the background: {why}");
    ExitCode::from(crate::cli::REFUSED)
}

fn log_place(config: &Config) -> String {
    match config.log.tank {
        Tank::Console => "this standard output".into(),
        Tank::File => {
            let path = config.work_dir.join(&config.log.file);
            absolute(&path).unwrap_or(path).display().to_string()
        }
    }
}

enum Launched {
    Ready(u32),
    Failed(ExitStatus),
}

fn launch() -> io::Result<Launched> {
    let (mut news, theirs) = io::pipe()?;
    let mut args = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).env(STARTER, id().to_string()).stdin(theirs);
    let mut daemon = command.spawn()?;
    // Our own copy of their end would keep the pipe open after theirs is closed.
    drop(command);
    match news.read_exact(&mut [0]) {
        Ok(()) => Ok(Launched::Ready(daemon.id())),
        Err(_) => daemon.wait().map(Launched::Failed),
    }
}

/// Seen from the daemon: the process that waits for it, at the other end of standard input.
pub struct Starter(());

impl Starter {
    /// The one that waits for this process, if one does; this process leaves its session then, and with it the terminal.
    pub fn of_process(env: &Environment) -> Option<Self> {
        let parent = getppid()?.as_raw_nonzero().to_string();
        if env.value(STARTER) != Some(&parent) {
            return None;
        }
        // This fails only for who has a session of its own already.
        let _ = setsid();
        Some(Self(()))
    }

    /// Says that the server serves, and lets go of everything that somebody may wait to see closed. Files stay open, and
    /// so does standard output where the log goes there.
    ///
    /// # Errors
    /// Nobody waits any more: the start was interrupted.
    pub fn tell_ready(self, tank: Tank) -> io::Result<()> {
        let news = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&nothing)?;
        if tank == Tank::File && !is_file(io::stdout().as_fd()) {
            dup2_stdout(&nothing)?;
        }
        if !is_file(io::stderr().as_fd()) {
            dup2_stderr(&nothing)?;
        }
        (&news).write_all(b"\n")
    }
}

fn is_file(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
}
