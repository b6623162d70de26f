//! Programs that the server starts and keeps running: which there are, and how they do. SRS has nothing like it.

use axum::extract::State as Extract;
use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::State;
use super::call::Call;
use crate::task::Report;

pub(super) async fn tasks(Extract(state): Extract<State>, call: Call) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method("GET");
    }
    let all = state.tasks.reports();
    call.reply(&state.success("tasks", call.page(&all).map(task).collect()))
}

fn task(report: &Report) -> Value {
    json!({
        "kind": report.kind.name(),
        "name": report.name,
        "vhost": report.vhost,
        "stream": report.stream,
        "state": if report.pid.is_some() { "running" } else { "waiting" },
        "pid": report.pid,
        "since": report.since.as_secs_f64(),
        "restarts": report.restarts,
        "reason": report.reason,
    })
}
