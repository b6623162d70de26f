//! What waits to be sent to one participant. It is bounded, in messages and in bytes: who does not read is sent away, nobody waits for him.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// How many messages may wait.
pub(super) const MESSAGES: usize = 256;

/// How many bytes may wait, beside the last message.
pub(super) const BYTES: usize = 256 << 10;

/// Where messages are put, by anybody, on any core.
#[derive(Clone)]
pub(super) struct Post {
    sender: mpsc::Sender<Utf8Bytes>,
    state: Arc<State>,
}

/// Where the participant takes them out.
pub(super) struct Mailbox {
    receiver: mpsc::Receiver<Utf8Bytes>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bytes that wait.
    waiting: AtomicUsize,
    full: Notify,
}

/// A new one.
pub(super) fn open() -> (Post, Mailbox) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let state = Arc::<State>::default();
    (Post { sender, state: state.clone() }, Mailbox { receiver, state })
}

impl Post {
    /// Puts a message in. One that finds no room is lost, and the participant with it.
    pub(super) fn send(&self, message: Utf8Bytes) {
        let size = message.as_str().len();
        let waiting = self.state.waiting.fetch_add(size, Ordering::Relaxed);
        if waiting > BYTES || self.sender.try_send(message).is_err() {
            self.state.full.notify_one();
        }
    }
}

impl Mailbox {
    /// Takes the next message; none when there will be no more.
    pub(super) async fn next(&mut self) -> Option<Utf8Bytes> {
        let message = self.receiver.recv().await?;
        self.state.waiting.fetch_sub(message.as_str().len(), Ordering::Relaxed);
        Some(message)
    }

    /// A notice of the moment when a message found no room.
    pub(super) fn overflow(&self) -> impl Future<Output = ()> + use<> {
        let state = self.state.clone();
        async move { state.full.notified().await }
    }
}

#[cfg(test)]
impl Mailbox {
    /// All that waits.
    pub(super) fn take(&mut self) -> Vec<Utf8Bytes> {
        let all: Vec<_> = std::iter::from_fn(|| self.receiver.try_recv().ok()).collect();
        let size = all.iter().map(|message| message.as_str().len()).sum();
        self.state.waiting.fetch_sub(size, Ordering::Relaxed);
        all
    }

    /// A message has found no room.
    pub(super) fn is_overflown(&self) -> bool {
        futures_util::FutureExt::now_or_never(self.overflow()).is_some()
    }
}
