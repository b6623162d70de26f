//! Lays media messages for players, so that players in step share one image of the bytes.
//!
//! Only the chunk headers are made here; who shares what with whom is decided by the fan-out.

use super::writer::{Format, body, header};
use super::{EXTENDED, MAX_MESSAGE, TIME_MASK};
use crate::message::{MediaKind, MediaKinds};

/// Writes the media messages of one player, or those that many players share.
///
/// The first message of a kind has a full header with the player's own time; later ones tell the step since the one before and
/// are therefore the same bytes for every player that has the same messages behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaWriter {
    chunk_size: u32,
    base: u32,
    stream: u32,
    last: [Option<u32>; 3],
}

/// Tracks are apart by no more milliseconds than these; what is further before a zero has come round the 32 bits.
const MAX_BEFORE: u32 = 10_000;

impl MediaWriter {
    /// A writer at the start of a stream. `base` is the time on the stream's time line, in milliseconds, that the player
    /// sees as zero; `chunk_size` in bytes is what the player was told.
    pub fn new(chunk_size: u32, base: u32) -> Self {
        Self { chunk_size: chunk_size.max(1), base, stream: 1, last: [None; 3] }
    }

    /// The same writer for a player that sees `base` as zero.
    pub fn with_base(self, base: u32) -> Self {
        Self { base, ..self }
    }

    /// The same writer for another message stream than 1, which is the only one that our server hands out.
    pub fn on_stream(self, stream: u32) -> Self {
        Self { stream, ..self }
    }

    /// Appends one message of `head` and `body`. `time` is in milliseconds on the stream's time line and may wrap.
    ///
    /// `true` when the bytes do not depend on the base: any writer that is [`in_step`](Self::in_step) would write the same. A
    /// message longer than [`MAX_MESSAGE`] cannot be told on the wire and is left out; so is what is before the zero of a player, as no time can tell it, and another
    /// one would shift the track.
    pub fn write(&mut self, kind: MediaKind, time: u32, head: &[u8], rest: &[u8], out: &mut Vec<u8>) -> bool {
        let length = head.len() + rest.len();
        if length > MAX_MESSAGE as usize {
            return true;
        }
        let chunks = length / self.chunk_size as usize;
        out.reserve(length + 16 + 5 * chunks);

        let step = self.last(kind).map(|last| time.wrapping_sub(last)).filter(|&step| step < EXTENDED);
        let is_before = self.base > 0 && (1..=MAX_BEFORE).contains(&self.base.wrapping_sub(time));
        if step.is_none() && is_before {
            return false;
        }
        *self.last(kind) = Some(time);
        let format = match step {
            Some(delta) => Format::Step { delta },
            None => Format::Full { stream: self.stream, time: time.wrapping_sub(self.base) & TIME_MASK },
        };
        let extended = header(format, cid(kind), kind.message_type(), length, out);
        body(self.chunk_size, cid(kind), extended, head, rest, out);
        step.is_some()
    }

    /// Both would write the same bytes for messages of these `kinds`, as far as those do not depend on the base.
    pub fn in_step(&self, other: &Self, kinds: MediaKinds) -> bool {
        self.chunk_size == other.chunk_size
            && MediaKind::ALL.into_iter().filter(|&kind| kinds.contains(kind)).all(|kind| {
                let (mut mine, mut its) = (*self, *other);
                mine.last(kind).is_some() && mine.last(kind) == its.last(kind)
            })
    }

    /// Stands where `other` stands for these `kinds`, after its bytes were sent in place of our own. Other kinds stay, since
    /// the player has not seen `other`'s messages of them.
    pub fn follow(&mut self, other: &Self, kinds: MediaKinds) {
        let mut other = *other;
        for kind in MediaKind::ALL.into_iter().filter(|&kind| kinds.contains(kind)) {
            *self.last(kind) = *other.last(kind);
        }
    }

    fn last(&mut self, kind: MediaKind) -> &mut Option<u32> {
        let [audio, video, data] = &mut self.last;
        match kind {
            MediaKind::Audio => audio,
            MediaKind::Video => video,
            MediaKind::Data => data,
        }
    }
}

