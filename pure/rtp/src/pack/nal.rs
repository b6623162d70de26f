//! H.264 (RFC 6184, packetization mode 1) and H.265 (RFC 7798, without DONL): single units, aggregates, fragments.

use bytes::Bytes;
use media::codec::{h264, h265, nalu};

use super::{Payload, fragments};

/// Where the two formats differ.
pub(super) trait Kind {
    /// Bytes of a unit's header.
    const HEADER: usize;
    /// Not sent: delimiters and fillers, which the packets make needless.
    fn is_noise(unit: &[u8]) -> bool;
    /// A parameter set.
    fn is_set(unit: &[u8]) -> bool;
    /// The header of an aggregate of these units.
    fn aggregate(units: &[Bytes]) -> [u8; 2];
    /// What opens a fragment of a unit, and how many bytes of it count.
    fn fragment(header: &[u8], start: bool, end: bool) -> ([u8; 3], usize);
}

pub(super) enum H264 {}

impl Kind for H264 {
    const HEADER: usize = 1;

    fn is_noise(unit: &[u8]) -> bool {
        matches!(h264::unit_type(unit), 9 | 12)
    }

    fn is_set(unit: &[u8]) -> bool {
        h264::unit_type(unit) == 7
    }

    /// STAP-A: the highest importance among its units (§5.7.1).
    fn aggregate(units: &[Bytes]) -> [u8; 2] {
        let first = |unit: &Bytes| unit.first().copied().unwrap_or_default();
        let importance = units.iter().map(|unit| first(unit) & 0x60).max().unwrap_or_default();
        let forbidden = units.iter().fold(0, |bit, unit| bit | first(unit) & 0x80);
        [forbidden | importance | 24, 0]
    }

    /// FU-A (§5.8).
    fn fragment(header: &[u8], start: bool, end: bool) -> ([u8; 3], usize) {
        let first = header.first().copied().unwrap_or_default();
        ([first & 0xe0 | 28, u8::from(start) << 7 | u8::from(end) << 6 | first & 0x1f, 0], 2)
    }
}

pub(super) enum H265 {}

impl Kind for H265 {
    const HEADER: usize = 2;

    fn is_noise(unit: &[u8]) -> bool {
        matches!(h265::unit_type(unit), 35 | 38)
    }

    fn is_set(unit: &[u8]) -> bool {
        h265::unit_type(unit) == h265::SPS
    }

    /// AP: the lowest layer and temporal id among its units (§4.4.2).
    fn aggregate(units: &[Bytes]) -> [u8; 2] {
        let ids = |unit: &Bytes| match unit.get(..2) {
            Some([first, second]) => (u16::from(first & 1) << 5 | u16::from(second >> 3), second & 7),
            _ => (0, 1),
        };
        let layer = units.iter().map(|unit| ids(unit).0).min().unwrap_or_default();
        let temporal = units.iter().map(|unit| ids(unit).1).min().unwrap_or(1);
        [48 << 1 | (layer >> 5) as u8, (layer as u8) << 3 | temporal]
    }

    /// FU (§4.4.3).
    fn fragment(header: &[u8], start: bool, end: bool) -> ([u8; 3], usize) {
        let (first, second) = match header {
            [first, second, ..] => (*first, *second),
            _ => (0, 1),
        };
        let kind = first >> 1 & 0x3f;
        ([first & 0x81 | 49 << 1, second, u8::from(start) << 7 | u8::from(end) << 6 | kind], 3)
    }
}

/// The parameter sets of a track, which go before every keyframe.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    units: Vec<Bytes>,
    /// The units that wait to be aggregated; empty between frames.
    waiting: Vec<Bytes>,
}

impl Sets {
    pub(super) fn new<const N: usize>(lists: [&[Bytes]; N]) -> Self {
        Self { units: lists.concat(), waiting: Vec::new() }
    }

    pub(super) fn pack<K: Kind>(&mut self, data: &Bytes, key: bool, max: usize, out: &mut Vec<Payload>) {
        // Sets that the encoder repeats inside the frame are newer than those of the track.
        let own = key && !nalu::units(data).any(K::is_set);
        let sets = self.units.iter().filter(|_| own).cloned();
        let units = nalu::units(data).filter(|unit| unit.len() >= K::HEADER && !K::is_noise(unit));
        let mut size = K::HEADER;
        let mut waiting = std::mem::take(&mut self.waiting);
        for unit in sets.chain(units.map(|unit| data.slice_ref(unit))) {
            if size + 2 + unit.len() > max {
                flush::<K>(&mut waiting, out);
                size = K::HEADER;
            }
            size += 2 + unit.len();
            match unit.len() > max {
                true => fragment::<K>(&unit, max, out),
                false => waiting.push(unit),
            }
        }
        flush::<K>(&mut waiting, out);
        self.waiting = waiting;
    }
}

/// One unit goes as it is, several as an aggregate. They are small, and copied once per stream.
fn flush<K: Kind>(waiting: &mut Vec<Bytes>, out: &mut Vec<Payload>) {
    match &waiting[..] {
        [] => return,
        [unit] => out.push(Payload::bare(unit.clone())),
        units => {
            let header = K::aggregate(units);
            let size: usize = units.iter().map(|unit| unit.len() + 2).sum();
            let mut body = Vec::with_capacity(size);
            for unit in units {
                body.extend_from_slice(&(unit.len() as u16).to_be_bytes());
                body.extend_from_slice(unit);
            }
            out.push(Payload::new(header.get(..K::HEADER).unwrap_or_default(), body.into()));
        }
    }
    waiting.clear();
}

fn fragment<K: Kind>(unit: &Bytes, max: usize, out: &mut Vec<Payload>) {
    let Some((header, _)) = unit.split_at_checked(K::HEADER) else { return };
    let body = unit.slice(K::HEADER..);
    for (first, last, piece) in fragments(&body, max - K::HEADER - 1) {
        let (head, length) = K::fragment(header, first, last);
        out.push(Payload::new(head.get(..length).unwrap_or_default(), piece));
    }
}
