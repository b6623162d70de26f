//! What a sender keeps per player and track: the private part of each packet, the figures of its reports, and answers to what a player misses. The payloads and the
//! history of a stream are shared by all players of a core.

use std::collections::VecDeque;

use media::{Micros, Unit};

use crate::clock::{Ntp, from_ticks, round_trip, to_ticks};
use crate::pack::Payload;
use crate::rtcp::{Report, SenderInfo};
use crate::{Burst, Header};

/// The bursts of a stream that were sent last, one for all players of a core, to answer their NACKs from.
#[derive(Debug)]
pub struct History {
    bursts: VecDeque<Burst>,
    /// The place of the first of them.
    first: u64,
    packets: usize,
    bytes: usize,
    max_packets: usize,
}

/// No history holds more than this, whatever the size of its packets.
const MAX_BYTES: usize = 8 << 20;

impl History {
    /// At most this many packets (SRS keeps 1000).
    pub fn new(max_packets: usize) -> Self {
        Self { bursts: VecDeque::new(), first: 0, packets: 0, bytes: 0, max_packets }
    }

    /// Keeps a burst, and forgets the oldest beyond the bounds. Returns the place, by which senders remember it.
    pub fn push(&mut self, burst: Burst) -> u64 {
        let place = self.first + self.bursts.len() as u64;
        self.packets += burst.packets().len();
        self.bytes += burst.size();
        self.bursts.push_back(burst);
        while (self.packets > self.max_packets || self.bytes > MAX_BYTES)
            && let Some(oldest) = self.bursts.pop_front()
        {
            self.first += 1;
            self.packets = self.packets.saturating_sub(oldest.packets().len());
            self.bytes = self.bytes.saturating_sub(oldest.size());
        }
        place
    }

    /// The place of a burst that is still kept.
    pub fn place(&self, burst: &Burst) -> Option<u64> {
        let back = self.bursts.iter().rev().position(|kept| kept == burst)? as u64;
        Some(self.first + self.bursts.len() as u64 - 1 - back)
    }

    fn find(&self, place: u64) -> Option<&Burst> {
        self.bursts.get(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }
}

/// The line of time of one player, which its tracks share: how far its media lies behind its wall.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    anchor: Option<Micros>,
    epoch: u32,
}

/// Media that is this far from where it should be comes from another source, or from a clock that jumped.
const JUMP: Micros = Micros::from_secs(3);

impl Line {
    /// Media of time `time` goes out at `now`. A new source, a jump of its clock, or a player that was late starts a new stretch: RTP timestamps
    /// go on from where they were, by the wall.
    pub fn place(&mut self, now: Micros, time: Micros) {
        let anchor = now - time;
        if self.anchor.is_none_or(|before| (anchor - before).0.unsigned_abs() > JUMP.0 as u64) {
            self.anchor = Some(anchor);
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// Media of the past goes out at `now`, faster than it was made: its timestamps tell when it went out, so that the player shows it at
    /// once and is with the others when the past ends.
    pub fn hurry(&mut self, now: Micros, time: Micros) {
        self.anchor = Some(now - time);
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The media time that `now` stands for; `None` before anything was sent.
    pub fn time(&self, now: Micros) -> Option<Micros> {
        self.anchor.map(|anchor| now - anchor)
    }
}

/// What the session agreed for one track of one player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderOptions {
    /// The synchronization source.
    pub ssrc: u32,
    /// The payload type.
    pub payload_type: u8,
    /// The source and the payload type of retransmissions (RFC 4588); without, packets are sent again as they were.
    pub retransmission: Option<(u32, u8)>,
    /// The first sequence number and the first timestamp, by chance (RFC 3550 §5.1).
    pub start: (u16, u32),
}

/// One track as one player gets it.
#[derive(Debug)]
pub struct Sender {
    options: SenderOptions,
    sequence: u64,
    resent: u16,
    /// Added to the timestamps of bursts.
    offset: u32,
    last: Option<Last>,
    log: VecDeque<Entry>,
    /// How many packets may be sent again.
    credit: u32,
    packets: u32,
    bytes: u32,
    player: Reception,
}

/// The burst that was sent last.
#[derive(Clone, Copy, Debug)]
struct Last {
    epoch: u32,
    at: Micros,
    time: Micros,
    /// As the player saw it.
    timestamp: u32,
    rate: u32,
}

/// Where the packets of a burst went.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: u64,
    place: u64,
    timestamp: u32,
}

/// How the player says that it receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Packets lost of those expected lately, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start.
    pub lost: i32,
    /// Interarrival jitter.
    pub jitter: Micros,
    /// The last round trip measured.
    pub round_trip: Option<Micros>,
}

/// Bursts that a player can ask for; two seconds of video at 60 frames.
const MAX_LOG: usize = 128;
/// A player is never sent more again than it was sent, and no more than this at a time.
const MAX_CREDIT: u32 = 500;

impl Sender {
    /// A sender that has sent nothing.
    pub fn new(options: SenderOptions) -> Self {
        Self {
            options,
            sequence: u64::from(options.start.0) + 0x1_0000,
            resent: !options.start.0,
            offset: 0,
            last: None,
            log: VecDeque::new(),
            credit: 0,
            packets: 0,
            bytes: 0,
            player: Reception::default(),
        }
    }

    /// The source.
    pub fn ssrc(&self) -> u32 {
        self.options.ssrc
    }

