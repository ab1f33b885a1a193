//! The names of properties as Azure writes them.
//!
//! Clients may write them in any case; what is shown has Azure's. Each list is that of the REST
//! API's object of the same name.

use crate::model::Kind;

/// The properties of a kind.
pub(super) const fn of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::VirtualNetwork => VIRTUAL_NETWORK,
        Kind::Subnet => SUBNET,
        Kind::VirtualNetworkPeering => PEERING,
        Kind::NetworkInterface => NETWORK_INTERFACE,
        Kind::NetworkSecurityGroup => NETWORK_SECURITY_GROUP,
        Kind::SecurityRule => SECURITY_RULE,
        Kind::ApplicationSecurityGroup => &["resourceGuid", "provisioningState"],
        Kind::RouteTable => ROUTE_TABLE,
        Kind::Route => ROUTE,
        Kind::PublicIpAddress => PUBLIC_IP_ADDRESS,
        Kind::VirtualNetworkGateway => VIRTUAL_NETWORK_GATEWAY,
        Kind::LocalNetworkGateway => LOCAL_NETWORK_GATEWAY,
        Kind::Connection => CONNECTION,
        Kind::NetworkWatcher => NETWORK_WATCHER,
    }
}

/// What of a kind's properties is never shown as it was written: the server alone says it, or it is
/// shown item by item.
pub(super) const fn served(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::VirtualNetwork => &["subnets", "virtualNetworkPeerings"],
        Kind::Subnet | Kind::NetworkInterface | Kind::VirtualNetworkGateway => {
            &["ipConfigurations"]
        }
        Kind::NetworkSecurityGroup => &[
            "securityRules",
            "defaultSecurityRules",
            "networkInterfaces",
            "subnets",
        ],
        Kind::RouteTable => &["routes", "subnets"],
        Kind::PublicIpAddress => &["ipConfiguration"],
        // A key is kept elsewhere; should one be here, nobody sees it.
        Kind::Connection => &["sharedKey", "tunnelConnectionStatus"],
        _ => &[],
    }
}

/// The names in an object, or in the objects of a list, that is the property `name` of anything.
pub(super) fn below(name: &str) -> &'static [&'static str] {
    match name {
        "addressSpace" | "localNetworkAddressSpace" => {
            &["addressPrefixes", "ipamPoolPrefixAllocations"]
        }
        "dhcpOptions" => &["dnsServers"],
        // Of NICs and of public addresses.
        "dnsSettings" => &[
            "dnsServers",
            "appliedDnsServers",
            "internalDnsNameLabel",
            "internalFqdn",
            "internalDomainNameSuffix",
            "domainNameLabel",
            "domainNameLabelScope",
            "fqdn",
            "reverseFqdn",
        ],
        "ddosSettings" => &["protectionMode", "ddosProtectionPlan"],
        "encryption" => &["enabled", "enforcement"],
        "sku" => &["name", "tier", "capacity"],
        "bgpSettings" => BGP_SETTINGS,
        "ipsecPolicies" => IPSEC_POLICY,
        "trafficSelectorPolicies" => TRAFFIC_SELECTOR_POLICY,
        "routeTable"
        | "networkSecurityGroup"
        | "remoteVirtualNetwork"
        | "subnet"
        | "publicIPAddress"
        | "applicationSecurityGroups"
        | "sourceApplicationSecurityGroups"
        | "destinationApplicationSecurityGroups"
        | "virtualNetworkGateway1"
        | "virtualNetworkGateway2"
        | "localNetworkGateway2" => &["id"],
        // Nothing is known of what is in it: tags, say.
        _ => &[],
    }
}

/// Beside `properties`, of any resource or child.
pub(super) const ENVELOPE: &[&str] = &[
    "id",
    "name",
    "type",
    "etag",
    "location",
    "tags",
    "sku",
    "zones",
    "identity",
    "extendedLocation",
    "properties",
];

/// `VirtualNetworkPropertiesFormat`
pub(super) const VIRTUAL_NETWORK: &[&str] = &[
    "addressSpace",
    "dhcpOptions",
    "flowTimeoutInMinutes",
    "subnets",
    "virtualNetworkPeerings",
    "resourceGuid",
    "provisioningState",
    "enableDdosProtection",
    "enableVmProtection",
    "ddosProtectionPlan",
    "bgpCommunities",
    "encryption",
    "ipAllocations",
    "flowLogs",
    "privateEndpointVNetPolicies",
    "defaultPublicNatGateway",
    "summarizedGatewayPrefixes",
];

