//! Keys of encrypted segments: made from the system's randomness, one for some segments in a row, kept where players fetch them, and
//! thrown away with the last segment that needs them.
//!
//! Spec: RFC 8216 §4.3.2.4 and §5: AES-128 in CBC mode over the whole segment, with PKCS#7 padding. Each segment has an initialisation vector
//! of its own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use aes::Aes128;
use bytes::Bytes;
use cbc::Encryptor;
use cbc::cipher::{Block, BlockModeEncrypt, KeyIvInit};
use ring::rand::{SecureRandom, SystemRandom};

use super::store;
use crate::config::HlsKeys;

/// A key, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) bytes: [u8; KEY],
    /// The number of the first segment that it is for.
    pub(super) seq: u64,
    /// Where players find it on the shelf.
    pub(super) place: String,
    /// Its address in the playlist.
    pub(super) uri: Arc<str>,
    /// The file, if it is in one.
    pub(super) file: Option<PathBuf>,
}

/// The length of a key and of an initialisation vector.
const KEY: usize = 16;

/// The system's randomness.
pub(super) fn random() -> io::Result<[u8; KEY]> {
    let mut bytes = [0; KEY];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system has no randomness")).map(|()| bytes)
}

impl Key {
    /// Puts it into its file, if it has one.
    pub(super) fn write(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |path| store::write(path, &self.bytes))
    }
}

/// The address of a key: `file` behind `hls_key_url`, and in front of the query of that if it has one.
pub(super) fn uri(keys: &HlsKeys, file: &str) -> String {
    let (path, query) = match keys.url.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (keys.url.as_str(), String::new()),
    };
    format!("{}/{file}{query}", path.trim_end_matches('/'))
}

/// Encrypts one segment as it comes.
pub(super) struct Cipher {
    encryptor: Encryptor<Aes128>,
    /// The beginning of a block.
    rest: Vec<u8>,
}

impl Cipher {
    pub(super) fn new(key: &Key, iv: &[u8; KEY]) -> Self {
        Self { encryptor: Encryptor::new((&key.bytes).into(), iv.into()), rest: Vec::with_capacity(KEY) }
    }

    /// As many blocks as are whole now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.rest.len() + bytes.len() + KEY);
        out.append(&mut self.rest);
        out.extend_from_slice(bytes);
        self.rest = out.split_off(out.len() - out.len() % KEY);
        self.encrypt(out)
    }

    /// The last block, which is never missing: the padding tells its own length.
    pub(super) fn finish(mut self) -> Bytes {
        let mut last = std::mem::take(&mut self.rest);
        let padding = KEY - last.len() % KEY;
        last.resize(last.len() + padding, padding as u8);
        self.encrypt(last)
    }

    fn encrypt(&mut self, mut blocks: Vec<u8>) -> Bytes {
        let (whole, _) = Block::<Aes128>::slice_as_chunks_mut(&mut blocks);
        self.encryptor.encrypt_blocks(whole);
        blocks.into()
    }
}

#[cfg(test)]
mod tests {
    use cbc::Decryptor;
    use cbc::cipher::block_padding::Pkcs7;
    use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        let bytes = *b"sixteen letters!";
        Key { bytes, seq: 0, place: String::new(), uri: "".into(), file: None }
    }

    proptest! {
        #[test]
        fn what_is_encrypted_in_pieces_is_decrypted_as_a_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..10),
            iv: [u8; KEY],
        ) {
            let mut cipher = Cipher::new(&key(), &iv);
            let mut secret: Vec<u8> = pieces.iter().flat_map(|piece| cipher.take(piece)).collect();
            secret.extend(cipher.finish());
            let plain = Decryptor::<Aes128>::new((&key().bytes).into(), (&iv).into())
                .decrypt_padded::<Pkcs7>(&mut secret)
                .unwrap();
            prop_assert_eq!(plain, pieces.concat());
        }
    }

    #[test]
    fn addresses() {
        let uri = |url: &str| {
            let keys = HlsKeys { segments: 1, file: String::new(), path: PathBuf::new(), url: url.into() };
            uri(&keys, "live/a-0.key")
        };
        assert_eq!(uri("https://keys.test"), "https://keys.test/live/a-0.key");
        assert_eq!(uri("/keys/"), "/keys/live/a-0.key");
        assert_eq!(uri("https://keys.test/?token=x?y&z"), "https://keys.test/live/a-0.key?token=x?y&z");
        assert_eq!(uri("?token=x"), "/live/a-0.key?token=x");
    }
}
