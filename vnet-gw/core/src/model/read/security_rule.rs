//! `networkSecurityGroups/securityRules`.

use ipnet::IpNet;

use super::Reader;
use crate::model::{
    Access, ArmError, Direction, PortRange, ResourceId, SecurityRule, SecurityRuleAddresses,
    SecurityRuleEnd, SecurityRuleProtocol, ServiceTag,
    error::cut,
    object::{Object, QUIET, READ, Schema, format_error},
    path::Path,
    prefix,
    template::node::Node,
};

const SECURITY_RULE: Schema = &[
    ("description", READ),
    ("protocol", READ),
    ("sourcePortRange", READ),
    ("sourcePortRanges", READ),
    ("destinationPortRange", READ),
    ("destinationPortRanges", READ),
    ("sourceAddressPrefix", READ),
    ("sourceAddressPrefixes", READ),
    ("destinationAddressPrefix", READ),
    ("destinationAddressPrefixes", READ),
    ("sourceApplicationSecurityGroups", READ),
    ("destinationApplicationSecurityGroups", READ),
    ("access", READ),
    ("priority", READ),
    ("direction", READ),
    ("provisioningState", QUIET),
];

/// The names of the properties of one end of a rule.
struct EndNames {
    prefix: &'static str,
    prefixes: &'static str,
    groups: &'static str,
    port: &'static str,
    ports: &'static str,
}

const SOURCE: EndNames = EndNames {
    prefix: "sourceAddressPrefix",
    prefixes: "sourceAddressPrefixes",
    groups: "sourceApplicationSecurityGroups",
    port: "sourcePortRange",
    ports: "sourcePortRanges",
};

const DESTINATION: EndNames = EndNames {
    prefix: "destinationAddressPrefix",
    prefixes: "destinationAddressPrefixes",
    groups: "destinationApplicationSecurityGroups",
    port: "destinationPortRange",
    ports: "destinationPortRanges",
};

const LONGEST_DESCRIPTION: usize = 140;

impl Reader<'_> {
    pub(super) fn security_rule(
        &mut self,
        id: &ResourceId,
        properties: &Node<'_>,
        path: &Path<'_>,
    ) -> Option<SecurityRule> {
        let object = Object::open(properties, path, SECURITY_RULE, self.errors);
        let mut choice = |name: &str, values: &[&'static str]| {
            object.needed_text(name, self.errors)?;
            object.choice(name, values, self.errors)
        };
        let protocol = choice("protocol", &["*", "Tcp", "Udp", "Icmp", "Esp", "Ah"]);
        let access = choice("access", &["Allow", "Deny"]);
        let direction = choice("direction", &["Inbound", "Outbound"]);
        let description = object.text("description", self.errors).unwrap_or_default();
        if description.chars().count() > LONGEST_DESCRIPTION {
            let message =
                format!("A description has {LONGEST_DESCRIPTION} characters at most: shorten it.");
            self.errors
                .push(format_error(message, &path.key("description")));
        }
        let priority = self.priority(&object);
        let [source, destination] =
            [SOURCE, DESTINATION].map(|names| self.security_rule_end(id, &object, &names));
        Some(SecurityRule {
            name: id.name().into(),
            direction: match direction? {
                "Inbound" => Direction::Inbound,
                _ => Direction::Outbound,
            },
            priority: priority?,
            access: match access? {
                "Allow" => Access::Allow,
                _ => Access::Deny,
            },
            protocol: match protocol? {
                "Tcp" => SecurityRuleProtocol::Tcp,
                "Udp" => SecurityRuleProtocol::Udp,
                "Icmp" => SecurityRuleProtocol::Icmp,
                "Esp" => SecurityRuleProtocol::Esp,
                "Ah" => SecurityRuleProtocol::Ah,
                _ => SecurityRuleProtocol::Any,
            },
            source: source?,
            destination: destination?,
        })
    }

    fn priority(&mut self, object: &Object<'_, '_>) -> Option<u16> {
        let name = "priority";
        if object.lacks(name) {
            let message = "The property 'priority' is missing: add it.";
            self.errors.push(format_error(message, object.path));
            return None;
        }
        let number = object.integer(name, 0..=u64::from(u32::MAX), self.errors)?;
        let priority = u16::try_from(number).ok();
        let good = priority.filter(|n| SecurityRule::PRIORITIES.contains(n));
        if good.is_none() {
            let error = ArmError::new(
                "SecurityRuleInvalidPriority",
                format!("The priority {number} is not one from 100 to 4096: change it."),
            );
            self.errors
                .push(error.at(object.path.key(name).to_string()));
        }
        good
    }

    fn security_rule_end(
        &mut self,
        rule: &ResourceId,
        object: &Object<'_, '_>,
        names: &EndNames,
    ) -> Option<SecurityRuleEnd> {
        let addresses = match object.lacks_items(names.groups) {
            true => self.prefixes_and_tag(object, names),
            false => self.groups_alone(rule, object, names),
        };
        let ports = self.either(object, names.port, names.ports);
        let mut ranges = Vec::new();
        for (index, text) in ports? {
            let path = place(object, index, names.port, names.ports);
            let range = port_range(text).map_err(|error| error.at(path));
            ranges.push(self.errors.keep(range)?);
        }
        Some(SecurityRuleEnd {
            addresses: addresses?,
            ports: merged(ranges),
        })
    }

    fn groups_alone(
        &mut self,
        rule: &ResourceId,
        object: &Object<'_, '_>,
        names: &EndNames,
    ) -> Option<SecurityRuleAddresses> {
        let groups = self.application_security_groups(object, names.groups, rule);
        let prefixes = [
            (names.prefix, object.lacks_text(names.prefix)),
            (names.prefixes, object.lacks_items(names.prefixes)),
        ];
        if let Some((name, _)) = prefixes.iter().find(|(_, lacks)| !lacks) {
            let message = format!(
                "Of {} and {name} a rule has one: remove the other.",
                names.groups
            );
            self.errors.push(format_error(message, object.path));
            return None;
        }
        (!groups.is_empty()).then_some(SecurityRuleAddresses::ApplicationSecurityGroups(groups))
    }

    fn prefixes_and_tag(
        &mut self,
        object: &Object<'_, '_>,
        names: &EndNames,
    ) -> Option<SecurityRuleAddresses> {
        let mut any = false;
        let mut tag = None;
        let mut prefixes = Vec::new();
        for (index, text) in self.either(object, names.prefix, names.prefixes)? {
            let found = address(text).and_then(|address| match address {
                Address::Any => {
                    any = true;
                    Ok(())
                }
                Address::Prefix(prefix) => {
                    prefixes.push(prefix);
                    Ok(())
                }
                Address::Tag(new) => match tag.replace(new) {
                    Some(old) if old != new => Err(bad_address(
                        "A rule has one service tag in its source and one in its destination at \
                         most: write a rule for each."
                            .to_owned(),
                    )),
                    _ => Ok(()),
                },
            });
            let path = place(object, index, names.prefix, names.prefixes);
            self.errors.keep(found.map_err(|error| error.at(path)))?;
        }
        prefixes.sort_unstable();
        prefixes.dedup();
        Some(match any {
            true => SecurityRuleAddresses::Any,
            false => SecurityRuleAddresses::Some { prefixes, tag },
        })
    }

    /// The values of a property, or of its plural; an echo of what Azure shows has both, one of
    /// them empty.
    fn either<'v>(
        &mut self,
        object: &Object<'v, '_>,
        one: &str,
        many: &str,
    ) -> Option<Vec<(usize, &'v str)>> {
        let single = object.text(one, self.errors);
        let mut texts = object.texts(many, self.errors);
        match (single, texts.is_empty()) {
            (Some(text), true) => texts.push((SINGLE, text)),
            (Some(_), false) => {
                let message = format!("Of {one} and {many} a rule has one: remove the other.");
                self.errors.push(format_error(message, object.path));
                return None;
            }
            (None, true) => {
                if object.lacks_text(one) && object.lacks_items(many) {
                    let message = format!("The property '{one}' is missing: add it.");
                    self.errors.push(format_error(message, object.path));
                }
                return None;
            }
            (None, false) => {}
        }
        Some(texts)
    }
}

