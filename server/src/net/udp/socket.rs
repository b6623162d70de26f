//! A core's socket: shows what arrives, many datagrams per system call, and sends what a batch holds.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{getsockopt, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::row::{Outgoing, Row};

/// Datagrams that one call receives.
const ROW_IN: usize = 32;

/// Room for each. Media keeps below the 1,500 bytes of an Ethernet frame.
const ROOM: usize = 2 << 10;

/// Messages that one call sends.
pub(super) const ROW_OUT: usize = 64;

/// A datagram that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it; IPv4 is IPv4 on a dual socket, too.
    pub peer: SocketAddr,
    /// The address of ours that it was sent to, and which answers should leave from. `None` if the kernel does not tell, which it always should.
    pub local: Option<IpAddr>,
    /// What it says.
    pub data: &'a [u8],
}

/// See the module. Stays on the core that made it.
pub struct Socket {
    fd: AsyncFd<UdpSocket>,
    address: SocketAddr,
    /// The kernel cuts datagrams for us (`UDP_SEGMENT`, Linux 4.18). Until a device turns out to be unable to.
    segments: Cell<bool>,
    incoming: RefCell<(Row, Box<[u8]>)>,
    outgoing: RefCell<Row>,
}

impl Socket {
    /// Makes one of what [`super::Port::socket`] gave, on the runtime of the core that will use it.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let segments = getsockopt(&socket, sockopt::UdpGsoSegment).is_ok();
        // Readable only: with write interest, too, the kernel would wake us for each datagram that has left.
        // SAFETY: the socket owns its descriptor; nobody closes or replaces it while it is in here.
        #[expect(unsafe_code, reason = "tokio cannot see that a descriptor stays what it is")]
        let fd = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? };
        Ok(Self {
            fd,
            address,
            segments: Cell::new(segments),
            incoming: RefCell::new((Row::new(ROW_IN), vec![0; ROW_IN * ROOM].into())),
            outgoing: RefCell::new(Row::new(ROW_OUT)),
        })
    }

    /// Where it is bound; an address of all interfaces is unspecified.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Receives what is there, up to 32 datagrams, and shows them one after the other; returns how many there were. Those that are
    /// longer than 2 KiB are counted but not shown. `show` may send, but not receive. An error is that of the
    /// runtime or the socket as a whole; what a single peer caused (ICMP) is passed over.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        mut show: impl FnMut(Datagram<'_>),
    ) -> Poll<io::Result<usize>> {
        let (row, room) = &mut *self.incoming.borrow_mut();
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(cx))?;
            let n = match row.receive(self.fd.as_fd(), room, ROOM) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    continue;
                }
                // Each is told once. The runtime has us pause after a while if they come without end.
                Err(e) if is_of_a_peer(&e) => continue,
                Err(e) => return Poll::Ready(Err(e)),
            };
            // There was no more, which saves us the call that would tell.
            if n < ROW_IN {
                ready.clear_ready();
            }
            for (i, bytes) in room.chunks_exact(ROOM).take(n).enumerate() {
                if let Some((peer, local, length)) = row.received(i) {
                    show(Datagram { peer, local, data: &bytes[..length] });
                }
            }
            return Poll::Ready(Ok(n));
        }
    }

    /// Whether the kernel cuts datagrams for us.
    pub(super) fn segments(&self) -> bool {
        self.segments.get()
    }

    /// From now on each datagram is handed over on its own.
    pub(super) fn refuse_segments(&self) {
        self.segments.set(false);
    }

    /// Sends up to 64 messages; see [`Row::send`].
    pub(super) fn send<'a>(&self, messages: impl Iterator<Item = Outgoing<'a>>) -> io::Result<usize> {
        self.outgoing.borrow_mut().send(self.fd.as_fd(), self.address.is_ipv6(), messages)
    }
}

/// Peers, or routers on the way to them, make errors at the socket that concern nobody else.
fn is_of_a_peer(e: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        e.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted
    )
}
