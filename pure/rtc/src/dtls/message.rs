//! Handshake messages of DTLS 1.2 (RFC 5246 §7.4, RFC 6347 §4.3.2, RFC 8422): the bodies, read and written.
//!
//! When which of them may come belongs to [`super::connection`].

use media::{ByteReader, Truncated};

/// Message types.
pub(super) mod kind {
    pub(in super::super) const CLIENT_HELLO: u8 = 1;
    pub(in super::super) const SERVER_HELLO: u8 = 2;
    pub(in super::super) const HELLO_VERIFY_REQUEST: u8 = 3;
    pub(in super::super) const CERTIFICATE: u8 = 11;
    pub(in super::super) const SERVER_KEY_EXCHANGE: u8 = 12;
    pub(in super::super) const CERTIFICATE_REQUEST: u8 = 13;
    pub(in super::super) const SERVER_HELLO_DONE: u8 = 14;
    pub(in super::super) const CERTIFICATE_VERIFY: u8 = 15;
    pub(in super::super) const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub(in super::super) const FINISHED: u8 = 20;
}

/// How a signature is made (RFC 8446 §4.2.3, whose numbers are the pairs of RFC 5246).
pub(super) mod scheme {
    pub(in super::super) const RSA_SHA256: u16 = 0x0401;
    pub(in super::super) const ECDSA_SHA256: u16 = 0x0403;
    pub(in super::super) const RSA_SHA384: u16 = 0x0501;
    pub(in super::super) const ECDSA_SHA384: u16 = 0x0503;
    pub(in super::super) const RSA_SHA512: u16 = 0x0601;
    pub(in super::super) const ED25519: u16 = 0x0807;
    pub(in super::super) const RSA_PSS_SHA256: u16 = 0x0804;
    pub(in super::super) const RSA_PSS_SHA384: u16 = 0x0805;
    pub(in super::super) const RSA_PSS_SHA512: u16 = 0x0806;
    /// What we can verify.
    pub(in super::super) const ALL: [u16; 9] = [
        ECDSA_SHA256,
        ECDSA_SHA384,
        ED25519,
        RSA_PSS_SHA256,
        RSA_SHA256,
        RSA_PSS_SHA384,
        RSA_SHA384,
        RSA_PSS_SHA512,
        RSA_SHA512,
    ];
}

/// Key exchange groups (RFC 8422 §5.1.1).
pub(super) mod group {
    pub(in super::super) const P256: u16 = 23;
    pub(in super::super) const P384: u16 = 24;
    pub(in super::super) const X25519: u16 = 29;
    pub(in super::super) const ALL: [u16; 3] = [X25519, P256, P384];
}

/// Cipher suites: every WebRTC peer has them (RFC 8827 §6.5).
pub(super) mod suite {
    pub(in super::super) const ECDHE_ECDSA_AES_128_GCM_SHA256: u16 = 0xc02b;
    pub(in super::super) const ECDHE_RSA_AES_128_GCM_SHA256: u16 = 0xc02f;
    /// Says that renegotiation is secure (RFC 5746 §3.3).
    pub(in super::super) const RENEGOTIATION: u16 = 0x00ff;
}

mod extension {
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const POINT_FORMATS: u16 = 11;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const USE_SRTP: u16 = 14;
    pub(super) const EXTENDED_MASTER_SECRET: u16 = 23;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    pub(super) const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// DTLS 1.2. The newer a version, the less its number: 1.0 is 0xfeff, 1.3 is 0xfefc.
pub(super) const VERSION: u16 = 0xfefd;
const UNCOMPRESSED: u8 = 0;
const NAMED_CURVE: u8 = 3;
const CERTIFICATE_TYPES: [u8; 2] = [64, 1];

/// The extensions that matter to us, of either hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    pub(super) groups: Option<Vec<u16>>,
    pub(super) schemes: Option<Vec<u16>>,
    /// Versions, of clients that know of 1.3 (RFC 8446 §4.2.1). We write none.
    pub(super) versions: Option<Vec<u16>>,
    /// SRTP profiles; the server tells one.
    pub(super) srtp: Vec<u16>,
    pub(super) extended_master_secret: bool,
    pub(super) renegotiation: bool,
    pub(super) point_formats: bool,
}

/// `ClientHello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub(super) version: u16,
    pub(super) random: [u8; 32],
    pub(super) cookie: Vec<u8>,
    pub(super) suites: Vec<u16>,
    pub(super) extensions: Extensions,
}

/// `ServerHello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) version: u16,
    pub(super) random: [u8; 32],
    pub(super) suite: u16,
    pub(super) extensions: Extensions,
}

/// `ServerKeyExchange` of an elliptic curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerKeyExchange {
    pub(super) group: u16,
    pub(super) public: Vec<u8>,
    pub(super) scheme: u16,
    pub(super) signature: Vec<u8>,
}

