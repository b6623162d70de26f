//! Requests for playlists and segments. They are looked for on the shelf first; playlists from files, whoever wrote them,
//! get sessions, too.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use formats::hls::{self, Queries};
use hub::StreamKey;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_http::services::ServeFile;
use tracing::{Instrument, info, warn};

use super::Service;
use super::recorded::{Part, Tape};
use super::reload::{Refusal, Reload, patience};
use super::sessions::Player;
use super::shelf::{self, Listed, Segment, Shelved, Type};
use crate::config::Vhost;
use crate::dvr::Asked;
use crate::gate::{Ask, Refused};
use crate::http::observed::Observed;
use crate::http::{pieces, refusal, request};
use crate::log;
use crate::session::{self, Cid, Kind, Session};

const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const LIVE: HeaderValue = HeaderValue::from_static("no-cache");

/// A playlist from a file is not larger than this.
const MAX_PLAYLIST: usize = 8 << 20;

/// Something that was asked for, and by whom.
pub(super) struct Wanted {
    pub(super) uri: Uri,
    pub(super) vhost: Arc<Vhost>,
    /// What the request calls the vhost.
    pub(super) asked: String,
    /// Where it is on the shelf.
    pub(super) place: String,
    pub(super) app: String,
    pub(super) stream: String,
    pub(super) file: String,
    pub(super) host: String,
    /// What its request says of itself.
    pub(super) told: session::Request,
    pub(super) peer: SocketAddr,
}

/// A layer around the static files: answers what HLS has to answer, and passes on the rest.
pub async fn before_files(State(service): State<Service>, request: Request, next: Next) -> Response {
    let Some((wanted, player)) = service.read(&request) else { return next.run(request).await };
    match wanted.file.rsplit_once('.').map(|(_, ending)| ending) {
        Some("m3u8") if wanted.is_recorded() => service.recorded_playlist(&wanted, player).await,
        Some("m4s") if wanted.part().is_some() => {
            service.recorded_segment(wanted, player, request.map(drop)).await
        }
        Some("m3u8") => service.playlist(wanted, player, request, next).await,
        Some("ts") => service.segment(wanted, player, request, next).await,
        _ if service.shelf.knows(&wanted.place) || wanted.is_key() => {
            service.segment(wanted, player, request, next).await
        }
        _ => next.run(request).await,
    }
}

/// Where a playlist comes from.
pub(super) enum Source {
    Live(watch::Receiver<Arc<Listed>>),
    File(hls::Playlist),
    Recorded(Tape),
}

impl Source {
    /// The playlist that sends a player to this one, under the name by which the server knows it.
    fn way_back(&self, uri: &str) -> String {
        let listed = match self {
            Self::Live(live) => Some(live.borrow().clone()),
            Self::File(_) | Self::Recorded(_) => None,
        };
        let (about, rate) = listed.map(|listed| (listed.about.clone(), listed.rate)).unwrap_or_default();
        hls::master([hls::Variant { uri, about: &about, rate }])
    }

    /// The text for one player, as soon as it has what the request waits for.
    async fn render(self, uri: &Uri, queries: Queries<'_>) -> Result<String, Response> {
        let mut live = match self {
            Self::Live(live) => live,
            Self::File(playlist) => return Ok(render(&playlist, queries)),
            Self::Recorded(tape) => {
                let made = tape.playlist().await;
                return made.map(|made| render(&made, queries)).map_err(|missing| missing.respond());
            }
        };
        let listed = match Reload::of(uri) {
            Ok(reload) => reload.wait(&mut live).await.map(|listed| (listed, reload.skip)),
            Err(refusal) => Err(refusal),
        };
        let (listed, skip) = listed.map_err(|refusal| match refusal {
            Refusal::Senseless => refuse(StatusCode::BAD_REQUEST, &"there will be no such playlist soon"),
            Refusal::Late => refuse(StatusCode::SERVICE_UNAVAILABLE, &"the stream is late"),
            Refusal::Gone => refuse(StatusCode::NOT_FOUND, &"the stream is gone"),
        })?;
        let delta = listed.low.as_ref().and_then(|low| low.delta.as_ref()).filter(|_| skip);
        Ok(render(delta.unwrap_or(&listed.playlist), queries))
    }
}

impl Wanted {
    /// It may be a key, even if it is not on the shelf: a file that is left from before.
    fn is_key(&self) -> bool {
        let keys = self.vhost.hls.as_ref().and_then(|hls| hls.keys.as_ref());
        let ending = keys.and_then(|keys| keys.file.rsplit_once('.')).map(|(_, ending)| ending);
        ending.is_some() && ending == self.file.rsplit_once('.').map(|(_, ending)| ending)
    }

