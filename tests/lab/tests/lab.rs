//! The lab itself, on plain routing of the kernel: what it measures with must be right, and nothing
//! may stay behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{SigHandler, Signal, kill},
    unistd::Pid,
};
use vnet_gw_lab::{
    Lab, Netns, Process,
    probe::{Arrival, Flow, Outcome, Ping, arrival::send_marked, tcp},
};

/// a – router – b, with the router's second link at MTU 1400.
fn routed(lab: &Lab) -> (Netns, Netns, Netns) {
    let [a, r, b] = ["a", "r", "b"].map(|name| lab.namespace(name).unwrap());
    lab.veth((&a, "eth0"), (&r, "r0")).unwrap();
    lab.veth((&b, "eth0"), (&r, "r1")).unwrap();
    r.sysctl("net.ipv4.ip_forward", "1").unwrap();
    r.sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
    for (netns, device, v4, v6) in [
        (&a, "eth0", "10.0.0.2", "fd00:0::2"),
        (&r, "r0", "10.0.0.1", "fd00:0::1"),
        (&r, "r1", "10.0.1.1", "fd00:1::1"),
        (&b, "eth0", "10.0.1.2", "fd00:1::2"),
    ] {
        netns
            .ip(&format!("address add {v4}/24 dev {device}"))
            .unwrap();
        netns
            .ip(&format!("address add {v6}/64 dev {device} nodad"))
            .unwrap();
        netns.ip(&format!("link set {device} up")).unwrap();
    }
    r.ip("link set r1 mtu 1400").unwrap();
    for (netns, v4, v6) in [(&a, "10.0.0.1", "fd00:0::1"), (&b, "10.0.1.1", "fd00:1::1")] {
        netns.ip(&format!("route add default via {v4}")).unwrap();
        netns.ip(&format!("-6 route add default via {v6}")).unwrap();
    }
    for (netns, device) in [(&a, "eth0"), (&r, "r0"), (&r, "r1"), (&b, "eth0")] {
        netns.settle(device).unwrap();
    }
    (a, r, b)
}

#[test]
fn probes_tell_what_a_known_router_does() {
    let lab = Lab::new().unwrap();
    let (a, r, b) = routed(&lab);
    for (far, near, nobody) in [
        ("10.0.1.2", "10.0.0.1", "10.0.9.9"),
        ("fd00:1::2", "fd00:0::1", "fd00:9::9"),
    ] {
        let (far, near) = (far.parse().unwrap(), near.parse().unwrap());
        let ping = Ping::new(far);
        assert!(
            matches!(ping.send(&a).unwrap(), Outcome::Reply { .. }),
            "{far}"
        );
        let expired = Ping {
            ttl: 1,
            ..ping.clone()
        };
        assert_eq!(
            expired.send(&a).unwrap(),
            Outcome::TimeExceeded { from: near }
        );
        let large = Ping {
            size: 1440,
            dont_fragment: true,
            ..ping
        };
        assert_eq!(
            large.send(&a).unwrap(),
            Outcome::TooBig {
                from: near,
                mtu: 1400
            }
        );
        let nowhere = Ping::new(nobody.parse().unwrap()).send(&a).unwrap();
        assert_eq!(
            nowhere,
            Outcome::Unreachable {
                from: near,
                code: 0
            }
        );

        let transfer = tcp::transfer(&a, &b, far, 1 << 20).unwrap().unwrap();
        assert_eq!(transfer.bytes, 1 << 20);

        let mark = *b"sixteen bytes ok";
        let arrival = Arrival::watch(&b, "eth0", mark).unwrap();
        send_marked(&a, far, mark, 3).unwrap();
        assert_eq!(arrival.count(Duration::from_millis(200)).unwrap(), 3);
    }

    // A flow across a link that is down for a while must show the hole.
    let flow = Flow::start(&a, &b, "10.0.1.2".parse().unwrap(), 500).unwrap();
    thread::sleep(Duration::from_millis(200));
    r.ip("route del 10.0.1.0/24 dev r1").unwrap();
    thread::sleep(Duration::from_millis(200));
    r.ip("route add 10.0.1.0/24 dev r1").unwrap();
    thread::sleep(Duration::from_millis(200));
    let report = flow.finish().unwrap();
    assert_eq!(report.lost.len(), 1, "{report}");
    assert!(
        report.received > 50 && report.received < report.sent,
        "{report}"
    );
    assert_eq!(
        tcp::transfer(&a, &b, "10.0.1.2".parse().unwrap(), 1)
            .unwrap()
            .unwrap()
            .bytes,
        1
    );
}

#[test]
fn processes_die_with_the_lab() {
    let lab = Lab::new().unwrap();
    let a = lab.namespace("a").unwrap();
    let log = lab.dir().join("sleep.log");
    let process = Process::spawn(a.command("sleep").arg("300"), &log).unwrap();
    let pid = process.pid();
    // As if its owner had forgotten it: the guardian must find it by its namespace.
    std::mem::forget(process);
    let (id, dir) = (lab.id().to_owned(), lab.dir().to_owned());
    drop(lab);
    assert!(gone(&id, &dir), "the lab left something behind");
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(
        state.contains(") Z "),
        "the child must be dead (and not reaped): {state}"
    );
}

/// `true` in the copy of this test binary that is to be killed.
fn is_victim() -> bool {
    env::var_os("VNET_GW_LAB_VICTIM").is_some()
}

fn victim(test: &str) -> (Child, String) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env("VNET_GW_LAB_VICTIM", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let id = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("lab=").map(|(_, id)| id.to_owned()))
        .expect("the victim made no lab");
    (child, id)
}

fn live_and_wait() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // A shell's background job inherits some of them ignored.
        // SAFETY: the default action runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.unwrap();
    }
    let lab = Lab::new().unwrap();
    let a = lab.namespace("a").unwrap();
    let log = lab.dir().join("sleep.log");
    let _child = Process::spawn(a.command("sleep").arg("300"), &log).unwrap();
    println!("lab={}", lab.id());
    thread::sleep(Duration::from_secs(60));
}

fn gone(id: &str, dir: &Path) -> bool {
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    !dir.exists()
        && !namespaces
            .map(|entry| entry.file_name())
            .any(|name| name.to_string_lossy().starts_with(&format!("{id}-")))
}

#[test]
fn signals_leave_nothing_behind() {
    if is_victim() {
        return live_and_wait();
    }
    for signal in [
        Signal::SIGKILL,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ] {
        let (mut child, id) = victim("signals_leave_nothing_behind");
        let dir = Path::new("/run/vnet-gw-lab").join(&id);
        assert!(!gone(&id, &dir));
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        child.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone(&id, &dir) {
            assert!(Instant::now() < deadline, "{signal} left {id} behind");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn the_next_lab_sweeps_what_lost_its_guardian() {
    if is_victim() {
        return live_and_wait();
    }
    let (mut child, id) = victim("the_next_lab_sweeps_what_lost_its_guardian");
    let dir = Path::new("/run/vnet-gw-lab").join(&id);
    let owner = child.id();
    // The guardian first: its parent is the victim and its arguments name the directory.
    let guardian = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .find(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let parent = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.split(' ').nth(1));
            parent == Some(owner.to_string().as_str())
                && String::from_utf8_lossy(&words).contains(&*dir.to_string_lossy())
        })
        .expect("no guardian");
    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(!gone(&id, &dir), "nobody is left to clean up");
    let _next = Lab::new().unwrap();
    assert!(gone(&id, &dir), "the next lab must sweep {id}");
}
