//! Reading a recording back, while it grows and when it is complete. Nothing but what [`recording`](super::recording) and [`seal`](super::seal)
//! write is understood: the fragments stay where they are when the file becomes a plain one, so both are read in the same way, piece by piece,
//! and no index of the whole has to be in memory.

use bytes::{BufMut, Bytes};
use media::codec::{Codec, aac, av1, h264, h265, mp3, opus, vp9};
use media::{ByteReader, Dialect, Micros, Track, TrackId, Tracks, Truncated};

use super::boxes::{Boxes, Header, find, header};
use super::fragment;
use super::recorder::LEAD;
use super::{Error, track_id};

/// What a recording begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// What it consists of.
    pub tracks: Tracks,
    /// Where its first fragment is.
    pub end: u64,
    scales: Vec<(TrackId, u32)>,
}

/// A frame of a recording, and where in the file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Whose it is.
    pub track: TrackId,
    /// When it is decoded: time zero is that of the first frame.
    pub dts: Micros,
    /// When it is shown.
    pub pts: Micros,
    /// A decoder can start here.
    pub key: bool,
    /// Where its bytes are, from the start of the file.
    pub at: u64,
    /// How many they are.
    pub size: u32,
}

/// The largest head.
const MOST_HEAD: u64 = 1 << 20;
/// The largest frame.
const MOST_FRAME: u32 = 64 << 20;

impl Head {
    /// Reads what a file begins with. `None` if more bytes are needed.
    ///
    /// # Errors
    /// When it is no recording of ours.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let (mut at, mut moov) = (0, None);
        for kinds in [&[*b"ftyp"][..], &[*b"moov", *b"free"], &[*b"free", *b"mdat"]] {
            let Some(found) = bytes.get(at..).and_then(header) else { return need(bytes, at) };
            let Header { size, kind, length } = found;
            if !kinds.contains(&kind) {
                return Err(Error::Damaged("head"));
            }
            if moov.is_some() {
                // Of the media that follow, this is only the header.
                let end = at as u64 + 16;
                return Self::of(moov.unwrap_or_default(), end).map(Some);
            }
            let size = usize::try_from(size).ok().filter(|size| *size as u64 <= MOST_HEAD && *size > 0);
            let whole = at.saturating_add(size.ok_or(Error::Damaged("head"))?);
            if kind != *b"ftyp" {
                let Some(body) = bytes.get(at + length..whole) else { return need(bytes, at) };
                moov = Some(body);
            }
            at = whole;
        }
        Err(Error::Damaged("head"))
    }

    fn of(moov: &[u8], end: u64) -> Result<Self, Error> {
        let (mut tracks, mut scales) = (Tracks::default(), Vec::new());
        for (_, trak) in Boxes(moov).filter(|(kind, _)| kind == b"trak") {
            let (track, scale) = read_track(trak)?;
            scales.push((track.id, scale));
            tracks.set(track);
        }
        if scales.is_empty() { Err(Error::Damaged("moov")) } else { Ok(Self { tracks, end, scales }) }
    }

    /// The frames of a fragment, in the order of decoding. `at` is its position in the file; of its bytes the `moof` is enough.
    ///
    /// # Errors
    /// When it is none, or of a track that is not in the head.
    pub fn fragment(&self, at: u64, moof: &[u8]) -> Result<Vec<Placed>, Error> {
        let moof = find(moof, b"moof").ok_or(Error::Damaged("moof"))?;
        let listed = fragment::read(moof)?;
        let known = self.scales.iter().find(|(id, _)| track_id(id.kind) == listed.track);
        let (track, scale) = *known.ok_or(Error::UnknownTrack(listed.track))?;
        let mut place = at.saturating_add(listed.data);
        let mut ticks = i128::from(listed.start);
        let mut frames = Vec::with_capacity(listed.samples.len());
        for sample in listed.samples {
            if sample.size > MOST_FRAME {
                return Err(Error::Damaged("trun"));
            }
            let micros = |ticks: i128| micros(ticks, scale) - LEAD;
            let (dts, pts) = (micros(ticks), micros(ticks + i128::from(sample.offset)));
            frames.push(Placed { track, dts, pts, key: sample.sync, at: place, size: sample.size });
            place = place.saturating_add(sample.size.into());
            ticks += i128::from(sample.duration);
        }
        Ok(frames)
    }
}

/// More bytes are needed, if that many can be needed at all.
fn need(bytes: &[u8], at: usize) -> Result<Option<Head>, Error> {
    let is_long = bytes.len() as u64 > MOST_HEAD * 2 || bytes.len() >= at.saturating_add(16);
    if is_long && bytes.get(at..).and_then(header).is_none() { Err(Error::Damaged("head")) } else { Ok(None) }
}

/// To the nearest.
fn micros(ticks: i128, scale: u32) -> Micros {
    let scale = i128::from(scale.max(1));
    let micros = (ticks.saturating_mul(2_000_000) + scale).div_euclid(scale * 2);
    Micros(i64::try_from(micros).unwrap_or(i64::MAX / 2))
}

