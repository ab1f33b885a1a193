//! Deployments on a state of their own.

mod functions;
mod groups;
mod outside;

use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::{
    arm::{NoLive, ResourceGroup, view},
    secret::Secret,
};

pub(super) const SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";

/// Numbers for GUIDs, and two public addresses.
#[derive(Default)]
pub(super) struct Counting(u64);

impl Assign for Counting {
    fn guid(&mut self) -> String {
        self.0 += 1;
        format!("00000000-0000-4000-8000-{:012}", self.0)
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        self.0 += 1;
        Secret::new(format!("{:0>length$}", self.0).as_bytes())
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        vec![[203, 0, 113, 1].into(), [203, 0, 113, 2].into()]
    }
}

pub(super) fn id(rest: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Network/{rest}")
}

/// Groups `rg` and `other`, and nothing in them.
pub(super) fn groups() -> State {
    let group = |name: &str| {
        Change::PutGroup(ResourceGroup {
            id: GroupId::new(SUBSCRIPTION, name).unwrap(),
            location: "westeurope".to_owned(),
            tags: Default::default(),
        })
    };
    let changes = [group("rg"), group("other")];
    State::default()
        .apply(&changes, &mut Counting::default())
        .unwrap()
        .state
}

pub(super) fn options() -> DeployOptions {
    DeployOptions {
        subscription_id: SUBSCRIPTION.to_owned(),
        resource_group: "rg".to_owned(),
        most_work: DeployOptions::REQUEST_WORK,
        ..DeployOptions::default()
    }
}

pub(super) fn deploy_with(
    state: &State,
    template: &Value,
    parameters: &Value,
    mode: Mode,
) -> Result<Deployed, ArmError> {
    let request = Request {
        template,
        parameters,
        options: options(),
        mode,
        origin: Origin::Api,
        may_read: &|_| true,
    };
    execute(&request, state, &mut Counting(1_000))
}

pub(super) fn deploy(
    state: &State,
    resources: Value,
    outputs: Value,
) -> Result<Deployed, ArmError> {
    let template = json!({"resources": resources, "outputs": outputs});
    deploy_with(state, &template, &json!({}), Mode::Incremental)
}

pub(super) fn resource(kind: &str, name: &str, properties: Value) -> Value {
    json!({"type": format!("Microsoft.Network/{kind}"), "apiVersion": "2024-05-01", "name": name,
        "location": "westeurope", "properties": properties})
}

pub(super) fn vnet(name: &str, space: &str, subnet: &str) -> Value {
    resource(
        "virtualNetworks",
        name,
        json!({
            "addressSpace": {"addressPrefixes": [space]},
            "subnets": [{"name": "a", "properties": {"addressPrefix": subnet}}],
        }),
    )
}

pub(super) fn shown(state: &State, rest: &str) -> Option<Value> {
    view::show(state, &Target::parse(&id(rest)).unwrap(), &NoLive)
}

/// What is written where a set of changes is submitted.
#[track_caller]
pub(super) fn submit(state: &State, deployed: &Deployed) -> State {
    let applied = state.apply(&deployed.changes, &mut Counting(5_000));
    applied.unwrap_or_else(|error| panic!("{error}")).state
}

#[track_caller]
pub(super) fn changes_nothing(state: &State, deployed: &Deployed) {
    let applied = state
        .apply(&deployed.changes, &mut Counting(9_000))
        .unwrap_or_else(|error| panic!("{error}"));
    for id in &applied.written {
        let (old, new) = (&state.documents[id], &applied.state.documents[id]);
        assert_eq!(old.body, new.body, "{id}");
    }
    assert_eq!(applied.written, []);
    assert_eq!(applied.removed, []);
    assert_eq!(applied.keys, []);
    for (id, document) in state.documents.iter() {
        assert_eq!(applied.state.documents[id].etag, document.etag, "{id}");
    }
    let told = what_if(state, deployed, None, ResultFormat::FullResourcePayloads);
    for change in told {
        assert_eq!(change["changeType"], "NoChange", "{change}");
    }
}
