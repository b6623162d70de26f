//! The control socket, beside the pid file: how the commands of the same binary speak with the running server. Who may is decided by the
//! system: root, and the user that the server runs as. One line of JSON asks, one line answers.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tracing::warn;

use crate::config::Change;
use crate::reload::{Reloads, What};

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Wish {
    /// Reload, or with `dry` only say what would happen.
    Reload {
        /// See there.
        dry: bool,
    },
    /// Let a new process of today's program file take over.
    Upgrade,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done, or would be; what is different.
    Changes(Vec<String>),
    /// Why not.
    Refused(String),
}

/// The socket of a server with this pid file.
pub fn path(pid: &Path) -> PathBuf {
    pid.with_extension("sock")
}

/// Who connects has this long to say what he wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// A wish is not longer than this.
const LONGEST: u64 = 4096;

/// The socket of this server; dropping it removes the file.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket. To be called by who holds the pid file, within a runtime.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn open(pid: &Path) -> io::Result<Self> {
        let path = path(pid);
        // Left behind by one that was killed: the pid file is ours.
        let _ = fs::remove_file(&path);
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    /// Serves whoever may ask, for ever.
    pub async fn serve(self, reloads: Reloads) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(answer(stream, reloads.clone()))),
                Err(e) => {
                    warn!("control: {e}");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, reloads: Reloads) {
    let Ok(peer) = stream.peer_cred() else { return };
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        warn!("control: user {} may not give commands", peer.uid());
        return;
    }
    let mut line = String::new();
    let (read, _) = stream.split();
    let asked = tokio::io::BufReader::new(read.take(LONGEST));
    let said = timeout(PATIENCE, async { { asked }.read_line(&mut line).await }).await;
    let reply = match (said, serde_json::from_str(&line)) {
        (Ok(Ok(_)), Ok(wish)) => {
            let process = peer.pid().map_or_else(String::new, |pid| format!(" of process {pid}"));
            let what = match wish {
                Wish::Reload { dry } => What::Reload { dry },
                Wish::Upgrade => What::Upgrade,
            };
            match reloads.run(format!("a command{process}, user {}", peer.uid()), what).await {
                Ok(changes) => Reply::Changes(changes.iter().map(Change::to_string).collect()),
                Err(reason) => Reply::Refused(reason),
            }
        }
        _ => Reply::Refused("this command is not known here".into()),
    };
    let text = serde_json::to_string(&reply).unwrap_or_default() + "\n";
    // Nobody has to be there to read it.
    let _ = stream.write_all(text.as_bytes()).await;
}

/// Asks the server with this pid file.
///
/// # Errors
/// There is none, or it does not answer.
pub fn ask(pid: &Path, wish: Wish) -> io::Result<Reply> {
    /// A reload reads files and opens ports, a new process has a minute to come up.
    const LIMIT: Duration = Duration::from_secs(90);
    let mut stream = StdStream::connect(path(pid))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all((serde_json::to_string(&wish)? + "\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
