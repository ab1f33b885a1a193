//! Peerings (rules A12, A19 to A24, C "Peering").

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Networks, error, not_found};
use crate::{
    hash::FastMap,
    model::{
        ById, GatewaySku, PeeringState, ResourceId, Shared, SubnetPeering, VirtualNetwork,
        VirtualNetworkGateway, VirtualNetworkPeering, error::Errors, peered, prefix::overlaps,
        read::VirtualNetworkDraft, transit,
    },
};
use ipnet::IpNet;

type Gateways = ById<Shared<VirtualNetworkGateway>>;

/// Gateways by their networks.
type WithGateway<'a> = FastMap<&'a ResourceId, &'a VirtualNetworkGateway>;

const MOST_PEERINGS: usize = 500;
/// Of each side of a peering of subnets.
const MOST_SUBNETS: usize = 200;

/// What the peerings of one network say by themselves.
pub(super) fn check_own(vnet: &VirtualNetwork, errors: &mut Errors) {
    if vnet.peerings.len() > MOST_PEERINGS {
        let message = format!(
            "The virtual network has {} peerings: {MOST_PEERINGS} at most are allowed.",
            vnet.peerings.len()
        );
        errors.push(error("VnetPeeringLimitExceeded", &vnet.id, message));
    }
    let mut seen: HashMap<&ResourceId, &ResourceId> = HashMap::new();
    for peering in vnet.peerings.values() {
        let remote = &peering.remote_virtual_network;
        if *remote == vnet.id {
            let message = "A virtual network cannot be peered with itself: correct \
                           remoteVirtualNetwork.";
            errors.push(error(
                "VnetCannotBePeeredWithItself",
                &peering.id,
                message.to_owned(),
            ));
        }
        own_subnets(vnet, peering, errors);
        if let Some(other) = seen.insert(remote, &peering.id) {
            let message = format!(
                "Cannot create peering '{}': '{}' already references the remote virtual network \
                 {remote}; remove one.",
                peering.id.name(),
                other.name(),
            );
            errors.push(error(
                "AnotherPeeringAlreadyReferencesRemoteVnet",
                &peering.id,
                message,
            ));
        }
    }
    let mut users = vnet
        .peerings
        .values()
        .filter(|peering| peering.use_remote_gateways);
    if let (Some(first), Some(second)) = (users.next(), users.next()) {
        let message = format!(
            "The peering '{}' of '{}' already uses remote gateways, and one at most may: set \
             useRemoteGateways to false here.",
            first.id.name(),
            vnet.id.name()
        );
        errors.push(error(
            "OnlyOnePeeringCanUseRemoteGateways",
            &second.id,
            message,
        ));
    }
}

/// The subnets of this network that a peering of subnets names are there, and not too many.
fn own_subnets(vnet: &VirtualNetwork, peering: &VirtualNetworkPeering, errors: &mut Errors) {
    let Some(subnets) = &peering.subnets else {
        return;
    };
    let most = subnets.local.len().max(subnets.remote.len());
    if most > MOST_SUBNETS {
        let message = format!(
            "The peering names {most} subnets of one side: {MOST_SUBNETS} at most are allowed."
        );
        errors.push(error("PeeringSubnetLimitExceeded", &peering.id, message));
    }
    for id in &subnets.local {
        if !vnet.subnets.contains_key(id) {
            not_found("subnet", id, &peering.id, vnet.subnets.keys(), errors);
        }
    }
}

/// Both sides are of one kind, and the subnets of the other side that are named are there. Those
/// that went since the last synchronisation are no error: nothing leads to them after the next.
fn remote_subnets(
    draft: &VirtualNetworkDraft,
    vnet: &VirtualNetwork,
    networks: &Networks,
    errors: &mut Errors,
) {
    for peering in vnet.peerings.values() {
        let Some(remote) = networks.get(&peering.remote_virtual_network) else {
            continue;
        };
        let back = transit::peering(remote, &vnet.id);
        // Once a pair.
        let pair = back.filter(|back| {
            peering.subnets.is_some() && back.subnets.is_none() && is_live(peering) && is_live(back)
        });
        if let Some(back) = pair {
            let message = format!(
                "The peering {} is of subnets, and its other side {} of the complete virtual \
                 networks: set peerCompleteVnets of both to the same.",
                peering.id, back.id
            );
            errors.push(error("PeerCompleteVnetsDiffers", &peering.id, message));
        }
        if draft.memory.contains_key(&peering.id) {
            continue;
        }
        for id in peering.subnets.iter().flat_map(|subnets| &subnets.remote) {
            if !remote.subnets.contains_key(id) {
                not_found("subnet", id, &peering.id, remote.subnets.keys(), errors);
            }
        }
    }
}

