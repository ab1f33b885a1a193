//! What tunnels carry.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vnet_gw_lab::{
    Daemon, Lab, Underlay, Workload,
    template::{Gateway, Nic, Remote, Template},
    workload::{Offloads, plug},
};
use vnet_gw_tests::{
    bed::binary,
    transit_bed::{MACHINE, Plan, TransitBed},
    vpn_bed::{VpnBed, template},
};

use crate::counted::{SIZE, Usage, send, short, usage};

#[test]
fn counts_what_tunnels_carry_by_connection_and_region() {
    let template = template().unwrap();
    let mut bed = VpnBed::start_with(&template, &template, &[]).unwrap();
    bed.connected().unwrap();
    let (west, east) = (&bed.west.workload, &bed.east.workload);
    send(west, &east.netns, east.ipv4().unwrap(), 40);
    send(east, &west.netns, west.ipv4().unwrap(), 15);
    let key = |direction: &str, whose: &str, peer: &str| {
        ["vnetToVnetInterRegion", direction, whose, peer].map(str::to_owned)
    };
    let (out, back) = ((40, 40 * SIZE), (15, 15 * SIZE));
    let at_west = Usage::from([
        (key("egress", "VNet1", "VNet4"), out),
        (key("ingress", "VNet1", "VNet4"), back),
    ]);
    assert_eq!(usage(&bed.west.daemon, &[]), at_west);
    let at_east = Usage::from([
        (key("egress", "VNet4", "VNet1"), back),
        (key("ingress", "VNet4", "VNet1"), out),
    ]);
    assert_eq!(usage(&bed.east.daemon, &[]), at_east);
    let json = bed.west.daemon.json(&["usage"]).unwrap();
    let row = &json["value"][0];
    assert_eq!(short(&row["connection"]), "VNet1-to-VNet4");
    assert_eq!(
        (&row["sourceRegion"], &row["billed"]),
        (&"westeurope".into(), &true.into())
    );
    assert_eq!(json["value"][1]["billed"], false);

    // A daemon that ends says what its tunnels carried last.
    send(west, &east.netns, east.ipv4().unwrap(), 10);
    bed.west.daemon.terminate(Signal::SIGTERM).unwrap();
    bed.west.daemon.launch().unwrap();
    let after = usage(&bed.west.daemon, &[]);
    assert_eq!(after[&key("egress", "VNet1", "VNet4")], (50, 50 * SIZE));
    bed.connected().unwrap();
    send(
        &bed.west.workload,
        &bed.east.workload.netns,
        bed.east.workload.ipv4().unwrap(),
        1,
    );
    let after = usage(&bed.west.daemon, &[]);
    assert_eq!(after[&key("egress", "VNet1", "VNet4")], (51, 51 * SIZE));
}

#[test]
fn gateway_transit_is_metered_for_the_spoke() {
    let bed = TransitBed::start(Plan::default()).unwrap();
    let [one, hub, far] = ["one", "hub", "far"].map(|name| bed.workload(name).unwrap());
    let machine = MACHINE[0].parse().unwrap();
    send(one, &bed.machine, machine, 5);
    send(hub, &bed.machine, machine, 2);
    send(one, &far.netns, far.ipv4().unwrap(), 20);
    send(far, &one.netns, one.ipv4().unwrap(), 6);
    send(one, &hub.netns, hub.ipv4().unwrap(), 4);
    send(hub, &far.netns, far.ipv4().unwrap(), 3);
    let count = |packets: u64| (packets, packets * SIZE);
    let mut found = usage(&bed.near, &[]);
    let mut take = |class: &str, direction: &str, whose: &str, peer: &str| {
        found.remove(&[class, direction, whose, peer].map(str::to_owned))
    };
    // The spoke's way to the gateway is no peering; to the hub's workload it is.
    assert_eq!(
        take("gatewayTransit", "egress", "Spoke1", "Hub"),
        Some(count(25))
    );
    assert_eq!(
        take("gatewayTransit", "ingress", "Spoke1", "Hub"),
        Some(count(6))
    );
    assert_eq!(take("peering", "egress", "Spoke1", "Hub"), Some(count(4)));
    assert_eq!(take("peering", "ingress", "Hub", "Spoke1"), Some(count(4)));
    // The hub's tunnel carried the spoke's packets and its own.
    let tunnel = "vnetToVnetInterRegion";
    assert_eq!(take(tunnel, "egress", "Hub", "Far"), Some(count(23)));
    assert_eq!(take(tunnel, "ingress", "Hub", "Far"), Some(count(6)));
    // And the one to the site.
    let tunnel = "siteToSite";
    assert_eq!(take(tunnel, "egress", "Hub", "Site"), Some(count(7)));
    assert_eq!(found, Usage::new());
}

/// Both families as one slice wants them.
fn texts(both: &[String; 2]) -> [&str; 2] {
    both.each_ref().map(String::as_str)
}

/// One end of a connection between two sites, each of which knows the other as a
/// localNetworkGateway only.
struct End {
    daemon: Daemon,
    workload: Workload,
    connection: String,
}

