//! Circles of appliances: a warning for whoever writes what closes one.
//!
//! To find them takes a walk over all resources, so only a change that can close one asks for it, and
//! all changes of one batch, which come to one topology, share the answer.

use std::sync::{Arc, Weak};

use tokio::{sync::Mutex, task::spawn_blocking};
use vnet_gw_core::{
    arm::Target,
    compile::CompileOptions,
    model::{
        Kind, NetworkInterface, ResourceId, RouteNextHop, RouteTable, Topology, VirtualNetwork,
        Warning,
    },
    watcher::Predictor,
};

/// Those of the topology that was asked about last.
#[derive(Debug, Default)]
pub struct Circles {
    last: Mutex<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    of: Weak<Topology>,
    circles: Arc<[Circle]>,
}

#[derive(Debug)]
struct Circle {
    /// Whose routes are gone round by: network interfaces, their subnets, virtual networks and route
    /// tables.
    by: Vec<ResourceId>,
    text: String,
}

impl Circles {
    /// What to tell whoever wrote the resource, now that the topology is this, on this host.
    pub(super) async fn of(
        &self,
        target: &Target,
        topology: &Arc<Topology>,
        host: Option<&str>,
    ) -> Vec<Warning> {
        let Some(asked) = member(target) else {
            return Vec::new();
        };
        let (kind, id, after) = (target.kind, asked.clone(), Arc::clone(topology));
        let may = spawn_blocking(move || may_close(&after, kind, &id)).await;
        if !may.unwrap_or(false) {
            return Vec::new();
        }
        let all = self.all(topology, host).await;
        let own = all.iter().filter(|circle| circle.by.contains(asked));
        own.map(|circle| Warning {
            target: target.id.to_string(),
            message: circle.text.clone(),
        })
        .collect()
    }

    async fn all(&self, topology: &Arc<Topology>, host: Option<&str>) -> Arc<[Circle]> {
        // Held while they are looked for: others of the batch wait for the answer.
        let mut last = self.last.lock().await;
        if let Some(found) = &*last
            && (found.of.upgrade()).is_some_and(|of| Arc::ptr_eq(&of, topology))
        {
            return Arc::clone(&found.circles);
        }
        let (after, host) = (Arc::clone(topology), host.map(str::to_owned));
        let found = spawn_blocking(move || circles(&after, host.as_deref()));
        let circles: Arc<[Circle]> = match found.await {
            Ok(found) => found.into(),
            Err(_) => return Arc::default(),
        };
        *last = Some(Found {
            of: Arc::downgrade(topology),
            circles: Arc::clone(&circles),
        });
        circles
    }
}

/// What of a circle's members stands for the resource.
fn member(target: &Target) -> Option<&ResourceId> {
    match target.kind {
        Kind::RouteTable | Kind::Route | Kind::VirtualNetwork | Kind::VirtualNetworkPeering => {
            Some(&target.document)
        }
        Kind::Subnet | Kind::NetworkInterface => Some(&target.id),
        _ => None,
    }
}

/// Whether the resource has to do with a route that leads to an appliance.
fn may_close(topology: &Topology, kind: Kind, id: &ResourceId) -> bool {
    let leads = |table: &ResourceId| {
        let table = topology.route_tables.get(table);
        table.is_some_and(|table| has_appliance(table))
    };
    let of_subnet = |subnet: &ResourceId| {
        let vnet = topology.vnet_of_subnet(subnet);
        let subnet = vnet.and_then(|vnet| vnet.subnets.get(subnet));
        subnet.is_some_and(|subnet| subnet.route_table.as_ref().is_some_and(leads))
    };
    match kind {
        Kind::RouteTable | Kind::Route => leads(id),
        Kind::Subnet => of_subnet(id),
        Kind::VirtualNetwork | Kind::VirtualNetworkPeering => {
            let vnet = topology.virtual_networks.get(id);
            let tables = vnet.into_iter().flat_map(|vnet| tables(vnet));
            tables.into_iter().any(leads)
        }
        Kind::NetworkInterface => {
            let nic = topology.network_interfaces.get(id);
            nic.is_some_and(|nic| nic.enable_ip_forwarding && subnet(nic).is_some_and(of_subnet))
        }
        _ => false,
    }
}

fn tables(vnet: &VirtualNetwork) -> impl Iterator<Item = &ResourceId> {
    let subnets = vnet.subnets.values();
    subnets.filter_map(|subnet| subnet.route_table.as_ref())
}

fn has_appliance(table: &RouteTable) -> bool {
    let mut routes = table.routes.iter();
    routes.any(|route| matches!(route.next_hop, RouteNextHop::VirtualAppliance(_)))
}

fn subnet(nic: &NetworkInterface) -> Option<&ResourceId> {
    nic.ip_configurations.first().map(|one| &one.subnet)
}

fn circles(topology: &Topology, host: Option<&str>) -> Vec<Circle> {
    let options = CompileOptions {
        host_name: host,
        ..CompileOptions::default()
    };
    let predictor = Predictor::new(topology, options);
    let loops = predictor.route_loops().into_iter().map(|found| {
        let mut by = Vec::new();
        for nic in &found.appliances {
            by.push(nic.id.clone());
            let Some(subnet) = subnet(nic) else { continue };
            by.push(subnet.clone());
            let vnet = topology.vnet_of_subnet(subnet);
            by.extend(vnet.map(|vnet| vnet.id.clone()));
            let table = vnet.and_then(|vnet| vnet.subnets.get(subnet)?.route_table.clone());
            by.extend(table);
        }
        let text = found.to_string();
        Circle { by, text }
    });
    loops.collect()
}
