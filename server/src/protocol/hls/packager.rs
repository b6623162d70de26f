//! The packager: follows every published stream whose vhost wants HLS, and has its segments written. It has a thread of its own, which
//! may wait for disks; publishers and players never do.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Weak, mpsc as std_mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use formats::hls::{Piece, Segmenter};
use hub::{Broadcast, StreamKey, Subscription};
use media::Stamped;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;
use tracing::{Instrument, error, warn};

use super::shelf::Shelf;
use super::stream::{Order, Stream};
use crate::config::Hls;
use crate::form;
use crate::gate::{Published, Reporter, Watcher};
use crate::log;
use crate::session::Session;

/// A hand on the packager's thread.
#[derive(Clone)]
pub struct Packager {
    following: Arc<Following>,
    jobs: mpsc::Sender<Job>,
    stop: Arc<watch::Sender<bool>>,
    /// Files stay.
    keeps: Arc<AtomicBool>,
    /// Closed when the thread has ended.
    ended: Arc<Mutex<std_mpsc::Receiver<()>>>,
}

/// Which streams are followed at this moment.
type Following = Mutex<HashMap<StreamKey, Followed>>;

struct Followed {
    broadcast: Weak<Broadcast>,
    publisher: Arc<Session>,
    hls: Arc<Hls>,
    /// Set when the stream is not to be followed in this way any more.
    over: Arc<AtomicBool>,
    /// Who is told of segments.
    reporter: Option<Reporter>,
}

/// A stream to be followed.
struct Job {
    key: StreamKey,
    hls: Arc<Hls>,
    subscription: Subscription<Piece>,
    correction: Arc<AtomicI64>,
    over: Arc<AtomicBool>,
}

/// Streams that may wait to be followed.
const JOBS: usize = 4096;

/// Streams whose segments stay for ever (`hls_dispose 0`) are remembered for so long after their publisher left.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What a stop takes at most: a disk may hang.
const STOP: Duration = Duration::from_secs(5);

impl Packager {
    /// Starts the thread. What it makes goes to the shelf.
    pub(super) fn start(shelf: Arc<Shelf>) -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel(JOBS);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = std_mpsc::channel::<()>();
        let following = Arc::<Following>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (works, keeps) = (following.clone(), Arc::<AtomicBool>::default());
        let kept = keeps.clone();
        std::thread::Builder::new().name("hls".into()).spawn(move || {
            let local = LocalSet::new();
            runtime.block_on(local.run_until(work(todo, stopped, works, shelf, kept)));
            runtime.block_on(local);
            drop(end);
        })?;
        Ok(Self { following, jobs, stop: Arc::new(stop), keeps, ended: Arc::new(Mutex::new(ended)) })
    }

    /// Writes what has come, disposes of what is to be disposed of, and ends the thread. To be called when nobody publishes any more.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        if self.ended.lock().recv_timeout(STOP) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            warn!("hls: a disk does not answer, files may be left behind");
        }
    }
}

impl Packager {
    /// Deletes nothing from now on, neither now nor at the end: another process goes on with the files.
    pub fn hand_over(&self) {
        self.keeps.store(true, Relaxed);
    }
}

impl Watcher for Packager {
    fn published(&self, stream: &Published) {
        let mut following = self.following.lock();
        if let Some(followed) = following.get_mut(stream.broadcast.key())
            && followed.is_of(stream)
            && Some(&*followed.hls) == stream.vhost.hls.as_ref()
        {
            // The publisher before it has only just left.
            (followed.publisher, followed.reporter) = (stream.session.clone(), stream.reporter.clone());
            return;
        }
        self.follow(stream, &mut following);
    }

    fn turned(&self, stream: &Published) {
        let mut following = self.following.lock();
        let followed = following.get_mut(stream.broadcast.key()).filter(|followed| followed.is_of(stream));
        match followed {
            Some(followed) if Some(&*followed.hls) == stream.vhost.hls.as_ref() => {
                followed.reporter = stream.reporter.clone();
            }
            None if stream.vhost.hls.is_none() => {}
            _ => self.follow(stream, &mut following),
        }
    }
}