/// Over one that is disconnected nothing is forwarded any more.
fn is_live(side: &VirtualNetworkPeering) -> bool {
    side.peering_state != PeeringState::Disconnected
}

/// What they say of others; their states are settled.
pub(super) fn check(
    drafts: &[&VirtualNetworkDraft],
    networks: &Networks,
    gateways: &Gateways,
    errors: &mut Errors,
) {
    let mut told = BTreeSet::new();
    let with_gateway = gateways.values().map(|gateway| &**gateway);
    let with_gateway: WithGateway<'_> = with_gateway
        .map(|gateway| (&gateway.virtual_network, gateway))
        .collect();
    for draft in drafts {
        // As it is in `networks`, with what was settled.
        let Some(vnet) = networks.get(&draft.network.id) else {
            continue;
        };
        remotes(draft, networks, errors);
        remote_subnets(draft, vnet, networks, errors);
        transits(draft, vnet, networks, &with_gateway, errors);
        overlapping(vnet, networks, &mut told, errors);
    }
}

/// Each remote network is there. A template is all there is of its resource group; a network
/// elsewhere is somebody else's to describe, and the peering waits for it. Of documents all are
/// known, and a peering that was settled outlives its remote network.
fn remotes(draft: &VirtualNetworkDraft, networks: &Networks, errors: &mut Errors) {
    for peering in draft.network.peerings.values() {
        let remote = &peering.remote_virtual_network;
        let awaited = draft.memory.contains_key(&peering.id) || draft.waits_for(remote);
        if !awaited && !networks.contains_key(remote) {
            let known = networks.keys();
            not_found("virtual network", remote, &peering.id, known, errors);
        }
    }
}

/// Gateway transit (A24): who uses the gateway of another network has none, and the other has one
/// that it shares. Over a peering that is disconnected nobody uses anything.
fn transits(
    draft: &VirtualNetworkDraft,
    vnet: &VirtualNetwork,
    networks: &Networks,
    with_gateway: &WithGateway<'_>,
    errors: &mut Errors,
) {
    let users = vnet.peerings.values();
    for peering in users.filter(|side| side.use_remote_gateways && is_live(side)) {
        let remote = &peering.remote_virtual_network;
        let mut refuse = |code: &str, message| errors.push(error(code, &peering.id, message));
        if let Some(own) = with_gateway.get(&vnet.id) {
            let message = format!(
                "The peering {} cannot have useRemoteGateways set to true, because its virtual \
                 network has the gateway {}: delete that, or set useRemoteGateways to false.",
                peering.id, own.id
            );
            refuse("LocalVnetHasGateways", message);
        }
        let network = networks.get(remote);
        let back = network.and_then(|network| transit::peering(network, &vnet.id));
        if let Some(back) = back.filter(|back| is_live(back) && !back.allow_gateway_transit) {
            let message = format!(
                "The peering {} cannot have useRemoteGateways set to true, because the corresponding \
                 remote peering {} has allowGatewayTransit set to false: set that to true first, or \
                 set useRemoteGateways to false.",
                peering.id, back.id
            );
            refuse("RemotePeeringDoesNotAllowGatewayTransit", message);
        }
        match with_gateway.get(remote) {
            Some(gateway) if gateway.sku == GatewaySku::Basic => {
                let message = format!(
                    "The peering {} cannot use the gateway {}, because the SKU Basic has no gateway \
                     transit: use a larger SKU, or set useRemoteGateways to false.",
                    peering.id, gateway.id
                );
                refuse("GatewaySkuDoesNotSupportGatewayTransit", message);
            }
            Some(_) => {}
            None if draft.unverified_gateways.contains(&peering.id) => {}
            // Somebody else's to describe, with its gateway.
            None if network.is_none() && draft.waits_for(remote) => {}
            None => {
                let message = format!(
                    "The peering {} cannot have useRemoteGateways set to true, because the remote \
                     virtual network {remote} does not have any gateways: create one first, or set \
                     useRemoteGateways to false.",
                    peering.id
                );
                refuse("RemoteVnetHasNoGateways", message);
            }
        }
    }
}

