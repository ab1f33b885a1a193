//! What would have to change.

use vnet_gw_common::verdict::Reason;

use super::words;
use crate::{
    effective::{Appliance, OtherState, explain, precedence::Origin},
    model::{Direction, NetworkInterface, SecurityRule},
    watcher::{
        Checkpoint, Packet, Predictor,
        path::{Because, DropReason, Dropped, Element, Path, RouteBy, Taken},
    },
};

/// Advice on a path that ends early.
pub(super) fn advice(predictor: &Predictor<'_>, path: &Path<'_>, packet: &Packet) -> Vec<String> {
    let Some(dropped) = path.dropped() else {
        return Vec::new();
    };
    match &dropped.because {
        Because::NotRoutable(_) => {
            vec!["Use a unicast address of more than link scope.".to_owned()]
        }
        Because::NoForwarding(nic) => vec![format!(
            "Send from an address of networkInterface {} ({}), or, if it is to forward for others, \
             set enableIPForwarding on it.",
            nic.id.name(),
            addresses(nic)
        )],
        Because::NoRoute => vec![no_route(path, packet)],
        Because::Route(taken) => by_route(predictor, path, dropped, taken, packet),
        Because::Peering(peering) => vec![format!(
            "Set allowForwardedTraffic on peering {} of {}: it takes what {} forwards for others.",
            peering.id.name(),
            peering.id.parent().name(),
            peering.remote_virtual_network.name()
        )],
        Because::Appliance(taken, address, found) => vec![match found {
            Appliance::NoForwarding { nic } => format!(
                "Set enableIPForwarding on networkInterface {}, which has {address}.",
                nic.id.name()
            ),
            Appliance::WrongFamily => format!(
                "Give {} a next hop of its own address family, and not {address}.",
                words::route(taken)
            ),
            _ => format!(
                "Give {address} to a networkInterface of the VNet, or of one with a Connected \
                 peering, that has enableIPForwarding; or change the next hop of {}.",
                words::route(taken)
            ),
        }],
        Because::Nobody(_, vnet) => vec![format!(
            "Check the address: {} has no networkInterface with {}. Create one, or correct the \
             destination.",
            vnet.name(),
            packet.destination
        )],
        Because::Rule(checkpoint) => vec![by_rule(checkpoint, packet)],
        Because::NotHere(element) => vec![not_here(*element)],
        Because::Ttl => vec![circle(path)],
        Because::NoConnection(gateway) => vec![format!(
            "Create a connection of the gateway {} whose remote network has {}, or add the prefix to \
             the local network gateway of one; or correct the route that leads to the gateway.",
            gateway.id.name(),
            packet.destination
        )],
        Because::Selectors(connection) => vec![format!(
            "Let the traffic selectors of connection {} have {} and {}: change its \
             trafficSelectorPolicies, or turn usePolicyBasedTrafficSelectors off.",
            connection.id.name(),
            packet.source,
            packet.destination
        )],
        Because::NotBehind(connection) => vec![format!(
            "Add {} to what is behind connection {} (the prefixes of its local network gateway), or \
             send it through the connection that it is behind.",
            packet.source,
            connection.id.name()
        )],
    }
}

fn addresses(nic: &NetworkInterface) -> String {
    let addresses = nic.ip_configurations.iter();
    let addresses: Vec<_> = addresses
        .map(|one| one.private_ip_address.to_string())
        .collect();
    addresses.join(", ")
}

fn no_route(path: &Path<'_>, packet: &Packet) -> String {
    let vnet = path
        .steps
        .last()
        .map_or("the VNet", |step| step.vnet.id.name());
    match packet.destination.is_ipv6() {
        true => format!(
            "Give {vnet} an IPv6 address space: without one it has no IPv6 routes, not even to the \
             Internet."
        ),
        false => format!("Add a route to {} to {vnet}.", packet.destination),
    }
}

