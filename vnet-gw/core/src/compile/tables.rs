//! The route tables of a VNet's subnets, one for each route table in use.

mod build;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vnet_gw_common::maps;

use self::build::Builder;
use super::{ActionImage, CompileError, SubnetImage, TableImage, fits, index::Index};
use crate::{
    effective::{
        Appliance,
        precedence::{self, Candidate, Origin},
        resolve_appliance,
    },
    hash::FastMap,
    model::{
        ResourceId, Route, RouteNextHop, Subnet, Topology, VirtualNetwork, VirtualNetworkPeering,
        transit,
    },
};

/// One address family of a table.
trait Family: Copy + Ord {
    const NAME: &str;
    const IS_V4: bool;

    fn from_net(prefix: IpNet) -> Option<Self>;
}

impl Family for Ipv4Net {
    const NAME: &str = "IPv4";
    const IS_V4: bool = true;

    fn from_net(prefix: IpNet) -> Option<Self> {
        match prefix {
            IpNet::V4(prefix) => Some(prefix),
            IpNet::V6(_) => None,
        }
    }
}

impl Family for Ipv6Net {
    const NAME: &str = "IPv6";
    const IS_V4: bool = false;

    fn from_net(prefix: IpNet) -> Option<Self> {
        match prefix {
            IpNet::V4(_) => None,
            IpNet::V6(prefix) => Some(prefix),
        }
    }
}

const NO_GATEWAY: ActionImage = ActionImage::gateway(None);

/// Builds and keeps the tables of an image.
pub(super) struct Tables<'a> {
    topology: &'a Topology,
    index: &'a Index<'a>,
    scopes: BTreeMap<usize, Scope<'a>>,
    groups: HashMap<GroupKey<'a>, Group>,
}

/// The VNet, the route table, whether it is GatewaySubnet, whose routes to the gateway differ, and
/// the peers (their numbers in order) of whose peering the subnet is no part.
type GroupKey<'a> = (usize, Option<&'a str>, bool, Vec<usize>);

/// What all subnets of a VNet have in common.
struct Scope<'a> {
    vnet: &'a VirtualNetwork,
    number: usize,
    /// `VirtualNetworkGateway`, of all subnets but GatewaySubnet.
    gateway: ActionImage,
    candidates: Vec<Candidate<'a>>,
    /// Of each candidate.
    actions: Vec<ActionImage>,
    /// Connected peerings.
    peers: Vec<Peer<'a>>,
    /// The peers that use the VNet's gateway.
    uses_gateway: FastMap<&'a ResourceId, ()>,
    /// The peers' prefixes, in order, with indexes into `peers`.
    spaces: Vec<(IpNet, usize)>,
}

struct Peer<'a> {
    peering: &'a VirtualNetworkPeering,
    /// Of the remote VNet.
    number: usize,
    /// The remote VNet's peering back has `allowForwardedTraffic`.
    accepts_forwarded: bool,
    /// The remote VNet uses the gateway of this one (A24).
    uses_gateway: bool,
}

/// What all subnets of a VNet with one route table have in common.
struct Group {
    v4: Built<Ipv4Net>,
    v6: Built<Ipv6Net>,
}

struct Built<P> {
    image: TableImage<P>,
    /// Routes of the previous image that were compared with these and differ.
    differs: Option<Arc<Vec<(P, u32)>>>,
}

impl<P: Family> Built<P> {
    fn new(image: TableImage<P>) -> Self {
        Self {
            image,
            differs: None,
        }
    }

    /// The table, in the memory of `before` where that is equal.
    fn sharing(&mut self, before: Option<&TableImage<P>>) -> TableImage<P> {
        if let Some(TableImage { routes, .. }) = before
            && !Arc::ptr_eq(routes, &self.image.routes)
            && !self
                .differs
                .as_ref()
                .is_some_and(|differs| Arc::ptr_eq(differs, routes))
        {
            if *routes == self.image.routes {
                self.image.routes = Arc::clone(routes);
            } else {
                self.differs = Some(Arc::clone(routes));
            }
        }
        self.image.clone()
    }
}

