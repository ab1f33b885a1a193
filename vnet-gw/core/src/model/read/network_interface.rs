//! `networkInterfaces`.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Reader,
    envelope::{Envelope, TAG_DEVICE},
    virtual_network::NESTED,
};
use crate::model::{
    ArmError, IpConfiguration, Kind, NetworkInterface, ResourceId, Shared,
    error::cut,
    id::{check_name, group_of},
    object::{HARMLESS, Neutral, Object, QUIET, READ, REFUSED, Rule, Schema, format_error},
    path::Path,
    template::node::Node,
};

const NETWORK_INTERFACE: Schema = &[
    ("ipConfigurations", READ),
    ("macAddress", READ),
    ("enableIPForwarding", READ),
    ("networkSecurityGroup", READ),
    ("privateEndpoint", REFUSED),
    ("privateLinkService", REFUSED),
    ("tapConfigurations", REFUSED),
    // Would mark packets.
    ("dscpConfiguration", REFUSED),
    ("virtualMachine", QUIET),
    ("dnsSettings", HARMLESS),
    ("primary", QUIET),
    ("vnetEncryptionSupported", QUIET),
    ("defaultOutboundConnectivityEnabled", QUIET),
    ("enableAcceleratedNetworking", HARMLESS),
    ("disableTcpStateTracking", HARMLESS),
    ("hostedWorkloads", QUIET),
    ("resourceGuid", QUIET),
    ("provisioningState", QUIET),
    ("workloadType", HARMLESS),
    ("nicType", Rule::Harmless(Neutral::Text("Standard"))),
    ("migrationPhase", QUIET),
    ("auxiliaryMode", Rule::Harmless(Neutral::Text("None"))),
    ("auxiliarySku", Rule::Harmless(Neutral::Text("None"))),
];

const IP_CONFIGURATION: Schema = &[
    ("privateIPAddress", READ),
    ("privateIPAllocationMethod", READ),
    ("privateIPAddressVersion", READ),
    ("subnet", READ),
    ("primary", READ),
    ("privateIPAddressPrefixLength", REFUSED),
    ("gatewayLoadBalancer", REFUSED),
    ("virtualNetworkTaps", REFUSED),
    ("applicationGatewayBackendAddressPools", REFUSED),
    ("loadBalancerBackendAddressPools", REFUSED),
    ("loadBalancerInboundNatRules", REFUSED),
    ("publicIPAddress", REFUSED),
    ("applicationSecurityGroups", READ),
    ("provisioningState", QUIET),
    ("privateLinkConnectionProperties", QUIET),
];

/// A network interface before it has its dynamic addresses and its MAC address.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct NetworkInterfaceDraft {
    pub(in crate::model) id: ResourceId,
    /// The interface itself, where nothing of it is left to be given.
    pub(in crate::model) ready: Option<Shared<NetworkInterface>>,
    pub(in crate::model) mac_address: Option<[u8; 6]>,
    pub(in crate::model) enable_ip_forwarding: bool,
    pub(in crate::model) network_security_group: Option<ResourceId>,
    pub(in crate::model) ip_configurations: Vec<IpConfigurationDraft>,
    pub(in crate::model) device: Option<String>,
    pub(in crate::model) host: Option<String>,
    pub(in crate::model) tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct IpConfigurationDraft {
    pub(in crate::model) name: String,
    pub(in crate::model) subnet: ResourceId,
    pub(in crate::model) ipv6: bool,
    /// `privateIPAllocationMethod` is `Static`: the address must be this one.
    pub(in crate::model) fixed: bool,
    /// Where the method is `Dynamic`, the address it had when it was exported: kept if it is free.
    pub(in crate::model) address: Option<IpAddr>,
    pub(in crate::model) primary: Option<bool>,
    /// Sorted.
    pub(in crate::model) application_security_groups: Vec<ResourceId>,
}

impl NetworkInterfaceDraft {
    /// Makes the interface of what is written, if that is all; the primary ipConfiguration is the
    /// first already.
    pub(in crate::model) fn prepare(&mut self) {
        let addresses = self.ip_configurations.iter().map(|c| c.address);
        let addresses: Option<Vec<IpAddr>> = addresses.collect();
        self.ready = match (addresses, self.mac_address) {
            (Some(addresses), Some(_)) => Some(self.with(&addresses).into()),
            _ => None,
        };
    }