impl Followed {
    fn is_of(&self, stream: &Published) -> bool {
        std::ptr::eq(self.broadcast.as_ptr(), Arc::as_ptr(&stream.broadcast))
    }
}

impl Packager {
    /// Follows a stream as its vhost wants it now, and no longer as it was wanted before.
    fn follow(&self, stream: &Published, following: &mut HashMap<StreamKey, Followed>) {
        let key = stream.broadcast.key();
        if let Some(before) = following.remove(key) {
            before.over.store(true, Relaxed);
            // The next subscription is to get a segmenter that cuts as is wanted now.
            stream.broadcast.retire::<Segmenter>();
        }
        let Some(hls) = stream.vhost.hls.clone().map(Arc::new) else { return };
        let (correction, over) = (Arc::<AtomicI64>::default(), Arc::<AtomicBool>::default());
        let subscription = stream.broadcast.subscribe(|| form::segments(&hls, correction.clone()));
        let job = Job { key: key.clone(), hls: hls.clone(), subscription, correction, over: over.clone() };
        match self.jobs.try_send(job) {
            Ok(()) => {
                let (broadcast, publisher) = (Arc::downgrade(&stream.broadcast), stream.session.clone());
                let reporter = stream.reporter.clone();
                following.insert(key.clone(), Followed { broadcast, publisher, reporter, hls, over });
            }
            Err(_) => error!("hls: too much to do, {key} is not segmented"),
        }
    }
}

/// Hands out jobs until the stop: one task for each stream, which lives until its segments are disposed of.
async fn work(
    mut jobs: mpsc::Receiver<Job>,
    mut stopped: watch::Receiver<bool>,
    following: Arc<Following>,
    shelf: Arc<Shelf>,
    keeps: Arc<AtomicBool>,
) {
    let clock = Clock(Instant::now());
    let streams = Rc::new(RefCell::new(HashMap::<StreamKey, mpsc::Sender<Job>>::new()));
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        let Some(job) = job else { return };
        let key = job.key.clone();
        let known = streams.borrow().get(&key).cloned();
        if let Some(stream) = known {
            if stream.try_send(job).is_err() {
                error!("hls: {key} is not segmented: its publishers come and go too fast");
                following.lock().remove(&key);
            }
            continue;
        }
        let (sender, more) = mpsc::channel(8);
        streams.borrow_mut().insert(key.clone(), sender);
        let worker = Worker {
            key: key.clone(),
            clock,
            shelf: shelf.clone(),
            following: following.clone(),
            stopped: stopped.clone(),
            keeps: keeps.clone(),
        };
        let all = streams.clone();
        tokio::task::spawn_local(async move {
            worker.run(job, more, || drop(all.borrow_mut().remove(&key))).await;
        });
    }
}

/// Beats for all streams at once.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    /// How long a piece may wait for the packager.
    const BEAT: Duration = Duration::from_millis(200);

    /// The next beat.
    async fn tick(self) {
        let beats = self.0.elapsed().as_millis() / Self::BEAT.as_millis();
        tokio::time::sleep_until(self.0 + Self::BEAT * (beats as u32 + 1)).await;
    }
}

/// The task of one stream.
struct Worker {
    key: StreamKey,
    clock: Clock,
    shelf: Arc<Shelf>,
    following: Arc<Following>,
    stopped: watch::Receiver<bool>,
    keeps: Arc<AtomicBool>,
}

