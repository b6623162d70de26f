//! A publisher's frames on their whole way: the form, a player's sender, a link that loses and reorders in virtual time, the receiver with its questions, and
//! frames again.

use bytes::Bytes;
use media::codec::{Codec, h264, nalu, opus};
use media::{Dialect, Frame, Micros, Remux, Track, TrackId, Tracks};
use proptest::prelude::*;

use crate::clock::Sync;
use crate::receive::{Receiver, ReceiverOptions};
use crate::rtcp;
use crate::send::{History, Line, Sender, SenderOptions};
use crate::unpack::{Encoding, Unpacked, Unpacker};
use crate::{Mux, MuxOptions, Packet};

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xd9];
const PPS: &[u8] = &[0x68, 0xce, 0x3c];

fn ms(ms: i64) -> Micros {
    Micros::from_millis(ms)
}

/// Random numbers of a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// Datagrams under way one way.
#[derive(Default)]
struct Link {
    under_way: Vec<(Micros, Vec<u8>)>,
}

impl Link {
    /// One in `loss` is lost (none for 0), the others take 5 to 25 ms.
    fn send(&mut self, now: Micros, random: &mut Random, loss: u64, datagram: Vec<u8>) {
        if loss == 0 || random.below(loss) > 0 {
            self.under_way.push((now + ms(5 + random.below(20) as i64), datagram));
        }
    }

    /// It arrives, and in order.
    fn send_surely(&mut self, now: Micros, datagram: Vec<u8>) {
        self.under_way.push((now + ms(5), datagram));
    }

    fn arrive(&mut self, now: Micros) -> Vec<Vec<u8>> {
        let (here, rest) = self.under_way.drain(..).partition(|(due, _)| *due <= now);
        self.under_way = rest;
        here.into_iter().map(|(_, datagram)| datagram).collect()
    }
}

/// One track from its sender to its frames.
struct Path {
    sender: Sender,
    receiver: Receiver,
    unpacker: Unpacker,
    source: usize,
    frames: Vec<(Micros, Bytes)>,
    lost: usize,
}

impl Path {
    fn new(
        ssrc: u32,
        rate: u32,
        encoding: &Encoding,
        source: usize,
        retransmission: Option<(u32, u8)>,
    ) -> Self {
        let options = SenderOptions { ssrc, payload_type: 96, retransmission, start: (65_500, 0xffff_f000) };
        let receiver = ReceiverOptions { rate, patience: ms(800), ..ReceiverOptions::default() };
        Self {
            sender: Sender::new(options),
            receiver: Receiver::new(ssrc, receiver),
            unpacker: Unpacker::new(encoding),
            source,
            frames: Vec::new(),
            lost: 0,
        }
    }

    fn receive(&mut self, now: Micros, datagram: &[u8]) {
        let packet = Packet::parse(datagram).unwrap();
        let packet = match packet.payload_type {
            96 => packet,
            _ => packet.restore(self.receiver.ssrc(), 96).unwrap(),
        };
        self.receiver.receive(now, &packet, Bytes::copy_from_slice(packet.payload));
    }

    fn poll(&mut self, now: Micros, sync: &mut Sync) {
        let mut out = Vec::new();
        while let Some(packet) = self.receiver.poll(now) {
            self.unpacker.push(&packet, &mut out);
        }
        for unpacked in out {
            match unpacked {
                Unpacked::Frame { ticks, data, .. } => {
                    self.frames.push((sync.time(self.source, ticks, now).unwrap(), data));
                }
                Unpacked::Lost => self.lost += 1,
                Unpacked::Config(..) => {}
            }
        }
    }
}

fn stream(random: &mut Random, seconds: i64) -> (Tracks, Vec<Frame>) {
    let record = h264::record(&[Bytes::from_static(SPS)], &[Bytes::from_static(PPS)]).unwrap();
    let video = Codec::H264(h264::Config::parse(&record).unwrap());
    let audio = Codec::Opus(opus::Config::default());
    let mut tracks = Tracks::default();
    for (id, codec, config) in [(TrackId::VIDEO, video, record), (TrackId::AUDIO, audio, Bytes::new())] {
        tracks.set(Track { id, codec, config, dialect: Dialect::Standard });
    }
    let mut frames = Vec::new();
    for time in (0..seconds * 1000).step_by(20) {
        let mut push = |track, key, data: Vec<u8>| {
            frames.push(Frame { track, dts: ms(time), pts: ms(time), key, data: data.into() });
        };
        if time % 40 == 0 {
            let key = time % 1000 == 0;
            let size = 10 + random.below(if key { 9000 } else { 3000 }) as usize;
            let mut data = Vec::new();
            let mut unit = vec![0x80; size];
            unit[0] = if key { 0x65 } else { 0x41 };
            unit[size - 4..].copy_from_slice(&(time as u32 | 0x0100_0000).to_be_bytes());
            nalu::append(&mut data, &unit);
            push(TrackId::VIDEO, key, data);
        }
        push(TrackId::AUDIO, true, [&b"opus"[..], &time.to_be_bytes()].concat());
    }
    (tracks, frames)
}

