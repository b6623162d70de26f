//! The unit of the RTP form: the packets of one frame, without what is private to a player; and the short way to it for publishers that speak RTP.

use std::sync::Arc;

use media::{Micros, Place, Stamped, TrackId};

use crate::pack::Payload;
use crate::unpack::{Encoding, Received};

/// All packets of one frame, or of one part of a frame, in order. A clone shares them. SSRC, payload type, sequence numbers and the offset of timestamps are
/// the player's and are added by [`crate::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    track: TrackId,
    rate: u32,
    timestamp: u32,
    time: Micros,
    packets: Box<[Payload]>,
    size: usize,
}

impl Burst {
    /// A burst of these packets. `timestamp` counts at `rate` Hz and stands for `time`, the time of presentation.
    pub(crate) fn new(
        track: TrackId,
        rate: u32,
        timestamp: u32,
        time: Micros,
        packets: Vec<Payload>,
    ) -> Self {
        let weight = |payload: &Payload| payload.body.len().saturating_add(size_of::<Payload>());
        let size = packets.iter().map(weight).sum();
        Self(Arc::new(Inner { track, rate, timestamp, time, packets: packets.into(), size }))
    }

    /// The track.
    pub fn track(&self) -> TrackId {
        self.0.track
    }

    /// Ticks per second of the timestamp.
    pub fn rate(&self) -> u32 {
        self.0.rate
    }

    /// The timestamp that all its packets share, before the player's offset.
    pub fn timestamp(&self) -> u32 {
        self.0.timestamp
    }

    /// The time of presentation that the timestamp stands for, on a line that all tracks share.
    pub fn time(&self) -> Micros {
        self.0.time
    }

    /// The payloads.
    pub fn packets(&self) -> &[Payload] {
        &self.0.packets
    }
}

impl media::Unit for Burst {
    fn size(&self) -> usize {
        self.0.size
    }

    fn payload(&self) -> usize {
        self.0.packets.iter().map(|payload| payload.body.len()).sum()
    }
}

/// Makes bursts of received packets as they are: what a publisher packed need not be packed again. It stands beside the
/// [`crate::unpack::Unpacker`], which makes frames of the same packets where frames are wanted.
#[derive(Debug)]
pub struct Gather {
    track: TrackId,
    rate: u32,
    encoding: Encoding,
    beside_video: bool,
    next: Option<u64>,
    open: Option<Open>,
}

/// The frame that is being gathered.
#[derive(Debug)]
struct Open {
    ticks: i64,
    time: Micros,
    key: bool,
    packets: Vec<Payload>,
}

/// A frame of more packets goes out in parts.
const MAX_PACKETS: usize = 1000;

impl Gather {
    /// For a track whose timestamps count at `rate` Hz. A player may start at keyframes, and at any sound unless it is `beside_video`.
    pub fn new(track: TrackId, rate: u32, encoding: Encoding, beside_video: bool) -> Self {
        Self { track, rate, encoding, beside_video, next: None, open: None }
    }

    /// Takes the next packet in order, whose timestamp stands for `time` (see [`crate::clock::Sync`]). A video frame goes out with its marker or when the
    /// next begins, sound packet by packet.
    pub fn push(&mut self, packet: &Received, time: Micros, out: &mut Vec<Stamped<Burst>>) {
        let lost = self.next.map_or(0, |next| packet.sequence.saturating_sub(next));
        if self.next.is_some_and(|next| packet.sequence < next) || packet.payload.is_empty() {
            // A packet that only pads counts as having come, unless something is missing before it.
            self.next = self
                .next
                .map(|next| if lost == 0 { next.max(packet.sequence.saturating_add(1)) } else { next });
            return;
        }
        self.next = Some(packet.sequence.saturating_add(1));
        let fits = |open: &Open| open.ticks == packet.ticks && open.packets.len() < MAX_PACKETS;
        if !self.open.as_ref().is_some_and(fits) {
            self.flush(out);
        }
        let opens = self.encoding.opens_keyframe(&packet.payload);
        let fresh = || Open { ticks: packet.ticks, time, key: false, packets: Vec::new() };
        let open = self.open.get_or_insert_with(fresh);
        open.key |= opens && (self.encoding.is_video() || !self.beside_video);
        let gap = u8::try_from(lost).unwrap_or(u8::MAX);
        open.packets.push(Payload { marker: packet.marker, gap, ..Payload::bare(packet.payload.clone()) });
        if packet.marker || !self.encoding.is_video() {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<Stamped<Burst>>) {
        if let Some(Open { ticks, time, key, packets }) = self.open.take() {
            let unit = Burst::new(self.track, self.rate, ticks as u32, time, packets);
            out.push(Stamped { time, place: Place::Media { track: self.track, key }, unit });
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn packet(sequence: u64, ticks: i64, marker: bool, payload: &'static [u8]) -> Received {
        Received { sequence, ticks, marker, payload_type: 96, payload: Bytes::from_static(payload) }
    }

    /// The gaps of each burst's packets, and whether it is key.
    fn gather(encoding: Encoding, beside_video: bool, packets: &[Received]) -> Vec<(Vec<u8>, bool)> {
        let (mut gather, mut out) = (Gather::new(TrackId::VIDEO, 90_000, encoding, beside_video), Vec::new());
        for packet in packets {
            gather.push(packet, Micros(packet.ticks), &mut out);
        }
        let gaps = |burst: &Burst| burst.packets().iter().map(|packet| packet.gap).collect();
        out.iter().map(|stamped| (gaps(&stamped.unit), stamped.is_key())).collect()
    }

    #[test]
    fn frames_of_video_with_their_gaps() {
        let sps = &[0x67, 1, 2];
        let packets = [
            packet(10, 0, false, &[0x06, 1]),
            packet(11, 0, false, sps),
            packet(12, 0, true, &[0x65, 1]),
            packet(13, 3000, false, &[0x7c, 0x81, 1]),
            packet(14, 3000, false, b""),
            packet(17, 3000, false, &[0x7c, 0x41, 1]),
            packet(16, 3000, false, &[0x7c, 1, 1]),
            packet(19, 6000, true, &[0x41, 1]),
            packet(21, 9000, false, b""),
            packet(22, 9000, true, &[0x41, 1]),
        ];
        let want = [(vec![0, 0, 0], true), (vec![0, 2], false), (vec![1], false), (vec![2], false)];
        assert_eq!(gather(Encoding::H264 { sets: vec![] }, false, &packets), want);
    }

    #[test]
    fn sound_goes_at_once() {
        let packets = [packet(10, 0, false, b"a"), packet(11, 960, false, b"b")];
        for beside_video in [true, false] {
            let want = (vec![0], !beside_video);
            assert_eq!(gather(Encoding::Opus, beside_video, &packets), [want.clone(), want]);
        }
    }
}