fn read_track(trak: &[u8]) -> Result<(Track, u32), Error> {
    let mdia = find(trak, b"mdia").ok_or(Error::Damaged("mdia"))?;
    let scale = find(mdia, b"mdhd").and_then(super::movie::timescale).ok_or(Error::Damaged("mdhd"))?;
    let stbl = find(mdia, b"minf").and_then(|minf| find(minf, b"stbl"));
    let stsd = stbl.and_then(|stbl| find(stbl, b"stsd")).and_then(|stsd| stsd.get(8..));
    let (kind, entry) = stsd.and_then(|stsd| Boxes(stsd).next()).ok_or(Error::Damaged("stsd"))?;
    let (id, codec, config) = match &kind {
        b"mp4a" | b"Opus" => {
            let (codec, config) = sound(&kind, entry)?;
            (TrackId::AUDIO, codec, config)
        }
        _ => {
            let (codec, config) = pictures(&kind, entry)?;
            (TrackId::VIDEO, codec, config)
        }
    };
    Ok((Track { id, codec, config, dialect: Dialect::Standard }, scale))
}

/// Bytes of the fixed fields in a sample entry.
const VIDEO_ENTRY: usize = 78;
const AUDIO_ENTRY: usize = 28;

/// Reads a configuration record.
type Parse = fn(&[u8]) -> Option<Codec>;

fn pictures(kind: &[u8; 4], entry: &[u8]) -> Result<(Codec, Bytes), Error> {
    let damaged = Error::Damaged("stsd");
    let (name, read): (_, Parse) = match kind {
        b"avc1" => (b"avcC", |record| h264::Config::parse(record).ok().map(Codec::H264)),
        b"hvc1" => (b"hvcC", |record| h265::Config::parse(record).ok().map(Codec::H265)),
        b"av01" => (b"av1C", |record| av1::Config::parse(record).ok().map(Codec::Av1)),
        b"vp09" => (b"vpcC", |record| vp9::Config::parse(record).ok().map(Codec::Vp9)),
        _ => return Err(damaged),
    };
    let record = entry.get(VIDEO_ENTRY..).and_then(|boxes| find(boxes, name)).ok_or(damaged)?;
    Ok((read(record).ok_or(damaged)?, Bytes::copy_from_slice(record)))
}

fn sound(kind: &[u8; 4], entry: &[u8]) -> Result<(Codec, Bytes), Error> {
    let boxes = entry.get(AUDIO_ENTRY..).unwrap_or_default();
    if kind == b"Opus" {
        let head =
            find(boxes, b"dOps").and_then(|body| opus_head(body).ok()).ok_or(Error::Damaged("dOps"))?;
        let config = opus::Config::parse(&head).map_err(|_| Error::Damaged("dOps"))?;
        return Ok((Codec::Opus(config), head));
    }
    let (object, config) =
        find(boxes, b"esds").and_then(|esds| read_esds(esds).ok().flatten()).ok_or(Error::Damaged("esds"))?;
    if object == 0x40 {
        let parsed = aac::Config::parse(&config).map_err(|_| Error::Damaged("esds"))?;
        return Ok((Codec::Aac(parsed), config));
    }
    let mut r = ByteReader::new(entry);
    let mut told = || -> Result<(u8, u32), Truncated> {
        r.take(16)?;
        let channels = r.u16()?;
        r.take(6)?;
        Ok((channels.min(2) as u8, r.u32()? >> 16))
    };
    let (channels, sample_rate) = told().map_err(|_| Error::Damaged("stsd"))?;
    Ok((Codec::Mp3(mp3::Config { sample_rate, channels, bitrate: None }), Bytes::new()))
}

/// The header of RFC 7845 again.
fn opus_head(body: &[u8]) -> Result<Bytes, Truncated> {
    let mut r = ByteReader::new(body);
    r.u8()?;
    let mut head = b"OpusHead\x01".to_vec();
    head.put_u8(r.u8()?);
    head.put_u16_le(r.u16()?);
    head.put_u32_le(r.u32()?);
    head.put_u16_le(r.u16()?);
    head.put_slice(r.take(r.left())?);
    Ok(head.into())
}

