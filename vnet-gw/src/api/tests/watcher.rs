//! Network watchers, virtual machines, and the questions about packets.

use serde_json::{Value, json};

use super::{Bed, SUBSCRIPTION, Told, network};

pub(super) fn compute(path: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/{path}")
}

pub(super) fn watcher(path: &str) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/NetworkWatcherRG/providers/\
         Microsoft.Network/networkWatchers/NetworkWatcher_westeurope{path}"
    )
}

fn all_watchers() -> String {
    format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Network/networkWatchers")
}

pub(super) fn nic(subnet: &str, address: &str, tags: Value) -> Value {
    json!({
        "location": "westeurope",
        "tags": tags,
        "properties": {"ipConfigurations": [{
            "name": "one",
            "properties": {
                "subnet": {"id": network(&format!("virtualNetworks/{subnet}"))},
                "privateIPAllocationMethod": "Static",
                "privateIPAddress": address,
            },
        }]},
    })
}

/// V1 10.1.0.0/16 and V2 10.2.0.0/16, peered: web and db in V1/a, far in V2/a. What V1/a sends to
/// 10.9.0.0/16 goes nowhere.
pub(super) async fn bed() -> Bed {
    furnished(Bed::with_group().await).await
}

pub(super) async fn furnished(bed: Bed) -> Bed {
    let table = json!({
        "location": "westeurope",
        "properties": {"routes": [{
            "name": "black",
            "properties": {"addressPrefix": "10.9.0.0/16", "nextHopType": "None"},
        }]},
    });
    bed.put(&network("routeTables/rt"), table).await.is(201);
    for (name, space, subnet) in [
        ("V1", "10.1.0.0/16", "10.1.0.0/24"),
        ("V2", "10.2.0.0/16", "10.2.0.0/24"),
    ] {
        let mut properties = json!({"addressPrefix": subnet});
        if name == "V1" {
            properties["routeTable"] = json!({"id": network("routeTables/rt")});
        }
        let body = json!({
            "location": "westeurope",
            "properties": {
                "addressSpace": {"addressPrefixes": [space]},
                "subnets": [{"name": "a", "properties": properties}],
            },
        });
        bed.put(&network(&format!("virtualNetworks/{name}")), body)
            .await
            .is(201);
    }
    for (one, other) in [("V1", "V2"), ("V2", "V1")] {
        let path = network(&format!("virtualNetworks/{one}/virtualNetworkPeerings/p"));
        let remote = network(&format!("virtualNetworks/{other}"));
        let body = json!({"properties": {"remoteVirtualNetwork": {"id": remote}}});
        bed.put(&path, body).await.is(201);
    }
    for (name, body) in [
        (
            "web",
            nic("V1/subnets/a", "10.1.0.4", json!({"vnet-gw:device": "web"})),
        ),
        (
            "db",
            nic("V1/subnets/a", "10.1.0.5", json!({"vnet-gw:vm": "box"})),
        ),
        (
            "far",
            nic("V2/subnets/a", "10.2.0.4", json!({"vnet-gw:vm": "box"})),
        ),
    ] {
        bed.put(&network(&format!("networkInterfaces/{name}")), body)
            .await
            .is(201);
    }
    bed
}

pub(super) async fn ask(bed: &Bed, action: &str, body: Value) -> Told {
    bed.ask("POST", &watcher(&format!("/{action}")), Some(body))
        .await
}

