//! What reading makes: resources that are not yet held against one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use super::{NetworkInterfaceDraft, VirtualNetworkGatewayDraft};
use crate::model::{
    ApplicationSecurityGroup, Connection, ConnectionRemote, Kind, LocalNetworkGateway,
    NetworkSecurityGroup, PeeringState, PublicIpAddress, ResourceId, RouteTable, Shared,
    VirtualNetwork, VirtualNetworkPeering,
};

/// What a template or a document says. Rules of one resource alone may still change it; then it
/// falls into [`Fragment`]s.
#[derive(Default)]
pub(in crate::model) struct Draft {
    pub(in crate::model) virtual_networks: BTreeMap<ResourceId, VirtualNetworkDraft>,
    pub(in crate::model) route_tables: BTreeMap<ResourceId, RouteTable>,
    pub(in crate::model) network_security_groups: BTreeMap<ResourceId, NetworkSecurityGroup>,
    pub(in crate::model) application_security_groups:
        BTreeMap<ResourceId, ApplicationSecurityGroup>,
    /// In the template's order, in which dynamic addresses are given.
    pub(in crate::model) network_interfaces: Vec<NetworkInterfaceDraft>,
    pub(in crate::model) public_ip_addresses: BTreeMap<ResourceId, PublicIpAddress>,
    pub(in crate::model) virtual_network_gateways: Vec<VirtualNetworkGatewayDraft>,
    pub(in crate::model) local_network_gateways: BTreeMap<ResourceId, LocalNetworkGateway>,
    /// What follows from their other end is not filled in yet.
    pub(in crate::model) connections: BTreeMap<ResourceId, Connection>,
    pub(in crate::model) network_watchers: BTreeSet<ResourceId>,
    /// The locations that are written, lower case and without spaces.
    pub(in crate::model) locations: BTreeMap<ResourceId, String>,
}

/// A virtual network; what its peerings follow from is not looked at yet, so they are as they are
/// remembered, or as if each were alone.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct VirtualNetworkDraft {
    pub(in crate::model) network: Shared<VirtualNetwork>,
    /// Peerings whose `doNotVerifyRemoteGateways` is set.
    pub(in crate::model) unverified_gateways: BTreeSet<ResourceId>,
    /// What it is written in is all there is of its resource group alone: peerings wait for
    /// networks of others.
    pub(in crate::model) waits: bool,
    /// Of peerings that were settled before. A template remembers nothing.
    pub(in crate::model) memory: BTreeMap<ResourceId, PeeringMemory>,
}

/// What a document remembers of a peering.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct PeeringMemory {
    pub(in crate::model) state: PeeringState,
    /// The remote address space of the last synchronisation; `None`: it takes place now.
    pub(in crate::model) space: Option<Vec<IpNet>>,
}

/// A peering on its way into its virtual network.
pub(super) struct PeeringDraft {
    pub(super) peering: VirtualNetworkPeering,
    pub(super) unverified_gateways: bool,
    pub(super) memory: Option<PeeringMemory>,
}

impl VirtualNetworkDraft {
    /// Whether a peering waits for a network that is not there.
    pub(in crate::model) fn waits_for(&self, remote: &ResourceId) -> bool {
        self.waits && !remote.group().eq_ignore_ascii_case(self.network.id.group())
    }
}

impl PeeringDraft {
    /// Whether there was one of this name already.
    pub(super) fn put_into(self, draft: &mut VirtualNetworkDraft) -> bool {
        let id = self.peering.id.clone();
        draft.unverified_gateways.remove(&id);
        draft.memory.remove(&id);
        if self.unverified_gateways {
            draft.unverified_gateways.insert(id.clone());
        }
        if let Some(memory) = self.memory {
            draft.memory.insert(id.clone(), memory);
        }
        draft.network.peerings.insert(id, self.peering).is_some()
    }
}

/// One top-level resource with its children. It is shared with every topology that it is part of.
#[derive(Clone, Debug)]
pub(in crate::model) struct Fragment {
    /// As it is written, lower case and without spaces.
    pub(in crate::model) location: Option<String>,
    pub(in crate::model) resource: Resource,
}

#[derive(Clone, Debug)]
pub(in crate::model) enum Resource {
    VirtualNetwork(VirtualNetworkDraft),
    RouteTable(Arc<RouteTable>),
    NetworkSecurityGroup(Shared<NetworkSecurityGroup>),
    ApplicationSecurityGroup(Shared<ApplicationSecurityGroup>),
    NetworkInterface(NetworkInterfaceDraft),
    PublicIpAddress(Shared<PublicIpAddress>),
    VirtualNetworkGateway(VirtualNetworkGatewayDraft),
    LocalNetworkGateway(Shared<LocalNetworkGateway>),
    Connection(Shared<Connection>),
    NetworkWatcher(ResourceId),
}

