//! Network interfaces: what their ipConfigurations refer to, and who has which address, MAC
//! address and netdev (rules A13, C "Subnets").

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use super::{Locations, Networks, check_location, error, not_found};
use crate::{
    hash::FastMap,
    model::{
        NetworkInterface, ResourceId, Shared, Subnet, VirtualNetwork,
        addresses::Allocator,
        error::Errors,
        prefix::is_reserved,
        read::{IpConfigurationDraft, NetworkInterfaceDraft},
    },
};

/// A sound interface and its subnet.
type Homed<'a> = (&'a NetworkInterfaceDraft, &'a Subnet);

/// Checks the interfaces, then gives out what they do not say: static addresses are taken first,
/// then the dynamic ones are given in their order, then MAC addresses in that of the ids.
pub(super) fn settle(
    drafts: &[&NetworkInterfaceDraft],
    networks: &Networks,
    locations: &Locations<'_>,
    errors: &mut Errors,
) -> BTreeMap<ResourceId, Shared<NetworkInterface>> {
    let mut sound: Vec<Homed<'_>> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        if let Some((network, subnet)) = subnet_of(draft, networks, errors) {
            check_location(&draft.id, &network.id, locations, errors);
            sound.push((draft, subnet));
        }
    }
    devices(&sound, errors);
    mac_addresses_differ(&sound, errors);
    let addresses = addresses(&sound, errors);
    let mut macs: HashSet<[u8; 6]> = sound.iter().filter_map(|(d, _)| d.mac_address).collect();
    let settled = sound.iter().zip(addresses).map(|((draft, _), addresses)| {
        // What a document was given before stands in it, and then it is ready as it was read.
        let ready = draft.ready.as_ref();
        let interface = match (ready, addresses) {
            (Some(ready), None) => ready.clone(),
            (_, addresses) => draft.with(&addresses.unwrap_or_default()).into(),
        };
        (draft.id.clone(), interface)
    });
    let mut settled: BTreeMap<_, _> = settled.collect();
    for interface in settled.values_mut() {
        if interface.mac_address == [0; 6] {
            interface.mac_address = draw_mac(&interface.id, &mut macs);
        }
    }
    settled
}

/// The subnet of all the interface's ipConfigurations; `None` where something is wrong with that.
fn subnet_of<'a>(
    draft: &NetworkInterfaceDraft,
    networks: &'a Networks,
    errors: &mut Errors,
) -> Option<(&'a VirtualNetwork, &'a Subnet)> {
    let first = draft.ip_configurations.first()?;
    let home = networks.get(&draft.network).and_then(|network| {
        let subnet = network.subnets.get(&first.subnet)?;
        Some((&**network, subnet))
    });
    let (network, subnet) = match home {
        Some(home) => home,
        None => {
            let known = networks.values().flat_map(|vnet| vnet.subnets.keys());
            not_found("subnet", &first.subnet, &draft.id, known, errors);
            return None;
        }
    };
    for configuration in &draft.ip_configurations {
        let id = &configuration.subnet;
        if *id != first.subnet {
            let message = format!(
                "The ipConfigurations '{}' and '{}' of the network interface are in the subnets {} \
                 and {id}: use one.",
                first.name, configuration.name, first.subnet,
            );
            errors.push(error(
                "IpConfigurationsOnSameNicCannotUseDifferentSubnets",
                &draft.id,
                message,
            ));
            return None;
        }
        let has_family = subnet
            .address_prefixes
            .iter()
            .any(|prefix| matches!(prefix, ipnet::IpNet::V6(_)) == configuration.ipv6);
        if !has_family {
            let family = if configuration.ipv6 { "IPv6" } else { "IPv4" };
            let message = format!(
                "The ipConfiguration '{}' is {family}, and the subnet {id} has no {family} prefix: \
                 add one.",
                configuration.name
            );
            errors.push(error(
                "SubnetHasNoPrefixOfAddressFamily",
                &draft.id,
                message,
            ));
            return None;
        }
    }
    if subnet.is_gateway_subnet() {
        let message = format!(
            "{} is dedicated to gateways: put the network interface into another subnet.",
            subnet.id
        );
        errors.push(error(
            "GatewaySubnetCannotBeUsedForOtherResources",
            &draft.id,
            message,
        ));
        return None;
    }
    Some((network, subnet))
}

