//! What sites and connections must not do together, and how many a gateway takes.

use super::*;

#[test]
fn sites_have_an_address_and_prefixes_that_are_apart() {
    let at = "localNetworkGateways/Site";
    let prefixes = |prefixes: Value| {
        property(
            SITE,
            "localNetworkAddressSpace",
            json!({ "addressPrefixes": prefixes }),
        )
    };
    for none in [
        prefixes(json!([])),
        property(SITE, "localNetworkAddressSpace", Value::Null),
    ] {
        refused(&none, "InvalidRequestFormat", "localNetworkAddressSpace");
    }
    let code = "LocalNetworkGatewayAddressSpacesOverlap";
    refused(
        &prefixes(json!(["192.168.0.0/16", "192.168.7.0/24"])),
        code,
        at,
    );
    let code = "NetcfgInvalidIPAddressPrefix";
    refused(&prefixes(json!(["224.0.0.0/8"])), code, at);
    let error = refuses(
        SITE,
        "fqdn",
        json!("vpn.example.com"),
        "NotSupported",
        "gatewayIpAddress",
    );
    assert!(error.message.contains("fqdn"), "{error}");
    let none = property(SITE, "gatewayIpAddress", json!(""));
    refused(&none, "InvalidRequestFormat", "properties");
    refuses(
        SITE,
        "gatewayIpAddress",
        json!("127.0.0.1"),
        "InvalidPublicIPAddress",
        "loopback",
    );
    accepts(SITE, "bgpSettings", json!({"asn": 65_000}));
}

#[test]
fn connected_address_spaces_do_not_overlap() {
    let code = "ConnectionOverlappingAddressSpaces";
    let at = "connections/VNet1-Site";
    let site_has = |prefix: &str| {
        let space = json!({"addressPrefixes": [prefix]});
        property(SITE, "localNetworkAddressSpace", space)
    };
    // With its own VNet, with another connection, and (below) with a peer.
    for (prefix, says) in [
        (
            "10.1.2.0/24",
            "the gateway's own virtual network (10.1.0.0/16 and 10.1.2.0/24)",
        ),
        ("10.1.0.0/16", "(10.1.0.0/16)"),
        ("10.0.0.0/8", "10.0.0.0/8 and 10.1.0.0/16"),
    ] {
        let error = parse(&site_has(prefix)).expect_err(prefix);
        assert!(error.has_code(code), "{error}");
        assert!(error.lines().join("").contains(says), "{error:?}");
    }
    // Whichever of the two connections is later by its id is told.
    let error = refused(&site_has("10.4.7.0/24"), code, "connections/VNet1-VNet4");
    assert!(error.message.contains(at), "{error}");
    let peered = |remote: &str, space: &str| {
        let mut resources = plus(&[vnet(remote, &[space], &[], &["VNet1"])]);
        let peering =
            json!([{"name": "p", "properties": {"remoteVirtualNetwork": {"id": remote}}}]);
        let pointer = "/properties/virtualNetworkPeerings";
        resources[VNET1] = with(resources[VNET1].clone(), pointer, peering);
        resources
    };
    good(&peered("VNet7", "10.7.0.0/16"));
    let error = refused(&peered("VNet7", "192.168.0.0/16"), code, at);
    assert!(error.message.contains("peered virtual network"), "{error}");
    // A VNet may be both peered and connected: peering goes first (A25).
    let mut both = base();
    for (own, remote) in [(0, "VNet4"), (1, "VNet1")] {
        let peering =
            json!([{"name": "p", "properties": {"remoteVirtualNetwork": {"id": remote}}}]);
        both[own] = with(
            both[own].clone(),
            "/properties/virtualNetworkPeerings",
            peering,
        );
    }
    good(&both);
    // Networks that are not connected with one another may overlap.
    good(&plus(&[
        network("VNet9", "10.4.0.0/16", "10.4.255.0/27"),
        public("pip9", "203.0.113.9"),
        gateway("GW9", "VNet9", &["pip9"]),
    ]));
}

#[test]
fn remote_ends_of_a_gateway_are_distinct() {
    let twice = plus(&[to_gateway("Again", "GW1", "GW4")]);
    let error = parse(&twice).expect_err("twice");
    assert!(error.has_code("ConnectionRemoteAddressInUse"), "{error}");
    let same = plus(&[
        site("Site2", "198.51.100.7", &["192.168.1.0/24"]),
        to_site("VNet1-Site2", "GW1", "Site2"),
    ]);
    refused(
        &same,
        "ConnectionRemoteAddressInUse",
        "connections/VNet1-Site2",
    );
    // Another gateway may be connected with the same site.
    good(&plus(&[to_site("VNet4-Site", "GW4", "Site")]));
}

#[test]
fn a_sku_has_a_limit_of_tunnels() {
    let crowd = |count: usize, sku: &str, active: bool| {
        let addresses: &[&str] = if active {
            &["pip1", "pip1b"]
        } else {
            &["pip1"]
        };
        let mut resources = vec![
            network("VNet1", "10.1.0.0/16", "10.1.255.0/27"),
            public("pip1", "203.0.113.1"),
            public("pip1b", "203.0.113.2"),
            with(
                gateway("GW1", "VNet1", addresses),
                "/properties/sku/name",
                json!(sku),
            ),
        ];
        for number in 0..count {
            let name = format!("S{number}");
            let prefix = format!("172.16.{number}.0/24");
            resources.push(site(&name, &format!("198.51.100.{number}"), &[&prefix]));
            resources.push(to_site(&format!("to-{name}"), "GW1", &name));
        }
        resources
    };
    let code = "VirtualNetworkGatewayTunnelLimitExceeded";
    for (most, sku, active) in [
        (10, "Basic", false),
        (30, "VpnGw1AZ", false),
        (15, "VpnGw1AZ", true),
        (100, "VpnGw4", false),
    ] {
        good(&crowd(most, sku, active));
        let error = refused(
            &crowd(most + 1, sku, active),
            code,
            "virtualNetworkGateways/GW1",
        );
        assert!(error.message.contains(sku), "{error}");
    }
    let mut unlimited = crowd(31, "VpnGw1", false);
    unlimited[3] = with(
        unlimited[3].clone(),
        "/tags",
        json!({"vnet-gw:bandwidth": "unlimited"}),
    );
    good(&unlimited);
}

#[test]
fn a_broken_gateway_leaves_no_panic_behind() {
    // Resources that lean on one that was refused are told, too.
    for at in [GW1, GW4, SITE] {
        let mut resources = base();
        resources.remove(at);
        let error = parse(&resources).expect_err("something leans on it");
        assert!(error.has_code("InvalidResourceReference"), "{error}");
    }
}
