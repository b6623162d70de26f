//! `oxcast status`: whether the server of a configuration runs, by its pid file, in words and as an exit status that
//! service scripts understand.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, absolute};
use std::time::Duration;
use std::{fs, io};

use procfs::process::Process;
use procfs::{Current, ProcResult, Uptime, WithCurrentSystemInfo, ticks_per_second};

use crate::config::{Config, Environment, Source};
use crate::process::Holder;

/// The exit statuses, which are those of the Linux Standard Base.
mod exit {
    pub(super) const RUNNING: u8 = 0;
    pub(super) const DEAD: u8 = 1;
    pub(super) const STOPPED: u8 = 3;
    pub(super) const UNKNOWN: u8 = 4;
}

/// What to print about the server of this configuration, and the exit status.
pub fn status(source: &Source, env: &Environment) -> (String, u8) {
    let config = match Config::load(source, env) {
        Ok(config) => config,
        Err(error) => return (format!("{error}\n"), exit::UNKNOWN),
    };
    let path = config.work_dir.join(&config.pid);
    let path = absolute(&path).unwrap_or(path);
    let file = path.display();
    match Holder::of(&path) {
        Ok(Holder::Running(Some(pid))) => {
            (format!("running: process {pid}{}\n", details(pid)), exit::RUNNING)
        }
        Ok(Holder::Running(None)) => (format!("running: {file} is locked\n"), exit::RUNNING),
        Ok(Holder::Dead(pid)) => {
            (format!("dead: process {pid} has ended without cleaning up {file}\n"), exit::DEAD)
        }
        Ok(Holder::Nobody) => (format!("not running: nobody holds {file}\n"), exit::STOPPED),
        Err(e) => (format!("unknown: {file}: {e}\n"), exit::UNKNOWN),
    }
}

/// What the system tells about a process; nothing where it tells nothing.
fn details(pid: u32) -> String {
    let mut text = String::new();
    match program(pid) {
        Ok(Program::Ours) => text.push_str(&format!(", oxcast {}", crate::VERSION)),
        // It may be of another version, and must not be run to ask for it.
        Ok(Program::Other(path)) => text.push_str(&format!(", another program than this: {path}")),
        Err(_) => {}
    }
    if let Ok(usage) = Usage::of(pid) {
        let percent = usage.busy.as_secs_f64() * 100.0 / usage.up.as_secs_f64().max(1.0);
        let memory = usage.memory as f64 / f64::from(1 << 20);
        let up = clock(usage.up);
        // Writing to a string does not fail.
        let _ = write!(text, ", up {up}, memory {memory:.1} MiB, processor {percent:.1}% on average");
    }
    text
}

enum Program {
    Ours,
    Other(String),
}

fn program(pid: u32) -> io::Result<Program> {
    let link = format!("/proc/{pid}/exe");
    let (theirs, ours) = (fs::metadata(&link)?, fs::metadata("/proc/self/exe")?);
    if (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()) {
        return Ok(Program::Ours);
    }
    Ok(Program::Other(fs::read_link(Path::new(&link))?.display().to_string()))
}

struct Usage {
    up: Duration,
    /// Of all cores together.
    busy: Duration,
    /// Resident, in bytes.
    memory: u64,
}

impl Usage {
    fn of(pid: u32) -> ProcResult<Self> {
        let stat = Process::new(pid.cast_signed())?.stat()?;
        let seconds = |ticks: u64| Duration::from_secs_f64(ticks as f64 / ticks_per_second() as f64);
        let since_boot = Uptime::current()?.uptime_duration();
        Ok(Self {
            up: since_boot.saturating_sub(seconds(stat.starttime)),
            busy: seconds(stat.utime + stat.stime),
            memory: stat.rss_bytes().get(),
        })
    }
}

/// `3 d 04:05:06`, without days that are not there.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let clock = format!("{:02}:{:02}:{:02}", hours % 24, minutes % 60, seconds % 60);
    if days == 0 { clock } else { format!("{days} d {clock}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        assert_eq!(clock(Duration::from_millis(59_900)), "00:00:59");
        assert_eq!(clock(Duration::from_secs(3 * 86_400 + 4 * 3600 + 5 * 60 + 6)), "3 d 04:05:06");
    }

    #[test]
    fn this_process_is_of_this_program() {
        let text = details(std::process::id());
        assert!(text.starts_with(&format!(", oxcast {}, up ", crate::VERSION)), "{text}");
        assert!(text.contains(" MiB, processor "), "{text}");
        assert!(matches!(program(1), Ok(Program::Other(_)) | Err(_)));
        assert_eq!(details(u32::MAX), "");
    }

    #[test]
    fn a_configuration_that_is_refused_says_nothing_about_a_server() {
        let source = Source::File("/nonexistent/x.conf".into());
        let (text, status) = status(&source, &Environment::default());
        assert!(text.contains("no configuration file"), "{text}");
        assert_eq!(status, exit::UNKNOWN);
    }
}
