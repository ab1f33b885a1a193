//! Classes, and what of them is billed to whom.

use serde::{Deserialize, Serialize};

use super::{Crossing, MeterKey};
use crate::model::{Connection, ConnectionRemote, ResourceId, Topology, fnv1a};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    Peering,
    GlobalPeering,
    GatewayTransit,
    VnetToVnet,
    VnetToVnetInterRegion,
    SiteToSite,
    Internet,
}

impl Class {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peering => "peering",
            Self::GlobalPeering => "globalPeering",
            Self::GatewayTransit => "gatewayTransit",
            Self::VnetToVnet => "vnetToVnet",
            Self::VnetToVnetInterRegion => "vnetToVnetInterRegion",
            Self::SiteToSite => "siteToSite",
            Self::Internet => "internet",
        }
    }
}

/// Seen from the VNet that it is metered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    Egress,
    Ingress,
}

impl Direction {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

/// What one count is of: one way between two ends. Ids as they are written, regions as resources
/// have them (empty: not known).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metered {
    pub class: Class,
    /// Of a VNet or a localNetworkGateway; empty for the internet.
    pub from: String,
    pub to: String,
    /// The VNet that it is metered for; of a peering both are.
    pub virtual_network: String,
    /// Of a VPN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    #[serde(default)]
    pub from_region: String,
    #[serde(default)]
    pub to_region: String,
}

/// A line of a bill: what one VNet sent or got.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row<'a> {
    pub class: Class,
    pub direction: Direction,
    pub virtual_network: &'a str,
    pub peer: &'a str,
    pub connection: Option<&'a str>,
    pub source_region: &'a str,
    pub destination_region: &'a str,
    /// Whether Azure bills for it; everything is counted.
    pub billed: bool,
}

impl Metered {
    /// What a meter of the data path is of; `None` where a VNet is not there.
    pub fn crossing(key: &MeterKey, topology: &Topology) -> Option<Self> {
        let vnet = |id| topology.virtual_networks.get(id);
        let (from, to) = (vnet(&key.from)?, vnet(&key.to)?);
        let internet = key.crossing == Crossing::Internet;
        let metered = match key.crossing {
            Crossing::TransitIn => to,
            Crossing::Peering | Crossing::TransitOut | Crossing::Internet => from,
        };
        Some(Self {
            class: match key.crossing {
                Crossing::Peering if from.location == to.location => Class::Peering,
                Crossing::Peering => Class::GlobalPeering,
                Crossing::TransitOut | Crossing::TransitIn => Class::GatewayTransit,
                Crossing::Internet => Class::Internet,
            },
            from: from.id.to_string(),
            to: if internet {
                String::new()
            } else {
                to.id.to_string()
            },
            virtual_network: metered.id.to_string(),
            connection: None,
            from_region: from.location.clone(),
            to_region: if internet {
                String::new()
            } else {
                to.location.clone()
            },
        })
    }

    /// What goes out of a connection, and what comes in on it; `None` where its gateway is not
    /// there.
    pub fn connection(connection: &Connection, topology: &Topology) -> Option<[Self; 2]> {
        let gateway = |id: &ResourceId| topology.virtual_network_gateways.get(id);
        let own = &gateway(&connection.gateway)?.virtual_network;
        let location = |vnet: &ResourceId| {
            let vnet = topology.virtual_networks.get(vnet);
            vnet.map_or_else(String::new, |vnet| vnet.location.clone())
        };
        let (class, peer, region) = match &connection.remote {
            ConnectionRemote::VirtualNetworkGateway(id) => {
                let peer = gateway(id).map_or(id, |gateway| &gateway.virtual_network);
                let class = match location(own) == location(peer) {
                    true => Class::VnetToVnet,
                    false => Class::VnetToVnetInterRegion,
                };
                (class, peer, location(peer))
            }
            ConnectionRemote::LocalNetworkGateway(id) => (Class::SiteToSite, id, String::new()),
        };
        let out = Self {
            class,
            from: own.to_string(),
            to: peer.to_string(),
            virtual_network: own.to_string(),
            connection: Some(connection.id.to_string()),
            from_region: location(own),
            to_region: region,
        };
        let back = Self {
            from: out.to.clone(),
            to: out.from.clone(),
            from_region: out.to_region.clone(),
            to_region: out.from_region.clone(),
            ..out.clone()
        };
        Some([out, back])
    }

    /// By which it is known again: the same in every build and version, whatever the case of ids.
    pub fn stable_hash(&self) -> u64 {
        let Self {
            class,
            from,
            to,
            virtual_network,
            connection,
            from_region,
            to_region,
        } = self;
        let connection = connection.as_deref().unwrap_or_default();
        let text = format!(
            "{} {from} {to} {virtual_network} {connection} {from_region} {to_region}",
            class.name()
        );
        fnv1a(&text.to_ascii_lowercase())
    }

    /// The lines of a bill: of a peering one for each side.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let egress = self.from == self.virtual_network;
        let mut rows = vec![self.row(egress)];
        if matches!(self.class, Class::Peering | Class::GlobalPeering) {
            rows.push(self.row(!egress));
        }
        rows
    }

    fn row(&self, egress: bool) -> Row<'_> {
        let (virtual_network, peer) = match egress {
            true => (&self.from, &self.to),
            false => (&self.to, &self.from),
        };
        Row {
            class: self.class,
            direction: match egress {
                true => Direction::Egress,
                false => Direction::Ingress,
            },
            virtual_network,
            peer,
            connection: self.connection.as_deref(),
            source_region: &self.from_region,
            destination_region: &self.to_region,
            billed: match self.class {
                Class::Peering | Class::GlobalPeering => true,
                Class::VnetToVnet => false,
                Class::GatewayTransit
                | Class::VnetToVnetInterRegion
                | Class::SiteToSite
                | Class::Internet => egress,
            },
        }
    }
}
