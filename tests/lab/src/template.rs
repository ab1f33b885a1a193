//! Deployment templates made by the line, for tests that change them while the daemon runs.

use serde_json::{Value, json};

/// What one side of a peering allows; both default to what the portal ticks.
#[derive(Clone, Copy, Debug)]
pub struct Allow {
    pub virtual_network_access: bool,
    pub forwarded_traffic: bool,
    /// `allowGatewayTransit`
    pub gateway_transit: bool,
    /// `useRemoteGateways`
    pub remote_gateways: bool,
}

impl Allow {
    /// The side of a hub that shares its gateway.
    pub fn hub() -> Self {
        Self {
            gateway_transit: true,
            ..Self::default()
        }
    }

    /// The side of a spoke that uses it.
    pub fn spoke() -> Self {
        Self {
            remote_gateways: true,
            ..Self::default()
        }
    }
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            virtual_network_access: true,
            forwarded_traffic: false,
            gateway_transit: false,
            remote_gateways: false,
        }
    }
}

/// A networkInterface: where it is plugged in, and what it may send.
#[derive(Clone, Debug)]
pub struct Nic<'a> {
    pub name: &'a str,
    /// `VNET/SUBNET`
    pub subnet: &'a str,
    pub addresses: &'a [&'a str],
    /// Tag `vnet-gw:device`.
    pub device: &'a str,
    /// `enableIPForwarding`
    pub forwarding: bool,
}

/// A virtualNetworkGateway, in its VNet's GatewaySubnet, which is there already.
#[derive(Clone, Debug)]
pub struct Gateway<'a> {
    pub name: &'a str,
    pub vnet: &'a str,
    /// `VpnGw1`, …
    pub sku: &'a str,
    /// Of the underlay: one, or two, which makes it active-active.
    pub addresses: &'a [&'a str],
    /// Tag `vnet-gw:host`.
    pub host: Option<&'a str>,
}

/// The far end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Remote<'a> {
    /// A virtualNetworkGateway: `Vnet2Vnet`.
    Gateway(&'a str),
    /// A localNetworkGateway: `IPsec`.
    Site(&'a str),
}

/// A `securityRules` of a network security group, for any source and source port.
#[derive(Clone, Copy, Debug)]
pub struct SecurityRule<'a> {
    pub name: &'a str,
    /// `Inbound` or `Outbound`.
    pub direction: &'a str,
    /// `Allow` or `Deny`.
    pub access: &'a str,
    pub protocol: &'a str,
    /// Of the destination: a number, a range, or `*`.
    pub ports: &'a str,
}

impl SecurityRule<'_> {
    fn value(&self, priority: usize) -> Value {
        json!({"name": self.name, "properties": {
            "priority": priority,
            "direction": self.direction,
            "access": self.access,
            "protocol": self.protocol,
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": self.ports,
        }})
    }
}

/// An ARM deployment template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    resources: Vec<Value>,
}

impl Template {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn vnet(&mut self, name: &str, location: &str, prefixes: &[&str]) -> &mut Self {
        self.resources.push(json!({
            "type": "Microsoft.Network/virtualNetworks",
            "apiVersion": "2024-05-01",
            "name": name,
            "location": location,
            "properties": {
                "addressSpace": {"addressPrefixes": prefixes},
                "subnets": [],
                "virtualNetworkPeerings": [],
            },
        }));
        self
    }

    /// A subnet of the VNet `vnet`, which is there already.
    pub fn subnet(
        &mut self,
        vnet: &str,
        name: &str,
        prefixes: &[&str],
        route_table: Option<&str>,
    ) -> &mut Self {
        let mut properties = json!({"addressPrefixes": prefixes});
        if let Some(table) = route_table {
            properties["routeTable"] = json!({"id": id("routeTables", &[table])});
        }
        let subnet = json!({"name": name, "properties": properties});
        self.list(vnet, "subnets").push(subnet);
        self
    }

    /// Both sides of a peering.
    pub fn peer(&mut self, a: &str, b: &str) -> &mut Self {
        self.peering(a, b, Allow::default())
            .peering(b, a, Allow::default())
    }

    /// One side of a peering, named `FROMToTO`.
    pub fn peering(&mut self, from: &str, to: &str, allow: Allow) -> &mut Self {
        let peering = json!({
            "name": format!("{from}To{to}"),
            "properties": {
                "remoteVirtualNetwork": {"id": id("virtualNetworks", &[to])},
                "allowVirtualNetworkAccess": allow.virtual_network_access,
                "allowForwardedTraffic": allow.forwarded_traffic,
                "allowGatewayTransit": allow.gateway_transit,
                "useRemoteGateways": allow.remote_gateways,
            },
        });
        self.list(from, "virtualNetworkPeerings").push(peering);
        self
    }

