//! Certificates: ours, which can sign, and the peer's, of which only the public key and the fingerprint matter (RFC 8122).
//!
//! Chains, names and validity say nothing in WebRTC; SDP vouches for the fingerprint.

use std::fmt;

use ring::rand::SystemRandom;
use ring::{digest, signature};

use super::message::scheme;
use crate::Error;

/// Our certificate and its private key.
pub struct Certificate {
    der: Vec<u8>,
    key: Key,
}

enum Key {
    Ecdsa(signature::EcdsaKeyPair),
    Rsa(signature::RsaKeyPair),
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

const FAILED: fn(rcgen::Error) -> Error = |_| Error::Certificate("none can be made");

impl Certificate {
    /// A new P-256 key and a certificate signed by itself.
    ///
    /// Errors: [`Error::Certificate`].
    pub fn generate(common_name: &str) -> Result<Self, Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(FAILED)?;
        Self::sign_itself(common_name, &key)
    }

    /// The same with an RSA key of 2,048 bits, for peers that know nothing else. This takes some tenths of a second.
    ///
    /// Errors: [`Error::Certificate`].
    pub fn generate_rsa(common_name: &str) -> Result<Self, Error> {
        let (algorithm, size) = (&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
        let key = rcgen::KeyPair::generate_rsa_for(algorithm, size).map_err(FAILED)?;
        Self::sign_itself(common_name, &key)
    }

    fn sign_itself(common_name: &str, key: &rcgen::KeyPair) -> Result<Self, Error> {
        let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(FAILED)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        let certificate = params.self_signed(key).map_err(FAILED)?;
        Self::from_der(certificate.der().to_vec(), key.serialized_der())
    }

    /// A certificate in DER, with its private key in PKCS#8: P-256, or RSA of 2,048 bits and more.
    ///
    /// Errors: [`Error::Certificate`].
    pub fn from_der(der: Vec<u8>, pkcs8: &[u8]) -> Result<Self, Error> {
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = match signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new()) {
            Ok(key) => Key::Ecdsa(key),
            Err(_) => signature::RsaKeyPair::from_pkcs8(pkcs8)
                .map(Key::Rsa)
                .map_err(|_| Error::Certificate("its key is neither P-256 nor RSA"))?,
        };
        PublicKey::of(&der).ok_or(Error::Certificate("it is no X.509"))?;
        Ok(Self { der, key })
    }

    /// The certificate as the peer gets it.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What SDP tells of it, by SHA-256.
    pub fn fingerprint(&self) -> Fingerprint {
        let value = digest::digest(&digest::SHA256, &self.der).as_ref().to_vec();
        Fingerprint { hash: Hash::Sha256, value }
    }

    pub(super) fn is_rsa(&self) -> bool {
        matches!(self.key, Key::Rsa(_))
    }

    /// The first of our schemes that the peer takes.
    pub(super) fn scheme(&self, accepted: &[u16]) -> Option<u16> {
        let ours: &[u16] = match self.key {
            Key::Ecdsa(_) => &[scheme::ECDSA_SHA256],
            Key::Rsa(_) => &[scheme::RSA_SHA256, scheme::RSA_PSS_SHA256],
        };
        ours.iter().copied().find(|scheme| accepted.contains(scheme))
    }

