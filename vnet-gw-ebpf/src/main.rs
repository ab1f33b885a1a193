//! The data path: what happens to a packet that a workload sends.
//!
//! One program, attached as XDP or as TCX (clsact on older kernels); the steps stand in packet
//! order, one file each: [`parse`], [`answer`] (ARP and neighbour discovery end here), [`source`],
//! [`route`], [`deliver`], [`nsg`], [`rewrite`]. A step that cannot go on returns a [`verdict::Refused`] with
//! its reason, and [`refuse`] turns every reason into a counter, a drop and, where RFC 1812 and
//! RFC 4443 ask for one, an ICMP error.
#![no_std]
#![no_main]

mod answer;
mod capture;
mod deliver;
mod extension;
mod family;
mod internet;
mod maps;
mod meter;
mod nsg;
mod packet;
mod parse;
mod refuse;
mod rewrite;
mod route;
mod source;
mod trace;
mod verdict;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use vnet_gw_common::{capture::Event, port::Port, verdict::Reason};

use crate::{
    family::{V4, V6},
    packet::{Hook, Tc, Xdp},
    parse::EtherType,
    verdict::Refused,
};

// Inlined into what the macros make: a frame of their own would be 32 bytes of the 512 that a program
// and all it calls have.
#[xdp]
#[inline(always)]
pub fn vnet_gw_xdp(ctx: XdpContext) -> u32 {
    enter(Xdp(ctx.ctx))
}

#[classifier]
#[inline(always)]
pub fn vnet_gw_tc(ctx: TcContext) -> i32 {
    enter(Tc(ctx.skb.skb)) as i32
}

/// For the far end of a veth pair that XDP ports redirect into: a devmap redirect into a veth is
/// lost unless its peer has GRO on, or an XDP program.
#[xdp]
pub fn vnet_gw_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[inline(always)]
fn enter<H: Hook>(hook: H) -> u32 {
    let ifindex = hook.ifindex();
    let Some(id) = maps::port_id(ifindex) else {
        return refuse::no_port(hook);
    };
    let Some(port) = maps::port(id) else {
        return refuse::no_port(hook);
    };
    if port.flags & Port::WATCHED != 0 {
        return watched(hook, id, port);
    }
    match process::<H, false>(hook, id, port) {
        Ok(action) => action,
        Err(refused) => refuse::refuse(hook, id, refused.reason as u32, refused.mtu),
    }
}

/// The same path for ports that are traced or captured, noting what each step found.
#[inline(always)]
fn watched<H: Hook>(hook: H, id: u32, port: &Port) -> u32 {
    if has(port, Port::CAPTURE) {
        hook.linearise();
        capture::tell(hook, id, Event::SENT, 0);
    }
    trace::begin(port.table);
    trace::end(process::<H, true>(hook, id, port));
    if has(port, Port::TRACE) && trace::sampled(port) {
        trace::vnet_gw_log(id);
    }
    // Read back from memory: else the verifier walks what follows once for every reason.
    let (action, answered) = match trace::outcome::<H>() {
        Ok(outcome) => outcome,
        Err(refused) => {
            if has(port, Port::CAPTURE) {
                capture::tell(hook, id, Event::REFUSED, refused.reason);
            }
            let action = refuse::refuse(hook, id, refused.reason, refused.mtu);
            (action, action != H::drop())
        }
    };
    // What became of the packet itself goes back into the port.
    if answered && has(port, Port::CAPTURE) {
        capture::tell(hook, id, Event::DELIVERED, 0);
    }
    action
}

/// Whether the port has the flag, read anew each time: a flag that is kept on the way is a state of
/// its own to the verifier, which then walks the whole path twice.
#[inline(always)]
fn has(port: &Port, flag: u32) -> bool {
    // SAFETY: a field of a live element.
    let flags = unsafe { core::ptr::read_volatile(&raw const port.flags) };
    flags & flag != 0
}

#[inline(always)]
fn process<H: Hook, const TRACE: bool>(hook: H, id: u32, port: &Port) -> Result<u32, Refused> {
    match parse::ethernet(hook, port)? {
        EtherType::Ipv4 => deliver::forward::<V4, H, TRACE>(hook, id, port),
        EtherType::Ipv6 => deliver::forward::<V6, H, TRACE>(hook, id, port),
        EtherType::Arp => answer::arp(hook, id, port),
        EtherType::Other => Err(Refused::for_reason(Reason::NotIp)),
    }
}

/// What the programs are declared to the kernel as, which asks it of users of `bpf_check_mtu`.
// SAFETY: a name and a section of its own, which the loader reads and nothing else has.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// Never reached: every access is checked before it is made, so nothing here panics.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
