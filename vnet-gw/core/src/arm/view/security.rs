//! networkSecurityGroups and securityRules.

use serde_json::{Map, Value, json};

use super::{View, written::Properties};
use crate::model::Kind;

/// The rules that every group has after its own (section C, "NSG").
const DEFAULT_RULES: [DefaultRule; 6] = [
    DefaultRule {
        name: "AllowVnetInBound",
        description: "Allow inbound traffic from all VMs in VNET",
        source: "VirtualNetwork",
        destination: "VirtualNetwork",
        access: "Allow",
        priority: 65000,
        direction: "Inbound",
    },
    DefaultRule {
        name: "AllowAzureLoadBalancerInBound",
        description: "Allow inbound traffic from azure load balancer",
        source: "AzureLoadBalancer",
        destination: "*",
        access: "Allow",
        priority: 65001,
        direction: "Inbound",
    },
    DefaultRule {
        name: "DenyAllInBound",
        description: "Deny all inbound traffic",
        source: "*",
        destination: "*",
        access: "Deny",
        priority: 65500,
        direction: "Inbound",
    },
    DefaultRule {
        name: "AllowVnetOutBound",
        description: "Allow outbound traffic from all VMs to all VMs in VNET",
        source: "VirtualNetwork",
        destination: "VirtualNetwork",
        access: "Allow",
        priority: 65000,
        direction: "Outbound",
    },
    DefaultRule {
        name: "AllowInternetOutBound",
        description: "Allow outbound traffic from all VMs to Internet",
        source: "*",
        destination: "Internet",
        access: "Allow",
        priority: 65001,
        direction: "Outbound",
    },
    DefaultRule {
        name: "DenyAllOutBound",
        description: "Deny all outbound traffic",
        source: "*",
        destination: "*",
        access: "Deny",
        priority: 65500,
        direction: "Outbound",
    },
];

struct DefaultRule {
    name: &'static str,
    description: &'static str,
    source: &'static str,
    destination: &'static str,
    access: &'static str,
    priority: u16,
    direction: &'static str,
}

impl View<'_> {
    pub(super) fn network_security_group(&self, properties: &mut Properties) {
        self.children(Kind::SecurityRule, properties);
        let rules = DEFAULT_RULES.iter().map(|rule| self.default_rule(rule));
        properties.set("defaultSecurityRules", rules.collect::<Vec<_>>());
    }

    fn default_rule(&self, default: &DefaultRule) -> Value {
        let id = format!("{}/defaultSecurityRules/{}", self.document.id, default.name);
        let written = json!({ "properties": {
            "description": default.description,
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": default.source,
            "destinationAddressPrefix": default.destination,
            "access": default.access,
            "priority": default.priority,
            "direction": default.direction,
        }});
        let empty = Map::new();
        let written = written.as_object().unwrap_or(&empty);
        let mut properties = self.properties(Kind::SecurityRule, written);
        rule(&mut properties);
        let kind = "Microsoft.Network/networkSecurityGroups/defaultSecurityRules";
        self.identified(&id, default.name, kind, written, properties)
    }
}

/// The lists are always there.
pub(super) fn rule(properties: &mut Properties) {
    for name in [
        "sourcePortRanges",
        "destinationPortRanges",
        "sourceAddressPrefixes",
        "destinationAddressPrefixes",
    ] {
        properties.default(name, json!([]));
    }
}
