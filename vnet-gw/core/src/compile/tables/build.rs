//! The routes of a table: the system's, merged into the user's.

use std::{borrow::Cow, sync::Arc};

use ipnet::IpNet;
use vnet_gw_common::table::Leaf;

use super::{Family, NO_GATEWAY, Scope, unreachable_appliance};
use crate::{
    compile::{
        ActionImage, CompileError, TableImage,
        actions::{Actions, Full},
        index::Index,
    },
    effective::precedence::{self, Standing, UserRoutes},
    hash::FastMap,
    model::{ResourceId, Route, RouteNextHop, Subnet, Topology},
};

/// Builds the two tables of one VNet and route table. `subnet` is the first that has them.
pub(super) struct Builder<'b, 'a> {
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
    pub(super) fn new(
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
    pub(super) fn build<P: Family>(&self) -> Result<TableImage<P>, CompileError> {
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
