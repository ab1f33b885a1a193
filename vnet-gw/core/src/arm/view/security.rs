//! networkSecurityGroups and securityRules.

use serde_json::{Map, Value, json};

use super::{View, written::Properties};
use crate::{
    model::{Kind, ServiceTag},
    security::{DEFAULT_RULES, DefaultRule},
};

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
