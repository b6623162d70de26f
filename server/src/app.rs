//! The application: builds the parts in order, opens the listeners, and waits for the end.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, UdpSocket};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use rtc::dtls::Certificate;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{Instrument, error, info, warn};

use crate::api;
use crate::breaker::Breaker;
use crate::config::{Config, Endpoint, Environment};
use crate::daemon::{self, Starter};
use crate::gate::Gate;
use crate::http;
use crate::log;
use crate::net::conn::Stream;
use crate::net::listen::{Pass, accept};
use crate::net::{Conn, Core, Cores, Door, Listener, limits, tls, udp};
use crate::process::{Identity, Parent, PidFile};
use crate::protocol::{hls, http_live, rtmp, webrtc};
use crate::quit::{Quit, Signals, Watch};
use crate::room;
use crate::session::{Cid, Roll, Session, tell_status};

/// Why the server did not start: what to say, and the exit status that says it to scripts.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// What is wrong after the log has started is logged, too: at boot, nobody looks at standard error.
    fn new(status: u8) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |e| {
            error!("cannot start: {e}");
            Self { message: e.to_string(), status }
        }
    }
}

/// SRS's exit statuses: the low byte of its error codes.
mod status {
    pub(super) const SYSTEM: u8 = 255;
    pub(super) const ORPHAN: u8 = 253;
    pub(super) const BIND: u8 = 234;
}

