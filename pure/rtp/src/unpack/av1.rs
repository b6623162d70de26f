//! AV1 ("RTP Payload Format For AV1", version 1.0 §4): OBUs from elements, each with its size again.

use bytes::Bytes;
use media::ByteReader;
use media::codec::{Codec, av1};

use super::{MAX_FRAME, Whole};
use crate::obu::{self, Obu, leb128};

/// A temporal unit under construction.
#[derive(Debug, Default)]
pub(super) struct Frame {
    data: Vec<u8>,
    /// An element that the next packet continues.
    open: Option<Vec<u8>>,
    key: bool,
    /// The first packet did not continue an element.
    begins: Option<bool>,
    config: Option<Bytes>,
    changed: bool,
}

impl Frame {
    pub(super) fn push(&mut self, payload: &[u8]) -> Option<()> {
        let mut r = ByteReader::new(payload);
        let flags = r.u8().ok()?;
        let (continues, continued, count) = (flags & 0x80 != 0, flags & 0x40 != 0, flags >> 4 & 3);
        self.begins.get_or_insert(!continues);
        if continues != self.open.is_some() || self.data.len() + payload.len() > MAX_FRAME {
            return None;
        }
        let mut n = 0;
        while r.left() > 0 {
            n += 1;
            let length = if n == count { r.left() } else { leb128(&mut r).ok()? };
            let element = r.take(length).ok()?;
            let last = r.left() == 0;
            let mut whole = self.open.take().unwrap_or_default();
            if whole.len() + element.len() > MAX_FRAME {
                return None;
            }
            whole.extend_from_slice(element);
            match last && continued {
                true => self.open = Some(whole),
                false => self.obu(&whole)?,
            }
        }
        Some(())
    }

    fn obu(&mut self, element: &[u8]) -> Option<()> {
        if element.is_empty() {
            return Some(());
        }
        let obu = Obu::read(&mut ByteReader::new(element)).ok()?;
        if !obu.travels() {
            return Some(());
        }
        let before = self.data.len();
        obu.write(&mut self.data);
        match obu.kind() {
            obu::SEQUENCE_HEADER => {
                let written = self.data.get(before..).unwrap_or_default();
                if let Some(record) = av1::record(written)
                    && self.config.as_ref() != Some(&record)
                {
                    (self.config, self.changed) = (Some(record), true);
                }
            }
            // show_existing_frame of 0 and frame_type KEY_FRAME (AV1 §5.9.2).
            obu::FRAME_HEADER | obu::FRAME => self.key |= obu.payload.first()? & 0xe0 == 0,
            _ => {}
        }
        Some(())
    }

    pub(super) fn take(&mut self) -> Option<Whole> {
        let cut_off = self.open.take().is_some();
        let (data, key) = (Bytes::from(std::mem::take(&mut self.data)), std::mem::take(&mut self.key));
        let begins = self.begins.take().unwrap_or(false);
        let record = self.config.clone().filter(|_| std::mem::take(&mut self.changed));
        let config = record.and_then(|record| Some((Codec::Av1(av1::Config::parse(&record).ok()?), record)));
        (!cut_off).then_some(Whole { key, data, begins, config })
    }
}
