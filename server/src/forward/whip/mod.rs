//! Destinations of WHIP: we are a WebRTC client that publishes there. What comes while there is no session is not sent later: WebRTC shows no past.

mod address;
mod endpoint;
mod incoming;
mod link;
mod offer;
mod recent;

use std::time::Duration;

use hub::Subscription;
use media::Kind;
use rtc::sdp::Offered;
use rtp::{Burst, is_for_browsers};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::task::{Carrier, Ended, Job};
use crate::form;
use endpoint::{Answered, Resource};
use incoming::Incoming;
use link::{Link, News};
use offer::Own;

pub(super) use address::Address;

/// A server that has answered is connected with within this time.
const CONNECT: Duration = Duration::from_secs(10);

/// When sound or pictures have come, the other kind may come so much later.
const GRACE: Duration = Duration::from_secs(1);

/// A server that catches up is sent this much at a time, so far apart: some 40 Mbit/s, as to players.
const STEP: usize = 24 << 10;
const PAUSE: Duration = Duration::from_millis(5);

/// What has changed since the offer is looked for so often.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Whip {
    address: Address,
    incoming: Incoming,
    link: Option<Link>,
    resource: Option<Resource>,
    told: Told,
}

/// What the log has been told already, once for all connections.
#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn tell(&mut self, job: &Job, what: String) {
        if !self.0.contains(&what) {
            warn!("forward to {}: {what}", job.target.shown);
            self.0.push(what);
        }
    }
}

impl Whip {
    /// A stream for this endpoint.
    pub(super) fn new(address: Address, subscription: Subscription<Burst>) -> Self {
        let incoming = Incoming::new(subscription);
        Self { address, incoming, link: None, resource: None, told: Told::default() }
    }

    /// Waits until it is known what the stream consists of: what has come of it, as far as it can be carried. `None` when the publisher left before.
    async fn offered(&mut self, job: &Job) -> Option<Vec<Offered>> {
        let Self { incoming, told, .. } = self;
        while !incoming.has_ended() {
            let streams = incoming.broadcast().tracks();
            let (video, audio) = (streams.video(), streams.audio());
            let carried = video.filter(|video| is_for_browsers(&video.codec));
            if let (Some(video), None) = (video, carried) {
                told.tell(job, format!("WebRTC cannot carry {}: pictures are left out", video.codec));
            }
            let seen = |kind| incoming.seen.contains(&kind);
            // Where one kind is not even announced, it may be in a moment.
            let is_whole = seen(Kind::Video) && seen(Kind::Audio);
            let is_late = incoming.began.is_some_and(|began| began.elapsed() >= GRACE);
            if !incoming.seen.is_empty() && (is_whole || is_late) {
                if let Some(audio) = audio.filter(|_| !seen(Kind::Audio)) {
                    told.tell(job, format!("WebRTC cannot carry {}, or none comes: no sound", audio.codec));
                }
                if incoming.reordered && !job.keep_bframes {
                    told.tell(
                        job,
                        "the stream has B-frames, which are left out (`rtc { keep_bframe }`)".into(),
                    );
                }
                let tracks = offer::tracks(&streams, &incoming.seen, job.packed);
                if !tracks.is_empty() {
                    return Some(tracks);
                }
            }
            tokio::select! {
                () = incoming.pull(job.limit(), true) => {}
                () = sleep(GRACE / 4) => {}
            }
        }
        None
    }

    /// Offers the stream, and begins a session by the answer; `false` where it would come back to us.
    async fn connect(&mut self, job: &Job, tracks: &[Offered]) -> Result<bool, String> {
        let Self { address, incoming, link, resource, told } = self;
        let own = Own::new()?;
        let begin = async {
            let answered = endpoint::post(job, address, |ip| own.proposal(tracks, ip)).await?;
            let Some(Answered { offer, answer, resource: theirs }) = answered else { return Ok(None) };
            *resource = Some(theirs);
            let accepted = offer.accept(&answer).map_err(|e| e.to_string())?;
            Link::begin(own, &accepted).await.map(|link| Some((link, accepted.rejected)))
        };
        tokio::pin!(begin);
        // What comes meanwhile waits, where it is bounded.
        let begun: Result<_, String> = loop {
            tokio::select! {
                begun = &mut begin => break begun,
                () = incoming.pull(job.limit(), true), if !incoming.has_ended() => {}
            }
        };
        let Some((begun, rejected)) = begun? else { return Ok(false) };
        for kind in rejected {
            let offered = tracks.iter().find(|track| track.outgoing.kind == kind);
            let format = offered.and_then(|track| track.formats.first());
            let codec = format.map(|format| format.encoding.as_str()).unwrap_or_default();
            told.tell(job, format!("the server does not take {kind} in {codec}: it is left out"));
        }
        *link = Some(begun);
        Ok(true)
    }