impl Resource {
    pub(in crate::model) fn id(&self) -> &ResourceId {
        match self {
            Self::VirtualNetwork(draft) => &draft.network.id,
            Self::RouteTable(table) => &table.id,
            Self::NetworkSecurityGroup(group) => &group.id,
            Self::ApplicationSecurityGroup(group) => &group.id,
            Self::NetworkInterface(draft) => &draft.id,
            Self::PublicIpAddress(address) => &address.id,
            Self::VirtualNetworkGateway(draft) => &draft.id,
            Self::LocalNetworkGateway(site) => &site.id,
            Self::Connection(connection) => &connection.id,
            Self::NetworkWatcher(id) => id,
        }
    }

    /// What it refers to and cannot do without: the resource or child that refers, the kind of
    /// what it refers to, and that. What peerings lead to is not among them: they outlive their
    /// other side.
    pub(in crate::model) fn each_reference<'a>(
        &'a self,
        each: &mut dyn FnMut(&'a ResourceId, Kind, &'a ResourceId),
    ) {
        match self {
            Self::VirtualNetwork(draft) => {
                for subnet in draft.network.subnets.values() {
                    if let Some(table) = &subnet.route_table {
                        each(&subnet.id, Kind::RouteTable, table);
                    }
                    if let Some(group) = &subnet.network_security_group {
                        each(&subnet.id, Kind::NetworkSecurityGroup, group);
                    }
                }
                for peering in draft.network.peerings.values() {
                    for subnet in peering.subnets.iter().flat_map(|subnets| &subnets.local) {
                        each(&peering.id, Kind::Subnet, subnet);
                    }
                }
            }
            Self::NetworkInterface(draft) => {
                for configuration in &draft.ip_configurations {
                    each(&draft.id, Kind::Subnet, &configuration.subnet);
                    for group in &configuration.application_security_groups {
                        each(&draft.id, Kind::ApplicationSecurityGroup, group);
                    }
                }
                if let Some(group) = &draft.network_security_group {
                    each(&draft.id, Kind::NetworkSecurityGroup, group);
                }
            }
            Self::NetworkSecurityGroup(group) => {
                for other in group.application_security_groups() {
                    each(&group.id, Kind::ApplicationSecurityGroup, other);
                }
            }
            Self::VirtualNetworkGateway(draft) => {
                for configuration in &draft.ip_configurations {
                    each(&draft.id, Kind::Subnet, &configuration.subnet);
                    let address = &configuration.public_ip_address;
                    each(&draft.id, Kind::PublicIpAddress, address);
                }
            }
            Self::Connection(connection) => {
                let gateway = &connection.gateway;
                each(&connection.id, Kind::VirtualNetworkGateway, gateway);
                let (kind, remote) = match &connection.remote {
                    ConnectionRemote::VirtualNetworkGateway(id) => {
                        (Kind::VirtualNetworkGateway, id)
                    }
                    ConnectionRemote::LocalNetworkGateway(id) => (Kind::LocalNetworkGateway, id),
                };
                each(&connection.id, kind, remote);
            }
            Self::RouteTable(_)
            | Self::ApplicationSecurityGroup(_)
            | Self::PublicIpAddress(_)
            | Self::LocalNetworkGateway(_)
            | Self::NetworkWatcher(_) => {}
        }
    }
}

impl Draft {
    pub(in crate::model) fn into_fragments(self) -> Vec<Fragment> {
        let mut locations = self.locations;
        let shared = self
            .virtual_networks
            .into_values()
            .map(Resource::VirtualNetwork)
            .chain(
                self.route_tables
                    .into_values()
                    .map(|t| Resource::RouteTable(t.into())),
            )
            .chain(
                self.network_security_groups
                    .into_values()
                    .map(|group| Resource::NetworkSecurityGroup(group.into())),
            )
            .chain(
                self.application_security_groups
                    .into_values()
                    .map(|group| Resource::ApplicationSecurityGroup(group.into())),
            )
            .chain(
                self.network_interfaces
                    .into_iter()
                    .map(Resource::NetworkInterface),
            )
            .chain(
                self.public_ip_addresses
                    .into_values()
                    .map(|address| Resource::PublicIpAddress(address.into())),
            )
            .chain(
                self.virtual_network_gateways
                    .into_iter()
                    .map(Resource::VirtualNetworkGateway),
            )
            .chain(
                self.local_network_gateways
                    .into_values()
                    .map(|site| Resource::LocalNetworkGateway(site.into())),
            )
            .chain(
                self.connections
                    .into_values()
                    .map(|connection| Resource::Connection(connection.into())),
            )
            .chain(
                self.network_watchers
                    .into_iter()
                    .map(Resource::NetworkWatcher),
            );
        shared
            .map(|resource| Fragment {
                location: locations.remove(resource.id()),
                resource,
            })
            .collect()
    }
}
