//! Resource types, ids and names.

use super::{ArmError, ResourceId, error::cut};

/// The resource types of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    VirtualNetwork,
    Subnet,
    VirtualNetworkPeering,
    NetworkInterface,
    RouteTable,
    Route,
    PublicIpAddress,
    VirtualNetworkGateway,
    LocalNetworkGateway,
    Connection,
}

const PROVIDER: &str = "Microsoft.Network";

impl Kind {
    const ALL: [Self; 10] = [
        Self::VirtualNetwork,
        Self::Subnet,
        Self::VirtualNetworkPeering,
        Self::NetworkInterface,
        Self::RouteTable,
        Self::Route,
        Self::PublicIpAddress,
        Self::VirtualNetworkGateway,
        Self::LocalNetworkGateway,
        Self::Connection,
    ];

    /// The segments of the type after the provider.
    const fn segments(self) -> &'static [&'static str] {
        match self {
            Self::VirtualNetwork => &["virtualNetworks"],
            Self::Subnet => &["virtualNetworks", "subnets"],
            Self::VirtualNetworkPeering => &["virtualNetworks", "virtualNetworkPeerings"],
            Self::NetworkInterface => &["networkInterfaces"],
            Self::RouteTable => &["routeTables"],
            Self::Route => &["routeTables", "routes"],
            Self::PublicIpAddress => &["publicIPAddresses"],
            Self::VirtualNetworkGateway => &["virtualNetworkGateways"],
            Self::LocalNetworkGateway => &["localNetworkGateways"],
            Self::Connection => &["connections"],
        }
    }

    /// What it is called in a sentence.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::VirtualNetwork => "virtual network",
            Self::Subnet => "subnet",
            Self::VirtualNetworkPeering => "peering",
            Self::NetworkInterface => "network interface",
            Self::RouteTable => "route table",
            Self::Route => "route",
            Self::PublicIpAddress => "public IP address",
            Self::VirtualNetworkGateway => "virtual network gateway",
            Self::LocalNetworkGateway => "local network gateway",
            Self::Connection => "connection",
        }
    }

    /// The kind of a full type.
    ///
    /// # Errors
    ///
    /// `InvalidResourceType`, `InvalidResourceNamespace`: named, never skipped.
    pub(super) fn of(resource_type: &str, names: &[String]) -> Result<Self, ArmError> {
        let found = Self::ALL.into_iter().find(|kind| {
            let mut segments = resource_type.split('/');
            segments
                .next()
                .is_some_and(|provider| provider.eq_ignore_ascii_case(PROVIDER))
                && segments.eq_ignore_case(kind.segments())
        });
        found.ok_or_else(|| {
            let name = names.join("/");
            let provider = resource_type.split('/').next().unwrap_or_default();
            let code = if provider.eq_ignore_ascii_case(PROVIDER) {
                "InvalidResourceType"
            } else {
                "InvalidResourceNamespace"
            };
            let types: Vec<String> = Self::ALL
                .iter()
                .map(|kind| kind.segments().join("/"))
                .collect();
            ArmError::new(
                code,
                format!(
                    "The resource '{}' has the type {}, which is not supported \
                     yet: remove it. Supported below {PROVIDER} are {}.",
                    cut(&name),
                    cut(resource_type),
                    types.join(", ")
                ),
            )
        })
    }

    /// The id of a resource in a resource group (`/subscriptions/…/resourceGroups/…`).
    pub(super) fn id<S: AsRef<str>>(self, group: &str, names: &[S]) -> ResourceId {
        let mut id = format!("{group}/providers/{PROVIDER}");
        for (segment, name) in self.segments().iter().zip(names) {
            id.push('/');
            id.push_str(segment);
            id.push('/');
            id.push_str(name.as_ref());
        }
        ResourceId::new(&id)
    }

    /// The id that a reference means: a full id, one relative to the subscription or the resource
    /// group of whoever refers, or plain names (`VNet1/FrontEnd`).
    pub(super) fn resolve(self, text: &str, group: &str) -> Result<ResourceId, ArmError> {
        let text = text.trim();
        let wrong = || {
            ArmError::new(
                "InvalidResourceReference",
                format!(
                    "'{}' is not the id of a {}: write {}.",
                    cut(text),
                    self.noun(),
                    self.id("/subscriptions/…/resourceGroups/…", &["…"; 2])
                ),
            )
        };
        let segments: Vec<&str> = text.trim_matches('/').split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(wrong());
        }
        let own: Vec<&str> = group.trim_matches('/').split('/').collect();
        let is = |at: usize, word: &str| {
            segments
                .get(at)
                .is_some_and(|s| s.eq_ignore_ascii_case(word))
        };
        // The scope as far as it is written, and where the provider's name stands.
        let (scope, provider) = match () {
            () if is(0, "subscriptions") && is(2, "resourceGroups") && is(4, "providers") => {
                ([segments[1], segments[3]], 5)
            }
            () if is(0, "resourceGroups") && is(2, "providers") => ([own[1], segments[1]], 3),
            () if is(0, "providers") => ([own[1], own[3]], 1),
            () => ([own[1], own[3]], 0),
        };
        let names = match is(provider, PROVIDER) {
            true => self.typed_names(&segments[provider + 1..]),
            false if provider == 0 && !text.starts_with('/') => self.short_names(&segments),
            false => None,
        };
        let names = names.ok_or_else(wrong)?;
        let [subscription, group] = scope;
        Ok(self.id(
            &format!("/subscriptions/{subscription}/resourceGroups/{group}"),
            &names,
        ))
    }

    /// The names among `virtualNetworks/VNet1/subnets/FrontEnd`.
    fn typed_names<'a>(self, segments: &[&'a str]) -> Option<Vec<&'a str>> {
        let types = self.segments();
        let pairs = segments.chunks_exact(2);
        let matches = segments.len() == types.len() * 2
            && pairs
                .clone()
                .zip(types)
                .all(|(pair, kind)| pair[0].eq_ignore_ascii_case(kind));
        matches.then(|| pairs.map(|pair| pair[1]).collect())
    }

    /// Also among `VNet1/FrontEnd` and `VNet1/subnets/FrontEnd`.
    fn short_names<'a>(self, segments: &[&'a str]) -> Option<Vec<&'a str>> {
        let types = self.segments();
        if segments.len() == types.len() {
            return Some(segments.to_vec());
        }
        let mut typed = segments.to_vec();
        if segments.len() + 1 == types.len() * 2 {
            typed.insert(0, types[0]);
        }
        self.typed_names(&typed)
    }

    /// Azure's naming rules.
    ///
    /// # Errors
    ///
    /// `InvalidResourceName`
    pub(super) fn check_name(self, name: &str) -> Result<(), ArmError> {
        let (least, most) = match self {
            Self::VirtualNetwork => (2, 64),
            _ => (1, 80),
        };
        check_name(self.noun(), name, least, most)
    }
}

