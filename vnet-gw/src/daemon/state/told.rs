//! What the daemon says of itself.

use std::{
    path::{PathBuf, absolute},
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{Daemon, time};
use crate::{
    control::{ConfigurationStatus, Snapshot, Status, VpnCounts},
    daemon::{Fabric, rows},
    datapath::PortState,
    metrics::{Collector, DatapathMetrics, SecurityMetrics},
    vpn::Tunnels,
};

impl<F: Fabric, T: Tunnels> Daemon<F, T> {
    pub(super) fn status(&self) -> Status {
        let Snapshot {
            topology, image, ..
        } = &*self.snapshot.borrow();
        let files = self.settings.files.as_ref();
        let vnets = &topology.virtual_networks;
        let file = |path: &PathBuf| absolute(path).unwrap_or_default().display().to_string();
        let ports = self.fabric.ports();
        Status {
            instance: self.settings.instance.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: time(self.started),
            hook: self.settings.hook.clone(),
            reconcile_interval_seconds: self.settings.reconcile_interval.as_secs(),
            configuration: ConfigurationStatus {
                file: files.map(|files| file(&files.template)),
                parameters: files.and_then(|files| files.parameters.as_ref()).map(file),
                generation: self.generation,
                applied: time(self.applied),
                last_error: self.last_error.clone(),
            },
            virtual_networks: vnets.len(),
            subnets: vnets.values().map(|vnet| vnet.subnets.len()).sum(),
            peerings: vnets.values().map(|vnet| vnet.peerings.len()).sum(),
            network_interfaces: topology.network_interfaces.len(),
            vpn: VpnCounts::default(),
            api: self.api.clone(),
            metrics: self.measured.map(|at| format!("http://{at}/metrics")),
            ports: image.ports.len(),
            ports_up: ports
                .iter()
                .filter(|port| port.state == PortState::Up)
                .count(),
            datapath: rows::datapath(self.fabric.stats()),
        }
    }

    /// Only what nobody else can read: the loop does nothing else meanwhile.
    pub(super) fn metrics(&self) -> Vec<Box<dyn Collector>> {
        let begun = Instant::now();
        let applied = self.applied.duration_since(SystemTime::UNIX_EPOCH);
        let mut all = self.fabric.collectors();
        let stats = self.fabric.stats();
        let (hits, flows) = self.fabric.security();
        all.push(Box::new(SecurityMetrics {
            hits,
            flows,
            room: stats.flow_room,
        }));
        let (ports, counters) = (self.fabric.ports(), self.fabric.counters().ok());
        all.push(Box::new(DatapathMetrics {
            image: Arc::clone(&self.snapshot.borrow().image),
            ports,
            device_stats: self.fabric.device_stats(),
            counters,
            stats,
            generation: self.generation,
            behind: self.last_error.is_some(),
            applied_seconds: applied.map_or(0.0, |since| since.as_secs_f64()),
            read_in: begun.elapsed(),
        }));
        all
    }
}
