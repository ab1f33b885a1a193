//! Peerings (rules A12, A19 to A24, C "Peering").

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{error, not_found};
use crate::model::{
    PeeringState, PeeringSyncLevel, ResourceId, VirtualNetwork, error::Errors, id::group_of,
    prefix::overlaps,
};

const MOST_PEERINGS: usize = 500;

type Networks = BTreeMap<ResourceId, VirtualNetwork>;

/// What the rules of `useRemoteGateways` ask.
pub(super) struct Gateways<'a> {
    /// VNets that have a gateway.
    pub(super) networks: HashSet<&'a ResourceId>,
    /// Peerings with `doNotVerifyRemoteGateways`.
    pub(super) unverified: &'a HashSet<ResourceId>,
}

pub(super) fn check(networks: &Networks, has: &Gateways<'_>, errors: &mut Errors) {
    let mut told = BTreeSet::new();
    for vnet in networks.values() {
        remotes(vnet, networks, errors);
        gateways(vnet, has, errors);
        overlapping(vnet, networks, &mut told, errors);
    }
}

/// Each remote network is there, is another one, and is peered with once.
fn remotes(vnet: &VirtualNetwork, networks: &Networks, errors: &mut Errors) {
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
        // The template is all there is of its resource group. A network elsewhere is somebody
        // else's to describe: the peering waits for it.
        let here = group_of(remote).eq_ignore_ascii_case(group_of(&vnet.id));
        if here && !networks.contains_key(remote) {
            errors.push(not_found(
                "virtual network",
                remote,
                &peering.id,
                networks.keys(),
            ));
        }
    }
}

/// Gateway transit (A24) is not carried out yet, so a peering that would use it is refused: the
/// routes that it asks for would be missing.
fn gateways(vnet: &VirtualNetwork, has: &Gateways<'_>, errors: &mut Errors) {
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
    for peering in vnet.peerings.values() {
        if !peering.use_remote_gateways {
            continue;
        }
        let remote = &peering.remote_virtual_network;
        if has.networks.contains(remote) {
            let message = format!(
                "The peering would use the gateway of {remote}, and gateway transit is not \
                 supported yet: set useRemoteGateways to false."
            );
            errors.push(error("NotSupported", &peering.id, message));
        } else if !has.unverified.contains(&peering.id) {
            let message = format!(
                "The peering cannot use remote gateways, because the virtual network {remote} has \
                 none: set useRemoteGateways to false."
            );
            errors.push(error("RemoteVnetHasNoGateways", &peering.id, message));
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
    let mut peers: BTreeMap<&ResourceId, &ResourceId> = BTreeMap::new();
    for peering in vnet.peerings.values() {
        if peering.remote_virtual_network != vnet.id {
            peers
                .entry(&peering.remote_virtual_network)
                .or_insert(&peering.id);
        }
    }
    let members: Vec<&VirtualNetwork> = std::iter::once(vnet)
        .chain(peers.keys().filter_map(|id| networks.get(id)))
        .collect();
    let prefixes = members
        .iter()
        .enumerate()
        .flat_map(|(index, member)| member.address_space.iter().map(move |p| (*p, index)));
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
        let peering = peers.get(&second.id).copied().unwrap_or(&vnet.id);
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

/// Derives what each side knows of the other. A template is deployed whole, so two sides that are
/// there are in sync, and one alone has only begun; `Disconnected` needs a past.
pub(super) fn connect(networks: &mut Networks) {
    let sides: HashSet<(ResourceId, ResourceId)> = networks
        .values()
        .flat_map(|vnet| {
            vnet.peerings
                .values()
                .map(|p| (vnet.id.clone(), p.remote_virtual_network.clone()))
        })
        .collect();
    let spaces: HashMap<ResourceId, Vec<ipnet::IpNet>> = networks
        .values()
        .map(|vnet| (vnet.id.clone(), vnet.address_space.clone()))
        .collect();
    for vnet in networks.values_mut() {
        for peering in vnet.peerings.values_mut() {
            let remote = &peering.remote_virtual_network;
            peering.remote_address_space = spaces.get(remote).cloned().unwrap_or_default();
            let connected = sides.contains(&(remote.clone(), vnet.id.clone()));
            (peering.peering_state, peering.peering_sync_level) = if connected {
                (PeeringState::Connected, PeeringSyncLevel::FullyInSync)
            } else {
                (PeeringState::Initiated, PeeringSyncLevel::RemoteNotInSync)
            };
        }
    }
}
