//! The settings of vhosts for those who follow them while they publish or play: a reload may change them meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::{Config, Vhost};

/// One vhost's settings, now and later.
#[derive(Clone)]
pub struct Settings(watch::Receiver<Arc<Vhost>>);

impl Settings {
    /// As they are now.
    pub fn now(&self) -> Arc<Vhost> {
        self.0.borrow().clone()
    }

    /// What they are now, if they have changed since the last look.
    pub fn news(&mut self) -> Option<Arc<Vhost>> {
        self.0.has_changed().ok()?.then(|| self.0.borrow_and_update().clone())
    }

    /// Waits until they change; for ever if they do not.
    pub async fn changed(&mut self) -> Arc<Vhost> {
        if self.0.changed().await.is_err() {
            // The server is about to end.
            std::future::pending::<()>().await;
        }
        self.0.borrow_and_update().clone()
    }
}

/// All vhosts that somebody has followed.
#[derive(Default)]
pub(super) struct Book(Mutex<HashMap<String, watch::Sender<Arc<Vhost>>>>);

impl Book {
    /// Those of a vhost, from now on. `current` is asked under the lock, so that no change is missed.
    pub(super) fn follow(&self, vhost: &Arc<Vhost>, current: impl FnOnce() -> Arc<Config>) -> Settings {
        let mut book = self.0.lock();
        if let Some(known) = book.get(&vhost.name) {
            return Settings(known.subscribe());
        }
        let config = current();
        let newest = config.vhosts.iter().find(|other| other.name == vhost.name).unwrap_or(vhost);
        let (sender, receiver) = watch::channel(newest.clone());
        book.insert(vhost.name.clone(), sender);
        Settings(receiver)
    }

    /// Tells those who follow a vhost that has changed. One that is gone keeps its last settings for who is still there.
    pub(super) fn turn(&self, config: &Config) {
        let mut book = self.0.lock();
        book.retain(|name, sender| {
            let newest = config.vhosts.iter().find(|vhost| vhost.name == *name);
            if let Some(newest) = newest {
                sender.send_if_modified(|known| {
                    let differs = **known != **newest;
                    *known = newest.clone();
                    differs
                });
            }
            newest.is_some() || sender.receiver_count() > 0
        });
    }
}
