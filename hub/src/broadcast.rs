//! Broadcasts: the streams of this server, each with at most one publisher.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use media::{Frame, Kind, Remux, Sound, Stamped, Tracks};
use parking_lot::Mutex;

use crate::convert::{Conversions, Converter};
use crate::form::{Form, Running};
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
    conversions: Conversions,
    forms: Vec<Slot>,
    /// The forms which the publisher feeds with units of its own.
    native: Vec<TypeId>,
    bell: Option<Bell>,
}

/// A form with what decides how it is fed.
struct Slot {
    id: TypeId,
    sound: Sound,
    /// The publisher feeds it with units of its own.
    native: bool,
    form: Box<dyn Form>,
}

impl State {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            publishing: false,
            tracks: Arc::default(),
            seen: Vec::new(),
            gop: Gop::default(),
            conversions: Conversions::default(),
            forms: Vec::new(),
            native: Vec::new(),
            bell: None,
        }
    }

    /// The form; it is made if it is not there, and fed from the GOP cache if it is made of frames.
    fn form<R: Remux>(&mut self, make: impl FnOnce() -> R) -> &mut Slot {
        let id = TypeId::of::<R>();
        let at = self.forms.iter().position(|slot| slot.id == id).unwrap_or_else(|| {
            let remux = make();
            let (sound, native) = (remux.sound(), self.native.contains(&id));
            let form = Running::new(remux, self.rules.clone(), self.publishing);
            self.forms.push(Slot { id, sound, native, form: Box::new(form) });
            self.start(self.forms.len() - 1);
            self.forms.len() - 1
        });
        &mut self.forms[at]
    }

    fn start(&mut self, at: usize) {
        let Slot { sound, native, form, .. } = &mut self.forms[at];
        let mut nobody = Vec::new();
        if *native {
            form.tracks(&self.tracks, &mut nobody);
            return;
        }
        self.conversions.start(*sound, &self.tracks, &self.gop, &self.rules);
        let (tracks, frames) = match self.conversions.find(*sound) {
            Some(conversion) => (conversion.tracks(), conversion.gop()),
            None => (&*self.tracks, self.gop.frames()),
        };
        form.tracks(tracks, &mut nobody);
        for frame in frames {
            form.frame(frame, &mut nobody);
        }
    }

    /// Tells every form what the stream consists of.
    fn tell_tracks(&mut self, wakers: &mut Vec<Waker>) {
        let sounds = self.forms.iter().filter(|slot| !slot.native).map(|slot| slot.sound);
        self.conversions.tracks(sounds, &self.tracks, &self.gop);
        for Slot { sound, native, form, .. } in &mut self.forms {
            let conversion = self.conversions.find(*sound).filter(|_| !*native);
            form.tracks(conversion.map_or(&self.tracks, |conversion| conversion.tracks()), wakers);
        }
    }

    fn write(&mut self, frame: &Frame, wakers: &mut Vec<Waker>) {
        if !self.seen.contains(&frame.track.kind) {
            self.seen.push(frame.track.kind);
        }
        self.gop.push(frame, &self.rules);
        self.conversions.frame(frame, &self.rules);
        let before = self.forms.len();
        self.forms.retain_mut(|Slot { sound, native, form, .. }| match self.conversions.find(*sound) {
            _ if *native => true,
            Some(conversion) => conversion.frames().iter().all(|frame| form.frame(frame, wakers)),
            None => form.frame(frame, wakers),
        });
        if self.forms.len() < before {
            self.settle();
        }
    }

    /// A form is gone, or is fed in another way now.
    fn settle(&mut self) {
        let framed = || self.forms.iter().filter(|slot| !slot.native);
        self.conversions.retain(|sound| framed().any(|slot| slot.sound == sound));
        // The publisher need not write frames now, so that what comes later would not follow those kept.
        if !self.native.is_empty() && framed().next().is_none() {
            self.gop.clear();
        }
    }

    /// There is something for the publisher to know, unless there was a reader before.
    fn bell_if_first(&self, followers: usize) -> Option<Bell> {
        self.bell.clone().filter(|_| followers == 0)
    }
}

