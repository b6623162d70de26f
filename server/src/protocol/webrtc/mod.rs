//! WebRTC: offers come by HTTP and are admitted by the gate; media comes and goes on one UDP port that all cores share, or over TCP.
//!
//! A session belongs to the core that gets its first connectivity check. What other cores get of it, they hand over.

pub mod agreements;
mod audience;
mod candidates;
pub mod floor;
pub mod lobby;
mod peer;
mod player;
mod publisher;
pub mod signalling;
pub mod tcp;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, warn};

use agreements::Agreements;
pub use candidates::Ports;
pub use floor::{Floor, Message};
use lobby::{Lobby, NoRestart, Restart};

use crate::breaker::Breaker;
use crate::log;

/// What all cores share.
pub struct Service {
    /// Sessions by name.
    pub lobby: Arc<Lobby>,
    /// What publishers are about to send.
    pub agreements: Arc<Agreements>,
    /// How a core is told something, by its index.
    inboxes: Vec<mpsc::Sender<Message>>,
    /// What is left undone under overload.
    breaker: Arc<Breaker>,
    /// Where opened packets are copied to.
    black_hole: Option<SocketAddr>,
}

impl Service {
    /// For so many cores; with what each of them is told by the others.
    pub fn new(
        lobby: Arc<Lobby>,
        cores: usize,
        breaker: Arc<Breaker>,
        black_hole: Option<SocketAddr>,
    ) -> (Self, Vec<mpsc::Receiver<Message>>) {
        let (inboxes, receivers) = (0..cores).map(|_| mpsc::channel(floor::INBOX)).unzip();
        (Self { lobby, agreements: Arc::default(), inboxes, breaker, black_hole }, receivers)
    }

    /// Tells a core something. One that does not keep up misses it, as on a network; then this is `false`.
    fn tell(&self, core: usize, message: Message) -> bool {
        let told = self.inboxes.get(core).is_some_and(|inbox| inbox.try_send(message).is_ok());
        if !told {
            debug!("core {core} does not keep up, something is lost");
        }
        told
    }

    /// ICE of the session of this first name starts again.
    ///
    /// # Errors
    /// As of [`Lobby::restart`].
    fn restart(&self, ufrag: &str, restart: Restart) -> Result<(), NoRestart> {
        match self.lobby.restart(ufrag, &restart)? {
            Some(core) if !self.tell(core, Message::Restart { ufrag: ufrag.to_owned(), restart }) => {
                Err(NoRestart::Busy)
            }
            _ => Ok(()),
        }
    }
}

/// Takes out guests who never came, as long as there is the lobby.
pub async fn sweep(lobby: Weak<Lobby>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(lobby) = lobby.upgrade() else { return };
        for known in lobby.sweep(Instant::now()) {
            log::span(known.session.cid).in_scope(|| {
                warn!(
                    "no connectivity check came in time; is the UDP port open? peer={}",
                    known.session.peer
                );
            });
        }
    }
}
