//! A delivery: one player's way from the first unit it gets to the last.
//!
//! It walks from the newest keyframe to the live edge at the speed of the socket, rides the fan from there, and walks
//! again whenever the socket is full.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hub::{Reader, Taken};
use media::{Micros, Stamped};

use super::fan::Ride;
use super::framing::MAX_HEAD;
use super::{Core, Followed, Framing, Outbox, Wire};
use crate::session::Counters;
use crate::trace::Moment;

/// A step of the walk takes about this many bytes.
const STEP: usize = 64 << 10;

/// See the module.
pub struct Delivery<W: Wire> {
    core: Rc<Core>,
    followed: Rc<Followed<W::Unit>>,
    reader: Reader<W::Unit>,
    outbox: Rc<Outbox>,
    framing: Framing,
    wire: W,
    ride: Option<Ride<W>>,
    /// `send_min_interval`: units go one by one, so far apart.
    gap: Duration,
    /// The most media time to deliver, and when it started.
    limit: Option<Micros>,
    started: Option<Micros>,
    publisher: (bool, u32),
    /// The first byte has not been sent yet, and somebody wants to know.
    first: Option<Moment>,
}

/// How many publishers have left, by who is there now and how many have come.
fn departures((live, came): (bool, u32)) -> u32 {
    came.wrapping_sub(live.into())
}

/// Why a delivery came to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The publisher left, or another took over. What it had sent has been delivered; running on delivers what comes next.
    PublisherLeft,
    /// As much as was asked for has been delivered.
    Limit,
}

impl<W: Wire> Delivery<W> {
    /// A delivery that starts where the reader stands.
    pub fn new(
        core: Rc<Core>,
        followed: Rc<Followed<W::Unit>>,
        reader: Reader<W::Unit>,
        outbox: Rc<Outbox>,
        framing: Framing,
        wire: W,
    ) -> Self {
        let publisher = followed.relay.publisher();
        Self {
            core,
            followed,
            reader,
            outbox,
            framing,
            wire,
            ride: None,
            gap: Duration::ZERO,
            limit: None,
            started: None,
            publisher,
            first: None,
        }
    }

    /// Tells of the first byte.
    pub fn with_first_byte(mut self, first: Option<Moment>) -> Self {
        self.first = first;
        self
    }

    /// The publisher when this player began to read, if it has read before.
    pub fn with_publisher(mut self, publisher: (bool, u32)) -> Self {
        self.publisher = publisher;
        self
    }

    /// Sends units one by one, at least `gap` apart.
    pub fn with_gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// Another gap, from the next unit on.
    pub fn set_gap(&mut self, gap: Duration) {
        self.pause();
        self.gap = gap;
    }

    /// Delivers no more than so much media time.
    pub fn with_limit(mut self, limit: Micros) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Gets off the fan, if it rides. What was sent so far stands; nothing more is sent until [`Delivery::run`] goes on.
    /// Meanwhile the player's wire may be changed.
    pub fn pause(&mut self) -> &mut W {
        if let Some(ride) = self.ride.take() {
            self.wire = ride.leave();
        }
        &mut self.wire
    }

    /// Delivers until there is a reason to stop, or the connection breaks. May be dropped and called again at any
    /// time.
    pub async fn run(&mut self) -> io::Result<Done> {
        let mut units = Vec::new();
        loop {
            if let Some(ride) = &self.ride {
                let end = poll_fn(|cx| ride.poll_end(cx)).await;
                self.pause();
                end?;
                self.counters().fall_behind(Duration::ZERO);
            }
            self.outbox.clear().await?;
            let step = if self.gap.is_zero() { STEP } else { 0 };
            let taken = self.reader.take(step, &mut units);
            self.count_skips();
            match taken {
                Taken::Units => {
                    let over = self.cut(&mut units);
                    self.tell_lag(&units);
                    self.send(&units)?;
                    units.clear();
                    if let Some(first) = self.first.take() {
                        first.come();
                    }
                    if over {
                        return Ok(Done::Limit);
                    }
                    if !self.gap.is_zero() {
                        tokio::time::sleep(self.gap).await;
                    } else {
                        tokio::task::consume_budget().await;
                    }
                }
                Taken::Edge => {
                    self.counters().catch_up();
                    let publisher = self.followed.relay.publisher();
                    let was = std::mem::replace(&mut self.publisher, publisher);
                    if departures(was) != departures(publisher) {
                        return Ok(Done::PublisherLeft);
                    }
                    // Who waits for its first byte is not in the fan, which does not look at single players.
                    if self.gap.is_zero()
                        && self.first.is_none()
                        && self.limit.is_none()
                        && self.outbox.is_direct()
                        && self.reader.may_ride()
                    {
                        units = Vec::new();
                        let fan = self.followed.fan(&self.wire);
                        let ticket = self.reader.ride();
                        self.ride =
                            Some(fan.ride(ticket, self.outbox.clone(), self.framing, self.wire.clone()));
                    } else {
                        poll_fn(|cx| self.reader.poll_more(cx, publisher)).await;
                    }
                }
            }
        }
    }

    fn send(&mut self, units: &[Stamped<W::Unit>]) -> io::Result<()> {
        let Self { core, outbox, framing, wire, .. } = self;
        core.with_write_buffer(|bytes| {
            units.iter().for_each(|unit| wire.lay(unit, bytes));
            if bytes.is_empty() {
                return Ok(());
            }
            let mut head = [0; MAX_HEAD];
            let n = framing.head(bytes.len(), &mut head);
            let parts = [&head[..n], &bytes[..], framing.tail()];
            let mut went = outbox.offer(&parts.map(IoSlice::new))?;
            for part in parts {
                outbox.hold(Bytes::copy_from_slice(&part[went.min(part.len())..]));
                went = went.saturating_sub(part.len());
            }
            Ok(())
        })
    }

    /// Cuts off what is over the limit, if anything is.
    fn cut(&mut self, units: &mut Vec<Stamped<W::Unit>>) -> bool {
        let (Some(limit), Some(first)) = (self.limit, units.first()) else { return false };
        let start = *self.started.get_or_insert(first.time);
        let fit = units.iter().position(|unit| unit.time - start > limit);
        units.truncate(fit.unwrap_or(units.len()));
        fit.is_some()
    }

    /// Tells how old the newest of these is.
    fn tell_lag(&self, units: &[Stamped<W::Unit>]) {
        if let Some(unit) = units.last() {
            let lag = self.followed.relay.newest() - unit.time;
            self.counters().fall_behind(Duration::from_micros(lag.0.try_into().unwrap_or(0)));
        }
    }

    fn counters(&self) -> &Counters {
        &self.outbox.session().counters
    }

    fn count_skips(&mut self) {
        let skipped = self.reader.take_skipped();
        if skipped > 0 {
            self.counters().add_skipped(skipped);
            tracing::warn!("too slow: skipped {skipped} units to the newest keyframe");
        }
    }
}
