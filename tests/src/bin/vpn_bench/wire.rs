//! A – G1 – G2 – B: four namespaces and three veth pairs, the same for every subject.

use std::net::Ipv4Addr;

use anyhow::Result;
use vnet_gw_lab::{Lab, Netns};

pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 4);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 4);
/// Their routers.
pub(crate) const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 2, 0, 1)];
pub(crate) const NETS: [&str; 2] = ["10.1.0.0/16", "10.2.0.0/16"];
/// The gateways on the underlay.
pub(crate) const UNDERLAY: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
/// MAC addresses of A and B.
pub(crate) const MACS: [&str; 2] = ["00:0d:3a:00:00:0a", "00:0d:3a:00:00:0b"];

/// The workloads' devices, the gateways' towards them, and the gateways' on the underlay.
pub(crate) const DEV_WORKLOAD: [&str; 2] = ["a0", "b0"];
pub(crate) const DEV_INSIDE: [&str; 2] = ["ga", "gb"];
pub(crate) const DEV_UNDERLAY: [&str; 2] = ["u1", "u2"];

#[derive(Clone)]
pub(crate) struct Wire {
    /// A and B.
    pub(crate) workloads: [Netns; 2],
    pub(crate) gateways: [Netns; 2],
}

impl Wire {
    /// Wired, addressed and up; the gateways do not forward yet.
    pub(crate) fn new(lab: &Lab, name: &str) -> Result<Self> {
        let namespace = |what: &str| lab.namespace(&format!("{name}-{what}"));
        let wire = Self {
            workloads: [namespace("a")?, namespace("b")?],
            gateways: [namespace("g1")?, namespace("g2")?],
        };
        for side in 0..2 {
            let (workload, gateway) = (&wire.workloads[side], &wire.gateways[side]);
            lab.veth((workload, DEV_WORKLOAD[side]), (gateway, DEV_INSIDE[side]))?;
            let device = DEV_WORKLOAD[side];
            workload.ip(&format!("link set {device} address {}", MACS[side]))?;
            workload.ip(&format!("address add {}/24 dev {device}", [A, B][side]))?;
            workload.ip(&format!("link set {device} up"))?;
            gateway.ip(&format!("link set {} up", DEV_INSIDE[side]))?;
            workload.ip(&format!(
                "route add default via {} dev {device}",
                ROUTERS[side]
            ))?;
        }
        let [one, two] = &wire.gateways;
        lab.veth((one, DEV_UNDERLAY[0]), (two, DEV_UNDERLAY[1]))?;
        for side in 0..2 {
            let gateway = &wire.gateways[side];
            let device = DEV_UNDERLAY[side];
            gateway.ip(&format!("address add {}/24 dev {device}", UNDERLAY[side]))?;
            gateway.ip(&format!("link set {device} up"))?;
        }
        Ok(wire)
    }

    /// Makes the gateways routers of the kernel's: addresses inside, and forwarding.
    pub(crate) fn forward_by_kernel(&self) -> Result<()> {
        for (side, gateway) in self.gateways.iter().enumerate() {
            gateway.sysctl("net.ipv4.ip_forward", "1")?;
            gateway.ip(&format!(
                "address add {}/24 dev {}",
                ROUTERS[side], DEV_INSIDE[side]
            ))?;
        }
        Ok(())
    }

    /// Whether super-packets cross the underlay whole (a veth does that) or as single packets.
    pub(crate) fn segmentation(&self, on: bool) -> Result<()> {
        let segments = if on { 65535 } else { 1 };
        for (side, gateway) in self.gateways.iter().enumerate() {
            gateway.ip(&format!(
                "link set {} gso_max_segs {segments}",
                DEV_UNDERLAY[side]
            ))?;
        }
        Ok(())
    }
}
