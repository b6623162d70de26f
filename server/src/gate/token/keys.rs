//! The keys that tokens are checked with. Each key knows its algorithms, so that a token cannot choose a weaker one, or none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use parking_lot::Mutex;
use reqwest::Url;
use tracing::{info, warn};

use crate::caller::{Call, Caller, shown};
use crate::config;

/// A key and what it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
    /// Its name in a set.
    kid: Option<String>,
}

/// The keys that the configuration names.
///
/// # Errors
/// Why one of them is none.
pub(super) fn configured(token: &config::Token) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    if let Some(secret) = &token.secret {
        let key = DecodingKey::from_secret(secret.0.as_bytes()).map_err(|e| e.to_string())?;
        keys.push(Key { key, algorithms: AlgorithmFamily::Hmac.algorithms().to_vec(), kid: None });
    }
    if let Some(path) = &token.public_key {
        let bad = |e: &dyn std::fmt::Display| format!("public_key {}: {e}", path.display());
        let text = std::fs::read(path).map_err(|e| bad(&e))?;
        let key = DecodingKey::from_rsa_pem(&text)
            .or_else(|_| DecodingKey::from_ec_pem(&text))
            .or_else(|_| DecodingKey::from_ed_pem(&text))
            .map_err(|_| bad(&"it is no public key: RSA, EC or Ed25519, PEM"))?;
        let algorithms = key.family().algorithms().to_vec();
        keys.push(Key { key, algorithms, kid: None });
    }
    Ok(keys)
}

/// A set of keys at an address, as it was when it was fetched last.
pub(super) struct Ring {
    source: Source,
    kept: Mutex<Kept>,
    /// One fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

/// Where a set is, and how it is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    url: Url,
    tls_ca: Option<PathBuf>,
}

#[derive(Default)]
struct Kept {
    keys: Arc<Vec<Key>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// A set is not larger than this, and has no more keys.
const MOST_BYTES: usize = 256 << 10;
const MOST_KEYS: usize = 100;

/// How long a fetch may take: a client waits for it.
const FETCH: Duration = Duration::from_secs(5);

/// A set is not asked for more often, whatever names tokens make up.
const GAP: Duration = Duration::from_secs(5);

/// Keys that cannot be fetched anew are good for so long.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// All sets.
#[derive(Default)]
pub(super) struct Rings(Mutex<HashMap<Source, Arc<Ring>>>);

impl Rings {
    /// The set at an address.
    pub(super) fn at(&self, url: &Url, tls_ca: Option<&Path>) -> Arc<Ring> {
        let source = Source { url: url.clone(), tls_ca: tls_ca.map(Path::to_owned) };
        let mut rings = self.0.lock();
        let ring = || {
            let (kept, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
            Arc::new(Ring { source: source.clone(), kept, fetching })
        };
        rings.entry(source.clone()).or_insert_with(ring).clone()
    }
}

impl Ring {
    /// The keys that a token with this `kid` may be signed with. Known ones are used at once, and fetched anew behind the scenes when they are older than
    /// `refresh`; one that is not known yet is waited for.
    ///
    /// # Errors
    /// When there are no keys at all.
    pub(super) async fn find(
        self: &Arc<Self>,
        caller: &Caller,
        kid: Option<&str>,
        refresh: Duration,
    ) -> Result<Vec<Key>, String> {
        let (found, age) = self.look(kid);
        if found.is_empty() || age.is_none_or(|age| age >= STALE) {
            self.fetch(caller).await?;
            return Ok(self.look(kid).0);
        }
        if age.is_some_and(|age| age >= refresh) {
            let (ring, behind) = (self.clone(), caller.clone());
            drop(caller.spawn(async move { ring.fetch(&behind).await }));
        }
        Ok(found)
    }

    /// Keys of this name, and how old they are.
    fn look(&self, kid: Option<&str>) -> (Vec<Key>, Option<Duration>) {
        let kept = self.kept.lock();
        let fits = |key: &&Key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
        (kept.keys.iter().filter(fits).cloned().collect(), kept.fetched.map(|at| at.elapsed()))
    }

    /// Fetches the set, unless that was tried just now.
    async fn fetch(self: &Arc<Self>, caller: &Caller) -> Result<(), String> {
        let _turn = self.fetching.lock().await;
        if self.kept.lock().tried.is_some_and(|at| at.elapsed() < GAP) {
            return self.usable();
        }
        let (ring, behind) = (self.clone(), caller.clone());
        let fetched = caller.spawn(async move { ring.read(&behind).await }).await;
        let mut kept = self.kept.lock();
        kept.tried = Some(Instant::now());
        match fetched.unwrap_or_else(|e| Err(e.to_string())) {
            Ok(keys) => {
                info!("jwks: {} keys at {}", keys.len(), shown(&self.source.url));
                kept.keys = Arc::new(keys);
                kept.fetched = kept.tried;
                Ok(())
            }
            Err(e) => {
                warn!("jwks at {}: {e}", shown(&self.source.url));
                drop(kept);
                self.usable()
            }
        }
    }

    /// There are keys that are not too old.
    fn usable(&self) -> Result<(), String> {
        let fetched = self.kept.lock().fetched;
        let is_usable = fetched.is_some_and(|at| at.elapsed() < STALE);
        if is_usable { Ok(()) } else { Err("the keys of tokens cannot be fetched".into()) }
    }

    async fn read(&self, caller: &Caller) -> Result<Vec<Key>, String> {
        let Source { url, tls_ca } = &self.source;
        let tls_ca = tls_ca.as_deref();
        let call = Call { url, body: None, timeout: FETCH, tls_ca, limit: MOST_BYTES, traceparent: None };
        let answer = caller.call(call).await.map_err(|e| e.to_string())?;
        if answer.status != 200 || answer.is_cut {
            return Err(format!("status {}, {} bytes", answer.status, answer.body.len()));
        }
        let set: JwkSet =
            serde_json::from_slice(&answer.body).map_err(|e| format!("it is no set of keys: {e}"))?;
        let keys: Vec<_> = set.keys.iter().take(MOST_KEYS).filter_map(key).collect();
        if keys.is_empty() { Err("it has no public key that signs".into()) } else { Ok(keys) }
    }
}

/// A public key that signs.
fn key(jwk: &Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(_) => vec![Algorithm::EdDSA],
        // A secret that everybody can fetch is none.
        _ => return None,
    };
    if let Some(only) = jwk.common.key_algorithm {
        algorithms.retain(|algorithm| format!("{algorithm:?}") == only.to_string());
    }
    Some(Key { key, algorithms, kid: jwk.common.key_id.clone() })
}
