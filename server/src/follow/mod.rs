//! Outputs that follow published streams on a thread that may wait for disks: segments, recordings, manifests. What is the same for all of them is
//! here, what each makes of a stream is not.
//!
//! An [`Output`] says what it wants to know of a vhost, which form of a stream it reads, and how it opens its own [`Stream`]; a [`Follower`] does the
//! rest. Each follower has one thread, so that a disk that hangs holds up no other kind of output, and on it one task for each stream.
//!
//! What happens to a stream, in this order and on the follower's thread alone:
//!
//! 1. The gate tells of a publisher before its first frame. If [`Output::settings`] has some for the stream, it is subscribed to at once, on the
//!    publisher's core; [`Output::open`] makes the [`Stream`], and [`Stream::begin`] gives it the publisher.
//! 2. [`Stream::take`] gets each unit, once and in order: first what is needed before the others (`Place::Init`), if there is such.
//! 3. Units that the thread was too late for are told by [`Stream::lose`]; those that follow begin at a place where a reader may start.
//! 4. Another publisher on the same broadcast, the one before having only just left: [`Stream::renew`], between the last unit of the one and the first
//!    unit of the other. Nothing is subscribed to anew.
//! 5. The publisher is gone and nobody has come: [`Stream::leave`]. Then the stream rests for [`Stream::rest`], and goes on from 1 (with
//!    [`Stream::turn`]) if somebody comes meanwhile.
//! 6. A reload has changed the settings: the subscription is given up, what has come of it is still taken, and the stream goes on from 1 by
//!    [`Stream::turn`]. Without settings it rests, as in 5, but was never left.
//! 7. [`Stream::end`], once: it has rested, or the server stops. When it stops, what has come is taken before; [`Stream::leave`] is said only if the
//!    publisher was seen to leave.
//!
//! Every method may wait for files; others of the same kind wait with it. When a disk is so slow that the hub's lane is full (units by number and
//! by weight), units are lost here and nowhere else: publishers and players notice nothing.

pub mod file;
mod work;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use hub::{Broadcast, StreamKey, Subscription};
use media::{Stamped, Unit};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use crate::config::Vhost;
use crate::gate::{Published, Reporter, Watcher};
use crate::session::Session;

/// A kind of output. It is shared by the publishers' cores and the follower's thread.
pub trait Output: Send + Sync + 'static {
    /// What it is called: its thread, and the beginning of its lines in the log.
    const NAME: &'static str;
    /// What a vhost says about it. Where it is another one after a reload, the stream turns.
    type Settings: PartialEq + Send + Sync + 'static;
    /// What it reads.
    type Unit: Unit;
    /// What a form shares with the stream that is made of it; `()` if nothing.
    type Link: Send + 'static;
    /// What becomes of a stream.
    type Stream: Stream<Unit = Self::Unit, Link = Self::Link>;

    /// What goes for a stream of this vhost; nothing if it is not to be followed. Must not wait.
    fn settings(&self, key: &StreamKey, vhost: &Vhost) -> Option<Self::Settings>;

    /// Subscribes to the form. Must not wait. A form is found by its type: whoever subscribes first decides how it is made.
    fn subscribe(
        &self,
        broadcast: &Arc<Broadcast>,
        settings: &Self::Settings,
    ) -> (Subscription<Self::Unit>, Self::Link);

    /// The settings have changed: ends the form (`Broadcast::retire`), if it is made as they say and nobody else reads it, so that the next subscription
    /// gets one that is made anew. Must not wait.
    fn retire(&self, broadcast: &Broadcast);

    /// A stream that nothing has come of yet. On the follower's thread, as all that comes now.
    ///
    /// # Errors
    /// Why it cannot be followed.
    fn open(&self, key: &StreamKey, settings: &Arc<Self::Settings>) -> Result<Self::Stream, String>;

    /// When units are taken.
    fn pace(&self, _settings: &Self::Settings) -> Pace {
        Pace::Beat
    }
}