    /// Makes both sides of a peering, which are there already, one of these subnets alone.
    pub fn peer_subnets(
        &mut self,
        (a, of_a): (&str, &[&str]),
        (b, of_b): (&str, &[&str]),
        only_ipv6: bool,
    ) -> &mut Self {
        for (from, to, local, remote) in [(a, b, of_a, of_b), (b, a, of_b, of_a)] {
            let name = format!("{from}To{to}");
            let peerings = self.list(from, "virtualNetworkPeerings").iter_mut();
            for peering in peerings.filter(|peering| peering["name"] == name) {
                let properties = &mut peering["properties"];
                properties["peerCompleteVnets"] = false.into();
                properties["localSubnetNames"] = json!(local);
                properties["remoteSubnetNames"] = json!(remote);
                properties["enableOnlyIPv6Peering"] = only_ipv6.into();
            }
        }
        self
    }

    /// Takes one side of a peering away.
    pub fn remove_peering(&mut self, from: &str, to: &str) -> &mut Self {
        let name = format!("{from}To{to}");
        self.list(from, "virtualNetworkPeerings")
            .retain(|peering| peering["name"] != name);
        self
    }

    pub fn nic(&mut self, nic: &Nic) -> &mut Self {
        let (vnet, subnet) = nic.subnet.split_once('/').unwrap_or((nic.subnet, ""));
        // Azure has a networkInterface in its VNet's region.
        let location = self.location(vnet);
        let configurations: Vec<Value> = nic
            .addresses
            .iter()
            .enumerate()
            .map(|(i, address)| {
                json!({
                    "name": format!("ipconfig{}", i + 1),
                    "properties": {
                        "primary": i == 0,
                        "privateIPAllocationMethod": "Static",
                        "privateIPAddress": address,
                        "privateIPAddressVersion":
                            if address.contains(':') { "IPv6" } else { "IPv4" },
                        "subnet": {"id": id("virtualNetworks/subnets", &[vnet, subnet])},
                    },
                })
            })
            .collect();
        self.resources.push(json!({
            "type": "Microsoft.Network/networkInterfaces",
            "apiVersion": "2024-05-01",
            "name": nic.name,
            "location": location,
            "tags": {"vnet-gw:device": nic.device},
            "properties": {
                "macAddress": mac_for(nic.device),
                "enableIPForwarding": nic.forwarding,
                "ipConfigurations": configurations,
            },
        }));
        self
    }

    /// A route table of (prefix, next hop type, next hop address).
    pub fn route_table(
        &mut self,
        name: &str,
        location: &str,
        routes: &[(&str, &str, Option<&str>)],
    ) -> &mut Self {
        let routes: Vec<Value> = routes
            .iter()
            .enumerate()
            .map(|(i, (prefix, hop, address))| {
                let mut properties = json!({"addressPrefix": prefix, "nextHopType": hop});
                if let Some(address) = address {
                    properties["nextHopIpAddress"] = json!(address);
                }
                json!({"name": format!("route{}", i + 1), "properties": properties})
            })
            .collect();
        self.resources.push(json!({
            "type": "Microsoft.Network/routeTables",
            "apiVersion": "2024-05-01",
            "name": name,
            "location": location,
            "properties": {"disableBgpRoutePropagation": false, "routes": routes},
        }));
        self
    }

    /// The gateway and its publicIPAddresses, named `GATEWAY-ip0`, ….
    pub fn gateway(&mut self, gateway: &Gateway) -> &mut Self {
        let location = self.location(gateway.vnet);
        let public = |i: usize| format!("{}-ip{i}", gateway.name);
        for (i, address) in gateway.addresses.iter().enumerate() {
            self.resources.push(json!({
                "type": "Microsoft.Network/publicIPAddresses",
                "apiVersion": "2024-05-01",
                "name": public(i),
                "location": location,
                "sku": {"name": "Standard"},
                "properties": {"publicIPAllocationMethod": "Static", "ipAddress": address},
            }));
        }
        let subnet = id("virtualNetworks/subnets", &[gateway.vnet, "GatewaySubnet"]);
        let configurations: Vec<Value> = (0..gateway.addresses.len())
            .map(|i| {
                json!({
                    "name": format!("instance{i}"),
                    "properties": {
                        "subnet": {"id": subnet},
                        "publicIPAddress": {"id": id("publicIPAddresses", &[&public(i)])},
                    },
                })
            })
            .collect();
        let mut resource = json!({
            "type": "Microsoft.Network/virtualNetworkGateways",
            "apiVersion": "2024-05-01",
            "name": gateway.name,
            "location": location,
            "properties": {
                "gatewayType": "Vpn",
                "vpnType": "RouteBased",
                "sku": {"name": gateway.sku, "tier": gateway.sku},
                "activeActive": gateway.addresses.len() > 1,
                "ipConfigurations": configurations,
            },
        });
        if let Some(host) = gateway.host {
            resource["tags"] = json!({"vnet-gw:host": host});
        }
        self.resources.push(resource);
        self
    }

