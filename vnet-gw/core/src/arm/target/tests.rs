use super::*;

const SCOPE: &str = "/subscriptions/s/resourceGroups/g";

fn code<T: fmt::Debug>(result: Result<T, ArmError>) -> String {
    result.expect_err("it is refused").code
}

#[test]
fn ids_in_any_case_name_the_same_resource_in_azures() {
    let canonical = format!("{SCOPE}/providers/Microsoft.Network/virtualNetworks/VNet1");
    for path in [
        canonical.clone(),
        format!("{canonical}/"),
        "/SUBSCRIPTIONS/s/resourcegroups/g/PROVIDERS/microsoft.network/virtualnetworks/VNet1"
            .to_owned(),
    ] {
        let target = Target::parse(&path).unwrap();
        assert_eq!(target.kind, Kind::VirtualNetwork);
        assert_eq!(target.id.as_str(), canonical);
        assert_eq!(target.document, target.id);
        assert_eq!(target.parent(), None);
        assert_eq!(target.group().to_string(), SCOPE);
    }
    let subnet = Target::parse(&format!("{canonical}/SUBNETS/a")).unwrap();
    assert_eq!(subnet.id.as_str(), format!("{canonical}/subnets/a"));
    assert_eq!(subnet.document.as_str(), canonical);
    let parent = subnet.parent().unwrap();
    assert_eq!(parent, Target::parse(&canonical).unwrap());
    assert_eq!(parent.child(Kind::Subnet, "a").unwrap(), subnet);
    assert_eq!(Target::known(Kind::Subnet, &subnet.id), subnet);
    assert_eq!(code(parent.child(Kind::Route, "a")), "InvalidResourceType");
    assert_eq!(code(subnet.child(Kind::Subnet, "a")), "InvalidResourceType");
    assert_eq!(
        code(parent.child(Kind::Subnet, "..")),
        "InvalidResourceName"
    );
}

#[test]
fn paths_with_tricks_are_refused_by_name() {
    let network = format!("{SCOPE}/providers/Microsoft.Network");
    let long = "x".repeat(81);
    let endless = format!("{network}/virtualNetworks/{}", "x".repeat(3_000));
    for (path, wanted) in [
        (String::new(), "InvalidResourceId"),
        ("/".to_owned(), "InvalidResourceId"),
        ("//".to_owned(), "InvalidResourceId"),
        (SCOPE.to_owned(), "InvalidResourceId"),
        (network.clone(), "InvalidResourceId"),
        (format!("{network}/virtualNetworks"), "InvalidResourceId"),
        (format!("{network}//virtualNetworks/v"), "InvalidResourceId"),
        (
            format!("{network}/virtualNetworks/v1//"),
            "InvalidResourceId",
        ),
        (
            format!("{network}/virtualNetworks/v\0"),
            "InvalidResourceId",
        ),
        (
            format!("{network}/virtualNetworks/v\n1"),
            "InvalidResourceId",
        ),
        (
            format!("{network}/virtualNetworks/v1/subnets"),
            "InvalidResourceId",
        ),
        (
            network[1..].to_owned() + "/virtualNetworks/v1",
            "InvalidResourceId",
        ),
        (
            "/subscriptions/s/providers/Microsoft.Network/virtualNetworks/v1".to_owned(),
            "InvalidResourceId",
        ),
        (
            "/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v1".to_owned(),
            "InvalidResourceId",
        ),
        (endless, "InvalidResourceId"),
        (
            format!("{network}/virtualNetworks/.."),
            "InvalidResourceName",
        ),
        (
            format!("{network}/virtualNetworks/v%2e"),
            "InvalidResourceName",
        ),
        (
            format!("{network}/virtualNetworks/v"),
            "InvalidResourceName",
        ),
        (
            format!("{network}/virtualNetworks/v 1"),
            "InvalidResourceName",
        ),
        (
            format!("{network}/virtualNetworks/vné1"),
            "InvalidResourceName",
        ),
        (
            format!("{network}/virtualNetworks/../subnets/a"),
            "InvalidResourceName",
        ),
        (
            format!("{network}/routeTables/{long}"),
            "InvalidResourceName",
        ),
        (format!("{network}/loadBalancers/v1"), "InvalidResourceType"),
        (format!("{network}/subnets/v1"), "InvalidResourceType"),
        (
            format!("{network}/routeTables/t/subnets/a"),
            "InvalidResourceType",
        ),
        (
            format!("{network}/virtualNetworks/v1/subnets/a/x/y"),
            "InvalidResourceType",
        ),
        (
            format!("{SCOPE}/providers/Microsoft.Compute/virtualMachines/v1"),
            "InvalidResourceNamespace",
        ),
        (
            "/subscriptions/s/resourceGroups/../providers/Microsoft.Network/virtualNetworks/v1"
                .to_owned(),
            "InvalidResourceGroup",
        ),
        (
            "/subscriptions/s/resourceGroups/g./providers/Microsoft.Network/virtualNetworks/v1"
                .to_owned(),
            "InvalidResourceGroup",
        ),
        (
            "/subscriptions/../resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v1"
                .to_owned(),
            "InvalidSubscriptionId",
        ),
        (
            format!(
                "/subscriptions/{}/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v1",
                "s".repeat(91)
            ),
            "InvalidSubscriptionId",
        ),
    ] {
        let error = Target::parse(&path).expect_err(&path);
        assert_eq!(error.code, wanted, "{path}");
        assert!(error.to_string().len() < 1_000, "{path}");
    }
}

