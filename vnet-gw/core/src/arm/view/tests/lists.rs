//! Lists and their pages.

use super::*;
use crate::arm::Scope;

fn scope(group: &str) -> Scope {
    Scope::Group(GroupId::new("s", group).unwrap())
}

fn names(found: &[Target]) -> Vec<&str> {
    found.iter().map(|one| one.id.name()).collect()
}

/// All pages, after one another.
fn pages(state: &State, kind: Option<Kind>, scope: &Scope, most: usize) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let (found, next) = list(state, kind, scope, after.as_ref(), most);
        pages.push(names(&found).into_iter().map(str::to_owned).collect());
        after = next;
        if after.is_none() {
            return pages;
        }
    }
}

#[test]
fn of_a_group_a_subscription_and_a_parent() {
    let state = network();
    let vnets = Some(Kind::VirtualNetwork);
    for scope in [scope("G"), Scope::Subscription("S".into())] {
        let (found, next) = list(&state, vnets, &scope, None, 10);
        assert_eq!(names(&found), ["VNet1", "VNet4"]);
        assert_eq!(next, None);
    }
    for scope in [scope("other"), Scope::Subscription("t".into())] {
        assert_eq!(list(&state, vnets, &scope, None, 10), (vec![], None));
    }
    let subnets = Scope::Parent(target("virtualNetworks/vnet1"));
    let (found, _) = list(&state, Some(Kind::Subnet), &subnets, None, 10);
    assert_eq!(names(&found), ["FrontEnd", "GatewaySubnet"]);
    assert_eq!(found[0].document, id("virtualNetworks/VNet1"));
    assert!(show(&state, &found[0], &NoLive).is_some());
    assert_eq!(list(&state, Some(Kind::Route), &subnets, None, 10).0, []);
    let (all, _) = list(&state, None, &scope("g"), None, 100);
    assert_eq!(all.len(), state.documents.len());
}

#[test]
fn in_pages() {
    let state = network();
    let pips = Some(Kind::PublicIpAddress);
    let of = |most| pages(&state, pips, &scope("g"), most);
    assert_eq!(of(3), [vec!["PIP1", "PIP2", "PIP4"]]);
    assert_eq!(of(2), [vec!["PIP1", "PIP2"], vec!["PIP4"]]);
    assert_eq!(of(1), [vec!["PIP1"], vec!["PIP2"], vec!["PIP4"]]);
    let subnets = Scope::Parent(target("virtualNetworks/VNet1"));
    let of = pages(&state, Some(Kind::Subnet), &subnets, 1);
    assert_eq!(of, [vec!["FrontEnd"], vec!["GatewaySubnet"]]);
}

#[test]
fn a_page_goes_on_after_what_is_gone() {
    let state = network();
    let gone = id("publicIPAddresses/PIP1x");
    let pips = Some(Kind::PublicIpAddress);
    let (found, _) = list(&state, pips, &scope("g"), Some(&gone), 10);
    assert_eq!(names(&found), ["PIP2", "PIP4"]);
}

#[test]
fn groups_whose_names_begin_alike() {
    let groups = ["a", "a-b", "a.b", "ab"];
    let documents = groups.iter().map(|group| {
        let mut one = document(
            &json!({"type": "Microsoft.Network/routeTables", "name": format!("in-{group}")}),
        );
        one.id = Kind::RouteTable.id(
            &format!("/subscriptions/s/resourceGroups/{group}"),
            &[format!("in-{group}")],
        );
        (one.id.clone(), Arc::new(one))
    });
    let state = State {
        documents: documents.collect(),
        ..State::default()
    };
    for group in groups {
        for kind in [None, Some(Kind::RouteTable)] {
            let (found, _) = list(&state, kind, &scope(group), None, 10);
            assert_eq!(names(&found), [format!("in-{group}")]);
        }
    }
}

/// Once a state, not once a row, however many refer to it.
#[test]
fn back_references_are_searched_once() {
    let mut text = String::from(
        r#"{"resources": [{"type": "Microsoft.Network/virtualNetworks", "name": "Net", "properties": {
            "addressSpace": {"addressPrefixes": ["10.0.0.0/8"]},
            "subnets": [{"name": "S", "properties": {"addressPrefix": "10.0.0.0/16"}}]}}"#,
    );
    for n in 0..3_000 {
        text.push_str(&format!(
            r#",{{"type": "Microsoft.Network/networkInterfaces", "name": "nic{n}", "properties": {{"ipConfigurations": [
               {{"name": "c", "properties": {{"subnet": {{"id": "Net/S"}}}}}}]}}}}"#
        ));
    }
    text.push_str("]}");
    let options = DeployOptions {
        subscription_id: "s".into(),
        resource_group: "g".into(),
        ..DeployOptions::default()
    };
    let template: Value = serde_json::from_str(&text).unwrap();
    let documents = template["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(document);
    let state = State {
        topology: Arc::new(parse_template(&text, &options).unwrap()),
        documents: documents
            .map(|one| (one.id.clone(), Arc::new(one)))
            .collect(),
        ..State::default()
    };
    // Searched for at first, then from the index.
    let again = || shown(&state, "virtualNetworks/Net/subnets/S");
    let subnet = again();
    assert!((0..20).all(|_| again() == subnet));
    let users = subnet["properties"]["ipConfigurations"].as_array().unwrap();
    assert_eq!(users.len(), 3_000);
    assert_eq!(
        users[0]["id"],
        format!("{}/ipConfigurations/c", id("networkInterfaces/nic0"))
    );
    let changed = State {
        topology: Arc::default(),
        references: Arc::default(),
        ..state.clone()
    };
    let subnet = shown(&changed, "virtualNetworks/Net/subnets/S");
    assert_eq!(subnet["properties"].get("ipConfigurations"), None);
}
