//! How a vhost wants its streams formed and followed: from configuration to the options of forms and relays. Only this
//! module knows both.

use std::sync::Arc;
use std::time::Duration;

use formats::amf0;
use formats::flv::{Jitter, Mux, MuxOptions};
use media::Tracks;

use crate::config::{self, Vhost};
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
pub fn flv(vhost: &Vhost, tracks: &Arc<Tracks>) -> Mux {
    let jitter = match vhost.play.time_jitter {
        _ if is_atc(vhost, tracks) => Jitter::Off,
        config::Jitter::Full => Jitter::Full,
        config::Jitter::Zero => Jitter::Zero,
        config::Jitter::Off => Jitter::Off,
    };
    Mux::new(MuxOptions { jitter, reduce_sequence_header: vhost.play.reduce_sequence_header })
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