/// `NetworkWatcherPropertiesFormat`
pub(super) const NETWORK_WATCHER: &[&str] = &["provisioningState", "runningOperationIds"];

/// `SubnetPropertiesFormat`
pub(super) const SUBNET: &[&str] = &[
    "addressPrefix",
    "addressPrefixes",
    "networkSecurityGroup",
    "routeTable",
    "natGateway",
    "serviceEndpoints",
    "serviceEndpointPolicies",
    "privateEndpoints",
    "ipConfigurations",
    "ipConfigurationProfiles",
    "ipAllocations",
    "resourceNavigationLinks",
    "serviceAssociationLinks",
    "delegations",
    "purpose",
    "provisioningState",
    "privateEndpointNetworkPolicies",
    "privateLinkServiceNetworkPolicies",
    "applicationGatewayIPConfigurations",
    "sharingScope",
    "defaultOutboundAccess",
    "ipamPoolPrefixAllocations",
    "serviceGateway",
];

/// `VirtualNetworkPeeringPropertiesFormat`
pub(super) const PEERING: &[&str] = &[
    "allowVirtualNetworkAccess",
    "allowForwardedTraffic",
    "allowGatewayTransit",
    "useRemoteGateways",
    "remoteVirtualNetwork",
    "localAddressSpace",
    "localVirtualNetworkAddressSpace",
    "remoteAddressSpace",
    "remoteVirtualNetworkAddressSpace",
    "remoteBgpCommunities",
    "remoteVirtualNetworkEncryption",
    "peeringState",
    "peeringSyncLevel",
    "provisioningState",
    "doNotVerifyRemoteGateways",
    "resourceGuid",
    "peerCompleteVnets",
    "enableOnlyIPv6Peering",
    "localSubnetNames",
    "remoteSubnetNames",
];

/// `NetworkInterfacePropertiesFormat`
pub(super) const NETWORK_INTERFACE: &[&str] = &[
    "virtualMachine",
    "networkSecurityGroup",
    "privateEndpoint",
    "ipConfigurations",
    "tapConfigurations",
    "dnsSettings",
    "macAddress",
    "primary",
    "vnetEncryptionSupported",
    "defaultOutboundConnectivityEnabled",
    "enableAcceleratedNetworking",
    "disableTcpStateTracking",
    "enableIPForwarding",
    "hostedWorkloads",
    "dscpConfiguration",
    "resourceGuid",
    "provisioningState",
    "workloadType",
    "nicType",
    "privateLinkService",
    "migrationPhase",
    "auxiliaryMode",
    "auxiliarySku",
];

/// `NetworkInterfaceIPConfigurationPropertiesFormat`
pub(super) const IP_CONFIGURATION: &[&str] = &[
    "gatewayLoadBalancer",
    "virtualNetworkTaps",
    "applicationGatewayBackendAddressPools",
    "loadBalancerBackendAddressPools",
    "loadBalancerInboundNatRules",
    "privateIPAddress",
    "privateIPAddressPrefixLength",
    "privateIPAllocationMethod",
    "privateIPAddressVersion",
    "subnet",
    "primary",
    "publicIPAddress",
    "applicationSecurityGroups",
    "provisioningState",
    "privateLinkConnectionProperties",
];

/// `NetworkSecurityGroupPropertiesFormat`
pub(super) const NETWORK_SECURITY_GROUP: &[&str] = &[
    "flushConnection",
    "securityRules",
    "defaultSecurityRules",
    "networkInterfaces",
    "subnets",
    "flowLogs",
    "resourceGuid",
    "provisioningState",
];

/// `SecurityRulePropertiesFormat`
pub(super) const SECURITY_RULE: &[&str] = &[
    "description",
    "protocol",
    "sourcePortRange",
    "destinationPortRange",
    "sourceAddressPrefix",
    "sourceAddressPrefixes",
    "sourceApplicationSecurityGroups",
    "destinationAddressPrefix",
    "destinationAddressPrefixes",
    "destinationApplicationSecurityGroups",
    "sourcePortRanges",
    "destinationPortRanges",
    "access",
    "priority",
    "direction",
    "provisioningState",
];

/// `RouteTablePropertiesFormat`
pub(super) const ROUTE_TABLE: &[&str] = &[
    "routes",
    "subnets",
    "disableBgpRoutePropagation",
    "disablePeeringRoute",
    "provisioningState",
    "resourceGuid",
];