/// When units are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A few times a second, for all streams at once. To be woken for each unit of hundreds of streams costs more than the units do.
    Beat,
    /// As they come.
    Rung,
}

/// What an output makes of a stream: see the module for what is called when. It lives on the follower's thread, and may wait.
pub trait Stream: Sized + 'static {
    /// See [`Output::Unit`].
    type Unit: Unit;
    /// See [`Output::Link`].
    type Link;

    /// Goes on as `now`, which was opened with the newest settings (maybe the same) and has seen nothing yet.
    fn turn(self, now: Self) -> Self;

    /// Units of a new subscription follow.
    fn begin(&mut self, link: Self::Link, publisher: Publisher);

    /// Units of another publisher follow.
    fn renew(&mut self, publisher: Publisher);

    /// So many units are lost before the next one.
    fn lose(&mut self, units: u64);

    /// The next unit.
    fn take(&mut self, unit: Stamped<Self::Unit>);

    /// The publisher is gone.
    fn leave(&mut self);

    /// How long it is kept for another publisher.
    fn rest(&self) -> Duration;

    /// Ends it. With `files_stay`, another process goes on with its files.
    fn end(self, files_stay: bool);
}

/// Who publishes a stream.
#[derive(Clone)]
pub struct Publisher(Arc<Identity>);

struct Identity {
    session: Arc<Session>,
    /// A reload may put another one here.
    reporter: Mutex<Option<Reporter>>,
}

impl Publisher {
    fn of(stream: &Published) -> Self {
        let (session, reporter) = (stream.session.clone(), Mutex::new(stream.reporter.clone()));
        Self(Arc::new(Identity { session, reporter }))
    }

    /// Somebody of whom nobody is told.
    #[cfg(test)]
    pub fn nobody() -> Self {
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        Self(Arc::new(Identity { session: Session::new(peer), reporter: Mutex::default() }))
    }

    /// Its session.
    pub fn session(&self) -> &Arc<Session> {
        &self.0.session
    }

    /// What tells services of it, if they want to know, as of now.
    pub fn reporter(&self) -> Option<Reporter> {
        self.0.reporter.lock().clone()
    }
}

/// A hand on the thread of a kind of output: to be told of publishers by the gate.
pub struct Follower<O: Output>(Arc<Shared<O>>);

impl<O: Output> Clone for Follower<O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<O: Output> {
    output: Arc<O>,
    following: Arc<Following<O::Settings>>,
    jobs: mpsc::Sender<Job<O>>,
    stop: watch::Sender<bool>,
    /// Files stay.
    keeps: Arc<AtomicBool>,
    /// Closed when the thread has ended.
    ended: Mutex<std_mpsc::Receiver<()>>,
}

/// Which streams are followed at this moment.
type Following<S> = Mutex<HashMap<StreamKey, Followed<S>>>;

struct Followed<S> {
    broadcast: Weak<Broadcast>,
    publisher: Publisher,
    settings: Arc<S>,
    /// Gone when the stream is not to be followed in this way any more.
    _way: watch::Sender<()>,
}

impl<S> Followed<S> {
    fn is_of(&self, stream: &Published) -> bool {
        std::ptr::eq(self.broadcast.as_ptr(), Arc::as_ptr(&stream.broadcast))
    }
}

/// A stream to be followed.
struct Job<O: Output> {
    key: StreamKey,
    settings: Arc<O::Settings>,
    subscription: Subscription<O::Unit>,
    link: O::Link,
    publisher: Publisher,
    /// Which publisher of the broadcast it is, by count.
    generation: u32,
    way: watch::Receiver<()>,
}

/// Streams that may wait to be followed.
const JOBS: usize = 4096;

/// What a stop takes at most: a disk may hang.
const STOP: Duration = Duration::from_secs(5);

