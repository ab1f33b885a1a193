//! Values as Azure writes them: clients may write an enum's in any case, and a template `"true"`
//! for a boolean.

use serde_json::Value;

/// The value of the property `name` of anything.
pub(super) fn canonical(name: &str, text: &str) -> Value {
    if BOOLEANS.contains(&name) {
        for (word, value) in [("true", true), ("false", false)] {
            if text.eq_ignore_ascii_case(word) {
                return value.into();
            }
        }
    }
    let mut values = choices(name).iter();
    let found = values.find(|value| value.eq_ignore_ascii_case(text));
    found.map_or(text, |value| *value).into()
}

const BOOLEANS: &[&str] = &[
    "activeActive",
    "allowForwardedTraffic",
    "allowGatewayTransit",
    "allowRemoteVnetTraffic",
    "allowVirtualNetworkAccess",
    "allowVirtualWanTraffic",
    "defaultOutboundAccess",
    "disableBgpRoutePropagation",
    "disableIPSecReplayProtection",
    "disablePeeringRoute",
    "disableTcpStateTracking",
    "doNotVerifyRemoteGateways",
    "enableAcceleratedNetworking",
    "enableBgp",
    "enableBgpRouteTranslationForNat",
    "enableDdosProtection",
    "enableDnsForwarding",
    "enableIPForwarding",
    "enableOnlyIPv6Peering",
    "enablePrivateIpAddress",
    "enablePrivateLinkFastPath",
    "enableVmProtection",
    "enabled",
    "expressRouteGatewayBypass",
    "peerCompleteVnets",
    "primary",
    "useLocalAzureIpAddress",
    "usePolicyBasedTrafficSelectors",
    "useRemoteGateways",
];

/// The values of an enum; nothing of a property that is none.
fn choices(name: &str) -> &'static [&'static str] {
    match name {
        "nextHopType" => &[
            "VirtualNetworkGateway",
            "VnetLocal",
            "Internet",
            "VirtualAppliance",
            "None",
        ],
        "connectionType" => &["IPsec", "Vnet2Vnet", "ExpressRoute", "VPNClient"],
        "connectionProtocol" => &["IKEv2", "IKEv1"],
        "connectionMode" => &["Default", "ResponderOnly", "InitiatorOnly"],
        "gatewayType" => &["Vpn", "ExpressRoute", "LocalGateway"],
        "vpnType" => &["PolicyBased", "RouteBased"],
        "privateIPAllocationMethod" | "publicIPAllocationMethod" => &["Static", "Dynamic"],
        "privateIPAddressVersion" | "publicIPAddressVersion" => &["IPv4", "IPv6"],
        "protocol" => &["Tcp", "Udp", "Icmp", "Esp", "*", "Ah"],
        "access" => &["Allow", "Deny"],
        "direction" => &["Inbound", "Outbound"],
        "privateEndpointNetworkPolicies" => &[
            "Enabled",
            "Disabled",
            "NetworkSecurityGroupEnabled",
            "RouteTableEnabled",
        ],
        "privateLinkServiceNetworkPolicies" => &["Enabled", "Disabled"],
        _ => choices_of_ipsec(name),
    }
}

/// Of an `ipsecPolicy`.
fn choices_of_ipsec(name: &str) -> &'static [&'static str] {
    match name {
        "ikeEncryption" => &[
            "DES",
            "DES3",
            "AES128",
            "AES192",
            "AES256",
            "GCMAES256",
            "GCMAES128",
        ],
        "ikeIntegrity" => &["MD5", "SHA1", "SHA256", "SHA384", "GCMAES256", "GCMAES128"],
        "dhGroup" => &[
            "None",
            "DHGroup1",
            "DHGroup2",
            "DHGroup14",
            "DHGroup2048",
            "ECP256",
            "ECP384",
            "DHGroup24",
        ],
        "ipsecEncryption" => &[
            "None",
            "DES",
            "DES3",
            "AES128",
            "AES192",
            "AES256",
            "GCMAES128",
            "GCMAES192",
            "GCMAES256",
        ],
        "ipsecIntegrity" => &[
            "MD5",
            "SHA1",
            "SHA256",
            "GCMAES128",
            "GCMAES192",
            "GCMAES256",
        ],
        "pfsGroup" => &[
            "None", "PFS1", "PFS2", "PFS2048", "ECP256", "ECP384", "PFS24", "PFS14", "PFSMM",
        ],
        _ => &[],
    }
}
