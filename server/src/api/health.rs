//! How a stream does: what comes from its publisher, and how far its players are behind. Ours; SRS has nothing like it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use axum::response::Response;
use media::{Kind as Medium, Track};
use serde_json::{Value, json};

use super::call::Call;
use super::{Failure, State};
use crate::session::{Client, Figures, Kind, Stream};

/// The answer about the stream of this id.
pub(super) fn health(state: &State, call: &Call, id: &str) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method("GET");
    }
    let all = state.roll.streams();
    call.reply(&match all.iter().find(|(stream, _)| *stream.id == *id) {
        Some((stream, _)) => state.success("health", told(state, stream)),
        None => Failure::NoStream.answer(),
    })
}

fn told(state: &State, stream: &Arc<Stream>) -> Value {
    let health = stream.health();
    let publisher = stream.publisher();
    let tracks = stream.broadcast().map(|broadcast| broadcast.tracks()).unwrap_or_default();
    let [video, audio] = [Medium::Video, Medium::Audio].map(|medium| health.figures(medium));
    let newest = [&video, &audio].into_iter().flatten().filter_map(|figures| figures.since_last).min();
    json!({
        "id": &*stream.id,
        "url": stream.key.to_string(),
        "active": publisher.is_some_and(|(_, active)| active),
        "age_ms": publisher.map(|_| ms(health.age())),
        "last_frame_ms": newest.map(ms),
        "skew_ms": health.skew().map(|skew| skew.millis()),
        "video": video.map(|figures| line(&figures, tracks.video(), true)),
        "audio": audio.map(|figures| line(&figures, tracks.audio(), false)),
        "outputs": outputs(&state.roll.clients_of(stream)),
    })
}

fn line(figures: &Figures, track: Option<&Track>, has_keyframes: bool) -> Value {
    let mut line = json!({
        "codec": track.map(|track| track.codec.name()),
        "frames": figures.frames,
        "fps": { "last_1s": figures.fps.0, "last_30s": figures.fps.1 },
        "kbps": { "last_1s": figures.kbps.0, "last_30s": figures.kbps.1 },
        "last_frame_ms": figures.since_last.map(ms),
        "longest_gap_ms": { "last_30s": ms(figures.gap.0), "ever": ms(figures.gap.1) },
        "jumps": figures.jumps,
    });
    if has_keyframes {
        let interval = figures.key_interval;
        let interval = interval.map(|(last, longest)| json!({ "last": ms(last), "longest": ms(longest) }));
        line["keyframe_interval_ms"] = interval.into();
    }
    line
}

/// The players, kind by kind.
fn outputs(clients: &[Arc<Client>]) -> Value {
    let mut kinds: Vec<Kind> = Vec::new();
    for kind in clients.iter().map(|client| client.kind).filter(|kind| !kind.is_publish()) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.sort_by_key(|kind| kind.name());
    let output = |kind: &Kind| {
        let players: Vec<_> = clients.iter().filter(|client| client.kind == *kind).collect();
        let lags: Vec<_> = players.iter().map(|client| ms(client.session.counters.lag())).collect();
        let skipped: u64 = players.iter().map(|client| client.session.counters.skipped()).sum();
        let (sum, most) = (lags.iter().sum::<u64>(), lags.iter().max().copied().unwrap_or(0));
        json!({
            "type": kind.name(),
            "clients": players.len(),
            "lag_ms": { "mean": sum / lags.len().max(1) as u64, "most": most },
            "skipped": skipped,
        })
    };
    kinds.iter().map(output).collect()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
