//! A – gateway – B: three namespaces and two veth pairs, the same for every subject.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use ipnet::{Ipv4Net, Ipv6Net};
use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};
use vnet_gw_lab::{Lab, Netns};

use crate::{
    abi::SINK_MAC,
    routes::{Set, Target},
};

pub(crate) const A_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
pub(crate) const B_MAC: [u8; 6] = SINK_MAC;
pub(crate) const C_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0c];
pub(crate) const A4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 4);
pub(crate) const C4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
pub(crate) const B4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 4);
pub(crate) const GATEWAY4: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 2, 0, 1)];
pub(crate) const A6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 4);
pub(crate) const B6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 4);
pub(crate) const GATEWAY6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 1),
];

/// A's VNet.
pub(crate) const A_NET4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 1, 0, 0), 16);
pub(crate) const A_NET6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0), 48);

/// The devices: A's, the gateway's two, B's.
pub(crate) const DEV_A: &str = "a0";
pub(crate) const DEV_GA: &str = "ga";
pub(crate) const DEV_GB: &str = "gb";
pub(crate) const DEV_B: &str = "b0";
/// The gateway's device for a third NIC that has nothing to do with the traffic, and its far end.
pub(crate) const DEV_GC: &str = "gc";
const DEV_C: &str = "c0";

#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) a: Netns,
    pub(crate) gateway: Netns,
    pub(crate) b: Netns,
}

impl Wire {
    /// Wired, addressed and up. The gateway's devices have the MAC address of the fabric whatever
    /// the subject, so that the generated frames are equal, and GRO: without it, or an XDP program,
    /// a veth has no NAPI and loses what is redirected into its peer.
    pub(crate) fn new(lab: &Lab, name: &str) -> Result<Self> {
        let wire = Self {
            a: lab.namespace(&format!("{name}-a"))?,
            gateway: lab.namespace(&format!("{name}-gw"))?,
            b: lab.namespace(&format!("{name}-b"))?,
        };
        lab.veth((&wire.a, DEV_A), (&wire.gateway, DEV_GA))?;
        lab.veth((&wire.gateway, DEV_GB), (&wire.b, DEV_B))?;
        let fabric = mac_from_u64(FABRIC_MAC);
        wire.gateway.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        for (netns, device, mac) in [
            (&wire.a, DEV_A, A_MAC),
            (&wire.gateway, DEV_GA, fabric),
            (&wire.gateway, DEV_GB, fabric),
            (&wire.b, DEV_B, B_MAC),
        ] {
            netns.ip(&format!("link set {device} address {}", mac_text(mac)))?;
        }
        for device in [DEV_GA, DEV_GB] {
            wire.gateway.ethtool(&format!("-K {device} gro on"))?;
        }
        for (netns, device, v4, v6, via4, via6) in [
            (&wire.a, DEV_A, A4, A6, GATEWAY4[0], GATEWAY6[0]),
            (&wire.b, DEV_B, B4, B6, GATEWAY4[1], GATEWAY6[1]),
        ] {
            netns.ip(&format!("address add {v4}/24 dev {device}"))?;
            netns.ip(&format!("address add {v6}/64 dev {device} nodad"))?;
            netns.ip(&format!("link set {device} up"))?;
            for via in [via4.to_string(), via6.to_string()] {
                let mac = mac_text(fabric);
                netns.ip(&format!(
                    "neigh replace {via} lladdr {mac} dev {device} nud permanent"
                ))?;
                netns.ip(&format!("route add default via {via} dev {device}"))?;
            }
        }
        for device in [DEV_GA, DEV_GB] {
            wire.gateway.ip(&format!("link set {device} up"))?;
        }
        Ok(wire)
    }

    /// Wires a third NIC.
    pub(crate) fn add_third(&self, lab: &Lab) -> Result<()> {
        lab.veth((&self.gateway, DEV_GC), (&self.gateway, DEV_C))?;
        self.gateway
            .ip(&format!("link set {DEV_C} address {}", mac_text(C_MAC)))?;
        for device in [DEV_GC, DEV_C] {
            self.gateway.ip(&format!("link set {device} up"))?;
        }
        Ok(())
    }

    /// Makes the gateway a router of the kernel's with the routes of `set`.
    pub(crate) fn route_by_kernel(&self, set: &Set) -> Result<()> {
        self.gateway.sysctl("net.ipv4.ip_forward", "1")?;
        let sides = [
            (DEV_GA, GATEWAY4[0], GATEWAY6[0], A4, A6, A_MAC),
            (DEV_GB, GATEWAY4[1], GATEWAY6[1], B4, B6, B_MAC),
        ];
        for (device, v4, v6, far4, far6, mac) in sides {
            self.gateway
                .ip(&format!("address add {v4}/24 dev {device}"))?;
            self.gateway
                .ip(&format!("address add {v6}/64 dev {device} nodad"))?;
            let mac = mac_text(mac);
            for far in [far4.to_string(), far6.to_string()] {
                self.gateway.ip(&format!(
                    "neigh replace {far} lladdr {mac} dev {device} nud permanent"
                ))?;
            }
        }
        let mut batch = String::new();
        for (prefix, target) in &set.v4 {
            line(&mut batch, prefix, *target, &B4);
        }
        self.batch(&["-batch", "-"], &batch)?;
        batch.clear();
        for (prefix, target) in &set.v6 {
            line(&mut batch, prefix, *target, &B6);
        }
        self.batch(&["-6", "-batch", "-"], &batch)
    }

    fn batch(&self, args: &[&str], lines: &str) -> Result<()> {
        use std::io::Write as _;
        let mut child = self
            .gateway
            .command("ip")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting ip -batch")?;
        let written = match child.stdin.take() {
            Some(mut input) => input.write_all(lines.as_bytes()),
            None => Ok(()),
        };
        let output = child.wait_with_output().context("waiting for ip -batch")?;
        if !output.status.success() {
            bail!(
                "ip -batch of routes failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        written.context("handing routes to ip -batch")
    }
}

fn line(
    batch: &mut String,
    prefix: &dyn std::fmt::Display,
    target: Target,
    via: &dyn std::fmt::Display,
) {
    // Writing to a string does not fail.
    let _ = match target {
        Target::Peer => writeln!(batch, "route add {prefix} via {via} dev {DEV_GB}"),
        Target::Local => writeln!(batch, "route add {prefix} dev {DEV_GA}"),
        Target::Nowhere | Target::Internet => writeln!(batch, "route add blackhole {prefix}"),
    };
}

pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
