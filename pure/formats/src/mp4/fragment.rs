//! A fragment: the `moof` that lists some samples of one track, and the `mdat` with their bytes. Written in one go into a buffer of its size.
//!
//! Spec: ISO/IEC 14496-12 §8.8.

use bytes::{BufMut, Bytes};
use media::ByteReader;

use super::Error;
use super::boxes::{boxed, find, full};

/// A box that may stand in front of the fragments of a segment (`styp`, as DASH players know it).
pub const SEGMENT_TYPE: &[u8] = b"\0\0\0\x18stypmsdh\0\0\0\0msdhmsix";

/// One frame in a fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Ticks until the next one.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Presentation time less decoding time, in ticks.
    pub offset: i32,
    /// A decoder can start here.
    pub sync: bool,
}

impl Sample {
    fn flags(self) -> u32 {
        if self.sync { SYNC } else { NOT_SYNC }
    }
}

/// `sample_depends_on` 2: on no other one.
const SYNC: u32 = 0x0200_0000;
/// `sample_depends_on` 1, and `sample_is_non_sync_sample`.
const NOT_SYNC: u32 = 0x0101_0000;

/// Flags of `tfhd`: there is a duration, there are flags, and offsets count from the `moof`.
const TFHD_DURATION: u32 = 0x8;
const TFHD_SIZE: u32 = 0x10;
const TFHD_FLAGS: u32 = 0x20;
const TFHD_FROM_MOOF: u32 = 0x2_0000;

/// Flags of `trun`: what it tells of all samples, or of each.
const TRUN_DATA: u32 = 0x1;
const TRUN_FIRST_FLAGS: u32 = 0x4;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_OFFSET: u32 = 0x800;

/// A fragment of one track: its `moof` and `mdat`. `sequence` counts the fragments of a stream, from 1; `start` is the decoding time of the
/// first sample in ticks; `data` are the samples' bytes, as many in all as the samples say.
pub fn fragment<'a>(
    sequence: u32,
    track: u32,
    start: u64,
    samples: &[Sample],
    data: impl IntoIterator<Item = &'a [u8]>,
) -> Bytes {
    let bytes: usize = samples.iter().map(|sample| sample.size as usize).sum();
    let mut out = Vec::with_capacity(MOST_HEAD + samples.len() * 16 + bytes);
    let first = samples.first().copied().unwrap_or_default();
    let rest = samples.get(1..).unwrap_or_default();
    let common = rest.first().copied().unwrap_or(first);
    let mut tells = TRUN_DATA | TRUN_SIZE;
    if rest.iter().any(|sample| sample.duration != first.duration) {
        tells |= TRUN_DURATION;
    }
    if rest.iter().any(|sample| sample.sync != common.sync) {
        tells |= TRUN_FLAGS;
    } else if first.sync != common.sync {
        tells |= TRUN_FIRST_FLAGS;
    }
    if samples.iter().any(|sample| sample.offset != 0) {
        tells |= TRUN_OFFSET;
    }
    let mut position = 0;
    boxed(&mut out, b"moof", |out| {
        full(out, b"mfhd", 0, 0, |out| out.put_u32(sequence));
        boxed(out, b"traf", |out| {
            full(out, b"tfhd", 0, TFHD_FROM_MOOF | TFHD_DURATION | TFHD_FLAGS, |out| {
                out.put_u32(track);
                out.put_u32(first.duration);
                out.put_u32(common.flags());
            });
            full(out, b"tfdt", 1, 0, |out| out.put_u64(start));
            full(out, b"trun", 1, tells, |out| {
                out.put_u32(u32::try_from(samples.len()).unwrap_or(u32::MAX));
                position = out.len();
                out.put_u32(0);
                if tells & TRUN_FIRST_FLAGS != 0 {
                    out.put_u32(first.flags());
                }
                for sample in samples {
                    if tells & TRUN_DURATION != 0 {
                        out.put_u32(sample.duration);
                    }
                    out.put_u32(sample.size);
                    if tells & TRUN_FLAGS != 0 {
                        out.put_u32(sample.flags());
                    }
                    if tells & TRUN_OFFSET != 0 {
                        out.put_i32(sample.offset);
                    }
                }
            });
        });
    });
    let moof = u32::try_from(out.len()).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(position..position + 4) {
        slot.copy_from_slice(&moof.saturating_add(8).to_be_bytes());
    }
    boxed(&mut out, b"mdat", |out| data.into_iter().for_each(|data| out.put_slice(data)));
    out.into()
}

