//! The shapes of packets. That they mean the same frame is tested in `unpack`.

use media::codec::{aac, av1, h264, h265, opus, vp9};
use media::{Dialect, Micros, TrackId};

use super::*;

fn track(codec: Codec, config: &[u8]) -> Track {
    Track { id: TrackId::VIDEO, codec, config: Bytes::copy_from_slice(config), dialect: Dialect::Standard }
}

fn h264() -> Codec {
    let (sps, pps) = (vec![Bytes::from_static(&[0x67, 1, 2])], vec![Bytes::from_static(&[0x68, 3])]);
    Codec::H264(h264::Config { sps, pps, ..Default::default() })
}

/// The payloads of a frame at 100 bytes each: the bytes of each, and its marker.
fn pack(codec: Codec, config: &[u8], key: bool, data: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut packer = Packer::new(&track(codec, config), 100).unwrap();
    let data = Bytes::copy_from_slice(data);
    let frame = Frame { track: TrackId::VIDEO, dts: Micros::ZERO, pts: Micros::ZERO, key, data };
    let mut out = Vec::new();
    packer.pack(&frame, &mut out);
    let lay = |payload: &Payload| {
        let mut bytes = Vec::new();
        payload.write(&mut bytes);
        assert_eq!((bytes.len(), bytes.is_empty()), (payload.len(), payload.is_empty()));
        (bytes, payload.marker)
    };
    out.iter().map(lay).collect()
}

fn canonical(units: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    units.iter().for_each(|unit| media::codec::nalu::append(&mut out, unit));
    out
}

#[test]
fn a_keyframe_of_h264() {
    let idr = [&[0x65], &[7; 250][..]].concat();
    let packets = pack(h264(), &[], true, &canonical(&[&[9, 0xf0], &idr]));
    assert_eq!(
        packets[0],
        (vec![0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3], false),
        "STAP-A of the parameter sets"
    );
    let heads: Vec<_> =
        packets[1..].iter().map(|(bytes, marker)| (bytes[0], bytes[1], bytes.len(), *marker)).collect();
    assert_eq!(heads, [(0x7c, 0x85, 86, false), (0x7c, 5, 86, false), (0x7c, 0x45, 84, true)]);
}

#[test]
fn small_units_of_h264() {
    let packets = pack(h264(), &[], false, &canonical(&[&[0x41, 1, 2]]));
    assert_eq!(packets, [(vec![0x41, 1, 2], true)], "alone it goes as it is");
    let packets = pack(h264(), &[], false, &canonical(&[&[6, 1], &[0x41; 90], &[0x01; 90]]));
    let shape: Vec<_> = packets.iter().map(|(bytes, marker)| (bytes[0], bytes.len(), *marker)).collect();
    assert_eq!(shape, [(0x58, 97, false), (0x01, 90, true)]);
    // Sets inside the frame replace those of the track.
    let packets = pack(h264(), &[], true, &canonical(&[&[0x67, 9], &[0x68, 9], &[0x65, 9]]));
    assert_eq!(packets, [(vec![0x78, 0, 2, 0x67, 9, 0, 2, 0x68, 9, 0, 2, 0x65, 9], true)]);
}

#[test]
fn a_keyframe_of_h265() {
    let sets = |first: u8| vec![Bytes::from(vec![first, 1, 5])];
    let config = h265::Config { vps: sets(0x40), sps: sets(0x42), pps: sets(0x44), ..Default::default() };
    let idr = [&[0x26, 1], &[7; 150][..]].concat();
    let packets = pack(Codec::H265(config), &[], true, &canonical(&[&[0x46, 1, 0x50], &idr]));
    assert_eq!(packets[0].0[..7], [0x60, 1, 0, 3, 0x40, 1, 5]);
    assert_eq!(packets[1].0[..4], [0x62, 1, 0x80 | 19, 7]);
    assert_eq!(packets[2].0[..4], [0x62, 1, 0x40 | 19, 7]);
    assert_eq!(
        packets.iter().map(|p| (p.0.len(), p.1)).collect::<Vec<_>>(),
        [(17, false), (78, false), (78, true)]
    );
}

#[test]
fn vp8_and_vp9() {
    let packets = pack(Codec::Vp8, &[], true, &[9; 150]);
    assert_eq!((&packets[0].0[..5], packets[0].0.len()), (&[0x90, 0x80, 0x80, 0, 9][..], 79));
    assert_eq!((&packets[1].0[..5], packets[1].1), (&[0x80, 0x80, 0x80, 0, 9][..], true));
    let codec = Codec::Vp9(vp9::Config::default());
    let packets = pack(codec.clone(), &[], true, &[9; 150]);
    assert_eq!((&packets[0].0[..4], &packets[1].0[..4]), (&[0x98, 0x80, 0, 9][..], &[0x94, 0x80, 0, 9][..]));
    assert_eq!(pack(codec, &[], false, &[9; 3]), [(vec![0xdc, 0x80, 0, 2, 9, 9, 9], true)]);
}

#[test]
fn av1() {
    let codec = Codec::Av1(av1::Config::default());
    // A temporal delimiter, which does not travel, and a frame of 120 bytes.
    let unit = [&[0x12, 0, 0x32, 120][..], &[9; 120]].concat();
    let packets = pack(codec.clone(), &[0x81, 0, 0, 0, 0x0a, 2, 5, 6], true, &unit);
    assert_eq!(
        packets[0],
        (vec![0x18, 0x08, 5, 6], false),
        "the sequence header of the record starts a sequence"
    );
    assert_eq!((&packets[1].0[..3], packets[1].0.len()), (&[0x50, 0x30, 9][..], 62));
    assert_eq!((&packets[2].0[..2], packets[2].0.len(), packets[2].1), (&[0x90, 9][..], 61, true));
    assert_eq!(pack(codec, &[], false, &[0x32, 1, 9]), [(vec![0x10, 0x30, 9], true)]);
}

#[test]
fn sound() {
    let aac = || Codec::Aac(aac::Config { sample_rate: 44_100, ..Default::default() });
    assert_eq!(Packer::new(&track(aac(), &[]), 100).unwrap().rate(), 44_100);
    assert_eq!(pack(aac(), &[], true, &[7; 3]), [(vec![0, 16, 0, 24, 7, 7, 7], true)]);
    let packets = pack(aac(), &[], true, &[7; 150]);
    assert_eq!(packets.iter().map(|p| (p.0.len(), p.1)).collect::<Vec<_>>(), [(79, false), (79, true)]);
    assert_eq!(packets[1].0[..4], [0, 16, 4, 0xb0], "the size of the whole");
    let opus = Codec::Opus(opus::Config::default());
    assert_eq!(pack(opus.clone(), &[], true, &[7; 150]), [(vec![7; 150], false)]);
    assert_eq!(pack(opus, &[], true, &[]), []);
    assert!(Packer::new(&track(Codec::Speex, &[]), 100).is_none());
}
