//! What the data path should hold, by resource. Ids of the data path (scopes, tables, ports, route
//! numbers) are not known here: the datapath assigns them and keeps them stable.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    model::{ById, ResourceId, Shared},
    security::{PortSecurity, RuleSet, RuleSetId},
};

/// The desired state of the whole data path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// By networkInterface: those with a device on this host; and by virtualNetworkGateway: those
    /// that this host runs.
    pub ports: ById<Shared<PortImage>>,
    /// By subnet: those in which a port lives. Unchanged ones are shared between two images, as
    /// ports are, which is how a change to one is found without a look at the others.
    pub subnets: ById<Arc<SubnetImage>>,
    /// Every address of every NIC, also of those not on this host, and two of every gateway's port,
    /// ordered by VNet and address.
    pub endpoints: Shared<Vec<EndpointImage>>,
    /// VPN gateways that live on this host, in the order of their ids.
    pub gateways: Vec<GatewayImage>,
    /// What the ports' security refers to. `Arc`: shared where equal.
    pub rule_sets: BTreeMap<RuleSetId, Arc<RuleSet>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PortImage {
    /// `vnet-gw:device`
    pub device: String,
    pub mac: [u8; 6],
    pub vnet: ResourceId,
    /// The subnet of the primary ipConfiguration: whose tables the port uses.
    pub subnet: ResourceId,
    /// Primary first, then the rest; at most one of each family is "the" primary of it.
    pub addresses: Vec<IpAddr>,
    pub ip_forwarding: bool,
    /// The port of a VPN gateway: its device is a tap of ours, and always has TCX.
    pub gateway: bool,
    pub security: PortSecurity,
    /// `flowTimeoutInMinutes` of the VNet, 4 to 30 (minutes).
    pub flow_timeout: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SubnetImage {
    pub vnet: ResourceId,
    pub prefixes: Vec<IpNet>,
    /// The fabric's address in the first prefix of each family (`.1`, `::1`): source of ICMP errors.
    pub gateway4: Option<std::net::Ipv4Addr>,
    pub gateway6: Option<std::net::Ipv6Addr>,
    pub v4: TableImage<Ipv4Net>,
    pub v6: TableImage<Ipv6Net>,
}

/// The active routes of one family: at most one a prefix, ordered by prefix (network, then length).
#[derive(Clone, Debug, PartialEq)]
pub struct TableImage<P> {
    /// Distinct; at most `Leaf::MAX_ACTIONS - 1`.
    pub actions: Vec<ActionImage>,
    /// Prefix and index into `actions`; at most `Leaf::MAX_ROUTES - 1`. `Arc`: shared where equal.
    pub routes: Arc<Vec<(P, u32)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionImage {
    /// `VnetLocal`
    Local {
        vnet: ResourceId,
    },
    /// `VNetPeering`, `VNetGlobalPeering`
    Peering {
        vnet: ResourceId,
        accepts_forwarded: bool,
    },
    /// `VirtualAppliance`, resolved by its address in the VNet and its peers (rule B9). `vnet` is
    /// where the address is; `None` where no NIC with `enableIPForwarding` has it.
    Appliance {
        vnet: Option<ResourceId>,
        address: IpAddr,
        peered: bool,
        accepts_forwarded: bool,
    },
    Internet,
    /// `VirtualNetworkGateway`, by the gateway port of that VNet; `None` where there is none, and in
    /// GatewaySubnet itself: what came out of a tunnel does not go into one.
    Gateway {
        vnet: Option<ResourceId>,
        /// By gateway transit (A24): the gateway is a peered VNet's.
        peered: bool,
        /// The peering from there has `allowForwardedTraffic`.
        accepts_forwarded: bool,
    },
    None,
}

impl ActionImage {
    /// `VirtualNetworkGateway` by the VNet's own gateway.
    pub const fn gateway(vnet: Option<ResourceId>) -> Self {
        Self::Gateway {
            vnet,
            peered: false,
            accepts_forwarded: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EndpointImage {
    pub vnet: ResourceId,
    pub address: IpAddr,
    pub mac: [u8; 6],
    /// The networkInterface or virtualNetworkGateway; its port where it is on this host.
    pub nic: ResourceId,
}

/// A VPN gateway that lives on this host.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayImage {
    /// The virtualNetworkGateway; its port has the same id in [`Image::ports`].
    pub id: ResourceId,
    pub vnet: ResourceId,
    /// The tap of the gateway port, made by the crypto worker: at most 15 bytes.
    pub device: String,
    pub mac: [u8; 6],
    /// One, or two where it is active-active: each public address (of this host's underlay) is an instance.
    pub instances: Vec<GatewayInstance>,
    /// Bits a second that all tunnels share, out and in each; `None`: unlimited.
    pub bandwidth: Option<u64>,
    /// The address spaces of its VNet and of those that use it by gateway transit: what peers are
    /// offered in traffic selectors, and what it turns back into the VNets.
    pub local_prefixes: Vec<IpNet>,
    pub connections: Vec<ConnectionImage>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GatewayInstance {
    pub name: String,
    /// In GatewaySubnet.
    pub private_address: IpAddr,
    pub public_address: IpAddr,
}

/// A connection of the gateway with its tunnels.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionImage {
    pub id: ResourceId,
    /// `Vnet2Vnet`, else `IPsec`.
    pub vnet_to_vnet: bool,
    /// What is routed to it.
    pub remote_prefixes: Vec<IpNet>,
    /// Each instance with each of the peer's addresses of its family; none where the connection
    /// has no key.
    pub tunnels: Vec<crate::ike::TunnelConfig>,
}

/// The address, in the scope of the VNet, of the endpoint that is its gateway port: no workload can
/// send to it, because link-local addresses are not routable.
pub const GATEWAY_ENDPOINT4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 169, 253);
/// The same for IPv6.
pub const GATEWAY_ENDPOINT6: std::net::Ipv6Addr =
    std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x1234, 0x5678, 0x9abd);
