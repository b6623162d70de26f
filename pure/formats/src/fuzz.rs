//! Bodies of the fuzz targets, called by the shims in `fuzz/` and by the tests: bytes in, no panic out.

use bytes::Bytes;
use media::codec::{Codec, aac, h264, h265, mp3, nalu};
use media::{ByteReader, Dialect, Frame, Kind, Micros, Remux, Stamped, Track, TrackId, Tracks, Truncated};

use crate::{es, flv, hls, mp4, ts};

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
        let glanced = flv::glance(kind, body.get(..flv::GLANCE).unwrap_or(&body));
        // An error drops the tag, or some tracks of it; both sides go on.
        let _ = first.push(kind, timestamp, body, &mut before);
        if before.contains(&flv::Demuxed::Tracks) {
            mux.tracks(first.tracks(), &mut units);
        }
        let before = frames(before);
        // Where a player may begin is found without reading all of a tag.
        let is_media = before.iter().any(|frame| frame.track.kind != Kind::Data);
        assert!(!is_media || !matches!(glanced, flv::Glance::Script));
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

/// TS and plain audio: a script of tracks and frames. What comes out are whole packets.
pub fn ts(data: &[u8]) {
    let mut r = ByteReader::new(data);
    let Ok(options) = r.u8() else { return };
    let (audio, video) = (options & 1 != 0, options & 2 != 0);
    let gather = Micros::from_millis(i64::from(options >> 2) * 10);
    let mut packer = ts::Packer::new(ts::PackerOptions { audio, video, gather });
    let mut mux = ts::Mux::new(ts::MuxOptions { audio, video, ..Default::default() });
    let mut aac = es::Mux::new(es::MuxOptions { codec: es::Codec::Aac, history: Micros::ZERO });
    let (mut tracks, mut packets, mut bursts, mut chunks) = (Tracks::default(), vec![], vec![], vec![]);
    while let Ok(step) = step(&mut r) {
        match step {
            Step::Track(id, Some(codec)) => {
                let track = Track { id, codec, config: Bytes::new(), dialect: Dialect::Standard };
                assert!(tracks.set(track));
            }
            Step::Track(..) => tracks.clear(),
            Step::Tables => packer.tables(&mut packets),
            Step::Flush => packer.flush(&mut packets),
            Step::Frame(frame) => {
                packer.frame(&frame, &mut packets);
                mux.frame(&frame, &mut bursts);
                aac.frame(&frame, &mut chunks);
                continue;
            }
        }
        packer.tracks(&tracks);
        mux.tracks(&tracks, &mut bursts);
        aac.tracks(&tracks, &mut chunks);
    }
    packer.flush(&mut packets);
    let all = std::iter::once(&packets[..]).chain(bursts.iter().map(|burst| &burst.unit.0[..]));
    for packets in all {
        assert_eq!(packets.len() % ts::PACKET, 0);
        assert!(packets.chunks(ts::PACKET).all(|packet| packet.first() == Some(&0x47)));
    }
}

/// HLS: the script of [`ts`] in segments, and the same bytes as a playlist. Segments are whole: opened, filled, ended.
pub fn hls(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert_eq!(hls::with_query(&text, ""), text);
    assert_eq!(hls::with_query(&text, "q").lines().count(), text.lines().count());
    let mut r = ByteReader::new(data);
    let Ok(options) = r.u8() else { return };
    let on = |bit: u8| options & bit != 0;
    let fragment = Micros::from_millis(i64::from(options >> 4) * 200);
    let mut segmenter = hls::Segmenter::new(hls::SegmenterOptions {
        cutter: hls::CutterOptions { fragment, wait_keyframe: on(8), ..Default::default() },
        audio: on(1),
        video: on(2),
        audio_by_samples: on(4),
        chunk: 1000,
        max_bytes: 10_000,
    });
    let (mut tracks, mut pieces) = (Tracks::default(), vec![]);
    while let Ok(step) = step(&mut r) {
        match step {
            Step::Track(id, Some(codec)) => {
                tracks.set(Track { id, codec, config: Bytes::new(), dialect: Dialect::Standard });
            }
            Step::Track(..) => tracks.clear(),
            Step::Frame(frame) => segmenter.frame(&frame, &mut pieces),
            Step::Tables | Step::Flush => continue,
        }
        segmenter.tracks(&tracks, &mut pieces);
    }
    segmenter.tracks(&Tracks::default(), &mut pieces);
    let mut open = None;
    for Stamped { unit, .. } in pieces {
        open = match (unit, open) {
            (hls::Piece::Begin(_), None) => Some(0),
            (hls::Piece::Data(data), Some(size)) => {
                assert!(!data.is_empty() && data.len().is_multiple_of(ts::PACKET));
                assert!(size > 0 || data.starts_with(&[0x47, 0x40, 0]));
                Some(size + data.len())
            }
            (hls::Piece::End(segment), Some(1..)) if segment.duration >= Micros::from_millis(100) => None,
            (hls::Piece::Void, Some(_)) => None,
            _ => unreachable!("out of order"),
        };
    }
    assert_eq!(open, None);
}

