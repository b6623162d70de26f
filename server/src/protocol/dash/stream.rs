//! One stream on its way to segments: their names, which of them are listed, and when in the presentation they are. It runs on the packager's
//! thread, and may wait for files there.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::cmaf::{Chunk, Grouping, GroupingOptions, Header, Init, Join, Part, Piece};
use formats::dash::{Manifest, Period, Set, name};
use formats::mp4;
use hub::StreamKey;
use jiff::Timestamp;
use media::{Kind, Micros, Stamped};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::{debug, info, warn};

use crate::config::Dash;
use crate::follow::{self, Publisher, file};
use crate::form;
use crate::naming::{self, Names};
use crate::store::{Content, Output, Store};

/// See the module.
pub struct Stream {
    key: Arc<StreamKey>,
    dash: Arc<Dash>,
    store: Store,
    /// The manifest, and the folder of the other files, below `dash_path`.
    mpd: String,
    folder: String,
    grouping: Grouping,
    manifest: Manifest,
    /// The tracks of the chunks that come.
    init: Option<Arc<Init>>,
    open: Option<Open>,
    /// The next period.
    next: u64,
    /// The numbers of the next segments, and the init segments that stand: of video, of audio.
    tracks: [Track; 2],
    /// Segments that are not listed any more, and may still be fetched.
    expired: VecDeque<String>,
    /// What another process, or an older one, has left under these names is gone.
    is_clean: bool,
    warned: bool,
}

/// What goes on from period to period.
#[derive(Default)]
struct Track {
    segments: u64,
    /// How many init segments there have been, and the newest of them.
    inits: u64,
    init: Bytes,
}

/// The segment that grows.
#[derive(Default)]
struct Open {
    video: Vec<Part>,
    audio: Vec<Part>,
    /// It begins a period.
    begins: Option<Begins>,
}

struct Begins {
    init: Arc<Init>,
    /// When its first frame is shown, on the time line of the chunks.
    start: Micros,
}

/// A segment ends without a keyframe when it is so many times as long as it shall be.
const OVERFLOW: f64 = 2.1;

