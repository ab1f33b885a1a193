//! Counts outlive daemons, tables and the data path.

use std::time::SystemTime;

use nix::sys::signal::Signal;
use vnet_gw_lab::template::{Nic, Template};
use vnet_gw_tests::{
    bed::{Bed, Hook},
    metrics::{ADDRESS, Scrape},
};

use crate::counted::{SIZE, Usage, peering, send, usage};

/// VNet1 and VNet2, peered or not; and a route table with so many routes.
fn two(peer: bool, routes: usize) -> Template {
    let prefixes: Vec<String> = (0..routes).map(|n| format!("10.77.{n}.0/24")).collect();
    let routes: Vec<(&str, &str, Option<&str>)> = prefixes
        .iter()
        .map(|prefix| (prefix.as_str(), "None", None))
        .collect();
    let mut template = Template::new();
    template.route_table("udr", "eastus", &routes);
    for (vnet, n) in [("VNet1", 1), ("VNet2", 2)] {
        let (space, prefix) = (format!("10.{n}.0.0/16"), format!("10.{n}.0.0/24"));
        template.vnet(vnet, "eastus", &[&space]);
        template.subnet(vnet, "FrontEnd", &[&prefix], Some("udr"));
    }
    if peer {
        template.peer("VNet1", "VNet2");
    }
    for (name, subnet, address) in [
        ("one", "VNet1/FrontEnd", "10.1.0.4"),
        ("two", "VNet2/FrontEnd", "10.2.0.4"),
    ] {
        template.nic(&Nic {
            name,
            subnet,
            addresses: &[address],
            device: name,
            forwarding: false,
        });
    }
    template
}

#[test]
fn counts_on_through_kills_restarts_new_tables_and_down() {
    let args = ["--metrics", ADDRESS];
    let mut bed = Bed::start_with(&two(true, 1), Hook::Tcx, &args, |_, _| Ok(())).unwrap();
    let mut packets = 0;
    // Exactly so much, each time: nothing is lost, and nothing counted twice.
    let more = |bed: &Bed, packets: &mut u64, count| {
        let (one, two) = (bed.workload("one"), bed.workload("two"));
        send(one, &two.netns, two.ipv4().unwrap(), count);
        *packets += count;
    };
    let check = |bed: &Bed, packets: u64, when: &str| {
        let expected = peering("peering", "VNet1", "VNet2", packets, packets * SIZE);
        assert_eq!(usage(&bed.daemon, &[]), expected, "{when}");
    };
    more(&bed, &mut packets, 10);
    check(&bed, packets, "at first");

    more(&bed, &mut packets, 20);
    bed.daemon.kill().unwrap();
    more(&bed, &mut packets, 5);
    bed.daemon.launch().unwrap();
    check(&bed, packets, "killed, forwarded on, started");

    more(&bed, &mut packets, 7);
    bed.daemon.terminate(Signal::SIGTERM).unwrap();
    more(&bed, &mut packets, 4);
    bed.daemon.launch().unwrap();
    more(&bed, &mut packets, 3);
    check(&bed, packets, "ended, forwarded on, started");

    // Edited in place, then built anew in another form, and back.
    for routes in [5, 200, 1] {
        more(&bed, &mut packets, 2);
        bed.apply(&two(true, routes)).unwrap();
        more(&bed, &mut packets, 3);
        check(&bed, packets, "with another table");
    }

    // What was counted outlives the peering, and its next life goes on from there.
    more(&bed, &mut packets, 6);
    bed.apply(&two(false, 1)).unwrap();
    check(&bed, packets, "without the peering");
    bed.daemon.kill().unwrap();
    bed.daemon.launch().unwrap();
    check(&bed, packets, "without the peering, killed");
    bed.apply(&two(true, 1)).unwrap();
    more(&bed, &mut packets, 8);
    check(&bed, packets, "with the peering again");

    // Between the daemon's end and the end of the data path, too.
    bed.daemon.terminate(Signal::SIGTERM).unwrap();
    more(&bed, &mut packets, 9);
    let state = bed.daemon.state().to_str().unwrap().to_owned();
    let down = ["--output", "json", "down", "--state-dir", &state];
    let down = bed.daemon.output(&down).unwrap();
    assert!(down.status.success(), "{down:?}");
    assert!(down.stderr.is_empty(), "{down:?}");
    assert!(bed.pins().is_empty());
    bed.daemon.launch().unwrap();
    check(&bed, packets, "down and up");
    // More than the meter of its life before had.
    more(&bed, &mut packets, 150);
    check(&bed, packets, "after down and up");

    // In time.
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let day = |days: u64| {
        let time = std::process::Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d"])
            .arg(format!("@{}", now - days * 86_400))
            .output()
            .unwrap();
        String::from_utf8(time.stdout).unwrap().trim().to_owned()
    };
    let all = usage(&bed.daemon, &[]);
    assert_eq!(usage(&bed.daemon, &["--from", &day(1)]), all);
    assert_eq!(usage(&bed.daemon, &["--from", &day(30)]), all);
    assert_eq!(usage(&bed.daemon, &["--from", "2020-01-01"]), all);
    assert_eq!(
        usage(&bed.daemon, &["--from", &day(9), "--to", &day(7)]),
        Usage::new()
    );
    let refused = bed
        .daemon
        .output(&["usage", "--from", "yesterday"])
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("2026-11-21T14:00:00Z"), "{told}");
    let (from, to) = (day(1), day(2));
    let refused = bed
        .daemon
        .output(&["usage", "--from", &from, "--to", &to])
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("exchange them"));

    // Prometheus sees the same, at most one interval later.
    let metered = || {
        let labels = [
            ("class", "peering"),
            ("from", "vnet-gw/VNet1"),
            ("to", "vnet-gw/VNet2"),
        ];
        let scrape = Scrape::of(&bed.host).unwrap();
        assert_eq!(scrape.wrong, [""; 0]);
        scrape.sum("vnet_gw_metered_bytes_total", &labels).unwrap()
    };
    assert_eq!(metered(), (packets * SIZE) as f64);
}
