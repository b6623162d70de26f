//! Sockets and clocks for one thread that holds thousands of connections: an edge-triggered poller, a connection with
//! its unsent bytes, reading without copying.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The machine's monotonic clock in nanoseconds; the same for all processes.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Raises the limit of open files as far as it goes.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_file_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// Waits for connections, named by their index.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// An empty poller.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(1024) })
    }

    /// Reports a connection or a socket as `index` whenever it turns readable or writable.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add(&self, connection: impl AsFd, index: usize) -> io::Result<()> {
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, connection, epoll::EventData::new_u64(index as u64), flags)?)
    }

    /// Appends the indices of connections that are ready to `ready`, after at most `timeout`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}

/// A TCP connection that never blocks, and what it could not send yet.
pub struct Connection {
    socket: OwnedFd,
    /// What is to be sent; [`Connection::flush`] takes it from the front.
    pub out: Vec<u8>,
}

impl Connection {
    /// Starts to connect to `address`; sending begins once the poller reports the connection.
    ///
    /// # Errors
    /// When the kernel refuses at once.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        net::sockopt::set_tcp_nodelay(&socket, true)?;
        match net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self { socket, out: Vec::new() }),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends as much of [`Connection::out`] as the kernel takes; to be called when the poller
    /// reports it and after adding to it.
    ///
    /// # Errors
    /// When the connection failed.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match net::send(&self.socket, &self.out[sent..], SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.out.drain(..sent);
        Ok(())
    }

    /// Reads once into `buffer`; `None` when there is nothing to read.
    ///
    /// # Errors
    /// When the connection failed, `UnexpectedEof` when the server closed it.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.receive(buffer, RecvFlags::empty())
    }

    /// Throws away up to `buffer.len()` received bytes without copying them (`buffer` is not touched).
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub fn discard(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.receive(buffer, RecvFlags::TRUNC)
    }

    fn receive(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Option<usize>> {
        match net::recv(&self.socket, buffer, flags) {
            Ok((0, _)) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
            }
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