/// MP4: a recording, or any row of boxes. What is read must be written and be as long.
pub fn mp4(data: &[u8]) {
    let (mut at, mut rest) = (0, data);
    let mut boxes = Vec::new();
    while let Some(header) = mp4::header(rest) {
        let size = usize::try_from(header.size).unwrap_or(usize::MAX);
        let Some((whole, behind)) = rest.split_at_checked(size).filter(|(whole, _)| !whole.is_empty()) else {
            break;
        };
        boxes.push((at, header.kind, whole));
        at += size as u64;
        rest = behind;
    }
    if let Ok(Some(head)) = mp4::Head::read(data) {
        assert!(head.tracks.iter().count() > 0 && head.end <= data.len() as u64 + 16);
        for (at, _, whole) in boxes.iter().filter(|(_, kind, _)| kind == b"moof") {
            for placed in head.fragment(*at, whole).unwrap_or_default() {
                assert!(head.tracks.find(placed.track).is_some());
            }
        }
    }
    let Some(mut movie) = mp4::Movie::read(data).ok() else { return };
    for (at, kind, whole) in &boxes {
        match kind {
            b"moof" => drop(movie.add(*at, whole)),
            _ => assert!(movie.add(*at, whole).is_err()),
        }
        if let Some(head) = data.get(..*at as usize)
            && let Ok(sealed) = mp4::seal(head, data.len() as u64)
        {
            assert_eq!(sealed.len(), head.len());
        }
    }
    assert!(movie.duration() >= Micros::ZERO);
    let moov = movie.moov();
    assert_eq!(mp4::header(&moov).map(|header| header.size), Some(moov.len() as u64));
}

enum Step {
    /// A track with its codec; without one, all tracks go.
    Track(TrackId, Option<Codec>),
    Frame(Frame),
    Tables,
    Flush,
}

fn step(r: &mut ByteReader<'_>) -> Result<Step, Truncated> {
    let id = |byte: u8| if byte & 1 == 0 { TrackId::VIDEO } else { TrackId::AUDIO };
    Ok(match r.u8()? {
        0 => Step::Tables,
        1 => Step::Flush,
        2 => {
            let (kind, size) = (r.u8()?, r.u8()?);
            let record = r.take(usize::from(size).min(r.rest().len()))?;
            let codec = match kind >> 1 & 7 {
                0 => h264::Config::parse(record).ok().map(Codec::H264),
                1 => h265::Config::parse(record).ok().map(Codec::H265),
                2 => aac::Config::parse(record).ok().map(Codec::Aac),
                3 => mp3::Config::parse(record).ok().map(Codec::Mp3),
                4 => Some(Codec::H264(h264::Config::default())),
                5 => Some(Codec::Aac(aac::Config::default())),
                6 => Some(Codec::Vp8),
                _ => None,
            };
            Step::Track(id(kind), codec)
        }
        flags => {
            // Times of all sizes; a payload as it is, or as NAL units which may be long beyond the data.
            let size = usize::from(r.u8()? & 31);
            let shift = u32::from(r.u8()? & 63);
            let times = [r.u16()?, r.u16()?].map(|time| Micros(i64::from(time as i16) << shift));
            let bytes = r.take(size.min(r.rest().len()))?;
            let mut data = Vec::new();
            if flags & 2 == 0 {
                data.extend_from_slice(bytes);
            } else {
                for unit in bytes.split(|byte| *byte == 0) {
                    let mut unit = unit.to_vec();
                    unit.resize(unit.len() << (flags >> 4).min(9), 7);
                    nalu::append(&mut data, &unit);
                }
            }
            let [dts, pts] = times;
            Step::Frame(Frame { track: id(flags), dts, pts, key: flags & 4 != 0, data: data.into() })
        }
    })
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
    use bytes::Bytes;
    use media::codec::{Codec, opus};
    use media::{Dialect, Track, TrackId};
    use proptest::prelude::*;

    use crate::{flv, mp4};

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

    /// A script of tracks and frames, with bytes at random here and there.
    fn script() -> impl Strategy<Value = Vec<u8>> {
        const TRACKS: [&[u8]; 6] = [
            &[2, 0, 13, 1, 100, 0, 31, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68],
            &[2, 2, 23, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 93, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0],
            &[2, 5, 2, 0x12, 0x10],
            &[2, 7, 4, 0xff, 0xfb, 0x90, 0x64],
            &[2, 12, 0],
            &[2, 14, 0],
        ];
        let tail = || prop::collection::vec(any::<u8>(), 0..31);
        let step = prop_oneof![
            2 => prop::sample::select(TRACKS.to_vec()).prop_map(<[u8]>::to_vec),
            1 => prop::sample::select(vec![vec![0], vec![1]]),
            8 => (3u8.., 0u8..18, any::<[u8; 4]>(), tail()).prop_map(|(flags, shift, times, data)| {
                [&[flags, data.len() as u8, shift][..], &times, &data].concat()
            }),
            1 => prop::collection::vec(any::<u8>(), 0..3),
        ];
        let options = prop_oneof![any::<u8>(), any::<u8>().prop_map(|options| options | 3)];
        (options, prop::collection::vec(step, 0..40)).prop_map(|(options, steps)| {
            let [video, _, audio, ..] = TRACKS;
            [&[options], video, audio, &steps.concat()].concat()
        })
    }

    fn recording() -> Vec<u8> {
        let codec = Codec::Opus(opus::Config::default());
        let track = Track { id: TrackId::AUDIO, codec, config: Bytes::new(), dialect: Dialect::Standard };
        let mut file = mp4::recording(&[&mp4::Description::of(&track).unwrap()]).to_vec();
        for n in 0..3 {
            let sample = mp4::Sample { duration: 960 + n, size: 4, offset: n as i32 - 1, sync: n > 0 };
            file.extend(mp4::fragment(n, 2, n.into(), &[sample; 3], [&b"ring"[..]; 3]));
        }
        file
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
        fn ts(script in script()) {
            super::ts(&script);
        }

        #[test]
        fn hls(script in script()) {
            super::hls(&script);
        }

        #[test]
        fn mp4(tail: Vec<u8>, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
            let mut file = recording();
            damage.iter().for_each(|(at, byte)| file[at.index(recording().len())] = *byte);
            file.extend(tail);
            super::mp4(&file);
        }

        #[test]
        fn flv_of_garbage(data: Vec<u8>) {
            super::flv(&data);
        }
    }
}
