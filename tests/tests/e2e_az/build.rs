//! The topology of the tutorial: VNet1 with a peering to VNet5 on one host, VNet4 on the other,
//! joined by active-active gateways. Once by `az`, once by the SDK.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    host::{GROUP, Host, id},
    shapes,
};

pub(crate) const KEY: &str = "Tutorial+key+of+both+sides";
/// Of the gateways' instances.
pub(crate) const PUBLIC: [[&str; 2]; 2] = [
    ["203.0.113.1", "203.0.113.2"],
    ["203.0.113.9", "203.0.113.10"],
];

const GATEWAYS: [(&str, &str, &str, &str, [&str; 2]); 2] = [
    (
        "VNet1-GW",
        "VNet1",
        "eastus",
        "west",
        ["VNet1-ip0", "VNet1-ip1"],
    ),
    (
        "VNet4-GW",
        "VNet4",
        "westus",
        "east",
        ["VNet4-ip0", "VNet4-ip1"],
    ),
];
const INTERFACES: [(&str, &str, &str, &str, &str); 3] = [
    ("vm1", "VNet1", "eastus", "west", "10.1.0.4"),
    ("vm4", "VNet4", "westus", "east", "10.4.0.4"),
    ("vm5", "VNet5", "eastus", "west", "10.5.0.4"),
];

/// The application security groups that an interface is in.
fn groups_of(nic: &str) -> &'static [&'static str] {
    match nic {
        "vm1" => &["web"],
        _ => &[],
    }
}

/// `az ARGS -g rg`, and that its answer has this shape.
fn az(host: &Host, args: &str, more: &[&str], pattern: &Value) -> Result<Value> {
    let mut all: Vec<&str> = args.split(' ').collect();
    all.extend(["--resource-group", GROUP]);
    all.extend(more);
    let answer = host.az.json(&all)?;
    host.look(&format!("az {args}"), &answer, pattern);
    Ok(answer)
}

