//! The route step: one longest-prefix match, one counter, and what the winner asks for.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use vnet_gw_common::{
    port::Port,
    table::{Action, ActionKind},
    verdict::Reason,
};

use crate::{
    family::{Family, Ip, Route},
    maps,
    source::Origin,
    verdict::Refused,
};

/// Where the packet goes: the endpoint with that address in that VNet.
pub struct NextHop<A> {
    pub scope: u32,
    pub address: A,
    /// Why it is refused where there is no such endpoint.
    pub missing: Reason,
}

/// Looks the destination up in the table of the port's subnet and counts the packet there,
/// whatever becomes of it.
#[inline(always)]
pub fn find<F: Family>(port: &Port, ip: &Ip<F::Addr>, packets: u64) -> Result<Route, Refused> {
    let route = F::lookup(port.table, ip.destination).ok_or(Reason::NoRoute)?;
    // SAFETY: no arguments, no memory.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(counter) = F::counter(
        port.table,
        cpu.wrapping_mul(route.stride)
            .wrapping_add(route.leaf.route()),
    ) {
        maps::add(counter, packets, u64::from(ip.len));
    }
    Ok(route)
}

/// What the route's action asks for, where that is an endpoint of a VNet: `Internet` is [`crate::internet`]'s.
#[inline(always)]
pub fn next_hop<F: Family>(
    action: &Action,
    destination: F::Addr,
    origin: Origin,
) -> Result<NextHop<F::Addr>, Refused> {
    const LOCAL: u32 = ActionKind::Local as u32;
    const PEERING: u32 = ActionKind::Peering as u32;
    const APPLIANCE: u32 = ActionKind::Appliance as u32;
    const GATEWAY: u32 = ActionKind::Gateway as u32;
    const NONE: u32 = ActionKind::None as u32;

    let scope = action.scope();
    let kind = action.kind();
    let crosses_peering = kind == PEERING || action.has(Action::PEERED);
    // Section C, `allowForwardedTraffic`: admits packets that did not originate in the peer.
    if crosses_peering && origin == Origin::Elsewhere && !action.has(Action::ACCEPTS_FORWARDED) {
        return Err(Reason::ForwardedRefused.into());
    }
    match kind {
        LOCAL | PEERING => Ok(NextHop {
            scope,
            address: destination,
            missing: Reason::EndpointUnreachable,
        }),
        APPLIANCE if scope != 0 => Ok(NextHop {
            scope,
            address: F::next_hop(action),
            missing: Reason::ApplianceUnreachable,
        }),
        APPLIANCE => Err(Reason::ApplianceUnreachable.into()),
        // The gateway's port is an endpoint with an address that no workload can send to.
        GATEWAY if scope != 0 => Ok(NextHop {
            scope,
            address: F::next_hop(action),
            missing: Reason::NextHopGateway,
        }),
        GATEWAY => Err(Reason::NextHopGateway.into()),
        NONE => Err(Reason::NextHopNone.into()),
        _ => Err(Reason::NoRoute.into()),
    }
}
