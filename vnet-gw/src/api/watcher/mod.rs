//! Network Watcher (section C): questions about what becomes of packets, below
//! `networkWatchers/{name}`, and the virtual machines that clients ask for first.

mod captures;
mod child;
mod connectivity;
mod ip_flow;
mod machines;
mod monitors;
mod question;
mod topology;
mod watchers;

use axum::{Json, response::IntoResponse};
use serde_json::Value;
use vnet_gw_core::{
    arm::{State, Target, view},
    effective::NextHopResult,
    model::{ResourceId, Topology},
};

use super::{Answer, Api, Call, Refusal, only};
use crate::identity::Permission;
use question::{Question, find_interface};

pub(super) use watchers::{made, with_implicit};

impl Api {
    /// What is kept below a network watcher: captures and connection monitors. `rest` is in lower
    /// case.
    pub(super) async fn watched(&self, call: &Call, target: &Target, rest: &[&str]) -> Answer {
        match rest {
            ["packetcaptures", rest @ ..] => self.packet_captures(call, target, rest).await,
            ["connectionmonitors", rest @ ..] => self.connection_monitors(call, target, rest).await,
            _ => Err(Refusal::no_such_path(&call.path.to_string())),
        }
    }

    /// A POST below a network watcher. `action` is in lower case.
    pub(super) async fn watch(&self, call: &Call, target: &Target, action: &str) -> Answer {
        let name = match action {
            "nexthop" => "nextHop",
            "ipflowverify" => "ipFlowVerify",
            "securitygroupview" => "securityGroupView",
            "connectivitycheck" => "connectivityCheck",
            "topology" => "topology",
            _ => return Err(Refusal::no_such_path(&call.path.to_string())),
        };
        only(call, &["POST"])?;
        self.may(call, target, Permission::Read, &format!("{name}/action"))?;
        let body = call.object()?;
        let question = Question::new(&body);
        let state = self.engine.state();
        watchers::must_be(&state, target)?;
        let topology = &state.topology;
        let answer = match action {
            "nexthop" => next_hop(call, topology, &question)?,
            "ipflowverify" => ip_flow::verify(call, topology, &question)?,
            "securitygroupview" => security_group_view(call, &state, &question)?,
            "topology" => topology::answer(call, &state, target, &question)?,
            _ => {
                drop(state);
                return self.connectivity(call, target, &question).await;
            }
        };
        Ok(Json(answer).into_response())
    }
}

/// The first hop from the source; nothing is sent.
fn next_hop(call: &Call, topology: &Topology, question: &Question<'_>) -> Result<Value, Refusal> {
    let source = question.address("sourceIPAddress")?;
    let destination = question.address("destinationIPAddress")?;
    question::same_family(source, destination)?;
    let nic = find_interface(call, topology, question, Some(source))?;
    question::may_send_from(nic, source, "sourceIPAddress")?;
    let result: NextHopResult = vnet_gw_core::watcher::next_hop(topology, &nic.id, destination)
        .map_err(|error| Refusal::bad("ResourceNotInForce", error.to_string()))?;
    question::shown(&result)
}

fn security_group_view(
    call: &Call,
    state: &State,
    question: &Question<'_>,
) -> Result<Value, Refusal> {
    let id = ResourceId::new(question.needed("targetResourceId")?);
    let machine = question::target_machine(call, &state.topology, &id, "targetResourceId")?;
    view::security_group_view(state, machine.interfaces.iter().map(|nic| &nic.id))
        .map_err(|error| Refusal::bad("ResourceNotInForce", error.to_string()))
}
