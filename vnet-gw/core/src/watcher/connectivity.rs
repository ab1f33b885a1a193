//! Network Watcher's `connectivityCheck`: the hops of a path, with what is wrong at each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    checkpoint::Checkpoint,
    packet::Packet,
    path::{Because, Dropped, Element, Next, Outcome, Path, RouteBy, Taken},
    walk::RoundTrip,
};
use crate::model::{Direction, NetworkInterface};

/// `ConnectivityInformation`. Latencies and numbers of probes are there only where probes were sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connectivity {
    pub hops: Vec<Hop>,
    pub connection_status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_latency_in_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_latency_in_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_in_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes_sent: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes_failed: Option<u64>,
}

/// `ConnectionStatus`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The path leaves what is known here.
    Unknown,
    Connected,
    Disconnected,
    Degraded,
}

/// `ConnectivityHop`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    #[serde(rename = "type")]
    pub kind: HopKind,
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    pub next_hop_ids: Vec<String>,
    pub previous_hop_ids: Vec<String>,
    pub issues: Vec<Issue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HopKind {
    Source,
    VirtualAppliance,
    VirtualMachine,
    VirtualNetworkGateway,
    /// The connection that it leaves by.
    Connection,
    Internet,
}

/// `ConnectivityIssue`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    pub origin: Origin,
    pub severity: Severity,
    #[serde(rename = "type")]
    pub kind: IssueKind,
    pub context: Vec<BTreeMap<String, String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    Local,
    Inbound,
    Outbound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    Error,
    Warning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IssueKind {
    NetworkSecurityRule,
    UserDefinedRoute,
    GuestFirewall,
    Platform,
}

/// The check as the resources say it.
pub fn connectivity(trip: &RoundTrip<'_>, packet: &Packet) -> Connectivity {
    let mut hops: Vec<Hop> = Vec::new();
    let mut add = |kind, address: Option<String>, resource_id: Option<String>| {
        let id = format!("hop-{}", hops.len());
        let previous_hop_ids = match hops.last_mut() {
            None => Vec::new(),
            Some(last) => {
                last.next_hop_ids.push(id.clone());
                vec![last.id.clone()]
            }
        };
        hops.push(Hop {
            kind,
            id,
            address,
            resource_id,
            next_hop_ids: Vec::new(),
            previous_hop_ids,
            issues: Vec::new(),
        });
    };
    for (at, step) in trip.there.steps.iter().enumerate() {
        match step.at {
            Element::NetworkInterface(nic) if at == 0 => add(
                HopKind::Source,
                Some(packet.source.to_string()),
                Some(configuration(nic, packet)),
            ),
            Element::NetworkInterface(nic) => {
                let address = nic.ip_configurations.first();
                add(
                    HopKind::VirtualAppliance,
                    address.map(|one| one.private_ip_address.to_string()),
                    Some(configuration(nic, packet)),
                );
            }
            Element::Gateway(gateway) => add(
                HopKind::VirtualNetworkGateway,
                gateway.public_addresses.first().map(ToString::to_string),
                Some(gateway.id.to_string()),
            ),
        }
    }
    match &trip.there.outcome {
        Outcome::Delivered(nic) => add(
            HopKind::VirtualMachine,
            Some(packet.destination.to_string()),
            Some(configuration(nic, packet)),
        ),
        Outcome::Tunnel {
            gateway,
            connection,
        } => {
            let address = gateway.public_addresses.first().map(ToString::to_string);
            add(
                HopKind::VirtualNetworkGateway,
                address,
                Some(gateway.id.to_string()),
            );
            let address = Some(packet.destination.to_string());
            add(
                HopKind::Connection,
                address,
                Some(connection.id.to_string()),
            );
        }
        Outcome::Internet => {
            let address = Some(packet.destination.to_string());
            add(HopKind::Internet, address, Some("Internet".to_owned()));
        }
        // What is refused on its way into a NIC is told there.
        Outcome::Dropped(Dropped {
            because: Because::Rule(checkpoint),
            ..
        }) if checkpoint.direction == Direction::Inbound => {
            let next = trip.there.steps.last().and_then(|step| step.next);
            let kind = match next {
                Some(Next::Appliance(..)) => HopKind::VirtualAppliance,
                _ => HopKind::VirtualMachine,
            };
            let address = checkpoint.nic.ip_configurations.first();
            let address = address.map(|one| one.private_ip_address.to_string());
            add(kind, address, Some(configuration(checkpoint.nic, packet)));
        }
        Outcome::Dropped(_) => {}
    }
    let issue = trip.there.dropped().map(issue_of);
    let issue = issue.or_else(|| trip.back.as_ref().and_then(Path::dropped).map(of_reply));
    if let (Some(issue), Some(last)) = (issue, hops.last_mut()) {
        last.issues.push(issue);
    }
    Connectivity {
        hops,
        connection_status: match &trip.there.outcome {
            _ if trip.answered() => Status::Connected,
            Outcome::Tunnel { .. } | Outcome::Internet
                if trip
                    .back
                    .as_ref()
                    .is_none_or(|back| back.dropped().is_none()) =>
            {
                Status::Unknown
            }
            _ => Status::Disconnected,
        },
        avg_latency_in_ms: None,
        min_latency_in_ms: None,
        max_latency_in_ms: None,
        probes_sent: None,
        probes_failed: None,
    }
}

