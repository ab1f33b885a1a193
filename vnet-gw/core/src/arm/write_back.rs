//! What settling gave a resource, written into its document, so that it stays: dynamic addresses,
//! MAC addresses, and what a peering remembers.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    Document,
    carry::{ADDRESS, IP_CONFIGURATIONS, PEERING_STATE, REMOTE_ADDRESS_SPACE, is_dynamic},
    json::{self, Object},
};
use crate::model::{Kind, Topology, VirtualNetworkPeering};

/// A property that a document lacks, or has another value of.
pub(super) struct Assigned {
    place: Place,
    name: &'static str,
    value: Value,
}

/// Whose properties it is in.
#[derive(Clone, Copy)]
enum Place {
    Resource,
    /// An item of a list in the resource's properties.
    Item(&'static str, usize),
}

/// What is to be written into a document.
pub(super) fn assigned(document: &Document, topology: &Topology) -> Vec<Assigned> {
    let mut list = Vec::new();
    let Some(properties) = json::object(&document.body, "properties") else {
        return list;
    };
    let id = &document.id;
    match document.kind {
        Kind::VirtualNetwork => {
            if let Some(network) = topology.virtual_networks.get(id) {
                let find = |name: &str| {
                    let kind = Kind::VirtualNetworkPeering;
                    let id = kind.id(id.group(), &[id.name(), name]);
                    network.peerings.get(&id)
                };
                peerings(properties, &mut list, find);
            }
        }
        Kind::NetworkInterface => {
            if let Some(interface) = topology.network_interfaces.get(id) {
                let configurations = &interface.ip_configurations;
                addresses(properties, &mut list, |name| {
                    let found = configurations.iter().find(|known| known.name == name)?;
                    Some(found.private_ip_address)
                });
                if json::text(properties, MAC_ADDRESS).is_none_or(str::is_empty) {
                    list.push(Assigned {
                        place: Place::Resource,
                        name: MAC_ADDRESS,
                        value: mac_address(interface.mac_address).into(),
                    });
                }
            }
        }
        Kind::VirtualNetworkGateway => {
            if let Some(gateway) = topology.virtual_network_gateways.get(id) {
                let configurations = &gateway.ip_configurations;
                addresses(properties, &mut list, |name| {
                    let found = configurations.iter().find(|known| known.name == name)?;
                    Some(found.private_ip_address)
                });
            }
        }
        _ => {}
    }
    list
}

/// Writes it.
pub(super) fn write(body: &mut Object, assigned: Vec<Assigned>) {
    let Some(properties) = json::object_mut(body, "properties") else {
        return;
    };
    for Assigned { place, name, value } in assigned {
        let place = match place {
            Place::Resource => Some(&mut *properties),
            Place::Item(list, index) => json::get_mut(properties, list)
                .and_then(|list| list.get_mut(index))
                .and_then(Value::as_object_mut)
                .and_then(|item| json::make_object(item, "properties")),
        };
        if let Some(place) = place {
            json::set(place, name, value);
        }
    }
}

const MAC_ADDRESS: &str = "macAddress";

/// As Azure writes it.
fn mac_address(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02X}")).join("-")
}

fn addresses(
    properties: &Object,
    list: &mut Vec<Assigned>,
    address_of: impl Fn(&str) -> Option<IpAddr>,
) {
    for (index, name, item) in items(properties, IP_CONFIGURATIONS) {
        let written = json::text(item, ADDRESS).and_then(|text| text.trim().parse().ok());
        if let Some(given) = address_of(name).filter(|_| is_dynamic(item))
            && written != Some(given)
        {
            list.push(Assigned {
                place: Place::Item(IP_CONFIGURATIONS, index),
                name: ADDRESS,
                value: given.to_string().into(),
            });
        }
    }
}

fn peerings<'a>(
    properties: &Object,
    list: &mut Vec<Assigned>,
    find: impl Fn(&str) -> Option<&'a VirtualNetworkPeering>,
) {
    let items_of = Kind::VirtualNetworkPeering.list_name();
    for (index, name, item) in items(properties, items_of) {
        let Some(peering) = find(name) else {
            continue;
        };
        let state = peering.peering_state.as_str();
        let prefixes = peering.remote_address_space.iter();
        let prefixes: Vec<String> = prefixes.map(ToString::to_string).collect();
        let space = json!({ "addressPrefixes": prefixes });
        for (name, value) in [(PEERING_STATE, state.into()), (REMOTE_ADDRESS_SPACE, space)] {
            if json::get(item, name) != Some(&value) {
                list.push(Assigned {
                    place: Place::Item(items_of, index),
                    name,
                    value,
                });
            }
        }
    }
}

/// The items of a list that have names and properties.
fn items<'a>(
    properties: &'a Object,
    list: &str,
) -> impl Iterator<Item = (usize, &'a str, &'a Object)> {
    let items = json::get(properties, list).and_then(Value::as_array);
    let items = items.into_iter().flatten().enumerate();
    items.filter_map(|(index, item)| {
        let item = item.as_object()?;
        let properties = json::object(item, "properties")?;
        Some((index, json::text(item, "name")?, properties))
    })
}
