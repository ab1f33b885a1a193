//! Our gateways: two daemons with one template, each with a VNet, a NIC and a gateway of its own.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vnet_gw_lab::{Daemon, Lab};

use crate::{
    Options,
    subject::Part,
    wire::{A, B, DEV_INSIDE, MACS, NETS, UNDERLAY, Wire},
};

const HOSTS: [&str; 2] = ["one", "two"];
const VNETS: [&str; 2] = ["VNet1", "VNet2"];

pub(crate) fn start(lab: &Lab, options: &Options, wire: &Wire) -> Result<Vec<Part>> {
    let template = template();
    let mut daemons = Vec::new();
    for (side, host) in HOSTS.iter().enumerate() {
        let args = ["--ephemeral", "--host", host, "--engine", &options.engine];
        let instance = lab.instance(&format!("bench-{host}"))?;
        let gateway = &wire.gateways[side];
        daemons.push(Daemon::start(
            lab,
            &options.daemon,
            gateway,
            instance,
            &template,
            &args,
        )?);
    }
    await_connected(&daemons)?;
    Ok(daemons
        .into_iter()
        .map(|daemon| Part::Daemon {
            _daemon: Box::new(daemon),
        })
        .collect())
}

fn await_connected(daemons: &[Daemon]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    for daemon in daemons {
        loop {
            let connections = daemon.json(&["connections"])?;
            let connected = connections["value"].as_array().is_some_and(|rows| {
                let connected = |row: &Value| row["connectionStatus"] == "Connected";
                rows.iter().any(connected)
            });
            if connected {
                break;
            }
            if Instant::now() > deadline {
                bail!("not connected after 20 s: {connections}\n{}", daemon.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// A reference to a resource.
pub(crate) fn id(kind: &str, names: &[&str]) -> Value {
    let names = names.join("', '");
    json!({"id": format!("[resourceId('Microsoft.Network/{kind}', '{names}')]")})
}

pub(crate) fn resource(side: usize, kind: &str, name: &str, properties: Value) -> Value {
    json!({
        "type": format!("Microsoft.Network/{kind}"),
        "apiVersion": "2024-05-01",
        "name": name,
        "location": (["westeurope", "eastus"][side]),
        "properties": properties,
    })
}

fn template() -> Value {
    let mut resources = Vec::new();
    for side in 0..2 {
        let far = 1 - side;
        resources.extend(gateway(side, Some(HOSTS[side]), &[UNDERLAY[side]]));
        resources.push(nic(side));
        resources.push(resource(
            side,
            "connections",
            &format!("{}-to-{}", VNETS[side], VNETS[far]),
            json!({
                "connectionType": "Vnet2Vnet",
                "connectionProtocol": "IKEv2",
                "virtualNetworkGateway1":
                    id("virtualNetworkGateways", &[&format!("{}-gw", VNETS[side])]),
                "virtualNetworkGateway2":
                    id("virtualNetworkGateways", &[&format!("{}-gw", VNETS[far])]),
                "sharedKey": "aKeyOfTheBench",
            }),
        ));
    }
    json!({"resources": resources})
}

/// A VNet with its gateway, on `host`, with these public addresses.
pub(crate) fn gateway(side: usize, host: Option<&str>, addresses: &[Ipv4Addr]) -> Vec<Value> {
    let vnet = VNETS[side];
    let base = NETS[side].trim_end_matches(".0.0/16");
    let mut resources = vec![resource(
        side,
        "virtualNetworks",
        vnet,
        json!({
            "addressSpace": {"addressPrefixes": [NETS[side]]},
            "subnets": [
                {"name": "FrontEnd", "properties": {"addressPrefix": format!("{base}.0.0/24")}},
                {"name": "GatewaySubnet",
                 "properties": {"addressPrefix": format!("{base}.255.0/27")}},
            ],
        }),
    )];
    let mut configurations = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let name = format!("{vnet}-ip{}", number + 1);
        let mut public = resource(
            side,
            "publicIPAddresses",
            &name,
            json!({"publicIPAllocationMethod": "Static", "ipAddress": address}),
        );
        public["sku"] = json!({"name": "Standard"});
        resources.push(public);
        configurations.push(json!({
            "name": format!("ipconfig{}", number + 1),
            "properties": {
                "privateIPAllocationMethod": "Dynamic",
                "subnet": id("virtualNetworks/subnets", &[vnet, "GatewaySubnet"]),
                "publicIPAddress": id("publicIPAddresses", &[&name]),
            },
        }));
    }
    let mut own = resource(
        side,
        "virtualNetworkGateways",
        &format!("{vnet}-gw"),
        json!({
            "gatewayType": "Vpn",
            "vpnType": "RouteBased",
            "vpnGatewayGeneration": "Generation2",
            "sku": {"name": "VpnGw5", "tier": "VpnGw5"},
            "activeActive": addresses.len() > 1,
            "ipConfigurations": configurations,
        }),
    );
    // These run on hardware of our own.
    own["tags"] = json!({"vnet-gw:bandwidth": "unlimited"});
    if let Some(host) = host {
        own["tags"]["vnet-gw:host"] = json!(host);
    }
    resources.push(own);
    resources
}

fn nic(side: usize) -> Value {
    let vnet = VNETS[side];
    let mut nic = resource(
        side,
        "networkInterfaces",
        &format!("{vnet}-nic"),
        json!({
            "macAddress": MACS[side].replace(':', "-"),
            "ipConfigurations": [{
                "name": "ipconfig1",
                "properties": {
                    "primary": true,
                    "privateIPAllocationMethod": "Static",
                    "privateIPAddress": ([A, B][side]),
                    "subnet": id("virtualNetworks/subnets", &[vnet, "FrontEnd"]),
                },
            }],
        }),
    );
    nic["tags"] = json!({"vnet-gw:device": (DEV_INSIDE[side]), "vnet-gw:host": (HOSTS[side])});
    nic
}
