//! Recordings as FLV over HTTP: those of a time, and a stream with a delay. Players are admitted like those of the live stream. HLS of recordings
//! is a part of HLS.

mod show;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use media::Micros;
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, info, warn};

use crate::dvr::{Asked, Reel, Theatre};
use crate::gate::{Ask, Gate, Playing};
use crate::http::feed::feed;
use crate::http::observed::Observed;
use crate::http::{refusal, request};
use crate::log;
use crate::session::{self, Cid, Kind, Session};
use crate::trace::Moment;

use show::{Filled, Show};

/// What serves recordings.
#[derive(Clone)]
pub struct Service {
    gate: Arc<Gate>,
    theatre: Theatre,
}

/// How a player gets what it asked for.
#[derive(Clone, Copy)]
enum Pace {
    /// As fast as it takes it.
    Free,
    /// So long after it took place.
    Behind(Micros),
}

/// A player of a delayed stream gets something so often.
const BEAT: Duration = Duration::from_millis(200);

/// When everything is played, and somebody publishes, the next file is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A layer around the static files: answers those who ask for recordings as FLV, and passes on the rest.
pub async fn before_files(State(service): State<Service>, request: Request, next: Next) -> Response {
    match service.read(&request) {
        // A body cannot be shared with other threads while this waits, and nobody sends one.
        Some(wanted) => service.answer(wanted, request.map(drop)).await,
        None => next.run(request).await,
    }
}

/// A stream whose recordings are asked for.
struct Wanted {
    vhost: String,
    app: String,
    stream: String,
    file: String,
}

impl Service {
    /// Serves these to those whom the gate admits.
    pub fn new(gate: Arc<Gate>, theatre: Theatre) -> Self {
        Self { gate, theatre }
    }

    fn read(&self, request: &Request) -> Option<Wanted> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) || !Asked::is_in(request.uri()) {
            return None;
        }
        let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
        let (app, file) = path.trim_start_matches('/').rsplit_once('/')?;
        let stream = file.strip_suffix(".flv").filter(|stream| !stream.is_empty())?;
        let vhost = request::vhost(request);
        self.gate.vhost(&vhost).ok().filter(|vhost| vhost.plays_recordings())?;
        Some(Wanted { vhost, app: app.to_owned(), stream: stream.to_owned(), file: file.to_owned() })
    }

    async fn answer(&self, wanted: Wanted, request: Request<()>) -> Response {
        let asked = match Asked::of(request.uri()) {
            Ok(Some(asked)) => asked,
            Ok(None) => return refuse(StatusCode::BAD_REQUEST, "nothing is asked for"),
            Err(e) => return refuse(StatusCode::BAD_REQUEST, &e.to_string()),
        };
        if request.method() == Method::HEAD {
            return flv(Body::empty());
        }
        let connection = request.extensions().get::<Arc<Session>>();
        let peer: SocketAddr = connection.map_or(([0, 0, 0, 0], 0).into(), |session| session.peer);
        let host = request::host(&request).unwrap_or(&wanted.vhost);
        let told = session::Request {
            tc_url: format!("http://{}/{}", request::without_port(host), wanted.app),
            vhost: wanted.vhost,
            app: wanted.app,
            stream: wanted.stream,
            name: wanted.file,
            ..request::told(&request)
        };
        let session = Session::named(Cid::random(), peer);
        let span = log::span(session.cid);
        let ask = Ask { session: &session, kind: Kind::FlvPlay, request: told, visit: None };
        let playing = match self.gate.play(ask).instrument(span.clone()).await {
            Ok(playing) => playing,
            Err(refused) => {
                span.in_scope(|| warn!("client refused: {refused}, peer={peer}"));
                return refusal::respond(&refused);
            }
        };
        let now = Micros(Timestamp::now().as_microsecond());
        let (from, to) = match asked {
            Asked::Range { from, to } => (from, Some(to.unwrap_or(now))),
            Asked::Delay(delay) => (now - delay, None),
        };
        let (theatre, key) = (self.theatre.clone(), playing.broadcast.key().clone());
        let reel = match self.theatre.work(move || Ok(theatre.reel(&key, from, to))).await {
            Ok(Some(reel)) => reel,
            Ok(None) => return refuse(StatusCode::NOT_FOUND, "nothing of this stream was recorded then"),
            Err(e) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &e.to_string()),
        };
        let pace = match asked {
            Asked::Range { .. } => Pace::Free,
            // What was not recorded yet so long ago is as old as it can be.
            Asked::Delay(delay) => Pace::Behind(Micros(delay.0.min((now - reel.start()).0).max(0))),
        };
        span.in_scope(|| info!("start play stream={}, type=flv-play, recorded", playing.broadcast.key()));
        let (pieces, body) = feed();
        let counted = session.clone();
        let player = Player { theatre: self.theatre.clone(), playing, pace, pieces };
        let play = async move {
            let ended = tokio::select! {
                biased;
                reason = session.kicked() => reason,
                ended = player.play(reel) => ended.to_owned(),
            };
            info!("client finished: {ended}");
        };
        tokio::spawn(play.instrument(span));
        let count = move |length| counted.counters.add_sent(length as u64);
        flv(Body::new(Observed::new(body, count)))
    }
}

/// Somebody who plays a recording.
struct Player {
    theatre: Theatre,
    playing: Playing,
    pace: Pace,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Player {
    /// Plays to the end, and says how it ended.
    async fn play(self, reel: Reel) -> &'static str {
        let mut show = Show::new(reel);
        let mut dry: Option<Instant> = None;
        loop {
            let until = match self.pace {
                Pace::Free => Micros(i64::MAX),
                Pace::Behind(delay) => Micros(Timestamp::now().as_microsecond()) - delay,
            };
            let filled = self.theatre.work(move || {
                let mut bytes = Vec::new();
                let filled = show.fill(until, &mut bytes);
                Ok((show, filled, bytes))
            });
            let Ok((now, filled, bytes)) = filled.await else { return "the disk does not answer" };
            show = now;
            if !bytes.is_empty() {
                dry = None;
                if self.pieces.send(Ok(bytes.into())).await.is_err() {
                    return "the peer left";
                }
                self.playing.first_byte().into_iter().for_each(Moment::come);
            }
            match (filled, self.pace) {
                (Filled::More, _) => continue,
                (Filled::End, _) | (_, Pace::Free) => return "the recording ended",
                (Filled::Dry, _) => {
                    let since = *dry.get_or_insert_with(Instant::now);
                    if !self.playing.broadcast.is_live() || since.elapsed() > PATIENCE {
                        return "the recording ended";
                    }
                }
                (Filled::Wait, _) => {}
            }
            tokio::select! {
                () = sleep(BEAT) => {}
                () = self.pieces.closed() => return "the peer left",
            }
        }
    }
}

fn flv(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("video/x-flv")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store")),
    ];
    (headers, body).into_response()
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, format!("{reason}\n")).into_response()
}