#[test]
fn collections_know_what_they_list() {
    let group = GroupId::parse(SCOPE).unwrap();
    for (path, kind, scope) in [
        (
            "/subscriptions/s/providers/microsoft.network/virtualnetworks".to_owned(),
            Kind::VirtualNetwork,
            Scope::Subscription("s".to_owned()),
        ),
        (
            format!("{SCOPE}/providers/Microsoft.Network/connections/"),
            Kind::Connection,
            Scope::Group(group),
        ),
        (
            format!("{SCOPE}/providers/Microsoft.Network/routeTables/T/ROUTES"),
            Kind::Route,
            Scope::Parent(
                Target::parse(&format!(
                    "{SCOPE}/providers/Microsoft.Network/routeTables/T"
                ))
                .unwrap(),
            ),
        ),
    ] {
        let found = Collection::parse(&path).unwrap();
        assert_eq!(found, Collection { kind, scope }, "{path}");
    }
    for (path, wanted) in [
        (
            format!("{SCOPE}/providers/Microsoft.Network"),
            "InvalidResourceId",
        ),
        (
            format!("{SCOPE}/providers/Microsoft.Network/routeTables/T"),
            "InvalidResourceId",
        ),
        (
            format!("{SCOPE}/providers/Microsoft.Network/subnets"),
            "InvalidResourceType",
        ),
        (
            "/subscriptions/s/providers/Microsoft.Network/routeTables/T/routes".to_owned(),
            "InvalidResourceId",
        ),
        (
            format!("{SCOPE}/providers/Microsoft.Network/routeTables/../routes"),
            "InvalidResourceName",
        ),
    ] {
        assert_eq!(code(Collection::parse(&path)), wanted, "{path}");
    }
}

#[test]
fn groups_compare_without_case() {
    let one = GroupId::parse("/subscriptions/S/RESOURCEGROUPS/Rg-1/").unwrap();
    let other = GroupId::new("s", "rG-1").unwrap();
    assert_eq!(one, other);
    assert_eq!(one.cmp(&other), Ordering::Equal);
    assert_eq!(one.key(), other.key());
    assert_eq!(one.to_string(), "/subscriptions/S/resourceGroups/Rg-1");
    let id = ResourceId::new(
        "/subscriptions/s/resourceGroups/RG-1/providers/Microsoft.Network/routeTables/T",
    );
    assert!(one.contains(&id));
    assert!(!GroupId::new("s", "rg").unwrap().contains(&id));
    // As their ids compare.
    assert!(GroupId::new("a", "z").unwrap() < GroupId::new("ab", "a").unwrap());
    for path in [
        "/subscriptions/s",
        "/subscriptions/s/resourceGroups/g/x",
        "",
    ] {
        assert_eq!(code(GroupId::parse(path)), "InvalidResourceId");
    }
}
