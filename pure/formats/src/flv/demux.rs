//! Reads the tags of one publisher into tracks and frames. Payloads stay slices of the tag, except those which must be
//! rewritten to be canonical: start codes, and NAL lengths of one or two bytes.

use bytes::Bytes;
use media::codec::{Codec, h264, h265, mp3, nalu};
use media::{ByteReader, Dialect, Frame, Kind, Micros, Track, TrackId, Tracks, Unwrap31};

use super::coding::Coding;
use super::enhanced::{self, Packets};
use super::metadata::{self, Metadata};
use super::{Error, TagKind, frame_type};

/// What the demuxer must know besides the tags.
#[derive(Clone, Debug, Default)]
pub struct DemuxOptions {
    /// Becomes `server` in the metadata.
    pub server: String,
    /// Becomes `server_version` in the metadata.
    pub server_version: String,
    /// `try_annexb_first`: an H.264 or H.265 payload that could be read both as 4-byte start codes and as 4-byte lengths
    /// is taken as start codes. Payloads that can be read in one way only are taken that way in any case.
    pub try_annexb_first: bool,
    /// Does not tell the size of the pictures, as with `parse_sps off`.
    pub skip_sps: bool,
}

/// What came out of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demuxed {
    /// A track, its configuration or the metadata is new: see [`Demux::tracks`]. Repeated metadata is told again.
    Tracks,
    /// A frame of a known track.
    Frame(Frame),
}

/// The demuxer of one publisher.
#[derive(Debug, Default)]
pub struct Demux {
    options: DemuxOptions,
    tracks: Tracks,
    clock: Unwrap31,
    metadata: Metadata,
    /// The tracks whose publisher uses NAL lengths of one or two bytes, with that size.
    narrow: Vec<(TrackId, u8)>,
}

/// A configuration record beyond this is an attack: real ones have a few hundred bytes.
const MAX_CONFIG: usize = 64 * 1024;

/// How the payload of one packet is to be read.
#[derive(Clone, Copy)]
struct Packet {
    track: TrackId,
    coding: Coding,
    dialect: Dialect,
    key: bool,
    dts: Micros,
    /// Milliseconds from decoding to presentation.
    composition: i32,
}

impl Demux {
    /// The highest track number of enhanced RTMP that is accepted.
    pub const MAX_INDEX: u8 = 126;