#[tokio::test]
async fn a_region_with_a_network_has_a_watcher() {
    let bed = Bed::with_group().await;
    let none = bed.get(&all_watchers()).await;
    assert_eq!(none.is(200).body["value"], json!([]));
    bed.get(&watcher("")).await.is(404);

    bed.put(&network("virtualNetworks/V1"), super::vnet("10.1.0.0/16"))
        .await
        .is(201);
    let list = bed.get(&all_watchers()).await;
    let list = list.is(200).body["value"].as_array().unwrap().clone();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["id"], watcher(""));
    assert_eq!(list[0]["location"], "westeurope");
    assert_eq!(bed.get(&watcher("")).await.is(200).body, list[0]);
    let in_group = watcher("").rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(bed.get(&in_group).await.is(200).body["value"], json!(list));
    bed.get(&network("networkWatchers")).await.is(200);
    let groups = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups");
    let count = |told: Told| told.is(200).body["value"].as_array().unwrap().len();
    assert_eq!(count(bed.get(&groups).await), 1);

    // What is written to it is kept, and then it is one as any.
    let tagged = bed
        .ask("PATCH", &watcher(""), Some(json!({"tags": {"a": "b"}})))
        .await;
    assert_eq!(tagged.is(200).body["tags"], json!({"a": "b"}));
    assert_eq!(count(bed.get(&groups).await), 2);
    assert_eq!(count(bed.get(&all_watchers()).await), 1);

    // Another of the same region is refused, and one of another region is not.
    let second = network("networkWatchers/mine");
    let refused = bed.put(&second, json!({"location": "West Europe"})).await;
    assert_eq!(refused.is(400).code(), "NetworkWatcherCountLimitReached");
    bed.put(&second, json!({"location": "eastus"}))
        .await
        .is(201);
    bed.put(
        &second,
        json!({"location": "eastus", "properties": {"x": 1}}),
    )
    .await;
    assert_eq!(count(bed.get(&all_watchers()).await), 2);
    bed.ask("DELETE", &second, None).await.is(204);
    bed.ask("DELETE", &watcher(""), None).await.is(204);
    // As long as there is a network, there is a watcher.
    assert_eq!(bed.get(&watcher("")).await.is(200).body, list[0]);
}

#[tokio::test]
async fn machines_are_known_by_their_interfaces() {
    let bed = bed().await;
    let web = bed.get(&compute("virtualMachines/WEB")).await;
    let web = &web.is(200).body;
    assert_eq!(web["location"], "westeurope");
    assert_eq!(
        web["properties"]["networkProfile"]["networkInterfaces"],
        json!([{"id": network("networkInterfaces/web")}])
    );
    let boxed = bed.get(&compute("virtualMachines/box")).await;
    assert_eq!(
        boxed.is(200).body["properties"]["networkProfile"]["networkInterfaces"],
        json!([
            {"id": network("networkInterfaces/db"), "properties": {"primary": true}},
            {"id": network("networkInterfaces/far"), "properties": {"primary": false}},
        ])
    );
    let gone = bed.get(&compute("virtualMachines/db")).await;
    assert_eq!(gone.is(404).code(), "ResourceNotFound");
    for path in [
        compute("virtualMachines"),
        format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/virtualMachines"),
    ] {
        let list = bed.get(&path).await;
        let names = list.is(200).body["value"].as_array().unwrap().clone();
        let names: Vec<&Value> = names.iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["box", "web"]);
    }
    bed.put(&compute("virtualMachines/web"), json!({}))
        .await
        .is(405);
}

#[tokio::test]
async fn next_hops() {
    let bed = bed().await;
    let ask = async |source: &str, destination: &str| {
        let told = ask(
            &bed,
            "nextHop",
            json!({
                "targetResourceId": compute("virtualMachines/web"),
                "sourceIPAddress": source,
                "destinationIPAddress": destination,
            }),
        )
        .await;
        told.is(200).body.clone()
    };
    let system = |kind: &str| json!({"nextHopType": kind, "routeTableId": "System Route"});
    assert_eq!(ask("10.1.0.4", "10.1.0.5").await, system("VnetLocal"));
    assert_eq!(ask("10.1.0.4", "10.2.0.4").await, system("VNetPeering"));
    assert_eq!(ask("10.1.0.4", "192.0.2.1").await, system("Internet"));
    assert_eq!(ask("10.1.0.4", "10.7.0.1").await, system("None"));
    // Never routed, though a route contains it.
    assert_eq!(ask("10.1.0.4", "224.0.0.1").await, system("None"));
    assert_eq!(
        ask("10.1.0.4", "10.9.0.1").await,
        json!({"nextHopType": "None", "routeTableId": network("routeTables/rt")})
    );
}

