//! A core: one thread with its own runtime. A connection stays on the core that accepted it, so that nothing it touches while media flows is
//! shared with another core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use media::Micros;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::relays::Relays;

/// The most that one read takes from a socket.
const READ_SIZE: usize = 64 << 10;

/// What the tasks of one core share; it never leaves its thread.
pub struct Core {
    /// Counts from 0.
    pub index: usize,
    /// The relays of the streams that are played on this core.
    pub relays: Relays,
    /// How long rounds of sending wait for more, where the configuration leaves it to us.
    pub merge: Cell<Duration>,
    stage: watch::Receiver<Stage>,
    start: Instant,
    read_buffer: RefCell<Box<[u8]>>,
    write_buffer: RefCell<Vec<u8>>,
}

impl Core {
    fn new(index: usize, start: Instant, stage: watch::Receiver<Stage>) -> Rc<Self> {
        Rc::new(Self {
            index,
            relays: Relays::default(),
            merge: Cell::default(),
            stage,
            start,
            read_buffer: RefCell::new(vec![0; READ_SIZE].into()),
            write_buffer: RefCell::default(),
        })
    }

    /// Time since the server started.
    pub fn now(&self) -> Micros {
        Micros(self.start.elapsed().as_micros() as i64)
    }

    /// Waits until nobody new is to be let in: listeners close, and connections end after what they are at.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        let mut stage = self.stage.clone();
        // Without its sender the server has ended.
        async move { drop(stage.wait_for(|stage| *stage != Stage::Open).await) }
    }

    /// Lends the buffer into which all connections of this core read. Not to be held over an `await`.
    pub fn with_read_buffer<T>(&self, f: impl FnOnce(&mut [u8]) -> T) -> T {
        f(&mut self.read_buffer.borrow_mut())
    }

    /// Lends an empty buffer for laying out what is about to be sent. Not to be held over an `await`.
    pub fn with_write_buffer<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let buffer = &mut *self.write_buffer.borrow_mut();
        buffer.clear();
        // One large keyframe must not make the buffer large for ever.
        buffer.shrink_to(1 << 20);
        f(buffer)
    }

    /// Adjusts [`Core::merge`] to how busy this core is, and tells the load of its last second. Runs for ever.
    async fn watch_load(self: Rc<Self>, loads: Loads) {
        const EVERY: Duration = Duration::from_millis(100);
        const SECOND: usize = 10;
        let mut past = VecDeque::from([Sample::now()]);
        loop {
            tokio::time::sleep(EVERY).await;
            let now = Sample::now();
            let (last, oldest) = (past[past.len() - 1], past[0]);
            self.merge.set(super::pace::adapt(self.merge.get(), now.load_since(last)));
            let load = &loads.0[self.index];
            load.percent.store((now.load_since(oldest) * 100.0).round() as u32, Relaxed);
            load.beats.fetch_add(1, Relaxed);
            past.push_back(now);
            if past.len() > SECOND {
                past.pop_front();
            }
        }
    }
}

/// The time, and how much of it this thread has used.
#[derive(Clone, Copy)]
struct Sample {
    wall: Instant,
    busy: Duration,
}

impl Sample {
    fn now() -> Self {
        Self { wall: Instant::now(), busy: thread_cpu() }
    }

    /// 1 for a thread that never slept.
    fn load_since(self, earlier: Self) -> f64 {
        (self.busy - earlier.busy).as_secs_f64() / (self.wall - earlier.wall).as_secs_f64().max(1e-3)
    }
}

fn thread_cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
}

/// How busy each core was in the last second, in percent.
#[derive(Clone)]
pub struct Loads(Arc<[Load]>);

#[derive(Default)]
struct Load {
    percent: AtomicU32,
    /// Rises ten times a second, as long as the core does not hang.
    beats: AtomicU32,
}

impl Loads {
    /// The load of each core in percent.
    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|load| load.percent.load(Relaxed))
    }

    /// A number for each core, which is another one a second later unless the core hangs.
    pub fn beats(&self) -> Vec<u32> {
        self.0.iter().map(|load| load.beats.load(Relaxed)).collect()
    }

    /// The load of the busiest core in percent.
    pub fn busiest(&self) -> u32 {
        self.all().max().unwrap_or(0)
    }
}

/// What the cores are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Nobody new is let in.
    Closing,
    Stopped,
}

/// The threads of all cores. Dropping this does not stop them; [`Cores::stop`] does.
pub struct Cores {
    threads: Vec<JoinHandle<()>>,
    stage: watch::Sender<Stage>,
    loads: Loads,
}

impl Cores {
    /// Starts a core for each of `parts`, which is what it alone gets. On each, `serve` makes the future that does all its
    /// work; it runs until the stop.
    pub fn start<P, F, S>(parts: Vec<P>, serve: F) -> io::Result<Self>
    where
        P: Send + 'static,
        F: Fn(Rc<Core>, P) -> S + Send + Clone + 'static,
        S: Future<Output = ()> + 'static,
    {
        let (stage, told) = watch::channel(Stage::Open);
        let loads = Loads(parts.iter().map(|_| Load::default()).collect());
        let start = Instant::now();
        let mut threads = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let (serve, mut told, loads) = (serve.clone(), told.clone(), loads.clone());
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let work = move || {
                let local = LocalSet::new();
                let core = Core::new(index, start, told.clone());
                local.spawn_local(core.clone().watch_load(loads));
                local.spawn_local(serve(core, part));
                // The sender lives as long as the server does, or has said stop.
                let stopped = told.wait_for(|stage| *stage == Stage::Stopped);
                let _ = runtime.block_on(local.run_until(stopped)).is_ok();
            };
            threads.push(std::thread::Builder::new().name(format!("core-{index}")).spawn(work)?);
        }
        Ok(Self { threads, stage, loads })
    }

    /// How busy they are.
    pub fn loads(&self) -> Loads {
        self.loads.clone()
    }

    /// Has all cores let nobody in any more; see [`Core::closing`].
    pub fn close(&self) {
        self.stage.send_replace(Stage::Closing);
    }

    /// Stops all cores and drops every connection.
    pub fn stop(self) {
        self.stage.send_replace(Stage::Stopped);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a core ended with a panic");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn each_core_gets_its_part_and_is_told_when_to_close() {
        let (said, heard) = mpsc::channel();
        let cores = Cores::start(vec!["a", "b"], move |core, part| {
            let said = said.clone();
            async move {
                core.closing().await;
                said.send((core.index, part)).unwrap();
            }
        })
        .unwrap();
        assert!(heard.try_recv().is_err());
        cores.close();
        let mut all: Vec<_> = (0..2).map(|_| heard.recv().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, [(0, "a"), (1, "b")]);
        cores.stop();
    }

    #[test]
    fn the_busiest_core_is_seen() {
        let cores = Cores::start(vec![false, true], |_, busy| async move {
            if !busy {
                return;
            }
            loop {
                std::hint::black_box((0..100_000).sum::<u64>());
                tokio::task::yield_now().await;
            }
        })
        .unwrap();
        let loads = cores.loads();
        let deadline = Instant::now() + Duration::from_secs(10);
        while loads.busiest() < 5 {
            assert!(Instant::now() < deadline, "{}", loads.busiest());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(loads.busiest() <= 101);
        cores.stop();
    }
}
