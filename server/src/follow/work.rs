//! The thread of a follower: hands out jobs, one task for each stream, which lives until the stream has ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc as std_mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hub::{Pulled, StreamKey, Subscription};
use media::{Stamped, Unit};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;
use tracing::{Instrument, error, warn};

use super::{Following, Job, Output, Pace, Publisher, Stream};
use crate::log;

/// What all tasks of the thread know.
pub(super) struct Thread<O: Output> {
    output: Arc<O>,
    following: Arc<Following<O::Settings>>,
    stopped: watch::Receiver<bool>,
    keeps: Arc<AtomicBool>,
    clock: Clock,
}

impl<O: Output> Clone for Thread<O> {
    fn clone(&self) -> Self {
        Self {
            output: self.output.clone(),
            following: self.following.clone(),
            stopped: self.stopped.clone(),
            keeps: self.keeps.clone(),
            clock: self.clock,
        }
    }
}

impl<O: Output> Thread<O> {
    pub(super) fn new(
        output: Arc<O>,
        following: &Arc<Following<O::Settings>>,
        stopped: watch::Receiver<bool>,
        keeps: &Arc<AtomicBool>,
    ) -> Self {
        let clock = Clock(Instant::now());
        Self { output, following: following.clone(), stopped, keeps: keeps.clone(), clock }
    }
}

/// Starts the thread; `end` is dropped when it ends.
pub(super) fn start<O: Output>(
    thread: Thread<O>,
    todo: mpsc::Receiver<Job<O>>,
    end: std_mpsc::Sender<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name(O::NAME.into()).spawn(move || {
        let local = LocalSet::new();
        runtime.block_on(local.run_until(work(thread, todo)));
        runtime.block_on(local);
        drop(end);
    })?;
    Ok(())
}

/// Hands out jobs until the stop.
async fn work<O: Output>(mut thread: Thread<O>, mut jobs: mpsc::Receiver<Job<O>>) {
    let tasks = Rc::new(RefCell::new(HashMap::<StreamKey, mpsc::Sender<Job<O>>>::new()));
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            _ = thread.stopped.wait_for(|stop| *stop) => None,
        };
        let Some(job) = job else { return };
        let key = job.key.clone();
        let known = tasks.borrow().get(&key).cloned();
        if let Some(task) = known {
            if task.try_send(job).is_err() {
                error!("{}: {key} is not followed: its publishers come and go too fast", O::NAME);
                thread.following.lock().remove(&key);
            }
            continue;
        }
        let (sender, more) = mpsc::channel(8);
        tasks.borrow_mut().insert(key.clone(), sender);
        let (worker, all) = (Worker { key: key.clone(), thread: thread.clone() }, tasks.clone());
        tokio::task::spawn_local(async move {
            worker.run(job, more, || drop(all.borrow_mut().remove(&key))).await;
        });
    }
}

/// Beats for all streams at once.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    /// How long a unit may wait to be taken.
    const BEAT: Duration = Duration::from_millis(200);

    /// The next beat.
    async fn tick(self) {
        let beats = self.0.elapsed().as_millis() / Self::BEAT.as_millis();
        tokio::time::sleep_until(self.0 + Self::BEAT * (beats as u32 + 1)).await;
    }
}

/// A stream that is to be followed in another way is kept so long for it, at least.
const TURN: Duration = Duration::from_millis(500);

/// The task of one stream.
struct Worker<O: Output> {
    key: StreamKey,
    thread: Thread<O>,
}

