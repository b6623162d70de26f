//! STUN messages as far as ICE needs them (RFC 8489, RFC 8445 §7.1): read without copying, written in one go.
//!
//! Who may send one, and what an answer means, belongs to [`crate::ice`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use media::ByteReader;
use sha1::Sha1;

use crate::Error;

/// The method of a connectivity check.
pub const BINDING: u16 = 1;

const COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;
const INTEGRITY: usize = 20;
/// An honest check has about ten attributes.
const MAX_ATTRIBUTES: usize = 64;
/// As many as an error answer tells.
const MAX_UNKNOWN: usize = 8;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const SOFTWARE: u16 = 0x8022;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
}

/// The class of a message (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answers a request.
    Success,
    /// Refuses a request.
    Failure,
}

/// A role in ICE, with its tie breaker (RFC 8445 §7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The sender nominates.
    Controlling(u64),
    /// The sender expects nomination.
    Controlled(u64),
}

/// A message as it came, its attributes still in the datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What kind of message.
    pub class: Class,
    /// The method, [`BINDING`] for checks.
    pub method: u16,
    /// The transaction.
    pub id: [u8; 12],
    /// USERNAME.
    pub username: Option<&'a [u8]>,
    /// PRIORITY that a candidate learnt from this check would have.
    pub priority: Option<u32>,
    /// USE-CANDIDATE: the pair of this check is nominated.
    pub use_candidate: bool,
    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub role: Option<Role>,
    /// XOR-MAPPED-ADDRESS, undone.
    pub mapped: Option<SocketAddr>,
    /// The number of ERROR-CODE.
    pub error: Option<u16>,
    /// SOFTWARE.
    pub software: Option<&'a [u8]>,
    /// The first attributes that must be understood and are not.
    pub unknown: Vec<u16>,
    /// What MESSAGE-INTEGRITY covers, and its value.
    integrity: Option<(&'a [u8], &'a [u8])>,
}

/// Whether a datagram is STUN: RFC 7983 and the magic cookie.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|&first| first < 4)
        && datagram.len() >= HEADER
        && datagram.get(4..8) == Some(&COOKIE.to_be_bytes())
}

