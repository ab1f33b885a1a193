//! The route tables of a VNet's subnets, one for each route table in use.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vnet_gw_common::{maps, table::Leaf};

use super::{
    ActionImage, CompileError, SubnetImage, TableImage,
    actions::{Actions, Full},
    fits,
    index::Index,
};
use crate::{
    effective::{
        Appliance,
        precedence::{self, Candidate, Origin, Standing, UserRoutes},
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

/// Builds the two tables of one VNet and route table. `subnet` is the first that has them.
struct Builder<'b, 'a> {
    index: &'b Index<'a>,
    scope: &'b Scope<'a>,
    subnet: &'a ResourceId,
    user: UserRoutes<'a>,
    standings: Vec<Standing>,
    /// What came out of a tunnel does not go into one.
    gateway_subnet: bool,
    /// The peers that the subnet's packets do not go to.
    shut: FastMap<&'a ResourceId, ()>,
}

impl<'b, 'a> Builder<'b, 'a> {
    fn new(
        topology: &'a Topology,
        index: &'b Index<'a>,
        scope: &'b Scope<'a>,
        subnet: &'a Subnet,
    ) -> Result<Self, CompileError> {
        let user = UserRoutes::of(topology, subnet.route_table.as_ref());
        if let (Some(table), None) = (&subnet.route_table, user.table) {
            return Err(CompileError::UnknownRouteTable {
                subnet: subnet.id.clone(),
                table: table.clone(),
            });
        }
        let standings = precedence::decide(&scope.candidates, user);
        Ok(Self {
            index,
            scope,
            subnet: &subnet.id,
            user,
            standings,
            gateway_subnet: subnet.is_gateway_subnet(),
            shut: scope
                .shut(subnet)
                .into_iter()
                .filter_map(|number| scope.peers.get(number))
                .map(|peer| (&peer.peering.remote_virtual_network, ()))
                .collect(),
        })
    }

    /// Merges the active system routes into the user's; no prefix is in both.
    fn build<P: Family>(&self) -> Result<TableImage<P>, CompileError> {
        let system = self
            .scope
            .candidates
            .iter()
            .zip(&self.scope.actions)
            .zip(&self.standings);
        let system: Vec<(P, &ActionImage)> = system
            .filter(|(_, standing)| **standing == Standing::Active)
            .filter_map(|((candidate, action), _)| Some((P::from_net(candidate.prefix)?, action)))
            .collect();
        let user = self.user_routes::<P>();
        let count = system.len() + user.len();
        let limit = Leaf::MAX_ROUTES as usize - 1;
        if count > limit {
            let (subnet, family) = (self.subnet.clone(), P::NAME);
            return Err(CompileError::TooManyRoutes {
                subnet,
                family,
                count,
                limit,
            });
        }
        let mut merge = Merge {
            builder: self,
            routes: Vec::with_capacity(count),
            actions: Actions::default(),
            last: None,
        };
        let mut rest = user;
        for (prefix, action) in system {
            let at = rest.partition_point(|route| {
                P::from_net(route.address_prefix).is_some_and(|user| user < prefix)
            });
            let (before, after) = rest.split_at(at);
            merge.user(before)?;
            merge.system(prefix, action)?;
            rest = after;
        }
        merge.user(rest)?;
        Ok(TableImage {
            actions: merge.actions.into_list(),
            routes: Arc::new(merge.routes),
        })
    }

    /// The user's routes of the family: IPv4 goes first in the order of prefixes.
    fn user_routes<P: Family>(&self) -> &'a [Route] {
        let routes = self.user.routes();
        let v6_at = routes.partition_point(|route| matches!(route.address_prefix, IpNet::V4(_)));
        let (v4, v6) = routes.split_at(v6_at);
        if P::IS_V4 { v4 } else { v6 }
    }

    /// The action as this subnet has it. Into a peer of whose peering it is no part it sends nothing,
    /// though it has the routes, as in Azure. What GatewaySubnet sends came out of a tunnel: into none
    /// does it go, and a peer that uses the gateway takes it as from a neighbour, which is no matter
    /// of `allowForwardedTraffic`.
    fn here<'x>(&self, action: &'x ActionImage) -> Cow<'x, ActionImage> {
        match action {
            _ if !self.gateway_subnet && self.shut.is_empty() => Cow::Borrowed(action),
            ActionImage::Peering { vnet, .. } if self.shut.contains_key(vnet) => {
                Cow::Owned(ActionImage::None)
            }
            ActionImage::Appliance {
                vnet: Some(vnet),
                address,
                peered: true,
                ..
            } if self.shut.contains_key(vnet) => Cow::Owned(unreachable_appliance(*address)),
            ActionImage::Gateway {
                vnet: Some(vnet),
                peered: true,
                ..
            } if self.shut.contains_key(vnet) => Cow::Owned(NO_GATEWAY),
            _ if !self.gateway_subnet => Cow::Borrowed(action),
            ActionImage::Gateway { .. } => Cow::Owned(NO_GATEWAY),
            ActionImage::Peering { vnet, .. } if self.scope.uses_gateway.contains_key(vnet) => {
                Cow::Owned(ActionImage::Peering {
                    vnet: vnet.clone(),
                    accepts_forwarded: true,
                })
            }
            _ => Cow::Borrowed(action),
        }
    }

    fn full(&self, family: &'static str) -> CompileError {
        let subnet = self.subnet.clone();
        CompileError::TooManyActions {
            subnet,
            family,
            limit: Actions::LIMIT,
        }
    }

    fn out_of_order(&self, route: &Route) -> CompileError {
        CompileError::RoutesOutOfOrder {
            table: self
                .user
                .table
                .map_or_else(|| self.subnet.clone(), |table| table.id.clone()),
            route: route.name.as_ref().to_owned(),
        }
    }
}

/// A table in the making.
struct Merge<'m, 'b, 'a, P> {
    builder: &'m Builder<'b, 'a>,
    routes: Vec<(P, u32)>,
    actions: Actions,
    /// The last user route's next hop and action number: neighbours often share one.
    last: Option<(RouteNextHop, u32)>,
}

impl<P: Family> Merge<'_, '_, '_, P> {
    fn system(&mut self, prefix: P, action: &ActionImage) -> Result<(), CompileError> {
        let number = self.actions.number(&self.builder.here(action));
        let number = number.map_err(|Full| self.builder.full(P::NAME))?;
        self.routes.push((prefix, number));
        Ok(())
    }

    fn user(&mut self, routes: &[Route]) -> Result<(), CompileError> {
        for route in routes {
            let prefix = P::from_net(route.address_prefix);
            let above = |prefix: &P| self.routes.last().is_none_or(|(last, _)| last < prefix);
            let Some(prefix) = prefix.filter(above) else {
                return Err(self.builder.out_of_order(route));
            };
            let number = match self.last {
                Some((hop, number)) if hop == route.next_hop => number,
                _ => self
                    .number(route)
                    .map_err(|Full| self.builder.full(P::NAME))?,
            };
            self.routes.push((prefix, number));
        }
        Ok(())
    }

    fn number(&mut self, route: &Route) -> Result<u32, Full> {
        let Builder { index, scope, .. } = *self.builder;
        let builder = self.builder;
        let action = || builder.here(&scope.user_action(index, route)).into_owned();
        let number = match route.next_hop {
            RouteNextHop::VirtualAppliance(address) => self.actions.appliance(address, action)?,
            // Depends on the prefix, so the next route may not have the same action.
            RouteNextHop::VnetLocal => return self.actions.number(&action()),
            _ => self.actions.number(&action())?,
        };
        self.last = Some((route.next_hop, number));
        Ok(number)
    }
}
