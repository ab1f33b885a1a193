//! Effective routes: which routes a subnet has and which of them packets take, as a pure function
//! of the resources (`azure-semantics.md`, sections B and C).
//!
//! [`effective_routes`] yields the rows of Azure's `effectiveRouteTable`; [`explain`] says for one
//! destination which row won, why every other one lost and where the packet ends up; [`next_hop`]
//! is Network Watcher's short form of it. The decision itself is [`precedence::decide`], with the
//! worked table of precedence above it; `crate::compile` builds the data path's tables on it.

mod appliance;
mod explain;
mod explanation;
pub mod precedence;
mod row;
#[cfg(test)]
pub(crate) mod tests;

pub use appliance::{Appliance, resolve as resolve_appliance};
pub use explain::{explain, next_hop};
pub use explanation::{
    Delivery, Explanation, Other, OtherState, Taker, Winner, is_private, is_routable,
};
pub use row::*;

use precedence::{Candidate, Origin, Standing, UserRoutes};
use thiserror::Error;

use crate::model::{ResourceId, Route, RouteNextHop, Topology, VirtualNetwork};

/// The question names something that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EffectiveError {
    #[error("no subnet {0}; give VNET/SUBNET as in the configuration")]
    UnknownSubnet(ResourceId),
    #[error("no networkInterface {0}; give its name as in the configuration")]
    UnknownNetworkInterface(ResourceId),
    #[error("no connection {0}; give its name as in the configuration")]
    UnknownConnection(ResourceId),
}

/// The rows of `subnet`: the VNet's prefixes, peerings, gateway routes, the default routes, reserved ones, then
/// the user's in the order of their prefixes. Withdrawn routes are not listed.
pub fn effective_routes(
    topology: &Topology,
    subnet: &ResourceId,
) -> Result<Vec<EffectiveRoute>, EffectiveError> {
    Ok(SubnetRoutes::new(topology, subnet)?.rows())
}

/// The rows of the NIC `nic`: those of its primary ipConfiguration's subnet.
pub fn effective_routes_of_nic(
    topology: &Topology,
    nic: &ResourceId,
) -> Result<Vec<EffectiveRoute>, EffectiveError> {
    effective_routes(topology, subnet_of_nic(topology, nic)?)
}

/// The subnet whose routes the NIC uses.
pub fn subnet_of_nic<'a>(
    topology: &'a Topology,
    nic: &ResourceId,
) -> Result<&'a ResourceId, EffectiveError> {
    topology
        .network_interfaces
        .get(nic)
        .and_then(|nic| nic.ip_configurations.first())
        .map(|config| &config.subnet)
        .ok_or_else(|| EffectiveError::UnknownNetworkInterface(nic.clone()))
}

/// All routes of one subnet, decided between.
struct SubnetRoutes<'a> {
    vnet: &'a VirtualNetwork,
    user: UserRoutes<'a>,
    candidates: Vec<Candidate<'a>>,
    /// Of each candidate.
    standings: Vec<Standing>,
}

impl<'a> SubnetRoutes<'a> {
    fn new(topology: &'a Topology, id: &ResourceId) -> Result<Self, EffectiveError> {
        let unknown = || EffectiveError::UnknownSubnet(id.clone());
        let vnet = topology.vnet_of_subnet(id).ok_or_else(unknown)?;
        let subnet = vnet.subnets.get(id).ok_or_else(unknown)?;
        let user = UserRoutes::of(topology, subnet.route_table.as_ref());
        Ok(Self::decided(
            vnet,
            user,
            precedence::candidates(topology, vnet),
        ))
    }

    fn decided(
        vnet: &'a VirtualNetwork,
        user: UserRoutes<'a>,
        candidates: Vec<Candidate<'a>>,
    ) -> Self {
        let standings = precedence::decide(&candidates, user);
        Self {
            vnet,
            user,
            candidates,
            standings,
        }
    }

    fn rows(&self) -> Vec<EffectiveRoute> {
        let mut system: Vec<_> = self
            .candidates
            .iter()
            .zip(&self.standings)
            .filter_map(|(candidate, standing)| {
                let state = match standing {
                    Standing::Active => RouteState::Active,
                    Standing::Invalid(_) => RouteState::Invalid,
                    Standing::Withdrawn(_) => return None,
                };
                Some((candidate, state))
            })
            .collect();
        // Stable: within a kind they stay ordered by prefix.
        system.sort_by_key(|(candidate, _)| candidate.origin.rank());
        let system = system
            .into_iter()
            .map(|(candidate, state)| self.system_row(candidate, state));
        system
            .chain(self.user.routes().iter().map(|route| self.user_row(route)))
            .collect()
    }

    fn system_row(&self, candidate: &Candidate<'_>, state: RouteState) -> EffectiveRoute {
        EffectiveRoute {
            name: None,
            disable_bgp_route_propagation: self.user.disable_bgp_route_propagation(),
            source: candidate.origin.source(),
            state,
            address_prefix: vec![candidate.prefix],
            next_hop_ip_address: match candidate.origin {
                Origin::Gateway { addresses, .. } => addresses.to_vec(),
                _ => Vec::new(),
            },
            next_hop_type: candidate.origin.next_hop_type(),
        }
    }

    fn user_row(&self, route: &Route) -> EffectiveRoute {
        EffectiveRoute {
            name: Some(route.name.as_ref().to_owned()),
            disable_bgp_route_propagation: self.user.disable_bgp_route_propagation(),
            source: RouteSource::User,
            state: RouteState::Active,
            address_prefix: vec![route.address_prefix],
            next_hop_ip_address: match route.next_hop {
                RouteNextHop::VirtualAppliance(address) => vec![address],
                _ => Vec::new(),
            },
            next_hop_type: route.next_hop.into(),
        }
    }
}
