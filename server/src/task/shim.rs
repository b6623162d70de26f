//! Seen from a started program: the few steps between the server and it. The server starts itself once more; this process ties its life to the
//! server's, sends its output where it belongs, and becomes the program.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::stdio::{dup2_stderr, dup2_stdout};

/// The first argument of a process that is to become a program.
const WORD: &str = "--become";

/// What shells exit with when they cannot start a program.
const CANNOT: u8 = 127;

/// The command that runs `program`; standard output and error are appended to these files, if there are any.
pub(super) fn command(program: &[String], stdout: Option<&str>, stderr: Option<&str>) -> Command {
    // This very file, even if another one has its name by now.
    let mut command = Command::new("/proc/self/exe");
    command.args([WORD, &std::process::id().to_string()]);
    command.args([stdout, stderr].map(Option::unwrap_or_default)).args(program);
    command
}

/// Becomes the program that the arguments name; returns if they ask for something else, or with what to exit with if there is no such program.
pub fn become_task(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != OsStr::new(WORD) {
        return None;
    }
    let (parent, stdout, stderr, program) = (args.next()?, args.next()?, args.next()?, args.next()?);
    // However the server ends, it takes its programs along; it may have ended by now.
    let tied = set_parent_process_death_signal(Some(Signal::KILL));
    let is_there = getppid().is_some_and(|pid| *parent == *pid.as_raw_nonzero().to_string());
    if tied.is_err() || !is_there {
        return Some(ExitCode::from(CANNOT));
    }
    for (path, is_error) in [(stdout, false), (stderr, true)] {
        if let Err(e) = redirect(Path::new(&path), is_error) {
            eprintln!("cannot write {}: {e}", path.display());
            return Some(ExitCode::from(CANNOT));
        }
    }
    let e = Command::new(&program).args(args).exec();
    eprintln!("cannot start {}: {e}", program.display());
    Some(ExitCode::from(CANNOT))
}

fn redirect(path: &Path, is_error: bool) -> std::io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let file: File = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
    if is_error {
        dup2_stderr(file)?
    } else {
        dup2_stdout(file)?
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_arguments_are_none_of_its_business() {
        for line in
            ["oxcast", "oxcast -c a.conf", "oxcast status", "oxcast --become", "oxcast --become 1 a b"]
        {
            assert!(become_task(line.split(' ').map(OsString::from)).is_none(), "{line}");
        }
    }

    #[test]
    fn who_is_no_parent_starts_nothing() {
        let args = ["oxcast", WORD, "1", "", "", "/bin/true"].map(OsString::from);
        // Not called in this process with our own parent: it would become the program.
        if std::os::unix::process::parent_id() != 1 {
            let status = std::thread::spawn(|| become_task(args)).join().unwrap();
            assert!(status.is_some());
            set_parent_process_death_signal(None).unwrap();
        }
    }
}
