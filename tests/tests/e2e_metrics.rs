//! Metrics: what Prometheus reads from daemons that carry traffic, and what the dashboard asks for.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    net::UdpSocket,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};
use vnet_gw_lab::{
    Daemon, Lab,
    probe::{frame::udp_frame, tcp},
    template::{Nic, SecurityRule, Template},
};
use vnet_gw_tests::{
    bed::{Bed, Hook, binary},
    metrics::{ADDRESS, Scrape, ask},
    regions,
    vpn_bed::{VpnBed, template},
};

const ARGS: [&str; 5] = [
    "--ephemeral",
    "--metrics",
    ADDRESS,
    "--reconcile-interval",
    "1s",
];

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vnet-gw/dashboards/vnet-gw.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Names of metrics in a query.
fn names(query: &str) -> BTreeSet<String> {
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let words = query.split(word);
    words
        .filter(|word| word.starts_with("vnet_gw_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn two_regions_are_measured_and_the_dashboard_asks_for_what_there_is() {
    let template = template().unwrap();
    let bed = VpnBed::start_with(&template, &template, &ARGS).unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    // So that the API has answered something, and the data path was looked at.
    let reconciled =
        || bed.west.daemon.json(&["status"]).unwrap()["datapath"]["reconciles"].clone();
    while reconciled() == 0 {
        thread::sleep(Duration::from_millis(100));
    }
    bed.west
        .daemon
        .output(&["rest", "get", "/subscriptions"])
        .unwrap();
    let answer = ask(&bed.west.host, "GET", "/metrics").unwrap();
    assert_eq!(answer.status, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);
    assert!(!answer.body.contains("sharedKey") && !answer.body.contains("Abc"));
    let scrape = Scrape::read(&answer.body).unwrap();
    assert_eq!(scrape.wrong, [""; 0]);

    // The same as the command line says.
    let connection = [("connection", "vnet-gw/VNet1-to-VNet4")];
    assert_eq!(scrape.sum("vnet_gw_tunnel_up", &connection).unwrap(), 4.0);
    assert_eq!(
        scrape.sum("vnet_gw_connection_up", &connection).unwrap(),
        1.0
    );
    // As many as are listed: where both ends began at once, twice as many for a moment.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let scrape = Scrape::of(&bed.west.host).unwrap();
        let counted = scrape.sum("vnet_gw_tunnel_child_sas", &connection);
        let (counted, listed) = (counted.unwrap(), bed.west.spis().unwrap().len());
        if counted == listed as f64 {
            break;
        }
        assert!(Instant::now() < deadline, "{counted} of {listed}");
        thread::sleep(Duration::from_millis(100));
    }
    let (ingress, egress) = bed.west.row().unwrap().bytes();
    let counted = |name: &str| scrape.sum(name, &connection).unwrap();
    assert_eq!(
        counted("vnet_gw_tunnel_receive_bytes_total"),
        ingress as f64
    );
    assert_eq!(
        counted("vnet_gw_tunnel_transmit_bytes_total"),
        egress as f64
    );
    // 4 MiB of TCP and the pings, in both families, went each way.
    assert!(egress > 8 << 20, "{egress}");
    let vm = [("network_interface", "vnet-gw/vm-west")];
    assert_eq!(scrape.sum("vnet_gw_port_up", &vm).unwrap(), 1.0);
    let sent = scrape.sum("vnet_gw_port_receive_bytes_total", &vm).unwrap();
    // Super-packets: fewer headers than in the tunnel.
    let payload = f64::from(8 << 20);
    assert!(sent > payload, "{sent}");
    let routed = [
        ("subnet", "vnet-gw/VNet1/FrontEnd"),
        ("next_hop_type", "VirtualNetworkGateway"),
    ];
    let routed = scrape.sum("vnet_gw_route_bytes_total", &routed).unwrap();
    assert!(routed > payload, "{routed}");
    let answered = [("method", "GET"), ("code", "2xx")];
    assert!(scrape.sum("vnet_gw_api_requests_total", &answered).unwrap() >= 1.0);
    assert!(scrape.sum("vnet_gw_store_commits_total", &[]).unwrap() >= 1.0);
    let own = scrape.sum("process_resident_memory_bytes", &[]).unwrap();
    assert!(own > 1e6, "{own}");

    // Families without samples count: there is no security rule here.
    let samples = scrape.families.iter().flat_map(|family| &family.samples);
    let mut known: BTreeSet<String> = samples.map(|sample| sample.name.clone()).collect();
    for family in &scrape.families {
        known.insert(match family.kind.as_str() {
            "counter" => format!("{}_total", family.name),
            _ => family.name.clone(),
        });
    }
    let dashboard = dashboard();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            continue;
        }
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            let names = names(query);
            assert!(!names.is_empty(), "{title}: {query}");
            for name in names {
                assert!(known.contains(&name), "{title}: there is no {name}");
                asked.insert(name);
            }
        }
    }
    assert!(asked.len() > 30, "{asked:?}");
}

