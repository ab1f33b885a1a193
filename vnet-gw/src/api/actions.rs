//! What is below a resource without being one: actions, shared keys, and lists made of others.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use vnet_gw_core::{
    arm::{Change, SharedKeyChange, State, Target, view},
    ike::IkeSaStatus,
    model::{ArmError, Kind, ResourceId},
};

use super::{
    Answer, Api, Call, Refusal,
    lists::{Page, children, numbered, target_of},
    only,
    resources::missing,
};
use crate::{
    daemon::keys::{self, KEY_LENGTH, KEY_LONGEST},
    engine::activity::ActivityStatus,
    identity::Permission,
    vpn::Question,
};

impl Api {
    /// `rest` is in lower case.
    pub(super) async fn below(&self, call: &Call, resource: &str, rest: &[String]) -> Answer {
        let target = Target::parse(resource)?;
        let words: Vec<&str> = rest.iter().map(String::as_str).collect();
        match (target.kind, words.as_slice()) {
            (Kind::Connection, ["sharedkey"]) => self.shared_key(call, &target).await,
            (Kind::Connection, ["sharedkey", "reset"]) => self.reset_key(call, &target).await,
            (Kind::Connection, ["resetconnection"]) => self.reset_connection(call, &target).await,
            (Kind::Connection, ["getikesas"]) => self.ike_sas(call, &target).await,
            (Kind::VirtualNetworkGateway, ["reset"]) => self.reset_gateway(call, &target).await,
            (Kind::VirtualNetworkGateway, ["connections"]) => {
                self.connections_of(call, &target).await
            }
            (
                Kind::VirtualNetworkGateway,
                ["getbgppeerstatus" | "getlearnedroutes" | "getadvertisedroutes"],
            ) => {
                // No BGP: no peers, and nothing learnt.
                self.action(call, &target, Permission::Read, words[0])?;
                Ok(Json(json!({ "value": [] })).into_response())
            }
            (Kind::NetworkWatcher, ["packetcaptures" | "connectionmonitors", ..]) => {
                self.watched(call, &target, &words).await
            }
            (Kind::NetworkWatcher, [action]) => self.watch(call, &target, action).await,
            (Kind::NetworkInterface, ["effectiveroutetable"]) => {
                self.effective_routes(call, &target)
            }
            (Kind::NetworkInterface, ["effectivenetworksecuritygroups"]) => {
                self.effective_groups(call, &target)
            }
            (Kind::NetworkSecurityGroup, ["defaultsecurityrules"]) => {
                only(call, &["GET"])?;
                self.may(call, &target, Permission::Read, "read")?;
                let page = Page::of(call)?;
                let list = children(&self.engine.state(), &target, "defaultSecurityRules")?;
                Ok(Json(page.take(call, numbered(list), Some)).into_response())
            }
            (Kind::NetworkSecurityGroup, ["defaultsecurityrules", name]) => {
                only(call, &["GET"])?;
                self.may(call, &target, Permission::Read, "read")?;
                let mut rules =
                    children(&self.engine.state(), &target, "defaultSecurityRules")?.into_iter();
                let named = |rule: &Value| {
                    let found = rule["name"].as_str();
                    found.is_some_and(|found| found.eq_ignore_ascii_case(name))
                };
                let rule = rules.find(named).ok_or_else(|| {
                    let id = format!("{}/defaultSecurityRules/{name}", target.id);
                    Refusal::missing("NotFound", format!("Resource {id} not found."))
                })?;
                Ok(Json(rule).into_response())
            }
            _ => Err(Refusal::no_such_path(&call.path.to_string())),
        }
    }

    pub(super) fn may(
        &self,
        call: &Call,
        target: &Target,
        permission: Permission,
        verb: &str,
    ) -> Result<(), Refusal> {
        let operation = format!("{}/{verb}", target.kind.resource_type());
        call.allow(permission, &operation, target.id.as_str())
    }