/// What can be said of an interface alone; whether it is sound. Its primary ipConfiguration comes
/// to the front: the one that says so, else the first of IPv4.
pub(super) fn check_own(draft: &mut NetworkInterfaceDraft, errors: &mut Errors) -> bool {
    let configurations = &mut draft.ip_configurations;
    let mut names = HashSet::new();
    for configuration in configurations.iter() {
        if !names.insert(configuration.name.to_ascii_lowercase()) {
            let message = format!(
                "Two ipConfigurations have the name '{}': rename one.",
                configuration.name
            );
            errors.push(error("DuplicateResourceName", &draft.id, message));
            return false;
        }
    }
    let said: Vec<usize> = (0..configurations.len())
        .filter(|index| configurations[*index].primary == Some(true))
        .collect();
    let first_ipv4 = configurations
        .iter()
        .position(|configuration| !configuration.ipv6);
    let (code, message) = match (said.as_slice(), first_ipv4) {
        (_, None) => (
            "NetworkInterfaceMustHaveIPv4IpConfiguration",
            "A network interface needs an IPv4 ipConfiguration, IPv6 alone is not allowed: add one."
                .to_owned(),
        ),
        ([index], _) if configurations[*index].ipv6 => (
            "IPv6IpConfigurationCannotBePrimary",
            format!(
                "The IPv6 ipConfiguration '{}' cannot be primary: make an IPv4 one primary.",
                configurations[*index].name
            ),
        ),
        ([], Some(index)) | (&[index], _) => {
            configurations[..=index].rotate_right(1);
            draft.prepare();
            return true;
        }
        _ => (
            "MultiplePrimaryIpConfigurations",
            "More than one ipConfiguration is primary: leave one.".to_owned(),
        ),
    };
    errors.push(error(code, &draft.id, message));
    false
}

