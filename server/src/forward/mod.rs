//! Forwarding: copies of published streams for other servers, by RTMP, RTMPS and WHIP. Each destination of a stream has a task of its own with a bounded queue, all of
//! them on one thread; publishers and players never wait for them. What destinations there are is configured, or told by a service that the gate has asked.

mod circles;
mod connect;
mod figures;
mod rtmp;
mod source;
mod target;
mod task;
mod whip;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Weak, mpsc as std_mpsc};
use std::time::Duration;

use hub::{Broadcast, StreamKey};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::timeout;
use tracing::{Instrument, error, info, warn};

use crate::config::{Config, Destination, Forward};
use crate::form;
use crate::gate::{Published, Watcher};
use crate::log;
use crate::session::Kind;
use crate::trace::Tracer;

use circles::Circles;
use target::{Place, Target};
use task::{Feed, Job};

pub use figures::{Figures, Standing, State};

/// Forwarders that may wait to begin.
const JOBS: usize = 4096;

/// Who takes over a stream waits so long, at most, for the forwarder before it.
const TURN: Duration = Duration::from_secs(3);

/// What a stop takes at most.
const STOP: Duration = Duration::from_secs(5);

/// A hand on the thread of all forwarders.
#[derive(Clone)]
pub struct Forwarders(Arc<Room>);

struct Room {
    following: Mutex<HashMap<StreamKey, Followed>>,
    /// Forwarders by age.
    standings: Mutex<Vec<Weak<Standing>>>,
    figures: Arc<Figures>,
    circles: Arc<Circles>,
    tracer: Arc<Tracer>,
    jobs: mpsc::Sender<(Job, Feed)>,
    stop: watch::Sender<bool>,
    /// Closed when the thread has ended.
    ended: Mutex<std_mpsc::Receiver<()>>,
}

/// A published stream.
struct Followed {
    broadcast: Weak<Broadcast>,
    hands: Vec<Hand>,
}

/// A hand on one forwarder.
struct Hand {
    target: Target,
    over: watch::Sender<bool>,
    queue: Arc<AtomicI64>,
}

impl Forwarders {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be none.
    pub fn start(config: &Config, tracer: Arc<Tracer>) -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel(JOBS);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = std_mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("forward".into()).spawn(move || {
            let local = LocalSet::new();
            runtime.block_on(local.run_until(work(todo, stopped)));
            runtime.block_on(async { timeout(STOP, local).await.is_ok() });
            drop(end);
        })?;
        let room = Room {
            following: Mutex::default(),
            standings: Mutex::default(),
            figures: Arc::default(),
            circles: Arc::default(),
            tracer,
            jobs,
            stop,
            ended: Mutex::new(ended),
        };
        let forwarders = Self(Arc::new(room));
        forwarders.turn(config);
        Ok(forwarders)
    }

    /// The server listens as this says.
    pub fn turn(&self, config: &Config) {
        self.0.circles.learn(config);
    }

    /// Sums of all forwarders.
    pub fn figures(&self) -> Arc<Figures> {
        self.0.figures.clone()
    }

    /// All forwarders of now, the oldest first.
    pub fn all(&self) -> Vec<Arc<Standing>> {
        self.0.standings.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Sends what waits and ends the thread. To be called when nobody publishes any more.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
        if self.0.ended.lock().recv_timeout(STOP) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            warn!("forward: destinations were cut off");
        }
    }
}

/// Hands out jobs until the stop.
async fn work(mut jobs: mpsc::Receiver<(Job, Feed)>, mut stopped: watch::Receiver<bool>) {
    let mut running = HashMap::<(StreamKey, String), JoinHandle<()>>::new();
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        let Some((job, feed)) = job else { return };
        running.retain(|_, task| !task.is_finished());
        let place = (job.standing.key.clone(), job.target.name());
        let before = running.remove(&place);
        let span = log::span(job.standing.publisher);
        let work = async move {
            // A destination refuses a stream whose publisher is still there for it.
            if let Some(before) = before {
                let _ = timeout(TURN, before).await;
            }
            Box::pin(task::run(job, feed)).await;
        };
        running.insert(place, tokio::task::spawn_local(work.instrument(span)));
    }
}

impl Watcher for Forwarders {
    fn published(&self, stream: &Published) {
        let mut following = self.0.following.lock();
        following.retain(|_, followed| followed.broadcast.strong_count() > 0);
        // Forwarders of the publisher before it end by themselves.
        following.remove(stream.broadcast.key());
        let Some(forward) = &stream.vhost.forward else { return };
        let named = stream.forward_to.as_deref().unwrap_or_default();
        self.follow(stream, forward, named, &mut following);
    }

