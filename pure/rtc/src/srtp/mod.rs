//! SRTP and SRTCP (RFC 3711, RFC 7714): packets are protected and opened in place, with keys laid out once per session.
//!
//! A [`Sender`] protects what we send, a [`Receiver`] opens what comes; each counts the packets of every stream. Where the keys
//! come from belongs to [`crate::dtls`].

mod cipher;
mod key;
mod replay;

use cipher::Cipher;
pub(crate) use replay::Window;

use crate::Error;

/// How many RTP streams one direction of a session may carry.
pub const MAX_STREAMS: usize = 64;
/// The most bytes that protection adds to a packet: the tag, and the index of SRTCP.
pub const MAX_OVERHEAD: usize = 20;

const MAX_INDEX: u64 = (1 << 48) - 1;
const MAX_RTCP_INDEX: u32 = (1 << 31) - 1;

/// A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2), in the order in which we prefer them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// AES-128 in GCM mode, the fastest by far.
    AeadAes128Gcm,
    /// AES-256 in GCM mode.
    AeadAes256Gcm,
    /// AES-128 in counter mode, HMAC-SHA1 cut to 80 bits.
    Aes128CmSha1_80,
    /// AES-128 in counter mode, HMAC-SHA1 cut to 32 bits for RTP.
    Aes128CmSha1_32,
}

impl Profile {
    /// All of them, the preferred first.
    pub const ALL: [Self; 4] =
        [Self::AeadAes128Gcm, Self::AeadAes256Gcm, Self::Aes128CmSha1_80, Self::Aes128CmSha1_32];

    /// The number in the `use_srtp` extension.
    pub const fn id(self) -> u16 {
        match self {
            Self::AeadAes128Gcm => 7,
            Self::AeadAes256Gcm => 8,
            Self::Aes128CmSha1_80 => 1,
            Self::Aes128CmSha1_32 => 2,
        }
    }

    /// The profile of a number, if we have it.
    pub fn of_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.id() == id)
    }

    /// Lengths of a master key and a master salt, in bytes.
    pub const fn key_lengths(self) -> (usize, usize) {
        match self {
            Self::AeadAes128Gcm => (16, 12),
            Self::AeadAes256Gcm => (32, 12),
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 => (16, 14),
        }
    }

    /// How many bytes DTLS exports: both keys and both salts (RFC 5764 §4.2).
    pub const fn keying_length(self) -> usize {
        let (key, salt) = self.key_lengths();
        2 * (key + salt)
    }
}

/// The two ends of a session out of what DTLS exports: keys of client and server, then salts of client and server.
///
/// Errors: [`Error::Keys`] when the material is too short.
pub fn split(profile: Profile, material: &[u8], we_are_client: bool) -> Result<(Sender, Receiver), Error> {
    let (key, salt) = profile.key_lengths();
    let cut = |at: usize, length: usize| material.get(at..at + length).ok_or(Error::Keys);
    let client = (cut(0, key)?, cut(2 * key, salt)?);
    let server = (cut(key, key)?, cut(2 * key + salt, salt)?);
    let (ours, theirs) = if we_are_client { (client, server) } else { (server, client) };
    Ok((Sender::new(profile, ours.0, ours.1)?, Receiver::new(profile, theirs.0, theirs.1)?))
}

/// Protects the packets of one direction.
pub struct Sender {
    cipher: Cipher,
    streams: Vec<SentStream>,
    rtcp_index: u32,
}

struct SentStream {
    ssrc: u32,
    /// The highest index sent, in 48 bits.
    newest: u64,
}

impl Sender {
    /// A sender by a master key.
    ///
    /// Errors: [`Error::Keys`] when lengths do not suit the profile.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, Error> {
        Ok(Self { cipher: Cipher::new(profile, key, salt)?, streams: Vec::new(), rtcp_index: 0 })
    }

    /// Protects an RTP packet in place; it grows by at most [`MAX_OVERHEAD`].
    ///
    /// A packet sent again must be the same bytes again: another packet under the same sequence number would betray the key.
    ///
    /// Errors: [`Error::Packet`], [`Error::TooManyStreams`], [`Error::WornOut`].
    pub fn protect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.protect_rtp_at(packet, 0)
    }

    /// Protects the RTP packet that begins at `start` and ends with the buffer, so that the packets of many players can be laid one
    /// behind the other. What stands before it is not touched.
    ///
    /// Errors: as of [`protect_rtp`](Self::protect_rtp); the buffer is as long as before.
    pub fn protect_rtp_at(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), Error> {
        let header = Header::of(buffer.get(start..).unwrap_or_default())?;
        let full = self.streams.len() >= MAX_STREAMS;
        let index = match self.streams.iter_mut().find(|stream| stream.ssrc == header.ssrc) {
            Some(stream) => {
                let index = nearest(stream.newest, header.sequence);
                stream.newest = stream.newest.max(index);
                index
            }
            None if !full => {
                let newest = u64::from(header.sequence);
                self.streams.push(SentStream { ssrc: header.ssrc, newest });
                newest
            }
            None => return Err(Error::TooManyStreams { max: MAX_STREAMS }),
        };
        if index > MAX_INDEX {
            return Err(Error::WornOut);
        }
        self.cipher.seal_rtp(buffer, start, header.length, header.ssrc, index)
    }

    /// Protects a compound RTCP packet in place; it grows by at most [`MAX_OVERHEAD`].
    ///
    /// Errors: [`Error::Packet`], [`Error::WornOut`].
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = self.rtcp_index + 1;
        if index > MAX_RTCP_INDEX {
            return Err(Error::WornOut);
        }
        self.rtcp_index = index;
        self.cipher.seal_rtcp(packet, ssrc, index)
    }
}

