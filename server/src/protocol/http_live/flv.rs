//! FLV over HTTP and WebSocket.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, Version, header};
use bytes::Bytes;
use formats::amf0;
use formats::flv::{FileHeader, Mux, Tag};
use hub::{Broadcast, Reader, Taken};
use media::{Kind as MediaKind, Stamped, Tracks};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::Service;
use super::mount::Target;
use super::reply::Reply;
use super::websocket::{self, Listener, Said, close, goodbye, pong};
use super::wire::Wire;
use crate::config::HttpRemux;
use crate::form;
use crate::gate::{Ask, Playing, Refused};
use crate::net::{Conn, Core, Delivery, Framing, Input, Outbox, Wire as _};
use crate::session::{Kind, Session};

/// A request for a live stream, and what serves it.
pub(super) struct Viewer {
    pub(super) core: Rc<Core>,
    pub(super) service: Arc<Service>,
    pub(super) request: Request<()>,
    /// What the client sent behind its request.
    pub(super) early: Bytes,
}

/// How a viewing ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the peer left")]
    Left,
    #[error("the peer said goodbye")]
    Goodbye,
    #[error("{0}")]
    Kicked(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    WebSocket(#[from] websocket::Error),
}

/// A track that was announced has this long to show its first frame, before the file header says that it is absent.
const GUESS: Duration = Duration::from_millis(800);

/// How long a player that was told the end has to take it.
const FAREWELL: Duration = Duration::from_secs(2);

impl Viewer {
    /// Serves the stream until it or the player ends.
    pub(super) async fn serve(mut self, conn: Conn) {
        let session = conn.session.clone();
        let (mut input, outbox) = conn.split();
        let ended = self.view(&session, &mut input, &outbox).await;
        match &ended {
            Ok(()) => info!("client finished: the stream ended"),
            Err(Ended::Left | Ended::Goodbye) => info!("client disconnect peer"),
            Err(Ended::Kicked(reason)) => info!("client finished: {reason}"),
            Err(Ended::Refused(reason)) => warn!("client refused: {reason}, peer={}", session.peer),
            Err(e) => warn!("serve error: {e}, peer={}", session.peer),
        }
        if !matches!(ended, Err(Ended::Left | Ended::Io(_))) {
            let farewell = async {
                outbox.clear().await?;
                outbox.finish().await
            };
            // Who does not listen is cut off.
            let _ = timeout(FAREWELL, farewell).await;
        }
    }

    async fn view(
        &mut self,
        session: &Arc<Session>,
        input: &mut Input,
        outbox: &Rc<Outbox>,
    ) -> Result<(), Ended> {
        let Some(target) = self.service.mounts.find(&self.service.gate, &self.request) else {
            let reason = "the stream is gone";
            outbox.send(self.refusal(StatusCode::NOT_FOUND, reason))?;
            return Err(Ended::Refused(reason.into()));
        };
        if self.request.method() == Method::HEAD {
            outbox.send(self.head(Framing::Chunked).with_body(""))?;
            return Ok(());
        }
        let framing = match self.framing() {
            Ok(framing) => framing,
            Err((status, reason)) => {
                outbox.send(self.refusal(status, reason))?;
                return Err(Ended::Refused(reason.into()));
            }
        };
        let playing = match self.admit(session, &target).await {
            Ok(playing) => playing,
            Err(refused) => {
                outbox.send(self.refusal(status(&refused), &refused.to_string()))?;
                return Err(Ended::Refused(refused.to_string()));
            }
        };
        outbox.set_nodelay(playing.vhost.tcp_nodelay);
        outbox.send(match framing {
            Framing::WebSocket => {
                let key = self.request.headers().get(header::SEC_WEBSOCKET_KEY);
                Reply::websocket(key.map_or(&[], |k| k.as_bytes())).with_body("")
            }
            _ => self.head(framing).with_body(""),
        })?;

        let mut ears = Ears::new(framing);
        ears.hear(&std::mem::take(&mut self.early), outbox)?;
        let this = &*self;
        let listen = async {
            loop {
                let core = &this.core;
                let heard = poll_fn(|cx| {
                    input.poll_read(cx, core, |bytes| match bytes {
                        [] => Err(Ended::Left),
                        bytes => ears.hear(bytes, outbox),
                    })
                });
                match heard.await {
                    Ok(Ok(())) => {}
                    Ok(Err(ended)) => return ended,
                    Err(_) => return Ended::Left,
                }
            }
        };
        tokio::select! {
            biased;
            reason = session.kicked() => {
                if framing == Framing::WebSocket {
                    outbox.send(goodbye(close::POLICY))?;
                }
                Err(Ended::Kicked(reason))
            }
            ended = listen => Err(ended),
            played = this.deliver(&playing, outbox, framing) => {
                played.map_err(|e| match e.kind() {
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ended::Left,
                    _ => Ended::Io(e),
                })?;
                outbox.send(Bytes::from_static(framing.end()))?;
                Ok(())
            }
        }
    }

    async fn admit(&self, session: &Arc<Session>, target: &Target) -> Result<Playing, Refused> {
        let referer = self.request.headers().get(header::REFERER).and_then(|v| v.to_str().ok());
        let tc_url = format!("http://{}/{}", target.vhost, target.app);
        let ask = Ask {
            session,
            kind: Kind::FlvPlay,
            vhost: &target.vhost,
            app: &target.app,
            stream: &target.stream,
            name: &target.file,
            page_url: referer.unwrap_or_default(),
            swf_url: "",
            tc_url: &tc_url,
        };
        self.service.gate.play(ask).await
    }

    async fn deliver(&self, playing: &Playing, outbox: &Rc<Outbox>, framing: Framing) -> io::Result<()> {
        let vhost = &playing.vhost;
        let Some(remux) = &vhost.http_remux else { return Ok(()) };
        let tracks = playing.broadcast.tracks();
        let make = || -> Mux { form::flv(vhost, &tracks) };
        let (followed, mut reader) = self.core.follow(&playing.broadcast, &form::following(vhost), make);
        let key = playing.broadcast.key();
        info!(
            "start play stream={key}, type=flv-play, framing={framing:?}, live={}",
            playing.broadcast.is_live()
        );

        // In a block of its own, so that nothing of it lives as long as the player does.
        let (wire, publisher) = {
            let mut units = Vec::new();
            let (file, publisher) = first_units(&playing.broadcast, &mut reader, remux, &mut units).await;
            let mut wire = Wire::new(form::starts_at_zero(vhost, &playing.broadcast.tracks()));
            if remux.drop_if_not_match {
                wire = wire.without(!file.audio, !file.video);
            }
            let mut first = file.to_bytes().to_vec();
            units.iter().for_each(|unit| wire.lay(unit, &mut first));
            outbox.push(framing.frame(&first))?;
            (wire, publisher)
        };
        let delivery = Delivery::new(self.core.clone(), followed, reader, outbox.clone(), framing, wire);
        delivery.with_publisher(publisher).with_gap(vhost.play.send_min_interval).run().await?;
        Ok(())
    }

    /// How the body travels: as WebSocket messages, in chunks, or, for HTTP/1.0, until the connection ends.
    fn framing(&self) -> Result<Framing, (StatusCode, &'static str)> {
        if websocket::is_asked_for(&self.request) {
            return websocket::handshake(self.request.headers()).map(|_| Framing::WebSocket);
        }
        Ok(if self.request.version() == Version::HTTP_10 { Framing::Raw } else { Framing::Chunked })
    }

    fn head(&self, framing: Framing) -> Reply {
        let framing = if self.request.version() == Version::HTTP_10 { Framing::Raw } else { framing };
        Reply::live(self.request.version(), "video/x-flv", framing)
            .with_cors(self.service.crossdomain, self.request.headers())
    }

    fn refusal(&self, status: StatusCode, reason: &str) -> Bytes {
        Reply::refusal(self.request.version(), status, reason)
            .with_cors(self.service.crossdomain, self.request.headers())
            .with_body(&format!("{reason}\n"))
    }
}

/// The HTTP status that says a refusal.
fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::NoVhost(_) => StatusCode::NOT_FOUND,
        Refused::Busy(_) => StatusCode::CONFLICT,
        Refused::Denied(_) => StatusCode::FORBIDDEN,
    }
}

