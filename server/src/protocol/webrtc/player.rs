//! A player: what it gets of a stream, and what it says of how that arrives.

use std::rc::Rc;

use media::Micros;
use rtc::Outlet;
use rtc::outlet::Said;
use rtc::sdp::Section;
use rtp::Burst;
use rtp::rtcp::Writer;
use rtp::send::Reception;
use tracing::warn;

use super::audience::{Audience, Seat, walk};
use super::peer::{At, Transport};
use crate::breaker::Level;
use crate::form;
use crate::gate::Playing;
use crate::net::udp::Batch;
use crate::session;
use crate::trace::Moment;

/// See the module.
pub struct Player {
    playing: Playing,
    /// The first byte has not been sent yet, and somebody wants to know.
    first: Option<Moment>,
    outlet: Outlet,
    audience: Option<Rc<Audience>>,
    /// Its place in the audience, once it has caught up.
    pub seat: Option<Seat>,
}

impl Player {
    /// A player that gets what `sections` agree upon.
    pub fn new(playing: Playing, sections: &[Section]) -> Self {
        Self {
            first: playing.first_byte(),
            playing,
            outlet: Outlet::new(sections, || (fastrand::u16(..0x8000), fastrand::u32(..))),
            audience: None,
            seat: None,
        }
    }

    /// Media may flow: the player catches up with the stream.
    pub fn start(&mut self, at: &At<'_>) {
        if self.audience.is_some() {
            return;
        }
        let (vhost, broadcast) = (&self.playing.vhost, &self.playing.broadcast);
        let (followed, reader) =
            at.floor.core.follow(broadcast, &form::rtc_following(vhost), || form::rtp(vhost));
        let audience = followed.any_fan(|relay| Audience::new(relay, at.floor.clone()));
        self.audience = Some(audience.clone());
        self.fit();
        self.outlet.begin(at.now);
        tokio::task::spawn_local(walk(audience, reader, Rc::downgrade(at.peer)));
    }

    /// Sends a burst that stands at `place` of the history. Of the past (`hurried`), sound is left out where there are pictures.
    pub fn send(
        &mut self,
        now: Micros,
        burst: &Burst,
        place: u64,
        hurried: bool,
        out: (&mut Transport, &mut Batch),
    ) {
        let (transport, batch) = out;
        let Some(packets) = self.outlet.send(now, burst, place, hurried) else { return };
        if let Some(first) = self.first.take() {
            first.come();
        }
        for (header, payload) in packets {
            transport.send(batch, false, |out| {
                header.write(out);
                payload.write(out);
            });
        }
    }

    /// Finds out which tracks are in a codec that the player agreed to: who comes before the publisher agrees to a guess.
    fn fit(&mut self) {
        let broadcast = &self.playing.broadcast;
        let streams = broadcast.tracks();
        for stream in streams.video().into_iter().chain(streams.audio()) {
            let Some(name) = form::played_name(broadcast, &stream.codec) else { continue };
            if let Some(agreed) = self.outlet.fit(stream.id.kind, name) {
                warn!("the stream is in {name} and the player agreed to {agreed}: it has to ask anew");
            }
        }
    }

    /// What the player says.
    pub fn control(&mut self, at: &At<'_>, datagram: &[u8], transport: &mut Transport, batch: &mut Batch) {
        let history = self.audience.as_ref().map(|audience| audience.history());
        let history = history.as_deref().filter(|_| at.floor.overload() < Level::Critical);
        let counters = &at.peer.session.counters;
        self.outlet.control(at.unix, datagram, history, |said| match said {
            Said::Missing(count) => counters.add_nacked(count),
            Said::Again(again) => transport.send(batch, false, |out| again.write(out)),
            Said::Keyframe => self.playing.broadcast.want_keyframe(),
            Said::Reception(Reception { fraction_lost, lost, jitter, round_trip }) => {
                let loss = f64::from(fraction_lost) / 256.0;
                counters.set_reception(session::Reception { loss, lost, jitter, round_trip });
            }
            Said::Asked(ours, delay) => {
                transport.send(batch, true, |out| Writer::new(out).delays(ours, &[delay]));
            }
        });
    }

    /// Sends the reports that are due.
    pub fn report(&mut self, at: &At<'_>, transport: &mut Transport, batch: &mut Batch) {
        if at.now < self.outlet.due() {
            return;
        }
        self.fit();
        if let (Some(vhost), Some(audience)) = (self.playing.settings.news(), &self.audience) {
            audience.adjust(&form::rtc_following(&vhost));
        }
        self.outlet.report(at.now, at.unix, |write| transport.send(batch, true, |out| write(out)));
    }

    /// When it has something to send.
    pub fn due(&self) -> Option<Micros> {
        self.audience.is_some().then_some(self.outlet.due())
    }
}
