//! The validated resources. Whoever holds a [`Topology`] may rely on the rules of
//! `azure-semantics.md` that concern it: no overlaps, every reference resolves, every address is
//! inside its subnet and nobody else's.

use std::{collections::BTreeMap, fmt, net::IpAddr, ops::Deref, sync::Arc};

use ipnet::IpNet;

use super::{
    ApplicationSecurityGroup, Connection, LocalNetworkGateway, NetworkSecurityGroup,
    PublicIpAddress, Shared, SubnetPeering, VirtualNetworkGateway,
};

/// A resource id that compares without case, as ARM's do. Cheap to clone.
#[derive(Clone)]
pub struct ResourceId {
    /// The id as written, then in lower case (ASCII): both have the same length. Thousands of them
    /// are compared for every change, so all of one is in one place.
    both: Arc<str>,
    /// Of the key: maps of ids need not look at the text to find their place.
    hash: u64,
}

impl ResourceId {
    /// From the id as written, `/subscriptions/…`; surrounding white space and a trailing slash
    /// do not count.
    pub fn new(text: &str) -> Self {
        let text = text.trim().trim_end_matches('/');
        let mut both = String::with_capacity(2 * text.len());
        both.push_str(text);
        both.push_str(text);
        both[text.len()..].make_ascii_lowercase();
        Self {
            hash: fnv1a(&both[text.len()..]),
            both: both.into(),
        }
    }

    /// As first written.
    pub fn as_str(&self) -> &str {
        &self.both[..self.both.len() / 2]
    }

    /// In lower case: equal ids have equal keys.
    pub fn key(&self) -> &str {
        &self.both[self.both.len() / 2..]
    }

    /// The last segment: the resource's own name, as written.
    pub fn name(&self) -> &str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }

    /// The resource group it is in, as written: `/subscriptions/…/resourceGroups/…`.
    pub fn group(&self) -> &str {
        let end = self.key().find("/providers/");
        end.map_or(self.as_str(), |at| &self.both[..at])
    }

    /// The resource that a child is in: the id without its last two segments.
    pub fn parent(&self) -> Self {
        let parent = self.as_str().rsplitn(3, '/').nth(2).unwrap_or_default();
        Self::new(parent)
    }

    /// The [`key`](Self::key) of [`parent`](Self::parent).
    pub fn parent_key(&self) -> &str {
        self.key().rsplitn(3, '/').nth(2).unwrap_or_default()
    }

    /// A hash that is the same in every build and version (FNV-1a, 64 bits, over the key): how a
    /// restarted daemon knows its ports, subnets and VNets again. Never 0.
    pub const fn stable_hash(&self) -> u64 {
        self.hash
    }
}

/// FNV-1a, 64 bits, over the bytes of a text; never 0.
pub(crate) fn fnv1a(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.max(1)
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        let same = || Arc::ptr_eq(&self.both, &other.both) || self.key() == other.key();
        self.hash == other.hash && same()
    }
}
impl Eq for ResourceId {}
impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Ids are handed on, not made anew: the commonest equal one is the very same.
        if Arc::ptr_eq(&self.both, &other.both) {
            return std::cmp::Ordering::Equal;
        }
        self.key().cmp(other.key())
    }
}
impl std::hash::Hash for ResourceId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By id. Cheap to clone: one that differs from another in little shares the rest with it, and where
/// they differ is found without a look at what they share (`diff`).
pub type ById<V> = imbl::OrdMap<ResourceId, V>;

/// Every resource of an instance, validated as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    pub virtual_networks: ById<Shared<VirtualNetwork>>,
    pub route_tables: ById<Arc<RouteTable>>,
    pub network_security_groups: ById<Shared<NetworkSecurityGroup>>,
    pub application_security_groups: ById<Shared<ApplicationSecurityGroup>>,
    pub network_interfaces: ById<Shared<NetworkInterface>>,
    pub public_ip_addresses: ById<Shared<PublicIpAddress>>,
    pub virtual_network_gateways: ById<Shared<VirtualNetworkGateway>>,
    pub local_network_gateways: ById<Shared<LocalNetworkGateway>>,
    pub connections: ById<Shared<Connection>>,
}

/// `Microsoft.Network/virtualNetworks`
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualNetwork {
    pub id: ResourceId,
    /// Lower case, without spaces: `westeurope`.
    pub location: String,
    pub address_space: Vec<IpNet>,
    /// `dhcpOptions.dnsServers`
    pub dns_servers: Vec<IpAddr>,
    /// `flowTimeoutInMinutes`: after how long without a packet a flow is forgotten.
    pub flow_timeout: u8,
    pub subnets: BTreeMap<ResourceId, Subnet>,
    pub peerings: BTreeMap<ResourceId, VirtualNetworkPeering>,
    pub tags: BTreeMap<String, String>,
}

impl VirtualNetwork {
    /// Minutes.
    pub const FLOW_TIMEOUTS: std::ops::RangeInclusive<u8> = 4..=30;
    /// Where `flowTimeoutInMinutes` is not written.
    pub const FLOW_TIMEOUT: u8 = 4;
}