fn by_route(
    predictor: &Predictor<'_>,
    path: &Path<'_>,
    dropped: &Dropped<'_>,
    taken: &Taken<'_>,
    packet: &Packet,
) -> Vec<String> {
    let route = words::route(taken);
    let subnet = path.steps.last().map(|step| step.subnet);
    // Peerings that would carry it, were they connected, say why they do not.
    let explained =
        subnet.and_then(|subnet| explain(predictor.topology(), subnet, packet.destination).ok());
    let others = explained.into_iter().flat_map(|answer| answer.others);
    let waiting = others
        .filter(|other| other.state == OtherState::NotConnected)
        .map(|other| format!("Connect it: {}.", other.reason));
    let mut advice: Vec<String> = waiting.collect();
    advice.push(match (dropped.reason, taken.source) {
        (DropReason::DataPath(Reason::NextHopInternet), _) if predictor.internet_port.is_some() => {
            let family = if packet.destination.is_ipv4() { 4 } else { 6 };
            format!(
                "This host leads nothing to the IPv{family} internet: give it a default route (and \
                 IPv6 forwarding), or send {} elsewhere with a user route or a peering.",
                packet.destination
            )
        }
        (DropReason::DataPath(Reason::NextHopInternet), _) => format!(
            "This instance has no internet port: it is off, or the host has no default route. Turn \
             it on, or send {} elsewhere with a user route or a peering.",
            packet.destination
        ),
        (DropReason::DataPath(Reason::PortDown), _) => {
            "The internet port of this host is not up: see `vnet-gw ports`.".to_owned()
        }
        (DropReason::DataPath(Reason::InternetSource), _) => format!(
            "Only what a networkInterface sends from its own address is translated to the host's: \
             let the guest of {} translate addresses itself.",
            dropped.at.id().name()
        ),
        (DropReason::DataPath(Reason::InternetDestination), _) => format!(
            "{} is no address of the internet, where {route} leads: peer with the VNet that has it, \
             connect the site that has it, or add a user route.",
            packet.destination
        ),
        (DropReason::DataPath(Reason::NextHopGateway), _) => match dropped.at {
            Element::Gateway(gateway) => format!(
                "What came out of a tunnel of {} goes into none: connect the two sites with each \
                 other.",
                gateway.id.name()
            ),
            Element::NetworkInterface(_) => format!(
                "Create a virtual network gateway in the VNet, or use that of a peered VNet \
                 (useRemoteGateways); or change the next hop of {route}."
            ),
        },
        (_, RouteBy::User(..)) => {
            format!("Remove {route}, or give it a next hop that leads on: it is of type None.")
        }
        (_, RouteBy::System(Origin::Reserved)) => format!(
            "Nothing leads to {}: peer with the VNet that has it, connect the site that has it, or \
             add a user route.",
            packet.destination
        ),
        _ => format!("Change {route}."),
    });
    advice
}

fn by_rule(checkpoint: &Checkpoint<'_>, packet: &Packet) -> String {
    let direction = match checkpoint.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    let what = match packet.has_ports() {
        true => format!(
            "{} port {}",
            packet.protocol_name(),
            packet.destination_port
        ),
        false => packet.protocol_name(),
    };
    let flow = format!("{what} from {} to {}", packet.source, packet.destination);
    let Some(decision) = checkpoint.denied() else {
        return format!("Allow {flow}.");
    };
    let group = decision.group.name();
    let first = *SecurityRule::PRIORITIES.start();
    let Some(rule) = decision.rule.as_ref() else {
        return format!(
            "Add an {direction} allow rule for {flow} to network security group {group}."
        );
    };
    if rule.priority <= first {
        return format!(
            "Change rule {} of network security group {group}, or give it a greater number than \
             {first}: no {direction} rule can stand before it to allow {flow}.",
            rule.name
        );
    }
    let below = rule.priority.min(*SecurityRule::PRIORITIES.end() + 1);
    format!(
        "Add an {direction} allow rule with a priority below {below} for {flow} to network security \
         group {group}, or change its rule {}.",
        rule.name
    )
}

fn not_here(element: Element<'_>) -> String {
    let (id, host, device) = match element {
        Element::NetworkInterface(nic) => (&nic.id, &nic.host, nic.device.is_some()),
        Element::Gateway(gateway) => (&gateway.id, &gateway.host, true),
    };
    match host {
        Some(host) => format!(
            "{} lives on host {host}: ask there, or correct its tag vnet-gw:host.",
            id.name()
        ),
        None if !device => format!(
            "networkInterface {} is not plugged in: name its netdev in the tag vnet-gw:device.",
            id.name()
        ),
        None => format!("{} has no port on this host.", id.name()),
    }
}

/// Who goes round, where the path is a circle.
fn circle(path: &Path<'_>) -> String {
    let last = path.steps.last();
    let again = last.and_then(|last| {
        let mut before = path.steps.iter().rev().skip(1);
        before.find(|step| step.at.id() == last.at.id())?;
        last.route
    });
    match (again, last) {
        (Some(taken), Some(last)) => format!(
            "The packet goes round in a circle by way of {}: change {}.",
            last.at.id().name(),
            words::route(&taken)
        ),
        _ => "Send with a greater TTL.".to_owned(),
    }
}
