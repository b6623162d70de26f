//! The form that writes FLV tags: one tag per frame, with the spelling of the publisher, on the stream's time line.
//! It runs once per stream; what differs per player (the envelope, the base of time) is not its business.

use bytes::Bytes;
use media::codec::{Codec, mp3};
use media::{Dialect, Frame, Kind, Place, Remux, Sound, Stamped, Track, TrackId, Tracks};

use super::coding::Coding;
use super::enhanced::{self, CODED_FRAMES, SEQUENCE_START, VIDEO_CODED_FRAMES_X};
use super::frame_type::{INTER, KEY};
use super::{Demux, Header, MAX_BODY, Tag, TagKind};
use crate::entry::Entry;
use crate::timeline::{Jitter, Timeline};

/// How the form treats time and repetition.
#[derive(Clone, Copy, Debug, Default)]
pub struct MuxOptions {
    /// What happens to timestamps.
    pub jitter: Jitter,
    /// `reduce_sequence_header`: metadata that is byte for byte the same as before is not sent again. Sequence headers
    /// never are.
    pub reduce_sequence_header: bool,
}

/// The FLV form of a stream. Init slots: 0 the metadata, then the sequence headers of video and audio in turn, the main
/// tracks first. It may run on when one publisher follows another: the time line continues.
#[derive(Debug)]
pub struct Mux {
    options: MuxOptions,
    tracks: Tracks,
    line: Timeline,
    entry: Entry,
}

impl Mux {
    /// A form at the start of its time line.
    pub fn new(options: MuxOptions) -> Self {
        Self {
            options,
            tracks: Tracks::default(),
            line: Timeline::new(options.jitter),
            entry: Entry::default(),
        }
    }

    fn media(&mut self, frame: &Frame) -> Option<Stamped<Tag>> {
        let track = self.tracks.find(frame.track)?;
        let tag = frame_tag(track, frame)?;
        let time = match frame.track.kind {
            Kind::Data => self.line.place(frame.dts),
            _ => self.line.advance(frame.track, frame.dts),
        };
        let key = self.entry.next(frame, |kind| self.tracks.find(TrackId { kind, index: 0 }).is_some());
        Some(Stamped { time, place: Place::Media { track: frame.track, key }, unit: tag })
    }
}

impl Remux for Mux {
    type Unit = Tag;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Tag>>) {
        let time = self.line.now();
        let mut push = |slot, unit| out.push(Stamped { time, place: Place::Init { slot }, unit });
        // When nothing at all is new, the publisher has sent its metadata again.
        let repeated = self.tracks == *tracks && !self.options.reduce_sequence_header;
        if let Some(metadata) = &tracks.metadata
            && (repeated || self.tracks.metadata.as_ref() != Some(metadata))
            && metadata.len() <= MAX_BODY
        {
            push(0, Tag { kind: TagKind::Script, header: Header::default(), body: metadata.clone() });
        }
        for track in tracks.iter().filter(|track| self.tracks.find(track.id) != Some(track)) {
            if let Some((slot, tag)) = slot(track.id).zip(config_tag(track)) {
                push(slot, tag);
            }
        }
        self.tracks = tracks.clone();
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Tag>>) {
        out.extend(self.media(frame));
    }

    /// FLV can carry Opus by enhanced RTMP, and G.711, but ordinary players cannot play that.
    fn sound(&self) -> Sound {
        Sound::Flv
    }
}

/// The init slot of a track's sequence header.
fn slot(id: TrackId) -> Option<u8> {
    let pair = (id.index <= Demux::MAX_INDEX).then_some(id.index * 2)?;
    match id.kind {
        Kind::Video => Some(pair + 1),
        Kind::Audio => Some(pair + 2),
        Kind::Data => None,
    }
}

/// The sequence header of a track, if it has one.
fn config_tag(track: &Track) -> Option<Tag> {
    let header = match spelling(track)? {
        Spelling::Plain(_) | Spelling::Script => return None,
        Spelling::Classic(first) => match track.id.kind {
            Kind::Video => Header::new(&[&[KEY << 4 | first, 0, 0, 0, 0]]),
            _ => Header::new(&[&[first, 0]]),
        },
        // What such a codec may start without is not made up here.
        Spelling::FourCc(_) if track.config.is_empty() => return None,
        Spelling::FourCc(coding) => enhanced::header(track.id, coding, KEY, SEQUENCE_START, &[]),
    };
    tag(track.id.kind, header?, &track.config)
}

