//! There and back with the packers, with loss, and with what other senders do.

use media::codec::{aac, av1, h264, h265, nalu, vp9};
use media::{Dialect, Frame, Micros, Track, TrackId};
use proptest::prelude::*;

use super::*;
use crate::pack::{Packer, Payload};

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xd9];
const PPS: &[u8] = &[0x68, 0xce, 0x3c];

fn track(codec: Codec, config: &[u8]) -> Track {
    Track { id: TrackId::VIDEO, codec, config: Bytes::copy_from_slice(config), dialect: Dialect::Standard }
}

fn h264() -> Track {
    let record = h264::record(&[Bytes::from_static(SPS)], &[Bytes::from_static(PPS)]).unwrap();
    track(Codec::H264(h264::Config::parse(&record).unwrap()), &record)
}

/// Main profile at 64x64.
const H265_SPS: &[u8] = &[
    0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 93, 0xa0, 0x20, 0x81, 0x05, 0x97, 0xff, 0x80,
];

fn h265() -> Track {
    let set = |unit: &'static [u8]| [Bytes::from_static(unit)];
    let record = h265::record(&set(&[0x40, 1, 12]), &set(H265_SPS), &set(&[0x44, 1, 0xc1])).unwrap();
    track(Codec::H265(h265::Config::parse(&record).unwrap()), &record)
}

/// 16x16, no tools.
const AV1_HEADER: &[u8] = &[0x0a, 11, 0, 0, 0, 0x01, 0x98, 0xff, 0, 0, 0, 0, 0x40];

fn canonical(units: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    units.iter().for_each(|unit| nalu::append(&mut out, unit));
    out
}

/// The frames of a stream, packed; the packets of each frame, numbered from 65,530 on.
fn pack(track: &Track, frames: &[(bool, Vec<u8>)], max: usize) -> Vec<Vec<Received>> {
    let mut packer = Packer::new(track, max).unwrap();
    let mut sequence = 65_530;
    let mut all = Vec::new();
    for (n, (key, data)) in frames.iter().enumerate() {
        let data = Bytes::copy_from_slice(data);
        let frame = Frame { track: track.id, dts: Micros::ZERO, pts: Micros::ZERO, key: *key, data };
        let mut payloads = Vec::new();
        packer.pack(&frame, &mut payloads);
        let lay = |payload: &Payload| {
            let mut bytes = Vec::new();
            payload.write(&mut bytes);
            assert!(bytes.len() <= max.max(64) || payload.head.is_empty(), "{} bytes", bytes.len());
            sequence += 1;
            let (ticks, marker) = (n as i64 * 3000, payload.marker);
            Received { sequence, ticks, marker, payload_type: 96, payload: bytes.into() }
        };
        all.push(payloads.iter().map(lay).collect());
    }
    all
}

fn run<'a>(encoding: &Encoding, packets: impl IntoIterator<Item = &'a Received>) -> Vec<Unpacked> {
    let (mut unpacker, mut out) = (Unpacker::new(encoding), Vec::new());
    packets.into_iter().for_each(|packet| unpacker.push(packet, &mut out));
    out
}

fn frames(out: &[Unpacked]) -> Vec<(i64, bool, Vec<u8>)> {
    let frame = |unpacked: &Unpacked| match unpacked {
        Unpacked::Frame { ticks, key, data } => Some((*ticks, *key, data.to_vec())),
        _ => None,
    };
    out.iter().filter_map(frame).collect()
}

fn config(out: &[Unpacked]) -> Option<(Codec, Bytes)> {
    out.iter().find_map(|unpacked| match unpacked {
        Unpacked::Config(codec, record) => Some((codec.clone(), record.clone())),
        _ => None,
    })
}

