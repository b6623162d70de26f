//! The sending side of a session: the tracks that were agreed upon, each with its sender, what the peer says of how they arrive, and the reports on them. To whom
//! that goes, and whose media it is, belongs to the server above: our players have one, and the destinations of forwarding.

use media::{Kind, Micros};
use rtp::Burst;
use rtp::Header;
use rtp::pack::Payload;
use rtp::rtcp::{self, Block, Dlrr, Packet, Writer};
use rtp::send::{History, Line, Reception, Resent, Sender, SenderOptions};

use crate::sdp::Section;

/// Sender reports go out this often; the first ones sooner, since players need one to show sound and pictures in step.
const REPORT: Micros = Micros::from_secs(1);
const FIRST_REPORT: Micros = Micros::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    tracks: Vec<Track>,
    line: Line,
    next_report: Micros,
    reports: u32,
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    encoding: String,
    /// The stream is in this encoding.
    fits: bool,
    cname: String,
    sender: Sender,
}

/// What the peer has said.
#[derive(Debug)]
pub enum Said<'a> {
    /// So many packets are missing.
    Missing(u64),
    /// One of them, to be sent again.
    Again(Resent<'a>),
    /// It needs a keyframe.
    Keyframe,
    /// How it receives.
    Reception(Reception),
    /// It wants to know this of us, to be sent by the source named first.
    Asked(u32, Dlrr),
}

impl Outlet {
    /// The tracks that `sections` agree upon. `start` gives first sequence numbers and timestamps, by chance (RFC 3550 §5.1).
    pub fn new(sections: &[Section], mut start: impl FnMut() -> (u16, u32)) -> Self {
        let tracks = sections.iter().filter_map(|section| {
            let source = section.outgoing.as_ref()?;
            let retransmission = section.retransmission.as_ref();
            let options = SenderOptions {
                ssrc: source.ssrc,
                payload_type: section.format.payload_type,
                retransmission: retransmission.and_then(|r| Some((r.ssrc?, r.payload_type))),
                start: start(),
            };
            Some(Track {
                kind: if section.kind == "audio" { Kind::Audio } else { Kind::Video },
                encoding: section.format.encoding.to_ascii_uppercase(),
                fits: true,
                cname: source.cname.clone().unwrap_or_default(),
                sender: Sender::new(options),
            })
        });
        let (tracks, next_report) = (tracks.collect(), Micros(i64::MAX));
        Self { tracks, line: Line::default(), next_report, reports: 0 }
    }

    /// Media is about to flow, and with it reports.
    pub fn begin(&mut self, now: Micros) {
        self.next_report = now + FIRST_REPORT;
    }

    /// It has a track of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.tracks.iter().any(|track| track.kind == kind)
    }

    /// The stream's track of this kind is in this encoding, told in upper case. If that is news and not what was agreed upon, what was; nothing
    /// is sent on that track then.
    pub fn fit(&mut self, kind: Kind, encoding: &str) -> Option<&str> {
        let track = self.tracks.iter_mut().find(|track| track.kind == kind)?;
        let fits = track.encoding == encoding;
        let news = std::mem::replace(&mut track.fits, fits) && !fits;
        news.then_some(track.encoding.as_str())
    }

    /// The packets of a burst that stands at `place` of the history: headers, each to be written in front of its payload. Of the past
    /// (`hurried`), sound is left out where there are pictures. `None` where it is not sent.
    pub fn send<'a>(
        &mut self,
        now: Micros,
        burst: &'a Burst,
        place: u64,
        hurried: bool,
    ) -> Option<impl Iterator<Item = (Header<'static>, &'a Payload)> + use<'a>> {
        let kind = burst.track().kind;
        if burst.track().index != 0 || (hurried && kind == Kind::Audio && self.has(Kind::Video)) {
            return None;
        }
        let track = self.tracks.iter_mut().find(|track| track.kind == kind && track.fits)?;
        match hurried {
            true => self.line.hurry(now, burst.time()),
            false => self.line.place(now, burst.time()),
        }
        Some(track.sender.send(now, &self.line, burst, place))
    }

    /// Reads what the peer says, `unix` since 1970. Lost packets are taken from `history`, where there is one.
    pub fn control(
        &mut self,
        unix: Micros,
        datagram: &[u8],
        history: Option<&History>,
        mut told: impl FnMut(Said<'_>),
    ) {
        for packet in rtcp::packets(datagram).map_while(Result::ok) {
            match packet {
                Packet::Nack { media, lost, .. } => {
                    told(Said::Missing(lost.iter().count() as u64));
                    let track = self.tracks.iter_mut().find(|track| track.sender.ssrc() == media);
                    let (Some(track), Some(history)) = (track, history) else { continue };
                    for number in lost.iter() {
                        if let Some(again) = track.sender.resend(number, history) {
                            told(Said::Again(again));
                        }
                    }
                }
                Packet::Pli { .. } | Packet::Fir { .. } => told(Said::Keyframe),
                Packet::ReceiverReport { reports, .. } | Packet::SenderReport { reports, .. } => {
                    for report in reports.iter() {
                        let track = self.tracks.iter_mut().find(|track| track.sender.ssrc() == report.ssrc);
                        let Some(track) = track else { continue };
                        track.sender.receiver_report(unix, &report);
                        told(Said::Reception(track.sender.reception()));
                    }
                }
                Packet::Extended { ssrc, blocks } => {
                    let ours = self.tracks.first().map_or(1, |track| track.sender.ssrc());
                    for block in blocks {
                        if let Block::ReferenceTime(ntp) = block {
                            told(Said::Asked(ours, Dlrr { ssrc, last_rr: ntp.middle(), delay: 0 }));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// When reports are due.
    pub fn due(&self) -> Micros {
        self.next_report
    }

    /// Writes the reports of this moment, `unix` since 1970; each is a compound of its own.
    pub fn report(&mut self, now: Micros, unix: Micros, mut send: impl FnMut(&dyn Fn(&mut Vec<u8>))) {
        self.reports = self.reports.saturating_add(1);
        self.next_report = now + if self.reports < 5 { FIRST_REPORT } else { REPORT };
        for track in &self.tracks {
            let Some(info) = track.sender.report(now, unix, &self.line) else { continue };
            let ssrc = track.sender.ssrc();
            send(&|out| {
                let mut writer = Writer::new(out);
                writer.sender_report(ssrc, &info, &[]);
                writer.description(ssrc, &track.cname);
            });
        }
    }

    /// Writes a goodbye of all tracks.
    pub fn bye(&self, out: &mut Vec<u8>) {
        let sources: Vec<_> = self.tracks.iter().map(|track| track.sender.ssrc()).collect();
        let mut writer = Writer::new(out);
        if let Some(first) = sources.first() {
            writer.receiver_report(*first, &[]);
            writer.bye(&sources);
        }
    }
}
