//! What is written is read by a library of others (mp4-atom), and by ourselves.

use bytes::Bytes;
use media::codec::{Codec, aac, av1, h264, h265, mp3, opus, vp9};
use media::{Dialect, Kind, Micros, Track, TrackId};
use mp4_atom::{Any, Decode, DecodeMaybe};
use proptest::prelude::*;

use super::*;

const AVCC: &[u8] = &[1, 100, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 100, 0, 31, 1, 0, 1, 0x68];
const HVCC: &[u8] =
    &[1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0];
const AV1C: &[u8] = &[0x81, 0x08, 0x0c, 0];
const VPCC: &[u8] = &[0, 31, 0x82, 1, 1, 1, 0, 0];
const HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";

fn track(id: TrackId, codec: Codec, config: &[u8]) -> Track {
    Track { id, codec, config: Bytes::copy_from_slice(config), dialect: Dialect::Standard }
}

fn describe(id: TrackId, codec: Codec, config: &[u8]) -> Description {
    Description::of(&track(id, codec, config)).unwrap()
}

fn video() -> Description {
    let config = h264::Config { width: Some(1280), height: Some(720), ..h264::Config::parse(AVCC).unwrap() };
    describe(TrackId::VIDEO, Codec::H264(config), AVCC)
}

fn audio() -> Description {
    let config = &[0x12, 0x10];
    describe(TrackId::AUDIO, Codec::Aac(aac::Config::parse(config).unwrap()), config)
}

fn atoms(mut bytes: &[u8]) -> Vec<Any> {
    let mut list = Vec::new();
    while let Some(atom) = Any::decode_maybe(&mut bytes).unwrap() {
        list.push(atom);
    }
    assert!(bytes.is_empty());
    list
}

fn moov(bytes: &[u8]) -> mp4_atom::Moov {
    atoms(bytes)
        .into_iter()
        .find_map(|atom| if let Any::Moov(moov) = atom { Some(moov) } else { None })
        .unwrap()
}

#[test]
fn codecs_have_their_names_and_entries() {
    let mp3 = |sample_rate| Codec::Mp3(mp3::Config { sample_rate, channels: 2, bitrate: None });
    let he = aac::Config { sbr: true, ..aac::Config::parse(&[0x13, 0x10]).unwrap() };
    let (v, a) = (TrackId::VIDEO, TrackId::AUDIO);
    for (id, codec, config, name, entry, timescale) in [
        (v, Codec::H264(h264::Config::parse(AVCC).unwrap()), AVCC, "avc1.64001f", "avc1", 90_000),
        (v, Codec::H265(h265::Config::parse(HVCC).unwrap()), HVCC, "hvc1.1.6.L93.b0", "hvc1", 90_000),
        (v, Codec::Av1(av1::Config::default()), AV1C, "av01.0.08M.08", "av01", 90_000),
        (v, Codec::Vp9(vp9::Config::default()), VPCC, "vp09.00.31.08", "vp09", 90_000),
        (
            a,
            Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap()),
            &[0x12, 0x10],
            "mp4a.40.2",
            "mp4a",
            44_100,
        ),
        (a, Codec::Aac(he), &[0x13, 0x10], "mp4a.40.5", "mp4a", 24_000),
        (a, mp3(44_100), &[], "mp4a.6B", "mp4a", 44_100),
        (a, mp3(22_050), &[], "mp4a.69", "mp4a", 22_050),
        (a, Codec::Opus(opus::Config::parse(HEAD).unwrap()), HEAD, "opus", "Opus", 48_000),
    ] {
        let description = describe(id, codec, config);
        assert_eq!((&*description.codec, description.timescale), (name, timescale));
        let moov = moov(&init(&[&description]));
        let mdia = &moov.trak[0].mdia;
        assert_eq!(mdia.mdhd.timescale, timescale, "{name}");
        assert_eq!(&description.entry[4..8], entry.as_bytes(), "{name}");
        assert_eq!(mdia.minf.stbl.stsd.codecs.len(), 1, "{name}");
        assert!(!matches!(mdia.minf.stbl.stsd.codecs[0], mp4_atom::Codec::Unknown(..)), "{name}");
    }
}

#[test]
fn what_cannot_be_carried_is_not_described() {
    let (v, a) = (TrackId::VIDEO, TrackId::AUDIO);
    for (id, codec) in [
        (v, Codec::Vp8),
        (v, Codec::H265(h265::Config::default())),
        (v, Codec::H264(h264::Config::default())),
        (a, Codec::Speex),
        (a, Codec::Aac(aac::Config::default())),
        (TrackId { kind: Kind::Audio, index: 1 }, Codec::Opus(opus::Config::default())),
        (TrackId::DATA, Codec::Amf),
    ] {
        assert_eq!(Description::of(&track(id, codec, &[])), None);
    }
}

