//! Order, loss and figures, over a link that misbehaves in virtual time.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::rtcp;

fn ms(ms: i64) -> Micros {
    Micros::from_millis(ms)
}

fn give(receiver: &mut Receiver, now: Micros, sequence: u16, timestamp: u32) -> bool {
    let mut bytes = Vec::new();
    crate::Header { sequence, timestamp, ssrc: 7, ..Default::default() }.write(&mut bytes);
    bytes.push(1);
    let packet = Packet::parse(&bytes).unwrap();
    receiver.receive(now, &packet, Bytes::copy_from_slice(packet.payload))
}

fn take(receiver: &mut Receiver, now: Micros) -> Vec<u16> {
    std::iter::from_fn(|| receiver.poll(now)).map(|packet| packet.sequence as u16).collect()
}

fn asked(receiver: &mut Receiver, now: Micros) -> Vec<u16> {
    let mut out = Vec::new();
    receiver.ask(now, &mut out);
    out
}

#[test]
fn order_duplicates_and_patience() {
    let mut r = Receiver::new(7, ReceiverOptions { patience: ms(100), ..Default::default() });
    assert!(give(&mut r, ms(0), 0xffff, 0));
    assert!(give(&mut r, ms(1), 1, 0));
    assert!(!give(&mut r, ms(1), 1, 0), "a duplicate");
    assert_eq!(take(&mut r, ms(1)), [0xffff]);
    assert!(give(&mut r, ms(2), 0, 0));
    assert_eq!(take(&mut r, ms(2)), [0, 1]);
    assert!(!give(&mut r, ms(3), 0, 0), "it was given out");
    assert!(give(&mut r, ms(10), 4, 0));
    assert_eq!(take(&mut r, ms(109)), []);
    assert_eq!(take(&mut r, ms(110)), [4], "2 and 3 are given up");
    assert!(!give(&mut r, ms(111), 3, 0), "too late");
}

#[test]
fn over_a_long_way_patience_is_longer() {
    let mut r = Receiver::new(7, ReceiverOptions { patience: ms(400), ..Default::default() });
    (0..50).for_each(|_| r.set_round_trip(ms(200)));
    give(&mut r, ms(0), 1, 0);
    give(&mut r, ms(0), 3, 0);
    assert_eq!(take(&mut r, ms(780)), [1]);
    assert_eq!(take(&mut r, ms(800)), [3]);
    (0..50).for_each(|_| r.set_round_trip(ms(500)));
    give(&mut r, ms(1000), 5, 0);
    assert_eq!(take(&mut r, ms(1990)), []);
    assert_eq!(take(&mut r, ms(2000)), [5], "a second is the most");
    (0..50).for_each(|_| r.set_round_trip(ms(10)));
    give(&mut r, ms(3000), 7, 0);
    assert_eq!(take(&mut r, ms(3400)), [7], "near by, the least is enough");
}

#[test]
fn asking_paces_itself_and_ends() {
    let mut r = Receiver::new(7, ReceiverOptions { patience: ms(5000), ..Default::default() });
    give(&mut r, ms(0), 1, 0);
    give(&mut r, ms(0), 4, 0);
    assert_eq!(r.timeout(), Some(ms(10)));
    assert_eq!(asked(&mut r, ms(9)), []);
    assert_eq!(asked(&mut r, ms(10)), [2, 3]);
    assert_eq!(asked(&mut r, ms(59)), []);
    give(&mut r, ms(59), 2, 0);
    assert_eq!(asked(&mut r, ms(60)), [3]);
    assert_eq!(asked(&mut r, ms(109)), []);
    let times = (110..3000).filter(|now| !asked(&mut r, ms(*now)).is_empty()).count();
    assert!(times == 8, "{times}");
    r.set_round_trip(ms(0));
    give(&mut r, ms(3000), 6, 0);
    assert_eq!(
        (asked(&mut r, ms(3010)), asked(&mut r, ms(3049)), asked(&mut r, ms(3050))),
        (vec![5], vec![], vec![5])
    );
}

#[test]
fn a_flood_of_loss_is_not_asked_for() {
    let mut r = Receiver::new(7, ReceiverOptions::default());
    give(&mut r, ms(0), 1, 0);
    give(&mut r, ms(0), 1000, 0);
    assert_eq!(asked(&mut r, ms(100)), []);
    assert_eq!(take(&mut r, ms(100)), [1]);
    assert!(give(&mut r, ms(100), 2500, 0), "the window moves on");
    assert_eq!(take(&mut r, ms(9999)), [2500]);
}

#[test]
fn a_source_that_starts_anew() {
    let mut r = Receiver::new(7, ReceiverOptions::default());
    give(&mut r, ms(0), 100, 0);
    assert_eq!(take(&mut r, ms(0)), [100]);
    assert!(!give(&mut r, ms(1), 20_000, 0), "one alone is not believed");
    assert!(give(&mut r, ms(2), 20_001, 0));
    assert!(give(&mut r, ms(3), 20_002, 0));
    assert_eq!(take(&mut r, ms(3)), [20_001, 20_002]);
    assert_eq!(r.report(ms(4)).map(|report| report.lost), Some(0));
}