    /// Sends what comes over the link.
    async fn send(&mut self, job: &Job, tracks: &[Offered]) -> Ended {
        let Self { incoming, link: Some(link), .. } = self else { return Ended::Published };
        let patience = Instant::now() + CONNECT;
        let (mut catches_up, mut step, mut look) = (true, Instant::now(), Instant::now() + LOOK);
        loop {
            let (now, is_connected) = (Instant::now(), link.is_connected());
            catches_up &= !is_connected || incoming.recent.is_behind();
            if is_connected && !catches_up {
                link.send(&incoming.recent.take(usize::MAX), false);
            } else if is_connected && now >= step {
                link.send(&incoming.recent.take(STEP), true);
                step = now + PAUSE;
            }
            if link.take_keyframe() {
                incoming.broadcast().want_keyframe();
            }
            job.standing.add_bytes(link.take_bytes());
            if incoming.has_ended() && (!is_connected || incoming.recent.is_empty()) {
                return Ended::Published;
            }
            if now >= look {
                look = now + LOOK;
                job.standing.add_dropped(incoming.recent.take_dropped());
                if let Some(change) = changed(incoming, tracks) {
                    return Ended::Broken(change);
                }
            }
            tokio::select! {
                news = link.progress() => match news {
                    Ok(News::None) => {}
                    Ok(News::Connected) => {
                        job.takes();
                        if incoming.recent.lacks_key() {
                            incoming.broadcast().want_keyframe();
                        }
                    }
                    Ok(News::Closed(error)) => return Ended::Broken(error.to_string()),
                    Err(reason) => return Ended::Broken(reason),
                },
                () = incoming.pull(job.limit(), !is_connected), if !incoming.has_ended() => {}
                () = sleep_until(step), if is_connected && catches_up => {}
                () = sleep_until(patience), if !is_connected => {
                    let reason = format!("no WebRTC connection with the server within {CONNECT:?}; is its UDP port open?");
                    return Ended::Broken(reason);
                }
            }
        }
    }
}

/// The stream does not consist any more of what was offered: it has to be offered anew.
fn changed(incoming: &Incoming, tracks: &[Offered]) -> Option<String> {
    let offered = |kind: &str| tracks.iter().find(|track| track.outgoing.kind == kind);
    let [sound, pictures] = [Kind::Audio, Kind::Video].map(|kind| incoming.seen.contains(&kind));
    if (sound && offered("audio").is_none()) || (pictures && offered("video").is_none()) {
        return Some("the stream has sound and pictures now".into());
    }
    let streams = incoming.broadcast().tracks();
    let name = streams.video().and_then(|video| form::sdp_name(&video.codec))?;
    let format = offered("video")?.formats.first()?;
    (!format.is(name)).then(|| format!("the stream is in {name} now"))
}

impl Carrier for Whip {
    async fn pull(&mut self, job: &Job) {
        self.incoming.pull(job.limit(), true).await;
    }

    fn has_ended(&self) -> bool {
        self.incoming.has_ended()
    }

    fn take_dropped(&mut self) -> u64 {
        self.incoming.recent.take_dropped()
    }

    async fn carry(&mut self, job: &Job) -> Ended {
        let Some(tracks) = self.offered(job).await else { return Ended::Published };
        match Box::pin(self.connect(job, &tracks)).await {
            Ok(true) => Box::pin(self.send(job, &tracks)).await,
            Ok(false) => Ended::Circle,
            Err(_) if self.has_ended() => Ended::Published,
            Err(reason) => Ended::Broken(reason),
        }
    }

    async fn close(&mut self, job: &Job) {
        if let Some(link) = self.link.take() {
            link.close();
        }
        if let Some(resource) = self.resource.take() {
            resource.delete(job.target.tls_ca.as_deref()).await;
        }
    }
}
