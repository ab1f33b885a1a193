//! publicIPAddresses.

use serde_json::{Map, Value, json};

use super::{View, field, written::Properties};

/// `sku`, which stands beside the properties.
pub(super) fn sku(body: &mut Map<String, Value>) {
    let mut sku = match field(body, "sku") {
        Some(Value::Object(sku)) => sku.clone(),
        _ => Map::new(),
    };
    for (name, value) in [("name", "Standard"), ("tier", "Regional")] {
        if field(&sku, name).is_none() {
            sku.insert(name.to_owned(), value.into());
        }
    }
    body.retain(|name, _| !name.eq_ignore_ascii_case("sku"));
    body.insert("sku".to_owned(), sku.into());
}

impl View<'_> {
    pub(super) fn public_ip_address(&self, properties: &mut Properties) {
        let topology = &self.state.topology;
        let id = &self.document.id;
        if let Some(address) = topology.public_ip_addresses.get(id) {
            let address = address.ip_address;
            properties.set("ipAddress", address.to_string());
            let version = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            properties.set("publicIPAddressVersion", version);
        }
        properties.default("publicIPAllocationMethod", "Static");
        properties.default("idleTimeoutInMinutes", 4);
        properties.default("ipTags", json!([]));
        properties.object(
            "ddosSettings",
            &[("protectionMode", "VirtualNetworkInherited".into())],
        );
        let references = &self.state.references;
        if let Some(user) = references.with_public_address(topology, id) {
            properties.set("ipConfiguration", json!({ "id": user }));
        }
    }
}
