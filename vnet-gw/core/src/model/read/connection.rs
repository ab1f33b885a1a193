//! `connections`.

use std::time::Duration;

use super::{
    Reader,
    envelope::{Envelope, TAG_ENCAPSULATION, TAG_LOCAL_ID, TAG_POST_QUANTUM, TAG_REMOTE_ID},
};
use crate::{
    ike::{ConnectionMode, EncapsulationChoice, Identity},
    model::{
        ArmError, Connection, ConnectionRemote, IpsecPolicy, Kind, TrafficSelectorPolicy,
        error::cut,
        object::{Neutral, Object, QUIET, READ, REFUSED, Rule, Schema, format_error},
    },
    secret::Secret,
};

const CONNECTION: Schema = &[
    ("connectionType", READ),
    ("connectionProtocol", READ),
    ("connectionMode", READ),
    ("virtualNetworkGateway1", READ),
    ("virtualNetworkGateway2", READ),
    ("localNetworkGateway2", READ),
    ("sharedKey", READ),
    ("dpdTimeoutSeconds", READ),
    ("routingWeight", READ),
    ("ipsecPolicies", READ),
    ("usePolicyBasedTrafficSelectors", READ),
    ("trafficSelectorPolicies", READ),
    ("authenticationType", Rule::Refused(Neutral::Text("PSK"))),
    ("certificateAuthentication", REFUSED),
    ("enableBgp", REFUSED),
    ("gatewayCustomBgpIpAddresses", REFUSED),
    ("tunnelProperties", REFUSED),
    ("useLocalAzureIpAddress", REFUSED),
    ("ingressNatRules", REFUSED),
    ("egressNatRules", REFUSED),
    ("routingConfiguration", REFUSED),
    // Of ExpressRoute.
    ("peer", REFUSED),
    ("authorizationKey", REFUSED),
    ("expressRouteGatewayBypass", REFUSED),
    ("enablePrivateLinkFastPath", REFUSED),
    // What Azure tells of the tunnels.
    ("connectionStatus", QUIET),
    ("tunnelConnectionStatus", QUIET),
    ("egressBytesTransferred", QUIET),
    ("ingressBytesTransferred", QUIET),
    ("resourceGuid", QUIET),
    ("provisioningState", QUIET),
];

const TRAFFIC_SELECTOR_POLICY: Schema =
    &[("localAddressRanges", READ), ("remoteAddressRanges", READ)];

const MOST_ROUTING_WEIGHT: u64 = 32_000;
const LONGEST_KEY: usize = 128;
/// RFC 7296 knows no limit; a name of DNS has no more.
const LONGEST_ID: usize = 255;

