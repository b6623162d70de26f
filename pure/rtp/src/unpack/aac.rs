//! AAC as MPEG4-GENERIC (RFC 3640): access units from packets that hold several, or a part of one.

use bytes::Bytes;
use media::BitReader;
use media::codec::{Codec, aac};

use super::{Received, Unpacked};

/// Where the access units of a track come together.
#[derive(Debug)]
pub(super) struct Units {
    config: Option<Bytes>,
    size_bits: u8,
    index_bits: u8,
    /// Samples of an access unit.
    samples: i64,
    /// A unit that comes in parts: its timestamp, its size, what has come.
    open: Option<(i64, usize, Vec<u8>)>,
}

impl Units {
    pub(super) fn new(config: Bytes, size_bits: u8, index_bits: u8) -> Self {
        let samples = aac::Config::parse(&config).map_or(1024, |config| if config.sbr { 2048 } else { 1024 });
        Self { config: Some(config), size_bits, index_bits, samples, open: None }
    }

    pub(super) fn push(&mut self, packet: &Received, gap: bool, out: &mut Vec<Unpacked>) {
        if gap {
            self.open = None;
        }
        if let Some(record) = self.config.take()
            && let Ok(config) = aac::Config::parse(&record)
        {
            out.push(Unpacked::Config(Codec::Aac(config), record));
        }
        // A malformed packet is dropped; units do not depend on each other.
        let _ = self.read(packet, out);
    }

    fn read(&mut self, packet: &Received, out: &mut Vec<Unpacked>) -> Option<()> {
        let (length, rest) = packet.payload.split_first_chunk()?;
        let bits = usize::from(u16::from_be_bytes(*length));
        let (headers, mut data) = rest.split_at_checked(bits.div_ceil(8))?;
        let mut r = BitReader::new(headers);
        let each = usize::from(self.size_bits) + usize::from(self.index_bits);
        let mut ticks = packet.ticks;
        for n in 0..bits / each {
            let size = r.bits(self.size_bits.into()).ok()? as usize;
            let step = r.bits(self.index_bits.into()).ok()?;
            if n > 0 {
                // AU-Index-delta counts what lies between.
                ticks = ticks.saturating_add(self.samples.saturating_mul(i64::from(step) + 1));
            }
            if n == 0 && data.len() < size {
                return self.part(packet, size, data, out);
            }
            let (unit, rest) = data.split_at_checked(size)?;
            data = rest;
            if !unit.is_empty() {
                out.push(Unpacked::Frame { ticks, key: true, data: packet.payload.slice_ref(unit) });
            }
        }
        self.open = None;
        Some(())
    }

    fn part(&mut self, packet: &Received, size: usize, data: &[u8], out: &mut Vec<Unpacked>) -> Option<()> {
        let same = self.open.take().filter(|(ticks, whole, _)| (*ticks, *whole) == (packet.ticks, size));
        let mut all = same.map(|(_, _, all)| all).unwrap_or_default();
        all.extend_from_slice(data);
        match all.len() >= size {
            true => out.push(Unpacked::Frame { ticks: packet.ticks, key: true, data: all.into() }),
            false => self.open = Some((packet.ticks, size, all)),
        }
        Some(())
    }
}
