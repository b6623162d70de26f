//! HLS of what was recorded: the playlist of a time, and that of a stream with a delay. Segments are made of the recordings when somebody asks for
//! them; each is a stretch of one file, and has the same address in all playlists.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use formats::hls::{Entry, Playlist, Window};
use hub::StreamKey;
use jiff::Timestamp;
use media::Micros;
use parking_lot::Mutex;
use tracing::warn;

use super::Service;
use super::serve::{Source, Wanted, counted, ctx, ended, refuse};
use super::sessions::Player;
use super::shelf;
use crate::dvr::{Asked, Cut, Recording, Stretch, Theatre};
use crate::http::feed::feed;
use crate::http::refusal;
use crate::http::request::parameter;
use crate::session::{Cid, Session};

/// Segments are at least so long, but for the last ones of files.
const TARGET: Micros = Micros::from_secs(6);

/// A playlist of a time has no more segments.
const MOST: usize = 20_000;

/// What the playlist of a stream with a delay lists.
const WINDOW: Micros = Micros::from_secs(30);

/// So many delays are followed at once, of all streams.
const DELAYS: usize = 1024;

/// What follows each other in files is no further apart.
const GAP: Micros = Micros::from_millis(250);

/// What there is of recordings, for HLS. A clone is another hand on the same.
#[derive(Clone)]
pub struct Archive {
    theatre: Theatre,
    /// The one that was asked for last is the last.
    delayed: Arc<Mutex<VecDeque<(StreamKey, Micros, Delayed)>>>,
}

/// The playlist of a stream with one delay, which all its players share.
struct Delayed {
    window: Window,
    next: u64,
    last: Option<Place>,
}

/// Where a listed stretch ends, and what may follow it.
#[derive(Clone, Debug)]
struct Place {
    recording: Arc<Recording>,
    stretch: Stretch,
    init: Bytes,
}

/// Something of a stream that was recorded.
#[derive(Clone, Debug)]
pub(super) struct Tape {
    pub(super) archive: Archive,
    pub(super) key: StreamKey,
    pub(super) asked: Asked,
    /// Somebody publishes it.
    pub(super) is_live: bool,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Archive")
    }
}

/// A part of a recording, as the address of a segment names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    recording: String,
    number: usize,
    is_init: bool,
}

impl Part {
    /// What a query asks for.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let recording = parameter(uri, "rec")?;
        let (name, is_init) = if parameter(uri, "init").is_some() { ("init", true) } else { ("n", false) };
        Some(Self { recording, number: parameter(uri, name)?.parse().ok()?, is_init })
    }
}

impl Place {
    fn begin(&self) -> Micros {
        self.recording.begin + self.stretch.start
    }

    fn end(&self) -> Micros {
        self.recording.begin + self.stretch.end
    }

    /// Where its init segment is.
    fn map(&self, name: &str) -> Arc<str> {
        format!("{name}.m4s?rec={}&init={}", self.recording.id, self.stretch.settings).into()
    }

    /// As it stands in a playlist, behind another one.
    fn entry(&self, name: &str, seq: u64, before: Option<&Self>) -> Entry {
        let Self { recording, stretch, init } = self;
        let follows = |before: &Self| {
            let is_next = before.recording.id == recording.id && before.stretch.number + 1 == stretch.number;
            let near = (self.begin() - before.end()).0.abs() <= GAP.0;
            before.init == *init && (is_next || near)
        };
        let id = &recording.id;
        Entry {
            seq,
            uri: format!("{name}.m4s?rec={id}&n={}", stretch.number),
            duration: stretch.end - stretch.start,
            discontinuity: before.is_some_and(|before| !follows(before)),
            map: Some(self.map(name)),
            independent: true,
            date: Some(self.begin().millis()),
            ..Entry::default()
        }
    }
}

impl Archive {
    pub(super) fn new(theatre: Theatre) -> Self {
        Self { theatre, delayed: Arc::default() }
    }