impl Reader<'_> {
    pub(super) fn connection(&mut self, envelope: &Envelope<'_>) {
        let id = &envelope.id;
        let path = envelope.properties_path();
        let object = Object::open(envelope.properties, &path, CONNECTION, self.errors);
        let gateway = self.needed_reference(
            &object,
            "virtualNetworkGateway1",
            Kind::VirtualNetworkGateway,
            id,
        );
        let remote = self.connection_remote(&object, envelope);
        self.protocol(&object);
        let modes = ["Default", "ResponderOnly", "InitiatorOnly"];
        let mode = match object.choice("connectionMode", &modes, self.errors) {
            Some("ResponderOnly") => ConnectionMode::ResponderOnly,
            Some("InitiatorOnly") => ConnectionMode::InitiatorOnly,
            _ => ConnectionMode::Default,
        };
        let dpd = object.integer("dpdTimeoutSeconds", 9..=3_600, self.errors);
        let weight = object.integer("routingWeight", 0..=MOST_ROUTING_WEIGHT, self.errors);
        let shared_key = object.text("sharedKey", self.errors).and_then(|text| {
            let checked = shared_key(text);
            let path = path.key("sharedKey").to_string();
            self.errors.keep(checked.map_err(|error| error.at(path)))
        });
        let connection = Connection {
            ipsec_policy: self.ipsec_policies(&object),
            use_policy_based_traffic_selectors: object
                .boolean("usePolicyBasedTrafficSelectors", self.errors)
                .unwrap_or(false),
            traffic_selector_policies: self.traffic_selector_policies(&object),
            local_id: self.identity(envelope, TAG_LOCAL_ID),
            remote_id: self.identity(envelope, TAG_REMOTE_ID),
            encapsulation: match self.tag_choice(envelope, TAG_ENCAPSULATION, ["udp", "esp"]) {
                0 => EncapsulationChoice::Udp,
                _ => EncapsulationChoice::ByNat,
            },
            post_quantum: self.tag_choice(envelope, TAG_POST_QUANTUM, ["on", "off"]) == 0,
            id: id.clone(),
            gateway: match gateway {
                Some(gateway) => gateway,
                None => return,
            },
            remote: match remote {
                Some(remote) => remote,
                None => return,
            },
            // Until the other end is looked for.
            remote_prefixes: Vec::new(),
            remote_addresses: Vec::new(),
            mode,
            dpd_timeout: dpd.map_or(Connection::DPD_TIMEOUT, Duration::from_secs),
            shared_key,
            routing_weight: weight
                .and_then(|weight| u32::try_from(weight).ok())
                .unwrap_or(0),
            tags: envelope.tags.clone(),
        };
        self.draft.connections.insert(id.clone(), connection);
    }

    /// Gives a document's connection its key, which is kept elsewhere.
    pub(super) fn keep_key(&mut self, envelope: &Envelope<'_>, key: &Secret) {
        let text = std::str::from_utf8(key.expose()).unwrap_or("\t");
        let path = envelope.properties_path().key("sharedKey").to_string();
        let checked = shared_key(text).map_err(|error| error.at(path));
        let checked = self.errors.keep(checked);
        if let Some(connection) = self.draft.connections.get_mut(&envelope.id) {
            connection.shared_key = checked;
        }
    }

    /// The other end, as the type of the connection has it.
    fn connection_remote(
        &mut self,
        object: &Object<'_, '_>,
        envelope: &Envelope<'_>,
    ) -> Option<ConnectionRemote> {
        object.needed_text("connectionType", self.errors)?;
        let types = ["IPsec", "Vnet2Vnet", "ExpressRoute", "VPNClient"];
        let kind = object.choice("connectionType", &types, self.errors)?;
        const GATEWAY: &str = "virtualNetworkGateway2";
        const SITE: &str = "localNetworkGateway2";
        let (mine, other) = match kind {
            "IPsec" => (SITE, GATEWAY),
            "Vnet2Vnet" => (GATEWAY, SITE),
            _ => {
                let message = format!(
                    "Connections of the type {kind} are not supported: use IPsec or Vnet2Vnet."
                );
                let at = object.path.key("connectionType").to_string();
                self.errors
                    .push(ArmError::new("NotSupported", message).at(at));
                return None;
            }
        };
        if object.get(other).is_some_and(|node| !node.is_empty()) {
            let message = format!(
                "A connection of the type {kind} ends at its {mine}: remove {other}, or change the \
                 type."
            );
            self.errors
                .push(format_error(message, &object.path.key(other)));
        }
        let id = &envelope.id;
        Some(match mine {
            SITE => ConnectionRemote::LocalNetworkGateway(self.needed_reference(
                object,
                SITE,
                Kind::LocalNetworkGateway,
                id,
            )?),
            _ => ConnectionRemote::VirtualNetworkGateway(self.needed_reference(
                object,
                GATEWAY,
                Kind::VirtualNetworkGateway,
                id,
            )?),
        })
    }

    fn protocol(&mut self, object: &Object<'_, '_>) {
        let name = "connectionProtocol";
        if object.choice(name, &["IKEv2", "IKEv1"], self.errors) == Some("IKEv1") {
            self.errors.push(
                ArmError::new(
                    "NotSupported",
                    "IKEv1 is not supported (RFC 9395 retired it): use IKEv2, also on the peer.",
                )
                .at(object.path.key(name).to_string()),
            );
        }
    }

    fn ipsec_policies(&mut self, object: &Object<'_, '_>) -> Option<IpsecPolicy> {
        let path = object.path.key("ipsecPolicies");
        let items = object.array("ipsecPolicies", self.errors);
        if items.len() > 1 {
            let message = format!(
                "A connection has one IPsec policy at most, and here are {}: leave one.",
                items.len()
            );
            self.errors
                .push(ArmError::new("TooManyIpsecPolicies", message).at(path.to_string()));
        }
        let mut policies = items.iter().enumerate();
        let mut read = || {
            let (index, item) = policies.next()?;
            Some(self.ipsec_policy(item, &path.index(index)))
        };
        let first = read().flatten();
        while read().is_some() {}
        first
    }

    fn traffic_selector_policies(&mut self, object: &Object<'_, '_>) -> Vec<TrafficSelectorPolicy> {
        let list_path = object.path.key("trafficSelectorPolicies");
        let items = object.array("trafficSelectorPolicies", self.errors);
        let mut policies = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = list_path.index(index);
            let object = Object::open(item, &path, TRAFFIC_SELECTOR_POLICY, self.errors);
            let ranges = ["localAddressRanges", "remoteAddressRanges"].map(|name| {
                if object.lacks_items(name) {
                    self.errors.push(format_error(
                        format!("The property '{name}' is missing: add prefixes."),
                        &path,
                    ));
                }
                self.prefixes(&object, name)
            });
            let [local_address_ranges, remote_address_ranges] = ranges;
            policies.push(TrafficSelectorPolicy {
                local_address_ranges,
                remote_address_ranges,
            });
        }
        policies
    }

    fn identity(&mut self, envelope: &Envelope<'_>, tag: &str) -> Option<Identity> {
        let text = envelope.tags.get(tag)?;
        let found = identity(text);
        if found.is_none() {
            let message = format!(
                "'{}' is no identity: write an IP address, a name such as vpn.example.com, or \
                 keyid:TEXT.",
                cut(text)
            );
            self.errors.push(envelope.tag_error(tag, message));
        }
        found
    }

    /// The number of the tag's value; the first is that of a tag that is not there.
    fn tag_choice(&mut self, envelope: &Envelope<'_>, tag: &str, values: [&str; 2]) -> usize {
        let Some(text) = envelope.tags.get(tag) else {
            return 0;
        };
        let found = values.iter().position(|v| v.eq_ignore_ascii_case(text));
        if found.is_none() {
            let message = format!(
                "'{}' is not one of {}: correct it.",
                cut(text),
                values.join(", ")
            );
            self.errors.push(envelope.tag_error(tag, message));
        }
        found.unwrap_or(0)
    }
}