/// What listens to a player that should only read.
struct Ears {
    websocket: Option<Listener>,
}

impl Ears {
    fn new(framing: Framing) -> Self {
        Self { websocket: (framing == Framing::WebSocket).then(Listener::default) }
    }

    fn hear(&mut self, bytes: &[u8], outbox: &Outbox) -> Result<(), Ended> {
        // What an HTTP player sends behind its request is of no interest.
        let Some(listener) = &mut self.websocket else { return Ok(()) };
        let mut said = Vec::new();
        let heard = listener.receive(bytes, &mut said);
        for said in said {
            match said {
                Said::Ping(payload) => outbox.send(pong(&payload))?,
                Said::Close(code) => {
                    outbox.send(goodbye(code))?;
                    return Err(Ended::Goodbye);
                }
            }
        }
        if heard.is_err() {
            outbox.send(goodbye(close::PROTOCOL_ERROR))?;
        }
        Ok(heard?)
    }
}

/// Media of this kind will come: there is a track, or the metadata tells of it, since sound without a sequence header has no
/// track before its first frame.
fn is_announced(tracks: &Tracks, kind: MediaKind) -> bool {
    let (track, name) = match kind {
        MediaKind::Audio => (tracks.audio(), "audiocodecid"),
        _ => (tracks.video(), "videocodecid"),
    };
    let told = || {
        let values = amf0::decode(tracks.metadata.as_deref()?).ok()?;
        let id = values.iter().find_map(|v| v.property(name))?;
        Some(id.as_str().is_some() || id.as_f64() > Some(0.0))
    };
    track.is_some() || told() == Some(true)
}

/// Waits for the first units, and says what the file header has to say: which kinds of media will come. Also says which
/// publisher sent them, who may be gone by now.
async fn first_units(
    broadcast: &Broadcast,
    reader: &mut Reader<Tag>,
    remux: &HttpRemux,
    units: &mut Vec<Stamped<Tag>>,
) -> (FileHeader, (bool, u32)) {
    let mut since = None;
    let mut before = reader.relay().publisher();
    loop {
        let publisher = reader.relay().publisher();
        let edge = reader.take(64 << 10, units) == Taken::Edge;
        if units.iter().any(|unit| !unit.is_init()) {
            if !remux.guess_has_av {
                return (FileHeader { audio: remux.has_audio, video: remux.has_video }, before);
            }
            let since = *since.get_or_insert_with(Instant::now);
            let tracks = broadcast.tracks();
            let kinds = [MediaKind::Audio, MediaKind::Video];
            let waits = kinds.into_iter().any(|kind| is_announced(&tracks, kind) && !broadcast.carries(kind));
            if !waits || since.elapsed() >= GUESS {
                let carries = |kind| broadcast.carries(kind);
                let file = FileHeader { audio: carries(MediaKind::Audio), video: carries(MediaKind::Video) };
                return (file, before);
            }
        } else {
            before = publisher;
        }
        if edge {
            let more = poll_fn(|cx| reader.poll_more(cx, publisher));
            match since {
                None => more.await,
                // Either way the next turn looks again.
                Some(_) => drop(timeout(GUESS, more).await),
            }
        }
    }
}
