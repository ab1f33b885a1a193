//! What is in use does not go: every reference to a resource that a set removes is told.

use std::collections::BTreeMap;

use super::{Document, json};
use crate::model::{ArmError, Kind, ReadDocument, ResourceId};

/// The subnets of a VNet.
pub(super) fn subnets(document: &Document) -> impl Iterator<Item = ResourceId> {
    let properties = json::object(&document.body, "properties");
    let items = properties.into_iter();
    let items = items.flat_map(|properties| json::objects(properties, Kind::Subnet.list_name()));
    items
        .filter_map(|item| json::text(item, "name"))
        .map(|name| Kind::Subnet.id(document.id.group(), &[document.id.name(), name]))
}

/// Errors for those of `removed` that one of `documents` refers to, once each. Both are of what the
/// set leaves.
pub(super) fn check<'a>(
    removed: &BTreeMap<ResourceId, Kind>,
    documents: impl Iterator<Item = &'a ReadDocument>,
) -> Vec<ArmError> {
    let mut told: BTreeMap<&ResourceId, ArmError> = BTreeMap::new();
    for document in documents {
        for reference in document.references() {
            if let Some((id, kind)) = removed.get_key_value(reference.to)
                && *kind == reference.kind
            {
                let error = |id: &&ResourceId| in_use(*kind, id, reference.from);
                told.entry(id).or_insert_with_key(error);
            }
        }
    }
    told.into_values().collect()
}

/// An error where one of `documents` uses the gateway `id`, which was that of the VNet `hub`, by
/// gateway transit (A24), and there is no other in its place.
pub(super) fn transit<'a>(
    id: &ResourceId,
    hub: &ResourceId,
    documents: impl Iterator<Item = &'a ReadDocument>,
) -> Option<ArmError> {
    let mut user = None;
    for document in documents {
        if document.is_gateway_of(hub) {
            return None;
        }
        user = user.or_else(|| document.uses_gateway_of(hub));
    }
    let user = user?;
    let message = format!(
        "Virtual network gateway {id} is in use by the peering {user} and cannot be deleted: set \
         useRemoteGateways of the peering to false first."
    );
    Some(ArmError::new("InUseVirtualNetworkGatewayCannotBeDeleted", message).at(id.as_str()))
}

fn in_use(kind: Kind, id: &ResourceId, user: &ResourceId) -> ArmError {
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
        Kind::ApplicationSecurityGroup => (
            "InUseApplicationSecurityGroupCannotBeDeleted",
            format!(
                "Application security group {name} cannot be deleted because it is referenced by \
                 {user}."
            ),
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
