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

use super::serve::{counted, refuse};
use super::sessions::Player;
use crate::dvr::{Asked, Cut, Recording, Stretch, Theatre};
use crate::http::feed::feed;
use crate::http::request::parameter;

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
            let mut init: Option<(usize, Option<Bytes>)> = None;
            for stretch in stretches {
                let (begin, end) = (recording.begin + stretch.start, recording.begin + stretch.end);
                if end <= from || begin >= to {
                    continue;
                }
                if init.as_ref().is_none_or(|(settings, _)| *settings != stretch.settings) {
                    let cut = Cut::open(&self.theatre, &recording, &stretch);
                    init = Some((stretch.settings, cut.ok().flatten().map(|cut| cut.init())));
                }
                // What MP4 cannot carry is not there.
                let Some((_, Some(init))) = &init else { continue };
                places.push(Place { recording: recording.clone(), stretch, init: init.clone() });
                if places.len() > MOST {
                    return places;
                }
            }
        }
        places
    }

    /// The segments of a time, all at once.
    fn range(&self, key: &StreamKey, from: Micros, to: Micros) -> Result<Playlist, Response> {
        let places = self.places(key, from, to);
        if places.len() > MOST {
            return Err(refuse(StatusCode::BAD_REQUEST, &format!("a playlist has at most {MOST} segments")));
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
        window.playlist().ok_or_else(nothing)
    }

    /// The newest segments of so long ago.
    fn delayed(&self, key: &StreamKey, delay: Micros, is_live: bool) -> Result<Playlist, Response> {
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
        playlist.ok_or_else(nothing)
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
        let opened = self.theatre.work(move || archive.open(&key, &part)).await;
        let (cut, init) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => return nothing(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return nothing(),
            Err(e) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &e),
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
    fn open(&self, key: &StreamKey, part: &Part) -> io::Result<Option<(Cut, Bytes)>> {
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

impl Tape {
    /// The playlist as of now.
    pub(super) async fn playlist(self) -> Result<Playlist, Response> {
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
        made.await.unwrap_or_else(|e| Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, &e)))
    }
}

fn nothing() -> Response {
    refuse(StatusCode::NOT_FOUND, &"nothing of this stream was recorded then")
}
