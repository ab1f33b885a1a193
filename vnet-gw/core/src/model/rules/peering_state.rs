//! What each side of a peering knows of the other (rule C "Peering").
//!
//! | remembered | other side | this side becomes |
//! |---|---|---|
//! | nothing | none | `Initiated` |
//! | `Initiated` | none, its network there | `Initiated` |
//! | `Initiated` | its network gone | `Disconnected` |
//! | `Connected` | none, or its network gone | `Disconnected` |
//! | `Disconnected` | any | `Disconnected`, until it is put anew and remembers nothing |
//! | nothing, `Initiated`, `Connected` | not `Disconnected` | `Connected` |
//!
//! A side that becomes `Connected` takes the other's address space of that moment (of a peering of
//! subnets, that of the subnets that both sides name); one that is so
//! already keeps what it was synchronised with. A template remembers nothing.

use std::borrow::Cow;

use super::{Networks, error};
use crate::{
    hash::FastMap,
    model::{
        PeeringState, PeeringSyncLevel, ResourceId, VirtualNetwork, VirtualNetworkPeering,
        error::Errors,
        peered,
        read::{PeeringMemory, VirtualNetworkDraft},
    },
};
use ipnet::IpNet;

/// One side of a peering.
#[derive(Clone, Copy)]
struct Side<'a> {
    draft: &'a VirtualNetworkDraft,
    network: &'a VirtualNetwork,
    peering: &'a VirtualNetworkPeering,
    memory: Option<&'a PeeringMemory>,
}

/// By local and remote network.
type Sides<'a> = FastMap<(&'a ResourceId, &'a ResourceId), Side<'a>>;

/// What a peering becomes, where that is not what it was.
struct Update {
    network: ResourceId,
    peering: ResourceId,
    state: PeeringState,
    level: PeeringSyncLevel,
    space: Vec<IpNet>,
}

/// Settles the state of every peering. Networks whose peerings stay as they were stay shared.
///
/// `RemotePeeringIsDisconnected` where a new side meets one that is so.
pub(super) fn settle(
    drafts: &[&VirtualNetworkDraft],
    networks: &mut Networks,
    errors: &mut Errors,
) {
    let mut sides = Sides::default();
    for draft in drafts {
        for peering in draft.network.peerings.values() {
            let side = Side {
                draft,
                network: &draft.network,
                peering,
                memory: draft.memory.get(&peering.id),
            };
            sides.insert(side.key(), side);
        }
    }
    let mut updates = Vec::new();
    for draft in drafts {
        for peering in draft.network.peerings.values() {
            let key = (&draft.network.id, &peering.remote_virtual_network);
            let Some(side) = sides.get(&key) else {
                continue;
            };
            let back = sides.get(&(key.1, key.0));
            let remote = networks.get(&peering.remote_virtual_network);
            if let (None, Some(back)) = (side.memory, back)
                && back.remembers(PeeringState::Disconnected)
            {
                let message = format!(
                    "The peering {} cannot be created or updated, because the remote peering {} is \
                     in the state Disconnected: put that one again, which makes it Initiated, or \
                     delete it, first.",
                    peering.id, back.peering.id
                );
                errors.push(error("RemotePeeringIsDisconnected", &peering.id, message));
            }
            updates.extend(side.update(back, remote.map(|remote| &**remote)));
        }
    }
    for update in updates {
        let network = networks.get_mut(&update.network);
        // Copied here, if it is shared.
        if let Some(peering) = network.and_then(|n| n.peerings.get_mut(&update.peering)) {
            peering.peering_state = update.state;
            peering.peering_sync_level = update.level;
            peering.remote_address_space = update.space;
        }
    }
}

impl<'a> Side<'a> {
    fn key(&self) -> (&'a ResourceId, &'a ResourceId) {
        (&self.network.id, &self.peering.remote_virtual_network)
    }

    fn remembers(&self, state: PeeringState) -> bool {
        self.memory.is_some_and(|memory| memory.state == state)
    }

    fn state(&self, back: Option<&Self>, remote: Option<&VirtualNetwork>) -> PeeringState {
        let waits = self.draft.waits_for(&self.peering.remote_virtual_network)
            && !self.remembers(PeeringState::Connected);
        let gone = remote.is_none() && self.memory.is_some() && !waits;
        let lost = back.is_none() && self.remembers(PeeringState::Connected);
        if gone || lost || self.remembers(PeeringState::Disconnected) {
            return PeeringState::Disconnected;
        }
        match back {
            Some(back) if !back.remembers(PeeringState::Disconnected) => PeeringState::Connected,
            Some(_) if self.remembers(PeeringState::Connected) => PeeringState::Disconnected,
            _ => PeeringState::Initiated,
        }
    }

    /// What this side may lead to now.
    fn offered(&self, back: Option<&Self>, remote: &'a VirtualNetwork) -> Cow<'a, [IpNet]> {
        peered::offered(self.peering, back.map(|back| back.peering), remote)
    }

    /// What this side leads to.
    fn space(
        &self,
        state: PeeringState,
        back: Option<&Self>,
        remote: Option<&'a VirtualNetwork>,
    ) -> Cow<'a, [IpNet]> {
        let kept = match state {
            PeeringState::Initiated => false,
            PeeringState::Connected => self.remembers(PeeringState::Connected),
            PeeringState::Disconnected => true,
        };
        let remembered = self.memory.and_then(|memory| memory.space.as_deref());
        match remembered.filter(|_| kept) {
            Some(remembered) => Cow::Borrowed(remembered),
            None => remote.map_or(Cow::default(), |remote| self.offered(back, remote)),
        }
    }

    fn update(
        &self,
        back: Option<&Side<'a>>,
        remote: Option<&'a VirtualNetwork>,
    ) -> Option<Update> {
        let state = self.state(back, remote);
        let space = self.space(state, back, remote);
        let local = remote.is_none_or(|remote| same(&space, &self.offered(back, remote)));
        let other = back
            .filter(|_| state == PeeringState::Connected)
            .is_some_and(|back| {
                let space = back.space(state, Some(self), Some(self.network));
                same(&space, &back.offered(Some(self), self.network))
            });
        let level = match (local, other) {
            (true, true) => PeeringSyncLevel::FullyInSync,
            (true, false) => PeeringSyncLevel::RemoteNotInSync,
            (false, true) => PeeringSyncLevel::LocalNotInSync,
            (false, false) => PeeringSyncLevel::LocalAndRemoteNotInSync,
        };
        let now = self.peering;
        let stays = state == now.peering_state
            && level == now.peering_sync_level
            && *space == now.remote_address_space;
        (!stays).then(|| Update {
            network: self.network.id.clone(),
            peering: now.id.clone(),
            state,
            level,
            space: space.into_owned(),
        })
    }
}

/// Whether both are the same prefixes, in whichever order.
fn same(one: &[IpNet], other: &[IpNet]) -> bool {
    if one == other {
        return true;
    }
    let sorted = |prefixes: &[IpNet]| {
        let mut prefixes = prefixes.to_vec();
        prefixes.sort_unstable();
        prefixes
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}