/// `RoutePropertiesFormat`
pub(super) const ROUTE: &[&str] = &[
    "addressPrefix",
    "nextHopType",
    "nextHopIpAddress",
    "nextHop",
    "provisioningState",
    "hasBgpOverride",
];

/// `PublicIPAddressPropertiesFormat`
pub(super) const PUBLIC_IP_ADDRESS: &[&str] = &[
    "publicIPAllocationMethod",
    "publicIPAddressVersion",
    "ipConfiguration",
    "dnsSettings",
    "ddosSettings",
    "ipTags",
    "ipAddress",
    "publicIPPrefix",
    "idleTimeoutInMinutes",
    "resourceGuid",
    "provisioningState",
    "servicePublicIPAddress",
    "natGateway",
    "migrationPhase",
    "linkedPublicIPAddress",
    "deleteOption",
    "upgradedToV2",
];

/// `VirtualNetworkGatewayPropertiesFormat`
pub(super) const VIRTUAL_NETWORK_GATEWAY: &[&str] = &[
    "autoScaleConfiguration",
    "ipConfigurations",
    "gatewayType",
    "vpnType",
    "vpnGatewayGeneration",
    "enableBgp",
    "enablePrivateIpAddress",
    "virtualNetworkGatewayMigrationStatus",
    "activeActive",
    "enableHighBandwidthVpnGateway",
    "disableIPSecReplayProtection",
    "gatewayDefaultSite",
    "sku",
    "vpnClientConfiguration",
    "virtualNetworkGatewayPolicyGroups",
    "bgpSettings",
    "customRoutes",
    "resourceGuid",
    "provisioningState",
    "enableDnsForwarding",
    "inboundDnsForwardingEndpoint",
    "vNetExtendedLocationResourceId",
    "natRules",
    "enableBgpRouteTranslationForNat",
    "allowVirtualWanTraffic",
    "allowRemoteVnetTraffic",
    "adminState",
    "resiliencyModel",
];

/// `VirtualNetworkGatewayIPConfigurationPropertiesFormat`
pub(super) const GATEWAY_IP_CONFIGURATION: &[&str] = &[
    "privateIPAllocationMethod",
    "subnet",
    "publicIPAddress",
    "privateIPAddress",
    "provisioningState",
];

/// `BgpSettings`
pub(super) const BGP_SETTINGS: &[&str] = &[
    "asn",
    "bgpPeeringAddress",
    "peerWeight",
    "bgpPeeringAddresses",
];

/// `LocalNetworkGatewayPropertiesFormat`
pub(super) const LOCAL_NETWORK_GATEWAY: &[&str] = &[
    "localNetworkAddressSpace",
    "gatewayIpAddress",
    "fqdn",
    "bgpSettings",
    "resourceGuid",
    "provisioningState",
];

/// `VirtualNetworkGatewayConnectionPropertiesFormat`
pub(super) const CONNECTION: &[&str] = &[
    "authorizationKey",
    "virtualNetworkGateway1",
    "virtualNetworkGateway2",
    "localNetworkGateway2",
    "ingressNatRules",
    "egressNatRules",
    "connectionType",
    "connectionProtocol",
    "routingWeight",
    "dpdTimeoutSeconds",
    "connectionMode",
    "tunnelProperties",
    "sharedKey",
    "connectionStatus",
    "tunnelConnectionStatus",
    "egressBytesTransferred",
    "ingressBytesTransferred",
    "peer",
    "enableBgp",
    "gatewayCustomBgpIpAddresses",
    "useLocalAzureIpAddress",
    "usePolicyBasedTrafficSelectors",
    "ipsecPolicies",
    "trafficSelectorPolicies",
    "resourceGuid",
    "provisioningState",
    "expressRouteGatewayBypass",
    "enablePrivateLinkFastPath",
    "authenticationType",
    "certificateAuthentication",
    "routingConfiguration",
];

/// `IpsecPolicy`
pub(super) const IPSEC_POLICY: &[&str] = &[
    "saLifeTimeSeconds",
    "saDataSizeKilobytes",
    "ipsecEncryption",
    "ipsecIntegrity",
    "ikeEncryption",
    "ikeIntegrity",
    "dhGroup",
    "pfsGroup",
];

/// `TrafficSelectorPolicy`
pub(super) const TRAFFIC_SELECTOR_POLICY: &[&str] = &["localAddressRanges", "remoteAddressRanges"];
