//! `ipFlowVerify`: what the security groups of a NIC say of a packet of a new flow.

use serde_json::{Value, json};
use vnet_gw_core::{
    compile::CompileOptions,
    model::{Direction, Topology},
    watcher::{Packet, Predictor},
};

use super::question::{self, Question, find_interface};
use crate::api::{Call, Refusal};

pub(super) fn verify(
    call: &Call,
    topology: &Topology,
    question: &Question<'_>,
) -> Result<Value, Refusal> {
    let outbound = question.choice("direction", &["Inbound", "Outbound"])? == "Outbound";
    let protocol = match question.choice("protocol", &["TCP", "UDP"])? {
        "TCP" => Packet::TCP,
        _ => Packet::UDP,
    };
    let local = question.address("localIPAddress")?;
    let remote = question.address("remoteIPAddress")?;
    question::same_family(local, remote)?;
    // Of a source port any will do.
    let local_port = question.port("localPort", outbound)?;
    let remote_port = question.port("remotePort", !outbound)?;
    let nic = find_interface(call, topology, question, Some(local))?;
    question::may_send_from(nic, local, "localIPAddress")?;
    let (direction, packet) = match outbound {
        true => (
            Direction::Outbound,
            Packet::new(protocol, local, remote).with_ports(local_port, remote_port),
        ),
        false => (
            Direction::Inbound,
            Packet::new(protocol, remote, local).with_ports(remote_port, local_port),
        ),
    };
    let predictor = Predictor::new(topology, CompileOptions::default());
    let checkpoint = predictor.checkpoint(nic, direction, &packet);
    let access = match checkpoint.denied() {
        Some(_) => "Deny",
        None => "Allow",
    };
    let mut answer = json!({ "access": access });
    // Without a group there is no rule that says so.
    if let Some(name) = checkpoint.decisive().and_then(|one| one.rule_name()) {
        answer["ruleName"] = name.into();
    }
    Ok(answer)
}
