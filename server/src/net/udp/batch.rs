//! Datagrams that are sent together: laid out one behind the other, those to one peer as one message that the kernel cuts
//! (`UDP_SEGMENT`), many messages with one system call.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use nix::libc;

use super::row::Outgoing;
use super::socket::{ROW_OUT, Socket};

/// Bytes that are worth a flush.
const FULL: usize = 256 << 10;

/// What the batch keeps allocated when it is empty.
const KEPT: usize = 1 << 20;

/// Datagrams that the kernel cuts one message into (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;

/// Bytes of a message that the kernel cuts. It must fit into an IP packet with its headers.
const MAX_SEGMENTED: usize = 65_000;

/// See the module. To be filled, flushed and filled again; nothing is allocated then.
pub struct Batch {
    arena: Vec<u8>,
    messages: Vec<Message>,
    /// The last socket took messages of more than one datagram.
    merges: bool,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Their bytes, without any headers.
    pub bytes: u64,
    /// Datagrams that it did not take.
    pub dropped: u64,
}

/// Datagrams to one peer, all of one size but for a shorter last.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Message {
    to: SocketAddr,
    from: Option<IpAddr>,
    bytes: Range<usize>,
    segment: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { arena: Vec::new(), messages: Vec::new(), merges: true }
    }
}

impl Batch {
    /// Adds a datagram to a peer: what `write` appends to the bytes it gets, which belong to others. Nothing appended is no datagram. It
    /// leaves from our address `from`, or from that which the routes give. Datagrams to one peer keep their order; they
    /// cost least when pushed one after the other and of one size.
    pub fn push(&mut self, to: SocketAddr, from: Option<IpAddr>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        let end = self.arena.len();
        debug_assert!(end >= start, "the bytes of others were cut");
        if end <= start {
            return;
        }
        let size = end - start;
        if let Some(last) = self.messages.last_mut()
            && self.merges
            && (last.to, last.from) == (to, from)
            && last.has_room_for(size)
        {
            last.bytes.end = end;
            return;
        }
        self.messages.push(Message { to, from, bytes: start..end, segment: size });
    }

    /// It is time to flush.
    pub fn is_full(&self) -> bool {
        self.arena.len() > FULL || self.messages.len() >= ROW_OUT
    }

    /// There is nothing to flush.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Sends everything, and is empty. What the kernel does not take is dropped: when it has no room, all the rest; when
    /// it refuses a peer, what goes to that peer.
    pub fn flush(&mut self, socket: &Socket) -> Sent {
        if self.is_empty() {
            return Sent::default();
        }
        self.merges = socket.segments();
        if !self.merges {
            self.split(0..self.messages.len());
        }
        let sent = self.send(|messages| socket.send(messages), || socket.refuse_segments());
        self.messages.clear();
        self.messages.shrink_to(KEPT / size_of::<Message>());
        self.arena.clear();
        self.arena.shrink_to(KEPT);
        sent
    }

    /// Hands all messages to `send`, which tells how many it took, and whatever goes wrong is dealt with. `refuse` is told that no message may
    /// have more than one datagram.
    fn send(
        &mut self,
        mut send: impl FnMut(&mut dyn Iterator<Item = Outgoing<'_>>) -> io::Result<usize>,
        refuse: impl Fn(),
    ) -> Sent {
        let mut sent = Sent::default();
        let mut at = 0;
        let mut patient = true;
        while at < self.messages.len() {
            let arena = &self.arena;
            let e = match send(&mut self.messages[at..].iter().map(|m| m.outgoing(arena))) {
                Ok(n) => {
                    for message in &self.messages[at..at + n] {
                        sent.datagrams += message.datagrams();
                        sent.bytes += message.bytes.len() as u64;
                    }
                    at += n;
                    continue;
                }
                Err(e) => e,
            };
            let message = &self.messages[at];
            match e.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN | libc::ENOBUFS) if patient => patient = false,
                // Media that waits is late, and what waits takes memory.
                Some(libc::EAGAIN | libc::ENOBUFS) => {
                    sent.dropped += self.messages[at..].iter().map(Message::datagrams).sum::<u64>();
                    return sent;
                }
                // The device cannot do checksums, or something on the way cannot do with cut datagrams.
                Some(libc::EIO) if message.is_segmented() => {
                    refuse();
                    self.split(at..self.messages.len());
                }
                // To this peer they are too large to go whole. Alone they may go in fragments.
                Some(libc::EINVAL | libc::EMSGSIZE) if message.is_segmented() => self.split(at..at + 1),
                _ => {
                    tracing::debug!("{}: {e}", message.to);
                    sent.dropped += message.datagrams();
                    at += 1;
                }
            }
        }
        sent
    }

    /// Makes a message of each datagram.
    fn split(&mut self, messages: Range<usize>) {
        if !self.messages[messages.clone()].iter().any(Message::is_segmented) {
            return;
        }
        let apart: Vec<_> = self.messages[messages.clone()].iter().flat_map(Message::each).collect();
        self.messages.splice(messages, apart);
    }
}

