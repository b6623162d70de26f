//! Who is connected: vhosts, streams and clients, and how they are sent away.

use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::http::Method;
use axum::response::Response;
use jiff::Timestamp;
use media::Track;
use media::codec::Codec;
use serde_json::{Value, json};

use super::call::Call;
use super::{Failure, State, audit, health};
use crate::session::{Client, Kbps, Stream, Totals, Vhost};

/// What stands behind the slash, if anything does.
type Id = Option<Path<String>>;

pub(super) async fn vhosts(Extract(state): Extract<State>, id: Id, call: Call) -> Response {
    let all = state.roll.vhosts();
    let found = id.map(|Path(id)| all.iter().find(|(vhost, _)| vhost.id == id));
    call.reply(&match (&call.method, found) {
        (_, Some(None)) => Failure::NoVhost.answer(),
        (&Method::GET, Some(Some((found, totals)))) => state.success("vhost", vhost(&state, found, *totals)),
        (&Method::GET, None) => {
            state.success("vhosts", all.iter().map(|(v, totals)| vhost(&state, v, *totals)).collect())
        }
        _ => return Call::refuse_method("GET"),
    })
}

fn vhost(state: &State, vhost: &Vhost, totals: Totals) -> Value {
    let configured = state.config.vhosts.iter().find(|v| v.name == vhost.name);
    let hls = match configured.and_then(|v| v.hls.as_ref()) {
        Some(hls) => json!({ "enabled": true, "fragment": hls.fragment.as_secs_f64() }),
        None => json!({ "enabled": false }),
    };
    json!({
        "id": vhost.id,
        "name": vhost.name,
        "enabled": configured.is_some_and(|v| v.enabled),
        "clients": totals.clients,
        "streams": totals.streams,
        "send_bytes": totals.sent,
        "recv_bytes": totals.received,
        "kbps": kbps(vhost.kbps()),
        "hls": hls,
    })
}

pub(super) async fn streams(Extract(state): Extract<State>, id: Id, call: Call) -> Response {
    if let Some(id) = id.as_ref().and_then(|Path(path)| path.strip_suffix("/health")) {
        return health::health(&state, &call, id);
    }
    let all = state.roll.streams();
    let one = id.is_some();
    let found = id.map(|Path(id)| all.iter().find(|(stream, _)| *stream.id == *id));
    call.reply(&match (&call.method, found) {
        (&Method::DELETE, Some(None)) => {
            audit::tell(&call.by, "end no stream", "no such stream");
            Failure::NoStream.answer()
        }
        (_, Some(None)) => Failure::NoStream.answer(),
        (&Method::GET, Some(Some((found, totals)))) => state.success("stream", stream(found, *totals)),
        (&Method::GET, None) => {
            state.success("streams", call.page(&all).map(|(s, totals)| stream(s, *totals)).collect())
        }
        (&Method::DELETE, Some(Some((found, _)))) => end(&state, &call, found),
        _ => return Call::refuse_method(if one { "GET, DELETE" } else { "GET" }),
    })
}

/// Ends a stream: its publisher is sent away and, if that is asked for, so are its players.
fn end(state: &State, call: &Call, stream: &Arc<Stream>) -> Value {
    const REASON: &str = "the stream was ended through the API";
    let with_players = call.query("players") == "true";
    let (mut publishers, mut players) = (0, 0);
    for client in &state.roll.clients_of(stream) {
        match client.kind.is_publish() {
            true => publishers += 1,
            false if with_players => players += 1,
            false => continue,
        }
        state.roll.kick(client, REASON, &call.by.to_string());
    }
    let what = format_args!("end stream {} ({})", stream.key, stream.id);
    audit::tell(&call.by, what, format_args!("{publishers} publishers, {players} players kicked"));
    state.success("kicked", json!({ "publishers": publishers, "players": players }))
}

fn stream(stream: &Stream, totals: Totals) -> Value {
    let tracks = stream.broadcast().map(|b| b.tracks()).unwrap_or_default();
    let publisher = stream.publisher();
    let mut publish = json!({ "active": publisher.is_some_and(|(_, active)| active) });
    if let Some((cid, _)) = publisher {
        publish["cid"] = cid.as_str().into();
    }
    json!({
        "id": *stream.id,
        "name": stream.name,
        "vhost": stream.vhost.id,
        "app": stream.key.app,
        "tcUrl": stream.tc_url,
        "url": stream.key.to_string(),
        "live_ms": Timestamp::now().as_millisecond(),
        "clients": totals.clients,
        "frames": stream.frames(),
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
    let found = id.map(|Path(id)| id.parse().ok().and_then(|cid| state.roll.client(cid)));
    call.reply(&match (&call.method, found) {
        (&Method::DELETE, Some(None) | None) => {
            audit::tell(&call.by, "kick nobody", "no such client");
            Failure::NoClient.answer()
        }
        (_, Some(None)) => Failure::NoClient.answer(),
        (&Method::GET, Some(Some(found))) => state.success("client", client(&found)),
        (&Method::GET, None) => {
            state.success("clients", call.page(&state.roll.clients()).map(|c| client(c)).collect())
        }
        (&Method::DELETE, Some(Some(found))) => {
            state.roll.kick(&found, "kicked off through the API", &call.by.to_string());
            let Client { kind, stream, session, .. } = &*found;
            let what = format_args!("kick {} of {}, client={}", kind.name(), stream.key, session.cid);
            audit::tell(&call.by, what, "kicked");
            state.done()
        }
        _ => return Call::refuse_method("GET, DELETE"),
    })
}

fn client(client: &Client) -> Value {
    let (received, sent) = client.bytes();
    let mut told = json!({
        "id": client.session.cid.as_str(),
        "vhost": client.stream.vhost.id,
        "stream": *client.stream.id,
        "ip": client.session.peer.ip(),
        "pageUrl": client.request.page_url,
        "swfUrl": client.request.swf_url,
        "tcUrl": client.request.tc_url,
        "url": client.stream.key.to_string(),
        "name": client.request.name(),
        "type": client.kind.name(),
        "publish": client.kind.is_publish(),
        "alive": client.since.elapsed().as_secs_f64(),
        "send_bytes": sent,
        "recv_bytes": received,
        "skipped": client.session.counters.skipped(),
        "kbps": kbps(client.kbps()),
    });
    // SRS has nothing like it.
    if let Some(reception) = client.session.counters.reception() {
        let round_trip = reception.round_trip.map(|trip| trip.0 as f64 / 1000.0);
        told["reception"] = json!({
            "loss": reception.loss,
            "lost": reception.lost,
            "jitter_ms": reception.jitter.0 as f64 / 1000.0,
            "rtt_ms": round_trip,
        });
    }
    told
}

fn kbps(kbps: Kbps) -> Value {
    json!({ "recv_30s": kbps.received, "send_30s": kbps.sent })
}