    /// Sends a burst that stands at `place` of the stream's history, on the player's `line` where it was placed before. Gives the header of each packet, to be written in
    /// front of its payload; nothing is allocated. Sequence numbers have no gap but where the publisher's packets have one.
    pub fn send<'a>(
        &mut self,
        now: Micros,
        line: &Line,
        burst: &'a Burst,
        place: u64,
    ) -> impl Iterator<Item = (Header<'static>, &'a Payload)> + use<'a> {
        let (timestamp, rate) = (self.timestamp(now, line, burst), burst.rate());
        self.last = Some(Last { epoch: line.epoch, at: now, time: burst.time(), timestamp, rate });
        let first = self.sequence;
        for payload in burst.packets() {
            self.sequence += 1 + u64::from(payload.gap);
            self.packets = self.packets.wrapping_add(1);
            self.bytes = self.bytes.wrapping_add(payload.len() as u32);
        }
        self.credit = self.credit.saturating_add(burst.packets().len() as u32).min(MAX_CREDIT);
        if self.log.len() >= MAX_LOG {
            self.log.pop_front();
        }
        self.log.push_back(Entry { sequence: first, place, timestamp });
        let options = self.options;
        numbered(burst, first)
            .map(move |(sequence, payload)| (header(&options, sequence, timestamp, payload), payload))
    }

    /// The timestamp of a burst for this player.
    fn timestamp(&mut self, now: Micros, line: &Line, burst: &Burst) -> u32 {
        match self.last {
            Some(last) if last.epoch == line.epoch && last.rate == burst.rate() => {}
            Some(last) => {
                // At least one tick on, so that it is another frame.
                let step = to_ticks(now - last.at, burst.rate()).max(1) as u32;
                self.offset = last.timestamp.wrapping_add(step).wrapping_sub(burst.timestamp());
            }
            None => self.offset = self.options.start.1.wrapping_sub(burst.timestamp()),
        }
        burst.timestamp().wrapping_add(self.offset)
    }

    /// Answers a NACK for one number, if the stream's history still has it and the player has not asked for too much.
    pub fn resend<'a>(&mut self, sequence: u16, history: &'a History) -> Option<Resent<'a>> {
        self.credit.checked_sub(1)?;
        let behind = (self.sequence as u16).wrapping_sub(sequence);
        let full = self.sequence.checked_sub(behind.into())?;
        let after = self.log.partition_point(|entry| entry.sequence <= full);
        let entry = *self.log.get(after.checked_sub(1)?)?;
        let burst = history.find(entry.place)?;
        let (_, payload) = numbered(burst, entry.sequence).find(|(number, _)| *number == full)?;
        self.credit -= 1;
        let mut header = header(&self.options, full, entry.timestamp, payload);
        let mut original = None;
        if let Some((ssrc, payload_type)) = self.options.retransmission {
            header = Header { ssrc, payload_type, sequence: self.resent, ..header };
            self.resent = self.resent.wrapping_add(1);
            original = Some(sequence);
        }
        Some(Resent { header, original, payload })
    }

    /// The report of this moment, `now` on the session's clock and `unix` since 1970; `None` before anything was sent. As it ties the player's line, tracks of
    /// different offsets stay in step (RFC 3550 §6.4.1).
    pub fn report(&self, now: Micros, unix: Micros, line: &Line) -> Option<SenderInfo> {
        let last = self.last.filter(|last| last.epoch == line.epoch)?;
        let ahead = to_ticks(line.time(now)? - last.time, last.rate);
        let timestamp = last.timestamp.wrapping_add(ahead as u32);
        Some(SenderInfo { ntp: Ntp::from_unix(unix), timestamp, packets: self.packets, bytes: self.bytes })
    }

    /// A report block of the player about this source came at `unix`.
    pub fn receiver_report(&mut self, unix: Micros, report: &Report) {
        let rate = self.last.map_or(0, |last| last.rate);
        let measured = round_trip(Ntp::from_unix(unix), report.last_sr, report.delay);
        self.player = Reception {
            fraction_lost: report.fraction_lost,
            lost: report.lost,
            jitter: from_ticks(report.jitter.into(), rate),
            round_trip: measured.or(self.player.round_trip),
        };
    }

    /// How the player receives, as of its last report.
    pub fn reception(&self) -> Reception {
        self.player
    }
}

/// The payloads of a burst whose first number, before its gap, is `first`.
fn numbered(burst: &Burst, first: u64) -> impl Iterator<Item = (u64, &Payload)> {
    burst.packets().iter().scan(first, |next, payload| {
        let sequence = *next + u64::from(payload.gap);
        *next = sequence + 1;
        Some((sequence, payload))
    })
}

fn header(options: &SenderOptions, sequence: u64, timestamp: u32, payload: &Payload) -> Header<'static> {
    Header {
        marker: payload.marker,
        payload_type: options.payload_type,
        sequence: sequence as u16,
        timestamp,
        ssrc: options.ssrc,
        extensions: &[],
    }
}

/// A packet that is sent again.
#[derive(Clone, Copy, Debug)]
pub struct Resent<'a> {
    /// Its header.
    pub header: Header<'static>,
    /// The number that it had, in front of the payload of a retransmission stream (RFC 4588 §4).
    pub original: Option<u16>,
    /// Its payload.
    pub payload: &'a Payload,
}

impl Resent<'_> {
    /// Appends the whole packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        out.extend(self.original.iter().flat_map(|sequence| sequence.to_be_bytes()));
        self.payload.write(out);
    }
}

#[cfg(test)]
mod tests;
