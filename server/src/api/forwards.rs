//! Copies of streams for other servers: where to, and how they do.

use axum::extract::State as Extract;
use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::State;
use super::call::Call;
use crate::forward::{Standing, State as At};

pub(super) async fn forwards(Extract(state): Extract<State>, call: Call) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method("GET");
    }
    let all = state.forwarders.all();
    call.reply(&state.success("forwards", call.page(&all).map(|one| forward(one)).collect()))
}

fn forward(one: &Standing) -> Value {
    let (at, error) = match one.state() {
        At::Connecting => ("connecting", None),
        At::Forwarding => ("forwarding", None),
        At::Waiting(reason) => ("waiting", Some(reason)),
        At::Loop => ("loop", None),
    };
    json!({
        "id": one.id,
        "vhost": one.key.vhost,
        "app": one.key.app,
        "stream": one.key.stream,
        "publisher": one.publisher.as_str(),
        "destination": one.url,
        "state": at,
        "error": error,
        "alive_ms": u64::try_from(one.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        "connections": one.connections(),
        "failures": one.failures(),
        "send_bytes": one.bytes(),
        "dropped": one.dropped(),
    })
}
