//! The task of one forwarder: connects, sends, and begins again when that breaks, as long as the stream is published and wanted there.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use formats::flv::{Tag, TagKind};
use hub::Subscription;
use media::{Micros, Stamped};
use rtmp::MediaKind;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::circles::Circles;
use super::figures::{Standing, State};
use super::link::{self, Link};
use super::queue::Queue;
use super::target::Target;
use crate::session::Session;
use crate::trace::Tracer;

/// The first pause before a destination is tried again (as in SRS), and the longest.
const PAUSE: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_secs(12);

/// What waits when the publisher has left may take so long to be sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a forwarder is told at its start.
pub(super) struct Job {
    pub(super) target: Target,
    pub(super) standing: Arc<Standing>,
    /// The publisher.
    pub(super) session: Arc<Session>,
    /// True when the stream is not wanted there any more.
    pub(super) over: watch::Receiver<bool>,
    pub(super) chunk_size: u32,
    /// How much may wait, in microseconds.
    pub(super) queue: Arc<AtomicI64>,
    pub(super) tracer: Arc<Tracer>,
    pub(super) circles: Arc<Circles>,
}

/// Why a connection is over.
enum Ended {
    /// There is nothing more to send.
    Published,
    /// The stream is not wanted there any more.
    Unwanted,
    /// It would come back to this server.
    Circle,
    /// It broke, or never was.
    Broken(String),
}

/// The units of the stream, until its publisher leaves.
struct Source {
    subscription: Subscription<Tag>,
    init: Vec<Stamped<Tag>>,
    units: Vec<Stamped<Tag>>,
    /// The publisher that is followed, by count.
    generation: Option<u32>,
    left: bool,
}

impl Source {
    /// Takes what is new. May be dropped.
    async fn pull(&mut self, queue: &mut Queue) {
        let pulled = poll_fn(|cx| self.subscription.poll_pull(cx, 1, &mut self.init, &mut self.units)).await;
        if self.generation.is_some_and(|own| own != pulled.generation) {
            // What has come is another publisher's.
            self.left = true;
            self.units.clear();
            return;
        }
        self.generation = Some(pulled.generation);
        if pulled.anew {
            queue.restart(&mut self.init, pulled.missed);
        }
        self.units.drain(..).for_each(|unit| queue.push(unit));
        self.left = !pulled.live;
    }
}

