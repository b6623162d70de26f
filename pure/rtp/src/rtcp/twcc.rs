//! Transport-wide feedback: when each packet of a transport came (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use std::collections::VecDeque;

use media::{ByteReader, Micros, Truncated};

/// One unit of a delta.
const DELTA: i64 = 250;
/// One unit of the reference time.
const REFERENCE: i64 = 64_000;

/// A received feedback packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Who sends the feedback.
    pub sender: u32,
    /// One of the sources that it is about.
    pub media: u32,
    /// The transport-wide number of the first packet.
    pub base: u16,
    /// The number of this feedback, wrapping.
    pub number: u8,
    packets: u16,
    reference: i32,
    chunks: &'a [u8],
}

impl<'a> Feedback<'a> {
    pub(super) fn read(r: &mut ByteReader<'a>) -> Result<Self, Truncated> {
        let (sender, media) = (r.u32()?, r.u32()?);
        let (base, packets, reference, number) = (r.u16()?, r.u16()?, r.i24()?, r.u8()?);
        Ok(Self { sender, media, base, number, packets, reference, chunks: r.rest() })
    }

    /// Each packet by its number, with the time of its arrival on a clock of the receiver's, or `None` when it is missing. Ends early where the
    /// feedback does.
    pub fn arrivals(&self) -> impl Iterator<Item = (u16, Option<Micros>)> + 'a {
        let mut deltas = ByteReader::new(self.chunks);
        let mut chunks = deltas.clone();
        // The deltas stand behind the chunks, so the chunks are walked once to find them.
        let mut walk = Statuses { left: self.packets, run: (0, 0), vector: (0, 0, 0) };
        while walk.next(&mut deltas).is_some() {}
        walk = Statuses { left: self.packets, run: (0, 0), vector: (0, 0, 0) };
        let mut time = i64::from(self.reference) * REFERENCE;
        let mut number = self.base;
        std::iter::from_fn(move || {
            let delta = match walk.next(&mut chunks)? {
                1 => Some(i64::from(deltas.u8().ok()?)),
                2 => Some(i64::from(deltas.u16().ok()? as i16)),
                _ => None,
            };
            let this = number;
            number = number.wrapping_add(1);
            time += delta.unwrap_or(0) * DELTA;
            Some((this, delta.map(|_| Micros(time))))
        })
    }
}

/// Walks over packet status chunks (§3.1.3, §3.1.4).
struct Statuses {
    left: u16,
    /// A symbol, and how often it is to be repeated.
    run: (u16, u16),
    /// A vector of symbols, bits per symbol, and how many are left.
    vector: (u16, u16, u16),
}

impl Statuses {
    fn next(&mut self, r: &mut ByteReader<'_>) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        while self.run.1 == 0 && self.vector.2 == 0 {
            let chunk = r.u16().ok()?;
            match chunk >> 14 {
                0 | 1 => self.run = (chunk >> 13 & 3, chunk & 0x1fff),
                2 => self.vector = (chunk & 0x3fff, 1, 14),
                _ => self.vector = (chunk & 0x3fff, 2, 7),
            }
        }
        if self.run.1 > 0 {
            self.run.1 -= 1;
            return Some(self.run.0);
        }
        let (bits, width, left) = self.vector;
        self.vector.2 = left - 1;
        Some(bits >> (width * (left - 1)) & ((1 << width) - 1))
    }
}

/// A run of packets with the times of their arrival, ready to be fed back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    base: u16,
    times: VecDeque<Option<Micros>>,
}

impl Arrivals {
    /// The most packets that one feedback can tell of; few enough for one datagram.
    pub const MAX: usize = 400;

    /// A run that begins with a packet that came.
    pub fn new(base: u16, time: Micros) -> Self {
        Self { base, times: VecDeque::from([Some(time)]) }
    }

    /// A run that begins with `missing` packets that did not come (up to 100).
    pub(crate) fn after(base: u16, missing: usize, time: Micros) -> Self {
        let times = std::iter::repeat_n(None, missing.min(100)).chain([Some(time)]);
        Self { base, times: times.collect() }
    }

    /// Adds the packet `step` numbers behind the first one. `false`, and not taken, where the feedback cannot hold it: too far away, or at a time too far
    /// from that of the first (4 s).
    pub fn push(&mut self, step: usize, time: Micros) -> bool {
        let first = self.times.iter().copied().flatten().next().unwrap_or(time);
        if step >= Self::MAX || (time - first).0.unsigned_abs() >= 4_000_000 {
            return false;
        }
        if self.times.len() <= step {
            self.times.resize(step + 1, None);
        }
        if let Some(slot @ None) = self.times.get_mut(step) {
            *slot = Some(time);
        }
        true
    }

    /// How many numbers the run spans.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Nothing came.
    pub fn is_empty(&self) -> bool {
        self.times.iter().all(Option::is_none)
    }

    /// The feedback behind its two sources.
    pub(super) fn write(&self, count: u8, out: &mut Vec<u8>) {
        let first = self.times.iter().flatten().next().copied().unwrap_or_default();
        let reference = first.0.div_euclid(REFERENCE);
        let [_, r0, r1, r2] = (reference as i32).to_be_bytes();
        let [b0, b1] = self.base.to_be_bytes();
        let [p0, p1] = (self.times.len() as u16).to_be_bytes();
        out.extend_from_slice(&[b0, b1, p0, p1, r0, r1, r2, count]);
        let mut last = reference.saturating_mul(REFERENCE);
        let deltas: Vec<Option<i16>> = self
            .times
            .iter()
            .map(|time| {
                let delta = time.as_ref()?.0.saturating_sub(last).div_euclid(DELTA);
                let delta = delta.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                last += i64::from(delta) * DELTA;
                Some(delta)
            })
            .collect();
        let symbols: Vec<u16> = deltas.iter().map(|delta| symbol(*delta)).collect();
        chunks(&symbols, out);
        for delta in deltas.into_iter().flatten() {
            match u8::try_from(delta) {
                Ok(small) => out.push(small),
                Err(_) => out.extend_from_slice(&delta.to_be_bytes()),
            }
        }
    }
}

fn symbol(delta: Option<i16>) -> u16 {
    match delta {
        None => 0,
        Some(0..=255) => 1,
        Some(_) => 2,
    }
}

/// A run where one is longer than a vector, else a vector of two bits each, or of one bit where that is enough.
fn chunks(mut symbols: &[u16], out: &mut Vec<u8>) {
    while let Some(first) = symbols.first() {
        let run = symbols.iter().take_while(|symbol| *symbol == first).count().min(0x1fff);
        let small = symbols.iter().take(14).all(|symbol| *symbol < 2);
        let (chunk, used) = match small {
            _ if run >= 14 || run == symbols.len() => (first << 13 | run as u16, run),
            true => (0x8000 | vector(symbols, 1, 14), 14),
            false => (0xc000 | vector(symbols, 2, 7), 7),
        };
        out.extend_from_slice(&chunk.to_be_bytes());
        symbols = symbols.get(used..).unwrap_or_default();
    }
}

fn vector(symbols: &[u16], width: u16, count: usize) -> u16 {
    let padded = symbols.iter().copied().chain(std::iter::repeat(0));
    padded.take(count).fold(0, |bits, symbol| bits << width | symbol)
}
