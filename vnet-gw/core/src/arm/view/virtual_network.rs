//! virtualNetworks, subnets and virtualNetworkPeerings.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{View, field, written::Properties};
use crate::model::{Kind, ResourceId, peered};

impl View<'_> {
    pub(super) fn virtual_network(&self, properties: &mut Properties) {
        self.children(Kind::Subnet, properties);
        self.children(Kind::VirtualNetworkPeering, properties);
        if properties.get("dhcpOptions").is_some() {
            properties.object("dhcpOptions", &[("dnsServers", json!([]))]);
        }
        properties.default("privateEndpointVNetPolicies", "Disabled");
        properties.default("enableDdosProtection", false);
        properties.default("enableVmProtection", false);
    }

    pub(super) fn subnet(&self, id: &ResourceId, properties: &mut Properties) {
        let topology = &self.state.topology;
        let users = self.state.references.in_subnet(topology, id);
        properties.back_references("ipConfigurations", users);
        self.reference(properties, "routeTable");
        self.reference(properties, "networkSecurityGroup");
        properties.default("serviceEndpoints", json!([]));
        properties.default("delegations", json!([]));
        properties.default("privateEndpointNetworkPolicies", "Disabled");
        properties.default("privateLinkServiceNetworkPolicies", "Enabled");
    }

    pub(super) fn peering(&self, id: &ResourceId, properties: &mut Properties) {
        let topology = &self.state.topology;
        let own = topology.virtual_networks.get(&self.document.id);
        let peering = own.and_then(|vnet| vnet.peerings.get(id));
        for name in ["allowVirtualNetworkAccess", "peerCompleteVnets"] {
            properties.default(name, true);
        }
        for name in [
            "allowForwardedTraffic",
            "allowGatewayTransit",
            "useRemoteGateways",
            "doNotVerifyRemoteGateways",
        ] {
            properties.default(name, false);
        }
        let Some((own, peering)) = own.zip(peering) else {
            return self.reference(properties, "remoteVirtualNetwork");
        };
        let remote = &peering.remote_virtual_network;
        properties.set("peeringState", peering.peering_state.as_str());
        properties.set("peeringSyncLevel", peering.peering_sync_level.as_str());
        properties.set("remoteVirtualNetwork", self.reference_to(remote));
        if let Some(guid) = self.peering_guid(remote) {
            properties.set("resourceGuid", guid);
        }
        // What each side last took over from the other, and what the other has now.
        let space = address_space(&peering.remote_address_space);
        properties.set("remoteAddressSpace", space);
        let back = topology.peering(remote, &self.document.id);
        if let Some(remote) = topology.virtual_networks.get(remote) {
            let space = address_space(&peered::offered(peering, back, remote));
            properties.set("remoteVirtualNetworkAddressSpace", space);
        }
        let now = peered::offered_to(peering, back, own);
        let taken_over = back.map_or(&*now, |back| &back.remote_address_space);
        properties.set("localAddressSpace", address_space(taken_over));
        properties.set("localVirtualNetworkAddressSpace", address_space(&now));
    }

    /// As Azure makes it, equal on both sides: the two VNets' GUIDs, combined by exclusive or.
    fn peering_guid(&self, remote: &ResourceId) -> Option<String> {
        let guid = |id: &ResourceId| {
            let body = &self.state.documents.get(id)?.body;
            let properties = field(body, "properties")?.as_object()?;
            let text = field(properties, "resourceGuid")?.as_str()?;
            u128::from_str_radix(&text.replace('-', ""), 16).ok()
        };
        let text = format!("{:032x}", guid(&self.document.id)? ^ guid(remote)?);
        Some(format!(
            "{}-{}-{}-{}-{}",
            &text[..8],
            &text[8..12],
            &text[12..16],
            &text[16..20],
            &text[20..]
        ))
    }
}

fn address_space(prefixes: &[IpNet]) -> Value {
    let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    json!({ "addressPrefixes": prefixes })
}
