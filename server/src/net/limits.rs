//! What the operating system lets one process have.

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
    let Ok(interfaces) = getifaddrs() else { return 1 };
    let ip = |i: &InterfaceAddress| {
        let address = i.address.as_ref();
        address.is_some_and(|a| a.as_sockaddr_in().is_some() || a.as_sockaddr_in6().is_some())
    };
    let outside = interfaces.filter(|i| ip(i) && !i.flags.contains(InterfaceFlags::IFF_LOOPBACK)).count();
    outside.max(1)
}
