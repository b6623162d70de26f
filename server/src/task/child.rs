//! One run of a program: a process group of its own, whose output is followed. It is ended as a whole, politely first.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::journal::Journal;
use super::shim;

/// What is to be run.
#[derive(Debug, Default)]
pub(super) struct Invocation {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// Where its output is appended to, if it is not for the log.
    pub(super) stdout: Option<String>,
    /// The same for standard error.
    pub(super) stderr: Option<String>,
}

/// Between the request to end and the end.
const GRACE: Duration = Duration::from_secs(1);

/// What was printed last may be on its way when a program has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How often a program is looked at: one that ends is not started again within seconds.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Child {
    process: std::process::Child,
    group: Pid,
    output: JoinHandle<()>,
}

impl Child {
    /// Starts a program. To be called from the thread of the tasks, with which it ends.
    ///
    /// # Errors
    /// When there can be no further process.
    pub(super) fn start(invocation: &Invocation, journal: Journal) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let Invocation { words, stdout, stderr } = invocation;
        let (output, theirs) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let mut command = shim::command(words, stdout.as_deref(), stderr.as_deref());
        command.process_group(0).stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(theirs);
        let process = command.spawn()?;
        // With our own copies of their end, the pipe would never be closed.
        drop(command);
        let group = Pid::from_child(&process);
        Ok(Self { process, group, output: tokio::spawn(journal.follow(output)) })
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the process has ended by itself. May be dropped and called again.
    pub(super) async fn ended(&self) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Ok(None) = waitid(WaitId::Pid(self.group), look) {
            sleep(LOOK).await;
        }
    }

    /// Ends it, unless it has ended already, and what it has started, and waits for that.
    pub(super) async fn end(mut self) -> Option<ExitStatus> {
        // A process that has ended keeps its id until it is waited for, and so does a group until its last process has.
        let _ = kill_process_group(self.group, Signal::TERM);
        let politely = async {
            self.ended().await;
            let status = self.process.wait().ok();
            while test_kill_process_group(self.group).is_ok() {
                sleep(LOOK).await;
            }
            status
        };
        let status = match timeout(GRACE, politely).await {
            Ok(status) => status,
            Err(_) => {
                let _ = kill_process_group(self.group, Signal::KILL);
                self.ended().await;
                self.process.wait().ok()
            }
        };
        if timeout(LAST_WORDS, &mut self.output).await.is_err() {
            self.output.abort();
        }
        status
    }
}
