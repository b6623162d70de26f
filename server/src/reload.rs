//! Reload: from a file that has changed to a server that does what it says. Everything that may fail is done before anything is changed, so that a
//! reload happens as a whole or not at all. Who runs it is the main thread; who asks for it, or for a binary upgrade, may be anybody.

use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::breaker::Breaker;
use crate::config::{Change, Config, Environment, Source};
use crate::dvr;
use crate::events::Event;
use crate::gate::Gate;
use crate::log::{self, Log};
use crate::media_port::MediaPort;
use crate::net::{Door, limits};
use crate::ports::Ports;
use crate::protocol::webrtc;
use crate::services::{Current, Lasting, Services};
use crate::session::random_name;
use crate::supervisor::Supervisor;
use crate::upgrade::{Heritage, Origin};

/// What a core is told.
pub enum Order {
    /// Accept at this port, too.
    Listen(Arc<crate::ports::Port>, std::net::TcpListener),
    /// Media of WebRTC goes by this port from now on; by none that is new, without one.
    Media(Option<crate::media_port::Part>),
}

/// Orders that may wait for a core.
pub const ORDERS: usize = 1024;

/// How a reload is asked for, and how the last one went.
#[derive(Clone)]
pub struct Reloads {
    asks: mpsc::Sender<Ask>,
    last: Arc<Mutex<Outcome>>,
}

/// Somebody wants something of the main thread.
pub struct Ask {
    /// Who, for the log.
    pub by: String,
    /// What.
    pub what: What,
    /// Who waits for the result.
    pub reply: Option<oneshot::Sender<Done>>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A reload, or only what it would do.
    Reload {
        /// The latter.
        dry: bool,
    },
    /// Another process that takes over.
    Upgrade,
}

/// What became of it: the differences, or why it was refused, for people.
pub type Done = Result<Vec<Change>, String>;

/// How the last reload went, in SRS's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// 0, or SRS's number of what was wrong.
    pub error: u16,
    /// The reason.
    pub message: String,
    /// What it was at.
    pub stage: Stage,
    /// Names it; empty before the first.
    pub id: String,
}

/// What a reload is at, by SRS's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There has not been any.
    #[default]
    None = 0,
    /// The file is read.
    Parsing = 10,
    /// What it asks for is prepared.
    Transforming = 20,
    /// It is done.
    Finished = 90,
}

/// Those who ask wait for a moment at most.
const ASKS: usize = 16;

impl Reloads {
    /// A handle, and where its asks come out.
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASKS);
        (Self { asks, last: Arc::default() }, asked)
    }

    /// Has the configuration reloaded soon; `by` is told in the log.
    pub fn ask(&self, by: impl Into<String>) {
        // Those who wait already see the same file.
        let _ = self.asks.try_send(Ask { by: by.into(), what: What::Reload { dry: false }, reply: None });
    }

    /// Has it done, and waits for the result.
    pub async fn run(&self, by: impl Into<String>, what: What) -> Done {
        let (reply, done) = oneshot::channel();
        let ended = |_| "the server is about to stop".to_owned();
        let asked = self.asks.send(Ask { by: by.into(), what, reply: Some(reply) }).await;
        asked.map_err(|_| ended(()))?;
        done.await.map_err(|_| ended(()))?
    }

    /// How the last one went.
    pub fn last(&self) -> Outcome {
        self.last.lock().clone()
    }
}

/// Why a reload is refused.
struct Refused {
    stage: Stage,
    code: u16,
    reason: String,
}

impl Refused {
    fn at(stage: Stage) -> impl Fn(&dyn Display) -> Self {
        move |reason| Self { stage, code: INVALID, reason: reason.to_string() }
    }
}

/// SRS's number of an invalid configuration.
const INVALID: u16 = 1023;

/// See the module.
pub struct Reloader {
    /// What was configured at the start.
    pub source: Source,
    /// What the environment says, which does not change.
    pub environment: Environment,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The log.
    pub log: Rc<Log>,
    /// Who is told that it is reloaded.
    pub supervisor: Arc<Supervisor>,
    /// What outlives it.
    pub lasting: Lasting,
    /// What serves by it.
    pub current: Current,
    /// The TCP ports.
    pub ports: Ports,
    /// The UDP port, if there is one.
    pub media: Option<MediaPort>,
    /// How the cores are told.
    pub cores: Vec<mpsc::Sender<Order>>,
    /// Who counts connections.
    pub door: Arc<Door>,
    /// For media ports.
    pub breaker: Arc<Breaker>,
    /// How the process was started.
    pub origin: Origin,
    /// The server is about to stop, and opens nothing any more.
    pub stopping: bool,
}

