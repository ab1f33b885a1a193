//! networkInterfaces, with their effective routes.

use serde_json::{Value, json};

use super::{View, names, written::Properties};
use crate::{
    arm::State,
    effective::{EffectiveError, EffectiveRouteTable, effective_routes_of_nic},
    model::{self, ResourceId},
    watcher::machine_of,
};

/// The answer to `effectiveRouteTable` of a NIC (rules B1 to B8).
///
/// # Errors
///
/// Where there is no such NIC.
pub fn effective_routes(
    state: &State,
    nic: &ResourceId,
) -> Result<EffectiveRouteTable, EffectiveError> {
    let value = effective_routes_of_nic(&state.topology, nic)?;
    Ok(EffectiveRouteTable { value })
}

impl View<'_> {
    pub(super) fn network_interface(&self, properties: &mut Properties) {
        let nics = &self.state.topology.network_interfaces;
        let nic = nics.get(&self.document.id);
        self.ip_configurations(names::IP_CONFIGURATION, properties, |name, properties| {
            self.nic_ip_configuration(nic.map(|nic| &**nic), name, properties);
        });
        let none = || json!([]);
        properties.object(
            "dnsSettings",
            &[("dnsServers", none()), ("appliedDnsServers", none())],
        );
        if let Some(nic) = nic {
            properties.set("macAddress", mac_address(nic.mac_address));
            properties.set("enableIPForwarding", nic.enable_ip_forwarding);
            let machine = machine_of(nic);
            properties.set("virtualMachine", json!({ "id": machine.as_str() }));
        }
        self.reference(properties, "networkSecurityGroup");
        for (name, value) in [
            ("primary", true),
            ("enableAcceleratedNetworking", false),
            ("vnetEncryptionSupported", false),
            ("disableTcpStateTracking", false),
        ] {
            properties.default(name, value);
        }
        properties.default("hostedWorkloads", none());
        properties.default("tapConfigurations", none());
        properties.default("nicType", "Standard");
        properties.default("auxiliaryMode", "None");
        properties.default("auxiliarySku", "None");
    }

    fn nic_ip_configuration(
        &self,
        nic: Option<&model::NetworkInterface>,
        name: &str,
        properties: &mut Properties,
    ) {
        let written = properties.get("privateIPAddress").and_then(Value::as_str);
        let fixed = written.is_some_and(|address| !address.is_empty());
        let method = if fixed { "Static" } else { "Dynamic" };
        properties.default("privateIPAllocationMethod", method);
        self.reference(properties, "publicIPAddress");
        self.references(properties, "applicationSecurityGroups");
        let mut configurations = nic.into_iter().flat_map(|nic| &nic.ip_configurations);
        let found = configurations.find(|one| one.name.eq_ignore_ascii_case(name));
        if let Some(found) = found {
            let address = found.private_ip_address;
            properties.set("privateIPAddress", address.to_string());
            properties.set("subnet", self.reference_to_subnet(&found.subnet));
            properties.set("primary", found.primary);
            let version = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            properties.set("privateIPAddressVersion", version);
        }
    }
}

/// As Azure writes it: `00-0D-3A-1B-C7-21`.
fn mac_address(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02X}")).join("-")
}