/// Bytes of the boxes around the list of samples, at most.
const MOST_HEAD: usize = 128;

/// A fragment, read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) track: u32,
    pub(super) start: u64,
    /// Where the bytes of the first sample are, from the start of the `moof`.
    pub(super) data: u64,
    pub(super) samples: Vec<Sample>,
}

/// Reads the body of a `moof` as [`fragment`] writes it: one track, one run.
pub(super) fn read(moof: &[u8]) -> Result<Listed, Error> {
    let traf = find(moof, b"traf").ok_or(Error::Damaged("traf"))?;
    let mut listed = Listed::default();
    let mut common = Sample::default();
    let (tfhd, trun) = (find(traf, b"tfhd"), find(traf, b"trun"));
    read_tfhd(tfhd.unwrap_or_default(), &mut listed, &mut common).map_err(|_| Error::Damaged("tfhd"))?;
    let tfdt = find(traf, b"tfdt").unwrap_or_default();
    listed.start = read_tfdt(tfdt).map_err(|_| Error::Damaged("tfdt"))?;
    read_trun(trun.unwrap_or_default(), &mut listed, common).map_err(|_| Error::Damaged("trun"))?;
    Ok(listed)
}

/// The track of a fragment, when its first sample begins, and how long each lasts, in ticks. Of its bytes the `moof` is enough.
///
/// # Errors
/// When it is no fragment of ours.
pub fn fragment_times(bytes: &[u8]) -> Result<(u32, u64, Vec<u64>), Error> {
    let listed = read(find(bytes, b"moof").ok_or(Error::Damaged("moof"))?)?;
    let durations = listed.samples.iter().map(|sample| sample.duration.into()).collect();
    Ok((listed.track, listed.start, durations))
}

type Read<T> = Result<T, media::Truncated>;

fn read_tfhd(body: &[u8], listed: &mut Listed, common: &mut Sample) -> Read<()> {
    let mut r = ByteReader::new(body);
    let flags = r.u32()? & 0xff_ffff;
    listed.track = r.u32()?;
    if flags & 1 != 0 {
        r.u64()?; // base data offset
    }
    if flags & 2 != 0 {
        r.u32()?; // sample description
    }
    if flags & TFHD_DURATION != 0 {
        common.duration = r.u32()?;
    }
    if flags & TFHD_SIZE != 0 {
        common.size = r.u32()?;
    }
    common.sync = flags & TFHD_FLAGS == 0 || is_sync(r.u32()?);
    Ok(())
}

fn read_tfdt(body: &[u8]) -> Read<u64> {
    let mut r = ByteReader::new(body);
    match r.u32()? >> 24 {
        0 => r.u32().map(u64::from),
        _ => r.u64(),
    }
}

fn read_trun(body: &[u8], listed: &mut Listed, common: Sample) -> Read<()> {
    let mut r = ByteReader::new(body);
    let flags = r.u32()?;
    let count = r.u32()?;
    if flags & TRUN_DATA != 0 {
        listed.data = u64::from(r.u32()?);
    }
    let first = if flags & TRUN_FIRST_FLAGS != 0 { Some(is_sync(r.u32()?)) } else { None };
    let told = [TRUN_DURATION, TRUN_SIZE, TRUN_FLAGS, TRUN_OFFSET].map(|flag| flags & flag != 0);
    let bytes = told.iter().filter(|told| **told).count() * 4;
    // What the box has no room for is not waited for.
    let room = r.left().checked_div(bytes).unwrap_or(0);
    listed.samples.reserve((count as usize).min(room));
    for n in 0..count {
        if n as usize >= room {
            return Err(media::Truncated { at: r.position() });
        }
        let mut sample = common;
        let [duration, size, sync, offset] = told;
        if duration {
            sample.duration = r.u32()?;
        }
        if size {
            sample.size = r.u32()?;
        }
        if let (0, Some(first)) = (n, first) {
            sample.sync = first;
        }
        if sync {
            sample.sync = is_sync(r.u32()?);
        }
        if offset {
            sample.offset = r.u32()? as i32;
        }
        listed.samples.push(sample);
    }
    Ok(())
}

fn is_sync(flags: u32) -> bool {
    flags & 0x1_0000 == 0
}
