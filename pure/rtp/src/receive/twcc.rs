//! Arrival times of the packets of a transport, for its feedback.

use std::collections::BTreeMap;

use media::Micros;

use crate::Seq;
use crate::rtcp::{Arrivals, Writer};

/// Notes when each packet of a transport came, whatever its source, until it is fed back (draft-holmer-rmcat-transport-wide-cc-extensions-01).
#[derive(Debug, Default)]
pub struct Twcc {
    seq: Seq,
    waiting: BTreeMap<u64, Micros>,
    /// The newest number that was fed back: what is missing from here on is told too.
    told: Option<u64>,
    number: u8,
}

/// The oldest are forgotten beyond this; SRS feeds back every 100 ms.
const MAX: usize = 4000;

impl Twcc {
    /// The packet with this transport-wide number came.
    pub fn receive(&mut self, now: Micros, number: u16) {
        let full = self.seq.unwrap(number);
        self.waiting.entry(full).or_insert(now);
        if self.waiting.len() > MAX {
            self.waiting.pop_first();
        }
    }

    /// Writes feedback about all that came since the last time; nothing if nothing came.
    pub fn feed_back(&mut self, sender: u32, media: u32, out: &mut Vec<u8>) {
        let mut run: Option<(u64, Arrivals)> = None;
        let waiting = std::mem::take(&mut self.waiting);
        let newest = waiting.last_key_value().map(|(number, _)| *number);
        let told = self.told.unwrap_or(0);
        for (number, time) in waiting {
            let taken = run.as_mut().is_some_and(|(base, run)| {
                let step = usize::try_from(number - *base).unwrap_or(usize::MAX);
                // Late ones go alone: what lies between them was told before.
                let fits = *base > told || (number <= told && step == run.len());
                fits && run.push(step, time)
            });
            if taken {
                continue;
            }
            self.write(run.take(), sender, media, out);
            // The first run goes on where the last feedback ended.
            let base = self.told.map(|told| told + 1).filter(|base| *base < number && number - base < 100);
            run = Some(match base {
                Some(base) => (base, Arrivals::after(base as u16, (number - base) as usize, time)),
                None => (number, Arrivals::new(number as u16, time)),
            });
            self.told = self.told.max(Some(number));
        }
        self.write(run, sender, media, out);
        self.told = self.told.max(newest);
    }

    fn write(&mut self, run: Option<(u64, Arrivals)>, sender: u32, media: u32, out: &mut Vec<u8>) {
        if let Some((_, run)) = run {
            Writer::new(out).twcc(sender, media, self.number, &run);
            self.number = self.number.wrapping_add(1);
        }
    }
}
