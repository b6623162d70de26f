//! The one door. Every protocol asks here before any media flows; vhost rules, limits, security, tokens, callbacks and
//! cluster look-up live behind it and nowhere else, in this order. What it hands out is released by `Drop`, so that no path forgets.

mod hooks;
mod limits;
mod pass;
mod proof;
mod query;
mod refusals;
mod refused;
mod security;
mod settings;
mod signed;
mod token;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hub::{Bell, Broadcast, Hub, Publication, Rules, StreamKey};
use media::{Frame, Kind as MediaKind, Place, Remux, Stamped, Tracks, Unit};
use tracing::info;

use crate::breaker::Breaker;
use crate::caller::Caller;
use crate::config::{Config, Destination, Shed, Vhost};
use crate::process::Identity;
use crate::session::{Cid, Client, Entry, Kind, Meter, Request, Roll, Seat, Session};
use crate::sound;
use crate::trace::{Inside, Journey, Moment, Tracer};

pub use hooks::{Reporter, Segment, Snapshot, Visit};
pub use pass::{Pass, Passes};
pub use refusals::Refusals;
pub use refused::Refused;
pub use settings::Settings;

use hooks::{Act, Figures, Hooks};
use limits::{Limits, Place as Seating};
use proof::{Curfew, Proofs};
use settings::Book;

/// Somebody wants to publish or play.
pub struct Ask<'a> {
    /// Who.
    pub session: &'a Arc<Session>,
    /// To do what.
    pub kind: Kind,
    /// With what.
    pub request: Request,
    /// The connection, where callbacks know connections.
    pub visit: Option<&'a Visit>,
}

impl Ask<'_> {
    /// Where the client is: what proxies tell counts as far as they are trusted.
    fn address(&self, vhost: &Vhost) -> IpAddr {
        let peer = self.request.connection.unwrap_or(self.session.peer.ip()).to_canonical();
        let is_trusted = vhost.proxies.iter().any(|net| net.contains(&peer));
        self.request.forwarded.filter(|_| is_trusted).unwrap_or(peer).to_canonical()
    }
}

/// Somebody who has work to do with every stream: segments it, records it, forwards it.
pub trait Watcher: Send + Sync {
    /// A publisher was admitted and has not sent a frame yet. Must not wait.
    fn published(&self, stream: &Published);

    /// The settings of a published stream's vhost have changed. Must not wait.
    fn turned(&self, _stream: &Published) {}

    /// A publisher has left; its name may be taken by another one at any moment. Must not wait.
    fn unpublished(&self, _stream: &Published) {}

    /// A player was admitted. Must not wait.
    fn played(&self, _player: &Arc<Client>) {}

    /// A player has left. Must not wait.
    fn stopped(&self, _player: &Arc<Client>) {}
}

/// Those who have work to do.
type Watchers = Arc<Vec<Box<dyn Watcher>>>;

/// Somebody whom watchers were told of. Dropping it tells them of the end.
struct Watched {
    watchers: Watchers,
    who: Who,
}

enum Who {
    Publisher(Box<Published>),
    Player(Arc<Client>),
}

impl Drop for Watched {
    fn drop(&mut self) {
        match &self.who {
            Who::Publisher(stream) => self.watchers.iter().for_each(|watcher| watcher.unpublished(stream)),
            Who::Player(client) => self.watchers.iter().for_each(|watcher| watcher.stopped(client)),
        }
    }
}

/// A stream with its publisher, as watchers get to see it.
#[derive(Clone)]
pub struct Published {
    /// The stream.
    pub broadcast: Arc<Broadcast>,
    /// What goes for it now.
    pub vhost: Arc<Vhost>,
    /// The publisher.
    pub session: Arc<Session>,
    /// The same, with what it asked for.
    pub client: Arc<Client>,
    /// What tells services of its segments, if they want to know.
    pub reporter: Option<Reporter>,
    /// Where a service wants it forwarded to, if there is one and it has just been asked.
    pub forward_to: Option<Arc<[Destination]>>,
}

