//! Which ports are traced, and for whom.

use std::{collections::BTreeMap, sync::Arc};

use vnet_gw_core::model::ResourceId;

use super::{Daemon, datapath_error};
use crate::{
    control::{ErrorCode, ErrorReply, TraceFeed, short},
    daemon::{Fabric, trace::TracedPort},
    vpn::Tunnels,
};

impl<F: Fabric, T: Tunnels> Daemon<F, T> {
    pub(super) fn trace(
        &mut self,
        nic: ResourceId,
        every: u32,
        feed: TraceFeed,
    ) -> Result<(), ErrorReply> {
        if !self.snapshot.borrow().image.ports.contains_key(&nic) {
            let message = format!(
                "networkInterface {}: it is no port of this host; give it the tag vnet-gw:device, \
                 or trace on the host where it lives",
                short(nic.as_str())
            );
            return Err(ErrorReply::new(ErrorCode::Name, message));
        }
        let fabric = &self.fabric;
        self.tracer
            .listen(|sink| fabric.trace_log(sink))
            .map_err(|error| {
                ErrorReply::new(ErrorCode::Datapath, format!("the programs' log: {error}"))
            })?;
        self.describe_traces();
        self.tracer.subscribe(nic.clone(), every, feed);
        let wanted = self.tracer.sweep().get(&nic).copied().flatten();
        self.fabric.set_trace(&nic, wanted).map_err(|error| {
            self.tracer
                .end("the trace could not be switched on", |one| *one == nic);
            datapath_error(error)
        })
    }

    pub(super) fn sweep_traces(&mut self) {
        for (nic, every) in self.tracer.sweep() {
            if let Err(error) = self.fabric.set_trace(&nic, every) {
                log::warn!("trace of {nic}: {error}");
            }
        }
    }

    /// After a change of ports or routes.
    pub(super) fn refresh_traces(&mut self) {
        if self.tracer.is_idle() {
            return;
        }
        let image = Arc::clone(&self.snapshot.borrow().image);
        self.tracer
            .end("the networkInterface is no port any more", |nic| {
                !image.ports.contains_key(nic)
            });
        self.describe_traces();
        // A port that was made anew does not know that it is traced; and a client may be gone.
        let traced = self.tracer.sweep();
        for (nic, every) in traced
            .iter()
            .filter(|(nic, _)| image.ports.contains_key(*nic))
        {
            if let Err(error) = self.fabric.set_trace(nic, *every) {
                log::warn!("trace of {nic}: {error}");
            }
        }
    }

    fn describe_traces(&mut self) {
        let snapshot = self.snapshot.borrow().clone();
        let ports: BTreeMap<u32, TracedPort> = self
            .fabric
            .ports()
            .into_iter()
            .map(|port| {
                let image = snapshot.image.ports.get(&port.nic);
                let subnet = image.map(|image| image.subnet.clone());
                (
                    port.port_id,
                    TracedPort {
                        nic: port.nic,
                        device: port.device,
                        subnet,
                    },
                )
            })
            .collect();
        self.tracer.describe(snapshot, ports);
    }
}
