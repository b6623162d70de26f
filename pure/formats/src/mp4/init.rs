//! The head of a fragmented file: what is in it, and nothing of it. Also the boxes of tracks that a plain file shares.
//!
//! Spec: ISO/IEC 14496-12 §8; ISO/IEC 23000-19 §7.3 (CMAF headers).

use bytes::{BufMut, Bytes};
use media::Kind;

use super::boxes::{boxed, full};
use super::{Description, track_id};

/// Ticks per second of the movie as a whole.
pub(super) const MOVIE: u32 = 1000;

/// The init segment of these tracks: at most one of each kind.
pub fn init(tracks: &[&Description]) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso6\0\0\x02\0iso6iso5cmfcmp41");
    });
    moov(tracks, &mut out);
    out.into()
}

/// The `moov` of a fragmented file.
pub(super) fn moov(tracks: &[&Description], out: &mut Vec<u8>) {
    boxed(out, b"moov", |out| {
        mvhd(0, out);
        for track in tracks {
            trak(&Trak::empty(track), out, |out| {
                for kind in [b"stts", b"stsc", b"stco"] {
                    full(out, kind, 0, 0, |out| out.put_u32(0));
                }
                full(out, b"stsz", 0, 0, |out| out.put_u64(0));
            });
        }
        boxed(out, b"mvex", |out| {
            for track in tracks {
                full(out, b"trex", 0, 0, |out| {
                    out.put_u32(track_id(track.kind));
                    out.put_u32(1); // sample description
                    out.put_bytes(0, 12); // duration, size, flags
                });
            }
        });
    });
}

/// A time or duration: 32 bits in version 0 of a box, 64 in version 1.
fn put_time(version: u8, time: u64, out: &mut Vec<u8>) {
    match version {
        0 => out.put_u32(u32::try_from(time).unwrap_or(u32::MAX)),
        _ => out.put_u64(time),
    }
}

/// The version of a box whose largest time is this.
fn version(time: u64) -> u8 {
    u8::from(time > u64::from(u32::MAX))
}

/// Scales nothing, turns nothing.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// `duration` in ticks of the movie.
pub(super) fn mvhd(duration: u64, out: &mut Vec<u8>) {
    let version = version(duration);
    full(out, b"mvhd", version, 0, |out| {
        put_time(version, 0, out); // creation
        put_time(version, 0, out); // modification
        out.put_u32(MOVIE);
        put_time(version, duration, out);
        out.put_u32(0x1_0000); // rate
        out.put_u16(0x100); // volume
        out.put_bytes(0, 10);
        MATRIX.iter().for_each(|value| out.put_u32(*value));
        out.put_bytes(0, 24);
        out.put_u32(3); // next track id
    });
}

/// A track of a file, but for its samples.
pub(super) struct Trak<'a> {
    pub(super) kind: Kind,
    pub(super) timescale: u32,
    pub(super) size: (u32, u32),
    /// The sample entry.
    pub(super) entry: &'a [u8],
    /// How long it is played, in ticks of the movie.
    pub(super) shown: u64,
    /// How long its samples are, in its own ticks.
    pub(super) duration: u64,
    /// Nothing is played for so many ticks of the movie, and then what stands at this time of the track.
    pub(super) edit: Option<(u64, u64)>,
}

impl<'a> Trak<'a> {
    fn empty(track: &'a Description) -> Self {
        Self {
            kind: track.kind,
            timescale: track.timescale,
            size: track.size.unwrap_or_default(),
            entry: &track.entry,
            shown: 0,
            duration: 0,
            edit: None,
        }
    }
}

/// Writes a track; `tables` writes the boxes of its samples.
pub(super) fn trak(track: &Trak<'_>, out: &mut Vec<u8>, tables: impl FnOnce(&mut Vec<u8>)) {
    let is_video = track.kind == Kind::Video;
    boxed(out, b"trak", |out| {
        let version_of = version(track.shown);
        full(out, b"tkhd", version_of, 3, |out| {
            put_time(version_of, 0, out);
            put_time(version_of, 0, out);
            out.put_u32(track_id(track.kind));
            out.put_u32(0);
            put_time(version_of, track.shown, out);
            out.put_bytes(0, 12); // layer, alternate group
            out.put_u16(if is_video { 0 } else { 0x100 }); // volume
            out.put_u16(0);
            MATRIX.iter().for_each(|value| out.put_u32(*value));
            out.put_u32(track.size.0 << 16);
            out.put_u32(track.size.1 << 16);
        });
        if let Some((empty, start)) = track.edit {
            edts(track, empty, start, out);
        }
        boxed(out, b"mdia", |out| {
            let version = version(track.duration);
            full(out, b"mdhd", version, 0, |out| {
                put_time(version, 0, out);
                put_time(version, 0, out);
                out.put_u32(track.timescale);
                put_time(version, track.duration, out);
                out.put_u16(0x55c4); // "und"
                out.put_u16(0);
            });
            let (handler, name): (_, &[u8]) =
                if is_video { (b"vide", b"VideoHandler\0") } else { (b"soun", b"SoundHandler\0") };
            full(out, b"hdlr", 0, 0, |out| {
                out.put_u32(0);
                out.put_slice(handler);
                out.put_bytes(0, 12);
                out.put_slice(name);
            });
            boxed(out, b"minf", |out| {
                match is_video {
                    true => full(out, b"vmhd", 0, 1, |out| out.put_u64(0)),
                    false => full(out, b"smhd", 0, 0, |out| out.put_u32(0)),
                }
                boxed(out, b"dinf", |out| {
                    full(out, b"dref", 0, 0, |out| {
                        out.put_u32(1);
                        full(out, b"url ", 0, 1, |_| {}); // in this file
                    });
                });
                boxed(out, b"stbl", |out| {
                    full(out, b"stsd", 0, 0, |out| {
                        out.put_u32(1);
                        out.put_slice(track.entry);
                    });
                    tables(out);
                });
            });
        });
    });
}

/// The edit list (ISO/IEC 14496-12 §8.6.6).
fn edts(track: &Trak<'_>, empty: u64, start: u64, out: &mut Vec<u8>) {
    let length = track.shown.saturating_sub(empty);
    let version = version(track.shown.max(start.saturating_mul(2)));
    boxed(out, b"edts", |out| {
        full(out, b"elst", version, 0, |out| {
            out.put_u32(1 + u32::from(empty > 0));
            if empty > 0 {
                put_time(version, empty, out);
                put_time(version, if version == 0 { u32::MAX.into() } else { u64::MAX }, out); // nothing
                out.put_u32(0x1_0000);
            }
            put_time(version, length, out);
            put_time(version, start, out);
            out.put_u32(0x1_0000);
        });
    });
}
