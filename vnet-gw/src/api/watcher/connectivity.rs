//! `connectivityCheck`: hop by hop, as the resources and the tunnels have it, and what becomes of
//! probes.

use std::net::IpAddr;

use serde_json::Value;
use vnet_gw_core::{
    arm::{Live, Target},
    compile::CompileOptions,
    model::{NetworkInterface, ResourceId, Topology},
    watcher::{
        Connectivity, InternetPort, Outcome, Packet, Predictor, Source, Status, connectivity,
    },
};

use super::question::{self, Question};
use crate::{
    api::{Answer, Api, Call, Refusal, changes::subscription_of},
    control::Asked,
    identity::Permission,
    probe::ProbeSpec,
};

/// Where nothing says otherwise: the source's port, of what tries out a connection.
const SOURCE_PORT: u16 = 49_152;

impl Api {
    pub(super) async fn connectivity(
        &self,
        call: &Call,
        target: &Target,
        question: &Question<'_>,
    ) -> Answer {
        // Asked for first: a state is not kept while others make new ones.
        let tunnels = self.tunnels().await;
        let internet = self.internet_port().await;
        let state = self.engine.state();
        let topology = &state.topology;
        let Asks {
            nic,
            packet,
            any_port,
        } = asked(call, topology, question)?;
        let options = CompileOptions {
            host_name: self.settings.host.as_deref(),
            ..CompileOptions::default()
        };
        let predictor = Predictor::new(topology, options).with_internet_port(internet);
        let from = Source::NetworkInterface(&nic.id);
        let trip = predictor
            .round_trip(from, &packet)
            .map_err(|error| Refusal::bad("ResourceNotInForce", error.to_string()))?;
        let mut check: Connectivity = connectivity(&trip, &packet);
        if let Outcome::Tunnel { connection, .. } = &trip.there.outcome
            && check.connection_status == Status::Unknown
        {
            check.connection_status = match tunnels.connection(&connection.id) {
                Some(live) if live.status == "Connected" => Status::Connected,
                Some(_) => Status::Disconnected,
                None => Status::Unknown,
            };
        }
        // Whoever may only look sends no packets.
        let may = self.may(call, target, Permission::Write, "connectivityCheck/action");
        let probes = ProbeSpec::of_check(nic, &packet).filter(|_| any_port && may.is_ok());
        let questions = self.questions.clone();
        let work = async move {
            if let Some(probes) = probes
                && let Some(outcomes) = probes.send(&questions).await
            {
                check.probed(packet.destination, &outcomes);
            }
            let answer: Value = question::shown(&check).map_err(|refusal| *refusal.error)?;
            Ok(Some(answer))
        };
        Ok(self
            .operations
            .begin(call, subscription_of(&target.id), work)
            .both())
    }

    /// As the data path has it; as it should be, where the daemon ends.
    async fn internet_port(&self) -> Option<InternetPort> {
        match self.ask_daemon(Asked::Ports).await {
            Ok(ports) => ports.internet_port(),
            Err(_) => self.settings.internet.then_some(InternetPort::UP),
        }
    }
}

/// What is asked about.
struct Asks<'t> {
    nic: &'t NetworkInterface,
    packet: Packet,
    /// Nothing is said of the source's port.
    any_port: bool,
}

fn asked<'t>(
    call: &Call,
    topology: &'t Topology,
    question: &Question<'_>,
) -> Result<Asks<'t>, Refusal> {
    let source = question.needed_object("source")?;
    let destination = question.needed_object("destination")?;
    let source_id = ResourceId::new(source.needed("resourceId")?);
    let machine = question::target_machine(call, topology, &source_id, "source.resourceId")?;
    let v6 = match question.text("preferredIPVersion")? {
        None => None,
        Some(_) => Some(question.choice("preferredIPVersion", &["IPv4", "IPv6"])? == "IPv6"),
    };
    let to = match (
        destination.text("address")?,
        destination.text("resourceId")?,
    ) {
        (Some(_), _) => destination.address("address")?,
        (None, Some(id)) => {
            let id = ResourceId::new(id);
            let other = question::target_machine(call, topology, &id, "destination.resourceId")?;
            let nics = other.interfaces.iter();
            let mut addresses = nics.flat_map(|nic| addresses(nic));
            let fits = |address: &IpAddr| v6.is_none_or(|v6| v6 == address.is_ipv6());
            addresses.find(fits).ok_or_else(|| {
                question::wrong("the destination has no address of preferredIPVersion.")
            })?
        }
        (None, None) => {
            return Err(question::wrong(
                "destination needs an address or a resourceId.",
            ));
        }
    };
    let mut all = machine.interfaces.iter();
    let found = all.find_map(|nic| {
        let mut own = addresses(nic);
        let own = own.find(|address| address.is_ipv4() == to.is_ipv4())?;
        Some((*nic, own))
    });
    let (nic, from) = found
        .ok_or_else(|| question::wrong("the source has no address of the destination's family."))?;
    let port = destination.optional_port("port")?;
    let protocol = match question.text("protocol")? {
        // As Azure does: a port means TCP.
        None if port.is_some() => "Tcp",
        None => "Icmp",
        Some(_) => question.choice("protocol", &["Tcp", "Http", "Https", "Icmp"])?,
    };
    let usual = match protocol {
        "Icmp" => {
            return Ok(Asks {
                nic,
                packet: Packet::icmp(from, to),
                any_port: true,
            });
        }
        "Http" => Some(80),
        "Https" => Some(443),
        _ => None,
    };
    let port = port
        .or(usual)
        .ok_or_else(|| question::wrong("destination.port is missing: TCP connects to a port."))?;
    let source_port = source.optional_port("port")?;
    let packet = Packet::new(Packet::TCP, from, to);
    Ok(Asks {
        nic,
        packet: packet.with_ports(source_port.unwrap_or(SOURCE_PORT), port),
        any_port: source_port.is_none(),
    })
}

fn addresses(nic: &NetworkInterface) -> impl Iterator<Item = IpAddr> {
    nic.ip_configurations
        .iter()
        .map(|one| one.private_ip_address)
}
