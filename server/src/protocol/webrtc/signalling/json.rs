//! SRS's own way: offer and answer as JSON.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rtc::sdp::Purpose;
use serde_json::{Value, json};
use tracing::Instrument;

use super::wish::{Address, Wish};
use super::{Admitted, Refusal, Service, client, read, tell};
use crate::http::refusal;
use crate::log;
use crate::process::Identity;
use crate::session::Cid;

/// `/rtc/v1/play/`
pub(super) async fn play(State(service): State<Service>, request: Request) -> Response {
    answer(service, request, Purpose::Play).await
}

/// `/rtc/v1/publish/`
pub(super) async fn publish(State(service): State<Service>, request: Request) -> Response {
    answer(service, request, Purpose::Publish).await
}

async fn answer(service: Service, request: Request, purpose: Purpose) -> Response {
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST, OPTIONS")], "Method Not Allowed")
            .into_response();
    }
    let (cid, mut peer) = (Cid::random(), client(&request));
    let span = log::span(cid);
    let admit = async {
        let (parts, body) = request.into_parts();
        let body = read(body).await?;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|error| Refusal::bad(format!("the body is no JSON: {error}")))?;
        let text = |name| body.get(name).and_then(Value::as_str);
        let needed = |name| text(name).ok_or_else(|| Refusal::bad(format!("the body has no `{name}`")));
        if let Some(ip) = text("clientip").and_then(|ip| ip.parse().ok()) {
            peer.set_ip(ip);
        }
        let (sdp, mut stream) = (needed("sdp")?, Address::parse(needed("streamurl")?)?);
        if purpose == Purpose::Publish {
            // Callbacks know by this where a publisher comes from.
            let separator = if stream.param.is_empty() { '?' } else { '&' };
            stream.param = format!("{}{separator}upstream=rtc", stream.param);
        }
        let wish = Wish::new(&Request::from_parts(parts, ()), purpose, peer, stream)?;
        let said = |name| text(name).unwrap_or_default().escape_debug().to_string();
        tracing::debug!("offer by JSON: api={}, tid={}", said("api"), said("tid"));
        service.admit(cid, &wish, sdp.as_bytes()).await
    };
    let admitted = admit.instrument(span.clone()).await;
    match admitted {
        Ok(Admitted { known, answer }) => {
            let Identity { server, service, pid, .. } = &*service.identity;
            let body = json!({
                "code": 0,
                "server": server,
                "service": service,
                "pid": pid.to_string(),
                "sdp": answer,
                "sessionid": known.username,
            });
            reply(StatusCode::OK, &body)
        }
        Err(refusal) => {
            tell(&span, &refusal, peer);
            let code = StatusCode::BAD_REQUEST.as_u16();
            let mut response = reply(refusal.status, &json!({ "code": code, "message": refusal.reason }));
            response.headers_mut().extend(refusal::header(refusal.status));
            response
        }
    }
}

fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