/// Forwards until there is nothing more to do.
pub(super) async fn run(job: Job, subscription: Subscription<Tag>) {
    let mut source =
        Source { subscription, init: Vec::new(), units: Vec::new(), generation: None, left: false };
    let mut queue = Queue::new(job.limit());
    let (mut over, mut pause) = (job.over.clone(), PAUSE);
    loop {
        let taken = job.standing.connections();
        let ended = tokio::select! {
            biased;
            () = told(&mut over) => Ended::Unwanted,
            ended = job.forward(&mut source, &mut queue) => ended,
        };
        job.standing.add_dropped(queue.take_dropped());
        let shown = &job.target.shown;
        let reason = match ended {
            Ended::Published => return info!("forward to {shown}: the stream has ended"),
            Ended::Unwanted => return info!("forward to {shown}: not wanted any more"),
            Ended::Circle => {
                job.standing.turn(State::Loop);
                return warn!("forward to {shown}: it would come back to this server; it is not tried again");
            }
            Ended::Broken(reason) => reason,
        };
        if job.standing.connections() > taken {
            pause = PAUSE;
        }
        warn!("forward to {shown}: {reason}; again in {pause:?}");
        job.standing.turn(State::Waiting(reason));
        queue.rewind();
        let until = sleep_until(Instant::now() + pause);
        tokio::pin!(until);
        while !source.left {
            tokio::select! {
                biased;
                () = told(&mut over) => return,
                () = &mut until => break,
                () = source.pull(&mut queue) => queue.set_limit(job.limit()),
            }
        }
        if source.left {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        job.standing.turn(State::Connecting);
    }
}

/// Waits until the stream is not wanted there any more.
async fn told(over: &mut watch::Receiver<bool>) {
    // Without its sender there are no news.
    if over.wait_for(|over| *over).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Job {
    fn limit(&self) -> Micros {
        Micros(self.queue.load(Relaxed))
    }

    /// One connection, from its beginning to its end.
    async fn forward(&self, source: &mut Source, queue: &mut Queue) -> Ended {
        let mut span = self.tracer.part(&self.session, "forward");
        if let Some(span) = &mut span {
            span.note("oxcast.destination", &self.target.shown);
        }
        let ended = Box::pin(self.connect(source, queue)).await;
        if let Some(span) = span {
            match &ended {
                Ended::Broken(reason) => span.fail(reason),
                Ended::Circle => span.fail("it would come back to this server"),
                Ended::Published | Ended::Unwanted => span.end(),
            }
        }
        ended
    }

    async fn connect(&self, source: &mut Source, queue: &mut Queue) -> Ended {
        let url = &self.target.url;
        let connecting = async {
            let fresh = link::connect(&url.host, url.port).await?;
            let Some(known) = self.circles.enter(fresh.ends, &self.standing.key, url, self.session.peer)
            else {
                return Ok(None);
            };
            let link = fresh.open(&self.target, self.chunk_size).await?;
            Ok(Some((link, known)))
        };
        tokio::pin!(connecting);
        // What comes meanwhile waits in the queue, where it is bounded.
        let connected = loop {
            tokio::select! {
                connected = &mut connecting => break connected,
                () = source.pull(queue), if !source.left => queue.set_limit(self.limit()),
            }
        };
        match connected {
            Ok(Some((link, _known))) => Box::pin(self.send(link, source, queue)).await,
            Ok(None) => Ended::Circle,
            Err(_) if source.left => Ended::Published,
            Err(reason) => Ended::Broken(reason),
        }
    }

    /// Sends what comes over a link.
    async fn send(&self, mut link: Link, source: &mut Source, queue: &mut Queue) -> Ended {
        let (mut batch, mut farewell) = (Vec::new(), None);
        loop {
            if link.runs() && self.standing.state() != State::Forwarding {
                self.standing.turn(State::Forwarding);
                info!("forward to {}: it takes the stream", self.target.shown);
                if queue.lacks_key() {
                    source.subscription.broadcast().want_keyframe();
                }
            }
            while link.runs() && link.has_room() && queue.take(std::time::Instant::now(), &mut batch) {
                for unit in batch.drain(..) {
                    let Tag { kind, header, body } = &unit.unit;
                    link.lay(media_kind(*kind), unit.time.millis() as u32, header.as_slice(), body);
                }
            }
            if source.left {
                let until = *farewell.get_or_insert_with(|| Instant::now() + FAREWELL);
                if queue.is_done() && link.is_clear() || Instant::now() >= until {
                    link.stop();
                    let last = async {
                        while !link.is_clear() && link.progress().await.is_ok() {}
                        link.close().await;
                    };
                    let _ = timeout(FAREWELL, last).await;
                    return Ended::Published;
                }
            }
            tokio::select! {
                done = link.progress() => match done {
                    Ok(bytes) => self.standing.add_bytes(bytes),
                    Err(_) if source.left => return Ended::Published,
                    Err(reason) => return Ended::Broken(reason),
                },
                () = source.pull(queue), if !source.left => {
                    queue.set_limit(self.limit());
                    let dropped = queue.take_dropped();
                    if dropped > 0 {
                        self.standing.add_dropped(dropped);
                    }
                }
                () = sleep(FAREWELL), if source.left => {}
            }
        }
    }
}

fn media_kind(kind: TagKind) -> MediaKind {
    match kind {
        TagKind::Audio => MediaKind::Audio,
        TagKind::Video => MediaKind::Video,
        TagKind::Script => MediaKind::Data,
    }
}
