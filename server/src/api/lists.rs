//! Who is connected: vhosts, streams and clients, and the kick.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{Path, State as Extract};
use axum::http::Method;
use axum::response::Response;
use jiff::Timestamp;
use media::Track;
use media::codec::Codec;
use serde_json::{Value, json};

use super::call::Call;
use super::{Failure, State};
use crate::session::{Client, Kbps, Stream, Totals, Vhost};

/// What stands behind the slash, if anything does.
type Id = Option<Path<String>>;

pub(super) async fn vhosts(Extract(state): Extract<State>, id: Id, call: Call) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method();
    }
    let mut all = state.roll.vhosts().into_iter();
    call.reply(&match id {
        None => state.success("vhosts", all.map(|(v, totals)| vhost(&state, &v, totals)).collect()),
        Some(Path(id)) => match all.find(|(v, _)| v.id == id) {
            Some((v, totals)) => state.success("vhost", vhost(&state, &v, totals)),
            None => Failure::NoVhost.answer(),
        },
    })
}

fn vhost(state: &State, vhost: &Vhost, totals: Totals) -> Value {
    let configured = state.gate.vhosts().iter().find(|v| v.name == vhost.name);
    json!({
        "id": vhost.id,
        "name": vhost.name,
        "enabled": configured.is_some_and(|v| v.enabled),
        "clients": totals.clients,
        "streams": totals.streams,
        "send_bytes": totals.sent,
        "recv_bytes": totals.received,
        "kbps": kbps(vhost.kbps()),
        "hls": { "enabled": false },
    })
}

pub(super) async fn streams(Extract(state): Extract<State>, id: Id, call: Call) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method();
    }
    let all = state.roll.streams();
    call.reply(&match id {
        None => state.success("streams", call.page(all).map(|(s, totals)| stream(&s, totals)).collect()),
        Some(Path(id)) => match all.iter().find(|(s, _)| s.id == id) {
            Some((s, totals)) => state.success("stream", stream(s, *totals)),
            None => Failure::NoStream.answer(),
        },
    })
}

fn stream(stream: &Stream, totals: Totals) -> Value {
    let tracks = stream.broadcast().map(|b| b.tracks()).unwrap_or_default();
    let publisher = stream.publisher();
    let mut publish = json!({ "active": publisher.is_some_and(|(_, active)| active) });
    if let Some((cid, _)) = publisher {
        publish["cid"] = cid.as_str().into();
    }
    json!({
        "id": stream.id,
        "name": stream.name,
        "vhost": stream.vhost.id,
        "app": stream.key.app,
        "tcUrl": stream.tc_url,
        "url": stream.key.to_string(),
        "live_ms": Timestamp::now().as_millisecond(),
        "clients": totals.clients,
        "frames": stream.frames.load(Relaxed),
        "send_bytes": totals.sent,
        "recv_bytes": totals.received,
        "kbps": kbps(stream.kbps()),
        "publish": publish,
        "video": tracks.video().map(video),
        "audio": tracks.audio().map(audio),
    })
}

fn video(track: &Track) -> Value {
    let (profile, level, width, height) = match &track.codec {
        Codec::H264(c) => (c.profile_name(), c.level_name(), c.width, c.height),
        Codec::H265(c) => (c.profile_name(), c.level_name(), c.width, c.height),
        _ => ("Other", "Other", None, None),
    };
    json!({
        "codec": track.codec.name(),
        "profile": profile,
        "level": level,
        "width": width.unwrap_or(0),
        "height": height.unwrap_or(0),
    })
}

fn audio(track: &Track) -> Value {
    let profile = if let Codec::Aac(c) = &track.codec { c.profile_name() } else { "Other" };
    let (sample_rate, channel) = sound(track);
    json!({ "codec": track.codec.name(), "sample_rate": sample_rate, "channel": channel, "profile": profile })
}

/// Samples per second and channels as heard. SRS shows what the header of the FLV tags says, which is wrong for 48 kHz.
fn sound(track: &Track) -> (u32, u8) {
    match &track.codec {
        Codec::Aac(c) => (c.sample_rate, if c.ps { 2 } else { c.channels }),
        Codec::Opus(c) => (48_000, c.channels),
        Codec::Mp3(c) => (c.sample_rate, c.channels),
        Codec::G711 { .. } => (8_000, flv_sound(track).1),
        Codec::Speex => (16_000, 1),
        _ => flv_sound(track),
    }
}

/// What the first byte of an FLV audio tag says (FLV 10.1 §E.4.2.1); zeros if there is none.
fn flv_sound(track: &Track) -> (u32, u8) {
    let [flags] = *track.config else { return (0, 0) };
    (44_100 >> (3 - (flags >> 2 & 3)), 1 + (flags & 1))
}

pub(super) async fn clients(Extract(state): Extract<State>, id: Id, call: Call) -> Response {
    let found = id.as_ref().map(|Path(id)| id.parse().ok().and_then(|cid| state.roll.client(cid)));
    call.reply(&match (&call.method, found) {
        (&Method::GET, None) => {
            state.success("clients", call.page(state.roll.clients()).map(|c| client(&c)).collect())
        }
        (&Method::GET, Some(Some(found))) => state.success("client", client(&found)),
        (&Method::DELETE, Some(Some(found))) => {
            tracing::info!(client = %found.session.cid, "kicked off through the API");
            found.session.kick("kicked off through the API");
            state.done()
        }
        (&Method::GET | &Method::DELETE, _) => Failure::NoClient.answer(),
        _ => return Call::refuse_method(),
    })
}

fn client(client: &Client) -> Value {
    let (received, sent) = client.bytes();
    json!({
        "id": client.session.cid.as_str(),
        "vhost": client.stream.vhost.id,
        "stream": client.stream.id,
        "ip": client.session.peer.ip(),
        "pageUrl": client.page_url,
        "swfUrl": client.swf_url,
        "tcUrl": client.tc_url,
        "url": client.stream.key.to_string(),
        "name": client.name,
        "type": client.kind.name(),
        "publish": client.kind.is_publish(),
        "alive": client.since.elapsed().as_secs_f64(),
        "send_bytes": sent,
        "recv_bytes": received,
        "skipped": client.session.counters.skipped(),
        "kbps": kbps(client.kbps()),
    })
}

fn kbps(kbps: Kbps) -> Value {
    json!({ "recv_30s": kbps.received, "send_30s": kbps.sent })
}
