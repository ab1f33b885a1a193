//! Virtual machines, of which all that is known here is which network interfaces they have.

use std::collections::BTreeMap;

use crate::model::{NetworkInterface, ResourceId, Topology};

const TYPE: &str = "Microsoft.Compute/virtualMachines";

/// `Microsoft.Compute/virtualMachines`, as far as it follows from networkInterfaces.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    pub id: ResourceId,
    /// In the order of their ids; the first is the primary one.
    pub interfaces: Vec<&'a NetworkInterface>,
}

/// The id of the virtual machine that the NIC is in.
pub fn machine_of(nic: &NetworkInterface) -> ResourceId {
    let tag = nic.tags.get(NetworkInterface::TAG_MACHINE);
    match tag.map(|name| name.trim()) {
        Some(id) if id.starts_with('/') => ResourceId::new(id),
        name => {
            let name = name.unwrap_or_else(|| nic.id.name());
            ResourceId::new(&format!("{}/providers/{TYPE}/{name}", nic.id.group()))
        }
    }
}

/// All of them, by id.
pub fn machines(topology: &Topology) -> BTreeMap<ResourceId, Machine<'_>> {
    let mut machines = BTreeMap::new();
    for nic in topology.network_interfaces.values() {
        let id = machine_of(nic);
        let machine = machines.entry(id.clone()).or_insert_with(|| Machine {
            id,
            interfaces: Vec::new(),
        });
        machine.interfaces.push(&**nic);
    }
    machines
}

/// The one with the id.
pub fn machine<'a>(topology: &'a Topology, id: &ResourceId) -> Option<Machine<'a>> {
    let interfaces = topology.network_interfaces.values().map(|nic| &**nic);
    let interfaces: Vec<_> = interfaces.filter(|nic| machine_of(nic) == *id).collect();
    let first = interfaces.first()?;
    Some(Machine {
        id: machine_of(first),
        interfaces,
    })
}
