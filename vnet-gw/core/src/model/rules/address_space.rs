//! Address spaces and subnets of one virtual network (rules A13, C "Subnets").

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::error;
use crate::model::{
    Subnet, VirtualNetwork,
    error::Errors,
    prefix::{is_ipv4, not_allowed, overlaps},
};

const SMALLEST_IPV4: u8 = 29;
const IPV6_SUBNET: u8 = 64;
const MOST_PREFIXES_OF_A_FAMILY: usize = 4;

pub(super) fn check(vnet: &VirtualNetwork, errors: &mut Errors) {
    space(vnet, errors);
    for subnet in vnet.subnets.values() {
        sizes(subnet, errors);
    }
    inside(vnet, errors);
    apart(vnet, errors);
}

fn space(vnet: &VirtualNetwork, errors: &mut Errors) {
    for prefix in &vnet.address_space {
        if let Some((range, what)) = not_allowed(prefix) {
            let message = format!(
                "The prefix {prefix} of the address space touches {range} ({what}): use another one."
            );
            errors.push(error("NetcfgInvalidIPAddressPrefix", &vnet.id, message));
        }
        if is_ipv4(prefix) && prefix.prefix_len() > SMALLEST_IPV4 {
            let message = format!(
                "The prefix {prefix} of the address space is smaller than /{SMALLEST_IPV4}: use a \
                 larger one."
            );
            errors.push(error("NetcfgInvalidIPAddressPrefix", &vnet.id, message));
        }
    }
    let spaces = vnet
        .address_space
        .iter()
        .enumerate()
        .map(|(index, prefix)| (*prefix, index));
    for ((wider, _), (narrower, _)) in overlaps(spaces) {
        let message = format!(
            "The prefixes {wider} and {narrower} of the address space overlap: remove {narrower}."
        );
        errors.push(error("VnetAddressSpacesOverlap", &vnet.id, message));
    }
}

fn sizes(subnet: &Subnet, errors: &mut Errors) {
    let name = subnet.id.name();
    for prefix in &subnet.address_prefixes {
        let length = prefix.prefix_len();
        let message = match prefix {
            IpNet::V4(_) if length > SMALLEST_IPV4 => format!(
                "The prefix {prefix} of the subnet '{name}' is smaller than /{SMALLEST_IPV4}, and \
                 five of its addresses are reserved: use a larger one."
            ),
            IpNet::V6(_) if length != IPV6_SUBNET => format!(
                "The prefix {prefix} of the subnet '{name}' is not a /{IPV6_SUBNET}, which every \
                 IPv6 subnet is: use one."
            ),
            _ => continue,
        };
        errors.push(error("NetcfgInvalidIPAddressPrefix", &subnet.id, message));
    }
    for (family, ipv4) in [("IPv4", true), ("IPv6", false)] {
        let count = subnet
            .address_prefixes
            .iter()
            .filter(|p| is_ipv4(p) == ipv4)
            .count();
        if count > MOST_PREFIXES_OF_A_FAMILY {
            let message = format!(
                "The subnet '{name}' has {count} {family} prefixes: use {MOST_PREFIXES_OF_A_FAMILY} \
                 at most."
            );
            errors.push(error("NetcfgInvalidSubnet", &subnet.id, message));
        }
    }
    if subnet.is_gateway_subnet() && name != Subnet::GATEWAY_SUBNET {
        let message = format!(
            "The subnet of gateways is named exactly {}: rename '{name}'.",
            Subnet::GATEWAY_SUBNET
        );
        errors.push(error("InvalidResourceName", &subnet.id, message));
    }
}

/// Every prefix of a subnet is within one of the network's.
fn inside(vnet: &VirtualNetwork, errors: &mut Errors) {
    let mut spaces = vnet.address_space.clone();
    spaces.sort_unstable();
    for subnet in vnet.subnets.values() {
        for prefix in &subnet.address_prefixes {
            // The last one that begins no later; spaces that overlap are told elsewhere.
            let before = spaces.partition_point(|space| space <= prefix);
            let within = before > 0 && spaces[before - 1].contains(prefix);
            if !within
                && !spaces
                    .iter()
                    .take(before)
                    .any(|space| space.contains(prefix))
            {
                let spaces: Vec<String> = vnet.address_space.iter().map(IpNet::to_string).collect();
                let message = format!(
                    "Subnet '{}' is not valid in virtual network '{}': {prefix} is outside its \
                     address space {}; move the subnet or extend the address space.",
                    subnet.id.name(),
                    vnet.id.name(),
                    spaces.join(", "),
                );
                errors.push(error("NetcfgInvalidSubnet", &subnet.id, message));
            }
        }
    }
}

fn apart(vnet: &VirtualNetwork, errors: &mut Errors) {
    let subnets: Vec<&Subnet> = vnet.subnets.values().collect();
    let prefixes = subnets
        .iter()
        .enumerate()
        .flat_map(|(index, subnet)| subnet.address_prefixes.iter().map(move |p| (*p, index)));
    let mut told = BTreeSet::new();
    for ((wider, a), (narrower, b)) in overlaps(prefixes) {
        if !told.insert((a.min(b), a.max(b))) {
            continue;
        }
        let message = format!(
            "Subnet '{}' is not valid because its address range {narrower} overlaps with {wider} \
             of the subnet '{}' in virtual network '{}': change one.",
            subnets[b].id.name(),
            subnets[a].id.name(),
            vnet.id.name(),
        );
        errors.push(error("NetcfgSubnetRangesOverlap", &subnets[b].id, message));
    }
}
