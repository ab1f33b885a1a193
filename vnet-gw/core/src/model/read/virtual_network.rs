//! `virtualNetworks`, `virtualNetworks/subnets`, `virtualNetworks/virtualNetworkPeerings`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    PeeringMemory, Reader, VirtualNetworkDraft, envelope::Envelope, fragment::PeeringDraft,
};
use crate::model::{
    ArmError, Kind, PeeringState, PeeringSyncLevel, ResourceId, Subnet, SubnetPeering,
    VirtualNetwork, VirtualNetworkPeering,
    error::cut,
    id::group_of,
    normalise_location,
    object::{HARMLESS, Neutral, Object, QUIET, READ, REFUSED, Rule, Schema, format_error},
    path::Path,
    prefix,
    template::node::Node,
};
use ipnet::IpNet;

const VIRTUAL_NETWORK: Schema = &[
    ("addressSpace", READ),
    ("dhcpOptions", READ),
    ("subnets", READ),
    ("virtualNetworkPeerings", READ),
    ("flowTimeoutInMinutes", READ),
    ("resourceGuid", QUIET),
    ("provisioningState", QUIET),
    ("enableDdosProtection", REFUSED),
    ("enableVmProtection", REFUSED),
    ("ddosProtectionPlan", REFUSED),
    ("bgpCommunities", HARMLESS),
    ("encryption", Rule::Refused(Neutral::NotEnabled)),
    ("ipAllocations", REFUSED),
    ("flowLogs", QUIET),
    // Of private endpoints, which this version refuses.
    (
        "privateEndpointVNetPolicies",
        Rule::Harmless(Neutral::Text("Disabled")),
    ),
    ("defaultPublicNatGateway", REFUSED),
    ("summarizedGatewayPrefixes", REFUSED),
];

const ADDRESS_SPACE: Schema = &[
    ("addressPrefixes", READ),
    ("ipamPoolPrefixAllocations", REFUSED),
];

const DHCP_OPTIONS: Schema = &[("dnsServers", READ)];

const SUBNET: Schema = &[
    ("addressPrefix", READ),
    ("addressPrefixes", READ),
    ("networkSecurityGroup", READ),
    ("routeTable", READ),
    ("natGateway", REFUSED),
    ("serviceEndpoints", REFUSED),
    ("serviceEndpointPolicies", REFUSED),
    ("privateEndpoints", REFUSED),
    // What uses the subnet, as Azure lists it.
    ("ipConfigurations", QUIET),
    ("ipConfigurationProfiles", QUIET),
    ("ipAllocations", REFUSED),
    ("resourceNavigationLinks", QUIET),
    ("serviceAssociationLinks", QUIET),
    ("delegations", HARMLESS),
    ("purpose", QUIET),
    ("provisioningState", QUIET),
    // Of private endpoints, which are refused; clients always say something.
    ("privateEndpointNetworkPolicies", QUIET),
    ("privateLinkServiceNetworkPolicies", QUIET),
    ("applicationGatewayIPConfigurations", REFUSED),
    ("sharingScope", HARMLESS),
    // Outbound access is by the instance's internet port alone, never by default.
    ("defaultOutboundAccess", HARMLESS),
    ("ipamPoolPrefixAllocations", REFUSED),
    ("serviceGateway", REFUSED),
];

const PEERING: Schema = &[
    ("allowVirtualNetworkAccess", READ),
    ("allowForwardedTraffic", READ),
    ("allowGatewayTransit", READ),
    ("useRemoteGateways", READ),
    ("remoteVirtualNetwork", READ),
    ("doNotVerifyRemoteGateways", READ),
    // Derived from the two networks, and from what is remembered of them in documents.
    ("localAddressSpace", QUIET),
    ("localVirtualNetworkAddressSpace", QUIET),
    ("remoteAddressSpace", QUIET),
    ("remoteVirtualNetworkAddressSpace", QUIET),
    ("remoteBgpCommunities", HARMLESS),
    ("remoteVirtualNetworkEncryption", QUIET),
    ("peeringState", QUIET),
    ("peeringSyncLevel", QUIET),
    ("provisioningState", QUIET),
    ("resourceGuid", QUIET),
    ("peerCompleteVnets", READ),
    ("enableOnlyIPv6Peering", READ),
    ("localSubnetNames", READ),
    ("remoteSubnetNames", READ),
];

