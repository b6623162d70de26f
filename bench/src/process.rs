//! Children that are certain to die with us, and what `/proc` says about their cost.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::Result;

/// A running child in a process group of its own; the group is killed when this is dropped, and the kernel kills the
/// child when we die in whatever way.
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts `program` with `arguments` on the cores `cores` (as `taskset -c` takes them), in `folder`; what it says
    /// goes to the file `log`, except its standard output when `piped`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        program: &Path,
        arguments: &[String],
        cores: &str,
        folder: &Path,
        log: &Path,
        piped: bool,
    ) -> Result<Self> {
        let errors = File::options().create(true).append(true).open(log)?;
        let output = if piped { Stdio::piped() } else { errors.try_clone()?.into() };
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "-c", cores])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("setpriv taskset {}: {error}", program.display()))?;
        Ok(Self { child })
    }

    /// The process id; `setpriv` and `taskset` replace themselves by the program, so it is the program's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The standard output of a child started with `piped`; once.
    pub fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until the child ends well.
    ///
    /// # Errors
    /// When it ends otherwise, or not within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("a tool failed: {status}").into()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err("a tool does not end".into())
    }

    /// Waits until something listens on `address`.
    ///
    /// # Errors
    /// When the child ends before, or nothing listens after ten seconds.
    pub fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended at once: {status}").into());
            }
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("nothing listens on {address}").into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the group is gone already.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A TCP port of 127.0.0.1 that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A UDP port of 127.0.0.1 that nobody has.
///
/// # Errors
/// When there is none.
pub fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// CPU time used so far, in seconds, or used per second, in cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cpu {
    /// All of it, exact to the nanosecond where the kernel keeps scheduler statistics.
    pub total: f64,
    /// In user space, in clock ticks (usually 10 ms).
    pub user: f64,
    /// In the kernel, in clock ticks.
    pub system: f64,
}

impl Cpu {
    /// What the process `id` and all its threads used.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (user, system) = parse_ticks(&stat).ok_or("/proc/PID/stat is short")?;
        let total = scheduled(id).unwrap_or(user + system);
        Ok(Self { total, user, system })
    }

    /// Cores used since `before`, `seconds` ago.
    ///
    /// Threads that ended in between are missing in the exact figure but not in the ticks, which therefore count
    /// when they say clearly more.
    #[must_use]
    pub fn since(self, before: Self, seconds: f64) -> Self {
        let (user, system) = (self.user - before.user, self.system - before.system);
        let rounding = 2.0 / clock_ticks_per_second() as f64;
        let total = (self.total - before.total).max(user + system - rounding);
        Self { total: total / seconds, user: user / seconds, system: system / seconds }
    }
}

/// User and system seconds from the text of `/proc/PID/stat`; the name in parentheses may hold anything.
fn parse_ticks(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / clock_ticks_per_second() as f64);
    Some((seconds()?, seconds()?))
}

/// Seconds on a core of all threads that live, from `/proc/PID/task/*/schedstat`.
fn scheduled(id: u32) -> Option<f64> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).ok()?;
    let nanoseconds = tasks.map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    Some(nanoseconds.sum::<Option<f64>>()? / 1e9)
}

/// The share of time for which core `core` was not idle between two readings of [`core_times`].
pub fn busy(before: (f64, f64), after: (f64, f64)) -> f64 {
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    if all > 0.0 { 1.0 - idle / all } else { 0.0 }
}

/// Idle and total ticks of a core so far, from `/proc/stat`.
///
/// # Errors
/// When there is no such core.
pub fn core_times(core: usize) -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name)).ok_or("no such core")?;
    let ticks: Vec<f64> = line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let [_, _, _, idle, wait, ..] = ticks.as_slice() else { return Err("/proc/stat is short".into()) };
    Ok((idle + wait, ticks.iter().sum()))
}

/// Resident and proportional memory of the process `id`, in MiB.
///
/// # Errors
/// When there is no such process.
pub fn memory(id: u32) -> Result<(f64, f64)> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let field = |name| {
        let line = rollup.lines().find_map(|line: &str| line.strip_prefix(name))?;
        Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
    };
    field("Rss:").zip(field("Pss:")).ok_or_else(|| "smaps_rollup is short".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_an_odd_name() {
        let tick = clock_ticks_per_second() as f64;
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 300 200 0 0 20 0 1 0";
        assert_eq!(parse_ticks(stat), Some((300.0 / tick, 200.0 / tick)));
        assert!(Cpu::of(std::process::id()).unwrap().total > 0.0);
        assert!(memory(std::process::id()).unwrap().0 > 0.0);
    }

    #[test]
    fn threads_that_ended_are_counted() {
        let cpu = |total, user, system| Cpu { total, user, system };
        let before = cpu(1.0, 0.5, 0.5);
        assert_eq!(cpu(3.0, 1.5, 1.5).since(before, 2.0), cpu(1.0, 0.5, 0.5));
        assert_eq!(cpu(1.502, 0.75, 0.75).since(before, 1.0).total, 0.502, "ticks are only rounded");
        assert!(cpu(0.8, 1.5, 1.5).since(before, 1.0).total > 1.9);
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let folder = std::env::temp_dir();
        let log = folder.join(format!("bench-process-{}.log", std::process::id()));
        let sleep = Path::new("sleep");
        let running = Running::start(sleep, &["60".into()], "0", &folder, &log, false).unwrap();
        let stat = format!("/proc/{}", running.id());
        assert!(Path::new(&stat).exists());
        drop(running);
        assert!(!Path::new(&stat).exists());
        fs::remove_file(log).unwrap();
    }
}
