//! Documents as a store keeps them: read one by one when they change, and what came of all of them
//! written back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vnet_gw_core::{
    model::{
        ArmError, Kind, NetworkInterface, ReadDocument, ResourceId, Topology, read_document, settle,
    },
    secret::Secret,
};

use crate::support::GROUP;

#[derive(Clone, Debug)]
pub(crate) struct Document {
    kind: Kind,
    body: Map<String, Value>,
    key: Option<Secret>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    documents: BTreeMap<ResourceId, Document>,
    pub(crate) read: BTreeMap<ResourceId, ReadDocument>,
    pub(crate) topology: Topology,
    /// How many documents were read since the store was made.
    pub(crate) reads: usize,
}

impl Store {
    /// With the resources of a template, which have no children of their own.
    pub(crate) fn of(resources: &[Value]) -> Self {
        let mut store = Self::default();
        store
            .change(|store| {
                resources
                    .iter()
                    .try_for_each(|resource| store.put(resource))
            })
            .unwrap_or_else(|error| panic!("{}", error.lines().join("\n")));
        store
    }

    /// Changes a copy; where all of it holds, that is the store.
    pub(crate) fn change(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), ArmError>,
    ) -> Result<(), ArmError> {
        let mut new = self.clone();
        change(&mut new)?;
        new.settle()?;
        *self = new;
        Ok(())
    }

    /// A PUT: what peerings remember, and dynamic addresses, stay.
    pub(crate) fn put(&mut self, resource: &Value) -> Result<(), ArmError> {
        let mut body = resource.as_object().expect("a resource").clone();
        let kind = body["type"].as_str().expect("a type").to_owned();
        let kind = Kind::from_type(&kind).expect("a known type");
        let id = kind.id(GROUP, &[body["name"].as_str().expect("a name")]);
        body.retain(|name, _| name != "type" && name != "name");
        let key = body
            .get_mut("properties")
            .and_then(Value::as_object_mut)
            .and_then(|properties| properties.remove("sharedKey"))
            .and_then(|key| Some(Secret::new(key.as_str()?)));
        if let Some(before) = self.documents.get(&id) {
            carry(&before.body, &mut body);
        }
        self.documents
            .insert(id.clone(), Document { kind, body, key });
        self.read(&id)
    }

    pub(crate) fn delete(&mut self, id: &ResourceId) {
        self.documents.remove(id);
        self.read.remove(id);
    }

    /// Takes properties of a peering, by its number, from the document of its network: it is put
    /// itself, and is new or synchronised.
    pub(crate) fn forget(
        &mut self,
        network: &ResourceId,
        number: usize,
        names: &[&str],
    ) -> Result<(), ArmError> {
        let missing = || ArmError::new("NotFound", "There is no such peering.");
        let document = self.documents.get_mut(network).ok_or_else(missing)?;
        let pointer = format!("/virtualNetworkPeerings/{number}/properties");
        let properties = document.body["properties"].pointer_mut(&pointer);
        let properties = properties.ok_or_else(missing)?;
        if let Some(properties) = properties.as_object_mut() {
            properties.retain(|name, _| !names.contains(&name.as_str()));
        }
        self.read(network)
    }

    /// Reads a document that was changed.
    fn read(&mut self, id: &ResourceId) -> Result<(), ArmError> {
        let Document { kind, body, key } = &self.documents[id];
        let read = read_document(id, *kind, body, "local", key.as_ref())?;
        self.reads += 1;
        self.read.insert(id.clone(), read);
        Ok(())
    }

    /// All of it read anew.
    pub(crate) fn anew(&self) -> Topology {
        let mut store = self.clone();
        let ids: Vec<ResourceId> = store.documents.keys().cloned().collect();
        for id in ids {
            store.read(&id).expect("a good document");
        }
        settle(store.read.values()).expect("a good topology")
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let all = self.read.values().flat_map(|read| &read.warnings);
        all.map(|warning| format!("{}: {}", warning.target, warning.message))
            .collect()
    }

    fn settle(&mut self) -> Result<(), ArmError> {
        let topology = settle(self.read.values())?;
        let mut changed = BTreeSet::new();
        for network in topology.virtual_networks.values() {
            for peering in network.peerings.values() {
                let document = self.documents.get_mut(&network.id).expect("its document");
                let list = &mut document.body["properties"]["virtualNetworkPeerings"];
                let items = list.as_array_mut().expect("its peerings");
                let item = items
                    .iter_mut()
                    .find(|item| item["name"] == peering.id.name());
                let properties = &mut item.expect("the peering")["properties"];
                let before = properties.clone();
                properties["peeringState"] = json!(peering.peering_state.as_str());
                properties["remoteAddressSpace"] =
                    json!({"addressPrefixes": peering.remote_address_space});
                if *properties != before {
                    changed.insert(network.id.clone());
                }
            }
        }
        for interface in topology.network_interfaces.values() {
            let document = self.documents.get_mut(&interface.id).expect("its document");
            let before = document.body.clone();
            write_interface(interface, &mut document.body);
            if document.body != before {
                changed.insert(interface.id.clone());
            }
        }
        for id in changed {
            self.read(&id)?;
        }
        // What was written back says what holds already.
        let again = settle(self.read.values())?;
        assert_eq!(again, topology);
        self.topology = again;
        Ok(())
    }
}

fn write_interface(interface: &NetworkInterface, body: &mut Map<String, Value>) {
    let [a, b, c, d, e, f] = interface.mac_address;
    body["properties"]["macAddress"] =
        json!(format!("{a:02X}-{b:02X}-{c:02X}-{d:02X}-{e:02X}-{f:02X}"));
    let items = body["properties"]["ipConfigurations"].as_array_mut();
    for item in items.expect("ipConfigurations") {
        let name = item["name"].as_str().expect("a name");
        let all = &interface.ip_configurations;
        let given = all.iter().find(|configuration| configuration.name == name);
        let address = given.expect("the ipConfiguration").private_ip_address;
        let method = &mut item["properties"]["privateIPAllocationMethod"];
        if method.is_null() {
            *method = json!("Dynamic");
        }
        item["properties"]["privateIPAddress"] = json!(address);
    }
}

/// What peerings remember, and what interfaces were given.
fn carry(before: &Map<String, Value>, after: &mut Map<String, Value>) {
    for (list, names) in [
        (
            "virtualNetworkPeerings",
            &["peeringState", "remoteAddressSpace"][..],
        ),
        ("ipConfigurations", &["privateIPAddress"][..]),
    ] {
        let old = before["properties"].get(list).and_then(Value::as_array);
        let new = after["properties"].get_mut(list);
        let (Some(old), Some(new)) = (old, new.and_then(Value::as_array_mut)) else {
            continue;
        };
        for item in new {
            let Some(same) = old.iter().find(|other| other["name"] == item["name"]) else {
                continue;
            };
            let dynamic = item["properties"]["privateIPAllocationMethod"] != "Static";
            let home = item["properties"]["subnet"] == same["properties"]["subnet"];
            for name in names {
                if let (Some(value), true) = (same["properties"].get(name), dynamic && home) {
                    item["properties"][name] = value.clone();
                }
            }
        }
    }
}
