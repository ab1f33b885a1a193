//! `publicIPAddresses`.

use std::net::IpAddr;

use super::{Reader, envelope::Envelope};
use crate::model::{
    ArmError, PublicIpAddress,
    object::{HARMLESS, Neutral, Object, QUIET, READ, REFUSED, Rule, Schema, format_error},
    path::Path,
    template::node::Node,
};

const PUBLIC_IP_ADDRESS: Schema = &[
    ("publicIPAllocationMethod", READ),
    ("publicIPAddressVersion", READ),
    ("ipAddress", READ),
    ("ddosSettings", READ),
    // What uses it, as Azure lists it.
    ("ipConfiguration", QUIET),
    // The label of a name in Azure's DNS.
    ("dnsSettings", HARMLESS),
    ("ipTags", REFUSED),
    // Where Azure took the address from; here it is written.
    ("publicIPPrefix", HARMLESS),
    // Of translated flows, and a gateway translates none.
    ("idleTimeoutInMinutes", Rule::Harmless(Neutral::Number(4))),
    ("resourceGuid", QUIET),
    ("provisioningState", QUIET),
    ("servicePublicIPAddress", REFUSED),
    ("natGateway", REFUSED),
    ("migrationPhase", QUIET),
    ("linkedPublicIPAddress", REFUSED),
    ("deleteOption", HARMLESS),
    ("upgradedToV2", QUIET),
];

const SKU: Schema = &[
    ("name", READ),
    // One host's underlay is regional.
    ("tier", Rule::Refused(Neutral::Text("Regional"))),
];

const DDOS_SETTINGS: Schema = &[
    (
        "protectionMode",
        Rule::Refused(Neutral::Text("VirtualNetworkInherited")),
    ),
    ("ddosProtectionPlan", REFUSED),
];

impl Reader<'_> {
    pub(super) fn public_ip_address(&mut self, envelope: &Envelope<'_>) {
        let sku_path = envelope.sku_path();
        let sku = Object::open(envelope.sku, &sku_path, SKU, self.errors);
        if sku.choice("name", &["Basic", "Standard", "StandardV2"], self.errors) == Some("Basic") {
            self.errors.push(
                ArmError::new(
                    "BasicSkuPublicIPAddressNotSupported",
                    "A gateway takes public IP addresses of the Standard SKU: use Standard.",
                )
                .at(sku_path.key("name").to_string()),
            );
        }
        let path = envelope.properties_path();
        let object = Object::open(envelope.properties, &path, PUBLIC_IP_ADDRESS, self.errors);
        let ddos = object.get("ddosSettings").unwrap_or(&Node::Null);
        Object::open(ddos, &path.key("ddosSettings"), DDOS_SETTINGS, self.errors);
        let method = "publicIPAllocationMethod";
        if object.choice(method, &["Static", "Dynamic"], self.errors) == Some("Dynamic") {
            self.errors.push(
                ArmError::new(
                    "StaticPublicIPAddressRequired",
                    "A public IP address is one that this host has: use Static, and say which in \
                     ipAddress.",
                )
                .at(path.key(method).to_string()),
            );
        }
        let version = object.choice("publicIPAddressVersion", &["IPv4", "IPv6"], self.errors);
        let Some(text) = object.needed_text("ipAddress", self.errors) else {
            return;
        };
        let address_path = path.key("ipAddress");
        let Some(ip_address) = self.public_address(text, &address_path) else {
            return;
        };
        if version.is_some_and(|version| (version == "IPv6") != ip_address.is_ipv6()) {
            self.errors.push(format_error(
                format!("The address {ip_address} is not of publicIPAddressVersion: correct one."),
                &address_path,
            ));
        }
        let address = PublicIpAddress {
            id: envelope.id.clone(),
            ip_address,
            tags: envelope.tags.clone(),
        };
        self.draft
            .public_ip_addresses
            .insert(envelope.id.clone(), address);
    }

    /// An address that can be an end of a tunnel.
    pub(super) fn public_address(&mut self, text: &str, path: &Path<'_>) -> Option<IpAddr> {
        let address = self.address(text, path)?;
        let what = match address {
            _ if address.is_unspecified() => "is no address",
            _ if address.is_loopback() => "is a loopback address",
            _ if address.is_multicast() => "is a multicast address",
            IpAddr::V4(address) if address.is_broadcast() => "is the broadcast address",
            IpAddr::V4(address) if address.is_link_local() => "is a link-local address",
            IpAddr::V6(address) if address.is_unicast_link_local() => "is a link-local address",
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => "is a mapped address",
            _ => return Some(address),
        };
        self.errors.push(
            ArmError::new(
                "InvalidPublicIPAddress",
                format!("{address} {what}, and no tunnel can end there: correct it."),
            )
            .at(path.to_string()),
        );
        None
    }
}