    /// A demuxer that has seen nothing.
    pub fn new(options: DemuxOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// The tracks and the metadata as they are now.
    pub fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// Reads one tag and pushes what it holds. `timestamp` is in milliseconds and may wrap.
    ///
    /// # Errors
    /// When the tag cannot be used. It is dropped (of a multitrack tag: the tracks that cannot be used), and the demuxer
    /// is ready for the next one.
    pub fn push(
        &mut self,
        kind: TagKind,
        timestamp: u32,
        body: Bytes,
        out: &mut Vec<Demuxed>,
    ) -> Result<(), Error> {
        let mut clock = self.clock;
        let dts = Micros::from_millis(clock.unwrap(timestamp));
        let start = out.len();
        let result = match kind {
            TagKind::Script => self.script(dts, &body, out),
            // An empty audio message is how old Flash encoders said "silence".
            _ if body.is_empty() => Ok(()),
            TagKind::Video => self.video(dts, &body, out),
            TagKind::Audio => self.audio(dts, &body, out),
        };
        // Only pictures and sound move the clock: encoders stamp sequence headers and data with zero at any time.
        let is_media = |e: &Demuxed| matches!(e, Demuxed::Frame(f) if f.track.kind != Kind::Data);
        if out.iter().skip(start).any(is_media) {
            self.clock = clock;
        }
        result
    }

    /// VideoTagHeader, classic (§E.4.3.1) or enhanced.
    fn video(&mut self, dts: Micros, body: &Bytes, out: &mut Vec<Demuxed>) -> Result<(), Error> {
        let mut r = ByteReader::new(body);
        let cut = |cut| Error::Truncated { kind: Kind::Video, cut };
        let first = r.u8().map_err(cut)?;
        if first & 0x80 != 0 {
            return self.enhanced(Kind::Video, dts, body, out);
        }
        let id = first & 0x0f;
        let coding = match id {
            2..=6 => None,
            7 => Some(Coding::H264),
            12 => Some(Coding::H265),
            13 => Some(Coding::Av1),
            _ => return Err(Error::CodecId(id)),
        };
        let Some(key) = frame_type::is_key(first >> 4)? else { return Ok(()) };
        let track = TrackId::VIDEO;
        let Some(coding) = coding else {
            self.define(track, Codec::Flv { id }, Bytes::new(), Dialect::Standard, out)?;
            emit(track, dts, 0, key, body.slice(1..), out);
            return Ok(());
        };
        let packet_type = r.u8().map_err(cut)?;
        let composition = r.i24().map_err(cut)?;
        let payload = body.slice(r.position()..);
        let dialect = if coding == Coding::H264 { Dialect::Standard } else { Dialect::LegacyId };
        let packet = Packet { track, coding, dialect, key, dts, composition };
        match packet_type {
            0 => self.configure(packet, &payload, out),
            1 => self.frame(packet, payload, out),
            2 => Ok(()), // end of sequence
            value => Err(Error::PacketType { kind: Kind::Video, value }),
        }
    }

    /// AudioTagHeader, classic (§E.4.2.1) or enhanced.
    fn audio(&mut self, dts: Micros, body: &Bytes, out: &mut Vec<Demuxed>) -> Result<(), Error> {
        let mut r = ByteReader::new(body);
        let cut = |cut| Error::Truncated { kind: Kind::Audio, cut };
        let first = r.u8().map_err(cut)?;
        let format = first >> 4;
        match format {
            9 => self.enhanced(Kind::Audio, dts, body, out),
            10 => {
                let packet_type = r.u8().map_err(cut)?;
                let payload = body.slice(r.position()..);
                let packet = sound(TrackId::AUDIO, Coding::Aac, Dialect::Standard, dts);
                match packet_type {
                    0 => self.configure(packet, &payload, out),
                    1 => self.frame(packet, payload, out),
                    value => Err(Error::PacketType { kind: Kind::Audio, value }),
                }
            }
            _ => {
                let payload = body.slice(1..);
                self.define_classic_sound(first, &payload, out)?;
                emit(TrackId::AUDIO, dts, 0, true, payload, out);
                Ok(())
            }
        }
    }

    /// Sound without a sequence header: the first byte of every tag is all that describes it.
    fn define_classic_sound(
        &mut self,
        first: u8,
        payload: &[u8],
        out: &mut Vec<Demuxed>,
    ) -> Result<(), Error> {
        let known =
            self.tracks.audio().is_some_and(|t| t.dialect == Dialect::Standard && *t.config == [first]);
        if known {
            return Ok(());
        }
        let codec = match first >> 4 {
            2 | 14 => Codec::Mp3(mp3::Config::parse(payload).unwrap_or(mp3_of(first))),
            7 => Codec::G711 { mu_law: false },
            8 => Codec::G711 { mu_law: true },
            11 => Codec::Speex,
            id => Codec::Flv { id },
        };
        self.define(TrackId::AUDIO, codec, Bytes::copy_from_slice(&[first]), Dialect::Standard, out)
    }

    /// The packets of an enhanced tag. One that cannot be used does not spoil the others.
    fn enhanced(
        &mut self,
        kind: Kind,
        dts: Micros,
        body: &Bytes,
        out: &mut Vec<Demuxed>,
    ) -> Result<(), Error> {
        let Some(packets) = Packets::read(kind, body)? else { return Ok(()) };
        let (packet_type, key) = (packets.packet_type, packets.key);
        let dts = dts + Micros((packets.nanos / 1000).into());
        let mut result = Ok(());
        for packet in packets {
            let done = packet.and_then(|packet| self.packet(packet, packet_type, key, dts, out));
            result = result.and(done);
        }
        result
    }

    fn packet(
        &mut self,
        enhanced::Packet { track, fourcc, payload }: enhanced::Packet,
        packet_type: u8,
        key: bool,
        dts: Micros,
        out: &mut Vec<Demuxed>,
    ) -> Result<(), Error> {
        let kind = track.kind;
        let coding = Coding::from_fourcc(kind, fourcc).ok_or(Error::FourCc { kind, fourcc })?;
        if track.index > Self::MAX_INDEX {
            return Err(Error::TrackIndex(track.index));
        }
        let mut packet = Packet { track, coding, dialect: Dialect::FourCc, key, dts, composition: 0 };
        match (kind, packet_type) {
            (_, enhanced::SEQUENCE_START) => self.configure(packet, &payload, out),
            (Kind::Video, enhanced::CODED_FRAMES) if coding.has_units() => {
                let mut r = ByteReader::new(&payload);
                packet.composition = r.i24().map_err(|cut| Error::Truncated { kind, cut })?;
                self.frame(packet, payload.slice(r.position()..), out)
            }
            (_, enhanced::CODED_FRAMES) | (Kind::Video, enhanced::VIDEO_CODED_FRAMES_X) => {
                self.frame(packet, payload, out)
            }
            // Nothing that a track or a frame could hold: the end of a sequence, colours, speaker layouts.
            (_, enhanced::SEQUENCE_END)
            | (Kind::Video, enhanced::VIDEO_METADATA)
            | (Kind::Audio, enhanced::AUDIO_CHANNELS) => Ok(()),
            (_, value) => Err(Error::PacketType { kind, value }),
        }
    }

    /// A sequence header.
    fn configure(&mut self, packet: Packet, record: &[u8], out: &mut Vec<Demuxed>) -> Result<(), Error> {
        let Packet { track, coding, dialect, .. } = packet;
        if record.len() > MAX_CONFIG {
            return Err(Error::TooLarge { what: "sequence header", size: record.len() });
        }
        let mut codec = coding.describe(record)?;
        if self.options.skip_sps {
            match &mut codec {
                Codec::H264(config) => (config.width, config.height, config.fps) = (None, None, None),
                Codec::H265(config) => (config.width, config.height) = (None, None),
                _ => {}
            }
        }
        let length_size = match &mut codec {
            Codec::H264(config) => std::mem::replace(&mut config.length_size, 4),
            Codec::H265(config) => std::mem::replace(&mut config.length_size, 4),
            _ => 4,
        };
        let config = match coding {
            Coding::H264 if length_size != 4 => h264::widen(record),
            Coding::H265 if length_size != 4 => h265::widen(record),
            // A copy, since it lives as long as the stream and must not hold a receive buffer.
            _ => Bytes::copy_from_slice(record),
        };
        self.define(track, codec, config, dialect, out)?;
        self.narrow.retain(|(id, _)| *id != track);
        if length_size != 4 {
            self.narrow.push((track, length_size));
        }
        Ok(())
    }

    /// A coded frame.
    fn frame(&mut self, packet: Packet, payload: Bytes, out: &mut Vec<Demuxed>) -> Result<(), Error> {
        let Packet { track, coding, dialect, key, dts, composition } = packet;
        if payload.is_empty() {
            return Ok(());
        }
        let known = self.tracks.find(track).is_some_and(|t| Coding::of(&t.codec) == Some(coding));
        if !known {
            let codec = coding.describe_frame(&payload).ok_or(Error::NoSequenceHeader(track))?;
            self.define(track, codec, Bytes::new(), dialect, out)?;
        }
        let data = if coding.has_units() { self.canonical(track, payload)? } else { payload };
        emit(track, dts, composition, key, data, out);
        Ok(())
    }

    /// The payload as NAL units with 4-byte lengths. Encoders also send shorter lengths, or start codes whatever their
    /// sequence header says.
    fn canonical(&self, track: TrackId, payload: Bytes) -> Result<Bytes, Error> {
        let size = self.narrow.iter().find(|(id, _)| *id == track).map_or(4, |(_, size)| *size);
        let counted = nalu::count(&payload, size);
        // Whoever reads three bytes `00 00 01` as a start code mistakes a first unit of 256 to 511 bytes; only four are a sign.
        let doubtful = self.options.try_annexb_first && payload.starts_with(&[0, 0, 0, 1]);
        if (counted.is_err() || doubtful) && nalu::is_annexb(&payload) {
            return Ok(nalu::from_annexb(&payload)?);
        }
        counted?;
        Ok(if size == 4 { payload } else { nalu::widen(&payload, size)? })
    }

    /// Script data (§E.4.4): metadata goes to the tracks, any other message becomes a frame.
    fn script(&mut self, dts: Micros, body: &Bytes, out: &mut Vec<Demuxed>) -> Result<(), Error> {
        // FFmpeg's timecode message is not AMF0.
        if body.len() == 4 && body.first() == Some(&0) {
            return Ok(());
        }
        let mut message = body.clone();
        let (mut name, mut at) = metadata::split_name(&message).ok_or(Error::Script)?;
        while name == b"@setDataFrame" {
            message = message.slice(at..);
            (name, at) = metadata::split_name(&message).ok_or(Error::Script)?;
        }
        if name != b"onMetaData" {
            self.define(TrackId::DATA, Codec::Amf, Bytes::new(), Dialect::Standard, out)?;
            emit(TrackId::DATA, dts, 0, true, message, out);
            return Ok(());
        }
        let own = [
            ("server", self.options.server.as_str()),
            ("server_version", self.options.server_version.as_str()),
        ];
        let arguments = message.get(at..).unwrap_or_default();
        self.tracks.metadata = Some(self.metadata.merge(arguments, &own)?);
        out.push(Demuxed::Tracks);
        Ok(())
    }

    /// Adds or replaces a track, and tells it unless it is the same as before.
    fn define(
        &mut self,
        id: TrackId,
        codec: Codec,
        config: Bytes,
        dialect: Dialect,
        out: &mut Vec<Demuxed>,
    ) -> Result<(), Error> {
        let track = Track { id, codec, config, dialect };
        if self.tracks.find(id) == Some(&track) {
            return Ok(());
        }
        if !self.tracks.set(track) {
            return Err(Error::TooManyTracks);
        }
        out.push(Demuxed::Tracks);
        Ok(())
    }
}

fn sound(track: TrackId, coding: Coding, dialect: Dialect, dts: Micros) -> Packet {
    Packet { track, coding, dialect, key: true, dts, composition: 0 }
}

/// Pushes a frame, unless it is empty: some encoders send such tags to keep a connection alive.
fn emit(track: TrackId, dts: Micros, composition: i32, key: bool, data: Bytes, out: &mut Vec<Demuxed>) {
    if !data.is_empty() {
        let pts = dts + Micros::from_millis(composition.into());
        out.push(Demuxed::Frame(Frame { track, dts, pts, key, data }));
    }
}

/// What the first byte of an audio tag tells about sound that does not tell itself.
fn mp3_of(first: u8) -> mp3::Config {
    let sample_rate = match (first >> 4, first >> 2 & 3) {
        (14, _) => 8000,
        (_, 0) => 5512,
        (_, 1) => 11_025,
        (_, 2) => 22_050,
        _ => 44_100,
    };
    mp3::Config { sample_rate, channels: 1 + (first & 1), bitrate: None }
}

#[cfg(test)]
pub(super) mod tests {
    use media::Tracks;
    use media::codec::aac;

