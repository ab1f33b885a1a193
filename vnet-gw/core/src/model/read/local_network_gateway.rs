//! `localNetworkGateways`.

use super::{Reader, envelope::Envelope};
use crate::model::{
    ArmError, LocalNetworkGateway,
    object::{HARMLESS, Object, QUIET, READ, REFUSED, Schema, format_error},
    template::node::Node,
};

const LOCAL_NETWORK_GATEWAY: Schema = &[
    ("localNetworkAddressSpace", READ),
    ("gatewayIpAddress", READ),
    ("fqdn", READ),
    // Of connections with enableBgp, which are refused.
    ("bgpSettings", HARMLESS),
    ("resourceGuid", QUIET),
    ("provisioningState", QUIET),
];

const ADDRESS_SPACE: Schema = &[
    ("addressPrefixes", READ),
    ("ipamPoolPrefixAllocations", REFUSED),
];

impl Reader<'_> {
    pub(super) fn local_network_gateway(&mut self, envelope: &Envelope<'_>) {
        let path = envelope.properties_path();
        let object = Object::open(
            envelope.properties,
            &path,
            LOCAL_NETWORK_GATEWAY,
            self.errors,
        );
        let space_path = path.key("localNetworkAddressSpace");
        let space = object.get("localNetworkAddressSpace");
        let space = Object::open(
            space.unwrap_or(&Node::Null),
            &space_path,
            ADDRESS_SPACE,
            self.errors,
        );
        let address_prefixes = self.prefixes(&space, "addressPrefixes");
        if !object.is_broken() && space.lacks_items("addressPrefixes") {
            self.errors.push(format_error(
                "A local network gateway needs the prefixes of its site, because none are learned \
                 by BGP: add addressPrefixes.",
                &space_path,
            ));
        }
        if !object.lacks_text("fqdn") {
            self.errors.push(
                ArmError::new(
                    "NotSupported",
                    "The other end of a tunnel is found by its address, not by a name that would \
                     have to be resolved again and again: write gatewayIpAddress instead of fqdn.",
                )
                .at(path.key("fqdn").to_string()),
            );
            return;
        }
        let Some(text) = object.needed_text("gatewayIpAddress", self.errors) else {
            return;
        };
        let Some(gateway_ip_address) = self.public_address(text, &path.key("gatewayIpAddress"))
        else {
            return;
        };
        let gateway = LocalNetworkGateway {
            id: envelope.id.clone(),
            address_prefixes,
            gateway_ip_address,
            tags: envelope.tags.clone(),
        };
        self.draft
            .local_network_gateways
            .insert(envelope.id.clone(), gateway);
    }
}
