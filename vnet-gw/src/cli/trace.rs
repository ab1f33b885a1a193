//! `vnet-gw trace`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, OutputFormat, TraceArgs},
    output, source,
};
use crate::control::{
    ClientError, PacketOutcome, Request, Response, TraceStep, TracedPacket, short,
};

pub(super) fn run(cli: &Cli, args: &TraceArgs) -> Result<Verdict> {
    let mut daemon = source::daemon(cli)?;
    let request = Request::Trace {
        network_interface: args.nic.clone(),
        every: args.every,
        count: args.count,
    };
    if daemon.ask(request)? != Response::Tracing {
        return Err(ClientError::Unexpected.into());
    }
    daemon.patient()?;
    eprintln!("tracing what {} sends; Ctrl-C ends it", args.nic);
    loop {
        match daemon.receive()? {
            Some(Response::Packet(packet)) => match cli.output {
                OutputFormat::Json => output::json_line(&packet)?,
                OutputFormat::Table => output::print(&text(&packet))?,
            },
            Some(Response::Lost(packets)) => {
                eprintln!("{packets} packets left out: they come faster than they are read");
            }
            Some(Response::End(why)) => {
                eprintln!("{why}");
                return Ok(Verdict::Good);
            }
            Some(_) => return Err(ClientError::Unexpected.into()),
            None => return Err(ClientError::Gone(daemon.path().to_owned()).into()),
        }
    }
}

fn text(packet: &TracedPacket) -> String {
    let mut text = format!(
        "packet {} from {}\n",
        packet.number,
        short(&packet.network_interface)
    );
    for step in &packet.steps {
        let (name, line) = step_text(step);
        text.push_str(&format!("  {name:9} {line}\n"));
    }
    text
}

fn step_text(step: &TraceStep) -> (&'static str, String) {
    match step {
        TraceStep::Ethernet => ("ethernet", "frame read".to_owned()),
        TraceStep::Parse {
            source,
            destination,
            protocol,
            ttl,
            length,
        } => (
            "parse",
            format!(
                "{source} to {destination}, {}, TTL {ttl}, {length} bytes",
                protocol_name(*protocol)
            ),
        ),
        TraceStep::Route {
            route_id,
            next_hop_type,
            address_prefix,
            next_hop_ip_address,
            virtual_network,
        } => {
            let mut line = match address_prefix {
                Some(prefix) => prefix.to_string(),
                None => "not as the configuration says".to_owned(),
            };
            match next_hop_type {
                Some(kind) => line.push_str(&format!(" → {kind}")),
                None => "no route".clone_into(&mut line),
            }
            if let Some(address) = next_hop_ip_address {
                line.push_str(&format!(" {address}"));
            }
            if let Some(vnet) = virtual_network {
                line.push_str(&format!(" {}", short(vnet)));
            }
            ("route", format!("{line} (route {route_id} of its table)"))
        }
        TraceStep::Endpoint {
            port_id,
            network_interface,
            device,
            mac_address,
        } => {
            let who = match (network_interface, device) {
                (Some(nic), Some(device)) => format!("{} on {device}", short(nic)),
                _ if *port_id == 0 => "a network interface that is not on this host".to_owned(),
                _ => format!("port {port_id}"),
            };
            ("endpoint", format!("{who}, {mac_address}"))
        }
        TraceStep::Verdict {
            outcome,
            reason,
            help,
        } => {
            let outcome = match outcome {
                PacketOutcome::Forwarded => "forwarded",
                PacketOutcome::Answered => "answered",
                PacketOutcome::Dropped => "dropped",
            };
            let why = reason.iter().chain(help).map(|why| format!(": {why}"));
            ("verdict", outcome.to_owned() + &why.collect::<String>())
        }
    }
}

/// The protocols people look for; the others by number.
fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        50 => "ESP".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("protocol {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_reads_step_by_step() {
        let packet = TracedPacket {
            number: 3,
            network_interface: "web1".into(),
            steps: vec![
                TraceStep::Ethernet,
                TraceStep::Parse {
                    source: "10.1.0.4".parse().unwrap(),
                    destination: "10.41.0.4".parse().unwrap(),
                    protocol: 1,
                    ttl: 64,
                    length: 84,
                },
                TraceStep::Route {
                    route_id: 7,
                    next_hop_type: Some(vnet_gw_core::effective::NextHopType::VNetGlobalPeering),
                    address_prefix: Some("10.41.0.0/16".parse().unwrap()),
                    next_hop_ip_address: None,
                    virtual_network: Some("VNet4".into()),
                },
                TraceStep::Verdict {
                    outcome: PacketOutcome::Dropped,
                    reason: Some("endpoint_unreachable".into()),
                    help: Some("No NIC has the destination address.".into()),
                },
            ],
        };
        assert_eq!(
            text(&packet),
            "packet 3 from web1\n  \
             ethernet  frame read\n  \
             parse     10.1.0.4 to 10.41.0.4, ICMP, TTL 64, 84 bytes\n  \
             route     10.41.0.0/16 → VNetGlobalPeering VNet4 (route 7 of its table)\n  \
             verdict   dropped: endpoint_unreachable: No NIC has the destination address.\n"
        );
    }
}
