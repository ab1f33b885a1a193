//! One answer to "why does this packet not arrive": each step with what decided it, and what would
//! have to change.

mod advice;
mod words;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    packet::Packet,
    path::{Outcome, Path},
    predictor::Predictor,
    walk::{RoundTrip, Source},
};
use crate::effective::EffectiveError;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The networkInterface that sends.
    pub from: String,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// `TCP`
    pub protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// Whether the packet and its answer get where they are to go, as far as that can be told.
    pub arrives: Arrives,
    pub there: Way,
    /// Of the answer, where somebody gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Way>,
    /// What would have to change, in words; the first is the nearest.
    pub to_do: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Arrives {
    Yes,
    /// It leaves what is known here, by a tunnel or to the internet.
    Leaves,
    No,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    pub steps: Vec<WhyStep>,
    pub outcome: WhyOutcome,
    /// What becomes of it, in words.
    pub text: String,
    /// Of a packet that is dropped: the name of the counter that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it ended: the networkInterface, gateway or connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhyOutcome {
    Delivered,
    Tunnel,
    Internet,
    Dropped,
}

/// Something that is looked at on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyStep {
    /// The networkInterface or gateway by whose port the packet comes in.
    pub at: String,
    pub what: What,
    /// In words.
    pub text: String,
    /// The id of the route, rule, peering or connection that decided, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    Source,
    Route,
    SecurityGroup,
    NextHop,
}

/// What the running daemon knows of what is on the way.
pub trait Fares {
    /// What is wrong with the port of the networkInterface or gateway, and what to do.
    fn port(&self, id: &str) -> Option<String>;
    /// What is wrong with the tunnels of the connection.
    fn connection(&self, id: &str) -> Option<String>;
}

/// Nothing is known but the resources.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unknown;

impl Fares for Unknown {
    fn port(&self, _: &str) -> Option<String> {
        None
    }

    fn connection(&self, _: &str) -> Option<String> {
        None
    }
}

/// Explains what becomes of a packet, and of the answer to it.
///
/// # Errors
///
/// Where the networkInterface is not there.
pub fn why(
    predictor: &Predictor<'_>,
    from: Source<'_>,
    packet: &Packet,
    fares: &dyn Fares,
) -> Result<Why, EffectiveError> {
    let trip = predictor.round_trip(from, packet)?;
    let id = match from {
        Source::NetworkInterface(id) | Source::Connection(id) => id,
    };
    let mut to_do = Vec::new();
    let reply = packet.reply();
    let ways = [
        Some((&trip.there, packet)),
        trip.back.as_ref().map(|back| (back, &reply)),
    ];
    let mut arrives = match (&trip.there.outcome, &trip) {
        (_, trip) if trip.answered() => Arrives::Yes,
        (Outcome::Tunnel { .. } | Outcome::Internet, RoundTrip { back, .. })
            if back.as_ref().is_none_or(|back| back.dropped().is_none()) =>
        {
            Arrives::Leaves
        }
        _ => Arrives::No,
    };
    for (path, packet) in ways.into_iter().flatten() {
        if path.dropped().is_some() {
            to_do.extend(advice::advice(predictor, path, packet));
            // The answer to what is dropped is none's concern.
            break;
        }
    }
    for (path, _) in ways.into_iter().flatten() {
        for trouble in troubles(path, fares) {
            arrives = Arrives::No;
            if !to_do.contains(&trouble) {
                to_do.push(trouble);
            }
        }
    }
    let ports = packet.has_ports();
    Ok(Why {
        from: id.as_str().to_owned(),
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol_name(),
        source_port: ports.then_some(packet.source_port),
        destination_port: ports.then_some(packet.destination_port),
        arrives,
        there: way(&trip.there, packet),
        back: trip.back.as_ref().map(|back| way(back, &reply)),
        to_do,
    })
}

/// What is out of order on the way, as the daemon sees it.
fn troubles(path: &Path<'_>, fares: &dyn Fares) -> Vec<String> {
    let mut ids: Vec<&str> = path
        .steps
        .iter()
        .map(|step| step.at.id().as_str())
        .collect();
    let mut found = Vec::new();
    match &path.outcome {
        Outcome::Delivered(nic) => ids.push(nic.id.as_str()),
        Outcome::Tunnel {
            gateway,
            connection,
        } => {
            ids.push(gateway.id.as_str());
            found.extend(fares.connection(connection.id.as_str()));
        }
        Outcome::Internet | Outcome::Dropped(_) => {}
    }
    found.extend(ids.into_iter().filter_map(|id| fares.port(id)));
    found
}

fn way(path: &Path<'_>, packet: &Packet) -> Way {
    let (outcome, at) = match &path.outcome {
        Outcome::Delivered(nic) => (WhyOutcome::Delivered, Some(&nic.id)),
        Outcome::Tunnel { connection, .. } => (WhyOutcome::Tunnel, Some(&connection.id)),
        Outcome::Internet => (WhyOutcome::Internet, None),
        Outcome::Dropped(dropped) => (WhyOutcome::Dropped, Some(dropped.at.id())),
    };
    Way {
        steps: path
            .steps
            .iter()
            .flat_map(|step| words::step(step, packet))
            .collect(),
        outcome,
        text: words::outcome(&path.outcome),
        reason: path
            .dropped()
            .map(|dropped| dropped.reason.name().to_owned()),
        at: at.map(|id| id.as_str().to_owned()),
    }
}