/// The chunk stream of a kind; no control message or command goes there, so the headers' memory is ours.
fn cid(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Data => 4,
        MediaKind::Audio => 6,
        MediaKind::Video => 7,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::Reader;
    use crate::message::{Media, kind};

    const KINDS: [MediaKind; 3] = MediaKind::ALL;

    fn reader(chunk_size: u32) -> Reader {
        let mut reader = Reader::new(MAX_MESSAGE);
        let mut bytes = vec![2, 0, 0, 0, 0, 0, 4, kind::SET_CHUNK_SIZE, 0, 0, 0, 0];
        bytes.extend_from_slice(&chunk_size.to_be_bytes());
        assert_eq!(reader.read(&mut &bytes[..]), Ok(None));
        reader
    }

    fn read(reader: &mut Reader, mut bytes: &[u8]) -> Vec<Media> {
        std::iter::from_fn(|| reader.read(&mut bytes).unwrap()).map(|m| Media::of(m).unwrap()).collect()
    }

    #[test]
    fn the_bytes_on_the_wire() {
        let mut writer = MediaWriter::new(128, 100);
        let mut out = Vec::new();
        assert!(!writer.write(MediaKind::Video, 140, &[0x17, 1], &[9; 127], &mut out));
        let head = [7, 0, 0, 40, 0, 0, 129, 9, 1, 0, 0, 0, 0x17, 1];
        assert_eq!(out, [&head[..], &[9; 126], &[0xc7, 9]].concat());
        out.clear();
        assert!(writer.write(MediaKind::Video, 180, &[0x27], &[], &mut out));
        assert_eq!(out, [0x47, 0, 0, 40, 0, 0, 1, 9, 0x27]);
        out.clear();
        assert!(!writer.write(MediaKind::Video, 179, &[0x27], &[], &mut out), "a step back is told in full");
        assert_eq!(out, [7, 0, 0, 79, 0, 0, 1, 9, 1, 0, 0, 0, 0x27]);
        out.clear();
        assert!(!writer.write(MediaKind::Audio, 0x0100_0063, &[], &[5; 129], &mut out));
        let head = [6, 0xff, 0xff, 0xff, 0, 0, 129, 8, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff];
        assert_eq!(out, [&head[..], &[5; 128], &[0xc6, 0, 0xff, 0xff, 0xff, 5]].concat());
    }

    #[test]
    fn what_is_before_the_zero_of_a_player_is_left_out() {
        let mut out = Vec::new();
        let mut writer = MediaWriter::new(128, 100);
        assert!(!writer.write(MediaKind::Audio, 99, &[1], &[], &mut out));
        assert_eq!(out, []);
        assert!(!writer.write(MediaKind::Audio, 120, &[1], &[], &mut out));
        assert_eq!(out, [6, 0, 0, 20, 0, 0, 1, 8, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn too_long_a_message_is_left_out() {
        let mut out = Vec::new();
        let mut writer = MediaWriter::new(128, 0);
        assert!(writer.write(MediaKind::Video, 0, &[1], &vec![0; MAX_MESSAGE as usize], &mut out));
        assert!(out.is_empty() && writer == MediaWriter::new(128, 0));
    }

    #[test]
    fn following_leaves_unseen_kinds_alone() {
        let (audio, video) =
            ([MediaKind::Audio].into_iter().collect(), [MediaKind::Video].into_iter().collect());
        let mut out = Vec::new();
        let (mut lead, mut player) = (MediaWriter::new(128, 0), MediaWriter::new(128, 50));
        for kind in [MediaKind::Audio, MediaKind::Video] {
            lead.write(kind, 100, &[1], &[], &mut out);
        }
        player.write(MediaKind::Audio, 100, &[1], &[], &mut out);
        assert!(player.in_step(&lead, audio));
        assert!(!player.in_step(&lead, video));
        assert!(!player.in_step(&MediaWriter { chunk_size: 4096, ..lead }, audio));
        lead.write(MediaKind::Audio, 120, &[1], &[], &mut out);
        lead.write(MediaKind::Video, 120, &[1], &[], &mut out);
        assert!(!player.in_step(&lead, audio));
        player.follow(&lead, audio);
        assert!(player.in_step(&lead, audio));
        out.clear();
        assert!(!player.write(MediaKind::Video, 140, &[1], &[], &mut out), "its first video is told in full");
    }

    fn messages() -> impl Strategy<Value = Vec<(MediaKind, i32, usize)>> {
        let step = prop_oneof![6 => 0i32..60, 1 => -50i32..0, 1 => 0xff_fff0i32..0x100_0010];
        prop::collection::vec((prop::sample::select(&KINDS[..]), step, 1usize..700), 1..20)
    }

    proptest! {
        /// Players join anywhere with any base, share the lead's bytes when in step, and read exact times.
        #[test]
        fn players_read_exact_times(
            messages in messages(),
            start in prop_oneof![any::<u32>(), 0xff_ff00u32..0x100_0000, 0x7fff_ff00u32..0x8000_0000],
            base_back in prop_oneof![Just(0u32), any::<u32>(), 0xff_ff00u32..0x100_0000],
            join in 0usize..20,
            chunk_size in 128u32..1000,
        ) {
            let (mut lead, mut time) = (MediaWriter::new(chunk_size, 0), start);
            let mut player: Option<(MediaWriter, Reader)> = None;
            for (at, (kind, step, length)) in messages.into_iter().enumerate() {
                time = time.wrapping_add_signed(step);
                let payload: Vec<u8> = (0..length).map(|at| (at as u8) | 0x80).collect();
                let (head, body) = payload.split_at(length.min(5));
                if at >= join && player.is_none() {
                    player = Some((MediaWriter::new(chunk_size, time.wrapping_sub(base_back)), reader(chunk_size)));
                }
                let (before, mut image) = (lead, Vec::new());
                let shared = lead.write(kind, time, head, body, &mut image);
                if let Some((writer, reader)) = &mut player {
                    let mut alone = *writer;
                    let mut own = Vec::new();
                    let free = alone.write(kind, time, head, body, &mut own);
                    let kinds = [kind].into_iter().collect();
                    if shared && writer.in_step(&before, kinds) {
                        prop_assert!(free);
                        prop_assert_eq!(&image, &own);
                        writer.follow(&lead, kinds);
                    } else {
                        *writer = alone;
                    }
                    prop_assert_eq!(*writer, alone);
                    if own.is_empty() {
                        prop_assert!((1..=MAX_BEFORE).contains(&writer.base.wrapping_sub(time)));
                        continue;
                    }
                    let timestamp = time.wrapping_sub(writer.base) & TIME_MASK;
                    let want = Media { kind, timestamp, payload: payload.into() };
                    prop_assert_eq!(read(reader, &own), vec![want]);
                }
            }
        }
    }
}
