//! Our addresses, as an answer tells them: which of all that could be meant are offered. How they are written belongs to `rtc::ice`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rtc::Protocol;
use rtc::ice::Candidate;

use crate::config::{IpFamily, RtcProtocol, RtcServer};

/// An answer does not wait longer than this for a name server.
const PATIENCE: Duration = Duration::from_secs(1);

/// The ports that are really bound.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Of the media.
    pub udp: u16,
    /// Of the media over TCP, if there is one.
    pub tcp: Option<u16>,
}

/// What is known about our addresses.
pub struct Known<'a> {
    /// The configuration.
    pub config: &'a RtcServer,
    /// Where we listen.
    pub ports: Ports,
    /// The address that the client wants to be offered: `ip`, `name`, or one of them with `:port`.
    pub asked: Option<&'a str>,
    /// The host by which the client called, without its port.
    pub host: &'a str,
    /// The address of that host, if it is a name and was looked up.
    pub resolved: Option<IpAddr>,
    /// The addresses of this machine.
    pub local: &'a [IpAddr],
}

/// The addresses to offer to a client that called `host`: looks up what has to be looked up.
pub async fn find(config: &RtcServer, ports: Ports, asked: Option<&str>, host: &str) -> Vec<Candidate> {
    let looks_up = config.api_as_candidates && config.resolve_api_domain && is_name(host);
    let resolved = if looks_up { resolve(host).await } else { None };
    candidates(&Known { config, ports, asked, host, resolved, local: &local_addresses() })
}

/// The candidates, UDP first, each once.
pub fn candidates(known: &Known<'_>) -> Vec<Candidate> {
    let Known { config, ports, host, .. } = known;
    let mut addresses = BTreeSet::new();
    addresses.extend(known.asked.map(split_port));
    if config.api_as_candidates {
        match host.parse::<IpAddr>() {
            Ok(ip) if is_reachable(ip) => drop(addresses.insert((host.to_string(), None))),
            Err(_) if is_name(host) => {
                addresses.extend(known.resolved.map(|ip| (ip.to_string(), None)));
                addresses.extend(config.keep_api_domain.then(|| (host.to_string(), None)));
            }
            _ => {}
        }
    }
    match &config.candidate {
        Some(candidate) => drop(addresses.insert(split_port(candidate))),
        None if config.auto_detect => {
            let fits = |ip: &&IpAddr| is_reachable(**ip) && config.ip_family.has(**ip);
            addresses.extend(known.local.iter().filter(fits).map(|ip| (ip.to_string(), None)));
        }
        None => {}
    }
    if addresses.is_empty() {
        let first = known.local.iter().find(|ip| ip.is_ipv4()).or(known.local.first());
        addresses.extend(first.map(|ip| (ip.to_string(), None)));
    }
    let tcp = ports.tcp.filter(|_| config.protocol != RtcProtocol::Udp);
    let udp = (config.protocol != RtcProtocol::Tcp || tcp.is_none()).then_some(ports.udp);
    let transports = [(Protocol::Udp, udp), (Protocol::Tcp, tcp)];
    let bound = transports.into_iter().filter_map(|(protocol, port)| Some((protocol, port?)));
    let of = |(protocol, bound): (Protocol, u16)| {
        addresses.iter().map(move |(address, port)| Candidate {
            protocol,
            address: address.clone(),
            port: port.unwrap_or(bound),
        })
    };
    bound.flat_map(of).collect()
}

/// An address that could be one: what stands in SDP must not break its lines.
pub fn is_address(text: &str) -> bool {
    let (address, _) = split_port(text);
    address.parse::<IpAddr>().is_ok() || address == "localhost" || is_name(&address)
}

impl IpFamily {
    fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::All => true,
        }
    }
}

/// The address and its own port, if it has one.
fn split_port(text: &str) -> (String, Option<u16>) {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.ip().to_string(), Some(address.port()));
    }
    match text.split_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name.to_owned(), port.parse().ok()),
        _ => (text.trim_matches(['[', ']']).to_owned(), None),
    }
}

/// A host name that others may know, too.
fn is_name(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    host.chars().all(plain) && !matches!(host, "" | "localhost") && host.parse::<IpAddr>().is_err()
}

/// Others may reach it. Addresses of one link would need to say which link.
fn is_reachable(ip: IpAddr) -> bool {
    let of_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !ip.is_loopback() && !ip.is_unspecified() && !of_link
}

/// IPv4 is what clients can reach most often.
async fn resolve(host: &str) -> Option<IpAddr> {
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await.ok()?.ok()?;
    let found: Vec<_> = found.map(|address| address.ip()).collect();
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied()
}

