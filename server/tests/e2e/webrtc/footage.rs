//! What the peers here publish: the pictures of a clip for ever, each of them with its number in it, and in Opus a beep at each
//! full second. Who gets it can tell which pictures came, and that they are what was sent.

use std::sync::OnceLock;

use rtmp::MediaKind;

use crate::tape::Tape;
use crate::tools::{PICTURES, clip, ffmpeg};

/// Pictures per second.
pub const RATE: u32 = 25;
/// Pictures from keyframe to keyframe.
pub const GOP: usize = 25;
/// Frames of sound per second.
pub const SOUND_RATE: u32 = 50;

/// Stands before the number in an SEI message of user data (H.264 §D.1.7), in place of a UUID.
const MARK: &[u8; 16] = b"oxcast's picture";
const SEI: u8 = 6;

/// See the module.
pub struct Footage {
    /// SPS and PPS.
    parameters: Vec<Vec<u8>>,
    /// The slices of each picture.
    pictures: Vec<Vec<Vec<u8>>>,
    sound: Vec<Vec<u8>>,
}

impl Footage {
    /// The one that there is.
    pub fn get() -> &'static Self {
        static MADE: OnceLock<Footage> = OnceLock::new();
        MADE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let codec = "-c:v libx264 -preset veryfast -profile:v baseline -g 25 -bf 0";
        let tape = Tape::of(&clip(ffmpeg(), &format!("{PICTURES} {codec}")));
        let (mut parameters, mut pictures) = (Vec::new(), Vec::new());
        let take = |kind, _, body: &[u8]| match (kind, body) {
            (MediaKind::Video, [_, 0, _, _, _, record @ ..]) => parameters = parameter_sets(record),
            (MediaKind::Video, [_, 1, _, _, _, units @ ..]) => {
                let slices = avcc(units).into_iter().filter(|unit| is_slice(unit));
                pictures.push(slices.map(<[u8]>::to_vec).collect::<Vec<_>>());
            }
            _ => {}
        };
        tape.send(take, u32::MAX);
        assert!(pictures.len() == 100 && parameters.len() == 2);
        assert!((0..100).all(|n| is_key(&pictures[n]) == (n % GOP == 0)), "keyframes are elsewhere");
        Self { parameters, pictures, sound: tone() }
    }

    /// The place of the next keyframe at or after this place.
    pub fn next_key(place: usize) -> usize {
        place.next_multiple_of(GOP)
    }

    /// A picture as Annex B has it, with this number in it; after the last place comes the first one again.
    pub fn picture(&self, place: usize, number: u32) -> Vec<u8> {
        let slices = &self.pictures[place % self.pictures.len()];
        let text = format!("{number:08}.{:03}", place % self.pictures.len());
        let sei = [&[SEI, 5, (MARK.len() + text.len()) as u8], &MARK[..], text.as_bytes(), &[0x80]].concat();
        let parameters = if is_key(slices) { &self.parameters[..] } else { &[] };
        let units = parameters.iter().chain([&sei]).chain(slices);
        units.flat_map(|unit| [&[0, 0, 0, 1], &unit[..]].concat()).collect()
    }

    /// A frame of sound.
    pub fn sound(&self, place: usize) -> &[u8] {
        &self.sound[place % self.sound.len()]
    }

    /// Which picture this is; it must be as it was sent. `None` without a number: its beginning was lost.
    #[track_caller]
    pub fn number(&self, units: &[&[u8]]) -> Option<u32> {
        let text = units.iter().find_map(|unit| {
            let at = unit.windows(MARK.len()).position(|window| window == MARK)?;
            std::str::from_utf8(&unit[at + MARK.len()..][..12]).ok()
        });
        let (number, place) = text?.split_once('.')?;
        let (number, place): (u32, usize) = (number.parse().unwrap(), place.parse().unwrap());
        let slices = units.iter().filter(|unit| is_slice(unit));
        assert!(slices.eq(&self.pictures[place]), "picture {number} is not what was sent");
        Some(number)
    }
}

/// A second that begins with a fifth of 440 Hz.
fn tone() -> Vec<Vec<u8>> {
    const HZ: usize = 48_000;
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Stereo, opus::Application::Audio).unwrap();
    let wave = |n: usize| (n as f32 / HZ as f32 * 440.0 * std::f32::consts::TAU).sin() * 0.3;
    let sample = |n: usize| if n < HZ / 5 { wave(n) } else { 0.0 };
    let frame = |n: usize| (n * 960..(n + 1) * 960).flat_map(|n| [sample(n); 2]).collect::<Vec<f32>>();
    (0..SOUND_RATE as usize).map(|n| encoder.encode_vec_float(&frame(n), 1000).unwrap()).collect()
}

/// The NAL units of a frame as FLV has it.
pub fn avcc(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        units.push(unit);
        bytes = rest;
    }
    units
}

/// The NAL units of a frame as Annex B has it, with start codes of four bytes.
pub fn annex_b(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&[0, 0, 0, 1])).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| &bytes[start + 4..end]).collect()
}

/// SPS and PPS of an `AVCDecoderConfigurationRecord` that has one of each.
fn parameter_sets(record: &[u8]) -> Vec<Vec<u8>> {
    let (length, rest) = record[6..].split_first_chunk::<2>().unwrap();
    let (sps, rest) = rest.split_at(u16::from_be_bytes(*length).into());
    vec![sps.to_vec(), rest[3..][..usize::from(u16::from_be_bytes([rest[1], rest[2]]))].to_vec()]
}

fn is_slice(unit: &[u8]) -> bool {
    unit.first().is_some_and(|first| matches!(first & 0x1f, 1 | 5))
}

fn is_key(slices: &[Vec<u8>]) -> bool {
    slices.iter().all(|slice| slice[0] & 0x1f == 5)
}