/// Rung when the publisher should look what is wanted. It is called from any thread and must not wait.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

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

    /// The publisher feeds this form with units of its own.
    pub fn is_native<R: Remux>(&self) -> bool {
        self.state.lock().native.contains(&TypeId::of::<R>())
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
        state.forms.retain(|slot| slot.form.followers() > 0);
        for slot in &mut state.forms {
            slot.form.turn(true, &mut wakers);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(Publication { broadcast: self.clone(), wakers: Vec::new() })
    }

    /// Follows one form of it. The form is made if nobody reads it yet, and fed from the GOP cache if it is made of frames.
    pub fn subscribe<R: Remux>(self: &Arc<Self>, make: impl FnOnce() -> R) -> Subscription<R::Unit> {
        let mut state = self.state.lock();
        let slot = state.form(make);
        let followers = slot.form.followers();
        let lane = slot.form.lane().downcast::<Mutex<Lane<R::Unit>>>();
        let lane = lane.unwrap_or_else(|_| unreachable!("a form is found by the type that made it"));
        let subscription = Subscription::new(lane, self.clone());
        let bell = state.bell_if_first(followers);
        drop(state);
        ring(bell);
        subscription
    }

    /// Makes a form now and keeps it, with the past that it gives to joiners, until the publisher leaves: whoever comes first
    /// finds it warm.
    pub fn keep<R: Remux>(&self, make: impl FnOnce() -> R) {
        let mut state = self.state.lock();
        let slot = state.form(make);
        slot.form.keep(true);
        let followers = slot.form.followers();
        let bell = state.bell_if_first(followers);
        drop(state);
        ring(bell);
    }

    /// Asks the publisher for a keyframe; protocols that can will ask the encoder.
    pub fn want_keyframe(&self) {
        if !self.keyframe_wanted.swap(true, Ordering::Relaxed) {
            let bell = self.state.lock().bell.clone();
            ring(bell);
        }
    }

    /// Ends a form: who follows it gets nothing more of it, and who subscribes next gets one that is made anew.
    pub fn retire<R: Remux>(&self) {
        let id = TypeId::of::<R>();
        let state = &mut *self.state.lock();
        state.forms.retain(|slot| slot.id != id);
        state.settle();
    }

    /// What is kept of its past from now on.
    pub fn set_rules(&self, rules: &Rules) {
        let mut state = self.state.lock();
        if state.rules != *rules {
            state.rules = rules.clone();
            for slot in &mut state.forms {
                slot.form.set_rules(rules);
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

    /// How the sound becomes what a form takes. To be said before the first tracks.
    pub fn convert_with(&mut self, converter: Converter) {
        self.broadcast.state.lock().conversions.set_converter(converter);
    }

    /// From now on the form comes by [`Publication::write_native`] and is not made of frames. To be said before the first frame.
    pub fn feed_natively<R: Remux>(&mut self) {
        let state = &mut *self.broadcast.state.lock();
        let id = TypeId::of::<R>();
        state.native.push(id);
        state.forms.iter_mut().filter(|slot| slot.id == id).for_each(|slot| slot.native = true);
        state.settle();
    }

    /// Has a bell rung when frames, native units or a keyframe may have become wanted.
    pub fn on_want(&mut self, bell: Bell) {
        self.broadcast.state.lock().bell = Some(bell);
    }

    /// Says what the stream consists of, or that it changed.
    pub fn tracks(&mut self, tracks: Tracks) {
        {
            let state = &mut *self.broadcast.state.lock();
            state.tracks = Arc::new(tracks);
            state.tell_tracks(&mut self.wakers);
        }
        self.ring();
    }

    /// Writes a frame to all who read. Never waits for a reader.
    pub fn write(&mut self, frame: &Frame) {
        self.broadcast.state.lock().write(frame, &mut self.wakers);
        self.ring();
    }

    /// Writes units of a form of which [`Publication::feed_natively`] was said, and empties the vector. Without readers they are lost.
    pub fn write_native<R: Remux>(&mut self, units: &mut Vec<Stamped<R::Unit>>) {
        {
            let state = &mut *self.broadcast.state.lock();
            let id = TypeId::of::<R>();
            if let Some(now) = units.last().map(|unit| unit.time)
                && let Some(at) = state.forms.iter().position(|slot| slot.id == id && slot.native)
            {
                let form: &mut dyn Any = &mut *state.forms[at].form;
                let running = form.downcast_mut::<Running<R>>();
                if running.is_some_and(|running| !running.push(now, units, &mut self.wakers)) {
                    state.forms.remove(at);
                }
            }
        }
        units.clear();
        self.ring();
    }

    /// There is a form that is made of frames: somebody reads it, has read it a moment ago, or has it kept.
    pub fn frames_wanted(&self) -> bool {
        self.broadcast.state.lock().forms.iter().any(|slot| !slot.native)
    }

    /// There is a form that is fed natively.
    pub fn native_wanted(&self) -> bool {
        self.broadcast.state.lock().forms.iter().any(|slot| slot.native)
    }

    /// A reader has asked for a keyframe since the last call.
    pub fn keyframe_wanted(&self) -> bool {
        self.broadcast.keyframe_wanted.swap(false, Ordering::Relaxed)
    }

    fn ring(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

fn ring(bell: Option<Bell>) {
    if let Some(bell) = bell {
        bell();
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        {
            let state = &mut *self.broadcast.state.lock();
            state.publishing = false;
            state.gop.clear();
            state.conversions.clear();
            state.native.clear();
            state.bell = None;
            state.tracks = Arc::default();
            for slot in &mut state.forms {
                slot.native = false;
                slot.form.tracks(&state.tracks, &mut self.wakers);
                slot.form.turn(false, &mut self.wakers);
                slot.form.keep(false);
            }
            state.forms.retain(|slot| slot.form.followers() > 0);
        }
        self.ring();
    }
}
