//! What is around resource groups: tenants, subscriptions, locations.

use std::collections::BTreeMap;

use axum::{Json, response::IntoResponse};
use serde_json::{Value, json};
use vnet_gw_core::{arm::State, model::Kind};

use super::{
    Answer, Api, Call, Refusal,
    lists::{Page, numbered},
    only,
};
use crate::identity::Permission;

/// Azure's public regions, as clients know them: a location that one of them has passes their
/// checks. Whether two differ is all that matters here.
const REGIONS: &[(&str, &str)] = &[
    ("australiacentral", "Australia Central"),
    ("australiaeast", "Australia East"),
    ("australiasoutheast", "Australia Southeast"),
    ("austriaeast", "Austria East"),
    ("belgiumcentral", "Belgium Central"),
    ("brazilsouth", "Brazil South"),
    ("canadacentral", "Canada Central"),
    ("canadaeast", "Canada East"),
    ("centralindia", "Central India"),
    ("centralus", "Central US"),
    ("chilecentral", "Chile Central"),
    ("eastasia", "East Asia"),
    ("eastus", "East US"),
    ("eastus2", "East US 2"),
    ("francecentral", "France Central"),
    ("francesouth", "France South"),
    ("germanynorth", "Germany North"),
    ("germanywestcentral", "Germany West Central"),
    ("indonesiacentral", "Indonesia Central"),
    ("israelcentral", "Israel Central"),
    ("italynorth", "Italy North"),
    ("japaneast", "Japan East"),
    ("japanwest", "Japan West"),
    ("koreacentral", "Korea Central"),
    ("koreasouth", "Korea South"),
    ("malaysiawest", "Malaysia West"),
    ("mexicocentral", "Mexico Central"),
    ("newzealandnorth", "New Zealand North"),
    ("northcentralus", "North Central US"),
    ("northeurope", "North Europe"),
    ("norwayeast", "Norway East"),
    ("norwaywest", "Norway West"),
    ("polandcentral", "Poland Central"),
    ("qatarcentral", "Qatar Central"),
    ("southafricanorth", "South Africa North"),
    ("southafricawest", "South Africa West"),
    ("southcentralus", "South Central US"),
    ("southindia", "South India"),
    ("southeastasia", "Southeast Asia"),
    ("spaincentral", "Spain Central"),
    ("swedencentral", "Sweden Central"),
    ("switzerlandnorth", "Switzerland North"),
    ("switzerlandwest", "Switzerland West"),
    ("uaecentral", "UAE Central"),
    ("uaenorth", "UAE North"),
    ("uksouth", "UK South"),
    ("ukwest", "UK West"),
    ("westcentralus", "West Central US"),
    ("westeurope", "West Europe"),
    ("westindia", "West India"),
    ("westus", "West US"),
    ("westus2", "West US 2"),
    ("westus3", "West US 3"),
];

/// What clients ask for and nobody has: management locks, tag names.
pub(super) fn nothing(call: &Call) -> Answer {
    only(call, &["GET"])?;
    Ok(Json(json!({ "value": [] })).into_response())
}

impl Api {
    pub(super) fn tenants(&self, call: &Call) -> Answer {
        only(call, &["GET"])?;
        let tenant = &self.settings.tenant;
        Ok(Json(json!({ "value": [{
            "id": format!("/tenants/{tenant}"),
            "tenantId": tenant,
            "displayName": "vnet-gw",
            "tenantCategory": "Home",
        }] }))
        .into_response())
    }

    /// Those that the caller may look at, or that hold something they may look at.
    pub(super) fn subscriptions(&self, call: &Call) -> Answer {
        only(call, &["GET"])?;
        let state = self.engine.state();
        let known = self.known_subscriptions(&state);
        let seen = known
            .values()
            .filter(|id| visible(call, &state, id))
            .map(|id| self.shown_subscription(id));
        Ok(Json(json!({ "value": seen.collect::<Vec<_>>() })).into_response())
    }

    pub(super) fn subscription(&self, call: &Call, id: &str) -> Answer {
        only(call, &["GET"])?;
        let state = self.engine.state();
        let known = self.known_subscriptions(&state);
        match known.get(&id.to_ascii_lowercase()) {
            Some(id) if visible(call, &state, id) => {
                Ok(Json(self.shown_subscription(id)).into_response())
            }
            _ => Err(unknown(id)),
        }
    }

    /// # Errors
    ///
    /// `SubscriptionNotFound` (404)
    pub(super) fn must_know(&self, state: &State, id: &str) -> Result<(), Refusal> {
        let known = self.settings.subscription.eq_ignore_ascii_case(id)
            || state
                .groups
                .keys()
                .any(|group| group.subscription.eq_ignore_ascii_case(id));
        known.then_some(()).ok_or_else(|| unknown(id))
    }