    fn turned(&self, stream: &Published) {
        let mut following = self.0.following.lock();
        let key = stream.broadcast.key();
        let is_of =
            |followed: &&Followed| std::ptr::eq(followed.broadcast.as_ptr(), Arc::as_ptr(&stream.broadcast));
        let Some(forward) = &stream.vhost.forward else {
            if let Some(followed) = following.remove(key) {
                followed.hands.iter().for_each(Hand::end);
            }
            return;
        };
        let followed = following.get(key).filter(is_of);
        match (&forward.backend, &stream.forward_to) {
            // The service has been asked, or is to be asked; what it said before goes on.
            (Some(_), None) => {
                let queue = form::micros(stream.vhost.play.queue_length).0;
                let hands = followed.iter().flat_map(|followed| &followed.hands);
                hands.for_each(|hand| hand.queue.store(queue, Relaxed));
            }
            (_, named) => {
                let named = named.as_deref().unwrap_or_default();
                self.follow(stream, forward, named, &mut following);
            }
        }
    }
}

impl Forwarders {
    /// Forwards a stream to where it is wanted now: `named` if there is a service that names destinations. Those that are wanted still go on untouched.
    fn follow(
        &self,
        stream: &Published,
        forward: &Forward,
        named: &[Destination],
        following: &mut HashMap<StreamKey, Followed>,
    ) {
        let key = stream.broadcast.key();
        let wanted = if forward.backend.is_some() { named } else { &forward.destinations };
        let mut targets: Vec<Target> = Vec::new();
        for destination in wanted {
            let target = match Target::of(destination, key, &stream.client.request) {
                Ok(target) => Target { tls_ca: forward.tls_ca.clone(), ..target },
                Err(reason) => {
                    error!("forward: {reason}");
                    continue;
                }
            };
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let before = following.remove(key).map(|followed| followed.hands).unwrap_or_default();
        let queue = form::micros(stream.vhost.play.queue_length).0;
        let (mut hands, ended): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|hand| targets.contains(&hand.target));
        ended.iter().for_each(Hand::end);
        hands.iter().for_each(|hand| hand.queue.store(queue, Relaxed));
        for target in targets {
            if !hands.iter().any(|hand| hand.target == target) {
                hands.extend(self.begin(stream, target, queue));
            }
        }
        let followed = Followed { broadcast: Arc::downgrade(&stream.broadcast), hands };
        following.insert(key.clone(), followed);
    }

    /// Starts a forwarder.
    fn begin(&self, stream: &Published, target: Target, queue: i64) -> Option<Hand> {
        let Room { standings, figures, circles, tracer, jobs, .. } = &*self.0;
        let (key, publisher) = (stream.broadcast.key(), stream.session.cid);
        let standing = Standing::new(figures, key, publisher, target.shown.clone());
        let (over, told) = watch::channel(false);
        let queue = Arc::new(AtomicI64::new(queue));
        let packed = stream.client.kind == Kind::RtcPublish;
        let job = Job {
            target: target.clone(),
            standing: standing.clone(),
            session: stream.session.clone(),
            over: told,
            chunk_size: stream.vhost.chunk_size,
            keep_bframes: stream.vhost.rtc.keep_bframe,
            packed,
            queue: queue.clone(),
            tracer: tracer.clone(),
            circles: circles.clone(),
        };
        let feed = match target.place {
            Place::Rtmp(_) => Feed::Rtmp(stream.broadcast.subscribe(form::original)),
            Place::Whip(_) if packed => Feed::Whip(stream.broadcast.subscribe(|| form::rtp(&stream.vhost))),
            Place::Whip(_) => Feed::Whip(stream.broadcast.subscribe(|| form::whip(&stream.vhost))),
        };
        if jobs.try_send((job, feed)).is_err() {
            error!("forward: too much to do, {key} is not forwarded to {}", target.shown);
            return None;
        }
        info!("forward {key} to {}", target.shown);
        let mut standings = standings.lock();
        standings.retain(|standing| standing.strong_count() > 0);
        standings.push(Arc::downgrade(&standing));
        Some(Hand { target, over, queue })
    }
}

impl Hand {
    /// The stream is not wanted there any more.
    fn end(&self) {
        self.over.send_replace(true);
    }
}
