//! Every packet there and back, and what real senders do that the happy path does not.

use media::Micros;
use proptest::prelude::*;

use super::*;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    assert_eq!(out.len() % 4, 0);
    out
}

fn all(datagram: &[u8]) -> Vec<Packet<'_>> {
    packets(datagram).map(Result::unwrap).collect()
}

const REPORT: Report =
    Report { ssrc: 7, fraction_lost: 64, lost: -3, highest: 0x1_0005, jitter: 90, last_sr: 8, delay: 9 };

#[test]
fn a_compound_there_and_back() {
    let info = SenderInfo { ntp: Ntp(0x0102_0304_0506_0708), timestamp: 9, packets: 10, bytes: 11 };
    let bytes = written(|w| {
        w.sender_report(1, &info, &[REPORT, Report::default()]);
        w.description(1, "name");
        w.receiver_report(2, &[REPORT]);
        w.pli(1, 2);
        w.fir(1, 2, 3);
        w.remb(1, 2_500_000, &[5, 6]);
        w.reference_time(1, Ntp(77));
        w.delays(1, &[Dlrr { ssrc: 2, last_rr: 3, delay: 4 }]);
        w.bye(&[1, 2]);
    });
    let packets = all(&bytes);
    let [
        Packet::SenderReport { ssrc: 1, info: sent, reports: first },
        Packet::Description(description),
        Packet::ReceiverReport { ssrc: 2, reports: second },
        Packet::Pli { sender: 1, media: 2 },
        Packet::Fir { sender: 1, requests },
        Packet::Remb { sender: 1, bitrate, sources },
        Packet::Extended { ssrc: 1, blocks: time },
        Packet::Extended { ssrc: 1, blocks: delays },
        Packet::Bye { sources: gone },
    ] = &packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!(*sent, info);
    assert_eq!(first.iter().collect::<Vec<_>>(), [REPORT, Report::default()]);
    assert_eq!(second.iter().collect::<Vec<_>>(), [REPORT]);
    assert_eq!(description.names().collect::<Vec<_>>(), [(1, &b"name"[..])]);
    assert_eq!(requests.iter().collect::<Vec<_>>(), [(2, 3)]);
    assert_eq!((*bitrate, sources.iter().collect::<Vec<_>>()), (2_500_000 >> 4 << 4, vec![5, 6]));
    assert!(matches!(time.clone().next(), Some(Block::ReferenceTime(Ntp(77)))));
    let Some(Block::Delay(delays)) = delays.clone().next() else { panic!() };
    assert_eq!(delays.iter().collect::<Vec<_>>(), [Dlrr { ssrc: 2, last_rr: 3, delay: 4 }]);
    assert_eq!((gone.len(), gone.is_empty()), (2, false));
    for cut in (0..bytes.len()).filter(|cut| cut % 4 != 0) {
        assert!(super::packets(&bytes[..cut]).last().unwrap().is_err(), "{cut}");
    }
}