    /// The stretches of a stream between two moments, in order. Waits for the disk.
    fn places(&self, key: &StreamKey, from: Micros, to: Micros) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for recording in self.theatre.catalogue().of(key, from, Some(to)) {
            let stretches = match self.theatre.index(&recording, |index| index.stretches(TARGET)) {
                Ok(stretches) => stretches,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.theatre.catalogue().forget(&recording);
                    continue;
                }
                Err(e) => {
                    warn!("dvr: {} cannot be played: {e}", recording.file().display());
                    continue;
                }
            };
            for stretch in stretches {
                let (begin, end) = (recording.begin + stretch.start, recording.begin + stretch.end);
                if end <= from || begin >= to {
                    continue;
                }
                // What MP4 cannot carry is not there.
                let Ok(Some(init)) = self.theatre.init(&recording, &stretch) else { continue };
                places.push(Place { recording: recording.clone(), stretch, init });
                if places.len() > MOST {
                    return places;
                }
            }
        }
        places
    }

    /// The segments of a time, all at once.
    fn range(&self, key: &StreamKey, from: Micros, to: Micros) -> Result<Playlist, Missing> {
        let places = self.places(key, from, to);
        if places.len() > MOST {
            return Err(Missing::TooLong);
        }
        let mut window = Window::new(Micros(i64::MAX), TARGET);
        let mut first: Option<&Place> = None;
        for (seq, place) in places.iter().enumerate() {
            let before = seq.checked_sub(1).and_then(|before| places.get(before));
            // Those that begin in the same way share the one of the first of them.
            let same = first.filter(|first| first.init == place.init).unwrap_or(place);
            first = Some(same);
            let map = Some(same.map(&key.stream));
            window.push(Entry { map, ..place.entry(&key.stream, seq as u64, before) });
        }
        window.end();
        window.playlist().ok_or(Missing::Nothing)
    }

    /// The newest segments of so long ago.
    fn delayed(&self, key: &StreamKey, delay: Micros, is_live: bool) -> Result<Playlist, Missing> {
        let now = Micros(Timestamp::now().as_microsecond()) - delay;
        let places = self.places(key, now - WINDOW, now);
        let complete = || places.iter().filter(|place| place.end() <= now);
        let mut all = self.delayed.lock();
        let known = all.iter().position(|(other, other_delay, _)| other == key && *other_delay == delay);
        let known = known.and_then(|at| all.remove(at)).map(|(.., delayed)| delayed);
        // When nobody has asked for long, it begins anew: with a number that is higher than all before.
        let goes_on = |delayed: &Delayed| delayed.last.as_ref().is_some_and(|last| last.end() > now - WINDOW);
        let mut delayed = known.filter(goes_on).unwrap_or_else(|| Delayed {
            window: Window::new(WINDOW, TARGET),
            next: complete().next().map_or(0, |first| first.begin().millis().max(0) as u64 / 1000),
            last: None,
        });
        for place in complete() {
            let is_new = delayed.last.as_ref().is_none_or(|last| place.begin() > last.begin());
            if is_new {
                delayed.window.push(place.entry(&key.stream, delayed.next, delayed.last.as_ref()));
                delayed.next += 1;
                delayed.last = Some(place.clone());
            }
        }
        // Everything that was published is listed.
        let listed = delayed.last.as_ref().map(Place::end);
        let more = || self.theatre.catalogue().of(key, listed.unwrap_or(now), None);
        if !is_live && listed.is_some_and(|listed| listed <= now) && more().is_empty() {
            delayed.window.end();
        }
        let playlist = delayed.window.playlist();
        all.push_back((key.clone(), delay, delayed));
        if all.len() > DELAYS {
            all.pop_front();
        }
        playlist.ok_or(Missing::Nothing)
    }

    /// A segment, or what is before segments.
    pub(super) async fn send(
        &self,
        key: StreamKey,
        part: Part,
        request: &Request<()>,
        player: Option<Arc<Player>>,
    ) -> Response {
        let archive = self.clone();
        let is_init = part.is_init;
        let opened = self.theatre.work(move || archive.find(&key, &part)).await;
        let (cut, init) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => return Missing::Nothing.respond(),
            Err(e) => return Missing::from(e).respond(),
        };
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"))];
        if is_init {
            return (kind, init).into_response();
        }
        let (pieces, body) = feed();
        if *request.method() != Method::HEAD {
            let theatre = self.theatre.clone();
            tokio::spawn(async move {
                let mut cut = cut;
                loop {
                    let next = theatre.work(move || cut.next().map(|piece| (cut, piece))).await;
                    let piece = match next {
                        Ok((now, Some(piece))) => {
                            cut = now;
                            piece
                        }
                        Ok((_, None)) => return,
                        Err(e) => {
                            warn!("dvr: a segment breaks off: {e}");
                            return drop(pieces.send(Err(e)).await);
                        }
                    };
                    if pieces.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
            });
        }
        let response = (kind, body).into_response();
        match player {
            Some(player) => counted(response, &player),
            None => response,
        }
    }

    /// Waits for the disk.
    fn find(&self, key: &StreamKey, part: &Part) -> io::Result<Option<(Cut, Bytes)>> {
        let Some(recording) = self.theatre.catalogue().find(key, &part.recording) else { return Ok(None) };
        let stretches = self.theatre.index(&recording, |index| index.stretches(TARGET))?;
        let found = match part.is_init {
            true => stretches.iter().find(|stretch| stretch.settings == part.number),
            false => stretches.get(part.number),
        };
        let Some(stretch) = found else { return Ok(None) };
        Ok(Cut::open(&self.theatre, &recording, stretch)?.map(|cut| {
            let init = cut.init();
            (cut, init)
        }))
    }
}

