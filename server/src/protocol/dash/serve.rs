//! Requests for manifests and segments. What is on the shelf is answered from there; the rest is files like any other.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use formats::dash::{CLOCK, Text};
use formats::date::date;
use futures_util::stream;
use hub::StreamKey;
use jiff::Timestamp;
use media::Kind as MediaKind;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_http::services::ServeFile;
use tracing::warn;

use super::Service;
use super::shelf::{self, Growth, Media, What};
use crate::gate::Ask;
use crate::http::{pieces, refusal, request};
use crate::session::{self, Cid, Kind, Session};

/// Players that ask for segments before they are listed, as ffmpeg does, ask again at once, without end.
const PAUSE: Duration = Duration::from_millis(500);

/// A layer around the static files: answers what is of DASH, and passes on the rest.
pub async fn before_files(State(service): State<Service>, request: Request, next: Next) -> Response {
    let Some((vhost, place)) = service.place(&request) else { return next.run(request).await };
    let Some(item) = service.shelf.find(&place) else {
        let response = next.run(request).await;
        if response.status() == StatusCode::NOT_FOUND && service.shelf.is_within(&place) {
            sleep(PAUSE).await;
        }
        return response;
    };
    if let What::Manifest(_) = item.what
        && request::parameter(request.uri(), CLOCK).is_some()
    {
        return clock();
    }
    let (session, told) = about(vhost, &item.stream, &request);
    if let Err(refusal) = service.admit(&session, told).await {
        return refusal;
    }
    match item.what {
        What::Manifest(text) => manifest(&text, &request),
        What::Media(kind, media) => label(kind, send(media, request).await),
    }
}

impl Service {
    /// What the request calls the vhost, and where on the shelf would be what it is for.
    fn place(&self, request: &Request) -> Option<(String, String)> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
        let asked = request::vhost(request);
        let vhost = self.gate.vhost(&asked).ok()?;
        let place = shelf::place(&vhost.name, path.trim_start_matches('/'));
        Some((asked, place))
    }

    /// Whether it may be fetched: each request has to show what a player has to.
    async fn admit(&self, session: &Arc<Session>, request: session::Request) -> Result<(), Response> {
        // There is no kind for who is no client; all that play are equal here.
        let ask = Ask { session, kind: Kind::HlsPlay, request, visit: None };
        self.gate.check_piece(&ask).await.map_err(|refused| {
            warn!("client refused: {refused}, peer={}", session.peer);
            refusal::respond(&refused)
        })
    }
}

/// Who asks, and what the gate is to know of it.
fn about(vhost: String, stream: &StreamKey, request: &Request) -> (Arc<Session>, session::Request) {
    let connection = request.extensions().get::<Arc<Session>>();
    let peer = connection.map_or_else(|| ([0, 0, 0, 0], 0).into(), |session| session.peer);
    let host = request::host(request).unwrap_or(&vhost);
    let told = session::Request {
        tc_url: format!("http://{}/{}", request::without_port(host), stream.app),
        vhost: vhost.clone(),
        app: stream.app.clone(),
        stream: stream.stream.clone(),
        name: stream.stream.clone(),
        ..request::told(request)
    };
    (Session::named(Cid::random(), peer), told)
}

/// As much of it as the request asks for.
async fn send(media: Media, mut request: Request) -> Response {
    // What makes no sense, and what nobody needs of a segment, is the whole (RFC 9110 §14.2).
    if pieces::range(&request).is_none() {
        request.headers_mut().remove(header::RANGE);
    }
    match media {
        Media::Ram(pieces) => pieces::answer(pieces, &request),
        Media::Growing(growth) => Body::from_stream(grow(growth)).into_response(),
        Media::File(path) => match ServeFile::new(path).oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        },
    }
}

/// The pieces of a segment, as they come.
fn grow(
    growth: watch::Receiver<Growth>,
) -> impl stream::Stream<Item = Result<Bytes, watch::error::RecvError>> {
    stream::try_unfold((growth, 0), |(mut growth, next)| async move {
        let piece = {
            let grown = growth.wait_for(|growth| growth.is_complete || growth.pieces.len() > next).await?;
            grown.pieces.get(next).cloned()
        };
        Ok(piece.map(|piece| (piece, (growth, next + 1))))
    })
}

fn manifest(text: &Text, request: &Request) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/dash+xml"), (header::CACHE_CONTROL, "no-cache")];
    (headers, text.answer(request.uri().query())).into_response()
}

/// What the clock on the wall says, for players whose own is wrong (ISO/IEC 23009-1 §5.8.4.11).
fn clock() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")];
    (headers, date(Timestamp::now().as_millisecond())).into_response()
}

fn label(kind: MediaKind, mut response: Response) -> Response {
    if response.status().is_success() {
        let kind = if kind == MediaKind::Video { "video/mp4" } else { "audio/mp4" };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