    /// The interface with these addresses; a MAC address that is not written is all zeros.
    pub(in crate::model) fn with(&self, addresses: &[IpAddr]) -> NetworkInterface {
        let configurations = self.ip_configurations.iter().zip(addresses).enumerate();
        NetworkInterface {
            id: self.id.clone(),
            mac_address: self.mac_address.unwrap_or_default(),
            enable_ip_forwarding: self.enable_ip_forwarding,
            network_security_group: self.network_security_group.clone(),
            application_security_groups: match self.ip_configurations.first() {
                Some(first) => first.application_security_groups.clone(),
                None => Vec::new(),
            },
            ip_configurations: configurations
                .map(|(index, (configuration, address))| IpConfiguration {
                    name: configuration.name.clone(),
                    subnet: configuration.subnet.clone(),
                    private_ip_address: *address,
                    primary: index == 0,
                })
                .collect(),
            device: self.device.clone(),
            host: self.host.clone(),
            tags: self.tags.clone(),
        }
    }
}

const MACHINES: &str = "providers/Microsoft.Compute/virtualMachines";

/// Whether a virtual machine can be called that: a name, or an id.
fn is_machine(text: &str) -> bool {
    let is_name = |name: &str| check_name("virtual machine", name, 1, 64).is_ok();
    if !text.starts_with('/') {
        return is_name(text);
    }
    let segments: Vec<&str> = text.trim_matches('/').split('/').collect();
    let [subscriptions, _, groups, _, rest @ .., name] = segments.as_slice() else {
        return false;
    };
    subscriptions.eq_ignore_ascii_case("subscriptions")
        && groups.eq_ignore_ascii_case("resourceGroups")
        && rest.join("/").eq_ignore_ascii_case(MACHINES)
        && is_name(name)
}

impl Reader<'_> {
    pub(super) fn network_interface(&mut self, envelope: &Envelope<'_>) {
        let id = &envelope.id;
        let path = envelope.properties_path();
        let object = Object::open(envelope.properties, &path, NETWORK_INTERFACE, self.errors);
        let network_security_group = self.security_group(&object, id);
        let forwarding = object.boolean("enableIPForwarding", self.errors);
        let mac_address = object.text("macAddress", self.errors).and_then(|text| {
            let mac =
                mac_address(text).map_err(|error| error.at(path.key("macAddress").to_string()));
            self.errors.keep(mac)
        });
        let list_path = path.key("ipConfigurations");
        let mut ip_configurations = Vec::new();
        for (index, item) in object
            .array("ipConfigurations", self.errors)
            .iter()
            .enumerate()
        {
            let path = list_path.index(index);
            ip_configurations.extend(self.ip_configuration(item, &path, id));
        }
        if object.lacks_items("ipConfigurations") {
            self.errors.push(format_error(
                "A network interface needs at least one ipConfiguration: add it.",
                &list_path,
            ));
        }
        let device = envelope.tags.get(TAG_DEVICE).cloned();
        if let Some(Err(reason)) = device.as_deref().map(check_device) {
            let name = cut(device.as_deref().unwrap_or_default());
            let message = format!("'{name}' cannot name a netdev: {reason}.");
            self.errors.push(envelope.tag_error(TAG_DEVICE, message));
        }
        let host = envelope.host(self.errors);
        let machine = envelope.tags.get(NetworkInterface::TAG_MACHINE);
        if let Some(machine) = machine.map(|machine| machine.trim())
            && !is_machine(machine)
        {
            let message = format!(
                "'{}' cannot be a virtual machine: give a name of 1 to 64 letters, digits, '.', '-' \
                 and '_', or an id, /subscriptions/…/resourceGroups/…/{MACHINES}/….",
                cut(machine)
            );
            let error = envelope.tag_error(NetworkInterface::TAG_MACHINE, message);
            self.errors.push(error);
        }
        self.draft.network_interfaces.push(NetworkInterfaceDraft {
            id: id.clone(),
            ready: None,
            mac_address,
            enable_ip_forwarding: forwarding.unwrap_or(false),
            network_security_group,
            ip_configurations,
            device,
            host,
            tags: envelope.tags.clone(),
        });
    }

    fn ip_configuration(
        &mut self,
        item: &Node<'_>,
        path: &Path<'_>,
        nic: &ResourceId,
    ) -> Option<IpConfigurationDraft> {
        let outer = Object::open(item, path, NESTED, self.errors);
        let name = outer.needed_text("name", self.errors)?;
        if let Err(error) = check_name("ipConfiguration", name, 1, 80) {
            self.errors.push(error.at(path.key("name").to_string()));
        }
        let path = path.key("properties");
        let properties = outer.get("properties").unwrap_or(&Node::Null);
        let object = Object::open(properties, &path, IP_CONFIGURATION, self.errors);
        let primary = object.boolean("primary", self.errors);
        let version = object.choice("privateIPAddressVersion", &["IPv4", "IPv6"], self.errors);
        let method = object.choice(
            "privateIPAllocationMethod",
            &["Static", "Dynamic"],
            self.errors,
        );
        let address_path = path.key("privateIPAddress");
        let address = match object.text("privateIPAddress", self.errors) {
            Some(text) => Some(self.address(text, &address_path)?),
            None => None,
        };
        if let (Some(version), Some(address)) = (version, address)
            && (version == "IPv6") != address.is_ipv6()
        {
            self.errors.push(format_error(
                format!("The address {address} is not {version}: correct privateIPAddressVersion."),
                &address_path,
            ));
        }
        if method == Some("Static") && object.lacks_text("privateIPAddress") {
            self.errors.push(format_error(
                "The allocation method Static needs a privateIPAddress: add it.",
                &path,
            ));
        }
        if object.lacks("subnet") {
            self.errors.push(format_error(
                "An ipConfiguration needs its subnet: add {\"id\": \"…\"}.",
                &path,
            ));
        }
        let subnet = object.reference("subnet", self.errors)?;
        let subnet = Kind::Subnet.resolve(subnet, group_of(nic));
        let subnet = subnet.map_err(|error| error.at(path.key("subnet").key("id").to_string()));
        let list = "applicationSecurityGroups";
        let application_security_groups = self.application_security_groups(&object, list, nic);
        Some(IpConfigurationDraft {
            name: name.to_owned(),
            subnet: self.errors.keep(subnet)?,
            // The version that is not written is the address'.
            ipv6: version.map_or(address.is_some_and(|a| a.is_ipv6()), |version| {
                version == "IPv6"
            }),
            // Whoever writes an address and no method means that address.
            fixed: method.map_or(address.is_some(), |method| method == "Static"),
            address,
            primary,
            application_security_groups,
        })
    }
}

