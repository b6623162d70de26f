//! A port for datagrams: taken once at the start, then bound again by each core. The kernel spreads the peers over
//! the cores, and keeps a peer where it is.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::net::listen;

/// What the kernel may keep for us in each direction, per core: a keyframe to each of many players at once.
const BUFFER: usize = 10 << 20;

/// An address at which datagrams are received.
pub struct Port {
    address: SocketAddr,
    /// An IPv6 socket that serves IPv4, too.
    dual: bool,
    /// Holds the port until the first core asks. A bound socket gets its share of the datagrams, so it must be
    /// somebody's.
    first: Mutex<Option<UdpSocket>>,
}

impl Port {
    /// Takes the address. Without `ip`, all addresses of IPv6 and IPv4, or of IPv4 alone where there is no IPv6.
    /// Port 0 takes a free one. Fails if anybody has the port already, another server of ours included.
    pub fn bind(ip: Option<IpAddr>, port: u16) -> io::Result<Self> {
        listen::take_meant(ip, port, Self::take)
    }

    fn take(mut address: SocketAddr, dual: bool) -> io::Result<Self> {
        // Without SO_REUSEPORT this fails if anybody is there.
        let probe = open(address, dual)?;
        probe.bind(&address.into())?;
        if let Some(local) = probe.local_addr()?.as_socket() {
            address.set_port(local.port());
        }
        drop(probe);
        let first = Mutex::new(Some(bind(address, dual)?));
        Ok(Self { address, dual, first })
    }

    /// The port of this socket, which was handed over by another process, and which the first core gets.
    pub fn of(socket: UdpSocket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let dual = address.is_ipv6() && !SockRef::from(&socket).only_v6()?;
        Ok(Self { address, dual, first: Mutex::new(Some(socket)) })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One more socket at this address, for one core to make a [`super::Socket`] of. Datagrams of a peer may change
    /// sockets when one is added, so all are to be made before media flows.
    pub fn socket(&self) -> io::Result<UdpSocket> {
        let first = self.first.lock().take();
        first.map_or_else(|| bind(self.address, self.dual), Ok)
    }
}

fn open(address: SocketAddr, dual: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    Ok(socket)
}

fn bind(address: SocketAddr, dual: bool) -> io::Result<UdpSocket> {
    let socket = open(address, dual)?;
    socket.set_reuse_port(true)?;
    // On a dual socket this tells the local address of IPv4 datagrams as well.
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    enlarge(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Asks for large buffers; what the kernel then gives must do.
fn enlarge(socket: &Socket) {
    // With CAP_NET_ADMIN the limits of net.core are none.
    let received = match set_socket_recv_buffer_size_force(socket, BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(BUFFER),
    };
    let sent = match set_socket_send_buffer_size_force(socket, BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_send_buffer_size(BUFFER),
    };
    if let Err(e) = received.and(sent) {
        tracing::debug!("UDP buffers: {e}");
    }
}
