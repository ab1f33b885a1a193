//! `virtualNetworkGateways`.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Reader,
    envelope::{Envelope, TAG_BANDWIDTH},
    virtual_network::NESTED,
};
use crate::model::{
    ArmError, GatewaySku, Kind, ResourceId,
    error::cut,
    id::check_name,
    object::{HARMLESS, Neutral, Object, QUIET, READ, REFUSED, Rule, Schema, format_error},
    path::Path,
    template::node::Node,
};

const VIRTUAL_NETWORK_GATEWAY: Schema = &[
    ("gatewayType", READ),
    ("vpnType", READ),
    ("vpnGatewayGeneration", READ),
    ("sku", READ),
    ("activeActive", READ),
    ("ipConfigurations", READ),
    ("enableBgp", REFUSED),
    // Exports show the ASN of every gateway; without enableBgp nobody is told of it.
    ("bgpSettings", QUIET),
    ("customRoutes", READ),
    ("vpnClientConfiguration", REFUSED),
    ("virtualNetworkGatewayPolicyGroups", REFUSED),
    ("natRules", REFUSED),
    ("enableBgpRouteTranslationForNat", REFUSED),
    ("gatewayDefaultSite", REFUSED),
    ("enablePrivateIpAddress", REFUSED),
    ("enableHighBandwidthVpnGateway", REFUSED),
    ("disableIPSecReplayProtection", REFUSED),
    ("enableDnsForwarding", REFUSED),
    ("inboundDnsForwardingEndpoint", REFUSED),
    ("vNetExtendedLocationResourceId", REFUSED),
    // All of ExpressRoute.
    ("autoScaleConfiguration", REFUSED),
    ("adminState", Rule::Refused(Neutral::Text("Enabled"))),
    ("allowRemoteVnetTraffic", HARMLESS),
    ("allowVirtualWanTraffic", HARMLESS),
    (
        "resiliencyModel",
        Rule::Harmless(Neutral::Text("SingleHomed")),
    ),
    ("virtualNetworkGatewayMigrationStatus", QUIET),
    ("resourceGuid", QUIET),
    ("provisioningState", QUIET),
];

const CUSTOM_ROUTES: Schema = &[
    ("addressPrefixes", REFUSED),
    ("ipamPoolPrefixAllocations", REFUSED),
];

const SKU: Schema = &[("name", READ), ("tier", READ), ("capacity", QUIET)];

const IP_CONFIGURATION: Schema = &[
    ("privateIPAllocationMethod", READ),
    ("privateIPAddress", READ),
    ("subnet", READ),
    ("publicIPAddress", READ),
    ("provisioningState", QUIET),
];

/// Azure's names of SKUs, with the generations they exist in; of a pair, the first is Generation1.
const SKUS: [(&str, Option<GatewaySku>, Option<GatewaySku>); 11] = [
    ("Basic", Some(GatewaySku::Basic), None),
    ("VpnGw1", Some(GatewaySku::VpnGw1), None),
    ("VpnGw1AZ", Some(GatewaySku::VpnGw1), None),
    (
        "VpnGw2",
        Some(GatewaySku::VpnGw2),
        Some(GatewaySku::VpnGw2Generation2),
    ),
    (
        "VpnGw2AZ",
        Some(GatewaySku::VpnGw2),
        Some(GatewaySku::VpnGw2Generation2),
    ),
    (
        "VpnGw3",
        Some(GatewaySku::VpnGw3),
        Some(GatewaySku::VpnGw3Generation2),
    ),
    (
        "VpnGw3AZ",
        Some(GatewaySku::VpnGw3),
        Some(GatewaySku::VpnGw3Generation2),
    ),
    ("VpnGw4", None, Some(GatewaySku::VpnGw4)),
    ("VpnGw4AZ", None, Some(GatewaySku::VpnGw4)),
    ("VpnGw5", None, Some(GatewaySku::VpnGw5)),
    ("VpnGw5AZ", None, Some(GatewaySku::VpnGw5)),
];

/// Those that Azure's enum has beside them: of ExpressRoute, or given up by Azure itself.
const OTHER_SKUS: [&str; 7] = [
    "Standard",
    "HighPerformance",
    "UltraPerformance",
    "ErGw1AZ",
    "ErGw2AZ",
    "ErGw3AZ",
    "ErGwScale",
];

