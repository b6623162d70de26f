//! The application: builds the parts in order, opens the listeners, and waits for the end.

use std::cell::RefCell;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{Instrument, error, info, warn};

use crate::api;
use crate::breaker::Breaker;
use crate::caller::Caller;
use crate::config::{Config, Environment, SegmentStorage, Source, Tank};
use crate::control::Control;
use crate::daemon::{self, Starter};
use crate::dvr::{self, Catalogue, Recorders, Theatre};
use crate::file_watch;
use crate::follow::Followers;
use crate::forward::Forwarders;
use crate::gate::{Gate, Passes};
use crate::heartbeat;
use crate::log;
use crate::media_port::MediaPort;
use crate::metrics;
use crate::net::conn::Stream;
use crate::net::listen::{Pass, accept};
use crate::net::{Conn, Core, Cores, Door, limits, tls};
use crate::ports::{Port, Ports, Serves};
use crate::privileges::Account;
use crate::process::{Identity, Parent, PidFile};
use crate::protocol::{dash, hds, hls, http_live, rtmp, webrtc};
use crate::quit::{Quit, Signals, Watch};
use crate::reload::{self, ORDERS, Order, Reloader, Reloads};
use crate::room::Rooms;
use crate::services::{Current, Lasting, Services};
use crate::session::{Cid, Kind, Roll, Session, tell_status};
use crate::store::Store;
use crate::supervisor::Supervisor;
use crate::task::Tasks;
use crate::trace::Tracer;
use crate::upgrade::{Heritage, Origin, Predecessor};

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

/// Services are told for so long, at most, who has left when the server ends.
const TELL: Duration = Duration::from_secs(3);

/// SRS's exit statuses: the low byte of its error codes.
mod status {
    pub(super) const SYSTEM: u8 = 255;
    pub(super) const ORPHAN: u8 = 253;
    pub(super) const BIND: u8 = 234;
}

