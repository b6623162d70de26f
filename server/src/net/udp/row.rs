//! A row of datagrams for one system call: recvmmsg(2) and sendmmsg(2), and the `unsafe` that they take. Safe wrappers that others
//! have know no ancillary data for each message.

use std::io;
use std::iter::zip;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

use super::layout::{Control, Name};

/// What goes to one peer with one call: a datagram, or bytes that the kernel cuts into datagrams.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) to: SocketAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) bytes: &'a [u8],
    /// The size of each datagram but the last.
    pub(super) segment: Option<u16>,
}

/// Structures for the kernel, used again and again. The pointers in them are good only within a call.
pub(super) struct Row {
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
}

impl Row {
    /// A row of so many datagrams.
    pub(super) fn new(length: usize) -> Self {
        // SAFETY: plain C structures of numbers and pointers, for which zero is a value. They cannot be written out as some
        // C libraries have private padding in them.
        #[expect(unsafe_code, reason = "C structures with private fields")]
        let (header, part) = unsafe { (zeroed(), zeroed()) };
        Self {
            headers: vec![header; length].into(),
            parts: vec![part; length].into(),
            names: vec![Name::default(); length].into(),
            controls: vec![Control::EMPTY; length].into(),
        }
    }

    /// Receives without waiting, each datagram into `size` bytes of `room`. Returns how many there were.
    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, room: &mut [u8], size: usize) -> io::Result<usize> {
        let mut vlen = 0;
        let places = zip(&mut self.names, zip(&mut self.controls, room.chunks_exact_mut(size)));
        for ((header, part), (name, (control, bytes))) in zip(zip(&mut self.headers, &mut self.parts), places)
        {
            *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let h = &mut header.msg_hdr;
            h.msg_name = (&raw mut *name).cast();
            h.msg_namelen = Name::SIZE as _;
            h.msg_iov = part;
            h.msg_iovlen = 1;
            h.msg_control = control.room().as_mut_ptr().cast();
            h.msg_controllen = Control::SIZE as _;
            vlen += 1;
        }
        let no_timeout = std::ptr::null_mut();
        // SAFETY: the first `vlen` headers have just been pointed at names, controls and bytes that live, apart from each other,
        // until after the call, with their true sizes. The kernel may write any bytes there: all of them are plain bytes.
        #[expect(unsafe_code, reason = "recvmmsg takes pointers")]
        let n = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(fd.as_raw_fd(), headers, vlen, libc::MSG_DONTWAIT as _, no_timeout)
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// Who sent datagram `n` of the last call, to which address of ours, and its length in bytes. `None` for one that
    /// was longer than its room, or without an address.
    pub(super) fn received(&mut self, n: usize) -> Option<(SocketAddr, Option<IpAddr>, usize)> {
        let (header, control) = (&self.headers[n], &mut self.controls[n]);
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        control.set_len(header.msg_hdr.msg_controllen as _);
        Some((self.names[n].address()?, control.local(), header.msg_len as usize))
    }

    /// Sends without waiting, as much as fits into the row, from a socket of IPv6 or of IPv4. Returns how many went. An error
    /// is that of the first; one further behind is told when it is the first.
    pub(super) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        ipv6: bool,
        datagrams: impl Iterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let mut vlen = 0;
        let places = zip(&mut self.names, &mut self.controls);
        let places = zip(zip(&mut self.headers, &mut self.parts), places);
        for (((header, part), (name, control)), outgoing) in zip(places, datagrams) {
            *name = Name::new(outgoing.to, ipv6);
            *control = Control::new(outgoing.from, ipv6, outgoing.segment);
            let bytes = outgoing.bytes;
            *part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let h = &mut header.msg_hdr;
            h.msg_name = (&raw mut *name).cast();
            h.msg_namelen = Name::SIZE as _;
            h.msg_iov = part;
            h.msg_iovlen = 1;
            h.msg_controllen = control.bytes().len() as _;
            h.msg_control = control.room().as_mut_ptr().cast();
            vlen += 1;
        }
        // SAFETY: the first `vlen` headers have just been pointed at names, controls and bytes that live until after the call, with
        // their true sizes. The kernel only reads them, so that the bytes may be shared.
        #[expect(unsafe_code, reason = "sendmmsg takes pointers")]
        let n = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::sendmmsg(fd.as_raw_fd(), headers, vlen, (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _)
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}
