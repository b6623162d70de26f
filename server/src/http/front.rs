//! The front of an HTTP connection: hyper reads the requests, and a router answers them. A request that a protocol wants for
//! itself, such as one for a live stream, takes the socket over from hyper; a handler may go on with the socket when it has answered.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tower::ServiceExt;
use tracing::{info, warn};

use super::Guard;
use super::patience::Patient;
use super::upgrade::{Upgrade, Upgraded};
use crate::config::Config;
use crate::net::outbox::STALL;
use crate::session::Session;

/// What the connections to a port share.
pub struct Front {
    pub(super) router: Router,
    guard: Guard,
    pub(super) max_connections: u32,
}

/// A request that was taken out of hyper's hands.
pub struct Taken<S, T> {
    /// Who wants it.
    pub by: Arc<T>,
    /// The request.
    pub request: Request<()>,
    /// The socket.
    pub stream: S,
    /// What was read behind the request.
    pub early: Bytes,
}

/// A client must send a request head within this time; idle keep-alive connections are closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a peer may go on sending what nobody reads, before the connection is closed hard.
pub const LINGER: Duration = Duration::from_secs(2);

/// The largest request head.
pub const MAX_HEAD: usize = 16 << 10;

impl Front {
    /// Answers by `router`, which [`finish`](super::finish) has gone over.
    pub fn new(router: Router, config: &Config) -> Self {
        Self { router, guard: Guard::new(config), max_connections: config.max_connections }
    }
}

/// Serves requests, each by what is there `now`, until the connection ends, or one comes that somebody `wants` for himself and may have. Handlers
/// find the `Arc<Session>` of the connection and an [`Upgrade`] among the extensions of the request. Who comes when the server is `full` is
/// told so.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static, T: AsRef<Front>>(
    now: impl Fn() -> Arc<T>,
    stream: S,
    session: &Arc<Session>,
    full: bool,
    closing: impl Future<Output = ()>,
    wants: impl Fn(&T, &Request<Incoming>) -> bool,
) -> Option<Taken<S, T>> {
    let taken: RefCell<Option<(Arc<T>, Request<()>)>> = RefCell::new(None);
    let upgrade = Upgrade::default();
    let count = Cell::new(0u32);
    let answer = service_fn(|mut request: Request<Incoming>| {
        count.set(count.get() + 1);
        tell(count.get(), session, &request);
        request.extensions_mut().insert(session.clone());
        request.extensions_mut().insert(upgrade.clone());
        let (taken, wants, by) = (&taken, &wants, now());
        // hyper wants to move it.
        Box::pin(async move {
            let front: &Front = (*by).as_ref();
            if full {
                let limit = front.max_connections;
                warn!("client refused: max_connections {limit} reached, peer={}", session.peer);
                return Ok(busy(limit));
            }
            if !is_ours(request.uri().path()) && wants(&by, &request) && front.guard.admit(&request).is_some()
            {
                *taken.borrow_mut() = Some((by, request.map(drop)));
                return pending().await;
            }
            front.router.clone().oneshot(request.map(Body::new)).await
        })
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Patient::new(stream, STALL)), answer);
    let (mut serving, mut closing) = (pin!(Some(serving)), pin!(Some(closing)));
    let ended = poll_fn(|cx| {
        let Some(mut serving) = serving.as_mut().as_pin_mut() else { return Poll::Ready(Ok(())) };
        let mut polled = serving.poll_without_shutdown(cx);
        // A request that has arrived is answered, so the end comes second.
        if polled.is_pending() && closing.as_mut().as_pin_mut().is_some_and(|c| c.poll(cx).is_ready()) {
            closing.set(None);
            serving.as_mut().graceful_shutdown();
            polled = serving.poll_without_shutdown(cx);
        }
        if taken.borrow().is_some() { Poll::Ready(Ok(())) } else { polled }
    });
    let ended = ended.await;
    let parts = serving.get_mut().take()?.into_parts();
    let mut stream = parts.io.into_inner().into_inner();
    if let Some((by, request)) = taken.borrow_mut().take() {
        return Some(Taken { by, request, stream, early: parts.read_buf });
    }
    match ended {
        Ok(()) => {
            if let Some(serve) = upgrade.take() {
                serve(Upgraded { stream: Box::new(stream), early: parts.read_buf }).await;
                return None;
            }
        }
        Err(e) if e.is_timeout() && count.get() > 0 && parts.read_buf.is_empty() => {
            info!("client finished: no further request");
        }
        // Slow or garbled heads end here; hyper has answered as far as there was something to answer.
        Err(e) => {
            warn!("serve error: {}, peer={}", describe(&e), session.peer);
            if e.is_timeout() && !parts.read_buf.is_empty() {
                let _ = stream.write_all(too_slow().as_bytes()).await;
            }
        }
    }
    if !full && closing.is_some() {
        let _ = timeout(LINGER, linger(stream)).await;
    }
    None
}

/// Lets the peer read the last answer: if bytes of his arrived at a closed socket, TCP would throw away what he has not read yet.
pub async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// What hyper does not say to who is too slow with his head.
fn too_slow() -> String {
    let body = format!("the head of the request took longer than {} s\n", HEAD_TIMEOUT.as_secs());
    let (signature, length) = (crate::SIGNATURE, body.len());
    format!(
        "HTTP/1.1 408 Request Timeout\r\nServer: {signature}\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The API and the console have these on every port; no stream can have such a name.
pub(super) fn is_ours(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/console/")
}

/// The line that operators of SRS know. An address with a host may have a password in it, so the host stays away.
pub(super) fn tell(number: u32, session: &Session, request: &Request<Incoming>) {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    info!(
        "HTTP #{number} {}:{} {} {}, content-length={}",
        session.peer.ip(),
        session.peer.port(),
        request.method(),
        request.uri().path_and_query().map_or("", |path| path.as_str()),
        length.unwrap_or("-1")
    );
}

/// An error with its causes, which hyper keeps apart.
pub(super) fn describe(e: &dyn std::error::Error) -> String {
    std::iter::successors(e.source(), |e| e.source()).fold(e.to_string(), |all, e| format!("{all}: {e}"))
}

pub(super) fn busy(limit: u32) -> Response<Body> {
    let mut response =
        Response::new(Body::from(format!("the server is full: max_connections {limit} reached\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("10"));
    response
}