/// See the module.
pub struct Gate {
    config: ArcSwap<Config>,
    book: Book,
    hub: Hub,
    roll: Arc<Roll>,
    refusals: Refusals,
    tracer: Arc<Tracer>,
    watchers: Watchers,
    passes: Arc<Passes>,
    limits: Arc<Limits>,
    proofs: Proofs,
    /// Without it, nobody is called.
    caller: Option<Caller>,
    hooks: Option<Hooks>,
    figures: Arc<Figures>,
    breaker: Arc<Breaker>,
}

/// A decision of the gate. It is boxed: what is kept while services are asked is large, and a connection is to be no larger for it afterwards.
pub type Decision<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refused>> + Send + 'a>>;

/// What an admitted client holds besides its stream. The services are told of its end first.
struct Admission {
    _act: Option<Act>,
    _seating: Seating,
    _curfew: Curfew,
}

impl Gate {
    /// A gate that follows this configuration, and calls nobody.
    pub fn new(config: Arc<Config>, roll: Arc<Roll>) -> Self {
        let (config, book) = (ArcSwap::new(config), Book::default());
        Self {
            config,
            book,
            hub: Hub::default(),
            roll,
            refusals: Refusals::default(),
            tracer: Arc::default(),
            watchers: Arc::default(),
            passes: Arc::default(),
            limits: Arc::default(),
            proofs: Proofs::default(),
            caller: None,
            hooks: None,
            figures: Arc::default(),
            breaker: Arc::default(),
        }
    }

    /// Calls the services that are configured, in the name of this server.
    pub fn with_caller(mut self, caller: Caller, identity: Arc<Identity>) -> Self {
        self.hooks = Some(Hooks::new(caller.clone(), identity, self.figures.clone()));
        self.caller = Some(caller);
        self
    }

    /// Sheds load by the levels of this breaker.
    pub fn with_breaker(mut self, breaker: Arc<Breaker>) -> Self {
        self.breaker = breaker;
        self
    }

    /// Has somebody told of each stream that begins.
    pub fn with_watcher(mut self, watcher: impl Watcher + 'static) -> Self {
        // Nobody has it yet.
        if let Some(watchers) = Arc::get_mut(&mut self.watchers) {
            watchers.push(Box::new(watcher));
        }
        self
    }

    /// Lets in who has one of these passes.
    pub fn with_passes(mut self, passes: Arc<Passes>) -> Self {
        self.passes = passes;
        self
    }

    /// Has the journeys of clients traced.
    pub fn with_tracer(mut self, tracer: Arc<Tracer>) -> Self {
        self.tracer = tracer;
        self
    }

