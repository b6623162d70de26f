//! A publisher: its packets in order go to the RTP form as they are, and are made into frames while somebody wants frames. What is lost is
//! asked for, and what arrives is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use media::{Frame, Kind, Micros, Track, TrackId, Tracks};
use rtc::sdp::{MID, Section};
use rtp::clock::{self, Ntp, Sync};
use rtp::receive::{Receiver, ReceiverOptions, Twcc};
use rtp::rtcp::{self, Block, Packet as Control, Writer};
use rtp::sdp::TRANSPORT_CC;
use rtp::unpack::{Encoding, Received, Unpacked, Unpacker};
use rtp::{Gather, Packet};

use super::agreements::Agreement;
use super::peer::{At, Transport};
use crate::breaker::Level;
use crate::config::Vhost;
use crate::form;
use crate::gate::{Publishing, Settings};
use crate::net::udp::Batch;
use crate::session::Reception;

/// How often what is missing is asked for (SRS: 20 ms).
const TICK: Micros = Micros::from_millis(20);
/// How often arrival times are fed back.
const FEEDBACK: Micros = Micros::from_millis(50);
/// How often reception is reported.
const REPORT: Micros = Micros::from_secs(1);
/// Keyframes are asked for at most this often.
const KEYFRAMES: Micros = Micros::from_millis(500);
/// The name under which we report.
const OURS: u32 = 1;

/// See the module.
pub struct Publisher {
    /// Goes before the stream is free for another publisher.
    _agreement: Agreement,
    publishing: Publishing,
    vhost: Arc<Vhost>,
    settings: Settings,
    sections: Vec<Section>,
    sources: Vec<Source>,
    tracks: Tracks,
    sync: Sync,
    twcc: Twcc,
    /// Somebody wants frames or a keyframe.
    bell: Arc<AtomicBool>,
    frames: bool,
    keyframe: bool,
    last_keyframe: Micros,
    next: Next,
    started: bool,
}

/// When what is due.
#[derive(Default)]
struct Next {
    tick: Micros,
    feedback: Micros,
    report: Micros,
    /// `pli_for_rtmp`
    keyframe: Micros,
}

/// One track as it comes.
struct Source {
    section: usize,
    track: TrackId,
    payload_type: u8,
    receiver: Receiver,
    gather: Gather,
    unpacker: Unpacker,
    /// What a decoder must know has been told.
    configured: bool,
    clock: usize,
    rate: u32,
}

impl Publisher {
    /// A publisher of what `sections` agree upon.
    pub fn new(agreement: Agreement, mut publishing: Publishing, sections: Vec<Section>) -> Self {
        let bell = Arc::new(AtomicBool::new(true));
        publishing.feed_natively::<rtp::Mux>();
        let ring = bell.clone();
        publishing.on_want(Arc::new(move || ring.store(true, Ordering::Relaxed)));
        Self {
            _agreement: agreement,
            vhost: publishing.vhost().clone(),
            settings: publishing.settings().clone(),
            publishing,
            sections,
            sources: Vec::new(),
            tracks: Tracks::default(),
            sync: Sync::default(),
            twcc: Twcc::default(),
            bell,
            frames: false,
            keyframe: true,
            last_keyframe: Micros::ZERO,
            next: Next::default(),
            started: false,
        }
    }

    /// Media may flow.
    pub fn start(&mut self, at: &At<'_>) {
        self.started = true;
        self.next = Next { tick: at.now, feedback: at.now, report: at.now + REPORT, keyframe: at.now };
    }

    /// A packet of RTP.
    pub fn receive(&mut self, at: &At<'_>, datagram: Bytes) {
        let Ok(packet) = Packet::parse(&datagram) else { return };
        let extension =
            |section: &Section, uri: &str| section.extensions.iter().find(|e| e.uri == uri).map(|e| e.id);
        let counter = self.sections.iter().find_map(|section| extension(section, TRANSPORT_CC));
        if let Some([a, b]) = counter.and_then(|id| packet.extension(id)) {
            self.twcc.receive(at.now, u16::from_be_bytes([*a, *b]));
        }
        let dropped = self.vhost.rtc.drop_for_pt;
        if dropped != 0 && packet.payload_type == dropped {
            return;
        }
        let mid = packet_mid(&packet, &self.sections);
        let Some((section, again)) = self.section_of(&packet, mid) else { return };
        let packet = match again {
            false => packet,
            true => {
                let Some(source) = self.sources.iter().find(|source| source.section == section) else {
                    return;
                };
                let (ssrc, payload_type) = (source.receiver.ssrc(), source.payload_type);
                let Some(original) = packet.restore(ssrc, payload_type) else { return };
                original
            }
        };
        let Some(index) = self.source(section, packet.ssrc) else { return };
        let payload = datagram.slice_ref(packet.payload);
        if let Some(source) = self.sources.get_mut(index) {
            source.receiver.receive(at.now, &packet, payload);
        }
        self.drain(index, at.now);
    }

