//! A recording: fragments while it is written, so that whatever has come is playable, and one plain file with an index when it is complete,
//! without moving a byte of media.
//!
//! While it grows:
//!
//! ```text
//! ftyp  moov (tracks, no samples)  free (16 bytes)  moof mdat  moof mdat …
//! ```
//!
//! When it is complete, the `moov` of [`Movie`] is appended, and then the head is overwritten with what [`seal`] makes of it: the old `moov`
//! becomes free space, and the 16 bytes become the header of one `mdat` that reaches from there to the new `moov`:
//!
//! ```text
//! ftyp  free  mdat (16-byte header; the old fragments are its content)  moov (all samples)
//! ```
//!
//! A file that was left after the first step still is a whole file of fragments, since readers take the first `moov`.

use bytes::{BufMut, Bytes};
use media::{ByteReader, Kind, Micros};

use super::boxes::{Boxes, boxed, find, full, header};
use super::fragment::{self, Sample};
use super::init::{MOVIE, Trak, moov, mvhd, trak};
use super::{Description, Error, track_id};

/// Room for the header of an `mdat` of any size.
const RESERVE: usize = 16;

/// What a recording begins with. Fragments follow right behind.
pub fn recording(tracks: &[&Description]) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, b"ftyp", |out| out.put_slice(b"isom\0\0\x02\0isomiso2iso6mp41"));
    moov(tracks, &mut out);
    boxed(&mut out, b"free", |out| out.put_bytes(0, RESERVE - 8));
    out.into()
}

/// The head of a complete file, as long as the `head` of the recording was: to be written over it. `end` is the position where the fragments end
/// and the `moov` stands.
///
/// # Errors
/// When this is no head of ours, or it is sealed already.
pub fn seal(head: &[u8], end: u64) -> Result<Bytes, Error> {
    let (mut out, mut at) = (head.to_vec(), 4);
    let moov = Boxes(head).find_map(|(kind, body)| {
        let here = at;
        at += body.len() + 8;
        (&kind == b"moov").then_some(here)
    });
    let kind = moov.and_then(|at| out.get_mut(at..at + 4)).ok_or(Error::Damaged("moov"))?;
    kind.copy_from_slice(b"free");
    let start = head.len().checked_sub(RESERVE).ok_or(Error::Damaged("free"))?;
    let reserve = head.get(start..).and_then(header);
    if reserve.is_none_or(|free| free.kind != *b"free" || free.size != RESERVE as u64) {
        return Err(Error::Damaged("free"));
    }
    let size = end.checked_sub(start as u64).ok_or(Error::Damaged("mdat"))?;
    out.truncate(start);
    out.put_u32(1); // the size stands behind
    out.put_slice(b"mdat");
    out.put_u64(size);
    Ok(out.into())
}

/// The samples of a recording, collected from its fragments.
#[derive(Clone, Debug)]
pub struct Movie {
    tracks: Vec<Track>,
}

#[derive(Clone, Debug)]
struct Track {
    kind: Kind,
    timescale: u32,
    size: (u32, u32),
    entry: Bytes,
    /// The decoding time of the first sample, in ticks.
    start: Option<u64>,
    /// Where the last sample ends.
    end: u64,
    /// How much later than decoded the first sample is shown.
    lag: i32,
    count: u32,
    /// Runs of samples with the same duration, and with the same offset.
    durations: Vec<(u32, u32)>,
    offsets: Vec<(u32, i32)>,
    sizes: Vec<u32>,
    /// The numbers of samples where a decoder can start, from 1.
    sync: Vec<u32>,
    /// Each fragment: where its bytes are, and how many samples it has.
    chunks: Vec<(u64, u32)>,
}

impl Movie {
    /// Of a recording that begins with these bytes; its fragments are to be added.
    ///
    /// # Errors
    /// When this is no head of ours.
    pub fn read(head: &[u8]) -> Result<Self, Error> {
        let moov = find(head, b"moov").ok_or(Error::Damaged("moov"))?;
        let traks = Boxes(moov).filter(|(kind, _)| kind == b"trak");
        let tracks = traks.map(|(_, body)| Track::read(body)).collect::<Result<_, _>>()?;
        Ok(Self { tracks })
    }