    /// Whether there is what a configuration wants clients to be judged by. To be asked before it is put in force.
    ///
    /// # Errors
    /// What is missing, or is not what it should be.
    pub fn check(config: &Config) -> Result<(), String> {
        token::check_keys(config)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The vhost that serves requests for `name`: the one of that name, else the default one.
    pub fn vhost(&self, name: &str) -> Result<Arc<Vhost>, Refused> {
        self.config.load().vhost(name).cloned().ok_or_else(|| Refused::NoVhost(name.to_owned()))
    }

    /// Follows another configuration from now on. Who is there already learns of it: clients of vhosts that are gone are sent away, and
    /// what goes for those that have changed is told to their clients and to the watchers.
    pub fn turn(&self, config: Arc<Config>) {
        let before = self.config.swap(config.clone());
        self.book.turn(&config);
        self.proofs.forget();
        let find = |config: &Config, name: &str| config.vhosts.iter().find(|v| v.name == name).cloned();
        for broadcast in self.hub.live() {
            if let Some(vhost) = find(&config, &broadcast.key().vhost) {
                broadcast.set_rules(&rules(&vhost));
            }
        }
        for client in self.roll.clients() {
            let name = &client.stream.key.vhost;
            match find(&config, name) {
                Some(now) if now.enabled => {
                    let before = find(&before, name);
                    let changed = before.as_ref().is_none_or(|before| *before != now);
                    if changed && client.kind.is_publish() {
                        self.tell_turned(&client, before.as_deref(), &now);
                    }
                }
                now => client.session.kick(format!(
                    "vhost {name} is {}",
                    if now.is_some() { "switched off" } else { "not served any more" }
                )),
            }
        }
    }

    /// A stream as watchers get to see it.
    fn published(&self, client: &Arc<Client>, broadcast: Arc<Broadcast>, vhost: Arc<Vhost>) -> Published {
        let reporter = self.hooks.as_ref().zip(vhost.hooks.as_ref());
        let reporter = reporter.map(|(hooks, config)| hooks.reporter(config, client));
        let (session, client) = (client.session.clone(), client.clone());
        Published { broadcast, vhost, session, client, reporter, forward_to: None }
    }

    fn tell_turned(&self, publisher: &Arc<Client>, before: Option<&Vhost>, vhost: &Arc<Vhost>) {
        let Some(broadcast) = publisher.stream.broadcast() else { return };
        let stream = self.published(publisher, broadcast, vhost.clone());
        self.watchers.iter().for_each(|watcher| watcher.turned(&stream));
        // Another service is to be asked, while the stream goes on.
        let backend = |vhost: &Vhost| vhost.forward.as_ref().and_then(|forward| forward.backend.clone());
        if let (Some(hooks), Some(forward)) = (&self.hooks, &vhost.forward)
            && backend(vhost).is_some()
            && before.and_then(backend) != backend(vhost)
        {
            let (key, id) = (publisher.stream.key.clone(), publisher.stream.id.clone());
            let question = hooks.forward_to(&hooks::Who::of(publisher), forward, &key, id);
            let watchers = self.watchers.clone();
            hooks.spawn(async move {
                // What is wrong is in the log; destinations stay as they are.
                let Ok(forward_to) = question.await else { return };
                let stream = Published { forward_to: Some(forward_to), ..stream };
                if stream.broadcast.is_live() {
                    watchers.iter().for_each(|watcher| watcher.turned(&stream));
                }
            });
        }
    }

    /// Where a service wants a stream forwarded to, if there is one.
    async fn forward_to(
        &self,
        ask: &Ask<'_>,
        vhost: &Vhost,
        key: &StreamKey,
    ) -> Result<Option<Arc<[Destination]>>, Refused> {
        let backend = vhost.forward.as_ref().filter(|forward| forward.backend.is_some());
        let Some((hooks, forward)) = self.hooks.as_ref().zip(backend) else { return Ok(None) };
        let question = hooks.forward_to(&hooks::Who::asks(ask), forward, key, self.roll.stream_id(key));
        let answered = hooks.spawn(question).await;
        answered.map_err(|_| Refused::Unable("the callbacks fail".into()))?.map(Some)
    }

    /// Admits a publisher. May be dropped when the client leaves meanwhile.
    ///
    /// # Errors
    /// When it may not publish.
    pub fn publish<'a>(&'a self, mut ask: Ask<'a>) -> Decision<'a, Publishing> {
        Box::pin(async move {
            let pass = self.redeem(&mut ask);
            let (kind, journey) = (ask.kind, self.begin(&ask));
            match self.try_publish(ask, pass).await {
                Ok(mut publishing) => {
                    publishing.journey = admitted(journey, &publishing.seat, "first frame");
                    Ok(publishing)
                }
                Err(refused) => Err(self.refuse(kind, journey, refused)),
            }
        })
    }

    /// Admits a player. May be dropped when the client leaves meanwhile.
    ///
    /// # Errors
    /// When it may not play.
    pub fn play<'a>(&'a self, mut ask: Ask<'a>) -> Decision<'a, Playing> {
        Box::pin(async move {
            let pass = self.redeem(&mut ask);
            let (kind, journey) = (ask.kind, self.begin(&ask));
            match self.try_play(ask, pass).await {
                Ok(mut playing) => {
                    playing.journey = admitted(journey, &playing.seat, "first byte");
                    Ok(playing)
                }
                Err(refused) => Err(self.refuse(kind, journey, refused)),
            }
        })
    }

    /// Who was refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The session of a client ended with an error.
    pub fn count_failure(&self, session: &Session) {
        self.roll.count_failure(session);
    }

    /// Whether it has a pass.
    fn redeem(&self, ask: &mut Ask<'_>) -> bool {
        let key = self.vhost(&ask.request.vhost).ok().and_then(|vhost| key(ask, &vhost).ok());
        self.passes.redeem(&mut ask.request, key.as_ref(), ask.kind.is_publish())
    }

    fn begin(&self, ask: &Ask<'_>) -> Option<Journey> {
        self.tracer.begin(ask.session, ask.kind, &ask.request)
    }

    fn refuse(&self, kind: Kind, journey: Option<Journey>, refused: Refused) -> Refused {
        self.refusals.count(kind, &refused);
        if let Some(journey) = journey {
            journey.refuse(&refused.to_string());
        }
        refused
    }

    async fn try_publish(&self, ask: Ask<'_>, pass: bool) -> Result<Publishing, Refused> {
        let vhost = self.vhost(&ask.request.vhost)?;
        let key = key(&ask, &vhost)?;
        let admission = self.admit(&ask, &vhost, &key, pass).await?;
        let forward_to = self.forward_to(&ask, &vhost, &key).await?;
        let broadcast = self.hub.open(&key, &rules(&vhost));
        let mut publication =
            broadcast.publish().map_err(|hub::Busy| Refused::Busy(self.publisher(&broadcast)))?;
        // Who sends Opus by enhanced RTMP has players that take it; browsers send nothing else, and their players were not chosen for it.
        let speaks_rtmp = !ask.kind.is_rtc();
        let (opus_bitrate, aac_bitrate) = (vhost.rtc.opus_bitrate, vhost.rtc.aac_bitrate);
        publication.convert_with(sound::converter(sound::Wishes { opus_bitrate, aac_bitrate, speaks_rtmp }));
        let seat = self.seat(ask, &broadcast)?;
        let settings = self.book.follow(&vhost, || self.config());
        let stream = Published { forward_to, ..self.published(seat.client(), broadcast, settings.now()) };
        self.watchers.iter().for_each(|watcher| watcher.published(&stream));
        let (vhost, who) = (stream.vhost.clone(), Who::Publisher(Box::new(stream)));
        Ok(Publishing {
            _watched: Watched { watchers: self.watchers.clone(), who },
            _admission: admission,
            publication,
            meter: Meter::new(seat.client().stream.health()),
            seat,
            vhost,
            settings,
            native: false,
            roll: self.roll.clone(),
            journey: Inside::default(),
        })
    }

    async fn try_play(&self, ask: Ask<'_>, pass: bool) -> Result<Playing, Refused> {
        let vhost = self.vhost(&ask.request.vhost)?;
        let shed = self.config.load().breaker.as_ref().map_or(Shed::Never, |breaker| breaker.shed_players);
        if self.breaker.sheds(shed) {
            return Err(Refused::Unable("the server is overloaded and takes no further players".into()));
        }
        let key = key(&ask, &vhost)?;
        let admission = self.admit(&ask, &vhost, &key, pass).await?;
        let broadcast = self.hub.open(&key, &rules(&vhost));
        let seat = self.seat(ask, &broadcast)?;
        let settings = self.book.follow(&vhost, || self.config());
        let journey = Inside::default();
        // Who plays for us is no player.
        let _watched = (!pass).then(|| {
            self.watchers.iter().for_each(|watcher| watcher.played(seat.client()));
            Watched { watchers: self.watchers.clone(), who: Who::Player(seat.client().clone()) }
        });
        Ok(Playing {
            _watched,
            _admission: admission,
            broadcast,
            vhost: settings.now(),
            settings,
            ends: pass,
            seat,
            journey,
        })
    }

    /// Whether somebody may fetch a piece of a stream without being a player: what addresses and pages decide.
    ///
    /// # Errors
    /// When it may not.
    pub fn check_fetch(&self, ask: &Ask<'_>) -> Result<(), Refused> {
        check(ask, &*self.vhost(&ask.request.vhost)?)
    }

    /// Whether somebody may fetch a piece of a stream without being a player, by what it shows: [`check_fetch`](Self::check_fetch), and what
    /// players need, a token or a signed address.
    ///
    /// # Errors
    /// When it may not.
    pub async fn check_piece(&self, ask: &Ask<'_>) -> Result<(), Refused> {
        let vhost = self.vhost(&ask.request.vhost)?;
        check(ask, &vhost)?;
        self.proofs.check(self.caller.as_ref(), ask, &vhost).await.map(drop)
    }

    /// Delivers what services are still to be told, as far as that takes no longer than `limit`. To be called when all clients are gone.
    pub fn flush(&self, limit: Duration) {
        let Some(hooks) = &self.hooks else { return };
        hooks.flush(limit);
        for (action, figures) in self.figures.snapshot().filter(|(_, figures)| figures.calls > 0) {
            info!("{} was called: {figures}", action.name());
        }
    }

    /// How callbacks are doing.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Whether somebody may have what it asks for: what is decided here comes first, what others decide comes last.
    async fn admit(
        &self,
        ask: &Ask<'_>,
        vhost: &Arc<Vhost>,
        key: &StreamKey,
        pass: bool,
    ) -> Result<Box<Admission>, Refused> {
        let publishes = ask.kind.is_publish();
        // Programs of ours take nobody's place.
        let limits = if pass { &Default::default() } else { &vhost.limits };
        let seating = self.limits.enter(&vhost.name, limits, publishes, ask.address(vhost));
        let _seating = seating.map_err(Refused::Unable)?;
        let end = if pass {
            None
        } else {
            check(ask, vhost)?;
            self.proofs.check(self.caller.as_ref(), ask, vhost).await?
        };
        // Services are not asked about what cannot be; two that are asked about at once meet at the hub.
        if let Some(publisher) = self.roll.publisher(key).filter(|_| publishes) {
            return Err(Refused::Busy(Some(publisher.session.cid)));
        }
        // Services are told of streams whoever publishes them.
        let hooks = self.hooks.as_ref().filter(|_| publishes || !pass);
        let _act = match hooks.zip(vhost.hooks.as_ref()) {
            Some((hooks, config)) => Some(hooks.ask(ask, config, key, self.roll.stream_id(key)).await?),
            None => None,
        };
        let settings = publishes.then(|| self.book.follow(vhost, || self.config()));
        let _curfew = Curfew::new(self.caller.as_ref(), ask.session, settings, end);
        Ok(Box::new(Admission { _act, _seating, _curfew }))
    }

    /// The application under which a stream of this name is live in the vhost.
    pub fn app_of(&self, vhost: &Vhost, stream: &str) -> Option<String> {
        let live = self.hub.live();
        let found = live.iter().find(|b| b.key().vhost == vhost.name && b.key().stream == stream)?;
        Some(found.key().app.clone())
    }

    /// The client that publishes this stream now.
    pub fn publisher_of(&self, key: &StreamKey) -> Option<Arc<Client>> {
        self.roll.publisher(key)
    }

    /// Seats a client; not if its vhost has gone in this very moment, since nobody would send it away later.
    fn seat(&self, ask: Ask<'_>, broadcast: &Arc<Broadcast>) -> Result<Seat, Refused> {
        let Ask { session, kind, request, .. } = ask;
        let seat = self.roll.seat(Entry { session, kind, broadcast, request: Arc::new(request) });
        let name = &broadcast.key().vhost;
        let is_served = self.config.load().vhosts.iter().any(|vhost| vhost.enabled && vhost.name == *name);
        if is_served { Ok(seat) } else { Err(Refused::NoVhost(name.clone())) }
    }

    fn publisher(&self, broadcast: &Broadcast) -> Option<Cid> {
        self.roll.publisher(broadcast.key()).map(|client| client.session.cid)
    }
}

/// The stream that somebody asks for.
fn key(ask: &Ask<'_>, vhost: &Vhost) -> Result<StreamKey, Refused> {
    let Request { app, stream, .. } = &ask.request;
    if stream.is_empty() {
        return Err(Refused::Denied("the stream has no name".into()));
    }
    Ok(StreamKey { vhost: vhost.name.clone(), app: app.clone(), stream: stream.clone() })
}

/// What can be decided at once: by the address and by the page.
fn check(ask: &Ask<'_>, vhost: &Vhost) -> Result<(), Refused> {
    let publishes = ask.kind.is_publish();
    if let Some(security) = &vhost.security {
        security::check_address(security, publishes, ask.address(vhost)).map_err(Refused::Denied)?;
    }
    if let Some(refer) = &vhost.refer {
        security::check_page(refer, publishes, &ask.request.page_url).map_err(Refused::Denied)?;
    }
    Ok(())
}

/// The journey of a client inside, who waits for `moment` there.
fn admitted(journey: Option<Journey>, seat: &Seat, moment: &'static str) -> Inside {
    journey.map(|journey| journey.admit(seat.client(), moment)).unwrap_or_default()
}

/// What the vhost says about keeping a stream's past.
pub fn rules(vhost: &Vhost) -> Rules {
    Rules {
        gop_cache: vhost.play.gop_cache,
        gop_max_frames: vhost.play.gop_cache_max_frames.unwrap_or(0) as usize,
    }
}

/// The right to publish. Dropping it ends the publication and leaves the lists.
pub struct Publishing {
    _watched: Watched,
    // The first to go, so that the end is on its way to the services before the name is free for another publisher.
    _admission: Box<Admission>,
    // Before the publication, so that it has left when the next publisher comes.
    seat: Seat,
    publication: Publication,
    meter: Meter,
    vhost: Arc<Vhost>,
    settings: Settings,
    /// The publisher feeds a form with units of its own.
    native: bool,
    roll: Arc<Roll>,
    journey: Inside,
}

impl Publishing {
    /// The vhost's rules when it was admitted.
    pub fn vhost(&self) -> &Arc<Vhost> {
        &self.vhost
    }

