//! Who may do what: service principals and their roles, tokens, and the certificate of the API.

mod access;

pub use access::{Access, Denied, Permission};

use std::net::SocketAddr;

use crate::engine::Who;

/// How the API asks who somebody is. [`Identity`](self) is the real one; a test may have its own.
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
