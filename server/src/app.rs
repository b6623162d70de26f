//! The application: builds the parts in order, opens the listeners, and waits for the end.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tower_http::services::ServeDir;
use tracing::{Instrument, error, info, warn};

use crate::api;
use crate::config::{Config, Endpoint};
use crate::gate::Gate;
use crate::http;
use crate::log;
use crate::net::conn::Stream;
use crate::net::listen::{Pass, accept};
use crate::net::{Conn, Core, Cores, Door, Listener, limits, tls};
use crate::process::{Identity, PidFile};
use crate::protocol::{http_live, rtmp};
use crate::session::{Cid, Roll, Session, tell_status};

/// Why the server did not start: what to say, and the exit status that says it to scripts.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    fn new(status: u8) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |e| Self { message: e.to_string(), status }
    }
}

/// SRS's exit statuses: the low byte of its error codes.
mod status {
    pub(super) const SYSTEM: u8 = 255;
    pub(super) const BIND: u8 = 234;
}

/// Runs the server until it is told to stop.
pub fn run(config: Config) -> ExitCode {
    match App::start(config).map(App::wait) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The log may be a file that nobody looks at; who started us looks here.
            eprintln!("oxcast: {failure}");
            ExitCode::from(failure.status)
        }
    }
}

/// The running server.
struct App {
    config: Arc<Config>,
    identity: Arc<Identity>,
    cores: Cores,
    /// Runs on the main thread what belongs to no core.
    service: tokio::runtime::Runtime,
    signals: Signals,
    log: log::Log,
    _pid: PidFile,
}

/// What every core serves.
#[derive(Clone)]
struct Services {
    door: Arc<Door>,
    rtmp: Arc<rtmp::Service>,
    http: Arc<http_live::Service>,
    api: Arc<http_live::Service>,
    ports: Arc<Vec<Port>>,
}

/// A listener and what is behind it.
struct Port {
    listener: Listener,
    /// One for each core. They listen before the cores run, so that nobody is turned away once we say that we are ready.
    sockets: Vec<StdListener>,
    label: &'static str,
    tls: Option<TlsAcceptor>,
    serves: Serves,
}

#[derive(Clone, Copy)]
enum Serves {
    Rtmp,
    Http,
    Api,
}

/// The signals that mean something to us, caught from the start on.
struct Signals {
    term: Signal,
    int: Signal,
    reopen: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }
}

impl App {
    fn start(config: Config) -> Result<Self, Failure> {
        let system = Failure::new(status::SYSTEM);
        std::env::set_current_dir(&config.work_dir)
            .map_err(|e| system(&format!("work_dir {}: {e}", config.work_dir.display())))?;
        let pid = PidFile::take(&config.pid)
            .map_err(|e| Failure { status: e.exit_status(), message: e.to_string() })?;
        let identity = Arc::new(Identity::new(config.server_id.as_deref(), &config.pid));
        let log = start_log(&config, &identity).map_err(|e| system(&format!("the log: {e}")))?;
        info!("{} is starting, server={}, service={}", crate::SIGNATURE, identity.server, identity.service);
        config.warnings.iter().for_each(|warning| warn!("config: {}", warning.summary()));

        let files = limits::raise_open_files(u64::from(config.max_connections) * 2 + 1024);
        config.check_machine(files, limits::local_addresses()).map_err(|e| system(&e))?;

        let config = Arc::new(config);
        let roll = Arc::new(Roll::default());
        let gate = Arc::new(Gate::new(config.clone(), roll.clone()));
        let service =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| system(&e))?;
        let api = api::State {
            config: config.clone(),
            roll,
            gate: gate.clone(),
            identity: identity.clone(),
            samples: Arc::default(),
        };
        service.spawn(api::run_samplers(api.clone()));
        service.spawn(tell_status(api.roll.clone(), config.pithy_print));

        let signals = service.block_on(async { Signals::catch() }).map_err(|e| system(&e))?;
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let services = Services {
            door: Door::new(config.max_connections as usize),
            rtmp: Arc::new(rtmp::Service {
                gate: gate.clone(),
                config: config.clone(),
                identity: identity.clone(),
            }),
            http: Arc::new(http_live::Service::new(&config, gate.clone(), stream_port(&config, &api))),
            api: Arc::new(http_live::Service::without_streams(&config, gate, api::router(api))),
            ports: Arc::new(open_ports(&config, count)?),
        };
        for port in services.ports.iter() {
            info!("{} listen at tcp://{}", port.label, port.listener.address());
        }
        let cores = Cores::start(count, move |core| serve(core, services.clone())).map_err(|e| system(&e))?;
        info!("ready on {count} cores, max_connections={}", config.max_connections);
        if let Some(endpoint) = config.listen.first() {
            info!("publish to rtmp://localhost:{}/live/livestream", endpoint.port);
        }
        Ok(Self { config, identity, cores, service, signals, log, _pid: pid })
    }

    /// Waits for a signal that ends the server.
    fn wait(self) {
        let Self {
            config,
            identity,
            cores,
            service,
            signals: Signals { mut term, mut int, mut reopen },
            log,
            _pid,
        } = self;
        let told = service.block_on(async {
            loop {
                tokio::select! {
                    _ = term.recv() => return "SIGTERM",
                    _ = int.recv() => return "SIGINT",
                    _ = reopen.recv() => {
                        log.reopen();
                        info!("the log is reopened");
                    }
                }
            }
        });
        info!("{told}: stopping after {:.0?}", identity.start.elapsed());
        cores.stop();
        info!("{} has stopped, pid file {}", crate::SIGNATURE, config.pid.display());
    }
}