impl Service {
    /// The playlist of what was recorded of a stream.
    pub(super) async fn recorded_playlist(&self, wanted: &Wanted, player: Option<Arc<Player>>) -> Response {
        let asked = match Asked::of(&wanted.uri) {
            Ok(Some(asked)) => asked,
            Ok(None) => return refuse(StatusCode::BAD_REQUEST, &"nothing is asked for"),
            Err(e) => return refuse(StatusCode::BAD_REQUEST, &e),
        };
        // Without sessions, whoever may play may have the playlist.
        if !wanted.vhost.hls_sessions.ctx
            && let Err(refusal) = self.admit_once(wanted).await
        {
            return refusal;
        }
        let key = wanted.key();
        let is_live = self.gate.publisher_of(&key).is_some();
        let tape = Tape { archive: self.archive.clone(), key, asked, is_live };
        self.session(wanted, player, Source::Recorded(tape)).await
    }

    /// A segment of what was recorded.
    pub(super) async fn recorded_segment(
        &self,
        mut wanted: Wanted,
        player: Option<Arc<Player>>,
        request: Request<()>,
    ) -> Response {
        let Some(part) = wanted.part() else { return refuse(StatusCode::NOT_FOUND, &"no such segment") };
        if let Some(stream) = wanted.file.strip_suffix(".m4s") {
            wanted.stream = stream.to_owned();
        }
        // The playlist that it is in, which its player was admitted to.
        wanted.file = format!("{}.m3u8", wanted.stream);
        wanted.place = shelf::place(&wanted.vhost.name, &format!("{}/{}", wanted.app, wanted.file));
        let key = wanted.key();
        let player = match player.filter(|player| player.is_for(&key)) {
            // Who plays a recording does not ask for its playlist again.
            Some(player) if player.ask() && player.plays() => Some(player),
            Some(player) => return ended(&player),
            None if !wanted.vhost.hls_sessions.ctx || ctx(&wanted.uri).is_none() => {
                match self.admit_once(&wanted).await {
                    Ok(()) => None,
                    Err(refusal) => return refusal,
                }
            }
            // One that was silent for long, such as somebody who has stopped the picture, comes again under its name.
            None => match self.admit(&wanted, ctx(&wanted.uri)).await {
                Ok(player) => Some(player),
                Err(refusal) => return refusal,
            },
        };
        self.archive.send(key, part, &request, player).await
    }

    /// Whether the gate would admit a player, who is none.
    async fn admit_once(&self, wanted: &Wanted) -> Result<(), Response> {
        let session = Session::named(Cid::random(), wanted.peer);
        let admitted = self.gate.play(self.ask(&session, wanted)).await.map(drop);
        admitted.map_err(|refused| {
            warn!("client refused: {refused}, peer={}", session.peer);
            refusal::respond(&refused)
        })
    }
}

impl Tape {
    /// The playlist as of now.
    pub(super) async fn playlist(self) -> Result<Playlist, Missing> {
        let Self { archive, key, asked, is_live } = self;
        let theatre = archive.theatre.clone();
        let made = theatre.work(move || {
            Ok(match asked {
                Asked::Range { from, to } => {
                    let now = Micros(Timestamp::now().as_microsecond());
                    archive.range(&key, from, to.unwrap_or(now))
                }
                Asked::Delay(delay) => archive.delayed(&key, delay, is_live),
            })
        });
        made.await?
    }
}

/// Why something is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missing {
    #[error("nothing of this stream was recorded then")]
    Nothing,
    #[error("a playlist has at most {MOST} segments")]
    TooLong,
    #[error("{0}")]
    Disk(io::Error),
}

impl From<io::Error> for Missing {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::NotFound { Self::Nothing } else { Self::Disk(e) }
    }
}

impl Missing {
    /// The answer.
    pub(super) fn respond(&self) -> Response {
        let status = match self {
            Self::Nothing => StatusCode::NOT_FOUND,
            Self::TooLong => StatusCode::BAD_REQUEST,
            Self::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        refuse(status, self)
    }
}