    use super::*;
    use crate::amf0::{self, Value};

    /// x264, High, 1280x720; the NAL length size is in byte 4.
    pub(in crate::flv) const AVCC: &[u8] = &[
        1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 26, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb,
        0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x19, 0x60, 1, 0,
        4, 0x68, 0xeb, 0xe3, 0xcb,
    ];
    pub(in crate::flv) const HVCC: &[u8] =
        &[1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0];
    const UNIT: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];

    /// A demuxer and what the last tag gave.
    struct Fixture {
        demux: Demux,
        result: Result<(), Error>,
        frames: Vec<Frame>,
        changes: usize,
    }

    impl Fixture {
        fn new() -> Self {
            Self::with(DemuxOptions::default())
        }

        fn with(options: DemuxOptions) -> Self {
            Self { demux: Demux::new(options), result: Ok(()), frames: Vec::new(), changes: 0 }
        }

        fn push(&mut self, kind: TagKind, timestamp: u32, parts: &[&[u8]]) -> &mut Self {
            let mut out = Vec::new();
            self.result = self.demux.push(kind, timestamp, parts.concat().into(), &mut out);
            (self.frames, self.changes) = (Vec::new(), 0);
            for event in out {
                match event {
                    Demuxed::Tracks => self.changes += 1,
                    Demuxed::Frame(frame) => self.frames.push(frame),
                }
            }
            self
        }

