//! Anti-spoofing: which source addresses a port may send from.

use vnet_gw_common::{
    port::{Port, Settings},
    verdict::Reason,
};

use crate::{family::Family, verdict::Refused};

/// Whose the source address is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The port's own.
    Own,
    /// Forwarded by an appliance for another NIC of the same VNet.
    SameVnet,
    /// Forwarded by an appliance; the packet did not originate in the VNet.
    Elsewhere,
}

/// Rule B7: a port sends from its NIC's own addresses unless it has `enableIPForwarding`.
#[inline(always)]
pub fn check<F: Family>(
    settings: &Settings,
    id: u32,
    port: &Port,
    source: F::Addr,
) -> Result<Origin, Refused> {
    if F::is_primary(port, source) {
        return Ok(Origin::Own);
    }
    let owner = F::endpoint(settings, port.scope, source);
    if let Some(owner) = owner
        && owner.port() == id
        && owner.mac() == port.mac
    {
        return Ok(Origin::Own);
    }
    if port.flags & Port::IP_FORWARDING == 0 || !F::is_routable(source) {
        return Err(Reason::SpoofedAddress.into());
    }
    Ok(if owner.is_some() {
        Origin::SameVnet
    } else {
        Origin::Elsewhere
    })
}
