//! The fan: every new piece of a stream to every player of one kind that stands at the live edge.
//!
//! What such players get differs by a few bytes or by none, so a round lays the bytes out once and sends that one
//! image to each. A player whose bytes differ this time has them laid out for itself; one whose socket is full leaves the fan and
//! reads on by itself ([`super::Delivery`]) until it has caught up.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hub::{Relay, Ticket};
use media::{Stamped, Unit};
use slab::Slab;

use super::framing::MAX_HEAD;
use super::{Framing, Outbox};

/// How one player's connection carries units: the state that its bytes depend on.
pub trait Wire: Clone + 'static {
    /// What is carried.
    type Unit: Unit;
    /// The bytes of a round, made to be shared, with what is needed to tell who can share them.
    type Image: Default;

    /// Lays out a unit for this player.
    fn lay(&mut self, unit: &Stamped<Self::Unit>, out: &mut Vec<u8>);

    /// Starts a new image.
    fn begin(&self, image: &mut Self::Image);

    /// Lays out a unit for everybody. `self` is the fan's own hand, which follows the live edge.
    fn draw(&mut self, unit: &Stamped<Self::Unit>, image: &mut Self::Image);

    /// The image as the bytes for this player, whose state moves on; `None` if its bytes differ.
    fn share<'i>(&mut self, image: &'i mut Self::Image) -> Option<&'i [u8]>;
}

/// See the module.
pub struct Fan<W: Wire>(RefCell<Inner<W>>);

struct Inner<W: Wire> {
    relay: Relay<W::Unit>,
    hand: W,
    image: W::Image,
    round: Range<u64>,
    /// Whose turn it is in the round.
    next: usize,
    riders: Slab<Rider<W>>,
    /// What a player gets whose bytes differ.
    own: Vec<u8>,
    /// What slow players of this round still have to get, shared among them.
    left: Option<Bytes>,
}

struct Rider<W> {
    ticket: Ticket,
    outbox: Rc<Outbox>,
    framing: Framing,
    wire: W,
    /// The next unit that it needs.
    at: u64,
    end: Option<io::Result<()>>,
    waker: Option<Waker>,
}

/// How many players are served before the other tasks of the core get a turn.
const TURN: usize = 64;

impl<W: Wire> Fan<W> {
    pub(super) fn new(relay: Relay<W::Unit>, hand: W) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Inner {
            relay,
            hand,
            image: W::Image::default(),
            round: 0..0,
            next: 0,
            riders: Slab::new(),
            own: Vec::new(),
            left: None,
        })))
    }

    /// Takes a player along, whose reader gave the ticket at the live edge.
    pub fn ride(self: &Rc<Self>, ticket: Ticket, outbox: Rc<Outbox>, framing: Framing, wire: W) -> Ride<W> {
        let mut inner = self.0.borrow_mut();
        let at = inner.relay.head();
        let slot = inner.riders.insert(Rider { ticket, outbox, framing, wire, at, end: None, waker: None });
        Ride { fan: self.clone(), slot }
    }
}

/// A fan of any kind, as the driver of a relay sees it.
pub trait AnyFan {
    /// Nobody rides.
    fn is_empty(&self) -> bool;
    /// Starts a round over these units.
    fn begin(&self, round: Range<u64>);
    /// Serves some players; `false` when the round is over.
    fn serve(&self) -> bool;
    /// Ends all rides: the publisher is another one, and each player decides for itself whether it stays.
    fn put_down(&self);
    /// Itself, to be found by its type.
    fn any(self: Rc<Self>) -> Rc<dyn Any>;
}

impl<W: Wire> AnyFan for Fan<W> {
    fn is_empty(&self) -> bool {
        self.0.borrow().riders.is_empty()
    }

    fn begin(&self, round: Range<u64>) {
        let Inner { relay, hand, image, round: current, next, left, .. } = &mut *self.0.borrow_mut();
        hand.begin(image);
        relay.each(round.clone(), |unit| hand.draw(unit, image));
        (*current, *next, *left) = (round, 0, None);
    }

