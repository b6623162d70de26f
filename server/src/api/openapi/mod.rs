//! The description of the API (OpenAPI 3.1), as programs read it: what is served, by which methods, and how every answer looks. It tells
//! the truth about SRS's oddities: errors are HTTP 200 with a `code`, and where a method makes no difference only GET is named. What
//! the shapes are is told in `shapes`, WebRTC in `calls`.

mod calls;
mod shapes;

use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::call::Call;

/// Where it is.
pub(super) const PATH: &str = "/api/v1/openapi.json";

/// What holds for all of it.
const ABOUT: &str = "The HTTP API: the shapes of SRS 5, and our own additions. Errors are HTTP 200 with a `code` that is not 0 \
    (docs/ref/errors.md). Paths that are not named here are answered by the index above them; those of WebRTC are there with \
    `rtc_server` only. Where no method is refused, any is a GET. With `callback=NAME` JSON becomes JSONP.";

/// On the port of the API.
pub(super) async fn openapi(call: Call) -> Response {
    answer(&call, &description())
}

/// On the stream port, if the API has another one: what is described is what is there.
pub(super) async fn beside_streams(call: Call) -> Response {
    let mut description = description();
    if let Some(paths) = description["paths"].as_object_mut() {
        let is_there =
            |path: &str| ["/rtc/", "/sig/", "/api/v1/versions", PATH].iter().any(|p| path.starts_with(p));
        paths.retain(|path, _| is_there(path));
    }
    answer(&call, &description)
}

fn answer(call: &Call, description: &Value) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method("GET");
    }
    call.reply(description)
}

/// All of it.
fn description() -> Value {
    let mut paths = Map::new();
    for (path, about, answer) in shapes::plain() {
        paths.insert(path.into(), json!({ "get": operation(about, &[], answer) }));
    }
    paths.insert("/api/v1/raw".into(), json!({ "get": raw() }));
    paths.insert("/api/v1/clusters".into(), json!({ "get": clusters() }));
    paths.insert("/api/v1/tests/redirects".into(), json!({ "get": redirect() }));
    for list in shapes::lists() {
        paths.extend(listed(list));
    }
    paths.insert("/api/v1/events".into(), json!({ "get": events() }));
    let forwards = shapes::success("forwards", json!({ "type": "array", "items": shapes::forward() }));
    let paged = [count("start", 0), count("count", 10)];
    let forwards = strict(operation("Copies of streams for other servers", &paged, forwards));
    paths.insert("/api/v1/forwards".into(), json!({ "get": forwards }));
    let tasks = shapes::success("tasks", json!({ "type": "array", "items": shapes::task() }));
    let tasks =
        operation("Programs that the server keeps running", &[count("start", 0), count("count", 10)], tasks);
    paths.insert("/api/v1/tasks".into(), json!({ "get": strict(tasks) }));
    paths.insert("/api/v1/dvrs".into(), json!({ "get": recordings() }));
    let own = json!({ "type": "object" });
    paths.insert(PATH.into(), json!({ "get": strict(operation("This description", &[], own)) }));
    paths.insert("/metrics".into(), json!({ "get": metrics() }));
    paths.extend(calls::paths());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Oxcast",
            "version": crate::VERSION,
            "description": ABOUT,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "basic": [] }, { "bearer": [] }],
        "paths": paths,
        "components": { "securitySchemes": {
            "basic": { "type": "http", "scheme": "basic", "description": "`http_api.auth`: `username` and `password`, `user`" },
            "bearer": { "type": "http", "scheme": "bearer", "description": "`http_api.auth`: `token`" },
        } },
    })
}

/// A list, what is said of one of it, and what may be done to that one.
fn listed((list, one, code, shape): (&str, &str, u16, Value)) -> Vec<(String, Value)> {
    let paged: &[Value] = if list == "vhosts" { &[] } else { &[count("start", 0), count("count", 10)] };
    let all = shapes::success(list, json!({ "type": "array", "items": shape.clone() }));
    let all = strict(operation(&format!("All {list}"), paged, all));
    let found = shapes::either(shapes::success(one, shape), code);
    let mut item = json!({ "get": strict(operation(&format!("One of the {list}"), &[id()], found)) });
    let mut paths = vec![(format!("/api/v1/{list}/"), json!({ "get": all }))];
    if list == "clients" {
        let gone = shapes::either(shapes::done(), code);
        item["delete"] = strict(operation("Sends the client away", &[id()], gone));
    }
    if list == "streams" {
        let gone = shapes::either(shapes::success("kicked", shapes::kicked()), code);
        let players = parameter("players", "query", json!({ "type": "boolean" }), false);
        let about = "Sends the publisher away, and the players if asked to";
        item["delete"] = strict(operation(about, &[id(), players], gone));
        let health = shapes::either(shapes::success("health", shapes::health()), code);
        let health = strict(operation("How the stream does", &[id()], health));
        paths.push(("/api/v1/streams/{id}/health".into(), json!({ "get": health })));
    }
    paths.push((format!("/api/v1/{list}/{{id}}"), item));
    paths
}

