//! Frames into TS packets: the program and its tables, the clocks and counters, and audio gathered into larger PES packets.

use media::{Frame, Kind, Micros, TrackId, Tracks};

use super::elementary::{AccessUnit, Audio, Header, MP3_PID, Stream, Video};
use super::pes::{Head, MAX_TOLD, Pes};
use super::psi::{self, Listed};

/// What is packed, and how.
#[derive(Clone, Copy, Debug)]
pub struct PackerOptions {
    /// Audio is packed.
    pub audio: bool,
    /// Video is packed.
    pub video: bool,
    /// How much audio is gathered into one PES packet: the frame that completes this time closes it. Zero gives each frame its
    /// own.
    pub gather: Micros,
}

/// Packs the main tracks of a stream, H.264 or H.265 and AAC or MP3, into one program. Its continuity counters go on for ever, over
/// segments and over publishers.
#[derive(Debug)]
pub struct Packer {
    options: PackerOptions,
    /// How long players are told to wait for a track that is announced and silent.
    patience: Micros,
    video: Option<Stream<Video>>,
    audio: Option<Stream<Audio>>,
    /// The time of the newest frame.
    now: Micros,
    /// What the tables that were written last list: video, audio.
    listed: Option<[Option<Listed>; 2]>,
    /// The program has changed since they were written.
    stale: bool,
    /// The version of the PMT.
    version: u8,
    counters: Counters,
    gathered: Gathered,
}

/// See [`Packer::with_patience`].
const PATIENCE: Micros = Micros::from_secs(2);

/// The continuity counters of all PIDs.
#[derive(Debug, Default)]
struct Counters {
    pat: u8,
    pmt: u8,
    video: u8,
    aac: u8,
    mp3: u8,
}

/// Audio frames that wait for their PES packet.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    pid: u16,
    /// The times of the first frame.
    dts: Micros,
    pts: Micros,
    /// The decoding time of the last frame.
    last: Micros,
}

/// A step between gathered frames beyond this is a gap, behind which a new PES packet tells the time anew.
const GAP: Micros = Micros::from_millis(150);

/// A frame that will be packed.
pub(crate) enum Ready<'a> {
    Video(AccessUnit<'a>),
    Audio(Header),
}

impl Packer {
    /// A packer without a program.
    pub fn new(options: PackerOptions) -> Self {
        Self {
            options,
            patience: PATIENCE,
            video: None,
            audio: None,
            now: Micros::ZERO,
            listed: None,
            stale: false,
            version: 0,
            counters: Counters::default(),
            gathered: Gathered::default(),
        }
    }

    /// Leaves tracks out of the tables that have been silent for so long from the start (two seconds, if nothing is said); with zero,
    /// those that have not been heard yet.
    pub(crate) fn with_patience(self, patience: Micros) -> Self {
        Self { patience, ..self }
    }

    /// Takes the tracks over. `true` when the program has changed, which players need to be told: a track came or went, or
    /// has another codec or other parameters. Metadata and tracks that are not packed make no change.
    pub fn tracks(&mut self, tracks: &Tracks) -> bool {
        let video = tracks.video().filter(|_| self.options.video);
        let audio = tracks.audio().filter(|_| self.options.audio);
        let video = Stream::replace(&mut self.video, video.and_then(|track| Video::of(&track.codec)));
        let audio = Stream::replace(&mut self.audio, audio.and_then(|track| Audio::of(&track.codec)));
        self.stale |= video || audio;
        video || audio
    }

    /// Writes PAT and PMT. A track that has been silent from the start is left out, since players would wait for it; its first frame
    /// brings it back.
    pub fn tables(&mut self, out: &mut Vec<u8>) {
        let (now, patience) = (self.now, self.patience);
        let video = self.video.as_ref().filter(|stream| stream.is_expected(now, patience));
        let audio = self.audio.as_ref().filter(|stream| stream.is_expected(now, patience));
        let listed = [video.map(|stream| stream.coding.listed()), audio.map(|stream| stream.coding.listed())];
        if self.listed.is_some_and(|before| self.stale || before != listed) {
            self.version = self.version.wrapping_add(1) % 32;
        }
        self.listed = Some(listed);
        self.stale = false;
        out.reserve(2 * super::PACKET);
        psi::pat(&mut self.counters.pat, out);
        psi::pmt(self.version, listed, &mut self.counters.pmt, out);
    }

