//! Security groups: what they are associated with, and when they go.

use serde_json::{Value, json};

use super::support::*;
use crate::arm::Change;

const NSG: &str = "networkSecurityGroups/nsg";
const WEB: &str = "applicationSecurityGroups/web";
const NIC: &str = "networkInterfaces/n";

fn subnet(group: Value) -> Change {
    of(
        "virtualNetworks/vnet/subnets/a",
        json!({"addressPrefix": "10.1.0.0/24", "networkSecurityGroup": group}),
    )
}

fn nic(group: Value, members: Value) -> Change {
    of(
        NIC,
        json!({"networkSecurityGroup": group, "ipConfigurations": [{"name": "i", "properties": {
            "subnet": {"id": id("virtualNetworks/vnet/subnets/a").as_str()},
            "applicationSecurityGroups": members,
        }}]}),
    )
}

fn rule(sources: Value) -> Change {
    of(
        "networkSecurityGroups/nsg/securityRules/r",
        json!({
            "protocol": "*", "access": "Allow", "direction": "Inbound", "priority": 100,
            "sourceApplicationSecurityGroups": sources, "sourcePortRange": "*",
            "destinationAddressPrefix": "*", "destinationPortRange": "*",
        }),
    )
}

/// As clients echo it.
fn to(path: &str) -> Value {
    json!({"id": id(path).as_str(), "location": "westeurope", "etag": "x"})
}

fn world() -> World {
    let mut world = World::new();
    world.does(&[
        of(NSG, json!({})),
        of(WEB, json!({})),
        of(
            "virtualNetworks/vnet",
            json!({"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}}),
        ),
    ]);
    world.does(&[subnet(to(NSG))]);
    world.does(&[nic(to(NSG), json!([to(WEB)])), rule(json!([to(WEB)]))]);
    world
}

#[test]
fn what_is_referred_to_is_kept_as_its_id() {
    let world = world();
    let only = |path: &str| json!({"id": id(path).as_str()});
    let nic = world.properties(NIC);
    assert_eq!(nic["networkSecurityGroup"], only(NSG));
    let configuration = &nic["ipConfigurations"][0]["properties"];
    assert_eq!(
        configuration["applicationSecurityGroups"],
        json!([only(WEB)])
    );
    let rule = &world.properties(NSG)["securityRules"][0]["properties"];
    assert_eq!(rule["sourceApplicationSecurityGroups"], json!([only(WEB)]));
    let vnet = world.properties("virtualNetworks/vnet");
    let subnet = &vnet["subnets"][0]["properties"];
    assert_eq!(subnet["networkSecurityGroup"], only(NSG));
}

#[test]
fn groups_go_when_nothing_refers_to_them() {
    let mut world = world();
    let refused = |world: &mut World, path: &str, code: &str, user: &str| {
        let error = world.apply(&[delete(path)]).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(user), "{error}");
    };
    let nsg = "InUseNetworkSecurityGroupCannotBeDeleted";
    let asg = "InUseApplicationSecurityGroupCannotBeDeleted";
    refused(&mut world, NSG, nsg, NIC);
    refused(&mut world, WEB, asg, NIC);
    // A PUT without the property takes the group off.
    world.does(&[nic(Value::Null, json!([]))]);
    refused(&mut world, NSG, nsg, "virtualNetworks/vnet/subnets/a");
    refused(&mut world, WEB, asg, NSG);
    world.does(&[subnet(Value::Null)]);
    world.does(&[delete(NSG)]);
    world.does(&[delete(WEB)]);
    assert!(world.state.topology.network_security_groups.is_empty());
    assert!(world.state.topology.application_security_groups.is_empty());
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut world = world();
    let before = world.etag(NSG).to_owned();
    let missing = rule(json!([to("applicationSecurityGroups/none")]));
    let error = world.apply(&[missing]).unwrap_err();
    assert_eq!(error.code, "InvalidResourceReference", "{error}");
    let error = world.apply(&[of(
        "virtualNetworks/vnet/subnets/GatewaySubnet",
        json!({"addressPrefix": "10.1.9.0/27", "networkSecurityGroup": to(NSG)}),
    )]);
    let error = error.unwrap_err();
    let code = "NetworkSecurityGroupCannotBeAttachedToGatewaySubnet";
    assert_eq!(error.code, code, "{error}");
    assert_eq!(world.etag(NSG), before);
}

#[test]
fn a_whole_network_with_groups_comes_and_goes_at_once() {
    let mut world = world();
    let all = [
        delete(NIC),
        delete("virtualNetworks/vnet"),
        delete(WEB),
        delete(NSG),
    ];
    world.does(&all);
    assert!(world.state.documents.is_empty());
}
