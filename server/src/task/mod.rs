//! Programs that the server starts: `ingest` pulls inputs, `transcode` works on streams, `exec` runs what the operator wants. They have a thread of
//! their own; they never outlive the server; nobody waits for them. What they do with media they do as clients, through the one door.

mod child;
mod ffmpeg;
mod figures;
mod journal;
mod keeper;
mod outputs;
mod plan;
mod shim;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak, mpsc as std_mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;
use hub::StreamKey;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::{Instrument, info, warn};

use crate::config::Config;
use crate::config::task::{Command, Exec};
use crate::gate::{Passes, Published, Watcher};
use crate::log;
use crate::session::{Cid, Client};

use journal::Journals;
use keeper::Status;
use outputs::Outputs;
use plan::{Facts, Plan};

pub use figures::Figures;
pub use plan::Kind;
pub use shim::become_task;

/// Programs that are kept running at once, at most.
const MOST: usize = 1024;

/// Commands that run once, at once.
const MOST_COMMANDS: usize = 64;

/// What the end of all programs takes at most.
const STOP: Duration = Duration::from_secs(4);

/// A hand on the thread.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    desk: Arc<Desk>,
    runtime: Handle,
    streams: Mutex<HashMap<StreamKey, Followed>>,
    ingests: Mutex<Vec<Kept>>,
    commands: Arc<Semaphore>,
    /// Held by whoever has a program; closed when all have ended.
    alive: Mutex<Option<std_mpsc::Sender<()>>>,
    ended: Mutex<std_mpsc::Receiver<()>>,
    /// Dropped with the last hand, which ends the thread.
    _stop: oneshot::Sender<()>,
}

/// What all of them share.
struct Desk {
    config: ArcSwap<Config>,
    passes: Arc<Passes>,
    outputs: Outputs,
    journals: Journals,
    figures: Figures,
    mode: watch::Sender<Mode>,
    /// By kind and name: two of one name do not run at once.
    turns: Mutex<HashMap<(Kind, String), Weak<Turn>>>,
}

/// Held by the one program of a name that may run.
type Turn = tokio::sync::Mutex<()>;

/// What is to be done when a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Start it again.
    Serving,
    /// Nothing.
    Draining,
    /// Nothing, and the others are to end as well.
    Ending,
}

/// A stream that is published.
struct Followed {
    publisher: Cid,
    programs: Vec<Kept>,
}

/// A program that is kept running; dropping it ends it.
struct Kept {
    status: Arc<Status>,
    _stop: watch::Sender<bool>,
}

/// How a program is doing, for people.
#[derive(Clone, Debug)]
pub struct Report {
    /// What kind of task it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The vhost that it belongs to.
    pub vhost: String,
    /// The stream that it works on, as in the API; empty for those that pull.
    pub stream: String,
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// How long it has been running, or waiting to be started again.
    pub since: Duration,
    /// Starts after the first.
    pub restarts: u64,
    /// How it ended the last time.
    pub reason: String,
}

impl Tasks {
    /// Starts the thread, and no program yet. Those that come back as clients get passes.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(config: Arc<Config>, passes: Arc<Passes>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (alive, ended) = std_mpsc::channel();
        // Programs are tied to the life of this thread.
        std::thread::Builder::new().name("tasks".into()).spawn(move || {
            // Nothing is ever sent: it ends when the sender is gone.
            let _ = runtime.block_on(stopped);
        })?;
        let desk = Desk {
            config: ArcSwap::new(config),
            passes,
            outputs: Outputs::default(),
            journals: Journals::start()?,
            figures: Figures::default(),
            mode: watch::Sender::new(Mode::Serving),
            turns: Mutex::default(),
        };
        Ok(Self(Arc::new(Inner {
            desk: Arc::new(desk),
            runtime: handle,
            streams: Mutex::default(),
            ingests: Mutex::default(),
            commands: Arc::new(Semaphore::new(MOST_COMMANDS)),
            alive: Mutex::new(Some(alive)),
            ended: Mutex::new(ended),
            _stop: stop,
        })))
    }

    /// Follows a configuration from now on: inputs that are new are pulled, those that are gone are not any more, and what has not changed
    /// goes on. For streams, see [`Watcher::turned`].
    pub fn turn(&self, config: &Arc<Config>) {
        self.0.desk.config.store(config.clone());
        if *self.0.desk.mode.borrow() == Mode::Serving {
            let plans = plan::ingests(config);
            self.replace(&mut self.0.ingests.lock(), plans, None);
        }
    }

    /// Inputs are not pulled any more, and what ends is not started again: the server waits for its clients to leave.
    pub fn drain(&self) {
        self.0.desk.mode.send_if_modified(|mode| {
            let serves = *mode == Mode::Serving;
            *mode = if serves { Mode::Draining } else { *mode };
            serves
        });
        self.0.ingests.lock().clear();
    }

    /// Has all programs end; see [`Self::stop`].
    pub fn close(&self) {
        self.0.desk.mode.send_replace(Mode::Ending);
        self.0.ingests.lock().clear();
        self.0.streams.lock().clear();
    }

    /// Ends all programs, and waits for that.
    pub fn stop(&self) {
        self.close();
        drop(self.0.alive.lock().take());
        if self.0.ended.lock().recv_timeout(STOP) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            warn!("programs that were started do not end; they are killed with this process");
        }
    }

    /// How often programs were started.
    pub fn figures(&self) -> &Figures {
        &self.0.desk.figures
    }

    /// All programs that are kept running.
    pub fn reports(&self) -> Vec<Report> {
        let mut reports: Vec<_> = self.0.ingests.lock().iter().map(Kept::report).collect();
        for followed in self.0.streams.lock().values() {
            reports.extend(followed.programs.iter().map(Kept::report));
        }
        reports.sort_by(|a, b| (a.kind.name(), &a.name).cmp(&(b.kind.name(), &b.name)));
        reports
    }

    /// Has exactly these programs run: what runs already goes on.
    fn replace(&self, kept: &mut Vec<Kept>, plans: Vec<Plan>, publisher: Option<Cid>) {
        let mut before = std::mem::take(kept);
        for plan in plans {
            match before.iter().position(|kept| kept.status.plan == plan) {
                Some(at) => kept.push(before.swap_remove(at)),
                None => kept.extend(self.keep(plan, publisher)),
            }
        }
    }

    fn keep(&self, plan: Plan, publisher: Option<Cid>) -> Option<Kept> {
        let alive = self.0.alive.lock();
        let alive = alive.as_ref()?.clone();
        if Arc::strong_count(&self.0.desk) > MOST {
            warn!("{} {}: not started, there are {MOST} programs already", plan.kind.name(), plan.name);
            return None;
        }
        let (status, (stop, stopped)) = (Status::new(plan), watch::channel(false));
        let work = keeper::keep(self.0.desk.clone(), status.clone(), stopped);
        let span = publisher.map_or_else(tracing::Span::none, log::span);
        self.0.runtime.spawn(async move {
            work.instrument(span).await;
            drop(alive);
        });
        Some(Kept { status, _stop: stop })
    }

    /// Runs the commands for something that has happened to a client.
    fn tell(&self, client: &Client, event: &str, of: fn(&Exec) -> &[Command]) {
        let config = self.0.desk.config.load();
        let name = &client.stream.key.vhost;
        let Some(vhost) = config.vhosts.iter().find(|vhost| vhost.name == *name) else { return };
        let commands = vhost.exec.as_ref().map(of).unwrap_or_default();
        if commands.is_empty() || *self.0.desk.mode.borrow() == Mode::Ending {
            return;
        }
        for plan in plan::commands(commands, &Facts::new(client), event) {
            let alive = self.0.alive.lock();
            let Some(alive) = alive.as_ref().cloned() else { return };
            let Ok(place) = self.0.commands.clone().try_acquire_owned() else {
                self.0.desk.figures.failed(Kind::Exec);
                info!("exec {}: not run, {MOST_COMMANDS} commands are at work", plan.name);
                continue;
            };
            let work = keeper::run_once(self.0.desk.clone(), plan).instrument(log::span(client.session.cid));
            self.0.runtime.spawn(async move {
                work.await;
                drop((place, alive));
            });
        }
    }
}