    /// Adds the next fragment of a track. `at` is its position in the file; of its bytes the `moof` is enough.
    ///
    /// # Errors
    /// When it is not a fragment, or of another track. Nothing is added then.
    pub fn add(&mut self, at: u64, fragment: &[u8]) -> Result<(), Error> {
        let moof = find(fragment, b"moof").ok_or(Error::Damaged("moof"))?;
        let listed = fragment::read(moof)?;
        let track = self.tracks.iter_mut().find(|track| track_id(track.kind) == listed.track);
        let track = track.ok_or(Error::UnknownTrack(listed.track))?;
        track.add(at.saturating_add(listed.data), listed.start, &listed.samples)
    }

    /// No sample has been added.
    pub fn is_empty(&self) -> bool {
        self.tracks.iter().all(|track| track.count == 0)
    }

    /// From the first sample that is shown or heard to the last.
    pub fn duration(&self) -> Micros {
        let zero = self.zero();
        let shown = self.tracks.iter().map(|track| track.shown(zero).1).max().unwrap_or_default();
        Micros(i64::try_from(shown).unwrap_or(i64::MAX).saturating_mul(1_000_000 / i64::from(MOVIE)))
    }

    /// The index of the whole file.
    pub fn moov(&self) -> Bytes {
        let zero = self.zero();
        let mut out = Vec::new();
        boxed(&mut out, b"moov", |out| {
            let tracks = self.tracks.iter().filter(|track| track.count > 0);
            let shown = tracks.clone().map(|track| track.shown(zero).1).max().unwrap_or_default();
            mvhd(shown, out);
            tracks.for_each(|track| track.write(zero, out));
        });
        out.into()
    }

    /// When the first of all tracks is shown, in microseconds on the time line of the fragments.
    fn zero(&self) -> i128 {
        let starts = self.tracks.iter().filter(|track| track.count > 0).map(Track::first_shown);
        starts.min().unwrap_or_default()
    }
}

impl Track {
    fn read(trak: &[u8]) -> Result<Self, Error> {
        let tkhd = find(trak, b"tkhd").ok_or(Error::Damaged("tkhd"))?;
        // The last eight bytes, in either version.
        let size = tkhd.len().checked_sub(8).and_then(|at| tkhd.get(at..)).unwrap_or_default();
        let mut size = ByteReader::new(size);
        let mut side = || size.u32().map_or(0, |fixed| fixed >> 16);
        let size = (side(), side());
        let mdia = find(trak, b"mdia").ok_or(Error::Damaged("mdia"))?;
        let timescale = find(mdia, b"mdhd").and_then(timescale).ok_or(Error::Damaged("mdhd"))?;
        let kind = match find(mdia, b"hdlr").and_then(|hdlr| hdlr.get(8..12)) {
            Some(b"vide") => Kind::Video,
            Some(b"soun") => Kind::Audio,
            _ => return Err(Error::Damaged("hdlr")),
        };
        let stsd =
            find(mdia, b"minf").and_then(|minf| find(minf, b"stbl")).and_then(|stbl| find(stbl, b"stsd"));
        let entry = stsd.and_then(|stsd| stsd.get(8..)).ok_or(Error::Damaged("stsd"))?;
        Ok(Self {
            kind,
            timescale,
            size,
            entry: Bytes::copy_from_slice(entry),
            start: None,
            end: 0,
            lag: 0,
            count: 0,
            durations: Vec::new(),
            offsets: Vec::new(),
            sizes: Vec::new(),
            sync: Vec::new(),
            chunks: Vec::new(),
        })
    }

    fn add(&mut self, data: u64, start: u64, samples: &[Sample]) -> Result<(), Error> {
        let count = u32::try_from(samples.len()).ok().and_then(|count| self.count.checked_add(count));
        let count = count.ok_or(Error::TooMany)?;
        let Some(first) = samples.first() else { return Ok(()) };
        match self.start {
            None => (self.start, self.lag) = (Some(start), first.offset),
            Some(_) => self.stretch(start),
        }
        self.end = start;
        for (sample, number) in samples.iter().zip(self.count + 1..) {
            grow(&mut self.durations, sample.duration);
            grow(&mut self.offsets, sample.offset);
            self.sizes.push(sample.size);
            if sample.sync {
                self.sync.push(number);
            }
            self.end = self.end.saturating_add(sample.duration.into());
        }
        self.chunks.push((data, count - self.count));
        self.count = count;
        Ok(())
    }

