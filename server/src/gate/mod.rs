//! The one door. Every protocol asks here before any media flows; vhost rules, limits, security, tokens, callbacks and
//! cluster look-up live behind it and nowhere else, in this order. What it hands out is released by `Drop`, so that no path forgets.

mod refusals;
mod settings;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hub::{Bell, Broadcast, Hub, Publication, Rules, StreamKey};
use media::{Frame, Kind as MediaKind, Place, Remux, Stamped, Tracks};

use crate::config::{Config, Vhost};
use crate::session::{Cid, Client, Entry, Kind, Request, Roll, Seat, Session};
use crate::sound;
use crate::trace::{Inside, Journey, Moment, Tracer};

pub use refusals::Refusals;
pub use settings::Settings;

use settings::Book;

/// Somebody wants to publish or play.
pub struct Ask<'a> {
    /// Who.
    pub session: &'a Arc<Session>,
    /// To do what.
    pub kind: Kind,
    /// With what.
    pub request: Request,
}

/// Why somebody may not. Each protocol says it in its own tongue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such vhost, or it is switched off.
    NoVhost(String),
    /// Another client publishes this stream.
    Busy(Option<Cid>),
    /// The request cannot be granted as it stands; the reason.
    Denied(String),
}

impl Refused {
    /// The reason in one word, for those who count.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoVhost(_) => "no_vhost",
            Self::Busy(_) => "busy",
            Self::Denied(_) => "denied",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVhost(name) => write!(f, "vhost {name} is not served here"),
            Self::Busy(Some(cid)) => write!(f, "stream busy: client {cid} publishes it already"),
            Self::Busy(None) => f.write_str("stream busy: another client publishes it already"),
            Self::Denied(reason) => f.write_str(reason),
        }
    }
}

/// Somebody who has work to do with every stream: segments it, records it, forwards it.
pub trait Watcher: Send + Sync {
    /// A publisher was admitted and has not sent a frame yet. Must not wait.
    fn published(&self, stream: &Published);

    /// The settings of a published stream's vhost have changed. Must not wait.
    fn turned(&self, _stream: &Published) {}
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
}

/// See the module.
pub struct Gate {
    config: ArcSwap<Config>,
    book: Book,
    hub: Hub,
    roll: Arc<Roll>,
    refusals: Refusals,
    tracer: Arc<Tracer>,
    watchers: Vec<Box<dyn Watcher>>,
}

impl Gate {
    /// A gate that follows this configuration.
    pub fn new(config: Arc<Config>, roll: Arc<Roll>) -> Self {
        let (config, book) = (ArcSwap::new(config), Book::default());
        Self {
            config,
            book,
            hub: Hub::default(),
            roll,
            refusals: Refusals::default(),
            tracer: Arc::default(),
            watchers: Vec::new(),
        }
    }

    /// Has somebody told of each stream that begins.
    pub fn with_watcher(mut self, watcher: impl Watcher + 'static) -> Self {
        self.watchers.push(Box::new(watcher));
        self
    }

