//! Gateways, connections and shared keys.

use super::*;
use crate::control::{ConnectionRow, KeyText};

/// A VNet with a gateway and a site of which `key` is known.
fn gateway_template(key: Option<&str>) -> Value {
    let mut template = template(&["web", "app"]);
    let id = |kind: &str, name: &str| json!({"id": format!("[resourceId('Microsoft.Network/{kind}', '{name}')]")});
    let resource = |kind: &str, name: &str, properties: Value| {
        json!({
            "type": format!("Microsoft.Network/{kind}"), "apiVersion": "2024-05-01",
            "name": name, "location": "westeurope", "properties": properties
        })
    };
    let mut connection = json!({
        "connectionType": "IPsec",
        "virtualNetworkGateway1": id("virtualNetworkGateways", "VNet1GW"),
        "localNetworkGateway2": id("localNetworkGateways", "Site5"),
    });
    if let Some(key) = key {
        connection["sharedKey"] = key.into();
    }
    let mut address = resource(
        "publicIPAddresses",
        "VNet1GWPIP",
        json!({"publicIPAllocationMethod": "Static", "ipAddress": "192.0.2.1"}),
    );
    address["sku"] = json!({"name": "Standard"});
    let resources = template["resources"].as_array_mut().unwrap();
    resources[0]["properties"]["addressSpace"]["addressPrefixes"] =
        json!(["10.1.0.0/16", "10.11.0.0/24"]);
    let subnets = resources[0]["properties"]["subnets"]
        .as_array_mut()
        .unwrap();
    subnets.push(json!({"name": "GatewaySubnet", "properties": {"addressPrefix": "10.11.0.0/27"}}));
    resources.extend([
        address,
        resource(
            "virtualNetworkGateways",
            "VNet1GW",
            json!({
                "gatewayType": "Vpn", "vpnType": "RouteBased",
                "sku": {"name": "VpnGw1", "tier": "VpnGw1"},
                "ipConfigurations": [{"name": "one", "properties": {
                    "subnet": {"id": "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'VNet1', 'GatewaySubnet')]"},
                    "publicIPAddress": id("publicIPAddresses", "VNet1GWPIP"),
                }}]
            }),
        ),
        resource(
            "localNetworkGateways",
            "Site5",
            json!({
                "localNetworkAddressSpace": {"addressPrefixes": ["10.101.0.0/16"]},
                "gatewayIpAddress": "198.51.100.5"
            }),
        ),
        resource("connections", "VNet1ToSite5", connection),
    ]);
    template
}

fn name() -> String {
    "vnet1tosite5".to_owned()
}

impl Running {
    fn connection(&self) -> ConnectionRow {
        match self.ask(Request::Connection { connection: name() }) {
            Ok(Response::Connection(row)) => *row,
            other => panic!("{other:?}"),
        }
    }

    fn key(&self, request: Request) -> Result<String, ClientError> {
        match self.ask(request)? {
            Response::SharedKey(reply) => Ok(reply.value.expose().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// In force.
    fn tunnel_key(&self) -> String {
        let state = self.vpn.state();
        let tunnel = &state.gateways[0].connections[0].tunnels[0];
        String::from_utf8(tunnel.key.expose().to_vec()).unwrap()
    }
}

#[test]
fn gateways_and_connections_are_told_with_their_state() {
    let daemon = Running::start_with(&gateway_template(Some("abc123")));
    let row = daemon.connection();
    assert_eq!(
        (row.connection_type.as_str(), row.connection_status.as_str()),
        ("IPsec", "Connected")
    );
    assert_eq!(row.ingress_bytes_transferred, 10);
    assert_eq!(
        row.last_connection_established_utc_time.as_deref(),
        Some("1970-01-01T00:00:00Z")
    );
    let [tunnel] = row.tunnel_connection_status.as_slice() else {
        panic!("{row:?}")
    };
    assert_eq!(tunnel.tunnel, "192.0.2.1 → 198.51.100.5");
    let Ok(Response::Gateways(gateways)) = daemon.ask(Request::Gateways {}) else {
        panic!()
    };
    assert_eq!(gateways.value[0].state, "up");
    assert_eq!(gateways.value[0].bits_per_second, Some(650_000_000));
    let vpn = daemon.status().vpn;
    assert_eq!(
        (
            vpn.gateways_up,
            vpn.connections_connected,
            vpn.tunnels_connected
        ),
        (1, 1, 1)
    );
    assert_eq!(daemon.tunnel_key(), "abc123");

    let connection = name();
    assert_eq!(
        daemon.ask(Request::ResetConnection { connection }).unwrap(),
        Response::Done
    );
    assert_eq!(daemon.vpn.state().resets, ["VNet1ToSite5"]);
    let connection = "none".to_owned();
    match daemon.ask(Request::ResetConnection { connection }) {
        Err(ClientError::Refused(error)) => {
            assert!(error.message.ends_with("there are VNet1ToSite5"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gateway_that_the_data_path_refuses_goes_again() {
    let daemon = Running::start();
    daemon.fake.state().refuse = true;
    fs::write(daemon.file(), gateway_template(Some("abc123")).to_string()).unwrap();
    daemon.eventually("it fails", || {
        daemon.status().configuration.last_error.is_some()
    });
    let state = daemon.vpn.state();
    assert_eq!((state.prepared, state.gateways.len()), (1, 0));
}

#[test]
fn a_key_of_the_template_is_the_files_whenever_it_is_read() {
    let daemon = Running::start_with(&gateway_template(Some("abc123")));
    let key = || daemon.key(Request::SharedKey { connection: name() });
    assert_eq!(key().unwrap(), "abc123");
    let set = Request::SetSharedKey {
        connection: name(),
        value: KeyText::new("other".into()),
    };
    assert_eq!(daemon.key(set).unwrap(), "other");
    assert_eq!(daemon.tunnel_key(), "other");
    daemon.outside.blocking_send(Event::Hangup).unwrap();
    daemon.eventually("it is the file's again", || daemon.tunnel_key() == "abc123");
    assert_eq!(key().unwrap(), "abc123");
}

#[test]
fn a_key_that_is_made_here_stays_until_it_is_changed() {
    let daemon = Running::start_with(&gateway_template(None));
    let show = || {
        daemon
            .key(Request::SharedKey { connection: name() })
            .unwrap()
    };
    let made = show();
    assert_eq!(made.len(), 32);
    assert_eq!(daemon.tunnel_key(), made);
    // Whatever else changes.
    let applied = daemon.vpn.state().applied;
    daemon.outside.blocking_send(Event::Hangup).unwrap();
    daemon.eventually("it is read again", || daemon.vpn.state().applied > applied);
    assert_eq!(daemon.tunnel_key(), made);

    let set = |value: &str| {
        daemon.key(Request::SetSharedKey {
            connection: name(),
            value: KeyText::new(value.into()),
        })
    };
    assert_eq!(set("abc123").unwrap(), "abc123");
    assert_eq!(daemon.tunnel_key(), "abc123");
    assert!(daemon.vpn.state().resets.is_empty());
    // The same again: no other key, but other tunnels.
    set("abc123").unwrap();
    assert_eq!(daemon.vpn.state().resets, ["VNet1ToSite5"]);
    assert!(set("not - good").is_err());

    let reset = daemon.key(Request::ResetSharedKey {
        connection: name(),
        length: 64,
    });
    let reset = reset.unwrap();
    assert_eq!(reset.len(), 64);
    assert_eq!((daemon.tunnel_key(), show()), (reset.clone(), reset));
}