/// A gateway before it has its addresses.
#[derive(Clone, Debug)]
pub(in crate::model) struct VirtualNetworkGatewayDraft {
    pub(in crate::model) id: ResourceId,
    pub(in crate::model) sku_name: &'static str,
    pub(in crate::model) sku: GatewaySku,
    pub(in crate::model) unlimited: bool,
    pub(in crate::model) ip_configurations: Vec<GatewayIpConfigurationDraft>,
    pub(in crate::model) host: Option<String>,
    pub(in crate::model) tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(in crate::model) struct GatewayIpConfigurationDraft {
    pub(in crate::model) name: String,
    pub(in crate::model) subnet: ResourceId,
    pub(in crate::model) public_ip_address: ResourceId,
    /// `privateIPAllocationMethod` is `Static`: the address must be this one.
    pub(in crate::model) fixed: bool,
    /// Where the method is `Dynamic`, the address that an export shows: kept if it is free.
    pub(in crate::model) address: Option<IpAddr>,
}

impl Reader<'_> {
    pub(super) fn virtual_network_gateway(&mut self, envelope: &Envelope<'_>) {
        let path = envelope.properties_path();
        let object = Object::open(
            envelope.properties,
            &path,
            VIRTUAL_NETWORK_GATEWAY,
            self.errors,
        );
        let custom = object.get("customRoutes").unwrap_or(&Node::Null);
        Object::open(
            custom,
            &path.key("customRoutes"),
            CUSTOM_ROUTES,
            self.errors,
        );
        self.types(&object);
        let active_active = object.boolean("activeActive", self.errors).unwrap_or(false);
        let sku = self.gateway_sku(&object);
        if let (Some((_, GatewaySku::Basic)), true) = (sku, active_active) {
            self.errors.push(
                ArmError::new(
                    "ActiveActiveNotSupportedForBasicSku",
                    "A gateway of the SKU Basic cannot be active-active: use VpnGw1 or a larger one.",
                )
                .at(path.key("activeActive").to_string()),
            );
        }
        let list_path = path.key("ipConfigurations");
        let items = object.array("ipConfigurations", self.errors);
        let mut ip_configurations = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = list_path.index(index);
            ip_configurations.extend(self.gateway_ip_configuration(item, &path, &envelope.id));
        }
        if object.lacks_items("ipConfigurations") {
            let message = "A gateway needs an ipConfiguration with its publicIPAddress: add it.";
            self.errors.push(format_error(message, &list_path));
        } else if !items.is_empty() && items.len() != if active_active { 2 } else { 1 } {
            let message = match active_active {
                true => "An active-active gateway has two ipConfigurations: give it two.",
                false => "A gateway that is not active-active has one ipConfiguration: remove one.",
            };
            self.errors.push(
                ArmError::new("InvalidGatewayIpConfigurationCount", message)
                    .at(list_path.to_string()),
            );
        }
        let unlimited = self.unlimited(envelope);
        let host = envelope.host(self.errors);
        let Some((sku_name, sku)) = sku else { return };
        self.draft
            .virtual_network_gateways
            .push(VirtualNetworkGatewayDraft {
                id: envelope.id.clone(),
                sku_name,
                sku,
                unlimited,
                ip_configurations,
                host,
                tags: envelope.tags.clone(),
            });
    }

    fn types(&mut self, object: &Object<'_, '_>) {
        let gateway = object.choice(
            "gatewayType",
            &["Vpn", "ExpressRoute", "LocalGateway"],
            self.errors,
        );
        if let Some(other @ ("ExpressRoute" | "LocalGateway")) = gateway {
            self.errors.push(
                ArmError::new(
                    "NotSupported",
                    format!("Gateways of the type {other} are not supported: use Vpn."),
                )
                .at(object.path.key("gatewayType").to_string()),
            );
        }
        let vpn = object.choice("vpnType", &["RouteBased", "PolicyBased"], self.errors);
        if vpn == Some("PolicyBased") {
            self.errors.push(
                ArmError::new(
                    "PolicyBasedVpnTypeNotSupported",
                    "Only route-based gateways are supported, as VNet-to-VNet connections need them \
                     on both sides: use RouteBased. For a policy-based device at the other end set \
                     usePolicyBasedTrafficSelectors on the connection.",
                )
                .at(object.path.key("vpnType").to_string()),
            );
        }
    }

    /// The SKU of the name and the generation.
    fn gateway_sku(&mut self, object: &Object<'_, '_>) -> Option<(&'static str, GatewaySku)> {
        let generation = object.choice(
            "vpnGatewayGeneration",
            &["None", "Generation1", "Generation2"],
            self.errors,
        );
        let path = object.path.key("sku");
        let sku = object.get("sku").unwrap_or(&Node::Null);
        let sku = Object::open(sku, &path, SKU, self.errors);
        if object.lacks("sku") {
            let message = "A gateway needs its sku: add {\"name\": \"VpnGw1AZ\"}.";
            self.errors.push(format_error(message, object.path));
            return None;
        }
        let known = SKUS.iter().map(|(name, ..)| *name);
        let names: Vec<&'static str> = known.chain(OTHER_SKUS).collect();
        sku.needed_text("name", self.errors)?;
        let name = sku.choice("name", &names, self.errors)?;
        let tier = sku.choice("tier", &names, self.errors);
        if tier.is_some_and(|tier| tier != name) {
            let message = format!("The tier of the SKU {name} is {name}: correct or remove it.");
            self.errors.push(format_error(message, &path.key("tier")));
        }
        let refuse = |code: &str, message: String, path: &Path<'_>| {
            Err(ArmError::new(code, message).at(path.to_string()))
        };
        let found = match (SKUS.iter().find(|(known, ..)| *known == name), generation) {
            (None, _) => refuse(
                "NotSupported",
                format!("The SKU {name} is not supported: use Basic or VpnGw1 to VpnGw5."),
                &path.key("name"),
            ),
            (Some((_, Some(first), _)), None | Some("None" | "Generation1")) => Ok(*first),
            (Some((_, None, Some(second))), None | Some("None"))
            | (Some((_, _, Some(second))), Some("Generation2")) => Ok(*second),
            (Some(_), generation) => refuse(
                "InvalidVpnGatewayGeneration",
                format!(
                    "There is no {name} of {}: use the other generation, or leave it out.",
                    generation.unwrap_or_default()
                ),
                &object.path.key("vpnGatewayGeneration"),
            ),
        };
        Some((name, self.errors.keep(found)?))
    }

    fn unlimited(&mut self, envelope: &Envelope<'_>) -> bool {
        let Some(text) = envelope.tags.get(TAG_BANDWIDTH) else {
            return false;
        };
        let unlimited = text.eq_ignore_ascii_case("unlimited");
        if !unlimited {
            let message = format!(
                "'{}' is no bandwidth: write unlimited, or remove the tag for that of the SKU.",
                cut(text)
            );
            self.errors.push(envelope.tag_error(TAG_BANDWIDTH, message));
        }
        unlimited
    }

    fn gateway_ip_configuration(
        &mut self,
        item: &Node<'_>,
        path: &Path<'_>,
        gateway: &ResourceId,
    ) -> Option<GatewayIpConfigurationDraft> {
        let outer = Object::open(item, path, NESTED, self.errors);
        let name = outer.needed_text("name", self.errors)?;
        if let Err(error) = check_name("ipConfiguration", name, 1, 80) {
            self.errors.push(error.at(path.key("name").to_string()));
        }
        let path = path.key("properties");
        let properties = outer.get("properties").unwrap_or(&Node::Null);
        let object = Object::open(properties, &path, IP_CONFIGURATION, self.errors);
        let method = object.choice(
            "privateIPAllocationMethod",
            &["Static", "Dynamic"],
            self.errors,
        );
        let address = match object.text("privateIPAddress", self.errors) {
            Some(text) => Some(self.address(text, &path.key("privateIPAddress"))?),
            None => None,
        };
        if method == Some("Static") && object.lacks_text("privateIPAddress") {
            self.errors.push(format_error(
                "The allocation method Static needs a privateIPAddress: add it.",
                &path,
            ));
        }
        let subnet = self.needed_reference(&object, "subnet", Kind::Subnet, gateway);
        let public =
            self.needed_reference(&object, "publicIPAddress", Kind::PublicIpAddress, gateway);
        Some(GatewayIpConfigurationDraft {
            name: name.to_owned(),
            subnet: subnet?,
            public_ip_address: public?,
            fixed: method.map_or(address.is_some(), |method| method == "Static"),
            address,
        })
    }
}
