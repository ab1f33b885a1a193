//! Network Watcher (section C): questions about what becomes of packets, below
//! `networkWatchers/{name}`, and the virtual machines that clients ask for first.

mod ip_flow;
mod machines;
mod question;
mod watchers;

use axum::{Json, response::IntoResponse};
use serde_json::Value;
use vnet_gw_core::{arm::Target, effective::NextHopResult, model::Kind};

use super::{Answer, Api, Call, Refusal, only};
use crate::identity::Permission;
use question::{Question, find_interface};

pub(super) use watchers::{made, with_implicit};

impl Api {
    /// A POST below a network watcher. `action` is in lower case.
    pub(super) async fn watch(&self, call: &Call, target: &Target, action: &str) -> Answer {
        let name = match action {
            "nexthop" => "nextHop",
            "ipflowverify" => "ipFlowVerify",
            _ => return Err(Refusal::no_such_path(&call.path.to_string())),
        };
        only(call, &["POST"])?;
        debug_assert_eq!(target.kind, Kind::NetworkWatcher);
        self.may(call, target, Permission::Read, &format!("{name}/action"))?;
        let state = self.engine.state();
        watchers::must_be(&state, target)?;
        let body = call.object()?;
        let question = Question::new(&body);
        let answer = match action {
            "nexthop" => next_hop(call, &state.topology, &question)?,
            _ => ip_flow::verify(call, &state.topology, &question)?,
        };
        Ok(Json(answer).into_response())
    }
}

/// The first hop from the source; nothing is sent.
fn next_hop(
    call: &Call,
    topology: &vnet_gw_core::model::Topology,
    question: &Question<'_>,
) -> Result<Value, Refusal> {
    let source = question.address("sourceIPAddress")?;
    let destination = question.address("destinationIPAddress")?;
    let nic = find_interface(call, topology, question, Some(source))?;
    question::may_send_from(nic, source, "sourceIPAddress")?;
    let result: NextHopResult = vnet_gw_core::watcher::next_hop(topology, &nic.id, destination)
        .map_err(|error| Refusal::bad("ResourceNotInForce", error.to_string()))?;
    question::shown(&result)
}
