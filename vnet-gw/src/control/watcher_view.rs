//! Network Watcher's questions about packets, by names: pure functions of what is in force, and of
//! how ports and tunnels fare where a daemon tells.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vnet_gw_core::{
    compile::CompileOptions,
    ike::TunnelState,
    model::{Direction, NetworkInterface, ResourceId},
    watcher::{
        Connectivity, Extent, Fares, Packet, Predictor, Source, TopologyResource, Why,
        connectivity, topology_view, why,
    },
};

use super::{ErrorCode, ErrorReply, PortList, Snapshot, find_nic, find_subnet, find_vnet};
use crate::{
    probe::ProbeSpec,
    vpn::{VpnStatus, state_name},
};

/// What is asked about a packet that a networkInterface sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PacketQuestion {
    pub network_interface: String,
    pub destination: IpAddr,
    pub protocol: IpProtocol,
    /// Of TCP and UDP.
    #[serde(default)]
    pub port: Option<u16>,
    /// One of the networkInterface's own where nothing is said.
    #[serde(default)]
    pub source: Option<IpAddr>,
    #[serde(default)]
    pub source_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IpProtocol {
    Tcp,
    Udp,
    Icmp,
}

/// `ipFlowVerify`: one end is the networkInterface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowQuestion {
    pub network_interface: String,
    pub outbound: bool,
    pub protocol: IpProtocol,
    /// The networkInterface's primary one where nothing is said.
    #[serde(default)]
    pub local_address: Option<IpAddr>,
    #[serde(default)]
    pub local_port: Option<u16>,
    pub remote_address: IpAddr,
    #[serde(default)]
    pub remote_port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowVerdict {
    /// `Allow` or `Deny`.
    pub access: String,
    /// Of the rule that decided; without a group there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<String>,
    /// The network security group of that rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_security_group: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyReply {
    pub resources: Vec<TopologyResource>,
}

/// What stands for any port of the side that opens a flow (RFC 6335, section 6).
const ANY_PORT: u16 = 49_152;

fn wrong(message: impl ToString) -> ErrorReply {
    ErrorReply::new(ErrorCode::Name, message)
}

impl IpProtocol {
    fn packet(self, source: IpAddr, destination: IpAddr) -> Result<Packet, ErrorReply> {
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(wrong(format!(
                "{source} and {destination} are not of one address family; give two that are"
            )));
        }
        Ok(match self {
            Self::Tcp => Packet::new(Packet::TCP, source, destination),
            Self::Udp => Packet::new(Packet::UDP, source, destination),
            Self::Icmp => Packet::icmp(source, destination),
        })
    }
}

impl PacketQuestion {
    fn packet(&self, nic: &NetworkInterface) -> Result<Packet, ErrorReply> {
        let mut own = nic
            .ip_configurations
            .iter()
            .map(|one| one.private_ip_address);
        let source = self
            .source
            .or_else(|| own.find(|address| address.is_ipv4() == self.destination.is_ipv4()));
        let source = source.ok_or_else(|| {
            wrong(format!(
                "networkInterface {} has no address of the family of {}; give another destination",
                nic.id.name(),
                self.destination
            ))
        })?;
        let packet = self.protocol.packet(source, self.destination)?;
        let (port, source_port) = (self.port, self.source_port);
        match (packet.has_ports(), port) {
            (true, Some(port)) => Ok(packet.with_ports(source_port.unwrap_or(ANY_PORT), port)),
            (true, None) => Err(wrong(format!(
                "{} needs a port: give --port",
                packet.protocol_name()
            ))),
            (false, None) if source_port.is_none() => Ok(packet),
            (false, _) => Err(wrong(format!(
                "{} has no ports: leave them out, or give --proto tcp or udp",
                packet.protocol_name()
            ))),
        }
    }
}

/// What the daemon knows.
struct Known<'a> {
    snapshot: &'a Snapshot,
    ports: Option<&'a PortList>,
    vpn: Option<&'a VpnStatus>,
}

impl Fares for Known<'_> {
    fn port(&self, id: &str) -> Option<String> {
        let id = ResourceId::new(id);
        let mut rows = self.ports?.value.iter();
        let row = rows.find(|row| ResourceId::new(&row.network_interface) == id)?;
        match row.state.as_str() {
            "up" => None,
            "no-device" => Some(format!(
                "The network device {} of {} is not there: create it, or correct the tag \
                 vnet-gw:device.",
                row.device,
                id.name()
            )),
            state => Some(format!(
                "The port of {} is {state}: see `vnet-gw ports`.",
                id.name()
            )),
        }
    }

    fn connection(&self, id: &str) -> Option<String> {
        let id = ResourceId::new(id);
        let vpn = self.vpn?;
        let mut all = vpn.gateways.iter().flat_map(|one| &one.connections);
        let (state, reason) = match all.find(|one| one.id == id) {
            Some(known) => (known.state(), known.reason()),
            None => {
                let why = super::vpn_view::elsewhere(&self.snapshot.topology, &id);
                (TunnelState::default(), Some(why))
            }
        };
        if state == TunnelState::Connected {
            return None;
        }
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        Some(format!(
            "The tunnel of connection {} is {}{reason}. See `vnet-gw connection show {0}`.",
            id.name(),
            state_name(state)
        ))
    }
}