/// A child in its parent's properties.
pub(super) const NESTED: Schema = &[
    ("name", READ),
    ("properties", READ),
    ("id", QUIET),
    ("etag", QUIET),
    ("type", QUIET),
    ("location", HARMLESS),
    ("tags", HARMLESS),
];

impl Reader<'_> {
    pub(super) fn virtual_network(&mut self, envelope: &Envelope<'_>) {
        let id = &envelope.id;
        let path = envelope.properties_path();
        let object = Object::open(envelope.properties, &path, VIRTUAL_NETWORK, self.errors);
        let space_path = path.key("addressSpace");
        let space = object.get("addressSpace").unwrap_or(&Node::Null);
        let space = Object::open(space, &space_path, ADDRESS_SPACE, self.errors);
        let address_space = self.prefixes(&space, "addressPrefixes");
        if !object.is_broken() && space.lacks_items("addressPrefixes") {
            self.errors.push(format_error(
                "A virtual network needs an address space: add addressPrefixes.",
                &space_path,
            ));
        }
        let dns_servers = self.dns_servers(&object);
        let minutes = VirtualNetwork::FLOW_TIMEOUTS;
        let minutes = u64::from(*minutes.start())..=u64::from(*minutes.end());
        let flow_timeout = object.integer("flowTimeoutInMinutes", minutes, self.errors);
        let flow_timeout = flow_timeout.and_then(|minutes| u8::try_from(minutes).ok());
        let network = VirtualNetwork {
            id: id.clone(),
            location: normalise_location(envelope.location.unwrap_or(self.location)),
            address_space,
            dns_servers,
            flow_timeout: flow_timeout.unwrap_or(VirtualNetwork::FLOW_TIMEOUT),
            subnets: BTreeMap::new(),
            peerings: BTreeMap::new(),
            tags: envelope.tags.clone(),
        };
        let mut draft = VirtualNetworkDraft {
            network: network.into(),
            unverified_gateways: BTreeSet::new(),
            waits: !self.errors.are_of_documents(),
            memory: BTreeMap::new(),
        };
        let list_path = path.key("subnets");
        for (index, item) in object.array("subnets", self.errors).iter().enumerate() {
            let path = list_path.index(index);
            let Some((id, properties)) = self.nested(item, &path, Kind::Subnet, id) else {
                continue;
            };
            let subnet = self.subnet(&id, properties, &path.key("properties"));
            if draft.network.subnets.insert(id.clone(), subnet).is_some() {
                self.twice(&id, &path);
            }
        }
        let list_path = path.key("virtualNetworkPeerings");
        for (index, item) in object
            .array("virtualNetworkPeerings", self.errors)
            .iter()
            .enumerate()
        {
            let path = list_path.index(index);
            let nested = self.nested(item, &path, Kind::VirtualNetworkPeering, id);
            let Some((id, properties)) = nested else {
                continue;
            };
            let peering = self.peering(&id, properties, &path.key("properties"));
            if peering.is_some_and(|peering| peering.put_into(&mut draft)) {
                self.twice(&id, &path);
            }
        }
        self.draft.virtual_networks.insert(id.clone(), draft);
    }

    /// Id and properties of a child in its parent's properties.
    pub(super) fn nested<'v>(
        &mut self,
        item: &'v Node<'v>,
        path: &Path<'_>,
        kind: Kind,
        parent: &ResourceId,
    ) -> Option<(ResourceId, &'v Node<'v>)> {
        // The object lives as long as the path; the properties as long as the item.
        let name = {
            let object = Object::open(item, path, NESTED, self.errors);
            let name = object.needed_text("name", self.errors)?;
            let good = kind.check_name(name);
            self.errors
                .keep(good.map_err(|error| error.at(path.key("name").to_string())))?;
            name.to_owned()
        };
        let id = kind.id(group_of(parent), &[parent.name(), &name]);
        let properties = item.as_object().and_then(|fields| fields.get("properties"));
        Some((id, properties.unwrap_or(&Node::Null)))
    }

    pub(super) fn twice(&mut self, id: &ResourceId, path: &Path<'_>) {
        self.errors.push(
            ArmError::new(
                "DuplicateResourceName",
                format!(
                    "The name '{}' is there twice: rename or remove one.",
                    id.name()
                ),
            )
            .at(path.to_string()),
        );
    }

    pub(super) fn subnet(
        &mut self,
        id: &ResourceId,
        properties: &Node<'_>,
        path: &Path<'_>,
    ) -> Subnet {
        let object = Object::open(properties, path, SUBNET, self.errors);
        let mut address_prefixes = self.prefixes(&object, "addressPrefixes");
        if let Some(text) = object.text("addressPrefix", self.errors) {
            let single = self.prefix(text, &path.key("addressPrefix"));
            match single {
                // Exports have both, the single one being the first of the others.
                Some(single) if address_prefixes.is_empty() => address_prefixes.push(single),
                Some(single) if !address_prefixes.contains(&single) => {
                    self.errors.push(format_error(
                        "addressPrefix is not one of the addressPrefixes: remove addressPrefix.",
                        &path.key("addressPrefix"),
                    ))
                }
                _ => {}
            }
        } else if object.lacks_text("addressPrefix") && object.lacks_items("addressPrefixes") {
            self.errors.push(format_error(
                "A subnet needs an addressPrefix: add one.",
                path,
            ));
        }
        let network_security_group = self.security_group(&object, id);
        if network_security_group.is_some()
            && id.name().eq_ignore_ascii_case(Subnet::GATEWAY_SUBNET)
        {
            let error = ArmError::new(
                "NetworkSecurityGroupCannotBeAttachedToGatewaySubnet",
                "A network security group cannot be associated with GatewaySubnet: remove it.",
            );
            self.errors
                .push(error.at(path.key("networkSecurityGroup").to_string()));
        }
        let route_table = object
            .reference("routeTable", self.errors)
            .and_then(|text| {
                let path = path.key("routeTable").key("id").to_string();
                let id = Kind::RouteTable.resolve(text, group_of(id));
                self.errors.keep(id.map_err(|error| error.at(path)))
            });
        Subnet {
            id: id.clone(),
            address_prefixes,
            route_table,
            network_security_group,
        }
    }

    pub(super) fn peering(
        &mut self,
        id: &ResourceId,
        properties: &Node<'_>,
        path: &Path<'_>,
    ) -> Option<PeeringDraft> {
        let object = Object::open(properties, path, PEERING, self.errors);
        let access = object.boolean("allowVirtualNetworkAccess", self.errors);
        let forwarded = object.boolean("allowForwardedTraffic", self.errors);
        let transit = object.boolean("allowGatewayTransit", self.errors);
        let remote_gateways = object.boolean("useRemoteGateways", self.errors);
        let unverified = object.boolean("doNotVerifyRemoteGateways", self.errors);
        let memory = self.peering_memory(&object);
        if object.lacks("remoteVirtualNetwork") {
            self.errors.push(format_error(
                "A peering needs its remoteVirtualNetwork: add {\"id\": \"…\"}.",
                path,
            ));
        }
        let remote = object.reference("remoteVirtualNetwork", self.errors)?;
        let remote = Kind::VirtualNetwork.resolve(remote, group_of(id));
        let remote_path = path.key("remoteVirtualNetwork").key("id").to_string();
        let remote = self
            .errors
            .keep(remote.map_err(|error| error.at(remote_path)))?;
        let subnets = self.peered_subnets(&object, &id.parent(), &remote, path);
        let (state, level, space) = match &memory {
            // Until the other side is looked for.
            None => (
                PeeringState::Initiated,
                PeeringSyncLevel::RemoteNotInSync,
                None,
            ),
            Some(memory) => {
                let level = match memory.state {
                    PeeringState::Connected => PeeringSyncLevel::FullyInSync,
                    _ => PeeringSyncLevel::RemoteNotInSync,
                };
                (memory.state, level, memory.space.clone())
            }
        };
        let peering = VirtualNetworkPeering {
            id: id.clone(),
            remote_virtual_network: remote,
            allow_virtual_network_access: access.unwrap_or(true),
            allow_forwarded_traffic: forwarded.unwrap_or(false),
            allow_gateway_transit: transit.unwrap_or(false),
            use_remote_gateways: remote_gateways.unwrap_or(false),
            subnets,
            peering_state: state,
            peering_sync_level: level,
            remote_address_space: space.unwrap_or_default(),
        };
        Some(PeeringDraft {
            peering,
            unverified_gateways: unverified == Some(true),
            memory,
        })
    }

    /// Of a peering of subnets: which.
    fn peered_subnets(
        &mut self,
        object: &Object<'_, '_>,
        local: &ResourceId,
        remote: &ResourceId,
        path: &Path<'_>,
    ) -> Option<SubnetPeering> {
        let complete = object.boolean("peerCompleteVnets", self.errors);
        let only_ipv6 = object.boolean("enableOnlyIPv6Peering", self.errors) == Some(true);
        let mut named = |list: &str, network: &ResourceId| -> Vec<ResourceId> {
            let list_path = path.key(list);
            let names = object.texts(list, self.errors);
            let mut ids: Vec<ResourceId> = Vec::with_capacity(names.len());
            for (index, name) in names {
                let good = Kind::Subnet.check_name(name);
                let at = list_path.index(index).to_string();
                let id = Kind::Subnet.id(group_of(network), &[network.name(), name]);
                let new = self
                    .errors
                    .keep(good.map_err(|error| error.at(at)))
                    .is_some()
                    && !ids.contains(&id);
                if new {
                    ids.push(id);
                }
            }
            ids
        };
        let (local, remote) = (
            named("localSubnetNames", local),
            named("remoteSubnetNames", remote),
        );
        if complete == Some(false) {
            if local.is_empty() || remote.is_empty() {
                self.errors.push(format_error(
                    "A peering of subnets (peerCompleteVnets: false) names those of both networks: \
                     add localSubnetNames and remoteSubnetNames.",
                    path,
                ));
            }
            return Some(SubnetPeering {
                local,
                remote,
                only_ipv6,
            });
        }
        if only_ipv6 || !local.is_empty() || !remote.is_empty() {
            self.errors.push(format_error(
                "localSubnetNames, remoteSubnetNames and enableOnlyIPv6Peering are of a peering of \
                 subnets: set peerCompleteVnets to false, or remove them.",
                path,
            ));
        }
        None
    }

    /// What a document remembers; a template, exported perhaps from somewhere else, nothing.
    fn peering_memory(&mut self, object: &Object<'_, '_>) -> Option<PeeringMemory> {
        if !self.errors.are_of_documents() {
            return None;
        }
        let states = ["Initiated", "Connected", "Disconnected"];
        let state = match object.choice("peeringState", &states, self.errors)? {
            "Connected" => PeeringState::Connected,
            "Disconnected" => PeeringState::Disconnected,
            _ => PeeringState::Initiated,
        };
        let path = object.path.key("remoteAddressSpace");
        let space = object.get("remoteAddressSpace").map(|space| {
            let space = Object::open(space, &path, ADDRESS_SPACE, self.errors);
            self.prefixes(&space, "addressPrefixes")
        });
        Some(PeeringMemory { state, space })
    }

    pub(super) fn prefixes(&mut self, object: &Object<'_, '_>, name: &str) -> Vec<IpNet> {
        let path = object.path.key(name);
        let texts = object.texts(name, self.errors);
        texts
            .into_iter()
            .filter_map(|(index, text)| self.prefix(text, &path.index(index)))
            .collect()
    }

    pub(super) fn prefix(&mut self, text: &str, path: &Path<'_>) -> Option<IpNet> {
        self.errors
            .keep(prefix::parse(text).map_err(|error| error.at(path.to_string())))
    }

    fn dns_servers(&mut self, object: &Object<'_, '_>) -> Vec<IpAddr> {
        let path = object.path.key("dhcpOptions");
        let options = object.get("dhcpOptions").unwrap_or(&Node::Null);
        let options = Object::open(options, &path, DHCP_OPTIONS, self.errors);
        let list_path = path.key("dnsServers");
        let texts = options.texts("dnsServers", self.errors);
        texts
            .into_iter()
            .filter_map(|(index, text)| self.address(text, &list_path.index(index)))
            .collect()
    }

    pub(super) fn address(&mut self, text: &str, path: &Path<'_>) -> Option<IpAddr> {
        let address = text.trim().parse().map_err(|_| {
            ArmError::new(
                "InvalidIPAddressFormat",
                format!(
                    "'{}' is not an IP address: write one such as 10.0.0.4 or fd00:1::4.",
                    cut(text)
                ),
            )
            .at(path.to_string())
        });
        self.errors.keep(address)
    }
}
