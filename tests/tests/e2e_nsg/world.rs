//! Two NICs in subnets of one VNet, each with a group of its own.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};
use vnet_gw_lab::{
    Workload,
    probe::tcp,
    template::{Nic, SecurityRule, Template},
};
use vnet_gw_tests::bed::{Bed, Hook};

/// The port of UDP that `db` serves.
pub(crate) const SERVED: u16 = 5_353;
/// How long an answer may take, and how long one is waited for that must not come.
const PATIENCE: Duration = Duration::from_secs(2);
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

pub(crate) fn rule<'a>(
    name: &'a str,
    access: &'a str,
    protocol: &'a str,
    ports: &'a str,
) -> SecurityRule<'a> {
    SecurityRule {
        name,
        direction: "Inbound",
        access,
        protocol,
        ports,
    }
}

/// Any TCP is served where `tcp`, and the UDP port.
pub(crate) fn template(tcp: bool, flush: bool) -> Template {
    let mut template = Template::new();
    let service = SERVED.to_string();
    let mut served = vec![
        rule("Dns", "Allow", "Udp", &service),
        rule("Nothing", "Deny", "*", "*"),
    ];
    if tcp {
        served.insert(0, rule("AnyTcp", "Allow", "Tcp", "*"));
    }
    template
        .security_group("served", "eastus", flush, &served)
        .security_group(
            "quiet",
            "eastus",
            false,
            &[rule("Nobody", "Deny", "*", "*")],
        )
        .vnet("VNet1", "eastus", &["10.1.0.0/16", "fd00:1::/48"])
        .subnet("VNet1", "Front", &["10.1.0.0/24", "fd00:1::/64"], None)
        .subnet("VNet1", "Back", &["10.1.1.0/24", "fd00:1:0:1::/64"], None)
        .nic(&Nic {
            name: "web",
            device: "web0",
            subnet: "VNet1/Front",
            addresses: &["10.1.0.4", "fd00:1::4"],
            forwarding: false,
        })
        .nic(&Nic {
            name: "db",
            device: "db0",
            subnet: "VNet1/Back",
            addresses: &["10.1.1.4", "fd00:1:0:1::4"],
            forwarding: false,
        })
        .secure("web", Some("quiet"))
        .secure("VNet1/Back", Some("served"));
    template
}

pub(crate) fn bed(hook: Hook, args: &[&str]) -> Bed {
    let args = [&["--ephemeral"], args].concat();
    Bed::start_with(&template(true, false), hook, &args, |_, _| Ok(())).unwrap()
}

/// Both addresses of a workload.
pub(crate) fn addresses(workload: &Workload) -> [IpAddr; 2] {
    [workload.ipv4().unwrap(), workload.ipv6().unwrap()]
}

/// A connection, `None` where none comes about.
pub(crate) fn connect(
    bed: &Bed,
    from: &str,
    to: &str,
    address: IpAddr,
) -> Option<(TcpStream, TcpStream)> {
    let (from, to) = (bed.workload(from), bed.workload(to));
    tcp::connect(&from.netns, &to.netns, address, SILENCE).unwrap()
}

/// Whether what one end says arrives at the other.
pub(crate) fn talks(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    to.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    let mut heard = [0; 5];
    from.write_all(b"hello").unwrap();
    to.read_exact(&mut heard).is_ok() && heard == *b"hello"
}

/// A socket in a workload.
pub(crate) fn udp(bed: &Bed, name: &str, address: IpAddr, port: u16) -> UdpSocket {
    let open = || -> Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(address, port)).context("binding")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    };
    bed.workload(name).netns.enter(open).unwrap().unwrap()
}

/// Whether `data` arrives.
pub(crate) fn arrives(from: &UdpSocket, to: &UdpSocket, data: &[u8], patience: Duration) -> bool {
    to.set_read_timeout(Some(patience)).unwrap();
    from.send_to(data, to.local_addr().unwrap()).unwrap();
    let mut heard = vec![0; 65_536];
    matches!(to.recv_from(&mut heard), Ok((length, _)) if heard[..length] == *data)
}

/// A number in what `vnet-gw nsg show` says of flows.
pub(crate) fn flows(bed: &Bed, what: &str) -> u64 {
    let shown = bed.daemon.json(&["nsg", "show"]).unwrap();
    shown["flows"][what].as_u64().unwrap()
}

/// How often a rule decided.
pub(crate) fn hits(bed: &Bed, group: &str, name: &str) -> u64 {
    let shown = bed.daemon.json(&["nsg", "show", group]).unwrap();
    let rules = shown["value"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["name"] == name);
    rule.unwrap_or_else(|| panic!("no rule {name} in {shown}"))["hits"]
        .as_u64()
        .unwrap()
}