    /// By their ids in lower case.
    fn known_subscriptions(&self, state: &State) -> BTreeMap<String, String> {
        let configured = std::iter::once(&self.settings.subscription);
        let mut known = BTreeMap::new();
        for id in configured.chain(state.groups.keys().map(|group| &group.subscription)) {
            known
                .entry(id.to_ascii_lowercase())
                .or_insert_with(|| id.clone());
        }
        known
    }

    fn shown_subscription(&self, id: &str) -> Value {
        json!({
            "id": format!("/subscriptions/{id}"),
            "subscriptionId": id,
            "tenantId": self.settings.tenant,
            "displayName": "vnet-gw",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
        })
    }

    pub(super) fn locations(&self, call: &Call, subscription: &str) -> Answer {
        only(call, &["GET"])?;
        let state = self.engine.state();
        self.must_know(&state, subscription)?;
        let locations = self.known_locations(&state);
        let locations = locations.iter().map(|(name, display)| {
            json!({
                "id": format!("/subscriptions/{subscription}/locations/{name}"),
                "name": name,
                "type": "Region",
                "displayName": display,
                "regionalDisplayName": display,
                "metadata": {
                    "regionType": "Physical",
                    "regionCategory": "Recommended",
                    "geographyGroup": "",
                    "longitude": "0",
                    "latitude": "0",
                    "physicalLocation": "",
                    "pairedRegion": [],
                },
            })
        });
        Ok(Json(json!({ "value": locations.collect::<Vec<_>>() })).into_response())
    }

    /// Names with what they are displayed as: Azure's, this host's, and those of resource groups.
    pub(super) fn known_locations(&self, state: &State) -> BTreeMap<String, String> {
        let mut known: BTreeMap<String, String> = REGIONS
            .iter()
            .map(|(name, display)| ((*name).to_owned(), (*display).to_owned()))
            .collect();
        let own = ["local", self.settings.location.as_str()];
        let groups = state.groups.values().map(|group| group.location.as_str());
        for name in own.into_iter().chain(groups) {
            known
                .entry(name.to_owned())
                .or_insert_with(|| name.to_owned());
        }
        known
    }

    /// How many there are of what. Nothing is limited but by the host.
    pub(super) fn usages(&self, call: &Call, subscription: &str, location: &str) -> Answer {
        only(call, &["GET"])?;
        let page = Page::of(call)?;
        let state = self.engine.state();
        self.must_know(&state, subscription)?;
        call.allow(
            Permission::Read,
            "Microsoft.Network/locations/usages/read",
            &format!("/subscriptions/{subscription}"),
        )?;
        let below = format!("/subscriptions/{subscription}/").to_ascii_lowercase();
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for document in state.documents.values() {
            let place = document.body.get("location").and_then(Value::as_str);
            let here =
                place.is_none_or(|place| place.replace(' ', "").eq_ignore_ascii_case(location));
            if here && document.id.key().starts_with(&below) {
                *counts.entry(document.kind).or_default() += 1;
            }
        }
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.parent().is_none());
        let rows: Vec<Value> = kinds
            .map(|kind| {
                json!({
                    "id": format!("/subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}/usages/{}", kind.list_name()),
                    "unit": "Count",
                    "currentValue": counts.get(&kind).copied().unwrap_or_default(),
                    "limit": i64::from(i32::MAX),
                    "name": { "value": kind.list_name(), "localizedValue": kind.list_name() },
                })
            })
            .collect();
        Ok(Json(page.take(call, numbered(rows), Some)).into_response())
    }
}

/// Whether the caller may know of a subscription: of it, or of a group in it.
fn visible(call: &Call, state: &State, id: &str) -> bool {
    let reads = |scope: &str| call.access.allows(Permission::Read, scope);
    reads(&format!("/subscriptions/{id}"))
        || state
            .groups
            .keys()
            .filter(|group| group.subscription.eq_ignore_ascii_case(id))
            .any(|group| reads(&group.to_string()))
}

fn unknown(id: &str) -> Refusal {
    Refusal::missing(
        "SubscriptionNotFound",
        format!("The subscription '{id}' could not be found."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regions_name_is_what_is_displayed_without_spaces() {
        for (name, display) in REGIONS {
            assert_eq!(display.replace(' ', "").to_lowercase(), *name);
        }
        assert!(REGIONS.iter().any(|(name, _)| *name == "westeurope"));
    }
}