/// `Microsoft.Network/virtualNetworks/subnets`
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    pub id: ResourceId,
    /// `addressPrefix` and `addressPrefixes`, at most four of a family.
    pub address_prefixes: Vec<IpNet>,
    pub route_table: Option<ResourceId>,
    pub network_security_group: Option<ResourceId>,
}

impl Subnet {
    pub const GATEWAY_SUBNET: &str = "GatewaySubnet";

    pub fn is_gateway_subnet(&self) -> bool {
        self.id.name().eq_ignore_ascii_case(Self::GATEWAY_SUBNET)
    }
}

/// `peeringState`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeeringState {
    /// Only this side exists; nothing is forwarded.
    Initiated,
    Connected,
    /// The other side was there and is gone (or the remote VNet is); nothing is forwarded.
    Disconnected,
}

impl PeeringState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initiated => "Initiated",
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
        }
    }
}

/// `peeringSyncLevel`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeeringSyncLevel {
    FullyInSync,
    RemoteNotInSync,
    LocalNotInSync,
    LocalAndRemoteNotInSync,
}

impl PeeringSyncLevel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullyInSync => "FullyInSync",
            Self::RemoteNotInSync => "RemoteNotInSync",
            Self::LocalNotInSync => "LocalNotInSync",
            Self::LocalAndRemoteNotInSync => "LocalAndRemoteNotInSync",
        }
    }
}

/// `Microsoft.Network/virtualNetworks/virtualNetworkPeerings`
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualNetworkPeering {
    pub id: ResourceId,
    pub remote_virtual_network: ResourceId,
    pub allow_virtual_network_access: bool,
    pub allow_forwarded_traffic: bool,
    pub allow_gateway_transit: bool,
    pub use_remote_gateways: bool,
    /// `peerCompleteVnets: false`, with the subnets that are peered; `None`: all of both networks.
    pub subnets: Option<SubnetPeering>,
    /// Derived: whether the remote VNet has a peering back.
    pub peering_state: PeeringState,
    pub peering_sync_level: PeeringSyncLevel,
    /// The remote VNet's prefixes that this side routes to: what was last synchronised. A template
    /// is deployed whole, so there it is the remote VNet's address space, or that of its subnets
    /// that are peered.
    pub remote_address_space: Vec<IpNet>,
}

/// `Microsoft.Network/networkInterfaces`
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkInterface {
    pub id: ResourceId,
    /// Given, or made from the id (locally stable, in Azure's OUI 00:0d:3a).
    pub mac_address: [u8; 6],
    pub enable_ip_forwarding: bool,
    pub network_security_group: Option<ResourceId>,
    /// Of its ipConfigurations, which all have the same; sorted.
    pub application_security_groups: Vec<ResourceId>,
    /// At least one; the primary one first. All in subnets of one VNet.
    pub ip_configurations: Vec<IpConfiguration>,
    /// Tag `vnet-gw:device`: the host-side netdev of the workload. `None`: not plugged in here.
    pub device: Option<String>,
    /// Tag `vnet-gw:host`: the host it lives on; `None` is this one.
    pub host: Option<String>,
    pub tags: BTreeMap<String, String>,
}

impl NetworkInterface {
    /// Names the virtual machine that it is in: a name in its resource group, or a full id. Without
    /// it an interface is in a virtual machine of its own name.
    pub const TAG_MACHINE: &str = "vnet-gw:vm";
}

/// `properties.ipConfigurations[]` of a networkInterface
#[derive(Clone, Debug, PartialEq)]
pub struct IpConfiguration {
    pub name: String,
    pub subnet: ResourceId,
    /// Static, or the lowest free one of the subnet where the method is `Dynamic`.
    pub private_ip_address: IpAddr,
    pub primary: bool,
}

/// `Microsoft.Network/routeTables`. The routes are ordered by prefix, so that what is built from
/// a large one need not sort it again.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTable {
    pub id: ResourceId,
    pub disable_bgp_route_propagation: bool,
    pub routes: Vec<Route>,
    pub tags: BTreeMap<String, String>,
}

/// `Microsoft.Network/routeTables/routes`
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub name: Arc<str>,
    pub address_prefix: IpNet,
    pub next_hop: RouteNextHop,
}

/// `nextHopType` of a user route, with the address of the one type that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteNextHop {
    VirtualNetworkGateway,
    VnetLocal,
    Internet,
    VirtualAppliance(IpAddr),
    None,
}

impl Topology {
    /// The VNet that a subnet id is part of.
    pub fn vnet_of_subnet(&self, subnet: &ResourceId) -> Option<&VirtualNetwork> {
        // The id of the VNet is the beginning of the subnet's, unless somebody made them up.
        let has = |vnet: &&VirtualNetwork| vnet.subnets.contains_key(subnet);
        let parent = self.virtual_networks.get(&subnet.parent());
        let parent = parent.map(Deref::deref).filter(has);
        parent.or_else(|| self.virtual_networks.values().map(Deref::deref).find(has))
    }

    /// The peering of `vnet` to `remote`.
    pub fn peering(
        &self,
        vnet: &ResourceId,
        remote: &ResourceId,
    ) -> Option<&VirtualNetworkPeering> {
        self.virtual_networks
            .get(vnet)?
            .peerings
            .values()
            .find(|peering| peering.remote_virtual_network == *remote)
    }
}
