//! One gateway: its image, and its worker, which runs or is tried again.

use std::{net::IpAddr, time::Instant};

use vnet_gw_core::compile::GatewayImage;

use super::{
    edges::{WorkerHandle, Workers},
    tunnels::unhurried,
};
use crate::{
    vpn::status::{ConnectionStatus, GatewayStatus, InstanceStatus, TunnelStatus},
    worker::{EngineChoice, TunnelCounters},
};

pub(super) struct Gateway<W> {
    /// As configured.
    pub(super) image: GatewayImage,
    life: Life<W>,
}

enum Life<W> {
    /// With the image it was last given.
    Up { worker: W, given: GatewayImage },
    Down {
        /// Empty before the first attempt.
        reason: String,
        retry: Instant,
        attempts: u32,
    },
}

impl<W: WorkerHandle> Gateway<W> {
    pub(super) fn new(image: GatewayImage, now: Instant) -> Self {
        Self {
            image,
            life: Life::Down {
                reason: String::new(),
                retry: now,
                attempts: 0,
            },
        }
    }

    /// Whether a running worker can go on with that image: its tap stays.
    pub(super) fn can_become(&self, image: &GatewayImage) -> bool {
        self.image.device == image.device && self.image.mac == image.mac
    }

    pub(super) fn worker(&self) -> Option<&W> {
        match &self.life {
            Life::Up { worker, .. } => Some(worker),
            Life::Down { .. } => None,
        }
    }

    pub(super) fn worker_mut(&mut self) -> Option<&mut W> {
        match &mut self.life {
            Life::Up { worker, .. } => Some(worker),
            Life::Down { .. } => None,
        }
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        let mut instances = self.image.instances.iter();
        instances.any(|instance| instance.public_address == address)
    }

    /// Starts the worker where that is due; gives a running one the image where it is another.
    /// `absent` tells which addresses the host does not have.
    pub(super) fn run<S: Workers<Worker = W>>(
        &mut self,
        now: Instant,
        workers: &mut S,
        engine: EngineChoice,
        absent: impl Fn(IpAddr) -> bool,
    ) {
        let mut wanted = self.image.clone();
        wanted.instances.retain(|one| !absent(one.public_address));
        match &mut self.life {
            Life::Up { given, .. } if *given == wanted => {}
            Life::Up { worker, given } => {
                worker.configure(&wanted);
                *given = wanted;
            }
            Life::Down { retry, .. } if *retry > now => {}
            Life::Down { .. } => match workers.start(&wanted, engine) {
                Ok(worker) => {
                    log::info!("gateway {}: up on {}", self.image.id.name(), wanted.device);
                    self.life = Life::Up {
                        worker,
                        given: wanted,
                    };
                }
                Err(reason) => self.failed(now, reason),
            },
        }
    }

    /// It works no more, or still not; it is tried again after a while.
    pub(super) fn failed(&mut self, now: Instant, reason: String) {
        let attempts = match &self.life {
            Life::Up { .. } => 0,
            Life::Down { attempts, .. } => *attempts,
        };
        if self.trouble() != Some(&reason) {
            log::error!("gateway {}: {reason}", self.image.id.name());
        }
        let down = Life::Down {
            reason,
            retry: now + unhurried(attempts),
            attempts: attempts.saturating_add(1),
        };
        if let Life::Up { worker, .. } = std::mem::replace(&mut self.life, down) {
            worker.stop();
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match &self.life {
            Life::Up { .. } => None,
            Life::Down { retry, .. } => Some(*retry),
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.retry_at().is_some_and(|at| at <= now)
    }

    /// Why it does not work.
    pub(super) fn trouble(&self) -> Option<&str> {
        match &self.life {
            Life::Up { .. } => None,
            Life::Down { reason, .. } => Some(reason),
        }
    }

    pub(super) fn stop(self) {
        if let Life::Up { worker, .. } = self.life {
            worker.stop();
        }
    }

    /// Without what is known of its tunnels.
    pub(super) fn status(&self, trouble: impl Fn(IpAddr) -> Option<String>) -> GatewayStatus {
        let GatewayImage {
            id,
            device,
            bandwidth,
            instances,
            connections,
            ..
        } = &self.image;
        let instances = instances.iter().map(|instance| InstanceStatus {
            name: instance.name.clone(),
            private_address: instance.private_address,
            public_address: instance.public_address,
            trouble: trouble(instance.public_address),
        });
        let connections = connections.iter().map(|connection| ConnectionStatus {
            id: connection.id.clone(),
            vnet_to_vnet: connection.vnet_to_vnet,
            remote_prefixes: connection.remote_prefixes.clone(),
            tunnels: connection
                .tunnels
                .iter()
                .map(|tunnel| TunnelStatus {
                    id: tunnel.id,
                    local: tunnel.local,
                    remote: tunnel.remote,
                    state: Default::default(),
                    reason: String::new(),
                    silent: false,
                    last_established: None,
                    counters: TunnelCounters::default(),
                    sas: Default::default(),
                })
                .collect(),
        });
        GatewayStatus {
            id: id.clone(),
            device: device.clone(),
            trouble: self.trouble().map(str::to_owned),
            bandwidth: *bandwidth,
            instances: instances.collect(),
            worker: self.worker().map(WorkerHandle::stats),
            connections: connections.collect(),
        }
    }
}