        fn video(&mut self, timestamp: u32, parts: &[&[u8]]) -> &mut Self {
            self.push(TagKind::Video, timestamp, parts)
        }

        fn audio(&mut self, timestamp: u32, parts: &[&[u8]]) -> &mut Self {
            self.push(TagKind::Audio, timestamp, parts)
        }

        fn only(&self) -> &Frame {
            assert_eq!(self.result, Ok(()));
            assert_eq!(self.frames.len(), 1);
            &self.frames[0]
        }

        fn tracks(&self) -> &Tracks {
            self.demux.tracks()
        }
    }

    #[test]
    fn classic_h264_with_composition_time() {
        let mut f = Fixture::new();
        assert_eq!(f.video(0, &[&[0x17, 0, 0, 0, 0], AVCC]).changes, 1);
        let track = f.tracks().video().unwrap().clone();
        assert!(matches!(&track.codec, Codec::H264(c) if c.width == Some(1280) && c.height == Some(720)));
        assert_eq!((&track.config[..], track.dialect), (AVCC, Dialect::Standard));
        let key = f.video(40, &[&[0x17, 1, 0, 0, 80], UNIT]).only().clone();
        let (dts, pts) = (Micros::from_millis(40), Micros::from_millis(120));
        assert_eq!(key, Frame { track: TrackId::VIDEO, dts, pts, key: true, data: UNIT.into() });
        let inter = f.video(80, &[&[0x27, 1, 0xff, 0xff, 0xd8], UNIT]).only();
        assert_eq!((inter.pts.millis(), inter.key), (40, false));
        assert_eq!(f.video(120, &[&[0x17, 2, 0, 0, 0]]).result, Ok(()));
        assert_eq!(f.video(120, &[&[0x57, 0]]).frames, []);
        assert_eq!(f.video(0, &[&[0x17, 0, 0, 0, 0], AVCC]).changes, 0, "the same header again");
    }

