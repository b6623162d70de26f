//! The raw API: what the configuration says about the API itself, a reload, and how the last one went.

use std::fmt::Display;

use axum::extract::State as Extract;
use axum::response::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::{Failure, State, audit};
use crate::reload::Outcome;

pub(super) async fn raw(Extract(state): Extract<State>, call: Call) -> Response {
    let offered = state.config.http_api.as_ref().is_some_and(|api| api.raw);
    let answer = match call.query("rpc") {
        // SRS's console asks for it, whether the raw API is offered or not.
        "raw" => settings(&state),
        _ if !offered => Failure::RawDisabled.answer(),
        "reload" if !state.config.http_api.as_ref().is_some_and(|api| api.allow_reload) => {
            Failure::RawDisabled.answer()
        }
        "reload" => {
            state.reloads.ask(format!("the API, {}", call.by));
            json!({ "code": 0 })
        }
        "reload-fetch" => {
            let Outcome { error, message, stage, id } = state.reloads.last();
            let message = if message.is_empty() { "Success".to_owned() } else { message };
            json!({ "code": 0, "data": { "err": error, "msg": message, "state": stage as i32, "rid": id } })
        }
        _ => Failure::NoSuchRpc.answer(),
    };
    if call.query("rpc") == "reload" {
        audit::tell(&call.by, "reload", format_args!("code {}", answer["code"]));
    }
    call.reply(&answer)
}

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
                "allow_reload": api.is_some_and(|api| api.allow_reload),
                "allow_query": false,
                "allow_update": false,
            },
        },
    })
}

fn words(list: &[impl Display]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
