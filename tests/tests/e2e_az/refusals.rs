//! What is refused, and that Azure's clients understand why.

use serde_json::json;
use vnet_gw_lab::{Lab, Underlay};
use vnet_gw_tests::az::Az;

use super::host::{GROUP, Host, account};

#[test]
fn refusals_have_azures_codes_and_change_nothing() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let host = Host::start(&lab, &underlay, "host", &["203.0.113.1"], &[]).unwrap();
    let az = |args: &str| {
        let mut all: Vec<&str> = args.split(' ').collect();
        all.extend(["-g", GROUP]);
        host.az.json(&all).unwrap()
    };
    let refused = |code: &str, args: &str| {
        let mut all: Vec<&str> = args.split(' ').collect();
        all.extend(["-g", GROUP]);
        let said = host.az.refused(&all).unwrap();
        assert!(said.contains(code), "az {args}: {said}");
        // An answer that the client did not expect would end in a traceback.
        assert!(!said.contains("Traceback"), "az {args}: {said}");
    };
    let group = ["group", "create", "--name", GROUP, "--location", "eastus"];
    refused("ResourceGroupNotFound", "network vnet list");
    host.az.run(&group).unwrap();
    for (vnet, prefix, subnet) in [
        ("one", "10.1.0.0/16", "10.1.0.0/24"),
        ("same", "10.1.0.0/16", "10.1.0.0/24"),
        ("other", "10.2.0.0/16", "10.2.0.0/24"),
    ] {
        az(&format!(
            "network vnet create --name {vnet} --location eastus --address-prefixes {prefix} \
             --subnet-name default --subnet-prefixes {subnet}"
        ));
    }
    az("network nsg create --name nsg --location eastus");
    az("network route-table create --name table --location eastus");
    az("network vnet subnet update --vnet-name one --name default --route-table table");
    let before = az("resource list");
    let subnet = az("network vnet subnet show --vnet-name one --name default");

    refused(
        "VnetAddressSpacesOverlap",
        "network vnet peering create --vnet-name one --name p --remote-vnet same --allow-vnet-access",
    );
    refused(
        "InUseRouteTableCannotBeDeleted",
        "network route-table delete --name table",
    );
    refused(
        "NetcfgInvalidSubnet",
        "network vnet subnet create --vnet-name one --name far --address-prefixes 10.9.0.0/24",
    );
    refused(
        "NetcfgSubnetRangesOverlap",
        "network vnet subnet create --vnet-name one --name twice --address-prefixes 10.1.0.0/25",
    );
    refused("ResourceNotFound", "network nic show --name nobody");
    refused(
        "SecurityRule",
        "network nsg rule create --nsg-name nsg --name rule --priority 5 --access Allow --protocol Tcp",
    );
    assert_eq!(az("resource list"), before);
    let after = az("network vnet subnet show --vnet-name one --name default");
    assert_eq!(after, subnet);
    assert_eq!(az("network vnet peering list --vnet-name one"), json!([]));

    let mut reader = account(&host.daemon, "reader", "reader").unwrap();
    let home = lab.dir().join("reader.azure");
    let looking = Az::login(&host.netns, home, reader.clone()).unwrap();
    let list = ["network", "vnet", "list", "-g", GROUP];
    assert_eq!(
        looking.json(&list).unwrap().as_array().map(Vec::len),
        Some(3)
    );
    let delete = ["network", "vnet", "delete", "-g", GROUP, "--name", "other"];
    let said = looking.refused(&delete).unwrap();
    assert!(said.contains("AuthorizationFailed"), "{said}");

    reader.secret.push('x');
    let home = lab.dir().join("stranger.azure");
    let Err(error) = Az::login(&host.netns, home, reader) else {
        panic!("signed in with a wrong secret");
    };
    assert!(error.to_string().contains("AADSTS7000215"), "{error:#}");
    // Neither of them has a word of the secret in what the daemon logged.
    assert!(!host.daemon.log().contains(&host.az.account.secret));
}