/// Subnets that are peered are in prefixes of the address space that the other network has nothing
/// of; of both, the rest may overlap.
fn unique_spaces<'a>(
    vnet: &'a VirtualNetwork,
    remote: &'a VirtualNetwork,
    peering: &VirtualNetworkPeering,
    subnets: &SubnetPeering,
    told: &mut BTreeSet<(&'a ResourceId, &'a ResourceId)>,
    errors: &mut Errors,
) {
    let spaces = |network: &VirtualNetwork, named: &[ResourceId]| -> BTreeSet<IpNet> {
        let named = named.iter().filter_map(|id| network.subnets.get(id));
        let prefixes = named.flat_map(|subnet| &subnet.address_prefixes);
        let prefixes = prefixes.filter(|p| !subnets.only_ipv6 || matches!(p, IpNet::V6(_)));
        let prefixes: Vec<&IpNet> = prefixes.collect();
        let all = network.address_space.iter();
        let taking_part = all.filter(|space| prefixes.iter().any(|prefix| space.contains(*prefix)));
        taking_part.copied().collect()
    };
    let mut both = BTreeSet::new();
    for (network, named, other) in [
        (vnet, &subnets.local, remote),
        (remote, &subnets.remote, vnet),
    ] {
        for space in spaces(network, named) {
            let others = other.address_space.iter();
            both.extend(
                others
                    .filter(|other| space.contains(*other) || other.contains(&space))
                    .map(|other| format!("{space} and {other}")),
            );
        }
    }
    let pair = (
        Ord::min(&vnet.id, &remote.id),
        Ord::max(&vnet.id, &remote.id),
    );
    if both.is_empty() || !told.insert(pair) {
        return;
    }
    let both: Vec<String> = both.into_iter().collect();
    let message = format!(
        "Subnets of the virtual networks {} and {} cannot be peered, because address spaces that \
         they are in overlap ({}): peer subnets of others, or change one.",
        vnet.id,
        remote.id,
        both.join(", ")
    );
    errors.push(error("VnetAddressSpacesOverlap", &peering.id, message));
}

/// The address spaces of a network and all its peers are apart: its routes lead to one of them.
fn overlapping<'a>(
    vnet: &'a VirtualNetwork,
    networks: &'a Networks,
    told: &mut BTreeSet<(&'a ResourceId, &'a ResourceId)>,
    errors: &mut Errors,
) {
    let mut peers: BTreeMap<&ResourceId, &VirtualNetworkPeering> = BTreeMap::new();
    for peering in vnet.peerings.values() {
        if is_live(peering) && peering.remote_virtual_network != vnet.id {
            peers
                .entry(&peering.remote_virtual_network)
                .or_insert(peering);
        }
    }
    if peers.is_empty() {
        return;
    }
    let mut members: Vec<&VirtualNetwork> = vec![vnet];
    let mut prefixes: Vec<(IpNet, usize)> = Vec::new();
    prefixes.extend(vnet.address_space.iter().map(|prefix| (*prefix, 0)));
    for (id, peering) in &peers {
        let Some(remote) = networks.get(*id).map(|remote| &**remote) else {
            continue;
        };
        if let Some(subnets) = &peering.subnets {
            unique_spaces(vnet, remote, peering, subnets, told, errors);
        }
        let now = peered::offered(peering, transit::peering(remote, &vnet.id), remote);
        // With what the peering leads to until it is synchronised.
        let routed = peering.remote_address_space.iter();
        let late = routed.filter(|prefix| !now.contains(prefix));
        let all = now.iter().chain(late);
        prefixes.extend(all.map(|prefix| (*prefix, members.len())));
        members.push(remote);
    }
    let mut pairs: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    for ((wider, a), (narrower, b)) in overlaps(prefixes) {
        if a != b {
            let both = if wider == narrower {
                wider.to_string()
            } else {
                format!("{wider} and {narrower}")
            };
            pairs.entry((a.min(b), a.max(b))).or_default().push(both);
        }
    }
    for ((a, b), prefixes) in pairs {
        let (first, second) = (members[a], members[b]);
        let peering = peers.get(&second.id);
        if a == 0 && peering.is_some_and(|peering| peering.subnets.is_some()) {
            // The rule of peerings of subnets says more.
            continue;
        }
        let peering = peering.map_or(&vnet.id, |peering| &peering.id);
        let prefixes = prefixes.join(", ");
        if a == 0 {
            // The peering back says the same.
            let pair = (
                Ord::min(&first.id, &second.id),
                Ord::max(&first.id, &second.id),
            );
            if told.insert(pair) {
                let message = format!(
                    "Virtual networks {} and {} cannot be peered because their address spaces \
                     overlap ({prefixes}): change one, or remove the peering.",
                    first.id, second.id,
                );
                errors.push(error("VnetAddressSpacesOverlap", peering, message));
            }
        } else {
            let message = format!(
                "Virtual networks {} and {} cannot be peered because the address space of the \
                 second overlaps with that of {}, which the first is peered with already \
                 ({prefixes}): change one, or remove a peering.",
                vnet.id, second.id, first.id,
            );
            errors.push(error(
                "VnetAddressSpaceOverlapsWithAlreadyPeeredVnet",
                peering,
                message,
            ));
        }
    }
}
