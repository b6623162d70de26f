//! Reading a compound packet.

use media::{ByteReader, Truncated};

use super::{
    ALFB, BYE, DLRR, Dlrr, FIR, Feedback, NACK, PLI, PSFB, Packet, RR, RRTR, RTPFB, Report, SDES, SR,
    SenderInfo, TWCC, XR,
};
use crate::Error;
use crate::clock::Ntp;
use crate::error::ends_early;

/// The packets of a datagram, whether it is a full compound or of reduced size (RFC 5506). Packets of unknown types, APP among them, are passed over; an
/// error ends it, since what follows cannot be found.
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram }
}

/// Iterates over the packets of a datagram, see [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (first, kind, body) = match self.split() {
                Ok(found) => found,
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            };
            match read(first & 0x1f, kind, body).map_err(ends_early("RTCP packet")) {
                Ok(Some(packet)) => return Some(Ok(packet)),
                Ok(None) => {}
                // Its own length was right: those behind it can still be read.
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl<'a> Packets<'a> {
    /// The first byte, the type and the body of the next packet.
    fn split(&mut self) -> Result<(u8, u8, &'a [u8]), Error> {
        let what = "RTCP packet";
        let mut r = ByteReader::new(self.rest);
        let (first, kind, words) = (|| Ok((r.u8()?, r.u8()?, r.u16()?)))().map_err(ends_early(what))?;
        if first >> 6 != 2 {
            return Err(Error::Malformed { what, field: "version", value: (first >> 6).into() });
        }
        let mut body = r.take(usize::from(words) * 4).map_err(ends_early(what))?;
        self.rest = r.rest();
        if first & 0x20 != 0 {
            let padding = body.last().copied().unwrap_or_default();
            let end = body.len().checked_sub(padding.into()).filter(|_| padding > 0);
            body = end.and_then(|end| body.get(..end)).ok_or(Error::Malformed {
                what,
                field: "padding",
                value: padding.into(),
            })?;
        }
        Ok((first, kind, body))
    }
}

/// `None` for a type that is not known.
fn read(count: u8, kind: u8, body: &[u8]) -> Result<Option<Packet<'_>>, Truncated> {
    let mut r = ByteReader::new(body);
    Ok(Some(match (kind, count) {
        (SR, _) => {
            let ssrc = r.u32()?;
            let ntp = Ntp(r.u64()?);
            let info = SenderInfo { ntp, timestamp: r.u32()?, packets: r.u32()?, bytes: r.u32()? };
            Packet::SenderReport { ssrc, info, reports: List::take(&mut r, count.into(), report)? }
        }
        (RR, _) => {
            let ssrc = r.u32()?;
            Packet::ReceiverReport { ssrc, reports: List::take(&mut r, count.into(), report)? }
        }
        (SDES, _) => Packet::Description(Description { chunks: count, rest: body }),
        (BYE, _) => Packet::Bye { sources: List::take(&mut r, count.into(), ssrc)? },
        (RTPFB, NACK) => {
            Packet::Nack { sender: r.u32()?, media: r.u32()?, lost: Lost(List::rest(r.rest(), pair)) }
        }
        (RTPFB, TWCC) => Packet::Twcc(Feedback::read(&mut r)?),
        (PSFB, PLI) => Packet::Pli { sender: r.u32()?, media: r.u32()? },
        (PSFB, FIR) => {
            let sender = r.u32()?;
            r.u32()?; // media source, unused
            Packet::Fir {
                sender,
                requests: List::rest(r.rest(), |[a, b, c, d, n, ..]| (ssrc(&[*a, *b, *c, *d]), *n)),
            }
        }
        (PSFB, ALFB) => {
            let sender = r.u32()?;
            r.u32()?; // media source, unused
            if r.u32()? != u32::from_be_bytes(*b"REMB") {
                return Ok(None);
            }
            let (sources, exponent) = (r.u8()?, r.u24()?);
            let bitrate = u64::from(exponent & 0x3_ffff).checked_shl(exponent >> 18).unwrap_or(u64::MAX);
            Packet::Remb { sender, bitrate, sources: List::take(&mut r, sources.into(), ssrc)? }
        }
        (XR, _) => Packet::Extended { ssrc: r.u32()?, blocks: Blocks { rest: r.rest() } },
        _ => return Ok(None),
    }))
}

