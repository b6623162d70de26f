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

/// The RTP form for other servers: whatever WebRTC can carry, whoever publishes it, with Opus for sound.
pub struct Whip(rtp::Mux);

/// The stream for servers of WHIP.
pub fn whip(vhost: &Vhost) -> Whip {
    Whip(packets(vhost, rtp::is_for_browsers))
}

impl Remux for Whip {
    type Unit = rtp::Burst;

    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Stamped<rtp::Burst>>) {
        self.0.tracks(tracks, out);
    }

    fn frame(&mut self, frame: &Frame, out: &mut Vec<Stamped<rtp::Burst>>) {
        self.0.frame(frame, out);
    }

    fn sound(&self) -> Sound {
        self.0.sound()
    }
}

fn jitter(vhost: &Vhost, tracks: &Arc<Tracks>) -> Jitter {
    match vhost.play.time_jitter {
        _ if is_atc(vhost, tracks) => Jitter::Off,
        other => line(other),
    }
}

/// What a configuration says about timestamps.
pub fn line(jitter: config::Jitter) -> Jitter {
    match jitter {
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

/// The stream in chunks of fragmented MP4, which HLS and DASH share; `part` is the longest one with low latency.
pub fn cmaf(part: Option<Duration>) -> cmaf::Mux {
    let options = part.map(|part| cmaf::MuxOptions { part: micros(part) - cmaf::ROUNDING });
    cmaf::Mux::new(options.unwrap_or_default())
}

/// The RTP form of a stream. Streams of other protocols are packed if the vhost says so (`rtmp_to_rtc`).
pub fn rtp(vhost: &Vhost) -> rtp::Mux {
    packets(vhost, if vhost.rtc.rtmp_to_rtc { rtp::is_for_browsers } else { |_| false })
}

fn packets(vhost: &Vhost, wants: fn(&Codec) -> bool) -> rtp::Mux {
    let rtc = &vhost.rtc;
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

/// The same for what a WebRTC player gets of a stream's track: what others than WebRTC clients publish is made into Opus if it is sound.
pub fn played_name(broadcast: &hub::Broadcast, codec: &Codec) -> Option<&'static str> {
    match codec {
        Codec::Aac(_) | Codec::Mp3(_) | Codec::G711 { .. } if !broadcast.is_native::<rtp::Mux>() => {
            Some("OPUS")
        }
        codec => sdp_name(codec),
    }
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
