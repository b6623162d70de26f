//! What the server is: the indexes, its version, authors and features.

use std::time::UNIX_EPOCH;

use axum::extract::State as Extract;
use axum::response::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::State;
use super::call::Call;
use crate::config::directives::{self, Status};

pub(super) async fn root(Extract(state): Extract<State>, call: Call) -> Response {
    let rtc = json!({
        "play": "plays by WebRTC",
        "publish": "publishes by WebRTC",
        "nack": "loses packets of a WebRTC session, for tests; not built yet",
    });
    call.reply(&state.success("urls", json!({ "api": "the HTTP API", "rtc": { "v1": rtc } })))
}

pub(super) async fn api(Extract(state): Extract<State>, call: Call) -> Response {
    call.reply(&state.success("urls", json!({ "v1": "version 1 of the HTTP API" })))
}

/// All that SRS lists, for programs that look for a key, even what has no route there either.
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
        "requests": "is at tests/requests",
        "vhosts": "vhosts that have seen clients; one by /{id}",
        "streams": "streams in use; one by /{id}",
        "clients": "clients of media; one by /{id}, ended by DELETE /{id}",
        "raw": "settings of the API, by rpc=raw",
        "clusters": "where a stream is published, by vhost, app and stream",
        "perf": "is not there",
        "tcmalloc": "is not there: this server has another allocator",
        "tests": {
            "requests": "your request",
            "errors": "an error, code 100",
            "redirects": "a redirect to tests/errors",
            "[vhost]": "the same for a host: http://error.srs.com:1985/api/v1/tests/errors",
        },
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
            "ssl": is_built("rtmps"),
            "hls": is_built("vhost.hls"),
            "hds": is_built("vhost.hds"),
            "callback": is_built("vhost.http_hooks"),
            "api": is_built("http_api"),
            "httpd": is_built("http_server"),
            "dvr": is_built("vhost.dvr"),
            "transcode": is_built("vhost.transcode"),
            "ingest": is_built("vhost.ingest"),
            "stat": is_built("stats"),
            "caster": is_built("stream_caster"),
            // Many messages with one system call: always.
            "complex_send": true,
            "tcp_nodelay": is_built("vhost.tcp_nodelay"),
            // The kernel finds the size itself.
            "so_sendbuf": false,
            "mr": is_built("vhost.publish.mr"),
        },
    });
    call.reply(&state.success("data", data))
}

/// What can be configured is there.
fn is_built(path: &str) -> bool {
    directives::find(path).is_some_and(|directive| directive.status == Status::Built)
}

/// When the executable was written, as text and in Unix seconds. The build itself notes no time, so that it can be
/// reproduced.
pub fn built() -> (String, String) {
    let file = std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified());
    let seconds = file.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs());
    let time = Timestamp::from_second(seconds as i64).unwrap_or_default().to_zoned(TimeZone::UTC);
    (time.strftime("%Y-%m-%d %H:%M:%S").to_string(), seconds.to_string())
}