    /// The section that a packet belongs to, and whether it is one of its retransmissions: by what the description says of the source, by the name of the section in
    /// the packet, or by the payload type.
    fn section_of(&self, packet: &Packet<'_>, mid: Option<&str>) -> Option<(usize, bool)> {
        let sections = || self.sections.iter().enumerate();
        let again = |section: &Section| {
            section.retransmission.as_ref().is_some_and(|r| r.payload_type == packet.payload_type)
        };
        let belongs =
            |section: &Section| section.format.payload_type == packet.payload_type || again(section);
        let told = |section: &Section| section.incoming.iter().any(|source| source.ssrc == packet.ssrc);
        let found = sections()
            .find(|(_, section)| belongs(section) && mid == Some(section.mid.as_str()))
            .or_else(|| sections().find(|(_, section)| belongs(section) && told(section)))
            .or_else(|| sections().find(|(_, section)| belongs(section)))?;
        Some((found.0, again(found.1)))
    }

    /// The source of a section; another SSRC than before means that it has started anew.
    fn source(&mut self, section: usize, ssrc: u32) -> Option<usize> {
        let known = self.sources.iter().position(|source| source.section == section);
        if let Some(index) = known
            && self.sources.get(index).is_some_and(|source| source.receiver.ssrc() == ssrc)
        {
            return Some(index);
        }
        let described = self.sections.get(section)?;
        let encoding = Encoding::of(&described.format)?;
        let kind = if encoding.is_video() { Kind::Video } else { Kind::Audio };
        let before = self.sections.iter().take(section).filter(|other| other.kind == described.kind).count();
        let track = TrackId { kind, index: u8::try_from(before).ok()? };
        let rate = described.format.rate;
        let nack = described.format.feedback.iter().any(|feedback| feedback == "nack") || kind == Kind::Audio;
        let window = if kind == Kind::Video { 1000 } else { 100 };
        let options =
            ReceiverOptions { rate, window, ask: nack && self.vhost.rtc.nack, ..Default::default() };
        let beside_video = self.sections.iter().any(|section| section.kind == "video");
        let source = Source {
            section,
            track,
            payload_type: described.format.payload_type,
            receiver: Receiver::new(ssrc, options),
            gather: Gather::new(track, rate, encoding.clone(), beside_video),
            unpacker: Unpacker::new(&encoding),
            configured: false,
            clock: self.sync.add(rate),
            rate,
        };
        self.keyframe = true;
        match known.and_then(|index| self.sources.get_mut(index)) {
            Some(place) => {
                *place = source;
                known
            }
            None => {
                self.sources.push(source);
                Some(self.sources.len() - 1)
            }
        }
    }

