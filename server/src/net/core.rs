//! A core: one thread with its own runtime. A connection stays on the core that accepted it, so that nothing it touches while media flows is
//! shared with another core.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
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
    start: Instant,
    read_buffer: RefCell<Box<[u8]>>,
    write_buffer: RefCell<Vec<u8>>,
}

impl Core {
    fn new(index: usize, start: Instant) -> Rc<Self> {
        Rc::new(Self {
            index,
            relays: Relays::default(),
            merge: Cell::default(),
            start,
            read_buffer: RefCell::new(vec![0; READ_SIZE].into()),
            write_buffer: RefCell::default(),
        })
    }

    /// Time since the server started.
    pub fn now(&self) -> Micros {
        Micros(self.start.elapsed().as_micros() as i64)
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

    /// Adjusts [`Core::merge`] to how busy this core is. Runs for ever.
    async fn watch_load(self: Rc<Self>) {
        const EVERY: Duration = Duration::from_millis(100);
        let (mut wall, mut busy) = (Instant::now(), thread_cpu());
        loop {
            tokio::time::sleep(EVERY).await;
            let (wall_now, busy_now) = (Instant::now(), thread_cpu());
            let load = (busy_now - busy).as_secs_f64() / (wall_now - wall).as_secs_f64().max(1e-3);
            (wall, busy) = (wall_now, busy_now);
            self.merge.set(super::pace::adapt(self.merge.get(), load));
        }
    }
}

fn thread_cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
}

/// The threads of all cores. Dropping this does not stop them; [`Cores::stop`] does.
pub struct Cores {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Cores {
    /// Starts `count` cores. On each, `serve` makes the future that does all its work; it runs until the stop.
    pub fn start<F, S>(count: usize, serve: F) -> io::Result<Self>
    where
        F: Fn(Rc<Core>) -> S + Send + Clone + 'static,
        S: Future<Output = ()> + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let start = Instant::now();
        let mut threads = Vec::new();
        for index in 0..count {
            let (serve, mut stopped) = (serve.clone(), stopped.clone());
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let work = move || {
                let local = LocalSet::new();
                let core = Core::new(index, start);
                local.spawn_local(core.clone().watch_load());
                local.spawn_local(serve(core));
                // The sender lives as long as the server does, or has said stop.
                let _ = runtime.block_on(local.run_until(stopped.wait_for(|stop| *stop))).is_ok();
            };
            threads.push(std::thread::Builder::new().name(format!("core-{index}")).spawn(work)?);
        }
        Ok(Self { threads, stop })
    }

    /// Stops all cores and drops every connection.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a core ended with a panic");
            }
        }
    }
}
