//! WHIP (RFC 9725) and WHEP: offer and answer as they are, the session as a resource.
//!
//! Our answer has all candidates, and we send no checks, so that the candidates of a PATCH change nothing; one with other credentials starts ICE again.

use axum::extract::{Request, State};
use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rtc::ice::{self, Credentials};
use rtc::sdp::Purpose;
use rtp::sdp::Candidate;
use tracing::{Instrument, info};

use super::wish::{self, Address, Wish};
use super::{Admitted, Known, Refusal, Service, client, read, tell};
use crate::http::{refusal, request};
use crate::log;
use crate::protocol::webrtc::candidates;
use crate::protocol::webrtc::lobby::{NoRestart, Restart};
use crate::session::Cid;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const METHODS: &str = "POST, PATCH, DELETE, OPTIONS";
const ENDPOINTS: [&str; 3] = ["/rtc/v1/whip", "/rtc/v1/whip-play", "/rtc/v1/whep"];

/// What stands in the query of a `Location` as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// `/rtc/v1/whip/`: publishes, unless the query says otherwise.
pub(super) async fn whip(State(service): State<Service>, request: Request) -> Response {
    let action = request::parameter(request.uri(), "action");
    let plays = action.is_some_and(|action| action != "publish");
    serve(service, request, if plays { Purpose::Play } else { Purpose::Publish }).await
}

/// `/rtc/v1/whep/` and `/rtc/v1/whip-play/`
pub(super) async fn whep(State(service): State<Service>, request: Request) -> Response {
    serve(service, request, Purpose::Play).await
}

/// What `OPTIONS` of an endpoint tells beside the headers of CORS: what may be sent there, and which servers of ICE there are, so that clients know them
/// before their offer (RFC 9725 §4.2, §4.6).
pub(super) async fn options(State(service): State<Service>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let asks =
        request.method() == Method::OPTIONS && ENDPOINTS.contains(&path.strip_suffix('/').unwrap_or(path));
    let mut response = next.run(request).await;
    if asks {
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(ACCEPT_POST, HeaderValue::from_static(SDP));
        headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
        service.link_ice_servers(headers);
    }
    response
}

async fn serve(service: Service, request: Request, purpose: Purpose) -> Response {
    let (cid, peer) = (Cid::random(), client(&request));
    let span = log::span(cid);
    let work = async {
        match *request.method() {
            Method::POST => service.open(cid, request, purpose).await,
            Method::DELETE => service.close(&request),
            Method::PATCH => service.patch(request).await,
            _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")),
        }
    };
    work.instrument(span.clone()).await.unwrap_or_else(|refusal| {
        tell(&span, &refusal, peer);
        let more = refusal::header(refusal.status);
        let mut response = (refusal.status, refusal.reason).into_response();
        response.headers_mut().extend(more);
        if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
        }
        response
    })
}

impl Service {
    async fn open(&self, cid: Cid, request: Request, purpose: Purpose) -> Result<Response, Refusal> {
        if content_type(request.headers()).is_some_and(|kind| kind != SDP && kind != "text/plain") {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an offer is application/sdp"));
        }
        let wish = Wish::new(&request, purpose, client(&request), Address::of(&request))?;
        let offer = read(request.into_body()).await?;
        let Admitted { known, answer } = self.admit(cid, &wish, &offer).await?;
        let headers = [
            (header::CONTENT_TYPE, SDP.to_owned()),
            (header::LOCATION, location(&wish, &known)),
            (header::ETAG, etag(&known)),
            (ACCEPT_PATCH, FRAGMENT.to_owned()),
        ];
        let mut response = (StatusCode::CREATED, headers, answer).into_response();
        self.link_ice_servers(response.headers_mut());
        Ok(response)
    }

    /// A `Link` for each of `ice_server` (RFC 9725 §4.6).
    fn link_ice_servers(&self, headers: &mut HeaderMap) {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        for server in self.config.rtc_server.iter().flat_map(|server| &server.ice_servers) {
            let login = server.login.as_ref().map_or_else(String::new, |(name, credential)| {
                let (name, credential) = (quoted(name), quoted(credential));
                format!("; username={name}; credential={credential}; credential-type=\"password\"")
            });
            let link = format!("<{}>; rel=\"ice-server\"{login}", server.url);
            headers.extend(HeaderValue::try_from(link).ok().map(|link| (header::LINK, link)));
        }
    }

    /// Ends a session; one that is over already is none the less.
    fn close(&self, request: &Request) -> Result<Response, Refusal> {
        if let Some(known) = self.known(request)? {
            log::span(known.session.cid).in_scope(|| info!("the client ends its session"));
            known.session.kick("the client has ended its session");
            self.rtc.lobby.leave(ours(&known.username));
        }
        Ok(StatusCode::OK.into_response())
    }