    #[test]
    fn the_payload_is_a_slice_of_the_tag() {
        let mut f = Fixture::new();
        f.video(0, &[&[0x17, 0, 0, 0, 0], AVCC]);
        let body = Bytes::from([&[0x27, 1, 0, 0, 0], UNIT].concat());
        let mut out = Vec::new();
        f.demux.push(TagKind::Video, 0, body.clone(), &mut out).unwrap();
        let Some(Demuxed::Frame(frame)) = out.first() else { panic!("no frame") };
        assert_eq!(frame.data.as_ptr(), body[5..].as_ptr());
    }

    #[test]
    fn classic_sound() {
        let mut f = Fixture::new();
        assert_eq!(f.audio(0, &[&[0xaf, 1], b"early"]).result, Err(Error::NoSequenceHeader(TrackId::AUDIO)));
        f.audio(0, &[&[0xaf, 0, 0x12, 0x10]]);
        assert!(matches!(
            f.tracks().audio().unwrap().codec,
            Codec::Aac(aac::Config { sample_rate: 44_100, .. })
        ));
        assert_eq!(f.audio(23, &[&[0xaf, 1], b"raw"]).only().data, "raw");
        assert_eq!(f.audio(23, &[]).result, Ok(()), "silence");
        for (first, name) in [(0x2f, "MP3"), (0xb6, "Speex"), (0x72, "PCMA"), (0x82, "PCMU"), (0x6a, "Other")]
        {
            assert_eq!(f.audio(46, &[&[first], b"data"]).only().data, "data");
            assert_eq!(f.changes, 1);
            assert_eq!(f.audio(46, &[&[first], b"data"]).changes, 0);
            let track = f.tracks().audio().unwrap();
            assert_eq!((track.codec.name(), &track.config[..]), (name, &[first][..]));
        }
        f.audio(0, &[&[0x2e, 0xff, 0xf3, 0x84, 0xc4]]);
        let mp3 = mp3::Config { sample_rate: 24_000, channels: 1, bitrate: Some(64_000) };
        assert_eq!(f.tracks().audio().unwrap().codec, Codec::Mp3(mp3));
    }

    #[test]
    fn other_classic_video_passes_by_number() {
        let mut f = Fixture::new();
        let frame = f.video(0, &[&[0x24], b"vp6"]).only();
        assert_eq!((frame.key, &frame.data[..]), (false, &b"vp6"[..]));
        assert_eq!(f.tracks().video().unwrap().codec, Codec::Flv { id: 4 });
    }

    #[test]
    fn the_first_video_byte_is_checked() {
        let mut f = Fixture::new();
        for (first, error) in [
            (0x07, Error::FrameType(0)),
            (0x67, Error::FrameType(6)),
            (0x11, Error::CodecId(1)),
            (0x18, Error::CodecId(8)),
            (0xe1, Error::FrameType(6)),
        ] {
            assert_eq!(f.video(0, &[&[first, 0, 0, 0, 0, 0]]).result, Err(error));
        }
        assert!(matches!(f.video(0, &[&[0x17, 0, 0]]).result, Err(Error::Truncated { .. })));
        assert_eq!(
            f.video(0, &[&[0x17, 3, 0, 0, 0]]).result,
            Err(Error::PacketType { kind: Kind::Video, value: 3 })
        );
        assert!(f.tracks().is_empty());
    }

