//! A link: a publishing RTMP session on a socket of its own, in the clear or by TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use media::Micros;
use rtmp::{Client, ClientEvent, ClientOptions, MediaKind, Role};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::target::Target;
use crate::caller;

/// A server that is there takes a connection within this time (as in SRS), and shakes hands within the other one.
const CONNECT: Duration = Duration::from_secs(3);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A server that takes nothing for so long, or does not even confirm to its network that it is there, is dead.
const DEAD: Duration = Duration::from_secs(30);

/// So many bytes are laid out for the socket at once.
const BATCH: usize = 64 << 10;

/// What a connection is made of.
trait Stream: AsyncRead + AsyncWrite {}
impl<S: AsyncRead + AsyncWrite> Stream for S {}

type Boxed = Pin<Box<dyn Stream>>;

/// Where a connection goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
}

impl Ends {
    /// It goes to this machine: nobody has both ends of a connection at one address otherwise.
    pub(super) fn is_home(&self) -> bool {
        self.local.ip().to_canonical() == self.peer.ip().to_canonical()
    }
}

/// A connection that nothing has been said on.
pub(super) struct Fresh {
    tcp: TcpStream,
    pub(super) ends: Ends,
}

/// Connects to the first address of a server that takes a connection.
pub(super) async fn connect(host: &str, port: u16) -> Result<Fresh, String> {
    let found = timeout(CONNECT, lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("{host} is not found within {CONNECT:?}"))?;
    let mut why = format!("{host} has no address");
    for address in found.map_err(|e| format!("{host}: {e}"))? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Fresh::new(tcp).map_err(|e| e.to_string()),
            Ok(Err(e)) => why = format!("{address}: {e}"),
            Err(_) => why = format!("{address}: no connection within {CONNECT:?}"),
        }
    }
    Err(why)
}

impl Fresh {
    fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(&tcp);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(DEAD / 2).with_interval(DEAD / 6))?;
        socket.set_tcp_user_timeout(Some(DEAD))?;
        let ends = Ends { local: tcp.local_addr()?, peer: tcp.peer_addr()? };
        Ok(Self { tcp, ends })
    }

    /// Has the server prove who it is, unless it is to be talked to in the clear.
    pub(super) async fn open(self, target: &Target, chunk_size: u32) -> Result<Link, String> {
        let url = &target.url;
        let mut stream: Boxed = Box::pin(self.tcp);
        if target.is_secure() {
            let connector = TlsConnector::from(Arc::new(caller::tls(target.tls_ca.as_deref())?));
            let name = ServerName::try_from(url.host.clone()).map_err(|e| format!("{}: {e}", url.host))?;
            let shaken = timeout(HANDSHAKE, connector.connect(name, stream)).await;
            let shaken = shaken.map_err(|_| format!("no TLS handshake within {HANDSHAKE:?}"))?;
            stream = Box::pin(shaken.map_err(|e| format!("TLS: {e}"))?);
        }
        let (reader, writer) = tokio::io::split(stream);
        let options = ClientOptions {
            seed: fastrand::u64(..),
            chunk_size,
            timeout: Micros(HANDSHAKE.as_micros() as i64),
            ..ClientOptions::new(url.clone(), Role::Publish)
        };
        let (start, session) = (Instant::now(), Client::new(Micros::ZERO, options));
        let input = vec![0; 4096];
        Ok(Link {
            session,
            reader,
            writer,
            input,
            start,
            out: Vec::new(),
            sent: 0,
            moved: start,
            unflushed: false,
            runs: false,
        })
    }
}

/// See the module.
pub(super) struct Link {
    session: Client,
    reader: ReadHalf<Boxed>,
    writer: WriteHalf<Boxed>,
    input: Vec<u8>,
    start: Instant,
    /// Bytes for the socket, of which so many are sent.
    out: Vec<u8>,
    sent: usize,
    /// When the socket took something for the last time, or there was nothing for it.
    moved: Instant,
    /// TLS keeps something back unless it is told not to.
    unflushed: bool,
    runs: bool,
}

/// Writes some of it, or flushes if there is nothing to be written.
async fn write(writer: &mut WriteHalf<Boxed>, rest: &[u8]) -> io::Result<usize> {
    match rest {
        [] => writer.flush().await.map(|()| 0),
        rest => writer.write(rest).await,
    }
}

impl Link {
    /// The server takes media.
    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    /// There is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() - self.sent < BATCH
    }

    /// Nothing waits for the socket.
    pub(super) fn is_clear(&self) -> bool {
        self.sent == self.out.len() && !self.unflushed
    }

    /// Lays a message out for the socket; `time` in milliseconds.
    pub(super) fn lay(&mut self, kind: MediaKind, time: u32, head: &[u8], rest: &[u8]) {
        self.session.send_parts(kind, time, head, rest);
        self.gather();
    }

    /// Says goodbye.
    pub(super) fn stop(&mut self) {
        self.session.stop();
        self.gather();
    }

    fn gather(&mut self) {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            self.out.shrink_to(4 * BATCH);
        }
        if self.is_clear() {
            self.moved = Instant::now();
        }
        while let Some(bytes) = self.session.poll_transmit() {
            self.out.extend_from_slice(&bytes);
        }
    }

    /// Goes on a bit: reads what has come, or writes what waits; how many bytes were written. May be dropped.
    ///
    /// Errors: why the connection is over.
    pub(super) async fn progress(&mut self) -> Result<u64, String> {
        self.gather();
        let now = Micros(self.start.elapsed().as_micros() as i64);
        self.session.timeout(now).map_err(|e| e.to_string())?;
        if self.moved.elapsed() > DEAD && !self.is_clear() {
            return Err(format!("the server takes nothing for {DEAD:?}"));
        }
        let Self { reader, writer, input, out, sent, unflushed, .. } = self;
        let rest = &out[*sent..];
        let written = tokio::select! {
            written = write(writer, rest), if !rest.is_empty() || *unflushed => written.map_err(|e| e.to_string())?,
            read = reader.read(input) => {
                let n = read.map_err(|e| e.to_string())?;
                return self.receive(n, now).map(|()| 0);
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => return Ok(0),
        };
        *sent += written;
        *unflushed = written > 0;
        self.moved = Instant::now();
        Ok(written as u64)
    }

    fn receive(&mut self, n: usize, now: Micros) -> Result<(), String> {
        if n == 0 {
            return Err("the server has closed the connection".into());
        }
        self.session.receive(now, &self.input[..n]).map_err(|e| e.to_string())?;
        while let Some(event) = self.session.poll_event() {
            match event {
                ClientEvent::Started => self.runs = true,
                ClientEvent::Rejected { code, description, .. } => {
                    return Err(format!("the server refuses: {code} {description}").trim_end().to_owned());
                }
                ClientEvent::Ended => return Err("the server has ended the stream".into()),
                ClientEvent::Media(_) | ClientEvent::Status { .. } => {}
            }
        }
        Ok(())
    }

    /// Closes the connection when it has taken all.
    pub(super) async fn close(mut self) {
        let _ = self.writer.shutdown().await;
    }
}