/// The tag of a frame; `None` when it does not fit, or when FLV has no way to carry the track.
fn frame_tag(track: &Track, frame: &Frame) -> Option<Tag> {
    let frame_type = if frame.key { KEY } else { INTER };
    // By rounded times, so that a player which adds the two gets the rounded time of presentation.
    let composition = (frame.pts.millis() - frame.dts.millis()).clamp(-0x80_0000, 0x7f_ffff) as i32;
    let [_, c0, c1, c2] = composition.to_be_bytes();
    let header = match (spelling(track)?, track.id.kind) {
        (Spelling::Script, _) => Some(Header::default()),
        (Spelling::Plain(id), Kind::Video) => Header::new(&[&[frame_type << 4 | id]]),
        (Spelling::Plain(first), _) => Header::new(&[&[first]]),
        (Spelling::Classic(id), Kind::Video) => Header::new(&[&[frame_type << 4 | id, 1, c0, c1, c2]]),
        (Spelling::Classic(first), _) => Header::new(&[&[first, 1]]),
        (Spelling::FourCc(coding), _) if !coding.has_units() => {
            enhanced::header(track.id, coding, frame_type, CODED_FRAMES, &[])
        }
        (Spelling::FourCc(coding), _) if composition == 0 => {
            enhanced::header(track.id, coding, frame_type, VIDEO_CODED_FRAMES_X, &[])
        }
        (Spelling::FourCc(coding), _) => {
            enhanced::header(track.id, coding, frame_type, CODED_FRAMES, &[c0, c1, c2])
        }
    };
    tag(track.id.kind, header?, &frame.data)
}

fn tag(kind: Kind, header: Header, body: &Bytes) -> Option<Tag> {
    let kind = match kind {
        Kind::Video => TagKind::Video,
        Kind::Audio => TagKind::Audio,
        Kind::Data => TagKind::Script,
    };
    let tag = Tag { kind, header, body: body.clone() };
    (tag.len() <= MAX_BODY).then_some(tag)
}

/// How the tags of a track open.
#[derive(Clone, Copy)]
enum Spelling {
    /// Classic, with a packet type: the codec id of video, or the first byte of audio.
    Classic(u8),
    /// Classic, the payload follows at once: the same.
    Plain(u8),
    /// Enhanced.
    FourCc(Coding),
    /// A data message, which is its own tag.
    Script,
}

/// `None` for an additional track of a codec that only classic FLV knows: it has one track per kind.
fn spelling(track: &Track) -> Option<Spelling> {
    let coding = Coding::of(&track.codec);
    if track.id.kind == Kind::Data {
        return Some(Spelling::Script);
    }
    if track.id.index > 0 {
        return coding.map(Spelling::FourCc);
    }
    Some(match (&track.codec, track.dialect, coding) {
        (Codec::H265(_), Dialect::LegacyId, _) => Spelling::Classic(12),
        (Codec::Av1(_), Dialect::LegacyId, _) => Spelling::Classic(13),
        (_, Dialect::FourCc, Some(coding)) => Spelling::FourCc(coding),
        (Codec::H264(_), ..) => Spelling::Classic(7),
        // 44.1 kHz stereo whatever the stream is: the standard says that AAC tells itself.
        (Codec::Aac(_), ..) => Spelling::Classic(0xaf),
        (codec, ..) => match track.id.kind {
            Kind::Video => match codec {
                Codec::Flv { id } => Spelling::Plain(id & 0x0f),
                _ => Spelling::FourCc(coding?),
            },
            _ => match first_byte(codec, &track.config) {
                Some(first) => Spelling::Plain(first),
                None => Spelling::FourCc(coding?),
            },
        },
    })
}

/// The byte that opens each audio tag of a codec without a sequence header: as the publisher wrote it, or made up for
/// sound that did not come as FLV.
fn first_byte(codec: &Codec, config: &[u8]) -> Option<u8> {
    let made_up = match codec {
        Codec::Mp3(config) => mp3_first_byte(config),
        Codec::G711 { mu_law: false } => 0x72,
        Codec::G711 { mu_law: true } => 0x82,
        Codec::Speex => 0xb6,
        Codec::Flv { id } => id << 4 | 0x0f,
        _ => return None,
    };
    match config {
        [first] => Some(*first),
        _ => Some(made_up),
    }
}

/// Format 2 (or 14 for 8 kHz), the nearest of four rates, 16 bits, channels (§E.4.2.1).
fn mp3_first_byte(config: &mp3::Config) -> u8 {
    let (format, rate) = match config.sample_rate {
        8000 => (14, 0),
        0..=7999 => (2, 0),
        8001..=16_000 => (2, 1),
        16_001..=32_000 => (2, 2),
        _ => (2, 3),
    };
    format << 4 | rate << 2 | 0x02 | u8::from(config.channels > 1)
}