    /// Has the journeys of clients traced.
    pub fn with_tracer(mut self, tracer: Arc<Tracer>) -> Self {
        self.tracer = tracer;
        self
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
                    let changed = find(&before, name).is_none_or(|before| before != now);
                    if changed && client.kind.is_publish() {
                        self.tell_turned(&client, &now);
                    }
                }
                now => client.session.kick(format!(
                    "vhost {name} is {}",
                    if now.is_some() { "switched off" } else { "not served any more" }
                )),
            }
        }
    }

    fn tell_turned(&self, publisher: &Client, vhost: &Arc<Vhost>) {
        let Some(broadcast) = publisher.stream.broadcast() else { return };
        let stream = Published { broadcast, vhost: vhost.clone(), session: publisher.session.clone() };
        self.watchers.iter().for_each(|watcher| watcher.turned(&stream));
    }

    /// Admits a publisher.
    ///
    /// # Errors
    /// When it may not publish.
    pub async fn publish(&self, ask: Ask<'_>) -> Result<Publishing, Refused> {
        let (kind, journey) = (ask.kind, self.begin(&ask));
        match self.try_publish(ask).await {
            Ok(mut publishing) => {
                publishing.journey = admitted(journey, &publishing.seat, "first frame");
                Ok(publishing)
            }
            Err(refused) => Err(self.refuse(kind, journey, refused)),
        }
    }

    /// Admits a player.
    ///
    /// # Errors
    /// When it may not play.
    pub async fn play(&self, ask: Ask<'_>) -> Result<Playing, Refused> {
        let (kind, journey) = (ask.kind, self.begin(&ask));
        match self.try_play(ask).await {
            Ok(mut playing) => {
                playing.journey = admitted(journey, &playing.seat, "first byte");
                Ok(playing)
            }
            Err(refused) => Err(self.refuse(kind, journey, refused)),
        }
    }

    /// Who was refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The session of a client ended with an error.
    pub fn count_failure(&self, session: &Session) {
        self.roll.count_failure(session);
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

    async fn try_publish(&self, ask: Ask<'_>) -> Result<Publishing, Refused> {
        let vhost = self.vhost(&ask.request.vhost)?;
        let broadcast = self.open(&ask, &vhost)?;
        let mut publication =
            broadcast.publish().map_err(|hub::Busy| Refused::Busy(self.publisher(&broadcast)))?;
        // Who sends Opus by enhanced RTMP has players that take it; browsers send nothing else, and their players were not chosen for it.
        let aac_bitrate = (ask.kind == Kind::RtcPublish).then_some(vhost.rtc.aac_bitrate);
        publication.convert_with(sound::converter(vhost.rtc.opus_bitrate, aac_bitrate));
        let seat = self.seat(ask, &broadcast)?;
        let settings = self.book.follow(&vhost, || self.config());
        let stream = Published { broadcast, vhost: settings.now(), session: seat.client().session.clone() };
        self.watchers.iter().for_each(|watcher| watcher.published(&stream));
        Ok(Publishing {
            publication,
            seat,
            vhost: stream.vhost,
            settings,
            native: false,
            roll: self.roll.clone(),
            journey: Inside::default(),
        })
    }

    async fn try_play(&self, ask: Ask<'_>) -> Result<Playing, Refused> {
        let vhost = self.vhost(&ask.request.vhost)?;
        let broadcast = self.open(&ask, &vhost)?;
        let seat = self.seat(ask, &broadcast)?;
        let settings = self.book.follow(&vhost, || self.config());
        Ok(Playing { broadcast, vhost: settings.now(), settings, seat, journey: Inside::default() })
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

    fn open(&self, ask: &Ask<'_>, vhost: &Vhost) -> Result<Arc<Broadcast>, Refused> {
        let Request { app, stream, .. } = &ask.request;
        if stream.is_empty() {
            return Err(Refused::Denied("the stream has no name".into()));
        }
        let key = StreamKey { vhost: vhost.name.clone(), app: app.clone(), stream: stream.clone() };
        Ok(self.hub.open(&key, &rules(vhost)))
    }

    /// Seats a client; not if its vhost has gone in this very moment, since nobody would send it away later.
    fn seat(&self, ask: Ask<'_>, broadcast: &Arc<Broadcast>) -> Result<Seat, Refused> {
        let Ask { session, kind, request } = ask;
        let seat = self.roll.seat(Entry { session, kind, broadcast, request: Arc::new(request) });
        let name = &broadcast.key().vhost;
        let is_served = self.config.load().vhosts.iter().any(|vhost| vhost.enabled && vhost.name == *name);
        if is_served { Ok(seat) } else { Err(Refused::NoVhost(name.clone())) }
    }

    fn publisher(&self, broadcast: &Broadcast) -> Option<Cid> {
        self.roll.publisher(broadcast.key()).map(|client| client.session.cid)
    }
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
    publication: Publication,
    seat: Seat,
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
            if let Place::Media { track, key } = unit.place
                && track.kind == MediaKind::Video
            {
                self.seat.client().stream.count_frame(key);
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
    /// The stream.
    pub broadcast: Arc<Broadcast>,
    /// The vhost's rules when it was admitted.
    pub vhost: Arc<Vhost>,
    /// The vhost's rules, now and later.
    pub settings: Settings,
    seat: Seat,
    journey: Inside,
}

impl Playing {
    /// The first byte of media, to be told of by who sends it; once, and only where somebody wants to know.
    pub fn first_byte(&self) -> Option<Moment> {
        self.journey.moment()
    }
}
