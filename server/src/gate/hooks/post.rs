//! Notices on their way to services: one queue for each service of a vhost, in several lanes. What one client causes goes through one lane, so that it
//! arrives in order; a service that does not answer is asked again, ever more seldom, and holds up nobody else.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Url;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{Instrument, info, warn};

use super::answer::{self, No};
use super::event::Action;
use super::figures::{Figures, Outcome};
use crate::caller::{Call, Caller, shown};
use crate::log;
use crate::session::Cid;

/// What a service is to be told.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) action: Action,
    pub(super) cid: Cid,
    pub(super) vhost: String,
    pub(super) url: Url,
    /// JSON to be posted; without it, the address is fetched and the answer means nothing.
    pub(super) body: Option<String>,
    pub(super) timeout: Duration,
    pub(super) tls_ca: Option<PathBuf>,
    /// Bytes of the answer that are read, at most.
    pub(super) limit: usize,
    /// Whose trace it belongs to.
    pub(super) traceparent: Arc<str>,
    /// Gone when all who had to be told have been told.
    pub(super) _ending: Option<Arc<watch::Sender<()>>>,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Post(Arc<Office>);

struct Office {
    caller: Caller,
    figures: Arc<Figures>,
    /// By vhost, service and number.
    lanes: Mutex<HashMap<Address, mpsc::Sender<Notice>>>,
    /// Notices that are in lanes.
    waiting: watch::Sender<usize>,
}

type Address = (String, Url, u64);

/// Lanes of a service: so many notices are on their way to it at once.
const LANES: u64 = 8;

/// Notices that a lane holds.
const LENGTH: usize = 1024;

/// A lane without work ends after this.
const IDLE: Duration = Duration::from_secs(60);

/// The first pause before a notice is sent again, and the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A notice is sent again until it is so old.
const PATIENCE: Duration = Duration::from_secs(300);

/// A service that answers, but cannot take a notice, is told so many times; others wait for it in the same lane.
const ATTEMPTS: u32 = 6;

impl Post {
    pub(super) fn new(caller: Caller, figures: Arc<Figures>) -> Self {
        let (lanes, waiting) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Office { caller, figures, lanes, waiting }))
    }

    /// Sends a notice on its way. Never waits; where too many wait already, it is lost.
    pub(super) fn send(&self, notice: Notice) {
        let figure = self.0.figures.of(notice.action);
        // In the lane before the count is lower again, whoever is faster.
        figure.queued();
        self.0.waiting.send_modify(|waiting| *waiting += 1);
        let address = (notice.vhost.clone(), service(&notice.url), lane(notice.cid));
        let mut lanes = self.0.lanes.lock();
        let sent = match lanes.entry(address) {
            Entry::Occupied(known) => known.get().try_send(notice),
            Entry::Vacant(vacant) => {
                let (sender, receiver) = mpsc::channel(LENGTH);
                let lane = Lane { office: self.0.clone(), address: vacant.key().clone(), fails: false };
                drop(self.0.caller.spawn(lane.run(receiver)));
                vacant.insert(sender).try_send(notice)
            }
        };
        drop(lanes);
        if let Err(e) = sent {
            let notice = e.into_inner();
            self.0.gone(&notice);
            figure.dropped();
            let url = shown(&notice.url);
            log::span(notice.cid).in_scope(|| {
                warn!("{} is lost: {LENGTH} notices wait for {url} already", notice.action.name());
            });
        }
    }

    /// Waits until everything is delivered, but not for ever; how many notices are left.
    pub(super) fn flush(&self, limit: Duration) -> usize {
        let mut waiting = self.0.waiting.subscribe();
        let left = *waiting.borrow();
        if left == 0 {
            return 0;
        }
        info!("callbacks: {left} notices are to be delivered");
        let delivered = self.0.caller.wait(async {
            // The timer wants to be made where the runtime is known.
            timeout(limit, waiting.wait_for(|waiting| *waiting == 0)).await.is_ok()
        });
        if delivered { 0 } else { *self.0.waiting.borrow() }
    }
}

/// The service behind an address, whatever it is asked for.
fn service(url: &Url) -> Url {
    let mut service = url.clone();
    service.set_query(None);
    // Addresses of segments differ each time.
    service.set_path("");
    service
}

fn lane(cid: Cid) -> u64 {
    let mut hasher = DefaultHasher::new();
    cid.hash(&mut hasher);
    hasher.finish() % LANES
}

impl Office {
    /// A notice is on its way no more.
    fn gone(&self, notice: &Notice) {
        self.figures.of(notice.action).unqueued();
        self.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

struct Lane {
    office: Arc<Office>,
    address: Address,
    /// The log knows that the service does not answer.
    fails: bool,
}

impl Lane {
    async fn run(mut self, mut notices: mpsc::Receiver<Notice>) {
        loop {
            match timeout(IDLE, notices.recv()).await {
                Ok(Some(notice)) => {
                    self.deliver(&notice).instrument(log::span(notice.cid)).await;
                    self.office.gone(&notice);
                }
                Ok(None) => return,
                Err(_) => {
                    let mut lanes = self.office.lanes.lock();
                    // Notices come under this lock only.
                    if notices.is_empty() {
                        lanes.remove(&self.address);
                        return;
                    }
                }
            }
        }
    }

    /// Sends a notice until it has arrived, or is too old.
    async fn deliver(&mut self, notice: &Notice) {
        let figure = self.office.figures.of(notice.action);
        let (name, url) = (notice.action.name(), shown(&notice.url));
        let (since, mut pause) = (Instant::now(), PAUSE);
        for attempt in 1u32.. {
            let (reason, attempts) = match self.attempt(notice).await {
                Ok(()) => {
                    if std::mem::take(&mut self.fails) {
                        info!("callbacks: {url} answers again");
                    }
                    return;
                }
                Err(No::Unreachable(reason)) => (reason, u32::MAX),
                Err(No::Unable(reason)) => (reason, ATTEMPTS),
                Err(no) => return warn!("{name} at {url}: {}", no.for_log()),
            };
            // What a network is to fetch is old when the next segment comes.
            if notice.body.is_none() {
                return warn!("{name} at {url}: {reason}");
            }
            if attempt >= attempts || since.elapsed() + pause > PATIENCE {
                figure.dropped();
                return warn!("{name} at {url} is lost: {reason}, for {:.0?}", since.elapsed());
            }
            if !std::mem::replace(&mut self.fails, true) {
                warn!("{name} at {url}: {reason}; it is told again until it answers");
            }
            figure.retried();
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, notice: &Notice) -> Result<(), No> {
        let Notice { url, timeout, limit, .. } = notice;
        let (timeout, limit) = (*timeout, *limit);
        let start = Instant::now();
        let (body, tls_ca) = (notice.body.as_deref(), notice.tls_ca.as_deref());
        let traceparent = Some(&*notice.traceparent);
        let call = Call { url, body, timeout, tls_ca, limit, traceparent };
        let answer = self.office.caller.call(call).await;
        let said = match &notice.body {
            Some(_) => answer::read(answer),
            None => answer.map(drop).map_err(|failure| No::Unreachable(failure.to_string())),
        };
        let outcome = said.as_ref().map_or_else(No::outcome, |()| Outcome::Yes);
        self.office.figures.of(notice.action).called(outcome, start.elapsed());
        said
    }
}
