//! Broadcasts: the streams of this server, each with at most one publisher.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use media::{Frame, Kind, Micros, Remux, Stamped, Tracks};
use parking_lot::Mutex;

use crate::gop::Gop;
use crate::lane::{Lane, Subscription};

/// Names a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The virtual host as the configuration spells it.
    pub vhost: String,
    /// The application; may contain slashes.
    pub app: String,
    /// The stream's name.
    pub stream: String,
}

impl StreamKey {
    /// The name of the vhost that stands for all others.
    pub const DEFAULT_VHOST: &'static str = "__defaultVhost__";
}

/// `/app/stream` in the default vhost, `vhost/app/stream` in the others.
impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vhost = if self.vhost == Self::DEFAULT_VHOST { "" } else { &self.vhost };
        write!(f, "{vhost}/{}/{}", self.app, self.stream)
    }
}

/// What the configuration says about keeping a stream's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Keep the frames since the last keyframe, so that a late joiner sees a picture at once.
    pub gop_cache: bool,
    /// The cache is emptied when it would hold more frames than this; 0 is no limit.
    pub gop_max_frames: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { gop_cache: true, gop_max_frames: 2500 }
    }
}

/// Somebody publishes this stream already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is being published by another client")]
pub struct Busy;

type Streams = Mutex<HashMap<StreamKey, Weak<Broadcast>>>;

/// All streams that somebody publishes or waits for. A stream without either is forgotten at once.
#[derive(Default)]
pub struct Hub {
    streams: Arc<Streams>,
}

impl Hub {
    /// The broadcast of this name, made if it is not there yet.
    pub fn open(&self, key: &StreamKey, rules: &Rules) -> Arc<Broadcast> {
        let mut streams = self.streams.lock();
        if let Some(found) = streams.get(key).and_then(Weak::upgrade) {
            drop(streams);
            found.set_rules(rules);
            return found;
        }
        let made = Arc::new(Broadcast {
            key: key.clone(),
            state: Mutex::new(State::new(rules.clone())),
            keyframe_wanted: AtomicBool::new(false),
            home: Arc::downgrade(&self.streams),
        });
        streams.insert(key.clone(), Arc::downgrade(&made));
        made
    }

    /// The broadcast of this name, if there is one.
    pub fn find(&self, key: &StreamKey) -> Option<Arc<Broadcast>> {
        self.streams.lock().get(key).and_then(Weak::upgrade)
    }

    /// All broadcasts, published or only waited for.
    pub fn live(&self) -> Vec<Arc<Broadcast>> {
        self.streams.lock().values().filter_map(Weak::upgrade).collect()
    }
}

/// One stream: where its publisher writes and its readers subscribe.
pub struct Broadcast {
    key: StreamKey,
    state: Mutex<State>,
    keyframe_wanted: AtomicBool,
    home: Weak<Streams>,
}

struct State {
    rules: Rules,
    publishing: bool,
    tracks: Arc<Tracks>,
    /// Kinds of which the publisher has sent a frame.
    seen: Vec<Kind>,
    gop: Gop,
    forms: Vec<(TypeId, Box<dyn Form>)>,
}

impl State {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            publishing: false,
            tracks: Arc::default(),
            seen: Vec::new(),
            gop: Gop::default(),
            forms: Vec::new(),
        }
    }
}

impl State {
    /// Where the form stands; it is made and fed from the GOP cache if it is not there.
    fn form<R: Remux>(&mut self, make: impl FnOnce() -> R) -> usize {
        let id = TypeId::of::<R>();
        self.forms.iter().position(|(form, _)| *form == id).unwrap_or_else(|| {
            let mut form = Running::new(make(), self.rules.clone(), self.publishing);
            form.tracks(&self.tracks, &mut Vec::new());
            for frame in self.gop.frames() {
                form.frame(frame, &mut Vec::new());
            }
            self.forms.push((id, Box::new(form)));
            self.forms.len() - 1
        })
    }
}

impl Broadcast {
    /// Its name.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// What it consists of at this moment; empty while nobody publishes.
    pub fn tracks(&self) -> Arc<Tracks> {
        self.state.lock().tracks.clone()
    }

    /// The publisher, or the last one if it has left, has sent a frame of this kind. A track may be announced and never carry one.
    pub fn carries(&self, kind: Kind) -> bool {
        self.state.lock().seen.contains(&kind)
    }

    /// Somebody publishes it.
    pub fn is_live(&self) -> bool {
        self.state.lock().publishing
    }