impl<'a> Message<'a> {
    /// Reads a datagram. A FINGERPRINT is checked; MESSAGE-INTEGRITY is checked by [`verify`](Self::verify).
    ///
    /// Errors: [`Error::Stun`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Error> {
        const SHORT: fn(media::Truncated) -> Error = |_| Error::Stun("ends early");
        let mut reader = ByteReader::new(datagram);
        let kind = reader.u16().map_err(SHORT)?;
        let length = usize::from(reader.u16().map_err(SHORT)?);
        if kind & 0xc000 != 0 || reader.u32().map_err(SHORT)? != COOKIE {
            return Err(Error::Stun("no magic cookie"));
        }
        let id = reader.take(12).map_err(SHORT)?;
        let id: [u8; 12] = id.try_into().map_err(|_| Error::Stun("ends early"))?;
        if length % 4 != 0 || length != reader.left() {
            return Err(Error::Stun("its length is not that of the datagram"));
        }
        let mut message = Message {
            class: match kind & 0x0110 {
                0x0000 => Class::Request,
                0x0010 => Class::Indication,
                0x0100 => Class::Success,
                _ => Class::Failure,
            },
            method: kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2,
            id,
            username: None,
            priority: None,
            use_candidate: false,
            role: None,
            mapped: None,
            error: None,
            software: None,
            unknown: Vec::new(),
            integrity: None,
        };
        for _ in 0..MAX_ATTRIBUTES {
            if reader.left() == 0 {
                return Ok(message);
            }
            let at = reader.position();
            let kind = reader.u16().map_err(SHORT)?;
            let length = usize::from(reader.u16().map_err(SHORT)?);
            let value = reader.take(length).map_err(SHORT)?;
            reader.take(length.wrapping_neg() % 4).map_err(SHORT)?;
            let covered = datagram.get(..at).unwrap_or_default();
            message.attribute(kind, value, covered, reader.left() == 0)?;
        }
        Err(Error::Stun("too many attributes"))
    }

    fn attribute(&mut self, kind: u16, value: &'a [u8], covered: &'a [u8], last: bool) -> Result<(), Error> {
        const LENGTH: fn(std::array::TryFromSliceError) -> Error =
            |_| Error::Stun("an attribute of wrong length");
        if kind == attribute::FINGERPRINT {
            let value = u32::from_be_bytes(value.try_into().map_err(LENGTH)?);
            if !last || value != fingerprint(covered) {
                return Err(Error::Stun("its fingerprint is wrong"));
            }
            return Ok(());
        }
        // What follows the integrity is not covered by it, so it says nothing (§14.5).
        if self.integrity.is_some() {
            return Ok(());
        }
        match kind {
            attribute::USERNAME => self.username = Some(value),
            attribute::MESSAGE_INTEGRITY if value.len() == INTEGRITY => {
                self.integrity = Some((covered, value))
            }
            attribute::MESSAGE_INTEGRITY => return Err(Error::Stun("an attribute of wrong length")),
            attribute::PRIORITY => {
                self.priority = Some(u32::from_be_bytes(value.try_into().map_err(LENGTH)?))
            }
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLING => {
                self.role = Some(Role::Controlling(u64::from_be_bytes(value.try_into().map_err(LENGTH)?)));
            }
            attribute::ICE_CONTROLLED => {
                self.role = Some(Role::Controlled(u64::from_be_bytes(value.try_into().map_err(LENGTH)?)));
            }
            attribute::XOR_MAPPED_ADDRESS => self.mapped = Some(xor_address(value, &self.id)?),
            attribute::ERROR_CODE => match value {
                [_, _, class @ 3..=6, number @ 0..=99, ..] => {
                    self.error = Some(u16::from(*class) * 100 + u16::from(*number));
                }
                _ => return Err(Error::Stun("an error code out of range")),
            },
            attribute::SOFTWARE => self.software = Some(value),
            attribute::UNKNOWN_ATTRIBUTES => {}
            unknown if unknown < 0x8000 && self.unknown.len() < MAX_UNKNOWN => self.unknown.push(unknown),
            _ => {}
        }
        Ok(())
    }

    /// Whether a MESSAGE-INTEGRITY came along.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether MESSAGE-INTEGRITY proves this password (§14.5). Takes the same time for right and wrong.
    pub fn verify(&self, password: &[u8]) -> bool {
        let Some((covered, value)) = self.integrity else { return false };
        integrity(covered, password).is_some_and(|mac| mac.verify_slice(value).is_ok())
    }
}

