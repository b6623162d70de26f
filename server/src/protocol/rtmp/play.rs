//! Playing over RTMP.

use std::io;
use std::pin::pin;
use std::time::Duration;

use ::rtmp::{Event, MediaKind, Play};
use media::Micros;
use tracing::{debug, info};

use super::link::Ended;
use super::wire::Wire;
use super::{Client, play_code};
use crate::form;
use crate::gate::Ask;
use crate::log;
use crate::net::delivery::Done;
use crate::net::{Delivery, Framing};
use crate::session::Kind;

impl Client {
    /// Serves a player until it stops (then the connection may play or publish again) or is gone.
    pub(super) async fn play(&mut self, play: Play) -> Result<(), Ended> {
        let url = &play.url;
        info!(
            "client identified, type=rtmp-play, vhost={}, app={}, stream={}, param={}",
            url.vhost,
            url.app,
            url.stream,
            log::masked(&url.param)
        );
        let request = self.request(url);
        let ask = Ask { session: &self.session, kind: Kind::RtmpPlay, request, visit: Some(&self.visit) };
        let playing = match self.link.decided(self.service.gate.play(ask)).await? {
            Ok(playing) => playing,
            Err(refused) => {
                let reason = refused.to_string();
                self.link.server.reject_play(play_code(&refused), &reason)?;
                return Err(Ended::Refused(reason));
            }
        };
        let vhost = &playing.vhost;
        self.link.outbox.set_nodelay(vhost.tcp_nodelay);
        self.link.server.accept_play()?;
        self.link.flush()?;

        let tracks = playing.broadcast.tracks();
        let core = &self.link.core;
        let (followed, reader) =
            core.follow(&playing.broadcast, &form::following(vhost), || form::flv(vhost, &tracks));
        info!("start play stream={}, live={}", playing.broadcast.key(), playing.broadcast.is_live());

        let wire = Wire::new(self.link.server.media_writer(0), form::starts_at_zero(vhost, &tracks));
        let mut delivery = Delivery::new(
            core.clone(),
            followed.clone(),
            reader,
            self.link.outbox.clone(),
            Framing::Raw,
            wire,
        )
        .with_gap(vhost.play.send_min_interval)
        .with_first_byte(playing.first_byte());
        if let Some(limit) = play.duration_ms {
            delivery = delivery.with_limit(Micros::from_millis(limit.into()));
        }
        let mut paused = false;
        let mut settings = playing.settings.clone();
        let session = self.session.clone();
        let mut kicked = pin!(session.kicked());
        loop {
            let event = tokio::select! {
                biased;
                reason = &mut kicked => {
                    self.link.server.end_play("NetStream.Play.Stop", &reason);
                    return Err(Ended::Kicked(reason));
                }
                event = self.link.event() => event?,
                vhost = settings.changed() => {
                    self.link.outbox.set_nodelay(vhost.tcp_nodelay);
                    followed.adjust(&form::following(&vhost));
                    delivery.set_gap(vhost.play.send_min_interval);
                    continue;
                }
                done = delivery.run(), if !paused => match done.map_err(broken)? {
                    Done::PublisherLeft if playing.ends => {
                        let reason = "the publisher has left";
                        self.link.server.end_play("NetStream.Play.Stop", reason);
                        return Err(Ended::Kicked(reason.into()));
                    }
                    Done::PublisherLeft => continue,
                    Done::Limit => {
                        self.link.server.end_play("NetStream.Play.Stop", "played as long as asked for");
                        return Err(Ended::Kicked("played as long as asked for".into()));
                    }
                },
            };
            match event {
                Event::Pause(pause) => {
                    delivery.pause();
                    paused = pause;
                }
                Event::ReceiveAudio(wanted) => delivery.pause().want(MediaKind::Audio, wanted),
                Event::ReceiveVideo(wanted) => delivery.pause().want(MediaKind::Video, wanted),
                Event::BufferLength(ms) => debug!("player buffers {:?}", Duration::from_millis(ms.into())),
                Event::Stop => {
                    delivery.pause();
                    info!("stop play stream={}", playing.broadcast.key());
                    // What the socket did not take yet belongs before the answers to what comes next.
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}

/// A reset by the peer is how players leave.
fn broken(e: io::Error) -> Ended {
    match e.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ended::Left,
        _ => Ended::Io(e),
    }
}
