//! Every row of the table above `decide`, by its number, and a property that reads the rules once
//! more in another way.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::build::{ip, net, route};
use crate::{
    effective::precedence::{Candidate, Loss, Origin, Standing, UserRoutes, decide, sort},
    model::{
        PeeringState, PeeringSyncLevel, ResourceId, RouteNextHop, RouteTable, VirtualNetworkPeering,
    },
};

const VNET: Origin<'static> = Origin::VirtualNetwork;
const GATEWAY: Origin<'static> = Origin::Gateway {
    addresses: &[],
    connection: None,
};
const INTERNET: Origin<'static> = Origin::Internet;
const RESERVED: Origin<'static> = Origin::Reserved;

fn peering() -> VirtualNetworkPeering {
    VirtualNetworkPeering {
        id: ResourceId::new("/p"),
        remote_virtual_network: ResourceId::new("/v"),
        allow_virtual_network_access: true,
        allow_forwarded_traffic: false,
        allow_gateway_transit: false,
        use_remote_gateways: false,
        subnets: None,
        peering_state: PeeringState::Connected,
        peering_sync_level: PeeringSyncLevel::FullyInSync,
        remote_address_space: Vec::new(),
    }
}

fn table(prefixes: impl IntoIterator<Item = IpNet>, disabled: bool) -> RouteTable {
    let mut prefixes: Vec<_> = prefixes.into_iter().collect();
    prefixes.sort();
    prefixes.dedup();
    let hop = RouteNextHop::VirtualAppliance(ip("10.1.9.4"));
    RouteTable {
        id: ResourceId::new("/rt"),
        disable_bgp_route_propagation: disabled,
        routes: prefixes
            .iter()
            .map(|prefix| route("r", &prefix.to_string(), hop))
            .collect(),
        tags: Default::default(),
    }
}

/// What becomes of system routes beside user routes.
struct Case<'a> {
    candidates: Vec<Candidate<'a>>,
    standings: Vec<Standing>,
    table: RouteTable,
}

