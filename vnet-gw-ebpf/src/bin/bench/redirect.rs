//! The ceiling: a redirect that looks at nothing and changes only the MAC addresses.

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::DevMap,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use vnet_gw_common::{mac_to_u64, port::FABRIC_MAC};

use crate::abi::SINK_MAC;

#[btf_map]
static BENCH_OUT: DevMap<1> = DevMap::new();

#[xdp]
pub fn bench_bare(ctx: XdpContext) -> u32 {
    // SAFETY: the context is valid for the whole run of the program.
    let (start, end) = unsafe { ((*ctx.ctx).data as usize, (*ctx.ctx).data_end as usize) };
    if start + 14 > end {
        return xdp_action::XDP_DROP;
    }
    // SAFETY: the first 12 bytes are there, as seen above; BPF allows any alignment.
    unsafe {
        *(start as *mut u64) = (mac_to_u64(SINK_MAC) << 16 | FABRIC_MAC >> 32).to_be();
        *((start + 8) as *mut u32) = (FABRIC_MAC as u32).to_be();
    }
    match BENCH_OUT.redirect(0, u64::from(xdp_action::XDP_DROP)) {
        Ok(action) | Err(action) => action,
    }
}

/// For ends of veth pairs that XDP redirects into: everything passes.
#[xdp]
pub fn bench_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}
