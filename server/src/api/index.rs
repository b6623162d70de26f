//! What the server is: the indexes, its version, authors, features and API settings.

use std::fmt::Display;
use std::time::UNIX_EPOCH;

use axum::extract::State as Extract;
use axum::response::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::call::Call;
use super::{Failure, State};

pub(super) async fn root(Extract(state): Extract<State>, call: Call) -> Response {
    call.reply(&state.success("urls", json!({ "api": "the HTTP API" })))
}

pub(super) async fn api(Extract(state): Extract<State>, call: Call) -> Response {
    call.reply(&state.success("urls", json!({ "v1": "version 1 of the HTTP API" })))
}

pub(super) async fn v1(Extract(state): Extract<State>, call: Call) -> Response {
    let urls = json!({
        "versions": "the version of this server",
        "summaries": "how server and machine do, in short",
        "rusages": "resources that the server has used",
        "self_proc_stats": "the kernel's figures of this process",
        "system_proc_stats": "the kernel's figures of all processors",
        "meminfos": "memory of the machine",
        "authors": "licence and authors",
        "features": "what this server can do",
        "vhosts": "vhosts that have seen clients; one by /{id}",
        "streams": "streams in use; one by /{id}",
        "clients": "clients of media; one by /{id}, ended by DELETE /{id}",
        "raw": "settings of the API, by rpc=raw",
    });
    call.reply(&state.success("urls", urls))
}

pub(super) async fn versions(Extract(state): Extract<State>, call: Call) -> Response {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let data = json!({
        "major": number(env!("CARGO_PKG_VERSION_MAJOR")),
        "minor": number(env!("CARGO_PKG_VERSION_MINOR")),
        "revision": number(env!("CARGO_PKG_VERSION_PATCH")),
        "version": crate::VERSION,
    });
    call.reply(&state.success("data", data))
}

pub(super) async fn authors(Extract(state): Extract<State>, call: Call) -> Response {
    let data = json!({ "license": env!("CARGO_PKG_LICENSE"), "contributors": crate::HOME });
    call.reply(&state.success("data", data))
}

pub(super) async fn features(Extract(state): Extract<State>, call: Call) -> Response {
    let (build, build2) = built();
    let data = json!({
        "options": "",
        "options2": "",
        "build": build,
        "build2": build2,
        "features": {
            "ssl": true,
            "hls": false,
            "hds": false,
            "callback": false,
            "api": true,
            "httpd": true,
            "dvr": false,
            "transcode": false,
            "ingest": false,
            "stat": true,
            "caster": false,
            "complex_send": true,
            "tcp_nodelay": true,
            "so_sendbuf": false,
            "mr": true,
        },
    });
    call.reply(&state.success("data", data))
}

/// When the executable was written, as text and in Unix seconds. The build itself notes no time, so that it can be
/// reproduced.
fn built() -> (String, String) {
    let file = std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified());
    let seconds = file.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs());
    let time = Timestamp::from_second(seconds as i64).unwrap_or_default().to_zoned(TimeZone::UTC);
    (time.strftime("%Y-%m-%d %H:%M:%S").to_string(), seconds.to_string())
}

/// The one rpc that SRS answers even when the raw API is off; its console asks for it.
pub(super) async fn raw(Extract(state): Extract<State>, call: Call) -> Response {
    if call.query("rpc") != "raw" {
        return call.reply(&Failure::RawDisabled.answer());
    }
    let api = state.config.http_api.as_ref();
    call.reply(&json!({
        "code": 0,
        "http_api": {
            "enabled": api.is_some(),
            "listen": api.map_or_else(String::new, |api| words(&api.listen)),
            "crossdomain": api.is_none_or(|api| api.crossdomain),
            "raw_api": { "enabled": false, "allow_reload": false, "allow_query": false, "allow_update": false },
        },
    }))
}

fn words(list: &[impl Display]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
