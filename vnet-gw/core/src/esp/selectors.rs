//! Which inner packets belong to an SA (RFC 4301, 4.4.1; RFC 7296, 3.13.1).

use std::net::IpAddr;

use crate::{
    packet::{Flow, Ports},
    sa::TrafficSelector,
};

/// What may be on our side and on the peer's.
#[derive(Clone, Debug)]
pub struct Selectors {
    local: Side,
    remote: Side,
}

impl Selectors {
    pub fn new(local: &[TrafficSelector], remote: &[TrafficSelector]) -> Self {
        Self {
            local: Side::new(local),
            remote: Side::new(remote),
        }
    }

    /// Whether a packet from our side to the peer's is one of them.
    #[inline]
    pub fn fits_outbound(&self, flow: &Flow) -> bool {
        let (source, destination) = ends(flow);
        self.local.takes(&source) && self.remote.takes(&destination)
    }

    /// Whether a packet from the peer's side to ours is one of them.
    #[inline]
    pub fn fits_inbound(&self, flow: &Flow) -> bool {
        let (source, destination) = ends(flow);
        self.remote.takes(&source) && self.local.takes(&destination)
    }
}

/// One end of a flow. ICMP's type and code count for both.
struct End {
    address: IpAddr,
    protocol: u8,
    port: Option<u16>,
}

#[inline]
fn ends(flow: &Flow) -> (End, End) {
    let (source, destination) = match flow.ports {
        Ports::Pair(source, destination) => (Some(source), Some(destination)),
        Ports::Icmp(both) => (Some(both), Some(both)),
        Ports::None => (None, None),
    };
    let end = |address, port| End {
        address,
        protocol: flow.protocol,
        port,
    };
    (end(flow.source, source), end(flow.destination, destination))
}

/// Selectors of any protocol and port, which is nearly all, are ranges in order, searched by
/// halving; the others are few and looked at one by one.
#[derive(Clone, Debug)]
struct Side {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    particular: Vec<TrafficSelector>,
}

impl Side {
    fn new(selectors: &[TrafficSelector]) -> Self {
        let (mut v4, mut v6, mut particular) = (Vec::new(), Vec::new(), Vec::new());
        for selector in selectors {
            match selector.addresses {
                _ if selector.protocol != 0 || selector.ports != (0, u16::MAX) => {
                    particular.push(*selector);
                }
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                // Not a range.
                _ => {}
            }
        }
        Self {
            v4: merge(v4),
            v6: merge(v6),
            particular,
        }
    }

    #[inline]
    fn takes(&self, end: &End) -> bool {
        let any = match end.address {
            IpAddr::V4(address) => contains(&self.v4, address.to_bits()),
            IpAddr::V6(address) => contains(&self.v6, address.to_bits()),
        };
        any || self
            .particular
            .iter()
            .any(|selector| selects(selector, end))
    }
}

fn selects(selector: &TrafficSelector, end: &End) -> bool {
    let (first, last) = selector.addresses;
    let ports = match end.port {
        Some(port) => (selector.ports.0..=selector.ports.1).contains(&port),
        // A port that cannot be seen matches only where it does not matter.
        None => selector.ports == (0, u16::MAX),
    };
    // IPv4 sorts before IPv6, so a range of one family holds no address of the other.
    first.is_ipv4() == last.is_ipv4()
        && first.is_ipv4() == end.address.is_ipv4()
        && (first..=last).contains(&end.address)
        && (selector.protocol == 0 || selector.protocol == end.protocol)
        && ports
}

/// Sorted, without overlaps, so that at most one range holds an address.
fn merge<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[inline]
fn contains<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= value);
    after > 0 && value <= ranges[after - 1].1
}
