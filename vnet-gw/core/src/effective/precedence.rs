//! Which routes a subnet has, and which of them are active.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::row::{NextHopType, RouteSource};
use crate::model::{
    Connection, PeeringState, ResourceId, Route, RouteTable, Topology, UsedGateway, VirtualNetwork,
    VirtualNetworkPeering,
};

/// 0.0.0.0/0
pub const DEFAULT_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
/// ::/0
pub const DEFAULT_V6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// The prefixes that lead nowhere unless something says otherwise (rule B1). The rule names none for
/// IPv6: a dual-stack subnet has its VNet's prefixes and ::/0, and no row for fc00::/7, so unique
/// local addresses of nobody follow ::/0.
pub const RESERVED: [IpNet; 4] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16)),
];

/// Where a route comes from that no user wrote, best first: of two with one prefix the earlier
/// kind wins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin<'a> {
    /// A prefix of the VNet's own address space → `VnetLocal`.
    VirtualNetwork,
    /// A prefix of a `Connected` peering's remote address space → `VNetPeering`, or
    /// `VNetGlobalPeering` where the regions differ.
    Peering {
        peering: &'a VirtualNetworkPeering,
        global: bool,
    },
    /// From the VNet's gateway, or from the one it uses by gateway transit (A24); `addresses`: its
    /// public addresses.
    Gateway {
        addresses: &'a [IpAddr],
        /// Whose remote prefix it is.
        connection: Option<&'a Connection>,
    },
    /// The default route → `Internet`.
    Internet,
    /// One of [`RESERVED`] → `None`.
    Reserved,
}

impl Origin<'_> {
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::VirtualNetwork => 0,
            Self::Peering { .. } => 1,
            Self::Gateway { .. } => 2,
            Self::Internet => 3,
            Self::Reserved => 4,
        }
    }

    /// Whether it beats gateway routes inside its prefix, however specific (rule B3), and takes
    /// reserved routes inside its prefix away (rule B1).
    pub const fn is_preferred(self) -> bool {
        matches!(self, Self::VirtualNetwork | Self::Peering { .. })
    }

    pub const fn source(self) -> RouteSource {
        match self {
            Self::Gateway { .. } => RouteSource::VirtualNetworkGateway,
            _ => RouteSource::Default,
        }
    }

    pub const fn next_hop_type(self) -> NextHopType {
        match self {
            Self::VirtualNetwork => NextHopType::VnetLocal,
            Self::Peering { global: false, .. } => NextHopType::VNetPeering,
            Self::Peering { global: true, .. } => NextHopType::VNetGlobalPeering,
            Self::Gateway { .. } => NextHopType::VirtualNetworkGateway,
            Self::Internet => NextHopType::Internet,
            Self::Reserved => NextHopType::None,
        }
    }
}

/// A route that no user wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<'a> {
    pub prefix: IpNet,
    pub origin: Origin<'a>,
}

/// What the rules make of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    /// Listed, but no packet takes it.
    Invalid(Loss),
    /// Not even listed.
    Withdrawn(Loss),
}

/// What a candidate lost to. Numbers are indexes into the list of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A user route with the same prefix.
    User,
    /// A better candidate with the same prefix.
    SamePrefix(usize),
    /// Gateway routes: a preferred candidate that contains it.
    Preferred(usize),
    /// Reserved routes: a preferred candidate equal to it or containing it.
    Covered(usize),
    /// Reserved routes: the user's 0.0.0.0/0.
    UserDefault,
    /// Gateway routes: the route table's `disableBgpRoutePropagation`.
    PropagationDisabled,
}

/// The user's part: a route table's routes, ordered by prefix, each prefix once.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserRoutes<'a> {
    pub table: Option<&'a RouteTable>,
}

impl<'a> UserRoutes<'a> {
    /// Of the route table `id`, if there is one.
    pub fn of(topology: &'a Topology, id: Option<&ResourceId>) -> Self {
        Self {
            table: id
                .and_then(|id| topology.route_tables.get(id))
                .map(|table| &**table),
        }
    }

    pub fn routes(self) -> &'a [Route] {
        self.table.map_or(&[], |table| &table.routes)
    }

    pub fn get(self, prefix: IpNet) -> Option<&'a Route> {
        let routes = self.routes();
        let at = routes
            .binary_search_by(|route| route.address_prefix.cmp(&prefix))
            .ok()?;
        routes.get(at)
    }

    pub fn disable_bgp_route_propagation(self) -> bool {
        self.table
            .is_some_and(|table| table.disable_bgp_route_propagation)
    }
}

