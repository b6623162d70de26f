//! What a tag is, by the first bytes of its body: enough to find places in a file where a player can begin.

use super::TagKind;
use super::enhanced::{AUDIO_MULTITRACK, MOD_EX, SEQUENCE_START, VIDEO_METADATA, VIDEO_MULTITRACK};

/// What a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Something that decoders must know before what follows: a sequence header.
    Config,
    /// A script.
    Script,
    /// Pictures with which a decoder can start.
    Key,
    /// Other pictures.
    Picture,
    /// Sound.
    Sound,
}

/// So many bytes of a body are enough.
pub const GLANCE: usize = 16;

/// Looks at the beginning of a body. What it cannot tell is taken for something that is needed, which costs no more than reading it.
pub fn glance(kind: TagKind, start: &[u8]) -> Glance {
    let (first, second) = (start.first().copied().unwrap_or_default(), start.get(1).copied());
    match kind {
        TagKind::Script => Glance::Script,
        TagKind::Video => {
            let is_key = first >> 4 & 7 == super::frame_type::KEY;
            let is_config = match (first & 0x80 != 0, first & 0x0f) {
                (false, 7 | 12 | 13) => second == Some(0),
                (false, _) => false,
                (true, VIDEO_METADATA | MOD_EX) => first & 0x0f == VIDEO_METADATA,
                (true, VIDEO_MULTITRACK) => second.is_some_and(|types| types & 0x0f == SEQUENCE_START),
                (true, packet) => packet == SEQUENCE_START,
            };
            match (is_config, is_key) {
                (true, _) => Glance::Config,
                (_, true) => Glance::Key,
                _ => Glance::Picture,
            }
        }
        TagKind::Audio => {
            let is_config = match first >> 4 {
                10 => second == Some(0),
                9 if first & 0x0f == AUDIO_MULTITRACK => {
                    second.is_some_and(|types| types & 0x0f == SEQUENCE_START)
                }
                9 => first & 0x0f == SEQUENCE_START,
                _ => false,
            };
            if is_config { Glance::Config } else { Glance::Sound }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_by_their_first_bytes() {
        use Glance::{Config, Key, Picture, Script, Sound};
        for (kind, start, want) in [
            (TagKind::Script, &b"\x02"[..], Script),
            (TagKind::Video, &[0x17, 0], Config),
            (TagKind::Video, &[0x17, 1, 0, 0, 0], Key),
            (TagKind::Video, &[0x27, 1], Picture),
            (TagKind::Video, &[0x1c, 0], Config),
            (TagKind::Video, &[0x12, 0], Key),
            (TagKind::Video, b"\x90hvc1", Config),
            (TagKind::Video, b"\x91hvc1", Key),
            (TagKind::Video, b"\xa3hvc1", Picture),
            (TagKind::Video, b"\x94hvc1", Config),
            (TagKind::Video, b"\x96\x00hvc1", Config),
            (TagKind::Video, b"\xa6\x01hvc1", Picture),
            (TagKind::Audio, &[0xaf, 0], Config),
            (TagKind::Audio, &[0xaf, 1], Sound),
            (TagKind::Audio, &[0x2f], Sound),
            (TagKind::Audio, b"\x90Opus", Config),
            (TagKind::Audio, b"\x91Opus", Sound),
            (TagKind::Audio, b"\x95\x00Opus", Config),
            (TagKind::Video, &[], Picture),
        ] {
            assert_eq!(glance(kind, start), want, "{kind:?} {start:02x?}");
        }
    }
}
