//! Sites and connections: what is read, and each rule broken with its code.

mod limits;

use ipnet::IpNet;
use serde_json::{Value, json};
use vnet_gw_core::{
    ike::{ConnectionMode, EncapsulationChoice, Identity},
    model::{Connection, ConnectionRemote, Topology},
};

use crate::{
    support::{good, id, parse, refused, vnet, with},
    vpn::{
        GW1, GW4, SITE, THERE, TO_SITE, VNET1, accepts, base, gateway, network, plus, property,
        public, refuses, set, site, to_gateway, to_site,
    },
};

pub(crate) fn connection(topology: &Topology, name: &str) -> Connection {
    let id = id(&format!("connections/{name}"));
    Connection::clone(&topology.connections[&id])
}

#[test]
fn the_remote_address_space_fills_itself_in() {
    let topology = good(&base());
    let there = connection(&topology, "VNet1-VNet4");
    assert_eq!(there.connection_type(), "Vnet2Vnet");
    assert_eq!(there.gateway, id("virtualNetworkGateways/GW1"));
    let remote = ConnectionRemote::VirtualNetworkGateway(id("virtualNetworkGateways/GW4"));
    assert_eq!(there.remote, remote);
    assert_eq!(there.remote_prefixes, ["10.4.0.0/16".parse().unwrap()]);
    assert_eq!(
        there.remote_addresses,
        ["203.0.113.4".parse::<std::net::IpAddr>().unwrap()]
    );
    let back = connection(&topology, "VNet4-VNet1");
    assert_eq!(topology.connection_back(&there), Some(&back));
    assert_eq!(topology.connection_back(&back), Some(&there));
    // It follows the remote VNet (A3); a site is changed by hand (A4).
    let space = json!(["10.4.0.0/16", "10.44.0.0/16"]);
    let grown = set(1, "/properties/addressSpace/addressPrefixes", space);
    let there = connection(&good(&grown), "VNet1-VNet4");
    assert_eq!(there.remote_prefixes.len(), 2);
    let site = connection(&topology, "VNet1-Site");
    assert_eq!(site.connection_type(), "IPsec");
    assert_eq!(site.remote_prefixes, ["192.168.0.0/24".parse().unwrap()]);
    assert_eq!(
        site.remote_addresses,
        ["198.51.100.7".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(topology.connection_back(&site), None);
}

#[test]
fn what_is_left_out_has_azures_defaults() {
    let made = connection(&good(&base()), "VNet1-Site");
    assert_eq!(made.mode, ConnectionMode::Default);
    assert_eq!(made.dpd_timeout.as_secs(), 45);
    assert_eq!(made.ipsec_policy, None);
    assert!(!made.use_policy_based_traffic_selectors && made.traffic_selector_policies.is_empty());
    assert_eq!(
        (made.shared_key, made.local_id, made.remote_id),
        (None, None, None)
    );
    assert_eq!(made.encapsulation, EncapsulationChoice::Udp);
    assert!(made.post_quantum);
    // One way alone is accepted: the other may be added later (A16).
    let mut resources = base();
    resources.remove(THERE + 1);
    let topology = good(&resources);
    assert_eq!(
        topology.connection_back(&connection(&topology, "VNet1-VNet4")),
        None
    );
}

#[test]
fn both_ends_are_there_and_of_the_type() {
    let at = "connections/VNet1-Site";
    let reference = "InvalidResourceReference";
    for (place, name) in [
        (TO_SITE, "virtualNetworkGateway1"),
        (TO_SITE, "localNetworkGateway2"),
    ] {
        let gone = property(place, name, json!({"id": "Nobody"}));
        let error = refused(&gone, reference, at);
        assert!(error.message.contains("Nobody"), "{error}");
        let lacking = property(place, name, Value::Null);
        refused(&lacking, "InvalidRequestFormat", "properties");
    }
    let gone = property(THERE, "virtualNetworkGateway2", json!({"id": "Nobody"}));
    refused(&gone, reference, "connections/VNet1-VNet4");
    let wrong = property(TO_SITE, "localNetworkGateway2", json!({"id": "/x/y"}));
    refused(&wrong, reference, "localNetworkGateway2.id");
    let other = json!({"id": "GW4"});
    refuses(
        TO_SITE,
        "virtualNetworkGateway2",
        other,
        "InvalidRequestFormat",
        "IPsec",
    );
    let other = json!({"id": "Site"});
    refuses(
        THERE,
        "localNetworkGateway2",
        other,
        "InvalidRequestFormat",
        "Vnet2Vnet",
    );
    accepts(THERE, "localNetworkGateway2", Value::Null);
    for kind in ["ExpressRoute", "VPNClient"] {
        let use_instead = "use IPsec or Vnet2Vnet";
        refuses(
            THERE,
            "connectionType",
            json!(kind),
            "NotSupported",
            use_instead,
        );
    }
    refuses(
        THERE,
        "connectionType",
        json!("Vpn"),
        "InvalidRequestFormat",
        "IPsec, Vnet2Vnet",
    );
    let itself = property(THERE, "virtualNetworkGateway2", json!({"id": "GW1"}));
    refused(
        &itself,
        "ConnectionToSameGateway",
        "connections/VNet1-VNet4",
    );
    let itself = property(SITE, "gatewayIpAddress", json!("203.0.113.1"));
    refused(&itself, "ConnectionToSameGateway", at);
    let six = property(SITE, "gatewayIpAddress", json!("2001:db8::1"));
    refused(&six, "ConnectionAddressFamiliesDiffer", at);
}

#[test]
fn only_ikev2_with_a_shared_key() {
    refuses(
        TO_SITE,
        "connectionProtocol",
        json!("IKEv1"),
        "NotSupported",
        "use IKEv2",
    );
    accepts(TO_SITE, "connectionProtocol", json!("IKEv2"));
    accepts(TO_SITE, "authenticationType", json!("PSK"));
    for (name, value) in [
        ("authenticationType", json!("Certificate")),
        ("certificateAuthentication", json!({"x": 1})),
        ("enableBgp", json!(true)),
        ("gatewayCustomBgpIpAddresses", json!([{}])),
        ("tunnelProperties", json!([{}])),
        ("useLocalAzureIpAddress", json!(true)),
        ("ingressNatRules", json!([{"id": "x"}])),
        ("egressNatRules", json!([{"id": "x"}])),
        ("routingConfiguration", json!({"x": 1})),
        ("peer", json!({"id": "x"})),
        ("authorizationKey", json!("x")),
        ("expressRouteGatewayBypass", json!(true)),
        ("enablePrivateLinkFastPath", json!(true)),
    ] {
        refuses(TO_SITE, name, value, "NotSupported", name);
    }
    for (name, value) in [
        ("connectionStatus", json!("Connected")),
        ("tunnelConnectionStatus", json!([{"tunnel": "x"}])),
        ("egressBytesTransferred", json!(7)),
        ("gatewayCustomBgpIpAddresses", json!([])),
        ("enableBgp", json!(false)),
        ("routingWeight", json!(10)),
    ] {
        accepts(TO_SITE, name, value);
    }
}

#[test]
fn shared_keys_follow_azures_rule_and_are_not_shown() {
    let topology = accepts(TO_SITE, "sharedKey", json!("abc!123_ABC+/="));
    let key = connection(&topology, "VNet1-Site")
        .shared_key
        .expect("a key");
    assert_eq!(key.expose(), b"abc!123_ABC+/=");
    assert!(!format!("{topology:?}").contains("abc!123"));
    for bad in ["has a space", "has-a-dash", "has~tilde", "schlüssel"] {
        let error = refuses(
            TO_SITE,
            "sharedKey",
            json!(bad),
            "InvalidSharedKey",
            "The shared key",
        );
        assert!(!error.to_string().contains(bad), "{error}");
    }
    refuses(
        TO_SITE,
        "sharedKey",
        json!(7_654_321),
        "InvalidRequestFormat",
        "a string",
    );
    let none = accepts(TO_SITE, "sharedKey", json!(""));
    assert_eq!(
        none.connections_without_key(),
        [[id("connections/VNet1-Site")]]
    );
}

#[test]
fn modes_and_timeouts_have_their_values() {
    for (text, mode) in [
        ("Default", ConnectionMode::Default),
        ("InitiatorOnly", ConnectionMode::InitiatorOnly),
        ("responderonly", ConnectionMode::ResponderOnly),
    ] {
        let topology = accepts(TO_SITE, "connectionMode", json!(text));
        assert_eq!(connection(&topology, "VNet1-Site").mode, mode);
    }
    refuses(
        TO_SITE,
        "connectionMode",
        json!("Both"),
        "InvalidRequestFormat",
        "Default",
    );
    for seconds in [9, 3_600] {
        let topology = accepts(TO_SITE, "dpdTimeoutSeconds", json!(seconds));
        assert_eq!(
            connection(&topology, "VNet1-Site").dpd_timeout.as_secs(),
            seconds
        );
    }
    for bad in [json!(8), json!(3_601), json!(-1), json!(9.5), json!("45")] {
        refuses(
            TO_SITE,
            "dpdTimeoutSeconds",
            bad,
            "InvalidRequestFormat",
            "9 to 3600",
        );
    }
    refuses(
        TO_SITE,
        "routingWeight",
        json!(32_001),
        "InvalidRequestFormat",
        "0 to 32000",
    );
}

#[test]
fn traffic_selectors_are_prefixes() {
    let ranges = |local: Value, remote: Value| {
        let policy = json!({"localAddressRanges": local, "remoteAddressRanges": remote});
        property(TO_SITE, "trafficSelectorPolicies", json!([policy]))
    };
    let topology = good(&ranges(
        json!(["10.1.0.0/24"]),
        json!(["192.168.0.0/25", "fd00::/64"]),
    ));
    let made = connection(&topology, "VNet1-Site").traffic_selector_policies;
    assert_eq!(made[0].remote_address_ranges.len(), 2);
    let none = ranges(json!([]), json!(["192.168.0.0/25"]));
    refused(&none, "InvalidRequestFormat", "trafficSelectorPolicies[0]");
    let bits = ranges(json!(["10.1.0.1/24"]), json!(["192.168.0.0/25"]));
    refused(&bits, "InvalidCIDRNotation", "localAddressRanges[0]");
    let topology = accepts(TO_SITE, "usePolicyBasedTrafficSelectors", json!(true));
    assert!(connection(&topology, "VNet1-Site").use_policy_based_traffic_selectors);
}

#[test]
fn all_traffic_selectors_fit_their_payload() {
    let own: Vec<IpNet> = vec!["10.1.0.0/16".parse().expect("a prefix")];
    // Every second /24: none is the neighbour of another.
    let apart = |count: u32| -> Vec<String> {
        (0..count)
            .map(|n| format!("172.{}.{}.0/24", 16 + n / 128, n % 128 * 2))
            .collect()
    };
    let side_by_side: Vec<String> = (0..256).map(|n| format!("172.16.{n}.0/24")).collect();

    let site = |prefixes: &[String]| {
        let address_space = json!({"addressPrefixes": prefixes});
        let pointer = "/properties/localNetworkAddressSpace";
        let resources = property(TO_SITE, "usePolicyBasedTrafficSelectors", json!(true));
        let is_site = |r: &Value| r["type"] == "Microsoft.Network/localNetworkGateways";
        let change = |r: Value| match is_site(&r) {
            true => with(r, pointer, address_space.clone()),
            false => r,
        };
        resources.into_iter().map(change).collect::<Vec<_>>()
    };
    let remote = |resources: &[Value]| {
        let [_, remote] = connection(&good(resources), "VNet1-Site").selectors(&own);
        remote.len()
    };
    assert_eq!(remote(&site(&apart(255))), 255);
    assert_eq!(remote(&site(&side_by_side[..255])), 255, "as written");
    assert_eq!(remote(&site(&side_by_side)), 1, "merged");
    let error = refused(&site(&apart(256)), "TooManyTrafficSelectors", "VNet1-Site");
    assert!(
        error
            .message
            .contains("256 traffic selectors of the remote"),
        "{error}"
    );

    let policy = |ranges: &[String]| {
        let other = json!(["192.168.0.0/25"]);
        let policy = json!({"localAddressRanges": ranges, "remoteAddressRanges": other});
        property(TO_SITE, "trafficSelectorPolicies", json!([policy]))
    };
    good(&policy(&apart(255)));
    let error = refused(
        &policy(&apart(256)),
        "TooManyTrafficSelectors",
        "VNet1-Site",
    );
    assert!(error.message.contains("of the local side"), "{error}");
}

#[test]
fn tags_are_what_azure_has_no_property_for() {
    let tags = |tags: Value| set(TO_SITE, "/tags", tags);
    let topology = good(&tags(json!({
        "vnet-gw:local-id": "vpn.example.com",
        "vnet-gw:remote-id": "keyid:hq",
        "VNET-GW:encapsulation": "ESP",
        "vnet-gw:post-quantum": "off",
        "owner": "me",
    })));
    let made = connection(&topology, "VNet1-Site");
    assert_eq!(
        made.local_id,
        Some(Identity::Fqdn("vpn.example.com".to_owned()))
    );
    assert_eq!(made.remote_id, Some(Identity::KeyId(b"hq".to_vec())));
    assert_eq!(made.encapsulation, EncapsulationChoice::ByNat);
    assert!(!made.post_quantum);
    assert_eq!(made.tags["owner"], "me");
    for (tag, value) in [
        ("vnet-gw:local-id", "a b"),
        ("vnet-gw:remote-id", ""),
        ("vnet-gw:encapsulation", "tcp"),
        ("vnet-gw:post-quantum", "yes"),
        ("vnet-gw:host", "x"),
    ] {
        refused(&tags(json!({ tag: value })), "InvalidTag", tag);
    }
}