impl<'a> Case<'a> {
    fn new(system: &[(Origin<'a>, &str)], user: &[&str]) -> Self {
        Self::with(system, table(user.iter().map(|prefix| net(prefix)), false))
    }

    fn with(system: &[(Origin<'a>, &str)], table: RouteTable) -> Self {
        let candidates = system.iter().map(|&(origin, prefix)| (origin, net(prefix)));
        let mut candidates: Vec<_> = candidates
            .map(|(origin, prefix)| Candidate { prefix, origin })
            .collect();
        sort(&mut candidates);
        let standings = decide(
            &candidates,
            UserRoutes {
                table: Some(&table),
            },
        );
        Self {
            candidates,
            standings,
            table,
        }
    }

    fn of(&self, origin: Origin<'_>) -> Standing {
        let at = self
            .candidates
            .iter()
            .position(|c| c.origin == origin)
            .unwrap();
        self.standings[at]
    }

    /// The index of a route among the candidates, as losses give it.
    fn at(&self, origin: Origin<'_>) -> usize {
        self.candidates
            .iter()
            .position(|c| c.origin == origin)
            .unwrap()
    }

    /// Who takes the destination: the origin, or `None` for a user route.
    fn takes(&self, destination: &str) -> Option<Origin<'a>> {
        let destination = ip(destination);
        let active = self.candidates.iter().zip(&self.standings);
        let active = active.filter(|(_, standing)| **standing == Standing::Active);
        let system = active.map(|(c, _)| (c.prefix, Some(c.origin)));
        let user = self
            .table
            .routes
            .iter()
            .map(|route| (route.address_prefix, None));
        system
            .chain(user)
            .filter(|(prefix, _)| prefix.contains(&destination))
            .max_by_key(|(prefix, _)| prefix.prefix_len())
            .expect("a route")
            .1
    }
}

#[test]
fn row_1_a_longer_user_route_takes_part_of_the_vnet() {
    let case = Case::new(&[(VNET, "10.1.0.0/16")], &["10.1.5.0/24"]);
    assert_eq!(case.of(VNET), Standing::Active);
    assert_eq!(case.takes("10.1.5.4"), None);
    assert_eq!(case.takes("10.1.6.4"), Some(VNET));
}

#[test]
fn row_2_a_shorter_user_route_leaves_the_vnet_alone() {
    let case = Case::new(&[(VNET, "10.1.0.0/16")], &["10.0.0.0/8"]);
    assert_eq!(case.of(VNET), Standing::Active);
    assert_eq!(case.takes("10.1.5.4"), Some(VNET));
    assert_eq!(case.takes("10.9.5.4"), None);
}

#[test]
fn row_3_an_equal_user_route_overrides_the_vnet() {
    let case = Case::new(&[(VNET, "10.1.0.0/16")], &["10.1.0.0/16"]);
    assert_eq!(case.of(VNET), Standing::Invalid(Loss::User));
}

#[test]
fn row_4_an_equal_user_route_overrides_a_peering() {
    let peering = peering();
    let peered = Origin::Peering {
        peering: &peering,
        global: false,
    };
    let case = Case::new(&[(peered, "10.2.0.0/16")], &["10.2.0.0/16"]);
    assert_eq!(case.of(peered), Standing::Invalid(Loss::User));
}

#[test]
fn rows_5_and_6_user_against_gateway() {
    let case = Case::new(&[(GATEWAY, "10.9.0.0/16")], &["10.9.0.0/16"]);
    assert_eq!(case.of(GATEWAY), Standing::Invalid(Loss::User));
    let case = Case::new(&[(GATEWAY, "10.9.1.0/24")], &["10.9.0.0/16"]);
    assert_eq!(case.of(GATEWAY), Standing::Active);
    assert_eq!(case.takes("10.9.1.4"), Some(GATEWAY));
    assert_eq!(case.takes("10.9.2.4"), None);
}

#[test]
fn row_7_a_default_route_from_a_gateway_leaves_the_reserved_ones() {
    let system = [
        (GATEWAY, "0.0.0.0/0"),
        (INTERNET, "0.0.0.0/0"),
        (RESERVED, "10.0.0.0/8"),
    ];
    let case = Case::new(&system, &[]);
    assert_eq!(case.of(GATEWAY), Standing::Active);
    assert_eq!(
        case.of(INTERNET),
        Standing::Invalid(Loss::SamePrefix(case.at(GATEWAY)))
    );
    assert_eq!(case.of(RESERVED), Standing::Active);
}

#[test]
fn a_loser_names_the_winner_not_another_loser() {
    let address = [ip("192.0.2.1")];
    let other = Origin::Gateway {
        addresses: &address,
        connection: None,
    };
    let system = [
        (INTERNET, "0.0.0.0/0"),
        (GATEWAY, "0.0.0.0/0"),
        (other, "0.0.0.0/0"),
    ];
    let case = Case::new(&system, &[]);
    let lost = Standing::Invalid(Loss::SamePrefix(case.at(GATEWAY)));
    assert_eq!(case.of(GATEWAY), Standing::Active);
    assert_eq!(case.of(other), lost);
    assert_eq!(case.of(INTERNET), lost);
}

#[test]
fn row_8_a_gateway_route_overrides_a_reserved_one() {
    let case = Case::new(&[(RESERVED, "10.0.0.0/8"), (GATEWAY, "10.0.0.0/8")], &[]);
    assert_eq!(case.of(GATEWAY), Standing::Active);
    assert_eq!(
        case.of(RESERVED),
        Standing::Invalid(Loss::SamePrefix(case.at(GATEWAY)))
    );
}

#[test]
fn rows_9_to_11_gateway_routes_give_way_inside_vnet_and_peerings() {
    let peering = peering();
    let peered = Origin::Peering {
        peering: &peering,
        global: true,
    };
    for (preferred, prefix) in [(VNET, "10.1.0.0/16"), (peered, "10.2.0.0/16")] {
        let inside = prefix.replace(".0.0/16", ".5.0/24");
        for gateway in [prefix, &inside] {
            let case = Case::new(&[(GATEWAY, gateway), (preferred, prefix)], &[]);
            let loss = Loss::Preferred(case.at(preferred));
            assert_eq!(
                case.of(GATEWAY),
                Standing::Invalid(loss),
                "{gateway} in {prefix}"
            );
            assert_eq!(case.of(preferred), Standing::Active);
        }
        let case = Case::new(&[(GATEWAY, "10.0.0.0/12"), (preferred, prefix)], &[]);
        assert_eq!(case.of(GATEWAY), Standing::Active, "it contains {prefix}");
    }
}

#[test]
fn row_12_a_vnet_route_that_lost_to_the_user_still_keeps_gateways_out() {
    let case = Case::new(
        &[(VNET, "10.1.0.0/16"), (GATEWAY, "10.1.5.0/24")],
        &["10.1.0.0/16"],
    );
    assert_eq!(case.of(VNET), Standing::Invalid(Loss::User));
    assert_eq!(
        case.of(GATEWAY),
        Standing::Invalid(Loss::Preferred(case.at(VNET)))
    );
    assert_eq!(case.takes("10.1.5.4"), None);
}

#[test]
fn row_13_propagation_can_be_disabled() {
    let system = [(GATEWAY, "0.0.0.0/0"), (INTERNET, "0.0.0.0/0")];
    let case = Case::with(&system, table([], true));
    assert_eq!(
        case.of(GATEWAY),
        Standing::Withdrawn(Loss::PropagationDisabled)
    );
    assert_eq!(case.of(INTERNET), Standing::Active);
}

#[test]
fn rows_14_to_17_vnets_and_peers_take_reserved_routes_away() {
    let peering = peering();
    let peered = Origin::Peering {
        peering: &peering,
        global: false,
    };
    for preferred in [VNET, peered] {
        for (reserved, prefix) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("172.16.0.0/12", "172.0.0.0/8"),
        ] {
            let case = Case::new(&[(preferred, prefix), (RESERVED, reserved)], &[]);
            let loss = Loss::Covered(case.at(preferred));
            assert_eq!(case.of(RESERVED), Standing::Withdrawn(loss));
            assert_eq!(case.of(preferred), Standing::Active);
        }
        let case = Case::new(&[(preferred, "10.1.0.0/16"), (RESERVED, "10.0.0.0/8")], &[]);
        assert_eq!(case.of(RESERVED), Standing::Active);
        assert_eq!(case.takes("10.3.0.4"), Some(RESERVED));
    }
}

#[test]
fn row_18_a_user_route_overrides_a_reserved_one() {
    let case = Case::new(&[(RESERVED, "10.0.0.0/8")], &["10.0.0.0/8"]);
    assert_eq!(case.of(RESERVED), Standing::Invalid(Loss::User));
}

#[test]
fn row_19_a_default_route_of_the_user_takes_reserved_routes_away() {
    for user in [&["0.0.0.0/0"][..], &["0.0.0.0/0", "10.0.0.0/8"]] {
        let case = Case::new(&[(INTERNET, "0.0.0.0/0"), (RESERVED, "10.0.0.0/8")], user);
        assert_eq!(case.of(RESERVED), Standing::Withdrawn(Loss::UserDefault));
        assert_eq!(case.of(INTERNET), Standing::Invalid(Loss::User));
    }
    let case = Case::new(&[(RESERVED, "10.0.0.0/8")], &["::/0", "0.0.0.0/1"]);
    assert_eq!(case.of(RESERVED), Standing::Active);
}

#[test]
fn row_20_an_ipv6_default_route_of_the_user() {
    let case = Case::new(&[(INTERNET, "::/0")], &["::/0"]);
    assert_eq!(case.of(INTERNET), Standing::Invalid(Loss::User));
}

/// Who takes a destination by the rules as they are written, pair by pair, without the notion of a
/// standing. `None`: nobody; a user route is `Some(None)`.
fn literal<'a>(
    candidates: &[Candidate<'a>],
    table: &RouteTable,
    destination: IpAddr,
) -> Option<(IpNet, Option<Origin<'a>>)> {
    let ours: Vec<_> = candidates
        .iter()
        .filter(|c| matches!(c.origin, Origin::VirtualNetwork | Origin::Peering { .. }))
        .map(|c| c.prefix)
        .collect();
    let user_default = table
        .routes
        .iter()
        .any(|r| r.address_prefix == net("0.0.0.0/0"));
    let mut best: Option<(u8, u8, IpNet, Option<Origin<'a>>)> = None;
    let mut offer = |prefix: IpNet, preference: u8, origin| {
        let better = best.is_none_or(|(len, p, ..)| (prefix.prefix_len(), preference) > (len, p));
        if prefix.contains(&destination) && better {
            best = Some((prefix.prefix_len(), preference, prefix, origin));
        }
    };
    for route in &table.routes {
        offer(route.address_prefix, 9, None);
    }
    for candidate in candidates {
        let inside_ours = ours.iter().any(|space| space.contains(&candidate.prefix));
        let preference = match candidate.origin {
            Origin::Gateway { .. } if table.disable_bgp_route_propagation || inside_ours => {
                continue;
            }
            Origin::Reserved if inside_ours || user_default => continue,
            Origin::VirtualNetwork => 4,
            Origin::Peering { .. } => 3,
            Origin::Gateway { .. } => 2,
            Origin::Internet | Origin::Reserved => 1,
        };
        offer(candidate.prefix, preference, Some(candidate.origin));
    }
    best.map(|(_, _, prefix, origin)| (prefix, origin))
}

/// Prefixes close to each other, so that they nest and collide.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (
        prop::sample::select(vec![0u32, 8, 10, 12, 16, 24]),
        0u32..4,
        0u32..4,
    )
        .prop_map(|(len, b, c)| {
            let address = std::net::Ipv4Addr::from_bits(10 << 24 | b << 16 | c << 8);
            IpNet::new(address.into(), len as u8).unwrap().trunc()
        });
    let v6 =
        (prop::sample::select(vec![0u8, 48, 64]), 0u128..3, 0u128..3).prop_map(|(len, b, c)| {
            let address = std::net::Ipv6Addr::from_bits(0xfd00 << 112 | b << 80 | c << 64);
            IpNet::new(address.into(), len).unwrap().trunc()
        });
    prop_oneof![3 => v4, 1 => v6]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn decides_as_the_rules_read(
        own in prop::collection::vec(prefix(), 0..3),
        peered in prop::collection::vec(prefix(), 0..3),
        gateway in prop::collection::vec(prefix(), 0..6),
        user in prop::collection::vec(prefix(), 0..6),
        disabled in any::<bool>(),
        hosts in prop::collection::vec(prefix(), 8),
    ) {
        let peering = peering();
        let tell = |origin, prefixes: &[IpNet]| -> Vec<Candidate<'_>> {
            prefixes.iter().map(|&prefix| Candidate { prefix, origin }).collect()
        };
        let mut candidates = tell(VNET, &own);
        candidates.extend(tell(Origin::Peering { peering: &peering, global: false }, &peered));
        candidates.extend(tell(GATEWAY, &gateway));
        candidates.extend(tell(INTERNET, &[net("0.0.0.0/0"), net("::/0")]));
        candidates.extend(tell(RESERVED, &[net("10.0.0.0/8")]));
        let table = table(user, disabled);
        sort(&mut candidates);
        let standings = decide(&candidates, UserRoutes { table: Some(&table) });

        let active: Vec<_> = candidates
            .iter()
            .zip(&standings)
            .filter(|(_, standing)| **standing == Standing::Active)
            .map(|(c, _)| (c.prefix, Some(c.origin)))
            .chain(table.routes.iter().map(|route| (route.address_prefix, None)))
            .collect();
        for (at, (prefix, _)) in active.iter().enumerate() {
            prop_assert!(!active[..at].iter().any(|(other, _)| other == prefix), "{prefix} twice");
        }
        for host in hosts {
            let winner = active
                .iter()
                .filter(|(prefix, _)| prefix.contains(&host.addr()))
                .max_by_key(|(prefix, _)| prefix.prefix_len());
            prop_assert_eq!(winner.copied(), literal(&candidates, &table, host.addr()));
        }
    }
}