impl Reloader {
    /// Reads the configuration again and does what it says; with `dry`, only says what would happen.
    pub fn reload(&mut self, by: &str, dry: bool) -> Done {
        if !dry {
            self.supervisor.tell_reloading();
        }
        let done = self.try_reload(by, dry);
        if !dry && !self.stopping {
            self.supervisor.tell_ready();
        }
        let outcome = match &done {
            Ok(_) => Outcome {
                error: 0,
                message: "Success".into(),
                stage: Stage::Finished,
                id: String::from_utf8_lossy(&random_name::<7>()).into_owned(),
            },
            Err(Refused { stage, code, reason }) => Outcome {
                error: *code,
                message: format!(
                    "code={code}(ConfigInvalid) : {}",
                    reason.lines().next().unwrap_or_default()
                ),
                stage: *stage,
                id: String::from_utf8_lossy(&random_name::<7>()).into_owned(),
            },
        };
        if !dry {
            let event = Event::new("reload").with("by", by).with("code", outcome.error);
            self.lasting
                .roll
                .events()
                .tell(event.with("message", &*outcome.message).with("rid", &*outcome.id));
            *self.lasting.reloads.last.lock() = outcome;
        }
        done.map_err(|refused| {
            warn!("reload: refused, nothing has changed: {}, by {by}", refused.reason.replace('\n', " "));
            refused.reason
        })
    }

    fn try_reload(&mut self, by: &str, dry: bool) -> Result<Vec<Change>, Refused> {
        if self.stopping {
            return Err(Refused::at(Stage::Parsing)(&"the server is about to stop"));
        }
        let parsing = |error: Box<crate::config::Error>| Refused {
            stage: Stage::Parsing,
            code: error.code,
            reason: error.to_string(),
        };
        let config = Config::load(&self.source, &self.environment).map_err(parsing)?;
        let config = Arc::new(config);
        let changes = self.config.written.changes(&config.written);
        let transforming = Refused::at(Stage::Transforming);
        let files = limits::raise_open_files(u64::from(config.max_connections) * 2 + 1024);
        config.check_machine(files, limits::local_addresses()).map_err(|e| transforming(&e))?;
        Gate::check(&config).map_err(|e| transforming(&e))?;
        let way = self
            .ports
            .prepare(&config, self.cores.len(), &mut Heritage::default())
            .map_err(|e| transforming(&e))?;
        let media = self.prepare_media(&config).map_err(|e| transforming(&e))?;
        if dry {
            return Ok(changes);
        }
        let log = self.log.prepare(log::Options::new(&config.log, self.lasting.identity.pid));
        let log = log.map_err(|e| transforming(&e))?;
        for opened in self.ports.commit(way) {
            info!("{} listen at tcp://{}", opened.port.duty().label, opened.port.address);
            for (core, socket) in self.cores.iter().cycle().zip(opened.sockets) {
                tell(core, Order::Listen(opened.port.clone(), socket));
            }
        }
        if let Some(media) = media {
            self.turn_media(media);
        }
        self.log.turn(log);
        self.door.set_limit(config.max_connections as usize);
        self.lasting.forwarders.turn(&config);
        self.lasting.store.turn(&config);
        self.lasting.tasks.turn(&config);
        // Folders that are new may have recordings from before.
        dvr::recover(&config, self.lasting.theatre.catalogue().clone());
        self.lasting.gate.turn(config.clone());
        self.current.set(Services::new(&config, &self.lasting, self.media.as_ref()));
        config.warnings.iter().for_each(|warning| warn!("config: {}", warning.summary()));
        changes.iter().for_each(|change| info!("reload: {change}"));
        info!("reload: done, changes={}, by {by}", changes.len());
        self.config = config;
        Ok(changes)
    }

    /// Copies of all sockets that are listened at.
    ///
    /// # Errors
    /// The system has no room for them.
    pub fn heritage(&self) -> std::io::Result<Heritage> {
        let udp = self.media.as_ref().map_or_else(|| Ok(Vec::new()), MediaPort::copies)?;
        Ok(Heritage { tcp: self.ports.copies()?, udp })
    }

    /// Lets go of all ports.
    pub fn close(&mut self) {
        self.ports.close();
        self.media = None;
        self.cores.iter().for_each(|core| tell(core, Order::Media(None)));
    }

    /// Another port for media, if another one is wanted: `Some(None)` is none at all.
    #[expect(clippy::type_complexity, reason = "it is used in one place")]
    fn prepare_media(
        &self,
        config: &Config,
    ) -> std::io::Result<Option<Option<(MediaPort, Vec<crate::media_port::Part>)>>> {
        let before = self.media.as_ref().map(|media| media.address.port());
        match &config.rtc_server {
            Some(server) if before == Some(server.listen) => Ok(None),
            Some(server) => {
                MediaPort::open(server, self.cores.len(), &self.breaker, Vec::new()).map(Some).map(Some)
            }
            None => Ok(before.map(|_| None)),
        }
    }

    fn turn_media(&mut self, media: Option<(MediaPort, Vec<crate::media_port::Part>)>) {
        let Some((port, parts)) = media else {
            info!("WebRTC takes no further sessions");
            self.media = None;
            self.cores.iter().for_each(|core| tell(core, Order::Media(None)));
            return;
        };
        info!("WebRTC listen at udp://{}", port.address);
        tokio::spawn(webrtc::sweep(Arc::downgrade(&port.service.lobby)));
        for (core, part) in self.cores.iter().zip(parts) {
            tell(core, Order::Media(Some(part)));
        }
        self.media = Some(port);
    }
}

fn tell(core: &mpsc::Sender<Order>, order: Order) {
    if core.try_send(order).is_err() {
        tracing::error!("a core does not take orders any more");
    }
}

/// The same file, also after the working directory has changed.
pub fn absolute(source: Source) -> Source {
    match source {
        Source::File(path) => Source::File(std::path::absolute(&path).unwrap_or(path)),
        other => other,
    }
}
