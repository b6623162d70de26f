//! Addresses and ancillary data as the kernel lays them out, as plain bytes: so that no `unsafe` is needed to read and write them.
//! See ip(7), ipv6(7), udp(7), cmsg(3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use nix::libc;

/// A `sockaddr_in6` or a `sockaddr_in`.
#[derive(Clone, Copy, Default)]
#[repr(C, align(4))]
pub(super) struct Name([u8; Self::SIZE]);

impl Name {
    pub(super) const SIZE: usize = 28;

    /// The address as it is said to a socket of IPv6, or of IPv4. One that the socket cannot reach is left for the kernel to refuse.
    pub(super) fn new(address: SocketAddr, ipv6: bool) -> Self {
        let mut name = [0; Self::SIZE];
        name[2..4].copy_from_slice(&address.port().to_be_bytes());
        let family = match address {
            SocketAddr::V4(v4) if !ipv6 => {
                name[4..8].copy_from_slice(&v4.ip().octets());
                libc::AF_INET
            }
            SocketAddr::V4(v4) => {
                name[8..24].copy_from_slice(&v4.ip().to_ipv6_mapped().octets());
                libc::AF_INET6
            }
            SocketAddr::V6(v6) => {
                name[8..24].copy_from_slice(&v6.ip().octets());
                name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                libc::AF_INET6
            }
        };
        name[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self(name)
    }

    /// The address in its canonical form: IPv4 is IPv4 on a socket of IPv6, too.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let name = &self.0;
        let port = u16::from_be_bytes([name[2], name[3]]);
        match i32::from(u16::from_ne_bytes([name[0], name[1]])) {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(*name[4..].first_chunk::<4>()?);
                Some(SocketAddrV4::new(ip, port).into())
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(*name[8..].first_chunk::<16>()?);
                let scope = u32::from_ne_bytes(*name[24..].first_chunk()?);
                Some(match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddrV4::new(ip, port).into(),
                    // A link-local address is none without its link.
                    None => SocketAddrV6::new(ip, port, 0, scope).into(),
                })
            }
            _ => None,
        }
    }
}

/// Ancillary data of one datagram: what is said about it beside its bytes and its peer.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; Self::SIZE],
    length: usize,
}

impl Control {
    /// Holds the local address of a datagram and the size of its segments.
    pub(super) const SIZE: usize = 64;

    const HEADER: usize = size_of::<libc::cmsghdr>();

    pub(super) const EMPTY: Self = Self { bytes: [0; Self::SIZE], length: 0 };

    /// What is said when sending: which local address it is to leave from, and the size of the datagrams into which the kernel cuts the bytes.
    pub(super) fn new(from: Option<IpAddr>, ipv6: bool, segment: Option<u16>) -> Self {
        let mut control = Self::EMPTY;
        match from {
            // An interface of 0 leaves the choice to the routes.
            Some(IpAddr::V4(ip)) if !ipv6 => {
                let mut info = [0; size_of::<libc::in_pktinfo>()];
                info[4..8].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(ip) => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                let mut info = [0; size_of::<libc::in6_pktinfo>()];
                info[..16].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        if let Some(segment) = segment {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        control
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let at = &mut self.bytes[self.length..];
        let size = Self::HEADER + data.len();
        // The kernel's length is a word; some C libraries have it shorter, with padding behind.
        at[..size_of::<usize>()].copy_from_slice(&size.to_ne_bytes());
        at[Self::HEADER - 8..Self::HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        at[Self::HEADER - 4..Self::HEADER].copy_from_slice(&kind.to_ne_bytes());
        at[Self::HEADER..size].copy_from_slice(data);
        self.length += aligned(size);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Where the kernel may write what it says about a datagram.
    pub(super) fn room(&mut self) -> &mut [u8; Self::SIZE] {
        &mut self.bytes
    }

    /// Says how much of the room it has written.
    pub(super) fn set_len(&mut self, length: usize) {
        self.length = length.min(Self::SIZE);
    }

    /// The local address that a received datagram was sent to, in its canonical form.
    pub(super) fn local(&self) -> Option<IpAddr> {
        let mut rest = self.bytes();
        loop {
            let size = usize::from_ne_bytes(*rest.first_chunk()?);
            let (header, data) = rest.get(..size)?.split_at_checked(Self::HEADER)?;
            let level = i32::from_ne_bytes(*header[Self::HEADER - 8..].first_chunk()?);
            let kind = i32::from_ne_bytes(*header.last_chunk()?);
            match (level, kind) {
                // Behind the interface: the address of ours that answers, which for a broadcast is not where it was sent to.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    return Some(Ipv4Addr::from(*data.get(4..)?.first_chunk::<4>()?).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    return Some(IpAddr::from(*data.first_chunk::<16>()?).to_canonical());
                }
                _ => rest = rest.get(aligned(size)..)?,
            }
        }
    }
}

fn aligned(size: usize) -> usize {
    size.next_multiple_of(size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_in_their_canonical_form() {
        for address in ["192.0.2.1:5004", "[2001:db8::7]:1", "[fe80::1%3]:65535"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(Name::new(address, true).address(), Some(address));
            assert_eq!(Name::new(address, false).address(), Some(address));
        }
        assert_eq!(Name::default().address(), None);
    }

    #[test]
    fn local_addresses_read_back_behind_anything_else() {
        for ip in ["192.0.2.1", "2001:db8::7"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(Control::new(Some(ip), true, Some(1200)).local(), Some(ip));
            let mut behind = Control::new(None, true, Some(1200));
            let control = Control::new(Some(ip), false, None);
            assert_eq!(control.local(), Some(ip));
            let length = behind.length;
            behind.room()[length..][..control.length].copy_from_slice(control.bytes());
            behind.set_len(length + control.length);
            assert_eq!(behind.local(), Some(ip));
        }
        assert_eq!(Control::new(None, true, Some(1200)).local(), None);
        assert_eq!(Control::EMPTY.local(), None);
    }

    proptest::proptest! {
        #[test]
        fn nonsense_is_no_address(bytes: [[u8; 32]; 2], length in 0..80usize) {
            let mut control = Control::EMPTY;
            control.room().copy_from_slice(bytes.as_flattened());
            control.set_len(length);
            control.local();
        }
    }
}
