//! The raw API: what the configuration says about the API itself, and how the last reload went. It changes nothing.

use std::fmt::Display;

use axum::extract::State as Extract;
use axum::response::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::{Failure, State};

pub(super) async fn raw(Extract(state): Extract<State>, call: Call) -> Response {
    let offered = state.config.http_api.as_ref().is_some_and(|api| api.raw);
    call.reply(&match call.query("rpc") {
        // SRS's console asks for it, whether the raw API is offered or not.
        "raw" => settings(&state),
        _ if !offered => Failure::RawDisabled.answer(),
        // `allow_reload on` is refused by the configuration, so it is off.
        "reload" => Failure::RawDisabled.answer(),
        "reload-fetch" => {
            json!({ "code": 0, "data": { "err": 0, "msg": "Success", "state": NOT_STARTED, "rid": "" } })
        }
        _ => Failure::NoSuchRpc.answer(),
    })
}

/// The state of a reload that was never asked for.
const NOT_STARTED: i32 = 0;

fn settings(state: &State) -> Value {
    let api = state.config.http_api.as_ref();
    json!({
        "code": 0,
        "http_api": {
            "enabled": api.is_some(),
            "listen": api.map_or_else(String::new, |api| words(&api.listen)),
            "crossdomain": api.is_none_or(|api| api.crossdomain),
            "raw_api": {
                "enabled": api.is_some_and(|api| api.raw),
                "allow_reload": false,
                "allow_query": false,
                "allow_update": false,
            },
        },
    })
}

fn words(list: &[impl Display]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
