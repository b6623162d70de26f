//! The record layer (RFC 6347 §4.1): headers, and AES-128-GCM over records (RFC 5288).

use media::ByteReader;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// What a record carries.
pub(super) mod content {
    pub(in super::super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in super::super) const ALERT: u8 = 21;
    pub(in super::super) const HANDSHAKE: u8 = 22;
}

pub(super) const HEADER: usize = 13;
/// What encryption adds to a record: the nonce and the tag.
pub(super) const EXPANSION: usize = 8 + TAG;
const TAG: usize = 16;
/// DTLS 1.2.
const VERSION: [u8; 2] = [0xfe, 0xfd];
/// Sequence numbers have 48 bits.
const MAX_SEQUENCE: u64 = (1 << 48) - 1;

/// One record as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) content: u8,
    pub(super) epoch: u16,
    pub(super) sequence: u64,
    pub(super) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The next record of a datagram.
    pub(super) fn read(reader: &mut ByteReader<'a>) -> Option<Self> {
        let content = reader.u8().ok()?;
        // The first hello may tell an older version.
        let [0xfe, _] = reader.take(2).ok()? else { return None };
        let epoch = reader.u16().ok()?;
        let sequence = u64::from(reader.u16().ok()?) << 32 | u64::from(reader.u32().ok()?);
        let length = reader.u16().ok()?;
        Some(Self { content, epoch, sequence, body: reader.take(usize::from(length)).ok()? })
    }
}

/// Appends a record to a datagram; in the first epoch encrypted. `None` when sequence numbers or keys are used up.
pub(super) fn write(
    out: &mut Vec<u8>,
    content: u8,
    epoch: u16,
    sequence: u64,
    body: &[u8],
    keys: Option<&Keys>,
) -> Option<()> {
    if sequence > MAX_SEQUENCE {
        return None;
    }
    let number = (u64::from(epoch) << 48 | sequence).to_be_bytes();
    let length = body.len() + if epoch == 0 { 0 } else { EXPANSION };
    out.push(content);
    out.extend_from_slice(&VERSION);
    out.extend_from_slice(&number);
    out.extend_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    if epoch == 0 {
        out.extend_from_slice(body);
        return Some(());
    }
    out.extend_from_slice(&number);
    let at = out.len();
    out.extend_from_slice(body);
    let tag = keys?.seal(content, number, out.get_mut(at..)?)?;
    out.extend_from_slice(&tag);
    Some(())
}

/// The keys of the first epoch.
pub(super) struct Keys {
    seal: (LessSafeKey, [u8; 4]),
    open: (LessSafeKey, [u8; 4]),
}

impl Keys {
    /// Keys and nonce salts for what we send and what we receive.
    pub(super) fn new(ours: (&[u8; 16], [u8; 4]), theirs: (&[u8; 16], [u8; 4])) -> Option<Self> {
        let key = |bytes| UnboundKey::new(&AES_128_GCM, bytes).ok().map(LessSafeKey::new);
        Some(Self { seal: (key(ours.0)?, ours.1), open: (key(theirs.0)?, theirs.1) })
    }

    fn seal(&self, content: u8, number: [u8; 8], text: &mut [u8]) -> Option<[u8; TAG]> {
        let covered = covered(content, number, text.len())?;
        let nonce = nonce(self.seal.1, number);
        let tag = self.seal.0.seal_in_place_separate_tag(nonce, Aad::from(covered), text).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// The contents of a record, if it is genuine.
    pub(super) fn open(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        let (explicit, text) = record.body.split_first_chunk::<8>()?;
        let number = (u64::from(record.epoch) << 48 | record.sequence).to_be_bytes();
        let covered = covered(record.content, number, text.len().checked_sub(TAG)?)?;
        let mut text = text.to_vec();
        self.open.0.open_in_place(nonce(self.open.1, *explicit), Aad::from(covered), &mut text).ok()?;
        text.truncate(text.len() - TAG);
        Some(text)
    }
}

fn nonce(salt: [u8; 4], explicit: [u8; 8]) -> Nonce {
    let mut nonce = [0; 12];
    nonce.iter_mut().zip(salt.into_iter().chain(explicit)).for_each(|(to, from)| *to = from);
    Nonce::assume_unique_for_key(nonce)
}

/// What is authenticated but not encrypted (RFC 5246 §6.2.3.3).
fn covered(content: u8, number: [u8; 8], length: usize) -> Option<[u8; 13]> {
    let [high, low] = u16::try_from(length).ok()?.to_be_bytes();
    let mut covered = [0; 13];
    let parts = number.into_iter().chain([content]).chain(VERSION).chain([high, low]);
    covered.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    Some(covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_no_changed_bit_passes() {
        let (a, b) = ((&[1; 16], [2; 4]), (&[3; 16], [4; 4]));
        let (ours, theirs) = (Keys::new(a, b).unwrap(), Keys::new(b, a).unwrap());
        let mut datagram = Vec::new();
        write(&mut datagram, content::ALERT, 1, 7, b"hello", Some(&ours)).unwrap();
        assert_eq!(datagram.len(), HEADER + EXPANSION + 5);
        let open = |datagram: &[u8]| theirs.open(&Record::read(&mut ByteReader::new(datagram))?);
        assert_eq!(open(&datagram).unwrap(), b"hello");
        for bit in (0..datagram.len() * 8).filter(|bit| bit / 8 != 2) {
            let mut damaged = datagram.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&damaged), None, "bit {bit}");
        }
        assert_eq!(write(&mut datagram, content::ALERT, 1, 1 << 48, b"", Some(&ours)), None);
    }
}
