//! Every name that is shown is one that Azure has there.

use super::*;

/// The keys of an object.
fn keys(of: &Value) -> impl Iterator<Item = &str> {
    of.as_object().unwrap().keys().map(String::as_str)
}

fn check(shown: &Value, kind: Kind) {
    for key in keys(shown) {
        assert!(names::ENVELOPE.contains(&key), "{key} of {shown:#}");
    }
    let properties = &shown["properties"];
    for key in keys(properties) {
        assert!(names::of(kind).contains(&key), "{key} of {shown:#}");
    }
    for name in names::of(kind) {
        if let (Some(value), [_, _, ..]) = (properties.get(*name), names::below(name)) {
            let items = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            for key in items.iter().flat_map(keys) {
                assert!(names::below(name).contains(&key), "{name}.{key}");
            }
        }
    }
    let known = match kind {
        Kind::NetworkInterface => names::IP_CONFIGURATION,
        Kind::VirtualNetworkGateway => names::GATEWAY_IP_CONFIGURATION,
        _ => &[],
    };
    let configurations = properties
        .get("ipConfigurations")
        .filter(|_| !known.is_empty());
    for one in configurations
        .into_iter()
        .flat_map(|all| all.as_array().unwrap())
    {
        for key in keys(&one["properties"]) {
            assert!(known.contains(&key), "{key} of {one:#}");
        }
    }
    for child in kind.children() {
        for one in properties[child.list_name()].as_array().unwrap() {
            check(one, *child);
        }
    }
}

#[test]
fn every_property_is_one_of_azures() {
    let state = network();
    let mut kinds = std::collections::BTreeSet::new();
    for (id, document) in state.documents.iter() {
        let shown = show(&state, &Target::known(document.kind, id), &Running).unwrap();
        check(&shown, document.kind);
        assert_eq!(shown["id"], id.as_str());
        assert_eq!(shown["type"], document.kind.resource_type());
        kinds.insert(document.kind);
        kinds.extend(document.kind.children());
    }
    assert_eq!(kinds.len(), Kind::ALL.len());
}

#[test]
fn what_is_shown_of_a_child_alone_is_what_its_parent_shows() {
    let state = network();
    for (path, list) in [
        ("virtualNetworks/VNet1", "subnets"),
        ("virtualNetworks/VNet1", "virtualNetworkPeerings"),
        ("routeTables/RT1", "routes"),
        ("networkSecurityGroups/NSG1", "securityRules"),
    ] {
        let parent = shown(&state, path);
        for child in parent["properties"][list].as_array().unwrap() {
            let target = Target::parse(child["id"].as_str().unwrap()).unwrap();
            assert_eq!(show(&state, &target, &NoLive).as_ref(), Some(child));
        }
    }
}

/// What was written wins where Azure takes it, and is replaced where the server alone says it.
#[test]
fn what_is_shown_may_be_written_back() {
    let state = network();
    for (id, document) in state.documents.iter() {
        let target = Target::known(document.kind, id);
        let once = show(&state, &target, &Running).unwrap();
        let mut written = (**document).clone();
        written.body = once.as_object().unwrap().clone();
        let mut documents = state.documents.clone();
        documents.insert(id.clone(), Arc::new(written));
        let again = State {
            documents,
            ..state.clone()
        };
        assert_eq!(show(&again, &target, &Running).unwrap(), once);
    }
}
