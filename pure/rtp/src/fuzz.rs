//! Fuzz bodies of this crate: each takes any bytes and must neither panic nor break what its module promises.

use bytes::Bytes;
use media::codec::{Codec, aac, av1, h264, h265, nalu, vp9};
use media::{ByteReader, Dialect, Frame, Micros, Track, TrackId};

use crate::pack::Packer;
use crate::rtcp::{self, Block};
use crate::sdp::Description;
use crate::unpack::{Encoding, Received, Unpacked, Unpacker};
use crate::{Header, Packet};

/// An RTP packet: what parses, writes and parses again to the same.
pub fn packet(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else { return };
    let extensions: Vec<_> = packet.extensions().collect();
    let header = Header {
        marker: packet.marker,
        payload_type: packet.payload_type,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        ssrc: packet.ssrc,
        extensions: &extensions,
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes.extend_from_slice(packet.payload);
    let again = Packet::parse(&bytes);
    assert!(
        again
            .is_ok_and(|again| again.payload == packet.payload && again.extensions().eq(packet.extensions()))
    );
    packet.csrc().for_each(drop);
}

/// A datagram of RTCP: every list in it is walked.
pub fn rtcp(data: &[u8]) {
    for packet in rtcp::packets(data).flatten() {
        match packet {
            rtcp::Packet::SenderReport { reports, .. } | rtcp::Packet::ReceiverReport { reports, .. } => {
                reports.iter().for_each(drop);
            }
            rtcp::Packet::Description(description) => description.names().for_each(drop),
            rtcp::Packet::Nack { lost, .. } => assert!(lost.iter().count() <= data.len() / 4 * 17),
            rtcp::Packet::Twcc(feedback) => assert!(feedback.arrivals().count() <= 0xffff),
            rtcp::Packet::Extended { blocks, .. } => blocks.for_each(|block| {
                if let Block::Delay(delays) = block {
                    delays.iter().for_each(drop);
                }
            }),
            _ => {}
        }
    }
}

/// A session description: what was written once reads and writes as the same.
pub fn sdp(data: &[u8]) {
    let Ok(first) = Description::parse(data) else { return };
    let text = first.to_string();
    let second = Description::parse(text.as_bytes());
    assert!(second.is_ok(), "{second:?} of {text:?}");
    let second = second.unwrap_or_default();
    let third = Description::parse(second.to_string().as_bytes());
    assert_eq!(third.map(|third| third.to_string()), Ok(second.to_string()));
    for format in first.media.iter().flat_map(|media| &media.formats) {
        drop((format.h264(), format.parameter_sets(), format.audio_config()));
    }
}

/// Payloads of every format: a script of packets. Frames come out whole, in the canonical form.
pub fn unpack(data: &[u8]) {
    let mut r = ByteReader::new(data);
    let sets = vec![];
    let encoding = match r.u8().unwrap_or_default() % 8 {
        0 => Encoding::H264 { sets },
        1 => Encoding::H265 { sets },
        2 => Encoding::Vp8,
        3 => Encoding::Vp9,
        4 => Encoding::Av1,
        5 => Encoding::Opus,
        6 => Encoding::Aac { config: Bytes::from_static(&[0x12, 0x10]), size_bits: 13, index_bits: 3 },
        _ => Encoding::Aac { config: Bytes::new(), size_bits: 1, index_bits: 0 },
    };
    let is_nal = matches!(encoding, Encoding::H264 { .. } | Encoding::H265 { .. });
    let mut unpacker = Unpacker::new(&encoding);
    let (mut sequence, mut ticks, mut out) = (0, 0, Vec::new());
    while let (Ok(length), Ok(step)) = (r.u8(), r.u8()) {
        let Ok(payload) = r.take((length & 0x7f).into()) else { break };
        sequence += u64::from(step & 3);
        ticks += i64::from(step >> 2 & 3);
        encoding.opens_keyframe(payload);
        let payload = Bytes::copy_from_slice(payload);
        unpacker.push(
            &Received { sequence, ticks, marker: length & 0x80 != 0, payload_type: 96, payload },
            &mut out,
        );
    }
    for unpacked in out {
        if let Unpacked::Frame { data, .. } = unpacked
            && is_nal
        {
            assert!(nalu::count(&data, 4).is_ok());
        }
    }
}

/// Frames of every codec: a selector, whether the frame is key, and the frame. Payloads keep to their size but where a format cannot split, and can be read.
pub fn pack(data: &[u8]) {
    const MAX: usize = 64;
    let Some((&[which, key], frame)) = data.split_first_chunk() else { return };
    let sets = || vec![Bytes::from_static(&[0x42, 1, 1]), Bytes::from_static(&[0x44; 70])];
    let (codec, encoding) = match which % 6 {
        0 => {
            let config = h264::Config { sps: sets(), pps: sets(), ..Default::default() };
            (Codec::H264(config), Encoding::H264 { sets: vec![] })
        }
        1 => {
            let config = h265::Config { sps: sets(), pps: sets(), ..Default::default() };
            (Codec::H265(config), Encoding::H265 { sets: vec![] })
        }
        2 => (Codec::Vp8, Encoding::Vp8),
        3 => (Codec::Vp9(vp9::Config::default()), Encoding::Vp9),
        4 => (Codec::Av1(av1::Config::default()), Encoding::Av1),
        _ => {
            let encoding = Encoding::Aac { config: Bytes::new(), size_bits: 13, index_bits: 3 };
            (Codec::Aac(aac::Config { sample_rate: 48_000, ..Default::default() }), encoding)
        }
    };
    let config = Bytes::from_static(&[0x81, 0, 0, 0, 0x0a, 1, 0]);
    let track = Track { id: TrackId::VIDEO, codec, config, dialect: Dialect::Standard };
    let Some(mut packer) = Packer::new(&track, MAX) else { return };
    let (time, data) = (Micros::ZERO, Bytes::copy_from_slice(frame));
    let frame = Frame { track: track.id, dts: time, pts: time, key: key & 1 == 1, data };
    let mut payloads = Vec::new();
    packer.pack(&frame, &mut payloads);
    let (mut unpacker, mut out) = (Unpacker::new(&encoding), Vec::new());
    for (sequence, payload) in (1..).zip(&payloads) {
        assert!(payload.len() <= MAX && !payload.is_empty());
        let mut bytes = Vec::new();
        payload.write(&mut bytes);
        let (marker, payload) = (payload.marker, bytes.into());
        unpacker.push(&Received { sequence, ticks: 0, marker, payload_type: 96, payload }, &mut out);
    }
    assert!(payloads.iter().rev().skip(1).all(|payload| !payload.marker));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packet(mut data in prop::collection::vec(any::<u8>(), 12..100)) {
            super::packet(&data);
            data[0] = data[0] & 0x3f | 0x80;
            super::packet(&data);
        }

        #[test]
        fn pack(which: u8, units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..6), tail: Vec<u8>) {
            let mut frame = vec![which, which >> 4];
            units.iter().for_each(|unit| media::codec::nalu::append(&mut frame, unit));
            super::pack(&[&frame[..], &tail].concat());
            super::pack(&[&[which, which >> 4], &tail[..]].concat());
        }
    }
}