/// The object type and the configuration, which is empty if there is none.
fn read_esds(body: &[u8]) -> Result<Option<(u8, Bytes)>, Truncated> {
    let mut r = ByteReader::new(body);
    r.u32()?;
    let (mut object, mut config) = (None, Bytes::new());
    while r.left() > 0 {
        let tag = r.u8()?;
        let mut size = 0_usize;
        for _ in 0..4 {
            let byte = r.u8()?;
            size = size << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        match tag {
            3 => drop(r.take(3)?),
            4 => {
                object = Some(r.u8()?);
                r.take(12)?;
            }
            5 => config = Bytes::copy_from_slice(r.take(size)?),
            _ => drop(r.take(size)?),
        }
    }
    Ok(object.map(|object| (object, config)))
}

#[cfg(test)]
mod tests {
    use super::super::{Movie, Recorder, seal};
    use super::*;
    use crate::timeline::Jitter;
    use media::Frame;

    const AVCC: &[u8] = &[1, 100, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 100, 0, 31, 1, 0, 1, 0x68];
    const HVCC: &[u8] =
        &[1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0];
    const OPUS: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

    fn track(id: TrackId, codec: Codec, config: &'static [u8]) -> Track {
        Track { id, codec, config: Bytes::from_static(config), dialect: Dialect::Standard }
    }

    fn recorder(tracks: &[Track]) -> (Recorder, Tracks) {
        let mut all = Tracks::default();
        tracks.iter().for_each(|track| assert!(all.set(track.clone())));
        (Recorder::new(&all, Jitter::Full).unwrap(), all)
    }

    #[test]
    fn the_head_tells_what_the_tracks_were() {
        let aac =
            || track(TrackId::AUDIO, Codec::Aac(aac::Config::parse(&[0x11, 0x90]).unwrap()), &[0x11, 0x90]);
        let opus = track(TrackId::AUDIO, Codec::Opus(opus::Config::parse(OPUS).unwrap()), OPUS);
        let mp3 = mp3::Config { sample_rate: 44_100, channels: 2, bitrate: None };
        let av1 = &[0x81, 0x04, 0x0c, 0];
        for tracks in [
            vec![track(TrackId::VIDEO, Codec::H264(h264::Config::parse(AVCC).unwrap()), AVCC), aac()],
            vec![track(TrackId::VIDEO, Codec::H265(h265::Config::parse(HVCC).unwrap()), HVCC), opus],
            vec![track(TrackId::VIDEO, Codec::Av1(av1::Config::parse(av1).unwrap()), av1)],
            vec![track(TrackId::AUDIO, Codec::Mp3(mp3), &[])],
            vec![aac()],
        ] {
            let (recorder, all) = recorder(&tracks);
            let bytes = recorder.head();
            let head = Head::read(&bytes).unwrap().unwrap();
            assert_eq!((&head.tracks, head.end), (&all, bytes.len() as u64));
            for cut in 0..bytes.len() - 16 {
                assert_eq!(Head::read(&bytes[..cut]), Ok(None), "{cut}");
            }
            let sealed = seal(&bytes, 1 << 30).unwrap();
            assert_eq!(Head::read(&sealed), Ok(Some(head)));
        }
        assert_eq!(Head::read(b"FLV\x01\x05\0\0\0\x09\0\0\0\0 and more of it"), Err(Error::Damaged("head")));
    }

    #[test]
    fn the_frames_of_a_fragment_are_those_that_were_recorded() {
        let (mut recorder, all) = recorder(&[
            track(TrackId::VIDEO, Codec::H264(h264::Config::parse(AVCC).unwrap()), AVCC),
            track(TrackId::AUDIO, Codec::Aac(aac::Config::parse(&[0x11, 0x90]).unwrap()), &[0x11, 0x90]),
        ]);
        let mut sent = Vec::new();
        for n in 0..50_i64 {
            let dts = Micros(5_000_000 + n * 40_000);
            let pts = dts + Micros(n % 3 * 40_000);
            let data = Bytes::from(vec![n as u8; 10 + n as usize]);
            sent.push(Frame { track: TrackId::VIDEO, dts, pts, key: n % 25 == 0, data });
            let dts = Micros(5_000_000 + n * 1_024_000_000 / 48_000);
            sent.push(Frame {
                track: TrackId::AUDIO,
                dts,
                pts: dts,
                key: true,
                data: Bytes::from(vec![n as u8; 7]),
            });
        }
        sent.sort_by_key(|frame| frame.dts);
        let mut file = recorder.head().to_vec();
        let head = Head::read(&file).unwrap().unwrap();
        let mut movie = Movie::read(&file).unwrap();
        let mut got = Vec::new();
        for frame in &sent {
            recorder.push(frame);
            if recorder.is_due() || frame == sent.last().unwrap() {
                for fragment in recorder.take(frame == sent.last().unwrap()) {
                    let at = file.len() as u64;
                    movie.add(at, &fragment).unwrap();
                    got.extend(head.fragment(at, &fragment).unwrap());
                    file.extend_from_slice(&fragment);
                }
            }
        }
        assert_eq!(got.len(), sent.len());
        let zero = Micros(5_000_000);
        for id in [TrackId::VIDEO, TrackId::AUDIO] {
            let got: Vec<_> = got.iter().filter(|placed| placed.track == id).collect();
            for (placed, frame) in got.iter().zip(sent.iter().filter(|frame| frame.track == id)) {
                assert_eq!((placed.key, placed.pts - placed.dts), (frame.key, frame.pts - frame.dts));
                assert!((placed.dts - (frame.dts - zero)).0.abs() <= 30, "{placed:?} {frame:?}");
                let bytes = &file[placed.at as usize..][..placed.size as usize];
                assert_eq!(bytes, frame.data);
            }
        }
        assert!(all.video().is_some());
        assert_eq!(head.fragment(0, b"no fragment at all"), Err(Error::Damaged("moof")));
    }
}