#[test]
fn figures_of_rfc_3550() {
    let mut r = Receiver::new(7, ReceiverOptions { rate: 8000, ..Default::default() });
    assert_eq!(r.report(ms(0)), None);
    for n in [0, 1, 3, 4] {
        give(&mut r, ms(20 * n), 0xfffe_u16.wrapping_add(n as u16), 160 * n as u32);
    }
    let report = r.report(ms(100)).unwrap();
    assert_eq!((report.lost, report.fraction_lost, report.highest, report.jitter), (1, 51, 0x1_0002, 0));
    let info = SenderInfo { ntp: Ntp(0x1234_5678_9abc_def0), timestamp: 800, ..Default::default() };
    assert_eq!(r.sender_report(ms(100), &info), 800);
    // 10 ms late: 80 ticks, of which a sixteenth counts.
    give(&mut r, ms(110), 3, 800);
    let report = r.report(ms(600)).unwrap();
    assert_eq!((report.fraction_lost, report.jitter, report.last_sr), (0, 5, 0x5678_9abc));
    assert_eq!(report.delay, 32_768);
}

#[test]
fn feedback_tells_what_came_and_what_did_not() {
    let (mut twcc, mut out) = (Twcc::default(), Vec::new());
    twcc.feed_back(1, 2, &mut out);
    assert!(out.is_empty());
    for (number, time) in [(0xffff, 0), (1, 10), (0, 5)] {
        twcc.receive(ms(64_000 + time), number);
    }
    twcc.feed_back(1, 2, &mut out);
    twcc.receive(ms(64_040), 4);
    twcc.feed_back(1, 2, &mut out);
    let read: Vec<_> = rtcp::packets(&out).map(Result::unwrap).collect();
    let [rtcp::Packet::Twcc(first), rtcp::Packet::Twcc(second)] = &read[..] else { panic!() };
    let at = |time: i64| Some(ms(64_000 + time));
    assert_eq!(first.arrivals().collect::<Vec<_>>(), [(0xffff, at(0)), (0, at(5)), (1, at(10))]);
    assert_eq!(second.arrivals().collect::<Vec<_>>(), [(2, None), (3, None), (4, at(40))]);
    assert_eq!((first.number, second.number), (0, 1));
    // Two that were late, and a new one: what was told before is not taken back.
    let mut out = Vec::new();
    [2, 3, 5].into_iter().for_each(|number| twcc.receive(ms(64_050), number));
    twcc.feed_back(1, 2, &mut out);
    let read: Vec<_> = rtcp::packets(&out).map(Result::unwrap).collect();
    let [rtcp::Packet::Twcc(late), rtcp::Packet::Twcc(new)] = &read[..] else { panic!() };
    assert_eq!(late.arrivals().collect::<Vec<_>>(), [(2, at(50)), (3, at(50))]);
    assert_eq!(new.arrivals().collect::<Vec<_>>(), [(5, at(50))]);
}

proptest! {
    /// Whatever a link does within the receiver's patience, every packet comes out once and in order.
    #[test]
    fn a_lossy_link_is_repaired(seed: u64, start: u16, count in 1usize..300) {
        let mut random = seed | 1;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut r = Receiver::new(7, ReceiverOptions { patience: ms(900), ..Default::default() });
        // What is on its way: when it arrives, and its number.
        let mut link: Vec<(i64, u16)> = Vec::new();
        let (mut out, mut sent, mut repeated) = (Vec::new(), 0, HashMap::new());
        for now in 0..(count as i64 * 5 + 2000) {
            if now % 5 == 0 && sent < count {
                let number = start.wrapping_add(sent as u16);
                // The first one anchors the receiver, the last one shows what is missing before it.
                let sure = sent == 0 || sent + 1 == count;
                match next(10) {
                    0 | 1 if !sure => {}
                    2 if !sure => link.extend([(now + 3, number), (now + 9, number)]),
                    3 if !sure => link.push((now + 15, number)),
                    _ => link.push((now + 1, number)),
                }
                sent += 1;
            }
            link.retain(|(due, number)| {
                if *due <= now { give(&mut r, ms(now), *number, 0); }
                *due > now
            });
            let mut nacks = Vec::new();
            r.ask(ms(now), &mut nacks);
            for number in nacks {
                let times = repeated.entry(number).or_insert(0);
                *times += 1;
                // An answer may be lost, but not for ever.
                if next(4) > 0 || *times > 3 { link.push((now + 20, number)); }
            }
            out.extend(std::iter::from_fn(|| r.poll(ms(now))).map(|packet| packet.sequence));
        }
        let want: Vec<u64> = (0..count as u64).map(|n| u64::from(start) + 0x1_0000 + n).collect();
        prop_assert_eq!(out, want);
        prop_assert_eq!(r.timeout(), None);
    }

    #[test]
    fn any_numbers_come_out_in_order(numbers in prop::collection::vec((any::<u16>(), 0i64..200), 0..200), window in 1usize..50) {
        let mut r = Receiver::new(7, ReceiverOptions { window, patience: ms(100), ..Default::default() });
        let (mut now, mut last) = (0, 0);
        for (number, step) in numbers {
            now += step;
            give(&mut r, ms(now), number, number.into());
            while let Some(packet) = r.poll(ms(now)) {
                prop_assert!(packet.sequence > last);
                last = packet.sequence;
            }
            asked(&mut r, ms(now));
            r.report(ms(now));
        }
    }
}

#[test]
fn what_comes_twice_does_not_hide_what_is_lost() {
    let mut r = Receiver::new(7, ReceiverOptions::default());
    let came = [1, 2, 4, 5, 2, 5, 5].map(|sequence| give(&mut r, ms(0), sequence, 0));
    assert_eq!(came, [true, true, true, true, false, false, false]);
    assert_eq!(take(&mut r, ms(0)), [1, 2]);
    assert!(!give(&mut r, ms(0), 1, 0), "it was given out");
    assert_eq!(r.report(ms(0)).map(|report| report.lost), Some(1));
}