    #[test]
    fn the_old_private_numbers() {
        let mut f = Fixture::new();
        f.video(0, &[&[0x1c, 0, 0, 0, 0], HVCC]);
        assert_eq!(f.tracks().video().unwrap().dialect, Dialect::LegacyId);
        assert_eq!(f.video(40, &[&[0x1c, 1, 0, 0, 40], UNIT]).only().pts.millis(), 80);
        f.video(0, &[&[0x1d, 0, 0, 0, 0, 0x81, 8, 12, 0]]);
        assert_eq!(f.tracks().video().unwrap().codec.name(), "AV1");
        assert_eq!(f.video(40, &[&[0x2d, 1, 0, 0, 0], b"obu"]).only().data, "obu");
    }

    #[test]
    fn enhanced_video() {
        let mut f = Fixture::new();
        f.video(0, &[&[0x90], b"hvc1", HVCC]);
        let track = f.tracks().video().unwrap();
        assert_eq!((track.codec.name(), track.dialect), ("HEVC", Dialect::FourCc));
        let frame = f.video(40, &[&[0x91], b"hvc1", &[0, 0, 40], UNIT]).only();
        assert_eq!((frame.pts.millis(), frame.key, &frame.data[..]), (80, true, UNIT));
        let frame = f.video(80, &[&[0xa3], b"hvc1", UNIT]).only();
        assert_eq!((frame.pts.millis(), frame.key, &frame.data[..]), (80, false, UNIT));
        for quiet in [&[0x92][..], &[0xd4], &[0xf4]] {
            let f = f.video(80, &[quiet, b"hvc1", b"\x02\0\x09colorInfo"]);
            assert_eq!((&f.result, f.frames.len(), f.changes), (&Ok(()), 0, 0));
        }
        assert!(f.video(0, &[&[0xd1, 0]]).frames.is_empty(), "a command");
        let ts = Error::PacketType { kind: Kind::Video, value: 5 };
        assert_eq!(f.video(0, &[&[0x95], b"av01"]).result, Err(ts));
        let vvc = Error::FourCc { kind: Kind::Video, fourcc: *b"vvc1" };
        assert_eq!(vvc.to_string(), "Video codec 'vvc1' is unknown");
        assert_eq!(f.video(0, &[&[0x90], b"vvc1", HVCC]).result, Err(vvc));
        f.video(0, &[&[0x90], b"av01", &[0x81, 8, 12, 0]]);
        assert_eq!(f.video(0, &[&[0x91], b"av01", b"obu"]).only().data, "obu");
        f.video(0, &[&[0x90], b"vp09", &[1, 0, 0, 0, 0, 31, 0x80, 1, 1, 1, 0, 0]]);
        assert_eq!(f.video(0, &[&[0x91], b"vp09", b"vp9"]).only().data, "vp9");
        assert_eq!(f.video(0, &[&[0x91], b"vp08", b"vp8"]).only().data, "vp8");
        assert_eq!(f.tracks().video().unwrap().codec, Codec::Vp8);
        f.video(0, &[&[0x90], b"avc1", AVCC]);
        assert_eq!(f.video(0, &[&[0x91], b"avc1", &[0, 0, 1], UNIT]).only().pts.millis(), 1);
    }

