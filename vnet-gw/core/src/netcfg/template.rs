//! The ARM template of a plan.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::{
    Finding, FindingKind,
    plan::{Plan, PlannedConnection, PlannedGateway, PlannedNetwork, PlannedSite, Remote},
};
use crate::model::{Subnet, normalise_location};

const API_VERSION: &str = "2024-05-01";

const LOCATION: &str = "[parameters('location')]";

pub(super) fn template(plan: &Plan, location: Option<&str>, findings: &mut Vec<Finding>) -> Value {
    let location = location.map_or("[resourceGroup().location]".into(), normalise_location);
    let mut parameters = Map::new();
    let mut parameter = |name: &str, kind: &str, default: Option<&str>, description: String| {
        let mut declared = json!({ "type": kind });
        if let Some(default) = default {
            declared["defaultValue"] = default.into();
        }
        declared["metadata"] = json!({ "description": description });
        parameters.insert(name.to_owned(), declared);
    };
    parameter(
        "location",
        "string",
        Some(&location),
        "Region of what the network configuration gives none for".into(),
    );
    let gateways = || plan.networks.iter().filter_map(|one| one.gateway.as_ref());
    if gateways().next().is_some() {
        let sku = "SKU of the gateways: VpnGw1AZ to VpnGw5AZ".into();
        parameter("gatewaySku", "string", Some("VpnGw1AZ"), sku);
    }
    for gateway in gateways() {
        let description = format!(
            "Public address of {}, one of its host's; empty: one of the daemon's pool",
            gateway.name
        );
        parameter(&gateway.parameter, "string", Some(""), description);
    }
    for site in &plan.sites {
        if let Some(name) = &site.parameter {
            let description = format!("Address of the VPN device of {}", site.name);
            parameter(name, "string", None, description);
        }
    }
    for connection in &plan.connections {
        let description = format!("Shared key of {}; empty: one is made", connection.name);
        parameter(&connection.parameter, "securestring", Some(""), description);
    }
    routing(plan, findings);
    let mut resources: Vec<Value> = plan.networks.iter().map(network).collect();
    for one in &plan.networks {
        if let Some(gateway) = &one.gateway {
            resources.extend(vpn_gateway(one, gateway));
        }
    }
    resources.extend(plan.sites.iter().map(|one| site(plan, one)));
    resources.extend(plan.connections.iter().map(|one| connection(plan, one)));
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": parameters,
        "resources": resources,
    })
}

/// Values of all parameters, with which the template can be held against the rules.
pub(super) fn stand_ins(plan: &Plan) -> Map<String, Value> {
    // A range for benchmarks, RFC 2544: no site's address is in it.
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 1));
    let gateways = plan.networks.iter().filter_map(|one| one.gateway.as_ref());
    let sites = plan.sites.iter().filter_map(|one| one.parameter.as_ref());
    let names = gateways.map(|gateway| &gateway.parameter).chain(sites);
    let addresses = (first..).map(|address| Ipv4Addr::from(address).to_string());
    let values = names.cloned().zip(addresses.map(Value::String));
    values.collect()
}

/// Which way a classic gateway routed is not in the file.
fn routing(plan: &Plan, findings: &mut Vec<Finding>) {
    for one in &plan.connections {
        if let Remote::Site(_) = one.remote {
            findings.push(Finding {
                line: one.line,
                kind: FindingKind::Changed,
                message: format!(
                    "the connection {} is route-based and of IKEv2: for a device that is \
                     policy-based set usePolicyBasedTrafficSelectors and ipsecPolicies on it, and \
                     one that knows IKEv1 only must be replaced",
                    one.name
                ),
            });
        }
    }
}

fn location(network: Option<&PlannedNetwork>) -> String {
    let location = network.and_then(|network| network.read.location.as_deref());
    location.map_or_else(|| LOCATION.to_owned(), normalise_location)
}

fn resource(kind: &str, name: &str, location: String, properties: Value) -> Value {
    json!({
        "type": format!("Microsoft.Network/{kind}"),
        "apiVersion": API_VERSION,
        "name": name,
        "location": location,
        "properties": properties,
    })
}

