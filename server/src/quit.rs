//! How the server ends: the signals that ask for it, the parent process that it may hang on, and the wait for the
//! clients to leave. What is torn down in which order is told in `app`.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use crate::events::Event;
use crate::log::Log;
use crate::net::{Cores, Door};
use crate::process::Parent;
use crate::reload::{Ask, Done, Reloader, What};
use crate::session::{Cid, Kind, Roll};
use crate::upgrade::Successor;

/// The signals that mean something to us, caught from the start on.
pub struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Catches them; what they do otherwise is to end the process.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }
}

/// The server is to end; why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quit {
    /// At once.
    Fast(&'static str),
    /// When its clients have left.
    Graceful(&'static str),
}

impl fmt::Display for Quit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fast(why) => write!(f, "{why}: stopping"),
            Self::Graceful(why) => write!(f, "{why}: stopping when the clients have left"),
        }
    }
}

/// Waits for the end of the server, and does meanwhile what other signals ask for.
pub struct Watch {
    signals: Signals,
    log: Arc<Log>,
    parent: Option<Parent>,
    asks: mpsc::Receiver<Ask>,
    /// The one that comes up.
    coming: Option<Coming>,
    /// The one that has come up; the server ends for it.
    pub successor: Option<Successor>,
}

/// A successor that is being started.
struct Coming {
    result: oneshot::Receiver<io::Result<Successor>>,
    /// Who asked for it, and waits.
    reply: Option<oneshot::Sender<Done>>,
}

/// How often the parent is looked at.
const PARENT: Duration = Duration::from_secs(1);

impl Watch {
    /// Watches for `signals`, for those who ask for a reload, and for the loss of `parent` if there is one.
    pub fn new(signals: Signals, log: Arc<Log>, parent: Option<Parent>, asks: mpsc::Receiver<Ask>) -> Self {
        Self { signals, log, parent, asks, coming: None, successor: None }
    }

    /// Waits until somebody wants the server to end.
    pub async fn quit(&mut self, reloader: &mut Reloader) -> Quit {
        loop {
            let Signals { term, int, quit, hangup, user1, user2 } = &mut self.signals;
            tokio::select! {
                _ = term.recv() => {
                    let manner = if reloader.config.grace.force { Quit::Graceful } else { Quit::Fast };
                    return manner("SIGTERM");
                }
                _ = int.recv() => return Quit::Fast("SIGINT"),
                _ = quit.recv() => return Quit::Graceful("SIGQUIT"),
                _ = hangup.recv() => drop(reloader.reload("SIGHUP", false)),
                Some(ask) = self.asks.recv() => match ask.what {
                    What::Upgrade => self.start_successor(reloader, &ask.by, ask.reply),
                    What::Reload { dry } => {
                        let done = reloader.reload(&ask.by, dry);
                        ask.reply.map(|reply| reply.send(done));
                    }
                },
                come = come(&mut self.coming) => {
                    if self.receive(come) {
                        return Quit::Graceful("a new process has come up");
                    }
                }
                _ = user1.recv() => {
                    self.log.reopen();
                    info!("SIGUSR1: the log is reopened");
                }
                _ = user2.recv() => self.start_successor(reloader, "SIGUSR2", None),
                () = lost(self.parent) => return Quit::Fast("the parent process has changed"),
            }
        }
    }

    /// Has a successor come up, on a thread that may wait for it.
    fn start_successor(&mut self, reloader: &Reloader, by: &str, reply: Option<oneshot::Sender<Done>>) {
        let refusal = match (&self.parent, &self.coming) {
            _ if reloader.stopping => Some("the server is about to stop"),
            (Some(_), _) => Some("`asprocess on`: the new process would lose its parent with this one"),
            (_, Some(_)) => Some("a new process is coming up already"),
            _ => None,
        };
        let heritage = match refusal {
            Some(reason) => Err(reason.to_owned()),
            None => reloader.heritage().map_err(|e| e.to_string()),
        };
        let heritage = match heritage {
            Ok(heritage) => heritage,
            Err(reason) => {
                warn!("upgrade: refused: {reason}, by {by}");
                reply.map(|reply| reply.send(Err(reason)));
                return;
            }
        };
        info!("upgrade: a new process is started, by {by}");
        let (done, result) = oneshot::channel();
        let origin = reloader.origin.clone();
        let start = move || drop(done.send(Successor::start(&origin, &heritage)));
        self.coming = Some(Coming { result, reply });
        if let Err(e) = thread::Builder::new().name("upgrade".into()).spawn(start) {
            warn!("upgrade: {e}");
        }
    }