    /// Makes the caller its publisher until the [`Publication`] is dropped.
    pub fn publish(self: &Arc<Self>) -> Result<Publication, Busy> {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        if state.publishing {
            return Err(Busy);
        }
        state.publishing = true;
        state.seen.clear();
        // What nobody reads any more was made as somebody wanted it for the publisher before.
        state.forms.retain(|(_, form)| form.followers() > 0);
        for (_, form) in &mut state.forms {
            form.turn(true, &mut wakers);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(Publication { broadcast: self.clone(), wakers: Vec::new() })
    }

    /// Follows one form of it. The form is made and fed from the GOP cache if nobody reads it yet.
    pub fn subscribe<R: Remux>(self: &Arc<Self>, make: impl FnOnce() -> R) -> Subscription<R::Unit> {
        let state = &mut *self.state.lock();
        let at = state.form(make);
        let lane = state.forms[at].1.lane().downcast::<Mutex<Lane<R::Unit>>>();
        let lane = lane.unwrap_or_else(|_| unreachable!("a form is found by the type that made it"));
        Subscription::new(lane, self.clone())
    }

    /// Makes a form now and keeps it, with the past that it gives to joiners, until the publisher leaves: whoever comes first
    /// finds it warm.
    pub fn keep<R: Remux>(&self, make: impl FnOnce() -> R) {
        let state = &mut *self.state.lock();
        let at = state.form(make);
        state.forms[at].1.keep(true);
    }

    /// Asks the publisher for a keyframe; protocols that can will ask the encoder.
    pub fn want_keyframe(&self) {
        self.keyframe_wanted.store(true, Ordering::Relaxed);
    }

    fn set_rules(&self, rules: &Rules) {
        let mut state = self.state.lock();
        if state.rules != *rules {
            state.rules = rules.clone();
            for (_, form) in &mut state.forms {
                form.set_rules(rules);
            }
        }
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut streams = home.lock();
        // A successor of the same name may stand there already.
        if streams.get(&self.key).is_some_and(|b| b.strong_count() == 0) {
            streams.remove(&self.key);
        }
    }
}

/// The right to publish a stream, and the hand that writes it.
pub struct Publication {
    broadcast: Arc<Broadcast>,
    wakers: Vec<Waker>,
}

impl Publication {
    /// The stream.
    pub fn broadcast(&self) -> &Arc<Broadcast> {
        &self.broadcast
    }

    /// Says what the stream consists of, or that it changed.
    pub fn tracks(&mut self, tracks: Tracks) {
        {
            let state = &mut *self.broadcast.state.lock();
            state.tracks = Arc::new(tracks);
            for (_, form) in &mut state.forms {
                form.tracks(&state.tracks, &mut self.wakers);
            }
        }
        self.ring();
    }

    /// Writes a frame to all who read. Never waits for a reader.
    pub fn write(&mut self, frame: &Frame) {
        {
            let state = &mut *self.broadcast.state.lock();
            if !state.seen.contains(&frame.track.kind) {
                state.seen.push(frame.track.kind);
            }
            state.gop.push(frame, &state.rules);
            state.forms.retain_mut(|(_, form)| form.frame(frame, &mut self.wakers));
        }
        self.ring();
    }

    /// Somebody reads a form that is made of frames.
    pub fn frames_wanted(&self) -> bool {
        self.broadcast.state.lock().forms.iter().any(|(_, form)| form.followers() > 0)
    }

    /// A reader has asked for a keyframe since the last call.
    pub fn keyframe_wanted(&self) -> bool {
        self.broadcast.keyframe_wanted.swap(false, Ordering::Relaxed)
    }

    fn ring(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        {
            let state = &mut *self.broadcast.state.lock();
            state.publishing = false;
            state.gop.clear();
            state.tracks = Arc::default();
            for (_, form) in &mut state.forms {
                form.tracks(&state.tracks, &mut self.wakers);
                form.turn(false, &mut self.wakers);
                form.keep(false);
            }
            state.forms.retain(|(_, form)| form.followers() > 0);
        }
        self.ring();
    }
}

/// A form that nobody has read for this long, in media time, is dropped; a reader that comes back sooner finds it warm.
const GRACE: Micros = Micros::from_secs(10);

/// A form at work, whatever its unit is.
trait Form: Send {
    fn tracks(&mut self, tracks: &Tracks, wakers: &mut Vec<Waker>);
    /// `false` when the form has been without readers for too long.
    fn frame(&mut self, frame: &Frame, wakers: &mut Vec<Waker>) -> bool;
    fn turn(&mut self, live: bool, wakers: &mut Vec<Waker>);
    fn set_rules(&mut self, rules: &Rules);
    /// Whether it stays without readers.
    fn keep(&mut self, kept: bool);
    fn followers(&self) -> usize;
    fn lane(&self) -> Arc<dyn std::any::Any + Send + Sync>;
}

struct Running<R: Remux> {
    remux: R,
    lane: Arc<Mutex<Lane<R::Unit>>>,
    made: Vec<Stamped<R::Unit>>,
    idle_since: Option<Micros>,
    kept: bool,
}

impl<R: Remux> Running<R> {
    fn new(remux: R, rules: Rules, live: bool) -> Self {
        let lane = Arc::new(Mutex::new(Lane::new(rules, remux.history(), live)));
        Self { remux, lane, made: Vec::new(), idle_since: None, kept: false }
    }
}

impl<R: Remux> Form for Running<R> {
    fn tracks(&mut self, tracks: &Tracks, wakers: &mut Vec<Waker>) {
        self.remux.tracks(tracks, &mut self.made);
        self.lane.lock().push(&mut self.made, wakers);
    }

    fn frame(&mut self, frame: &Frame, wakers: &mut Vec<Waker>) -> bool {
        self.remux.frame(frame, &mut self.made);
        // Forms that gather frames have nothing to tell most of the time.
        if self.made.is_empty() && self.idle_since.is_none() {
            return true;
        }
        let mut lane = self.lane.lock();
        lane.push(&mut self.made, wakers);
        if lane.followers() > 0 || self.kept {
            self.idle_since = None;
            return true;
        }
        let since = *self.idle_since.get_or_insert(frame.dts);
        // A clock that jumped back starts the grace anew.
        if frame.dts < since {
            self.idle_since = Some(frame.dts);
        }
        frame.dts - since < GRACE
    }

    fn turn(&mut self, live: bool, wakers: &mut Vec<Waker>) {
        self.lane.lock().turn(live, wakers);
    }

    fn set_rules(&mut self, rules: &Rules) {
        self.lane.lock().set_rules(rules);
    }

    fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    fn followers(&self) -> usize {
        self.lane.lock().followers()
    }

    fn lane(&self) -> Arc<dyn std::any::Any + Send + Sync> {
        self.lane.clone()
    }
}
