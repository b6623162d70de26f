//! Tokens (JWT, RFC 7519): who shows one that somebody we trust has signed may do what it says, as long as it is good.

mod claims;
mod keys;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use parking_lot::Mutex;

use super::{Refused, query};
use crate::caller::Caller;
use crate::config;
use crate::session::Request;

use claims::Claims;
use keys::{Key, Rings};

/// Tokens are not longer than this.
const LONGEST: usize = 8 << 10;

/// The keys of all vhosts.
#[derive(Default)]
pub(super) struct Tokens {
    /// By vhost.
    configured: Mutex<HashMap<String, Configured>>,
    rings: Rings,
}

/// What files hold, as long as nothing else is configured.
struct Configured {
    token: config::Token,
    keys: Vec<Key>,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) publishes: bool,
    pub(super) vhost: &'a str,
    /// `app/name`
    pub(super) stream: &'a str,
}

/// The token that a request shows: `Authorization: Bearer`, else `jwt=` or `token=` in its query.
pub(super) fn shown(request: &Request) -> Option<String> {
    let told = |name| query::value(&request.param, name);
    request.bearer.clone().filter(|text| !text.is_empty()).or_else(|| told("jwt")).or_else(|| told("token"))
}

/// Whether there are the keys that a configuration names.
///
/// # Errors
/// Which one is not there, or is none.
pub(super) fn check_keys(config: &config::Config) -> Result<(), String> {
    let tokens = config.vhosts.iter().filter_map(|vhost| Some((vhost, vhost.token.as_ref()?)));
    for (vhost, token) in tokens {
        keys::configured(token).map_err(|e| format!("vhost {}: `token`: {e}", vhost.name))?;
    }
    Ok(())
}

impl Tokens {
    /// Reads keys anew when they are needed next: files may have changed.
    pub(super) fn forget(&self) {
        self.configured.lock().clear();
    }

    /// Whether a token allows a wish; how long it is good.
    ///
    /// # Errors
    /// When it does not, or when that cannot be told.
    pub(super) async fn check(
        &self,
        config: &config::Token,
        caller: Option<&Caller>,
        token: &str,
        wish: Wish<'_>,
    ) -> Result<Duration, Refused> {
        let unproved = |reason: &str| Refused::Unproved(format!("the token {reason}"));
        if token.len() > LONGEST {
            return Err(unproved("is too long"));
        }
        // `none` is no algorithm here.
        let header =
            decode_header(token).map_err(|_| unproved("is no JWT, or its algorithm is not known"))?;
        let mut keys = self.configured(config, wish.vhost).map_err(|e| {
            tracing::error!("token: {e}");
            Refused::Unable("tokens cannot be checked".into())
        })?;
        keys.retain(|key| key.algorithms.contains(&header.alg));
        if let (true, Some(url), Some(caller)) = (keys.is_empty(), &config.jwks, caller) {
            let ring = self.rings.at(url, config.tls_ca.as_deref());
            let found = ring.find(caller, header.kid.as_deref(), config.jwks_refresh).await;
            keys = found.map_err(Refused::Unable)?;
            keys.retain(|key| key.algorithms.contains(&header.alg));
        }
        let mut reason = ErrorKind::InvalidSignature;
        for key in &keys {
            match decode::<Claims>(token, &key.key, &validation(config, key)) {
                Ok(good) if good.claims.allow(wish.publishes, wish.vhost, wish.stream) => {
                    return Ok(Duration::from_secs(good.claims.exp) + config.leeway);
                }
                Ok(_) => {
                    let role = if wish.publishes { "publish" } else { "play" };
                    return Err(Refused::Denied(format!(
                        "the token does not allow to {role} {}",
                        wish.stream
                    )));
                }
                Err(e) => match e.kind() {
                    ErrorKind::InvalidSignature => {}
                    other => reason = other.clone(),
                },
            }
        }
        Err(unproved(match reason {
            _ if keys.is_empty() => "is signed with a key that is not known",
            ErrorKind::InvalidSignature => "has a wrong signature",
            ErrorKind::ExpiredSignature => "has expired",
            ErrorKind::ImmatureSignature => "is not good yet",
            ErrorKind::InvalidIssuer => "has another issuer",
            ErrorKind::InvalidAudience => "is for another audience",
            ErrorKind::MissingRequiredClaim(_) => {
                "lacks a claim: exp, or iss and aud where they are asked for"
            }
            _ => "makes no sense",
        }))
    }

    fn configured(&self, config: &config::Token, vhost: &str) -> Result<Vec<Key>, String> {
        let mut known = self.configured.lock();
        if let Some(known) = known.get(vhost).filter(|known| known.token == *config) {
            return Ok(known.keys.clone());
        }
        let keys = keys::configured(config)?;
        known.insert(vhost.to_owned(), Configured { token: config.clone(), keys: keys.clone() });
        Ok(keys)
    }
}

fn validation(config: &config::Token, key: &Key) -> Validation {
    let mut validation = Validation::new_for_family(key.key.family());
    validation.algorithms.clone_from(&key.algorithms);
    validation.leeway = config.leeway.as_secs();
    validation.validate_nbf = true;
    let mut required = vec!["exp"];
    match &config.issuer {
        Some(issuer) => {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        None => validation.iss = None,
    }
    validation.validate_aud = config.audience.is_some();
    if let Some(audience) = &config.audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

/// How long it is until some time since 1970.
pub(super) fn until(time: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    time.saturating_sub(now)
}
