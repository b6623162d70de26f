//! The two families of SRTP ciphers over one packet in place: GCM (RFC 7714) and counter mode with HMAC (RFC 3711 §4).

use aes::cipher::{InnerIvInit, KeyInit, StreamCipher};
use ctr::CtrCore;
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::Profile;
use super::key::{Kind, Label, derive};
use crate::Error;

const GCM_TAG: usize = 16;
/// The E bit: an SRTCP packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;
const RTCP_HEADER: usize = 8;
const RTCP_TAG: usize = 10;

/// The session keys of one direction.
pub(super) enum Cipher {
    Gcm { rtp: Box<Gcm>, rtcp: Box<Gcm> },
    Cm { rtp: Box<Cm>, rtcp: Box<Cm>, tag: usize },
}

impl Cipher {
    pub(super) fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, Error> {
        if (key.len(), salt.len()) != profile.key_lengths() {
            return Err(Error::Keys);
        }
        Ok(match profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => Self::Gcm {
                rtp: Box::new(Gcm::new(key, salt, Kind::Rtp)?),
                rtcp: Box::new(Gcm::new(key, salt, Kind::Rtcp)?),
            },
            Profile::Aes128CmSha1_80 | Profile::Aes128CmSha1_32 => Self::Cm {
                rtp: Box::new(Cm::new(key, salt, Kind::Rtp)?),
                rtcp: Box::new(Cm::new(key, salt, Kind::Rtcp)?),
                tag: if profile == Profile::Aes128CmSha1_32 { 4 } else { 10 },
            },
        })
    }

    /// Seals the packet that begins at `start` and ends with the buffer.
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), Error> {
        const BAD: Error = Error::Packet("RTP");
        let packet = buffer.get_mut(start..).ok_or(BAD)?;
        let (header, payload) = packet.split_at_mut_checked(header).ok_or(BAD)?;
        match self {
            Self::Gcm { rtp, .. } => {
                let tag = rtp.seal(rtp.nonce(ssrc, index), header, payload)?;
                buffer.extend_from_slice(&tag);
            }
            Self::Cm { rtp, tag, .. } => {
                rtp.crypt(payload, ssrc, index);
                let mac = rtp.authenticate(packet, &roc(index).to_be_bytes());
                buffer.extend_from_slice(mac.get(..*tag).unwrap_or_default());
            }
        }
        Ok(())
    }

    pub(super) fn open_rtp(
        &self,
        packet: &mut Vec<u8>,
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), Error> {
        const SHORT: Error = Error::Packet("SRTP");
        match self {
            Self::Gcm { rtp, .. } => {
                let (header, payload) = packet.split_at_mut_checked(header).ok_or(SHORT)?;
                rtp.open(rtp.nonce(ssrc, index), header, payload)?;
                packet.truncate(packet.len() - GCM_TAG);
            }
            Self::Cm { rtp, tag, .. } => {
                let end = packet.len().checked_sub(*tag).filter(|&end| end >= header).ok_or(SHORT)?;
                let (covered, tag) = packet.split_at_checked(end).ok_or(SHORT)?;
                rtp.verify(covered, &roc(index).to_be_bytes(), tag)?;
                packet.truncate(end);
                rtp.crypt(packet.get_mut(header..).ok_or(SHORT)?, ssrc, index);
            }
        }
        Ok(())
    }

    pub(super) fn seal_rtcp(&self, packet: &mut Vec<u8>, ssrc: u32, index: u32) -> Result<(), Error> {
        let trailer = (ENCRYPTED | index).to_be_bytes();
        let (header, payload) = packet.split_at_mut_checked(RTCP_HEADER).ok_or(Error::Packet("RTCP"))?;
        match self {
            Self::Gcm { rtcp, .. } => {
                let mut covered = [0; RTCP_HEADER + 4];
                covered.iter_mut().zip(header.iter().chain(&trailer)).for_each(|(to, from)| *to = *from);
                let tag = rtcp.seal(rtcp.nonce(ssrc, u64::from(index)), &covered, payload)?;
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&trailer);
            }
            Self::Cm { rtcp, .. } => {
                rtcp.crypt(payload, ssrc, u64::from(index));
                packet.extend_from_slice(&trailer);
                let mac = rtcp.authenticate(packet, &[]);
                packet.extend_from_slice(mac.get(..RTCP_TAG).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// The index of an SRTCP packet, with its E bit; not yet to be believed.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, Error> {
        let behind = match self {
            Self::Gcm { .. } => 0,
            Self::Cm { .. } => RTCP_TAG,
        };
        let end = packet.len().checked_sub(behind).ok_or(Error::Packet("SRTCP"))?;
        let trailer = packet.get(RTCP_HEADER..end).and_then(|rest| rest.last_chunk::<4>());
        trailer.map(|trailer| u32::from_be_bytes(*trailer)).ok_or(Error::Packet("SRTCP"))
    }

    pub(super) fn open_rtcp(&self, packet: &mut Vec<u8>, ssrc: u32) -> Result<(), Error> {
        const SHORT: Error = Error::Packet("SRTCP");
        let word = self.rtcp_index(packet)?;
        let (encrypted, index) = (word & ENCRYPTED != 0, u64::from(word & !ENCRYPTED));
        match self {
            Self::Gcm { rtcp, .. } => {
                let end = packet.len().checked_sub(4).ok_or(SHORT)?;
                let trailer = word.to_be_bytes();
                packet.truncate(end);
                if encrypted {
                    let (header, payload) = packet.split_at_mut_checked(RTCP_HEADER).ok_or(SHORT)?;
                    let mut covered = [0; RTCP_HEADER + 4];
                    covered.iter_mut().zip(header.iter().chain(&trailer)).for_each(|(to, from)| *to = *from);
                    rtcp.open(rtcp.nonce(ssrc, index), &covered, payload)?;
                    packet.truncate(end - GCM_TAG);
                } else {
                    // Only authenticated: all is covered, and the sealed text is the tag alone (RFC 7714 §9.3).
                    let at = end.checked_sub(GCM_TAG).filter(|&at| at >= RTCP_HEADER).ok_or(SHORT)?;
                    let mut tag = packet.split_off(at);
                    let covered = [packet.as_slice(), &trailer].concat();
                    rtcp.open(rtcp.nonce(ssrc, index), &covered, &mut tag)?;
                }
            }
            Self::Cm { rtcp, .. } => {
                let end = packet.len().checked_sub(RTCP_TAG).ok_or(SHORT)?;
                let (covered, tag) = packet.split_at_checked(end).ok_or(SHORT)?;
                rtcp.verify(covered, &[], tag)?;
                packet.truncate(end.checked_sub(4).filter(|&end| end >= RTCP_HEADER).ok_or(SHORT)?);
                if encrypted {
                    rtcp.crypt(packet.get_mut(RTCP_HEADER..).ok_or(SHORT)?, ssrc, index);
                }
            }
        }
        Ok(())
    }
}

/// The rollover counter of an index.
fn roc(index: u64) -> u32 {
    (index >> 16) as u32
}

pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    fn new(master: &[u8], salt: &[u8], kind: Kind) -> Result<Self, Error> {
        let key = if master.len() == 16 {
            UnboundKey::new(&AES_128_GCM, &derive::<16>(master, salt, Label::Encryption, kind)?)
        } else {
            UnboundKey::new(&AES_256_GCM, &derive::<32>(master, salt, Label::Encryption, kind)?)
        };
        Ok(Self {
            key: LessSafeKey::new(key.map_err(|_| Error::Keys)?),
            salt: derive::<12>(master, salt, Label::Salt, kind)?,
        })
    }

    /// RFC 7714 §8.1 and §9.1, which are one: an SRTCP index has no more than 31 bits.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let plain = u128::from(ssrc) << 48 | u128::from(index);
        let [_, _, _, _, plain @ ..] = plain.to_be_bytes();
        let mut nonce = self.salt;
        nonce.iter_mut().zip(plain).for_each(|(salt, byte)| *salt ^= byte);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, nonce: Nonce, covered: &[u8], text: &mut [u8]) -> Result<[u8; GCM_TAG], Error> {
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(covered), text);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(Error::WornOut)
    }

    fn open(&self, nonce: Nonce, covered: &[u8], text: &mut [u8]) -> Result<(), Error> {
        let opened = self.key.open_in_place(nonce, Aad::from(covered), text);
        opened.map(|_| ()).map_err(|_| Error::Authentication)
    }
}

