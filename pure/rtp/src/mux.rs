//! The RTP form: one burst of packets per frame, made once per stream.

use bytes::Bytes;
use media::codec::{Codec, h264, h265, nalu};
use media::{BitReader, Frame, Kind, Micros, Place, Remux, Sound, Stamped, TrackId, Tracks};

use crate::Burst;
use crate::clock::to_ticks;
use crate::pack::{MAX_PAYLOAD, Packer};

/// What the form carries, and how.
#[derive(Clone, Copy, Debug)]
pub struct MuxOptions {
    /// The most bytes of payload in a packet.
    pub max_payload: usize,
    /// `keep_bframe`: B-frames stay. Browsers take them for frames that come too late, and show little but keyframes. Without them go the B-frames of H.264,
    /// also those to which others refer, as SRS has it: their decoders go on with the frame before. Of H.265 goes what is presented before one that came
    /// earlier, and to which none refers.
    pub keep_bframes: bool,
    /// `keep_avc_nalu_sei`: supplemental information (SEI) of H.264 stays.
    pub keep_sei: bool,
    /// Which codecs the form carries; tracks of others are left out.
    pub wants: fn(&Codec) -> bool,
    /// What sound the players take.
    pub sound: Sound,
}

impl Default for MuxOptions {
    /// What browsers take.
    fn default() -> Self {
        Self {
            max_payload: MAX_PAYLOAD,
            keep_bframes: false,
            keep_sei: true,
            wants: is_for_browsers,
            sound: Sound::Opus,
        }
    }
}

/// A codec that WebRTC can carry.
pub fn is_for_browsers(codec: &Codec) -> bool {
    use Codec::{Av1, G711, H264, H265, Opus, Vp8, Vp9};
    matches!(codec, H264(_) | H265(_) | Av1(_) | Vp8 | Vp9(_) | Opus(_) | G711 { .. })
}

/// The RTP form of a stream. It has no init units: parameter sets go before every keyframe.
#[derive(Debug)]
pub struct Mux {
    options: MuxOptions,
    tracks: Tracks,
    lines: Vec<Line>,
    /// Frames of the main audio track since the last video frame.
    audio_in_row: u32,
}

/// One track at work.
#[derive(Debug)]
struct Line {
    id: TrackId,
    packer: Packer,
    /// What is known of the order of frames, for codecs that reorder.
    order: Option<Order>,
}

/// After this many audio frames without video (about three seconds) the video counts as lost, and players may start at any audio frame. The
/// other live forms have the same rule.
const VIDEO_LOST: u32 = 115;

impl Mux {
    /// A form without tracks yet.
    pub fn new(options: MuxOptions) -> Self {
        Self { options, tracks: Tracks::default(), lines: Vec::new(), audio_in_row: 0 }
    }

    fn has(&self, kind: Kind) -> bool {
        self.lines.iter().any(|line| line.id == TrackId { kind, index: 0 })
    }

    /// A player may start at this frame.
    fn is_entry(&mut self, frame: &Frame) -> bool {
        let main = frame.track.index == 0;
        match frame.track.kind {
            Kind::Video => {
                self.audio_in_row = 0;
                main && frame.key
            }
            _ => {
                let lost = main && self.audio_in_row >= VIDEO_LOST;
                self.audio_in_row = self.audio_in_row.saturating_add(main.into());
                lost || !self.has(Kind::Video)
            }
        }
    }

    fn burst(&mut self, frame: &Frame) -> Option<Burst> {
        let line = self.lines.iter_mut().find(|line| line.id == frame.track)?;
        if let Some(order) = &mut line.order
            && order.drops(frame)
            && !self.options.keep_bframes
        {
            return None;
        }
        let mut packets = Vec::new();
        match &line.order {
            Some(order) if !order.h265 && !self.options.keep_sei => {
                line.packer.pack(&Frame { data: without_sei(&frame.data), ..frame.clone() }, &mut packets);
            }
            _ => line.packer.pack(frame, &mut packets),
        }
        let timestamp = to_ticks(frame.pts, line.packer.rate()) as u32;
        let burst = |packets| Burst::new(frame.track, line.packer.rate(), timestamp, frame.pts, packets);
        (!packets.is_empty()).then(|| burst(packets))
    }
}

impl Remux for Mux {
    type Unit = Burst;

