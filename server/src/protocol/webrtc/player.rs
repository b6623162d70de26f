//! A player: the tracks that it agreed to get, each with its sender, and what it says of how they arrive.

use std::rc::Rc;

use media::{Kind, Micros};
use rtc::sdp::Section;
use rtp::Burst;
use rtp::rtcp::{self, Block, Dlrr, Packet, Writer};
use rtp::send::{Line, Reception, Sender, SenderOptions};

use tracing::warn;

use super::audience::{Audience, Seat, walk};
use super::peer::{At, Transport};
use crate::breaker::Level;
use crate::form;
use crate::gate::Playing;
use crate::net::udp::Batch;
use crate::session;
use crate::trace::Moment;

/// Sender reports go out this often; the first ones sooner, since players need one to show sound and pictures in step.
const REPORT: Micros = Micros::from_secs(1);
const FIRST_REPORT: Micros = Micros::from_millis(100);

/// See the module.
pub struct Player {
    playing: Playing,
    /// The first byte has not been sent yet, and somebody wants to know.
    first: Option<Moment>,
    tracks: Vec<Track>,
    line: Line,
    next_report: Micros,
    reports: u32,
    audience: Option<Rc<Audience>>,
    /// Its place in the audience, once it has caught up.
    pub seat: Option<Seat>,
}

struct Track {
    kind: Kind,
    encoding: String,
    /// The stream is in this encoding.
    fits: bool,
    cname: String,
    sender: Sender,
}

impl Player {
    /// A player that gets what `sections` agree upon.
    pub fn new(playing: Playing, sections: &[Section]) -> Self {
        let tracks = sections.iter().filter_map(|section| {
            let source = section.outgoing.as_ref()?;
            let retransmission = section.retransmission.as_ref();
            let options = SenderOptions {
                ssrc: source.ssrc,
                payload_type: section.format.payload_type,
                retransmission: retransmission.and_then(|r| Some((r.ssrc?, r.payload_type))),
                start: (fastrand::u16(..0x8000), fastrand::u32(..)),
            };
            Some(Track {
                kind: if section.kind == "audio" { Kind::Audio } else { Kind::Video },
                encoding: section.format.encoding.to_ascii_uppercase(),
                fits: true,
                cname: source.cname.clone().unwrap_or_default(),
                sender: Sender::new(options),
            })
        });
        Self {
            first: playing.first_byte(),
            playing,
            tracks: tracks.collect(),
            line: Line::default(),
            next_report: Micros(i64::MAX),
            reports: 0,
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
        self.next_report = at.now + FIRST_REPORT;
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
        let kind = burst.track().kind;
        let pictures = self.tracks.iter().any(|track| track.kind == Kind::Video);
        if burst.track().index != 0 || (hurried && pictures && kind == Kind::Audio) {
            return;
        }
        let Some(track) = self.tracks.iter_mut().find(|track| track.kind == kind && track.fits) else {
            return;
        };
        match hurried {
            true => self.line.hurry(now, burst.time()),
            false => self.line.place(now, burst.time()),
        }
        if let Some(first) = self.first.take() {
            first.come();
        }
        for (header, payload) in track.sender.send(now, &self.line, burst, place) {
            transport.send(batch, false, |out| {
                header.write(out);
                payload.write(out);
            });
        }
    }

    /// Finds out which tracks are in a codec that the player agreed to: who comes before the publisher agrees to a guess.
    fn fit(&mut self) {
        let streams = self.playing.broadcast.tracks();
        for track in &mut self.tracks {
            let stream = if track.kind == Kind::Video { streams.video() } else { streams.audio() };
            let Some(name) = stream.and_then(|stream| form::sdp_name(&stream.codec)) else { continue };
            let fits = track.encoding == name;
            if std::mem::replace(&mut track.fits, fits) && !fits {
                warn!(
                    "the stream is in {name} and the player agreed to {}: it has to ask anew",
                    track.encoding
                );
            }
        }
    }

    /// What the player says.
    pub fn control(&mut self, at: &At<'_>, datagram: &[u8], transport: &mut Transport, batch: &mut Batch) {
        for packet in rtcp::packets(datagram).map_while(Result::ok) {
            match packet {
                Packet::Nack { .. } if at.floor.overload() >= Level::Critical => {}
                Packet::Nack { media, lost, .. } => {
                    at.peer.session.counters.add_nacked(lost.iter().count() as u64);
                    self.resend(media, lost, transport, batch);
                }
                Packet::Pli { .. } | Packet::Fir { .. } => self.playing.broadcast.want_keyframe(),
                Packet::ReceiverReport { reports, .. } | Packet::SenderReport { reports, .. } => {
                    for report in reports.iter() {
                        let track = self.tracks.iter_mut().find(|track| track.sender.ssrc() == report.ssrc);
                        let Some(track) = track else { continue };
                        track.sender.receiver_report(at.unix, &report);
                        let Reception { fraction_lost, lost, jitter, round_trip } = track.sender.reception();
                        let loss = f64::from(fraction_lost) / 256.0;
                        let reception = session::Reception { loss, lost, jitter, round_trip };
                        at.peer.session.counters.set_reception(reception);
                    }
                }
                Packet::Extended { ssrc, blocks } => {
                    for block in blocks {
                        if let Block::ReferenceTime(ntp) = block {
                            let delay = Dlrr { ssrc, last_rr: ntp.middle(), delay: 0 };
                            let ours = self.tracks.first().map_or(1, |track| track.sender.ssrc());
                            transport.send(batch, true, |out| Writer::new(out).delays(ours, &[delay]));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn resend(&mut self, media: u32, lost: rtcp::Lost<'_>, transport: &mut Transport, batch: &mut Batch) {
        let Some(audience) = &self.audience else { return };
        let Some(track) = self.tracks.iter_mut().find(|track| track.sender.ssrc() == media) else { return };
        let history = audience.history();
        for number in lost.iter() {
            if let Some(again) = track.sender.resend(number, &history) {
                transport.send(batch, false, |out| again.write(out));
            }
        }
    }

    /// Sends the reports that are due.
    pub fn report(&mut self, at: &At<'_>, transport: &mut Transport, batch: &mut Batch) {
        if at.now < self.next_report {
            return;
        }
        self.fit();
        if let (Some(vhost), Some(audience)) = (self.playing.settings.news(), &self.audience) {
            audience.adjust(&form::rtc_following(&vhost));
        }
        self.reports += 1;
        self.next_report = at.now + if self.reports < 5 { FIRST_REPORT } else { REPORT };
        for track in &self.tracks {
            if let Some(info) = track.sender.report(at.now, at.unix, &self.line) {
                let ssrc = track.sender.ssrc();
                transport.send(batch, true, |out| {
                    let mut writer = Writer::new(out);
                    writer.sender_report(ssrc, &info, &[]);
                    writer.description(ssrc, &track.cname);
                });
            }
        }
    }

    /// When it has something to send.
    pub fn due(&self) -> Option<Micros> {
        self.audience.is_some().then_some(self.next_report)
    }
}