/// Opens the packets of one direction.
pub struct Receiver {
    cipher: Cipher,
    streams: Vec<ReceivedStream>,
    /// By SSRC of the RTCP sender.
    rtcp: Vec<(u32, Window<2>)>,
}

struct ReceivedStream {
    ssrc: u32,
    newest: u64,
    /// As long as a publisher's answers to NACK may take.
    window: Box<Window<128>>,
}

impl Receiver {
    /// A receiver by a master key.
    ///
    /// Errors: [`Error::Keys`] when lengths do not suit the profile.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, Error> {
        Ok(Self { cipher: Cipher::new(profile, key, salt)?, streams: Vec::new(), rtcp: Vec::new() })
    }

    /// Opens an SRTP packet in place. On an error its bytes are worthless.
    ///
    /// Errors: [`Error::Packet`], [`Error::Replayed`], [`Error::Authentication`], [`Error::TooManyStreams`].
    pub fn open_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        let header = Header::of(packet)?;
        let known = self.streams.iter_mut().find(|stream| stream.ssrc == header.ssrc);
        let Some(stream) = known else {
            // Only a genuine packet makes a stream.
            if self.streams.len() >= MAX_STREAMS {
                return Err(Error::TooManyStreams { max: MAX_STREAMS });
            }
            let newest = u64::from(header.sequence);
            self.cipher.open_rtp(packet, header.length, header.ssrc, newest)?;
            let mut window = Box::new(Window::default());
            window.accept(newest);
            self.streams.push(ReceivedStream { ssrc: header.ssrc, newest, window });
            return Ok(());
        };
        let index = nearest(stream.newest, header.sequence);
        if index > MAX_INDEX || !stream.window.is_fresh(index) {
            return Err(Error::Replayed);
        }
        self.cipher.open_rtp(packet, header.length, header.ssrc, index)?;
        stream.window.accept(index);
        stream.newest = stream.newest.max(index);
        Ok(())
    }

    /// Opens an SRTCP packet in place. On an error its bytes are worthless.
    ///
    /// Errors: as of [`open_rtp`](Self::open_rtp).
    pub fn open_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = u64::from(self.cipher.rtcp_index(packet)? & MAX_RTCP_INDEX);
        let known = self.rtcp.iter().position(|(known, _)| *known == ssrc);
        if known.is_none() && self.rtcp.len() >= MAX_STREAMS {
            return Err(Error::TooManyStreams { max: MAX_STREAMS });
        }
        let mut window =
            known.and_then(|at| self.rtcp.get(at)).map_or_else(Window::default, |(_, w)| w.clone());
        if !window.is_fresh(index) {
            return Err(Error::Replayed);
        }
        self.cipher.open_rtcp(packet, ssrc)?;
        window.accept(index);
        match known.and_then(|at| self.rtcp.get_mut(at)) {
            Some((_, place)) => *place = window,
            None => self.rtcp.push((ssrc, window)),
        }
        Ok(())
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

/// The index whose low 16 bits are `sequence` and which is nearest to the newest one (RFC 3711 §3.3.1).
fn nearest(newest: u64, sequence: u16) -> u64 {
    let step = i64::from(sequence.wrapping_sub(newest as u16) as i16);
    newest.checked_add_signed(step).unwrap_or(newest + u64::from(sequence.wrapping_sub(newest as u16)))
}

/// What SRTP must know of an RTP header.
struct Header {
    ssrc: u32,
    sequence: u16,
    /// With CSRCs and extension, in bytes.
    length: usize,
}

impl Header {
    fn of(packet: &[u8]) -> Result<Self, Error> {
        const BAD: Error = Error::Packet("RTP");
        let Some((&[first, _, s1, s0, _, _, _, _, a, b, c, d], rest)) = packet.split_first_chunk::<12>()
        else {
            return Err(BAD);
        };
        if first >> 6 != 2 {
            return Err(BAD);
        }
        let mut length = 12 + 4 * usize::from(first & 15);
        if first & 0x10 != 0 {
            let extension = rest.get(length - 12..).and_then(|rest| rest.get(2..4)).ok_or(BAD)?;
            let words = extension.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            length += 4 + 4 * words;
        }
        if packet.len() < length {
            return Err(BAD);
        }
        Ok(Self { ssrc: u32::from_be_bytes([a, b, c, d]), sequence: u16::from_be_bytes([s1, s0]), length })
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, Error> {
    match packet.first_chunk::<8>() {
        Some(&[first, _, _, _, a, b, c, d]) if first >> 6 == 2 => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => Err(Error::Packet("RTCP")),
    }
}

#[cfg(test)]
mod tests;