    /// Passes on what has come in order.
    fn drain(&mut self, index: usize, now: Micros) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let (mut bursts, mut unpacked) = (Vec::new(), Vec::new());
        while let Some(received) = source.receiver.poll(now) {
            let Some(time) = self.sync.time(source.clock, received.ticks, now) else { continue };
            source.gather.push(&received, time, &mut bursts);
            if self.frames || !source.configured {
                unpack(source, &received, time, &mut unpacked);
            }
        }
        self.publishing.write_native::<rtp::Mux>(&mut bursts);
        for (time, unpacked) in unpacked {
            let Some(source) = self.sources.get_mut(index) else { return };
            match unpacked {
                Unpacked::Config(codec, config) => {
                    source.configured = true;
                    let track = Track { id: source.track, codec, config, dialect: Default::default() };
                    self.tracks.set(track);
                    self.publishing.tracks(self.tracks.clone());
                }
                Unpacked::Frame { key, data, .. } if self.frames => {
                    let frame = Frame { track: source.track, dts: time, pts: time, key, data };
                    self.publishing.write(&frame);
                }
                Unpacked::Frame { .. } => {}
                Unpacked::Lost => self.keyframe = true,
            }
        }
    }

    /// A compound of RTCP.
    pub fn control(&mut self, at: &At<'_>, datagram: &[u8]) {
        for packet in rtcp::packets(datagram).map_while(Result::ok) {
            match packet {
                Control::SenderReport { ssrc, info, .. } => {
                    if let Some(source) =
                        self.sources.iter_mut().find(|source| source.receiver.ssrc() == ssrc)
                    {
                        let ticks = source.receiver.sender_report(at.now, &info);
                        self.sync.report(source.clock, ticks, info.ntp);
                    }
                }
                Control::Extended { blocks, .. } => {
                    for block in blocks {
                        let Block::Delay(delays) = block else { continue };
                        for delay in delays.iter() {
                            let now = Ntp::from_unix(at.unix);
                            let Some(trip) = clock::round_trip(now, delay.last_rr, delay.delay) else {
                                continue;
                            };
                            self.sources.iter_mut().for_each(|source| source.receiver.set_round_trip(trip));
                            at.peer.session.counters.set_round_trip(trip);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Does what is due.
    pub fn work(&mut self, at: &At<'_>, transport: &mut Transport, batch: &mut Batch) {
        if at.now < self.next.tick {
            return;
        }
        self.next.tick = at.now + TICK;
        if self.bell.swap(false, Ordering::Relaxed) {
            let wanted = self.vhost.rtc.rtc_to_rtmp && self.publishing.frames_wanted();
            self.keyframe |= self.publishing.keyframe_wanted() || (wanted && !self.frames);
            self.frames = wanted;
        }
        for index in 0..self.sources.len() {
            self.drain(index, at.now);
        }
        let overload = at.floor.overload();
        for source in self.sources.iter_mut().filter(|_| overload < Level::High) {
            let (mut lost, ssrc) = (Vec::new(), source.receiver.ssrc());
            source.receiver.ask(at.now, &mut lost);
            if !lost.is_empty() {
                at.peer.session.counters.add_nacked(lost.len() as u64);
                transport.send(batch, true, |out| Writer::new(out).nack(OURS, ssrc, &lost));
            }
        }
        if at.now >= self.next.feedback {
            self.next.feedback = at.now + FEEDBACK;
            let media = self.sources.first().map_or(0, |source| source.receiver.ssrc());
            let mut feedback = Vec::new();
            self.twcc.feed_back(OURS, media, &mut feedback);
            if !feedback.is_empty() && overload < Level::Critical {
                transport.send(batch, true, |out| out.extend_from_slice(&feedback));
            }
        }
        if at.now >= self.next.report {
            self.next.report = at.now + REPORT;
            self.report(at, transport, batch);
        }
        self.ask_for_keyframe(at.now, transport, batch);
    }

    fn report(&mut self, at: &At<'_>, transport: &mut Transport, batch: &mut Batch) {
        if let Some(vhost) = self.settings.news() {
            self.vhost = vhost;
        }
        let reports: Vec<_> =
            self.sources.iter_mut().filter_map(|s| Some((s.rate, s.receiver.report(at.now)?))).collect();
        if let Some((rate, report)) = reports.first() {
            let jitter = clock::from_ticks(report.jitter.into(), *rate);
            let (loss, lost) = (f64::from(report.fraction_lost) / 256.0, report.lost);
            at.peer.session.counters.set_reception(Reception { loss, lost, jitter, round_trip: None });
        }
        let reports: Vec<_> = reports.into_iter().map(|(_, report)| report).collect();
        let now = Ntp::from_unix(at.unix);
        transport.send(batch, true, |out| {
            let mut writer = Writer::new(out);
            writer.receiver_report(OURS, &reports);
            writer.reference_time(OURS, now);
        });
    }

    /// Not too often: a keyframe costs the publisher much.
    fn ask_for_keyframe(&mut self, now: Micros, transport: &mut Transport, batch: &mut Batch) {
        if self.frames && now >= self.next.keyframe {
            self.next.keyframe = now + form::micros(self.vhost.rtc.pli_for_rtmp);
            self.keyframe = true;
        }
        let recent = self.last_keyframe > Micros::ZERO && now - self.last_keyframe < KEYFRAMES;
        let video = self.sources.iter().filter(|source| source.track.kind == Kind::Video);
        if !self.keyframe || recent || video.clone().count() == 0 {
            return;
        }
        (self.keyframe, self.last_keyframe) = (false, now);
        for source in video {
            let ssrc = source.receiver.ssrc();
            transport.send(batch, true, |out| Writer::new(out).pli(OURS, ssrc));
        }
    }

    /// When it has something to do.
    pub fn due(&self) -> Option<Micros> {
        self.started.then_some(self.next.tick)
    }
}

fn packet_mid<'a>(packet: &Packet<'a>, sections: &[Section]) -> Option<&'a str> {
    let mut extensions = sections.iter().flat_map(|section| &section.extensions);
    let id = extensions.find(|extension| extension.uri == MID)?.id;
    std::str::from_utf8(packet.extension(id)?).ok()
}

/// Frames of sound carry the time of their packet; those of pictures that of their first packet, which all of them share.
fn unpack(source: &mut Source, received: &Received, time: Micros, out: &mut Vec<(Micros, Unpacked)>) {
    let mut unpacked = Vec::new();
    source.unpacker.push(received, &mut unpacked);
    let rate = source.rate;
    out.extend(unpacked.into_iter().map(|unpacked| match &unpacked {
        // The marker may be missing, so that a frame comes out with the packet after it.
        Unpacked::Frame { ticks, .. } => (time - clock::from_ticks(received.ticks - ticks, rate), unpacked),
        _ => (time, unpacked),
    }));
}
