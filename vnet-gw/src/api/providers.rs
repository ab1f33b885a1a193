//! Resource providers, as clients look up which types and api-versions there are.

use axum::{Json, response::IntoResponse};
use serde_json::{Value, json};
use vnet_gw_core::model::Kind;

use super::{Answer, Api, Call, Refusal, only};
use crate::identity::Permission;

/// Any is served; these are told, so that clients that pick the newest find one they know.
const VERSIONS: &[&str] = &[
    "2025-01-01",
    "2024-10-01",
    "2024-07-01",
    "2024-05-01",
    "2024-03-01",
    "2024-01-01",
    "2023-11-01",
    "2023-09-01",
    "2023-06-01",
    "2023-04-01",
    "2023-02-01",
    "2022-11-01",
    "2022-09-01",
    "2022-07-01",
    "2022-05-01",
    "2022-01-01",
    "2021-08-01",
    "2021-05-01",
    "2021-02-01",
    "2020-11-01",
];

const NETWORK: &str = "Microsoft.Network";
const RESOURCES: &str = "Microsoft.Resources";
const COMPUTE: &str = "Microsoft.Compute";

impl Api {
    pub(super) fn providers(&self, call: &Call, subscription: Option<&str>) -> Answer {
        only(call, &["GET"])?;
        let all = [NETWORK, RESOURCES, COMPUTE]
            .map(|namespace| self.shown_provider(subscription, namespace));
        Ok(Json(json!({ "value": all })).into_response())
    }

    pub(super) fn provider(
        &self,
        call: &Call,
        subscription: Option<&str>,
        namespace: &str,
    ) -> Answer {
        only(call, &["GET"])?;
        let namespace = known(namespace)?;
        Ok(Json(self.shown_provider(subscription, namespace)).into_response())
    }

    /// `register` and `unregister`: those that are served are registered, always.
    pub(super) fn register(&self, call: &Call, subscription: &str, namespace: &str) -> Answer {
        only(call, &["POST"])?;
        let namespace = known(namespace)?;
        call.allow(
            Permission::Read,
            &format!("{namespace}/register/action"),
            &format!("/subscriptions/{subscription}"),
        )?;
        Ok(Json(self.shown_provider(Some(subscription), namespace)).into_response())
    }

    fn shown_provider(&self, subscription: Option<&str>, namespace: &str) -> Value {
        let state = self.engine.state();
        let locations: Vec<String> = self.known_locations(&state).into_values().collect();
        let row = |name: &str, placed: bool| {
            json!({
                "resourceType": name,
                "locations": if placed { locations.clone() } else { Vec::new() },
                "apiVersions": VERSIONS,
                "capabilities": if placed { "SupportsTags, SupportsLocation" } else { "None" },
            })
        };
        let types: Vec<Value> = match namespace {
            NETWORK => Kind::ALL
                .into_iter()
                .map(|kind| row(&kind.segments().join("/"), kind.parent().is_none()))
                .chain([row("locations", false), row("locations/operations", false)])
                .collect(),
            COMPUTE => vec![row("virtualMachines", false)],
            _ => [
                "deployments",
                "resourceGroups",
                "subscriptions",
                "tags",
                "tenants",
            ]
            .map(|name| row(name, false))
            .to_vec(),
        };
        let scope = subscription.map_or_else(String::new, |id| format!("/subscriptions/{id}"));
        json!({
            "id": format!("{scope}/providers/{namespace}"),
            "namespace": namespace,
            "registrationPolicy": "RegistrationFree",
            "registrationState": "Registered",
            "resourceTypes": types,
        })
    }
}

fn known(namespace: &str) -> Result<&'static str, Refusal> {
    [NETWORK, RESOURCES, COMPUTE]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(namespace))
        .ok_or_else(|| {
            Refusal::missing(
                "InvalidResourceNamespace",
                format!(
                    "The resource namespace '{namespace}' is not served here: {NETWORK}, \
                     {RESOURCES} and {COMPUTE} are."
                ),
            )
        })
}
