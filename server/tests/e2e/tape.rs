//! A clip taken apart into messages, for a publisher of ours: real media that decoders like, sent at any pace and with any
//! times.

use std::path::Path;

use bytes::Bytes;
use formats::flv::{Item, Reader, TagKind};
use rtmp::MediaKind;

use crate::client::Client;

/// See the module.
pub struct Tape {
    headers: Vec<(MediaKind, Bytes)>,
    /// In the order of the file, from which times may differ by little.
    frames: Vec<(MediaKind, u32, Bytes)>,
}

/// How long a tape plays, in milliseconds; it can be played again and again.
pub const LENGTH: u32 = 4000;

impl Tape {
    /// A clip of four seconds.
    pub fn of(clip: &Path) -> Self {
        let mut reader = Reader::new();
        reader.receive(&std::fs::read(clip).unwrap());
        let mut tape = Self { headers: Vec::new(), frames: Vec::new() };
        while let Some(item) = reader.poll_item().unwrap() {
            let Item::Tag { kind, timestamp, body } = item else { continue };
            let kind = match kind {
                TagKind::Video => MediaKind::Video,
                TagKind::Audio => MediaKind::Audio,
                TagKind::Script => continue,
            };
            match part(kind, &body) {
                Part::Header => tape.headers.push((kind, body)),
                Part::Frame if timestamp < LENGTH => tape.frames.push((kind, timestamp, body)),
                Part::Frame | Part::End => {}
            }
        }
        assert!(!tape.frames.is_empty());
        tape
    }

    /// Without its frames of this kind.
    pub fn without(mut self, kind: MediaKind) -> Self {
        self.headers.retain(|(k, _)| *k != kind);
        self.frames.retain(|(k, ..)| *k != kind);
        self
    }

    /// How many frames of this kind stand in one length.
    pub fn count(&self, kind: MediaKind) -> usize {
        self.frames.iter().filter(|(k, ..)| *k == kind).count()
    }

    /// Gives headers and frames up to this time to somebody who sends them.
    pub fn send(&self, mut send: impl FnMut(MediaKind, u32, &[u8]), to: u32) {
        self.headers.iter().for_each(|(kind, body)| send(*kind, 0, body));
        let frames = self.frames.iter().filter(|(_, time, _)| *time < to);
        frames.for_each(|(kind, time, body)| send(*kind, *time, body));
    }

    /// Sends the sequence headers.
    pub fn headers(&self, client: &mut Client, time: u32) {
        for (kind, body) in &self.headers {
            client.queue(*kind, time, body);
        }
        client.flush();
    }

    /// Sends what stands between these times of the tape in its loop, `shift` milliseconds later.
    pub fn play(&self, client: &mut Client, from: u32, to: u32, shift: u32) {
        for turn in from / LENGTH..=to / LENGTH {
            for (kind, time, body) in &self.frames {
                let time = turn * LENGTH + time;
                if (from..to).contains(&time) {
                    client.queue(*kind, time.wrapping_add(shift), body);
                }
            }
            client.flush();
        }
    }
}

enum Part {
    Header,
    Frame,
    End,
}

fn part(kind: MediaKind, body: &[u8]) -> Part {
    let number = match (kind, body) {
        (MediaKind::Video, [first, ..]) if first & 0x80 != 0 => first & 0x0f,
        (MediaKind::Video, [_, number, ..]) => *number,
        (_, [first, number, ..]) if first >> 4 == 10 => *number,
        _ => 1,
    };
    match number {
        0 => Part::Header,
        2 => Part::End,
        _ => Part::Frame,
    }
}