    /// A POST on a resource that must be there.
    fn action(
        &self,
        call: &Call,
        target: &Target,
        permission: Permission,
        name: &str,
    ) -> Result<std::sync::Arc<State>, Refusal> {
        only(call, &["POST"])?;
        self.may(call, target, permission, &format!("{name}/action"))?;
        self.there(target)
    }

    fn there(&self, target: &Target) -> Result<std::sync::Arc<State>, Refusal> {
        let state = self.engine.state();
        match state.document(&target.document) {
            Some(_) => Ok(state),
            None => Err(missing(&state, target)),
        }
    }

    async fn shared_key(&self, call: &Call, target: &Target) -> Answer {
        match call.method {
            Method::GET => {
                self.may(call, target, Permission::Secrets, "sharedKey/read")?;
                let state = self.there(target)?;
                Ok(key_answer(&state, target, StatusCode::OK))
            }
            Method::PUT => {
                let body = call.object()?;
                let Some(Value::String(value)) = body.get("value") else {
                    return Err(Refusal::bad(
                        "InvalidRequestContent",
                        "The body of the request is not valid: value, the shared key, must be a \
                         string.",
                    ));
                };
                let key = keys::parse(value)
                    .map_err(|error| Refusal::bad("InvalidSharedKey", error.to_string()))?;
                self.change_key(call, target, SharedKeyChange::Set(key), "sharedKey/write")
                    .await?;
                let state = self.there(target)?;
                Ok(key_answer(&state, target, StatusCode::OK))
            }
            _ => Err(Refusal::wrong_method(call.method.as_str(), "GET, PUT")),
        }
    }

    async fn reset_key(&self, call: &Call, target: &Target) -> Answer {
        only(call, &["POST"])?;
        let body = call.object_or_nothing()?;
        let length = match body.get("keyLength") {
            None | Some(Value::Null) => KEY_LENGTH,
            Some(value) => value
                .as_u64()
                .and_then(|length| usize::try_from(length).ok())
                .filter(|length| (1..=KEY_LONGEST).contains(length))
                .ok_or_else(|| {
                    Refusal::bad(
                        "InvalidRequestContent",
                        format!(
                            "The body of the request is not valid: keyLength must be a number \
                             from 1 to {KEY_LONGEST}."
                        ),
                    )
                })?,
        };
        let change = SharedKeyChange::Reset(length);
        self.change_key(call, target, change, "sharedKey/reset/action")
            .await?;
        Ok(Json(json!({ "keyLength": length })).into_response())
    }

    async fn change_key(
        &self,
        call: &Call,
        target: &Target,
        change: SharedKeyChange,
        verb: &str,
    ) -> Result<(), Refusal> {
        self.may(call, target, Permission::Secrets, verb)?;
        self.there(target)?;
        let change = Change::SharedKey {
            connection: target.id.clone(),
            change,
        };
        let operation = format!("{}/{verb}", target.kind.resource_type());
        let receipt = self
            .submit(
                call,
                vec![change],
                &operation,
                target.id.as_str(),
                Vec::new(),
            )
            .await?;
        self.carried(receipt).await?;
        Ok(())
    }

    async fn reset_connection(&self, call: &Call, target: &Target) -> Answer {
        self.action(call, target, Permission::Write, "resetconnection")?;
        self.reset(std::slice::from_ref(&target.id)).await?;
        self.did(call, target, "resetconnection");
        // The SDK takes nothing but 202 for it.
        let subscription = super::changes::subscription_of(&target.id);
        let begun = self
            .operations
            .begin(call, subscription, async { Ok(None) });
        Ok(begun.result())
    }

