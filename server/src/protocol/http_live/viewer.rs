//! One player of a live stream, from its request to its end: admission, the response head, the body, and what the player says
//! meanwhile. What bodies consist of is told by `flv` and `plain`.

use std::future::{pending, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, Version, header};
use bytes::{Bytes, BytesMut};
use formats::{es, ts};
use media::{Remux, codec::Codec};
use tokio::time::timeout;
use tracing::{info, warn};

use super::mount::Target;
use super::reply::Reply;
use super::websocket::{self, Listener, Said, close, goodbye, pong};
use super::{Service, flv, plain};
use crate::config::{HttpFormat, HttpRemux};
use crate::form;
use crate::gate::{Ask, Playing, Refused};
use crate::http::{handshake, refusal, request};
use crate::net::{Conn, Core, Delivery, Followed, Framing, Input, Outbox, Wire};
use crate::session::{self, Kind, Session};
use crate::trace::Moment;

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

/// What a player may say before it is admitted.
const MAX_EARLY: usize = 64 << 10;

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
            Err(e) => {
                self.service.gate.count_failure(&session);
                warn!("serve error: {e}, peer={}", session.peer);
            }
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
            outbox.send(self.head(target.format, Framing::Chunked).with_body(""))?;
            return Ok(());
        }
        let framing = match self.framing() {
            Ok(framing) => framing,
            Err((status, reason)) => {
                outbox.send(self.refusal(status, reason))?;
                return Err(Ended::Refused(reason.into()));
            }
        };
        let playing = match self.admit(session, &target, input).await? {
            Ok(playing) => playing,
            Err(refused) => {
                outbox.send(self.refusal(refusal::status(&refused), &refused.to_string()))?;
                return Err(Ended::Refused(refused.to_string()));
            }
        };
        if let Some(reason) = mismatch(&playing) {
            outbox.send(self.refusal(StatusCode::NOT_FOUND, &reason))?;
            return Err(Ended::Refused(reason));
        }
        outbox.set_nodelay(playing.vhost.tcp_nodelay);
        outbox.send(match framing {
            Framing::WebSocket => {
                let key = self.request.headers().get(header::SEC_WEBSOCKET_KEY);
                Reply::websocket(key.map_or(&[], |k| k.as_bytes())).with_body("")
            }
            _ => self.head(target.format, framing).with_body(""),
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

    /// What the gate says, unless the player leaves first. What it sends meanwhile is kept.
    async fn admit(
        &mut self,
        session: &Arc<Session>,
        target: &Target,
        input: &mut Input,
    ) -> Result<Result<Playing, Refused>, Ended> {
        let request = session::Request {
            vhost: target.vhost.clone(),
            app: target.app.clone(),
            stream: target.stream.clone(),
            name: target.file.clone(),
            tc_url: format!("http://{}/{}", target.vhost, target.app),
            ..request::told(&self.request)
        };
        let Self { core, service, early, .. } = self;
        let mut said = BytesMut::from(&early[..]);
        let leave = async {
            while said.len() < MAX_EARLY {
                let read = poll_fn(|cx| {
                    input.poll_read(cx, core, |bytes| {
                        said.extend_from_slice(bytes);
                        bytes.is_empty()
                    })
                });
                if read.await.unwrap_or(true) {
                    return;
                }
            }
            pending().await
        };
        let ask = Ask { session, kind: Kind::FlvPlay, request, visit: None };
        let admitted = tokio::select! {
            biased;
            admitted = service.gate.play(ask) => Ok(admitted),
            () = leave => Err(Ended::Left),
        };
        *early = said.freeze();
        admitted
    }

    async fn deliver(&self, playing: &Playing, outbox: &Rc<Outbox>, framing: Framing) -> io::Result<()> {
        let vhost = &playing.vhost;
        let Some(remux) = &vhost.http_remux else { return Ok(()) };
        let tracks = playing.broadcast.tracks();
        match remux.format {
            HttpFormat::Flv => self.deliver_flv(playing, remux, outbox, framing).await,
            HttpFormat::Ts => {
                let make = || form::ts(vhost, remux, &tracks);
                self.deliver_plain(playing, remux, outbox, framing, make).await
            }
            HttpFormat::Aac | HttpFormat::Mp3 => {
                if remux.format == HttpFormat::Mp3 {
                    outbox.push(framing.frame(&es::ID3))?;
                }
                self.deliver_plain(playing, remux, outbox, framing, || form::audio(remux)).await
            }
        }
    }

    async fn deliver_flv(
        &self,
        playing: &Playing,
        remux: &HttpRemux,
        outbox: &Rc<Outbox>,
        framing: Framing,
    ) -> io::Result<()> {
        let vhost = &playing.vhost;
        let tracks = playing.broadcast.tracks();
        let make = || form::flv(vhost, &tracks);
        let (followed, mut reader) = self.core.follow(&playing.broadcast, &form::following(vhost), make);
        tell(playing, remux.format, framing);
        // In a block of its own, so that nothing of it lives as long as the player does.
        let (wire, publisher) = {
            let from_zero = |tracks: &_| form::starts_at_zero(vhost, tracks);
            let (wire, first, publisher) = flv::open(&playing.broadcast, &mut reader, remux, from_zero).await;
            outbox.push(framing.frame(&first))?;
            // It waits for media, and has it.
            playing.first_byte().into_iter().for_each(Moment::come);
            (wire, publisher)
        };
        let (core, line) = (self.core.clone(), outbox.clone());
        let delivery = Delivery::new(core, followed.clone(), reader, line, framing, wire);
        run(delivery.with_publisher(publisher), &followed, playing, outbox).await
    }

    /// Bodies of which every player gets the same bytes.
    async fn deliver_plain<R: Remux<Unit: plain::Plain>>(
        &self,
        playing: &Playing,
        remux: &HttpRemux,
        outbox: &Rc<Outbox>,
        framing: Framing,
        make: impl FnOnce() -> R,
    ) -> io::Result<()> {
        let vhost = &playing.vhost;
        let (followed, reader) = self.core.follow(&playing.broadcast, &form::following(vhost), make);
        tell(playing, remux.format, framing);
        let wire = plain::Wire::default();
        let (core, line) = (self.core.clone(), outbox.clone());
        let delivery = Delivery::new(core, followed.clone(), reader, line, framing, wire);
        run(delivery, &followed, playing, outbox).await
    }

    /// How the body travels: as WebSocket messages, in chunks, or, for HTTP/1.0, until the connection ends.
    fn framing(&self) -> Result<Framing, (StatusCode, &'static str)> {
        if handshake::is_asked_for(&self.request) {
            return handshake::read(self.request.headers()).map(|_| Framing::WebSocket);
        }
        Ok(if self.request.version() == Version::HTTP_10 { Framing::Raw } else { Framing::Chunked })
    }

    fn head(&self, format: HttpFormat, framing: Framing) -> Reply {
        let framing = if self.request.version() == Version::HTTP_10 { Framing::Raw } else { framing };
        Reply::live(self.request.version(), content_type(format), framing)
            .with_cors(self.service.crossdomain, self.request.headers())
    }

    fn refusal(&self, status: StatusCode, reason: &str) -> Bytes {
        Reply::refusal(self.request.version(), status, reason)
            .with_cors(self.service.crossdomain, self.request.headers())
            .with_body(&format!("{reason}\n"))
    }
}

/// Delivers until the publisher leaves, by the rules of the vhost as they are at each moment.
async fn run<W: Wire>(
    delivery: Delivery<W>,
    followed: &Followed<W::Unit>,
    playing: &Playing,
    outbox: &Outbox,
) -> io::Result<()> {
    let mut delivery =
        delivery.with_gap(playing.vhost.play.send_min_interval).with_first_byte(playing.first_byte());
    let mut settings = playing.settings.clone();
    loop {
        let vhost = tokio::select! {
            biased;
            done = delivery.run() => return done.map(drop),
            vhost = settings.changed() => vhost,
        };
        outbox.set_nodelay(vhost.tcp_nodelay);
        followed.adjust(&form::following(&vhost));
        delivery.set_gap(vhost.play.send_min_interval);
    }
}

/// Logs that a player has joined: what is published from now on is for it.
fn tell(playing: &Playing, format: HttpFormat, framing: Framing) {
    let (key, live) = (playing.broadcast.key(), playing.broadcast.is_live());
    info!("start play stream={key}, type=flv-play, format={format:?}, framing={framing:?}, live={live}");
}

fn content_type(format: HttpFormat) -> &'static str {
    match format {
        HttpFormat::Flv => "video/x-flv",
        HttpFormat::Ts => "video/MP2T",
        HttpFormat::Aac => "audio/x-aac",
        HttpFormat::Mp3 => "audio/mpeg",
    }
}

/// Why there is nothing to send: the mount is for other codecs than the stream has.
fn mismatch(playing: &Playing) -> Option<String> {
    let format = playing.vhost.http_remux.as_ref()?.format;
    let tracks = playing.broadcast.tracks();
    let [video, audio] = [tracks.video(), tracks.audio()].map(|track| track.map(|track| &track.codec));
    let alone = |name: &str, is: fn(&Codec) -> bool| {
        let codec = audio.filter(|codec| !is(codec))?;
        Some(format!("the sound of this stream is {}, not {name}", codec.name()))
    };
    match format {
        HttpFormat::Flv => None,
        HttpFormat::Aac => alone("AAC", |codec| matches!(codec, Codec::Aac(_))),
        HttpFormat::Mp3 => alone("MP3", |codec| matches!(codec, Codec::Mp3(_))),
        HttpFormat::Ts => {
            let codecs: Vec<_> = video.into_iter().chain(audio).collect();
            let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
            let none = !codecs.is_empty() && !codecs.into_iter().any(ts::carries);
            none.then(|| format!("this stream is {}, which MPEG-TS does not carry", names.join(" and ")))
        }
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
