//! Who may do what: service principals and their roles, tokens, and the certificate of the API.
//!
//! A client signs in as Azure's do: OpenID Connect discovery, then the client-credentials grant at
//! the token endpoint ([`oidc`]). The token is a JWT that this instance signed (ES256) and checks on
//! every call; what its bearer may do is looked up at every call too, so a role that is taken away
//! is gone at once.

mod access;
mod admin;
mod certificate;
mod files;
mod limiter;
mod metadata;
mod oidc;
mod principal;
mod principals;
mod secret;
mod token;
mod verified;

pub use access::{Access, Denied, Permission, Role};
pub use admin::{
    GivenAssignment, LIFETIME, NewLifetime, NewPrincipal, PrincipalList, PrincipalView, admin,
};
pub use certificate::{TlsError, TlsOptions, tls};
pub use oidc::router;
pub use principal::{Assignment, NewSecret, Principal, PrincipalError};
pub use principals::Principals;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Instant, SystemTime},
};

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    engine::Who,
    store::{Store, StoreError, Table, Write},
};
use limiter::Limiter;
use token::TokenKey;

/// How the API asks who somebody is. [`Identity`] is the real one; a test may have its own.
pub trait Authenticator: Send + Sync {
    /// Who the bearer of a token is, and what they may do.
    ///
    /// # Errors
    ///
    /// [`Denied`], as the client is told.
    fn bearer(&self, token: &str, from: SocketAddr) -> Result<(Who, Access), Denied>;
}

/// Who a local user is: root and the daemon's own user may do everything, whoever else the socket
/// lets in may look.
pub fn local_user(uid: u32) -> (Who, Access) {
    let name = nix::unistd::User::from_uid(uid.into())
        .ok()
        .flatten()
        .map(|user| user.name);
    let owner = uid == 0 || uid == nix::unistd::geteuid().as_raw();
    let access = match owner {
        true => Access::everything(),
        false => Access::looking(),
    };
    (Who::User { uid, name }, access)
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the key that signs tokens, {0}")]
    Key(String),
    #[error("the store has a tenant id that is none; restore it from a copy")]
    Tenant,
}

/// The directory of one instance: its tenant, its principals, and the key of its tokens.
pub struct Identity {
    tenant: String,
    principals: Principals,
    key: TokenKey,
    limiter: Mutex<Limiter>,
    audit: OnceLock<Audit>,
}

/// Where refused sign-ins are noted: the client id as it was sent, where from, and the code.
type Audit = Box<dyn Fn(&str, Option<SocketAddr>, &str) + Send + Sync>;

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.tenant)
    }
}

/// The record of the tenant's id in [`Table::Instance`].
const TENANT: &str = "tenant";

impl Identity {
    /// What the store and the state directory have of it; what is missing is made.
    pub fn open(directory: &Path, store: Arc<dyn Store>) -> Result<Self, IdentityError> {
        let tenant = match store.get(Table::Instance, TENANT)? {
            Some(text) => std::str::from_utf8(&text)
                .ok()
                .and_then(|text| Uuid::try_parse(text).ok())
                .ok_or(IdentityError::Tenant)?,
            None => {
                let tenant = Uuid::new_v4();
                let value = Zeroizing::new(tenant.to_string().into_bytes());
                let write = Write {
                    table: Table::Instance,
                    key: TENANT.to_owned(),
                    value: Some(value),
                };
                store.commit(None, &[write])?;
                tenant
            }
        };
        Ok(Self {
            tenant: tenant.to_string(),
            principals: Principals::open(store)?,
            key: TokenKey::open(directory)?,
            limiter: Mutex::default(),
            audit: OnceLock::new(),
        })
    }

    /// Has every refused sign-in noted; said once.
    pub fn audit(&self, note: impl Fn(&str, Option<SocketAddr>, &str) + Send + Sync + 'static) {
        let _ = self.audit.set(Box::new(note));
    }

    /// Made at the first start, and the same ever after.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    pub fn principals(&self) -> &Principals {
        &self.principals
    }

    /// A token for whoever shows the secret of a principal, and the seconds it is good for.
    ///
    /// Takes tens of milliseconds of a core: not for an asynchronous task.
    ///
    /// # Errors
    ///
    /// 401 for a wrong id or secret, which are not told apart, 429 after too many of them.
    pub fn sign_in(
        &self,
        client_id: &str,
        secret: &str,
        from: Option<SocketAddr>,
    ) -> Result<(Zeroizing<String>, u64), Denied> {
        let address = from.map(|from| from.ip());
        let now = Instant::now();
        let limiter = || self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = limiter().wait(address, client_id, now) {
            return Err(Denied {
                status: 429,
                code: "TooManyRequests".to_owned(),
                message: format!(
                    "Too many sign-ins of {} failed: try again in {} s.",
                    shown(client_id),
                    wait.as_secs().max(1)
                ),
                retry_after_seconds: Some(wait.as_secs().max(1)),
            });
        }
        let Some(principal) = self.principals.check(client_id, secret, SystemTime::now()) else {
            limiter().failed(address, client_id, now);
            if let Some(note) = self.audit.get() {
                note(client_id, from, "InvalidClient");
            }
            log::warn!(
                "sign-in of {} from {} refused",
                shown(client_id),
                from.map_or_else(|| "this host".to_owned(), |from| from.to_string()),
            );
            return Err(Denied {
                status: 401,
                code: "InvalidClient".to_owned(),
                message: format!(
                    "There is no service principal {} with that secret, or the secret has expired: \
                     make a new one with `vnet-gw principal reset`.",
                    shown(client_id)
                ),
                retry_after_seconds: None,
            });
        };
        limiter().succeeded(address, client_id);
        self.key
            .issue(&self.tenant, &principal, SystemTime::now())
            .map_err(|why| Denied {
                status: 500,
                code: "InternalServerError".to_owned(),
                message: format!("The token could not be signed: {why}."),
                retry_after_seconds: None,
            })
    }

    /// The public half of the key, as a JSON Web Key Set.
    fn key_set(&self) -> serde_json::Value {
        self.key.key_set()
    }
}

impl Authenticator for Identity {
    fn bearer(&self, token: &str, _: SocketAddr) -> Result<(Who, Access), Denied> {
        let client_id = self.key.verify(&self.tenant, token)?;
        let principal = self.principals.get(&client_id).ok_or_else(|| Denied {
            status: 401,
            code: "InvalidAuthenticationToken".to_owned(),
            message: "The service principal of this token is gone: sign in with another."
                .to_owned(),
            retry_after_seconds: None,
        })?;
        let access = principal.access();
        let who = Who::Principal {
            client_id,
            name: principal.name,
        };
        Ok((who, access))
    }
}

/// What a client sent, as an answer or the log shows it.
fn shown(text: &str) -> String {
    const MOST: usize = 64;
    let clean: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST)
        .collect();
    format!("'{clean}'")
}

#[cfg(test)]
mod tests;