impl Message {
    /// A shorter datagram may follow those of full size, and then none.
    fn has_room_for(&self, size: usize) -> bool {
        let length = self.bytes.len();
        size <= self.segment
            && length.is_multiple_of(self.segment)
            && length / self.segment < MAX_SEGMENTS
            && length + size <= MAX_SEGMENTED
    }

    fn is_segmented(&self) -> bool {
        self.bytes.len() > self.segment
    }

    fn datagrams(&self) -> u64 {
        self.bytes.len().div_ceil(self.segment) as u64
    }

    fn each(&self) -> impl Iterator<Item = Self> {
        let end = self.bytes.end;
        self.bytes.clone().step_by(self.segment).map(move |start| {
            let bytes = start..end.min(start + self.segment);
            Self { to: self.to, from: self.from, segment: bytes.len(), bytes }
        })
    }

    fn outgoing<'a>(&self, arena: &'a [u8]) -> Outgoing<'a> {
        // A segmented message is shorter than 64 KiB.
        let segment = self.is_segmented().then_some(self.segment as u16);
        Outgoing { to: self.to, from: self.from, bytes: &arena[self.bytes.clone()], segment }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn fill(batch: &mut Batch, port: u16, sizes: &[usize]) {
        for &size in sizes {
            batch.push(peer(port), None, |out| out.resize(out.len() + size, port as u8));
        }
    }

    fn sizes(batch: &Batch) -> Vec<(u16, usize, usize)> {
        batch.messages.iter().map(|m| (m.to.port(), m.bytes.len(), m.segment)).collect()
    }

    #[test]
    fn equal_datagrams_to_a_peer_become_one_message() {
        let mut batch = Batch::default();
        fill(&mut batch, 1, &[100, 100, 40, 100, 0, 100, 120]);
        fill(&mut batch, 2, &[120, 120]);
        batch.push(peer(2), Some([127, 0, 0, 1].into()), |out| out.extend([0; 120]));
        let expected = [(1, 240, 100), (1, 200, 100), (1, 120, 120), (2, 240, 120), (2, 120, 120)];
        assert_eq!(sizes(&batch), expected);
        batch.split(0..3);
        let lengths: Vec<_> = batch.messages.iter().map(|m| m.bytes.len()).collect();
        assert_eq!(lengths, [100, 100, 40, 100, 100, 120, 240, 120]);
        assert!(batch.messages.windows(2).all(|m| m[0].bytes.end == m[1].bytes.start));
    }

    #[test]
    fn messages_keep_to_what_the_kernel_takes() {
        let mut batch = Batch::default();
        fill(&mut batch, 1, &[10; 65]);
        fill(&mut batch, 2, &[1200; 55]);
        assert_eq!(sizes(&batch), [(1, 640, 10), (1, 10, 10), (2, 64_800, 1200), (2, 1200, 1200)]);
    }

    #[test]
    fn full_is_what_one_call_takes() {
        let mut batch = Batch::default();
        assert!(batch.is_empty() && !batch.is_full());
        for port in 1..=64 {
            assert!(!batch.is_full());
            fill(&mut batch, port, &[10, 10]);
        }
        assert!(batch.is_full());
        let mut batch = Batch::default();
        fill(&mut batch, 1, &[1 << 16; 4]);
        assert!(!batch.is_full());
        fill(&mut batch, 1, &[1]);
        assert!(batch.is_full());
    }

    /// Port, length, and whether it is to be cut.
    type Seen = (u16, usize, bool);

    /// Sends the batch where `answer` tells how many messages are taken. Returns also what was taken, and whether
    /// cutting was refused.
    fn play(
        batch: &mut Batch,
        mut answer: impl FnMut(&[Seen]) -> Result<usize, i32>,
    ) -> (Sent, Vec<Seen>, bool) {
        let (taken, refused) = (RefCell::new(Vec::new()), Cell::new(false));
        let sent = batch.send(
            |messages| {
                let seen: Vec<_> =
                    messages.map(|m| (m.to.port(), m.bytes.len(), m.segment.is_some())).collect();
                let n = answer(&seen).map_err(io::Error::from_raw_os_error)?;
                taken.borrow_mut().extend(&seen[..n]);
                Ok(n)
            },
            || refused.set(true),
        );
        (sent, taken.into_inner(), refused.get())
    }

    #[test]
    fn no_room_drops_the_rest_after_one_more_try() {
        let mut batch = Batch::default();
        (1..=5).for_each(|port| fill(&mut batch, port, &[10, 10]));
        let mut tries = 0;
        let (sent, taken, _) = play(&mut batch, |_| {
            tries += 1;
            if tries == 2 { Ok(2) } else { Err(libc::EAGAIN) }
        });
        assert_eq!(tries, 3);
        assert_eq!(taken, [(1, 20, true), (2, 20, true)]);
        assert_eq!(sent, Sent { datagrams: 4, bytes: 40, dropped: 6 });
    }

    #[test]
    fn one_bad_peer_is_skipped() {
        let mut batch = Batch::default();
        (1..=5).for_each(|port| fill(&mut batch, port, &[10]));
        let (sent, taken, refused) = play(&mut batch, |seen| match seen[0].0 {
            2 => Err(libc::ENETUNREACH),
            5 => Err(libc::EINVAL),
            _ => Ok(1),
        });
        assert_eq!(taken, [(1, 10, false), (3, 10, false), (4, 10, false)]);
        assert_eq!(sent, Sent { datagrams: 3, bytes: 30, dropped: 2 });
        assert!(!refused);
    }

    #[test]
    fn a_peer_that_takes_no_segments_gets_datagrams() {
        let mut batch = Batch::default();
        (1..=3).for_each(|port| fill(&mut batch, port, &[10, 10, 5]));
        let (sent, taken, refused) = play(&mut batch, |seen| match seen[0] {
            (2, _, true) => Err(libc::EMSGSIZE),
            _ => Ok(1),
        });
        let apart = [(2, 10, false), (2, 10, false), (2, 5, false)];
        assert_eq!(taken, [&[(1, 25, true)][..], &apart, &[(3, 25, true)]].concat());
        assert_eq!(sent, Sent { datagrams: 9, bytes: 75, dropped: 0 });
        assert!(!refused);
    }

    #[test]
    fn a_device_that_takes_no_segments_is_not_asked_again() {
        let mut batch = Batch::default();
        (1..=3).for_each(|port| fill(&mut batch, port, &[10, 5]));
        let mut failed = 0;
        let (sent, taken, refused) = play(&mut batch, |seen| {
            if seen[0].2 {
                failed += 1;
                return Err(libc::EIO);
            }
            Ok(seen.len())
        });
        assert_eq!((failed, refused), (1, true));
        assert_eq!(taken, [1, 2, 3].map(|p| [(p, 10, false), (p, 5, false)]).concat());
        assert_eq!(sent, Sent { datagrams: 6, bytes: 45, dropped: 0 });
    }
}
