//! One WebSocket of the signalling, from its handshake to its end. Frames are tungstenite's work.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::{info, warn};

use super::hall::{Hall, Seat};
use super::mailbox::{self, Mailbox, Post};
use super::message::{self, Action, Refused, Said};
use super::{Limits, MAX_MESSAGE};
use crate::http::front::{LINGER, linger};
use crate::http::upgrade::Io;
use crate::session::Session;

/// Somebody who may be in a room.
pub(super) struct Participant {
    hall: Arc<Hall>,
    session: Arc<Session>,
    seat: Option<Seat>,
    post: Post,
    mailbox: Mailbox,
    /// Messages that made no sense.
    faults: u32,
    /// When all that was said is forgotten.
    rested: Instant,
}

/// How it ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the peer left")]
    Left,
    #[error("the peer said goodbye")]
    Goodbye,
    #[error("nothing was heard for {0} s")]
    Silent(u64),
    #[error("it does not read what it is told")]
    Deaf,
    #[error("its messages make no sense")]
    Nonsense,
    #[error("it says more than the others can hear")]
    Chatter,
    #[error("a message that is no text")]
    Binary,
    #[error("{0}")]
    Kicked(String),
    #[error("WebSocket: {0}")]
    WebSocket(#[from] Error),
}

impl Participant {
    /// In no room yet.
    pub(super) fn new(hall: Arc<Hall>, session: Arc<Session>) -> Self {
        let (post, mailbox) = mailbox::open();
        Self { hall, session, seat: None, post, mailbox, faults: 0, rested: Instant::now() }
    }

    /// Serves the connection to its end; `early` was read behind the handshake.
    pub(super) async fn serve(mut self, stream: Box<dyn Io>, early: Bytes) {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(4 << 10)
            // Every message goes out at once.
            .write_buffer_size(0);
        let mut socket =
            WebSocketStream::from_partially_read(stream, early.into(), Role::Server, Some(config)).await;
        let ended = self.talk(&mut socket).await;
        self.leave(None, &ended.to_string());
        let peer = self.session.peer;
        match &ended {
            Ended::Left | Ended::Goodbye => info!("client disconnect peer"),
            Ended::WebSocket(_) | Ended::Binary => warn!("serve error: {ended}, peer={peer}"),
            _ => warn!("client finished: {ended}, peer={peer}"),
        }
        let farewell = async {
            let _ = match ended.frame() {
                Some(frame) => socket.close(Some(frame)).await,
                // Answers the goodbye, if there was one.
                None => SinkExt::close(&mut socket).await,
            };
            linger(socket.get_mut()).await
        };
        // Who does not listen is cut off.
        let _ = timeout(LINGER, farewell).await;
    }

    /// Hears and tells, until one of both ends it.
    async fn talk(&mut self, socket: &mut WebSocketStream<Box<dyn Io>>) -> Ended {
        let patience = self.hall.limits.silence;
        let session = self.session.clone();
        let mut kicked = pin!(session.kicked());
        let mut overflow = pin!(self.mailbox.overflow());
        let mut silence = pin!(sleep(patience));
        loop {
            let tell = tokio::select! {
                reason = &mut kicked => return Ended::Kicked(reason),
                () = &mut overflow => return Ended::Deaf,
                () = &mut silence => return Ended::Silent(patience.as_secs()),
                heard = socket.next() => {
                    silence.as_mut().reset(Instant::now() + patience);
                    match heard {
                        None => return Ended::Left,
                        Some(Err(e)) => return Ended::of(e),
                        Some(Ok(_)) if !self.has_breath() => return Ended::Chatter,
                        Some(Ok(Message::Text(text))) if !self.hear(&text) => return Ended::Nonsense,
                        Some(Ok(Message::Binary(_))) => return Ended::Binary,
                        Some(Ok(Message::Close(_))) => return Ended::Goodbye,
                        // tungstenite answers pings itself.
                        Some(Ok(_)) => continue,
                    }
                }
                Some(tell) = self.mailbox.next() => tell,
            };
            // Who does not read is not heard meanwhile, until his mailbox is full or patience is over.
            let told = tokio::select! {
                reason = &mut kicked => return Ended::Kicked(reason),
                () = &mut overflow => return Ended::Deaf,
                told = timeout(patience, socket.send(Message::Text(tell))) => told,
            };
            match told {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Ended::of(e),
                Err(_) => return Ended::Deaf,
            }
        }
    }

    /// One more message; false if there were too many in too short a time.
    fn has_breath(&mut self) -> bool {
        let Limits { chatter, breath, .. } = self.hall.limits;
        let now = Instant::now();
        self.rested = self.rested.max(now) + breath;
        self.rested <= now + breath * chatter
    }

    /// Does what a message says; false if there were too many that made no sense.
    fn hear(&mut self, text: &str) -> bool {
        let (tid, done) = match Said::parse(text) {
            Ok(said) => (said.tid.clone(), self.follow(said)),
            Err((tid, refused)) => (tid, Err(refused)),
        };
        let Err(refused) = done else { return true };
        warn!("client refused: {refused}, peer={}", self.session.peer);
        self.post.send(message::refused(tid.as_deref(), &refused));
        self.faults += 1;
        self.faults < self.hall.limits.faults
    }

    fn follow(&mut self, said: Said<'_>) -> Result<(), Refused> {
        let Said { tid, room, display, action } = said;
        let tid = tid.as_deref();
        let Some(seat) = &self.seat else {
            let Action::Join = action else { return Err(Refused::bad("nobody is in a room without `join`")) };
            self.seat = Some(self.hall.join(tid, &room, &display, &self.post)?);
            let (count, peer) = (self.hall.count(&room), self.session.peer);
            let name = display;
            info!("signalling: {name} joins room {room}, {count} inside, peer={peer}");
            return Ok(());
        };
        if (&seat.room, &seat.display) != (&room, &display) {
            let reason = format!("this connection is {} in room {}", seat.display, seat.room);
            return Err(Refused::bad(reason));
        }
        match action {
            Action::Join => return Err(Refused::bad("this connection is in the room already")),
            Action::Leave => self.leave(Some(tid), "it says so"),
            action => seat.act(tid, &action),
        }
        Ok(())
    }

    /// Leaves the room, if it is in one; with a reply, if it has asked for it.
    fn leave(&mut self, asked: Option<Option<&str>>, reason: &str) {
        let Some(seat) = self.seat.take() else { return };
        let (room, name) = (seat.room.clone(), seat.display.clone());
        match asked {
            Some(tid) => seat.leave(tid, &self.post),
            None => drop(seat),
        }
        let (count, peer) = (self.hall.count(&room), self.session.peer);
        info!("signalling: {name} leaves room {room} ({reason}), {count} inside, peer={peer}");
    }
}

impl Ended {
    fn of(e: Error) -> Self {
        match e {
            Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) => Self::Left,
            Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => Self::Left,
            e => Self::WebSocket(e),
        }
    }

    /// What the peer is told (RFC 6455 §7.4.1).
    fn frame(&self) -> Option<CloseFrame> {
        let code = match self {
            Self::Left | Self::Goodbye => return None,
            Self::Silent(_) | Self::Deaf | Self::Nonsense | Self::Chatter | Self::Kicked(_) => {
                CloseCode::Policy
            }
            Self::Binary => CloseCode::Unsupported,
            Self::WebSocket(Error::Capacity(_)) => CloseCode::Size,
            Self::WebSocket(Error::Utf8(_)) => CloseCode::Invalid,
            Self::WebSocket(_) => CloseCode::Protocol,
        };
        Some(CloseFrame { code, reason: self.to_string().into() })
    }
}
