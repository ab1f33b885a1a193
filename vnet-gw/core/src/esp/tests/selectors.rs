use std::net::IpAddr;

use proptest::{collection::vec, prelude::*};

use super::build::{child, pair, seal, udp};
use crate::{
    esp::{OpenError, Selectors},
    packet::{Flow, Ports},
    sa::{EspSuite, TrafficSelector},
};

fn selector(first: &str, last: &str, protocol: u8, ports: (u16, u16)) -> TrafficSelector {
    TrafficSelector {
        protocol,
        ports,
        addresses: (first.parse().unwrap(), last.parse().unwrap()),
    }
}

fn flow(source: &str, destination: &str, protocol: u8, ports: Ports) -> Flow {
    Flow {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol,
        ports,
    }
}

const ANY: (u16, u16) = (0, u16::MAX);

#[test]
fn an_inner_packet_outside_is_not_let_out() {
    let mut child = child(EspSuite::Aes256Gcm, true);
    child.local_selectors = vec![selector("10.4.0.0", "10.4.255.255", 0, ANY)];
    child.remote_selectors = vec![selector("10.1.0.0", "10.1.0.4", 0, ANY)];
    let (mut outbound, mut inbound) = pair(&child);
    let good = udp(false, b"from 10.1.0.4 to 10.4.0.4");
    assert!(inbound.open(&mut seal(&mut outbound, &good)).is_ok());
    for (at, byte) in [(15, 5), (13, 2), (17, 5)] {
        let mut spoofed = good.clone();
        spoofed[at] = byte;
        let opened = inbound.open(&mut seal(&mut outbound, &spoofed));
        assert_eq!(opened, Err(OpenError::OutsideSelectors));
    }
    let other_family = udp(true, b"v6");
    let opened = inbound.open(&mut seal(&mut outbound, &other_family));
    assert_eq!(opened, Err(OpenError::OutsideSelectors));
    assert_eq!(inbound.packets(), 1);
}

#[test]
fn protocols_and_ports_count_where_they_are_named() {
    let selectors = Selectors::new(
        &[
            selector("10.1.0.0", "10.1.255.255", 6, (443, 443)),
            selector("10.1.0.0", "10.1.255.255", 1, (0x0800, 0x08ff)),
        ],
        &[selector("10.4.0.0", "10.4.255.255", 0, ANY)],
    );
    let to =
        |protocol, ports| selectors.fits_inbound(&flow("10.4.0.1", "10.1.0.1", protocol, ports));
    assert!(to(6, Ports::Pair(50000, 443)));
    assert!(!to(6, Ports::Pair(443, 50000)));
    assert!(!to(17, Ports::Pair(50000, 443)));
    assert!(to(1, Ports::Icmp(0x0800)));
    assert!(!to(1, Ports::Icmp(0x0000)));
    assert!(!to(6, Ports::None), "a fragment's port cannot be seen");
    let back = flow("10.1.0.1", "10.4.0.1", 6, Ports::Pair(443, 50000));
    assert!(selectors.fits_outbound(&back));
    assert!(!selectors.fits_inbound(&back));
}

#[test]
fn no_selectors_select_nothing() {
    let selectors = Selectors::new(&[], &[]);
    assert!(!selectors.fits_inbound(&flow("10.4.0.1", "10.1.0.1", 6, Ports::None)));
}

proptest! {
    /// Sorted and merged ranges hold what any of the ranges holds.
    #[test]
    fn ranges_are_searched_as_if_one_by_one(
        ranges in vec((any::<bool>(), 0..64u32, 0..64u32), 0..12),
        v6: bool,
        address in 0..64u32,
    ) {
        let at = |v6: bool, address: u32| -> IpAddr {
            if v6 { IpAddr::from(u128::from(address).to_be_bytes()) } else { IpAddr::from(address.to_be_bytes()) }
        };
        let selectors: Vec<TrafficSelector> = ranges
            .iter()
            .map(|(v6, first, last)| TrafficSelector { protocol: 0, ports: ANY, addresses: (at(*v6, *first), at(*v6, *last)) })
            .collect();
        let all = [selector("0.0.0.0", "255.255.255.255", 0, ANY), selector("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0, ANY)];
        let flow = Flow { source: at(v6, address), destination: at(v6, 1), protocol: 17, ports: Ports::None };
        let expected = ranges.iter().any(|range| range.0 == v6 && (range.1..=range.2).contains(&address));
        prop_assert_eq!(Selectors::new(&selectors, &all).fits_outbound(&flow), expected);
        prop_assert_eq!(Selectors::new(&all, &selectors).fits_inbound(&flow), expected);
    }
}