pub(super) struct Cm {
    cipher: aes::Aes128,
    mac: Hmac<Sha1>,
    salt: [u8; 14],
}

impl Cm {
    fn new(master: &[u8], salt: &[u8], kind: Kind) -> Result<Self, Error> {
        let key = derive::<16>(master, salt, Label::Encryption, kind)?;
        let mac = derive::<20>(master, salt, Label::Authentication, kind)?;
        Ok(Self {
            cipher: aes::Aes128::new(&key.into()),
            mac: Hmac::new_from_slice(&mac).map_err(|_| Error::Keys)?,
            salt: derive::<14>(master, salt, Label::Salt, kind)?,
        })
    }

    /// RFC 3711 §4.1.1; the same for both directions.
    fn crypt(&self, text: &mut [u8], ssrc: u32, index: u64) {
        let mut iv = (u128::from(ssrc) << 64 | u128::from(index) << 16).to_be_bytes();
        iv.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        let core = CtrCore::<_, ctr::flavors::Ctr128BE>::inner_iv_init(&self.cipher, &iv.into());
        aes::cipher::StreamCipherCoreWrapper::from_core(core).apply_keystream(text);
    }

    fn authenticate(&self, covered: &[u8], behind: &[u8]) -> [u8; 20] {
        self.mac.clone().chain_update(covered).chain_update(behind).finalize().into_bytes().into()
    }

    fn verify(&self, covered: &[u8], behind: &[u8], tag: &[u8]) -> Result<(), Error> {
        let mac = self.mac.clone().chain_update(covered).chain_update(behind);
        mac.verify_truncated_left(tag).map_err(|_| Error::Authentication)
    }
}