    fn tracks(&mut self, tracks: &Tracks, _: &mut Vec<Stamped<Burst>>) {
        for track in tracks.iter().filter(|track| self.tracks.find(track.id) != Some(track)) {
            self.lines.retain(|line| line.id != track.id);
            let wanted = (self.options.wants)(&track.codec);
            let packer = wanted.then(|| Packer::new(track, self.options.max_payload)).flatten();
            let order = Order::of(&track.codec);
            self.lines.extend(packer.map(|packer| Line { id: track.id, packer, order }));
        }
        self.lines.retain(|line| tracks.find(line.id).is_some());
        self.tracks = tracks.clone();
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<Burst>>) {
        if let Some(unit) = self.burst(frame) {
            let key = self.is_entry(frame);
            out.push(Stamped { time: frame.dts, place: Place::Media { track: frame.track, key }, unit });
        }
    }

    fn sound(&self) -> Sound {
        self.options.sound
    }
}

/// The other NAL units of a frame of H.264.
fn without_sei(data: &Bytes) -> Bytes {
    let others = || nalu::units(data).filter(|unit| h264::unit_type(unit) != SEI);
    if others().count() == nalu::units(data).count() {
        return data.clone();
    }
    let mut kept = Vec::with_capacity(data.len());
    for unit in others() {
        kept.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        kept.extend_from_slice(unit);
    }
    kept.into()
}

/// The NAL unit type of SEI (ITU-T H.264 table 7-1).
const SEI: u8 = 6;

/// Finds frames that can be left out.
#[derive(Debug)]
struct Order {
    h265: bool,
    /// The latest time of presentation since the last keyframe.
    latest: Option<Micros>,
}

impl Order {
    fn of(codec: &Codec) -> Option<Self> {
        let h265 = matches!(codec, Codec::H265(_));
        (h265 || matches!(codec, Codec::H264(_))).then_some(Self { h265, latest: None })
    }

    /// A B-frame. In H.264 the slices say so; in H.265 frames of low delay are B too, so that only one which is presented
    /// before an earlier frame counts.
    fn drops(&mut self, frame: &Frame) -> bool {
        if frame.key {
            self.latest = None;
        }
        let late = self.latest.is_some_and(|latest| frame.pts < latest);
        self.latest = self.latest.max(Some(frame.pts));
        let mut pictures = nalu::units(&frame.data).filter(|unit| self.is_picture(unit)).peekable();
        pictures.peek().is_some()
            && pictures.all(|unit| match self.h265 {
                // Even types below 16: no picture of its own sub-layer refers to it (ITU-T H.265 table 7-1).
                true => late && h265::unit_type(unit) < 16 && h265::unit_type(unit).is_multiple_of(2),
                false => is_b(unit),
            })
    }

    fn is_picture(&self, unit: &[u8]) -> bool {
        match self.h265 {
            true => !unit.is_empty() && h265::unit_type(unit) < 32,
            false => (1..=5).contains(&h264::unit_type(unit)),
        }
    }
}