    /// Candidates are taken and not needed; other credentials of the client start ICE again, and are answered with ours (RFC 9725 §4.3.3).
    async fn patch(&self, request: Request) -> Result<Response, Refusal> {
        if content_type(request.headers()).as_deref() != Some(FRAGMENT) {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("a patch is {FRAGMENT}")));
        }
        let gone = || Refusal::new(StatusCode::NOT_FOUND, "this session is over");
        let known = self.known(&request)?.ok_or_else(gone)?;
        let condition = request.headers().get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        if condition.is_some_and(|tag| tag != "*" && tag != etag(&known)) {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "ICE has another ETag"));
        }
        let host = Address::of(&request).host;
        let candidate = ["eip", "candidate"].iter().find_map(|name| request::parameter(request.uri(), name));
        let body = read(request.into_body()).await?;
        let body = std::str::from_utf8(&body).map_err(Refusal::bad)?;
        let told = |attribute| body.lines().find_map(|line| line.strip_prefix(attribute)).map(str::trim);
        let theirs = known.latest.split_once(':').map_or("", |(_, theirs)| theirs);
        let Some(remote_ufrag) = told("a=ice-ufrag:").filter(|name| *name != theirs) else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        if !is_token(remote_ufrag) || told("a=ice-pwd:").is_none_or(|password| !is_token(password)) {
            return Err(Refusal::bad("a new start of ICE has an ice-ufrag and an ice-pwd"));
        }
        let section = told("m=").zip(told("a=mid:")).ok_or_else(|| Refusal::bad("there is no section"))?;
        let restart = Restart { local: wish::credentials()?, remote_ufrag: remote_ufrag.to_owned() };
        let local = restart.local.clone();
        self.rtc.restart(ours(&known.username), restart).map_err(|reason| {
            let status = match reason {
                NoRestart::Gone => StatusCode::NOT_FOUND,
                NoRestart::TooOften => StatusCode::TOO_MANY_REQUESTS,
                NoRestart::Taken | NoRestart::Busy => StatusCode::SERVICE_UNAVAILABLE,
            };
            Refusal::new(status, reason)
        })?;
        let candidates = self.candidates(candidate.as_deref(), &host).await;
        let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, quoted(&local.ufrag))];
        Ok((headers, fragment(section, &local, &candidates)).into_response())
    }

    async fn candidates(&self, asked: Option<&str>, host: &str) -> Vec<Candidate> {
        let Some(server) = &self.config.rtc_server else { return Vec::new() };
        let asked = asked.filter(|text| candidates::is_address(text));
        ice::described(&candidates::find(server, self.ports, asked, host).await)
    }

    /// The session that a request names, if it is not over; who names it must know its token.
    fn known(&self, request: &Request) -> Result<Option<Known>, Refusal> {
        let told = |name| request::parameter(request.uri(), name).unwrap_or_default();
        let (session, token) = (told("session"), told("token"));
        if token.is_empty() {
            return Err(Refusal::forbidden("the token of the session is missing"));
        }
        let known = self.rtc.lobby.known(ours(&session)).filter(|known| known.username == session);
        if known.as_ref().is_some_and(|known| known.token != token) {
            return Err(Refusal::forbidden("this is not the token of the session"));
        }
        Ok(known)
    }
}

/// Our part of `ours:theirs`.
fn ours(username: &str) -> &str {
    username.split_once(':').map_or(username, |(ours, _)| ours)
}

/// Without parameters, in lower case.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Names the last start of ICE.
fn etag(known: &Known) -> String {
    quoted(ours(&known.latest))
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// The characters of names and passwords (RFC 8839 §5.4).
fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    (4..=256).contains(&text.len()) && text.bytes().all(plain)
}

/// Our side of a new start, for the first section of a bundle: its `m=` line and its name come from the client (RFC 8840 §4.4).
fn fragment((m, mid): (&str, &str), local: &Credentials, candidates: &[Candidate]) -> String {
    let Credentials { ufrag, password } = local;
    let head =
        format!("a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\nm={m}\r\na=mid:{mid}\r\n");
    let candidates = candidates.iter().map(|candidate| format!("a=candidate:{candidate}\r\n"));
    head + &candidates.collect::<String>() + "a=end-of-candidates\r\n"
}

/// The session's own address, the same for players and publishers, as in SRS.
fn location(wish: &Wish, known: &Known) -> String {
    let quoted = |text| utf8_percent_encode(text, QUERY).to_string();
    let (ours, theirs) = known.username.split_once(':').unwrap_or((&known.username, ""));
    format!(
        "/rtc/v1/whip/?action=delete&token={}&app={}&stream={}&session={}:{}",
        known.token,
        quoted(&wish.request.app),
        quoted(&wish.request.stream),
        quoted(ours),
        quoted(theirs)
    )
}
