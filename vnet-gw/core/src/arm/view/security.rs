//! networkSecurityGroups and securityRules.

use serde_json::{Map, Value, json};

use super::{NoLive, View, children, written::Properties};
use crate::{
    arm::State,
    effective::EffectiveError,
    model::{Kind, ResourceId, ServiceTag},
    security::{
        Association, DEFAULT_RULES, DefaultRule, EffectiveSecurityGroups, effective_security_groups,
    },
};

/// The answer to `effectiveNetworkSecurityGroups` of a NIC.
///
/// # Errors
///
/// Where there is no such NIC.
pub fn effective_groups(
    state: &State,
    nic: &ResourceId,
) -> Result<EffectiveSecurityGroups, EffectiveError> {
    effective_security_groups(&state.topology, nic)
}

/// The answer to Network Watcher's `securityGroupView` of a machine with these NICs: the rules of
/// each NIC's two groups as they are written, the default ones once, and what all of them come to.
///
/// # Errors
///
/// Where there is no such NIC.
pub fn security_group_view<'a>(
    state: &State,
    nics: impl IntoIterator<Item = &'a ResourceId>,
) -> Result<Value, EffectiveError> {
    let views = nics.into_iter().map(|nic| interface_view(state, nic));
    let views = views.collect::<Result<Vec<Value>, _>>()?;
    Ok(json!({ "networkInterfaces": views }))
}

fn interface_view(state: &State, nic: &ResourceId) -> Result<Value, EffectiveError> {
    let mut associations = Map::new();
    let (mut defaults, mut effective) = (Vec::new(), Vec::new());
    for group in effective_groups(state, nic)?.value {
        let id = ResourceId::new(&group.network_security_group.id);
        effective.extend(group.effective_security_rules);
        let Some(document) = state.documents.get(&id) else {
            continue;
        };
        let view = View {
            state,
            document,
            provisioning: state.provisioning(&id),
            live: &NoLive,
        };
        let rules = children(document, Kind::SecurityRule);
        let rules: Vec<Value> = rules
            .filter_map(|rule| view.child(Kind::SecurityRule, rule))
            .collect();
        let (name, of) = match group.association {
            Association::Subnet(subnet) => ("subnetAssociation", subnet.id),
            Association::NetworkInterface(nic) => ("networkInterfaceAssociation", nic.id),
        };
        let association = json!({ "id": of, "securityRules": rules });
        associations.insert(name.to_owned(), association);
        if defaults.is_empty() {
            defaults.extend(DEFAULT_RULES.iter().map(|rule| view.default_rule(rule)));
        }
    }
    associations.insert("defaultSecurityRules".to_owned(), defaults.into());
    associations.insert("effectiveSecurityRules".to_owned(), json!(effective));
    Ok(json!({ "id": nic.as_str(), "securityRuleAssociations": associations }))
}

impl View<'_> {
    pub(super) fn network_security_group(&self, properties: &mut Properties) {
        self.children(Kind::SecurityRule, properties);
        let rules = DEFAULT_RULES.iter().map(|rule| self.default_rule(rule));
        properties.set("defaultSecurityRules", rules.collect::<Vec<_>>());
        let topology = &self.state.topology;
        let users = &self.state.references;
        let [interfaces, subnets] = users.with_security_group(topology, &self.document.id);
        properties.back_references("networkInterfaces", interfaces);
        properties.back_references("subnets", subnets);
    }

    fn default_rule(&self, default: &DefaultRule) -> Value {
        let id = format!("{}/defaultSecurityRules/{}", self.document.id, default.name);
        let written = json!({ "properties": {
            "description": default.description,
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": default.source.map_or("*", ServiceTag::as_str),
            "destinationAddressPrefix": default.destination.map_or("*", ServiceTag::as_str),
            "access": default.access.as_str(),
            "priority": default.priority,
            "direction": default.direction.as_str(),
        }});
        let empty = Map::new();
        let written = written.as_object().unwrap_or(&empty);
        let mut properties = self.properties(Kind::SecurityRule, written);
        self.security_rule(&mut properties);
        let kind = "Microsoft.Network/networkSecurityGroups/defaultSecurityRules";
        self.identified(&id, default.name, kind, written, properties)
    }

    /// The lists of texts are always there.
    pub(super) fn security_rule(&self, properties: &mut Properties) {
        for name in [
            "sourcePortRanges",
            "destinationPortRanges",
            "sourceAddressPrefixes",
            "destinationAddressPrefixes",
        ] {
            properties.default(name, json!([]));
        }
        for name in [
            "sourceApplicationSecurityGroups",
            "destinationApplicationSecurityGroups",
        ] {
            self.references(properties, name);
        }
    }
}