/// The index of a text that is in no array.
const SINGLE: usize = usize::MAX;

/// Where a text of one property, or of its plural, stands.
fn place(object: &Object<'_, '_>, index: usize, one: &str, many: &str) -> String {
    match index {
        SINGLE => object.path.key(one).to_string(),
        index => object.path.key(many).index(index).to_string(),
    }
}

enum Address {
    Any,
    Prefix(IpNet),
    Tag(ServiceTag),
}

fn address(text: &str) -> Result<Address, ArmError> {
    let text = text.trim();
    if text == "*" {
        return Ok(Address::Any);
    }
    let named = |tag: &ServiceTag| tag.as_str().eq_ignore_ascii_case(text);
    if let Some(tag) = ServiceTag::ALL.into_iter().find(named) {
        return Ok(Address::Tag(tag));
    }
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(Address::Prefix(address.into()));
    }
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if word && !text.contains(['/', ':']) {
        return Err(ArmError::new(
            "NotSupported",
            format!(
                "The service tag '{}' is not supported yet: write its prefixes.",
                cut(text)
            ),
        ));
    }
    let prefix = prefix::parse(text).map_err(|error| bad_address(error.message))?;
    Ok(Address::Prefix(prefix))
}

fn bad_address(message: String) -> ArmError {
    ArmError::new("SecurityRuleInvalidAddressPrefix", message)
}

/// `*`, `80` or `1000-2000`.
fn port_range(text: &str) -> Result<PortRange, ArmError> {
    let text = text.trim();
    if text == "*" {
        return Ok(PortRange::ANY);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let text = text.trim();
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(PortRange { first, last }),
        _ => Err(ArmError::new(
            "SecurityRuleInvalidPortRange",
            format!(
                "'{}' is no port or range of ports: write *, a number from 0 to 65535, or two like \
                 1000-2000.",
                cut(text)
            ),
        )),
    }
}

/// Sorted, and with neighbours and overlaps merged.
fn merged(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges_are_read_and_merged() {
        for text in [
            "", "a", "80-", "-80", "2-1", "65536", "+1", "1-2-3", "80,81",
        ] {
            let error = port_range(text).unwrap_err();
            assert_eq!(error.code, "SecurityRuleInvalidPortRange", "{text}");
        }
        let ranges =
            ["90-100", "80", "81-85", "95-110", "65535", "0"].map(|text| port_range(text).unwrap());
        let shown: Vec<(u16, u16)> = merged(ranges.into())
            .iter()
            .map(|range| (range.first, range.last))
            .collect();
        assert_eq!(shown, [(0, 0), (80, 85), (90, 110), (65_535, 65_535)]);
        assert_eq!(
            merged(vec![PortRange::ANY, PortRange::ANY]),
            [PortRange::ANY]
        );
    }
}