    /// Packs a frame, behind the tables if players need to be told of a change first. `false` when the frame is of no use in TS: of
    /// another track, empty, or too large for its header.
    pub fn frame(&mut self, frame: &Frame, out: &mut Vec<u8>) -> bool {
        let Some(ready) = self.admit(frame) else { return false };
        if self.needs_tables(frame) {
            self.flush(out);
            self.tables(out);
        }
        self.pack(frame, ready, out);
        true
    }

    /// Writes the audio that is gathered.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        let mut gathered = std::mem::take(&mut self.gathered);
        if !gathered.bytes.is_empty() {
            self.audio_pes(gathered.pid, gathered.dts, gathered.pts, &[&gathered.bytes], out);
            gathered.bytes.clear();
        }
        self.gathered.bytes = gathered.bytes;
    }

    /// The program has such a track.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Video => self.video.is_some(),
            Kind::Audio => self.audio.is_some(),
            Kind::Data => false,
        }
    }

    /// The newest tables list a track of this kind.
    pub(crate) fn lists(&self, kind: Kind) -> bool {
        let [video, audio] = self.listed.unwrap_or_default();
        match kind {
            Kind::Video => video.is_some(),
            Kind::Audio => audio.is_some(),
            Kind::Data => false,
        }
    }

    /// The program's track of this kind has carried a frame.
    pub(crate) fn has_heard(&self, kind: Kind) -> bool {
        match kind {
            Kind::Video => self.video.as_ref().is_some_and(Stream::is_heard),
            Kind::Audio => self.audio.as_ref().is_some_and(Stream::is_heard),
            Kind::Data => false,
        }
    }

    /// Looks a frame over and takes note of it; `None` when it is of no use.
    pub(crate) fn admit<'a>(&mut self, frame: &'a Frame) -> Option<Ready<'a>> {
        let ready = match frame.track {
            TrackId::VIDEO => Ready::Video(self.video.as_ref()?.coding.access_unit(frame)?),
            TrackId::AUDIO => Ready::Audio(self.audio.as_ref()?.coding.header(frame)?),
            _ => return None,
        };
        self.now = frame.dts;
        if let Some(video) = &mut self.video {
            video.pass(frame.dts, frame.track.kind == Kind::Video);
        }
        if let Some(audio) = &mut self.audio {
            audio.pass(frame.dts, frame.track.kind == Kind::Audio);
        }
        Some(ready)
    }

    /// The tables must be written before this frame: they never were, or something has changed, or they do not list its track.
    pub(crate) fn needs_tables(&self, frame: &Frame) -> bool {
        let [video, audio] = self.listed.unwrap_or_default();
        let listed = if frame.track.kind == Kind::Video { video } else { audio };
        self.stale || listed.is_none()
    }

    /// Packs an admitted frame.
    pub(crate) fn pack(&mut self, frame: &Frame, ready: Ready<'_>, out: &mut Vec<u8>) {
        match ready {
            Ready::Video(unit) => self.video_pes(frame, &unit, out),
            Ready::Audio(header) if self.options.gather > Micros::ZERO => {
                self.gather(frame, header.as_slice(), out);
            }
            Ready::Audio(header) => {
                let pid = self.audio_pid();
                self.audio_pes(pid, frame.dts, frame.pts, &[header.as_slice(), &frame.data], out);
            }
        }
    }

    fn video_pes(&mut self, frame: &Frame, unit: &AccessUnit<'_>, out: &mut Vec<u8>) {
        let Some(Stream { coding, .. }) = &self.video else { return };
        let head = Head {
            pid: coding.listed().pid,
            stream_id: 0xe0,
            dts: frame.dts,
            pts: frame.pts,
            pcr: true,
            random_access: frame.key,
            size: coding.size(unit),
        };
        coding.write(unit, &mut Pes::begin(&head, &mut self.counters.video, out));
    }

    fn audio_pid(&self) -> u16 {
        self.audio.as_ref().map_or(0, |stream| stream.coding.listed().pid)
    }

    fn audio_pes(&mut self, pid: u16, dts: Micros, pts: Micros, parts: &[&[u8]], out: &mut Vec<u8>) {
        // Without video in the tables, audio is what carries the clock, and where a decoder can start.
        let alone = matches!(self.listed, Some([None, _]));
        let size = parts.iter().map(|part| part.len()).sum();
        let head = Head { pid, stream_id: 0xc0, dts, pts, pcr: alone, random_access: alone, size };
        let counter = if pid == MP3_PID { &mut self.counters.mp3 } else { &mut self.counters.aac };
        let mut pes = Pes::begin(&head, counter, out);
        parts.iter().for_each(|part| pes.put(part));
    }

    fn gather(&mut self, frame: &Frame, header: &[u8], out: &mut Vec<u8>) {
        let step = frame.dts - self.gathered.last;
        let size = self.gathered.bytes.len() + header.len() + frame.data.len();
        let pid = self.audio_pid();
        if pid != self.gathered.pid || !(Micros::ZERO..=GAP).contains(&step) || size > MAX_TOLD {
            self.flush(out);
        }
        let gathered = &mut self.gathered;
        if gathered.bytes.is_empty() {
            (gathered.pid, gathered.dts, gathered.pts) = (pid, frame.dts, frame.pts);
        }
        gathered.last = frame.dts;
        gathered.bytes.extend_from_slice(header);
        gathered.bytes.extend_from_slice(&frame.data);
        if frame.dts - gathered.dts >= self.options.gather {
            self.flush(out);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use media::codec::{Codec, aac, h264, h265, mp3, nalu};
    use media::{Dialect, Track};
    use proptest::prelude::*;

    use super::super::PACKET;
    use super::super::pes::ticks;
    use super::super::reader::{self, Item, Program};
    use super::*;

    pub(in crate::ts) const SPS: &[u8] = &[0x67, 1, 2, 3];
    pub(in crate::ts) const PPS: &[u8] = &[0x68, 4];
    const IDR: &[u8] = &[0x65, 7];
    const SLICE: &[u8] = &[0x41, 7];
    const AUD: &[u8] = &[9, 0xf0];

    pub(in crate::ts) fn h264() -> Codec {
        let sets = |set| vec![Bytes::from_static(set)];
        Codec::H264(h264::Config { sps: sets(SPS), pps: sets(PPS), ..h264::Config::default() })
    }

    pub(in crate::ts) fn h265() -> Codec {
        let set = |kind: u8| vec![Bytes::from(vec![kind << 1, 1, kind])];
        let (vps, sps, pps) = (set(32), set(33), set(34));
        Codec::H265(h265::Config { vps, sps, pps, ..h265::Config::default() })
    }

    pub(in crate::ts) fn aac() -> Codec {
        Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap())
    }

    pub(in crate::ts) fn mp3(sample_rate: u32) -> Codec {
        Codec::Mp3(mp3::Config { sample_rate, channels: 2, bitrate: Some(128_000) })
    }

    pub(in crate::ts) fn tracks(list: impl IntoIterator<Item = (TrackId, Codec)>) -> Tracks {
        let mut tracks = Tracks::default();
        for (id, codec) in list {
            tracks.set(Track { id, codec, config: Bytes::new(), dialect: Dialect::Standard });
        }
        tracks
    }

    fn both() -> Tracks {
        tracks([(TrackId::VIDEO, h264()), (TrackId::AUDIO, aac())])
    }

    pub(in crate::ts) fn units(units: &[&[u8]]) -> Bytes {
        let mut out = Vec::new();
        units.iter().for_each(|unit| nalu::append(&mut out, unit));
        out.into()
    }

    pub(in crate::ts) fn video(ms: i64, key: bool) -> Frame {
        let data = units(&[if key { IDR } else { SLICE }]);
        let time = Micros::from_millis(ms);
        Frame { track: TrackId::VIDEO, dts: time, pts: time, key, data }
    }

    pub(in crate::ts) fn audio(ms: i64) -> Frame {
        let time = Micros::from_millis(ms);
        Frame { track: TrackId::AUDIO, dts: time, pts: time, key: true, data: Bytes::from_static(b"sound") }
    }

    const OPTIONS: PackerOptions = PackerOptions { audio: true, video: true, gather: Micros::ZERO };

    fn packer(tracks: &Tracks) -> Packer {
        let mut packer = Packer::new(OPTIONS);
        assert!(packer.tracks(tracks));
        packer
    }

    /// The packets of some frames.
    fn pack(packer: &mut Packer, frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
        let mut out = Vec::new();
        frames.into_iter().for_each(|frame| assert!(packer.frame(&frame, &mut out)));
        out
    }

    fn tables(packer: &mut Packer) -> Program {
        let mut out = Vec::new();
        packer.tables(&mut out);
        reader::read_programs(&out).remove(0)
    }

    /// The NAL units of one frame, behind the parsing of their start codes.
    fn access_unit(codec: Codec, key: bool, list: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut packer = packer(&tracks([(TrackId::VIDEO, codec)]));
        let packets = pack(&mut packer, [Frame { data: units(list), ..video(0, key) }]);
        let data = reader::read_pes(&packets).remove(0).data;
        nalu::annexb(&data).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_stream_from_its_first_frame() {
        let mut packer = packer(&both());
        let packets = pack(&mut packer, [video(0, true), audio(3), video(40, false)]);
        let mut items = reader::read(&packets).into_iter();
        let streams = vec![(0x100, 0x1b), (0x101, 0x0f)];
        assert_eq!(items.next(), Some(Item::Program(Program { version: 0, clock: 0x100, streams })));
        let Some(Item::Pes(key)) = items.next() else { panic!("no PES") };
        assert_eq!((key.pid, key.stream_id, key.pcr, key.random_access), (0x100, 0xe0, Some(0), true));
        let want = [&[0, 0, 0, 1][..], AUD, &[0, 0, 1], SPS, &[0, 0, 1], PPS, &[0, 0, 1], IDR].concat();
        assert_eq!(key.data, want);
        let Some(Item::Pes(sound)) = items.next() else { panic!("no PES") };
        assert_eq!((sound.pid, sound.stream_id, sound.pcr, sound.random_access), (0x101, 0xc0, None, false));
        assert_eq!((sound.pts, sound.dts), (270, 270));
        assert_eq!(sound.data, [&[0xff, 0xf9, 0x50, 0x80, 0x01, 0x9f, 0xfc][..], b"sound"].concat());
        let Some(Item::Pes(inter)) = items.next() else { panic!("no PES") };
        assert_eq!((inter.pcr, inter.random_access), (Some(3600), false));
        assert_eq!(inter.data, [&[0, 0, 0, 1][..], AUD, &[0, 0, 1], SLICE].concat());
        assert_eq!(items.next(), None);
    }

    #[test]
    fn delimiters_and_parameter_sets_of_the_frame_win() {
        let own = &[9, 0x10][..];
        assert_eq!(access_unit(h264(), true, &[own, IDR]), [own, SPS, PPS, IDR]);
        assert_eq!(access_unit(h264(), true, &[&[6, 1], own, IDR, own]), [own, SPS, PPS, &[6, 1], IDR]);
        let sps = &[0x67, 9][..];
        assert_eq!(access_unit(h264(), true, &[sps, PPS, IDR]), [AUD, sps, PPS, IDR]);
        assert_eq!(access_unit(h264(), true, &[sps, IDR]), [AUD, SPS, PPS, sps, IDR], "half of them");
        assert_eq!(access_unit(h264(), true, &[SLICE]), [AUD, SPS, PPS, SLICE], "a recovery point");
        assert_eq!(access_unit(h264(), false, &[&[], SLICE, &[]]), [AUD, SLICE], "empty units");
        let aud = &[70, 1, 0x50][..];
        let (idr, slice, sets) =
            (&[19 << 1, 1, 3][..], &[2, 1, 3][..], [32u8, 33, 34].map(|n| [n << 1, 1, n]));
        assert_eq!(access_unit(h265(), true, &[idr]), [aud, &sets[0], &sets[1], &sets[2], idr]);
        assert_eq!(access_unit(h265(), false, &[slice]), [aud, slice]);
        let own = &[70, 1, 0x10][..];
        let carried = [own, &sets[0], &sets[1], &sets[2], idr];
        assert_eq!(access_unit(h265(), true, &carried), carried);
    }

    #[test]
    fn what_is_of_no_use() {
        let mut packer = packer(&both());
        let second = TrackId { index: 1, ..TrackId::VIDEO };
        let none = [
            Frame { track: second, ..video(0, true) },
            Frame { track: TrackId::DATA, ..audio(0) },
            Frame { data: Bytes::new(), ..video(0, true) },
            Frame { data: units(&[&[], AUD]), ..video(0, true) },
            Frame { data: Bytes::new(), ..audio(0) },
            Frame { data: vec![0; 0x1fff - 6].into(), ..audio(0) },
        ];
        let mut out = Vec::new();
        for frame in none {
            assert!(!packer.frame(&frame, &mut out), "{frame:?}");
        }
        assert!(out.is_empty());
        assert!(packer.frame(&Frame { data: vec![0; 0x1fff - 7].into(), ..audio(0) }, &mut out));
        let mut silent = Packer::new(PackerOptions { audio: false, ..OPTIONS });
        silent.tracks(&both());
        assert!(!silent.frame(&audio(0), &mut out));
        assert_eq!(tables(&mut silent).streams, [(0x100, 0x1b)]);
    }

    #[test]
    fn only_what_players_must_know_is_a_change() {
        let mut packer = packer(&both());
        assert!(!packer.tracks(&both()));
        let mut with = both();
        with.metadata = Some(Bytes::from_static(b"meta"));
        assert!(!packer.tracks(&with));
        assert!(!packer.tracks(&tracks([
            (TrackId::VIDEO, h264()),
            (TrackId::AUDIO, aac()),
            (TrackId { index: 1, ..TrackId::AUDIO }, aac()),
            (TrackId::DATA, Codec::Amf),
        ])));
        let other =
            Codec::H264(h264::Config { sps: vec![Bytes::from_static(PPS)], ..h264::Config::default() });
        assert!(packer.tracks(&tracks([(TrackId::VIDEO, other), (TrackId::AUDIO, aac())])));
        assert!(packer.tracks(&tracks([(TrackId::VIDEO, h265()), (TrackId::AUDIO, aac())])));
        assert!(packer.tracks(&tracks([(TrackId::AUDIO, aac())])));
        assert!(packer.tracks(&tracks([(TrackId::AUDIO, mp3(44_100))])));
        let quiet = mp3::Config { sample_rate: 44_100, channels: 2, bitrate: None };
        assert!(!packer.tracks(&tracks([(TrackId::AUDIO, Codec::Mp3(quiet))])));
        assert!(packer.tracks(&Tracks::default()));
        assert!(!packer.tracks(&tracks([(TrackId::VIDEO, Codec::Vp8), (TrackId::AUDIO, Codec::Speex)])));
    }

    #[test]
    fn a_change_in_the_stream_is_told_before_its_first_frame() {
        let mut packer = packer(&both());
        let mut packets = pack(&mut packer, [video(0, true), audio(0)]);
        packer.tracks(&tracks([(TrackId::VIDEO, h265()), (TrackId::AUDIO, mp3(22_050))]));
        let data = units(&[&[19 << 1, 1, 3]]);
        packets.extend(pack(&mut packer, [audio(40), Frame { data, ..video(40, true) }]));
        packer.tables(&mut packets);
        let items = reader::read(&packets);
        let kinds: Vec<_> = items
            .iter()
            .map(|item| match item {
                Item::Program(program) => (program.version, program.streams.clone()),
                Item::Pes(pes) => (0xff, vec![(pes.pid, 0)]),
            })
            .collect();
        let (before, after) = (vec![(0x100, 0x1b), (0x101, 0x0f)], vec![(0x100, 0x24), (0x102, 0x04)]);
        let pes = |pid| (0xff, vec![(pid, 0)]);
        let want =
            [(0, before), pes(0x100), pes(0x101), (1, after.clone()), pes(0x102), pes(0x100), (1, after)];
        assert_eq!(kinds, want);
    }

    #[test]
    fn the_version_wraps() {
        let mut packer = Packer::new(OPTIONS);
        for n in 0..70 {
            let codec = if n % 2 == 0 { mp3(44_100) } else { aac() };
            packer.tracks(&tracks([(TrackId::AUDIO, codec)]));
            assert_eq!(usize::from(tables(&mut packer).version), n % 32);
        }
    }

    #[test]
    fn audio_alone_carries_the_clock() {
        for (codec, pid, kind) in [
            (aac(), 0x101, 0x0f),
            (mp3(44_100), 0x102, 0x03),
            (mp3(32_000), 0x102, 0x03),
            (mp3(24_000), 0x102, 0x04),
        ] {
            let mut packer = packer(&tracks([(TrackId::AUDIO, codec)]));
            let packets = pack(&mut packer, [audio(10), audio(33)]);
            let program = reader::read_programs(&packets).remove(0);
            assert_eq!(program, Program { version: 0, clock: pid, streams: vec![(pid, kind)] });
            let pes = reader::read_pes(&packets);
            assert!(pes.iter().all(|pes| pes.random_access && pes.pid == pid && pes.pcr == Some(pes.dts)));
            assert_eq!(pes.len(), 2);
        }
    }

    #[test]
    fn a_silent_track_leaves_the_tables_until_it_speaks() {
        let mut packer = packer(&both());
        let all = [(0x100, 0x1b), (0x101, 0x0f)];
        let mut packets = pack(&mut packer, [audio(5000), audio(6999)]);
        packer.tables(&mut packets);
        packets.extend(pack(&mut packer, [audio(7000)]));
        let before = reader::read_pes(&packets);
        assert!(before.iter().all(|pes| pes.pcr.is_none()), "the clock is the video's");
        assert!(reader::read_programs(&packets).iter().all(|program| program.streams == all));
        packer.tables(&mut packets);
        packets.extend(pack(&mut packer, [audio(7020), video(7040, true), audio(7041)]));
        let (programs, pes) = (reader::read_programs(&packets), reader::read_pes(&packets));
        let program = |version, clock, streams: &[_]| Program { version, clock, streams: streams.to_vec() };
        let want = [
            program(0, 0x100, &all),
            program(0, 0x100, &all),
            program(1, 0x101, &all[1..]),
            program(2, 0x100, &all),
        ];
        assert_eq!(programs, want);
        let clocks: Vec<_> = pes[3..].iter().map(|pes| (pes.pid, pes.pcr.is_some())).collect();
        assert_eq!(clocks, [(0x101, true), (0x100, true), (0x101, false)]);
        // Once heard, it stays, also with other parameters.
        packer.tables(&mut packets);
        let other = Codec::H264(h264::Config::default());
        packer.tracks(&tracks([(TrackId::VIDEO, other), (TrackId::AUDIO, aac())]));
        pack(&mut packer, [audio(90_000)]);
        assert_eq!(tables(&mut packer), program(3, 0x100, &all));
    }

    #[test]
    fn audio_is_gathered() {
        let mut packer = Packer::new(PackerOptions { gather: Micros::from_millis(100), ..OPTIONS });
        packer.tracks(&both());
        let frame = |ms, data: &'static [u8]| Frame { data: Bytes::from_static(data), ..audio(ms) };
        let list = [
            frame(0, b"a"),
            frame(40, b"b"),
            frame(100, b"c"), // completes the time
            frame(140, b"d"),
            frame(300, b"e"), // behind a gap
            frame(290, b"f"), // a step back
        ];
        let mut packets = pack(&mut packer, list);
        // A codec of another PID, told in tables before its first frame.
        packer.tracks(&tracks([(TrackId::AUDIO, mp3(44_100))]));
        packer.tables(&mut packets);
        packets.extend(pack(&mut packer, [frame(300, b"g"), frame(310, b"h")]));
        packer.flush(&mut packets);
        packer.flush(&mut packets);
        let pes = reader::read_pes(&packets);
        let text = |pes: &reader::Pes| -> Vec<u8> {
            let adts = if pes.pid == 0x101 { 8 } else { 1 };
            pes.data.chunks(adts).map(|frame| frame[adts - 1]).collect()
        };
        let got: Vec<_> = pes.iter().map(|pes| (text(pes), pes.dts / 90)).collect();
        let want: [(&[u8], u64); 5] = [(b"abc", 0), (b"d", 140), (b"e", 300), (b"f", 290), (b"gh", 300)];
        assert_eq!(got, want.map(|(text, time)| (text.to_vec(), time)));
    }

    #[test]
    fn what_is_gathered_stays_a_length_that_can_be_told() {
        let mut packer = Packer::new(PackerOptions { gather: Micros::from_secs(10), ..OPTIONS });
        packer.tracks(&tracks([(TrackId::AUDIO, aac())]));
        let big = |n| Frame { data: vec![n; 8000].into(), ..audio(i64::from(n)) };
        let mut packets = pack(&mut packer, (0..20).map(big));
        packer.flush(&mut packets);
        let pes = reader::read_pes(&packets);
        assert_eq!(pes.iter().map(|pes| pes.data.len() / 8007).collect::<Vec<_>>(), [8, 8, 4]);
    }

    #[test]
    fn a_frame_makes_room_once() {
        let mut packer = packer(&both());
        pack(&mut packer, [video(0, true)]);
        for frame in [video(40, true), audio(40), Frame { data: units(&[&[1; 100_000]]), ..video(80, false) }]
        {
            let out = pack(&mut packer, [frame]);
            assert_eq!(out.capacity(), out.len());
        }
    }

    /// A frame of any shape: the NAL units (type and size) of video, or the size of audio.
    #[derive(Clone, Debug)]
    enum Shape {
        Video { units: Vec<(u8, usize)>, key: bool },
        Audio(usize),
    }

    fn shape() -> impl Strategy<Value = Shape> {
        let size = prop_oneof![20 => 0usize..600, 3 => 60_000usize..70_000, 1 => 290_000usize..300_000];
        let unit = (prop::sample::select(vec![1u8, 5, 6, 7, 8, 9, 12]), size);
        prop_oneof![
            (prop::collection::vec(unit, 1..6), any::<bool>())
                .prop_map(|(units, key)| Shape::Video { units, key }),
            (1usize..8185).prop_map(Shape::Audio),
        ]
    }

    /// A unit that has no start code in it and no zero at its end; the size may be zero.
    fn unit((kind, size): (u8, usize)) -> Vec<u8> {
        let tail = (1..size).map(|n| (n % 251) as u8 + 1);
        std::iter::once(kind).chain(tail).take(size).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn frames_survive(
            shapes in prop::collection::vec((shape(), -50_000i64..90_000, 0i64..200_000), 1..20),
            start in prop::sample::select(vec![0, -100_000, 95_443_717_688 - 300_000, -95_443_717_688 - 300_000]),
        ) {
            let mut packer = packer(&both());
            let (mut packets, mut want, mut time) = (Vec::new(), Vec::new(), start);
            for (shape, step, composition) in shapes {
                time += step;
                let (dts, pts) = (Micros(time), Micros(time + composition));
                let frame = match shape {
                    Shape::Audio(size) => Frame { dts, pts, data: vec![7; size].into(), ..audio(0) },
                    Shape::Video { units: list, key } => {
                        let list: Vec<_> = list.into_iter().map(unit).collect();
                        let data = units(&list.iter().map(Vec::as_slice).collect::<Vec<_>>());
                        Frame { dts, pts, data, ..video(0, key) }
                    }
                };
                if packer.frame(&frame, &mut packets) {
                    want.push(frame);
                } else {
                    prop_assert!(nalu::units(&frame.data).all(|unit| unit.is_empty() || unit[0] == 9));
                }
            }
            let got = reader::read_pes(&packets);
            prop_assert_eq!(got.len(), want.len());
            prop_assert_eq!(packets.len() % PACKET, 0);
            for (pes, frame) in got.iter().zip(&want) {
                prop_assert_eq!((pes.dts, pes.pts), (ticks(frame.dts), ticks(frame.pts)));
                if frame.track == TrackId::AUDIO {
                    prop_assert_eq!(&pes.data[7..], &frame.data[..]);
                    continue;
                }
                prop_assert_eq!((pes.random_access, pes.pcr), (frame.key, Some(pes.dts)));
                let mut units = nalu::annexb(&pes.data);
                prop_assert_eq!(units.next().map(|aud| aud[0]), Some(9));
                let carried: Vec<_> = nalu::units(&frame.data).filter(|u| !u.is_empty() && u[0] != 9).collect();
                let has = |kind: u8| carried.iter().any(|unit| unit[0] == kind);
                if (frame.key || has(5)) && !(has(7) && has(8)) {
                    prop_assert_eq!(units.next(), Some(SPS));
                    prop_assert_eq!(units.next(), Some(PPS));
                }
                prop_assert_eq!(units.collect::<Vec<_>>(), carried);
            }
        }
    }
}
