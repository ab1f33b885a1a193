//! `connectivityCheck` and its probes, against guests that answer, refuse and say nothing.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use vnet_gw_lab::{Netns, netns::run};
use vnet_gw_tests::{
    bed::{Bed, Hook},
    regions::template,
};

use crate::{good, machine, watcher};

/// Answers echo requests in the guest's kernel's stead, each after a while, until it is dropped.
struct Slow {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slow {
    const DELAY: Duration = Duration::from_millis(30);

    fn start(guest: &Netns) -> Self {
        guest.sysctl("net.ipv4.icmp_echo_ignore_all", "1").unwrap();
        let mut socket = guest
            .enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)))
            .unwrap()
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut packet = [0; 1500];
            while !until.load(Ordering::Relaxed) {
                let Ok(length) = socket.read(&mut packet) else {
                    continue;
                };
                let from = Ipv4Addr::from(*packet[12..].first_chunk::<4>().unwrap());
                // Behind the 20 bytes of IPv4's header.
                let message = &mut packet[20..length];
                if message[0] != 8 {
                    continue;
                }
                thread::sleep(Self::DELAY);
                message[0] = 0;
                // The type has gone from 8 to 0 (RFC 1624).
                let sum = u16::from_be_bytes([message[2], message[3]]);
                let (sum, carried) = sum.overflowing_add(0x0800);
                let sum = sum + u16::from(carried);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                let to = SocketAddr::from((from, 0));
                socket.send_to(message, &to.into()).unwrap();
            }
        });
        let thread = Some(thread);
        Self { over, thread }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What `connectivityCheck` says of `one` and a destination.
#[track_caller]
fn checked(bed: &Bed, destination: Value, protocol: &str) -> Value {
    let body = json!({
        "source": { "resourceId": machine("one") },
        "destination": destination,
        "protocol": protocol,
    });
    good(bed, "post", &watcher("connectivityCheck"), Some(&body))
}

/// The same by the command line.
fn checked_here(bed: &Bed, args: &[&str]) -> Value {
    let mut all = vec!["--output", "json", "connectivity-check", "--from", "one"];
    all.extend(args);
    let output = bed.daemon.command(&all).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = i32::from(told["connectionStatus"] == "Disconnected");
    assert_eq!(output.status.code(), Some(status), "{told:#}");
    told
}

/// Sent, failed, and whether there are latencies.
fn probes(told: &Value) -> (Option<u64>, Option<u64>, bool) {
    let number = |name: &str| told[name].as_u64();
    let latencies = ["minLatencyInMs", "avgLatencyInMs", "maxLatencyInMs"];
    let latencies = latencies.map(|name| number(name).is_some());
    assert!(
        latencies == [true; 3] || latencies == [false; 3],
        "{told:#}"
    );
    (
        number("probesSent"),
        number("probesFailed"),
        latencies == [true; 3],
    )
}

/// Type and reason of the only issue.
fn issue(told: &Value) -> (String, String) {
    let hops = told["hops"].as_array().unwrap().iter();
    let issues: Vec<&Value> = hops
        .flat_map(|hop| hop["issues"].as_array().unwrap())
        .collect();
    let [issue] = issues.as_slice() else {
        panic!("{told:#}");
    };
    let context = issue["context"].as_array().unwrap().iter();
    let reason = context.rev().find(|pair| pair["key"] == "Reason").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&issue["type"]), text(&reason["value"]))
}