    /// Whether a successor is there.
    fn receive(&mut self, come: io::Result<Successor>) -> bool {
        let reply = self.coming.take().and_then(|coming| coming.reply);
        let done = match come {
            Ok(successor) => {
                self.successor = Some(successor);
                Ok(Vec::new())
            }
            Err(e) => {
                warn!("upgrade: {e}; this process goes on");
                Err(e.to_string())
            }
        };
        reply.map(|reply| reply.send(done));
        self.successor.is_some()
    }

    /// Waits for the clients to leave, with the listeners closed after a while; `Some` if somebody loses patience.
    pub async fn drain(
        &mut self,
        reloader: &mut Reloader,
        cores: &Cores,
        door: &Door,
        roll: &Arc<Roll>,
    ) -> Option<Quit> {
        let grace = reloader.config.grace.clone();
        roll.events().tell(Event::new("quit"));
        // Who has handed over has closed them already: new clients are served elsewhere.
        if reloader.ports.are_open() {
            info!("new clients are served for another {:?}", grace.start_wait);
            if let Some(hurry) = self.unless_hurried(reloader, sleep(grace.start_wait)).await {
                return Some(hurry);
            }
            cores.close();
            reloader.ports.close();
        }
        roll.events().close();
        info!("the listeners are closed, connections left: {}", door.inside());
        self.unless_hurried(reloader, async {
            match grace.limit {
                None => empty(door, roll).await,
                Some(limit) => {
                    if timeout(limit, empty(door, roll)).await.is_err() {
                        info!("`grace_limit` of {limit:?} is over, connections cut: {}", door.inside());
                    }
                }
            }
        })
        .await
    }

    /// The wait after the last client left.
    pub async fn linger(&mut self, reloader: &mut Reloader) {
        let wait = reloader.config.grace.final_wait;
        info!("all clients have left, ending in {wait:?}");
        if let Some(hurry) = self.unless_hurried(reloader, sleep(wait)).await {
            info!("{hurry}");
        }
    }

    /// Waits for `work` to end, or for somebody who wants the server to end at once.
    async fn unless_hurried(
        &mut self,
        reloader: &mut Reloader,
        work: impl Future<Output = ()>,
    ) -> Option<Quit> {
        let hurry = async {
            loop {
                match self.quit(reloader).await {
                    Quit::Graceful(why) => info!("{why}: stopping already; SIGINT does not wait for clients"),
                    fast @ Quit::Fast(_) => return fast,
                }
            }
        };
        tokio::select! {
            () = work => None,
            hurry = hurry => Some(hurry),
        }
    }
}

/// Waits for the successor that comes up; for ever without one.
async fn come(coming: &mut Option<Coming>) -> io::Result<Successor> {
    match coming {
        Some(coming) => (&mut coming.result).await.map_err(io::Error::other)?,
        None => std::future::pending().await,
    }
}

/// Waits until the parent is another one; for ever if there is none to look at.
async fn lost(parent: Option<Parent>) {
    let Some(parent) = parent else { return std::future::pending().await };
    while !parent.is_lost() {
        sleep(PARENT).await;
    }
}

/// Waits until nobody is inside, and logs now and then how many still are.
async fn empty(door: &Door, roll: &Arc<Roll>) {
    const LOOK: Duration = Duration::from_millis(50);
    const LINE: Duration = Duration::from_secs(10);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut strays = Strays::default();
    let (mut told, mut told_at, mut strays_at) = (door.inside(), Instant::now(), Instant::now());
    loop {
        looks.tick().await;
        let inside = door.inside();
        if inside == 0 {
            return;
        }
        if inside <= told / 2 || told_at.elapsed() >= LINE {
            info!("connections left: {inside}");
            (told, told_at) = (inside, Instant::now());
        }
        if strays_at.elapsed() >= Strays::LOOK {
            strays.send_away(roll);
            strays_at = Instant::now();
        }
    }
}

/// Players of streams that nobody publishes. Some protocols let them wait for a publisher, but none can come any more.
#[derive(Default)]
struct Strays {
    /// What each of them had been sent when it was looked at last.
    sent: HashMap<Cid, u64>,
}

impl Strays {
    const LOOK: Duration = Duration::from_secs(1);

    /// Ends those that have got nothing since the last call. Others still take what the publisher left behind.
    fn send_away(&mut self, roll: &Roll) {
        let clients = roll.clients();
        let waits = |kind: Kind| !kind.is_publish() && kind != Kind::HlsPlay;
        let strays = clients.iter().filter(|client| {
            waits(client.kind) && !client.stream.broadcast().is_some_and(|broadcast| broadcast.is_live())
        });
        let sent = strays.map(|client| {
            let (cid, sent) = (client.session.cid, client.bytes().1);
            if self.sent.get(&cid) == Some(&sent) {
                client.session.kick("the server is about to stop, and nobody publishes this stream");
            }
            (cid, sent)
        });
        self.sent = sent.collect();
    }
}
