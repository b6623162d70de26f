//! HTTP/2 (RFC 9113), for clients that have asked for it by ALPN: many requests at once on one connection, each answered by the router of the
//! port. Live streams take sockets over and have no place in it; who asks for one is told to come by HTTP/1.1, as browsers then do.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use h2::Reason;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;
use tracing::{Instrument, Span, info, warn};

use super::front::{Front, LINGER, MAX_HEAD, busy, describe, is_ours, tell};
use super::observed::Observed;
use super::patience::Patient;
use super::upgrade::Upgrade;
use crate::net::outbox::STALL;
use crate::session::Session;

/// Requests that one connection may have open. RFC 9113 §6.5.2 wants no less than 100.
const REQUESTS: u32 = 100;

/// What a peer may send of one body, and of all, before somebody reads it. Only offers have bodies, and those are small.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// What is kept of one answer that a peer does not take.
const UNSENT: usize = 64 << 10;

/// Requests that are taken back before anybody has looked at them are few in honest connections; after so many at once, the connection ends
/// (CVE-2023-44487).
const RESETS: usize = 20;

/// A connection on which nothing is asked and nothing taken for this long is over. Listeners to events get something more often.
const IDLE: Duration = Duration::from_secs(60);

/// When something was last asked or taken.
type Moved = Rc<Cell<Instant>>;

/// Serves requests, each by what is there `now`, until the connection ends. `wants` tells live streams. See [`front::serve`](super::front::serve).
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static, T: AsRef<Front> + 'static>(
    now: impl Fn() -> Arc<T> + 'static,
    stream: S,
    session: &Arc<Session>,
    full: bool,
    closing: impl Future<Output = ()>,
    wants: impl Fn(&T, &Request<Incoming>) -> bool + 'static,
) {
    let moved = Moved::new(Cell::new(Instant::now()));
    let answer = {
        let (session, moved) = (session.clone(), moved.clone());
        let (wants, count) = (Rc::new(wants), Cell::new(0u32));
        service_fn(move |mut request: Request<Incoming>| {
            count.set(count.get() + 1);
            moved.set(Instant::now());
            tell(count.get(), &session, &request);
            request.extensions_mut().insert(session.clone());
            // Found and never used: there is no way from here to a WebSocket.
            request.extensions_mut().insert(Upgrade::default());
            let (by, wants, moved) = (now(), wants.clone(), moved.clone());
            async move {
                let front: &Front = (*by).as_ref();
                let response = if full {
                    busy(front.max_connections)
                } else if !is_ours(request.uri().path()) && wants(&by, &request) {
                    return Err(h2::Error::from(Reason::HTTP_1_1_REQUIRED));
                } else {
                    let router = front.router.clone();
                    router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {})
                };
                // Each piece that is taken shows that the peer lives.
                Ok::<_, h2::Error>(
                    response.map(|body| Observed::new(body, move |_| moved.set(Instant::now()))),
                )
            }
        })
    };
    let serving = Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(REQUESTS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(UNSENT)
        .max_pending_accept_reset_streams(RESETS)
        .serve_connection(TokioIo::new(Patient::new(stream, STALL)), answer);
    let (mut serving, mut closing) = (pin!(serving), pin!(closing));
    let mut open = true;
    loop {
        let idle = moved.get() + if open { IDLE } else { LINGER };
        tokio::select! {
            biased;
            ended = serving.as_mut() => {
                match ended {
                    Ok(()) => info!("client finished: no further request"),
                    Err(e) => warn!("serve error: {}, peer={}", describe(&e), session.peer),
                }
                return;
            }
            // Requests that have come are answered.
            () = &mut closing, if open => {
                open = false;
                moved.set(Instant::now());
                serving.as_mut().graceful_shutdown();
            }
            () = sleep_until(idle) => match open {
                // Something may have moved meanwhile.
                true if moved.get() + IDLE > Instant::now() => {}
                true => {
                    open = false;
                    moved.set(Instant::now());
                    serving.as_mut().graceful_shutdown();
                }
                false if moved.get() + LINGER > Instant::now() => {}
                false => return info!("client finished: it does not take what is left"),
            },
        }
    }
}

/// Runs what belongs to a connection on its core.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task.instrument(Span::current()));
    }
}
