//! virtualNetworkGateways.

use serde_json::{Map, Value, json};

use super::{View, names, written::Properties};
use crate::model::{GatewaySku, VirtualNetworkGateway};

/// Azure's own ASN, which a gateway has where none is written.
const ASN: u32 = 65515;

impl View<'_> {
    pub(super) fn virtual_network_gateway(&self, properties: &mut Properties) {
        let gateways = &self.state.topology.virtual_network_gateways;
        let gateway = gateways.get(&self.document.id);
        let known = names::GATEWAY_IP_CONFIGURATION;
        self.ip_configurations(known, properties, |name, properties| {
            properties.default("privateIPAllocationMethod", "Dynamic");
            if let Some(gateway) = gateway {
                self.gateway_ip_configuration(gateway, name, properties);
            }
        });
        properties.default("gatewayType", "Vpn");
        properties.default("vpnType", "RouteBased");
        for name in [
            "enableBgp",
            "activeActive",
            "enablePrivateIpAddress",
            "disableIPSecReplayProtection",
            "enableBgpRouteTranslationForNat",
            "allowRemoteVnetTraffic",
            "allowVirtualWanTraffic",
        ] {
            properties.default(name, false);
        }
        properties.default("natRules", json!([]));
        let Some(gateway) = gateway else { return };
        properties.set("vpnGatewayGeneration", generation(gateway.sku));
        let sku = json!({"name": gateway.sku_name, "tier": gateway.sku_name, "capacity": 2});
        properties.set("sku", sku);
        self.bgp_settings(gateway, properties);
    }

    fn gateway_ip_configuration(
        &self,
        gateway: &VirtualNetworkGateway,
        name: &str,
        properties: &mut Properties,
    ) {
        let mut configurations = gateway.ip_configurations.iter();
        if let Some(found) = configurations.find(|one| one.name.eq_ignore_ascii_case(name)) {
            let address = found.private_ip_address.to_string();
            properties.set("privateIPAddress", address);
            let public = self.reference_to(&found.public_ip_address);
            properties.set("publicIPAddress", public);
            properties.set("subnet", self.reference_to_subnet(&gateway.subnet));
        }
    }

    /// Shown of every gateway, whether it speaks BGP or not: this is where clients find the public
    /// addresses of its tunnels.
    fn bgp_settings(&self, gateway: &VirtualNetworkGateway, properties: &mut Properties) {
        let addresses = || gateway.ip_configurations.iter();
        let all: Vec<String> = addresses()
            .map(|one| one.private_ip_address.to_string())
            .collect();
        let written = properties.get("bgpSettings").and_then(Value::as_object);
        let mut settings = written.cloned().unwrap_or_default();
        let peerings = addresses()
            .zip(&gateway.public_addresses)
            .map(|(one, public)| {
                let id = format!("{}/ipConfigurations/{}", gateway.id, one.name);
                json!({
                    "customBgpIpAddresses": custom_addresses(&settings, &id),
                    "defaultBgpIpAddresses": [one.private_ip_address.to_string()],
                    "ipconfigurationId": id,
                    "tunnelIpAddresses": [public.to_string()],
                })
            });
        let peerings: Value = peerings.collect();
        settings.entry("asn").or_insert_with(|| ASN.into());
        settings.entry("peerWeight").or_insert_with(|| 0.into());
        settings.insert("bgpPeeringAddress".to_owned(), all.join(",").into());
        settings.insert("bgpPeeringAddresses".to_owned(), peerings);
        properties.set("bgpSettings", settings);
    }
}

/// What was written for one ipConfiguration.
fn custom_addresses(settings: &Map<String, Value>, id: &str) -> Value {
    let written = settings
        .get("bgpPeeringAddresses")
        .and_then(Value::as_array);
    let mut written = written.into_iter().flatten();
    let found = written.find(|one| {
        let id_of = one.get("ipconfigurationId").and_then(Value::as_str);
        id_of.is_some_and(|other| other.eq_ignore_ascii_case(id))
    });
    let custom = found.and_then(|one| one.get("customBgpIpAddresses"));
    custom.cloned().unwrap_or_else(|| json!([]))
}

const fn generation(sku: GatewaySku) -> &'static str {
    match sku {
        GatewaySku::Basic | GatewaySku::VpnGw1 | GatewaySku::VpnGw2 | GatewaySku::VpnGw3 => {
            "Generation1"
        }
        GatewaySku::VpnGw2Generation2
        | GatewaySku::VpnGw3Generation2
        | GatewaySku::VpnGw4
        | GatewaySku::VpnGw5 => "Generation2",
    }
}
