//! UDP: one port that all cores share, many datagrams per system call, in and out. What the datagrams mean is for
//! the protocols; whoever sends media never waits here, what the kernel does not take at once is lost.

mod batch;
mod layout;
mod port;
mod row;
mod socket;

pub use batch::Batch;
pub use port::Port;
pub use socket::Socket;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::batch::Sent;
    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_secs(5);

    fn open(ip: Option<IpAddr>) -> Socket {
        Socket::new(Port::bind(ip, 0).unwrap().socket().unwrap()).unwrap()
    }

    /// A peer without anything of ours.
    fn peer(ip: IpAddr) -> UdpSocket {
        let peer = UdpSocket::bind((ip, 0)).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    type Received = (SocketAddr, Option<IpAddr>, Vec<u8>);

    /// Receives until there are so many, or until nothing more comes for a while.
    async fn receive(socket: &Socket, count: usize) -> Vec<Received> {
        let mut all = Vec::new();
        while all.len() < count {
            let next =
                poll_fn(|cx| socket.poll_receive(cx, |d| all.push((d.peer, d.local, d.data.to_vec()))));
            match timeout(PATIENCE, next).await {
                Ok(received) => assert!(received.unwrap() > 0),
                Err(_) => break,
            }
        }
        all
    }

    #[tokio::test]
    async fn a_port_in_use_is_refused_even_to_ourselves() {
        for ip in [None, Some(V4)] {
            let first = Port::bind(ip, 0).unwrap();
            let port = first.address().port();
            let refused = |ip| {
                Port::bind(ip, port).err().map(|e| (e.kind(), e.to_string().contains(&port.to_string())))
            };
            assert_eq!(refused(ip), Some((io::ErrorKind::AddrInUse, true)));
            assert_eq!(refused(Some(V4)), Some((io::ErrorKind::AddrInUse, true)));
            let socket = first.socket().unwrap();
            drop(first);
            assert_eq!(refused(ip), Some((io::ErrorKind::AddrInUse, true)));
            drop(socket);
            assert_eq!(refused(ip), None);
        }
    }

    #[test]
    fn buffers_are_larger_than_usual() {
        let size = |socket: &UdpSocket| {
            let socket = socket2::SockRef::from(socket);
            [socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()]
        };
        let (usual, ours) = (size(&peer(V4)), size(&Port::bind(None, 0).unwrap().socket().unwrap()));
        assert!(ours[0] > usual[0] && ours[1] > usual[1], "{usual:?} {ours:?}");
    }

    #[tokio::test]
    async fn cores_share_a_port_and_the_peers() {
        let port = Port::bind(Some(V4), 0).unwrap();
        let [a, b] = [(); 2].map(|()| Socket::new(port.socket().unwrap()).unwrap());
        assert_eq!((a.address(), b.address()), (port.address(), port.address()));
        let peers: Vec<_> = (0..64).map(|_| peer(V4)).collect();
        for peer in peers.iter().chain(&peers) {
            peer.send_to(b"hi", port.address()).unwrap();
        }
        let mut at_a = Vec::new();
        let mut at_b = Vec::new();
        while at_a.len() + at_b.len() < 128 {
            tokio::select! {
                got = receive(&a, 1) => at_a.extend(got),
                got = receive(&b, 1) => at_b.extend(got),
            }
        }
        assert!(!at_a.is_empty() && !at_b.is_empty());
        // A peer stays where it is.
        assert!(at_a.iter().all(|(a, ..)| at_b.iter().all(|(b, ..)| a != b)));
    }

    #[tokio::test]
    async fn answers_reach_who_asked_in_every_family() {
        for (ours, theirs) in [(Some(V4), V4), (Some(V6), V6), (None, V4), (None, V6)] {
            let socket = open(ours);
            let peer = peer(theirs);
            peer.connect((theirs, socket.address().port())).unwrap();
            peer.send(b"ping").unwrap();
            let got = receive(&socket, 1).await;
            assert_eq!(got, [(peer.local_addr().unwrap(), Some(theirs), b"ping".to_vec())]);
            let mut batch = Batch::default();
            batch.push(got[0].0, got[0].1, |out| out.extend(b"pong"));
            assert_eq!(batch.flush(&socket), Sent { datagrams: 1, bytes: 4, dropped: 0 });
            assert!(batch.is_empty());
            let mut buffer = [0; 16];
            let n = peer.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], b"pong");
        }
    }

    #[tokio::test]
    async fn answers_leave_from_where_they_were_asked() {
        for ours in [Some(Ipv4Addr::UNSPECIFIED.into()), None] {
            let socket = open(ours);
            let asked: IpAddr = [127, 0, 0, 2].into();
            let peer = peer(V4);
            peer.send_to(b"ping", (asked, socket.address().port())).unwrap();
            let (to, from, _) = receive(&socket, 1).await.remove(0);
            assert_eq!(from, Some(asked));
            let mut batch = Batch::default();
            // One alone, and some that the kernel cuts.
            batch.push(to, from, |out| out.extend(b"pong"));
            batch.push(to, from, |out| out.extend([1; 500]));
            batch.push(to, from, |out| out.extend([2; 500]));
            assert_eq!(batch.flush(&socket).datagrams, 3);
            for size in [4, 500, 500] {
                let (n, from) = peer.recv_from(&mut [0; 600]).unwrap();
                assert_eq!((n, from.ip()), (size, asked));
            }
        }
    }

    #[tokio::test]
    async fn batches_arrive_whole_and_in_order_with_and_without_segments() {
        for (ours, theirs) in [(Some(V4), V4), (Some(V6), V6), (None, V4), (None, V6)] {
            for segments in [true, false] {
                let sender = open(ours);
                if !segments {
                    sender.refuse_segments();
                }
                let receivers = [(); 3].map(|()| open(Some(theirs)));
                // 100 equal ones to the first, mixed ones to all in turn, then equal ones again.
                let mut plan: Vec<_> = (0..100).map(|_| (0, 1200)).collect();
                plan.extend((0..90).map(|i| (i % 3, 1 + i * 37 % 1400)));
                plan.extend((0..90).map(|i| (i / 30, if i % 30 == 29 { 7 } else { 1100 })));
                let mut expected = [const { Vec::new() }; 3];
                let mut batch = Batch::default();
                // The second time everything is used again.
                for round in 0..2u8 {
                    let mut sent = Sent::default();
                    for (i, &(to, size)) in plan.iter().enumerate() {
                        let data = vec![i as u8 ^ round; size];
                        batch.push(receivers[to].address(), None, |out| out.extend(&data));
                        expected[to].push(data);
                        if batch.is_full() || i + 1 == plan.len() {
                            let more = batch.flush(&sender);
                            sent.datagrams += more.datagrams;
                            sent.bytes += more.bytes;
                            assert_eq!(more.dropped, 0);
                        }
                    }
                    let bytes = plan.iter().map(|(_, size)| *size as u64).sum();
                    assert_eq!(sent, Sent { datagrams: plan.len() as u64, bytes, dropped: 0 });
                }
                for (receiver, expected) in receivers.iter().zip(expected) {
                    let got = receive(receiver, expected.len()).await;
                    assert!(got.iter().all(|(peer, ..)| peer.port() == sender.address().port()));
                    let got: Vec<_> = got.into_iter().map(|(_, _, data)| data).collect();
                    assert!(got == expected, "{ours:?} {theirs:?} {segments}");
                }
                assert_eq!(sender.segments(), segments);
            }
        }
    }

    #[tokio::test]
    async fn a_bad_destination_harms_nobody_else() {
        let socket = open(Some(V4));
        let good = [peer(V4), peer(V4)];
        let closed = peer(V4).local_addr().unwrap();
        let bad = [closed, (V4, 0).into(), ([255, 255, 255, 255], 9).into(), (V6, 9).into()];
        let mut batch = Batch::default();
        for size in [100, 100, 50] {
            bad.iter().for_each(|&to| batch.push(to, None, |out| out.resize(out.len() + size, 1)));
        }
        batch.push(good[0].local_addr().unwrap(), None, |out| out.push(2));
        // Some that the kernel would have to cut.
        for size in [100, 100, 50] {
            batch.push(bad[1], None, |out| out.resize(out.len() + size, 1));
        }
        batch.push(good[1].local_addr().unwrap(), None, |out| out.push(3));
        // Nobody is at the closed port, but it can be sent to.
        assert_eq!(batch.flush(&socket), Sent { datagrams: 5, bytes: 252, dropped: 12 });
        for (peer, said) in good.iter().zip([2, 3]) {
            let mut buffer = [0];
            assert_eq!((peer.recv(&mut buffer).unwrap(), buffer), (1, [said]));
        }
        assert!(socket.segments());
        // What ICMP said of the closed port does not end the receiving.
        good[0].send_to(b"still there", socket.address()).unwrap();
        assert_eq!(receive(&socket, 1).await[0].2, b"still there");
    }

    #[tokio::test]
    async fn datagrams_without_room_are_passed_over() {
        let socket = open(None);
        let peer = peer(V4);
        let to = (V4, socket.address().port());
        for size in [3000, 2048, 2049, 0, 5] {
            peer.send_to(&vec![7; size], to).unwrap();
        }
        let sizes: Vec<_> = receive(&socket, 3).await.into_iter().map(|(_, _, data)| data.len()).collect();
        assert_eq!(sizes, [2048, 0, 5]);
    }

    #[tokio::test]
    async fn a_receiver_that_takes_little_loses_and_holds_nobody_up() {
        let sender = open(Some(V4));
        let slow = peer(V4);
        socket2::SockRef::from(&slow).set_recv_buffer_size(4096).unwrap();
        let (mut batch, mut sent) = (Batch::default(), 0);
        for _ in 0..5000 {
            batch.push(slow.local_addr().unwrap(), None, |out| out.extend([0; 1200]));
            if batch.is_full() {
                let more = batch.flush(&sender);
                sent += more.datagrams + more.dropped;
            }
        }
        let last = batch.flush(&sender);
        assert_eq!(sent + last.datagrams + last.dropped, 5000);
        slow.set_nonblocking(true).unwrap();
        let arrived = std::iter::from_fn(|| slow.recv(&mut [0; 1500]).ok()).count();
        assert!((1..100).contains(&arrived), "{arrived}");
    }

    #[tokio::test]
    async fn a_batch_does_not_stay_large() {
        let socket = open(Some(V4));
        let mut batch = Batch::default();
        batch.push(socket.address(), None, |out| out.resize(4 << 20, 0));
        // No datagram is that large.
        assert_eq!(batch.flush(&socket), Sent { datagrams: 0, bytes: 0, dropped: 1 });
        let mut capacity = 0;
        batch.push(socket.address(), None, |out| capacity = out.capacity());
        assert!((1 << 18..=1 << 20).contains(&capacity), "{capacity}");
        assert_eq!(batch.flush(&socket), Sent::default());
    }
}
