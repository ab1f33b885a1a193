//! What `az` prints of each kind of resource where it is Azure that answers: `properties` flattened
//! into the resource, and the group of every id beside it.

use serde_json::{Map, Value, json};

use super::host::GROUP;

/// What every resource of `Microsoft.Network` has.
fn resource(kind: &str, name: &str, more: Value) -> Value {
    let leaf = name.rsplit('/').next();
    let mut all = json!({
        "id": format!("…/resourceGroups/{GROUP}/providers/Microsoft.Network/{name}"),
        "name": leaf,
        "type": format!("Microsoft.Network/{kind}"),
        "etag": "<etag>",
        "provisioningState": "Succeeded",
        "resourceGroup": GROUP,
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

fn reference(name: &str) -> Value {
    json!({"id": format!("…/providers/Microsoft.Network/{name}"), "resourceGroup": GROUP})
}

pub(crate) fn subnet(vnet: &str, name: &str, prefix: &str, more: Value) -> Value {
    let mut pattern = resource(
        "virtualNetworks/subnets",
        &format!("virtualNetworks/{vnet}/subnets/{name}"),
        json!({
            "addressPrefix": prefix,
            "delegations": [],
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Enabled",
            "ipConfigurations?": "<any>",
            "serviceEndpoints?": [],
        }),
    );
    extend(&mut pattern, more);
    pattern
}

pub(crate) fn vnet(name: &str, location: &str, prefix: &str, subnets: Value) -> Value {
    resource(
        "virtualNetworks",
        &format!("virtualNetworks/{name}"),
        json!({
            "location": location,
            "resourceGuid": "<guid>",
            "addressSpace": {"addressPrefixes": [prefix]},
            "enableDdosProtection": false,
            "enableVmProtection?": false,
            "privateEndpointVNetPolicies?": "Disabled",
            "dhcpOptions?": {"dnsServers": []},
            "subnets": subnets,
            "virtualNetworkPeerings": [],
        }),
    )
}

pub(crate) fn peering(vnet: &str, name: &str, remote: &str, prefix: &str, state: &str) -> Value {
    let space = json!({"addressPrefixes": [prefix]});
    let own = json!({"addressPrefixes": ["<string>"]});
    resource(
        "virtualNetworks/virtualNetworkPeerings",
        &format!("virtualNetworks/{vnet}/virtualNetworkPeerings/{name}"),
        json!({
            "allowForwardedTraffic": false,
            "allowGatewayTransit": false,
            "allowVirtualNetworkAccess": true,
            "doNotVerifyRemoteGateways": false,
            "useRemoteGateways": false,
            "peerCompleteVnets": true,
            "peeringState": state,
            "peeringSyncLevel": "<string>",
            "localAddressSpace?": own,
            "localVirtualNetworkAddressSpace?": own,
            "remoteAddressSpace": space,
            "remoteVirtualNetworkAddressSpace": space,
            "remoteVirtualNetwork": reference(&format!("virtualNetworks/{remote}")),
            "resourceGuid": "<guid>",
        }),
    )
}

pub(crate) fn public_address(name: &str, address: &str) -> Value {
    json!({"publicIp": resource(
        "publicIPAddresses",
        &format!("publicIPAddresses/{name}"),
        json!({
            "location": "eastus",
            "ipAddress": address,
            "idleTimeoutInMinutes": 4,
            "ipTags": [],
            "publicIPAddressVersion": "IPv4",
            "publicIPAllocationMethod": "Static",
            "resourceGuid": "<guid>",
            "sku": {"name": "Standard", "tier": "Regional"},
            "ddosSettings?": {"protectionMode": "VirtualNetworkInherited"},
        }),
    )})
}

pub(crate) fn route_table(name: &str) -> Value {
    resource(
        "routeTables",
        &format!("routeTables/{name}"),
        json!({
            "location": "eastus",
            "disableBgpRoutePropagation": false,
            "resourceGuid": "<guid>",
            "routes": [],
            "subnets?": [],
        }),
    )
}

pub(crate) fn route(table: &str, name: &str, prefix: &str, hop: &str) -> Value {
    resource(
        "routeTables/routes",
        &format!("routeTables/{table}/routes/{name}"),
        json!({"addressPrefix": prefix, "nextHopType": hop, "hasBgpOverride": false}),
    )
}

pub(crate) fn security_group(name: &str) -> Value {
    let default = json!({
        "access": "<string>", "description": "<string>", "direction": "<string>",
        "destinationAddressPrefix": "<string>", "destinationAddressPrefixes": [],
        "destinationPortRange": "*", "destinationPortRanges": [],
        "sourceAddressPrefix": "<string>", "sourceAddressPrefixes": [],
        "sourcePortRange": "*", "sourcePortRanges": [],
        "etag": "<etag>", "id": "<string>", "name": "<string>", "priority": "<number>",
        "protocol": "*", "provisioningState": "Succeeded", "resourceGroup": GROUP,
        "type": "Microsoft.Network/networkSecurityGroups/defaultSecurityRules",
    });
    json!({"NewNSG": resource(
        "networkSecurityGroups",
        &format!("networkSecurityGroups/{name}"),
        json!({
            "location": "eastus",
            "resourceGuid": "<guid>",
            "securityRules": [],
            "defaultSecurityRules": [default, "<more>"],
        }),
    )})
}

pub(crate) fn security_rule(group: &str, name: &str) -> Value {
    resource(
        "networkSecurityGroups/securityRules",
        &format!("networkSecurityGroups/{group}/securityRules/{name}"),
        json!({
            "access": "Allow", "direction": "Inbound", "priority": 100, "protocol": "Tcp",
            "sourceAddressPrefix": "*", "sourceAddressPrefixes": [],
            "sourcePortRange": "*", "sourcePortRanges": [],
            "destinationAddressPrefix": "*", "destinationAddressPrefixes": [],
            "destinationPortRanges": ["22", "80"],
        }),
    )
}

pub(crate) fn application_security_group(name: &str) -> Value {
    resource(
        "applicationSecurityGroups",
        &format!("applicationSecurityGroups/{name}"),
        json!({"location": "eastus", "resourceGuid": "<guid>"}),
    )
}

/// Of UDP port 53, from an application security group.
pub(crate) fn grouped_rule(group: &str, name: &str, source: &str) -> Value {
    let source = reference(&format!("applicationSecurityGroups/{source}"));
    resource(
        "networkSecurityGroups/securityRules",
        &format!("networkSecurityGroups/{group}/securityRules/{name}"),
        json!({
            "access": "Deny", "direction": "Inbound", "priority": 110, "protocol": "Udp",
            "sourceApplicationSecurityGroups": [source], "sourceAddressPrefixes": [],
            "sourcePortRange": "*", "sourcePortRanges": [],
            "destinationAddressPrefix": "*", "destinationAddressPrefixes": [],
            "destinationPortRange": "53", "destinationPortRanges": [],
        }),
    )
}

/// A group that holds for a NIC by its subnet, and what its rules come to.
pub(crate) fn effective_group(group: &str, subnet: &str) -> Value {
    let rule = json!({
        "name": "<string>", "access": "<string>", "direction": "<string>",
        "priority": "<number>", "protocol": "<string>",
        "sourcePortRange": "<string>", "sourcePortRanges": ["<string>", "<more>"],
        "destinationPortRange": "<string>", "destinationPortRanges": ["<string>", "<more>"],
        "sourceAddressPrefix?": "<string>", "sourceAddressPrefixes": "<any>",
        "destinationAddressPrefix?": "<string>", "destinationAddressPrefixes": "<any>",
        "expandedSourceAddressPrefix": "<any>", "expandedDestinationAddressPrefix": "<any>",
    });
    json!({
        "networkSecurityGroup": reference(&format!("networkSecurityGroups/{group}")),
        "association": {"subnet": reference(subnet)},
        "effectiveSecurityRules": [rule, "<more>"],
        "tagMap": {
            "AzureLoadBalancer": ["168.63.129.16/32"],
            "Internet": ["<string>", "<more>"],
            "VirtualNetwork": ["<string>", "<more>"],
        },
    })
}

/// On the wire, where `az network vnet-gateway create` prints it so.
pub(crate) fn gateway(name: &str, vnet: &str, location: &str, public: [&str; 2]) -> Value {
    let configurations: Vec<Value> = public
        .iter()
        .enumerate()
        .map(|(i, address)| {
            json!({
                "id": format!("…/virtualNetworkGateways/{name}/ipConfigurations/vnetGatewayConfig{i}"),
                "name": format!("vnetGatewayConfig{i}"),
                "etag": "<etag>",
                "type?": "Microsoft.Network/virtualNetworkGateways/ipConfigurations",
                "provisioningState": "Succeeded",
                "resourceGroup": GROUP,
                "privateIPAddress?": "<ip>",
                "privateIPAllocationMethod": "Dynamic",
                "publicIPAddress": reference(&format!("publicIPAddresses/{address}")),
                "subnet": reference(&format!("virtualNetworks/{vnet}/subnets/GatewaySubnet")),
            })
        })
        .collect();
    let peer = json!({
        "customBgpIpAddresses": [], "defaultBgpIpAddresses": ["<ip>"],
        "ipconfigurationId": "<string>", "tunnelIpAddresses": ["<ip>"],
    });
    resource(
        "virtualNetworkGateways",
        &format!("virtualNetworkGateways/{name}"),
        json!({
            "location": location,
            "tags": "<any>",
            "resourceGuid": "<guid>",
            "gatewayType": "Vpn", "vpnType": "RouteBased", "vpnGatewayGeneration": "Generation2",
            "sku": {"name": "VpnGw2", "tier": "VpnGw2", "capacity": "<number>"},
            "activeActive": true,
            "enableBgp": false,
            "enablePrivateIpAddress?": false,
            "disableIPSecReplayProtection?": false,
            "enableBgpRouteTranslationForNat?": false,
            "allowRemoteVnetTraffic?": false,
            "allowVirtualWanTraffic?": false,
            "natRules?": [],
            "bgpSettings": {
                "asn": 65515, "bgpPeeringAddress": "<string>", "peerWeight": 0,
                "bgpPeeringAddresses": [peer, "<more>"],
            },
            "ipConfigurations": configurations,
            "vpnClientConfiguration?": "<any>",
        }),
    )
}

pub(crate) fn connection(name: &str, location: &str, gateways: [&str; 2], status: &str) -> Value {
    let tunnel = json!({
        "tunnel": "<string>", "connectionStatus": status,
        "ingressBytesTransferred": "<number>", "egressBytesTransferred": "<number>",
        "lastConnectionEstablishedUtcTime": "<time>",
    });
    resource(
        "connections",
        &format!("connections/{name}"),
        json!({
            "location": location,
            "tags?": {},
            "resourceGuid": "<guid>",
            "connectionType": "Vnet2Vnet",
            "connectionProtocol": "IKEv2",
            "connectionMode": "Default",
            "connectionStatus": status,
            "tunnelConnectionStatus": [tunnel, "<more>"],
            "ingressBytesTransferred": "<number>",
            "egressBytesTransferred": "<number>",
            "dpdTimeoutSeconds": 45,
            "routingWeight": 10,
            "enableBgp": false,
            "enablePrivateLinkFastPath?": false,
            "expressRouteGatewayBypass": false,
            "useLocalAzureIpAddress": false,
            "usePolicyBasedTrafficSelectors": false,
            "ipsecPolicies": [],
            "trafficSelectorPolicies": [],
            "ingressNatRules?": [],
            "egressNatRules?": [],
            "gatewayCustomBgpIpAddresses?": [],
            "virtualNetworkGateway1": reference(&format!("virtualNetworkGateways/{}", gateways[0])),
            "virtualNetworkGateway2": reference(&format!("virtualNetworkGateways/{}", gateways[1])),
        }),
    )
}

pub(crate) fn interface(
    name: &str,
    location: &str,
    subnet: &str,
    address: &str,
    groups: &[&str],
) -> Value {
    let mut configuration = json!({
        "id": format!("…/networkInterfaces/{name}/ipConfigurations/ipconfig1"),
        "name": "ipconfig1",
        "type": "Microsoft.Network/networkInterfaces/ipConfigurations",
        "etag": "<etag>",
        "primary": true,
        "privateIPAddress": address,
        "privateIPAddressVersion": "IPv4",
        "privateIPAllocationMethod": "Static",
        "provisioningState": "Succeeded",
        "resourceGroup": GROUP,
        "subnet": reference(subnet),
    });
    if !groups.is_empty() {
        let groups = groups.iter();
        let groups = groups.map(|name| reference(&format!("applicationSecurityGroups/{name}")));
        configuration["applicationSecurityGroups"] = groups.collect();
    }
    json!({"NewNIC": resource(
        "networkInterfaces",
        &format!("networkInterfaces/{name}"),
        json!({
            "location": location,
            "tags": "<any>",
            "resourceGuid": "<guid>",
            "macAddress": "<string>",
            "ipConfigurations": [configuration],
            "dnsSettings": {
                "appliedDnsServers": [], "dnsServers": [],
                "internalDomainNameSuffix?": "<string>",
            },
            "auxiliaryMode?": "None", "auxiliarySku?": "None",
            "disableTcpStateTracking?": false,
            "enableAcceleratedNetworking": false,
            "enableIPForwarding": false,
            "hostedWorkloads?": [],
            "nicType?": "Standard",
            "primary?": true,
            "tapConfigurations": [],
            "virtualMachine?": {"id": "<string>", "resourceGroup": GROUP},
            "vnetEncryptionSupported?": false,
        }),
    )})
}

/// A row of a NIC's effective routes.
pub(crate) fn row(source: &str, prefix: &str, hop: &str, address: &[&str]) -> Value {
    json!({
        "source": source, "state": "Active", "addressPrefix": [prefix],
        "nextHopType": hop, "nextHopIpAddress": address,
        "disableBgpRoutePropagation?": false, "name?": "<any>", "hasBgpOverride?": false,
    })
}

fn extend(pattern: &mut Value, more: Value) {
    let more: Map<String, Value> = more.as_object().cloned().unwrap_or_default();
    if let Value::Object(pattern) = pattern {
        pattern.extend(more);
    }
}