/// The peerings of `vnet` that carry traffic, each with the VNet at its other end.
pub fn connected_peerings<'a>(
    topology: &'a Topology,
    vnet: &'a VirtualNetwork,
) -> impl Iterator<Item = (&'a VirtualNetworkPeering, &'a VirtualNetwork)> {
    vnet.peerings.values().filter_map(|peering| {
        if peering.peering_state != PeeringState::Connected {
            return None;
        }
        let remote = topology
            .virtual_networks
            .get(&peering.remote_virtual_network)?;
        Some((peering, &**remote))
    })
}

/// The system routes of every subnet of `vnet` (rules B1 and B2), before they are decided between.
/// `::/0` is there for VNets that have IPv6.
pub fn candidates<'a>(topology: &'a Topology, vnet: &'a VirtualNetwork) -> Vec<Candidate<'a>> {
    let own = vnet.address_space.iter().map(|prefix| Candidate {
        prefix: prefix.trunc(),
        origin: Origin::VirtualNetwork,
    });
    let peered = connected_peerings(topology, vnet).flat_map(|(peering, remote)| {
        let global = peering_is_global(vnet, remote);
        peering
            .remote_address_space
            .iter()
            .map(move |prefix| Candidate {
                prefix: prefix.trunc(),
                origin: Origin::Peering { peering, global },
            })
    });
    let used = topology.gateway_used_by(vnet);
    let remote = used.into_iter().flat_map(|UsedGateway { gateway, .. }| {
        let connections = topology.connections_of(&gateway.id);
        connections.flat_map(move |connection| {
            let prefixes = connection.remote_prefixes.iter();
            prefixes.map(move |prefix| Candidate {
                prefix: prefix.trunc(),
                origin: Origin::Gateway {
                    addresses: &gateway.public_addresses,
                    connection: Some(connection),
                },
            })
        })
    });
    let has_v6 = vnet
        .address_space
        .iter()
        .any(|prefix| matches!(prefix, IpNet::V6(_)));
    let internet = [DEFAULT_V4]
        .into_iter()
        .chain(has_v6.then_some(DEFAULT_V6))
        .map(|prefix| Candidate {
            prefix,
            origin: Origin::Internet,
        });
    let reserved = RESERVED.map(|prefix| Candidate {
        prefix,
        origin: Origin::Reserved,
    });
    let mut all: Vec<_> = own
        .chain(peered)
        .chain(remote)
        .chain(internet)
        .chain(reserved)
        .collect();
    sort(&mut all);
    all
}

/// Whether the two VNets are in different regions.
pub fn peering_is_global(vnet: &VirtualNetwork, remote: &VirtualNetwork) -> bool {
    !vnet.location.eq_ignore_ascii_case(&remote.location)
}