impl<'a> Tables<'a> {
    pub(super) fn new(topology: &'a Topology, index: &'a Index<'a>) -> Self {
        Self {
            topology,
            index,
            scopes: BTreeMap::new(),
            groups: HashMap::new(),
        }
    }

    /// The tables of `subnet`, which is in the VNet number `vnet`.
    pub(super) fn of(
        &mut self,
        vnet: usize,
        subnet: &'a Subnet,
        before: Option<&Arc<SubnetImage>>,
    ) -> Result<(TableImage<Ipv4Net>, TableImage<Ipv6Net>), CompileError> {
        let scope = self
            .scopes
            .entry(vnet)
            .or_insert_with(|| Scope::new(self.topology, self.index, vnet));
        let key = (
            vnet,
            subnet.route_table.as_ref().map(ResourceId::key),
            subnet.is_gateway_subnet(),
            scope.shut(subnet),
        );
        let group = match self.groups.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let builder = Builder::new(self.topology, self.index, scope, subnet)?;
                entry.insert(Group {
                    v4: Built::new(builder.build()?),
                    v6: Built::new(builder.build()?),
                })
            }
        };
        Ok((
            group.v4.sharing(before.map(|before| &before.v4)),
            group.v6.sharing(before.map(|before| &before.v6)),
        ))
    }

    /// Whether the VNets that endpoints or routes name can all be numbered.
    pub(super) fn check_scopes(&self) -> Result<(), CompileError> {
        let mut named = vec![false; self.topology.virtual_networks.len()];
        let peers = self
            .scopes
            .iter()
            .flat_map(|(own, scope)| scope.peers.iter().map(|peer| peer.number).chain([*own]));
        for number in peers.chain(self.index.populated()) {
            named[number] = true;
        }
        let count = named.into_iter().filter(|named| *named).count();
        fits("virtualNetworks", count, maps::MAX_SCOPES)
    }
}