    /// What was recorded is asked for, and may be.
    pub(super) fn is_recorded(&self) -> bool {
        self.vhost.plays_recordings() && Asked::is_in(&self.uri)
    }

    /// The part of a recording that is asked for, if one is and may be.
    pub(super) fn part(&self) -> Option<Part> {
        self.vhost.plays_recordings().then(|| Part::of(&self.uri)).flatten()
    }

    pub(super) fn key(&self) -> StreamKey {
        let (app, stream) = (self.app.clone(), self.stream.clone());
        StreamKey { vhost: self.vhost.name.clone(), app, stream }
    }

    /// It is of this stream, whatever its address looks like.
    fn of(&mut self, stream: &StreamKey) {
        self.app.clone_from(&stream.app);
        self.stream.clone_from(&stream.stream);
    }
}

impl Service {
    /// What a request wants, and whose name it bears; none if it is nothing of ours.
    fn read(&self, request: &Request) -> Option<(Wanted, Option<Arc<Player>>)> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
        let path = path.trim_start_matches('/');
        let (app, file) = path.rsplit_once('/').unwrap_or(("", path));
        let stream = file.strip_suffix(".m3u8").unwrap_or(file);
        let player = ctx(request.uri()).and_then(|cid| self.sessions.find(cid));
        // The address of a segment does not name the vhost, its player does.
        let asked = match &player {
            Some(player) if !file.ends_with(".m3u8") => player.vhost.clone(),
            _ => request::vhost(request),
        };
        let vhost = self.gate.vhost(&asked).ok()?;
        let connection = request.extensions().get::<Arc<Session>>();
        let wanted = Wanted {
            uri: request.uri().clone(),
            place: shelf::place(&vhost.name, path),
            vhost,
            host: request::host(request).unwrap_or(&asked).to_owned(),
            asked,
            app: app.to_owned(),
            stream: stream.to_owned(),
            file: file.to_owned(),
            told: request::told(request),
            peer: connection.map_or_else(|| ([0, 0, 0, 0], 0).into(), |session| session.peer),
        };
        Some((wanted, player))
    }

    async fn playlist(
        &self,
        mut wanted: Wanted,
        player: Option<Arc<Player>>,
        mut request: Request,
        next: Next,
    ) -> Response {
        if let Some(live) = self.shelf.playlist(&wanted.place) {
            let stream = live.borrow().stream.clone();
            wanted.of(&stream);
            return self.session(&wanted, player, Source::Live(live)).await;
        }
        if let Some(whole) = self.shelf.whole(&wanted.place) {
            wanted.of(&whole);
            return self.master(&wanted, player).await;
        }
        if !wanted.vhost.hls_sessions.ctx {
            return next.run(request).await;
        }
        // The whole text is needed, whatever was asked.
        *request.method_mut() = Method::GET;
        request.headers_mut().remove(header::RANGE);
        let response = next.run(request).await;
        if response.status() != StatusCode::OK {
            return response;
        }
        let text = to_bytes(response.into_body(), MAX_PLAYLIST).await;
        match text.ok().and_then(|bytes| String::from_utf8(bytes.into()).ok()) {
            Some(text) => self.session(&wanted, player, Source::File(hls::Playlist::new(text))).await,
            None => refuse(StatusCode::INTERNAL_SERVER_ERROR, &"this file is not a playlist"),
        }
    }

    /// The list of qualities, for a player who is known by it in all of them.
    async fn master(&self, wanted: &Wanted, known: Option<Arc<Player>>) -> Response {
        let told = told_vhost(&wanted.uri);
        let gone = || refuse(StatusCode::NOT_FOUND, &"the stream is gone");
        if !wanted.vhost.hls_sessions.ctx {
            return self.shelf.master(&wanted.place, told.unwrap_or_default()).map_or_else(gone, answer);
        }
        let player = match known {
            Some(player) if player.place == wanted.place => player,
            other => match self.admit(wanted, ctx(&wanted.uri).filter(|_| other.is_none())).await {
                Ok(player) => player,
                Err(refusal) => return refusal,
            },
        };
        if !player.is_seated() {
            return ended(&player);
        }
        let query =
            told.into_iter().fold(format!("hls_ctx={}", player.session.cid), |all, told| all + "&" + told);
        let text = self.shelf.master(&wanted.place, &query);
        text.map_or_else(gone, |text| counted(answer(text), &player))
    }

    /// The playlist for a player that is known, or the way to become known.
    pub(super) async fn session(
        &self,
        wanted: &Wanted,
        known: Option<Arc<Player>>,
        source: Source,
    ) -> Response {
        if !wanted.vhost.hls_sessions.ctx {
            let queries = Queries::all(told_vhost(&wanted.uri).unwrap_or_default());
            return source.render(&wanted.uri, queries).await.map_or_else(|refusal| refusal, answer);
        }
        let cid = ctx(&wanted.uri);
        let player = match known {
            Some(player)
                if player.place == wanted.place || self.shelf.leads_to(&player.place, &wanted.place) =>
            {
                player
            }
            // A name that belongs to another playlist opens nothing here.
            other => match self.admit(wanted, cid.filter(|_| other.is_none())).await {
                // One that we have forgotten, or that the player chose: it asks like those who have a session, and
                // could do nothing with another master playlist.
                Ok(player) if cid == Some(player.session.cid) => player,
                Ok(player) => {
                    let text = source.way_back(&way_back(wanted, player.session.cid));
                    return counted(answer(text), &player);
                }
                Err(refusal) => return refusal,
            },
        };
        let name = format!("hls_ctx={}", player.session.cid);
        // What was recorded is for those who were admitted alone.
        let is_guarded = wanted.vhost.hls_sessions.ts_ctx || matches!(source, Source::Recorded(_));
        let media = match is_guarded {
            true => &name,
            false => told_vhost(&wanted.uri).unwrap_or_default(),
        };
        if !player.ask() {
            return ended(&player);
        }
        match source.render(&wanted.uri, Queries { media, guarded: &name }).await {
            // It may have waited.
            Ok(_) if !player.ask() => ended(&player),
            Ok(text) => counted(answer(text), &player),
            Err(refusal) => refusal,
        }
    }

    /// Asks the gate for a new player, whose name is `cid` if it has one.
    pub(super) async fn admit(&self, wanted: &Wanted, cid: Option<Cid>) -> Result<Arc<Player>, Response> {
        if self.sessions.is_full() {
            return Err(refusal::respond(&Refused::Unable("too many HLS players".into())));
        }
        let session = Session::named(cid.unwrap_or_else(Cid::random), wanted.peer);
        let span = log::span(session.cid);
        let playing =
            self.gate.play(self.ask(&session, wanted)).instrument(span.clone()).await.map_err(|refused| {
                span.in_scope(|| warn!("client refused: {refused}, peer={}", session.peer));
                refusal::respond(&refused)
            })?;
        span.in_scope(|| info!("start play stream={}, type=hls-play", playing.broadcast.key()));
        Ok(self.sessions.enter(session, wanted.place.clone(), playing))
    }

    /// What the gate is asked for a player.
    pub(super) fn ask<'a>(&self, session: &'a Arc<Session>, wanted: &Wanted) -> Ask<'a> {
        let request = session::Request {
            vhost: wanted.asked.clone(),
            app: wanted.app.clone(),
            stream: wanted.stream.clone(),
            name: wanted.file.clone(),
            tc_url: format!("http://{}/{}", request::without_port(&wanted.host), wanted.app),
            ..wanted.told.clone()
        };
        Ask { session, kind: Kind::HlsPlay, request, visit: None }
    }

    async fn segment(
        &self,
        mut wanted: Wanted,
        player: Option<Arc<Player>>,
        request: Request,
        next: Next,
    ) -> Response {
        let player = player.filter(|player| player.plays());
        let mut shelved = self.shelf.segment(&wanted.place);
        let hinted = if shelved.is_none() { self.shelf.hinted(&wanted.place) } else { None };
        let is_secret = shelved.as_ref().map_or(wanted.is_key(), |shelved| shelved.kind == Type::Key);
        let stream = shelved.as_ref().map(|shelved| shelved.stream.clone());
        let stream = stream.or(hinted.as_ref().map(|hinted| hinted.borrow().stream.clone()));
        let mut player = player;
        if let Some(stream) = &stream {
            wanted.of(stream);
            // Its name opens no other stream.
            player = player.filter(|player| player.is_for(stream) || self.shelf.is_of(&player.place, stream));
        }
        let ours = stream.is_some() || is_secret;
        // What is not ours is a file like any other, but for being counted.
        if ours
            && player.is_none()
            && let Err(refusal) = self.admit_fetch(&wanted, is_secret).await
        {
            return refusal;
        }
        if let Some(hinted) = hinted {
            shelved = self.arrival(&wanted.place, hinted).await;
            if shelved.is_none() {
                return refuse(StatusCode::NOT_FOUND, &"this part did not come");
            }
        }
        if let (Some(shelved), Some(player)) = (&shelved, &player) {
            player.session.counters.fall_behind(shelved.since.elapsed());
        }
        let response = match shelved {
            Some(Shelved { segment, kind, .. }) => send(segment, kind, request).await,
            None => next.run(request).await,
        };
        match player {
            Some(player) => counted(response, &player),
            None => response,
        }
    }

    /// Waits for a part that is announced.
    async fn arrival(&self, place: &str, mut hinted: watch::Receiver<Arc<Listed>>) -> Option<Shelved> {
        let patience = hinted.borrow_and_update().low.as_ref().map(patience)?;
        let arrival = async {
            loop {
                // It is put there before the playlist tells of it.
                if let Some(shelved) = self.shelf.segment(place) {
                    return Some(shelved);
                }
                let is_announced = hinted.borrow().low.as_ref().is_some_and(|low| low.hint == place);
                if !is_announced || hinted.changed().await.is_err() {
                    return self.shelf.segment(place);
                }
            }
        };
        timeout(patience, arrival).await.ok().flatten()
    }

    /// Whether somebody without a session may have this segment or key.
    async fn admit_fetch(&self, wanted: &Wanted, is_secret: bool) -> Result<(), Response> {
        if !wanted.vhost.hls_sessions.ctx {
            return Ok(());
        }
        let session = Session::named(Cid::random(), wanted.peer);
        let ask = self.ask(&session, wanted);
        let admitted = match wanted.vhost.hls_sessions.ts_ctx || is_secret {
            // Media for nobody we know: the gate decides, as it would for a player.
            true => self.gate.play(ask).await.map(drop),
            // Segments are to be anybody's, such as a network's that caches them.
            false => self.gate.check_fetch(&ask),
        };
        admitted.map_err(|refused| {
            warn!("client refused: {refused}, peer={}", session.peer);
            refusal::respond(&refused)
        })
    }
}

