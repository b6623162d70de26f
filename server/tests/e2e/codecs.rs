//! Codecs of enhanced RTMP between two newer ffmpegs, and HEVC in its older dress.

use bytes::Bytes;
use formats::flv::{Item, Reader, TagKind};
use rtmp::MediaKind;

use crate::client::Client;
use crate::harness::Server;
use crate::http::Flv;
use crate::playback::plays_back;
use crate::tools::{PICTURES, SOUND, clip, ffmpeg_new};

/// Publishes and plays a clip of these codecs; `tracks` is how the log names them.
#[track_caller]
fn enhanced(video: &str, audio: &str, tracks: &str) {
    let clip = clip(ffmpeg_new(), &format!("{PICTURES} {SOUND} -c:v {video} -g 25 -c:a {audio}"));
    plays_back(&clip, ffmpeg_new(), ffmpeg_new()).logged(&[&format!("tracks: {tracks}")]);
}

#[test]
fn hevc_and_aac() {
    enhanced(HEVC, "aac", "HEVC, AAC");
}

#[test]
fn av1_and_opus() {
    enhanced("libsvtav1 -preset 12 -svtav1-params lp=1", "libopus", "AV1, Opus");
}

#[test]
fn vp9_and_flac() {
    enhanced("libvpx-vp9 -deadline realtime -cpu-used 8", "flac", "VP9, FLAC");
}

#[test]
fn h264_and_ac3() {
    enhanced("libx264 -preset veryfast", "ac3", "H264, AC3");
}

#[test]
fn h264_and_eac3() {
    enhanced("libx264 -preset veryfast", "eac3", "H264, EAC3");
}

const HEVC: &str = "libx265 -preset ultrafast -x265-params log-level=error";

/// HEVC under codec id 12, with the 5-byte header of H.264: what patched encoders sent before there was enhanced RTMP.
#[test]
fn hevc_by_codec_id_12_comes_back_byte_for_byte() {
    let clip = clip(ffmpeg_new(), &format!("{PICTURES} {SOUND} -c:v {HEVC} -g 25 -c:a aac"));
    let mut reader = Reader::new();
    reader.receive(&std::fs::read(clip).unwrap());
    let mut sent = Vec::new();
    while let Some(item) = reader.poll_item().unwrap() {
        match item {
            Item::Tag { kind: TagKind::Video, timestamp, body } => {
                sent.extend(in_old_dress(&body).map(|body| (MediaKind::Video, timestamp, body)));
            }
            Item::Tag { kind: TagKind::Audio, timestamp, body } => {
                sent.push((MediaKind::Audio, timestamp, body));
            }
            _ => {}
        }
    }
    assert!(sent.iter().filter(|(kind, ..)| *kind == MediaKind::Video).count() > 100);

    let server = Server::start();
    let (mut rtmp, mut flv) = (Client::play(&server, "a"), Flv::open(server.http, "/live/a.flv"));
    server.logged_times(&["start play stream=/live/a"], 2);
    let mut publisher = Client::publish(&server, "a");
    for (kind, time, body) in &sent {
        publisher.send(*kind, *time, body);
    }
    publisher.stop();
    server.logged(&["tracks: HEVC, AAC"]);

    let got: Vec<_> = sent.iter().map(|_| rtmp.av()).map(|m| (m.kind, m.timestamp, m.payload)).collect();
    assert_same(&got, &sent);
    let got: Vec<_> = flv
        .rest()
        .into_iter()
        .filter_map(|tag| match tag.kind {
            TagKind::Audio => Some((MediaKind::Audio, tag.time, tag.body)),
            TagKind::Video => Some((MediaKind::Video, tag.time, tag.body)),
            TagKind::Script => None,
        })
        .collect();
    assert_same(&got, &sent);
    assert!(flv.ended_cleanly());
}

type Sent = (MediaKind, u32, Bytes);

#[track_caller]
fn assert_same(got: &[Sent], sent: &[Sent]) {
    let of = |all: &[Sent], kind| -> Vec<Sent> { all.iter().filter(|m| m.0 == kind).cloned().collect() };
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let (got, sent) = (of(got, kind), of(sent, kind));
        assert_eq!(got.len(), sent.len());
        let first = got.iter().zip(&sent).position(|(got, sent)| got != sent);
        assert_eq!(first, None, "{kind:?} differs");
    }
}

/// An enhanced HEVC tag in the form of codec id 12; `None` for what that form cannot say.
fn in_old_dress(body: &[u8]) -> Option<Bytes> {
    let (first, rest) = (body[0], &body[5..]);
    assert_eq!((first & 0x80, &body[1..5]), (0x80, &b"hvc1"[..]));
    let head = (first & 0x70) | 12;
    let old = match first & 0x0f {
        0 => [&[head, 0, 0, 0, 0], rest].concat(),
        1 => [&[head, 1], rest].concat(),
        3 => [&[head, 1, 0, 0, 0], rest].concat(),
        _ => return None,
    };
    Some(old.into())
}
