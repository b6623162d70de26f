//! What a player sees, packet by packet.

use bytes::Bytes;
use media::TrackId;
use proptest::prelude::*;

use super::*;
use crate::Packet;

fn ms(ms: i64) -> Micros {
    Micros::from_millis(ms)
}

/// A burst of packets with these gaps before them.
fn burst(time: i64, gaps: &[u8]) -> Burst {
    let payload = |(n, gap): (usize, &u8)| Payload {
        marker: n + 1 == gaps.len(),
        gap: *gap,
        ..Payload::bare(Bytes::from(vec![time as u8, n as u8]))
    };
    let timestamp = (time * 90) as u32;
    Burst::new(TrackId::VIDEO, 90_000, timestamp, ms(time), gaps.iter().enumerate().map(payload).collect())
}

/// A player with the history that it is served from.
struct Player {
    sender: Sender,
    line: Line,
    history: History,
}

impl Player {
    fn new(retransmission: Option<(u32, u8)>) -> Self {
        let start = (0xfffe, 1000);
        let options = SenderOptions { ssrc: 7, payload_type: 102, retransmission, start };
        Self { sender: Sender::new(options), line: Line::default(), history: History::new(20) }
    }

    /// The sequence number, the timestamp and the marker of each packet.
    fn send(&mut self, now: i64, burst: Burst) -> Vec<(u16, u32, bool)> {
        self.line.place(ms(now), burst.time());
        let place = self.history.push(burst.clone());
        let packets = self.sender.send(ms(now), &self.line, &burst, place);
        packets.map(|(header, _)| (header.sequence, header.timestamp, header.marker)).collect()
    }

    fn resend(&mut self, sequence: u16) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.sender.resend(sequence, &self.history)?.write(&mut out);
        Some(out)
    }
}

#[test]
fn numbers_go_on_and_gaps_stay() {
    let mut player = Player::new(None);
    assert_eq!(player.send(0, burst(500, &[0, 0])), [(0xfffe, 1000, false), (0xffff, 1000, true)]);
    assert_eq!(player.send(40, burst(540, &[0, 3])), [(0, 4600, false), (4, 4600, true)]);
    assert_eq!(player.send(80, burst(580, &[1])), [(6, 8200, true)]);
}

#[test]
fn another_source_goes_on_by_the_wall() {
    let mut player = Player::new(None);
    player.send(0, burst(500, &[0]));
    assert_eq!(player.send(2000, burst(90_000, &[0])), [(0xffff, 1000 + 180_000, true)]);
    assert_eq!(player.send(2000, burst(5, &[0])), [(0, 1000 + 180_001, true)], "no time has passed");
    assert_eq!(player.send(2010, burst(25, &[0])), [(1, 1000 + 180_001 + 1800, true)], "its own steps count");
}

#[test]
fn what_is_missing_is_sent_again() {
    let mut player = Player::new(None);
    player.send(0, burst(1, &[0, 0]));
    player.send(40, burst(41, &[2, 0]));
    let bytes = player.resend(2).unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.sequence, packet.ssrc, packet.payload_type), (2, 7, 102));
    assert_eq!((packet.timestamp, packet.payload), (1000 + 3600, &[41, 0][..]));
    assert_eq!(Packet::parse(&player.resend(0xffff).unwrap()).unwrap().payload, [1, 1]);
    for unknown in [0, 1, 4, 5, 0xfffd, 0x8000] {
        assert_eq!(player.resend(unknown), None, "{unknown}");
    }
    // Four were sent, two were sent again.
    assert!(player.resend(2).is_some() && player.resend(2).is_some());
    assert_eq!(player.resend(2), None, "it asks for more than it was sent");
    for n in 0..20 {
        player.send(80 + n, burst(81 + n, &[0]));
    }
    assert_eq!(player.resend(2), None, "the history is over");
    assert!(player.resend(4).is_some());
}

#[test]
fn retransmission_streams() {
    let mut player = Player::new(Some((8, 103)));
    player.send(0, burst(1, &[0, 0]));
    let (first, second) = (player.resend(0xffff).unwrap(), player.resend(0xfffe).unwrap());
    let packet = Packet::parse(&first).unwrap();
    assert_eq!((packet.sequence, packet.ssrc, packet.payload_type, packet.marker), (1, 8, 103, true));
    assert_eq!(packet.payload, [0xff, 0xff, 1, 1]);
    let restored = packet.restore(7, 102).unwrap();
    assert_eq!(
        (restored.sequence, restored.ssrc, restored.payload_type, restored.payload),
        (0xffff, 7, 102, &[1, 1][..])
    );
    let second = Packet::parse(&second).unwrap();
    assert_eq!((second.sequence, second.restore(7, 102).unwrap().sequence), (2, 0xfffe));
    assert_eq!(Packet::parse(&first[..13]).unwrap().restore(7, 102), None);
}

#[test]
fn reports_tie_the_tracks_to_one_line() {
    let mut player = Player::new(None);
    let unix = Micros::from_secs(1_800_000_000);
    assert_eq!(player.sender.report(ms(0), unix, &player.line), None);
    player.send(0, burst(500, &[0, 0]));
    player.send(30, burst(540, &[0]));
    let report = player.sender.report(ms(100), unix, &player.line).unwrap();
    // 100 ms after the media time of 500 ms, whose timestamp is 1000.
    assert_eq!((report.timestamp, report.ntp), (1000 + 9000, Ntp::from_unix(unix)));
    assert_eq!((report.packets, report.bytes), (3, 6));
    let delay = 1 << 15; // half a second of the 700 ms that have passed
    let block =
        Report { last_sr: report.ntp.middle(), delay, jitter: 900, fraction_lost: 3, ..Report::default() };
    player.sender.receiver_report(unix + ms(700), &block);
    let reception = player.sender.reception();
    assert_eq!((reception.fraction_lost, reception.jitter), (3, ms(10)));
    assert!((reception.round_trip.unwrap() - ms(200)).0.abs() < 50, "{reception:?}");
    // One that has seen no report measures nothing.
    player.sender.receiver_report(unix, &Report::default());
    assert_eq!(player.sender.reception().round_trip, reception.round_trip);
}

proptest! {
    #[test]
    fn every_packet_in_the_history_can_be_sent_again(
        bursts in prop::collection::vec((0i64..10_000, prop::collection::vec(0u8..3, 1..5)), 1..150), asked: u16,
    ) {
        let mut player = Player::new(None);
        let (mut sent, mut now) = (Vec::new(), 0);
        for (time, gaps) in &bursts {
            now += 20;
            let packets = player.send(now, burst(*time, gaps));
            sent.push(packets);
        }
        let kept = sent.iter().rev().scan(0, |sum, burst| { *sum += burst.len(); Some((*sum, burst)) });
        let kept: Vec<_> = kept.take_while(|(sum, _)| *sum <= 20).flat_map(|(_, burst)| burst).copied().collect();
        for (sequence, timestamp, marker) in kept {
            if player.sender.credit == 0 { break; }
            let bytes = player.resend(sequence).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!((packet.sequence, packet.timestamp, packet.marker), (sequence, timestamp, marker));
        }
        let all: Vec<_> = sent.concat();
        if !all.iter().any(|(sequence, ..)| *sequence == asked) {
            prop_assert_eq!(player.resend(asked), None);
        }
    }
}