impl<O: Output> Worker<O> {
    /// Runs until the stream has ended; `leave` takes it off the list of those that take jobs.
    async fn run(mut self, first: Job<O>, mut jobs: mpsc::Receiver<Job<O>>, leave: impl FnOnce()) {
        let mut next = Some(first);
        let mut stream: Option<O::Stream> = None;
        while let Some(job) = next.take() {
            let span = log::span(job.publisher.session().cid);
            stream =
                span.in_scope(|| match (stream.take(), self.thread.output.open(&self.key, &job.settings)) {
                    (Some(before), Ok(now)) => Some(before.turn(now)),
                    (None, Ok(stream)) => Some(stream),
                    (before, Err(reason)) => {
                        warn!("{}: {reason}", O::NAME);
                        before.into_iter().for_each(|stream| stream.end(false));
                        None
                    }
                });
            let Some(stream) = &mut stream else {
                self.thread.following.lock().remove(&self.key);
                break;
            };
            let left = self.follow(stream, job).instrument(span).await;
            if *self.thread.stopped.borrow() {
                break;
            }
            // How it goes on is told a moment after it is not to go on as it did.
            let least = if left { Duration::ZERO } else { TURN };
            let wait = tokio::time::sleep(stream.rest().max(least));
            next = tokio::select! {
                job = jobs.recv() => job,
                () = wait => jobs.try_recv().ok(),
                _ = self.thread.stopped.wait_for(|stop| *stop) => None,
            };
        }
        // Nothing waits between this and the last look for jobs.
        leave();
        if let Some(stream) = stream {
            stream.end(self.thread.keeps.load(Relaxed));
        }
    }

    /// Follows publishers until there is none (says whether that is so), or the stream is to be followed in another way.
    async fn follow(&mut self, stream: &mut O::Stream, job: Job<O>) -> bool {
        let Job { settings, mut subscription, link, publisher, mut generation, mut way, .. } = job;
        let pace = self.thread.output.pace(&settings);
        stream.begin(link, publisher);
        let mut hand = Hand { init: Vec::new(), units: Vec::new() };
        let mut is_new = false;
        while let Some(pulled) = self.pull(&mut subscription, &mut hand, &mut way, pace).await {
            if pulled.missed > 0 {
                stream.lose(pulled.missed);
            }
            is_new |= std::mem::replace(&mut generation, pulled.generation) != pulled.generation;
            let init = hand.init.drain(..).map(|unit| (pulled.before, unit));
            for (at, unit) in init.chain(hand.units.drain(..).enumerate()) {
                // The gate has told of it before its first unit, but maybe not before this thread saw it coming.
                if at >= pulled.before
                    && std::mem::take(&mut is_new)
                    && let Some(publisher) = self.publisher()
                {
                    stream.renew(publisher);
                }
                stream.take(unit);
            }
            tokio::task::yield_now().await;
            if !pulled.live && !is_over(&way) && self.leave(&subscription) {
                stream.leave();
                return true;
            }
        }
        false
    }

    /// Waits for units; there are none any more when the server stops or the stream is to be followed in another way.
    async fn pull(
        &mut self,
        subscription: &mut Subscription<O::Unit>,
        hand: &mut Hand<O::Unit>,
        way: &mut watch::Receiver<()>,
        pace: Pace,
    ) -> Option<Pulled> {
        loop {
            let ends = *self.thread.stopped.borrow() || is_over(way);
            let mut nobody = Context::from_waker(Waker::noop());
            if let Poll::Ready(pulled) = hand.pull(&mut nobody, subscription) {
                return Some(pulled);
            }
            if ends {
                return None;
            }
            let more = async {
                match pace {
                    Pace::Beat => {
                        self.thread.clock.tick().await;
                        None
                    }
                    Pace::Rung => Some(poll_fn(|cx| hand.pull(cx, subscription)).await),
                }
            };
            tokio::select! {
                pulled = more => if pulled.is_some() { return pulled },
                _ = self.thread.stopped.wait_for(|stop| *stop) => {}
                _ = way.changed() => {}
            }
        }
    }

    fn publisher(&self) -> Option<Publisher> {
        self.thread.following.lock().get(&self.key).map(|followed| followed.publisher.clone())
    }

    /// Stops following, unless another publisher has just come.
    fn leave(&self, subscription: &Subscription<O::Unit>) -> bool {
        let mut following = self.thread.following.lock();
        let (live, _) = subscription.publisher();
        if !live {
            following.remove(&self.key);
        }
        !live
    }
}

/// The stream is not to be followed in this way any more.
fn is_over(way: &watch::Receiver<()>) -> bool {
    way.has_changed().is_err()
}

/// What a pull has brought.
struct Hand<U: Unit> {
    init: Vec<Stamped<U>>,
    units: Vec<Stamped<U>>,
}

impl<U: Unit> Hand<U> {
    fn pull(&mut self, cx: &mut Context<'_>, subscription: &mut Subscription<U>) -> Poll<Pulled> {
        subscription.poll_pull(cx, 1, &mut self.init, &mut self.units)
    }
}
