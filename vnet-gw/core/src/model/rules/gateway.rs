//! Public addresses and VPN gateways (rules A8, A10, A13, A14, C "VPN gateway").

use std::{collections::HashMap, net::IpAddr};

use super::{Locations, Networks, check_location, error, not_found};
use crate::model::{
    ById, GatewayIpConfiguration, PublicIpAddress, ResourceId, Shared, Subnet, VirtualNetwork,
    VirtualNetworkGateway,
    addresses::Allocator,
    error::Errors,
    id::parent_of,
    prefix::is_reserved,
    read::{GatewayIpConfigurationDraft, VirtualNetworkGatewayDraft},
};

type PublicAddresses = ById<Shared<PublicIpAddress>>;

/// An address of the underlay is there once.
pub(super) fn check_public_addresses(addresses: &PublicAddresses, errors: &mut Errors) {
    let mut seen: HashMap<IpAddr, &ResourceId> = HashMap::new();
    for public in addresses.values() {
        if let Some(other) = seen.insert(public.ip_address, &public.id) {
            let message = format!(
                "The public IP address {other} is {} too: give each its own ipAddress.",
                public.ip_address
            );
            errors.push(error("PublicIPAddressDuplicate", &public.id, message));
        }
    }
}

/// Checks the gateways and gives them their addresses in GatewaySubnet, in the template's order.
pub(super) fn settle(
    drafts: Vec<&VirtualNetworkGatewayDraft>,
    networks: &Networks,
    addresses: &PublicAddresses,
    locations: &Locations<'_>,
    errors: &mut Errors,
) -> ById<Shared<VirtualNetworkGateway>> {
    let mut settled: ById<Shared<VirtualNetworkGateway>> = ById::new();
    let mut of_network: HashMap<ResourceId, ResourceId> = HashMap::new();
    let mut users: HashMap<ResourceId, (ResourceId, String)> = HashMap::new();
    for draft in drafts {
        let Some((network, subnet)) = gateway_subnet(draft, networks, errors) else {
            continue;
        };
        check_location(&draft.id, &network.id, locations, errors);
        if let Some(other) = of_network.insert(network.id.clone(), draft.id.clone()) {
            let message = format!(
                "The virtual network {} has the gateway {other} already, and may have one: remove \
                 one.",
                network.id
            );
            errors.push(error(
                "VirtualNetworkGatewayAlreadyExists",
                &draft.id,
                message,
            ));
            continue;
        }
        let public = public_addresses(draft, addresses, locations, &mut users, errors);
        let private = private_addresses(draft, subnet, errors);
        let (Some(public_addresses), Some(private)) = (public, private) else {
            continue;
        };
        let ip_configurations = draft
            .ip_configurations
            .iter()
            .zip(private)
            .map(
                |(configuration, private_ip_address)| GatewayIpConfiguration {
                    name: configuration.name.clone(),
                    private_ip_address,
                    public_ip_address: configuration.public_ip_address.clone(),
                },
            )
            .collect();
        let gateway = VirtualNetworkGateway {
            virtual_network: network.id.clone(),
            subnet: subnet.id.clone(),
            sku_name: draft.sku_name,
            sku: draft.sku,
            bandwidth: (!draft.unlimited).then(|| draft.sku.bandwidth()),
            ip_configurations,
            public_addresses,
            host: draft.host.clone(),
            tags: draft.tags.clone(),
            id: draft.id.clone(),
        };
        settled.insert(gateway.id.clone(), gateway.into());
    }
    settled
}

/// The GatewaySubnet that all ipConfigurations are in.
fn gateway_subnet<'a>(
    draft: &VirtualNetworkGatewayDraft,
    networks: &'a Networks,
    errors: &mut Errors,
) -> Option<(&'a VirtualNetwork, &'a Subnet)> {
    let first = draft.ip_configurations.first()?;
    let mut names: Vec<String> = Vec::new();
    for configuration in &draft.ip_configurations {
        let name = configuration.name.to_ascii_lowercase();
        if names.contains(&name) {
            let message = format!(
                "Two ipConfigurations have the name '{}': rename one.",
                configuration.name
            );
            errors.push(error("DuplicateResourceName", &draft.id, message));
            return None;
        }
        names.push(name);
        if configuration.subnet != first.subnet {
            let message = format!(
                "The ipConfigurations '{}' and '{}' are in the subnets {} and {}: a gateway is in \
                 one GatewaySubnet.",
                first.name, configuration.name, first.subnet, configuration.subnet,
            );
            errors.push(error(
                "GatewayIpConfigurationsCannotUseDifferentSubnets",
                &draft.id,
                message,
            ));
            return None;
        }
    }
    let id = &first.subnet;
    let network = networks.get(&parent_of(id)).map(|network| &**network);
    let Some((network, subnet)) = network.and_then(|n| Some((n, n.subnets.get(id)?))) else {
        let known = networks.values().flat_map(|vnet| vnet.subnets.keys());
        not_found("subnet", id, &draft.id, known, errors);
        return None;
    };
    if !subnet.is_gateway_subnet() {
        let message = format!(
            "A gateway is in the subnet named {} of its virtual network, not in {id}: add that \
             subnet (a /27 is a good size).",
            Subnet::GATEWAY_SUBNET
        );
        errors.push(error("GatewaySubnetRequired", &draft.id, message));
        return None;
    }
    Some((network, subnet))
}

