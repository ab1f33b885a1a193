//! `routeTables`, `routeTables/routes`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{Reader, envelope::Envelope, virtual_network::NESTED};
use crate::model::{
    ArmError, Kind, Route, RouteNextHop, RouteTable,
    error::cut,
    object::{Neutral, Object, QUIET, READ, REFUSED, Rule, Schema},
    path::Path,
    template::node::Node,
};
use ipnet::IpNet;

const ROUTE_TABLE: Schema = &[
    ("routes", READ),
    ("disableBgpRoutePropagation", READ),
    ("subnets", QUIET),
    ("disablePeeringRoute", Rule::Refused(Neutral::Text("None"))),
    ("provisioningState", QUIET),
    ("resourceGuid", QUIET),
];

const ROUTE: Schema = &[
    ("addressPrefix", READ),
    ("nextHopType", READ),
    ("nextHopIpAddress", READ),
    ("nextHop", REFUSED),
    ("provisioningState", QUIET),
    ("hasBgpOverride", QUIET),
];

const VIRTUAL_APPLIANCE: &str = "VirtualAppliance";
const VIRTUAL_APPLIANCE_ECMP: &str = "VirtualApplianceEcmp";
const NEXT_HOP_TYPES: [&str; 6] = [
    "VirtualNetworkGateway",
    "VnetLocal",
    "Internet",
    VIRTUAL_APPLIANCE,
    VIRTUAL_APPLIANCE_ECMP,
    "None",
];

impl Reader<'_> {
    pub(super) fn route_table(&mut self, envelope: &Envelope<'_>) {
        let path = envelope.properties_path();
        let object = Object::open(envelope.properties, &path, ROUTE_TABLE, self.errors);
        let disable = object.boolean("disableBgpRoutePropagation", self.errors);
        let items = object.array("routes", self.errors);
        let mut routes = Vec::with_capacity(items.len());
        let list_path = path.key("routes");
        let mut names: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = list_path.index(index);
            let Some((name, route)) = self.nested_route(item, &path) else {
                continue;
            };
            if let Some(first) = names.insert(fold(name), index) {
                self.errors.push(
                    ArmError::new(
                        "DuplicateResourceName",
                        format!("The name '{name}' is that of routes[{first}] too: rename one."),
                    )
                    .at(path.to_string()),
                );
            }
            routes.extend(route);
        }
        let table = RouteTable {
            id: envelope.id.clone(),
            disable_bgp_route_propagation: disable.unwrap_or(false),
            routes,
            tags: envelope.tags.clone(),
        };
        self.draft.route_tables.insert(envelope.id.clone(), table);
    }

    fn nested_route<'v>(
        &mut self,
        item: &'v Node<'v>,
        path: &Path<'_>,
    ) -> Option<(&'v str, Option<Route>)> {
        let fields = Object::open(item, path, NESTED, self.errors);
        fields.needed_text("name", self.errors)?;
        let fields = item.as_object()?;
        let name = fields.get("name").and_then(Node::as_str)?;
        if let Err(error) = Kind::Route.check_name(name) {
            self.errors.push(error.at(path.key("name").to_string()));
        }
        let properties = fields.get("properties").unwrap_or(&Node::Null);
        Some((name, self.route(name, properties, &path.key("properties"))))
    }

    pub(super) fn route(
        &mut self,
        name: &str,
        properties: &Node<'_>,
        path: &Path<'_>,
    ) -> Option<Route> {
        let object = Object::open(properties, path, ROUTE, self.errors);
        let prefix = object.needed_text("addressPrefix", self.errors);
        let prefix = prefix.and_then(|text| self.route_prefix(text, &path.key("addressPrefix")));
        object.needed_text("nextHopType", self.errors)?;
        let next_hop_type = object.choice("nextHopType", &NEXT_HOP_TYPES, self.errors)?;
        let address_path = path.key("nextHopIpAddress");
        let address = match object.text("nextHopIpAddress", self.errors) {
            Some(text) => Some(self.address(text, &address_path)?),
            None => None,
        };
        let prefix = prefix?;
        let next_hop = next_hop(next_hop_type, address, &prefix);
        let next_hop = next_hop.map_err(|error| error.at(address_path.to_string()));
        let next_hop = self.errors.keep(next_hop)?;
        Some(Route {
            name: name.into(),
            address_prefix: prefix,
            next_hop,
        })
    }

    fn route_prefix(&mut self, text: &str, path: &Path<'_>) -> Option<IpNet> {
        // A service tag, `Storage.WestEurope`.
        if !text.contains(['/', ':']) && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.errors.push(
                ArmError::new(
                    "NotSupported",
                    format!(
                        "The service tag '{}' is not supported yet: write its prefixes.",
                        cut(text)
                    ),
                )
                .at(path.to_string()),
            );
            return None;
        }
        self.prefix(text, path)
    }
}

fn next_hop(
    next_hop_type: &str,
    address: Option<IpAddr>,
    prefix: &IpNet,
) -> Result<RouteNextHop, ArmError> {
    let wrong = |message: String| Err(ArmError::new("InvalidNextHopIpAddress", message));
    let plain = match next_hop_type {
        VIRTUAL_APPLIANCE => {
            return match address {
                None => wrong("VirtualAppliance needs a nextHopIpAddress: add it.".to_owned()),
                Some(a) if a.is_ipv4() != matches!(prefix, IpNet::V4(_)) => wrong(format!(
                    "The nextHopIpAddress {a} is not of the family of {prefix}: give one that is."
                )),
                Some(a) if a.is_unspecified() || a.is_loopback() || a.is_multicast() => wrong(
                    format!("{a} cannot be the address of an appliance: correct it."),
                ),
                Some(a) => Ok(RouteNextHop::VirtualAppliance(a)),
            };
        }
        VIRTUAL_APPLIANCE_ECMP => {
            return Err(ArmError::new(
                "NotSupported",
                "VirtualApplianceEcmp is not supported yet: use VirtualAppliance.",
            ));
        }
        "VirtualNetworkGateway" => RouteNextHop::VirtualNetworkGateway,
        "VnetLocal" => RouteNextHop::VnetLocal,
        "Internet" => RouteNextHop::Internet,
        _ => RouteNextHop::None,
    };
    match address {
        None => Ok(plain),
        Some(_) => wrong(format!(
            "{next_hop_type} has no nextHopIpAddress: remove it."
        )),
    }
}

/// In lower case; a name that is so already is not copied.
pub(super) fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

pub(super) trait Merge {
    /// Adds routes; those of the same name are replaced.
    fn merge(&mut self, routes: Vec<Route>);
}

impl Merge for RouteTable {
    fn merge(&mut self, routes: Vec<Route>) {
        let new: BTreeMap<Cow<'_, str>, ()> =
            routes.iter().map(|route| (fold(&route.name), ())).collect();
        self.routes
            .retain(|route| !new.contains_key(&fold(&route.name)));
        drop(new);
        self.routes.extend(routes);
    }
}
