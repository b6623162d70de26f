//! WebRTC in the description: offers and answers (docs/ref/webrtc.md), and how calls find each other (docs/ref/signalling.md).

use serde_json::{Value, json};

use super::{parameter, shapes, text};

/// What the body of WHIP and WHEP is.
const SDP: &str = "application/sdp";
/// What the body of a PATCH is.
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// All paths.
pub(super) fn paths() -> Vec<(String, Value)> {
    let by_json = ["play", "publish"].map(|what| (what, json!({ "post": offer_by_json(what) })));
    let by_sdp = [
        ("whip", "WHIP: publishes, with `action=play` plays"),
        ("whep", "WHEP: plays"),
        ("whip-play", "The same as `whep`"),
    ];
    let by_sdp = by_sdp.map(|(name, about)| {
        let item = json!({ "post": offer(about), "patch": candidates(), "delete": end() });
        (name, item)
    });
    let offers = by_json.into_iter().chain(by_sdp);
    let mut paths: Vec<_> = offers.map(|(name, item)| (format!("/rtc/v1/{name}/"), item)).collect();
    paths.push(("/sig/v1/rtc".into(), json!({ "get": signalling() })));
    paths
}

/// Adds refusals to responses: those of all requests, and these by status.
fn refused(mut responses: Value, refusals: &[(&str, &str)], content: Option<Value>) -> Value {
    let all = [
        ("400", "It makes no sense"),
        ("401", "Who asks has to prove who he is"),
        ("503", "There is no room"),
    ];
    for (status, about) in all.iter().chain(refusals) {
        responses[*status] = text(about);
        if let Some(content) = &content {
            responses[*status]["content"][SHAPED] = content.clone();
        }
    }
    responses
}

/// What JSON is answered with.
const SHAPED: &str = "application/json";

/// What may go wrong with an offer.
const OFFER: [(&str, &str); 5] = [
    ("403", "The configuration, a rule or a web service forbids it"),
    ("404", "There is no such vhost"),
    ("405", "Another method than those that there are"),
    ("409", "Another client publishes the stream, or has the name"),
    ("413", "The offer is too long"),
];

fn offer_by_json(what: &str) -> Value {
    let answer = json!({ SHAPED: { "schema": shapes::answer() } });
    let responses = json!({ "200": { "description": "The answer", "content": answer } });
    let refusal = json!({ "schema": shapes::failure(400) });
    json!({
        "summary": format!("SRS's way to {what} by WebRTC"),
        "requestBody": { "required": true, "content": { SHAPED: { "schema": shapes::offer() } } },
        "responses": refused(responses, &OFFER, Some(refusal)),
    })
}

fn offer(about: &str) -> Value {
    let body = json!({ SDP: { "schema": { "type": "string" } } });
    let header =
        |about: &str| json!({ "description": about, "required": true, "schema": { "type": "string" } });
    let responses = json!({
        "201": {
            "description": "The answer",
            "headers": {
                "Location": header("The session"),
                "ETag": header("The start of ICE"),
                "Accept-Patch": header("What a PATCH of the session takes"),
            },
            "content": body,
        },
        "415": text("The body is no SDP"),
    });
    let named = ["app", "stream", "vhost", "action"];
    let named = named.map(|name| parameter(name, "query", json!({ "type": "string" }), false));
    json!({
        "summary": about,
        "parameters": named,
        "requestBody": { "required": true, "content": body },
        "responses": refused(responses, &OFFER, None),
    })
}

/// What the query of a `Location` says.
fn session() -> [Value; 2] {
    ["token", "session"].map(|name| parameter(name, "query", json!({ "type": "string" }), true))
}

fn candidates() -> Value {
    let fragment = json!({ FRAGMENT: { "schema": { "type": "string" } } });
    let responses = json!({
        "200": { "description": "ICE has started again, with these credentials", "content": fragment },
        "204": { "description": "The candidates are taken" },
    });
    let refusals = [
        ("403", "Without the token of the session"),
        ("404", "The session is over"),
        ("412", "`If-Match` names another start of ICE"),
        ("413", "The body is too long"),
        ("415", "The body is no fragment of SDP"),
        ("429", "ICE was started again too often"),
    ];
    json!({
        "summary": "Candidates of the client, or another start of ICE",
        "parameters": session(),
        "requestBody": { "required": true, "content": fragment },
        "responses": refused(responses, &refusals, None),
    })
}

fn end() -> Value {
    let responses = json!({ "200": { "description": "It is over" } });
    json!({
        "summary": "Ends a session",
        "parameters": session(),
        "responses": refused(responses, &[("403", "Without the token of the session")], None),
    })
}

/// OpenAPI has no words for what comes behind an upgrade.
fn signalling() -> Value {
    let about = "The signalling of calls, as JSON in text messages of a WebSocket";
    let responses = json!({ "101": { "description": about } });
    let refusals =
        [("403", "A page of another host, with `crossdomain off`"), ("426", "This is for WebSockets")];
    json!({
        "summary": "How calls find each other: a WebSocket",
        "responses": refused(responses, &refusals, None),
    })
}
