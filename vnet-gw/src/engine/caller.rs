//! Who asks for a change, as the audit log names them.

use std::net::SocketAddr;

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub who: Who,
    /// Nothing on the Unix socket.
    pub address: Option<SocketAddr>,
    /// `x-ms-correlation-request-id`, or one that was made for the request.
    pub correlation_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The configuration file of `vnet-gw run`.
    File,
    /// A local user, on the Unix socket.
    User { uid: u32, name: Option<String> },
    /// A service principal, by a token.
    Principal { client_id: String, name: String },
}