/// Runs the server until it is told to stop; or has it run in the background, and returns when it serves. `config` is what `source` has said.
pub fn run(config: Config, source: Source, env: Environment) -> ExitCode {
    let (starter, predecessor) = (Starter::of_process(&env), Predecessor::of_process(&env));
    // Who takes over from a daemon is in the background already.
    if config.daemon && starter.is_none() && predecessor.is_none() {
        return daemon::start(&config);
    }
    let app = App::start(config, source, env, predecessor.as_ref());
    match app.and_then(|app| app.settle(starter, predecessor)).map(App::wait) {
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
    reloader: Reloader,
    identity: Arc<Identity>,
    roll: Arc<Roll>,
    door: Arc<Door>,
    cores: Cores,
    /// Runs on the main thread what belongs to no core.
    service: tokio::runtime::Runtime,
    watch: Watch,
    gate: Arc<Gate>,
    followers: Followers,
    /// Who takes over gets it when he serves.
    pid: Option<PidFile>,
    control: Option<JoinHandle<()>>,
    traces: Option<Traces>,
}

/// Spans on their way.
struct Traces {
    tracer: Arc<Tracer>,
    task: JoinHandle<()>,
    caller: Caller,
}

impl Traces {
    /// Sends the last ones, if somebody takes them soon.
    fn finish(self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        self.tracer.close();
        if self.caller.wait(async { timeout(PATIENCE, self.task).await }).is_err() {
            warn!("traces: the last spans are lost");
        }
    }
}

impl App {
    fn start(
        config: Config,
        source: Source,
        env: Environment,
        predecessor: Option<&Predecessor>,
    ) -> Result<Self, Failure> {
        let system = Failure::new(status::SYSTEM);
        let bind = Failure::new(status::BIND);
        let parent = if config.asprocess { Some(Parent::of_process()) } else { None };
        let parent = parent.transpose().map_err(|e| Failure::new(status::ORPHAN)(&e))?;
        let source = reload::absolute(source);
        let supervisor = Arc::new(Supervisor::of_process(&env, predecessor.is_some()));
        let origin = Origin::of_process().map_err(|e| system(&e))?;
        std::env::set_current_dir(&config.work_dir)
            .map_err(|e| system(&format!("work_dir {}: {e}", config.work_dir.display())))?;
        let account = config.user.as_ref().map(Account::find).transpose().map_err(|e| system(&e))?.flatten();
        if let Some(account) = &account {
            make_folders(account, &config).map_err(|e| system(&e))?;
        }
        let pid = if predecessor.is_none() { Some(take_pid(&config)?) } else { None };
        let identity = Arc::new(Identity::new(config.server_id.as_deref(), &config.pid));
        let log = log::start(log::Options::new(&config.log, identity.pid), Cid::random());
        let log = Rc::new(log.map_err(|e| system(&format!("the log: {e}")))?);
        if let Some(account) = &account {
            give_files(account, &config).map_err(|e| system(&e))?;
        }
        info!("{} is starting, server={}, service={}", crate::SIGNATURE, identity.server, identity.service);
        config.warnings.iter().for_each(|warning| warn!("config: {}", warning.summary()));

        let files = limits::raise_open_files(u64::from(config.max_connections) * 2 + 1024);
        config.check_machine(files, limits::local_addresses()).map_err(|e| system(&e))?;
        Gate::check(&config).map_err(|e| system(&e))?;

        let config = Arc::new(config);
        let roll = Arc::new(Roll::default());
        let store = Store::start().map_err(|e| system(&e))?;
        let hls = hls::Workshop::open(store.clone()).map_err(|e| system(&e))?;
        let dash = dash::Workshop::open(store.clone()).map_err(|e| system(&e))?;
        let hds = hds::Packager::start(hds::Packaging::new(store.clone())).map_err(|e| system(&e))?;
        let recordings = Catalogue::default();
        let (recording, recorded) =
            Recorders::start(store.clone(), recordings.clone()).map_err(|e| system(&e))?;
        let caller = Caller::start().map_err(|e| system(&e))?;
        let traces = config.traces.clone().map(|settings| Tracer::start(settings, &identity));
        let (tracer, traces) = traces.unzip();
        let tracer = tracer.unwrap_or_default();
        let forwarders = Forwarders::start(&config, tracer.clone()).map_err(|e| system(&e))?;
        let breaker = Arc::<Breaker>::default();
        let passes = Arc::<Passes>::default();
        let tasks = Tasks::start(config.clone(), passes.clone()).map_err(|e| system(&e))?;
        let gate = Gate::new(config.clone(), roll.clone()).with_caller(caller.clone(), identity.clone());
        let gate = gate.with_breaker(breaker.clone()).with_tracer(tracer.clone()).with_passes(passes);
        let gate = gate.with_watcher(hls.packager.clone()).with_watcher(hls.fragmenter.clone());
        let gate = gate
            .with_watcher(dash.packager.clone())
            .with_watcher(hds.clone())
            .with_watcher(recording.clone());
        let gate = gate.with_watcher(http_live::FastCache).with_watcher(tasks.clone());
        let gate = Arc::new(gate.with_watcher(forwarders.clone()));
        let service =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| system(&e))?;
        let (reloads, asks) = Reloads::new();
        let samples = Arc::<api::Samples>::default();
        let door = Door::new(config.max_connections as usize);
        let metrics = Arc::new(metrics::Sources {
            roll: roll.clone(),
            gate: gate.clone(),
            identity: identity.clone(),
            samples: samples.clone(),
            door: door.clone(),
            loads: Default::default(),
            breaker: breaker.clone(),
            hls: hls.figures(),
            dvr: recorded,
            storage: store.figures(),
            log: log.meter(),
            tracer: tracer.clone(),
            forward: forwarders.figures(),
            tasks: tasks.clone(),
        });
        let theatre = Theatre::new(recordings.clone());
        let lasting = Lasting {
            gate: gate.clone(),
            roll: roll.clone(),
            identity: identity.clone(),
            samples,
            hls: hls.service(gate.clone(), theatre.clone()),
            dash: dash.service(gate.clone()),
            rooms: Rooms::default(),
            forwarders,
            store: store.clone(),
            theatre,
            reloads,
            metrics: metrics.clone(),
            tasks,
        };
        service.spawn(api::run_samplers(gate.clone(), roll.clone(), lasting.samples.clone()));
        let rules = gate.clone();
        service.spawn(tell_status(roll.clone(), move || rules.config().pithy_print));

        let signals = service.block_on(async { Signals::catch() }).map_err(|e| system(&e))?;
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let mut heritage = predecessor.map_or_else(|| Ok(Heritage::default()), Predecessor::heritage);
        let heritage = heritage.as_mut().map_err(|e| system(&format!("the process before this one: {e}")))?;
        let mut ports = Ports::default();
        let way = ports.prepare(&config, count, heritage).map_err(|e| bind(&e))?;
        let udp = std::mem::take(&mut heritage.udp);
        let media = config.rtc_server.as_ref().map(|server| MediaPort::open(server, count, &breaker, udp));
        let (media, parts) = media.transpose().map_err(|e| bind(&e))?.unzip();
        let current = Current::new(Services::new(&config, &lasting, media.as_ref()));
        // All that only root can have is there, and nobody is served yet.
        account.map_or(Ok(()), Account::assume).map_err(|e| system(&e))?;
        store.turn(&config);
        caller.spawn(heartbeat::run(lasting.clone(), caller.clone()));
        let traces = traces.map(|traces| {
            let task = caller.spawn(traces.run(caller.clone()));
            Traces { tracer: tracer.clone(), task, caller: caller.clone() }
        });

        let (orders, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(ORDERS)).unzip();
        let order = |core: &mpsc::Sender<_>, order| {
            core.try_send(order).map_err(|_| system(&"a core takes no orders"))
        };
        // Everybody listens before anybody serves, so that nobody is turned away once we say that we are ready.
        for opened in ports.commit(way) {
            info!("{} listen at tcp://{}", opened.port.duty().label, opened.port.address);
            for (core, socket) in orders.iter().cycle().zip(opened.sockets) {
                order(core, Order::Listen(opened.port.clone(), socket))?;
            }
        }
        if let (Some(media), Some(parts)) = (&media, parts) {
            info!("WebRTC listen at udp://{}", media.address);
            service.spawn(webrtc::sweep(Arc::downgrade(&media.service.lobby)));
            for (core, part) in orders.iter().zip(parts) {
                order(core, Order::Media(Some(part)))?;
            }
        }
        let (services, hall) = (current.clone(), door.clone());
        let serve = move |core, inbox| Hall::new(core, services.clone(), hall.clone()).serve(inbox);
        let cores = Cores::start(inboxes, serve).map_err(|e| system(&e))?;
        metrics.watch(cores.loads());
        let (alive, manager) = (cores.loads(), supervisor.clone());
        service.spawn(async move { manager.reassure(alive).await });
        let (loads, rules, watched) = (cores.loads(), gate.clone(), breaker.clone());
        let events = roll.events().clone();
        service.spawn(async move { watched.watch(|| rules.config().breaker.clone(), loads, events).await });

        dvr::recover(&config, recordings);
        info!("ready on {count} cores, max_connections={}", config.max_connections);
        if let Some(endpoint) = config.listen.first() {
            info!("publish to rtmp://localhost:{}/live/livestream", endpoint.port);
        }
        let reloader = Reloader {
            source,
            environment: env,
            config,
            log: log.clone(),
            supervisor,
            lasting,
            current,
            ports,
            media,
            cores: orders,
            door: door.clone(),
            breaker,
            origin,
            stopping: false,
        };
        if let (true, Source::File(path)) = (reloader.config.auto_reload, &reloader.source)
            && let Err(e) = file_watch::start(path, reloader.lasting.reloads.clone())
        {
            warn!("cannot watch {}: {e}", path.display());
        }
        let watch = Watch::new(signals, log, parent, asks);
        let followers = Followers::default().with(&hls.packager).with(&hls.fragmenter);
        let followers = followers.with(&dash.packager).with(&hds).with(&recording);
        Ok(Self {
            reloader,
            identity,
            roll,
            door,
            cores,
            service,
            watch,
            gate,
            followers,
            pid,
            control: None,
            traces,
        })
    }

    /// Tells who waits for the server to be ready, if anybody does, and takes what only one process can have.
    fn settle(mut self, starter: Option<Starter>, predecessor: Option<Predecessor>) -> Result<Self, Failure> {
        let interrupted =
            |e: std::io::Error| Failure::new(status::SYSTEM)(&format!("the start was interrupted: {e}"));
        let config = &self.reloader.config;
        if let Some(starter) = starter {
            starter.tell_ready(config.log.tank).map_err(interrupted)?;
        }
        if let Some(predecessor) = predecessor {
            predecessor.replace().map_err(interrupted)?;
            self.pid = Some(take_pid(config)?);
            info!("this process has taken over");
        }
        self.reloader.supervisor.tell_ready();
        // Inputs are published here from now on, and nowhere else.
        self.reloader.lasting.tasks.turn(&self.reloader.config);
        match self.service.block_on(async { Control::open(&config.pid) }) {
            Ok(control) => {
                let reloads = self.reloader.lasting.reloads.clone();
                self.control = Some(self.service.spawn(control.serve(reloads)));
            }
            Err(e) => warn!("no control socket, `oxcast reload` will find nobody: {e}"),
        }
        Ok(self)
    }

    /// Waits until somebody wants the server to end, and ends it: listeners are closed first, then clients are gone, then
    /// what must not stay behind is removed.
    fn wait(self) {
        let Self {
            mut reloader,
            identity,
            roll,
            door,
            cores,
            service,
            mut watch,
            gate,
            followers,
            mut pid,
            control,
            traces,
        } = self;
        let mut quit = service.block_on(watch.quit(&mut reloader));
        info!("{quit}, up for {:.0?}", identity.start.elapsed());
        reloader.stopping = true;
        let tasks = reloader.lasting.tasks.clone();
        if let Some(successor) = watch.successor.take() {
            // In this order: nobody is accepted here any more, files are not ours any more, and only then somebody else's.
            cores.close();
            reloader.close();
            followers.hand_over();
            reloader.lasting.store.hand_over();
            if let Some(control) = control {
                control.abort();
                let _ = service.block_on(control);
            }
            pid.take().into_iter().for_each(PidFile::release);
            info!("process {} has taken over", successor.pid());
            reloader.supervisor.tell_successor(successor.pid());
            successor.take();
            let rtc = |kind| matches!(kind, Kind::RtcPlay | Kind::RtcPublish);
            let moved = roll.clients().into_iter().filter(|client| rtc(client.kind));
            moved.for_each(|client| client.session.kick("another process has the UDP port now: come again"));
        } else {
            reloader.supervisor.tell_stopping();
        }
        if let Quit::Graceful(_) = quit {
            tasks.drain();
        }
        if let Quit::Graceful(_) = quit
            && let Some(hurry) = service.block_on(watch.drain(&mut reloader, &cores, &door, &roll))
        {
            info!("{hurry}, connections cut: {}", door.inside());
            quit = hurry;
        }
        // They would take the end of their connections for a reason to complain.
        tasks.close();
        cores.stop();
        // Publishers are gone, and what they have sent last is on its way.
        reloader.lasting.forwarders.stop();
        traces.into_iter().for_each(Traces::finish);
        tasks.stop();
        // It is written, too.
        followers.stop();
        reloader.lasting.store.stop();
        if let Quit::Graceful(_) = quit {
            service.block_on(watch.linger(&mut reloader));
        }
        let file = reloader.config.pid.clone();
        reloader.lasting.hls.end();
        // Sessions that wait for their clients go with them.
        drop((reloader, service));
        gate.flush(TELL);
        pid.into_iter().for_each(PidFile::release);
        info!("{} has stopped, pid file {}", crate::SIGNATURE, file.display());
    }
}