/// Word characters, `.`, `-` and `_`; the first is a letter or digit, the last one or `_`.
pub(super) fn check_name(
    noun: &str,
    name: &str,
    least: usize,
    most: usize,
) -> Result<(), ArmError> {
    let bytes = name.as_bytes();
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let good = (least..=most).contains(&bytes.len())
        && bytes.iter().all(allowed)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .last()
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    if good {
        return Ok(());
    }
    Err(ArmError::new(
        "InvalidResourceName",
        format!(
            "The name '{}' of a {noun} is invalid: use {least} to {most} letters, digits, '.', \
             '-' and '_', a letter or digit first and a letter, digit or '_' last.",
            cut(name)
        ),
    ))
}

/// `/subscriptions/…/resourceGroups/…` of an id.
pub(super) fn group_of(id: &ResourceId) -> &str {
    // Keys and texts have the same length: both differ in case alone, and only of ASCII letters.
    id.key()
        .find("/providers/")
        .map_or(id.as_str(), |at| &id.as_str()[..at])
}

/// The id of the resource that a child is below.
pub(super) fn parent_of(id: &ResourceId) -> ResourceId {
    let mut text = id.as_str();
    for _ in 0..2 {
        text = text.rfind('/').map_or("", |at| &text[..at]);
    }
    ResourceId::new(text)
}

trait EqIgnoreCase {
    fn eq_ignore_case(self, other: &[&str]) -> bool;
}

impl<'a, I: Iterator<Item = &'a str>> EqIgnoreCase for I {
    fn eq_ignore_case(mut self, other: &[&str]) -> bool {
        other.iter().all(|word| {
            self.next()
                .is_some_and(|segment| segment.eq_ignore_ascii_case(word))
        }) && self.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/s/resourceGroups/g";

    #[test]
    fn references_of_every_form_resolve() {
        let vnet =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/VNet4";
        for text in [
            vnet,
            "/SUBSCRIPTIONS/s/resourcegroups/G/providers/microsoft.network/VirtualNetworks/vnet4/",
            "VNet4",
            "virtualNetworks/VNet4",
            "Microsoft.Network/virtualNetworks/VNet4",
            "/providers/Microsoft.Network/virtualNetworks/VNet4",
            "/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/VNet4",
        ] {
            assert_eq!(
                Kind::VirtualNetwork.resolve(text, GROUP).unwrap(),
                ResourceId::new(vnet),
                "{text}"
            );
        }
        for text in [
            "VNet4/FrontEnd",
            "VNet4/subnets/FrontEnd",
            "virtualNetworks/VNet4/subnets/FrontEnd",
            &format!("{vnet}/subnets/FrontEnd"),
        ] {
            let id = Kind::Subnet.resolve(text, GROUP).unwrap();
            assert_eq!(
                id,
                ResourceId::new(&format!("{vnet}/subnets/FrontEnd")),
                "{text}"
            );
            assert_eq!(parent_of(&id), ResourceId::new(vnet));
            assert_eq!(group_of(&id), GROUP);
        }
        let other = Kind::RouteTable.resolve(
            "/resourceGroups/h/providers/Microsoft.Network/routeTables/T",
            GROUP,
        );
        assert_eq!(
            group_of(&other.unwrap()),
            "/subscriptions/s/resourceGroups/h"
        );
    }

    #[test]
    fn ids_of_something_else_are_refused() {
        for text in [
            "",
            "/",
            "FrontEnd",
            "/FrontEnd/x",
            "VNet4//FrontEnd",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/VNet4",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/routeTables/T/routes/R",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualNetworks/V/subnets/S",
            "/subscriptions/s",
        ] {
            let error = Kind::Subnet.resolve(text, GROUP).unwrap_err();
            assert_eq!(error.code, "InvalidResourceReference", "{text}");
        }
    }

    #[test]
    fn names_follow_azures_rules() {
        let long = "x".repeat(65);
        for name in ["ab", "VNet1", "a_", "1.2-3"] {
            assert!(Kind::VirtualNetwork.check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "a",
            "-ab",
            "_ab",
            "ab-",
            "ab.",
            "a b",
            "a/b",
            "äb",
            long.as_str(),
        ] {
            assert!(Kind::VirtualNetwork.check_name(name).is_err(), "{name}");
        }
        assert!(Kind::Subnet.check_name("a").is_ok() && Kind::Subnet.check_name(&long).is_ok());
    }
}
