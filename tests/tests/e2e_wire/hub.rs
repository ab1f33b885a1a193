//! A hub with an appliance and a gateway, two spokes that use both, a site behind strongSwan and a
//! VNet that is peered with nothing: who gets an answer from whom.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use vnet_gw_core::{
    compile::CompileOptions,
    model::{DeployOptions, ResourceId, Topology, parse_template},
    watcher::{Outcome, Packet, Predictor, RoundTrip, Source},
};
use vnet_gw_lab::{
    Daemon, Lab, Netns, StrongSwan, Underlay,
    probe::{self, Ping},
    strongswan::{Child, Connection},
    template::{Allow, Gateway, Nic, Remote, Template},
    underlay::lan,
    workload::{Offloads, plug},
};
use vnet_gw_tests::bed::binary;

use crate::api::Api;

const NEAR: &str = "203.0.113.11";
const SITE: &str = "203.0.113.21";
const KEY: &str = "made+up+key+of+the+tests";
const TO_SITE: &str = "to-site";
const SITE_PREFIXES: [&str; 2] = ["10.102.0.0/16", "fd00:102::/48"];
const MACHINE: [&str; 2] = ["10.102.0.4", "fd00:102::4"];
/// How long the tunnel may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer may take.
const SILENCE: Duration = Duration::from_millis(400);
const PORTS: [u16; 2] = [80, 443];

/// Name, VNet, number of the VNet's prefixes, and of the address.
const NICS: [(&str, &str, u16, u16); 6] = [
    ("hub", "Hub", 100, 4),
    ("nva", "Hub", 100, 9),
    ("one", "Spoke1", 1, 4),
    ("other", "Spoke1", 1, 5),
    ("two", "Spoke2", 2, 4),
    ("alone", "Isolated", 3, 4),
];

fn space(number: u16) -> [String; 2] {
    [format!("10.{number}.0.0/16"), format!("fd00:{number}::/48")]
}

fn address(number: u16, last: u16) -> [String; 2] {
    [
        format!("10.{number}.0.{last}"),
        format!("fd00:{number}::{last}"),
    ]
}

fn vnet(template: &mut Template, name: &str, number: u16, table: Option<&str>) {
    template.vnet(
        name,
        "westeurope",
        &space(number).each_ref().map(String::as_str),
    );
    let subnet = [format!("10.{number}.0.0/24"), format!("fd00:{number}::/64")];
    template.subnet(
        name,
        "FrontEnd",
        &subnet.each_ref().map(String::as_str),
        table,
    );
}

fn networks() -> Template {
    let mut template = Template::new();
    let [nva4, nva6] = address(100, 9);
    for (table, other) in [("of-spoke1", 2), ("of-spoke2", 1)] {
        let [v4, v6] = space(other);
        let to = "VirtualAppliance";
        let routes = [(&*v4, to, Some(&*nva4)), (&*v6, to, Some(&*nva6))];
        template.route_table(table, "westeurope", &routes);
    }
    vnet(&mut template, "Hub", 100, None);
    template.subnet("Hub", "GatewaySubnet", &["10.100.255.0/27"], None);
    vnet(&mut template, "Spoke1", 1, Some("of-spoke1"));
    vnet(&mut template, "Spoke2", 2, Some("of-spoke2"));
    vnet(&mut template, "Isolated", 3, None);
    let spoke = Allow {
        forwarded_traffic: true,
        ..Allow::spoke()
    };
    for name in ["Spoke1", "Spoke2"] {
        template
            .peering("Hub", name, Allow::hub())
            .peering(name, "Hub", spoke);
    }
    template
        .gateway(&Gateway {
            name: "HubGW",
            vnet: "Hub",
            sku: "VpnGw1",
            addresses: &[NEAR],
            host: Some("near"),
        })
        .local_network_gateway("Site", "westeurope", SITE, &SITE_PREFIXES)
        .connection(TO_SITE, "HubGW", Remote::Site("Site"), KEY, json!({}));
    for (name, vnet, number, last) in NICS {
        template.nic(&Nic {
            name,
            subnet: &format!("{vnet}/FrontEnd"),
            addresses: &address(number, last).each_ref().map(String::as_str),
            device: name,
            forwarding: name == "nva",
        });
    }
    template
}

/// Priority, direction, access, protocol, source, destination, ports.
type Rule<'a> = (
    u16,
    &'a str,
    &'a str,
    &'a str,
    &'a [&'a str],
    &'a [&'a str],
    &'a [&'a str],
);

