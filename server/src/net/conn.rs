//! A connection: a TCP stream, plain or under TLS, and the session it belongs to.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_rustls::server::TlsStream;

use super::{Core, Outbox};
use crate::session::Session;

/// The bytes below a protocol.
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The client has asked for HTTP/2, by ALPN.
    pub fn is_http2(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
    }
}

/// An accepted connection.
pub struct Conn {
    /// The bytes.
    pub stream: Stream,
    /// Who it is.
    pub session: Arc<Session>,
    /// The address that the peer connected to.
    pub local: SocketAddr,
}

impl Conn {
    /// Cuts it into what is read by the connection's task and what may be written by others on the same core.
    pub fn split(self) -> (Input, Rc<Outbox>) {
        let session = self.session;
        match self.stream {
            Stream::Plain(tcp) => {
                let (read, write) = tcp.into_split();
                (Input { half: Half::Plain(read), session: session.clone() }, Outbox::plain(write, session))
            }
            Stream::Tls(tls) => {
                let (read, write) = tokio::io::split(*tls);
                (Input { half: Half::Tls(read), session: session.clone() }, Outbox::tls(write, session))
            }
        }
    }
}

/// The reading half. It has no buffer of its own.
pub struct Input {
    half: Half,
    session: Arc<Session>,
}

enum Half {
    Plain(OwnedReadHalf),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

impl Input {
    /// Reads once, and shows what came; an empty slice is the end of the stream.
    pub fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        show: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        core.with_read_buffer(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = match &mut self.half {
                Half::Plain(half) => Pin::new(half).poll_read(cx, &mut buffer),
                Half::Tls(half) => Pin::new(half).poll_read(cx, &mut buffer),
            };
            read.map_ok(|()| {
                self.session.counters.add_received(buffer.filled().len() as u64);
                show(buffer.filled())
            })
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