/// `web` may ask `db` at port 5353 of UDP, and nowhere else.
fn guarded() -> Template {
    let rule = |name, access, protocol, ports| SecurityRule {
        name,
        direction: "Inbound",
        access,
        protocol,
        ports,
    };
    let rules = [
        rule("Dns", "Allow", "Udp", "5353"),
        rule("Nothing", "Deny", "*", "*"),
    ];
    let mut template = Template::new();
    template
        .security_group("served", "eastus", false, &rules)
        .vnet("VNet1", "eastus", &["10.1.0.0/16"])
        .subnet("VNet1", "FrontEnd", &["10.1.0.0/24"], None);
    for (name, address) in [("web", "10.1.0.4"), ("db", "10.1.0.5")] {
        template.nic(&Nic {
            name,
            subnet: "VNet1/FrontEnd",
            addresses: &[address],
            device: name,
            forwarding: false,
        });
    }
    template.secure("db", Some("served"));
    template
}

#[test]
fn rules_and_flows_are_counted_and_a_full_table_shows() {
    const ROOM: u32 = 64;
    const ASKED: u32 = 100;
    let room = ROOM.to_string();
    let args = [&ARGS[..], &["--flows", &room]].concat();
    let bed = Bed::start_with(&guarded(), Hook::Tcx, &args, |_, _| Ok(())).unwrap();
    let socket = |name: &str, port: u16| {
        let workload = bed.workload(name);
        let address = workload.ipv4().unwrap();
        let socket = workload.netns.enter(|| UdpSocket::bind((address, port)));
        let socket = socket.unwrap().unwrap();
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).unwrap();
        socket
    };
    let (serves, closed) = (socket("db", 5353), socket("db", 5354));
    let mut heard = [0; 16];
    // Each comes about with its answer, as long as there is room.
    let asking: Vec<UdpSocket> = (0..ASKED)
        .map(|_| {
            let asks = socket("web", 0);
            asks.send_to(b"who?", serves.local_addr().unwrap()).unwrap();
            let (_, from) = serves.recv_from(&mut heard).unwrap();
            serves.send_to(b"me", from).unwrap();
            asks.recv_from(&mut heard).unwrap();
            asks
        })
        .collect();
    for asks in &asking[..7] {
        asks.send_to(b"who?", closed.local_addr().unwrap()).unwrap();
    }
    bed.wait(|| Ok(bed.counted("nsg_inbound")? == 7)).unwrap();

    let hits = |scrape: &Scrape, rule: &str, access: &str| {
        let labels = [
            ("network_security_group", "vnet-gw/served"),
            ("direction", "Inbound"),
            ("rule", rule),
            ("access", access),
        ];
        scrape
            .sum("vnet_gw_security_rule_hits_total", &labels)
            .unwrap()
    };
    let flows = |scrape: &Scrape, name: &str, family: &str, state: &str| {
        let labels = [("family", family), ("state", state)];
        scrape.sum(name, &labels).unwrap()
    };
    // The tables are looked at every few seconds.
    let mut scrape = Scrape::of(&bed.host).unwrap();
    bed.wait(|| {
        scrape = Scrape::of(&bed.host)?;
        Ok(flows(&scrape, "vnet_gw_flows", "ipv4", "established") > 0.0)
    })
    .unwrap();
    assert_eq!(scrape.wrong, [""; 0]);
    assert_eq!(hits(&scrape, "Dns", "Allow"), f64::from(ASKED));
    assert_eq!(hits(&scrape, "Nothing", "Deny"), 7.0);
    assert_eq!(hits(&scrape, "DenyAllInBound", "Deny"), 0.0);
    let found = |name, family| flows(&scrape, name, family, "established");
    assert_eq!(found("vnet_gw_flows_limit", "ipv4"), f64::from(ROOM));
    assert_eq!(found("vnet_gw_flows", "ipv4"), f64::from(ROOM));
    assert_eq!(found("vnet_gw_flows", "ipv6"), 0.0);
    let full = [("reason", "flow_table_full")];
    let slow = scrape.sum("vnet_gw_slow_packets_total", &full).unwrap();
    assert_eq!(slow, f64::from(ASKED - ROOM));
    // Whoever found no room goes on.
    let last = asking.last().unwrap();
    last.send_to(b"still?", serves.local_addr().unwrap())
        .unwrap();
    assert_eq!(serves.recv_from(&mut heard).unwrap().0, 6);
}