fn report(bytes: &[u8; 24]) -> Report {
    let word = |at: usize| {
        let four = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
        u32::from_be_bytes(four.unwrap_or_default())
    };
    Report {
        ssrc: word(0),
        fraction_lost: (word(4) >> 24) as u8,
        lost: (word(4) << 8) as i32 >> 8,
        highest: word(8),
        jitter: word(12),
        last_sr: word(16),
        delay: word(20),
    }
}

fn ssrc(bytes: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*bytes)
}

fn pair([a, b, c, d]: &[u8; 4]) -> (u16, u16) {
    (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
}

fn dlrr([a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; 12]) -> Dlrr {
    let word = u32::from_be_bytes;
    Dlrr { ssrc: word([*a, *b, *c, *d]), last_rr: word([*e, *f, *g, *h]), delay: word([*i, *j, *k, *l]) }
}

/// A list of records of `N` bytes each, read as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct List<'a, T, const N: usize> {
    records: &'a [[u8; N]],
    read: fn(&[u8; N]) -> T,
}

impl<'a, T: 'a, const N: usize> List<'a, T, N> {
    fn take(r: &mut ByteReader<'a>, count: usize, read: fn(&[u8; N]) -> T) -> Result<Self, Truncated> {
        Ok(Self::rest(r.take(count * N)?, read))
    }

    /// All whole records; what is left behind them is passed over.
    fn rest(bytes: &'a [u8], read: fn(&[u8; N]) -> T) -> Self {
        Self { records: bytes.as_chunks().0, read }
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + 'a {
        self.records.iter().map(self.read)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// The sequence numbers of a NACK.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a>(List<'a, (u16, u16), 4>);

impl<'a> Lost<'a> {
    /// The numbers, each with those that its bitmask adds.
    pub fn iter(&self) -> impl Iterator<Item = u16> + 'a {
        self.0.iter().flat_map(|(first, mask)| {
            let more = (0..16u16).filter(move |bit| mask >> bit & 1 == 1);
            std::iter::once(first).chain(more.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// The source descriptions of an SDES packet.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    chunks: u8,
    rest: &'a [u8],
}

impl<'a> Description<'a> {
    /// Each source with its canonical name; other items are passed over. Ends at the first chunk that is cut off.
    pub fn names(&self) -> impl Iterator<Item = (u32, &'a [u8])> + 'a {
        let mut r = ByteReader::new(self.rest);
        (0..self.chunks).map_while(move |_| chunk(&mut r).ok()).flatten()
    }
}

/// One chunk: a source and its items up to the next word boundary. `None` without a CNAME.
fn chunk<'a>(r: &mut ByteReader<'a>) -> Result<Option<(u32, &'a [u8])>, Truncated> {
    let ssrc = r.u32()?;
    let mut name = None;
    loop {
        match r.u8()? {
            0 => break,
            kind => {
                let length = r.u8()?;
                let text = r.take(length.into())?;
                if kind == 1 {
                    name = Some((ssrc, text));
                }
            }
        }
    }
    r.take((4 - r.position() % 4) % 4)?;
    Ok(name)
}

/// A block of an extended report.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Block<'a> {
    /// Receiver reference time: a receiver that sends nothing gives its time (RFC 3611 §4.4).
    ReferenceTime(Ntp),
    /// Delay since the last receiver reference time: the answer (RFC 3611 §4.5).
    Delay(List<'a, Dlrr, 12>),
}

/// Iterates over the known blocks of an extended report. Ends at the first that is cut off.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        loop {
            let mut r = ByteReader::new(self.rest);
            let (kind, _, words) = (r.u8().ok()?, r.u8().ok()?, r.u16().ok()?);
            let body = r.take(usize::from(words) * 4).ok()?;
            self.rest = r.rest();
            match kind {
                RRTR => return Some(Block::ReferenceTime(Ntp(ByteReader::new(body).u64().ok()?))),
                DLRR => return Some(Block::Delay(List::rest(body, dlrr))),
                _ => {}
            }
        }
    }
}