/// Runs the server until it is told to stop; or has it run in the background, and returns when it serves.
pub fn run(config: Config, env: &Environment) -> ExitCode {
    let starter = Starter::of_process(env);
    if config.daemon && starter.is_none() {
        return daemon::start(&config);
    }
    match App::start(config).and_then(|app| app.tell_ready(starter)).map(App::wait) {
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
    roll: Arc<Roll>,
    door: Arc<Door>,
    cores: Cores,
    /// Runs on the main thread what belongs to no core.
    service: tokio::runtime::Runtime,
    watch: Watch,
    hls: hls::Packager,
    pid: PidFile,
}

/// What every core serves.
#[derive(Clone)]
struct Services {
    door: Arc<Door>,
    rtmp: Arc<rtmp::Service>,
    http: Arc<http_live::Service>,
    api: Arc<http_live::Service>,
    rtc: Option<Arc<webrtc::Service>>,
    ports: Arc<Vec<Port>>,
}

/// What one core gets to serve.
struct Part {
    /// In the order of the ports.
    listeners: Vec<StdListener>,
    rtc: Option<(UdpSocket, mpsc::Receiver<webrtc::Message>)>,
}

/// An address that is listened at, and what is behind it.
struct Port {
    address: SocketAddr,
    label: &'static str,
    tls: Option<TlsAcceptor>,
    serves: Serves,
    /// WebRTC over TCP comes here, too.
    shares_rtc: bool,
}

#[derive(Clone, Copy)]
enum Serves {
    Rtmp,
    Http,
    Api,
    Rtc,
}

impl App {
    fn start(config: Config) -> Result<Self, Failure> {
        let system = Failure::new(status::SYSTEM);
        let parent = if config.asprocess { Some(Parent::of_process()) } else { None };
        let parent = parent.transpose().map_err(|e| Failure::new(status::ORPHAN)(&e))?;
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
        let hls = hls::Workshop::open().map_err(|e| system(&e))?;
        let gate = Gate::new(config.clone(), roll.clone());
        let gate = Arc::new(gate.with_watcher(hls.packager.clone()).with_watcher(http_live::FastCache));
        let service =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| system(&e))?;
        let api = api::State {
            config: config.clone(),
            roll: roll.clone(),
            gate: gate.clone(),
            identity: identity.clone(),
            samples: Arc::default(),
        };
        service.spawn(api::run_samplers(api.clone()));
        service.spawn(tell_status(api.roll.clone(), config.pithy_print));

        let signals = service.block_on(async { Signals::catch() }).map_err(|e| system(&e))?;
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let (ports, sockets) = open_ports(&config, count)?;
        let breaker = Arc::new(Breaker::default());
        let rtc = Rtc::open(&config, count, &breaker)?;
        let door = Door::new(config.max_connections as usize);
        let files = http::Files::new(&config, gate.clone());
        let signalling =
            rtc.as_ref().map_or_else(Router::new, |rtc| rtc.signalling(&config, &gate, &identity));
        let stream_port =
            stream_port(&config, &api, hls.service(gate.clone()), &files).merge(signalling.clone());
        let api_port = api_port(&config, api, &files).merge(signalling);
        let services = Services {
            door: door.clone(),
            rtmp: Arc::new(rtmp::Service {
                gate: gate.clone(),
                config: config.clone(),
                identity: identity.clone(),
            }),
            http: Arc::new(http_live::Service::new(&config, gate.clone(), stream_port)),
            api: Arc::new(http_live::Service::without_streams(&config, gate, api_port)),
            rtc: rtc.as_ref().map(|rtc| rtc.service.clone()),
            ports: Arc::new(ports),
        };
        if let Some(rtc) = &rtc {
            info!("WebRTC listen at udp://{}", rtc.address);
            service.spawn(webrtc::sweep(rtc.service.lobby.clone()));
        }
        let parts = rtc.map_or_else(|| (0..count).map(|_| None).collect(), |rtc| rtc.parts);
        let sockets: Vec<_> =
            sockets.into_iter().zip(parts).map(|(listeners, rtc)| Part { listeners, rtc }).collect();
        for port in services.ports.iter() {
            info!("{} listen at tcp://{}", port.label, port.address);
        }
        let serve = move |core, sockets| serve(core, sockets, services.clone());
        let cores = Cores::start(sockets, serve).map_err(|e| system(&e))?;
        if let Some(settings) = config.breaker.clone() {
            let loads = cores.loads();
            service.spawn(async move { breaker.watch(settings, loads).await });
        }
        info!("ready on {count} cores, max_connections={}", config.max_connections);
        if let Some(endpoint) = config.listen.first() {
            info!("publish to rtmp://localhost:{}/live/livestream", endpoint.port);
        }
        let watch = Watch::new(signals, log, parent, config.grace.clone());
        let hls = hls.packager;
        Ok(Self { config, identity, roll, door, cores, service, watch, hls, pid })
    }

    /// Tells who waits for the server to be ready, if anybody does.
    fn tell_ready(self, starter: Option<Starter>) -> Result<Self, Failure> {
        let told = starter.map_or(Ok(()), |starter| starter.tell_ready(self.config.log.tank));
        told.map_err(|e| Failure::new(status::SYSTEM)(&format!("the start was interrupted: {e}")))?;
        Ok(self)
    }

    /// Waits until somebody wants the server to end, and ends it: listeners are closed first, then clients are gone, then
    /// what must not stay behind is removed.
    fn wait(self) {
        let Self { config, identity, roll, door, cores, service, mut watch, hls, pid } = self;
        let mut quit = service.block_on(watch.quit());
        info!("{quit}, up for {:.0?}", identity.start.elapsed());
        if let Quit::Graceful(_) = quit
            && let Some(hurry) = service.block_on(watch.drain(&cores, &door, &roll))
        {
            info!("{hurry}, connections cut: {}", door.inside());
            quit = hurry;
        }
        cores.stop();
        // Publishers are gone, their last segments are written.
        hls.stop();
        if let Quit::Graceful(_) = quit {
            service.block_on(watch.linger());
        }
        pid.release();
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
fn stream_port(config: &Config, api: &api::State, hls: hls::Service, files: &http::Files) -> Router {
    let files = files.router().layer(middleware::from_fn_with_state(hls, hls::before_files));
    http::finish(api::stream_port_router(api.clone()).fallback_service(files), config)
}

/// What the port of the API serves: the API, and the console beside it.
fn api_port(config: &Config, api: api::State, files: &http::Files) -> Router {
    api::router(api).merge(http::finish(files.console_router(), config))
}

/// Takes all ports, or none; with what each core listens at, in the same order. That is so before the cores run, so that
/// nobody is turned away once we say that we are ready.
fn open_ports(config: &Config, cores: usize) -> Result<(Vec<Port>, Vec<Vec<StdListener>>), Failure> {
    let rtc = config.rtc_server.as_ref().and_then(|server| server.tcp);
    let (mut ports, rtc_is_shared) = (Vec::new(), Cell::new(false));
    let mut sockets: Vec<_> = (0..cores).map(|_| Vec::new()).collect();
    let mut open = |endpoints: &[Endpoint], label, tls: Option<&TlsAcceptor>, serves| {
        for endpoint in endpoints {
            let failed = |e: io::Error| Failure::new(status::BIND)(&e);
            let listener = Listener::bind(endpoint.ip, endpoint.port).map_err(failed)?;
            let shares_rtc = matches!(serves, Serves::Http | Serves::Api) && rtc == Some(endpoint.port);
            rtc_is_shared.set(rtc_is_shared.get() || shares_rtc);
            for of_core in &mut sockets {
                of_core.push(listener.listen().map_err(failed)?);
            }
            ports.push(Port { address: listener.address(), label, tls: tls.cloned(), serves, shares_rtc });
        }
        Ok::<_, Failure>(())
    };
    let http = config.http_server.as_ref();
    let api = config.http_api.as_ref().filter(|_| !config.api_shares_http_server());
    open(&config.listen, "RTMP", None, Serves::Rtmp)?;
    open(http.map_or(&[], |http| &http.listen), "HTTP-Server", None, Serves::Http)?;
    open(api.map_or(&[], |api| &api.listen), "HTTP-API", None, Serves::Api)?;
    let secure = [
        (config.rtmps.as_ref(), "RTMPS", Serves::Rtmp),
        (http.and_then(|http| http.https.as_ref()), "HTTPS-Server", Serves::Http),
        (api.and_then(|api| api.https.as_ref()), "HTTPS-API", Serves::Api),
    ];
    for (tls, label, serves) in secure {
        let Some(tls) = tls else { continue };
        let bad = |e| Failure::new(status::SYSTEM)(&format!("{label}: {e}"));
        open(&tls.listen, label, Some(&tls::acceptor(tls).map_err(bad)?), serves)?;
    }
    if let Some(port) = rtc.filter(|_| !rtc_is_shared.get()) {
        open(&[Endpoint { ip: None, port }], "WebRTC-TCP", None, Serves::Rtc)?;
    }
    Ok((ports, sockets))
}

/// WebRTC, before it is given to the cores.
struct Rtc {
    service: Arc<webrtc::Service>,
    address: SocketAddr,
    ports: webrtc::Ports,
    certificate: Arc<Certificate>,
    parts: Vec<Option<(UdpSocket, mpsc::Receiver<webrtc::Message>)>>,
}

impl Rtc {
    /// Takes the port of the media, if WebRTC is on.
    fn open(config: &Config, cores: usize, breaker: &Arc<Breaker>) -> Result<Option<Self>, Failure> {
        let Some(server) = &config.rtc_server else { return Ok(None) };
        let port = udp::Port::bind(None, server.listen).map_err(|e| Failure::new(status::BIND)(&e))?;
        let (service, inboxes) =
            webrtc::Service::new(Arc::default(), cores, breaker.clone(), server.black_hole);
        let part = |inbox| Ok::<_, io::Error>(Some((port.socket()?, inbox)));
        let parts: Result<_, _> = inboxes.into_iter().map(part).collect();
        let parts = parts.map_err(|e| Failure::new(status::BIND)(&e))?;
        let made = if server.ecdsa { Certificate::generate } else { Certificate::generate_rsa };
        let certificate = made("oxcast").map_err(|e| Failure::new(status::SYSTEM)(&e))?;
        let address = port.address();
        Ok(Some(Self {
            service: Arc::new(service),
            address,
            ports: webrtc::Ports { udp: address.port(), tcp: server.tcp },
            certificate: Arc::new(certificate),
            parts,
        }))
    }

    /// What answers offers, and the rooms of calls.
    fn signalling(&self, config: &Arc<Config>, gate: &Arc<Gate>, identity: &Arc<Identity>) -> Router {
        let offers = webrtc::signalling::router(webrtc::signalling::Service {
            config: config.clone(),
            gate: gate.clone(),
            rtc: self.service.clone(),
            certificate: self.certificate.clone(),
            ports: self.ports,
            identity: identity.clone(),
        });
        offers.merge(room::router(config))
    }
}

/// All that one core does: accepts at every port, until they are closed.
async fn serve(core: Rc<Core>, part: Part, services: Services) {
    let floor = services.rtc.clone().zip(part.rtc).and_then(|(service, (socket, inbox))| {
        let floor = webrtc::Floor::open(core.clone(), service, socket, inbox);
        floor.inspect_err(|e| error!("core {}: WebRTC: {e}", core.index)).ok()
    });
    for (at, (port, socket)) in services.ports.iter().zip(part.listeners).enumerate() {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(e) => {
                error!("core {}: {} {}: {e}", core.index, port.label, port.address);
                continue;
            }
        };
        let (core, services, floor) = (core.clone(), services.clone(), floor.clone());
        tokio::task::spawn_local(async move {
            let (door, closing) = (services.door.clone(), core.closing());
            let enter = |tcp, peer, pass| {
                let whereabouts = (core.clone(), floor.clone());
                tokio::task::spawn_local(admit(whereabouts, services.clone(), at, tcp, peer, pass));
            };
            accept(listener, door, closing, enter).await;
        });
    }
}

/// One connection, from accept to close.
async fn admit(
    (core, floor): (Rc<Core>, Option<Rc<webrtc::Floor>>),
    services: Services,
    at: usize,
    tcp: TcpStream,
    peer: SocketAddr,
    pass: Pass,
) {
    let Some(port) = services.ports.get(at) else { return };
    // Answers of a session are small and wait for each other; media follows the vhost's own setting.
    if let Err(e) = tcp.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {e}, peer={peer}");
    }
    let local = tcp.local_addr().unwrap_or(port.address);
    let session = Session::new(peer);
    let is_rtc = port.shares_rtc && is_rtc(&tcp).await;
    let stream = match port.tls.as_ref().filter(|_| !is_rtc) {
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
    if let Some(floor) = floor
        && (matches!(port.serves, Serves::Rtc) || is_rtc)
    {
        return Box::pin(webrtc::tcp::serve(floor, conn)).await;
    }
    // Boxed, so that a task is no larger than what its own protocol needs.
    match port.serves {
        Serves::Rtmp => Box::pin(rtmp::serve(core, services.rtmp, conn, pass)).await,
        Serves::Http => Box::pin(http_live::serve(core, services.http, conn, pass)).await,
        Serves::Api => Box::pin(http_live::serve(core, services.api, conn, pass)).await,
        Serves::Rtc => {}
    }
}

/// WebRTC over TCP may share a port with HTTP and HTTPS: its first byte, the length of a small packet, is no letter, and none that TLS begins
/// with. Who says nothing at all gets HTTP's answer.
async fn is_rtc(tcp: &TcpStream) -> bool {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut first = [0];
    matches!(timeout(PATIENCE, tcp.peek(&mut first)).await, Ok(Ok(1)) if webrtc::tcp::is_ours(first[0]))
}
