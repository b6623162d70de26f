//! What a receiver keeps per source: order, loss and what is asked for again, the figures of its reports, and arrival times for the transport's
//! feedback. When to send a report is the session's choice.

mod missing;
mod twcc;

use std::collections::VecDeque;

use bytes::Bytes;
use media::Micros;

pub use twcc::Twcc;

use crate::clock::{Ntp, to_short, to_ticks};
use crate::receive::missing::Missing;
use crate::rtcp::{Report, SenderInfo};
use crate::unpack::Received;
use crate::{Packet, Ticks};

/// How a source is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverOptions {
    /// Ticks per second of its timestamps.
    pub rate: u32,
    /// How long packets wait for one that is missing before them, at least; over long ways they wait until it can have been asked for thrice.
    pub patience: Micros,
    /// The most sequence numbers that wait; SRS keeps 1000 for video and 100 for sound.
    pub window: usize,
    /// What is missing is asked for (NACK).
    pub ask: bool,
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        Self { rate: 90_000, patience: Micros::from_millis(400), window: 1000, ask: true }
    }
}

/// One source as it is received.
#[derive(Debug)]
pub struct Receiver {
    ssrc: u32,
    options: ReceiverOptions,
    ticks: Ticks,
    /// The number of the first slot: all before it have been given out or given up.
    next: u64,
    /// Packets by number, each with its arrival.
    slots: VecDeque<Option<(Micros, Received)>>,
    /// Packets in the slots.
    held: usize,
    missing: Missing,
    /// What is waited for one that is missing, by the round trip.
    trips: Micros,
    /// The number that would confirm a jump.
    jump: Option<u16>,
    figures: Option<Figures>,
    sender: Option<(Ntp, Micros)>,
}

/// The counters of RFC 3550 §A.3 and §A.8.
#[derive(Clone, Copy, Debug)]
struct Figures {
    base: u64,
    highest: u64,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    transit: i64,
    /// Sixteen times the jitter.
    jitter: i64,
}

/// What is lost, is asked for, and is lost again takes a round trip; the pauses between grow a little.
const TRIPS: i64 = 4;
/// Nobody is to wait longer than this because the way is long.
const MAX_TRIPS: Micros = Micros::from_secs(1);

/// A number this far ahead is a jump and not a loss (RFC 3550 §A.1, `MAX_DROPOUT`).
const MAX_AHEAD: u16 = 3000;
/// A number this far behind may be an answer to a NACK; beyond it is a jump.
const MAX_BEHIND: u16 = 3000;

impl Receiver {
    /// A receiver of one source.
    pub fn new(ssrc: u32, options: ReceiverOptions) -> Self {
        Self {
            ssrc,
            options: ReceiverOptions { window: options.window.clamp(1, usize::from(MAX_AHEAD)), ..options },
            ticks: Ticks::default(),
            next: 0,
            slots: VecDeque::new(),
            held: 0,
            missing: Missing::default(),
            trips: Micros::ZERO,
            jump: None,
            figures: None,
            sender: None,
        }
    }

    /// The source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Takes a packet in that came at `now`. `payload` is that of the packet, as a slice that can be kept. `false` when it is not new, too late, or (once) too
    /// far from the others to be believed.
    pub fn receive(&mut self, now: Micros, packet: &Packet<'_>, payload: Bytes) -> bool {
        let Some(sequence) = self.place(packet.sequence) else { return false };
        let newest = self.figures.is_none_or(|figures| sequence > figures.highest);
        let ticks =
            if newest { self.ticks.unwrap(packet.timestamp) } else { self.ticks.peek(packet.timestamp) };
        self.count(now, sequence, packet.timestamp, newest, self.is_new(sequence));
        self.missing.came(sequence);
        let Some(step) = sequence.checked_sub(self.next) else { return false };
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        if step >= self.options.window {
            self.give_up(step + 1 - self.options.window);
        }
        let at = usize::try_from(sequence.saturating_sub(self.next)).unwrap_or(usize::MAX);
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        let received =
            Received { sequence, ticks, marker: packet.marker, payload_type: packet.payload_type, payload };
        match self.slots.get_mut(at) {
            Some(slot @ None) => {
                *slot = Some((now, received));
                self.held += 1;
                true
            }
            _ => false,
        }
    }

    /// The extended number; what is missing before it is noted. `None` for a jump that is not confirmed yet.
    fn place(&mut self, sequence: u16) -> Option<u64> {
        let Some(figures) = self.figures else {
            self.next = u64::from(sequence) + 0x1_0000;
            return Some(self.next);
        };
        let ahead = sequence.wrapping_sub(figures.highest as u16);
        let behind = ahead.wrapping_neg();
        if behind <= MAX_BEHIND {
            return figures.highest.checked_sub(behind.into());
        }
        let sequence_full = figures.highest + u64::from(ahead);
        if ahead > MAX_AHEAD {
            if self.jump != Some(sequence) {
                self.jump = Some(sequence.wrapping_add(1));
                return None;
            }
            // The source has started anew: what was before does not belong to it.
            (self.next, self.figures, self.held) = (sequence_full, None, 0);
            self.slots.clear();
            self.missing.clear();
        }
        self.jump = None;
        Some(sequence_full)
    }