    /// The vhost's rules, now and later.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The stream.
    pub fn broadcast(&self) -> &Arc<Broadcast> {
        self.publication.broadcast()
    }

    /// See [`Publication::tracks`].
    pub fn tracks(&mut self, tracks: Tracks) {
        self.publication.tracks(tracks);
    }

    /// See [`Publication::write`].
    pub fn write(&mut self, frame: &Frame) {
        self.journey.arrive();
        // What was fed natively has been counted, and is made into frames only where somebody wants them.
        if !self.native && frame.track.kind == MediaKind::Video {
            self.seat.client().stream.count_frame(frame.key);
        }
        if !self.native && frame.track.index == 0 {
            self.meter.pass(frame.track.kind, frame.key, frame.dts, frame.data.len());
        }
        self.publication.write(frame);
    }

    /// See [`Publication::feed_natively`].
    pub fn feed_natively<R: Remux>(&mut self) {
        self.native = true;
        self.publication.feed_natively::<R>();
    }

    /// See [`Publication::write_native`].
    pub fn write_native<R: Remux>(&mut self, units: &mut Vec<Stamped<R::Unit>>) {
        if !units.is_empty() {
            self.journey.arrive();
        }
        for unit in &*units {
            let Place::Media { track, key } = unit.place else { continue };
            if track.kind == MediaKind::Video {
                self.seat.client().stream.count_frame(key);
            }
            if track.index == 0 {
                self.meter.pass(track.kind, key, unit.time, unit.unit.payload());
            }
        }
        self.publication.write_native::<R>(units);
    }