/// Each ipConfiguration's public address, which nobody else uses.
fn public_addresses(
    draft: &VirtualNetworkGatewayDraft,
    addresses: &PublicAddresses,
    locations: &Locations<'_>,
    users: &mut HashMap<ResourceId, (ResourceId, String)>,
    errors: &mut Errors,
) -> Option<Vec<IpAddr>> {
    let mut found = Vec::with_capacity(draft.ip_configurations.len());
    for configuration in &draft.ip_configurations {
        let id = &configuration.public_ip_address;
        let Some(public) = addresses.get(id) else {
            let known = addresses.keys();
            not_found("public IP address", id, &draft.id, known, errors);
            continue;
        };
        check_location(&public.id, &draft.id, locations, errors);
        let me = (draft.id.clone(), configuration.name.clone());
        if let Some((other, name)) = users.insert(id.clone(), me) {
            let message = format!(
                "The public IP address {id} is that of the ipConfiguration '{name}' of {other} \
                 already: give '{}' another.",
                configuration.name
            );
            errors.push(error("PublicIPAddressInUse", &draft.id, message));
            continue;
        }
        found.push(public.ip_address);
    }
    (found.len() == draft.ip_configurations.len()).then_some(found)
}

/// Each ipConfiguration's address in GatewaySubnet. The subnet is the gateway's alone, so nobody
/// else's are in the way.
fn private_addresses(
    draft: &VirtualNetworkGatewayDraft,
    subnet: &Subnet,
    errors: &mut Errors,
) -> Option<Vec<IpAddr>> {
    let mut allocator = Allocator::new(&subnet.address_prefixes, 2);
    let mut given: Vec<Option<IpAddr>> = vec![None; draft.ip_configurations.len()];
    // Those that are fixed first, then those that an export shows, then new ones.
    for fixed in [true, false] {
        for (configuration, given) in draft.ip_configurations.iter().zip(&mut given) {
            let Some(address) = configuration
                .address
                .filter(|_| configuration.fixed == fixed)
            else {
                continue;
            };
            match allocator.take(address, &draft.id) {
                Ok(()) => *given = Some(address),
                Err(_) if !fixed => {}
                Err(_) => {
                    errors.push(refused(draft, configuration, address, subnet));
                    return None;
                }
            }
        }
    }
    let all = given.into_iter().map(|address| {
        address
            .or_else(|| allocator.lowest_free(false, &draft.id))
            .or_else(|| allocator.lowest_free(true, &draft.id))
    });
    let all: Option<Vec<IpAddr>> = all.collect();
    if all.is_none() {
        let message = format!(
            "The subnet {} has no address left for each ipConfiguration: enlarge it.",
            subnet.id
        );
        errors.push(error("SubnetIsFull", &draft.id, message));
    }
    all
}

fn refused(
    draft: &VirtualNetworkGatewayDraft,
    configuration: &GatewayIpConfigurationDraft,
    address: IpAddr,
    subnet: &Subnet,
) -> crate::model::ArmError {
    let name = &configuration.name;
    let within = subnet
        .address_prefixes
        .iter()
        .find(|p| p.contains(&address));
    let (code, why) = match within {
        None => ("PrivateIPAddressNotInSubnet", "is not in GatewaySubnet"),
        Some(prefix) if is_reserved(prefix, address) => (
            "PrivateIPAddressInReservedRange",
            "is one that Azure reserves (the first four, and of IPv4 the last)",
        ),
        Some(_) => (
            "PrivateIPAddressInUse",
            "is that of the other ipConfiguration",
        ),
    };
    let message =
        format!("The address {address} of the ipConfiguration '{name}' {why}: use another.");
    error(code, &draft.id, message)
}