    /// All tunnels of a gateway are made anew.
    async fn reset_gateway(&self, call: &Call, target: &Target) -> Answer {
        let state = self.action(call, target, Permission::Write, "reset")?;
        let addresses = state.topology.virtual_network_gateways.get(&target.id);
        let addresses = addresses.map(|one| one.public_addresses.as_slice());
        // The Azure CLI says None for nothing.
        let vip = call.query.get("gatewayvip").unwrap_or_default();
        if !matches!(vip.to_ascii_lowercase().as_str(), "" | "none")
            && !vip
                .parse()
                .is_ok_and(|vip| addresses.unwrap_or_default().contains(&vip))
        {
            return Err(Refusal::bad(
                "InvalidGatewayVip",
                format!(
                    "gatewayVip must be one of the gateway's public addresses, and '{}' is none.",
                    vip.chars().take(80).collect::<String>()
                ),
            ));
        }
        let connections = state.topology.connections.values();
        let own: Vec<ResourceId> = connections
            .filter(|one| one.gateway == target.id)
            .map(|one| one.id.clone())
            .collect();
        self.reset(&own).await?;
        self.did(call, target, "reset");
        Ok(Json(self.shown(target).await?).into_response())
    }

    /// Notes an action that changes no resource.
    fn did(&self, call: &Call, target: &Target, action: &str) {
        self.engine.note(
            call.caller.clone(),
            &format!("{}/{action}/action", target.kind.resource_type()),
            target.id.as_str(),
            ActivityStatus::Accepted,
            "Done",
        );
    }

    async fn reset(&self, connections: &[ResourceId]) -> Result<(), Refusal> {
        for connection in connections {
            let question = |answer: oneshot::Sender<bool>| Question::Reset {
                connection: connection.clone(),
                answer,
            };
            if !self.ask(question).await? {
                return Err(elsewhere(connection));
            }
        }
        Ok(())
    }

    async fn ike_sas(&self, call: &Call, target: &Target) -> Answer {
        self.action(call, target, Permission::Read, "getikesas")?;
        let sas: Vec<IkeSaStatus> = self
            .ask(|answer| Question::IkeSas {
                connection: target.id.clone(),
                answer,
            })
            .await?;
        Ok(Json(view::ike_sas(&sas)).into_response())
    }

    async fn connections_of(&self, call: &Call, target: &Target) -> Answer {
        only(call, &["GET"])?;
        self.may(call, target, Permission::Read, "connections/read")?;
        let page = Page::of(call)?;
        let state = self.there(target)?;
        let tunnels = self.tunnels().await;
        let own = state.topology.connections.values();
        let own = own
            .filter(|one| one.gateway == target.id)
            .filter(|one| call.access.allows(Permission::Read, one.id.as_str()))
            .filter_map(|one| state.document(&one.id));
        let items = own.map(|document| (document.id.key().to_owned(), document));
        let body = page.take(call, items, |document| {
            view::show(&state, &target_of(document), &tunnels)
        });
        Ok(Json(body).into_response())
    }

    fn effective_routes(&self, call: &Call, target: &Target) -> Answer {
        let state = self.action(call, target, Permission::Read, "effectiveRouteTable")?;
        let table = view::effective_routes(&state, &target.id)
            .map_err(|error| Refusal::bad("ResourceNotInForce", error.to_string()))?;
        Ok(Json(table).into_response())
    }

    fn effective_groups(&self, call: &Call, target: &Target) -> Answer {
        let action = "effectiveNetworkSecurityGroups";
        let state = self.action(call, target, Permission::Read, action)?;
        let groups = view::effective_groups(&state, &target.id)
            .map_err(|error| Refusal::bad("ResourceNotInForce", error.to_string()))?;
        Ok(Json(groups).into_response())
    }
}

fn key_answer(state: &State, target: &Target, status: StatusCode) -> axum::response::Response {
    let text = state.keys.get(&target.id).map(keys::text);
    (
        status,
        Json(json!({
            "id": format!("{}/sharedKey/default", target.id),
            "value": text.as_deref().map(|text| text.as_str()).unwrap_or_default(),
        })),
    )
        .into_response()
}

fn elsewhere(connection: &ResourceId) -> Refusal {
    let message = format!(
        "The connection '{}' is not in force on this host: its gateway lives on another one, or is \
         not up yet. Ask there, or later.",
        connection.name()
    );
    ArmError::new("Conflict", message)
        .at(connection.as_str())
        .into()
}
