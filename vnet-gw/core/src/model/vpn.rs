//! The resources of the VPN (section C): gateways with their public addresses, the sites and
//! gateways at the other end, and the connections between them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{IpsecPolicy, ResourceId, Topology};
use crate::{
    ike::{ConnectionMode, EncapsulationChoice, Identity},
    secret::Secret,
};

/// Any address of either family: what a route-based tunnel carries.
const ANY: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
];

/// `Microsoft.Network/publicIPAddresses`: an address of the underlay of the host that uses it.
/// Static, and of the Standard SKU.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicIpAddress {
    pub id: ResourceId,
    pub ip_address: IpAddr,
    pub tags: BTreeMap<String, String>,
}

/// `sku.name` of a gateway, together with its `vpnGatewayGeneration`. The AZ names match those
/// without, because a host has no availability zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewaySku {
    Basic,
    VpnGw1,
    VpnGw2,
    VpnGw3,
    /// `VpnGw2` of Generation2.
    VpnGw2Generation2,
    /// `VpnGw3` of Generation2.
    VpnGw3Generation2,
    VpnGw4,
    VpnGw5,
}

impl GatewaySku {
    /// Bits a second that all tunnels of the gateway share (A11).
    pub const fn bandwidth(self) -> u64 {
        match self {
            Self::Basic => 100_000_000,
            Self::VpnGw1 => 650_000_000,
            Self::VpnGw2 => 1_000_000_000,
            Self::VpnGw3 | Self::VpnGw2Generation2 => 1_250_000_000,
            Self::VpnGw3Generation2 => 2_500_000_000,
            Self::VpnGw4 => 5_000_000_000,
            Self::VpnGw5 => 10_000_000_000,
        }
    }

    /// The most tunnels of a gateway (A8); redundant ones count (A10).
    pub const fn tunnels(self) -> usize {
        match self {
            Self::Basic => 10,
            Self::VpnGw4 | Self::VpnGw5 => 100,
            _ => 30,
        }
    }
}

/// `Microsoft.Network/virtualNetworkGateways`, `gatewayType` Vpn, `vpnType` RouteBased: one a VNet.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualNetworkGateway {
    pub id: ResourceId,
    pub virtual_network: ResourceId,
    /// The VNet's GatewaySubnet.
    pub subnet: ResourceId,
    /// `sku.name` as Azure writes it: `VpnGw2AZ`.
    pub sku_name: &'static str,
    pub sku: GatewaySku,
    /// Bits a second, all tunnels together; `None` with the tag `vnet-gw:bandwidth: unlimited`,
    /// which lifts the SKU's limit of tunnels, too.
    pub bandwidth: Option<u64>,
    /// One, or two where `activeActive` is set: each is an instance.
    pub ip_configurations: Vec<GatewayIpConfiguration>,
    /// Those of the ipConfigurations, in their order: the next hop of gateway routes (rule B8).
    pub public_addresses: Vec<IpAddr>,
    /// Tag `vnet-gw:host`: the host that runs it; `None` is this one.
    pub host: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// `properties.ipConfigurations[]` of a virtualNetworkGateway.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayIpConfiguration {
    pub name: String,
    /// In GatewaySubnet: the lowest free one, unless the template says another.
    pub private_ip_address: IpAddr,
    pub public_ip_address: ResourceId,
}

/// `Microsoft.Network/localNetworkGateways`: a site at the other end of a Site-to-Site connection,
/// described by hand (A4).
#[derive(Clone, Debug, PartialEq)]
pub struct LocalNetworkGateway {
    pub id: ResourceId,
    /// `localNetworkAddressSpace.addressPrefixes`; at least one, none inside another.
    pub address_prefixes: Vec<IpNet>,
    pub gateway_ip_address: IpAddr,
    pub tags: BTreeMap<String, String>,
}

/// `Microsoft.Network/connections`
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub id: ResourceId,
    /// `virtualNetworkGateway1`
    pub gateway: ResourceId,
    pub remote: ConnectionRemote,
    /// Derived: the address space behind the remote end, which is routed to it. That of the remote
    /// VNet comes by itself and follows it (A2, A3), that of a site is what its local network
    /// gateway says (A4).
    pub remote_prefixes: Vec<IpNet>,
    /// Derived: the public addresses of the remote end.
    pub remote_addresses: Vec<IpAddr>,
    pub mode: ConnectionMode,
    /// `dpdTimeoutSeconds`
    pub dpd_timeout: Duration,
    /// `None`: the default proposals.
    pub ipsec_policy: Option<IpsecPolicy>,
    pub use_policy_based_traffic_selectors: bool,
    pub traffic_selector_policies: Vec<TrafficSelectorPolicy>,
    /// `sharedKey`; `None`: see [`Topology::connections_without_key`].
    pub shared_key: Option<Secret>,
    /// `routingWeight`, which chooses between no routes here: prefixes of connections are apart.
    pub routing_weight: u32,
    /// Tag `vnet-gw:local-id`: who we say we are; `None`: the public address of the instance.
    pub local_id: Option<Identity>,
    /// Tag `vnet-gw:remote-id`: who the peer must say it is; `None`: whoever has the key.
    pub remote_id: Option<Identity>,
    /// Tag `vnet-gw:encapsulation`: `udp` (default) or `esp`.
    pub encapsulation: EncapsulationChoice,
    /// Tag `vnet-gw:post-quantum`: `on` (default) or `off`.
    pub post_quantum: bool,
    pub tags: BTreeMap<String, String>,
}

