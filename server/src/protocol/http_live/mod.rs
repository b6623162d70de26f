//! Live streams over HTTP and WebSocket, on the port that also serves files and the API. A request for a live stream takes the
//! socket over from the front: from there its bytes are written by `net` like those of any other player.

mod flv;
mod mount;
mod plain;
mod reply;
mod viewer;
mod websocket;

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Request};
use tokio::io::AsyncWriteExt;
use tracing::Instrument;

use crate::config::{Config, HttpFormat, HttpRemux};
use crate::form;
use crate::gate::{Gate, Published, Watcher};
use crate::http::Front;
use crate::http::front::{self, MAX_HEAD, Taken};
use crate::http::http2;
use crate::log;
use crate::net::listen::Pass;
use crate::net::{Conn, Core};
use crate::session::Session;

use mount::Mounts;
use viewer::Viewer;

/// What all connections to the port share.
pub struct Service {
    gate: Arc<Gate>,
    mounts: Mounts,
    front: Front,
    crossdomain: bool,
}

impl Service {
    /// Serves live streams as configured, and everything else by `router`.
    pub fn new(config: &Config, gate: Arc<Gate>, router: Router) -> Self {
        let mounts = Mounts::new(&config.vhosts);
        let crossdomain = config.http_server.as_ref().is_some_and(|s| s.crossdomain);
        Self { gate, mounts, front: Front::new(router, config), crossdomain }
    }

    /// Serves a port on which there are no live streams, by `router` alone.
    pub fn without_streams(config: &Config, gate: Arc<Gate>, router: Router) -> Self {
        Self { mounts: Mounts::default(), ..Self::new(config, gate, router) }
    }
}

impl AsRef<Front> for Service {
    fn as_ref(&self) -> &Front {
        &self.front
    }
}

/// Keeps the sound of streams for players who are given some of the past (`fast_cache`), from the first frame on.
pub struct FastCache;

impl Watcher for FastCache {
    fn published(&self, stream: &Published) {
        let remux = stream.vhost.http_remux.as_ref();
        let audio = |remux: &&HttpRemux| matches!(remux.format, HttpFormat::Aac | HttpFormat::Mp3);
        if let Some(remux) = remux.filter(audio).filter(|remux| !remux.fast_cache.is_zero()) {
            stream.broadcast.keep(|| form::audio(remux));
        }
    }
}

/// Serves one connection to its end, each request by the service of its moment. When the port is `closing`, it ends after what it is at.
pub async fn serve(
    core: Rc<Core>,
    service: impl Fn() -> Arc<Service> + 'static,
    conn: Conn,
    pass: Pass,
    closing: impl Future<Output = ()>,
) {
    let span = log::span(conn.session.cid);
    serve_logged(core, service, conn, pass, closing).instrument(span).await;
}

async fn serve_logged(
    core: Rc<Core>,
    service: impl Fn() -> Arc<Service> + 'static,
    conn: Conn,
    pass: Pass,
    closing: impl Future<Output = ()>,
) {
    let Conn { stream, session, local } = conn;
    if stream.is_http2() {
        return Box::pin(http2::serve(service, stream, &session, pass.full, closing, wants)).await;
    }
    // Boxed, since hyper's part is large and over when a stream begins.
    let taken = Box::pin(front::serve(service, stream, &session, pass.full, closing, wants)).await;
    let Some(Taken { by, request, stream, early }) = taken else { return };
    let conn = Conn { stream, session, local };
    Viewer { core, service: by, request, early }.serve(conn).await;
}

fn wants<B>(service: &Service, request: &Request<B>) -> bool {
    service.mounts.is_live(&service.gate, request)
}

/// Whatever a client sends gets an answer or a close, never a panic.
pub fn fuzz(data: &[u8]) {
    let Ok(config) = Config::parse("fuzz", CONFIG, &crate::config::Environment::default()) else { return };
    let config = Arc::new(config);
    let gate = Arc::new(Gate::new(config.clone(), Arc::default()));
    let service = Arc::new(Service::new(&config, gate, Router::new()));
    let session = Session::new(([127, 0, 0, 1], 1).into());
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(data.len() + MAX_HEAD);
        if client.write_all(data).await.is_err() || client.shutdown().await.is_err() {
            return;
        }
        if let Some(taken) = front::serve(|| service.clone(), server, &session, false, pending(), wants).await
        {
            let mut said = Vec::new();
            drop(websocket::Listener::default().receive(&taken.early, &mut said));
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
