//! What fits into the path of a tunnel.

use std::net::IpAddr;

use crate::{
    packet::ip::{V4_HEADER_LEN, V6_HEADER_LEN},
    sa::{Encapsulation, EspSuite, TUNNEL_MTU},
};

use super::layout::Layout;

const UDP_HEADER_LEN: usize = 8;

/// Every IPv6 link takes packets of that many bytes (RFC 8200, 5).
const V6_MINIMUM: u16 = 1280;

/// The longest inner packet that fits into one packet of an underlay with this MTU.
pub fn max_inner(underlay_mtu: usize, encapsulation: &Encapsulation, suite: EspSuite) -> usize {
    Layout::of(suite).inner_len(underlay_mtu.saturating_sub(outer_len(encapsulation)))
}

/// The headers before the SPI: IP without options, and UDP if it is there.
pub fn outer_len(encapsulation: &Encapsulation) -> usize {
    let (local, udp) = match encapsulation {
        Encapsulation::Esp { local, .. } => (*local, 0),
        Encapsulation::Udp { local, .. } => (local.ip(), UDP_HEADER_LEN),
    };
    udp + match local {
        IpAddr::V4(_) => V4_HEADER_LEN,
        IpAddr::V6(_) => V6_HEADER_LEN,
    }
}

/// The MTU of a tunnel: [`TUNNEL_MTU`], or less where the path is narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelMtu {
    /// For IPv4 inside.
    pub v4: u16,
    /// For IPv6 inside. No sender makes packets shorter than IPv6's minimum: where the path does
    /// not take them whole, the outer packet is fragmented (RFC 2473, 7.1), so it must allow that.
    pub v6: u16,
}

impl TunnelMtu {
    pub fn new(underlay_mtu: usize, encapsulation: &Encapsulation, suite: EspSuite) -> Self {
        let fits = max_inner(underlay_mtu, encapsulation, suite);
        let mtu = u16::try_from(fits).unwrap_or(u16::MAX).min(TUNNEL_MTU);
        Self {
            v4: mtu,
            v6: mtu.max(V6_MINIMUM),
        }
    }

    /// The one that holds for this inner packet.
    #[inline]
    pub fn of(&self, packet: &[u8]) -> u16 {
        match packet.first() {
            Some(first) if first >> 4 == 6 => self.v6,
            _ => self.v4,
        }
    }
}