impl Watcher for Tasks {
    fn published(&self, stream: &Published) {
        let publisher = stream.session.cid;
        // Who was there before has left, even if that is still to be told.
        self.0.streams.lock().remove(stream.broadcast.key());
        if *self.0.desk.mode.borrow() != Mode::Serving {
            return;
        }
        let plans = self.plans(stream);
        if plans.is_empty() {
            return;
        }
        let mut programs = Vec::new();
        self.replace(&mut programs, plans, Some(publisher));
        let followed = Followed { publisher, programs };
        self.0.streams.lock().insert(stream.broadcast.key().clone(), followed);
    }

    fn turned(&self, stream: &Published) {
        if *self.0.desk.mode.borrow() != Mode::Serving {
            return;
        }
        let (plans, publisher) = (self.plans(stream), stream.session.cid);
        let mut streams = self.0.streams.lock();
        let followed = streams.entry(stream.broadcast.key().clone());
        let followed = followed.or_insert_with(|| Followed { publisher, programs: Vec::new() });
        if followed.publisher == publisher {
            self.replace(&mut followed.programs, plans, Some(publisher));
        }
    }

    fn unpublished(&self, stream: &Published) {
        let (key, publisher) = (stream.broadcast.key(), stream.session.cid);
        let mut streams = self.0.streams.lock();
        if streams.get(key).is_some_and(|followed| followed.publisher == publisher) {
            streams.remove(key);
        }
        drop(streams);
        self.0.ingests.lock().iter().for_each(|kept| kept.status.lose(key));
        self.tell(&stream.client, "unpublish", |exec| &exec.unpublish);
    }

    fn played(&self, player: &Arc<Client>) {
        self.tell(player, "play", |exec| &exec.play);
    }

    fn stopped(&self, player: &Arc<Client>) {
        self.tell(player, "stop", |exec| &exec.stop);
    }
}

impl Tasks {
    fn plans(&self, stream: &Published) -> Vec<Plan> {
        let is_output = self.0.desk.outputs.has(stream.broadcast.key());
        plan::of_publisher(&stream.client, &stream.vhost, is_output)
    }
}

impl Desk {
    /// What a program of this name waits for before it starts.
    fn turn(&self, plan: &Plan) -> Arc<Turn> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| turn.strong_count() > 0);
        let place = turns.entry((plan.kind, plan.name.clone())).or_default();
        place.upgrade().unwrap_or_else(|| {
            let turn = Arc::default();
            *place = Arc::downgrade(&turn);
            turn
        })
    }
}

impl Kept {
    fn report(&self) -> Report {
        let (plan, state) = (&self.status.plan, self.status.state.lock());
        Report {
            kind: plan.kind,
            name: plan.name.clone(),
            vhost: plan.vhost().to_owned(),
            stream: plan.stream().map(StreamKey::to_string).unwrap_or_default(),
            pid: state.pid,
            since: state.since.elapsed(),
            restarts: self.status.restarts.load(Relaxed),
            reason: state.reason.clone(),
        }
    }
}
