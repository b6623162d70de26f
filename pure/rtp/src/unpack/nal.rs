//! H.264 (RFC 6184) and H.265 (RFC 7798): units from single packets, aggregates and fragments; parameter sets go their own way.

use std::marker::PhantomData;

use bytes::Bytes;
use media::codec::{Codec, h264, h265, nalu};
use media::{BitReader, ByteReader};

use super::{MAX_FRAME, Whole};

/// Where the two formats differ.
pub(super) trait Kind: std::fmt::Debug {
    /// Bytes of a unit's header.
    const HEADER: usize;
    /// What a payload is, by its header.
    fn shape(payload: &[u8]) -> Shape;
    /// What a unit is.
    fn role(unit: &[u8]) -> Role;
    /// What a decoder must know.
    fn config(sets: &[(Role, Bytes)]) -> Option<(Codec, Bytes)>;
}

/// What a payload is.
pub(super) enum Shape {
    Single,
    Aggregate,
    /// A part of a unit: the unit's header, how long it is, where the rest begins, and whether the part is first and last.
    Fragment {
        header: [u8; 2],
        start: bool,
        end: bool,
        at: usize,
    },
    /// One that the mode of transport excludes.
    Unknown,
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Vps,
    Sps,
    Pps,
    /// Of a picture from which a decoder can start, or not.
    Slice {
        key: bool,
    },
    /// Messages, which stay.
    Other,
    /// Delimiters and fillers, which do not.
    Noise,
}

#[derive(Debug)]
pub(super) enum H264 {}

impl Kind for H264 {
    const HEADER: usize = 1;

    fn shape(payload: &[u8]) -> Shape {
        match (h264::unit_type(payload), payload) {
            (1..=23, _) => Shape::Single,
            (24, _) => Shape::Aggregate,
            (28, [indicator, fu, ..]) => {
                let header = [indicator & 0xe0 | fu & 0x1f, 0];
                Shape::Fragment { header, start: fu & 0x80 != 0, end: fu & 0x40 != 0, at: 2 }
            }
            _ => Shape::Unknown,
        }
    }

    fn role(unit: &[u8]) -> Role {
        match h264::unit_type(unit) {
            7 => Role::Sps,
            8 => Role::Pps,
            kind @ 1..=5 => Role::Slice { key: kind == 5 },
            9 | 12 => Role::Noise,
            _ => Role::Other,
        }
    }

    fn config(sets: &[(Role, Bytes)]) -> Option<(Codec, Bytes)> {
        let record = h264::record(&of(sets, Role::Sps), &of(sets, Role::Pps))?;
        Some((Codec::H264(h264::Config::parse(&record).ok()?), record))
    }
}

#[derive(Debug)]
pub(super) enum H265 {}

impl Kind for H265 {
    const HEADER: usize = 2;

    fn shape(payload: &[u8]) -> Shape {
        match (h265::unit_type(payload), payload) {
            (0..=47, _) => Shape::Single,
            (48, _) => Shape::Aggregate,
            (49, [first, second, fu, ..]) => {
                let header = [first & 0x81 | (fu & 0x3f) << 1, *second];
                Shape::Fragment { header, start: fu & 0x80 != 0, end: fu & 0x40 != 0, at: 3 }
            }
            _ => Shape::Unknown,
        }
    }

    fn role(unit: &[u8]) -> Role {
        match h265::unit_type(unit) {
            h265::VPS => Role::Vps,
            h265::SPS => Role::Sps,
            h265::PPS => Role::Pps,
            kind @ 0..=31 => Role::Slice { key: (16..=23).contains(&kind) },
            35 | 38 => Role::Noise,
            _ => Role::Other,
        }
    }

    fn config(sets: &[(Role, Bytes)]) -> Option<(Codec, Bytes)> {
        let record = h265::record(&of(sets, Role::Vps), &of(sets, Role::Sps), &of(sets, Role::Pps))?;
        Some((Codec::H265(h265::Config::parse(&record).ok()?), record))
    }
}

fn of(sets: &[(Role, Bytes)], role: Role) -> Vec<Bytes> {
    sets.iter().filter(|(found, _)| *found == role).map(|(_, unit)| unit.clone()).collect()
}

/// See [`super::Encoding::opens_keyframe`]. Parameter sets go before keyframes only.
pub(super) fn opens_keyframe<K: Kind>(payload: &[u8]) -> bool {
    let opens = |role| matches!(role, Role::Vps | Role::Sps | Role::Slice { key: true });
    match K::shape(payload) {
        Shape::Single => opens(K::role(payload)),
        Shape::Aggregate => aggregate::<K>(payload).flatten().any(|unit| opens(K::role(unit))),
        Shape::Fragment { header, start, .. } => start && opens(K::role(&header)),
        Shape::Unknown => false,
    }
}