/// Printable ASCII without the space, `-` and `~` (section C). The error does not show the key.
fn shared_key(text: &str) -> Result<Secret, ArmError> {
    let wrong = |why: &str| {
        Err(ArmError::new(
            "InvalidSharedKey",
            format!("The shared key {why}: give another, or leave it out to have one made."),
        ))
    };
    if text.len() > LONGEST_KEY {
        return wrong("is longer than 128 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return wrong("has a character that is no printable ASCII, or a space");
    }
    if text.contains(['-', '~']) {
        return wrong("has a '-' or a '~', which are not allowed");
    }
    Ok(Secret::new(text))
}

/// An IP address, `keyid:TEXT`, or a name (RFC 7296, 3.5).
fn identity(text: &str) -> Option<Identity> {
    let text = text.trim();
    let fits = |text: &str| (1..=LONGEST_ID).contains(&text.len());
    if let Ok(address) = text.parse() {
        return Some(Identity::Ip(address));
    }
    if let Some((kind, rest)) = text.split_once(':') {
        let good = kind.eq_ignore_ascii_case("keyid") && fits(rest);
        return good.then(|| Identity::KeyId(rest.into()));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    // All digits is a mistyped address, since no top-level domain is one.
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (fits(text) && text.bytes().all(allowed) && !digits).then(|| Identity::Fqdn(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_of_every_kind_and_nothing_else() {
        for (text, wanted) in [
            ("203.0.113.1", Identity::Ip([203, 0, 113, 1].into())),
            ("2001:db8::1", Identity::Ip("2001:db8::1".parse().unwrap())),
            (
                "vpn.example.com",
                Identity::Fqdn("vpn.example.com".to_owned()),
            ),
            ("site_1", Identity::Fqdn("site_1".to_owned())),
            ("keyid:HQ: 7", Identity::KeyId(b"HQ: 7".to_vec())),
        ] {
            assert_eq!(identity(text), Some(wanted), "{text}");
        }
        let long = "x".repeat(256);
        for text in [
            "",
            " ",
            "keyid:",
            "fqdn:x",
            "203.0.113.256",
            "a b",
            "a@b",
            &long,
        ] {
            assert_eq!(identity(text), None, "{text}");
        }
    }

    #[test]
    fn shared_keys_are_printable_and_never_shown() {
        let printable: String = (0x21u8..0x7f).map(char::from).collect();
        let allowed = printable.replace(['-', '~'], "");
        assert_eq!(shared_key(&allowed).unwrap().expose(), allowed.as_bytes());
        assert!(shared_key(&"k".repeat(128)).is_ok());
        for bad in ["a key", "a-key", "a~key", "kéy", "tab\t", &"k".repeat(129)] {
            let error = shared_key(bad).unwrap_err();
            assert_eq!(error.code, "InvalidSharedKey");
            assert!(!error.to_string().contains(bad), "{error}");
        }
    }
}