/// A slice of type B (ITU-T H.264 §7.3.3, table 7-6).
fn is_b(unit: &[u8]) -> bool {
    let rest = unit.get(1..).unwrap_or_default();
    // Two Exp-Golomb codes of at most 32 bits; the escapes are looked for in little more than they need.
    let head = nalu::unescape(rest.get(..12).unwrap_or(rest));
    let mut r = BitReader::new(&head);
    let kind = r.ue().and_then(|_first_macroblock| r.ue());
    kind.is_ok_and(|kind| kind % 5 == 1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::codec::{aac, h265, opus};
    use media::{Dialect, Track, Unit};

    use super::*;

    const P: &[u8] = &[0, 0, 0, 3, 0x41, 0b1011_0000, 0]; // slice_type 5
    const B: &[u8] = &[0, 0, 0, 3, 0x01, 0b1010_0000, 0]; // slice_type 1, no reference
    const B_REF: &[u8] = &[0, 0, 0, 3, 0x21, 0b1010_0000, 0];

    fn mux(options: MuxOptions, codecs: &[(TrackId, Codec)]) -> Mux {
        let mut tracks = Tracks::default();
        for (id, codec) in codecs {
            let (codec, config) = (codec.clone(), Bytes::new());
            tracks.set(Track { id: *id, codec, config, dialect: Dialect::Standard });
        }
        let mut mux = Mux::new(options);
        mux.tracks(&tracks, &mut Vec::new());
        mux
    }

    fn h264() -> Codec {
        Codec::H264(h264::Config::default())
    }

    fn opus() -> Codec {
        Codec::Opus(opus::Config::default())
    }

    fn put(
        mux: &mut Mux,
        track: TrackId,
        ms: i64,
        ahead: i64,
        key: bool,
        data: &[u8],
    ) -> Option<Stamped<Burst>> {
        let (dts, pts) = (Micros::from_millis(ms), Micros::from_millis(ms + ahead));
        let mut out = Vec::new();
        mux.frame(&Frame { track, dts, pts, key, data: Bytes::copy_from_slice(data) }, &mut out);
        assert!(out.len() <= 1);
        out.pop()
    }

    #[test]
    fn a_frame_is_a_burst() {
        let mut mux = mux(MuxOptions::default(), &[(TrackId::VIDEO, h264()), (TrackId::AUDIO, opus())]);
        let video = put(&mut mux, TrackId::VIDEO, 1000, 40, true, P).unwrap();
        assert!(video.is_key());
        assert_eq!(video.time, Micros::from_millis(1000));
        let burst = video.unit;
        assert_eq!((burst.timestamp(), burst.rate(), burst.time().millis()), (1040 * 90, 90_000, 1040));
        assert_eq!((burst.packets().len(), burst.track()), (1, TrackId::VIDEO));
        assert!(burst.packets()[0].marker && burst.size() > 3);
        let audio = put(&mut mux, TrackId::AUDIO, 1000, 0, true, b"opus").unwrap();
        assert_eq!((audio.is_key(), audio.unit.timestamp()), (false, 48_000));
    }

    #[test]
    fn b_frames_go_and_others_stay() {
        for keep_bframes in [false, true] {
            let options = MuxOptions { keep_bframes, ..MuxOptions::default() };
            let mut mux = mux(options, &[(TrackId::VIDEO, h264())]);
            assert!(put(&mut mux, TrackId::VIDEO, 0, 0, false, P).is_some());
            assert_eq!(put(&mut mux, TrackId::VIDEO, 40, 0, false, B_REF).is_some(), keep_bframes);
            assert_eq!(put(&mut mux, TrackId::VIDEO, 80, 0, false, B).is_some(), keep_bframes);
            let mixed = [B, P].concat();
            assert!(put(&mut mux, TrackId::VIDEO, 120, 0, false, &mixed).is_some());
        }
    }

    #[test]
    fn h265_leaves_out_what_is_late_and_not_referred_to() {
        let codec = Codec::H265(h265::Config::default());
        let mut mux = mux(MuxOptions::default(), &[(TrackId::VIDEO, codec)]);
        let (trail_n, trail_r) = ([0, 0, 0, 3, 0, 1, 7], [0, 0, 0, 3, 2, 1, 7]);
        assert!(put(&mut mux, TrackId::VIDEO, 0, 120, false, &trail_r).is_some());
        assert!(put(&mut mux, TrackId::VIDEO, 40, 40, false, &trail_r).is_some());
        assert!(put(&mut mux, TrackId::VIDEO, 80, 20, false, &trail_n).is_none());
        assert!(put(&mut mux, TrackId::VIDEO, 120, 20, false, &trail_n).is_some(), "in order: of low delay");
    }

    #[test]
    fn only_wanted_tracks_and_entries_without_video() {
        let aac = Codec::Aac(aac::Config { sample_rate: 48_000, ..Default::default() });
        let list = [(TrackId::VIDEO, h264()), (TrackId::AUDIO, aac)];
        assert!(put(&mut mux(MuxOptions::default(), &list), TrackId::AUDIO, 0, 0, true, b"aac").is_none());
        let options = MuxOptions { wants: |_| true, ..MuxOptions::default() };
        let mut all = mux(options, &list);
        assert!(!put(&mut all, TrackId::AUDIO, 0, 0, true, b"aac").unwrap().is_key());
        for _ in 0..VIDEO_LOST {
            assert!(put(&mut all, TrackId::AUDIO, 0, 0, true, b"aac").is_some());
        }
        assert!(put(&mut all, TrackId::AUDIO, 0, 0, true, b"aac").unwrap().is_key(), "the video is lost");
        let mut sound = mux(MuxOptions::default(), &[(TrackId::AUDIO, opus())]);
        assert!(put(&mut sound, TrackId::AUDIO, 0, 0, true, b"opus").unwrap().is_key());
        sound.tracks(&Tracks::default(), &mut Vec::new());
        assert!(put(&mut sound, TrackId::AUDIO, 0, 0, true, b"opus").is_none(), "the publisher has left");
    }
}
