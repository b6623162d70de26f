//! The event stream: what happens, as Server-Sent Events (HTML §9.2). A listener that comes back says the last event that it knows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Extract};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::State;
use super::call::Call;
use crate::events::{Listener, News, Told};

/// Who hears nothing for this long is sent a comment, so that both ends and those between know that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What comes first: the head of the answer leaves at once, and browsers come back soon.
const HELLO: &str = "retry: 2000\n\n";

/// What a listener hears in place of events that are not kept any more.
const MISSED: &str = "event: missed\ndata: {\"type\":\"missed\"}\n\n";

/// What a listener wants to hear; everything, where nothing is said.
struct Filter {
    kinds: Vec<String>,
    streams: Vec<String>,
}

impl Filter {
    fn of(call: &Call) -> Self {
        let list = |name| {
            let words = call.query(name).split(',').filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        Self { kinds: list("type"), streams: list("stream") }
    }

    fn passes(&self, told: &Told) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == told.kind);
        let of = |stream: &String| self.streams.contains(stream);
        kind && (self.streams.is_empty() || told.stream.as_ref().is_some_and(of))
    }
}

pub(super) async fn events(Extract(state): Extract<State>, call: Call, request: Request) -> Response {
    if call.method != Method::GET {
        return Call::refuse_method("GET");
    }
    // Pages cannot set the header when they come first.
    let said = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    let after = said.unwrap_or(call.query("last_event_id")).trim().parse().ok();
    let Some(listener) = state.roll.events().follow(after) else {
        let headers = [(RETRY_AFTER, "10")];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, "too many listeners").into_response();
    };
    let session = request.extensions().get::<Arc<crate::session::Session>>();
    let peer = session.map_or_else(String::new, |session| session.peer.to_string());
    let hearing = Hearing { listener, filter: Filter::of(&call), peer, keeps_up: after.is_none() };
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-store"),
        // Proxies of nginx's kind would keep events back.
        ("x-accel-buffering", "no"),
    ];
    let body = match *request.method() {
        Method::HEAD => Body::empty(),
        _ => Body::from_stream(futures_util::stream::unfold(Next::Hello(hearing), Next::step)),
    };
    (headers, body).into_response()
}

/// One listener.
struct Hearing {
    listener: Listener,
    filter: Filter,
    peer: String,
    /// It has heard what there was, so that to miss something means to be too slow.
    keeps_up: bool,
}

/// What it is sent next.
enum Next {
    Hello(Hearing),
    News(Hearing),
    Nothing,
}

impl Next {
    async fn step(self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let (text, next) = match self {
            Self::Hello(hearing) => (HELLO.into(), Self::News(hearing)),
            Self::News(hearing) => hearing.next().await?,
            Self::Nothing => return None,
        };
        Some((Ok(Bytes::from(text)), next))
    }
}

impl Hearing {
    async fn next(mut self) -> Option<(String, Next)> {
        let heartbeat = Instant::now() + HEARTBEAT;
        let text = loop {
            match timeout_at(heartbeat, self.listener.next()).await {
                Err(_) => break ":\n\n".to_owned(),
                Ok(News::Told(told)) if self.filter.passes(&told) => {
                    let Told { id, kind, json, .. } = &*told;
                    break format!("id: {id}\nevent: {kind}\ndata: {json}\n\n");
                }
                Ok(News::Told(_)) => self.keeps_up = true,
                Ok(News::Missed) if self.keeps_up => {
                    warn!("an event listener is too slow and has to come back, peer={}", self.peer);
                    return Some((MISSED.to_owned(), Next::Nothing));
                }
                Ok(News::Missed) => break MISSED.to_owned(),
                Ok(News::Over) => return None,
            }
        };
        self.keeps_up = true;
        Some((text, Next::News(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let filter = |kinds: &str, streams: &str| {
            let list = |text: &str| text.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect();
            Filter { kinds: list(kinds), streams: list(streams) }
        };
        let told = |kind, stream: &str| {
            let stream = (!stream.is_empty()).then(|| stream.to_owned());
            Told { id: 1, kind, stream, json: String::new() }
        };
        assert!(filter("", "").passes(&told("overload", "")));
        assert!(filter("publish,stop", "").passes(&told("stop", "/live/a")));
        assert!(!filter("publish,stop", "").passes(&told("play", "/live/a")));
        assert!(filter("", "/live/a").passes(&told("play", "/live/a")));
        assert!(!filter("", "/live/a").passes(&told("play", "/live/ab")));
        assert!(!filter("", "/live/a").passes(&told("overload", "")));
    }
}
