//! A service principal, as it is kept.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Access, Role};

/// A service principal. Its secrets are hashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// `appId`: the user name of a sign-in.
    pub client_id: String,
    pub object_id: String,
    pub name: String,
    /// RFC 3339, UTC.
    pub created: String,
    pub secrets: Vec<SecretRecord>,
    pub assignments: Vec<Assignment>,
}

/// A secret's hash, and how long it is good for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRecord {
    pub(super) hash: String,
    /// Seconds since 1970.
    pub(super) expires: u64,
}

/// A role at a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    pub role: Role,
    /// `/subscriptions/…` or `/subscriptions/…/resourceGroups/…`
    pub scope: String,
}

/// A principal's new secret: the only time that it is seen.
pub struct NewSecret {
    pub principal: Principal,
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSecret of {}", self.principal.name)
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PrincipalError {
    #[error(
        "there is a service principal {0:?} already: choose another name, or use `vnet-gw principal reset`"
    )]
    Exists(String),
    #[error("there is no service principal {0:?}: see `vnet-gw principal list`")]
    Unknown(String),
    #[error(
        "{0:?} is no name: use 1 to 120 characters, none of them a control character, and no id"
    )]
    Name(String),
    #[error(
        "{0:?} is no scope: give a subscription (/subscriptions/ID) or a resource group \
         (/subscriptions/ID/resourceGroups/NAME)"
    )]
    Scope(String),
    #[error("{0}")]
    Store(#[from] crate::store::StoreError),
    #[error("the secret could not be hashed: {0}")]
    Hash(String),
}

impl Principal {
    /// Without secret and role.
    pub(super) fn new(name: &str) -> Self {
        Self {
            client_id: Uuid::new_v4().to_string(),
            object_id: Uuid::new_v4().to_string(),
            name: name.to_owned(),
            created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            secrets: Vec::new(),
            assignments: Vec::new(),
        }
    }

    pub fn access(&self) -> Access {
        self.assignments
            .iter()
            .map(|grant| Access::at(&grant.scope, grant.role))
            .fold(Access::default(), Access::and)
    }

    /// Whether it is the one that a person means, by its name or its id.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
            || self.client_id.eq_ignore_ascii_case(name)
            || self.object_id.eq_ignore_ascii_case(name)
    }
}

impl Assignment {
    /// A role at a subscription or resource group.
    pub fn new(role: Role, scope: &str) -> Result<Self, PrincipalError> {
        let wrong = || PrincipalError::Scope(scope.to_owned());
        let text = scope.trim().trim_end_matches('/');
        let segments: Vec<&str> = text.split('/').collect();
        let named = |at: usize, word: &str| segments[at].eq_ignore_ascii_case(word);
        let good = |text: &str| {
            !text.is_empty()
                && text.len() <= 90
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.()".contains(c))
        };
        let scope = match segments.as_slice() {
            ["", _, subscription] if named(1, "subscriptions") && good(subscription) => {
                format!("/subscriptions/{subscription}")
            }
            ["", _, subscription, _, group]
                if named(1, "subscriptions")
                    && named(3, "resourceGroups")
                    && good(subscription)
                    && good(group) =>
            {
                format!("/subscriptions/{subscription}/resourceGroups/{group}")
            }
            _ => return Err(wrong()),
        };
        Ok(Self { role, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Permission;
    use super::*;

    #[test]
    fn scopes_are_subscriptions_or_groups() {
        for (given, kept) in [
            ("/subscriptions/s-1/", "/subscriptions/s-1"),
            (
                "/SUBSCRIPTIONS/s/resourcegroups/Hub",
                "/subscriptions/s/resourceGroups/Hub",
            ),
        ] {
            assert_eq!(Assignment::new(Role::Reader, given).unwrap().scope, kept);
        }
        for bad in [
            "",
            "/",
            "s",
            "/subscriptions",
            "/subscriptions//resourceGroups/g",
            "/subscriptions/s/resourceGroups",
            "/subscriptions/s/x/g",
            "/subscriptions/s/resourceGroups/g/providers/x",
            "/subscriptions/a b",
        ] {
            let error = Assignment::new(Role::Reader, bad).unwrap_err().to_string();
            assert!(error.contains("no scope"), "{bad}: {error}");
        }
    }

    #[test]
    fn access_is_what_the_roles_give() {
        let mut principal = Principal::new("a");
        principal.assignments = vec![
            Assignment::new(Role::Reader, "/subscriptions/s").unwrap(),
            Assignment::new(
                Role::NetworkContributor,
                "/subscriptions/s/resourceGroups/g",
            )
            .unwrap(),
        ];
        let access = principal.access();
        let inside = "/subscriptions/S/resourcegroups/G/providers/Microsoft.Network/connections/c";
        let beside = "/subscriptions/s/resourceGroups/g2/providers/Microsoft.Network/connections/c";
        let other = "/subscriptions/s2/resourceGroups/g";
        use Permission::{Read, Secrets, Write};
        for (permission, id, allowed) in [
            (Read, inside, true),
            (Write, inside, true),
            (Secrets, inside, true),
            (Read, beside, true),
            (Write, beside, false),
            (Secrets, beside, false),
            (Read, other, false),
            (Write, "/subscriptions/s", false),
            (Read, "/", false),
        ] {
            assert_eq!(
                access.allows(permission, id),
                allowed,
                "{permission:?} {id}"
            );
        }
        assert!(Access::everything().allows(Write, inside));
        assert!(!Access::looking().allows(Secrets, inside));
        assert!(!Access::default().allows(Read, inside));
    }
}