/// So many ports, with nobody behind their devices.
fn many(devices: u16) -> Template {
    let mut template = Template::new();
    template.vnet("VNet1", "eastus", &["10.1.0.0/16"]).subnet(
        "VNet1",
        "FrontEnd",
        &["10.1.0.0/17"],
        None,
    );
    for number in 0..devices {
        let place = number + 256;
        template.nic(&Nic {
            name: &format!("nic{number}"),
            subnet: "VNet1/FrontEnd",
            addresses: &[&format!("10.1.{}.{}", place / 256, place % 256)],
            device: &format!("p{number}"),
            forwarding: false,
        });
    }
    template
}

#[test]
fn a_scrape_of_many_ports_does_not_hold_up_the_loop() {
    const PORTS: u16 = 1_000;
    /// Of the loop, in seconds: a tenth of what ten thousand ports may take.
    const BAR: f64 = 0.01;
    let lab = Lab::new().unwrap();
    let host = lab.namespace("host").unwrap();
    let links: String = (0..PORTS)
        .map(|n| {
            let ends = format!("link set p{n} up\nlink set q{n} up\n");
            format!("link add p{n} type veth peer name q{n}\n{ends}")
        })
        .collect();
    let file = lab.dir().join("links");
    fs::write(&file, links).unwrap();
    host.ip(&format!("-batch {}", file.display())).unwrap();
    let args = [&ARGS[..], &["--hook", "tcx", "--internet", "off"]].concat();
    let template = many(PORTS).value();
    let binary = binary("vnet-gw").unwrap();
    let instance = lab.instance("many").unwrap();
    let _daemon = Daemon::start(&lab, &binary, &host, instance, &template, &args).unwrap();
    // The quietest of some: others use the machine, too.
    let held_up = (0..5).map(|_| {
        let scrape = Scrape::of(&host).unwrap();
        assert_eq!(
            scrape.sum("vnet_gw_port_up", &[]).unwrap(),
            f64::from(PORTS)
        );
        let counted = scrape.samples("vnet_gw_port_transmit_packets_total", &[]);
        assert_eq!(counted.len(), usize::from(PORTS));
        let took = scrape.sum("vnet_gw_scrape_loop_duration_seconds", &[]);
        took.unwrap()
    });
    let least = held_up.fold(f64::INFINITY, f64::min);
    assert!(least < BAR, "the loop took {least} s at least");
    println!("{PORTS} ports: {least} s of the loop");
}

#[test]
fn a_scrape_while_traffic_flows_costs_none_of_it_and_only_grows() {
    let bed = Bed::start_with(&regions::template(), Hook::Tcx, &ARGS, |_, _| Ok(())).unwrap();
    let (near, far) = (bed.workload("one"), bed.workload("peered"));
    let to = far.ipv4().unwrap();
    let size = 256 << 20;
    let bytes = |text: &str| {
        let scrape = Scrape::read(text).unwrap();
        let labels = [
            ("subnet", "vnet-gw/VNet1/FrontEnd"),
            ("next_hop_type", "VNetPeering"),
            ("family", "ipv4"),
        ];
        scrape.sum("vnet_gw_route_bytes_total", &labels).unwrap()
    };
    let scrape = || ask(&bed.host, "GET", "/metrics").unwrap().body;
    let mut texts = vec![scrape()];
    thread::scope(|scope| {
        let transfer = scope.spawn(|| tcp::transfer(&near.netns, &far.netns, to, size));
        while !transfer.is_finished() {
            texts.push(scrape());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(transfer.join().unwrap().unwrap().is_some());
    });
    texts.push(scrape());
    // Ten of them: each is read by a process of its own.
    let every = texts.len().div_ceil(8);
    let few = texts.iter().step_by(every).chain(texts.last());
    let seen: Vec<f64> = few.map(|text| bytes(text)).collect();
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.len() > 3, "{seen:?}");
    let carried = seen.last().unwrap() - seen.first().unwrap();
    assert!(carried > size as f64, "{carried}");

    // Spoofed packets are counted under their reason.
    let spoofed = [("reason", "spoofed_address")];
    let dropped = |scrape: &Scrape| scrape.sum("vnet_gw_drop_packets_total", &spoofed).unwrap();
    let before = dropped(&Scrape::of(&bed.host).unwrap());
    let frame = udp_frame(
        mac_from_u64(FABRIC_MAC),
        near.mac,
        ("10.1.0.77".parse().unwrap(), 7),
        (to, 7),
        b"spoofed",
    );
    near.packet_socket().unwrap().send(&frame).unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(dropped(&Scrape::of(&bed.host).unwrap()), before + 1.0);

    for (method, path, status) in [
        ("GET", "/", 404),
        ("POST", "/metrics", 405),
        ("HEAD", "/metrics", 200),
    ] {
        let answer = ask(&bed.host, method, path).unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    let status = bed.daemon.json(&["status"]).unwrap();
    assert_eq!(status["metrics"], format!("http://{ADDRESS}/metrics"));
}
