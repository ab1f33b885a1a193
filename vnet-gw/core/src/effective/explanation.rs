//! The answer of `explain`, and its words.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::row::EffectiveRoute;
use crate::model::{NetworkInterface, ResourceId};

/// The answer to "what happens to a packet from this subnet to this destination".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The subnet's resource id.
    pub subnet: String,
    pub destination: IpAddr,
    /// `None`: no active route contains the destination; the packet is dropped.
    pub winner: Option<Winner>,
    /// Every other route that contains the destination, or would if something else were so; the
    /// longest prefix first.
    pub others: Vec<Other>,
    /// What the winner leads to.
    pub delivery: Delivery,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Winner {
    pub route: EffectiveRoute,
    /// The route table of a user route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_table: Option<String>,
    /// The peering of a peering route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peering: Option<String>,
    /// The connection of a gateway route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Why it won, in words.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Other {
    /// As listed; for [`OtherState::Withdrawn`] and [`OtherState::NotConnected`], which are not
    /// listed, as it would be, with state `Invalid`.
    pub route: EffectiveRoute,
    pub state: OtherState,
    /// Why it lost, in words.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OtherState {
    /// Listed and active; a longer prefix won.
    Active,
    /// Listed as `Invalid`.
    Invalid,
    /// Taken away by another route or by a setting; not listed.
    Withdrawn,
    /// Of a peering that is not `Connected`; not listed.
    NotConnected,
}

impl OtherState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Invalid => "Invalid",
            Self::Withdrawn => "Withdrawn",
            Self::NotConnected => "NotConnected",
        }
    }
}

impl fmt::Display for OtherState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happens after the route is chosen. Ids are resource ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Delivery {
    /// The NIC that has the destination takes it.
    Endpoint(Taker),
    /// No NIC of the VNet has the destination: dropped, `endpoint_unreachable`.
    NobodyHasIt {
        virtual_network: String,
    },
    /// Dropped, `next_hop_none`: the peering is of subnets, and that of the sender is none of them.
    SubnetNotPeered {
        peering: String,
    },
    /// The appliance's NIC takes it.
    Appliance {
        address: IpAddr,
        #[serde(flatten)]
        taker: Taker,
    },
    /// Dropped, `appliance_unreachable`.
    ApplianceUnreachable {
        address: IpAddr,
        reason: String,
    },
    Internet,
    /// The VNet's gateway, or the one it uses by gateway transit, takes it, and sends it through a
    /// tunnel of the connection.
    VirtualNetworkGateway {
        gateway: String,
        connection: String,
        /// Tag `vnet-gw:host` of the gateway.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// The gateway takes it and hands it back to the data path, because its destination is on the
    /// gateway's own side: in its VNet, or in one that uses it by gateway transit.
    TurnedBack {
        gateway: String,
        /// Tag `vnet-gw:host` of the gateway.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// What becomes of it by the routes of GatewaySubnet.
        delivery: Box<Delivery>,
    },
    /// The VNet's gateway takes it and drops it, `no_tunnel`: no connection leads there.
    NoConnection {
        gateway: String,
    },
    /// Dropped, `next_hop_gateway`: the VNet has no gateway.
    NoGateway,
    /// Dropped, `next_hop_gateway`: a packet in GatewaySubnet came out of a tunnel, and goes into
    /// none.
    TunnelToTunnel,
    /// Dropped, `next_hop_none`.
    Dropped,
    /// Dropped, `no_route`.
    NoRoute,
    /// Dropped, `not_routable`, before any route is looked up.
    NotRoutable,
}

/// Of those that are routable: the internet has no route to it (RFC 1918 and 6598; RFC 4193), so what
/// a route sends there is dropped.
pub fn is_private(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(address) => {
            address.is_private() || matches!(address.octets(), [100, 64..=127, ..])
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// Whether the data path looks up routes to `destination` at all. Multicast, broadcast, link-local,
/// loopback and unspecified addresses are dropped before.
pub fn is_routable(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first != 0 && first != 127 && first < 224 && !address.is_link_local()
        }
        IpAddr::V6(address) => {
            !address.is_multicast()
                && !address.is_unicast_link_local()
                && !address.is_unspecified()
                && !address.is_loopback()
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(taker) => write!(f, "delivered to {taker}"),
            Self::NobodyHasIt { virtual_network } => write!(
                f,
                "dropped (endpoint_unreachable): no network interface of {} has this address; the sender \
                 gets ICMP host unreachable",
                name(virtual_network)
            ),
            Self::SubnetNotPeered { peering } => write!(
                f,
                "dropped (next_hop_none): the subnet is no part of the peering {}",
                name(peering)
            ),
            Self::Appliance { address, taker } => {
                write!(f, "handed to the appliance {address}, {taker}")
            }
            Self::ApplianceUnreachable { address, reason } => {
                write!(
                    f,
                    "dropped (appliance_unreachable): the appliance {address} is unreachable: {reason}; \
                     the sender gets ICMP host unreachable"
                )
            }
            Self::Internet => f.write_str("leaves through the internet port of this host"),
            Self::VirtualNetworkGateway {
                gateway,
                connection,
                host,
            } => {
                let (gateway, connection) = (name(gateway), name(connection));
                write!(
                    f,
                    "through the connection {connection} of the gateway {gateway}"
                )?;
                match host {
                    Some(host) => write!(f, " on host {host}"),
                    None => Ok(()),
                }
            }
            Self::TurnedBack {
                gateway,
                host,
                delivery,
            } => {
                write!(f, "turned back by the gateway {}", name(gateway))?;
                if let Some(host) = host {
                    write!(f, " on host {host}")?;
                }
                write!(f, ", then {delivery}")
            }
            Self::NoConnection { gateway } => write!(
                f,
                "dropped (no_tunnel): the gateway {} has no connection to there",
                name(gateway)
            ),
            Self::NoGateway => f.write_str("dropped (next_hop_gateway): the VNet has no gateway"),
            Self::TunnelToTunnel => f.write_str(
                "dropped (next_hop_gateway): what came out of a tunnel does not go into one",
            ),
            Self::Dropped => f.write_str("dropped (next_hop_none): the next hop type is None"),
            Self::NoRoute => f.write_str("dropped (no_route): no active route contains it"),
            Self::NotRoutable => f.write_str(
                "dropped (not_routable) before any route is looked up: multicast, broadcast, \
                 link-local, loopback and unspecified addresses are never routed",
            ),
        }
    }
}

/// The NIC that takes a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taker {
    pub network_interface: String,
    pub virtual_network: String,
    /// Tag `vnet-gw:device`; without one the packet is dropped, `port_down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Tag `vnet-gw:host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Taker {
    pub(super) fn new(nic: &NetworkInterface, vnet: &ResourceId) -> Self {
        Self {
            network_interface: nic.id.as_str().to_owned(),
            virtual_network: vnet.as_str().to_owned(),
            device: nic.device.clone(),
            host: nic.host.clone(),
        }
    }
}

impl fmt::Display for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nic, vnet) = (name(&self.network_interface), name(&self.virtual_network));
        write!(f, "network interface {nic} in {vnet}")?;
        if let Some(host) = &self.host {
            write!(f, " on host {host}")?;
        }
        match &self.device {
            Some(device) => write!(f, " (device {device})"),
            None => f.write_str(", which has no device: dropped (port_down)"),
        }
    }
}

fn name(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}