#[cfg(test)]
mod tests {
    use media::Micros;
    use media::codec::{aac, av1, h264, h265, opus};

    use super::*;
    use crate::flv::demux::tests::{AVCC, HVCC};
    use crate::flv::{DemuxOptions, Demuxed};

    const UNIT: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];
    const OFF: MuxOptions = MuxOptions { jitter: Jitter::Off, reduce_sequence_header: false };

    fn track(id: TrackId, dialect: Dialect, codec: Codec, config: &'static [u8]) -> Track {
        Track { id, codec, config: Bytes::from_static(config), dialect }
    }

    fn h264() -> Codec {
        Codec::H264(h264::Config::parse(AVCC).unwrap())
    }

    fn h265() -> Codec {
        Codec::H265(h265::Config::parse(HVCC).unwrap())
    }

    fn aac() -> Codec {
        Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap())
    }

    fn index(kind: Kind, index: u8) -> TrackId {
        TrackId { kind, index }
    }

    fn tracks(list: impl IntoIterator<Item = Track>) -> Tracks {
        let mut tracks = Tracks::default();
        list.into_iter().for_each(|track| assert!(tracks.set(track)));
        tracks
    }

    fn frame(track: TrackId, ms: i64, composition: i64, key: bool) -> Frame {
        let data = if track.kind == Kind::Video { UNIT } else { b"sound" };
        let (dts, pts) = (Micros::from_millis(ms), Micros::from_millis(ms + composition));
        Frame { track, dts, pts, key, data: Bytes::from_static(data) }
    }

    fn set(mux: &mut Mux, tracks: &Tracks) -> Vec<Stamped<Tag>> {
        let mut out = Vec::new();
        mux.tracks(tracks, &mut out);
        out
    }

    fn put(mux: &mut Mux, frame: Frame) -> Vec<Stamped<Tag>> {
        let mut out = Vec::new();
        mux.frame(&frame, &mut out);
        out
    }

    /// The headers of a track's sequence header (if any) and of two frames, the first with composition time.
    fn headers(track: Track) -> Vec<Vec<u8>> {
        let id = track.id;
        let mut mux = Mux::new(OFF);
        let mut units = set(&mut mux, &tracks([track]));
        units.extend(put(&mut mux, frame(id, 0, 40, true)));
        units.extend(put(&mut mux, frame(id, 40, 0, false)));
        units.iter().map(|u| u.unit.header.as_slice().to_vec()).collect()
    }

    #[test]
    fn every_spelling() {
        let (video, audio) = (TrackId::VIDEO, TrackId::AUDIO);
        let (standard, legacy, fourcc) = (Dialect::Standard, Dialect::LegacyId, Dialect::FourCc);
        let av1 = Codec::Av1(av1::Config::default());
        let opus = Codec::Opus(opus::Config::default());
        let mp3 = Codec::Mp3(mp3::Config { sample_rate: 22_050, channels: 1, bitrate: None });
        let cases: Vec<(Track, Vec<&[u8]>)> = vec![
            (
                track(video, standard, h264(), AVCC),
                vec![&[0x17, 0, 0, 0, 0], &[0x17, 1, 0, 0, 40], &[0x27, 1, 0, 0, 0]],
            ),
            (track(video, fourcc, h264(), AVCC), vec![b"\x90avc1", b"\x91avc1\0\0\x28", b"\xa3avc1"]),
            (track(video, standard, h265(), HVCC), vec![b"\x90hvc1", b"\x91hvc1\0\0\x28", b"\xa3hvc1"]),
            (
                track(video, legacy, h265(), HVCC),
                vec![&[0x1c, 0, 0, 0, 0], &[0x1c, 1, 0, 0, 40], &[0x2c, 1, 0, 0, 0]],
            ),
            (track(video, standard, av1.clone(), b"av1C"), vec![b"\x90av01", b"\x91av01", b"\xa1av01"]),
            (
                track(video, legacy, av1, b"av1C"),
                vec![&[0x1d, 0, 0, 0, 0], &[0x1d, 1, 0, 0, 40], &[0x2d, 1, 0, 0, 0]],
            ),
            (track(video, standard, Codec::Vp8, b""), vec![b"\x91vp08", b"\xa1vp08"]),
            (track(video, standard, Codec::Flv { id: 4 }, b""), vec![&[0x14], &[0x24]]),
            (track(audio, standard, aac(), &[0x12, 0x10]), vec![&[0xaf, 0], &[0xaf, 1], &[0xaf, 1]]),
            (track(audio, fourcc, aac(), &[0x12, 0x10]), vec![b"\x90mp4a", b"\x91mp4a", b"\x91mp4a"]),
            (track(audio, standard, opus, b"head"), vec![b"\x90Opus", b"\x91Opus", b"\x91Opus"]),
            (track(audio, standard, mp3.clone(), b""), vec![&[0x2a], &[0x2a]]),
            (track(audio, standard, mp3.clone(), &[0x2f]), vec![&[0x2f], &[0x2f]]),
            (track(audio, fourcc, mp3, b""), vec![b"\x91.mp3", b"\x91.mp3"]),
            (track(audio, standard, Codec::G711 { mu_law: true }, b""), vec![&[0x82], &[0x82]]),
            (track(audio, standard, Codec::G711 { mu_law: false }, &[0x70]), vec![&[0x70], &[0x70]]),
            (track(audio, standard, Codec::Speex, b""), vec![&[0xb6], &[0xb6]]),
            (track(audio, standard, Codec::Flv { id: 6 }, &[0x6a]), vec![&[0x6a], &[0x6a]]),
            (
                track(index(Kind::Video, 1), standard, h264(), AVCC),
                vec![b"\x96\0avc1\x01", b"\x96\x01avc1\x01\0\0\x28", b"\xa6\x03avc1\x01"],
            ),
            (
                track(index(Kind::Audio, 2), standard, aac(), &[0x12, 0x10]),
                vec![b"\x95\0mp4a\x02", b"\x95\x01mp4a\x02", b"\x95\x01mp4a\x02"],
            ),
            (track(index(Kind::Audio, 1), standard, Codec::Speex, b""), vec![]),
        ];
        for (track, want) in cases {
            let name = format!("{:?} {:?}", track.codec, track.dialect);
            assert_eq!(headers(track), want, "{name}");
        }
    }

    #[test]
    fn what_is_muxed_demuxes_to_the_same() {
        let cases = [
            (track(TrackId::VIDEO, Dialect::Standard, h264(), AVCC), Dialect::FourCc),
            (track(TrackId::VIDEO, Dialect::LegacyId, h265(), HVCC), Dialect::Standard),
            (track(TrackId::VIDEO, Dialect::FourCc, h265(), HVCC), Dialect::Standard),
        ];
        for (video, audio) in cases {
            let before = tracks([
                video,
                track(index(Kind::Video, 1), Dialect::FourCc, h264(), AVCC),
                track(TrackId::AUDIO, audio, aac(), &[0x12, 0x10]),
                track(index(Kind::Audio, 3), Dialect::FourCc, Codec::Ac3, b""),
            ]);
            let ids: Vec<_> = before.iter().map(|t| t.id).collect();
            // Begins just before the 32-bit timestamps wrap.
            let frames: Vec<_> = (0..40)
                .map(|n| {
                    let id = ids[n as usize % ids.len()];
                    let is_video = id.kind == Kind::Video;
                    let composition = if is_video { n % 3 * 40 - 40 } else { 0 };
                    frame(id, (1 << 32) - 100 + n * 20, composition, !is_video || n % 8 == 0)
                })
                .collect();
            let mut mux = Mux::new(OFF);
            let mut units = set(&mut mux, &before);
            frames.iter().for_each(|f| mux.frame(f, &mut units));

            let mut demux = Demux::new(DemuxOptions::default());
            let mut out = Vec::new();
            for unit in units {
                let mut laid = Vec::new();
                unit.unit.write(0, &mut laid);
                let body = Bytes::copy_from_slice(&laid[11..laid.len() - 4]);
                demux.push(unit.unit.kind, unit.time.millis() as u32, body, &mut out).unwrap();
            }
            assert_eq!(demux.tracks(), &before);
            out.retain(|event| *event != Demuxed::Tracks);
            assert_eq!(out, frames.into_iter().map(Demuxed::Frame).collect::<Vec<_>>());
        }
    }

    #[test]
    fn init_slots_and_only_what_changed() {
        let mut mux = Mux::new(MuxOptions::default());
        let mut all = tracks([
            track(TrackId::VIDEO, Dialect::Standard, h264(), AVCC),
            track(index(Kind::Video, 1), Dialect::FourCc, h264(), AVCC),
            track(TrackId::AUDIO, Dialect::Standard, aac(), &[0x12, 0x10]),
            track(index(Kind::Audio, 1), Dialect::FourCc, aac(), &[0x12, 0x10]),
        ]);
        all.metadata = Some(Bytes::from_static(b"meta"));
        let slots = |units: &[Stamped<Tag>]| -> Vec<u8> {
            units
                .iter()
                .map(|u| match u.place {
                    Place::Init { slot } => slot,
                    Place::Media { .. } => panic!("media"),
                })
                .collect()
        };
        assert_eq!(slots(&set(&mut mux, &all)), [0, 1, 3, 2, 4]);
        put(&mut mux, frame(TrackId::VIDEO, 500, 0, true));
        put(&mut mux, frame(TrackId::VIDEO, 540, 0, false));
        all.set(track(TrackId::AUDIO, Dialect::Standard, aac(), &[0x12, 0x08]));
        let changed = set(&mut mux, &all);
        assert_eq!(slots(&changed), [2]);
        assert_eq!(changed[0].time.millis(), 40, "the time of the newest unit");
        assert_eq!(slots(&set(&mut mux, &all)), [0], "repeated metadata");
        let mut mux = Mux::new(MuxOptions { reduce_sequence_header: true, ..MuxOptions::default() });
        set(&mut mux, &all);
        assert_eq!(slots(&set(&mut mux, &all)), [], "suppressed");
    }

    #[test]
    fn players_start_at_video_keyframes_while_there_is_video() {
        let mut mux = Mux::new(OFF);
        let audio = || frame(TrackId::AUDIO, 0, 0, true);
        let key = |units: Vec<Stamped<Tag>>| units[0].is_key();
        set(&mut mux, &tracks([track(TrackId::AUDIO, Dialect::Standard, aac(), &[0x12, 0x10])]));
        assert!(key(put(&mut mux, audio())), "no video");
        let both = tracks([
            track(TrackId::VIDEO, Dialect::Standard, h264(), AVCC),
            track(index(Kind::Video, 1), Dialect::FourCc, h264(), AVCC),
            track(TrackId::AUDIO, Dialect::Standard, aac(), &[0x12, 0x10]),
        ]);
        set(&mut mux, &both);
        assert!(key(put(&mut mux, frame(TrackId::VIDEO, 0, 0, true))));
        assert!(!key(put(&mut mux, frame(TrackId::VIDEO, 0, 0, false))));
        assert!(!key(put(&mut mux, frame(index(Kind::Video, 1), 0, 0, true))));
        for n in 1..=115 {
            assert!(!key(put(&mut mux, audio())), "audio frame {n}");
        }
        assert!(key(put(&mut mux, audio())), "the video is lost");
        put(&mut mux, frame(TrackId::VIDEO, 0, 0, false));
        assert!(!key(put(&mut mux, audio())), "and back");
    }

    #[test]
    fn time_goes_on_over_a_new_publisher() {
        let mut mux = Mux::new(MuxOptions::default());
        let list = tracks([track(TrackId::AUDIO, Dialect::Standard, aac(), &[0x12, 0x10])]);
        set(&mut mux, &list);
        let times = |mux: &mut Mux, times: [i64; 2]| {
            times.map(|t| put(mux, frame(TrackId::AUDIO, t, 0, true))[0].time.millis())
        };
        assert_eq!(times(&mut mux, [90_000, 90_023]), [0, 23]);
        set(&mut mux, &Tracks::default());
        assert_eq!(set(&mut mux, &list)[0].time.millis(), 23);
        assert_eq!(times(&mut mux, [0, 23]), [33, 56]);
    }

    #[test]
    fn drops_what_has_no_place() {
        let mut mux = Mux::new(OFF);
        assert!(put(&mut mux, frame(TrackId::VIDEO, 0, 0, true)).is_empty(), "an unknown track");
        set(&mut mux, &tracks([track(TrackId::AUDIO, Dialect::Standard, aac(), &[0x12, 0x10])]));
        let sized = |size| Frame { data: vec![0; size].into(), ..frame(TrackId::AUDIO, 0, 0, true) };
        assert_eq!(put(&mut mux, sized(MAX_BODY - 2)).len(), 1);
        assert!(put(&mut mux, sized(MAX_BODY - 1)).is_empty());
    }

    #[test]
    fn data_is_its_own_tag() {
        let mut mux = Mux::new(MuxOptions::default());
        set(&mut mux, &tracks([track(TrackId::DATA, Dialect::Standard, Codec::Amf, b"")]));
        let unit = put(&mut mux, frame(TrackId::DATA, 0, 0, true)).remove(0);
        assert_eq!((unit.unit.kind, unit.unit.len(), unit.is_key()), (TagKind::Script, 5, true));
    }
}