/// So long may a tunnel take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl End {
    /// Of the VNet with this number, connected to the other one.
    fn start(lab: &Lab, underlay: &Underlay, [own, other]: [u8; 2]) -> Self {
        let public = |number: u8| format!("203.0.113.{number}");
        let space = |number: u8| [format!("10.{number}.0.0/16"), format!("fd00:{number}::/48")];
        let subnet = [format!("10.{own}.0.0/24"), format!("fd00:{own}::/64")];
        let addresses = [format!("10.{own}.0.4"), format!("fd00:{own}::4")];
        let [near_space, far_space] = [space(own), space(other)];
        let (vnet, gateway, vm) = (format!("VNet{own}"), format!("GW{own}"), format!("vm{own}"));
        let (name, site) = (format!("to-site{other}"), format!("Site{other}"));
        let mut template = Template::new();
        template
            .vnet(&vnet, "eastus", &texts(&near_space))
            .subnet(&vnet, "FrontEnd", &texts(&subnet), None)
            .subnet(
                &vnet,
                "GatewaySubnet",
                &[&format!("10.{own}.255.0/27")],
                None,
            )
            .nic(&Nic {
                name: &vm,
                subnet: &format!("{vnet}/FrontEnd"),
                addresses: &texts(&addresses),
                device: &vm,
                forwarding: false,
            })
            .gateway(&Gateway {
                name: &gateway,
                vnet: &vnet,
                sku: "VpnGw1",
                addresses: &[&public(own)],
                host: None,
            })
            .local_network_gateway(&site, "eastus", &public(other), &texts(&far_space))
            .connection(
                &name,
                &gateway,
                Remote::Site(&site),
                "made+up+key",
                json!({}),
            );
        let template = template.value();
        let host = lab.namespace(&format!("host{own}")).unwrap();
        let link = public(own).parse().unwrap();
        underlay.attach(lab, &host, &[link]).unwrap();
        let mut workloads = plug(lab, &host, &template, Offloads::Default).unwrap();
        let instance = lab.instance(&format!("site{own}")).unwrap();
        let binary = binary("vnet-gw").unwrap();
        let daemon = Daemon::start(lab, &binary, &host, instance, &template, &[]).unwrap();
        Self {
            daemon,
            workload: workloads.remove(0),
            connection: name,
        }
    }

    fn connected(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let args = ["connection", "show", &self.connection];
            let row = self.daemon.json(&args).unwrap();
            if row["connectionStatus"] == "Connected" {
                return;
            }
            assert!(Instant::now() < deadline, "{row:#}\n{}", self.daemon.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Packets of both families from one to the other; how much that is.
fn both(from: &End, to: &End, v4: u64, v6: u64) -> (u64, u64) {
    let to = &to.workload;
    let addresses: [IpAddr; 2] = [to.ipv4().unwrap(), to.ipv6().unwrap()];
    for (address, count) in addresses.into_iter().zip([v4, v6]) {
        send(&from.workload, &to.netns, address, count);
    }
    (v4 + v6, v4 * SIZE + v6 * (SIZE + 20))
}

/// What both ends have sent so far, and been told of.
#[derive(Default)]
struct Sent {
    there: (u64, u64),
    back: (u64, u64),
}

impl Sent {
    fn exchange(&mut self, near: &End, far: &End) {
        let add = |sum: &mut (u64, u64), more: (u64, u64)| {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        };
        add(&mut self.there, both(near, far, 40, 12));
        add(&mut self.back, both(far, near, 15, 3));
    }

    fn assert_metered(&self, near: &End, far: &End, when: &str) {
        for (end, own, other, out, back) in [
            (near, 1, 2, self.there, self.back),
            (far, 2, 1, self.back, self.there),
        ] {
            let key = |direction: &str| {
                let names = (format!("VNet{own}"), format!("Site{other}"));
                [
                    "siteToSite".to_owned(),
                    direction.to_owned(),
                    names.0,
                    names.1,
                ]
            };
            let expected = Usage::from([(key("egress"), out), (key("ingress"), back)]);
            assert_eq!(usage(&end.daemon, &[]), expected, "{when}, at VNet{own}");
        }
    }
}

/// Two daemons, either with a connection of type `IPsec` to what it knows as a site.
#[test]
fn site_to_site_is_counted_exactly_and_survives_restarts() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let mut near = End::start(&lab, &underlay, [1, 2]);
    let far = End::start(&lab, &underlay, [2, 1]);
    near.connected();
    far.connected();
    let mut sent = Sent::default();
    sent.exchange(&near, &far);
    sent.assert_metered(&near, &far, "at first");
    let json = near.daemon.json(&["usage", "--vnet", "vnet1"]).unwrap();
    let rows = json["value"].as_array().unwrap();
    let told = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let billed = row["billed"].as_bool().unwrap();
        (
            text("direction"),
            short(&row["connection"]),
            text("sourceRegion"),
            billed,
        )
    };
    let expected =
        [("egress", "eastus", true), ("ingress", "", false)].map(|(way, region, billed)| {
            (
                way.to_owned(),
                "to-site2".to_owned(),
                region.to_owned(),
                billed,
            )
        });
    assert_eq!(rows.iter().map(told).collect::<Vec<_>>(), expected);

    // A daemon that ends says what its tunnels carried last.
    sent.exchange(&near, &far);
    near.daemon.terminate(Signal::SIGTERM).unwrap();
    near.daemon.launch().unwrap();
    sent.assert_metered(&near, &far, "ended and started");
    near.connected();
    far.connected();
    sent.exchange(&near, &far);
    sent.assert_metered(&near, &far, "with new tunnels");

    // One that is killed has kept what it was asked for.
    near.daemon.kill().unwrap();
    near.daemon.launch().unwrap();
    sent.assert_metered(&near, &far, "killed and started");
    near.connected();
    sent.exchange(&near, &far);
    sent.assert_metered(&near, &far, "after the kill");
}