/// The ipConfiguration that has the packet's source or destination, else the NIC.
fn configuration(nic: &NetworkInterface, packet: &Packet) -> String {
    let mut all = nic.ip_configurations.iter();
    let own = all.find(|one| [packet.source, packet.destination].contains(&one.private_ip_address));
    let own = own.or(nic.ip_configurations.first());
    own.map_or_else(
        || nic.id.to_string(),
        |one| format!("{}/ipConfigurations/{}", nic.id, one.name),
    )
}

fn issue_of(dropped: &Dropped<'_>) -> Issue {
    let (origin, kind, context) = match &dropped.because {
        Because::Rule(checkpoint) => {
            let origin = match checkpoint.direction {
                Direction::Inbound => Origin::Inbound,
                Direction::Outbound => Origin::Outbound,
            };
            (origin, IssueKind::NetworkSecurityRule, rule(checkpoint))
        }
        Because::Route(taken) | Because::Appliance(taken, ..) | Because::Nobody(taken, _) => {
            match route(taken) {
                Some(context) => (Origin::Outbound, IssueKind::UserDefinedRoute, context),
                None => (Origin::Outbound, IssueKind::Platform, Vec::new()),
            }
        }
        _ => (Origin::Outbound, IssueKind::Platform, Vec::new()),
    };
    let mut context = context;
    context.push(pair("Reason", dropped.reason.name()));
    Issue {
        origin,
        severity: Severity::Error,
        kind,
        context,
    }
}

fn of_reply(dropped: &Dropped<'_>) -> Issue {
    let mut issue = issue_of(dropped);
    issue.context.push(pair("Direction", "Reply"));
    issue
}

fn rule(checkpoint: &Checkpoint<'_>) -> Vec<BTreeMap<String, String>> {
    let Some(decision) = checkpoint.denied() else {
        return Vec::new();
    };
    let mut context = Vec::new();
    if let Some(name) = decision.rule_name() {
        context.push(pair("RuleName", &name));
    }
    context.push(pair("NetworkSecurityGroup", decision.group.as_str()));
    context
}

/// Of a user route.
fn route(taken: &Taken<'_>) -> Option<Vec<BTreeMap<String, String>>> {
    let RouteBy::User(table, route) = taken.source else {
        return None;
    };
    Some(vec![
        pair("RouteType", "User"),
        pair("RouteName", &route.name),
        pair("RouteTable", table.id.as_str()),
    ])
}

pub(super) fn pair(key: &str, value: &str) -> BTreeMap<String, String> {
    let entry = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    BTreeMap::from([entry("key", key), entry("value", value)])
}
