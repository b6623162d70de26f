//! The form that live players of TS share: one burst of packets per frame, and the tables wherever a player may start.

use bytes::Bytes;
use media::{Frame, Kind, Micros, Place, Remux, Sound, Stamped, Tracks};

use super::{Packer, PackerOptions, Ready};
use crate::entry::Entry;
use crate::flv;
use crate::timeline::{Jitter, Timeline};

/// Whole TS packets: the tables, or one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst(pub Bytes);

impl media::Unit for Burst {
    fn size(&self) -> usize {
        self.0.len()
    }
}

/// What the form carries, and how it treats time.
#[derive(Clone, Copy, Debug)]
pub struct MuxOptions {
    /// What happens to timestamps.
    pub jitter: Jitter,
    /// Audio is carried.
    pub audio: bool,
    /// Video is carried.
    pub video: bool,
}

impl Default for MuxOptions {
    fn default() -> Self {
        Self { jitter: Jitter::default(), audio: true, video: true }
    }
}

/// The TS form of a stream. The tables are its only init unit, of slot 0; they come before every keyframe, before the first frame
/// behind a change of the program, and once per second where there is no video. It may run on when one publisher follows another.
///
/// The tables list what has been heard. Since players fix at the first ones what they wait for, the first frames of a publisher
/// are held back until each announced kind has shown one, for at most 0.8 s of media.
#[derive(Debug)]
pub struct Mux {
    options: MuxOptions,
    packer: Packer,
    line: Timeline,
    entry: Entry,
    /// The time of the newest tables or picture.
    repeated: Micros,
    tracks: Tracks,
    /// The first frames of a publisher, while they are held back.
    held: Option<Vec<Frame>>,
}

/// How often the tables of a stream without pictures are repeated.
const REPEAT: Micros = Micros::from_secs(1);

/// How much of a stream is held back at its start for the sake of a track that is announced and silent.
const HOLD: Micros = Micros::from_millis(800);

/// No more frames than this are held back, for the time of a stream may stand still.
const MOST_HELD: usize = 256;

impl Mux {
    /// A form at the start of its time line.
    pub fn new(options: MuxOptions) -> Self {
        let MuxOptions { jitter, audio, video } = options;
        let packer = Packer::new(PackerOptions { audio, video, gather: Micros::ZERO });
        Self {
            options,
            packer: packer.with_patience(Micros::ZERO),
            line: Timeline::new(jitter),
            entry: Entry::default(),
            repeated: Micros::ZERO,
            tracks: Tracks::default(),
            held: Some(Vec::new()),
        }
    }

    /// What is held back need not wait any longer.
    fn is_settled(&self, held: &[Frame]) -> bool {
        let (Some(first), Some(last)) = (held.first(), held.last()) else { return false };
        let age = (last.dts - first.dts).0.unsigned_abs();
        let patient = age < HOLD.0.unsigned_abs() && held.len() < MOST_HELD;
        !(patient && (self.awaits(Kind::Video) || self.awaits(Kind::Audio)))
    }

    /// This kind is to be carried, is announced, and has not been heard.
    fn awaits(&self, kind: Kind) -> bool {
        let (carried, track) = match kind {
            Kind::Video => (self.options.video, self.tracks.video()),
            _ => (self.options.audio, self.tracks.audio()),
        };
        // A track that is there and not in the program is of a codec that TS does not carry.
        let comes = self.packer.has(kind) || (track.is_none() && flv::is_announced(&self.tracks, kind));
        carried && comes && !self.packer.has_heard(kind)
    }

    /// Writes what is held back.
    fn release(&mut self, out: &mut Vec<Stamped<Burst>>) {
        for frame in self.held.take().into_iter().flatten() {
            if let Some(ready) = self.packer.admit(&frame) {
                self.write(&frame, ready, out);
            }
        }
    }

    fn write(&mut self, frame: &Frame, ready: Ready<'_>, out: &mut Vec<Stamped<Burst>>) {
        let mut push = |place, packets: Vec<u8>| {
            out.push(Stamped { time: frame.dts, place, unit: Burst(packets.into()) });
        };
        let tables = self.wants_tables(frame);
        if tables {
            let mut packets = Vec::new();
            self.packer.tables(&mut packets);
            push(Place::Init { slot: 0 }, packets);
        }
        if tables || frame.track.kind == Kind::Video {
            self.repeated = frame.dts;
        }
        let key = self.entry.next(frame, |kind| self.packer.has(kind));
        let mut packets = Vec::new();
        self.packer.pack(frame, ready, &mut packets);
        push(Place::Media { track: frame.track, key }, packets);
    }

    fn wants_tables(&self, frame: &Frame) -> bool {
        self.packer.needs_tables(frame)
            || match frame.track.kind {
                Kind::Video => frame.key,
                _ => (frame.dts - self.repeated).0.unsigned_abs() >= REPEAT.0.unsigned_abs(),
            }
    }
}

