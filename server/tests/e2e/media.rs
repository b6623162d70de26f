//! Media made by hand: an H.264 and AAC stream whose frames carry their number, so that a player of ours can tell which
//! of them it got. Decoders would not like it.

use bytes::Bytes;
use rtmp::{Media, MediaKind};

use crate::client::Client;
use crate::http::Tag;

/// x264, High, 1280x720.
const AVCC: &[u8] = &[
    1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 26, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01,
    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x19, 0x60, 1, 0, 4, 0x68,
    0xeb, 0xe3, 0xcb,
];

/// LC, 44.1 kHz, stereo.
const AAC: &[u8] = &[0x12, 0x10];

/// What stands before the number in each frame.
pub const MARK: [u8; 2] = *b"ox";

/// The sequence header of the pictures.
pub fn picture_header() -> Vec<u8> {
    [&[0x17, 0, 0, 0, 0], AVCC].concat()
}

/// The sequence header of the sound.
pub fn sound_header() -> Vec<u8> {
    [&[0xaf, 0], AAC].concat()
}

/// A picture of about `size` bytes.
pub fn picture(number: u32, key: bool, size: usize) -> Vec<u8> {
    let unit =
        [&[if key { 0x65 } else { 0x41 }][..], &MARK, &number.to_be_bytes(), &vec![0x55; size]].concat();
    let head = [if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    [&head[..], &(unit.len() as u32).to_be_bytes(), &unit].concat()
}

/// A frame of sound.
pub fn sound(number: u32) -> Vec<u8> {
    [&[0xaf, 1][..], &MARK, &number.to_be_bytes(), &[0x33; 20]].concat()
}

/// A message as its player sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A sequence header.
    Header(MediaKind),
    /// A picture's number, and whether it is a keyframe.
    Picture(u32, bool),
    /// The number of a frame of sound.
    Sound(u32),
    /// A data message.
    Data,
}

/// What a message is.
pub fn seen(kind: MediaKind, body: &[u8]) -> Seen {
    let number = |at: usize| {
        assert_eq!(body[at..at + 2], MARK, "a foreign frame");
        u32::from_be_bytes(body[at + 2..at + 6].try_into().unwrap())
    };
    match (kind, body) {
        (MediaKind::Data, _) => Seen::Data,
        (_, [0x17 | 0xaf, 0, ..]) => Seen::Header(kind),
        (MediaKind::Video, [first, 1, ..]) => Seen::Picture(number(10), *first == 0x17),
        (_, [0xaf, 1, ..]) => Seen::Sound(number(2)),
        _ => panic!("a foreign message {body:02x?}"),
    }
}

/// What comes to a player, over whatever protocol.
pub trait Player {
    /// The next message: what, when in milliseconds, and its bytes; `None` at the end.
    fn next(&mut self) -> Option<(Seen, u32, Bytes)>;

    /// The next picture or frame of sound.
    #[track_caller]
    fn frame(&mut self) -> (Seen, u32) {
        loop {
            match self.next() {
                Some((Seen::Header(_) | Seen::Data, ..)) => {}
                Some((seen, time, _)) => return (seen, time),
                None => panic!("the stream has ended"),
            }
        }
    }

    /// The next picture: number, whether key, time.
    #[track_caller]
    fn picture(&mut self) -> (u32, bool, u32) {
        loop {
            if let (Seen::Picture(number, key), time) = self.frame() {
                return (number, key, time);
            }
        }
    }

    /// The numbers and times of all pictures up to this number.
    #[track_caller]
    fn pictures_up_to(&mut self, last: u32) -> Vec<(u32, u32)> {
        let mut all = Vec::new();
        loop {
            let (number, _, time) = self.picture();
            all.push((number, time));
            if number >= last {
                return all;
            }
        }
    }
}

impl Player for Client {
    fn next(&mut self) -> Option<(Seen, u32, Bytes)> {
        let Media { kind, timestamp, payload } = self.media()?;
        Some((seen(kind, &payload), timestamp, payload))
    }
}

impl Player for crate::http::Flv {
    fn next(&mut self) -> Option<(Seen, u32, Bytes)> {
        let Tag { kind, time, body } = self.tag()?;
        let kind = match kind {
            formats::flv::TagKind::Audio => MediaKind::Audio,
            formats::flv::TagKind::Video => MediaKind::Video,
            formats::flv::TagKind::Script => MediaKind::Data,
        };
        Some((seen(kind, &body), time, body))
    }
}

/// A publisher of such media: a picture every 40 ms, every tenth one a keyframe, and a frame of sound with each.
pub struct Camera {
    pub client: Client,
    /// The number of the next picture.
    pub next: u32,
    /// The time of picture 0.
    pub zero: u32,
}

/// Milliseconds from picture to picture.
pub const STEP: u32 = 40;

/// Pictures from keyframe to keyframe.
pub const GOP: u32 = 10;

impl Camera {
    /// Sends the sequence headers; the first picture will be number 0.
    pub fn new(mut client: Client) -> Self {
        client.send(MediaKind::Video, 0, &picture_header());
        client.send(MediaKind::Audio, 0, &sound_header());
        Self { client, next: 0, zero: 0 }
    }

    /// Pictures up to this number, exclusive.
    pub fn run_to(&mut self, end: u32) {
        for number in self.next..end {
            let time = self.zero.wrapping_add(number.wrapping_mul(STEP));
            self.client.queue(MediaKind::Video, time, &picture(number, number % GOP == 0, 100));
            self.client.queue(MediaKind::Audio, time, &sound(number));
        }
        self.next = end;
        self.client.flush();
    }
}
