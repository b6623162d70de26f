//! The body of an FLV player: the file header, which has to be guessed, and how tags look behind it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use formats::flv::{self, FileHeader, Tag, TagKind};
use hub::{Broadcast, Reader, Taken};
use media::{Kind, Stamped, Tracks};
use tokio::time::{Instant, timeout};

use crate::config::HttpRemux;
use crate::net::{self, Wire as _};

/// A track that was announced has this long to show its first frame, before the file header says that it is absent.
const GUESS: Duration = Duration::from_millis(800);

/// Waits for the first tags: the wire for all that follow, the body up to there, and which publisher sent it.
pub(super) async fn open(
    broadcast: &Broadcast,
    reader: &mut Reader<Tag>,
    remux: &HttpRemux,
    from_zero: impl FnOnce(&Arc<Tracks>) -> bool,
) -> (Wire, Vec<u8>, (bool, u32)) {
    let mut units = Vec::new();
    let (file, publisher) = first_units(broadcast, reader, remux, &mut units).await;
    let mut wire = Wire::new(from_zero(&broadcast.tracks()));
    if remux.drop_if_not_match {
        wire = wire.without(!file.audio, !file.video);
    }
    let mut first = file.to_bytes().to_vec();
    units.iter().for_each(|unit| wire.lay(unit, &mut first));
    (wire, first, publisher)
}

/// One player's body.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    from_zero: bool,
    /// The time on the stream's line, in milliseconds, that this player sees as zero; told by the first tag.
    base: Option<u32>,
    /// Tags of these kinds are left out.
    without_audio: bool,
    without_video: bool,
}

/// The tags of a round. Their times are written for one player and patched for the next: every player has its own zero.
#[derive(Default)]
pub(super) struct Image {
    bytes: Vec<u8>,
    /// Where the tags start, and their times on the stream's line.
    tags: Vec<(usize, u32)>,
    base: u32,
    audio: bool,
    video: bool,
}

impl Wire {
    fn new(from_zero: bool) -> Self {
        Self { from_zero, base: None, without_audio: false, without_video: false }
    }

    /// Leaves out tags of kinds that the file header said are absent.
    fn without(mut self, audio: bool, video: bool) -> Self {
        (self.without_audio, self.without_video) = (audio, video);
        self
    }

    fn base(&mut self, time: u32) -> u32 {
        *self.base.get_or_insert(if self.from_zero { time } else { 0 })
    }
}

/// Tracks are apart by no more milliseconds than these; what is further before a zero has come round the 32 bits.
const MAX_BEFORE: u32 = 10_000;

/// FLV times are 32 bits, of which players trust 31. What is before a player's zero, because the tracks are a little apart, is told as zero.
fn told(time: u32, base: u32) -> u32 {
    match base.wrapping_sub(time) {
        1..=MAX_BEFORE if base > 0 => 0,
        _ => time.wrapping_sub(base) & 0x7fff_ffff,
    }
}

impl net::Wire for Wire {
    type Unit = Tag;
    type Image = Image;

    fn lay(&mut self, unit: &Stamped<Tag>, out: &mut Vec<u8>) {
        let left_out = match unit.unit.kind {
            TagKind::Audio => self.without_audio,
            TagKind::Video => self.without_video,
            TagKind::Script => false,
        };
        if !left_out {
            let time = unit.time.millis() as u32;
            let base = self.base(time);
            unit.unit.write(told(time, base), out);
        }
    }

    fn begin(&self, image: &mut Image) {
        image.bytes.clear();
        image.bytes.shrink_to(1 << 20);
        image.tags.clear();
        (image.base, image.audio, image.video) = (0, false, false);
    }

    fn draw(&mut self, unit: &Stamped<Tag>, image: &mut Image) {
        image.audio |= unit.unit.kind == TagKind::Audio;
        image.video |= unit.unit.kind == TagKind::Video;
        let time = unit.time.millis() as u32;
        image.tags.push((image.bytes.len(), time));
        unit.unit.write(told(time, image.base), &mut image.bytes);
    }

    fn share<'i>(&mut self, image: &'i mut Image) -> Option<&'i [u8]> {
        if (self.without_audio && image.audio) || (self.without_video && image.video) {
            return None;
        }
        let base = self.base(image.tags.first()?.1);
        if image.base != base {
            for &(start, time) in &image.tags {
                flv::retime(&mut image.bytes[start..], told(time, base));
            }
            image.base = base;
        }
        Some(&image.bytes)
    }
}

/// Waits for the first units, and says what the file header has to say: which kinds of media will come. Also says which
/// publisher sent them, who may be gone by now.
async fn first_units(
    broadcast: &Broadcast,
    reader: &mut Reader<Tag>,
    remux: &HttpRemux,
    units: &mut Vec<Stamped<Tag>>,
) -> (FileHeader, (bool, u32)) {
    let mut since = None;
    let mut before = reader.relay().publisher();
    loop {
        let publisher = reader.relay().publisher();
        let edge = reader.take(64 << 10, units) == Taken::Edge;
        if units.iter().any(|unit| !unit.is_init()) {
            if !remux.guess_has_av {
                return (FileHeader { audio: remux.has_audio, video: remux.has_video }, before);
            }
            let since = *since.get_or_insert_with(Instant::now);
            let tracks = broadcast.tracks();
            let kinds = [Kind::Audio, Kind::Video];
            let waits =
                kinds.into_iter().any(|kind| flv::is_announced(&tracks, kind) && !broadcast.carries(kind));
            if !waits || since.elapsed() >= GUESS {
                let carries = |kind| broadcast.carries(kind);
                let file = FileHeader { audio: carries(Kind::Audio), video: carries(Kind::Video) };
                return (file, before);
            }
        } else {
            before = publisher;
        }
        if edge {
            let more = poll_fn(|cx| reader.poll_more(cx, publisher));
            match since {
                None => more.await,
                // Either way the next turn looks again.
                Some(_) => drop(timeout(GUESS, more).await),
            }
        }
    }
}
