//! The form that live players of TS share: one burst of packets per frame, and the tables wherever a player may start.

use bytes::Bytes;
use media::{Frame, Kind, Micros, Place, Remux, Stamped, Tracks};

use super::{Packer, PackerOptions};
use crate::entry::Entry;
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
#[derive(Debug)]
pub struct Mux {
    packer: Packer,
    line: Timeline,
    entry: Entry,
    /// The time of the newest tables or picture.
    repeated: Micros,
}

/// How often the tables of a stream without pictures are repeated.
const REPEAT: Micros = Micros::from_secs(1);

impl Mux {
    /// A form at the start of its time line.
    pub fn new(options: MuxOptions) -> Self {
        let MuxOptions { jitter, audio, video } = options;
        Self {
            packer: Packer::new(PackerOptions { audio, video, gather: Micros::ZERO }),
            line: Timeline::new(jitter),
            entry: Entry::default(),
            repeated: Micros::ZERO,
        }
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

    fn tracks(&mut self, tracks: &Tracks, _: &mut Vec<Stamped<Burst>>) {
        // The tables wait for the next frame: the tracks of a publisher become known one by one.
        self.packer.tracks(tracks);
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Burst>>) {
        if frame.track.index > 0 || !self.packer.has(frame.track.kind) {
            return;
        }
        let dts = self.line.advance(frame.dts);
        let frame = Frame { dts, pts: dts + (frame.pts - frame.dts), ..frame.clone() };
        let Some(ready) = self.packer.admit(&frame) else { return };
        let mut push = |place, packets: Vec<u8>| {
            out.push(Stamped { time: dts, place, unit: Burst(packets.into()) });
        };
        let tables = self.wants_tables(&frame);
        if tables {
            let mut packets = Vec::new();
            self.packer.tables(&mut packets);
            push(Place::Init { slot: 0 }, packets);
        }
        if tables || frame.track.kind == Kind::Video {
            self.repeated = dts;
        }
        let key = self.entry.next(&frame, |kind| self.packer.has(kind));
        let mut packets = Vec::new();
        self.packer.pack(&frame, ready, &mut packets);
        push(Place::Media { track: frame.track, key }, packets);
    }
}

#[cfg(test)]
mod tests {
    use media::TrackId;

    use super::*;
    use crate::ts::packer::tests::{aac, audio, h264, mp3, tracks, video};
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
        let pes = put(&mut mux, [late]).pop().map(|unit| reader::read_pes(&unit.unit.0).remove(0)).unwrap();
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
        let listed =
            |unit: &Stamped<Burst>| reader::read_programs(&unit.unit.0).pop().map(|p| p.streams.len());
        assert_eq!(units.iter().filter_map(listed).collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn players_start_at_audio_when_the_video_is_lost() {
        let mut mux = mux(MuxOptions::default(), &both());
        put(&mut mux, [video(0, true)]);
        let units = put(&mut mux, (0..116).map(|n| audio(n * 20)));
        assert_eq!(places(&units).replace('T', ""), ["a".repeat(115), "A".into()].concat());
        assert_eq!(places(&put(&mut mux, [video(2320, false), audio(2320)])), "va");
    }

    #[test]
    fn a_change_is_told_before_the_next_frame() {
        let mut mux = mux(MuxOptions::default(), &both());
        assert_eq!(places(&put(&mut mux, [video(0, true), video(40, false)])), "TVv");
        mux.tracks(&tracks([(TrackId::VIDEO, h264())]), &mut Vec::new());
        assert_eq!(places(&put(&mut mux, [video(80, false), audio(80), video(120, false)])), "Tvv");
        mux.tracks(&Tracks::default(), &mut Vec::new());
        assert!(put(&mut mux, [video(160, true)]).is_empty(), "nobody publishes");
        mux.tracks(&both(), &mut Vec::new());
        let units = put(&mut mux, [audio(9000)]);
        assert_eq!(places(&units), "Ta");
        assert_eq!(units[0].time.millis(), 130, "the line goes on");
    }

    #[test]
    fn other_tracks_are_left_out() {
        let second = TrackId { index: 1, ..TrackId::VIDEO };
        let mut mux = mux(MuxOptions::default(), &tracks([(second, h264()), (TrackId::VIDEO, h264())]));
        assert!(put(&mut mux, [Frame { track: second, ..video(0, true) }, audio(0)]).is_empty());
    }
}
