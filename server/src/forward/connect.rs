//! Connections to other servers by TCP, in the clear or by TLS: what destinations of all kinds begin with.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::caller;

/// A server that is there takes a connection within this time (as in SRS), and shakes hands within the other one.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// A server that takes nothing for so long, or does not even confirm to its network that it is there, is dead.
pub(super) const DEAD: Duration = Duration::from_secs(30);

/// What a connection is made of.
pub(super) trait Duplex: AsyncRead + AsyncWrite {}
impl<S: AsyncRead + AsyncWrite> Duplex for S {}

/// A connection on which the server has proved who it is, unless it is in the clear.
pub(super) type Stream = Pin<Box<dyn Duplex>>;

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

/// The addresses of a server.
pub(super) async fn find(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = timeout(CONNECT, lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("{host} is not found within {CONNECT:?}"))?;
    Ok(found.map_err(|e| format!("{host}: {e}"))?.collect())
}

/// Connects to the first address of a server that takes a connection.
pub(super) async fn connect(host: &str, port: u16) -> Result<Fresh, String> {
    let mut why = format!("{host} has no address");
    for address in find(host, port).await? {
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

    /// To talk in the clear.
    pub(super) fn plain(self) -> Stream {
        Box::pin(self.tcp)
    }

    /// Has the server prove that it is `host`, by the authorities in the file or those of the system.
    pub(super) async fn secure(self, host: &str, tls_ca: Option<&Path>) -> Result<Stream, String> {
        let connector = TlsConnector::from(Arc::new(caller::tls(tls_ca)?));
        let name = ServerName::try_from(host.to_owned()).map_err(|e| format!("{host}: {e}"))?;
        let shaken = timeout(HANDSHAKE, connector.connect(name, self.tcp)).await;
        let shaken = shaken.map_err(|_| format!("no TLS handshake within {HANDSHAKE:?}"))?;
        Ok(Box::pin(shaken.map_err(|e| format!("TLS: {e}"))?))
    }
}