/// What a player is told that was sent away.
pub(super) fn ended(player: &Player) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("HLS stream {} is EOF", player.session.cid))
}

/// The name that a request bears.
pub(super) fn ctx(uri: &Uri) -> Option<Cid> {
    request::parameter(uri, "hls_ctx")?.parse().ok()
}

/// The parameter that names the vhost, as the player wrote it: without a name of its own, it needs this for segments, too.
fn told_vhost(uri: &Uri) -> Option<&str> {
    let told = |name: &str| {
        uri.query()?.split('&').find(|pair| pair.strip_prefix(name).is_some_and(|v| v.len() > 1))
    };
    told("vhost").or_else(|| told("domain"))
}

fn render(playlist: &hls::Playlist, queries: Queries<'_>) -> String {
    let mut text = String::new();
    playlist.render(queries, &mut text);
    text
}

/// The address under which a new player asks again: the same, with its name in front of the query.
fn way_back(wanted: &Wanted, cid: Cid) -> String {
    let path = match wanted.vhost.hls_sessions.relative {
        true => wanted.uri.path().rsplit('/').next().unwrap_or_default(),
        false => wanted.uri.path(),
    };
    let rest = wanted.uri.query().into_iter().flat_map(|query| query.split('&'));
    let rest =
        rest.filter(|pair| !pair.is_empty() && !pair.starts_with("hls_ctx=") && !pair.starts_with("_HLS_"));
    rest.fold(format!("{path}?hls_ctx={cid}"), |all, pair| all + "&" + pair)
}

fn answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, PLAYLIST), (header::CACHE_CONTROL, LIVE)], text).into_response()
}

pub(super) fn refuse(status: StatusCode, reason: &dyn Display) -> Response {
    (status, format!("{reason}\n")).into_response()
}

async fn send(segment: Segment, kind: Type, mut request: Request) -> Response {
    // What makes no sense, and what nobody needs of a segment, is the whole (RFC 9110 §14.2).
    if pieces::range(&request).is_none() {
        request.headers_mut().remove(header::RANGE);
    }
    let mut response = match segment {
        Segment::Ram(pieces) => pieces::answer(pieces, &request),
        Segment::File(path) => match ServeFile::new(path).oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        },
    };
    if response.status().is_success() {
        let told = match kind {
            Type::Ts => "video/MP2T",
            Type::Mp4 => "video/mp4",
            Type::Key => "application/octet-stream",
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(told));
        if kind == Type::Key {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
    response
}

/// The response, whose body counts as sent to this player.
pub(super) fn counted(response: Response, player: &Arc<Player>) -> Response {
    let session = player.session.clone();
    let count = move |length| session.counters.add_sent(length as u64);
    response.map(|body| Body::new(Observed::new(body, count)))
}