#[test]
fn unknown_packets_and_blocks_are_passed_over() {
    let app = [0x80, 204, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e'];
    let afb = [0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, b'a', b'b', b'c', b'd'];
    let xr = [0x80, 207, 0, 5, 0, 0, 0, 1, 9, 0, 0, 0, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5];
    let bytes = [&app[..], &afb, &[0x83, 205, 0, 0], &xr, &written(|w| w.pli(1, 2))].concat();
    let [Packet::Extended { blocks, .. }, Packet::Pli { .. }] = &all(&bytes)[..] else { panic!() };
    assert!(matches!(blocks.clone().collect::<Vec<_>>()[..], [Block::ReferenceTime(Ntp(5))]));
}

#[test]
fn padding_goes_and_nonsense_ends_it() {
    let padded = [0xa1, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 4];
    assert!(matches!(all(&padded)[..], [Packet::Pli { sender: 1, media: 2 }]));
    let mut broken = padded;
    broken[15] = 13;
    assert!(packets(&broken).next().unwrap().is_err());
    assert_eq!(packets(&[0x40, 200, 0, 0]).count(), 1);
    // One that is too short for its type does not hide the next.
    let bytes = [&[0x80, 200, 0, 0][..], &written(|w| w.pli(1, 2))].concat();
    let found: Vec<_> = packets(&bytes).collect();
    assert!(matches!(found[..], [Err(_), Ok(Packet::Pli { .. })]));
}

#[test]
fn an_endless_rate_of_remb() {
    let bytes = written(|w| w.remb(1, u64::MAX, &[]));
    let [Packet::Remb { bitrate, .. }] = all(&bytes)[..] else { panic!() };
    assert_eq!(bitrate, 0x3_ffff << 46);
}

#[test]
fn names_of_every_length_end_on_a_word() {
    for length in 0..9 {
        let name = "x".repeat(length);
        let bytes = written(|w| {
            w.description(1, &name);
            w.pli(1, 2);
        });
        let [Packet::Description(d), Packet::Pli { .. }] = &all(&bytes)[..] else { panic!() };
        assert_eq!(d.names().collect::<Vec<_>>(), [(1, name.as_bytes())]);
    }
}

#[test]
fn feedback_in_the_words_of_the_draft() {
    // 1: run of 3 "received, small", 2: two-bit vector; deltas 4, 0, 1 and one large of -1.
    let bytes = [
        0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0, 5, 0, 0, 2, 9, 0x20, 3, 0xe0, 0, 4, 0, 1,
        0xff, 0xff, 0, 0, 0,
    ];
    let bytes = [&bytes[..2], &[0, 7], &bytes[4..]].concat();
    let [Packet::Twcc(feedback)] = &all(&bytes)[..] else { panic!() };
    assert_eq!((feedback.base, feedback.number), (0xffff, 9));
    let at = |units: i64| Some(Micros(128_000 + units * 250));
    let want = [(0xffff, at(4)), (0, at(4)), (1, at(5)), (2, at(4)), (3, None)];
    assert_eq!(feedback.arrivals().collect::<Vec<_>>(), want);
}

proptest! {
    #[test]
    fn nacks_there_and_back(first: u16, steps in prop::collection::vec(1u16..40, 1..200)) {
        let lost: Vec<u16> = steps.iter().scan(first, |n, step| { *n = n.wrapping_add(*step); Some(*n) }).collect();
        let bytes = written(|w| w.nack(1, 2, &lost));
        let [Packet::Nack { sender: 1, media: 2, lost: found }] = &all(&bytes)[..] else { panic!() };
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), lost);
    }

    #[test]
    fn feedback_there_and_back(
        base: u16, start in 0i64..1 << 40,
        steps in prop::collection::vec(prop::option::of(-100_000i64..200_000), 0..300),
    ) {
        let mut time = start;
        let mut arrivals = Arrivals::new(base, Micros(start));
        let mut want = vec![(base, Some(start))];
        for (n, step) in steps.iter().enumerate() {
            time += step.unwrap_or(0);
            if step.is_some() && arrivals.push(n + 1, Micros(time)) {
                want.resize(n + 1, (0, None));
                want.push((0, Some(time)));
            }
        }
        for (n, slot) in want.iter_mut().enumerate() {
            slot.0 = base.wrapping_add(n as u16);
        }
        prop_assert_eq!(arrivals.len(), want.len());
        let bytes = written(|w| w.twcc(1, 2, 3, &arrivals));
        let [Packet::Twcc(feedback)] = &all(&bytes)[..] else { panic!() };
        let found: Vec<_> = feedback.arrivals().collect();
        prop_assert_eq!(found.len(), want.len());
        // The reference counts 64 ms in 24 bits.
        let turn = 64_000i64 << 24;
        for (found, want) in found.into_iter().zip(want) {
            prop_assert_eq!((found.0, found.1.is_some()), (want.0, want.1.is_some()));
            if let Some((found, want)) = found.1.zip(want.1) {
                let off = (want - found.0).rem_euclid(turn);
                prop_assert!(off < 250, "{} µs", off);
            }
        }
    }

    #[test]
    fn garbage_is_only_refused(bytes: Vec<u8>, kind in 200u8..208, count in 0u8..32) {
        crate::fuzz::rtcp(&bytes);
        let mut framed = vec![0x80 | count, kind, 0, (bytes.len() / 4) as u8];
        framed.extend_from_slice(&bytes);
        crate::fuzz::rtcp(&framed);
    }
}
