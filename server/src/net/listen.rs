//! Listening: every core binds the same addresses, and the kernel spreads the connections over them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// This many connections over the limit may be told so; more are closed without a word.
const REFUSALS: usize = 64;

/// An address to listen at: bound once at the start, so that the port is ours or the start fails; then
/// bound again by each core.
pub struct Listener {
    address: SocketAddr,
    /// An IPv6 socket that serves IPv4, too.
    dual: bool,
    /// Holds the port while this lives. It never listens itself, so the kernel gives it no connections. Sockets that were handed over by another
    /// process hold it themselves.
    _bound: Option<Socket>,
}

impl Listener {
    /// Takes the address. Without `ip`, all addresses of IPv6 and IPv4, or of IPv4 alone where there is no IPv6. Port 0 takes a free one.
    pub fn bind(ip: Option<IpAddr>, port: u16) -> io::Result<Self> {
        take_meant(ip, port, Self::take)
    }

    /// The same for a port at whose other addresses we listen already.
    pub fn bind_beside(ip: Option<IpAddr>, port: u16) -> io::Result<Self> {
        take_meant(ip, port, Self::share)
    }

    fn take(mut address: SocketAddr, dual: bool) -> io::Result<Self> {
        // Without SO_REUSEPORT this fails if anybody listens there, another server of ours included.
        let probe = socket(address, dual)?;
        probe.bind(&address.into())?;
        probe.listen(1)?;
        if let Some(local) = probe.local_addr()?.as_socket() {
            address.set_port(local.port());
        }
        drop(probe);
        Self::share(address, dual)
    }

    fn share(address: SocketAddr, dual: bool) -> io::Result<Self> {
        let bound = socket(address, dual)?;
        bound.set_reuse_port(true)?;
        bound.bind(&address.into())?;
        Ok(Self { address, dual, _bound: Some(bound) })
    }

    /// The address at which this socket listens already.
    pub fn of(socket: &StdListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let dual = address.is_ipv6() && !SockRef::from(socket).only_v6()?;
        Ok(Self { address, dual, _bound: None })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One more listening socket at this address, for one core.
    pub fn listen(&self) -> io::Result<StdListener> {
        let socket = socket(self.address, self.dual)?;
        socket.set_reuse_port(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }
}

/// Has `take` take the address that is meant. Without `ip` that is all addresses of IPv6, `true` for those of IPv4 as well, or those
/// of IPv4 alone where there is no IPv6. An error says which address it was.
pub(super) fn take_meant<T>(
    ip: Option<IpAddr>,
    port: u16,
    take: impl Fn(SocketAddr, bool) -> io::Result<T>,
) -> io::Result<T> {
    let at = |ip| SocketAddr::new(ip, port);
    let taken = match ip {
        Some(ip) => take(at(ip), false),
        None => match take(at(Ipv6Addr::UNSPECIFIED.into()), true) {
            Err(e) if e.kind() != io::ErrorKind::AddrInUse => take(at(Ipv4Addr::UNSPECIFIED.into()), false),
            taken => taken,
        },
    };
    let wanted = ip.map_or_else(|| port.to_string(), |ip| at(ip).to_string());
    taken.map_err(|e| io::Error::new(e.kind(), format!("cannot listen at {wanted}: {e}")))
}

fn socket(address: SocketAddr, dual: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    // Accepted sockets inherit it: half-open connections are found without traffic of ours.
    socket.set_keepalive(true)?;
    Ok(socket)
}

/// Counts connections against `max_connections`.
#[derive(Debug)]
pub struct Door {
    inside: AtomicUsize,
    limit: AtomicUsize,
    /// Connections that came when it was full.
    refused: AtomicU64,
}

/// How a connection got in; dropping it makes room.
pub struct Pass {
    door: Arc<Door>,
    /// It is over the limit and is to be told so.
    pub full: bool,
}

impl Door {
    /// A door for so many.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            inside: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            refused: AtomicU64::new(0),
        })
    }

    /// So many from now on; who is inside stays.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// How many there is room for.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// How many came when it was full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets a connection in; `None` when there is no room even to refuse it with words.
    pub fn enter(self: &Arc<Self>) -> Option<Pass> {
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        let limit = self.limit();
        let pass = Pass { door: self.clone(), full: before >= limit };
        if pass.full {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        (before < limit + REFUSALS).then_some(pass)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts until `closing`; the listener is closed then. `serve` must not wait.
pub async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    closing: impl Future<Output = ()>,
    mut serve: impl FnMut(TcpStream, SocketAddr, Pass),
) {
    let mut closing = pin!(closing);
    loop {
        let accepted = tokio::select! {
            // Those who wait already are let in.
            biased;
            accepted = listener.accept() => accepted,
            () = &mut closing => return,
        };
        match accepted {
            Ok((tcp, peer)) => match door.enter() {
                Some(pass) => serve(tcp, canonical(peer), pass),
                None => {
                    let limit = door.limit.load(Ordering::Relaxed);
                    tracing::warn!("{peer}: closed, over max_connections {limit}");
                }
            },
            // Out of files or memory: those inside need what is left.
            Err(e) => {
                tracing::error!("accept: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// IPv4 peers of an IPv6 socket under their IPv4 address.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_refused_even_to_ourselves() {
        let first = Listener::bind(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
        let listening = first.listen().unwrap();
        let port = first.address().port();
        let second = Listener::bind(Some(Ipv4Addr::LOCALHOST.into()), port);
        assert_eq!(second.err().map(|e| e.kind()), Some(io::ErrorKind::AddrInUse));
        drop(listening);
    }

    #[tokio::test]
    async fn cores_share_a_port() {
        let listener = Listener::bind(None, 0).unwrap();
        let (a, b) = (listener.listen().unwrap(), listener.listen().unwrap());
        assert_eq!(a.local_addr().unwrap(), b.local_addr().unwrap());
    }

    #[test]
    fn ipv4_and_ipv6_are_apart_where_both_are_named() {
        let v4 = Listener::bind(Some(Ipv4Addr::UNSPECIFIED.into()), 0).unwrap();
        let v6 = Listener::bind(Some(Ipv6Addr::UNSPECIFIED.into()), v4.address().port());
        assert_eq!(v6.unwrap().address().port(), v4.address().port());
    }

    #[test]
    fn the_door_tells_when_it_is_full() {
        let door = Door::new(1);
        let first = door.enter().unwrap();
        assert!(!first.full);
        assert!(door.enter().unwrap().full);
        drop(first);
        let second = door.enter().unwrap();
        assert!(!second.full);
        door.set_limit(2);
        assert!(!door.enter().unwrap().full);
    }
}
