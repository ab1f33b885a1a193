//! Ids and names of resources.

use super::{ArmError, Kind, ResourceId, error::cut, kind::PROVIDER};

impl Kind {
    /// The id of a resource in a resource group (`/subscriptions/…/resourceGroups/…`).
    pub fn id<S: AsRef<str>>(self, group: &str, names: &[S]) -> ResourceId {
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
    /// group of whoever refers (`/subscriptions/…/resourceGroups/…`), or plain names
    /// (`VNet1/FrontEnd`).
    ///
    /// # Errors
    ///
    /// `InvalidResourceReference`
    pub fn resolve(self, text: &str, group: &str) -> Result<ResourceId, ArmError> {
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
        let own = |at: usize| own.get(at).copied().unwrap_or_default();
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
            () if is(0, "resourceGroups") && is(2, "providers") => ([own(1), segments[1]], 3),
            () if is(0, "providers") => ([own(1), own(3)], 1),
            () => ([own(1), own(3)], 0),
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
    pub fn check_name(self, name: &str) -> Result<(), ArmError> {
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
    id.group()
}

/// The id of the resource that a child is below.
pub(super) fn parent_of(id: &ResourceId) -> ResourceId {
    id.parent()
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
