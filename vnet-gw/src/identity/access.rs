//! Roles at scopes.

use serde::{Deserialize, Serialize};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// GET and list; effective routes, statuses.
    Read,
    /// PUT, PATCH, DELETE, and POST actions that change something.
    Write,
    /// Shared keys in clear: not for readers.
    Secrets,
}

/// What somebody may do, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    grants: Vec<(String, Role)>,
}

/// Azure's built-in roles, as far as they differ here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    Reader,
    #[serde(rename = "Network Contributor")]
    NetworkContributor,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "Reader",
            Self::NetworkContributor => "Network Contributor",
        }
    }
}

/// Why a request is refused: the status is 401 without a valid token, 403 with one that does not
/// suffice, 429 after too many failures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Denied {
    pub status: u16,
    pub code: String,
    pub message: String,
    pub retry_after_seconds: Option<u64>,
}

impl Access {
    pub fn everything() -> Self {
        Self::at("/", Role::NetworkContributor)
    }

    pub fn looking() -> Self {
        Self::at("/", Role::Reader)
    }

    /// A role at a subscription, a resource group, or `/`, and everything below.
    pub fn at(scope: &str, role: Role) -> Self {
        Self {
            grants: vec![(scope.trim_end_matches('/').to_ascii_lowercase(), role)],
        }
    }

    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.grants.extend(other.grants);
        self
    }

    /// Whether it is allowed at an id (or at a scope). A scope covers what is below it, by whole
    /// segments.
    pub fn allows(&self, permission: Permission, id: &str) -> bool {
        let id = id.trim_end_matches('/').to_ascii_lowercase();
        self.grants.iter().any(|(scope, role)| {
            let below = id
                .strip_prefix(scope.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            below && (permission == Permission::Read || *role == Role::NetworkContributor)
        })
    }
}
