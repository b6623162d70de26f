//! A lane: the units of one form of one stream, with one writer and one subscription per core.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use media::{Micros, Stamped, Unit};
use parking_lot::Mutex;
use slab::Slab;

use crate::Rules;
use crate::broadcast::Broadcast;
use crate::tail::Tail;

/// A subscription that has fallen this many units behind jumps ahead. Relays pull at least every few hundred
/// milliseconds, so that only a core that hangs gets here.
const MAX_BEHIND: u64 = 8192;
/// The same, by what the units weigh: forms with few large units are read by tasks that wait for disks.
const MAX_BEHIND_BYTES: usize = 64 << 20;

pub(crate) struct Lane<U> {
    tail: Tail<U>,
    live: bool,
    generation: u32,
    /// The number of the publisher's first unit.
    turned: u64,
    followers: Slab<Follower>,
}

struct Follower {
    cursor: u64,
    waker: Option<Waker>,
}

impl<U: Unit> Lane<U> {
    pub(crate) fn new(rules: Rules, history: Micros, live: bool) -> Self {
        let tail = Tail::new(rules, history);
        Self { tail, live, generation: live.into(), turned: 0, followers: Slab::new() }
    }

    pub(crate) fn followers(&self) -> usize {
        self.followers.len()
    }

    pub(crate) fn set_rules(&mut self, rules: &Rules) {
        self.tail.set_rules(rules);
    }

    /// Appends units and collects who must be woken once the locks are gone.
    pub(crate) fn push(&mut self, units: &mut Vec<Stamped<U>>, wakers: &mut Vec<Waker>) {
        units.drain(..).for_each(|unit| self.tail.push(unit));
        self.trim();
        self.wake(wakers);
    }

    /// The publisher came (`true`) or left. What it had said is forgotten when it leaves.
    pub(crate) fn turn(&mut self, live: bool, wakers: &mut Vec<Waker>) {
        self.live = live;
        if live {
            self.generation = self.generation.wrapping_add(1);
            self.turned = self.tail.head();
        } else {
            self.tail.forget();
            self.trim();
        }
        self.wake(wakers);
    }

    fn wake(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.followers.iter_mut().filter_map(|(_, f)| f.waker.take()));
    }

    fn trim(&mut self) {
        let head = self.tail.head();
        let slowest = self.followers.iter().map(|(_, f)| f.cursor).min().unwrap_or(head);
        self.tail.trim(slowest.max(head.saturating_sub(MAX_BEHIND)));
        while self.tail.bytes() > MAX_BEHIND_BYTES && self.tail.trim_one() {}
    }
}

/// What a pull brought, besides units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The units do not follow those of the pull before: it is the first pull, or this core was too late. `init` holds what is needed before them.
    pub anew: bool,
    /// How many units this core was too late for.
    pub missed: u64,
    /// A publisher is there.
    pub live: bool,
    /// Counts publishers; a change means that another one took over.
    pub generation: u32,
    /// So many of the units are of publishers before that one.
    pub before: usize,
}

/// One core's view of a form: a cursor into the lane, and the one waker that is rung when there is more.
pub struct Subscription<U: Unit> {
    lane: Arc<Mutex<Lane<U>>>,
    slot: usize,
    seen: Option<(bool, u32)>,
    /// The first pull brings everything since the subscription.
    whole: bool,
    broadcast: Arc<Broadcast>,
}

impl<U: Unit> Subscription<U> {
    pub(crate) fn new(lane: Arc<Mutex<Lane<U>>>, broadcast: Arc<Broadcast>) -> Self {
        let mut guard = lane.lock();
        let cursor = guard.tail.entry().0;
        let slot = guard.followers.insert(Follower { cursor, waker: None });
        drop(guard);
        Self { lane, slot, seen: None, whole: false, broadcast }
    }

    /// The first pull is to begin where the subscription was made, also when there is a later place to start at: for who records, and not for
    /// who watches.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// The stream that this is of.
    pub fn broadcast(&self) -> &Arc<Broadcast> {
        &self.broadcast
    }

    /// A publisher is there, and which one by count, as of now.
    pub fn publisher(&self) -> (bool, u32) {
        let lane = self.lane.lock();
        (lane.live, lane.generation)
    }

    /// See [`media::Remux::history`].
    pub(crate) fn history(&self) -> Micros {
        self.lane.lock().tail.history()
    }

    /// Takes all units that have come since the last pull. Pending while there are fewer than `at_least` (and the publisher is the
    /// same); the waker is then rung once, when there are more.
    pub fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        at_least: usize,
        init: &mut Vec<Stamped<U>>,
        units: &mut Vec<Stamped<U>>,
    ) -> Poll<Pulled> {
        let mut lane = self.lane.lock();
        let Lane { tail, live, generation, turned, followers } = &mut *lane;
        let follower = &mut followers[self.slot];
        let state = (*live, *generation);
        let waiting = tail.head() - follower.cursor.min(tail.head());
        if waiting < at_least.max(1) as u64 && self.seen == Some(state) {
            if !follower.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                follower.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let late = self.seen.is_some() && follower.cursor < tail.first();
        let anew = self.seen.is_none() || late;
        let mut missed = 0;
        if anew {
            let (entry, needed) = tail.entry();
            if late {
                missed = entry - follower.cursor;
            }
            // Without a key unit to start with, what has come since the subscription is not to be passed over.
            let kept = (self.whole && !late || !tail.has_key()) && follower.cursor >= tail.first();
            follower.cursor = if kept { follower.cursor.min(entry) } else { entry };
            // Whatever was said before belongs to the moment where this core begins.
            let time = tail.get(follower.cursor).map_or(tail.now(), |unit| unit.time);
            let comes = |place| kept && tail.since(follower.cursor).any(|unit| unit.place == place);
            init.clear();
            init.extend(
                needed.iter().filter(|u| !comes(u.place)).cloned().map(|unit| Stamped { time, ..unit }),
            );
        }
        let before = turned.saturating_sub(follower.cursor) as usize;
        units.extend(tail.since(follower.cursor).cloned());
        follower.cursor = tail.head();
        self.seen = Some(state);
        lane.trim();
        Poll::Ready(Pulled { anew, missed, live: state.0, generation: state.1, before })
    }
}

impl<U: Unit> Drop for Subscription<U> {
    fn drop(&mut self) {
        let mut lane = self.lane.lock();
        lane.followers.remove(self.slot);
        lane.trim();
    }
}
