//! The units of a stream as a forwarder gets them, until the publisher leaves whose stream it is.

use std::future::poll_fn;
use std::sync::Arc;

use hub::{Broadcast, Pulled, Subscription};
use media::{Stamped, Unit};

/// See the module.
pub(super) struct Source<U: Unit> {
    subscription: Subscription<U>,
    /// What is needed before the units.
    pub(super) init: Vec<Stamped<U>>,
    /// What has come with the last pull.
    pub(super) units: Vec<Stamped<U>>,
    /// The publisher that is followed, by count.
    generation: Option<u32>,
    left: bool,
}

impl<U: Unit> Source<U> {
    pub(super) fn new(subscription: Subscription<U>) -> Self {
        Self { subscription, init: Vec::new(), units: Vec::new(), generation: None, left: false }
    }

    /// The stream.
    pub(super) fn broadcast(&self) -> &Arc<Broadcast> {
        self.subscription.broadcast()
    }

    /// Its publisher has left; nothing more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.left
    }

    /// Waits for what is new, which the caller takes out; `None` when it is another publisher's. May be dropped.
    pub(super) async fn pull(&mut self) -> Option<Pulled> {
        let Self { subscription, init, units, .. } = self;
        let pulled = poll_fn(|cx| subscription.poll_pull(cx, 1, init, units)).await;
        if self.generation.is_some_and(|own| own != pulled.generation) {
            self.left = true;
            self.units.clear();
            return None;
        }
        self.generation = Some(pulled.generation);
        self.left = !pulled.live;
        Some(pulled)
    }
}