/// The units of an aggregate; the last is `None` when it is cut off.
fn aggregate<K: Kind>(payload: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut r = ByteReader::new(payload.get(K::HEADER..).unwrap_or_default());
    std::iter::from_fn(move || {
        (r.left() > 0).then(|| {
            let unit = r.u16().and_then(|length| r.take(length.into()));
            if unit.is_err() {
                r = ByteReader::new(&[]);
            }
            unit.ok()
        })
    })
}

/// A frame under construction.
#[derive(Debug)]
pub(super) struct Frame<K> {
    data: Vec<u8>,
    units: usize,
    /// Where the length of the unit stands that comes in fragments.
    open: Option<usize>,
    key: bool,
    /// The first slice begins with the first block of the picture.
    begins: Option<bool>,
    sets: Vec<(Role, Bytes)>,
    changed: bool,
    kind: PhantomData<fn() -> K>,
}

/// No stream has more parameter sets at a time.
const MAX_SETS: usize = 64;

impl<K: Kind> Frame<K> {
    pub(super) fn new(sets: &[Bytes]) -> Self {
        let mut frame = Self {
            data: Vec::new(),
            units: 0,
            open: None,
            key: false,
            begins: None,
            sets: Vec::new(),
            changed: false,
            kind: PhantomData,
        };
        for set in sets {
            frame.keep(K::role(set), set);
        }
        frame
    }

    /// `None` when the payload is malformed or does not fit to what came before.
    pub(super) fn push(&mut self, payload: &[u8]) -> Option<()> {
        match K::shape(payload) {
            Shape::Fragment { header, start, end, at } => {
                if start {
                    // The one before has no end.
                    if self.open.is_some() {
                        return None;
                    }
                    self.open = Some(self.data.len());
                    self.data.extend_from_slice(&[0; 4]);
                    self.data.extend_from_slice(header.get(..K::HEADER)?);
                }
                let begin = self.open?;
                self.room(payload.len())?;
                self.data.extend_from_slice(payload.get(at..)?);
                if end {
                    self.open = None;
                    let unit = self.data.split_off(begin);
                    self.unit(unit.get(4..)?)?;
                }
                Some(())
            }
            _ if self.open.is_some() => None,
            Shape::Single => self.unit(payload),
            Shape::Aggregate => aggregate::<K>(payload).try_for_each(|unit| self.unit(unit?)),
            Shape::Unknown => None,
        }
    }

    fn room(&self, more: usize) -> Option<()> {
        (self.data.len() + more <= MAX_FRAME && self.units < nalu::MAX_UNITS).then_some(())
    }

    fn unit(&mut self, unit: &[u8]) -> Option<()> {
        self.room(unit.len())?;
        let role = K::role(unit);
        match role {
            _ if unit.len() <= K::HEADER => return Some(()),
            Role::Noise => return Some(()),
            Role::Vps | Role::Sps | Role::Pps => {
                self.keep(role, unit);
                return Some(());
            }
            Role::Slice { key } => {
                self.key |= key;
                // first_mb_in_slice of 0, or first_slice_segment_in_pic_flag: both are a one at the start.
                let first = unit.get(K::HEADER).is_some_and(|byte| byte & 0x80 != 0);
                self.begins.get_or_insert(first);
            }
            Role::Other => {}
        }
        nalu::append(&mut self.data, unit);
        self.units += 1;
        Some(())
    }

    /// A new VPS or SPS replaces all that stood for the one before; a PPS the one of its id.
    fn keep(&mut self, role: Role, unit: &[u8]) {
        let id = |unit: &[u8]| BitReader::new(unit.get(K::HEADER..).unwrap_or_default()).ue();
        if self.sets.iter().any(|(found, known)| *found == role && known == unit) {
            return;
        }
        self.changed = true;
        match role {
            Role::Vps => self.sets.clear(),
            Role::Sps => self.sets.retain(|(found, _)| *found == Role::Vps),
            _ => self.sets.retain(|(found, known)| *found != role || id(known) != id(unit)),
        }
        if self.sets.len() < MAX_SETS {
            self.sets.push((role, Bytes::copy_from_slice(unit)));
        }
    }

    /// The frame, which then starts anew.
    pub(super) fn take(&mut self) -> Option<Whole> {
        let cut_off = self.open.take().is_some();
        let (data, key) = (Bytes::from(std::mem::take(&mut self.data)), std::mem::take(&mut self.key));
        let begins = self.begins.take().unwrap_or(true);
        self.units = 0;
        let config = if self.changed { K::config(&self.sets) } else { None };
        self.changed &= config.is_none();
        (!cut_off).then_some(Whole { key, data, begins, config })
    }
}
