//! A relay: one core's copy of the newest units of one form, read without locks by the players of that core.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use media::{Kind, Micros, Place, Stamped, Unit};
use slab::Slab;

use crate::broadcast::{Broadcast, Rules};
use crate::lane::Subscription;
use crate::tail::Tail;

/// Units that slow readers wait for never take more than this on one core and stream, however long the queue may be.
const MAX_QUEUE_BYTES: usize = 256 << 20;

/// See the module. Clones share one relay.
pub struct Relay<U: Unit>(Rc<RefCell<Inner<U>>>);

struct Inner<U: Unit> {
    subscription: Subscription<U>,
    tail: Tail<U>,
    /// When what arrived: the number of the first unit of each pull.
    arrivals: VecDeque<(u64, Micros)>,
    queue_length: Micros,
    live: bool,
    generation: u32,
    missed: u64,
    readers: Slab<Cursor>,
    /// Rung when the last reader leaves.
    driver: Option<Waker>,
    init: Vec<Stamped<U>>,
    units: Vec<Stamped<U>>,
}

struct Cursor {
    /// The next unit; `u64::MAX` while the reader rides at the live edge and holds nothing.
    at: u64,
    waker: Option<Waker>,
}

impl<U: Unit> Clone for Relay<U> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<U: Unit> Relay<U> {
    /// A relay over a subscription. Readers that are more than `queue_length` behind are told to skip.
    pub fn new(subscription: Subscription<U>, rules: Rules, queue_length: Micros) -> Self {
        let (live, generation) = subscription.publisher();
        let history = subscription.history();
        Self(Rc::new(RefCell::new(Inner {
            subscription,
            tail: Tail::new(rules, history),
            arrivals: VecDeque::new(),
            queue_length,
            live,
            generation,
            missed: 0,
            readers: Slab::new(),
            driver: None,
            init: Vec::new(),
            units: Vec::new(),
        })))
    }

    /// What is kept, and how far readers may be behind, from now on.
    pub fn adjust(&self, rules: &Rules, queue_length: Micros) {
        let inner = &mut *self.0.borrow_mut();
        inner.tail.set_rules(rules);
        inner.queue_length = queue_length;
    }

    /// The stream that this is of.
    pub fn broadcast(&self) -> Arc<Broadcast> {
        self.0.borrow().subscription.broadcast().clone()
    }

    /// Fetches what has come since the last pull, if it is at least so many units or the publisher changed; wakes the
    /// readers that wait, and tells the numbers of the new units. They stay until the next pull.
    pub fn poll_pull(&self, cx: &mut Context<'_>, at_least: usize, now: Micros) -> Poll<Range<u64>> {
        let mut wakers = Vec::new();
        let range = {
            let inner = &mut *self.0.borrow_mut();
            let Poll::Ready(pulled) =
                inner.subscription.poll_pull(cx, at_least, &mut inner.init, &mut inner.units)
            else {
                return Poll::Pending;
            };
            let turned = (inner.live, inner.generation) != (pulled.live, pulled.generation);
            inner.missed += pulled.missed;
            let from = inner.append(pulled.anew, now);
            (inner.live, inner.generation) = (pulled.live, pulled.generation);
            if turned && !pulled.live {
                inner.tail.forget();
            }
            inner.trim(now, from);
            wakers.extend(inner.readers.iter_mut().filter_map(|(_, r)| r.waker.take()));
            from..inner.tail.head()
        };
        wakers.into_iter().for_each(Waker::wake);
        Poll::Ready(range)
    }

    /// How many units came and went before this core could take them, since the last call.
    pub fn take_missed(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().missed)
    }

    /// Shows each unit of a range, in order.
    pub fn each(&self, range: Range<u64>, mut show: impl FnMut(&Stamped<U>)) {
        let inner = self.0.borrow();
        let n = range.end.saturating_sub(range.start) as usize;
        inner.tail.since(range.start).take(n).for_each(&mut show);
    }

    /// Nobody reads. If somebody does, the waker is rung when the last one leaves.
    pub fn is_unread(&self, cx: &mut Context<'_>) -> bool {
        let mut inner = self.0.borrow_mut();
        inner.driver = Some(cx.waker().clone());
        inner.readers.is_empty()
    }

    /// Puts a rider down: from unit `at` on, the relay keeps what it needs.
    pub fn put_down(&self, rider: &Ticket, at: u64) {
        if let Some(reader) = self.0.borrow_mut().readers.get_mut(rider.0) {
            reader.at = at;
        }
    }

    /// The number that the next unit will have.
    pub fn head(&self) -> u64 {
        self.0.borrow().tail.head()
    }

    /// The time of the newest unit.
    pub fn newest(&self) -> Micros {
        self.0.borrow().tail.now()
    }

    /// A publisher is there, and which one by count.
    pub fn publisher(&self) -> (bool, u32) {
        let inner = self.0.borrow();
        (inner.live, inner.generation)
    }

    /// A new reader, at the newest key unit if there is one, else at the live edge.
    pub fn reader(&self) -> Reader<U> {
        let mut inner = self.0.borrow_mut();
        let (at, init) = inner.tail.entry();
        let pending = init.clone();
        let await_key = !inner.tail.has_key();
        let slot = inner.readers.insert(Cursor { at, waker: None });
        Reader { relay: self.clone(), slot, pending, await_key, skipped: 0 }
    }
}

