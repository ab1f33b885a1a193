//! What the data path counts, by the action that hands a packet over.

use crate::{
    compile::ActionImage,
    model::{ResourceId, fnv1a},
};

/// The name of the subnet whose route table is the gateway port's alone.
const GATEWAY_SUBNET: &str = "GatewaySubnet";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crossing {
    /// From a VNet into a peered one.
    Peering,
    /// From a spoke to the gateway of its hub.
    TransitOut,
    /// From the gateway of a hub to a spoke.
    TransitIn,
    /// From a VNet to the internet port.
    Internet,
}

impl Crossing {
    const fn name(self) -> &'static str {
        match self {
            Self::Peering => "peering",
            Self::TransitOut => "transit-out",
            Self::TransitIn => "transit-in",
            Self::Internet => "internet",
        }
    }
}

/// One meter of the data path: from which VNet into which. For [`Crossing::Internet`] both are the
/// same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterKey {
    pub crossing: Crossing,
    pub from: ResourceId,
    pub to: ResourceId,
}

impl MeterKey {
    /// The meter of an action in the tables of `subnet`, which is part of `vnet`; `None` where a
    /// packet stays in its VNet, or goes nowhere.
    pub fn of(subnet: &ResourceId, vnet: &ResourceId, action: &ActionImage) -> Option<Self> {
        let key = |crossing, to: &ResourceId| Self {
            crossing,
            from: vnet.clone(),
            to: to.clone(),
        };
        let gateway = subnet.name().eq_ignore_ascii_case(GATEWAY_SUBNET);
        match action {
            ActionImage::Peering { vnet: to, .. }
            | ActionImage::Appliance {
                vnet: Some(to),
                peered: true,
                ..
            } => Some(key(
                match gateway {
                    true => Crossing::TransitIn,
                    false => Crossing::Peering,
                },
                to,
            )),
            ActionImage::Gateway {
                vnet: Some(hub), ..
            } if hub != vnet => Some(key(Crossing::TransitOut, hub)),
            ActionImage::Internet => Some(key(Crossing::Internet, vnet)),
            _ => None,
        }
    }

    /// The same in every build and version; never 0.
    pub fn stable_hash(&self) -> u64 {
        let Self { crossing, from, to } = self;
        fnv1a(&format!("{} {} {}", crossing.name(), from.key(), to.key()))
    }
}