impl ClientHello {
    pub(super) fn read(body: &[u8]) -> Result<Self, Truncated> {
        let mut reader = ByteReader::new(body);
        let version = reader.u16()?;
        let random = random(&mut reader)?;
        vector8(&mut reader)?;
        let cookie = vector8(&mut reader)?.to_vec();
        let suites = numbers(vector16(&mut reader)?);
        vector8(&mut reader)?;
        let mut extensions = Extensions::read(&mut reader)?;
        extensions.renegotiation |= suites.contains(&suite::RENEGOTIATION);
        Ok(Self { version, random, cookie, suites, extensions })
    }

    /// Whether DTLS 1.2 is fine with the client.
    pub(super) fn takes_our_version(&self) -> bool {
        match &self.extensions.versions {
            Some(versions) => versions.contains(&VERSION),
            None => self.version >> 8 == VERSION >> 8 && self.version <= VERSION,
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        out.extend_from_slice(&self.random);
        out.push(0);
        block::<1>(&mut out, |out| out.extend_from_slice(&self.cookie));
        block::<2>(&mut out, |out| put(out, &self.suites));
        // No compression.
        out.extend_from_slice(&[1, 0]);
        self.extensions.write(&mut out, true);
        out
    }
}

impl ServerHello {
    pub(super) fn read(body: &[u8]) -> Result<Self, Truncated> {
        let mut reader = ByteReader::new(body);
        let version = reader.u16()?;
        let random = random(&mut reader)?;
        vector8(&mut reader)?;
        let suite = reader.u16()?;
        reader.u8()?;
        Ok(Self { version, random, suite, extensions: Extensions::read(&mut reader)? })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        out.extend_from_slice(&self.random);
        out.push(0);
        put(&mut out, &[self.suite]);
        out.push(0);
        self.extensions.write(&mut out, false);
        out
    }
}

impl Extensions {
    fn read(reader: &mut ByteReader<'_>) -> Result<Self, Truncated> {
        let mut extensions = Self::default();
        if reader.left() == 0 {
            return Ok(extensions);
        }
        let mut reader = ByteReader::new(vector16(reader)?);
        while reader.left() > 0 {
            let kind = reader.u16()?;
            let mut value = ByteReader::new(vector16(&mut reader)?);
            match kind {
                extension::SUPPORTED_GROUPS => extensions.groups = Some(numbers(vector16(&mut value)?)),
                extension::SIGNATURE_ALGORITHMS => extensions.schemes = Some(numbers(vector16(&mut value)?)),
                extension::SUPPORTED_VERSIONS => extensions.versions = Some(numbers(vector8(&mut value)?)),
                extension::USE_SRTP => extensions.srtp = numbers(vector16(&mut value)?),
                extension::EXTENDED_MASTER_SECRET => extensions.extended_master_secret = true,
                extension::RENEGOTIATION_INFO => extensions.renegotiation = true,
                extension::POINT_FORMATS => extensions.point_formats = true,
                _ => {}
            }
        }
        Ok(extensions)
    }

    fn write(&self, out: &mut Vec<u8>, of_client: bool) {
        block::<2>(out, |out| {
            let mut extension = |kind: u16, write: &dyn Fn(&mut Vec<u8>)| {
                put(out, &[kind]);
                block::<2>(out, write);
            };
            for (kind, list) in [
                (extension::SUPPORTED_GROUPS, &self.groups),
                (extension::SIGNATURE_ALGORITHMS, &self.schemes),
            ] {
                if let (Some(list), true) = (list, of_client) {
                    extension(kind, &|out| block::<2>(out, |out| put(out, list)));
                }
            }
            if self.point_formats {
                extension(extension::POINT_FORMATS, &|out| block::<1>(out, |out| out.push(UNCOMPRESSED)));
            }
            if !self.srtp.is_empty() {
                extension(extension::USE_SRTP, &|out| {
                    block::<2>(out, |out| put(out, &self.srtp));
                    // No master key identifier.
                    out.push(0);
                });
            }
            if self.extended_master_secret {
                extension(extension::EXTENDED_MASTER_SECRET, &|_| {});
            }
            if self.renegotiation {
                extension(extension::RENEGOTIATION_INFO, &|out| out.push(0));
            }
        });
    }
}

impl ServerKeyExchange {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(body);
        if reader.u8().ok()? != NAMED_CURVE {
            return None;
        }
        let group = reader.u16().ok()?;
        let public = vector8(&mut reader).ok()?.to_vec();
        let scheme = reader.u16().ok()?;
        let signature = vector16(&mut reader).ok()?.to_vec();
        Some(Self { group, public, scheme, signature })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Self::parameters(self.group, &self.public);
        put(&mut out, &[self.scheme]);
        block::<2>(&mut out, |out| out.extend_from_slice(&self.signature));
        out
    }

    /// What the signature covers, behind both randoms.
    pub(super) fn parameters(group: u16, public: &[u8]) -> Vec<u8> {
        let mut out = vec![NAMED_CURVE];
        put(&mut out, &[group]);
        block::<1>(&mut out, |out| out.extend_from_slice(public));
        out
    }
}

