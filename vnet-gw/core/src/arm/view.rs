//! Resources as clients see them: Azure's shape, with what follows from other resources and from
//! the running tunnels.

use std::net::IpAddr;

use serde_json::Value;

use super::{State, Target};
use crate::model::ResourceId;

/// What only the running daemon knows.
pub trait Live {
    /// Nothing where the connection is not on this host.
    fn connection(&self, id: &ResourceId) -> Option<ConnectionLive>;
}

/// Nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLive;

impl Live for NoLive {
    fn connection(&self, _: &ResourceId) -> Option<ConnectionLive> {
        None
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionLive {
    /// `Unknown`, `Connecting`, `Connected` or `NotConnected`.
    pub status: String,
    pub ingress_bytes: u64,
    pub egress_bytes: u64,
    pub tunnels: Vec<TunnelLive>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TunnelLive {
    pub local: IpAddr,
    pub remote: IpAddr,
    pub status: String,
    pub ingress_bytes: u64,
    pub egress_bytes: u64,
    /// RFC 3339, UTC.
    pub last_established: Option<String>,
}

/// The resource as a GET answers it; nothing where there is none. `live` is asked for what the
/// resource needs only.
pub fn show(state: &State, target: &Target, live: &dyn Live) -> Option<Value> {
    let _ = (state, target, live);
    None
}