    /// The last sample lasts until this time, if what follows does not begin where it ends.
    fn stretch(&mut self, until: u64) {
        let Some((count, last)) = self.durations.last_mut() else { return };
        let start = self.end.saturating_sub((*last).into());
        let length = u32::try_from(until.saturating_sub(start)).unwrap_or(u32::MAX);
        if length == *last {
            return;
        }
        *count -= 1;
        if *count == 0 {
            self.durations.pop();
        }
        grow(&mut self.durations, length);
    }

    fn micros(&self, ticks: i128) -> i128 {
        ticks.saturating_mul(1_000_000) / i128::from(self.timescale)
    }

    fn first_shown(&self) -> i128 {
        self.micros(i128::from(self.start.unwrap_or_default()) + i128::from(self.lag.max(0)))
    }

    fn duration(&self) -> u64 {
        self.durations
            .iter()
            .map(|(count, each)| u64::from(*count).saturating_mul((*each).into()))
            .fold(0, u64::saturating_add)
    }

    /// When it begins to be shown and when it ends, in ticks of the movie.
    fn shown(&self, zero: i128) -> (u64, u64) {
        let ticks =
            |micros: i128| u64::try_from(micros.max(0) * i128::from(MOVIE) / 1_000_000).unwrap_or(u64::MAX);
        let wait = self.first_shown() - zero;
        (ticks(wait), ticks(wait + self.micros(self.duration().into())))
    }

    fn write(&self, zero: i128, out: &mut Vec<u8>) {
        let (wait, shown) = self.shown(zero);
        let lag = u64::try_from(self.lag).unwrap_or_default();
        let about = Trak {
            kind: self.kind,
            timescale: self.timescale,
            size: self.size,
            entry: &self.entry,
            shown,
            duration: self.duration(),
            edit: (wait > 0 || lag > 0).then_some((wait, lag)),
        };
        trak(&about, out, |out| self.write_tables(out));
    }

    fn write_tables(&self, out: &mut Vec<u8>) {
        full(out, b"stts", 0, 0, |out| {
            put_count(self.durations.len(), out);
            for (count, duration) in &self.durations {
                out.put_u32(*count);
                out.put_u32(*duration);
            }
        });
        if self.sync.len() < self.sizes.len() {
            full(out, b"stss", 0, 0, |out| {
                put_count(self.sync.len(), out);
                self.sync.iter().for_each(|number| out.put_u32(*number));
            });
        }
        if self.offsets.iter().any(|(_, offset)| *offset != 0) {
            let version = u8::from(self.offsets.iter().any(|(_, offset)| *offset < 0));
            full(out, b"ctts", version, 0, |out| {
                put_count(self.offsets.len(), out);
                for (count, offset) in &self.offsets {
                    out.put_u32(*count);
                    out.put_i32(*offset);
                }
            });
        }
        let mut runs: Vec<(usize, u32)> = Vec::new();
        for (n, (_, samples)) in self.chunks.iter().enumerate() {
            if runs.last().is_none_or(|(_, before)| before != samples) {
                runs.push((n + 1, *samples));
            }
        }
        full(out, b"stsc", 0, 0, |out| {
            put_count(runs.len(), out);
            for (first, samples) in &runs {
                put_count(*first, out);
                out.put_u32(*samples);
                out.put_u32(1); // sample description
            }
        });
        full(out, b"stsz", 0, 0, |out| {
            out.put_u32(0); // each its own
            put_count(self.sizes.len(), out);
            self.sizes.iter().for_each(|size| out.put_u32(*size));
        });
        let is_far = self.chunks.iter().any(|(at, _)| *at > u64::from(u32::MAX));
        full(out, if is_far { b"co64" } else { b"stco" }, 0, 0, |out| {
            put_count(self.chunks.len(), out);
            for (at, _) in &self.chunks {
                match is_far {
                    true => out.put_u64(*at),
                    false => out.put_u32(u32::try_from(*at).unwrap_or(u32::MAX)),
                }
            }
        });
    }
}

/// Counts one more of this value.
fn grow<T: PartialEq>(runs: &mut Vec<(u32, T)>, value: T) {
    match runs.last_mut() {
        Some((count, last)) if *last == value => *count += 1,
        _ => runs.push((1, value)),
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

pub(super) fn timescale(mdhd: &[u8]) -> Option<u32> {
    let at = if *mdhd.first()? == 0 { 12 } else { 20 };
    let bytes = mdhd.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes)).filter(|timescale| *timescale > 0)
}
