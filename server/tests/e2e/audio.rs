//! Sound in the codecs of classic FLV, and streams of one kind only.

use formats::amf0::Value;
use formats::flv::{FileHeader, TagKind};
use rtmp::MediaKind;

use crate::client::Client;
use crate::harness::{Server, Setup};
use crate::http::Flv;
use crate::media::{Player, Seen, picture, picture_header, sound, sound_header};
use crate::playback::plays_back;
use crate::players::publish_clip_for_ever;
use crate::tools::{PICTURES, SOUND, clip, ffmpeg, ffprobe, run, usual_clip};

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

/// TS cannot carry it, so that players get AAC; those of FLV get what the publisher sends.
#[test]
fn a_law_in_mpeg_ts_is_aac() {
    let ts = "vhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].ts; } }";
    let server = Server::with(Setup { vhosts: ts, ..Setup::default() });
    let with = "-c:v libx264 -preset veryfast -g 25 -c:a pcm_alaw -ar 8000 -ac 1";
    let clip = clip(ffmpeg(), &format!("{PICTURES} {SOUND} {with}"));
    let _publisher = publish_clip_for_ever(&server, &clip, "a");
    let sound = |url: &str| {
        let entries = "stream=codec_name,sample_rate,channels";
        let ask = ["-select_streams", "a", "-show_entries", entries, "-of", "csv=p=0", url];
        run(ffprobe(), &ask)
    };
    let lines = sound(&format!("http://{}/live/a.ts", server.http));
    assert!(lines.iter().any(|line| line == "aac,48000,2"), "{lines:?}");
    assert_eq!(sound(&server.rtmp_url("a")), ["pcm_alaw,8000,1"]);
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
    publisher.send(MediaKind::Audio, 0, &sound_header());
    let mut flv = Flv::open(server.http, "/live/a.flv");
    server.logged(&["start play stream=/live/a"]);
    for n in 0..5 {
        publisher.send(MediaKind::Audio, n * 23, &sound(n));
    }
    assert_eq!(flv.header(), FileHeader { audio: true, video: false });
    let first = flv.frame();
    assert!(matches!(first, (Seen::Sound(_), 0)), "{first:?}");
}

/// Sound without a sequence header is known only by the metadata until its first frame comes.
#[test]
fn sound_that_comes_after_the_first_picture_is_not_left_out() {
    let server = Server::start();
    let mut flv = Flv::open(server.http, "/live/a.flv");
    server.logged(&["start play stream=/live/a"]);
    let mut publisher = Client::publish(&server, "a");
    let mut metadata = Vec::new();
    let object = Value::object([("videocodecid", 7.0.into()), ("audiocodecid", 2.0.into())]);
    [Value::from("onMetaData"), object].iter().for_each(|value| value.encode(&mut metadata));
    publisher.send(MediaKind::Data, 0, &metadata);
    publisher.send(MediaKind::Video, 0, &picture_header());
    publisher.send(MediaKind::Video, 0, &picture(0, true, 50));
    server.took("a", 1);
    publisher.send(MediaKind::Audio, 20, b"\x2f\xff\xfb\x90\x64sound");
    assert_eq!(flv.header(), FileHeader { audio: true, video: true });
    let kinds: Vec<_> = (0..4).map(|_| flv.tag().unwrap().kind).collect();
    assert_eq!(kinds, [TagKind::Script, TagKind::Video, TagKind::Video, TagKind::Audio]);
}
