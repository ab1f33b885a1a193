//! What the tests have in common.

use std::{net::IpAddr, process::Command};

use serde_json::Value;
use vnet_gw_lab::{
    Netns,
    netns::run,
    template::{Nic, Template},
};
use vnet_gw_tests::bed::{Bed, Hook};

/// Of the host, on its uplink.
pub(crate) const PUBLIC: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];
/// The server.
pub(crate) const SERVER: [&str; 2] = ["203.0.113.9", "2001:db8:99::9"];

pub(crate) fn server() -> [IpAddr; 2] {
    SERVER.map(|address| address.parse().unwrap())
}

/// Red and Blue have the same address space, and a workload each with the same addresses; Red has an
/// appliance, too, and a route of its own for a private prefix.
pub(crate) fn template() -> Template {
    let mut template = Template::new();
    template.route_table(
        "odd",
        "eastus",
        &[
            ("192.168.0.0/16", "Internet", None),
            ("fd99::/48", "Internet", None),
        ],
    );
    for (vnet, table) in [("Red", Some("odd")), ("Blue", None)] {
        template
            .vnet(vnet, "eastus", &["10.7.0.0/16", "fd07::/48"])
            .subnet(vnet, "Default", &["10.7.0.0/24", "fd07::/64"], table);
    }
    for (name, subnet, addresses, forwarding) in [
        ("red", "Red/Default", ["10.7.0.4", "fd07::4"], false),
        ("nva", "Red/Default", ["10.7.0.9", "fd07::9"], true),
        ("blue", "Blue/Default", ["10.7.0.4", "fd07::4"], false),
    ] {
        template.nic(&Nic {
            name,
            subnet,
            addresses: &addresses,
            device: name,
            forwarding,
        });
    }
    template
}

pub(crate) struct World {
    pub(crate) bed: Bed,
    /// Where the server is.
    pub(crate) internet: Netns,
}

impl World {
    pub(crate) fn start(hook: Hook, args: &[&str]) -> Self {
        let mut internet = None;
        let all = [&["--reconcile-interval", "1s"], args].concat();
        let bed = Bed::start_with_lab(&template(), hook, &all, |lab, host, _| {
            let outside = lab.namespace("internet")?;
            lab.veth((host, "up0"), (&outside, "in0"))?;
            host.ip("link set up0 up")?;
            outside.ip("link set in0 up")?;
            host.ip("address add 192.0.2.2/24 dev up0")?;
            host.ip("-6 address add 2001:db8:1::2/64 dev up0 nodad")?;
            outside.ip("address add 192.0.2.1/24 dev in0")?;
            outside.ip("-6 address add 2001:db8:1::1/64 dev in0 nodad")?;
            outside.ip("address add 203.0.113.9/32 dev lo")?;
            outside.ip("-6 address add 2001:db8:99::9/128 dev lo nodad")?;
            host.ip("route add default via 192.0.2.1")?;
            host.ip("-6 route add default via 2001:db8:1::1")?;
            host.carrier("up0")?;
            // The strictest that a host may be.
            host.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
            host.sysctl("net.ipv4.conf.up0.rp_filter", "1")?;
            internet = Some(outside);
            Ok(())
        })
        .unwrap();
        Self {
            bed,
            internet: internet.unwrap(),
        }
    }

    pub(crate) fn netns(&self, workload: &str) -> &Netns {
        &self.bed.workload(workload).netns
    }

    /// What is predicted of an echo request: `Yes`, `Leaves` or `No`, and the reason of a drop.
    pub(crate) fn why(&self, from: &str, to: &str) -> (String, String) {
        let args = ["--output", "json", "why", "--from", from, "--to", to];
        let output = self.bed.daemon.command(&args).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&told["arrives"]), text(&told["there"]["reason"]))
    }

    /// What a command prints in the host's namespace.
    pub(crate) fn on_host(&self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let mut command: Command = self.bed.host.command(words.next().unwrap());
        run(command.args(words)).unwrap()
    }

    /// Everything that the daemon may have made in the host's network stack.
    pub(crate) fn traces(&self) -> Vec<String> {
        let listed = [
            self.on_host("ip -o link"),
            self.on_host("ip rule"),
            self.on_host("ip -6 rule"),
            self.on_host("ip route show table all"),
            self.on_host("ip -6 route show table all"),
            self.on_host("nft list tables"),
        ];
        let lines = listed.iter().flat_map(|text| text.lines());
        let ours = |line: &&str| {
            ["vni", "vnh", "inet vnet_gw", "0x5647", "0xd647", "56547"]
                .iter()
                .any(|part| line.contains(part))
        };
        lines.filter(ours).map(str::to_owned).collect()
    }
}
