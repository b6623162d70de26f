//! The relays of one core: one per stream and form, each driven by one task that pulls what is new and fans it out.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hub::{Broadcast, Reader, Relay, Rules};
use media::{Micros, Remux, Unit};
use tokio::time::Instant;
use tracing::warn;

use super::fan::AnyFan;
use super::{Core, Fan, Pace, Wire, pace};

/// A round lays out and sends about this many bytes at once, so that a slow player never has more to wait for.
const ROUND_BYTES: usize = 128 << 10;

/// How a stream is to be followed.
#[derive(Clone, Debug)]
pub struct Following {
    /// What is kept for late joiners.
    pub rules: Rules,
    /// How far a slow player may fall behind.
    pub queue_length: Duration,
    /// When rounds are sent.
    pub pace: Pace,
}

impl Following {
    /// Has a relay keep what is to be kept, and its readers fall behind as far as they may.
    pub fn adjust<U: Unit>(&self, relay: &Relay<U>) {
        relay.adjust(&self.rules, self.queue());
    }

    fn queue(&self) -> Micros {
        Micros(i64::try_from(self.queue_length.as_micros()).unwrap_or(i64::MAX))
    }
}

/// See the module.
#[derive(Default)]
pub struct Relays {
    running: RefCell<HashMap<(TypeId, usize), Rc<dyn Any>>>,
}

/// A stream in one form as this core follows it.
pub struct Followed<U: Unit> {
    /// The relay to read.
    pub relay: Relay<U>,
    pace: Cell<Pace>,
    fans: RefCell<Vec<Rc<dyn AnyFan>>>,
}

impl<U: Unit> Followed<U> {
    /// Follows the stream in this way from now on.
    pub fn adjust(&self, how: &Following) {
        self.pace.set(how.pace);
        how.adjust(&self.relay);
    }

    /// The fan for players whose connections carry units as `wire` does.
    pub fn fan<W: Wire<Unit = U>>(&self, wire: &W) -> Rc<Fan<W>> {
        self.any_fan(|relay| Fan::new(relay, wire.clone()))
    }

    /// The fan of this type, for players that are not reached by a stream of bytes.
    pub fn any_fan<F: AnyFan + 'static>(&self, make: impl FnOnce(Relay<U>) -> Rc<F>) -> Rc<F> {
        let mut fans = self.fans.borrow_mut();
        if let Some(found) = fans.iter().find_map(|fan| fan.clone().any().downcast().ok()) {
            return found;
        }
        let fan = make(self.relay.clone());
        fans.push(fan.clone());
        fan
    }
}

impl Core {
    /// Follows a stream in the form that `make` makes, if this core does not yet, and joins it.
    pub fn follow<R: Remux>(
        self: &Rc<Self>,
        broadcast: &Arc<Broadcast>,
        how: &Following,
        make: impl FnOnce() -> R,
    ) -> (Rc<Followed<R::Unit>>, Reader<R::Unit>) {
        let followed = self.followed(broadcast, how, make);
        let reader = followed.relay.reader();
        (followed, reader)
    }

    fn followed<R: Remux>(
        self: &Rc<Self>,
        broadcast: &Arc<Broadcast>,
        how: &Following,
        make: impl FnOnce() -> R,
    ) -> Rc<Followed<R::Unit>> {
        let key = (TypeId::of::<R>(), Arc::as_ptr(broadcast) as usize);
        let mut running = self.relays.running.borrow_mut();
        if let Some(found) = running.get(&key).and_then(|any| any.clone().downcast().ok()) {
            return found;
        }
        let relay = Relay::new(broadcast.subscribe(make), how.rules.clone(), how.queue());
        let followed = Rc::new(Followed { relay, pace: Cell::new(how.pace), fans: RefCell::default() });
        running.insert(key, followed.clone());
        let (core, driven) = (self.clone(), followed.clone());
        tokio::task::spawn_local(async move {
            drive(&core, &driven).await;
            core.relays.running.borrow_mut().remove(&key);
        });
        followed
    }
}

/// Pulls and fans out until nobody on this core reads any more.
async fn drive<U: Unit>(core: &Core, followed: &Followed<U>) {
    let mut next = Instant::now();
    let mut publisher = followed.relay.publisher();
    while let Some(news) = pull(core, followed, followed.pace.get(), &mut next).await {
        let missed = followed.relay.take_missed();
        if missed > 0 {
            let key = followed.relay.broadcast().key().to_string();
            warn!("core {}: stream {key} came too fast, {missed} units are lost to its players", core.index);
        }
        let fans = followed.fans.borrow().clone();
        for fan in fans.iter().filter(|fan| !fan.is_empty()) {
            for round in rounds(&followed.relay, news.clone()) {
                fan.begin(round);
                while fan.serve() {
                    tokio::task::yield_now().await;
                }
            }
        }
        if std::mem::replace(&mut publisher, followed.relay.publisher()) != followed.relay.publisher() {
            fans.iter().for_each(|fan| fan.put_down());
        }
    }
}

/// Waits for the next units; `None` when there are no readers.
async fn pull<U: Unit>(
    core: &Core,
    followed: &Followed<U>,
    pace: Pace,
    next: &mut Instant,
) -> Option<Range<u64>> {
    let relay = &followed.relay;
    let ready = |at_least: usize| {
        poll_fn(move |cx| match relay.is_unread(cx) {
            true => Poll::Ready(None),
            false => relay.poll_pull(cx, at_least, core.now()).map(Some),
        })
    };
    let (every, units) = match pace {
        Pace::Now => (Duration::ZERO, 0),
        Pace::Adaptive => (core.merge.get(), 0),
        Pace::Fixed { every, units } => (every, units),
    };
    if !every.is_zero() {
        tokio::time::sleep_until(*next).await;
    }
    let news = match units {
        0 => ready(1).await,
        n => match tokio::time::timeout(pace::LONGEST.saturating_sub(every), ready(n + 1)).await {
            Ok(news) => news,
            Err(_) => ready(1).await,
        },
    };
    // Rounds keep to the beat, unless nothing came for longer than that.
    let now = Instant::now();
    *next = if *next + every > now { *next + every } else { now + every };
    news
}

/// Cuts units into rounds of about [`ROUND_BYTES`].
fn rounds<U: Unit>(relay: &Relay<U>, news: Range<u64>) -> Vec<Range<u64>> {
    let (mut all, mut start, mut at, mut bytes) = (Vec::new(), news.start, news.start, 0);
    relay.each(news.clone(), |unit| {
        if bytes > 0 && bytes + unit.unit.size() > ROUND_BYTES {
            all.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += unit.unit.size();
        at += 1;
    });
    if start < at {
        all.push(start..at);
    }
    all
}