/// The cookie of `HelloVerifyRequest`.
pub(super) fn read_hello_verify_request(body: &[u8]) -> Result<Vec<u8>, Truncated> {
    let mut reader = ByteReader::new(body);
    reader.take(2)?;
    vector8(&mut reader).map(<[u8]>::to_vec)
}

/// The first certificate of `Certificate`, which is the peer's own; `None` when there is none.
pub(super) fn read_certificate(body: &[u8]) -> Result<Option<Vec<u8>>, Truncated> {
    let mut reader = ByteReader::new(vector24(&mut ByteReader::new(body))?);
    if reader.left() == 0 {
        return Ok(None);
    }
    vector24(&mut reader).map(|der| Some(der.to_vec()))
}

/// `Certificate` with one certificate.
pub(super) fn write_certificate(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(der.len() + 6);
    block::<3>(&mut out, |out| block::<3>(out, |out| out.extend_from_slice(der)));
    out
}

/// The signature schemes of `CertificateRequest`.
pub(super) fn read_certificate_request(body: &[u8]) -> Result<Vec<u16>, Truncated> {
    let mut reader = ByteReader::new(body);
    vector8(&mut reader)?;
    vector16(&mut reader).map(numbers)
}

/// `CertificateRequest` for any certificate that we can verify.
pub(super) fn write_certificate_request() -> Vec<u8> {
    let mut out = Vec::new();
    block::<1>(&mut out, |out| out.extend_from_slice(&CERTIFICATE_TYPES));
    block::<2>(&mut out, |out| put(out, &scheme::ALL));
    // Whose certificates are taken: anybody's.
    out.extend_from_slice(&[0, 0]);
    out
}

/// Scheme and signature of `CertificateVerify`.
pub(super) fn read_certificate_verify(body: &[u8]) -> Result<(u16, &[u8]), Truncated> {
    let mut reader = ByteReader::new(body);
    Ok((reader.u16()?, vector16(&mut reader)?))
}

/// `CertificateVerify`.
pub(super) fn write_certificate_verify(scheme: u16, signature: &[u8]) -> Vec<u8> {
    let mut out = scheme.to_be_bytes().to_vec();
    block::<2>(&mut out, |out| out.extend_from_slice(signature));
    out
}

/// The public key of `ClientKeyExchange`.
pub(super) fn read_client_key_exchange(body: &[u8]) -> Result<&[u8], Truncated> {
    vector8(&mut ByteReader::new(body))
}

/// `ClientKeyExchange`.
pub(super) fn write_client_key_exchange(public: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    block::<1>(&mut out, |out| out.extend_from_slice(public));
    out
}

fn random(reader: &mut ByteReader<'_>) -> Result<[u8; 32], Truncated> {
    let at = reader.position();
    reader.take(32)?.try_into().map_err(|_| Truncated { at })
}

fn vector8<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], Truncated> {
    let length = reader.u8()?;
    reader.take(usize::from(length))
}

fn vector16<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], Truncated> {
    let length = reader.u16()?;
    reader.take(usize::from(length))
}

fn vector24<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], Truncated> {
    let length = reader.u24()?;
    reader.take(length as usize)
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

fn put(out: &mut Vec<u8>, numbers: &[u16]) {
    out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}

/// Writes something behind its length in `N` bytes.
fn block<const N: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.resize(at + N, 0);
    write(out);
    let length = (out.len() - at - N).to_be_bytes();
    if let (Some(place), Some(length)) = (out.get_mut(at..at + N), length.last_chunk::<N>()) {
        place.copy_from_slice(length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hellos_round_trip(random: [u8; 32], cookie in proptest::collection::vec(any::<u8>(), 0..40),
                             groups in proptest::collection::vec(any::<u16>(), 0..5), flags: [bool; 3], profile: u16) {
            let [extended_master_secret, renegotiation, point_formats] = flags;
            let extensions = Extensions {
                groups: Some(groups.clone()), schemes: Some(scheme::ALL.to_vec()), versions: None,
                srtp: vec![profile, 1],
                extended_master_secret, renegotiation, point_formats,
            };
            let version = VERSION;
            let hello = ClientHello { version, random, cookie, suites: vec![1, 2, 3], extensions: extensions.clone() };
            prop_assert_eq!(ClientHello::read(&hello.write()), Ok(hello));
            let extensions = Extensions { groups: None, schemes: None, ..extensions };
            let hello = ServerHello { version, random, suite: 5, extensions };
            prop_assert_eq!(ServerHello::read(&hello.write()), Ok(hello));
            let exchange = ServerKeyExchange { group: 29, public: random.to_vec(), scheme: 1, signature: vec![7; 300] };
            prop_assert_eq!(ServerKeyExchange::read(&exchange.write()), Some(exchange));
        }

        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ClientHello::read(&bytes);
            let _ = ServerHello::read(&bytes);
            let _ = ServerKeyExchange::read(&bytes);
            let _ = read_certificate(&bytes);
            let _ = read_certificate_request(&bytes);
            let _ = read_certificate_verify(&bytes);
        }
    }
}
