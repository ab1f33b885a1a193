//! What is in use does not go: every reference to a resource that a set removes is told.

use std::collections::BTreeMap;

use super::{
    Document,
    carry::{IP_CONFIGURATIONS, has_ip_configurations},
    json::{self, Object},
};
use crate::model::{ArmError, Kind, ResourceId};

/// The subnets of a VNet.
pub(super) fn subnets(document: &Document) -> impl Iterator<Item = ResourceId> {
    let properties = json::object(&document.body, "properties");
    let items = properties.into_iter();
    let items = items.flat_map(|properties| json::objects(properties, Kind::Subnet.list_name()));
    items
        .filter_map(|item| json::text(item, "name"))
        .map(|name| Kind::Subnet.id(document.id.group(), &[document.id.name(), name]))
}

/// The kinds that refer to one of a kind; not for peerings and the other end of a connection, which
/// may be left alone.
const fn users(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Subnet | Kind::PublicIpAddress => {
            &[Kind::NetworkInterface, Kind::VirtualNetworkGateway]
        }
        Kind::RouteTable => &[Kind::VirtualNetwork],
        Kind::NetworkSecurityGroup => &[Kind::VirtualNetwork, Kind::NetworkInterface],
        Kind::VirtualNetworkGateway | Kind::LocalNetworkGateway => &[Kind::Connection],
        _ => &[],
    }
}

/// Errors for those of `removed` that one of `documents` refers to, once each. Both are of what the
/// set leaves.
pub(super) fn check<'a>(
    removed: &BTreeMap<ResourceId, Kind>,
    documents: impl Iterator<Item = &'a Document>,
) -> Vec<ArmError> {
    let kinds: Vec<Kind> = removed
        .values()
        .flat_map(|kind| users(*kind))
        .copied()
        .collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let mut told: BTreeMap<ResourceId, ArmError> = BTreeMap::new();
    for document in documents.filter(|document| kinds.contains(&document.kind)) {
        references(document, &mut |kind, id, user| {
            if removed.get(&id) == Some(&kind) {
                let error = |id: &ResourceId| in_use(kind, id, &user);
                told.entry(id).or_insert_with_key(error);
            }
        });
    }
    told.into_values().collect()
}

fn in_use(kind: Kind, id: &ResourceId, user: &str) -> ArmError {
    let name = id.name();
    let (code, message) = match kind {
        Kind::Subnet => (
            "InUseSubnetCannotBeDeleted",
            format!(
                "Subnet {name} is in use by {user} and cannot be deleted. In order to delete the \
                 subnet, delete all the resources within the subnet."
            ),
        ),
        Kind::PublicIpAddress => (
            "PublicIPAddressCannotBeDeleted",
            format!(
                "Public IP address {id} can not be deleted since it is still allocated to resource \
                 {user}. In order to delete the public IP, disassociate/detach the Public IP \
                 address from the resource."
            ),
        ),
        Kind::RouteTable => (
            "InUseRouteTableCannotBeDeleted",
            format!("Route table {name} is in use by {user} and cannot be deleted."),
        ),
        Kind::NetworkSecurityGroup => (
            "InUseNetworkSecurityGroupCannotBeDeleted",
            format!("Network security group {id} is in use by {user} and cannot be deleted."),
        ),
        Kind::LocalNetworkGateway => (
            "InUseLocalNetworkGatewayCannotBeDeleted",
            format!(
                "Local network gateway {id} is in use by the connection {user}: delete that first."
            ),
        ),
        _ => (
            "InUseVirtualNetworkGatewayCannotBeDeleted",
            format!(
                "Virtual network gateway {id} is in use by the connection {user}: delete that first."
            ),
        ),
    };
    ArmError::new(code, message).at(id.as_str())
}

/// Calls with what a document refers to: its kind and id, and what in the document refers to it.
/// References that are none are the reader's to tell.
fn references(document: &Document, found: &mut dyn FnMut(Kind, ResourceId, String)) {
    let Some(properties) = json::object(&document.body, "properties") else {
        return;
    };
    let own = || document.id.to_string();
    let mut refer = |object: &Object, name: &str, kind: Kind, user: &dyn Fn() -> String| {
        let text = json::object(object, name).and_then(|reference| json::text(reference, "id"));
        if let Some(Ok(id)) = text.map(|text| kind.resolve(text, document.id.group())) {
            found(kind, id, user());
        }
    };
    match document.kind {
        Kind::VirtualNetwork => {
            for item in json::objects(properties, Kind::Subnet.list_name()) {
                let name = json::text(item, "name").unwrap_or_default();
                let user = || format!("{}/subnets/{name}", document.id);
                if let Some(properties) = json::object(item, "properties") {
                    refer(properties, "routeTable", Kind::RouteTable, &user);
                    refer(
                        properties,
                        "networkSecurityGroup",
                        Kind::NetworkSecurityGroup,
                        &user,
                    );
                }
            }
        }
        Kind::NetworkInterface => refer(
            properties,
            "networkSecurityGroup",
            Kind::NetworkSecurityGroup,
            &own,
        ),
        Kind::Connection => {
            for name in ["virtualNetworkGateway1", "virtualNetworkGateway2"] {
                refer(properties, name, Kind::VirtualNetworkGateway, &own);
            }
            let site = Kind::LocalNetworkGateway;
            refer(properties, "localNetworkGateway2", site, &own);
        }
        _ => {}
    }
    if has_ip_configurations(document.kind) {
        for item in json::objects(properties, IP_CONFIGURATIONS) {
            let name = json::text(item, "name").unwrap_or_default();
            let user = || format!("{}/{IP_CONFIGURATIONS}/{name}", document.id);
            if let Some(properties) = json::object(item, "properties") {
                refer(properties, "subnet", Kind::Subnet, &user);
                refer(properties, "publicIPAddress", Kind::PublicIpAddress, &user);
            }
        }
    }
}