impl Connection {
    /// `dpdTimeoutSeconds` where nothing else is said.
    pub const DPD_TIMEOUT: Duration = Duration::from_secs(45);

    /// `connectionType` as Azure writes it.
    pub const fn connection_type(&self) -> &'static str {
        match self.remote {
            ConnectionRemote::VirtualNetworkGateway(_) => "Vnet2Vnet",
            ConnectionRemote::LocalNetworkGateway(_) => "IPsec",
        }
    }

    pub const fn is_vnet_to_vnet(&self) -> bool {
        matches!(self.remote, ConnectionRemote::VirtualNetworkGateway(_))
    }

    /// The most traffic selectors of one side: their number is one octet (RFC 7296, 3.13).
    pub const MOST_SELECTORS: usize = 255;

    /// What may be in the tunnels, ours and the peer's (section C, "Traffic selectors"), where
    /// `own` is the address space of the gateway's VNet: as the connection's policies say, which
    /// only an initiator proposes; every pair of prefixes; or any to any. One CHILD SA has all of
    /// them, so of several policies every local range goes with every remote one.
    ///
    /// Sorted and distinct. Where there are more than [`MOST_SELECTORS`](Self::MOST_SELECTORS),
    /// neighbours are merged; peers that compare selectors see others as written.
    pub fn selectors(&self, own: &[IpNet]) -> [Vec<IpNet>; 2] {
        let policies = &self.traffic_selector_policies;
        let sides: [Vec<IpNet>; 2] =
            if !policies.is_empty() && self.mode != ConnectionMode::ResponderOnly {
                let local = policies.iter().flat_map(|p| &p.local_address_ranges);
                let remote = policies.iter().flat_map(|p| &p.remote_address_ranges);
                [local.copied().collect(), remote.copied().collect()]
            } else if self.use_policy_based_traffic_selectors {
                [own.to_vec(), self.remote_prefixes.clone()]
            } else {
                [ANY.to_vec(), ANY.to_vec()]
            };
        sides.map(|mut prefixes| {
            prefixes.sort_unstable();
            prefixes.dedup();
            if prefixes.len() > Self::MOST_SELECTORS {
                prefixes = IpNet::aggregate(&prefixes);
                prefixes.sort_unstable();
            }
            prefixes
        })
    }
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionRemote {
    /// `virtualNetworkGateway2` of a `Vnet2Vnet` connection.
    VirtualNetworkGateway(ResourceId),
    /// `localNetworkGateway2` of an `IPsec` connection.
    LocalNetworkGateway(ResourceId),
}

impl ConnectionRemote {
    pub const fn id(&self) -> &ResourceId {
        match self {
            Self::VirtualNetworkGateway(id) | Self::LocalNetworkGateway(id) => id,
        }
    }
}

/// `trafficSelectorPolicies[]`; neither list is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficSelectorPolicy {
    pub local_address_ranges: Vec<IpNet>,
    pub remote_address_ranges: Vec<IpNet>,
}

impl Topology {
    /// The gateway of the VNet `vnet`; a VNet has one at most (A8).
    pub fn gateway_of_vnet(&self, vnet: &ResourceId) -> Option<&VirtualNetworkGateway> {
        let mut gateways = self.virtual_network_gateways.values().map(|g| &**g);
        gateways.find(|gateway| gateway.virtual_network == *vnet)
    }

    /// The connections of the gateway `gateway`, in the order of their ids. Those of which it is
    /// the remote end are not among them.
    pub fn connections_of(&self, gateway: &ResourceId) -> impl Iterator<Item = &Connection> {
        let all = self.connections.values().map(|c| &**c);
        all.filter(move |connection| connection.gateway == *gateway)
    }

    /// The connection of the other gateway back to the one of `connection` (A16); `None` where it
    /// is not `Vnet2Vnet`, or only one way is there.
    pub fn connection_back(&self, connection: &Connection) -> Option<&Connection> {
        let ConnectionRemote::VirtualNetworkGateway(remote) = &connection.remote else {
            return None;
        };
        self.connections_of(remote)
            .find(|back| back.is_vnet_to_vnet() && *back.remote.id() == connection.gateway)
    }

    /// The key in the template for `connection`: its own, or else that of the connection back,
    /// because the keys of a pair are equal (A17).
    pub fn shared_key<'a>(&'a self, connection: &'a Connection) -> Option<&'a Secret> {
        let back = || self.connection_back(connection)?.shared_key.as_ref();
        connection.shared_key.as_ref().or_else(back)
    }

    /// The connections for which a key must be made, because the template has none (section C), in
    /// groups that share one: a connection alone, or the two of a `Vnet2Vnet` pair.
    pub fn connections_without_key(&self) -> Vec<Vec<ResourceId>> {
        let without = self
            .connections
            .values()
            .filter(|connection| self.shared_key(connection).is_none());
        without
            .filter_map(|connection| match self.connection_back(connection) {
                None => Some(vec![connection.id.clone()]),
                // Once a pair.
                Some(back) => {
                    (connection.id < back.id).then(|| vec![connection.id.clone(), back.id.clone()])
                }
            })
            .collect()
    }
}
