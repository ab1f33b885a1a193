//! ICMP errors, which belong to the flow of the packet that they quote.

use vnet_gw_common::flow::{Flow, FlowEnd, ticks};

use super::{key::Flows, layer4};
use crate::packet::Hook;

/// Whether the ICMP error at `at` is about a flow that is there. `ids`: the ports that the packet
/// quoted came in by and went out by.
#[inline(always)]
pub fn passes<F: Flows, H: Hook>(hook: H, at: usize, ids: [u32; 2], now: u64) -> bool {
    hook.linearise_more();
    let packet = hook.packet();
    // The bound is for the verifier.
    let Some(quoted) = F::quoted(packet, (at & 0x7fff) + 8) else {
        return false;
    };
    let Some(layer4) = layer4::of_quoted::<F>(packet, quoted.upper) else {
        return false;
    };
    let (key, _) = F::key(
        layer4.class,
        FlowEnd {
            address: quoted.source,
            l4: layer4.source,
            id: ids[0],
        },
        FlowEnd {
            address: quoted.destination,
            l4: layer4.destination,
            id: ids[1],
        },
    );
    let now = ticks(now);
    is_alive(F::established(&key), now) || is_alive(F::half_open(&key), now)
}

#[inline(always)]
fn is_alive(flow: Option<*mut Flow>, now: u32) -> bool {
    // SAFETY: a live element of the map.
    flow.is_some_and(|flow| unsafe { !(*flow).is_stale(now) })
}
