//! Resources as clients see them: Azure's shape, with what follows from other resources and from
//! the running tunnels.
//!
//! [`show`] answers a GET, [`list`](fn@list) says which resources a list has. What a client wrote
//! is shown again, properties that nobody knows here included; what it left out is filled in as
//! Azure does; what only the server says (`provisioningState`, back references, assigned addresses,
//! `peeringState`, bytes) is the server's whatever was written. A shared key is never shown.

mod connection;
mod gateway;
mod group;
mod ike_sas;
mod index;
mod list;
mod names;
mod network_interface;
mod public_ip_address;
mod route_table;
mod security;
#[cfg(test)]
mod tests;
mod values;
mod virtual_network;
mod written;

use std::net::IpAddr;

use serde_json::{Map, Value};

pub use connection::shared_key;
pub use group::group;
pub use ike_sas::ike_sas;
pub use index::References;
pub use list::list;
pub use network_interface::effective_routes;
pub use security::{effective_groups, security_group_view};

use super::{Document, ProvisioningState, State, Target};
use crate::model::{Kind, ResourceId};
use written::{Identity, Properties, envelope, field};

/// What only the running daemon knows.
pub trait Live {
    /// Nothing where the connection is not on this host.
    fn connection(&self, id: &ResourceId) -> Option<ConnectionLive>;
}

/// Nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLive;

impl Live for NoLive {
    fn connection(&self, _: &ResourceId) -> Option<ConnectionLive> {
        None
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionLive {
    /// `Unknown`, `Connecting`, `Connected` or `NotConnected`.
    pub status: String,
    pub ingress_bytes: u64,
    pub egress_bytes: u64,
    pub tunnels: Vec<TunnelLive>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TunnelLive {
    pub local: IpAddr,
    pub remote: IpAddr,
    pub status: String,
    pub ingress_bytes: u64,
    pub egress_bytes: u64,
    /// RFC 3339, UTC.
    pub last_established: Option<String>,
}

/// The resource as a GET answers it; nothing where there is none. `live` is asked for what the
/// resource needs only.
pub fn show(state: &State, target: &Target, live: &dyn Live) -> Option<Value> {
    let document = state.documents.get(&target.document)?;
    let view = View {
        state,
        document,
        provisioning: state.provisioning(&document.id),
        live,
    };
    if target.id == target.document {
        return (document.kind == target.kind).then(|| view.whole());
    }
    if target.kind.parent() != Some(document.kind) {
        return None;
    }
    let name = target.id.name();
    let child = children(document, target.kind)
        .find(|child| child_name(child).is_some_and(|other| other.eq_ignore_ascii_case(name)))?;
    view.child(target.kind, child)
}

/// The items of a list in the document's properties, as they were written.
fn items<'a>(document: &'a Document, list: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    let properties = field(&document.body, "properties").and_then(Value::as_object);
    let items = properties
        .and_then(|properties| field(properties, list))
        .and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_object)
}

fn children(document: &Document, kind: Kind) -> impl Iterator<Item = &Map<String, Value>> {
    items(document, kind.list_name())
}

fn child_name(child: &Map<String, Value>) -> Option<&str> {
    field(child, "name").and_then(Value::as_str)
}

/// One document, and what else it takes to show it.
struct View<'a> {
    state: &'a State,
    document: &'a Document,
    provisioning: ProvisioningState,
    live: &'a dyn Live,
}

