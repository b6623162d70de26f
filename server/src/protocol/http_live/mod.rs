//! Live streams over HTTP and WebSocket, on the port that also serves files and the API.
//!
//! hyper reads the requests. One that asks for a live stream takes the socket over from hyper: from there its bytes are
//! written by `net` like those of any other player.

mod flv;
mod mount;
mod reply;
mod websocket;
mod wire;

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tower::ServiceExt;
use tracing::{Instrument, info, warn};

use crate::config::Config;
use crate::gate::Gate;
use crate::log;
use crate::net::listen::Pass;
use crate::net::{Conn, Core};
use crate::session::Session;

use flv::Viewer;
use mount::Mounts;

/// What all connections to the port share.
pub struct Service {
    gate: Arc<Gate>,
    mounts: Mounts,
    router: Router,
    crossdomain: bool,
    max_connections: u32,
}

/// A client must send a request head within this time; idle keep-alive connections are closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The largest request head.
const MAX_HEAD: usize = 16 << 10;

impl Service {
    /// Serves live streams as configured, and everything else by `router`.
    pub fn new(config: &Config, gate: Arc<Gate>, router: Router) -> Self {
        let mounts = Mounts::new(gate.vhosts());
        let crossdomain = config.http_server.as_ref().is_some_and(|s| s.crossdomain);
        Self { gate, mounts, router, crossdomain, max_connections: config.max_connections }
    }

    /// Serves a port on which there are no live streams, by `router` alone.
    pub fn without_streams(config: &Config, gate: Arc<Gate>, router: Router) -> Self {
        Self { mounts: Mounts::default(), ..Self::new(config, gate, router) }
    }
}

/// Serves one connection to its end.
pub async fn serve(core: Rc<Core>, service: Arc<Service>, conn: Conn, pass: Pass) {
    let span = log::span(conn.session.cid);
    serve_logged(core, service, conn, pass).instrument(span).await;
}

async fn serve_logged(core: Rc<Core>, service: Arc<Service>, conn: Conn, pass: Pass) {
    let Conn { stream, session, local } = conn;
    // Boxed, since hyper's part is large and over when a stream begins.
    let front = Box::pin(front(&service, stream, &session, pass.full));
    let Some((request, stream, early)) = front.await else { return };
    let conn = Conn { stream, session, local };
    Viewer { core, service, request, early }.serve(conn).await;
}

/// Lets hyper serve requests until one asks for a live stream: that request, the socket, and what was read behind the request.
async fn front<S: AsyncRead + AsyncWrite + Unpin>(
    service: &Service,
    stream: S,
    session: &Session,
    full: bool,
) -> Option<(Request<()>, S, bytes::Bytes)> {
    let taken: RefCell<Option<Request<()>>> = RefCell::new(None);
    let count = std::cell::Cell::new(0u32);
    let answer = service_fn(|request: Request<Incoming>| {
        count.set(count.get() + 1);
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
        info!(
            "HTTP #{} {}:{} {} {}, content-length={}",
            count.get(),
            session.peer.ip(),
            session.peer.port(),
            request.method(),
            request.uri(),
            length.unwrap_or("-1")
        );
        let taken = &taken;
        // hyper wants to move it.
        Box::pin(async move {
            if full {
                let limit = service.max_connections;
                warn!("client refused: max_connections {limit} reached, peer={}", session.peer);
                return Ok(busy(limit));
            }
            if service.mounts.is_live(&service.gate, &request) {
                *taken.borrow_mut() = Some(request.map(drop));
                return pending().await;
            }
            service.router.clone().oneshot(request.map(Body::new)).await
        })
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    let mut serving = pin!(Some(serving));
    let ended = poll_fn(|cx| {
        let Some(serving) = serving.as_mut().as_pin_mut() else { return Poll::Ready(Ok(())) };
        let polled = serving.get_mut().poll_without_shutdown(cx);
        if taken.borrow().is_some() { Poll::Ready(Ok(())) } else { polled }
    });
    match ended.await {
        Ok(()) => {}
        Err(e) if e.is_timeout() && count.get() > 0 => info!("client finished: no further request"),
        // Slow or garbled heads end here; hyper has answered as far as there was something to answer.
        Err(e) => warn!("serve error: {}, peer={}", describe(&e), session.peer),
    }
    let parts = serving.get_mut().take()?.into_parts();
    let request = taken.borrow_mut().take()?;
    Some((request, parts.io.into_inner(), parts.read_buf))
}

/// An error with its causes, which hyper keeps apart.
fn describe(e: &dyn std::error::Error) -> String {
    std::iter::successors(e.source(), |e| e.source()).fold(e.to_string(), |all, e| format!("{all}: {e}"))
}

fn busy(limit: u32) -> Response<Body> {
    let mut response =
        Response::new(Body::from(format!("the server is full: max_connections {limit} reached\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("10"));
    response
}

/// Whatever a client sends gets an answer or a close, never a panic.
pub fn fuzz(data: &[u8]) {
    let Ok(config) = Config::parse("fuzz", CONFIG, &crate::config::Environment::default()) else { return };
    let config = Arc::new(config);
    let service = Service::new(&config, Arc::new(Gate::new(config.clone(), Arc::default())), Router::new());
    let session = Session::new(([127, 0, 0, 1], 1).into());
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(data.len() + MAX_HEAD);
        if client.write_all(data).await.is_err() || client.shutdown().await.is_err() {
            return;
        }
        if let Some((_, _, early)) = front(&service, server, &session, false).await {
            let mut said = Vec::new();
            drop(websocket::Listener::default().receive(&early, &mut said));
        }
    });
}

/// What [`fuzz`] talks to.
const CONFIG: &[u8] =
    b"listen 1935; http_server { enabled on; } vhost __defaultVhost__ { http_remux { enabled on; } }";

/// Methods that live streams understand.
fn is_live_method(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
