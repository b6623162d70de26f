//! A tone that begins after half a second goes through each conversion, and must come out at its pitch, its loudness and its time.

use std::f32::consts::PI;
use std::process::Command;

use bytes::Bytes;
use media::codec::{aac, mp3, opus as head};
use media::{Dialect, Micros};
use proptest::prelude::*;
use syom::EncodeOptions;

use super::*;

const TONE: f32 = 440.0;
const ONSET: f32 = 0.5;
const LEVEL: f32 = 0.5;

/// A stream of one track, with the stamps that its publisher gives.
struct Stream {
    track: Track,
    frames: Vec<Frame>,
}

impl Stream {
    fn new(codec: Codec, config: Bytes, rate: u32, samples: u64, frames: Vec<Vec<u8>>) -> Self {
        let frames = frames.into_iter().enumerate().map(|(n, data)| {
            // Whole milliseconds, as RTMP has them.
            let pts = Micros::from_millis(((n as u64 * samples * 1000) / u64::from(rate)) as i64 + 7000);
            Frame { track: TrackId::AUDIO, dts: pts, pts, key: true, data: data.into() }
        });
        let track = Track { id: TrackId::AUDIO, codec, config, dialect: Dialect::Standard };
        Self { track, frames: frames.collect() }
    }

    fn tracks(&self) -> Tracks {
        let mut tracks = Tracks::default();
        tracks.set(self.track.clone());
        tracks
    }

    /// Converts all of it.
    fn to(&self, sound: Sound) -> Self {
        let tracks = self.tracks();
        let (recipe, target) = (recipe(false), recipe(false).target(sound, &tracks));
        let mut convert = recipe.convert(target, &tracks).unwrap();
        let track = convert.tracks(&self.tracks()).audio().unwrap().clone();
        let mut frames = Vec::new();
        self.frames.iter().for_each(|frame| convert.frame(frame, &mut frames));
        Self { track, frames }
    }

    /// What a player hears: samples at their times, in microseconds.
    fn hear(&self) -> Vec<(f64, Pair)> {
        let mut decoder = decode::decoder(&self.track).unwrap();
        let mut heard = Vec::new();
        for frame in &self.frames {
            let mut pcm = Vec::new();
            let Some(rate) = decoder.decode(&frame.data, &mut pcm) else { continue };
            let at = |n: usize| frame.pts.0 as f64 + n as f64 * 1e6 / f64::from(rate);
            heard.extend(pcm.into_iter().enumerate().map(|(n, pair)| (at(n), pair)));
        }
        heard
    }

    /// When the tone begins, in milliseconds; its part of the whole at full tilt, and how loud it is, on the left and on the right.
    fn judge(&self) -> (f64, Pair, Pair) {
        let heard = self.hear();
        let onset = heard.iter().find(|(_, [left, _])| left.abs() > LEVEL / 4.0).unwrap().0;
        let steady = |at: f64| at > onset + 200e3 && at < onset + 1000e3;
        let steady: Vec<_> = heard.into_iter().filter(|(at, _)| steady(*at)).collect();
        let part = |side: usize| {
            let (mut sin, mut cos, mut all) = (0.0, 0.0, 0.0);
            for (at, pair) in &steady {
                let phase = (at / 1e6 * f64::from(2.0 * PI * TONE)) % f64::from(2.0 * PI);
                sin += f64::from(pair[side]) * phase.sin();
                cos += f64::from(pair[side]) * phase.cos();
                all += f64::from(pair[side]).powi(2);
            }
            let n = steady.len() as f64;
            (((sin * sin + cos * cos) * 2.0 / n / all) as f32, (all * 2.0 / n).sqrt() as f32)
        };
        let ((left, left_level), (right, right_level)) = (part(0), part(1));
        (onset / 1000.0, [left, right], [left_level, right_level])
    }

    /// Every stamp follows the one before it by the length of a frame.
    fn assert_steady(&self, samples: i64) {
        for pair in self.frames.windows(2) {
            let step = (pair[1].pts - pair[0].pts).0;
            assert!((step - samples * 1_000_000 / 48_000).abs() <= 1, "a step of {step} µs");
        }
    }
}

fn recipe(speaks_rtmp: bool) -> hub::Converter {
    converter(Wishes { opus_bitrate: 64_000, aac_bitrate: 96_000, speaks_rtmp })
}

