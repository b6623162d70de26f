//! Publishing over RTMP.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::rtmp::{Event, Media, MediaKind, Publish, PublishKind};
use formats::flv::{Demux, DemuxOptions, Demuxed, TagKind};
use media::{Frame, Interleaver};
use tokio::time::Instant;
use tracing::{info, warn};

use super::link::{Deadline, Ended};
use super::{Client, publish_code};
use crate::config::Vhost;
use crate::gate::{Ask, Publishing};
use crate::log;
use crate::session::Kind;

impl Client {
    /// Serves a publisher until it stops (then the connection may publish or play again) or is gone.
    pub(super) async fn publish(&mut self, publish: Publish) -> Result<(), Ended> {
        let kind = match publish.kind {
            PublishKind::Fmle => Kind::FmlePublish,
            PublishKind::Flash => Kind::FlashPublish,
            PublishKind::Haivision => Kind::HaivisionPublish,
        };
        let url = &publish.url;
        info!(
            "client identified, type={}, vhost={}, app={}, stream={}, param={}",
            kind.name(),
            url.vhost,
            url.app,
            url.stream,
            log::masked(&url.param)
        );
        let request = self.request(url);
        let ask = Ask { session: &self.session, kind, request, visit: Some(&self.visit) };
        let publishing = match self.link.decided(self.service.gate.publish(ask)).await? {
            Ok(publishing) => publishing,
            Err(refused) => {
                let reason = refused.to_string();
                self.link.server.reject_publish(publish_code(&refused), &reason)?;
                return Err(Ended::Refused(reason));
            }
        };
        self.link.server.accept_publish()?;
        let vhost = publishing.vhost().clone();
        self.follow(&vhost);
        info!("start publish stream={}", publishing.broadcast().key());
        let mut intake = Intake::new(publishing, &vhost);
        let ended = self.receive(vhost, &mut intake).await;
        intake.finish();
        self.link.merge_reads(None);
        ended
    }

    /// What goes for the connection of a publisher.
    fn follow(&mut self, vhost: &Vhost) {
        self.link.outbox.set_nodelay(vhost.tcp_nodelay);
        self.link.merge_reads((vhost.publish.mr && !vhost.min_latency).then_some(vhost.publish.mr_latency));
    }

    async fn receive(&mut self, mut vhost: Arc<Vhost>, intake: &mut Intake) -> Result<(), Ended> {
        let mut settings = intake.publishing.settings().clone();
        let mut silence = Deadline::new(vhost.publish.first_packet_timeout);
        let mut came = false;
        let mut watch = tokio::time::interval(WATCH);
        let mut watched = Instant::now();
        let session = self.session.clone();
        let mut kicked = pin!(session.kicked());
        loop {
            let rules = &vhost.publish;
            tokio::select! {
                // Media first, since it comes a thousand times as often as anything else.
                biased;
                event = self.link.event() => match event? {
                    Event::Media(media) => {
                        came = true;
                        silence.push(Instant::now(), rules.normal_timeout);
                        intake.take(media);
                    }
                    Event::Unpublish => {
                        info!("stop publish stream={}", intake.publishing.broadcast().key());
                        return Ok(());
                    }
                    _ => {}
                },
                reason = &mut kicked => return Err(Ended::Kicked(reason)),
                changed = settings.changed() => {
                    vhost = changed;
                    self.follow(&vhost);
                    silence.push(Instant::now(), match came {
                        false => vhost.publish.first_packet_timeout,
                        true => vhost.publish.normal_timeout,
                    });
                }
                () = silence.passed() => return Err(Ended::Silent(match came {
                    false => format!("the publisher sent nothing within {:?}", rules.first_packet_timeout),
                    true => format!("the publisher sent nothing more for {:?}", rules.normal_timeout),
                })),
                _ = watch.tick(), if rules.kickoff_for_idle.is_some() => {
                    if intake.publishing.players() > 0 {
                        watched = Instant::now();
                    } else if rules.kickoff_for_idle.is_some_and(|idle| watched.elapsed() >= idle) {
                        return Err(Ended::Kicked(format!("nobody has watched for {:?}", watched.elapsed())));
                    }
                }
            }
        }
    }
}

/// How often it is checked whether anybody watches.
const WATCH: Duration = Duration::from_millis(500);

/// The way of a publisher's media into the hub.
struct Intake {
    publishing: Publishing,
    demux: Demux,
    interleaver: Option<Interleaver>,
    demuxed: Vec<Demuxed>,
    ordered: Vec<Frame>,
    dropped: u64,
}

impl Intake {
    fn new(publishing: Publishing, vhost: &Vhost) -> Self {
        let options = DemuxOptions {
            try_annexb_first: vhost.publish.try_annexb_first,
            skip_sps: !vhost.publish.parse_sps,
            server: crate::SIGNATURE.into(),
            server_version: crate::VERSION.into(),
        };
        let interleaver = vhost.play.mix_correct.then(Interleaver::default);
        Self {
            publishing,
            demux: Demux::new(options),
            interleaver,
            demuxed: Vec::new(),
            ordered: Vec::new(),
            dropped: 0,
        }
    }

    /// Hands over what still waits for its turn.
    fn finish(mut self) {
        if let Some(interleaver) = &mut self.interleaver {
            interleaver.flush(&mut self.ordered);
            self.ordered.drain(..).for_each(|frame| self.publishing.write(&frame));
        }
    }

    fn take(&mut self, media: Media) {
        let kind = match media.kind {
            MediaKind::Audio => TagKind::Audio,
            MediaKind::Video => TagKind::Video,
            MediaKind::Data => TagKind::Script,
        };
        if let Err(e) = self.demux.push(kind, media.timestamp, media.payload, &mut self.demuxed) {
            self.dropped += 1;
            // The first ones tell the story; a broken encoder must not fill the disk.
            if self.dropped <= 3 || self.dropped.is_power_of_two() {
                warn!("dropped a {kind:?} packet ({} so far): {e}", self.dropped);
            }
        }
        for demuxed in self.demuxed.drain(..) {
            match demuxed {
                Demuxed::Tracks => {
                    let tracks = self.demux.tracks().clone();
                    if !tracks.is_empty() {
                        let names: Vec<_> = tracks.iter().map(|t| t.codec.name()).collect();
                        info!("tracks: {}", names.join(", "));
                    }
                    self.publishing.tracks(tracks);
                }
                Demuxed::Frame(frame) => match &mut self.interleaver {
                    None => self.publishing.write(&frame),
                    Some(interleaver) => {
                        interleaver.push(frame, &mut self.ordered);
                        self.ordered.drain(..).for_each(|frame| self.publishing.write(&frame));
                    }
                },
            }
        }
    }
}