/// Makes what folders are missing, so that they belong to who is to write there.
fn make_folders(account: &Account, config: &Config) -> std::io::Result<()> {
    let hls = config.vhosts.iter().filter_map(|vhost| vhost.hls.as_ref()).map(|hls| hls.path.as_path());
    let dvr = config.vhosts.iter().filter_map(|vhost| Some(vhost.dvr.as_ref()?.folder()));
    let log = (config.log.tank == Tank::File).then_some(&*config.log.file);
    let files = [Some(&*config.pid), log].into_iter().flatten();
    let hds = config.vhosts.iter().filter_map(|vhost| vhost.hds.as_ref()).map(|hds| hds.path.as_path());
    let spools =
        config.vhosts.iter().filter_map(|vhost| vhost.storage.as_ref()).map(|storage| &*storage.spool);
    let starts =
        config.vhosts.iter().any(|v| v.exec.is_some() || !v.ingests.is_empty() || !v.transcodes.is_empty());
    let tasks = config.task_log.dir.as_deref().filter(|_| starts);
    let dash = config.vhosts.iter().filter_map(|vhost| vhost.dash.as_ref());
    let dash = dash.filter(|dash| dash.storage == SegmentStorage::Disk).map(|dash| dash.path.as_path());
    let mut folders = files
        .filter_map(Path::parent)
        .chain(hls)
        .chain(dash)
        .chain(hds)
        .chain(dvr)
        .chain(spools)
        .chain(tasks);
    folders.try_for_each(|folder| account.make_folder(folder))
}

