//! Bodies of the fuzz targets, called by the shims in `fuzz/` and by the tests: bytes in, no panic out.

use media::{Frame, Remux, Stamped};

use crate::flv;

/// AMF0: what decodes must encode, and decode again to the same number of values.
pub fn amf(data: &[u8]) {
    if let Ok(values) = crate::amf0::decode(data) {
        let mut bytes = Vec::new();
        for value in &values {
            value.encode(&mut bytes);
        }
        assert_eq!(crate::amf0::decode(&bytes).map(|again| again.len()), Ok(values.len()));
    }
}

/// FLV: the tags of a stream (the header may be missing). What demuxes must mux, and demux again to the same frames.
pub fn flv(data: &[u8]) {
    let mut reader = flv::Reader::new();
    if !data.starts_with(b"FLV") {
        reader.receive(&flv::FileHeader { audio: true, video: true }.to_bytes());
    }
    reader.receive(data);
    let mut first = flv::Demux::new(flv::DemuxOptions { try_annexb_first: true, ..Default::default() });
    let mut second = flv::Demux::default();
    let mut mux = flv::Mux::new(flv::MuxOptions { jitter: flv::Jitter::Off, ..Default::default() });
    while let Ok(Some(item)) = reader.poll_item() {
        let flv::Item::Tag { kind, timestamp, body } = item else { continue };
        let (mut before, mut units, mut after) = (Vec::new(), Vec::new(), Vec::new());
        // An error drops the tag, or some tracks of it; both sides go on.
        let _ = first.push(kind, timestamp, body, &mut before);
        if before.contains(&flv::Demuxed::Tracks) {
            mux.tracks(first.tracks(), &mut units);
        }
        let before = frames(before);
        before.iter().for_each(|frame| mux.frame(frame, &mut units));
        for Stamped { time, unit, .. } in units {
            let mut body = unit.header.as_slice().to_vec();
            body.extend_from_slice(&unit.body);
            assert_eq!(second.push(unit.kind, time.millis() as u32, body.into(), &mut after), Ok(()));
        }
        let same = |frame: &Frame| (frame.track, frame.dts.millis() as u32, frame.key, frame.data.clone());
        assert!(before.iter().map(same).eq(frames(after).iter().map(same)));
    }
}

fn frames(events: Vec<flv::Demuxed>) -> Vec<Frame> {
    let frame = |event| match event {
        flv::Demuxed::Frame(frame) => Some(frame),
        flv::Demuxed::Tracks => None,
    };
    events.into_iter().filter_map(frame).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::flv;

    /// The openings of all sorts of tags, for bytes at random to follow.
    fn opening() -> impl Strategy<Value = (flv::TagKind, Vec<u8>)> {
        use flv::TagKind::{Audio, Script, Video};
        let avcc = [
            &[0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xff, 0xe0, 0][..],
            &[0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xfc, 0xe0, 0],
        ];
        let hvcc = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 93, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0];
        let multi = [&b"\x96\x10hvc1\x01\0\0\x17"[..], &hvcc].concat();
        let list: Vec<(flv::TagKind, Vec<u8>)> = vec![
            (Video, avcc[0].into()),
            (Video, avcc[1].into()),
            (Video, vec![0x27, 1, 0, 0, 9, 0, 0, 0, 1]),
            (Video, vec![0x17, 1, 0, 0, 0, 2, 0x65, 1]),
            (Video, vec![0x17, 1, 0, 0, 0, 0, 0, 1, 0x65]),
            (Video, [&b"\x90hvc1"[..], &hvcc].concat()),
            (Video, b"\xa3hvc1\0\0\0\x01".to_vec()),
            (Video, multi),
            (Video, b"\x96\x21vp08\x00\0\0\x02".to_vec()),
            (Video, b"\x91vp08".to_vec()),
            (Video, vec![0x24]),
            (Audio, vec![0xaf, 0, 0x12, 0x10]),
            (Audio, vec![0xaf, 1]),
            (Audio, vec![0x2f]),
            (Audio, b"\x90fLaC".to_vec()),
            (Audio, b"\x91fLaC".to_vec()),
            (Audio, b"\x95\x21Opus\x02\0\0\x02".to_vec()),
            (Audio, b"\x97\x02\x01\0\0\x01ac-3".to_vec()),
            (Script, b"\x02\0\x0aonMetaData\x03".to_vec()),
            (Script, b"\x02\0\x0d@setDataFrame\x02\0\x01x".to_vec()),
            (Video, vec![]),
            (Audio, vec![]),
            (Script, vec![]),
        ];
        prop::sample::select(list)
    }

    proptest! {
        #[test]
        fn flv(tags in prop::collection::vec((opening(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..24)), 0..40)) {
            let mut stream = Vec::new();
            for ((kind, mut body), time, tail) in tags {
                body.extend(tail);
                let tag = flv::Tag { kind, header: flv::Header::default(), body: body.into() };
                tag.write(time, &mut stream);
            }
            super::flv(&stream);
        }

        #[test]
        fn flv_of_garbage(data: Vec<u8>) {
            super::flv(&data);
        }
    }
}
