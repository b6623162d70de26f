//! The vectors of the specifications and of libsrtp, conversations over a link that loses, doubles and reorders, and garbage.

#[cfg(test)]
mod packets {
    use proptest::prelude::*;

    use super::super::*;

    fn hex(text: &str) -> Vec<u8> {
        let text: String = text.split_whitespace().collect();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn keys(profile: Profile) -> (Vec<u8>, Vec<u8>) {
        let (key, salt) = profile.key_lengths();
        ((1..).take(key).collect(), (101..).take(salt).collect())
    }

    fn ends(profile: Profile) -> (Sender, Receiver) {
        let (key, salt) = keys(profile);
        (Sender::new(profile, &key, &salt).unwrap(), Receiver::new(profile, &key, &salt).unwrap())
    }

    fn packet(ssrc: u32, sequence: u16, payload: usize) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend((0..payload).map(|n| n as u8));
        packet
    }

    /// The test packets that libsrtp and its descendants share.
    #[test]
    fn protects_as_libsrtp_does() {
        let rtp = "800f1234decafbadcafebabe abababababababababababababababab";
        let rtcp = "81c8000bcafebabe abababababababababababababababab";
        let cases = [
            (
                Profile::Aes128CmSha1_80,
                "e1f97a0d3e018be0d64fa32c06de4139",
                "0ec675ad498afeebb6960b3aabe6",
                "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
                "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
            ),
            (
                Profile::AeadAes128Gcm,
                "000102030405060708090a0b0c0d0e0f",
                "a0a1a2a3a4a5a6a7a8a9aaab",
                "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
                "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
            ),
        ];
        for (profile, key, salt, sealed_rtp, sealed_rtcp) in cases {
            let mut sender = Sender::new(profile, &hex(key), &hex(salt)).unwrap();
            let mut receiver = Receiver::new(profile, &hex(key), &hex(salt)).unwrap();
            let mut packet = hex(rtp);
            sender.protect_rtp(&mut packet).unwrap();
            assert_eq!(packet, hex(sealed_rtp), "{profile:?}");
            receiver.open_rtp(&mut packet).unwrap();
            assert_eq!(packet, hex(rtp));
            let mut packet = hex(rtcp);
            sender.protect_rtcp(&mut packet).unwrap();
            assert_eq!(packet, hex(sealed_rtcp), "{profile:?}");
            receiver.open_rtcp(&mut packet).unwrap();
            assert_eq!(packet, hex(rtcp));
        }
    }

    #[test]
    fn packets_of_many_lie_one_behind_the_other() {
        for profile in Profile::ALL {
            let (mut alone, mut receiver) = ends(profile);
            let (mut sender, _) = ends(profile);
            let mut arena = b"something else".to_vec();
            let mut expected = arena.clone();
            for n in 0..20 {
                let plain = packet(n % 3, n as u16, n as usize * 7);
                let start = arena.len();
                arena.extend_from_slice(&plain);
                sender.protect_rtp_at(&mut arena, start).unwrap();
                let mut sealed = plain.clone();
                alone.protect_rtp(&mut sealed).unwrap();
                expected.extend_from_slice(&sealed);
                receiver.open_rtp(&mut sealed).unwrap();
                assert_eq!(sealed, plain);
            }
            assert_eq!(arena, expected);
            for start in [arena.len() - 11, arena.len(), arena.len() + 1] {
                assert_eq!(sender.protect_rtp_at(&mut arena, start), Err(Error::Packet("RTP")));
            }
            assert_eq!(arena, expected);
        }
    }

    #[test]
    fn rolls_over_and_keeps_apart() {
        for profile in Profile::ALL {
            let (mut sender, mut receiver) = ends(profile);
            for n in 0..140_000u32 {
                if n % 7 == 0 || (60_000..60_900).contains(&n) {
                    let mut sealed = packet(n % 2, (n / 2 + 65_000) as u16, 5);
                    let plain = sealed.clone();
                    sender.protect_rtp(&mut sealed).unwrap();
                    assert_ne!(sealed[12..17], plain[12..17]);
                    receiver.open_rtp(&mut sealed).unwrap();
                    assert_eq!(sealed, plain);
                }
            }
            assert_eq!(receiver.streams.iter().map(|s| s.newest >> 16).collect::<Vec<_>>(), [2, 2]);
        }
    }

    #[test]
    fn a_packet_may_be_sent_again_over_the_wrap() {
        let (mut sender, mut receiver) = ends(Profile::AeadAes128Gcm);
        let mut old = packet(1, 65_530, 50);
        sender.protect_rtp(&mut old).unwrap();
        let mut lost = packet(1, 65_531, 50);
        sender.protect_rtp(&mut lost).unwrap();
        receiver.open_rtp(&mut old).unwrap();
        for n in 0..4000 {
            let mut sealed = packet(1, n, 50);
            sender.protect_rtp(&mut sealed).unwrap();
            receiver.open_rtp(&mut sealed).unwrap();
        }
        let mut again = packet(1, 65_531, 50);
        sender.protect_rtp(&mut again).unwrap();
        assert_eq!(again, lost);
        receiver.open_rtp(&mut again).unwrap();
        assert_eq!(receiver.open_rtp(&mut lost), Err(Error::Replayed));
    }