    pub(super) fn sign(&self, scheme: u16, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Ecdsa(key) => key.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Key::Rsa(key) => {
                let padding: &dyn signature::RsaEncoding = match scheme {
                    scheme::RSA_SHA256 => &signature::RSA_PKCS1_SHA256,
                    _ => &signature::RSA_PSS_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

/// The hash of a certificate, as the `fingerprint` attribute of SDP tells it (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    hash: Hash,
    value: Vec<u8>,
}

/// The weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [(Self, &str); 4] = [
        (Self::Sha1, "sha-1"),
        (Self::Sha256, "sha-256"),
        (Self::Sha384, "sha-384"),
        (Self::Sha512, "sha-512"),
    ];

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

impl Fingerprint {
    /// Reads the value of the attribute, such as `sha-256 12:34:…`. `None` when it is none, or of a hash we do not have.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.trim().split_once(' ')?;
        let (hash, _) = Hash::ALL.into_iter().find(|(_, known)| name.eq_ignore_ascii_case(known))?;
        let bytes = value.trim().split(':').map(|byte| match byte.len() {
            2 if !byte.starts_with('+') => u8::from_str_radix(byte, 16).ok(),
            _ => None,
        });
        let value = bytes.collect::<Option<Vec<_>>>()?;
        (value.len() == hash.algorithm().output_len()).then_some(Self { hash, value })
    }

    /// Whether what a peer tells speaks for this certificate: one of those with the strongest hash among them must be right, so
    /// that a weak one beside them makes nothing easier (RFC 8122 §5.1).
    pub fn vouch(told: &[Self], der: &[u8]) -> bool {
        let strongest = told.iter().map(|fingerprint| fingerprint.hash).max();
        told.iter().any(|fingerprint| Some(fingerprint.hash) == strongest && fingerprint.matches(der))
    }

    /// Whether it is the fingerprint of this certificate.
    pub fn matches(&self, der: &[u8]) -> bool {
        digest::digest(self.hash.algorithm(), der).as_ref() == self.value
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Hash::ALL.iter().find(|(hash, _)| *hash == self.hash).map_or("", |(_, name)| name);
        write!(f, "{name} ")?;
        for (n, byte) in self.value.iter().enumerate() {
            write!(f, "{}{byte:02X}", if n == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// The key in a peer's certificate, still in the certificate.
pub(super) struct PublicKey<'a> {
    kind: PublicKeyKind,
    bits: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PublicKeyKind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BIT_STRING: u8 = 0x03;
    pub(super) const OID: u8 = 0x06;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const VERSION: u8 = 0xa0;
}

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

impl<'a> PublicKey<'a> {
    /// Finds `subjectPublicKeyInfo` (RFC 5280 §4.1).
    pub(super) fn of(der: &'a [u8]) -> Option<Self> {
        let mut whole = Der(der);
        let mut certificate = Der(whole.take(tag::SEQUENCE)?);
        let mut tbs = Der(certificate.take(tag::SEQUENCE)?);
        if tbs.next_is(tag::VERSION) {
            tbs.take(tag::VERSION)?;
        }
        tbs.take(tag::INTEGER)?;
        // Signature, issuer, validity, subject.
        for _ in 0..4 {
            tbs.take(tag::SEQUENCE)?;
        }
        let mut info = Der(tbs.take(tag::SEQUENCE)?);
        let mut algorithm = Der(info.take(tag::SEQUENCE)?);
        let kind = match algorithm.take(tag::OID)? {
            RSA_ENCRYPTION => PublicKeyKind::Rsa,
            ED25519 => PublicKeyKind::Ed25519,
            EC_PUBLIC_KEY => match algorithm.take(tag::OID)? {
                PRIME256V1 => PublicKeyKind::P256,
                SECP384R1 => PublicKeyKind::P384,
                _ => return None,
            },
            _ => return None,
        };
        match info.take(tag::BIT_STRING)? {
            [0, bits @ ..] => Some(Self { kind, bits }),
            _ => None,
        }
    }

    /// Whether the owner of the key has signed the message by this scheme.
    pub(super) fn verify(&self, scheme: u16, message: &[u8], signed: &[u8]) -> bool {
        use PublicKeyKind::{Ed25519, P256, P384, Rsa};
        let algorithm: &dyn signature::VerificationAlgorithm = match (self.kind, scheme) {
            (P256, scheme::ECDSA_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
            (P256, scheme::ECDSA_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
            (P384, scheme::ECDSA_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
            (P384, scheme::ECDSA_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
            (Ed25519, scheme::ED25519) => &signature::ED25519,
            // SRS and other old peers have RSA keys of 1,024 bits; SDP vouches for the certificate, not its strength.
            (Rsa, scheme::RSA_SHA256) => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            (Rsa, scheme::RSA_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Rsa, scheme::RSA_SHA512) => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            (Rsa, scheme::RSA_PSS_SHA256) => &signature::RSA_PSS_2048_8192_SHA256,
            (Rsa, scheme::RSA_PSS_SHA384) => &signature::RSA_PSS_2048_8192_SHA384,
            (Rsa, scheme::RSA_PSS_SHA512) => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return false,
        };
        signature::UnparsedPublicKey::new(algorithm, self.bits).verify(message, signed).is_ok()
    }
}

/// What is left of a DER value.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The contents of the next value, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, first], mut rest) = self.0.split_first_chunk::<2>()?;
        if found != tag {
            return None;
        }
        let mut length = usize::from(first);
        if first >= 0x80 {
            // Four bytes of length are more than any datagram holds.
            let bytes =
                rest.get(..usize::from(first & 0x7f)).filter(|bytes| (1..=4).contains(&bytes.len()))?;
            length = bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            rest = rest.get(bytes.len()..)?;
        }
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(contents)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_certificate_can_be_read_and_used() {
        let certificate = Certificate::generate("example.com").unwrap();
        let key = PublicKey::of(certificate.der()).unwrap();
        let signed = certificate.sign(scheme::ECDSA_SHA256, b"hello").unwrap();
        assert!(key.verify(scheme::ECDSA_SHA256, b"hello", &signed));
        assert!(!key.verify(scheme::ECDSA_SHA256, b"hallo", &signed));
        assert!(!key.verify(scheme::RSA_SHA256, b"hello", &signed));
        assert!(!key.verify(scheme::ECDSA_SHA256, b"hello", &signed[1..]));
    }

    #[test]
    fn fingerprints() {
        let certificate = Certificate::generate("example.com").unwrap();
        let text = certificate.fingerprint().to_string();
        assert_eq!((text.len(), text.get(..8)), (8 + 32 * 3 - 1, Some("sha-256 ")));
        let read = Fingerprint::parse(&text.to_ascii_lowercase()).unwrap();
        assert!(read.matches(certificate.der()) && !read.matches(&certificate.der()[1..]));
        let weak = Fingerprint {
            hash: Hash::Sha1,
            value: digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der()).as_ref().to_vec(),
        };
        let wrong = Fingerprint { hash: Hash::Sha256, value: vec![0; 32] };
        for (told, vouches) in [
            (&[][..], false),
            (&[read.clone(), wrong.clone()], true),
            (std::slice::from_ref(&weak), true),
            (&[weak.clone(), read], true),
            (&[weak.clone(), wrong], false),
        ] {
            assert_eq!(Fingerprint::vouch(told, certificate.der()), vouches, "{told:?}");
        }
        let sha1 = "SHA-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
        assert!(Fingerprint::parse(sha1).unwrap().matches(b"abc"));
        for bad in ["", "sha-256", "md5 00", "sha-1 A9:99", &sha1.replace("A9", "+9"), &sha1.replace(':', "")]
        {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_no_certificate(at in 0usize..200, with: u8, cut in 0usize..400) {
            let mut der = Certificate::generate("x").unwrap().der().to_vec();
            der[at] = with;
            der.truncate(cut);
            let _ = PublicKey::of(&der);
        }
    }
}