/// Sends a stream over links that lose one in `loss`; gives back what came out, per track, with what went in.
fn converse(seed: u64, loss: u64, rtx: bool) -> (Vec<Frame>, [Path; 2]) {
    let mut random = Random(seed | 1);
    let (tracks, frames) = stream(&mut random, 4);
    let mut mux = Mux::new(MuxOptions::default());
    mux.tracks(&tracks, &mut Vec::new());
    let mut sync = Sync::default();
    let sources = [sync.add(90_000), sync.add(48_000)];
    let rtx = |ssrc| rtx.then_some((ssrc, 97));
    let mut paths = [
        Path::new(1, 90_000, &Encoding::H264 { sets: vec![] }, sources[0], rtx(3)),
        Path::new(2, 48_000, &Encoding::Opus, sources[1], rtx(4)),
    ];
    let (mut line, mut history) = (Line::default(), History::new(2000));
    let (mut there, mut back) = ([Link::default(), Link::default()], [Link::default(), Link::default()]);
    let mut waiting = frames.iter().peekable();
    // The player's clock, the server's and the wall's are three different ones.
    for step in 0..6000 {
        let (now, unix) = (ms(step + 70_000), ms(step + 1_800_000_000_000));
        while let Some(frame) = waiting.next_if(|frame| frame.dts <= ms(step)) {
            let mut bursts = Vec::new();
            mux.frame(frame, &mut bursts);
            for burst in bursts.into_iter().map(|stamped| stamped.unit) {
                let at = usize::from(burst.track() == TrackId::AUDIO);
                line.place(now, burst.time());
                let place = history.push(burst.clone());
                for (header, payload) in paths[at].sender.send(now, &line, &burst, place) {
                    let mut datagram = Vec::new();
                    header.write(&mut datagram);
                    payload.write(&mut datagram);
                    // The receiver begins with what comes first, and the last shows the loss of the rest.
                    match frame.dts == Micros::ZERO || frame.dts >= ms(3960) {
                        true => there[at].send_surely(now, datagram),
                        false => there[at].send(now, &mut random, loss, datagram),
                    }
                }
            }
        }
        for (at, path) in paths.iter_mut().enumerate() {
            for datagram in there[at].arrive(now) {
                path.receive(ms(step), &datagram);
            }
            let mut lost = Vec::new();
            path.receiver.ask(ms(step), &mut lost);
            let mut asked = Vec::new();
            rtcp::Writer::new(&mut asked).nack(9, path.receiver.ssrc(), &lost);
            if !asked.is_empty() {
                back[at].send(now, &mut random, loss, asked);
            }
            for datagram in back[at].arrive(now) {
                let Some(Ok(rtcp::Packet::Nack { lost, .. })) = rtcp::packets(&datagram).next() else {
                    panic!()
                };
                for number in lost.iter() {
                    let Some(resent) = path.sender.resend(number, &history) else { continue };
                    let mut datagram = Vec::new();
                    resent.write(&mut datagram);
                    there[at].send(now, &mut random, loss, datagram);
                }
            }
            if step % 500 == 499 {
                let info = path.sender.report(now, unix, &line).unwrap();
                let ticks = path.receiver.sender_report(ms(step), &info);
                sync.report(path.source, ticks, info.ntp);
                let report = path.receiver.report(ms(step)).unwrap();
                path.sender.receiver_report(unix, &report);
            }
            path.poll(ms(step), &mut sync);
        }
    }
    (frames, paths)
}

fn sent(frames: &[Frame], track: TrackId) -> Vec<Bytes> {
    frames.iter().filter(|frame| frame.track == track).map(|frame| frame.data.clone()).collect()
}

fn got(path: &Path) -> Vec<Bytes> {
    path.frames.iter().map(|(_, data)| data.clone()).collect()
}

#[test]
fn all_comes_through_without_loss_and_in_step() {
    let (frames, [video, audio]) = converse(7, 0, false);
    assert_eq!(got(&video), sent(&frames, TrackId::VIDEO));
    assert_eq!(got(&audio), sent(&frames, TrackId::AUDIO));
    assert_eq!((video.lost, audio.lost), (0, 0));
    assert_eq!(video.sender.reception().fraction_lost, 0);
    assert!(video.sender.reception().round_trip.is_some());
    // The last video frame was sent at 3960 ms, with a sound frame.
    let (v, a) = (video.frames.last().unwrap().0, audio.frames[audio.frames.len() - 2].0);
    assert!((v - a).0.abs() < 5000, "{v:?} {a:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn loss_is_repaired(seed: u64, rtx: bool) {
        let (frames, [video, audio]) = converse(seed, 10, rtx);
        prop_assert_eq!(got(&audio), sent(&frames, TrackId::AUDIO));
        prop_assert_eq!(got(&video), sent(&frames, TrackId::VIDEO));
        prop_assert!(video.frames.windows(2).all(|two| two[0].0 < two[1].0), "time never runs back");
    }

    /// Half of all is lost: not all can come through, but what does is whole and in order.
    #[test]
    fn heavy_loss_is_told(seed: u64) {
        let (frames, [video, _]) = converse(seed, 2, false);
        let mut all = sent(&frames, TrackId::VIDEO).into_iter();
        let count = all.len();
        prop_assert!(got(&video).iter().all(|frame| all.any(|sent| sent == frame)));
        prop_assert!(video.frames.len() == count || video.lost > 0);
    }
}