fn start_log(config: &Config, identity: &Identity) -> std::io::Result<log::Log> {
    log::start(log::Options {
        tank: config.log.tank,
        level: config.log.level,
        file: config.log.file.clone(),
        utc: config.log.utc,
        pid: identity.pid,
        main_cid: Cid::random(),
    })
}

/// What the stream port serves besides streams: files, and the API as far as it is there.
fn stream_port(config: &Config, api: &api::State) -> Router {
    let router = api::stream_port_router(api.clone());
    match &config.http_server {
        Some(server) => http::finish(router.fallback_service(ServeDir::new(&server.dir)), server.crossdomain),
        None => router,
    }
}

/// Takes all ports, or none.
fn open_ports(config: &Config, cores: usize) -> Result<Vec<Port>, Failure> {
    let mut ports = Vec::new();
    let mut open = |endpoints: &[Endpoint], label, tls: Option<&TlsAcceptor>, serves| {
        for endpoint in endpoints {
            let failed = |e: io::Error| Failure::new(status::BIND)(&e);
            let listener = Listener::bind(endpoint.ip, endpoint.port).map_err(failed)?;
            let sockets = (0..cores).map(|_| listener.listen()).collect::<Result<_, _>>().map_err(failed)?;
            ports.push(Port { listener, sockets, label, tls: tls.cloned(), serves });
        }
        Ok::<_, Failure>(())
    };
    open(&config.listen, "RTMP", None, Serves::Rtmp)?;
    if let Some(rtmps) = &config.rtmps {
        let acceptor = tls::acceptor(&rtmps.cert, &rtmps.key)
            .map_err(|e| Failure::new(status::SYSTEM)(&format!("rtmps: {e}")))?;
        open(&rtmps.listen, "RTMPS", Some(&acceptor), Serves::Rtmp)?;
    }
    if let Some(server) = &config.http_server {
        open(&server.listen, "HTTP-Server", None, Serves::Http)?;
    }
    if let Some(api) = config.http_api.as_ref().filter(|_| !config.api_shares_http_server()) {
        open(&api.listen, "HTTP-API", None, Serves::Api)?;
    }
    Ok(ports)
}

/// All that one core does: accepts at every port, for ever.
async fn serve(core: Rc<Core>, services: Services) {
    for at in 0..services.ports.len() {
        let port = &services.ports[at];
        let listener = match port.sockets[core.index].try_clone().and_then(TcpListener::from_std) {
            Ok(listener) => listener,
            Err(e) => {
                error!("core {}: {} {}: {e}", core.index, port.label, port.listener.address());
                continue;
            }
        };
        let (core, services) = (core.clone(), services.clone());
        tokio::task::spawn_local(async move {
            let door = services.door.clone();
            let enter = |tcp, peer, pass| {
                tokio::task::spawn_local(admit(core.clone(), services.clone(), at, tcp, peer, pass));
            };
            accept(listener, door, enter).await;
        });
    }
    std::future::pending().await
}

/// One connection, from accept to close.
async fn admit(core: Rc<Core>, services: Services, at: usize, tcp: TcpStream, peer: SocketAddr, pass: Pass) {
    let Some(port) = services.ports.get(at) else { return };
    // Answers of a session are small and wait for each other; media follows the vhost's own setting.
    if let Err(e) = tcp.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {e}, peer={peer}");
    }
    let local = tcp.local_addr().unwrap_or(port.listener.address());
    let session = Session::new(peer);
    let stream = match &port.tls {
        None => Stream::Plain(tcp),
        Some(acceptor) => {
            // Boxed, as few connections need the room that a handshake takes.
            let shaken = Box::pin(tls::handshake(acceptor, tcp)).instrument(log::span(session.cid)).await;
            match shaken {
                Ok(stream) => stream,
                Err(e) => {
                    return log::span(session.cid).in_scope(|| warn!("TLS handshake: {e}, peer={peer}"));
                }
            }
        }
    };
    let conn = Conn { stream, session, local };
    // Boxed, so that a task is no larger than what its own protocol needs.
    match port.serves {
        Serves::Rtmp => Box::pin(rtmp::serve(core, services.rtmp, conn, pass)).await,
        Serves::Http => Box::pin(http_live::serve(core, services.http, conn, pass)).await,
        Serves::Api => Box::pin(http_live::serve(core, services.api, conn, pass)).await,
    }
}