/// Gives away the files that are open already and that will be opened again.
fn give_files(account: &Account, config: &Config) -> std::io::Result<()> {
    account.give(&config.pid)?;
    account.give(&crate::process::id_file(&config.pid))?;
    if config.log.tank == Tank::File { account.give(&config.log.file) } else { Ok(()) }
}

fn take_pid(config: &Config) -> Result<PidFile, Failure> {
    PidFile::take(&config.pid).map_err(|e| Failure { status: e.exit_status(), message: e.to_string() })
}

/// One core's hall: where connections come in.
struct Hall {
    core: Rc<Core>,
    services: Current,
    door: Arc<Door>,
    /// The core's part of WebRTC.
    floor: RefCell<Option<Rc<webrtc::Floor>>>,
}

impl Hall {
    fn new(core: Rc<Core>, services: Current, door: Arc<Door>) -> Rc<Self> {
        Rc::new(Self { core, services, door, floor: RefCell::default() })
    }

    /// Does what it is told, for ever.
    async fn serve(self: Rc<Self>, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Listen(port, socket) => match TcpListener::from_std(socket) {
                    Ok(listener) => drop(tokio::task::spawn_local(self.clone().listen(port, listener))),
                    Err(e) => {
                        error!("core {}: {} {}: {e}", self.core.index, port.duty().label, port.address);
                    }
                },
                Order::Media(part) => self.turn_media(part),
            }
        }
    }

    /// Accepts at a port until it is closed.
    async fn listen(self: Rc<Self>, port: Arc<Port>, listener: TcpListener) {
        let (closing, hall) = (self.closing(&port), self.clone());
        let enter = |tcp, peer, pass| {
            tokio::task::spawn_local(hall.clone().admit(port.clone(), tcp, peer, pass));
        };
        accept(listener, self.door.clone(), closing, enter).await;
    }

    /// Waits until nobody new is to be let in, at this port or at all.
    fn closing(&self, port: &Port) -> impl Future<Output = ()> + use<> {
        let (core, port) = (self.core.closing(), port.closing());
        async move {
            tokio::select! {
                () = core => {}
                () = port => {}
            }
        }
    }

    fn turn_media(&self, part: Option<crate::media_port::Part>) {
        let floor = part.and_then(|part| {
            let floor = webrtc::Floor::open(self.core.clone(), part.service, part.socket, part.inbox);
            floor.inspect_err(|e| error!("core {}: WebRTC: {e}", self.core.index)).ok()
        });
        if let Some(before) = self.floor.replace(floor) {
            before.retire();
        }
    }

    /// One connection, from accept to close.
    async fn admit(self: Rc<Self>, port: Arc<Port>, tcp: TcpStream, peer: std::net::SocketAddr, pass: Pass) {
        // Answers of a session are small and wait for each other; media follows the vhost's own setting.
        if let Err(e) = tcp.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {e}, peer={peer}");
        }
        let duty = port.duty();
        let local = tcp.local_addr().unwrap_or(port.address);
        let session = Session::new(peer);
        let shares_rtc = matches!(duty.serves, Serves::Http | Serves::Api)
            && self.services.now().rtc_tcp == Some(port.address.port());
        let is_rtc = duty.serves == Serves::Rtc || shares_rtc && is_rtc(&tcp).await;
        let stream = match duty.tls.as_ref().filter(|_| !is_rtc) {
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
        if is_rtc {
            let floor = self.floor.borrow().clone();
            if let Some(floor) = floor {
                Box::pin(webrtc::tcp::serve(floor, conn)).await;
            }
            return;
        }
        let (core, closing, services) = (self.core.clone(), self.closing(&port), self.services.clone());
        let rtmp = || services.now().rtmp.clone();
        // Boxed, so that a task is no larger than what its own protocol needs.
        match duty.serves {
            Serves::Rtmp => Box::pin(rtmp::serve(core, rtmp(), conn, pass)).await,
            Serves::Http => {
                let http = move || services.now().http.clone();
                Box::pin(http_live::serve(core, http, conn, pass, closing)).await;
            }
            Serves::Api => {
                let api = move || services.now().api.clone();
                Box::pin(http_live::serve(core, api, conn, pass, closing)).await;
            }
            Serves::Exporter => {
                let exporter = move || services.now().exporter.clone();
                Box::pin(http_live::serve(core, exporter, conn, pass, closing)).await;
            }
            Serves::Rtc => {}
        }
    }
}

/// WebRTC over TCP may share a port with HTTP and HTTPS: its first byte, the length of a small packet, is no letter, and none that TLS begins
/// with. Who says nothing at all gets HTTP's answer.
async fn is_rtc(tcp: &TcpStream) -> bool {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut first = [0];
    matches!(timeout(PATIENCE, tcp.peek(&mut first)).await, Ok(Ok(1)) if webrtc::tcp::is_ours(first[0]))
}