/// The id of a resource of the template.
fn id(kind: &str, names: &[&str]) -> Value {
    let names = names.join("', '");
    format!("[resourceId('Microsoft.Network/{kind}', '{names}')]").into()
}

fn prefixes(of: &[ipnet::IpNet]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

fn network(network: &PlannedNetwork) -> Value {
    let subnets = network.subnets.iter().map(|(name, of)| {
        let properties = match &of[..] {
            [one] => json!({ "addressPrefix": one.to_string() }),
            several => json!({ "addressPrefixes": prefixes(several) }),
        };
        json!({ "name": name, "properties": properties })
    });
    let mut properties = json!({
        "addressSpace": { "addressPrefixes": prefixes(&network.read.address_space) },
        "subnets": subnets.collect::<Vec<_>>(),
    });
    if !network.dns_servers.is_empty() {
        let servers = network.dns_servers.iter().map(ToString::to_string);
        properties["dhcpOptions"] = json!({ "dnsServers": servers.collect::<Vec<_>>() });
    }
    let place = location(Some(network));
    resource("virtualNetworks", &network.name, place, properties)
}

/// A gateway, with its address before it.
fn vpn_gateway(network: &PlannedNetwork, gateway: &PlannedGateway) -> [Value; 2] {
    let public = json!({
        "publicIPAllocationMethod": "Static",
        "ipAddress": format!("[parameters('{}')]", gateway.parameter),
    });
    let place = || location(Some(network));
    let mut address = resource("publicIPAddresses", &gateway.address, place(), public);
    address["sku"] = json!({ "name": "Standard" });
    let subnet = [network.name.as_str(), Subnet::GATEWAY_SUBNET];
    let public = id("publicIPAddresses", &[&gateway.address]);
    let properties = json!({
        "gatewayType": "Vpn",
        "vpnType": "RouteBased",
        "sku": { "name": "[parameters('gatewaySku')]", "tier": "[parameters('gatewaySku')]" },
        "ipConfigurations": [{
            "name": "default",
            "properties": {
                "privateIPAllocationMethod": "Dynamic",
                "subnet": { "id": id("virtualNetworks/subnets", &subnet) },
                "publicIPAddress": { "id": &public },
            },
        }],
    });
    let kind = "virtualNetworkGateways";
    let mut made = resource(kind, &gateway.name, place(), properties);
    made["dependsOn"] = json!([id("virtualNetworks", &[&network.name]), public]);
    [address, made]
}

fn site(plan: &Plan, site: &PlannedSite) -> Value {
    let address = match (&site.read.gateway, &site.parameter) {
        (None, Some(parameter)) => format!("[parameters('{parameter}')]"),
        (address, _) => address.map(|one| one.to_string()).unwrap_or_default(),
    };
    let properties = json!({
        "gatewayIpAddress": address,
        "localNetworkAddressSpace": { "addressPrefixes": prefixes(&site.read.address_space) },
    });
    let place = location(site.network.map(|at| &plan.networks[at]));
    resource("localNetworkGateways", &site.name, place, properties)
}

fn connection(plan: &Plan, connection: &PlannedConnection) -> Value {
    let network = &plan.networks[connection.network];
    let gateway = |network: &PlannedNetwork| {
        let name = network.gateway.as_ref().map(|gateway| &gateway.name);
        id("virtualNetworkGateways", &[name.map_or("", String::as_str)])
    };
    let own = gateway(network);
    let (kind, end, remote) = match connection.remote {
        Remote::Network(at) => (
            "Vnet2Vnet",
            "virtualNetworkGateway2",
            gateway(&plan.networks[at]),
        ),
        Remote::Site(at) => {
            let name = plan.sites[at].name.as_str();
            (
                "IPsec",
                "localNetworkGateway2",
                id("localNetworkGateways", &[name]),
            )
        }
    };
    let properties = json!({
        "connectionType": kind,
        "connectionProtocol": "IKEv2",
        "virtualNetworkGateway1": { "id": &own },
        end: { "id": &remote },
        "sharedKey": format!("[parameters('{}')]", connection.parameter),
    });
    let place = location(Some(network));
    let mut made = resource("connections", &connection.name, place, properties);
    made["dependsOn"] = json!([own, remote]);
    made
}