impl<'a> Scope<'a> {
    fn new(topology: &'a Topology, index: &Index<'a>, number: usize) -> Self {
        let vnet = index.vnet(number);
        // In the order of the peerings' ids.
        let peers: Vec<_> = precedence::connected_peerings(topology, vnet)
            .filter_map(|(peering, remote)| {
                let remote = index.number(&remote.id)?;
                let back = index.peering(remote, number);
                let accepts_forwarded = back.is_some_and(|back| back.allow_forwarded_traffic);
                let uses_gateway = back.is_some_and(|back| transit::carries(peering, back));
                Some(Peer {
                    peering,
                    number: remote,
                    accepts_forwarded,
                    uses_gateway,
                })
            })
            .collect();
        let spaces = peers.iter().enumerate().flat_map(|(number, peer)| {
            let spaces = peer.peering.remote_address_space.iter();
            spaces.map(move |prefix| (prefix.trunc(), number))
        });
        let mut spaces: Vec<_> = spaces.collect();
        spaces.sort_by_key(|(prefix, _)| *prefix);
        let candidates = precedence::candidates(topology, vnet);
        let gateway = gateway(topology, index, number);
        let action = |candidate: &Candidate<'a>| match candidate.origin {
            Origin::VirtualNetwork => ActionImage::Local {
                vnet: vnet.id.clone(),
            },
            Origin::Peering { peering, .. } => {
                let at = peers.binary_search_by(|peer| peer.peering.id.cmp(&peering.id));
                at.ok()
                    .and_then(|at| peers.get(at))
                    .map_or(ActionImage::None, Peer::action)
            }
            Origin::Gateway { .. } => gateway.clone(),
            Origin::Internet => ActionImage::Internet,
            Origin::Reserved => ActionImage::None,
        };
        let actions = candidates.iter().map(action).collect();
        Self {
            vnet,
            number,
            gateway,
            candidates,
            actions,
            uses_gateway: peers
                .iter()
                .filter(|peer| peer.uses_gateway)
                .map(|peer| (&peer.peering.remote_virtual_network, ()))
                .collect(),
            peers,
            spaces,
        }
    }

    /// The peers that packets of `subnet` do not go to: it is no part of those peerings, which are
    /// of subnets.
    fn shut(&self, subnet: &Subnet) -> Vec<usize> {
        let gateway = subnet.is_gateway_subnet();
        let shut = self.peers.iter().enumerate().filter(|(_, peer)| {
            !(peer.peering.includes(&subnet.id) || gateway && peer.uses_gateway)
        });
        shut.map(|(number, _)| number).collect()
    }

    /// The peer whose address space contains `prefix`. Peers of one VNet do not overlap.
    fn peer_containing(&self, prefix: IpNet) -> Option<&Peer<'a>> {
        let at = self.spaces.partition_point(|(space, _)| *space <= prefix);
        let (space, number) = self.spaces.get(at.checked_sub(1)?)?;
        space.contains(&prefix).then(|| self.peers.get(*number))?
    }

    /// The action of a user route.
    fn user_action(&self, index: &Index<'a>, route: &Route) -> ActionImage {
        match route.next_hop {
            RouteNextHop::VirtualNetworkGateway => self.gateway.clone(),
            RouteNextHop::VnetLocal => self.peer_containing(route.address_prefix).map_or_else(
                || ActionImage::Local {
                    vnet: self.vnet.id.clone(),
                },
                Peer::action,
            ),
            RouteNextHop::Internet => ActionImage::Internet,
            RouteNextHop::VirtualAppliance(address) => {
                self.appliance(index, address, route.address_prefix)
            }
            RouteNextHop::None => ActionImage::None,
        }
    }

    fn appliance(&self, index: &Index<'a>, address: IpAddr, prefix: IpNet) -> ActionImage {
        // At most one peer can have it: the one whose address space contains it.
        let peer = self.peer_containing(address.into());
        let find = |vnet: &ResourceId, address| match peer {
            Some(peer) if *vnet == peer.peering.remote_virtual_network => {
                index.find(peer.number, address)
            }
            _ => index.find(self.number, address),
        };
        let peerings = peer.map(|peer| peer.peering);
        match resolve_appliance(address, prefix, &self.vnet.id, peerings, find) {
            Appliance::Found { vnet, peering, .. } => ActionImage::Appliance {
                vnet: Some(vnet.clone()),
                address,
                peered: peering.is_some(),
                accepts_forwarded: peering.is_some()
                    && peer.is_some_and(|peer| peer.accepts_forwarded),
            },
            Appliance::NoForwarding { .. } | Appliance::Nobody | Appliance::WrongFamily => {
                unreachable_appliance(address)
            }
        }
    }
}

const fn unreachable_appliance(address: IpAddr) -> ActionImage {
    ActionImage::Appliance {
        vnet: None,
        address,
        peered: false,
        accepts_forwarded: false,
    }
}

/// `VirtualNetworkGateway` of all subnets of the VNet number `number` but GatewaySubnet: its own
/// gateway, or by gateway transit that of a peer.
fn gateway(topology: &Topology, index: &Index<'_>, number: usize) -> ActionImage {
    let vnet = index.vnet(number);
    if index.gateway(number).is_some() {
        return ActionImage::gateway(Some(vnet.id.clone()));
    }
    let hub = transit::hub_of(&topology.virtual_networks, vnet);
    let hub = hub.filter(|(hub, _)| {
        let number = index.number(&hub.id);
        number.is_some_and(|number| index.gateway(number).is_some())
    });
    hub.map_or(NO_GATEWAY, |(hub, side)| ActionImage::Gateway {
        vnet: Some(hub.id.clone()),
        peered: true,
        accepts_forwarded: side.allow_forwarded_traffic,
    })
}

impl Peer<'_> {
    fn action(&self) -> ActionImage {
        ActionImage::Peering {
            vnet: self.peering.remote_virtual_network.clone(),
            accepts_forwarded: self.accepts_forwarded,
        }
    }
}
