//! What security groups come to for a NIC, and for a machine.

use super::*;

const GROUP: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network";

#[test]
fn effective_groups_have_azures_shape() {
    let state = network();
    let shown = effective_groups(&state, &id("networkInterfaces/web1")).unwrap();
    let shown = serde_json::to_value(shown).unwrap();
    let groups = shown["value"].as_array().unwrap();
    let associations = groups.iter().map(|group| group["association"].clone());
    let associations: Vec<Value> = associations.collect();
    assert_eq!(
        associations,
        [
            json!({"subnet": {"id": format!("{GROUP}/virtualNetworks/VNet1/subnets/FrontEnd")}}),
            json!({"networkInterface": {"id": format!("{GROUP}/networkInterfaces/web1")}}),
        ]
    );
    for group in groups {
        let id = format!("{GROUP}/networkSecurityGroups/NSG1");
        assert_eq!(group["networkSecurityGroup"], json!({ "id": id }));
        let rules = group["effectiveSecurityRules"].as_array().unwrap();
        let named = |name: &str| rules.iter().find(|rule| rule["name"] == name).unwrap();
        assert_eq!(rules.len(), 8);
        assert_eq!(
            *named("securityRules/web"),
            json!({
                "name": "securityRules/web", "protocol": "Tcp",
                "sourcePortRange": "0-65535", "sourcePortRanges": ["0-65535"],
                "destinationPortRange": "80-80", "destinationPortRanges": ["80-80", "443-443"],
                "sourceAddressPrefix": "0.0.0.0/0",
                "sourceAddressPrefixes": ["0.0.0.0/0", "::/0"],
                "destinationAddressPrefix": "0.0.0.0/0",
                "destinationAddressPrefixes": ["0.0.0.0/0", "::/0"],
                "expandedSourceAddressPrefix": [], "expandedDestinationAddressPrefix": [],
                "access": "Allow", "priority": 100, "direction": "Inbound",
            })
        );
        let grouped = named("securityRules/grouped");
        let members = json!(["10.11.0.4/32", "10.11.0.9/32"]);
        assert_eq!(grouped["sourceAddressPrefixes"], members);
        assert_eq!(grouped["expandedSourceAddressPrefix"], members);
        assert_eq!(grouped["destinationAddressPrefix"], "Internet");
        let internet = &group["tagMap"]["Internet"];
        assert_eq!(grouped["expandedDestinationAddressPrefix"], *internet);
        assert!(internet.as_array().unwrap().len() > 100, "{internet}");
        let denied = named("defaultSecurityRules/DenyAllOutBound");
        assert_eq!(denied["protocol"], "All");
        let vnet = &group["tagMap"]["VirtualNetwork"];
        assert_eq!(
            named("defaultSecurityRules/AllowVnetInBound")["expandedSourceAddressPrefix"],
            *vnet
        );
        let prefixes: Vec<&str> = vnet
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        // The VNet, its peer, the site behind its gateway.
        for prefix in [
            "10.11.0.0/16",
            "fd00:11::/48",
            "10.41.0.0/16",
            "192.168.0.0/16",
        ] {
            assert!(prefixes.contains(&prefix), "{prefix} in {prefixes:?}");
        }
    }
    let missing = effective_groups(&state, &id("networkInterfaces/none")).unwrap_err();
    assert!(
        missing.to_string().contains("networkInterfaces/none"),
        "{missing}"
    );
}

#[test]
fn a_machine_has_the_rules_of_both_groups_as_written() {
    let state = network();
    let nic = id("networkInterfaces/Web1");
    let shown = security_group_view(&state, [&nic]).unwrap();
    let view = &shown["networkInterfaces"][0];
    assert_eq!(view["id"], nic.as_str());
    let associations = &view["securityRuleAssociations"];
    let group = super::shown(&state, "networkSecurityGroups/NSG1");
    let properties = &group["properties"];
    for (name, of) in [
        ("networkInterfaceAssociation", "networkInterfaces/Web1"),
        (
            "subnetAssociation",
            "virtualNetworks/VNet1/subnets/FrontEnd",
        ),
    ] {
        let association = &associations[name];
        assert_eq!(association["id"], id(of).as_str());
        assert_eq!(association["securityRules"], properties["securityRules"]);
    }
    let defaults = &properties["defaultSecurityRules"];
    assert_eq!(associations["defaultSecurityRules"], *defaults);
    let effective = associations["effectiveSecurityRules"].as_array().unwrap();
    assert_eq!(effective.len(), 16);
    assert!(security_group_view(&state, [&id("networkInterfaces/none")]).is_err());
}
