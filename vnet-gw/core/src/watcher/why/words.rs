//! Steps and outcomes in words.

use super::{What, WhyStep};
use crate::{
    effective::precedence::Origin,
    model::{Access, Direction, NetworkInterface},
    watcher::{
        Checkpoint, Decision, Packet,
        path::{Because, DropReason, Dropped, Element, Next, Outcome, RouteBy, Step, Taken},
    },
};

pub(super) fn step(step: &Step<'_>, packet: &Packet) -> Vec<WhyStep> {
    let at = step.at.id().as_str();
    let line = |what, text, decided_by| WhyStep {
        at: at.to_owned(),
        what,
        text,
        decided_by,
    };
    let place = format!("{}/{}", step.vnet.id.name(), step.subnet.name());
    let mut lines = vec![line(
        What::Source,
        format!(
            "{} in {place} sends it, from {} with a TTL of {}",
            element(step.at),
            packet.source,
            step.ttl
        ),
        None,
    )];
    if let Some(taken) = &step.route {
        let text = format!("{} ({})", route(taken), taken.next_hop_type);
        lines.push(line(What::Route, text, route_id(taken)));
    }
    for checkpoint in &step.checkpoints {
        lines.extend(security(checkpoint).map(|(text, by)| line(What::SecurityGroup, text, by)));
    }
    if let Some(next) = step.next {
        let text = match next {
            Next::Destination(nic) => {
                format!("to {}, which has {}", interface(nic), packet.destination)
            }
            Next::Appliance(nic, address) => format!(
                "to the appliance {address}, {}, whose guest is taken to forward it",
                interface(nic)
            ),
            Next::Gateway(gateway) => format!("to the gateway {}", gateway.id.name()),
            Next::Internet => "to the internet port of this host".to_owned(),
        };
        lines.push(line(What::NextHop, text, None));
    }
    lines
}

fn security<'a>(
    checkpoint: &'a Checkpoint<'_>,
) -> impl Iterator<Item = (String, Option<String>)> + use<'a> {
    let side = side(checkpoint);
    let known = checkpoint.established.then(|| {
        let text = format!("{side}: part of a flow that was let through, so no rule is asked");
        (text, None)
    });
    let each = checkpoint.decisions.iter().map(move |decision| {
        let (verb, rule) = (verb(decision), rule(decision));
        let text = format!("{side}: {rule} of {} {verb} it", decision.group.name());
        (text, rule_id(decision))
    });
    known.into_iter().chain(each)
}

fn side(checkpoint: &Checkpoint<'_>) -> String {
    let direction = match checkpoint.direction {
        Direction::Inbound => "into",
        Direction::Outbound => "out of",
    };
    format!("{direction} {}", checkpoint.nic.id.name())
}

fn verb(decision: &Decision) -> &'static str {
    match decision.access() {
        Access::Allow => "allows",
        Access::Deny => "denies",
    }
}

pub(super) fn rule(decision: &Decision) -> String {
    match &decision.rule {
        Some(rule) => format!("rule {} (priority {})", rule.name, rule.priority),
        None => "no rule".to_owned(),
    }
}

fn rule_id(decision: &Decision) -> Option<String> {
    Some(format!("{}/{}", decision.group, decision.rule_name()?))
}

pub(super) fn element(element: Element<'_>) -> String {
    match element {
        Element::NetworkInterface(nic) => format!("network interface {}", nic.id.name()),
        Element::Gateway(gateway) => format!("gateway {}", gateway.id.name()),
    }
}

fn interface(nic: &NetworkInterface) -> String {
    let device = nic.device.as_deref();
    let device = device.map_or_else(String::new, |device| format!(" (device {device})"));
    format!("network interface {}{device}", nic.id.name())
}

pub(super) fn route(taken: &Taken<'_>) -> String {
    let prefix = taken.prefix;
    match taken.source {
        RouteBy::User(table, route) => {
            format!(
                "route {} ({prefix}) of route table {}",
                route.name,
                table.id.name()
            )
        }
        RouteBy::System(origin) => match origin {
            Origin::VirtualNetwork => format!("the VNet's own {prefix}"),
            Origin::Peering { peering, .. } => {
                format!("{prefix} of peering {}", peering.id.name())
            }
            Origin::Gateway {
                connection: Some(connection),
                ..
            } => format!("{prefix} of connection {}", connection.id.name()),
            Origin::Gateway { .. } => format!("gateway route {prefix}"),
            Origin::Internet => format!("default route {prefix}"),
            Origin::Reserved => format!("reserved route {prefix}"),
        },
    }
}

fn route_id(taken: &Taken<'_>) -> Option<String> {
    match taken.source {
        RouteBy::User(table, route) => Some(format!("{}/routes/{}", table.id, route.name)),
        RouteBy::System(Origin::Peering { peering, .. }) => Some(peering.id.to_string()),
        RouteBy::System(Origin::Gateway {
            connection: Some(connection),
            ..
        }) => Some(connection.id.to_string()),
        RouteBy::System(_) => None,
    }
}

pub(super) fn outcome(outcome: &Outcome<'_>) -> String {
    match outcome {
        Outcome::Delivered(nic) => format!("delivered to {}", interface(nic)),
        Outcome::Tunnel {
            gateway,
            connection,
        } => format!(
            "into a tunnel of connection {} of the gateway {}; what is behind it is not known here",
            connection.id.name(),
            gateway.id.name()
        ),
        Outcome::Internet => "out to the internet, with the host's address".to_owned(),
        Outcome::Dropped(dropped) => {
            format!("dropped ({}): {}", dropped.reason.name(), because(dropped))
        }
    }
}

fn because(dropped: &Dropped<'_>) -> String {
    match &dropped.because {
        Because::NotRoutable(address) => format!(
            "{address} is multicast, broadcast, link-local, loopback or unspecified, which is never \
             routed"
        ),
        Because::NoForwarding(nic) => format!(
            "the source is not an address of {}, which has no enableIPForwarding",
            nic.id.name()
        ),
        Because::NoRoute => "no active route contains the destination".to_owned(),
        Because::Route(taken) => format!("{} leads nowhere", route(taken)),
        Because::Peering(peering) => format!(
            "it did not originate in the VNet that it comes from, and peering {} of {} has no \
             allowForwardedTraffic",
            peering.id.name(),
            peering.id.parent().name()
        ),
        Because::Appliance(taken, address, _) => {
            format!("the appliance {address} of {} is unreachable", route(taken))
        }
        Because::Nobody(_, vnet) => {
            format!(
                "no network interface of {} has the destination",
                vnet.name()
            )
        }
        Because::Rule(checkpoint) => match checkpoint.denied() {
            Some(decision) => format!(
                "{}: {} of {} denies it",
                side(checkpoint),
                rule(decision),
                decision.group.name()
            ),
            None => side(checkpoint),
        },
        Because::NotHere(at) => format!("{} is not plugged in here", element(*at)),
        Because::Ttl => match dropped.reason {
            DropReason::Guest => format!("the TTL is used up in {}", element(dropped.at)),
            _ => "the TTL is used up".to_owned(),
        },
        Because::NoConnection(gateway) => format!(
            "the gateway {} has no connection to the destination",
            gateway.id.name()
        ),
        Because::Selectors(connection) => format!(
            "the traffic selectors of connection {} do not have it",
            connection.id.name()
        ),
        Because::NotBehind(connection) => format!(
            "its source is not behind connection {}, which it came out of",
            connection.id.name()
        ),
    }
}