    fn serve(&self) -> bool {
        let mut wakers = Vec::new();
        let more = self.0.borrow_mut().serve(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        more
    }

    fn put_down(&self) {
        let mut wakers = Vec::new();
        let Inner { relay, riders, .. } = &mut *self.0.borrow_mut();
        for (_, rider) in riders {
            if rider.end.is_none() {
                relay.put_down(&rider.ticket, rider.at);
                rider.end = Some(Ok(()));
            }
            wakers.extend(rider.waker.take());
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    fn any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

impl<W: Wire> Inner<W> {
    fn serve(&mut self, wakers: &mut Vec<Waker>) -> bool {
        let Self { relay, image, round, next, riders, own, left, .. } = self;
        let end = (*next + TURN).min(riders.capacity());
        for slot in std::mem::replace(next, end)..end {
            let Some(rider) = riders.get_mut(slot) else { continue };
            // Whoever joined in the middle of the round has these units already.
            if rider.at != round.start || rider.end.is_some() {
                continue;
            }
            rider.at = round.end;
            let sent = match rider.wire.share(image) {
                Some(bytes) => rider.send(bytes, left),
                None => {
                    own.clear();
                    relay.each(round.clone(), |unit| rider.wire.lay(unit, own));
                    rider.send(own, &mut None)
                }
            };
            let end = match sent {
                Ok(true) => continue,
                Ok(false) => Ok(()),
                Err(e) => Err(e),
            };
            relay.put_down(&rider.ticket, rider.at);
            rider.end = Some(end);
            wakers.extend(rider.waker.take());
        }
        end < riders.capacity()
    }
}

impl<W> Rider<W> {
    /// Sends; `false` when some of it has to wait in the outbox.
    fn send(&self, bytes: &[u8], left: &mut Option<Bytes>) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(true);
        }
        let mut head = [0; MAX_HEAD];
        let head = match self.framing.head(bytes.len(), &mut head) {
            0 => &[],
            n => &head[..n],
        };
        let tail = self.framing.tail();
        let went = match self.framing {
            Framing::Raw => self.outbox.offer(&[IoSlice::new(bytes)])?,
            _ => self.outbox.offer(&[IoSlice::new(head), IoSlice::new(bytes), IoSlice::new(tail)])?,
        };
        if went == head.len() + bytes.len() + tail.len() {
            return Ok(true);
        }
        let (in_head, in_body) = (went.min(head.len()), went.saturating_sub(head.len()).min(bytes.len()));
        let in_tail = went.saturating_sub(head.len() + bytes.len());
        self.outbox.hold(Bytes::copy_from_slice(&head[in_head..]));
        if left.as_ref().is_none_or(|left| left[..] != *bytes) {
            *left = Some(Bytes::copy_from_slice(bytes));
        }
        if let Some(left) = left {
            self.outbox.hold(left.slice(in_body..));
        }
        self.outbox.hold(Bytes::from_static(&tail[in_tail..]));
        Ok(false)
    }
}

/// A player's seat in a fan; dropping it gets off.
pub struct Ride<W: Wire> {
    fan: Rc<Fan<W>>,
    slot: usize,
}

impl<W: Wire> Ride<W> {
    /// Ready when the ride is over: the socket is full (what did not fit waits in the outbox), or broken.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.fan.0.borrow_mut();
        let rider = &mut inner.riders[self.slot];
        match rider.end.take() {
            Some(end) => Poll::Ready(end),
            None => {
                rider.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Gets off; its reader goes on where the ride ended. The state of the wire.
    pub fn leave(self) -> W {
        let inner = self.fan.0.borrow();
        let rider = &inner.riders[self.slot];
        inner.relay.put_down(&rider.ticket, rider.at);
        rider.wire.clone()
    }
}

impl<W: Wire> Drop for Ride<W> {
    fn drop(&mut self) {
        self.fan.0.borrow_mut().riders.remove(self.slot);
    }
}