/// With the CLI, each answer compared with Azure's.
pub(crate) fn by_az(host: &Host) -> Result<()> {
    let made = host
        .az
        .json(&["group", "create", "--name", GROUP, "--location", "eastus"])?;
    let group = json!({
        "id": format!("…/resourceGroups/{GROUP}"), "location": "eastus", "managedBy?": null,
        "name": GROUP, "properties": {"provisioningState": "Succeeded"}, "tags": "<any>",
        "type": "Microsoft.Resources/resourceGroups",
    });
    host.look("az group create", &made, &group);
    networks(host)?;
    peerings(host)?;
    gateways(host)?;
    connections(host)?;
    for (nic, vnet, location, at, address) in INTERFACES {
        let tags = format!(r#"{{"vnet-gw:device": "{nic}", "vnet-gw:host": "{at}"}}"#);
        let subnet = format!("virtualNetworks/{vnet}/subnets/FrontEnd");
        let mut more = vec!["--tags", &tags];
        let groups = groups_of(nic);
        if !groups.is_empty() {
            more.push("--application-security-groups");
            more.extend(groups);
        }
        az(
            host,
            &format!(
                "network nic create --name {nic} --location {location} --vnet-name {vnet} \
                 --subnet FrontEnd --private-ip-address {address}"
            ),
            &more,
            &shapes::interface(nic, location, &subnet, address, groups),
        )?;
    }
    Ok(())
}

fn networks(host: &Host) -> Result<()> {
    for (vnet, location, prefix, front_end) in [
        ("VNet1", "eastus", "10.1.0.0/16", "10.1.0.0/24"),
        ("VNet4", "westus", "10.4.0.0/16", "10.4.0.0/24"),
        ("VNet5", "eastus", "10.5.0.0/16", "10.5.0.0/24"),
    ] {
        let inline = shapes::subnet(vnet, "FrontEnd", front_end, json!({}));
        az(
            host,
            &format!(
                "network vnet create --name {vnet} --location {location} --address-prefixes \
                 {prefix} --subnet-name FrontEnd --subnet-prefixes {front_end}"
            ),
            &[],
            &json!({"newVNet": shapes::vnet(vnet, location, prefix, json!([inline]))}),
        )?;
    }
    for (vnet, prefix) in [("VNet1", "10.1.255.0/27"), ("VNet4", "10.4.255.0/27")] {
        az(
            host,
            &format!(
                "network vnet subnet create --vnet-name {vnet} --name GatewaySubnet \
                 --address-prefixes {prefix}"
            ),
            &[],
            &shapes::subnet(vnet, "GatewaySubnet", prefix, json!({})),
        )?;
    }
    az(
        host,
        "network route-table create --name udr --location eastus",
        &[],
        &shapes::route_table("udr"),
    )?;
    az(
        host,
        "network route-table route create --route-table-name udr --name nowhere --address-prefix \
         10.9.0.0/16 --next-hop-type None",
        &[],
        &shapes::route("udr", "nowhere", "10.9.0.0/16", "None"),
    )?;
    let table = json!({"id": "…/routeTables/udr", "resourceGroup": GROUP});
    az(
        host,
        "network vnet subnet update --vnet-name VNet5 --name FrontEnd --route-table udr",
        &[],
        &shapes::subnet(
            "VNet5",
            "FrontEnd",
            "10.5.0.0/24",
            json!({"routeTable": table}),
        ),
    )?;
    az(
        host,
        "network nsg create --name nsg --location eastus",
        &[],
        &shapes::security_group("nsg"),
    )?;
    az(
        host,
        "network nsg rule create --nsg-name nsg --name web --priority 100 --access Allow \
         --direction Inbound --protocol Tcp --destination-port-ranges 22 80",
        &[],
        &shapes::security_rule("nsg", "web"),
    )?;
    az(
        host,
        "network asg create --name web --location eastus",
        &[],
        &shapes::application_security_group("web"),
    )?;
    az(
        host,
        "network nsg rule create --nsg-name nsg --name grouped --priority 110 --access Deny \
         --direction Inbound --protocol Udp --source-asgs web --destination-port-ranges 53",
        &[],
        &shapes::grouped_rule("nsg", "grouped", "web"),
    )?;
    Ok(())
}

fn peerings(host: &Host) -> Result<()> {
    for (vnet, remote, prefix, state) in [
        ("VNet1", "VNet5", "10.5.0.0/16", "Initiated"),
        ("VNet5", "VNet1", "10.1.0.0/16", "Connected"),
    ] {
        let name = format!("{vnet}-to-{remote}");
        az(
            host,
            &format!(
                "network vnet peering create --vnet-name {vnet} --name {name} --remote-vnet \
                 {remote} --allow-vnet-access"
            ),
            &[],
            &shapes::peering(vnet, &name, remote, prefix, state),
        )?;
    }
    // The first one, now that there is a second.
    az(
        host,
        "network vnet peering show --vnet-name VNet1 --name VNet1-to-VNet5",
        &[],
        &shapes::peering(
            "VNet1",
            "VNet1-to-VNet5",
            "VNet5",
            "10.5.0.0/16",
            "Connected",
        ),
    )?;
    Ok(())
}

fn gateways(host: &Host) -> Result<()> {
    for ((gateway, vnet, location, at, names), addresses) in GATEWAYS.iter().zip(PUBLIC) {
        for (name, address) in names.iter().zip(addresses) {
            let mut pattern = shapes::public_address(name, address);
            pattern["publicIp"]["location"] = (*location).into();
            az(
                host,
                &format!(
                    "network public-ip create --name {name} --location {location} --sku Standard \
                     --allocation-method Static --ip-address {address}"
                ),
                &[],
                &pattern,
            )?;
        }
        let tags = format!(r#"{{"vnet-gw:host": "{at}"}}"#);
        let name = *gateway;
        // Both at the same time.
        host.az.run(&[
            "network",
            "vnet-gateway",
            "create",
            "--resource-group",
            GROUP,
            "--name",
            name,
            "--location",
            location,
            "--vnet",
            vnet,
            "--public-ip-addresses",
            names[0],
            names[1],
            "--gateway-type",
            "Vpn",
            "--vpn-type",
            "RouteBased",
            "--sku",
            "VpnGw2",
            "--vpn-gateway-generation",
            "Generation2",
            "--tags",
            &tags,
            "--no-wait",
        ])?;
    }
    for (gateway, vnet, location, _, names) in GATEWAYS {
        host.az.run(&[
            "network",
            "vnet-gateway",
            "wait",
            "--resource-group",
            GROUP,
            "--name",
            gateway,
            "--created",
            "--interval",
            "1",
            "--timeout",
            "60",
        ])?;
        az(
            host,
            &format!("network vnet-gateway show --name {gateway}"),
            &[],
            &shapes::gateway(gateway, vnet, location, names),
        )?;
    }
    Ok(())
}

fn connections(host: &Host) -> Result<()> {
    for (from, to, location) in [("VNet1", "VNet4", "eastus"), ("VNet4", "VNet1", "westus")] {
        let name = format!("{from}-to-{to}");
        let (near, far) = (format!("{from}-GW"), format!("{to}-GW"));
        let made = host.az.json(&[
            "network",
            "vpn-connection",
            "create",
            "--resource-group",
            GROUP,
            "--name",
            &name,
            "--location",
            location,
            "--vnet-gateway1",
            &near,
            "--vnet-gateway2",
            &far,
            "--shared-key",
            KEY,
        ])?;
        // The deployment's output: what `reference()` makes of the connection.
        let resource = made["resource"].as_object();
        let resource = resource.with_context(|| format!("no output: {made:#}"))?;
        host.look(
            "connectionType",
            resource
                .get("connectionType")
                .context("no connectionType")?,
            &json!("Vnet2Vnet"),
        );
        assert!(
            !made.to_string().contains(KEY),
            "the key is shown: {made:#}"
        );
    }
    Ok(())
}

/// The same for `build.py`.
pub(crate) fn for_sdk() -> Value {
    let reference = |name: String| json!({"id": id(&name)});
    let mut all = vec![
        json!(["route_tables", ["udr"], {"location": "eastus", "properties": {"routes": [
            {"name": "nowhere", "properties": {"addressPrefix": "10.9.0.0/16", "nextHopType": "None"}},
        ]}}]),
        json!(["network_security_groups", ["nsg"], {"location": "eastus"}]),
        json!(["security_rules", ["nsg", "web"], {"properties": {
            "access": "Allow", "direction": "Inbound", "priority": 100, "protocol": "Tcp",
            "sourceAddressPrefix": "*", "sourcePortRange": "*", "destinationAddressPrefix": "*",
            "destinationPortRanges": ["22", "80"],
        }}]),
        json!(["application_security_groups", ["web"], {"location": "eastus"}]),
        json!(["security_rules", ["nsg", "grouped"], {"properties": {
            "access": "Deny", "direction": "Inbound", "priority": 110, "protocol": "Udp",
            "sourceApplicationSecurityGroups": [reference("applicationSecurityGroups/web".to_owned())],
            "sourcePortRange": "*", "destinationAddressPrefix": "*", "destinationPortRange": "53",
        }}]),
    ];
    for (n, location) in [(1, "eastus"), (4, "westus"), (5, "eastus")] {
        let mut front_end = json!({"addressPrefix": format!("10.{n}.0.0/24")});
        if n == 5 {
            front_end["routeTable"] = reference("routeTables/udr".to_owned());
        }
        all.push(json!(["virtual_networks", [format!("VNet{n}")], {
            "location": location,
            "properties": {
                "addressSpace": {"addressPrefixes": [format!("10.{n}.0.0/16")]},
                "subnets": [{"name": "FrontEnd", "properties": front_end}],
            },
        }]));
    }
    for n in [1, 4] {
        all.push(
            json!(["subnets", [format!("VNet{n}"), "GatewaySubnet"], {"properties": {
                "addressPrefix": format!("10.{n}.255.0/27"),
            }}]),
        );
    }
    for (vnet, remote) in [("VNet1", "VNet5"), ("VNet5", "VNet1")] {
        all.push(
            json!(["virtual_network_peerings", [vnet, format!("{vnet}-to-{remote}")], {
                "properties": {
                    "allowVirtualNetworkAccess": true,
                    "remoteVirtualNetwork": reference(format!("virtualNetworks/{remote}")),
                },
            }]),
        );
    }
    for ((gateway, vnet, location, at, names), addresses) in GATEWAYS.iter().zip(PUBLIC) {
        for (name, address) in names.iter().zip(addresses) {
            all.push(json!(["public_ip_addresses", [name], {
                "location": location, "sku": {"name": "Standard"},
                "properties": {"publicIPAllocationMethod": "Static", "ipAddress": address},
            }]));
        }
        let configurations: Vec<Value> = names
            .iter()
            .map(|name| {
                json!({"name": name, "properties": {
                    "privateIPAllocationMethod": "Dynamic",
                    "subnet": reference(format!("virtualNetworks/{vnet}/subnets/GatewaySubnet")),
                    "publicIPAddress": reference(format!("publicIPAddresses/{name}")),
                }})
            })
            .collect();
        all.push(json!(["virtual_network_gateways", [gateway], {
            "location": location,
            "tags": {"vnet-gw:host": at},
            "properties": {
                "gatewayType": "Vpn", "vpnType": "RouteBased", "activeActive": true,
                "vpnGatewayGeneration": "Generation2", "sku": {"name": "VpnGw2", "tier": "VpnGw2"},
                "ipConfigurations": configurations,
            },
        }]));
    }
    for (from, to, location) in [("VNet1", "VNet4", "eastus"), ("VNet4", "VNet1", "westus")] {
        let gateway = |vnet: &str| reference(format!("virtualNetworkGateways/{vnet}-GW"));
        all.push(
            json!(["virtual_network_gateway_connections", [format!("{from}-to-{to}")], {
                "location": location,
                "properties": {
                    "connectionType": "Vnet2Vnet", "routingWeight": 10, "sharedKey": KEY,
                    "virtualNetworkGateway1": gateway(from), "virtualNetworkGateway2": gateway(to),
                },
            }]),
        );
    }
    for (nic, vnet, location, at, address) in INTERFACES {
        let groups = groups_of(nic).iter();
        let groups = groups.map(|name| reference(format!("applicationSecurityGroups/{name}")));
        let groups: Vec<Value> = groups.collect();
        all.push(json!(["network_interfaces", [nic], {
            "location": location,
            "tags": {"vnet-gw:device": nic, "vnet-gw:host": at},
            "properties": {"ipConfigurations": [{"name": "ipconfig1", "properties": {
                "privateIPAllocationMethod": "Static", "privateIPAddress": address,
                "subnet": reference(format!("virtualNetworks/{vnet}/subnets/FrontEnd")),
                "applicationSecurityGroups": groups,
            }}]},
        }]));
    }
    json!({"group": GROUP, "location": "eastus", "resources": all})
}

/// What may be deleted in this order, for `remove.py` or `az`: `(type, SDK's operations, names)`.
pub(crate) fn to_delete() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let mut all = Vec::new();
    for (nic, ..) in INTERFACES {
        all.push(("nic", "network_interfaces", vec![nic]));
    }
    for connection in ["VNet1-to-VNet4", "VNet4-to-VNet1"] {
        all.push((
            "vpn-connection",
            "virtual_network_gateway_connections",
            vec![connection],
        ));
    }
    for (gateway, _, _, _, names) in GATEWAYS {
        all.push(("vnet-gateway", "virtual_network_gateways", vec![gateway]));
        for name in names {
            all.push(("public-ip", "public_ip_addresses", vec![name]));
        }
    }
    let peering = vec!["VNet1", "VNet1-to-VNet5"];
    all.push(("vnet peering", "virtual_network_peerings", peering));
    all.push(("vnet subnet", "subnets", vec!["VNet1", "GatewaySubnet"]));
    for vnet in ["VNet1", "VNet4", "VNet5"] {
        all.push(("vnet", "virtual_networks", vec![vnet]));
    }
    all.push(("route-table route", "routes", vec!["udr", "nowhere"]));
    all.push(("route-table", "route_tables", vec!["udr"]));
    for rule in ["web", "grouped"] {
        all.push(("nsg rule", "security_rules", vec!["nsg", rule]));
    }
    all.push(("asg", "application_security_groups", vec!["web"]));
    all.push(("nsg", "network_security_groups", vec!["nsg"]));
    all
}
