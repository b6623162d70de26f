//! Secrets and what is made of them: the pseudo-random function of TLS 1.2 with SHA-256 (RFC 5246 §5), record keys, `Finished`,
//! and the exporter (RFC 5705).

use ring::{digest, hmac};

use super::Role;
use super::record::Keys;

const MASTER: usize = 48;
/// The length of `verify_data`.
pub(super) const VERIFY: usize = 12;

/// The master secret of an association and the randoms that go with it.
pub(super) struct Secrets {
    master: hmac::Key,
    client_random: [u8; 32],
    server_random: [u8; 32],
}

impl Secrets {
    /// Out of the premaster secret; with the extended master secret (RFC 7627), out of the handshake so far, too.
    pub(super) fn new(premaster: &[u8], randoms: ([u8; 32], [u8; 32]), handshake: Option<&[u8]>) -> Self {
        let (client_random, server_random) = randoms;
        let key = hmac::Key::new(hmac::HMAC_SHA256, premaster);
        let mut master = [0; MASTER];
        match handshake {
            Some(handshake) => {
                let hash = digest::digest(&digest::SHA256, handshake);
                expand(&key, b"extended master secret", &[hash.as_ref()], &mut master);
            }
            None => expand(&key, b"master secret", &[&client_random, &server_random], &mut master),
        }
        Self { master: hmac::Key::new(hmac::HMAC_SHA256, &master), client_random, server_random }
    }

    /// The record keys of one end (RFC 5246 §6.3).
    pub(super) fn keys(&self, role: Role) -> Option<Keys> {
        let mut block = [0; 2 * (16 + 4)];
        expand(&self.master, b"key expansion", &[&self.server_random, &self.client_random], &mut block);
        let (client_key, rest) = block.split_first_chunk::<16>()?;
        let (server_key, rest) = rest.split_first_chunk::<16>()?;
        let (client_iv, rest) = rest.split_first_chunk::<4>()?;
        let server_iv = rest.first_chunk::<4>()?;
        match role {
            Role::Client => Keys::new((client_key, *client_iv), (server_key, *server_iv)),
            Role::Server => Keys::new((server_key, *server_iv), (client_key, *client_iv)),
        }
    }

    /// The `verify_data` that this end sends after the handshake so far.
    pub(super) fn finished(&self, of: Role, handshake: &[u8]) -> [u8; VERIFY] {
        let label: &[u8] = match of {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let mut data = [0; VERIFY];
        expand(&self.master, label, &[digest::digest(&digest::SHA256, handshake).as_ref()], &mut data);
        data
    }

    /// Key material for SRTP (RFC 5764 §4.2).
    pub(super) fn export_srtp(&self, length: usize) -> Vec<u8> {
        let mut material = vec![0; length];
        let seed = [&self.client_random[..], &self.server_random];
        expand(&self.master, b"EXTRACTOR-dtls_srtp", &seed, &mut material);
        material
    }
}

/// `P_SHA256(secret, label + seed)`, as long as `out`.
fn expand(key: &hmac::Key, label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let hash = |first: &[u8]| {
        let mut context = hmac::Context::with_key(key);
        [first, label].iter().chain(seed).for_each(|part| context.update(part));
        context.sign()
    };
    let mut a = hash(&[]);
    for piece in out.chunks_mut(digest::SHA256_OUTPUT_LEN) {
        piece.iter_mut().zip(hash(a.as_ref()).as_ref()).for_each(|(to, from)| *to = *from);
        a = hmac::sign(key, a.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector for P_SHA256 of the IETF TLS list, as OpenSSL and others have it.
    #[test]
    fn expands_as_others_do() {
        let secret = 0x9bbe436ba940f017b17652849a71db35u128.to_be_bytes();
        let seed = 0xa0ba9f936cda311827a6f796ffd5198cu128.to_be_bytes();
        let mut out = [0; 100];
        expand(&hmac::Key::new(hmac::HMAC_SHA256, &secret), b"test label", &[&seed], &mut out);
        assert_eq!(out[..8], 0xe3f229ba727be17bu64.to_be_bytes());
        assert_eq!(out[96..], 0x87347b66u32.to_be_bytes());
    }
}