    /// It has not come before, and is not too late.
    fn is_new(&self, sequence: u64) -> bool {
        let at = sequence.checked_sub(self.next).and_then(|step| usize::try_from(step).ok());
        at.is_some_and(|at| self.slots.get(at).is_none_or(Option::is_none))
    }

    /// Senders probe the network with packets that were sent before: those do not count, or they would hide what is lost.
    fn count(&mut self, now: Micros, sequence: u64, timestamp: u32, newest: bool, new: bool) {
        let arrival = to_ticks(now, self.options.rate);
        let transit = i64::from((arrival as u32).wrapping_sub(timestamp));
        let figures = self.figures.get_or_insert(Figures {
            base: sequence,
            highest: sequence,
            received: 0,
            reported: (0, 0),
            transit,
            jitter: 0,
        });
        figures.received += u64::from(new);
        if newest {
            let gap = figures.highest + 1..sequence;
            if self.options.ask {
                self.missing.lost(now, gap);
            }
            figures.highest = sequence;
            // Both wrap at 32 bits.
            let step = i64::from(((transit - figures.transit) as i32).unsigned_abs());
            figures.transit = transit;
            figures.jitter += step - ((figures.jitter + 8) >> 4);
        }
    }

    /// Moves on by `count` numbers; packets among them are lost to the reader.
    fn give_up(&mut self, count: usize) {
        let gone = self.slots.drain(..count.min(self.slots.len())).flatten().count();
        self.held = self.held.saturating_sub(gone);
        self.next = self.next.saturating_add(count as u64);
        self.missing.forget(self.next);
    }

    /// The next packet in order. One that is missing is waited for until those behind it have waited for too long; a gap in the
    /// numbers tells what was given up.
    pub fn poll(&mut self, now: Micros) -> Option<Received> {
        if self.held == 0 {
            return None;
        }
        if matches!(self.slots.front(), Some(None)) {
            if now < self.due()? {
                return None;
            }
            let count = self.slots.iter().take_while(|slot| slot.is_none()).count();
            self.give_up(count);
        }
        let (_, received) = self.slots.pop_front()??;
        self.held = self.held.saturating_sub(1);
        self.next = self.next.saturating_add(1);
        Some(received)
    }

    /// When the packets at the front have waited long enough.
    fn due(&self) -> Option<Micros> {
        let (arrival, _) = self.slots.iter().flatten().next()?;
        Some(*arrival + self.options.patience.max(self.trips))
    }

    /// When [`Self::poll`] or [`Self::ask`] will have more without another packet; a time that has passed means now.
    pub fn timeout(&self) -> Option<Micros> {
        let due = if self.held > 0 { self.due() } else { None };
        due.into_iter().chain(self.missing.due()).min()
    }

    /// Appends the numbers that are to be asked for now, in rising order.
    pub fn ask(&mut self, now: Micros, out: &mut Vec<u16>) {
        self.missing.ask(now, out);
    }

    /// A round trip to the source was measured; it paces what is asked for again.
    pub fn set_round_trip(&mut self, round_trip: Micros) {
        self.missing.set_round_trip(round_trip);
        self.trips = Micros(self.missing.round_trip().0 * TRIPS).min(MAX_TRIPS);
    }

    /// A sender report of the source came at `now`. Returns its timestamp extended, to be tied to its wall time by [`crate::clock::Sync`].
    pub fn sender_report(&mut self, now: Micros, info: &SenderInfo) -> i64 {
        self.sender = Some((info.ntp, now));
        self.ticks.peek(info.timestamp)
    }

    /// The report block of this moment; `None` before the first packet. The next one tells of the time from here.
    pub fn report(&mut self, now: Micros) -> Option<Report> {
        let figures = self.figures.as_mut()?;
        let expected = figures.highest - figures.base + 1;
        let (before, received_before) =
            std::mem::replace(&mut figures.reported, (expected, figures.received));
        let interval = expected - before;
        let lost = interval.saturating_sub(figures.received - received_before);
        let (last_sr, delay) = self.sender.map_or((0, 0), |(ntp, at)| (ntp.middle(), to_short(now - at)));
        Some(Report {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(interval).map_or(0, |fraction| fraction.min(255) as u8),
            lost: i32::try_from(expected as i64 - figures.received as i64).unwrap_or(i32::MAX),
            highest: (figures.highest - 0x1_0000) as u32,
            jitter: u32::try_from(figures.jitter >> 4).unwrap_or(u32::MAX),
            last_sr,
            delay,
        })
    }
}

#[cfg(test)]
mod tests;
