//! The audience of a stream on one core: every new burst to every player that stands at the live edge, laid out in one batch of datagrams.
//! It keeps the history from which lost packets are sent again, one for all.

use std::any::Any;
use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hub::{Reader, Relay, Taken, Ticket};
use media::{Kind, Micros, Place};
use rtp::Burst;
use rtp::send::History;
use slab::Slab;
use tracing::info;

use super::floor::Floor;
use super::peer::Peer;
use crate::breaker::Level;
use crate::net::{AnyFan, Following};

/// Packets that can be sent again, per stream; SRS keeps as many.
const HISTORY: usize = 1000;

/// How many players are served before the other tasks of the core get a turn.
const TURN: usize = 64;

/// Somebody who catches up is sent this much at a time, so far apart: some 40 Mbit/s.
const STEP: usize = 24 << 10;
const PAUSE: Duration = Duration::from_millis(5);

/// See the module.
pub struct Audience {
    relay: Relay<Burst>,
    floor: Rc<Floor>,
    history: RefCell<History>,
    round: RefCell<Round>,
    riders: RefCell<Slab<Rider>>,
    /// Pictures are held back: the server was dying, and no keyframe has come since.
    without_pictures: Cell<bool>,
}

struct Rider {
    peer: Rc<Peer>,
    /// Units before this one it has got.
    from: u64,
}

#[derive(Default)]
struct Round {
    first: u64,
    /// With their places in the history.
    bursts: Vec<(u64, Burst)>,
    next: usize,
}

/// A player's place in the audience; dropping it leaves.
pub struct Seat {
    audience: Rc<Audience>,
    slot: usize,
    /// Keeps the stream followed.
    _reader: Reader<Burst>,
    _ticket: Ticket,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gone = self.audience.riders.borrow_mut().try_remove(self.slot);
        drop(gone);
    }
}

impl Audience {
    /// The audience of what this relay carries. What the relay has can be sent again from the start.
    pub fn new(relay: Relay<Burst>, floor: Rc<Floor>) -> Rc<Self> {
        let mut history = History::new(HISTORY);
        relay.each(0..relay.head(), |unit| {
            history.push(unit.unit.clone());
        });
        Rc::new(Self {
            relay,
            floor,
            history: RefCell::new(history),
            round: RefCell::default(),
            riders: RefCell::default(),
            without_pictures: Cell::default(),
        })
    }

    /// Follows the stream in this way from now on.
    pub fn adjust(&self, how: &Following) {
        how.adjust(&self.relay);
    }

    /// What can be sent again.
    pub fn history(&self) -> Ref<'_, History> {
        self.history.borrow()
    }

    /// Whether a unit goes to the players. A dying server sends them sound only; afterwards, pictures go on with a keyframe.
    fn is_sent(&self, place: Place) -> bool {
        let Place::Media { track, key } = place else { return true };
        if track.kind != Kind::Video {
            return true;
        }
        let held = self.without_pictures.get();
        let hold = self.floor.overload() >= Level::Dying || (held && !key);
        if held != hold {
            self.without_pictures.set(hold);
            info!("{}", if hold { "overload: no pictures" } else { "pictures again, from a keyframe" });
        }
        if hold && self.floor.overload() < Level::Dying {
            self.relay.broadcast().want_keyframe();
        }
        !hold
    }

    fn ride(self: &Rc<Self>, peer: Rc<Peer>, mut reader: Reader<Burst>) -> Seat {
        let from = self.relay.head();
        let slot = self.riders.borrow_mut().insert(Rider { peer, from });
        let ticket = reader.ride();
        Seat { audience: self.clone(), slot, _reader: reader, _ticket: ticket }
    }
}

impl AnyFan for Audience {
    /// Its history goes on without players: those who catch up will ask for it.
    fn is_empty(&self) -> bool {
        false
    }

    fn begin(&self, range: Range<u64>) {
        let round = &mut *self.round.borrow_mut();
        let mut history = self.history.borrow_mut();
        (round.first, round.next) = (range.start, 0);
        round.bursts.clear();
        self.relay.each(range, |unit| {
            let place = history.push(unit.unit.clone());
            if self.is_sent(unit.place) {
                round.bursts.push((place, unit.unit.clone()));
            }
        });
    }

    fn serve(&self) -> bool {
        let round = &mut *self.round.borrow_mut();
        let riders = self.riders.borrow();
        let now = self.floor.now();
        let end = (round.next + TURN).min(riders.capacity());
        let batch = &mut *self.floor.batch.borrow_mut();
        for slot in std::mem::replace(&mut round.next, end)..end {
            let Some(rider) = riders.get(slot).filter(|rider| rider.from <= round.first) else { continue };
            rider.peer.play(|player, transport| {
                for (place, burst) in &round.bursts {
                    player.send(now, burst, *place, false, (transport, batch));
                }
            });
            if batch.is_full() {
                self.floor.send(batch);
            }
        }
        self.floor.send(batch);
        end < riders.capacity()
    }

    /// Players stay: the next publisher's media goes on where the last one's ended.
    fn put_down(&self) {}

    fn any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// Brings a player from the newest keyframe to the live edge, and seats it there. It is sent the past as fast as the network may bear it.
pub async fn walk(audience: Rc<Audience>, mut reader: Reader<Burst>, peer: Weak<Peer>) {
    let mut units = Vec::new();
    let mut seen = audience.relay.publisher();
    loop {
        let taken = reader.take(STEP, &mut units);
        let Some(peer) = peer.upgrade() else { return };
        match taken {
            Taken::Units => {
                let (now, hurried) = (audience.floor.now(), reader_is_behind(&units));
                let lag = units.last().map_or(Micros::ZERO, |unit| audience.relay.newest() - unit.time);
                peer.session.counters.fall_behind(Duration::from_micros(lag.0.try_into().unwrap_or(0)));
                {
                    let history = audience.history.borrow();
                    let batch = &mut *audience.floor.batch.borrow_mut();
                    peer.play(|player, transport| {
                        for (n, unit) in units.drain(..).enumerate() {
                            let place = history.place(&unit.unit).unwrap_or(u64::MAX);
                            // A millisecond of the player's time for each.
                            let when = if hurried { now + Micros::from_millis(n as i64) } else { now };
                            player.send(when, &unit.unit, place, hurried, (transport, &mut *batch));
                        }
                    });
                    audience.floor.send(batch);
                }
                units.clear();
                tokio::time::sleep(PAUSE).await;
            }
            Taken::Edge if reader.may_ride() => {
                peer.session.counters.catch_up();
                let seat = audience.ride(peer.clone(), reader);
                peer.play(|player, _| player.seat = Some(seat));
                return;
            }
            Taken::Edge => {
                audience.relay.broadcast().want_keyframe();
                drop(peer);
                poll_fn(|cx| reader.poll_more(cx, seen)).await;
                seen = audience.relay.publisher();
            }
        }
    }
}

/// More than one frame of video waits: this is the past and not what has just come.
fn reader_is_behind(units: &[media::Stamped<Burst>]) -> bool {
    let is_video = |unit: &&media::Stamped<Burst>| matches!(unit.place, Place::Media { track, .. } if track.kind == Kind::Video);
    units.iter().filter(is_video).count() > 1
}
