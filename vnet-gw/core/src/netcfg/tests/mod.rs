//! Files as the classic portal exported them, and hostile ones.

mod hostile;

use super::*;
use crate::model::{ConnectionRemote, Topology};

fn imported(file: &str) -> Import {
    import(file.as_bytes(), None).unwrap()
}

/// What the template deploys, with its parameters supplied.
fn deployed(import: &Import, parameters: Value) -> Topology {
    let options = DeployOptions {
        location: "northeurope".into(),
        parameters: parameters.as_object().unwrap().clone(),
        ..DeployOptions::default()
    };
    parse_template(&import.template.to_string(), &options).unwrap()
}

fn lines(import: &Import) -> Vec<String> {
    import.findings.iter().map(ToString::to_string).collect()
}

/// Whether there is a finding of a line with these words.
#[track_caller]
fn tells(import: &Import, line: u32, kind: FindingKind, words: &str) {
    let found = import
        .findings
        .iter()
        .any(|one| one.line == line && one.kind == kind && one.message.contains(words));
    assert!(found, "{line} {words}: {:#?}", lines(import));
}

const VNET_TO_VNET: &str = include_str!("vnet-to-vnet.xml");
const COMPANY: &str = include_str!("company.xml");

#[test]
fn networks_that_were_joined_through_sites_are_joined_by_their_gateways() {
    let import = imported(VNET_TO_VNET);
    assert_eq!(import.invalid, None);
    let topology = deployed(
        &import,
        serde_json::json!({
            "gatewayAddress_VNet1": "203.0.113.1", "gatewayAddress_VNet2": "203.0.113.2",
            "sharedKey_VNet1_VNet2": "abc123",
        }),
    );
    assert_eq!(topology.local_network_gateways.len(), 0);
    assert_eq!(topology.virtual_network_gateways.len(), 2);
    let connections: Vec<_> = topology.connections.values().collect();
    let names: Vec<&str> = connections.iter().map(|one| one.id.name()).collect();
    assert_eq!(names, ["VNet1-to-VNet2", "VNet2-to-VNet1"]);
    for connection in connections {
        assert!(connection.is_vnet_to_vnet());
        let key = topology.shared_key(connection).unwrap();
        assert_eq!(key.expose(), b"abc123");
        assert!(topology.connection_back(connection).is_some());
    }
    let vnets: Vec<&str> = topology
        .virtual_networks
        .values()
        .map(|vnet| vnet.location.as_str())
        .collect();
    assert_eq!(vnets, ["japanwest", "westus"]);
    tells(
        &import,
        6,
        FindingKind::Changed,
        "stands for the virtual network 'VNet1'",
    );
    tells(
        &import,
        13,
        FindingKind::Changed,
        "stands for the virtual network 'VNet2'",
    );
    tells(&import, 34, FindingKind::Supply, "gatewayAddress_VNet1");
    tells(&import, 54, FindingKind::Supply, "gatewayAddress_VNet2");
    tells(&import, 36, FindingKind::Supply, "sharedKey_VNet1_VNet2");
    let lost = import
        .findings
        .iter()
        .filter(|one| one.kind == FindingKind::NotCarriedOver);
    assert_eq!(lost.count(), 0);
}

#[test]
fn one_direction_alone_is_told() {
    let one = VNET_TO_VNET.replace("<LocalNetworkSiteRef name=\"VNet1Local\">", "<!--")
        .replace("</LocalNetworkSiteRef>\n          </ConnectionsToLocalNetwork>\n        </Gateway>\n      </VirtualNetworkSite>\n    </Vi", "-->\n          </ConnectionsToLocalNetwork>\n        </Gateway>\n      </VirtualNetworkSite>\n    </Vi")
        .replace("<!--\n              <Connection type=\"IPsec\" />", "<!--");
    let import = imported(&one);
    assert_eq!(import.invalid, None);
    tells(&import, 36, FindingKind::Changed, "has none back");
    let gateways = import.template["resources"].as_array().unwrap().iter();
    let gateways = gateways.filter(|one| one["type"] == "Microsoft.Network/virtualNetworkGateways");
    assert_eq!(gateways.count(), 2);
}

