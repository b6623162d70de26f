//! The writing half of a connection. Writes go out at once or, when the peer is slow, wait here in order; whoever writes sees
//! which of the two, and stops producing until the outbox is clear again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncWrite, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use crate::session::Session;

/// A peer that takes nothing for this long is gone.
pub const STALL: Duration = Duration::from_secs(30);

/// Answers that a peer asks for without reading them may take no more than this.
const MAX_UNREAD: usize = 256 << 10;

/// See the module.
pub struct Outbox {
    writer: Writer,
    waiting: RefCell<VecDeque<Bytes>>,
    /// TLS holds nothing back.
    flushed: Cell<bool>,
    /// Bytes of answers that have joined what waits since there was nothing.
    unread: Cell<usize>,
    /// When the peer last took something, or something began to wait.
    moved: Cell<Instant>,
    session: Arc<Session>,
}

enum Writer {
    Plain(OwnedWriteHalf),
    Tls(Box<RefCell<WriteHalf<TlsStream<TcpStream>>>>),
}

impl Outbox {
    pub(super) fn plain(half: OwnedWriteHalf, session: Arc<Session>) -> Rc<Self> {
        Self::new(Writer::Plain(half), session)
    }

    pub(super) fn tls(half: WriteHalf<TlsStream<TcpStream>>, session: Arc<Session>) -> Rc<Self> {
        Self::new(Writer::Tls(Box::new(RefCell::new(half))), session)
    }

    fn new(writer: Writer, session: Arc<Session>) -> Rc<Self> {
        Rc::new(Self {
            writer,
            waiting: RefCell::default(),
            flushed: Cell::new(true),
            unread: Cell::new(0),
            moved: Cell::new(Instant::now()),
            session,
        })
    }

    /// Nothing waits.
    pub fn is_clear(&self) -> bool {
        self.flushed.get() && self.waiting.borrow().is_empty()
    }

    /// Bytes offered here may go out without the connection's own task: the socket is plain.
    pub fn is_direct(&self) -> bool {
        matches!(self.writer, Writer::Plain(_))
    }

    /// Sends small packets at once (`TCP_NODELAY`), or lets TCP wait for more (Nagle).
    pub fn set_nodelay(&self, nodelay: bool) {
        let set = match &self.writer {
            Writer::Plain(half) => half.as_ref().set_nodelay(nodelay),
            // Under TLS the option is set when the connection is accepted.
            Writer::Tls(_) => Ok(()),
        };
        if let Err(e) = set {
            tracing::debug!("TCP_NODELAY: {e}");
        }
    }

    /// Whose it is.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Writes what can be written now of `parts`, in one system call, unless something waits already. Returns how many bytes went.
    pub fn offer(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Writer::Plain(half) = &self.writer else { return Ok(0) };
        if !self.is_clear() {
            return Ok(0);
        }
        let wrote = match parts {
            [one] => half.try_write(one),
            many => half.try_write_vectored(many),
        };
        match wrote {
            Ok(0) if parts.iter().any(|p| !p.is_empty()) => Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                self.session.counters.add_sent(n as u64);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// Lets bytes wait for the peer, behind all that waits already.
    pub fn hold(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if self.is_clear() {
            self.moved.set(Instant::now());
        }
        self.waiting.borrow_mut().push_back(bytes);
    }

    /// Sends what can be sent now, and lets the rest wait.
    pub fn push(&self, bytes: Bytes) -> io::Result<()> {
        let went = self.offer(&[IoSlice::new(&bytes)])?;
        self.hold(bytes.slice(went..));
        Ok(())
    }

    /// Sends an answer. A peer that asks on and on without reading the answers is refused at some point.
    pub fn send(&self, bytes: Bytes) -> io::Result<()> {
        let unread = if self.is_clear() { 0 } else { self.unread.get() + bytes.len() };
        self.unread.set(unread);
        if unread > MAX_UNREAD {
            return Err(io::Error::other("the peer does not read what it asks for"));
        }
        self.push(bytes)
    }

    /// Writes what waits, as far as the peer takes it. Ready when something went or nothing waits.
    pub fn poll_progress(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.waiting.borrow_mut();
        let mut went = false;
        while let Some(front) = waiting.front_mut() {
            let wrote = match &self.writer {
                Writer::Plain(half) => loop {
                    match half.try_write(front) {
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                            match half.as_ref().poll_write_ready(cx) {
                                Poll::Ready(Ok(())) => {}
                                Poll::Ready(Err(e)) => break Poll::Ready(Err(e)),
                                Poll::Pending => break Poll::Pending,
                            }
                        }
                        done => break Poll::Ready(done),
                    }
                },
                Writer::Tls(half) => {
                    self.flushed.set(false);
                    Pin::new(&mut *half.borrow_mut()).poll_write(cx, front)
                }
            };
            match wrote {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.session.counters.add_sent(n as u64);
                    went = true;
                    self.moved.set(Instant::now());
                    front.advance(n);
                    if front.is_empty() {
                        waiting.pop_front();
                    }
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending if went => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Writer::Tls(half) = &self.writer {
            match Pin::new(&mut *half.borrow_mut()).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed.set(true),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending if went => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until nothing waits here. Fails when the peer takes nothing for [`STALL`], however often this is called anew.
    pub async fn clear(&self) -> io::Result<()> {
        while !self.is_clear() {
            let progress = poll_fn(|cx| self.poll_progress(cx));
            timeout_at(self.moved.get() + STALL, progress).await.map_err(|_| {
                let seconds = STALL.as_secs();
                io::Error::new(io::ErrorKind::TimedOut, format!("the peer took nothing for {seconds} s"))
            })??;
        }
        Ok(())
    }

    /// Says that nothing more will be written.
    pub async fn finish(&self) -> io::Result<()> {
        match &self.writer {
            Writer::Plain(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Write),
            Writer::Tls(half) => poll_fn(|cx| Pin::new(&mut *half.borrow_mut()).poll_shutdown(cx)).await,
        }
    }
}
