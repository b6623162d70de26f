//! Conversations between two of our ends over a link that loses, doubles and reorders, in virtual time.

#[cfg(test)]
mod conversations {
    use super::super::*;
    use crate::srtp;

    /// A link in virtual time: each datagram is lost, doubled or late by chance.
    struct Link {
        random: fastrand::Rng,
        loss: f64,
        delay: Micros,
        jitter: i64,
        under_way: Vec<(Micros, usize, Vec<u8>)>,
        largest: usize,
    }

    fn talk(seed: u64, loss: f64, mtu: usize) -> (Link, [Option<Box<Connected>>; 2], Micros) {
        let certificate = || Arc::new(Certificate::generate("oxcast").unwrap());
        let mut now = Micros::ZERO;
        let mut ends = [Role::Client, Role::Server].map(|role| {
            let mut options = Options::new(role, certificate());
            options.mtu = mtu;
            start(now, options).unwrap()
        });
        let mut link = Link {
            random: fastrand::Rng::with_seed(seed),
            loss,
            delay: Micros::from_millis(20),
            jitter: if loss > 0.0 { 30_000 } else { 1 },
            under_way: Vec::new(),
            largest: 0,
        };
        let mut connected = [None, None];
        for _ in 0..10_000 {
            for (side, end) in ends.iter_mut().enumerate() {
                while let Some(event) = end.poll_event() {
                    match event {
                        Event::Connected(fruits) => assert_eq!(connected[side].replace(fruits), None),
                        Event::Closed(error) => panic!("seed {seed}: {error}"),
                    }
                }
                while let Some(datagram) = end.poll_transmit() {
                    link.largest = link.largest.max(datagram.len());
                    for _ in 0..1 + usize::from(link.random.f64() < link.loss / 4.0) {
                        if link.random.f64() >= link.loss {
                            let at = now + link.delay + Micros(link.random.i64(0..link.jitter));
                            link.under_way.push((at, 1 - side, datagram.clone()));
                        }
                    }
                }
            }
            let due = link.under_way.iter().map(|(at, ..)| *at);
            let Some(next) = due.chain(ends.iter().filter_map(|end| end.poll_timeout())).min() else { break };
            now = now.max(next);
            link.under_way.sort_by_key(|(at, ..)| *at);
            while link.under_way.first().is_some_and(|(at, ..)| *at <= now) {
                let (_, side, datagram) = link.under_way.remove(0);
                ends[side].receive(now, &datagram).unwrap();
            }
            ends.iter_mut().for_each(|end| end.timeout(now));
        }
        (link, connected, now)
    }

    fn assert_agreed(connected: &[Option<Box<Connected>>; 2], seed: u64) {
        let [Some(client), Some(server)] = connected else { panic!("seed {seed}: {connected:?}") };
        assert_eq!(client.profile, Some(srtp::Profile::AeadAes128Gcm));
        assert_eq!(client.keying.len(), srtp::Profile::AeadAes128Gcm.keying_length());
        assert_eq!(client.keying, server.keying);
        assert_ne!(client.certificate, server.certificate);
    }

    #[test]
    fn two_round_trips_and_small_datagrams() {
        let (link, connected, now) = talk(0, 0.0, 1200);
        assert_agreed(&connected, 0);
        assert!(link.largest <= 1200 && now <= Micros::from_millis(85), "{} at {now:?}", link.largest);
    }

    #[test]
    fn a_bad_link_only_takes_longer() {
        for seed in 1..40 {
            let mtu = [300, 600, 1200][seed as usize % 3];
            let (link, connected, _) = talk(seed, 0.25, mtu);
            assert_agreed(&connected, seed);
            assert!(link.largest <= mtu);
        }
    }

    #[test]
    fn nobody_there() {
        let certificate = Arc::new(Certificate::generate("oxcast").unwrap());
        let mut client = start(Micros::ZERO, Options::new(Role::Client, certificate)).unwrap();
        let mut sent = 0;
        while let Some(at) = client.poll_timeout() {
            client.timeout(at);
            sent += std::iter::from_fn(|| client.poll_transmit()).count();
        }
        let error = Error::Timeout { awaited: "end of the DTLS handshake", seconds: 30 };
        assert_eq!(client.poll_event(), Some(Event::Closed(error)));
        assert!((10..20).contains(&sent), "{sent}");
    }

    #[test]
    fn goodbye_is_heard() {
        let certificate = Arc::new(Certificate::generate("oxcast").unwrap());
        let mut client = start(Micros::ZERO, Options::new(Role::Client, certificate.clone())).unwrap();
        let mut server = start(Micros::ZERO, Options::new(Role::Server, certificate)).unwrap();
        for _ in 0..4 {
            while let Some(datagram) = client.poll_transmit() {
                server.receive(Micros::ZERO, &datagram).unwrap();
            }
            while let Some(datagram) = server.poll_transmit() {
                client.receive(Micros::ZERO, &datagram).unwrap();
            }
        }
        assert!(matches!(client.poll_event(), Some(Event::Connected(_))));
        assert!(matches!(server.poll_event(), Some(Event::Connected(_))));
        // In the clear, anybody can say anything.
        server.receive(Micros::ZERO, &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40]).unwrap();
        assert_eq!(server.poll_event(), None);
        client.close();
        let goodbye = client.poll_transmit().unwrap();
        server.receive(Micros::ZERO, &goodbye).unwrap();
        assert_eq!(client.poll_event(), Some(Event::Closed(Error::Closed)));
        assert_eq!(server.poll_event(), Some(Event::Closed(Error::ClosedByPeer)));
        assert_eq!(server.poll_timeout(), None);
    }

    /// What a man in the middle changes, the handshake does not survive; what it survives is the same at both ends.
    #[test]
    fn changed_bytes_never_lead_to_different_keys() {
        let certificate = Arc::new(Certificate::generate("oxcast").unwrap());
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..300 {
            let ends = [Role::Client, Role::Server]
                .map(|role| start(Micros::ZERO, Options::new(role, certificate.clone())).unwrap());
            let [mut client, mut server] = ends;
            let mut fruits = Vec::new();
            let mut damage = Some(random.usize(0..6));
            for _ in 0..4 {
                for (from, to) in [(0, 1), (1, 0)] {
                    let pair = [&mut client, &mut server];
                    while let Some(mut datagram) = pair[from].poll_transmit() {
                        match &mut damage {
                            Some(0) => {
                                let at = random.usize(..datagram.len());
                                datagram[at] ^= 1 << random.u8(..8);
                                damage = None;
                            }
                            Some(left) => *left -= 1,
                            None => {}
                        }
                        let _ = pair[to].receive(Micros::ZERO, &datagram);
                    }
                }
            }
            for end in [&mut client, &mut server] {
                if let Some(Event::Connected(fruit)) = end.poll_event() {
                    fruits.push((fruit.profile, fruit.keying));
                }
            }
            fruits.dedup();
            assert!(fruits.len() <= 1);
        }
    }
}