#[tokio::test]
async fn flows_are_held_against_the_groups_of_a_nic() {
    let bed = bed().await;
    let flow = async |direction: &str, local: &str, remote: &str| {
        let [local, remote] = [local, remote].map(|end| end.split_once(' ').unwrap());
        let told = ask(
            &bed,
            "ipFlowVerify",
            json!({
                "targetResourceId": compute("virtualMachines/web"),
                "direction": direction,
                "protocol": "TCP",
                "localIPAddress": local.0,
                "localPort": local.1,
                "remoteIPAddress": remote.0,
                "remotePort": remote.1,
            }),
        )
        .await;
        told.is(200).body.clone()
    };
    // Without a group everything is allowed, and no rule says so.
    let free = flow("Inbound", "10.1.0.4 22", "192.0.2.1 *").await;
    assert_eq!(free, json!({"access": "Allow"}));

    let said = |access: &str, rule: &str| json!({"access": access, "ruleName": rule});
    let rule = |name: &str, priority: u16, access: &str, port: &str| {
        json!({"name": name, "properties": {
            "priority": priority, "direction": "Inbound", "access": access, "protocol": "Tcp",
            "sourceAddressPrefix": "*", "sourcePortRange": "*",
            "destinationAddressPrefix": "*", "destinationPortRange": port,
        }})
    };
    for (name, rules) in [
        ("of-subnet", json!([rule("no-telnet", 100, "Deny", "23")])),
        ("of-nic", json!([rule("web", 200, "Allow", "80-443")])),
    ] {
        let body = json!({"location": "westeurope", "properties": {"securityRules": rules}});
        let path = network(&format!("networkSecurityGroups/{name}"));
        bed.put(&path, body).await.is(201);
    }
    let subnet = network("virtualNetworks/V1/subnets/a");
    let body = json!({"properties": {
        "addressPrefix": "10.1.0.0/24",
        "networkSecurityGroup": {"id": network("networkSecurityGroups/of-subnet")},
    }});
    bed.put(&subnet, body).await.is(200);
    let mut web = nic("V1/subnets/a", "10.1.0.4", json!({}));
    web["properties"]["networkSecurityGroup"] =
        json!({"id": network("networkSecurityGroups/of-nic")});
    bed.put(&network("networkInterfaces/web"), web)
        .await
        .is(200);

    for (direction, local, remote, access, rule) in [
        // The subnet's first; it lets in what is from the network.
        (
            "Inbound",
            "10.1.0.4 23",
            "10.2.0.4 *",
            "Deny",
            "securityRules/no-telnet",
        ),
        (
            "Inbound",
            "10.1.0.4 22",
            "192.0.2.1 *",
            "Deny",
            "defaultSecurityRules/DenyAllInBound",
        ),
        (
            "Inbound",
            "10.1.0.4 80",
            "10.2.0.4 *",
            "Allow",
            "securityRules/web",
        ),
        (
            "Inbound",
            "10.1.0.4 22",
            "10.2.0.4 9",
            "Allow",
            "defaultSecurityRules/AllowVnetInBound",
        ),
        (
            "Outbound",
            "10.1.0.4 *",
            "10.2.0.4 1",
            "Allow",
            "defaultSecurityRules/AllowVnetOutBound",
        ),
        (
            "Outbound",
            "10.1.0.4 *",
            "192.0.2.1 1",
            "Allow",
            "defaultSecurityRules/AllowInternetOutBound",
        ),
    ] {
        let told = flow(direction, local, remote).await;
        assert_eq!(told, said(access, rule), "{direction} {local} {remote}");
    }

    for (name, value, told) in [
        ("direction", json!("Sideways"), "one of Inbound, Outbound"),
        ("protocol", json!("ICMP"), "one of TCP, UDP"),
        (
            "localPort",
            json!("*"),
            "localPort must be a port from 0 to 65535, and",
        ),
        (
            "remotePort",
            json!("65536"),
            "remotePort must be a port from 0 to 65535, or *",
        ),
        ("localIPAddress", json!("10.1.0.77"), "is not an address"),
    ] {
        let mut body = json!({
            "targetResourceId": network("networkInterfaces/web"),
            "direction": "Inbound", "protocol": "UDP",
            "localIPAddress": "10.1.0.4", "localPort": 53,
            "remoteIPAddress": "10.2.0.4", "remotePort": "*",
        });
        ask(&bed, "ipFlowVerify", body.clone()).await.is(200);
        body[name] = value;
        let refused = ask(&bed, "ipFlowVerify", body).await;
        let message = &refused.is(400).body["error"]["message"];
        assert!(
            message.as_str().unwrap().contains(told),
            "{name}: {message}"
        );
    }
}