fn tone(rate: u32) -> Vec<f32> {
    let at = |n: u32| n as f32 / rate as f32;
    let sound = |t: f32| if t < ONSET { 0.0 } else { LEVEL * (2.0 * PI * TONE * t).sin() };
    (0..2 * rate).map(|n| sound(at(n))).collect()
}

/// The tone as ffmpeg encodes it.
fn ffmpeg(rate: u32, channels: usize, args: &[&str]) -> Vec<u8> {
    let expression = format!("if(gte(t,{ONSET}),{LEVEL}*sin(2*PI*{TONE}*t),0)");
    let source = format!("aevalsrc={}:s={rate}:d=2", vec![format!("'{expression}'"); channels].join("|"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", &source]).args(args).arg("-");
    let output = command.output().expect("ffmpeg is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// AAC-LC by ffmpeg.
fn lc(rate: u32, channels: usize) -> Stream {
    let bitrate = (channels * 96_000).to_string();
    let adts = ffmpeg(rate, channels, &["-c:a", "aac", "-b:a", &bitrate, "-f", "adts"]);
    let (mut at, mut frames) = (0, Vec::new());
    while let Some([.., a, b, c, _]) = adts.get(at..at + 7) {
        let len = usize::from(a & 3) << 11 | usize::from(*b) << 3 | usize::from(*c) >> 5;
        frames.push(adts[at + 7..at + len].to_vec());
        at += len;
    }
    let index = aac::RATES.iter().position(|known| *known == rate).unwrap() as u8;
    let config = Bytes::from(vec![2 << 3 | index >> 1, index << 7 | (channels as u8) << 3]);
    Stream::new(Codec::Aac(aac::Config::parse(&config).unwrap()), config, rate, 1024, frames)
}

/// HE-AAC, which the ffmpeg of the distribution cannot encode.
fn he(options: &EncodeOptions, channels: usize) -> Stream {
    let mut encoder = syom::Encoder::new(48_000, channels, options).unwrap();
    let (tone, mut frames) = (tone(48_000), Vec::new());
    let planes = vec![&tone[..]; channels];
    let mut take = |frame: syom::EncodedFrame<'_>| {
        frames.push(frame.payload.to_vec());
        Ok(())
    };
    encoder.feed(&planes, &mut take).unwrap();
    encoder.finish(&mut take).unwrap();
    let config = Bytes::copy_from_slice(encoder.asc());
    Stream::new(Codec::Aac(aac::Config::parse(&config).unwrap()), config, 48_000, 2048, frames)
}

fn layer_3(rate: u32, channels: u8) -> Stream {
    let file = ffmpeg(rate, channels.into(), &["-c:a", "libmp3lame", "-b:a", "64k", "-f", "mp3"]);
    let frames: Vec<_> = nanomp3::frames(&file).collect();
    let samples = frames[0].samples as u64;
    let frames = frames.iter().map(|frame| frame.data.to_vec()).collect();
    let config = mp3::Config { sample_rate: rate, channels, bitrate: None };
    Stream::new(Codec::Mp3(config), Bytes::new(), rate, samples, frames)
}

/// G.711 by ffmpeg, in pieces of 40 ms.
fn g711(mu_law: bool, channels: usize) -> Stream {
    let format = if mu_law { "mulaw" } else { "alaw" };
    let raw = ffmpeg(g711::RATE, channels, &["-f", format]);
    let frames = raw.chunks_exact(320 * channels).map(<[u8]>::to_vec).collect();
    // As FLV spells it.
    let config = Bytes::copy_from_slice(&[if mu_law { 0x82 } else { 0x72 } | (channels as u8 - 1)]);
    Stream::new(Codec::G711 { mu_law }, config, g711::RATE, 320, frames)
}

fn opus(channels: opus::Channels, ms: usize) -> Stream {
    let mut encoder = opus::Encoder::new(RATE, channels, opus::Application::Audio).unwrap();
    let (samples, n) = (48 * ms, channels as usize);
    let pcm: Vec<f32> = tone(RATE).into_iter().flat_map(|sample| std::iter::repeat_n(sample, n)).collect();
    let frames = pcm.chunks_exact(samples * n).map(|full| encoder.encode_vec_float(full, 1500).unwrap());
    let codec = Codec::Opus(head::Config::default());
    Stream::new(codec, Bytes::new(), RATE, samples as u64, frames.collect())
}

/// The tone is there, as loud and as early or late as a player hears it of the source itself.
#[track_caller]
fn assert_like(source: &Stream, result: &Stream, samples: i64) {
    let (onset, _, levels) = source.judge();
    let (result_onset, purity, result_levels) = result.judge();
    assert!((onset - result_onset).abs() < 10.0, "begins at {result_onset} ms, not at {onset}");
    for side in 0..2 {
        assert!(purity[side] > 0.97, "the tone is {} of it", purity[side]);
        let gain = result_levels[side] / levels[side];
        assert!((0.9..1.1).contains(&gain), "{gain} times as loud");
    }
    result.assert_steady(samples);
    let lasts = |stream: &Stream| {
        let first = stream.frames.first().unwrap().pts;
        (stream.frames.last().unwrap().pts - first).millis()
    };
    assert!((lasts(source) - lasts(result)).abs() < 130, "{} and {} ms", lasts(source), lasts(result));
}

#[test]
fn aac_becomes_opus() {
    for (rate, channels) in [(44_100, 2), (48_000, 2), (48_000, 1), (22_050, 1), (44_100, 6)] {
        let source = lc(rate, channels);
        let result = source.to(Sound::Opus);
        assert_like(&source, &result, 960);
        let Codec::Opus(config) = &result.track.codec else { panic!() };
        assert_eq!(head::Config::parse(&result.track.config).as_ref(), Ok(config));
        assert_eq!((config.channels, config.pre_skip), (2, 0));
        assert!(result.frames[0].pts >= source.frames[0].pts, "nothing comes from before the start");
    }
}

#[test]
fn he_aac_becomes_opus() {
    for (options, channels) in [
        (EncodeOptions::raw().with_he(true).with_bitrate_bps(64_000), 2),
        (EncodeOptions::raw().with_he(true).with_bitrate_bps(32_000), 1),
        (EncodeOptions::raw().with_he_v2(true).with_bitrate_bps(32_000), 2),
    ] {
        let source = he(&options, channels);
        assert_like(&source, &source.to(Sound::Opus), 960);
    }
}

#[test]
fn mp3_becomes_opus() {
    for (rate, channels) in [(44_100, 2), (48_000, 1), (22_050, 2)] {
        let source = layer_3(rate, channels);
        assert_like(&source, &source.to(Sound::Opus), 960);
    }
}

#[test]
fn opus_becomes_aac() {
    for (channels, ms) in
        [(opus::Channels::Stereo, 20), (opus::Channels::Mono, 20), (opus::Channels::Stereo, 60)]
    {
        let source = opus(channels, ms);
        let result = source.to(Sound::Aac);
        assert_like(&source, &result, 1024);
        let Codec::Aac(config) = &result.track.codec else { panic!() };
        assert_eq!((config.object_type, config.sample_rate, config.channels), (2, 48_000, 2));
    }
}

#[test]
fn g711_becomes_what_is_needed() {
    for (mu_law, channels) in [(true, 1), (false, 1), (true, 2)] {
        let source = g711(mu_law, channels);
        assert_like(&source, &source.to(Sound::Aac), 1024);
        assert_like(&source, &source.to(Sound::Opus), 960);
    }
}

#[test]
fn each_form_gets_a_sound_that_its_players_know() {
    let target = |sound, codec: Codec, speaks_rtmp| {
        let mut tracks = Tracks::default();
        assert_eq!(recipe(speaks_rtmp).target(sound, &tracks), Sound::Any, "there is no sound");
        tracks.set(Track { id: TrackId::AUDIO, codec, config: Bytes::new(), dialect: Dialect::Standard });
        recipe(speaks_rtmp).target(sound, &tracks)
    };
    let lc = || Codec::Aac(aac::Config::parse(&[0x12, 0x10]).unwrap());
    let opus = || Codec::Opus(head::Config::default());
    let g711 = || Codec::G711 { mu_law: true };
    use Sound::{Aac, Any, Flv};
    for (codec, of_rtmp, of_others) in [
        (lc as fn() -> Codec, [Any, Any, Any, Sound::Opus], [Any, Any, Any, Sound::Opus]),
        (opus, [Any, Any, Any, Any], [Any, Aac, Aac, Any]),
        (g711, [Any, Any, Aac, Sound::Opus], [Any, Aac, Aac, Sound::Opus]),
    ] {
        let all = |speaks_rtmp| [Any, Flv, Aac, Sound::Opus].map(|sound| target(sound, codec(), speaks_rtmp));
        assert_eq!((all(true), all(false)), (of_rtmp, of_others), "{}", codec().name());
    }
    let mut tracks = Tracks::default();
    let without = Track { id: TrackId::AUDIO, codec: lc(), config: Bytes::new(), dialect: Dialect::Standard };
    tracks.set(without);
    assert!(
        recipe(true).convert(Sound::Opus, &tracks).is_none(),
        "without a record there is nothing to decode it by"
    );
}

#[test]
fn pictures_pass_and_other_sound_does_not() {
    let source = opus(opus::Channels::Stereo, 20);
    let mut tracks = source.tracks();
    let mut add =
        |id| tracks.set(Track { id, codec: Codec::Vp8, config: Bytes::new(), dialect: Dialect::Standard });
    let second = TrackId { kind: Kind::Audio, index: 1 };
    assert!(add(TrackId::VIDEO) && add(second));
    let mut convert = recipe(false).convert(Sound::Aac, &tracks).unwrap();
    let after = convert.tracks(&tracks);
    assert_eq!((after.video(), after.find(second)), (tracks.video(), None));
    let frame = |track| Frame { track, ..source.frames[0].clone() };
    let mut out = Vec::new();
    convert.frame(&frame(TrackId::VIDEO), &mut out);
    convert.frame(&frame(second), &mut out);
    assert_eq!(out, [frame(TrackId::VIDEO)]);
}

#[test]
fn stamps_follow_a_jump() {
    for jump in [3_000_000, -3_000_000, 400_000] {
        let mut source = lc(44_100, 2);
        let (half, end) = (source.frames.len() / 2, source.frames.len() - 1);
        source.frames[half..].iter_mut().for_each(|frame| frame.pts += Micros(jump));
        let result = source.to(Sound::Opus);
        let behind = source.frames[end].pts - result.frames.last().unwrap().pts;
        assert!(behind.0.abs() < 60_000, "{behind:?} behind after {jump}");
    }
}

#[test]
fn a_broken_frame_is_as_long_as_a_good_one() {
    for mut source in [lc(44_100, 2), layer_3(44_100, 2), opus(opus::Channels::Stereo, 20)] {
        let sound = if matches!(source.track.codec, Codec::Opus(_)) { Sound::Aac } else { Sound::Opus };
        let whole = source.to(sound);
        for n in [3, 40, 41, 60] {
            source.frames[n].data = Bytes::from_static(b"\xff");
        }
        let broken = source.to(sound);
        assert_eq!(whole.frames.len(), broken.frames.len());
        whole.frames.iter().zip(&broken.frames).for_each(|(a, b)| assert_eq!(a.pts, b.pts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn garbage_does_no_harm(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), any::<i32>()), 0..12),
        record in prop::sample::select(vec![&b"\x12\x10"[..], b"\x2b\x92\x08\0", b"\xeb\x09\x88\0", b"\x12\x30"]),
        kind in 0..4,
    ) {
        let (codec, config, sound) = match kind {
            0 => (Codec::Aac(aac::Config::parse(record).unwrap_or_default()), record, Sound::Opus),
            1 => (Codec::Mp3(mp3::Config { sample_rate: 48_000, channels: 2, bitrate: None }), &b""[..], Sound::Opus),
            2 => (Codec::Opus(head::Config::default()), &b""[..], Sound::Aac),
            _ => (Codec::G711 { mu_law: false }, &record[..1], Sound::Aac),
        };
        let mut tracks = Tracks::default();
        let config = Bytes::copy_from_slice(config);
        tracks.set(Track { id: TrackId::AUDIO, codec, config, dialect: Dialect::Standard });
        let mut out = Vec::new();
        if let Some(mut convert) = recipe(false).convert(sound, &tracks) {
            for (data, pts) in frames {
                let pts = Micros(pts.into());
                let frame = Frame { track: TrackId::AUDIO, dts: pts, pts, key: true, data: data.into() };
                convert.frame(&frame, &mut out);
            }
        }
    }
}
