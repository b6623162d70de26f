//! What is said to a server of WHIP by HTTP (RFC 9725): an offer is posted, the answer names the session, and that is deleted at the end.

use std::net::IpAddr;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, LOCATION, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rtc::sdp::Proposal;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::debug;

use super::Address;
use crate::forward::circles::Known;
use crate::forward::connect::{self, Fresh, HANDSHAKE};
use crate::forward::task::{FAREWELL, Job};

/// An answer is not longer than this.
const MAX_ANSWER: usize = 64 << 10;

/// So often an endpoint may send us elsewhere, and so long all of it may take.
const MAX_HOPS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);

/// So many characters of a refusal are told.
const MAX_WORDS: usize = 200;

const SDP: &str = "application/sdp";

/// A session that a server keeps for us, until it is deleted.
pub(super) struct Resource {
    url: Option<Url>,
    authorization: Option<String>,
    _known: Known,
}

/// An offer that a server has answered.
pub(super) struct Answered {
    pub(super) offer: Proposal,
    pub(super) answer: Vec<u8>,
    pub(super) resource: Resource,
}

/// Posts the offer that is made for our address towards the server. `None` where the endpoint is our own, and would bring the stream back.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn post(
    job: &Job,
    address: &Address,
    offer: impl Fn(IpAddr) -> Proposal,
) -> Result<Option<Answered>, String> {
    let posted = timeout(PATIENCE, Box::pin(follow(job, address, offer))).await;
    posted.unwrap_or_else(|_| Err(format!("the server does not answer within {PATIENCE:?}")))
}

async fn follow(
    job: &Job,
    address: &Address,
    offer: impl Fn(IpAddr) -> Proposal,
) -> Result<Option<Answered>, String> {
    let Address { url, authorization } = address;
    let (mut url, tls_ca) = (url.clone(), job.target.tls_ca.as_deref());
    for _ in 0..=MAX_HOPS {
        let fresh = open(&url).await?;
        let known = job.circles.enter_whip(fresh.ends, &job.standing.key, &url, job.session.peer);
        let Some(known) = known else { return Ok(None) };
        let offer = offer(fresh.ends.local.ip().to_canonical());
        let body = offer.description().to_string();
        let asked = Asked { method: Method::POST, authorization: authorization.as_deref(), body };
        let said = timeout(HANDSHAKE, ask(fresh, &url, tls_ca, asked)).await;
        let said = said.map_err(|_| format!("the server does not answer within {HANDSHAKE:?}"))??;
        let location = said.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|location| url.join(location).ok());
        // Nobody but the first server is told secrets in the clear, and nothing but HTTP is spoken.
        let location = location.filter(|next| next.scheme() == url.scheme() || next.scheme() == "https");
        match said.status {
            StatusCode::CREATED | StatusCode::OK => {
                let resource =
                    Resource { url: location, authorization: authorization.clone(), _known: known };
                return Ok(Some(Answered { offer, answer: said.body, resource }));
            }
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                url = location.ok_or("the server sends us elsewhere, and not to where we may go")?;
            }
            _ => return Err(said.refusal()),
        }
    }
    Err(format!("the server sends us elsewhere more than {MAX_HOPS} times"))
}

impl Resource {
    /// Ends the session at the server. What it answers changes nothing.
    pub(super) async fn delete(self, tls_ca: Option<&Path>) {
        let Some(url) = &self.url else { return debug!("the server has not named the session") };
        let authorization = self.authorization.as_deref();
        let asked = Asked { method: Method::DELETE, authorization, body: String::new() };
        let delete = async { ask(open(url).await?, url, tls_ca, asked).await };
        match timeout(FAREWELL, delete).await {
            Ok(Ok(said)) if said.status.is_success() => {}
            Ok(Ok(said)) => debug!("the end of the session: {}", said.refusal()),
            Ok(Err(e)) => debug!("the end of the session: {e}"),
            Err(_) => debug!("the server does not hear of the end"),
        }
    }
}

struct Asked<'a> {
    method: Method,
    authorization: Option<&'a str>,
    body: String,
}

struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Said {
    /// In words: the status, and the first line of what a person may read.
    fn refusal(&self) -> String {
        let status = self.status;
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let plain = |c: &char| !c.is_control();
        let words: String = line.trim().chars().filter(plain).take(MAX_WORDS).collect();
        match words.is_empty() || kind.contains("html") || kind.contains("xml") {
            true => format!("the server refuses: {status}"),
            false => format!("the server refuses: {status}, {words}"),
        }
    }
}

/// The name or the address of a server, as sockets take it.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// What is asked for.
fn target(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{query}", url.path())
}

fn authority(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

async fn open(url: &Url) -> Result<Fresh, String> {
    let port = url.port_or_known_default().ok_or("an address without a port")?;
    connect::connect(host(url), port).await
}

/// One request on a connection of its own.
async fn ask(fresh: Fresh, url: &Url, tls_ca: Option<&Path>, asked: Asked<'_>) -> Result<Said, String> {
    let stream = match url.scheme() {
        "https" => fresh.secure(host(url), tls_ca).await?,
        _ => fresh.plain(),
    };
    let text = |e: hyper::Error| format!("HTTP: {e}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    // It ends with the sender, or soon after.
    let _driver = spawn_local(async {
        let _ = timeout(Duration::from_secs(60), connection).await;
    });
    let mut request = Request::builder()
        .method(asked.method)
        .uri(target(url))
        .header(HOST, authority(url))
        .header(USER_AGENT, crate::SIGNATURE);
    if let Some(authorization) = asked.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if !asked.body.is_empty() {
        request = request.header(CONTENT_TYPE, SDP).header(ACCEPT, SDP);
    }
    let request = request.body(Body::from(asked.body)).map_err(|e| e.to_string())?;
    let (head, body) = pin!(sender.send_request(request)).await.map_err(text)?.into_parts();
    let body = to_bytes(Body::new(body), MAX_ANSWER).await;
    let body =
        body.map_err(|_| "the server's answer breaks off, or is longer than 65536 bytes".to_owned())?;
    Ok(Said { status: head.status, headers: head.headers, body: body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_one_line() {
        let refusal = |status, kind: &'static str, body: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            Said { status, headers, body: body.into() }.refusal()
        };
        let text = refusal(StatusCode::UNAUTHORIZED, "text/plain", "\r\nno such\x1b token\nx");
        assert_eq!(text, "the server refuses: 401 Unauthorized, no such token");
        let html = refusal(StatusCode::NOT_FOUND, "text/html; charset=utf-8", "<html>");
        assert_eq!(html, "the server refuses: 404 Not Found");
        assert_eq!(refusal(StatusCode::CONFLICT, "text/plain", &"x".repeat(1000)).len(), 234);
    }
}
