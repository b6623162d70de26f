//! The queue between those who log and the thread that writes. A full queue loses lines, and says later how many.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tracing::Level;

use super::line::{Line, MAX, Style};
use super::tank::Tank;
use crate::session::Cid;

/// Lines that may wait.
const LENGTH: usize = 4096;

/// Bytes that are written at once; a note of the log about itself may be added.
const BATCH: usize = 64 << 10;

/// How long the end of the process may be held up by a tank that does not take its lines.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where lines enter.
pub(super) struct Queue {
    /// `None` only wakes the thread.
    sender: SyncSender<Option<Line>>,
    shared: Arc<Shared>,
}

/// The thread that writes; dropping it ends it.
pub(super) struct Writer {
    waker: SyncSender<Option<Line>>,
    shared: Arc<Shared>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

/// How many lines there were.
#[derive(Clone)]
pub struct Meter(Arc<Shared>);

impl Meter {
    /// Lines by their level, the gravest first, and how many of each.
    pub fn lines(&self) -> impl Iterator<Item = (Level, u64)> + '_ {
        LEVELS.into_iter().zip(self.0.lines.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Lines that were lost.
    pub fn lost(&self) -> u64 {
        self.0.lost_ever.load(Ordering::Relaxed)
    }
}

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

#[derive(Default)]
struct Shared {
    /// Since the last line that told of it, and since the start.
    lost: AtomicU64,
    lost_ever: AtomicU64,
    /// In the order of [`LEVELS`].
    lines: [AtomicU64; 5],
    reopen: AtomicBool,
    end: AtomicBool,
    /// Where lines go from now on; there is one if `turned`.
    next: Mutex<Option<Tank>>,
    turned: AtomicBool,
}

/// Starts the thread that writes into `tank`.
pub(super) fn start(tank: Tank, style: Arc<RwLock<Style>>, cid: Cid) -> io::Result<(Queue, Writer)> {
    let (sender, receiver) = mpsc::sync_channel(LENGTH);
    let (alive, ended) = mpsc::channel();
    let shared = Arc::<Shared>::default();
    let desk = Desk { receiver, shared: shared.clone(), tank, style, cid, batch: Vec::new(), _alive: alive };
    thread::Builder::new().name("log".into()).spawn(move || desk.run())?;
    let queue = Queue { sender: sender.clone(), shared: shared.clone() };
    Ok((queue, Writer { waker: sender, shared, ended }))
}

impl Queue {
    /// Hands over a line; never waits.
    pub(super) fn push(&self, line: Line) {
        if let Some(at) = LEVELS.iter().position(|level| *level == line.level) {
            self.shared.lines[at].fetch_add(1, Ordering::Relaxed);
        }
        if self.sender.try_send(Some(line)).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            self.shared.lost_ever.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writer {
    pub(super) fn meter(&self) -> Meter {
        Meter(self.shared.clone())
    }

    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Has lines written into another tank from now on. Those that wait go there, too.
    pub(super) fn turn(&self, tank: Tank) {
        *self.shared.next.lock() = Some(tank);
        self.shared.turned.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // A full queue wakes it as well.
        let _ = self.waker.try_send(None);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        self.wake();
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// What the thread owns.
struct Desk {
    receiver: Receiver<Option<Line>>,
    shared: Arc<Shared>,
    tank: Tank,
    style: Arc<RwLock<Style>>,
    cid: Cid,
    batch: Vec<u8>,
    _alive: mpsc::Sender<()>,
}

impl Desk {
    fn run(mut self) {
        while let Ok(next) = self.receiver.recv() {
            if self.shared.turned.swap(false, Ordering::Acquire)
                && let Some(tank) = self.shared.next.lock().take()
            {
                self.tank = tank;
            }
            // Before the line that says so is written.
            if self.shared.reopen.swap(false, Ordering::Acquire)
                && let Err(error) = self.tank.reopen()
            {
                self.note(
                    Level::ERROR,
                    format_args!("the log cannot be reopened and stays where it is: {error}"),
                );
                self.write(None);
            }
            self.write(next);
            if self.shared.end.load(Ordering::Acquire) {
                while let Ok(next) = self.receiver.try_recv() {
                    self.write(next);
                }
                return self.write(None);
            }
        }
    }

    /// Writes `first` and what is queued behind it, as much as one batch takes.
    fn write(&mut self, first: Option<Line>) {
        let lines = self.gather(first);
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.note(Level::WARN, format_args!("the log lost {lost} lines, it was too slow for them"));
        }
        if let Err(error) = self.tank.make_room(self.batch.len()) {
            self.note(
                Level::WARN,
                format_args!("the log file cannot be put aside and goes on growing: {error}"),
            );
        }
        if !self.batch.is_empty()
            && let Err(error) = self.tank.write(&self.batch)
        {
            self.lament(&error, lines, lost);
        }
        self.batch.clear();
    }

    /// A line of the log about itself.
    fn note(&mut self, level: Level, message: fmt::Arguments<'_>) {
        let line = self.style.read().own(level, self.cid, message);
        self.tank.put(&line, &mut self.batch);
    }

    /// Fills the batch; with how many lines.
    fn gather(&mut self, first: Option<Line>) -> u64 {
        let mut lines = 0;
        let mut next = Some(first);
        while let Some(line) = next {
            if let Some(line) = line {
                self.tank.put(&line, &mut self.batch);
                lines += 1;
            }
            next = if self.batch.len() + MAX < BATCH { self.receiver.try_recv().ok() } else { None };
        }
        lines
    }

    /// A tank that takes nothing may take something later.
    fn lament(&self, error: &io::Error, lines: u64, lost_before: u64) {
        self.shared.lost_ever.fetch_add(lines, Ordering::Relaxed);
        if self.shared.lost.fetch_add(lines + lost_before, Ordering::Relaxed) == 0 {
            // Standard error may be as broken, and `eprintln` would panic then.
            let _ = writeln!(io::stderr(), "cannot write the log: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::config::LogFormat;

    #[test]
    fn a_stuck_tank_loses_lines_and_says_how_many() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let style = Style { zone: TimeZone::UTC, pid: 1, format: LogFormat::Text };
        let cid = Cid::random();
        let shared = Arc::new(RwLock::new(style.clone()));
        let (queue, writer) = start(Tank::stream(ours), shared, cid).unwrap();
        let text = "x".repeat(1000);
        let total = 3 * LENGTH;
        for n in 0..total {
            queue.push(style.own(Level::INFO, cid, format_args!("{n} {text}")));
        }
        assert!(queue.shared.lost.load(Ordering::Relaxed) > 0);
        let reader = thread::spawn(move || {
            let mut text = String::new();
            theirs.read_to_string(&mut text).unwrap();
            text
        });
        drop((queue, writer));
        let text = reader.join().unwrap();
        let lost: usize = text
            .lines()
            .filter_map(|l| l.split("lost ").nth(1)?.split(' ').next()?.parse::<usize>().ok())
            .sum();
        let came = text.lines().filter(|l| l.ends_with('x')).count();
        assert_eq!(came + lost, total);
    }
}