/// With groups on two subnets and two NICs.
fn template() -> Value {
    let site = &SITE_PREFIXES[..];
    let two = &["10.2.0.0/16", "fd00:2::/48"][..];
    let (any, all): (&[&str], &[&str]) = (&["*"], &["*"]);
    let groups: [(&str, &[Rule<'_>]); 4] = [
        (
            "of-one",
            &[
                (
                    100,
                    "Inbound",
                    "Allow",
                    "Tcp",
                    &["VirtualNetwork"],
                    any,
                    &["80"],
                ),
                (110, "Inbound", "Deny", "Tcp", site, any, all),
                (120, "Inbound", "Deny", "Udp", any, any, &["400-500"]),
                (100, "Outbound", "Deny", "Icmp", any, two, all),
            ],
        ),
        ("of-two", &[]),
        (
            "of-nva",
            &[
                (200, "Inbound", "Deny", "Udp", any, any, &["80"]),
                (200, "Outbound", "Deny", "Tcp", two, any, &["443"]),
            ],
        ),
        (
            "of-hub",
            &[
                (300, "Inbound", "Deny", "*", two, any, all),
                (
                    300,
                    "Outbound",
                    "Deny",
                    "Tcp",
                    any,
                    &["VirtualNetwork"],
                    &["443"],
                ),
            ],
        ),
    ];
    let mut value = networks().value();
    let Some(resources) = value["resources"].as_array_mut() else {
        return value;
    };
    for (name, rules) in groups {
        let rules: Vec<Value> = rules
            .iter()
            .map(
                |(priority, direction, access, protocol, source, destination, ports)| {
                    json!({
                        "name": format!("{direction}-{priority}"),
                        "properties": {
                            "priority": priority, "direction": direction, "access": access,
                            "protocol": protocol,
                            "sourceAddressPrefixes": source, "sourcePortRange": "*",
                            "destinationAddressPrefixes": destination,
                            "destinationPortRanges": ports,
                        },
                    })
                },
            )
            .collect();
        resources.push(json!({
            "type": "Microsoft.Network/networkSecurityGroups",
            "apiVersion": "2024-05-01",
            "name": name,
            "location": "westeurope",
            "properties": {"securityRules": rules},
        }));
    }
    let group = |name: &str| json!({"id": format!("[resourceId('Microsoft.Network/networkSecurityGroups', '{name}')]")});
    for resource in resources {
        let name = resource["name"].as_str().unwrap_or_default().to_owned();
        let properties = &mut resource["properties"];
        match name.as_str() {
            "Spoke1" => {
                properties["subnets"][0]["properties"]["networkSecurityGroup"] = group("of-one")
            }
            "Spoke2" => {
                properties["subnets"][0]["properties"]["networkSecurityGroup"] = group("of-two")
            }
            "nva" => properties["networkSecurityGroup"] = group("of-nva"),
            "hub" => properties["networkSecurityGroup"] = group("of-hub"),
            _ => {}
        }
    }
    value
}

/// A workload, or the machine at the site.
struct End {
    name: &'static str,
    netns: Netns,
    addresses: [IpAddr; 2],
}

struct Bed {
    ends: Vec<End>,
    near: Daemon,
    instance: String,
    _swan: StrongSwan,
    /// Last: it removes what the others run in.
    _lab: Lab,
}

impl Bed {
    fn start(template: &Value) -> Result<Self> {
        let binary = binary("vnet-gw")?;
        let lab = Lab::new()?;
        let underlay = Underlay::new(&lab, "underlay")?;
        let site = lab.namespace("site")?;
        underlay.attach(&lab, &site, &[SITE.parse()?])?;
        let wires = [
            ("10.102.0.1".parse()?, MACHINE[0].parse()?, 24),
            ("fd00:102::1".parse()?, MACHINE[1].parse()?, 64),
        ];
        let machine = lan(&lab, &site, "machine", &wires)?;
        let swan = StrongSwan::start_with(&lab, &site, "retransmit_timeout = 1\n")?;
        let behind: Vec<String> = [100, 1, 2].into_iter().flat_map(space).collect();
        let behind: Vec<&str> = behind.iter().map(String::as_str).collect();
        let connection = Connection::new("gw", SITE.parse()?, NEAR.parse()?, KEY);
        let connection = Connection {
            remote_id: Some(NEAR.to_owned()),
            ..connection
        };
        swan.load(&[connection.child(Child::new("net", &SITE_PREFIXES, &behind))])?;
        let host = lab.namespace("host")?;
        underlay.attach(&lab, &host, &[NEAR.parse()?])?;
        let workloads = plug(&lab, &host, template, Offloads::Default)?;
        let mut ends = Vec::new();
        for (name, ..) in NICS {
            let found = workloads.iter().find(|workload| workload.name == name);
            let found = found.with_context(|| format!("no workload {name}"))?;
            let both = found.ipv4().zip(found.ipv6()).context("two addresses")?;
            ends.push(End {
                name,
                netns: found.netns.clone(),
                addresses: both.into(),
            });
            if name == "nva" {
                found.netns.sysctl("net.ipv4.ip_forward", "1")?;
                found.netns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
            }
        }
        ends.push(End {
            name: "machine",
            netns: machine,
            addresses: [MACHINE[0].parse()?, MACHINE[1].parse()?],
        });
        let args = [
            "--host",
            "near",
            "--ephemeral",
            "--hook",
            "tcx",
            "--internet",
            "off",
        ];
        let instance = lab.instance("near")?;
        let near = Daemon::start(&lab, &binary, &host, instance.clone(), template, &args)?;
        let deadline = Instant::now() + PATIENCE;
        while near.json(&["connection", "show", TO_SITE])?["connectionStatus"] != "Connected" {
            if Instant::now() > deadline {
                bail!(
                    "no tunnel; the daemon:\n{}\ncharon:\n{}",
                    near.log(),
                    swan.log()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            ends,
            near,
            instance,
            _swan: swan,
            _lab: lab,
        })
    }
}

/// Answers every datagram, at both ports, until `over`.
fn echo(end: &End, over: &AtomicBool) -> Result<()> {
    let sockets = end.netns.enter(|| -> Result<Vec<UdpSocket>> {
        let mut sockets = Vec::new();
        // Bound to addresses: the answer then comes from the one that was asked.
        for (address, port) in end
            .addresses
            .iter()
            .flat_map(|a| PORTS.map(|port| (*a, port)))
        {
            let socket = UdpSocket::bind(SocketAddr::new(address, port))?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        Ok(sockets)
    })??;
    let mut buffer = [0; 64];
    while !over.load(Ordering::Relaxed) {
        for socket in &sockets {
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                // What cannot be answered is what the other side finds out.
                let _ = socket.send_to(&buffer[..length], from);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Whether the packet is answered.
fn probed(from: &Netns, packet: &Packet) -> Result<bool> {
    let target = SocketAddr::new(packet.destination, packet.destination_port);
    let own = SocketAddr::new(packet.source, packet.source_port);
    match packet.protocol {
        Packet::TCP => {
            let connected = from.enter(|| TcpStream::connect_timeout(&target, SILENCE))?;
            // Nobody listens: a refusal is the far end's answer.
            let refused = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
            Ok(connected.map_or_else(|error| refused(&error), |_| true))
        }
        Packet::UDP => {
            let socket = from.enter(|| UdpSocket::bind(own))??;
            socket.set_read_timeout(Some(SILENCE))?;
            socket.send_to(b"wire", target)?;
            let mut buffer = [0; 64];
            let answer = socket.recv_from(&mut buffer);
            Ok(answer.is_ok_and(|(_, from)| from == target))
        }
        _ => {
            let ping = Ping {
                patience: SILENCE,
                ..Ping::new(packet.destination)
            };
            let outcome = ping.send(from)?;
            Ok(matches!(outcome, probe::Outcome::Reply { .. }))
        }
    }
}

/// Whether the prediction has an answer: of what goes into the tunnel, the one from its other end.
fn answered(trip: &RoundTrip<'_>) -> bool {
    let arrives =
        |outcome: &Outcome<'_>| matches!(outcome, Outcome::Delivered(_) | Outcome::Tunnel { .. });
    arrives(&trip.there.outcome)
        && trip
            .back
            .as_ref()
            .is_some_and(|back| arrives(&back.outcome))
}

struct Table<'a> {
    predictor: Predictor<'a>,
    topology: &'a Topology,
}

impl Table<'_> {
    fn predicts(&self, from: &End, packet: &Packet) -> Result<bool> {
        let nics = self.topology.network_interfaces.keys();
        let connections = self.topology.connections.keys();
        let named = |mut ids: Box<dyn Iterator<Item = &ResourceId> + '_>, name: &str| {
            ids.find(|id| id.name() == name).cloned()
        };
        let trip = match from.name {
            "machine" => {
                let id = named(Box::new(connections), TO_SITE).context("no connection")?;
                self.predictor.round_trip(Source::Connection(&id), packet)?
            }
            name => {
                let id = named(Box::new(nics), name).context("no NIC")?;
                let source = Source::NetworkInterface(&id);
                let trip = self.predictor.round_trip(source, packet)?;
                crate::fits_answers(&self.predictor, self.topology, &id, packet, &trip.there)?;
                trip
            }
        };
        Ok(answered(&trip))
    }
}

/// All packets from one end to another.
fn packets(from: &End, to: &End) -> Vec<Packet> {
    /// Below the range that the kernel chooses of.
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    let families = from.addresses.into_iter().zip(to.addresses);
    families
        .flat_map(|(source, destination)| {
            let with_ports = [Packet::TCP, Packet::UDP]
                .into_iter()
                .flat_map(move |protocol| {
                    PORTS.map(|port| {
                        let own = PORT.fetch_add(1, Ordering::Relaxed);
                        Packet::new(protocol, source, destination).with_ports(own, port)
                    })
                });
            with_ports.chain([Packet::icmp(source, destination)])
        })
        .collect()
}

/// Every ordered pair, each protocol, both families.
#[test]
fn everybody_to_everybody_across_a_hub() {
    let template = template();
    let topology = parse_template(&template.to_string(), &DeployOptions::default()).unwrap();
    let options = CompileOptions {
        host_name: Some("near"),
        ..CompileOptions::default()
    };
    let table = Table {
        predictor: Predictor::new(&topology, options),
        topology: &topology,
    };
    let bed = Bed::start(&template).unwrap();
    let site = MACHINE.map(|address| address.parse().unwrap());
    let mut api = Api::connect(&bed.instance, &topology, &site).unwrap();
    let mut expected = Vec::new();
    for (at, from) in bed.ends.iter().enumerate() {
        let others = bed.ends.iter().filter(|to| to.name != from.name);
        for (to, packet) in
            others.flat_map(|to| packets(from, to).into_iter().map(move |p| (to, p)))
        {
            let predicted = table.predicts(from, &packet).unwrap();
            let told = api.answered(&packet).unwrap();
            expected.push((at, to.name, packet, predicted, told));
        }
    }
    let over = AtomicBool::new(false);
    let (ends, expected) = (&bed.ends, &expected);
    let wrong: Vec<String> = thread::scope(|scope| {
        let echoes: Vec<_> = ends
            .iter()
            .map(|end| scope.spawn(|| echo(end, &over)))
            .collect();
        // The servers' sockets first.
        thread::sleep(Duration::from_millis(100));
        let senders: Vec<_> = (0..ends.len())
            .map(|at| {
                scope.spawn(move || -> Result<Vec<String>> {
                    let mut wrong = Vec::new();
                    for (_, to, packet, predicted, told) in
                        expected.iter().filter(|one| one.0 == at)
                    {
                        let end = &ends[at];
                        let seen = probed(&end.netns, packet)?;
                        if seen != *predicted || told.is_some_and(|told| told != seen) {
                            wrong.push(format!(
                                "{} → {to}, {} {} port {}: answered: {seen}, predicted: \
                                 {predicted}, the API: {told:?}",
                                end.name,
                                packet.protocol_name(),
                                packet.destination,
                                packet.destination_port,
                            ));
                        }
                    }
                    Ok(wrong)
                })
            })
            .collect();
        let wrong: Vec<Result<Vec<String>>> = senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .collect();
        over.store(true, Ordering::Relaxed);
        for echo in echoes {
            echo.join().unwrap().unwrap();
        }
        wrong
            .into_iter()
            .collect::<Result<Vec<_>>>()
            .unwrap()
            .concat()
    });
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), bed.near.log());
    let yes = expected.iter().filter(|one| one.3).count();
    let no = expected.len() - yes;
    println!("{yes} answered, {no} not");
    // What is never met proves nothing.
    assert!(yes > 100 && no > 100, "{yes} answered, {no} not");
    let told = expected.iter().filter_map(|one| one.4);
    let (yes, no): (Vec<bool>, Vec<bool>) = told.partition(|told| *told);
    let (yes, no) = (yes.len(), no.len());
    println!("the API: {yes} answered, {no} not; asked: {:?}", api.asked);
    assert!(yes > 100 && no > 100, "{yes} answered, {no} not");
}
