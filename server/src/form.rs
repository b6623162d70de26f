//! How a vhost wants its streams formed and followed: from configuration to the options of forms and relays. Only this
//! module knows both.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use formats::{Jitter, amf0, cmaf, es, flv, hls, ts};
use media::codec::Codec;
use media::{Frame, Micros, Remux, Sound, Stamped, Tracks};

use crate::config::{self, Hls, HttpFormat, HttpRemux, Vhost};
use crate::gate;
use crate::net::{Following, Pace};

/// How the streams of a vhost are followed on each core.
pub fn following(vhost: &Vhost) -> Following {
    let play = &vhost.play;
    let units = if vhost.min_latency { 0 } else { play.mw_msgs.unwrap_or(0) as usize };
    let pace = match play.mw_latency {
        _ if vhost.min_latency => Pace::Now,
        Some(every) => Pace::Fixed { every, units },
        None if units > 0 => Pace::Fixed { every: Duration::ZERO, units },
        None => Pace::Adaptive,
    };
    Following { rules: gate::rules(vhost), queue_length: play.queue_length, pace }
}

/// The FLV form of a stream.
pub fn flv(vhost: &Vhost, tracks: &Arc<Tracks>) -> flv::Mux {
    let reduce_sequence_header = vhost.play.reduce_sequence_header;
    flv::Mux::new(flv::MuxOptions { jitter: jitter(vhost, tracks), reduce_sequence_header })
}

/// The FLV form for other servers: with the publisher's own times, since they are to correct them as they like.
pub struct Original(flv::Mux);

/// The stream for other servers.
pub fn original() -> Original {
    Original(flv::Mux::new(flv::MuxOptions { jitter: Jitter::Off, reduce_sequence_header: false }))
}

impl Remux for Original {
    type Unit = flv::Tag;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<flv::Tag>>) {
        self.0.tracks(tracks, out);
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<flv::Tag>>) {
        self.0.frame(frame, out);
    }

    fn sound(&self) -> Sound {
        self.0.sound()
    }
}

fn jitter(vhost: &Vhost, tracks: &Arc<Tracks>) -> Jitter {
    match vhost.play.time_jitter {
        _ if is_atc(vhost, tracks) => Jitter::Off,
        config::Jitter::Full => Jitter::Full,
        config::Jitter::Zero => Jitter::Zero,
        config::Jitter::Off => Jitter::Off,
    }
}

/// A duration of the configuration on the clock of media.
pub fn micros(duration: Duration) -> Micros {
    Micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// The MPEG-TS form of a stream.
pub fn ts(vhost: &Vhost, remux: &HttpRemux, tracks: &Arc<Tracks>) -> ts::Mux {
    ts::Mux::new(ts::MuxOptions {
        jitter: jitter(vhost, tracks),
        // The form finds out by itself what a stream carries.
        audio: remux.guess_has_av || remux.has_audio,
        video: remux.guess_has_av || remux.has_video,
    })
}

/// The sound of a stream.
pub fn audio(remux: &HttpRemux) -> es::Mux {
    let codec = if remux.format == HttpFormat::Mp3 { es::Codec::Mp3 } else { es::Codec::Aac };
    es::Mux::new(es::MuxOptions { codec, history: micros(remux.fast_cache) })
}

/// The stream in segments. `correction` is added to their length, in microseconds.
pub fn segments(hls: &Hls, correction: Arc<AtomicI64>) -> hls::Segmenter {
    hls::Segmenter::new(hls::SegmenterOptions {
        cutter: hls::CutterOptions {
            fragment: micros(hls.fragment),
            target_ratio: hls.target_ratio,
            overflow_ratio: hls.overflow_ratio,
            wait_keyframe: hls.wait_keyframe,
            correction,
        },
        audio: hls.audio,
        video: hls.video,
        audio_by_samples: !hls.dts_directly,
        chunk: 32 << 10,
        ..Default::default()
    })
}

/// The stream in chunks of CMAF, which all that are made of them share.
pub fn chunks() -> cmaf::Mux {
    cmaf::Mux::new(cmaf::MuxOptions::default())
}

/// The RTP form of a stream. Streams of other protocols are packed if the vhost says so (`rtmp_to_rtc`).
pub fn rtp(vhost: &Vhost) -> rtp::Mux {
    let rtc = &vhost.rtc;
    let wants: fn(&Codec) -> bool = if rtc.rtmp_to_rtc { rtp::is_for_browsers } else { |_| false };
    rtp::Mux::new(rtp::MuxOptions {
        keep_bframes: rtc.keep_bframe,
        keep_sei: rtc.keep_avc_nalu_sei,
        wants,
        ..Default::default()
    })
}

/// How WebRTC follows a stream: at once, since latency is what it is for.
pub fn rtc_following(vhost: &Vhost) -> Following {
    Following { pace: Pace::Now, ..following(vhost) }
}

/// The name of a codec in SDP, in upper case.
pub fn sdp_name(codec: &Codec) -> Option<&'static str> {
    Some(match codec {
        Codec::H264(_) => "H264",
        Codec::H265(_) => "H265",
        Codec::Av1(_) => "AV1",
        Codec::Vp8 => "VP8",
        Codec::Vp9(_) => "VP9",
        Codec::Opus(_) => "OPUS",
        Codec::G711 { mu_law: true } => "PCMU",
        Codec::G711 { mu_law: false } => "PCMA",
        _ => return None,
    })
}

/// Whether each player sees its first unit as time zero, or the stream's own time.
pub fn starts_at_zero(vhost: &Vhost, tracks: &Arc<Tracks>) -> bool {
    vhost.play.time_jitter != config::Jitter::Off && !is_atc(vhost, tracks)
}

/// The publisher's clock is absolute and must be kept: by configuration, or because the metadata says so.
fn is_atc(vhost: &Vhost, tracks: &Arc<Tracks>) -> bool {
    let told = || {
        let values = amf0::decode(tracks.metadata.as_deref()?).ok()?;
        values.iter().find_map(|v| v.property("bravo_atc"))?.as_str().map(|s| s == "true")
    };
    vhost.play.atc || (vhost.play.atc_auto && told() == Some(true))
}
