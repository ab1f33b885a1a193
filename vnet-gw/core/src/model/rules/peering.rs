//! Peerings (rules A12, A19 to A24, C "Peering").

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Networks, error, not_found};
use crate::{
    hash::FastMap,
    model::{
        ById, GatewaySku, PeeringState, ResourceId, Shared, VirtualNetwork, VirtualNetworkGateway,
        VirtualNetworkPeering, error::Errors, prefix::overlaps, read::VirtualNetworkDraft, transit,
    },
};
use ipnet::IpNet;

type Gateways = ById<Shared<VirtualNetworkGateway>>;

/// Gateways by their networks.
type WithGateway<'a> = FastMap<&'a ResourceId, &'a VirtualNetworkGateway>;

const MOST_PEERINGS: usize = 500;

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
    let live = |side: &VirtualNetworkPeering| side.peering_state != PeeringState::Disconnected;
    let users = vnet.peerings.values();
    for peering in users.filter(|side| side.use_remote_gateways && live(side)) {
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
        if let Some(back) = back.filter(|back| live(back) && !back.allow_gateway_transit) {
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

/// The address spaces of a network and all its peers are apart: its routes lead to one of them.
fn overlapping<'a>(
    vnet: &'a VirtualNetwork,
    networks: &'a Networks,
    told: &mut BTreeSet<(&'a ResourceId, &'a ResourceId)>,
    errors: &mut Errors,
) {
    let mut peers: BTreeMap<&ResourceId, &VirtualNetworkPeering> = BTreeMap::new();
    for peering in vnet.peerings.values() {
        // Over one that is disconnected nothing is forwarded any more.
        let live = peering.peering_state != PeeringState::Disconnected;
        if live && peering.remote_virtual_network != vnet.id {
            peers
                .entry(&peering.remote_virtual_network)
                .or_insert(peering);
        }
    }
    if peers.is_empty() {
        return;
    }
    let (members, routed): (Vec<&VirtualNetwork>, Vec<&[IpNet]>) = std::iter::once((vnet, &[][..]))
        .chain(peers.iter().filter_map(|(id, peering)| {
            Some((&**networks.get(*id)?, &peering.remote_address_space[..]))
        }))
        .unzip();
    // With what a peering leads to until it is synchronised.
    let all = members.iter().zip(&routed).enumerate();
    let prefixes = all.flat_map(|(index, (member, routed))| {
        let own = &member.address_space;
        let late = routed.iter().filter(move |prefix| !own.contains(prefix));
        own.iter().chain(late).map(move |prefix| (*prefix, index))
    });
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
