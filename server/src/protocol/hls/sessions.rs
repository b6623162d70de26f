//! Players of HLS. Each comes with many requests on many connections; what ties them together is a name in the query, `hls_ctx`, which is also the
//! id of the client in the API and in the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hub::StreamKey;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{Instrument, info};

use crate::gate::Playing;
use crate::log;
use crate::session::{Cid, Session};

/// All players.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Cid, Arc<Player>>>);

/// One player.
pub(super) struct Player {
    pub(super) session: Arc<Session>,
    /// The playlist that it was admitted to; its name opens no other.
    pub(super) place: String,
    /// The stream that it was admitted to.
    stream: StreamKey,
    /// The vhost that it is of, which the addresses of segments do not name.
    pub(super) vhost: String,
    timeout: Duration,
    state: Mutex<State>,
}

struct State {
    /// The last request for the playlist.
    seen: Instant,
    /// It has asked for more than the first playlist.
    came_back: bool,
    /// The seat at the gate; none when it was kicked.
    playing: Option<Playing>,
}

/// A player that takes the first playlist and never comes back is forgotten after this time: anybody can ask for one without end.
const FIRST: Duration = Duration::from_secs(10);

/// More players than this are not served: their names take memory.
const MOST: usize = 200_000;

impl Sessions {
    pub(super) fn find(&self, cid: Cid) -> Option<Arc<Player>> {
        self.0.lock().get(&cid).cloned()
    }

    /// Ends all of them: the server does.
    pub(super) fn end(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        all.into_values().for_each(|player| player.state.lock().playing = None);
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.lock().len() >= MOST
    }

    /// Enters a player that was admitted; if two come under one name at once, the first of them. It leaves by itself.
    pub(super) fn enter(
        self: &Arc<Self>,
        session: Arc<Session>,
        place: String,
        playing: Playing,
    ) -> Arc<Player> {
        let timeout = playing.vhost.hls_sessions.timeout;
        let vhost = playing.vhost.name.clone();
        let stream = playing.broadcast.key().clone();
        let state = State { seen: Instant::now(), came_back: false, playing: Some(playing) };
        let cid = session.cid;
        let mut all = self.0.lock();
        if let Some(known) = all.get(&cid) {
            return known.clone();
        }
        let player = Arc::new(Player { session, place, stream, vhost, timeout, state: Mutex::new(state) });
        all.insert(cid, player.clone());
        drop(all);
        let (sessions, watched) = (self.clone(), player.clone());
        let watch = async move {
            watched.watch().await;
            sessions.0.lock().remove(&cid);
        };
        tokio::spawn(watch.instrument(log::span(cid)));
        player
    }
}

impl Player {
    /// A request for the playlist: whether it may have it.
    pub(super) fn ask(&self) -> bool {
        let mut state = self.state.lock();
        state.seen = Instant::now();
        state.came_back = true;
        state.playing.is_some()
    }

    /// It has not been sent away.
    pub(super) fn is_seated(&self) -> bool {
        self.state.lock().playing.is_some()
    }

    /// It was admitted to this stream.
    pub(super) fn is_for(&self, stream: &StreamKey) -> bool {
        self.stream == *stream
    }

    /// It may have segments.
    pub(super) fn plays(&self) -> bool {
        let state = self.state.lock();
        if let Some(first) = state.playing.as_ref().and_then(Playing::first_byte) {
            first.come();
        }
        state.playing.is_some()
    }

    /// Until it has been silent for too long, also after it was kicked: as long as it asks, it is told so.
    async fn watch(&self) {
        tokio::select! {
            reason = self.session.kicked() => {
                self.state.lock().playing = None;
                info!("client finished: {reason}");
            }
            () = self.silence() => {
                info!("client finished: no request for the playlist");
                return;
            }
        }
        self.silence().await;
    }

    async fn silence(&self) {
        loop {
            let until = {
                let state = self.state.lock();
                state.seen + if state.came_back { self.timeout } else { self.timeout.min(FIRST) }
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}
