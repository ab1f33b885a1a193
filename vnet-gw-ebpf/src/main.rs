#![no_std]
#![no_main]
use aya_ebpf::{bindings::xdp_action, btf_maps::{Array, ArrayOfMaps}, macros::{btf_map, xdp}, programs::XdpContext};
use vnet_gw_common::table::{Block, SmallTable4};

#[btf_map]
static VG_SMALL4: ArrayOfMaps<Array<SmallTable4, 1, 0>, 8192> = ArrayOfMaps::new();
#[btf_map]
static VG_BIG4: ArrayOfMaps<Array<Block, 1, 5120>, 8192> = ArrayOfMaps::new();

#[xdp]
pub fn vnet_gw_xdp(ctx: XdpContext) -> u32 {
    let addr = ctx.data() as u32;
    if let Some(t) = VG_SMALL4.get_value(addr & 0xfff, &0) {
        return t.lookup(addr).0;
    }
    if let Some(b) = VG_BIG4.get_value(5, &addr) {
        return b.0[(addr & 0xff) as usize];
    }
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