/// Tracks with frames of theirs: the first is key, all others are not.
fn streams() -> impl Strategy<Value = (Track, Encoding, Vec<(bool, Vec<u8>)>)> {
    let unit = |first: &'static [u8]| {
        prop::collection::vec(any::<u8>(), 1..400).prop_map(move |body| [first, &[0x80], &body].concat())
    };
    let units = move |first| prop::collection::vec(unit(first), 1..4).prop_map(|units| canonical(&units));
    let nal = move |track: fn() -> Track, encoding: Encoding, key, inter| {
        (units(key), prop::collection::vec(units(inter), 0..8))
            .prop_map(move |(key, rest)| (track(), encoding.clone(), key, rest))
    };
    let body = |first: &'static [u8]| {
        prop::collection::vec(any::<u8>(), 1..900).prop_map(move |body| [first, &body].concat())
    };
    let vpx = move |codec: Codec, encoding: Encoding, key, inter| {
        (body(key), prop::collection::vec(body(inter), 0..8))
            .prop_map(move |(key, rest)| (track(codec.clone(), &[]), encoding.clone(), key, rest))
    };
    let obus = |key: bool| {
        (prop::collection::vec(any::<u8>(), 127..900), any::<bool>()).prop_map(move |(body, metadata)| {
            let mut out = if key { AV1_HEADER.to_vec() } else { Vec::new() };
            if metadata {
                out.extend_from_slice(&[0x2a, 3, 4, 5, 6]);
            }
            let size = body.len() + 1;
            out.extend_from_slice(&[
                0x32,
                size as u8 | 0x80,
                (size >> 7) as u8,
                if key { 0x10 } else { 0x30 },
            ]);
            out.extend_from_slice(&body);
            out
        })
    };
    let av1 = (obus(true), prop::collection::vec(obus(false), 0..8)).prop_map(|(key, rest)| {
        let record = av1::record(AV1_HEADER).unwrap();
        (track(Codec::Av1(av1::Config::parse(&record).unwrap()), &record), Encoding::Av1, key, rest)
    });
    prop_oneof![
        nal(h264, Encoding::H264 { sets: vec![] }, &[0x65], &[0x41]),
        nal(h265, Encoding::H265 { sets: vec![] }, &[0x26, 1], &[0x02, 1]),
        vpx(Codec::Vp8, Encoding::Vp8, &[0x10], &[0x11]),
        vpx(Codec::Vp9(vp9::Config::default()), Encoding::Vp9, &[0x82, 0x49, 0x83, 0x42], &[0x86]),
        av1,
    ]
    .prop_map(|(track, encoding, key, rest)| {
        let rest = rest.into_iter().map(|data| (false, data));
        (track, encoding, std::iter::once((true, key)).chain(rest).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn there_and_back((track, encoding, stream) in streams(), max in 64usize..500, marked: bool) {
        let mut packets = pack(&track, &stream, max);
        prop_assert!(encoding.opens_keyframe(&packets[0][0].payload));
        for packet in packets.iter_mut().flatten().filter(|_| !marked) {
            packet.marker = false;
        }
        let out = run(&encoding, packets.iter().flatten());
        let mut want: Vec<_> =
            stream.iter().enumerate().map(|(n, (key, data))| (n as i64 * 3000, *key, data.clone())).collect();
        if !marked {
            want.pop(); // its end is not known yet
        }
        prop_assert_eq!(frames(&out), want);
        if !out.is_empty() {
            let (codec, record) = config(&out).unwrap();
            prop_assert_eq!(codec.name(), track.codec.name());
            if !track.config.is_empty() {
                prop_assert_eq!(record, track.config);
            }
        }
        prop_assert!(!out.contains(&Unpacked::Lost));
    }

    /// What comes out behind loss was sent as it is, and loss is always told.
    #[test]
    fn nothing_broken_comes_out(
        (track, encoding, stream) in streams(), max in 64usize..300,
        keep in prop::collection::vec(prop::bool::weighted(0.8), 200), marked: bool,
    ) {
        let mut packets = pack(&track, &stream, max);
        packets.iter_mut().flatten().for_each(|packet| packet.marker &= marked);
        let kept: Vec<_> = packets.iter().flatten().zip(keep.iter().cycle()).filter(|(_, keep)| **keep).map(|(p, _)| p).collect();
        let out = run(&encoding, kept.iter().copied());
        let whole: Vec<_> = stream.iter().enumerate().map(|(n, (key, data))| (n as i64 * 3000, *key, data.clone())).collect();
        // A lone unit of metadata cannot be told from a frame, and slices are not parsed: with loss a frame may lack a unit at
        // its start or, without markers, at its end, but never a part of a unit.
        for (ticks, key, data) in frames(&out) {
            let (_, sent_key, sent) = &whole[(ticks / 3000) as usize];
            prop_assert!(key == *sent_key || !key);
            prop_assert!(is_part(&track, sent, &data), "{data:?} of {sent:?}");
        }
        let first = kept.first().map_or(0, |packet| packet.sequence);
        let gaps = kept.windows(2).any(|two| two[1].sequence != two[0].sequence + 1);
        if gaps && first > 0 {
            prop_assert!(out.contains(&Unpacked::Lost));
        }
    }

    #[test]
    fn garbage(payloads in prop::collection::vec((any::<bool>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20)) {
        let script: Vec<u8> = payloads.into_iter().flat_map(|(marker, step, payload)| {
            [&[u8::from(marker) << 7 | payload.len() as u8, step][..], &payload].concat()
        }).collect();
        for which in 0..8 {
            crate::fuzz::unpack(&[&[which], &script[..]].concat());
        }
    }
}

/// All units of `part` stand in `whole`, in order.
fn is_part(track: &Track, whole: &[u8], part: &[u8]) -> bool {
    match track.codec {
        Codec::H264(_) | Codec::H265(_) => {
            let mut rest = nalu::units(whole);
            nalu::units(part).all(|unit| rest.any(|other| other == unit))
        }
        Codec::Av1(_) => {
            let obu = |obu: crate::obu::Obu<'_>| (obu.kind(), obu.payload.to_vec());
            let mut rest = crate::obu::walk(whole).map(obu);
            crate::obu::walk(part).map(obu).all(|unit| rest.any(|other| other == unit))
        }
        _ => whole == part,
    }
}

fn received(sequence: u64, ticks: i64, marker: bool, payload: &[u8]) -> Received {
    Received { sequence, ticks, marker, payload_type: 96, payload: Bytes::copy_from_slice(payload) }
}

#[test]
fn parameter_sets_in_packets_of_their_own() {
    let encoding = Encoding::H264 { sets: vec![] };
    let idr = [0x65, 0x88, 1];
    let packets = [received(1, 0, false, SPS), received(2, 0, false, PPS), received(3, 0, true, &idr)];
    let out = run(&encoding, &packets);
    let [Unpacked::Config(Codec::H264(told), _), Unpacked::Frame { key: true, data, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!((told.sps.len(), &data[..]), (1, &canonical(&[idr.to_vec()])[..]));
    // Again, with another PPS of the same id; then the same once more.
    let other = [0x68, 0xce, 0x3d];
    let mut unpacker = Unpacker::new(&encoding);
    let mut configs = Vec::new();
    for (n, pps) in [PPS, &other, &other].into_iter().enumerate() {
        let (base, ticks, mut out) = (n as u64 * 3, n as i64 * 3000, Vec::new());
        unpacker.push(&received(base, ticks, false, SPS), &mut out);
        unpacker.push(&received(base + 1, ticks, true, pps), &mut out);
        unpacker.push(&received(base + 2, ticks, true, &idr), &mut out);
        assert_eq!(frames(&out).len(), 1, "sets alone are no frame");
        configs.push(config(&out).map(|(_, record)| record));
    }
    assert!(configs[0].is_some() && configs[1].is_some() && configs[2].is_none());
}

#[test]
fn sets_out_of_band_come_with_the_first_frame() {
    let sets = vec![Bytes::from_static(SPS), Bytes::from_static(PPS)];
    let out = run(&Encoding::H264 { sets }, &[received(1, 0, true, &[0x65, 0x88])]);
    assert!(matches!(out[..], [Unpacked::Config(..), Unpacked::Frame { key: true, .. }]));
}

#[test]
fn frames_before_a_keyframe_ask_for_one() {
    let encoding = Encoding::Vp8;
    let out = run(&encoding, &[received(1, 0, true, &[0x10, 1, 2]), received(2, 3000, true, &[0x10, 1, 2])]);
    assert_eq!(out, [Unpacked::Lost]);
}

#[test]
fn padding_and_old_packets_change_nothing() {
    let encoding = Encoding::Vp8;
    let packets = [
        received(1, 0, false, &[0x10, 0, 2]),
        received(2, 0, false, &[]),
        received(3, 0, true, &[0x00, 3]),
        received(3, 0, true, &[0x00, 3]),
        received(4, 5, false, &[]),
    ];
    assert_eq!(frames(&run(&encoding, &packets)), [(0, true, vec![0, 2, 3])]);
}

#[test]
fn descriptors_with_all_their_parts() {
    // VP8: X, I with 15 bits, L, T and K.
    let vp8 = [0x90, 0xf0, 0x81, 2, 3, 4, 0, 9];
    assert_eq!(frames(&run(&Encoding::Vp8, &[received(1, 0, true, &vp8)])), [(0, true, vec![0, 9])]);
    // VP9, not flexible: I with 7 bits, L with TL0PICIDX, V with sizes and a group of two pictures.
    let vp9 = [0xae, 5, 0, 1, 0x18, 1, 64, 0, 64, 2, 0x04, 1, 0x08, 1, 2, 0x82, 0x49, 0x83, 0x42, 0];
    let out = run(&Encoding::Vp9, &[received(1, 0, true, &vp9)]);
    assert_eq!(frames(&out), [(0, true, vec![0x82, 0x49, 0x83, 0x42, 0])]);
    // Flexible: P with two references.
    let inter = [0xdc, 0x80, 6, 3, 4, 7, 7];
    let out = run(&Encoding::Vp9, &[received(1, 0, true, &vp9), received(2, 5, true, &inter)]);
    assert_eq!(frames(&out)[1], (5, false, vec![7, 7]));
}

#[test]
fn elements_of_av1_with_and_without_lengths() {
    let (header, frame) = ([&[0x08], &AV1_HEADER[2..]].concat(), [0x30, 0x10, 9]);
    let want = [AV1_HEADER, &[0x32, 2, 0x10, 9]].concat();
    let with = [&[0x08, header.len() as u8], &header[..], &[3], &frame].concat();
    let without = [&[0x28, header.len() as u8], &header[..], &frame].concat();
    for payload in [with, without] {
        assert_eq!(
            frames(&run(&Encoding::Av1, &[received(1, 0, true, &payload)])),
            [(0, true, want.clone())]
        );
    }
}

#[test]
fn sound() {
    let out = run(&Encoding::Opus, &[received(1, 0, false, b"a"), received(5, 960, false, b"b")]);
    assert!(matches!(&out[0], Unpacked::Config(Codec::Opus(config), head)
        if config.channels == 2 && opus::Config::parse(head).is_ok()));
    assert_eq!(frames(&out), [(0, true, b"a".to_vec()), (960, true, b"b".to_vec())]);
    assert!(!out.contains(&Unpacked::Lost));
    let out = run(&Encoding::G711 { mu_law: true }, &[received(1, 0, false, b"a")]);
    assert!(matches!(out[0], Unpacked::Config(Codec::G711 { mu_law: true }, _)));
}

#[test]
fn aac_alone_in_rows_and_in_parts() {
    let config = Bytes::from_static(&[0x12, 0x10]);
    let encoding = Encoding::Aac { config: config.clone(), size_bits: 13, index_bits: 3 };
    let row = [0, 32, 0, 16, 0, 24, 1, 2, 3, 4, 5];
    let out = run(&encoding, &[received(1, 0, true, &row)]);
    assert!(matches!(&out[0], Unpacked::Config(Codec::Aac(_), record) if *record == config));
    assert_eq!(frames(&out), [(0, true, vec![1, 2]), (1024, true, vec![3, 4, 5])]);
    let codec = Codec::Aac(aac::Config::parse(&config).unwrap());
    let stream = [(true, vec![7; 200]), (true, vec![8; 20]), (true, vec![9; 300])];
    let packets = pack(&track(codec, &config), &stream, 100);
    let all = run(&encoding, packets.iter().flatten());
    assert_eq!(frames(&all).iter().map(|f| f.2.len()).collect::<Vec<_>>(), [200, 20, 300]);
    let without = run(&encoding, packets.iter().flatten().filter(|packet| packet.sequence != 65_532));
    assert_eq!(
        frames(&without).iter().map(|f| f.2.len()).collect::<Vec<_>>(),
        [20, 300],
        "a part is missing"
    );
}
