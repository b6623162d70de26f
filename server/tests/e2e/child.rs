//! A program that was started, and the lines that it writes. It does not survive its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Lines as they come.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn follow(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(from);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                let (all, more) = &*lines.0;
                all.lock().unwrap().push(text);
                more.notify_all();
            }
        })
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits until `found` finds something in the lines.
    pub fn wait<T>(&self, limit: Duration, mut found: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let (all, more) = &*self.0;
        let mut lines = all.lock().unwrap();
        loop {
            if let Some(found) = found(&lines) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = more.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// See the module.
pub struct Running {
    name: String,
    child: std::process::Child,
    /// Standard output.
    pub out: Lines,
    /// Standard error.
    pub err: Lines,
    followers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a program; `name` is for failures.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {command:?}: {e}"));
        let (out, err) = (Lines::default(), Lines::default());
        let followers =
            vec![out.follow(child.stdout.take().unwrap()), err.follow(child.stderr.take().unwrap())];
        Self { name: name.into(), child, out, err, followers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    /// Waits until it ends by itself; all its lines have been read then.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                self.followers.drain(..).for_each(|f| f.join().unwrap());
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} has not ended within {limit:?}; it says:\n{}",
                self.name,
                self.err.all().join("\n")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it ends, and demands success.
    pub fn succeed(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(status.success(), "{}: {status}; it says:\n{}", self.name, self.err.all().join("\n"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.followers.drain(..).for_each(|f| drop(f.join()));
    }
}