/// Writes one message.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A message of the method [`BINDING`].
    pub fn binding(class: Class, id: [u8; 12]) -> Self {
        let kind: u16 = match class {
            Class::Request => 0x0001,
            Class::Indication => 0x0011,
            Class::Success => 0x0101,
            Class::Failure => 0x0111,
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&id);
        Self { bytes }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let value = value.get(..usize::from(u16::MAX >> 1)).unwrap_or(value);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// USERNAME.
    pub fn username(self, name: &[u8]) -> Self {
        self.attribute(attribute::USERNAME, name)
    }

    /// PRIORITY.
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(attribute::PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(self) -> Self {
        self.attribute(attribute::USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(self, role: Role) -> Self {
        match role {
            Role::Controlling(tie) => self.attribute(attribute::ICE_CONTROLLING, &tie.to_be_bytes()),
            Role::Controlled(tie) => self.attribute(attribute::ICE_CONTROLLED, &tie.to_be_bytes()),
        }
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped(self, address: SocketAddr) -> Self {
        let mask = mask(self.bytes.get(8..HEADER).unwrap_or_default());
        let port = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
        let mut value = vec![0, 1];
        value.extend_from_slice(&port);
        match address.ip() {
            IpAddr::V4(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
            IpAddr::V6(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
        }
        if let (true, Some(family)) = (address.is_ipv6(), value.get_mut(1)) {
            *family = 2;
        }
        self.attribute(attribute::XOR_MAPPED_ADDRESS, &value)
    }

    /// ERROR-CODE, 300 to 699.
    pub fn error(self, code: u16, reason: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend_from_slice(reason.as_bytes());
        self.attribute(attribute::ERROR_CODE, &value)
    }

    /// UNKNOWN-ATTRIBUTES.
    pub fn unknown(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(attribute::UNKNOWN_ATTRIBUTES, &value)
    }

    /// SOFTWARE.
    pub fn software(self, name: &str) -> Self {
        self.attribute(attribute::SOFTWARE, name.as_bytes())
    }

    /// Adds MESSAGE-INTEGRITY by this password, if there is one, and FINGERPRINT.
    pub fn finish(mut self, password: Option<&[u8]>) -> Vec<u8> {
        if let Some(mac) = password.and_then(|password| integrity(&self.bytes, password)) {
            let value = mac.finalize().into_bytes();
            self = self.attribute(attribute::MESSAGE_INTEGRITY, &value);
        }
        let length = (self.bytes.len() + 8 - HEADER) as u16;
        if let Some(field) = self.bytes.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        let value = fingerprint(&self.bytes).to_be_bytes();
        self.attribute(attribute::FINGERPRINT, &value).bytes
    }
}

/// HMAC-SHA1 over what stands before MESSAGE-INTEGRITY, with a length as if it were the last attribute.
fn integrity(covered: &[u8], password: &[u8]) -> Option<Hmac<Sha1>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(password).ok()?;
    let length = (covered.len() + 4 + INTEGRITY).checked_sub(HEADER)? as u16;
    mac.update(covered.get(..2)?);
    mac.update(&length.to_be_bytes());
    mac.update(covered.get(4..)?);
    Some(mac)
}

/// The value of FINGERPRINT (§14.7); the length field already counts it.
fn fingerprint(covered: &[u8]) -> u32 {
    const fn entry(nibble: u32) -> u32 {
        let (mut crc, mut bit) = (nibble, 0);
        while bit < 4 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        crc
    }
    #[rustfmt::skip]
    const TABLE: [u32; 16] = [
        entry(0), entry(1), entry(2), entry(3), entry(4), entry(5), entry(6), entry(7),
        entry(8), entry(9), entry(10), entry(11), entry(12), entry(13), entry(14), entry(15),
    ];
    let crc = covered.iter().flat_map(|byte| [byte & 15, byte >> 4]).fold(u32::MAX, |crc, nibble| {
        let entry = TABLE.get((crc as u8 ^ nibble) as usize & 15).copied().unwrap_or_default();
        crc >> 4 ^ entry
    });
    !crc ^ FINGERPRINT_XOR
}

fn mask(id: &[u8]) -> impl Iterator<Item = u8> {
    COOKIE.to_be_bytes().into_iter().chain(id.iter().copied())
}

fn xor_address(value: &[u8], id: &[u8]) -> Result<SocketAddr, Error> {
    const BAD: Error = Error::Stun("an address of wrong form");
    let (&[_, family, high, low], address) = value.split_first_chunk::<4>().ok_or(BAD)?;
    let port = u16::from_be_bytes([high, low]) ^ (COOKIE >> 16) as u16;
    let octets: Vec<u8> = address.iter().zip(mask(id)).map(|(a, b)| a ^ b).collect();
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).map_err(|_| BAD)?)),
        2 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).map_err(|_| BAD)?)),
        _ => return Err(BAD),
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 §2.1, a request by "evtj:h6vY" with the password "VOkJxbRl1RmTxUk/WvJxBt".
    const SAMPLE: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e7400240004\
        6e0001ff80290008932ff9b151263b36000600096576746a3a683676592020200008001\
        49aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn reads_the_sample_request_of_rfc_5769() {
        let bytes = hex(SAMPLE);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class, message.method), (Class::Request, BINDING));
        assert_eq!(message.username, Some(&b"evtj:h6vY"[..]));
        assert_eq!(message.software, Some(&b"STUN test client"[..]));
        assert_eq!(message.priority, Some(0x6e00_01ff));
        assert_eq!(message.role, Some(Role::Controlled(0x932f_f9b1_5126_3b36)));
        assert!(message.verify(PASSWORD));
        assert!(!message.verify(b"VOkJxbRl1RmTxUk/WvJxBT"));
    }

    #[test]
    fn reads_the_sample_responses_of_rfc_5769() {
        let v4 = hex(
            "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643\
             000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
        );
        let message = Message::parse(&v4).unwrap();
        assert_eq!(message.mapped, Some("192.0.2.1:32853".parse().unwrap()));
        assert!(message.verify(PASSWORD));
        let v6 = hex(
            "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa\
             a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
        );
        let message = Message::parse(&v6).unwrap();
        assert_eq!(message.mapped, Some("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()));
        assert!(message.verify(PASSWORD));
    }

    #[test]
    fn no_changed_bit_passes() {
        let bytes = hex(SAMPLE);
        // The last eight bytes are the fingerprint, which may be missing.
        for bit in 0..(bytes.len() - 8) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!Message::parse(&bytes).is_ok_and(|message| message.verify(PASSWORD)), "bit {bit}");
        }
    }

    #[test]
    fn what_stands_behind_the_integrity_says_nothing() {
        let mut writer = Writer::binding(Class::Request, [1; 12]).username(b"a:b");
        let mac = integrity(&writer.bytes, b"p").unwrap().finalize().into_bytes();
        writer = writer.attribute(attribute::MESSAGE_INTEGRITY, &mac).use_candidate();
        let bytes = writer.finish(None);
        let message = Message::parse(&bytes).unwrap();
        assert!(message.verify(b"p") && !message.use_candidate);
    }

    proptest! {
        #[test]
        fn round_trip(id: [u8; 12], name in "[a-z]{1,40}", priority: u32, nominated: bool, tie: u64, port: u16, v6: [u8; 16],
                      code in 300u16..700, unknown in proptest::collection::vec(1u16..5, 0..4)) {
            let address = SocketAddr::from((v6, port));
            let mut writer = Writer::binding(Class::Request, id).username(name.as_bytes()).priority(priority)
                .role(Role::Controlling(tie)).mapped(address).error(code, "why").unknown(&unknown).software("s");
            if nominated {
                writer = writer.use_candidate();
            }
            let bytes = writer.finish(Some(name.as_bytes()));
            prop_assert!(is_stun(&bytes));
            let message = Message::parse(&bytes).unwrap();
            prop_assert_eq!(message.id, id);
            prop_assert_eq!(message.username, Some(name.as_bytes()));
            prop_assert_eq!(message.priority, Some(priority));
            prop_assert_eq!(message.use_candidate, nominated);
            prop_assert_eq!(message.role, Some(Role::Controlling(tie)));
            prop_assert_eq!(message.mapped, Some(address));
            prop_assert_eq!(message.error, Some(code));
            prop_assert!(message.verify(name.as_bytes()));
            prop_assert!(message.unknown.is_empty());
        }

        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
            let mut framed = hex("000100002112a442");
            framed.extend([7; 12]);
            framed.extend(&bytes);
            let length = (framed.len() - 20) as u16;
            framed[2..4].copy_from_slice(&length.to_be_bytes());
            prop_assert!(!Message::parse(&framed).is_ok_and(|message| message.verify(b"x")));
        }
    }
}
