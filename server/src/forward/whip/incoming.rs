//! The stream on its way to a server of WHIP: what has come and is still to be sent, and what is known of its tracks.

use std::sync::Arc;

use hub::{Broadcast, Subscription};
use media::{Kind, Micros};
use rtp::Burst;
use tokio::time::Instant;

use super::recent::Recent;
use crate::forward::source::Source;

/// See the module.
pub(super) struct Incoming {
    source: Source<Burst>,
    pub(super) recent: Recent,
    /// Kinds of which something has come.
    pub(super) seen: Vec<Kind>,
    /// When the first of it came.
    pub(super) began: Option<Instant>,
    /// Pictures are presented in another order than they come in.
    pub(super) reordered: bool,
}

impl Incoming {
    pub(super) fn new(subscription: Subscription<Burst>) -> Self {
        let source = Source::new(subscription);
        Self { source, recent: Recent::new(), seen: Vec::new(), began: None, reordered: false }
    }

    /// The stream.
    pub(super) fn broadcast(&self) -> &Arc<Broadcast> {
        self.source.broadcast()
    }

    /// Its publisher has left.
    pub(super) fn has_ended(&self) -> bool {
        self.source.has_ended()
    }

    /// Takes what is new, of which so much may wait; `waits` tells that nobody gets it yet. May be dropped.
    pub(super) async fn pull(&mut self, limit: Micros, waits: bool) {
        let Some(pulled) = self.source.pull().await else { return };
        if pulled.anew {
            self.recent.restart(pulled.missed);
        }
        self.source.init.clear();
        for unit in self.source.units.drain(..) {
            let track = unit.unit.track();
            if track.index != 0 {
                continue;
            }
            if !self.seen.contains(&track.kind) {
                self.seen.push(track.kind);
            }
            self.reordered |= track.kind == Kind::Video && unit.unit.time() != unit.time;
            self.recent.push(unit, limit, waits);
        }
        if self.began.is_none() && !self.seen.is_empty() {
            self.began = Some(Instant::now());
        }
        if !waits && self.recent.lacks_key() {
            self.broadcast().want_keyframe();
        }
    }
}
