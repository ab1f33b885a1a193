//! Socket addresses as the kernel has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A `struct sockaddr_in` or `sockaddr_in6`, and room for either.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    pub(super) const EMPTY: Self = Self {
        v6: libc::sockaddr_in6 {
            sin6_family: libc::AF_UNSPEC as libc::sa_family_t,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    pub(super) fn new(address: SocketAddr) -> Self {
        let mut raw = Self::EMPTY;
        match address {
            SocketAddr::V4(address) => {
                raw.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*address.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
            }
            SocketAddr::V6(address) => {
                raw.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                };
            }
        }
        raw
    }

    pub(super) fn len(&self) -> libc::socklen_t {
        // SAFETY: every variant begins with the family, and all bytes are initialised.
        let length = match i32::from(unsafe { self.family }) {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            _ => size_of::<libc::sockaddr_in6>(),
        };
        length as libc::socklen_t
    }

    /// `None` for what is neither IPv4 nor IPv6.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        // SAFETY: every variant begins with the family, and all bytes are initialised.
        match i32::from(unsafe { self.family }) {
            libc::AF_INET => {
                // SAFETY: integers alone, and all bytes are initialised.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: integers alone, and all bytes are initialised.
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                // No scope: a peer is never link-local, and it would not compare equal.
                Some(SocketAddr::new(IpAddr::V6(ip), u16::from_be(v6.sin6_port)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in ["192.0.2.1:4500", "[2001:db8::1]:500"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::new(address).get(), Some(address));
        }
        assert_eq!(RawAddress::EMPTY.get(), None);
    }
}
