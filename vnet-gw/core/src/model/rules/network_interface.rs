//! Network interfaces: what their ipConfigurations refer to, and who has which address, MAC
//! address and netdev (rules A13, C "Subnets").

use std::{collections::HashSet, net::IpAddr};

use super::{Locations, Networks, check_locations, error, not_found};
use crate::{
    hash::FastMap,
    model::{
        ById, NetworkInterface, ResourceId, Shared, Subnet, VirtualNetwork,
        addresses::Allocator,
        error::Errors,
        prefix::is_reserved,
        read::{IpConfigurationDraft, NetworkInterfaceDraft},
    },
};

/// A subnet that interfaces can be in, and its network.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: usize,
    network: &'a VirtualNetwork,
    /// The network's, where it is written.
    location: Option<&'a str>,
    subnet: &'a Subnet,
}

const MOST_APPLICATION_SECURITY_GROUPS: usize = 20;

/// A sound interface, and where it is.
#[derive(Clone, Copy)]
struct Homed<'a> {
    draft: &'a NetworkInterfaceDraft,
    place: Place<'a>,
}

/// Checks the interfaces, each with its location, then gives out what they do not say: static
/// addresses are taken first, then the dynamic ones are given in their order, then MAC addresses
/// in that of the ids.
pub(super) fn settle(
    drafts: &[(&NetworkInterfaceDraft, Option<&str>)],
    networks: &Networks,
    locations: &Locations<'_>,
    errors: &mut Errors,
) -> ById<Shared<NetworkInterface>> {
    let subnets = networks.values().flat_map(|network| {
        let location = locations.get(&network.id).copied();
        let subnets = network.subnets.values();
        subnets.map(move |subnet| (network, location, subnet))
    });
    let places: FastMap<&ResourceId, Place<'_>> = subnets
        .enumerate()
        .map(|(number, (network, location, subnet))| {
            let place = Place {
                number,
                network,
                location,
                subnet,
            };
            (&subnet.id, place)
        })
        .collect();
    let mut sound: Vec<Homed<'_>> = Vec::with_capacity(drafts.len());
    for (draft, location) in drafts {
        if let Some(place) = place_of(draft, &places, networks, errors) {
            let both = location.zip(place.location);
            check_locations(&draft.id, &place.network.id, both, errors);
            sound.push(Homed { draft, place });
        }
    }
    devices(&sound, errors);
    mac_addresses_differ(&sound, errors);
    let addresses = addresses(&sound, places.len(), errors);
    let settled = sound.iter().zip(addresses).map(|(homed, addresses)| {
        let draft = homed.draft;
        // What a document was given before stands in it, and then it is ready as it was read.
        let interface = match (&draft.ready, addresses) {
            (Some(ready), None) => ready.clone(),
            (_, addresses) => draft.with(&addresses.unwrap_or_default()).into(),
        };
        (draft.id.clone(), interface)
    });
    let mut settled: Vec<(ResourceId, Shared<NetworkInterface>)> = settled.collect();
    if sound.iter().any(|homed| homed.draft.mac_address.is_none()) {
        let written = sound.iter().filter_map(|homed| homed.draft.mac_address);
        let mut macs: HashSet<[u8; 6]> = written.collect();
        // A template's are in its own order.
        settled.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (_, interface) in &mut settled {
            if interface.mac_address == [0; 6] {
                interface.mac_address = draw_mac(&interface.id, &mut macs);
            }
        }
    }
    settled.into_iter().collect()
}