#[test]
fn a_network_with_sites() {
    let import = imported(COMPANY);
    assert_eq!(import.invalid, None);
    let topology = deployed(
        &import,
        serde_json::json!({
            "gatewayAddress_Group_Production_Main": "203.0.113.1", "siteAddress_Branch": "198.51.100.20",
        }),
    );
    let main = topology.virtual_networks.values().next().unwrap();
    assert_eq!(main.id.name(), "Group-Production-Main");
    assert_eq!(main.location, "northeurope");
    assert_eq!(
        main.dns_servers,
        ["10.20.1.4".parse::<std::net::IpAddr>().unwrap()]
    );
    let subnets: Vec<&str> = main.subnets.values().map(|one| one.id.name()).collect();
    assert_eq!(subnets, ["Front-End", "GatewaySubnet"]);
    let sites: Vec<String> = topology
        .local_network_gateways
        .values()
        .map(|one| {
            format!(
                "{} {} {:?}",
                one.id.name(),
                one.gateway_ip_address,
                one.address_prefixes
            )
        })
        .collect();
    assert_eq!(
        sites,
        [
            "Branch 198.51.100.20 [172.21.0.0/24]",
            "D1BFC9CB_Head-Office 198.51.100.10 [192.168.0.0/16, 172.20.1.0/24]",
            "PartOfLab 198.51.100.30 [10.30.5.0/24]",
        ]
    );
    assert_eq!(topology.connections.len(), 2);
    for connection in topology.connections.values() {
        assert!(matches!(
            connection.remote,
            ConnectionRemote::LocalNetworkGateway(_)
        ));
        // Left out: one is made.
        assert_eq!(connection.shared_key, None);
    }
}

#[test]
fn what_is_lost_or_changed_is_told_with_its_line() {
    use FindingKind::{Changed, NotCarriedOver, Supply};
    let import = imported(COMPANY);
    for (line, kind, words) in [
        (7, NotCarriedOver, "'10.20.1.400' is no IP address"),
        (11, Changed, "is named D1BFC9CB_Head-Office now"),
        (14, Changed, "172.20.1.7/24 became 172.20.1.0/24"),
        (23, NotCarriedOver, "'Circuit' has no VPNGatewayAddress"),
        (
            28,
            Changed,
            "part of the address space of the virtual network 'Lab'",
        ),
        (36, Changed, "affinity group 'production'"),
        (36, Changed, "named Group-Production-Main"),
        (42, Changed, "named Front-End"),
        (45, Changed, "named GatewaySubnet"),
        (51, NotCarriedOver, "no DNS server 'dns-b'"),
        (53, Changed, "profile 'Small'"),
        (54, NotCarriedOver, "point-to-site"),
        (53, Supply, "gatewayAddress_Group_Production_Main"),
        (
            58,
            Supply,
            "sharedKey_Group_Production_Main_D1BFC9CB_Head_Office",
        ),
        (58, Changed, "route-based"),
        (61, Supply, "siteAddress_Branch"),
        (63, NotCarriedOver, "ExpressRoute"),
        (65, NotCarriedOver, "no local network site 'Gone'"),
        (
            76,
            NotCarriedOver,
            "InternetGatewayNetwork has no counterpart",
        ),
    ] {
        tells(&import, line, kind, words);
    }
    assert!(import.findings.is_sorted());
}

/// The words that `azure-semantics.md` has for it: what the rules refuse is told before anybody
/// deploys it.
#[test]
fn what_breaks_a_rule_is_told() {
    let file = COMPANY.replace("10.20.255.0/27", "10.21.255.0/27");
    let import = imported(&file);
    let error = import.invalid.unwrap();
    assert!(error.has_code("NetcfgInvalidSubnet"), "{error}");
    // A connection to a site that overlaps with the network itself.
    let file = COMPANY.replace("172.21.0.0/24", "10.20.1.0/24");
    assert!(imported(&file).invalid.is_some());
}

