//! The task of one forwarder: connects, sends, and begins again when that breaks, as long as the stream is published and wanted there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use formats::flv::Tag;
use hub::Subscription;
use media::Micros;
use rtp::Burst;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::circles::Circles;
use super::figures::{Standing, State};
use super::rtmp::Rtmp;
use super::target::{Place, Target};
use super::whip::Whip;
use crate::session::Session;
use crate::trace::Tracer;

/// The first pause before a destination is tried again (as in SRS), and the longest.
const PAUSE: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_secs(12);

/// What waits when the publisher has left may take so long to be sent, and a goodbye to be said.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// What a forwarder is told at its start.
pub(super) struct Job {
    pub(super) target: Target,
    pub(super) standing: Arc<Standing>,
    /// The publisher.
    pub(super) session: Arc<Session>,
    /// True when the stream is not wanted there any more.
    pub(super) over: watch::Receiver<bool>,
    pub(super) chunk_size: u32,
    /// B-frames go to destinations of WebRTC, too.
    pub(super) keep_bframes: bool,
    /// The publisher speaks WebRTC, and what it has packed goes on as it is.
    pub(super) packed: bool,
    /// How much may wait, in microseconds.
    pub(super) queue: Arc<AtomicI64>,
    pub(super) tracer: Arc<Tracer>,
    pub(super) circles: Arc<Circles>,
}

/// The stream in the form that the destination takes.
pub(super) enum Feed {
    Rtmp(Subscription<Tag>),
    Whip(Subscription<Burst>),
}

/// Why a connection is over.
pub(super) enum Ended {
    /// There is nothing more to send.
    Published,
    /// The stream is not wanted there any more.
    Unwanted,
    /// It would come back to this server.
    Circle,
    /// It broke, or never was.
    Broken(String),
}

/// What brings a stream to destinations of one kind.
pub(super) trait Carrier {
    /// Takes what is new while nobody gets it. May be dropped.
    async fn pull(&mut self, job: &Job);

    /// The publisher has left.
    fn has_ended(&self) -> bool;

    /// Media units that were left out since the last call.
    fn take_dropped(&mut self) -> u64;

    /// One connection, from its beginning to its end. May be dropped.
    async fn carry(&mut self, job: &Job) -> Ended;

    /// The connection is over, or there was none: says goodbye where somebody may wait for it. Another one may follow.
    async fn close(&mut self, job: &Job);
}

/// Forwards until there is nothing more to do.
pub(super) async fn run(job: Job, feed: Feed) {
    match (feed, &job.target.place) {
        (Feed::Rtmp(subscription), Place::Rtmp(url)) => {
            let carrier = Rtmp::new(url.clone(), subscription, job.limit());
            Box::pin(job.run(carrier)).await;
        }
        (Feed::Whip(subscription), Place::Whip(address)) => {
            let carrier = Whip::new(address.clone(), subscription);
            Box::pin(job.run(carrier)).await;
        }
        (Feed::Rtmp(_), Place::Whip(_)) | (Feed::Whip(_), Place::Rtmp(_)) => {
            unreachable!("feeds are chosen by where they go")
        }
    }
}

impl Job {
    /// How much media may wait.
    pub(super) fn limit(&self) -> Micros {
        Micros(self.queue.load(Relaxed))
    }

    /// The destination takes the stream.
    pub(super) fn takes(&self) {
        self.standing.turn(State::Forwarding);
        info!("forward to {}: it takes the stream", self.target.shown);
    }

    async fn run(&self, mut carrier: impl Carrier) {
        let (mut over, mut pause) = (self.over.clone(), PAUSE);
        loop {
            let taken = self.standing.connections();
            let ended = tokio::select! {
                biased;
                () = told(&mut over) => Ended::Unwanted,
                ended = self.forward(&mut carrier) => ended,
            };
            carrier.close(self).await;
            self.standing.add_dropped(carrier.take_dropped());
            let shown = &self.target.shown;
            let reason = match ended {
                Ended::Published => return info!("forward to {shown}: the stream has ended"),
                Ended::Unwanted => return info!("forward to {shown}: not wanted any more"),
                Ended::Circle => {
                    self.standing.turn(State::Loop);
                    return warn!(
                        "forward to {shown}: it would come back to this server; it is not tried again"
                    );
                }
                Ended::Broken(reason) => reason,
            };
            if self.standing.connections() > taken {
                pause = PAUSE;
            }
            self.standing.turn(State::Waiting(reason.clone()));
            warn!("forward to {shown}: {reason}; again in {pause:?}");
            let until = sleep_until(Instant::now() + pause);
            tokio::pin!(until);
            while !carrier.has_ended() {
                tokio::select! {
                    biased;
                    () = told(&mut over) => return,
                    () = &mut until => break,
                    () = carrier.pull(self) => {}
                }
            }
            if carrier.has_ended() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.standing.turn(State::Connecting);
        }
    }

    /// One connection, as a span of the publisher's trace.
    async fn forward(&self, carrier: &mut impl Carrier) -> Ended {
        let mut span = self.tracer.part(&self.session, "forward");
        if let Some(span) = &mut span {
            span.note("oxcast.destination", &self.target.shown);
        }
        let ended = Box::pin(carrier.carry(self)).await;
        if let Some(span) = span {
            match &ended {
                Ended::Broken(reason) => span.fail(reason),
                Ended::Circle => span.fail("it would come back to this server"),
                Ended::Published | Ended::Unwanted => span.end(),
            }
        }
        ended
    }
}

/// Waits until the stream is not wanted there any more.
async fn told(over: &mut watch::Receiver<bool>) {
    // Without its sender there are no news.
    if over.wait_for(|over| *over).await.is_err() {
        std::future::pending::<()>().await;
    }
}
