//! What the data path should hold, by resource. Ids of the data path (scopes, tables, ports, route
//! numbers) are not known here: the datapath assigns them and keeps them stable.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::model::ResourceId;

/// The desired state of the whole data path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// By networkInterface: those with a device on this host.
    pub ports: BTreeMap<ResourceId, PortImage>,
    /// By subnet: those in which a port lives. `Arc`: unchanged ones are shared between two
    /// images, which is how a change to one is found without a look at the others.
    pub subnets: BTreeMap<ResourceId, Arc<SubnetImage>>,
    /// Every address of every NIC, also of those not on this host, ordered by VNet and address.
    pub endpoints: Vec<EndpointImage>,
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
    Gateway,
    None,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EndpointImage {
    pub vnet: ResourceId,
    pub address: IpAddr,
    pub mac: [u8; 6],
    /// The networkInterface; its port where it is on this host.
    pub nic: ResourceId,
}
