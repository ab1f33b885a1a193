//! Route tables, and subnets that use them (rules B5, B6, C "Subnets").

use std::sync::Arc;

use super::{Locations, Networks, check_location, error, not_found};
use crate::model::{ById, RouteTable, error::Errors};

/// Orders the routes by prefix: network, then length, IPv4 first. Equal ones are refused.
pub(super) fn sort(table: &mut RouteTable, errors: &mut Errors) {
    table.routes.sort_by_key(|route| route.address_prefix);
    for pair in table.routes.windows(2) {
        let [first, second] = pair else { continue };
        if first.address_prefix == second.address_prefix {
            let message = format!(
                "The routes '{}' and '{}' both have the prefix {}: remove one.",
                first.name, second.name, first.address_prefix
            );
            errors.push(error("RouteAddressPrefixInUse", &table.id, message));
        }
    }
}

pub(super) fn check_subnets(
    networks: &Networks,
    tables: &ById<Arc<RouteTable>>,
    locations: &Locations<'_>,
    errors: &mut Errors,
) {
    for vnet in networks.values() {
        for subnet in vnet.subnets.values() {
            let Some(id) = &subnet.route_table else {
                continue;
            };
            let Some(table) = tables.get(id) else {
                not_found("route table", id, &subnet.id, tables.keys(), errors);
                continue;
            };
            check_location(&table.id, &vnet.id, locations, errors);
            if !subnet.is_gateway_subnet() {
                continue;
            }
            if let Some(route) = table
                .routes
                .iter()
                .find(|r| r.address_prefix.prefix_len() == 0)
            {
                let message = format!(
                    "The route table '{}' has the route '{}' to {}, which GatewaySubnet may not: \
                     use another table there.",
                    table.id.name(),
                    route.name,
                    route.address_prefix,
                );
                errors.push(error(
                    "RouteTableCannotBeAttachedForGatewaySubnet",
                    &subnet.id,
                    message,
                ));
            }
            if table.disable_bgp_route_propagation {
                let message = format!(
                    "The route table '{}' has disableBgpRoutePropagation, which must be off on \
                     GatewaySubnet: use another table there.",
                    table.id.name()
                );
                errors.push(error(
                    "RouteTableCannotBeAttachedForGatewaySubnet",
                    &subnet.id,
                    message,
                ));
            }
        }
    }
}