/// Probes leave by the port of the NIC that is asked about, and what the guest at the other end does
/// with them counts for more than what the resources say.
#[test]
fn connectivity_is_tried_live() {
    let bed = Bed::start(&template(), Hook::Tcx).unwrap();
    let far = &bed.workload("other-region").netns;
    let to = |port: u16| json!({ "resourceId": machine("other-region"), "port": port });
    let all = (Some(10), Some(0), true);
    let none = (Some(10), Some(10), false);
    {
        let _slow = Slow::start(far);
        let told = checked(&bed, json!({ "address": "10.4.0.4" }), "Icmp");
        assert_eq!(told["connectionStatus"], "Connected", "{told:#}");
        assert_eq!(probes(&told), all);
        let of = |name: &str| told[name].as_u64().unwrap();
        let (least, average, most) = (
            of("minLatencyInMs"),
            of("avgLatencyInMs"),
            of("maxLatencyInMs"),
        );
        let delay = Slow::DELAY.as_millis() as u64;
        assert!(
            delay <= least && least <= average && average <= most && most < 2000,
            "{told:#}"
        );
    }
    far.sysctl("net.ipv4.icmp_echo_ignore_all", "0").unwrap();

    // TCP: open, closed, and filtered by the guest.
    let _listeners = far
        .enter(|| ["10.4.0.4:7007", "[fd00:4::4]:7007"].map(|at| TcpListener::bind(at).unwrap()))
        .unwrap();
    let open = checked(&bed, to(7007), "Tcp");
    assert_eq!(open["connectionStatus"], "Connected", "{open:#}");
    assert_eq!(probes(&open), all);
    let closed = checked(&bed, to(7008), "Tcp");
    assert_eq!(closed["connectionStatus"], "Disconnected", "{closed:#}");
    assert_eq!(probes(&closed), none);
    let guest = |reason: &str| ("GuestFirewall".to_owned(), reason.to_owned());
    assert_eq!(issue(&closed), guest("ConnectionRefused"));
    assert_eq!(closed["hops"][1]["issues"][0]["type"], "GuestFirewall");
    let rules = "add table inet guest; add chain inet guest in { type filter hook input priority 0; }; \
                 add rule inet guest in tcp dport 7007 drop";
    run(far.command("nft").arg(rules)).unwrap();
    let filtered = checked(&bed, to(7007), "Tcp");
    assert_eq!(filtered["connectionStatus"], "Disconnected", "{filtered:#}");
    assert_eq!(probes(&filtered), none);
    assert_eq!(issue(&filtered), guest("NoAnswer"));
    run(far
        .command("nft")
        .args(["delete", "table", "inet", "guest"]))
    .unwrap();

    // The command line says the same.
    for address in ["10.4.0.4", "fd00:4::4"] {
        let here = checked_here(&bed, &["--to", address, "--port", "7007"]);
        assert_eq!(
            (&here["connectionStatus"], probes(&here)),
            (&json!("Connected"), all)
        );
        let here = checked_here(&bed, &["--to", address, "--port", "7008"]);
        assert_eq!(
            (issue(&here), probes(&here)),
            (guest("ConnectionRefused"), none)
        );
    }
    let text = ["connectivity-check", "--from", "one", "--to", "10.4.0.4"];
    let text = bed.daemon.command(&text).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("10 sent, 0 failed; "), "{text}");

    // What is refused on the way was tried, too, and the issue is the route's.
    let black = checked(&bed, json!({ "address": "10.99.0.1" }), "Icmp");
    assert_eq!(probes(&black), none);
    assert_eq!(
        issue(&black),
        ("UserDefinedRoute".to_owned(), "next_hop_none".to_owned())
    );

    // No probe is like this packet: its source's port, its protocol.
    let body = json!({
        "source": { "resourceId": machine("one"), "port": 5000 },
        "destination": to(7007),
        "protocol": "Tcp",
    });
    let path = watcher("connectivityCheck");
    let unsent = (None, None, false);
    let told = good(&bed, "post", &path, Some(&body));
    assert_eq!(
        (&told["connectionStatus"], probes(&told)),
        (&json!("Connected"), unsent)
    );
    let udp = ["--to", "10.4.0.4", "--port", "7008", "--proto", "udp"];
    let told = checked_here(&bed, &udp);
    assert_eq!(
        (&told["connectionStatus"], probes(&told)),
        (&json!("Connected"), unsent)
    );

    // A port that is down sends nothing: its resources say that it would arrive, and no more.
    bed.host.ip("link set one down").unwrap();
    bed.wait(|| {
        let ports = bed.daemon.json(&["ports"])?;
        let mut ports = ports["value"].as_array().unwrap().iter();
        Ok(ports.any(|port| port["device"] == "one" && port["state"] == "device-down"))
    })
    .unwrap();
    let told = checked(&bed, to(7007), "Tcp");
    assert_eq!(
        (&told["connectionStatus"], probes(&told)),
        (&json!("Connected"), unsent)
    );
}