impl View<'_> {
    /// The document's resource with all of its children.
    fn whole(&self) -> Value {
        let Document { id, kind, body, .. } = self.document;
        let mut properties = self.properties(*kind, body);
        let mut body = std::borrow::Cow::Borrowed(body);
        match kind {
            Kind::VirtualNetwork => self.virtual_network(&mut properties),
            Kind::NetworkInterface => self.network_interface(&mut properties),
            Kind::RouteTable => self.route_table(&mut properties),
            Kind::NetworkSecurityGroup => self.network_security_group(&mut properties),
            Kind::PublicIpAddress => {
                public_ip_address::sku(body.to_mut());
                self.public_ip_address(&mut properties);
            }
            Kind::VirtualNetworkGateway => self.virtual_network_gateway(&mut properties),
            Kind::Connection => self.connection(&mut properties),
            Kind::NetworkWatcher => {
                properties.set("runningOperationIds", Vec::<Value>::new());
            }
            // Local network gateways and application security groups are what was written.
            _ => {}
        }
        self.identified(
            id.as_str(),
            id.name(),
            kind.resource_type(),
            &body,
            properties,
        )
    }

    /// A child, alone or in its parent; nothing of one without a name.
    fn child(&self, kind: Kind, child: &Map<String, Value>) -> Option<Value> {
        let name = child_name(child)?;
        let id = format!("{}/{}/{name}", self.document.id, kind.list_name());
        let mut properties = self.properties(kind, child);
        match kind {
            Kind::Subnet => self.subnet(&ResourceId::new(&id), &mut properties),
            Kind::VirtualNetworkPeering => self.peering(&ResourceId::new(&id), &mut properties),
            Kind::Route => properties.default("hasBgpOverride", false),
            Kind::SecurityRule => self.security_rule(&mut properties),
            _ => {}
        }
        Some(self.identified(&id, name, kind.resource_type(), child, properties))
    }

    /// Shows the children of `kind` in the properties of their parent.
    fn children(&self, kind: Kind, properties: &mut Properties) {
        let shown = children(self.document, kind).filter_map(|child| self.child(kind, child));
        properties.set(kind.list_name(), shown.collect::<Vec<_>>());
    }

    fn properties(&self, kind: Kind, item: &Map<String, Value>) -> Properties {
        let without = names::served(kind);
        Properties::of(item, names::of(kind), without, self.provisioning)
    }

    fn location(&self) -> Option<String> {
        self.state.location(self.document)
    }

    /// With the document's etag, which its parts share.
    fn identified(
        &self,
        id: &str,
        name: &str,
        resource_type: &str,
        written: &Map<String, Value>,
        properties: Properties,
    ) -> Value {
        let identity = Identity {
            id,
            name,
            resource_type,
            etag: &self.document.etag,
            location: (id == self.document.id.as_str())
                .then(|| self.location())
                .flatten(),
        };
        envelope(&identity, written, properties)
    }

    /// Shows the ipConfigurations of a NIC or gateway; `fill` adds what was worked out for the one
    /// of a name.
    fn ip_configurations(
        &self,
        known: &'static [&'static str],
        properties: &mut Properties,
        fill: impl Fn(&str, &mut Properties),
    ) {
        let list = "ipConfigurations";
        let resource_type = format!("{}/{list}", self.document.kind.resource_type());
        let shown = items(self.document, list).filter_map(|item| {
            let name = child_name(item)?;
            let id = format!("{}/{list}/{name}", self.document.id);
            let mut properties = Properties::of(item, known, &[], self.provisioning);
            fill(name, &mut properties);
            Some(self.identified(&id, name, &resource_type, item, properties))
        });
        properties.set(list, shown.collect::<Vec<_>>());
    }

    /// A reference shows the id and nothing else of what was written, in the case of the resource
    /// that it means.
    fn reference(&self, properties: &mut Properties, name: &str) {
        let Some(reference) = properties.get(name) else {
            return;
        };
        match reference.get("id").and_then(Value::as_str) {
            Some(id) => {
                let id = ResourceId::new(id);
                let shown = self.reference_to(&id);
                properties.set(name, shown);
            }
            None => properties.remove(name),
        }
    }

    /// The same of a list of them.
    fn references(&self, properties: &mut Properties, name: &str) {
        let Some(Value::Array(written)) = properties.get(name) else {
            return properties.remove(name);
        };
        let ids = written.iter().filter_map(|item| item.get("id")?.as_str());
        let shown = ids.map(|id| self.reference_to(&ResourceId::new(id)));
        let shown: Vec<Value> = shown.collect();
        match shown.is_empty() {
            true => properties.remove(name),
            false => properties.set(name, shown),
        }
    }

    fn reference_to(&self, id: &ResourceId) -> Value {
        let known = self.state.documents.get_key_value(id);
        reference(known.map_or(id, |(known, _)| known))
    }

    /// The same of a subnet, which is no document.
    fn reference_to_subnet(&self, id: &ResourceId) -> Value {
        let topology = &self.state.topology;
        let known = topology
            .vnet_of_subnet(id)
            .and_then(|vnet| vnet.subnets.get_key_value(id));
        reference(known.map_or(id, |(known, _)| known))
    }
}

fn reference(id: &ResourceId) -> Value {
    serde_json::json!({ "id": id.as_str() })
}