/// `00-0D-3A-12-34-56`, also with `:` or without separators.
fn mac_address(text: &str) -> Result<[u8; 6], ArmError> {
    let wrong = |why: &str| {
        ArmError::new(
            "InvalidMacAddress",
            format!(
                "'{}' cannot be a network interface's MAC address: {why}.",
                cut(text)
            ),
        )
    };
    let malformed = || wrong("write it like 00-0D-3A-12-34-56");
    let digits: String = match text.len() {
        17 if ["-", ":"]
            .iter()
            .any(|s| text.split(s).filter(|part| part.len() == 2).count() == 6) =>
        {
            text.chars().filter(|c| !matches!(c, '-' | ':')).collect()
        }
        12 => text.to_owned(),
        _ => return Err(malformed()),
    };
    if digits.len() != 12 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let number = u64::from_str_radix(&digits, 16).map_err(|_| malformed())?;
    if number == 0 {
        return Err(wrong("all zeros is no address"));
    }
    if number >> 40 & 1 != 0 {
        return Err(wrong(
            "it is a multicast address (the lowest bit of the first byte is set)",
        ));
    }
    if number == vnet_gw_common::port::FABRIC_MAC {
        return Err(wrong("it is the one the fabric answers with"));
    }
    Ok(vnet_gw_common::mac_from_u64(number))
}

/// Whether Linux takes a name for a netdev (`dev_valid_name`).
fn check_device(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("it is empty; remove the tag to leave the interface unplugged"),
        "." | ".." => Err("Linux refuses it"),
        // Every network namespace has it, and what is sent there comes back.
        "lo" => Err(
            "it is the loopback device, which no workload is behind; name the host's side of the workload's link",
        ),
        name if name.len() > 15 => Err("it is longer than 15 bytes"),
        name if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) => {
            Err("it has a '/', a ':' or white space")
        }
        name if name.contains(|c: char| c.is_control()) => Err("it has a control character"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_of_every_writing_and_no_other() {
        let mac = [0x00, 0x0d, 0x3a, 0x12, 0x34, 0x56];
        for text in ["00-0D-3A-12-34-56", "00:0d:3a:12:34:56", "000D3A123456"] {
            assert_eq!(mac_address(text).unwrap(), mac, "{text}");
        }
        for text in [
            "",
            "00-0D-3A-12-34",
            "00-0D-3A-12-34-5G",
            "00-0D-3A-12-34-567",
            "+00D3A123456",
            "00:0d-3a:12:34:56",
            "éééééé",
            "00-00-00-00-00-00",
            "01-0D-3A-12-34-56",
            "FF-FF-FF-FF-FF-FF",
            "12-34-56-78-9a-bc",
        ] {
            assert_eq!(
                mac_address(text).unwrap_err().code,
                "InvalidMacAddress",
                "{text}"
            );
        }
    }

    #[test]
    fn device_names_are_what_linux_takes() {
        for name in ["eth0", "vm-a.100", "x", "exactly-fifteen"] {
            assert!(check_device(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "lo",
            "a/b",
            "a b",
            "a\tb",
            "eth0:1",
            "sixteen-bytes-xx",
            "a\u{7}",
        ] {
            assert!(check_device(name).is_err(), "{name}");
        }
    }
}