    /// See [`Publication::on_want`].
    pub fn on_want(&mut self, bell: Bell) {
        self.publication.on_want(bell);
    }

    /// See [`Publication::frames_wanted`].
    pub fn frames_wanted(&self) -> bool {
        self.publication.frames_wanted()
    }

    /// See [`Publication::keyframe_wanted`].
    pub fn keyframe_wanted(&self) -> bool {
        self.publication.keyframe_wanted()
    }

    /// How many clients play it.
    pub fn players(&self) -> usize {
        self.roll.players(&self.seat.client().stream)
    }
}

/// The right to play. Dropping it leaves the lists.
pub struct Playing {
    _watched: Option<Watched>,
    _admission: Box<Admission>,
    /// The stream.
    pub broadcast: Arc<Broadcast>,
    /// The vhost's rules when it was admitted.
    pub vhost: Arc<Vhost>,
    /// The vhost's rules, now and later.
    pub settings: Settings,
    /// It ends with its publisher: a program of ours, which waits for no other one.
    pub ends: bool,
    seat: Seat,
    journey: Inside,
}

impl Playing {
    /// The first byte of media, to be told of by who sends it; once, and only where somebody wants to know.
    pub fn first_byte(&self) -> Option<Moment> {
        self.journey.moment()
    }
}
