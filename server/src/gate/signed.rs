//! Signed addresses: whoever has the secret lets others publish or play one stream until some time, without telling this server.

use std::net::IpAddr;

use ring::hmac;

use super::query;
use crate::config::SignedUrl;

/// Whether the query `param` has a signature that lets its sender in. What is signed is `play|/app/stream|EXPIRES`, or with `|IP` behind it.
///
/// # Errors
/// Why it does not.
pub(super) fn check(
    config: &SignedUrl,
    param: &str,
    (publishes, path, ip): (bool, &str, IpAddr),
    now: u64,
) -> Result<(), String> {
    let told = |name| {
        query::value(param, name).ok_or_else(|| format!("the address is not signed: `{name}` is missing"))
    };
    let (expires, sign) = (told("expires")?, told("sign")?);
    let role = if publishes { "publish" } else { "play" };
    let mut signed = format!("{role}|{path}|{expires}");
    if config.bind_ip {
        signed = format!("{signed}|{ip}");
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, config.secret.0.as_bytes());
    let sign = bytes(&sign).ok_or("the signature is no hexadecimal number")?;
    // In a time that does not tell how much of it was right.
    hmac::verify(&key, signed.as_bytes(), &sign).map_err(|_| "the signature is wrong")?;
    let expires: u64 = expires.parse().map_err(|_| "`expires` is no time")?;
    if expires.saturating_add(config.leeway.as_secs()) < now {
        return Err("the address has expired".into());
    }
    Ok(())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Secret;

    fn config(bind_ip: bool) -> SignedUrl {
        let (secret, leeway) = (Secret("a secret that nobody knows".into()), Duration::from_secs(10));
        SignedUrl { secret, bind_ip, leeway, publish: true, play: true }
    }

    fn sign(text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret that nobody knows");
        hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn one_stream_one_role_one_time() {
        let ip = "192.0.2.1".parse().unwrap();
        let param = format!("?a=b&expires=1000&sign={}", sign("play|/live/a|1000"));
        let check =
            |publishes, path, now, param: &str| check(&config(false), param, (publishes, path, ip), now);
        assert_eq!(check(false, "/live/a", 900, &param), Ok(()));
        assert_eq!(check(false, "/live/a", 1010, &param), Ok(()));
        assert_eq!(check(false, "/live/a", 1011, &param), Err("the address has expired".into()));
        let wrong = Err("the signature is wrong".to_owned());
        assert_eq!(check(true, "/live/a", 900, &param), wrong);
        assert_eq!(check(false, "/live/b", 900, &param), wrong);
        assert_eq!(check(false, "/live/a", 900, &param.replace("1000", "2000")), wrong);
        assert_eq!(check(false, "/live/a", 900, &param.replace("sign=", "sign=00")), wrong);
        assert_eq!(
            check(false, "/live/a", 900, "?expires=1000&sign="),
            Err("the address is not signed: `sign` is missing".into())
        );
        assert!(check(false, "/live/a", 900, "?expires=1000&sign=xyz").is_err());
        assert!(check(false, "/live/a", 900, "").is_err());
        let never = format!("expires={}&sign={}", u64::MAX, sign(&format!("play|/live/a|{}", u64::MAX)));
        assert_eq!(check(false, "/live/a", 900, &never), Ok(()));
    }

    #[test]
    fn an_address_may_be_bound() {
        let param = format!("?expires=1000&sign={}", sign("publish|/live/a|1000|192.0.2.1").to_uppercase());
        let check = |ip: &str| check(&config(true), &param, (true, "/live/a", ip.parse().unwrap()), 900);
        assert_eq!(check("192.0.2.1"), Ok(()));
        assert!(check("192.0.2.2").is_err());
    }
}