#[test]
fn the_details_of_sound_are_told() {
    let moov = moov(&init(&[&video(), &audio()]));
    assert_eq!(moov.trak.iter().map(|trak| trak.tkhd.track_id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(moov.mvex.unwrap().trex.len(), 2);
    let mp4_atom::Codec::Mp4a(mp4a) = &moov.trak[1].mdia.minf.stbl.stsd.codecs[0] else { panic!() };
    assert_eq!((mp4a.audio.channel_count, mp4a.audio.sample_rate.integer()), (2, 44_100));
    let config = &mp4a.esds.es_desc.dec_config;
    assert_eq!(config.object_type_indication, 0x40);
    let mp4_atom::Codec::Avc1(avc1) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else { panic!() };
    assert_eq!((avc1.visual.width, avc1.visual.height), (1280, 720));
    let opus = describe(TrackId::AUDIO, Codec::Opus(opus::Config::parse(HEAD).unwrap()), HEAD);
    assert!(opus.entry.ends_with(&[0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]));
}

fn sample(duration: u32, size: u32, offset: i32, sync: bool) -> Sample {
    Sample { duration, size, offset, sync }
}

/// A fragment with samples that are filled with their number.
fn made(track: u32, start: u64, samples: &[Sample]) -> Bytes {
    let data: Vec<Vec<u8>> = samples.iter().zip(0u8..).map(|(s, n)| vec![n; s.size as usize]).collect();
    fragment(7, track, start, samples, data.iter().map(|data| &data[..]))
}

#[test]
fn a_fragment_is_read_by_others() {
    let samples = [sample(3600, 5, 7200, true), sample(3600, 3, 0, false), sample(3510, 4, -90, false)];
    let bytes = made(1, 1 << 40, &samples);
    let [Any::Moof(moof), Any::Mdat(mdat)] = &atoms(&bytes)[..] else { panic!() };
    assert_eq!(moof.mfhd.sequence_number, 7);
    let traf = &moof.traf[0];
    assert_eq!((traf.tfhd.track_id, traf.tfdt.as_ref().unwrap().base_media_decode_time), (1, 1 << 40));
    let trun = &traf.trun[0];
    let at = trun.data_offset.unwrap() as usize;
    assert_eq!(&bytes[at..], [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(&mdat.data[..], &bytes[at..]);
    let told: Vec<_> = trun.samples.iter().map(|s| (s.duration, s.size, s.cts)).collect();
    assert_eq!(
        told,
        [(Some(3600), Some(5), Some(7200)), (Some(3600), Some(3), Some(0)), (Some(3510), Some(4), Some(-90))]
    );
    // The last one is the first again: nothing is told of each but its size.
    let small = made(2, 0, &[sample(1024, 2, 0, true); 10]);
    assert_eq!(small.len(), 8 + 16 + 8 + 24 + 20 + 20 + 10 * 4 + 8 + 20);
}

#[test]
fn the_header_of_a_box() {
    assert_eq!(header(b"\0\0\0\x08free"), Some(Header { size: 8, kind: *b"free", length: 8 }));
    let large = b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0";
    assert_eq!(header(large), Some(Header { size: 1 << 32, kind: *b"mdat", length: 16 }));
    assert_eq!(header(b"\0\0\0\x07free"), None);
    assert_eq!(header(&large[..15]), None);
    assert_eq!(SEGMENT_TYPE.len(), 0x18);
}

/// A recording of some fragments, as bytes; and its samples.
fn recorded(fragments: &[Bytes]) -> (Vec<u8>, Movie, usize) {
    let head = recording(&[&video(), &audio()]);
    let mut movie = Movie::read(&head).unwrap();
    let mut file = head.to_vec();
    for fragment in fragments {
        movie.add(file.len() as u64, fragment).unwrap();
        file.extend_from_slice(fragment);
    }
    (file, movie, head.len())
}

#[test]
fn a_recording_becomes_a_plain_file() {
    let pictures = [sample(3600, 5, 3600, true), sample(3600, 3, 7200, false), sample(3600, 4, 0, false)];
    let sound = [sample(1024, 2, 0, true); 5];
    let fragments = [
        made(1, 90_000, &pictures),
        made(2, 44_100, &sound),
        // A gap of one picture.
        made(1, 90_000 + 4 * 3600, &pictures),
        made(2, 44_100 + 5 * 1024, &sound),
    ];
    let (mut file, movie, head) = recorded(&fragments);
    assert_eq!(movie.duration(), Micros::from_millis(320));
    let grown = atoms(&file);
    assert!(matches!(&grown[..3], [Any::Ftyp(_), Any::Moov(_), Any::Free(_)]) && grown.len() == 3 + 8);
    let end = file.len();
    file.extend_from_slice(&movie.moov());
    let sealed = seal(&file[..head], end as u64).unwrap();
    assert_eq!(sealed.len(), head);
    file[..head].copy_from_slice(&sealed);
    assert_eq!(seal(&file[..head], end as u64), Err(Error::Damaged("moov")), "it is sealed");
    assert!(matches!(&atoms(&file)[..], [Any::Ftyp(_), Any::Free(_), Any::Mdat(_), Any::Moov(_)]));
    let moov = moov(&file);
    assert!(moov.mvex.is_none());
    let [v, a] = &moov.trak[..] else { panic!() };
    let stbl = &v.mdia.minf.stbl;
    let runs: Vec<_> = stbl.stts.entries.iter().map(|e| (e.sample_count, e.sample_delta)).collect();
    assert_eq!(runs, [(2, 3600), (1, 7200), (3, 3600)]);
    assert_eq!(stbl.stss.as_ref().unwrap().entries, [1, 4]);
    assert_eq!(stbl.stsc.entries.len(), 1);
    let offsets = &stbl.stco.as_ref().unwrap().entries;
    assert_eq!(file[offsets[1] as usize..][..12], [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]);
    assert!(a.mdia.minf.stbl.stss.is_none() && a.mdia.minf.stbl.ctts.is_none());
    assert_eq!(a.edts, None, "sound begins the movie");
    // The pictures are shown 40 ms later, from their own 40 ms on.
    let edits = &v.edts.as_ref().unwrap().elst.as_ref().unwrap().entries;
    assert_eq!(edits.len(), 2);
    assert_eq!((edits[0].segment_duration, edits[1].segment_duration), (40, 280));
    assert_eq!((v.mdia.mdhd.duration, moov.mvhd.duration), (7 * 3600, 320));
}

#[test]
fn far_samples_have_long_offsets() {
    let head = recording(&[&audio()]);
    let mut movie = Movie::read(&head).unwrap();
    movie.add(5 << 32, &made(2, 0, &[sample(1024, 2, 0, true)])).unwrap();
    assert!(moov(&movie.moov()).trak[0].mdia.minf.stbl.co64.is_some());
    assert_eq!(movie.add(0, &made(1, 0, &[])), Err(Error::UnknownTrack(1)));
    assert_eq!(movie.add(0, b"\0\0\0\x08free"), Err(Error::Damaged("moof")));
}

proptest! {
    #[test]
    fn fragments_round_trip(
        track: u32,
        start: u64,
        samples in prop::collection::vec((0u32..4, 0u32..30, prop_oneof![Just(0), any::<i32>()], any::<bool>()), 1..20),
    ) {
        let samples: Vec<Sample> = samples.into_iter().map(|(d, z, o, s)| sample(d * 90, z, o, s)).collect();
        let bytes = made(track, start, &samples);
        let moof = super::boxes::find(&bytes, b"moof").unwrap();
        let listed = super::fragment::read(moof).unwrap();
        prop_assert_eq!((listed.track, listed.start, &listed.samples), (track, start, &samples));
        prop_assert_eq!(listed.data, moof.len() as u64 + 16);
    }

    #[test]
    fn lengths_of_a_movie_are_those_of_its_fragments(
        fragments in prop::collection::vec((any::<bool>(), prop::collection::vec((1u32..9000, 0u32..30, 0i32..9000), 1..8)), 1..20),
    ) {
        let mut ends = [0; 2];
        let mut made_all = Vec::new();
        for (is_video, samples) in fragments {
            let samples: Vec<Sample> =
                samples.into_iter().map(|(d, z, o)| sample(d, z, if is_video { o } else { 0 }, true)).collect();
            let at = usize::from(!is_video);
            made_all.push(made(at as u32 + 1, ends[at], &samples));
            ends[at] += samples.iter().map(|s| u64::from(s.duration)).sum::<u64>();
        }
        let (_, movie, _) = recorded(&made_all);
        let moov = moov(&movie.moov());
        for trak in &moov.trak {
            let at = trak.tkhd.track_id as usize - 1;
            prop_assert_eq!(trak.mdia.mdhd.duration, ends[at]);
        }
    }
}

#[test]
fn a_head_that_is_damaged_is_refused() {
    let head = recording(&[&video(), &audio()]);
    for cut in 0..head.len() {
        let _ = Movie::read(&head[..cut]).map(|movie| assert!(movie.is_empty()));
        assert!(seal(&head[..cut], 1 << 20).is_err());
    }
    assert!(seal(&head, 3).is_err());
    let _ = mp4_atom::Ftyp::decode(&mut &head[8..]);
}
