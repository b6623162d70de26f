//! How FLV tags look on an RTMP player's connection.

use ::rtmp::chunk::MediaWriter;
use ::rtmp::{MediaKind, MediaKinds};
use formats::flv::{Tag, TagKind};
use media::{Place, Stamped};

use crate::net;

/// One player's connection.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    writer: MediaWriter,
    /// The next message is the first one, and its time is the player's zero.
    from_zero: bool,
    /// What the player wants (`receiveAudio`, `receiveVideo`).
    wants: MediaKinds,
    /// It wants pictures again, and cannot use them before the next keyframe.
    awaits_key: bool,
}

/// The chunks of a round.
#[derive(Default)]
pub(super) struct Image {
    bytes: Vec<u8>,
    kinds: MediaKinds,
    /// The bytes are right for everybody who stands where the hand stood.
    shared: bool,
    before: Option<MediaWriter>,
    after: Option<MediaWriter>,
}

impl Wire {
    /// A wire whose player sees the stream's own time, or its first message as zero.
    pub(super) fn new(writer: MediaWriter, from_zero: bool) -> Self {
        Self { writer, from_zero, wants: MediaKind::ALL.into_iter().collect(), awaits_key: false }
    }

    /// Sets whether the player wants media of this kind.
    pub(super) fn want(&mut self, kind: MediaKind, wanted: bool) {
        if kind == MediaKind::Video {
            self.awaits_key = wanted && (self.awaits_key || !self.wants.contains(kind));
        }
        let others = MediaKind::ALL.into_iter().filter(|k| *k != kind && self.wants.contains(*k));
        self.wants = others.chain(wanted.then_some(kind)).collect();
    }

    fn write(&mut self, kind: MediaKind, unit: &Stamped<Tag>, out: &mut Vec<u8>) -> bool {
        let time = unit.time.millis() as u32;
        if std::mem::take(&mut self.from_zero) {
            self.writer = self.writer.with_base(time);
        }
        self.writer.write(kind, time, unit.unit.header.as_slice(), &unit.unit.body, out)
    }
}

fn kind(tag: &Tag) -> MediaKind {
    match tag.kind {
        TagKind::Audio => MediaKind::Audio,
        TagKind::Video => MediaKind::Video,
        TagKind::Script => MediaKind::Data,
    }
}

impl net::Wire for Wire {
    type Unit = Tag;
    type Image = Image;

    fn lay(&mut self, unit: &Stamped<Tag>, out: &mut Vec<u8>) {
        let kind = kind(&unit.unit);
        if kind == MediaKind::Video && self.awaits_key {
            match unit.place {
                Place::Media { key: false, .. } => return,
                Place::Media { key: true, .. } => self.awaits_key = false,
                Place::Init { .. } => {}
            }
        }
        if self.wants.contains(kind) {
            self.write(kind, unit, out);
        }
    }

    fn begin(&self, image: &mut Image) {
        image.bytes.clear();
        image.bytes.shrink_to(1 << 20);
        (image.kinds, image.shared) = (MediaKinds::default(), true);
        (image.before, image.after) = (Some(self.writer), Some(self.writer));
    }

    fn draw(&mut self, unit: &Stamped<Tag>, image: &mut Image) {
        let kind = kind(&unit.unit);
        image.shared &= self.write(kind, unit, &mut image.bytes);
        image.kinds.insert(kind);
        image.after = Some(self.writer);
    }

    fn share<'i>(&mut self, image: &'i mut Image) -> Option<&'i [u8]> {
        let (before, after) = (image.before.as_ref()?, image.after.as_ref()?);
        let wants_all =
            MediaKind::ALL.into_iter().all(|k| self.wants.contains(k) || !image.kinds.contains(k));
        if !(image.shared && !self.awaits_key && wants_all && self.writer.in_step(before, image.kinds)) {
            return None;
        }
        self.writer.follow(after, image.kinds);
        Some(&image.bytes)
    }
}
