//! Rules by address, and by the page that sends a client: no question to anybody, and no memory.

use std::net::IpAddr;

use crate::config::{Refer, Security};

/// Whether the rules let a client at this address publish or play.
///
/// # Errors
/// The reason for the client.
pub(super) fn check_address(security: &Security, publish: bool, ip: IpAddr) -> Result<(), String> {
    let role = if publish { "publish" } else { "play" };
    if security.deny.iter().any(|rule| rule.is_about(publish, ip)) {
        return Err(format!("{ip} is denied to {role} here"));
    }
    let only_denies = security.allow.is_empty() && !security.deny.is_empty();
    if only_denies || security.allow.iter().any(|rule| rule.is_about(publish, ip)) {
        return Ok(());
    }
    Err(format!("{ip} is not allowed to {role} here"))
}

/// Whether clients from this page may publish or play. A domain stands for itself and for those below it; SRS takes `evila.com` for `a.com`.
///
/// # Errors
/// The reason for the client.
pub(super) fn check_page(refer: &Refer, publish: bool, page: &str) -> Result<(), String> {
    let host = host_of(page);
    let of_role = if publish { &refer.publish } else { &refer.play };
    for domains in [&refer.all, of_role] {
        if !domains.is_empty() && !domains.iter().any(|domain| is_within(host, domain)) {
            return Err(match host {
                "" => "the page that embeds the player is unknown, and not every page may".into(),
                host => format!("pages of {host} may not embed this"),
            });
        }
    }
    Ok(())
}

/// The host of an address: without scheme, user, port and path.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.');
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let ends = host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(domain));
    ends && (at == 0 || host.as_bytes().get(at - 1) == Some(&b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn vhost(block: &str) -> std::sync::Arc<crate::config::Vhost> {
        let text = format!("listen 1935; vhost v {{ {block} }}");
        Config::parse("test", text.as_bytes(), &Environment::default()).unwrap().vhosts[0].clone()
    }

    #[track_caller]
    fn address(rules: &str, publish: bool, ip: &str) -> bool {
        let vhost = vhost(&format!("security {{ enabled on; {rules} }}"));
        check_address(vhost.security.as_ref().unwrap(), publish, ip.parse().unwrap()).is_ok()
    }

    #[test]
    fn denies_come_first_and_nothing_said_is_no() {
        let rules = "allow play all; allow publish 192.0.2.0/24; deny publish 192.0.2.9; allow publish 2001:db8::/32;";
        for (publish, ip, admitted) in [
            (false, "203.0.113.1", true),
            (true, "203.0.113.1", false),
            (true, "192.0.2.1", true),
            (true, "::ffff:192.0.2.1", true),
            (true, "192.0.2.9", false),
            (true, "2001:db8::7", true),
            (true, "2001:db9::7", false),
        ] {
            assert_eq!(address(rules, publish, ip), admitted, "{publish} {ip}");
        }
        // Rules about players alone leave nothing for publishers.
        assert!(!address("allow play all;", true, "192.0.2.1"));
        assert!(address("deny play 192.0.2.1;", true, "192.0.2.1"));
        assert!(!address("deny play 192.0.2.1;", false, "192.0.2.1"));
        assert!(!address("", false, "192.0.2.1"));
    }

    #[test]
    fn rules_that_say_nothing_are_refused() {
        for odd in [
            "allow;",
            "allow play;",
            "deny watch all;",
            "deny play 300.1.1.1;",
            "allow play 1.2.3.0/99;",
            "allow play all all;",
        ] {
            let text = format!("listen 1935; vhost v {{ security {{ enabled on; {odd} }} }}");
            let error = Config::parse("test", text.as_bytes(), &Environment::default()).unwrap_err();
            assert!(error.to_string().contains("allow play all"), "{odd}: {error}");
        }
    }

    #[test]
    fn pages_count_by_whole_domains() {
        let vhost = vhost("refer { enabled on; all a.com b.org; publish studio.a.com; }");
        let refer = vhost.refer.as_ref().unwrap();
        for (publish, page, admitted) in [
            (false, "http://a.com/watch", true),
            (false, "https://www.a.com:8080/x?y", true),
            (false, "A.COM", true),
            (false, "http://b.org", true),
            (false, "http://evila.com/", false),
            (false, "http://a.com.evil.net/", false),
            (false, "http://a.com@evil.net/", false),
            (false, "http://evil.net/?a.com", false),
            (false, "", false),
            (true, "http://a.com/", false),
            (true, "http://studio.a.com/", true),
        ] {
            assert_eq!(check_page(refer, publish, page).is_ok(), admitted, "{page}");
        }
    }
}