#[tokio::test]
async fn what_there_is_and_which_rules_hold() {
    let bed = bed().await;
    let names = |told: &Told| {
        let all = told.is(200).body["resources"].as_array().unwrap();
        let names = all
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let group = ask(&bed, "topology", json!({"targetResourceGroupName": "RG"})).await;
    assert_eq!(
        names(&group),
        ["V1", "a", "V2", "a", "db", "far", "web", "box", "web"]
    );
    let one = |name: &str| json!({"id": network(name)});
    let body = json!({"targetVirtualNetwork": one("virtualNetworks/v2")});
    assert_eq!(
        names(&ask(&bed, "topology", body).await),
        ["V2", "a", "far", "box"]
    );
    let body = json!({"targetSubnet": one("virtualNetworks/V1/subnets/a")});
    let subnet = ask(&bed, "topology", body).await;
    assert_eq!(names(&subnet), ["a", "db", "web", "box", "web"]);
    let associations = &subnet.body["resources"][0]["associations"];
    assert_eq!(associations[0]["name"], "rt");
    assert_eq!(associations[0]["associationType"], "Associated");
    for (body, status) in [
        (json!({}), 400),
        (
            json!({"targetResourceGroupName": "rg", "targetSubnet": {"id": "x"}}),
            400,
        ),
        (json!({"targetResourceGroupName": "none"}), 404),
        (
            json!({"targetVirtualNetwork": one("virtualNetworks/V9")}),
            404,
        ),
        (
            json!({"targetVirtualNetwork": one("virtualNetworks/V1/subnets/a")}),
            404,
        ),
    ] {
        ask(&bed, "topology", body).await.is(status);
    }

    let body = json!({"targetResourceId": compute("virtualMachines/box")});
    let view = ask(&bed, "securityGroupView", body).await;
    let nics = view.is(200).body["networkInterfaces"].as_array().unwrap();
    let ids: Vec<_> = nics.iter().map(|nic| &nic["id"]).collect();
    assert_eq!(
        ids,
        [
            &network("networkInterfaces/db"),
            &network("networkInterfaces/far")
        ]
    );
}

#[tokio::test]
async fn questions_that_cannot_be_answered_say_why() {
    let bed = bed().await;
    let web = compute("virtualMachines/web");
    let boxed = compute("virtualMachines/box");
    for (body, status, told) in [
        (json!({}), 400, "sourceIPAddress is missing"),
        (json!({"sourceIPAddress": 7}), 400, "must be a string"),
        (json!({"sourceIPAddress": "x"}), 400, "'x' is none"),
        (
            json!({"sourceIPAddress": "10.1.0.4", "destinationIPAddress": "10.1.0.5"}),
            400,
            "targetResourceId is missing",
        ),
        (
            json!({"sourceIPAddress": "10.1.0.4", "destinationIPAddress": "10.1.0.5",
                "targetResourceId": compute("virtualMachines/nobody")}),
            404,
            "no virtual machine",
        ),
        (
            json!({"sourceIPAddress": "10.1.0.9", "destinationIPAddress": "10.1.0.5",
                "targetResourceId": web}),
            400,
            "10.1.0.9 is not an address",
        ),
        (
            json!({"sourceIPAddress": "10.1.0.9", "destinationIPAddress": "10.1.0.5",
                "targetResourceId": boxed}),
            400,
            "targetNicResourceId",
        ),
        (
            json!({"sourceIPAddress": "10.1.0.5", "destinationIPAddress": "10.1.0.5",
                "targetResourceId": boxed, "targetNicResourceId": network("networkInterfaces/web")}),
            400,
            "no network interface of 'box'",
        ),
    ] {
        let refused = ask(&bed, "nextHop", body.clone()).await;
        let message = &refused.is(status).body["error"]["message"];
        assert!(
            message.as_str().unwrap().contains(told),
            "{body}: {message}"
        );
    }
    // Of several NICs the one that has the address.
    let body = json!({"sourceIPAddress": "10.2.0.4", "destinationIPAddress": "10.1.0.5",
        "targetResourceId": boxed});
    let told = ask(&bed, "nextHop", body.clone()).await;
    assert_eq!(told.is(200).body["nextHopType"], "VNetPeering");

    ask(&bed, "packetStorm", body.clone()).await.is(404);
    bed.get(&watcher("/nextHop")).await.is(405);
    let elsewhere = watcher("/nextHop").replace("westeurope", "eastus");
    bed.ask("POST", &elsewhere, Some(body)).await.is(404);
}
