//! Writing the parts of a compound packet.

use super::{
    ALFB, Arrivals, BYE, DLRR, Dlrr, FIR, NACK, PLI, PSFB, RR, RRTR, RTPFB, Report, SDES, SR, SenderInfo,
    TWCC, XR,
};
use crate::clock::Ntp;

/// Appends RTCP packets to a buffer, which becomes one compound. What does not fit the counters of a packet (31 reports or sources, 65,535
/// words) is left out.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Writes behind what `out` holds.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// SR; the first of its compound.
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo, reports: &[Report]) {
        let reports = few(reports);
        self.packet(reports.len(), SR, |out| {
            words(out, &[ssrc, (info.ntp.0 >> 32) as u32, info.ntp.0 as u32]);
            words(out, &[info.timestamp, info.packets, info.bytes]);
            reports.iter().for_each(|r| report(out, r));
        });
    }

    /// RR; the first of its compound.
    pub fn receiver_report(&mut self, ssrc: u32, reports: &[Report]) {
        let reports = few(reports);
        self.packet(reports.len(), RR, |out| {
            words(out, &[ssrc]);
            reports.iter().for_each(|r| report(out, r));
        });
    }

    /// SDES with the canonical name (up to 255 bytes) of one source.
    pub fn description(&mut self, ssrc: u32, name: &str) {
        let name = name.as_bytes().get(..255).unwrap_or(name.as_bytes());
        self.packet(1, SDES, |out| {
            words(out, &[ssrc]);
            out.extend_from_slice(&[1, name.len() as u8]);
            out.extend_from_slice(name);
            // At least one zero ends the items, and the chunk ends on a word.
            out.resize(out.len() + 4 - (2 + name.len()) % 4, 0);
        });
    }

    /// BYE.
    pub fn bye(&mut self, sources: &[u32]) {
        let sources = few(sources);
        self.packet(sources.len(), BYE, |out| words(out, sources));
    }

    /// Generic NACK of numbers in rising order; those within 16 of another share its bitmask. Nothing is written for none.
    pub fn nack(&mut self, sender: u32, media: u32, lost: &[u16]) {
        let Some((&first, rest)) = lost.split_first() else { return };
        self.packet(NACK.into(), RTPFB, |out| {
            words(out, &[sender, media]);
            let (mut id, mut mask) = (first, 0u16);
            for number in rest {
                match number.wrapping_sub(id) {
                    0 => {}
                    step @ 1..=16 => mask |= 1 << (step - 1),
                    _ => {
                        words(out, &[u32::from(id) << 16 | u32::from(mask)]);
                        (id, mask) = (*number, 0);
                    }
                }
            }
            words(out, &[u32::from(id) << 16 | u32::from(mask)]);
        });
    }

    /// Transport-wide feedback, number `count` of this session.
    pub fn twcc(&mut self, sender: u32, media: u32, count: u8, arrivals: &Arrivals) {
        self.packet(TWCC.into(), RTPFB, |out| {
            words(out, &[sender, media]);
            arrivals.write(count, out);
        });
    }

    /// PLI.
    pub fn pli(&mut self, sender: u32, media: u32) {
        self.packet(PLI.into(), PSFB, |out| words(out, &[sender, media]));
    }

    /// FIR to one source; `number` rises with each new request.
    pub fn fir(&mut self, sender: u32, media: u32, number: u8) {
        self.packet(FIR.into(), PSFB, |out| words(out, &[sender, 0, media, u32::from(number) << 24]));
    }

    /// REMB in bits per second.
    pub fn remb(&mut self, sender: u32, bitrate: u64, sources: &[u32]) {
        let sources = sources.get(..255).unwrap_or(sources);
        let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
        let number = (sources.len() as u32) << 24 | exponent << 18 | (bitrate >> exponent) as u32;
        self.packet(ALFB.into(), PSFB, |out| {
            words(out, &[sender, 0, u32::from_be_bytes(*b"REMB"), number]);
            words(out, sources);
        });
    }

    /// XR with the reference time of a receiver that sends no media.
    pub fn reference_time(&mut self, ssrc: u32, ntp: Ntp) {
        self.packet(0, XR, |out| {
            words(out, &[ssrc, u32::from(RRTR) << 24 | 2, (ntp.0 >> 32) as u32, ntp.0 as u32]);
        });
    }

    /// XR that answers reference times.
    pub fn delays(&mut self, ssrc: u32, delays: &[Dlrr]) {
        let delays = few(delays);
        let blocks = delays.len() as u32 * 3;
        self.packet(0, XR, |out| {
            words(out, &[ssrc, u32::from(DLRR) << 24 | blocks]);
            delays.iter().for_each(|d| words(out, &[d.ssrc, d.last_rr, d.delay]));
        });
    }

    /// A header, the body that `write` appends, zeros up to the next word, and the length of it all.
    fn packet(&mut self, count: usize, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0x80 | count as u8 & 0x1f, kind, 0, 0]);
        write(self.out);
        let length = self.out.len() - start;
        self.out.resize(start + length.next_multiple_of(4), 0);
        let body = length.div_ceil(4) - 1;
        match (u16::try_from(body), self.out.get_mut(start + 2..start + 4)) {
            (Ok(body), Some(slot)) => slot.copy_from_slice(&body.to_be_bytes()),
            _ => self.out.truncate(start),
        }
    }
}

fn few<T>(all: &[T]) -> &[T] {
    all.get(..31).unwrap_or(all)
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

fn report(out: &mut Vec<u8>, report: &Report) {
    let lost = report.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
    let [fraction, jitter] = [u32::from(report.fraction_lost) << 24 | lost, report.jitter];
    words(out, &[report.ssrc, fraction, report.highest, jitter, report.last_sr, report.delay]);
}
