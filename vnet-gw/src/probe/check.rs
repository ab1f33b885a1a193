//! The probes of a connectivity check.

use std::{net::IpAddr, time::Duration};

use tokio::sync::{mpsc, oneshot};
use vnet_gw_core::{
    model::NetworkInterface,
    probe::{Outcome, Protocol},
    watcher::Packet,
};

use super::ProbeSpec;
use crate::control::Asked;

/// Of one check: it takes a second where each is answered, and three where none is.
const COUNT: u16 = 10;
const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(2);

impl ProbeSpec {
    /// What tries out the way of a packet; `None` where no probe can be like it. Whether the
    /// networkInterface has a port here, the prober finds out.
    pub fn of_check(nic: &NetworkInterface, packet: &Packet) -> Option<Self> {
        let protocol = match packet.protocol {
            Packet::TCP if packet.destination_port != 0 => Protocol::Tcp {
                port: packet.destination_port,
            },
            Packet::ICMP | Packet::ICMPV6 => Protocol::Icmp,
            _ => return None,
        };
        is_unicast(packet.destination).then(|| Self {
            from: nic.id.clone(),
            source: Some(packet.source),
            to: packet.destination,
            protocol,
            count: COUNT,
            interval: INTERVAL,
            patience: PATIENCE,
        })
    }

    /// What became of each try, once all is known; `None` where they cannot be sent: the
    /// networkInterface is no port of this host, or not up, or too many probes are under way.
    pub async fn send(self, loop_of: &mpsc::Sender<Asked>) -> Option<Vec<Outcome>> {
        let (answer, answered) = oneshot::channel();
        let spec = Box::new(self);
        loop_of.send(Asked::Probe { spec, answer }).await.ok()?;
        match answered.await.ok()? {
            Ok(report) => Some(report.outcomes),
            Err(error) => {
                log::debug!(
                    "a connectivity check is by prediction alone: {}",
                    error.message
                );
                None
            }
        }
    }
}

/// Whether it can be the address of one host elsewhere.
pub fn is_unicast(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    !(special || address.is_multicast() || address.is_unspecified() || address.is_loopback())
}
