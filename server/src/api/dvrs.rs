//! Recordings by time: which there are, and where they can be played. SRS has nothing like it.

use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hub::StreamKey;
use media::Micros;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::State;
use super::call::Call;
use crate::dvr::{NoMoment, Recording, Wanted, moment, moment_text};

pub(super) async fn dvrs(Extract(state): Extract<State>, call: Call) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method("GET");
    }
    let time = |name| match call.query(name) {
        "" => Ok(None),
        text => moment(text).map(Some),
    };
    let range = time("from").and_then(|from: Option<Micros>| Ok::<_, NoMoment>((from, time("to")?)));
    let (from, to) = match range {
        Ok((Some(from), Some(to))) if to < from => return refuse("`to` is before `from`"),
        Ok(range) => range,
        Err(e) => return refuse(&e.to_string()),
    };
    let [vhost, app, stream] = ["vhost", "app", "stream"].map(|name| call.query(name));
    let wanted = Wanted { vhost, app, stream, from, to };
    let (all, catalogue) = (state.recordings.list(&wanted), state.recordings.clone());
    let (start, count) = call.range();
    // Files may have been deleted, and a disk may be slow.
    let there = move || {
        let there = all.into_iter().filter(|recording| catalogue.is_there(recording));
        there.skip(start).take(count).collect::<Vec<_>>()
    };
    match tokio::task::spawn_blocking(there).await {
        Ok(page) => {
            let list = page.iter().map(|recording| one(&state, recording)).collect();
            call.reply(&state.success("dvrs", list))
        }
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
    }
}

fn refuse(reason: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response()
}

fn one(state: &State, recording: &Arc<Recording>) -> Value {
    let StreamKey { vhost, app, stream } = &recording.key;
    let is_complete = recording.is_complete();
    let playback = state.config.vhosts.iter().find(|v| v.name == *vhost).and_then(|v| v.dvr.as_ref());
    let play = playback.filter(|dvr| dvr.playback).map(|_| {
        let address = |ending| address(recording, ending, is_complete);
        json!({ "flv": address("flv"), "hls": address("m3u8") })
    });
    json!({
        "id": recording.id,
        "vhost": vhost,
        "app": app,
        "stream": stream,
        "file": recording.file().to_string_lossy(),
        "format": if recording.mp4 { "mp4" } else { "flv" },
        "begin": moment_text(recording.begin),
        "begin_ms": recording.begin.millis(),
        "duration_ms": recording.length().millis(),
        "bytes": recording.bytes(),
        "recording": !is_complete,
        "play": play,
    })
}

/// What a path and a query keep as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

fn address(recording: &Recording, ending: &str, is_complete: bool) -> String {
    let StreamKey { vhost, app, stream } = &recording.key;
    let path = format!("/{app}/{stream}");
    let seconds = |time: Micros| format!("{:.6}", time.secs_f64());
    let mut address =
        format!("{}.{ending}?from={}", utf8_percent_encode(&path, PLAIN), seconds(recording.begin));
    if is_complete {
        // The last frame is in it.
        address += &format!("&to={}", seconds(recording.end() + Micros::from_millis(1)));
    }
    if vhost != StreamKey::DEFAULT_VHOST {
        address += &format!("&vhost={}", utf8_percent_encode(vhost, PLAIN));
    }
    address
}
