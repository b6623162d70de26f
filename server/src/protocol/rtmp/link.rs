//! A link: an RTMP session on its socket.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::rtmp::{Event, Server, ServerOptions};
use media::Micros;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::gate::Refused;
use crate::net::{Conn, Core, Input, Outbox};

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The peer closed it.
    #[error("the peer left")]
    Left,
    /// Somebody ended it.
    #[error("{0}")]
    Kicked(String),
    /// It was not admitted.
    #[error("{0}")]
    Refused(String),
    /// The socket broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer does not speak RTMP as it should.
    #[error("{0}")]
    Protocol(#[from] ::rtmp::Error),
    /// The peer was silent for too long.
    #[error("{0}")]
    Silent(String),
}

/// See the module.
pub(super) struct Link {
    pub(super) core: Rc<Core>,
    pub(super) server: Server,
    pub(super) outbox: Rc<Outbox>,
    input: Input,
    alarm: Option<(Micros, Pin<Box<Sleep>>)>,
    /// Merged read: after a small read, the next one waits so long.
    merge: Option<Duration>,
    rest: Option<Pin<Box<Sleep>>>,
}

/// Merged read does not wait after reads of this size, since more is there already.
const SMALL_READ: usize = 4096;

/// While a decision is outstanding, so many bytes are read ahead: a client that leaves is seen to leave.
const MAX_HELD: usize = 256 << 10;

/// A peer that is told goodbye has this long to read it.
const FAREWELL: Duration = Duration::from_secs(2);

impl Link {
    pub(super) fn new(core: Rc<Core>, conn: Conn) -> Self {
        let options = ServerOptions { seed: fastrand::u64(..), ..ServerOptions::default() };
        let server = Server::new(core.now(), options);
        let (input, outbox) = conn.split();
        Self { core, server, outbox, input, alarm: None, merge: None, rest: None }
    }

    /// Reads at most so often while there is little to read (`mr_latency`); `None` reads at once.
    pub(super) fn merge_reads(&mut self, every: Option<Duration>) {
        self.merge = every;
        self.rest = None;
    }

    /// The next event. May be dropped and called again.
    pub(super) async fn event(&mut self) -> Result<Event, Ended> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Waits for the gate's decision, unless the client leaves first.
    pub(super) async fn decided<T>(
        &mut self,
        decision: impl Future<Output = Result<T, Refused>>,
    ) -> Result<Result<T, Refused>, Ended> {
        let mut decision = pin!(decision);
        loop {
            tokio::select! {
                biased;
                decided = &mut decision => return Ok(decided),
                // Nothing happens on a connection that waits, but its end.
                event = self.event() => drop(event?),
            }
        }
    }

    /// Sends the answers that the session has made.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.server.poll_transmit() {
            self.outbox.send(bytes)?;
        }
        Ok(())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Ended>> {
        loop {
            self.flush()?;
            if let Some(event) = self.server.poll_event() {
                return Poll::Ready(Ok(event));
            }
            if !self.outbox.is_clear()
                && let Poll::Ready(Err(e)) = self.outbox.poll_progress(cx)
            {
                return Poll::Ready(Err(e.into()));
            }
            if let Some(rest) = &mut self.rest {
                if rest.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.rest = None;
            }
            if self.server.held() > MAX_HELD {
                // Until the decision is made; a client that is so fast waits for it.
                return Poll::Pending;
            }
            let Self { input, core, server, .. } = self;
            let now = core.now();
            let read = input.poll_read(cx, core, |bytes| match bytes {
                [] => Err(Ended::Left),
                bytes => server.receive(now, bytes).map(|()| bytes.len()).map_err(Ended::from),
            });
            match read {
                Poll::Ready(read) => {
                    let n = read??;
                    self.rest = self.merge.filter(|_| n < SMALL_READ).map(|every| Box::pin(sleep(every)));
                }
                Poll::Pending if self.poll_alarm(cx).is_pending() => return Poll::Pending,
                Poll::Pending => self.server.timeout(self.core.now())?,
            }
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.server.poll_timeout() else {
            self.alarm = None;
            return Poll::Pending;
        };
        if self.alarm.as_ref().is_none_or(|(set, _)| *set != at) {
            let wait = Duration::from_micros((at - self.core.now()).0.max(0).unsigned_abs());
            self.alarm = Some((at, Box::pin(sleep(wait))));
        }
        let Some((_, alarm)) = &mut self.alarm else { return Poll::Pending };
        let rung = alarm.as_mut().poll(cx);
        if rung.is_ready() {
            self.alarm = None;
        }
        rung
    }

    /// Lets the peer read why it is sent away, before the connection is closed under it: unread input would turn the close into a
    /// reset, and that would destroy what is still on its way.
    pub(super) async fn bid_farewell(&mut self, ended: &Ended) {
        if matches!(ended, Ended::Left | Ended::Io(_)) || self.flush().is_err() {
            return;
        }
        let farewell = async {
            self.outbox.clear().await?;
            self.outbox.finish().await?;
            loop {
                let Self { input, core, .. } = self;
                let left = poll_fn(|cx| input.poll_read(cx, core, <[u8]>::is_empty)).await?;
                if left {
                    return io::Result::Ok(());
                }
            }
        };
        // Who does not listen is cut off.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// A deadline that is moved often and rung seldom: moving it costs nothing, since the timer is only set anew when it rings.
pub(super) struct Deadline {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(super) fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        Self { at, sleep: Box::pin(tokio::time::sleep_until(at)) }
    }

    /// Moves it to `after` from now.
    pub(super) fn push(&mut self, now: Instant, after: Duration) {
        self.at = now + after;
        if self.at < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.at);
        }
    }

    /// Waits until it has passed.
    pub(super) async fn passed(&mut self) {
        loop {
            self.sleep.as_mut().await;
            if self.at <= self.sleep.deadline() {
                return;
            }
            self.sleep.as_mut().reset(self.at);
        }
    }
}
