//! The room where calls find each other: the signalling of the pages below `/demos/`, over a WebSocket (docs/ref/signalling.md).
//! It carries no media and admits nobody to any: streams of a call pass the gate like all others.

mod hall;
mod mailbox;
mod message;
mod participant;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tracing::warn;

use crate::config::Config;
use crate::http::upgrade::{Upgrade, Upgraded};
use crate::http::{finish, handshake, request};
use crate::session::Session;

use hall::Hall;
use participant::Participant;

/// Where it is.
const PATH: &str = "/sig/v1/rtc";

/// How much there may be of everything.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Rooms.
    rooms: usize,
    /// Participants of one.
    people: usize,
    /// How long somebody may say nothing. Pages speak every 20 seconds.
    silence: Duration,
    /// A participant who says so much that makes no sense is sent away.
    faults: u32,
    /// So many messages are heard at once; each of them comes back with time.
    chatter: u32,
    /// How long a message takes to come back.
    breath: Duration,
}

const LIMITS: Limits = Limits {
    rooms: 1024,
    people: 64,
    silence: Duration::from_secs(60),
    faults: 20,
    chatter: 200,
    breath: Duration::from_millis(50),
};

/// The longest message of a participant, in bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// What all connections share.
#[derive(Clone)]
struct Service {
    hall: Arc<Hall>,
    /// Pages from elsewhere may come in.
    crossdomain: bool,
}

/// All rooms, as long as the server runs.
#[derive(Clone)]
pub struct Rooms(Arc<Hall>);

impl Default for Rooms {
    fn default() -> Self {
        Self(Arc::new(Hall::new(LIMITS)))
    }
}

impl Rooms {
    /// The signalling, [finished](finish).
    pub fn router(&self, config: &Config) -> Router {
        router(self.0.clone(), config)
    }
}

fn router(hall: Arc<Hall>, config: &Config) -> Router {
    let crossdomain = config.http_server.as_ref().is_none_or(|http| http.crossdomain);
    let service = Service { hall, crossdomain };
    let mut routes = Router::new();
    for end in ["", "/"] {
        routes = routes.route(&format!("{PATH}{end}"), any(enter));
    }
    finish(routes.with_state(service), config)
}

/// Answers the handshake; what comes then is a participant's.
async fn enter(State(service): State<Service>, request: Request) -> Response {
    let (session, upgrade) =
        (request.extensions().get::<Arc<Session>>(), request.extensions().get::<Upgrade>());
    let (Some(session), Some(upgrade)) = (session.cloned(), upgrade) else {
        return StatusCode::NOT_IMPLEMENTED.into_response();
    };
    let accept = match service.weigh(&request) {
        Ok(accept) => accept,
        Err((status, reason)) => {
            warn!("client refused: {reason}, peer={}", session.peer);
            return refusal(status, reason);
        }
    };
    let participant = Participant::new(service.hall, session);
    upgrade.go_on(move |Upgraded { stream, early }| participant.serve(stream, early));
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

impl Service {
    /// The `Sec-WebSocket-Accept` of a request that may come in.
    fn weigh(&self, request: &Request) -> Result<HeaderValue, (StatusCode, &'static str)> {
        if !handshake::is_asked_for(request) {
            return Err((StatusCode::UPGRADE_REQUIRED, "the signalling of calls is for WebSockets"));
        }
        let key = handshake::read(request.headers())?;
        // Browsers leave this to the server: CORS knows no WebSockets.
        if !self.crossdomain && is_foreign(request.headers(), request::host(request)) {
            return Err((StatusCode::FORBIDDEN, "pages from elsewhere may not come in (`crossdomain off`)"));
        }
        HeaderValue::try_from(handshake::accept(key)).map_err(|_| (StatusCode::BAD_REQUEST, "no such key"))
    }
}

/// The request comes from a page of another host or port. Programs that are no browsers tell no origin.
fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    authority.is_none_or(|(_, authority)| !host.is_some_and(|host| host.eq_ignore_ascii_case(authority)))
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    let mut response = (status, format!("{reason}\n")).into_response();
    if status == StatusCode::UPGRADE_REQUIRED {
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}