/// A netdev is the host side of one interface.
fn devices(sound: &[Homed<'_>], errors: &mut Errors) {
    let mut seen = HashMap::new();
    for (draft, _) in sound {
        let Some(device) = draft.device.as_deref() else {
            continue;
        };
        if let Some(other) = seen.insert((draft.host.as_deref(), device), &draft.id) {
            let message = format!(
                "The network interface {other} has the device '{device}' on the same host: give \
                 each its own in the tag vnet-gw:device."
            );
            errors.push(error("DeviceInUse", &draft.id, message));
        }
    }
}

fn mac_addresses_differ(sound: &[Homed<'_>], errors: &mut Errors) {
    let mut seen = HashMap::new();
    for (draft, _) in sound {
        let Some(mac) = draft.mac_address else {
            continue;
        };
        if let Some(other) = seen.insert((&draft.network, mac), &draft.id) {
            let message = format!(
                "The network interface {other} of the same virtual network has this macAddress too: \
                 change one, or leave it out."
            );
            errors.push(error("MacAddressInUse", &draft.id, message));
        }
    }
}

/// The addresses of every ipConfiguration, in its order; nothing where they are those that are
/// written.
fn addresses(sound: &[Homed<'_>], errors: &mut Errors) -> Vec<Option<Vec<IpAddr>>> {
    let mut allocators: FastMap<&str, Allocator<'_>> = FastMap::default();
    for (draft, subnet) in sound {
        let allocator = allocators
            .entry(subnet.id.key())
            .or_insert_with(|| Allocator::new(&subnet.address_prefixes));
        for configuration in draft.ip_configurations.iter().filter(|c| c.fixed) {
            take_static(draft, configuration, subnet, allocator, errors);
        }
    }
    // An address that an export shows, or that was given before, is kept before new ones are given.
    let mut moved: HashSet<(usize, usize)> = HashSet::new();
    for (number, (draft, subnet)) in sound.iter().enumerate() {
        for (index, configuration) in draft.ip_configurations.iter().enumerate() {
            if configuration.fixed {
                continue;
            }
            let kept = configuration.address.is_some_and(|address| {
                let allocator = allocators.get_mut(subnet.id.key());
                allocator.is_some_and(|all| all.take(address, &draft.id).is_ok())
            });
            if !kept {
                moved.insert((number, index));
            }
        }
    }
    let mut all = Vec::with_capacity(sound.len());
    for (number, (draft, subnet)) in sound.iter().enumerate() {
        let count = draft.ip_configurations.len();
        if !moved.is_empty() && (0..count).any(|index| moved.contains(&(number, index)))
            || draft.ready.is_none()
        {
            let allocator = allocators.get_mut(subnet.id.key());
            all.push(Some(given(
                draft,
                subnet,
                allocator,
                |index| moved.contains(&(number, index)),
                errors,
            )));
        } else {
            all.push(None);
        }
    }
    all
}

/// The addresses of one interface, new ones where its own are not to be had.
fn given<'a>(
    draft: &'a NetworkInterfaceDraft,
    subnet: &Subnet,
    mut allocator: Option<&mut Allocator<'a>>,
    moved: impl Fn(usize) -> bool,
    errors: &mut Errors,
) -> Vec<IpAddr> {
    let mut own = Vec::with_capacity(draft.ip_configurations.len());
    for (index, configuration) in draft.ip_configurations.iter().enumerate() {
        let known = configuration.address.filter(|_| !moved(index));
        let given = known.or_else(|| {
            let allocator = allocator.as_mut()?;
            allocator.lowest_free(configuration.ipv6, &draft.id)
        });
        match given {
            Some(address) => own.push(address),
            None => {
                let message = format!(
                    "The subnet {} has no free address left for the ipConfiguration '{}': \
                     enlarge the subnet.",
                    subnet.id, configuration.name,
                );
                errors.push(error("SubnetIsFull", &draft.id, message));
            }
        }
    }
    own
}

fn take_static<'a>(
    draft: &'a NetworkInterfaceDraft,
    configuration: &IpConfigurationDraft,
    subnet: &Subnet,
    allocator: &mut Allocator<'a>,
    errors: &mut Errors,
) {
    let Some(address) = configuration.address else {
        return;
    };
    let prefixes: Vec<String> = subnet
        .address_prefixes
        .iter()
        .map(ToString::to_string)
        .collect();
    let (prefixes, name) = (prefixes.join(", "), configuration.name.as_str());
    let (code, message) = match subnet
        .address_prefixes
        .iter()
        .find(|p| p.contains(&address))
    {
        None => (
            "PrivateIPAddressNotInSubnet",
            format!(
                "The address {address} of the ipConfiguration '{name}' is not in the subnet {} \
                 ({prefixes}): correct it.",
                subnet.id
            ),
        ),
        Some(prefix) if is_reserved(prefix, address) => (
            "PrivateIPAddressInReservedRange",
            format!(
                "The address {address} of the ipConfiguration '{name}' is one that Azure reserves \
                 in {prefix} (the first four, and of IPv4 the last): use another."
            ),
        ),
        Some(_) => match allocator.take(address, &draft.id) {
            Ok(()) => return,
            Err(other) => (
                "PrivateIPAddressInUse",
                format!(
                    "The address {address} of the ipConfiguration '{name}' is in use by {}: use \
                     another.",
                    other.map_or("somebody else", ResourceId::as_str)
                ),
            ),
        },
    };
    errors.push(error(code, &draft.id, message));
}

/// Azure's OUI and three bytes of the id's hash, drawn again while somebody has them.
fn draw_mac(id: &ResourceId, taken: &mut HashSet<[u8; 6]>) -> [u8; 6] {
    let mut hash = id.stable_hash();
    loop {
        let [a, b, c, ..] = hash.to_be_bytes();
        let mac = [0x00, 0x0d, 0x3a, a, b, c];
        if taken.insert(mac) {
            return mac;
        }
        // Any full-period step reaches every value.
        hash = hash
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
}