    #[test]
    fn no_changed_bit_passes() {
        for profile in Profile::ALL {
            let (mut sender, mut receiver) = ends(profile);
            let mut sealed = packet(5, 5, 30);
            sender.protect_rtp(&mut sealed).unwrap();
            let mut rtcp = vec![0x81, 200, 0, 4, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8];
            sender.protect_rtcp(&mut rtcp).unwrap();
            for bit in 0..sealed.len() * 8 {
                let mut damaged = sealed.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(receiver.open_rtp(&mut damaged).is_err(), "{profile:?} bit {bit}");
            }
            for bit in 0..rtcp.len() * 8 {
                let mut damaged = rtcp.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(receiver.open_rtcp(&mut damaged).is_err(), "{profile:?} bit {bit}");
            }
            assert!(receiver.streams.is_empty() && receiver.rtcp.is_empty());
            assert_eq!(receiver.open_rtp(&mut sealed), Ok(()));
            assert_eq!(receiver.open_rtcp(&mut rtcp), Ok(()));
        }
    }

    #[test]
    fn header_extensions_and_csrcs_stay_readable() {
        let mut plain = vec![
            0x92, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 1, 3, 3, 3, 3,
        ];
        let header = plain.clone();
        plain.extend([9; 20]);
        for profile in Profile::ALL {
            let (mut sender, mut receiver) = ends(profile);
            let mut sealed = plain.clone();
            sender.protect_rtp(&mut sealed).unwrap();
            assert_eq!(sealed[..header.len()], header);
            assert_ne!(sealed[header.len()..plain.len()], [9; 20]);
            assert!(sealed.len() <= plain.len() + MAX_OVERHEAD);
            receiver.open_rtp(&mut sealed).unwrap();
            assert_eq!(sealed, plain);
        }
    }

    #[test]
    fn streams_are_bounded() {
        let (mut sender, _) = ends(Profile::AeadAes128Gcm);
        for ssrc in 0..MAX_STREAMS as u32 {
            sender.protect_rtp(&mut packet(ssrc, 1, 1)).unwrap();
        }
        let result = sender.protect_rtp(&mut packet(1000, 1, 1));
        assert_eq!(result, Err(Error::TooManyStreams { max: MAX_STREAMS }));
    }

    #[test]
    fn splits_what_dtls_exports() {
        for profile in Profile::ALL {
            let material: Vec<u8> = (0..profile.keying_length() as u8).collect();
            let (mut client, mut from_server) = split(profile, &material, true).unwrap();
            let (mut server, mut from_client) = split(profile, &material, false).unwrap();
            let mut up = packet(1, 1, 9);
            client.protect_rtp(&mut up).unwrap();
            from_client.open_rtp(&mut up).unwrap();
            let mut down = packet(1, 1, 9);
            server.protect_rtp(&mut down).unwrap();
            from_server.open_rtp(&mut down).unwrap();
            assert_eq!(up, down);
            assert_eq!(split(profile, &material[1..], true).err(), Some(Error::Keys));
        }
    }

    proptest! {
        #[test]
        fn each_packet_passes_once(profile in 0usize..4, order in proptest::collection::vec((0u16..400, 0usize..40), 1..200)) {
            let (mut sender, mut receiver) = ends(Profile::ALL[profile]);
            let sealed: Vec<_> = (0..400u16).map(|n| {
                let mut sealed = packet(1, n.wrapping_sub(200), usize::from(n % 40));
                sender.protect_rtp(&mut sealed).unwrap();
                sealed
            }).collect();
            // The first packet a receiver sees must not stand before the wrap of another.
            let mut seen = std::collections::HashSet::new();
            let mut first = sealed[0].clone();
            receiver.open_rtp(&mut first).unwrap();
            seen.insert(0);
            for (n, _) in order {
                let mut copy = sealed[usize::from(n)].clone();
                prop_assert_eq!(receiver.open_rtp(&mut copy).is_ok(), seen.insert(n));
            }
        }

        #[test]
        fn garbage_is_refused(profile in 0usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let (mut sender, mut receiver) = ends(Profile::ALL[profile]);
            prop_assert!(receiver.open_rtp(&mut bytes.clone()).is_err());
            prop_assert!(receiver.open_rtcp(&mut bytes.clone()).is_err());
            let _ = sender.protect_rtp(&mut bytes.clone());
            let _ = sender.protect_rtcp(&mut bytes.clone());
        }
    }

    /// `cargo test --release -p rtc -- --ignored --nocapture costs`
    #[test]
    #[ignore = "a measurement"]
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)]
    fn costs_of_a_packet() {
        for profile in Profile::ALL {
            let (mut sender, mut receiver) = ends(profile);
            let plain = packet(1, 0, 1200 - 12);
            let mut buffer = Vec::with_capacity(1300);
            let mut kept = Vec::new();
            let start = std::time::Instant::now();
            for n in 0..1_000_000u32 {
                buffer.clear();
                buffer.extend_from_slice(&plain);
                buffer[2..4].copy_from_slice(&(n as u16).to_be_bytes());
                sender.protect_rtp(&mut buffer).unwrap();
                if n < 50_000 {
                    kept.push(buffer.clone());
                }
            }
            let protect = start.elapsed().as_nanos() / 1_000_000;
            let start = std::time::Instant::now();
            for packet in &mut kept {
                receiver.open_rtp(packet).unwrap();
            }
            println!("{profile:?}: protect {protect} ns, open {} ns", start.elapsed().as_nanos() / 50_000);
        }
    }
}
