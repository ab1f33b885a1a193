//! What images ask of tables: numbers for what actions refer to by name, and what has to change.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;
use vnet_gw_common::{
    Addr6,
    port::{MAX_SUBNET_PREFIXES, Subnet, SubnetPrefix4, SubnetPrefix6},
    table::{Action, ActionKind},
};
use vnet_gw_core::{
    compile::{ActionImage, SubnetImage},
    metering::MeterKey,
    model::ResourceId,
    table::TableError,
};

use super::{
    Entry,
    family::{Family, V4, V6},
    table::{Plan, Table},
};
use crate::datapath::{DatapathError, meters::Meters, scopes::Scopes};

/// What it takes to reach an image.
#[derive(Debug, Default)]
pub(in crate::datapath) struct TablesPlan {
    pub(super) changed: Vec<(ResourceId, SubnetPlan)>,
    pub(super) gone: Vec<ResourceId>,
}

#[derive(Debug)]
pub(super) struct SubnetPlan {
    pub(super) id: u32,
    pub(super) moved_from: Option<u32>,
    pub(super) value: Subnet,
    pub(super) image: Arc<SubnetImage>,
    pub(super) scopes: BTreeSet<u32>,
    pub(super) meters: BTreeSet<u32>,
    pub(super) v4: Plan<V4>,
    pub(super) v6: Plan<V6>,
}

/// What a subnet's entry and tables have to become.
pub(super) fn plan_subnet(
    entry: &Entry,
    subnet: &ResourceId,
    image: &Arc<SubnetImage>,
    scopes: &mut Scopes,
    meters: &mut Meters,
) -> Result<SubnetPlan, DatapathError> {
    let mut used = BTreeSet::new();
    let mut metered = BTreeSet::new();
    let value = subnet_value(subnet, image, scopes)?;
    used.insert(value.scope);
    let mut numbers = Numbers {
        scopes,
        meters,
        used: &mut used,
        metered: &mut metered,
    };
    let v4 = plan_family(&entry.v4, subnet, image, &mut numbers)?;
    let v6 = plan_family(&entry.v6, subnet, image, &mut numbers)?;
    let moves = v4.moves(&entry.v4) || v6.moves(&entry.v6);
    Ok(SubnetPlan {
        id: entry.id,
        moved_from: moves.then_some(entry.id),
        value,
        image: image.clone(),
        scopes: used,
        meters: metered,
        v4,
        v6,
    })
}

/// What actions refer to by number, and which of it they do.
struct Numbers<'a> {
    scopes: &'a mut Scopes,
    meters: &'a mut Meters,
    used: &'a mut BTreeSet<u32>,
    metered: &'a mut BTreeSet<u32>,
}

fn plan_family<F: Family>(
    table: &Table<F>,
    subnet: &ResourceId,
    subnet_image: &SubnetImage,
    numbers: &mut Numbers<'_>,
) -> Result<Plan<F>, DatapathError> {
    let image = F::image(subnet_image);
    let mut actions = Vec::with_capacity(image.actions.len());
    for action in &image.actions {
        let key = MeterKey::of(subnet, &subnet_image.vnet, action);
        let mut value = action_value::<F>(action, numbers.scopes)?;
        if value.scope() != 0 {
            numbers.used.insert(value.scope());
        }
        if let Some(key) = key {
            let meter = numbers.meters.id(&key);
            numbers.metered.insert(meter);
            value = value.with_meter(meter);
        }
        actions.push(value);
    }
    table
        .plan(image, actions)
        .map_err(|why: TableError| DatapathError::Table {
            subnet: subnet.to_string(),
            family: F::NAME,
            why: why.to_string(),
        })
}

fn action_value<F: Family>(
    action: &ActionImage,
    scopes: &mut Scopes,
) -> Result<Action, DatapathError> {
    let accepts = |yes: bool| if yes { Action::ACCEPTS_FORWARDED } else { 0 };
    Ok(match action {
        ActionImage::Local { vnet } => Action::new(ActionKind::Local, 0, scopes.id(vnet)?),
        ActionImage::Peering {
            vnet,
            accepts_forwarded,
        } => Action::new(
            ActionKind::Peering,
            accepts(*accepts_forwarded),
            scopes.id(vnet)?,
        ),
        ActionImage::Appliance {
            vnet,
            address,
            peered,
            accepts_forwarded,
        } => {
            let scope = vnet.as_ref().map_or(Ok(0), |vnet| scopes.id(vnet))?;
            let peered = if *peered { Action::PEERED } else { 0 };
            let action = Action::new(
                ActionKind::Appliance,
                peered | accepts(*accepts_forwarded),
                scope,
            );
            F::action_with_next_hop(action, *address)
        }
        ActionImage::Internet => Action::new(ActionKind::Internet, 0, 0),
        ActionImage::Gateway {
            vnet,
            peered,
            accepts_forwarded,
        } => {
            let scope = vnet.as_ref().map_or(Ok(0), |vnet| scopes.id(vnet))?;
            let peered = if *peered { Action::PEERED } else { 0 };
            let flags = peered | accepts(*accepts_forwarded);
            F::action_to_gateway(Action::new(ActionKind::Gateway, flags, scope))
        }
        ActionImage::None => Action::new(ActionKind::None, 0, 0),
    })
}

fn subnet_value(
    subnet: &ResourceId,
    image: &SubnetImage,
    scopes: &mut Scopes,
) -> Result<Subnet, DatapathError> {
    let mut value = Subnet {
        gateway4: image.gateway4.map_or(0, std::net::Ipv4Addr::to_bits),
        gateway6: Addr6::from_bits(image.gateway6.map_or(0, std::net::Ipv6Addr::to_bits)),
        scope: scopes.id(&image.vnet)?,
        subnet_hash: subnet.stable_hash(),
        ..Subnet::EMPTY
    };
    let (mut v4, mut v6) = (0, 0);
    for prefix in &image.prefixes {
        let slot = match prefix {
            IpNet::V4(_) => &mut v4,
            IpNet::V6(_) => &mut v6,
        };
        if *slot == MAX_SUBNET_PREFIXES {
            return Err(DatapathError::Capacity {
                what: "prefixes of one family in a subnet",
                wanted: image.prefixes.len(),
                limit: MAX_SUBNET_PREFIXES,
            });
        }
        match prefix {
            IpNet::V4(net) => {
                let (base, mask) = (net.network().to_bits(), net.netmask().to_bits());
                value.prefixes4[*slot] = SubnetPrefix4 { base, mask };
            }
            IpNet::V6(net) => {
                value.prefixes6[*slot] = SubnetPrefix6 {
                    base: Addr6::from_bits(net.network().to_bits()),
                    mask: Addr6::from_bits(net.netmask().to_bits()),
                };
            }
        }
        *slot += 1;
    }
    Ok(value)
}