#[test]
fn a_gateway_needs_its_subnet() {
    let file = VNET_TO_VNET.replacen("GatewaySubnet", "Gateways", 1);
    let import = imported(&file);
    assert_eq!(import.invalid, None);
    tells(
        &import,
        34,
        FindingKind::NotCarriedOver,
        "need a subnet GatewaySubnet",
    );
    tells(
        &import,
        56,
        FindingKind::NotCarriedOver,
        "needs a subnet GatewaySubnet",
    );
    let resources = import.template["resources"].as_array().unwrap();
    assert_eq!(resources.len(), 2, "{:#}", import.template);
}

#[test]
fn twins_are_not_guessed_between() {
    let file = VNET_TO_VNET.replace(
        "<VirtualNetworkSite name=\"VNet2\"",
        "<VirtualNetworkSite name=\"Twin\"><AddressSpace><AddressPrefix>10.2.0.0/16</AddressPrefix>\
         </AddressSpace></VirtualNetworkSite><VirtualNetworkSite name=\"VNet2\"",
    );
    let import = imported(&file);
    tells(&import, 36, FindingKind::NotCarriedOver, "Twin, VNet2");
}

#[test]
fn the_same_name_twice() {
    let file = VNET_TO_VNET.replace("VNet2Local", "vnet1local");
    let import = imported(&file);
    tells(
        &import,
        13,
        FindingKind::NotCarriedOver,
        "'vnet1local' is there before this one",
    );
    let file = VNET_TO_VNET.replace("name=\"VNet2\"", "name=\"vnet1\"");
    let import = imported(&file);
    tells(
        &import,
        42,
        FindingKind::NotCarriedOver,
        "virtual network 'vnet1' is there before",
    );
    // Names that are one after they were made ARM's.
    let file = COMPANY
        .replace("name=\"Lab\"", "name=\"Group.Production.Main\"")
        .replace("Group Production Main", "Group Production.Main");
    let file = file.replace("Group.Production.Main", "Group-Production.Main");
    let import = imported(&file);
    assert_eq!(import.invalid, None);
    let names: Vec<&Value> = import.template["resources"].as_array().unwrap()[..2]
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["Group-Production.Main", "Group-Production.Main_2"]);
}

#[test]
fn a_location_of_the_command_line_is_for_what_has_none() {
    let import = import(COMPANY.as_bytes(), Some("West US 2")).unwrap();
    assert_eq!(
        import.template["parameters"]["location"]["defaultValue"],
        "westus2"
    );
    let resources = import.template["resources"].as_array().unwrap();
    assert_eq!(resources[0]["location"], "[parameters('location')]");
    assert_eq!(resources[1]["location"], "westeurope");
}

#[test]
fn other_encodings() {
    let expected = imported(COMPANY);
    let mut marked = vec![0xef, 0xbb, 0xbf];
    marked.extend(COMPANY.as_bytes());
    let little = [0xfeff].into_iter().chain(COMPANY.encode_utf16());
    let little: Vec<u8> = little.flat_map(u16::to_le_bytes).collect();
    let big = [0xfeff].into_iter().chain(COMPANY.encode_utf16());
    let big: Vec<u8> = big.flat_map(u16::to_be_bytes).collect();
    for file in [&marked, &little, &big] {
        assert_eq!(import(file, None).unwrap(), expected);
    }
    assert_eq!(import(&little[..31], None), Err(NetcfgError::Encoding));
    assert_eq!(import(b"\xff\x00", None), Err(NetcfgError::Encoding));
    let https = COMPANY.replace("http://schemas", "https://schemas");
    assert_eq!(imported(&https), expected);
}

#[test]
fn an_empty_configuration() {
    let import = imported(
        "<NetworkConfiguration xmlns='http://schemas.microsoft.com/ServiceHosting/2011/07/NetworkConfiguration'>\
         <VirtualNetworkConfiguration/></NetworkConfiguration>",
    );
    assert_eq!(import.findings, []);
    assert_eq!(import.invalid, None);
    assert_eq!(import.template["resources"], serde_json::json!([]));
}