fn parameter(name: &str, place: &str, schema: Value, required: bool) -> Value {
    json!({ "name": name, "in": place, "required": required, "schema": schema })
}

fn id() -> Value {
    parameter("id", "path", json!({ "type": "string", "pattern": "^[a-z0-9-]{8,11}$" }), true)
}

fn count(name: &str, default: u32) -> Value {
    parameter(name, "query", json!({ "type": "integer", "default": default }), false)
}

fn text(about: &str) -> Value {
    json!({ "description": about, "content": { "text/plain": { "schema": { "type": "string" } } } })
}

/// Something that is answered with JSON.
fn operation(about: &str, parameters: &[Value], answer: Value) -> Value {
    json!({
        "summary": about,
        "parameters": parameters,
        "responses": {
            "200": { "description": "The answer", "content": { "application/json": { "schema": answer } } },
            "400": text("A URL with `..`"),
            "401": text("Who asks has to prove who he is"),
            "503": text("More connections than `max_connections`"),
        },
    })
}

/// The same where methods count.
fn strict(mut operation: Value) -> Value {
    operation["responses"]["405"] = text("Another method than those that there are");
    operation
}

fn raw() -> Value {
    let rpc = json!({ "type": "string", "enum": ["raw", "reload", "reload-fetch"] });
    operation("Settings of the API, and reload", &[parameter("rpc", "query", rpc, true)], shapes::raw())
}

fn clusters() -> Value {
    let asked = ["ip", "vhost", "app", "stream", "coworker"];
    let asked = asked.map(|name| parameter(name, "query", json!({ "type": "string" }), false));
    operation("Where a stream is published", &asked, shapes::clusters())
}

fn redirect() -> Value {
    let mut moved = text("To `tests/errors`, with the query");
    moved["headers"] = json!({ "Location": { "required": true, "schema": { "type": "string" } } });
    json!({ "summary": "A redirect", "responses": {
        "301": moved,
        "400": text("A URL with `..`"),
        "401": text("Who asks has to prove who he is"),
        "503": text("More connections than `max_connections`"),
    } })
}

fn recordings() -> Value {
    let named = ["vhost", "app", "stream"];
    let named = named.map(|name| parameter(name, "query", json!({ "type": "string" }), false));
    let about = "RFC 3339, or seconds since 1970";
    let times = ["from", "to"].map(|name| {
        parameter(name, "query", json!({ "type": ["string", "number"], "description": about }), false)
    });
    let asked = [&named[..], &times, &[count("start", 0), count("count", 10)]].concat();
    let list = shapes::success("dvrs", json!({ "type": "array", "items": shapes::recording() }));
    let mut recordings = strict(operation("Recordings by time", &asked, list));
    recordings["responses"]["400"] =
        text("A time that is none, a range that ends before it begins, or a URL with `..`");
    recordings
}

fn metrics() -> Value {
    let mut metrics = operation("Metrics for Prometheus", &[], shapes::failure(1090));
    metrics["responses"]["200"]["description"] = "The page; JSON if `exporter` is off".into();
    metrics["responses"]["200"]["content"]["text/plain"] = json!({ "schema": { "type": "string" } });
    metrics
}

fn events() -> Value {
    let list = json!({ "type": "string" });
    let parameters =
        ["type", "stream", "last_event_id"].map(|name| parameter(name, "query", list.clone(), false));
    json!({
        "summary": "What happens, as it happens: Server-Sent Events, without end",
        "parameters": parameters,
        "responses": {
            "400": text("A URL with `..`"),
            "200": { "description": "Events", "content": { "text/event-stream": { "schema": { "type": "string" } } } },
            "401": text("Who asks has to prove who he is"),
            "405": text("Another method than GET"),
            "503": text("Too many listeners, or connections"),
        },
    })
}