fn predictor<'a>(snapshot: &'a Snapshot, ports: Option<&PortList>) -> Predictor<'a> {
    Predictor::new(&snapshot.topology, CompileOptions::default())
        .with_ports_of(&snapshot.image)
        .with_internet_port(snapshot.internet_port(ports))
}

fn nic_of<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a NetworkInterface, ErrorReply> {
    let id = find_nic(&snapshot.topology, name).map_err(wrong)?;
    let nic = snapshot.topology.network_interfaces.get(id);
    nic.map(|nic| &**nic)
        .ok_or_else(|| wrong(format!("networkInterface {id}: it is gone")))
}

/// Why a packet arrives or does not.
pub fn why_packet(
    snapshot: &Snapshot,
    question: &PacketQuestion,
    ports: Option<&PortList>,
    vpn: Option<&VpnStatus>,
) -> Result<Why, ErrorReply> {
    let nic = nic_of(snapshot, &question.network_interface)?;
    let packet = question.packet(nic)?;
    let known = Known {
        snapshot,
        ports,
        vpn,
    };
    let from = Source::NetworkInterface(&nic.id);
    why(&predictor(snapshot, ports), from, &packet, &known).map_err(wrong)
}

/// Network Watcher's `connectivityCheck`, by prediction.
pub fn connectivity_check(
    snapshot: &Snapshot,
    question: &PacketQuestion,
    ports: Option<&PortList>,
) -> Result<Connectivity, ErrorReply> {
    let nic = nic_of(snapshot, &question.network_interface)?;
    let packet = question.packet(nic)?;
    let from = Source::NetworkInterface(&nic.id);
    let trip = predictor(snapshot, ports)
        .round_trip(from, &packet)
        .map_err(wrong)?;
    Ok(connectivity(&trip, &packet))
}

/// The probes that such a check sends, where they can be sent.
pub fn connectivity_probes(snapshot: &Snapshot, question: &PacketQuestion) -> Option<ProbeSpec> {
    let nic = nic_of(snapshot, &question.network_interface).ok()?;
    let packet = question.packet(nic).ok()?;
    // Probes have ports of their own.
    let free = question.source_port.is_none();
    ProbeSpec::of_check(nic, &packet).filter(|_| free)
}

/// Network Watcher's `ipFlowVerify`.
pub fn ip_flow_verify(
    snapshot: &Snapshot,
    question: &FlowQuestion,
) -> Result<FlowVerdict, ErrorReply> {
    let nic = nic_of(snapshot, &question.network_interface)?;
    let mut own = nic
        .ip_configurations
        .iter()
        .map(|one| one.private_ip_address);
    let remote = question.remote_address;
    let local = question
        .local_address
        .or_else(|| own.find(|address| address.is_ipv4() == remote.is_ipv4()));
    let local = local.ok_or_else(|| {
        wrong(format!(
            "networkInterface {} has no address of the family of {remote}; give another",
            nic.id.name()
        ))
    })?;
    let (direction, packet) = match question.outbound {
        true => (
            Direction::Outbound,
            question.protocol.packet(local, remote)?,
        ),
        false => (Direction::Inbound, question.protocol.packet(remote, local)?),
    };
    let (from, to) = match question.outbound {
        true => (question.local_port, question.remote_port),
        false => (question.remote_port, question.local_port),
    };
    let packet = match (packet.has_ports(), to) {
        (true, Some(to)) => packet.with_ports(from.unwrap_or(ANY_PORT), to),
        (true, None) => {
            return Err(wrong(format!(
                "{} needs the port that the flow is opened to: give it behind the address, as in \
                 10.0.0.4:443",
                packet.protocol_name()
            )));
        }
        (false, _) => packet,
    };
    let checkpoint = predictor(snapshot, None).checkpoint(nic, direction, &packet);
    let decisive = checkpoint.decisive();
    let access = match checkpoint.denied() {
        Some(_) => "Deny",
        None => "Allow",
    };
    Ok(FlowVerdict {
        access: access.to_owned(),
        rule_name: decisive.and_then(|one| one.rule_name()),
        network_security_group: decisive.map(|one| one.group.to_string()),
    })
}

/// Network Watcher's `topology`, of a virtual network or a subnet.
pub fn topology(snapshot: &Snapshot, name: &str) -> Result<TopologyReply, ErrorReply> {
    let all = &snapshot.topology;
    let vnet = find_vnet(all, name);
    let (extent, region) = match (vnet, find_subnet(all, name)) {
        (Ok(vnet), _) => (Extent::VirtualNetwork(vnet), all.virtual_networks.get(vnet)),
        (_, Ok(subnet)) => (Extent::Subnet(subnet), None),
        (Err(error), _) => return Err(wrong(error)),
    };
    let region = match (extent, region) {
        (_, Some(vnet)) => Some(&**vnet),
        (Extent::Subnet(subnet), _) => all.vnet_of_subnet(subnet),
        _ => None,
    };
    let region = region.map_or("", |vnet| vnet.location.as_str());
    Ok(TopologyReply {
        resources: topology_view(all, extent, region),
    })
}