/// Streams whose files stay for ever (`dash_dispose 0`) are remembered for so long after their publisher left.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Stream {
    /// A stream without segments.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn new(key: &StreamKey, dash: &Arc<Dash>, store: &Store) -> Result<Self, String> {
        let mpd = Names::of(key).fill(&dash.mpd_file);
        if !naming::is_safe(key) || !naming::stays_inside(&mpd) {
            return Err(format!("{key} cannot be the name of a file"));
        }
        let last = key.stream.rsplit('/').next().unwrap_or_default();
        let (above, file) = mpd.rsplit_once('/').map_or(("", &*mpd), |(above, file)| (above, file));
        let folder = if above.is_empty() { last.to_owned() } else { format!("{above}/{last}") };
        let escaped = |name: &str| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        let manifest = Manifest {
            update_period: form::micros(dash.update_period),
            base: format!("{}/", escaped(last)),
            own: escaped(file),
            ..Manifest::default()
        };
        Ok(Self {
            key: Arc::new(key.clone()),
            store: store.clone(),
            folder,
            grouping: grouping(dash),
            manifest,
            init: None,
            open: None,
            next: 0,
            tracks: [Track { segments: 1, ..Track::default() }, Track { segments: 1, ..Track::default() }],
            expired: VecDeque::new(),
            is_clean: false,
            warned: false,
            dash: dash.clone(),
            mpd,
        })
    }

    fn chunk(&mut self, chunk: Chunk) {
        match self.grouping.chunk(&chunk) {
            Join::Opens { discontinuity } => {
                // What is lost is a discontinuity, too.
                let discontinuity = !self.close() || discontinuity;
                let lag =
                    chunk.video.as_ref().map_or(Micros::ZERO, |part| micros(part.lag, mp4_scale(&self.init)));
                let begins = self.init.clone().filter(|_| discontinuity);
                let begins = begins.map(|init| Begins { init, start: chunk.start + lag });
                self.open = Some(Open { begins, ..Open::default() });
            }
            Join::Joins => {}
            Join::Skipped => return,
        }
        let Some(open) = &mut self.open else { return };
        open.video.extend(chunk.video);
        open.audio.extend(chunk.audio);
    }

    /// The segment that is open is complete. Says whether it is there; without one there is nothing to lose.
    fn close(&mut self) -> bool {
        let Some(open) = self.open.take() else { return true };
        let written = self.write(open);
        if let Err(e) = &written
            && !std::mem::replace(&mut self.warned, true)
        {
            warn!("dash: {}: {e}", self.key);
        }
        if written.is_err() {
            let is_empty = |period: &mut Period| period.sets.iter().all(|set| set.segments.is_empty());
            self.manifest.periods.pop_back_if(is_empty);
        }
        written.is_ok()
    }

    fn write(&mut self, open: Open) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_clean, true) {
            self.clean();
        }
        let is_new = open.begins.is_some();
        if let Some(Begins { init, start }) = open.begins {
            let sets = [(Kind::Video, &init.video), (Kind::Audio, &init.audio)];
            let sets = sets.into_iter().filter_map(|(kind, header)| Some((kind, header.as_ref()?)));
            let sets = sets.map(|(kind, header)| self.set(kind, header, start)).collect::<io::Result<_>>()?;
            // Where it is in the presentation is known when its first segment is.
            self.manifest.periods.push_back(Period { id: self.next, start: Micros::ZERO, sets });
            self.next += 1;
        }
        for (kind, parts) in [(Kind::Video, &open.video), (Kind::Audio, &open.audio)] {
            self.segment(kind, parts)?;
        }
        let now = Timestamp::now().as_millisecond();
        if is_new {
            self.place(now);
        }
        self.shorten();
        self.list(now)?;
        self.drop_expired();
        Ok(())
    }

    /// The track of a new period, with its init segment written.
    fn set(&mut self, kind: Kind, header: &Header, start: Micros) -> io::Result<Set> {
        let track = &mut self.tracks[usize::from(kind != Kind::Video)];
        let is_other = track.init != header.bytes;
        let inits = track.inits + u64::from(is_other);
        let init = match inits {
            1 => format!("{}-init.mp4", name(kind)),
            n => format!("{}-init-{n}.mp4", name(kind)),
        };
        let number = track.segments;
        if is_other {
            let relative = format!("{}/{init}", self.folder);
            self.put(&relative, [&header.bytes[..]])?;
            let track = &mut self.tracks[usize::from(kind != Kind::Video)];
            (track.init, track.inits) = (header.bytes.clone(), inits);
        }
        let scale = u128::from(header.about.timescale);
        let zero = u128::try_from(start.0).unwrap_or_default() * scale + 500_000;
        let zero = u64::try_from(zero / 1_000_000).unwrap_or_default();
        let about = header.about.clone();
        Ok(Set { about, init, zero, number, bandwidth: 0, segments: VecDeque::new() })
    }

    fn segment(&mut self, kind: Kind, parts: &[Part]) -> io::Result<()> {
        let Some(first) = parts.first() else { return Ok(()) };
        let track = &mut self.tracks[usize::from(kind != Kind::Video)];
        let relative = format!("{}/{}-{}.m4s", self.folder, name(kind), track.segments);
        let number = track.segments;
        track.segments += 1;
        let pieces = std::iter::once(mp4::SEGMENT_TYPE).chain(parts.iter().map(|part| &part.bytes[..]));
        self.put(&relative, pieces)?;
        let Some(period) = self.manifest.periods.back_mut() else { return Ok(()) };
        let Some(set) = period.sets.iter_mut().find(|set| set.about.kind == kind) else { return Ok(()) };
        let duration: u64 = parts.iter().map(|part| part.duration).sum();
        // The delay of pictures is the same for all of a period.
        let lag = if set.segments.is_empty() { u64::try_from(first.lag).unwrap_or(0) } else { 0 };
        let at = match set.segments.back() {
            Some((at, length)) => at + length,
            None => first.start + lag,
        };
        if set.segments.is_empty() {
            set.number = number;
        }
        set.segments.push_back((at, duration));
        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        let rate = bytes as u64 * 8 * u64::from(set.about.timescale) / duration.max(1);
        set.bandwidth = set.bandwidth.max(rate);
        debug!("dash: {} {relative} of {duration} ticks", self.key);
        Ok(())
    }

    /// Puts the newest period where the clock on the wall says: not before the one before it has ended.
    fn place(&mut self, now: i64) {
        let periods = &mut self.manifest.periods;
        let before = periods.len().checked_sub(2).and_then(|at| periods.get(at));
        let free = before.map(|period| period.start + period.end());
        let Some(newest) = periods.back_mut() else { return };
        match free {
            Some(free) => {
                let clock = Micros::from_millis(now - self.manifest.available_since) - newest.end();
                newest.start = if clock - free < NEAR { free } else { clock };
            }
            None if self.manifest.available_since == 0 => {
                self.manifest.available_since = now - newest.end().millis();
            }
            None => {
                newest.start = Micros::from_millis(now - self.manifest.available_since) - newest.end();
            }
        }
    }

    /// Takes the oldest segments off the list.
    fn shorten(&mut self) {
        for kind in [Kind::Video, Kind::Audio] {
            let sets = |periods: &VecDeque<Period>| -> usize {
                let sets = periods.iter().flat_map(|period| &period.sets);
                sets.filter(|set| set.about.kind == kind).map(|set| set.segments.len()).sum()
            };
            let mut listed = sets(&self.manifest.periods);
            for period in &mut self.manifest.periods {
                for set in period.sets.iter_mut().filter(|set| set.about.kind == kind) {
                    while listed > self.dash.window && set.segments.pop_front().is_some() {
                        self.expired.push_back(format!("{}/{}-{}.m4s", self.folder, name(kind), set.number));
                        set.number += 1;
                        listed -= 1;
                    }
                }
            }
        }
        let is_empty = |period: &Period| period.sets.iter().all(|set| set.segments.is_empty());
        while self.manifest.periods.len() > 1 && self.manifest.periods.front().is_some_and(is_empty) {
            self.manifest.periods.pop_front();
        }
    }

    /// Shows what there is now.
    fn list(&mut self, now: i64) -> io::Result<()> {
        self.manifest.published = now;
        let Some(text) = self.manifest.write() else { return Ok(()) };
        file::replace(&self.dash.path.join(&self.mpd), [text.as_bytes()])?;
        self.store.listed(&self.key, Output::Dash, &self.mpd, || Bytes::from(text));
        Ok(())
    }

    fn put<'a>(&self, relative: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let path = self.dash.path.join(relative);
        file::replace(&path, pieces)?;
        self.store.finished(&self.key, Output::Dash, relative, || Content::File(path));
        Ok(())
    }

    /// Files stay for as many segments as are listed, once they are listed no more: players may be about to fetch them.
    fn drop_expired(&mut self) {
        let kinds = self.manifest.periods.back().map_or(1, |period| period.sets.len().max(1));
        while self.expired.len() > self.dash.window * kinds
            && let Some(oldest) = self.expired.pop_front()
        {
            if self.dash.cleanup {
                self.delete(&oldest);
            }
        }
    }

    fn delete(&self, relative: &str) {
        self.store.removed(&self.key, Output::Dash, relative);
        if let Err(e) = file::remove(&self.dash.path.join(relative)) {
            warn!("dash: {}: {e}", self.key);
        }
    }

    /// Deletes the segments that were left by a process before this one: their numbers would come again.
    fn clean(&self) {
        let Ok(entries) = fs::read_dir(self.dash.path.join(&self.folder)) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_own)) {
            if let Err(e) = file::remove(&entry.path()) {
                warn!("dash: {}: {e}", self.key);
            }
        }
    }

    /// Deletes everything.
    fn dispose(&mut self) {
        self.delete(&self.mpd);
        let folder: PathBuf = self.dash.path.join(&self.folder);
        self.clean();
        // Only if nothing of others is in it.
        let _ = fs::remove_dir(Path::new(&folder));
        info!("dash: {} is disposed of", self.key);
    }
}