impl<O: Output> Follower<O> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(output: O) -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel(JOBS);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = std_mpsc::channel::<()>();
        let (output, following, keeps) = (Arc::new(output), Arc::default(), Arc::<AtomicBool>::default());
        work::start(work::Thread::new(output.clone(), &following, stopped, &keeps), todo, end)?;
        Ok(Self(Arc::new(Shared { output, following, jobs, stop, keeps, ended: Mutex::new(ended) })))
    }

    /// Follows a stream as its vhost wants it now, and no longer as it was wanted before.
    fn follow(&self, stream: &Published, following: &mut HashMap<StreamKey, Followed<O::Settings>>) {
        let (output, key) = (&self.0.output, stream.broadcast.key());
        if following.remove(key).is_some() {
            output.retire(&stream.broadcast);
        }
        let Some(settings) = output.settings(key, &stream.vhost).map(Arc::new) else { return };
        let (subscription, link) = output.subscribe(&stream.broadcast, &settings);
        // The thread may come to it late, and nothing is to be missing then.
        let subscription = subscription.whole();
        let (_way, way) = watch::channel(());
        let publisher = Publisher::of(stream);
        let job = Job {
            key: key.clone(),
            settings: settings.clone(),
            generation: subscription.publisher().1,
            subscription,
            link,
            publisher: publisher.clone(),
            way,
        };
        match self.0.jobs.try_send(job) {
            Ok(()) => {
                let broadcast = Arc::downgrade(&stream.broadcast);
                following.insert(key.clone(), Followed { broadcast, publisher, settings, _way });
            }
            Err(_) => error!("{}: too much to do, {key} is not followed", O::NAME),
        }
    }
}

impl<O: Output> Watcher for Follower<O> {
    fn published(&self, stream: &Published) {
        let key = stream.broadcast.key();
        let settings = self.0.output.settings(key, &stream.vhost);
        let mut following = self.0.following.lock();
        if let Some(followed) = following.get_mut(key)
            && followed.is_of(stream)
            && Some(&*followed.settings) == settings.as_ref()
        {
            // The publisher before it has only just left.
            followed.publisher = Publisher::of(stream);
            return;
        }
        self.follow(stream, &mut following);
    }

    fn turned(&self, stream: &Published) {
        let key = stream.broadcast.key();
        let settings = self.0.output.settings(key, &stream.vhost);
        let mut following = self.0.following.lock();
        match following.get(key).filter(|followed| followed.is_of(stream)) {
            Some(followed) if Some(&*followed.settings) == settings.as_ref() => {
                followed.publisher.0.reporter.lock().clone_from(&stream.reporter);
            }
            None if settings.is_none() => {}
            _ => self.follow(stream, &mut following),
        }
    }
}

/// All followers, to be stopped together.
#[derive(Default)]
pub struct Followers(Vec<Box<dyn Hand>>);

impl Followers {
    /// With this one.
    #[must_use]
    pub fn with<O: Output>(mut self, follower: &Follower<O>) -> Self {
        self.0.push(Box::new(follower.clone()));
        self
    }

    /// No file is deleted from now on, neither now nor at the end: another process goes on with them.
    pub fn hand_over(&self) {
        self.0.iter().for_each(|hand| hand.hand_over());
    }

    /// Has what has come written, everything ended, and waits until it is, but not for ever. To be called when nobody publishes any more.
    pub fn stop(&self) {
        self.0.iter().for_each(|hand| hand.stop());
        let end = Instant::now() + STOP;
        self.0.iter().for_each(|hand| hand.wait(end));
    }
}

/// A follower of whatever kind.
trait Hand: Send {
    fn hand_over(&self);
    fn stop(&self);
    fn wait(&self, end: Instant);
}

impl<O: Output> Hand for Follower<O> {
    fn hand_over(&self) {
        self.0.keeps.store(true, Relaxed);
    }

    fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    fn wait(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        if self.0.ended.lock().recv_timeout(left) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            warn!("{}: a disk does not answer, files may be left behind", O::NAME);
        }
    }
}

#[cfg(test)]
mod tests;