    /// A site at the other end of a tunnel.
    pub fn local_network_gateway(
        &mut self,
        name: &str,
        location: &str,
        address: &str,
        prefixes: &[&str],
    ) -> &mut Self {
        self.resources.push(json!({
            "type": "Microsoft.Network/localNetworkGateways",
            "apiVersion": "2024-05-01",
            "name": name,
            "location": location,
            "properties": {
                "gatewayIpAddress": address,
                "localNetworkAddressSpace": {"addressPrefixes": prefixes},
            },
        }));
        self
    }

    /// A connection of the gateway `gateway`, which is there already, with `more` properties.
    pub fn connection(
        &mut self,
        name: &str,
        gateway: &str,
        remote: Remote,
        key: &str,
        more: Value,
    ) -> &mut Self {
        let location = self.location(gateway);
        let mut properties = json!({
            "virtualNetworkGateway1": {"id": id("virtualNetworkGateways", &[gateway])},
            "sharedKey": key,
        });
        match remote {
            Remote::Gateway(other) => {
                properties["connectionType"] = "Vnet2Vnet".into();
                properties["virtualNetworkGateway2"] =
                    json!({"id": id("virtualNetworkGateways", &[other])});
            }
            Remote::Site(site) => {
                properties["connectionType"] = "IPsec".into();
                properties["localNetworkGateway2"] =
                    json!({"id": id("localNetworkGateways", &[site])});
            }
        }
        if let (Some(properties), Value::Object(more)) = (properties.as_object_mut(), more) {
            properties.extend(more);
        }
        self.resources.push(json!({
            "type": "Microsoft.Network/connections",
            "apiVersion": "2024-05-01",
            "name": name,
            "location": location,
            "properties": properties,
        }));
        self
    }

    /// A network security group, or another in place of one that is there; rules in the order of their
    /// priorities, from 100 on.
    pub fn security_group(
        &mut self,
        name: &str,
        location: &str,
        flush_connection: bool,
        rules: &[SecurityRule],
    ) -> &mut Self {
        let rules: Vec<Value> = rules
            .iter()
            .enumerate()
            .map(|(number, rule)| rule.value(100 + number))
            .collect();
        self.remove(name);
        self.resources.push(json!({
            "type": "Microsoft.Network/networkSecurityGroups",
            "apiVersion": "2024-05-01",
            "name": name,
            "location": location,
            "properties": {"flushConnection": flush_connection, "securityRules": rules},
        }));
        self
    }

    /// Associates a subnet (`VNET/SUBNET`) or a networkInterface with a security group, or with none.
    pub fn secure(&mut self, what: &str, group: Option<&str>) -> &mut Self {
        let group = group.map(|group| json!({"id": id("networkSecurityGroups", &[group])}));
        let properties = match what.split_once('/') {
            Some((vnet, subnet)) => {
                let mut subnets = self.list(vnet, "subnets").iter_mut();
                subnets.find(|one| one["name"] == subnet)
            }
            None => (self.resources.iter_mut()).find(|resource| resource["name"] == what),
        };
        let properties = properties.and_then(|one| one["properties"].as_object_mut());
        let properties = properties.unwrap_or_else(|| panic!("the template has no {what} yet"));
        match group {
            Some(group) => properties.insert("networkSecurityGroup".to_owned(), group),
            None => properties.remove("networkSecurityGroup"),
        };
        self
    }

    /// Where the resource `name` is.
    fn location(&self, name: &str) -> Value {
        let found = self
            .resources
            .iter()
            .find(|resource| resource["name"] == name);
        found.map_or(Value::Null, |resource| resource["location"].clone())
    }

    /// Takes the top-level resource `name` away.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.resources.retain(|resource| resource["name"] != name);
        self
    }

    pub fn value(&self) -> Value {
        json!({
            "$schema":
                "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0",
            "resources": self.resources,
        })
    }

    fn list(&mut self, vnet: &str, key: &str) -> &mut Vec<Value> {
        self.resources
            .iter_mut()
            .find(|resource| resource["name"] == vnet)
            .and_then(|resource| resource["properties"][key].as_array_mut())
            .unwrap_or_else(|| panic!("the template has no VNet {vnet} yet"))
    }
}

/// The expression for a resource's id.
fn id(kind: &str, names: &[&str]) -> String {
    format!(
        "[resourceId('Microsoft.Network/{kind}', '{}')]",
        names.join("', '")
    )
}

/// A MAC address that differs where the devices' names do (FNV-1a), as Azure writes them.
fn mac_for(device: &str) -> String {
    let hash = device.bytes().fold(0x811c_9dc5_u32, |h, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    });
    let [_, a, b, c] = hash.to_be_bytes();
    format!("00-0D-3A-{a:02X}-{b:02X}-{c:02X}")
}