/// Puts candidates in the order [`decide`] needs: by prefix, of one prefix the best first.
pub fn sort(candidates: &mut [Candidate<'_>]) {
    candidates.sort_by_key(|candidate| (candidate.prefix, candidate.origin.rank()));
}

/// Decides between the routes of one subnet: what becomes of each of `candidates`, which are in
/// the order of [`sort`]. User routes are all active: no prefix has two, and nothing beats one.
///
/// Among active routes the longest prefix wins, whatever their source. So all that is left to
/// decide is which routes are active; worked out for a subnet of a VNet 10.1.0.0/16, peered with
/// 10.2.0.0/16:
///
/// | #  | route | against | outcome | rule |
/// |----|-------|---------|---------|------|
/// | 1  | User 10.1.5.0/24 | VNet 10.1.0.0/16 | both active; 10.1.5.4 takes the user's, it is longer | B3 |
/// | 2  | User 10.0.0.0/8 | VNet 10.1.0.0/16 | both active; 10.1.5.4 takes the VNet's, it is longer | B3 |
/// | 3  | User 10.1.0.0/16 | VNet 10.1.0.0/16 | User; the VNet's is invalid | B3, B4 |
/// | 4  | User 10.2.0.0/16 | peering 10.2.0.0/16 | User; the peering's is invalid | B3, B4 |
/// | 5  | User 10.9.0.0/16 | gateway 10.9.0.0/16 | User; the gateway's is invalid | B3 |
/// | 6  | User 10.9.0.0/16 | gateway 10.9.1.0/24 | both active; 10.9.1.4 takes the gateway's | B3 |
/// | 7  | gateway 0.0.0.0/0 | Internet 0.0.0.0/0 | gateway; Internet is invalid; reserved ones stay | B3 |
/// | 8  | gateway 10.0.0.0/8 | reserved 10.0.0.0/8 | gateway; the reserved one is invalid | B3 |
/// | 9  | gateway 10.1.5.0/24 | VNet 10.1.0.0/16 | VNet; the gateway's is invalid though longer | B3, exception |
/// | 10 | gateway 10.2.5.0/24 | peering 10.2.0.0/16 | peering; the gateway's is invalid though longer | B3, exception |
/// | 11 | gateway 10.2.0.0/16 | peering 10.2.0.0/16 | peering; the gateway's is invalid | A25 |
/// | 12 | gateway 10.1.5.0/24 | User and VNet 10.1.0.0/16 | User; both others are invalid: losing to the user gives the VNet's addresses to no gateway | B3 |
/// | 13 | any gateway route | disableBgpRoutePropagation | the gateway's is withdrawn | B6 |
/// | 14 | reserved 10.0.0.0/8 | VNet 10.0.0.0/8 | VNet; the reserved one is withdrawn | B1 |
/// | 15 | reserved 172.16.0.0/12 | VNet 172.0.0.0/8 | the reserved one is withdrawn | B1 |
/// | 16 | reserved 10.0.0.0/8 | VNet 10.1.0.0/16 | both active; 10.3.0.4 is dropped | B1 |
/// | 17 | reserved 10.0.0.0/8 | peering 10.0.0.0/8, or one that contains it | peering; the reserved one is withdrawn, as by the VNet's own | B1 |
/// | 18 | reserved 10.0.0.0/8 | User 10.0.0.0/8 | User; the reserved one is invalid | B4 |
/// | 19 | reserved, all four | User 0.0.0.0/0 | the reserved ones are withdrawn, and Internet is invalid | B4 |
/// | 20 | Internet ::/0 | User ::/0 | User; Internet is invalid; IPv6 has no reserved ones | B3 |
/// | 21 | peering that is not `Connected` | anything | it yields no route | C |
pub fn decide(candidates: &[Candidate<'_>], user: UserRoutes<'_>) -> Vec<Standing> {
    let user_default = user.get(DEFAULT_V4).is_some();
    // The first of the current prefix that is not withdrawn.
    let mut leader: Option<usize> = None;
    let mut standings = Vec::with_capacity(candidates.len());
    for (at, candidate) in candidates.iter().enumerate() {
        if leader.is_some_and(|leader| candidates[leader].prefix != candidate.prefix) {
            leader = None;
        }
        let preferred = match candidate.origin {
            Origin::Gateway { .. } | Origin::Reserved => {
                preferred_containing(candidates, candidate.prefix)
            }
            _ => None,
        };
        let withdrawn = match (candidate.origin, preferred) {
            (Origin::Gateway { .. }, _) if user.disable_bgp_route_propagation() => {
                Some(Loss::PropagationDisabled)
            }
            (Origin::Reserved, Some(by)) => Some(Loss::Covered(by)),
            (Origin::Reserved, None) if user_default => Some(Loss::UserDefault),
            _ => None,
        };
        if let Some(loss) = withdrawn {
            standings.push(Standing::Withdrawn(loss));
            continue;
        }
        standings.push(if user.get(candidate.prefix).is_some() {
            Standing::Invalid(Loss::User)
        } else if let Some(by) = preferred {
            Standing::Invalid(Loss::Preferred(by))
        } else if let Some(by) = leader {
            Standing::Invalid(Loss::SamePrefix(by))
        } else {
            Standing::Active
        });
        leader = leader.or(Some(at));
    }
    standings
}

/// The longest VNet or peering route that contains `prefix` or equals it.
fn preferred_containing(candidates: &[Candidate<'_>], prefix: IpNet) -> Option<usize> {
    (0..=prefix.prefix_len()).rev().find_map(|len| {
        let outer = shorten(prefix, len)?;
        let at = candidates.partition_point(|candidate| candidate.prefix < outer);
        let found = candidates.get(at)?;
        (found.prefix == outer && found.origin.is_preferred()).then_some(at)
    })
}

/// The prefix of length `len` that contains `prefix`.
pub(crate) fn shorten(prefix: IpNet, len: u8) -> Option<IpNet> {
    Some(IpNet::new(prefix.addr(), len).ok()?.trunc())
}
