//! Session keys out of a master key (RFC 3711 §4.3, with AES in counter mode as the pseudo-random function).

use aes::cipher::{KeyIvInit, StreamCipher};
use ctr::Ctr128BE;

use crate::Error;

/// What a session key is for (§4.3.2); RTCP has its own labels, which are higher by three.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    Encryption = 0,
    Authentication = 1,
    Salt = 2,
}

/// The labels of RTP or those of RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rtp = 0,
    Rtcp = 3,
}

/// One session key of `N` bytes. A salt of 12 bytes stands for one of 14 that ends in zeros (RFC 7714 §11).
pub(super) fn derive<const N: usize>(
    master: &[u8],
    salt: &[u8],
    label: Label,
    kind: Kind,
) -> Result<[u8; N], Error> {
    let mut iv = [0; 16];
    iv.get_mut(..salt.len()).filter(|_| salt.len() <= 14).ok_or(Error::Keys)?.copy_from_slice(salt);
    if let Some(byte) = iv.get_mut(7) {
        *byte ^= label as u8 + kind as u8;
    }
    let mut key = [0; N];
    match master.len() {
        16 => Ctr128BE::<aes::Aes128>::new_from_slices(master, &iv)
            .map_err(|_| Error::Keys)?
            .apply_keystream(&mut key),
        32 => Ctr128BE::<aes::Aes256>::new_from_slices(master, &iv)
            .map_err(|_| Error::Keys)?
            .apply_keystream(&mut key),
        _ => return Err(Error::Keys),
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711 §B.3.
    #[test]
    fn derives_the_keys_of_rfc_3711() {
        let master = 0xE1F97A0D3E018BE0D64FA32C06DE4139u128.to_be_bytes();
        let salt = &0x0EC675AD498AFEEBB6960B3AABE6u128.to_be_bytes()[2..];
        let key = derive::<16>(&master, salt, Label::Encryption, Kind::Rtp).unwrap();
        assert_eq!(u128::from_be_bytes(key), 0xC61E7A93744F39EE10734AFE3FF7A087);
        let salt_key = derive::<14>(&master, salt, Label::Salt, Kind::Rtp).unwrap();
        assert_eq!(salt_key[..], 0x30CBBC08863D8C85D49DB34A9AE1u128.to_be_bytes()[2..]);
        let auth = derive::<20>(&master, salt, Label::Authentication, Kind::Rtp).unwrap();
        assert_eq!(u128::from_be_bytes(*auth.first_chunk().unwrap()), 0xCEBE321F6FF7716B6FD4AB49AF256A15);
    }
}
