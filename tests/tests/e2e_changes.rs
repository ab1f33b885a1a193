//! Changes and ends while packets flow: nobody else may notice. A paced flow with sequence numbers
//! is counted where it arrives.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, thread, time::Duration};

use nix::sys::signal::Signal;
use vnet_gw_lab::{
    probe::Flow,
    template::{Allow, Nic, Template},
};
use vnet_gw_tests::bed::{Bed, Hook};

const RATE: u32 = 1000;

fn nic<'a>(name: &'a str, subnet: &'a str, addresses: &'a [&'a str]) -> Nic<'a> {
    Nic {
        name,
        subnet,
        addresses,
        device: name,
        forwarding: false,
    }
}

/// VNet1 and VNet2 are peered; VNet3 has no peering yet.
fn template() -> Template {
    let mut template = Template::new();
    for (vnet, n) in [("VNet1", 1), ("VNet2", 2), ("VNet3", 3)] {
        let v4 = (format!("10.{n}.0.0/16"), format!("10.{n}.0.0/24"));
        let v6 = (format!("fd00:{n}::/48"), format!("fd00:{n}::/64"));
        template.vnet(vnet, "eastus", &[&v4.0, &v6.0]);
        template.subnet(vnet, "FrontEnd", &[&v4.1, &v6.1], None);
    }
    template
        .peer("VNet1", "VNet2")
        .nic(&nic("one", "VNet1/FrontEnd", &["10.1.0.4", "fd00:1::4"]))
        .nic(&nic("two", "VNet2/FrontEnd", &["10.2.0.4", "fd00:2::4"]))
        .nic(&nic("three", "VNet3/FrontEnd", &["10.3.0.4", "fd00:3::4"]));
    template
}

/// Flows of both families and directions across the peering of VNet1 with VNet2.
struct Watched(Vec<Flow>);

impl Watched {
    fn start(bed: &Bed) -> Self {
        let (one, two) = (bed.workload("one"), bed.workload("two"));
        let flows = [
            (one, two, two.ipv4()),
            (two, one, one.ipv4()),
            (one, two, two.ipv6()),
            (two, one, one.ipv6()),
        ]
        .map(|(from, to, address)| {
            // The neighbour entries first: a workload drops what it cannot address yet.
            bed.assert_reachable(&from.name, &to.name).unwrap();
            Flow::start(&from.netns, &to.netns, address.unwrap(), RATE / 4).unwrap()
        });
        thread::sleep(Duration::from_millis(300));
        Self(flows.into())
    }

    /// Fails unless every datagram arrived, once.
    fn assert_whole(self) {
        thread::sleep(Duration::from_millis(300));
        for flow in self.0 {
            let report = flow.finish().unwrap();
            assert!(report.is_whole() && report.sent > 100, "{report}");
        }
    }
}

fn a_peering_comes_and_goes(hook: Hook) {
    let bed = Bed::start(&template(), hook).unwrap();
    bed.assert_unreachable("one", "three").unwrap();
    let flows = Watched::start(&bed);
    for _ in 0..3 {
        let mut more = template();
        bed.apply(more.peer("VNet1", "VNet3")).unwrap();
        bed.assert_reachable("one", "three").unwrap();
        bed.assert_reachable("three", "one").unwrap();
        // One side alone is no peering.
        bed.apply(more.remove_peering("VNet3", "VNet1")).unwrap();
        bed.assert_unreachable("one", "three").unwrap();
        bed.apply(&template()).unwrap();
        bed.assert_unreachable("three", "one").unwrap();
    }
    flows.assert_whole();
}

fn a_nic_comes_and_goes(hook: Hook) {
    let mut bed = Bed::start(&template(), hook).unwrap();
    let flows = Watched::start(&bed);
    let mut more = template();
    more.nic(&nic("late", "VNet2/FrontEnd", &["10.2.0.5", "fd00:2::5"]));
    // The device may come after the resource that names it, or before.
    bed.apply(&more).unwrap();
    bed.plug(&more, "late").unwrap();
    let up = |bed: &Bed, name: &str| {
        let ports = bed.daemon.json(&["ports"]).unwrap();
        let ports = ports["value"].as_array().unwrap().clone();
        ports
            .iter()
            .any(|port| port["device"] == name && port["state"] == "up")
    };
    bed.wait(|| Ok(up(&bed, "late"))).unwrap();
    bed.assert_reachable("one", "late").unwrap();
    bed.assert_reachable("late", "two").unwrap();
    bed.apply(&template()).unwrap();
    bed.assert_unreachable("one", "late").unwrap();
    bed.apply(&more).unwrap();
    bed.assert_reachable("late", "one").unwrap();
    // A device that is deleted takes nobody with it.
    bed.host.ip("link del late").unwrap();
    bed.wait(|| Ok(!up(&bed, "late"))).unwrap();
    flows.assert_whole();
}

fn a_killed_daemon_is_not_missed(hook: Hook) {
    // Not ephemeral: what is pinned outlives the process.
    let mut bed = Bed::start_with(&template(), hook, &[], |_, _| Ok(())).unwrap();
    let flows = Watched::start(&bed);
    bed.daemon.kill().unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(!bed.pins().is_empty());
    bed.daemon.launch().unwrap();
    thread::sleep(Duration::from_millis(300));
    // What was counted before is still there: the maps were adopted, not made anew.
    let counters = bed.daemon.json(&["counters"]).unwrap();
    let packets: u64 = counters["routes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["packets"].as_u64())
        .sum();
    assert!(
        packets > 800,
        "{packets} packets counted: the counters were lost"
    );
    // A change made while no daemon ran is found at the start, and the peering stays.
    bed.daemon.kill().unwrap();
    bed.daemon
        .write(&template().peer("VNet1", "VNet3").value())
        .unwrap();
    bed.daemon.launch().unwrap();
    bed.assert_reachable("one", "three").unwrap();
    // Asked to end, it leaves the data path alone as well.
    assert!(bed.daemon.terminate(Signal::SIGTERM).unwrap().success());
    thread::sleep(Duration::from_millis(300));
    flows.assert_whole();
}

fn an_invalid_file_changes_nothing(hook: Hook) {
    let bed = Bed::start(&template(), hook).unwrap();
    let flows = Watched::start(&bed);
    let generation = bed.generation().unwrap();
    let mut overlapping = template();
    overlapping
        .vnet("VNet9", "eastus", &["10.2.0.0/15"])
        .peer("VNet1", "VNet9");
    let mut unknown = template();
    unknown.peering("VNet1", "VNet8", Allow::default());
    for (text, said) in [
        (overlapping.value().to_string(), "Overlap"),
        (unknown.value().to_string(), "VNet8"),
        ("{\"resources\": [".to_owned(), "JSON"),
    ] {
        let before = bed.daemon.log();
        bed.daemon.write_text(&text).unwrap();
        bed.daemon
            .wait_for_log(&before, "the last good one stays in force")
            .unwrap();
        let status = bed.daemon.json(&["status"]).unwrap();
        let error = status["configuration"]["lastError"].to_string();
        assert!(error.contains(said), "{error} does not say {said}");
        assert_eq!(bed.generation().unwrap(), generation);
    }
    bed.assert_reachable("one", "two").unwrap();
    // A file that is gone is no configuration either.
    let before = bed.daemon.log();
    fs::remove_file(bed.daemon.config()).unwrap();
    bed.daemon.signal(Signal::SIGHUP).unwrap();
    bed.daemon
        .wait_for_log(&before, "the last good one stays in force")
        .unwrap();
    bed.assert_reachable("two", "one").unwrap();
    // The good one again: the error is over.
    bed.daemon.write(&template().value()).unwrap();
    bed.wait(|| {
        let status = bed.daemon.json(&["status"])?;
        Ok(status["configuration"]["lastError"].is_null())
    })
    .unwrap();
    flows.assert_whole();
}

fn a_hangup_reads_the_file_again(hook: Hook) {
    let bed = Bed::start(&template(), hook).unwrap();
    let generation = bed.generation().unwrap();
    let mut more = template();
    bed.apply(more.peer("VNet1", "VNet3")).unwrap();
    assert_eq!(bed.generation().unwrap(), generation + 1);
    // Nothing has changed: read again, and nothing to do.
    let before = bed.daemon.log();
    bed.daemon.signal(Signal::SIGHUP).unwrap();
    bed.daemon.wait_for_log(&before, "SIGHUP").unwrap();
    bed.assert_reachable("three", "one").unwrap();
}

fn down_removes_everything(hook: Hook) {
    let mut bed = Bed::start_with(&template(), hook, &[], |_, _| Ok(())).unwrap();
    bed.assert_reachable("one", "two").unwrap();
    assert!(!bed.pins().is_empty());
    // While the daemon runs, it is the daemon's.
    assert!(!bed.daemon.output(&["down"]).unwrap().status.success());
    bed.assert_reachable("one", "two").unwrap();
    bed.daemon.kill().unwrap();
    bed.assert_reachable("one", "two").unwrap();
    let output = bed.daemon.output(&["down"]).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(bed.pins(), [] as [&Path; 0]);
    let shown = bed
        .host
        .command("ip")
        .args(["-d", "link"])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        !shown.contains("prog/xdp"),
        "a program stayed attached:\n{shown}"
    );
    bed.assert_unreachable("one", "two").unwrap();
    // Again: nothing to do is no error.
    assert!(bed.daemon.output(&["down"]).unwrap().status.success());
    // And it starts afresh.
    bed.daemon.launch().unwrap();
    bed.assert_reachable("one", "two").unwrap();
}

fn an_ephemeral_daemon_leaves_no_pin(hook: Hook) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut bed = Bed::start(&template(), hook).unwrap();
        assert!(!bed.pins().is_empty());
        assert!(bed.daemon.terminate(signal).unwrap().success());
        assert_eq!(bed.pins(), [] as [&Path; 0]);
        let socket = format!("/run/vnet-gw/{}.sock", bed.daemon.instance());
        assert!(!Path::new(&socket).exists());
    }
}

macro_rules! at_both_hooks {
    ($($test:ident)+) => {
        mod xdp { $(#[test] fn $test() { super::$test(super::Hook::Xdp) })+ }
        mod tcx { $(#[test] fn $test() { super::$test(super::Hook::Tcx) })+ }
    };
}

at_both_hooks! {
    a_peering_comes_and_goes
    a_nic_comes_and_goes
    a_killed_daemon_is_not_missed
    an_invalid_file_changes_nothing
    a_hangup_reads_the_file_again
    down_removes_everything
    an_ephemeral_daemon_leaves_no_pin
}
