//! Sound in the codecs of classic FLV, and streams of one kind only.

use formats::flv::FileHeader;

use crate::client::Client;
use crate::harness::Server;
use crate::http::Flv;
use crate::media::{Player, Seen, sound, sound_header};
use crate::playback::plays_back;
use crate::tools::{PICTURES, SOUND, clip, ffmpeg, usual_clip};

/// Publishes and plays a clip of this sound alone; `tracks` is how the log names it.
#[track_caller]
fn alone(codec: &str, tracks: &str) {
    let clip = clip(ffmpeg(), &format!("{SOUND} -c:a {codec}"));
    plays_back(&clip, ffmpeg(), ffmpeg()).logged(&[&format!("tracks: {tracks}")]);
}

#[test]
fn aac_alone() {
    alone("aac", "AAC");
}

#[test]
fn a_law() {
    alone("pcm_alaw -ar 8000 -ac 1", "PCMA");
}

#[test]
fn mu_law() {
    alone("pcm_mulaw -ar 8000 -ac 1", "PCMU");
}

#[test]
fn speex() {
    alone("libspeex -ar 16000 -ac 1", "Speex");
}

#[test]
fn mp3_with_pictures() {
    let with = "-c:v libx264 -preset veryfast -g 25 -c:a libmp3lame -ar 44100";
    let clip = clip(ffmpeg(), &format!("{PICTURES} {SOUND} {with}"));
    plays_back(&clip, ffmpeg(), ffmpeg()).logged(&["tracks: H264, MP3"]);
}

#[test]
fn pictures_alone() {
    let clip = clip(ffmpeg(), &format!("-i {} -an -c:v copy", usual_clip().display()));
    let server = plays_back(&clip, ffmpeg(), ffmpeg());
    server.logged(&["tracks: H264"]);
}

#[test]
fn the_file_header_tells_that_there_are_no_pictures() {
    let server = Server::start();
    let mut publisher = Client::publish(&server, "a");
    publisher.send(rtmp::MediaKind::Audio, 0, &sound_header());
    let mut flv = Flv::open(server.http, "/live/a.flv");
    for n in 0..5 {
        publisher.send(rtmp::MediaKind::Audio, n * 23, &sound(n));
    }
    assert_eq!(flv.header(), FileHeader { audio: true, video: false });
    let first = flv.frame();
    assert!(matches!(first, (Seen::Sound(_), 0)), "{first:?}");
}