/// The addresses of all interfaces that are up.
fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let up = interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
    up.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    const LOCAL: &str = "127.0.0.1 10.0.0.2 10.0.0.1 fe80::1 2001:db8::7";

    /// What is offered with these directives, as text.
    fn offered(directives: &str, asked: Option<&str>, host: &str, resolved: Option<&str>) -> String {
        offered_of(LOCAL, directives, asked, host, resolved)
    }

    fn offered_of(
        local: &str,
        directives: &str,
        asked: Option<&str>,
        host: &str,
        resolved: Option<&str>,
    ) -> String {
        let text =
            format!("listen 1935; rtc_server {{ enabled on; {directives} }} vhost __defaultVhost__ {{ }}");
        let env: Environment = [("OURS", "192.0.2.9")].into_iter().collect();
        let config = Config::parse("x.conf", text.as_bytes(), &env).unwrap().rtc_server.unwrap();
        let local: Vec<IpAddr> = local.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        let ports = Ports { udp: 8000, tcp: config.tcp };
        let resolved = resolved.map(|ip| ip.parse().unwrap());
        let found = candidates(&Known { config: &config, ports, asked, host, resolved, local: &local });
        let told = found.iter().map(|c| {
            let protocol = if c.protocol == Protocol::Udp { "" } else { "tcp " };
            format!("{protocol}{} {}", c.address, c.port)
        });
        told.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn all_that_is_known_is_offered_in_order() {
        let auto = "10.0.0.1 8000, 10.0.0.2 8000";
        for (directives, want) in [
            ("", auto.to_owned()),
            ("ip_family ipv6;", "2001:db8::7 8000".into()),
            ("ip_family all;", format!("{auto}, 2001:db8::7 8000")),
            ("use_auto_detect_network_ip off;", "127.0.0.1 8000".into()),
            ("candidate 192.0.2.1;", "192.0.2.1 8000".into()),
            ("candidate 192.0.2.1:9;", "192.0.2.1 9".into()),
            ("candidate media.example.com:9;", "media.example.com 9".into()),
            ("candidate [2001:db8::1]:9;", "2001:db8::1 9".into()),
            ("candidate 2001:db8::1;", "2001:db8::1 8000".into()),
            ("candidate 0.0.0.0;", auto.into()),
            ("candidate $OURS;", "192.0.2.9 8000".into()),
            ("candidate $THEIRS;", auto.into()),
            ("candidate x; protocol tcp;", "x 8000".into()),
            ("candidate x; protocol all;", "x 8000".into()),
            ("candidate x; tcp { enabled on; listen 7; }", "x 8000".into()),
            ("candidate x; protocol tcp; tcp { enabled on; listen 7; }", "tcp x 7".into()),
            ("candidate x; protocol all; tcp { enabled on; listen 7; }", "x 8000, tcp x 7".into()),
        ] {
            assert_eq!(offered(directives, None, "localhost", None), want, "{directives}");
        }
    }

    #[test]
    fn the_client_may_name_more() {
        let fixed = "candidate 192.0.2.1;";
        for (directives, asked, host, resolved, want) in [
            (fixed, Some("192.0.2.5"), "", None, "192.0.2.1 8000, 192.0.2.5 8000"),
            (fixed, Some("192.0.2.0:81"), "", None, "192.0.2.0 81, 192.0.2.1 8000"),
            (fixed, Some("192.0.2.1"), "", None, "192.0.2.1 8000"),
            (fixed, None, "192.0.2.3", None, "192.0.2.1 8000, 192.0.2.3 8000"),
            (fixed, None, "127.0.0.1", None, "192.0.2.1 8000"),
            (fixed, None, "::1", None, "192.0.2.1 8000"),
            (fixed, None, "a.com", Some("192.0.2.4"), "192.0.2.1 8000, 192.0.2.4 8000"),
            (fixed, None, "a.com", None, "192.0.2.1 8000"),
            ("candidate 192.0.2.1; keep_api_domain on;", None, "a.com", None, "192.0.2.1 8000, a.com 8000"),
            ("candidate 192.0.2.1; api_as_candidates off;", None, "192.0.2.3", None, "192.0.2.1 8000"),
            ("use_auto_detect_network_ip off;", None, "192.0.2.3", None, "192.0.2.3 8000"),
        ] {
            assert_eq!(offered(directives, asked, host, resolved), want, "{directives} {asked:?} {host}");
        }
    }

    #[test]
    fn a_machine_alone_offers_what_it_has() {
        assert_eq!(offered_of("127.0.0.1", "", None, "", None), "127.0.0.1 8000");
        assert_eq!(offered_of("::1", "", None, "", None), "::1 8000");
        assert_eq!(offered_of("", "", None, "", None), "");
    }

    #[test]
    fn addresses_are_told_from_nonsense() {
        for good in ["192.0.2.1", "192.0.2.1:8", "a.com", "a.com:8", "::1", "[::1]:8", "[::1]"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "a b", "a\r\nb", "a/b", "localhost\n", "a:b:c"] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }
}
