//! What the operating system lets one process have.

use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as it goes without privileges, and with them as far as `wanted`. Returns the limit
/// that holds now; `u64::MAX` for none.
pub fn raise_open_files(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = current.is_none_or(|have| have >= wanted);
    if !enough {
        let raised = Rlimit { current: Some(wanted), maximum: maximum.map(|most| most.max(wanted)) };
        let most = Rlimit { current: maximum, maximum };
        if setrlimit(Resource::Nofile, raised).is_err() && setrlimit(Resource::Nofile, most).is_err() {
            tracing::warn!("the limit of open files stays at {current:?}");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many IP addresses this machine has: those of the loopback count only when there are no others.
pub fn local_addresses() -> usize {
    addresses().len()
}

/// The address of this machine that has this index (`stats.network`), counted around.
pub fn own_address(index: usize) -> IpAddr {
    let all = addresses();
    all[index % all.len()]
}

/// Whether an address is one of this machine.
pub fn is_local(ip: IpAddr) -> bool {
    addresses().contains(&ip)
}

/// Those of IPv4 first; never empty.
fn addresses() -> Vec<IpAddr> {
    let ip = |i: &InterfaceAddress| {
        let address = i.address.as_ref()?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    let outside = |i: &InterfaceAddress| !i.flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let interfaces = getifaddrs().into_iter().flatten();
    let mut all: Vec<_> = interfaces.filter(outside).filter_map(|i| ip(&i)).collect();
    all.sort_by_key(IpAddr::is_ipv6);
    if all.is_empty() {
        all.push(Ipv4Addr::LOCALHOST.into());
    }
    all
}