impl Remux for Mux {
    type Unit = Burst;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<Burst>>) {
        let codecs =
            |of: &Tracks| [of.video(), of.audio()].map(|track| track.map(|track| track.codec.clone()));
        let (before, after) = (codecs(&self.tracks), codecs(tracks));
        if before.iter().zip(&after).any(|(before, after)| before.is_some() && before != after) {
            // What is held back is of the track as it was.
            self.release(out);
        }
        if after == [None, None] {
            self.held = Some(Vec::new());
        }
        self.tracks = tracks.clone();
        // The tables wait for the next frame: the tracks of a publisher become known one by one.
        self.packer.tracks(tracks);
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Burst>>) {
        if frame.track.index > 0 || !self.packer.has(frame.track.kind) {
            return;
        }
        let dts = self.line.advance(frame.track, frame.dts);
        let frame = Frame { dts, pts: dts + (frame.pts - frame.dts), ..frame.clone() };
        let Some(ready) = self.packer.admit(&frame) else { return };
        let Some(mut held) = self.held.take() else { return self.write(&frame, ready, out) };
        held.push(frame);
        let settled = self.is_settled(&held);
        self.held = Some(held);
        if settled {
            self.release(out);
        }
    }

    fn sound(&self) -> Sound {
        Sound::Aac
    }
}

#[cfg(test)]
mod tests {
    use media::{TrackId, codec};

    use super::*;
    use crate::amf0::Value;
    use crate::ts::packer::tests::{aac, audio, h264, h265, mp3, tracks, video};
    use crate::ts::reader;

    fn mux(options: MuxOptions, list: &Tracks) -> Mux {
        let mut mux = Mux::new(options);
        mux.tracks(list, &mut Vec::new());
        mux
    }

    fn both() -> Tracks {
        tracks([(TrackId::VIDEO, h264()), (TrackId::AUDIO, aac())])
    }

    fn put(mux: &mut Mux, frames: impl IntoIterator<Item = Frame>) -> Vec<Stamped<Burst>> {
        let mut out = Vec::new();
        frames.into_iter().for_each(|frame| mux.frame(&frame, &mut out));
        out
    }

    /// One letter per unit: `T`ables, `V`ideo, `A`udio, small where a player may not start.
    fn places(units: &[Stamped<Burst>]) -> String {
        let letter = |unit: &Stamped<Burst>| match unit.place {
            Place::Init { slot } => {
                assert_eq!((slot, unit.unit.0.len()), (0, 2 * crate::ts::PACKET));
                'T'
            }
            Place::Media { track, key } => match (track.kind, key) {
                (Kind::Video, true) => 'V',
                (Kind::Video, false) => 'v',
                (_, true) => 'A',
                (_, false) => 'a',
            },
        };
        units.iter().map(letter).collect()
    }

    #[test]
    fn tables_stand_before_every_keyframe() {
        let mut mux = mux(MuxOptions::default(), &both());
        let units = put(
            &mut mux,
            [audio(5000), video(5000, true), audio(5021), video(5040, false), video(5080, true), audio(5070)],
        );
        assert_eq!(places(&units), "TaTVavTVa");
        let times: Vec<_> = units.iter().map(|unit| unit.time.millis()).collect();
        assert_eq!(times, [0, 0, 0, 0, 21, 40, 80, 80, 70]);
        // As one stream, it reads from its first byte.
        let packets: Vec<u8> = units.iter().flat_map(|unit| unit.unit.0.to_vec()).collect();
        let pes = reader::read_pes(&packets);
        assert_eq!(pes.iter().map(|pes| pes.dts / 90).collect::<Vec<_>>(), [0, 0, 21, 40, 80, 70]);
    }

    #[test]
    fn presentation_keeps_its_distance() {
        let mut mux = mux(MuxOptions::default(), &both());
        let late = Frame { pts: Micros::from_millis(5080), ..video(5000, true) };
        put(&mut mux, [late]);
        let pes = put(&mut mux, [audio(5000)])
            .into_iter()
            .nth(1)
            .map(|unit| reader::read_pes(&unit.unit.0).remove(0))
            .unwrap();
        assert_eq!((pes.dts, pes.pts), (0, 80 * 90));
    }

    #[test]
    fn tables_are_repeated_each_second_where_there_is_no_video() {
        let sound = || (0..100).map(|n| audio(n * 25));
        for list in [tracks([(TrackId::AUDIO, aac())]), tracks([(TrackId::AUDIO, mp3(44_100))])] {
            let units = put(&mut mux(MuxOptions::default(), &list), sound());
            assert_eq!(places(&units), ["T", &"A".repeat(40)].concat().repeat(3)[..103]);
        }
        let units = put(&mut mux(MuxOptions { video: false, ..MuxOptions::default() }, &both()), sound());
        assert_eq!(places(&units).matches("TA").count(), 3, "video that is not carried");
        let units = put(&mut mux(MuxOptions::default(), &both()), sound());
        assert_eq!(places(&units).matches("Ta").count(), 3, "video that does not come");
        assert_eq!(listed(&units), [1, 1, 1]);
    }