impl Worker {
    /// Runs until the stream is disposed of; `leave` takes it off the list of those that take jobs.
    async fn run(mut self, first: Job, mut jobs: mpsc::Receiver<Job>, leave: impl FnOnce()) {
        let mut next = Some(first);
        let mut stream: Option<Stream> = None;
        let mut dispose = None;
        while let Some(job) = next.take() {
            let publisher = self.publisher();
            let span = publisher.map_or_else(tracing::Span::none, |session| log::span(session.cid));
            dispose = job.hls.dispose;
            stream = span.in_scope(|| match (stream.take(), Stream::new(&self.key, &job.hls, &self.shelf)) {
                (Some(before), Ok(now)) => Some(before.turn(now)),
                (None, Ok(stream)) => Some(stream),
                (before, Err(reason)) => {
                    warn!("hls: {reason}");
                    before.into_iter().for_each(|mut stream| stream.dispose());
                    None
                }
            });
            match &mut stream {
                Some(stream) => self.follow(stream, job).instrument(span).await,
                None => drop(self.following.lock().remove(&self.key)),
            }
            if stream.is_none() || *self.stopped.borrow() {
                break;
            }
            let wait = tokio::time::sleep(dispose.unwrap_or(REMEMBERED));
            next = tokio::select! {
                job = jobs.recv() => job,
                () = wait => jobs.try_recv().ok(),
                _ = self.stopped.wait_for(|stop| *stop) => None,
            };
        }
        // Nothing waits between this and the last look for jobs.
        leave();
        match (stream, dispose) {
            (Some(mut stream), Some(_)) if !self.keeps.load(Relaxed) => stream.dispose(),
            (Some(mut stream), _) => stream.forget(),
            (None, _) => {}
        }
    }

    /// Follows publishers until there is none, or the stream is to be followed in another way.
    async fn follow(&mut self, stream: &mut Stream, job: Job) {
        let Job { mut subscription, correction, over, .. } = job;
        stream.begin(correction);
        let (mut init, mut pieces) = (Vec::new(), Vec::new());
        let mut generation = None;
        loop {
            let stopped = *self.stopped.borrow() || over.load(Relaxed);
            // Never rung: to be woken for each piece of hundreds of streams costs more than the pieces do.
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(pulled) = subscription.poll_pull(&mut cx, 1, &mut init, &mut pieces) else {
                if stopped {
                    return;
                }
                tokio::select! {
                    () = self.clock.tick() => {}
                    _ = self.stopped.wait_for(|stop| *stop) => {}
                }
                continue;
            };
            if pulled.missed > 0 {
                warn!("hls: the disk is too slow for {}, {} pieces are lost", self.key, pulled.missed);
                self.shelf.figures.pieces_lost.fetch_add(pulled.missed, Relaxed);
                stream.lose();
            }
            if generation.is_some_and(|before| before != pulled.generation) {
                // Its pieces are among these, behind those of the one before, and begin with a discontinuity of their own.
                stream.renew();
            }
            self.take(stream, &mut pieces).await;
            generation = Some(pulled.generation);
            if !pulled.live && !over.load(Relaxed) && self.leave(&subscription) {
                return;
            }
        }
    }

    async fn take(&self, stream: &mut Stream, pieces: &mut Vec<Stamped<Piece>>) {
        for piece in pieces.drain(..) {
            match stream.take(piece.unit) {
                Order::Continue => {}
                Order::Tell(segment) => {
                    if let Some(reporter) = self.reporter() {
                        reporter.segment(&segment);
                    }
                }
                Order::Disconnect => {
                    if let Some(publisher) = self.publisher() {
                        publisher.kick("HLS cannot be written and `hls_on_error` says disconnect");
                    }
                }
            }
        }
        tokio::task::yield_now().await;
    }

    fn publisher(&self) -> Option<Arc<Session>> {
        self.following.lock().get(&self.key).map(|followed| followed.publisher.clone())
    }

    fn reporter(&self) -> Option<Reporter> {
        self.following.lock().get(&self.key).and_then(|followed| followed.reporter.clone())
    }

    /// Stops following, unless another publisher has just come.
    fn leave(&self, subscription: &Subscription<Piece>) -> bool {
        let mut following = self.following.lock();
        let (live, _) = subscription.publisher();
        if !live {
            following.remove(&self.key);
        }
        !live
    }
}