    #[test]
    fn enhanced_audio() {
        let mut f = Fixture::new();
        f.audio(0, &[&[0x90], b"mp4a", &[0x12, 0x10]]);
        assert_eq!(f.audio(0, &[&[0x91], b"mp4a", b"aac"]).only().data, "aac");
        f.audio(0, &[&[0x90], b"Opus", b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0"]);
        assert!(matches!(f.tracks().audio().unwrap().codec, Codec::Opus(c) if c.channels == 1));
        assert_eq!(f.audio(0, &[&[0x90], b"Opus"]).changes, 1, "a header may be empty");
        assert_eq!(f.audio(0, &[&[0x91], b"Opus", b"o"]).only().data, "o");
        for (fourcc, name) in [(b"ac-3", "AC3"), (b"ec-3", "EAC3"), (b".mp3", "MP3"), (b"fLaC", "FLAC")] {
            assert_eq!(f.audio(0, &[&[0x91], fourcc, b"x"]).only().data, "x");
            assert_eq!(f.tracks().audio().unwrap().codec.name(), name);
        }
        assert!(f.audio(0, &[&[0x94], b"Opus", &[1, 2, 0, 0, 0, 3]]).frames.is_empty());
        assert_eq!(
            f.audio(0, &[&[0x93], b"Opus"]).result,
            Err(Error::PacketType { kind: Kind::Audio, value: 3 })
        );
    }

    #[test]
    fn multitrack_in_three_packings() {
        let mut f = Fixture::new();
        // One track, number 2.
        f.audio(0, &[&[0x95, 0x00], b"mp4a", &[2, 0x12, 0x10]]);
        let id = TrackId { kind: Kind::Audio, index: 2 };
        assert!(f.tracks().find(id).is_some());
        let frame = f.audio(10, &[&[0x95, 0x01], b"mp4a", &[2], b"two"]).only();
        assert_eq!((frame.track, &frame.data[..]), (id, &b"two"[..]));
        // Many tracks, one codec.
        f.video(0, &[&[0x96, 0x10], b"hvc1", &[0, 0, 0, 23], HVCC, &[1, 0, 0, 23], HVCC]);
        assert_eq!(f.changes, 2);
        f.video(40, &[&[0x96, 0x11], b"hvc1", &[0, 0, 0, 9, 0, 0, 40], UNIT, &[1, 0, 0, 9, 0, 0, 0], UNIT]);
        let pts: Vec<_> = f.frames.iter().map(|x| (x.track.index, x.pts.millis(), x.data.len())).collect();
        assert_eq!(pts, [(0, 80, 6), (1, 40, 6)]);
        // Many tracks, many codecs; one of them is unknown and does not spoil the other.
        f.audio(20, &[&[0x95, 0x21], b"????", &[0, 0, 0, 1, 9], b"ac-3", &[1, 0, 0, 2, 7, 7]]);
        assert_eq!(f.frames.len(), 1);
        assert_eq!(f.result, Err(Error::FourCc { kind: Kind::Audio, fourcc: *b"????" }));
        assert_eq!(
            f.video(0, &[&[0x96, 0x06], b"hvc1"]).result,
            Err(Error::PacketType { kind: Kind::Video, value: 6 })
        );
        assert_eq!(f.video(0, &[&[0x96, 0x31], b"hvc1"]).result, Err(Error::Multitrack(3)));
        assert_eq!(f.audio(0, &[&[0x95, 0x01], b"ac-3", &[127, 1]]).result, Err(Error::TrackIndex(127)));
        for index in 3..Tracks::MAX as u8 {
            f.audio(0, &[&[0x95, 0x01], b"ac-3", &[index, 1]]);
        }
        assert_eq!(f.audio(0, &[&[0x95, 0x01], b"ac-3", &[100, 1]]).result, Err(Error::TooManyTracks));
    }

    #[test]
    fn mod_ex_adds_nanoseconds() {
        let mut f = Fixture::new();
        let frame = f.audio(1, &[&[0x97, 2, 0x07, 0xa1, 0x20, 0x01], b"ac-3", b"x"]).only();
        assert_eq!((frame.dts, frame.pts), (Micros(1500), Micros(1500)));
        // An unknown modifier of 300 bytes, then the offset.
        let long = [&[0xff, 1, 0x2b][..], &[0; 300], &[0x17, 2, 0, 0x03, 0xe8, 0x01]].concat();
        assert_eq!(f.audio(1, &[&[0x97], &long, b"ac-3", b"x"]).only().dts, Micros(1001));
        assert!(matches!(f.audio(1, &[&[0x97, 2, 0]]).result, Err(Error::Truncated { .. })));
    }

    #[test]
    fn start_codes_inside_avc_packets() {
        for try_annexb_first in [false, true] {
            let mut f = Fixture::with(DemuxOptions { try_annexb_first, ..DemuxOptions::default() });
            f.video(0, &[&[0x17, 0, 0, 0, 0], AVCC]);
            let annexb = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x88];
            let want = [0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x65, 0x88];
            assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0], &annexb]).only().data[..], want);
            // Lengths which look like a 3-byte start code stay lengths.
            let long = [&[0, 0, 1, 0x2c][..], &[0x65; 300]].concat();
            assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0], &long]).only().data, long);
            // Both readings fit: a unit of one byte and another, or one unit behind a start code.
            let both = [0, 0, 0, 1, 9, 0, 0, 0, 2, 0x65, 0x88];
            let want: &[u8] = if try_annexb_first { &[0, 0, 0, 7, 9, 0, 0, 0, 2, 0x65, 0x88] } else { &both };
            assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0], &both]).only().data[..], *want);
            let broken = [0, 0, 0, 9, 0x65];
            let error = f.video(0, &[&[0x17, 1, 0, 0, 0], &broken]).result.clone();
            assert_eq!(error, Err(Error::Codec(media::codec::Error::Unit { at: 0 })));
        }
    }

    #[test]
    fn short_lengths_become_four_bytes() {
        let mut f = Fixture::new();
        let mut narrow = AVCC.to_vec();
        narrow[4] = 0xfd;
        f.video(0, &[&[0x17, 0, 0, 0, 0], &narrow]);
        assert_eq!(f.tracks().video().unwrap().config, AVCC);
        assert!(matches!(&f.tracks().video().unwrap().codec, Codec::H264(c) if c.length_size == 4));
        assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0, 0, 2, 0x65, 0x88]]).only().data, UNIT);
        narrow[4] = 0xfc;
        f.video(0, &[&[0x17, 0, 0, 0, 0], &narrow]);
        assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0, 2, 0x65, 0x88]]).only().data, UNIT);
        f.video(0, &[&[0x17, 0, 0, 0, 0], AVCC]);
        assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0], UNIT]).only().data, UNIT);
        narrow[4] = 0xfe;
        assert!(matches!(f.video(0, &[&[0x17, 0, 0, 0, 0], &narrow]).result, Err(Error::Codec(_))));
    }

    #[test]
    fn limits() {
        let mut f = Fixture::new();
        let record = [AVCC, &[0; MAX_CONFIG]].concat();
        assert!(matches!(f.video(0, &[&[0x17, 0, 0, 0, 0], &record]).result, Err(Error::TooLarge { .. })));
        f.video(0, &[&[0x17, 0, 0, 0, 0], AVCC]);
        assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0], &UNIT.repeat(256)]).frames.len(), 1);
        let many = Error::Codec(media::codec::Error::TooManyUnits { max: 256 });
        assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0], &UNIT.repeat(257)]).result, Err(many));
        assert_eq!(f.video(0, &[&[0x17, 1, 0, 0, 0]]).frames, []);
    }

    #[test]
    fn time_runs_over_both_wraps() {
        let mut f = Fixture::new();
        f.audio(u32::MAX - 10, &[&[0x2f, 1]]);
        assert_eq!(f.audio(13, &[&[0x2f, 1]]).only().dts.millis(), i64::from(u32::MAX) + 14);
        let mut f = Fixture::new();
        f.audio(0x00ff_fff0, &[&[0x2f, 1]]);
        assert_eq!(f.audio(0x0100_0007, &[&[0x2f, 1]]).only().dts.millis(), 0x0100_0007);
    }

    fn amf(values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        values.iter().for_each(|value| value.encode(&mut out));
        out
    }

    #[test]
    fn metadata_in_both_spellings() {
        let options =
            DemuxOptions { server: "Oxcast".into(), server_version: "0.1".into(), ..DemuxOptions::default() };
        let mut f = Fixture::with(options);
        let first = amf(&[
            "@setDataFrame".into(),
            "onMetaData".into(),
            Value::ecma_array([("duration", 0.0.into()), ("width", 640.0.into())]),
        ]);
        assert_eq!(f.push(TagKind::Script, 0, &[&first]).changes, 1);
        let second = amf(&["onMetaData".into(), Value::object([("height", 360.0.into())])]);
        assert_eq!(f.push(TagKind::Script, 0, &[&second]).changes, 1);
        let want = Value::ecma_array([
            ("width", 640.0.into()),
            ("server", "Oxcast".into()),
            ("server_version", "0.1".into()),
            ("height", 360.0.into()),
        ]);
        let body = f.tracks().metadata.clone().unwrap();
        assert_eq!(amf0::decode(&body).unwrap(), ["onMetaData".into(), want]);
        assert_eq!(f.push(TagKind::Script, 0, &[&second]).changes, 1, "told again");
        assert_eq!(f.tracks().metadata, Some(body));
    }

    #[test]
    fn other_data_passes_as_frames() {
        let mut f = Fixture::new();
        let cue = amf(&["onCuePoint".into(), Value::object([("name", "x".into())])]);
        let frame = f.push(TagKind::Script, 70, &[&cue]).only();
        assert_eq!((frame.track, frame.dts.millis(), &frame.data[..]), (TrackId::DATA, 70, &cue[..]));
        assert_eq!(f.tracks().find(TrackId::DATA).unwrap().codec, Codec::Amf);
        let wrapped = [amf(&["@setDataFrame".into()]), cue.clone()].concat();
        assert_eq!(f.push(TagKind::Script, 80, &[&wrapped]).only().data, cue);
        assert_eq!(f.push(TagKind::Script, 0, &[&[0, 1, 2, 3]]).result, Ok(()), "a timecode of FFmpeg");
        assert_eq!(f.push(TagKind::Script, 0, &[&[5]]).result, Err(Error::Script));
    }
}