    #[test]
    fn players_start_at_audio_when_the_video_is_lost() {
        let mut mux = mux(MuxOptions::default(), &both());
        put(&mut mux, [video(0, true), audio(0), video(0, false)]);
        let units = put(&mut mux, (0..116).map(|n| audio(n * 20)));
        assert_eq!(places(&units).replace('T', ""), ["a".repeat(115), "A".into()].concat());
        assert_eq!(places(&put(&mut mux, [video(2320, false), audio(2320)])), "va");
    }

    #[test]
    fn a_change_is_told_before_the_next_frame() {
        let mut mux = mux(MuxOptions::default(), &both());
        assert_eq!(places(&put(&mut mux, [video(0, true), audio(0), video(40, false)])), "TVav");
        mux.tracks(&tracks([(TrackId::VIDEO, h264())]), &mut Vec::new());
        assert_eq!(places(&put(&mut mux, [video(80, false), audio(80), video(120, false)])), "Tvv");
        mux.tracks(&Tracks::default(), &mut Vec::new());
        assert!(put(&mut mux, [video(160, true)]).is_empty(), "nobody publishes");
        mux.tracks(&both(), &mut Vec::new());
        let units = put(&mut mux, [audio(9000), video(9000, true)]);
        assert_eq!(places(&units), "TaTV");
        assert_eq!(units[0].time.millis(), 130, "the line goes on");
    }

    /// The streams that each of the tables lists.
    fn listed(units: &[Stamped<Burst>]) -> Vec<usize> {
        let programs = units.iter().flat_map(|unit| reader::read_programs(&unit.unit.0));
        programs.map(|program| program.streams.len()).collect()
    }

    #[test]
    fn players_are_not_told_of_a_track_that_is_silent() {
        let mut mux = mux(MuxOptions::default(), &both());
        assert!(put(&mut mux, (0..20).map(|n| video(n * 40, n == 0))).is_empty(), "sound may still come");
        let units = put(&mut mux, [video(800, false), video(840, false)]);
        assert_eq!((places(&units), listed(&units)), (["TV", &"v".repeat(21)].concat(), vec![1]));
        let units = put(&mut mux, [audio(880), video(880, false), video(920, true)]);
        assert_eq!((places(&units), listed(&units)), ("TavTV".into(), vec![2, 2]));
    }

    #[test]
    fn nothing_is_held_back_for_a_codec_that_is_not_carried() {
        let list = tracks([(TrackId::VIDEO, h264()), (TrackId::AUDIO, codec::Codec::Speex)]);
        let mut mux = mux(MuxOptions::default(), &list);
        assert_eq!(places(&put(&mut mux, [video(0, true), audio(0)])), "TV");
    }

    #[test]
    fn a_time_that_stands_still_holds_nothing_back_for_ever() {
        let mut mux = mux(MuxOptions { jitter: Jitter::Off, ..MuxOptions::default() }, &both());
        let frames = (0..MOST_HELD).map(|n| video(0, n == 0));
        assert_eq!(put(&mut mux, frames).len(), MOST_HELD + 1);
    }

    /// MP3 has no sequence header: before its first frame, only the metadata tells of it.
    #[test]
    fn sound_that_the_metadata_tells_of_is_waited_for() {
        let mut body = Vec::new();
        let told = Value::object([("audiocodecid", 2.0.into())]);
        [Value::from("onMetaData"), told].iter().for_each(|value| value.encode(&mut body));
        let with = |list: Vec<_>| {
            let mut tracks = tracks(list);
            tracks.metadata = Some(body.clone().into());
            tracks
        };
        let mut mux = mux(MuxOptions::default(), &with(vec![(TrackId::VIDEO, h264())]));
        assert!(put(&mut mux, [video(0, true)]).is_empty());
        let list = with(vec![(TrackId::VIDEO, h264()), (TrackId::AUDIO, mp3(44_100))]);
        mux.tracks(&list, &mut Vec::new());
        let units = put(&mut mux, [audio(20)]);
        assert_eq!((places(&units), listed(&units)), ("TVa".into(), vec![2]));
    }

    #[test]
    fn what_is_held_back_is_not_lost_when_the_program_changes() {
        let other = tracks([(TrackId::VIDEO, h265()), (TrackId::AUDIO, aac())]);
        for next in [Tracks::default(), other] {
            let mut mux = mux(MuxOptions::default(), &both());
            assert!(put(&mut mux, [video(0, true), video(40, false)]).is_empty());
            let mut out = Vec::new();
            mux.tracks(&next, &mut out);
            assert_eq!(places(&out), "TVv");
            assert_eq!(reader::read_programs(&out[0].unit.0)[0].streams, [(0x100, 0x1b)]);
        }
    }

    #[test]
    fn other_tracks_are_left_out() {
        let second = TrackId { index: 1, ..TrackId::VIDEO };
        let mut mux = mux(MuxOptions::default(), &tracks([(second, h264()), (TrackId::VIDEO, h264())]));
        assert!(put(&mut mux, [Frame { track: second, ..video(0, true) }, audio(0)]).is_empty());
    }
}