impl<U: Unit> Inner<U> {
    /// Appends the pulled units; returns the number of the first of them.
    fn append(&mut self, anew: bool, now: Micros) -> u64 {
        let from = self.tail.head();
        if anew {
            self.init.drain(..).for_each(|unit| self.tail.push(unit));
        }
        self.units.drain(..).for_each(|unit| self.tail.push(unit));
        if self.tail.head() > from {
            self.arrivals.push_back((from, now));
        }
        from
    }

    /// Keeps what a reader still needs and what is not too old; the newest units (from `served` on) always.
    fn trim(&mut self, now: Micros, served: u64) {
        let slowest = self.readers.iter().map(|(_, r)| r.at).min().unwrap_or(u64::MAX);
        // Too old by arrival …
        let oldest = now - self.queue_length;
        while self.arrivals.len() > 1 && self.arrivals.get(1).is_some_and(|(_, when)| *when < oldest) {
            self.arrivals.pop_front();
        }
        let mut limit = match self.arrivals.front() {
            Some((first, when)) if *when >= oldest => *first,
            _ => served,
        };
        // … or by media time, since an encoder may send faster than it plays; or too much.
        let mut bytes = self.tail.bytes();
        for (n, unit) in (self.tail.first()..).zip(self.tail.since(0)) {
            let old = self.tail.now() - unit.time > self.queue_length;
            if n >= limit && !old && bytes <= MAX_QUEUE_BYTES {
                break;
            }
            bytes = bytes.saturating_sub(unit.unit.size());
            limit = limit.max(n + 1);
        }
        self.tail.trim(slowest.max(limit).min(served));
    }
}

/// What [`Reader::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There are units in the vector.
    Units,
    /// The reader stands at the live edge.
    Edge,
}

/// Names a reader that rides, for whoever carries it. It is of use as long as the reader lives.
#[derive(Debug)]
pub struct Ticket(usize);

/// One player's place in a relay. It holds units only while it is behind.
pub struct Reader<U: Unit> {
    relay: Relay<U>,
    slot: usize,
    pending: Vec<Stamped<U>>,
    await_key: bool,
    skipped: u64,
}

impl<U: Unit> Reader<U> {
    /// The relay that it reads.
    pub fn relay(&self) -> &Relay<U> {
        &self.relay
    }

    /// Takes units up to about `max_bytes` (at least one, if there is any): first what is needed before any media, then media from a
    /// key unit on. Video that no decoder could use is left out. A reader that was too slow goes on with the newest key unit.
    pub fn take(&mut self, max_bytes: usize, out: &mut Vec<Stamped<U>>) -> Taken {
        let inner = &mut *self.relay.0.borrow_mut();
        let tail = &inner.tail;
        let mut at = inner.readers[self.slot].at;
        if at < tail.first() {
            let (entry, init) = tail.entry();
            self.skipped += entry - at;
            self.pending.clone_from(init);
            self.await_key = !tail.has_key();
            at = entry;
        }
        let start = out.len();
        let time = tail.get(at).map_or(tail.now(), |u| u.time);
        out.extend(self.pending.drain(..).map(|unit| Stamped { time, ..unit }));
        let mut bytes = 0;
        for unit in tail.since(at) {
            if bytes > 0 && bytes + unit.unit.size() > max_bytes {
                break;
            }
            at += 1;
            if let Place::Media { track, key } = unit.place {
                self.await_key &= !key;
                if self.await_key && track.kind == Kind::Video {
                    continue;
                }
            }
            bytes += unit.unit.size();
            out.push(unit.clone());
        }
        inner.readers[self.slot].at = at;
        if out.len() > start { Taken::Units } else { Taken::Edge }
    }

    /// It stands at the live edge, has been given all that it needs and may ride with the others.
    pub fn may_ride(&self) -> bool {
        let inner = self.relay.0.borrow();
        inner.readers[self.slot].at == inner.tail.head() && self.pending.is_empty() && !self.await_key
    }

    /// It rides: somebody else gives it every new unit, and it holds none, until [`Relay::put_down`].
    pub fn ride(&mut self) -> Ticket {
        self.relay.0.borrow_mut().readers[self.slot].at = u64::MAX;
        Ticket(self.slot)
    }

    /// Ready when [`Reader::take`] would find something, or the publisher is another one than `seen`.
    pub fn poll_more(&mut self, cx: &mut Context<'_>, seen: (bool, u32)) -> Poll<()> {
        let inner = &mut *self.relay.0.borrow_mut();
        let cursor = &mut inner.readers[self.slot];
        let more = cursor.at < inner.tail.head() || !self.pending.is_empty();
        if more || (inner.live, inner.generation) != seen {
            return Poll::Ready(());
        }
        cursor.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// How many units it was too slow for, since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}

impl<U: Unit> Drop for Reader<U> {
    fn drop(&mut self) {
        let mut inner = self.relay.0.borrow_mut();
        inner.readers.remove(self.slot);
        let driver = if inner.readers.is_empty() { inner.driver.take() } else { None };
        drop(inner);
        if let Some(waker) = driver {
            waker.wake();
        }
    }
}
