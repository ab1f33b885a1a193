//! What crosses peerings.

use std::net::IpAddr;

use vnet_gw_lab::{
    probe::{frame::udp_frame, tcp},
    template::{Allow, Nic, Template},
    workload::FABRIC_MAC,
};
use vnet_gw_tests::{
    bed::{Bed, Hook},
    regions,
};

use crate::counted::{PORT, SIZE, Usage, peering, send, usage};

fn counts_what_crosses_peerings_and_arrives(hook: Hook) {
    let bed = regions::start(hook).unwrap();
    let [one, same, peered, narrow, far] =
        ["one", "other-subnet", "peered", "narrow", "other-region"].map(|name| bed.workload(name));
    assert_eq!(usage(&bed.daemon, &[]), Usage::new());
    send(one, &peered.netns, peered.ipv4().unwrap(), 100);
    let mut expected = peering("peering", "VNet1", "VNet2", 100, 100 * SIZE);
    assert_eq!(usage(&bed.daemon, &[]), expected);
    // The other way is another count, and so is another region; IPv6 is in the same.
    send(peered, &one.netns, one.ipv4().unwrap(), 10);
    expected.extend(peering("peering", "VNet2", "VNet1", 10, 10 * SIZE));
    send(one, &far.netns, far.ipv6().unwrap(), 30);
    send(one, &far.netns, far.ipv4().unwrap(), 5);
    let bytes = 30 * (SIZE + 20) + 5 * SIZE;
    expected.extend(peering("globalPeering", "VNet1", "VNet4", 35, bytes));
    // Within a VNet nothing is metered.
    send(one, &same.netns, same.ipv4().unwrap(), 20);
    assert_eq!(usage(&bed.daemon, &[]), expected);

    // What matches a peering's route and does not arrive is not metered: no such address, too big.
    let socket = one.packet_socket().unwrap();
    let frame = |to: IpAddr, data: &[u8]| {
        let from = one.address(to).unwrap();
        udp_frame(FABRIC_MAC, one.mac, (from, PORT), (to, PORT), data)
    };
    let (missing, big) = (bed.counted("endpoint_unreachable"), bed.counted("too_big"));
    socket
        .send(&frame("10.2.0.99".parse().unwrap(), b"nobody"))
        .unwrap();
    socket
        .send(&frame(narrow.ipv4().unwrap(), &[1; 1450]))
        .unwrap();
    bed.wait(|| {
        Ok(
            bed.counted("endpoint_unreachable")? > *missing.as_ref().unwrap()
                && bed.counted("too_big")? > *big.as_ref().unwrap(),
        )
    })
    .unwrap();
    assert_eq!(usage(&bed.daemon, &[]), expected);

    // Super-packets count as what they are on the wire.
    let size: u64 = 32 << 20;
    let before = expected[&["peering", "egress", "VNet1", "VNet2"].map(str::to_owned)];
    tcp::transfer(&one.netns, &peered.netns, peered.ipv4().unwrap(), size)
        .unwrap()
        .unwrap();
    let after =
        usage(&bed.daemon, &[])[&["peering", "egress", "VNet1", "VNet2"].map(str::to_owned)];
    let (packets, bytes) = (after.0 - before.0, after.1 - before.1);
    let segments = size / 1448;
    let wire = size + segments * 52;
    assert!(
        packets >= segments && packets < segments + segments / 10 + 1_000,
        "{packets}"
    );
    assert!(
        bytes >= wire && bytes < wire + wire / 20,
        "{bytes} of {wire}"
    );

    let json = bed.daemon.json(&["usage", "--vnet", "vnet4"]).unwrap();
    let row = &json["value"][0];
    assert_eq!(row["sourceRegion"], "eastus");
    assert_eq!(row["destinationRegion"], "westus");
    assert_eq!(json["value"].as_array().unwrap().len(), 1);
}

#[test]
fn counts_what_crosses_peerings_and_arrives_at_xdp() {
    counts_what_crosses_peerings_and_arrives(Hook::Xdp);
}

#[test]
fn counts_what_crosses_peerings_and_arrives_at_tcx() {
    counts_what_crosses_peerings_and_arrives(Hook::Tcx);
}

#[test]
fn an_appliance_in_a_peered_network_is_metered_each_time_a_peering_is_crossed() {
    let mut template = Template::new();
    template.route_table(
        "through",
        "eastus",
        &[("10.3.0.0/16", "VirtualAppliance", Some("10.2.0.4"))],
    );
    for (vnet, n, table) in [
        ("VNet1", 1, Some("through")),
        ("VNet2", 2, None),
        ("VNet3", 3, None),
    ] {
        let (space, prefix) = (format!("10.{n}.0.0/16"), format!("10.{n}.0.0/24"));
        template.vnet(vnet, "eastus", &[&space]);
        template.subnet(vnet, "FrontEnd", &[&prefix], table);
    }
    let allow = Allow {
        forwarded_traffic: true,
        ..Allow::default()
    };
    for (from, to) in [("VNet1", "VNet2"), ("VNet2", "VNet3")] {
        template.peering(from, to, allow).peering(to, from, allow);
    }
    for (name, subnet, address, forwarding) in [
        ("one", "VNet1/FrontEnd", "10.1.0.4", false),
        ("nva", "VNet2/FrontEnd", "10.2.0.4", true),
        ("three", "VNet3/FrontEnd", "10.3.0.4", false),
    ] {
        template.nic(&Nic {
            name,
            subnet,
            addresses: &[address],
            device: name,
            forwarding,
        });
    }
    let bed = Bed::start(&template, Hook::Tcx).unwrap();
    let nva = bed.workload("nva");
    nva.netns.sysctl("net.ipv4.ip_forward", "1").unwrap();
    let (one, three) = (bed.workload("one"), bed.workload("three"));
    send(one, &three.netns, three.ipv4().unwrap(), 25);
    let mut expected = peering("peering", "VNet1", "VNet2", 25, 25 * SIZE);
    expected.extend(peering("peering", "VNet2", "VNet3", 25, 25 * SIZE));
    assert_eq!(usage(&bed.daemon, &[]), expected);
}