/// The subnet of all the interface's ipConfigurations; `None` where something is wrong with that.
fn place_of<'a>(
    draft: &NetworkInterfaceDraft,
    places: &FastMap<&ResourceId, Place<'a>>,
    networks: &Networks,
    errors: &mut Errors,
) -> Option<Place<'a>> {
    let first = draft.ip_configurations.first()?;
    let Some(place) = places.get(&first.subnet).copied() else {
        let known = networks.values().flat_map(|vnet| vnet.subnets.keys());
        not_found("subnet", &first.subnet, &draft.id, known, errors);
        return None;
    };
    let subnet = place.subnet;
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
    Some(place)
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
    for pair in configurations.windows(2) {
        let [first, second] = pair else { continue };
        if first.application_security_groups != second.application_security_groups {
            let message = format!(
                "The ipConfigurations '{}' and '{}' are in different application security groups: \
                 put all of them into the same.",
                first.name, second.name
            );
            errors.push(error(
                "AllIpConfigurationsOnANicMustBelongToTheSameApplicationSecurityGroups",
                &draft.id,
                message,
            ));
            return false;
        }
    }
    let groups = configurations
        .first()
        .map(|one| one.application_security_groups.len());
    if groups.is_some_and(|count| count > MOST_APPLICATION_SECURITY_GROUPS) {
        let message = format!(
            "It is in {} application security groups, and may be in \
             {MOST_APPLICATION_SECURITY_GROUPS}: take it out of some.",
            groups.unwrap_or_default()
        );
        errors.push(error("ResourceLimitExceeded", &draft.id, message));
        return false;
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
    let mut seen = FastMap::with_capacity_and_hasher(sound.len(), Default::default());
    for Homed { draft, .. } in sound {
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
    let mut seen = FastMap::with_capacity_and_hasher(sound.len(), Default::default());
    for Homed { draft, place } in sound {
        let Some(mac) = draft.mac_address else {
            continue;
        };
        let network = &place.network.id;
        if let Some(other) = seen.insert((network, mac), &draft.id) {
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
fn addresses(sound: &[Homed<'_>], places: usize, errors: &mut Errors) -> Vec<Option<Vec<IpAddr>>> {
    let mut counts = vec![0; places];
    for homed in sound {
        counts[homed.place.number] += homed.draft.ip_configurations.len();
    }
    let mut allocators: Vec<Option<Allocator<'_>>> = (0..places).map(|_| None).collect();
    for Homed { draft, place } in sound {
        let allocator = allocators[place.number].get_or_insert_with(|| {
            Allocator::new(&place.subnet.address_prefixes, counts[place.number])
        });
        for configuration in draft.ip_configurations.iter().filter(|c| c.fixed) {
            take_static(draft, configuration, place.subnet, allocator, errors);
        }
    }
    // An address that an export shows, or that was given before, is kept before new ones are given.
    let mut moved: HashSet<(usize, usize)> = HashSet::new();
    for (number, Homed { draft, place }) in sound.iter().enumerate() {
        for (index, configuration) in draft.ip_configurations.iter().enumerate() {
            let kept = configuration.fixed
                || configuration.address.is_some_and(|address| {
                    let allocator = allocators[place.number].as_mut();
                    allocator.is_some_and(|all| all.take(address, &draft.id).is_ok())
                });
            if !kept {
                moved.insert((number, index));
            }
        }
    }
    let mut all = Vec::with_capacity(sound.len());
    for (number, Homed { draft, place }) in sound.iter().enumerate() {
        let moved = |index| !moved.is_empty() && moved.contains(&(number, index));
        let as_written = draft.ready.is_some() && !(0..draft.ip_configurations.len()).any(moved);
        all.push((!as_written).then(|| {
            let allocator = allocators[place.number].as_mut();
            given(draft, place.subnet, allocator, moved, errors)
        }));
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
    let name = configuration.name.as_str();
    let prefixes = || {
        let all = subnet.address_prefixes.iter();
        all.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (code, message) = match subnet
        .address_prefixes
        .iter()
        .find(|p| p.contains(&address))
    {
        None => (
            "PrivateIPAddressNotInSubnet",
            format!(
                "The address {address} of the ipConfiguration '{name}' is not in the subnet {} \
                 ({}): correct it.",
                subnet.id,
                prefixes()
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