/// A period that would begin this soon after the one before follows it.
const NEAR: Micros = Micros::from_millis(100);

fn grouping(dash: &Dash) -> Grouping {
    let target = form::micros(dash.fragment);
    Grouping::new(GroupingOptions { target, overflow: Micros((target.0 as f64 * OVERFLOW) as i64) })
}

/// `video-12.m4s`, `audio-init.mp4`
fn is_own(name: &str) -> bool {
    let rest = name.strip_prefix("video-").or(name.strip_prefix("audio-"));
    rest.is_some_and(|rest| match rest.strip_suffix(".m4s") {
        Some(number) => number.bytes().all(|byte| byte.is_ascii_digit()),
        None => rest.starts_with("init") && rest.ends_with(".mp4"),
    })
}

fn mp4_scale(init: &Option<Arc<Init>>) -> u32 {
    init.as_ref().and_then(|init| init.video.as_ref()).map_or(1, |video| video.about.timescale)
}

fn micros(ticks: i64, scale: u32) -> Micros {
    Micros(ticks.max(0).saturating_mul(1_000_000) / i64::from(scale.max(1)))
}

impl follow::Stream for Stream {
    type Unit = Piece;
    type Link = ();

    fn turn(mut self, now: Self) -> Self {
        self.close();
        if self.dash.path != now.dash.path || self.mpd != now.mpd {
            return now;
        }
        self.manifest.update_period = now.manifest.update_period;
        Self { dash: now.dash, grouping: now.grouping, ..self }
    }

    fn begin(&mut self, (): (), _publisher: Publisher) {
        info!(
            "dash: {} goes to {}, segments of {:?}",
            self.key,
            self.dash.path.display(),
            self.dash.fragment
        );
        self.grouping.restart();
        self.warned = false;
    }

    /// Its chunks begin with a discontinuity of their own.
    fn renew(&mut self, _publisher: Publisher) {
        self.warned = false;
    }

    fn lose(&mut self, units: u64) {
        warn!("dash: the disk is too slow for {}, {units} chunks are lost", self.key);
        self.close();
        self.grouping.restart();
    }

    fn take(&mut self, piece: Stamped<Piece>) {
        match piece.unit {
            Piece::Init(init) => {
                // What is open is of the tracks before.
                self.close();
                self.init = Some(init);
            }
            Piece::Chunk(chunk) => self.chunk(chunk),
        }
    }

    fn leave(&mut self) {
        self.close();
        self.grouping.restart();
    }

    fn rest(&self) -> Duration {
        self.dash.dispose.unwrap_or(REMEMBERED)
    }

    fn end(mut self, files_stay: bool) {
        self.close();
        if self.dash.dispose.is_some() && !files_stay && self.is_clean {
            self.dispose();
        }
    }
}
