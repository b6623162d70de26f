//! Destinations of RTMP and RTMPS: a connection that gets everything from a keyframe on, and again what it may not have got when it breaks.

mod link;
mod queue;

use formats::flv::{Tag, TagKind};
use hub::Subscription;
use media::Micros;
use rtmp::{MediaKind, Url};
use tokio::time::{Instant, sleep, timeout};

use super::connect;
use super::figures::State;
use super::source::Source;
use super::target::is_secure;
use super::task::{Carrier, Ended, FAREWELL, Job};
use link::Link;
use queue::Queue;

/// See the module.
pub(super) struct Rtmp {
    url: Url,
    source: Source<Tag>,
    queue: Queue,
}

impl Rtmp {
    /// A stream for this address; so much of it may wait.
    pub(super) fn new(url: Url, subscription: Subscription<Tag>, limit: Micros) -> Self {
        Self { url, source: Source::new(subscription), queue: Queue::new(limit) }
    }

    /// Sends what comes over a link.
    async fn send(&mut self, mut link: Link, job: &Job) -> Ended {
        let (mut batch, mut farewell) = (Vec::new(), None);
        loop {
            if link.runs() && job.standing.state() != State::Forwarding {
                job.takes();
                if self.queue.lacks_key() {
                    self.source.broadcast().want_keyframe();
                }
            }
            while link.runs() && link.has_room() && self.queue.take(std::time::Instant::now(), &mut batch) {
                for unit in batch.drain(..) {
                    let Tag { kind, header, body } = &unit.unit;
                    link.lay(media_kind(*kind), unit.time.millis() as u32, header.as_slice(), body);
                }
            }
            if self.has_ended() {
                let until = *farewell.get_or_insert_with(|| Instant::now() + FAREWELL);
                if self.queue.is_done() && link.is_clear() || Instant::now() >= until {
                    link.stop();
                    let last = async {
                        while !link.is_clear() && link.progress().await.is_ok() {}
                        link.close().await;
                    };
                    let _ = timeout(FAREWELL, last).await;
                    return Ended::Published;
                }
            }
            tokio::select! {
                done = link.progress() => match done {
                    Ok(bytes) => job.standing.add_bytes(bytes),
                    Err(_) if self.has_ended() => return Ended::Published,
                    Err(reason) => return Ended::Broken(reason),
                },
                () = pull(&mut self.source, &mut self.queue, job), if !self.source.has_ended() => {
                    let dropped = self.queue.take_dropped();
                    if dropped > 0 {
                        job.standing.add_dropped(dropped);
                    }
                }
                () = sleep(FAREWELL), if self.source.has_ended() => {}
            }
        }
    }
}

impl Carrier for Rtmp {
    async fn pull(&mut self, job: &Job) {
        pull(&mut self.source, &mut self.queue, job).await;
    }

    fn has_ended(&self) -> bool {
        self.source.has_ended()
    }

    fn take_dropped(&mut self) -> u64 {
        self.queue.take_dropped()
    }

    async fn carry(&mut self, job: &Job) -> Ended {
        let url = self.url.clone();
        let connecting = async {
            let fresh = connect::connect(&url.host, url.port).await?;
            let Some(known) = job.circles.enter_rtmp(fresh.ends, &job.standing.key, &url, job.session.peer)
            else {
                return Ok(None);
            };
            let stream = match is_secure(&url) {
                true => fresh.secure(&url.host, job.target.tls_ca.as_deref()).await?,
                false => fresh.plain(),
            };
            Ok(Some((Link::begin(stream, url.clone(), job.chunk_size), known)))
        };
        tokio::pin!(connecting);
        // What comes meanwhile waits in the queue, where it is bounded.
        let connected = loop {
            tokio::select! {
                connected = &mut connecting => break connected,
                () = pull(&mut self.source, &mut self.queue, job), if !self.source.has_ended() => {}
            }
        };
        match connected {
            Ok(Some((link, _known))) => Box::pin(self.send(link, job)).await,
            Ok(None) => Ended::Circle,
            Err(_) if self.has_ended() => Ended::Published,
            Err(reason) => Ended::Broken(reason),
        }
    }

    async fn close(&mut self, _: &Job) {
        self.queue.rewind();
    }
}

/// Takes what is new. May be dropped.
async fn pull(source: &mut Source<Tag>, queue: &mut Queue, job: &Job) {
    let Some(pulled) = source.pull().await else { return };
    if pulled.anew {
        queue.restart(&mut source.init, pulled.missed);
    }
    source.units.drain(..).for_each(|unit| queue.push(unit));
    queue.set_limit(job.limit());
}

fn media_kind(kind: TagKind) -> MediaKind {
    match kind {
        TagKind::Audio => MediaKind::Audio,
        TagKind::Video => MediaKind::Video,
        TagKind::Script => MediaKind::Data,
    }
}
