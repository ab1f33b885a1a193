//! What a reload changes, in one line.

use std::{fmt, sync::Arc};

use imbl::ordmap::DiffItem;
use vnet_gw_core::{
    compile::{RouteChange, SubnetImage, TableImage, diff_routes},
    model::{ById, PeeringState, VirtualNetworkPeering},
};

use crate::control::Snapshot;

/// How many came, went and became different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) added: usize,
    pub(super) removed: usize,
    pub(super) changed: usize,
}

/// Between two configurations. Of peerings and routes those that carry traffic are counted: the
/// `Connected` and the active ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) virtual_networks: Delta,
    pub(super) peerings: Delta,
    pub(super) network_interfaces: Delta,
    pub(super) gateways: Delta,
    pub(super) connections: Delta,
    pub(super) ports: Delta,
    pub(super) routes: Delta,
}

impl Change {
    pub(super) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        Self {
            virtual_networks: delta(
                &old.topology.virtual_networks,
                &new.topology.virtual_networks,
                // What is in a VNet is counted by itself.
                |old, new| old.address_space == new.address_space && old.location == new.location,
            ),
            peerings: delta(&connected(old), &connected(new), |old, new| old == new),
            network_interfaces: delta(
                &old.topology.network_interfaces,
                &new.topology.network_interfaces,
                |old, new| old == new,
            ),
            gateways: delta(
                &old.topology.virtual_network_gateways,
                &new.topology.virtual_network_gateways,
                |old, new| old == new,
            ),
            connections: delta(
                &old.topology.connections,
                &new.topology.connections,
                |old, new| old == new,
            ),
            ports: delta(&old.image.ports, &new.image.ports, |old, new| old == new),
            routes: routes(&old.image.subnets, &new.image.subnets),
        }
    }
}

fn connected(of: &Snapshot) -> ById<&VirtualNetworkPeering> {
    let peerings = of
        .topology
        .virtual_networks
        .values()
        .flat_map(|vnet| vnet.peerings.values());
    peerings
        .filter(|peering| peering.peering_state == PeeringState::Connected)
        .map(|peering| (peering.id.clone(), peering))
        .collect()
}

fn delta<V: PartialEq>(old: &ById<V>, new: &ById<V>, same: impl Fn(&V, &V) -> bool) -> Delta {
    let mut delta = Delta::default();
    for item in old.diff(new) {
        match item {
            DiffItem::Add(..) => delta.added += 1,
            DiffItem::Remove(..) => delta.removed += 1,
            DiffItem::Update { old, new } if !same(old.1, new.1) => delta.changed += 1,
            DiffItem::Update { .. } => {}
        }
    }
    delta
}

type Subnets = ById<Arc<SubnetImage>>;

fn routes(old: &Subnets, new: &Subnets) -> Delta {
    let mut delta = Delta::default();
    for (id, subnet) in new {
        match old.get(id) {
            None => delta.added += subnet.v4.routes.len() + subnet.v6.routes.len(),
            Some(before) if Arc::ptr_eq(before, subnet) => {}
            Some(before) => {
                count(&before.v4, &subnet.v4, &mut delta);
                count(&before.v6, &subnet.v6, &mut delta);
            }
        }
    }
    for (_, subnet) in old.iter().filter(|(id, _)| !new.contains_key(*id)) {
        delta.removed += subnet.v4.routes.len() + subnet.v6.routes.len();
    }
    delta
}

fn count<P: Copy + Ord>(old: &TableImage<P>, new: &TableImage<P>, delta: &mut Delta) {
    for change in diff_routes(old, new) {
        match change {
            RouteChange::Added { .. } => delta.added += 1,
            RouteChange::Removed { .. } => delta.removed += 1,
            RouteChange::Changed { .. } => delta.changed += 1,
        }
    }
}

/// `ports +1, routes +3 -2 ~1`; what did not change is left out.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, delta) in [
            ("virtual networks", self.virtual_networks),
            ("peerings", self.peerings),
            ("network interfaces", self.network_interfaces),
            ("gateways", self.gateways),
            ("connections", self.connections),
            ("ports", self.ports),
            ("routes", self.routes),
        ] {
            if delta == Delta::default() {
                continue;
            }
            f.write_str(if first { name } else { ", " })?;
            if !first {
                f.write_str(name)?;
            }
            first = false;
            for (sign, count) in [
                ('+', delta.added),
                ('-', delta.removed),
                ('~', delta.changed),
            ] {
                if count > 0 {
                    write!(f, " {sign}{count}")?;
                }
            }
        }
        if first {
            f.write_str("nothing changed")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_changed_only() {
        assert_eq!(Change::default().to_string(), "nothing changed");
        let change = Change {
            ports: Delta {
                added: 1,
                ..Delta::default()
            },
            routes: Delta {
                added: 3,
                removed: 2,
                changed: 1,
            },
            ..Change::default()
        };
        assert_eq!(change.to_string(), "ports +1, routes +3 -2 ~1");
    }
}
