//! A form at work: the remuxer of one form of one stream, and the lane that it fills. Which forms there are, and what they are fed with, is the broadcast's
//! business.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;

use media::{Frame, Micros, Remux, Stamped, Tracks};
use parking_lot::Mutex;

use crate::Rules;
use crate::lane::Lane;

/// A form that nobody has read for this long, in media time, is dropped; a reader that comes back sooner finds it warm.
const GRACE: Micros = Micros::from_secs(10);

/// A form at work, whatever its unit is.
pub(crate) trait Form: Any + Send {
    fn tracks(&mut self, tracks: &Tracks, wakers: &mut Vec<Waker>);
    /// `false` when the form has been without readers for too long.
    fn frame(&mut self, frame: &Frame, wakers: &mut Vec<Waker>) -> bool;
    fn turn(&mut self, live: bool, wakers: &mut Vec<Waker>);
    fn set_rules(&mut self, rules: &Rules);
    /// Whether it stays without readers.
    fn keep(&mut self, kept: bool);
    fn followers(&self) -> usize;
    fn lane(&self) -> Arc<dyn Any + Send + Sync>;
}

pub(crate) struct Running<R: Remux> {
    remux: R,
    lane: Arc<Mutex<Lane<R::Unit>>>,
    made: Vec<Stamped<R::Unit>>,
    idle_since: Option<Micros>,
    kept: bool,
}

impl<R: Remux> Running<R> {
    pub(crate) fn new(remux: R, rules: Rules, live: bool) -> Self {
        let lane = Arc::new(Mutex::new(Lane::new(rules, remux.history(), live)));
        Self { remux, lane, made: Vec::new(), idle_since: None, kept: false }
    }

    /// Appends units, whoever made them; `false` when the form has been without readers for too long.
    pub(crate) fn push(
        &mut self,
        now: Micros,
        units: &mut Vec<Stamped<R::Unit>>,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let mut lane = self.lane.lock();
        lane.push(units, wakers);
        if lane.followers() > 0 || self.kept {
            self.idle_since = None;
            return true;
        }
        let since = *self.idle_since.get_or_insert(now);
        // A clock that jumped back starts the grace anew.
        if now < since {
            self.idle_since = Some(now);
        }
        now - since < GRACE
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
        let mut made = std::mem::take(&mut self.made);
        let stays = self.push(frame.dts, &mut made, wakers);
        self.made = made;
        stays
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

    fn lane(&self) -> Arc<dyn Any + Send + Sync> {
        self.lane.clone()
    }
}
