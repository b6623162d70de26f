//! RTCP: what receivers and senders tell each other. Reading a compound packet and writing its parts; what to say and when is decided in
//! `receive` and `send`.

mod read;
mod twcc;
mod write;

pub use read::{Block, Blocks, Description, List, Lost, Packets, packets};
pub use twcc::{Arrivals, Feedback};
pub use write::Writer;

use crate::clock::Ntp;

/// One packet of a compound (RFC 3550 §6). Lists borrow from the datagram.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// SR, RFC 3550 §6.4.1.
    SenderReport {
        /// Who sends.
        ssrc: u32,
        /// Its clocks and counters.
        info: SenderInfo,
        /// What it receives itself.
        reports: List<'a, Report, 24>,
    },
    /// RR, RFC 3550 §6.4.2.
    ReceiverReport {
        /// Who receives.
        ssrc: u32,
        /// What it receives, per source.
        reports: List<'a, Report, 24>,
    },
    /// SDES, RFC 3550 §6.5.
    Description(Description<'a>),
    /// BYE, RFC 3550 §6.6.
    Bye {
        /// The sources that leave.
        sources: List<'a, u32, 4>,
    },
    /// Generic NACK, RFC 4585 §6.2.1.
    Nack {
        /// Who asks.
        sender: u32,
        /// Whose packets are missing.
        media: u32,
        /// Which.
        lost: Lost<'a>,
    },
    /// Transport-wide feedback, draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
    Twcc(Feedback<'a>),
    /// Picture loss indication, RFC 4585 §6.3.1.
    Pli {
        /// Who asks.
        sender: u32,
        /// Who shall send a keyframe.
        media: u32,
    },
    /// Full intra request, RFC 5104 §4.3.1.
    Fir {
        /// Who asks.
        sender: u32,
        /// Who shall send a keyframe, and the number of the request: one that repeats is the same request.
        requests: List<'a, (u32, u8), 8>,
    },
    /// Receiver estimated maximum bitrate, draft-alvestrand-rmcat-remb-03 §2.2.
    Remb {
        /// Who estimates.
        sender: u32,
        /// Bits per second, for all sources together.
        bitrate: u64,
        /// The sources.
        sources: List<'a, u32, 4>,
    },
    /// XR, RFC 3611 §2.
    Extended {
        /// Who reports.
        ssrc: u32,
        /// Its blocks of known types.
        blocks: Blocks<'a>,
    },
}

/// The clocks and counters of a sender report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall time of the report.
    pub ntp: Ntp,
    /// The same moment on the clock of the RTP timestamps.
    pub timestamp: u32,
    /// Packets sent, wrapping.
    pub packets: u32,
    /// Bytes of payload sent, wrapping.
    pub bytes: u32,
}

/// A report block: how one source is received (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The source.
    pub ssrc: u32,
    /// Packets lost of those expected since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start; duplicates count against it. 24 bits, clipped when written.
    pub lost: i32,
    /// The highest sequence number received, with the count of its wraps above it.
    pub highest: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// The middle of the NTP stamp of the last sender report; 0 without one.
    pub last_sr: u32,
    /// Time since that sender report came, in 1/65,536 s.
    pub delay: u32,
}

/// One sub-block of a DLRR block: the answer to a receiver reference time (RFC 3611 §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dlrr {
    /// The receiver that gave its time.
    pub ssrc: u32,
    /// The middle of the NTP stamp that it gave.
    pub last_rr: u32,
    /// Time since then, in 1/65,536 s.
    pub delay: u32,
}

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const XR: u8 = 207;

const NACK: u8 = 1;
const TWCC: u8 = 15;
const PLI: u8 = 1;
const FIR: u8 = 4;
const ALFB: u8 = 15;

const RRTR: u8 = 4;
const DLRR: u8 = 5;

#[cfg(test)]
mod tests;
