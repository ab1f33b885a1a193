//! The networks that several end-to-end tests look at.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use anyhow::{Context, Result};
use vnet_gw_lab::{
    template::{Allow, Nic, Template},
    workload::DEVICE,
};

use crate::bed::{Bed, Hook};

/// Two regions; VNet3 is peered with nobody, and VNet5 thinks it is with VNet1. The link of `narrow`
/// takes 1400 bytes.
pub fn template() -> Template {
    let mut template = Template::new();
    template
        .route_table(
            "udr",
            "eastus",
            &[
                ("10.99.0.0/16", "None", None),
                ("10.98.0.0/16", "VirtualAppliance", Some("10.1.0.99")),
                ("10.97.0.0/16", "VirtualNetworkGateway", None),
            ],
        )
        .vnet("VNet1", "eastus", &["10.1.0.0/16", "fd00:1::/48"])
        .subnet(
            "VNet1",
            "FrontEnd",
            &["10.1.0.0/24", "fd00:1::/64"],
            Some("udr"),
        )
        .subnet(
            "VNet1",
            "BackEnd",
            &["10.1.1.0/24", "fd00:1:0:1::/64"],
            None,
        )
        .vnet("VNet2", "eastus", &["10.2.0.0/16", "fd00:2::/48"])
        .subnet("VNet2", "FrontEnd", &["10.2.0.0/24", "fd00:2::/64"], None)
        .vnet("VNet3", "eastus", &["10.3.0.0/16", "fd00:3::/48"])
        .subnet("VNet3", "FrontEnd", &["10.3.0.0/24", "fd00:3::/64"], None)
        .vnet("VNet4", "westus", &["10.4.0.0/16", "fd00:4::/48"])
        .subnet("VNet4", "FrontEnd", &["10.4.0.0/24", "fd00:4::/64"], None)
        .vnet("VNet5", "westus", &["10.5.0.0/16", "fd00:5::/48"])
        .subnet("VNet5", "FrontEnd", &["10.5.0.0/24", "fd00:5::/64"], None)
        .peer("VNet1", "VNet2")
        .peer("VNet1", "VNet4")
        .peering("VNet5", "VNet1", Allow::default());
    for (name, subnet, addresses) in [
        ("one", "VNet1/FrontEnd", ["10.1.0.4", "fd00:1::4"]),
        ("same-subnet", "VNet1/FrontEnd", ["10.1.0.5", "fd00:1::5"]),
        (
            "other-subnet",
            "VNet1/BackEnd",
            ["10.1.1.4", "fd00:1:0:1::4"],
        ),
        ("peered", "VNet2/FrontEnd", ["10.2.0.4", "fd00:2::4"]),
        ("narrow", "VNet2/FrontEnd", ["10.2.0.5", "fd00:2::5"]),
        ("stranger", "VNet3/FrontEnd", ["10.3.0.4", "fd00:3::4"]),
        ("other-region", "VNet4/FrontEnd", ["10.4.0.4", "fd00:4::4"]),
        ("one-sided", "VNet5/FrontEnd", ["10.5.0.4", "fd00:5::4"]),
    ] {
        let nic = Nic {
            name,
            subnet,
            addresses: &addresses,
            device: name,
            forwarding: false,
        };
        template.nic(&nic);
    }
    template
}

/// The bed of a hook, started once and kept as long as the test program lives. Its tests take turns,
/// since they compare counters.
pub fn bed(hook: Hook) -> MutexGuard<'static, Bed> {
    static BEDS: [OnceLock<Mutex<Bed>>; 2] = [OnceLock::new(), OnceLock::new()];
    let bed = BEDS[usize::from(hook == Hook::Tcx)].get_or_init(|| match start(hook) {
        Ok(bed) => Mutex::new(bed),
        Err(error) => panic!("{error:#}"),
    });
    bed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bed of one's own.
pub fn start(hook: Hook) -> Result<Bed> {
    Bed::start_with(&template(), hook, &["--ephemeral"], |host, workloads| {
        let narrow = workloads.iter().find(|workload| workload.name == "narrow");
        let narrow = narrow.context("no workload narrow")?;
        host.ip("link set narrow mtu 1400")?;
        narrow.netns.ip(&format!("link set {DEVICE} mtu 1400"))
    })
}

/// Both families' addresses of two workloads.
pub fn pairs(bed: &Bed, from: &str, to: &str) -> [(IpAddr, IpAddr); 2] {
    let (near, far) = (bed.workload(from), bed.workload(to));
    let both = |address: Option<IpAddr>| match address {
        Some(address) => address,
        None => panic!("{from} and {to} have both families"),
    };
    [
        (both(near.ipv4()), both(far.ipv4())),
        (both(near.ipv6()), both(far.ipv6())),
    ]
}
