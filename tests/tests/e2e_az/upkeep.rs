//! What is done to networks that are there: updates as clients do them (GET, change, PUT), actions,
//! keys, tags, and looking around.

use std::fs;

use serde_json::{Value, json};
use vnet_gw_lab::{Lab, Underlay};

use super::{
    build::{KEY, PUBLIC},
    host::{GROUP, Host, id},
};

#[test]
fn updates_and_actions_do_what_they_say() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let host = Host::start(&lab, &underlay, "host", &PUBLIC.concat(), &[]).unwrap();
    let template = include_str!("../../clients/exported.json");
    let file = lab.dir().join("exported.json");
    fs::write(&file, template).unwrap();
    let key = format!("connections_sharedKey={KEY}");
    let grouped = |args: &str| -> Value {
        let mut all: Vec<&str> = args.split(' ').collect();
        all.extend(["-g", GROUP]);
        let text = host.az.run(&all).unwrap();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    };
    let plain = |args: &str| host.az.json(&args.split(' ').collect::<Vec<_>>()).unwrap();
    plain(&format!("group create --name {GROUP} --location eastus"));
    let file = file.to_str().unwrap();
    let args = format!("deployment group create --template-file {file} --parameters {key}");
    grouped(&args);

    let vnet = "network vnet update --name VNet1 --address-prefixes 10.1.0.0/16 10.11.0.0/16";
    let vnet = grouped(vnet);
    assert_eq!(
        vnet["subnets"].as_array().map(Vec::len),
        Some(2),
        "{vnet:#}"
    );
    let peering = "network vnet peering show --vnet-name VNet5 --name VNet5-to-VNet1";
    assert_eq!(grouped(peering)["peeringSyncLevel"], "LocalNotInSync");
    grouped("network vnet peering sync --vnet-name VNet5 --name VNet5-to-VNet1");
    let peering = grouped(peering);
    assert_eq!(peering["peeringSyncLevel"], "FullyInSync", "{peering:#}");
    let space = &peering["remoteAddressSpace"]["addressPrefixes"];
    assert_eq!(space, &json!(["10.1.0.0/16", "10.11.0.0/16"]));

    // Gateway transit, in the order that Azure wants it.
    let side = |vnet: &str, name: &str, value: &str| {
        let update = "network vnet peering update";
        format!("{update} --vnet-name {vnet} --name {name} --set {value}")
    };
    let refused = |args: &str| {
        let mut all: Vec<&str> = args.split(' ').collect();
        all.extend(["-g", GROUP]);
        let said = host.az.refused(&all).unwrap();
        let code = "RemotePeeringDoesNotAllowGatewayTransit";
        assert!(said.contains(code), "az {args}: {said}");
    };
    let uses = side("VNet5", "VNet5-to-VNet1", "useRemoteGateways=true");
    refused(&uses);
    grouped(&side("VNet1", "VNet1-to-VNet5", "allowGatewayTransit=true"));
    assert_eq!(grouped(&uses)["useRemoteGateways"], true);
    refused(&side(
        "VNet1",
        "VNet1-to-VNet5",
        "allowGatewayTransit=false",
    ));
    let gateways = host.daemon.json(&["gateways"]).unwrap();
    let users = gateways["value"][0]["usedBy"].to_string();
    assert!(users.contains("VNet5"), "{gateways:#}");
    grouped(&side("VNet5", "VNet5-to-VNet1", "useRemoteGateways=false"));

    // A PUT of what a GET showed has no key in it: the connection keeps its own.
    grouped("network vpn-connection update --name VNet1-to-VNet4 --routing-weight 7");
    let shown = "network vpn-connection shared-key show --connection-name VNet1-to-VNet4";
    assert_eq!(grouped(shown)["value"], KEY);
    let policy = "network vpn-connection ipsec-policy add --connection-name VNet1-to-VNet4 \
                  --dh-group DHGroup14 --ike-encryption AES256 --ike-integrity SHA384 \
                  --ipsec-encryption GCMAES256 --ipsec-integrity GCMAES256 --pfs-group PFS2048 \
                  --sa-lifetime 27000 --sa-max-size 102400000";
    grouped(policy);
    let list = "network vpn-connection ipsec-policy list --connection-name VNet1-to-VNet4";
    assert_eq!(grouped(list)[0]["ikeEncryption"], "AES256");
    grouped("network vpn-connection ipsec-policy clear --connection-name VNet1-to-VNet4");
    assert_eq!(grouped(list), json!([]));
    let update = "network vpn-connection shared-key update --connection-name VNet1-to-VNet4 \
                  --value Another+key+than+before";
    assert_eq!(grouped(update)["value"], "Another+key+than+before");
    grouped(
        "network vpn-connection shared-key reset --connection-name VNet1-to-VNet4 --key-length 64",
    );
    let made = grouped(shown);
    assert_eq!(made["value"].as_str().map(str::len), Some(64));
    grouped("network vnet-gateway reset --name VNet1-GW");

    let tags = id("virtualNetworks/VNet4");
    let tagged = plain(&format!(
        "tag create --resource-id {tags} --tags one=1 two=2"
    ));
    assert_eq!(
        tagged["properties"]["tags"],
        json!({"one": "1", "two": "2"})
    );
    plain(&format!(
        "tag update --resource-id {tags} --operation Delete --tags two=2"
    ));
    // Two slashes in a row are the CLI's own.
    let vnet =
        grouped("resource show --name VNet4 --resource-type Microsoft.Network/virtualNetworks");
    assert_eq!(vnet["tags"], json!({"one": "1"}));
    let provider = plain("provider show --namespace Microsoft.Network");
    assert_eq!(provider["registrationState"], "Registered", "{provider:#}");
    let locations = plain("account list-locations");
    assert!(
        locations.as_array().is_some_and(|all| !all.is_empty()),
        "{locations:#}"
    );
    let listed = grouped("resource list --resource-type Microsoft.Network/virtualNetworks");
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed:#}");

    // Nobody reads a key where it does not belong.
    let log = host.daemon.json(&["activity-log"]).unwrap().to_string();
    for told in [host.daemon.log(), log] {
        for secret in [KEY, "Another+key", made["value"].as_str().unwrap()] {
            assert!(!told.contains(secret), "a key is told");
        }
    }
}
