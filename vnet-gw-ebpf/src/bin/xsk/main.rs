//! Programs of the I/O engine `xsk`: what goes to its AF_XDP sockets, and what stays the kernel's.
#![no_std]
#![no_main]

mod packet;

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{HashMap, XskMap},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use vnet_gw_common::xsk::{MAX_ADDRESSES, MAX_QUEUES};

use crate::packet::{Packet, Target};

const ADDRESSES: usize = MAX_ADDRESSES as usize;

/// The sockets, by receive queue.
#[btf_map]
static VX_SOCKETS: XskMap<{ MAX_QUEUES as usize }> = XskMap::new();
/// Public addresses of the gateway, in network order.
#[btf_map]
static VX_ADDRESSES4: HashMap<u32, u8, ADDRESSES> = HashMap::new();
#[btf_map]
static VX_ADDRESSES6: HashMap<[u32; 4], u8, ADDRESSES> = HashMap::new();

/// On the underlay: ESP for the gateway, bare or in UDP, goes to the socket; IKE, keepalives, fragments
/// and all that is not the gateway's go on to the kernel.
#[xdp]
pub fn vnet_gw_xsk_net(ctx: XdpContext) -> u32 {
    let ours = match Packet::new(&ctx).esp_to() {
        Some(Target::V4(address)) => VX_ADDRESSES4.get_ptr(address).is_some(),
        Some(Target::V6(address)) => VX_ADDRESSES6.get_ptr(address).is_some(),
        None => false,
    };
    if !ours {
        return xdp_action::XDP_PASS;
    }
    to_socket(&ctx, xdp_action::XDP_PASS)
}

/// On the far end of the gateway's port: all of it.
#[xdp]
pub fn vnet_gw_xsk_port(ctx: XdpContext) -> u32 {
    to_socket(&ctx, xdp_action::XDP_DROP)
}

/// `or` where the queue has no socket.
#[inline(always)]
fn to_socket(ctx: &XdpContext, or: u32) -> u32 {
    // SAFETY: the context is valid for the whole run of the program.
    let queue = unsafe { (*ctx.ctx).rx_queue_index };
    match VX_SOCKETS.redirect(queue, u64::from(or)) {
        Ok(action) | Err(action) => action,
    }
}

/// Never reached: every access is checked before it is made, so nothing here panics.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
